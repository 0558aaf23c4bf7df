"""What grading found: statuses, one result per check, one report per submission; JSON in and out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from autograder.core.notes import Note


class Status(str, Enum):
    """How a check, a cell or a notebook ended. Blame is decided outside the jail."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    ERROR = "ERROR"  # the student's code raised
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    OUTPUT_LIMIT = "OUTPUT_LIMIT"
    CRASHED = "CRASHED"
    UNSUPPORTED = "UNSUPPORTED"  # a valid program that the engine cannot decide: a person marks it
    SKIPPED = "SKIPPED"  # a check it depends on failed
    INTERNAL = "INTERNAL"  # the grader's own fault: no score is recorded

    @property
    def needs_person(self) -> bool:
        """Whether an instructor has to look, because no automatic score would be right."""
        return self in (Status.UNSUPPORTED, Status.INTERNAL)


@dataclass(frozen=True)
class CheckResult:
    """One hidden check. `earned` lies in 0..`points`; `message` says what was expected, found, and the remedy.

    `cell` is the grade cell that carries the points. `line` (from 1) points to the student's own code where that is
    known: in the cell with index `source_cell` among all cells of the notebook, which a reader knows as `place`; `code`
    is its text.
    """

    notebook: str
    cell: str
    name: str
    title: str
    points: float
    earned: float
    status: Status
    message: str = ""
    hint: str = ""
    source_cell: int = 0
    place: str = ""
    line: int = 0
    seconds: float = 0.0
    code: str = ""


@dataclass(frozen=True)
class CellScore:
    """What one grade cell earned, in 0..`maximum`, rounded to 0.1; `needs_person` where a check is undecided."""

    notebook: str
    cell: str
    earned: float
    maximum: float
    needs_person: bool


@dataclass(frozen=True)
class CellRun:
    """How one code cell of a notebook ran in the jail. `outputs` are nbformat outputs, types and sizes allow-listed.

    `line` (from 1) is where it ended early, 0 where that is unknown; `cause` and `detail` are the worker's words for
    why (judging/causes.py has the sentences).
    """

    index: int
    status: Status
    seconds: float
    outputs: Sequence[Mapping[str, Any]] = ()
    message: str = ""
    line: int = 0
    cause: str = ""
    detail: str = ""


@dataclass(frozen=True)
class NotebookRun:
    """How one notebook ran in the jail: PASSED where every cell that had to run did."""

    notebook: str
    status: Status
    message: str = ""
    cells: Sequence[CellRun] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class ManualMark:
    """A mark that a person gave to a grade cell, as the gradebook held it when a submission was graded.

    `score` is None where only `extra_credit` was given. `given_for` is the digest of the answer that the person marked
    ("" where that is not known), `answer` that of the answer that was graded now. `choice` says what the instructor
    chose for an older mark ("kept", "cleared", "" for nothing yet), `chosen_at` when.
    """

    notebook: str
    cell: str
    score: float | None
    extra_credit: float | None
    maximum: float
    given_for: str
    answer: str
    choice: str = ""
    chosen_at: str = ""

    @property
    def is_cleared(self) -> bool:
        return self.choice == "cleared"

    @property
    def is_older(self) -> bool:
        """Whether it was given to another answer than the one that counts now, and nobody has decided about it."""
        return not self.is_cleared and (not self.given_for or self.given_for != self.answer)

    def __str__(self) -> str:
        parts = [f"{self.score:g} of {self.maximum:g}"] if self.score is not None else []
        parts += [f"{self.extra_credit:g} of extra credit"] if self.extra_credit else []
        return f"{' and '.join(parts)} on {self.cell}"


@dataclass(frozen=True)
class Flag:
    """Something valid that the staff should look at: `text` says what was seen, in figures, and what to ask.

    It costs no points and is shown to the staff only. `kind` is one of autograder.core.grade_report.KINDS.
    """

    kind: str
    notebook: str
    text: str


@dataclass(frozen=True)
class AnswerCell:
    """A cell of a notebook as it was graded that holds something of the student's: `index` among all cells (from 0).

    `kind` is "code" or "markdown", `name` its grade_id ("" for a cell that the student added).
    """

    index: int
    kind: str
    name: str
    source: str


@dataclass(frozen=True)
class HandedIn:
    """A file of a submission that is neither a notebook of the assignment nor its weights: its name, and its bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Layer:
    """One box in the drawing of a model graph.

    `kind` is its colour and rank: input, convolution, linear, norm, activation, pool, dropout, add, concat, reshape,
    output or other. `text` is for a reader ("Conv 3×3, 64→128, stride 2"), `shape` what comes out of it for one image,
    (C, H, W) or (C,), empty where it is unknown. `inputs` are places of earlier layers in the list. `line` (from 1)
    is the student's line in cell `source_cell`, 0 where unknown.
    """

    kind: str
    text: str
    shape: Sequence[int]
    inputs: Sequence[int]
    parameters: int = 0
    source_cell: int = 0
    line: int = 0


@dataclass(frozen=True)
class Model:
    """A network as its eval graph shows it, built without arguments: size, cost for one image, and what it is made of.

    `macs` are multiply-accumulates. `shortened` says how many layers in the middle are left out of `layers`.
    """

    notebook: str
    name: str
    parameters: int
    macs: int
    layers: Sequence[Layer] = ()
    shortened: int = 0


@dataclass(frozen=True)
class Mistake:
    """A test image that was classified wrongly: PNG as base64, names of the classes, the softmax of the wrong one."""

    image: str
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """How the handed-in weights did on the test images: `correct` of `images`, which are all `total` of the set unless
    the verdict was sequential. `low` and `high` bound the accuracy (95 %), in 0..1. `confusion[true][predicted]` counts
    images; `mistakes` are the most confident ones, most confident first. `data_set` names the images where they are a
    private hold-out; then `public_correct` of `public_images` test images were right.
    """

    notebook: str
    correct: int
    images: int
    total: int
    low: float
    high: float
    classes: Sequence[str]
    confusion: Sequence[Sequence[int]]
    mistakes: Sequence[Mistake] = ()
    not_finite: int = 0
    data_set: str = ""
    public_correct: int = 0
    public_images: int = 0

    @property
    def accuracy(self) -> float:
        """In 0..1."""
        return self.correct / self.images

    @property
    def public_accuracy(self) -> float | None:
        """On the public test images, in 0..1, where others decide."""
        return self.public_correct / self.public_images if self.public_images else None

    @property
    def images_are(self) -> str:
        """What kind of images these are, for a sentence."""
        return f"images of the {self.data_set}" if self.data_set else "test images"


@dataclass(frozen=True)
class Curve:
    """The learning curve that a checkpoint tells of itself, which nobody has checked: one value for each epoch.

    Accuracies lie in 0..1; a list is empty where the file says nothing.
    """

    notebook: str
    train_loss: Sequence[float] = ()
    validation_loss: Sequence[float] = ()
    train_accuracy: Sequence[float] = ()
    validation_accuracy: Sequence[float] = ()


@dataclass(frozen=True)
class GradeReport:
    """All that is known of one graded submission. `facts` hold isolation, device, data set, versions, file hashes.

    `key` identifies everything that decided the marks: files, engine, graders, configuration, data set; `engine` the
    same without the files, in short (Grader.engine_name), and `rules` that of code, graders and configuration alone.
    `content` is the digest of all that lay in the folder, whatever of it is graded (handin/content.py). `jailed` says
    whether the notebooks ran in a jail. `answers` are digests of what was handed in for each grade cell, and `manual`
    the marks that people had given by then. `sources` are the cells with something of the student's, by notebook;
    `models`, `evaluations` and `curves` are for figures. `files` are what else was handed in, and `more_files` says
    how many are not among them.
    """

    student: str
    assignment: str
    checks: Sequence[CheckResult]
    notebooks: Sequence[NotebookRun] = ()
    cells: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # notebook -> grade cell -> points
    notes: Sequence[Note] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    key: str = ""
    content: str = ""
    engine: str = ""
    rules: str = ""
    jailed: bool = True
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # notebook -> grade cell -> digest
    manual: Sequence[ManualMark] = ()
    flags: Sequence[Flag] = ()
    sources: Mapping[str, Sequence[AnswerCell]] = field(default_factory=dict)
    models: Sequence[Model] = ()
    evaluations: Sequence[Evaluation] = ()
    curves: Sequence[Curve] = ()
    files: Sequence[HandedIn] = ()
    more_files: int = 0

    def cell_scores(self) -> list[CellScore]:
        """One score for every declared grade cell, also for those that no check reached (they earn 0)."""
        scores = []
        for notebook, cells in self.cells.items():
            for cell, maximum in cells.items():
                checks = [c for c in self.checks if (c.notebook, c.cell) == (notebook, cell)]
                earned = min(max(sum(c.earned for c in checks), 0.0), maximum)
                undecided = any(c.status.needs_person for c in checks)
                scores.append(CellScore(notebook, cell, round(earned, 1), maximum, undecided))
        return scores

    def measured(self) -> list[tuple[Model, Evaluation]]:
        """Every network whose weights were evaluated, with how they did."""
        models = {model.notebook: model for model in self.models}
        return [(models[found.notebook], found) for found in self.evaluations if found.notebook in models]

    @property
    def earned(self) -> float:
        return round(sum(score.earned for score in self.cell_scores()), 1)

    @property
    def maximum(self) -> float:
        return round(sum(score.maximum for score in self.cell_scores()), 1)

    @property
    def is_internal(self) -> bool:
        """Whether the grader itself failed somewhere, so that no score may be recorded."""
        return any(check.status is Status.INTERNAL for check in self.checks)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> GradeReport:
        """Raises ValueError, KeyError or TypeError where the text is not a report."""
        data = json.loads(text)
        checks = [CheckResult(**{**c, "status": Status(c["status"])}) for c in data.pop("checks")]
        runs = [notebook_run_from(n) for n in data.pop("notebooks")]
        manual = [ManualMark(**mark) for mark in data.pop("manual", ())]
        flags = [Flag(**flag) for flag in data.pop("flags", ())]
        sources = {name: [AnswerCell(**c) for c in cells] for name, cells in data.pop("sources", {}).items()}
        notes = [Note.from_json(note) for note in data.pop("notes", ())]
        files = [HandedIn(**file) for file in data.pop("files", ())]
        figures = figures_from({name: data.pop(name, ()) for name in FIGURES})
        return cls(
            checks=checks,
            notebooks=runs,
            manual=manual,
            notes=notes,
            flags=flags,
            sources=sources,
            files=files,
            **figures,
            **data,
        )


FIGURES = ("models", "evaluations", "curves")


def figures_from(data: Mapping[str, Any]) -> dict[str, Any]:
    """`models`, `evaluations` and `curves` of a report from their `dataclasses.asdict` forms."""
    models = [Model(**{**m, "layers": [Layer(**layer) for layer in m["layers"]]}) for m in data["models"]]
    evaluations = [Evaluation(**{**e, "mistakes": [Mistake(**m) for m in e["mistakes"]]}) for e in data["evaluations"]]
    return {"models": models, "evaluations": evaluations, "curves": [Curve(**curve) for curve in data["curves"]]}


def notebook_run_from(data: Mapping[str, Any]) -> NotebookRun:
    """Rebuild a NotebookRun from its `dataclasses.asdict` form."""
    cells = [CellRun(**{**c, "status": Status(c["status"])}) for c in data["cells"]]
    return NotebookRun(**{**data, "status": Status(data["status"]), "cells": cells})


# By kind, in a few words for a table.
KINDS = {
    "test-images": "much better on test images than on training images",
    "high-accuracy": "unusually accurate",
    "changed-images": "fails on slightly changed images",
    "hold-out": "much better on public test images than on private ones",
    "lookup": "looks images up in a table",
    "library-model": "a ready-made network",
    "hidden-data": "a block of data in a notebook",
    "not-compared": "could not be compared with training images",
    "not-judged": "judging it took too much",
}
