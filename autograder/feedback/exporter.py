"""What `nbgrader generate_feedback` calls: an exporter for pages that need no network, and the step that fills them in.

Wired by dotted names in `nbgrader_config.py`. The graded notebook, which formgrader shows to the staff, keeps its full
tables: only the page that is made here holds what the configuration shows to students.
"""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import List, Unicode
from traitlets.config import Config

from autograder.config import ConfigError, Feedback, load_course
from autograder.feedback.content import (
    IN_FULL,
    Basis,
    Comment,
    ShownNotebook,
    StudentFeedback,
    has_passed,
    show_notebook,
    show_overall,
)
from autograder.feedback.figures import draw_figures
from autograder.feedback.formulas import typeset_markdown
from autograder.feedback.page import render_cell, render_result
from autograder.gradebook import GradebookError, Standings, read_marks, read_standings
from autograder.outputs import CHECKS_MARK
from autograder.overview import Row
from autograder.reports import BrokenReport, load_report, load_reports
from autograder.results import GradeReport
from autograder.submission import is_test_cell

TEMPLATE = "autograder_feedback"
TEMPLATES = Path(__file__).parent / "templates"
NO_DUE_DATE = "titles and points only, until `nbgrader db assignment add NAME --duedate=...` gives it one"
FONT = re.compile(r"@font-face\s*\{[^}]*\}")

Notebook = Any
Resources = dict[str, Any]


def self_contained(head: str) -> str:
    """The head of nbgrader's page without Bootstrap's font of icons, which lies beside no page; with its language."""
    return FONT.sub("", head).replace("<html>", '<html lang="en">')


class FeedbackExporter(HTMLExporter):  # type: ignore[misc]
    """nbconvert's exporter with nbgrader's feedback template, without its scripts, and the student's result on top.

    `told` collects, by student, what the pages say, for the other forms of feedback.
    """

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        super().__init__(config=_with_template(config), **kwargs)
        self.register_filter("markdown2html", typeset_markdown)
        self.register_filter("self_contained", self_contained)
        self.told: dict[str, StudentFeedback] = {}
        self.root = Path(self.parent.coursedir.root)
        self.feedback, self.standings = self._look_up()
        self._others: list[GradeReport] | None = None

    def _look_up(self) -> tuple[Feedback, Standings]:
        """What the configuration lets students see, and due dates where they matter. Raises NbGraderException."""
        course = self.parent.coursedir
        try:
            feedback = load_course(self.root).feedback
            standings = read_standings(course.db_url, course.assignment_id) if feedback.waits_for_deadline else {}
        except (ConfigError, GradebookError) as error:
            self.log.error("No feedback was made: %s", error)
            raise NbGraderException(str(error)) from error
        if feedback.waits_for_deadline and not any(standing.due for standing in standings.values()):
            name = course.assignment_id
            self.log.warning("Checks are to be shown after the deadline, but %s has no due date: %s", name, NO_DUE_DATE)
        return feedback, standings

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


class ShowVisible(NbGraderPreprocessor):  # type: ignore[misc]
    """Puts what the configuration lets a student see into the notebook that becomes their page.

    It comes after nbgrader's GetGrades, which says what the gradebook holds.
    """

    display_data_priority = List(Unicode()).tag(config=True)  # HTMLExporter sets it, and complains where it cannot

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        own = resources["nbgrader"]
        basis = self._basis(own["assignment"], own["student"], own["db_url"])
        page = show_notebook(basis, own["notebook"], _graded_cells(notebook), _comments(notebook))
        overall = show_overall(basis.row)
        told = self.parent.told.setdefault(own["student"], StudentFeedback(overall, []))
        self.parent.told[own["student"]] = StudentFeedback(overall, [*told.notebooks, page])
        resources["autograder_result"] = render_result(overall, page)
        self._fill_in(notebook, page, basis)
        return notebook, resources

    def _fill_in(self, notebook: Notebook, page: ShownNotebook, basis: Basis) -> None:
        """Replace the tables that the staff see."""
        shown = {cell.name: cell for cell in page.cells}
        everything = {basis.feedback.checks, *basis.feedback.by_check.values()} == {IN_FULL}
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
                html = str(render_cell(result, draw_figures(page, result)))
                output = {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}
                cell.outputs = [nbformat.from_dict(output)]
        if outdated:
            problem = "the results that are kept are not those of the graded notebook"
            self.log.warning("%s, %s: %s: grade again", basis.row.student, ", ".join(outdated), problem)

    def _basis(self, assignment: str, student: str, db_url: str) -> Basis:
        exporter: FeedbackExporter = self.parent
        report = load_report(exporter.root, assignment, student) or GradeReport(student, assignment, [])
        marks = read_marks(db_url, assignment, student).get(student, ())
        standing = exporter.standings.get(student)
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        row = Row(report, marks, standing)
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


def _comments(notebook: Notebook) -> list[Comment]:
    """What people wrote about the answers, which GetGrades has put beside them."""
    cells = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
    return [Comment(own["grade_id"], own["comment"]) for own in cells if own.get("comment")]
