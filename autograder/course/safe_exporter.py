"""How `nbgrader autograde` gets to a submission: what must not be copied is set aside, and notebooks are repaired.

The steps that follow are in nbgrader_steps.py.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import unicodedata
import weakref
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import rmtree
from sqlalchemy.exc import SQLAlchemyError
from traitlets import Unicode
from traitlets.config import Application
from traitlets.utils.importstring import import_item

from autograder.core.config_values import ConfigError
from autograder.core.errors import SetupError
from autograder.core.files import remove_parts
from autograder.core.grade_report import GradeReport
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.notes import Note
from autograder.core.remarks import few_notes, in_words
from autograder.core.rows import Marks
from autograder.core.scratch import remove_abandoned
from autograder.core.text import clean_name
from autograder.course import recording, upkeep
from autograder.course.extensions import ExtensionError
from autograder.course.gradebook import GradebookError, database_path, read_marks
from autograder.course.lock import CourseBusy, CourseLock, lock_course
from autograder.course.markup import SafeMarkup, safe_markdown
from autograder.course.nbgrader_steps import GradeInJail, RecordSubmission, WriteScores, is_last, quarantine_place
from autograder.course.ordinary import with_full_texts, with_tests
from autograder.course.published import fill_autograded, keep_files_out
from autograder.handin.submission import (
    Surroundings,
    UnreadableNotebook,
    load_notebook,
    quarantine,
    read_released,
    repair,
)
from autograder.judging.datasets import DataError
from autograder.pipeline import grade
from autograder.pipeline.grader import Grader, open_grader
from autograder.pipeline.plan import checkpoint_names

Notebook = Any
Resources = dict[str, Any]

SURROGATE = re.compile("[\ud800-\udfff]")  # stands for a byte that is no text
WIRING_REMEDY = (
    "take over the settings of `c.Autograde` and `c.HTMLExporter` from the autograder's own nbgrader_config.py (a "
    "syntax error in the file has the same effect)"
)
PLUGIN = "autograder.nbgrader_plugin"  # the module under which a course's configuration knows what is here


class SafeExporter(NotebookExporter):  # type: ignore[misc]
    """Reads submitted notebooks with limits and repairs them before any preprocessor sees them.

    Its construction is the one moment after nbgrader has found the submissions and before it copies anything: links
    are set aside here, nbgrader is told to copy no file of a student's, and what makes grading impossible (no data set,
    no jail, a wrong configuration) stops the command with exit status 1 before the first submission is touched.
    """

    isolation = Unicode(help="the jail to grade in, where it is not the one of grader_config.py").tag(config=True)
    device = Unicode(help="the device that models run on, where it is not the one of grader_config.py").tag(config=True)
    older_marks = Unicode(help="what becomes of marks for earlier answers, likewise").tag(config=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.grader = _open(self)
        keep_files_out(self.parent)
        self.graded: dict[str, GradeReport] = {}  # by student, for the notebooks after the first
        self._lock, self.marks = _begin(self)  # marks as they were before nbgrader touched any
        self.converted: dict[str, recording.ScoredNotebook] = {}  # by notebook, of the present student
        self._texts: dict[str, str] = {}
        self._last = ""  # the last student whose submission nbgrader converts
        self._left_out: list[str] = []  # submissions that cannot be taken, each with the reason
        around = self._surroundings()
        for folder in submitted_folders(self.parent):
            self._prepare(folder, around)
        if self._left_out:
            self._fail_at_the_end()

    def _prepare(self, folder: str, around: Surroundings) -> None:
        """Make a submission safe, and see whether it has to be graded. Whatever is wrong with its files leaves out this
        one submission: nothing of it is copied, it is recorded as not graded, and the others are graded.

        Raises NbGraderException where the machine or the gradebook gives out.
        """
        try:
            student = self._set_aside(folder, around)
            self._take_up(folder)
            if folder in self.parent.assignments:
                self._look_back(folder, student)
                self._last = student
        except Exception as error:
            if stops_a_run(error) or isinstance(error, (GradebookError, SQLAlchemyError)):
                raise _nothing_graded(self, error) from error
            self._leave_out(folder, f"the submission cannot be taken as it is: {reason_of(error)}")

    def _leave_out(self, folder: str, problem: str) -> None:
        course, grader = self.parent.coursedir, self.grader
        self.parent.assignments.pop(folder, None)
        self._left_out.append(clean_name(folder))
        self.log.error("%s: %s", clean_name(folder), problem)
        if _is_unfit(folder):
            return  # no report can have this name
        student = student_of_folder(self.parent, folder)
        if student in course.student_id_exclude.split(","):
            return
        autograded = Path(course.format_path(course.autograded_directory, student, grader.assignment_name))
        if autograded.is_dir():
            rmtree(autograded)
        recording.record_fault(grader, course.db_url, student, problem)

    def _fail_at_the_end(self) -> None:
        """nbgrader knows of no submission that was left out, and would end as if all had been graded."""
        convert = self.parent.convert_notebooks

        def convert_then_fail() -> None:
            convert()
            if not isinstance(self.parent.parent, Application):
                self._lock.release()
            raise NbGraderException(f"not graded: {in_words(self._left_out)}")

        self.parent.convert_notebooks = convert_then_fail

    def _surroundings(self) -> Surroundings:
        """What a submission must not collide with. Weights beside the source notebooks are no part of the course.

        Whoever tried those notebooks left some there: nbgrader would lay them over the student's own, and hand them out
        with the feedback.
        """
        grader, course = self.grader, self.parent.coursedir
        weights = checkpoint_names(grader.assignment)
        kept = self.parent.exclude_overwriting
        self.parent.exclude_overwriting = {
            **kept,
            grader.assignment_name: [*kept.get(grader.assignment_name, ()), *weights],
        }
        own = grade.course_files(grader).sizes()
        staff = [grader.root / ".autograder" / name for name in ("secret", "cache", "reports")]
        folders = [grader.overlay.parent, grader.root / course.solution_directory, Path(grader.assignment.graders)]
        gradebook = database_path(course.db_url, grader.root)
        private = [*staff, *folders, *([gradebook] if gradebook else [])]
        return Surroundings(own, [path.stem for path in grader.release.glob("*.ipynb")], private, sum(own.values()))

    def _set_aside(self, folder: str, around: Surroundings) -> str:
        """Move away what nbgrader must not copy; returns the student. Raises OSError where that cannot be done."""
        if _is_unfit(folder):
            raise OSError(errno.EINVAL, "control characters in its name: rename it", folder)
        student = student_of_folder(self.parent, folder)
        limits, place = self.grader.course.limits, quarantine_place(self.grader, student)
        for note in quarantine(Path(folder), place, limits, around):
            self.log.warning("%s: %s", student, note)
        if folder in self.parent.assignments:  # nbgrader would name what it listed, were it gone or not
            listed = self.parent.assignments[folder]
            known = around.notebooks
            self.parent.assignments[folder] = [p for p in listed if Path(p).stem in known or os.path.exists(p)]
        return student

    def _look_back(self, folder: str, student: str) -> None:
        """Settle what a kill cut off, and let nbgrader grade again what does not stand.

        nbgrader skips a submission of which there is an autograded folder, be it half of one, and goes by time stamps,
        which a student's clock makes.
        """
        course, name = self.parent.coursedir, self.grader.assignment_name
        recording.settle(self.grader.root, course.db_url, name, student)
        autograded = Path(course.format_path(course.autograded_directory, student, name))
        excluded = student in course.student_id_exclude.split(",")
        if self.parent.force or excluded or course.notebook_id != "*" or not autograded.is_dir():
            return
        marks = self.marks.get(student, ())
        if recording.standing_report(self.grader, student, Path(folder), autograded, marks) is None:
            self.log.info("%s has to be graded again: files, engine or marks are not as they were recorded", student)
            rmtree(autograded)

    def _take_up(self, folder: str) -> None:
        """Let nbgrader convert notebooks that were handed in under other names, too: under the names of the release.
        And those in place of which another file was handed in, so that the student reads what to do.

        nbgrader has listed the files by name and only looks at that list. No file of a submission is touched.
        """
        # A name of bytes that are no text, as old zip programs leave them, cannot be looked up in the gradebook.
        listed = [path for path in self.parent.assignments.get(folder, ()) if not SURROGATE.search(path)]
        if listed:
            self.parent.assignments[folder] = listed
        released = {path.stem for path in self.grader.release.glob("*.ipynb")}
        if released <= {Path(path).stem for path in listed}:
            return
        chosen = [
            n for n in grade.look(self.grader, Path(folder)).handed_in if fnmatch(n, self.parent.coursedir.notebook_id)
        ]
        if chosen:
            self.parent.assignments[folder] = sorted({*listed, *(os.path.join(folder, f"{n}.ipynb") for n in chosen)})

    def from_filename(self, filename: str, resources: Resources | None = None, **kw: Any) -> tuple[str, Resources]:
        """The notebook that `filename` stands for; the untouched release in its place where it cannot be read.

        It is asked twice: for the submitted notebook, whose file may have another name, and for the sanitized one.
        """
        path = Path(filename)
        resources = resources if resources is not None else {}
        resources["metadata"] = {"name": path.stem, "path": str(path.parent)}
        template = self.grader.release / path.name
        if self.parent._sanitizing and filename == self.parent.notebooks[0]:
            self._fill(path.parent, resources["nbgrader"]["student"])
        try:
            data, notes = self._read(path) if self.parent._sanitizing else self._read_ours(path, template)
        except UnreadableNotebook as error:
            self.log.warning("%s: %s; nothing in it can be graded", resources["nbgrader"]["student"], error)
            released = read_released(template)
            data, notes = repair(released, released)
        for note in notes if self.parent._sanitizing else []:
            self.log.warning("%s, %s: %s", resources["nbgrader"]["student"], path.stem, note.text)
        student, ended = resources["nbgrader"]["student"], True
        try:
            converted: tuple[str, Resources] = self.from_notebook_node(nbformat.from_dict(data), resources, **kw)
            ended = not self.parent._sanitizing and self._end_of(path.stem, converted[0], student)
        except KeyboardInterrupt:
            self.log.error(INTERRUPTED, student, self.grader.assignment_name)
            raise
        finally:
            if ended:
                self._texts, self.converted = {}, {}
                self._release_after(student)
        return converted

    def _read(self, path: Path) -> tuple[Notebook, list[Note]]:
        """What was handed in as a notebook of the release, repaired, with notes. Raises UnreadableNotebook."""
        reading, name = grade.look(self.grader, path.parent), path.stem
        if name not in reading.notebooks:
            raise UnreadableNotebook(reading.unreadable.get(name, "it is no notebook of the assignment"))
        return reading.notebooks[name], [
            *few_notes(map(Note, reading.finding.notes.get(name, ()))),
            *reading.repairs[name],
        ]

    def _read_ours(self, path: Path, template: Path) -> tuple[Notebook, list[Note]]:
        """What nbgrader wrote of a repaired notebook; an ordinary assignment's with the tests that stand in it. Raises
        UnreadableNotebook."""
        data, notes = load_notebook(path, template)
        tests = self.grader.tests
        return with_full_texts(data, tests.texts.get(path.stem, {})) if tests else data, notes

    def _fill(self, submitted: Path, student: str) -> None:
        """Before a submission's first notebook: bring its graded folder, in which nbgrader has laid the course's own
        files by now, to what formgrader may serve."""
        grader, course = self.grader, self.parent.coursedir
        folder = Path(course.format_path(course.autograded_directory, student, grader.assignment_name))
        released = {path.stem for path in grader.release.glob("*.ipynb")}
        own = grade.course_files(grader).paths()
        fill_autograded(folder, submitted, own, grade.weights_in(grader, submitted), released)

    def _end_of(self, notebook: str, text: str, student: str) -> bool:
        """After a notebook's last step, when nbgrader only writes its text: whether it was the submission's last."""
        self._texts[notebook] = text
        if is_last(self.parent, notebook):
            recording.remember_shown(self.grader.root, self.grader.assignment_name, student, self._texts)
            return True
        return False

    def _release_after(self, student: str) -> None:
        """Release the course lock after the last submission. A command keeps it until its process ends, after
        nbgrader's last step; formgrader's process lives on, and must not lock everybody out."""
        is_command = isinstance(self.parent.parent, Application)
        if not is_command and student == self._last:
            self._lock.release()


INTERRUPTED = (
    "Interrupted while grading %s, of whom nothing new is recorded; those before are. The same command goes on, and "
    "`autograder report %s` writes the report of what there is."
)


def submitted_folders(converter: Any) -> list[str]:
    """The folders that nbgrader was asked to grade, those included in which it saw no notebook."""
    course = converter.coursedir
    pattern = course.format_path(course.submitted_directory, course.student_id, course.assignment_id)
    return sorted(folder for folder in glob.glob(pattern) if os.path.isdir(folder))


def _is_unfit(folder: str) -> bool:
    """Whether nbgrader would not find the student in a folder's name."""
    return any(unicodedata.category(c) in ("Cc", "Cs") for c in folder)


def student_of_folder(converter: Any, folder: str) -> str:
    """The student whose submitted folder this is."""
    resources = converter.init_single_notebook_resources(os.path.join(folder, "any.ipynb"))
    return str(resources["nbgrader"]["student"])


def missing_wiring(converter: Any) -> list[str]:
    """The parts of this engine that a course's `nbgrader_config.py` has to name and does not."""
    needed = (GradeInJail, SafeMarkup, safe_markdown, WriteScores, RecordSubmission, SafeExporter)
    filters = dict(converter.config.HTMLExporter.get("filters") or {}).values()
    wired = [_resolve(found) for found in (*converter.autograde_preprocessors, *filters, converter.exporter_class)]
    return [f"{PLUGIN}.{part.__name__}" for part in needed if part not in wired]


def _resolve(found: object) -> object:
    """What a setting names, by whatever path; the setting itself where it names nothing."""
    if isinstance(found, str):
        with suppress(ImportError):
            return import_item(found)
    return found


def _open(exporter: Any) -> Grader:
    """The grader of the course that a converter works on. Raises NbGraderException: nbgrader then exits with 1."""
    course = exporter.parent.coursedir
    name = course.assignment_id
    release = Path(course.format_path(course.release_directory, ".", name))
    try:
        if missing := missing_wiring(exporter.parent):
            raise SetupError(f"nbgrader_config.py does not wire in {', '.join(missing)}: {WIRING_REMEDY}")
        chosen = {"isolation": exporter.isolation, "device": exporter.device, "older_marks": exporter.older_marks}
        grader = open_grader(Path(course.root), name, release=release, **chosen)
        return with_tests(grader, course.db_url, exporter.parent)
    except (ConfigError, SetupError, DataError, GradebookError) as error:
        raise _nothing_graded(exporter, error) from error


def _nothing_graded(exporter: Any, error: Exception) -> NbGraderException:
    exporter.log.error("Nothing was graded: %s", error)
    return NbGraderException(str(error))


def _begin(exporter: Any) -> tuple[CourseLock, Marks]:
    """Take the course lock, tidy up after graders that were killed, and read the marks there are."""
    root = exporter.grader.root
    try:
        lock = lock_course(root)
        weakref.finalize(exporter, lock.release)  # at the end of the process at the latest
        remove_abandoned()
        remove_parts(root / ".autograder")
        db_url, grader = exporter.parent.coursedir.db_url, exporter.grader
        upkeep.check_policy(exporter.parent)
        upkeep.enter_dates(db_url, root, grader.assignment_name, grader.assignment.due_at)
        return lock, read_marks(db_url, grader.assignment_name)
    except (CourseBusy, GradebookError, ExtensionError, SetupError, OSError) as error:
        raise _nothing_graded(exporter, error) from error
