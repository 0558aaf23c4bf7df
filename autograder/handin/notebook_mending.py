"""A notebook file that is not quite JSON, made JSON where only one meaning is possible.

Editors leave a comma too many, programs write NaN, a full disk leaves null bytes, git leaves both sides of a merge.
What is put right here lies between the strings: no text of a cell is changed. Everything is done by passes over the
bytes that take time by their number, since a file may have been made to harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autograder.core.remarks import in_words

MOST_MENDED = 24 << 20  # bytes; mending takes six times as much memory
MOST_FAULTS = 1_000_000  # an array of NaN may have as many
MOST_PLACES = 3  # of merge conflicts, that are named

MARKER = re.compile(rb"^[ \t]*(?P<mark><{7}|\|{7}|={7}|>{7})(?![<|=>])[^\n]*\n?", re.MULTILINE)
NEXT_MARKS = {b"": b"<", b"<": b"|=", b"|": b"=", b"=": b">"}

# These are searched for where strings are blotted out: `"` ends one there, and all else of it is the letter s.
BLANK = rb"[ \t\r\n]"
LINE_COMMENT = rb"//[^\n]*|#[^\n]*"
STRAY = rb"[\x00\x0b\x0c\x1a]+|\xef\xbb\xbf|\xc2\xa0|\xe2\x80[\x8b\xa8\xa9]"  # what looks like nothing, or like a blank
BETWEEN = re.compile(rb"(?P<comment>" + LINE_COMMENT + rb"|/\*)|(?P<stray>" + STRAY + rb")")
EXTRA_COMMA = re.compile(rb",(?=" + BLANK + rb"*[\]},])")
EARLY_COMMA = re.compile(rb"[\[{]" + BLANK + rb"*,(?!" + BLANK + rb"*[\]},])")
NO_COMMA = re.compile(rb'["\]}0-9elNnyf](?=' + BLANK + rb"+s)")  # between the end of a value and a string
NO_NUMBER = re.compile(rb"(?:NaN|nan|-?Infinity|-?inf)\b")
LONG_NUMBER = re.compile(rb"-\d{19,}|\d{19,}")  # a parser that knows whole numbers of 64 bits stops there
ZERO_FOR_DIGIT = bytes.maketrans(b"123456789", b"0" * 9)
BLANK_FOR_ALL = bytes(byte if byte in b"\r\n" else ord(" ") for byte in range(256))  # but ends of lines
PARTS_OF_NUMBERS = (*(bytes([sign]) for sign in b"0123456789.eE+-"),)
NEW_LINE = b"\n"
TOO_MANY = "a comma too many"


@dataclass(frozen=True)
class Mended:
    """The text with its faults put right, and what they were, in words, each with the line of the first."""

    content: bytes
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sides:
    """A file in which git left a merge that it could not decide, as it is with all of ours and all of theirs; `where`
    names the lines."""

    ours: bytes
    theirs: bytes
    where: str


@dataclass(frozen=True)
class _Edit:
    """A stretch of the text that another one takes the place of, and what is wrong with it."""

    start: int
    end: int
    text: bytes
    words: str


class _TooManyFaults(Exception):
    """More than can be honest, or a comment without an end."""


def sides_of(content: bytes) -> Sides | None:
    """Both sides of a file with merge conflicts; None where there is none, or the marks are not git's."""
    if b"<<<<<<<" not in content or b">>>>>>>" not in content:
        return None
    parts: dict[bytes, list[bytes]] = {b"<": [], b"|": [], b"=": []}
    spans: list[tuple[int, int]] = []
    state, at = b"", 0
    for found in MARKER.finditer(content):
        mark = found["mark"][:1]
        if mark not in NEXT_MARKS[state]:
            return None
        for side in [state] if state else (b"<", b"="):
            parts[side].append(content[at : found.start()])
        spans.append(found.span())
        state, at = (b"" if mark == b">" else mark), found.end()
    if state or not spans:
        return None
    ours, theirs = (b"".join([*parts[side], content[at:]]) for side in (b"<", b"="))
    return Sides(ours, theirs, _lines_of(content, spans))


def has_marks(content: bytes) -> bool:
    """Whether lines begin as git's marks of a merge do."""
    return (b"<<<<<<<" in content or b">>>>>>>" in content) and MARKER.search(content) is not None


def _lines_of(content: bytes, spans: list[tuple[int, int]]) -> str:
    """ "lines 28 to 32", of the conflicts whose marks lie at these places."""
    places: list[str] = []
    line, counted, first = 1, 0, 0
    for start, end in spans:
        line += content.count(b"\n", counted, start)
        counted = start
        mark = content[start:end].lstrip()[:1]
        if mark == b"<":
            first = line
        elif mark == b">":
            places.append(f"{first} to {line}")
    return f"lines {in_words(places, MOST_PLACES)}"


def mend(content: bytes) -> Mended:
    """The text without faults that have one remedy only; as it is where there are more than can be honest."""
    try:
        return _mend(content)
    except _TooManyFaults:
        return Mended(content)


def _mend(content: bytes) -> Mended:
    bones, tabs = _without_strings(content)
    between = list(_blots(bones))
    edits = [_Edit(start, end, bones[start:end].translate(BLANK_FOR_ALL), words) for start, end, words in between]
    # Of the same length as before, so that the places of all that is found later are those in the content.
    bones = _edited(bones, edits)
    edits += [_Edit(at, at + 1, b"\\t", "a tab in a text") for at in tabs]
    edits += [_Edit(*found.span(), b"", TOO_MANY) for found in _few(EXTRA_COMMA.finditer(bones))]
    edits += [_Edit(found.end() - 1, found.end(), b"", TOO_MANY) for found in _few(EARLY_COMMA.finditer(bones))]
    edits += [_Edit(found.end(), found.end(), b",", "a missing comma") for found in _few(NO_COMMA.finditer(bones))]
    edits += [_Edit(*found.span(), b"null", "NaN") for found in _few(NO_NUMBER.finditer(bones))]
    edits += [_Edit(*span, b"0", "a number with very many digits") for span in _long_numbers(bones)]
    edits.sort(key=lambda edit: edit.start)
    return Mended(_edited(content, edits), tuple(_described(content, edits)))


def _without_strings(content: bytes) -> tuple[bytes, list[int]]:
    """The text with strings blotted out, and where tabs stand in them; by array operations, since there may be
    millions."""
    # Of the same length as before. Without escaped backslashes and quotation marks, each mark left begins or ends one.
    plain = np.frombuffer(content.replace(b"\\\\", b"__").replace(b'\\"', b"__"), np.uint8)
    inside = np.bitwise_xor.accumulate((plain == ord('"')).view(np.uint8)).view(bool)
    tabs = np.flatnonzero(inside & (plain == ord("\t")))
    if len(tabs) > MOST_FAULTS:
        raise _TooManyFaults
    return np.where(inside, np.uint8(ord("s")), plain).tobytes(), tabs.tolist()


def _blots(bones: bytes) -> Iterator[tuple[int, int, str]]:
    """Where comments and stray characters begin and end, and what they are."""
    if not any(sign in bones for sign in (b"/", b"#", b"\0", b"\x0b", b"\x0c", b"\x1a", b"\xef", b"\xc2", b"\xe2")):
        return
    at = 0
    for _ in range(MOST_FAULTS):
        found = BETWEEN.search(bones, at)
        if found is None:
            return
        at, words = found.end(), "a comment" if found["comment"] else "a character that does not belong there"
        if found["comment"] == b"/*":
            at = bones.find(b"*/", at) + 2
            if at < 2:
                raise _TooManyFaults
        yield found.start(), at, words
    raise _TooManyFaults


def _few(found: Iterator[re.Match[bytes]]) -> Iterator[re.Match[bytes]]:
    for count, one in enumerate(found):
        if count >= MOST_FAULTS:
            raise _TooManyFaults
        yield one


def _long_numbers(bones: bytes) -> Iterator[tuple[int, int]]:
    """Where whole numbers stand that are too long, and no parts of others."""
    if b"0" * 19 not in bones.translate(ZERO_FOR_DIGIT):  # which is found out in no time
        return
    for found in _few(LONG_NUMBER.finditer(bones)):
        start, end = found.span()
        if bones[start - 1 : start] not in PARTS_OF_NUMBERS and bones[end : end + 1] not in PARTS_OF_NUMBERS:
            yield start, end


def _edited(content: bytes, edits: Sequence[_Edit]) -> bytes:
    parts, at = [], 0
    for edit in edits:
        parts += [content[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*parts, content[at:]]) if edits else content


def _described(content: bytes, edits: Sequence[_Edit]) -> Iterator[str]:
    """What was put right, each kind once, with the line of the first."""
    first: dict[str, int] = {}
    for edit in edits:
        first.setdefault(edit.words, edit.start)
    for words, at in first.items():
        yield f"{words} in line {content.count(NEW_LINE, 0, at) + 1}"
