"""What a submission tried, by accident or not: from the notes, flags and runs of the report that grading left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from autograder.core.grade_report import KINDS as FLAGS
from autograder.core.grade_report import GradeReport, Status
from autograder.core.notes import NoteKind
from autograder.core.text import clean_text
from autograder.core.wording import status_words
from autograder.review.integrity.signals import Sign

NOTES = (NoteKind.SHADOW, NoteKind.BLOCKED, NoteKind.HIDDEN_TEXT, NoteKind.COURSE_TEXT)  # kinds of signs, too
ENDED = (Status.CRASHED, Status.TIMEOUT, Status.OUT_OF_MEMORY, Status.OUTPUT_LIMIT)
MOST_TEXT = 400
MOST_OF_A_KIND = 10  # of one student and place: 2,000 cells that end badly are one thing to look at
MODULE = re.compile(r"(?:^|/)(?P<name>[A-Za-z_]\w*)(?:\.py|\.(?:[\w-]+\.)*(?:so|pyd|pyc)|/__init__\.py)$")
# What the course's notebooks import, and what these import first: a file of such a name is imported in its place.
LIBRARIES = {
    *("torch", "torchvision", "numpy", "matplotlib", "PIL", "safetensors", "tqdm", "IPython", "ipykernel", "nbgrader"),
    *("pytest", "conftest", "autograder", "sitecustomize", "usercustomize", "builtins", "json", "os", "sys", "math"),
    *("random", "re", "typing", "inspect", "pickle", "struct", "time", "copy", "collections", "functools", "pathlib"),
}


def signs_of(report: GradeReport, files: Sequence[str]) -> Iterator[Sign]:
    """Everything about one submission that deserves a line, of each kind the first and a count. `files` are the names
    of what was handed in, but for files that the course has itself: these are laid over."""
    counts: Counter[tuple[str, str]] = Counter()
    for sign in _all_signs_of(report, files):
        counts[sign.kind, sign.place] += 1
        if counts[sign.kind, sign.place] <= MOST_OF_A_KIND:
            yield sign
    for (kind, place), count in counts.items():
        if count > MOST_OF_A_KIND:
            yield Sign(report.student, kind, place, f"… and {count - MOST_OF_A_KIND:,} more of this kind.")


def _all_signs_of(report: GradeReport, files: Sequence[str]) -> Iterator[Sign]:
    for note in report.notes:
        if note.kind in NOTES:
            yield Sign(report.student, note.kind.value, "", _short(str(note)))
    for name in files:
        found = MODULE.search(name)
        if found is not None and found["name"] in LIBRARIES:
            text = f"`{name}` has the name of the module {found['name']}."
            yield Sign(report.student, "shadow", "", _short(text))
    for flag in report.flags:
        text = f"{FLAGS.get(flag.kind, flag.kind).capitalize()}. {flag.text}"
        yield Sign(report.student, "flag", flag.notebook, clean_text(text))
    for run in report.notebooks:
        ends = [(run.status, run.message), *((cell.status, cell.message) for cell in run.cells)]
        for status, message in dict.fromkeys(end for end in ends if end[0] in ENDED):
            text = f"{status_words(status).capitalize()}{f': {message}' if message else ''}"
            yield Sign(report.student, "killed", run.notebook, _short(text))


def _short(text: str) -> str:
    cleaned = clean_text(text)
    return cleaned if len(cleaned) <= MOST_TEXT else f"{cleaned[:MOST_TEXT]}…"
