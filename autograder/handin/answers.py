"""The cells of a submission that hold something of the student's, for the page that shows what was graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder.core.config import Assignment
from autograder.core.files import digest_of
from autograder.core.grade_report import AnswerCell
from autograder.core.text import printable
from autograder.core.weights_file import choose_weights, exact_names
from autograder.handin.cells import is_solution
from autograder.handin.submission import Submission, grade_id_of, is_test_cell, read_released, source_of

MOST_CELLS = 60  # of a notebook
MOST_CHARACTERS = 40_000  # of a notebook
CUT = "# … cut, with what follows"  # the last line of an answer of which no more is kept


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
            yield replace(cell, source=f"{cell.source[:left]}\n{CUT}")
            return
        yield cell
        left -= len(cell.source)


MISSING = "missing"
Answers = dict[str, dict[str, str]]


def answers_of(submission: Submission, release: Path, assignment: Assignment) -> Answers:
    """A digest of what was handed in for each grade cell of the release; MISSING where its notebook cannot be read.

    For a cell that is marked by hand it is its own text (all of the notebook where that is as released: the answer may
    stand elsewhere), for an automatic one all code of its notebook and the other files, of checkpoints only the one
    that the notebook is graded with. White space at line ends does not count.
    """
    answers: Answers = {}
    for path in sorted(release.glob("*.ipynb")):
        notebook = submission.notebooks.get(path.stem)
        released = {grade_id_of(cell): source_of(cell) for cell in read_released(path)["cells"] if _is_graded(cell)}
        digests = _digests(notebook["cells"], released, _files(submission, assignment, path.stem)) if notebook else {}
        if released:
            answers[path.stem] = {cell: digests.get(cell, MISSING) for cell in released}
    return answers


def _is_graded(cell: Mapping[str, Any]) -> bool:
    own = cell.get("metadata", {}).get("nbgrader", {})
    return bool(own.get("grade") or own.get("task"))


def _digests(cells: Sequence[Mapping[str, Any]], released: Mapping[str, str], files: Sequence[str]) -> dict[str, str]:
    code = [_plain(cell["source"]) for cell in cells if cell["cell_type"] == "code" and not is_test_cell(cell)]
    automatic = digest_of("code", *code, "files", *files)
    whole = digest_of("notebook", *(_plain(cell["source"]) for cell in cells))
    found = {}
    for cell in cells:
        if _is_graded(cell):
            text, name = _plain(cell["source"]), grade_id_of(cell)
            elsewhere = cell["metadata"]["nbgrader"].get("task") or text == _plain(released.get(name, ""))
            by_hand = whole if elsewhere else digest_of("text", text)
            found[name] = automatic if is_test_cell(cell) else by_hand
    return found


def _plain(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _files(submission: Submission, assignment: Assignment, notebook: str) -> list[str]:
    owners: dict[str, str] = {}
    for exercise in assignment.exercises:
        if exercise.checkpoint is not None:
            stem = exercise.checkpoint.stem
            own = (*exact_names(stem), choose_weights(stem, submission.files).name)
            owners |= dict.fromkeys(own, exercise.notebook)
    return [
        f"{name}:{file.sha256}"
        for name, file in sorted(submission.files.items())
        if owners.get(name, notebook) == notebook
    ]
