"""`autograder collect`: an export of a learning management system becomes submissions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from autograder.cli.collect_tables import show_intake
from autograder.cli.shared import NOT_ALL_GRADED, CourseOptions, choose_assignment, course_option, make_console
from autograder.core.config import load_course
from autograder.core.text import clean_name
from autograder.core.times import DEADLINE_EXAMPLE, TimeError, parse_deadline, parse_zone
from autograder.course.folder import open_course
from autograder.handin import collect


@dataclass(frozen=True)
class CollectOptions(CourseOptions):
    """What was given to `autograder collect`."""

    file: Path
    system: str
    assignment: str | None
    roster_path: Path | None
    receipts_path: Path | None
    keep: str
    deadline: str | None
    zone_name: str | None
    dry_run: bool


@click.command("collect")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from",
    "system",
    type=click.Choice(collect.SYSTEMS),
    required=True,
    help='What made FILE: Canvas\'s "Download Submissions", Moodle\'s "Download all submissions", or whatever has a '
    "folder or a zip for each student.",
)
@click.option("--assignment", metavar="NAME", help="Where grader_config.py has more than one.")
@click.option(
    "--roster",
    "roster_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file that maps ids and names to nbgrader's student ids: column student, and any of canvas_id, moodle_id, "
    "name, email, login.",
)
@click.option(
    "--receipts",
    "receipts_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
@click.pass_context
def collect_command(ctx: click.Context, /, **options: Any) -> None:
    """Unpack an export of a learning management system into submitted/STUDENT/ASSIGNMENT/.

    FILE is the export, as a zip or unpacked. Zips that students packed are unpacked, their receipts checked. An older
    submission is moved to .autograder/intake/replaced, never merged; .autograder/intake keeps a record of each run.

    \b
    Exit codes:
      0  everything was collected, was unchanged, or was left out by the rule that you chose
      1  nothing, or nothing more, could be collected: the export, the roster or the disk, with remedies
      2  wrong usage
      3  some were not collected: damaged or oversized submissions, files that fit nobody; they are named
    """
    given = CollectOptions(**options)
    root = given.course_root
    configured = load_course(root)
    name = choose_assignment(configured, given.assignment)
    course = open_course(root)
    zone, rules, assumed = read_times(given.keep, given.deadline, given.zone_name)
    roster = collect.read_roster(given.roster_path) if given.roster_path is not None else collect.Roster()
    receipts = collect.read_receipts(given.receipts_path, roster) if given.receipts_path is not None else []
    place = collect.SubmissionPlace(
        root,
        name,
        lambda student: Path(course.folder("submitted", student, name)),
        collect.known_names(name, configured.assignment(name), Path(course.folder("release", ".", name))),
        configured.limits.scratch_mib,
    )
    console = make_console()
    if assumed:
        console.print(Text(assumed, "yellow"))
    with console.status(Text(f"Reading {clean_name(given.file.name)} …")) as status:
        found = collect.collect(
            given.file,
            place,
            collect.Options(given.system, roster, receipts, rules, zone, given.dry_run),
            lambda student, total: status.update(Text(f"{clean_name(student)} (of {total}) …")),
        )
    show_intake(console, found, zone)
    if not found.is_whole:
        ctx.exit(NOT_ALL_GRADED)


def read_times(keep: str, deadline: str | None, zone_name: str | None) -> tuple[tzinfo | None, collect.Rules, str]:
    """Zone, rules, and a sentence where a zone had to be assumed. Raises click.UsageError."""
    if keep == "before-deadline" and deadline is None:
        raise click.UsageError(f"--keep before-deadline needs a deadline: --deadline {DEADLINE_EXAMPLE}")
    try:
        zone = parse_zone(zone_name) if zone_name is not None else None
        time, assumed = parse_deadline(deadline, zone) if deadline is not None else (None, "")
    except TimeError as error:
        raise click.UsageError(str(error)) from error
    return zone, collect.Rules(time, takes_late=keep == "latest"), assumed
