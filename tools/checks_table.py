"""Write `docs/checks.md`, every hidden check and what it says to each known mistake: `python -m tools.checks_table`.

The checks come from the graders' own marks and docstrings, the messages from `proof.json`: `make graders` graded each
mistake and kept what was said.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.core.config import Assignment, Exercise, load_course
from autograder.core.declared_checks import declared_checks, points_of_checks
from autograder.core.fields import exercise_values, fill
from autograder.judging.proof import ProvedCase, read_proof
from tools.samples import ASSIGNMENT, ROOT

PAGE = ROOT / "docs" / "checks.md"
INTRODUCTION = """# What is checked, and what is said to whom

Written by `make graders` from the hidden graders in `autograder/graders/` and from what they said to every known
mistake of `tests/mutants/`; a test keeps it current. Titles, hints and messages are what students see; the graders'
inputs are drawn from the course's secret and appear in none of them. A check that depends on a failed one is skipped
and earns nothing. One that the engine cannot decide for a valid program asks for a person.

The graders: {proof}.
Figures in messages on accuracy were measured on {data}.
"""


@dataclass(frozen=True)
class Check:
    """One hidden test as students read of it."""

    name: str
    title: str
    cell: str
    points: float
    hint: str
    requires: tuple[str, ...]


def read_checks(path: Path, exercise: Exercise) -> Iterator[Check]:
    """The checks of a grader file, in its order, with the points and texts that the configuration gives them."""
    declared, values = declared_checks(path), exercise_values(exercise)
    points = points_of_checks(declared, exercise.cells)
    for check in declared:
        title, hint = fill(check.title, values), fill(check.hint, values)
        yield Check(check.name, title, check.cell, points[check.name], hint, check.requires)


def render(assignment: Assignment) -> str:
    """The page: for each exercise its checks, and below each the mistakes that it catches."""
    graders = Path(assignment.graders)
    proof = read_proof(graders)
    cases = proof.cases if proof else ()
    parts = [INTRODUCTION.format(proof=proof.describe() if proof else "", data=proof.data if proof else "")]
    found = {
        exercise.notebook: list(read_checks(graders / exercise.grader, exercise)) for exercise in assignment.exercises
    }
    parts.append(contents({notebook: [check.title for check in checks] for notebook, checks in found.items()}))
    for exercise in assignment.exercises:
        checks = found[exercise.notebook]
        own = [case for case in cases if case.notebook == exercise.notebook]
        accepted = "; ".join(case.title for case in own if not case.is_mutant)
        parts.append(f"## {exercise.notebook}\n\nCorrect designs that are accepted: {accepted}.\n")
        titles = {check.name: check.title for check in checks}
        for check in checks:
            parts.append(_section(check, titles, [case for case in own if case.check == check.name]))
    return "\n".join(parts)


def contents(titles: Mapping[str, Sequence[str]]) -> str:
    """Links to every exercise and its checks, by the anchors that GitHub and GitLab give headings."""
    seen: Counter[str] = Counter()
    lines = []
    for notebook, own in titles.items():
        lines.append(f"- [{notebook}](#{_anchor(notebook, seen)})")
        lines += [f"  - [{title}](#{_anchor(title, seen)})" for title in own]
    return "\n".join(lines) + "\n"


def _anchor(heading: str, seen: Counter[str]) -> str:
    """In small letters, without punctuation, spaces as hyphens; the second of the same gets a number."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    seen[plain] += 1
    return plain if seen[plain] == 1 else f"{plain}-{seen[plain] - 1}"


def _section(check: Check, titles: dict[str, str], caught: Sequence[ProvedCase]) -> str:
    needs = "; ".join(titles[name] for name in check.requires)
    points = f"{check.points:g} point{'s' * (check.points != 1)}"
    lines = [f"### {check.title}", "", f"`{check.cell}`, {points}. Hint: {check.hint}"]
    lines += [f"Depends on: {needs}."] if needs else []
    if caught:
        lines += ["", "| mistake | message | points to |", "|---|---|---|"]
        lines += [f"| {case.title} | {_cell(case.message)} | {_code(case.line)} |" for case in caught]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(line: str) -> str:
    return f"`{_cell(line)}`" if line else ""


def write() -> None:
    """Write the page for the course's own assignment."""
    PAGE.write_text(render(load_course(ROOT).assignment(ASSIGNMENT)))


def main() -> int:
    """Write the page, or with `--check` say whether it is current."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == render(load_course(ROOT).assignment(ASSIGNMENT)) else 1
    write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
