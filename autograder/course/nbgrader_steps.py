"""The steps of `nbgrader autograde` that grade, score and record a submission.

Wired by dotted names in `nbgrader_config.py`; nothing in nbgrader is patched. The chain is

    sanitize   SafeExporter (quarantine, limits, repair) → ClearOutput → DeduplicateIds → OverwriteCells → …
    autograde  GradeInJail → LimitOutput → SafeMarkup → WriteScores → CheckCellMetadata → RecordSubmission

All notebooks of a submission are graded when the first one reaches `GradeInJail`, and all are recorded at once when the
last one reaches `RecordSubmission`, so that neither a fault nor a kill leaves half a submission.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.preprocessors import AssignLatePenalties, NbGraderPreprocessor

from autograder.core.config import load_course
from autograder.core.grade_report import CellScore, GradeReport
from autograder.core.ordinary import is_ordinary, scores_of
from autograder.course import groups, late, manual_marks, mark_changes, recording
from autograder.course.gradebook import read_marks
from autograder.course.kept_results import note_traces
from autograder.course.report_store import load_report, save_report
from autograder.course.score_cells import checks_output, score_output
from autograder.handin.submission import (
    is_test_cell,
    quarantined,
    read_released,
    unread_answers,
)
from autograder.pipeline import grade
from autograder.pipeline.grader import Grader

Notebook = Any
Resources = dict[str, Any]


class GradeInJail(NbGraderPreprocessor):  # type: ignore[misc]
    """Grades the whole submission with its first notebook, and puts what each cell showed into the notebook.

    It takes the place of nbgrader's Execute without being one, so that `--no-execute` does not switch it off and let
    the outputs that a student stored pass for results.
    """

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        report = self._report(resources)
        name = resources["nbgrader"]["notebook"]
        run = next((run for run in report.notebooks if run.notebook == name), None)
        shown = {cell.index: cell.outputs for cell in run.cells} if run else {}
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                cell.execution_count = None
                cell.outputs = [nbformat.from_dict(output) for output in shown.get(index, [])]
        resources["autograder"] = report
        return notebook, resources

    def _report(self, resources: Resources) -> GradeReport:
        grader: Grader = self.parent.grader
        course = self.parent.parent.coursedir
        student = resources["nbgrader"]["student"]
        known: dict[str, GradeReport] = self.parent.graded
        if student in known:
            return known[student]  # a second run could end otherwise, a time-out say
        db_url = resources["nbgrader"]["db_url"]
        recording.put_back(db_url, grader.assignment_name, student, self.parent.marks.get(student, ()))
        folder = Path(course.format_path(course.submitted_directory, student, grader.assignment_name))
        self.log.info("Grading %s in the jail (%s)", student, grader.isolation.describe())
        note_traces(grader, student, folder)
        report = groups.report_of_group(grader, student, folder) or grade.grade_submission(
            grader, student, folder, notes=quarantined(quarantine_place(grader, student))
        )
        report = self._with_manual_marks(grader, report, db_url)
        if report.is_internal:
            save_report(grader.root, report)
            recording.clear_scores(db_url, grader.assignment_name, student)
            faults = {check.message for check in report.checks if check.status.value == "INTERNAL"}
            raise GradersFault(f"no score recorded for {student}: {'; '.join(sorted(faults))}")
        known[student] = report
        return report

    def _with_manual_marks(self, grader: Grader, report: GradeReport, db_url: str) -> GradeReport:
        before = load_report(grader.root, grader.assignment_name, report.student)
        if report.is_internal:
            return manual_marks.carry_over(report, before)
        marks = read_marks(db_url, grader.assignment_name, report.student).get(report.student, ())
        policy, now = grader.course.older_marks, datetime.now().astimezone()
        report = replace(report, manual=manual_marks.judge_marks(report, before, marks, policy, now))
        older = [f"an older manual mark ({m}) was given to an earlier submission" for m in report.manual if m.is_older]
        for remark in [*older, *manual_marks.decided(report, before)]:
            self.log.warning("%s: %s", report.student, remark)
        return report


class GradersFault(RuntimeError):
    """The grader itself failed on a submission: nbgrader drops it, names it, and goes on with the others."""


class WriteScores(NbGraderPreprocessor):  # type: ignore[misc]
    """Writes an explicit plain score for every test cell: nbgrader takes silence for full points.

    Nothing may come between it and RecordSubmission that could change the output that is read as the score.
    """

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        report, name = resources["autograder"], resources["nbgrader"]["notebook"]
        scores = {score.cell: score for score in scores_of(report) if score.notebook == name}
        notes = [note.text for note in report.notes if note.notebook == name]
        for cell in notebook.cells:
            if is_test_cell(cell):
                grade_id = cell.metadata.nbgrader.grade_id
                own = [check for check in report.checks if (check.notebook, check.cell) == (name, grade_id)]
                written = [score_output(clamped(scores[grade_id], cell)), checks_output(own, notes)]
                written += cell.outputs if is_ordinary(report) else []  # what its tests showed, for the staff
                cell.outputs = [nbformat.from_dict(output) for output in written]
                notes = []  # said once
        return notebook, resources


def clamped(score: CellScore, cell: Notebook) -> float:
    """The score within 0 and the cell's points: one above the maximum would lose the whole submission."""
    return min(max(float(score.earned), 0.0), float(cell.metadata.nbgrader.points))


class RecordSubmission(AssignLatePenalties):  # type: ignore[misc]
    """Records a submission when its last notebook has come this far: scores, comments, flags and late penalties.

    It stands for nbgrader's SaveAutoGrades and AssignLatePenalties (with whose settings it knows the course's plugin
    for penalties), which commit step by step. nbgrader's `needs_manual_grade` is set where a check was undecided, where
    a manual mark was given to an earlier submission, and where an answer that is as released, which nbgrader scores 0,
    has its text elsewhere; it is taken back where the mark was given to this very answer.
    """

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        own, exporter = resources["nbgrader"], self.parent
        name = own["notebook"]
        released = read_released(exporter.grader.release / f"{name}.ipynb")
        unread = unread_answers(notebook.cells, released)
        exporter.converted[name] = recording.ScoredNotebook(notebook.cells, unread)
        if is_last(exporter.parent, name):
            self.init_plugin()
            mark_changes.remember_engine(exporter.grader)
            recording.record_submission(
                exporter.grader.root,
                own["db_url"],
                resources["autograder"],
                exporter.converted,
                late.penalties_of(self.plugin_inst),
                self.log,
            )
        return notebook, resources


def withhold_checkpoints(assignment: str, student: str, notebooks: list[str]) -> None:
    """After `generate_assignment`: take back weights that running the solutions left beside the source notebooks.

    nbgrader's hook (`c.GenerateAssignment.post_convert_hook`), called in the course's folder.
    """
    root = Path.cwd()
    for exercise in load_course(root).assignment(assignment).exercises:
        if exercise.checkpoint is not None:
            for path in (root / "release" / assignment).glob(f"{exercise.checkpoint.stem}.*"):
                path.unlink()


def is_last(converter: Any, notebook: str) -> bool:
    """Whether this is the last notebook of its submission that nbgrader converts."""
    return Path(converter.notebooks[-1]).stem == notebook


def quarantine_place(grader: Grader, student: str) -> Path:
    return grader.root / ".autograder" / "quarantine" / grader.assignment_name / student
