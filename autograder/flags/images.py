"""Weights that know the test images rather than what they show: seen in how well they do on other images.

An honest network has learned from the training images, so it does at least as well on them as on test images, and what
it has learned holds when a picture is mirrored or moved by a pixel. Weights trained on the test images, and graphs that
look them up, do worse in one of these or in both. Who trains on all images alike shows neither, but is more accurate
than a network of the allowed size becomes.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable

import numpy as np

from autograder.accuracy import Accuracy, Evaluate, Images, Labels, NotLogits, classify
from autograder.data import DataError, Dataset
from autograder.results import Flag
from autograder.runner import RunnerFault, RunnerProblem

# Of each kind, for a network with at most USUAL_MACS (the reference has 12 million: 0.9 s of one core for all).
# Larger ones get fewer, but never less than LEAST_PART: they are graded in minutes, and no deadline may be missed for a
# flag.
TRAINING_IMAGES = 2_000
CHANGED_IMAGES = 500
USUAL_MACS = 100_000_000
LEAST_PART = 0.2
# One-sided normal quantile of 1e-6: so seldom does an honest network look worse on training images by chance.
LEAST_DEVIATIONS = 4.753424
LEAST_GAP = 0.03
SUSPICIOUS_ACCURACY = 0.97  # on CIFAR-10, unless the configuration says otherwise
# Mirrored, honest networks lose up to 1.3 points, without mirroring in training up to 9.5; moved by a pixel, up to 1.
# Weights trained on the test images lose 30 to 32 and 12 to 21, tables of test images 59 to 61 when mirrored.
LEAST_LOSS = 0.20
USUAL_LOSS = 0.10
LEAST_LOSS_DEVIATIONS = 4  # beyond the usual loss, which matters where few images are looked at
ASK = "Ask how the weights were trained, on which images, and for the history of the training."


def image_flags(
    notebook: str,
    evaluate: Evaluate,
    accuracy: Accuracy,
    test_set: Dataset,
    training_images: Callable[[int], Dataset | None],
    secret: bytes,
    *,
    batch_size: int,
    macs: int,
    suspicious_accuracy: float,
) -> list[Flag]:
    """Flags for a network that reached `accuracy` on the test set. `training_images` draws a secret sample, where the
    data set has training images. Whatever goes wrong here becomes a flag, too: no mark may depend on it."""
    part = min(1.0, max(LEAST_PART, USUAL_MACS / max(macs, 1)))
    flags = [*_accuracy_flag(notebook, accuracy.accuracy, test_set.name, suspicious_accuracy)]
    try:
        training = training_images(TRAINING_IMAGES)
        if training is not None:
            count = round(part * len(training.labels))
            correct = count_correct(evaluate, training.images[:count], training.labels[:count], batch_size)
            flags += gap_flag(notebook, (accuracy.correct, accuracy.total), (correct, count))
        images = round(part * CHANGED_IMAGES)
        flags += _changed_flag(notebook, evaluate, accuracy.accuracy, test_set, secret, batch_size, images)
    except (RunnerProblem, RunnerFault, NotLogits, DataError) as problem:
        text = f"The network was not run on training images and on changed test images: {problem}. Grade it again."
        flags.append(Flag("not-compared", notebook, text))
    return flags


def count_correct(evaluate: Evaluate, images: Images, labels: Labels, batch_size: int) -> int:
    """How many images the network classifies rightly; NaN counts as wrong."""
    logits = classify(evaluate, images, batch_size)
    finite = np.isfinite(logits).all(axis=1)
    return int((finite & (np.nan_to_num(logits).argmax(axis=1) == labels)).sum())


def gap_flag(notebook: str, test: tuple[int, int], training: tuple[int, int]) -> list[Flag]:
    """A flag where (correct, total) on test images is better than on training images by more than chance.

    Pooled two-proportion z test. On training images of CIFAR-10 the reference is 1.3 points better (80.9 and 79.6 %),
    the partial checkpoint 0.6; on those of the offline set networks are 0.3 points worse, by chance, to 5.7 better.
    Weights trained on the test images are 35 points worse on CIFAR-10 and 22 on the offline set.
    """
    on_test, on_training = test[0] / test[1], training[0] / training[1]
    gap = on_test - on_training
    pooled = (test[0] + training[0]) / (test[1] + training[1])
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / test[1] + 1 / training[1]))
    if gap < LEAST_GAP or gap <= LEAST_DEVIATIONS * deviation:
        return []
    seen = (
        f"Accuracy is {on_test:.1%} on the {test[1]:,} test images, but {on_training:.1%} on {training[1]:,} training "
        f"images: {gap * 100:.0f} points less, {gap / deviation:.0f} standard errors."
    )
    usual = "Weights that were trained on training images only show this in fewer than one of a million submissions."
    return [Flag("test-images", notebook, f"{seen} {usual} {ASK}")]


def _accuracy_flag(notebook: str, accuracy: float, test_set: str, suspicious: float) -> list[Flag]:
    if accuracy < suspicious or not test_set.startswith("CIFAR-10"):  # the offline set is easier
        return []
    seen = f"Test accuracy is {accuracy:.2%}: from {suspicious:.0%} on it is unusual for a network within the budget."
    usual = "Weights trained on all images, the test images among them, or trained before on other data, would show it."
    return [Flag("high-accuracy", notebook, f"{seen} {usual} {ASK}")]


def _changed_flag(
    notebook: str, evaluate: Evaluate, accuracy: float, test_set: Dataset, secret: bytes, batch_size: int, count: int
) -> list[Flag]:
    """A flag where test images that are changed so that hardly anybody would notice are no longer recognised."""
    draws = np.random.RandomState(np.frombuffer(hmac.new(secret, b"changed images", hashlib.sha256).digest(), "<u4"))
    chosen = draws.permutation(len(test_set.labels))[:count]
    images, labels = test_set.images[chosen], test_set.labels[chosen]
    found = {
        "mirrored": count_correct(evaluate, mirrored(images), labels, batch_size) / len(labels),
        "moved by one pixel": count_correct(evaluate, moved(images, draws), labels, batch_size) / len(labels),
    }
    share = min(found.values())
    deviation = math.sqrt(share * (1 - share) / len(labels))
    if accuracy - share < max(LEAST_LOSS, USUAL_LOSS + LEAST_LOSS_DEVIATIONS * deviation):
        return []
    told = " and ".join(f"{correct:.1%} where they are {how}" for how, correct in found.items())
    seen = f"Accuracy is {accuracy:.1%} on the test images as they are, but on {len(labels)} of them {told}."
    usual = "Honest networks lose about 1 point in either way, and up to 10 where they were trained without mirroring."
    return [Flag("changed-images", notebook, f"{seen} {usual} {ASK}")]


def mirrored(images: Images) -> Images:
    """Left and right exchanged."""
    return np.ascontiguousarray(images[..., ::-1])


def moved(images: Images, draws: np.random.RandomState) -> Images:
    """One pixel down and to the right, the border repeated, and each value up to one grey level brighter or darker."""
    shifted = np.pad(images, ((0, 0), (0, 0), (1, 0), (1, 0)), mode="edge")[..., :-1, :-1].astype(np.int16)
    noisy: Images = np.clip(shifted + draws.randint(-1, 2, shifted.shape), 0, 255).astype(np.uint8)
    return noisy
