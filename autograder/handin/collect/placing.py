"""Put a submission into its folder; what lay there is moved away in one piece, never merged or deleted."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from autograder.core.files import file_digest
from autograder.core.text import clean_name
from autograder.handin.collect.assemble import RESERVED, Rules, SubmissionDraft, write_files
from autograder.handin.collect.intake import Options, SubmissionPlace, UploadState
from autograder.handin.collect.journal import stamp, unused
from autograder.handin.quarantine import handed_in_at
from autograder.handin.walk import walk

TIMESTAMP = "timestamp.txt"
TIMESTAMP_FORMAT = "%Y-%m-%d %H:%M:%S.%f %Z"  # nbgrader's


def place_submission(
    student: str, done: SubmissionDraft, place: SubmissionPlace, options: Options, scratch: Path, now: datetime
) -> UploadState:
    """Put a submission into its folder, unless there is a reason not to; the older one is moved away, never merged."""
    if done.refusal:
        return UploadState.REFUSED
    if not done.files:
        return UploadState.LATE
    folder = place.folder_of(student)
    if folder.is_symlink() or folder.parent.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link: put the folder itself in its place", str(folder))
    exists = os.path.lexists(folder)
    if exists and _is_same(folder, done):
        return UploadState.UNCHANGED
    if exists and _stays(folder, done, options.rules):
        return UploadState.OLDER
    if not options.dry_run:
        staged = scratch / "submission"
        staged.mkdir()
        write_files(done, staged)
        if done.submitted_at is not None:
            time = done.submitted_at.astimezone(timezone.utc)
            (staged / TIMESTAMP).write_text(time.strftime(TIMESTAMP_FORMAT))
        kept = _put(staged, folder, place.intake / "replaced" / place.assignment / student / stamp(now))
        if kept is not None and place.intake not in kept.parents:
            done.remarks.append(f"the older folder could not be moved to another disk: it is {clean_name(str(kept))}")
    return UploadState.REPLACED if exists else UploadState.COLLECTED


def _put(staged: Path, folder: Path, kept: Path) -> Path | None:
    """Move a submission into its place, and what was there to `kept`; put that back where the move fails.

    Returns where the older one is now. Nothing is ever copied and then deleted, as `shutil.move` does where it cannot
    rename: of a folder that something is mounted on, or that holds a pipe, only a part might arrive.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    older = _set_aside(folder, kept) if os.path.lexists(folder) else None
    try:
        _move_in(staged, folder)
    except BaseException:
        if older is not None:
            os.rename(older, folder)
        raise
    return older


def _set_aside(folder: Path, kept: Path) -> Path:
    """Move what lies in a submission's place away, whatever it is; to a hidden place beside it where `kept` is on
    another disk. Returns where it is now."""
    beside = folder.parent / ".replaced" / f"{folder.name}-{kept.name}"
    for target in (kept, beside):
        target = unused(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(folder, target)
        except OSError as error:
            if error.errno != errno.EXDEV or target.parent == beside.parent:
                raise
        else:
            return target
    raise AssertionError("unreachable: the second place is on the same disk, or os.rename has raised")


def _move_in(staged: Path, folder: Path) -> None:
    """Move our own copy of a submission, which holds regular files only, in one piece for whoever looks."""
    try:
        os.rename(staged, folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent, ignore_cleanup_errors=True) as beside:
            os.rename(shutil.copytree(staged, Path(beside) / "submission"), folder)


def _is_same(folder: Path, done: SubmissionDraft) -> bool:
    """Whether the folder holds just these files, apart from what nbgrader wrote."""
    if not folder.is_dir():
        return False
    there = {name: found for name, found in walk(folder) if name not in RESERVED}
    if {name: found.st_size for name, found in there.items()} != {n: p.copied.size for n, p in done.files.items()}:
        return False
    regular = all(stat.S_ISREG(found.st_mode) for found in there.values())
    return regular and all(_digest(folder / name) == placed.copied.sha256 for name, placed in done.files.items())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return file_digest(file)


def _stays(folder: Path, done: SubmissionDraft, rules: Rules) -> bool:
    """Whether what was collected before was handed in later, and still in time."""
    before = handed_in_at(folder)
    if before is None:
        return False
    in_time = rules.takes_late or rules.deadline is None or before <= rules.deadline
    return done.submitted_at is not None and in_time and before > done.submitted_at
