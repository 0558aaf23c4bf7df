"""A made-up course with written answers to mark: nbgrader's own gradebook and reports, nothing graded, in a second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nbgrader.api import Gradebook
from sqlalchemy import text as sql

from autograder.core.files import digest_of
from autograder.core.grade_report import AnswerCell, CheckResult, GradeReport, Status
from autograder.course.folder import open_course
from autograder.course.report_store import report_path, save_report
from tests.tiny_course import ASSIGNMENT, CONFIG, DOUBLES, SUMS, notebook
from tests.tiny_course import cell as make_cell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, WHY, TESTS, PLACE = "01_sums", "sums-why", "sums-tests", "sums-solution"
RELEASED = "YOUR ANSWER HERE"
HOSTILE = (
    "Taken over? <script>document.title='taken over'</script> [press me](javascript:document.title='taken&#32;over') "
    "<img src=x onerror=\"document.title='taken over'\"> <b onclick=\"document.title='taken over'\">bold</b> "
    "<form action='/names' method=post><button id=save>Save</button></form> ![gone](https://example.org/a.png) "
    "<style>body{display:none}</style> and the formula $\\frac{1}{C_{out}} + \\frac{1}{k^2}$."
)


def make(root: Path, answers: Sequence[str], undecided: Sequence[int] = ()) -> Path:
    """A course where student n has written answers[n]; for those in `undecided` a check could not be decided."""
    (root / "graders").mkdir(parents=True)
    (root / "graders" / "test_sums.py").write_text(SUMS)
    (root / "graders" / "test_doubles.py").write_text(DOUBLES)
    (root / "grader_config.py").write_text(CONFIG)
    shutil.copyfile(ROOT / "nbgrader_config.py", root / "nbgrader_config.py")
    for step, text in (("release", RELEASED), ("source", "Since $1 + 1 = 2$.")):
        (root / step / ASSIGNMENT).mkdir(parents=True)
        (root / step / ASSIGNMENT / f"{NOTEBOOK}.ipynb").write_text(json.dumps(_notebook(text)))
    url = open_course(root).db_url
    with Gradebook(url) as gradebook:
        gradebook.db.execute(sql("pragma synchronous = off"))  # nbgrader commits each submission
        gradebook.add_assignment(ASSIGNMENT)
        gradebook.add_notebook(NOTEBOOK, ASSIGNMENT)
        gradebook.add_grade_cell(TESTS, NOTEBOOK, ASSIGNMENT, max_score=8, cell_type="code")
        gradebook.add_solution_cell(PLACE, NOTEBOOK, ASSIGNMENT)
        gradebook.add_grade_cell(WHY, NOTEBOOK, ASSIGNMENT, max_score=5, cell_type="markdown")
        gradebook.add_solution_cell(WHY, NOTEBOOK, ASSIGNMENT)
        with gradebook.db.no_autoflush:  # else SQLAlchemy warns of each submission that nbgrader puts together
            for number, text in enumerate(answers):
                report = report_of(number, text, number in undecided)
                path = report_path(root, ASSIGNMENT, report.student)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(report.to_json())
                _enter(gradebook, report)
        gradebook.db.commit()
    return root


def student(number: int) -> str:
    return f"student-{number:03}"


def report_of(number: int, text: str, undecided: bool = False) -> GradeReport:
    status = Status.UNSUPPORTED if undecided else Status.PASSED
    message = "forward branches on the data" if undecided else ""
    checks = [
        CheckResult(NOTEBOOK, TESTS, "test_number", "The total is a number", 3, 3, Status.PASSED),
        CheckResult(NOTEBOOK, TESTS, "test_total", "The total is large", 5, 0 if undecided else 5, status, message),
    ]
    sources = [AnswerCell(1, "code", PLACE, "total = 50"), AnswerCell(3, "markdown", WHY, text)]
    return GradeReport(
        student(number),
        ASSIGNMENT,
        checks,
        cells={NOTEBOOK: {TESTS: 8.0}},
        key=digest_of(text),
        answers={NOTEBOOK: {TESTS: digest_of("code"), WHY: digest_of("text", text)}},
        sources={NOTEBOOK: sources},
    )


def regrade(root: Path, number: int, text: str) -> None:
    """Another answer of a student's was graded."""
    save_report(root, replace(report_of(number, text)))


def _notebook(text: str) -> dict[str, object]:
    return notebook(
        {"cell_type": "markdown", "id": "intro", "metadata": {}, "source": "## Sums"},
        make_cell(PLACE, "", solution=True),
        make_cell(TESTS, "# graded", grade=True, locked=True, points=8),
        {"cell_type": "markdown", "id": "asked", "metadata": {}, "source": "## Why?\n\nSay **why** it is $1 + 1$."},
        make_cell(WHY, text, "markdown", grade=True, solution=True, points=5),
    )


def _enter(gradebook: Gradebook, report: GradeReport) -> None:
    gradebook.add_student(report.student)
    scores = {score.cell: score for score in report.cell_scores()}
    for own in gradebook.add_submission(ASSIGNMENT, report.student).notebooks:
        for grade in own.grades:
            score = scores.get(grade.cell.name)
            grade.auto_score = score.earned if score else None
            grade.needs_manual_grade = score.needs_person if score else True
