"""Exact test accuracy: every test image once, in a secret order, with a secret sample run again as a cross-check."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Logits = NDArray[np.float32]
Evaluate = Callable[[Images, int], Logits]
"""uint8 images (N, 3, 32, 32) and a batch size -> logits (N, K) float32."""

CHUNK_IMAGES = 2_000  # per request: a hang costs one deadline, and progress can be seen
RECHECKED_IMAGES = 500
SHOWN_MISTAKES = 9
# Two top logits closer than this part of the largest one may change places when the batch is cut differently:
# float32 sums in another order differ in the fifth or sixth digit after some dozen layers.
TIE = 1e-3
Z_95 = 1.959964


class NotLogits(ValueError):
    """The model's outputs cannot be scored, or not reproduced; the message is for the student."""


@dataclass(frozen=True)
class SureMistake:
    """An image (its place in the test set) that was taken for class `predicted` with this softmax, in 0..1."""

    image: int
    predicted: int
    confidence: float


@dataclass(frozen=True)
class Accuracy:
    """Test accuracy over `total` images.

    `confusion[true][predicted]` counts images; rows whose logits were not finite are wrong and counted in `not_finite`
    only. `rechecked` images were run a second time in another order and batch size. `mistakes` are the most confident
    ones, most confident first. `predicted` is the class of each image, -1 where its row was not finite.
    """

    correct: int
    total: int
    confusion: tuple[tuple[int, ...], ...]
    not_finite: int = 0
    rechecked: int = 0
    mistakes: tuple[SureMistake, ...] = ()
    predicted: tuple[int, ...] = ()

    @property
    def accuracy(self) -> float:
        """In 0..1."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (1927) for the accuracy on further images of the same kind; the mark is exact."""
        n, p, z2 = self.total, self.accuracy, Z_95**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(centre - half, 0.0), min(centre + half, 1.0)

    def describe(self) -> str:
        """One sentence for a report."""
        low, high = self.interval
        share = f"{self.accuracy:.2%}: {self.correct:,} of {self.total:,} test images"
        broken = f"; {self.not_finite:,} outputs were NaN or infinite" if self.not_finite else ""
        return f"{share} (95 % interval {low:.1%} to {high:.1%}){broken}"


def accuracy_points(accuracy: float, *, zero: float, full: float, points: float) -> float:
    """The published rule: nothing up to `zero`, all from `full` on, in proportion between, rounded to 0.1."""
    return round(points * min(max((accuracy - zero) / (full - zero), 0.0), 1.0), 1)


def measure_accuracy(
    evaluate: Evaluate,
    images: Images,
    labels: Labels,
    secret: bytes,
    *,
    classes: int = 10,
    batch_size: int | None = None,
) -> Accuracy:
    """Classify all images in an order drawn from the secret and compare with the labels, which stay here.

    A graph that fixes its batch is run with exactly that `batch_size`. Raises NotLogits where an output is not
    (N, classes), or where the second run of a secret sample gives other classes than the first.
    """
    draws = np.random.RandomState(np.frombuffer(hmac.new(secret, b"accuracy", hashlib.sha256).digest(), "<u4"))
    order = draws.permutation(len(images))
    sizes = (500, 128) if batch_size is None else (batch_size, batch_size)
    logits = np.empty((len(images), classes), np.float32)
    for start in range(0, len(images), CHUNK_IMAGES):
        chosen = order[start : start + CHUNK_IMAGES]
        logits[chosen] = classify(evaluate, images[chosen], sizes[0], classes)
    again = draws.permutation(len(images))[: min(RECHECKED_IMAGES, len(images))]
    _compare(logits[again], classify(evaluate, images[again], sizes[1], classes))
    return _count(logits, labels, classes, len(again))


def classify(evaluate: Evaluate, images: Images, batch_size: int, classes: int = 10) -> Logits:
    """Logits (N, classes). The last batch is filled up with copies, since the batch may be fixed. Raises NotLogits."""
    filled = np.concatenate([images, np.repeat(images[:1], -len(images) % batch_size, axis=0)])
    logits = evaluate(filled, batch_size)
    if logits.shape != (len(filled), classes):
        raise NotLogits(
            f"logits of a batch: expected shape (N, {classes}), "
            f"got {('N', *logits.shape[1:]) if len(logits) == len(filled) else 'another number of rows than images'}"
        )
    return logits[: len(images)]


def _compare(first: Logits, second: Logits) -> None:
    """Raise NotLogits where two runs of the same images disagree by more than a tie."""
    finite = np.isfinite(first).all(axis=1)
    changed = finite != np.isfinite(second).all(axis=1)
    one, other = first[finite], second[finite]
    rows = np.arange(len(one))
    mine, theirs = one.argmax(axis=1), other.argmax(axis=1)
    gap = one[rows, mine] - one[rows, theirs]
    tie = TIE * np.maximum(np.abs(one).max(axis=1), 1e-6)
    disagree = int((gap > tie).sum()) + int(changed.sum())
    if disagree:
        raise NotLogits(
            f"{disagree} of {len(first)} images were classified differently when they came in another batch or order: "
            "in eval mode an image's logits may depend on that image only (is dropout still on, or batch norm without "
            "running statistics?)"
        )


def _count(logits: Logits, labels: Labels, classes: int, rechecked: int) -> Accuracy:
    finite = np.isfinite(logits).all(axis=1)
    predicted = np.where(finite, np.nan_to_num(logits).argmax(axis=1), -1)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels[finite], predicted[finite]), 1)
    return Accuracy(
        correct=int((predicted == labels).sum()),
        total=len(labels),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        not_finite=int((~finite).sum()),
        rechecked=rechecked,
        mistakes=_surest_mistakes(logits, predicted, labels),
        predicted=tuple(predicted.tolist()),
    )


def _surest_mistakes(logits: Logits, predicted: NDArray[np.int64], labels: Labels) -> tuple[SureMistake, ...]:
    wrong = np.flatnonzero((predicted != labels) & (predicted >= 0))
    shifted = logits[wrong].astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True, initial=-np.inf)
    surest = 1 / np.exp(shifted).sum(axis=1)  # softmax of the largest logit
    order = np.argsort(-surest, kind="stable")[:SHOWN_MISTAKES]
    return tuple(SureMistake(int(wrong[k]), int(predicted[wrong[k]]), round(float(surest[k]), 4)) for k in order)
