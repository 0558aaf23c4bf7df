"""What feedback says: the checks as far as the configuration shows them, points, strengths, next steps, figures.

Only what is in these dataclasses reaches a student: no flag, no fact of the run, no picture of a test image, no name of
anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from autograder.core.config import Feedback
from autograder.core.grade_report import CheckResult, Curve, Evaluation, GradeReport, Model, Status
from autograder.core.remarks import few
from autograder.core.rows import Comment, Currency, Mark, Points, Row, Standing
from autograder.core.text import readable
from autograder.core.wording import remedy, status_words, undecided_points, where
from autograder.course.score_cells import checks_digest
from autograder.review.feedback.accuracy_cost import class_dots
from autograder.review.figures import Dot

MOST_STRENGTHS, MOST_STEPS = 3, 3
IN_FULL, TITLES, NOTHING = "always", "title only", "never"
OUTDATED = "The results behind these points cannot be shown at the moment; the points stand."
HANDED_IN_AGAIN = (
    "You have handed in again since this was graded. What is said here is about what you handed in before."
)


@dataclass(frozen=True)
class ShownCheck:
    """A check as a student may see it; `message`, `remedy` and `place` are empty where they are not shown.

    `status` is None where only the title is known to belong to what was graded.
    """

    title: str
    earned: float
    points: float
    status: Status | None
    message: str = ""
    remedy: str = ""
    place: str = ""

    @property
    def result(self) -> str:
        """The status in words."""
        if self.status is None:
            return ""
        is_partial = self.status is Status.FAILED and self.earned > 0
        return "partly" if is_partial else status_words(self.status)

    @property
    def lost(self) -> float:
        return self.points - self.earned


@dataclass(frozen=True)
class ShownCell:
    """One grade cell: what counts for it, and the checks behind that. `remarks` are sentences to be read first."""

    name: str
    points: Points
    checks: Sequence[ShownCheck] = ()
    remarks: Sequence[str] = ()
    is_full: bool = False  # every check of it, and there are some
    is_current: bool = True  # its results are those of the graded notebook


@dataclass(frozen=True)
class ShownNotebook:
    """One notebook's feedback. Models, evaluation and curve are the student's own; `evaluation` has no images."""

    name: str
    points: Points
    cells: Sequence[ShownCell]
    remarks: Sequence[str] = ()
    comments: Sequence[Comment] = ()
    models: Sequence[Model] = ()
    evaluation: Evaluation | None = None
    curve: Curve | None = None
    dots: Sequence[Dot] = ()  # of the class, anonymous


@dataclass(frozen=True)
class Step:
    """Something that would earn `points` more. `advice` is the hint, "" where it is not shown."""

    title: str
    points: float
    advice: str


@dataclass(frozen=True)
class Summary:
    """What went well first, then the most valuable next steps; `sentences` come between."""

    strengths: Sequence[str]
    steps: Sequence[Step]
    sentences: Sequence[str]


@dataclass(frozen=True)
class Overall:
    """A student's points for the whole assignment; `notebooks` are names and points of all its parts."""

    student: str
    assignment: str
    total: Points
    notebooks: Sequence[tuple[str, Points]]
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class StudentFeedback:
    """All that one student is told."""

    overall: Overall
    notebooks: Sequence[ShownNotebook]


@dataclass(frozen=True)
class Basis:
    """What feedback to one student is made from. `is_due`: whether the student's own due date has passed; `others`: the
    class's reports, where students may see theirs among all models."""

    row: Row
    feedback: Feedback
    is_due: bool
    others: Sequence[GradeReport] = ()

    def visibility(self, check: CheckResult) -> str:
        """IN_FULL, TITLES or NOTHING, at this moment."""
        chosen = self.feedback.visibility(check.name, check.cell)
        if chosen == "after the deadline":
            return IN_FULL if self.is_due else TITLES
        return chosen

    def waits(self, check: CheckResult) -> bool:
        """Whether more of the check will be shown after the due date."""
        return self.feedback.visibility(check.name, check.cell) == "after the deadline" and not self.is_due


def has_passed(standing: Standing | None, now: datetime) -> bool:
    """Whether a student's due date, extension included, has passed; not where there is none. Times are UTC, naive."""
    return standing is not None and standing.due is not None and now >= standing.due


def show_overall(row: Row) -> Overall:
    """Points of the whole assignment, as the gradebook has them."""
    names = dict.fromkeys([*row.report.cells, *(mark.notebook for mark in row.marks)])
    parts = [(name, row.points_of(name)) for name in sorted(names)]
    waiting = [mark for mark in row.marks if mark.cell in row.waiting and mark.manual is None]
    sentences = [HANDED_IN_AGAIN] if row.currency is Currency.CHANGED else []
    sentences += [f"A person still marks {mark.cell} ({_points(mark.maximum)})." for mark in waiting]
    if row.penalty:
        sentences.append(f"{_points(row.penalty)} were taken off for handing in late.")
    return Overall(row.student, readable(row.report.assignment), row.total, parts, sentences)


def show_notebook(
    basis: Basis, name: str, graded: Mapping[str, str | None], comments: Sequence[Comment] = ()
) -> ShownNotebook:
    """The feedback on one notebook.

    `graded` are its grade cells in their order: for each automatic one the digest of the results that its notebook
    shows ("" for an unknown one), None for one that a person marks.
    """
    report = basis.row.report
    cells = [_show_cell(basis, name, cell, digest) for cell, digest in graded.items()]
    notes = [note.text for note in report.notes if note.notebook == name]
    shown = ShownNotebook(
        name,
        basis.row.points_of(name),
        cells,
        [f"About your notebook: {readable(note)}." for note in few(notes)],
        [replace(comment, text=readable(comment.text)) for comment in comments],
    )
    return _with_figures(shown, report, basis.others)


def _with_figures(shown: ShownNotebook, report: GradeReport, others: Sequence[GradeReport]) -> ShownNotebook:
    """Figures where the checks that they belong to are shown in full: a model with the first automatic cell, how its
    weights did with the last."""
    checked = [cell for cell in shown.cells if cell.checks]
    if not checked:
        return shown
    name, first, last = shown.name, checked[0].is_full, checked[-1].is_full
    evaluation = next((e for e in report.evaluations if e.notebook == name and last), None)
    return replace(
        shown,
        models=[model for model in report.models if model.notebook == name and first],
        evaluation=replace(evaluation, mistakes=()) if evaluation else None,
        curve=next((c for c in report.curves if c.notebook == name and last), None),
        dots=class_dots(name, report.student, others) if evaluation else (),
    )


def _show_cell(basis: Basis, notebook: str, cell: str, digest: str | None) -> ShownCell:
    row = basis.row
    mark = next((m for m in row.marks if (m.notebook, m.cell) == (notebook, cell)), None)
    points = Points(mark.score, mark.maximum) if mark else Points(None, row.report.cells.get(notebook, {}).get(cell, 0))
    if digest is None:
        is_marked = mark is None or not mark.needs_person or mark.manual is not None
        counted = points if is_marked else replace(points, earned=None)
        return ShownCell(cell, counted, remarks=_marking_remarks(row, mark))
    checks = [check for check in row.report.checks if (check.notebook, check.cell) == (notebook, cell)]
    levels = [basis.visibility(check) for check in checks]
    shown = [_show_check(c, level == IN_FULL) for c, level in zip(checks, levels, strict=True) if level != NOTHING]
    if row.grader_failed or digest != checks_digest(checks):
        titles = [ShownCheck(check.title, 0, check.points, None) for check in shown]
        return ShownCell(cell, points, titles, [OUTDATED], is_current=False)
    remarks = _automatic_remarks(row, checks, mark)
    if len(shown) < len(checks):
        some = "Some of the checks" if shown else "The checks"
        remarks.append(f"{some} behind these points are not shown.")
    if any(basis.waits(check) for check in checks):
        remarks.append("Messages and hints follow after your due date.")
    is_full = bool(checks) and all(level == IN_FULL for level in levels)
    return ShownCell(cell, points, shown, remarks, is_full)


def _show_check(check: CheckResult, in_full: bool) -> ShownCheck:
    shown = ShownCheck(readable(check.title), check.earned, check.points, check.status)
    if not in_full:
        return shown
    texts = [readable(text) for text in (check.message, remedy(check), where(check))]
    return replace(shown, message=texts[0], remedy=texts[1], place=texts[2])


def _marking_remarks(row: Row, mark: Mark | None) -> list[str]:
    """About a cell that a person marks."""
    if mark is None:
        return []
    if any((older.notebook, older.cell) == (mark.notebook, mark.cell) for older in row.older_marks):
        return ["This mark was given to an answer that you handed in earlier; a person will look again."]
    if mark.needs_person and mark.manual is None:
        return ["A person will mark this part; its points are not in the total yet."]
    return _extra_credit(mark)


def _automatic_remarks(row: Row, checks: Sequence[CheckResult], mark: Mark | None) -> list[str]:
    """About a cell that the checks mark, and a person where they could not."""
    if mark is not None and mark.manual is not None:
        given = round(sum(check.earned for check in checks), 1)
        remarks = [f"A person marked this part: {mark.manual:g} points, in place of the {given:g} from the checks."]
        return [*remarks, *_extra_credit(mark)]
    return [*undecided_points(checks)[:1], *(_extra_credit(mark) if mark else ())]


def _extra_credit(mark: Mark) -> list[str]:
    return [f"{_points(mark.extra_credit)} of extra credit are included."] if mark.extra_credit else []


def strengths_and_steps(cells: Iterable[ShownCell]) -> Summary:
    """Strengths and next steps from what is shown of some cells, the most valuable first."""
    current = [cell for cell in cells if cell.is_current]
    checks = [check for cell in current for check in cell.checks]
    passed = sorted((c for c in checks if c.status is Status.PASSED), key=lambda check: -check.points)
    unfinished = [c for cell in current if not _is_complete(cell) for c in cell.checks if c.lost > 0]
    skipped = [check for check in unfinished if check.status is Status.SKIPPED]
    waiting = [check for check in unfinished if check.status is Status.UNSUPPORTED]
    failed = [check for check in unfinished if check not in skipped and check not in waiting]
    failed.sort(key=lambda check: -check.lost)
    sentences = []
    if passed and len(passed) == len(checks):
        sentences.append(f"All {len(checks)} checks passed. Well done!" if len(checks) > 1 else "The check passed.")
    elif checks:
        sentences.append(f"{len(passed)} of {len(checks)} checks passed.")
    if waiting:
        total = _points(round(sum(check.lost for check in waiting), 1))
        verb = "waits" if len(waiting) == 1 else "wait"
        sentences.append(f"{_checks(len(waiting))} ({total}) {verb} for a person's judgement; nothing is lost by that.")
    if skipped:
        total = _points(round(sum(check.lost for check in skipped), 1))
        sentences.append(f"{_checks(len(skipped))} more ({total}) can be judged once an earlier one passes.")
    return Summary(
        [check.title for check in passed[:MOST_STRENGTHS]],
        [Step(c.title, round(c.lost, 1), c.remedy.removeprefix("Hint: ")) for c in failed[:MOST_STEPS]],
        sentences,
    )


def _is_complete(cell: ShownCell) -> bool:
    return cell.points.earned is not None and cell.points.earned >= cell.points.maximum


def accuracy_sentence(found: Evaluation) -> str:
    """How the weights did, with the interval where not all test images were needed."""
    share = f"{found.correct:,} of {found.images:,} {found.images_are}"
    if found.images == found.total:
        sentence = f"Your model classified {share} correctly: {found.accuracy:.2%}."
    else:
        interval = f"between {found.low:.2%} and {found.high:.2%} with 95 % confidence"
        sentence = f"Your model classified {share} correctly, which were enough for a verdict: {interval}."
    if found.public_accuracy is not None:
        public = f"On the {found.public_images:,} public test images: {found.public_accuracy:.2%}."
        sentence += f" That is what counts. {public}"
    return sentence.replace("%", " %").replace("  %", " %")


def model_sentence(model: Model) -> str:
    """Size and cost of a model."""
    size = f"{model.parameters:,} parameters, {model.macs:,} multiply-accumulates for one image"
    return f"{readable(model.name)}: {size}."


def _points(value: float) -> str:
    return f"{value:g} point{'s' * (value != 1)}"


def _checks(number: int) -> str:
    return f"{number} check{'s' * (number != 1)}"
