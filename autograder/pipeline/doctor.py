"""What this machine offers for grading, as findings: Python, torch, isolation, data set, nbgrader, the course."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from autograder import __version__
from autograder.core.config import Assignment, Course, Limits, load_course
from autograder.core.config_values import CONFIG_FILE, ConfigError
from autograder.core.errors import SetupError
from autograder.jail import FrameReader, Isolation, SandboxFault, StreamProblem, find_isolation, start
from autograder.jail.seccomp import is_available
from autograder.judging import datasets
from autograder.judging.holdout import COMFORTABLE_IMAGES, check_holdout, places_of
from autograder.pipeline.grader import check_languages, check_points

OLDEST_PYTHON = (3, 10)
IMPORT_SECONDS = 180
MEMORY_NEEDED_GIB = 4  # two torch processes at a time, and a model with its activations
IMPORT_TORCH = (
    "import json, torch, torchvision; from torchvision.transforms import v2; cuda = torch.cuda.is_available(); "
    "print(json.dumps({'threads': torch.get_num_threads(), 'cuda': torch.cuda.get_device_name(0) if cuda else ''}))"
)


class Health(str, Enum):
    """Whether something is as it should be: `MISSING` means that grading cannot work."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do where it is not `ok`."""

    name: str
    state: Health
    found: str
    remedy: str = ""


def examine(root: Path, *, course_expected: bool) -> Iterator[Finding]:
    """Every finding, one after another; some take seconds.

    `course_expected` says that `root` must be a course; else its absence is a warning.
    """
    yield check_python()
    yield from check_torch()
    yield check_nbgrader()
    course, finding = check_configuration(root, course_expected)
    isolation = find_isolation()
    yield check_isolation(isolation, course)
    if isolation.level != "none":
        yield check_jail(isolation, course.limits if course else Limits())
    yield check_limits(course.limits if course else Limits())
    yield check_memory()
    yield check_data(course, root)
    yield from check_holdouts(course, root)
    yield finding
    if course is not None:
        for name, assignment in course.assignments.items():
            yield check_release(root, name, assignment)
        for name in sorted(set(course.names) - set(course.assignments)):
            yield check_ordinary(root, name, course)


def check_python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable}), autograder {__version__}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("Python", Health.MISSING, found, "install Python 3.10 or newer, and make a new environment")
    return Finding("Python", Health.OK, found)


def check_torch() -> list[Finding]:
    """Versions from the installed packages; that the two fit each other only an import can tell, in a process of its
    own: this one stays free of torch."""
    versions = {}
    for name in ("torch", "torchvision"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    found = ", ".join(f"{name} {number}" for name, number in versions.items())
    if len(versions) < 2:
        return [Finding("torch", Health.MISSING, found or "not installed", "pip install 'autograder' (make install)")]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", IMPORT_TORCH],
            capture_output=True,
            text=True,
            timeout=IMPORT_SECONDS,
            check=True,
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return [Finding("torch", Health.WARN, f"{found}; not imported within {IMPORT_SECONDS} s", "is the disk busy?")]
    except (subprocess.CalledProcessError, OSError, ValueError, IndexError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        remedy = "install the pair that belongs together, as pyproject.toml names it"
        return [Finding("torch", Health.MISSING, f"{found}; importing fails: {lines[-1] if lines else error}", remedy)]
    device = answer["cuda"] or f"CPU, {answer['threads']} thread{'s' * (answer['threads'] != 1)}"
    return [Finding("torch", Health.OK, f"{found}; they import together"), Finding("device", Health.OK, device)]


def check_nbgrader() -> Finding:
    try:
        return Finding("nbgrader", Health.OK, version("nbgrader"))
    except PackageNotFoundError:
        return Finding("nbgrader", Health.MISSING, "not installed", "pip install nbgrader")


def check_isolation(isolation: Isolation, course: Course | None) -> Finding:
    """Whether bubblewrap can build a jail on this machine."""
    if isolation.level != "none":
        found = f"bubblewrap {isolation.version} ({isolation.bwrap})"
        if course is not None and course.isolation == "none":
            remedy = f'the course does without: set Course.isolation to "bubblewrap" in {CONFIG_FILE}'
            return Finding("isolation", Health.WARN, f"{found}, but it is switched off", remedy)
        return Finding("isolation", Health.OK, found)
    own = "submissions of people you trust can be graded with --isolation=none"
    return Finding("isolation", Health.MISSING, isolation.problem, f"{isolation.remedy} ({own})")


def check_jail(isolation: Isolation, limits: Limits) -> Finding:
    """Start a jail with nothing to run in it: its first process proves its confinement before it says "ready"."""
    began = time.monotonic()
    try:
        with start("launcher", limits, isolation, streams=2) as jail:
            with suppress(BrokenPipeError):
                jail.stdin.write(json.dumps({"notebooks": [], "checkpoint": None, "probe_seconds": 10}).encode())
                jail.stdin.close()
            reader, frames = FrameReader(jail, 1 << 20), {}
            with suppress(StreamProblem):
                while (frame := reader.next(began + IMPORT_SECONDS)) is not None:
                    frames[frame.header.get("kind")] = frame.header
            trouble = jail.stderr_tail().splitlines()
    except SandboxFault as error:
        return Finding("jail", Health.MISSING, str(error), isolation.remedy or "see docs/security.md")
    said = trouble[-1] if trouble else "it ended without a word"
    if "ready" not in frames:
        return Finding("jail", Health.MISSING, f"it does not start: {said}", "report this with the line above")
    if "done" not in frames:
        remedy = "torch must be importable in the jail: is it installed outside the Python environment's folder?"
        return Finding("jail", Health.MISSING, f"it starts, but importing torch in it fails: {said}", remedy)
    own = [f"as uid {frames['ready'].get('uid')}", f"started in {time.monotonic() - began:.0f} s"]
    found = ", ".join([*isolation.protections[1:], *own])
    if not is_available():
        return Finding("jail", Health.WARN, found, "pip install pyseccomp, and libseccomp (apt install libseccomp2)")
    return Finding("jail", Health.OK, found)


def check_limits(limits: Limits) -> Finding:
    """What one submission may use."""
    found = (
        f"{limits.cell_seconds:g} s a cell, {limits.notebook_seconds:g} s a notebook, {limits.submission_seconds:g} s "
        f"a submission; {limits.memory_mib:,} MiB of memory, {limits.processes} processes, {limits.file_mib} MiB a "
        f"file, {limits.scratch_files:,} files; {limits.output_kib} KiB and {limits.outputs} displays a cell; "
        f"{limits.reading_seconds:g} s and {limits.reading_mib:,} MiB to read a submission"
    )
    return Finding("limits", Health.OK, found)


def check_memory() -> Finding:
    gib = psutil.virtual_memory().available / 2**30
    found = f"{gib:.1f} GiB available, {os.cpu_count()} cores"
    if gib < MEMORY_NEEDED_GIB:
        return Finding("memory", Health.WARN, found, f"grading is comfortable from {MEMORY_NEEDED_GIB} GiB on")
    return Finding("memory", Health.OK, found)


def check_data(course: Course | None, root: Path) -> Finding:
    """The test set that models are judged on: where it lies, and its identity."""
    if course is not None and not any(a.needs_test_set for a in course.assignments.values()):
        return Finding("test set", Health.OK, "none needed")
    if course is not None and course.data == "offline":
        identity = datasets.load(datasets.Source("offline"), "test").identity
        return Finding("test set", Health.WARN, identity, f"for demonstrations only (Course.data in {CONFIG_FILE})")
    try:
        source = datasets.find_source(allow_offline=False, folder=root / "data")
        return Finding("test set", Health.OK, f"{datasets.load(source, 'test').identity}: {source}")
    except datasets.DataError as error:
        return Finding("test set", Health.MISSING, error.problem, error.remedy)


def check_holdouts(course: Course | None, root: Path) -> Iterator[Finding]:
    """Every private hold-out that the configuration names: its identity, or what is wrong with it."""
    for name, assignment in course.assignments.items() if course is not None else ():
        for notebook, place in places_of(root, assignment).items():
            yield check_one_holdout(f"hold-out of {name}/{notebook}", place, course, root)


def check_one_holdout(title: str, place: Path, course: Course | None, root: Path) -> Finding:
    try:
        offline = course is not None and course.data == "offline"
        public = (
            datasets.Source("offline") if offline else datasets.find_source(allow_offline=False, folder=root / "data")
        )
        found = check_holdout(root.resolve(), place, public)
    except datasets.DataError as error:
        return Finding(title, Health.MISSING, str(error), "no submission is graded until this is mended")
    seen = f"{found.identity}: {place}"
    count = len(found.labels)
    if count < COMFORTABLE_IMAGES:
        error_of = 100 * math.sqrt(0.75 * 0.25 / count)
        more = f"an accuracy of 75 % has a standard error of {error_of:.1f} points, with {COMFORTABLE_IMAGES:,} of 1.0"
        return Finding(title, Health.WARN, seen, more)
    return Finding(title, Health.OK, seen)


def check_configuration(root: Path, expected: bool) -> tuple[Course | None, Finding]:
    """The course's configuration, loaded: it checks itself, hidden graders included."""
    if not (root / CONFIG_FILE).is_file():
        state = Health.MISSING if expected else Health.WARN
        remedy = "run this in the course's folder, or name it with --course"
        return None, Finding("course", state, f"no {CONFIG_FILE} in {root}", remedy)
    try:
        course = load_course(root)
    except ConfigError as error:
        return None, Finding("course", Health.MISSING, str(error), f"correct {root / CONFIG_FILE}")
    if not course.assignments:
        return course, Finding("course", Health.MISSING, f"{CONFIG_FILE} has no assignment", "add one")
    summary = [f"{name}: {describe_assignment(assignment)}" for name, assignment in course.assignments.items()]
    return course, Finding("course", Health.OK, "; ".join(summary))


def describe_assignment(assignment: Assignment) -> str:
    """The size of an assignment, e.g. "4 exercises, 95 automatic points, hidden graders present"."""
    points = sum(points for exercise in assignment.exercises for points in exercise.cells.values())
    count = len(assignment.exercises)
    return f"{count} exercise{'s' * (count != 1)}, {points:g} automatic points, hidden graders present"


def check_release(root: Path, name: str, assignment: Assignment) -> Finding:
    """The generated student version: there, and with the points that the configuration gives."""
    folder = root / "release" / name
    title, remedy = f"release of {name}", f"nbgrader generate_assignment {name} --force"
    count = len(list(folder.glob("*.ipynb")))
    if not count:
        return Finding(title, Health.MISSING, f"no notebooks in {folder}", remedy)
    try:
        check_points(assignment, folder)
    except ValueError as error:
        return Finding(title, Health.MISSING, str(error), remedy)
    return Finding(title, Health.OK, f"{count} notebooks, points as configured")


def check_ordinary(root: Path, name: str, course: Course) -> Finding:
    """An assignment that the configuration does not name: whether its release could be graded."""
    folder, title, remedy = (
        root / "release" / name,
        f"release of {name}",
        f"nbgrader generate_assignment {name} --force",
    )
    if not any(folder.glob("*.ipynb")):
        state = "an ordinary nbgrader assignment that has no release yet"
        return Finding(title, Health.WARN, state, remedy)
    try:
        points = sum(sum(exercise.cells.values()) for exercise in course.assignment(name).exercises)
        check_languages(folder)
    except (ConfigError, SetupError) as error:
        return Finding(title, Health.WARN, str(error), remedy)
    found = f"an ordinary nbgrader assignment, {points:g} automatic points by the tests in its own cells"
    return Finding(title, Health.OK, found)
