"""What of a submission is not taken, and how it is set aside before nbgrader copies the rest.

nbgrader copies a submission, file by file, into folders that are published: it follows links, reads a file of a
terabyte of nothing, prints every name, and stops where a folder of the student's lies in the way of a file of the
course's.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from autograder.core.config import Limits
from autograder.core.files import open_file
from autograder.core.notes import Note, NoteKind
from autograder.core.remarks import few_notes
from autograder.core.text import clean_name
from autograder.core.times import parse_timestamp
from autograder.handin.finder import MOST_ENTRIES
from autograder.handin.walk import MOST_DEPTH, MOST_NESTED, is_notebook_name, walk

MOST_FILES = 2000
MOST_NAME = 200
BLOCK = 4096  # a file in the jail's memory takes whole pages, and one for itself
LIST = "set-aside.jsonl"
TIMESTAMP = "timestamp.txt"
MOST_TIMESTAMP = 100  # bytes
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder that cannot be read or is nested too deep",
}


@dataclass(frozen=True)
class Surroundings:
    """What a submission must not collide with: the names of the course's own files, which are laid over it, the
    notebooks of the release, and the staff's files and folders, of which nothing may be handed in as a hard link."""

    own: Collection[str] = ()
    notebooks: Collection[str] = ()
    private: Sequence[Path] = ()
    own_bytes: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why an entry of a submission is not taken, in words that go on after its name: "is a symbolic link"."""

    reason: str
    kind: NoteKind = NoteKind.REFUSED


@dataclass(frozen=True)
class SetAside:
    """An entry of a submission that was moved away: why, and where it lies now."""

    name: str
    reason: str
    kept: str
    kind: str = NoteKind.REFUSED.value


def describe_kind(mode: int) -> str:
    """What a directory entry that is no regular file is, in words."""
    return KINDS.get(stat.S_IFMT(mode), "a device file")


def bytes_on_disk(size: int) -> int:
    """The bytes that a file takes in the jail's working folder."""
    return -(-size // BLOCK) * BLOCK + BLOCK


@dataclass
class _Judge:
    """Goes through a submission once, counting."""

    limits: Limits
    around: Surroundings
    left: int
    files: int = 0
    private: set[tuple[int, int]] | None = None  # looked up for the first hard link only
    folders: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    def problem(self, name: str, found: os.stat_result) -> Refusal | None:
        """Why an entry is not taken; None where it is."""
        refusal = self._unfit(name, found) or (None if is_notebook_name(name) else self._too_much(name, found))
        if refusal is None:
            self.files += 1
            self.left -= 0 if is_notebook_name(name) else bytes_on_disk(found.st_size)
        return refusal

    def _unfit(self, name: str, found: os.stat_result) -> Refusal | None:
        if stat.S_ISDIR(found.st_mode):
            return Refusal(f"is {describe_kind(found.st_mode)}")
        if not stat.S_ISREG(found.st_mode):
            return Refusal(f"is {describe_kind(found.st_mode)}", NoteKind.BLOCKED)
        if _has_bad_name(name):
            return Refusal("has a name that is too long or holds control characters", NoteKind.BLOCKED)
        if found.st_nlink > 1 and (found.st_dev, found.st_ino) in self._private():
            return Refusal("is a hard link to a file of the course's staff", NoteKind.BLOCKED)
        if self.files >= MOST_FILES and name.removesuffix(".ipynb") not in self.around.notebooks:
            return Refusal(f"is one of more than {MOST_FILES} files")
        return None

    def _too_much(self, name: str, found: os.stat_result) -> Refusal | None:
        mib = found.st_size >> 20
        if name.count("/") >= MOST_DEPTH:
            return Refusal(f"lies more than {MOST_DEPTH} folders deep")
        if self._is_in_the_way(name):
            return Refusal("has a name that is the course's own", NoteKind.SHADOW)
        if found.st_size > self.limits.file_mib << 20:
            return Refusal(f"({mib} MiB) is larger than the {self.limits.file_mib} MiB that a file may have")
        if bytes_on_disk(found.st_size) > self.left:
            return Refusal(f"({mib} MiB) does not fit into the working folder")
        return None

    def _is_in_the_way(self, name: str) -> bool:
        """Whether a file lies where the course has a folder, or in a folder where it or the feedback has a file. A file
        of the course's own name is laid over, and a page that the student exported is copied nowhere: both do no harm.
        """
        if not self.folders:
            self.folders = {folder for own in self.around.own for folder in parents(own)} | {""}
        pages = {f"{notebook}{suffix}" for notebook in self.around.notebooks for suffix in (".html", ".ipynb")}
        above = parents(name)
        blocked = name in self.folders or any(f in self.around.own for f in above)
        return blocked or bool(above & pages) or hides_module(name, self.around.own)

    def _private(self) -> set[tuple[int, int]]:
        if self.private is None:
            self.private = {key for place in self.around.private for key in _identities(place)}
        return self.private


def _identities(place: Path) -> Iterator[tuple[int, int]]:
    with suppress(FileNotFoundError):
        found = place.lstat()
        inside = [entry for _, entry in walk(place)] if stat.S_ISDIR(found.st_mode) else [found]
        yield from ((entry.st_dev, entry.st_ino) for entry in inside)


def _has_bad_name(name: str) -> bool:
    """A notebook may be called what an old zip program or a foreign keyboard made of its name, as long as it cannot
    steer the terminal on which nbgrader prints it."""
    if is_notebook_name(name):
        return any(unicodedata.category(c) == "Cc" for c in name)
    return len(name) > MOST_NAME or not name.isprintable()


def parents(name: str) -> set[str]:
    """The folders that a name lies in, all of them."""
    parts = name.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}


def hides_module(name: str, own: Collection[str]) -> bool:
    """Whether Python would import this file in place of a module among the course's own files.

    What lies in `__pycache__` is left there: anybody who ran the notebook has it, and Python compares it.
    """
    folder, _, file = name.rpartition("/")
    source = f"{folder}/{file.split('.')[0]}.py".lstrip("/")
    is_compiled = file.endswith((".so", ".pyd", ".pyc"))
    return (is_compiled and source in own) or any(f"{above}.py" in own for above in parents(name))


def refused(folder: Path, limits: Limits, around: Surroundings) -> dict[str, Refusal]:
    """The entries of a submission that are not taken, each with its reason."""
    judge = _Judge(limits, around, (limits.scratch_mib << 20) - around.own_bytes)
    problems = {name: refusal for name, found in walk(folder, MOST_ENTRIES) if (refusal := judge.problem(name, found))}
    if TIMESTAMP not in problems and os.path.lexists(folder / TIMESTAMP) and handed_in_at(folder) is None:
        problems[TIMESTAMP] = Refusal("holds no time")
    return problems


def read_timestamp(folder: Path) -> str:
    """What a submission's `timestamp.txt` says; "" where there is none that could hold a time and nothing else."""
    try:
        file = open_file(folder / TIMESTAMP)
    except OSError:
        return ""
    with file:
        text = file.read(MOST_TIMESTAMP + 1)
    try:
        return text.decode("utf-8").strip() if len(text) <= MOST_TIMESTAMP else ""
    except UnicodeDecodeError:
        return ""


def handed_in_at(folder: Path) -> datetime | None:
    """When a submission was made (UTC), by its `timestamp.txt`, as nbgrader reads it; None where it cannot. At one
    that it cannot read nbgrader stops, and leaves the submission ungraded."""
    text = read_timestamp(folder)
    if not text:
        return None
    try:
        return parse_timestamp(text)
    except Exception:  # of many kinds: the name of a time zone may be the path of a file, which is then read as one
        return None


def left_out(problems: Mapping[str, Refusal], end: str) -> list[Note]:
    """Notes about what is not taken; of a flood of files the first are named."""
    notes = (Note(f"`{clean_name(name)}` {found.reason}: {end}", found.kind) for name, found in problems.items())
    return few_notes(notes, rest=f"more were {end.split(',')[0]}")


def quarantine(
    folder: Path, place: Path, limits: Limits | None = None, around: Surroundings | None = None
) -> list[Note]:
    """Move out of a submission what is not taken, before anything follows, copies or shows it. Returns notes.

    What is moved is kept below `place` under numbers: a link that was set aside yesterday must not become the folder
    that something is put into today. Raises OSError where the folder cannot be cleaned, or holds too many files.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link: put the folder itself in its place", str(folder))
    _open_up(folder)
    moved: dict[str, Refusal] = {}
    for name, refusal in refused(folder, limits or Limits(), around or Surroundings()).items():
        # Nothing is graded below this depth, and above it no path is too long to be moved.
        moved.setdefault("/".join(name.split("/")[: MOST_DEPTH + 1]), refusal)
    if moved:
        _set_aside(folder, moved, place)
    return quarantined(place)


def _set_aside(folder: Path, moved: Mapping[str, Refusal], place: Path) -> None:
    """Move entries away, each with a line in the list: at once, so that a kill leaves nothing untold."""
    place.mkdir(parents=True, exist_ok=True)
    number = len(read_list(place))
    with open(place / LIST, "a", encoding="ascii") as file:
        for name, refusal in moved.items():
            number += 1
            while os.path.lexists(place / f"{number:04d}"):
                number += 1
            with suppress(FileNotFoundError):  # gone meanwhile, which is as good
                kept = _move(folder / name, place / f"{number:04d}", folder)
                entry = SetAside(name, refusal.reason, str(kept), refusal.kind.value)
                file.write(json.dumps(asdict(entry)) + "\n")
                file.flush()


def _move(source: Path, target: Path, folder: Path) -> Path:
    """Rename, without following anything; returns where it is now."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            # The staff's folder lies on another disk, and pipes and devices cannot be copied: a hidden place beside
            # the submission, which nbgrader does not look at.
            aside = folder.parent / ".set-aside" / folder.name
            aside.mkdir(parents=True, exist_ok=True)
            target = aside / target.name
        elif error.errno in (errno.EACCES, errno.EPERM):
            source.parent.chmod(0o755)  # a folder that came without the right to write
        else:
            raise
        os.rename(source, target)
    return target


def _open_up(folder: Path) -> None:
    """Give files and folders that were packed without any rights those of their owner, where that is the grader."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK) and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o755)
    pending = [""]
    while pending:  # each folder is looked through once, also where one closed folder lies in the other
        prefix = pending.pop()
        for name, found in walk(folder / prefix, MOST_ENTRIES):
            if found.st_uid == os.geteuid() and _is_closed(found):
                (folder / prefix / name).chmod(0o755 if stat.S_ISDIR(found.st_mode) else 0o644)
                if stat.S_ISDIR(found.st_mode) and (inside := f"{prefix}{name}/").count("/") <= MOST_NESTED:
                    pending.append(inside)


def _is_closed(found: os.stat_result) -> bool:
    needed = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o400}.get(stat.S_IFMT(found.st_mode), 0)
    return found.st_mode & needed != needed


def read_list(place: Path) -> list[SetAside]:
    """Everything of a submission that was ever set aside."""
    try:
        lines = (place / LIST).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
    return [SetAside(**json.loads(line)) for line in lines]


def quarantined(place: Path) -> list[Note]:
    """Notes about everything of a submission that was ever set aside."""
    entries = {entry.name: Refusal(entry.reason, NoteKind(entry.kind)) for entry in read_list(place)}
    return left_out(entries, "set aside, not graded")
