"""The commands `autograder extensions`, `groups` and `forget`: what happens to a course over its weeks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich import box
from rich.table import Table
from rich.text import Text

from autograder.cli.shared import choose_assignment, count, make_console
from autograder.core.config import Assignment, load_course
from autograder.core.config_values import CONFIG_FILE
from autograder.core.errors import SetupError
from autograder.core.rows import Standing
from autograder.core.text import clean_name, did_you_mean, one_line
from autograder.core.times import TimeError, parse_zone
from autograder.course import upkeep
from autograder.course.extensions import Extension, load_extensions, read_extensions, save_extensions
from autograder.course.folder import open_course
from autograder.course.forget import ForgetError, check_id, find_traces, forget, known_students, what_remains, words_of
from autograder.course.gradebook import read_standings
from autograder.course.groups import load_groups, read_groups, save_groups
from autograder.course.kept_results import unattributed
from autograder.course.late import penalties_of
from autograder.course.lock import CourseBusy, lock_course
from autograder.course.upkeep import Shift

OUTSIDE = (
    "Not looked at: what lies outside of the course's folder (backups, nbgrader's exchange, the learning management "
    "system, marks that were exported), and the history of a repository."
)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """With the course's lock. Raises SetupError where another grader is at work."""
    try:
        lock = lock_course(root)
    except CourseBusy as error:
        raise SetupError(str(error)) from error
    with lock:
        yield


def give_extensions(
    file: Path, assignment: str | None, zone_name: str | None, dry_run: bool, root: Path | None
) -> None:
    """Give students more time, as a CSV file says, and take back the late penalties that it undoes."""
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    course = open_course(root)
    chosen = configured.assignment(name)
    standings = read_standings(course.db_url, name)
    due = due_of(chosen, standings, name)
    zone = choose_zone(zone_name, chosen)
    listed = read_extensions(file, zone, due)
    console = make_console()
    if listed.assumed:
        console.print(Text(listed.assumed, "yellow"))
    with alone(root):
        wanted = {**load_extensions(root, name), **listed.extensions}
        why = {student: extension_in_words(extension, due, zone) for student, extension in listed.extensions.items()}
        penalties = penalties_of(upkeep.late_plugin(course.app))
        if dry_run:
            shifts = upkeep.refresh_penalties(course.db_url, root, name, penalties, planned=wanted)
        else:
            save_extensions(root, name, wanted)
            upkeep.enter_dates(course.db_url, root, name, chosen.due_at)
            shifts = upkeep.refresh_penalties(course.db_url, root, name, penalties, why)
    console.print(extensions_table(listed.extensions, standings, shifts, due, zone))
    name_unknown(listed.extensions, known_students(course, [name]))
    console.print("Nothing was written." if dry_run else f"Extensions of {name} are in the gradebook.")


def due_of(assignment: Assignment, standings: Mapping[str, Standing], name: str) -> datetime:
    """When an assignment is due for everybody, in UTC. Raises SetupError."""
    if assignment.due_at is not None:
        return assignment.due_at
    for standing in standings.values():
        if standing.due is not None:
            return (standing.due - timedelta(seconds=standing.extension_seconds)).replace(tzinfo=timezone.utc)
    raise SetupError(
        f"{name} has no due date to extend: add one to {CONFIG_FILE}, "
        'Assignment(..., due="2026-12-04 23:59", time_zone="Europe/Vienna")'
    )


def choose_zone(name: str | None, assignment: Assignment) -> tzinfo | None:
    """The zone of times that have none; None for this machine's. Raises click.UsageError."""
    try:
        if name is not None:
            return parse_zone(name)
    except TimeError as error:
        raise click.UsageError(str(error)) from error
    return ZoneInfo(assignment.time_zone) if assignment.time_zone else None


def extension_in_words(extension: Extension, due: datetime, zone: tzinfo | None) -> str:
    """An extension for the record of changes."""
    return f"extension until {_local(due + extension.beyond(due), zone)}" if extension else "no extension any more"


def _local(time: datetime, zone: tzinfo | None) -> str:
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def extensions_table(
    extensions: Mapping[str, Extension],
    standings: Mapping[str, Standing],
    shifts: list[Shift],
    due: datetime,
    zone: tzinfo | None,
) -> Table:
    """What everybody has now, and what it changes. Lateness is given in hours, beyond the student's own due date."""
    table = Table("Student", "Until", "Late by", "Late penalty", "Total", box=box.SIMPLE_HEAD, show_edge=False)
    moved = {shift.student: shift for shift in shifts}
    listed = [student for student in moved if student not in extensions]  # their marks or the policy have changed
    for student in [*extensions, *listed]:
        standing, shift = standings.get(student), moved.get(student)
        extension = extensions.get(student)
        until = "" if extension is None else _local(due + extension.beyond(due), zone) if extension else "no extension"
        late = _lateness(standing, extension, due)
        penalty = f"{shift.penalty_before:.4g} → {shift.penalty_after:.4g}" if shift else ""
        table.add_row(
            Text(clean_name(student)), until, late, penalty, f"{shift.before:g} → {shift.after:g}" if shift else ""
        )
    return table


def _lateness(standing: Standing | None, extension: Extension | None, due: datetime) -> str:
    if standing is None or standing.handed_in is None:
        return "no time known" if standing is not None and standing.is_submitted else "nothing handed in yet"
    if extension is None:
        return _hours(standing.seconds_late)
    after = (standing.handed_in.replace(tzinfo=timezone.utc) - due - extension.beyond(due)).total_seconds()
    return f"{_hours(standing.seconds_late)} → {_hours(max(after, 0.0))}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds else "in time"


def name_unknown(students: Mapping[str, object], known: list[str]) -> None:
    """Say who has neither handed in nor a place in the gradebook: it may be a misspelling."""
    for student in students:
        if student not in known:
            meant = did_you_mean(student, known)
            click.secho(f"{clean_name(student)} is not known in the course so far{one_line(meant)}", fg="yellow")


def take_up_groups(file: Path, assignment: str | None, root: Path | None) -> None:
    """Take up who works together: one submission, marks for all members."""
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    course = open_course(root)
    found = read_groups(file)
    known = known_students(course, [name])
    with alone(root):
        groups = load_groups(root, name)
        members = {student for own in found.values() for student in own}
        held = {student: marks for student, marks in groups.held.items() if student in members}
        save_groups(root, name, replace(groups, members=found, held=held))
        remarks = upkeep.share_submissions(course, name, configured.limits)
    for remark in [*remarks, *upkeep.bring_up_to_date(course, name)]:
        click.echo(one_line(remark))
    name_unknown(dict.fromkeys(sorted(members)), known)
    click.echo(f"{count(found, 'group')} with {count(members, 'student')} in {name}: `autograder grade {name}` grades.")


def forget_student(student: str, yes: bool, root: Path | None) -> None:
    """Delete everything that the course's folder holds of a student, after showing the list."""
    root = (root or Path()).resolve()
    assignments = load_course(root).names
    course = open_course(root)
    try:
        check_id(student)
    except ForgetError as error:
        raise click.UsageError(str(error)) from error
    with alone(root):
        words = words_of(course, student)
        traces = find_traces(course, student, assignments)
        if not traces:
            meant = did_you_mean(student, known_students(course, assignments))
            raise click.UsageError(f"the course holds nothing of {clean_name(student)!r}{one_line(meant)}")
        click.echo(f"The course holds of {clean_name(student)}:")
        for trace in traces:
            click.echo(f"  {one_line(trace.what)}")
        if not yes:
            click.confirm("Delete all of this for good?", abort=True)
        forget(traces)
        remains = what_remains(course, words)
    click.echo(f"{clean_name(student)} is forgotten: {count(traces, 'item')} deleted.")
    if remains:
        click.secho("These files still mention the student; look at them yourself:", fg="yellow")
    for path in remains:
        click.echo(f"  {clean_name(path)}")
    if nameless := unattributed(root):
        click.echo(f"{nameless} kept results are in nobody's list: delete .autograder/cache to be sure about them.")
    click.echo(OUTSIDE)
