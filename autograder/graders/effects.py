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

from autograder.graph import ModelGraph, Node
from autograder.runner import EVERY_STEP, Cut, Runner

Array = NDArray[Any]
Part = TypeVar("Part")
LEAST_INFLUENCE = 1e-3
LEAST_DEPENDENCE = 1e-4
# Parameters of another size than this start asleep, or far too large: see `awake`.
LEAST_ROOT_MEAN_SQUARE, MOST_ROOT_MEAN_SQUARE = 1e-3, 1e3
AWAKE = 0.1


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
    whole = root_mean_square(plain[::-1] - plain)
    changes = [root_mean_square(outputs - plain) for outputs in cut]
    return [change / whole if whole > 0 and np.isfinite(change) and np.isfinite(whole) else 0.0 for change in changes]


def dependence(plain: Array) -> float:
    """How much the outputs (N, ...) of images differ, as a part of the largest of their numbers."""
    values = plain.astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    change = root_mean_square(values[::-1] - values)
    return change / largest if largest > 0 and np.isfinite(change) and np.isfinite(largest) else 0.0


def root_mean_square(values: Array) -> float:
    """0 for nothing; the largest entry is taken out first, so that squares neither overflow nor vanish."""
    numbers = np.abs(values.astype(np.float64))
    largest = float(numbers.max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.mean((numbers / largest) ** 2)))


def awake(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors with parameters that start at zero, or nearly so, or very large, set to small random numbers.

    A residual branch whose last batch norm starts at 0 (Goyal et al. 2017), a layer scale of 1e-6 (Touvron et al. 2021)
    or a classifier that starts at 0 is a good idea, and hides what lies behind it until the first steps of training. A
    number written into `forward` stays what it is.
    """
    draws = np.random.RandomState(0)
    return _with_parameters(graph, tensors, lambda array: _woken(array, draws))


def other_parameters(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors with every parameter drawn anew, in its own size."""
    draws = np.random.RandomState(1)

    def drawn(array: Array) -> Array:
        size = min(max(root_mean_square(array), AWAKE), MOST_ROOT_MEAN_SQUARE)
        return draws.normal(0, size, array.shape).astype(array.dtype)

    return _with_parameters(graph, tensors, drawn)


def _woken(array: Array, draws: np.random.RandomState) -> Array:
    if LEAST_ROOT_MEAN_SQUARE <= root_mean_square(array) <= MOST_ROOT_MEAN_SQUARE:
        return array
    return draws.normal(0, AWAKE, array.shape).astype(array.dtype)


def _with_parameters(graph: ModelGraph, tensors: bytes, change: Callable[[Array], Array]) -> bytes:
    arrays = safetensors.numpy.load(tensors)
    changed: set[str] = set()  # tied parameters share their key
    for tensor in graph.tensors:
        array = arrays[tensor.key]
        if tensor.kind == "parameter" and tensor.key not in changed and array.dtype.kind == "f" and array.size:
            arrays[tensor.key] = change(array)
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
