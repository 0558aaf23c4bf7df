"""What is graded, for how many points and under which limits: the frozen dataclasses of `grader_config.py`."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import random
import re
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.core.errors import AutograderError
from autograder.core.package import package_file
from autograder.core.text import did_you_mean
from autograder.core.times import DueError, parse_due

GRADERS = package_file("graders")  # the hidden graders that come with the package
CONFIG_FILE = "grader_config.py"
OF_EACH_TEXTURE = 6
FINE = tuple(f"fine_{number}" for number in range(1, OF_EACH_TEXTURE + 1))
COARSE = tuple(f"coarse_{number}" for number in range(1, OF_EACH_TEXTURE + 1))
TEXTURES = (*FINE, *COARSE)  # they differ in nothing but how fine their detail is
PROBE_IMAGES = ("natural", "full_range", "dark", "low_contrast", *TEXTURES)  # probe_images.py draws them
VISIBILITIES = ("always", "after the deadline", "title only", "never")
MOST_DRAWS = 1000
MOST_SIDE = 1024  # of an image, and channels of one
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
Arguments = Mapping[str, Any]


class ConfigError(AutograderError, ValueError):
    """`grader_config.py` cannot be used; the message names the value and what would be right."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(f"{message} ({CONFIG_FILE})")


def _require_text(what: str, value: object) -> None:
    fits = isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
    _require(fits, f"{what} must be a name, got {_shown(value)}")


def _require_name(what: str, value: object) -> None:
    fits = isinstance(value, str) and value.isidentifier()
    _require(fits, f"{what} must be the name of something in the notebook, got {_shown(value)}")


def _require_number(what: str, value: object, *, whole: bool = False, least: float = 0, most: float = 2**40) -> None:
    """A number above `least` (whole ones: from `least` on) and not beyond all reason."""
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    kind = "a whole number" if whole else "a number"
    _require(is_number, f"{what} must be {kind}, got {_shown(value)}")
    assert isinstance(value, (int, float))
    enough = value >= least if whole else value > least
    _require(enough, f"{what} must be {'>=' if whole else '>'} {least:g}, got {_shown(value)}")
    _require(value <= most, f"{what} must be <= {most:,}, got {_shown(value)}")


def _require_all(what: str, value: object, kinds: type | tuple[type, ...]) -> None:
    known = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
    _require(isinstance(value, (list, tuple)), f"{what} must be a list of {known}, got {_shown(value)}")
    assert isinstance(value, (list, tuple))
    wrong = next((item for item in value if not isinstance(item, kinds)), None)
    _require(all(isinstance(item, kinds) for item in value), f"{what} must hold {known} only, got {_shown(wrong)}")


def _require_arguments(what: str, value: object) -> None:
    """Keyword arguments go into the jail, and into what identifies a run, as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{what} must be plain numbers, texts and lists ({error}) ({CONFIG_FILE})") from error
    names = value if isinstance(value, Mapping) else ()
    wrong = next((name for name in names if not isinstance(name, str) or not name.isidentifier()), None)
    _require(wrong is None, f"{what} must have names of arguments, got {_shown(wrong)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


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
            _require_number(what, getattr(self, item.name))
            _require_number(what, getattr(self, item.name), whole=whole)
        _require(
            self.cell_seconds <= self.notebook_seconds <= self.submission_seconds,
            "Limits must satisfy cell_seconds <= notebook_seconds <= submission_seconds, got "
            f"{self.cell_seconds}, {self.notebook_seconds}, {self.submission_seconds}",
        )


class Drawn:
    """Keyword arguments drawn from the course secret: the same for every student, worker and regrade.

    A tuple of two integers is an inclusive range, a list holds choices, anything else is taken as it is.
    `where` keeps only draws for which it holds, `times` asks for that many different draws.
    """

    def __init__(self, *, where: Callable[[Arguments], bool] | None = None, times: int = 1, **values: Any) -> None:
        _require_number("Drawn(times=...)", times, whole=True, least=1, most=MOST_DRAWS)
        _require(where is None or callable(where), f"Drawn(where=...) must be a function, got {_shown(where)}")
        _require_arguments("Drawn(...)", values)
        for name, value in values.items():
            if isinstance(value, tuple):
                ordered = len(value) == 2 and all(type(v) is int for v in value) and value[0] <= value[1]
                _require(ordered, f"Drawn({name}=...) must be (low, high) with low <= high, or a list, got {value!r}")
            _require(not isinstance(value, list) or bool(value), f"Drawn({name}=...) has no choice to draw from")
        self.values, self.where, self.times = values, where, times

    def draw(self, generator: random.Random) -> list[dict[str, Any]]:
        """`times` different argument sets. Raises ConfigError where `where` leaves too few."""
        found: list[dict[str, Any]] = []
        for _ in range(2000 * self.times):
            arguments = {name: _draw_value(value, generator) for name, value in self.values.items()}
            if arguments not in found and self._holds(arguments):
                found.append(arguments)
                if len(found) == self.times:
                    return found
        raise ConfigError(f"Drawn({self.values}) gives only {len(found)} of {self.times} draws ({CONFIG_FILE})")

    def _holds(self, arguments: Arguments) -> bool:
        try:
            return self.where is None or bool(self.where(arguments))
        except Exception as error:  # it is the configuration's own code
            raise ConfigError(
                f"Drawn(where=...) raises {type(error).__name__} for {_shown(dict(arguments))}: {error} ({CONFIG_FILE})"
            ) from error


def _draw_value(value: Any, generator: random.Random) -> Any:
    if isinstance(value, tuple):
        return generator.randint(*value)
    return generator.choice(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class AnswerProbe:
    """The value of a variable that the notebook defines."""

    name: str

    def __post_init__(self) -> None:
        _require_name("AnswerProbe.name", self.name)


@dataclass(frozen=True)
class CallProbe:
    """Results of a function, in named groups of calls with keyword arguments."""

    name: str
    groups: Mapping[str, Sequence[Arguments | Drawn]]

    def __post_init__(self) -> None:
        _require_name("CallProbe.name", self.name)
        _require(isinstance(self.groups, Mapping), f"CallProbe.groups must be a dict, got {_shown(self.groups)}")
        for group, arguments in self.groups.items():
            _require_text("CallProbe.groups: a group", group)
            _require_sets(f"CallProbe.groups[{group!r}]", arguments)


@dataclass(frozen=True)
class ModuleProbe:
    """A `torch.nn.Module` class: built with each of `builds` and exported in eval mode at the first of `image_sizes`;
    the first build also at the other sizes and, with `train`, in training mode.

    `input_channels` is a number or the name of the argument that gives it.
    """

    name: str
    builds: Sequence[Arguments | Drawn] = ({},)
    image_sizes: Sequence[int] = (32,)
    input_channels: int | str = 3
    train: bool = True

    def __post_init__(self) -> None:
        _require_name("ModuleProbe.name", self.name)
        _require_sets("ModuleProbe.builds", self.builds)
        _require_all("ModuleProbe.image_sizes", self.image_sizes, int)
        _require(bool(self.image_sizes), "ModuleProbe.image_sizes is empty")
        for size in self.image_sizes:
            _require_number("ModuleProbe.image_sizes", size, whole=True, least=1, most=MOST_SIDE)
        _require(isinstance(self.train, bool), f"ModuleProbe.train must be True or False, got {_shown(self.train)}")
        if not isinstance(self.input_channels, str):
            _require_number("ModuleProbe.input_channels", self.input_channels, whole=True, least=1, most=MOST_SIDE)
            return
        for build in self.builds:
            known = list(build.values if isinstance(build, Drawn) else build)
            meant = did_you_mean(self.input_channels, known)
            named = f"ModuleProbe.input_channels {self.input_channels!r} is no argument of a build, which has {known}"
            _require(self.input_channels in known, named + meant)


@dataclass(frozen=True)
class TransformProbe:
    """An image transform, applied `draws` times to each of the named probe images (see `probe_images.py`)."""

    name: str
    images: Sequence[str]
    draws: int = 1

    def __post_init__(self) -> None:
        _require_name("TransformProbe.name", self.name)
        _require_all("TransformProbe.images", self.images, str)
        for image in self.images:
            _choice("TransformProbe.images", image, list(PROBE_IMAGES))
        _require_number("TransformProbe.draws", self.draws, whole=True, least=1, most=MOST_DRAWS)


@dataclass(frozen=True)
class CheckpointProbe:
    """The file with trained weights that is handed in: `<stem>.safetensors` or `<stem>.pt` (a state dict).

    `holdout` is the place of a private data set, relative to the course's folder: a data set in the forms of the test
    set (a folder test/<class>/, a zip of one, a cifar-10-batches-py folder), of any number of images from 500 on, that
    no student has. Where it is given, accuracy on it is what counts, and the test set's is shown beside it.
    """

    stem: str
    module: str
    transform: str
    most_mib: float = 64
    holdout: str = ""

    def __post_init__(self) -> None:
        _require_text("CheckpointProbe.stem", self.stem)
        _require("/" not in self.stem, f"CheckpointProbe.stem must be the name of a file, got {_shown(self.stem)}")
        _require_number("CheckpointProbe.most_mib", self.most_mib)
        path = self.holdout
        fits = isinstance(path, str) and path.isprintable() and path.strip() == path and not path.startswith("~")
        what = "CheckpointProbe.holdout must be a path from the course's folder, or empty"
        _require(fits, f"{what}, got {_shown(path)}")


@dataclass(frozen=True)
class Exercise:
    """One notebook. `cells` maps the `grade_id` of each automatically graded cell to its points; `grader` is the
    hidden pytest file; cells in `skip_cells` are not executed when grading (a training cell, say).

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

    def __post_init__(self) -> None:
        _require_text("Exercise.notebook", self.notebook)
        what = f"Exercise({self.notebook!r})"
        _require(isinstance(self.cells, Mapping), f"{what}.cells must be a dict, got {_shown(self.cells)}")
        _require(bool(self.cells), f"{what}.cells is empty: nothing to grade")
        for cell, points in self.cells.items():
            _require_text(f"{what}.cells: an id", cell)
            plain = isinstance(points, (int, float)) and not isinstance(points, bool) and 0 < points <= 10_000
            _require(plain, f"{what}.cells[{cell!r}] must be points > 0, got {_shown(points)}")
        _require_text(f"{what}.grader", self.grader)
        _require_all(f"{what}.answers", self.answers, AnswerProbe)
        _require_all(f"{what}.calls", self.calls, CallProbe)
        _require_all(f"{what}.modules", self.modules, ModuleProbe)
        _require_all(f"{what}.transforms", self.transforms, TransformProbe)
        _require_all(f"{what}.skip_cells", self.skip_cells, str)
        _require(isinstance(self.settings, Mapping), f"{what}.settings must be a dict, got {_shown(self.settings)}")
        _require(isinstance(self.sections, Mapping), f"{what}.sections must be a dict, got {_shown(self.sections)}")
        for check, heading in self.sections.items():
            _require(isinstance(check, str), f"{what}.sections: a check must be a text, got {_shown(check)}")
            _require_text(f"{what}.sections[{check!r}]", heading)
        if self.checkpoint is not None:
            given = isinstance(self.checkpoint, CheckpointProbe)
            _require(given, f"{what}.checkpoint must be a CheckpointProbe, got {_shown(self.checkpoint)}")
            _one_of("CheckpointProbe.module", self.checkpoint.module, [probe.name for probe in self.modules])
            _one_of("CheckpointProbe.transform", self.checkpoint.transform, [probe.name for probe in self.transforms])


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
        _require_all("Assignment.exercises", self.exercises, Exercise)
        known = isinstance(self.graders, (str, Path)) and str(self.graders).isprintable()
        _require(known, f"Assignment.graders must be a folder, got {_shown(self.graders)}")
        told = isinstance(self.needs_test_set, bool)
        _require(told, f"Assignment.needs_test_set must be True or False, got {_shown(self.needs_test_set)}")
        for what in ("due", "time_zone", "lesson"):
            value = getattr(self, what)
            _require(isinstance(value, str), f"Assignment.{what} must be a text, got {_shown(value)}")
        _require(bool(self.due) or not self.time_zone, "Assignment.time_zone is that of due, which is missing")
        taught = bool(self.lesson) or not any(exercise.sections for exercise in self.exercises)
        _require(taught, "Exercise.sections are headings of Assignment.lesson, which is missing")
        _ = self.due_at
        names = [exercise.notebook for exercise in self.exercises]
        _require(len(set(names)) == len(names), f"Assignment has a notebook twice: {names}")

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
        _choice("Feedback.checks", self.checks, list(VISIBILITIES))
        given = isinstance(self.by_check, Mapping)
        _require(given, f"Feedback.by_check must be a dict of checks or cells, got {_shown(self.by_check)}")
        for name, chosen in self.by_check.items():
            _require_text("Feedback.by_check: a name", name)
            _choice(f"Feedback.by_check[{name!r}]", chosen, list(VISIBILITIES))
        told = isinstance(self.accuracy_cost, bool)
        _require(told, f"Feedback.accuracy_cost must be True or False, got {_shown(self.accuracy_cost)}")

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
        _require(given, f"Course.assignments must be a dict, got {_shown(self.assignments)}")
        for name, assignment in self.assignments.items():
            _require_text("Course.assignments: a name", name)
            known = isinstance(assignment, Assignment)
            _require(known, f"Course.assignments[{name!r}] must be an Assignment, got {_shown(assignment)}")
        _require(isinstance(self.limits, Limits), f"Course.limits must be Limits(...), got {_shown(self.limits)}")
        web = isinstance(self.formgrader_url, str) and re.fullmatch(r"https?://[^\s\"'<>]+", self.formgrader_url)
        _require(bool(web), f"Course.formgrader_url must be an http address, got {_shown(self.formgrader_url)}")
        _choice("Course.device", self.device, ["auto", "cpu", "cuda"])
        _choice("Course.isolation", self.isolation, ["bubblewrap", "none"])
        _choice("Course.data", self.data, ["cifar10", "offline"])
        _choice("Course.older_marks", self.older_marks, ["review", "keep", "clear"])
        told = isinstance(self.feedback, Feedback)
        _require(told, f"Course.feedback must be Feedback(...), got {_shown(self.feedback)}")

    def assignment(self, name: str) -> Assignment:
        """Raises ConfigError, with the nearest name, where there is no such assignment."""
        if name not in self.assignments:
            known = sorted(self.assignments)
            raise ConfigError(
                f"assignment {name!r} is not in {CONFIG_FILE}, which has {known}" + did_you_mean(name, known)
            )
        return self.assignments[name]


def _choice(what: str, value: object, known: list[str]) -> None:
    _require(value in known, f"{what} must be one of {known}, got {_shown(value)}" + did_you_mean(str(value), known))


def _one_of(what: str, value: object, probed: list[str]) -> None:
    """A probe that another one names."""
    meant = did_you_mean(str(value), probed)
    _require(value in probed, f"{what} {_shown(value)} is none of those that are probed, {probed}" + meant)


def _require_sets(what: str, value: object) -> None:
    """Argument sets, fixed or drawn."""
    _require_all(what, value, (Mapping, Drawn))
    assert isinstance(value, (list, tuple))
    _require(bool(value), f"{what} is empty: nothing to call with")
    for item in value:
        if isinstance(item, Mapping):
            _require_arguments(what, item)


def load_course(root: Path, file: Path | None = None) -> Course:
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
    course = dataclasses.replace(course, assignments={n: _find_graders(a, root) for n, a in course.assignments.items()})
    _require_known_checks(course)
    return course


def _find_graders(assignment: Assignment, root: Path) -> Assignment:
    graders = (root / assignment.graders).resolve()
    for exercise in assignment.exercises:
        place = f"no file {exercise.grader!r} in {graders}"
        _require((graders / exercise.grader).is_file(), f"Exercise({exercise.notebook!r}).grader: {place}")
    return dataclasses.replace(assignment, graders=graders)


def _require_known_checks(course: Course) -> None:
    """A name in `Exercise.sections` is a check of its grader, one in `Feedback.by_check` a check of any grader or a
    grade cell: a misspelt one would show what it hides."""
    exercises = [(a.graders / e.grader, e) for a in course.assignments.values() for e in a.exercises]
    cells = [cell for _, exercise in exercises for cell in exercise.cells]
    checks = []
    for path, exercise in exercises:
        own = TEST.findall(path.read_text())
        checks += own
        for name in exercise.sections:
            where = f"Exercise({exercise.notebook!r}).sections has {name!r}, which is no check"
            _require(name in ("", *own), where + did_you_mean(name, own))
    for name in course.feedback.by_check:
        meant = did_you_mean(name, [*checks, *cells])
        _require(name in (*checks, *cells), f"Feedback.by_check has {name!r}, which is no check and no cell{meant}")


def _explain_unknown_name(error: TypeError) -> str:
    match = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if match is None or match[1] not in globals():
        return f"{CONFIG_FILE} cannot be run: {error}"
    known = [item.name for item in dataclasses.fields(globals()[match[1]])]
    return f"{match[1]} has no setting {match[2]!r} ({CONFIG_FILE})" + did_you_mean(match[2], known)


def generator_for(secret: bytes, *scope: str) -> random.Random:
    """A generator that depends on the course secret and the scope only (HMAC-SHA256 of the scope)."""
    return random.Random(hmac.new(secret, "/".join(scope).encode(), hashlib.sha256).digest())


def draw_all(items: Sequence[Arguments | Drawn], secret: bytes, *scope: str) -> list[dict[str, Any]]:
    """Replace every `Drawn` by its draws; plain argument sets stay as they are."""
    drawn: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        if isinstance(item, Drawn):
            drawn += item.draw(generator_for(secret, *scope, str(index)))
        else:
            drawn.append(dict(item))
    return drawn
