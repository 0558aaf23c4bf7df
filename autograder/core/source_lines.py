"""A line of a notebook's cell as one number, as the worker sends it."""

from __future__ import annotations

LINES_PER_CELL = 100_000  # as in worker/cells.py


def decode_line(line: int) -> tuple[int, int]:
    """`(cell, line in the cell)`, cells from 0 and lines from 1; `(0, 0)` where the line is unknown."""
    return divmod(line, LINES_PER_CELL)
