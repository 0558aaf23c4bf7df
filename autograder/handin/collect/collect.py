"""Collect an export into `submitted/<student>/<assignment>/`: nothing is lost, and nobody is guessed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from enum import Enum
from pathlib import Path

from autograder.core.config import Assignment
from autograder.core.errors import AutograderError
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.remarks import clipped, few, in_words
from autograder.core.text import clean_name
from autograder.handin.collect.archive import MOST_EXPORT_FILES, BadArchive, Member, UploadSource, open_source
from autograder.handin.collect.assemble import (
    RESERVED,
    ReceivedFile,
    Rules,
    SubmissionDraft,
    assemble,
    has_time,
    write_files,
)
from autograder.handin.collect.journal import Record, open_record, stamp, unused
from autograder.handin.collect.lms_names import (
    SkippedEntry,
    Upload,
    UploadsByPerson,
    sort_canvas,
    sort_folder,
    sort_moodle,
)
from autograder.handin.collect.receipts import RECEIPT, CheckedReceipt, check_held
from autograder.handin.quarantine import handed_in_at
from autograder.handin.roster import Person, Roster, StudentReceipt, Unmatched, student_of
from autograder.handin.walk import walk

SYSTEMS = ("canvas", "moodle", "folder")
TIMESTAMP = "timestamp.txt"
TIMESTAMP_FORMAT = "%Y-%m-%d %H:%M:%S.%f %Z"  # nbgrader's
NEAR = timedelta(minutes=5)
MOST_REMARKS = 12  # of one student, on the screen
MOST_RECORDED = 200  # of one student, in the record


class IntakeError(AutograderError):
    """Nothing, or nothing more, can be collected; the message has the remedy."""


class UploadState(str, Enum):
    """What became of a student's submission."""

    COLLECTED = "collected"
    REPLACED = "collected, older one kept"  # the older folder is in .autograder/intake/replaced
    UNCHANGED = "unchanged"
    LATE = "late, not taken"
    OLDER = "older, not taken"  # than what was collected before
    REFUSED = "not collected"


@dataclass(frozen=True)
class SubmissionPlace:
    """An assignment of a course: where its submissions belong, and the names of its files."""

    root: Path
    assignment: str
    folder_of: Callable[[str], Path]
    known: frozenset[str]
    scratch_mib: int

    @property
    def intake(self) -> Path:
        return self.root / ".autograder" / "intake"


def known_names(name: str, assignment: Assignment, release: Path) -> frozenset[str]:
    """The names of files that an assignment knows: the release's, its checkpoints, and the packed submission."""
    stems = [exercise.checkpoint.stem for exercise in assignment.exercises if exercise.checkpoint is not None]
    notebooks = [f"{exercise.notebook}.ipynb" for exercise in assignment.exercises]
    released = [path.name for path in release.iterdir()] if release.is_dir() else []
    checkpoints = [f"{stem}{suffix}" for stem in stems for suffix in (".safetensors", ".pt")]
    return frozenset([f"{name}-submission.zip", RECEIPT, *notebooks, *checkpoints, *released])


@dataclass(frozen=True)
class Options:
    """How to read an export. Times without a zone are in `zone`, None for this machine's."""

    system: str
    roster: Roster = field(default_factory=Roster)
    receipts: Sequence[StudentReceipt] = ()
    rules: Rules = field(default_factory=Rules)
    zone: tzinfo | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class UploadOutcome:
    """One student's end. `late` names what came after the deadline; with `is_bound` the time is the latest possible."""

    student: str
    state: UploadState
    files: int = 0
    submitted_at: datetime | None = None
    remarks: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    is_bound: bool = False


@dataclass(frozen=True)
class Intake:
    """What became of an export. `record` is None after a dry run."""

    outcomes: tuple[UploadOutcome, ...]
    unmatched: tuple[SkippedEntry, ...]
    ignored: tuple[SkippedEntry, ...]
    receipts: tuple[CheckedReceipt, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    record: Path | None

    @property
    def is_whole(self) -> bool:
        """Whether everything that was handed in found its place, or was left out by rule."""
        return not self.unmatched and not any(outcome.state is UploadState.REFUSED for outcome in self.outcomes)


@dataclass
class _Archives:
    """SHA-256 of the archives of each student: all that arrived, and those that were taken."""

    arrived: dict[str, set[str]] = field(default_factory=dict)
    taken: dict[str, set[str]] = field(default_factory=dict)

    def add(self, student: str, item: ReceivedFile) -> None:
        if item.is_archive and item.copied is not None:
            self.arrived.setdefault(student, set()).add(item.copied.sha256)
            if item.verdict == "taken":
                self.taken.setdefault(student, set()).add(item.copied.sha256)


def collect(
    file: Path,
    place: SubmissionPlace,
    options: Options,
    on_student: Callable[[str, int], None] = lambda student, total: None,
) -> Intake:
    """Collect everything in an export. A bad submission stops nobody else's; it is listed with its reason.

    Raises IntakeError where the export cannot be read or holds no submission, or the machine gives out.
    """
    now = datetime.now(timezone.utc)
    try:
        with open_source(file, options.zone, most_files=MOST_EXPORT_FILES, export=True) as source:
            return _collect_from(source, file, place, options, now, on_student)
    except BadArchive as error:
        raise IntakeError(
            f"{file.name} {error}: download the export again, and compare its size; nothing was collected"
        ) from error
    except OSError as error:
        raise IntakeError(f"{reason_of(error)}: see to the disk and its permissions, then run again") from error


def _collect_from(
    source: UploadSource,
    file: Path,
    place: SubmissionPlace,
    options: Options,
    now: datetime,
    on_student: Callable[[str, int], None],
) -> Intake:
    found = _sort(source.members, place, options, zipped=not file.is_dir())
    if not found.uploads:
        raise IntakeError(_nothing_in(file, found, source.members, place, options))
    students = _match(found, options.roster)
    outcomes, archives = [], _Archives()
    with _record_of(place, options, now) as record:
        for verdict, entries in (("unmatched", found.unmatched), ("ignored", found.ignored)):
            for listed in entries:
                person = listed.name if listed.files else ""
                for name in listed.files or (listed.name,):
                    _note(record, "upload", person=person, original=name, verdict=verdict, remark=listed.reason)
        for student, uploads in students.items():
            on_student(student, len(students))
            try:
                outcomes.append(_collect_one(source, student, uploads, place, options, now, record, archives))
            except Exception as error:
                if stops_a_run(error):
                    raise IntakeError(
                        f"stopped at {student}: {reason_of(error)}; those before are collected, as the record says. "
                        "See to the disk and the machine, then run the same command again"
                    ) from error
                outcomes.append(_refuse(student, uploads, error, record))
        receipts = check_held(options.receipts, archives.taken, archives.arrived)
        for checked in receipts:
            held = checked.held
            _note(record, "receipt", student=held.student, sha256=held.sha256, verdict=checked.verdict.value)
    return Intake(
        tuple(outcomes),
        tuple(found.unmatched),
        tuple(found.ignored),
        tuple(receipts),
        tuple(student for student in options.roster.students if student not in students),
        tuple(_notes(found, options)),
        record.path if record is not None else None,
    )


def _sort(members: Sequence[Member], place: SubmissionPlace, options: Options, *, zipped: bool) -> UploadsByPerson:
    if options.system == "canvas":
        return sort_canvas(members, place.known.__contains__, options.roster.ids("canvas_id"))
    if options.system == "moodle":
        return sort_moodle(members)

    def knows(name: str) -> bool:
        try:
            return bool(options.roster.students) and bool(student_of(Person("folder", name, name), options.roster))
        except Unmatched:
            return False

    return sort_folder(members, place.assignment, knows, zipped=zipped)


def _nothing_in(
    file: Path, found: UploadsByPerson, members: Sequence[Member], place: SubmissionPlace, options: Options
) -> str:
    """Why an export holds nothing, with the form that it seems to have instead."""
    if not members:
        return f"{file.name} is empty: download the export again"
    for system in ("canvas", "moodle"):
        if system != options.system:
            other = Options(system, options.roster)
            if _sort(members, place, other, zipped=not file.is_dir()).uploads:
                return f"{file.name} is no export of the form {options.system!r}: try --from {system}"
    first = (found.unmatched or found.ignored or [SkippedEntry(members[0].name, members[0].problem)])[0]
    return f"{file.name} holds no submission of the form {options.system!r}: {clean_name(first.name)} {first.reason}"


def _match(found: UploadsByPerson, roster: Roster) -> dict[str, list[Upload]]:
    """Uploads by student, in order of their ids; people who fit nobody, or one student together, become unmatched."""
    people: dict[str, list[Person]] = {}
    for person in list(found.uploads):
        try:
            people.setdefault(student_of(person, roster), []).append(person)
        except Unmatched as error:
            found.leave_out(person, str(error))
    students = {}
    for student, same in sorted(people.items()):
        if len(same) > 1 and same[0].system != "folder":
            for person in same:
                others = in_words([other.label for other in same if other is not person])
                found.leave_out(person, f"fits {student}, as does {others}: add ids to the roster")
            continue
        students[student] = [upload for person in same for upload in found.uploads[person]]
    return students


def _collect_one(
    source: UploadSource,
    student: str,
    uploads: Sequence[Upload],
    place: SubmissionPlace,
    options: Options,
    now: datetime,
    record: Record | None,
    archives: _Archives,
) -> UploadOutcome:
    with _scratch(place, options) as scratch:
        done = assemble(source, uploads, scratch, options.rules, place.scratch_mib)
        state = _settle(student, done, place, options, scratch, now)
    for item in done.arrived:
        archives.add(student, item)
        _note_arrived(record, student, item, state)
    if state in (UploadState.COLLECTED, UploadState.REPLACED, UploadState.UNCHANGED):
        for name, placed in sorted(done.files.items()):
            copied = placed.copied
            row = {"student": student, "original": name, "sha256": copied.sha256, "verdict": state.value}
            _note(record, "file", size=copied.size, **row)
    remarks = [done.refusal] if done.refusal else done.remarks
    marked = any(item.upload.marked_late for item in done.taken)
    if marked:
        remarks = [*remarks, "Canvas marks it late; the time is the export's"]
    elif any(options.rules.is_late(item.upload) for item in done.taken):
        remarks = [*remarks, "handed in after the deadline"]
    for remark in few(remarks, MOST_RECORDED):
        _note(record, "remark", student=student, remark=remark)
    late = tuple(clean_name(item.upload.member.name) for item in done.late)
    return UploadOutcome(student, state, len(done.files), done.submitted_at, _shown(remarks), late, is_bound=marked)


def _shown(remarks: Sequence[str]) -> tuple[str, ...]:
    return tuple(few(remarks, MOST_REMARKS, "more, see the record"))


def _refuse(student: str, uploads: Sequence[Upload], error: Exception, record: Record | None) -> UploadOutcome:
    """One student's end where something came up that is not the machine's: an error in their own files or folder, or a
    slip of ours on them. What lay in the folder before is still there."""
    reason = reason_of(error)
    for upload in uploads:
        row = {"student": student, "person": upload.person.label, "original": upload.member.name}
        _note(record, "upload", verdict=UploadState.REFUSED.value, remark=reason, **row)
    _note(record, "remark", student=student, remark=reason)
    return UploadOutcome(student, UploadState.REFUSED, remarks=(reason,))


def _settle(
    student: str, done: SubmissionDraft, place: SubmissionPlace, options: Options, scratch: Path, now: datetime
) -> UploadState:
    """Put a submission into its folder, unless there is a reason not to; the older one is moved away, never merged."""
    if done.refusal:
        return UploadState.REFUSED
    if not done.files:
        return UploadState.LATE
    folder = place.folder_of(student)
    if folder.is_symlink() or folder.parent.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link: put the folder itself in its place", str(folder))
    exists = os.path.lexists(folder)
    if exists and _is_same(folder, done):
        return UploadState.UNCHANGED
    if exists and _stays(folder, done, options.rules):
        return UploadState.OLDER
    if not options.dry_run:
        staged = scratch / "submission"
        staged.mkdir()
        write_files(done, staged)
        if done.submitted_at is not None:
            time = done.submitted_at.astimezone(timezone.utc)
            (staged / TIMESTAMP).write_text(time.strftime(TIMESTAMP_FORMAT))
        kept = _put(staged, folder, place.intake / "replaced" / place.assignment / student / stamp(now))
        if kept is not None and place.intake not in kept.parents:
            done.remarks.append(f"the older folder could not be moved to another disk: it is {clean_name(str(kept))}")
    return UploadState.REPLACED if exists else UploadState.COLLECTED


def _put(staged: Path, folder: Path, kept: Path) -> Path | None:
    """Move a submission into its place, and what was there to `kept`; put that back where the move fails.

    Returns where the older one is now. Nothing is ever copied and then deleted, as `shutil.move` does where it cannot
    rename: of a folder that something is mounted on, or that holds a pipe, only a part might arrive.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    older = _set_aside(folder, kept) if os.path.lexists(folder) else None
    try:
        _move_in(staged, folder)
    except BaseException:
        if older is not None:
            os.rename(older, folder)
        raise
    return older


def _set_aside(folder: Path, kept: Path) -> Path:
    """Move what lies in a submission's place away, whatever it is; to a hidden place beside it where `kept` is on
    another disk. Returns where it is now."""
    beside = folder.parent / ".replaced" / f"{folder.name}-{kept.name}"
    for target in (kept, beside):
        target = unused(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(folder, target)
        except OSError as error:
            if error.errno != errno.EXDEV or target.parent == beside.parent:
                raise
        else:
            return target
    raise AssertionError("unreachable: the second place is on the same disk, or os.rename has raised")


def _move_in(staged: Path, folder: Path) -> None:
    """Move our own copy of a submission, which holds regular files only, in one piece for whoever looks."""
    try:
        os.rename(staged, folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent, ignore_cleanup_errors=True) as beside:
            os.rename(shutil.copytree(staged, Path(beside) / "submission"), folder)


def _is_same(folder: Path, done: SubmissionDraft) -> bool:
    """Whether the folder holds just these files, apart from what nbgrader wrote."""
    if not folder.is_dir():
        return False
    there = {name: found for name, found in walk(folder) if name not in RESERVED}
    if {name: found.st_size for name, found in there.items()} != {n: p.copied.size for n, p in done.files.items()}:
        return False
    regular = all(stat.S_ISREG(found.st_mode) for found in there.values())
    return regular and all(_digest(folder / name) == placed.copied.sha256 for name, placed in done.files.items())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _stays(folder: Path, done: SubmissionDraft, rules: Rules) -> bool:
    """Whether what was collected before was handed in later, and still in time."""
    before = handed_in_at(folder)
    if before is None:
        return False
    in_time = rules.takes_late or rules.deadline is None or before <= rules.deadline
    return done.submitted_at is not None and in_time and before > done.submitted_at


@contextmanager
def _scratch(place: SubmissionPlace, options: Options) -> Iterator[Path]:
    """A folder for one student's files, on the course's own disk unless nothing may be touched there."""
    if not options.dry_run:
        place.intake.mkdir(parents=True, exist_ok=True)
    where = None if options.dry_run else place.intake
    with tempfile.TemporaryDirectory(prefix="part-", dir=where, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)


def _record_of(place: SubmissionPlace, options: Options, now: datetime) -> AbstractContextManager[Record | None]:
    return nullcontext() if options.dry_run else open_record(place.intake, place.assignment, now)


def _note(record: Record | None, kind: str, **values: str | int) -> None:
    if record is not None:
        record.write(kind, **values)


def _note_arrived(record: Record | None, student: str, item: ReceivedFile, state: UploadState) -> None:
    """One row for an upload, also for one that was not taken."""
    verdict = state.value if item.verdict == "taken" else item.verdict
    _note(
        record,
        "upload",
        student=student,
        person=item.upload.person.label,
        original=item.upload.member.name,
        sha256=item.copied.sha256 if item.copied is not None else "",
        size=item.copied.size if item.copied is not None else "",
        submitted_at=item.time.isoformat() if item.time is not None and has_time(item.upload) else "",
        which=item.which,
        verdict=verdict,
        remark=clipped(item.remark),
    )


def _notes(found: UploadsByPerson, options: Options) -> Iterator[str]:
    """What concerns the whole export."""
    if options.roster.unused:
        yield f"Columns of the roster that are not used: {', '.join(options.roster.unused)}"
    uploads = [upload for uploads in found.uploads.values() for upload in uploads]
    times = [upload.member.time for upload in uploads if has_time(upload) and upload.member.time is not None]
    if options.system != "canvas" and len(found.uploads) > 2 and times and max(times) - min(times) < NEAR:
        yield (
            "All files of the export have nearly the same time, so it may be the time of the download: "
            "look into the system itself before you count anything as late"
        )
    if options.rules.deadline is not None:
        yield f"Deadline: {options.rules.deadline.isoformat(' ', 'minutes')}"
