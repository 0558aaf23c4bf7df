"""Which sums in a model graph are residual additions, and why the others are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autograder.graphs.analysis.flow import (
    ACTIVATIONS,
    ADDITIONS,
    COPIES,
    NORMS,
    POOLS,
    PRODUCTS,
    RESHAPES,
    RESIZES,
    SCALINGS,
    Reach,
    Shapes,
    TooTangled,
    carries_data,
    convolution_mask,
    first,
    names,
    passes_gradient,
    reach,
    users_of,
    without_in_place_writes,
)
from autograder.graphs.model_graph import ModelGraph, Node, references
from autograder.graphs.operations import CONVOLUTIONS, DROPOUTS

# Far above what designs need; they keep the analysis of a graph made to be tangled short.
_MOST_WAYS = 64  # back from a sum along a possible shortcut
_MOST_SUMMANDS = 12
# Steps of the search, over all sums of a graph: a second or two. Of 115 correct networks the most tangled one,
# torchvision's maxvit_t, takes 862 (bench/effects.py).
MOST_STEPS = 50_000
_Edge = tuple[int, int]
PLAIN = ACTIVATIONS | NORMS | COPIES | DROPOUTS
RESHAPING = POOLS | RESHAPES | RESIZES


@dataclass(frozen=True)
class Addition:
    """A sum of values that carry data. `reason` says why it is not residual, empty where it is.

    shortcut: "identity", "projection" (a 1×1 convolution) or "reshaped" (pooling, slicing, padding). `edges` are the
    places where shortcut and branch enter a residual sum: the step that takes the value, and the value.
    """

    node: int
    line: int
    is_residual: bool
    shortcut: str = ""
    reason: str = ""
    edges: tuple[_Edge, ...] = ()


@dataclass(frozen=True)
class _Summand:
    """A value that enters a sum, and the step that takes it."""

    value: int
    step: int


def additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Every sum of values that carry data, residual or not; sums of sums count as one.

    Raises TooTangled beyond MOST_STEPS.
    """
    return _judge_all(_Search(graph, *without_in_place_writes(graph, shapes)))


def _judge_all(search: _Search) -> tuple[Addition, ...]:
    graph = search.graph
    carries = carries_data(graph)
    users = users_of(graph)
    sums = {n.index: _summands(graph, n) for n in graph.nodes if carries[n.index]}
    inner = {
        part.value
        for parts in sums.values()
        for part in parts
        if len(users[part.value]) == 1
        and graph.nodes[part.value].operation in ADDITIONS
        and len(sums.get(part.value, ())) > 1
    }
    found = []
    for index, parts in sums.items():
        if len(parts) > 1 and index not in inner:
            found.append(search.judge(index, _leaves(parts, sums, inner)))
    return tuple(found)


def steps_taken(graph: ModelGraph, shapes: Shapes) -> int:
    """How many of MOST_STEPS the search for shortcuts takes, for a benchmark. Raises TooTangled."""
    search = _Search(graph, *without_in_place_writes(graph, shapes))
    _judge_all(search)
    return MOST_STEPS - search.left


def residual_additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Sums of a value and what convolutions computed from it.

    The shortcut may be the value itself, a 1×1 convolution of it (with norm and activation), or a pooled, sliced or
    padded copy; an activation or norm on the way is allowed, since pre-activation blocks share theirs with the branch,
    and so is a gate that is computed from the value itself, as in highway networks.
    Not residual: `x + x`, two parallel branches, a detached or constant summand, a branch without a convolution of its
    own. Concatenations are not additions.
    """
    return tuple(addition for addition in additions(graph, shapes) if addition.is_residual)


def _summands(graph: ModelGraph, node: Node) -> tuple[_Summand, ...]:
    """The values that a node adds and that carry data: of `a + b`, of a stack summed up, of `addcmul(a, b, c)`, and of
    `lerp(a, b, t)`, which is (1 − t) · a + t · b."""
    carries = carries_data(graph)
    if node.operation in ADDITIONS | names("lerp.Tensor lerp_.Tensor lerp.Scalar lerp_.Scalar"):
        return tuple(_Summand(i, node.index) for i in references(node.args[:2]) if carries[i])
    if node.operation in names("sum.dim_IntList mean.dim"):
        source = graph.nodes[first(node)]
        stacked = source.operation == "aten.stack.default" and node.args[1] in {(source.args[1],), source.args[1]}
        return tuple(_Summand(i, source.index) for i in references(source.args[0]) if carries[i]) if stacked else ()
    if node.operation in names("addcmul addcmul_"):
        factors = [i for i in references(node.args[1:3]) if carries[i]]
        base = [i for i in references(node.args[:1]) if carries[i]]
        alone = base and len(factors) == 1
        return (_Summand(base[0], node.index), _Summand(factors[0], node.index)) if alone else ()
    return ()


def _leaves(
    parts: tuple[_Summand, ...], sums: Mapping[int, tuple[_Summand, ...]], inner: Collection[int]
) -> list[_Summand]:
    leaves: list[_Summand] = []
    pending = list(parts)
    while pending and len(leaves) < _MOST_SUMMANDS:
        part = pending.pop(0)
        if part.value in inner:
            pending = [*sums[part.value], *pending]
        else:
            leaves.append(part)
    return leaves


@dataclass(frozen=True)
class _Way:
    """A value that a shortcut may start from: what lies between makes it of a kind, with convolutions of its `own`."""

    value: int
    kind: str
    own: frozenset[int]


class _Search:
    """Looks for shortcuts in one graph, in a bounded number of steps for all of its sums."""

    def __init__(self, original: ModelGraph, graph: ModelGraph, shapes: Shapes) -> None:
        """`graph` and `shapes` are those of `original` as its values are read."""
        self.original, self.graph, self.shapes = original, graph, shapes
        self.carries = carries_data(graph)
        self.left = MOST_STEPS

    def judge(self, index: int, leaves: Sequence[_Summand]) -> Addition:
        line = self.graph.nodes[index].line
        if not self.graph.nodes[index].grad:
            return Addition(index, line, False, reason="detached")
        reasons = []
        for shortcut in leaves:
            others = [leaf for leaf in leaves if leaf.value != shortcut.value]
            ways = self.ways_back(shortcut.value) if others else []
            for branch in others:
                found = self.residual(shortcut.value, branch.value, ways)
                if found in ("identity", "projection", "reshaped"):
                    edges = tuple(self.edge(leaf) for leaf in (shortcut, branch))
                    return Addition(index, line, True, shortcut=found, edges=edges)
                reasons.append(found)
        if not reasons:
            return Addition(index, line, False, reason="same value")
        order = ["detached", "no convolution between", "unrelated"]
        return Addition(index, line, False, reason=min(reasons, key=order.index))

    def edge(self, leaf: _Summand) -> _Edge:
        """Where a summand enters the graph that runs: there a step takes the value that was written into, not the
        write."""
        read, runs = (references(g.nodes[leaf.step].args) for g in (self.graph, self.original))
        return leaf.step, runs[read.index(leaf.value)]

    def residual(self, shortcut: int, branch: int, ways: Sequence[_Way]) -> str:
        """How `shortcut` bypasses convolutions of `branch`, by kind; or why it does not."""
        reason = "unrelated"
        known = reach(self.graph, True)
        for way in ways:
            if known.ancestors[branch] >> way.value & 1:
                if self.is_between(known, way, branch):
                    return way.kind
                reason = "no convolution between"
        # The same question with gradients let through everything: then it is they that are missing.
        known = reach(self.graph, False)
        for way in self.ways_back(shortcut, through_stops=True):
            if known.ancestors[branch] >> way.value & 1 and self.is_between(known, way, branch):
                return "detached"
        return reason

    def is_between(self, known: Reach, way: _Way, branch: int) -> bool:
        """Whether a convolution is on a path from the way's end to `branch`, none of the shortcut's own counted.

        Nodes are bits of integers here: listed, they would take gigabytes for a graph made to do so.
        """
        self.spend(1)
        left_out = sum(1 << node for node in {way.value, *way.own})
        convolved = known.ancestors[branch] & known.descendants[way.value] & convolution_mask(self.graph)
        return bool(convolved & ~left_out)

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooTangled(
                f"the graph of the network is too tangled to be examined: its {len(self.graph.nodes):,} operations add "
                "values in more ways than are looked through"
            )

    def gated(self, factors: Sequence[int]) -> list[int]:
        """Of `x * gate(x)` the x: the factor that the other one is computed from."""
        ancestors = reach(self.graph, False).ancestors
        return [i for i in factors if any(i != j and ancestors[j] >> i & 1 for j in factors)]

    def ways_back(self, start: int, through_stops: bool = False) -> list[_Way]:
        """Values that `start` may be a shortcut from, nearest first.

        Steps back through what a shortcut may do, one 1×1 convolution at most.
        """
        found: list[_Way] = []
        pending = [_Way(start, "identity", frozenset())]
        seen = set()
        while pending and len(found) < _MOST_WAYS:
            self.spend(1)
            way = pending.pop(0)
            if (way.value, bool(way.own)) not in seen:
                seen.add((way.value, bool(way.own)))
                found.append(way)
                pending += self.steps_back(way, through_stops)
        return found

    def steps_back(self, way: _Way, through_stops: bool) -> list[_Way]:
        node = self.graph.nodes[way.value]
        if node.kind != "call" or not (passes_gradient(node) or through_stops):
            return []
        data = [i for i in dict.fromkeys(node.inputs) if self.carries[i]][:_MOST_WAYS]
        if node.operation in CONVOLUTIONS and not way.own and set((self.shapes[node.inputs[1]] or ())[2:]) == {1}:
            return [_Way(data[0], "projection", way.own | {way.value})]
        if node.operation in PLAIN or (node.operation in SCALINGS and len(data) == 1):
            return [_Way(i, way.kind, way.own) for i in data]
        if node.operation in PRODUCTS:
            return [_Way(i, way.kind, way.own) for i in self.gated(data)]
        if node.operation in RESHAPING:
            return [_Way(i, "reshaped" if way.kind == "identity" else way.kind, way.own) for i in data]
        return []
