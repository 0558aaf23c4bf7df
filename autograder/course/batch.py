"""Grade the submissions of an assignment one by one through nbgrader, so that no failure stops the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.utils import temp_attrs
from sqlalchemy.exc import SQLAlchemyError

from autograder.core.config_values import ConfigError
from autograder.core.errors import SetupError
from autograder.core.files import remove_parts
from autograder.core.grade_report import GradeReport, Status
from autograder.core.machine_faults import disk_problem, reason_of
from autograder.core.notes import Note
from autograder.core.rows import Marks
from autograder.core.scratch import remove_abandoned, scratch_folder
from autograder.course import upkeep
from autograder.course.extensions import ExtensionError
from autograder.course.folder import NbCourse, logged
from autograder.course.gradebook import GradebookError, check_gradebook, read_marks
from autograder.course.groups import GroupError, in_order
from autograder.course.lock import CourseBusy, lock_course
from autograder.course.manual_marks import decided
from autograder.course.mark_changes import Regrade, changes_of
from autograder.course.ordinary import with_tests
from autograder.course.recording import record_fault, settle, standing_report
from autograder.course.report_store import load_report, report_path
from autograder.course.safe_exporter import WIRING_REMEDY, missing_wiring
from autograder.judging.datasets import DataError
from autograder.pipeline.grade import look
from autograder.pipeline.grader import Grader, open_grader

MOST_PROBLEM = 300
OF_THE_COURSE = (ConfigError, DataError, ExtensionError, GradebookError, GroupError, SetupError, SQLAlchemyError)
UNFIT_NAME = re.compile(r"[*?\[\]\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class BatchState(str, Enum):
    """What became of a submission."""

    GRADED = "graded"
    UNCHANGED = "unchanged"  # graded before, and nothing that decides its marks has changed since
    EMPTY = "nothing to grade"  # no notebook of the assignment was handed in, nor anything in place of one
    FAULT = "not graded"  # through the grader's own fault: no score is recorded


@dataclass(frozen=True)
class SubmissionOutcome:
    """One submission's end. `problem` says why nothing was graded, `remarks` what the instructor should know, `change`
    which marks changed."""

    student: str
    state: BatchState
    report: GradeReport | None = None
    problem: str = ""
    remarks: tuple[str, ...] = ()
    change: Regrade | None = None


@dataclass(frozen=True)
class Batch:
    """What became of all submissions; nbgrader's own words are in the file `log`.

    `left` are the students who were not come to, because a person stopped it with Ctrl-C; nothing of theirs changed.
    """

    outcomes: tuple[SubmissionOutcome, ...]
    log: Path
    remarks: tuple[str, ...] = ()  # on groups and late penalties
    left: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[SubmissionOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.state is BatchState.FAULT)


def check_wiring(course: NbCourse) -> None:
    """Prove that nbgrader will grade with this engine: stock autograding runs student code unprotected.

    Raises SetupError.
    """
    missing = missing_wiring(Autograde(coursedir=course.app.coursedir, parent=course.app))
    if missing:
        raise SetupError(f"nbgrader_config.py does not wire in {', '.join(missing)}: {WIRING_REMEDY}")


def open_course_grader(
    course: NbCourse, name: str, isolation: str = "", device: str = "", older_marks: str = ""
) -> Grader:
    """The grader that nbgrader's preprocessors will use too, with everything checked that grading needs.

    Raises ConfigError, SetupError, DataError or GradebookError, each with its remedy.
    """
    release = Path(course.folder("release", ".", name))
    root = Path(course.app.coursedir.root)
    chosen = {"isolation": isolation, "device": device, "older_marks": older_marks}
    grader = open_grader(root, name, release=release, **chosen)
    check_wiring(course)
    upkeep.check_policy(course.app)
    check_gradebook(course.db_url, name, grader.assignment)
    return with_tests(grader, course.db_url, Autograde(coursedir=course.app.coursedir, parent=course.app))


def grade_batch(
    course: NbCourse,
    grader: Grader,
    submissions: dict[str, Path],
    *,
    force: bool = False,
    on_start: Callable[[str], None] = lambda student: None,
    on_end: Callable[[SubmissionOutcome], None] = lambda outcome: None,
) -> Batch:
    """Grade submissions one after another. Only what has changed is graded again, unless `force` says so.

    Whether something changed is decided by content: the files, the engine, the graders, the configuration, the data
    set, and the scores in the gradebook. Ctrl-C ends it: each submission is recorded whole
    or not at all.
    """
    outcomes: list[SubmissionOutcome] = []
    with _alone(course), logged(course) as errors:
        upkeep.enter_dates(course.db_url, course.root, grader.assignment_name, grader.assignment.due_at)
        run = _BatchRun(course, grader, read_marks(course.db_url, grader.assignment_name), errors, force)
        with suppress(KeyboardInterrupt):
            for student, folder in in_order(course.root, grader.assignment_name, submissions).items():
                on_start(student)
                errors.clear()
                outcomes.append(_grade_one_or_say_why(run, student, folder))
                on_end(outcomes[-1])
        remarks = upkeep.bring_up_to_date(course, grader.assignment_name)
    ended = {outcome.student for outcome in outcomes}
    left = tuple(student for student in submissions if student not in ended)
    return Batch(tuple(outcomes), course.log_path, tuple(remarks), left)


def _grade_one_or_say_why(run: _BatchRun, student: str, folder: Path) -> SubmissionOutcome:
    try:
        return _grade_one(run, student, folder)
    except OF_THE_COURSE:
        raise  # whosever submission it came up with
    except Exception as error:
        return _not_graded(run.course, run.grader, student, error)


def _not_graded(course: NbCourse, grader: Grader, student: str, error: Exception) -> SubmissionOutcome:
    """What came up with one submission, in its files or in our own code, costs nobody else anything."""
    problem = (disk_problem(error) if isinstance(error, OSError) else "") or reason_of(error)
    course.app.log.error("%s was not graded: %s", student, problem, exc_info=error)
    try:
        report = _record_fault(course, grader, student, problem, None)
    except (OSError, ValueError):  # not even that can be recorded: the disk is full, or no file can have this name
        return SubmissionOutcome(student, BatchState.FAULT, problem=problem)
    return SubmissionOutcome(student, BatchState.FAULT, report, problem)


@contextmanager
def _alone(course: NbCourse) -> Iterator[None]:
    """Grade with no other grader beside, and without what killed ones have left. Raises SetupError."""
    try:
        lock = lock_course(course.root)
    except (CourseBusy, OSError) as error:
        raise SetupError(str(error)) from error
    with lock:
        remove_abandoned()
        remove_parts(course.root / ".autograder")
        yield


@dataclass(frozen=True)
class _BatchRun:
    """What all submissions of a batch share: the course, its grader, the marks that the gradebook held when it began,
    nbgrader's errors about the present submission, and whether everything is graded again."""

    course: NbCourse
    grader: Grader
    marks: Marks
    errors: list[str]
    force: bool


def _grade_one(run: _BatchRun, student: str, folder: Path) -> SubmissionOutcome:
    course, grader, name = run.course, run.grader, run.grader.assignment_name
    problem, remarks = _look_over(grader, student, folder)
    if problem:
        return SubmissionOutcome(student, BatchState.EMPTY, problem=problem, remarks=remarks)
    settle(grader.root, course.db_url, name, student)
    autograded = Path(course.folder("autograded", student, name))
    kept = None if run.force else standing_report(grader, student, folder, autograded, run.marks.get(student, ()))
    if kept is not None:
        return SubmissionOutcome(student, BatchState.UNCHANGED, kept, remarks=remarks)
    place = report_path(grader.root, name, student)
    before, last = _stamp(place), load_report(grader.root, name, student)
    changes = changes_of(grader.root, name, student)
    failed = not _autograde(course, grader, student)
    report = load_report(grader.root, name, student) if _stamp(place) != before else None
    if not failed and report is not None:
        latest = changes_of(grader.root, name, student)[-1:]
        change = latest[0] if latest and latest != changes[-1:] else None
        remarks = (*remarks, *decided(report, last))
        return SubmissionOutcome(student, BatchState.GRADED, report, remarks=remarks, change=change)
    if report is None or not report.is_internal:
        report = _record_fault(course, grader, student, _explain(run.errors), last)
    return SubmissionOutcome(student, BatchState.FAULT, report, _fault_in(report), remarks)


def _fault_in(report: GradeReport) -> str:
    """The first of the grader's own faults in one line, and how many more there are; the page has them all."""
    faults = list(dict.fromkeys(c.message for c in report.checks if c.status is Status.INTERNAL))
    line = " ".join(faults[0].split())
    short = line if len(line) <= MOST_PROBLEM else f"{line[:MOST_PROBLEM]} …"
    return short + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def _look_over(grader: Grader, student: str, folder: Path) -> tuple[str, tuple[str, ...]]:
    """Why there is nothing to grade in a folder (or nothing), and remarks on how its notebooks were found."""
    if UNFIT_NAME.search(student):
        return "nbgrader cannot handle *, ?, [, ] or control characters in a student's name: rename the folder", ()
    reading = look(grader, folder)
    graded = {exercise.notebook for exercise in grader.assignment.exercises}
    problem = "" if graded & reading.handed_in else "no notebook of the assignment was handed in"
    return problem, tuple(str(remark) for remark in reading.finding.remarks)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever a file is replaced."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_ino


class _AutogradeAnyFolder(Autograde):  # type: ignore[misc]
    """nbgrader's converter, for submissions whose notebooks all lie in a folder of their own, too."""

    def init_notebooks(self) -> None:
        """Raises nothing where nbgrader sees no notebook: SafeExporter looks further."""
        with suppress(NbGraderException):
            super().init_notebooks()

    @property
    def _input_directory(self) -> str:
        return self._submitted if self._sanitizing else str(self.coursedir.autograded_directory)

    def start(self) -> None:
        self._submitted = str(self.coursedir.submitted_directory)
        super().start()

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """What nbgrader prepares, but for the 0 points that it gives at once for notebooks that it sees no file of:
        they come with all other marks. A notebook may be there under another name, and until the new marks stand, the
        old ones do. nbgrader looks into a folder in which every notebook is there.
        """
        with scratch_folder() as stand_in, temp_attrs(self.coursedir, submitted_directory=str(stand_in)):
            folder = Path(self.coursedir.format_path(str(stand_in), student_id, assignment_id))
            folder.mkdir(parents=True)
            release = self.coursedir.format_path(self.coursedir.release_directory, ".", assignment_id)
            for path in Path(release).glob("*.ipynb"):
                (folder / path.name).touch()
            super().init_assignment(assignment_id, student_id)


def _autograde(course: NbCourse, grader: Grader, student: str) -> bool:
    """Whether `nbgrader autograde ASSIGNMENT --student STUDENT --force` worked; what went wrong is in the log."""
    assignment, chosen = grader.assignment_name, grader.course
    config = deepcopy(course.app.config)
    config.SafeExporter.update(isolation=chosen.isolation, device=chosen.device, older_marks=chosen.older_marks)
    converter = _AutogradeAnyFolder(coursedir=course.app.coursedir, parent=course.app, config=config)
    converter.force = True
    converter.create_student = True
    with temp_attrs(course.app.coursedir, assignment_id=assignment, student_id=student):
        try:
            converter.start()
        except NbGraderException:
            return False  # nbgrader has logged what it was about
        except Exception:  # a batch goes on whatever one submission does; the fault is named at the end
            course.app.log.exception("Grading %s ended in an error that nbgrader does not handle", student)
            return False
    return True


def _explain(errors: Sequence[str]) -> str:
    """The one line of nbgrader's errors that says most: the end of the last traceback, else the last error."""
    if any("database is locked" in error for error in errors):
        return "the gradebook was locked by another program for too long: close it and grade again"
    traces = [error for error in errors if "Traceback (most recent call last)" in error]
    lines = (traces or list(errors) or ["nbgrader failed without a word"])[-1].strip().splitlines()
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(: |$)", line)), lines[-1])[:MOST_PROBLEM]


def _record_fault(
    course: NbCourse, grader: Grader, student: str, problem: str, last: GradeReport | None
) -> GradeReport:
    """Leave no score of an earlier run standing, in the gradebook or in the reports."""
    try:
        return record_fault(grader, course.db_url, student, problem, last)
    except SQLAlchemyError as error:
        course.app.log.error("older scores of %s could not be taken back: %s", student, error)
        report = load_report(grader.root, grader.assignment_name, student)
        assert report is not None  # it was saved before
        return replace(
            report, notes=[*report.notes, Note("older scores may still stand in the gradebook: grade again")]
        )
