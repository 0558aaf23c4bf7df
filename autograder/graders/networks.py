"""A student's network as the hidden graders look at it: its graphs, what they compute, and checks several share."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from autograder.checks import CheckContext, CheckEnded, fail
from autograder.core.grade_report import Status
from autograder.core.source_lines import LINES_PER_CELL
from autograder.graders.answers import answered, evidence_for
from autograder.graders.effects import (
    LEAST_DEPENDENCE,
    Effects,
    initialised,
    with_batch_statistics,
)
from autograder.graphs.analysis import (
    Convolution,
    Head,
    Linear,
    convolutions,
    head,
    overwritten,
)
from autograder.graphs.model_graph import GraphRefused, ModelGraph, Node, Ref
from autograder.graphs.operations import WEIGHT_STARTS
from autograder.graphs.runner import LoadedGraph, Runner
from autograder.graphs.runner_process import RunnerProblem
from autograder.graphs.state import check_tensors, state_differences
from autograder.judging.evidence import EXPORTED_BATCH, Build
from autograder.judging.problems import Problem

Images = NDArray[np.float32]
Array = NDArray[Any]
DEFAULT_CLASSES = 10
PATTERN = 4  # pixels on each side, before it is enlarged to an image


class DiscreetRunner:
    """A runner for a network that was built with numbers from the course's secret: it says how a run ended, in words of
    its own. What the network's operations say of it holds sizes, which are made of those numbers."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner, self._name = runner, name

    def __getattr__(self, what: str) -> Any:
        method = getattr(self._runner, what)
        return partial(self._call, method) if callable(method) else method

    def _call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except RunnerProblem as problem:
            message = (
                f"`{self._name}` {ENDED.get(problem.status, 'fails')} for some arguments; try different ones yourself"
            )
            raise RunnerProblem(problem.status, message, problem.line) from problem


UNUSABLE = "the graph of the network cannot be used for some arguments; try different ones yourself"
ENDED = {
    "TIMEOUT": "takes too long",
    "OUT_OF_MEMORY": "needs more memory than there is",
    "CRASHED": "ends the process that runs it",
    "REFUSED": "is too large, or does what a graph may not do",
}


@dataclass(repr=False)
class Network:
    """One build of a student's module. Everything is looked up when a check first needs it, and kept.

    A property ends the check that asks for it, with the problem's own status, where the evidence is missing: so every
    check needs just the evidence that it looks at.
    """

    name: str
    build: Build
    runner: Runner
    secret: bytes
    size: int  # of the images of the first export
    told: set[str] = field(default_factory=set)  # what a check of the module has said, which the next need not repeat
    _exports: dict[tuple[bool, int], LoadedGraph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.is_drawn:
            self.runner = cast(Runner, DiscreetRunner(self.runner, self.name))

    @property
    def is_drawn(self) -> bool:
        """Whether it was built with arguments from the course's secret, which no message may show."""
        return self.build.drawn

    @property
    def classes(self) -> int:
        """The number of classes that was asked for."""
        return int(self.build.arguments.get("num_classes", DEFAULT_CLASSES))

    @property
    def evaluation(self) -> LoadedGraph:
        """The graph in eval mode, as it is judged and evaluated, with noise switched off.

        Noise that stays on is one mistake and costs one check: everything else is judged without it.
        """
        return self.export(training=False)

    @property
    def training(self) -> LoadedGraph:
        """The graph in training mode; it must be the same model."""
        evaluation = self.graph(False, self.size)  # a network that is none in eval mode, either, has one problem
        export = self.export(training=True)
        differences = state_differences(evaluation, export.graph)
        if differences:
            fail(f"`{self.name}` has other parameters in training than in evaluation: create all of them in __init__")
        return export

    @property
    def looked_at(self) -> LoadedGraph | None:
        """The graph in eval mode where a check has asked for it already; nothing is loaded for it."""
        return self._exports.get((False, self.size))

    def export(self, *, training: bool, size: int | None = None) -> LoadedGraph:
        """The export of a mode and image size, loaded. Ends the check where there is none."""
        key = (training, self.size if size is None else size)
        if key not in self._exports:
            graph = self.graph(*key)
            if not training:
                graph = without_noise(graph)
            handle = self.runner.load(graph, self.build.tensors)
            info = self.runner.shapes(handle, graph.input_shape)
            self._exports[key] = LoadedGraph(graph, self.build.tensors, handle, info)
        return self._exports[key]

    def graph(self, training: bool, size: int) -> ModelGraph:
        """The graph as it came, checked against its tensors. Ends the check where there is none."""
        found = self.problem_or_graph(training, size)
        if isinstance(found, Problem) and found.returned:
            self.refuse_output(found, training)
        graph = answered(self.name, found, drawn=self.is_drawn)
        try:
            check_tensors(graph, self.build.tensors)
        except GraphRefused as error:
            fail(UNUSABLE if self.is_drawn else str(error), line=error.line)
        return graph

    def refuse_output(self, problem: Problem, training: bool) -> NoReturn:
        """End the check because forward does not return one tensor. The first check says so, the others refer to it.

        Where it is so in training mode only, as with GoogLeNet's auxiliary classifiers, the program is valid, and a
        person decides.
        """
        mode = "in training mode " if training else ""
        status, short = (Status.UNSUPPORTED, "undecided") if training else (Status.SKIPPED, "not judged")
        if mode in self.told:
            raise CheckEnded(status, f"{short}, because {mode}`forward` does not return one tensor")
        self.told.add(mode)
        message = f"`forward` must return its one result, a tensor, and nothing else; it returns {problem.returned}"
        if training:
            message = f"{mode}`forward` returns {problem.returned}; the grader can compute a loss of one tensor only"
        line = problem.cell * LINES_PER_CELL + problem.line
        raise CheckEnded(Status.UNSUPPORTED if training else Status.FAILED, message, line)

    def problem_or_graph(self, training: bool, size: int) -> ModelGraph | Problem:
        """What came for one export."""
        return self.build.problem or self.build.graphs[training, size]

    def images(self, count: int = EXPORTED_BATCH, size: int | None = None, part: str = "") -> Images:
        """Standard normal images (count, C, H, W), the same for everybody."""
        draws = random_state(self.secret, f"images/{self.name}/{part}")
        channels = self.graph(False, self.size).input_shape[1]
        side = self.size if size is None else size
        return draws.standard_normal((count, channels, side, side)).astype(np.float32)

    def learnable_images(self, count: int) -> Images:
        """Images that show their label: a smooth pattern for each class, half hidden by noise.

        Pure noise will not do: global average pooling leaves hardly any difference between two noise images.
        """
        noise = self.images(count, part="learnable")
        coarse = self.images(self.classes, PATTERN, part="patterns")
        patterns = coarse.repeat(self.size // PATTERN, axis=2).repeat(self.size // PATTERN, axis=3)
        return (patterns[self.labels(count)] + 0.5 * noise).astype(np.float32)

    def varied_images(self, count: int) -> Images:
        """Images that differ as much as a size allows: by patterns, else by noise."""
        return self.learnable_images(count) if self.size % PATTERN == 0 else self.images(count)

    def labels(self, count: int) -> NDArray[np.int64]:
        """Labels that go round all classes."""
        return np.arange(count, dtype=np.int64) % self.classes

    @property
    def batch(self) -> int:
        """The batch size that every check can use: the one that the code fixes, else that of the export."""
        return self.evaluation.graph.batch or EXPORTED_BATCH

    def takes(self, count: int) -> bool:
        """Whether the network runs on this number of images at a time."""
        if self.evaluation.graph.batch not in (None, count):
            return False
        try:
            return len(self.logits(self.images(count))) == count
        except RunnerProblem as problem:
            if problem.status != "ERROR":
                raise
            return False

    def logits(self, images: Images, export: LoadedGraph | None = None) -> Array:
        """What the network computes in eval mode."""
        return self.runner.run((export or self.evaluation).handle, images)

    @cached_property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In execution order, from the eval graph."""
        return convolutions(self.evaluation.graph, self.evaluation.shapes)

    @cached_property
    def effects(self) -> Effects:
        """How parts of the network act on its logits, before any training, with weights of the usual size.

        Batch norms normalise by the batch, but where there are too few values for that.
        """
        graph = without_dropout(self.graph(False, self.size))  # weights that forward draws are the same for each cut
        tensors, images = initialised(graph, self.build.tensors), self.varied_images(self.batch)
        found = Effects(self.runner, self.runner.load(with_batch_statistics(graph), tensors), images)
        try:
            _ = found.plain
        except RunnerProblem as problem:
            if problem.status != "ERROR":
                raise
            return Effects(self.runner, self.runner.load(graph, tensors), images)
        return found

    @cached_property
    def training_effects(self) -> Effects:
        """The same of the graph in training mode, with its noise."""
        export = self.training
        handle = self.runner.load(export.graph, initialised(export.graph, export.tensors))
        return Effects(self.runner, handle, self.varied_images(export.graph.batch or EXPORTED_BATCH))

    @property
    def is_dead(self) -> bool:
        """Whether the logits hardly depend on the image, or are no numbers: then no part has an effect to be seen.

        Where that cannot be found out, the checks say why.
        """
        try:
            return self.effects.dependence < LEAST_DEPENDENCE
        except (CheckEnded, RunnerProblem):
            return False

    @cached_property
    def head(self) -> Head:
        """Everything after the last feature map, from the eval graph."""
        return head(self.evaluation.graph, self.evaluation.shapes)


def expect_rows(network: Network) -> None:
    """End the check where the logits have not one row for each image: the check of the logits says so."""
    if network.logits(network.images(network.batch)).shape[:1] != (network.batch,):
        raise CheckEnded(Status.SKIPPED, "not judged, because the logits have not one row for each image")


@contextmanager
def differentiating(network: Network, export: LoadedGraph) -> Iterator[None]:
    """Say which line takes away what the gradient needs, where that is why no gradient can be computed."""
    try:
        yield
    except RunnerProblem as problem:
        # What fails on the way forward has a line; on the way back, nothing else than such a write can.
        write = overwritten(export.graph) if problem.status == "ERROR" and not problem.line else None
        if write is None:
            raise
        fail(
            f"the loss of `{network.name}` has no gradient: here a value is overwritten in place (+=, mul_, "
            "inplace=True) that the gradient of an earlier step still needs. Make a new value: x = x + y, or leave "
            "inplace out",
            line=write.line,
        )


def random_state(secret: bytes, words: str) -> np.random.RandomState:
    """Draws that depend on the course's secret and the words only (HMAC-SHA256)."""
    return np.random.RandomState(np.frombuffer(hmac.new(secret, words.encode(), hashlib.sha256).digest(), "<u4"))


def networks(graded: CheckContext, name: str) -> list[Network]:
    """All builds of a module, the same objects each time."""
    if name not in graded.networks:
        size = next(probe.image_sizes[0] for probe in graded.exercise.modules if probe.name == name)
        builds = evidence_for(graded.evidence.modules, name)
        told: set[str] = set()
        graded.networks[name] = [Network(name, b, graded.runner, graded.secret, size, told) for b in builds]
    found: list[Network] = graded.networks[name]
    return found


NOISE = frozenset(
    f"aten.{kind}.default"
    for kind in ("dropout", "dropout_", "feature_dropout", "feature_dropout_", "alpha_dropout", "alpha_dropout_",
                 "feature_alpha_dropout", "feature_alpha_dropout_")
)  # fmt: skip


def without_dropout(graph: ModelGraph) -> ModelGraph:
    """The same graph with every dropout off: `dropout(x, p, train)`."""

    def quiet(node: Node) -> Node:
        return replace(node, args=(*node.args[:2], False)) if node.operation in NOISE else node

    return replace(graph, nodes=tuple(map(quiet, graph.nodes)))


def without_noise(graph: ModelGraph) -> ModelGraph:
    """The same graph with every dropout off, and zeros for weights that forward draws."""

    def quiet(node: Node) -> Node:
        if node.operation in WEIGHT_STARTS:
            return replace(node, operation="aten.clone.default", args=(node.args[0], None))
        return node

    return replace(graph, nodes=tuple(map(quiet, without_dropout(graph).nodes)))


def up_to(graph: ModelGraph, index: int) -> ModelGraph:
    """The part of a graph that computes the value of one node, returned instead of the graph's own output."""
    return replace(graph, nodes=(*graph.nodes[: index + 1], Node(index + 1, "output", args=(Ref(index),))))


def expect_alive(network: Network) -> None:
    """End the check where nothing in the network has an effect: the check of the logits says so."""
    if network.is_dead:
        expect_rows(network)  # of a single row for all images, none differs from another
        why = "hardly depend on the image" if network.effects.is_finite else "are not all finite"
        raise CheckEnded(Status.SKIPPED, f"not judged, because the logits {why}")


def layer_kind(layer: Convolution | Linear) -> str:
    return "linear layer" if isinstance(layer, Linear) else "convolution"
