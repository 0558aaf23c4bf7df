"""Manual marks and comments that were given to one member of a group, brought to the others.

What changed in one member's grades since all were last alike is what a person did, and it is done to the others.
Where two members' grades changed differently, nothing is touched: the two are named, and a person decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.api import MissingEntry

from autograder.core.files import digest_of
from autograder.core.grade_report import GradeReport
from autograder.core.text import clean_name
from autograder.course import recording
from autograder.course.gradebook import opened
from autograder.course.groups import Groups, load_groups, partners, save_groups
from autograder.course.report_store import load_report

NOTHING = digest_of("null")


@dataclass(frozen=True)
class _Entry:
    """A grade or comment of one member in the gradebook. `value` is what a person gave, as JSON."""

    student: str
    item: Any
    is_grade: bool

    @property
    def value(self) -> Any:
        if not self.is_grade:
            return self.item.manual_comment or None
        given = [self.item.manual_score, self.item.extra_credit]
        return given if given != [None, None] else None

    @property
    def digest(self) -> str:
        return digest_of(json.dumps(self.value))

    @property
    def is_older(self) -> bool:
        """Whether it is a mark that waits for a person: one that was given to an earlier submission."""
        return self.is_grade and self.value is not None and bool(self.item.needs_manual_grade)

    def give(self, value: Any) -> None:
        """What formgrader does when a person saves a mark or a comment."""
        if not self.is_grade:
            self.item.manual_comment = value
            return
        self.item.manual_score, self.item.extra_credit = value or (None, None)
        self.item.needs_manual_grade = self.item.manual_score is None and self.item.auto_score is None

    def words(self) -> str:
        if not self.is_grade:
            return f"{clean_name(self.student)} has {'another comment' if self.value else 'no comment'}"
        score, extra = self.value or (None, None)
        more = f" and {extra:g} of extra credit" if extra else ""
        return f"{clean_name(self.student)} has {'no mark' if score is None else f'{score:g}'}{more}"


def sync_groups(db_url: str, root: Path, assignment: str) -> list[str]:
    """Bring manual marks and comments of all groups in line. Returns remarks on what was given to whom, and on marks
    that contradict each other. Raises GroupError and GradebookError. The caller holds the course's lock."""
    groups = load_groups(root, assignment)
    if not groups.members:
        return []
    recording.settle_all(root, db_url, assignment)
    held = {student: dict(own) for student, own in groups.held.items()}
    remarks: list[str] = []
    with opened(db_url) as gradebook:
        if gradebook is None:
            return []
        try:
            submissions = {s.student.id: s for s in gradebook.find_assignment(assignment).submissions}
        except MissingEntry:
            return []
        for name, members in partners(groups, submissions).items():
            reports = {member: load_report(root, assignment, member) for member in members}
            for cell, entries in _cells(members, submissions).items():
                alike = _alike(entries, cell, reports)
                remarks += _sync(name, cell, alike, held) if len(alike) > 1 else []
        gradebook.db.commit()
    if held != groups.held:
        save_groups(root, assignment, Groups(groups.members, groups.copies, held))
    return remarks


def _cells(members: Sequence[str], submissions: Mapping[str, Any]) -> dict[str, list[_Entry]]:
    """Grades and comments by notebook and cell, of all members."""
    found: dict[str, list[_Entry]] = {}
    for member in members:
        for notebook in submissions[member].notebooks:
            for is_grade, items in ((True, notebook.grades), (False, notebook.comments)):
                for item in items:
                    key = f"{notebook.name}/{item.cell.name}" + ("" if is_grade else " (comment)")
                    found.setdefault(key, []).append(_Entry(member, item, is_grade))
    return found


def _alike(entries: Sequence[_Entry], cell: str, reports: Mapping[str, GradeReport | None]) -> list[_Entry]:
    """The entries of members whose latest reports are of the same submission; the most of them, should they differ."""
    keys = {member: report.key for member, report in reports.items() if report is not None and report.key}
    if not keys:
        return []
    counted = sorted(set(keys.values()), key=lambda key: (-list(keys.values()).count(key), key))
    return [entry for entry in entries if keys.get(entry.student) == counted[0]]


def _sync(group: str, cell: str, entries: Sequence[_Entry], held: dict[str, dict[str, str]]) -> list[str]:
    """One cell of one group; `held` follows."""
    remarks = []
    if len({entry.digest for entry in entries}) > 1:
        changed = [e for e in entries if e.digest != held.get(e.student, {}).get(cell, NOTHING)]
        foreign = [entry for entry in changed if entry.is_older]  # from a submission of the member's own
        if foreign and all(entry.value is None for entry in entries if entry not in foreign):
            return []  # it is shown as an older mark already
        if foreign or len({entry.digest for entry in changed}) != 1:
            who = "; ".join(entry.words() for entry in entries)
            where = f"group {clean_name(group)}, {cell}"
            return [f"{where}: {who}: nothing was changed, give all of them the same in formgrader"]
        others = [entry for entry in entries if entry.digest != changed[0].digest]
        for entry in others:
            entry.give(changed[0].value)
        names = ", ".join(clean_name(entry.student) for entry in others)
        remarks = [
            f"group {clean_name(group)}, {cell}: what {clean_name(changed[0].student)} has now holds for {names}"
        ]
    _confirm(entries)
    for entry in entries:
        own = held.setdefault(entry.student, {})
        own[cell] = entry.digest
        if entry.digest == NOTHING:
            del own[cell]
    return remarks


def _confirm(entries: Sequence[_Entry]) -> None:
    """A mark that a person looked at again for one member is settled for all."""
    grades = [entry.item for entry in entries if entry.is_grade]
    marked = [g for g in grades if g.manual_score is not None]
    if marked and len(marked) == len(grades) and any(not grade.needs_manual_grade for grade in grades):
        for grade in grades:
            if grade.needs_manual_grade:
                grade.needs_manual_grade = False
