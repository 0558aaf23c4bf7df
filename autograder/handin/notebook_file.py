"""One notebook file, read with limits, whatever an editor, a browser or an interrupted upload made of it.

Of it only what grading needs is kept: of a cell its type, its text, its grade id and its pictures. Outputs and metadata
are never looked at; a notebook in an old format is so converted in passing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from autograder.core.files import NotAFile, open_file
from autograder.core.text import clean_name
from autograder.handin.file_kinds import HEAD_BYTES, OTHER_JSON, kind_of_content, kind_of_text
from autograder.handin.notebook_bounds import bounded_cells
from autograder.handin.notebook_json import UPLOAD_AGAIN, ParsedNotebook, cells_in, parse_notebook, text_in
from autograder.handin.notebook_stream import HoldsTooMuch

MOST_NOTEBOOK_MIB = 256
MOST_CELLS = 2000
CURRENT_FORMAT = 4

Notebook = dict[str, Any]

AGAIN = "open it in Jupyter, save it, and hand it in again"
CLEAR = "clear its outputs (Edit → Clear All Outputs)"


class UnreadableNotebook(ValueError):
    """A notebook file that cannot be taken as one; the message is for the student."""


def read_notebook(path: Path) -> Notebook:
    """What was handed in as a notebook: its `cells` with type, text, grade id and pictures, and `notes` about what
    reading it took. Bounded: at most MOST_CELLS cells, with text and pictures as notebook_bounds.py says.

    A file that ends early or is damaged gives the cells before that place, and says so under `cut_off`, unless no cell
    can be missing. One that holds several versions of itself gives the first, all of them under `versions`, and under
    `between` what keeps them apart. Raises UnreadableNotebook.
    """
    name = clean_name(path.name)  # messages go to terminals and pages, and a name may be no text at all
    with _open(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise UnreadableNotebook(f"{name} is empty (0 bytes): {UPLOAD_AGAIN}")
        if size > MOST_NOTEBOOK_MIB << 20:
            too_large = f"{name} has {size >> 20} MiB, and at most {MOST_NOTEBOOK_MIB} are read"
            raise UnreadableNotebook(f"{too_large}: {CLEAR} and hand in again")
        head = file.read(HEAD_BYTES)
        if kind := kind_of_content(head):
            raise UnreadableNotebook(f"`{name}` {kind.is_no_notebook}")
        try:
            parsed = parse_notebook(file)
        except HoldsTooMuch as error:
            remedy = f"{CLEAR}, take large pictures out, and hand in again"
            raise UnreadableNotebook(f"{name} holds more than can be read: {remedy}") from error
    if parsed.broken:
        return _cut_off(name, parsed, head)
    first, *others = (_notebook_of(version, name, head) for version in parsed.versions)
    first["notes"][:0] = parsed.notes
    if others:
        first |= {"versions": [first["cells"], *(other["cells"] for other in others)], "between": parsed.between}
    return first


def read_released(path: Path) -> Notebook:
    """A notebook of the course's own, with everything that its cells say of themselves; read once. Nobody may change
    what is returned. Raises UnreadableNotebook."""
    try:
        found = path.stat()
        return _released(path, found.st_mtime_ns, found.st_size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableNotebook(f"{path} cannot be read as a notebook of the course's ({error})") from error


@lru_cache(256)
def _released(path: Path, _changed: int, _size: int) -> Notebook:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {"cells": [dict(cell) for cell in cells], "notes": []}


def _open(path: Path, name: str) -> BinaryIO:
    try:
        return open_file(path)
    except NotAFile as error:
        raise UnreadableNotebook(f"{name} is not a regular file") from error
    except FileNotFoundError as error:
        raise UnreadableNotebook(f"{name} was not handed in") from error
    except OSError as error:
        raise UnreadableNotebook(f"{name} cannot be opened: {error.strerror}") from error


def _count(cells: Sequence[Any]) -> str:
    return f"{len(cells)} whole cell{'s' * (len(cells) != 1)}"


def _cut_off(name: str, parsed: ParsedNotebook, head: bytes) -> Notebook:
    """What a file that ends early or is damaged still gives."""
    cells = [cell for cell in cells_in(parsed.versions[0]) if isinstance(cell, dict)]
    place = "behind its last cell" if parsed.is_behind_cells else f"after {_count(cells)}"
    problem = f"{name} {parsed.broken}, {place}: {parsed.remedy}"
    if not cells:
        kind = kind_of_text(head)
        raise UnreadableNotebook(f"`{name}` {kind.is_no_notebook}" if kind else problem)
    kept, left_out = bounded_cells([cell for cell in map(_present_cell, cells[:MOST_CELLS]) if cell is not None])
    made: Notebook = {"cells": kept, "notes": [problem, *parsed.notes, *left_out]}
    return made if parsed.is_behind_cells else {**made, "cut_off": problem}


def _notebook_of(data: Any, name: str, head: bytes) -> Notebook:
    """A notebook of any format, as it stands in a file that is whole. Raises UnreadableNotebook."""
    entries = _cells_of(data, name, head)
    cells = [entry for entry in entries if isinstance(entry, dict)]
    notes = []
    if len(cells) < len(entries):
        notes.append("some of what stands among its cells is no cell, and was left out")
    if len(cells) > MOST_CELLS:
        notes.append(f"it has {len(cells):,} cells: those after the first {MOST_CELLS:,} were left out")
    kept, left_out = bounded_cells(cells[:MOST_CELLS])
    return {"cells": kept, "notes": [*notes, *left_out]}


def _cells_of(data: Any, name: str, head: bytes) -> list[Any]:
    """The cells of a notebook of any format, and whatever else was put among them. Raises UnreadableNotebook."""
    number = _format_of(data)
    if number is None:
        raise UnreadableNotebook(f"`{name}` {(kind_of_text(head) or OTHER_JSON).is_no_notebook}")
    cells = data.get("cells")
    if number < CURRENT_FORMAT:
        cells = [_present_cell(cell) for cell in cells_in(data)]
    problem = f"{name} cannot be read as a notebook"
    if not isinstance(cells, list) or (cells and not any(isinstance(cell, dict) for cell in cells)):
        age = f" (format {number}, which is {'newer than 4' if number > CURRENT_FORMAT else 'old'})"
        raise UnreadableNotebook(f"{problem}{age * (number != CURRENT_FORMAT)}: no cells in it; {AGAIN}")
    if number < CURRENT_FORMAT and not cells:
        raise UnreadableNotebook(f"{problem} (format {number}, which is old): no cells in it; {AGAIN}")
    return cells


def _format_of(data: Any) -> int | None:
    """The format of a notebook; None for what is none. Some programs write 4.0 or "4", or leave the format out."""
    if not isinstance(data, dict):
        return None
    number = data.get("nbformat")
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,3}", number.strip()):
        return int(number)
    if type(number) is float and number.is_integer():
        return int(number)
    if number is None and any(_present_cell(cell) for cell in cells_in({"cells": data.get("cells")})):
        return CURRENT_FORMAT
    return number if type(number) is int else None


OLD_TYPES = {"text": "markdown", "html": "markdown", "heading": "markdown"}


def _present_cell(cell: Any) -> Any:
    """A cell of any format as format 4 has it; None where it is no cell.

    Formats 1 to 3 differ in the names of a cell's text, and have headings; what else differs is not kept.
    """
    kind = cell.get("cell_type") if isinstance(cell, dict) else None
    if kind not in ("code", "markdown", "raw", *OLD_TYPES):
        return None
    text = text_in(cell)
    if kind == "heading":
        level = cell.get("level")
        level = min(max(level, 1), 6) if isinstance(level, int) else 1
        text = f"{'#' * level} {' '.join(text.split())}"
    return {**cell, "cell_type": OLD_TYPES.get(kind, kind), "source": text}
