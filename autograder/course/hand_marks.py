"""Marks and comments that a person gives: read and written as formgrader does, unless somebody else was faster.

Whoever marks has seen a certain state of an answer's mark, its `version`. The grades are locked first, read again, and
written only where they are still as they were seen: of two people who mark one answer, the second is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    Notebook,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
)
from sqlalchemy import func, select, update

from autograder.core.errors import AutograderError
from autograder.core.files import digest_of
from autograder.course.gradebook import opened

CommentCells = Mapping[tuple[str, str], str]  # notebook and grade cell -> the cell that holds its comment
NO_COMMENT = "nbgrader keeps no comment for this cell: give the points without one"


class HandMarkError(AutograderError):
    """A mark that cannot be written; the message says why."""


@dataclass(frozen=True)
class HeldMark:
    """What the gradebook holds for one answer: `grade` is nbgrader's id of it, `score` what a person gave.

    `comment_id` is None where nbgrader keeps no comment.
    """

    grade: str
    student: str
    notebook: str
    cell: str
    maximum: float
    automatic: float | None
    score: float | None
    extra_credit: float | None
    needs_person: bool
    comment: str = ""
    comment_id: str | None = None

    @property
    def version(self) -> str:
        """Changes with whatever a person or a grader writes."""
        state = [self.automatic, self.score, self.extra_credit, self.needs_person, self.comment]
        return digest_of(json.dumps(state))[:16]

    @property
    def given(self) -> Given:
        """What a person gave, apart from extra credit."""
        return Given(self.score, self.comment, self.needs_person)


@dataclass(frozen=True)
class Given:
    """What a person gives an answer. `needs_person` says that somebody still has to look."""

    score: float | None
    comment: str = ""
    needs_person: bool = False


@dataclass(frozen=True)
class Wish:
    """What one answer is to have, in place of the version that was seen."""

    grade: str
    seen: str
    given: Given


@dataclass(frozen=True)
class Outcome:
    """What was written, with what was held before, and what was not, since it is no longer as it was seen."""

    written: Sequence[tuple[HeldMark, Given]] = ()
    refused: Sequence[HeldMark] = ()
    gone: Sequence[str] = field(default=())  # grades that the gradebook does not know any more


def read_held(db_url: str, assignment: str, comment_cells: CommentCells | None = None) -> list[HeldMark]:
    """What the gradebook holds for every grade cell of every submission. Raises GradebookError."""
    with opened(db_url) as gradebook:
        return _read(gradebook, assignment, comment_cells or {}) if gradebook is not None else []


def give(
    db_url: str,
    assignment: str,
    wishes: Sequence[Wish],
    comment_cells: CommentCells,
    before_commit: Callable[[Outcome], None],
) -> Outcome:
    """Write all wishes whose answers are as they were seen, in one transaction. Extra credit stays as it is.

    `before_commit` hears what will be written: what it raises undoes all. Raises GradebookError, and HandMarkError for
    a comment that has no place.
    """
    with opened(db_url) as gradebook:
        if gradebook is None:
            return Outcome(gone=[wish.grade for wish in wishes])
        grades = [wish.grade for wish in wishes]
        # A write that changes nothing takes the lock: what is read after it stays until the commit.
        gradebook.db.execute(_change(Grade, Grade.id.in_(grades), id=Grade.id))
        held = {mark.grade: mark for mark in _read(gradebook, assignment, comment_cells, grades)}
        fresh = [wish for wish in wishes if wish.grade in held and held[wish.grade].version == wish.seen]
        for wish in fresh:
            _write(gradebook, held[wish.grade], wish.given)
        outcome = Outcome(
            [(held[wish.grade], wish.given) for wish in fresh],
            [held[wish.grade] for wish in wishes if wish.grade in held and wish not in fresh],
            [grade for grade in grades if grade not in held],
        )
        try:
            before_commit(outcome)
            gradebook.db.commit()
        except BaseException:
            gradebook.db.rollback()
            raise
    return outcome


def _write(gradebook: Gradebook, held: HeldMark, given: Given) -> None:
    values = {"manual_score": given.score, "needs_manual_grade": given.needs_person}
    gradebook.db.execute(_change(Grade, Grade.id == held.grade, **values))
    if given.comment == held.comment:
        return
    if held.comment_id is None:
        raise HandMarkError(f"{held.cell}: {NO_COMMENT}")
    gradebook.db.execute(_change(Comment, Comment.id == held.comment_id, manual_comment=given.comment or None))


def _change(table: Any, condition: Any, **values: Any) -> Any:
    return update(table).where(condition).values(**values).execution_options(synchronize_session=False)


def _read(
    gradebook: Gradebook, assignment: str, comment_cells: CommentCells, grades: Collection[str] | None = None
) -> list[HeldMark]:
    """One query for all: nbgrader's own objects would ask once more for each grade."""
    in_grade, in_task = GradeCell.__table__, TaskCell.__table__
    wanted = (
        select(
            Grade.id,
            SubmittedAssignment.student_id,
            Notebook.name,
            BaseCell.name,
            func.coalesce(in_grade.c.max_score, in_task.c.max_score),
            Grade.auto_score,
            Grade.manual_score,
            Grade.extra_credit,
            Grade.needs_manual_grade,
            SubmittedNotebook.id,
        )
        .select_from(Grade)
        .join(BaseCell.__table__, BaseCell.id == Grade.cell_id)
        .outerjoin(in_grade, in_grade.c.id == Grade.cell_id)
        .outerjoin(in_task, in_task.c.id == Grade.cell_id)
        .join(SubmittedNotebook, SubmittedNotebook.id == Grade.notebook_id)
        .join(Notebook, Notebook.id == SubmittedNotebook.notebook_id)
        .join(SubmittedAssignment, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .where(Assignment.name == assignment)
    )
    if grades is not None:
        wanted = wanted.where(Grade.id.in_(grades))
    comments = _comments(gradebook, assignment)
    found = []
    for *values, place in gradebook.db.execute(wanted):
        held = HeldMark(*values)
        comment = comments.get((place, comment_cells.get((held.notebook, held.cell), held.cell)))
        if comment is not None:
            held = replace(held, comment_id=comment[0], comment=comment[1])
        found.append(held)
    return found


def _comments(gradebook: Gradebook, assignment: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Ids and texts of what people wrote, by submitted notebook and cell."""
    wanted = (
        select(Comment.notebook_id, BaseCell.name, Comment.id, Comment.manual_comment)
        .select_from(Comment)
        .join(BaseCell.__table__, BaseCell.id == Comment.cell_id)
        .join(SubmittedNotebook, SubmittedNotebook.id == Comment.notebook_id)
        .join(SubmittedAssignment, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .where(Assignment.name == assignment)
    )
    return {(place, cell): (key, text or "") for place, cell, key, text in gradebook.db.execute(wanted)}
