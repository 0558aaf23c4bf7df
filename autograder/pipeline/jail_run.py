"""Run a plan in one jail and sort what comes out by notebook; blame is decided here, outside."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.core.config import Limits
from autograder.core.grade_report import CellRun, NotebookRun, Status
from autograder.core.notes import Note
from autograder.core.source_lines import LINES_PER_CELL
from autograder.core.text import clean_text
from autograder.jail import Frame, FrameParser, Isolation, SandboxFault, StreamProblem, StreamSet, start
from autograder.jail.sandbox import SUBMISSION
from autograder.jail.stream import Name, Room
from autograder.judging.evidence import Key, probe_key
from autograder.judging.problems import Problem
from autograder.pipeline.cache import Cache
from autograder.pipeline.outputs import clean_outputs
from autograder.pipeline.plan import Plan

IMPORT_SECONDS = 120  # for the one import of torch on a busy machine
FLEETING = {Status.TIMEOUT, Status.OUT_OF_MEMORY, Status.CRASHED}  # a second run could end otherwise
EARLY = Problem(Status.CRASHED, "the notebook's process ended early")
LAUNCHER, CHECKPOINT = (" launcher", 0), (" checkpoint", 0)  # names of streams that no notebook can have
MOST_RUNS = 4  # of one notebook: the first, and one more for each of three steps that killed it
SAVE_AGAIN = "Save the weights with cnn_kit.save_checkpoint(model), and hand that file in"
# Of one record, in bytes: a network at the budget of 12 million parameters takes 48 MB, in double precision 96 MB;
# outputs of a transform have their own bound each.
MOST_PAYLOAD = {"build": 128 << 20, "sample": 64 << 20}
FROM_INSIDE = {"PASSED", "ERROR", "TIMEOUT", "OUT_OF_MEMORY", "OUTPUT_LIMIT", "CRASHED"}


@dataclass(frozen=True)
class JailRun:
    """What one submission's run left: frames and a summary per notebook, and the converted checkpoint."""

    notebooks: Mapping[str, NotebookRun]
    frames: Mapping[str, Sequence[Frame]]
    checkpoint: bytes | Problem | None = None
    notes: Sequence[Note] = ()

    @property
    def was_killed(self) -> bool:
        """Whether a process died in a way that code of the student's need not have caused: not by an exit status."""
        for name, frames in self.frames.items():
            headers = [frame.header for frame in frames]
            has_end = any(header.get("kind") == "ended" for header in headers)
            if not has_end and self.notebooks[name].status is Status.CRASHED:
                return True
            ends = [header.get("problem", header) for header in headers]
            crashes = [end for end in ends if isinstance(end, Mapping) and end.get("status") == Status.CRASHED.value]
            if any(end.get("exited") is not True for end in crashes):
                return True
        return False


@dataclass
class _Received:
    """What has come so far, from one jail or several.

    `stages` say how far the present jail is, `ended` are the notebooks of which its launcher says so, `problems` what
    others ran into. `deadline` is on the clock of time.monotonic, and known when the first jail has imported torch.
    """

    notebooks: dict[str, dict[Key, Frame]] = field(default_factory=dict)  # by what each frame tells of
    checkpoint: Frame | Problem | None = None
    converted: list[Frame] = field(default_factory=list)  # before it is known that the conversion has ended
    stages: set[str] = field(default_factory=set)
    ended: dict[str, Frame] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    deadline: float = math.inf


@dataclass(frozen=True)
class CachedRun:
    """What the cache has of a plan: frames by notebook, the checkpoint's conversion, and what would have to run."""

    frames: Mapping[str, Sequence[Frame]]
    checkpoint: Frame | None
    waiting: Sequence[dict[str, Any]]
    converts: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of notebooks, and of the checkpoint, that nothing is kept of."""
        return tuple(str(notebook["name"]) for notebook in self.waiting) + (("the checkpoint",) * self.converts)


def recall(plan: Plan, cache: Cache) -> CachedRun:
    """What an identical run has left."""
    found = {name: cache.load_frames(key) for name, key in plan.keys.items()}
    frames = {name: kept for name, kept in found.items() if kept is not None}
    converted = cache.load_frames(plan.checkpoint_key) if plan.checkpoint else None
    checkpoint = converted[0] if converted else None
    waiting = [notebook for notebook in plan.notebooks if notebook["name"] not in frames]
    return CachedRun(frames, checkpoint, waiting, plan.checkpoint is not None and checkpoint is None)


def run_plan(plan: Plan, files: Path, limits: Limits, isolation: Isolation, cache: Cache) -> JailRun:
    """Run every notebook that no identical run is kept of. Raises SandboxFault where the jail itself fails."""
    kept = recall(plan, cache)
    received = _Received(checkpoint=kept.checkpoint)
    if kept.missing:
        received = _run_jails(plan, kept, files, limits, isolation)
    fresh = {name: list(own.values()) for name, own in received.notebooks.items()}
    frames = {**kept.frames, **fresh}
    runs = {name: _summary(plan, name, own, received.problems.get(name, EARLY), limits) for name, own in frames.items()}
    for name, own in fresh.items():
        if _is_settled(runs[name], own):
            cache.save_frames(plan.keys[name], own)
    if kept.converts and isinstance(received.checkpoint, Frame):
        cache.save_frames(plan.checkpoint_key, [received.checkpoint])
    return JailRun(runs, frames, _checkpoint(plan, received.checkpoint))


def kept_run(plan: Plan, kept: CachedRun, limits: Limits) -> JailRun:
    """The run of a plan of which everything is kept: no code runs."""
    runs = {name: _summary(plan, name, own, EARLY, limits) for name, own in kept.frames.items()}
    return JailRun(runs, kept.frames, _checkpoint(plan, kept.checkpoint))


def _summary(plan: Plan, name: str, frames: Sequence[Frame], end: Problem, limits: Limits) -> NotebookRun:
    planned = next(notebook for notebook in plan.notebooks if notebook["name"] == name)
    return notebook_run(planned, frames, end, limits)


def _run_jails(plan: Plan, kept: CachedRun, files: Path, limits: Limits, isolation: Isolation) -> _Received:
    """Run what is missing, in a jail. Whoever ends the whole jail costs itself, and what is left runs in another one.

    A notebook's process can do that: by killing the launcher, which has the same uid, or by taking the memory that is
    for all.
    """
    received = _Received(checkpoint=kept.checkpoint)
    waiting, name = list(kept.waiting), plan.checkpoint if kept.converts else None
    while waiting or name:
        order = {
            "notebooks": waiting,
            "runs": MOST_RUNS,
            "checkpoint": name,
            "probe_seconds": limits.probe_seconds,
        }
        end = _run_jail(plan.worker, order, received, files, limits, isolation)
        if name is None or "prepared" in received.stages:
            waiting = [notebook for notebook in waiting if notebook["name"] not in received.ended]
            for notebook in waiting[:1]:
                received.problems.setdefault(notebook["name"], end)
            waiting = waiting[1:]
        name = None
        if time.monotonic() >= received.deadline:
            received.problems |= {notebook["name"]: end for notebook in waiting}
            break
    return received


def _run_jail(
    worker: str, order: Mapping[str, Any], received: _Received, files: Path, limits: Limits, isolation: Isolation
) -> Problem:
    """Take in what one jail sends, and give the problem that the notebooks without an end ran into."""
    most = limits.evidence_mib << 20
    parsers = {LAUNCHER: FrameParser(most, limits.records), CHECKPOINT: FrameParser(most, 1)}
    for notebook in order["notebooks"]:
        received.notebooks[notebook["name"]] = {}
        for run in range(1, MOST_RUNS + 1):
            parsers[notebook["name"], run] = FrameParser(most, limits.records, room_for(notebook, most))
    received.stages = set()
    with start(worker, limits, isolation, read_only={SUBMISSION: files}, streams=len(parsers)) as jail:
        try:
            jail.stdin.write(json.dumps(order).encode())
            jail.stdin.close()
        except BrokenPipeError as error:
            raise SandboxFault(f"the jail did not start: {jail.stderr_tail()}") from error
        streams, end = StreamSet(jail, parsers), EARLY
        try:
            _take_in(streams, received, order["checkpoint"], limits)
        except StreamProblem as problem:
            end = Problem(problem.status, str(problem))
        for name in [notebook["name"] for notebook in order["notebooks"]]:
            _conclude(name, parsers, streams, received)
        # Both come before any code of the student's has run: without them it was never theirs to go wrong.
        if not {"ready", "imported"} <= received.stages and time.monotonic() < received.deadline:
            raise SandboxFault(f"the jail did not start ({end.message}): {jail.stderr_tail()}")
    return end


def _take_in(streams: StreamSet, received: _Received, checkpoint: str | None, limits: Limits) -> None:
    """Put each frame where it belongs, until all streams have ended. Raises StreamProblem.

    What a notebook's process sends is judged like everything else, and what is kept of a run is kept for the very
    same submission only (see plan.make_plan).
    """
    imported = time.monotonic() + IMPORT_SECONDS
    while True:
        deadline = received.deadline if "imported" in received.stages else min(imported, received.deadline)
        found = streams.next(deadline)
        if found is None:
            return
        stream, frame = found
        if stream[0] in received.notebooks:
            _take(frame, stream, received)
        elif stream == CHECKPOINT:
            received.converted.append(frame)
        elif stream == LAUNCHER and frame.header.get("kind") == "prepared":
            _close_checkpoint(frame, streams, received, checkpoint)
        elif stream == LAUNCHER:
            _hear_launcher(frame, streams, received, limits)


def _take(frame: Frame, stream: Name, received: _Received) -> None:
    """Keep what a notebook's run sends: of what several runs tell of one cell or probe the last, within a run the
    first. Which run it was is known by the stream, whatever the record says."""
    name, run = stream
    own, key = received.notebooks[name], probe_key(frame.header)
    if key not in own or own[key].header["run"] < run:
        own[key] = Frame({**frame.header, "run": run}, frame.payload)


def _hear_launcher(frame: Frame, streams: StreamSet, received: _Received, limits: Limits) -> None:
    """What the launcher itself says: how far it is, and which notebook has ended."""
    kind, name = frame.header.get("kind"), frame.header.get("notebook")
    if kind == "ended" and isinstance(name, str) and name in received.notebooks and name not in received.ended:
        received.ended[name] = frame
        # Nobody is left to write, and all of it counts, whatever becomes of the jail now.
        for run in range(1, MOST_RUNS + 1):
            for rest in streams.drain((name, run), received.deadline):
                _take(rest, (name, run), received)
    elif kind == "imported" and received.deadline == math.inf:
        received.deadline = time.monotonic() + limits.submission_seconds
    if isinstance(kind, str):
        received.stages.add(kind)


def _conclude(name: str, parsers: Mapping[Name, FrameParser], streams: StreamSet, received: _Received) -> None:
    """How a notebook ended: as the launcher says, unless its last run spoiled its own stream."""
    runs = [run for own, run in parsers if own == name and parsers[own, run].received]
    problem = streams.problems.get((name, max(runs, default=0)))
    if problem is not None:
        received.problems[name] = Problem(problem.status, str(problem))
    elif name in received.ended:
        frame = received.ended[name]
        received.notebooks[name][probe_key(frame.header)] = frame


def _close_checkpoint(prepared: Frame, streams: StreamSet, received: _Received, name: str | None) -> None:
    """Take the conversion's record: no notebook has begun, and what comes later under this name is no conversion."""
    received.stages.add("prepared")
    frames = [*received.converted, *streams.drain(CHECKPOINT, received.deadline)]
    if name is not None:
        received.checkpoint = frames[0] if frames else _not_converted(name, prepared, streams)


def _not_converted(name: str, prepared: Frame, streams: StreamSet) -> Problem:
    """Why a conversion left no record."""
    told = clean_text(prepared.header.get("problem"))
    reason = streams.problems.get(CHECKPOINT, told or "its process ended early")
    return Problem(Status.FAILED, f"{name} could not be read as a checkpoint: {reason}. {SAVE_AGAIN}")


def room_for(notebook: Mapping[str, Any], most: int) -> Room:
    """What is kept of the records of one run of a notebook: those of its cells, the signatures of what is called, and
    then those of its probes, within what each may take.

    Code that knows what a probe asks cannot tell it in what a cell shows or a function takes: that came before.
    """
    cells = {cell["index"] for cell in notebook["cells"]}
    called = {probe["name"] for probe in notebook["probes"] if probe["kind"] in ("call", "build")}
    probes = {probe_key(probe): MOST_PAYLOAD.get(probe["kind"], 0) for probe in notebook["probes"]}
    probing = False

    def room(header: Mapping[str, Any]) -> int | None:
        nonlocal probing
        if header.get("kind") == "probes":
            probing = True
            return None
        if not probing:
            index, name = header.get("index"), header.get("name")
            is_cell = header.get("kind") == "cell" and type(index) is int and index in cells
            is_signature = header.get("kind") == "signature" and isinstance(name, str) and name in called
            return 0 if is_cell or is_signature else None
        payload = probes.get(probe_key(header))
        return None if payload is None else min(payload, most)

    return room


def notebook_run(notebook: Mapping[str, Any], frames: Sequence[Frame], end: Problem, limits: Limits) -> NotebookRun:
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
    results = bool(notebook.get("results"))
    cells = [_cell_run(index, last[index], limits, results) for index in sorted(last)]
    return NotebookRun(notebook["name"], status, message, cells, seconds)


def _cell_run(index: int, header: Mapping[str, Any], limits: Limits, results: bool) -> CellRun:
    outputs = clean_outputs(header.get("outputs"), limits.output_kib << 10, limits.outputs, results)
    place = header.get("line")
    cell, line = divmod(place, LINES_PER_CELL) if type(place) is int and place > 0 else (0, 0)
    return CellRun(
        index,
        _status(header),
        _number(header.get("seconds")),
        outputs,
        clean_text(header.get("message")),
        line if cell == index else 0,
        clean_text(header.get("cause"))[:20],
        clean_text(header.get("detail"))[:100],
    )


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


def _checkpoint(plan: Plan, found: Frame | Problem | None) -> bytes | Problem | None:
    if plan.checkpoint is None:
        return None
    if found is None:
        return Problem(Status.FAILED, f"{plan.checkpoint} could not be read: the jail ended before. {SAVE_AGAIN}")
    if isinstance(found, Problem):
        return found
    if "problem" in found.header:
        return Problem(Status.FAILED, clean_text(found.header["problem"]))
    return found.payload
