"""Groups: one submission, marks for all members.

What one member hands in is copied into the folders of the others, outside of any submission's own files, so that
nbgrader's commands, formgrader and feedback work for each of them. `.autograder/groups/<assignment>.json` has the
groups and which folders are copies; what a member has handed in is never overwritten, but moved away and named.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from autograder.core.config import Limits
from autograder.core.errors import AutograderError
from autograder.core.files import digest_of, file_digest, open_file, write_atomically
from autograder.core.grade_report import GradeReport
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.ordinary import scores_of
from autograder.core.text import clean_name
from autograder.course.report_store import load_report
from autograder.handin.collect.journal import stamp, unused
from autograder.handin.content import content_digest
from autograder.handin.quarantine import TIMESTAMP, Surroundings, handed_in_at, read_timestamp, refused
from autograder.handin.roster import check_columns, id_problem, read_table
from autograder.handin.walk import walk
from autograder.pipeline.grade import submission_key
from autograder.pipeline.grader import Grader

COLUMNS = ("group", "student")
NOT_SHARED = ("submission_secret.txt",)  # the key to one student's feedback on the exchange
Folder = Callable[[str], Path]  # the submitted folder of a student


class GroupError(AutograderError, ValueError):
    """A list of groups that cannot be used, or a record of them that cannot be read; the message has the remedy."""


@dataclass(frozen=True)
class Copy:
    """A submitted folder that was made for a member: whose submission it is, and the digest of its files."""

    of: str
    digest: str


@dataclass(frozen=True)
class Groups:
    """The groups of an assignment: members by name, copies by member.

    `held` is what each member's marks were when they were last alike: digests by cell (see shared_marks.py).
    """

    members: Mapping[str, Sequence[str]] = field(default_factory=dict)
    copies: Mapping[str, Copy] = field(default_factory=dict)
    held: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_groups(path: Path) -> dict[str, list[str]]:
    """Read a CSV file with the columns `group` and `student`. Raises GroupError or TableError."""
    header, rows = read_table(path)
    check_columns(path, header, COLUMNS, COLUMNS)
    groups: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for line, row in rows:
        where, group, student = f"{path.name}, line {line}", row["group"], row["student"]
        if not group or len(group) > 100 or not group.isprintable():
            raise GroupError(f"{where}: {clean_name(group)!r} is no name of a group: it is empty, too long or not text")
        if problem := id_problem(student):
            raise GroupError(f"{where}: {problem}")
        if student in seen:
            raise GroupError(f"{where}: {clean_name(student)!r} is in a group already (line {seen[student]})")
        seen[student] = line
        groups.setdefault(group, []).append(student)
    if not groups:
        raise GroupError(f"{path.name} lists nobody")
    return groups


def groups_path(root: Path, assignment: str) -> Path:
    """Where the groups of an assignment are kept."""
    return root / ".autograder" / "groups" / f"{assignment}.json"


def load_groups(root: Path, assignment: str) -> Groups:
    """What is kept; no groups where nothing is. Raises GroupError."""
    path = groups_path(root, assignment)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        copies = {str(student): Copy(str(c["of"]), str(c["digest"])) for student, c in data["copies"].items()}
        members = {str(name): [str(student) for student in own] for name, own in data["members"].items()}
        return Groups(members, copies, {str(s): dict(held) for s, held in data["held"].items()})
    except FileNotFoundError:
        return Groups()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "delete it, and enter the groups again (copies then count as handed in by their members)"
        raise GroupError(f"{path} cannot be read ({type(error).__name__}: {error}): {remedy}") from error


def save_groups(root: Path, assignment: str, groups: Groups) -> None:
    """Keep groups in place of those that were kept."""
    content = json.dumps(asdict(groups), indent=1).encode()
    write_atomically(groups_path(root, assignment), content, durable=True)


# One submission for all members


@dataclass(frozen=True)
class MemberWork:
    """What a member has handed in: the folder, a digest of its files, and when (UTC), as far as that is known."""

    student: str
    folder: Path
    digest: str
    time: datetime


def share(root: Path, assignment: str, folder_of: Folder, limits: Limits) -> list[str]:
    """Bring every member's submitted folder in line with their group's submission. Returns remarks.

    The latest of several submissions is the group's; of identical ones, the earliest. Copies follow the submission that
    they were made of, and go when their holder leaves the group. The caller holds the course's lock.
    """
    groups = load_groups(root, assignment)
    if not groups.members and not groups.copies:
        return []
    sharing = _Sharing(root, assignment, folder_of, limits, dict(groups.copies))
    for name, members in groups.members.items():
        sharing.try_in(name, members)
    everybody = {student for members in groups.members.values() for student in members}
    for student in sorted(set(groups.copies) - everybody):
        sharing.withdraw(student, "is in no group any more")
    if sharing.copies != groups.copies:
        save_groups(root, assignment, replace(groups, copies=sharing.copies))
    return sharing.remarks


@dataclass
class _Sharing:
    """Copies as they are made and taken away, with remarks."""

    root: Path
    assignment: str
    folder_of: Folder
    limits: Limits
    copies: dict[str, Copy]
    remarks: list[str] = field(default_factory=list)

    def try_in(self, group: str, members: Sequence[str]) -> None:
        """One group, whose folders may hold what nobody can read or move: then its members keep what they have."""
        try:
            self.share_in(group, members)
        except Exception as error:
            if stops_a_run(error):
                raise
            self.remarks.append(f"group {clean_name(group)}: nothing was shared: {reason_of(error)}")

    def share_in(self, group: str, members: Sequence[str]) -> None:
        """One group: find what counts, and copy it to whoever does not have it."""
        found = [work for member in members if (work := self._work(member)) is not None]
        own = [work for work in found if not self._is_copy(work)]
        if not own:
            for member in members:
                if member in self.copies:
                    self.withdraw(member, f"{clean_name(self.copies[member].of)}, whose submission it was, has none")
            return
        source = self._choose(group, own)
        for member in members:
            if member != source.student:
                self._give(source, member, next((work for work in found if work.student == member), None))

    def _work(self, student: str) -> MemberWork | None:
        folder = self.folder_of(student)
        if folder.is_symlink() or not folder.is_dir():
            return None
        return MemberWork(student, folder, _digest(folder, self.limits), _time(folder))

    def _is_copy(self, work: MemberWork) -> bool:
        copy = self.copies.get(work.student)
        return copy is not None and copy.digest == work.digest

    def _choose(self, group: str, own: Sequence[MemberWork]) -> MemberWork:
        latest = max(own, key=lambda work: (work.time, work.student))
        same = [work for work in own if work.digest == latest.digest]
        source = min(same, key=lambda work: (work.time, work.student))
        self.copies.pop(source.student, None)
        others = [work for work in own if work.digest != latest.digest]
        if others:
            names = " and ".join(f"{clean_name(w.student)} ({w.time:%Y-%m-%d %H:%M} UTC)" for w in [*others, source])
            self.remarks.append(
                f"group {clean_name(group)}: {names} handed in different files; the latest, "
                f"{clean_name(source.student)}'s, counts for all"
            )
        return source

    def _give(self, source: MemberWork, member: str, there: MemberWork | None) -> None:
        """Make a member's folder a copy of the group's submission."""
        if (
            there is not None
            and there.digest == source.digest
            and read_timestamp(there.folder) == read_timestamp(source.folder)
        ):
            if self._is_copy(there):
                self.copies[member] = Copy(source.student, source.digest)
            return  # the same, from whomever
        target = self.folder_of(member)
        intake = self.root / ".autograder" / "intake"
        if there is not None and not self._is_copy(there):
            kept = unused(intake / "replaced" / self.assignment / member / stamp(datetime.now(timezone.utc)))
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(target, kept)
            place = kept.relative_to(self.root)
            self.remarks.append(f"what {clean_name(member)} had handed in is kept in {clean_name(str(place))}")
        elif there is not None:
            shutil.rmtree(target)
        elif os.path.lexists(target):
            self.remarks.append(f"{clean_name(member)} gets no copy: {clean_name(str(target))} is no folder")
            return
        _copy_folder(source.folder, target, self.limits, intake)
        self.copies[member] = Copy(source.student, source.digest)
        self.remarks.append(f"{clean_name(member)} shares {clean_name(source.student)}'s submission")

    def withdraw(self, student: str, why: str) -> None:
        """Take a copy away, unless its holder has handed in something else in its place."""
        copy, work = self.copies.pop(student), self._work(student)
        if work is not None and work.digest == copy.digest:
            shutil.rmtree(work.folder)
            self.remarks.append(
                f"{clean_name(student)} {why}: the copy of {clean_name(copy.of)}'s submission was taken away; marks "
                "that were recorded for it stay in the gradebook"
            )


def _taken(folder: Path, limits: Limits) -> list[str]:
    """The files of a submission that are copied: those that grading would take, too."""
    problems = refused(folder, limits, Surroundings())
    return sorted(name for name, _ in walk(folder) if name not in problems and name not in NOT_SHARED)


def _digest(folder: Path, limits: Limits) -> str:
    """Identifies what was handed in, but for its time."""
    parts = []
    for name in _taken(folder, limits):
        if name != TIMESTAMP:
            with open_file(folder / name) as file:
                parts += [name, file_digest(file)]
    return digest_of(*parts)


def _time(folder: Path) -> datetime:
    """When a submission was made: by its time stamp, else by its newest file."""
    found = handed_in_at(folder)
    if found is not None:
        return found
    with suppress(ValueError, OverflowError):  # a file's own time may be beyond all calendars
        return datetime.fromtimestamp(max((entry.st_mtime for _, entry in walk(folder)), default=0.0), timezone.utc)
    return datetime.fromtimestamp(0.0, timezone.utc)


def _copy_folder(source: Path, target: Path, limits: Limits, scratch: Path) -> None:
    """Copy a submission, in one piece for whoever looks: aside first, then moved into its place."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=scratch) as made:
        aside = Path(made) / "submission"
        aside.mkdir()
        for name in _taken(source, limits):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, aside / name, follow_symlinks=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(aside, target)


# One report for all members


def in_order(root: Path, assignment: str, submissions: Mapping[str, Path]) -> dict[str, Path]:
    """Submissions with copies last: their reports are those of what they were copied from."""
    copies = load_groups(root, assignment).copies
    return {s: submissions[s] for s in sorted(submissions, key=lambda s: (s in copies, s))}


def report_of_group(grader: Grader, student: str, folder: Path) -> GradeReport | None:
    """The report of the submission that a folder is a copy of, under the student's own name; None where it has to be
    graded. A second run could end otherwise, in a time-out say, and members would have other marks."""
    copy = load_groups(grader.root, grader.assignment_name).copies.get(student)
    report = load_report(grader.root, grader.assignment_name, copy.of) if copy is not None else None
    if report is None or report.is_internal or report.key != submission_key(grader, folder):
        return None
    return replace(report, student=student, content=content_digest(folder), manual=())


def differs_from_group(root: Path, report: GradeReport) -> bool:
    """Whether a member's standing report gives other points than that of the submission that theirs is a copy of."""
    copy = load_groups(root, report.assignment).copies.get(report.student)
    source = load_report(root, report.assignment, copy.of) if copy is not None else None
    if source is None or source.is_internal or source.key != report.key:
        return False
    return scores_of(source) != scores_of(report)


def partners(groups: Groups, students: Iterable[str]) -> dict[str, list[str]]:
    """The groups of two and more, of those members who are among `students`."""
    known = set(students)
    present = {name: [s for s in members if s in known] for name, members in groups.members.items()}
    return {name: members for name, members in present.items() if len(members) > 1}
