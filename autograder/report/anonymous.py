"""A class without names: what the graders found, and nothing that a student wrote or is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from autograder.overview import Row
from autograder.results import CellRun, CheckResult, GradeReport, NotebookRun, Status

QUOTED = re.compile(r"`[^`\n]*`|“[^”\n]*”|\"[^\"\n]*\"|'[^'\n]*'")
KEPT_FACTS = ("engine", "isolation", "data", "device", "configuration", "graders", "gpu")


def anonymised(rows: Sequence[Row]) -> list[Row]:
    """The same submissions as "student 01" and so on, in an order that tells nothing of the names.

    They are ordered by the digests of what was handed in, so that nobody keeps the place that the alphabet gave.
    """
    width = len(str(len(rows)))
    ordered = sorted(rows, key=lambda row: (row.report.key, row.report.student))
    return [_nameless(row, f"student {number:0{width}}") for number, row in enumerate(ordered, 1)]


def _nameless(row: Row, alias: str) -> Row:
    report = row.report
    stripped = GradeReport(
        student=alias,
        assignment=report.assignment,
        checks=[_own_words(check) for check in report.checks],
        notebooks=[_run(run) for run in report.notebooks],
        cells=report.cells,
        facts={name: value for name, value in report.facts.items() if name in KEPT_FACTS},
        seconds=report.seconds,
        flags=[replace(flag, text="") for flag in report.flags],
        models=[replace(model, layers=[replace(layer, line=0) for layer in model.layers]) for model in report.models],
        evaluations=report.evaluations,
        manual=report.manual,
    )
    standing = row.standing
    if standing is not None:
        standing = replace(standing, student=alias, first_name="", last_name="", email="", lms_id="", handed_in=None)
    return Row(stripped, row.marks, standing)


def _own_words(check: CheckResult) -> CheckResult:
    """A check with the graders' words only: what they quote is the student's, and so is all of an exception."""
    message = QUOTED.sub("…", check.message) if check.status in (Status.FAILED, Status.SKIPPED) else ""
    return replace(check, message=message, code="", place="", line=0, source_cell=0)


def _run(run: NotebookRun) -> NotebookRun:
    return NotebookRun(
        run.notebook, run.status, "", [CellRun(c.index, c.status, c.seconds) for c in run.cells], run.seconds
    )
