"""The record of a collection, so that a later dispute can be settled: a CSV file, one row as soon as it is known."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from autograder.core.text import csv_cell

COLUMNS = (
    "kind",  # upload: as it arrived; file: as it lies in the folder; remark: on both; receipt: as the student holds it
    "student",
    "person",
    "original",
    "sha256",
    "size",
    "submitted_at",
    "which",
    "verdict",
    "remark",
)


@dataclass(frozen=True)
class Record:
    """An open record."""

    path: Path
    file: TextIO

    def write(self, kind: str, **values: str | int) -> None:
        """Add a row, at once: what is in the record was done, whatever happens next."""
        row = {"kind": kind, **values}
        csv.writer(self.file).writerow([csv_cell(row.get(column, "")) for column in COLUMNS])
        self.file.flush()


@contextmanager
def open_record(folder: Path, assignment: str, now: datetime) -> Iterator[Record]:
    """A new record `<assignment>-<time>.csv`; of two in one second the second one's name ends in -1."""
    folder.mkdir(parents=True, exist_ok=True)
    path = unused(folder / f"{assignment}-{stamp(now)}", ".csv")
    with open(path, "x", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(COLUMNS)
        yield Record(path, file)


def stamp(time: datetime) -> str:
    """A time in UTC, fit for a file's name."""
    return time.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def unused(stem: Path, suffix: str = "") -> Path:
    """The path, with a number where it is taken."""
    path, number = stem.with_name(stem.name + suffix), 0
    while path.exists():
        number += 1
        path = stem.with_name(f"{stem.name}-{number}{suffix}")
    return path
