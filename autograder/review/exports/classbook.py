"""Everybody's marks on one assignment, as exports write them: the gradebook's numbers, and who has none and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from autograder.core.config import load_course
from autograder.core.errors import AutograderError
from autograder.core.grade_report import CheckResult, GradeReport, Status
from autograder.core.rows import EXACT, Currency, Mark, Row, Standing
from autograder.core.text import clean_name
from autograder.course.currency import currencies
from autograder.course.folder import NbCourse
from autograder.course.gradebook import read_marks, read_standings
from autograder.course.report_store import load_reports

MOST_NAMED = 20  # students in one message


class ExportError(AutograderError):
    """Marks that cannot be exported; the message says what was expected, found, and the remedy."""


class ExportState(str, Enum):
    """Whether somebody's total is final, and why it is not."""

    FINAL = "final"
    WAITING = "waiting for a manual mark"
    CHANGED = Currency.CHANGED.value
    NOT_GRADED = Currency.NOT_GRADED.value
    OTHER_RULES = Currency.OTHER_RULES.value
    FAULT = "not graded: the grader's own fault"
    UNRECORDED = "graded, but not in the gradebook"
    ABSENT = "nothing handed in"


HAVE_POINTS = (ExportState.FINAL, ExportState.WAITING, ExportState.OTHER_RULES)  # of what was handed in last


@dataclass(frozen=True)
class Policy:
    """What is written where marks are not final: with neither of the first two, nothing at all.

    `provisional` writes the gradebook's points of those who wait for a manual mark, or for being graded by changed
    rules, and leaves other such places blank; `final_only` leaves all of them blank. `zeros` writes 0 for those who
    handed nothing in.
    """

    provisional: bool = False
    zeros: bool = False
    final_only: bool = False


@dataclass(frozen=True)
class Cell:
    """A grade cell, automatic or manual, with its points."""

    notebook: str
    name: str
    maximum: float


@dataclass(frozen=True)
class ClassEntry:
    """One student: marks and report are empty where nothing was graded."""

    row: Row
    standing: Standing

    @property
    def student(self) -> str:
        """The id as the gradebook has it, not fit for a terminal."""
        return self.standing.student

    @property
    def label(self) -> str:
        """Id and name for a reader, cleaned."""
        name = f" ({self.standing.name})" if self.standing.name else ""
        return clean_name(f"{self.standing.student}{name}")

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The grade cells that a person has to mark or to confirm; none before there is a score."""
        if self.row.grader_failed:
            return ()
        waiting = [mark.cell for mark in self.row.marks if mark.needs_person]
        return tuple(dict.fromkeys([*waiting, *self.row.undecided]))

    @property
    def state(self) -> ExportState:
        if self.row.currency in (Currency.CHANGED, Currency.NOT_GRADED):
            return ExportState(self.row.currency.value)
        if self.row.grader_failed:
            return ExportState.FAULT
        if not self.row.marks:
            is_graded = bool(self.row.report.checks) or self.standing.is_submitted
            return ExportState.UNRECORDED if is_graded else ExportState.ABSENT
        if self.row.currency is Currency.OTHER_RULES:
            return ExportState.OTHER_RULES
        return ExportState.WAITING if self.waits_for else ExportState.FINAL

    @property
    def reason(self) -> str:
        """The state in words, with the cells that wait."""
        cells = f" ({', '.join(self.waits_for)})" if self.state is ExportState.WAITING else ""
        return f"{self.state.value}{cells}"

    @property
    def penalty(self) -> float:
        """Points that are taken off for handing in late."""
        return self.row.penalty

    @property
    def points(self) -> float | None:
        """The gradebook's total so far, late penalties taken off; None where it has none that may be used."""
        if self.state not in HAVE_POINTS:
            return None
        return self.row.total.earned

    @property
    def is_stale(self) -> bool:
        """Whether the gradebook's automatic scores are not those of the latest report."""
        return bool(self.row.marks) and not self.row.grader_failed and not self.row.is_recorded

    def total(self, policy: Policy) -> float | None:
        """The points that an export writes; None where the place stays blank."""
        if self.state is ExportState.ABSENT and policy.zeros:
            return 0.0
        if self.state is not ExportState.FINAL and not policy.provisional:
            return None
        return self.points

    def points_of(self, notebook: str) -> float | None:
        """What the gradebook holds for one notebook, before the late penalty."""
        is_marked = any(mark.notebook == notebook for mark in self.row.marks)
        return self.row.points_of(notebook).earned if is_marked else None

    def mark(self, cell: Cell) -> Mark | None:
        return self._marks.get((cell.notebook, cell.name))

    def check(self, notebook: str, name: str) -> CheckResult | None:
        return self._checks.get((notebook, name))

    @cached_property
    def _marks(self) -> Mapping[tuple[str, str], Mark]:
        return {(mark.notebook, mark.cell): mark for mark in self.row.marks}

    @cached_property
    def _checks(self) -> Mapping[tuple[str, str], CheckResult]:
        return {(check.notebook, check.name): check for check in self.row.report.checks}


@dataclass(frozen=True)
class Classbook:
    """One assignment's entries in order of student ids. `checks` are (notebook, name) of all that anybody has."""

    assignment: str
    entries: Sequence[ClassEntry]
    cells: Sequence[Cell]
    checks: Sequence[tuple[str, str]]

    @property
    def maximum(self) -> float:
        return exact(sum(cell.maximum for cell in self.cells))

    @property
    def notebooks(self) -> list[str]:
        return list(dict.fromkeys(cell.notebook for cell in self.cells))


def read_class(course: NbCourse, assignment: str, students: Sequence[str] = ()) -> Classbook:
    """Everybody whom the gradebook or a report knows, or who has handed in, or `students` only.

    Raises ExportError where the gradebook holds no mark of the assignment, or no such student; GradebookError;
    BrokenReport.
    """
    marks, standings = read_marks(course.db_url, assignment), read_standings(course.db_url, assignment)
    reports = {report.student: report for report in load_reports(course.root, assignment)}
    configured = load_course(course.root).assignment(assignment)
    current = currencies(course, assignment, configured, list(reports.values()))
    if not any(marks.values()):
        raise ExportError(f"the gradebook holds no mark of {assignment!r}: run `autograder grade {assignment}` first")
    known = sorted({*standings, *current})
    unknown = [student for student in students if student not in known]
    if unknown:
        raise ExportError(f"neither the gradebook nor a report knows the student {clean_name(unknown[0])!r}")
    entries = []
    for student in known:
        report = reports.get(student, GradeReport(student, assignment, []))
        standing = standings.get(student, Standing(student))
        found = current.get(student, Currency.NOTHING)
        entries.append(ClassEntry(Row(report, marks.get(student, ()), standing, found), standing))
    chosen = [entry for entry in entries if not students or entry.student in students]
    return Classbook(assignment, chosen, cells_of(marks.values()), checks_of(entries))


def expect_final(book: Classbook, policy: Policy) -> None:
    """Raises ExportError, with everybody's name, where a mark is not the final one of what was handed in last."""
    open_ = [entry for entry in book.entries if entry.state not in (ExportState.FINAL, ExportState.ABSENT)]
    if policy.provisional or policy.final_only or not open_:
        return
    named = "; ".join(f"{entry.label}: {entry.reason}" for entry in open_[:MOST_NAMED])
    more = f"; and {len(open_) - MOST_NAMED} more" if len(open_) > MOST_NAMED else ""
    raise ExportError(
        f"{len(open_)} of {len(book.entries)} marks are not final ({named}{more}), so nothing was written",
        "grade what was handed in (`autograder grade`) and mark what waits; or choose --provisional, which writes the "
        "points so far, or --final-only, which leaves these places blank",
    )


def cells_of(marks: Iterable[Sequence[Mark]]) -> list[Cell]:
    """All grade cells by notebook and name: the gradebook keeps no order of its own."""
    cells = {Cell(mark.notebook, mark.cell, mark.maximum) for held in marks for mark in held}
    return sorted(cells, key=lambda cell: (cell.notebook, cell.name))


def checks_of(entries: Sequence[ClassEntry]) -> list[tuple[str, str]]:
    """The checks that anybody has, by notebook, each notebook's in the grader's order (taken from whoever has most).

    What stands for checks that the grader could not run is none.
    """
    lists = [
        [(c.notebook, c.name) for c in entry.row.report.checks if c.status is not Status.INTERNAL] for entry in entries
    ]
    found = dict.fromkeys(check for checks in sorted(lists, key=len, reverse=True) for check in checks)
    return sorted(found, key=lambda check: check[0])  # stable: the order within a notebook stays


def exact(value: float) -> float:
    """A sum without the noise of adding floats."""
    return round(value, EXACT)


def table_number(value: float | None, decimal: str = ".") -> str:
    """A number as a table has it, without needless zeros; nothing for None."""
    if value is None:
        return ""
    text = f"{exact(value):.{EXACT}f}".rstrip("0").rstrip(".")
    return ("0" if text == "-0" else text).replace(".", decimal)
