"""Collect an export into `submitted/<student>/<assignment>/`: nothing is lost, and nobody is guessed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.remarks import clipped, few
from autograder.core.text import clean_name
from autograder.handin.collect.archive import MOST_EXPORT_FILES, BadArchive, UploadSource, open_source
from autograder.handin.collect.assemble import ReceivedFile, assemble, has_time
from autograder.handin.collect.intake import Intake, IntakeError, Options, SubmissionPlace, UploadOutcome, UploadState
from autograder.handin.collect.journal import Record, open_record
from autograder.handin.collect.lms_names import Upload, UploadsByPerson
from autograder.handin.collect.matching import match_students, sort_by_person, why_nothing
from autograder.handin.collect.placing import place_submission
from autograder.handin.collect.receipts import check_held

NEAR = timedelta(minutes=5)
MOST_REMARKS = 12  # of one student, on the screen
MOST_RECORDED = 200  # of one student, in the record


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


@dataclass(frozen=True)
class _Run:
    """One collection: what it reads, where it puts submissions, and its record, None in a dry run."""

    source: UploadSource
    place: SubmissionPlace
    options: Options
    now: datetime
    record: Record | None
    archives: _Archives = field(default_factory=_Archives)

    def note(self, kind: str, **values: str | int) -> None:
        """Write a row of the record."""
        if self.record is not None:
            self.record.write(kind, **values)


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
    found = sort_by_person(source.members, place, options, zipped=not file.is_dir())
    if not found.uploads:
        raise IntakeError(why_nothing(file, found, source.members, place, options))
    students = match_students(found, options.roster)
    outcomes = []
    with _record_of(place, options, now) as record:
        run = _Run(source, place, options, now, record)
        for verdict, entries in (("unmatched", found.unmatched), ("ignored", found.ignored)):
            for listed in entries:
                person = listed.name if listed.files else ""
                for name in listed.files or (listed.name,):
                    run.note("upload", person=person, original=name, verdict=verdict, remark=listed.reason)
        for student, uploads in students.items():
            on_student(student, len(students))
            try:
                outcomes.append(_collect_one(run, student, uploads))
            except Exception as error:
                if stops_a_run(error):
                    raise IntakeError(
                        f"stopped at {student}: {reason_of(error)}; those before are collected, as the record says. "
                        "See to the disk and the machine, then run the same command again"
                    ) from error
                outcomes.append(_refuse(run, student, uploads, error))
        receipts = check_held(options.receipts, run.archives.taken, run.archives.arrived)
        for checked in receipts:
            held = checked.held
            run.note("receipt", student=held.student, sha256=held.sha256, verdict=checked.verdict.value)
    return Intake(
        tuple(outcomes),
        tuple(found.unmatched),
        tuple(found.ignored),
        tuple(receipts),
        tuple(student for student in options.roster.students if student not in students),
        tuple(_notes(found, options)),
        record.path if record is not None else None,
    )


def _collect_one(run: _Run, student: str, uploads: Sequence[Upload]) -> UploadOutcome:
    place, options = run.place, run.options
    with _scratch(place, options) as scratch:
        done = assemble(run.source, uploads, scratch, options.rules, place.scratch_mib)
        state = place_submission(student, done, place, options, scratch, run.now)
    for item in done.arrived:
        run.archives.add(student, item)
        _note_arrived(run, student, item, state)
    if state in (UploadState.COLLECTED, UploadState.REPLACED, UploadState.UNCHANGED):
        for name, placed in sorted(done.files.items()):
            copied = placed.copied
            row = {"student": student, "original": name, "sha256": copied.sha256, "verdict": state.value}
            run.note("file", size=copied.size, **row)
    remarks = [done.refusal] if done.refusal else done.remarks
    marked = any(item.upload.marked_late for item in done.taken)
    if marked:
        remarks = [*remarks, "Canvas marks it late; the time is the export's"]
    elif any(options.rules.is_late(item.upload) for item in done.taken):
        remarks = [*remarks, "handed in after the deadline"]
    for remark in few(remarks, MOST_RECORDED):
        run.note("remark", student=student, remark=remark)
    late = tuple(clean_name(item.upload.member.name) for item in done.late)
    return UploadOutcome(student, state, len(done.files), done.submitted_at, _shown(remarks), late, is_bound=marked)


def _shown(remarks: Sequence[str]) -> tuple[str, ...]:
    return tuple(few(remarks, MOST_REMARKS, "more, see the record"))


def _refuse(run: _Run, student: str, uploads: Sequence[Upload], error: Exception) -> UploadOutcome:
    """One student's end where something came up that is not the machine's: an error in their own files or folder, or a
    slip of ours on them. What lay in the folder before is still there."""
    reason = reason_of(error)
    for upload in uploads:
        row = {"student": student, "person": upload.person.label, "original": upload.member.name}
        run.note("upload", verdict=UploadState.REFUSED.value, remark=reason, **row)
    run.note("remark", student=student, remark=reason)
    return UploadOutcome(student, UploadState.REFUSED, remarks=(reason,))


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


def _note_arrived(run: _Run, student: str, item: ReceivedFile, state: UploadState) -> None:
    """One row for an upload, also for one that was not taken."""
    verdict = state.value if item.verdict == "taken" else item.verdict
    run.note(
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
