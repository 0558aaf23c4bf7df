"""Whether a mark is the mark of what was handed in last: one answer for reports, exports and the grading table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from autograder.core.grade_report import GradeReport
from autograder.handin.content import content_digest


class Currency(str, Enum):
    """What a student's latest report says of what lies in `submitted/`."""

    GRADED = "graded"
    CHANGED = "handed in again, or changed, since it was graded"
    NOT_GRADED = "handed in, but not graded"
    NOTHING = "nothing handed in"


def currency_of(report: GradeReport | None, folder: Path | None) -> Currency:
    """`report` is the student's latest, `folder` what they have handed in, None where there is none.

    A report from before digests were kept says nothing about this, and counts as one of what lies there.
    """
    if folder is None:
        return Currency.GRADED if report is not None else Currency.NOTHING
    if report is None:
        return Currency.NOT_GRADED
    return Currency.CHANGED if report.content and report.content != content_digest(folder) else Currency.GRADED


def currencies(reports: Sequence[GradeReport], submissions: Mapping[str, Path]) -> dict[str, Currency]:
    """The same of everybody who has a report or a folder, in order of their names."""
    latest = {report.student: report for report in reports}
    known = sorted({*latest, *submissions})
    return {student: currency_of(latest.get(student), submissions.get(student)) for student in known}
