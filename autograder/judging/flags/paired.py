"""What a network gets right on images as they are and on the same images changed: McNemar's test, and differences.

Counted are images only, never logits: a class is the largest logit of a finite row, so no number that a student can
inflate comes into it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autograder.judging.accuracy import Images

Rightly = NDArray[np.bool_]
MOST_NOISE = 2  # grey levels, in either direction
STEPS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)


@dataclass(frozen=True)
class Pairs:
    """Images that changed sides among `total`: `lost` were right as they are and wrong when changed, `won` the other
    way round."""

    lost: int
    won: int
    total: int

    @property
    def loss(self) -> float:
        """What the change costs, as a part of all images: the difference of the two accuracies."""
        return (self.lost - self.won) / self.total

    @property
    def deviation(self) -> float:
        """The standard error of `loss`.

        One pair is added on either side, which keeps it honest where few images change sides (Agresti and Min 2005,
        Simple improved confidence intervals for comparing matched proportions).
        """
        n, moved, drop = self.total + 2, self.lost + self.won + 1, self.lost - self.won
        return math.sqrt(moved - drop * drop / n) / n

    def describe(self, how: str) -> str:
        """For a flag's text, e.g. "90 of 3,000 images are recognised only as they are, 20 only when …"."""
        return (
            f"of {self.total:,} images {self.lost:,} are recognised only as they are and {self.won:,} only when {how}"
        )


def pairs(as_they_are: Rightly, changed: Rightly) -> Pairs:
    """Two outcomes (N,) of the same images, compared."""
    lost, won = int((as_they_are & ~changed).sum()), int((~as_they_are & changed).sum())
    return Pairs(lost, won, len(as_they_are))


def consensus(as_they_are: Rightly, changed: list[Rightly]) -> Pairs:
    """As `pairs`, but only images that every one of the changes moves to the same side.

    An honest network's mistakes at the border between two classes come and go with every change; what it knows by
    heart goes with all of them.
    """
    lost = int((as_they_are & ~np.any(changed, axis=0)).sum())
    won = int((~as_they_are & np.all(changed, axis=0)).sum())
    return Pairs(lost, won, len(as_they_are))


def mcnemar(found: Pairs) -> float:
    """The exact one-sided p value of McNemar's test (McNemar 1947, Note on the sampling error of the difference between
    correlated proportions or percentages): how probable so many lost ones are among those that changed sides, where
    each is as likely to be lost as to be won."""
    moved = found.lost + found.won
    ways = sum(math.comb(moved, lost) for lost in range(found.lost, moved + 1))
    return float(ways / 2**moved)


def difference(one: Pairs, other: Pairs) -> tuple[float, float]:
    """How much more the change costs on the first images than on the second, and its standard error.

    A difference of differences: whatever makes a network sensitive to the change does so on both.
    """
    return one.loss - other.loss, math.hypot(one.deviation, other.deviation)


# Changes that hardly anybody would notice


def mirrored(images: Images) -> Images:
    """Left and right exchanged."""
    return np.ascontiguousarray(images[..., ::-1])


def moved(images: Images, draws: np.random.RandomState) -> Images:
    """Each image (3, 32, 32) moved by one pixel in a direction of its own, the border repeated, and a little noisy."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[-2:]
    result = np.empty_like(images)
    chosen = draws.randint(0, len(STEPS), len(images))
    for number, (down, right) in enumerate(STEPS):
        own = chosen == number
        result[own] = padded[own, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    return noisy(result, draws)


def noisy(images: Images, draws: np.random.RandomState) -> Images:
    """Each value up to MOST_NOISE grey levels brighter or darker."""
    noise = draws.randint(-MOST_NOISE, MOST_NOISE + 1, images.shape)
    changed: Images = np.clip(images.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return changed
