"""Whether a folder holds what it held: a digest of all that was handed in, whatever of it is graded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from autograder.core.files import digest_of, file_digest, open_file
from autograder.handin.finder import MOST_ENTRIES
from autograder.handin.walk import walk

MOST_READ = 4 << 30  # bytes of a folder; no submission may be as large, and a sparse file of a terabyte costs nothing


def content_digest(folder: Path) -> str:
    """Identifies the names and contents of all files below a folder; "" where it cannot be read, or holds too many.

    A file that cannot be read, a link and what is no file count by name and kind only, and by its size a file with
    which more than MOST_READ would be read.
    """
    parts, room = list[str](), MOST_READ
    try:
        for name, found in walk(folder, MOST_ENTRIES):
            parts += [name, _state(folder / name, found, room)]
            room -= found.st_size if found.st_size <= room else 0
    except OSError:
        return ""
    return digest_of(*parts)


def _state(path: Path, found: os.stat_result, room: int) -> str:
    if not stat.S_ISREG(found.st_mode):
        return f"kind {stat.S_IFMT(found.st_mode):o}"
    if found.st_size > room:
        return f"{found.st_size} bytes"
    try:
        with open_file(path) as file:
            return file_digest(file)
    except OSError:
        return "cannot be read"
