"""Bounds on the text and the pictures in a notebook's cells.

Everything that looks at them later (repair, flags, pages) takes its time by their size, and some of it by its square.
What is left out is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autograder.core.remarks import MOST_REMARKS, few

# Nobody types as much: of the course's and the tests' notebooks none has more than 70,000 characters in all its cells.
MOST_CELL = 1 << 20  # characters
MOST_TEXT = 2 << 20  # characters of all cells
MOST_PICTURES = 16 << 20  # characters of all pictures that are part of the text: a photograph of a page has millions
MOST_ATTACHMENTS = 200
INLINE_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=]+")


@dataclass
class _NotebookRoom:
    """How many characters of text and of pictures, and how many attachments, a notebook may still hold."""

    text: int = MOST_TEXT
    pictures: int = MOST_PICTURES
    attachments: int = MOST_ATTACHMENTS
    notes: list[str] = field(default_factory=list)

    def take_picture(self, size: int) -> bool:
        if size > self.pictures:
            return False
        self.pictures -= size
        return True


def bounded_cells(cells: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Cells with type, text, metadata and pictures, the last three bounded, and notes about what was left out."""
    room = _NotebookRoom()
    kept = [_bounded_cell(number, cell, room) for number, cell in enumerate(cells, 1)]
    return kept, few(room.notes, MOST_REMARKS)


def _bounded_cell(number: int, cell: Mapping[str, Any], room: _NotebookRoom) -> dict[str, Any]:
    text, kind = joined(cell.get("source")), cell.get("cell_type")
    if kind == "markdown":
        text = _with_few_pictures(number, text, room)
        size = len(INLINE_PICTURE.sub("", text)) if "data:image/" in text else len(text)
    else:
        size = len(text)
    if size > min(MOST_CELL, room.text):
        room.notes.append(
            f"cell {number} holds {size:,} characters and was left out: at most {MOST_CELL:,} of a cell and "
            f"{MOST_TEXT:,} of a notebook are read. Put data into a file beside it"
        )
        text, size = f"# [a cell of {size:,} characters was left out]", 0
    room.text -= size
    metadata = cell.get("metadata")
    made = {"cell_type": kind, "source": text, "metadata": metadata if isinstance(metadata, dict) else {}}
    if attachments := _few_attachments(number, cell.get("attachments"), room):
        made["attachments"] = attachments
    return {**made, "id": cell["id"]} if "id" in cell else made


def joined(source: object) -> str:
    """A cell's text, which may be a list of lines."""
    if isinstance(source, list):
        return "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""


def _with_few_pictures(number: int, text: str, room: _NotebookRoom) -> str:
    """Markdown without the pictures in it, as Colab pastes them, that are too many."""
    left_out = 0

    def keep(found: re.Match[str]) -> str:
        nonlocal left_out
        fits = room.take_picture(len(found[0]))
        left_out += not fits
        return found[0] if fits else ""

    kept = INLINE_PICTURE.sub(keep, text) if "data:image/" in text else text
    if left_out:
        room.notes.append(_left_out_pictures(number, left_out))
    return kept


def _few_attachments(number: int, attachments: object, room: _NotebookRoom) -> dict[str, Any]:
    """The pictures that a cell carries with it, without those that are too many."""
    kept: dict[str, Any] = {}
    found = attachments if isinstance(attachments, dict) else {}
    for name, bundle in found.items():
        parts = bundle.values() if isinstance(bundle, dict) else ()
        size = len(name) + sum(len(part) for part in parts if isinstance(part, str))
        if room.attachments and room.take_picture(size):
            room.attachments -= 1
            kept[name] = bundle
    if len(kept) < len(found):
        room.notes.append(_left_out_pictures(number, len(found) - len(kept)))
    return kept


def _left_out_pictures(number: int, count: int) -> str:
    pictures = f"{count} picture{'s' * (count != 1)}"
    return f"cell {number}: {pictures} left out, since a notebook may hold {MOST_PICTURES >> 20} MiB of them"
