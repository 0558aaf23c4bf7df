"""Hidden checks of exercise 4: the architecture, the augmentation, and the accuracy of the handed-in weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autograder.checks import CheckContext, CheckEnded, award, expect, fail, points
from autograder.core.grade_report import Status
from autograder.graders.answers import evidence_for
from autograder.graders.brief_training import FALLEN, FEW_IMAGES, STEPS, blind_loss, train_briefly
from autograder.graders.checkpoint_accuracy import (
    advice,
    bound_checkpoint,
    evaluate,
    expect_within_budget,
    in_percent,
    normalisation_of,
)
from autograder.graders.effects import everywhere
from autograder.graders.expectations import (
    expect_free_batch,
    expect_global_average_pooling,
    expect_logits,
    expect_own_statistics,
    expect_raw_logits,
    other_norms,
)
from autograder.graders.networks import Network, expect_alive, networks
from autograder.graders.transforms import (
    TEST,
    TRAIN,
    arrays_of,
    expect_alike,
    expect_float_images,
    expect_image_shows,
    transformed,
)
from autograder.graders.weights import expect_learning_weights
from autograder.graphs.analysis import additions, batch_norms, residual_additions
from autograder.graphs.analysis.flow import ADDITIONS, Shapes, carries_data
from autograder.graphs.model_graph import ModelGraph, references
from autograder.judging.accuracy import accuracy_points
from autograder.judging.evidence import EXPORTED_BATCH
from autograder.judging.flags.library import library_flags
from autograder.judging.flags.lookups import lookup_flags

ARCHITECTURE, AUGMENTATION, ACCURACY = "modern-cnn-architecture", "modern-cnn-augmentation", "modern-cnn-accuracy"
RESIDUAL_BLOCKS = 2


@pytest.fixture(scope="module")
def builds(graded: CheckContext) -> list[Network]:
    """`ModernCNN` with the default and with another number of classes."""
    found = networks(graded, "ModernCNN")
    graph = found[0].problem_or_graph(False, found[0].size)
    if isinstance(graph, ModelGraph):
        graded.flags.extend(library_flags(graded.exercise.notebook, "ModernCNN", graph))
    return found


@pytest.fixture(scope="module")
def modern_cnn(builds: list[Network]) -> Network:
    """`ModernCNN()`, in which something has an effect on the logits."""
    expect_alive(builds[0])
    return builds[0]


# The architecture


@points(
    2, cell=ARCHITECTURE, hint="The last layer is nn.Linear(..., num_classes), and its output is returned as it is."
)
def test_logits(builds: list[Network]) -> None:
    """Gives raw logits (N, num_classes), for any num_classes and any batch size"""
    expect_logits(builds)
    expect_free_batch(builds[0])
    expect_raw_logits(builds[0])


@points(5, cell=ARCHITECTURE, hint="out = self.convolutions(x); return torch.relu(out + self.shortcut(x))")
def test_residual_blocks(modern_cnn: Network) -> None:
    """At least two residual blocks: a value is added to what convolutions computed from it"""
    graph, shapes = modern_cnn.evaluation.graph, modern_cnn.evaluation.shapes
    found = residual_additions(graph, shapes)
    if len(found) >= RESIDUAL_BLOCKS:
        parts = [(addition, addition.edges) for addition in found]
        acting = modern_cnn.effects.effective(parts, RESIDUAL_BLOCKS)
        if len(acting) >= RESIDUAL_BLOCKS:
            return
        idle = next((addition for addition in found if addition not in acting), found[0])
        fail(
            f"{len(found)} residual additions found, but {len(acting) or 'none'} in which both the block's input and "
            f"what its convolutions computed have an effect on the logits; at least {RESIDUAL_BLOCKS} are asked for",
            line=idle.line,
        )
    why, line = why_not_residual(graph, shapes)
    count = f"{len(found)} residual addition{'s' * (len(found) != 1)} found, at least {RESIDUAL_BLOCKS} are asked for"
    fail(f"{count}{f': {why}' if why else ''}", line=line)


def why_not_residual(graph: ModelGraph, shapes: Shapes) -> tuple[str, int]:
    """What is done where a residual addition might stand, and its line; nothing where there is no trace of one."""
    reasons = {
        "same value": "a value is added to itself. Add the block's input to what its convolutions made of it",
        "detached": "the shortcut is detached, so no gradient flows back through it. Add the value as it is",
        "no convolution between": (
            "no convolution lies between a value and the addition, so nothing is bypassed. Add the block's input "
            "behind its last convolution"
        ),
        "unrelated": (
            "two branches are added, and neither is the value that the other started from (or a 1×1 convolution of "
            "it). Add the block's input itself"
        ),
    }
    for addition in additions(graph, shapes):
        if addition.reason in reasons:
            return reasons[addition.reason], addition.line
    carries = carries_data(graph)
    for node in graph.nodes:
        summands = [i for i in references(node.args[:2]) if len(shapes[i] or ()) == 4]
        if node.operation in ADDITIONS and [carries[i] for i in summands].count(False) == 1 and len(summands) == 2:
            return "what is added does not depend on the image. Add the block's input", node.line
    for node in graph.nodes:
        if node.operation.startswith("aten.cat."):
            return "values are concatenated; a residual block adds them", node.line
    return "", 0


@points(
    2, cell=ARCHITECTURE, hint="nn.BatchNorm2d after each convolution (or before, with pre-activation), one for each."
)
def test_batch_norm(modern_cnn: Network) -> None:
    """Batch norm in the residual network, one for each place"""
    found = batch_norms(modern_cnn.evaluation.graph, modern_cnn.evaluation.shapes)
    expect(
        len(found) >= RESIDUAL_BLOCKS,
        f"batch norm: expected at least one for each of {RESIDUAL_BLOCKS} residual blocks, found {len(found)} in all"
        + other_norms(modern_cnn.evaluation.graph),
    )
    acting = modern_cnn.effects.effective([(norm, everywhere(norm.node)) for norm in found], RESIDUAL_BLOCKS)
    expect(
        len(acting) >= RESIDUAL_BLOCKS,
        f"{len(found)} batch norms found, but {len(acting) or 'none'} with an effect on the logits; at least "
        f"{RESIDUAL_BLOCKS} are asked for",
        line=next((norm.line for norm in found if norm not in acting), 0),
    )
    expect_own_statistics(modern_cnn)


@points(2, cell=ARCHITECTURE, hint="x.mean(dim=(2, 3)) or nn.AdaptiveAvgPool2d(1) before the classifier.")
def test_other_image_size(modern_cnn: Network) -> None:
    """64×64 images work, by global average pooling"""
    expect_global_average_pooling(modern_cnn, 64)


@points(2, cell=ARCHITECTURE, hint="Keep layers in attributes, nn.Sequential or nn.ModuleList, and use each of them.")
def test_weights_learn(modern_cnn: Network) -> None:
    """Every convolution and linear weight is registered and receives gradient, the stem included"""
    expect_learning_weights(modern_cnn)


@points(
    2, cell=ARCHITECTURE, hint="Train it on sixteen images yourself: the loss must come near 0 in a few dozen steps."
)
def test_loss_falls(modern_cnn: Network) -> None:
    """The loss falls in a few optimiser steps on a small batch"""
    attempts = []
    for learning_rate in (0.05, 0.005, 0.0005):  # what is too bold for one network is right for another
        before, trained, evaluated = train_briefly(modern_cnn, learning_rate)
        goal = FALLEN * min(before, blind_loss(modern_cnn))
        if trained < goal and evaluated < goal:
            return
        attempts.append((before, trained, evaluated))
    before, trained, evaluated = min(attempts, key=lambda attempt: attempt[1] + attempt[2])
    if not math.isfinite(before):
        fail("the loss is NaN or infinite before the first step: look for a division by zero or an overflow")
    steps = f"{STEPS} steps of SGD on {FEW_IMAGES} images"
    if trained >= FALLEN * before:
        fail(f"the loss does not fall: {before:.2f} before, {trained:.2f} after {steps}")
    blind = blind_loss(modern_cnn)
    if trained >= FALLEN * blind:
        fail(
            f"after {steps} the loss is {trained:.2f}, no better than {blind:.2f}, which the same answer for every "
            "image gives: do the layers learn, or only the bias of the last one?"
        )
    fail(
        f"after {steps} the loss fell from {before:.2f} to {trained:.2f} in training mode, but in eval mode it is "
        f"{evaluated:.2f}: does the network do something else there, or does batch norm not keep its statistics?"
    )


# The augmentation


@points(2, cell=AUGMENTATION, hint="v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4)")
def test_training_varies(graded: CheckContext) -> None:
    """`train_transform` varies an image from draw to draw"""
    found = arrays_of(TRAIN, transformed(graded, TRAIN))
    expect_image_shows(graded, TRAIN)
    expect(
        any(not np.array_equal(found[0], other) for other in found[1:]),
        f"{len(found)} draws on one image all look the same: add random steps, such as a flip or a crop with padding",
    )


@points(1, cell=AUGMENTATION, hint="End with v2.ToDtype(torch.float32, scale=True) and v2.Normalize; crop to 32.")
def test_training_gives_float(graded: CheckContext) -> None:
    """`train_transform` gives a float tensor (3, 32, 32)"""
    expect_float_images(TRAIN, transformed(graded, TRAIN).outputs)
    expect_image_shows(graded, TRAIN)


@points(1, cell=AUGMENTATION, hint="Leave every random step to train_transform.")
def test_testing_does_not_vary(graded: CheckContext) -> None:
    """`test_transform` does not vary"""
    for kind in evidence_for(graded.evidence.samples, TEST):
        found = arrays_of(TEST, transformed(graded, TEST, kind))
        expect(
            all(np.array_equal(found[0], other) for other in found[1:]),
            "the same image gives different results: leave flips, crops and jitter to `train_transform`",
        )
    expect_image_shows(graded, TEST)


@points(1, cell=AUGMENTATION, hint="The same v2.Normalize(mean, std) ends both transforms.")
def test_both_normalise_alike(graded: CheckContext) -> None:
    """Both transforms normalise alike"""
    expect_image_shows(graded, TRAIN)
    expect_image_shows(graded, TEST)
    expect_alike(arrays_of(TRAIN, transformed(graded, TRAIN)), arrays_of(TEST, transformed(graded, TEST))[0])


# The accuracy


@points(
    20,
    cell=ACCURACY,
    hint="Aim at {{ (accuracy_full + accuracy_margin) | percent }} on the validation images; "
    "the rule stands in part c) of the notebook.",
)
def test_accuracy(graded: CheckContext, modern_cnn: Network) -> None:
    """Test accuracy of the handed-in weights reaches {{ accuracy_full | percent }}"""
    settings, worth = graded.exercise.settings, graded.exercise.cells[ACCURACY]
    graph = modern_cnn.graph(False, modern_cnn.size)
    shapes = modern_cnn.evaluation.shapes
    graded.flags.extend(lookup_flags(graded.exercise.notebook, modern_cnn.evaluation.graph, shapes))
    expect_within_budget(graph, modern_cnn.evaluation, settings["most_parameters"], settings["most_macs"])
    checkpoint, tensors = bound_checkpoint(graded, graph, modern_cnn.build.tensors)
    normalisation = normalisation_of(graded)
    # Where a batch size is written down in the code, another check has said so; the accuracy is judged all the same.
    batch_size = None if modern_cnn.takes(7) else EXPORTED_BATCH
    measured = evaluate(graded, graph, tensors, normalisation, batch_size, modern_cnn.evaluation.info.macs_per_image)
    accuracy = measured.deciding
    earned = accuracy_points(
        accuracy.accuracy,
        zero=settings["accuracy_zero"],
        full=settings["accuracy_full"],
        points=worth,
    )
    message = f"{measured.describe()}, normalised with {normalisation.describe()}"
    if accuracy.accuracy >= settings["accuracy_full"]:
        raise CheckEnded(Status.PASSED, message, fraction=1.0)
    award(
        earned / worth,
        f"{message}. All points from {in_percent(settings['accuracy_full'])} on, none up to "
        f"{in_percent(settings['accuracy_zero'])}. " + advice(checkpoint, accuracy, graded.test_set().name),
    )
