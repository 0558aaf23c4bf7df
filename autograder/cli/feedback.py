"""The command `autograder feedback`: nbgrader's feedback pages, and the same as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from autograder.cli.shared import (
    NOT_ALL_GRADED,
    NOTHING_GRADED,
    choose_assignment,
    complain,
    count,
    course_option,
    open_current,
)
from autograder.core.config import load_course
from autograder.core.errors import SetupError
from autograder.core.rows import Currency
from autograder.core.text import clean_name, did_you_mean
from autograder.course.currency import currencies, present_rules
from autograder.course.folder import NbCourse
from autograder.course.report_store import load_reports
from autograder.review.feedback.generate import Form, generate_feedback, graded_students
from autograder.review.feedback.json_form import render_json
from autograder.review.feedback.markdown import render_markdown


@click.command("feedback")
@click.argument("assignment", required=False)
@click.option("--student", "students", multiple=True, metavar="ID", help="Only this student; may be given repeatedly.")
@click.option("--markdown", is_flag=True, help="Also write feedback.md, which says the same.")
@click.option("--json", "as_json", is_flag=True, help="Also write feedback.json, which says the same.")
@course_option
def feedback_command(
    assignment: str | None, students: tuple[str, ...], markdown: bool, as_json: bool, root: Path | None
) -> None:
    """Make the students' feedback anew: what `nbgrader generate_feedback --force` does, and more forms of it.

    It shows as much of the hidden checks as `Course(feedback=...)` in grader_config.py says, at this moment: run it
    again when a due date has passed. Nothing is graded. The files go to feedback/STUDENT/ASSIGNMENT, from where
    `nbgrader release_feedback` takes the pages.

    \b
    Exit codes: 0 all made; 1 none could be made, with the remedy; 2 wrong usage; 3 some could not be made (named).
    """
    root = (root or Path()).resolve()
    name = choose_assignment(load_course(root), assignment)
    course = open_current(root, name)
    forms: dict[str, Form] = {}
    if markdown:
        forms["feedback.md"] = render_markdown
    if as_json:
        forms["feedback.json"] = render_json
    made = generate_feedback(course, name, _choose(course, name, students), forms)
    for student in made.failed:
        complain(f"No feedback for {clean_name(student)}: see {made.log}")
    if not made.folders:
        raise click.exceptions.Exit(NOTHING_GRADED)
    for student, found in not_of_the_last(course, name).items():
        shown = "; its feedback is about what was there before" if student in made.folders and found.is_outdated else ""
        complain(f"{clean_name(student)}: {found.value}{shown}")
    click.echo(f"Feedback for {count(made.folders, 'student')}: {course.folder('feedback', 'STUDENT', name)}")
    if made.failed:
        raise click.exceptions.Exit(NOT_ALL_GRADED)


def not_of_the_last(course: NbCourse, assignment: str) -> dict[str, Currency]:
    """Whose feedback is missing, or is not of what they handed in last."""
    found = currencies(
        load_reports(course.root, assignment), course.submissions(assignment), present_rules(course.root, assignment)
    )
    return {student: state for student, state in found.items() if state is not Currency.GRADED}


def _choose(course: NbCourse, assignment: str, wanted: Sequence[str]) -> list[str]:
    """Whose feedback to make. Raises click.UsageError, or SetupError where nothing has been graded."""
    known = graded_students(course, assignment)
    if not known:
        raise SetupError(f"no submission of {assignment!r} has been graded: run `autograder grade {assignment}` first")
    for student in wanted:
        if student not in known:
            raise click.UsageError(
                f"no graded submission of {assignment!r} by {student!r}{did_you_mean(student, known)}"
            )
    return [student for student in known if not wanted or student in wanted]
