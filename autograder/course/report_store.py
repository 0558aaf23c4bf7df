"""The latest GradeReport of every submission, kept as one JSON file each in the course's `.autograder/reports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from autograder.core.errors import AutograderError
from autograder.core.files import write_atomically
from autograder.core.grade_report import GradeReport


class BrokenReport(AutograderError, ValueError):
    """A file among the reports that cannot be read as one; the message has the remedy."""


def reports_folder(root: Path, assignment: str) -> Path:
    return root / ".autograder" / "reports" / assignment


def report_path(root: Path, assignment: str, student: str) -> Path:
    """Where a student's latest report is kept."""
    return reports_folder(root, assignment) / f"{student}.json"


def save_report(root: Path, report: GradeReport) -> Path:
    """Keep a report as its student's latest, even over a power cut: it alone knows what manual marks were given for."""
    path = report_path(root, report.assignment, report.student)
    write_atomically(path, report.to_json().encode(), durable=True)
    return path


def load_report(root: Path, assignment: str, student: str) -> GradeReport | None:
    """A student's latest report, None where there is none that can be read."""
    try:
        return _read(report_path(root, assignment, student))
    except (FileNotFoundError, BrokenReport):
        return None


def has_reports(root: Path, assignment: str) -> bool:
    """Whether anything of an assignment has been graded."""
    return any(reports_folder(root, assignment).glob("*.json"))


def load_reports(root: Path, assignment: str) -> list[GradeReport]:
    """Every student's latest report, in order of their names. Raises BrokenReport."""
    paths = sorted(reports_folder(root, assignment).glob("*.json"))
    return [_read(path) for path in paths]


def _read(path: Path) -> GradeReport:
    try:
        report = parse_report(path.read_text())
        if (report.student, report.assignment) != (path.stem, path.parent.name):
            raise ValueError(f"it is the report of {report.student} on {report.assignment}")
    except ValueError as error:
        problem = f"{path} cannot be read as a report of {path.stem} ({error})"
        raise BrokenReport(f"{problem}: delete it and grade {path.stem} again") from error
    return report


def parse_report(text: str) -> GradeReport:
    """A report from its JSON, every field of the type that it is declared with. Raises ValueError."""
    try:
        report = GradeReport.from_json(text)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not _fits(report, GradeReport):
        raise ValueError("a field is of another type")
    return report


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation of the results says, to the last item."""
    if hint is Any or (hint is float and type(value) is int):
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        return all(_fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in pairs)
    if origin is UnionType:
        return any(_fits(value, choice) for choice in arguments)
    if isinstance(hint, type) and is_dataclass(hint):
        return isinstance(value, hint) and all(_fits(getattr(value, n), h) for n, h in _hints(hint).items())
    return type(value) is hint
