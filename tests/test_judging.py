"""The process that judges: whatever a submission makes of it, the results before stand, and the blame is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autograder.core.grade_report import FIGURES, GradeReport, Status
from autograder.core.notes import Note
from autograder.pipeline import grade
from autograder.pipeline.grader import open_grader
from autograder.pipeline.judgement import Judgement
from tests import tiny_course

ENDING = '''
import os, signal, time
from autograder.checks import expect, need, points

@points(3, cell="sums-tests")
def test_number(graded):
    """The total is a number"""
    expect(need(graded.evidence.answers["total"]).kind == "int", "total: expected an int")

@points(4, cell="sums-tests")
def test_total(graded):
    """The total is large enough"""
    {}

@points(1, cell="sums-tests")
def test_small(graded):
    """The total is small enough"""
'''


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("judging") / "course"
    tiny_course.make(root)
    tiny_course.hand_in(root, "ada", "60")
    assert judged(root, tiny_course.SUMS).earned == 18  # what ran is kept: the tests only judge
    return root


def judged(course: Path, text: str, seconds: float = 60) -> GradeReport:
    (course / "graders" / "test_sums.py").write_text(text)
    grader = open_grader(course, tiny_course.ASSIGNMENT)
    limits = replace(grader.course.limits, grader_seconds=seconds)
    grader = replace(grader, course=replace(grader.course, limits=limits))
    return grade.grade_submission(grader, "ada", course / "submitted" / "ada" / tiny_course.ASSIGNMENT)


ENDINGS = {
    "computing": ("signal.raise_signal(signal.SIGXCPU)", Status.TIMEOUT, "more computing time"),
    "time": ("time.sleep(600)", Status.TIMEOUT, "more time"),
    "memory": ("os._exit(97)", Status.OUT_OF_MEMORY, "more memory"),
    "crash": ("signal.raise_signal(signal.SIGSEGV)", Status.CRASHED, "ends the process"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_ends_the_process_costs_its_check_and_those_that_follow(course: Path, name: str) -> None:
    code, status, says = ENDINGS[name]
    report = judged(course, ENDING.format(code), seconds=12 if name == "time" else 60)
    checks = {check.name: check for check in report.checks}
    assert not report.is_internal
    assert checks["test_number"].status is Status.PASSED
    assert checks["test_total"].status is status
    assert says in checks["test_total"].message
    assert (checks["rest"].points, checks["rest"].status) == (1, status)
    assert checks["test_double"].status is Status.PASSED, "the next exercise is judged by a fresh process"
    assert report.earned == 13
    assert [flag.kind for flag in report.flags] == ["not-judged"]


@pytest.mark.parametrize("error", ["MemoryError()", "RecursionError()"])
def test_a_check_that_runs_out_of_memory_costs_itself(course: Path, error: str) -> None:
    report = judged(course, ENDING.format(f"raise {error}"))
    checks = {check.name: check.status for check in report.checks}
    assert checks["test_total"] is Status.OUT_OF_MEMORY
    assert checks["test_small"] is Status.PASSED


GRADERS_OWN = {
    "raises": ENDING.format("raise LookupError('a slip of the grader')"),
    "leaves": ENDING.format("os._exit(1)"),
    "hangs when it is read": "import time\ntime.sleep(600)\n",
    "crashes when it is read": "import signal\nsignal.raise_signal(signal.SIGSEGV)\n",
}


@pytest.mark.parametrize("name", GRADERS_OWN)
def test_a_hidden_grader_that_fails_by_itself_is_no_fault_of_a_student(course: Path, name: str) -> None:
    assert judged(course, GRADERS_OWN[name], seconds=12 if "hangs" in name else 60).is_internal


def test_what_the_graders_note_belongs_to_its_notebook() -> None:
    """Feedback shows each notebook's own notes."""
    found = Judgement()
    answer = {"checks": [], "notes": ["weights were found in a folder"], "flags": [], "facts": {}}
    found.add("04_modern_cnn", {**answer, **{name: [] for name in FIGURES}})
    assert found.notes == [Note("weights were found in a folder", notebook="04_modern_cnn")]
