"""Notebooks whose cells have lost nbgrader's metadata, as in Colab and in converters, known by the course's own texts.

The course's cells are found by their texts. An answer is what stands where its cell stood, between cells of the course,
where that can be one cell only; code is also known by the names that it was to define.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from autograder.core.remarks import in_words
from autograder.handin.cells import grade_id_of, is_solution, is_test_cell, source_of
from autograder.handin.notebook_file import Notebook
from autograder.handin.repair import defined_names
from autograder.handin.walk import stem_of

SHARE = 1 / 3  # of the course's texts: a sheet for trying out holds a few of them, too
LETTERS = re.compile(r"[\W_]+")


def known_by_texts(notebook: Notebook, by_name: str, name: str, templates: Mapping[str, Notebook]) -> str:
    """The notebook of the release whose texts stand in this one; "" where that is none, or could be several.

    The one of the file's exact name, `by_name`, comes first; else the `name` decides between equals only.
    """
    texts = {_text(cell) for cell in notebook["cells"]}
    course = {own: _course_texts(template) for own, template in templates.items()}
    common = Counter(text for found in course.values() for text in found)
    found = {}
    for own, template in templates.items():
        shared = course[own] & texts
        if not any(grade_id_of(cell) for cell in template["cells"]) or not _is_enough(shared, course[own], template):
            continue
        found[own] = (sum(common[text] == 1 for text in shared), len(shared))
    if found.get(by_name, (0, 0))[0]:
        return by_name
    best = [own for own, score in found.items() if score == max(found.values())]
    if len(best) > 1 or (best and found[best[0]][0] == 0):
        plain = _plain(stem_of(PurePosixPath(name).name))
        best = [own for own in best if _plain(own) in plain]
    return best[0] if len(best) == 1 else ""


def _is_enough(shared: set[str], course: set[str], template: Notebook) -> bool:
    is_tested = any(is_test_cell(cell) and _text(cell) in shared for cell in template["cells"])
    return len(shared) > 1 and (is_tested or len(shared) >= SHARE * len(course))


def _course_texts(template: Notebook) -> set[str]:
    return {_text(cell) for cell in template["cells"] if not is_solution(cell)} - {""}


def _text(cell: Mapping[str, Any]) -> str:
    """A cell's text as converters leave it: blanks and line breaks change."""
    return " ".join(source_of(cell).split())


def _plain(name: str) -> str:
    return LETTERS.sub("", name).lower()


def with_lost_ids(notebook: Notebook, template: Notebook) -> Notebook:
    """The notebook with the grade ids of the release in the cells that can be nothing else, and a note. It stays as it
    is where a cell still has an id, or where no cell is known."""
    known = {grade_id_of(cell) for cell in template["cells"]} - {""}
    cells: Sequence[Mapping[str, Any]] = notebook["cells"]
    if not known or any(grade_id_of(cell) in known for cell in cells):
        return notebook
    places = _Places(cells, template["cells"])
    ids = {**places.course, **places.answers}
    if not ids:
        return notebook
    named = [{**cell, "metadata": _with_id(cell, ids[at])} if at in ids else cell for at, cell in enumerate(cells)]
    answers = [grade_id_of(cell) for cell in template["cells"] if is_solution(cell)]
    told = "its cells had lost nbgrader's metadata, as happens in Colab: they were known by the course's texts"
    placed = [f"`{name}`" for name in answers if name in places.answers.values()]
    if placed:
        told += f", and {in_words(placed)} by the cells around"
    if lost := [f"`{name}`" for name in answers if name not in ids.values()]:
        told += f"; no cell can be said to be {in_words(lost)}"
    return {**notebook, "cells": named, "notes": [*notebook["notes"], told]}


def _with_id(cell: Mapping[str, Any], grade_id: str) -> dict[str, Any]:
    metadata = cell.get("metadata")
    return {**(metadata if isinstance(metadata, dict) else {}), "nbgrader": {"grade_id": grade_id}}


@dataclass(frozen=True)
class _Gap:
    """Cells between two of the course's that were found: the numbers of the release's, and of the student's."""

    released: Sequence[int]
    given: Sequence[int]


class _Places:
    """Which cell of a notebook without ids is which of the release.

    `course` are grade ids by the numbers of cells with the text of one cell of the release, of an answer that was left
    as it is, too; `answers` those of cells that hold an answer.
    """

    def __init__(self, cells: Sequence[Mapping[str, Any]], template: Sequence[Mapping[str, Any]]) -> None:
        self._cells, self._template = cells, template
        self._texts = [_text(cell) for cell in cells]
        self._once = {text for text, count in Counter(map(_text, template)).items() if text and count == 1}
        released = {_text(cell): grade_id_of(cell) for cell in template if _text(cell) in self._once}
        self.course = {at: released[text] for at, text in enumerate(self._texts) if released.get(text)}
        self.answers = self._answers()

    def _answers(self) -> dict[int, str]:
        found: dict[int, str] = {}
        courses = {_text(cell) for cell in self._template if not is_solution(cell)} | {""}
        for gap in self._gaps():
            for at in gap.released:
                name = grade_id_of(self._template[at])
                if is_solution(self._template[at]) and name not in self.course.values():
                    taken = found.keys() | self.course.keys()
                    free = [given for given in gap.given if given not in taken and self._texts[given] not in courses]
                    found |= dict.fromkeys(self._own_cells(at, free, gap), name)
        return found

    def _own_cells(self, at: int, free: Sequence[int], gap: _Gap) -> list[int]:
        """The cells among `free` that answer one cell of the release: code that defines what that one names, else the
        only cell of its kind, where nothing else of that kind is missing."""
        answer, is_code = self._template[at], self._template[at]["cell_type"] == "code"
        same = [given for given in free if (self._cells[given].get("cell_type") == "code") == is_code]
        if is_code:
            words = set(re.findall(r"\w+", source_of(answer)))
            defining = [given for given in same if not words.isdisjoint(defined_names(source_of(self._cells[given])))]
            if defining:
                return defining
        missing = [other for other in gap.released if (self._template[other]["cell_type"] == "code") == is_code]
        return same if len(same) == 1 and missing == [at] else []

    def _gaps(self) -> Iterator[_Gap]:
        """What lies between the cells of the course that are found once, and in the release's order."""
        anchors = [*self._anchors(), (len(self._template), len(self._cells))]
        released, given = -1, -1
        for next_released, next_given in anchors:
            yield _Gap(range(released + 1, next_released), range(given + 1, next_given))
            released, given = next_released, next_given

    def _anchors(self) -> list[tuple[int, int]]:
        """Pairs of (number in the release, number in the notebook) of texts that stand once in both, as many as
        possible in one order."""
        given = Counter(self._texts)
        places = {text: at for at, text in enumerate(self._texts) if given[text] == 1}
        own = [(at, _text(cell)) for at, cell in enumerate(self._template)]
        pairs = [(at, places[text]) for at, text in own if text in self._once and text in places]
        best: list[list[tuple[int, int]]] = []  # the longest that ends with each pair
        for pair in pairs:
            before = max((line for line in best if line[-1][1] < pair[1]), key=len, default=[])
            best.append([*before, pair])
        return max(best, key=len, default=[])
