"""A course as submissions are read from it, and one submission while its files are staged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autograder.core.config import Assignment, Course, Exercise
from autograder.core.grade_report import Status
from autograder.graphs.tensor_file import BadTensors, load_arrays
from autograder.handin.submission import Submission
from autograder.jail import Frame
from autograder.judging.checkpoint import Checkpoint, CheckpointProblem, read_checkpoint
from autograder.judging.evidence import Build, decode_evidence
from autograder.judging.problems import Problem
from autograder.pipeline.cache import Cache
from autograder.pipeline.plan import Plan
from autograder.pipeline.secret import read_secret
from autograder.review.integrity.weights import Array


@dataclass(frozen=True)
class SurveySetup:
    """Where a course lies and how it grades one assignment: all that reading submissions needs."""

    root: Path
    course: Course
    name: str
    release: Path

    @property
    def assignment(self) -> Assignment:
        return self.course.assignment(self.name)

    @property
    def overlay(self) -> Path:
        return self.root / "source" / self.name

    @property
    def solutions(self) -> Path:
        return self.root / "solutions"

    @property
    def with_weights(self) -> Exercise | None:
        """The exercise whose weights are handed in."""
        return next((e for e in self.assignment.exercises if e.checkpoint is not None), None)

    @cached_property
    def secret(self) -> bytes:
        return read_secret(self.root)


@dataclass(frozen=True)
class StagedSubmission:
    """One submission while its files are staged: what was read of it and what is kept of its run."""

    student: str
    submission: Submission
    plan: Plan
    cache: Cache
    exercise: Exercise | None

    @cached_property
    def frames(self) -> list[Frame]:
        """What the notebook with the network left when it was graded."""
        key = self.plan.keys.get(self.exercise.notebook) if self.exercise else None
        return (self.cache.load_frames(key) if key else None) or []

    @cached_property
    def converted(self) -> bytes | Problem | None:
        """What the jail made of a `.pt` file when it was graded."""
        frames = self.cache.load_frames(self.plan.checkpoint_key) if self.plan.checkpoint else None
        if not frames:
            return (
                Problem(Status.FAILED, "nothing is kept of its conversion: grade it first")
                if self.plan.checkpoint
                else None
            )
        problem = frames[0].header.get("problem")
        return Problem(Status.FAILED, str(problem)) if problem is not None else frames[0].payload

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Raises CheckpointProblem."""
        probe = self.exercise.checkpoint if self.exercise else None
        if probe is None:
            raise CheckpointProblem("the assignment asks for no checkpoint")
        return read_checkpoint(probe.stem, self.submission.files, self.converted, probe.most_mib)

    @property
    def initial(self) -> dict[str, Array] | None:
        """The untrained network's tensors by name: as the kit's default seed draws them, since an export is made with
        the same one. None where nothing is kept."""
        if self.exercise is None or self.exercise.checkpoint is None or not self.frames:
            return None
        probes = self.plan.probes[self.exercise.notebook]
        evidence = decode_evidence(probes, self.frames, Problem(Status.FAILED, "no evidence is kept"))
        builds = evidence.modules.get(self.exercise.checkpoint.module, [])
        return _tensors_of(builds[0]) if builds else None


def _tensors_of(build: Build) -> dict[str, Array] | None:
    graph = next((g for g in build.graphs.values() if not isinstance(g, Problem)), None)
    if build.problem is not None or graph is None:
        return None
    try:
        arrays = load_arrays(build.tensors)
    except BadTensors:
        return None
    return {t.name: arrays[t.key] for t in graph.tensors if t.kind != "constant" and t.key in arrays}
