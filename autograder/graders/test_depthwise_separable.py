"""Hidden checks of exercise 3: depthwise separable convolution, and how many weights it saves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from autograder.checks import CheckContext, CheckEnded, expect, fail, points, requires
from autograder.core.grade_report import Status
from autograder.graders.answers import expect_number, integer_answer
from autograder.graders.effects import everywhere
from autograder.graders.networks import Array, Network, networks, up_to
from autograder.graders.weights import expect_learning_weights
from autograder.graphs.analysis import Convolution, Linear, linears

MODULE, COUNT = "depthwise-separable-tests", "depthwise-count"
Layer = Convolution | Linear
SIGNATURE = {"kernel_size": 3, "stride": 1, "padding": 1}


@pytest.fixture(scope="module")
def builds(graded: CheckContext) -> list[Network]:
    """`DepthwiseSeparableConv` with several channels, kernel sizes, strides and paddings."""
    return networks(graded, "DepthwiseSeparableConv")


def layers(network: Network) -> list[Layer]:
    """Everything with weights that computes: a linear layer over the channels is a 1×1 convolution, too."""
    found: list[Layer] = [*network.convolutions, *linears(network.evaluation.graph, network.evaluation.shapes)]
    return sorted(found, key=lambda layer: layer.node)


def channels_seen(layer: Layer) -> int:
    """How many input channels each kernel looks at."""
    return layer.in_features if isinstance(layer, Linear) else layer.in_channels // layer.groups


def is_pointwise(layer: Layer) -> bool:
    return isinstance(layer, Linear) or layer.is_pointwise


def depthwise_stage(network: Network) -> tuple[list[Layer], Layer | None]:
    """The layers that work in space (one per channel is fine, as is one for all), and the one that comes next."""
    found = layers(network)
    if not found:
        fail("no convolution found: a depthwise and a pointwise convolution are asked for")
    count = 1
    if channels_seen(found[0]) == 1:
        count = next((i for i, layer in enumerate(found) if channels_seen(layer) > 1), len(found))
    return found[:count], found[count] if count < len(found) else None


def is_reversed(network: Network) -> bool:
    """Whether the 1×1 convolution comes first."""
    found = layers(network)
    return len(found) > 1 and is_pointwise(found[0]) and channels_seen(found[1]) == 1


def arguments(network: Network) -> dict[str, int]:
    return {**SIGNATURE, **network.build.arguments}


def side_of(a: Mapping[str, int], size: int) -> int:
    """Height and width that a standard convolution with these arguments gives."""
    return (size + 2 * a["padding"] - a["kernel_size"]) // a["stride"] + 1


def output_shape(network: Network) -> tuple[int, ...]:
    """What a standard convolution with the same arguments gives."""
    a = arguments(network)
    side = side_of(a, network.size)
    return network.batch, a["out_channels"], side, side


@points(
    4,
    cell=MODULE,
    hint="The depthwise convolution takes kernel_size, stride and padding; the pointwise one the channels.",
)
def test_output_shapes(builds: list[Network]) -> None:
    """Output shapes follow channels, kernel size, stride and padding"""
    found = [tuple(network.logits(network.images(network.batch)).shape) for network in builds]
    if found != [output_shape(network) for network in builds]:
        explain_shapes(builds, found)


def explain_shapes(builds: Sequence[Network], found: Sequence[tuple[int, ...]]) -> None:
    """Fail with the one mistake that explains all shapes, if there is one."""
    for network, shape in zip(builds, found, strict=True):
        expect(len(shape) == 4, "expected an output with 4 axes [N, C, H, W], found another number of them")
        a = arguments(network)
        if shape[1] != a["out_channels"]:
            ignored = shape[1] == a["in_channels"]
            fail(f"the output must have out_channels channels, it has {'in_channels' if ignored else 'another number'}")
    stage, second = depthwise_stage(builds[0])
    line = stage[0].line
    sides = [shape[2:] for shape in found]
    for message, mistaken in DEPTHWISE_MISTAKES.items():
        if sides == [(mistaken(arguments(n), n.size),) * 2 for n in builds]:
            fail(f"{message}: hand it to the depthwise convolution", line=line)
    for message, mistaken in POINTWISE_MISTAKES.items():
        if sides == [(mistaken(arguments(n), n.size),) * 2 for n in builds]:
            fail(f"{message}: only the depthwise convolution takes it", line=second.line if second else 0)
    fail(
        "height and width of the output differ from those of a standard convolution with the same arguments: the "
        "depthwise convolution takes kernel_size, stride and padding as they are, the pointwise one none of them",
        line=line,
    )


Side = Callable[[Mapping[str, int], int], int]
DEPTHWISE_MISTAKES: dict[str, Side] = {
    "`stride` has no effect": lambda a, n: side_of({**a, "stride": 1}, n),
    "`padding` has no effect": lambda a, n: side_of({**a, "padding": 1}, n),
    "`padding` is left out": lambda a, n: side_of({**a, "padding": 0}, n),
    "the padding is derived from the kernel size, `padding` has no effect": (
        lambda a, n: side_of({**a, "padding": a["kernel_size"] // 2}, n)
    ),
    "`kernel_size` has no effect": lambda a, n: side_of({**a, "kernel_size": 3}, n),
}
POINTWISE_MISTAKES: dict[str, Side] = {
    "`stride` is applied twice": lambda a, n: (side_of(a, n) - 1) // a["stride"] + 1,
    "`padding` is applied twice": lambda a, n: side_of(a, n) + 2 * a["padding"],
    "`stride` and `padding` are applied twice": (
        lambda a, n: (side_of(a, n) + 2 * a["padding"] - 1) // a["stride"] + 1
    ),
}


@points(4, cell=MODULE, hint="nn.Conv2d(in_channels, in_channels, kernel_size, ..., groups=in_channels)")
def test_first_is_depthwise(builds: list[Network]) -> None:
    """The first convolution is depthwise: each channel has a kernel of its own"""
    for network in builds:
        if is_reversed(network):
            fail(
                "the pointwise convolution comes first: filter in space first, then mix the channels",
                line=layers(network)[0].line,
            )
        stage, following = depthwise_stage(network)
        for layer in stage:
            expect_depthwise(layer, network)
        kernels = sum(layer.out_channels for layer in stage if isinstance(layer, Convolution))
        expect(
            kernels == arguments(network)["in_channels"],
            "one kernel per input channel is asked for: the depthwise convolution must have as many output as input "
            "channels",
            line=stage[0].line,
        )
        expect_channels_apart(network, following)
        expect_acting(network, stage, "the depthwise convolution")


def expect_depthwise(layer: Layer, network: Network) -> None:
    if channels_seen(layer) == 1 and isinstance(layer, Convolution):
        return
    if isinstance(layer, Convolution) and layer.groups > 1:
        found = "groups is neither 1 nor in_channels, so channels still meet within a group"
    else:
        found = "a standard one, whose kernels look at all input channels"
    fail(f"the first convolution must be depthwise, found {found}: groups=in_channels", line=layer.line)


def expect_channels_apart(network: Network, following: Layer | None) -> None:
    """Until the mixing layer, a change in input channel i shows in channel i only."""
    if following is None:
        return  # there is no mixing layer: the next check says so
    graph = up_to(network.evaluation.graph, following.data)
    handle = network.runner.load(graph, network.evaluation.tensors)
    images = network.images(network.batch)
    plain = by_channel(network.runner.run(handle, images), following)
    for channel in range(images.shape[1]):
        changed = images.copy()
        changed[:, channel] = changed[:, channel, ::-1] + 1
        difference = np.abs(by_channel(network.runner.run(handle, changed), following) - plain)
        # Each channel by its own size: one that is huge must not hide what happens in the others.
        moved = difference.max(axis=1) > 1e-5 * np.abs(plain).max(axis=1)
        expect(
            not moved[np.arange(len(moved)) != channel].any(),
            "before the 1×1 convolution the channels must stay apart, but a change in one of them shows in others",
            line=following.line,
        )
    network.runner.release(handle)


def by_channel(values: Array, layer: Layer) -> Array:
    """What a layer mixes, (N, C, H, W) or (N, H, W, C) before a linear one, as rows of channels (C, ...)."""
    axis = layer.axis if isinstance(layer, Linear) else 1
    expect(
        values.ndim > axis and values.size > 0,
        "the layer that mixes the channels works on a value without pixels: give it what the depthwise one made",
        line=layer.line,
    )
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def expect_acting(network: Network, stage: Sequence[Layer], what: str) -> None:
    """Every layer of a stage has an effect on the output."""
    acting = network.effects.effective([(layer, everywhere(layer.node)) for layer in stage], len(stage))
    idle = next((layer for layer in stage if layer not in acting), None)
    expect(idle is None, f"{what} has no effect on the output: use what it computes", line=idle.line if idle else 0)


@points(3, cell=MODULE, hint="nn.Conv2d(in_channels, out_channels, kernel_size=1)")
def test_second_is_pointwise(builds: list[Network]) -> None:
    """The second convolution is 1×1 and mixes all channels"""
    for network in builds:
        if is_reversed(network):
            raise CheckEnded(Status.SKIPPED, "not judged, because the two convolutions come in the wrong order")
        _, second = depthwise_stage(network)
        if second is None:
            fail("no second convolution that mixes the channels found: add the 1×1 one")
        expect(
            is_pointwise(second),
            "the second convolution must be 1×1 over all channels, found "
            + ("one with groups" if isinstance(second, Convolution) and second.groups > 1 else "a larger kernel"),
            line=second.line,
        )
        expect_acting(network, [second], "the 1×1 convolution")


@points(3, cell=MODULE, hint="Only two convolutions: C_in·k² weights in the first, C_in·C_out in the second.")
@requires("test_first_is_depthwise", "test_second_is_pointwise")
def test_weight_ratio(builds: list[Network]) -> None:
    """The convolutions have 1/C_out + 1/k² of the weights of a standard one"""
    for network in builds:
        found = layers(network)
        a = arguments(network)
        # The kernel that is there: whether it is the one asked for shows in the output shapes.
        area = math.prod(found[0].kernel) if isinstance(found[0], Convolution) else 1
        standard = a["in_channels"] * a["out_channels"] * area
        weights = sum(weight_count(layer) for layer in found)
        if weights * a["out_channels"] * area != standard * (area + a["out_channels"]):
            expected = 1 / a["out_channels"] + 1 / area
            more = "more" if weights / standard > expected else "fewer"
            many = ", in more than two layers" if len(found) > 2 else ""
            fail(
                f"the convolutions have {more} weights than C_in·k² + C_in·C_out{many}: one depthwise and one "
                "pointwise convolution are asked for",
                line=found[2].line if len(found) > 2 else 0,
            )


def weight_count(layer: Layer) -> int:
    return layer.in_features * layer.out_features if isinstance(layer, Linear) else layer.weight_count


@points(1, cell=MODULE, hint="Assign both convolutions to attributes in __init__, and use them in forward.")
def test_trains(builds: list[Network]) -> None:
    """Both convolutions are registered and receive gradient"""
    expect_learning_weights(builds[0], loss="square")


# How many weights


@points(2, cell=COUNT, hint="Every output channel has a k×k kernel for every input channel.")
def test_standard_weights(graded: CheckContext) -> None:
    """The weights of the standard convolution, 64 → 128, k = 3"""
    misconceptions = {
        73_856: "That includes the 128 biases: count the convolution's weights only",
        576: "That is one kernel per input channel; every output channel has its own for each of them",
        1_152: "That is one kernel per output channel; each looks at all 64 input channels",
        8_192: "The kernels are 3×3",
        24_576: "A 3×3 kernel has 9 weights",
    }
    found = integer_answer(graded, "answer_standard_weights")
    expect_number(
        found, 73_728, "answer_standard_weights", misconceptions, "Multiply: C_out, C_in, and the kernel's k·k"
    )


@points(3, cell=COUNT, hint="C_in kernels of k×k, plus one weight for each pair of input and output channel.")
def test_separable_weights(graded: CheckContext) -> None:
    """The weights of the depthwise and the pointwise convolution together"""
    misconceptions = {
        9_152: "That includes batch norm: count the two convolutions' weights only",
        8_960: "That includes biases: count the two convolutions' weights only",
        8_896: "That includes biases: count the two convolutions' weights only",
        8_832: "That includes biases: count the two convolutions' weights only",
        576: "That is the depthwise convolution alone: add the pointwise one",
        8_192: "That is the pointwise convolution alone: add the depthwise one",
        9_344: "The depthwise convolution has one kernel per *input* channel",
        73_728: "That is the standard convolution",
    }
    found = integer_answer(graded, "answer_separable_weights")
    expect_number(found, 8_768, "answer_separable_weights", misconceptions, "Add the weights of two convolutions")
