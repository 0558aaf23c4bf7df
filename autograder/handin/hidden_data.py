"""Data in a notebook's cells: trained weights, or images, written as text, which code of the notebook could unpack.

Matters most where the grader trains: then a notebook that brings its weights along has not been trained. What nothing
can read is not looked at: outputs and metadata are dropped before anything runs.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autograder.core.grade_report import Flag
from autograder.core.text import clean_name
from autograder.handin.cells import grade_id_of
from autograder.handin.notebook_file import Notebook

KIND = "hidden-data"
# In characters. The most in an honest notebook: see notebook_flags.
MOST_DATA = 2_048
MOST_PACKED = 8_192  # bytes that the text of one cell takes when it is compressed
MOST_PACKED_IN_ALL = 65_536  # the text of a notebook: many cells hold as much as a large one
MOST_PICTURE = 2 << 20
MOST_SCANNED = 4 << 20
LONG_WORD, FEWEST_SYMBOLS = 60, 10  # a rule of dashes is a long word, too
LONG_ROW = 200
_WORDS = re.compile(r"[A-Za-z0-9+/=_-]+")
_NUMBERS = re.compile(r"[0-9.,;:eE+\-\s\[\]()]+")
_ESCAPES = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3})")
_PICTURES = ((b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"), (b"\xff\xd8\xff", b"\xff\xd9"), (b"GIF8", b"\x3b"))
ASK = "Look at the cell, and ask what the text is and where it comes from."


@dataclass(frozen=True)
class DataBlock:
    """What looks like data in one cell: its size in characters, and its entropy in bits per character."""

    place: str
    what: str
    characters: int
    entropy: float

    def __str__(self) -> str:
        return f"{self.place}: {self.what}, {self.characters:,} characters ({self.entropy:.1f} bits each)"


def notebook_flags(notebooks: Mapping[str, Notebook]) -> list[Flag]:
    """A flag for every notebook with a large block of data in its cells.

    Of 208 notebooks and answers (the course's own, the tests' samples, designs, mutants and architectures) none has a
    single character that looks like data; no cell takes more than 1,567 bytes when it is compressed, no notebook more
    than 19,371 (the lesson).
    """
    flags = []
    for name, notebook in notebooks.items():
        blocks = list(data_blocks(notebook))
        total = sum(block.characters for block in blocks)
        if total > MOST_DATA:
            largest = sorted(blocks, key=lambda block: -block.characters)[:3]
            more = f", and {len(blocks) - 3} more" if len(blocks) > 3 else ""
            seen = f"Text that looks like data: {'; '.join(map(str, largest))}{more}."
            usual = "The honest notebooks that we know have none."
            flags.append(Flag(KIND, name, f"{seen} {usual} {ASK}"))
    return flags


def data_blocks(notebook: Notebook) -> Iterator[DataBlock]:
    """What looks like data in each cell, however little."""
    for number, cell in enumerate(notebook["cells"], 1):
        place = f"the cell {grade_id_of(cell)}" if grade_id_of(cell) else f"cell {number}"
        yield from _blocks_in_text(place, cell["source"][:MOST_SCANNED])
        yield from _blocks_in_attachments(place, cell.get("attachments", {}))
    everything = "\n".join(cell["source"] for cell in notebook["cells"])[:MOST_SCANNED]
    if _packed(everything) > MOST_PACKED_IN_ALL:
        yield DataBlock("all cells together", _described(everything), len(everything), entropy(everything))


def _blocks_in_text(place: str, text: str) -> Iterator[DataBlock]:
    found = {
        "long words as of base64 or hexadecimal digits": [w for w in _WORDS.findall(text) if _is_data(w)],
        "long lists of numbers": [n for n in _NUMBERS.findall(text) if _is_row(n)],
        "escaped bytes": _ESCAPES.findall(text),
    }
    what, parts = max(found.items(), key=lambda item: sum(map(len, item[1])))
    joined = "".join(parts)
    if joined:
        yield DataBlock(place, what, len(joined), entropy(joined))
    elif _packed(text) > MOST_PACKED:
        yield DataBlock(place, _described(text), len(text), entropy(text))


def _packed(text: str) -> int:
    """Bytes that a text takes when it is compressed: what it can hold, in whatever alphabet it is written."""
    return len(zlib.compress(text.encode("utf-8", "replace")))


def _described(text: str) -> str:
    return f"text that takes {_packed(text):,} bytes even when it is compressed"


def _is_data(word: str) -> bool:
    return len(word) >= LONG_WORD and len(set(word)) >= FEWEST_SYMBOLS


def _is_row(row: str) -> bool:
    return len(row) >= LONG_ROW and sum(c.isdigit() for c in row) > len(row) / 4


def entropy(text: str) -> float:
    """Bits per character, from how often each occurs."""
    counts, total = Counter(text), len(text)
    return -sum(n / total * math.log2(n / total) for n in counts.values())


def _blocks_in_attachments(place: str, attachments: Mapping[str, Mapping[str, Any]]) -> Iterator[DataBlock]:
    """Attachments that are no whole pictures, and very large ones; pasted pictures of ordinary size are usual."""
    for name, bundle in attachments.items():
        for text in bundle.values():
            try:
                content = base64.b64decode(text, validate=False)
            except (binascii.Error, ValueError):
                content = b""
            what = "a very large picture" if _is_picture(content) else "which is no whole picture"
            if not _is_picture(content) or len(content) > MOST_PICTURE:
                yield DataBlock(place, f"attachment {clean_name(name)}, {what}", len(text), entropy(text))


def _is_picture(content: bytes) -> bool:
    return any(content.startswith(start) and content.rstrip(b"\0").endswith(end) for start, end in _PICTURES)
