"""An ordinary assignment's submission: what of it runs, and the points of its test cells.

Its tests stand beside the student's code, as nbgrader knows them: they run in the jail with it, hidden ones put back,
and what they show is data that nbgrader's rule turns into points out here.
"""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autograder.core.config import Limits
from autograder.core.errors import SetupError
from autograder.core.files import digest_of
from autograder.core.grade_report import CellRun, CheckResult, NotebookRun, Status
from autograder.core.ordinary import hidden_lines, shown_line
from autograder.core.package import digest_of_code
from autograder.handin.cells import NOT_RUN, grade_id_of, is_test_cell, source_of
from autograder.handin.submission import Submission, read_released
from autograder.pipeline.grader import Grader, OrdinaryTests
from autograder.pipeline.jail_run import JailRun
from autograder.pipeline.outputs import as_display
from autograder.pipeline.plan import Plan

MOST_TITLE = 120
ASK_NBGRADER = "grade it with `autograder grade` or `nbgrader autograde`, which know its hidden tests"


def make_ordinary_plan(grader: Grader, submission: Submission) -> Plan:
    """Plan the run of every readable notebook from top to bottom, its tests as the instructor wrote them."""
    tests, limits = tests_of(grader), grader.course.limits
    notebooks = [
        _planned(exercise.notebook, submission.notebooks[exercise.notebook], tests, limits)
        for exercise in grader.assignment.exercises
        if exercise.notebook in submission.notebooks
    ]
    worker = digest_of_code("worker/**/*.py")
    run = digest_of(worker, submission.jail_digest, json.dumps(notebooks, sort_keys=True))
    keys = {notebook["name"]: digest_of(run, notebook["name"]) for notebook in notebooks}
    return Plan(notebooks, {}, keys, worker="ordinary")


def tests_of(grader: Grader) -> OrdinaryTests:
    """The tests of an ordinary assignment. Raises SetupError where nobody has asked nbgrader for them."""
    if grader.tests is None:
        name = grader.assignment_name
        raise SetupError(
            f"{name} is an ordinary nbgrader assignment (grader_config.py does not name it): {ASK_NBGRADER}"
        )
    return grader.tests


def _planned(name: str, notebook: Mapping[str, Any], tests: OrdinaryTests, limits: Limits) -> dict[str, Any]:
    own = tests.texts.get(name, {})
    cells = [
        {"index": index, "source": own.get(grade_id_of(cell), cell["source"])}
        for index, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and not cell["metadata"].get(NOT_RUN)
    ]
    return {
        "name": name,
        "cells": cells,
        "probes": [],
        "results": True,
        "rule": tests.rule,  # it decides marks, and so belongs to what identifies them
        "cell_seconds": limits.cell_seconds,
        "notebook_seconds": limits.notebook_seconds,
        "probe_seconds": limits.probe_seconds,
        "output_bytes": limits.output_kib << 10,
        "outputs": limits.outputs,
    }


@dataclass(frozen=True)
class _TestCell:
    """A test cell: its place, its text as students got it and in full, what running it left (None: nothing), and why
    nothing was left."""

    notebook: str
    name: str
    points: float
    index: int
    released: str
    full: str
    run: CellRun | None
    why: tuple[Status, str]

    @property
    def has_hidden(self) -> bool:
        return bool(hidden_lines(self.full, self.released))


def judge_cells(grader: Grader, submission: Submission, jail: JailRun) -> list[CheckResult]:
    """One check for every test cell, with the points that nbgrader's rule gives for what it showed."""
    tests, most = tests_of(grader), grader.course.limits.outputs
    return [
        _judge(cell, tests, most)
        for exercise in grader.assignment.exercises
        for cell in _test_cells(exercise.notebook, exercise.cells, submission, jail, tests)
    ]


def without_results(jail: JailRun) -> JailRun:
    """The run with results as displays: they have been read, and nobody else is to take them for scores."""
    shown = {name: replace(run, cells=[_displayed(cell) for cell in run.cells]) for name, run in jail.notebooks.items()}
    return replace(jail, notebooks=shown)


def _displayed(cell: CellRun) -> CellRun:
    shown = [as_display(dict(output)) for output in cell.outputs]
    return replace(cell, outputs=[output for output in shown if output.get("data") != {}])


def _test_cells(
    name: str, points: Mapping[str, float], submission: Submission, jail: JailRun, tests: OrdinaryTests
) -> list[_TestCell]:
    cells = submission.notebooks.get(name, {}).get("cells", [])
    places = {grade_id_of(cell): index for index, cell in enumerate(cells) if is_test_cell(cell)}
    assert submission.release is not None  # it was read against one
    released = {grade_id_of(c): source_of(c) for c in read_released(submission.release / f"{name}.ipynb")["cells"]}
    run = jail.notebooks.get(name)
    runs = {cell.index: cell for cell in run.cells} if run else {}
    why = _why_nothing(submission.unreadable.get(name, ""), run)
    found = []
    for cell, maximum in points.items():
        index, text = places.get(cell, 0), released.get(cell, "")
        full = tests.texts.get(name, {}).get(cell, text)
        left = runs.get(index) if cell in places else None
        found.append(_TestCell(name, cell, maximum, index, text, full, left, why))
    return found


def _why_nothing(unreadable: str, run: NotebookRun | None) -> tuple[Status, str]:
    if unreadable:
        return Status.FAILED, unreadable
    if run is None or run.status is Status.PASSED:
        return Status.CRASHED, "the cell did not run"
    return run.status, f"the notebook did not get here: {run.message}"


def _judge(cell: _TestCell, tests: OrdinaryTests, most: int) -> CheckResult:
    check = CheckResult(
        cell.notebook,
        cell.name,
        cell.name,
        title_of(cell.name, cell.released),
        cell.points,
        0.0,
        cell.why[0],
        cell.why[1],
        source_cell=cell.index,
    )
    run = cell.run
    if run is None:
        return check
    check = replace(check, status=run.status, message=run.message, seconds=run.seconds)
    if run.status is Status.ERROR:
        return _failed(check, cell, run)
    if run.status is not Status.PASSED:
        return replace(check, line=shown_line(cell.full, cell.released, run.line) if run.line else 0)
    if len(run.outputs) >= most:  # what decides may be among those that were not kept
        return replace(check, status=Status.UNSUPPORTED, message=f"the test cell shows {most} outputs or more")
    try:
        earned = tests.points_of(cell.points, run.outputs)
    except (ValueError, KeyError, TypeError):
        wanted = f"its result must be a number from 0 to {cell.points:g}"
        return replace(
            check, status=Status.UNSUPPORTED, message=f"nbgrader cannot read points from this cell: {wanted}"
        )
    return _scored(replace(check, earned=earned), cell, run)


def _scored(check: CheckResult, cell: _TestCell, run: CellRun) -> CheckResult:
    if check.earned >= check.points:
        return replace(check, status=Status.PASSED, message="")
    check = replace(check, status=Status.FAILED)
    written = next((str(o.get("text", "")) for o in run.outputs if o.get("name") == "stderr"), "")
    if written and not check.earned:
        shown = "" if cell.has_hidden else f": {written.strip().splitlines()[0] if written.strip() else ''}"
        return replace(check, message=f"the test cell wrote to standard error, which counts as a failed test{shown}")
    return replace(check, message=f"the tests give {check.earned:g} of {check.points:g} points")


def _failed(check: CheckResult, cell: _TestCell, run: CellRun) -> CheckResult:
    """A test that raised. Of a hidden one nothing is told but that it failed, and by which of Python's own errors: its
    text may hold what it asked."""
    error: Mapping[str, Any] = next(
        (output for output in reversed(run.outputs) if output["output_type"] == "error"), {}
    )
    name, value = str(error.get("ename", "")), " ".join(str(error.get("evalue", "")).split())
    line = shown_line(cell.full, cell.released, run.line) if run.line else 0
    check = replace(check, status=Status.FAILED)
    if line or not cell.has_hidden:
        return replace(check, message=f"{name}: {value}".removesuffix(": ") or run.message, line=line)
    kind = name if isinstance(getattr(builtins, name, None), type) else "an error"
    if run.line:
        return replace(check, message=f"a hidden test of this cell does not pass ({kind})")
    return replace(check, message=f"a test of this cell, open or hidden, does not pass: what it calls raises {kind}")


def title_of(name: str, released: str) -> str:
    """What a test cell says of itself to students in its first line, as a text or a comment; else its name."""
    try:
        said = ast.get_docstring(ast.parse(released)) or ""
    except (SyntaxError, ValueError):  # magics, say
        said = ""
    first = next((line.strip() for line in (said or released).splitlines() if line.strip()), "")
    if not said:
        first = first.lstrip("# ").strip() if first.startswith("#") else ""
    return first[:MOST_TITLE] if any(c.isalnum() for c in first) else f"Tests in {name}"
