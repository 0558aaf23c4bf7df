"""What several test files share: the data set at hand, and one course in which every sample was graded."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autograder.core.grade_report import GradeReport
from autograder.course import report_store
from autograder.jail import find_isolation
from tests.nbgrader_commands import COMMANDS
from tools.samples import ASSIGNMENT, make_course, sample_names


@dataclass(frozen=True)
class GradedCourse:
    """A course after `nbgrader autograde`: every sample is a student of that name."""

    root: Path
    data: str
    exit_status: int
    log: str
    reports: Mapping[str, GradeReport]


OF_WEIGHTS = ("reference", "partial_checkpoint", "different_style", "wrong_doubling")
SAMPLES = ("tests/test_determinism.py", "tests/test_nbgrader.py", "tests/test_release.py", "tests/test_samples.py")
DIVISIBLE = ("tests/test_architectures.py", "tests/test_exporter.py", "tests/test_graders.py", "tests/test_graph.py")


ALL_CORES = frozenset(os.sched_getaffinity(0))


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several test processes cores of its own: PyTorch takes as many threads as there are cores, and twice
    as many threads as cores cost up to half of the time for small networks."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    if told:
        number = int(told["workerid"].removeprefix("gw"))
        os.sched_setaffinity(0, sorted(ALL_CORES)[number :: told["workercount"]] or ALL_CORES)


@contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """What is started now inherits these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests between processes: those that look at the graded samples stay in one, since grading them takes
    minutes and is done once; other files stay whole for their fixtures' sake, but for the four largest."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return nodeid if file in DIVISIBLE else "samples" if file in SAMPLES else file

    return ByFixtures(config, log)


def nbgrader(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run plain nbgrader in a course."""
    return COMMANDS.run(root, arguments)


@pytest.fixture(scope="session")
def data_name() -> str:
    """ "cifar10" where CIFAR10_ROOT is set, else "offline": the samples have checkpoints for both."""
    return "cifar10" if os.environ.get("CIFAR10_ROOT") else "offline"


def grade_samples(root: Path, names: Sequence[str], data: str) -> GradedCourse:
    """Some samples graded by plain `nbgrader autograde` in a course of their own."""
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}; {isolation.remedy}")
    make_course(root, {name: name for name in names}, data)
    with on_cores(ALL_CORES):  # as where a class is graded
        done = nbgrader(root, "autograde", ASSIGNMENT)
    graded = {report.student: report for report in report_store.load_reports(root, ASSIGNMENT)}
    return GradedCourse(root, data, done.returncode, done.stdout + done.stderr, graded)


@pytest.fixture(scope="session")
def graded_course(tmp_path_factory: pytest.TempPathFactory) -> GradedCourse:
    """All samples, once for all tests that look at the outcome. On the offline set: what most of them show is how a
    submission is written, and on CIFAR-10 their one network would be tried on 30,000 images for each of them."""
    return grade_samples(tmp_path_factory.mktemp("samples"), sample_names(), "offline")


@pytest.fixture(scope="session")
def course_of_weights(
    graded_course: GradedCourse, tmp_path_factory: pytest.TempPathFactory, data_name: str
) -> GradedCourse:
    """The samples whose networks and weights differ, on CIFAR-10 where it is at hand."""
    if data_name == graded_course.data:
        return graded_course
    return grade_samples(tmp_path_factory.mktemp("weights"), OF_WEIGHTS, data_name)


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Path:
    """A copy of the course that a test file makes once, its `template`."""
    root = tmp_path / "course"
    shutil.copytree(template, root)
    return root
