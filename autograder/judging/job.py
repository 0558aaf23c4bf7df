"""What the pipeline hands to the trusted pytest process, as JSON and files: the seam between the two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from autograder.core.config import Assignment, Course, Exercise
from autograder.core.config_changes import Changes, load_changed
from autograder.core.files import StagedFile
from autograder.core.grade_report import Flag, Status
from autograder.jail import Isolation, JailedProcess, decode_frames, start
from autograder.judging import datasets
from autograder.judging.causes import with_causes
from autograder.judging.check_language import CheckContext
from autograder.judging.evidence import Evidence, decode_evidence
from autograder.judging.holdout import holdout_place, read_holdout
from autograder.judging.problems import Problem
from autograder.judging.signatures import notes_on_calls

STAND_IN = (
    "a few images stood in for the training images that the notebook loads: in each channel they have the same mean "
    "and standard deviation. Other numbers that your transforms take from the data differ from those that you trained "
    "with: write such numbers down"
)


@dataclass(frozen=True)
class NotebookWork:
    """One notebook's evidence: the probes that were planned, the file of frames, what absence means, and the names that
    are as in the release."""

    probes: list[dict[str, Any]]
    frames: Path | None
    fallback: Problem
    unanswered: Sequence[str] = ()


@dataclass(frozen=True)
class Work:
    """What is graded: evidence per notebook, the submission's files, and a converted checkpoint if there is one.

    The exercises of `notebooks` are judged. `only` names the one check that is asked for, with those that it requires.
    `runner_seconds` is what all runs of models may take together.
    """

    notebooks: Mapping[str, NotebookWork] = field(default_factory=dict)
    files: Mapping[str, StagedFile] = field(default_factory=dict)
    converted: Path | Problem | None = None
    only: str = ""
    runner_seconds: float = math.inf


@dataclass(frozen=True)
class Job:
    """A grading process's whole input."""

    root: Path
    course: Course
    assignment: Assignment
    isolation: Isolation
    source: datasets.Source
    secret: bytes
    work: Work = Work()
    facts: dict[str, str] = field(default_factory=dict)  # about the data set, for every report

    @property
    def asked(self) -> list[Exercise]:
        """The exercises whose hidden graders run."""
        return [exercise for exercise in self.assignment.exercises if exercise.notebook in self.work.notebooks]

    def open_runner(self) -> JailedProcess:
        """A fresh jailed process that runs model graphs."""
        return start("graph_server", self.course.limits, self.isolation, gpu=wants_gpu(self.course.device))

    @property
    def test_set(self) -> datasets.Dataset:
        return _test_set(self.source)

    def with_work(self, record: Mapping[str, Any]) -> Job:
        """The job with the work that `work_record` described."""
        notebooks = {
            name: NotebookWork(
                n["probes"], Path(n["frames"]) if n["frames"] else None, _problem(n["fallback"]), n["unanswered"]
            )
            for name, n in record["notebooks"].items()
        }
        files = {name: StagedFile.from_json(file) for name, file in record["files"].items()}
        converted = record["converted"]
        if isinstance(converted, dict):
            converted = _problem(converted)
        elif converted is not None:
            converted = Path(converted)
        return replace(self, work=Work(notebooks, files, converted, record["only"], record["runner_seconds"]))

    def training_images(self, count: int) -> datasets.Dataset | None:
        """Training images that the kit holds out, in a secret order. None where they cannot be read, which the reports
        then say: the test set alone is enough to grade."""
        try:
            return datasets.load_held_out(self.source, count, self.secret)
        except datasets.DataError as error:
            self.facts["training images"] = f"none, so no weights were tried on them: {error}"
            return None

    def holdout(self, exercise: Exercise) -> datasets.Dataset | None:
        """The private images that decide in an exercise; None where it has none. Raises DataError."""
        place = holdout_place(self.root, exercise)
        return _holdout(place, self.test_set.classes) if place is not None else None

    def graded(self, exercise: Exercise, runner: Any, notes: list[str], flags: list[Flag]) -> CheckContext:
        """What the hidden tests of one exercise look at."""
        notebook = self.work.notebooks[exercise.notebook]
        frames = decode_frames(notebook.frames.read_bytes()) if notebook.frames else []
        evidence = with_causes(decode_evidence(notebook.probes, frames, notebook.fallback), notebook.unanswered)
        notes += adapted_notes(evidence)
        converted = self.work.converted
        notes += notes_on_calls(notebook.probes, evidence.signatures)
        return CheckContext(
            exercise=exercise,
            evidence=evidence,
            runner=runner,
            files=dict(self.work.files),
            converted=converted.read_bytes() if isinstance(converted, Path) else converted,
            test_set=lambda: self.test_set,
            secret=self.secret,
            notes=notes,
            flags=flags,
            training_images=self.training_images,
            holdout=lambda: self.holdout(exercise),
        )


@lru_cache(1)
def _test_set(source: datasets.Source) -> datasets.Dataset:
    """The test images and labels, read once in a process."""
    return datasets.load(source, "test")


@lru_cache(1)
def _holdout(place: Path, classes: tuple[str, ...]) -> datasets.Dataset:
    """The private images and labels, read once in a process. The pipeline has checked them."""
    return read_holdout(place, classes)


def wants_gpu(device: str) -> bool:
    """Whether the runner's jail gets the NVIDIA devices."""
    return device in ("auto", "cuda") and Path("/dev/nvidia0").exists()


@dataclass(frozen=True)
class JobSetup:
    """All that a grading process can be told before the notebooks have run."""

    root: Path
    assignment: str
    device: str
    isolation: Isolation
    source: datasets.Source
    secret: bytes
    changes: Changes

    def record(self) -> dict[str, Any]:
        """The first line for a grading process."""
        return {
            "root": str(self.root),
            "assignment": self.assignment,
            "device": self.device,
            "isolation": asdict(self.isolation),
            "source": {"form": self.source.form, "path": str(self.source.path) if self.source.path else None},
            "secret": self.secret.hex(),
            "changes": self.changes.record(),
        }


def read_job(record: Mapping[str, Any]) -> Job:
    """The job that a `JobSetup` describes, without work yet. Raises ConfigError."""
    root, changes = Path(record["root"]), Changes.from_record(record["changes"])
    course = replace(load_changed(root, record["assignment"], changes), device=record["device"])
    path = record["source"]["path"]
    return Job(
        root,
        course,
        course.assignment(record["assignment"]),
        Isolation(**record["isolation"]),
        datasets.Source(record["source"]["form"], Path(path) if path else None),
        bytes.fromhex(record["secret"]),
    )


def adapted_notes(evidence: Evidence) -> list[str]:
    """What is other here than on the student's machine: a module's dtype, and the data that were loaded."""
    found = {(name, build.adapted) for name, builds in evidence.modules.items() for build in builds if build.adapted}
    told = "it was changed to float32, as images come in"
    notes = [f"`{name}` computes in {dtype}: {told}" for name, dtype in sorted(found)]
    if any(samples.stand_in for own in evidence.samples.values() for samples in own.values()):
        notes.append(STAND_IN)
    return notes


def work_record(work: Work) -> dict[str, Any]:
    """The second line for a grading process."""
    converted = work.converted
    return {
        "notebooks": {
            name: {
                "probes": n.probes,
                "frames": str(n.frames) if n.frames else None,
                "fallback": _problem_record(n.fallback),
                "unanswered": list(n.unanswered),
            }
            for name, n in work.notebooks.items()
        },
        "files": {name: file.to_json() for name, file in work.files.items()},
        "converted": _problem_record(converted) if isinstance(converted, Problem) else converted and str(converted),
        "only": work.only,
        "runner_seconds": work.runner_seconds,
    }


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {**asdict(problem), "status": problem.status.value}


def _problem(record: Mapping[str, Any]) -> Problem:
    return Problem(**{**record, "status": Status(record["status"])})
