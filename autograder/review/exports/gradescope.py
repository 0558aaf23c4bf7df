"""`results.json` as Gradescope's autograder platform reads it, one for each student who has a mark."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autograder.core.config import Feedback
from autograder.core.files import write_atomically
from autograder.core.grade_report import CheckResult, Status
from autograder.core.text import clean_name, clean_text
from autograder.core.wording import details, status_words
from autograder.review.exports.classbook import Cell, Classbook, ClassEntry, Policy, exact, table_number
from autograder.review.exports.fill import Export, account

RESULTS = "results.json"
SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199}")
# The course's words for what feedback shows of a check, and Gradescope's for when a test is shown.
VISIBILITY = {"always": "visible", "after the deadline": "after_due_date", "title only": "visible", "never": "hidden"}


def results(book: Classbook, entry: ClassEntry, policy: Policy, feedback: Feedback) -> dict[str, Any]:
    """The content of one student's `results.json`.

    `score` is the gradebook's total, which counts for Gradescope whatever the tests add up to: a late penalty is taken
    off there, and cells are rounded.
    """
    tests = [test for cell in book.cells for test in _cell_tests(book, entry, cell, feedback)]
    return {
        "score": entry.total(policy),
        "execution_time": round(entry.row.report.seconds),
        "output": _output(entry),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {"student": clean_name(entry.student), "assignment": book.assignment, "maximum": book.maximum},
    }


def _output(entry: ClassEntry) -> str:
    late = f"Late penalty: {table_number(-entry.penalty)} points." if entry.penalty else ""
    waiting = f"Not final: waiting for a manual mark on {', '.join(entry.waits_for)}." if entry.waits_for else ""
    return " ".join(filter(None, (late, waiting)))


def _cell_tests(book: Classbook, entry: ClassEntry, cell: Cell, feedback: Feedback) -> list[dict[str, Any]]:
    """The checks of a grade cell, with points unless a person gave others; then one more test has the cell's points."""
    checks = [c for c in entry.row.report.checks if (c.notebook, c.cell) == (cell.notebook, cell.name)]
    mark = entry.mark(cell)
    earned = exact(mark.score) if mark is not None else 0.0
    counts = bool(checks) and mark is not None and not mark.is_manual and mark.automatic == mark.score
    exercise = book.notebooks.index(cell.notebook) + 1
    place = book.cells.index(cell)
    first = sum(c.notebook == cell.notebook for c in book.cells[:place])
    prefix = f"{exercise}.{first + 1}"
    tests = [_test(check, f"{prefix}.{i}", feedback, counts) for i, check in enumerate(checks, start=1)]
    if counts:
        return tests
    waits = cell.name in entry.waits_for
    whole = {
        "name": clean_text(f"{cell.notebook}: {cell.name}, marked by a person"),
        "number": prefix,
        "score": earned,
        "max_score": exact(cell.maximum),
        "output": "waiting for a manual mark" if waits else "",
        "tags": [clean_name(cell.notebook), "manual"],
        "visibility": "visible",
        "extra_data": {"cell": clean_name(cell.name)},
    }
    return [*tests, whole]


def _test(check: CheckResult, place: str, feedback: Feedback, counts: bool) -> dict[str, Any]:
    level = feedback.visibility(check.name, check.cell)
    silent = level == "title only" or check.status is Status.PASSED
    points = {"score": exact(check.earned), "max_score": exact(check.points)} if counts else {}
    verdict = {} if check.status.needs_person else {"status": "passed" if check.status is Status.PASSED else "failed"}
    return {
        **points,
        **verdict,
        "name": clean_text(check.title),
        "number": place,
        "output": "" if silent else _words(check),
        "tags": [clean_name(check.notebook)],
        "visibility": VISIBILITY[level],
        "extra_data": {"check": clean_name(check.name), "cell": check.cell, "status": check.status.value},
    }


def _words(check: CheckResult) -> str:
    return "\n".join([status_words(check.status), *(clean_text(line) for line in details(check))])


def folder_name(student: str) -> str:
    """A folder for a student id, whatever it holds: no two ids share one, and none leads elsewhere."""
    if SAFE.fullmatch(student):
        return student
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"%{quote(student, safe='', errors='replace').replace('.', '%2E')[:150]}-{digest}"


def write_results(folder: Path, book: Classbook, policy: Policy, feedback: Feedback) -> Export:
    """Write `<student>/results.json` for everybody who has a mark, and delete those of an earlier export for others."""
    written = {folder_name(e.student): e for e in book.entries if e.total(policy) is not None}
    for name, entry in written.items():
        write_atomically(folder / name / RESULTS, _json(results(book, entry, policy, feedback)))
    for path in folder.glob(f"*/{RESULTS}"):
        if path.parent.name not in written:
            path.unlink()
    return replace(account(book, policy, b""), marks=len(written))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
