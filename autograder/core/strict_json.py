"""JSON from outside, read so that it can neither fill the memory, nor exhaust the stack, nor mean two things."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np

MOST_DEPTH = 24  # a graph in a record is nine deep
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class BadJson(ValueError):
    """Text that is not JSON as strictly understood here."""


def count_values(text: bytes) -> int:
    """How many values JSON text holds at most, keys included, without building any.

    Three bytes of `[],` become sixty in memory, so a bound on bytes is none on objects.
    """
    plain = _without_strings(text)
    return 1 + sum(plain.count(separator) for separator in (b"[", b"{", b",", b":"))


def parse_json(text: bytes) -> Any:
    """The value, if every key stands once in its object, every number is finite, and the nesting has an end.

    Two readers may pick different ones of two equal keys, and then what was checked is not what is used; NaN passes
    comparisons that it should not; `str` or `==` of a value nested thousands deep ends in a RecursionError. The caller
    bounds the size before, by `len` and `count_values`. Raises BadJson.
    """
    if _is_too_deep(text, MOST_DEPTH):
        raise BadJson(f"nested more than {MOST_DEPTH} deep, or a bracket without its other half")
    try:
        # Decoded here: `json.loads` would take bytes for UTF-16 where they look like it.
        return json.loads(
            text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite_float
        )
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: also integers of thousands of digits
        raise BadJson(f"not JSON ({type(error).__name__})") from error


def _without_strings(text: bytes) -> bytes:
    """The text without what its strings hold; by array operations, since millions of strings are to be expected."""
    # Without escaped backslashes and quotation marks, each mark left begins or ends a string.
    left = np.frombuffer(text.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    inside = np.bitwise_xor.accumulate((left == ord('"')).view(np.uint8)).view(bool)
    return bytes(left[~inside].tobytes())


def _is_too_deep(text: bytes, depth: int) -> bool:
    """Whether brackets are left after taking away the innermost pairs `depth` times."""
    brackets = _without_strings(text).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(depth):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return bool(brackets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadJson("one key twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not JSON")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadJson("a number that is too large")
    return value
