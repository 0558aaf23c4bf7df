"""Hidden checks of exercise 2: SimpleCNN with a fourth block."""

from __future__ import annotations

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
from autograder.graphs.analysis import Block, blocks

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
    channels = tuple(block.out_channels for block in found)
    expect(
        channels == CHANNELS,
        f"channels at the ends of the blocks: expected 32 → 64 → 128 → 256, found {' → '.join(map(str, channels))}",
        line=next((b.line for b, wanted in zip(found, CHANNELS, strict=False) if b.out_channels != wanted), 0),
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
    for number, block in enumerate(trunk_blocks(deeper_cnn), 1):
        before, after = block.input_shape[2:], block.output_shape[2:]
        expect(
            block.halves,
            f"block {number} makes {before[0]}×{before[1]} into {after[0]}×{after[1]}: halve height and width once in "
            "each block, by pooling or a stride of 2",
            line=block.line,
        )
    expect_2x2_maps(deeper_cnn)


def expect_2x2_maps(network: Network) -> None:
    """A 32×32 image ends as 2×2: neither cut off at the border nor halved a fifth time."""
    sides = (network.head.feature_shape or (0, 0, 0, 0))[2:]
    if sides == (2, 2):
        return
    found = f"a 32×32 image must become 16×16, 8×8, 4×4 and 2×2, but {sides[0]}×{sides[1]} is left in the end"
    for layer in network.convolutions:
        if layer.stride == (1, 1) and layer.output_shape[2:] < layer.input_shape[2:]:
            fail(f"{found}: a 3×3 convolution needs padding=1 to keep height and width", line=layer.line)
    fail(f"{found}: some block halves twice. Pool, or convolve with stride 2, but not both")


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
