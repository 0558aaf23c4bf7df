"""The report of a submission, put together from what was handed in, how it ran, and what the hidden graders say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder import __version__
from autograder.core.grade_report import CheckResult, GradeReport, Status, figures_from
from autograder.core.notes import Note, NoteKind
from autograder.core.ordinary import KIND, ORDINARY
from autograder.core.text import clean_name, clean_text
from autograder.handin.answers import answer_cells, answers_of
from autograder.handin.cells import ADDED, grade_id_of
from autograder.handin.hidden_data import notebook_flags
from autograder.handin.other_files import with_other_files
from autograder.handin.submission import Submission
from autograder.judging.causes import ELSEWHERE, reason
from autograder.judging.hidden_tests import internal_results, own_fault
from autograder.judging.job import wants_gpu
from autograder.judging.proof import describe_graders
from autograder.pipeline.grader import Grader
from autograder.pipeline.jail_run import FLEETING, JailRun
from autograder.pipeline.judgement import CollectedRun, Judgement
from autograder.pipeline.plan import checkpoint_names, graded_weights
from autograder.pipeline.shown_outputs import bound_outputs

MOST_CODE = 160  # characters of a student's line in a message


def make_report(grader: Grader, run: CollectedRun, judgement: Judgement) -> GradeReport:
    """The report of a run that was judged."""
    checks = said_once([_placed(check, run.submission) for check in judgement.checks])
    notes = [*_cell_notes(run), *dict.fromkeys(judgement.notes)]
    report = _report(grader, run.submission, run.jail, checks, notes)
    facts = {**report.facts, **judgement.facts}
    return replace(report, facts=facts, flags=judgement.flags, **figures_from(judgement.figures))


def said_once(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """The checks with a reason that several of a notebook share told at the first: the others point to it."""
    first: dict[tuple[object, ...], CheckResult] = {}
    told = []
    for check in checks:
        key = (check.notebook, check.status, check.message, check.source_cell, check.line)
        other = first.setdefault(key, check)
        if other is check or not check.message or check.status in (Status.PASSED, Status.SKIPPED, Status.INTERNAL):
            told.append(check)
        else:
            told.append(replace(check, message=f"for the same reason as “{other.title}” above", hint="", code=""))
    return told


def failed_report(grader: Grader, submission: Submission, fault: Exception, jail: JailRun | None = None) -> GradeReport:
    """The report of a submission that the grader itself failed on: all checks are INTERNAL."""
    checks = [check for exercise in grader.assignment.exercises for check in internal_results(exercise, str(fault))]
    return _report(grader, submission, jail or JailRun({}, {}), checks, [Note(own_fault(str(fault)), NoteKind.FAULT)])


def of_student(grader: Grader, report: GradeReport, submission: Submission, notes: Sequence[Note]) -> GradeReport:
    """The report with all that is no part of the key under which it is kept: the name, what was handed in, and what
    cells hold that do not run. `notes` are what is known about the folder already, and stand first."""
    report = replace(
        report,
        student=submission.student,
        notes=[*notes, *submission.notes, *report.notes],
        flags=[*notebook_flags(submission.notebooks), *report.flags],
        answers=answers_of(submission, grader.release, grader.assignment),
        sources=answer_cells(submission, grader.release),
    )
    chosen = [weights.name for weights in graded_weights(grader.assignment, submission.files)]
    return with_other_files(report, submission.files, [*checkpoint_names(grader.assignment), *chosen])


def is_settled(report: GradeReport) -> bool:
    """Whether a second run would give the same: a busy machine can cause a time-out, and a fault can be mended."""
    fleeting = {Status.INTERNAL, *FLEETING}
    ends = {check.status for check in report.checks} | {run.status for run in report.notebooks}
    ends |= {cell.status for run in report.notebooks for cell in run.cells}
    return not ends & fleeting


def _report(
    grader: Grader, submission: Submission, jail: JailRun, checks: Sequence[CheckResult], notes: Sequence[Note]
) -> GradeReport:
    return GradeReport(
        student=submission.student,
        assignment=grader.assignment_name,
        checks=checks,
        notebooks=[bound_outputs(jail.notebooks[name]) for name in sorted(jail.notebooks)],
        cells={e.notebook: {cell: float(p) for cell, p in e.cells.items()} for e in grader.assignment.exercises},
        notes=[*jail.notes, *notes],
        facts=_facts(grader, submission),
        engine=grader.engine_name,
        rules=grader.rules_digest,
        jailed=grader.isolation.level != "none",
    )


def _cell_notes(run: CollectedRun) -> Iterator[Note]:
    """A note for each cell that ended early because of what is not here while grading."""
    for notebook in run.jail.notebooks.values():
        cells = run.submission.notebooks[notebook.notebook]["cells"]
        for cell in notebook.cells:
            if cell.cause in ELSEWHERE and cell.index < len(cells):
                where = place_of(cells, cell.index) + (f", line {cell.line}" if cell.line else "")
                told = f"{where}, did not run to its end: {reason(cell.cause, cell.detail)}"
                yield Note(told, notebook=notebook.notebook)


def place_of(cells: Sequence[Mapping[str, Any]], index: int) -> str:
    """A code cell of a repaired notebook as a student knows it: by its name, else by number among the code cells."""
    if name := grade_id_of(cells[index]):
        return f"the cell {name}"
    seen = (cell for cell in cells[: index + 1] if cell["cell_type"] == "code" and not cell["metadata"].get(ADDED))
    return f"code cell {sum(1 for _ in seen)}"


def _placed(check: CheckResult, submission: Submission) -> CheckResult:
    """The check with its line's text, and the cell it belongs to in words: by its name, or else by number."""
    cells = submission.notebooks.get(check.notebook, {}).get("cells", [])
    if not check.line or check.source_cell >= len(cells) or cells[check.source_cell]["cell_type"] != "code":
        return check
    lines = cells[check.source_cell]["source"].splitlines()
    code = clean_text(lines[check.line - 1].strip())[:MOST_CODE] if check.line <= len(lines) else ""
    return replace(check, place=place_of(cells, check.source_cell), code=code)


def _facts(grader: Grader, submission: Submission) -> dict[str, str]:
    chosen = graded_weights(grader.assignment, submission.files)
    facts = {"engine": __version__, "isolation": grader.isolation.describe()}
    if grader.tests is not None:
        return {**facts, KIND: ORDINARY, "graders": grader.tests.rule}
    facts |= {"data": grader.data_identity, "graders": describe_graders(Path(grader.assignment.graders))}
    if wants_gpu(grader.course.device):
        facts["gpu"] = "the NVIDIA devices were bound into the runner's jail (never into the notebooks')"
    if chosen:
        file = submission.files[chosen[0].name]
        facts["checkpoint"] = f"{clean_name(file.name)}, {file.size:,} bytes, sha256 {file.sha256}"
    return facts
