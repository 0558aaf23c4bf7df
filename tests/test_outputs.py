"""What a grade cell shows: the score as nbgrader reads it, and the checks behind it as a reader likes them."""

from __future__ import annotations

from nbformat import from_dict
from nbformat.v4 import new_code_cell
from nbgrader.utils import determine_grade

from autograder.core.grade_report import CheckResult, Status
from autograder.core.wording import describe_check
from autograder.course.score_cells import checks_output, score_output


def check(status: Status, **more: object) -> CheckResult:
    known = {"message": "expected 256, found <b>128</b>", "hint": "Double the channels.", "line": 14}
    given = {**known, "place": "code cell 3", **more}
    return CheckResult("02", "tests", "test_blocks", "Four blocks", 5.0, 0.0, status, **given)  # type: ignore[arg-type]


def test_nbgrader_reads_the_score_as_it_is() -> None:
    for score in (0.0, 2.5, 9.9, 20.0):
        cell = new_code_cell("check()")
        cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": 20, "grade_id": "tests"}
        cell.outputs = [from_dict(o) for o in (score_output(score), checks_output([check(Status.FAILED)]))]
        assert determine_grade(cell) == (score, 20.0)


def test_a_failed_check_shows_message_hint_and_line() -> None:
    text = describe_check(check(Status.FAILED))
    assert "expected 256, found <b>128</b>" in text
    assert "Hint: Double the channels." in text
    assert "See line 14 of code cell 3." in text


def test_a_skipped_check_shows_no_hint() -> None:
    assert "Hint" not in describe_check(check(Status.SKIPPED, message="not judged"))


def test_students_text_is_no_markup_in_the_table() -> None:
    page = checks_output([check(Status.FAILED, code="x = '<i>16</i>'")])["data"]["text/html"]
    assert "<b>128</b>" not in page
    assert "See line 14 of code cell 3: x = &#x27;&lt;i&gt;16&lt;/i&gt;&#x27;" in page
    assert "&lt;b&gt;128&lt;/b&gt;" in page
