"""Lists of remarks that a student can make long, for people to read: bounded in number and in length, with a count.

Whoever hands in 2,000 stray files would else fill reports, feedback and the terminal with 2,000 sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from autograder.core.notes import Note

MOST_REMARKS = 20
MOST_REMARK = 500  # characters of one
MOST_NAMES = 5  # in one sentence


def few(remarks: Iterable[str], most: int = MOST_REMARKS, rest: str = "more", uncounted: int = 0) -> list[str]:
    """The first remarks, each of bounded length, and where there are others, how many: "… and 1,970 more".

    `uncounted` are others that are not among the remarks.
    """
    left = iter(remarks)
    shown = [clipped(remark) for remark in islice(left, most)]
    more = sum(1 for _ in left) + uncounted
    return [*shown, f"… and {more:,} {rest}"] if more else shown


def few_notes(notes: Iterable[Note], rest: str = "more", uncounted: int = 0) -> list[Note]:
    """The same of notes: what is said of the others is a plain remark."""
    left = iter(notes)
    shown = [replace(note, text=clipped(note.text)) for note in islice(left, MOST_REMARKS)]
    more = sum(1 for _ in left) + uncounted
    return [*shown, Note(f"… and {more:,} {rest}")] if more else shown


def clipped(text: str, most: int = MOST_REMARK) -> str:
    """The text, cut where it is longer than anybody reads."""
    return text if len(text) <= most else f"{text[:most]} …"


def in_words(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names in a sentence, the first of many: "a, b, c and 37 more"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
