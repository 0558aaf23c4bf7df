"""The layers of a model graph: convolutions, linear layers, batch norms, dropouts, however they were written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autograder.graphs.analysis.flow import (
    COPIES,
    MATRIX_PRODUCTS,
    RESHAPES,
    Shape,
    Shapes,
    carries_data,
    first,
    kind_masks,
    names,
    passes_gradient,
    tensor_masks,
    without_in_place_writes,
)
from autograder.graphs.model_graph import ModelGraph, Node, Ref, TensorInfo, Value, references
from autograder.graphs.operations import CONVOLUTIONS, DROPOUTS

_MOST_COPIES = 64  # looked through between a layer and its weight


class Weighted:
    """What a layer with a weight can say of it: where the weight comes from, and whether it learns.

    `data` is the node of the value that it works on, wherever that stands among its arguments; `weight_node` that of
    the weight. `weight_kinds` are the kinds of all tensors (see TensorInfo) that the weight is computed from,
    `trainable_kinds` of those that gradients reach.
    """

    data: int
    weight_node: int
    weight_kinds: frozenset[str]
    trainable_kinds: frozenset[str]
    takes_gradient: bool  # False under `torch.no_grad()`

    @property
    def is_registered(self) -> bool:
        """The weight comes from the module's parameters, not from a plain tensor."""
        return bool(self.weight_kinds & {"parameter", "frozen"})

    @property
    def is_trainable(self) -> bool:
        """Gradients reach a parameter behind the weight."""
        return "parameter" in self.trainable_kinds


@dataclass(frozen=True)
class Convolution(Weighted):
    """One convolution as it runs. kernel, stride, padding and dilation have one entry per spatial dimension.

    `weight` is None where it is computed (weight norm, standardised weights).
    """

    node: int
    data: int
    weight_node: int
    operation: str
    in_channels: int
    out_channels: int
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int
    transposed: bool
    weight: TensorInfo | None
    weight_kinds: frozenset[str]
    trainable_kinds: frozenset[str]
    takes_gradient: bool
    bias: TensorInfo | None
    weight_count: int
    input_shape: Shape
    output_shape: Shape
    line: int

    @property
    def is_depthwise(self) -> bool:
        """Every input channel is filtered alone."""
        return self.groups == self.in_channels

    @property
    def is_pointwise(self) -> bool:
        """1×1 and mixing all channels."""
        return self.groups == 1 and set(self.kernel) == {1}


@dataclass(frozen=True)
class Linear(Weighted):
    """One linear layer: a value that carries data times a weight that does not.

    `axis` is the axis of the input that is summed over: the features, or the channels where it mixes those of a map.
    """

    node: int
    data: int
    weight_node: int
    operation: str
    axis: int
    in_features: int
    out_features: int
    weight: TensorInfo | None
    weight_kinds: frozenset[str]
    trainable_kinds: frozenset[str]
    takes_gradient: bool
    bias: TensorInfo | None
    input_shape: Shape
    output_shape: Shape
    line: int


@dataclass(frozen=True)
class BatchNorm:
    """One batch normalisation, by a module or by F.batch_norm. `training`: normalises by the batch at hand."""

    node: int
    channels: int
    training: bool
    weight: TensorInfo | None
    bias: TensorInfo | None
    running_mean: TensorInfo | None
    running_var: TensorInfo | None
    line: int


@dataclass(frozen=True)
class Dropout:
    """One dropout of any kind; `active` where it draws noise in this graph."""

    node: int
    probability: float
    active: bool
    line: int


def parameter_count(graph: ModelGraph, trainable_only: bool = False) -> int:
    """Number of parameters; tied ones count once."""
    kinds = {"parameter"} if trainable_only else {"parameter", "frozen"}
    return sum({tensor.key: tensor.numel for tensor in graph.tensors if tensor.kind in kinds}.values())


def stored_numbers(graph: ModelGraph) -> int:
    """How many numbers a network stores: in parameters, buffers and constants, but for the counters of batch norms."""
    kept = {tensor.key: tensor.numel for tensor in graph.tensors if not _is_counter(tensor)}
    return sum(kept.values())


def _is_counter(tensor: TensorInfo) -> bool:
    return tensor.dtype == "int64" and not tensor.shape


def convolutions(graph: ModelGraph, shapes: Shapes) -> tuple[Convolution, ...]:
    """All convolutions of values that carry data, in the order in which they run."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries = carries_data(graph)
    found = [node for node in graph.nodes if node.operation in CONVOLUTIONS and carries[first(node)]]
    return tuple(_convolution(graph, shapes, node) for node in found)


def linears(graph: ModelGraph, shapes: Shapes) -> tuple[Linear, ...]:
    """All linear layers (linear, matrix products, einsum with a weight) in the order in which they run."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries = carries_data(graph)
    layers = []
    for node in graph.nodes:
        if node.operation in MATRIX_PRODUCTS and carries[node.index]:
            data = [i for i in _operands(node) if carries[i]]
            weights = [i for i in _operands(node) if not carries[i]]
            if len(data) == 1 and len(weights) == 1:
                layers.append(_linear(graph, shapes, node, data[0], weights[0]))
    return tuple(layers)


def batch_norms(graph: ModelGraph, shapes: Shapes) -> tuple[BatchNorm, ...]:
    """All batch normalisations of values that carry data. One written out by hand is not recognised as one."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries = carries_data(graph)
    found = []
    for node in graph.nodes:
        if node.operation == "aten.batch_norm.default" and carries[node.index]:
            weight, bias, mean, var = (_tensor_of(graph, value) for value in node.args[1:5])
            shape = shapes[first(node)] or ()
            channels = shape[1] if len(shape) > 1 else 0
            training = node.args[5] is True
            found.append(BatchNorm(node.index, channels, training, weight, bias, mean, var, node.line))
    return tuple(found)


def dropouts(graph: ModelGraph, shapes: Shapes) -> tuple[Dropout, ...]:
    """All dropouts, of features and alpha dropout too, of values that carry data."""
    carries = carries_data(graph)
    return tuple(_dropout(n) for n in graph.nodes if n.operation in DROPOUTS and carries[n.index])


def detached(graph: ModelGraph) -> tuple[int, ...]:
    """Nodes that gradients do not pass although data does: `detach`, argmax, anything under `torch.no_grad()`."""
    carries = carries_data(graph)
    return tuple(n.index for n in graph.nodes if carries[n.index] and n.kind == "call" and not passes_gradient(n))


def _tensor_of(graph: ModelGraph, value: Value) -> TensorInfo | None:
    """The tensor that an argument is, seen through copies and casts; None where it is computed, or absent."""
    index = value.index if isinstance(value, Ref) else None
    for _ in range(_MOST_COPIES):
        if index is None or graph.nodes[index].kind == "input":
            return None
        node = graph.nodes[index]
        if node.kind == "tensor":
            return graph.tensors[node.tensor]
        index = node.inputs[0] if node.operation in COPIES | RESHAPES else None
    return None


def _kinds(graph: ModelGraph, index: int, differentiable: bool) -> frozenset[str]:
    """The kinds of the tensors behind a value. As bits: thousands of layers, each of thousands of tensors, would take
    gigabytes as lists."""
    mask = tensor_masks(graph, differentiable)[index]
    return frozenset(kind for kind, own in kind_masks(graph).items() if own & mask)


def _integers(value: Value, count: int) -> Shape:
    """A size argument as one integer per dimension; torch takes one for all."""
    items = value if isinstance(value, tuple) else (value,)
    numbers = tuple(item if isinstance(item, int) else 0 for item in items)
    return numbers * count if len(numbers) == 1 else numbers


def _convolution(graph: ModelGraph, shapes: Shapes, node: Node) -> Convolution:
    weight_index = node.inputs[1]
    input_shape, output_shape = shapes[first(node)] or (), shapes[node.index] or ()
    weight_shape = shapes[weight_index] or ()
    kernel = weight_shape[2:]
    transposed = "transpose" in node.operation
    stride, padding, dilation, groups = _settings(node, kernel, transposed)
    return Convolution(
        node=node.index,
        data=first(node),
        weight_node=weight_index,
        operation=node.operation,
        in_channels=weight_shape[0] if transposed else weight_shape[1] * groups,
        out_channels=weight_shape[1] * groups if transposed else weight_shape[0],
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        transposed=transposed,
        weight=_tensor_of(graph, node.args[1]),
        weight_kinds=_kinds(graph, weight_index, differentiable=False),
        trainable_kinds=_kinds(graph, weight_index, differentiable=True) if node.grad else frozenset(),
        takes_gradient=node.grad,
        bias=_tensor_of(graph, node.args[2]),
        weight_count=math.prod(weight_shape),
        input_shape=input_shape,
        output_shape=output_shape,
        line=node.line,
    )


def _settings(node: Node, kernel: Shape, transposed: bool) -> tuple[Shape, Shape, Shape, int]:
    """Stride, padding, dilation, groups; padding="same" in numbers (of the smaller side where the two differ)."""
    places = (3, 4, 7, 6) if transposed else (3, 4, 5, 6)
    stride, padding, dilation, groups = (node.args[place] for place in places)
    dims = len(kernel)
    spread = _integers(dilation, dims)
    if padding == "same":
        sizes = tuple(d * (k - 1) // 2 for d, k in zip(spread, kernel, strict=True))
    else:
        sizes = (0,) * dims if padding == "valid" else _integers(padding, dims)
    return _integers(stride, dims), sizes, spread, groups if isinstance(groups, int) else 1


def _operands(node: Node) -> list[int]:
    """The two factors of a matrix product."""
    if node.operation == "aten.addmm.default":
        return references(node.args[1:3])
    if node.operation == "aten.einsum.default":
        return references(node.args[1])
    return references(node.args[:2])


def _linear(graph: ModelGraph, shapes: Shapes, node: Node, data: int, weight: int) -> Linear:
    bias: Value = None
    if node.operation == "aten.linear.default":
        bias = node.args[2]
    elif node.operation == "aten.addmm.default":
        bias = node.args[0]
    output_shape, input_shape = shapes[node.index] or (), shapes[data] or ()
    count, axis = math.prod(shapes[weight] or ()), _summed_axis(node, data, input_shape)
    inputs = input_shape[axis] if input_shape else 1
    return Linear(
        node=node.index,
        data=data,
        weight_node=weight,
        operation=node.operation,
        axis=axis,
        in_features=inputs,
        out_features=count // max(inputs, 1),
        weight=_tensor_of(graph, Ref(weight)),
        weight_kinds=_kinds(graph, weight, differentiable=False),
        trainable_kinds=_kinds(graph, weight, differentiable=True) if node.grad else frozenset(),
        takes_gradient=node.grad,
        bias=_tensor_of(graph, bias),
        input_shape=input_shape,
        output_shape=output_shape,
        line=node.line,
    )


def _summed_axis(node: Node, data: int, input_shape: Shape) -> int:
    """The axis of the data operand that a matrix product sums over; 0 or above."""
    last = max(len(input_shape) - 1, 0)
    if node.operation == "aten.einsum.default" and isinstance(node.args[0], str):
        inputs, _, output = node.args[0].replace(" ", "").partition("->")
        own = dict(zip(references(node.args[1]), inputs.split(","), strict=False)).get(data, "")
        summed = [axis for axis, letter in enumerate(own) if letter not in output and inputs.count(letter) > 1]
        return min(summed[0], last) if len(summed) == 1 and "." not in own else last
    if node.operation in names("matmul mm") and references(node.args[:2])[1:] == [data]:
        return max(last - 1, 0)  # weight @ data
    return last


def _dropout(node: Node) -> Dropout:
    probability = node.args[1]
    share = float(probability) if isinstance(probability, (int, float)) else 0.0
    return Dropout(node.index, share, node.args[2] is True and share > 0, node.line)
