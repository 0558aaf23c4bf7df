"""What of a cell's code is needed to define some names: of a cell that trains, the grader runs that part only."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

MAGICS = ("%%time", "%%capture")  # these run the cell's code in the notebook's own names


def only_what_defines(source: str, names: Collection[str]) -> str:
    """The code (no magics) with every statement blanked that the definitions of `names` do not need; lines stay.

    Imports stay, too. Needed is what binds a name, and what binds the names that this uses, wherever it stands.
    Raises SyntaxError where the code is none.
    """
    body = ast.parse(source).body
    bound = [set(_bound(statement)) for statement in body]
    wanted, kept, grown = set(names), set[int](), True
    while grown:
        found = {i for i, statement in enumerate(body) if _is_import(statement) or bound[i] & wanted}
        grown = found != kept
        kept = found
        wanted |= {name for i in kept for name in _used(body[i])}
    shown = {line for i in kept for line in range(_first(body[i]), (body[i].end_lineno or 0) + 1)}
    return "\n".join(text if number in shown else "" for number, text in enumerate(source.split("\n"), 1))


def _is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _first(statement: ast.stmt) -> int:
    """A statement's first line, that of its first decorator included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement binds in the notebook: not those within a function or a class."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            yield from _root(node)  # `transform.mean = …` changes what `transform` is


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _used(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
