"""Marks for Moodle: a file for the gradebook's CSV import, or the assignment's offline grading worksheet filled in.

The forms are those of Moodle's `grade/import/csv` and `mod/assign/feedback/offline`; docs/exports.md has the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from autograder.core.text import clean_name, csv_cell
from autograder.handin.roster import PARTICIPANT, Roster, spellings
from autograder.review.exports.classbook import Classbook, ClassEntry, ExportError, Policy, table_number
from autograder.review.exports.fill import (
    Claim,
    Export,
    MarkColumn,
    Owners,
    Unmarked,
    account,
    fill,
    own,
    parse_number,
    scale_factor,
)
from autograder.review.exports.plain import Value, csv_bytes
from autograder.review.exports.sheet import Sheet, read_sheet

Identity = Literal["email", "id-number"]
HEADERS: Mapping[Identity, str] = {"email": "Email address", "id-number": "ID number"}
GRADE, MAXIMUM, IDENTIFIER, COMMENTS = "Grade", "Maximum Grade", "Identifier", "Feedback comments"


def comment(book: Classbook, entry: ClassEntry) -> str:
    """Points for each notebook and the late penalty, in one line; nothing of any check."""
    parts = []
    for notebook in book.notebooks:
        maximum = sum(cell.maximum for cell in book.cells if cell.notebook == notebook)
        parts.append(f"{notebook}: {table_number(entry.points_of(notebook)) or '–'} / {table_number(maximum)}")
    if entry.penalty:
        parts.append(f"late: {table_number(-entry.penalty)}")
    return "; ".join(parts)


def moodle_csv(
    book: Classbook,
    policy: Policy,
    *,
    by: Identity = "email",
    roster: Roster | None = None,
    item: str = "",
    comments: bool = False,
) -> Export:
    """A row for each student who has a mark to import: Moodle knows them by e-mail address or ID number.

    `item` names the grade's column, by the assignment's name unless given. Whoever has no mark is left out, so that
    nothing is changed in Moodle. Raises ExportError where nobody has the identity.
    """
    item = item or book.assignment
    header: list[Value] = [HEADERS[by], item]
    rows: list[list[Value]] = [header + ([f"{item} (feedback)"] if comments else [])]
    nameless: list[Unmarked] = []
    for entry in book.entries:
        points, identity = entry.total(policy), _identity(entry, by, roster or Roster())
        if points is None:
            continue
        if not identity:
            nameless.append(
                Unmarked(entry.label, f"{table_number(points)} points, but no {HEADERS[by]} in the gradebook")
            )
            continue
        row: list[Value] = [identity, points]
        rows.append([*row, comment(book, entry)] if comments else row)
    if nameless and len(rows) == 1:
        raise ExportError(
            f"the gradebook knows nobody's {HEADERS[by]}: enter them (`nbgrader db student import`), or give a --roster"
        )
    export = account(book, policy, csv_bytes(rows))
    return replace(export, marks=len(rows) - 1, left=[*export.left, *nameless])


def _identity(entry: ClassEntry, by: Identity, roster: Roster) -> str:
    """As the gradebook has it, else as the one address of the roster."""
    if by == "id-number":
        return entry.standing.lms_id.strip()
    emails = [value for (kind, value), student in roster.keys.items() if (kind, student) == ("email", entry.student)]
    return entry.standing.email.strip() or "".join(emails)


def fill_worksheet(
    path: Path, book: Classbook, roster: Roster, policy: Policy, *, scale: bool = False, comments: bool = False
) -> Export:
    """Fill the marks into the copy of an assignment's offline grading worksheet. Raises ExportError."""
    sheet = read_sheet(path)
    missing = [title for title in (IDENTIFIER, GRADE, *([COMMENTS] if comments else [])) if title not in sheet.header]
    if missing:
        raise ExportError(
            f"{sheet.name} has no column {missing[0]!r}: choose the file of Moodle's `Download grading "
            "worksheet`, with Moodle in English"
        )
    place = sheet.column(GRADE)
    students = [row for row in range(1, len(sheet.rows)) if sheet.value(row, sheet.column(IDENTIFIER))]
    owners = _own_worksheet(sheet, students, book, roster)
    maxima = {sheet.value(row, sheet.column(MAXIMUM)) for row in students} if MAXIMUM in sheet.header else set()
    text = maxima.pop() if len(maxima) == 1 else ""
    factor = scale_factor(book, parse_number(text), f"{MAXIMUM} of {sheet.name}", scale)
    marks = MarkColumn(sheet, place, factor, "," if "," in text else ".")
    values, export = fill(marks, book, owners, policy)
    if comments:
        written = {row: entry for row, entry in owners.entries.items() if entry.total(policy) is not None}
        column = sheet.column(COMMENTS)
        values |= {(row, column): csv_cell(comment(book, entry)) for row, entry in written.items()}
    return replace(export, content=sheet.filled(values))


def _own_worksheet(sheet: Sheet, rows: list[int], book: Classbook, roster: Roster) -> Owners:
    """Whose rows they are. Moodle numbers participants anew for each assignment, so that a number that only the
    gradebook's LMS id has must not be contradicted by e-mail address or name."""
    owners = own(book, roster, {row: (_name(sheet, row), _claims(sheet, row)) for row in rows})
    strangers = list(owners.strangers)
    entries = {}
    for row, entry in owners.entries.items():
        by_roster = roster.keys.get(("moodle_id", _participant(sheet, row))) == entry.student
        problem = "" if by_roster else _contradiction(sheet, row, entry)
        if problem:
            strangers.append(Unmarked(_name(sheet, row), problem))
        else:
            entries[row] = entry
    return Owners(entries, strangers)


def _contradiction(sheet: Sheet, row: int, entry: ClassEntry) -> str:
    """What speaks against a row's being a student's, or nothing."""
    email, known = _cell(sheet, row, "Email address").casefold(), entry.standing.email.strip().casefold()
    if email and known:
        return f"has the LMS id of {entry.label}, but another e-mail address" if email != known else ""
    name = _cell(sheet, row, "Full name")
    if name and entry.standing.name and not spellings(name) & spellings(entry.standing.name):
        return f"has the LMS id of {entry.label}, but another name"
    return ""


def _claims(sheet: Sheet, row: int) -> list[Claim]:
    user, email = _participant(sheet, row), _cell(sheet, row, "Email address").casefold()
    ids = [("lms_id", user), ("lms_id", _cell(sheet, row, IDENTIFIER)), ("moodle_id", user)]
    return [*ids, ("email", email), ("gradebook_email", email)]


def _participant(sheet: Sheet, row: int) -> str:
    """The number in `Participant 1234`."""
    text = _cell(sheet, row, IDENTIFIER)
    match = PARTICIPANT.fullmatch(text)
    return match[1] if match else text


def _name(sheet: Sheet, row: int) -> str:
    name, identifier = _cell(sheet, row, "Full name"), _cell(sheet, row, IDENTIFIER)
    return clean_name(f"{name} ({identifier})" if name else identifier)


def _cell(sheet: Sheet, row: int, title: str) -> str:
    return sheet.value(row, sheet.column(title)) if title in sheet.header else ""
