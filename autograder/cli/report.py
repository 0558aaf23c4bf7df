"""`autograder report`: the staff's pages."""

from __future__ import annotations

from pathlib import Path

import click

from autograder.cli.shared import choose_assignment, open_current, report_folder
from autograder.core.config import load_course
from autograder.core.errors import SetupError
from autograder.course.report_store import has_reports
from autograder.review.staff_report.write import write_course_report


def write_report(assignment: str | None, output: Path | None, anonymous: bool, root: Path | None) -> None:
    """Write the pages of all graded submissions, and print the path of the first one."""
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    if not has_reports(root, name):
        raise SetupError(f"no submission of {name!r} has been graded yet: run `autograder grade {name}`")
    course = open_current(root, name)
    folder = output or report_folder(root, f"{name}-anonymous" if anonymous else name)
    click.echo(write_course_report(course, configured, name, folder, anonymous=anonymous))
