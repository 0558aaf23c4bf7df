"""How much of what a notebook's cells showed is kept: each cell has its own bound, and 2,000 of them are half a GB.

It is enough for 80 plots of 75 KB and a megabyte of print; the lesson, with all its pictures, shows 2 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autograder.core.grade_report import CellRun, NotebookRun
from autograder.pipeline.outputs import PICTURES, stream

MOST_TEXT = 1 << 20  # characters of text and HTML of all cells
MOST_PICTURES = 8 << 20  # characters of base64 of all pictures, 6 MiB of files
OVERHEAD = 100  # characters for which an output counts beside what it shows
LEFT_OUT = "[left out: the outputs of this notebook are too many or too large]\n"


@dataclass
class _OutputRoom:
    text: int = MOST_TEXT
    pictures: int = MOST_PICTURES

    def take(self, output: Mapping[str, Any]) -> bool:
        """Whether there is room for an output, which is then less."""
        data = output.get("data", {})
        texts = [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", ())]
        texts += [value for mime, value in data.items() if mime not in PICTURES]
        text = sum(map(len, texts)) + OVERHEAD
        pictures = sum(len(value) for mime, value in data.items() if mime in PICTURES)
        if text > self.text or pictures > self.pictures:
            return False
        self.text -= text
        self.pictures -= pictures
        return True


def bound_outputs(run: NotebookRun) -> NotebookRun:
    """The run with as many outputs as a notebook may keep; in the place of others of a cell stands one line."""
    left = _OutputRoom()
    return replace(run, cells=[_bound(cell, left) for cell in run.cells])


def _bound(cell: CellRun, left: _OutputRoom) -> CellRun:
    kept: Sequence[Mapping[str, Any]] = [output for output in cell.outputs if left.take(output)]
    return cell if len(kept) == len(cell.outputs) else replace(cell, outputs=[*kept, stream(LEFT_OUT)])
