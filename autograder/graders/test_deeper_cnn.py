"""Hidden checks of exercise 2: SimpleCNN with a fourth block."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autograder.checks import CheckContext, expect, fail, points
from autograder.graders.effects import everywhere
from autograder.graders.expectations import (
    expect_dropout,
    expect_free_batch,
    expect_global_average_pooling,
    expect_logits,
    expect_own_statistics,
    expect_raw_logits,
    expect_separate_images,
    other_norms,
)
from autograder.graders.networks import Network, expect_alive, networks
from autograder.graders.weights import expect_learning_weights
from autograder.graphs.analysis import Block, blocks, halved_times, map_sizes

CELL = "deeper-cnn-tests"
CHANNELS = (32, 64, 128, 256)


@pytest.fixture(scope="module")
def builds(graded: CheckContext) -> list[Network]:
    """`DeeperCNN` with the default and with another number of classes."""
    return networks(graded, "DeeperCNN")


@pytest.fixture(scope="module")
def deeper_cnn(builds: list[Network]) -> Network:
    """`DeeperCNN()`, in which something has an effect on the logits."""
    expect_alive(builds[0])
    return builds[0]


def trunk_blocks(network: Network) -> tuple[Block, ...]:
    """The network's trunk, divided into blocks."""
    found = blocks(network.evaluation.graph, network.evaluation.shapes, CHANNELS)
    expect(bool(found), "no convolution found, so there are no blocks")
    return found


def channels_of(found: Sequence[Block]) -> tuple[int, ...]:
    """The channels with which blocks end."""
    return tuple(block.out_channels for block in found)


def counted_blocks(network: Network) -> tuple[Block, ...]:
    """The trunk divided into as many blocks as it halves height and width, whatever is asked for."""
    graph, shapes = network.evaluation.graph, network.evaluation.shapes
    times = max(halved_times(map_sizes(graph, shapes)), 0)
    return blocks(graph, shapes, (*CHANNELS[:times], *[0] * (times - len(CHANNELS))))


@points(3, cell=CELL, hint="The last layer is nn.Linear(256, num_classes), and its output is returned.")
def test_logits(builds: list[Network]) -> None:
    """Gives logits (N, num_classes), for any num_classes"""
    expect_logits(builds)


@points(2, cell=CELL, hint="Never write the batch size down: x.flatten(1) keeps the first axis whatever it is.")
def test_any_batch_size(deeper_cnn: Network) -> None:
    """Any batch size works, one image included, and images do not influence one another"""
    expect_free_batch(deeper_cnn)
    expect_separate_images(deeper_cnn)


@points(2, cell=CELL, hint="Keep layers in attributes, nn.Sequential or nn.ModuleList, and use each of them.")
def test_weights_learn(deeper_cnn: Network) -> None:
    """Every convolution and linear weight is registered and receives gradient"""
    expect_learning_weights(deeper_cnn)


@points(5, cell=CELL, hint="Each block doubles the channels of the one before.")
def test_four_blocks(deeper_cnn: Network) -> None:
    """Four blocks, which end with 32, 64, 128 and 256 channels"""
    found = trunk_blocks(deeper_cnn)
    if channels_of(found) != CHANNELS:
        counted = counted_blocks(deeper_cnn)
        is_four = len(counted) == len(CHANNELS)
        shown = found if is_four else counted
        many = f" ({len(counted)} block{'s' * (len(counted) != 1)} that halve height and width, 4 are asked for)"
        fail(
            "channels at the ends of the blocks: expected 32 → 64 → 128 → 256, found "
            f"{' → '.join(map(str, channels_of(shown))) or 'none'}{'' if is_four else many}",
            line=next((b.line for b, asked in zip(shown, CHANNELS, strict=False) if b.out_channels != asked), 0),
        )
    for number, block in enumerate(found, 1):
        convolved = deeper_cnn.effects.effective([(c, everywhere(c.node)) for c in block.convolutions], 1)
        expect(bool(convolved), f"the convolutions of block {number} have no effect on the logits", line=block.line)


@points(2, cell=CELL, hint="nn.BatchNorm2d(channels) after the convolution of each block, one for each.")
def test_batch_norm(deeper_cnn: Network) -> None:
    """Batch norm in every block"""
    for number, block in enumerate(trunk_blocks(deeper_cnn), 1):
        expect(
            bool(block.batch_norms),
            f"no batch norm found in block {number}{other_norms(deeper_cnn.evaluation.graph)}",
            line=block.line,
        )
        acting = deeper_cnn.effects.effective([(norm, everywhere(norm.node)) for norm in block.batch_norms], 1)
        expect(
            bool(acting),
            f"the batch norm in block {number} has no effect on the logits: let the features pass through it",
            line=block.batch_norms[0].line,
        )
    expect_own_statistics(deeper_cnn)


@points(2, cell=CELL, hint="nn.MaxPool2d(2) once in a block, or one convolution with stride 2; padding keeps the rest.")
def test_blocks_halve(deeper_cnn: Network) -> None:
    """Each block halves height and width"""
    if channels_of(trunk_blocks(deeper_cnn)) != CHANNELS:
        expect_four_halvings(deeper_cnn)  # other blocks than the asked ones: where they end is not known
    for number, block in enumerate(trunk_blocks(deeper_cnn), 1):
        before, after = block.input_shape[2:], block.output_shape[2:]
        expect(
            block.halves,
            f"block {number} makes {before[0]}×{before[1]} into {after[0]}×{after[1]}: halve height and width once in "
            "each block, by pooling or a stride of 2",
            line=block.line,
        )
    expect_four_halvings(deeper_cnn)


def expect_four_halvings(network: Network) -> None:
    """A 32×32 image ends as 2×2: neither cut off at the border nor halved more or less than four times."""
    sizes = map_sizes(network.evaluation.graph, network.evaluation.shapes)
    if sizes[-1] == (2, 2):
        return
    asked = "a 32×32 image must be halved 4 times, to 16×16, 8×8, 4×4 and 2×2"
    for layer in network.convolutions:
        if layer.stride == (1, 1) and layer.output_shape[2:] < layer.input_shape[2:]:
            left = "×".join(map(str, sizes[-1]))
            remedy = "a 3×3 convolution needs padding=1 to keep height and width"
            fail(f"{asked}, but {left} is left in the end: {remedy}", line=layer.line)
    times, way = halved_times(sizes), " → ".join("×".join(map(str, size)) for size in sizes)
    why = (
        "some block halves twice, or there is one too many. Pool, or convolve with stride 2, but not both"
        if times > len(CHANNELS)
        else "a block is missing, or one does not halve. Pool once in each block, or convolve once with stride 2"
    )
    fail(f"{asked}; yours is halved {times} time{'s' * (times != 1)}, {way}: {why}")


@points(2, cell=CELL, hint="x.mean(dim=(2, 3)) or nn.AdaptiveAvgPool2d(1), then one nn.Linear(256, num_classes).")
def test_other_image_size(deeper_cnn: Network) -> None:
    """64×64 images work, by global average pooling and one linear classifier"""
    expect_global_average_pooling(deeper_cnn, 64)
    layers = deeper_cnn.head.classifiers
    expect(
        len(layers) == 1,
        f"expected one linear layer after the pooling, found {len(layers)}",
        line=layers[1].line if len(layers) > 1 else 0,
    )


@points(2, cell=CELL, hint="pooling → nn.Dropout(0.5) → nn.Linear, and no softmax: the loss contains it.")
def test_raw_logits_and_dropout(deeper_cnn: Network) -> None:
    """Raw logits; dropout before the classifier in training, off in evaluation"""
    expect_raw_logits(deeper_cnn)
    expect_dropout(deeper_cnn)
