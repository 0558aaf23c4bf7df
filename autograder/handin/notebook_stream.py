"""What is kept of the JSON in a notebook file, of whatever format, read as a stream or from what Python made of it.

Of a cell that is its type, its text, its grade id, its tags and its pictures. Everything else, outputs and metadata
above all, is skipped, and in a stream never built: a few megabytes of `[],` are a gigabyte of lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ijson

MOST_EVENTS = 20_000_000  # about three seconds of parsing
MOST_KEPT_EVENTS = 300_000
MOST_KEPT_CHARACTERS = 32 << 20
MOST_STRING_MIB = 64  # of one string, which is all in memory at once; matplotlib writes no film above 20 MB


class DamagedStream(Exception):
    """The text is no JSON. `before` holds the values that are whole, `value` what was read of the one that is not,
    without the cell in which the damage is; `is_behind_cells` says that no cell can be missing from it."""

    def __init__(self, before: list[Any], value: object, is_behind_cells: bool) -> None:
        super().__init__()
        self.before, self.value, self.is_behind_cells = before, value, is_behind_cells


class EndsEarly(DamagedStream):
    """The text is sound as far as it goes."""


class HoldsTooMuch(Exception):
    """There is more in the text than is read."""


LEAF, LINES = "leaf", "lines"  # one value; one value or a list of values
ANY = "*"  # stands for every key
CELL: Mapping[str, Any] = {
    "cell_type": LEAF,
    "id": LEAF,
    "source": LINES,
    "input": LINES,  # of code, in formats 2 and 3
    "code": LINES,  # in format 1, as is the next
    "text": LINES,
    "level": LEAF,  # of a heading, in formats 2 and 3
    "metadata": {"nbgrader": {"grade_id": LEAF}, "tags": LINES},
    "attachments": {ANY: {ANY: LEAF}},
}
NOTEBOOK: Mapping[str, Any] = {"nbformat": LEAF, "cells": [CELL], "worksheets": [{"cells": [CELL]}]}


def fitted(value: object, shape: Any) -> Any:
    """What of a value has its place in a shape; None where it is of another kind. Not nested further than the shape."""
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return None
        wanted = ((key, part, shape.get(key, shape.get(ANY))) for key, part in value.items())
        return {key: fitted(part, own) for key, part, own in wanted if own is not None}
    if isinstance(shape, list):
        return [fitted(part, shape[0]) for part in value] if isinstance(value, list) else None
    if shape is LINES and isinstance(value, list):
        return [fitted(part, LEAF) for part in value]
    return None if isinstance(value, (dict, list)) else value


def parse_stream(chunks: Iterator[bytes], most_events: int = MOST_EVENTS) -> list[Any]:
    """What fits NOTEBOOK of the JSON values that stand one after another in a stream: of an honest one there is one.

    Raises EndsEarly, DamagedStream and HoldsTooMuch.
    """
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, use_float=True, multiple_values=True)
    kept, part = _Kept(most_events), b""
    try:
        for part in _whole_strings(chunks):
            parser.send(part)
            kept.take(events)
    except ijson.JSONError as error:
        kept.take(events)
        raise DamagedStream(*kept.parts()) from error
    if not part:
        raise DamagedStream([], None, False)  # not one letter
    try:
        parser.close()
        kept.take(events)  # a number alone is over only where the stream is
    except ijson.JSONError as error:
        raise EndsEarly(*kept.parts()) from error
    return kept.values


def _whole_strings(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The stream with what belongs to one long string in one piece: at each piece the parser goes through all that it
    has of an unfinished string again, which took a minute for 240 MiB. Raises HoldsTooMuch for one without end."""
    held: list[bytes] = []
    inside, escape = False, b""
    for chunk in chunks:
        plain = (escape + chunk).replace(b"\\\\", b"").replace(b'\\"', b"")
        escape = b"\\" if plain.endswith(b"\\") else b""
        quotes = plain.count(b'"')
        held.append(chunk)
        if inside and not quotes:
            if sum(map(len, held)) > MOST_STRING_MIB << 20:
                raise HoldsTooMuch
            continue
        inside ^= quotes % 2 == 1
        if part := b"".join(held):  # an empty one would end the parser
            yield part
        held.clear()
    if held:
        yield b"".join(held)


class _Kept:
    """Builds what fits NOTEBOOK from parse events, and skips the rest."""

    def __init__(self, most_events: int) -> None:
        self.values: list[Any] = []  # one after another, the last one perhaps unfinished
        self._most_events = most_events
        self._open: list[tuple[Any, Any]] = []  # the containers around the place, and the shape of what is in them
        self._key = ""
        self._skipping = 0  # how many containers deep
        self._events = self._kept_events = self._characters = 0

    def parts(self) -> tuple[list[Any], Any, bool]:
        """What came of text that ends early or is damaged: the whole values, the one in which it ends, without the
        cell in which it does, and whether the cells of that one had ended before."""
        if not self._open and not self._skipping:
            return self.values, None, False
        for container, shape in self._open[:-1]:
            if isinstance(container, list) and shape is CELL:
                del container[-1]
        *before, value = self.values
        return before, value, len(self._open) == 1 and isinstance(value.get("cells"), list)

    def take(self, events: list[tuple[str, Any]]) -> None:
        """Take a batch of events, and empty it. Raises HoldsTooMuch."""
        for event, value in events:
            if not self._skipping:
                self._take(event, value)
            elif event in ("start_map", "start_array"):
                self._skipping += 1
            elif event in ("end_map", "end_array"):
                self._skipping -= 1
        self._events += len(events)
        events.clear()
        is_too_much = self._kept_events > MOST_KEPT_EVENTS or self._characters > MOST_KEPT_CHARACTERS
        if is_too_much or self._events > self._most_events:
            raise HoldsTooMuch

    def _take(self, event: str, value: Any) -> None:
        if event == "map_key":
            self._key = value
        elif event in ("end_map", "end_array"):
            self._open.pop()
        elif event == "start_map":
            self._enter({}, isinstance(self._shape(), Mapping))
        elif event == "start_array":
            self._enter([], isinstance(self._shape(), list) or self._shape() is LINES)
        elif self._shape() is not None:
            self._put(value if self._shape() in (LEAF, LINES) else None)

    def _shape(self) -> Any:
        """Of what comes next; None where it is not wanted."""
        if not self._open:
            return NOTEBOOK
        container, shape = self._open[-1]
        return shape.get(self._key, shape.get(ANY)) if isinstance(container, dict) else shape

    def _enter(self, container: Any, fits: bool) -> None:
        shape = self._shape()
        if not fits:
            self._skipping = 1
            if shape is not None:
                self._put(None)
            return
        self._put(container)
        inside = LEAF if shape is LINES else shape[0] if isinstance(shape, list) else shape
        self._open.append((container, inside))

    def _put(self, value: Any) -> None:
        self._kept_events += 1
        self._characters += len(value) if isinstance(value, str) else 0
        if not self._open:
            self.values.append(value)
        elif isinstance(self._open[-1][0], dict):
            self._open[-1][0][self._key] = value
            self._characters += len(self._key)
        else:
            self._open[-1][0].append(value)
