"""The checks of a hidden grader file as its text declares them, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.core.shares import share_points

DYNAMIC = "parametrize"  # pytest makes several checks of such a test


@dataclass(frozen=True)
class DeclaredCheck:
    """One test with `@points`. `title` and `hint` may hold fields; `line` is where its title stands in the file.

    `weight` is None and `cell` empty where only running the file would tell them.
    """

    name: str
    title: str
    cell: str
    weight: float | None
    hint: str
    requires: tuple[str, ...]
    line: int


def declared_checks(path: Path) -> list[DeclaredCheck]:
    """The checks of a grader file, in its order; none where the file is no Python, which whoever runs it says."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError):
        return []
    constants = {name: value for statement in tree.body for name, value in _constants(statement)}
    return [
        _declared(statement, marks, constants)
        for statement in tree.body
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name.startswith("test_")
        if "points" in (marks := _marks(statement))
    ]


def points_of_checks(checks: Sequence[DeclaredCheck], cells: Mapping[str, float]) -> dict[str, float]:
    """What each check is worth, by name, where the text of the file tells. Raises TooFewPoints."""
    found: dict[str, float] = {}
    for cell, points in cells.items():
        own = [check for check in checks if check.cell == cell]
        weights = [check.weight for check in own if check.weight is not None]
        if own and len(weights) == len(own) and all(check.cell for check in checks):
            found.update(zip((check.name for check in own), share_points(weights, points), strict=True))
    return found


def _declared(
    test: ast.FunctionDef | ast.AsyncFunctionDef, marks: Mapping[str, ast.Call], constants: Mapping[str, object]
) -> DeclaredCheck:
    own, title = marks["points"], (ast.get_docstring(test) or test.name).strip()
    named = {keyword.arg: _value(keyword.value, constants) for keyword in own.keywords}
    weight = _value(own.args[0], constants) if own.args else None
    cell, hint = named.get("cell"), named.get("hint", "")
    is_number = isinstance(weight, (int, float)) and weight > 0 and DYNAMIC not in marks
    required = marks["requires"].args if "requires" in marks else []
    return DeclaredCheck(
        test.name,
        title.splitlines()[0],
        cell if isinstance(cell, str) else "",
        float(weight) if is_number and isinstance(weight, (int, float)) else None,
        hint if isinstance(hint, str) else "",
        tuple(str(_value(name, constants)) for name in required),
        test.body[0].lineno,
    )


def _marks(test: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.Call]:
    """The decorators that are called, by the last part of their name."""
    calls = [decorator for decorator in test.decorator_list if isinstance(decorator, ast.Call)]
    return {ast.unparse(call.func).rpartition(".")[2]: call for call in calls}


def _value(node: ast.expr, constants: Mapping[str, object]) -> object:
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _constants(statement: ast.stmt) -> Iterator[tuple[str, object]]:
    """The names that a statement gives to plain values."""
    if not isinstance(statement, ast.Assign):
        return
    target, value = statement.targets[0], statement.value
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    values = value.elts if isinstance(value, ast.Tuple) and isinstance(target, ast.Tuple) else [value]
    for one, other in zip(targets, values, strict=False):
        if isinstance(one, ast.Name) and isinstance(other, ast.Constant):
            yield one.id, other.value
