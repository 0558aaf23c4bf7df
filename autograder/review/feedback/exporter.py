"""What `nbgrader generate_feedback` calls: an exporter for pages that need no network, and the step that fills them in.

Wired by dotted names in `nbgrader_config.py`. The graded notebook, which formgrader shows to the staff, keeps its full
tables: only the page that is made here holds what the configuration shows to students.
"""

from __future__ import annotations

import resource
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import Exporter, HTMLExporter
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from sqlalchemy.exc import SQLAlchemyError
from traitlets import List, Unicode
from traitlets.config import Config

from autograder.core.config import Feedback, OrdinaryAssignment, load_course
from autograder.core.config_values import ConfigError
from autograder.core.grade_report import GradeReport
from autograder.core.limited import Bounds, TooMuch, WorkFailed
from autograder.core.package import package_file
from autograder.core.rows import Comment, Currency, Row, Standings
from autograder.core.text import printable
from autograder.course.currency import is_changed
from autograder.course.gradebook import GradebookError, read_marks, read_standings
from autograder.course.published import fill_feedback, keep_files_out
from autograder.course.report_store import BrokenReport, load_report, load_reports
from autograder.course.score_cells import CHECKS_MARK
from autograder.handin.submission import is_test_cell
from autograder.review.feedback.content import (
    IN_FULL,
    Basis,
    ShownCell,
    ShownNotebook,
    StudentFeedback,
    has_passed,
    show_notebook,
    show_overall,
)
from autograder.review.feedback.figures import draw_figures
from autograder.review.feedback.hidden_tests import as_released
from autograder.review.feedback.page import render_cell, render_plain, render_result
from autograder.review.feedback.render import make_page

TEMPLATE = "autograder_feedback"
TEMPLATES = package_file("review/feedback/templates")
NO_DUE_DATE = "titles and points only, until `nbgrader db assignment add NAME --duedate=...` gives it one"
# A page of the lesson, with all its pictures, has 2.2 MB and takes a second; a submission's others have 0.3 MB in all.
MOST_PAGE, MOST_PAGES = 16 << 20, 32 << 20  # bytes of one page, and of all pages of a submission
PAGE_SECONDS, SUBMISSION_SECONDS = 20.0, 40.0  # of computing
PAGE_MEMORY_MIB = 1024

Notebook = Any
Resources = dict[str, Any]


@dataclass
class PagesRoom:
    """What the pages of one submission may still take: seconds of computing, and bytes."""

    seconds: float
    size: int


class FeedbackExporter(HTMLExporter):  # type: ignore[misc]
    """nbconvert's exporter with nbgrader's feedback template, without its scripts, and the student's result on top.

    `told` collects, by student, what the pages say, for the other forms of feedback. nbgrader deletes all feedback of a
    student of whom one page fails, so every notebook gets a page: a plain one where there can be no other.
    """

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        super().__init__(config=_with_template(config), **kwargs)
        self.told: dict[str, StudentFeedback] = {}
        self.root = Path(self.parent.coursedir.root)
        self.is_ordinary = False
        self.feedback, self.standings = self._look_up()
        self._others: list[GradeReport] | None = None
        self._currency: dict[str, Currency] = {}  # by student
        self._left: dict[str, PagesRoom] = {}  # by student
        keep_files_out(self.parent)

    def from_filename(self, filename: str, resources: Resources | None = None, **kw: Any) -> tuple[str, Resources]:
        """The page of a graded notebook. Raises what concerns all pages: a gradebook or a disk that fails."""
        assert resources is not None
        if filename == self.parent.notebooks[0]:
            fill_feedback(self._folder(resources), Path(filename).parent)
        try:
            made: tuple[str, Resources] = super().from_filename(filename, resources, **kw)
            return made
        except (SQLAlchemyError, GradebookError, NbGraderException, OSError):
            raise
        except Exception:  # whatever a notebook makes of our own code, it costs nobody else's page
            self.log.exception("%s: no page could be made", filename)
            return self._plain(resources, None, "it could not be read"), resources

    def _folder(self, resources: Resources) -> Path:
        own, course = resources["nbgrader"], self.parent.coursedir
        return Path(course.format_path(course.feedback_directory, own["student"], own["assignment"]))

    def from_notebook_node(self, nb: Notebook, resources: Resources | None = None, **kw: Any) -> tuple[str, Resources]:
        """Preprocessors here, where the gradebook is known; the page in a process with limits."""
        notebook, resources = Exporter.from_notebook_node(self, nb, resources, **kw)
        student = resources["nbgrader"]["student"]
        left = self._left.setdefault(student, PagesRoom(SUBMISSION_SECONDS, MOST_PAGES))
        bounds = Bounds(cpu_seconds=min(PAGE_SECONDS, left.seconds), memory_mib=PAGE_MEMORY_MIB, answer_mib=64)
        before = _spent()
        try:
            page = make_page(notebook, resources, self.config, bounds)
            problem = "" if len(page) <= min(MOST_PAGE, left.size) else "its page would be too large"
        except TooMuch as too_much:
            problem = f"making its page {too_much}"
        except WorkFailed as failed:
            self.log.warning("%s, %s: %s", student, resources["nbgrader"]["notebook"], printable(str(failed)))
            problem = "its page could not be made"
        if problem:
            page = self._plain(resources, self.told[student].notebooks[-1], problem)
        left.seconds = max(left.seconds - (_spent() - before), 1.0)
        left.size -= len(page)
        return page, resources

    def _plain(self, resources: Resources, shown: ShownNotebook | None, problem: str) -> str:
        """A page without the notebook: the result and the checks where they are known, and why there is no more."""
        own = resources["nbgrader"]
        self.log.warning("%s, %s: a plain page, since %s", own["student"], own["notebook"], problem)
        resources["output_extension"] = self.file_extension  # by which nbconvert names the file
        result = resources.get("autograder_result", "")
        return str(render_plain(own["notebook"], result, shown.cells if shown is not None else (), problem))

    def _look_up(self) -> tuple[Feedback, Standings]:
        """What the configuration lets students see, and due dates where they matter. Raises NbGraderException."""
        course = self.parent.coursedir
        try:
            configured = load_course(self.root)
            feedback = configured.feedback
            self.is_ordinary = isinstance(configured.assignment(course.assignment_id), OrdinaryAssignment)
            standings = read_standings(course.db_url, course.assignment_id) if feedback.waits_for_deadline else {}
        except (ConfigError, GradebookError) as error:
            self.log.error("No feedback was made: %s", error)
            raise NbGraderException(str(error)) from error
        if feedback.waits_for_deadline and not any(standing.due for standing in standings.values()):
            name = course.assignment_id
            self.log.warning("Checks are to be shown after the deadline, but %s has no due date: %s", name, NO_DUE_DATE)
        return feedback, standings

    def currency(self, report: GradeReport) -> Currency:
        """Whether a student has handed in again since; looked at once for all pages. Other rules are the staff's."""
        if report.student not in self._currency:
            course = self.parent.coursedir
            folder = Path(course.format_path(course.submitted_directory, report.student, report.assignment))
            changed = is_changed(report, folder if folder.is_dir() else None)
            self._currency[report.student] = Currency.CHANGED if changed else Currency.GRADED
        return self._currency[report.student]

    def others(self, assignment: str) -> list[GradeReport]:
        """The class's reports, where students are shown its models; read once."""
        if self._others is None:
            self._others = []
            try:
                self._others = load_reports(self.root, assignment) if self.feedback.accuracy_cost else []
            except BrokenReport as error:
                self.log.warning("The class's accuracies are not shown: %s", error)
        return self._others


def _with_template(config: Any) -> Any:
    """The configuration with our template, which builds on nbgrader's, in its place; an instructor's own stays."""
    given = config.HTMLExporter
    if given.template_name != "feedback":
        return config
    theirs = list(given.extra_template_basedirs)
    own = Config()
    own.HTMLExporter.template_name = TEMPLATE
    own.HTMLExporter.extra_template_basedirs = [str(TEMPLATES), *theirs]
    own.HTMLExporter.extra_template_paths = [*given.extra_template_paths, *theirs]
    changed = deepcopy(config)
    changed.merge(own)
    return changed


def _spent() -> float:
    """Seconds of computing in processes that have ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


class ShowVisible(NbGraderPreprocessor):  # type: ignore[misc]
    """Puts what the configuration lets a student see into the notebook that becomes their page.

    It comes after nbgrader's GetGrades, which says what the gradebook holds.
    """

    display_data_priority = List(Unicode()).tag(config=True)  # HTMLExporter sets it, and complains where it cannot

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        own = resources["nbgrader"]
        basis = self._basis(own["assignment"], own["student"], own["db_url"])
        page = show_notebook(basis, own["notebook"], _graded_cells(notebook), _comments(own["notebook"], notebook))
        overall = show_overall(basis.row)
        told = self.parent.told.setdefault(own["student"], StudentFeedback(overall, []))
        self.parent.told[own["student"]] = StudentFeedback(overall, [*told.notebooks, page])
        resources["autograder_result"] = render_result(overall, page)
        self._fill_in(notebook, page, basis)
        if self.parent.is_ordinary:
            as_released(notebook, self.parent.root / "release" / own["assignment"] / f"{own['notebook']}.ipynb")
        return notebook, resources

    def _fill_in(self, notebook: Notebook, page: ShownNotebook, basis: Basis) -> None:
        """Replace the tables that the staff see."""
        shown = {cell.name: cell for cell in page.cells}
        everything = {basis.feedback.checks, *basis.feedback.by_check.values()} == {IN_FULL}
        everything = everything and not self.parent.is_ordinary  # whose test cells also show what the tests say
        outdated = []
        for cell in notebook.cells:
            if not is_test_cell(cell):
                continue
            result = shown[cell.metadata.nbgrader.grade_id]
            if not result.is_current:
                outdated.append(result.name)
            if not result.is_current and everything:
                cell.outputs = [output for output in cell.outputs if output.output_type == "display_data"]
            else:
                html = str(render_cell(result, self._figures(page, result)))
                output = {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}
                cell.outputs = [nbformat.from_dict(output)]
        if outdated:
            problem = "the results that are kept are not those of the graded notebook"
            self.log.warning("%s, %s: %s: grade again", basis.row.student, ", ".join(outdated), problem)

    def _figures(self, page: ShownNotebook, result: ShownCell) -> str:
        """Drawings of the student's own network; none where they cannot be made."""
        try:
            return draw_figures(page, result)
        except Exception:  # a network or a learning curve of any shape must not cost the page
            self.log.exception("%s, %s: its figures could not be drawn", page.name, result.name)
            return ""

    def _basis(self, assignment: str, student: str, db_url: str) -> Basis:
        exporter: FeedbackExporter = self.parent
        report = load_report(exporter.root, assignment, student) or GradeReport(student, assignment, [])
        marks = read_marks(db_url, assignment, student).get(student, ())
        standing = exporter.standings.get(student)
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        row = Row(report, marks, standing, exporter.currency(report))
        return Basis(row, exporter.feedback, has_passed(standing, now), exporter.others(assignment))


def _graded_cells(notebook: Notebook) -> dict[str, str | None]:
    """The grade cells in their order, each automatic one with the digest of the results that it shows."""
    found: dict[str, str | None] = {}
    for cell in notebook.cells:
        own = cell.metadata.get("nbgrader", {})
        if is_test_cell(cell):
            marks = [output.get("metadata", {}).get(CHECKS_MARK) for output in cell.outputs]
            found[own.grade_id] = next((str(mark) for mark in marks if mark), "")
        elif own.get("grade"):
            found[own.grade_id] = None
    return found


def _comments(name: str, notebook: Notebook) -> list[Comment]:
    """What people wrote about the answers, which GetGrades has put beside them."""
    cells = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
    return [Comment(name, own["grade_id"], own["comment"]) for own in cells if own.get("comment")]
