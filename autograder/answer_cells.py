"""The cells of a submission that hold something of the student's, for the page that shows what was graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder.printable import printable
from autograder.repair import is_solution
from autograder.results import AnswerCell
from autograder.submission import Submission, grade_id_of, is_test_cell, read_released, source_of

MOST_CELLS = 60  # of a notebook
MOST_CHARACTERS = 40_000  # of a notebook


def answer_cells(submission: Submission, release: Path) -> dict[str, list[AnswerCell]]:
    """By notebook, the cells that ask for an answer, filled in or not, and all that are not as they were released.

    Test cells, which nobody may change, are left out.
    """
    found = {}
    for path in sorted(release.glob("*.ipynb")):
        notebook = submission.notebooks.get(path.stem)
        if notebook is not None:
            released = {source_of(cell).strip() for cell in read_released(path)["cells"]}
            found[path.stem] = list(_bounded(_own_cells(notebook["cells"], released)))
    return found


def _own_cells(cells: Sequence[Mapping[str, Any]], released: set[str]) -> Iterator[AnswerCell]:
    for index, cell in enumerate(cells):
        text, kind = source_of(cell), cell["cell_type"]
        own = is_solution(cell) or text.strip() not in released
        if own and kind in ("code", "markdown") and not is_test_cell(cell) and text.strip():
            yield AnswerCell(index, kind, grade_id_of(cell), printable(text))


def _bounded(cells: Iterator[AnswerCell]) -> Iterator[AnswerCell]:
    """As much as a person can read; where something is left out, a last line says so."""
    left = MOST_CHARACTERS
    for number, cell in enumerate(cells, 1):
        whole = len(cell.source) <= left and number <= MOST_CELLS
        if not whole:
            yield replace(cell, source=f"{cell.source[:left]}\n# … cut, with what follows")
            return
        yield cell
        left -= len(cell.source)
