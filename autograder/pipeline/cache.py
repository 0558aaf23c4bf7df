"""The course's secret, and results kept by content so that nothing is computed twice."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autograder.core.files import write_atomically
from autograder.core.grade_report import GradeReport
from autograder.jail import Frame, StreamProblem, decode_frames, encode_frames


@dataclass(frozen=True)
class Cache:
    """Files named by content below one folder; writing is atomic, and a broken entry counts as absent.

    Each begins with a digest of its own name and content: an entry that was cut off between two records, or that
    belongs to another submission, would read well and cost somebody points.
    """

    folder: Path

    def load_report(self, key: str) -> GradeReport | None:
        """The report kept under a key, None where there is none that can be read."""
        with suppress(ValueError, KeyError, TypeError):
            content = self._load(f"{key}.report.json")
            return None if content is None else GradeReport.from_json(content.decode())
        return None

    def save_report(self, key: str, report: GradeReport) -> None:
        self._save(f"{key}.report.json", report.to_json().encode())

    def load_frames(self, key: str) -> list[Frame] | None:
        """The frames of an identical notebook that ran before, None where there are none that can be read."""
        with suppress(StreamProblem):
            content = self._load(f"{key}.frames")
            return None if content is None else decode_frames(content)
        return None

    def save_frames(self, key: str, frames: list[Frame]) -> None:
        self._save(f"{key}.frames", encode_frames(frames))

    def _load(self, name: str) -> bytes | None:
        try:
            seal, _, content = (self.folder / name).read_bytes().partition(b"\n")
        except OSError:
            return None
        return content if seal == _seal(name, content) else None

    def _save(self, name: str, content: bytes) -> None:
        write_atomically(self.folder / name, _seal(name, content) + b"\n" + content)


def _seal(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + content).hexdigest().encode()
