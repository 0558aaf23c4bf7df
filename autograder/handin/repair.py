"""A notebook rebuilt on the release: the student's own cells as handed in, the course's cells as the course made them.

A student loses nothing by what happens to cells in Jupyter: a cell copied, split, moved, deleted or retyped. What is
repaired is noted in words for the student.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from autograder.core.notes import Note, NoteKind
from autograder.core.text import clean_text
from autograder.handin.cells import (
    ADDED,
    COPY_OF,
    NOT_RUN,
    Cell,
    grade_id_of,
    is_solution,
    is_task,
    is_test_cell,
    is_written_answer,
    source_of,
)
from autograder.handin.notebook_file import Notebook

Key = tuple[str, str, str]
MOST_LINE = 300  # characters of a line in which an assignment is looked for
DEFINITION = re.compile(r"(?:class|def)[ \t]+(\w+)")
TARGETS = re.compile(r"\w[\w ,]*")
BITMAPS = ("image/png", "image/jpeg", "image/gif")
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


def repair(submitted: Notebook, template: Notebook) -> tuple[Notebook, list[Note]]:
    """Rebuild a notebook on the release, and say what was repaired.

    Metadata of the course's cells is the release's (points, flags, checksums cannot be forged), tags are dropped, and
    locked cells get their own text back; of code that is no test the student's version follows as a cell of its own.
    Of several cells with one id the answered one keeps it. Missing cells are put in after the cell that precedes them
    in the release, missing imports before everything. The course's code comes before the answers that use it, as in
    the release, and an unanswered cell does not undo an answer that stands elsewhere. The result has fresh cell ids
    and no outputs; repairing it again changes nothing.
    """
    known = {grade_id_of(cell): cell for cell in template["cells"] if grade_id_of(cell)}
    notes: list[Note] = []
    chosen = _choose_copies(submitted["cells"], known, notes)
    cells: list[Cell] = []
    for index, given in enumerate(submitted["cells"]):
        original = known.get(grade_id_of(given))
        if original is None:
            cells.append(_own_cell(given))
        elif index == chosen[grade_id_of(given)]:
            cells.append(_course_cell(given, original, notes))
            cells += _own_version(given, original)
        elif not _is_spare(given, original):
            cells.append(_copy_of(given))
    keys = [_key(cell) for cell in cells]  # beside the cells, since a text may have megabytes
    _insert_missing(cells, keys, template, set(chosen), notes)
    _insert_imports(cells, keys, template)
    _put_given_code_first(cells, keys, template, notes)
    _keep_answers(cells, submitted, template, notes)
    if _have_same_ids(submitted["cells"]):
        notes.append(Note("cells shared an internal id, as copied cells can: they were given ids of their own"))
    for name in unread_answers(cells, template):
        notes.append(Note(f"`{name}` is not filled in, but there is text in other cells: a person will read it"))
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"
    return _notebook(cells), notes


def work_of(submitted: Notebook, template: Notebook) -> tuple[tuple[str, str], ...]:
    """What a student wrote: (grade id, text) of every cell whose text is not the release's, blank ones left out."""
    known = {grade_id_of(cell): cell for cell in template["cells"] if grade_id_of(cell)}
    released = {_text(cell) for cell in template["cells"]}
    work = []
    for cell in submitted["cells"]:
        name, text = grade_id_of(cell), _text(cell)
        original = known.get(name)
        is_own = text not in released if original is None else not is_test_cell(original) and text != _text(original)
        if text and is_own:
            work.append((name if original is not None else "", text))
    return tuple(work)


def unread_answers(cells: Sequence[Mapping[str, Any]], template: Notebook) -> list[str]:
    """Answers for a person that are not filled in, where the student wrote text elsewhere in the notebook.

    `cells` are repaired. nbgrader gives an answer that is as released no points and asks nobody. Where the notebook
    sets a task, text in cells of their own is what students are to write.
    """
    if any(is_task(cell) for cell in template["cells"]):
        return []
    released = {grade_id_of(cell): _text(cell) for cell in template["cells"] if is_written_answer(cell)}
    open_answers = [
        grade_id_of(cell) for cell in cells if is_written_answer(cell) and _text(cell) == released[grade_id_of(cell)]
    ]
    courses = {_text(cell) for cell in template["cells"]}
    own = (cell for cell in cells if not grade_id_of(cell) and cell["cell_type"] != "code")
    return open_answers if any(_text(cell) and _text(cell) not in courses for cell in own) else []


def _text(cell: Mapping[str, Any]) -> str:
    return source_of(cell).strip()


def _have_same_ids(cells: Sequence[Mapping[str, Any]]) -> bool:
    ids = [cell["id"] for cell in cells if isinstance(cell.get("id"), str)]
    return len(set(ids)) < len(ids)


# Copies


def _choose_copies(cells: Sequence[Mapping[str, Any]], known: Mapping[str, Cell], notes: list[Note]) -> dict[str, int]:
    """Which cell carries each id: the first answered one of a solution, the first true one of the course's own."""
    places: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        if grade_id_of(cell) in known:
            places.setdefault(grade_id_of(cell), []).append(index)
    chosen = {}
    for name, indices in places.items():
        original = known[name]
        # min() takes the first of equals, so that a split answer keeps its id on the first part.
        chosen[name] = min(indices, key=lambda index: _distance(cells[index], original))
        if len(indices) > 1:
            spare = sum(_is_spare(cells[i], original) for i in indices if i != chosen[name])
            notes.append(Note(_describe_copies(name, len(indices), spare, original)))
    return chosen


def _distance(given: Mapping[str, Any], original: Cell) -> tuple[bool, bool]:
    """How far a copy is from what its id stands for."""
    is_released = _text(given) == _text(original)
    retyped = given.get("cell_type") != original["cell_type"]
    return (is_released or not _text(given), retyped) if is_solution(original) else (not is_released, retyped)


def _is_spare(given: Mapping[str, Any], original: Cell) -> bool:
    """Whether a further copy can go: one as released would undo the answer, and a test cell is never run."""
    return _text(given) == _text(original) and (is_solution(original) or is_test_cell(original))


def _describe_copies(name: str, count: int, spare: int, original: Cell) -> str:
    if not is_solution(original) and spare < count - 1:
        return f"a second cell `{name}` was taken as an ordinary cell"
    if not is_solution(original):
        return f"`{name}` was there {count} times: the copies were left out"
    text = f"`{name}` was there {count} times, as happens when a cell is copied or split: "
    left_out = "a copy that is as in the release was left out"
    if spare == count - 1:
        return text + left_out
    return f"{text}all of them count, from top to bottom" + (f"; {left_out}" if spare else "")


# Cells


def _own_cell(given: Mapping[str, Any]) -> Cell:
    kind = given.get("cell_type") if given.get("cell_type") in ("code", "markdown", "raw") else "raw"
    cell: Cell = {"cell_type": kind, "metadata": {}, "source": source_of(given)}
    if kind == "code":
        return {**cell, "outputs": [], "execution_count": None}
    pictures = _attached_pictures(given.get("attachments"))
    return {**cell, "attachments": pictures} if pictures and kind == "markdown" else cell


def _copy_of(given: Mapping[str, Any]) -> Cell:
    """A further cell with the id of one of the course's, as an ordinary cell that remembers where it comes from."""
    cell = _own_cell(given)
    cell["metadata"] = {COPY_OF: grade_id_of(given)}
    return cell


def _own_version(given: Mapping[str, Any], original: Cell) -> list[Cell]:
    """What a student made of code that the course gives: editors do not enforce that it is read-only."""
    is_code = given.get("cell_type") == "code" and original["cell_type"] == "code"
    changed = source_of(given) != source_of(original) and bool(_text(given))
    return [_own_cell(given)] if is_code and changed and _is_locked(original) and not is_test_cell(original) else []


def _is_locked(original: Cell) -> bool:
    own = original["metadata"]["nbgrader"]
    return bool(own.get("locked") or own.get("grade")) and not own.get("solution")


def _attached_pictures(attachments: object) -> dict[str, dict[str, str]]:
    """The pictures that a markdown cell carries with it, bitmaps only: an SVG can hold a script.

    What is no base64 could end the attribute of a page, and a lone surrogate in it the whole submission: no file
    could be written.
    """
    found: dict[str, dict[str, str]] = {}
    for name, bundle in attachments.items() if isinstance(attachments, dict) else ():
        kinds = bundle.items() if isinstance(bundle, dict) else ()
        kept = {k: v for k, v in kinds if k in BITMAPS and isinstance(v, str) and BASE64.fullmatch(v)}
        if kept:
            found[clean_text(name)] = kept
    return found


def _course_cell(given: Mapping[str, Any], original: Cell, notes: list[Note]) -> Cell:
    name, own = grade_id_of(original), original["metadata"]["nbgrader"]
    # Pictures are the student's: those that the course put into a locked cell are the release's.
    pictures = given if own.get("solution") else original
    cell = _own_cell({**original, "source": source_of(given), "attachments": pictures.get("attachments")})
    cell["metadata"] = {"nbgrader": copy.deepcopy(own)}
    if given.get("cell_type") != original["cell_type"]:
        notes.append(Note(f"`{name}` had become a {clean_text(given.get('cell_type'))} cell: its type was restored"))
    if _is_locked(original):
        if source_of(given) != source_of(original):
            kept = "runs first, and then yours" if _own_version(given, original) else "was restored"
            notes.append(Note(f"`{name}` had been changed: the course's own text {kept}", NoteKind.COURSE_TEXT))
        cell["source"] = source_of(original)
    tags = given.get("metadata", {}).get("tags") if isinstance(given.get("metadata"), dict) else None
    if tags:
        notes.append(Note(f"`{name}` carried tags, which were dropped", NoteKind.COURSE_TEXT))
    return cell


def _insert_missing(cells: list[Cell], keys: list[Key], template: Notebook, seen: set[str], notes: list[Note]) -> None:
    position = 0
    for original in template["cells"]:
        name = grade_id_of(original)
        if not name or name in seen:
            key = _key(original)
            position = keys.index(key) + 1 if key in keys else position
            continue
        cells.insert(position, _course_cell(original, original, []))
        keys.insert(position, _key(original))
        position += 1
        notes.append(Note(f"`{name}` was missing and was put back as in the release"))


def _insert_imports(cells: list[Cell], keys: list[Key], template: Notebook) -> None:
    """Put the imports that the course gives in front, where no cell holds them as they are: whatever a student writes
    above them may fail, and takes what stands below it in the same cell along."""
    place = 0
    for original in template["cells"]:
        if grade_id_of(original) or original["cell_type"] != "code" or not _only_imports(source_of(original)):
            continue
        key = _key(original)
        if key not in keys:
            cell = _own_cell({**original, "attachments": None})
            cell["metadata"] = {ADDED: True}
            cells.insert(place, cell)
            keys.insert(place, key)
            place += 1


def _only_imports(source: str) -> bool:
    """Of the course's own text."""
    body = ast.parse(source).body
    return bool(body) and all(isinstance(statement, (ast.Import, ast.ImportFrom)) for statement in body)


# Order


def _put_given_code_first(cells: list[Cell], keys: list[Key], template: Notebook, notes: list[Note]) -> None:
    """Move the course's own code (imports, a class to build on) up where an answer that follows it stands before it.

    In a session of Jupyter cells run in any order; the grader runs them from top to bottom.
    """
    ranks = {_key(cell): rank for rank, cell in reversed(list(enumerate(template["cells"]))) if _is_given_code(cell)}
    answers = {grade_id_of(cell): rank for rank, cell in enumerate(template["cells"]) if is_solution(cell)}
    moved = False
    for key, rank in sorted(ranks.items(), key=lambda item: item[1]):
        place = keys.index(key) if key in keys else -1
        found = [answers.get(grade_id, rank) for _, grade_id, _ in keys]
        later = next((i for i, other in enumerate(found) if other > rank), len(cells))
        # It may use the answers that precede it in the release, so it stays below them.
        first = max(later, *(i + 1 for i, other in enumerate(found) if other < rank), 0)
        if first < place:
            cells.insert(first, cells.pop(place))
            keys.insert(first, keys.pop(place))
            moved = True
    if moved:
        notes.append(
            Note("cells had changed places: code that the course gives was put before the answers that use it")
        )


def _is_given_code(cell: Mapping[str, Any]) -> bool:
    return cell["cell_type"] == "code" and not is_solution(cell) and not is_test_cell(cell)


def _key(cell: Mapping[str, Any]) -> Key:
    """What a cell of the course is known by: its id, or its type and text where it has none."""
    grade_id = grade_id_of(cell)
    return ("", grade_id, "") if grade_id else (str(cell["cell_type"]), "", _text(cell))


# Answers that stand elsewhere


def _keep_answers(cells: Sequence[Cell], submitted: Notebook, template: Notebook, notes: list[Note]) -> None:
    """Mark the solution cells that must not run, because they would undo an answer in another cell.

    That is a cell that was put back; and one that is as released, or was no code when it was handed in, where
    other code of the student's defines what it asks for.
    """
    released = {grade_id_of(cell): cell for cell in template["cells"] if is_solution(cell)}
    handed_in = {grade_id_of(cell) for cell in submitted["cells"]}
    as_code = {grade_id_of(cell) for cell in submitted["cells"] if cell.get("cell_type") == "code"}
    asked = {name: set(defined_names(source_of(cell))) for name, cell in released.items()}
    defined = _defined_by_students(cells, template, set().union(*asked.values()))
    for cell in cells:
        name = grade_id_of(cell)
        if name not in released or cell["cell_type"] != "code":
            continue
        if name not in handed_in:
            cell["metadata"][NOT_RUN] = True
        elif name not in as_code or _text(cell) == _text(released[name]):
            found = {other for other, places in defined.items() if other in asked[name] and places != [id(cell)]}
            if found:
                cell["metadata"][NOT_RUN] = True
                elsewhere = ", ".join(f"`{found_name}`" for found_name in sorted(found))
                notes.append(Note(f"`{name}` was not run, since another cell of yours defines {elsewhere}"))


def _defined_by_students(cells: Sequence[Cell], template: Notebook, asked: Collection[str]) -> dict[str, list[int]]:
    """By name that is asked for, the code cells (by their identity) with another text than the course's that define
    it. Each cell is looked through once."""
    courses = {_text(cell) for cell in template["cells"]}
    found: dict[str, list[int]] = {}
    for cell in cells:
        if cell["cell_type"] == "code" and _text(cell) not in courses:
            for name in set(asked).intersection(defined_names(cell["source"])):
                found.setdefault(name, []).append(id(cell))
    return found


def defined_names(source: str) -> Iterator[str]:
    """Names that code defines by `class`, `def` or an assignment, not indented; read without running or parsing it."""
    for line in source.split("\n"):
        definition = DEFINITION.match(line)
        if definition:
            yield definition[1]
            continue
        head, equals, rest = line[:MOST_LINE].partition("=")
        if equals and not rest.startswith("="):
            # In steps, since one expression for all of it takes time by the square of a line's length.
            targets = head.partition(":")[0].rstrip(" ").removeprefix("(").removesuffix(")")
            if TARGETS.fullmatch(targets):
                yield from re.findall(r"\w+", targets)


def _notebook(cells: list[Cell]) -> Notebook:
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
