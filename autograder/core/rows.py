"""What a table of submissions shows: points per exercise, totals, and what a person still has to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from autograder.core.grade_report import KINDS, GradeReport, ManualMark, Status
from autograder.core.ordinary import is_recorded, scores_of
from autograder.core.text import clean_text
from autograder.core.wording import status_words


@dataclass(frozen=True)
class Mark:
    """One grade cell of one submission as the gradebook holds it.

    `score` is what counts: the manual mark where there is one, else the automatic one, plus extra credit.
    """

    notebook: str
    cell: str
    maximum: float
    automatic: float | None
    manual: float | None
    score: float
    needs_person: bool
    extra_credit: float | None = None
    penalty: float | None = None  # of its whole notebook, for being late

    @property
    def is_manual(self) -> bool:
        """Whether a person gave something to this cell."""
        return self.manual is not None or bool(self.extra_credit)


Marks = Mapping[str, tuple[Mark, ...]]  # by student


@dataclass(frozen=True)
class Standing:
    """What the gradebook knows of a student and one assignment, the marks apart. Times are UTC.

    `due` is the student's own due date, `extension_seconds` included. A student who handed nothing in has
    `is_submitted` False. `penalty` is in points, of all notebooks. `forms` are formgrader's ids of the notebooks.
    """

    student: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_id: str = ""
    is_submitted: bool = False
    handed_in: datetime | None = None
    due: datetime | None = None
    extension_seconds: float = 0.0
    seconds_late: float = 0.0
    penalty: float = 0.0
    forms: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """First and last name where the gradebook has them, else nothing."""
        return " ".join(part for part in (self.first_name, self.last_name) if part)


Standings = Mapping[str, Standing]  # by student


@dataclass(frozen=True)
class Comment:
    """What a person wrote about an answer, as Markdown."""

    notebook: str
    cell: str
    text: str


Comments = Mapping[str, tuple[Comment, ...]]  # by student


class Currency(str, Enum):
    """Whether a mark is the mark of what was handed in last, by the graders and the configuration that there are."""

    GRADED = "graded"
    CHANGED = "handed in again, or changed, since it was graded"
    OTHER_RULES = "graded before the graders or the configuration were changed"
    NOT_GRADED = "handed in, but not graded"
    NOTHING = "nothing handed in"

    @property
    def is_outdated(self) -> bool:
        """Whether there is a mark, of something else."""
        return self in (Currency.CHANGED, Currency.OTHER_RULES)


Currencies = Mapping[str, Currency]  # by student

ORDINARY = (Status.PASSED, Status.ERROR)
EXACT = 6  # decimals: what a person gave is not rounded, and only floating-point noise lies below


@dataclass(frozen=True)
class Points:
    """`earned` of `maximum`; `earned` is None where no score may be recorded."""

    earned: float | None
    maximum: float

    def __str__(self) -> str:
        return f"{'–' if self.earned is None else f'{self.earned:g}'} / {self.maximum:g}"


@dataclass(frozen=True)
class Row:
    """One submission: its latest report, and the gradebook's marks for it (none where there is no gradebook)."""

    report: GradeReport
    marks: Sequence[Mark] = ()
    standing: Standing | None = None
    currency: Currency = Currency.GRADED
    comments: Sequence[Comment] = ()

    @property
    def student(self) -> str:
        """The student's name, fit for a terminal and a page: it is the name of a folder that somebody handed in."""
        return clean_text(self.report.student)

    @property
    def grader_failed(self) -> bool:
        """Whether the submission could not be graded through the grader's own fault."""
        return self.report.is_internal

    @property
    def waiting(self) -> tuple[str, ...]:
        """The cells that wait for a manual mark because they are marked by hand; none before there is a score."""
        if self.grader_failed:
            return ()
        automatic = {cell for cells in self.report.cells.values() for cell in cells}
        return tuple(mark.cell for mark in self.marks if mark.needs_person and mark.cell not in automatic)

    @property
    def older_marks(self) -> tuple[ManualMark, ...]:
        """Manual marks that were given to an earlier submission, count, and wait for somebody's decision."""
        held = {(m.notebook, m.cell): (m.manual, m.extra_credit) for m in self.marks if m.needs_person}
        older = [m for m in self.report.manual if m.is_older and not self.grader_failed]
        return tuple(m for m in older if held.get((m.notebook, m.cell)) == (m.score, m.extra_credit))

    @property
    def undecided(self) -> tuple[str, ...]:
        """The automatic cells with a check that the engine could not decide, and that no person has marked yet."""
        marked = {(m.notebook, m.cell) for m in self.marks if m.manual is not None and not m.needs_person}
        checks = [c for c in self.report.checks if c.status is Status.UNSUPPORTED]
        return tuple(dict.fromkeys(c.cell for c in checks if (c.notebook, c.cell) not in marked))

    @property
    def incidents(self) -> tuple[str, ...]:
        """What was stopped or died, e.g. "02_network: time-out"; a cell that raised is no incident."""
        found = []
        for run in self.report.notebooks:
            cells = dict.fromkeys(cell.status for cell in run.cells if cell.status not in ORDINARY)
            if run.status is not Status.PASSED:
                found.append(f"{run.notebook}: {status_words(run.status)}")
            found += [f"{run.notebook}: a cell ended in {status_words(s)}" for s in cells if s is not run.status]
        return tuple(found)

    @property
    def is_recorded(self) -> bool:
        """Whether the gradebook holds exactly the automatic scores of the report."""
        return is_recorded(self.report, {(mark.notebook, mark.cell): mark.automatic for mark in self.marks})

    @property
    def flags(self) -> tuple[str, ...]:
        """What deserves a look, in words; empty where everything is settled."""
        flags = [f"{self.currency.value}: grade again"] if self.currency.is_outdated else []
        if self.grader_failed:
            flags.append("not graded: the grader's own fault")
        if self.undecided:
            flags.append(f"undecided, mark by hand: {', '.join(self.undecided)}")
        older = [mark.cell for mark in self.older_marks]
        unmarked = [cell for cell in self.waiting if cell not in older]
        if unmarked:
            flags.append(f"needs a manual mark: {', '.join(unmarked)}")
        flags += [f"an older manual mark ({mark}) was given to an earlier submission" for mark in self.older_marks]
        if self.marks and not self.grader_failed and not self.is_recorded:
            flags.append("the gradebook holds other scores: grade again")
        not_taken = sum(note.kind.is_not_taken for note in self.report.notes)
        if not_taken:
            flags.append("files were not taken" if not_taken > 1 else "a file was not taken")
        kinds = dict.fromkeys(flag.kind for flag in self.report.flags)
        flags += [f"worth a look: {KINDS.get(kind, kind)}" for kind in kinds]
        return (*flags, *self.incidents)

    def points_of(self, notebook: str) -> Points:
        """What one notebook earned: the gradebook's marks where they are known, else the automatic points.

        After a fault of the grader nothing is recorded, not even for the notebooks that it could grade.
        """
        marks = [mark for mark in self.marks if mark.notebook == notebook]
        if marks:
            pairs = [(mark.score, mark.maximum) for mark in marks]
        else:
            pairs = [(s.earned, s.maximum) for s in scores_of(self.report) if s.notebook == notebook]
        earned = None if self.grader_failed else round(sum(pair[0] for pair in pairs), EXACT)
        return Points(earned, round(sum(pair[1] for pair in pairs), EXACT))

    @property
    def penalty(self) -> float:
        """Points that are taken off for handing in late, as nbgrader's own export counts them."""
        return sum({mark.notebook: mark.penalty or 0.0 for mark in self.marks}.values())

    @property
    def total(self) -> Points:
        """All points: of the gradebook, manual marks and late penalties included, where it is known; else the
        automatic ones."""
        if self.marks:
            maximum = round(sum(mark.maximum for mark in self.marks), EXACT)
            earned = round(max(sum(mark.score for mark in self.marks) - self.penalty, 0.0), EXACT)
        else:
            maximum = self.report.maximum
            earned = round(sum(score.earned for score in scores_of(self.report)), EXACT)
        return Points(None if self.grader_failed else earned, maximum)


def rows_of(
    reports: Sequence[GradeReport],
    marks: Marks,
    standings: Standings | None = None,
    currencies: Currencies | None = None,
    comments: Comments | None = None,
) -> list[Row]:
    """A row for each report; all else is by student."""
    known, current, written = standings or {}, currencies or {}, comments or {}
    return [
        Row(
            report,
            marks.get(report.student, ()),
            known.get(report.student),
            current.get(report.student, Currency.GRADED),
            written.get(report.student, ()),
        )
        for report in reports
    ]


def notebooks_of(rows: Sequence[Row]) -> list[str]:
    """The graded notebooks, in the configuration's order."""
    return list(dict.fromkeys(name for row in rows for name in row.report.cells))
