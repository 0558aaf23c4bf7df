"""The TA's page: one self-contained `index.html` with every submission and every check; no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from autograder import __version__
from autograder.cache import write_atomically
from autograder.evidence import clean_text
from autograder.flags import KINDS
from autograder.gradebook import Mark, Marks
from autograder.outputs import ANSI, where
from autograder.overview import Points, Row, notebooks_of, rows_of, status_words
from autograder.results import CellRun, CheckResult, GradeReport, NotebookRun, Status

SYMBOLS = {Status.PASSED: "✓", Status.SKIPPED: "–", Status.UNSUPPORTED: "?", Status.INTERNAL: "!"}  # all others: ✗
FACT_NAMES = {"data": "test set", "gpu": "GPU"}
OWN_FACTS = ("checkpoint",)  # of one submission, shown with it


@dataclass(frozen=True)
class Tile:
    """One number of the overview, and whom it is about (with the numbers of their sections)."""

    label: str
    count: int
    kind: str
    remark: str = ""
    who: Sequence[tuple[int, Row]] = ()


@dataclass(frozen=True)
class CellError:
    """A cell that did not run to its end: its place in the notebook (from 1), how it ended, and its traceback."""

    number: int
    status: Status
    message: str
    traceback: str


@dataclass(frozen=True)
class Task:
    """One graded cell of a submission: its points and checks, and a remark where a person marks it."""

    cell: str
    points: Points
    checks: Sequence[CheckResult] = ()
    remark: str = ""


@dataclass(frozen=True)
class Part:
    """One notebook of a submission."""

    notebook: str
    points: Points
    run: NotebookRun | None
    tasks: Sequence[Task]
    errors: Sequence[CellError]


def write_report(folder: Path, assignment: str, reports: Sequence[GradeReport], marks: Marks) -> Path:
    """Write `index.html` into a folder, whole or not at all, and return its path."""
    path = folder / "index.html"
    write_atomically(path, render_report(assignment, reports, marks, datetime.now().astimezone()).encode())
    path.chmod(0o600)  # students' marks
    return path


def render_report(assignment: str, reports: Sequence[GradeReport], marks: Marks, now: datetime) -> str:
    """The page as text. Nothing of a student's is markup in it: autoescape, and a policy that forbids script."""
    rows = rows_of(reports, marks)
    notebooks = notebooks_of(rows)
    page = _environment().get_template("page.html")
    return page.render(
        assignment=assignment,
        now=now,
        engine=__version__,
        tiles=_tiles(rows, bool(marks)),
        rows=rows,
        notebooks=notebooks,
        parts=[[_part(row, notebook) for notebook in notebooks] for row in rows],
        facts=_common_facts(reports),
        own_facts=OWN_FACTS,
        kinds=KINDS,
        has_marks=bool(marks),
        unjailed=[row for row in rows if row.report.facts.get("isolation", "").startswith("none")],
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("autograder", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"readable": readable, "words": status_words, "symbol": _symbol, "kind": _kind}
    environment.filters |= {"where": where, "seconds": _seconds}
    return environment


def readable(text: str) -> str:
    """Text of a student's for a page: no terminal colours, no control or direction characters, bounded."""
    return clean_text(ANSI.sub("", text))


def _symbol(status: Status) -> str:
    return SYMBOLS.get(status, "✗")


def _kind(check: CheckResult) -> str:
    """The style of a check's row: partial points look like neither a pass nor a failure."""
    if check.status is Status.FAILED and check.earned > 0:
        return "partial"
    special = {Status.PASSED: "passed", Status.SKIPPED: "skipped", Status.UNSUPPORTED: "undecided"}
    return special.get(check.status, "fault" if check.status is Status.INTERNAL else "failed")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def _tiles(rows: Sequence[Row], has_marks: bool) -> list[Tile]:
    numbered = list(enumerate(rows, 1))
    waiting = [(n, row) for n, row in numbered if row.waiting]
    undecided = [(n, row) for n, row in numbered if row.undecided]
    failed = [(n, row) for n, row in numbered if row.failed]
    unknown = "" if has_marks else "no gradebook was there: manual marks are unknown"
    return [
        Tile("graded", len(rows) - len(failed), "good", f"of {len(rows)} submission{'s' * (len(rows) != 1)}"),
        Tile("waiting for a manual mark", len(waiting), "wait" if waiting else "", unknown, waiting),
        Tile("undecided: to be marked by hand", len(undecided), "wait" if undecided else "", "", undecided),
        Tile("failed through the grader’s own fault", len(failed), "bad" if failed else "", "", failed),
    ]


def _common_facts(reports: Sequence[GradeReport]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Facts of the runs: each name with its values and how many submissions have each."""
    names = dict.fromkeys(
        name for report in reports for name, value in report.facts.items() if value and name not in OWN_FACTS
    )
    facts = []
    for name in names:
        values: dict[str, int] = {}
        for report in reports:
            if report.facts.get(name):
                values[report.facts[name]] = values.get(report.facts[name], 0) + 1
        facts.append((FACT_NAMES.get(name, name), sorted(values.items(), key=lambda item: -item[1])))
    return facts


def _part(row: Row, notebook: str) -> Part:
    report = row.report
    run = next((run for run in report.notebooks if run.notebook == notebook), None)
    automatic = report.cells.get(notebook, {})
    tasks = [_task(row, notebook, cell, maximum) for cell, maximum in automatic.items()]
    tasks += [_manual_task(row, mark) for mark in row.marks if mark.notebook == notebook and mark.cell not in automatic]
    errors = [error for cell in (run.cells if run else ()) if (error := _cell_error(cell)) is not None]
    return Part(notebook, row.points_of(notebook), run, tasks, errors)


def _task(row: Row, notebook: str, cell: str, maximum: float) -> Task:
    checks = [check for check in row.report.checks if (check.notebook, check.cell) == (notebook, cell)]
    earned = next(s.earned for s in row.report.cell_scores() if (s.notebook, s.cell) == (notebook, cell))
    if row.failed:
        return Task(cell, Points(None, maximum), checks, "no score was recorded")
    mark = next((m for m in row.marks if (m.notebook, m.cell) == (notebook, cell) and m.manual is not None), None)
    if mark is not None:
        remark = f"{_by_hand(row, mark)}; the checks gave {earned:g}"
        return Task(cell, Points(mark.score, maximum), checks, remark)
    return Task(cell, Points(earned, maximum), checks, "" if checks else "no check reached this cell")


def _manual_task(row: Row, mark: Mark) -> Task:
    if row.failed:
        return Task(mark.cell, Points(None, mark.maximum), remark="to be marked by hand once it could be graded")
    if mark.needs_person and mark.manual is None:
        return Task(mark.cell, Points(None, mark.maximum), remark="waits for a manual mark in formgrader")
    remark = _by_hand(row, mark) if mark.manual is not None else "left as it was released: nothing to mark"
    return Task(mark.cell, Points(mark.score, mark.maximum), remark=remark)


def _by_hand(row: Row, mark: Mark) -> str:
    """That a person gave the mark, and what became of it when the student handed in again."""
    if any((older.notebook, older.cell) == (mark.notebook, mark.cell) for older in row.older_marks):
        return "marked by hand in an earlier submission: counts until somebody decides"
    known = (m for m in row.report.manual if (m.notebook, m.cell, m.score) == (mark.notebook, mark.cell, mark.manual))
    kept = next((m for m in known if m.choice == "kept"), None)
    when = f"; kept for a later submission on {datetime.fromisoformat(kept.chosen_at):%-d %B %Y, %H:%M}" if kept else ""
    return f"marked by hand{when}"


def _cell_error(cell: CellRun) -> CellError | None:
    error = next((o for o in cell.outputs if o.get("output_type") == "error"), None)
    if error is not None:
        message = f"{error.get('ename', '')}: {error.get('evalue', '')}"
        return CellError(cell.index + 1, cell.status, message, "\n".join(map(str, error.get("traceback", ()))))
    if cell.status is not Status.PASSED:
        return CellError(cell.index + 1, cell.status, cell.message, "")
    return None
