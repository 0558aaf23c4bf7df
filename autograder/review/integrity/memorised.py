"""Models that know the test set: accuracy on public test images against changed ones and against a private hold-out.

A network that has learned what the images show loses little when they are mirrored or moved by a pixel, and does as
well on new images of the same kind. How much honest networks lose depends on the images, so each model's drop is
compared with the class's median drop, and the class's own spread is allowed for: a hold-out that is harder than the
public test set is so for everybody.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from autograder.graders.answers import answered, evidence_for
from autograder.graders.networks import networks
from autograder.graphs.runner_process import RunnerFault, RunnerProblem
from autograder.judging.accuracy import Evaluate, NotLogits, classify
from autograder.judging.check_language import CheckContext, CheckEnded
from autograder.judging.checkpoint import CheckpointProblem, fit_checkpoint
from autograder.judging.datasets import DataError, Dataset, Images, Labels
from autograder.judging.evidence import EXPORTED_BATCH
from autograder.judging.flags.paired import mirrored, moved
from autograder.judging.normalisation import DEFAULT, Normalisation, NotANormalisation, recover_normalisation
from autograder.review.integrity.signals import ImageComparison, StudentComparisons

TEST_IMAGES = 2_000
LEAST_HOLD_OUT = 100
MOST_HOLD_OUT = 20_000
MOST_IMAGE_BYTES, MOST_ARRAY_BYTES = 1 << 20, 1 << 30
SUFFIXES = (".png", ".jpg", ".jpeg")
Z_95 = 1.959964
# One-sided normal quantile of 1e-4: sampling alone exceeds it once in 10,000 models.
LEAST_DEVIATIONS = 3.719016
# Honest networks that were trained without mirroring lose up to 9.5 points when test images are mirrored.
LEAST_EXCESS = {"mirrored": 0.15, "moved by one pixel": 0.05, "hold-out": 0.05}
FEWEST_FOR_BASELINE = 5
HOLD_OUT = "hold-out"
HOLD_OUT_FORM = (
    "Expected a folder with one folder of PNG or JPEG images (32x32, RGB) for each class of the test set, or an .npz "
    "file with `images` (uint8, N x 32 x 32 x 3 or N x 3 x 32 x 32) and `labels` (integers, as the test set's)"
)
Rightly = NDArray[np.bool_]


@dataclass(frozen=True)
class HoldOut:
    """Private images (N, 3, 32, 32) uint8 and their labels."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class RecallOutcome:
    """Which images one model got right: `test` and its changed forms of the same images, and the hold-out's."""

    student: str
    test: Rightly | None = None
    changed: Mapping[str, Rightly] | None = None
    hold_out: Rightly | None = None
    problem: str = ""


# The hold-out


def read_hold_out(path: Path, classes: Sequence[str]) -> HoldOut:
    """Private images from a folder of classes or from an .npz file. Raises DataError."""
    try:
        images, labels = _read_arrays(path) if path.is_file() else _read_folder(path, classes)
    except (OSError, ValueError, KeyError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"the hold-out {path} cannot be read ({error}). {HOLD_OUT_FORM}") from error
    if len(images) < LEAST_HOLD_OUT or len(images) > MOST_HOLD_OUT:
        bounds = f"{LEAST_HOLD_OUT} to {MOST_HOLD_OUT:,} images"
        raise DataError(f"the hold-out {path} must have {bounds}, it has {len(images):,}. {HOLD_OUT_FORM}")
    if labels.min() < 0 or labels.max() >= len(classes):
        found = f"labels run from {labels.min()} to {labels.max()}, expected 0 to {len(classes) - 1}"
        raise DataError(f"the hold-out {path}: {found}. {HOLD_OUT_FORM}")
    return HoldOut(images, labels)


def _read_arrays(path: Path) -> tuple[Images, Labels]:
    if path.stat().st_size > MOST_ARRAY_BYTES:
        raise ValueError("larger than 1 GiB")
    with np.load(path, allow_pickle=False) as stored:
        images, labels = np.asarray(stored["images"]), np.asarray(stored["labels"])
    if images.ndim == 4 and images.shape[1:] == (32, 32, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, 32, 32):
        raise ValueError(f"images are {images.dtype} of shape {images.shape}")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype} of shape {labels.shape}")
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _read_folder(path: Path, classes: Sequence[str]) -> tuple[Images, Labels]:
    if not path.is_dir():
        raise ValueError("there is nothing of this name")
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    unknown = [p.name for p in folders if p.name not in classes]
    if unknown or not folders:
        found = f"it has {', '.join(unknown[:5])}" if unknown else "it has no folders"
        raise ValueError(f"folders must be named as the classes ({', '.join(classes)}); {found}")
    files = [
        (file, classes.index(folder.name))
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    images = np.empty((len(files[: MOST_HOLD_OUT + 1]), 3, 32, 32), np.uint8)
    for index, (file, _) in enumerate(files[: MOST_HOLD_OUT + 1]):
        images[index] = _read_image(file).transpose(2, 0, 1)
    return images, np.array([label for _, label in files[: MOST_HOLD_OUT + 1]], np.int64)


def _read_image(file: Path) -> Images:
    if file.stat().st_size > MOST_IMAGE_BYTES:
        raise ValueError(f"{file.name} is larger than 1 MiB")
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if image.size != (32, 32):
                raise ValueError(f"{file.name} has {image.size[0]}x{image.size[1]} pixels")
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{file.name} is no image") from error


# Running a model


def run_model(student: str, graded: CheckContext, checkpoint: Any, hold_out: HoldOut | None) -> RecallOutcome:
    """Which images the handed-in weights classify rightly, in the graph that was kept when it was graded."""
    try:
        with_model = _load_model(graded, checkpoint)
        return _try_images(student, *with_model, graded.test_set(), graded.secret, hold_out)
    except (CheckEnded, CheckpointProblem, NotANormalisation, RunnerProblem, NotLogits) as problem:
        return RecallOutcome(student, problem=" ".join(str(problem).split()))
    except RunnerFault as fault:
        raise DataError(f"model graphs cannot be run: {fault}. Try --no-models") from fault


def _load_model(graded: CheckContext, checkpoint: Any) -> tuple[Evaluate, int]:
    """How to evaluate the bound graph, and in which batches."""
    probe = graded.exercise.checkpoint
    if probe is None:
        raise TypeError("the configuration declares no checkpoint")
    network = networks(graded, probe.module)[0]
    graph = network.graph(False, network.size)
    handle = graded.runner.load(graph, fit_checkpoint(graph, network.build.tensors, checkpoint).tensors)
    normalisation = _normalisation(graded, probe.transform)

    def logits(images: Images, batch_size: int) -> Any:
        return graded.runner.evaluate(handle, images, normalisation.scale, normalisation.shift, batch_size, seconds=300)

    return logits, 500 if network.takes(7) else EXPORTED_BATCH


def _normalisation(graded: CheckContext, name: str) -> Normalisation:
    """The student's own, or the kit's where there is no such transform."""
    samples = evidence_for(graded.evidence.samples, name)
    problem = next((sample.problem for sample in samples.values() if sample.problem is not None), None)
    if problem is None:
        return recover_normalisation(name, samples)
    return DEFAULT if problem.type == "Missing" else answered(name, problem)


def _try_images(
    student: str, evaluate: Evaluate, batch: int, test_set: Dataset, secret: bytes, hold_out: HoldOut | None
) -> RecallOutcome:
    draws = np.random.RandomState(np.frombuffer(hmac.new(secret, b"integrity", hashlib.sha256).digest(), "<u4"))
    chosen = draws.permutation(len(test_set.labels))[:TEST_IMAGES]
    images, labels = test_set.images[chosen], test_set.labels[chosen]
    changed = {"mirrored": mirrored(images), "moved by one pixel": moved(images, draws)}
    return RecallOutcome(
        student,
        _rightly(evaluate, batch, images, labels),
        {what: _rightly(evaluate, batch, pictures, labels) for what, pictures in changed.items()},
        _rightly(evaluate, batch, hold_out.images, hold_out.labels) if hold_out is not None else None,
    )


def _rightly(evaluate: Evaluate, batch: int, images: Images, labels: Labels) -> Rightly:
    logits = classify(evaluate, images, batch)
    finite = np.isfinite(logits).all(axis=1)
    found: Rightly = finite & (np.nan_to_num(logits).argmax(axis=1) == labels)
    return found


# Judging


def judge_models(outcomes: Sequence[RecallOutcome]) -> list[StudentComparisons]:
    """Every model's drops against the class's. What stands out is large, and beyond chance and the class's spread."""
    drops = {outcome.student: dict(_drops(outcome)) for outcome in outcomes}
    whats = list(dict.fromkeys(what for own in drops.values() for what in own))
    classes = {what: _class_drop([own[what].drop for own in drops.values() if what in own]) for what in whats}
    return [
        StudentComparisons(
            o.student, [_placed(what, c, *classes[what]) for what, c in drops[o.student].items()], o.problem
        )
        for o in outcomes
    ]


def _drops(outcome: RecallOutcome) -> Iterator[tuple[str, ImageComparison]]:
    if outcome.test is None:
        return
    for what, changed in (outcome.changed or {}).items():
        yield what, paired_drop(what, outcome.test, changed)
    if outcome.hold_out is not None:
        test, other = (int(outcome.test.sum()), len(outcome.test)), (int(outcome.hold_out.sum()), len(outcome.hold_out))
        yield HOLD_OUT, separate_drop(HOLD_OUT, test, other)


def paired_drop(what: str, test: Rightly, changed: Rightly) -> ImageComparison:
    """The drop on the same images in another form: the difference of two dependent proportions.

    Only images that change sides count (McNemar 1947); one is added on either side, which keeps the interval honest
    where few do (Agresti and Min 2005).
    """
    n = len(test)
    lost, won = int((test & ~changed).sum()), int((~test & changed).sum())
    spread = math.sqrt(lost + won + 1 - (lost - won) ** 2 / (n + 2)) / (n + 2)
    return _comparison(what, (int(test.sum()), n), (int(changed.sum()), n), spread)


def separate_drop(what: str, test: tuple[int, int], other: tuple[int, int]) -> ImageComparison:
    """The drop between two sets of images, (correct, total): a two-proportion z comparison with one right and one wrong
    image added on either side (Agresti and Caffo 2000), so that small hold-outs and shares near 0 or 1 do no harm."""
    spread = 0.0
    for correct, total in (test, other):
        share = (correct + 1) / (total + 2)
        spread += share * (1 - share) / (total + 2)
    return _comparison(what, test, other, math.sqrt(spread))


def _comparison(what: str, test: tuple[int, int], other: tuple[int, int], spread: float) -> ImageComparison:
    drop = test[0] / test[1] - other[0] / other[1]
    bounds = max(drop - Z_95 * spread, -1.0), min(drop + Z_95 * spread, 1.0)
    return ImageComparison(what, *test, *other, drop, *bounds, 0.0, 0.0, False)


def _class_drop(drops: Sequence[float]) -> tuple[float, float]:
    """The class's median drop and its robust deviation; 0 and 0 where there are too few models to speak of a class."""
    if len(drops) < FEWEST_FOR_BASELINE:
        return 0.0, 0.0
    middle = float(np.median(drops))
    return middle, 1.4826 * float(np.median(np.abs(np.array(drops) - middle)))


def _placed(what: str, found: ImageComparison, baseline: float, class_spread: float) -> ImageComparison:
    """A comparison with its place in the class. Half the interval is Z_95 standard errors."""
    error = (found.high - found.low) / (2 * Z_95)
    excess = found.drop - baseline
    deviations = excess / max(math.hypot(error, class_spread), 1e-9)
    stands_out = deviations >= LEAST_DEVIATIONS and excess >= LEAST_EXCESS[what]
    return replace(found, baseline=baseline, deviations=deviations, stands_out=stands_out)
