"""What nbgrader knows of an ordinary assignment: the tests in its gradebook, and its rule for points."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import __version__ as nbgrader_version
from nbgrader import utils
from nbgrader.api import MissingEntry
from nbgrader.preprocessors import IgnorePattern

from autograder.core.ordinary import is_cut_from
from autograder.course.gradebook import GradebookError, opened
from autograder.handin.submission import grade_id_of, read_released, source_of
from autograder.pipeline.grader import Grader, OrdinaryTests

Texts = Mapping[str, Mapping[str, str]]
POINTS = "points by nbgrader's own rule"
SILENT = logging.getLogger("autograder.ordinary")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def with_tests(grader: Grader, db_url: str, converter: Any) -> Grader:
    """The grader of an ordinary assignment with its tests, as nbgrader's gradebook and the settings of its `converter`
    (Autograde) have them; any other grader as it is. Raises GradebookError."""
    if not grader.is_ordinary:
        return grader
    name = grader.assignment_name
    texts = locked_texts(db_url, name)
    check_release(grader.release, texts, name)
    ignored = IgnorePattern(parent=converter)
    rule = f"{POINTS} (nbgrader {nbgrader_version})"
    if ignored.pattern:
        rule += f", standard error left out where it matches {ignored.pattern!r}"
    kept = converter.exclude_overwriting.get(name, ())
    return replace(grader, tests=OrdinaryTests(texts, _points_by(ignored), rule, tuple(kept)))


def locked_texts(db_url: str, name: str) -> Texts:
    """The course's own text of every cell that students cannot change, by notebook and name: with hidden tests and
    marking schemes, as `generate_assignment` saved it. Raises GradebookError."""
    remedy = f"run `nbgrader generate_assignment {name} --force`"
    with opened(db_url) as gradebook:
        if gradebook is None:
            raise GradebookError(f"no gradebook, in which nbgrader keeps the tests of {name!r}: {remedy}")
        try:
            notebooks = gradebook.find_assignment(name).notebooks
        except MissingEntry as error:
            raise GradebookError(f"the gradebook does not know the assignment {name!r}: {remedy}") from error
        return {
            notebook.name: {cell.name: cell.source for cell in notebook.source_cells if cell.locked}
            for notebook in notebooks
        }


def check_release(release: Path, texts: Texts, name: str) -> None:
    """Prove that students got what the gradebook holds, less what is hidden. Raises GradebookError."""
    remedy = f"run `nbgrader generate_assignment {name} --force`, and publish that release"
    for path in sorted(release.glob("*.ipynb")):
        released = {grade_id_of(cell): source_of(cell) for cell in read_released(path)["cells"]}
        for cell, text in texts.get(path.stem, {}).items():
            if cell not in released or not is_cut_from(text, released[cell]):
                raise GradebookError(
                    f"{cell!r} of {path.stem} is another in the gradebook than in the release: {remedy}"
                )


def with_full_texts(notebook: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """A repaired notebook with the course's full texts, hidden tests and all, in cells that students cannot change."""
    cells = [{**cell, "source": texts.get(grade_id_of(cell), cell["source"])} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def _points_by(ignored: Any) -> Callable[[float, Sequence[Mapping[str, Any]]], float]:
    """nbgrader's rule: no points for an error or for text on standard error, a number that is shown as a result, all of
    them for anything else. A result that is out of range raises ValueError, one without text KeyError."""

    def points_of(maximum: float, outputs: Sequence[Mapping[str, Any]]) -> float:
        own = {"grade": True, "solution": False, "locked": True, "grade_id": "tests", "points": maximum}
        cell = nbformat.v4.new_code_cell(metadata={"nbgrader": own}, outputs=[nbformat.from_dict(o) for o in outputs])
        cell, _ = ignored.preprocess_cell(cell, {}, 0)
        return float(utils.determine_grade(cell, SILENT)[0])

    return points_of
