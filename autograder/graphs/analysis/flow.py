"""Where data flows in a model graph: what is computed from the images, along which paths, and where gradients stop.

A value *carries data* when it is computed from the images' values, not only from their shape; a *path* runs along such
values; the *trunk* are the values that every path from the input to the output goes through.

A graph may write into values (`y[:, :8] = x`). `as_read` turns it into one without writes, as far as the flow of data
goes; everything here is said of that one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from autograder.graphs.model_graph import GraphRefused, ModelGraph, Node, Ref, Value, references
from autograder.graphs.operations import CONVOLUTIONS, GETITEM, OPERATIONS

Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]


class TooTangled(GraphRefused):
    """A graph whose examination would take more steps than it may; the message is for the student."""


def names(text: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" if "." in name else f"aten.{name}.default" for name in text.split())


# One value in, one of the same shape out, every entry from the same entry (or, for norms, its statistics).
ACTIVATIONS = names(
    "relu relu_ relu6 relu6_ gelu gelu_ silu silu_ leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ hardswish "
    "hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_ mish mish_ softplus prelu rrelu rrelu_ sigmoid sigmoid_ "
    "tanh tanh_ log_sigmoid threshold threshold_ softshrink hardshrink clamp clamp_ clamp_min clamp_min_ clamp_max "
    "clamp_max_ clip clip_ softmax.int log_softmax.int abs abs_ square square_ exp exp_"
)
NORMS = names("batch_norm group_norm layer_norm instance_norm rms_norm")
COPIES = names(
    "clone contiguous alias lift_fresh_copy to.dtype to.dtype_layout to.device to.other type_as detach neg nan_to_num"
)
RESHAPES = names(
    "view reshape view_as reshape_as flatten.using_ints unflatten.int ravel squeeze squeeze.dim squeeze.dims squeeze_ "
    "squeeze_.dim unsqueeze unsqueeze_ permute transpose.int swapaxes swapdims movedim.int movedim.intlist "
    "moveaxis.int moveaxis.intlist t numpy_T mT expand expand_as broadcast_to channel_shuffle flip roll"
)
POOLS = names(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
)
REDUCTIONS = names(
    "mean mean.dim sum sum.dim_IntList amax amin max.dim min.dim logsumexp linalg_vector_norm norm.ScalarOpt_dim "
    "median.dim"
)
RESIZES = names(
    "slice.Tensor narrow select.int index.Tensor index_select pad cat concat concatenate upsample_nearest2d.vec "
    "upsample_bilinear2d.vec upsample_bicubic2d.vec _upsample_nearest_exact2d.vec pixel_unshuffle pixel_shuffle "
    "split.Tensor split_with_sizes split.sizes chunk copy_ index_put_"
) | {GETITEM}
SCALINGS = names("mul.Tensor mul_.Tensor div.Tensor div_.Tensor mul.Scalar div.Scalar sub.Tensor sub.Scalar")
PRODUCTS = names("mul.Tensor mul_.Tensor")
ADDITIONS = names("add.Tensor add_.Tensor")
MATRIX_PRODUCTS = names("linear matmul mm mv addmm einsum tensordot inner")
_STOPS = names("detach argmax argmin")  # gradients end here
# Only the shape of their argument is used, not its values.
SHAPE_ONLY = names(
    "zeros_like ones_like full_like rand_like randn_like new_zeros new_ones new_full sym_size.int sym_numel"
)
AVERAGES = names(
    "mean mean.dim sum sum.dim_IntList adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d "
    "avg_pool2d avg_pool3d"
)
MAXIMA = names(
    "amax max.dim adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool1d max_pool2d max_pool3d "
    "max_pool2d_with_indices"
)
OUTPUT_ACTIVATIONS = ACTIVATIONS | names("glu")


def first(node: Node) -> int:
    """The node of the first argument."""
    return node.inputs[0]


@dataclass(frozen=True)
class _Readings:
    """A graph in which in-place writes are made functional; `wholes`: write -> the value that it changes."""

    graph: ModelGraph
    wholes: Mapping[int, int]


def without_in_place_writes(graph: ModelGraph, shapes: Shapes) -> tuple[ModelGraph, Shapes]:
    """The graph in which a reader refers to the last write into what it reads, and the shapes of its values.

    After `y[:, :8] = x` the graph that runs goes on with y, which does not say that x has become part of it; here it
    goes on with the write, which takes both, and has y's shape. Of a graph without writes nothing changes.
    """
    readings = _readings(graph)
    if not readings.wholes:
        return graph, shapes
    adapted = list(shapes)
    for write, whole in readings.wholes.items():
        if math.prod(adapted[write] or ()) != math.prod(adapted[whole] or ()):  # a part of it was written
            adapted[write] = adapted[whole]
    return readings.graph, adapted


@lru_cache(maxsize=64)
def _readings(graph: ModelGraph) -> _Readings:
    parents: list[int | None] = []  # the value whose memory a view shows
    newer: dict[int, int] = {}  # value -> the write that took its place
    wholes: dict[int, int] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        read = replace(node, args=tuple(_newest_in(value, newer) for value in node.args)) if newer else node
        nodes.append(read)
        written, shown = _memory(read)
        parents.append(shown)
        place = written
        while place is not None:  # all that contain what is written; a view of another part keeps its value
            place = _newest(place, newer)
            wholes[node.index], newer[place], place = place, node.index, parents[place]
    changed = any(new.args != old.args for new, old in zip(nodes, graph.nodes, strict=True))
    return _Readings(replace(graph, nodes=tuple(nodes)), wholes) if changed else _Readings(graph, {})


def _memory(node: Node) -> tuple[int | None, int | None]:
    """The value that a node writes into, and the value of which it is a view; None where there is none."""
    if node.operation == GETITEM:
        return None, first(node)
    operation = OPERATIONS.get(node.operation)
    for kind, value in zip(operation.kinds, node.args, strict=False) if operation else ():
        found = references(value) if kind[-1] in "!&" else []
        if found:
            return (found[0], None) if kind[-1] == "!" else (None, found[0])
    return None, None


def _newest(index: int, newer: dict[int, int]) -> int:
    """The last write that took the place of a value, or the value itself; long ways are shortened for the next."""
    way = []
    while index in newer:
        way.append(index)
        index = newer[index]
    newer.update(dict.fromkeys(way, index))
    return index


def _newest_in(value: Value, newer: dict[int, int]) -> Value:
    if isinstance(value, Ref):
        return Ref(_newest(value.index, newer))
    return tuple(_newest_in(item, newer) for item in value) if isinstance(value, tuple) else value


@lru_cache(maxsize=64)
def carries_data(graph: ModelGraph) -> tuple[bool, ...]:
    """Per node: its value is computed from the images' values."""
    graph = _readings(graph).graph
    carries: list[bool] = []
    for node in graph.nodes:
        alive = node.kind == "input" or (node.operation not in SHAPE_ONLY and any(carries[i] for i in node.inputs))
        carries.append(alive)
    return tuple(carries)


@lru_cache(maxsize=64)
def users_of(graph: ModelGraph) -> tuple[tuple[int, ...], ...]:
    """Per node: the nodes that take its values."""
    users: list[list[int]] = [[] for _ in graph.nodes]
    for node in graph.nodes:
        for i in dict.fromkeys(node.inputs):
            if node.operation not in SHAPE_ONLY:
                users[i].append(node.index)
    return tuple(tuple(entry) for entry in users)


@lru_cache(maxsize=64)
def data_path(graph: ModelGraph) -> tuple[int, ...]:
    """Nodes on a path from the input to the output, in order."""
    carries, needed = carries_data(graph), {graph.output}
    for node in reversed(graph.nodes):
        if node.index in needed and node.operation not in SHAPE_ONLY:
            needed.update(node.inputs)
    return tuple(i for i in sorted(needed) if carries[i])


@lru_cache(maxsize=64)
def trunk_of(graph: ModelGraph, path: tuple[int, ...]) -> tuple[int, ...]:
    """Nodes that every path goes through: no value from before them is used after them."""
    on_path, users = set(path), users_of(graph)
    trunk, furthest = [], 0
    for i in path:
        if furthest <= i:
            trunk.append(i)
        furthest = max([furthest, *(u for u in users[i] if u in on_path)])
    return tuple(trunk)


def passes_gradient(node: Node) -> bool:
    return node.grad and node.operation not in _STOPS


@dataclass(frozen=True)
class Reach:
    """Per node, as bits of an integer: the nodes whose data it is computed from, and those computed from it.

    Integers, since a set per node would take minutes and gigabytes for a graph made to do so.
    """

    ancestors: tuple[int, ...]
    descendants: tuple[int, ...]


@lru_cache(maxsize=8)
def reach(graph: ModelGraph, differentiable: bool) -> Reach:
    """Who depends on whom; with `differentiable`, only where gradients pass. A node reaches itself."""
    carries = carries_data(graph)
    ancestors: list[int] = []
    descendants = [1 << i for i in range(len(graph.nodes))]
    sources: list[list[int]] = []
    for node in graph.nodes:
        open_to_gradients = passes_gradient(node) or not differentiable
        usable = carries[node.index] and node.kind == "call" and open_to_gradients
        sources.append([i for i in node.inputs if carries[i]] if usable else [])
        mask = 1 << node.index
        for i in sources[-1]:
            mask |= ancestors[i]
        ancestors.append(mask)
    for index in reversed(range(len(graph.nodes))):
        for i in sources[index]:
            descendants[i] |= descendants[index]
    return Reach(tuple(ancestors), tuple(descendants))


@lru_cache(maxsize=8)
def tensor_masks(graph: ModelGraph, differentiable: bool) -> tuple[int, ...]:
    """Per node, as bits: the numbers of the tensors that it is computed from (and that gradients would reach)."""
    masks: list[int] = []
    for node in graph.nodes:
        mask = 1 << node.tensor if node.kind == "tensor" else 0
        if node.operation not in SHAPE_ONLY and (not differentiable or passes_gradient(node)):
            for i in node.inputs:
                mask |= masks[i]
        masks.append(mask)
    return tuple(masks)


@lru_cache(maxsize=8)
def kind_masks(graph: ModelGraph) -> Mapping[str, int]:
    """Per kind of tensor, as bits: the numbers of the tensors of that kind."""
    masks: dict[str, int] = {}
    for number, tensor in enumerate(graph.tensors):
        masks[tensor.kind] = masks.get(tensor.kind, 0) | 1 << number
    return masks


def bits(mask: int) -> list[int]:
    return [i for i, bit in enumerate(reversed(bin(mask)[2:])) if bit == "1"]


@lru_cache(maxsize=8)
def convolution_mask(graph: ModelGraph) -> int:
    carries = carries_data(graph)
    return sum(1 << n.index for n in graph.nodes if n.operation in CONVOLUTIONS and carries[first(n)])
