"""What a marking session knows: the course, who marks, and the answers as they were graded last."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.core.grade_report import GradeReport
from autograder.course.currency import is_changed
from autograder.course.folder import NbCourse
from autograder.course.hand_marks import read_held
from autograder.course.report_store import BrokenReport, parse_report, reports_folder
from autograder.handin.cells import grade_id_of, is_solution, is_test_cell, source_of
from autograder.handin.notebook_file import UnreadableNotebook, read_released
from autograder.pipeline.secret import read_secret
from autograder.review.marking.questions import Question, ReleasedCells, find_questions
from autograder.review.marking.texts import SourceText, TextRenderer


@dataclass
class Desk:
    """One person's session on one assignment. `hides_names`: whether pages begin without names."""

    course: NbCourse
    assignment: str
    marker: str
    hides_names: bool = False
    since: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    texts: TextRenderer = field(default_factory=TextRenderer)
    _reports: dict[Path, tuple[tuple[int, int, int], GradeReport]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.course.root

    @property
    def db_url(self) -> str:
        return self.course.db_url

    def questions(self) -> list[Question]:
        """All there is to mark, as it stands now. Raises BrokenReport, BrokenSecret and GradebookError."""
        reports = self._load_reports()
        notebooks = sorted({name for report in reports for name in report.answers})
        released = {name: self._released(name) for name in notebooks}
        found = {(name, cell): own for name in notebooks for cell, own in released[name].solutions.items()}
        held = read_held(self.db_url, self.assignment, found)
        return find_questions(read_secret(self.root), reports, held, released)

    def question(self, notebook: str, cell: str) -> Question | None:
        """One of them, None where there is none of this name."""
        return next((q for q in self.questions() if (q.notebook, q.cell) == (notebook, cell)), None)

    def handed_in_again(self, students: Collection[str] | None = None) -> list[str]:
        """Who has handed in something else since it was graded, of these students or of all."""
        folders = self.course.submissions(self.assignment)
        wanted = [r for r in self._load_reports() if students is None or r.student in students]
        return [report.student for report in wanted if is_changed(report, folders.get(report.student))]

    def _load_reports(self) -> list[GradeReport]:
        """The latest reports; each is read again only after it has been written again."""
        found = {}
        for path in sorted(reports_folder(self.root, self.assignment).glob("*.json")):
            status = path.stat()
            state = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._reports.get(path)
            found[path] = known if known is not None and known[0] == state else (state, _slim(path))
        self._reports = found
        return [report for _, report in found.values()]

    def _released(self, notebook: str) -> ReleasedCells:
        texts, solutions, last = {}, {}, ""
        for cell in self.cells("release", notebook):
            name = grade_id_of(cell)
            if is_solution(cell):
                last = name
            if is_test_cell(cell):
                solutions[name] = last
            texts[name] = source_of(cell)
        return ReleasedCells(texts, {name: own for name, own in solutions.items() if own})

    def cells(self, step: str, notebook: str) -> Sequence[Mapping[str, Any]]:
        """The cells of a notebook in `release` or `source`; none where it cannot be read."""
        path = Path(self.course.folder(step, ".", self.assignment)) / f"{notebook}.ipynb"
        try:
            cells: Sequence[Mapping[str, Any]] = read_released(path)["cells"]
        except UnreadableNotebook:
            return ()
        return cells

    def prompt(self, question: Question) -> list[SourceText]:
        """What the course asks: the Markdown before the answer's cell."""
        cells = self.cells("release", question.notebook)
        place = next((n for n, cell in enumerate(cells) if grade_id_of(cell) == question.cell), 0)
        asked: list[SourceText] = []
        for cell in reversed(cells[:place]):
            if cell.get("cell_type") != "markdown" or is_solution(cell):
                break
            asked.insert(0, SourceText(source_of(cell), is_course=True))
        return asked

    def sample_solution(self, question: Question) -> list[SourceText]:
        """The answer that stands in the course's source; nothing where there is none on this machine."""
        wanted = question.cell if question.is_written else question.comment_cell
        cells = [cell for cell in self.cells("source", question.notebook) if grade_id_of(cell) == wanted]
        return [SourceText(source_of(cell), cell.get("cell_type") == "code", is_course=True) for cell in cells]


def _slim(path: Path) -> GradeReport:
    """A report without its pictures and runs, which nobody marks by. Raises BrokenReport."""
    try:
        report = parse_report(path.read_text())
    except ValueError as error:
        raise BrokenReport(f"{path} cannot be read as a report ({error}): delete it and grade again") from error
    return GradeReport(
        report.student,
        report.assignment,
        report.checks,
        cells=report.cells,
        facts=report.facts,
        key=report.key,
        content=report.content,
        answers=report.answers,
        sources=report.sources,
    )
