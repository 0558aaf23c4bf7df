"""Whether a folder holds what it held: a digest of all that was handed in, whatever of it is graded."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from autograder.core.files import digest_of, open_file
from autograder.handin.finder import MOST_ENTRIES
from autograder.handin.walk import walk

CHUNK = 1 << 20


def content_digest(folder: Path) -> str:
    """Identifies the names and contents of all files below a folder; "" where it cannot be read, or holds too many.

    A file that cannot be read, a link and what is no file count by name and kind only.
    """
    try:
        return digest_of(*[part for name, found in walk(folder, MOST_ENTRIES) for part in _parts(folder, name, found)])
    except OSError:
        return ""


def _parts(folder: Path, name: str, found: os.stat_result) -> tuple[str, str]:
    if not stat.S_ISREG(found.st_mode):
        return name, f"kind {stat.S_IFMT(found.st_mode):o}"
    try:
        digest = hashlib.sha256()
        with open_file(folder / name) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return name, digest.hexdigest()
    except OSError:
        return name, "cannot be read"
