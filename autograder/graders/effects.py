"""Whether a part of a network has an effect, not only a place in its graph: what is cut must change the logits.

A cut lets a value go on with the images of the batch in reverse order, so that every image gets another one's. How much
that changes the logits, as a part of what exchanging the images themselves does, is the part's *influence*: 1 where
everything goes through it, 0 where nothing depends on it.

Figures on the bounds come from `python -m bench.effects`, over all designs and known architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from autograder.graphs.analysis.flow import PRODUCTS, RESHAPES
from autograder.graphs.model_graph import ModelGraph, Node
from autograder.graphs.runner import EVERY_STEP, Cut, Runner

Array = NDArray[Any]
Part = TypeVar("Part")
LEAST_INFLUENCE = 1e-3  # least of 115 correct networks: 0.012, a layer scale in a small ConvNeXt
LEAST_DEPENDENCE = 1e-3  # least: 0.038, SqueezeNet
# Root mean squares of parameters, see `awake`: from the first on they take part, below the second none starts but at 0.
AWAKE_FROM, LEAST_ASLEEP = 1e-3, 1e-8
AWAKE, AWAKE_FACTOR = 0.1, 1.0  # a factor that an image's values are multiplied by is of another size than a weight


@dataclass
class Effects:
    """How parts of a loaded graph act on its output for `images` (N, C, H, W)."""

    runner: Runner
    handle: int
    images: Array

    @cached_property
    def plain(self) -> Array:
        """The output as it is."""
        outputs: Array = self.runner.cut(self.handle, self.images, [()])[0]
        return outputs

    @property
    def is_finite(self) -> bool:
        """Whether all of the output are numbers, neither NaN nor infinite."""
        return bool(np.isfinite(self.plain).all())

    @property
    def dependence(self) -> float:
        """How much the output for one image differs from another's, as a part of its largest number."""
        return dependence(self.plain)

    def influences(self, cuts: Sequence[Sequence[Cut]]) -> list[float]:
        """The influence of what is cut each time."""
        return influences(self.plain, self.runner.cut(self.handle, self.images, cuts)) if cuts else []

    def effective(self, parts: Sequence[tuple[Part, Sequence[Cut]]], enough: int) -> list[Part]:
        """Of parts, each with the places that it consists of, those of which every place has influence; the search
        ends with `enough` of them, since each takes a run of the network."""
        found: list[Part] = []
        for part, places in parts:
            if len(found) == enough:
                break
            if min(self.influences([(place,) for place in places]), default=0.0) >= LEAST_INFLUENCE:
                found.append(part)
        return found


def everywhere(node: int) -> list[Cut]:
    """A value wherever it is taken, as the one place of a part."""
    return [(EVERY_STEP, node)]


def influences(plain: Array, cut: Array) -> list[float]:
    """The influence of each cut from the outputs as they are (N, ...) and those with each cut (cuts, N, ...); 0 where
    they are not finite, or do not depend on the image."""
    if plain.ndim == 0:
        return [0.0] * len(cut)
    whole = root_mean_square(_difference(plain[::-1], plain))
    changes = [root_mean_square(_difference(outputs, plain)) for outputs in cut]
    return [change / whole if whole > 0 and np.isfinite(change) and np.isfinite(whole) else 0.0 for change in changes]


def dependence(plain: Array) -> float:
    """How much the outputs (N, ...) of images differ, as a part of the largest of their numbers."""
    if plain.ndim == 0:
        return 0.0
    largest = float(np.abs(plain.astype(np.float64)).max(initial=0.0))
    change = root_mean_square(_difference(plain[::-1], plain))
    return change / largest if largest > 0 and np.isfinite(change) and np.isfinite(largest) else 0.0


def _difference(one: Array, other: Array) -> Array:
    """In double precision; NaN where infinity meets infinity."""
    with np.errstate(invalid="ignore"):
        difference: Array = one.astype(np.float64) - other
    return difference


def root_mean_square(values: Array) -> float:
    """0 for nothing; the largest entry is taken out first, so that squares neither overflow nor vanish."""
    numbers = np.abs(values.astype(np.float64))
    largest = float(numbers.max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.mean((numbers / largest) ** 2)))


def awake(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors with parameters that start asleep set to numbers with which they take part.

    A residual branch whose last batch norm starts at 0 (Goyal et al. 2017), a layer scale of 1e-6 (Touvron et al. 2021)
    or a classifier that starts at 0 is a good idea, and hides what lies behind it until the first steps of training.
    A number written into `forward` stays what it is, and so does a parameter smaller than any of these.
    """
    draws, found = np.random.RandomState(0), factors(graph)

    def woken(array: Array, key: str) -> Array:
        if not is_asleep(array):
            return array
        size = AWAKE_FACTOR if key in found else AWAKE
        # Never near 0, as a normal draw may be: of a layer scale there is one.
        values = size * draws.uniform(0.5, 1.5, array.shape) * draws.choice((-1, 1), array.shape)
        return np.asarray(values, array.dtype)

    return _with_parameters(graph, tensors, woken)


def initialised(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors, awake, with every matrix and kernel drawn as He et al. (2015) do: an effect that they show is one of
    the network's form. As they start, some correct networks show hardly any: a branch of a small ConvNeXt with its
    weights of 0.02 adds one part in a thousand.
    """
    draws = np.random.RandomState(2)

    def drawn(array: Array, _key: str) -> Array:
        if array.ndim < 2 or max(array.shape) == array.size or is_lost(array):
            return array
        return draws.normal(0, np.sqrt(2 / np.prod(array.shape[1:])), array.shape).astype(array.dtype)

    return _with_parameters(graph, awake(graph, tensors), drawn)


def is_asleep(array: Array) -> bool:
    """Whether a parameter starts at 0, or nearly so."""
    return root_mean_square(array) < AWAKE_FROM and not is_lost(array)


def is_lost(array: Array) -> bool:
    """Whether a parameter starts smaller than any initialisation makes it."""
    return 0 < root_mean_square(array) < LEAST_ASLEEP


def factors(graph: ModelGraph) -> set[str]:
    """The keys of parameters that multiply something: as they are, or in another shape."""
    sources: dict[int, str] = {}
    found: set[str] = set()
    for node in graph.nodes:
        if node.tensor >= 0:
            sources[node.index] = graph.tensors[node.tensor].key
        elif node.operation in RESHAPES and node.inputs[:1] and node.inputs[0] in sources:
            sources[node.index] = sources[node.inputs[0]]
        elif node.operation in PRODUCTS:
            found |= {sources[i] for i in node.inputs if i in sources}
    return found


MOST_DRAWN = 1e3


def other_parameters(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors with every parameter drawn anew, in its own size."""
    draws = np.random.RandomState(1)

    def drawn(array: Array, _key: str) -> Array:
        size = min(max(root_mean_square(array), AWAKE), MOST_DRAWN)
        return draws.normal(0, size, array.shape).astype(array.dtype)

    return _with_parameters(graph, tensors, drawn)


def _with_parameters(graph: ModelGraph, tensors: bytes, change: Callable[[Array, str], Array]) -> bytes:
    arrays = safetensors.numpy.load(tensors)
    changed: set[str] = set()  # tied parameters share their key
    for tensor in graph.tensors:
        array = arrays[tensor.key]
        if tensor.kind == "parameter" and tensor.key not in changed and array.dtype.kind == "f" and array.size:
            arrays[tensor.key] = change(array, tensor.key)
            changed.add(tensor.key)
    return safetensors.numpy.save(arrays)


def with_batch_statistics(graph: ModelGraph) -> ModelGraph:
    """The same graph with every batch norm normalising by the batch: before training, the running statistics are those
    of nothing, and in a deep network the image fades away, or drowns the rest."""
    place = 5  # batch_norm(input, weight, bias, running_mean, running_var, training, …)

    def changed(node: Node) -> Node:
        if node.operation != "aten.batch_norm.default":
            return node
        return replace(node, args=(*node.args[:3], None, None, True, *node.args[place + 1 :]))

    return replace(graph, nodes=tuple(map(changed, graph.nodes)))
