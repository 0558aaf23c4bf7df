"""`autograder feedback`: what it takes."""

from __future__ import annotations

from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, examples


@click.command(
    "feedback",
    epilog=examples("autograder feedback", "autograder feedback hw1 --student ada --markdown --json"),
)
@assignment_argument
@click.option("--student", "students", multiple=True, metavar="ID", help="Only this student; may be given repeatedly.")
@click.option("--markdown", is_flag=True, help="Also write feedback.md, which says the same.")
@click.option("--json", "as_json", is_flag=True, help="Also write feedback.json, which says the same.")
@course_option
def feedback_command(**options: Any) -> None:
    """Make the students' feedback anew: what `nbgrader generate_feedback --force` does, and more forms of it.

    It shows as much of the hidden checks as `Course(feedback=...)` in grader_config.py says, at this moment: run it
    again when a due date has passed. Nothing is graded. The files go to feedback/STUDENT/ASSIGNMENT, from where
    `nbgrader release_feedback` takes the pages.

    \b
    Exit codes: 0 all made; 1 none could be made, with the remedy; 2 wrong usage; 3 some could not be made (named).
    """
    from autograder.cli.feedback import make_feedback

    make_feedback(**options)
