"""Two reports of one submission: which checks changed, and what that does to the points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autograder.core.grade_report import CheckResult, GradeReport, Status
from autograder.core.ordinary import scores_of
from autograder.core.rows import Mark, Points
from autograder.core.wording import details, status_words

TOLERANCE = 1e-9  # points are rounded to 0.1: only floating-point noise lies below


@dataclass(frozen=True)
class Change:
    """One check before and after; None where there is no such check. It does not count where a person's mark stands."""

    notebook: str
    cell: str
    before: CheckResult | None
    after: CheckResult | None
    counts: bool = True

    @property
    def title(self) -> str:
        check = self.after or self.before
        assert check is not None
        return check.title

    @property
    def changes_points(self) -> bool:
        """Whether result or points differ."""
        return _outcome(self.before) != _outcome(self.after)

    @property
    def reads(self) -> tuple[str, str]:
        """What the student reads, before and after."""
        return _reading(self.before), _reading(self.after)

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            check, words = (self.after, "new check") if self.after else (self.before, "no longer checked")
            assert check is not None
            return f"{self.title}: {words} ({status_words(check.status)}, {check.earned:g} of {check.points:g})"
        whole = self.before.points != self.after.points
        sides = []
        for check in (self.before, self.after):
            status = f"{status_words(check.status)} " if self.before.status is not self.after.status else ""
            sides.append(f"{status}{check.earned:g}" + (f" of {check.points:g}" if whole else ""))
        return f"{self.title}: {' → '.join(sides)}"


def _outcome(check: CheckResult | None) -> tuple[Status, float, float] | None:
    return (check.status, check.earned, check.points) if check else None


def _reading(check: CheckResult | None) -> str:
    return "\n".join([check.title, *details(check)]) if check else ""


@dataclass(frozen=True)
class Comparison:
    """One student: totals before and after (marks by hand included where the gradebook has them) and what changed.

    `problem` says why there is no comparison. `overridden` are the cells whose points would change if a person's mark
    did not stand for them, in words. `is_waiting` says that a mark by hand is still to come; it counts 0 so far.
    """

    student: str
    before: Points | None = None
    after: Points | None = None
    changes: Sequence[Change] = ()
    overridden: Sequence[str] = ()
    is_waiting: bool = False
    is_outdated: bool = False  # recorded by another state of engine, graders or configuration than the present one
    problem: str = ""

    @property
    def difference(self) -> float:
        if self.before is None or self.after is None:
            return 0.0
        return round((self.after.earned or 0) - (self.before.earned or 0), 1)

    @property
    def changed_checks(self) -> list[Change]:
        """Checks with another result or other points."""
        return [change for change in self.changes if change.changes_points]

    @property
    def messages(self) -> list[Change]:
        """Checks of which only the words differ."""
        return [change for change in self.changes if not change.changes_points]

    def crossed(self, boundaries: Sequence[float]) -> tuple[list[float], list[float]]:
        """The boundaries, in percent of the maximum, that the total would rise to and fall below."""
        if self.before is None or self.after is None:
            return [], []
        reached = [(b, _reaches(self.before, b), _reaches(self.after, b)) for b in boundaries]
        return [b for b, old, new in reached if new and not old], [b for b, old, new in reached if old and not new]


def _reaches(total: Points, boundary: float) -> bool:
    return (total.earned or 0) * 100 >= boundary * total.maximum - TOLERANCE


def compare(before: GradeReport, after: GradeReport, marks: Sequence[Mark]) -> Comparison:
    """Two reports of one submission, with the gradebook's marks for it."""
    by_hand = {(mark.notebook, mark.cell): mark for mark in marks if mark.manual is not None}
    automatic = {(n, c) for report in (before, after) for n, cells in report.cells.items() for c in cells}
    waiting = any(m.needs_person and m.manual is None for m in marks if (m.notebook, m.cell) not in automatic)
    return Comparison(
        before.student,
        _total(before, marks, automatic),
        _total(after, marks, automatic),
        [replace(c, counts=(c.notebook, c.cell) not in by_hand) for c in _changes(before, after)],
        list(_overridden(before, after, by_hand)),
        waiting,
    )


def _changes(before: GradeReport, after: GradeReport) -> Iterator[Change]:
    old = {(c.notebook, c.name): c for c in before.checks}
    new = {(c.notebook, c.name): c for c in after.checks}
    for key in {**old, **new}:
        one, other = old.get(key), new.get(key)
        check = other or one
        assert check is not None
        change = Change(check.notebook, check.cell, one, other)
        if change.changes_points or change.reads[0] != change.reads[1]:
            yield change


def _total(report: GradeReport, marks: Sequence[Mark], automatic: set[tuple[str, str]]) -> Points:
    """All points: automatic ones as in the report unless a person's mark stands for the cell, extra credit included."""
    held = {(mark.notebook, mark.cell): mark for mark in marks}
    pairs = [(mark.score, mark.maximum) for key, mark in held.items() if key not in automatic]
    for score in scores_of(report):
        mark = held.get((score.notebook, score.cell))
        earned = mark.manual if mark is not None and mark.manual is not None else score.earned
        extra = (mark.extra_credit or 0.0) if mark is not None else 0.0
        pairs.append((earned + extra, score.maximum))
    return Points(round(sum(pair[0] for pair in pairs), 1), round(sum(pair[1] for pair in pairs), 1))


def _overridden(before: GradeReport, after: GradeReport, by_hand: Mapping[tuple[str, str], Mark]) -> Iterator[str]:
    old = {(s.notebook, s.cell): s.earned for s in scores_of(before)}
    for score in scores_of(after):
        key = (score.notebook, score.cell)
        if key in by_hand and key in old and old[key] != score.earned:
            points = f"the checks {old[key]:g} → {score.earned:g}"
            yield f"{score.cell} is marked by hand ({by_hand[key].manual:g}), which stands: {points}"
