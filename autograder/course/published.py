"""What lies in the folders that formgrader serves and that students get: graded notebooks or pages, the declared
weights, the course's own files, and nothing else that was handed in.

nbgrader copies every file of a submission to `autograded/`, and from there to `feedback/`. formgrader serves what lies
in `autograded/` from the address at which marks are given: a page of a student's would set them, and open a terminal,
as whoever opens it.
"""

from __future__ import annotations

import filecmp
import glob
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from autograder.core.files import open_file
from autograder.core.weights_file import PACKED, SAFETENSORS, TORCH
from autograder.handin.quarantine import TIMESTAMP, handed_in_at
from autograder.handin.walk import walk
from autograder.handin.weights import HEAD, form_of

SECRET, MOST_SECRET = "submission_secret.txt", 1000
FORMS = ("feedback.md", "feedback.json")  # what `autograder feedback` writes beside the pages


def keep_files_out(converter: Any) -> None:
    """Have nbgrader copy nothing of what a converter converts but notebooks.

    A pattern of `CourseDirectory.ignore` is joined to the folder that is looked at; one that is a whole path leaves out
    that folder, and no other of the course. So at no moment a student's file lies in a folder that is served.
    """
    course = converter.coursedir
    for student in ("*", ".*"):
        parts = {"nbgrader_step": converter._input_directory, "assignment_id": glob.escape(course.assignment_id)}
        pattern = os.path.join(glob.escape(course.root), course.directory_structure.format(student_id=student, **parts))
        if pattern not in course.ignore:  # formgrader's process has one `course` for all its commands
            course.ignore = [*course.ignore, pattern]


def fill_autograded(
    folder: Path, submitted: Path, own: Mapping[str, Path], weights: Mapping[str, Path], released: Collection[str]
) -> None:
    """Take out of a graded folder what does not belong there (as earlier graders left it), and put in the weights and
    the time that were handed in. `released` are the notebooks' names, `own` the course's own files, and `weights` the
    files that are graded as such, by the name that each gets."""

    def belongs(name: str) -> bool:
        if name.endswith(".ipynb"):
            return name.removesuffix(".ipynb") in released
        return name in own and filecmp.cmp(folder / name, own[name], shallow=False)

    _tidy(folder, belongs)
    for name, path in weights.items():
        file = _opened(path)
        if file is not None:
            with file:
                if is_checkpoint(name, file):
                    _write(folder / name, file)
    _write_own(folder, submitted)


def fill_feedback(folder: Path, autograded: Path) -> None:
    """Leave pages of graded notebooks in a folder of feedback, their other forms, and what the exchange needs."""
    pages = {f"{path.stem}.html" for path in autograded.glob("*.ipynb")}
    _tidy(folder, lambda name: name in pages or name in FORMS)
    _write_own(folder, autograded)


def is_checkpoint(name: str, file: BinaryIO) -> bool:
    """Whether a file begins as its name says: as tensors of safetensors, or as `torch.save` writes."""
    form = form_of(file.read(HEAD), os.fstat(file.fileno()).st_size)
    file.seek(0)
    return form == SAFETENSORS if name.endswith(".safetensors") else form in (TORCH, PACKED)


def _opened(path: Path) -> BinaryIO | None:
    """A file of a submission; nothing where there is none that can be opened."""
    try:
        return open_file(path)
    except OSError:
        return None


def _write(path: Path, content: BinaryIO) -> None:
    path.unlink(missing_ok=True)  # it may be there from before, without the right to write
    with open(path, "xb") as file:
        shutil.copyfileobj(content, file)


def _write_own(folder: Path, source: Path) -> None:
    """What nbgrader itself puts into a submission: when it was handed in, by which it knows a newer one (written anew),
    and the exchange's secret, by which its student finds the feedback."""
    moment = handed_in_at(source)
    if moment is not None:
        _write(folder / TIMESTAMP, io.BytesIO(f"{moment.replace(tzinfo=None).isoformat(' ')} UTC\n".encode()))
    file = _opened(source / SECRET)
    if file is None:
        return
    with file:
        secret = file.read(MOST_SECRET)
    if re.fullmatch(rb"[\w.~+/=-]+\s*", secret, re.ASCII):
        _write(folder / SECRET, io.BytesIO(secret))


def _tidy(folder: Path, belongs: Callable[[str], bool]) -> None:
    """Delete what does not belong in a folder: files, links, whatever else, and the folders that are empty then."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
    for name, found in list(walk(folder)):
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(folder / name)
        elif not (stat.S_ISREG(found.st_mode) and belongs(name)):
            (folder / name).unlink()
    for place in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        with suppress(OSError):  # it is not empty
            place.rmdir()
