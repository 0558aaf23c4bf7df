"""Run a plan in one jail and sort what comes out by notebook; blame is decided here, outside."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.cache import Cache
from autograder.config import Limits
from autograder.evidence import Problem, clean_text
from autograder.jail import Frame, FrameReader, Isolation, SandboxFault, StreamProblem, start
from autograder.jail.sandbox import SUBMISSION
from autograder.outputs import clean_outputs
from autograder.plan import Plan
from autograder.results import CellRun, NotebookRun, Status

IMPORT_SECONDS = 120  # for the one import of torch on a busy machine
FLEETING = {Status.TIMEOUT, Status.OUT_OF_MEMORY, Status.CRASHED}  # a second run could end otherwise
FROM_INSIDE = {"PASSED", "ERROR", "TIMEOUT", "OUT_OF_MEMORY", "OUTPUT_LIMIT", "CRASHED"}


@dataclass(frozen=True)
class JailRun:
    """What one submission's run left: frames and a summary per notebook, and the converted checkpoint."""

    notebooks: Mapping[str, NotebookRun]
    frames: Mapping[str, Sequence[Frame]]
    checkpoint: bytes | Problem | None = None
    notes: Sequence[str] = ()


@dataclass
class _Received:
    """Frames as they arrive."""

    notebooks: dict[str, list[Frame]] = field(default_factory=dict)
    checkpoint: Frame | None = None
    stages: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Kept:
    """What the cache has of a plan: frames by notebook, the checkpoint's conversion, and what would have to run."""

    frames: Mapping[str, Sequence[Frame]]
    checkpoint: Frame | None
    waiting: Sequence[dict[str, Any]]
    converts: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of notebooks, and of the checkpoint, that nothing is kept of."""
        return tuple(str(notebook["name"]) for notebook in self.waiting) + (("the checkpoint",) * self.converts)


def recall(plan: Plan, cache: Cache) -> Kept:
    """What an identical run has left."""
    found = {name: cache.load_frames(key) for name, key in plan.keys.items()}
    frames = {name: kept for name, kept in found.items() if kept is not None}
    converted = cache.load_frames(plan.checkpoint_key) if plan.checkpoint else None
    checkpoint = converted[0] if converted else None
    waiting = [notebook for notebook in plan.notebooks if notebook["name"] not in frames]
    return Kept(frames, checkpoint, waiting, plan.checkpoint is not None and checkpoint is None)


def run_plan(plan: Plan, files: Path, limits: Limits, isolation: Isolation, cache: Cache) -> JailRun:
    """Run every notebook that no identical run is kept of. Raises SandboxFault where the jail itself fails."""
    kept = recall(plan, cache)
    end = Problem(Status.CRASHED, "the notebook's process ended early")
    received = _Received(checkpoint=kept.checkpoint)
    if kept.missing:
        order = {
            "notebooks": kept.waiting,
            "checkpoint": plan.checkpoint if kept.converts else None,
            "probe_seconds": limits.probe_seconds,
        }
        received, end = _run_jail(order, received, files, limits, isolation)
    frames = {**kept.frames, **received.notebooks}
    runs = _summaries(plan, frames, end, limits)
    for name, own in received.notebooks.items():
        if _is_settled(runs[name], own):
            cache.save_frames(plan.keys[name], own)
    if kept.converts and received.checkpoint is not None:
        cache.save_frames(plan.checkpoint_key, [received.checkpoint])
    return JailRun(runs, frames, _checkpoint(plan, received.checkpoint, end))


def kept_run(plan: Plan, kept: Kept, limits: Limits) -> JailRun:
    """The run of a plan of which everything is kept: no code runs."""
    end = Problem(Status.CRASHED, "the notebook's process ended early")
    runs = _summaries(plan, kept.frames, end, limits)
    return JailRun(runs, kept.frames, _checkpoint(plan, kept.checkpoint, end))


def _summaries(
    plan: Plan, frames: Mapping[str, Sequence[Frame]], end: Problem, limits: Limits
) -> dict[str, NotebookRun]:
    planned = {notebook["name"]: notebook for notebook in plan.notebooks}
    return {name: summarise(planned[name], own, end, limits) for name, own in frames.items()}


def _run_jail(
    order: Mapping[str, Any], received: _Received, files: Path, limits: Limits, isolation: Isolation
) -> tuple[_Received, Problem]:
    """Frames by notebook, and the problem that those without an end ran into."""
    received.notebooks = {notebook["name"]: [] for notebook in order["notebooks"]}
    end = Problem(Status.CRASHED, "the notebook's process ended early")
    with start("launcher", limits, isolation, read_only={SUBMISSION: files}) as jail:
        try:
            jail.stdin.write(json.dumps(order).encode())
            jail.stdin.close()
        except BrokenPipeError as error:
            raise SandboxFault(f"the jail did not start: {jail.stderr_tail()}") from error
        reader = FrameReader(jail, limits.evidence_mib << 20, limits.records)
        deadline = time.monotonic() + IMPORT_SECONDS
        try:
            while (frame := reader.next(deadline)) is not None:
                importing = "imported" not in received.stages
                _sort(frame, received)
                # Once: a notebook that forges this record again and again would never run out of time.
                if importing and "imported" in received.stages:
                    deadline = time.monotonic() + limits.submission_seconds
        except StreamProblem as problem:
            end = Problem(problem.status, str(problem))
        # Both come before any code of the student's has run: without them it was never theirs to go wrong.
        if not {"ready", "imported"} <= received.stages:
            raise SandboxFault(f"the jail did not start ({end.message}): {jail.stderr_tail()}")
    return received, end


def _sort(frame: Frame, received: _Received) -> None:
    """Put a frame where it belongs; what belongs nowhere is dropped.

    Any process of the jail can write a record in any notebook's name, or one that says that a notebook has ended. It
    gains nothing: what such a record claims is judged like everything else, and what is kept of a run is kept for
    the very same submission only (see plan.make_plan).
    """
    kind, name = frame.header.get("kind"), frame.header.get("notebook")
    if isinstance(name, str) and name in received.notebooks:
        received.notebooks[name].append(frame)
    elif kind == "checkpoint" and received.checkpoint is None:
        received.checkpoint = frame
    elif isinstance(kind, str) and kind in ("ready", "imported", "done"):
        received.stages.add(kind)


def summarise(notebook: Mapping[str, Any], frames: Sequence[Frame], end: Problem, limits: Limits) -> NotebookRun:
    """How a planned notebook ran, from its cell and end records; of several runs each cell's last one counts.

    Cells that the plan does not have are dropped: a thousand of them would swell every report.
    """
    planned = {cell["index"] for cell in notebook["cells"]}
    last: dict[int, Mapping[str, Any]] = {}
    status, message, seconds = end.status, end.message, 0.0
    for frame in frames:
        header = frame.header
        index = header.get("index")
        if header.get("kind") == "cell" and type(index) is int and index in planned:
            last[index] = header
        elif header.get("kind") == "ended":
            status, message = _status(header), clean_text(header.get("message"))
            seconds = _number(header.get("seconds"))
    cells = [_cell_run(index, last[index], limits) for index in sorted(last)]
    return NotebookRun(notebook["name"], status, message, cells, seconds)


def _cell_run(index: int, header: Mapping[str, Any], limits: Limits) -> CellRun:
    outputs = clean_outputs(header.get("outputs"), limits.output_kib << 10, limits.outputs)
    return CellRun(index, _status(header), _number(header.get("seconds")), outputs, clean_text(header.get("message")))


def _status(header: Mapping[str, Any]) -> Status:
    found = header.get("status")
    return Status(found) if isinstance(found, str) and found in FROM_INSIDE else Status.CRASHED


def _number(value: object) -> float:
    return round(float(value), 3) if isinstance(value, (int, float)) and 0 <= value < 1e6 else 0.0


def _is_settled(run: NotebookRun, frames: Sequence[Frame]) -> bool:
    """Whether an identical run would leave the same: cells and probes ended by themselves, not for want of time."""
    ended = run.status is Status.PASSED and all(c.status in (Status.PASSED, Status.ERROR) for c in run.cells)
    return ended and not any(_problem_statuses(frame.header) & FLEETING for frame in frames)


def _problem_statuses(header: Mapping[str, Any]) -> set[Any]:
    """How the probe, call or export that a record tells of went wrong; its own word is enough not to keep it."""
    parts = [header]
    for name in ("results", "graphs"):
        found = header.get(name)
        parts += found if isinstance(found, list) else []
    problems = [part.get("problem") for part in parts if isinstance(part, dict)]
    found = [problem.get("status") for problem in problems if isinstance(problem, dict)]
    return {status for status in found if isinstance(status, str)}


def _checkpoint(plan: Plan, frame: Frame | None, end: Problem) -> bytes | Problem | None:
    if plan.checkpoint is None:
        return None
    if frame is None:
        return Problem(Status.FAILED, f"{plan.checkpoint} could not be read in time ({end.message})")
    if "problem" in frame.header:
        return Problem(Status.FAILED, clean_text(frame.header["problem"]))
    return frame.payload
