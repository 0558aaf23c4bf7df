"""Text that students chose, as a terminal, a log or a spreadsheet may have it; `evidence.clean_text` bounds it, too.

No control character (an escape sequence steers a terminal), no sign that changes the direction or the width of what
follows (a name could read otherwise than it is), no half of a surrogate pair (it cannot be written).
"""

from __future__ import annotations

import re

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
