"""The language in which hidden graders are written: points, requirements, and the ways a check can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import pytest

from autograder.core.config import Exercise
from autograder.core.files import StagedFile
from autograder.core.grade_report import Evaluation, Flag, Status
from autograder.core.source_lines import LINES_PER_CELL
from autograder.graphs.runner import Runner
from autograder.judging.datasets import Dataset
from autograder.judging.evidence import Evidence
from autograder.judging.problems import Problem

Function = TypeVar("Function", bound=Callable[..., Any])
Found = TypeVar("Found")


def points(value: float, *, cell: str, hint: str = "") -> Callable[[Function], Function]:
    """Mark a hidden test: what it is worth, the grade cell that carries the points, and the remedy in a sentence.

    The cell's points are the configuration's: where those of its checks do not sum to them, they are shared in
    proportion. The test's docstring is its title, which the student sees; title and hint may hold fields
    (`{{ accuracy_full | percent }}`), filled from the exercise's settings.
    """
    return pytest.mark.points(value, cell=cell, hint=hint)


def requires(*names: str) -> Callable[[Function], Function]:
    """Mark a hidden test as SKIPPED, with that reason, where one of these tests of the same file did not pass."""
    return pytest.mark.requires(*names)


class CheckEnded(Exception):
    """A check ended other than by passing. `line` is a student's line as it travels (cell * 100,000 + line);
    `takes_hint` says whether the check's own hint fits what happened."""

    def __init__(
        self, status: Status, message: str, line: int = 0, fraction: float = 0.0, takes_hint: bool = True
    ) -> None:
        super().__init__(message)
        self.status, self.line, self.fraction, self.takes_hint = status, line, fraction, takes_hint


def fail(message: str, *, line: int = 0) -> NoReturn:
    """End the check as FAILED: what was expected, what was found; never a secret input."""
    raise CheckEnded(Status.FAILED, message, line)


def expect(holds: bool, message: str, *, line: int = 0) -> None:
    """Fail with `message` unless `holds`."""
    if not holds:
        fail(message, line=line)


def award(fraction: float, message: str) -> NoReturn:
    """End the check with a part of its points, 0 <= fraction < 1."""
    raise CheckEnded(Status.FAILED, message, fraction=min(max(fraction, 0.0), 1.0))


def undecided(message: str, *, line: int = 0) -> NoReturn:
    """End the check as UNSUPPORTED: a valid program that the engine cannot judge; a person will."""
    raise CheckEnded(Status.UNSUPPORTED, message, line)


def need(found: Found | Problem) -> Found:
    """The evidence, or the end of the check with the problem's own status and line."""
    if isinstance(found, Problem):
        text = f"{found.type}: {found.message}" if found.type and found.status is Status.ERROR else found.message
        raise CheckEnded(found.status, text, found.cell * LINES_PER_CELL + found.line, takes_hint=not found.cause)
    return found


@dataclass(frozen=True)
class CheckContext:
    """What a hidden test may look at, the fixture `graded`.

    `files` are the submission's other files by name; `converted` is what the jail made of a `.pt` checkpoint: the
    bytes of a safetensors file, or a Problem; `test_set` loads the test images and labels (uint8, int64). `notes` are
    told to the student, `flags` to the staff only, `evaluations` are for figures. `training_images` draws that many
    training images by the secret; None where the data set comes without. `holdout` loads the private images that
    decide, where there are any. `networks` are those that were looked at.
    """

    exercise: Exercise
    evidence: Evidence
    runner: Runner
    files: dict[str, StagedFile]
    converted: bytes | Problem | None
    test_set: Callable[[], Dataset]
    secret: bytes
    notes: list[str]
    flags: list[Flag] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    training_images: Callable[[int], Dataset | None] = lambda count: None
    holdout: Callable[[], Dataset | None] = lambda: None
    networks: dict[str, Any] = field(default_factory=dict)  # lists of graders.models.Network, by name
