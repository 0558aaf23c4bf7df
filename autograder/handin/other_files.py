"""What was handed in besides notebooks and weights: it stays in `submitted/`, and the staff see it listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from autograder.core.files import StagedFile
from autograder.core.grade_report import GradeReport, HandedIn
from autograder.core.text import clean_name
from autograder.handin.quarantine import TIMESTAMP

MOST_LISTED = 40


def with_other_files(report: GradeReport, files: Mapping[str, StagedFile], expected: Collection[str]) -> GradeReport:
    """The report with the other files of its submission, the first by name, and how many more there are.

    `expected` are the names of weights, which the report's facts tell of.
    """
    others = [file for name, file in sorted(files.items()) if name not in (*expected, TIMESTAMP)]
    listed = [HandedIn(clean_name(file.name), file.size) for file in others[:MOST_LISTED]]
    return replace(report, files=listed, more_files=len(others) - len(listed))
