"""Which errors stop a whole run, and which are one submission's and cost only that one.

A student can make nearly every error of a file system: a file where a folder is expected, a name that is too long, a
link to itself. Were such an error taken for the machine's, one archive would stop the class. So the errors that stop
everything are listed, here and nowhere else, and all others are blamed on the submission in which they come up.
"""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from autograder.core.remarks import clipped
from autograder.core.text import clean_name, clean_text

# Not ENXIO and ENODEV: opening a socket or a device that was handed in gives those.
OF_THE_MACHINE = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EIO", "EUCLEAN"),  # the disk is full, read-only or damaged
        *("ENOMEM", "EAGAIN", "EMFILE", "ENFILE", "ENOBUFS", "ENOLCK"),  # the machine has no more to give
        *("ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO"),  # a disk behind a network
    )
    if hasattr(errno, name)
)
OF_RIGHTS = frozenset({errno.EACCES, errno.EPERM})
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS}) | OF_RIGHTS
MOST_REASON = 300


def stops_a_run(error: BaseException) -> bool:
    """Whether an error is the machine's, whatever submission it comes up in."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in OF_THE_MACHINE)


def reason_of(error: BaseException) -> str:
    """An error that one submission caused, in words for the staff. What no system call said is a slip of our own, and
    is named with its place in the code."""
    if isinstance(error, OSError) and error.strerror:
        place = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
        return clipped(clean_text(f"{error.strerror}{place}"), MOST_REASON)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    told = " ".join(str(error).split())
    return clipped(clean_text(f"a slip of the grader's own ({type(error).__name__}{place}: {told})"), MOST_REASON)


def disk_problem(error: OSError) -> str:
    """What to do about a disk that is full or cannot be written; empty for other errors."""
    if error.errno not in DISK:
        return ""
    place = f" ({clean_name(str(error.filename))})" if error.filename else ""
    remedy = "free some space, or let this user write there, and grade again; what stands in the gradebook stays"
    return f"{error.strerror}{place}: {remedy}"
