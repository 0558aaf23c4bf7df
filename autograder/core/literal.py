"""Plain values as Python writes them, on lines that are not too long."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 120


def literal(value: Any, indent: int, key: str = "") -> str:
    """A value, behind its key if it has one, that starts `indent` columns from the left."""
    text = f"{key}{quoted(value)}"
    if indent + len(text) < WIDTH or not isinstance(value, (dict, list, tuple)):
        return text
    return spread(value, indent, key)


def spread(value: dict[Any, Any] | list[Any] | tuple[Any, ...], indent: int, key: str = "") -> str:
    """The same with every element on a line of its own."""
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]") if isinstance(value, list) else ("(", ")")
    parts = [(f"{quoted(k)}: ", v) for k, v in value.items()] if isinstance(value, dict) else [("", v) for v in value]
    inner = " " * (indent + 4)
    items = [f"{inner}{literal(part, indent + 4, name)}," for name, part in parts]
    return "\n".join([f"{key}{opening}", *items, " " * indent + closing])


def quoted(value: Any) -> str:
    """`repr` with double quotes, and with large numbers in groups of three digits."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)}: {quoted(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(quoted, value)) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    return f"{value:_}" if type(value) is int and abs(value) >= 10_000 else repr(value)
