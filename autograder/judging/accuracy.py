"""Exact test accuracy: every test image once, in a secret order; an image's class may depend on that image only."""

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

USUAL_BATCH = 500
CHUNK_IMAGES = 2_000  # per request: a hang costs one deadline, and progress can be seen
# Of so many batches each image is run again among strangers, which take the places of every other image.
MIXED_BATCHES = 2
# And some, so many at least for each range, are run again in batches of another size, drawn by the secret.
OTHER_SIZES = ((1, 1), (2, 16), (17, 64), (65, 400))
FEWEST_AGAIN = 40
SHOWN_MISTAKES = 9
# In the same place of a batch of the same size, honest networks give the same bits. What decides is the gap between the
# two leading logits; nothing that scales with other logits may excuse a change of it.
LEAST_GAP_CHANGE = 1e-3
# In batches of another size, sums of float32 are taken in another order, and near ties change places.
MOST_CHANGED = 0.03
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
    only. `rechecked` images were run a second time, among others or in batches of another size. `mistakes` are the most
    confident ones, most confident first. `predicted` is the class of each image, -1 where its row was not finite.
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
    (N, classes), or where an image's class depends on its companions or on the size of its batch.
    """
    draws = np.random.RandomState(np.frombuffer(hmac.new(secret, b"accuracy", hashlib.sha256).digest(), "<u4"))
    order = draws.permutation(len(images))
    size = batch_size or min(USUAL_BATCH, len(images))
    logits = np.empty((len(images), classes), np.float32)
    for start in range(0, len(images), CHUNK_IMAGES // size * size):
        chosen = order[start : start + CHUNK_IMAGES // size * size]
        logits[chosen] = classify(evaluate, images[chosen], size, classes)
    rechecked = _expect_companions_do_not_count(evaluate, images, logits, order, size, draws)
    rechecked += _expect_sizes_do_not_count(evaluate, images, logits, batch_size, draws)
    return _count(logits, labels, classes, rechecked)


def _expect_companions_do_not_count(
    evaluate: Evaluate,
    images: Images,
    logits: Logits,
    order: NDArray[np.int64],
    size: int,
    draws: np.random.RandomState,
) -> int:
    """Run some batches again, each image in its place, with strangers in the places of half of the others.

    Returns how many images were compared. Raises NotLogits.
    """
    whole = len(order) // size
    if not whole or size == 1:
        return 0
    count = max(MIXED_BATCHES, -(-MIXED_BATCHES * USUAL_BATCH // size))  # of small batches as many images
    chosen = draws.permutation(whole)[:count]
    batches = order[: whole * size].reshape(whole, size)[chosen].ravel()
    changed = 0
    half = draws.permutation(len(batches)) % 2 == 0
    for kept in (half, ~half):
        places = np.where(kept, batches, draws.permutation(order)[: len(batches)])
        again = classify(evaluate, images[places], size, logits.shape[1])
        changed += int(depends_on_others(logits[batches[kept]], again[kept]).sum())
    if changed:
        raise NotLogits(
            f"the logits of {changed} of {len(batches)} images changed when other images stood beside them: {ONE_IMAGE}"
        )
    return len(batches)


def _expect_sizes_do_not_count(
    evaluate: Evaluate, images: Images, logits: Logits, batch_size: int | None, draws: np.random.RandomState
) -> int:
    """Run some images again in batches of other sizes, and in another order. Returns how many. Raises NotLogits."""
    ranges = OTHER_SIZES if batch_size is None else ((batch_size, batch_size),) * len(OTHER_SIZES)
    compared = changed = 0
    for low, high in ranges:
        size = int(draws.randint(low, high + 1))
        chosen = draws.permutation(len(images))[: -(-FEWEST_AGAIN // size) * size]
        again = classify(evaluate, images[chosen], size, logits.shape[1])
        compared += len(chosen)
        changed += int((_classes_of(logits[chosen]) != _classes_of(again)).sum())
    if changed > MOST_CHANGED * compared:
        raise NotLogits(
            f"{changed} of {compared} images were classified differently when they came in another batch or order: "
            f"{ONE_IMAGE}"
        )
    return compared


ONE_IMAGE = (
    "in eval mode an image's logits may depend on that image only (is dropout still on, or batch norm without running "
    "statistics?)"
)


def _classes_of(logits: Logits) -> NDArray[np.int64]:
    """The class of each row, -1 for one that is not finite."""
    found: NDArray[np.int64] = np.where(np.isfinite(logits).all(axis=1), np.nan_to_num(logits).argmax(axis=1), -1)
    return found


def depends_on_others(alone: Logits, among_others: Logits) -> NDArray[np.bool_]:
    """Per row (N, K): whether the gap between its two leading logits changed with the other images of the batch.

    Rows stand at the same place of batches of the same size. One logit that is huge, or all that are tiny, change
    nothing of this: a gap is compared with itself.
    """
    first, other = alone.astype(np.float64), among_others.astype(np.float64)
    finite = np.isfinite(first).all(axis=1)
    changed: NDArray[np.bool_] = finite != np.isfinite(other).all(axis=1)
    rows = np.flatnonzero(finite & ~changed)
    if first.shape[1] < 2:
        changed[rows] |= (first[rows] != other[rows]).any(axis=1)
        return changed
    leading = np.argsort(-first[rows], axis=1, kind="stable")[:, :2]
    gaps = [np.take_along_axis(logits[rows], leading, axis=1) @ (1.0, -1.0) for logits in (first, other)]
    changed[rows] |= np.abs(gaps[0] - gaps[1]) > LEAST_GAP_CHANGE * np.maximum(np.abs(gaps[0]), np.abs(gaps[1]))
    overtaken = other[rows].max(axis=1) > np.take_along_axis(other[rows], leading, axis=1).max(axis=1)
    changed[rows] |= overtaken
    return changed


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


def _count(logits: Logits, labels: Labels, classes: int, rechecked: int) -> Accuracy:
    finite = np.isfinite(logits).all(axis=1)
    predicted = _classes_of(logits)
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
