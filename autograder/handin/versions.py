"""A file that holds a notebook several times over: both sides of a merge that git could not decide, or two saves.

Where only one of them says something of the student's, that counts. Between two answers nobody chooses here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autograder.core.remarks import in_words
from autograder.handin.cells import grade_id_of, is_solution, source_of
from autograder.handin.notebook_file import Notebook, UnreadableNotebook
from autograder.handin.repair import work_of

REMEDY = "in a text editor delete the one that you do not mean, git's marks too, and hand the file in again"


def settled(notebook: Notebook, template: Notebook, name: str) -> Notebook:
    """The notebook without other versions of itself. A cell of which two versions were written holds both, between
    git's marks, so that it does not run and a person sees what there is to choose from.

    Raises UnreadableNotebook where the versions cannot be laid side by side, and were all worked on.
    """
    if "versions" not in notebook:
        return notebook
    kept = {key: value for key, value in notebook.items() if key not in ("versions", "between")}
    versions: Sequence[Sequence[Mapping[str, Any]]] = notebook["versions"]
    between: str = notebook["between"]
    works = {work: cells for cells in reversed(versions) if (work := work_of({"cells": cells}, template))}
    if len(works) < 2:
        [cells] = works.values() or [versions[0]]
        return {
            **kept,
            "cells": cells,
            "notes": [*kept["notes"], f"{between}: the version that was worked on was graded"],
        }
    if len({tuple(map(_kind, cells)) for cells in versions}) > 1:
        raise UnreadableNotebook(f"{name}: {between}, with different answers, and nobody chooses for you: {REMEDY}")
    released = {grade_id_of(cell): cell for cell in template["cells"] if grade_id_of(cell)}
    course_texts = {_text(cell) for cell in template["cells"]}
    merged, undecided = [], []
    for number, column in enumerate(zip(*versions, strict=True), 1):
        texts = list(dict.fromkeys(source_of(cell) for cell in column))
        own = [text for text in texts if text.strip() and text.strip() not in course_texts]
        original = released.get(grade_id_of(column[0]))
        if len(own) > 1 and (original is None or is_solution(original)):
            undecided.append(f"`{grade_id_of(column[0])}`" if original is not None else f"cell {number}")
            merged.append({**column[0], "source": _both(own)})
        else:
            merged.append({**column[0], "source": own[0] if own else texts[0]})
    told = f"{between}: of each cell what was written in it was graded"
    if undecided:
        told = f"{between}; {in_words(undecided)} can be read in several ways, and nobody chooses for you: {REMEDY}"
    return {**kept, "cells": merged, "notes": [*kept["notes"], told]}


def _kind(cell: Mapping[str, Any]) -> tuple[object, str]:
    return cell.get("cell_type"), grade_id_of(cell)


def _text(cell: Mapping[str, Any]) -> str:
    return source_of(cell).strip()


def _both(texts: Sequence[str]) -> str:
    """Several versions of one text, as git shows them."""
    return "\n".join(["<<<<<<<", "\n=======\n".join(texts), ">>>>>>>"])
