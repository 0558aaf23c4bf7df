"""One submission: its files staged safely, its notebooks found, read with limits and repaired against the release."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.config import Limits
from autograder.finder import MOST_DEPTH, Finding, find_notebooks, is_notebook_name, notebook_in, walk
from autograder.notebook_file import MOST_NOTEBOOK_MIB, Notebook, UnreadableNotebook, read_notebook
from autograder.quarantine import (
    MOST_FILES,
    MOST_NAME,
    Surroundings,
    blocks,
    describe_kind,
    hides_module,
    left_out,
    parents,
    quarantine,
    quarantined,
    refused,
)
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
    "MOST_FILES",
    "MOST_NAME",
    "MOST_NOTEBOOK_MIB",
    "Finding",
    "Notebook",
    "StagedFile",
    "Submission",
    "Surroundings",
    "UnreadableNotebook",
    "describe_kind",
    "find_notebooks",
    "grade_id_of",
    "is_run",
    "is_test_cell",
    "load_found",
    "load_notebook",
    "notebook_in",
    "own_files",
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


TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


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


def stage(
    folder: Path,
    target: Path,
    limits: Limits,
    *,
    overlay: Path | None = None,
    weights: Sequence[str] = (),
    beside: Sequence[str] = (),
) -> tuple[dict[str, StagedFile], list[str]]:
    """Copy the regular files of a submission, world-readable, to `target`; then the course's own over them.

    Returns the submission's files by name, and notes about what was left out. Notebooks are not copied: they are run
    from their repaired form. Neither are `weights` of the course's: whoever tried the source notebooks left some there.
    What lies in one of the folders `beside` (a checkpoint in a folder that was handed in together with its notebook)
    gets the name that it has there, unless another file has it.
    """
    files: dict[str, StagedFile] = {}
    own = own_files(overlay, weights)
    around = Surroundings(own=own, own_bytes=sum(map(blocks, own.values())))
    problems = refused(folder, limits, around)
    target.mkdir(parents=True, exist_ok=True)
    found = {name: entry for name, entry in walk(folder) if not is_notebook_name(name) and name not in problems}
    for name, entry in found.items():
        shown = _shown_name(name, beside)
        shown = name if shown in found or shown in files or _is_blocked(shown, target, own) else shown
        try:
            files[shown] = _copy(folder / name, target / shown, shown, entry.st_size)
        except _UnreadableFile as error:
            problems[name] = f"cannot be read ({error})"
    for name in own:
        assert overlay is not None
        _copy(overlay / name, target / name, name, own[name])
    for place in [target, *(p for p in target.rglob("*") if p.is_dir())]:
        place.chmod(0o755)
    return files, left_out(problems, "left out")


def own_files(overlay: Path | None, weights: Sequence[str] = ()) -> dict[str, int]:
    """The course's own files that are laid over a submission, with their sizes: no notebooks, no weights."""
    if overlay is None or not overlay.is_dir():
        return {}
    entries = ((name, found) for name, found in walk(overlay) if stat.S_ISREG(found.st_mode))
    return {name: f.st_size for name, f in entries if not name.endswith(".ipynb") and name not in weights}


def _shown_name(name: str, beside: Sequence[str]) -> str:
    """A file's name as seen from the notebook that lies beside it."""
    return next((name.removeprefix(folder) for folder in beside if name.startswith(folder)), name)


def _is_blocked(name: str, target: Path, own: Collection[str]) -> bool:
    """Whether a file would have to be a folder, or a folder a file, for this name to be given, or would hide one."""
    folders = {folder for other in own for folder in parents(other)}
    above = parents(name)
    blocked = (target / name).is_dir() or name in folders or any((target / p).is_file() or p in own for p in above)
    return blocked or hides_module(name, own)


class _UnreadableFile(Exception):
    """A file of a submission that cannot be opened; the message says why."""


def _copy(source: Path, target: Path, name: str, size: int) -> StagedFile:
    """Copy one file, `size` bytes of it: it may still grow. A link that has taken its place meanwhile is not followed,
    a pipe does not hang."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _UnreadableFile(error.strerror) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "rb") as reader, open(target, "wb") as writer:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _UnreadableFile("no regular file")
        while size > 0 and (chunk := reader.read(min(1 << 20, size))):
            size -= len(chunk)
            digest.update(chunk)
            writer.write(chunk)
    target.chmod(0o644)
    return StagedFile(name, target, digest.hexdigest(), target.stat().st_size)


def read_submission(
    student: str,
    folder: Path,
    target: Path,
    release: Path,
    limits: Limits,
    *,
    overlay: Path | None = None,
    weights: Sequence[str] = (),
) -> Submission:
    """Stage the files of a submission and read every notebook that the release has, whatever its file is called."""
    finding = find_notebooks(folder, release)
    files, notes = stage(folder, target, limits, overlay=overlay, weights=weights, beside=finding.folders)
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
    return notebook, [*submitted["notes"], *repairs, *_turned_code(notebook)]


def _turned_code(notebook: Notebook) -> list[str]:
    """A note where code holds signs that turn the direction of text: it does not run as it reads (CVE-2021-42574)."""
    found = {c for cell in notebook["cells"] if cell["cell_type"] == "code" for c in TURNING.findall(cell["source"])}
    if not found:
        return []
    signs = ", ".join(f"U+{ord(c):04X}" for c in sorted(found))
    return [f"its code holds signs that change the direction of text ({signs}): what runs is not what is read"]
