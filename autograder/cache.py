"""The course's secret, and results kept by content so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autograder.jail import Frame, StreamProblem, decode_frames, encode_frames
from autograder.results import GradeReport

LIBRARIES = ("torch", "torchvision", "numpy", "safetensors", "pytest", "ipython")


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
    once agree on one: the first to link its file wins.
    """
    path = root / ".autograder" / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="secret-", delete=False) as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(file.name, path)
        os.unlink(file.name)
    return bytes.fromhex(path.read_text().strip())


def engine_digest(graders: Path, config: Path) -> str:
    """The identity of the engine's code, the hidden graders, the configuration and the libraries."""
    package = Path(__file__).parent
    paths = sorted({*package.rglob("*.py"), *graders.rglob("*.py")})
    parts = [f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]
    parts += [hashlib.sha256(config.read_bytes()).hexdigest(), sys.version]
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            parts.append(f"{name}=={version(name)}")
    return digest_of(*parts)


@dataclass(frozen=True)
class Cache:
    """Files named by content below one folder; a broken entry counts as absent, writing is atomic."""

    folder: Path

    def load_report(self, key: str) -> GradeReport | None:
        """The report kept under a key, None where there is none that can be read."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return GradeReport.from_json((self.folder / f"{key}.report.json").read_text())
        return None

    def save_report(self, key: str, report: GradeReport) -> None:
        write_atomically(self.folder / f"{key}.report.json", report.to_json().encode())

    def load_frames(self, key: str) -> list[Frame] | None:
        """The frames of an identical notebook that ran before, None where there are none that can be read."""
        with suppress(OSError, StreamProblem):
            return decode_frames((self.folder / f"{key}.frames").read_bytes())
        return None

    def save_frames(self, key: str, frames: list[Frame]) -> None:
        write_atomically(self.folder / f"{key}.frames", encode_frames(frames))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a kill at any moment, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
