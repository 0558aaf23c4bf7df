"""What is graded, for how many points and under which limits: the frozen dataclasses of `grader_config.py`."""

from __future__ import annotations

import dataclasses
import re
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.core.config_values import (
    CONFIG_FILE,
    ConfigError,
    require,
    require_all,
    require_choice,
    require_number,
    require_points,
    require_probed,
    require_text,
    shown,
)
from autograder.core.declared_checks import declared_checks, points_of_checks
from autograder.core.ordinary import ordinary_names, released_points
from autograder.core.package import package_file
from autograder.core.probes import AnswerProbe, CallProbe, CheckpointProbe, Drawn, ModuleProbe, TransformProbe
from autograder.core.shares import TooFewPoints
from autograder.core.text import did_you_mean
from autograder.core.times import DueError, parse_due

GRADERS = package_file("graders")  # the hidden graders that come with the package
VISIBILITIES = ("always", "after the deadline", "title only", "never")
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Every limit is decided outside the jail and ends in a status, never in a hang.

    Seconds are wall-clock seconds. A cell over `cell_seconds` is interrupted and costs itself; one that ignores the
    interrupt is killed and its notebook is run once more without it. `notebook_seconds` and `submission_seconds` end
    the notebook and the jail. `cpu_seconds` is CPU time per process. `memory_mib` bounds the private memory of each
    process and, watched from outside, of the whole jail. `output_kib` is what one cell may print, `outputs` how many
    displays it may make, `evidence_mib` and `records` all that one notebook may send. `scratch_mib` is the size of
    the working folder, `tmp_mib` of `/tmp` and of `/dev/shm`, `scratch_files` the number of files in all three.
    `reading_seconds` (of CPU time) and `reading_mib` (of memory) are what reading and repairing the notebooks of one
    submission may take, outside the jail, where its bytes are parsed and none of its code runs.
    """

    cell_seconds: float = 60
    notebook_seconds: float = 180
    submission_seconds: float = 600
    probe_seconds: float = 60
    cpu_seconds: float = 600
    memory_mib: int = 6144
    processes: int = 128
    file_mib: int = 128
    output_kib: int = 256
    outputs: int = 200
    evidence_mib: int = 256
    records: int = 20_000
    scratch_mib: int = 256
    tmp_mib: int = 256
    scratch_files: int = 50_000
    reading_seconds: float = 30
    reading_mib: int = 1024
    grader_seconds: float = 1200

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            what, whole = f"Limits.{item.name}", not item.name.endswith("_seconds")
            require_number(what, getattr(self, item.name))
            require_number(what, getattr(self, item.name), whole=whole)
        require(
            self.cell_seconds <= self.notebook_seconds <= self.submission_seconds,
            "Limits must satisfy cell_seconds <= notebook_seconds <= submission_seconds, got "
            f"{self.cell_seconds}, {self.notebook_seconds}, {self.submission_seconds}",
        )


@dataclass(frozen=True)
class Exercise:
    """One notebook. `cells` maps the `grade_id` of each automatically graded cell to its points, `manual` that of each
    cell that a person marks; `grader` is the hidden pytest file; cells in `skip_cells` are not executed when grading (a
    training cell, say).

    `sections` are the headings in `Assignment.lesson` that explain what the checks (names of tests) ask for, "" for all
    others: the report links mistakes to them.
    """

    notebook: str
    cells: Mapping[str, float]
    grader: str
    answers: Sequence[AnswerProbe] = ()
    calls: Sequence[CallProbe] = ()
    modules: Sequence[ModuleProbe] = ()
    transforms: Sequence[TransformProbe] = ()
    checkpoint: CheckpointProbe | None = None
    skip_cells: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)
    manual: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_text("Exercise.notebook", self.notebook)
        what = f"Exercise({self.notebook!r})"
        require_points(f"{what}.cells", self.cells)
        require(bool(self.cells), f"{what}.cells is empty: nothing to grade")
        require_points(f"{what}.manual", self.manual)
        twice = sorted(set(self.cells) & set(self.manual))
        require(not twice, f"{what}: {twice} cannot be in cells and in manual")
        require_text(f"{what}.grader", self.grader)
        require_all(f"{what}.answers", self.answers, AnswerProbe)
        require_all(f"{what}.calls", self.calls, CallProbe)
        require_all(f"{what}.modules", self.modules, ModuleProbe)
        require_all(f"{what}.transforms", self.transforms, TransformProbe)
        require_all(f"{what}.skip_cells", self.skip_cells, str)
        require(isinstance(self.settings, Mapping), f"{what}.settings must be a dict, got {shown(self.settings)}")
        require(isinstance(self.sections, Mapping), f"{what}.sections must be a dict, got {shown(self.sections)}")
        for check, heading in self.sections.items():
            require(isinstance(check, str), f"{what}.sections: a check must be a text, got {shown(check)}")
            require_text(f"{what}.sections[{check!r}]", heading)
        if self.checkpoint is not None:
            given = isinstance(self.checkpoint, CheckpointProbe)
            require(given, f"{what}.checkpoint must be a CheckpointProbe, got {shown(self.checkpoint)}")
            require_probed("CheckpointProbe.module", self.checkpoint.module, [probe.name for probe in self.modules])
            require_probed(
                "CheckpointProbe.transform", self.checkpoint.transform, [probe.name for probe in self.transforms]
            )

    @property
    def points(self) -> float:
        """What the notebook is worth, answers that a person marks included."""
        return round(sum([*self.cells.values(), *self.manual.values()]), 1)


@dataclass(frozen=True)
class Assignment:
    """An assignment: its exercises, and where their hidden graders are: the package's own folder, or one that is
    named relative to the course's.

    `due` is a date and a time, "2026-12-04 23:59", in `time_zone` ("Europe/Vienna") unless it has an offset of its
    own; where it is empty, whatever nbgrader's gradebook says is the due date. `lesson` is the notebook that teaches
    what the exercises ask for.
    """

    exercises: Sequence[Exercise]
    graders: Path = GRADERS
    needs_test_set: bool = True
    due: str = ""
    time_zone: str = ""
    lesson: str = ""

    def __post_init__(self) -> None:
        require_all("Assignment.exercises", self.exercises, Exercise)
        known = isinstance(self.graders, (str, Path)) and str(self.graders).isprintable()
        require(known, f"Assignment.graders must be a folder, got {shown(self.graders)}")
        told = isinstance(self.needs_test_set, bool)
        require(told, f"Assignment.needs_test_set must be True or False, got {shown(self.needs_test_set)}")
        for what in ("due", "time_zone", "lesson"):
            value = getattr(self, what)
            require(isinstance(value, str), f"Assignment.{what} must be a text, got {shown(value)}")
        require(bool(self.due) or not self.time_zone, "Assignment.time_zone is that of due, which is missing")
        taught = bool(self.lesson) or not any(exercise.sections for exercise in self.exercises)
        require(taught, "Exercise.sections are headings of Assignment.lesson, which is missing")
        _ = self.due_at
        names = [exercise.notebook for exercise in self.exercises]
        require(len(set(names)) == len(names), f"Assignment has a notebook twice: {names}")

    @property
    def due_at(self) -> datetime | None:
        """When it is due, in UTC; None where the configuration does not say. Raises ConfigError."""
        try:
            return parse_due(self.due, self.time_zone) if self.due else None
        except DueError as error:
            raise ConfigError(f"Assignment: {error} ({CONFIG_FILE})") from error

    def exercise(self, notebook: str) -> Exercise | None:
        """The exercise of a notebook, None for one that is not graded."""
        return next((e for e in self.exercises if e.notebook == notebook), None)


@dataclass(frozen=True)
class Feedback:
    """What students see of the hidden checks in their feedback, which never holds a test's source or input.

    `checks` is how much: "always" shows title, points, result, message and hint; "after the deadline" the same once the
    student's own due date (extension included) has passed, and until then, or where there is no due date, as much as
    "title only": title, points and result; "never" shows the points of the cell alone. `by_check` says otherwise for
    single checks (names of tests) or cells (grade ids); a check's own word goes before its cell's. With `accuracy_cost`
    students see their model among the anonymous others of the class.
    """

    checks: str = "always"
    by_check: Mapping[str, str] = field(default_factory=dict)
    accuracy_cost: bool = False

    def __post_init__(self) -> None:
        require_choice("Feedback.checks", self.checks, list(VISIBILITIES))
        given = isinstance(self.by_check, Mapping)
        require(given, f"Feedback.by_check must be a dict of checks or cells, got {shown(self.by_check)}")
        for name, chosen in self.by_check.items():
            require_text("Feedback.by_check: a name", name)
            require_choice(f"Feedback.by_check[{name!r}]", chosen, list(VISIBILITIES))
        told = isinstance(self.accuracy_cost, bool)
        require(told, f"Feedback.accuracy_cost must be True or False, got {shown(self.accuracy_cost)}")

    def visibility(self, check: str, cell: str) -> str:
        """One of VISIBILITIES for a check. One that pytest runs with several parameters goes by its function's name."""
        names = (check, check.partition("[")[0], cell)
        return next((self.by_check[name] for name in names if name in self.by_check), self.checks)

    @property
    def waits_for_deadline(self) -> bool:
        """Whether anything depends on due dates."""
        return "after the deadline" in (self.checks, *self.by_check.values())


@dataclass(frozen=True)
class Course:
    """Everything `grader_config.py` says: `COURSE = Course(...)`.

    `data` is the test set that models are judged on; the built-in "offline" set is for demonstrations and tests, and
    is never used unless it stands here. `older_marks` is what is done when a submission is graded of which a cell was
    marked by hand, for another answer: "review" leaves the mark to a person, "keep" and "clear" decide at once.
    `feedback` is what students are shown. `formgrader_url` is where the report finds formgrader.
    """

    assignments: Mapping[str, Assignment]
    limits: Limits = Limits()
    device: str = "auto"
    isolation: str = "bubblewrap"
    data: str = "cifar10"
    older_marks: str = "review"
    feedback: Feedback = field(default_factory=Feedback)
    formgrader_url: str = "http://localhost:8888"

    def __post_init__(self) -> None:
        given = isinstance(self.assignments, Mapping)
        require(given, f"Course.assignments must be a dict, got {shown(self.assignments)}")
        for name, assignment in self.assignments.items():
            require_text("Course.assignments: a name", name)
            known = isinstance(assignment, Assignment)
            require(known, f"Course.assignments[{name!r}] must be an Assignment, got {shown(assignment)}")
        require(isinstance(self.limits, Limits), f"Course.limits must be Limits(...), got {shown(self.limits)}")
        web = isinstance(self.formgrader_url, str) and re.fullmatch(r"https?://[^\s\"'<>]+", self.formgrader_url)
        require(bool(web), f"Course.formgrader_url must be an http address, got {shown(self.formgrader_url)}")
        require_choice("Course.device", self.device, ["auto", "cpu", "cuda"])
        require_choice("Course.isolation", self.isolation, ["bubblewrap", "none"])
        require_choice("Course.data", self.data, ["cifar10", "offline"])
        require_choice("Course.older_marks", self.older_marks, ["review", "keep", "clear"])
        told = isinstance(self.feedback, Feedback)
        require(told, f"Course.feedback must be Feedback(...), got {shown(self.feedback)}")

    @property
    def names(self) -> list[str]:
        """All assignments, in order of their names."""
        return sorted(self.assignments)

    def assignment(self, name: str) -> Assignment:
        """Raises ConfigError, with the nearest name, where there is no such assignment."""
        if name not in self.assignments:
            known = self.names
            raise ConfigError(
                f"assignment {name!r} is not in {CONFIG_FILE}, which has {known}" + did_you_mean(name, known)
            )
        return self.assignments[name]


@dataclass(frozen=True)
class OrdinaryExercise(Exercise):
    """A notebook of an ordinary assignment: what is asserted stands in its own cells. It may have no automatic one."""

    def __post_init__(self) -> None:
        """Nothing to check: it is read from a release that nbgrader made."""


@dataclass(frozen=True)
class OrdinaryAssignment(Assignment):
    """An assignment that the configuration does not name: its tests stand in its notebooks, as nbgrader knows them."""


@dataclass(frozen=True)
class CourseFolder(Course):
    """A configuration with the folder it was read from, where ordinary assignments may lie beside those it names."""

    root: Path = Path()

    @property
    def names(self) -> list[str]:
        return sorted([*self.assignments, *ordinary_names(self.root, self.assignments)])

    def assignment(self, name: str) -> Assignment:
        if name in self.assignments or name not in ordinary_names(self.root, self.assignments):
            return super().assignment(name)
        found = released_points(self.root / "release" / name)
        exercises = [OrdinaryExercise(notebook, cells, grader="") for notebook, cells in found.items()]
        return OrdinaryAssignment(exercises, needs_test_set=False)


def load_course(root: Path, file: Path | None = None) -> CourseFolder:
    """Read `<root>/grader_config.py`, or `file` in its place. Raises ConfigError with file, value and remedy."""
    path = file or root / CONFIG_FILE
    if file is not None and not file.is_file():
        raise ConfigError(f"no file {file}")
    if not path.is_file():
        raise ConfigError(f"no {CONFIG_FILE} in {root}: run from the course's folder, or name it with --course")
    try:
        names = runpy.run_path(str(path))
    except TypeError as error:
        raise ConfigError(_explain_unknown_name(error)) from error
    except ConfigError:
        raise
    except Exception as error:  # it is the instructor's own code
        raise ConfigError(f"{CONFIG_FILE} cannot be run: {type(error).__name__}: {error}") from error
    course = names.get("COURSE")
    if not isinstance(course, Course):
        raise ConfigError(f"{CONFIG_FILE} must define COURSE = Course(...), found {type(course).__name__}")
    settings = {item.name: getattr(course, item.name) for item in dataclasses.fields(Course)}
    settings["assignments"] = {name: _find_graders(found, root) for name, found in course.assignments.items()}
    _require_known_checks(course := CourseFolder(**settings, root=root))
    return course


def _find_graders(assignment: Assignment, root: Path) -> Assignment:
    graders = (root / assignment.graders).resolve()
    for exercise in assignment.exercises:
        place = f"no file {exercise.grader!r} in {graders}"
        require((graders / exercise.grader).is_file(), f"Exercise({exercise.notebook!r}).grader: {place}")
    return dataclasses.replace(assignment, graders=graders)


def _require_known_checks(course: Course) -> None:
    """A name in `Exercise.sections` is a check of its grader, one in `Feedback.by_check` a check of any grader or a
    grade cell: a misspelt one would show what it hides. Every grade cell has checks, and every check a grade cell."""
    exercises = [(a.graders / e.grader, e) for a in course.assignments.values() for e in a.exercises]
    cells = [cell for _, exercise in exercises for cell in exercise.cells]
    checks = []
    for path, exercise in exercises:
        own = TEST.findall(path.read_text())
        checks += own
        for name in exercise.sections:
            where = f"Exercise({exercise.notebook!r}).sections has {name!r}, which is no check"
            require(name in ("", *own), where + did_you_mean(name, own))
        _require_shared_points(exercise, path)
    for name in course.feedback.by_check:
        meant = did_you_mean(name, [*checks, *cells])
        require(name in (*checks, *cells), f"Feedback.by_check has {name!r}, which is no check and no cell{meant}")


def _require_shared_points(exercise: Exercise, path: Path) -> None:
    """What running the grader would find only after the students' code: cells without checks, checks without cells."""
    what, checks = f"Exercise({exercise.notebook!r}).cells", declared_checks(path)
    if not checks or any(not check.cell for check in checks):
        return  # only running the file tells
    for check in checks:
        meant = did_you_mean(check.cell, list(exercise.cells))
        place = f"to which {check.name} gives points ({path.name}, line {check.line})"
        require(check.cell in exercise.cells, f"{what} has no {check.cell!r}, {place}{meant}")
    for cell in exercise.cells:
        require(any(check.cell == cell for check in checks), f"{what}[{cell!r}]: no check of {path.name} gives points")
    try:
        points_of_checks(checks, exercise.cells)
    except TooFewPoints as error:
        raise ConfigError(f"{what}: {error} ({CONFIG_FILE})") from error


PARTS = (AnswerProbe, CallProbe, CheckpointProbe, Drawn, ModuleProbe, TransformProbe)
KNOWN: dict[str, Any] = {part.__name__: part for part in (*PARTS, Limits, Exercise, Assignment, Feedback, Course)}


def _explain_unknown_name(error: TypeError) -> str:
    match = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if match is None or match[1] not in KNOWN:
        return f"{CONFIG_FILE} cannot be run: {error}"
    known = [item.name for item in dataclasses.fields(KNOWN[match[1]])]
    return f"{match[1]} has no setting {match[2]!r} ({CONFIG_FILE})" + did_you_mean(match[2], known)
