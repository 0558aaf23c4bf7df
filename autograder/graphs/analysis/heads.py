"""What follows a network's last feature map: pooling or flattening, dropout, classifier, activation on the logits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from autograder.graphs.analysis.blocks import Cutter
from autograder.graphs.analysis.flow import (
    AVERAGES,
    MATRIX_PRODUCTS,
    MAXIMA,
    OUTPUT_ACTIVATIONS,
    REDUCTIONS,
    Shape,
    Shapes,
    data_path,
    reach,
    trunk_of,
    without_in_place_writes,
)
from autograder.graphs.analysis.layers import Convolution, Dropout, Linear, convolutions, dropouts, linears
from autograder.graphs.model_graph import ModelGraph


@dataclass(frozen=True)
class Head:
    """What follows the last feature map.

    global_pooling: "average", "max", "mixed", "other" or None; `pooling` is its first node, -1 for none.
    `flattened_inputs` is the number of values per image where height and width are flattened into features instead.
    `classifiers`: the layers after the features, a 1×1 convolution counted as one. `dropouts`: those between the last
    feature convolution and the last classifier.
    """

    feature_shape: Shape | None
    global_pooling: str | None
    pooling: int
    pooling_line: int
    flattened_inputs: int | None
    flatten_line: int
    classifiers: tuple[Linear | Convolution, ...]
    dropouts: tuple[Dropout, ...]
    output_activation: str | None
    output_activation_line: int


def head(graph: ModelGraph, shapes: Shapes) -> Head:
    """What lies between the last feature map and the output, by what happens to height and width.

    Pooling is global where it takes every channel's map to one value in one or more steps (mean over both dimensions
    or one after the other, adaptive pooling to 1×1, pooling over the full extent, maximum, a flattened map averaged, a
    sum by einsum).
    """
    graph, shapes = without_in_place_writes(graph, shapes)
    path = data_path(graph)
    trunk = trunk_of(graph, path)
    cutter = Cutter(graph, shapes, ())
    features = cutter.features
    if not features:
        return Head(None, None, -1, 0, None, 0, (), (), None, 0)
    last = features[-1]
    between = [i for i in path if i > last]
    vectors = [t for t in trunk if t > last and is_vector(shapes[t])]
    # On 1×1 maps everything looks like a vector; the first one that is left of reduced maps is.
    vector = next((t for t in vectors if cutter.reduced[t]), next(iter(vectors), graph.output))
    layers = _classifiers(graph, shapes, path, last)
    steps, on_maps = [i for i in between if i <= vector], sum(1 << c.node for c in cutter.convolutions)
    kind, pooling = _pooling_kind(graph, steps, on_maps, shapes[last], shapes[vector])
    flattened, flatten_line = None, 0
    same_batch = (shapes[last] or ())[:1] == (shapes[vector] or ())[:1]
    if kind is None and same_batch and math.prod(shapes[last] or ()) == math.prod(shapes[vector] or ()):
        flattened, flatten_line = math.prod((shapes[last] or ())[1:]), _line_of(graph, between, vector)
    final = layers[-1].node if layers else graph.output
    start = _last_spatial_convolution(graph, shapes, path, layers)
    on_path = set(path)
    noise = tuple(d for d in dropouts(graph, shapes) if start < d.node < final and d.node in on_path)
    activation = next((i for i in path if i > final and graph.nodes[i].operation in OUTPUT_ACTIVATIONS), None)
    return Head(
        shapes[last],
        kind,
        pooling,
        graph.nodes[pooling].line if pooling >= 0 else 0,
        flattened,
        flatten_line,
        layers,
        noise,
        None if activation is None else graph.nodes[activation].operation.split(".")[1].rstrip("_"),
        0 if activation is None else graph.nodes[activation].line,
    )


def is_vector(shape: Shape | None) -> bool:
    """One value or more per image without height and width: (N, F), or (N, C, 1, 1)."""
    return shape is not None and (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)))


def _pooling_kind(
    graph: ModelGraph, steps: list[int], on_maps: int, features: Shape | None, vector: Shape | None
) -> tuple[str | None, int]:
    """What kind of pooling takes a feature map to a vector, and its first node; None and -1 where nothing is pooled.

    A reduction that a convolution of maps follows belongs to the features: a branch of them, or an attention in it.
    """
    if features is None or vector is None:
        return None, -1
    if math.prod(vector) >= math.prod(features) and features[2:] != (1, 1):
        return None, -1
    descendants = reach(graph, False).descendants
    steps = [i for i in steps if not descendants[i] & on_maps]
    averages = [i for i in steps if graph.nodes[i].operation in AVERAGES]
    maxima = [i for i in steps if graph.nodes[i].operation in MAXIMA]
    others = [i for i in steps if graph.nodes[i].operation in REDUCTIONS | MATRIX_PRODUCTS]
    for kind, found in (
        ("mixed", averages if maxima else []),
        ("average", averages),
        ("max", maxima),
        ("other", others),
    ):
        if found:
            return kind, found[0]
    return None, -1


def _line_of(graph: ModelGraph, between: Iterable[int], vector: int) -> int:
    return next((graph.nodes[i].line for i in between if i <= vector and graph.nodes[i].line), 0)


def _classifiers(
    graph: ModelGraph, shapes: Shapes, path: tuple[int, ...], last: int
) -> tuple[Linear | Convolution, ...]:
    """Linear layers and 1×1 convolutions after the last feature map; one may make scores before these are pooled."""
    on_path = set(path)
    found: list[Linear | Convolution] = [n for n in linears(graph, shapes) if n.node in on_path and n.node > last]
    pointwise = [c for c in convolutions(graph, shapes) if c.node in on_path and set(c.kernel) == {1}]
    found += [c for c in pointwise if c.node > last]
    return tuple(sorted(found, key=lambda layer: layer.node))


def _last_spatial_convolution(
    graph: ModelGraph, shapes: Shapes, path: tuple[int, ...], classifiers: tuple[Linear | Convolution, ...]
) -> int:
    """The last convolution that is no classifier; dropout after it counts as before the classifier."""
    nodes = set(path) - {layer.node for layer in classifiers}
    return max((c.node for c in convolutions(graph, shapes) if c.node in nodes), default=-1)
