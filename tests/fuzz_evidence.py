"""Evidence that keeps to the format and is strange: small networks, transforms and answers of many kinds, changed.

Mutated streams (tests/fuzzing.py) mostly end where they are read. What is made here arrives, so that the hidden graders
and the figures have to deal with it: values without pixels, of no or of eight axes, empty, huge, not finite; operands
in another order; outputs that are a weight; exports of one network that disagree.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors.numpy
from hypothesis import strategies as st

from autograder.core.files import StagedFile
from autograder.core.grade_report import Status
from autograder.graphs.operations import OPERATIONS, TEXTS
from autograder.graphs.runner import Runner
from autograder.jail import Frame
from autograder.judging.check_language import CheckContext
from autograder.judging.evidence import decode_evidence
from autograder.judging.hidden_tests import run_graders
from autograder.judging.model_summary import describe_curves, describe_models
from tests.fuzz_networks import TRANSFORMS
from tests.fuzzing import ENDED, SECRET, Wrong, assignment, few_images, plan, seeds
from tools.hidden_graders import collected

Wire = dict[str, Any]
Array = np.ndarray[Any, Any]
Change = Callable[[Random, Wire], None]
SIZES = (0, 1, 1, 2, 2, 3, 4, 7, 32, 64, 1000, 2**20, 2**31 - 1, -1, -2)
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, {"float": "nan"}, {"float": "inf"})
MOST_ELEMENTS = 1 << 20  # of a tensor that is made here


@dataclass(frozen=True)
class Strange:
    """One case: a notebook's frames, and a checkpoint that is handed in (a safetensors file), or none."""

    notebook: str
    frames: Sequence[Frame]
    checkpoint: bytes | None


@st.composite
def evidences(draw: st.DrawFn) -> Strange:
    """Changes of what several solutions of a notebook leave."""
    random = Random(draw(st.integers(0, 2**63)))  # hypothesis knows one number of it, and so keeps no megabytes
    notebook = random.choice(sorted(seeds().small))
    frames = list(random.choice(seeds().small[notebook]))
    frames += random.choice(transformed()) if notebook.startswith("04") else []
    checkpoint = None
    for place, frame in enumerate(frames):
        if frame.header.get("kind") == "build" and checkpoint is None and notebook.startswith("04"):
            checkpoint = _as_checkpoint(frame)
        if random.random() < 0.7:
            frames[place] = changed(random, frame)
    if checkpoint is not None and random.random() < 0.5:
        checkpoint = _strange_file(random, checkpoint)
    return Strange(notebook, frames, checkpoint if random.random() < 0.8 else None)


@cache
def transformed() -> list[list[Frame]]:
    """What pairs of transforms leave."""
    probes = [probe for probe in plan().probes["04_modern_cnn"] if probe["kind"] == "sample"]
    return [collected({"train_transform": train, "test_transform": test}, probes) for train, test in TRANSFORMS]


def changed(random: Random, frame: Frame) -> Frame:
    """Another record for the same probe."""
    make = {"build": _changed_build, "sample": _changed_sample, "call": _changed_calls, "answer": _changed_answer}
    header = json.loads(json.dumps(frame.header))
    kind = header.get("kind")
    return make[kind](random, header, frame.payload) if kind in make else frame


# Values


def _value(random: Random) -> dict[str, Any]:
    kind = random.choice(["int", "float", "bool", "none", "str", "other"])
    values: dict[str, Sequence[Any]] = {
        "int": [0, 1, -1, 5, 2**62, -(2**62)],
        "float": ["nan", "inf", "-inf", "-0.0", "1e308", "5e-324", "5.0", "0.1"],
        "bool": [True, False],
        "none": [None],
        "str": ["", "5", "x" * 500, "<b>"],
        "other": ["Tensor", "", "numpy.ndarray"],
    }
    return {"kind": kind, "value": random.choice(values[kind]), "origin": random.choice(["python", "numpy", "torch"])}


def _changed_answer(random: Random, header: dict[str, Any], payload: bytes) -> Frame:
    return Frame({**header, "value": _value(random)}, payload)


def _changed_calls(random: Random, header: dict[str, Any], payload: bytes) -> Frame:
    results = header.get("results")
    if isinstance(results, list):
        for place in range(len(results)):
            if random.random() < 0.5:
                results[place] = {"value": _value(random)} if random.random() < 0.8 else {"problem": _problem(random)}
    return Frame(header, payload)


def _problem(random: Random) -> dict[str, Any]:
    status = random.choice(["ERROR", "TIMEOUT", "OUT_OF_MEMORY", "UNSUPPORTED", "CRASHED", "FAILED"])
    line = random.choice([0, 1, 300_014, 10**9])
    return {"status": status, "type": "ValueError", "message": random.choice(["", "why"]), "line": line, "raised": ""}


# Outputs of transforms

SHAPES = (
    *((), (0,), (1,), (3,), (3, 0, 32), (0, 32, 32), (3, 32, 0), (3, 1, 1), (3, 2, 2), (3, 32, 32), (3, 31, 33)),
    *((1, 32, 32), (32, 32, 3), (4, 3, 32, 32), (3, 32), (2, 2, 2, 2, 2, 2, 2, 2), (3, 400, 400), (3, 1, 1024)),
)


def _changed_sample(random: Random, header: dict[str, Any], payload: bytes) -> Frame:
    outputs, arrays = header["outputs"], safetensors.numpy.load(payload)
    each = random.random() < 0.5
    shape, fill = random.choice(SHAPES), random.choice(FILLS)
    for place in range(len(outputs)):
        if each and random.random() < 0.5:
            shape, fill = random.choice(SHAPES), random.choice(FILLS)
        key = f"s{place}"
        if random.random() < 0.2:
            arrays.pop(key, None)
            outputs[place] = {"type": random.choice(["tensor", "PIL image", "ndarray", ""]), "dtype": "", "shape": []}
            continue
        keep = key in arrays and random.random() < 0.4
        array = fill(random, arrays[key].shape if keep else shape)
        arrays[key] = array.astype(np.float32)
        dtype = random.choice(["float32", "float32", "float16", "uint8", "complex64", ""])
        outputs[place] = {"type": "tensor", "dtype": dtype, "shape": list(array.shape)}
    return Frame(header, safetensors.numpy.save(arrays))


Fill = Callable[[Random, tuple[int, ...]], Array]


def _full(value: float) -> Fill:
    return lambda _, shape: np.full(shape, value, np.float32)


def _noise(scale: float) -> Fill:
    def draw(random: Random, shape: tuple[int, ...]) -> Array:
        values = np.random.RandomState(random.randrange(2**32)).standard_normal(shape)
        return np.asarray(scale * values, np.float32)  # of no axes, NumPy draws a number

    return draw


def _spike(value: float) -> Fill:
    """Noise in which one entry is something else."""

    def draw(random: Random, shape: tuple[int, ...]) -> Array:
        array = _noise(1)(random, shape)
        if array.size:
            array.reshape(-1)[0] = value
        return array

    return draw


FILLS: tuple[Fill, ...] = (
    *map(_full, (0.0, 1.0, -1.0, 1e-38, 3e38, float("nan"), float("inf"))),
    *map(_noise, (1.0, 1.0, 1e-9, 1e-30, 1e9, 1e30)),
    *map(_spike, (float("nan"), float("inf"), 3e38)),
)


# Builds


def _changed_build(random: Random, header: dict[str, Any], payload: bytes) -> Frame:
    """The same changes in every export of the module, or in one of them only."""
    wires = [record["graph"] for record in header["graphs"] if "graph" in record]
    arrays = safetensors.numpy.load(payload)
    if not wires:
        return Frame(header, payload)
    for _ in range(random.choice([1, 1, 1, 2, 2, 3, 5])):
        number = random.randrange(2**32)
        several = wires if random.random() < 0.8 else [random.choice(wires)]
        change = random.choice(CHANGES)
        for wire in several:
            change(Random(number), wire)
        if random.random() < 0.3:
            _change_tensor(random, wires, arrays)
    if random.random() < 0.05:
        header["graphs"][random.randrange(len(header["graphs"]))] = {"problem": _problem(random)}
    return Frame(header, safetensors.numpy.save(arrays))


def _calls(wire: Wire) -> list[int]:
    return [place for place, node in enumerate(wire["nodes"]) if node[0] == "call"]


def _insert(random: Random, wire: Wire) -> None:
    """An operation on what is there; somebody takes its value."""
    calls = _calls(wire)
    if not calls:
        return
    name, place = random.choice(sorted(OPERATIONS)), random.choice([*calls, len(wire["nodes"]) - 1])
    arguments = [_argument(random, name, kind.rstrip("!&"), place) for kind in OPERATIONS[name].kinds]
    returns = OPERATIONS[name].returns
    several = len(returns) > 1 or returns[0] == "Tensor[]"
    new = [["call", name, arguments, 300_014, 0]]
    new += [["call", "operator.getitem", [{"node": place}, 0], 300_014, 0]] if several else []
    _renumber(wire, place, len(new))
    wire["nodes"][place:place] = new
    _take(random, wire, place + len(new) - 1)


def _renumber(wire: Wire, place: int, count: int) -> None:
    for reference in _references(wire["nodes"]):
        if reference["node"] >= place:
            reference["node"] += count


def _references(value: Any) -> Iterator[dict[str, int]]:
    if isinstance(value, dict):
        if "node" in value:
            yield value
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _take(random: Random, wire: Wire, place: int) -> None:
    """Let a later node take a node's value in place of another one."""
    later = [reference for node in wire["nodes"][place + 1 :] for reference in _references(node)]
    if later:
        (random.choice(later) if random.random() < 0.7 else later[0])["node"] = place


def _argument(random: Random, name: str, kind: str, here: int) -> Any:
    """A value of the kind that a schema asks for."""
    if kind.endswith("?"):
        return None if random.random() < 0.5 else _argument(random, name, kind[:-1], here)
    if kind.endswith("[]"):
        return [_argument(random, name, kind[:-2], here) for _ in range(random.choice([0, 1, 1, 2, 2, 3, 4]))]
    values: dict[str, Callable[[], Any]] = {
        "Tensor": lambda: {"node": max(here - random.choice([1, 1, 1, 2, 3, random.randrange(1, here + 1)]), 0)},
        "bool": lambda: random.random() < 0.5,
        "int": lambda: random.choice(SIZES),
        "float": lambda: random.choice(FLOATS),
        "Scalar": lambda: random.choice([*SIZES, *FLOATS]),
        "str": lambda: random.choice(
            ["ab,bc->ac", "oc,nchw->nohw", "nchw,oc->nohw", "abcd,abcd->", "...a,a->...",
             *sorted(map(str, TEXTS.get(name, ())))]
        ),
        "ScalarType": lambda: {"dtype": random.choice(["float32", "float64", "int64", "bool", "float16"])},
    }  # fmt: skip
    return values.get(kind, lambda: None)()


def _swap(random: Random, wire: Wire) -> None:
    """Operands in another order: a weight where the data stood."""
    node = _chosen(random, wire)
    places = [i for i, value in enumerate(node[2]) if isinstance(value, dict) and "node" in value] if node else []
    if len(places) > 1:
        one, other = random.sample(places, 2)
        node[2][one], node[2][other] = node[2][other], node[2][one]


def _rewire(random: Random, wire: Wire) -> None:
    """A value from elsewhere, a weight perhaps."""
    calls = _calls(wire)
    place = random.choice(calls) if calls else 0
    references = list(_references(wire["nodes"][place]))
    if references and place:
        random.choice(references)["node"] = random.randrange(place)


def _other_operation(random: Random, wire: Wire) -> None:
    """Another operation with arguments of the same kinds."""
    node = _chosen(random, wire)
    if node and node[1] in OPERATIONS:
        kinds = OPERATIONS[node[1]].kinds
        node[1] = random.choice([name for name, own in sorted(OPERATIONS.items()) if own.kinds == kinds])


def _number(random: Random, wire: Wire) -> None:
    """Another number among the arguments: a stride, an axis, a probability."""
    node = _chosen(random, wire)
    for _ in range(5) if node else ():
        place = random.randrange(len(node[2])) if node[2] else -1
        if place >= 0 and isinstance(node[2][place], list) and node[2][place]:
            lists = node[2][place]
            inner = random.randrange(len(lists))
            if isinstance(lists[inner], int):
                lists[inner] = random.choice(SIZES)
                return
        elif place >= 0 and isinstance(node[2][place], (int, float)):
            wanted = SIZES if isinstance(node[2][place], int) else FLOATS
            node[2][place] = not node[2][place] if isinstance(node[2][place], bool) else random.choice(wanted)
            return


def _chosen(random: Random, wire: Wire) -> Any:
    calls = _calls(wire)
    return wire["nodes"][random.choice(calls)] if calls else None


def _other_output(random: Random, wire: Wire) -> None:
    """The value of any node, the input or a weight included."""
    wire["nodes"][-1] = ["output", {"node": random.randrange(len(wire["nodes"]) - 1)}]


def _other_kind(random: Random, wire: Wire) -> None:
    """A parameter that is a buffer, a constant under another name, tied weights."""
    if not wire["tensors"]:
        return
    tensor = random.choice(wire["tensors"])
    tensor[0] = random.choice(["parameter", "frozen", "buffer", "constant"])
    if random.random() < 0.3:
        tensor[1] = random.choice(["", "weight", "a.b.c", "x" * 150, "é", "0"]) + str(random.randrange(100))


def _other_batch(random: Random, wire: Wire) -> None:
    wire["batch"] = "dynamic" if wire["batch"] != "dynamic" else wire["input_shape"][0]


CHANGES: tuple[Change, ...] = (
    *[_insert] * 6,
    *(_swap, _swap, _rewire, _rewire, _other_operation, _number, _number, _other_output, _other_kind, _other_batch),
)


def _change_tensor(random: Random, wires: Sequence[Wire], arrays: dict[str, Array]) -> None:
    """Another shape, dtype or content for one tensor, in every export."""
    if not arrays:
        return
    key = random.choice(sorted(arrays))
    array = arrays[key]
    shape = _other_shape(random, array.shape) if random.random() < 0.5 else array.shape
    made = random.choice(FILLS)(random, shape)
    dtype = random.choice(["float32", "float32", "float32", "float64", "float16", "int64", "bool", "uint8"])
    with np.errstate(all="ignore"):
        arrays[key] = made.astype(dtype)
    for wire in wires:
        for tensor in wire["tensors"]:
            if tensor[4] == key:
                tensor[2:4] = [dtype, list(shape)]


def _other_shape(random: Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    place = random.randrange(len(shape)) if shape else 0
    made = {
        "empty": (*shape[:place], 0, *shape[place + 1 :]),
        "none": (),
        "turned": shape[::-1],
        "one more": (1, *shape) if len(shape) < 8 else shape,
        "flat": (int(np.prod(shape)),),
        "twice": (*(2 * size for size in shape[:1]), *shape[1:]),
        "eight": (*shape, *([1] * (8 - len(shape)))),
    }
    chosen = random.choice(list(made.values()))
    return chosen if np.prod(chosen) <= MOST_ELEMENTS else shape


# Checkpoints


def _as_checkpoint(frame: Frame) -> bytes | None:
    """The weights of a build under their names, as a student saves them."""
    graph = next((record["graph"] for record in frame.header["graphs"] if "graph" in record), None)
    if graph is None:
        return None
    arrays = safetensors.numpy.load(frame.payload)
    return safetensors.numpy.save(
        {name: arrays[key] for kind, name, _, _, key in graph["tensors"] if kind != "constant"}
    )


def _strange_file(random: Random, blob: bytes) -> bytes:
    arrays = safetensors.numpy.load(blob)
    for _ in range(random.choice([1, 2, 5])):
        _change_tensor(random, (), arrays)
    return safetensors.numpy.save(arrays)


# Judged


def examine_evidence(case: Strange, runner: Runner) -> str:
    """Judge a case by the hidden graders, and describe it for the figures. What raises is a bug, and so is INTERNAL."""
    evidence = decode_evidence(plan().probes[case.notebook], case.frames, ENDED)
    exercise = assignment().exercise(case.notebook)
    assert exercise is not None
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        if case.checkpoint is not None:
            path = Path(folder) / "modern_cnn.safetensors"
            path.write_bytes(case.checkpoint)
            files[path.name] = StagedFile(path.name, path, "0" * 64, len(case.checkpoint))
        graded = CheckContext(exercise, evidence, runner, files, None, few_images, SECRET, [])
        results = run_graders(Path(assignment().graders) / exercise.grader, graded)
        shown = [*map(asdict, describe_models(graded)), *map(asdict, describe_curves(graded))]
    runner.forget()
    for result in results:
        if result.status is Status.INTERNAL:
            raise Wrong(f"{result.name}: {result.message}")
    json.dumps([*map(asdict, results), shown], allow_nan=False).encode()
    return f"{sum(result.status is Status.PASSED for result in results)} passed"
