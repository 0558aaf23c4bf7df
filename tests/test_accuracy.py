"""Accuracy is exact, in a secret order, cross-checked, and turned into points by the published rule."""

from dataclasses import replace

import numpy as np
import pytest

from autograder.judging.accuracy import Accuracy, NotLogits, accuracy_points, measure_accuracy

SECRET = b"a secret for tests"
RULE = {"zero": 0.65, "full": 0.75, "points": 20}


@pytest.fixture(scope="module")
def images():
    """Images whose first pixel is their label, and some noise."""
    draws = np.random.RandomState(0)
    images = draws.randint(0, 256, (2_300, 3, 32, 32)).astype(np.uint8)
    images[:, 0, 0, 0] = np.arange(len(images)) % 10
    return images


@pytest.fixture(scope="module")
def labels(images):
    return images[:, 0, 0, 0].astype(np.int64)


def classify(images, batch_size):
    return np.eye(10, dtype=np.float32)[images[:, 0, 0, 0]]


def test_counts_every_image_once(images, labels):
    found = measure_accuracy(classify, images, labels, SECRET)
    assert (found.correct, found.total, found.accuracy) == (2_300, 2_300, 1.0)
    assert found.rechecked >= 1_000
    assert np.array_equal(found.confusion, np.diag([230] * 10))


def test_confusion_says_what_was_taken_for_what(images, labels):
    found = measure_accuracy(lambda x, _: np.roll(classify(x, _), 1, axis=1), images, labels, SECRET)
    assert found.correct == 0
    assert all(found.confusion[i][(i + 1) % 10] == 230 for i in range(10))


def test_order_is_secret_but_does_not_change_the_result(images, labels):
    seen = []

    def watched(x, batch_size):
        seen.append(x.copy())
        return classify(x, batch_size)

    one = measure_accuracy(watched, images, labels, SECRET)
    first = seen.copy()
    seen.clear()
    other = measure_accuracy(watched, images, labels, b"another secret")
    assert replace(one, rechecked=0) == replace(other, rechecked=0)
    assert not np.array_equal(first[0], seen[0])
    assert not np.array_equal(first[0], images[: len(first[0])])


def test_rows_that_are_not_finite_are_wrong(images, labels):
    def broken(x, batch_size):
        logits = classify(x, batch_size)
        logits[x[:, 0, 0, 0] == 3] = np.nan
        logits[x[:, 0, 0, 0] == 4, 4] = np.inf
        return logits

    found = measure_accuracy(broken, images, labels, SECRET)
    assert (found.correct, found.not_finite) == (1_840, 460)
    assert "460 outputs were NaN" in found.describe()


@pytest.mark.parametrize("shape", [(10, 1), (9,), (1000,), ()])
def test_another_shape_is_refused(images, labels, shape):
    with pytest.raises(NotLogits, match="expected shape"):
        measure_accuracy(lambda x, _: np.zeros((len(x), *shape), np.float32), images, labels, SECRET)


def test_too_few_rows_are_refused(images, labels):
    with pytest.raises(NotLogits, match="another number of rows"):
        measure_accuracy(lambda x, _: classify(x, _)[1:], images, labels, SECRET)


def balanced(logits):
    """Each class gets its share of the batch: what makes a guess better that looks at its companions."""
    for _ in range(4):
        logits = logits - np.log(np.exp(logits).sum(axis=0, keepdims=True))
        logits = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def with_huge_negative(logits):
    return np.where(logits == logits.min(axis=1, keepdims=True), logits - 1e7, logits)


def with_huge_leaders(logits):
    """The two leading logits far above the others: their gap stays what it was."""
    second = np.sort(logits, axis=1)[:, -2:-1]
    return np.where(logits >= second, logits + 1e6, logits)


DISGUISES = {
    "plain": lambda logits: logits,
    "one huge negative logit": with_huge_negative,
    "two huge leaders": with_huge_leaders,
    "all tiny": lambda logits: logits * 1e-9,
    "all huge": lambda logits: logits * 1e9,
    "all moved": lambda logits: logits + 4096,
}
MIXTURES = {
    "in every batch": lambda logits: balanced(logits),
    "in large batches only": lambda logits: balanced(logits) if len(logits) > 16 else logits,
    "in batches of one size only": lambda logits: balanced(logits) if len(logits) == 500 else logits,
    "with the next image": lambda logits: logits + 0.5 * np.roll(logits, 1, axis=0),
    "with the first image": lambda logits: logits + 0.5 * logits[:1],
    "where it is unsure": lambda logits: np.where(np.ptp(logits, axis=1, keepdims=True) < 2, balanced(logits), logits),
}


def batch_by_batch(function, logits, batch_size):
    parts = [function(logits[start : start + batch_size]) for start in range(0, len(logits), batch_size)]
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_logits_that_depend_on_other_images_are_found(images, labels, mixture, disguise):
    def unsure(x):
        """Logits that depend on the image alone, right for most."""
        noise = np.random.RandomState(0).normal(0, 1, (256, 10))[x[:, 0, 1, 0]]
        return classify(x, 0) + noise

    def mixing(x, batch_size):
        mixed = batch_by_batch(MIXTURES[mixture], unsure(x).astype(np.float64), batch_size)
        return DISGUISES[disguise](mixed).astype(np.float32)

    def alone(x, batch_size):
        return DISGUISES[disguise](unsure(x)).astype(np.float32)

    with pytest.raises(NotLogits, match="other images stood beside them"):
        measure_accuracy(mixing, images, labels, SECRET)
    assert measure_accuracy(alone, images, labels, SECRET).total == 2_300


def test_noise_that_stays_on_is_found(images, labels):
    """The same random numbers at each place of a batch, as a seeded dropout has them."""

    def noisy(x, batch_size):
        noise = np.random.RandomState(0).normal(0, 1, (batch_size, 10))
        return (classify(x, batch_size) + np.resize(noise, (len(x), 10))).astype(np.float32)

    with pytest.raises(NotLogits, match="in another batch or order"):
        measure_accuracy(noisy, images, labels, SECRET)


def test_float_noise_is_not_held_against_anyone(images, labels):
    """Sums are taken in another order in batches of another size, and one image in a hundred is nearly a tie."""

    def rounded(x, batch_size):
        logits = classify(x, batch_size)
        tied = x[:, 0, 1, 0] < 3
        logits[tied, (x[tied, 0, 0, 0] + 1) % 10] = 1
        noise = np.random.RandomState(batch_size).normal(0, 1e-6, (batch_size, 10))
        return (logits + np.resize(noise, logits.shape)).astype(np.float32)

    assert measure_accuracy(rounded, images, labels, SECRET).total == 2_300


def test_fewer_images_than_a_batch_are_looked_at_too(images, labels):
    def mixing(x, batch_size):
        return np.roll(classify(x, batch_size), 1, axis=0)

    with pytest.raises(NotLogits, match="other images stood beside them"):
        measure_accuracy(mixing, images[:300], labels[:300], SECRET)


def test_a_fixed_batch_is_kept_and_filled_up(images, labels):
    sizes = set()

    def fixed(x, batch_size):
        sizes.add((len(x) % 4, batch_size))
        return classify(x, batch_size)

    assert measure_accuracy(fixed, images[:1_001], labels[:1_001], SECRET, batch_size=4).correct == 1_001
    assert sizes == {(0, 4)}


@pytest.mark.parametrize(
    ("correct", "points"),
    [(0, 0), (6_500, 0), (6_501, 0), (6_505, 0.1), (7_000, 10), (7_216, 14.3), (7_500, 20), (7_501, 20), (10_000, 20)],
)
def test_points_follow_the_published_rule(correct, points):
    assert accuracy_points(correct / 10_000, **RULE) == points


def test_interval_is_wilsons():
    """0.8 of 100: 0.7112 to 0.8666 (Newcombe 1998 gives the same method's values to four digits)."""
    low, high = Accuracy(80, 100, ()).interval
    assert (round(low, 4), round(high, 4)) == (0.7112, 0.8666)
    assert Accuracy(0, 100, ()).interval[0] == 0
    assert Accuracy(100, 100, ()).interval[1] == 1
