"""What figures show of a submission: its networks as boxes, how the weights did, and the curve that the file tells.

Nothing here decides a point. What cannot be drawn, for whatever is wrong with the student's network, is left out: the
checks say what it is.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from autograder.accuracy import Accuracy
from autograder.checks import CheckEnded, Graded
from autograder.data import Dataset
from autograder.graders.models import Export, networks
from autograder.graph import ModelGraph, Node, decode_line
from autograder.graph_analysis import (
    BatchNorm,
    Convolution,
    Linear,
    batch_norms,
    convolutions,
    linears,
    parameter_count,
)
from autograder.graph_analysis.flow import (
    ACTIVATIONS,
    ADDITIONS,
    COPIES,
    MAXIMA,
    NORMS,
    POOLS,
    REDUCTIONS,
    RESHAPES,
    as_read,
    carries_data,
    names,
)
from autograder.operations import DROPOUTS, GETITEM
from autograder.results import Curve, Evaluation, Layer, Mistake, Model
from autograder.runner import RunnerProblem
from autograder.strict_json import BadJson, count_values, parse_json

MOST_LAYERS = 400  # boxes; of more, the middle is left out
MOST_EPOCHS = 1000
MOST_HISTORY = 1 << 20  # bytes of a file's history that are read
CONCATENATIONS = names("cat concat concatenate stack")
SILENT = COPIES | names("type_as") | {GETITEM}  # nothing that a reader of a drawing asks for
WORDS = {"relu_": "ReLU", "relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "silu_": "SiLU", "softmax": "softmax"}
Weighted = Mapping[int, Convolution | Linear | BatchNorm]


def describe_models(graded: Graded) -> list[Model]:
    """Every network of the exercise that could be exported, as its first build shows it.

    A build with arguments that were drawn by the course's secret is not shown: its channels are the answer to a hidden
    test.
    """
    found = []
    for probe in graded.exercise.modules:
        try:
            network = networks(graded, probe.name)[0]
            if not network.is_drawn:
                found.append(describe(graded.exercise.notebook, network.name, network.evaluation))
        except (CheckEnded, RunnerProblem):
            continue
    return found


def describe(notebook: str, name: str, export: Export) -> Model:
    """A network as a list of boxes, in the order in which it computes."""
    layers = layers_of(export.graph, export.shapes)
    shown, left_out = _shortened(layers)
    return Model(notebook, name, parameter_count(export.graph), export.info.macs_per_image, shown, left_out)


def layers_of(graph: ModelGraph, shapes: Sequence[tuple[int, ...] | None]) -> list[Layer]:
    """Every step that a reader would name, with the steps before it; copies and arithmetic on sizes are passed over."""
    read, read_shapes = as_read(graph, shapes)
    carries = carries_data(read)
    weighted: dict[int, Convolution | Linear | BatchNorm] = {}
    for found in (convolutions(graph, shapes), linears(graph, shapes), batch_norms(graph, shapes)):
        weighted |= {layer.node: layer for layer in found}
    layers: list[Layer] = []
    boxes: dict[int, int] = {}  # node -> box that shows its value
    for node in read.nodes:
        if node.kind == "output" or not carries[node.index]:
            continue
        inputs = list(dict.fromkeys(boxes[i] for i in node.inputs if i in boxes))
        shape = list((read_shapes[node.index] or ())[1:])
        if node.kind == "input":
            layers.append(Layer("input", "Images", shape, []))
        elif len(inputs) == 1 and (node.operation in SILENT or _keeps(node, layers[inputs[0]], shape)):
            boxes[node.index] = inputs[0]
            continue
        else:
            kind, text = _named(node, weighted)
            cell, line = decode_line(node.line)
            layers.append(Layer(kind, text, shape, inputs, _parameters(weighted.get(node.index)), cell, line))
        boxes[node.index] = len(layers) - 1
    return layers


def _keeps(node: Node, before: Layer, shape: list[int]) -> bool:
    """Whether a step only says again what shape there is, as a second flatten does."""
    return node.operation in RESHAPES and list(before.shape) == shape


def _named(node: Node, weighted: Weighted) -> tuple[str, str]:
    """A step's kind, and its name for a reader."""
    layer = weighted.get(node.index)
    if isinstance(layer, Convolution):
        return "convolution", _convolution(layer)
    if isinstance(layer, Linear):
        return "linear", f"Linear {layer.in_features}→{layer.out_features}"
    if isinstance(layer, BatchNorm):
        return "norm", f"BatchNorm {layer.channels}"
    plain = node.operation.removeprefix("aten.").split(".")[0]
    word = plain.strip("_").replace("_", " ")
    if node.operation in POOLS or node.operation in REDUCTIONS:
        return "pool", _pooling(node, plain)
    if node.operation in CONCATENATIONS:
        return "concat", "concatenate"
    kinds = {"activation": ACTIVATIONS, "norm": NORMS, "dropout": DROPOUTS, "add": ADDITIONS, "reshape": RESHAPES}
    kind = next((kind for kind, operations in kinds.items() if node.operation in operations), "other")
    if kind == "add":
        return "add", "+"
    if kind == "dropout":
        return "dropout", "dropout"
    return kind, "flatten" if plain in ("view", "reshape") else WORDS.get(plain, word)


def _convolution(layer: Convolution) -> str:
    kernel = "×".join(map(str, layer.kernel))
    parts = [f"{'Transposed conv' if layer.transposed else 'Conv'} {kernel}, {layer.in_channels}→{layer.out_channels}"]
    if layer.is_depthwise:
        parts.append("depthwise")
    elif layer.groups > 1:
        parts.append(f"{layer.groups} groups")
    parts += [f"{word} {max(size)}" for word, size, usual in (("stride", layer.stride, 1),) if max(size) != usual]
    parts += [f"dilation {max(layer.dilation)}"] if max(layer.dilation) > 1 else []
    return ", ".join(parts)


def _pooling(node: Node, plain: str) -> str:
    kind = "Max" if node.operation in MAXIMA else "Average" if "avg" in plain or plain == "mean" else plain
    if plain.startswith("adaptive") or node.operation in REDUCTIONS:
        return f"{kind} over all" if plain in ("mean", "amax") else f"{kind} pool, adaptive"
    size = node.args[1] if len(node.args) > 1 else None
    return f"{kind} pool {'×'.join(map(str, size))}" if isinstance(size, tuple) and size else f"{kind} pool"


def _parameters(layer: Convolution | Linear | BatchNorm | None) -> int:
    """Of one layer; tied weights count with each layer that uses them."""
    if layer is None:
        return 0
    own = [layer.weight, layer.bias] if isinstance(layer, BatchNorm) else [*layer.weight_sources, layer.bias]
    return sum({t.key: t.numel for t in own if t is not None and t.kind in ("parameter", "frozen")}.values())


def _shortened(layers: list[Layer]) -> tuple[list[Layer], int]:
    """The first and the last boxes of a network with too many; edges from the middle come from the cut."""
    left_out = len(layers) - MOST_LAYERS
    if left_out <= 0:
        return layers, 0
    half = MOST_LAYERS // 2
    cut = Layer("other", f"… {left_out + 1} more …", [], [half - 1], times=left_out + 1)
    places = {old: new for new, old in enumerate([*range(half), *range(half + left_out + 1, len(layers))])}
    places |= dict.fromkeys(range(half, half + left_out + 1), half)
    places |= {old: places[old] + 1 for old in range(half + left_out + 1, len(layers))}
    tail = [replace(layer, inputs=sorted({places[i] for i in layer.inputs})) for layer in layers[half + left_out + 1 :]]
    return [*layers[:half], cut, *tail], left_out


# How the weights did


def evaluation_of(notebook: str, found: Accuracy, test_set: Dataset) -> Evaluation:
    """An accuracy with what a figure shows of it: the confusion matrix, and the surest mistakes as images."""
    low, high = found.interval
    classes = [str(name) for name in test_set.classes]
    mistakes = [
        Mistake(
            as_png(test_set.images[m.image]), classes[int(test_set.labels[m.image])], classes[m.predicted], m.confidence
        )
        for m in found.mistakes
    ]
    confusion = [list(row) for row in found.confusion]
    total = len(test_set.labels)
    return Evaluation(
        notebook, found.correct, found.total, total, low, high, classes, confusion, mistakes, found.not_finite
    )


def as_png(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    """A uint8 image (3, H, W) as PNG in base64."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")


def curve_of(notebook: str, history: str) -> Curve | None:
    """The learning curve that a checkpoint tells as JSON, which is the student's own claim; None where it is none."""
    text = history.encode("utf-8", "replace")
    if not text or len(text) > MOST_HISTORY or count_values(text) > 10 * MOST_EPOCHS:
        return None
    try:
        record = parse_json(text)
    except BadJson:
        return None
    if not isinstance(record, dict):
        return None
    lists = {
        name: _numbers(record.get(name))
        for name in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    }
    return Curve(notebook, **lists) if any(lists.values()) else None


def _numbers(value: object) -> list[float]:
    """A list of finite numbers, empty where it is something else."""
    if not isinstance(value, list) or len(value) > MOST_EPOCHS:
        return []
    plain = [float(x) for x in value if type(x) in (int, float) and abs(x) < 1e9 and math.isfinite(x)]
    return plain if len(plain) == len(value) else []
