"""What the cells of a notebook are by nbgrader's metadata: test cells, solutions, written answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autograder.handin.notebook_file import Notebook

Cell = dict[str, Any]
NOT_RUN = "autograder_not_run"
COPY_OF = "autograder_copy_of"  # of a student's cell that came with the id of a cell that the notebook has: that id
ADDED = "autograder_added"  # of a cell that was put in, so that a student did not see it


def grade_id_of(cell: Mapping[str, Any]) -> str:
    """The cell's nbgrader id, or the empty string."""
    metadata = cell.get("metadata")
    own = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    found = own.get("grade_id") if isinstance(own, dict) else None
    return found if isinstance(found, str) else ""


def is_test_cell(cell: Mapping[str, Any]) -> bool:
    """Whether an (already repaired) cell is an automatically graded test cell."""
    own = cell.get("metadata", {}).get("nbgrader", {})
    return bool(own.get("grade")) and not own.get("solution") and cell["cell_type"] == "code"


def is_solution(cell: Mapping[str, Any]) -> bool:
    """Whether an (already repaired) cell is one that the student was to fill in."""
    return bool(cell.get("metadata", {}).get("nbgrader", {}).get("solution"))


def is_written_answer(cell: Mapping[str, Any]) -> bool:
    """Whether an (already repaired) cell is an answer that a person marks."""
    return is_solution(cell) and bool(cell["metadata"]["nbgrader"].get("grade"))


def is_task(cell: Mapping[str, Any]) -> bool:
    """Whether a cell of the course sets a task, which students answer in cells of their own."""
    return bool(cell.get("metadata", {}).get("nbgrader", {}).get("task"))


def is_run(cell: Mapping[str, Any]) -> bool:
    """Whether a cell of a repaired notebook is run: not a test cell, nor one that would undo the student's answer."""
    return cell["cell_type"] == "code" and not is_test_cell(cell) and not cell["metadata"].get(NOT_RUN)


def test_cells(notebook: Notebook) -> dict[str, float]:
    """The automatically graded test cells of a released notebook, with their points."""
    own = [cell["metadata"]["nbgrader"] for cell in notebook["cells"] if is_test_cell(cell)]
    return {cell["grade_id"]: float(cell["points"]) for cell in own}


def manual_cells(notebook: Notebook) -> dict[str, float]:
    """The cells of a released notebook that a person marks, with their points."""
    graded = [cell for cell in notebook["cells"] if not is_test_cell(cell)]
    own = [cell.get("metadata", {}).get("nbgrader", {}) for cell in graded]
    return {cell["grade_id"]: float(cell["points"]) for cell in own if cell.get("grade") or cell.get("task")}


def source_of(cell: Mapping[str, Any]) -> str:
    """A cell's text as one string, fit to be written, with Unix line ends."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    text = source if isinstance(source, str) else ""
    # A lone surrogate could not be written to the graded notebook, and other line ends would shift line numbers.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
