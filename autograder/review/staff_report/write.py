"""Write a course's report: the latest reports, and what the gradebook says now."""

from __future__ import annotations

from pathlib import Path

from autograder.core.config import Course
from autograder.core.rows import Currency, rows_of
from autograder.course.currency import currencies
from autograder.course.folder import NbCourse
from autograder.course.gradebook import read_comments, read_marks, read_standings
from autograder.course.mark_changes import Regrade, changes_of
from autograder.course.report_store import load_reports
from autograder.review.staff_report.pages import Site
from autograder.review.staff_report.site import write_report

MOST_CHANGES = 10  # of a submission, newest first


def write_course_report(
    course: NbCourse, configured: Course, name: str, folder: Path, *, anonymous: bool = False
) -> Path:
    """Write the pages of all graded submissions of an assignment, and return the path of the first one.

    Raises BrokenReport and GradebookError.
    """
    assignment = configured.assignment(name)
    reports = load_reports(course.root, name)
    current = currencies(course, name, assignment, reports)
    marks, standings = read_marks(course.db_url, name), read_standings(course.db_url, name)
    changes = {r.student: [regrade_sentence(c) for c in _latest(course.root, name, r.student)] for r in reports}
    site = Site(
        assignment=name,
        rows=rows_of(reports, marks, standings, current, read_comments(course.db_url, name)),
        anonymous=anonymous,
        formgrader=configured.formgrader_url.rstrip("/"),
        changes={student: words for student, words in changes.items() if words},
        lesson=assignment.lesson,
        sections={exercise.notebook: exercise.sections for exercise in assignment.exercises},
        not_graded=[student for student, found in current.items() if found is Currency.NOT_GRADED],
        missing=sorted(standings.keys() - current.keys()),
    )
    return write_report(folder, site)


def _latest(root: Path, name: str, student: str) -> list[Regrade]:
    return changes_of(root, name, student)[::-1][:MOST_CHANGES]


def regrade_sentence(change: Regrade) -> str:
    """A regrade in a sentence: when, which total, why, and the checks."""
    why = f", because {' and '.join(change.why)}" if change.why else ""
    checks = f": {'; '.join(change.checks)}" if change.checks else ""
    return f"{change.time[:16].replace('T', ' ')}: {change}{why}{checks}"
