"""How `nbgrader generate_assignment` and `generate_solution` come to texts that agree with `grader_config.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters.base import NbGraderException
from nbgrader.converters.generate_assignment import GenerateAssignment
from traitlets import Bool

from autograder.core.config import Course, load_course
from autograder.core.config_values import ConfigError
from autograder.course import upkeep
from autograder.course.extensions import ExtensionError
from autograder.course.gradebook import GradebookError
from autograder.course.release_text import ReleaseText, release_text

Notebook = Any
Resources = dict[str, Any]


class ReleaseExporter(NotebookExporter):  # type: ignore[misc]
    """Gives notebooks the configuration's points and fills the fields in their texts, before any preprocessor.

    Its construction is the one moment before nbgrader removes the release that there is: what cannot agree with the
    configuration stops the command here, with its place. Assignments that the configuration does not name are left to
    nbgrader.
    """

    drop_marks = Bool(False, help="drop an exercise although work has been handed in, with its marks").tag(config=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        directory = self.parent.coursedir
        self.course_name, self.root = directory.assignment_id, Path(directory.root)
        self.text: ReleaseText | None = None
        self.course = self._load()
        if self.course is not None and self.course_name in self.course.assignments:
            self.text = self._prepare(self.course)
            self._leave_out(self.text.left_out)
        self._files_are_written = False

    def from_notebook_node(
        self, nb: Notebook, resources: Resources | None = None, **kwargs: Any
    ) -> tuple[Notebook, Resources]:
        if self.text is not None and resources is not None:
            nb = self.text.notebooks[resources["nbgrader"]["notebook"]]
            self._write_files(self.text)
        output: tuple[Notebook, Resources] = super().from_notebook_node(nb, resources, **kwargs)
        if self.course is not None and self.text is not None and self._makes_release:
            self._enter_dates(self.course)
        return output

    @property
    def _makes_release(self) -> bool:
        return isinstance(self.parent, GenerateAssignment)

    def _load(self) -> Course | None:
        """The course's configuration; None in a course that has none."""
        if not (self.root / "grader_config.py").is_file():
            return None
        try:
            return load_course(self.root)
        except ConfigError as error:
            raise self._refused([str(error)]) from error

    def _prepare(self, course: Course) -> ReleaseText:
        text = release_text(course, self.course_name, self._source)
        if text.blocking:
            raise self._refused([str(remark) for remark in text.blocking])
        for remark in text.remarks:
            self.log.warning("%s", remark)
        return text

    @property
    def _source(self) -> Path:
        return self.root / str(self.parent._format_source(self.course_name, "."))

    def _refused(self, problems: list[str]) -> NbGraderException:
        for problem in problems:
            self.log.error("Nothing was generated: %s", problem)
        return NbGraderException("; ".join(problems))

    def _leave_out(self, names: list[str]) -> None:
        """Take notebooks from those that nbgrader converts, and from the gradebook."""
        for name in names:
            self.log.warning("%s.ipynb is left out: grader_config.py does not name it", name)
        for place, notebooks in self.parent.assignments.items():
            self.parent.assignments[place] = [path for path in notebooks if Path(path).stem not in names]
        if not names or not self._makes_release or self.parent.no_database:
            return
        with Gradebook(self.parent.coursedir.db_url, self.parent.coursedir.course_id) as gradebook:
            try:
                assignment = gradebook.find_assignment(self.course_name)
            except MissingEntry:
                return
            known = [one.name for one in assignment.notebooks if one.name in names]
            if known and assignment.submissions and not self.drop_marks:
                raise self._refused(
                    [
                        f"{', '.join(known)}: {len(assignment.submissions)} submissions have marks for it, which are "
                        "dropped with it. Keep a copy of gradebook.db, and add --ReleaseExporter.drop_marks=True"
                    ]
                )
            for name in known:
                gradebook.remove_notebook(name, self.course_name)

    def _write_files(self, text: ReleaseText) -> None:
        """The course's other files, which nbgrader has copied by now, with their fields filled."""
        if self._files_are_written:
            return
        self._files_are_written = True
        folder = self.root / self.parent._format_dest(self.course_name, ".")
        for name, content in text.files.items():
            path = folder / name
            if path.is_file():  # nbgrader's `ignore` may say otherwise
                path.write_text(content, encoding="utf-8", newline="\n")

    def _enter_dates(self, course: Course) -> None:
        due, db_url = course.assignment(self.course_name).due_at, self.parent.coursedir.db_url
        if self.parent.no_database:
            return
        try:
            upkeep.enter_dates(db_url, self.root, self.course_name, due)
        except (ExtensionError, GradebookError) as error:
            raise self._refused([str(error)]) from error
