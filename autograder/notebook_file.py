"""One notebook file, read with limits, whatever an editor, a browser or an interrupted upload made of it.

A file of ordinary size is read whole. A larger one, which outputs made so, is read as a stream without its outputs;
so is a damaged one, to find out where it ends.
"""

from __future__ import annotations

import codecs
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import nbformat

from autograder.evidence import clean_name

MOST_NOTEBOOK_MIB = 256  # a stream of this size with one endless string takes twice as much memory, and ten seconds
WHOLE_MIB = 8  # Python objects take up to twenty times the space of their JSON
CHUNK = 1 << 20
MOST_EVENTS = 20_000_000  # about three seconds of parsing
MOST_KEPT_EVENTS = 500_000
MOST_KEPT_CHARACTERS = 32 << 20
MOST_CELLS = 2000
CURRENT_FORMAT = 4

Notebook = dict[str, Any]

AGAIN = "open it in Jupyter, save it, and hand it in again"
UPLOAD_AGAIN = "the upload was probably interrupted: save the notebook, upload it again, and compare the sizes"


class UnreadableNotebook(ValueError):
    """A notebook file that cannot be taken as one; the message is for the student."""


class _EndsEarly(Exception):
    """The file is sound as far as it goes; `value` holds what was read of it."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


def read_notebook(path: Path) -> Notebook:
    """A notebook's `cells` as nbformat 4 has them, and `notes` about what reading it took.

    A file that ends early gives the cells that are whole, and says so under `ends_early`. Raises UnreadableNotebook.
    """
    name = clean_name(path.name)  # messages go to terminals and pages, and a name may be no text at all
    with _open(path, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise UnreadableNotebook(f"{name} is empty (0 bytes): {UPLOAD_AGAIN}")
        if size > MOST_NOTEBOOK_MIB << 20:
            too_large = f"{name} has {size >> 20} MiB, and at most {MOST_NOTEBOOK_MIB} are read"
            raise UnreadableNotebook(f"{too_large}: clear its outputs (Edit → Clear All Outputs) and hand in again")
        try:
            data, notes = _parse(file, name)
        except _EndsEarly as early:
            return _cut_off(name, early.value)
    entries = _cells_of(data, name)
    cells = [entry for entry in entries if isinstance(entry, dict)]
    if len(cells) < len(entries):
        notes.append("some of what stands among its cells is no cell, and was left out")
    if len(cells) > MOST_CELLS:
        notes.append(f"it has {len(cells):,} cells: those after the first {MOST_CELLS:,} were left out")
    return {"cells": cells[:MOST_CELLS], "notes": notes}


def _open(path: Path, name: str) -> BinaryIO:
    """The file, where it is a regular one: a link is not followed, a pipe does not hang."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise UnreadableNotebook(f"{name} was not handed in") from error
    except OSError as error:
        raise UnreadableNotebook(f"{name} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableNotebook(f"{name} is not a regular file")
    return os.fdopen(descriptor, "rb")


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
    if len(content) <= WHOLE_MIB << 20:
        # Not `final`: where an upload was cut within a letter, the rest of that letter is no other character set.
        text = codecs.getincrementaldecoder(encoding)(errors).decode(content)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # what is wrong with it, the stream finds out
    file.seek(0)
    return _parse_stream(_utf8_chunks(file, encoding, errors), name)


def _utf8_chunks(file: BinaryIO, encoding: str, errors: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    while chunk := file.read(CHUNK):
        yield decoder.decode(chunk).encode("utf-8", "replace")


def _parse_stream(chunks: Iterator[bytes], name: str) -> object:
    """The JSON value in a stream, without outputs and the notebook's own metadata, which nobody needs.

    Raises _EndsEarly, or UnreadableNotebook where it is damaged or too much is left to keep.
    """
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, use_float=True)
    kept = _Kept(name)
    try:
        for chunk in chunks:
            parser.send(chunk)
            kept.take(events)
    except ijson.JSONError as error:
        kept.take(events)
        where = f"after {_count(_whole_cells(kept.builder.value, kept.depth))}"
        raise UnreadableNotebook(f"{name} cannot be read as a notebook: it is damaged {where}; {AGAIN}") from error
    try:
        parser.close()
    except ijson.JSONError as error:
        raise _EndsEarly(_without_last(kept.builder.value, kept.depth)) from error
    return kept.builder.value


class _Kept:
    """Builds a value from parse events, without the parts that nobody needs."""

    def __init__(self, name: str) -> None:
        self.builder = ijson.ObjectBuilder()
        self.depth = 0
        self._name = name
        self._skipping = -1  # the depth of the value that is skipped
        self._events = self._kept_events = self._characters = 0

    def take(self, events: list[tuple[str, Any]]) -> None:
        """Take a batch of events, and empty it. Raises UnreadableNotebook beyond the limits."""
        for event, value in events:
            self._take(event, value)
        self._events += len(events)
        events.clear()
        if (
            self._events > MOST_EVENTS
            or self._kept_events > MOST_KEPT_EVENTS
            or self._characters > MOST_KEPT_CHARACTERS
        ):
            raise UnreadableNotebook(
                f"{self._name} holds more than can be read: clear its outputs (Edit → Clear All Outputs), take large "
                "pictures out, and hand in again"
            )

    def _take(self, event: str, value: Any) -> None:
        if event in ("end_map", "end_array"):
            self.depth -= 1
        if self._skipping < 0:
            self.builder.event(event, value)
            self._kept_events += 1
            self._characters += len(value) if isinstance(value, str) else 0
        elif self.depth == self._skipping and event not in ("start_map", "start_array"):
            self._skipping = -1  # the end of the skipped value, or all of it
        if event in ("start_map", "start_array"):
            self.depth += 1
        elif event == "map_key" and self._skipping < 0 and (value == "outputs" or (value, self.depth) == METADATA):
            self._skipping = self.depth
            for stand_in in ("start_array", "end_array") if value == "outputs" else ("start_map", "end_map"):
                self.builder.event(stand_in, None)


METADATA = ("metadata", 1)  # of the notebook: the state of widgets can be larger than all outputs
CELL_DEPTH = 3  # the notebook, its list of cells, a cell


def _without_last(value: object, depth: int) -> object:
    """What came of a document that ends early, without the cell in which it ends."""
    if isinstance(value, dict) and isinstance(value.get("cells"), list) and depth >= CELL_DEPTH:
        return {**value, "cells": value["cells"][:-1]}
    return value


def _whole_cells(value: object, depth: int) -> list[Any]:
    found = _without_last(value, depth)
    cells = found.get("cells") if isinstance(found, dict) else None
    return cells if isinstance(cells, list) else []


def _count(cells: list[Any]) -> str:
    return f"{len(cells)} whole cell{'s' * (len(cells) != 1)}"


def _cut_off(name: str, value: object) -> Notebook:
    """What a file that ends early still gives."""
    cells = [cell for cell in _whole_cells(value, 0) if isinstance(cell, dict)]
    problem = f"{name} ends early, after {_count(cells)}: {UPLOAD_AGAIN}"
    if not cells:
        raise UnreadableNotebook(problem)
    return {"cells": cells[:MOST_CELLS], "notes": [problem], "ends_early": problem}


def _cells_of(data: Any, name: str) -> list[Any]:
    """The cells of a notebook of any format, and whatever else was put among them. Raises UnreadableNotebook."""
    problem = f"{name} cannot be read as a notebook"
    if not isinstance(data, dict) or type(data.get("nbformat")) is not int:
        raise UnreadableNotebook(f"{problem}: it is no notebook, whatever its name says; {AGAIN}")
    if data["nbformat"] < CURRENT_FORMAT:
        try:
            data = nbformat.convert(nbformat.from_dict(data), CURRENT_FORMAT)
        except Exception as error:  # nbformat looks at nothing before it converts: its own slips come up, too
            raise UnreadableNotebook(f"{problem} (format {data['nbformat']}, which is old); {AGAIN}") from error
    cells = data.get("cells")
    if not isinstance(cells, list) or (cells and not any(isinstance(cell, dict) for cell in cells)):
        newer = f" (format {data['nbformat']}, which is newer than {CURRENT_FORMAT})"
        raise UnreadableNotebook(f"{problem}{newer * (data['nbformat'] > CURRENT_FORMAT)}: no cells in it; {AGAIN}")
    return cells
