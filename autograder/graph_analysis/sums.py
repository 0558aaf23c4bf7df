"""Which sums in a model graph are residual additions, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.graph import ModelGraph, Node
from autograder.graph_analysis.flow import (
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
    as_read,
    carries_data,
    convolution_mask,
    first,
    names,
    passes_gradient,
    reach,
    references,
    users_of,
)
from autograder.operations import CONVOLUTIONS, DROPOUTS

# Far above what designs need; they keep the analysis of a graph made to be tangled short.
_MOST_STEPS = 64  # back from a sum along a possible shortcut
_MOST_SUMMANDS = 12


@dataclass(frozen=True)
class Addition:
    """A sum of values that carry data. `reason` says why it is not residual, empty where it is.

    shortcut: "identity", "projection" (a 1×1 convolution) or "reshaped" (pooling, slicing, padding).
    """

    node: int
    line: int
    is_residual: bool
    shortcut: str = ""
    reason: str = ""


def additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Every sum of values that carry data, residual or not; sums of sums count as one."""
    graph, shapes = as_read(graph, shapes)
    carries = carries_data(graph)
    users = users_of(graph)
    sums = {n.index: _summands(graph, n) for n in graph.nodes if carries[n.index]}
    inner = {
        i
        for parts in sums.values()
        for i in parts
        if len(users[i]) == 1 and graph.nodes[i].operation in ADDITIONS and len(sums.get(i, ())) > 1
    }
    found = []
    for index, parts in sums.items():
        if len(parts) > 1 and index not in inner:
            found.append(_judge_addition(graph, shapes, index, _leaves(parts, sums, inner)))
    return tuple(found)


def residual_additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Sums of a value and what convolutions computed from it.

    The shortcut may be the value itself, a 1×1 convolution of it (with norm and activation), or a pooled, sliced or
    padded copy; an activation or norm on the way is allowed, since pre-activation blocks share theirs with the branch,
    and so is a gate that is computed from the value itself, as in highway networks.
    Not residual: `x + x`, two parallel branches, a detached or constant summand, a branch without a convolution of its
    own. Concatenations are not additions.
    """
    return tuple(addition for addition in additions(graph, shapes) if addition.is_residual)


def _summands(graph: ModelGraph, node: Node) -> tuple[int, ...]:
    """The values that a node adds and that carry data: of `a + b`, of a stack summed up, of `addcmul(a, b, c)`, and of
    `lerp(a, b, t)`, which is (1 − t) · a + t · b."""
    carries = carries_data(graph)
    if node.operation in ADDITIONS | names("lerp.Tensor lerp_.Tensor lerp.Scalar lerp_.Scalar"):
        return tuple(i for i in references(node.args[:2]) if carries[i])
    if node.operation in names("sum.dim_IntList mean.dim"):
        source = graph.nodes[first(node)]
        stacked = source.operation == "aten.stack.default" and node.args[1] in {(source.args[1],), source.args[1]}
        return tuple(i for i in references(source.args[0]) if carries[i]) if stacked else ()
    if node.operation in names("addcmul addcmul_"):
        factors = [i for i in references(node.args[1:3]) if carries[i]]
        base = [i for i in references(node.args[:1]) if carries[i]]
        return (base[0], factors[0]) if base and len(factors) == 1 else ()
    return ()


def _leaves(parts: tuple[int, ...], sums: dict[int, tuple[int, ...]], inner: set[int]) -> list[int]:
    leaves: list[int] = []
    pending = list(parts)
    while pending and len(leaves) < _MOST_SUMMANDS:
        part = pending.pop(0)
        if part in inner:
            pending = [*sums[part], *pending]
        else:
            leaves.append(part)
    return leaves


def _judge_addition(graph: ModelGraph, shapes: Shapes, index: int, leaves: list[int]) -> Addition:
    line = graph.nodes[index].line
    if not graph.nodes[index].grad:
        return Addition(index, line, False, reason="detached")
    reasons = []
    for shortcut in leaves:
        for branch in leaves:
            if branch != shortcut:
                found = _residual(graph, shapes, shortcut, branch)
                if found in ("identity", "projection", "reshaped"):
                    return Addition(index, line, True, shortcut=found)
                reasons.append(found)
    if not reasons:
        return Addition(index, line, False, reason="same value")
    order = ["detached", "no convolution between", "unrelated"]
    return Addition(index, line, False, reason=min(reasons, key=order.index))


def _residual(graph: ModelGraph, shapes: Shapes, shortcut: int, branch: int) -> str:
    """How `shortcut` bypasses convolutions of `branch`, by kind; or why it does not."""
    reason = "unrelated"
    known = reach(graph, True)
    for value, kind, own in _shortcut_values(graph, shapes, shortcut):
        if known.ancestors[branch] >> value & 1:
            if _is_between(graph, known, value, branch, own):
                return kind
            reason = "no convolution between"
    # The same question with gradients let through everything: then it is they that are missing.
    known = reach(graph, False)
    for value, _, own in _shortcut_values(graph, shapes, shortcut, through_stops=True):
        if known.ancestors[branch] >> value & 1 and _is_between(graph, known, value, branch, own):
            return "detached"
    return reason


def _is_between(graph: ModelGraph, known: Reach, value: int, branch: int, own: frozenset[int]) -> bool:
    """Whether a convolution is on a path from `value` to `branch`, none of the shortcut's `own` counted.

    Nodes are bits of integers here: listed, they would take gigabytes for a graph made to do so.
    """
    left_out = sum(1 << node for node in {value, *own})
    return bool(known.ancestors[branch] & known.descendants[value] & convolution_mask(graph) & ~left_out)


def _gated(graph: ModelGraph, factors: list[int]) -> list[int]:
    """Of `x * gate(x)` the x: the factor that the other one is computed from."""
    ancestors = reach(graph, False).ancestors
    return [i for i in factors if any(i != j and ancestors[j] >> i & 1 for j in factors)]


def _shortcut_values(
    graph: ModelGraph, shapes: Shapes, start: int, through_stops: bool = False
) -> list[tuple[int, str, frozenset[int]]]:
    """Values that `start` may be a shortcut from, nearest first: (node, kind of shortcut, convolutions on the way).

    Steps back through what a shortcut may do, one 1×1 convolution at most.
    """
    carries = carries_data(graph)
    plain = ACTIVATIONS | NORMS | COPIES | DROPOUTS
    reshaping = POOLS | RESHAPES | RESIZES
    found: list[tuple[int, str, frozenset[int]]] = []
    pending: list[tuple[int, str, frozenset[int]]] = [(start, "identity", frozenset())]
    seen = set()
    while pending and len(found) < _MOST_STEPS:
        index, kind, own = pending.pop(0)
        if (index, bool(own)) in seen:
            continue
        seen.add((index, bool(own)))
        found.append((index, kind, own))
        node = graph.nodes[index]
        if node.kind != "call" or not (passes_gradient(node) or through_stops):
            continue
        data = [i for i in dict.fromkeys(node.inputs) if carries[i]]
        if node.operation in CONVOLUTIONS and not own and set((shapes[node.inputs[1]] or ())[2:]) == {1}:
            pending.append((data[0], "projection", own | {index}))
        elif node.operation in plain or (node.operation in SCALINGS and len(data) == 1):
            pending += [(i, kind, own) for i in data]
        elif node.operation in PRODUCTS:
            pending += [(i, kind, own) for i in _gated(graph, data)]
        elif node.operation in reshaping:
            pending += [(i, "reshaped" if kind == "identity" else kind, own) for i in data]
    return found
