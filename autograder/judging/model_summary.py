"""What figures show of a submission: its networks as boxes, how the weights did, and the curve that the file tells.

Nothing here decides a point, and no graph is run for it: drawn is what the checks have looked at. What cannot be drawn,
for whatever is wrong with the student's network, is left out, since the checks say what it is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from autograder.core.grade_report import Curve, Evaluation, Layer, Mistake, Model
from autograder.core.source_lines import decode_line
from autograder.core.strict_json import BadJson, count_values, parse_json
from autograder.core.weights_file import choose_weights
from autograder.graphs.analysis import (
    BatchNorm,
    Convolution,
    Linear,
    batch_norms,
    convolutions,
    linears,
    parameter_count,
)
from autograder.graphs.analysis.flow import (
    ACTIVATIONS,
    COPIES,
    MAXIMA,
    NORMS,
    POOLS,
    REDUCTIONS,
    RESHAPES,
    Shape,
    Shapes,
    carries_data,
    names,
    tensor_masks,
    users_of,
    without_in_place_writes,
)
from autograder.graphs.model_graph import ModelGraph, Node
from autograder.graphs.operations import DROPOUTS, GETITEM
from autograder.graphs.tensor_file import BadTensors, read_header
from autograder.judging.accuracy import Accuracy
from autograder.judging.check_language import CheckContext
from autograder.judging.datasets import Dataset

if TYPE_CHECKING:  # the grading process must not import graders' helpers before it knows whose they are
    from autograder.graphs.runner import LoadedGraph

MOST_LAYERS = 400  # boxes; of more, the middle is left out
MOST_EPOCHS = 1000
MOST_LOSS = 1e9
MOST_HISTORY = 1 << 20  # bytes of a file's history that are read
CURVES = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")

# Nothing that a reader of a drawing asks for. `detach` is not among them: no gradient flows through it.
SILENT = COPIES - names("detach neg") | {GETITEM}
# These change nothing where the shape stays the same.
IDLE = names(
    "view reshape view_as reshape_as flatten.using_ints unflatten.int ravel squeeze squeeze.dim squeeze.dims squeeze_ "
    "squeeze_.dim expand expand_as broadcast_to slice.Tensor narrow"
)
FLATTENINGS = names(
    "view reshape view_as reshape_as flatten.using_ints ravel squeeze squeeze.dim squeeze.dims squeeze_ squeeze_.dim"
)
CONCATENATIONS = names("cat concat concatenate stack hstack vstack")
# As torch calls the layers; what is not here is shown by the operation's name.
WORDS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "glu": "GLU",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "log_softmax": "LogSoftmax",
    "log_sigmoid": "LogSigmoid",
    "batch_norm": "BatchNorm",
    "group_norm": "GroupNorm",
    "layer_norm": "LayerNorm",
    "instance_norm": "InstanceNorm",
    "rms_norm": "RMSNorm",
    "feature_dropout": "Dropout2d",
    "alpha_dropout": "AlphaDropout",
    "feature_alpha_dropout": "FeatureAlphaDropout",
    "cat": "Concatenate",
    "concat": "Concatenate",
    "add": "+",
    "sub": "−",
    "mul": "×",
    "div": "÷",
    "matmul": "Matrix product",
    "bmm": "Matrix product",
    "mm": "Matrix product",
    "scaled_dot_product_attention": "Attention",
    "transpose": "Permute",
    "unsqueeze": "Reshape",
    "upsample_nearest2d": "Upsample",
    "upsample_bilinear2d": "Upsample",
    "upsample_bicubic2d": "Upsample",
}
AXES = {1: "channels", 2: "height", 3: "width"}
KINDS = {"activation": ACTIVATIONS, "norm": NORMS, "dropout": DROPOUTS, "concat": CONCATENATIONS, "reshape": RESHAPES}
Weighted = Convolution | Linear | BatchNorm


def describe_models(graded: CheckContext) -> list[Model]:
    """Every network of the exercise whose eval graph a check has looked at, as its build without arguments.

    A build with drawn arguments is not shown: they come from the course's secret, and every size would tell them.
    """
    found = []
    for probe in graded.exercise.modules:
        for network in graded.networks.get(probe.name, ()):
            export = network.looked_at
            if export is not None and not network.is_drawn:
                found.append(describe_model(graded.exercise.notebook, network.name, export))
                break
    return found


def describe_model(notebook: str, name: str, export: LoadedGraph) -> Model:
    """A network as a list of boxes, in the order in which it computes."""
    layers, left_out = shortened(layers_of(export.graph, export.shapes))
    return Model(notebook, name, parameter_count(export.graph), export.info.macs_per_image, layers, left_out)


# Boxes


def layers_of(graph: ModelGraph, shapes: Shapes) -> list[Layer]:
    """Every step that a reader would name, with the steps before it; copies and arithmetic on sizes are passed over.

    A parameter counts in the first box that uses it.
    """
    graph, shapes = without_in_place_writes(graph, shapes)
    carries, users, weighted = carries_data(graph), users_of(graph), _weighted(graph, shapes)
    layers: list[Layer] = []
    boxes: dict[int, int] = {}  # node -> the box that shows its value
    shared: set[int] = set()  # boxes with several users
    for node, sources, parameters in zip(graph.nodes, *_sources(graph), strict=True):
        if not carries[node.index]:
            continue
        shape = (shapes[node.index] or ())[1:]
        box = boxes.get(sources[0]) if sources else None
        if box is not None and _is_passed_over(node, layers[box], shape):
            layers[box] = replace(layers[box], shape=layers[box].shape or shape)  # of several results, the one
        elif box is not None and _goes_on_reshaping(node, layers[box]) and box not in shared:
            text = "Flatten" if len(shape) == 1 else "Reshape"
            layers[box] = replace(layers[box], shape=shape, text=text)
        else:
            inputs = list(dict.fromkeys(boxes[i] for i in sources if i in boxes))
            given = (shapes[sources[0]] or ()) if sources else ()
            both = len(sources) > 1 and carries[sources[0]] and carries[sources[1]]
            kind, text = _named(node, weighted.get(node.index), given, shapes[node.index] or (), both)
            box = len(layers)
            layers.append(Layer(kind, text, shape, inputs, parameters, *decode_line(node.line)))
        boxes[node.index] = box
        if len(users[node.index]) > 1:
            shared.add(box)
    return layers


def _is_passed_over(node: Node, before: Layer, shape: Shape) -> bool:
    return node.operation in SILENT or (node.operation in IDLE and tuple(before.shape) == shape)


def _goes_on_reshaping(node: Node, before: Layer) -> bool:
    return node.operation in RESHAPES and before.kind == "reshape"


def _weighted(graph: ModelGraph, shapes: Shapes) -> dict[int, Weighted]:
    """The layers with weights that the checks see, too, by their nodes."""
    found: list[Weighted] = [*convolutions(graph, shapes), *linears(graph, shapes), *batch_norms(graph, shapes)]
    return {layer.node: layer for layer in found}


def _sources(graph: ModelGraph) -> tuple[list[tuple[int, ...]], list[int]]:
    """Per node: the values that it takes, and the number of parameters that it brings in beside the data.

    Each parameter is counted where it comes first.
    """
    carries, masks = carries_data(graph), tensor_masks(graph, False)
    counted: set[str] = set()
    seen, sources, parameters = 0, [node.inputs for node in graph.nodes], []
    for node, inputs in zip(graph.nodes, sources, strict=True):
        new = 0
        for index in inputs if carries[node.index] else ():
            new |= 0 if carries[index] else masks[index]
        new, seen = new & ~seen, seen | new
        total = 0
        while new:
            tensor = graph.tensors[(new & -new).bit_length() - 1]
            new &= new - 1
            if tensor.kind in ("parameter", "frozen") and tensor.key not in counted:
                counted.add(tensor.key)
                total += tensor.numel
        parameters.append(total)
    return sources, parameters


def _named(node: Node, layer: Weighted | None, given: Shape, shape: Shape, both: bool) -> tuple[str, str]:
    """A step's kind, and its name for a reader. `both`: it takes two values that are computed from the images."""
    if node.kind in ("input", "output"):
        return node.kind, node.kind.capitalize()
    if isinstance(layer, Convolution):
        return "convolution", _convolution(layer)
    if isinstance(layer, Linear):
        return "linear", f"Linear {layer.in_features}→{layer.out_features}"
    if isinstance(layer, BatchNorm):
        return "norm", f"BatchNorm {layer.channels}"
    plain = node.operation.removeprefix("aten.").split(".")[0].strip("_")
    word = WORDS.get(plain, plain.replace("_", " ").capitalize())
    if node.operation in POOLS:
        return "pool", _pooling(node, plain, shape)
    if node.operation in REDUCTIONS:
        return _reduction(node, word, given)
    if node.operation in FLATTENINGS:
        return "reshape", "Flatten" if len(shape) == 2 else "Reshape"
    if plain == "rsub":
        return "other", f"{node.args[1]:g} − …" if isinstance(node.args[1], (int, float)) else "−"
    if plain in ("add", "sub", "mul", "div"):
        number = node.args[1] if isinstance(node.args[1], (int, float)) else None
        return "add" if plain == "add" and both else "other", word if number is None else f"{word} {number:g}"
    kind = next((kind for kind, operations in KINDS.items() if node.operation in operations), "other")
    return kind, f"{word} {node.args[1]:g}" if kind == "dropout" and isinstance(node.args[1], float) else word


def _convolution(layer: Convolution) -> str:
    parts = [f"{'Transposed conv' if layer.transposed else 'Conv'} {_sizes(layer.kernel)}"]
    parts[0] += f", {layer.in_channels}→{layer.out_channels}"
    if layer.groups > 1:
        parts.append("depthwise" if layer.is_depthwise else f"{layer.groups} groups")
    parts += [f"stride {_step(layer.stride)}"] if max(layer.stride, default=1) > 1 else []
    parts += [f"dilation {_step(layer.dilation)}"] if max(layer.dilation, default=1) > 1 else []
    no_padding = not layer.transposed and max(layer.kernel, default=1) > 1 and not any(layer.padding)
    parts += ["no padding"] if no_padding else []
    return ", ".join(parts)


def _sizes(sizes: Sequence[object]) -> str:
    """A kernel is called 3×3."""
    return "×".join(map(str, sizes))


def _step(sizes: Sequence[object]) -> str:
    """A stride is called 2 where it is the same in all directions."""
    return str(sizes[0]) if len(set(sizes)) == 1 else _sizes(sizes)


def _pooling(node: Node, plain: str, shape: Shape) -> str:
    word = "max" if node.operation in MAXIMA else "average"
    if plain.startswith("adaptive"):
        left = shape[2:]
        return f"Adaptive {word} pool to {_sizes(left)}" if set(left) - {1} else f"Global {word} pool"
    axes = int(plain.partition("pool")[2][0])  # max_pool2d
    size, stride = (value if isinstance(value, tuple) else () for value in node.args[1:3])
    size, stride = (sizes * axes if len(sizes) == 1 else sizes for sizes in (size, stride))
    moves = f", stride {_step(stride)}" if stride and stride != size else ""
    return f"{word.capitalize()} pool {_sizes(size)}{moves}"


def _reduction(node: Node, word: str, given: Shape) -> tuple[str, str]:
    """A mean over height and width is a pool, however it is written; one over the channels is none."""
    value = node.args[2] if "norm" in node.operation else node.args[1] if len(node.args) > 1 else None
    named = [value] if isinstance(value, int) else list(value) if isinstance(value, tuple) else []
    axes = sorted({axis % len(given) for axis in named if isinstance(axis, int)} if given else ())
    axes = axes or list(range(len(given)))
    if len(given) == 4 and axes == [2, 3] and word in ("Mean", "Amax"):
        return "pool", f"Global {'average' if word == 'Mean' else 'max'} pool"
    over = ", ".join(AXES.get(axis, "images") if len(given) == 4 else f"axis {axis}" for axis in axes)
    return "other" if 1 in axes and len(given) == 4 else "pool", f"{word} over {over}"


def shortened(layers: list[Layer]) -> tuple[list[Layer], int]:
    """At most MOST_LAYERS boxes, and how many are left out in the middle, for which one box stands."""
    if len(layers) <= MOST_LAYERS:
        return layers, 0
    first = MOST_LAYERS // 2
    last = len(layers) - (MOST_LAYERS - first - 1)  # the first box after the gap
    gap = layers[first:last]
    before = sorted({place for layer in gap for place in layer.inputs if place < first})
    text = f"… {len(gap):,} steps more …"
    middle = Layer("other", text, gap[-1].shape, before, sum(layer.parameters for layer in gap))
    move = [*range(first), *[first] * len(gap), *range(first + 1, MOST_LAYERS)]
    tail = [replace(layer, inputs=sorted({move[place] for place in layer.inputs})) for layer in layers[last:]]
    return [*layers[:first], middle, *tail], len(gap)


# How the weights did


def evaluation_of(
    notebook: str, found: Accuracy, test_set: Dataset, private: Accuracy | None = None, holdout: Dataset | None = None
) -> Evaluation:
    """An accuracy with what a figure shows of it: the confusion matrix, and the surest mistakes as images.

    Where a private hold-out decides, its figures are shown and none of its images: pages travel.
    """
    if private is not None and holdout is not None:
        shown = evaluation_of(notebook, replace(private, mistakes=()), holdout)
        return replace(shown, data_set=holdout.name, public_correct=found.correct, public_images=found.total)
    low, high = found.interval
    classes = test_set.classes
    mistakes = [
        Mistake(
            as_png(test_set.images[m.image]), classes[int(test_set.labels[m.image])], classes[m.predicted], m.confidence
        )
        for m in found.mistakes
    ]
    total = len(test_set.labels)
    return Evaluation(
        notebook, found.correct, found.total, total, low, high, classes, found.confusion, mistakes, found.not_finite
    )


def as_png(image: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """A uint8 image (3, H, W) as PNG in base64."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")


# The curve that the file tells


def describe_curves(graded: CheckContext) -> list[Curve]:
    """The learning curve in the metadata of the checkpoint that was handed in, whether its weights fit or not.

    A file of `torch.save` has no metadata.
    """
    probe = graded.exercise.checkpoint
    choice = choose_weights(probe.stem, graded.files) if probe else None
    file = graded.files.get(choice.name) if choice and choice.is_safetensors else None
    if probe is None or file is None or file.size > probe.most_mib * 2**20:
        return []
    try:
        metadata = read_header(file.path.read_bytes()).metadata
    except BadTensors:
        return []
    curve = curve_of(graded.exercise.notebook, metadata.get("history", ""))
    return [curve] if curve else []


def curve_of(notebook: str, history: str) -> Curve | None:
    """The learning curve that a checkpoint tells as JSON, which is the student's own claim.

    None where any of it cannot be one: a part of what somebody claims would be a claim of ours.
    """
    text = history.encode("utf-8", "replace")
    if len(text) > MOST_HISTORY or count_values(text) > 8 * MOST_EPOCHS:
        return None
    try:
        record = parse_json(text)
    except BadJson:
        return None
    lists = [record.get(name, []) for name in CURVES] if isinstance(record, dict) else []
    if not any(lists) or not all(
        _is_curve(values, "accuracy" in name) for name, values in zip(CURVES, lists, strict=True)
    ):
        return None
    return Curve(notebook, *([float(value) for value in values] for values in lists))


def _is_curve(values: object, in_0_to_1: bool) -> bool:
    low, high = (0, 1) if in_0_to_1 else (-MOST_LOSS, MOST_LOSS)
    return (
        isinstance(values, list)
        and len(values) <= MOST_EPOCHS
        and all(type(value) in (int, float) and low <= value <= high for value in values)
    )
