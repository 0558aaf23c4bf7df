"""What the work of the commands shares: the choice of assignment and students, console and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autograder.cli.ending import complain
from autograder.core.config import Course, OrdinaryAssignment, load_course
from autograder.core.config_values import CONFIG_FILE
from autograder.core.errors import SetupError
from autograder.core.text import did_you_mean
from autograder.course import upkeep
from autograder.course.folder import NbCourse, open_course
from autograder.pipeline.grader import Grader, open_grader

ONLY_HIDDEN_GRADERS = (
    "this command looks at hidden graders, and its tests stand in its notebooks; formgrader shows what they showed"
)


@dataclass(frozen=True)
class CourseOptions:
    """What was given to a command that works on a course."""

    root: Path | None

    @property
    def course_root(self) -> Path:
        """The course's folder: the one that was named, or the working directory."""
        return (self.root or Path()).resolve()


@dataclass(frozen=True)
class GraderOptions(CourseOptions):
    """What was given to a command that opens the course's grader; None is the configuration's choice."""

    isolation: str | None
    device: str | None

    def open_grader(self, course: NbCourse, name: str) -> Grader:
        """The grader of one assignment. Raises ConfigError, SetupError or DataError."""
        release = Path(course.folder("release", ".", name))
        if isinstance(load_course(self.course_root).assignment(name), OrdinaryAssignment):
            raise SetupError(f"{name} is an ordinary nbgrader assignment: {ONLY_HIDDEN_GRADERS}")
        return open_grader(
            self.course_root, name, release=release, isolation=self.isolation or "", device=self.device or ""
        )


def open_current(root: Path, name: str) -> NbCourse:
    """The course with marks, dates and penalties brought in line; what had to be changed is said on standard error."""
    course = open_course(root)
    for remark in upkeep.bring_up_to_date(course, name):
        complain(remark)
    return course


def report_folder(root: Path, assignment: str) -> Path:
    return root / "reports" / assignment


def choose_assignment(course: Course, wanted: str | None) -> str:
    """The assignment that was named, or the only one that the configuration has; by name also an ordinary one of the
    course's folder. Raises click.UsageError."""
    known = course.names
    configured = sorted(course.assignments) or known
    if wanted is None and len(configured) == 1:
        return configured[0]
    if wanted is None:
        raise click.UsageError(f"the course has {len(known)} assignments: name one of {', '.join(known)}")
    if wanted not in known:
        where = f"in {CONFIG_FILE}, nor in source/ or release/"
        raise click.UsageError(
            f"no assignment {wanted!r} {where}: there are {', '.join(known)}" + did_you_mean(wanted, known)
        )
    return wanted


def choose_students(
    found: dict[str, Path], wanted: Sequence[str], course: NbCourse, assignment: str
) -> dict[str, Path]:
    """The submissions to grade. Raises click.UsageError for an unknown student, SetupError where there is none."""
    if not found:
        place = course.folder("submitted", "STUDENT", assignment)
        raise SetupError(f"no submissions of {assignment!r}: they belong in {place} (see `autograder collect`)")
    for student in wanted:
        if student not in found:
            hint = did_you_mean(student, list(found))
            raise click.UsageError(f"no submission of {assignment!r} by {student!r}{hint}")
    return {student: path for student, path in found.items() if not wanted or student in wanted}


def make_console() -> Console:
    """A console on standard output; wide enough for tables where it goes into a file or a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def count(things: Any, noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"
