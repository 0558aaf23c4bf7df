"""Checks and statuses in words, for every place where they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from autograder.core.grade_report import CheckResult, Status

UNDECIDED = (
    "A person will mark this check, and no points are lost by it. To have it graded automatically, write it another "
    "way and hand in again."
)


def undecided_points(checks: Sequence[CheckResult]) -> list[str]:
    """How many points of a cell wait for a person, in a sentence for the student and one for who marks it; or nothing.

    A manual score in formgrader takes the place of the whole cell's automatic one, so the decided points are named.
    """
    waiting = sum(check.points for check in checks if check.status is Status.UNSUPPORTED)
    if not waiting:
        return []
    total, earned = sum(check.points for check in checks), round(sum(check.earned for check in checks), 1)
    return [
        f"{waiting:g} of {total:g} points are undecided: your program may be right, but the grader cannot judge it. "
        "A person will; no points are lost by that.",
        f"For who marks it: give this cell {earned:g} points for the decided checks, plus 0 to {waiting:g} for the "
        f"undecided ones (marked ?), so {earned:g} to {earned + waiting:g} in all.",
    ]


def describe_check(check: CheckResult) -> str:
    """One check as a line of text, with its message below."""
    line = f"{check.status.value:<11} {check.earned:g}/{check.points:g}  {check.title}"
    return "\n    ".join([line, *details(check)])


def details(check: CheckResult) -> list[str]:
    """What stands below a check: message, remedy and place."""
    return [part for part in (check.message, remedy(check), where(check)) if part]


def remedy(check: CheckResult) -> str:
    """What a student can do about a check; nothing where there is nothing to do."""
    if check.status is Status.UNSUPPORTED:  # its own hint is for those who got it wrong
        return UNDECIDED
    return f"Hint: {check.hint}" if check.hint and check.status not in (Status.PASSED, Status.SKIPPED) else ""


def where(check: CheckResult) -> str:
    """The student's line that a message speaks of, where it is known."""
    if not check.line or not check.place:
        return ""
    return f"See line {check.line} of {check.place}" + (f": {check.code}" if check.code else ".")


def status_words(status: Status) -> str:
    """A status for a reader."""
    special = {Status.UNSUPPORTED: "undecided", Status.INTERNAL: "grader's own fault", Status.TIMEOUT: "time-out"}
    return special.get(status, status.value.replace("_", " ").lower())
