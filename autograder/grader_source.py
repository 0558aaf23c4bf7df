"""What the source of a hidden check says of it: where it stands, and which names of evidence it uses. Nothing runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A function in a file of hidden graders; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def place_of(path: Path, test: str) -> Place | None:
    """Where a check is defined, None where it is not."""
    part = _parts(path).get(test)
    return Place(path.name, part.lineno) if isinstance(part, ast.FunctionDef) else None


def words_of(path: Path, test: str) -> frozenset[str]:
    """All string constants and attributes in a check and in whatever it uses of its file: fixtures (its arguments),
    helpers and constants. The probes whose names are among them are those that the check looks at.
    """
    parts = _parts(path)
    words: set[str] = set()
    seen: set[str] = set()
    left = [test]
    while left:
        name = left.pop()
        part = parts.get(name)
        if part is None or name in seen:
            continue
        seen.add(name)
        for node in ast.walk(part):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            elif isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.Name):
                left.append(node.id)
            elif isinstance(node, ast.arg):
                left.append(node.arg)
    return frozenset(words)


def _parts(path: Path) -> dict[str, ast.stmt]:
    """The definitions and constants of a file, by name."""
    return {name: node for node in ast.parse(path.read_text()).body for name in _names(node)}


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
