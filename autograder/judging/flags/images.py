"""Weights that know the test images rather than what they show: seen in how well they do on other images.

An honest network has learned from the training images, so it does at least as well on them as on test images, and what
it has learned holds when a picture is mirrored or moved by a pixel. Weights trained on the test images, and memories of
them in buffers, do worse in one of these or in both, even where they know only some hundred of them. Who trains on all
images alike shows neither, but is more accurate than a network of the allowed size becomes.

Three comparisons, each with its own statistics:

1. Accuracy on the test images against that on training images which the student kit holds out. Whatever the memory is
   like, its gain is there, unless the network knows the held-out images as well.
2. Test images that are recognised only as they are, not mirrored, not moved by a pixel, and not both, against those
   that are recognised in all three forms and not as they are. It needs no training images.
3. What mirroring and moving costs on test images, against what it costs on the held-out ones.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autograder.core.grade_report import Flag
from autograder.graphs.runner_process import RunnerFault, RunnerProblem
from autograder.judging.accuracy import Accuracy, Evaluate, Images, Labels, NotLogits, classify
from autograder.judging.datasets import DataError, Dataset
from autograder.judging.flags.paired import (
    Pairs,
    Rightly,
    consensus,
    difference,
    mcnemar,
    mirrored,
    moved,
    noisy,
    pairs,
)

# Of each kind, for a network with at most USUAL_MACS (the reference has 12 million). Larger ones get fewer, but never
# less than LEAST_PART: they are graded in minutes, and no deadline may be missed for a flag.
TRAINING_IMAGES = 5_000
CHANGED_IMAGES = 3_000
CHANGED_TRAINING_IMAGES = 2_000
USUAL_MACS = 100_000_000
LEAST_PART = 0.2
SUSPICIOUS_ACCURACY = 0.97  # on CIFAR-10, unless the configuration says otherwise
# One-sided normal quantile of 1e-4, and the p value itself: so seldom chance alone looks like this.
LEAST_DEVIATIONS, MOST_CHANCE = 3.719016, 1e-4
# As parts of all images. What honest networks show is in docs/flags.md.
LEAST_GAP = 0.02
LEAST_CONSENSUS = 0.005
LEAST_LOSS, LEAST_EXCESS = 0.02, 0.02
# Without training images: an honest network that never saw a mirrored image loses up to 9.5 points.
LEAST_LOSS_ALONE = 0.20
# A hold-out may be harder than the public test set, for everybody; settings["usual_holdout_gap"] says by how much.
USUAL_HOLDOUT_GAP = 0.05
ASK = "Ask how the weights were trained, on which images, and for the history of the training."


@dataclass(frozen=True)
class Subject:
    """A network to be tried: how to evaluate it, in which batches, on what part of the usual number of images."""

    notebook: str
    evaluate: Evaluate
    batch_size: int
    part: float
    draws: np.random.RandomState

    def rightly(self, images: Images, labels: Labels) -> Rightly:
        """Which images (N, 3, 32, 32) the network classifies rightly; NaN counts as wrong."""
        logits = classify(self.evaluate, images, self.batch_size)
        finite = np.isfinite(logits).all(axis=1)
        found: Rightly = finite & (np.nan_to_num(logits).argmax(axis=1) == labels)
        return found

    def some(self, count: int, available: int) -> int:
        """`count` images, or fewer for a large network and where there are not so many."""
        return min(round(self.part * count), available)


def draws_of(secret: bytes) -> np.random.RandomState:
    """What decides by a course's secret which test images are changed, and how."""
    return np.random.RandomState(np.frombuffer(hmac.new(secret, b"changed images", hashlib.sha256).digest(), "<u4"))


def part_of_images(macs: int) -> float:
    """On what part of the usual number of images a network is tried, by its multiplications for one image."""
    return min(1.0, max(LEAST_PART, USUAL_MACS / max(macs, 1)))


def image_flags(
    subject: Subject,
    accuracy: Accuracy,
    test_set: Dataset,
    training_images: Callable[[int], Dataset | None],
    suspicious_accuracy: float,
) -> list[Flag]:
    """Flags for a network that reached `accuracy` on the test set. `training_images` draws a secret sample of those
    that the kit holds out, where the data set has training images. Whatever goes wrong here becomes a flag, too: no
    mark may depend on it."""
    notebook = subject.notebook
    flags = [*_accuracy_flag(notebook, accuracy.accuracy, test_set.name, suspicious_accuracy)]
    try:
        training = training_images(TRAINING_IMAGES)
        known = training_outcome(subject, training) if training is not None else None
        if known is not None:
            flags += gap_flag(notebook, (accuracy.correct, accuracy.total), (int(known.sum()), len(known)))
        flags += _changed_flags(subject, accuracy, test_set, training, known)
    except (RunnerProblem, RunnerFault, NotLogits, DataError) as problem:
        text = f"The network was not run on training images and on changed test images: {problem}. Grade it again."
        flags.append(Flag("not-compared", notebook, text))
    return flags


# 1. Test images and training images, as they are


def training_outcome(subject: Subject, training: Dataset) -> Rightly:
    """What a network gets right of the training images that the kit holds out, or of as many as it is tried on."""
    count = subject.some(TRAINING_IMAGES, len(training.labels))
    return subject.rightly(training.images[:count], training.labels[:count])


def gap_flag(notebook: str, test: tuple[int, int], training: tuple[int, int]) -> list[Flag]:
    """A flag where (correct, total) on test images is better than on training images by more than chance.

    Pooled two-proportion z test. The training images are those that the student kit holds out for validation: on them a
    network does as well as on test images (the reference 79.5 and 79.6 %), and better where it was trained on them.
    """
    on_test, on_training = test[0] / test[1], training[0] / training[1]
    gap = on_test - on_training
    pooled = (test[0] + training[0]) / (test[1] + training[1])
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / test[1] + 1 / training[1]))
    if gap < LEAST_GAP or gap <= LEAST_DEVIATIONS * deviation:
        return []
    seen = (
        f"Accuracy is {on_test:.1%} on the {test[1]:,} test images, but {on_training:.1%} on {training[1]:,} training "
        f"images: {gap * 100:.1f} points less, {gap / deviation:.1f} standard errors."
    )
    usual = "By chance alone one in 10,000 submissions shows this."
    return [Flag("test-images", notebook, f"{seen} {usual} {ASK}")]


def _accuracy_flag(notebook: str, accuracy: float, test_set: str, suspicious: float) -> list[Flag]:
    if accuracy < suspicious or not test_set.startswith("CIFAR-10"):  # the offline set is easier
        return []
    seen = f"Test accuracy is {accuracy:.2%}: from {suspicious:.0%} on it is unusual for a network within the budget."
    usual = "Weights trained on all images, the test images among them, or trained before on other data, would show it."
    return [Flag("high-accuracy", notebook, f"{seen} {usual} {ASK}")]


def holdout_flag(notebook: str, public: Accuracy, private: Accuracy, usual: float) -> list[Flag]:
    """A flag where accuracy on public test images is more than `usual` above that on a private hold-out, beyond chance.

    Two proportions, with one right and one wrong image added on either side (Agresti and Caffo 2000, Simple and
    effective confidence intervals for proportions and differences of proportions).
    """
    gap, variance = public.accuracy - private.accuracy, 0.0
    for found in (public, private):
        share = (found.correct + 1) / (found.total + 2)
        variance += share * (1 - share) / (found.total + 2)
    if gap <= usual + LEAST_DEVIATIONS * math.sqrt(variance):
        return []
    seen = (
        f"Accuracy is {public.accuracy:.1%} on the {public.total:,} public test images, but {private.accuracy:.1%} on "
        f"{private.total:,} private ones: {gap * 100:.1f} points less, of which {usual * 100:g} are usual; the rest is "
        f"{(gap - usual) / math.sqrt(variance):.1f} standard errors."
    )
    advice = "If many submissions show it, the private images are harder: set usual_holdout_gap in the settings."
    return [Flag("hold-out", notebook, f"{seen} {advice} {ASK}")]


# 2. and 3. The same images, changed


def _changed_flags(
    subject: Subject, accuracy: Accuracy, test_set: Dataset, training: Dataset | None, known: Rightly | None
) -> list[Flag]:
    """A flag where test images are known as they are, and not in forms that hardly anybody could tell from it."""
    test, agreed = compare_changed(subject, accuracy, test_set)
    if flags := consensus_flag(subject.notebook, agreed):
        return flags
    if not is_loss(test):
        return []
    if training is None or known is None:
        return loss_flag(subject.notebook, test)
    return excess_flag(subject.notebook, test, compare_changed_training(subject, training, known))


def compare_changed(subject: Subject, accuracy: Accuracy, test_set: Dataset) -> tuple[Pairs, Pairs]:
    """Some test images against the same ones mirrored and moved at once; and only those that mirroring, moving, and
    both at once take to the same side."""
    count = subject.some(CHANGED_IMAGES, len(test_set.labels))
    chosen = subject.draws.permutation(len(test_set.labels))[:count]
    images, labels = test_set.images[chosen], test_set.labels[chosen]
    as_they_are: Rightly = np.asarray(accuracy.predicted)[chosen] == labels
    both = subject.rightly(moved(mirrored(images), subject.draws), labels)
    return pairs(as_they_are, both), _agreed(subject, images, labels, as_they_are, both)


def _agreed(subject: Subject, images: Images, labels: Labels, as_they_are: Rightly, both: Rightly) -> Pairs:
    """The images that all three changes take to the same side. Few are left to be tried."""
    left = np.flatnonzero(as_they_are != both)
    if not len(left):
        return Pairs(0, 0, len(labels))
    changed = [both[left]]
    for change in (noisy(mirrored(images[left]), subject.draws), moved(images[left], subject.draws)):
        changed.append(subject.rightly(change, labels[left]))
    found = consensus(as_they_are[left], changed)
    return Pairs(found.lost, found.won, len(labels))


def compare_changed_training(subject: Subject, training: Dataset, known: Rightly) -> Pairs:
    """The same images of the training set, of which is `known` what the network gets right, mirrored and moved."""
    count = subject.some(CHANGED_TRAINING_IMAGES, len(known))
    changed = moved(mirrored(training.images[:count]), subject.draws)
    return pairs(known[:count], subject.rightly(changed, training.labels[:count]))


def consensus_flag(notebook: str, agreed: Pairs) -> list[Flag]:
    """A flag where more images are recognised only as they are than only in all of the changed forms.

    McNemar's exact test. Honest networks, over-fitted ones too, have fewer of the first kind, by 0.1 to 0.6 % of all
    images: a test image is to them one form among others, and three right ones are a better guess than one.
    """
    chance = mcnemar(agreed)
    if agreed.loss < LEAST_CONSENSUS or chance > MOST_CHANCE:
        return []
    seen = (
        f"Of {agreed.total:,} test images {agreed.lost:,} are recognised only as they are, not mirrored, moved by a "
        f"pixel, or both; {agreed.won:,} in all of these forms, and not as they are (McNemar: p = {chance:.0e})."
    )
    usual = "With honest networks fewer images are of the first kind than of the second."
    return [Flag("changed-images", notebook, f"{seen} {usual} {ASK}")]


def is_loss(test: Pairs) -> bool:
    """Whether the change costs enough, and surely, to ask what it costs on training images."""
    return test.loss >= LEAST_LOSS and mcnemar(test) <= MOST_CHANCE


def excess_flag(notebook: str, test: Pairs, training: Pairs) -> list[Flag]:
    """A flag where the change costs more on test images than on training images: a difference of differences.

    Networks that were trained without mirroring lose up to 9.5 points on both, over-fitted ones lose more on training
    images.
    """
    excess, deviation = difference(test, training)
    if excess < LEAST_EXCESS or excess <= LEAST_DEVIATIONS * deviation:
        return []
    seen = (
        f"Mirrored and moved by one pixel, test images are recognised less often by {test.loss * 100:.1f} points, but "
        f"training images by {training.loss * 100:.1f} ({excess / deviation:.1f} standard errors apart): "
        f"{test.describe('changed')}."
    )
    usual = "Honest networks lose as much on training images as on test images, and over-fitted ones more."
    return [Flag("changed-images", notebook, f"{seen} {usual} {ASK}")]


def loss_flag(notebook: str, test: Pairs) -> list[Flag]:
    """Without training images to compare with: a flag where the change costs more than it costs any honest network."""
    if test.loss < LEAST_LOSS_ALONE:
        return []
    seen = f"Mirrored and moved by one pixel, {test.loss * 100:.0f} points are lost: {test.describe('changed')}."
    usual = "Honest networks lose about 1 point, and up to 10 where they were trained without mirroring."
    return [Flag("changed-images", notebook, f"{seen} {usual} {ASK}")]
