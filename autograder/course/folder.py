"""A course folder as nbgrader sees it, and what nbgrader logs while it works there."""

from __future__ import annotations

import glob
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nbgrader.apps.baseapp import NbGrader
from tornado.log import app_log

from autograder.core.errors import SetupError
from autograder.course.gradebook import absolute_url


@dataclass(frozen=True)
class NbCourse:
    """A course folder as nbgrader sees it: its application with `nbgrader_config.py` read, gradebook URL absolute."""

    app: Any
    root: Path

    @property
    def db_url(self) -> str:
        return str(self.app.coursedir.db_url)

    @property
    def log_path(self) -> Path:
        return self.root / ".autograder" / "logs" / "nbgrader.log"

    def folder(self, step: str, student: str, assignment: str, *, escape: bool = False) -> str:
        """The path of a step ("submitted", "autograded", "release"), as `nbgrader_config.py` lays it out."""
        directory = getattr(self.app.coursedir, f"{step}_directory")
        return str(self.app.coursedir.format_path(directory, student, assignment, escape=escape))

    def submissions(self, assignment: str) -> dict[str, Path]:
        """The folders that were handed in, by student, in order of their names."""
        pattern = re.compile(self.folder("submitted", "(?P<student>.*)", assignment, escape=True), re.DOTALL)
        paths = [Path(path) for path in sorted(glob.glob(self.folder("submitted", "*", assignment)))]
        found = {match["student"]: path for path in paths if (match := pattern.fullmatch(str(path)))}
        return {student: path for student, path in found.items() if path.is_dir()}


class _CourseApp(NbGrader):  # type: ignore[misc]
    """nbgrader's application for one course folder; a configuration in the working directory is not the course's."""

    name = "autograder"
    load_cwd_config = False

    def init_syspath(self) -> None:
        """Leave Python's path alone: the working directory may be a submission, and its modules a student's."""


def open_course(root: Path) -> NbCourse:
    """Read `nbgrader_config.py`. Raises SetupError."""
    root = root.resolve()
    if not (root / "nbgrader_config.py").is_file():
        raise SetupError(f"no nbgrader_config.py in {root}: run from the course's folder, or name it with --course")
    app = _CourseApp()
    app.log.setLevel(logging.CRITICAL)
    app.log.propagate = False
    app.initialize([], root=str(root))
    app.coursedir.db_url = absolute_url(app.coursedir.db_url, root)
    return NbCourse(app, root)


class _LogFile(logging.FileHandler):
    """A log file that is silent about a full disk: what matters is said on the screen, and in every outcome."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _Errors(logging.Handler):
    """Collects the messages of errors."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@contextmanager
def logged(course: NbCourse) -> Iterator[list[str]]:
    """Send what nbgrader and libraries have to say to the log file; yields the list that collects errors."""
    course.log_path.parent.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    to_file = _LogFile(course.log_path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers: list[logging.Handler] = [to_file, _Errors(errors)]
    log = course.app.log
    loggers = (log, app_log)  # nbgrader's gradebook speaks through tornado's
    kept = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = handlers, False
        logger.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # nbgrader warns about its own use of libraries: for the log, not the screen
        warnings.showwarning = partial(_log_warning, log)
        try:
            yield errors
        finally:
            for logger, own, level, propagates in kept:
                logger.handlers, logger.propagate = own, propagates
                logger.setLevel(level)
            to_file.close()


def _log_warning(
    log: logging.Logger, message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    log.warning("%s: %s", category.__name__, message)
