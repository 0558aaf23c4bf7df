"""`autograder report`: the staff's pages."""

from __future__ import annotations

from pathlib import Path

import click

from autograder.cli.shared import (
    choose_assignment,
    course_option,
    open_current,
    report_folder,
)
from autograder.core.config import load_course
from autograder.core.errors import SetupError
from autograder.course.report_store import has_reports
from autograder.review.staff_report.write import write_course_report


@click.command("report")
@click.argument("assignment", required=False)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the pages.")
@click.option("--anonymous", is_flag=True, help="Name nobody, and show nothing that a student wrote.")
@course_option
def report_command(assignment: str | None, output: Path | None, anonymous: bool, root: Path | None) -> None:
    """Write the pages of all graded submissions, and print the path of the first one.

    An overview, what the class got wrong, a table of submissions, and a page for each; with the marks of the gradebook.
    They open from disk without a network. Without --output they go to reports/ASSIGNMENT in the course's folder, with
    --anonymous to reports/ASSIGNMENT-anonymous. Only pages that have changed are written.

    \b
    Exit codes: 0 written; 1 it could not be written, with the remedy; 2 wrong usage.
    """
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    if not has_reports(root, name):
        raise SetupError(f"no submission of {name!r} has been graded yet: run `autograder grade {name}`")
    course = open_current(root, name)
    folder = output or report_folder(root, f"{name}-anonymous" if anonymous else name)
    click.echo(write_course_report(course, configured, name, folder, anonymous=anonymous))
