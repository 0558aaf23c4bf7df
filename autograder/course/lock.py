"""One grader at a time works on a course: two would remove each other's folders in the middle of a submission."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

_held: dict[Path, CourseLock] = {}  # by this process: what it starts within a batch needs no lock of its own


class CourseBusy(RuntimeError):
    """Another process grades in this course; the message says which, and what to do."""


class CourseLock:
    """The lock of a course: only its holder may grade there. It is held until `release` or the end of the process.

        with lock_course(root):
            ...

    The kernel gives an advisory lock (flock) back when a process ends, however it ends: what is left of one that was
    killed is a file that says who it was, and locks nobody out.
    """

    def __init__(self, root: Path, file: IO[str], *, is_own: bool) -> None:
        self._root, self._file, self.is_own = root, file, is_own

    def release(self) -> None:
        """Release the lock; does nothing within a process that holds it for longer."""
        if self.is_own and _held.get(self._root) is self:
            del _held[self._root]
            self._file.close()

    def __enter__(self) -> CourseLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_course(root: Path) -> CourseLock:
    """Take the lock of the course at `root`. Raises CourseBusy, or OSError where the folder cannot be written."""
    root = root.resolve()
    if root in _held:
        return CourseLock(root, _held[root]._file, is_own=False)
    path = root / ".autograder" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - closed by CourseLock.release
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read(500).strip()
        file.close()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise CourseBusy(
            f"another grader is at work in {root} ({owner or 'it has not said which'}): wait until it has ended, then "
            "run this again"
        ) from error
    since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
    with suppress(OSError):  # a courtesy, for which a full disk may have no room
        file.truncate(0)
        file.write(f"process {os.getpid()}, {Path(sys.argv[0]).name}, since {since}\n")
        file.flush()
    _held[root] = CourseLock(root, file, is_own=True)
    return _held[root]
