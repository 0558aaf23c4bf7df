"""The grader of an assignment: configuration, release, test set, secret and isolation, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from autograder.core.config import Assignment, Course, OrdinaryAssignment, load_course
from autograder.core.config_changes import Changes
from autograder.core.config_values import ConfigError
from autograder.core.errors import SetupError
from autograder.core.files import digest_of
from autograder.core.ordinary import other_languages
from autograder.core.text import did_you_mean
from autograder.handin.submission import (
    manual_cells,
    read_released,
    test_cells,
)
from autograder.jail import Isolation, find_isolation
from autograder.judging import datasets
from autograder.judging.holdout import check_holdout, places_of
from autograder.judging.job import JobSetup
from autograder.pipeline.cache import Cache
from autograder.pipeline.identity import engine_digest, rules_digest
from autograder.pipeline.plan import plan_probes
from autograder.pipeline.secret import BrokenSecret, read_secret


@dataclass(frozen=True)
class OrdinaryTests:
    """What an ordinary assignment is graded by; the room that knows nbgrader fills it in (course/ordinary.py).

    `texts` are the course's own, hidden tests and all, of locked cells by notebook and name. `points_of` is nbgrader's
    rule: the points of a test cell by its maximum and its outputs; it raises ValueError where these are no points.
    `rule` names it, `kept` are files that the course leaves to the students.
    """

    texts: Mapping[str, Mapping[str, str]]
    points_of: Callable[[float, Sequence[Mapping[str, Any]]], float]
    rule: str
    kept: Sequence[str] = ()


@dataclass(frozen=True)
class Grader:
    """Everything that grading any submission of one assignment needs, found once. Only a what-if has `changes`, only an
    ordinary assignment `tests`."""

    root: Path
    course: Course
    assignment_name: str
    isolation: Isolation
    source: datasets.Source
    release: Path
    overlay: Path
    changes: Changes = field(default_factory=Changes)
    tests: OrdinaryTests | None = None

    @property
    def assignment(self) -> Assignment:
        return self.course.assignment(self.assignment_name)

    @property
    def is_ordinary(self) -> bool:
        """Whether what is asserted stands in the notebooks' own cells, and not in hidden graders."""
        return isinstance(self.assignment, OrdinaryAssignment)

    @cached_property
    def secret(self) -> bytes:
        try:
            return read_secret(self.root)
        except BrokenSecret as error:
            raise SetupError(str(error)) from error

    @cached_property
    def data_identity(self) -> str:
        if not self.assignment.needs_test_set:
            return "none needed"
        path = self.source.path
        public = _identity(self.source, path.stat().st_mtime_ns if path else 0)
        places = places_of(self.root, self.assignment)
        private = [f"{check_holdout(self.root, places[n], self.source).identity} for {n}" for n in sorted(places)]
        return "; ".join([public, *private])

    @cached_property
    def cache(self) -> Cache:
        return Cache(self.root / ".autograder" / "cache")

    @cached_property
    def engine_digest(self) -> str:
        """Changes whenever marks could: code, graders, configuration, secret, data, libraries, isolation, device."""
        chosen = (self.data_identity, self.isolation.level, self.course.device)
        settings = (repr(self.changes.settings),) if self.changes.settings else ()
        return digest_of(engine_digest(self.rules_digest), self.secret.hex(), *chosen, *settings)

    @cached_property
    def rules_digest(self) -> str:
        """Changes with code, graders and configuration only: any machine can tell whether marks are of these."""
        return rules_digest(Path(self.assignment.graders), self.changes.config_file(self.root))

    @property
    def engine_name(self) -> str:
        """The digest in short, as reports and their readers name it."""
        return self.engine_digest[:12]

    @property
    def setup(self) -> dict[str, Any]:
        """What a grading process is told first."""
        place, device = (self.root, self.assignment_name), self.course.device
        return JobSetup(*place, device, self.isolation, self.source, self.secret, self.changes).record()


@lru_cache
def _identity(source: datasets.Source, _modified: int) -> str:
    """The identity of a test set, read once in a process: a batch opens a grader for every submission."""
    return datasets.load(source, "test").identity


def open_grader(
    root: Path,
    name: str,
    *,
    release: Path | None = None,
    isolation: str = "",
    device: str = "",
    older_marks: str = "",
) -> Grader:
    """Check that grading can work here. What is given takes the place of the configuration's.

    Raises ConfigError, SetupError or data.DataError, each with its remedy.
    """
    root = root.resolve()
    course = load_course(root)
    course = replace(
        course,
        isolation=isolation or course.isolation,
        device=device or course.device,
        older_marks=older_marks or course.older_marks,
    )
    assignment = course.assignment(name)
    release = release or root / "release" / name
    if not any(release.glob("*.ipynb")):
        raise SetupError(f"no notebooks in {release}: run `nbgrader generate_assignment {name}` (or `make release`)")
    if isinstance(assignment, OrdinaryAssignment):
        check_languages(release)
    else:
        check_points(assignment, release)
    grader = Grader(
        root,
        course,
        name,
        _choose_isolation(course),
        _find_data(root, course, assignment),
        release,
        root / "source" / name,
    )
    # What is broken stops the batch here, before the first submission.
    _ = grader.data_identity, [list(plan_probes(e, grader.secret, name)) for e in assignment.exercises]
    return grader


def check_points(assignment: Assignment, release: Path) -> None:
    """Compare the test cells of the release with the configuration: a cell nobody checks would never be scored.

    Raises ConfigError.
    """
    released = {path.stem: test_cells(read_released(path)) for path in sorted(release.glob("*.ipynb"))}
    for exercise in assignment.exercises:
        if exercise.notebook not in released:
            known = sorted(released)
            hint = did_you_mean(exercise.notebook, known)
            raise ConfigError(f"grader_config.py grades {exercise.notebook!r}, but the release has {known}{hint}")
    for name, found in released.items():
        exercise_or_none = assignment.exercise(name)
        wanted = {c: float(p) for c, p in exercise_or_none.cells.items()} if exercise_or_none else {}
        if found != wanted:
            told = f"the release's test cells are {found}, grader_config.py says {wanted}"
            raise ConfigError(f"{name}: {told}: run `make release`, or see docs/adapt.md")
        marked = manual_cells(read_released(release / f"{name}.ipynb"))
        for cell, points in exercise_or_none.manual.items() if exercise_or_none else ():
            if marked.get(cell) != points:
                told = f"the release has {marked.get(cell)} points by hand for {cell!r}, grader_config.py says {points}"
                raise ConfigError(f"{name}: {told}: run `make release`, or see docs/adapt.md")


def check_languages(release: Path) -> None:
    """Prove that the worker can run the notebooks of an ordinary assignment. Raises SetupError."""
    for name, language in other_languages(release).items():
        raise SetupError(f"{release / name} is for {language}: the jail runs Python notebooks only")


def _choose_isolation(course: Course) -> Isolation:
    if course.isolation == "none":
        return Isolation("none")
    found = find_isolation()
    if found.level == "none":
        raise SetupError(
            f"student code cannot be isolated here: {found.problem}. Remedy: {found.remedy}. "
            "Submissions of people you trust can be graded without a jail by --isolation=none."
        )
    return found


def _find_data(root: Path, course: Course, assignment: Assignment) -> datasets.Source:
    """The test set, by an absolute path: the grading process stands elsewhere. Raises data.DataError."""
    if course.data == "offline" or not assignment.needs_test_set:
        return datasets.Source("offline")
    source = datasets.find_source(allow_offline=False, folder=root / "data")
    return replace(source, path=source.path.resolve() if source.path else None)
