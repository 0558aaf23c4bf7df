"""Extensions: more time for single students, from a CSV file into nbgrader's gradebook.

nbgrader keeps an extension with the submission, so nobody has one who has not handed in yet. What a file said is
therefore kept in `.autograder/extensions/<assignment>.json` and entered whenever something is recorded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

from autograder.core.errors import AutograderError
from autograder.core.files import write_atomically
from autograder.core.text import clean_text
from autograder.core.times import TimeError, parse_deadline
from autograder.handin.roster import check_columns, id_problem, read_table

COLUMNS = ("student", "until", "days", "hours")
MOST_DAYS = 3650


class ExtensionError(AutograderError, ValueError):
    """A list of extensions that cannot be used, or a record of them that cannot be read; the message has the remedy."""


@dataclass(frozen=True)
class Extension:
    """More time: until a time (UTC), or for a while after the due date, wherever that is."""

    until: datetime | None = None
    more: timedelta = timedelta()

    def beyond(self, due: datetime) -> timedelta:
        """How long after `due` (UTC, with or without saying so) it ends; never negative."""
        if self.until is None:
            return self.more
        return max(self.until - due.replace(tzinfo=timezone.utc), timedelta())

    def __bool__(self) -> bool:
        return self.until is not None or bool(self.more)


@dataclass(frozen=True)
class ExtensionTable:
    """The extensions of a file, by student; `assumed` says which zone was taken for times without one."""

    extensions: Mapping[str, Extension]
    assumed: str = ""


def read_extensions(path: Path, zone: tzinfo | None, due: datetime) -> ExtensionTable:
    """Read a CSV file: `student`, and `until` or `days` and `hours`. Raises ExtensionError or TableError.

    Times without a zone are in `zone`, None for this machine's. 0 days take an extension back.
    """
    header, rows = read_table(path)
    check_columns(path, header, COLUMNS, ["student"])
    if not set(header) & {"until", "days", "hours"}:
        raise ExtensionError(f"{path.name} says who, not how long: add the column until, days or hours")
    found: dict[str, tuple[Extension, int]] = {}
    assumed = ""
    for line, row in rows:
        where, student = f"{path.name}, line {line}", row["student"]
        if problem := id_problem(student):
            raise ExtensionError(f"{where}: {problem}")
        if student in found:
            raise ExtensionError(f"{where}: {clean_text(student)!r} is on line {found[student][1]} already")
        extension, said = _extension(row, where, zone, due)
        found[student], assumed = (extension, line), assumed or said
    if not found:
        raise ExtensionError(f"{path.name} lists nobody")
    return ExtensionTable({student: extension for student, (extension, _) in found.items()}, assumed)


def _extension(row: Mapping[str, str], where: str, zone: tzinfo | None, due: datetime) -> tuple[Extension, str]:
    until, days, hours = (row.get(column, "") for column in COLUMNS[1:])
    if bool(until) == bool(days or hours):
        raise ExtensionError(f"{where}: expected either until, or days and hours, found {'both' if until else 'none'}")
    if not until:
        return Extension(more=timedelta(days=_number(days, "days", where), hours=_number(hours, "hours", where))), ""
    try:
        time, assumed = parse_deadline(until, zone)
        time = time.astimezone(timezone.utc)
    except (TimeError, OverflowError) as error:
        raise ExtensionError(f"{where}: until: {clean_text(str(error))}") from error
    own = due.replace(tzinfo=timezone.utc)
    if time <= own:
        raise ExtensionError(f"{where}: {clean_text(until)} is not after the due date, {own:%Y-%m-%d %H:%M} UTC")
    return Extension(until=time), assumed.replace("The deadline has", "`until` has")


def _number(text: str, what: str, where: str) -> float:
    try:
        number = float(text.replace(",", ".") or 0)
    except ValueError:
        number = math.nan
    most = MOST_DAYS * (24 if what == "hours" else 1)
    if not 0 <= number <= most:  # NaN is not, either
        raise ExtensionError(f"{where}: {what} must be a number in 0..{most}, found {clean_text(text)!r}")
    return number


def extensions_path(root: Path, assignment: str) -> Path:
    """Where the extensions of an assignment are kept."""
    return root / ".autograder" / "extensions" / f"{assignment}.json"


def load_extensions(root: Path, assignment: str) -> dict[str, Extension]:
    """What is kept, by student. Raises ExtensionError."""
    path = extensions_path(root, assignment)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {str(student): _from_record(record) for student, record in data.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ExtensionError(f"{path} cannot be read ({error}): delete it, and enter the extensions again") from error


def _from_record(record: Mapping[str, Any]) -> Extension:
    until = datetime.fromisoformat(record["until"]) if record["until"] else None
    if until is not None and until.tzinfo is None:
        raise ValueError("a time has no zone")
    return Extension(until, timedelta(seconds=record["seconds"]))


def save_extensions(root: Path, assignment: str, extensions: Mapping[str, Extension]) -> None:
    """Keep extensions in place of those that were kept; one of no length stays, and takes the gradebook's back."""
    data = {
        student: {"until": e.until.isoformat() if e.until else None, "seconds": e.more.total_seconds()}
        for student, e in sorted(extensions.items())
    }
    write_atomically(extensions_path(root, assignment), json.dumps(data, indent=1).encode(), durable=True)


def extend(submissions: Sequence[Any], extensions: Mapping[str, Extension]) -> None:
    """Enter kept extensions into nbgrader's submissions; the caller commits.

    Nothing is entered without a due date: nbgrader's own code fails on an extension of nothing.
    """
    for submission in submissions:
        due, extension = submission.assignment.duedate, extensions.get(submission.student.id)
        if due is not None and extension is not None:
            wanted = extension.beyond(due) or None
            if submission.extension != wanted:
                submission.extension = wanted
