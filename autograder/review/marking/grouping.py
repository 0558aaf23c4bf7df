"""Alike answers together: first those that are the same but for white space and capitals, then those that are similar.

A decision can hold for all answers of a group, since they are one text; similar groups lie in one stack, so that they
are read one after the other, and a person says whether they deserve the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Indel

from autograder.core.text import printable
from autograder.review.marking.questions import StudentAnswer

SIMILAR = 90  # per cent of characters in common, in their order (RapidFuzz's ratio)
MOST_COMPARED = 4_000  # characters; comparing takes the product of two lengths
SHORTEST = 20  # characters: of less, a letter can be the answer
# What turns an answer into another one, however alike the rest is: numbers, and words that deny.
DECISIVE = re.compile(r"\d+(?:[.,]\d+)*|[<>=≤≥]+|\b(?:not?|never|nor|without|neither|cannot|nicht|kein\w*)\b|n['’]t\b")
PIECES = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class AnswerGroup:
    """Answers that are one text, in the question's order."""

    answers: Sequence[StudentAnswer]

    @property
    def id(self) -> str:
        """The grade of its first answer, by which pages name the group."""
        return self.answers[0].grade

    @property
    def open_count(self) -> int:
        return sum(answer.is_open for answer in self.answers)

    @property
    def scores(self) -> list[float | None]:
        """The different marks that its answers have so far, None among them where some have none."""
        found = {answer.held.score for answer in self.answers}
        return sorted(found, key=lambda score: (score is None, score or 0.0))


@dataclass(frozen=True)
class Stack:
    """Groups of similar answers; the first is the largest, and all others are similar to it."""

    groups: Sequence[AnswerGroup]

    @property
    def answers(self) -> list[StudentAnswer]:
        return [answer for group in self.groups for answer in group.answers]


def group_answers(answers: Sequence[StudentAnswer]) -> list[AnswerGroup]:
    """The different texts, in the order of their first answers."""
    found: dict[str, list[StudentAnswer]] = {}
    for answer in answers:
        found.setdefault(answer.key, []).append(answer)
    return [AnswerGroup(own) for own in found.values()]


def stack_groups(groups: Sequence[AnswerGroup]) -> list[Stack]:
    """Similar groups together, in the order of their first answers.

    Each is compared with the largest of a stack only: from neighbour to neighbour, a stack could end with the opposite
    of what it began with.
    """
    by_size = sorted(groups, key=lambda group: -len(group.answers))  # stable: the question's order among equals
    stacks: list[list[AnswerGroup]] = []
    leaders: dict[int, str] = {}
    for group in by_size:
        place = _leader_of(group, stacks, leaders)
        if place is not None:
            stacks[place].append(group)
            continue
        if is_comparable(group.answers[0]):
            leaders[len(stacks)] = group.answers[0].plain
        stacks.append([group])
    order = {group.id: place for place, group in enumerate(groups)}
    return [Stack(stack) for stack in sorted(stacks, key=lambda stack: min(order[group.id] for group in stack))]


def is_comparable(answer: StudentAnswer) -> bool:
    """Whether being similar to an answer means anything."""
    return SHORTEST <= len(answer.plain) <= MOST_COMPARED


def _leader_of(group: AnswerGroup, stacks: Sequence[Sequence[AnswerGroup]], leaders: dict[int, str]) -> int | None:
    """The stack that a group belongs to: the most similar of those that say the same numbers and deny the same."""
    own = group.answers[0]
    if not is_comparable(own):
        return None
    signs = DECISIVE.findall(own.plain)
    near = process.extract(own.plain, leaders, scorer=fuzz.ratio, score_cutoff=SIMILAR, limit=None)
    for text, _, place in near:
        first = stacks[place][0].answers[0]
        same = (first.undecided, first.settled) == (own.undecided, own.settled)
        if same and DECISIVE.findall(text) == signs:
            return int(place)
    return None


def differences(base: str, other: str) -> Markup:
    """The other text, with what it has more in <ins> and what it lacks in <del>; every character of it is escaped."""
    old, new = PIECES.findall(base), PIECES.findall(other)
    shown = []
    for step in Indel.opcodes(old, new):
        if step.tag in ("delete", "replace"):
            shown.append(Markup("<del>{}</del>").format(printable("".join(old[step.src_start : step.src_end]))))
        if step.tag in ("insert", "replace"):
            shown.append(Markup("<ins>{}</ins>").format(printable("".join(new[step.dest_start : step.dest_end]))))
        if step.tag == "equal":
            shown.append(escape(printable("".join(new[step.dest_start : step.dest_end]))))
    return Markup("").join(shown)
