"""The package's own files: what digests cover, what templates and processes are made of.

Every path to them starts here, so that a module may move without losing what it looks for. A pattern that matches
nothing is an error: a digest over no files would never change, and old results would pass for new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def package_file(name: str) -> Path:
    """A file or folder of the package, by its path from the package's folder. Raises FileNotFoundError."""
    (found,) = package_files(name)
    return found


def package_files(*patterns: str, root: Path = ROOT) -> list[Path]:
    """Everything below `root` (the package's folder) that one of the patterns matches, sorted, without compiled files.

    Patterns are those of `Path.glob`. Raises FileNotFoundError for a pattern that matches nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matched = {path for path in root.glob(pattern) if "__pycache__" not in path.parts}
        if not matched:
            raise FileNotFoundError(f"nothing in {root} matches {pattern!r}")
        found |= matched
    return sorted(found)


def digest_of_code(*patterns: str, root: Path = ROOT) -> str:
    """The digest of what `package_files` finds. Raises FileNotFoundError for a pattern that matches nothing."""
    return digest_of_files(package_files(*patterns, root=root), root)


def digest_of_files(paths: Iterable[Path], root: Path = ROOT) -> str:
    """SHA-256 of the files' contents, each with its path from `root`, in the order given."""
    parts = (f"{path.relative_to(root).as_posix()}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
