"""What a class's results say of its checks: how hard and how telling each is, and which mistakes are made by many."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from autograder.core.grade_report import CheckResult, Status
from autograder.core.rows import Row

FEWEST = 5  # submissions, below which a correlation says nothing
QUOTED = r"`[^`]*`|“[^”]*”|\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)"
UNJUDGED = (Status.SKIPPED, Status.UNSUPPORTED, Status.INTERNAL)
Sections = Mapping[str, Mapping[str, str]]  # notebook -> `Exercise.sections`


@dataclass(frozen=True)
class Item:
    """One check over a class. `judged` are the submissions for which it was decided, `mean` their points; `lost` are
    all points that the class lost in it. `discrimination` is in -1..1, None where it would say nothing."""

    notebook: str
    cell: str
    name: str
    title: str
    points: float
    judged: int
    passed: int
    mean: float
    lost: float
    ends: Mapping[Status, int]
    discrimination: float | None

    @property
    def pass_rate(self) -> float | None:
        """In 0..1, of those for whom it was decided."""
        return self.passed / self.judged if self.judged else None


@dataclass(frozen=True)
class Misconception:
    """One mistake in the grader's own words, and who made it; `message` is the shortest wording that was told.

    `varies` says that not everybody was told that: the others' numbers and names are others.
    `titles` are the checks that it failed: several where the same students were told the same by each, as by all checks
    of an exercise that was left out. `lesson` is the section that explains the first, nothing where none is known.
    """

    notebook: str
    name: str
    titles: Sequence[str]
    message: str
    varies: bool
    hint: str
    rows: Sequence[Row]
    lesson: str

    @property
    def is_common(self) -> bool:
        """Whether more than one student made it."""
        return len(self.rows) > 1


def items(rows: Sequence[Row]) -> list[Item]:
    """Every check that a submission has, most lost points first."""
    graded = [row for row in rows if not row.grader_failed]
    results: dict[tuple[str, str], list[tuple[CheckResult, float]]] = {}
    for row in graded:
        total = row.report.earned
        for check in row.report.checks:
            results.setdefault((check.notebook, check.name), []).append((check, total))
    return sorted((_item(found) for found in results.values()), key=lambda item: -item.lost)


def _item(found: Sequence[tuple[CheckResult, float]]) -> Item:
    checks = [check for check, _ in found]
    judged = [(check, total) for check, total in found if check.status not in UNJUDGED]
    passed = [check for check, _ in judged if check.status is Status.PASSED]
    first = checks[0]
    return Item(
        notebook=first.notebook,
        cell=first.cell,
        name=first.name,
        title=first.title,
        points=first.points,
        judged=len(judged),
        passed=len(passed),
        mean=fmean(check.earned for check, _ in judged) if judged else 0.0,
        lost=round(sum(check.points - check.earned for check in checks if check.status is not Status.UNSUPPORTED), 1),
        ends=Counter(check.status for check in checks),
        discrimination=point_biserial(
            [check.status is Status.PASSED for check, _ in judged], [total - check.earned for check, total in judged]
        ),
    )


def point_biserial(passed: Sequence[bool], rest: Sequence[float]) -> float | None:
    """Correlation of passing a check with the points in all others; None for fewer than FEWEST, or without variation.

    r = (M1 - M0) / s · sqrt(p·q), with the means of `rest` of those who passed and failed, the standard deviation of
    all, and the shares of both (Lord and Novick, Statistical Theories of Mental Test Scores, 1968, chapter 15). The
    check's own points are not in `rest`, or each would correlate with itself.
    """
    share = fmean(passed) if passed else 0.0
    spread = pstdev(rest) if len(rest) >= FEWEST else 0.0
    if not 0 < share < 1 or spread < 1e-9:
        return None
    means = [fmean(x for x, good in zip(rest, passed, strict=True) if good is side) for side in (True, False)]
    correlation: float = (means[0] - means[1]) / spread * (share * (1 - share)) ** 0.5
    return correlation


def misconceptions(rows: Sequence[Row], sections: Sections | None = None) -> list[Misconception]:
    """Failures that are told in the same words, numbers and names apart; the most frequent first."""
    told: dict[tuple[str, str, str], list[tuple[Row, CheckResult]]] = {}
    for row in rows:
        for check in row.report.checks if not row.grader_failed else ():
            if check.status not in (Status.PASSED, *UNJUDGED):
                told.setdefault((check.notebook, check.name, pattern(check)), []).append((row, check))
    alike: dict[tuple[str, str, tuple[str, ...]], list[list[tuple[Row, CheckResult]]]] = {}
    for (notebook, _, words), found in told.items():
        students = tuple(row.report.student for row, _ in found)
        alike.setdefault((notebook, words, students), []).append(found)
    mistakes = [_misconception(groups, sections or {}) for groups in alike.values()]
    return sorted(mistakes, key=lambda each: -len(each.rows))


def _misconception(groups: Sequence[Sequence[tuple[Row, CheckResult]]], sections: Sections) -> Misconception:
    """What one or more checks told the same students."""
    first = groups[0][0][1]
    own = sections.get(first.notebook, {})
    messages = {check.message for _, check in groups[0]}
    return Misconception(
        notebook=first.notebook,
        name=first.name,
        titles=[group[0][1].title for group in groups],
        message=min(messages, key=lambda message: (len(message), message)),
        varies=len(messages) > 1,
        hint=first.hint if len(groups) == 1 else "",
        rows=[row for row, _ in groups[0]],
        lesson=own.get(first.name, own.get("", "")),
    )


def pattern(check: CheckResult) -> str:
    """How a check ended, and its message without what differs from student to student: numbers, shapes, code, names."""
    text = re.sub(rf"{QUOTED}|\([^)]*\)|\[[^\]]*\]", "…", check.message)
    text = re.sub(r"[-+]?\d[\d,.]*(?:[×x]\d+)*\s*%?", "#", text)
    return " ".join([check.status.value, *text.split()])[:160]
