"""What the source of a hidden check says of it: where it stands, and which names of evidence it uses. Nothing runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class CheckPlace:
    """A function in a file of hidden graders; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def check_place(path: Path, test: str) -> CheckPlace | None:
    """Where a check is defined, None where it is not."""
    part = _parts(path).get(test)
    return CheckPlace(path.name, part.lineno) if isinstance(part, ast.FunctionDef) else None


def words_of_check(path: Path, test: str) -> frozenset[str]:
    """All string constants and attributes in a check and in whatever it uses of its file and of the files beside it:
    fixtures (its arguments), helpers and constants. The probes whose names are among them are those that the check
    looks at.
    """
    words: set[str] = set()
    seen: set[tuple[Path, str]] = set()
    left = [(path, test)]
    while left:
        here, name = left.pop()
        if (here, name) in seen:
            continue
        seen.add((here, name))
        part = _parts(here).get(name)
        if isinstance(part, ast.ImportFrom):
            left += _imported(here, part, name)
            continue
        for node in ast.walk(part) if part is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            elif isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.Name):
                left.append((here, node.id))
            elif isinstance(node, ast.arg):
                left.append((here, node.arg))
    return frozenset(words)


@lru_cache
def _parts(path: Path) -> dict[str, ast.stmt]:
    """The definitions, constants and imported names of a file, by name."""
    return {name: node for node in ast.parse(path.read_text()).body for name in _names(node)}


def _imported(path: Path, statement: ast.ImportFrom, name: str) -> Iterator[tuple[Path, str]]:
    """Where a name comes from, if that is a file beside this one."""
    beside = path.with_name(f"{(statement.module or '').rpartition('.')[2]}.py")
    if beside.is_file():
        yield from ((beside, alias.name) for alias in statement.names if (alias.asname or alias.name) == name)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
