"""A class without names: numbers and the graders' own words, and nothing that a student wrote or is called."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from autograder.core.grade_report import CellRun, CheckResult, GradeReport, NotebookRun
from autograder.core.rows import Row
from autograder.review.staff_report.items import pattern

FEWEST_ALIKE = 3  # submissions that must be told the same before it is shown: what fewer are told may quote one of them
KEPT_FACTS = ("engine", "isolation", "data", "device", "graders", "gpu")


def anonymised(rows: Sequence[Row]) -> list[Row]:
    """The same submissions as "student 01" and so on, in an order that is drawn anew each time and kept nowhere."""
    told = Counter((check.notebook, check.name, pattern(check)) for row in rows for check in row.report.checks)

    def own_words(check: CheckResult) -> CheckResult:
        """A message as all are told it, numbers and names apart."""
        words = pattern(check)
        is_common = bool(check.message) and told[check.notebook, check.name, words] >= FEWEST_ALIKE
        message = words.removeprefix(check.status.value).strip() if is_common else ""
        return replace(check, message=message, code="", place="", line=0, source_cell=0)

    drawn = list(rows)
    secrets.SystemRandom().shuffle(drawn)
    width = max(2, len(str(len(rows))))
    return [_nameless(row, f"student {number:0{width}}", own_words) for number, row in enumerate(drawn, 1)]


def _nameless(row: Row, alias: str, own_words: Callable[[CheckResult], CheckResult]) -> Row:
    """A row made anew of what may be told: whatever a report learns to hold later stays out until it stands here."""
    report, standing = row.report, row.standing
    stripped = GradeReport(
        student=alias,
        assignment=report.assignment,
        checks=[own_words(check) for check in report.checks],
        notebooks=[_run(run) for run in report.notebooks],
        cells=report.cells,
        facts={name: value for name, value in report.facts.items() if name in KEPT_FACTS},
        engine=report.engine,
        jailed=report.jailed,
        seconds=report.seconds,
        flags=[replace(flag, text="") for flag in report.flags],
        models=[replace(model, layers=(), shortened=0) for model in report.models],
        evaluations=[replace(evaluation, mistakes=()) for evaluation in report.evaluations],
    )
    if standing is not None:
        late, penalty = standing.seconds_late, standing.penalty
        standing = type(standing)(alias, is_submitted=standing.is_submitted, seconds_late=late, penalty=penalty)
    return Row(stripped, row.marks, standing, row.currency)


def _run(run: NotebookRun) -> NotebookRun:
    cells = [CellRun(cell.index, cell.status, cell.seconds) for cell in run.cells]
    return NotebookRun(run.notebook, run.status, "", cells, run.seconds)
