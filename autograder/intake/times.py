"""Deadlines and time zones as they are typed."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from autograder.course_life.due import DueError, find_zone
from autograder.intake.archive import in_zone

EXAMPLE = "2026-11-30T23:59+01:00"


class TimeError(ValueError):
    """A time or a zone that cannot be read as one; the message says what is expected."""


def parse_zone(name: str) -> tzinfo:
    """A time zone by its name. Raises TimeError."""
    try:
        return find_zone(name)
    except DueError as error:
        raise TimeError(str(error)) from error


def parse_deadline(text: str, zone: tzinfo | None) -> tuple[datetime, str]:
    """A deadline, and a sentence where its zone was assumed to be `zone`, None for this machine's. Raises TimeError."""
    text = re.sub(r"[zZ]$", "+00:00", text.strip())  # Python 3.10 does not know Z
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise TimeError(f"{text!r} is no time as in ISO 8601; expected one like {EXAMPLE}") from error
    if not re.search(r"\d[T ]\d", text):
        raise TimeError(f"{text!r} is a day; expected a time of that day, like {EXAMPLE}")
    if time.tzinfo is not None:
        return time, ""
    time = in_zone(time, zone)
    return time, f"The deadline has no time zone: {time.isoformat(' ', 'minutes')} was assumed"
