"""Loads one split of a data set, through the cache, and the training images that the student kit holds out."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autograder.judging import offline_images
from autograder.judging.datasets.cache import (
    cache_place,
    default_cache_folder,
    load_cached,
    read_cache,
    sample_fingerprint,
    try_write_cache,
)
from autograder.judging.datasets.decoding import Decoded, Images, Labels, content_hash
from autograder.judging.datasets.finding import find_source
from autograder.judging.datasets.sources import (
    CLASSES,
    IMAGE_COUNTS,
    OFFLINE_NAME,
    DataError,
    Source,
    Split,
    files_of_tree,
    files_of_zip,
    interleave,
    open_zip,
    path_of,
)

_KIT_SEED = 0  # cnn_kit's _SPLIT_SEED


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    images: (N, 3, 32, 32) uint8, RGB, read-only. labels: (N,) int64, indices into `classes`, read-only. Image folders
    are interleaved: every ten images in a row show each class once. sha256: hex, over all images and labels, whatever
    their order. identity: what reports print, e.g. "CIFAR-10 (JPEG copy), 10,000 test images, sha256 0123456789abcdef".
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    labels: Labels
    split: Split
    sha256: str

    @property
    def identity(self) -> str:
        return f"{self.name}, {len(self.labels):,} {self.split} images, sha256 {self.sha256[:16]}"


def find_test_set(*, allow_offline: bool, cache_folder: Path | None = None) -> Dataset:
    """The test set that `find_source` finds, loaded. Raises DataError."""
    return load(find_source(allow_offline=allow_offline), "test", cache_folder=cache_folder)


def load(source: Source, split: Split, *, cache_folder: Path | None = None, any_size: bool = False) -> Dataset:
    """One split of a source, from the cache where it is there, else decoded and cached.

    any_size: accept a part of CIFAR-10 (for tests and trials, never for grading), all ten classes in it; otherwise
    a split must hold exactly 10,000 test or 50,000 train images, as many of each class. Raises DataError.
    """
    if split not in IMAGE_COUNTS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    if source.form == "offline":
        count = {"train": offline_images.TRAIN_IMAGES, "test": offline_images.TEST_IMAGES}[split]
        images, labels = offline_images.render(split, count)
        return _dataset(OFFLINE_NAME, offline_images.CLASSES, images, labels, split)
    try:
        decoded = load_cached(source, split, cache_folder or default_cache_folder())
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error}") from error
    dataset = _dataset(decoded.name, source.classes, decoded.images, decoded.labels, split)
    if not any_size:
        _check_complete(dataset, source)
    return dataset


def load_held_out(source: Source, count: int, secret: bytes, *, cache_folder: Path | None = None) -> Dataset:
    """Training images that the student kit holds out for validation: `count` of them or all, in an order drawn by the
    secret of a course, the same for every submission of it.

    Who trains with the kit has trained on none of them, so a network does as well on them as on test images. They are
    cached apart: all training images would cost each submission most of a second, these cost hundredths. The first use
    decodes the training set, as `load` does. Raises DataError.
    """
    folder = cache_folder or default_cache_folder()
    tag = hmac.new(secret, f"held out/{count}".encode(), hashlib.sha256).digest()
    place = "offline" if source.form == "offline" else cache_place(source)
    path = folder / f"held-out-{place}-{sample_fingerprint(source)}-{tag.hex()[:16]}.npz"
    sample = read_cache(path)
    if sample is None:
        whole = load(source, "train", cache_folder=folder)
        places = held_out_places(source, whole.labels)
        chosen = places[np.random.RandomState(np.frombuffer(tag, "<u4")).permutation(len(places))[:count]]
        sample = Decoded(whole.name, whole.images[chosen], whole.labels[chosen])
        try_write_cache(path, sample, outdated=f"held-out-{place}-*-{tag.hex()[:16]}.npz")
    classes = offline_images.CLASSES if source.form == "offline" else CLASSES
    return _dataset(sample.name, classes, sample.images, sample.labels, "train")


def held_out_places(source: Source, labels: Labels) -> NDArray[np.int64]:
    """Where the images stand in the training set that the kit holds out: a tenth, by a draw that never changes.

    The kit takes images from folders in the order of their names, class by class; `load` interleaves the classes.
    """
    order = np.argsort(labels, kind="stable") if source.form in ("tree", "zip") else np.arange(len(labels))
    places: NDArray[np.int64] = order[np.random.RandomState(_KIT_SEED).permutation(len(labels))[: len(labels) // 10]]
    return places


def names_of_images(source: Source, split: Split) -> list[str]:
    """What each image of a split is called, in the order in which `load` gives them: the file, or its number."""
    if source.form == "tree":
        files = interleave(files_of_tree(path_of(source), split), source.classes)
        return [str(Path(file.name).relative_to(path_of(source))) for file in files]
    if source.form == "zip":
        with open_zip(path_of(source)) as archive:
            files = interleave(files_of_zip(archive, path_of(source), split), source.classes)
            return [file.name for file in files]
    return [f"image {number}" for number in range(len(load(source, split, any_size=True).labels))]


def _dataset(name: str, classes: tuple[str, ...], images: Images, labels: Labels, split: Split) -> Dataset:
    images.flags.writeable = False
    labels.flags.writeable = False
    return Dataset(name, classes, images, labels, split, content_hash(images, labels))


def _check_complete(dataset: Dataset, source: Source) -> None:
    wanted = IMAGE_COUNTS[dataset.split] // len(CLASSES)
    counts = np.bincount(dataset.labels, minlength=len(CLASSES))
    wrong = [f"{name} {count:,}" for name, count in zip(CLASSES, counts, strict=True) if count != wanted]
    if wrong:
        raise DataError(
            f"{source}: the {dataset.split} set must hold {wanted:,} images of each class, got {', '.join(wrong)}. "
            "Copy or unpack it again: accuracy on a part of the test set is not comparable."
        )
