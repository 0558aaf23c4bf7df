"""Plain CSV: a row for each student with all that is known of the marks, or a row for each student and check."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from autograder.core.text import csv_cell
from autograder.review.exports.classbook import Cell, Classbook, ClassEntry, Policy, table_number

Value = str | float | None
LONG_HEADER = ("student", "notebook", "cell", "check", "title", "earned", "maximum", "status", "message", "hint")


def csv_bytes(rows: Iterable[Sequence[Value]]) -> bytes:
    """UTF-8 as RFC 4180 has it: text is never a formula, None is an empty cell, a number stays one."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([csv_cell(v) if isinstance(v, str) else table_number(v) for v in row] for row in rows)
    return text.getvalue().encode()


def wide_csv(book: Classbook, policy: Policy) -> bytes:
    """One row for each student: who, notebooks, grade cells, penalty, total, and every check.

    Columns stand in the order of notebooks, cells and checks, whoever is in the class.
    """
    header = ["student", "last_name", "first_name", "email", "lms_id", "status", "waits_for", *book.notebooks]
    for cell in book.cells:
        header += [f"{cell.notebook}/{cell.name} {kind}" for kind in ("automatic", "manual", "extra")]
    header += ["late_penalty", "total", "maximum", *(f"{notebook}/{name}" for notebook, name in book.checks)]
    return csv_bytes([header, *(_wide_row(book, entry, policy) for entry in book.entries)])


def _wide_row(book: Classbook, entry: ClassEntry, policy: Policy) -> list[Value]:
    standing = entry.standing
    row: list[Value] = [entry.student, standing.last_name, standing.first_name, standing.email, standing.lms_id]
    row += [entry.state.value, "; ".join(entry.waits_for)]
    row += [entry.points_of(notebook) for notebook in book.notebooks]
    for cell in book.cells:
        row += _cell_values(entry, cell)
    row += [entry.penalty if entry.row.marks else None, entry.total(policy), book.maximum]
    return row + [_earned(entry, notebook, name) for notebook, name in book.checks]


def _cell_values(entry: ClassEntry, cell: Cell) -> tuple[float | None, float | None, float | None]:
    mark = entry.mark(cell)
    if mark is None:
        return None, None, None
    return None if entry.row.grader_failed else mark.automatic, mark.manual, mark.extra_credit


def _earned(entry: ClassEntry, notebook: str, name: str) -> float | None:
    """A check's points; None where it has no automatic result that would be right."""
    check = entry.check(notebook, name)
    return None if check is None or entry.row.grader_failed or check.status.needs_person else check.earned


def long_csv(book: Classbook) -> bytes:
    """One row for each student and check, with result, message and hint."""
    rows: list[Sequence[Value]] = [LONG_HEADER]
    for entry in book.entries:
        for check in entry.row.report.checks:
            earned = None if entry.row.grader_failed or check.status.needs_person else check.earned
            place = (entry.student, check.notebook, check.cell, check.name, check.title)
            rows.append((*place, earned, check.points, check.status.value, check.message, check.hint))
    return csv_bytes(rows)
