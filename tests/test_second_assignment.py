"""CONTRIBUTING's five steps, carried out: the engine grades an assignment it has never heard of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autograder.core.config_values import ConfigError
from autograder.core.grade_report import Status
from autograder.jail import find_isolation
from autograder.pipeline import grade
from autograder.pipeline.grader import open_grader
from tests.conftest import nbgrader

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python (file|cell)=(\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def code_cell(source: str, grade_id: str, **own: Any) -> dict[str, Any]:
    flags = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False}
    metadata = {"nbgrader": {**flags, "grade_id": grade_id, **own}}
    return {
        "cell_type": "code",
        "id": grade_id,
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course made of nothing but the text of CONTRIBUTING.md, with its release generated."""
    if find_isolation().level == "none":
        pytest.skip(f"no jail on this machine: {find_isolation().problem}")
    root = tmp_path_factory.mktemp("course")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    cells = {}
    for kind, name, content in BLOCK.findall(text):
        if kind == "file":
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(content)
        else:
            cells[name] = content
    kinds = {name: (kind, cell_text.strip().strip("`")) for name, kind, cell_text in ROW.findall(text)}
    assert kinds["square-tests"][0].strip() == "autograder tests, 3 points"
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "cells": [
            code_cell(cells["square-solution"], "square-solution", solution=True),
            code_cell(kinds["square-tests"][1], "square-tests", grade=True, locked=True, points=3),
        ],
    }
    (root / "source" / "squares").mkdir(parents=True)
    (root / "source" / "squares" / "01_square.ipynb").write_text(json.dumps(notebook))
    (root / "nbgrader_config.py").write_text((ROOT / "nbgrader_config.py").read_text())
    done = nbgrader(root, "generate_assignment", "squares")
    assert done.returncode == 0, done.stderr
    return root


def hand_in(course: Path, student: str, answer: str) -> Path:
    """The released notebook with its solution cell filled."""
    folder = course / "submitted" / student / "squares"
    folder.mkdir(parents=True)
    notebook = json.loads((course / "release" / "squares" / "01_square.ipynb").read_text())
    notebook["cells"][0]["source"] = answer
    (folder / "01_square.ipynb").write_text(json.dumps(notebook))
    return folder


@pytest.mark.parametrize(
    ("student", "answer", "earned", "statuses"),
    [
        ("right", "square = lambda number: number ** 2", 3.0, [Status.PASSED, Status.PASSED]),
        ("absolute", "def square(number):\n    return number * abs(number)", 2.0, [Status.PASSED, Status.FAILED]),
        ("raises", "def square(number):\n    return number / 0", 0.0, [Status.ERROR, Status.ERROR]),
        ("nothing", "raise NotImplementedError()", 0.0, [Status.FAILED, Status.FAILED]),
    ],
)
def test_the_new_exercise_is_graded(
    course: Path, student: str, answer: str, earned: float, statuses: list[Status]
) -> None:
    grader = open_grader(course, "squares")
    report = grade.grade_submission(grader, student, hand_in(course, student, answer))
    assert [check.status for check in report.checks] == statuses, report.checks
    assert report.earned == earned
    assert report.maximum == 3.0


def test_the_check_command_of_step_five_shows_the_message(course: Path) -> None:
    folder = hand_in(course, "tries", "def square(number):\n    return number + number")
    command = [sys.executable, "-m", "autograder.cli", "check", str(folder / "01_square.ipynb")]
    command += ["squares", "--course", str(course)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "expected n times n" in done.stdout
    assert "Multiply the number by itself." in done.stdout


def test_a_test_cell_that_nobody_checks_stops_the_grading(course: Path, tmp_path: Path) -> None:
    released = json.loads((course / "release" / "squares" / "01_square.ipynb").read_text())
    released["cells"][1]["metadata"]["nbgrader"]["points"] = 5
    (tmp_path / "01_square.ipynb").write_text(json.dumps(released))
    with pytest.raises(ConfigError, match=r"release's test cells are .*5.0.* says .*3.0"):
        open_grader(course, "squares", release=tmp_path)


def test_the_engine_knows_neither_the_course_nor_an_exercise() -> None:
    """Exercise names live in grader_config.py, source/ and the graders; the offline set's docstring may say CNN."""
    words = re.compile(r"\bcnn\b|deeper|depthwise.separable|modern.?cnn|output.size", re.IGNORECASE)
    found = {}
    for path in sorted((ROOT / "autograder").rglob("*.py")):
        if "graders" not in path.parts:
            hits = [line for line in path.read_text().splitlines() if words.search(line)]
            if hits:
                found[path.name] = hits
    assert not found
