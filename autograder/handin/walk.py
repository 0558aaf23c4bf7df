"""The files of a folder that a student filled: every one once, no link followed, to a bounded depth."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_DEPTH = 8
MOST_NESTED = 32  # folders further down than this are not even looked into
SUFFIX = re.compile(r"\.ipynb(\.txt|\.json)?", re.IGNORECASE)  # browsers add the second


def walk(folder: Path, most: int | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below a folder as (relative name, lstat), links neither followed nor left out.

    Folders are looked into; one that cannot be entered, or lies more than MOST_NESTED deep, is an entry itself. Raises
    OSError where `folder` itself cannot be read, or where there are more than `most` files and folders.
    """
    count = 0
    pending: list[tuple[str, os.stat_result | None]] = [("", None)]
    while pending:
        prefix, itself = pending.pop()
        try:
            entries = _entries(folder, prefix)
        except OSError:
            if itself is None:
                raise
            yield prefix[:-1], itself  # no rights, a path that is too long, or a link that has taken its place
            continue
        count += len(entries)
        if most is not None and count > most:
            raise OSError(errno.EFBIG, f"it holds more than {most:,} files and folders", str(folder))
        for entry, found in entries:
            name = f"{prefix}{entry}"
            if stat.S_ISDIR(found.st_mode) and name.count("/") < MOST_NESTED:
                pending.append((f"{name}/", found))
            else:
                yield name, found


def _entries(folder: Path, prefix: str) -> list[tuple[str, os.stat_result]]:
    """The entries of one folder by name. By its descriptor, since names deep down make longer paths than there can be.

    Only the outermost folder may be a link: the course's own, by the staff's choice.
    """
    descriptor = os.open(folder / prefix, os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if prefix else 0))
    try:
        with os.scandir(descriptor) as entries:
            return sorted(((e.name, e.stat(follow_symlinks=False)) for e in entries), key=lambda pair: pair[0])
    finally:
        os.close(descriptor)


def is_notebook_name(name: str) -> bool:
    """Whether a file is named as a notebook, in capitals or with what browsers add, too."""
    return stem_of(name) != name


def stem_of(name: str) -> str:
    """A file's name without what marks it as a notebook."""
    found = SUFFIX.search(name)
    return name[: found.start()] if found and found.end() == len(name) else name
