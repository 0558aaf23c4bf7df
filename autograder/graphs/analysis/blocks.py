"""A network's blocks: its trunk of feature maps, cut where that explains the design best."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autograder.graphs.analysis.extent import extents
from autograder.graphs.analysis.flow import (
    POOLS,
    REDUCTIONS,
    Shape,
    Shapes,
    data_path,
    trunk_of,
    without_in_place_writes,
)
from autograder.graphs.analysis.layers import BatchNorm, Convolution, batch_norms, convolutions
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.operations import CONVOLUTIONS

_MOST_POINTS = 400  # of the trunk, between which blocks are cut


@dataclass(frozen=True)
class Block:
    """A part of the trunk from one feature map to another, with all that lies between them."""

    input_shape: Shape
    output_shape: Shape
    convolutions: tuple[Convolution, ...]
    batch_norms: tuple[BatchNorm, ...]
    line: int

    @property
    def out_channels(self) -> int:
        """Channels of the feature map that the block hands on."""
        return self.output_shape[1]

    @property
    def halves(self) -> bool:
        """Height and width are divided by two, once."""
        return halvings(self.input_shape, self.output_shape) == (1, 1)


def blocks(graph: ModelGraph, shapes: Shapes, channels: Sequence[int] = (32, 64, 128, 256)) -> tuple[Block, ...]:
    """The trunk's feature maps cut into as many blocks as `channels` names, each with a convolution or more.

    Where a block ends is the student's business: pooling may stand at its end or at the start of the next, stride may
    be in any of its convolutions, batch norm before or after them. So among all ways to cut, take one whose blocks end
    with the asked channels, if there is one, and among these one with most blocks that halve height and width and hold
    a batch norm; otherwise the one with most such blocks. A head of 1×1 convolutions that makes the class scores is
    left out. Fewer blocks than asked come back where there are fewer convolutions on the trunk.
    """
    return Cutter(graph, shapes, tuple(channels)).cut()


class Cutter:
    """Finds the best way to cut a trunk into blocks."""

    def __init__(self, graph: ModelGraph, shapes: Shapes, channels: tuple[int, ...]) -> None:
        graph, shapes = without_in_place_writes(graph, shapes)
        self.graph, self.shapes, self.channels = graph, shapes, channels
        path = data_path(graph)
        on_path = set(path)
        trunk = trunk_of(graph, path)
        self.extents = extents(graph, shapes)
        self.reduced = [extent.is_reduced for extent in self.extents]
        self.is_reduced = any(self.reduced[i] for i in trunk)
        self.convolutions = [c for c in convolutions(graph, shapes) if c.node in on_path and self.is_on_maps(c)]
        self.norms = [n for n in batch_norms(graph, shapes) if n.node in on_path]
        self.features = self.feature_points(trunk)
        self.points = _thin(self.features, shapes)
        # Counts up to and including each point: what lies between two points is a difference.
        self.conv_counts = [bisect_right([c.node for c in self.convolutions], p) for p in self.points]
        self.norm_counts = [bisect_right([n.node for n in self.norms], p) for p in self.points]

    def is_on_maps(self, convolution: Convolution) -> bool:
        """Whether a convolution looks at a map: one of more than a pixel, or one that has become so small.

        Those on what is left of reduced maps are linear layers: gates (squeeze and excitation) and heads.
        """
        if math.prod(convolution.input_shape[2:]) > 1:
            return True
        # Where nothing on the trunk reduces maps of any size, a 1×1 kernel may be a head behind a pooling over all.
        is_small = self.is_reduced or set(convolution.kernel) != {1}
        return is_small and not self.reduced[convolution.data]

    def feature_points(self, trunk: Sequence[int]) -> list[int]:
        """The trunk's feature maps, without what the head does to them."""
        classes = (self.shapes[self.graph.output] or (0,))[-1]
        last = max((c.node for c in self.convolutions if not makes_scores(c, classes)), default=-1)
        scores = {c.node for c in self.convolutions if makes_scores(c, classes) and c.node > last}
        points: list[int] = []
        for i in trunk:
            if i in scores or (i > last and self.is_global_pooling(i, points)):
                break
            # Maps with their channels last are on the way from one to the next, or to the head.
            if len(self.shapes[i] or ()) == 4 and self.extents[i].axes in ((), (2, 3)):
                points.append(i)
        return points

    def is_global_pooling(self, index: int, points: Sequence[int]) -> bool:
        """Whether a node belongs to the head: it averages whole maps, in one step or as the first of two.

        Where no step does so for images of any size, it is a pooling that covers the map as it is.
        """
        if self.is_reduced or len(self.shapes[index] or ()) != 4:
            return self.reduced[index]
        operation, shape = self.graph.nodes[index].operation, self.shapes[index] or ()
        before = (self.shapes[points[-1]] if points else None) or ()
        if operation in REDUCTIONS and 1 in shape[2:]:
            return True
        if shape[2:] != (1, 1) or operation in CONVOLUTIONS:
            return False
        if operation.startswith("aten.max_pool") and halvings(before, shape) == (1, 1):
            return False  # a block's own 2×2 pooling may arrive at 1×1 too
        # Several poolings side by side meet in a node that is none itself; so do the branches of a block.
        is_met = math.prod(before[2:]) > 1 and not self.is_convolved(points[-1], index)
        return operation in POOLS or is_met

    def is_convolved(self, start: int, end: int) -> bool:
        """Whether it is convolutions that made 1×1 of a map between two points: strides of a block."""
        inside = (c for c in self.convolutions if start < c.node <= end)
        return any(c.output_shape[2:] == (1, 1) != c.input_shape[2:] for c in inside)

    def cut(self) -> tuple[Block, ...]:
        """The best blocks."""
        count = min(len(self.channels), self.conv_counts[-1] if self.points else 0)
        if count == 0:
            return ()
        exact = self.best(count, exact=True) if count == len(self.channels) else None
        ends = exact or self.best(count, exact=False)
        if not ends:  # several convolutions between two points: fewer cuts are possible
            ends = next((e for k in range(count - 1, 0, -1) if (e := self.best(k, exact=False))), [])
        return tuple(self.block(start, end) for start, end in zip([0, *ends], ends, strict=False))

    def best(self, count: int, exact: bool) -> list[int] | None:
        """Positions in `points` where the blocks end, for the best score; None where there is no way.

        Dynamic programme over (number of blocks, end): O(blocks × points²).
        """
        size = len(self.points)
        table: list[dict[int, tuple[tuple[int, ...], list[int]]]] = [{0: ((0, 0, 0), [])}]
        for k in range(count):
            row: dict[int, tuple[tuple[int, ...], list[int]]] = {}
            for start, (score, ends) in table[-1].items():
                for end in range(start + 1, size):
                    gain = self.score(start, end, k, exact)
                    if gain is None:
                        continue
                    total = tuple(a + b for a, b in zip(score, gain, strict=True))
                    if end not in row or total >= row[end][0]:  # of equal ways the latest cuts
                        row[end] = (total, [*ends, end])
            table.append(row)
        # All convolutions belong to a block; of equally good ends the last, so that nothing is left over.
        complete = {end: way for end, way in table[-1].items() if self.conv_counts[end] == self.conv_counts[-1]}
        if not complete:
            return None
        return max(complete.items(), key=lambda item: (item[1][0], item[0]))[1][1]

    def score(self, start: int, end: int, number: int, exact: bool) -> tuple[int, int, int] | None:
        """(halves, has batch norm, ends with the asked channels) of a block, each 0 or 1; None where it is no block."""
        if self.conv_counts[end] == self.conv_counts[start]:
            return None
        before, after = self.shapes[self.points[start]] or (), self.shapes[self.points[end]] or ()
        matches = number < len(self.channels) and after[1] == self.channels[number]
        if exact and not matches:
            return None
        return (
            int(halvings(before, after) == (1, 1)),
            int(self.norm_counts[end] > self.norm_counts[start]),
            int(matches),
        )

    def block(self, start: int, end: int) -> Block:
        low, high = self.points[start], self.points[end]
        inside = tuple(c for c in self.convolutions if low < c.node <= high)
        norms = tuple(n for n in self.norms if low < n.node <= high)
        return Block(self.shapes[low] or (), self.shapes[high] or (), inside, norms, inside[0].line if inside else 0)


def map_sizes(graph: ModelGraph, shapes: Shapes) -> tuple[Shape, ...]:
    """Height and width of the trunk's feature maps, from the image to the last one, each as often as they change."""
    points = Cutter(graph, shapes, ()).features
    sizes = [(shapes[i] or ())[2:] for i in [graph.input, *points]]
    return tuple(size for before, size in zip([(), *sizes], sizes, strict=False) if size != before)


def halved_times(sizes: Sequence[Shape]) -> int:
    """How often height is divided by two on the way through maps of these sizes."""
    return sum(_halvings(before[0], after[0]) for before, after in pairwise(sizes))


def makes_scores(convolution: Convolution, classes: int) -> bool:
    return convolution.is_pointwise and convolution.out_channels == classes


def halvings(before: Shape, after: Shape) -> tuple[int, ...]:
    """How often each spatial dimension was divided by two: 32 → 30 → 15 is once (no padding), 32 → 8 twice."""
    if len(before) != len(after):
        return ()
    return tuple(_halvings(b, a) for b, a in zip(before[2:], after[2:], strict=True))


def _halvings(before: int, after: int) -> int:
    if after in {before // 2, -(-before // 2)} and before > 1:
        return 1
    return round(math.log2(before / after)) if before and after else 0


def _thin(points: list[int], shapes: Shapes) -> list[int]:
    """Keep a very deep trunk affordable: of points in a row with one shape, some will do."""
    if len(points) <= _MOST_POINTS:
        return points
    last = len(points) - 1
    changes = [k for k in range(1, last) if shapes[points[k]] != shapes[points[k + 1]]]
    kept = {0, last, *changes[: _MOST_POINTS // 2]}
    kept.update(range(0, last, -(-2 * last // _MOST_POINTS)))
    return [points[k] for k in sorted(kept)]
