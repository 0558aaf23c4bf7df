"""The course's secret, and results kept by content so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autograder.core.package import digest_of_code
from autograder.jail import Frame, StreamProblem, decode_frames, encode_frames
from autograder.results import GradeReport

LIBRARIES = ("torch", "torchvision", "numpy", "safetensors", "pytest", "ipython")
SECRET_BYTES = 32
HANDED_IN = ("quarantine", "intake")
PART_SECONDS = 86_400  # a file that has been in the making for a day was left by a process that was killed


class BrokenSecret(ValueError):
    """The course's secret is not what was once made; the message has the remedy."""


def digest_of(*parts: str) -> str:
    """SHA-256 over parts, each with its length, so that no two lists of parts give the same text."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.hexdigest()


def read_secret(root: Path) -> bytes:
    """The course's secret, made on first use; whoever knows it can hard-code against the probes.

    It lies in `.autograder/secret`, readable by its owner only, and is never committed. Two graders that start at
    once agree on one: the first to link its file wins. Raises BrokenSecret: an empty file, as a full disk or a power
    cut can leave it, would make probes that everybody can compute.
    """
    path = root / ".autograder" / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = write_part(path, secrets.token_hex(SECRET_BYTES).encode(), durable=True)
        with suppress(FileExistsError):
            os.link(made, path)
        made.unlink()
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise BrokenSecret(
            f"{path} must hold {2 * SECRET_BYTES} hexadecimal digits, and does not: put back a copy, or delete it; "
            "then a new secret is made, probes are others, and every submission is graded again"
        )
    return secret


def engine_digest(graders: Path, config: Path) -> str:
    """The identity of the engine's code, the hidden graders, the configuration and the libraries."""
    parts = [digest_of_code("**/*.py"), digest_of_code("**/*.py", root=graders)]
    parts += [hashlib.sha256(config.read_bytes()).hexdigest(), sys.version]
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            parts.append(f"{name}=={version(name)}")
    return digest_of(*parts)


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
