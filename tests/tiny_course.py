"""A course of two small notebooks, graded by the real engine in seconds: for tests of what happens around grading."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from nbgrader.api import Gradebook

from autograder.cli import main
from tests.conftest import nbgrader

ROOT = Path(__file__).resolve().parent.parent
ASSIGNMENT = "tiny"
CONFIG = """
from pathlib import Path
from autograder.config import AnswerProbe, Assignment, CallProbe, Course, Drawn, Exercise, Limits

SUMS = Exercise(
    notebook="01_sums",
    grader="test_sums.py",
    cells={"sums-tests": 8},
    answers=[AnswerProbe("total")],
    settings={"full": 50, "zero": 30, "unit": "apples"},
)
DOUBLES = Exercise(
    notebook="02_doubles",
    grader="test_doubles.py",
    cells={"doubles-tests": 10},
    calls=[CallProbe("double", {"any": [Drawn(number=(2, 99), times=2)]})],
    settings={"full": 2},
)
COURSE = Course(
    {"tiny": Assignment([SUMS, DOUBLES], graders=Path("graders"), needs_test_set=False)},
    limits=Limits(cell_seconds=3, notebook_seconds=20, submission_seconds=60),
    isolation="none",
)
"""
SUMS = '''
from autograder.checks import award, expect, need, points


@points(3, cell="sums-tests", hint="Count the apples.")
def test_number(graded):
    """The total is a number"""
    expect(need(graded.evidence.answers["total"]).kind == "int", "total: expected an int")


@points(5, cell="sums-tests", hint="Add them all.")
def test_total(graded):
    """The total is large enough"""
    settings, total = graded.exercise.settings, need(graded.evidence.answers["total"]).value
    part = (total - settings["zero"]) / (settings["full"] - settings["zero"])
    if part < 1:
        award(part, f"total: expected {settings['full']}, got {total}")
'''
DOUBLES = '''
from autograder.checks import expect, need, points


@points(10, cell="doubles-tests", hint="Twice the number.")
def test_double(graded):
    """The double of a number"""
    for call in graded.evidence.calls["double"]["any"]:
        expect(need(call.result).value == 2 * call.arguments["number"], "double(n): expected 2 n")
'''
RIGHT, WRONG = "double = lambda number: 2 * number", "double = lambda number: number"


def cell(grade_id: str, source: str, kind: str = "code", **own: Any) -> dict[str, Any]:
    flags = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False}
    made: dict[str, Any] = {"cell_type": kind, "id": grade_id, "source": source}
    made["metadata"] = {"nbgrader": {**flags, "grade_id": grade_id, **own}}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def sums(answer: str, why: str) -> dict[str, Any]:
    return notebook(
        cell("sums-solution", answer, solution=True),
        cell("sums-tests", "# graded", grade=True, locked=True, points=8),
        cell("sums-why", why, "markdown", grade=True, solution=True, points=2),
    )


def doubles(answer: str) -> dict[str, Any]:
    return notebook(
        cell("doubles-solution", answer, solution=True),
        cell("doubles-tests", "# graded", grade=True, locked=True, points=10),
    )


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": list(cells)}


def make(root: Path) -> None:
    """Write the course, with a release that nbgrader generated."""
    shutil.copytree(_released(), root, dirs_exist_ok=True)


@cache
def _released() -> Path:
    """The course as it is made once in this process."""
    place = Path(tempfile.mkdtemp(prefix="autograder-tiny-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    root = place / "course"  # others may read a course, and nobody this place
    (root / "graders").mkdir(parents=True)
    (root / "graders" / "test_sums.py").write_text(SUMS)
    (root / "graders" / "test_doubles.py").write_text(DOUBLES)
    (root / "grader_config.py").write_text(CONFIG)
    wiring = (ROOT / "nbgrader_config.py").read_text()
    (root / "nbgrader_config.py").write_text(wiring)
    (root / "source" / ASSIGNMENT).mkdir(parents=True)
    blank = "### BEGIN SOLUTION\n### END SOLUTION"
    for name, made in (("01_sums", sums(blank, "Why?")), ("02_doubles", doubles(blank))):
        (root / "source" / ASSIGNMENT / f"{name}.ipynb").write_text(json.dumps(made))
    done = nbgrader(root, "generate_assignment", ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    return root


def keep_results(root: Path, fill: Callable[[Path], object] = lambda _: None) -> None:
    """Let a copy of the course, with what `fill` hands in besides, be graded, and keep what came of it by content: for
    tests of what happens around grading. What they hand in alike is not run in a jail and judged again."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "course"
        shutil.copytree(root, copy, symlinks=True)
        fill(copy)
        done = grade(copy)
        assert done.exit_code == 0, done.output
        for name in ("secret", "cache"):
            (root / ".autograder").mkdir(exist_ok=True)
            shutil.move(copy / ".autograder" / name, root / ".autograder" / name)


def hand_in(root: Path, student: str, total: str, double: str | None = RIGHT, why: str = "Why?") -> Path:
    """A submission: code for `total`, for `double` (None: that notebook is missing), and a text for `sums-why`."""
    folder = root / "submitted" / student / ASSIGNMENT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "01_sums.ipynb").write_text(json.dumps(sums(f"total = {total}", why)))
    (folder / "02_doubles.ipynb").unlink(missing_ok=True)
    if double is not None:
        (folder / "02_doubles.ipynb").write_text(json.dumps(doubles(double)))
    return folder


def run(*arguments: object) -> Result:
    """The command `autograder`, in this process."""
    result = CliRunner().invoke(main.main, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output, result.output
    return result


def grade(root: Path, *arguments: object) -> Result:
    return run("grade", "--course", root, "--no-report", *arguments)


def give_mark(
    root: Path, student: str, notebook_name: str, cell_name: str, score: float | None, extra: float | None = None
) -> None:
    """What formgrader does when a person saves a mark (nbgrader's GradeHandler)."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade(cell_name, notebook_name, ASSIGNMENT, student)
        grade.manual_score, grade.extra_credit = score, extra
        grade.needs_manual_grade = grade.manual_score is None and grade.auto_score is None
        gradebook.db.commit()
