"""What the hidden checks of a student's image transforms look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autograder.checks import CheckContext, CheckEnded, expect, fail
from autograder.core.grade_report import Status
from autograder.core.probes import COARSE, FINE
from autograder.graders.answers import answered, evidence_for
from autograder.judging.evidence import Sample, Samples

Array = NDArray[Any]
Range = tuple[float, float]
TRAIN, TEST = "train_transform", "test_transform"
# Of torchvision's transforms, alone and combined as students do, the least is 0.82 (a resized crop of a third, rotated
# by up to 30°, jittered and blurred); of noise of every smoothness, and of shuffled pixels, the most is 0.65.
LEAST_SEPARATION = 0.75
# A share of a picture's variance. Another picture with 3 % of the image in it has the same to 0.001, and without this
# bound separates by chance (0.25 to 0.69); the least of honest ones, blurred by a sigma of 4 pixels, differs by 0.04.
LEAST_DETAIL = 0.005


def transformed(graded: CheckContext, name: str, image: str = "natural") -> Samples:
    """What a transform made of a probe image. Ends the check where it is missing or raised."""
    samples = evidence_for(graded.evidence.samples, name)[image]
    if samples.problem is not None:
        answered(name, samples.problem)
    return samples


def arrays_of(name: str, samples: Samples) -> list[Array]:
    """The values, where all of them are tensors with numbers in them; else the check is not judged."""
    found = [sample.array for sample in samples.outputs if sample.array is not None]
    if len(found) < len(samples.outputs):
        raise CheckEnded(Status.SKIPPED, f"not judged, because `{name}` gives no tensor (or a very large one)")
    if any(array.size == 0 for array in found):
        raise CheckEnded(Status.FAILED, f"`{name}` gives an empty tensor: return the image")
    if not all(np.isfinite(array).all() for array in found):
        raise CheckEnded(Status.SKIPPED, f"not judged, because `{name}` gives NaN or infinite values")
    return found


def expect_float_images(name: str, outputs: Sequence[Sample]) -> None:
    """Every output is a floating-point tensor (3, 32, 32) without NaN."""
    for output in outputs:
        expect(output.type == "tensor", f"`{name}`: expected a tensor, got {output.type}: convert with v2.ToImage()")
        expect(output.shape == (3, 32, 32), f"`{name}`: expected shape (3, 32, 32) [C, H, W], got {output.shape}")
        expect(
            output.dtype.startswith(("float", "bfloat")),
            f"`{name}`: expected float32, got {output.dtype}: v2.ToDtype(torch.float32, scale=True)",
        )
        finite = output.array is not None and bool(np.isfinite(output.array).all())
        expect(finite, f"`{name}` gives NaN or infinite values: is the standard deviation in Normalize 0?")


def expect_image_shows(graded: CheckContext, name: str) -> None:
    """What the transform gives depends on the image: fine detail stays finer than coarse, however it was turned, cut,
    coloured or blurred. Noise that takes the image's place shows neither."""
    samples = evidence_for(graded.evidence.samples, name)
    fine, coarse = ([detail(a) for kind in kinds for a in pictures(name, samples[kind])] for kinds in (FINE, COARSE))
    expect(
        separation(fine, coarse) >= LEAST_SEPARATION,
        f"what `{name}` gives hardly depends on the image: a network that trains on it sees no picture. Change the "
        "image, but do not put something else in its place",
    )


def pictures(name: str, samples: Samples) -> list[Array]:
    """The outputs for one image; a shape that is no picture's ends the check, since another one says so."""
    if samples.problem is not None:
        answered(name, samples.problem)
    found = arrays_of(name, samples)
    if any(array.ndim != 3 or min(array.shape[1:]) < 3 for array in found):
        raise CheckEnded(
            Status.SKIPPED, f"not judged, because `{name}` gives no picture of shape (channels, height, width)"
        )
    return found


def detail(picture: Array) -> float:
    """How much of the variance of a picture (C, H, W) lies in differences from the mean of 3×3 pixels; 0 for a flat
    one."""
    grey = picture.astype(np.float64).mean(axis=0)
    height, width = grey.shape
    padded = np.pad(grey, 1, mode="edge")
    mean = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    variance = float(grey.var())
    return float((grey - mean).var()) / variance if variance > 0 else 0.0


def separation(fine: Sequence[float], coarse: Sequence[float]) -> float:
    """How often a value of the first is larger than one of the second, in 0..1 (Mann and Whitney 1947).

    What differs by less than LEAST_DETAIL counts as equal: a trace of the image would order them as well as the image.
    """
    pairs = np.subtract.outer(fine, coarse)
    return float(np.mean(pairs > LEAST_DETAIL) + np.mean(abs(pairs) <= LEAST_DETAIL) / 2)


# Of draws, by channel. Jitter, erasing and posterising move the range of some, another Normalize that of all. Over 8
# secrets, the least share of 11 designs is 0.50 (jitter), of 48 other augmentations 0.34 (strong jitter and greyscale),
# but 0.06 where every draw is blurred strongly; with another mean or deviation of one channel the most is 0.12.
LEAST_ALIKE = 1 / 4
COLOURS = ("red", "green", "blue")


def expect_alike(training: Sequence[Array], testing: Array) -> None:
    """In every channel, enough draws of the training transform have the range that the testing transform gives."""
    drawn, wanted = [value_ranges(array) for array in training], value_ranges(testing)
    if any(len(ranges) != len(wanted) for ranges in drawn):  # greyscale: another check says so
        drawn, wanted = [[value_range(array)] for array in training], [value_range(testing)]
    found = [
        channel
        for channel, testing_range in enumerate(wanted)
        if np.mean([are_alike(ranges[channel], testing_range) for ranges in drawn]) < LEAST_ALIKE
    ]
    if not found:
        return
    low, high = np.median([ranges[found[0]] for ranges in drawn], axis=0)
    lowest, highest = wanted[found[0]]
    where = ""
    if len(found) < len(wanted):
        where = f"in the {' and the '.join(COLOURS[c] for c in found)} channel{'s' * (len(found) > 1)} "
    fail(
        f"{where}values run from about {low:.2f} to {high:.2f} in training and from {lowest:.2f} to {highest:.2f} in "
        "testing, so the network would be tested on images unlike those that it learned from: "
        + why_not_alike((low, high), (lowest, highest))
    )


def why_not_alike(training: Range, testing: Range) -> str:
    """Which of the two transforms is off, and the remedy. The probe image is black and white in parts: 0 and 1."""
    for name, found in ((TRAIN, training), (TEST, testing)):
        if are_alike(found, (0.0, 255.0)):
            return f"`{name}` leaves 0 to 255 as they are. Use v2.ToDtype(torch.float32, scale=True)"
    for name, found in ((TRAIN, training), (TEST, testing)):
        if are_alike(found, (0.0, 1.0)):
            return f"`{name}` does not normalise. Give both the same v2.Normalize"
    return "one has another mean or standard deviation. Give both the same v2.Normalize"


def value_ranges(array: Array) -> list[Range]:
    """The range of each colour channel, or that of everything where there are not three."""
    return [value_range(channel) for channel in array] if len(array) == len(COLOURS) else [value_range(array)]


def value_range(array: Array) -> Range:
    """The 5 % and 95 % quantiles: a tenth of the probe image is black and a tenth white in each channel."""
    low, high = np.quantile(array.astype(np.float64), [0.05, 0.95])
    return float(low), float(high)


def are_alike(one: Range, other: Range) -> bool:
    """Widths within a third of one another, and centres within a fifth of the width."""
    widths = one[1] - one[0], other[1] - other[0]
    apart = abs(sum(one) - sum(other)) / 2
    return min(widths) > 0.75 * max(widths) and apart < 0.2 * max(widths)
