"""The latest GradeReport of every submission, kept as one JSON file each in the course's `.autograder/reports`."""

from __future__ import annotations

from pathlib import Path

from autograder.cache import write_atomically
from autograder.results import GradeReport


class BrokenReport(ValueError):
    """A file among the reports that cannot be read as one; the message has the remedy."""


def reports_folder(root: Path, assignment: str) -> Path:
    return root / ".autograder" / "reports" / assignment


def report_path(root: Path, assignment: str, student: str) -> Path:
    """Where a student's latest report is kept."""
    return reports_folder(root, assignment) / f"{student}.json"


def save_report(root: Path, report: GradeReport) -> Path:
    """Keep a report as its student's latest."""
    path = report_path(root, report.assignment, report.student)
    write_atomically(path, report.to_json().encode())
    return path


def load_report(root: Path, assignment: str, student: str) -> GradeReport | None:
    """A student's latest report, None where there is none that can be read."""
    try:
        return _read(report_path(root, assignment, student))
    except (FileNotFoundError, BrokenReport):
        return None


def load_reports(root: Path, assignment: str) -> list[GradeReport]:
    """Every student's latest report, in order of their names. Raises BrokenReport."""
    paths = sorted(reports_folder(root, assignment).glob("*.json"))
    return [_read(path) for path in paths]


def _read(path: Path) -> GradeReport:
    try:
        return GradeReport.from_json(path.read_text())
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{path} cannot be read as a report ({type(error).__name__})"
        raise BrokenReport(f"{problem}: delete it and grade {path.stem} again") from error
