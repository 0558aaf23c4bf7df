"""Run model graphs in a jailed process: the trusted side, which holds the labels and believes nothing it is told.

    with Runner(start_server) as runner:
        handle = runner.load(graph, tensors)
        logits = runner.run(handle, images)

Every answer is checked. How the process is started, asked and replaced is in runner_process.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner_process import RunnerProblem, RunnerProcess
from autograder.graphs.wire import MAX_ELEMENTS, MAX_RANK, graph_to_wire
from autograder.jail import JailedProcess

Images = NDArray[Any]
Labels = NDArray[Any]
Array = NDArray[np.float32]

Cut = tuple[int, int]
EVERY_STEP = -1  # as in worker/interpreter.py
DEFAULT_SECONDS = 60.0


@dataclass(frozen=True)
class GraphShapes:
    """Of a run on images of one shape: a shape per node (None where its value is no single tensor) and the costs.

    `macs_per_image` counts multiply-accumulates of convolutions, linear layers, matrix products and attention;
    `peak_bytes` is what the graph's values need at most at one time.
    """

    shapes: tuple[tuple[int, ...] | None, ...]
    macs_per_image: int
    peak_bytes: int


@dataclass(frozen=True)
class GradientStats:
    """Of one parameter's gradient: all entries finite, and the largest absolute entry (nan where not finite)."""

    finite: bool
    max_abs: float


@dataclass(frozen=True)
class Gradients:
    """The loss (nan where not finite) and the gradient of every parameter, by name; unused and frozen ones have 0."""

    parameters: Mapping[str, GradientStats]
    loss: float


@dataclass(frozen=True)
class SGD:
    """Steps of stochastic gradient descent, all on the same batch."""

    steps: int
    learning_rate: float
    momentum: float = 0.9


@dataclass(frozen=True)
class TrainingTrace:
    """The loss before each step, ending early at one that is not finite (nan), and the trained state's handle."""

    losses: tuple[float, ...]
    handle: int


@dataclass(frozen=True)
class _Known:
    """What a handle stands for: a graph to be loaded (again), or, without tensors, a state that one process holds."""

    graph: ModelGraph
    tensors: bytes | None = None


class Runner:
    """A jailed process that runs graphs, started when first needed and again after it died.

    start: gives a fresh jailed process that runs autograder.worker.graph_server. device: "auto" (CUDA where the jail
    has it), "cpu" or "cuda". seconds: the default deadline of a request; each method takes its own. seconds_in_all: for
    all requests until `forget`: models that each take just less than their time must not use up the grader's.
    """

    def __init__(
        self,
        start: Callable[[], JailedProcess],
        device: str = "auto",
        seconds: float = DEFAULT_SECONDS,
        seconds_in_all: float = math.inf,
    ) -> None:
        self._process = RunnerProcess(start, device, seconds_in_all)
        self._seconds = seconds
        self._known: dict[int, _Known] = {}
        self._next_handle = 1

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def device_name(self) -> str:
        """The device that graphs run on, "" before the first request."""
        return self._process.device_name

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def warm_up(self) -> None:
        """Start the process, so that it imports torch while the caller does something else; does not wait."""
        self._process.warm_up()

    def load(self, graph: ModelGraph, tensors: bytes, *, seconds: float | None = None) -> int:
        """A handle for the graph with its tensors (safetensors with the graph's keys)."""
        handle = self._new(_Known(graph, tensors))
        self._ensure(handle, self._deadline(seconds))
        return handle

    def release(self, handle: int) -> None:
        """Forget a handle."""
        self._known.pop(handle, None)
        if handle in self._process.loaded:
            self._process.loaded.discard(handle)
            with suppress(RunnerProblem):
                self._process.ask({"op": "release", "handle": handle}, b"", self._deadline(None))

    def allow(self, seconds: float) -> None:
        """Let all requests from now on take so many seconds together."""
        self._process.allow(seconds)

    def forget(self) -> None:
        """Release every handle: nothing of one submission is held while another is graded."""
        self._process.renew()
        for handle in list(self._known):
            self.release(handle)

    def shapes(self, handle: int, input_shape: tuple[int, ...], *, seconds: float | None = None) -> GraphShapes:
        """Shapes and costs for images of `input_shape` (N, C, H, W), without running them."""
        answer, _ = self._request({"op": "shapes", "handle": handle, "shape": list(input_shape)}, {}, seconds)
        shapes = answer.get("shapes")
        if not isinstance(shapes, list) or len(shapes) != len(self._known[handle].graph.nodes):
            self._process.distrust("shapes")
        return GraphShapes(
            tuple(None if shape is None else self._shape(shape) for shape in shapes),
            self._count(answer.get("macs_per_image")),
            self._count(answer.get("peak_bytes")),
        )

    def run(self, handle: int, images: Images, *, seconds: float | None = None) -> Array:
        """The graph's output for images float32 (N, C, H, W)."""
        return self._output({"op": "run", "handle": handle}, {"images": _float(images)}, seconds)

    def cut(
        self, handle: int, images: Images, cuts: Sequence[Collection[Cut]], *, seconds: float | None = None
    ) -> Array:
        """The outputs for images float32 (N, C, H, W), one for each of `cuts` (len(cuts), *output).

        At each place of a cut a value goes on with the images in reverse order: (step, value) where one step takes it,
        (EVERY_STEP, value) where all do. An empty cut gives the output as it is.
        """
        request = {"op": "cut", "handle": handle, "cuts": [[list(place) for place in cut] for cut in cuts]}
        outputs = self._output(request, {"images": _float(images)}, seconds)
        if len(outputs) != len(cuts):
            self._process.distrust("outputs")
        return outputs

    def values(self, handle: int, images: Images, nodes: Sequence[int], *, seconds: float | None = None) -> list[Array]:
        """The values of some nodes for images float32 (N, C, H, W), each as one row of numbers."""
        request = {"op": "values", "handle": handle, "nodes": list(nodes)}
        answer, content = self._request(request, {"images": _float(images)}, seconds)
        sizes = answer.get("sizes")
        if not isinstance(sizes, list) or len(sizes) != len(nodes):
            self._process.distrust("values")
        counts = [self._count(size) for size in sizes]
        if len(content) != 4 * sum(counts):
            self._process.distrust("values")
        return np.split(np.frombuffer(content, np.float32), np.cumsum(counts)[:-1])

    def evaluate(
        self,
        handle: int,
        images: Images,
        scale: Any,
        shift: Any,
        batch_size: int = 500,
        *,
        seconds: float | None = None,
    ) -> Array:
        """Outputs for uint8 images (N, C, H, W), normalised as x / 255 * scale + shift per channel."""
        request = {
            "op": "evaluate",
            "handle": handle,
            "scale": [float(value) for value in scale],
            "shift": [float(value) for value in shift],
            "batch": int(batch_size),
        }
        return self._output(request, {"images": np.ascontiguousarray(images, np.uint8)}, seconds)

    def gradients(
        self,
        handle: int,
        images: Images,
        labels: Labels,
        *,
        loss: str = "cross_entropy",
        seconds: float | None = None,
    ) -> Gradients:
        """Gradients of the loss: "cross_entropy" of logits and labels, or "square", the mean square of any output."""
        request = {"op": "gradients", "handle": handle, "loss": loss}
        answer, _ = self._request(request, _batch(images, labels), seconds)
        found = answer.get("parameters")
        wanted = {t.name for t in self._known[handle].graph.tensors if t.kind in {"parameter", "frozen"}}
        if not isinstance(found, dict) or set(found) != wanted:
            self._process.distrust("gradients")
        return Gradients({name: self._statistics(found[name]) for name in found}, self._number(answer.get("loss")))

    def loss(
        self,
        handle: int,
        images: Images,
        labels: Labels,
        *,
        loss: str = "cross_entropy",
        seconds: float | None = None,
    ) -> float:
        """The mean loss on a batch; nan where it is not finite."""
        request = {"op": "loss", "handle": handle, "loss": loss}
        answer, _ = self._request(request, _batch(images, labels), seconds)
        return self._number(answer.get("loss"))

    def train(
        self,
        handle: int,
        images: Images,
        labels: Labels,
        sgd: SGD,
        *,
        loss: str = "cross_entropy",
        seconds: float | None = None,
    ) -> TrainingTrace:
        """Train on one batch, from the graph's own state, which stays as it is."""
        new = self._new(_Known(self._known[handle].graph))
        request = {
            "op": "train",
            "handle": handle,
            "new": new,
            "steps": sgd.steps,
            "learning_rate": sgd.learning_rate,
            "momentum": sgd.momentum,
            "loss": loss,
        }
        answer, _ = self._request(request, _batch(images, labels), seconds)
        losses = answer.get("losses")
        if not isinstance(losses, list) or len(losses) > sgd.steps:
            self._process.distrust("losses")
        self._process.loaded.add(new)
        return TrainingTrace(tuple(self._number(value) for value in losses), new)

    def bind(self, handle: int, state: int, *, seconds: float | None = None) -> int:
        """A handle for `handle`'s graph with the parameters and buffers of `state` (a handle that `train` gave)."""
        new = self._new(_Known(self._known[handle].graph))
        self._ensure(state, self._deadline(seconds))
        self._request({"op": "bind", "handle": handle, "state": state, "new": new}, {}, seconds)
        self._process.loaded.add(new)
        return new

    def _new(self, known: _Known) -> int:
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._known[handle] = known
        return handle

    def _ensure(self, handle: int, deadline: float) -> None:
        """Load the handle's graph where this process does not have it (yet, or any more)."""
        self._process.greet()
        if handle in self._process.loaded:
            return
        known = self._known[handle]
        if known.tensors is None:
            raise RunnerProblem("ERROR", "the trained state was lost when the process that held it ended")
        self._process.ask(
            {"op": "load", "handle": handle, "graph": graph_to_wire(known.graph)}, known.tensors, deadline
        )
        self._process.loaded.add(handle)

    def _request(
        self, request: dict[str, Any], arrays: Mapping[str, NDArray[Any]], seconds: float | None
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request about a handle and give its answer. Raises RunnerProblem."""
        self._process.greet()
        deadline = self._deadline(seconds)
        self._ensure(request["handle"], deadline)
        if arrays:
            request = {**request, "arrays": [[array.dtype.name, list(array.shape)] for array in arrays.values()]}
        return self._process.ask(request, b"".join(array.tobytes() for array in arrays.values()), deadline)

    def _output(self, request: dict[str, Any], arrays: Mapping[str, NDArray[Any]], seconds: float | None) -> Array:
        answer, content = self._request(request, arrays, seconds)
        shape = self._shape(answer.get("shape"))
        if len(content) != 4 * math.prod(shape):
            self._process.distrust("output")
        return np.frombuffer(content, np.float32).reshape(shape)

    def _deadline(self, seconds: float | None) -> float:
        return time.monotonic() + (self._seconds if seconds is None else seconds)

    def _shape(self, value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > 2 * MAX_RANK:
            self._process.distrust("a shape")
        if not all(type(size) is int and 0 <= size <= 8 * MAX_ELEMENTS for size in value):
            self._process.distrust("a shape")
        if math.prod(size for size in value if size) > 8 * MAX_ELEMENTS:  # NumPy multiplies what is beside a zero, too
            self._process.distrust("a shape")
        return tuple(value)

    def _count(self, value: object) -> int:
        if type(value) is not int or not 0 <= value < 2**63:
            self._process.distrust("a count")
        return value

    def _number(self, value: object) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self._process.distrust("a number")
        return float(value)

    def _statistics(self, value: object) -> GradientStats:
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], bool):
            self._process.distrust("gradients")
        return GradientStats(value[0], self._number(value[1]))


def _float(images: Images) -> Array:
    return np.ascontiguousarray(images, np.float32)


def _batch(images: Images, labels: Labels) -> dict[str, NDArray[Any]]:
    return {"images": _float(images), "labels": np.ascontiguousarray(labels, np.int64)}


@dataclass(frozen=True, repr=False)  # pytest describes what a failing check was given, weights and all
class LoadedGraph:
    """One graph of a build, loaded into the runner."""

    graph: ModelGraph
    tensors: bytes
    handle: int
    info: GraphShapes

    @property
    def shapes(self) -> tuple[Any, ...]:
        """One shape per node, None where a node's value is no tensor."""
        return self.info.shapes
