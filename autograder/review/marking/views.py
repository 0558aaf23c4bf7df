"""What the page of a question shows: one answer with those that are alike, the rubric, and what was given so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from autograder.core.text import clean_name
from autograder.course.marking_record import Decided, Decision, MarkingRecord, Rubric
from autograder.review.html import points_text
from autograder.review.marking.decide import chosen_items, compose, marker_of, rubric_points
from autograder.review.marking.desk import Desk
from autograder.review.marking.grouping import AnswerGroup, Stack, differences, group_answers, stack_groups
from autograder.review.marking.questions import AnswerPart, Question, StudentAnswer
from autograder.review.marking.texts import SourceText

MOST_COMMENTS = 30
MOST_SIMILAR = 20  # texts beside the one that is shown
ONE, SAME, ALIKE = "one", "same", "alike"  # what a decision holds for, each within the next
Names = Mapping[str, str]


@dataclass(frozen=True)
class Arranged:
    """A question's answers in stacks of similar groups, in the order in which they are marked."""

    stacks: Sequence[Stack]

    @property
    def groups(self) -> list[AnswerGroup]:
        return [group for stack in self.stacks for group in stack.groups]

    def find(self, grade: str) -> tuple[Stack, AnswerGroup, StudentAnswer] | None:
        """An answer by its grade, with its group and stack."""
        return next(
            ((s, g, a) for s in self.stacks for g in s.groups for a in g.answers if a.grade == grade),
            None,
        )

    def next_open(self, after: str = "") -> StudentAnswer | None:
        """The first waiting answer of the next group that has one; around the end, to the beginning."""
        groups = self.groups
        places = [n for n, group in enumerate(groups) if any(answer.grade == after for answer in group.answers)]
        start = places[0] if places else 0
        for group in [*groups[start:], *groups[:start]]:
            for answer in group.answers:
                if answer.is_open:
                    return answer
        return None


def arrange(question: Question) -> Arranged:
    """Groups, and stacks of them."""
    return Arranged(stack_groups(group_answers(question.answers)))


def names_of(question: Question, *, hidden: bool) -> dict[str, str]:
    """What pages call the answers: by their students, or by their places in an order that tells nothing of them."""
    if hidden:
        return {answer.grade: f"answer {number}" for number, answer in enumerate(question.answers, 1)}
    return {answer.grade: clean_name(answer.held.student) for answer in question.answers}


def question_view(
    desk: Desk, record: MarkingRecord, question: Question, arranged: Arranged, grade: str
) -> dict[str, Any]:
    """Values for the template, around the answer of this grade."""
    found = arranged.find(grade)
    assert found is not None
    stack, group, shown = found
    rubric, last = record.rubric(question.name), record.last_words(question.name)
    items, words, points = filled_in(question, rubric, shown, last)
    return {
        "question": question,
        "stacks": arranged.stacks,
        "group_count": len(arranged.groups),
        "stack": stack,
        "group": group,
        "shown": shown,
        "parts": _parts(desk, shown),
        "is_changed": bool(desk.handed_in_again([shown.held.student])),
        "prompt": desk.texts.render(desk.prompt(question)),
        "solution": desk.texts.render(desk.sample_solution(question)),
        "similar": _similar(stack, group),
        "scoped": scoped(stack, group, shown),
        "scopes": _counts(stack, group),
        "rubric": rubric,
        "chosen": items,
        "words": words,
        "points": points,
        "marker": marker_of(shown.held, last),
        "comments": record.comments(question.name, MOST_COMMENTS),
        "latest": _undoable(record.latest_of(question.name, desk.marker)),
    }


def _undoable(decision: Decision | None) -> Decision | None:
    return decision if decision is not None and decision.answers else None


def _parts(desk: Desk, shown: StudentAnswer) -> list[tuple[AnswerPart, Markup]]:
    texts = desk.texts.render([SourceText(part.text, part.is_code) for part in shown.parts])
    return list(zip(shown.parts, texts, strict=True))


def _similar(stack: Stack, group: AnswerGroup) -> list[tuple[AnswerGroup, Markup]]:
    base = group.answers[0].plain
    others = [other for other in stack.groups if other is not group]
    return [(other, differences(base, other.answers[0].plain)) for other in others[:MOST_SIMILAR]]


def scoped(stack: Stack, group: AnswerGroup, shown: StudentAnswer) -> list[tuple[str, StudentAnswer]]:
    """Every answer that a decision could hold for, with the least scope that takes it in."""
    grades = {answer.grade for answer in group.answers}
    kinds = {answer.grade: SAME if answer.grade in grades else ALIKE for answer in stack.answers}
    kinds[shown.grade] = ONE
    return [(kinds[answer.grade], answer) for answer in stack.answers]


def _counts(stack: Stack, group: AnswerGroup) -> dict[str, int]:
    waiting = sum(answer.is_open for answer in stack.answers)
    return {SAME: len(group.answers), ALIKE: len(stack.answers), "marked": len(stack.answers) - waiting}


def filled_in(
    question: Question, rubric: Rubric, shown: StudentAnswer, last: Mapping[str, tuple[str, Decided]]
) -> tuple[list[int], str, str]:
    """What the form begins with: items, words and points of the mark that stands, so that it can be changed."""
    held = shown.held
    decided = last[held.grade][1] if marker_of(held, last) else None
    known = [item.id for item in rubric.items]
    items = [item for item in decided.items if item in known] if decided is not None else []
    chosen = chosen_items(rubric, items)
    is_whole = decided is not None and compose(chosen, decided.words) == held.comment
    if decided is None or not is_whole:
        items, chosen, words = [], [], held.comment
    else:
        words = decided.words
    by_items = bool(chosen) and rubric_points(rubric, chosen, question.maximum) == held.score
    return items, words, "" if held.score is None or by_items else points_text(held.score)
