"""Run nbgrader's `generate_feedback` in a course, and write beside its pages what they say in other forms."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.converters import GenerateFeedback
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import temp_attrs

from autograder.core.errors import SetupError
from autograder.core.files import write_atomically
from autograder.course.folder import NbCourse, logged
from autograder.review.feedback.content import StudentFeedback
from autograder.review.feedback.exporter import FeedbackExporter

Form = Callable[[StudentFeedback], str]
WIRING_REMEDY = "take over the settings of `c.GenerateFeedback` from the autograder's own nbgrader_config.py"


@dataclass(frozen=True)
class Generated:
    """Folders with feedback, by student; whose feedback could not be made; nbgrader's own words are in `log`."""

    folders: Mapping[str, Path]
    failed: Sequence[str]
    log: Path


def graded_students(course: NbCourse, assignment: str) -> list[str]:
    """Whose submissions have been graded, in order of their names."""
    pattern = re.compile(course.folder("autograded", "(?P<student>.*)", assignment, escape=True), re.DOTALL)
    paths = glob.glob(course.folder("autograded", "*", assignment))
    return sorted(match["student"] for path in paths if (match := pattern.fullmatch(path)) and Path(path).is_dir())


def generate_feedback(
    course: NbCourse, assignment: str, students: Sequence[str], forms: Mapping[str, Form]
) -> Generated:
    """Make the feedback of some students anew, as `nbgrader generate_feedback --force` does.

    `forms` are further files by name. They get the permissions of nbgrader's pages. Raises SetupError where
    nbgrader_config.py has other pages made than this engine's, which would show what is not to be shown.
    """
    folders = {}
    everybody = list(students) == graded_students(course, assignment)
    with logged(course):
        for wanted in ["*"] if everybody else students:
            converter = _converter(course)
            for student, told in _run(converter, assignment, wanted).items():
                folder = Path(course.folder("feedback", student, assignment))
                if folder.is_dir():  # nbgrader takes it away where a page could not be made
                    texts = {name: form(told) for name, form in forms.items()}
                    _write(folder, texts, int(str(converter.permissions), 8))
                    folders[student] = folder
    return Generated(folders, [student for student in students if student not in folders], course.log_path)


def _write(folder: Path, texts: Mapping[str, str], permissions: int) -> None:
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
        (folder / name).chmod(permissions)


def _converter(course: NbCourse) -> Any:
    converter = GenerateFeedback(coursedir=course.app.coursedir, parent=course.app)
    if not issubclass(converter.exporter_class, FeedbackExporter):
        raise SetupError(f"nbgrader_config.py does not wire in {FeedbackExporter.__name__}: {WIRING_REMEDY}")
    converter.force = True
    return converter


def _run(converter: Any, assignment: str, wanted: str) -> dict[str, StudentFeedback]:
    """What the pages say, by student."""
    with temp_attrs(converter.coursedir, assignment_id=assignment, student_id=wanted), suppress(NbGraderException):
        converter.start()  # nbgrader logs what goes wrong
    exporter: FeedbackExporter | None = getattr(converter, "exporter", None)
    return exporter.told if exporter else {}
