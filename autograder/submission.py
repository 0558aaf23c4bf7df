"""One submission: its files staged safely, its notebooks read with limits and repaired against the release."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from autograder.config import Limits
from autograder.evidence import clean_text

MOST_FILES = 2000
MOST_DEPTH = 8
MOST_NAME = 200
MOST_NOTEBOOK_MIB = 64
MOST_CELLS = 2000

Notebook = dict[str, Any]


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
    """

    student: str
    notebooks: Mapping[str, Notebook]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, StagedFile] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    visible: str = ""


class UnreadableNotebook(ValueError):
    """A notebook file that cannot be taken as one; the message is for the student."""


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below a folder as (relative name, lstat), links neither followed nor left out."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = f"{prefix}{entry.name}"
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    pending.append(f"{name}/")
                else:
                    yield name, found


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
    folder: Path, target: Path, limits: Limits, *, overlay: Path | None = None
) -> tuple[dict[str, StagedFile], list[str]]:
    """Copy the regular files of a submission, world-readable, to `target`; then the course's own over them.

    Returns the submission's files by name, and notes about what was left out. Notebooks are not copied: they are run
    from their repaired form.
    """
    files: dict[str, StagedFile] = {}
    notes: list[str] = []
    room = limits.scratch_mib << 20
    target.mkdir(parents=True, exist_ok=True)
    for name, found in walk(folder):
        reason = _refuse(name, found, len(files), room)
        if reason:
            notes.append(f"`{clean_text(name)}` {reason}: left out")
        elif not name.endswith(".ipynb"):
            staged = _copy(folder / name, target / name, name)
            files[name] = staged
            room -= staged.size
    if overlay is not None and overlay.is_dir():
        for name, found in walk(overlay):
            if stat.S_ISREG(found.st_mode) and not name.endswith(".ipynb"):
                _copy(overlay / name, target / name, name)
    for place in [target, *(p for p in target.rglob("*") if p.is_dir())]:
        place.chmod(0o755)
    return files, notes


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
    """Stage the files of a submission and read every notebook that the release has."""
    files, notes = stage(folder, target, limits, overlay=overlay)
    notebooks: dict[str, Notebook] = {}
    unreadable: dict[str, str] = {}
    for template_path in sorted(release.glob("*.ipynb")):
        name = template_path.stem
        try:
            notebooks[name], repairs = load_notebook(folder / f"{name}.ipynb", template_path)
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


def load_notebook(path: Path, template_path: Path) -> tuple[Notebook, list[str]]:
    """Read one notebook and repair it against the release. Raises UnreadableNotebook."""
    return repair(read_notebook(path), read_notebook(template_path))


def read_notebook(path: Path) -> Notebook:
    """A notebook as nbformat 4 JSON, size and nesting bounded. Raises UnreadableNotebook."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise UnreadableNotebook(f"{path.name} was not handed in") from error
    except OSError as error:
        raise UnreadableNotebook(f"{path.name} cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableNotebook(f"{path.name} is not a regular file")
        content = file.read((MOST_NOTEBOOK_MIB << 20) + 1)
    if len(content) > MOST_NOTEBOOK_MIB << 20:
        too_large = f"{path.name} is larger than {MOST_NOTEBOOK_MIB} MiB"
        raise UnreadableNotebook(f"{too_large}: clear its outputs and hand in again")
    try:
        data = json.loads(content.decode("utf-8-sig"))
        if not isinstance(data, dict) or not isinstance(data.get("nbformat"), int):
            raise ValueError("not a notebook")
        if data["nbformat"] < 4:
            data = nbformat.convert(nbformat.from_dict(data), 4)
        cells = data["cells"]
        if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
            raise ValueError("no list of cells")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        remedy = "open it in Jupyter, save it, and hand it in again"
        problem = f"{path.name} cannot be read as a notebook ({type(error).__name__})"
        raise UnreadableNotebook(f"{problem}: {remedy}") from error
    return {"cells": cells[:MOST_CELLS]}


def grade_id_of(cell: Mapping[str, Any]) -> str:
    """The cell's nbgrader id, or the empty string."""
    metadata = cell.get("metadata")
    own = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    found = own.get("grade_id") if isinstance(own, dict) else None
    return found if isinstance(found, str) else ""


def is_test_cell(cell: Mapping[str, Any]) -> bool:
    """Whether an (already repaired) cell is an automatically graded test cell."""
    own = cell.get("metadata", {}).get("nbgrader", {})
    return bool(own.get("grade")) and not own.get("solution") and cell["cell_type"] == "code"


def test_cells(notebook: Notebook) -> dict[str, float]:
    """The automatically graded test cells of a released notebook, with their points."""
    own = [cell["metadata"]["nbgrader"] for cell in notebook["cells"] if is_test_cell(cell)]
    return {cell["grade_id"]: float(cell["points"]) for cell in own}


def repair(submitted: Notebook, template: Notebook) -> tuple[Notebook, list[str]]:
    """Rebuild a notebook on the release: its own cells as handed in, the course's cells as the course made them.

    Metadata of the course's cells is the release's (points, flags, checksums cannot be forged), tags are dropped,
    locked cells get their own text back, missing ones are put in after the cell that precedes them in the release,
    and a second cell with a known id becomes an ordinary one. Returns a notebook with fresh cell ids and no outputs,
    and notes about each repair.
    """
    known = {grade_id_of(cell): cell for cell in template["cells"] if grade_id_of(cell)}
    notes: list[str] = []
    cells: list[dict[str, Any]] = []
    seen: set[str] = set()
    for given in submitted["cells"]:
        name = grade_id_of(given)
        if name and name in seen:
            notes.append(f"a second cell `{clean_text(name)}` was taken as an ordinary cell")
            name = ""
        cells.append(_course_cell(given, known[name], notes) if name in known else _own_cell(given))
        seen.add(name)
    _insert_missing(cells, template, seen, notes)
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"
    return _notebook(cells), notes


def source_of(cell: Mapping[str, Any]) -> str:
    """A cell's text as one string, fit to be written, with Unix line ends."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    text = source if isinstance(source, str) else ""
    # A lone surrogate could not be written to the graded notebook, and Windows line ends would shift line numbers.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")


def _own_cell(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given.get("cell_type") if given.get("cell_type") in ("code", "markdown", "raw") else "raw"
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source_of(given)}
    if kind == "code":
        return {**cell, "outputs": [], "execution_count": None}
    pictures = _attached_pictures(given.get("attachments"))
    return {**cell, "attachments": pictures} if pictures and kind == "markdown" else cell


def _attached_pictures(attachments: object) -> dict[str, dict[str, str]]:
    """The pictures that a markdown cell carries with it, bitmaps only: an SVG can hold a script."""
    found: dict[str, dict[str, str]] = {}
    for name, bundle in attachments.items() if isinstance(attachments, dict) else ():
        kinds = bundle.items() if isinstance(bundle, dict) else ()
        kept = {k: v for k, v in kinds if k in ("image/png", "image/jpeg", "image/gif") and isinstance(v, str)}
        if kept:
            found[clean_text(name)] = kept
    return found


def _course_cell(given: Mapping[str, Any], original: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    name, own = grade_id_of(original), original["metadata"]["nbgrader"]
    cell = _own_cell({**original, "source": source_of(given)})
    cell["metadata"] = {"nbgrader": copy.deepcopy(own)}
    if given.get("cell_type") != original["cell_type"]:
        notes.append(f"`{name}` had become a {clean_text(given.get('cell_type'))} cell: its type was restored")
    if (own.get("locked") or own.get("grade")) and not own.get("solution"):
        if source_of(given) != source_of(original):
            notes.append(f"`{name}` had been changed: the course's own text was restored")
        cell["source"] = source_of(original)
    tags = given.get("metadata", {}).get("tags") if isinstance(given.get("metadata"), dict) else None
    if tags:
        notes.append(f"`{name}` carried tags, which were dropped")
    return cell


def _insert_missing(cells: list[dict[str, Any]], template: Notebook, seen: set[str], notes: list[str]) -> None:
    position = 0
    for original in template["cells"]:
        name = grade_id_of(original)
        if not name:
            continue
        if name and name in seen:
            position = next(i for i, cell in enumerate(cells) if grade_id_of(cell) == name) + 1
            continue
        cell = _course_cell(original, original, [])
        cells.insert(position, cell)
        position += 1
        notes.append(f"`{name}` was missing and was put back as in the release")


def _notebook(cells: list[dict[str, Any]]) -> Notebook:
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
