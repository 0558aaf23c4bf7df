"""Everything that was read of the submissions, compared: all pairs at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autograder.review.integrity.answers import NotebookAnswer, Public, compare_place
from autograder.review.integrity.memorised import HOLD_OUT, RecallOutcome, judge_models
from autograder.review.integrity.signals import Findings, Pair, Sign, SignalEvidence, Spread, StudentComparisons
from autograder.review.integrity.staged import SurveySetup
from autograder.review.integrity.weights import Weights, alike_checkpoints, initial_share

MOST_PAIRS = 200  # that are shown: a class that hands in one file has thousands


@dataclass
class Survey:
    """What has been read so far."""

    ground: SurveySetup
    public: Public
    students: list[str] = field(default_factory=list)
    answers: list[NotebookAnswer] = field(default_factory=list)
    weights: list[Weights] = field(default_factory=list)
    outcomes: list[RecallOutcome] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    course: dict[str, None] = field(default_factory=dict)  # what the course ships, as owners; in order


def compare_submissions(done: Survey, groups: Mapping[str, str]) -> Findings:
    """Compare everything that was read."""
    evidence: dict[tuple[str, str], list[SignalEvidence]] = {}
    for (i, j), found in alike_checkpoints(done.weights).items():
        pair = done.weights[i].owner, done.weights[j].owner
        if _is_pair(pair, done.course, groups):
            evidence.setdefault(pair, []).extend(found)
    spreads: list[Spread] = []
    for answers in _by_place(done.answers):
        alike = compare_place(answers, done.course, groups)
        spreads.append(alike.spread)
        for pair, one in alike.evidence.items():
            place = pair if pair in evidence or pair[::-1] not in evidence else pair[::-1]
            evidence.setdefault(place, []).append(one)
    pairs = sorted((Pair(*names, found) for names, found in evidence.items()), key=lambda p: (-p.strength, p.one))
    copies = [pair for pair in pairs if _is_copy(pair, done.course)]
    of_course = {name: theirs for pair in copies for name, theirs in ((pair.one, pair.other), (pair.other, pair.one))}
    between = [pair for pair in pairs if not _is_copy(pair, done.course)]
    judged = judge_models(done.outcomes)
    return Findings(
        assignment=done.ground.name,
        students=sorted(done.students),
        checkpoints=sum(weights.owner not in done.course for weights in done.weights),
        pairs=[_noted(pair, of_course) for pair in between[:MOST_PAIRS]],
        copies=copies[:MOST_PAIRS],
        more=max(0, len(between) - MOST_PAIRS) + max(0, len(copies) - MOST_PAIRS),
        signs=[*_model_signs(judged), *_untrained(done.weights), *done.signs],
        models=judged,
        spreads=spreads,
        problems=done.problems,
    )


def _is_pair(pair: tuple[str, str], course: Mapping[str, None], groups: Mapping[str, str]) -> bool:
    if pair[0] in course and pair[1] in course:
        return False
    return groups.get(pair[0], pair[0]) != groups.get(pair[1], pair[1])


def _by_place(answers: Sequence[NotebookAnswer]) -> Iterator[list[NotebookAnswer]]:
    places: dict[tuple[str, str], list[NotebookAnswer]] = {}
    for answer in answers:
        places.setdefault((answer.notebook, answer.kind), []).append(answer)
    for key in sorted(places):
        yield places[key]


def _is_copy(pair: Pair, course: Mapping[str, None]) -> bool:
    return pair.one in course or pair.other in course


def _noted(pair: Pair, of_course: Mapping[str, str]) -> Pair:
    """A pair of which both are like one thing of the course's may both have copied that."""
    both = [of_course.get(name) for name in (pair.one, pair.other)]
    if both[0] is not None and both[0] == both[1]:
        return replace(pair, note=f"Both are also like {both[0]}: they may have it from there.")
    return pair


def _model_signs(judged: Sequence[StudentComparisons]) -> Iterator[Sign]:
    for model in judged:
        for found in model.comparisons:
            if found.stands_out:
                place = "a private hold-out" if found.what == HOLD_OUT else f"test images {found.what}"
                text = (
                    f"{found.correct / found.images:.1%} of {found.images:,} public test images, but "
                    f"{found.other_correct / found.other_images:.1%} of {found.other_images:,} from {place}: "
                    f"{found.drop * 100:.1f} points less (95 % interval {found.low * 100:.1f} to "
                    f"{found.high * 100:.1f}), where the class's median is {found.baseline * 100:.1f}: "
                    f"{found.deviations:.1f} standard errors beyond it."
                )
                yield Sign(model.student, "test-set", found.what, text)


def _untrained(weights: Sequence[Weights]) -> Iterator[Sign]:
    for own in weights:
        if own.is_untrained:
            text = f"{initial_share(own)} of the weights' variance is the initial values': nothing was trained."
            yield Sign(own.owner, "untrained", own.name, text)
