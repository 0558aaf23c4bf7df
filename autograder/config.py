"""What is graded, for how many points and under which limits: the frozen dataclasses of `grader_config.py`."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import hmac
import random
import re
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG_FILE = "grader_config.py"
Arguments = Mapping[str, Any]


class ConfigError(ValueError):
    """`grader_config.py` cannot be used; the message names the value and what would be right."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(f"{message} ({CONFIG_FILE})")


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Every limit is decided outside the jail and ends in a status, never in a hang.

    Seconds are wall-clock seconds. A cell over `cell_seconds` is interrupted and costs itself; one that ignores the
    interrupt is killed and its notebook is run once more without it. `notebook_seconds` and `submission_seconds` end
    the notebook and the jail. `cpu_seconds` is CPU time per process. `memory_mib` bounds the private memory of each
    process and, watched from outside, of the whole jail. `output_kib` is what one cell may print, `outputs` how many
    displays it may make, `evidence_mib` and `records` all that one submission may send. `scratch_mib` is the size of
    the working folder, `tmp_mib` of `/tmp` and of `/dev/shm`, `scratch_files` the number of files in all three.
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
    evidence_mib: int = 512
    records: int = 20_000
    scratch_mib: int = 256
    tmp_mib: int = 256
    scratch_files: int = 50_000
    grader_seconds: float = 1200

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            _require(
                isinstance(value, (int, float)) and not isinstance(value, bool),
                f"Limits.{item.name} must be a number, got {value!r}",
            )
            _require(value > 0, f"Limits.{item.name} must be > 0, got {value}")
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
        _require(times >= 1, f"Drawn(times=...) must be >= 1, got {times}")
        for name, value in values.items():
            if isinstance(value, tuple):
                ordered = len(value) == 2 and all(isinstance(v, int) for v in value) and value[0] <= value[1]
                _require(ordered, f"Drawn({name}=...) must be (low, high) with low <= high, or a list, got {value!r}")
            _require(not isinstance(value, list) or bool(value), f"Drawn({name}=...) has no choice to draw from")
        self.values, self.where, self.times = values, where, times

    def draw(self, generator: random.Random) -> list[dict[str, Any]]:
        """`times` different argument sets. Raises ConfigError where `where` leaves too few."""
        found: list[dict[str, Any]] = []
        for _ in range(2000 * self.times):
            arguments = {name: _draw_value(value, generator) for name, value in self.values.items()}
            if arguments not in found and (self.where is None or self.where(arguments)):
                found.append(arguments)
                if len(found) == self.times:
                    return found
        raise ConfigError(f"Drawn({self.values}) gives only {len(found)} of {self.times} draws ({CONFIG_FILE})")


def _draw_value(value: Any, generator: random.Random) -> Any:
    if isinstance(value, tuple):
        return generator.randint(*value)
    return generator.choice(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class AnswerProbe:
    """The value of a variable that the notebook defines."""

    name: str


@dataclass(frozen=True)
class CallProbe:
    """Results of a function, in named groups of calls with keyword arguments."""

    name: str
    groups: Mapping[str, Sequence[Arguments | Drawn]]


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


@dataclass(frozen=True)
class TransformProbe:
    """An image transform, applied `draws` times to each of the named probe images (see `probe_images.py`)."""

    name: str
    images: Sequence[str]
    draws: int = 1


@dataclass(frozen=True)
class CheckpointProbe:
    """The file with trained weights that is handed in: `<stem>.safetensors` or `<stem>.pt` (a state dict)."""

    stem: str
    module: str
    transform: str
    most_mib: float = 64

    def __post_init__(self) -> None:
        _require(self.most_mib > 0, f"CheckpointProbe.most_mib must be > 0, got {self.most_mib}")


@dataclass(frozen=True)
class Exercise:
    """One notebook. `cells` maps the `grade_id` of each automatically graded cell to its points; `grader` is the
    hidden pytest file; cells in `skip_cells` are not executed when grading (a training cell, say)."""

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

    def __post_init__(self) -> None:
        _require(bool(self.cells), f"Exercise({self.notebook!r}).cells is empty: nothing to grade")
        for cell, points in self.cells.items():
            plain = isinstance(points, (int, float)) and not isinstance(points, bool) and points > 0
            _require(plain, f"Exercise({self.notebook!r}).cells[{cell!r}] must be points > 0, got {points!r}")
        if self.checkpoint is not None:
            modules = [probe.name for probe in self.modules]
            _require(
                self.checkpoint.module in modules,
                f"CheckpointProbe.module {self.checkpoint.module!r} is none of the modules {modules}"
                + did_you_mean(self.checkpoint.module, modules),
            )


@dataclass(frozen=True)
class Assignment:
    """An assignment: its exercises, and where their hidden graders are: the package's own folder, or one that is
    named relative to the course's."""

    exercises: Sequence[Exercise]
    graders: Path = Path(__file__).parent / "graders"
    needs_test_set: bool = True

    def __post_init__(self) -> None:
        names = [exercise.notebook for exercise in self.exercises]
        _require(len(set(names)) == len(names), f"Assignment has a notebook twice: {names}")

    def exercise(self, notebook: str) -> Exercise | None:
        """The exercise of a notebook, None for one that is not graded."""
        return next((e for e in self.exercises if e.notebook == notebook), None)


@dataclass(frozen=True)
class Course:
    """Everything `grader_config.py` says: `COURSE = Course(...)`.

    `data` is the test set that models are judged on; the built-in "offline" set is for demonstrations and tests, and
    is never used unless it stands here. `older_marks` is what is done when a submission is graded of which a cell was
    marked by hand, for another answer: "review" leaves the mark to a person, "keep" and "clear" decide at once.
    """

    assignments: Mapping[str, Assignment]
    limits: Limits = Limits()
    device: str = "auto"
    isolation: str = "bubblewrap"
    data: str = "cifar10"
    older_marks: str = "review"

    def __post_init__(self) -> None:
        _choice("Course.device", self.device, ["auto", "cpu", "cuda"])
        _choice("Course.isolation", self.isolation, ["bubblewrap", "none"])
        _choice("Course.data", self.data, ["cifar10", "offline"])
        _choice("Course.older_marks", self.older_marks, ["review", "keep", "clear"])

    def assignment(self, name: str) -> Assignment:
        """Raises ConfigError, with the nearest name, where there is no such assignment."""
        if name not in self.assignments:
            known = sorted(self.assignments)
            raise ConfigError(
                f"assignment {name!r} is not in {CONFIG_FILE}, which has {known}" + did_you_mean(name, known)
            )
        return self.assignments[name]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _choice(what: str, value: object, known: list[str]) -> None:
    _require(value in known, f"{what} must be one of {known}, got {value!r}" + did_you_mean(str(value), known))


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
    except (SyntaxError, NameError, ImportError) as error:
        raise ConfigError(f"{CONFIG_FILE} cannot be run: {type(error).__name__}: {error}") from error
    course = names.get("COURSE")
    if not isinstance(course, Course):
        raise ConfigError(f"{CONFIG_FILE} must define COURSE = Course(...), found {type(course).__name__}")
    return dataclasses.replace(course, assignments={n: _find_graders(a, root) for n, a in course.assignments.items()})


def _find_graders(assignment: Assignment, root: Path) -> Assignment:
    graders = (root / assignment.graders).resolve()
    for exercise in assignment.exercises:
        place = f"no file {exercise.grader!r} in {graders}"
        _require((graders / exercise.grader).is_file(), f"Exercise({exercise.notebook!r}).grader: {place}")
    return dataclasses.replace(assignment, graders=graders)


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
