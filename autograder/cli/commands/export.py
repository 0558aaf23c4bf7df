"""`autograder export`: what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, examples, existing_file

FORMATS = ("canvas", "moodle", "csv", "gradescope")


@click.command(
    "export",
    epilog=examples(
        "autograder export --to canvas --gradebook canvas-gradebook.csv",
        "autograder export hw1 --to moodle --worksheet worksheet.csv --comments",
        "autograder export --to csv --long",
    ),
)
@assignment_argument
@click.option("--to", type=click.Choice(FORMATS), required=True, help="Where the marks go; csv is for a spreadsheet.")
@click.option("--gradebook", type=existing_file, help="canvas: the gradebook that you have exported from Canvas.")
@click.option(
    "--column",
    default="",
    metavar="TITLE",
    help='canvas: the column, as "Task 3 (12345)", unless one alone begins with the assignment\'s name. moodle: the '
    "grade item's name.",
)
@click.option("--worksheet", type=existing_file, help="moodle: fill in this offline grading worksheet.")
@click.option(
    "--by",
    type=click.Choice(["email", "id-number"]),
    default=None,
    help="moodle: how it knows students.  [default: email]",
)
@click.option("--comments", is_flag=True, help="moodle: add the points of each notebook as feedback.")
@click.option("--scale", is_flag=True, help="Multiply marks to fit the points that Canvas's or Moodle's column has.")
@click.option(
    "--roster", type=existing_file, help="Who is who, as for `autograder collect`, beside the gradebook's ids."
)
@click.option("--long", is_flag=True, help="csv: a row for each student and check, with result and message.")
@click.option(
    "--provisional",
    is_flag=True,
    help="Write what there is although marks are missing: the points so far of those who wait for a manual mark.",
)
@click.option("--final-only", is_flag=True, help="Write the final marks although others are missing; those stay blank.")
@click.option("--zeros", is_flag=True, help="Write 0 for those who handed nothing in.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The file, for gradescope the folder, to write.  [default: exports/ASSIGNMENT-FORMAT in the course's folder; "
    "ASSIGNMENT-csv-long with --long]",
)
@course_option
def export_command(**options: Any) -> None:
    """Write an assignment's marks for another system, every number as the gradebook has it.

    Nothing is written where a mark is not final: where somebody has handed in again, or was not graded yet, or waits
    for a manual mark, or could not be graded through the grader's own fault. They are named. With --final-only their
    places stay blank; with --provisional, too, but for the points so far of those who wait. Whoever is in one system
    and not in the other is named at the end.

    \b
    Exit codes: 0 everybody's mark was written; 1 nothing could be written, with the remedy; 2 wrong usage;
    3 written, but somebody who handed in has no mark in it.
    """
    from autograder.cli.export import export_marks

    export_marks(**options)
