"""Somebody else's CSV file: read it, change single cells, and leave every other byte as it was."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.core.text import clean_name
from autograder.review.exports.classbook import ExportError

BOM = "\ufeff"
MOST_SHEET_MIB = 64


@dataclass(frozen=True)
class Field:
    """A cell as it stands in the file, quotes included, and what follows it: a delimiter or a line break."""

    raw: str
    end: str

    @property
    def value(self) -> str:
        is_quoted = len(self.raw) > 1 and self.raw.startswith('"') and self.raw.endswith('"')
        return self.raw[1:-1].replace('""', '"') if is_quoted else self.raw


@dataclass(frozen=True)
class Sheet:
    """A table, the first row its header; row numbers count from 0, the header included."""

    name: str
    delimiter: str
    has_bom: bool
    rows: Sequence[Sequence[Field]]

    @property
    def header(self) -> list[str]:
        return [field.value.strip() for field in self.rows[0]]

    def value(self, row: int, column: int) -> str:
        """A cell without the blanks around it; empty beyond the end of its row."""
        return self.rows[row][column].value.strip() if column < len(self.rows[row]) else ""

    def column(self, name: str) -> int:
        """Where the one column with this name is. Raises ExportError."""
        found = [index for index, title in enumerate(self.header) if title == name]
        if len(found) == 1:
            return found[0]
        state = "no column" if not found else f"{len(found)} columns"
        titles = ", ".join(repr(clean_name(title)) for title in self.header)
        raise ExportError(f"{self.name} has {state} {clean_name(name)!r}; its columns are {titles}")

    def filled(self, values: Mapping[tuple[int, int], str]) -> bytes:
        """The file with other text in some cells (row, column); each cell keeps its quotes where it had some."""
        text = []
        for index, row in enumerate(self.rows):
            for place, field in enumerate(row):
                value = values.get((index, place))
                text.append((field.raw if value is None else self._quoted(value, field)) + field.end)
        return ((BOM if self.has_bom else "") + "".join(text)).encode()

    def _quoted(self, value: str, before: Field) -> str:
        needs_quotes = before.raw.startswith('"') or any(c in value for c in (self.delimiter, '"', "\r", "\n"))
        return '"' + value.replace('"', '""') + '"' if needs_quotes else value


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file in UTF-8 with `,` or `;` between columns. Raises ExportError, also where a row is not as long as
    the header.
    """
    try:
        with open(path, "rb") as file:
            content = file.read((MOST_SHEET_MIB << 20) + 1)
        if len(content) > MOST_SHEET_MIB << 20:
            raise ExportError(f"{path.name} is larger than {MOST_SHEET_MIB} MiB: that is no gradebook's export")
        text = content.decode()
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        remedy = "export it again, and do not save it from a spreadsheet"
        raise ExportError(f"{path.name} is no CSV file in UTF-8: {remedy}") from error
    body = text.removeprefix(BOM)
    first = body.lstrip("\r\n").splitlines()[0] if body.strip() else ""
    if not first:
        raise ExportError(f"{path.name} is empty: export it again")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    rows = _split(body, delimiter)
    if not _agrees(rows, body, delimiter):
        raise ExportError(f"{path.name} cannot be read as CSV (quotes that do not close?): export it again")
    for index, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]) and any(field.value.strip() for field in row):
            sizes = f"row {index} has {len(row)} cells, the header {len(rows[0])}"
            raise ExportError(f"{path.name}: {sizes}, so that columns cannot be told: export it again")
    return Sheet(path.name, delimiter, body != text, rows)


def _split(text: str, delimiter: str) -> list[list[Field]]:
    """All cells as they stand; together they are the text again."""
    plain = rf"[^{delimiter}\r\n]*"
    pattern = re.compile(rf'("[^"]*(?:""[^"]*)*"(?={delimiter}|[\r\n]|\Z)|{plain})({delimiter}|\r\n|\r|\n|\Z)')
    rows: list[list[Field]] = [[]]
    place = 0
    while place < len(text) or rows[-1]:
        match = pattern.match(text, place)
        assert match is not None  # the empty cell before a delimiter, a line break or the end always fits
        rows[-1].append(Field(match[1], match[2]))
        place = match.end()
        if match[2] != delimiter:
            if place >= len(text):
                break
            rows.append([])
    return rows


def _agrees(rows: Sequence[Sequence[Field]], text: str, delimiter: str) -> bool:
    """Whether Python's own reader sees the same cells."""
    try:
        read = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        return False
    return read == [values if (values := [field.value for field in row]) != [""] else [] for row in rows]
