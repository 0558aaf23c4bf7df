"""Which of the asked-for names are not answered yet: their cell is as in the release, and nothing else defines them."""

from __future__ import annotations

import re
from collections.abc import Collection

from autograder.handin.cells import grade_id_of, is_solution, source_of
from autograder.handin.notebook_file import Notebook
from autograder.handin.repair import defined_names


def unanswered(notebook: Notebook, released: Notebook, names: Collection[str]) -> list[str]:
    """The names, in their order, that a repaired notebook leaves as in the release.

    A name belongs to the first solution cell of the release that speaks of it.
    """
    texts = {source_of(cell).strip() for cell in released["cells"]}
    open_cells = {
        grade_id_of(cell): cell
        for cell in notebook["cells"]
        if is_solution(cell) and cell["cell_type"] == "code" and source_of(cell).strip() in texts
    }
    own = [c for c in notebook["cells"] if c["cell_type"] == "code" and source_of(c).strip() not in texts]
    defined = {name for cell in own for name in defined_names(source_of(cell))}
    owners = {name: _owner(name, released) for name in names}
    return [name for name in names if owners[name] in open_cells and name not in defined]


def _owner(name: str, released: Notebook) -> str:
    word = re.compile(rf"\b{re.escape(name)}\b")
    solutions = (cell for cell in released["cells"] if is_solution(cell) and cell["cell_type"] == "code")
    return next((grade_id_of(cell) for cell in solutions if word.search(source_of(cell))), "")
