"""A valid program that the engine cannot judge: never a silent zero, for the check, what hangs on it, or the reader."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from autograder.core.config import Exercise
from autograder.core.grade_report import CheckResult, GradeReport, Status
from autograder.core.wording import describe_check, undecided_points
from autograder.course.score_cells import checks_output
from autograder.judging.hidden_tests import run_graders

GRADER = '''
from autograder.checks import expect, points, requires, undecided

@points(2, cell="tests", hint="Do it right.")
def test_free(graded):
    """Stands by itself"""

@points(3, cell="tests", hint="Do it right.")
def test_hard(graded):
    """Cannot be judged"""
    undecided("forward decides by the values of a tensor", line=200_012)

@points(4, cell="tests", hint="Do it right.")
def test_wrong(graded):
    """Is wrong"""
    expect(False, "expected 2, found 3")

@points(5, cell="tests", hint="Do it right.")
@requires("test_free", "test_hard")
def test_hangs_on_hard(graded):
    """Hangs on what cannot be judged"""

@points(6, cell="tests", hint="Do it right.")
@requires("test_hard", "test_wrong")
def test_hangs_on_both(graded):
    """Hangs on what cannot be judged, and on what is wrong"""
'''


def graded(tmp_path: Path) -> dict[str, CheckResult]:
    (tmp_path / "test_task.py").write_text(GRADER)
    exercise = Exercise(notebook="task", grader="test_task.py", cells={"tests": 20})
    results = run_graders(tmp_path / "test_task.py", SimpleNamespace(exercise=exercise))
    return {result.name: result for result in results}


def test_what_hangs_on_an_undecided_check_is_undecided_too(tmp_path: Path) -> None:
    found = graded(tmp_path)
    assert {name: result.status.value for name, result in found.items()} == {
        "test_free": "PASSED",
        "test_hard": "UNSUPPORTED",
        "test_wrong": "FAILED",
        "test_hangs_on_hard": "UNSUPPORTED",
        "test_hangs_on_both": "SKIPPED",  # what is wrong is wrong, however the other would be decided
    }
    assert found["test_hangs_on_hard"].message == "undecided, because “Cannot be judged” is"
    assert "“Is wrong” did not pass" in found["test_hangs_on_both"].message


def test_the_cell_waits_for_a_person_and_keeps_its_decided_points(tmp_path: Path) -> None:
    report = GradeReport("ada", "cnn", list(graded(tmp_path).values()), cells={"task": {"tests": 20.0}})
    (score,) = report.cell_scores()
    assert (score.earned, score.maximum, score.needs_person) == (2.0, 20.0, True)


def test_the_marker_is_told_the_range_and_the_student_that_nothing_is_lost(tmp_path: Path) -> None:
    checks = list(graded(tmp_path).values())
    for_student, for_marker = undecided_points(checks)
    assert for_student.startswith("8 of 20 points are undecided: your program may be right")
    assert for_student.endswith("A person will; no points are lost by that.")
    assert for_marker == (
        "For who marks it: give this cell 2 points for the decided checks, plus 0 to 8 for the undecided ones "
        "(marked ?), so 2 to 10 in all."
    )
    for text in checks_output(checks)["data"].values():
        assert for_student in text
        assert for_marker in text


def test_an_undecided_check_gives_the_reason_and_the_way_out_and_no_hint_for_those_who_are_wrong(
    tmp_path: Path,
) -> None:
    text = describe_check(graded(tmp_path)["test_hard"])
    assert "forward decides by the values of a tensor" in text
    assert "A person will mark this check, and no points are lost by it." in text
    assert "write it another way and hand in again" in text
    assert "Do it right." not in text


def test_where_all_is_decided_nothing_is_said(tmp_path: Path) -> None:
    decided = [result for result in graded(tmp_path).values() if result.status is not Status.UNSUPPORTED]
    assert undecided_points(decided) == []


def test_what_was_repaired_stands_above_the_checks_as_text_only(tmp_path: Path) -> None:
    notes = ["found as `<script>.ipynb`, known by its cells"]
    page = checks_output(list(graded(tmp_path).values()), notes)["data"]["text/html"]
    assert "<p>About your notebook: found as `&lt;script&gt;.ipynb`, known by its cells.</p>" in page
