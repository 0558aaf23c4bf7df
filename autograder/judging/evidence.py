"""The closed format in which values leave the jail: decode, validate, bound. Nothing here trusts a record."""

from __future__ import annotations

import base64
import builtins
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autograder.core.grade_report import Status
from autograder.core.source_lines import LINES_PER_CELL
from autograder.core.text import clean_text
from autograder.graphs.model_graph import GraphRefused, ModelGraph
from autograder.graphs.tensor_file import BadTensors, load_arrays
from autograder.graphs.wire import graph_from_wire
from autograder.jail.stream import Frame
from autograder.judging.problems import BadRecord, Problem, decode_problem, whole
from autograder.judging.signatures import Called, Signature, explanations, read_signature

MOST_SHOWN_RANK = 8  # sizes of a transform's output that are looked at
MOST_SAMPLE_BYTES = 1 << 20  # of one output of a transform, as in worker/collect.py
ADAPTED = ("float64", "float16", "bfloat16")  # dtypes that a module may have been changed from
EXPORTED_BATCH = 4  # images, as in worker/collect.py; a graph whose code fixes the batch fixes it to this one
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Value:
    """A plain value: `kind` is int, float, bool, str, none or other (then `value` names the type).

    `origin` says whether it was a Python, NumPy or torch scalar.
    """

    kind: str
    value: int | float | bool | str | None
    origin: str = "python"


Result = Value | Problem


@dataclass(frozen=True)
class CallEvidence:
    """One call of a student's function: the arguments (the grader's own) and what came back. `drawn`: the arguments
    come from the course's secret."""

    arguments: Mapping[str, Any]
    result: Result
    drawn: bool = False


@dataclass(frozen=True)
class Build:
    """A module built with `arguments`: its exports by (training, image size), all over one set of tensors.

    `tensors` is a safetensors file with keys t0…tn, as the graphs name them. `problem` is set where the module could
    not even be built; then there are no graphs. `drawn`: the arguments come from the course's secret. `adapted` names
    the dtype that the module had before it was made to take float32 images.
    """

    arguments: Mapping[str, Any]
    graphs: Mapping[tuple[bool, int], ModelGraph | Problem]
    tensors: bytes = b""
    problem: Problem | None = None
    drawn: bool = False
    adapted: str = ""


@dataclass(frozen=True)
class Sample:
    """One output of a transform. `array` is float32 of `shape`, None where it was no tensor or too large."""

    type: str
    dtype: str
    shape: tuple[int, ...]
    array: Array | None


@dataclass(frozen=True)
class Samples:
    """All outputs of a transform for one probe image (H, W, 3) uint8; `form` is how it was given: PIL or tensor.

    `stand_in`: other data than the student's stood in for a data set when the notebook ran.
    """

    outputs: Sequence[Sample]
    image: Array
    form: str = "PIL"
    problem: Problem | None = None
    stand_in: bool = False


@dataclass(frozen=True)
class Evidence:
    """Everything a notebook left: by name, and for calls by group, builds by index, samples by image. `signatures` are
    those of what is called, where they are known."""

    answers: Mapping[str, Result] = field(default_factory=dict)
    calls: Mapping[str, Mapping[str, Sequence[CallEvidence]]] = field(default_factory=dict)
    modules: Mapping[str, Sequence[Build]] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Samples]] = field(default_factory=dict)
    signatures: Mapping[str, Signature] = field(default_factory=dict)


def decode_evidence(
    probes: Sequence[Mapping[str, Any]], frames: Sequence[Frame], fallback: Problem, *, in_words: bool = False
) -> Evidence:
    """Match frames to the probes of the plan; what is absent or malformed becomes a Problem, never a pass.

    `frames` are one notebook's, in order of arrival; a notebook may have run more than once, and the last run's
    record wins, within a run the first. Frames that no probe asked for are ignored. What a record says of itself is the
    student's process's word: it may so choose among its own claims, each of which is judged.

    Code that was called with arguments from the course's secret could tell them in every text that it chooses: the
    message or the name of an exception, of a type, of a weight. Of such probes no text is kept, unless the staff ask
    for it (`in_words`). `fallback` says in the grader's own words why a record is absent, and is told.
    """
    answers: dict[str, Result] = {}
    calls: dict[str, dict[str, list[CallEvidence]]] = {}
    modules: dict[str, list[Build]] = {}
    samples: dict[str, dict[str, Samples]] = {}
    chosen = _choose(frames, {probe_key(probe) for probe in probes})
    cells = _ended_cells(frames)
    signatures = _signatures(frames, {probe["name"] for probe in probes})
    for probe in probes:
        kind, name = probe["kind"], probe["name"]
        frame = chosen.get(probe_key(probe))
        found = _decode(probe, frame, fallback)
        if frame is not None and probe.get("drawn") and not in_words:
            found = wordless(found, name, cells)
        if kind == "answer":
            answers[name] = found
        elif kind == "call":
            calls.setdefault(name, {})[probe["group"]] = found
        elif kind == "build":
            modules.setdefault(name, []).append(found)
        else:
            samples.setdefault(name, {})[probe["group"]] = found
    for name, groups in calls.items():
        explained = iter(_explained(name, [call for made in groups.values() for call in made], signatures.get(name)))
        calls[name] = {
            group: [replace(call, result=next(explained)) for call in made] for group, made in groups.items()
        }
    for name, builds in modules.items():
        problems = _explained(name, builds, signatures.get(name))
        modules[name] = [replace(build, problem=problem) for build, problem in zip(builds, problems, strict=True)]
    return Evidence(answers, calls, modules, samples, signatures)


def _decode(probe: Mapping[str, Any], frame: Frame | None, fallback: Problem) -> Any:
    """One probe's evidence, of its own kind."""
    decode = {"answer": _decode_answer, "call": _decode_calls, "build": _decode_build, "sample": _decode_samples}
    own = decode[probe["kind"]]
    problem = fallback if frame is None else None
    try:
        if frame is not None and "problem" in frame.header:
            problem = decode_problem(frame.header["problem"])
        return own(probe, frame, problem)
    except BadRecord as error:
        name = probe["name"]
        return own(
            probe, None, Problem(Status.FAILED, f"the evidence for `{name}` does not keep to the format: {error}")
        )


def _decode_answer(probe: Mapping[str, Any], frame: Frame | None, problem: Problem | None) -> Result:
    return problem or decode_value(_header(frame).get("value"))


# Without the student's words

# What the worker itself calls a problem; every other name is one that Python has.
OWN_NAMES = frozenset({"Missing", "Unfinished", "ExportProblem", "StepTimeout", "GraphRefused"})
UNFINISHED, REFUSED = "Unfinished", "GraphRefused"


def python_name(kind: str) -> str:
    """The name of an exception as Python has it: a student's own name may hold anything."""
    builtin = kind.rstrip(")").rpartition("(")[2]
    known = getattr(builtins, builtin, None)
    return builtin if isinstance(known, type) and issubclass(known, BaseException) else "an exception"


def wordless(found: Any, name: str, cells: Mapping[int, Mapping[str, Any]]) -> Any:
    """Evidence without any text that the student's code chose while it knew what it was asked.

    `cells` are the records of the cells that ended early, by their numbers: those ran before.
    """
    if isinstance(found, list):
        return [replace(call, result=_without_words(call.result, name, cells), drawn=True) for call in found]
    graphs = {key: _without_words(graph, name, cells) for key, graph in found.graphs.items()}
    problem = found.problem and _without_words(found.problem, name, cells)
    return replace(found, graphs=graphs, problem=problem, drawn=True)


def _without_words(found: Any, name: str, cells: Mapping[int, Mapping[str, Any]]) -> Any:
    if isinstance(found, Value):
        return replace(found, value="") if found.kind in ("str", "other") else found
    if not isinstance(found, Problem):
        return found
    if found.type == REFUSED:
        return replace(found, message="the graph of the network cannot be used for some arguments", type="")
    kind = found.type if found.type in OWN_NAMES or not found.type else python_name(found.type)
    raised = found.raised and python_name(found.raised)
    what = f"raises {raised or kind}" if found.status is Status.ERROR else WORDS.get(found.status, "gives no result")
    message = f"`{name}` {what} for some arguments; try different ones yourself"
    detail = found.detail if found.detail in SAFE_DETAILS else ""
    if kind == UNFINISHED and found.cell in cells:
        cell = cells[found.cell]
        message = f"`{name}` is not defined, because a cell ended early ({clean_text(cell.get('message'))})"
        detail = clean_text(cell.get("detail")) if cell.get("cause") == found.cause else ""
    elif kind == "Missing":
        message = f"`{name}` is not defined"
    return replace(found, type=kind, raised=raised, message=message, detail=detail)


# Details that are no text of the student's choice, or of a choice that is too small to tell anything.
SAFE_DETAILS = frozenset({"ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "cuda", "3.12", "3.14"})


WORDS = {
    Status.TIMEOUT: "takes too long",
    Status.OUT_OF_MEMORY: "takes too much memory",
    Status.OUTPUT_LIMIT: "gives too large a result",
    Status.CRASHED: "ends its process",
    Status.UNSUPPORTED: "cannot be turned into a graph",
}


def _ended_cells(frames: Sequence[Frame]) -> dict[int, Mapping[str, Any]]:
    cells = [frame.header for frame in frames if frame.header.get("kind") == "cell"]
    return {whole(cell.get("index")): cell for cell in cells if clean_text(cell.get("message"))}


# Calls that do not fit


def _explained(name: str, made: Sequence[CallEvidence | Build], signature: Signature | None) -> list[Any]:
    """What came of each call or build, a TypeError with the parameter that is missing, as far as names tell it."""
    outcomes = [call.result if isinstance(call, CallEvidence) else call.problem for call in made]
    failed = [isinstance(found, Problem) and found.type == "TypeError" for found in outcomes]
    calls = [Called(list(call.arguments), misfit, call.drawn) for call, misfit in zip(made, failed, strict=True)]
    cell, line = divmod(signature.line, LINES_PER_CELL) if signature else (0, 0)
    return [
        replace(found, message=message, cell=found.cell or cell, line=found.line or line)
        if isinstance(found, Problem) and message
        else found
        for found, message in zip(outcomes, explanations(name, calls, signature), strict=True)
    ]


def _signatures(frames: Sequence[Frame], names: Collection[str]) -> dict[str, Signature]:
    """The first signature of each name: what comes after a notebook knows what it is asked is not kept."""
    found: dict[str, Signature] = {}
    for header in (frame.header for frame in frames):
        name = header.get("name")
        if header.get("kind") == "signature" and isinstance(name, str) and name in names and name not in found:
            signature = read_signature(header)
            if signature is not None:
                found[name] = signature
    return found


Key = tuple[str, str, str, int]


def probe_key(header: Mapping[str, Any]) -> Key:
    """Which evidence a probe asks for, or a record gives; text only, since `str` of what a record holds has no end."""
    found = (header.get(part) for part in ("kind", "name", "group"))
    kind, name, group = (text if isinstance(text, str) else "" for text in found)
    return kind, name, group, whole(header.get("index", 0))


def _choose(frames: Sequence[Frame], wanted: Collection[Key]) -> dict[Key, Frame]:
    chosen: dict[Key, Frame] = {}
    for frame in frames:
        key = probe_key(frame.header)
        older = chosen.get(key)
        if key in wanted and (older is None or whole(frame.header.get("run")) > whole(older.header.get("run"))):
            chosen[key] = frame
    return chosen


def _header(frame: Frame | None) -> Mapping[str, Any]:
    return frame.header if frame is not None else {}


def decode_value(record: object) -> Value:
    """A Value from the wire. Raises BadRecord."""
    if not isinstance(record, dict):
        raise BadRecord("a value is no record")
    kind, value, origin = record.get("kind"), record.get("value"), record.get("origin")
    origin = origin if origin in ("python", "numpy", "torch") else "python"
    if kind == "none" and value is None:
        return Value("none", None, origin)
    if kind == "bool" and isinstance(value, bool):
        return Value("bool", value, origin)
    if kind == "int" and type(value) is int and abs(value) < 2**63:
        return Value("int", value, origin)
    if kind == "float" and isinstance(value, str) and len(value) < 40:
        try:
            return Value("float", float(value), origin)
        except ValueError as error:
            raise BadRecord("a float cannot be read") from error
    if kind in ("str", "other") and isinstance(value, str):
        return Value(kind, clean_text(value)[:500], origin)
    raise BadRecord("a value of unknown kind")


def _decode_calls(probe: Mapping[str, Any], frame: Frame | None, problem: Problem | None) -> list[CallEvidence]:
    arguments = probe["arguments"]
    if problem is not None:
        return [CallEvidence(a, problem) for a in arguments]
    results = _header(frame).get("results")
    if not isinstance(results, list) or len(results) != len(arguments):
        raise BadRecord(f"expected {len(arguments)} results")
    calls = []
    for given, record in zip(arguments, results, strict=True):
        if not isinstance(record, dict):
            raise BadRecord("a result is no record")
        failed = "problem" in record
        calls.append(
            CallEvidence(given, decode_problem(record["problem"]) if failed else decode_value(record.get("value")))
        )
    return calls


def _decode_build(probe: Mapping[str, Any], frame: Frame | None, problem: Problem | None) -> Build:
    drawn = bool(probe.get("drawn"))
    if problem is not None or frame is None:
        return Build(probe["arguments"], {}, problem=problem, drawn=drawn)
    records = frame.header.get("graphs")
    if not isinstance(records, list) or len(records) != len(probe["exports"]):
        raise BadRecord(f"expected {len(probe['exports'])} graphs")
    graphs: dict[tuple[bool, int], ModelGraph | Problem] = {}
    for wanted, record in zip(probe["exports"], records, strict=True):
        if not isinstance(record, dict):
            raise BadRecord("a graph is no record")
        key = (wanted["training"], wanted["size"])
        graphs[key] = _decode_graph(wanted, probe["channels"], record)
    adapted = frame.header.get("adapted")
    return Build(probe["arguments"], graphs, frame.payload, drawn=drawn, adapted=adapted if adapted in ADAPTED else "")


def _decode_graph(wanted: Mapping[str, Any], channels: int, record: Mapping[str, Any]) -> ModelGraph | Problem:
    if "problem" in record:
        return decode_problem(record["problem"])
    try:
        graph = graph_from_wire(record.get("graph"))
    except GraphRefused as error:
        return Problem(Status.FAILED, clean_text(str(error)), REFUSED, *divmod(error.line, LINES_PER_CELL))
    if graph.training != wanted["training"]:
        raise BadRecord("a graph of the other mode")
    if graph.input_shape != (EXPORTED_BATCH, channels, wanted["size"], wanted["size"]):
        raise BadRecord("a graph for other images")
    return graph


def _decode_samples(probe: Mapping[str, Any], frame: Frame | None, problem: Problem | None) -> Samples:
    image = np.frombuffer(base64.b64decode(probe["pixels"]), np.uint8).reshape(probe["shape"])
    if problem is not None or frame is None:
        return Samples((), image, problem=problem)
    records = frame.header.get("outputs")
    if not isinstance(records, list) or len(records) != probe["draws"]:
        raise BadRecord(f"expected {probe['draws']} outputs")
    if len(frame.payload) > (probe["draws"] + 1) * MOST_SAMPLE_BYTES:
        raise BadRecord("more values than outputs can have")
    try:
        arrays = load_arrays(frame.payload)
    except BadTensors as error:
        raise BadRecord(f"tensors cannot be read ({error})") from error
    outputs = []
    for index, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("shape"), list):
            raise BadRecord("an output is no record")
        shape = tuple(whole(d) for d in record["shape"][:MOST_SHOWN_RANK])
        array = arrays.get(f"s{index}")
        if array is not None and (array.dtype != np.float32 or array.shape != shape):
            raise BadRecord("an output's values do not have its shape")
        outputs.append(Sample(clean_text(record.get("type")), clean_text(record.get("dtype")), shape, array))
    form = "tensor" if frame.header.get("form") == "tensor" else "PIL"
    return Samples(outputs, image, form, stand_in=frame.header.get("stand_in") is True)
