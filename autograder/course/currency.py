"""Whether a mark is the mark of what was handed in last: one answer for reports, exports, feedback and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autograder.core.config import Assignment
from autograder.core.config_values import CONFIG_FILE
from autograder.core.grade_report import GradeReport
from autograder.core.rows import Currencies, Currency
from autograder.course.folder import NbCourse
from autograder.handin.content import content_digest
from autograder.pipeline.identity import rules_digest


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


def currencies(course: NbCourse, name: str, assignment: Assignment, reports: Sequence[GradeReport]) -> Currencies:
    """The same of everybody who has a report or a folder, in order of their names, by the present rules.

    `assignment` is how the configuration has the one called `name`, `reports` are everybody's latest.
    """
    latest, submissions = {report.student: report for report in reports}, course.submissions(name)
    rules, known = rules_digest(assignment.graders, course.root / CONFIG_FILE), sorted({*latest, *submissions})
    return {student: currency_of(latest.get(student), submissions.get(student), rules) for student in known}
