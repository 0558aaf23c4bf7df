"""What a model graph is made of: convolutions, residual additions, blocks and head, found without torch.

Everything is decided on the graph of values, not on names or classes, so that any way of writing a design is seen the
same. `shapes` is `GraphShapes.shapes` from the runner: one shape per node, None where a value is no single tensor.

Words used here: a value *carries data* when it is computed from the images (not only from their shape); a *path* runs
along values that carry data; the *trunk* are the values that every path from the input to the output goes through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Union

from autograder.graph import ModelGraph, Node, Ref, TensorInfo, Value
from autograder.operations import CONVOLUTIONS, DROPOUTS, GETITEM

Shape = tuple[int, ...]
Shapes = Sequence[Union[Shape, None]]


def _names(text: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" if "." in name else f"aten.{name}.default" for name in text.split())


# One value in, one of the same shape out, every entry from the same entry (or, for norms, its statistics).
_ACTIVATIONS = _names(
    "relu relu_ relu6 relu6_ gelu gelu_ silu silu_ leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ hardswish "
    "hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_ mish mish_ softplus prelu rrelu rrelu_ sigmoid sigmoid_ tanh "
    "tanh_ log_sigmoid threshold threshold_ softshrink hardshrink clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ "
    "clip clip_ softmax.int log_softmax.int abs abs_ square square_ exp exp_"
)
_NORMS = _names("batch_norm group_norm layer_norm instance_norm rms_norm")
_COPIES = _names(
    "clone contiguous alias lift_fresh_copy to.dtype to.dtype_layout to.device to.other type_as detach neg nan_to_num"
)
_RESHAPES = _names(
    "view reshape view_as reshape_as flatten.using_ints unflatten.int ravel squeeze squeeze.dim squeeze.dims squeeze_ "
    "squeeze_.dim unsqueeze unsqueeze_ permute transpose.int swapaxes swapdims movedim.int movedim.intlist moveaxis.int "
    "moveaxis.intlist t numpy_T mT expand expand_as broadcast_to channel_shuffle flip roll"
)
_POOLS = _names(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
)
_REDUCTIONS = _names(
    "mean mean.dim sum sum.dim_IntList amax amin max.dim min.dim logsumexp linalg_vector_norm norm.ScalarOpt_dim median.dim"
)
_RESIZES = _names(
    "slice.Tensor narrow select.int index.Tensor index_select pad cat concat concatenate upsample_nearest2d.vec "
    "upsample_bilinear2d.vec upsample_bicubic2d.vec _upsample_nearest_exact2d.vec pixel_unshuffle pixel_shuffle "
    "split.Tensor split_with_sizes split.sizes chunk"
) | {GETITEM}
_SCALINGS = _names("mul.Tensor mul_.Tensor div.Tensor div_.Tensor mul.Scalar div.Scalar sub.Tensor sub.Scalar")
_ADDITIONS = _names("add.Tensor add_.Tensor")
_MATRIX_PRODUCTS = _names("linear matmul mm bmm mv addmm baddbmm einsum tensordot inner")
_STOPS = _names("detach argmax argmin")  # gradients end here
# Only the shape of their argument is used, not its values.
_SHAPE_ONLY = _names(
    "zeros_like ones_like full_like rand_like randn_like new_zeros new_ones new_full sym_size.int sym_numel"
)
_AVERAGES = _names(
    "mean mean.dim sum sum.dim_IntList adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d "
    "avg_pool3d"
)
_MAXIMA = _names(
    "amax max.dim adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool1d max_pool2d max_pool3d "
    "max_pool2d_with_indices"
)
_OUTPUT_ACTIVATIONS = _ACTIVATIONS | _names("glu")


@dataclass(frozen=True)
class Convolution:
    """One convolution as it runs. kernel, stride, padding and dilation have one entry per spatial dimension.

    `weight` is None where it is computed (weight norm, standardised weights); `weight_sources` are all tensors that it
    is computed from, `trainable_sources` those that gradients reach.
    """

    node: int
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
    weight_sources: tuple[TensorInfo, ...]
    trainable_sources: tuple[TensorInfo, ...]
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

    @property
    def is_registered(self) -> bool:
        """The weight comes from the module's parameters, not from a plain tensor."""
        return any(source.kind in {"parameter", "frozen"} for source in self.weight_sources)

    @property
    def is_trainable(self) -> bool:
        """Gradients reach a parameter behind the weight."""
        return any(source.kind == "parameter" for source in self.trainable_sources)


@dataclass(frozen=True)
class Linear:
    """One linear layer: a value that carries data times a weight that does not."""

    node: int
    operation: str
    in_features: int
    out_features: int
    weight: TensorInfo | None
    weight_sources: tuple[TensorInfo, ...]
    trainable_sources: tuple[TensorInfo, ...]
    bias: TensorInfo | None
    input_shape: Shape
    output_shape: Shape
    line: int

    @property
    def is_registered(self) -> bool:
        """The weight comes from the module's parameters, not from a plain tensor."""
        return any(source.kind in {"parameter", "frozen"} for source in self.weight_sources)

    @property
    def is_trainable(self) -> bool:
        """Gradients reach a parameter behind the weight."""
        return any(source.kind == "parameter" for source in self.trainable_sources)


@dataclass(frozen=True)
class BatchNorm:
    """One batch normalisation, by a module or by F.batch_norm.

    `training`: normalises by the batch at hand. `after` are the convolutions that feed it, `before` those that it
    feeds, both through element-wise operations and pooling only.
    """

    node: int
    channels: int
    training: bool
    weight: TensorInfo | None
    bias: TensorInfo | None
    running_mean: TensorInfo | None
    running_var: TensorInfo | None
    after: tuple[int, ...]
    before: tuple[int, ...]
    line: int


@dataclass(frozen=True)
class Dropout:
    """One dropout of any kind; `active` where it draws noise in this graph."""

    node: int
    probability: float
    active: bool
    line: int


@dataclass(frozen=True)
class Addition:
    """A sum of values that carry data. `reason` says why it is not residual, empty where it is.

    shortcut: "identity", "projection" (a 1×1 convolution) or "reshaped" (pooling, slicing, padding). The branch is what
    was added to the shortcut; `branch_convolutions` are its convolutions.
    """

    node: int
    line: int
    is_residual: bool
    shortcut: str = ""
    branch_convolutions: tuple[int, ...] = ()
    reason: str = ""


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
        return _halvings(self.input_shape, self.output_shape) == (1, 1)


@dataclass(frozen=True)
class Head:
    """What follows the last feature map.

    global_pooling: "average", "max", "mixed", "other" or None. `flattened_inputs` is the number of values per image
    where height and width are flattened into features instead. `classifiers`: the layers after the features, a 1×1
    convolution counted as one. `dropouts`: those between the last feature convolution and the last classifier.
    """

    feature_shape: Shape | None
    global_pooling: str | None
    pooling_line: int
    flattened_inputs: int | None
    flatten_line: int
    classifiers: tuple[Linear | Convolution, ...]
    dropouts: tuple[Dropout, ...]
    output_activation: str | None
    output_activation_line: int


def parameter_count(graph: ModelGraph, trainable_only: bool = False) -> int:
    """Number of parameters; tied ones count once."""
    kinds = {"parameter"} if trainable_only else {"parameter", "frozen"}
    return sum({tensor.key: tensor.numel for tensor in graph.tensors if tensor.kind in kinds}.values())


def convolutions(graph: ModelGraph, shapes: Shapes) -> tuple[Convolution, ...]:
    """All convolutions of values that carry data, in the order in which they run."""
    carries = _carries_data(graph)
    found = [
        n for n in graph.nodes if n.operation in CONVOLUTIONS and carries[n.index] and _index(n.args[0]) is not None
    ]
    return tuple(_convolution(graph, shapes, node) for node in found if carries[_first(node)])


def linears(graph: ModelGraph, shapes: Shapes) -> tuple[Linear, ...]:
    """All linear layers (linear, matrix products, einsum with a weight) in the order in which they run."""
    carries = _carries_data(graph)
    layers = []
    for node in graph.nodes:
        if node.operation in _MATRIX_PRODUCTS and carries[node.index]:
            operands = _operands(node)
            data = [i for i in operands if carries[i]]
            weights = [i for i in operands if not carries[i]]
            if len(data) == 1 and len(weights) == 1 and node.operation not in _names("bmm baddbmm"):
                layers.append(_linear(graph, shapes, node, data[0], weights[0]))
    return tuple(layers)


def batch_norms(graph: ModelGraph, shapes: Shapes) -> tuple[BatchNorm, ...]:
    """All batch normalisations of values that carry data. One written out by hand is not recognised as one."""
    carries, through = _carries_data(graph), _ACTIVATIONS | _NORMS | _COPIES | _POOLS | DROPOUTS | _RESHAPES
    found = []
    for node in graph.nodes:
        if node.operation == "aten.batch_norm.default" and carries[node.index]:
            weight, bias, mean, var = (_tensor_of(graph, value) for value in node.args[1:5])
            shape = shapes[_first(node)] or ()
            after = _nearest(graph, node.index, CONVOLUTIONS, through, forward=False)
            before = _nearest(graph, node.index, CONVOLUTIONS, through, forward=True)
            channels = shape[1] if len(shape) > 1 else 0
            training = node.args[5] is True
            found.append(BatchNorm(node.index, channels, training, weight, bias, mean, var, after, before, node.line))
    return tuple(found)


def dropouts(graph: ModelGraph, shapes: Shapes) -> tuple[Dropout, ...]:
    """All dropouts, of features and alpha dropout too, of values that carry data."""
    carries = _carries_data(graph)
    return tuple(_dropout(n) for n in graph.nodes if n.operation in DROPOUTS and carries[n.index])


def detached(graph: ModelGraph) -> tuple[int, ...]:
    """Nodes that gradients do not pass although data does: `detach`, argmax, anything under `torch.no_grad()`."""
    carries = _carries_data(graph)
    return tuple(n.index for n in graph.nodes if carries[n.index] and n.kind == "call" and not _passes_gradient(n))


def additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Every sum of values that carry data, residual or not; sums of sums count as one."""
    carries = _carries_data(graph)
    users = _users(graph)
    sums = {n.index: _summands(graph, n) for n in graph.nodes if carries[n.index]}
    inner = {
        i
        for parts in sums.values()
        for i in parts
        if len(users[i]) == 1 and graph.nodes[i].operation in _ADDITIONS and len(sums.get(i, ())) > 1
    }
    found = []
    for index, parts in sums.items():
        if len(parts) > 1 and index not in inner:
            found.append(_judge_addition(graph, shapes, index, _leaves(parts, sums, inner)))
    return tuple(found)


def residual_additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Sums of a value and what convolutions computed from it.

    The shortcut may be the value itself, a 1×1 convolution of it (with norm and activation), or a pooled, sliced or
    padded copy; an activation or norm on the way is allowed, since pre-activation blocks share theirs with the branch.
    Not residual: `x + x`, two parallel branches, a detached or constant summand, a branch without a convolution of its
    own. Concatenations are not additions.
    """
    return tuple(addition for addition in additions(graph, shapes) if addition.is_residual)


def blocks(graph: ModelGraph, shapes: Shapes, channels: Sequence[int] = (32, 64, 128, 256)) -> tuple[Block, ...]:
    """The trunk's feature maps cut into as many blocks as `channels` names, each with a convolution or more.

    Where a block ends is the student's business: pooling may stand at its end or at the start of the next, stride may
    be in any of its convolutions, batch norm before or after them. So among all ways to cut, take one whose blocks end
    with the asked channels, if there is one, and among these one with most blocks that halve height and width and hold
    a batch norm; otherwise the one with most such blocks. A head of 1×1 convolutions that makes the class scores is
    left out. Fewer blocks than asked come back where there are fewer convolutions on the trunk.
    """
    return _Cutter(graph, shapes, tuple(channels)).cut()


def head(graph: ModelGraph, shapes: Shapes) -> Head:
    """What lies between the last feature map and the output, by what happens to height and width.

    Pooling is global where it takes every channel's map to one value in one or more steps (mean over both dimensions
    or one after the other, adaptive pooling to 1×1, pooling over the full extent, maximum, a flattened map averaged, a
    sum by einsum).
    """
    path = _path(graph)
    trunk = _trunk(graph, path)
    maps = [t for t in trunk if _is_map(shapes[t])]
    if not maps:
        return Head(None, None, 0, None, 0, (), (), None, 0)
    last = _last_feature(graph, shapes, maps)
    between = [i for i in path if i > last]
    vector = next((t for t in trunk if t > last and _is_vector(shapes[t])), graph.output)
    kind, pooling_line = _pooling_kind(graph, [i for i in between if i <= vector], shapes[last], shapes[vector])
    flattened, flatten_line = None, 0
    if kind is None and math.prod(shapes[last] or ()) == math.prod(shapes[vector] or ()):
        flattened, flatten_line = math.prod((shapes[last] or ())[1:]), _line_of(graph, between, vector)
    layers = _classifiers(graph, shapes, path, last)
    final = layers[-1].node if layers else graph.output
    start = _last_spatial_convolution(graph, shapes, path, layers)
    noise = tuple(d for d in dropouts(graph, shapes) if start < d.node < final and d.node in set(path))
    activation = next((i for i in path if i > final and graph.nodes[i].operation in _OUTPUT_ACTIVATIONS), None)
    return Head(
        shapes[last],
        kind,
        pooling_line,
        flattened,
        flatten_line,
        layers,
        noise,
        None if activation is None else graph.nodes[activation].operation.split(".")[1].rstrip("_"),
        0 if activation is None else graph.nodes[activation].line,
    )


# Values and paths


def _references(value: Value) -> list[int]:
    if isinstance(value, Ref):
        return [value.index]
    return [i for item in value for i in _references(item)] if isinstance(value, tuple) else []


def _index(value: Value) -> int | None:
    return value.index if isinstance(value, Ref) else None


def _first(node: Node) -> int:
    """The node of the first argument."""
    return node.inputs[0]


@lru_cache(maxsize=64)
def _carries_data(graph: ModelGraph) -> tuple[bool, ...]:
    """Per node: its value is computed from the images' values."""
    carries: list[bool] = []
    for node in graph.nodes:
        alive = node.kind == "input" or (node.operation not in _SHAPE_ONLY and any(carries[i] for i in node.inputs))
        carries.append(alive)
    return tuple(carries)


@lru_cache(maxsize=64)
def _users(graph: ModelGraph) -> tuple[tuple[int, ...], ...]:
    """Per node: the nodes that take its values."""
    users: list[list[int]] = [[] for _ in graph.nodes]
    for node in graph.nodes:
        for i in dict.fromkeys(node.inputs):
            if node.operation not in _SHAPE_ONLY:
                users[i].append(node.index)
    return tuple(tuple(entry) for entry in users)


@lru_cache(maxsize=64)
def _path(graph: ModelGraph) -> tuple[int, ...]:
    """Nodes on a path from the input to the output, in order."""
    carries, needed = _carries_data(graph), {graph.output}
    for node in reversed(graph.nodes):
        if node.index in needed and node.operation not in _SHAPE_ONLY:
            needed.update(node.inputs)
    return tuple(i for i in sorted(needed) if carries[i])


@lru_cache(maxsize=64)
def _trunk(graph: ModelGraph, path: tuple[int, ...]) -> tuple[int, ...]:
    """Nodes that every path goes through: no value from before them is used after them."""
    on_path, users = set(path), _users(graph)
    trunk, furthest = [], 0
    for i in path:
        if furthest <= i:
            trunk.append(i)
        furthest = max([furthest, *(u for u in users[i] if u in on_path)])
    return tuple(trunk)


def _passes_gradient(node: Node) -> bool:
    return node.grad and node.operation not in _STOPS


def _ancestors(graph: ModelGraph, start: int, differentiable: bool = False) -> set[int]:
    """The node and all it is computed from; with `differentiable`, only through operations that pass gradients."""
    found, pending = {start}, [start]
    while pending:
        node = graph.nodes[pending.pop()]
        if (differentiable and node.kind == "call" and not _passes_gradient(node)) or node.operation in _SHAPE_ONLY:
            continue
        fresh = set(node.inputs) - found
        found |= fresh
        pending += fresh
    return found


def _nearest(
    graph: ModelGraph, start: int, wanted: frozenset[str], through: frozenset[str], forward: bool
) -> tuple[int, ...]:
    """The nearest nodes with a wanted operation, looking through other operations."""
    carries, users = _carries_data(graph), _users(graph)
    found, seen, pending = set(), {start}, [start]
    while pending:
        i = pending.pop()
        for j in users[i] if forward else graph.nodes[i].inputs:
            operation = graph.nodes[j].operation
            if j in seen or not carries[j]:
                continue
            seen.add(j)
            if operation in wanted:
                found.add(j)
            elif operation in through or operation == GETITEM:
                pending.append(j)
    return tuple(sorted(found))


# Layers


def _tensor_of(graph: ModelGraph, value: Value) -> TensorInfo | None:
    """The tensor that an argument is, seen through copies and casts; None where it is computed, or absent."""
    index = _index(value)
    while index is not None:
        node = graph.nodes[index]
        if node.kind == "tensor":
            return graph.tensors[node.tensor]
        if node.operation not in _COPIES and node.operation not in _RESHAPES:
            return None
        index = node.inputs[0]
    return None


def _sources(graph: ModelGraph, index: int, differentiable: bool) -> tuple[TensorInfo, ...]:
    nodes = (graph.nodes[i] for i in sorted(_ancestors(graph, index, differentiable)))
    return tuple(graph.tensors[node.tensor] for node in nodes if node.kind == "tensor")


def _integers(value: Value, count: int) -> Shape:
    """A size argument as one integer per dimension; torch takes one for all."""
    items = value if isinstance(value, tuple) else (value,)
    numbers = tuple(item if isinstance(item, int) else 0 for item in items)
    return numbers * count if len(numbers) == 1 else numbers


def _convolution(graph: ModelGraph, shapes: Shapes, node: Node) -> Convolution:
    weight_index = node.inputs[1]
    input_shape, output_shape = shapes[_first(node)] or (), shapes[node.index] or ()
    weight_shape = shapes[weight_index] or ()
    kernel = weight_shape[2:]
    transposed = "transpose" in node.operation
    stride, padding, dilation, groups = _settings(node, kernel, transposed)
    return Convolution(
        node=node.index,
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
        weight_sources=_sources(graph, weight_index, differentiable=False),
        trainable_sources=_sources(graph, weight_index, differentiable=True) if node.grad else (),
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
    if node.operation in _names("addmm baddbmm"):
        return _references(node.args[1:3])
    if node.operation == "aten.einsum.default":
        return _references(node.args[1])
    return _references(node.args[:2])


def _linear(graph: ModelGraph, shapes: Shapes, node: Node, data: int, weight: int) -> Linear:
    bias: Value = None
    if node.operation == "aten.linear.default":
        bias = node.args[2]
    elif node.operation == "aten.addmm.default":
        bias = node.args[0]
    output_shape, input_shape = shapes[node.index] or (), shapes[data] or ()
    count, outputs = math.prod(shapes[weight] or ()), output_shape[-1] if output_shape else 1
    return Linear(
        node=node.index,
        operation=node.operation,
        in_features=count // max(outputs, 1),
        out_features=outputs,
        weight=_tensor_of(graph, Ref(weight)),
        weight_sources=_sources(graph, weight, differentiable=False),
        trainable_sources=_sources(graph, weight, differentiable=True) if node.grad else (),
        bias=_tensor_of(graph, bias),
        input_shape=input_shape,
        output_shape=output_shape,
        line=node.line,
    )


def _dropout(node: Node) -> Dropout:
    probability = node.args[1]
    share = float(probability) if isinstance(probability, (int, float)) else 0.0
    return Dropout(node.index, share, node.args[2] is True and share > 0, node.line)


# Additions


def _summands(graph: ModelGraph, node: Node) -> tuple[int, ...]:
    """The values that a node adds and that carry data: of `a + b`, of a stack summed up, of `addcmul(a, b, c)`."""
    carries = _carries_data(graph)
    if node.operation in _ADDITIONS:
        return tuple(i for i in _references(node.args[:2]) if carries[i])
    if node.operation in _names("sum.dim_IntList mean.dim"):
        source = graph.nodes[_first(node)]
        stacked = source.operation == "aten.stack.default" and node.args[1] in {(source.args[1],), source.args[1]}
        return tuple(i for i in _references(source.args[0]) if carries[i]) if stacked else ()
    if node.operation in _names("addcmul addcmul_"):
        factors = [i for i in _references(node.args[1:3]) if carries[i]]
        base = [i for i in _references(node.args[:1]) if carries[i]]
        return (base[0], factors[0]) if base and len(factors) == 1 else ()
    return ()


def _leaves(parts: tuple[int, ...], sums: dict[int, tuple[int, ...]], inner: set[int]) -> list[int]:
    leaves: list[int] = []
    for part in parts:
        leaves += _leaves(sums[part], sums, inner) if part in inner else [part]
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
                if isinstance(found, tuple):
                    return Addition(index, line, True, shortcut=found[0], branch_convolutions=found[1])
                reasons.append(found)
    if not reasons:
        return Addition(index, line, False, reason="same value")
    order = ["detached", "no convolution between", "unrelated"]
    return Addition(index, line, False, reason=min(reasons, key=order.index))


def _residual(graph: ModelGraph, shapes: Shapes, shortcut: int, branch: int) -> tuple[str, tuple[int, ...]] | str:
    """How `shortcut` bypasses `branch`: kind of shortcut and the convolutions bypassed; or why it does not."""
    with_gradient = _ancestors(graph, branch, differentiable=True)
    reason = "unrelated"
    for value, kind, own in _shortcut_values(graph, shapes, shortcut):
        if value in with_gradient:
            passed = _convolutions_between(graph, value, branch, with_gradient) - own
            if passed:
                return kind, tuple(sorted(passed))
            reason = min(reason, "no convolution between")
        elif value in _ancestors(graph, branch):
            reason = "detached"
    stopped = any(not _passes_gradient(graph.nodes[i]) for i in (shortcut, branch) if graph.nodes[i].kind == "call")
    return "detached" if stopped or _behind_stop(graph, shapes, shortcut, branch) else reason


def _behind_stop(graph: ModelGraph, shapes: Shapes, shortcut: int, branch: int) -> bool:
    """Whether the two would be a residual pair if gradients did not stop on the way of the shortcut."""
    ancestors = _ancestors(graph, branch)
    kinds = _shortcut_values(graph, shapes, shortcut, through_stops=True)
    return any(
        value in ancestors and _convolutions_between(graph, value, branch, ancestors) - own for value, _, own in kinds
    )


def _shortcut_values(
    graph: ModelGraph, shapes: Shapes, start: int, through_stops: bool = False
) -> list[tuple[int, str, frozenset[int]]]:
    """Values that `start` may be a shortcut from, nearest first: (node, kind of shortcut, convolutions on the way).

    Steps back through what a shortcut may do, one 1×1 convolution at most.
    """
    carries = _carries_data(graph)
    plain = _ACTIVATIONS | _NORMS | _COPIES | DROPOUTS
    reshaping = _POOLS | _RESHAPES | _RESIZES
    found: list[tuple[int, str, frozenset[int]]] = []
    pending: list[tuple[int, str, frozenset[int]]] = [(start, "identity", frozenset())]
    seen = set()
    while pending:
        index, kind, own = pending.pop(0)
        if (index, bool(own)) in seen:
            continue
        seen.add((index, bool(own)))
        found.append((index, kind, own))
        node = graph.nodes[index]
        if node.kind != "call" or not (_passes_gradient(node) or through_stops):
            continue
        data = [i for i in dict.fromkeys(node.inputs) if carries[i]]
        if node.operation in CONVOLUTIONS and not own and set((shapes[node.inputs[1]] or ())[2:]) == {1}:
            pending.append((data[0], "projection", own | {index}))
        elif node.operation in plain or (node.operation in _SCALINGS and len(data) == 1):
            pending += [(i, kind, own) for i in data]
        elif node.operation in reshaping:
            pending += [(i, "reshaped" if kind == "identity" else kind, own) for i in data]
    return found


def _convolutions_between(graph: ModelGraph, value: int, branch: int, ancestors: set[int]) -> set[int]:
    """Convolutions on a path from `value` to `branch`, among the branch's ancestors."""
    reached = {value}
    between = set()
    for i in sorted(a for a in ancestors if value < a <= branch):
        node = graph.nodes[i]
        if node.operation not in _SHAPE_ONLY and not reached.isdisjoint(_data_inputs(node)):
            reached.add(i)
            if node.operation in CONVOLUTIONS:
                between.add(i)
    return between


def _data_inputs(node: Node) -> tuple[int, ...]:
    """What a node computes on: of a convolution the images, not the weights."""
    return node.inputs[:1] if node.operation in CONVOLUTIONS else node.inputs


# Blocks


def _halvings(before: Shape, after: Shape) -> tuple[int, ...]:
    """How often each spatial dimension was divided by two, rounded: 32 → 30 → 15 is once (no padding), 32 → 8 twice."""
    return tuple(round(math.log2(b / a)) if a and b else 0 for b, a in zip(before[2:], after[2:], strict=True))


def _is_map(shape: Shape | None) -> bool:
    return shape is not None and len(shape) == 4 and math.prod(shape[2:]) > 1


def _is_vector(shape: Shape | None) -> bool:
    """One value or more per image without height and width: (N, F), or (N, C, 1, 1)."""
    return shape is not None and (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)))


class _Cutter:
    """Finds the best way to cut a trunk into blocks."""

    def __init__(self, graph: ModelGraph, shapes: Shapes, channels: tuple[int, ...]) -> None:
        self.graph, self.shapes, self.channels = graph, shapes, channels
        path = _path(graph)
        on_path = set(path)
        trunk = _trunk(graph, path)
        self.convolutions = [c for c in convolutions(graph, shapes) if c.node in on_path]
        self.norms = [n for n in batch_norms(graph, shapes) if n.node in on_path]
        self.points = self.feature_points([i for i in trunk if len(shapes[i] or ()) == 4])
        # Counts up to and including each point: what lies between two points is a difference.
        self.conv_counts = [sum(c.node <= p for c in self.convolutions) for p in self.points]
        self.norm_counts = [sum(n.node <= p for n in self.norms) for p in self.points]

    def feature_points(self, maps: list[int]) -> list[int]:
        """The trunk's feature maps, without what the head does to them."""
        classes = (self.shapes[self.graph.output] or (0,))[-1]
        last = max((c.node for c in self.convolutions if not _makes_scores(c, classes)), default=-1)
        points = []
        for i in maps:
            shrinks = points and math.prod((self.shapes[i] or ())[2:]) < math.prod((self.shapes[points[-1]] or ())[2:])
            if i > last and shrinks and (self.shapes[i] or ())[2:] == (1, 1) and self.is_global(i):
                break
            if any(p.node == i for p in self.convolutions if _makes_scores(p, classes) and p.node > last):
                break
            points.append(i)
        return _thin(points, self.shapes)

    def is_global(self, index: int) -> bool:
        """Whether a 1×1 map comes from averaging all of a map: that is the head, not a block's own pooling."""
        source = self.shapes[_first(self.graph.nodes[index])] or ()
        operation = self.graph.nodes[index].operation
        local = operation.startswith("aten.max_pool") and _halvings(source, self.shapes[index] or ()) == (1, 1)
        return operation not in CONVOLUTIONS and not local

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
                    if end not in row or total > row[end][0]:
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
            int(_halvings(before, after) == (1, 1)),
            int(self.norm_counts[end] > self.norm_counts[start]),
            int(matches),
        )

    def block(self, start: int, end: int) -> Block:
        low, high = self.points[start], self.points[end]
        inside = tuple(c for c in self.convolutions if low < c.node <= high)
        norms = tuple(n for n in self.norms if low < n.node <= high)
        return Block(self.shapes[low] or (), self.shapes[high] or (), inside, norms, inside[0].line if inside else 0)


def _makes_scores(convolution: Convolution, classes: int) -> bool:
    return convolution.is_pointwise and convolution.out_channels == classes


def _thin(points: list[int], shapes: Shapes, most: int = 400) -> list[int]:
    """Keep a very deep trunk affordable: where the shape stays the same, the first and last point are enough."""
    if len(points) <= most:
        return points
    kept = [
        p
        for k, p in enumerate(points)
        if k in {0, len(points) - 1} or shapes[p] != shapes[points[k - 1]] or shapes[p] != shapes[points[k + 1]]
    ]
    return kept[:: -(-len(kept) // most)]


# Head


def _last_feature(graph: ModelGraph, shapes: Shapes, maps: list[int]) -> int:
    """The last map with height and width, before pooling in several steps takes one of them away."""
    for index in reversed(maps):
        if graph.nodes[index].operation not in _REDUCTIONS:
            return index
    return maps[-1]


def _pooling_kind(
    graph: ModelGraph, steps: list[int], features: Shape | None, vector: Shape | None
) -> tuple[str | None, int]:
    """What kind of pooling takes a feature map to a vector, and its line; None where nothing is pooled."""
    if features is None or vector is None or math.prod(vector) >= math.prod(features):
        return None, 0
    averages = [i for i in steps if graph.nodes[i].operation in _AVERAGES]
    maxima = [i for i in steps if graph.nodes[i].operation in _MAXIMA]
    others = [i for i in steps if graph.nodes[i].operation in _REDUCTIONS | _MATRIX_PRODUCTS]
    for kind, found in (
        ("mixed", averages if maxima else []),
        ("average", averages),
        ("max", maxima),
        ("other", others),
    ):
        if found:
            return kind, graph.nodes[found[0]].line
    return None, 0


def _line_of(graph: ModelGraph, between: Iterable[int], vector: int) -> int:
    return next((graph.nodes[i].line for i in between if i <= vector and graph.nodes[i].line), 0)


def _classifiers(
    graph: ModelGraph, shapes: Shapes, path: tuple[int, ...], last: int
) -> tuple[Linear | Convolution, ...]:
    """Linear layers after the last feature map; else the 1×1 convolution that makes the scores map by map."""
    on_path = set(path)
    found: list[Linear | Convolution] = [n for n in linears(graph, shapes) if n.node in on_path and n.node > last]
    pointwise = [c for c in convolutions(graph, shapes) if c.node in on_path and set(c.kernel) == {1}]
    found += [c for c in pointwise if c.node > last]
    if not found:
        classes = (shapes[graph.output] or (0,))[-1]
        spatial = [c.node for c in convolutions(graph, shapes) if c.node in on_path and set(c.kernel) != {1}]
        found += [c for c in pointwise[-1:] if _makes_scores(c, classes) and c.node > max(spatial, default=-1)]
    return tuple(sorted(found, key=lambda layer: layer.node))


def _last_spatial_convolution(
    graph: ModelGraph, shapes: Shapes, path: tuple[int, ...], classifiers: tuple[Linear | Convolution, ...]
) -> int:
    """The last convolution that is no classifier; dropout after it counts as before the classifier."""
    heads = {layer.node for layer in classifiers}
    return max((c.node for c in convolutions(graph, shapes) if c.node in set(path) and c.node not in heads), default=-1)
