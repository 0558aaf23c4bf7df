"""Hostile archives and folders at random, and what must hold of them: for tests/test_fuzz.py and tools/fuzz.py.

Beside each hostile student stands an honest one, who must be collected, or graded, as if alone.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from autograder.core.config import Limits
from autograder.handin.collect import IntakeError, Options, SubmissionPlace, UploadState, collect
from autograder.handin.quarantine import MOST_FILES, Surroundings, quarantine
from autograder.handin.submission import CourseFiles, read_submission
from autograder.handin.walk import walk

ROOT = Path(__file__).resolve().parent.parent
RELEASE, SOURCE = ROOT / "release" / "cnn", ROOT / "source" / "cnn"
RELEASED = (RELEASE / "01_output_size.ipynb").read_bytes()
HONEST = (RELEASE / "03_depthwise_separable.ipynb").read_bytes()
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
KNOWN = frozenset({"01_output_size.ipynb", "modern_cnn.pt", "cnn-submission.zip"})
PARTS = (
    *("a", "A", "b", "ab", "a.", "a ", " a", ".a", "~", "-x", "*", "a:b", "con", "aux.ipynb"),
    *("timestamp.txt", "TimeStamp.txt", "submission_secret.txt", "receipt.json", "feedback", "cnn", "__pycache__"),
    *("01_output_size.ipynb", "01_OUTPUT_SIZE.ipynb", "01_output_size.html", "modern_cnn.pt", "cnn-submission.zip"),
    *("é", "e\u0301", "ß", "SS", "İ", "ſ", "ﬁ", "\N{GRINNING FACE}" * 50, "ü" * 127, "x" * 200, "x" * 255, "x" * 256),
    *("..", ".", "", "\\", "..\\x", "C:", "\x00", "\x1b[2J", "\n", "\u202e", "\u00a0", "__MACOSX", ".DS_Store", "=1+1"),
)
HIDDEN = ("nothing", "nothing", "nothing", "a file", "a link", "a link above", "a pipe", "an older one", "a mess")
KINDS = ("file", "file", "file", "file", "file", "link", "pipe", "device", "encrypted", "odd method", "damaged")


@dataclass(frozen=True)
class Entry:
    """A file as it is handed in."""

    name: str
    kind: str
    content: bytes


@dataclass(frozen=True)
class Export:
    """What one hostile student hands in: loose files and an archive; `before` says what lies in their place."""

    system: str
    unpacked: bool
    loose: tuple[Entry, ...]
    packed: tuple[Entry, ...]
    before: str
    dry_run: bool


def _names() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join) | st.text(max_size=12)


def _entries(most: int) -> st.SearchStrategy[tuple[Entry, ...]]:
    contents = st.sampled_from([b"", b"x", NOTEBOOK, b"2026-11-30 12:00:00.0 UTC", bytes(70_000), bytes(3 << 20)])
    one = st.builds(Entry, _names(), st.sampled_from(KINDS), contents)
    return st.lists(one, max_size=most).map(tuple)


def archives() -> st.SearchStrategy[Export]:
    """Exports with one hostile student."""
    systems = st.sampled_from(["folder", "folder", "moodle", "canvas"])
    dry = st.sampled_from([False, False, False, True])
    return st.builds(Export, systems, st.booleans(), _entries(4), _entries(8), st.sampled_from(HIDDEN), dry)


PREFIXES = {
    "folder": ("{}/", "{}.zip"),
    "moodle": ("{}_1_assignsubmission_file/", "{}_1_assignsubmission_file/cnn-submission.zip"),
    "canvas": ("{}_1_2_", "{}_1_3_cnn-submission.zip"),
}


def examine_archive(case: Export) -> str:
    """Collected, or refused with a reason, and nobody else suffers; twice, since the second time something is there."""
    with TemporaryDirectory() as scratch:
        root = Path(scratch) / "course"
        (root / "source").mkdir(parents=True)
        (root / "source" / "precious.txt").write_text("precious")
        hostile = "mallory" if case.system == "folder" else "mallory_1"
        _lay(root, root / "submitted" / hostile / "cnn", case.before)
        file = _write_export(case, Path(scratch))
        place = SubmissionPlace(root, "cnn", lambda student: root / "submitted" / student / "cnn", KNOWN, scratch_mib=2)
        before = _snapshot(root / "submitted" / hostile)
        first = _collected(file, place, case, before, hostile)
        if case.dry_run:
            return f"{first} (dry run)"
        before = _snapshot(root / "submitted" / hostile)
        second = _collected(file, place, case, before, hostile)
        settled = {
            UploadState.COLLECTED.value: UploadState.UNCHANGED.value,
            UploadState.REPLACED.value: UploadState.UNCHANGED.value,
        }
        assert second == settled.get(first, first), (first, second)
        assert (root / "source" / "precious.txt").read_text() == "precious"
        assert {path.name for path in root.iterdir()} <= {"source", "submitted", ".autograder"}
        return first


def _collected(file: Path, place: SubmissionPlace, case: Export, before: dict[str, str], hostile: str) -> str:
    """Collect once; how it ended for the hostile student."""
    honest = "zoe" if case.system == "folder" else "zoe_1"
    try:
        found = collect(file, place, Options(case.system, dry_run=case.dry_run))
    except IntakeError as error:
        raise AssertionError(f"one student stopped everybody: {error}") from error
    states = {outcome.student: outcome for outcome in found.outcomes}
    assert states[honest].state in (UploadState.COLLECTED, UploadState.UNCHANGED), states[honest]
    folder = place.folder_of(honest)
    assert case.dry_run or _files(folder) == {"01_output_size.ipynb": NOTEBOOK}
    for outcome in found.outcomes:
        assert len(outcome.remarks) <= 13, len(outcome.remarks)
        assert all(remark.replace("\n", "").isprintable() and len(remark) < 4000 for remark in outcome.remarks)
    if found.record is not None:
        with open(found.record, newline="", encoding="utf-8") as record:
            assert len(list(csv.reader(record))) < 10 * MOST_FILES
    assert case.dry_run or not list(place.intake.glob("part-*"))
    own = states.get(hostile)
    if own is None:
        return "nobody's"
    there = _snapshot(place.folder_of(hostile).parent)
    if own.state in (UploadState.COLLECTED, UploadState.REPLACED) and not case.dry_run:
        _expect_plain(place.folder_of(hostile))
    else:
        assert there == before, (own, before, there)
    return own.state.value


def _expect_plain(folder: Path) -> None:
    """What was collected is files in folders, under names that can be shown."""
    assert not folder.is_symlink()
    assert folder.is_dir()
    entries = list(walk(folder))
    assert 0 < len(entries) <= MOST_FILES + 1
    for name, found in entries:
        assert stat.S_ISREG(found.st_mode), name
        assert name.isprintable(), name
        assert ".." not in name.split("/"), name


def _files(folder: Path) -> dict[str, bytes]:
    found = {name: (folder / name).read_bytes() for name, _ in walk(folder)}
    found.pop("timestamp.txt", None)
    return found


def _snapshot(place: Path) -> dict[str, str]:
    """Everything at and below a place, by relative name: its kind, and a file's content."""
    if not os.path.lexists(place):
        return {}
    if place.is_symlink() or not place.is_dir():
        return {"": _described(place)}
    found = {"": "folder"}
    for path in sorted(place.rglob("*")):
        found[path.relative_to(place).as_posix()] = _described(path)
    return found


def _described(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        return f"file {path.read_bytes()[:200]!r}"
    return "folder" if stat.S_ISDIR(mode) else f"special {stat.S_IFMT(mode):o}"


def _lay(root: Path, place: Path, before: str) -> None:
    """Put something into a student's place before anything is collected."""
    if before == "nothing":
        return
    if before == "a link above":
        place.parent.parent.mkdir(parents=True)
        place.parent.symlink_to(root / "source")
        return
    place.parent.mkdir(parents=True)
    if before == "a file":
        place.write_text("older")
    elif before == "a link":
        place.symlink_to(root / "source")
    elif before == "a pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
        (place / "01_output_size.ipynb").write_text("older")
        (place / "timestamp.txt").write_text("2001-01-01 00:00:00.0 UTC")
    if before == "a mess":
        os.mkfifo(place / "pipe")
        (place / "loop").symlink_to("loop")
        (place / "timestamp.txt").unlink()
        (place / "timestamp.txt").mkdir()


# Folders


@dataclass(frozen=True)
class Folder:
    """What lies in a submitted folder: files, links, pipes and folders by name, beside one honest notebook."""

    entries: tuple[Entry, ...]


def folders() -> st.SearchStrategy[Folder]:
    """Folders as an exchange, or a person who unpacked them, may leave them."""
    kinds = st.sampled_from(["file", "file", "file", "file", "link", "loop", "pipe", "folder", "closed", "hard link"])
    contents = st.sampled_from([b"", b"x", NOTEBOOK, b"{", RELEASED, RELEASED[:-500], b"[" * 5000, bytes(70_000)])
    names = _names() | st.sampled_from([f"{name}/{last}" for name in ("z", "z/a", "a/b") for last in PLACES])
    one = st.builds(Entry, names, kinds, contents)
    return st.lists(one, max_size=12).map(lambda entries: Folder(tuple(entries)))


PLACES = ("02_deeper_cnn.ipynb", "b/c", "a/b/c", "modern_cnn.pt", "cnn_kit.py", "x.txt")


def examine_folder(case: Folder) -> str:
    """Made safe, read, and staged, whatever lies in it; the honest notebook beside counts."""
    with TemporaryDirectory() as scratch:
        folder, target = Path(scratch) / "submitted" / "mallory" / "cnn", Path(scratch) / "files"
        folder.mkdir(parents=True)
        (folder / "03_depthwise_separable.ipynb").write_bytes(HONEST)
        (Path(scratch) / "gradebook.db").write_text("marks")
        for entry in case.entries:
            with suppress(OSError, ValueError):
                _lay_entry(entry, folder, Path(scratch) / "gradebook.db")
        own = CourseFiles(SOURCE).sizes()
        around = Surroundings(own, [path.stem for path in RELEASE.glob("*.ipynb")], [Path(scratch) / "gradebook.db"])
        notes = quarantine(folder, Path(scratch) / "quarantine", Limits(), around)
        for name, found in walk(folder):
            assert stat.S_ISREG(found.st_mode), name
            assert found.st_nlink == 1 or not (folder / name).samefile(Path(scratch) / "gradebook.db")
        submission = read_submission("mallory", folder, target, RELEASE, Limits(), CourseFiles(SOURCE))
        assert "03_depthwise_separable" in submission.notebooks, submission.unreadable
        for note in [*map(str, notes), *map(str, submission.notes), *submission.unreadable.values()]:
            assert note.isprintable(), note
            assert len(note) < 700, note
        assert (target / "cnn_kit.py").read_bytes() == (SOURCE / "cnn_kit.py").read_bytes()
        for name, file in submission.files.items():
            assert file.path.is_file(), name
        assert (Path(scratch) / "gradebook.db").read_text() == "marks"
        assert not quarantine(folder, Path(scratch) / "other", Limits(), around)
        return "set aside" if notes else "taken"


def _lay_entry(entry: Entry, folder: Path, gradebook: Path) -> None:
    place = folder / entry.name
    if folder not in Path(os.path.normpath(place)).parents or place.name == "03_depthwise_separable.ipynb":
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "link":
        place.symlink_to(gradebook)
    elif entry.kind == "loop":
        place.symlink_to(place.name)
    elif entry.kind == "pipe":
        os.mkfifo(place)
    elif entry.kind == "folder":
        place.mkdir()
    elif entry.kind == "hard link":
        os.link(gradebook, place)
    else:
        with open(place, "xb") as file:
            file.write(entry.content)
        place.chmod(0 if entry.kind == "closed" else 0o644)


# Writing archives that no library would


def _write_export(case: Export, folder: Path) -> Path:
    """The export: a zip, or the folder that a person unpacked from it."""
    loose, packed = PREFIXES[case.system]
    files = [Entry(loose.format("mallory") + entry.name, entry.kind, entry.content) for entry in case.loose]
    if case.packed:
        files.append(Entry(packed.format("mallory"), "file", _zip(case.packed)))
    honest = Entry(packed.format("zoe"), "file", _zip([Entry("01_output_size.ipynb", "file", NOTEBOOK)]))
    if not case.unpacked:
        (folder / "export.zip").write_bytes(_zip([*files, honest]))
        return folder / "export.zip"
    made = folder / "export"
    made.mkdir()
    for entry in [*files, honest]:
        with suppress(OSError, ValueError):  # what cannot be unpacked is not there
            _unpack(entry, made)
    return made


def _unpack(entry: Entry, folder: Path) -> None:
    place = folder / entry.name
    if folder not in Path(os.path.normpath(place)).parents:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "link":
        place.symlink_to("/etc/passwd")
    elif entry.kind in ("pipe", "device"):
        os.mkfifo(place)
    else:
        with open(place, "xb") as file:
            file.write(entry.content)


MODES = {"link": stat.S_IFLNK, "pipe": stat.S_IFIFO, "device": stat.S_IFCHR}


def _zip(entries: Sequence[Entry]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # one name twice, as is meant
        for entry, info in _infos(entries):
            archive.writestr(info, entry.content)
    content = bytearray(buffer.getvalue())
    for mark, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):  # flags stand here, and two bytes on the method
        place = content.find(mark)
        for entry, _ in _infos(entries):
            if entry.kind == "encrypted":
                content[place + at] |= 1
            elif entry.kind == "odd method":
                content[place + at + 2] = 97
            place = content.find(mark, place + 4)
            if place < 0:
                break
    damaged = next((index for index, entry in enumerate(entries) if entry.kind == "damaged"), -1)
    if damaged >= 0:
        place = content.find(b"PK\3\4")
        content[place + 14] ^= 0xFF  # of the first file's checksum
    return bytes(content)


def _infos(entries: Sequence[Entry]) -> Iterator[tuple[Entry, zipfile.ZipInfo]]:
    for entry in entries:
        info = zipfile.ZipInfo("x", (2026, 11, 30, 12, 0, 0))
        info.filename = entry.name.encode("utf-8", "replace").decode("utf-8")  # unshortened: ZipInfo() cuts at \0
        info.create_system = 3
        info.external_attr = (MODES.get(entry.kind, stat.S_IFREG) | 0o644) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        yield entry, info
