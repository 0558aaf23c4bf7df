"""`autograder collect`: what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, examples, existing_file
from autograder.core.times import DEADLINE_EXAMPLE

SYSTEMS = ("canvas", "moodle", "folder")


@click.command(
    "collect",
    epilog=examples(
        "autograder collect submissions.zip --from canvas --dry-run",
        "autograder collect submissions.zip hw1 --from moodle --roster roster.csv",
        f"autograder collect handed-in/ --from folder --keep before-deadline --deadline {DEADLINE_EXAMPLE}",
    ),
)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@assignment_argument
@click.option(
    "--from",
    "system",
    type=click.Choice(SYSTEMS),
    required=True,
    help='What made FILE: Canvas\'s "Download Submissions", Moodle\'s "Download all submissions", or whatever has a '
    "folder or a zip for each student.",
)
@click.option(
    "--roster",
    "roster_path",
    type=existing_file,
    help="CSV file that maps ids and names to nbgrader's student ids: column student, and any of canvas_id, moodle_id, "
    "name, email, login.",
)
@click.option(
    "--receipts",
    "receipts_path",
    type=existing_file,
    help="CSV file of receipts that students hold: columns student, sha256.",
)
@click.option(
    "--keep",
    type=click.Choice(["latest", "before-deadline"]),
    default="latest",
    show_default=True,
    help="Which of several submissions of a student counts: the last one, or the last one before --deadline.",
)
@click.option("--deadline", metavar="TIME", help=f"The deadline, e.g. {DEADLINE_EXAMPLE}; later ones are named.")
@click.option(
    "--time-zone",
    "zone_name",
    metavar="NAME",
    help="Zone of times that have none, in FILE and --deadline, e.g. Europe/Vienna.  [default: this machine's]",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and touch nothing.")
@course_option
def collect_command(**options: Any) -> None:
    """Unpack an export of a learning management system into submitted/STUDENT/ASSIGNMENT/.

    FILE is the export, as a zip or unpacked. Zips that students packed are unpacked, their receipts checked. An older
    submission is moved to .autograder/intake/replaced, never merged; .autograder/intake keeps a record of each run.
    ASSIGNMENT may be left out where grader_config.py has only one.

    \b
    Exit codes:
      0  everything was collected, was unchanged, or was left out by the rule that you chose
      1  nothing, or nothing more, could be collected: the export, the roster or the disk, with remedies
      2  wrong usage
      3  some were not collected: damaged or oversized submissions, files that fit nobody; they are named
    """
    from autograder.cli.collect import CollectOptions, collect_submissions

    collect_submissions(CollectOptions(**options))
