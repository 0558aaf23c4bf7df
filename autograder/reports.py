"""The latest GradeReport of every submission, kept as one JSON file each in the course's `.autograder/reports`."""

from __future__ import annotations

from pathlib import Path

from autograder.cache import write_atomically
from autograder.results import GradeReport


def reports_folder(root: Path, assignment: str) -> Path:
    return root / ".autograder" / "reports" / assignment


def save_report(root: Path, report: GradeReport) -> Path:
    """Keep a report as its student's latest."""
    path = reports_folder(root, report.assignment) / f"{report.student}.json"
    write_atomically(path, report.to_json().encode())
    return path


def load_reports(root: Path, assignment: str) -> list[GradeReport]:
    """Every student's latest report, in order of their names. Raises ValueError for a file that is none."""
    paths = sorted(reports_folder(root, assignment).glob("*.json"))
    return [GradeReport.from_json(path.read_text()) for path in paths]
