"""The built-in offline set: the same bits everywhere, balanced, and decided by shape alone."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from autograder.judging import offline_images
from autograder.judging.offline_images import CLASSES, TEST_IMAGES, TRAIN_IMAGES, render, render_all

# Of the images' bytes, then the labels' as little-endian int64. They hold on every platform and NumPy version, since
# the rendering uses correctly rounded operations only; changing the drawing means measuring docs/data.md's table anew.
SHA256 = {
    "train": "39ece2199cc8af3c326a22ef5b33b4bc502adc259db16676921d4d6f63ab06fa",
    "test": "65c05d18ecce88656857bf955466c504783f2c429f6689e59ea4b2c4a8105000",
}


@pytest.fixture(scope="module")
def timed():
    """Both splits, and the seconds of processor time they took."""
    start = time.process_time()
    return render_all(), time.process_time() - start


@pytest.fixture(scope="module")
def rendered(timed):
    return timed[0]


@pytest.mark.parametrize("split", ["train", "test"])
def test_rendering_is_the_same_bit_for_bit_everywhere(rendered, split):
    images, labels = rendered[split]
    assert hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest() == SHA256[split]


def test_set_has_the_shape_of_cifar10(rendered):
    assert len(set(CLASSES)) == 10
    for split, count in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
        images, labels = rendered[split]
        assert images.shape == (count, 3, 32, 32)
        assert images.dtype == np.uint8
        assert labels.shape == (count,)
        assert labels.dtype == np.int64
        assert np.bincount(labels).tolist() == [count // 10] * 10


def test_first_images_do_not_depend_on_how_many_are_asked_for(rendered):
    images, labels = render("train", 730)
    assert np.array_equal(images, rendered["train"][0][:730])
    assert np.array_equal(labels, rendered["train"][1][:730])


def test_no_image_occurs_twice(rendered):
    images = np.concatenate([rendered["train"][0], rendered["test"][0]])
    assert len({image.tobytes() for image in images}) == TRAIN_IMAGES + TEST_IMAGES


def test_colour_does_not_give_the_class_away(rendered):
    """The nearest class mean of each channel's mean and spread finds little more than the 10 % of guessing: the
    shapes differ somewhat in area (measured: 13 %)."""

    def colours(images):
        channels = images.reshape(len(images), 3, -1).astype(np.float64)
        return np.concatenate([channels.mean(axis=2), channels.std(axis=2)], axis=1)

    (train, train_labels), (test, test_labels) = rendered["train"], rendered["test"]
    features, spread = colours(train), colours(train).std(axis=0)
    means = np.stack([features[train_labels == label].mean(axis=0) for label in range(10)])
    distances = np.abs((colours(test)[:, None] - means) / spread).sum(axis=2)
    assert (distances.argmin(axis=1) == test_labels).mean() < 0.20


def test_rendering_touches_no_global_random_state():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    render("test", 10)
    assert np.array_equal(np.random.get_state()[1], before)


def test_rendering_all_takes_seconds(timed):
    assert timed[1] < 15  # 2 s on an idle core, 6 s on one that is shared


@pytest.mark.parametrize(("split", "count"), [("validation", 10), ("train", 0), ("test", -1)])
def test_nonsense_is_refused(split, count):
    with pytest.raises(ValueError, match="must be"):
        render(split, count)


def test_file_stands_alone():
    """It is copied into the student kit: NumPy and the standard library are all it may import."""
    text = Path(offline_images.__file__).read_text(encoding="utf-8")
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert {line.split()[1].split(".")[0] for line in imports} == {"__future__", "collections", "numpy"}
