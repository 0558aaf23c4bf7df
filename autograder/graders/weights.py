"""What hidden checks expect of the weights in a network: registered, kept, and reached by the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import safetensors.numpy

from autograder.checks import expect, fail
from autograder.graders.effects import awake, other_parameters, root_mean_square
from autograder.graders.networks import Network, differentiating, expect_rows, layer_kind
from autograder.graphs.analysis import Convolution, Linear, detached, linears
from autograder.graphs.analysis.flow import COPIES, RESHAPES
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.operations import WEIGHT_STARTS
from autograder.graphs.runner import LoadedGraph
from autograder.judging.evidence import EXPORTED_BATCH


def expect_learning_weights(network: Network, *, loss: str = "cross_entropy") -> None:
    """Every convolution and linear weight is a registered parameter and receives finite gradient, not all zero."""
    layers: list[Convolution | Linear] = [
        *network.convolutions,
        *linears(network.evaluation.graph, network.evaluation.shapes),
    ]
    expect(bool(layers), "no convolution or linear layer found")
    for layer in sorted(layers, key=lambda layer: layer.node):
        expect_kept(layer, network.graph(False, network.size))
        expect_registered(layer)
    expect_computed_weights(network, layers)
    export = network.training
    if loss == "cross_entropy":
        expect_rows(network)
    expect_gradients(network, export, loss)


def expect_computed_weights(network: Network, layers: Sequence[Convolution | Linear]) -> None:
    """Weights that forward computes (weight norm, say) change with the parameters that they are computed from.

    `constant + 0 * parameter` would have the parameter's name and the constant's values.
    """
    computed = [layer for layer in layers if layer.weight is None and layer.weight_kinds - {"buffer"}]
    if not computed:
        return
    graph, tensors, runner = network.evaluation.graph, network.evaluation.tensors, network.runner
    images, nodes = network.images(network.batch), [layer.weight_node for layer in computed]
    handles = [runner.load(graph, made) for made in (awake(graph, tensors), other_parameters(graph, tensors))]
    before, after = (runner.values(handle, images, nodes) for handle in handles)
    for layer, one, other in zip(computed, before, after, strict=True):
        moved = root_mean_square(other - one)
        expect(
            moved >= LEAST_MOVE * max(root_mean_square(one), root_mean_square(other)),
            f"the weights of a {layer_kind(layer)} hardly change with any parameter, so the optimiser cannot change "
            "them. "
            "Use the parameter itself as the weight, or a value in which it counts",
            line=layer.line,
        )
    for handle in handles:
        runner.release(handle)


LEAST_MOVE = 0.01  # weight norm, standardised and low-rank weights move by more than 0.5


def expect_kept(layer: Convolution | Linear, graph: ModelGraph) -> None:
    """The layer is not made anew, with random weights, each time that forward runs."""
    index = graph.nodes[layer.node].inputs[1]
    while graph.nodes[index].operation in COPIES | RESHAPES:
        index = graph.nodes[index].inputs[0]
    expect(
        graph.nodes[index].operation not in WEIGHT_STARTS,
        "a layer is made in forward, with new random weights at every call, so it never learns. Make it once, in "
        "__init__, and keep it in an attribute",
        line=layer.line,
    )


def expect_registered(layer: Convolution | Linear) -> None:
    """The layer's weights are parameters. A fixed filter, made in forward or kept as a buffer, is meant to be fixed."""
    if layer.weight_kinds <= {"buffer"}:
        return
    kind = layer_kind(layer)
    expect(
        layer.is_registered,
        f"the weights of a {kind} are not registered as parameters, so the optimiser will never change them. Keep "
        "layers in attributes, nn.Sequential or nn.ModuleList, not in a plain list or dict",
        line=layer.line,
    )
    expect(layer.is_trainable, f"the weights of a {kind} cannot learn: {why_untrained(layer)}", line=layer.line)


def why_untrained(layer: Convolution | Linear) -> str:
    """What keeps gradients from the registered weights of a layer, and the remedy."""
    if "parameter" not in layer.weight_kinds:
        return "they are frozen (requires_grad=False). Leave requires_grad as it is"
    if not layer.takes_gradient:
        return "they are used inside no_grad. That belongs around an evaluation, not into forward"
    return "they are detached (detach, .data?) before they are used. Use them as they are"


# Of a matrix, as `relative_gradients` measures it. Least of 115 correct networks: 3.7e-7, in a small ConvNeXt.
LEAST_GRADIENT = 1e-9


def expect_gradients(network: Network, export: LoadedGraph, loss: str) -> None:
    """Kernels and matrices (two or more axes) must move; biases and norm parameters may have no gradient at all."""
    gradients = relative_gradients(network, export, loss)
    stopped = detached(export.graph)
    line = export.graph.nodes[stopped[0]].line if stopped else 0
    for name, found in gradients.items():
        shown = "a weight" if network.is_drawn else f"`{name}`"
        if found is None:
            fail(f"the gradient of {shown} is NaN or infinite: look for a division by zero or an overflow")
        if found == 0 and not is_used(export.graph, name):
            fail(f"no gradient reaches {shown}: it is never used in forward. Use it there, or take it out of __init__")
        if found == 0:
            cut = "the way back to it is cut by detach, .data or no_grad. Leave that out of forward"
            fail(f"no gradient reaches {shown}, so it would keep its random values: {cut}", line=line)
        expect(
            found >= LEAST_GRADIENT,
            f"hardly any gradient reaches {shown}, so it would keep its random values: is what it computes multiplied "
            "by a tiny number?",
        )


def relative_gradients(network: Network, export: LoadedGraph, loss: str) -> dict[str, float | None]:
    """For each kernel and matrix: the largest entry of its gradient times its own largest entry, as a part of the loss;
    None where it is not finite. A number without a unit: it is the same in whatever scale a layer computes."""
    count = export.graph.batch or EXPORTED_BATCH
    tensors = awake(export.graph, export.tensors)
    handle = network.runner.load(export.graph, tensors)
    with differentiating(network, export):
        found = network.runner.gradients(handle, network.images(count), network.labels(count), loss=loss)
    network.runner.release(handle)
    arrays = safetensors.numpy.load(tensors)
    kernels = [t for t in export.graph.tensors if t.kind == "parameter" and len(t.shape) >= 2 and t.numel]
    largest = {t.name: float(np.abs(arrays[t.key]).max(initial=0.0)) for t in kernels}
    return {
        name: found.parameters[name].max_abs * size / max(found.loss, SMALLEST)
        if found.parameters[name].finite and math.isfinite(found.loss)
        else None
        for name, size in largest.items()
    }


SMALLEST = float(np.finfo(np.float32).tiny)


def is_used(graph: ModelGraph, name: str) -> bool:
    """Whether any operation reads a tensor."""
    places = {node.index for node in graph.nodes if node.tensor >= 0 and graph.tensors[node.tensor].name == name}
    return any(places & set(node.inputs) for node in graph.nodes)
