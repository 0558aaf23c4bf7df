"""What a student's page must not show of an ordinary assignment: hidden tests and marking schemes, which the graded
notebook holds, since its tests stand in its cells."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import utils

from autograder.core.ordinary import hidden_lines
from autograder.handin.submission import UnreadableNotebook, grade_id_of, read_released, source_of

LEAST_LINE = 8  # characters of a hidden line by which it is known; `)` stands everywhere
NOT_SHOWN = "[not shown: this output holds text of a test that is hidden from students]\n"
NO_TEXT = "This cell is not shown: its released text is missing."


def as_released(notebook: Any, release: Path) -> None:
    """Put the text that students got into each cell of a graded notebook that they could not change, and take out what
    other cells show of the rest. Whoever means to print a test in disguise still can (docs/ordinary.md)."""
    released, hidden = released_texts(release), set[str]()
    for cell in notebook.cells:
        if utils.is_locked(cell):
            full, text = cell.source, released.get(grade_id_of(cell), NO_TEXT)
            hidden |= {line.strip() for line in hidden_lines(full, text) if len(line.strip()) >= LEAST_LINE}
            cell.source = text
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_shown(output, hidden) for output in cell.outputs]


def released_texts(release: Path) -> dict[str, str]:
    """The texts of a released notebook's cells by name; none where it cannot be read."""
    try:
        return {grade_id_of(cell): source_of(cell) for cell in read_released(release)["cells"]}
    except UnreadableNotebook:
        return {}


def _shown(output: Mapping[str, Any], hidden: set[str]) -> Any:
    text = html.unescape("\n".join(_texts(output)))
    if any(line in text for line in hidden):
        return nbformat.v4.new_output("stream", name="stdout", text=NOT_SHOWN)
    return output


def _texts(output: Mapping[str, Any]) -> Iterator[str]:
    parts = [output.get("text"), output.get("evalue"), *output.get("traceback", ()), *output.get("data", {}).values()]
    yield from (part for part in parts if isinstance(part, str))
