"""What is brought in line whenever marks are recorded or shown: dates, extensions, groups' marks, late penalties."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgrader.api import MissingEntry
from nbgrader.preprocessors import AssignLatePenalties
from traitlets import TraitError

from autograder.core.config import Limits, load_course
from autograder.core.errors import SetupError
from autograder.core.rows import Row
from autograder.core.text import clean_name
from autograder.course import mark_changes, recording
from autograder.course.extensions import Extension, extend, load_extensions
from autograder.course.gradebook import marks_of, opened, read_standings
from autograder.course.groups import share
from autograder.course.late import Penalties, penalties_of
from autograder.course.lock import CourseBusy, lock_course
from autograder.course.report_store import load_report
from autograder.course.shared_marks import sync_groups
from autograder.handin.quarantine import handed_in_at

if TYPE_CHECKING:
    from autograder.course.folder import NbCourse

MOST_NAMED = 12  # students in a remark
SILENT = logging.getLogger("autograder.upkeep")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


@dataclass(frozen=True)
class Shift:
    """A late penalty that changed without anything being graded: totals before and after, in points."""

    student: str
    before: float
    after: float
    penalty_before: float
    penalty_after: float


def enter_dates(db_url: str, root: Path, name: str, due: datetime | None) -> None:
    """Enter the configuration's due date (UTC), where it has one, and kept extensions, all at once.

    Raises ExtensionError and GradebookError. An assignment that the gradebook does not know yet is left to nbgrader.
    """
    extensions = load_extensions(root, name)
    if not (due or extensions):
        return
    with opened(db_url) as gradebook:
        if gradebook is None:
            return
        try:
            assignment = gradebook.find_assignment(name)
        except MissingEntry:
            return
        naive = due.replace(tzinfo=None) if due else None
        if naive is not None and assignment.duedate != naive:
            assignment.duedate = naive
        extend(assignment.submissions, extensions)
        gradebook.db.commit()


def late_plugin(parent: Any) -> Any:
    """The course's plugin for late penalties, as `nbgrader_config.py` sets it up. Raises SetupError."""
    try:
        step = AssignLatePenalties(parent=parent)  # whose settings RecordSubmission inherits
        step.init_plugin()
    except (TraitError, ImportError) as error:
        problem = " ".join(str(error).split())
        raise SetupError(f"the policy for late submissions cannot be used: {problem} (nbgrader_config.py)") from error
    return step.plugin_inst


def refresh_penalties(
    db_url: str,
    root: Path,
    name: str,
    penalties: Penalties,
    why: Mapping[str, str] | None = None,
    planned: Mapping[str, Extension] | None = None,
) -> list[Shift]:
    """Late penalties of everybody by the marks, due dates and extensions of now; nothing is graded.

    A manual mark given since, an extension or another policy change them. `why` has a student's reason for the record
    of changes. With `planned` extensions in place of those that are kept, nothing is written. The caller holds the
    course's lock. Raises ExtensionError and GradebookError.
    """
    extensions = planned if planned is not None else load_extensions(root, name)
    recording.settle_all(root, db_url, name)
    shifts = []
    with opened(db_url) as gradebook:
        if gradebook is None:
            return []
        try:
            submissions = gradebook.find_assignment(name).submissions
        except MissingEntry:
            return []
        for submission in submissions:
            shift = _refresh(root, name, submission, extensions, penalties)
            if shift is not None:
                shifts.append(shift)
        if planned is not None:
            gradebook.db.rollback()
            return shifts
        gradebook.db.commit()
    for shift in shifts:
        _note(root, name, shift, (why or {}).get(shift.student, ""))
    return shifts


def _refresh(
    root: Path, name: str, submission: Any, extensions: Mapping[str, Extension], penalties: Penalties
) -> Shift | None:
    before, after = recording.write_penalties(submission, extensions, penalties, SILENT)
    if abs(before - after) <= mark_changes.TOLERANCE:
        return None
    score = sum(mark.score for mark in marks_of(submission))
    old, new = (round(max(score - penalty, 0.0), 1) for penalty in (before, after))
    return Shift(submission.student.id, old, new, before, after)


def _note(root: Path, name: str, shift: Shift, why: str) -> None:
    report = load_report(root, name, shift.student)
    if report is None:
        return
    reasons = (*([why] if why else []), *mark_changes.penalty_words(shift.penalty_before, shift.penalty_after))
    time = datetime.now().astimezone().isoformat(timespec="seconds")
    maximum = Row(report).total.maximum
    mark_changes.note(
        root, name, shift.student, mark_changes.Regrade(time, shift.before, shift.after, maximum, (), reasons)
    )


def check_policy(parent: Any) -> None:
    """Prove that the policy for late submissions can be used, before the first one is graded. Raises SetupError."""
    penalties_of(late_plugin(parent))


# For whoever grades, or shows marks


def share_submissions(course: NbCourse, name: str, limits: Limits) -> list[str]:
    """Give every member of a group the group's submission, before folders are looked for. Returns remarks.

    Raises GroupError, or SetupError where another grader is at work.
    """
    try:
        with lock_course(course.root):
            return share(course.root, name, lambda student: Path(course.folder("submitted", student, name)), limits)
    except CourseBusy as error:
        raise SetupError(str(error)) from error


def bring_up_to_date(course: NbCourse, name: str, why: Mapping[str, str] | None = None) -> list[str]:
    """Bring groups' manual marks, dates and late penalties in line before marks are shown. Returns remarks.

    Nothing is graded, and nothing is touched while somebody grades: that run does the same at its end. Raises
    ConfigError, GradebookError, GroupError, ExtensionError or SetupError.
    """
    due = load_course(course.root).assignment(name).due_at
    try:
        with lock_course(course.root):
            enter_dates(course.db_url, course.root, name, due)
            remarks = sync_groups(course.db_url, course.root, name)
            penalties = penalties_of(late_plugin(course.app))
            shifts = refresh_penalties(course.db_url, course.root, name, penalties, why)
    except (CourseBusy, OSError) as error:  # or the folder cannot be written
        return [f"marks may be a little behind: {error}"]
    return [*remarks, *(describe_shift(shift) for shift in shifts), *unread_times(course, name)]


def unread_times(course: NbCourse, name: str) -> list[str]:
    """A remark where a `timestamp.txt` says another time than the gradebook: it is read when it is graded only, so that
    marks are shown meanwhile by the old one."""
    changed = []
    for student, standing in read_standings(course.db_url, name).items():
        folder = Path(course.folder("submitted", student, name))
        if standing.is_submitted and folder.is_dir():
            time = handed_in_at(folder)
            if time is not None and time.replace(tzinfo=None) != standing.handed_in:
                changed.append(student)
    if not changed:
        return []
    named = ", ".join(clean_name(student) for student in changed[:MOST_NAMED])
    more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    return [
        f"timestamp.txt of {named}{more} says another time than the gradebook, and is unread until they are graded "
        f"again: `autograder grade {name}`. Lateness and penalty are by the old time so far"
    ]


def describe_shift(shift: Shift) -> str:
    """A changed late penalty on one line."""
    words = mark_changes.penalty_words(shift.penalty_before, shift.penalty_after)[0]
    return f"{clean_name(shift.student)}: {words}, total {shift.before:g} → {shift.after:g}"
