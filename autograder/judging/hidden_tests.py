"""The trusted pytest run of one hidden grader file, and what its checks become.

pytest runs without plugins, without any configuration of the course, outside its folder, and without assertion
rewriting, which would print secret inputs.
"""

from __future__ import annotations

import io
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from autograder.core.config import Exercise
from autograder.core.fields import FieldError, exercise_values, fill
from autograder.core.grade_report import CheckResult, Status
from autograder.core.package import package_file
from autograder.core.shares import TooFewPoints, share_points
from autograder.core.source_lines import LINES_PER_CELL
from autograder.core.text import clean_text
from autograder.graphs.model_graph import GraphRefused
from autograder.graphs.runner_process import RunnerFault, RunnerProblem
from autograder.judging.check_language import CheckContext, CheckEnded

ARGUMENTS = ["--assert=plain", "--noconftest", "--strict-markers", "--import-mode=importlib"]
ARGUMENTS += ["--disable-plugin-autoload"]
WITHOUT = ["cacheprovider", "terminal", "faulthandler", "junitxml", "pastebin", "stepwise", "doctest", "unittest"]
# These two collect garbage at the end of each run, five times over: most of the time of a quick grader file.
WITHOUT += ["unraisableexception", "threadexception"]
MARKERS = ["points(value, *, cell, hint): what a check is worth among those of its cell"]
MARKERS += ["requires(*names): checks it depends on"]


Tell = Callable[..., None]


def silent(**_: Any) -> None:
    """Where nobody listens."""


def run_graders(path: Path, graded: CheckContext, only: str = "", tell: Tell = silent) -> list[CheckResult]:
    """Run one hidden grader file with pytest and return one result per check, in the file's order.

    With `only` that check runs and those that it requires. A file that cannot be collected, or whose checks have other
    cells than the exercise, is INTERNAL for all its cells.
    """
    tell(stage="collection")
    plugin = GraderPlugin(graded, only, tell)
    arguments = [*ARGUMENTS, f"--rootdir={path.parent}", "-c", str(package_file("graders/pytest.ini"))]
    for name in WITHOUT:
        arguments += ["-p", f"no:{name}"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        code = pytest.main([*arguments, str(path)], plugins=[plugin])
    problem = plugin.problem or ("" if only else points_problem(graded.exercise, plugin.results))
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not problem:
        problem = f"{path.name}: pytest ended with {code!s}"
    return internal_results(graded.exercise, problem) if problem else plugin.results


def points_problem(exercise: Exercise, results: list[CheckResult]) -> str:
    """Why the checks of a grader file do not fit the points of the configuration, or nothing."""
    found: dict[str, float] = {}
    for result in results:
        found[result.cell] = round(found.get(result.cell, 0) + result.points, 6)
    wanted = {cell: float(points) for cell, points in exercise.cells.items()}
    return "" if found == wanted else f"{exercise.grader}: checks give {found}, the configuration says {wanted}"


def shared_points(exercise: Exercise, items: Sequence[pytest.Item]) -> dict[str, float]:
    """What each check is worth, by name: the points of its cell, shared by the checks' own. Raises TooFewPoints."""
    marks = {item.name: mark for item in items if (mark := item.get_closest_marker("points")) is not None}
    found = {name: float(mark.args[0]) for name, mark in marks.items()}
    for cell, points in exercise.cells.items():
        own = [name for name, mark in marks.items() if mark.kwargs["cell"] == cell]
        if own:
            found.update(zip(own, share_points([found[name] for name in own], points), strict=True))
    return found


def internal_results(exercise: Exercise, problem: str) -> list[CheckResult]:
    """One INTERNAL result for each grade cell of an exercise."""
    title, message = "The hidden grader ran", own_fault(problem)
    return [
        CheckResult(exercise.notebook, cell, "grader", title, points, 0, Status.INTERNAL, message)
        for cell, points in exercise.cells.items()
    ]


def own_fault(problem: str) -> str:
    """The wording for the grader's own fault."""
    return f"Grader error, not your code: {problem}; no score recorded"


class GraderPlugin:
    """Collects marks and outcomes of one hidden grader file."""

    def __init__(self, graded: CheckContext, only: str = "", tell: Tell = silent) -> None:
        self._graded, self._only, self._tell = graded, only, tell
        self.results: list[CheckResult] = []
        self.problem = ""
        self._errors: dict[str, BaseException] = {}
        self._started = 0.0
        self._points: dict[str, float] = {}

    @pytest.fixture(scope="session")
    def graded(self) -> CheckContext:
        """What the hidden tests look at."""
        return self._graded

    def pytest_configure(self, config: pytest.Config) -> None:
        # Of a failed check pytest makes a traceback with every argument in full: nobody reads it, and it took most of
        # the time. The option's own plugin is left out, so it is no argument.
        config.option.tbstyle = "no"
        for marker in MARKERS:
            config.addinivalue_line("markers", marker)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        try:
            self._points = shared_points(self._graded.exercise, items)
        except TooFewPoints as error:
            self.problem = f"{self._graded.exercise.grader}: {error}"
        if self._only:
            wanted = with_required(items, self._only)
            items[:] = [item for item in items if item.name in wanted]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problem = f"{Path(report.nodeid).name} cannot be collected: {report.longreprtext[-300:]}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._started = time.monotonic()
        self._errors.clear()
        result = self._describe(item)
        self._tell(stage="check", check=asdict(result))
        missing = self._failed_requirement(item)
        if missing is not None:
            self.results.append(not_judged(result, missing))
        known = len(self.results) - (missing is not None)
        outcome = yield
        for ended in self.results[known:]:
            self._tell(result=asdict(ended))
        return outcome

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        if self._failed_requirement(item):
            pytest.skip("a requirement did not pass")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self._failed_requirement(item):
            return report
        seconds = round(time.monotonic() - self._started, 3)
        if call.excinfo is not None:
            if call.when != "teardown" and item.name not in self._errors:
                self._errors[item.name] = call.excinfo.value
                self.results.append(replace(judge(self._describe(item), call.excinfo.value), seconds=seconds))
            elif call.when == "teardown":
                self.problem = f"{item.name}: clean-up raised {call.excinfo.typename}"
        elif call.when == "call":
            passed = self._describe(item)
            self.results.append(replace(passed, status=Status.PASSED, earned=passed.points, seconds=seconds, hint=""))
        return report

    def _describe(self, item: pytest.Item) -> CheckResult:
        """The check as its marks and docstring declare it, not judged yet."""
        mark = item.get_closest_marker("points")
        function = getattr(item, "function", None)
        title = self._filled((getattr(function, "__doc__", None) or item.name).strip().splitlines()[0], item)
        if mark is None:
            self.problem = f"{item.name} has no @points"
            return CheckResult(self._graded.exercise.notebook, "", item.name, title, 0, 0, Status.INTERNAL)
        hint = self._filled(str(mark.kwargs.get("hint", "")), item)
        cell, value = str(mark.kwargs["cell"]), self._points.get(item.name, float(mark.args[0]))
        return CheckResult(self._graded.exercise.notebook, cell, item.name, title, value, 0.0, Status.FAILED, hint=hint)

    def _filled(self, text: str, item: pytest.Item) -> str:
        """A title or a hint with what the configuration says in its fields."""
        try:
            return fill(text, exercise_values(self._graded.exercise))
        except FieldError as error:
            self.problem = f"{self._graded.exercise.grader}, {item.name}: {error}"
            return text

    def _failed_requirement(self, item: pytest.Item) -> CheckResult | None:
        """The first required check that did not pass, one that was decided before one that was not."""
        passed = {result.name: result for result in self.results}
        undecided = None
        for mark in item.iter_markers("requires"):
            for name in mark.args:
                if name not in passed:
                    self.problem = f"{item.name} requires {name}, which did not run before it"
                elif passed[name].status is Status.UNSUPPORTED:
                    undecided = undecided or passed[name]
                elif passed[name].status is not Status.PASSED:
                    return passed[name]
        return undecided


def with_required(items: Sequence[pytest.Item], name: str) -> set[str]:
    """The names of a check and of all that it requires, directly or not."""
    requires = {item.name: [n for mark in item.iter_markers("requires") for n in mark.args] for item in items}
    found, left = set(), [name]
    while left:
        name = left.pop()
        left += [] if name in found else requires.get(name, [])
        found.add(name)
    return found


def not_judged(result: CheckResult, missing: CheckResult) -> CheckResult:
    """The result of a check whose requirement did not pass: what hangs on an undecided one is undecided, too."""
    if missing.status is Status.UNSUPPORTED:
        reason = f"undecided, because “{missing.title}” is"
        return replace(result, status=Status.UNSUPPORTED, message=reason, hint="")
    return replace(result, status=Status.SKIPPED, message=f"not judged, because “{missing.title}” did not pass")


def judge(result: CheckResult, error: BaseException) -> CheckResult:
    """The result of a check that ended in an exception; one that no grader meant to raise is the grader's fault."""
    if isinstance(error, CheckEnded):
        cell, line = divmod(error.line, LINES_PER_CELL)
        earned = round(result.points * error.fraction, 1)
        return replace(
            result,
            status=error.status,
            message=clean_text(str(error)),
            hint=result.hint if error.takes_hint else "",
            source_cell=cell,
            line=line,
            earned=earned,
        )
    if isinstance(error, RunnerProblem):
        status = Status.FAILED if error.status == "REFUSED" else Status(error.status)
        cell, line = divmod(error.line, LINES_PER_CELL)
        return replace(result, status=status, message=clean_text(str(error)), source_cell=cell, line=line)
    if isinstance(error, GraphRefused):
        cell, line = divmod(error.line, LINES_PER_CELL)
        return replace(result, status=Status.FAILED, message=clean_text(str(error)), source_cell=cell, line=line)
    if isinstance(error, (MemoryError, RecursionError)):
        message = "judging this takes more memory than there is for it"
        return replace(result, status=Status.OUT_OF_MEMORY, message=message, hint="")
    if isinstance(error, AssertionError) and error.args:
        return replace(result, status=Status.FAILED, message=clean_text(str(error)))
    if isinstance(error, RunnerFault):
        return replace(result, status=Status.INTERNAL, message=own_fault(str(error)), hint="")
    traceback.print_exception(error, file=sys.__stderr__)
    message = own_fault(f"{type(error).__name__} in {result.name}")
    return replace(result, status=Status.INTERNAL, message=message, hint="")


def from_records(records: list[Mapping[str, Any]]) -> list[CheckResult]:
    """The CheckResults that `main` wrote."""
    return [CheckResult(**{**record, "status": Status(record["status"])}) for record in records]
