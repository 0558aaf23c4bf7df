"""Scratch folders: copies of submissions, deleted when their process ends, or by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH, IN_USE = "autograder-", ".in-use"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that `remove_abandoned` knows to be in use as long as this process lives."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as name, open(Path(name) / IN_USE, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Path(name)


def remove_abandoned() -> None:
    """Delete the scratch folders of graders that were killed: they hold copies of submissions.

    A lock that can be had says that nobody is left; numbers of processes would not do where containers share `/tmp`.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/{IN_USE}"):
        with suppress(OSError):  # another grader tidies up too, or it is somebody else's
            if path.parent.lstat().st_uid != os.getuid():
                continue
            with open(path, "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent)
