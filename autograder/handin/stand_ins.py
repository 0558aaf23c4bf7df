"""Files that were handed in where a notebook is missing: a script, a web page, a packed archive.

They are named, so that the student knows what became of them and what to hand in; nothing of them is graded.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autograder.core.files import open_file
from autograder.core.text import clean_name
from autograder.handin.cells import grade_id_of, source_of
from autograder.handin.file_kinds import (
    ARCHIVE,
    NO_ENDING,
    OWN_COPY,
    PICTURE,
    PLAIN_TEXT,
    SCRIPT,
    SHORTCUT,
    UNFINISHED,
    FileKind,
    kind_of_name,
)
from autograder.handin.notebook_file import Notebook
from autograder.handin.quarantine import TIMESTAMP
from autograder.handin.walk import MOST_DEPTH, is_notebook_name, stem_of, walk

MOST_LOOKED_INTO = 20  # scripts and texts that are looked into for the course's lines
MOST_BYTES = 1 << 19  # of each
LEAST_LINE = 16  # characters: a shorter one stands in anybody's code
LEAST_LINES = 2  # that tell which notebook a script was made of
LEAST_NAME = 6  # letters of a notebook's name without its number
NO_LETTERS = re.compile(r"[\W_]+")
HOLDERS = (ARCHIVE, SHORTCUT, UNFINISHED)  # may hold any notebook
CHECKPOINTS = ".ipynb_checkpoints"


@dataclass(frozen=True)
class _StandIn:
    name: str
    kind: FileKind

    @property
    def told(self) -> str:
        return f"`{clean_name(self.name)}` {self.kind.is_no_notebook}"


def stand_ins(
    folder: Path, missing: Sequence[str], templates: Mapping[str, Notebook], most_entries: int
) -> dict[str, str]:
    """What was handed in in the place of each missing notebook, and what to hand in, in words; those without are left
    out. Where nothing else was handed in, every missing notebook gets the first of what there is."""
    graded = [name for name in missing if any(grade_id_of(cell) for cell in templates[name]["cells"])]
    if not graded:
        return {}
    files = sorted(_files_in(folder, most_entries), key=lambda file: (file.kind is OWN_COPY, file.name))
    found: dict[str, _StandIn] = {}
    others: list[_StandIn] = []
    for file in files:
        notebook = _named_after(file.name, graded)
        if notebook:
            found.setdefault(notebook, file)
        elif file.kind is not NO_ENDING:
            others.append(file)
    texts = [file for file in others if file.kind in (SCRIPT, PLAIN_TEXT)]
    for file in texts[:MOST_LOOKED_INTO]:
        notebook = _made_of(_lines_of(folder / file.name), templates)
        if notebook in graded:
            found.setdefault(notebook, file)
            others.remove(file)
    is_alone = len(missing) == len(templates)  # no notebook was handed in at all
    for file in others:
        if file.kind in HOLDERS or (is_alone and file.kind not in (PLAIN_TEXT, PICTURE)):
            for notebook in graded:
                found.setdefault(notebook, file)
    return {notebook: file.told for notebook, file in found.items()}


def _files_in(folder: Path, most_entries: int) -> Iterator[_StandIn]:
    for name, entry in walk(folder, most_entries):
        *above, last = name.split("/")
        if not stat.S_ISREG(entry.st_mode) or len(above) >= MOST_DEPTH or name == TIMESTAMP:
            continue
        if CHECKPOINTS in above:
            if is_notebook_name(last):
                yield _StandIn(name, OWN_COPY)
        elif "__MACOSX" not in above and not last.startswith("."):
            kind = NO_ENDING if "." not in last or last.lower().endswith(".json") else kind_of_name(last)
            if kind is not None:
                yield _StandIn(name, kind)


def _named_after(name: str, notebooks: Sequence[str]) -> str:
    """The notebook whose name stands in a file's, with or without its number; "" where that is none or several."""
    plain = _plain(stem_of(PurePosixPath(name).name))
    for names in (
        {own: _plain(own) for own in notebooks},
        {own: _plain(own).lstrip("0123456789") for own in notebooks},
    ):
        fitting = [own for own, part in names.items() if len(part) >= LEAST_NAME and part in plain]
        if len(fitting) == 1:
            return fitting[0]
    return ""


def _plain(name: str) -> str:
    return NO_LETTERS.sub("", name).lower()


def _lines_of(path: Path) -> set[str]:
    """The first lines of a text, without what makes them comments."""
    try:
        with open_file(path) as file:
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return set()
    return {line.strip("# \t\r") for line in text.split("\n")}


def _made_of(lines: set[str], templates: Mapping[str, Notebook]) -> str:
    """The notebook of which a text holds most lines that no other notebook of the release has."""
    own = {name: _course_lines(template) for name, template in templates.items()}
    count = Counter(line for found in own.values() for line in found)
    shared = {name: sum(count[line] == 1 for line in found & lines) for name, found in own.items()}
    best = max(shared, key=lambda name: shared[name])
    return best if shared[best] >= LEAST_LINES else ""


def _course_lines(template: Notebook) -> set[str]:
    lines = (line.strip("# \t") for cell in template["cells"] for line in source_of(cell).split("\n"))
    return {line for line in lines if len(line) >= LEAST_LINE}
