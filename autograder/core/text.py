"""Text that students chose, as a terminal, a log or a spreadsheet may have it; `evidence.clean_text` bounds it, too.

No control character (an escape sequence steers a terminal), no sign that changes the direction or the width of what
follows (a name could read otherwise than it is), no half of a surrogate pair (it cannot be written).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# What a formula begins with. Some programs take the full-width forms for the plain ones, and blanks before for nothing.
FORMULA_SIGNS = ("=", "+", "@", "-", "＝", "＋", "＠", "－")
# A file is also read with other separators than it was written with, where that is the custom of the country.
FORMULA = re.compile(rf'(^|[,;|"])(\s*)(?=[{re.escape("".join(FORMULA_SIGNS))}])')


def printable(text: str) -> str:
    """The text, of whatever length, with a replacement character for what cannot be shown; line breaks stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str) -> str:
    """The same without line breaks: a name with one would forge a line."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\t", " ")


def csv_cell(text: object) -> str:
    """Text for a cell of a CSV file: an apostrophe stands before whatever a spreadsheet would calculate (OWASP, CSV
    injection)."""
    return FORMULA.sub(r"\1\2'", printable(str(text)).replace("\n", " ").replace("\t", " "))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


MOST_TEXT = 2000
MOST_NAME = 200


def clean_text(value: object) -> str:
    """Bounded text without control characters or lone surrogates, fit for a terminal, a file and a page."""
    text = value[:MOST_TEXT] if isinstance(value, str) else ""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def clean_name(value: object) -> str:
    """A name that a student chose (of a file, a folder, a person) on one line: a line break in it would forge one."""
    text = clean_text(value).replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\t", " ")
    return text if len(text) <= MOST_NAME else f"{text[:MOST_NAME]}…"


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def readable(text: object) -> str:
    """Text of a student's for a page: no terminal colours, no control or direction characters, bounded."""
    return clean_text(ANSI.sub("", str(text)))
