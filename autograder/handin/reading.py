"""What one submission holds: found, read and repaired in a process with limits, and remembered while its folder stays.

A notebook is hostile data, and parsing, comparing and repairing it is work that grows with it. Bounds on sizes and
numbers (finder.py, notebook_file.py, notebook_bounds.py) keep that work small; the process is for what they miss. Where
it dies, the file that was being read counts as unreadable, and the others are read without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autograder.core.config import Limits
from autograder.core.limited import Bounds, TooMuch, run_limited
from autograder.core.notes import Note, NoteKind
from autograder.core.remarks import clipped, few_notes
from autograder.core.text import clean_name
from autograder.handin.finder import (
    MOST_ENTRIES,
    FoundNotebooks,
    ReadNotebooks,
    find_notebook_in,
    look_for_notebooks,
    templates_of,
)
from autograder.handin.notebook_file import CLEAR, Notebook, UnreadableNotebook
from autograder.handin.repair import repair, work_of
from autograder.handin.staging import NO_COURSE_FILES, CourseFiles, FoundFile, FoundFiles, find_files
from autograder.handin.stand_ins import stand_ins
from autograder.handin.walk import walk

TRIES = 3
SHARE = 2 / 3  # of the time that is left: what each try but the last may take
COPIES_SHARE = 1 / 2  # of a try's time: after it no notebook is begun any more that is not in its place
WALL_FACTOR = 20  # a busy machine, or a disk behind a network, may take so many times as long
MOST_ANSWER_MIB = 64  # what comes back from the process
MOST_TOGETHER = 48 << 20  # bytes of JSON of all notebooks of a submission: pictures and letters beyond ASCII swell it
MOST_REMEMBERED = 64 << 20  # characters of JSON: some hundred ordinary submissions
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Reading:
    """What was read of one submission: which file is which notebook, the repaired notebooks and what was repaired in
    each, why others are not readable (a reason for every notebook of the assignment that is not there), the files that
    its notebooks see, and `instead`, by notebook, what was handed in in place of it, in words."""

    finding: FoundNotebooks
    notebooks: Mapping[str, Notebook] = field(default_factory=dict)
    repairs: Mapping[str, Sequence[Note]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    files: FoundFiles = field(default_factory=FoundFiles)
    instead: Mapping[str, str] = field(default_factory=dict)

    @property
    def handed_in(self) -> set[str]:
        """The notebooks of the assignment of which there is a file, be it one that is no notebook."""
        return {*self.finding.files, *self.instead}

    def to_json(self) -> dict[str, Any]:
        repairs = {name: [asdict(note) for note in notes] for name, notes in self.repairs.items()}
        parts = {"notebooks": self.notebooks, "repairs": repairs, "unreadable": self.unreadable}
        return {**parts, "instead": self.instead, "finding": asdict(self.finding), "files": asdict(self.files)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reading:
        """What `to_json` gave."""
        files = data["files"]
        about = [Note.from_json(note) for note in files["notes"]]
        found = FoundFiles([FoundFile.from_json(file) for file in files["files"]], about, files["visible"])
        repairs = {name: [Note.from_json(note) for note in notes] for name, notes in data["repairs"].items()}
        finding = FoundNotebooks(**data["finding"])
        return cls(finding, data["notebooks"], repairs, data["unreadable"], found, data["instead"])


def look_into(folder: Path, release: Path, limits: Limits, course: CourseFiles = NO_COURSE_FILES) -> Reading:
    """Read a submission, or remember what was read of it.

    Raises OSError where the folder itself cannot be read, or holds too many files. Whatever its files do ends in
    reasons for the notebooks that cannot be read.
    """
    asked = {
        "folder": os.path.abspath(folder),
        "release": os.path.abspath(release),
        "course": [os.path.abspath(course.folder) if course.folder is not None else None, list(course.weights)],
        "limits": asdict(limits),
    }
    places = [folder, release, *([course.folder] if course.folder is not None and course.folder.is_dir() else [])]
    key = json.dumps([asked, [_fingerprint(place) for place in places]])
    text = _MEMORY.get(key)
    if text is None:
        text = json.dumps(_read_in_tries(asked, limits))
        _MEMORY.put(key, text)
    return Reading.from_json(json.loads(text))  # a copy for everybody, since notebooks are changed by some


def notebook_in(path: Path, release: Path, limits: Limits) -> str:
    """Which notebook of a release one file holds, by its cells or by its exact name; "" where it is none of them, or
    where reading it takes too much."""
    asked = {"path": os.path.abspath(path), "release": os.path.abspath(release)}
    try:
        return str(run_limited(_notebook_in, asked, _bounds(limits, limits.reading_seconds)))
    except TooMuch:
        return ""


def _bounds(limits: Limits, seconds: float) -> Bounds:
    return Bounds(seconds, max(180, WALL_FACTOR * seconds), limits.reading_mib, MOST_ANSWER_MIB)


# Remembering


class _Memory:
    """The latest readings as text, up to a number of characters."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
            return self._texts.get(key)

    def put(self, key: str, text: str) -> None:
        with self._lock:
            self._texts[key] = text
            while len(self._texts) > 1 and sum(map(len, self._texts.values())) > MOST_REMEMBERED:
                self._texts.popitem(last=False)


_MEMORY = _Memory()


def _fingerprint(place: Path) -> str:
    """Changes whenever a file in a folder does: nobody can set the time at which the system saw the last change."""
    itself = place.stat()
    digest = hashlib.sha256(f"{itself.st_dev}:{itself.st_ino}".encode())
    for name, found in walk(place, MOST_ENTRIES):
        state = (found.st_mode, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
        digest.update(f"{len(name)}:{name}:{state}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


# Reading within limits


def _read_in_tries(asked: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """What `_read` gives. Each time that the process dies, the file that it was at is left out; from the second time on
    all that would come after it, too, so that the last try reads what is known to end."""
    left, condemned, until = limits.reading_seconds, dict[str, str](), ""
    for attempt in range(TRIES):
        seconds = left if attempt == TRIES - 1 else left * SHARE
        with _place_to_tell() as place:
            own = {"condemned": condemned, "until": until, "place": place, "seconds": seconds}
            try:
                told: dict[str, Any] = run_limited(_read, {**asked, **own}, _bounds(limits, seconds))
            except TooMuch as error:
                name, reason, left = _told(place), f"cannot be read: reading it {error}", left - seconds
                if not name or name in condemned:
                    return _nothing(asked, f"the submission {reason}")
                condemned[name] = f"{reason}; {CLEAR} and hand in again"
                until = name if attempt else ""
                continue
        return told
    return _nothing(asked, f"reading the submission takes more than {limits.reading_seconds:g} s of computing time")


def _nothing(asked: Mapping[str, Any], reason: str) -> dict[str, Any]:
    names = [path.stem for path in sorted(Path(asked["release"]).glob("*.ipynb"))]
    files = FoundFiles((), (Note(f"no file of it was read: {reason}"),), hashlib.sha256(reason.encode()).hexdigest())
    return Reading(FoundNotebooks({}), unreadable=dict.fromkeys(names, reason), files=files).to_json()


@contextmanager
def _place_to_tell() -> Iterator[str]:
    """A path at which the process can say what it is at; nothing is left of it, whoever dies."""
    descriptor = os.memfd_create("autograder-reading")
    try:
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _told(place: str) -> str:
    """The last file that the process said it was at; "" where it had not begun with any."""
    try:
        return str(json.loads(Path(place).read_text(encoding="ascii") or '""'))
    except ValueError:
        return ""


# In the process with limits


class _Watch:
    """Tells what is being read, and says why some of it is not to be."""

    def __init__(self, asked: Mapping[str, Any], places: Collection[str]) -> None:
        self._places = places
        self._copies_until = time.process_time() + asked["seconds"] * COPIES_SHARE
        self._condemned: Mapping[str, str] = asked["condemned"]
        self._until: str = asked["until"]
        self._descriptor = os.open(asked["place"], os.O_WRONLY)
        self._is_over = False

    def __call__(self, name: str) -> str:
        if name in self._condemned:
            self._is_over = self._is_over or name == self._until
            return self._condemned[name]
        if self._is_over:
            return f"was not read, since reading `{clean_name(self._until)}` takes all the time there is"
        self.tell(name)
        return ""

    def notebook(self, name: str) -> str:
        """The same for notebooks. Forty copies, each made to take a second or two, may not take the time of the one
        that lies in its place, which comes before them, nor that of what is left to do."""
        if name not in self._places and time.process_time() > self._copies_until:
            return "was not read, since the notebooks before it took most of the time there is"
        return self(name)

    def tell(self, name: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(name).encode("ascii"), 0)


def _read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Find, read and repair the notebooks of a submission, and find the files beside them."""
    folder, release = Path(asked["folder"]), Path(asked["release"])
    templates = templates_of(release)
    watch = _Watch(asked, {f"{name}.ipynb" for name in templates})
    found = look_for_notebooks(folder, templates, why_not=watch.notebook)
    notebooks: dict[str, Notebook] = {}
    repairs: dict[str, list[Note]] = {}
    unreadable: dict[str, str] = {}
    left = MOST_TOGETHER
    instead = stand_ins(folder, [name for name in templates if name not in found.contents], templates, MOST_ENTRIES)
    for name, template in templates.items():
        watch.tell(found.finding.files.get(name, ""))
        try:
            notebook, notes = _repaired(name, found, template, instead.get(name, ""))
            left -= len(json.dumps(notebook))
            if left < 0:
                raise UnreadableNotebook(f"the notebooks of this submission hold too much together: {CLEAR}")
            notebooks[name], repairs[name] = notebook, few_notes(notes)
        except UnreadableNotebook as error:
            unreadable[name] = clipped(str(error))
    place, weights = asked["course"]
    files = find_files(
        folder,
        Limits(**asked["limits"]),
        CourseFiles(Path(place) if place is not None else None, weights),
        beside=found.finding.folders,
        code=[cell["source"] for made in notebooks.values() for cell in made["cells"] if cell["cell_type"] == "code"],
        why_not=watch,
    )
    return Reading(found.finding, notebooks, repairs, unreadable, files, instead).to_json()


def _repaired(name: str, found: ReadNotebooks, template: Notebook, instead: str) -> tuple[Notebook, list[Note]]:
    """The notebook that was found for one of the release; `instead` tells of what was handed in in place of it. Raises
    UnreadableNotebook."""
    content = found.contents.get(name)
    if content is None:
        files = found.finding.files
        other = next((n for n, file in files.items() if file == f"{name}.ipynb"), "")
        held = f" (the file of this name holds the cells of {other})" if other else ""
        raise UnreadableNotebook(f"{name}.ipynb was not handed in{held}{f'; {instead}' if instead else ''}")
    if isinstance(content, UnreadableNotebook):
        raise content
    return repaired(content, template)


def repaired(submitted: Notebook, template: Notebook) -> tuple[Notebook, list[Note]]:
    """A notebook as it was read, repaired against the release, with notes. Raises UnreadableNotebook.

    One that ends early or is damaged counts as far as it goes, unless no answer is left in it.
    """
    if "cut_off" in submitted and not any(name for name, _ in work_of(submitted, template)):
        raise UnreadableNotebook(submitted["cut_off"])
    notebook, repairs = repair(submitted, template)
    return notebook, [*map(Note, submitted["notes"]), *repairs, *_turned_code(notebook)]


def _turned_code(notebook: Notebook) -> list[Note]:
    """A note where code holds signs that turn the direction of text: it does not run as it reads (CVE-2021-42574)."""
    found = {c for cell in notebook["cells"] if cell["cell_type"] == "code" for c in TURNING.findall(cell["source"])}
    if not found:
        return []
    signs = ", ".join(f"U+{ord(c):04X}" for c in sorted(found))
    told = f"its code holds signs that change the direction of text ({signs}): what runs is not what is read"
    return [Note(told, NoteKind.HIDDEN_TEXT)]


def _notebook_in(asked: Mapping[str, str]) -> str:
    return find_notebook_in(Path(asked["path"]), Path(asked["release"]))
