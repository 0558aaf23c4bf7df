"""What is to be collected, by which rules, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import Enum
from pathlib import Path

from autograder.core.config import Assignment
from autograder.core.errors import AutograderError
from autograder.handin.collect.assemble import Rules
from autograder.handin.collect.lms_names import SkippedEntry
from autograder.handin.collect.receipts import RECEIPT, CheckedReceipt
from autograder.handin.roster import Roster, StudentReceipt

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")  # the endings that students' programs give them


class IntakeError(AutograderError):
    """Nothing, or nothing more, can be collected; the message has the remedy."""


class UploadState(str, Enum):
    """What became of a student's submission."""

    COLLECTED = "collected"
    REPLACED = "collected, older one kept"  # the older folder is in .autograder/intake/replaced
    UNCHANGED = "unchanged"
    LATE = "late, not taken"
    OLDER = "older, not taken"  # than what was collected before
    REFUSED = "not collected"


@dataclass(frozen=True)
class SubmissionPlace:
    """An assignment of a course: where its submissions belong, and the names of its files."""

    root: Path
    assignment: str
    folder_of: Callable[[str], Path]
    known: frozenset[str]
    scratch_mib: int

    @property
    def intake(self) -> Path:
        return self.root / ".autograder" / "intake"


def known_names(name: str, assignment: Assignment, release: Path) -> frozenset[str]:
    """The names of files that an assignment knows: the release's, its checkpoints, and the packed submission."""
    stems = [exercise.checkpoint.stem for exercise in assignment.exercises if exercise.checkpoint is not None]
    notebooks = [f"{exercise.notebook}.ipynb" for exercise in assignment.exercises]
    released = [path.name for path in release.iterdir()] if release.is_dir() else []
    checkpoints = [f"{stem}{suffix}" for stem in stems for suffix in WEIGHTS]
    return frozenset([f"{name}-submission.zip", RECEIPT, *notebooks, *checkpoints, *released])


@dataclass(frozen=True)
class Options:
    """How to read an export. Times without a zone are in `zone`, None for this machine's."""

    system: str
    roster: Roster = field(default_factory=Roster)
    receipts: Sequence[StudentReceipt] = ()
    rules: Rules = field(default_factory=Rules)
    zone: tzinfo | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class UploadOutcome:
    """One student's end. `late` names what came after the deadline; with `is_bound` the time is the latest possible."""

    student: str
    state: UploadState
    files: int = 0
    submitted_at: datetime | None = None
    remarks: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    is_bound: bool = False


@dataclass(frozen=True)
class Intake:
    """What became of an export. `record` is None after a dry run."""

    outcomes: tuple[UploadOutcome, ...]
    unmatched: tuple[SkippedEntry, ...]
    ignored: tuple[SkippedEntry, ...]
    receipts: tuple[CheckedReceipt, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    record: Path | None

    @property
    def is_whole(self) -> bool:
        """Whether everything that was handed in found its place, or was left out by rule."""
        return not self.unmatched and not any(outcome.state is UploadState.REFUSED for outcome in self.outcomes)
