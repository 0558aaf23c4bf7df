"""The cells of a submission that hold something of the student's, for the page that shows what was graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder.results import AnswerCell
from autograder.submission import Submission, grade_id_of, is_test_cell, read_notebook, source_of

MOST_CELLS = 60  # of a notebook
MOST_CHARACTERS = 40_000  # of a notebook


def answer_cells(submission: Submission, release: Path) -> dict[str, list[AnswerCell]]:
    """By notebook, every code and text cell that is not as it was released, but for the test cells."""
    found = {}
    for path in sorted(release.glob("*.ipynb")):
        notebook = submission.notebooks.get(path.stem)
        if notebook is not None:
            released = {source_of(cell).strip() for cell in read_notebook(path)["cells"]}
            found[path.stem] = list(_bounded(_own_cells(notebook["cells"], released)))
    return found


def _own_cells(cells: Sequence[Mapping[str, Any]], released: set[str]) -> Iterator[AnswerCell]:
    for index, cell in enumerate(cells):
        text = source_of(cell)
        if cell["cell_type"] in ("code", "markdown") and not is_test_cell(cell) and text.strip() not in released:
            yield AnswerCell(index, cell["cell_type"], grade_id_of(cell), text)


def _bounded(cells: Iterator[AnswerCell]) -> Iterator[AnswerCell]:
    """As many as a person can read; where something is left out, the last one ends with a remark."""
    left = MOST_CHARACTERS
    for number, cell in enumerate(cells):
        if number == MOST_CELLS or left <= 0:
            return
        whole = len(cell.source) <= left
        yield cell if whole else AnswerCell(cell.index, cell.kind, cell.name, f"{cell.source[:left]}\n# … cut here")
        left -= len(cell.source)
