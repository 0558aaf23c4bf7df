"""`autograder collect`: an export of a learning management system becomes submissions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import click
from rich.text import Text

from autograder.cli.collect_tables import show_intake
from autograder.cli.ending import NOT_ALL_GRADED
from autograder.cli.shared import CourseOptions, choose_assignment, make_console
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


def collect_submissions(given: CollectOptions) -> None:
    """Unpack an export of a learning management system into submitted/STUDENT/ASSIGNMENT/."""
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
        raise click.exceptions.Exit(NOT_ALL_GRADED)


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
