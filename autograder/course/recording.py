"""Record a graded submission: all its marks in one transaction, so that nobody ever sees a part of them.

nbgrader's own steps commit cell by cell. A grader that is killed in between would leave a mix of old and new marks,
and a manual mark without the flag that a person has to look at it. Here it goes like this:

    announce   the report, and what the gradebook will hold, in `.autograder/recording`
    commit     scores, comments, flags and penalties of all notebooks at once
    confirm    the report becomes the student's latest; the announcement goes

Whatever comes between, the next run knows by the gradebook on which side of the commit it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from logging import Logger
from pathlib import Path
from typing import Any

from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry

from autograder.core.files import write_atomically
from autograder.core.grade_report import GradeReport
from autograder.core.notes import Note, NoteKind
from autograder.core.rows import Mark, Row
from autograder.course import manual_marks, mark_changes
from autograder.course.extensions import Extension, extend, load_extensions
from autograder.course.gradebook import marks_of, read_marks
from autograder.course.groups import differs_from_group
from autograder.course.late import Penalties
from autograder.course.report_store import load_report, parse_report, save_report
from autograder.handin.answers import MISSING
from autograder.handin.content import content_digest
from autograder.judging.hidden_tests import internal_results, own_fault
from autograder.pipeline.grade import submission_key
from autograder.pipeline.grader import Grader

NO_MARK = (None, True)  # automatic score and flag of a cell of which nothing is recorded yet


@dataclass(frozen=True)
class ScoredNotebook:
    """A graded notebook as nbgrader will show it, and the cells whose released text stands where an answer was due."""

    cells: Sequence[Any]
    unread: Sequence[str] = ()


def record_submission(
    root: Path,
    db_url: str,
    report: GradeReport,
    notebooks: Mapping[str, ScoredNotebook],
    penalties: Penalties,
    log: Logger,
) -> None:
    """Write every mark of a submission to the gradebook, all or none, and make its report the latest.

    Raises ExtensionError before anything is written.
    """
    extensions, last = load_extensions(root, report.assignment), load_report(root, report.assignment, report.student)
    with Gradebook(db_url) as gradebook:
        submission = gradebook.find_submission(report.assignment, report.student)
        before = marks_of(submission)
        for name, notebook in notebooks.items():
            _write_scores(gradebook, report, name, notebook, log)
        for name, answers in report.answers.items():
            if name not in notebooks and MISSING in answers.values():
                _write_missing(gradebook, report, name)
        gradebook.db.flush()
        gradebook.db.expire_all()  # scores of notebooks are computed by the database
        write_penalties(submission, extensions, penalties, log)
        gradebook.db.flush()
        marks = marks_of(submission)
        now = datetime.now().astimezone()
        change = mark_changes.change_between(root, Row(last, before), Row(report, marks), now) if last else None
        _announce(root, report, marks, change)
        gradebook.db.commit()
    _confirm(root, report, change)


def _write_scores(gradebook: Gradebook, report: GradeReport, name: str, notebook: ScoredNotebook, log: Logger) -> None:
    """What nbgrader's SaveAutoGrades would write for one notebook, and the flags for a person."""
    place = (name, report.assignment, report.student)
    for cell in notebook.cells:
        if utils.is_grade(cell):
            grade = gradebook.find_grade(cell.metadata.nbgrader.grade_id, *place)
            grade.auto_score = utils.determine_grade(cell, log)[0]
            grade.needs_manual_grade = grade.manual_score is not None or grade.auto_score is None
        if utils.is_solution(cell) or utils.is_task(cell):
            comment = gradebook.find_comment(cell.metadata.nbgrader.grade_id, *place)
            untouched = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
            comment.auto_comment = "No response." if untouched and not utils.is_task(cell) else None
    manual_marks.record_marks(gradebook, report, name)
    for answer in notebook.unread:
        grade = gradebook.find_grade(answer, *place)
        grade.needs_manual_grade = grade.needs_manual_grade or grade.manual_score is None


def _write_missing(gradebook: Gradebook, report: GradeReport, name: str) -> None:
    """What nbgrader writes for a notebook that was not handed in: 0 points."""
    for grade in gradebook.find_submission_notebook(name, report.assignment, report.student).grades:
        grade.auto_score, grade.needs_manual_grade = 0, False
    manual_marks.record_marks(gradebook, report, name)


def write_penalties(
    submission: Any, extensions: Mapping[str, Extension], penalties: Penalties, log: Logger
) -> tuple[float, float]:
    """What a submission loses for being late, by its marks and its extension as they are now.

    Returns points before and after; the caller commits.
    """
    extend([submission], extensions)
    student, scores = submission.student.id, {notebook.name: notebook.score for notebook in submission.notebooks}
    late = submission.total_seconds_late if submission.assignment.duedate is not None else 0.0
    found = penalties(student, scores, late) if late > 0 else {}
    before = after = 0.0
    for notebook in submission.notebooks:
        points = found.get(notebook.name)
        if points is not None:
            points = min(max(points, 0.0), max(notebook.score, 0.0))
            log.warning("%s of %s is %s seconds late: a penalty of %g points", notebook.name, student, late, points)
        before += notebook.late_submission_penalty or 0.0
        after += points or 0.0
        if notebook.late_submission_penalty != points:
            notebook.late_submission_penalty = points
    return before, after


def put_back(db_url: str, assignment: str, student: str, before: Sequence[Mark]) -> None:
    """Undo that nbgrader gives 0 points for notebooks that it sees no file of, before anything is graded.

    The new marks come in one piece, later; until then the old ones stand (none for a new submission).
    """
    known = {(mark.notebook, mark.cell): (mark.automatic, mark.needs_person) for mark in before}
    with Gradebook(db_url) as gradebook:
        for notebook in gradebook.find_submission(assignment, student).notebooks:
            for grade in notebook.grades:
                if (grade.auto_score, grade.needs_manual_grade) == (0, False):
                    old = known.get((notebook.name, grade.cell.name), NO_MARK)
                    grade.auto_score, grade.needs_manual_grade = old
        gradebook.db.commit()


def clear_scores(db_url: str, assignment: str, student: str) -> None:
    """Take back automatic scores of an earlier run: after a fault of the grader no score may stand."""
    with Gradebook(db_url) as gradebook:
        try:
            submission = gradebook.find_submission(assignment, student)
        except MissingEntry:
            return
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                grade.auto_score = None
                grade.needs_manual_grade = True
        gradebook.db.commit()


# What a kill may have cut off


def _announcement(root: Path, assignment: str, student: str) -> Path:
    return root / ".autograder" / "recording" / assignment / f"{student}.json"


def is_being_recorded(root: Path, assignment: str, student: str) -> bool:
    """Whether a grader records this submission now, or was killed while it did: then its marks are not settled."""
    return _announcement(root, assignment, student).exists()


def _announce(root: Path, report: GradeReport, marks: Sequence[Mark], change: mark_changes.Regrade | None) -> None:
    content = {
        "report": report.to_json(),
        "marks": [_held(mark) for mark in marks],
        "change": asdict(change) if change else None,
    }
    path = _announcement(root, report.assignment, report.student)
    write_atomically(path, json.dumps(content).encode(), durable=True)


def _held(mark: Mark) -> list[Any]:
    kept = (mark.automatic, mark.manual, mark.extra_credit)
    return [mark.notebook, mark.cell, *kept, mark.needs_person, mark.penalty]


def _confirm(root: Path, report: GradeReport, change: mark_changes.Regrade | None) -> None:
    save_report(root, report)
    if change is not None:
        mark_changes.note(root, report.assignment, report.student, change)
    _announcement(root, report.assignment, report.student).unlink()


def record_fault(
    grader: Grader, db_url: str, student: str, problem: str, before: GradeReport | None = None
) -> GradeReport:
    """Record that a submission was not graded, and leave no score of an earlier run standing, in the gradebook or in
    the reports. `before` is the latest report until then, where it is not what is kept now.

    Raises SQLAlchemyError where older scores could not be taken back.
    """
    exercises = grader.assignment.exercises
    checks = [check for exercise in exercises for check in internal_results(exercise, problem)]
    cells = {e.notebook: {cell: float(p) for cell, p in e.cells.items()} for e in exercises}
    report = GradeReport(
        student, grader.assignment_name, checks, cells=cells, notes=[Note(own_fault(problem), NoteKind.FAULT)]
    )
    report = manual_marks.carry_over(report, before or load_report(grader.root, grader.assignment_name, student))
    save_report(grader.root, report)
    clear_scores(db_url, grader.assignment_name, student)
    return report


def settle(root: Path, db_url: str, assignment: str, student: str) -> None:
    """Finish, or forget, what was announced when a grader was killed: the gradebook says whether it was recorded.

    Without this, a mark that was cleared would leave no trace, and one that was given to an earlier answer could pass
    for given again.
    """
    path = _announcement(root, assignment, student)
    try:
        content = json.loads(path.read_text())
        report, announced = parse_report(content["report"]), content["marks"]
        change = mark_changes.parse_regrade(content["change"]) if content["change"] else None
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        path.unlink()  # it is written in one piece: whoever broke it, the gradebook and the latest report are whole
        return
    marks = read_marks(db_url, assignment, student).get(student, ())
    if announced == [_held(mark) for mark in marks]:
        _confirm(root, report, change)
    else:
        path.unlink()


def settle_all(root: Path, db_url: str, assignment: str) -> None:
    """The same for everybody, before marks change that were not graded."""
    for path in sorted(_announcement(root, assignment, "").parent.glob("*.json")):
        settle(root, db_url, assignment, path.stem)


# Whether what is recorded still stands


def remember_shown(root: Path, assignment: str, student: str, texts: Mapping[str, str]) -> None:
    """Keep digests of the graded notebooks that nbgrader is about to write; the last of its steps."""
    digests = {name: _digest(text.encode()) for name, text in texts.items()}
    write_atomically(_shown_path(root, assignment, student), json.dumps(digests).encode())


def _shown_path(root: Path, assignment: str, student: str) -> Path:
    return root / ".autograder" / "shown" / assignment / f"{student}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_shown(root: Path, assignment: str, student: str, autograded: Path) -> bool:
    """Whether formgrader's folder holds the graded notebooks that were recorded: all, whole, and no others."""
    try:
        wanted = json.loads(_shown_path(root, assignment, student).read_text())
    except (OSError, ValueError):
        return False
    return bool(wanted) and wanted == {path.stem: _digest(path.read_bytes()) for path in autograded.glob("*.ipynb")}


def standing_report(
    grader: Grader, student: str, folder: Path, autograded: Path, marks: Sequence[Mark]
) -> GradeReport | None:
    """The latest report where nothing has to be graded again: it was recorded to the end, all that is recorded is
    still there, and the submission, engine, graders, configuration and data set are the same.

    A file that decides no check counts, too: nbgrader takes the time from `timestamp.txt`, and reports list the rest.
    """
    report = load_report(grader.root, grader.assignment_name, student)
    if report is None or not report.key or report.is_internal:
        return None
    if is_being_recorded(grader.root, grader.assignment_name, student):
        return None
    row = Row(report, marks)
    if row.older_marks and grader.course.older_marks != "review":
        return None  # there is something to decide
    if differs_from_group(grader.root, report):
        return None
    recorded = row.is_recorded and is_shown(grader.root, grader.assignment_name, student, autograded)
    is_same = recorded and report.content == content_digest(folder) and report.key == submission_key(grader, folder)
    return report if is_same else None
