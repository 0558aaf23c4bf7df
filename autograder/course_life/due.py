"""Due dates as `grader_config.py` has them. It is imported wherever a configuration is read: nbgrader stays out."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

EXAMPLE = 'due="2026-12-04 23:59", time_zone="Europe/Vienna"'


class DueError(ValueError):
    """A due date that cannot be read as one; the message says what is expected."""


def parse_due(text: str, zone_name: str) -> datetime:
    """A due date in UTC; its zone is its own (`+01:00`) or the named one, never this machine's. Raises DueError."""
    iso = re.sub(r"[zZ]$", "+00:00", text.strip())  # Python 3.10 does not know Z
    try:
        time = datetime.fromisoformat(iso)
    except ValueError as error:
        raise DueError(f"due must be a date and a time, as in {EXAMPLE}, got {text!r}") from error
    if not re.search(r"\d[T ]\d", iso):
        raise DueError(f"due must have a time of the day, as in {EXAMPLE}, got {text!r}")
    if time.tzinfo is not None:
        if zone_name:
            raise DueError(f"due has a time zone of its own, {text!r}: take out time_zone, or the zone in due")
        return _in_utc(time, text)
    if not zone_name:
        raise DueError(f"due {text!r} has no time zone: add one, as in {EXAMPLE}, or write {text.strip()}+01:00")
    return _in_utc(time.replace(tzinfo=find_zone(zone_name)), text)


def find_zone(name: str) -> ZoneInfo:
    """A time zone by its name. Raises DueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        from autograder.config import did_you_mean  # it imports this file

        meant = did_you_mean(name, sorted(available_timezones()))
        raise DueError(f"no time zone {name!r}{meant or '; expected one like Europe/Vienna or UTC'}") from error


def _in_utc(time: datetime, text: str) -> datetime:
    try:
        return time.astimezone(timezone.utc)
    except OverflowError as error:  # the year 1 or 9999
        raise DueError(f"due must be a date of this century, got {text!r}") from error
