"""Where a network takes height and width away for images of any size, and where its maps have only become small.

On 1×1 maps shapes do not tell the two apart: five strides of 2 make 1×1 of a 32×32 image, as a global average does of
any. So the axes that are height and width are followed through the graph, and what counts is a step that reduces them
by name: `mean(dim=(2, 3))`, an adaptive pooling to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autograder.graphs.analysis.flow import REDUCTIONS, RESHAPES, Shape, Shapes, carries_data, names
from autograder.graphs.model_graph import ModelGraph, Node, Value
from autograder.graphs.operations import CONVOLUTIONS, EINSUM

Axes = tuple[int, ...]
_ADAPTIVE = names(
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d"
)
_DIMENSIONS = dict.fromkeys(names("linalg_vector_norm norm.ScalarOpt_dim"), 2)  # the place of the axes, if not 1
_SWAPS, _MOVES = (
    names("transpose.int swapaxes swapdims"),
    names("movedim.int movedim.intlist moveaxis.int moveaxis.intlist"),
)
_ORDERS = _SWAPS | _MOVES | names("permute")


@dataclass(frozen=True)
class Extent:
    """What became of height and width in a value: their axes, none where they are gone or cannot be told; and whether
    it is computed only from values in which one of them was reduced, whatever the image's size."""

    axes: Axes = ()
    is_reduced: bool = False


def extents(graph: ModelGraph, shapes: Shapes) -> tuple[Extent, ...]:
    """The extent of each node's value. `graph` and `shapes` are as they are read (`without_in_place_writes`)."""
    carries = carries_data(graph)
    found: list[Extent] = []
    for node in graph.nodes:
        if node.kind == "input":
            found.append(Extent(_spatial(shapes[node.index])))
        elif carries[node.index] and node.kind == "call":
            extent, shape = _extent(node, [i for i in node.inputs if carries[i]], found, shapes), shapes[node.index]
            is_known = shape is None or all(axis < len(shape) for axis in extent.axes)
            found.append(extent if is_known else replace(extent, axes=()))
        else:
            found.append(Extent())
    return tuple(found)


def _spatial(shape: Shape | None) -> Axes:
    """All axes behind images and channels."""
    return tuple(range(2, len(shape or ())))


def _extent(node: Node, data: Sequence[int], found: Sequence[Extent], shapes: Shapes) -> Extent:
    after = shapes[node.index]
    is_reduced = all(found[i].is_reduced for i in data)
    if node.operation in CONVOLUTIONS:
        return Extent(_spatial(after), is_reduced)
    # Of `x * gate(x)` the axes are those of x: of the first value of the same rank.
    place = next((i for i in data if len(shapes[i] or ()) == len(after or ()) and found[i].axes), data[0])
    before, axes = shapes[place] or after or (), found[place].axes
    after = after or before  # several results, of which each has the axes of what was divided
    if node.operation in REDUCTIONS:
        gone = set(_reduced_axes(node, len(before))) & set(axes)
        return Extent(_without(axes, gone, keeps=len(after) == len(before)), is_reduced or bool(gone))
    if node.operation in _ADAPTIVE:
        sizes = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        pooled = range(len(before) - len(sizes), len(before))
        gone = {axis for axis, size in zip(pooled, sizes, strict=True) if size == 1}
        return Extent(axes, is_reduced or not gone.isdisjoint(axes))
    if node.operation == EINSUM:
        left, is_summed = _einsum(node, place, axes)
        return Extent(left, is_reduced or (is_summed and len(after) < len(before)))
    if node.operation in _ORDERS:
        return Extent(_reordered(node, axes, len(before)), is_reduced)
    if node.operation in RESHAPES:
        return Extent(_reshaped(axes, before, after), is_reduced)
    return Extent(axes if len(after) == len(before) else (), is_reduced)


def _reduced_axes(node: Node, rank: int) -> list[int]:
    """The axes that a reduction takes away, 0 or above; none where it takes all, images included."""
    value = node.args[_DIMENSIONS.get(node.operation, 1)] if len(node.args) > 1 else None
    return _places(value, rank)


def _places(value: Value, rank: int) -> list[int]:
    """Axes as a call names them, one or several, negative or not, as 0 or above."""
    chosen = value if isinstance(value, tuple) else (value,)
    return [axis % rank for axis in chosen if isinstance(axis, int)] if rank else []


def _without(axes: Axes, gone: set[int], *, keeps: bool) -> Axes:
    """What is left of axes, numbered anew unless a reduction keeps those that it takes away, as axes of size 1."""
    return tuple(axis - (0 if keeps else sum(other < axis for other in gone)) for axis in axes if axis not in gone)


def _einsum(node: Node, place: int, axes: Axes) -> tuple[Axes, bool]:
    """Where the axes of one factor stand in an einsum's result, and whether one of them is summed up."""
    if not isinstance(node.args[0], str) or "." in node.args[0]:
        return (), False
    inputs, _, output = node.args[0].replace(" ", "").partition("->")
    letters = dict(zip(node.inputs, inputs.split(","), strict=False)).get(place, "")
    own = [letters[axis] for axis in axes if axis < len(letters)]
    return tuple(output.index(letter) for letter in own if letter in output), any(x not in output for x in own)


def _reordered(node: Node, axes: Axes, rank: int) -> Axes:
    """Where axes are after a permutation."""
    if not axes:
        return ()
    chosen = [_places(value, rank) for value in node.args[1:]]
    order = list(range(rank))
    if node.operation in _SWAPS:
        one, other = chosen[0][0], chosen[1][0]
        order[one], order[other] = order[other], order[one]
    elif node.operation in _MOVES:
        order = [axis for axis in order if axis not in chosen[0]]
        for target, source in sorted(zip(chosen[1], chosen[0], strict=False)):
            order.insert(target, source)
    else:
        order = chosen[0]
    return tuple(order.index(axis) for axis in axes if axis in order)


def _reshaped(axes: Axes, before: Shape, after: Shape) -> Axes:
    """Where axes are after a reshape that leaves images and channels as they are; nothing where it does not."""
    if not axes or before == after:
        return axes
    low, high = axes[0], axes[-1] + 1
    spread = len(after) - len(before) + high - low  # axes that height and width have become: merged, or divided
    around = before[:low] + before[high:]
    return tuple(range(low, low + spread)) if after[:low] + after[low + spread :] == around else ()
