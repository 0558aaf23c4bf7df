"""Write `docs/checks.md`, the table of every hidden check, from the graders: `python -m tools.checks_table`."""

from __future__ import annotations

import inspect
import runpy
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.config import Assignment, load_course
from tools.samples import ASSIGNMENT, ROOT

PAGE = ROOT / "docs" / "checks.md"
INTRODUCTION = """# What is checked

Written by `python -m tools.checks_table` from the hidden graders in `autograder/graders/`; a test keeps it current.
Titles and hints are what students see; the graders' inputs are drawn from the course's secret. A check that depends on
a failed one is skipped and earns nothing. One that the engine cannot decide for a valid program asks for a person.
"""


@dataclass(frozen=True)
class Check:
    """One hidden test as its decorators and docstring declare it."""

    name: str
    title: str
    cell: str
    points: float
    hint: str
    requires: tuple[str, ...]


def read_checks(path: Path) -> Iterator[Check]:
    """The checks of a grader file, in its order."""
    for name, function in runpy.run_path(str(path)).items():
        marks = {mark.name: mark for mark in getattr(function, "pytestmark", [])}
        if name.startswith("test_") and "points" in marks:
            title = (inspect.getdoc(function) or name).splitlines()[0]
            own, required = marks["points"], marks["requires"].args if "requires" in marks else ()
            yield Check(name, title, own.kwargs["cell"], float(own.args[0]), own.kwargs.get("hint", ""), required)


def render(assignment: Assignment) -> str:
    """The page, one table for each exercise."""
    parts = [INTRODUCTION]
    for exercise in assignment.exercises:
        checks = list(read_checks(Path(assignment.graders) / exercise.grader))
        titles = {check.name: check.title for check in checks}
        parts.append(f"## {exercise.notebook}\n\n| cell | check | points | hint | depends on |\n|---|---|---|---|---|")
        for check in checks:
            needs = "; ".join(titles[name] for name in check.requires)
            hint = check.hint.replace("|", "\\|")
            parts[-1] += f"\n| `{check.cell}` | {check.title} | {check.points:g} | {hint} | {needs} |"
        parts[-1] += "\n"
    return "\n".join(parts)


def main() -> int:
    """Write the page, or with `--check` say whether it is current."""
    text = render(load_course(ROOT).assignment(ASSIGNMENT))
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == text else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
