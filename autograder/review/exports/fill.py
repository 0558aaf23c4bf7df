"""Fill marks into an exported table: whose row it is, what is written, and what is left as it was."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autograder.core.text import clean_name
from autograder.handin.roster import Roster
from autograder.review.exports.classbook import Classbook, ClassEntry, ExportError, ExportState, Policy, table_number
from autograder.review.exports.sheet import Sheet

NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)")
SCALED_DIGITS = 2  # the systems show no more
SAME = 0.005  # half of the last digit that the systems write
Claim = tuple[str, str]  # a kind of key ("lms_id" of the gradebook, "canvas_id" of the roster, …) and its value


@dataclass(frozen=True)
class GradeChange:
    """A grade that stood in the table and was another one."""

    student: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.student}: {self.before} → {self.after}"


@dataclass(frozen=True)
class Unmarked:
    """Somebody without a mark in the export, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Export:
    """What was made of a class: the file's `content`, how many marks it has, and who has none.

    `left` have no mark although they handed in, `absent` did not. `strangers` are rows of the other system's table
    that fit nobody. `changed` and `same` are cells that held a grade before.
    """

    content: bytes
    marks: int
    left: Sequence[Unmarked] = ()
    absent: Sequence[str] = ()
    strangers: Sequence[Unmarked] = ()
    changed: Sequence[GradeChange] = ()
    same: int = 0
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class MarkColumn:
    """The column of a table that marks go into. Points are multiplied by `factor` and written with the sign `decimal`;
    cells that hold one of `untouched` stay."""

    sheet: Sheet
    number: int
    factor: float = 1.0
    decimal: str = "."
    untouched: Collection[str] = ()

    def scaled(self, points: float) -> float:
        return points if self.factor == 1.0 else round(points * self.factor, SCALED_DIGITS)


@dataclass(frozen=True)
class Owners:
    """Whose row each row of a table is, and the rows that are nobody's."""

    entries: Mapping[int, ClassEntry]
    strangers: Sequence[Unmarked]


def parse_number(text: str) -> float | None:
    """A number with a decimal point or comma; None for anything else."""
    return float(text.replace(",", ".")) if NUMBER.fullmatch(text) else None


def own(book: Classbook, roster: Roster, rows: Mapping[int, tuple[str, Sequence[Claim]]]) -> Owners:
    """Match rows, each with a name for a reader and its claims, by exact keys only. Raises ExportError.

    Claims of the kinds `lms_id` and `gradebook_email` are looked up in the gradebook, all others in the roster. A row
    whose claims lead to different students is nobody's.
    """
    known = {entry.student: entry for entry in book.entries}
    held = _gradebook_keys(book)
    entries: dict[int, ClassEntry] = {}
    strangers: list[Unmarked] = []
    taken: dict[str, str] = {}
    for row, (name, claims) in rows.items():
        found = {student for claim in claims if claim[1] for student in held.get(claim, ())}
        found |= {roster.keys[claim] for claim in claims if claim in roster.keys}
        if not found:
            strangers.append(Unmarked(name, "fits no student of the gradebook or the roster"))
        elif len(found) > 1:
            students = ", ".join(map(clean_name, sorted(found)))
            strangers.append(Unmarked(name, f"fits several students ({students}): correct the ids in the gradebook"))
        elif (student := found.pop()) not in known:
            strangers.append(
                Unmarked(name, f"is {clean_name(student)} by the roster, whom the gradebook does not know")
            )
        elif student in taken:
            raise ExportError(f"two rows are those of {clean_name(student)}: {taken[student]} and {name}")
        else:
            taken[student], entries[row] = name, known[student]
    return Owners(entries, strangers)


def _gradebook_keys(book: Classbook) -> dict[Claim, list[str]]:
    keys: dict[Claim, list[str]] = {}
    for entry in book.entries:
        lms_id, email = entry.standing.lms_id.strip(), entry.standing.email.strip().casefold()
        keys.setdefault(("lms_id", lms_id), []).append(entry.student)
        keys.setdefault(("gradebook_email", email), []).append(entry.student)
    return keys


def scale_factor(book: Classbook, possible: float | None, place: str, scale: bool) -> float:
    """By how much points are multiplied to fit what the other system's column holds. Raises ExportError."""
    if possible is None and not scale:
        return 1.0
    if possible is None or possible <= 0 or book.maximum <= 0:
        raise ExportError(f"{place} says no points, so that nothing can be scaled to them: leave out --scale")
    if scale:
        return possible / book.maximum
    if abs(possible - book.maximum) > SAME:
        raise ExportError(
            f"{place} has {table_number(possible)} points, {book.assignment} {table_number(book.maximum)}: change it "
            "there, or choose --scale, which multiplies every mark"
        )
    return 1.0


def fill(
    column: MarkColumn, book: Classbook, owners: Owners, policy: Policy
) -> tuple[dict[tuple[int, int], str], Export]:
    """The cells to write, and the account of it, its `content` apart.

    Where there is no mark to write, what stands in the table stays, too: it is not taken back.
    """
    values: dict[tuple[int, int], str] = {}
    left: list[Unmarked] = []
    changed: list[GradeChange] = []
    marks = same = 0
    for row, entry in owners.entries.items():
        points, before = entry.total(policy), column.sheet.value(row, column.number)
        if points is None:
            if has_work(entry):
                left.append(Unmarked(entry.label, entry.reason + _stays(before)))
            continue
        if before.upper() in column.untouched:
            left.append(Unmarked(entry.label, f"{before} stands in the table and stays"))
            continue
        points, held = column.scaled(points), parse_number(before)
        marks += 1
        if held is not None and abs(held - points) < SAME:
            same += 1
            continue
        values[row, column.number] = after = table_number(points, column.decimal)
        if before:
            changed.append(GradeChange(entry.label, clean_name(before), after))
    matched = {entry.student for entry in owners.entries.values()}
    for entry in book.entries:
        points = entry.total(policy)
        if entry.student not in matched and (points is not None or has_work(entry)):
            state = entry.reason if points is None else f"{table_number(points)} points"
            left.append(Unmarked(entry.label, f"{state}, but has no row in {column.sheet.name}"))
    absent = [e.label for e in book.entries if e.total(policy) is None and not has_work(e)]
    return values, Export(b"", marks, left, absent, owners.strangers, changed, same)


def _stays(before: str) -> str:
    return f"; {clean_name(before)} stands in the table and stays" if before else ""


def account(book: Classbook, policy: Policy, content: bytes) -> Export:
    """The account of an export that has everybody's mark that there is."""
    left = [Unmarked(e.label, e.reason) for e in book.entries if e.total(policy) is None and has_work(e)]
    absent = [e.label for e in book.entries if e.total(policy) is None and not has_work(e)]
    return Export(content, len(book.entries) - len(left) - len(absent), left, absent)


def has_work(entry: ClassEntry) -> bool:
    """Whether something was handed in."""
    return entry.standing.is_submitted or bool(entry.row.report.checks) or entry.state is ExportState.NOT_GRADED


def stale_remarks(book: Classbook) -> list[str]:
    """Whose scores in the gradebook are not those of the latest report."""
    words = "the gradebook holds other scores than the latest report: grade again"
    return [f"{entry.label}: {words}" for entry in book.entries if entry.is_stale]
