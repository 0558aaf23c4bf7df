"""Files and texts by their content: digests, and writing so that no reader sees half a file."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from autograder.core.weights_file import WeightsContent

HANDED_IN = ("quarantine", "intake")
PART_SECONDS = 86_400  # a file that has been in the making for a day was left by a process that was killed


class NotAFile(OSError):
    """In place of a file lies a folder, a link, a pipe or a device."""


def open_file(path: Path) -> BinaryIO:
    """A file that a student handed in, for reading: a link is not followed, a pipe does not hang.

    Raises OSError; NotAFile where it is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile(errno.EINVAL, "no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def file_digest(file: BinaryIO) -> str:
    """SHA-256 of what an open file still holds, read in pieces."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def digest_of(*parts: str) -> str:
    """SHA-256 over parts, each with its length, so that no two lists of parts give the same text."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that a reader, or a kill at any moment, sees the old one or the new one.

    `durable`: so that this holds for a power cut, too, which can otherwise leave an empty file under the new name. It
    costs a few milliseconds, and is for what cannot be computed again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(write_part(path, content, durable=durable), path)
    if durable:
        _sync(path.parent)


def write_part(path: Path, content: bytes, *, durable: bool) -> Path:
    """A new file beside `path` with the content; none is left where it cannot be written (a full disk)."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    return Path(file.name)


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """Delete what `write_atomically` left below a folder in a process that was killed; young files may be in use.

    Folders that hold what was handed in are left alone: how deep they are, and what is called `.part-`, is their
    student's choice.
    """
    places = [place for place in folder.glob("*/") if place.name not in HANDED_IN]
    for path in [*folder.glob(".part-*"), *(part for place in places for part in place.rglob(".part-*"))]:
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - PART_SECONDS:
                path.unlink()


@dataclass(frozen=True)
class StagedFile:
    """A regular file of the submission as it was handed in, copied to `path`, and hashed before anything ran.

    `name` is the one under which notebooks see it, with `/`. `weights` says what it holds where that may be trained
    weights.
    """

    name: str
    path: Path
    sha256: str
    size: int
    weights: WeightsContent | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StagedFile:
        """What `to_json` gave."""
        weights = data["weights"] and WeightsContent(**data["weights"])
        return cls(data["name"], Path(data["path"]), data["sha256"], data["size"], weights)
