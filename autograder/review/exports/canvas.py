"""The instructor's own exported Canvas gradebook with one assignment's marks filled in.

The file's form is that of Canvas's `lib/gradebook_exporter.rb`; docs/exports.md says what is taken from it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from autograder.core.text import clean_name
from autograder.handin.roster import Roster
from autograder.review.exports.classbook import Classbook, ExportError, Policy
from autograder.review.exports.fill import Claim, Export, MarkColumn, fill, own, parse_number, scale_factor
from autograder.review.exports.sheet import Sheet, read_sheet

COLUMN = re.compile(r".+ \(\d+\)")  # an assignment's title and Canvas's id of it
POSSIBLE = "Points Possible"
UNTOUCHED = ("EX", "N/A")  # excused; not assigned to this student
NO_POINTS = "the column says no points possible: they were not compared with the assignment's"


def fill_canvas(
    path: Path, book: Classbook, roster: Roster, policy: Policy, *, column: str = "", scale: bool = False
) -> Export:
    """Fill the marks into the copy of an exported gradebook. Raises ExportError."""
    sheet = read_sheet(path)
    if "ID" not in sheet.header:
        raise ExportError(f"{sheet.name} has no column 'ID': choose the file that Canvas's Gradebook > Export gives")
    last = _possible_row(sheet)
    place = sheet.column(column) if column else _column_of(sheet, book.assignment)
    text = sheet.value(last, place)
    title = repr(clean_name(sheet.header[place]))
    possible = parse_number(text)
    if text and possible is None:
        raise ExportError(f"{title} of {sheet.name} is no assignment's column: {clean_name(text)} stands in {POSSIBLE}")
    rows = {i: (_name(sheet, i), _claims(sheet, i)) for i in range(last + 1, len(sheet.rows)) if _is_student(sheet, i)}
    owners = own(book, roster, rows)
    factor = scale_factor(book, possible, f"{title} of {sheet.name}", scale)
    marks = MarkColumn(sheet, place, factor, "," if "," in text else ".", UNTOUCHED)
    values, export = fill(marks, book, owners, policy)
    remarks = [NO_POINTS] if possible is None else []
    return replace(export, content=sheet.filled(values), remarks=remarks)


def _possible_row(sheet: Sheet) -> int:
    """The row with the points of each assignment; students come after it."""
    found = [index for index in range(1, len(sheet.rows)) if sheet.value(index, 0) == POSSIBLE]
    if len(found) != 1:
        raise ExportError(f"{sheet.name} has {len(found)} rows {POSSIBLE!r}, not one: export it again from Canvas")
    return found[0]


def _column_of(sheet: Sheet, assignment: str) -> int:
    """The one assignment's column whose title begins with a name."""
    titles = [title for title in sheet.header if COLUMN.fullmatch(title)]
    found = [title for title in titles if title.casefold().startswith(assignment.casefold())]
    if len(found) != 1:
        state = "no column begins" if not found else f"{len(found)} columns begin"
        listed = ", ".join(repr(clean_name(title)) for title in found or titles) or "none of any assignment"
        raise ExportError(f"{sheet.name}: {state} with {assignment!r}: choose with --column among {listed}")
    return sheet.column(found[0])


def _is_student(sheet: Sheet, row: int) -> bool:
    return any(field.value.strip() for field in sheet.rows[row])


def _name(sheet: Sheet, row: int) -> str:
    """The student's name and Canvas id for a reader."""
    names = [sheet.value(row, sheet.header.index(t)) for t in ("Student", "LastName", "FirstName") if t in sheet.header]
    return clean_name(f"{', '.join(filter(None, names))} ({sheet.value(row, sheet.column('ID'))})")


def _claims(sheet: Sheet, row: int) -> list[Claim]:
    """The gradebook or the roster knows Canvas's id; only a roster says what a login is."""
    user = sheet.value(row, sheet.column("ID"))
    claims = [("lms_id", user), ("canvas_id", user)]
    if "SIS Login ID" in sheet.header:
        login = sheet.value(row, sheet.column("SIS Login ID")).casefold()
        claims += [("login", login), ("email", login)]
    return claims
