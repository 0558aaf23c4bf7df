"""Whether a mark is the mark of what was handed in last: one answer for reports, exports, feedback and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autograder.core.config import load_course
from autograder.core.grade_report import GradeReport
from autograder.core.rows import Currency
from autograder.handin.content import content_digest
from autograder.pipeline.identity import rules_digest


def present_rules(root: Path, assignment: str) -> str:
    """What a report that is made now would have as its `rules`. Raises ConfigError."""
    return rules_digest(Path(load_course(root).assignment(assignment).graders), root / "grader_config.py")


def currency_of(report: GradeReport | None, folder: Path | None, rules: str) -> Currency:
    """`report` is the student's latest, `folder` what they have handed in, None where there is none.

    A report from before these digests were kept says nothing about them, and counts as one of what there is.
    """
    if report is None:
        return Currency.NOTHING if folder is None else Currency.NOT_GRADED
    if is_changed(report, folder):
        return Currency.CHANGED
    return Currency.OTHER_RULES if report.rules and report.rules != rules else Currency.GRADED


def is_changed(report: GradeReport | None, folder: Path | None) -> bool:
    """Whether a folder holds something else than what the report is of."""
    known = report.content if report is not None else ""
    return folder is not None and bool(known) and known != content_digest(folder)


def currencies(reports: Sequence[GradeReport], submissions: Mapping[str, Path], rules: str) -> dict[str, Currency]:
    """The same of everybody who has a report or a folder, in order of their names."""
    latest = {report.student: report for report in reports}
    known = sorted({*latest, *submissions})
    return {student: currency_of(latest.get(student), submissions.get(student), rules) for student in known}
