"""The command `autograder feedback`: nbgrader's feedback pages, and the same as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from autograder.cli.ending import NOT_ALL_GRADED, NOTHING_GRADED, complain
from autograder.cli.shared import choose_assignment, count, open_current
from autograder.core.config import load_course
from autograder.core.errors import SetupError
from autograder.core.rows import Currency
from autograder.core.text import clean_name, did_you_mean
from autograder.course.currency import currencies
from autograder.course.folder import NbCourse
from autograder.course.report_store import load_reports
from autograder.review.feedback.generate import Form, generate_feedback, graded_students
from autograder.review.feedback.json_form import render_json
from autograder.review.feedback.markdown import render_markdown


def make_feedback(
    assignment: str | None, students: tuple[str, ...], markdown: bool, as_json: bool, root: Path | None
) -> None:
    """Make the students' feedback anew: what `nbgrader generate_feedback --force` does, and more forms of it."""
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
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
    current = currencies(course, name, configured.assignment(name), load_reports(course.root, name))
    for student, found in current.items():
        shown = "; its feedback is about what was there before" if student in made.folders and found.is_outdated else ""
        if found is not Currency.GRADED:
            complain(f"{clean_name(student)}: {found.value}{shown}")
    click.echo(f"Feedback for {count(made.folders, 'student')}: {course.folder('feedback', 'STUDENT', name)}")
    if made.failed:
        raise click.exceptions.Exit(NOT_ALL_GRADED)


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
