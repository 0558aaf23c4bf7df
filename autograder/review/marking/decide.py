"""Decisions: what a form asks for, checked and written; conflicts with what others wrote meanwhile; undo."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autograder.core.errors import AutograderError
from autograder.course.hand_marks import NO_COMMENT, Given, HandMarkError, HeldMark, Outcome, Wish, give
from autograder.course.marking_record import Decided, Decision, MarkingRecord, Rubric, RubricItem
from autograder.course.recording import is_being_recorded
from autograder.review.marking.desk import Desk
from autograder.review.marking.questions import Question, StudentAnswer

MOST_COMMENT = 20_000  # characters
MOST_POINTS = 1_000.0  # of a rubric's item, up or down
EXACT = 6  # decimals


class WrongForm(AutograderError):
    """Something that cannot be decided like this; the message says what to do."""


@dataclass(frozen=True)
class Wanted:
    """What a person wants some answers to have: rubric items by their ids, points (None: the items' sum), words.

    `seen` are the versions of the answers that the person has looked at, by grade.
    """

    seen: Mapping[str, str]
    items: Sequence[int] = ()
    points: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Meanwhile:
    """An answer that is not as it was seen: who has marked it since ("" where that is not known). `is_new_text` says
    that another answer has been graded, or is just now."""

    answer: StudentAnswer
    marker: str = ""
    is_new_text: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a decision: its number (0 where nothing was written), how many answers, and which not."""

    number: int
    count: int
    conflicts: Sequence[Meanwhile] = field(default=())


def decide(desk: Desk, record: MarkingRecord, question: Question, wanted: Wanted) -> Result:
    """Give marks and comments to all answers that are as they were seen. Raises WrongForm, HandMarkError and
    GradebookError; then nothing is written."""
    answers = {answer.grade: answer for answer in question.answers}
    rubric = record.rubric(question.name)
    chosen = chosen_items(rubric, wanted.items)
    given = Given(score_of(question, rubric, chosen, wanted.points), compose(chosen, wanted.words))
    if given.comment and not question.comment_cell:
        raise HandMarkError(f"{question.cell}: {NO_COMMENT}")
    fresh = [g for g, version in wanted.seen.items() if g in answers and is_unchanged(desk, answers[g], version)]
    wishes = [Wish(grade, answers[grade].held.version, given) for grade in fresh]
    extra = Extra([item.id for item in chosen], wanted.words)
    number, outcome = write(desk, record, question, wishes, extra)
    if number and wanted.words:
        record.keep_comment(question.name, wanted.words)
    refused = [grade for grade in wanted.seen if grade in answers and grade not in fresh]
    late = [mark.grade for mark in outcome.refused]
    return Result(number, len(outcome.written), find_conflicts(desk, record, question, [*refused, *late], wanted.seen))


def is_unchanged(desk: Desk, answer: StudentAnswer, seen: str) -> bool:
    """Whether an answer and its mark are as they were seen, and nobody is about to record others."""
    return answer.version == seen and not is_being_recorded(desk.root, desk.assignment, answer.held.student)


@dataclass(frozen=True)
class Extra:
    """What a decision's comments are made of."""

    items: Sequence[int] = ()
    words: str = ""


def write(
    desk: Desk, record: MarkingRecord, question: Question, wishes: Sequence[Wish], extra: Extra
) -> tuple[int, Outcome]:
    """Write wishes, and keep the decision; its number, 0 where nothing was left to write.

    The record comes first: what it knows of and was not written cannot be undone, and harms nobody; a mark that it
    does not know of could not be undone either.
    """
    number = 0

    def keep(outcome: Outcome) -> None:
        nonlocal number
        made = [Decided(mark.grade, mark.given, given, extra.items, extra.words) for mark, given in outcome.written]
        number = record.add_decision(question.name, desk.marker, made) if made else 0

    try:
        places = {(question.notebook, question.cell): question.comment_cell}
        outcome = give(desk.db_url, desk.assignment, wishes, places, keep) if wishes else Outcome()
    except BaseException:
        if number:
            record.drop_decision(number)
        raise
    return number, outcome


def find_conflicts(
    desk: Desk, record: MarkingRecord, question: Question, grades: Sequence[str], seen: Mapping[str, str]
) -> list[Meanwhile]:
    """Who was faster, by what the gradebook and the record say now."""
    if not grades:
        return []
    now = desk.question(question.notebook, question.cell)
    answers = {answer.grade: answer for answer in now.answers} if now is not None else {}
    last = record.last_words(question.name)
    found = []
    for grade in grades:
        if grade in answers:
            answer = answers[grade]
            new = answer.version.rpartition("-")[2] != seen.get(grade, "").rpartition("-")[2]
            new = new or is_being_recorded(desk.root, desk.assignment, answer.held.student)
            found.append(Meanwhile(answer, marker_of(answer.held, last), new))
    return found


def marker_of(held: HeldMark, last: Mapping[str, tuple[str, Decided]]) -> str:
    """Who gave the mark that the gradebook holds, "" where the record does not know."""
    marker, decided = last.get(held.grade, ("", None))
    return marker if decided is not None and decided.after == held.given else ""


# Undo


@dataclass(frozen=True)
class Undone:
    """How many answers are again as they were before a decision, and how many are not, since somebody changed them."""

    count: int
    left: int


def undo(desk: Desk, record: MarkingRecord, question: Question, decision: Decision) -> Undone:
    """Put back what answers had before a decision, but for those that somebody has changed since.

    Raises WrongForm where it is undone already.
    """
    if decision.undone_at:
        raise WrongForm(f"this decision was undone already by {decision.undone_by}")
    held = {answer.grade: answer.held for answer in question.answers}
    own = [a for a in decision.answers if a.grade in held and held[a.grade].given == a.after]
    own = [a for a in own if not is_being_recorded(desk.root, desk.assignment, held[a.grade].student)]
    wishes = [Wish(a.grade, held[a.grade].version, a.before) for a in own]
    places = {(question.notebook, question.cell): question.comment_cell}
    outcome = give(desk.db_url, desk.assignment, wishes, places, lambda _: None) if wishes else Outcome()
    if outcome.written:
        record.note_undone(decision.id, desk.marker)
    return Undone(len(outcome.written), len(decision.answers) - len(outcome.written))


# Points and words


def chosen_items(rubric: Rubric, ids: Sequence[int]) -> list[RubricItem]:
    """The items that were chosen, in the rubric's order. Raises WrongForm where one is gone."""
    chosen = [item for item in rubric.items if item.id in ids]
    if len(chosen) != len(set(ids)):
        raise WrongForm("an item of the rubric was removed meanwhile: choose again")
    return chosen


def rubric_points(rubric: Rubric, chosen: Sequence[RubricItem], maximum: float) -> float:
    """What the chosen items give, in 0..maximum."""
    start = maximum if rubric.starts_full else 0.0
    return round(min(max(start + sum(item.points for item in chosen), 0.0), maximum), EXACT)


def score_of(question: Question, rubric: Rubric, chosen: Sequence[RubricItem], points: float | None) -> float:
    """The points that were given, or else what the items sum up to. Raises WrongForm."""
    if points is None:
        if not chosen:
            raise WrongForm("nothing is given yet: type points, or choose items of the rubric")
        return rubric_points(rubric, chosen, question.maximum)
    if not (math.isfinite(points) and 0 <= points <= question.maximum):
        most = f"0 to {question.maximum:g} points"
        raise WrongForm(f"expected {most}, got {points:g}: extra credit is given in formgrader")
    return points


def compose(chosen: Sequence[RubricItem], words: str) -> str:
    """The comment that students read: the items with their points, then the words. Raises WrongForm."""
    lines = [f"- {item.text} ({signed(item.points)})" if item.points else f"- {item.text}" for item in chosen]
    comment = "\n\n".join(part for part in ("\n".join(lines), words.strip()) if part)
    if len(comment) > MOST_COMMENT:
        raise WrongForm(f"a comment has at most {MOST_COMMENT:,} characters, this one {len(comment):,}: shorten it")
    return comment


def signed(points: float) -> str:
    """Points with their sign; a real minus, which Markdown takes for nothing else."""
    return f"{points:+g}".replace("-", "\N{MINUS SIGN}")


def read_points(text: str) -> float | None:
    """Points as people type them, `2,5` too; None where nothing is typed. Raises WrongForm."""
    typed = text.strip().replace(",", ".").replace("\N{MINUS SIGN}", "-")
    if not typed:
        return None
    try:
        points = float(typed)
    except ValueError as error:
        raise WrongForm(f"points must be a number, got {text.strip()[:40]!r}") from error
    if not math.isfinite(points) or abs(points) > MOST_POINTS:
        raise WrongForm(f"points must be a number of usual size, got {text.strip()[:40]!r}")
    return points
