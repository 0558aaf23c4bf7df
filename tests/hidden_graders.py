"""Grade a source string with a hidden grader, in this process: for tests of the graders, without notebook or jail.

The student's code here is the tests' own. Everything behind it is what grades a class: the worker's collector, the
decoder of evidence, the graders, the runner.
"""

from __future__ import annotations

import json
import linecache
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from autograder import grading
from autograder.checks import Graded, Submitted
from autograder.config import Exercise, Limits, load_course
from autograder.data import Dataset
from autograder.evidence import Evidence, Problem, decode_evidence
from autograder.jail import Isolation, start
from autograder.jail.stream import Frame
from autograder.plan import plan_probes
from autograder.results import CheckResult, Status
from autograder.runner import Runner
from autograder.worker import collect
from autograder.worker.cells import locate

ROOT = Path(__file__).resolve().parent.parent
GRADERS = ROOT / "autograder" / "graders"
SECRET = b"the secret of the tests"
IMPORTS = (
    "import copy, math\nimport numpy as np\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    "from torchvision import transforms as v1\nfrom torchvision.transforms import v2\n"
)
NOT_RUN = Problem(Status.CRASHED, "the notebook did not run")
COURSE = load_course(ROOT)


class StepTimeout(BaseException):
    """As in the worker; never raised here."""


@contextmanager
def no_limit(_seconds: float) -> Iterator[None]:
    yield


@contextmanager
def quiet_log() -> Iterator[None]:
    """Without torch's trace of every export, which pytest would keep for the report of a failed test."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def open_runner() -> Runner:
    """A runner without a jail: the graphs come from the tests. One serves a whole test file."""
    return Runner(lambda: start("graph_server", Limits(), Isolation("none")), device="cpu")


def exercise(notebook: str) -> Exercise:
    """An exercise of the course, as grader_config.py declares it."""
    found = COURSE.assignment("cnn").exercise(notebook)
    assert found is not None
    return found


def given(notebook: str, grade_id: str) -> str:
    """The source of a cell of the instructor's notebook, solutions included."""
    cells = json.loads((ROOT / "source" / "cnn" / f"{notebook}.ipynb").read_text())["cells"]
    source = next(c["source"] for c in cells if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)
    return source if isinstance(source, str) else "".join(source)


def evidence_of(notebook: str, *cells: str, only: set[str] | None = None) -> Evidence:
    """Run cells and collect what the plan asks for; a cell that raises ends itself, as in a notebook.

    `only` leaves out the probes of other names, for tests that look at one thing.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings(), quiet_log():
        warnings.simplefilter("ignore")  # a student's code may warn
        for number, source in enumerate([IMPORTS, *cells]):
            filename = f"<cell {number}>"
            linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
            with suppress(NotImplementedError):  # what the release's cells raise
                exec(compile(source, filename, "exec"), namespace)
        probes = [p for p in plan_probes(exercise(notebook), SECRET, "cnn") if only is None or p["name"] in only]
        frames: list[Frame] = []

        def send(header: dict[str, Any], payload: bytes = b"") -> None:
            frames.append(Frame(json.loads(json.dumps({"run": 1, **header})), payload))

        collector = collect.Collector(namespace, send, no_limit, StepTimeout, locate, [])
        for probe in probes:
            collector.collect(probe, 60)
    return decode_evidence(probes, frames, NOT_RUN)


def no_test_set() -> Dataset:
    raise AssertionError("this check must not ask for the test set")


def graded(notebook: str, evidence: Evidence, runner: Runner, **changed: Any) -> Graded:
    """What the hidden graders look at."""
    fields: dict[str, Any] = {"files": {}, "converted": None, "test_set": lambda: no_test_set(), "notes": []}
    return Graded(exercise=exercise(notebook), evidence=evidence, runner=runner, secret=SECRET, **{**fields, **changed})


def grade(notebook: str, evidence: Evidence, runner: Runner, **changed: Any) -> dict[str, CheckResult]:
    """The results of all hidden checks of a notebook, by name."""
    subject = graded(notebook, evidence, runner, **changed)
    results = grading.run_graders(GRADERS / subject.exercise.grader, subject)
    return {result.name: result for result in results}


def grade_check(notebook: str, name: str, evidence: Evidence, runner: Runner, **changed: Any) -> CheckResult:
    """The result of one hidden check alone, which must not depend on others."""
    subject = graded(notebook, evidence, runner, **changed)
    with mock.patch.object(grading, "points_problem", return_value=""):  # the others' points are missing here
        results = grading.run_graders(GRADERS / f"{subject.exercise.grader}::{name}", subject)
    assert [result.name for result in results] == [name], results
    return results[0]


def lost(results: Mapping[str, CheckResult]) -> dict[str, str]:
    """The checks that did not pass, by name: status and message."""
    return {
        name: f"{result.status.value}: {result.message}"
        for name, result in results.items()
        if result.status is not Status.PASSED
    }


def submitted(path: Path) -> Submitted:
    return Submitted(path, "0" * 64, path.stat().st_size)
