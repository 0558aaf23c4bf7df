"""One submission: its files staged safely, its notebooks found, read with limits and repaired against the release."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.config import Limits
from autograder.evidence import clean_text
from autograder.finder import MOST_DEPTH, Finding, find_notebooks, is_notebook_name, notebook_in, walk
from autograder.notebook_file import MOST_NOTEBOOK_MIB, Notebook, UnreadableNotebook, read_notebook
from autograder.repair import (
    grade_id_of,
    is_run,
    is_test_cell,
    repair,
    source_of,
    test_cells,
    unread_answers,
    work_of,
)

__all__ = [
    "MOST_DEPTH",
    "MOST_NOTEBOOK_MIB",
    "Finding",
    "Notebook",
    "StagedFile",
    "Submission",
    "UnreadableNotebook",
    "describe_kind",
    "find_notebooks",
    "grade_id_of",
    "is_run",
    "is_test_cell",
    "load_found",
    "load_notebook",
    "notebook_in",
    "quarantine",
    "quarantined",
    "read_notebook",
    "read_submission",
    "repair",
    "source_of",
    "stage",
    "test_cells",
    "unread_answers",
    "walk",
]

MOST_FILES = 2000
MOST_NAME = 200


@dataclass(frozen=True)
class StagedFile:
    """A regular file of the submission, copied to `path`; `name` is relative to the submission, with `/`."""

    name: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Submission:
    """What was handed in: readable notebooks by name, why others are not readable, files, and notes in words.

    `visible` identifies every file that the jail will see: the submission's and the course's own over them.
    `unreadable` holds a reason for every notebook of the assignment that is not among `notebooks`.
    """

    student: str
    notebooks: Mapping[str, Notebook]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, StagedFile] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    visible: str = ""

    @property
    def content(self) -> str:
        """Identifies all that can be told about the notebooks: answers for a person and repairs included."""
        told = json.dumps([dict(self.notebooks), dict(self.unreadable), self.notes], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def describe_kind(mode: int) -> str:
    """What a directory entry that is no regular file is, in words."""
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device file")


def quarantine(folder: Path, place: Path) -> list[str]:
    """Move everything that is no regular file out of a submission, before anything follows it. Returns notes.

    nbgrader copies what a link points to into folders that are published; the entry itself is kept under `place`.
    """
    for name, found in list(walk(folder)):
        if not stat.S_ISREG(found.st_mode):
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            os.rename(folder / name, target)
    return quarantined(place)


def quarantined(place: Path) -> list[str]:
    """Notes about everything of a submission that was ever set aside."""
    entries = walk(place) if place.is_dir() else ()
    return [f"`{clean_text(name)}` is {describe_kind(found.st_mode)}: set aside, not graded" for name, found in entries]


def stage(
    folder: Path, target: Path, limits: Limits, *, overlay: Path | None = None, beside: Sequence[str] = ()
) -> tuple[dict[str, StagedFile], list[str]]:
    """Copy the regular files of a submission, world-readable, to `target`; then the course's own over them.

    Returns the submission's files by name, and notes about what was left out. Notebooks are not copied: they are run
    from their repaired form. What lies in one of the folders `beside` (a checkpoint in a folder that was handed in
    together with its notebook) gets the name that it has there, unless another file has it.
    """
    files: dict[str, StagedFile] = {}
    notes: list[str] = []
    room = limits.scratch_mib << 20
    target.mkdir(parents=True, exist_ok=True)
    found = {name: entry for name, entry in walk(folder) if not is_notebook_name(name)}
    for name, entry in found.items():
        reason = _refuse(name, entry, len(files), room)
        if reason:
            notes.append(f"`{clean_text(name)}` {reason}: left out")
            continue
        shown = _shown_name(name, beside)
        shown = name if shown in found or shown in files else shown
        files[shown] = _copy(folder / name, target / shown, shown)
        room -= files[shown].size
    if overlay is not None and overlay.is_dir():
        for name, entry in walk(overlay):
            if stat.S_ISREG(entry.st_mode) and not name.endswith(".ipynb"):
                _copy(overlay / name, target / name, name)
    for place in [target, *(p for p in target.rglob("*") if p.is_dir())]:
        place.chmod(0o755)
    return files, notes


def _shown_name(name: str, beside: Sequence[str]) -> str:
    """A file's name as seen from the notebook that lies beside it."""
    return next((name.removeprefix(folder) for folder in beside if name.startswith(folder)), name)


def _refuse(name: str, found: os.stat_result, count: int, room: int) -> str:
    if not stat.S_ISREG(found.st_mode):
        return f"is {describe_kind(found.st_mode)}"
    if len(name) > MOST_NAME or not name.isprintable():
        return "has a name that is too long or holds control characters"
    if name.count("/") >= MOST_DEPTH:
        return f"lies more than {MOST_DEPTH} folders deep"
    if count >= MOST_FILES:
        return f"is one of more than {MOST_FILES} files"
    if found.st_size > room:
        return f"({found.st_size >> 20} MiB) does not fit into the working folder"
    return ""


def _copy(source: Path, target: Path, name: str) -> StagedFile:
    """Copy one file without following a link that may have taken its place since it was looked at."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as reader, open(target, "wb") as writer:
        while chunk := reader.read(1 << 20):
            digest.update(chunk)
            writer.write(chunk)
    target.chmod(0o644)
    return StagedFile(name, target, digest.hexdigest(), target.stat().st_size)


def read_submission(
    student: str, folder: Path, target: Path, release: Path, limits: Limits, *, overlay: Path | None = None
) -> Submission:
    """Stage the files of a submission and read every notebook that the release has, whatever its file is called."""
    finding = find_notebooks(folder, release)
    files, notes = stage(folder, target, limits, overlay=overlay, beside=finding.folders)
    notes += finding.remarks
    notebooks: dict[str, Notebook] = {}
    unreadable: dict[str, str] = {}
    for template_path in sorted(release.glob("*.ipynb")):
        name = template_path.stem
        try:
            notebooks[name], repairs = load_found(folder, finding, template_path)
            notes += [f"{name}: {repair}" for repair in repairs]
        except UnreadableNotebook as error:
            unreadable[name] = str(error)
    return Submission(student, notebooks, unreadable, files, tuple(notes), digest_of_folder(target))


def digest_of_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(folder).as_posix()
        digest.update(f"{len(name)}:{name}:{content}".encode())
    return digest.hexdigest()


def load_found(folder: Path, finding: Finding, template_path: Path) -> tuple[Notebook, list[str]]:
    """The notebook that was found for one of the release, repaired. Raises UnreadableNotebook."""
    name = template_path.stem
    if name not in finding.files:
        other = next((n for n, file in finding.files.items() if file == f"{name}.ipynb"), "")
        held = f" (the file of this name holds the cells of {other})" if other else ""
        raise UnreadableNotebook(f"{name}.ipynb was not handed in{held}")
    return load_notebook(folder / finding.files[name], template_path)


def load_notebook(path: Path, template_path: Path) -> tuple[Notebook, list[str]]:
    """Read one notebook and repair it against the release. Raises UnreadableNotebook.

    One that ends early counts as far as it goes, unless no answer is left in it.
    """
    submitted, template = read_notebook(path), read_notebook(template_path)
    if "ends_early" in submitted and not any(name for name, _ in work_of(submitted, template)):
        raise UnreadableNotebook(submitted["ends_early"])
    notebook, repairs = repair(submitted, template)
    return notebook, [*submitted["notes"], *repairs]
