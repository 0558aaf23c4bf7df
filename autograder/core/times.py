"""Times as people type them: due dates in `grader_config.py`, deadlines and zones on the command line.

It is imported wherever a configuration is read, so nbgrader stays out.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import dateutil.parser
from dateutil.tz import gettz

from autograder.core.text import did_you_mean

DEADLINE_EXAMPLE = "2026-11-30T23:59+01:00"


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
    text = _iso(text)
    try:
        time = _read_time(text)
    except ValueError as error:
        raise TimeError(f"{text!r} is no time as in ISO 8601; expected one like {DEADLINE_EXAMPLE}") from error
    if time is None:
        raise TimeError(f"{text!r} is a day; expected a time of that day, like {DEADLINE_EXAMPLE}")
    if time.tzinfo is not None:
        return time, ""
    time = in_zone(time, zone)
    return time, f"The deadline has no time zone: {time.isoformat(' ', 'minutes')} was assumed"


DUE_EXAMPLE = 'due="2026-12-04 23:59", time_zone="Europe/Vienna"'


class DueError(ValueError):
    """A due date that cannot be read as one; the message says what is expected."""


def parse_due(text: str, zone_name: str) -> datetime:
    """A due date in UTC; its zone is its own (`+01:00`) or the named one, never this machine's. Raises DueError."""
    try:
        time = _read_time(_iso(text))
    except ValueError as error:
        raise DueError(f"due must be a date and a time, as in {DUE_EXAMPLE}, got {text!r}") from error
    if time is None:
        raise DueError(f"due must have a time of the day, as in {DUE_EXAMPLE}, got {text!r}")
    if time.tzinfo is not None:
        if zone_name:
            raise DueError(f"due has a time zone of its own, {text!r}: take out time_zone, or the zone in due")
        return _in_utc(time, text)
    if not zone_name:
        raise DueError(f"due {text!r} has no time zone: add one, as in {DUE_EXAMPLE}, or write {text.strip()}+01:00")
    return _in_utc(time.replace(tzinfo=find_zone(zone_name)), text)


def _iso(text: str) -> str:
    """The text with the zone Z written out, which Python 3.10 does not know."""
    return re.sub(r"[zZ]$", "+00:00", text.strip())


def _read_time(iso: str) -> datetime | None:
    """A date with a time of the day; None for a day alone. Raises ValueError."""
    time = datetime.fromisoformat(iso)
    return time if re.search(r"\d[T ]\d", iso) else None


def find_zone(name: str) -> ZoneInfo:
    """A time zone by its name. Raises DueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        meant = did_you_mean(name, sorted(available_timezones()))
        raise DueError(f"no time zone {name!r}{meant or '; expected one like Europe/Vienna or UTC'}") from error


def _in_utc(time: datetime, text: str) -> datetime:
    try:
        return time.astimezone(timezone.utc)
    except OverflowError as error:  # the year 1 or 9999
        raise DueError(f"due must be a date of this century, got {text!r}") from error


def in_zone(time: datetime, zone: tzinfo | None) -> datetime:
    """A time without a zone as one of `zone`, None for this machine's, summer time included."""
    return time.replace(tzinfo=zone) if zone is not None else time.astimezone()


def parse_timestamp(text: str) -> datetime:
    """The time in a `timestamp.txt`, in UTC, read as nbgrader reads it: with dateutil, and with a third word as the
    name of a zone or seconds from UTC; without a zone it is in UTC. Raises whatever dateutil raises."""
    words = text.split(" ")
    if len(words) == 3:
        try:
            zone: Any = int(words[2])
        except ValueError:
            zone = gettz(words[2])
        time = dateutil.parser.parse(" ".join([*words[:2], "TZ"]), tzinfos={"TZ": zone})
    else:
        time = dateutil.parser.parse(text)
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
