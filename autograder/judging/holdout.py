"""A private hold-out: images that are never public, and whose accuracy is the mark where the configuration names one.

`CheckpointProbe(holdout=…)` names a place, relative to the course. It is read like the test set (datasets/), only
the number of images is free. Whatever would make it no hold-out stops grading before the first submission: a place that
is published, too few images, images that are public. Nothing of it enters a jail but the images that the runner gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autograder.core.config import Assignment, Exercise
from autograder.judging import datasets
from autograder.judging.datasets import DataError, Dataset, Images, Source

NAME = "private hold-out"
LEAST_IMAGES = 500  # the standard error of an accuracy of 75 % is then 1.9 points, which are 3.9 points of the mark
LEAST_OF_A_CLASS = 20
COMFORTABLE_IMAGES = 2_000
# nbgrader and the engine hand out, show or empty these.
PUBLISHED = ("release", "source", "submitted", "autograded", "feedback", "reports", ".autograder")
# Two pictures are one where grey copies of them of 8×8 pixels differ by less than this (root mean square, in grey
# levels). Saved anew as JPEG (quality 75) an image differs by up to 1.3 from itself; the two most alike of 2,000 test
# and 50,000 training images of CIFAR-10 by 5.5.
SAME_PICTURE = 3.0
SIDE, BRIGHTNESS = 8, (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG takes it
CHUNK = 5_000
MOST_NAMED = 5
FORM = (
    f"Expected a folder test/<class>/*.png (or .jpg), a zip of such a folder, or a cifar-10-batches-py folder, with at "
    f"least {LEAST_IMAGES} images of 32x32 pixels of all classes; docs/data.md says how to make one."
)


def holdout_place(root: Path, exercise: Exercise) -> Path | None:
    """Where an exercise's hold-out lies; None where it has none."""
    named = exercise.checkpoint.holdout if exercise.checkpoint is not None else ""
    return (root / named).resolve() if named else None


def places_of(root: Path, assignment: Assignment) -> Mapping[str, Path]:
    """The hold-outs of an assignment, by notebook."""
    places = {exercise.notebook: holdout_place(root, exercise) for exercise in assignment.exercises}
    return {notebook: place for notebook, place in places.items() if place is not None}


def read_holdout(place: Path, classes: tuple[str, ...]) -> Dataset:
    """The images at a place, with the classes of the test set, in their order. Raises DataError."""
    try:
        source = datasets.source_at(place, classes)
        if source is None:
            raise DataError("it does not exist" if not place.exists() else "no data set is there")
        found = datasets.load(source, "test", any_size=True)
    except DataError as error:
        reason = str(error).rstrip(".")
        raise DataError(f"the private hold-out {place} cannot be used: {reason}. {FORM}") from error
    counts = np.bincount(found.labels, minlength=len(classes))
    few = [f"{name} {count}" for name, count in zip(classes, counts, strict=True) if count < LEAST_OF_A_CLASS]
    if len(found.labels) < LEAST_IMAGES or few:
        had = f"it has {len(found.labels):,} images" + (f", of some classes few: {', '.join(few)}" if few else "")
        wanted = f"at least {LEAST_IMAGES} are needed, {LEAST_OF_A_CLASS} of each class"
        raise DataError(f"the private hold-out {place} is too small: {had}; {wanted}. {FORM}")
    return Dataset(NAME, classes, found.images, found.labels, found.split, found.sha256)


def check_holdout(root: Path, place: Path, public: Source) -> Dataset:
    """The hold-out at a place, if it is one: not in a published folder, readable, large enough, and none of its
    pictures in the public data set, training images included where they are there. Raises DataError."""
    published = [name for name in PUBLISHED if place.is_relative_to((root / name).resolve())]
    if published:
        raise DataError(
            f"the private hold-out {place} lies in {published[0]}/, which others get to see or programs empty: move it "
            f"to a folder of its own, holdout/ for instance"
        )
    return _checked(place, public, place.stat().st_mtime_ns if place.exists() else 0)


@lru_cache
def _checked(place: Path, public: Source, _modified: int) -> Dataset:
    """Once in a process: a batch opens a grader for every submission."""
    test_set = datasets.load(public, "test")
    holdout = read_holdout(place, test_set.classes)
    found = {"test": same_pictures(holdout.images, test_set.images)}
    if training := _training_images(public):
        found["training"] = same_pictures(holdout.images, training.images)
    overlap = {kind: places for kind, places in found.items() if len(places)}
    if overlap:
        source = datasets.source_at(place, test_set.classes)
        assert source is not None
        names = datasets.names_of_images(source, "test")
        told = " and ".join(f"{len(places):,} are {kind} images too ({_some(names, places)})"
                            for kind, places in overlap.items())  # fmt: skip
        raise DataError(
            f"the private hold-out {place} is not private: of its {len(names):,} images {told}, of {test_set.name}. "
            "Whoever trained on these, or knows them by heart, would gain by it: take them out"
        )
    return holdout


def _training_images(public: Source) -> Dataset | None:
    """None where the data set has none, as a course may have it."""
    try:
        return datasets.load(public, "train")
    except DataError:
        return None


def _some(names: Sequence[str], places: NDArray[np.int64]) -> str:
    named = ", ".join(names[place] for place in places[:MOST_NAMED])
    return named + (f" and {len(places) - MOST_NAMED:,} more" if len(places) > MOST_NAMED else "")


def same_pictures(ours: Images, public: Images) -> NDArray[np.int64]:
    """Which of our images (N, 3, 32, 32) stand among public ones (M, 3, 32, 32), perhaps saved anew: places in ours."""
    small, others = _small(ours), _small(public)
    least = np.full(len(small), np.inf, np.float32)
    for start in range(0, len(others), CHUNK):
        part = others[start : start + CHUNK]
        apart = np.square(small).sum(axis=1)[:, None] + np.square(part).sum(axis=1) - 2 * small @ part.T  # (N, CHUNK)
        least = np.minimum(least, apart.min(axis=1))
    return np.flatnonzero(least < small.shape[1] * SAME_PICTURE**2)


def _small(images: Images) -> NDArray[np.float32]:
    """(N, SIDE * SIDE) brightness of squares of pixels, from -128 to 127: JPEG keeps it better than colour."""
    step = images.shape[-1] // SIDE
    means = images.reshape(len(images), 3, SIDE, step, SIDE, step).mean(axis=(3, 5), dtype=np.float32)
    grey: NDArray[np.float32] = np.tensordot(means, np.array(BRIGHTNESS, np.float32), axes=(1, 0)) - np.float32(128)
    return grey.reshape(len(images), -1)
