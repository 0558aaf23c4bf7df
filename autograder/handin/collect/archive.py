"""Read what may be hostile: a zip or a folder as a list of files, copied out one by one while bytes are counted."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone, tzinfo
from functools import partial
from pathlib import Path
from typing import IO

from autograder.core.files import open_file
from autograder.core.machine_faults import stops_a_run
from autograder.core.times import in_zone
from autograder.handin.submission import MOST_FILES, MOST_NAME, describe_kind
from autograder.handin.walk import MOST_DEPTH, is_notebook_name, walk

CHUNK = 1 << 20
MOST_NAME_BYTES = 255  # of one folder or file: what file systems take
MOST_EXPORT_NAME = 1000  # an LMS puts the student's name and its own ids before the file's name
MOST_EXPORT_FILES = 400_000
DIRECTORY_BYTES_PER_FILE = 1024  # zipfile reads a zip's whole directory into memory before anybody can look at it
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # bzip2 and LZMA ask for memory as they please
UTF8_NAME, ENCRYPTED = 0x800, 0x1
EXTENDED_TIME = 0x5455
TIMELESS = datetime(1980, 1, 3, tzinfo=timezone.utc)  # what programs write that keep no time is before this
LITTER = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)", re.IGNORECASE)
# What zipfile raises for damaged archives, as found by damaging some thousands of them at random.
READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,  # a seek beyond all bounds
    OverflowError,
    RuntimeError,
    ValueError,
)


class BadArchive(ValueError):
    """An archive that cannot be taken as a whole; the message continues "<name> …"."""


class BadFile(ValueError):
    """One file that cannot be taken; the message continues "<name> …"."""


class TooLarge(BadFile):
    """A file with more bytes than there is room for."""


@dataclass(frozen=True)
class Member:
    """A file in a zip or folder. `name` has `/` between its parts; `time` is when it was last changed, where known.

    `index` is its place in the zip. A member with a `problem` is not opened.
    """

    index: int
    name: str
    time: datetime | None = None
    problem: str = ""


@dataclass(frozen=True)
class FileDigest:
    """What was really copied."""

    sha256: str
    size: int


@dataclass(frozen=True)
class UploadSource:
    """A zip or folder that is open for reading: its files, without what operating systems leave behind."""

    members: tuple[Member, ...]
    opener: Callable[[Member], IO[bytes]]

    def copy(self, member: Member, target: Path, room: int) -> FileDigest:
        """Copy one file to a new place. Raises BadFile where it is unreadable, or larger than `room` bytes."""
        if member.problem:
            raise BadFile(member.problem)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._copy(member, target, room)
        except BadFile:
            target.unlink(missing_ok=True)
            raise

    def _copy(self, member: Member, target: Path, room: int) -> FileDigest:
        digest, size = hashlib.sha256(), 0
        with open(target, "xb") as writer:
            for chunk in self._chunks(member):
                size += len(chunk)  # real bytes: what the archive's directory claims may be a lie
                if size > room:
                    raise TooLarge(f"does not fit into the {room / 2**20:.0f} MiB that are left for this submission")
                digest.update(chunk)
                writer.write(chunk)
        return FileDigest(digest.hexdigest(), size)

    def _chunks(self, member: Member) -> Iterator[bytes]:
        try:
            with self.opener(member) as reader:
                while chunk := reader.read(CHUNK):
                    yield chunk
        except BadFile:
            raise
        except READ_ERRORS as error:
            if stops_a_run(error):
                raise
            raise BadFile(f"is damaged ({str(error)[:100] or type(error).__name__})") from error


@contextmanager
def open_source(
    path: Path, zone: tzinfo | None, *, most_files: int = MOST_FILES, export: bool = False
) -> Iterator[UploadSource]:
    """Open a zip or a folder. Times without a zone are taken to be in `zone`, None for this machine's.

    Raises BadArchive where it cannot be read, or holds more than `most_files` files.
    """
    most_name = MOST_EXPORT_NAME if export else MOST_NAME
    if path.is_dir():
        entries = _walk_folder(path)
        entries = _of_each(entries, _is_wrapped_folder(path)) if export else entries
        yield UploadSource(_checked(_bounded(entries, most_files), most_name), partial(_open_file, path))
        return
    with open(path, "rb") as file:
        _check_directory(file, most_files)
        try:
            archive = zipfile.ZipFile(file)
        except READ_ERRORS as error:
            if stops_a_run(error):
                raise
            raise BadArchive("is no whole zip file") from error
        with archive:
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
            listed = list(_bounded((_member_of(info, i, zone) for i, info in enumerate(infos)), most_files))
            listed = list(_of_each(listed, _is_wrapped(listed))) if export else listed
            yield UploadSource(_checked(listed, most_name), lambda member: archive.open(infos[member.index]))


def _bounded(members: Iterable[Member], most_files: int) -> Iterator[Member]:
    for count, member in enumerate(members):
        if count >= most_files:
            raise BadArchive(f"holds more than {most_files} files")
        yield member


def _of_each(members: Iterable[Member], wrapped: bool) -> Iterator[Member]:
    """The members without those beyond what one student may hand in: a folder with a virtual environment in it must
    not use up what the whole export may hold. Notebooks are counted on their own, so none is left out for other files.

    One more than MOST_FILES is kept, so that something is said about the rest.
    """
    counts: Counter[tuple[bool, str]] = Counter()
    for member in members:
        owner = "/".join(member.name.split("/")[: 1 + wrapped])
        key = (is_notebook_name(member.name), owner)
        counts[key] += 1
        if counts[key] <= MOST_FILES + 1:
            yield member


def _is_wrapped(members: Sequence[Member]) -> bool:
    """Whether one folder lies around everything."""
    return len({member.name.split("/")[0] for member in members}) == 1


def _is_wrapped_folder(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return sum(1 for _ in entries) == 1


def _check_directory(file: IO[bytes], most_files: int) -> None:
    """Refuse a zip whose directory alone would fill memory. Raises BadArchive.

    Every record that could be the end of the directory counts, the 64-bit one too: zipfile picks one of them.
    """
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - (1 << 16) - 256, 0))
    tail = file.read()
    sizes = [size for at in _find(tail, b"PK\5\6") if (size := _number(tail, at + 12, 4)) != 0xFFFFFFFF]
    sizes += [_number(tail, at + 40, 8) for at in _find(tail, b"PK\6\6")]
    if max(sizes, default=0) > most_files * DIRECTORY_BYTES_PER_FILE:
        raise BadArchive(f"lists more than {most_files} files")
    file.seek(0)


def _find(text: bytes, mark: bytes) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        yield at
        at = text.find(mark, at + 1)


def _number(text: bytes, at: int, size: int) -> int:
    return int.from_bytes(text[at : at + size], "little")


def _member_of(info: zipfile.ZipInfo, index: int, zone: tzinfo | None) -> Member:
    name, problem = _name_of(info), ""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if "\0" in info.orig_filename:
        problem = "has a name with control characters"
    elif kind not in (0, stat.S_IFREG):
        problem = f"is {describe_kind(info.external_attr >> 16)}"
    elif info.flag_bits & ENCRYPTED:
        problem = "is encrypted: pack it without a password"
    elif info.compress_type not in METHODS:
        problem = "is compressed in a way that not every program can read: pack it as an ordinary zip"
    return Member(index, name, _time_of(info, zone), problem)


def _name_of(info: zipfile.ZipInfo) -> str:
    """The name, with `/`. Canvas and macOS write UTF-8 without saying so, which zipfile takes for an old code page."""
    name = info.orig_filename
    if not info.flag_bits & UTF8_NAME:
        with suppress(UnicodeError):  # it is the old code page after all
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _time_of(info: zipfile.ZipInfo, zone: tzinfo | None) -> datetime | None:
    """The extended time stamp, which is in UTC, else the zip's own, which has no zone; None where it says nothing."""
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == EXTENDED_TIME and length >= 5 and len(extra) >= 9 and extra[4] & 1:
            return datetime.fromtimestamp(struct.unpack_from("<i", extra, 5)[0], timezone.utc)
        extra = extra[4 + length :]
    try:
        time = in_zone(datetime(*info.date_time), zone)
    except (ValueError, OverflowError):
        return None
    return time if time >= TIMELESS else None


def _walk_folder(folder: Path) -> Iterator[Member]:
    for count, (name, found) in enumerate(walk(folder)):
        problem = "" if stat.S_ISREG(found.st_mode) else f"is {describe_kind(found.st_mode)}"
        yield Member(count, name, _changed_at(found), problem)


def _changed_at(found: os.stat_result) -> datetime | None:
    """When a file was last changed; None where that is before or beyond all calendars, as `tar` can set it."""
    try:
        time = datetime.fromtimestamp(found.st_mtime, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time >= TIMELESS else None


def _open_file(folder: Path, member: Member) -> IO[bytes]:
    try:
        return open_file(folder / member.name)
    except OSError as error:
        if stops_a_run(error):
            raise
        raise BadFile(f"cannot be opened ({error.strerror})") from error


def _checked(members: Iterable[Member], most_name: int) -> tuple[Member, ...]:
    """The members with normal names, each with the reason why it cannot be taken; litter is left out.

    Of two files with one name the last is taken, as `unzip` does. Names that differ in capitals only are one name on
    other systems, so they are here.
    """
    checked: list[Member] = []
    places: dict[str, int] = {}
    for given in members:
        if LITTER.fullmatch(given.name):
            continue
        parts = [part for part in given.name.split("/") if part != "."]
        member = replace(given, name="/".join(parts), problem=given.problem or name_problem(parts, most_name))
        key = fold(member.name)
        if not member.problem:
            if key in places:
                earlier = checked[places[key]]
                same = earlier.name == member.name
                how = "appears twice" if same else f"differs only in capitals from {member.name}"
                checked[places[key]] = replace(earlier, problem=f"{how}: the last one was taken")
            places[key] = len(checked)
        checked.append(member)
    for key, place in places.items():
        if any(folder in places for folder in _folders_of(key)):
            checked[place] = replace(checked[place], problem="lies in a folder that is a file, too")
    return tuple(checked)


def fold(name: str) -> str:
    """The name as file systems compare it that ignore capitals and the spelling of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _folders_of(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def name_problem(parts: list[str], most_name: int = MOST_NAME) -> str:
    """Why a file cannot be written under this name, or nothing."""
    name = "/".join(parts)
    if not name.isprintable():
        return "has a name with control characters or unusual spaces"
    if name.startswith("/") or re.match(r"[A-Za-z]:(/|$)", name):
        return "has an absolute name"
    if ".." in parts:
        return "leads out of its folder"
    if not name or "" in parts:
        return "has no proper name"
    if len(name) > most_name or any(len(part.encode()) > MOST_NAME_BYTES for part in parts):
        return "has a name that is too long"
    if len(parts) > MOST_DEPTH:
        return f"lies more than {MOST_DEPTH} folders deep"
    return ""
