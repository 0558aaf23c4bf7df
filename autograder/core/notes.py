"""What was noticed about a submission while it was read, repaired or graded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class NoteKind(str, Enum):
    """What a note is about, for programs; people read its text."""

    REMARK = "remark"
    REFUSED = "refused"  # a file was not taken
    BLOCKED = "blocked"  # a file was not taken: a link, a pipe or a device, or a name that could steer a terminal
    SHADOW = "shadow"  # a file was not taken: its name is the course's own
    COURSE_TEXT = "course-text"  # a cell of the course's had been changed
    HIDDEN_TEXT = "hidden-text"  # code that does not run as it reads
    FAULT = "fault"  # the grader's own

    @property
    def is_not_taken(self) -> bool:
        """Whether a file of the submission was left out or set aside."""
        return self in (NoteKind.REFUSED, NoteKind.BLOCKED, NoteKind.SHADOW)


@dataclass(frozen=True)
class Note:
    """Something that was noticed about a submission while it was read, repaired or graded: `text` says it in words.

    `notebook` is the one that it is about, "" where it is about the whole submission.
    """

    text: str
    kind: NoteKind = NoteKind.REMARK
    notebook: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Note:
        """Rebuild a note from its `dataclasses.asdict` form. Raises ValueError, KeyError or TypeError."""
        return cls(**{**data, "kind": NoteKind(data["kind"])})

    def __str__(self) -> str:
        return f"{self.notebook}: {self.text}" if self.notebook else self.text
