"""`autograder report`: what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, examples


@click.command(
    "report",
    epilog=examples("autograder report", "autograder report hw1 --anonymous", "autograder report --output pages/"),
)
@assignment_argument
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the pages.")
@click.option("--anonymous", is_flag=True, help="Name nobody, and show nothing that a student wrote.")
@course_option
def report_command(**options: Any) -> None:
    """Write the pages of all graded submissions, and print the path of the first one.

    An overview, what the class got wrong, a table of submissions, and a page for each; with the marks of the gradebook.
    They open from disk without a network. Without --output they go to reports/ASSIGNMENT in the course's folder, with
    --anonymous to reports/ASSIGNMENT-anonymous. Only pages that have changed are written.

    \b
    Exit codes: 0 written; 1 it could not be written, with the remedy; 2 wrong usage.
    """
    from autograder.cli.report import write_report

    write_report(**options)
