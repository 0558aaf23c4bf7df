"""The files of a submission beside its notebooks: which of them the notebooks see, under which names, and their copies.

Which they are is found out without copying anything, so that whether a submission has changed costs no copy.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autograder.core.config import Limits
from autograder.core.files import StagedFile, open_file
from autograder.core.notes import Note
from autograder.core.remarks import few_notes, in_words
from autograder.core.text import clean_name
from autograder.core.weights_file import PACKED, WeightsContent
from autograder.handin.finder import MOST_ENTRIES
from autograder.handin.own_modules import names_given_back
from autograder.handin.quarantine import Refusal, Surroundings, bytes_on_disk, hides_module, left_out, parents, refused
from autograder.handin.walk import is_notebook_name, walk
from autograder.handin.weights import HEAD, digest_of_tensors, form_of

CHUNK = 1 << 20


@dataclass(frozen=True)
class FoundFile:
    """A regular file of a submission: its `name` there, the name under which notebooks see it, its content's digest,
    and what it holds where that may be weights."""

    name: str
    shown: str
    sha256: str
    size: int
    weights: WeightsContent | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FoundFile:
        """Rebuild a file from its `dataclasses.asdict` form."""
        return cls(**{**data, "weights": data["weights"] and WeightsContent(**data["weights"])})


@dataclass(frozen=True)
class CourseFiles:
    """The course's own files, which are laid over a submission: those of `folder`, but no notebooks, and none called
    like `weights`, the names under which the assignment asks for weights: whoever tried the source notebooks left some
    there."""

    folder: Path | None = None
    weights: Sequence[str] = ()

    def sizes(self) -> dict[str, int]:
        """Each file's bytes by its name in the folder."""
        if self.folder is None or not self.folder.is_dir():
            return {}
        entries = ((name, found) for name, found in walk(self.folder) if stat.S_ISREG(found.st_mode))
        return {name: f.st_size for name, f in entries if not name.endswith(".ipynb") and name not in self.weights}

    def paths(self) -> dict[str, Path]:
        """Where each lies, by its name in the folder."""
        return {name: self.folder / name for name in self.sizes()} if self.folder is not None else {}


NO_COURSE_FILES = CourseFiles()


@dataclass(frozen=True)
class FoundFiles:
    """All that notebooks will see beside them: the submission's files, notes about what is left out, and a digest over
    the names and contents of all of it, the course's own files included."""

    files: Sequence[FoundFile] = ()
    notes: Sequence[Note] = ()
    visible: str = ""


def find_files(
    folder: Path,
    limits: Limits,
    course: CourseFiles = NO_COURSE_FILES,
    *,
    beside: Sequence[str] = (),
    code: Sequence[str] = (),
    why_not: Callable[[str], str] = lambda name: "",
) -> FoundFiles:
    """What of a submission its notebooks see. Notebooks themselves are left out: they are run from their repaired form.

    What lies in one of the folders `beside` (a checkpoint in a folder that was handed in together with its notebook)
    gets the name that it has there, unless another file has it. What a system or a browser gave another name gets back
    the one by which the notebooks' `code` asks for it. The `course`'s own files are laid over all of it. `why_not` is
    asked before each file is read, and gives the reason where it is not to be.
    """
    own = course.sizes()
    around = Surroundings(own=own, own_bytes=sum(map(bytes_on_disk, own.values())))
    problems = refused(folder, limits, around)
    entries = walk(folder, MOST_ENTRIES)
    found = {name: entry for name, entry in entries if not is_notebook_name(name) and name not in problems}
    taken = _Taken(own, set(found))
    files: list[FoundFile] = []
    stems = {name.rpartition(".")[0] for name in course.weights}
    for name, entry in found.items():
        shown = _shown_name(name, beside)
        shown = shown if taken.has_room(shown) else name
        if reason := why_not(name):
            problems[name] = Refusal(reason)
            continue
        try:
            file = FoundFile(name, shown, _digest(folder / name, entry.st_size), entry.st_size)
            form = _form(folder / name, entry.st_size) if stems and shown not in own else ""
            files.append(replace(file, weights=WeightsContent(form, file.sha256) if form else None))
        except _UnreadableFile as error:
            problems[name] = Refusal(f"cannot be read ({error})")
            continue
        taken.add(shown)
    files, notes = _named_back(files, folder, taken, code)
    digests = {file.shown: file.sha256 for file in files}
    for name, size in own.items():
        assert course.folder is not None
        digests[name] = _digest(course.folder / name, size)
    files = _weighed(folder, files, any_name=len(stems) == 1, why_not=why_not)
    return FoundFiles(files, [*left_out(problems, "left out"), *few_notes(notes)], _digest_of(digests))


def _named_back(
    files: Sequence[FoundFile], folder: Path, taken: _Taken, code: Sequence[str]
) -> tuple[list[FoundFile], list[Note]]:
    """The files, of which some got back the names by which code asks for them, and notes about these."""
    by_name = {file.shown: file for file in files}
    notes: list[Note] = []
    names = {*by_name, *taken.own}
    for plain, old in names_given_back(names, code, lambda name: _code_in(folder, by_name.get(name))).items():
        found, meant = [by_name[name] for name in old if name in by_name], f"`{clean_name(plain)}`"
        those = in_words([f"`{clean_name(file.name)}`" for file in found])
        if len({file.sha256 for file in found}) > 1:
            told = f"{those} differ, and each could be {meant}, which a notebook asks for"
            notes.append(Note(f"{told}: hand in one under that name"))
        elif found and taken.has_room(plain):
            del by_name[found[0].shown]
            by_name[plain] = replace(found[0], shown=plain)
            taken.add(plain)
            told = f"`{clean_name(found[0].name)}` was given back the name {meant}, by which a notebook asks for it"
            notes.append(Note(told))
    return list(by_name.values()), notes


def _code_in(folder: Path, file: FoundFile | None) -> str:
    if file is None:  # one of the course's own
        return ""
    try:
        with _opened(folder / file.name) as descriptor:
            return os.read(descriptor, CHUNK).decode("utf-8", "replace")
    except OSError:
        return ""


def _form(path: Path, size: int) -> str:
    with _opened(path) as descriptor:
        return form_of(os.pread(descriptor, HEAD, 0), size)


def _weighed(
    folder: Path, files: Sequence[FoundFile], *, any_name: bool, why_not: Callable[[str], str]
) -> list[FoundFile]:
    """The files, with what decides between those that may be weights: whether their names matter, and which hold the
    same tensors. To find that out is spared where there is nothing to decide."""
    several = sum(file.weights is not None and file.weights.form != PACKED for file in files) > 1
    found = []
    for file in files:
        content = file.weights
        if content is not None and content.form != PACKED and several and not why_not(file.name):
            content = replace(content, tensors=_digest_of_tensors(folder, file, content.form) or content.tensors)
        found.append(replace(file, weights=content and replace(content, any_name=any_name)))
    return found


def _digest_of_tensors(folder: Path, file: FoundFile, form: str) -> str:
    with suppress(OSError), open_file(folder / file.name) as opened:
        return digest_of_tensors(opened, form, file.size)
    return ""


def copy_files(found: FoundFiles, folder: Path, target: Path, own: Mapping[str, Path]) -> dict[str, StagedFile]:
    """Copy what was found, world-readable, to `target`, and the course's own files over it; the submission's by name.

    Raises OSError where a file is not any more what it was.
    """
    target.mkdir(parents=True, exist_ok=True)
    files = {}
    for file in found.files:
        _copy(folder / file.name, target / file.shown, file.size)
        files[file.shown] = StagedFile(file.shown, target / file.shown, file.sha256, file.size, file.weights)
    for name, path in own.items():
        _copy(path, target / name, path.stat().st_size)
    for place in [target, *(p for p in target.rglob("*") if p.is_dir())]:
        place.chmod(0o755)
    return files


def stage(
    folder: Path,
    target: Path,
    limits: Limits,
    course: CourseFiles = NO_COURSE_FILES,
    *,
    beside: Sequence[str] = (),
) -> tuple[dict[str, StagedFile], list[Note]]:
    """Find and copy at once: the submission's files by name, and notes about what was left out."""
    found = find_files(folder, limits, course, beside=beside)
    return copy_files(found, folder, target, course.paths()), list(found.notes)


def _shown_name(name: str, beside: Sequence[str]) -> str:
    """A file's name as seen from the notebook that lies beside it."""
    return next((name.removeprefix(folder) for folder in beside if name.startswith(folder)), name)


class _Taken:
    """The names that are taken where files will be laid: the course's own, those that files of the submission have as
    they are, whether these were laid yet or not, and those given so far."""

    def __init__(self, own: Collection[str], names: Collection[str]) -> None:
        self.own = own
        self.files = {*own, *names}
        self.folders = {folder for name in self.files for folder in parents(name)}

    def has_room(self, name: str) -> bool:
        """Whether no file would have to be a folder, or a folder a file, for this name to be given, and none hidden."""
        blocked = name in self.files or name in self.folders or not self.files.isdisjoint(parents(name))
        return not blocked and not hides_module(name, self.own)

    def add(self, name: str) -> None:
        self.files.add(name)
        self.folders |= parents(name)


class _UnreadableFile(OSError):
    """A file of a submission that cannot be opened; the message says why."""


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file; what took its place meanwhile is not opened."""
    try:
        file = open_file(path)
    except OSError as error:
        raise _UnreadableFile(error.strerror) from error
    with file:
        yield file.fileno()


def _digest(path: Path, size: int) -> str:
    """SHA-256 of the first `size` bytes of a file: it may still grow."""
    digest = hashlib.sha256()
    with _opened(path) as descriptor:
        while size > 0 and (chunk := os.read(descriptor, min(CHUNK, size))):
            size -= len(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _copy(source: Path, target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _opened(source) as descriptor, open(target, "wb") as writer:
        left = size
        while left > 0 and (chunk := os.read(descriptor, min(CHUNK, left))):
            left -= len(chunk)
            writer.write(chunk)
    if left:
        raise _UnreadableFile(f"{source} changed while it was read")
    target.chmod(0o644)


def _digest_of(digests: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(digests.items()):
        digest.update(f"{len(name)}:{name}:{content}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
