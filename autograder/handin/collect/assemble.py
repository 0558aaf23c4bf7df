"""One student's submission from what they handed in: the zip unpacked, loose files beside it, receipts checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from autograder.core.remarks import clipped, few, in_words
from autograder.core.text import clean_name
from autograder.handin.collect.archive import (
    BadArchive,
    BadFile,
    FileDigest,
    Member,
    TooLarge,
    UploadSource,
    fold,
    name_problem,
    open_source,
)
from autograder.handin.collect.lms_names import Upload
from autograder.handin.collect.receipts import RECEIPT, check_receipt
from autograder.handin.notebook_file import MOST_NOTEBOOK_MIB
from autograder.handin.own_modules import names_given_back
from autograder.handin.quarantine import parents
from autograder.handin.submission import MOST_FILES

NOTEBOOK = re.compile(r".*\.ipynb(\.txt|\.json)?", re.IGNORECASE)  # browsers add the second ending
# nbgrader takes these for its own: when a submission was made, and the key to its feedback. A folder of such a name is
# in the way of the file that is written here.
RESERVED = ("timestamp.txt", "submission_secret.txt")
OTHER_ARCHIVES = re.compile(r".*\.(?:zip|7z|rar|tar|tgz|gz|bz2|xz|zst)", re.IGNORECASE)
UPLOADS_FACTOR = 4  # all that one person handed in may be this many times as large as one submission
MOST_SEARCHED = 8 << 20  # bytes of a notebook, in which names of files are looked for
MOST_REASONS = 5  # why an archive or a submission was not taken, of as many files


@dataclass(frozen=True)
class Rules:
    """Which of several submissions counts: the last one, or the last one that was not after the deadline."""

    deadline: datetime | None = None
    takes_late: bool = True

    def is_late(self, upload: Upload) -> bool:
        """Whether an upload came after the deadline. Canvas's times are the export's: its own mark decides, unless the
        export itself was made in time."""
        time = upload.member.time
        if self.deadline is None:
            return False
        if upload.person.system == "canvas":
            return upload.marked_late and (time is None or time > self.deadline)
        return time is not None and time > self.deadline


@dataclass
class ReceivedFile:
    """An upload, and what became of it: `which` says "2 of 3" of several archives, `verdict` and `remark` the rest."""

    upload: Upload
    path: Path
    copied: FileDigest | None = None
    is_archive: bool = False
    which: str = ""
    verdict: str = ""
    remark: str = ""

    @property
    def time(self) -> datetime | None:
        return self.upload.member.time

    @property
    def order(self) -> tuple[float, int, str]:
        """Grows with the time of handing in; in Canvas that is the number, since its times say nothing."""
        of_export = self.upload.person.system == "canvas" or self.time is None
        seconds = 0.0 if of_export or self.time is None else self.time.timestamp()
        return seconds, self.upload.order, self.upload.member.name


@dataclass(frozen=True)
class SubmissionFile:
    """A file of the submission: where its content lies for now, and what arrived it belongs to."""

    path: Path
    copied: FileDigest
    origin: ReceivedFile


@dataclass
class SubmissionDraft:
    """A submission, ready to be put into its place. With a `refusal` or without files there is nothing to put."""

    arrived: list[ReceivedFile]
    files: dict[str, SubmissionFile] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    refusal: str = ""

    def note(self, name: str, remark: str) -> None:
        self.remarks.append(f"{clean_name(name)} {remark}")

    @property
    def taken(self) -> list[ReceivedFile]:
        return [item for item in self.arrived if item.verdict == "taken"]

    @property
    def late(self) -> list[ReceivedFile]:
        return [item for item in self.arrived if item.verdict == "late"]

    @property
    def submitted_at(self) -> datetime | None:
        """When the last of what was taken was handed in; None where the export does not tell."""
        times = [item.time for item in self.taken if item.time is not None and has_time(item.upload)]
        return max(times, default=None)


def has_time(upload: Upload) -> bool:
    """Whether a file's time in the export says when it was handed in; for Canvas's late files it is an upper bound."""
    return upload.person.system != "canvas" or upload.marked_late


def assemble(
    source: UploadSource, uploads: Sequence[Upload], scratch: Path, rules: Rules, scratch_mib: int
) -> SubmissionDraft:
    """What a student's submission consists of, with every file copied to `scratch`.

    Everything that was handed in is copied and hashed, what is late or older too: a receipt may be for it.
    """
    room = scratch_mib << 20
    done = SubmissionDraft(_receive(source, uploads, scratch, room * UPLOADS_FACTOR))
    _judge(done.arrived, rules)
    _take_last_archive(done, scratch, room)
    _take_loose_files(done)
    _give_names_back(done)
    _set_aside_reserved(done)
    _look_over(done, room)
    return done


def write_files(done: SubmissionDraft, target: Path) -> None:
    """Move the files of a submission to a new folder."""
    for name, placed in done.files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        placed.path.rename(target / name)
        (target / name).chmod(0o644)


def _receive(source: UploadSource, uploads: Sequence[Upload], scratch: Path, room: int) -> list[ReceivedFile]:
    """Copy what was handed in under numbers for names, and recognise packed submissions. Notebooks first: a student's
    virtual environment must not push them beyond the number of files."""
    arrived = []
    for index, upload in enumerate(sorted(uploads, key=lambda upload: not NOTEBOOK.fullmatch(upload.name))):
        item = ReceivedFile(upload, scratch / f"upload-{index}")
        arrived.append(item)
        if index >= MOST_FILES:
            _refuse(item, f"is one of more than {MOST_FILES} files")
            continue
        try:
            item.copied = source.copy(upload.member, item.path, room)
        except BadFile as error:
            _refuse(item, str(error))
            continue
        room -= item.copied.size
        if upload.name.lower().endswith(".zip"):
            _recognise(item)
    return arrived


def _refuse(item: ReceivedFile, reason: str) -> None:
    item.verdict, item.remark = "refused", clipped(reason)


def _recognise(item: ReceivedFile) -> None:
    """A zip with a notebook or the kit's receipt in it is a packed submission."""
    try:
        with open_source(item.path, None) as archive:
            names = [member.name for member in archive.members]
        item.is_archive = any(NOTEBOOK.fullmatch(name) or name.split("/")[-1] == RECEIPT for name in names)
    except BadArchive as error:
        item.is_archive = True
        _refuse(item, f"{error}: ask the student for it again")


def _judge(arrived: Sequence[ReceivedFile], rules: Rules) -> None:
    """Number the archives in the order in which they were handed in, and mark what is late."""
    archives = sorted((item for item in arrived if item.is_archive), key=lambda item: item.order)
    for index, item in enumerate(archives if len(archives) > 1 else ()):
        item.which = f"{index + 1} of {len(archives)}"
    for item in arrived:
        if not item.verdict and rules.is_late(item.upload) and not rules.takes_late:
            item.verdict = "late"


def _take_last_archive(done: SubmissionDraft, scratch: Path, room: int) -> None:
    """Unpack the last archive that is whole; those before it are left."""
    archives = sorted((item for item in done.arrived if item.is_archive), key=lambda item: item.order, reverse=True)
    last: ReceivedFile | None = None
    for item in archives:
        if item.verdict:
            continue
        if last is not None:
            item.verdict = "not the last"
            continue
        try:
            done.files = _unpack(done, item, scratch, room)
        except BadArchive as error:
            _refuse(item, str(error))
            continue
        last = item
        item.verdict = "taken"
    for item in archives:
        if last is not None and item.verdict == "refused" and item.order > last.order:
            done.note(item.upload.member.name, f"{item.remark}; the one before it was taken")


def _unpack(done: SubmissionDraft, item: ReceivedFile, scratch: Path, room: int) -> dict[str, SubmissionFile]:
    """The files of an archive, checked against its receipt. Raises BadArchive where it cannot be taken."""
    files: dict[str, SubmissionFile] = {}
    remarks: list[str] = []
    most = room
    with open_source(item.path, None) as archive:
        for number, (member, name) in enumerate(unwrapped(archive.members)):
            path = scratch / f"{item.path.name}-{number}"
            try:
                files[name] = SubmissionFile(path, archive.copy(member, path, room), item)
            except TooLarge as error:
                raise BadArchive(f"unpacks to more than {most >> 20} MiB") from error
            except BadFile as error:
                remarks.append(f"{clean_name(name)} {error}: left out")
                continue
            room -= files[name].copied.size
    if not files:
        raise BadArchive("; ".join(["holds no file that can be taken", *few(remarks, MOST_REASONS)]))
    done.remarks += remarks
    if RECEIPT in files:
        done.remarks += check_receipt(files.pop(RECEIPT).path, {name: file.copied for name, file in files.items()})
    return files


def unwrapped(members: Sequence[Member]) -> list[tuple[Member, str]]:
    """The members with their names, without folders that lie around all of them."""
    prefix = common_folder([member.name for member in members if not member.problem])
    return [(member, member.name.removeprefix(prefix)) for member in members]


def common_folder(names: Sequence[str]) -> str:
    """The folder, with its `/`, in which all the names lie; "" for none."""
    split = [name.split("/")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}/" for part in shared)


@dataclass
class _NamesInUse:
    """The names that are taken, as file systems compare them, and how many files lie in each folder. Kept beside the
    files: looking through them for each of 2,000 loose files would take a minute."""

    names: dict[str, str] = field(default_factory=dict)
    folders: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, names: Iterable[str]) -> _NamesInUse:
        taken = cls()
        for name in names:
            taken.add(name)
        return taken

    def add(self, name: str) -> None:
        self.names[fold(name)] = name
        self.folders.update(parents(fold(name)))

    def remove(self, name: str) -> None:
        del self.names[fold(name)]
        self.folders.subtract(parents(fold(name)))

    def is_in_the_way(self, name: str) -> bool:
        """Whether a name is a file here and a folder there."""
        return self.folders[fold(name)] > 0 or any(folder in self.names for folder in parents(fold(name)))


def _take_loose_files(done: SubmissionDraft) -> None:
    """Add what was handed in on its own, in the order in which it was."""
    around = common_folder([item.upload.name for item in done.arrived if item.copied is not None])
    taken = _NamesInUse.of(done.files)
    for item in sorted(done.arrived, key=lambda item: item.order):
        if not item.verdict and not item.is_archive:
            _take_loose(done, item, item.upload.name.removeprefix(around), taken)


def _take_loose(done: SubmissionDraft, item: ReceivedFile, name: str, taken: _NamesInUse) -> None:
    """Add one file. Of two with one name the later one counts, an archive's if in doubt."""
    problem = name_problem(name.split("/"))
    if not problem and taken.is_in_the_way(name):
        problem = "is a file and a folder at once"
    if problem:
        done.note(name, f"{problem}: left out")
        _refuse(item, problem)
        return
    assert item.copied is not None  # what could not be copied has its verdict already
    other = taken.names.get(fold(name))
    if other is not None and not _is_outdone(done, item, other, name):
        return
    if other is not None:
        taken.remove(other)
        del done.files[other]
    taken.add(name)
    done.files[name] = SubmissionFile(item.path, item.copied, item)
    item.verdict = "taken"


def _is_outdone(done: SubmissionDraft, item: ReceivedFile, other: str, name: str) -> bool:
    """Whether the file that has a name already gives way to another of that name; what is said about it."""
    if done.files[other].copied == item.copied:
        return True
    origin = done.files[other].origin
    if origin.is_archive and origin.order >= item.order:
        done.note(name, "was handed in beside the archive, too, with other content: the archive's was taken")
        item.verdict = "not the last"
        return False
    done.note(name, "was handed in more than once with different content: the last one was taken")
    if not origin.is_archive:
        origin.verdict = "not the last"
    return True


def _give_names_back(done: SubmissionDraft) -> None:
    """Give files that Canvas or a browser numbered the names by which a notebook imports or opens them."""
    texts = (_text_of(placed.path) for name, placed in list(done.files.items()) if NOTEBOOK.fullmatch(name))
    for plain, old in names_given_back(done.files.keys(), texts, lambda name: _text_of(done.files[name].path)).items():
        found = sorted((name for name in old if name in done.files), key=lambda name: done.files[name].origin.order)
        others = _NamesInUse.of(name for name in done.files if name not in found)
        if not found or fold(plain) in others.names or others.is_in_the_way(plain) or name_problem(plain.split("/")):
            continue
        last = found[-1]
        if len({done.files[name].copied for name in found}) > 1:
            those = in_words([clean_name(name) for name in found])
            if len({done.files[name].origin.order for name in found}) < len(found):
                done.remarks.append(f"{those} differ, and each could be {clean_name(plain)}, which a notebook asks for")
                continue
            done.remarks.append(f"{those} differ, and each could be {clean_name(plain)}: the last one was taken")
        done.files[plain] = done.files.pop(last)
        done.note(last, f"was given back the name {clean_name(plain)}, by which a notebook asks for it")


def _text_of(path: Path) -> str:
    """The beginning of a notebook or a file of code, as text. Lines of a notebook's cells end in `\\n`."""
    with open(path, "rb") as file:
        return file.read(MOST_SEARCHED).decode("utf-8", "replace").replace("\\n", "\n")


def _set_aside_reserved(done: SubmissionDraft) -> None:
    """Take out the kit's receipt, once checked, and what nbgrader would take for its own words."""
    receipt = done.files.pop(RECEIPT, None)
    if receipt is not None:
        done.remarks += check_receipt(receipt.path, {name: file.copied for name, file in done.files.items()})
        receipt.origin.remark = "checked, not put into the folder"
    for name in [name for name in done.files if fold(name.split("/")[0]) in RESERVED]:
        done.note(name, "is nbgrader's own to write: left out")
        origin = done.files.pop(name).origin
        if not origin.is_archive:
            _refuse(origin, "is nbgrader's own to write")


def _look_over(done: SubmissionDraft, room: int) -> None:
    """Say what a person should know before grading, and refuse what is too large or empty."""
    for item in done.arrived:
        if item.verdict == "refused" and not item.is_archive and item.copied is None:
            done.note(item.upload.uploaded_as, f"{item.remark}: left out")
    for name, placed in done.files.items():
        if NOTEBOOK.fullmatch(name) and placed.copied.size > MOST_NOTEBOOK_MIB << 20:
            done.note(name, f"is larger than {MOST_NOTEBOOK_MIB} MiB and cannot be graded: its outputs must be cleared")
        if OTHER_ARCHIVES.fullmatch(name):
            done.note(name, "is an archive that was not unpacked: it is no zip with notebooks at the first level")
    if done.files and not any(NOTEBOOK.fullmatch(name) for name in done.files):
        done.remarks.append("there is no notebook in it")
    size = sum(placed.copied.size for placed in done.files.values())
    if size > room or len(done.files) > MOST_FILES:
        done.refusal = (
            f"has {len(done.files)} files with {size >> 20} MiB: at most {MOST_FILES} files and {room >> 20} MiB"
        )
    elif not done.files and not done.late:
        refused = [f"{clean_name(item.upload.uploaded_as)} {item.remark}" for item in done.arrived if item.remark]
        reasons = few(dict.fromkeys([*refused, *done.remarks]), MOST_REASONS)
        done.refusal = "; ".join(reasons) or "there is no file in it"
