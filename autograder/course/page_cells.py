"""The cells of a graded notebook as formgrader may show them: harmless, and cheap to make a page of.

formgrader makes a notebook's page each time somebody opens it, in the process that serves everybody. So each cell is
tried here first: what takes long, or swells, is shown as plain text, or not at all; all of it is still in the notebook
that was handed in. `clean_cells` is meant for `limited.run_limited`.

For comparison with the bounds below: the reference solutions have at most 12,000 characters and take 0.1 s of
computing, the lesson has 52,000 characters and 2 MB of pictures, and takes 0.9 s.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from bs4 import BeautifulSoup
from nbconvert.filters.ansi import ansi2html
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.strings import strip_files_prefix

from autograder.course.page_text import Room, clean_html, clean_source, student_text
from autograder.pipeline.outputs import MOST_PIXELS, PICTURES, stream
from autograder.pipeline.shown_outputs import MOST_PICTURES

INLINE_PICTURE = re.compile(r"data:(image/(?:png|jpeg|gif));base64,([A-Za-z0-9+/=]+)")
MOST_CELL = 20_000  # characters: the time in which Markdown is rendered grows with their square
MOST_TEXT = 400_000  # characters of all cells of a notebook
MOST_PLAIN = 2_000  # characters of a cell that is shown as plain text
CELL_SECONDS, PAGE_SECONDS = 1.0, 4.0  # of computing
CELL_BYTES, PAGE_BYTES = 1 << 20, 4 << 20  # of markup, pictures apart
IN_FULL = "what was handed in holds it in full"
PLAIN_NOTE = f"[shown as it was written, since a page of it would take too long or be too large; {IN_FULL}]"
LEFT_OUT_NOTE = f"[not shown, since a page of this notebook would take too long or be too large; {IN_FULL}]"
LEFT_OUT_PICTURE = "[a picture was left out: the pictures of this notebook are too many or too large]\n"
NO_PICTURE = "picture-left-out"  # where its address stood

Cell = dict[str, Any]


class _TooSlow(BaseException):
    """More time than a cell may take. No Exception: a library that gives up on what it parses must not swallow it."""


@dataclass
class _PageRoom:
    """What is left for the page of a notebook."""

    seconds: float = PAGE_SECONDS
    size: int = PAGE_BYTES
    pictures: int = MOST_PICTURES

    def picture_fits(self, mime: str, text: str) -> bool:
        """Whether a picture, as base64, may be shown: of its type, not too large to be looked at, and still room."""
        fits = len(text) <= self.pictures and 0 < _pixels(mime, text) <= MOST_PIXELS
        self.pictures -= len(text) if fits else 0
        return fits


def clean_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without script, links and unsafe HTML, as much of them as a page may hold.

    `is_own` in a cell says that its text is the course's own, as it was released; its outputs are a student's. Cells
    that a student added and that have no room are left out, and a last cell says how many.
    """
    shorten([cell for cell in cells if not cell["is_own"]])
    left, room = _PageRoom(), Room()
    shown = [_try(cell, left, room) for cell in cells]
    return _with_remark([cell for cell in shown if cell is not None], shown.count(None))


def plain_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The same where cleaning itself takes too long: nothing of the student's but the beginnings of answers."""
    kept = [_plain(cell, MOST_PLAIN) for cell in cells if cell["is_own"] or is_graders(cell)]
    return _with_remark(kept, len(cells) - len(kept))


def is_graders(cell: Cell) -> bool:
    """Whether nbgrader knows the cell: it has to be there."""
    return bool(cell["metadata"].get("nbgrader", {}).get("grade_id"))


def _with_remark(cells: list[Cell], dropped: int) -> list[Cell]:
    if dropped:
        source = f"[{dropped:,} more cells are not shown: {IN_FULL}]"
        cells.append({"cell_type": "markdown", "id": "cells-left-out", "metadata": {}, "source": source})
    return cells


def shorten(cells: Iterable[Any]) -> None:
    """Cut what is too long to be made a page of, in the graded copy only: a page that takes hours stops all feedback.

    Pictures that stand in the text do not count.
    """
    left = MOST_TEXT
    for cell in cells:
        most = min(MOST_CELL, left)
        size = len(INLINE_PICTURE.sub("", cell["source"]))
        if size > most:
            cut = f"[{size - most:,} more characters of this cell are in the notebook that was handed in]"
            cell["source"] = f"{cell['source'][:most]}\n\n{cut if cell['cell_type'] == 'markdown' else f'# {cut}'}"
        left -= min(size, most)


# One cell


def _try(cell: Cell, left: _PageRoom, room: Room) -> Cell | None:
    """The cell as it may be shown, the best first; nothing where it has no room and nbgrader does not need it."""
    _bound_pictures(cell, left)
    ways = WAYS[cell["cell_type"]] if left.seconds > 0 else ()
    for way in ways:
        began = time.process_time()
        try:
            with at_most(CELL_SECONDS):
                made = way(cell)
                size = len(INLINE_PICTURE.sub("", _as_page(made, room)))
        except (_TooSlow, Exception):
            size = CELL_BYTES + 1  # parsers give up in many ways: on depth, on memory, on numbers
        left.seconds -= time.process_time() - began
        if size <= min(CELL_BYTES, left.size):
            left.size -= size
            return made
    return _without_text(cell) if cell["is_own"] or is_graders(cell) else None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop after so many seconds of computing, also within a regular expression. Only in a process's main thread."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _cleaned(cell: Cell) -> Cell:
    """The cell in full: cleaned, and with the note of whose text it is taken off."""
    made = {name: value for name, value in cell.items() if name != "is_own"}
    if cell["cell_type"] == "code":
        return {**made, "outputs": [_clean_output(output) for output in cell["outputs"]]}
    if cell["is_own"]:
        return made
    return {**made, "source": CLEANERS[cell["cell_type"]](cell["source"])}


def _raw(source: str) -> str:
    """A raw cell, which would be put into the page as it stands, ids and formulas included, as text."""
    return f'<pre class="tex2jax_ignore">{html.escape(source)}</pre>'


CLEANERS: dict[str, Callable[[str], str]] = {"markdown": clean_source, "raw": _raw}


def _clean_output(output: Cell) -> Cell:
    data = output.get("data")
    if data is None:  # text, which pages escape
        return output
    kept = {mime: data[mime] for mime in ("text/plain", *PICTURES) if mime in data}
    if "text/html" in data:
        kept["text/html"] = clean_html(data["text/html"])
    return {**output, "data": kept}


def _without_outputs(cell: Cell) -> Cell:
    return {**_cleaned({**cell, "outputs": []}), "outputs": [stream(LEFT_OUT_NOTE + "\n")]}


def _in_plain_text(cell: Cell) -> Cell:
    return _plain(cell, MOST_PLAIN)


WAYS: dict[str, Sequence[Callable[[Cell], Cell]]] = {
    "markdown": (_cleaned, _in_plain_text),
    "code": (_cleaned, _without_outputs, _in_plain_text),
    "raw": (_cleaned,),
}


def _plain(cell: Cell, most: int) -> Cell:
    """The beginning of the cell, in which nothing is markup, a formula or a highlighted word."""
    made = _cleaned({**cell, "cell_type": "raw", "is_own": True}) | {"cell_type": cell["cell_type"]}
    made.pop("attachments", None)
    text = cell["source"][:most]
    if not cell["is_own"]:
        made["source"] = f"# {PLAIN_NOTE}\n{text}" if cell["cell_type"] == "code" else _preformatted(text)
    if cell["cell_type"] == "code":
        made["outputs"] = [stream(LEFT_OUT_NOTE + "\n")] if cell["outputs"] else []
    return made


def _preformatted(text: str) -> str:
    """Markdown in which a text is only text. Dollars and backslashes would begin a formula even here."""
    shown = html.escape(text).replace("$", "&#36;").replace("\\", "&#92;")
    return f"<pre>\n{PLAIN_NOTE}\n\n{shown}\n</pre>"


def _without_text(cell: Cell) -> Cell:
    made = _plain(cell, 0)
    if not cell["is_own"]:
        made["source"] = f"# {LEFT_OUT_NOTE}" if cell["cell_type"] == "code" else LEFT_OUT_NOTE
    return made


def _as_page(cell: Cell, room: Room) -> str:
    """What formgrader's page will hold of the cell, made as it will make it."""
    if cell["cell_type"] == "markdown":
        made = strip_files_prefix(student_text(cell["source"], cell.get("attachments", {}), room))
    elif cell["cell_type"] == "code":
        highlighted = Highlight2HTML(pygments_lexer="ipython3")(cell["source"])
        made = "\n".join([highlighted, *(part for output in cell["outputs"] for part in _output_as_page(output))])
    else:
        made = cell["source"]
    return str(BeautifulSoup(made, features="html.parser"))


def _output_as_page(output: Cell) -> Iterator[str]:
    data = output.get("data", {})
    if "text/html" in data:
        yield data["text/html"]
    else:
        texts = [output.get("text", ""), data.get("text/plain", ""), *output.get("traceback", ())]
        yield from (f"<pre>{ansi2html(text)}</pre>" for text in texts if text)


# Pictures


def _bound_pictures(cell: Cell, left: _PageRoom) -> None:
    """Take out of a cell the pictures that have no room: of its text, attached to it, and shown by it."""

    def judge(found: re.Match[str]) -> str:
        return found[0] if left.picture_fits(found[1], found[2]) else NO_PICTURE

    if cell["cell_type"] == "code":
        cell["outputs"] = [_bound_output(output, left) for output in cell["outputs"]]
        return
    cell["source"] = INLINE_PICTURE.sub(judge, cell["source"])
    attached = cell.pop("attachments", None) or {}
    used = {name: bundle for name, bundle in attached.items() if f"attachment:{name}" in cell["source"]}
    fitting = {name: _fitting(bundle, left) for name, bundle in used.items()}
    if any(fitting.values()):
        cell["attachments"] = {name: bundle for name, bundle in fitting.items() if bundle}


def _fitting(bundle: Any, left: _PageRoom) -> dict[str, str]:
    """Of the forms of an attached picture, the first that may be shown."""
    given = bundle.items() if isinstance(bundle, dict) else ()
    return dict([(m, t) for m, t in given if m in KNOWN and isinstance(t, str) and left.picture_fits(m, t)][:1])


def _bound_output(output: Cell, left: _PageRoom) -> Cell:
    pictures = {mime: text for mime, text in output.get("data", {}).items() if mime in PICTURES}
    if all(left.picture_fits(mime, text) for mime, text in pictures.items()):
        return output
    return stream(LEFT_OUT_PICTURE)


def _pixels(mime: str, text: str) -> int:
    try:
        width, height = KNOWN[mime](base64.b64decode(text, validate=False))
    except (binascii.Error, ValueError):
        return 0
    return width * height


def _gif_size(content: bytes) -> tuple[int, int]:
    """Width and height of a GIF's screen, (0, 0) where it is none."""
    is_gif = content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 10
    return (int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")) if is_gif else (0, 0)


KNOWN: dict[str, Callable[[bytes], tuple[int, int]]] = {**PICTURES, "image/gif": _gif_size}
