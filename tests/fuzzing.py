"""Hostile input made from real input, and what must hold of it: for tests/test_fuzz.py and tools/fuzz.py.

Every `examine_*` takes one case all the way through the trusted code that would see it, and says how it ended. What it
raises is a bug, and so is an answer that blames the grader.
"""

from __future__ import annotations

import ast
import base64
import copy
import gzip
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import strategies as st
from safetensors.numpy import save

from autograder.core.config import Assignment, Limits, load_course
from autograder.core.config_values import ConfigError
from autograder.core.files import StagedFile
from autograder.core.grade_report import Status
from autograder.graphs.analysis import (
    additions,
    batch_norms,
    blocks,
    convolutions,
    detached,
    dropouts,
    head,
    linears,
    parameter_count,
)
from autograder.graphs.model_graph import GraphRefused, ModelGraph
from autograder.graphs.operations import OPERATIONS, TEXTS
from autograder.graphs.runner import Runner
from autograder.graphs.runner_process import RunnerProblem
from autograder.graphs.state import check_tensors, state_differences
from autograder.graphs.tensor_file import read_header
from autograder.graphs.wire import graph_from_wire, graph_to_wire
from autograder.handin.answers import answers_of
from autograder.handin.hidden_data import notebook_flags
from autograder.handin.submission import read_submission
from autograder.jail import Frame, FrameReader, StreamProblem, decode_frames, encode_frames
from autograder.judging.check_language import CheckContext
from autograder.judging.checkpoint import CheckpointProblem, fit_checkpoint, read_checkpoint
from autograder.judging.datasets import Dataset
from autograder.judging.evidence import Evidence, decode_evidence
from autograder.judging.flags.library import library_flags
from autograder.judging.flags.lookups import lookup_flags
from autograder.judging.hidden_tests import run_graders
from autograder.judging.normalisation import NotANormalisation, recover_normalisation
from autograder.judging.problems import Problem
from autograder.pipeline.grader import check_points
from autograder.pipeline.jail_run import FROM_INSIDE, _is_settled, notebook_run
from autograder.pipeline.plan import Plan, make_plan, plan_probes

ROOT = Path(__file__).resolve().parent.parent
RELEASE = ROOT / "release" / "cnn"
SEEDS = ROOT / "tests" / "fuzz_seeds.json.gz"
SECRET = bytes(32)
STREAM_BYTES = 64 << 20
GRAPH_BYTES = 256 << 20  # weights that a mutated graph may ask for and still be run
ENDED = Problem(Status.CRASHED, "the notebook's process ended early")
INSIDE = {*FROM_INSIDE, "FAILED", "UNSUPPORTED"}


class Wrong(AssertionError):
    """An outcome that may not be: the grader blames itself, or what it made cannot be written."""


# Real input


@dataclass(frozen=True)
class Seeds:
    """Recorded from the reference sample and small networks by `tools.fuzz --record`.

    `frames` and `graphs` have zeros for weights, since nobody looks at them; `small` are the frames of each notebook
    from several solutions, with their weights.
    """

    frames: Mapping[str, Sequence[Frame]]
    graphs: Sequence[str]
    small: Mapping[str, Sequence[Sequence[Frame]]]


@cache
def seeds() -> Seeds:
    """What was recorded."""
    data = json.loads(gzip.decompress(SEEDS.read_bytes()))
    frames = {name: _read_frames(own) for name, own in data["frames"].items()}
    small = {name: [_read_frames(own) for own in solutions] for name, solutions in data["small"].items()}
    return Seeds(frames, [json.dumps(graph) for graph in data["graphs"]], small)


def write_seeds(
    frames: Mapping[str, Sequence[Frame]], graphs: Sequence[Any], small: Mapping[str, Sequence[Sequence[Frame]]]
) -> None:
    """Write the file that `seeds` reads."""
    kept = {name: [_written(frame.header, _zeroed(frame.payload)) for frame in own] for name, own in frames.items()}
    whole = {
        name: [[_written(frame.header, frame.payload) for frame in own] for own in solutions]
        for name, solutions in small.items()
    }
    text = json.dumps({"frames": kept, "graphs": graphs, "small": whole}).encode()
    SEEDS.write_bytes(gzip.compress(text, mtime=0))


def _written(header: Mapping[str, Any], payload: bytes) -> list[Any]:
    return [header, base64.b64encode(payload).decode()]


def _read_frames(records: Sequence[Any]) -> list[Frame]:
    return [Frame(header, base64.b64decode(payload)) for header, payload in records]


def _zeroed(payload: bytes) -> bytes:
    """A large safetensors file without its values."""
    if len(payload) < 100_000:
        return payload
    start = 8 + int.from_bytes(payload[:8], "little")
    return payload[:start] + bytes(len(payload) - start)


@cache
def assignment() -> Assignment:
    """The course's own."""
    return load_course(ROOT).assignment("cnn")


@cache
def plan() -> Plan:
    """The plan of a submission that is as released."""
    with TemporaryDirectory() as folder:
        submission = read_submission("ada", RELEASE, Path(folder) / "files", RELEASE, Limits())
    return make_plan(assignment(), submission, Limits(), SECRET, "cnn")


# Mutations

DEEP, TWICE = "@deep@", "@twice@"  # stand for what Python's own writer would not write
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 2**31 - 1, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30),
    *(0.5, -0.0, 1e300, float("nan"), float("inf"), "", "x", "é", "\ud800", "\x00", "\x1b[2J", "\u202e", "x" * 5000),
    *("<script>alert(1)</script>", "=1+1", "../../etc/passwd", "__class__", "nan", "INTERNAL", "PASSED", "code"),
    *([], {}, [[]], [None], [0] * 100, {"": 0}, {"a": {"b": []}}, {"node": 0}, {"node": -1}, {"float": "nan"}),
    *(DEEP, {"dtype": "float32"}, {"dtype": []}, ["input"], [[[[[[[[]]]]]]]], {"status": []}, {"kind": {}}),
)
MUTATIONS = ("hostile", "hostile", "hostile", "nudge", "nudge", "drop", "repeat", "other", "rename")
NAMES = ("kind", "name", "run", "index", "status", "outputs", "metadata", "source", "payload_bytes", "x", "", TWICE)


@st.composite
def mutated(draw: st.DrawFn, texts: Sequence[str], most: int = 4) -> Any:
    """One of several JSON values, changed in a few places."""
    value = json.loads(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(1, most))):
        value = _mutate(draw, value)
    return value


def _mutate(draw: st.DrawFn, root: Any) -> Any:
    parent, key = _place(draw, root)
    if parent is None:
        return _hostile(draw)
    other_parent, other_key = _place(draw, root)
    other = json.loads(json.dumps(root if other_parent is None else other_parent[other_key]))
    kind = draw(st.sampled_from(MUTATIONS))
    if kind == "hostile":
        parent[key] = _hostile(draw)
    elif kind == "nudge":
        parent[key] = _nudged(draw, parent[key])
    elif kind == "drop":
        del parent[key]
    elif kind == "repeat" and isinstance(parent, list):
        count = draw(st.sampled_from([1, 2, 50]))
        size = len(json.dumps(parent[key]))  # fifty copies of fifty copies would fill our own memory, not the grader's
        parent[key:key] = [copy.deepcopy(parent[key]) for _ in range(count if size < 2000 else 1)]
    elif kind == "rename" and isinstance(parent, dict):
        parent[draw(st.sampled_from(NAMES))] = parent.pop(key)
    else:
        parent[key] = other
    return root


def _hostile(draw: st.DrawFn) -> Any:
    """A copy, since the next mutation may change it."""
    return copy.deepcopy(draw(st.sampled_from(HOSTILE)))


def _place(draw: st.DrawFn, root: Any) -> tuple[Any, Any]:
    """A random place, by its container and its key; (None, None) for the root itself."""
    parent, key, value = None, None, root
    while isinstance(value, (list, dict)) and value and draw(st.integers(0, 7)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        parent, key = value, draw(st.sampled_from(keys))
        value = value[key]
    return parent, key


def _nudged(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return draw(st.sampled_from([value + 1, value - 1, -value, 2 * value, value << 10, value * 10**6, str(value)]))
    if isinstance(value, float):
        return draw(st.sampled_from([-value, value * 1e200, round(value) if abs(value) < 1e9 else 0, str(value)]))
    if isinstance(value, str):
        cut = draw(st.integers(0, len(value)))
        return draw(st.sampled_from([value[:cut], value[cut:], value * 2, value + "\n", value.upper(), [value]]))
    return draw(st.sampled_from([[value], {"0": value}, None]))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes as a bad disk, an interrupted upload or a careful attacker leaves them."""
    start = draw(st.integers(0, len(content)))
    end = min(len(content), start + draw(st.sampled_from([1, 2, 10, 1000])))
    middle = draw(
        st.sampled_from([b"", b"\x00", b"\xff", b"\n", b'"', b"[", b"}", b",", b"9" * 5000, b"[" * 3000, b"\\u0000"])
        | st.binary(max_size=8)
    )
    kept = draw(st.sampled_from(["replace", "insert", "cut", "twice"]))
    tail = b"" if kept == "cut" else content[end:] if kept == "replace" else content[start:]
    more = content[start : start + (8 << 20)] if kept == "twice" else b""  # content may have a hundred megabytes
    return b"".join((content[:start], middle, tail, more))


def as_json(value: Any) -> bytes:
    """JSON as a hostile writer makes it: NaN, lists nested 900 deep, one key twice."""
    text = json.dumps(value).encode("ascii")
    return text.replace(b'"@deep@"', b"[" * 900 + b"]" * 900).replace(b'"@twice@"', b'"kind"')


# Notebooks


@st.composite
def notebooks(draw: st.DrawFn) -> tuple[str, bytes]:
    """A released notebook, changed, and the name under which it is handed in."""
    path = draw(st.sampled_from(sorted(RELEASE.glob("0[1-4]*.ipynb"))))
    content = as_json(draw(mutated([path.read_text()], most=6)))
    if not draw(st.integers(0, 3)):
        content = draw(damaged(content))
    if not draw(st.integers(0, 9)):
        content = content.decode("latin-1").encode(draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "cp037"])))
    names = [path.name, path.name, path.name, f"a/b/{path.name}", "Kopie.ipynb", f"{path.name}.txt"]
    return draw(st.sampled_from(names)), content


def examine_notebook(case: tuple[str, bytes]) -> str:
    """Read, repaired, planned, and fit to be written, whatever it was."""
    name, content = case
    with TemporaryDirectory() as place:
        folder = Path(place) / "submitted"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
        submission = read_submission("ada", folder, Path(place) / "files", RELEASE, Limits())
    make_plan(assignment(), submission, Limits(), SECRET, "cnn")
    answers_of(submission, RELEASE, assignment())
    flags = notebook_flags(submission.notebooks)
    made = [
        dict(submission.notebooks),
        dict(submission.unreadable),
        [str(note) for note in submission.notes],
        [asdict(f) for f in flags],
    ]
    json.dumps(made, ensure_ascii=False, allow_nan=False).encode()
    if submission.notebooks:
        return "repaired" if submission.notes else "read"
    is_known = any("was not handed in" not in reason for reason in submission.unreadable.values())
    return "not readable" if is_known else "unknown"


# Streams

MOST_STREAM = 96 << 20  # bytes: frames that are repeated again and again would take this process's own memory


class Fed:
    """A pipe with a jailed process's face, into which a thread writes `chunks`; it ends where they end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.records, self._write_end = os.pipe()
        self.exceeded = ""
        self._thread = threading.Thread(target=self._feed, args=(chunks,))
        self._thread.start()

    def _feed(self, chunks: Iterable[bytes]) -> None:
        with suppress(BrokenPipeError):  # the reader has seen enough
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(self._write_end, rest) :]
        os.close(self._write_end)

    def watch(self) -> bool:
        """A pipe uses no memory to speak of."""
        return True

    def close(self) -> None:
        os.close(self.records)
        self._thread.join()


@contextmanager
def reader_of(chunks: Iterable[bytes], most_bytes: int, most_records: int) -> Iterator[FrameReader]:
    """A reader of what a process sends."""
    fed = Fed(chunks)
    try:
        yield FrameReader(fed, most_bytes, most_records)  # type: ignore[arg-type]
    finally:
        fed.close()


@st.composite
def streams(draw: st.DrawFn, names: Sequence[str] = ()) -> tuple[str, bytes]:
    """A notebook's recorded frames, changed: their order and number, headers, payloads, and the bytes of it all."""
    name = draw(st.sampled_from(names or sorted(seeds().frames)))
    frames = list(seeds().frames[name])
    for _ in range(draw(st.integers(0, 2))):
        frames = _rearranged(draw, frames)
    written = [(json.dumps(frame.header), frame.payload) for frame in frames]
    for _ in range(draw(st.integers(0, 3)) if written else 0):
        place = draw(st.integers(0, len(written) - 1))
        header, payload = written[place]
        if payload and not draw(st.integers(0, 3)):
            written[place] = header, draw(_payloads(payload))
        else:
            written[place] = json.dumps(draw(mutated([header]))), payload
    # Few are drawn for: with thousands of records, hypothesis would run out of choices.
    lying = draw(st.integers(0, len(written))) if not draw(st.integers(0, 9)) else -1
    size = draw(st.sampled_from(HOSTILE))
    content = b"".join(
        record(header, payload, size if place == lying else len(payload))
        for place, (header, payload) in enumerate(written)
    )
    content = content[:MOST_STREAM]
    return name, draw(damaged(content)) if not draw(st.integers(0, 4)) else content


def _rearranged(draw: st.DrawFn, frames: list[Frame]) -> list[Frame]:
    kind = draw(st.sampled_from(["drop", "twice", "move", "reverse", "cut", "other", "flood"]))
    place = draw(st.integers(0, max(len(frames) - 1, 0)))
    chosen = frames[place : place + 1]
    if kind == "reverse":
        return frames[::-1]
    if kind == "cut":
        return frames[:place]
    if kind == "flood":
        count = draw(st.sampled_from([10, 2000]))
        size = sum(len(json.dumps(frame.header)) for frame in chosen)
        count = min(count, MOST_STREAM // 4 // max(size, 1))  # a graph's has a megabyte
        return frames + [Frame(frame.header, b"") for frame in chosen] * count
    if kind == "other":
        others = draw(st.sampled_from(sorted(seeds().frames)))
        return frames[:place] + list(seeds().frames[others]) + frames[place:]
    left = frames[:place] + frames[place + 1 :]
    return {"drop": left, "twice": frames + chosen, "move": chosen + left}[kind]


@st.composite
def _payloads(draw: st.DrawFn, payload: bytes) -> bytes:
    """Tensors, with a header that was changed or bytes that were."""
    size = int.from_bytes(payload[:8], "little")
    if draw(st.booleans()):
        return draw(damaged(payload))
    header = as_json(draw(mutated([payload[8 : 8 + size].decode()])))
    return len(header).to_bytes(8, "little") + header + payload[8 + size :]


def record(header: str, payload: bytes, size: Any) -> bytes:
    """One record as it travels, whose header need not be an object and whose size need not be right."""
    value = json.loads(header)
    return as_json({**value, "payload_bytes": size} if isinstance(value, dict) else value) + b"\n" + payload


def examine_stream(case: tuple[str, bytes]) -> str:
    """Read through a pipe, summarised, handed over, decoded; its weights bound, its transforms understood."""
    name, content = case
    outcome, frames, end = receive(content)
    planned = next(notebook for notebook in plan().notebooks if notebook["name"] == name)
    run = notebook_run(planned, frames, end, Limits())
    json.dumps(asdict(run), allow_nan=False).encode()
    _is_settled(run, frames)
    handed = decode_frames(encode_frames(frames))
    if handed != frames:
        raise Wrong("frames are others after they were handed over")
    evidence = decode_evidence(plan().probes[name], handed, end)
    expect_own_blame(evidence)
    look_at(evidence)
    return outcome


def receive(content: bytes) -> tuple[str, list[Frame], Problem]:
    """How a stream ended, its frames, and what that means for those that did not come."""
    frames: list[Frame] = []
    try:
        with reader_of([content], STREAM_BYTES, 1000) as reader:
            while (frame := reader.next(deadline=float("inf"))) is not None:
                frames.append(frame)
    except StreamProblem as problem:
        if problem.status.value not in INSIDE:
            raise Wrong(f"the stream ended in {problem.status}") from problem
        return problem.status.value, frames, Problem(problem.status, str(problem))
    return "whole", frames, ENDED


def expect_own_blame(evidence: Evidence) -> None:
    """Every problem is the student's."""
    builds = [build for found in evidence.modules.values() for build in found]
    found: list[Any] = [*evidence.answers.values(), *(build.problem for build in builds)]
    found += [call.result for groups in evidence.calls.values() for calls in groups.values() for call in calls]
    found += [graph for build in builds for graph in build.graphs.values()]
    found += [samples.problem for groups in evidence.samples.values() for samples in groups.values()]
    for problem in found:
        if isinstance(problem, Problem) and problem.status.value not in INSIDE:
            raise Wrong(f"evidence blames the grader: {problem}")


def look_at(evidence: Evidence) -> None:
    """What the graders do with evidence before any graph runs."""
    for build in (build for found in evidence.modules.values() for build in found):
        graphs = [graph for graph in build.graphs.values() if isinstance(graph, ModelGraph)]
        for graph in graphs:
            state_differences(graphs[0], graph)
            with suppress(GraphRefused):
                check_tensors(graph, build.tensors)
                fit(graph, build.tensors)
    for samples in evidence.samples.values():
        if not any(sample.problem for sample in samples.values()) and "full_range" in samples:
            with suppress(NotANormalisation):
                recover_normalisation("test_transform", samples)


def fit(graph: ModelGraph, tensors: bytes) -> None:
    """Hand the tensors of a build in as a checkpoint, under their weights' names, and as they are."""
    header = read_header(tensors)
    own = {tensor.key: tensor.name for tensor in graph.tensors}
    named = {own.get(key, key): _zeros(entry.shape, "float32") for key, entry in header.entries.items()}
    for blob in (tensors, save(named)):
        with TemporaryDirectory() as folder, suppress(CheckpointProblem):
            path = Path(folder) / "w.safetensors"
            path.write_bytes(blob)
            checkpoint = read_checkpoint("w", {path.name: StagedFile(path.name, path, "", len(blob))}, None, 64)
            fit_checkpoint(graph, tensors, checkpoint)


# Graphs


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """An exported graph, changed in its data, or with operations put in that fit their schema."""
    if not draw(st.integers(0, 2)):
        return draw(mutated(seeds().graphs))
    wire = json.loads(draw(st.sampled_from(seeds().graphs)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        _insert_operation(draw, wire)
    return _mutate(draw, wire) if not draw(st.integers(0, 7)) else wire


SIZES = (0, 1, 1, 2, 2, 3, 4, 7, 32, 64, 1000, 2**20, 2**31 - 1, 2**63 - 1, -1, -2, -(2**31))


def _insert_operation(draw: st.DrawFn, wire: dict[str, Any]) -> None:
    """Put a call before the output, of what is there, several times perhaps, and let the output follow it."""
    name = draw(st.sampled_from(sorted(OPERATIONS)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 40]))):
        here = len(wire["nodes"]) - 1
        arguments = [_argument(draw, name, kind.rstrip("!&"), here) for kind in OPERATIONS[name].kinds]
        wire["nodes"].insert(here, ["call", name, arguments, 300_014, 0])
        if len(OPERATIONS[name].returns) > 1 or OPERATIONS[name].returns[0] == "Tensor[]":
            wire["nodes"].insert(here + 1, ["call", "operator.getitem", [{"node": here}, 0], 300_014, 0])
    if draw(st.integers(0, 3)):
        wire["nodes"][-1] = ["output", {"node": len(wire["nodes"]) - 2}]


def _argument(draw: st.DrawFn, name: str, kind: str, here: int) -> Any:
    """A value of the kind that a schema asks for."""
    if kind.endswith("?"):
        return None if draw(st.booleans()) else _argument(draw, name, kind[:-1], here)
    if kind.endswith("[]"):
        return [_argument(draw, name, kind[:-2], here) for _ in range(draw(st.sampled_from([0, 1, 1, 2, 2, 3, 4])))]
    if kind == "Tensor":
        return {"node": here - 1 if draw(st.integers(0, 3)) else draw(st.integers(0, here - 1))}
    if kind == "bool":
        return draw(st.booleans())
    if kind == "int":
        return draw(st.sampled_from(SIZES))
    if kind in ("float", "Scalar"):
        return draw(st.sampled_from([*SIZES[:-4], 0.5, -1.5, 1e30, {"float": "nan"}]))
    if kind == "str":
        known = ["ab,bc->ac", "abcd,abcd->", "...a,a->...", *sorted(map(str, TEXTS.get(name, ())))]
        return draw(st.sampled_from(known))
    dtypes = ["float32", "float64", "int64", "bool", "float16"]
    return {"dtype": draw(st.sampled_from(dtypes))} if kind == "ScalarType" else None


def examine_graph(wire: Any, runner: Runner) -> str:
    """Refused, or loaded by the jailed runner, estimated, analysed, and run."""
    try:
        graph = graph_from_wire(wire)
    except GraphRefused as error:
        _expect_printable(str(error))
        return "refused by its form"
    if graph_to_wire(graph_from_wire(json.loads(json.dumps(graph_to_wire(graph))))) != graph_to_wire(graph):
        raise Wrong("a checked graph is another one when it is read again")
    weights = {tensor.key: tensor for tensor in graph.tensors}
    if sum(8 * tensor.numel for tensor in weights.values()) > GRAPH_BYTES:
        return "too many weights to try"
    blob = save({key: _zeros(tensor.shape, tensor.dtype) for key, tensor in weights.items()})
    try:
        handle = runner.load(graph, blob, seconds=60)
        try:
            return _examine_loaded(graph, handle, runner)
        finally:
            runner.release(handle)
    except RunnerProblem as problem:
        if problem.status not in {*FROM_INSIDE, "REFUSED"}:
            raise Wrong(f"the runner blames the grader: {problem}") from problem
        _expect_printable(str(problem))
        return f"{problem.status} in the runner"


def _examine_loaded(graph: ModelGraph, handle: int, runner: Runner) -> str:
    shapes = runner.shapes(handle, graph.input_shape, seconds=60).shapes
    analyse(graph, shapes)
    images = np.zeros(graph.input_shape, np.float32)
    runner.run(handle, images, seconds=60)
    return "ran"


def analyse(graph: ModelGraph, shapes: Sequence[tuple[int, ...] | None]) -> None:
    """Everything that the graders ask of a graph."""
    layers = convolutions(graph, shapes)
    for layer in [*layers, *linears(graph, shapes)]:
        _ = layer.is_registered, layer.is_trainable
    for function in (batch_norms, dropouts, additions, head, blocks):
        function(graph, shapes)
    detached(graph)
    parameter_count(graph)
    lookup_flags("04", graph, shapes)
    library_flags("04", "ModernCNN", graph)


def _zeros(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def _expect_printable(text: str) -> None:
    if not text.isprintable() or len(text) > 1000:
        raise Wrong(f"a message that cannot be shown: {text[:200]!r}")


# Whole graders


def examine_graded(case: tuple[str, bytes], runner: Runner) -> str:
    """A stream judged by the hidden graders: no check may end as the grader's own fault."""
    name, content = case
    _, frames, end = receive(content)
    evidence = decode_evidence(plan().probes[name], frames, end)
    exercise = assignment().exercise(name)
    assert exercise is not None
    notes: list[str] = []
    graded = CheckContext(exercise, evidence, runner, {}, None, few_images, SECRET, notes)
    results = run_graders(Path(assignment().graders) / exercise.grader, graded)
    runner.forget()
    faults = [result for result in results if result.status is Status.INTERNAL]
    if faults:
        raise Wrong(f"{faults[0].name}: {faults[0].message}")
    json.dumps([asdict(result) for result in results], allow_nan=False).encode()
    return "all passed" if all(result.status is Status.PASSED for result in results) else "some failed"


def few_images() -> Dataset:
    """A test set for networks that know nothing."""
    draws = np.random.RandomState(0)
    images = draws.randint(0, 256, (200, 3, 32, 32)).astype(np.uint8)
    return Dataset("noise", tuple("0123456789"), images, np.arange(200) % 10, "test", "0" * 64)


# Configurations


LITERALS = tuple(value for value in HOSTILE if repr(value) not in ("nan", "inf"))


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """The course's own configuration with values, settings or lines changed; its functions stay what they are."""
    text = (ROOT / "grader_config.py").read_text()
    if not draw(st.integers(0, 9)):
        lines = text.splitlines(keepends=True)
        place = draw(st.integers(0, len(lines) - 1))
        return "".join(lines[:place] + draw(st.sampled_from([[], lines[place : place + 1] * 2])) + lines[place + 1 :])
    tree = ast.parse(text)
    for _ in range(draw(st.integers(1, 3))):
        _mutate_code(draw, tree)
    return ast.unparse(ast.fix_missing_locations(tree))


def _mutate_code(draw: st.DrawFn, tree: ast.Module) -> None:
    """Change one value in a call, a list or a dict, or drop it, or rename a setting."""
    containers = [node for node in ast.walk(tree) if isinstance(node, (ast.Call, ast.List, ast.Dict, ast.Tuple))]
    node: Any = draw(st.sampled_from(containers))
    parts: list[Any]
    if isinstance(node, ast.Call):
        parts = [*node.args, *node.keywords]
    else:
        parts = node.values if isinstance(node, ast.Dict) else node.elts
    if not parts:
        return
    value = ast.parse(repr(draw(st.sampled_from(LITERALS))), mode="eval").body
    place = draw(st.integers(0, len(parts) - 1))
    chosen = parts[place]
    if isinstance(chosen, ast.keyword):
        kind = draw(st.sampled_from(["value", "value", "drop", "name"]))
        if kind == "value":
            chosen.value = value
        elif kind == "drop":
            node.keywords.remove(chosen)
        else:
            chosen.arg = draw(st.sampled_from([f"{chosen.arg}s", "where", "name"]))
    elif isinstance(node, ast.Dict):
        if draw(st.booleans()):
            node.values[place] = value
        else:
            node.keys[place] = value
    else:
        (node.args if isinstance(node, ast.Call) else node.elts)[place] = value


def examine_configuration(text: str) -> str:
    """Accepted and good for a plan, or refused with a message that names the file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "grader_config.py"
        path.write_text(text, encoding="utf-8", errors="replace")
        try:
            course = load_course(Path(folder))
            for name, own in course.assignments.items():
                check_points(own, RELEASE)
                for exercise in own.exercises:
                    json.dumps(list(plan_probes(exercise, SECRET, name)), allow_nan=False)
        except ConfigError as error:
            if "grader_config.py" not in str(error) and "the release" not in str(error):
                raise Wrong(f"a message that does not name the file: {error}") from error
            return "refused"
    return "accepted"
