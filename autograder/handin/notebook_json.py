"""The JSON in a notebook file, read with limits, and as far as it goes where it is none.

A file of ordinary size is read whole. A larger one, which outputs made so, is read as a stream; so is a damaged one, to
find out where it ends. Where that fails, faults that have one remedy only are put right, and it is read once more.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from autograder.core.strict_json import count_values
from autograder.handin.notebook_bounds import joined
from autograder.handin.notebook_mending import MOST_MENDED, has_marks, mend, sides_of
from autograder.handin.notebook_stream import (
    MOST_EVENTS,
    NOTEBOOK,
    DamagedStream,
    EndsEarly,
    HoldsTooMuch,
    fitted,
    parse_stream,
)

WHOLE_MIB = 8  # Python objects take up to twenty times the space of their JSON
MOST_WHOLE_VALUES = 400_000  # of a file that is read whole: an honest one has some thousands
MOST_MENDED_EVENTS = 5_000_000  # of a file that is read once more
CHUNK = 1 << 20
MOST_VERSIONS = 8
UPLOAD_AGAIN = "the upload was probably interrupted: save the notebook, upload it again, and compare the sizes"
EARLIER_COPY = "hand in an earlier copy of the notebook"
PUT_RIGHT = f"put that place right in a text editor, or {EARLIER_COPY}"
BEHIND = (
    "something stands behind its end, as where a file was written over a longer one or the disk was full: "
    "it was passed over"
)
NOT_UTF8 = "it was not saved as UTF-8, so some letters may have changed: save it in Jupyter before handing in"


@dataclass(frozen=True)
class ParsedNotebook:
    """What was read of a file: its `versions`, of which an honest file has one, and `notes` about what reading it took.

    Where there are several, `between` says in words what keeps them apart. `broken` says where the file is damaged or
    ends, in words that go on after its name, "" for a whole one, and `remedy` what to do. With `is_behind_cells` no
    cell can be missing.
    """

    versions: Sequence[Any]
    notes: Sequence[str] = ()
    between: str = ""
    broken: str = ""
    remedy: str = ""
    is_behind_cells: bool = False


def parse_notebook(file: BinaryIO) -> ParsedNotebook:
    """Read as UTF-8, UTF-16 or UTF-32 as the file says itself, else in Windows' old western character set.

    Raises HoldsTooMuch.
    """
    file.seek(0)
    encoding = json.detect_encoding(file.read(4))
    try:
        return _parse(file, encoding, "strict")
    except UnicodeDecodeError:
        parsed = _parse(file, "cp1252", "replace")
    return replace(parsed, notes=[NOT_UTF8, *parsed.notes])


def cells_in(value: object) -> list[Any]:
    """The cells of what was read of a notebook, in whatever format it is."""
    if not isinstance(value, dict):
        return []
    sheets = value.get("worksheets")
    sheets = sheets if isinstance(sheets, list) else []
    parts = [value, *(sheet for sheet in sheets if isinstance(sheet, dict))]
    return [cell for part in parts if isinstance(part.get("cells"), list) for cell in part["cells"]]


def text_in(cell: Mapping[str, Any]) -> str:
    """The text of a cell of any format."""
    return joined(next((cell[key] for key in ("source", "input", "code", "text") if key in cell), ""))


def _parse(file: BinaryIO, encoding: str, errors: str) -> ParsedNotebook:
    file.seek(0)
    content = file.read((WHOLE_MIB << 20) + 1)
    text = ""
    if len(content) <= WHOLE_MIB << 20:
        # Not `final`: where an upload was cut within a letter, the rest of that letter is no other character set.
        text = codecs.getincrementaldecoder(encoding)(errors).decode(content)
    if text and count_values(text.encode("utf-8", "replace")) <= MOST_WHOLE_VALUES:
        try:
            return ParsedNotebook([fitted(json.loads(text), NOTEBOOK)])
        except (ValueError, RecursionError):
            pass  # a stream tells more about where it ends
    try:
        return _parsed(_utf8_chunks(file, encoding, errors), MOST_EVENTS)
    except EndsEarly as early:
        return _broken(early, "ends early", UPLOAD_AGAIN)
    except DamagedStream as damaged:
        return _mended(b"".join(_few_chunks(file, encoding, errors)), damaged)


def _utf8_chunks(file: BinaryIO, encoding: str, errors: str) -> Iterator[bytes]:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    while chunk := file.read(CHUNK):
        yield decoder.decode(chunk).encode("utf-8", "replace")


def _few_chunks(file: BinaryIO, encoding: str, errors: str) -> Iterator[bytes]:
    """As much as can be mended, or nothing."""
    file.seek(0, 2)
    if file.tell() <= MOST_MENDED:
        yield from _utf8_chunks(file, encoding, errors)


def _parsed(chunks: Iterator[bytes], most_events: int) -> ParsedNotebook:
    """What stands in a stream, and behind the end of it. Raises EndsEarly, DamagedStream and HoldsTooMuch."""
    try:
        values = parse_stream(chunks, most_events)
    except DamagedStream as damaged:
        if not any(cells_in(value) for value in damaged.before):
            raise
        return _first_of([*damaged.before, damaged.value], [BEHIND])
    return _first_of(values, [BEHIND] if len(values) > 1 else [])


def _first_of(values: Sequence[Any], notes: Sequence[str]) -> ParsedNotebook:
    """The first notebook of several values, or all of them where their cells differ: nobody knows which is meant."""
    notebooks = [value for value in values if cells_in(value)]
    if not notebooks:
        return ParsedNotebook(values[:1])
    if len(notebooks) > MOST_VERSIONS:
        raise HoldsTooMuch
    first, *others = notebooks
    texts = _texts(first)
    rivals = [other for other in others if (own := _texts(other)) != texts[: len(own)]]
    if rivals:
        return ParsedNotebook([first, *rivals], between=f"it holds {1 + len(rivals)} notebooks one after the other")
    return ParsedNotebook([first], notes)


def _texts(value: object) -> list[tuple[Any, ...]]:
    """What tells notebooks apart: of each cell its type, text, pictures and grade id; not what running it leaves."""
    cells = [cell for cell in cells_in(value) if isinstance(cell, dict)]
    return [(cell.get("cell_type"), text_in(cell), cell.get("attachments"), cell.get("metadata")) for cell in cells]


def _mended(content: bytes, damaged: DamagedStream) -> ParsedNotebook:
    """What is read after faults were put right; what was read before where that does not help."""
    if not content:
        return _broken(damaged, "is damaged", EARLIER_COPY)
    sides = sides_of(content)
    if sides is not None:
        conflict = f"git could not decide a merge in it ({sides.where})"
        try:
            versions = [_whole(mend(side).content) for side in (sides.ours, sides.theirs)]
        except (DamagedStream, HoldsTooMuch):
            return _broken(damaged, f"is damaged: {conflict}", PUT_RIGHT)
        found = _first_of(versions, [f"{conflict}, in outputs and counts only: it was passed over"])
        return replace(found, between=conflict) if len(found.versions) > 1 else found
    mended = mend(content)
    if mended.faults:
        faults = f"its file is not quite JSON ({', '.join(mended.faults)}): that was put right for reading"
        try:
            found = _parsed(_pieces(mended.content), MOST_MENDED_EVENTS)
            return replace(found, notes=[faults, *found.notes])
        except EndsEarly as early:
            return replace(_broken(early, "ends early", UPLOAD_AGAIN), notes=[faults])
        except DamagedStream as still:
            damaged = still
        except HoldsTooMuch:
            pass
    place, marks = _place_of_damage(mended.content), " by git's marks of a merge" if has_marks(content) else ""
    return _broken(damaged, f"is damaged{place}{marks}", PUT_RIGHT if place else EARLIER_COPY)


def _whole(content: bytes) -> Any:
    """The notebook in the text. Raises DamagedStream where that is no whole one, and HoldsTooMuch."""
    values = parse_stream(_pieces(content), MOST_MENDED_EVENTS)
    if len(values) != 1:
        raise DamagedStream(values, None, is_behind_cells=False)
    return values[0]


def _pieces(content: bytes) -> Iterator[bytes]:
    return (content[start : start + CHUNK] for start in range(0, len(content), CHUNK))


def _broken(damaged: DamagedStream, words: str, remedy: str) -> ParsedNotebook:
    return ParsedNotebook([damaged.value], (), "", words, remedy, damaged.is_behind_cells)


def _place_of_damage(content: bytes) -> str:
    """Where a parser stops, as a text editor counts; "" for what is too large to be parsed whole."""
    if len(content) > WHOLE_MIB << 20 or count_values(content) > MOST_WHOLE_VALUES:
        return ""
    try:
        json.loads(content.decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        return f" in line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        pass
    return ""
