"""nbgrader's gradebook: whether it can be written, whether it fits the course, and the marks it holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from autograder.core.config import Assignment
from autograder.core.errors import AutograderError
from autograder.core.rows import Comment, Comments, Mark, Marks, Standing, Standings

LOCK_WAIT_SECONDS = 5.0
LOCKED = "is locked by another program: let formgrader finish, close database browsers, and run again"


class GradebookError(AutograderError):
    """The gradebook is missing, locked or does not fit the course; the message has the remedy."""


def absolute_url(db_url: str, root: Path) -> str:
    """The gradebook's URL with the path taken from the course's folder, wherever the process stands."""
    path = database_path(db_url, root)
    return db_url if path is None else make_url(db_url).set(database=str(path)).render_as_string(hide_password=False)


def database_path(db_url: str, root: Path) -> Path | None:
    """The file of an SQLite gradebook; None for another database."""
    url = make_url(db_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return root / url.database


def has_gradebook(db_url: str) -> bool:
    """Whether there is a gradebook at all: nbgrader would make an empty one to look into."""
    path = database_path(db_url, Path())
    return path is None or path.is_file()


def check_gradebook(db_url: str, name: str, assignment: Assignment) -> None:
    """Prove, before the first submission, that scores can be written. Raises GradebookError."""
    remedy = f"run `nbgrader generate_assignment {name} --force`"
    path = database_path(db_url, Path())
    if path is not None:
        if not path.is_file():
            raise GradebookError(f"no gradebook at {path}: {remedy}, which enters the assignment and its cells")
        _check_writable(path)
    try:
        with Gradebook(db_url) as gradebook:
            found = {
                notebook.name: {cell.name: float(cell.max_score) for cell in notebook.grade_cells}
                for notebook in gradebook.find_assignment(name).notebooks
            }
    except MissingEntry as error:
        raise GradebookError(f"the gradebook does not know the assignment {name!r}: {remedy}") from error
    except DatabaseError as error:
        raise GradebookError(f"the gradebook cannot be read ({error.orig}): back it up, then {remedy}") from error
    for exercise in assignment.exercises:
        held = found.get(exercise.notebook, {})
        for cell, points in exercise.cells.items():
            if held.get(cell) != points:
                state = f"has {held[cell]:g} points" if cell in held else "is missing"
                raise GradebookError(
                    f"the gradebook is older than the course: {cell!r} of {exercise.notebook} {state} there, "
                    f"and {points:g} points in the configuration: {remedy}"
                )


def _check_writable(path: Path) -> None:
    """Take the write lock for a moment: nbgrader would find out in the middle of a submission."""
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise GradebookError(f"{path} {LOCKED}") from error
        raise GradebookError(f"{path} cannot be written ({error}): check its permissions and the free disk") from error
    except sqlite3.DatabaseError as error:
        raise GradebookError(f"{path} is no gradebook ({error}): put back a copy, or move it away") from error
    if state != "ok":
        raise GradebookError(f"{path} is damaged ({' '.join(state.split())}): put back a copy, or move it away")


@contextmanager
def opened(db_url: str) -> Iterator[Gradebook | None]:
    """The gradebook; None where there is no file yet. Raises GradebookError."""
    if not has_gradebook(db_url):
        yield None
        return
    with explained(), Gradebook(db_url) as gradebook:
        yield gradebook


@contextmanager
def explained() -> Iterator[None]:
    """Whatever the database complains of, as a GradebookError with the remedy."""
    try:
        yield
    except DatabaseError as error:
        if "locked" in str(error.orig):
            raise GradebookError(f"the gradebook {LOCKED} ({error.orig})") from error
        raise GradebookError(f"the gradebook cannot be used ({error.orig}): put back a copy of it") from error


def read_marks(db_url: str, name: str, student: str | None = None) -> Marks:
    """Every mark of an assignment, by student (or of one student only); nothing where there is no gradebook yet.

    Raises GradebookError.
    """
    with opened(db_url) as gradebook:
        if gradebook is None:
            return {}
        try:
            if student is None:
                submissions = gradebook.find_assignment(name).submissions
            else:
                submissions = [gradebook.find_submission(name, student)]
        except MissingEntry:
            return {}
        return {submission.student.id: marks_of(submission) for submission in submissions}


def read_standings(db_url: str, name: str) -> Standings:
    """Every student of the gradebook, whether or not anything was handed in; nothing where there is no gradebook yet.

    Raises GradebookError.
    """
    with opened(db_url) as gradebook:
        if gradebook is None:
            return {}
        try:
            assignment = gradebook.find_assignment(name)
        except MissingEntry:
            return {}
        submissions = {submission.student.id: submission for submission in assignment.submissions}
        return {s.id: _standing(s, assignment.duedate, submissions.get(s.id)) for s in gradebook.students}


def _standing(student: Any, due: datetime | None, submission: Any | None) -> Standing:
    names = (student.first_name or "", student.last_name or "", student.email or "", student.lms_user_id or "")
    known = Standing(student.id, *names, due=due)
    if submission is None:
        return known
    extension = submission.extension or timedelta()
    return replace(
        known,
        is_submitted=True,
        handed_in=submission.timestamp,
        due=due + extension if due is not None else None,
        extension_seconds=extension.total_seconds(),
        seconds_late=max(0.0, (submission.timestamp - due - extension).total_seconds())
        if due is not None and submission.timestamp is not None
        else 0.0,
        penalty=float(submission.late_submission_penalty or 0.0),
        forms={notebook.name: str(notebook.id) for notebook in submission.notebooks},
    )


def read_comments(db_url: str, name: str) -> Comments:
    """What people have written about the answers to an assignment. Raises GradebookError."""
    with opened(db_url) as gradebook:
        if gradebook is None:
            return {}
        try:
            submissions = gradebook.find_assignment(name).submissions
        except MissingEntry:
            return {}
        return {submission.student.id: comments_of(submission) for submission in submissions}


def comments_of(submission: Any) -> tuple[Comment, ...]:
    """The comments of one of nbgrader's submissions, without those that nbgrader makes itself."""
    return tuple(
        Comment(notebook.name, comment.name, comment.manual_comment)
        for notebook in submission.notebooks
        for comment in notebook.comments
        if (comment.manual_comment or "").strip()
    )


def marks_of(submission: Any) -> tuple[Mark, ...]:
    """The marks of one of nbgrader's submissions."""
    return tuple(_mark(grade) for notebook in submission.notebooks for grade in notebook.grades)


def _mark(grade: Any) -> Mark:
    cell, notebook = grade.cell, grade.notebook
    return Mark(
        notebook=notebook.name,
        cell=cell.name,
        maximum=float(cell.max_score),
        automatic=grade.auto_score,
        manual=grade.manual_score,
        score=float(grade.score),
        needs_person=bool(grade.needs_manual_grade),
        extra_credit=grade.extra_credit,
        penalty=notebook.late_submission_penalty,
    )
