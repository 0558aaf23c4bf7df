"""One submission's page: why these points, every check, the student's lines, networks, incidents, how to reproduce."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from autograder.figures import draw_confusion, draw_curve, draw_model
from autograder.gradebook import Mark
from autograder.outputs import PICTURES
from autograder.overview import Points, Row
from autograder.report.code_view import Remark, code_lines
from autograder.report.pages import OWN_FACTS, Site, checks_by_cell, render
from autograder.results import AnswerCell, CellRun, CheckResult, Evaluation, Status

MOST_TEXT = 20_000  # characters of a cell's output that a page shows


@dataclass(frozen=True)
class Task:
    """One graded cell of a submission: its points and checks, and a remark where a person marks it."""

    cell: str
    points: Points
    checks: Sequence[CheckResult] = ()
    remark: str = ""


@dataclass(frozen=True)
class Shown:
    """One output of a cell: text, or a picture as a data address."""

    text: str = ""
    picture: str = ""
    is_error: bool = False


@dataclass(frozen=True)
class Answer:
    """A cell with something of the student's: its place in the notebook (from 1), its lines, what running it showed."""

    number: int
    name: str
    anchor: str
    is_code: bool
    lines: Sequence[Markup]
    remarks: Mapping[int, Sequence[Remark]]
    status: Status | None
    message: str
    outputs: Sequence[Shown]


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption."""

    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Part:
    """One notebook of a submission."""

    notebook: str
    number: int
    points: Points
    seconds: float
    problem: tuple[Status, str] | None
    tasks: Sequence[Task]
    answers: Sequence[Answer]
    stopped: Sequence[tuple[int, CellRun]]
    figures: Sequence[Figure]
    evaluations: Sequence[Evaluation]


def render_student(site: Site, row: Row) -> str:
    """The page as text."""
    report = row.report
    marked = {m.notebook for m in row.marks if m.needs_person}
    return render(
        "student.html",
        site,
        page="",
        root="../",
        row=row,
        parts=[_part(site, row, notebook, number) for number, notebook in enumerate(site.notebooks, 1)],
        lost=[check for check in report.checks if check.earned < check.points and not row.failed],
        own_facts=[(name, report.facts[name]) for name in OWN_FACTS if name in report.facts],
        forms=[] if site.anonymous else sorted(marked),
        command=f"autograder explain {shlex.quote(report.student)}" if not site.anonymous else "",
        shlex=shlex.quote,
        anchor=check_anchor,
        line_anchor=line_anchor,
        has_line=_has_line(row),
        changes=() if site.anonymous else site.changes.get(report.student, ()),
        outputs_of=lambda cell: [shown for output in cell.outputs for shown in shown_output(output)],
    )


def check_anchor(site: Site, check: CheckResult) -> str:
    """The id of a check on its page; its cell tells faults of the grader apart, which all have one name."""
    place = site.notebooks.index(check.notebook) + 1 if check.notebook in site.notebooks else 0
    return f"check-{place}-{check.cell}-{check.name}"


def line_anchor(number: int, cell: int, line: int = 0) -> str:
    """The id of a student's cell or line."""
    return f"cell-{number}-{cell}" + (f"-{line}" if line else "")


def _has_line(row: Row) -> Mapping[str, Sequence[int]]:
    """The cells that are shown, by notebook."""
    return {notebook: [cell.index for cell in cells] for notebook, cells in row.report.sources.items()}


def _part(site: Site, row: Row, notebook: str, number: int) -> Part:
    report = row.report
    run = next((run for run in report.notebooks if run.notebook == notebook), None)
    automatic = report.cells.get(notebook, {})
    tasks = [_task(row, notebook, cell, maximum) for cell, maximum in automatic.items()]
    tasks += [_manual_task(row, mark) for mark in row.marks if mark.notebook == notebook and mark.cell not in automatic]
    cells = {cell.index: cell for cell in (run.cells if run else ())}
    sources = report.sources.get(notebook, ())
    known = {cell.index for cell in sources}
    stopped = [(c.index + 1, c) for c in cells.values() if c.status is not Status.PASSED and c.index not in known]
    return Part(
        notebook=notebook,
        number=number,
        points=row.points_of(notebook),
        seconds=run.seconds if run else 0.0,
        problem=(run.status, run.message) if run and run.status is not Status.PASSED else None,
        tasks=tasks,
        answers=[_answer(site, row, notebook, number, cell, cells.get(cell.index)) for cell in sources],
        stopped=stopped,
        figures=_figures(row, notebook),
        evaluations=[found for found in report.evaluations if found.notebook == notebook],
    )


def _figures(row: Row, notebook: str) -> list[Figure]:
    report = row.report
    found = []
    for model in report.models:
        if model.notebook == notebook:
            size = f"{model.parameters:,} parameters, {model.macs:,} multiply-accumulates for an image"
            found.append(Figure(draw_model(model), f"{model.name}: {size}"))
    for curve in report.curves:
        if curve.notebook == notebook:
            found.append(Figure(draw_curve(curve), "Learning curve, as the checkpoint tells it; nobody has checked it"))
    for evaluation in report.evaluations:
        if evaluation.notebook == notebook:
            found.append(Figure(draw_confusion(evaluation), "Confusion matrix on the test images"))
    return [figure for figure in found if figure.drawing]


def _answer(site: Site, row: Row, notebook: str, number: int, cell: AnswerCell, run: CellRun | None) -> Answer:
    remarks: dict[int, list[Remark]] = {}
    for check in row.report.checks:
        if (check.notebook, check.source_cell) == (notebook, cell.index) and check.line and check.message:
            remark = Remark(check.title, check.message, check_anchor(site, check), check.status)
            remarks.setdefault(check.line, []).append(remark)
    return Answer(
        number=cell.index + 1,
        name=cell.name,
        anchor=line_anchor(number, cell.index),
        is_code=cell.kind == "code",
        lines=code_lines(cell.source, python=cell.kind == "code"),
        remarks=remarks,
        status=run.status if run else None,
        message=run.message if run else "",
        outputs=[shown for output in (run.outputs if run else ()) for shown in shown_output(output)],
    )


def shown_output(output: Mapping[str, object]) -> list[Shown]:
    """What a page shows of an nbformat output: text and pictures. HTML stays text: nothing of a student's is markup."""
    kind = output.get("output_type")
    if kind == "stream":
        return [Shown(str(output.get("text", ""))[:MOST_TEXT])]
    if kind == "error":
        trace = output.get("traceback")
        lines = [str(line) for line in trace] if isinstance(trace, list) else []
        return [
            Shown(("\n".join(lines) or f"{output.get('ename')}: {output.get('evalue')}")[:MOST_TEXT], is_error=True)
        ]
    data = output.get("data")
    if not isinstance(data, dict):
        return []
    for mime in PICTURES:  # checked when the outputs were taken from the jail
        if isinstance(data.get(mime), str):
            return [Shown(picture=f"data:{mime};base64,{data[mime]}")]
    text = data.get("text/plain") or data.get("text/html")
    return [Shown(str(text)[:MOST_TEXT])] if text else []


def _task(row: Row, notebook: str, cell: str, maximum: float) -> Task:
    checks = checks_by_cell(row.report).get((notebook, cell), [])
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
