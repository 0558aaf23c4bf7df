"""One submission's page: why these points, every check, the student's lines, networks, incidents, how to reproduce."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from markupsafe import Markup

from autograder.core.grade_report import AnswerCell, CellRun, CellScore, CheckResult, Evaluation, Status
from autograder.core.ordinary import is_ordinary, scores_of
from autograder.core.rows import EXACT, Mark, Points, Row
from autograder.core.text import ANSI, printable
from autograder.pipeline.outputs import MOST_PIXELS, PICTURES
from autograder.review.figures import draw_confusion, draw_curve, draw_model
from autograder.review.staff_report.code_view import Remark, code_lines, plain_lines
from autograder.review.staff_report.pages import OWN_FACTS, Site, Ways, checks_by_cell, render_template
from autograder.review.written import render_prose

MOST_TEXT = 20_000  # characters of a cell's output that a page shows
MOST_PAGE_TEXT = 1 << 20  # of all outputs on a page
MOST_PAGE_PICTURES = 8 << 20  # characters of base64 of all pictures on a page
MOST_STOPPED = 50  # cells of a notebook that did not run to their end, of which a page tells
LONG = 30  # lines of an output that are not folded
LEFT_OUT = "[more is left out here: this page has too much of it; formgrader shows the notebook]"
PLAIN = re.compile(r"[\w./=-]+")  # what a shell and a reader take as one word


@dataclass(frozen=True)
class Loss:
    """Points that are missing in an exercise, and why; all losses of an exercise are what its points lack.

    `is_open` where nobody has decided about them yet. `anchor` is the id of the check or graded cell on the page.
    """

    points: float
    title: str
    message: str
    anchor: str
    is_open: bool = False


@dataclass(frozen=True)
class Task:
    """One graded cell of a submission: its points and checks, and a remark where a person marks it.

    `by_hand` says that a person's mark, given or awaited, decides the points and not the checks.
    """

    cell: str
    anchor: str
    points: Points
    checks: Sequence[CheckResult] = ()
    remark: str = ""
    by_hand: bool = False
    comments: Sequence[str] = ()


@dataclass(frozen=True)
class Shown:
    """One output of a cell: text, or a picture as a data address."""

    text: str = ""
    picture: str = ""
    is_error: bool = False

    @property
    def lines(self) -> int:
        """How many lines a text has."""
        return self.text.count("\n") + 1

    @property
    def is_long(self) -> bool:
        return self.lines > LONG


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
    prose: str = ""  # a written answer rendered; empty where the lines are shown


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption."""

    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Stopped:
    """Another cell that did not run to its end: its place in the notebook (from 1), and what it showed."""

    number: int
    run: CellRun
    outputs: Sequence[Shown]


@dataclass
class _Room:
    """How much of what cells showed a page still has room for."""

    text: int = MOST_PAGE_TEXT
    pictures: int = MOST_PAGE_PICTURES

    def show(self, run: CellRun | None) -> list[Shown]:
        """What running a cell showed, and a line in place of what has no room."""
        found = [shown for output in (run.outputs if run else ()) for shown in shown_output(output)]
        kept = [shown for shown in found if self._take(shown)]
        return kept if len(kept) == len(found) else [*kept, Shown(LEFT_OUT)]

    def _take(self, shown: Shown) -> bool:
        if len(shown.text) > self.text or len(shown.picture) > self.pictures:
            return False
        self.text -= len(shown.text)
        self.pictures -= len(shown.picture)
        return True


@dataclass(frozen=True)
class Part:
    """One notebook of a submission."""

    notebook: str
    number: int
    points: Points
    seconds: float
    problem: tuple[Status, str] | None
    tasks: Sequence[Task]
    lost: Sequence[Loss]
    answers: Sequence[Answer]
    stopped: Sequence[Stopped]
    more_stopped: int
    figures: Sequence[Figure]
    evaluations: Sequence[Evaluation]


def render_student(site: Site, row: Row, ways: Ways) -> str:
    """The page as text."""
    marked, room = {m.notebook for m in row.marks if m.needs_person}, _Room()
    return render_template(
        "student.html",
        site,
        page="",
        root="../",
        row=row,
        ways=ways,
        parts=[_part(site, row, notebook, number, room) for number, notebook in enumerate(site.notebooks, 1)],
        own_facts=_own_facts(row),
        forms=[] if site.anonymous else sorted(marked),
        command_for=(lambda check=None: how_to_explain(site, row, check)) if _can_explain(site, row) else None,
        anchor=check_anchor,
        line_anchor=line_anchor,
        shown_lines=_shown_lines(row),
        changes=() if site.anonymous else site.changes.get(row.report.student, ()),
    )


def _can_explain(site: Site, row: Row) -> bool:
    """Whether there is a command for it: what a test cell of an ordinary assignment showed stands in formgrader."""
    return not site.anonymous and not is_ordinary(row.report)


def how_to_explain(site: Site, row: Row, check: CheckResult | None = None) -> str:
    """What to type in the course's folder to see how a verdict came about; without a check, to list them all."""
    student = row.report.student
    words = ["autograder", "explain"] + (["--list"] if check is None else [])
    words += ["--", student] if student.startswith("-") else [student]  # or it would be taken for an option
    words += [f"{check.notebook}/{check.name}"] if check is not None else []
    words.append(site.assignment)
    return " ".join(word if PLAIN.fullmatch(word) else shlex.quote(word) for word in words)


def check_anchor(site: Site, check: CheckResult) -> str:
    """The id of a check on its page; its cell tells faults of the grader apart, which all have one name."""
    return f"check-{_number(site, check.notebook)}-{_slug(check.cell)}-{_slug(check.name)}"


def cell_anchor(site: Site, notebook: str, cell: str) -> str:
    """The id of a graded cell."""
    return f"task-{_number(site, notebook)}-{_slug(cell)}"


def line_anchor(number: int, cell: int, line: int = 0) -> str:
    """The id of a student's cell or line."""
    return f"cell-{number}-{cell}" + (f"-{line}" if line else "")


def _number(site: Site, notebook: str) -> int:
    return site.notebooks.index(notebook) + 1 if notebook in site.notebooks else 0


def _slug(name: str) -> str:
    """A name without the blanks that no id may have; two names stay two."""
    return re.sub(r"[^\w.-]", lambda found: f"~{ord(found[0]):x}", name)


def _own_facts(row: Row) -> list[tuple[str, str]]:
    """What identifies this submission."""
    facts = [(name, row.report.facts[name]) for name in OWN_FACTS if name in row.report.facts]
    return facts + ([("key of what decided its marks", row.report.key)] if row.report.key else [])


def _shown_lines(row: Row) -> Mapping[tuple[str, int], int]:
    """How many lines of a cell stand on the page, by notebook and cell."""
    cells = ((notebook, cell) for notebook, found in row.report.sources.items() for cell in found)
    return {(notebook, cell.index): len(plain_lines(cell.source)) for notebook, cell in cells}


def _part(site: Site, row: Row, notebook: str, number: int, room: _Room) -> Part:
    report = row.report
    run = next((run for run in report.notebooks if run.notebook == notebook), None)
    automatic = report.cells.get(notebook, {})
    checks = checks_by_cell(report)
    scores = [score for score in scores_of(report) if score.notebook == notebook]
    tasks = [_task(site, row, score, checks.get((notebook, score.cell), [])) for score in scores]
    by_hand = [mark for mark in row.marks if mark.notebook == notebook and mark.cell not in automatic]
    tasks += [_manual_task(site, row, mark) for mark in by_hand]
    cells = {cell.index: cell for cell in (run.cells if run else ())}
    sources = report.sources.get(notebook, ())
    known = {cell.index for cell in sources}
    remarks = _remarks_by_cell(site, row, notebook)
    answers = [_answer(number, cell, cells.get(cell.index), remarks.get(cell.index, {}), room) for cell in sources]
    written = render_prose([cell.source for cell in sources if cell.kind != "code"])
    answers = [answer if answer.is_code else replace(answer, prose=written.pop(0)) for answer in answers]
    stopped = [cell for cell in cells.values() if cell.status is not Status.PASSED and cell.index not in known]
    return Part(
        notebook=notebook,
        number=number,
        points=row.points_of(notebook),
        seconds=run.seconds if run else 0.0,
        problem=(run.status, run.message) if run and run.status is not Status.PASSED else None,
        tasks=[replace(task, comments=_comments(row, notebook, task.cell)) for task in tasks],
        lost=[loss for task in tasks for loss in _lost(site, task)],
        answers=answers,
        stopped=[Stopped(cell.index + 1, cell, room.show(cell)) for cell in stopped[:MOST_STOPPED]],
        more_stopped=max(0, len(stopped) - MOST_STOPPED),
        figures=_figures(row, notebook),
        evaluations=[_with_pictures(found) for found in report.evaluations if found.notebook == notebook],
    )


def _comments(row: Row, notebook: str, cell: str) -> list[str]:
    """What people wrote about an answer."""
    return [comment.text for comment in row.comments if (comment.notebook, comment.cell) == (notebook, cell)]


def _lost(site: Site, task: Task) -> Iterator[Loss]:
    """Where a graded cell's missing points went: into its checks, or what a person gave."""
    missing = _missing(task.points.maximum, task.points.earned or 0.0)
    if task.points.earned is None or task.by_hand or not task.checks:
        if missing > 0:
            yield Loss(missing, task.cell, task.remark, task.anchor, task.points.earned is None)
        return
    for check in task.checks:
        missing = _missing(check.points, check.earned)
        if missing > 0:
            is_open = check.status is Status.UNSUPPORTED
            yield Loss(missing, check.title, check.message, check_anchor(site, check), is_open)


def _missing(maximum: float, earned: float) -> float:
    return round(maximum - earned, EXACT)


def _with_pictures(found: Evaluation) -> Evaluation:
    """Without those mistakes whose image is none."""
    mistakes = [mistake for mistake in found.mistakes if _picture("image/png", mistake.image)]
    return replace(found, mistakes=mistakes)


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
            found.append(Figure(draw_confusion(evaluation), f"Confusion matrix on the {evaluation.images_are}"))
    return [figure for figure in found if figure.drawing]


def _remarks_by_cell(site: Site, row: Row, notebook: str) -> Mapping[int, Mapping[int, Sequence[Remark]]]:
    """What checks say of the student's lines: by the index of the cell, then by the line."""
    remarks: dict[int, dict[int, list[Remark]]] = {}
    for check in row.report.checks:
        if check.notebook == notebook and check.line and check.message:
            remark = Remark(check.title, check.message, check_anchor(site, check), check.status)
            remarks.setdefault(check.source_cell, {}).setdefault(check.line, []).append(remark)
    return remarks


def _answer(
    number: int, cell: AnswerCell, run: CellRun | None, remarks: Mapping[int, Sequence[Remark]], room: _Room
) -> Answer:
    return Answer(
        number=cell.index + 1,
        name=cell.name,
        anchor=line_anchor(number, cell.index),
        is_code=cell.kind == "code",
        lines=code_lines(cell.source, python=cell.kind == "code"),
        remarks=remarks,
        status=run.status if run else None,
        message=run.message if run else "",
        outputs=room.show(run),
    )


def shown_output(output: Mapping[str, object]) -> list[Shown]:
    """What a page shows of an nbformat output: text and pictures. HTML stays text: nothing of a student's is markup."""
    kind_of_output = output.get("output_type")
    if kind_of_output == "stream":
        return [Shown(_text(output.get("text", "")))]
    if kind_of_output == "error":
        trace = output.get("traceback")
        lines = "\n".join(str(line) for line in trace) if isinstance(trace, list) else ""
        return [Shown(_text(lines or f"{output.get('ename')}: {output.get('evalue')}"), is_error=True)]
    data = output.get("data")
    if not isinstance(data, dict):
        return []
    for mime in PICTURES:
        if isinstance(data.get(mime), str) and (picture := _picture(mime, data[mime])):
            return [Shown(picture=picture)]
    text = data.get("text/plain") or data.get("text/html")
    return [Shown(_text(text))] if text else []


def _text(value: object) -> str:
    """Text of a cell's output; of more than MOST_TEXT characters the beginning, and how much is left out."""
    text = printable(ANSI.sub("", str(value))).rstrip("\n")
    left = len(text) - MOST_TEXT
    return text if left <= 0 else f"{text[:MOST_TEXT]}\n[{left:,} more characters are left out here]"


def _picture(mime: str, text: str) -> str:
    """The data address of a picture, nothing where it is none of its type, or too large to be looked at."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    width, height = PICTURES[mime](content)
    return f"data:{mime};base64,{text}" if 0 < width * height <= MOST_PIXELS else ""


def _task(site: Site, row: Row, score: CellScore, checks: Sequence[CheckResult]) -> Task:
    notebook, cell, earned, maximum = score.notebook, score.cell, score.earned, score.maximum
    anchor = cell_anchor(site, notebook, cell)
    if row.grader_failed:
        return Task(cell, anchor, Points(None, maximum), checks, "no score was recorded")
    mark = next((m for m in row.marks if (m.notebook, m.cell) == (notebook, cell) and m.is_manual), None)
    if mark is not None and mark.manual is not None:
        remark = f"{_by_hand(row, mark)}; the checks gave {earned:g}"
        return Task(cell, anchor, Points(mark.score, maximum), checks, remark, by_hand=True)
    if mark is not None:
        return Task(cell, anchor, Points(mark.score, maximum), checks, f"with {mark.extra_credit:g} of extra credit")
    return Task(cell, anchor, Points(earned, maximum), checks, "" if checks else "no check reached this cell")


def _manual_task(site: Site, row: Row, mark: Mark) -> Task:
    anchor = cell_anchor(site, mark.notebook, mark.cell)
    open_points, points = Points(None, mark.maximum), Points(mark.score, mark.maximum)
    if row.grader_failed:
        remark = "to be marked by hand once it could be graded"
        return Task(mark.cell, anchor, open_points, remark=remark, by_hand=True)
    if mark.needs_person and mark.manual is None:
        return Task(mark.cell, anchor, open_points, remark="waits for a manual mark in formgrader", by_hand=True)
    remark = _by_hand(row, mark) if mark.manual is not None else "left as it was released: nothing to mark"
    return Task(mark.cell, anchor, points, remark=remark, by_hand=True)


def _by_hand(row: Row, mark: Mark) -> str:
    """That a person gave the mark, and what became of it when the student handed in again."""
    if any((older.notebook, older.cell) == (mark.notebook, mark.cell) for older in row.older_marks):
        return "marked by hand in an earlier submission: counts until somebody decides"
    known = (m for m in row.report.manual if (m.notebook, m.cell, m.score) == (mark.notebook, mark.cell, mark.manual))
    kept = next((m for m in known if m.choice == "kept"), None)
    when = f"; kept for a later submission on {datetime.fromisoformat(kept.chosen_at):%-d %B %Y, %H:%M}" if kept else ""
    return f"marked by hand{when}"
