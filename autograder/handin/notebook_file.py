"""One notebook file, read with limits, whatever an editor, a browser or an interrupted upload made of it.

A file of ordinary size is read whole. A larger one, which outputs made so, is read as a stream; so is a damaged one, to
find out where it ends. Of either only what grading needs is kept: of a cell its type, its text, its grade id and its
pictures. Outputs and metadata are never looked at; a notebook in an old format is so converted in passing.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from autograder.core.files import NotAFile, open_file
from autograder.core.strict_json import count_values
from autograder.core.text import clean_name
from autograder.handin.notebook_bounds import bounded_cells, joined
from autograder.handin.notebook_stream import NOTEBOOK, DamagedStream, EndsEarly, HoldsTooMuch, fitted, parse_stream

MOST_NOTEBOOK_MIB = 256
WHOLE_MIB = 8  # Python objects take up to twenty times the space of their JSON
MOST_WHOLE_VALUES = 400_000  # of a file that is read whole: an honest one has some thousands
CHUNK = 1 << 20
MOST_CELLS = 2000
CURRENT_FORMAT = 4

Notebook = dict[str, Any]

AGAIN = "open it in Jupyter, save it, and hand it in again"
UPLOAD_AGAIN = "the upload was probably interrupted: save the notebook, upload it again, and compare the sizes"
CLEAR = "clear its outputs (Edit → Clear All Outputs)"


class UnreadableNotebook(ValueError):
    """A notebook file that cannot be taken as one; the message is for the student."""


def read_notebook(path: Path) -> Notebook:
    """What was handed in as a notebook: its `cells` with type, text, grade id and pictures, and `notes` about what
    reading it took. Bounded: at most MOST_CELLS cells, with text and pictures as notebook_bounds.py says.

    A file that ends early gives the cells that are whole, and says so under `ends_early`. Raises UnreadableNotebook.
    """
    name = clean_name(path.name)  # messages go to terminals and pages, and a name may be no text at all
    with _open(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise UnreadableNotebook(f"{name} is empty (0 bytes): {UPLOAD_AGAIN}")
        if size > MOST_NOTEBOOK_MIB << 20:
            too_large = f"{name} has {size >> 20} MiB, and at most {MOST_NOTEBOOK_MIB} are read"
            raise UnreadableNotebook(f"{too_large}: {CLEAR} and hand in again")
        try:
            data, notes = _parse(file, name)
        except EndsEarly as early:
            return _cut_off(name, early.value)
    entries = _cells_of(data, name)
    cells = [entry for entry in entries if isinstance(entry, dict)]
    if len(cells) < len(entries):
        notes.append("some of what stands among its cells is no cell, and was left out")
    if len(cells) > MOST_CELLS:
        notes.append(f"it has {len(cells):,} cells: those after the first {MOST_CELLS:,} were left out")
    kept, left_out = bounded_cells(cells[:MOST_CELLS])
    return {"cells": kept, "notes": [*notes, *left_out]}


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


def _parse(file: BinaryIO, name: str) -> tuple[object, list[str]]:
    """The JSON in a file: as UTF-8, UTF-16 or UTF-32 as it says itself, else in Windows' old western character set."""
    encoding = json.detect_encoding(file.read(4))
    try:
        return _decode_json(file, encoding, "strict", name), []
    except UnicodeDecodeError:
        value = _decode_json(file, "cp1252", "replace", name)
    return value, ["it was not saved as UTF-8, so some letters may have changed: save it in Jupyter before handing in"]


def _decode_json(file: BinaryIO, encoding: str, errors: str, name: str) -> object:
    file.seek(0)
    content = file.read((WHOLE_MIB << 20) + 1)
    text = ""
    if len(content) <= WHOLE_MIB << 20:
        # Not `final`: where an upload was cut within a letter, the rest of that letter is no other character set.
        text = codecs.getincrementaldecoder(encoding)(errors).decode(content)
    is_plain = bool(text) and count_values(text.encode("utf-8", "replace")) <= MOST_WHOLE_VALUES
    if is_plain and (value := _read_whole(text)) is not None:
        return value
    file.seek(0)
    try:
        return parse_stream(_utf8_chunks(file, encoding, errors))
    except HoldsTooMuch as error:
        remedy = f"{CLEAR}, take large pictures out, and hand in again"
        raise UnreadableNotebook(f"{name} holds more than can be read: {remedy}") from error
    except EndsEarly:
        raise
    except DamagedStream as damaged:
        # A large figure's data may hold NaN, which JSON does not know and Python reads.
        value = _read_whole(text) if text and not is_plain else None
        if value is None:
            where = f"after {_count(_whole_cells(damaged.value))}"
            problem = f"{name} cannot be read as a notebook: it is damaged {where}; {AGAIN}"
            raise UnreadableNotebook(problem) from damaged
        return value


def _read_whole(text: str) -> object:
    """What Python takes for JSON, of which only what is needed is kept at once; None where it takes it for none."""
    try:
        return fitted(json.loads(text), NOTEBOOK)
    except (ValueError, RecursionError):
        return None


def _utf8_chunks(file: BinaryIO, encoding: str, errors: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    while chunk := file.read(CHUNK):
        yield decoder.decode(chunk).encode("utf-8", "replace")


def _whole_cells(value: object) -> list[Any]:
    """The cells of what was read of a notebook, in whatever format it is."""
    if not isinstance(value, dict):
        return []
    sheets = value.get("worksheets")
    sheets = sheets if isinstance(sheets, list) else []
    parts = [value, *(sheet for sheet in sheets if isinstance(sheet, dict))]
    return [cell for part in parts if isinstance(part.get("cells"), list) for cell in part["cells"]]


def _count(cells: list[Any]) -> str:
    return f"{len(cells)} whole cell{'s' * (len(cells) != 1)}"


def _cut_off(name: str, value: object) -> Notebook:
    """What a file that ends early still gives."""
    cells = [cell for cell in _whole_cells(value) if isinstance(cell, dict)]
    problem = f"{name} ends early, after {_count(cells)}: {UPLOAD_AGAIN}"
    if not cells:
        raise UnreadableNotebook(problem)
    kept, left_out = bounded_cells([cell for cell in map(_present_cell, cells[:MOST_CELLS]) if cell is not None])
    return {"cells": kept, "notes": [problem, *left_out], "ends_early": problem}


def _cells_of(data: Any, name: str) -> list[Any]:
    """The cells of a notebook of any format, and whatever else was put among them. Raises UnreadableNotebook."""
    problem = f"{name} cannot be read as a notebook"
    if not isinstance(data, dict) or type(data.get("nbformat")) is not int:
        raise UnreadableNotebook(f"{problem}: it is no notebook, whatever its name says; {AGAIN}")
    number = data["nbformat"]
    cells = data.get("cells")
    if number < CURRENT_FORMAT:
        cells = [_present_cell(cell) for cell in _whole_cells(data)]
    if not isinstance(cells, list) or (cells and not any(isinstance(cell, dict) for cell in cells)):
        age = f" (format {number}, which is {'newer than 4' if number > CURRENT_FORMAT else 'old'})"
        raise UnreadableNotebook(f"{problem}{age * (number != CURRENT_FORMAT)}: no cells in it; {AGAIN}")
    if number < CURRENT_FORMAT and not cells:
        raise UnreadableNotebook(f"{problem} (format {number}, which is old): no cells in it; {AGAIN}")
    return cells


OLD_TYPES = {"text": "markdown", "html": "markdown", "heading": "markdown"}


def _present_cell(cell: Any) -> Any:
    """A cell of any format as format 4 has it; None where it is no cell.

    Formats 1 to 3 differ in the names of a cell's text, and have headings; what else differs is not kept.
    """
    kind = cell.get("cell_type") if isinstance(cell, dict) else None
    if kind not in ("code", "markdown", "raw", *OLD_TYPES):
        return None
    text = next((cell[key] for key in ("source", "input", "code", "text") if key in cell), "")
    if kind == "heading":
        level = cell.get("level")
        level = min(max(level, 1), 6) if isinstance(level, int) else 1
        text = f"{'#' * level} {' '.join(joined(text).split())}"
    return {**cell, "cell_type": OLD_TYPES.get(kind, kind), "source": text}
