"""Everything the notebooks of this topic share: data, loader, training loop, checkpoint, public checks, hand-in.

Use it from a notebook:

    import cnn_kit
    data = cnn_kit.load_cifar10()
    history = cnn_kit.train(model, data, train_transform, test_transform, epochs=5)
    cnn_kit.save_checkpoint(model, data=data, history=history)
    cnn_kit.check("deeper-cnn-tests")

or from a terminal, in the folder that holds the notebooks:

    python cnn_kit.py check     runs the public checks of all notebooks, each in a clean process
    python cnn_kit.py pack      writes cnn-submission.zip, the file to hand in

It needs torch, torchvision, safetensors, matplotlib and tqdm, and runs on Linux, macOS and Windows.

Training keeps the best epoch and the last one in the folder `kit_training`: nothing is lost where it is interrupted,
and train(..., resume=True) goes on. A checkpoint that is better is not replaced.

Environment variables: CIFAR10_ROOT says where CIFAR-10 lies; CNN_KIT_DATA=offline takes the built-in offline set of
drawn images; CNN_KIT_QUICK=1 trains one epoch on a few images, to see that a notebook runs from top to bottom.
"""
# ruff: noqa: E402, F811, I001 - the two copied sections at the end bring their own imports and order

from __future__ import annotations

import argparse
import ast
import asyncio
import base64
import contextlib
import functools
import hashlib
import importlib.util
import inspect
import io
import json
import linecache
import math
import os
import random
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tokenize
import traceback
import types
import warnings
import weakref
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torchvision import datasets, tv_tensors
from torchvision.transforms import v2
from torchvision import transforms as v1
from tqdm import tqdm

__version__ = "1.0"

# What stands below "from grader_config.py" is put in from there whenever the release is made: change it there.

# The budgets of exercise 4. The grader applies the same ones.
# from grader_config.py: exercises["04_modern_cnn"].most_parameters
MAX_NUMBERS = 12_000_000  # in parameters and buffers
# from grader_config.py: exercises["04_modern_cnn"].most_macs
MAX_MACS = 1_500_000_000  # multiply-accumulates per 32x32 image
# from grader_config.py: exercises["04_modern_cnn"].checkpoint.most_mib
MAX_CHECKPOINT_MIB = 64

CHECKPOINTS = ("modern_cnn.safetensors", "modern_cnn.pt")  # the first one that exists counts
TRAINING_CELL = "modern-cnn-training"  # never run by `check`, nor while grading
# What is handed in, and the cells with public checks.
# from grader_config.py: checked_cells
NOTEBOOKS: dict[str, tuple[str, ...]] = {
    "01_output_size.ipynb": ("output-size-worked", "output-size-function"),
    "02_deeper_cnn.ipynb": ("deeper-cnn-tests",),
    "03_depthwise_separable.ipynb": ("depthwise-separable-tests", "depthwise-count"),
    "04_modern_cnn.ipynb": ("modern-cnn-architecture", "modern-cnn-augmentation", "modern-cnn-accuracy"),
}
# Answers in words, which a person marks.
# from grader_config.py: written_cells
WRITTEN: dict[str, tuple[str, ...]] = {"03_depthwise_separable.ipynb": ("depthwise-why",)}
_PLACEHOLDER = "YOUR ANSWER HERE"
# from grader_config.py: exercises["04_modern_cnn"].cells["modern-cnn-accuracy"]
ACCURACY_POINTS = 20
# from grader_config.py: exercises["04_modern_cnn"].accuracy_zero
ACCURACY_FROM = 0.65
# from grader_config.py: exercises["04_modern_cnn"].accuracy_full
ACCURACY_FULL = 0.75
# On the validation images: a mark at the threshold has a standard error of 0.4 percentage points.
# from grader_config.py: exercises["04_modern_cnn"].accuracy_full + exercises["04_modern_cnn"].accuracy_margin
ACCURACY_AIM = 0.77


class KitError(Exception):
    """Something the student can put right; the message says what was expected, what was found and what to do."""

    def _render_traceback_(self) -> list[str]:  # asked for by IPython: a message instead of a screen of frames
        return [f"{type(self).__name__}: {self}"]


def device() -> torch.device:
    """The fastest device of this computer: a CUDA GPU, Apple's MPS, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _is_set(name: str, value: str) -> bool:
    """Whether an environment variable has the one value that it may have. Raises KitError for another one."""
    found = os.environ.get(name, "")
    if found not in ("", "0", value):
        raise KitError(f"{name} is {found!r}: expected {value!r}, or nothing. Correct it or leave it out.")
    return found == value


def _is_rehearsal() -> bool:
    """True where one epoch on a few images is to show that a notebook runs."""
    return _is_set("CNN_KIT_QUICK", "1")


def _while_grading() -> bool:
    """True where the grader runs the notebook: it judges by its own tests and never waits for training."""
    return os.environ.get("NBGRADER_EXECUTION") == "autograde"


def _while_checking() -> bool:
    """True where `python cnn_kit.py check` runs the notebook."""
    return os.environ.get("CNN_KIT_CHECK") == "1"


# ------------------------------------------------------------------------------------------------------------------
# Data
# ------------------------------------------------------------------------------------------------------------------

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def pil(self, index: int) -> Image.Image:
        """One image as a 32x32 RGB PIL image, which is what a transform gets to see."""
        return Image.fromarray(self.images[index].permute(1, 2, 0).numpy())


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test images. Choose everything on the validation set; look at the test set once."""

    name: str
    identity: str  # name, number and hash of the training images: stands in the checkpoint's metadata
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split


_Arrays = dict[str, np.ndarray]  # train_images, train_labels, test_images, test_labels


def load_cifar10(root: str | os.PathLike[str] | None = None, *, allow_offline: bool = False) -> Dataset:
    """CIFAR-10 with 45,000 training, 5,000 validation and 10,000 test images.

    Looks in `root`, else in the folder or zip named by the environment variable CIFAR10_ROOT, else in ./data, else lets
    torchvision download it into ./data. Prints where it was. A place may be torchvision's `cifar-10-batches-py` folder
    (or the folder that holds it), a tree of `train/<class>/*` and `test/<class>/*` images, or a zip of such a tree.
    The built-in offline set takes its place only on request: with CNN_KIT_DATA=offline, or with `allow_offline` where
    there is no CIFAR-10.
    Raises KitError where there is no CIFAR-10, and where `root` or CIFAR10_ROOT is given and holds none.
    """
    if _while_grading() and not _while_checking():
        return _stand_in()
    if _is_set("CNN_KIT_DATA", "offline"):
        return offline_dataset("CNN_KIT_DATA=offline")
    asked = os.environ.get("CIFAR10_ROOT") if root is None else os.fspath(root)
    if asked:
        return _read_dataset(Path(asked).expanduser())
    if _find_cifar10(Path("data")) is not None:
        return _read_dataset(Path("data"))
    try:
        _download_cifar10()
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a broken download is a RuntimeError
        why = f"no CIFAR-10 in ./data, and the download failed: {_first_line(error)}"
        if allow_offline:
            return offline_dataset(why)
        raise KitError(
            f"{why}. Fetch it elsewhere and put it into ./data, or say where it lies (CIFAR10_ROOT or root=). "
            "CNN_KIT_DATA=offline takes drawn images instead, for a rehearsal: weights trained on them earn nothing."
        ) from error
    return _read_dataset(Path("data"))


# Of CIFAR-10's training images, in 0..1, over all pixels of a channel.
CHANNEL_MEAN, CHANNEL_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def _stand_in() -> Dataset:
    """A few drawn images with CIFAR-10's mean and standard deviation in each channel, so that a normalisation which a
    notebook computes from the data is the one that its weights were trained with."""
    print("While grading, a few drawn images with its mean and standard deviation stand in for CIFAR-10.")
    os.environ["AUTOGRADER_STAND_IN"] = "1"  # the grader says so to student and staff
    data = _dataset("stand-in for CIFAR-10 while grading", CLASSES, _offline_arrays(500, 100))
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    fitted = {name: Split(_with_channel_statistics(part.images), part.labels) for name, part in parts.items()}
    return replace(data, **fitted)


def _with_channel_statistics(images: torch.Tensor) -> torch.Tensor:
    """Images (N, 3, 32, 32) uint8, brightened and stretched to CHANNEL_MEAN and CHANNEL_STD, to 0.001 of the range."""
    pixels = images.double() / 255
    wanted_mean, wanted_std = (torch.tensor(v).double().view(3, 1, 1) for v in (CHANNEL_MEAN, CHANNEL_STD))
    fitted = pixels
    for _ in range(30):  # what is cut off at 0 and 1 takes some away each time
        mean, std = fitted.mean((0, 2, 3), keepdim=True)[0], fitted.std((0, 2, 3), keepdim=True)[0]
        fitted = ((fitted - mean) * wanted_std / std + wanted_mean).clamp(0, 1)
    return (fitted * 255).round().to(torch.uint8)


def _read_dataset(path: Path) -> Dataset:
    found = _find_cifar10(path)
    if found is None:
        state = "does not exist" if not path.exists() else "holds no CIFAR-10"
        raise KitError(
            f"{path} {state}. Expected a cifar-10-batches-py folder, a folder with train/<class> and test/<class> "
            "images, or a zip of one. Correct the path (CIFAR10_ROOT or root=), or leave it out."
        )
    kind, place = found
    name = "CIFAR-10" if kind == "batches" else "CIFAR-10 (JPEG copy)"
    data = _dataset(name, CIFAR10_CLASSES, _cached(kind, place))
    print(f"{data.identity} from {place}")
    return data


def offline_dataset(reason: str = "as asked") -> Dataset:
    """The built-in set of drawn shapes: 9,000 training, 1,000 validation and 2,000 test images."""
    data = _dataset(
        "built-in offline set",
        CLASSES,
        _remember(f"offline-{_source_hash()}", lambda: _offline_arrays(TRAIN_IMAGES, TEST_IMAGES)),
    )
    print(f"Built-in offline set instead of CIFAR-10 ({reason}). Its accuracy says nothing about CIFAR-10.")
    return data


def _dataset(name: str, classes: tuple[str, ...], arrays: _Arrays) -> Dataset:
    images, labels = torch.from_numpy(arrays["train_images"]), torch.from_numpy(arrays["train_labels"])
    # NumPy promises that RandomState's streams never change: everybody holds out the same tenth for validation.
    order = torch.from_numpy(np.random.RandomState(_SPLIT_SEED).permutation(len(labels)))
    held_out = len(labels) // 10
    train, validation = order[held_out:], order[:held_out]
    test = Split(torch.from_numpy(arrays["test_images"]), torch.from_numpy(arrays["test_labels"]))
    return Dataset(
        name=name,
        identity=f"{name}, {len(labels):,} train images, sha256 {_content_hash(images, labels)[:16]}",
        classes=tuple(classes),
        train=Split(images[train], labels[train]),
        validation=Split(images[validation], labels[validation]),
        test=test,
    )


def _content_hash(images: torch.Tensor, labels: torch.Tensor) -> str:
    """The same for the same images with the same labels, in whatever order; the grader reckons it in the same way."""
    pairs = zip(images.numpy(), labels.tolist(), strict=True)
    digests = (hashlib.sha256(bytes([label]) + image.tobytes()).digest() for image, label in pairs)
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _offline_arrays(train: int, test: int) -> _Arrays:
    train_images, train_labels = render("train", train)
    test_images, test_labels = render("test", test)
    return {
        "train_images": train_images, "train_labels": train_labels,
        "test_images": test_images, "test_labels": test_labels,
    }  # fmt: skip


def _source_hash() -> str:
    """Changes with this file, and so with the code that draws the offline set."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def _find_cifar10(path: Path) -> tuple[str, Path] | None:
    """("batches", "tree" or "zip", the exact place), or None."""
    if path.is_file():
        return ("zip", path) if path.suffix.lower() == ".zip" else None
    if not path.is_dir():
        return None
    for folder in (path, *sorted(p for p in path.iterdir() if p.is_dir())):
        if (folder / "data_batch_1").is_file():
            return "batches", folder
        if all((folder / split / CIFAR10_CLASSES[0]).is_dir() for split in ("train", "test")):
            return "tree", folder
    zips = sorted(path.glob("cifar*.zip"))
    return ("zip", zips[0]) if zips else None


def _download_cifar10() -> None:
    print("Downloading CIFAR-10 (170 MB) into ./data ...")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)  # torchvision sets none: a network that swallows packets would wait for ever
    try:
        datasets.CIFAR10("data", download=True)
    finally:
        socket.setdefaulttimeout(before)


def _cached(kind: str, place: Path) -> _Arrays:
    """The decoded data: 60,000 JPEG files take 20 s to read the first time, and less than a second from the cache."""
    if kind == "batches":
        return _read_batches(place)
    stamp = [str(place.resolve())]
    for path in [place, *sorted(place.glob("*")), *sorted(place.glob("*/*"))] if kind == "tree" else [place]:
        stamp.append(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}")
    key = f"{kind}-{hashlib.sha256(chr(10).join(stamp).encode()).hexdigest()[:16]}"
    return _remember(key, lambda: _read_images(kind, place))


def _remember(key: str, make: Callable[[], _Arrays]) -> _Arrays:
    """What `make` returns, from the cache folder where it was made before."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(home) / "cnn_kit" / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        arrays = make()  # nothing there yet, or a file that was cut off: made anew
    temporary = path.with_name(f"{path.stem}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)  # never half a file, even with two notebooks at once
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        print(f"(not cached, so the next start takes as long: {error})")
    return arrays


def _read_batches(folder: Path) -> _Arrays:
    arrays: _Arrays = {}
    for split, train in (("train", True), ("test", False)):
        try:
            stored = (
                datasets.CIFAR10(folder.parent, train=train) if folder.name == datasets.CIFAR10.base_folder else None
            )
        except RuntimeError as error:
            raise KitError(f"{folder}: {error} The files there are not CIFAR-10's: fetch them again.") from error
        if stored is None:
            raise KitError(f"{folder} must be called {datasets.CIFAR10.base_folder}, as in the archive: rename it.")
        arrays[f"{split}_images"] = np.ascontiguousarray(stored.data.transpose(0, 3, 1, 2))
        arrays[f"{split}_labels"] = np.asarray(stored.targets, dtype=np.int64)
    return arrays


def _read_images(kind: str, place: Path) -> _Arrays:
    """Decodes a tree or a zip of images, in the order of their names."""
    if kind == "tree":
        files = {tuple(p.relative_to(place).parts[-3:]): p for p in place.glob("*/*/*") if p.is_file()}
        return _decode(place, sorted(files), lambda key: files[key].read_bytes())
    try:
        with zipfile.ZipFile(place) as archive:
            members = {tuple(n.split("/")[-3:]): n for n in archive.namelist() if n.count("/") >= 2 and n[-1] != "/"}
            return _decode(place, sorted(members), lambda key: archive.read(members[key]))
    except (zipfile.BadZipFile, EOFError) as error:
        raise KitError(f"{place} is not a whole zip file ({error}): copy or download it again.") from error


def _decode(place: Path, keys: list[tuple[str, ...]], read: Callable[[tuple[str, ...]], bytes]) -> _Arrays:
    arrays: _Arrays = {}
    for split in ("train", "test"):
        wanted = [key for key in keys if key[0] == split and key[1] in CIFAR10_CLASSES]
        if len({key[1] for key in wanted}) != len(CIFAR10_CLASSES):
            raise KitError(f"{place}: expected {split}/<class>/ for the ten classes {', '.join(CIFAR10_CLASSES)}.")
        images = np.empty((len(wanted), 32, 32, 3), np.uint8)
        for index, key in enumerate(tqdm(wanted, f"decoding {split} images", file=sys.stdout, leave=False)):
            try:
                with Image.open(io.BytesIO(read(key))) as image:
                    images[index] = np.asarray(image.convert("RGB"))
            except (UnidentifiedImageError, OSError, ValueError) as error:
                raise KitError(f"{place}: {'/'.join(key)} is not a 32x32 image ({error}).") from error
        arrays[f"{split}_images"] = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        arrays[f"{split}_labels"] = np.array([CIFAR10_CLASSES.index(key[1]) for key in wanted], np.int64)
    return arrays


# ------------------------------------------------------------------------------------------------------------------
# Loader: your own transform, applied fast
# ------------------------------------------------------------------------------------------------------------------
#
# A transform says what happens to one image. Applied image by image through PIL, even flip, crop and normalise cost
# longer than a small network needs to learn from the result. The loader therefore takes a Compose apart and runs each
# step on a whole uint8 batch where that gives the same result: crops and flips with a draw *per image* (torchvision
# itself would draw once for the whole batch), conversion and normalisation at once, every other
# torchvision.transforms.v2 step image by image, on tensors. What it does not know runs image by image on PIL images.
#
# Seconds of one core for an epoch of 45,000 images (AMD EPYC, torch 2.14): test transform 0.3; crop, flip and normalise
# 0.6 in v2 and 0.7 in v1; with v2.ColorJitter, image by image, 6.9; crop, flip and normalise through PIL 8.8.

_Transform = Callable[[Any], Any]

# Steps that treat all images of a batch alike.
_WHOLE_BATCH = (
    v2.Identity,
    v2.ToDtype,
    v2.ConvertImageDtype,
    v2.Normalize,
    v2.Pad,
    v2.CenterCrop,
    v2.Resize,
    v2.Grayscale,
)

# Steps with a v2 twin that takes uint8 tensors.
_TWINS: dict[type, Callable[[Any], nn.Module]] = {
    v1.RandomCrop: lambda t: v2.RandomCrop(t.size, t.padding, t.pad_if_needed, t.fill, t.padding_mode),
    v1.RandomHorizontalFlip: lambda t: v2.RandomHorizontalFlip(t.p),
    v1.RandomVerticalFlip: lambda t: v2.RandomVerticalFlip(t.p),
    v1.ToTensor: lambda t: v2.ToDtype(torch.float32, scale=True),
    v2.ToTensor: lambda t: v2.ToDtype(torch.float32, scale=True),
    v1.ConvertImageDtype: lambda t: v2.ToDtype(t.dtype, scale=True),
    v1.Normalize: lambda t: v2.Normalize(_as_list(t.mean), _as_list(t.std)),
    v1.PILToTensor: lambda t: v2.Identity(),
    v2.PILToTensor: lambda t: v2.Identity(),
    v2.ToImage: lambda t: v2.Identity(),
}


def _as_list(value: Any) -> list[float]:
    return [value] if isinstance(value, (int, float)) else list(value)  # v1 takes one number for all channels


class Loader:
    """Batches of a split as seen through a transform: an iterable of (x float32 (N, C, H, W), y int64 (N,))."""

    def __init__(self, split: Split, transform: _Transform, batch_size: int, shuffle: bool, seed: int) -> None:
        if batch_size < 1:
            raise KitError(f"batch_size must be at least 1, got {batch_size}")
        if not callable(transform):
            raise KitError(f"transform must be callable, such as v2.Compose([...]), got {type(transform).__name__}")
        self.split, self.transform, self.batch_size, self.shuffle = split, transform, batch_size, shuffle
        self._steps = _batch_steps(transform)
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._batches(torch.arange(len(self.split))))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.split)
        order = torch.randperm(count, generator=self._generator) if self.shuffle else torch.arange(count)
        for indices in self._batches(order):
            yield self._apply(self.split.images[indices]), self.split.labels[indices]

    def sample(self) -> torch.Tensor:
        """Two images as the network will see them; nothing is drawn for them."""
        with _own_luck():
            return self._apply(self.split.images[:2])

    def _batches(self, order: torch.Tensor) -> tuple[torch.Tensor, ...]:
        batches = order.split(self.batch_size)
        # Batch norm cannot train on a single image that has shrunk to 1x1, so such a rest is left out of an epoch.
        drop = self.shuffle and len(batches) > 1 and len(batches[-1]) == 1
        return batches[:-1] if drop else batches

    def _apply(self, images: torch.Tensor) -> torch.Tensor:
        if self._steps is None:
            x = torch.stack([_apply_to_image(self.transform, image) for image in images])
        else:
            x = images
            for step in self._steps:
                x = _apply_to_batch(step, x)
        if not x.is_floating_point():
            raise KitError(
                f"the transform gives {x.dtype}, but a network needs float32: "
                "end it with v2.ToDtype(torch.float32, scale=True) and v2.Normalize, or with ToTensor() and Normalize"
            )
        return x.float()


def loader(split: Split, transform: _Transform, batch_size: int = 128, shuffle: bool = False, seed: int = 0) -> Loader:
    """Batches (x, y) of a split: x float32 (N, 3, 32, 32) as the transform makes it, y int64 (N,).

    The transform may be torchvision's v1 or v2, or any function of one PIL image (or one uint8 tensor (3, 32, 32)).
    Random steps draw anew for each image. `seed` fixes the order of the images; what the transform draws follows
    torch.manual_seed. Each pass over a shuffled loader has another order.
    """
    return Loader(split, transform, batch_size, shuffle, seed)


def _batch_steps(transform: Any) -> list[Any] | None:
    """The transform as steps that `_apply_to_batch` can run on uint8 batches; None if it needs PIL images."""
    if type(transform) in (v1.Compose, v2.Compose, nn.Sequential):
        members = transform if isinstance(transform, nn.Sequential) else transform.transforms
        nested = [_batch_steps(member) for member in members]
        return None if any(steps is None for steps in nested) else [step for steps in nested for step in steps or ()]
    if type(transform) in _TWINS:
        return [_TWINS[type(transform)](transform)]
    known = type(transform).__module__.startswith("torchvision.transforms.v2.")
    if not known or isinstance(transform, (v2.Lambda, v2.ToPILImage, v2.CutMix, v2.MixUp)):
        return None
    if isinstance(transform, (v2.RandomApply, v2.RandomChoice, v2.RandomOrder)):
        return None if any(_batch_steps(member) is None for member in transform.transforms) else [transform]
    return [transform]


def _apply_to_batch(step: Any, x: torch.Tensor) -> torch.Tensor:
    """One step on a batch (N, C, H, W): random ones draw for each image."""
    if type(step) is v2.RandomCrop and not step.pad_if_needed and isinstance(step.fill, (int, float)):
        return _random_crop(step, x)
    if type(step) is v2.RandomHorizontalFlip:
        return torch.where(_coins(x, step.p), x.flip(3), x)
    if type(step) is v2.RandomVerticalFlip:
        return torch.where(_coins(x, step.p), x.flip(2), x)
    # Wrapped, because a step may ask for images only: v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}).
    if isinstance(step, _WHOLE_BATCH):
        return step(tv_tensors.Image(x)).as_subclass(torch.Tensor)
    return torch.stack([step(tv_tensors.Image(image)).as_subclass(torch.Tensor) for image in x])


def _coins(x: torch.Tensor, probability: float) -> torch.Tensor:
    return (torch.rand(len(x)) < probability)[:, None, None, None]  # (N, 1, 1, 1)


def _random_crop(step: v2.RandomCrop, x: torch.Tensor) -> torch.Tensor:
    height, width = step.size
    if step.padding is not None:
        left, right, top, bottom = step.padding  # this order, whatever the documentation of Pad says
        x = v2.functional.pad(x, [left, top, right, bottom], fill=step.fill, padding_mode=step.padding_mode)
    if x.shape[2] < height or x.shape[3] < width:
        raise KitError(f"RandomCrop({height}, {width}) does not fit into padded images of {tuple(x.shape[2:])}")
    rows = torch.randint(x.shape[2] - height + 1, (len(x),))
    columns = torch.randint(x.shape[3] - width + 1, (len(x),))
    windows = x.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, places, places, height, width): a view, no copy
    return windows[torch.arange(len(x)), :, rows, columns]


def _apply_to_image(transform: _Transform, image: torch.Tensor) -> torch.Tensor:
    """The transform on one uint8 image (3, 32, 32): as a PIL image, or as a tensor where it does not take PIL."""
    try:
        result = transform(Image.fromarray(image.permute(1, 2, 0).numpy()))
    except (TypeError, AttributeError) as error:  # what a function written for tensors raises when it meets PIL
        try:
            result = transform(image)
        except (TypeError, AttributeError):
            raise error from None
    if not isinstance(result, torch.Tensor) or result.dim() != 3:
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise KitError(f"the transform must turn one image into a tensor (3, 32, 32), got {got}; is ToTensor missing?")
    return result


# ------------------------------------------------------------------------------------------------------------------
# Training
# ------------------------------------------------------------------------------------------------------------------


@dataclass
class History:
    """What training saw, one number per epoch. Accuracies in 0..1; the training loss includes label smoothing."""

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0
    seed: int = 0
    device: str = "cpu"
    accuracy: float | None = None  # on the validation images, of the weights that the model was left with

    def plot(self) -> None:
        """Draws the curves of loss and accuracy."""
        import matplotlib.pyplot as plt  # costs a second, which `check` and `pack` need not wait for

        if not self.train_loss:
            print("Nothing to plot: no epoch was trained.")
            return
        epochs = range(1, len(self.train_loss) + 1)
        _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
        for axes, training, validation, title in (
            (left, self.train_loss, self.validation_loss, "loss"),
            (right, self.train_accuracy, self.validation_accuracy, "accuracy"),
        ):
            axes.plot(epochs, training, "o-", label="training")
            axes.plot(epochs[: len(validation)], validation, "o-", label="validation")
            axes.set(xlabel="epoch", title=title)
            axes.grid(alpha=0.3)
            axes.legend()
        plt.tight_layout()
        plt.show()


TRAINING_FOLDER = "kit_training"  # beside the notebooks: what training keeps; it is not handed in


def train(
    model: nn.Module,
    data: Dataset,
    train_transform: _Transform,
    test_transform: _Transform,
    *,
    epochs: int = 5,
    batch_size: int = 128,
    max_lr: float = 0.25,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.1,
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    resume: bool = False,
    keep: bool = True,
) -> History:
    """Trains the model in place on `data.train` and returns its history, with validation after every epoch.

    Without an optimizer of yours it is SGD with Nesterov momentum 0.9, its learning rate rising to `max_lr` and falling
    to zero once ("one cycle", Smith and Topin 2018). With your own optimizer the learning rate is yours too:
    `scheduler.step()` is called after every batch for OneCycleLR and CyclicLR, after every epoch for all others.

    After every epoch the folder `kit_training` gets the weights of the best epoch so far (see `load_best`) and all that
    is needed to go on; `keep=False` writes nothing. Interrupt it (the stop button, Ctrl-C) and the model is left with
    its best epoch. `resume=True` then goes on after the last whole epoch and ends as if nothing had happened: with the
    same network, data and settings, in this process or another one. Where nothing was kept it starts anew.

    Call torch.manual_seed before you build the model, too: then a run can be repeated exactly on the same computer.
    Raises KitError where the loss stops being a number, and where what is to be resumed had other settings. Returns at
    once while grading.
    """
    where = device()
    history = History(seed=seed, device=str(where))
    if _while_grading():
        print("Training is left out while grading: the saved checkpoint is what counts.")
        return history
    training, validation = data.train, data.validation
    if _is_rehearsal():
        print("CNN_KIT_QUICK=1: one epoch on a few images. Nothing of it is kept in `kit_training`.")
        training, validation, epochs, resume, keep = _first(training, 512), _first(validation, 256), 1, False, False
    _seed_everything(seed)
    _to_device(model, where)
    batches = loader(training, train_transform, batch_size, shuffle=True, seed=seed)
    settings: dict[str, Any] = {"data": data.identity, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    settings |= {"label_smoothing": float(label_smoothing), "own_optimizer": optimizer is not None}
    if optimizer is None:
        settings |= {"max_lr": float(max_lr), "weight_decay": float(weight_decay)}
        optimizer = torch.optim.SGD(
            model.parameters(), lr=max_lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
        )
        steps = max(8, epochs * len(batches))  # OneCycleLR divides by zero where it rises for one step only
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=steps, pct_start=0.25)
    kept = _KeptTraining(model, optimizer, scheduler, batches, history, settings, keep)
    if resume:
        kept.load()
    before, started = history.seconds, time.perf_counter()
    try:
        for epoch in range(len(history.validation_accuracy) + 1, epochs + 1):
            title = f"epoch {epoch}/{epochs}"
            averages = _train_one_epoch(model, batches, optimizer, scheduler, label_smoothing, title)
            loss, accuracy = evaluate(model, validation, test_transform)
            history.seconds = before + time.perf_counter() - started
            kept.add_epoch(*averages, loss, accuracy)
            print(
                f"{title}: training loss {history.train_loss[-1]:.3f}, accuracy {history.train_accuracy[-1]:.1%}; "
                f"validation loss {loss:.3f}, accuracy {accuracy:.1%}; {history.seconds:.0f} s"
            )
        kept.finish()
    except KeyboardInterrupt:
        history.seconds = before + time.perf_counter() - started
        kept.interrupt()
    model.eval()
    return history


class _KeptTraining:
    """A training under way, and what `kit_training` keeps of it: the best epoch, and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        batches: Loader,
        history: History,
        settings: dict[str, Any],
        keep: bool,
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.batches = model, optimizer, scheduler, batches
        self.history, self.settings, self.keep = history, settings, keep
        self.best: dict[str, torch.Tensor] = {}
        self.is_ours = False  # whether what the folder holds is of this training
        self.best_file, self.state_file = _kept_files(model)

    def add_epoch(self, train_loss: float, train_accuracy: float, loss: float, accuracy: float) -> None:
        """Takes an epoch into the history. All of it is kept, or nothing: an interruption waits for its end."""
        with _uninterrupted():
            history = self.history
            is_best = accuracy > max(history.validation_accuracy, default=-1.0)
            history.train_loss.append(train_loss)
            history.train_accuracy.append(train_accuracy)
            history.validation_loss.append(loss)
            history.validation_accuracy.append(accuracy)
            history.accuracy = accuracy
            if is_best:
                self.best = _state_of(self.model)
            if self.keep:
                self._write_files(is_best)

    def _write_files(self, is_best: bool) -> None:
        """What cannot be written must not end a training."""
        try:
            self.best_file.parent.mkdir(exist_ok=True)
            if not self.is_ours:
                self._set_aside()
            if is_best:
                notes = _notes(self.settings["data"], self.history)
                _write(self.best_file, lambda path: save_file(self.best, path, metadata=notes))
            _write(self.state_file, lambda path: torch.save(self._state(), path))
        except Exception as error:  # a scheduler that cannot be pickled, a full disk
            self.keep = False
            print(f"(Nothing more is kept of this training: {_first_line(error)})")

    def _set_aside(self) -> None:
        """What an earlier training kept of a network of this name gets another name, and it is said."""
        self.is_ours = True
        for file in (self.best_file, self.state_file):
            previous = file.with_name(f"{file.stem}.previous{file.suffix}")
            if not file.is_file():
                continue
            if file == self.best_file and previous.is_file():
                older, newer = (_known_accuracy(_notes_in(one)) or 0.0 for one in (previous, file))
                if older > newer:
                    continue
            os.replace(file, previous)
            print(f"{file} is of an earlier training: it is {previous.name} now.")

    def finish(self) -> None:
        """All epochs are done: what was kept to go on is in the way of the next training."""
        if self.keep:
            self.state_file.unlink(missing_ok=True)
        accuracies = self.history.validation_accuracy
        if self.keep and accuracies and accuracies[-1] < max(accuracies):
            print(
                f"The best epoch was {accuracies.index(max(accuracies)) + 1} with {max(accuracies):.1%} of the "
                f"validation images; the model has the last one's weights, with {accuracies[-1]:.1%}. "
                "cnn_kit.load_best(model, history) gives it the best ones."
            )

    def interrupt(self) -> None:
        """Leaves the model with its best epoch: the weights of half an epoch are known to nobody."""
        accuracies = self.history.validation_accuracy
        if not accuracies:
            print("Interrupted before the end of the first epoch: the model keeps what it has learned so far.")
            return
        _inner(self.model).load_state_dict(self.best)
        self.history.accuracy = max(accuracies)
        goes_on = " train(..., resume=True) goes on after the last whole epoch." if self.keep else ""
        best = accuracies.index(max(accuracies)) + 1
        print(
            f"Interrupted: the model keeps what it has learned up to epoch {best}, its best with {max(accuracies):.1%} "
            f"of the validation images.{goes_on}"
        )

    def load(self) -> None:
        """Goes on where an earlier call stopped. Raises KitError where that was another training."""
        if not self.keep:
            raise KitError("resume=True needs what was kept: leave out keep=False")
        if not self.state_file.is_file():
            print(f"Nothing to resume ({self.state_file} does not exist): training starts anew.")
            return
        try:
            state = torch.load(self.state_file, map_location="cpu", weights_only=True)
            then = state["settings"]
            others = {name: now for name, now in self.settings.items() if then.get(name) != now}
        except Exception as error:  # cut off, or of another kit: whatever it is, it cannot be gone on with
            raise KitError(
                f"{self.state_file} cannot be read ({_first_line(error)}): delete it, and train without resume=True"
            ) from error
        if others:
            said = "; ".join(f"{name} {then.get(name)!r} then, {now!r} now" for name, now in list(others.items())[:3])
            raise KitError(
                f"{self.state_file} is of a training with other settings ({said}): take the same ones, or train "
                "without resume=True"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
        except (RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise KitError(
                f"{self.state_file} is of another network or optimizer ({_first_line(error)}): train without "
                "resume=True"
            ) from error
        for name, value in state["history"].items():
            setattr(self.history, name, value)
        self.history.device = str(_device_of(self.model))
        self.is_ours = True
        self.best = load_checkpoint(self.best_file) if self.best_file.is_file() else _state_of(self.model)
        _set_luck(self.batches, state["luck"])
        print(f"Resumed after epoch {len(self.history.validation_accuracy)} of {self.settings['epochs']}.")

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "history": asdict(self.history),
            "luck": _luck(self.batches),
        }


def load_best(model: nn.Module, history: History | None = None) -> float:
    """Gives the model the weights of the best epoch of its last training, and returns their validation accuracy.

    Hand the history in, too, so that `save_checkpoint` knows which weights it saves. Raises KitError where none are
    kept.
    """
    path, _ = _kept_files(model)
    if not path.is_file():
        raise KitError(f"{path} does not exist: cnn_kit.train writes it after every epoch that is the best so far")
    try:
        _inner(model).load_state_dict(load_checkpoint(path))
    except RuntimeError as error:
        raise KitError(f"{path} is of another version of the class: train again. {_first_line(error)}") from error
    accuracy = _known_accuracy(_notes_in(path)) or 0.0
    if history is not None:
        history.accuracy = accuracy
    print(f"{path}: {accuracy:.1%} of the validation images.")
    return accuracy


def _kept_files(model: nn.Module) -> tuple[Path, Path]:
    """Where the best epoch and the state of a network's training are kept: by its class."""
    folder, name = Path(TRAINING_FOLDER), type(_inner(model)).__name__
    return folder / f"{name}-best.safetensors", folder / f"{name}-state.pt"


def _inner(model: nn.Module) -> nn.Module:
    """The network inside the wrappers of torch.compile and DataParallel."""
    inner = getattr(model, "_orig_mod", model)
    return inner.module if isinstance(inner, nn.DataParallel) else inner


def _luck(batches: Loader) -> dict[str, Any]:
    """The states of all random generators that training draws from."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(numbers), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
        "order": batches._generator.get_state(),
    }


def _set_luck(batches: Loader, luck: dict[str, Any]) -> None:
    torch.set_rng_state(luck["torch"])
    if torch.cuda.is_available() and len(luck["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(luck["cuda"])
    version, numbers, gauss = luck["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = luck["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))
    batches._generator.set_state(luck["order"])


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Lets an interruption (the stop button, Ctrl-C) wait until what is inside is done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals do not arrive here
        return
    waiting: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *arguments: waiting.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


def _write(path: Path, save: Callable[[Path], None]) -> None:
    """Writes a file whole or not at all: an interruption must not spoil the one before it."""
    temporary = path.with_name(path.name + ".part")
    try:
        save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise KitError(f"{path} cannot be written ({error}): make room, or choose another folder") from error


def _train_one_epoch(
    model: nn.Module,
    batches: Loader,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    label_smoothing: float,
    title: str,
) -> tuple[float, float]:
    """Mean loss and accuracy in training."""
    per_batch = isinstance(scheduler, (torch.optim.lr_scheduler.OneCycleLR, torch.optim.lr_scheduler.CyclicLR))
    model.eval()  # so that batch norm learns nothing from the trial
    _choose_order(model, batches.sample())
    model.train()
    loss_sum = correct = seen = 0.0
    bar = tqdm(batches, title, leave=False, file=sys.stdout, mininterval=1, disable=not _shows_progress())
    for x, y in bar:
        x, y = _to_device_batch(x, model), y.to(_device_of(model))
        logits = model(x)  # (N, num_classes)
        loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None and per_batch:
            scheduler.step()
        value = loss.item()
        if not math.isfinite(value):
            raise KitError(
                f"{title}: the loss is {value}. Try a smaller learning rate (max_lr or your optimizer's lr)."
            )
        loss_sum += value * len(y)
        correct += (logits.argmax(1) == y).sum().item()
        seen += len(y)
        bar.set_postfix_str(f"loss {loss_sum / seen:.3f}, accuracy {correct / seen:.1%}", refresh=False)
    if scheduler is not None and not per_batch:
        scheduler.step()
    return loss_sum / seen, correct / seen


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, transform: _Transform, batch_size: int = 500) -> tuple[float, float]:
    """Mean cross-entropy and accuracy (0..1) of the model on a split, in evaluation mode."""
    was_training = model.training
    _to_device(model, device()).eval()
    loss_sum, correct = 0.0, 0
    for batch, (x, y) in enumerate(loader(split, transform, batch_size)):
        if batch == 0:
            _choose_order(model, x)
        logits = model(_to_device_batch(x, model)).float().cpu()
        loss_sum += F.cross_entropy(logits, y, reduction="sum").item()
        correct += int((logits.argmax(1) == y).sum())
    model.train(was_training)
    return loss_sum / len(split), correct / len(split)


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


def _seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # for transforms of your own that draw from NumPy


def _shows_progress() -> bool:
    return "ipykernel" in sys.modules or sys.stdout.isatty()


# Channels-last makes convolutions a quarter faster on CPUs and GPUs; on MPS it has been a source of errors. Networks
# that cannot work in it (`x.view` of a feature map depends on the order) are listed here.
_IN_PLAIN_ORDER: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def _to_device(model: nn.Module, where: torch.device) -> nn.Module:
    plain = where.type == "mps" or model in _IN_PLAIN_ORDER
    return model.to(where) if plain else model.to(where, memory_format=torch.channels_last)


def _to_device_batch(x: torch.Tensor, model: nn.Module) -> torch.Tensor:
    where = _device_of(model)
    plain = where.type == "mps" or model in _IN_PLAIN_ORDER
    return x.to(where) if plain else x.to(where, memory_format=torch.channels_last)


@torch.no_grad()
def _choose_order(model: nn.Module, x: torch.Tensor) -> None:
    """Finds out which memory order a network can work in, on its device and in the mode that it is in."""
    try:
        model(_to_device_batch(x, model))
    except RuntimeError as error:
        if "view size is not compatible" in str(error):
            _IN_PLAIN_ORDER.add(model.to(memory_format=torch.contiguous_format))


def _device_of(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


# ------------------------------------------------------------------------------------------------------------------
# Counting and checkpoints
# ------------------------------------------------------------------------------------------------------------------


def count_parameters(model: nn.Module) -> int:
    """The number of trainable and frozen weights; buffers such as batch-norm statistics do not count."""
    return sum(p.numel() for p in model.parameters())


def count_numbers(model: nn.Module) -> int:
    """All numbers that the model stores: its weights, and buffers such as batch-norm statistics."""
    return count_parameters(model) + sum(buffer.numel() for buffer in model.buffers())


def count_macs(model: nn.Module, input_shape: tuple[int, ...] = (1, 3, 32, 32)) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image."""
    from torch.utils.flop_counter import FlopCounterMode

    was_training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(input_shape, device=_device_of(model)))
    model.train(was_training)
    return int(counter.get_total_flops()) // 2 // input_shape[0]  # one MAC is two floating-point operations


def save_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str] = CHECKPOINTS[0],
    data: Dataset | None = None,
    history: History | None = None,
    *,
    replace_better: bool = False,
) -> Path:
    """Saves the model's state dict as safetensors (or with torch.save, where `path` ends with .pt). Returns the file.

    Notes the data set's identity, the seed and the history in the file, for your own records. A file that is there
    already is replaced where the new weights are known to be at least as good on the validation images. Where they are
    not, it stays, and the new ones go beside it (`modern_cnn.new.safetensors`); where nothing is known, the old file is
    kept as `modern_cnn.previous.safetensors`. `replace_better=True` replaces it in any case.
    While grading it saves nothing: the file you handed in is what counts.
    """
    path = Path(path)
    if _while_grading():
        print("Saving is left out while grading: the checkpoint that was handed in counts.")
        return path
    if path.suffix not in (".safetensors", ".pt"):
        raise KitError(f"a checkpoint is called {' or '.join(CHECKPOINTS)}, got {path.name}")
    state, notes = _state_of(model), _notes(data.identity if data else "", history)
    target = path if replace_better or not path.is_file() else _where_to_save(path, state, notes)

    def write(temporary: Path) -> None:
        if path.suffix == ".safetensors":
            save_file(state, temporary, metadata=notes)
        else:
            torch.save(state, temporary)

    _write(target, write)
    _SAVED.add(target.resolve())
    print(f"Saved {target}: {count_parameters(model):,} parameters, {target.stat().st_size / 2**20:.1f} MiB.")
    for problem in _budget_problems(count_numbers(model), None, target.stat().st_size):
        print(f"Over budget: {problem}")
    return target


def _where_to_save(path: Path, state: dict[str, torch.Tensor], notes: dict[str, str]) -> Path:
    """Where new weights go that find a file in their place; says what becomes of that."""
    try:
        old, old_notes = load_checkpoint(path), _notes_in(path)
    except KitError:
        return path  # what cannot be read is no loss
    new_accuracy, old_accuracy = _known_accuracy(notes), _known_accuracy(old_notes)
    fits = {name: value.shape for name, value in old.items()} == {name: value.shape for name, value in state.items()}
    if _worth(notes) > _worth(old_notes) and fits:
        return path
    is_known = fits and new_accuracy is not None and old_accuracy is not None
    if _worth(notes) < _worth(old_notes) or (is_known and new_accuracy < old_accuracy):
        beside = path.with_name(f"{path.stem}.new{path.suffix}")
        print(
            f"{path.name} stays: it has {_described(old_notes)}, these weights {_described(notes)}. They go into "
            f"{beside.name}. To replace it all the same: save_checkpoint(..., replace_better=True)."
        )
        return beside
    if is_known:
        return path
    why = "nothing is known of which is better" if fits else "it is of another version of the class"
    if path.resolve() in _SAVED:
        print(f"{path.name}, saved before by this process, is replaced: {why}.")
        return path
    previous = path.with_name(f"{path.stem}.previous{path.suffix}")
    number = 1
    while previous.exists():
        number += 1
        previous = path.with_name(f"{path.stem}.previous-{number}{path.suffix}")
    os.replace(path, previous)
    print(f"The {path.name} that was there is {previous.name} now: {why}.")
    return path


_SAVED: set[Path] = set()  # by this process: a loop may save after every epoch


def _worth(notes: dict[str, str]) -> int:
    """What weights were trained for: a rehearsal and drawn images are worth less than CIFAR-10, whatever they say."""
    if notes.get("rehearsal"):
        return _REHEARSAL
    return _DRAWN_IMAGES if "offline set" in notes.get("data", "") else _REAL


_REHEARSAL, _DRAWN_IMAGES, _REAL = range(3)


def _described(notes: dict[str, str]) -> str:
    accuracy = _known_accuracy(notes)
    what = "an unknown accuracy" if accuracy is None else f"{accuracy:.1%} on the validation images"
    kinds = (" of a rehearsal (CNN_KIT_QUICK=1)", " of the drawn offline set", "")
    return what + kinds[_worth(notes)]


def _known_accuracy(notes: dict[str, str]) -> float | None:
    """The validation accuracy of the weights in a file, as its notes say."""
    try:
        history = json.loads(notes.get("history", ""))
        found = history["accuracy"] if "accuracy" in history else history["validation_accuracy"][-1]
        return None if found is None else float(found)
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _notes(data: str, history: History | None) -> dict[str, str]:
    """What a checkpoint says of itself."""
    notes = {
        "kit": __version__,
        "torch": str(torch.__version__),
        "data": data or "unknown",
        "history": json.dumps(asdict(history)) if history else "unknown",
    }
    return {**notes, "rehearsal": "CNN_KIT_QUICK=1"} if _is_rehearsal() else notes


def _notes_in(path: Path) -> dict[str, str]:
    """The notes of a checkpoint; none in a file of torch.save."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def _state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict under plain names. Copies: weights that two layers share would be refused by safetensors."""
    return {_plain_name(name): value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The state dict stored in a checkpoint. Raises KitError where the file is missing, broken or no state dict."""
    path = Path(path)
    if not path.is_file():
        raise KitError(f"{path.name} does not exist: run the training cell, which ends with cnn_kit.save_checkpoint.")
    if path.suffix != ".safetensors":
        found, content = _graders().read_state_dict(path)
        if "problem" in found:
            raise KitError(f"{found['problem']}.")
        return _plain_names(load_tensors(content))
    try:
        return _plain_names(load_file(path))
    except (SafetensorError, OSError) as error:
        raise KitError(f"{path.name} cannot be read ({_first_line(error)}): save it again.") from error


def _plain_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {_plain_name(name): value for name, value in state.items()}


def _plain_name(name: str) -> str:
    """Without the prefixes that torch.compile and DataParallel put before the names of weights."""
    return name.replace("_orig_mod.", "").removeprefix("module.")


def _find_checkpoint(folder: Path) -> Path | None:
    """The file that the grader takes for the trained weights: one of the two names, else the only other one."""
    exact = next((folder / name for name in CHECKPOINTS if (folder / name).is_file()), None)
    others = [] if exact else _other_weights(folder)
    return exact or (others[0] if len(others) == 1 else None)


def _other_weights(folder: Path) -> list[Path]:
    """Files below a folder that by their suffix hold weights; of one that was saved in both forms the safetensors."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NO_WEIGHTS)
        files = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        found += [file for file in files if file.suffix.lower() in _WEIGHTS_SUFFIXES]
    safe = {file.with_suffix("") for file in found if file.suffix == ".safetensors"}
    return [file for file in found if file.suffix == ".safetensors" or file.with_suffix("") not in safe]


_WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")
_NO_WEIGHTS = ("data", TRAINING_FOLDER, "__pycache__", "__MACOSX")  # data sets, and what the kit itself keeps


def _no_checkpoint(folder: Path) -> str:
    """Why there is none, and what to do."""
    others = [file.relative_to(folder).as_posix() for file in _other_weights(folder)]
    if others:
        return (
            f"{_few(others)} may all be the weights of ModernCNN, and the grader takes one file only: call the right "
            f"one {CHECKPOINTS[0] if others[0].endswith('.safetensors') else CHECKPOINTS[1]}"
        )
    first = "run the training cell of 04_modern_cnn.ipynb first"
    return f"no {' or '.join(CHECKPOINTS)} in {folder.resolve()} yet: {first}"


def _budget_problems(numbers: int | None, macs: int | None, checkpoint_bytes: int | None) -> list[str]:
    problems = []
    if numbers is not None and numbers > MAX_NUMBERS:
        problems.append(f"{numbers:,} numbers in parameters and buffers, at most {MAX_NUMBERS:,} are allowed")
    if macs is not None and macs > MAX_MACS:
        problems.append(f"{macs / 1e9:.2f} GMAC per image, at most {MAX_MACS / 1e9:g} are allowed")
    if checkpoint_bytes is not None and checkpoint_bytes > MAX_CHECKPOINT_MIB * 2**20:
        problems.append(f"checkpoint of {checkpoint_bytes / 2**20:.0f} MiB, at most {MAX_CHECKPOINT_MIB} are allowed")
    return problems


def _in_percent(part: float) -> str:
    return f"{100 * part:g}%"


def accuracy_points(accuracy: float) -> float:
    """The published rule: all points from ACCURACY_FULL on, none up to ACCURACY_FROM, in proportion between."""
    share = (accuracy - ACCURACY_FROM) / (ACCURACY_FULL - ACCURACY_FROM)
    return round(ACCURACY_POINTS * min(max(share, 0.0), 1.0), 1)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


# ------------------------------------------------------------------------------------------------------------------
# Public checks
# ------------------------------------------------------------------------------------------------------------------
#
# The grader asks every notebook the same: values of variables, results of calls, networks as graphs of operations,
# images as transforms change them. The public checks ask in the same way and judge with the grader's own code, which
# stands further below. The grader asks with other numbers, and keeps some checks to itself.


class CheckFailed(KitError, AssertionError):
    """At least one public check failed."""


class NotAnswered(CheckFailed):
    """The cell that a check looks at has not been filled in yet."""


OK, PLAUSIBLE, FAIL, OPEN, NOT_RUN = "ok", "plausible", "FAIL", "open", "-"


@dataclass(frozen=True)
class CheckResult:
    """How one public check ended.

    `status` is "ok", "plausible" (it looks sensible; whether it is right is not looked at here), "FAIL", "open" (not
    answered yet) or "-" (not run, because of what another check found). `check` is the grader's name for the check.
    """

    cell: str
    title: str
    status: str
    message: str = ""
    check: str = ""


class Plausible(str):
    """What a check returns that can only say that an answer looks sensible."""


@dataclass(frozen=True)
class PublicCheck:
    """A check of one cell. The names of its function's parameters say what it looks at: see `_Evidence.find`."""

    title: str
    run: Callable[..., str | None]  # returns a remark or None
    check: str = ""  # the grader's name for it; empty for what only the kit says
    requires: tuple[str, ...] = ()


# What the grader does otherwise than the kit. Hidden checks are named beside it.
_NOT_LOOKED_AT = {
    "output-size-worked": "whether the numbers are right",
    "output-size-function": "other numbers than the kit's",
    "deeper-cnn-tests": "other numbers of classes",
    "depthwise-separable-tests": "other channels, kernels, strides and paddings",
    "depthwise-count": "whether the numbers are right",
    "modern-cnn-architecture": "other numbers of classes",
    "modern-cnn-augmentation": "other images",
    "modern-cnn-accuracy": "the test images, whose accuracy gives the points",
}
_OWN_CHECKS: list[tuple[str, PublicCheck]] = []  # checks in the words of this file, each with its cell
_RESULTS: list[CheckResult] = []  # what this process has checked, for `python cnn_kit.py check`


def check(cell: str, **objects: Any) -> None:
    """Runs the public checks of a cell and prints them.

    Takes what it needs from the notebook, or from keyword arguments: check("deeper-cnn-tests", DeeperCNN=DeeperCNN).
    Raises CheckFailed (an AssertionError) at the end if a check failed.
    """
    if _while_grading() and not _while_checking():
        print("Public checks are left out while grading.")
        return
    known = [known for cells in NOTEBOOKS.values() for known in cells]
    if cell not in known:
        raise KitError(f"there is no public check for {cell!r}, only for {', '.join(known)}")
    frame = inspect.currentframe()
    names = dict(frame.f_back.f_globals) if frame is not None and frame.f_back is not None else {}
    results = run_checks(cell, {**names, **objects})
    _RESULTS.extend(results)
    print(cell)
    for result in results:
        print(f"  {result.status:9}  {result.title}" + (f"\n             {result.message}" if result.message else ""))
    print(f"  not looked at here: {not_looked_at(cell)}")
    failed = [result for result in results if result.status in (FAIL, OPEN)]
    if failed:
        kind = NotAnswered if failed[0].status == OPEN else CheckFailed
        count = "" if len(failed) == 1 else f" (and {len(failed) - 1} more, see above)"
        # From None: the traceback would show the kit's own code, not the student's.
        raise kind(f"{failed[0].title}: {failed[0].message}{count}") from None


def not_looked_at(cell: str) -> str:
    """What the hidden checks of a cell look at and the public ones do not."""
    hidden = [title for own, _, _, title, _, how in _CHECKS if own == cell and how == "hidden"]
    return "; ".join([*hidden, _NOT_LOOKED_AT[cell]])


def run_checks(cell: str, names: dict[str, Any]) -> list[CheckResult]:
    """The public checks of a cell on the objects in `names`."""
    notebook = next(name for name, cells in NOTEBOOKS.items() if cell in cells).removesuffix(".ipynb")
    evidence = _Evidence(notebook, names)
    results: list[CheckResult] = []
    with warnings.catch_warnings(), _own_luck():
        warnings.simplefilter("ignore")  # deprecations inside torch are not the student's to read
        for public_check in _checks_of(cell):
            status, message = _run_check(public_check, evidence, results)
            if status in (FAIL, OPEN) and any(message == other.message for other in results):
                status, message = NOT_RUN, ""  # one thing that stands in the way of several is said once
            results.append(CheckResult(cell, public_check.title, status, message, public_check.check))
    return results


def _checks_of(cell: str) -> Iterator[PublicCheck]:
    """The public checks of a cell: first what only the kit says, then the grader's, in its order."""
    own = [public_check for place, public_check in _OWN_CHECKS if place == cell]
    grader_names = {name for place, _, name, *_ in _CHECKS if place == cell}
    yield from (one for one in own if not one.check)
    for place, grader, name, title, requires, how in _CHECKS:
        if place == cell and how == "public":
            yield PublicCheck(title, getattr(_modules()[f"_kit_graders_{grader}"], name), name, requires)
        elif place == cell and how == "own words":
            yield from (replace(one, requires=(*one.requires, *requires)) for one in own if one.check == name)
    yield from (one for one in own if one.check and one.check not in grader_names)


def _run_check(public_check: PublicCheck, evidence: _Evidence, before: list[CheckResult]) -> tuple[str, str]:
    """Status and message of one check."""
    required = [result for result in before if result.check in public_check.requires]
    if any(result.status not in (OK, PLAUSIBLE) for result in required):
        return NOT_RUN, ""
    made = _graders()
    try:
        parameters = inspect.signature(public_check.run).parameters
        remark = public_check.run(**{name: evidence.find(name) for name in parameters})
    except NotAnswered as error:
        return OPEN, str(error)
    except _CheckEnded as ended:
        if ended.status is _Status.UNSUPPORTED:
            return NOT_RUN, ""  # the check that the network can be read says why
        if ended.status is _Status.SKIPPED:
            return NOT_RUN, str(ended)
        return FAIL, _with_line(str(ended), ended.line)
    except (made.RunnerProblem, made.GraphRefused) as problem:
        return FAIL, _with_line(str(problem), problem.line)
    except KitError as error:
        return FAIL, str(error)
    except Exception as error:
        own = any(_is_student_file(frame.filename) for frame in traceback.extract_tb(error.__traceback__))
        return (FAIL, _describe(error)) if own else (NOT_RUN, f"the kit could not check this: {_describe(error)}")
    return (PLAUSIBLE if isinstance(remark, Plausible) else OK), remark or ""


@contextlib.contextmanager
def _own_luck() -> Iterator[None]:
    """Leaves random generators and torch's default dtype as they were: a check must not change a training after it."""
    python, numpy, dtype = random.getstate(), np.random.get_state(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_default_dtype(dtype)


# --- the grader's code, and what it needs of the kit ------------------------------------------------------------


class _Status(str, Enum):
    """How a check ends, in the grader's words."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    UNSUPPORTED = "UNSUPPORTED"
    SKIPPED = "SKIPPED"


class _CheckEnded(Exception):
    """A check ended other than by passing. `line` is a student's line as `_locate` encodes it."""

    def __init__(self, status: _Status, message: str, line: int = 0, fraction: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.line, self.fraction = status, line, fraction


def _fail(message: str, *, line: int = 0) -> NoReturn:
    raise _CheckEnded(_Status.FAILED, message, line)


def _expect(holds: bool, message: str, *, line: int = 0) -> None:
    if not holds:
        _fail(message, line=line)


_NOT_YET = "not answered yet: put your code where it says so, run that cell, then this one again"


def _answered(name: str, found: Any, *, drawn: bool = False) -> Any:
    """The evidence for a name, or the end of the check with what stood in the way."""
    if not isinstance(found, _graders().Problem):
        return found
    if found.type == "Missing":
        raise NotAnswered(f"`{name}` is not defined yet: answer and run the cell that defines it")
    if found.type == "NotImplementedError" or found.raised.endswith("NotImplementedError"):
        raise NotAnswered(_NOT_YET)
    message = found.message if found.type in ("", "ExportProblem") else f"{found.type}: {found.message}"
    raise _CheckEnded(found.status, message, found.cell * _LINES_PER_FILE + found.line)


_LINES_PER_FILE = 100_000
_FILES: list[str] = []  # of the student's, each by its number - 1


def _locate(filename: str, line: int) -> int:
    """One integer for a line of the student's, 0 for code that is not theirs."""
    if not _is_student_file(filename):
        return 0
    if filename not in _FILES:
        _FILES.append(filename)
    return (_FILES.index(filename) + 1) * _LINES_PER_FILE + min(max(line, 0), _LINES_PER_FILE - 1)


def _with_line(message: str, encoded: int) -> str:
    """A message with the student's line that it is about, where there is one."""
    number, line = divmod(encoded, _LINES_PER_FILE)
    text = linecache.getline(_FILES[number - 1], line).strip() if number else ""
    return f"{message} (line {line}: {text})" if text else message


def _describe(error: BaseException) -> str:
    """The error with the innermost line of the student's own code."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if _is_student_file(f.filename)]
    where = f" (line {own[-1].lineno}: {own[-1].line})" if own else ""
    return f"{type(error).__name__}: {_first_line(error)}{where}"


def _is_student_file(filename: str) -> bool:
    """True for code of a notebook or beside it: neither this kit nor an installed package, nor code made by one."""
    if filename == __file__ or filename.startswith(("<cnn_kit", "<eval_with_key", "<frozen", "<string>")):
        return False
    return not any(
        part in ("site-packages", "dist-packages") for part in Path(filename).parts
    ) and not filename.startswith(os.path.dirname(os.__file__))


@functools.cache
def _graders() -> types.SimpleNamespace:
    """What the kit itself uses of the grader's code, by name."""
    return types.SimpleNamespace(**{name: getattr(_modules()[place], name) for name, place in _TOOLS.items()})


@functools.cache
def _modules() -> dict[str, types.ModuleType]:
    """The grader's code that the public checks need, as modules; made when a check first asks for them."""
    own = types.ModuleType("_kit")
    own.__dict__.update(
        Status=_Status,
        CheckContext=object,
        CheckEnded=_CheckEnded,
        ExportProblem=ExportProblem,
        Runner=object,
        SUPPORTED_OPERATIONS=frozenset(filter(_is_in_torch, SUPPORTED_OPERATIONS)),
        TensorPool=TensorPool,
        _TABLE=_table_of_operations(),
        answered=_answered,
        check_tensors=lambda graph, tensors: None,  # both come from this process
        expect=_expect,
        expect_depthwise=_expect_depthwise,
        export_graph=export_graph,
        fail=_fail,
        side_of=_side_of,
    )
    modules = {own.__name__: own}
    for name, text in _GRADERS.items():
        modules[name] = module = types.ModuleType(name)
        sys.modules.update(modules)  # each imports from those before it
        filename = f"<cnn_kit {name}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        exec(compile(text, filename, "exec"), module.__dict__)
    return modules


def _is_in_torch(name: str) -> bool:
    """Whether this computer's torch, which may be older than the grader's, has an operation."""
    try:
        return not name.startswith("aten.") or _overload(name) is not None
    except AttributeError:
        return False


def _table_of_operations() -> str:
    """The operations that a graph may hold, one a line, with the kinds of their arguments and results."""
    return "\n".join(_signature(n) for n in sorted(SUPPORTED_OPERATIONS) if n.startswith("aten.") and _is_in_torch(n))


def _signature(name: str) -> str:
    """`aten.relu_.default(Tensor!) -> Tensor`: `!` marks what is written, `&` what the result may share memory with."""
    schema = _overload(name)._schema
    kinds = []
    for argument in schema.arguments:
        alias = argument.alias_info
        kinds.append(_kind(str(argument.real_type)) + ("" if alias is None else "!" if alias.is_write else "&"))
    if re.fullmatch(r"aten\.(\w*dropout|rrelu|einsum|meshgrid|pad|tile|type_as)\.\w+", name) and not schema.is_mutable:
        kinds = [f"{kind}&" if kind in ("Tensor", "Tensor[]") else kind for kind in kinds]  # though it does not say so
    return f"{name}({', '.join(kinds)}) -> {', '.join(_kind(str(value.real_type)) for value in schema.returns)}"


def _kind(text: str) -> str:
    """`Optional[List[SymInt]]` as `int[]?`."""
    for start, suffix in (("Optional[", "?"), ("List[", "[]")):
        if text.startswith(start):
            return _kind(text[len(start) : -1]) + suffix
    return {"SymInt": "int", "number": "Scalar"}.get(text, text)


class _Runner:
    """Runs graphs as the grader's runner does, in this process."""

    def __init__(self) -> None:
        self._loaded: dict[int, Any] = {}

    def load(self, graph: Any, tensors: bytes) -> int:
        made, handle = _graders(), len(self._loaded) + 1
        with self._told():
            ready = made.Graph(made.graph_to_wire(graph))
            stored = load_tensors(tensors)
            own = [stored[key] for *_, key in ready.tensors]
            self._loaded[handle] = made.Loaded(ready, own, {})
        return handle

    def release(self, handle: int) -> None:
        self._loaded[handle] = None

    def shapes(self, handle: int, shape: tuple[int, ...]) -> Any:
        loaded, made = self._loaded[handle], _graders()
        with self._told():
            costs = made.estimate(loaded.graph, loaded.tensors, shape)
        shapes = tuple(None if size is None else tuple(size) for size in costs.shapes)
        return made.GraphShapes(shapes, costs.macs // shape[0], costs.peak_bytes)

    def run(self, handle: int, images: np.ndarray) -> np.ndarray:
        return self.cut(handle, images, [()])[0]

    def cut(self, handle: int, images: np.ndarray, cuts: Any) -> np.ndarray:
        loaded, made = self._loaded[handle], _graders()
        outputs = []
        with self._told(), torch.inference_mode():
            for places in cuts:
                torch.manual_seed(made.SEED)
                given = torch.from_numpy(images.copy())
                outputs.append(made.execute(loaded.graph, loaded.tensors, given, cuts=set(places)).float())
            return torch.stack(outputs).numpy()

    def values(self, handle: int, images: np.ndarray, nodes: list[int]) -> list[np.ndarray]:
        loaded, found = self._loaded[handle], {}

        def keep(index: int, _node: Any, _arguments: Any, value: Any) -> None:
            if index in nodes:
                found[index] = value.detach().float().flatten().clone()

        with self._told(), torch.inference_mode():
            given = torch.from_numpy(images.copy())
            _graders().execute(loaded.graph, loaded.tensors, given, observe=keep)
        for index in nodes:
            node = loaded.graph.nodes[index]
            if node[0] == "tensor":
                found[index] = loaded.tensors[node[1]].detach().float().flatten()
        return [found[index].numpy() for index in nodes]

    def gradients(self, handle: int, images: np.ndarray, labels: np.ndarray, *, loss: str) -> Any:
        loaded, made = self._loaded[handle], _graders()
        with self._told(), torch.enable_grad():
            torch.manual_seed(made.SEED)
            tensors = made._trainable_copy(loaded)
            output = made.execute(loaded.graph, tensors, torch.from_numpy(images.copy()))
            value = made._loss(output, torch.from_numpy(labels.copy()), loss)
            if value.requires_grad:
                value.backward()
        found = {}
        for (kind, name, *_), tensor in zip(loaded.graph.tensors, tensors, strict=True):
            if kind in ("parameter", "frozen"):
                grad = tensor.grad
                largest = 0.0 if grad is None or not grad.numel() else float(grad.abs().max())
                finite = math.isfinite(largest)
                found[name] = made.GradientStats(finite, largest if finite else math.nan)
        number = float(value.detach())
        return made.Gradients(found, number if math.isfinite(number) else math.nan)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong in a run, as the grader's runner tells it."""
        made = _graders()
        try:
            yield
        except made.GraphError as error:
            raise made.RunnerProblem("REFUSED", str(error), error.line) from error
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise made.RunnerProblem("ERROR", _first_line(error), getattr(error, "line", 0)) from error


class _Evidence:
    """What the names of a notebook give when they are asked as the grader asks them. Each thing is asked once."""

    def __init__(self, notebook: str, names: dict[str, Any]) -> None:
        self._probes = _PROBES[notebook]
        self._names = {name: value for name, value in names.items() if value is not ...}

    def find(self, name: str) -> Any:
        """What a check looks at, by the name of its parameter: an answer's value, `calls` (the results of the function,
        by group), `builds` (the networks), `deeper_cnn` or `modern_cnn` (the network as it is built by default),
        `graded` (images as the transforms change them), `names` (all of the notebook's names)."""
        if name in ("deeper_cnn", "modern_cnn"):
            _graders().expect_alive(self.builds[0])
            return self.builds[0]
        if name in ("calls", "builds", "graded"):
            return getattr(self, name)
        return self._names if name == "names" else self._answer(name)

    def _answer(self, name: str) -> Any:
        header, _ = self._collect({"kind": "answer", "name": name})
        return _answered(name, self._result(header))

    @functools.cached_property
    def calls(self) -> dict[str, list[Any]]:
        found = {}
        for probe in (probe for probe in self._probes if probe["kind"] == "call"):
            header, _ = self._collect(probe)
            results = header.get("results") or [header] * len(probe["arguments"])
            pairs = zip(probe["arguments"], results, strict=True)
            found[probe["group"]] = [_graders().CallEvidence(given, self._result(result)) for given, result in pairs]
        return found

    @functools.cached_property
    def builds(self) -> list[Any]:
        runner = _Runner()
        probes = [probe for probe in self._probes if probe["kind"] == "build"]
        size = probes[0]["exports"][0]["size"]
        return [
            _graders().Network(probe["name"], self._build(probe), runner, _PUBLIC_SECRET, size)
            for probe in probes
        ]

    def _build(self, probe: dict[str, Any]) -> Any:
        made, graphs = _graders(), {}
        header, tensors = self._collect(probe)
        if "problem" in header:
            return made.Build(probe["arguments"], {}, problem=self._result(header))
        for wanted, record in zip(probe["exports"], header["graphs"], strict=True):
            try:
                found = made.graph_from_wire(record["graph"]) if "graph" in record else None
            except made.GraphRefused as error:
                found = made.Problem(_Status.FAILED, str(error), "GraphRefused", *divmod(error.line, _LINES_PER_FILE))
            graphs[wanted["training"], wanted["size"]] = found or self._result(record)
        return made.Build(probe["arguments"], graphs, tensors)

    @functools.cached_property
    def graded(self) -> types.SimpleNamespace:
        samples: dict[str, dict[str, Any]] = {}
        for probe in (probe for probe in self._probes if probe["kind"] == "sample"):
            samples.setdefault(probe["name"], {})[probe["group"]] = self._samples(probe)
        return types.SimpleNamespace(evidence=types.SimpleNamespace(samples=samples), notes=[])

    def _samples(self, probe: dict[str, Any]) -> Any:
        made = _graders()
        image = made.probe_image(probe["group"], _PUBLIC_SECRET)
        pixels = base64.b64encode(image.tobytes()).decode()
        header, content = self._collect({**probe, "pixels": pixels, "shape": list(image.shape)})
        if "problem" in header:
            return made.Samples((), image, problem=self._result(header))
        arrays = load_arrays(content)
        outputs = [
            made.Sample(kind["type"], kind["dtype"], tuple(kind["shape"]), arrays.get(f"s{index}"))
            for index, kind in enumerate(header["outputs"])
        ]
        return made.Samples(outputs, image, header["form"])

    def _collect(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """What the grader's collector sends for a probe."""
        sent: list[tuple[dict[str, Any], bytes]] = []

        def send(header: dict[str, Any], payload: bytes = b"") -> None:
            sent.append((header, payload))

        def no_limit(_seconds: float) -> contextlib.nullcontext[None]:
            return contextlib.nullcontext()

        collector = _graders().Collector(self._names, send, no_limit, _Never, _locate, _is_student_file, [])
        collector.collect(probe, math.inf)
        header, payload = sent[0]
        if header.get("problem", {}).get("type") == "KeyboardInterrupt":
            raise KeyboardInterrupt  # the collector takes whatever is raised for the student's
        return header, payload

    def _result(self, record: dict[str, Any]) -> Any:
        """A value or a problem from what the collector sent."""
        made = _graders()
        if "problem" in record:
            problem = record["problem"]
            place = divmod(problem["line"], _LINES_PER_FILE)
            # An exception of the collector's own: only in the grader's package does it go by its plain name.
            kind = re.sub(r"(ExportProblem|Missing)\(Exception\)", r"\1", problem["type"])
            status = _Status(problem["status"])
            return made.Problem(status, problem["message"], kind, *place, raised=problem["raised"])
        value = record["value"]
        number = float(value["value"]) if value["kind"] == "float" else value["value"]
        return made.Value(value["kind"], number, value["origin"])


class _Never(BaseException):
    """A time-out, of which the kit has none."""


_PUBLIC_SECRET = b"public"  # where the grader draws images from the course's secret


# --- checks in the kit's own words ------------------------------------------------------------------------------


def _own_check(cell: str, check: str = "", *requires: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a check of a cell: `check` is the grader's name for it, the docstring its title."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        title = (function.__doc__ or function.__name__).strip().splitlines()[0]
        _OWN_CHECKS.append((cell, PublicCheck(title, function, check, requires)))
        return function

    return register


def _whole(value: Any, name: str) -> int:
    """The whole number that an answer is, as the grader reads it: a float that equals one will do."""
    number = _graders().whole_number(value)
    if number is None:
        _fail(f"`{name}`: expected a whole number, found {_graders().describe_result(value)}")
    return int(number)


@_own_check("output-size-worked", "test_worked_output_size")
def _(answer_output_size: Any) -> Plausible:
    """The output size for 64x64, k=5, s=2, p=2"""
    size = _whole(answer_output_size, "answer_output_size")
    _expect(0 < size < 64, f"a stride of 2 makes the image smaller, but not empty; got {size}")
    return Plausible(f"{size} is a whole number and not out of range")


@_own_check("output-size-worked", "test_worked_same_padding")
def _(answer_same_padding: Any) -> Plausible:
    """The padding that keeps the size for k=5, d=2, s=1"""
    padding = _whole(answer_same_padding, "answer_same_padding")
    _expect(padding >= 0, f"padding cannot be negative, got {padding}")
    _expect(padding != 2, "k // 2 = 2 keeps the size of an undilated convolution; dilation makes the kernel wider")
    _expect(padding < 8, f"{padding} on each side is more than the whole kernel needs: padding counts on both sides")
    return Plausible(f"{padding} is a whole number and not out of range")


def _torch_size(input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """What PyTorch's own convolution makes of a row of pixels."""
    row, kernel = torch.zeros(1, 1, input_size), torch.zeros(1, 1, kernel_size)
    return F.conv1d(row, kernel, stride=stride, padding=padding, dilation=dilation).shape[2]


def _shown_call(arguments: dict[str, int]) -> str:
    first, second, *_ = arguments.values()
    named = [f", {name}={value}" for name, value in list(arguments.items())[2:]]
    return f"conv_output_size({first}, {second}{''.join(named)})"


def _returned(call: Any) -> float:
    """The number that a call returned. Ends the check where it raised, or returned none."""
    value = _answered("conv_output_size", call.result)
    if value.kind not in ("int", "float"):
        found = _graders().describe_result(value)
        _fail(f"{_shown_call(call.arguments)}: expected a whole number, got {found}")
    return value.value


def _expect_torchs(calls: list[Any]) -> None:
    """All calls return what PyTorch gives, as an int or a float."""
    found = [_returned(call) for call in calls]
    for call, got in zip(calls, found, strict=True):
        expected = _torch_size(**call.arguments)
        _expect(got == expected, f"{_shown_call(call.arguments)}: PyTorch gives {expected}, you give {got:g}")


def _are_torchs(calls: list[Any]) -> bool:
    try:
        _expect_torchs(calls)
    except (_CheckEnded, NotAnswered):
        return False
    return True


@_own_check("output-size-function", "test_plain_case")
def _(calls: Any) -> None:
    """Without padding, stride and dilation"""
    _expect_torchs(calls["plain"])


@_own_check("output-size-function", "test_padding")
def _(calls: Any) -> None:
    """With padding"""
    _expect_torchs(calls["padding"])


@_own_check("output-size-function", "test_floor")
def _(calls: Any) -> None:
    """With a stride; the result is rounded down, and an int"""
    _expect_torchs(calls["floor"])
    kinds = {_graders().describe_result(c.result) for c in calls["floor"] if c.result.kind != "int"}
    _expect(not kinds, f"the number is right, but it is {', '.join(sorted(kinds))}: `//` rounds down and keeps an int")


@_own_check("output-size-function", "test_dilation")
def _(calls: Any) -> None:
    """With dilation"""
    _expect_torchs(calls["dilation"])


@_own_check("output-size-function", "test_agrees_with_conv2d")
def _(calls: Any) -> None:
    """Agrees with PyTorch for all parameters together"""
    describe = _graders().describe_result
    if not _are_torchs(calls["floor"]):
        raise _CheckEnded(_Status.SKIPPED, "")
    for call in calls["grid"]:
        if describe(call.result) == "ValueError":
            expected = _torch_size(**call.arguments)
            _fail(f"{_shown_call(call.arguments)}: the kernel fits, PyTorch gives {expected}, you raise ValueError")
    _expect_torchs(calls["grid"])


@_own_check("output-size-function", "test_value_error")
def _(calls: Any) -> None:
    """ValueError where the kernel does not fit"""
    describe = _graders().describe_result
    for call in [*calls["too_large"], *(calls["too_large_dilated"] if _are_torchs(calls["dilation"]) else ())]:
        if hasattr(call.result, "kind"):
            value = call.result.value
            got = value if call.result.kind in ("int", "float") else describe(call.result)
            _fail(f"{_shown_call(call.arguments)}: the kernel does not fit, expected a ValueError, got {got}")
        if describe(call.result) != "ValueError":
            _answered("conv_output_size", call.result)


@_own_check("deeper-cnn-tests")
@_own_check("depthwise-separable-tests")
@_own_check("modern-cnn-architecture")
def _(builds: Any) -> str:
    """The grader can read the network"""
    for network in builds:
        if network.build.problem is not None:
            _answered(network.name, network.build.problem)
        for graph in network.build.graphs.values():
            status, kind = getattr(graph, "status", None), getattr(graph, "type", "")
            if status is _Status.UNSUPPORTED or kind == "GraphRefused":
                line = graph.cell * _LINES_PER_FILE + graph.line
                _fail(f"{graph.message} As it is, a person would have to look at it", line=line)
    graph = builds[0].graph(False, builds[0].size)
    return f"{sum(t.numel for t in graph.tensors if t.kind in ('parameter', 'frozen')):,} parameters"


def _side_of(arguments: dict[str, int], size: int) -> int:
    """Height and width that a standard convolution with these arguments gives."""
    return _torch_size(size, **{name: arguments[name] for name in ("kernel_size", "stride", "padding")})


def _expect_depthwise(layer: Any, _network: Any) -> None:
    """A layer of the first stage has kernels that look at one channel each. The remedy is for the student to find."""
    seen = _graders().channels_seen(layer)
    if seen == 1 and isinstance(layer, _graders().Convolution):
        return
    _fail(
        f"the first convolution must be depthwise, each kernel looking at one input channel; yours look at {seen}. "
        "What does `groups` do to the shape of the weights?",
        line=layer.line,
    )


@_own_check("depthwise-count", "test_standard_weights")
def _(answer_standard_weights: Any) -> Plausible:
    """The weights of the standard convolution, 64 to 128 channels, k=3"""
    count = _whole(answer_standard_weights, "answer_standard_weights")
    _expect(count != 73_856, "that includes the 128 biases: count the convolution's weights only")
    _expect(count > _PAIRS, f"each of the 128 filters looks at all 64 channels, through 3x3 pixels; got only {count:,}")
    return Plausible(f"{count:,} is a whole number and not out of range")


@_own_check("depthwise-count", "test_separable_weights")
def _(answer_separable_weights: Any, names: Any) -> Plausible:
    """The weights of the depthwise and the pointwise convolution together"""
    count = _whole(answer_separable_weights, "answer_separable_weights")
    _expect(count != 9_152, "that includes batch norm: count the two convolutions' weights only")
    _expect(count > _PAIRS, f"there are two convolutions, and the 1x1 alone has a weight per pair; got only {count:,}")
    standard = names.get("answer_standard_weights")
    if isinstance(standard, int) and standard > _PAIRS:  # else that is what is wrong
        _expect(count < standard, f"the separable convolution should need fewer weights; got {count:,}")
    return Plausible(f"{count:,} is a whole number and not out of range")


_PAIRS = 64 * 128  # of an input and an output channel


@_own_check("modern-cnn-architecture", "test_accuracy")
def _(modern_cnn: Any) -> str:
    """Within the budgets"""
    graph, evaluation = modern_cnn.graph(False, modern_cnn.size), modern_cnn.evaluation
    _graders().expect_within_budget(graph, evaluation, MAX_NUMBERS, MAX_MACS)
    return f"{evaluation.info.macs_per_image / 1e9:.3f} GMAC per image"


@_own_check("modern-cnn-accuracy", "test_accuracy")
def _(names: Any) -> str:
    """The checkpoint is there, within its budget, and fits ModernCNN"""
    path = _find_checkpoint(Path.cwd())
    if path is None:
        raise NotAnswered(_no_checkpoint(Path.cwd()))
    _require_fit(_build(names), path)
    return f"{path.name}, {path.stat().st_size / 2**20:.1f} MiB. {_history(path)}".strip()


@_own_check("modern-cnn-accuracy", "test_accuracy")
def _(graded: Any) -> str:
    """test_transform normalises, and does nothing else"""
    try:
        return str(_graders().normalisation_of(graded).describe())
    except _graders().NotANormalisation as problem:
        raise CheckFailed(str(problem)) from problem


_EXPORTED_BATCH = 4


@_own_check("modern-cnn-accuracy", "test_accuracy", "test_accuracy")
def _(names: Any, modern_cnn: Any) -> Plausible:
    """Accuracy on the validation images"""
    path = _find_checkpoint(Path.cwd())
    assert path is not None  # the first check found it
    model = _require_fit(_build(names), path)
    try:
        data = load_cifar10()
    except KitError as error:
        raise _CheckEnded(_Status.SKIPPED, f"not measured: {error}") from error
    # Where a batch size is written down in the code, another check has said so: it is the one of the export.
    batch_size = 500 if modern_cnn.takes(7) else _EXPORTED_BATCH
    _, accuracy = evaluate(model, data.validation, names.get("test_transform", _DEFAULT_TRANSFORM), batch_size)
    rule = f"{ACCURACY_POINTS:g} x clip((accuracy - {ACCURACY_FROM}) / {ACCURACY_FULL - ACCURACY_FROM:.2f}, 0, 1)"
    found = f"{accuracy:.1%} of {len(data.validation):,} validation images: about {accuracy_points(accuracy)} points"
    if not data.name.startswith("CIFAR-10"):
        found += f", measured on the {data.name}, so it says nothing about CIFAR-10"
    _expect(
        accuracy >= ACCURACY_FULL,
        f"expected {_in_percent(ACCURACY_FULL)} for all points, found {found} ({rule}). Train longer, or look at where "
        "training and validation part",
    )
    if accuracy < ACCURACY_AIM:
        safe = f"so {_in_percent(ACCURACY_FULL)} is not safe: aim at {_in_percent(ACCURACY_AIM)}"
        found += f". The test images may say less, {safe}"
    return Plausible(found)


_DEFAULT_TRANSFORM = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
)  # where a notebook has none


def _build(names: dict[str, Any]) -> nn.Module:
    """ModernCNN() as the grader builds it."""
    if "ModernCNN" not in names:
        raise NotAnswered("`ModernCNN` is not defined yet: answer and run the cell that defines it")
    _seed_everything(0)
    try:
        model = _graders().call_flexibly(names["ModernCNN"], {})
    except NotImplementedError as error:
        raise NotAnswered(_NOT_YET) from error
    except Exception as error:  # the student's own code
        raise CheckFailed(_describe(error)) from error
    if not isinstance(model, nn.Module):
        raise CheckFailed(f"`ModernCNN` must build a torch.nn.Module, it gave {type(model).__name__}")
    return model.float()  # images come in single precision


def _require_fit(model: nn.Module, path: Path) -> nn.Module:
    """The model with the checkpoint's weights; CheckFailed where they do not fit or the file is too large."""
    problems = _budget_problems(count_numbers(model), None, path.stat().st_size)
    if problems:
        raise CheckFailed("; ".join(problems))
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in load_checkpoint(path).items()
    }
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckFailed(
            f"{path.name}: the weights of `{broken[0]}` are NaN or infinite, so training had diverged: train again "
            "with a lower learning rate"
        )
    own = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    shared = {name: str(value.data_ptr()) for name, value in own.items()}
    found = _graders().name_tensors(shapes, {name: value.numpy() for name, value in state.items()}, shared)
    if found.rivals:
        raise CheckFailed(f"{path.name} holds several networks ({_few(found.rivals)}): save the one that is to count")
    if found.missing:
        parts = [f"missing {_few(found.missing)}"] + [f"unexpected {_few(found.unused)}"] * bool(found.unused)
        raise CheckFailed(_misfit(path, "; ".join(parts)))
    try:
        model.load_state_dict({name: torch.tensor(array) for name, array in found.tensors.items()}, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:2]]
        raise CheckFailed(_misfit(path, " ".join(lines))) from error
    return model


def _misfit(path: Path, why: str) -> str:
    return f"{path.name} does not fit ModernCNN, so it is from another version of the class: train again. {why}"


def _few(names: Any, most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    listed = [str(name)[:80] for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


# ------------------------------------------------------------------------------------------------------------------
# The command line: check and pack
# ------------------------------------------------------------------------------------------------------------------

_NOTEBOOK_SECONDS = 600  # a notebook without its training cell takes seconds; this one hangs
SUBMISSION = "cnn-submission.zip"
RECEIPT = "receipt.json"


def main(arguments: list[str] | None = None) -> int:
    """Runs `check` or `pack`. Exit code 0 where all is well, 1 where something has to be put right."""
    parser = argparse.ArgumentParser(prog="cnn_kit.py", description="Check your notebooks and pack them to hand in.")
    commands = parser.add_subparsers(dest="command", required=True)
    check_parser = commands.add_parser("check", help="run the public checks of all notebooks, each in a clean process")
    pack_parser = commands.add_parser("pack", help=f"write {SUBMISSION}, the file to hand in, and print a receipt")
    for sub in (check_parser, pack_parser):
        sub.add_argument(
            "folder", nargs="?", type=Path, default=Path(__file__).parent, help="default: the kit's folder"
        )
    pack_parser.add_argument(
        "--without-checkpoint", action="store_true", help="leave trained weights out (no points for accuracy)"
    )
    options = parser.parse_args(arguments)
    # A Windows console may not know every character of a message: replaced, rather than a crash.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        if not options.folder.is_dir():
            raise KitError(f"{options.folder} is not a folder")
        if options.command == "check":
            return _check_command(options.folder)
        return _pack_command(options.folder, needs_checkpoint=not options.without_checkpoint)
    except KitError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1


def _check_command(folder: Path) -> int:
    results: list[tuple[str, CheckResult]] = []
    notes: list[str] = []
    for name, cells in NOTEBOOKS.items():
        print(f"running {name} ...", flush=True)
        report = _run_in_clean_process(folder, name)
        notes += [f"{name}: {note}" for note in report["notes"]]
        results += [(name, CheckResult(**result)) for result in report["results"]]
        if report["error"]:
            results.append((name, CheckResult("", "the notebook runs", FAIL, report["error"])))
            continue
        seen = {result["cell"] for result in report["results"]}
        for cell in cells:
            if cell not in seen:
                message = f"`cnn_kit.check({cell!r}, ...)` did not run"
                results.append((name, CheckResult(cell, "the cell is there and checks", FAIL, message)))
        results += [(name, result) for result in _written_answers(folder / name)]
    print()
    for name in NOTEBOOKS:
        print(name)
        _print_results([result for place, result in results if place == name])
    for note in notes:
        print(f"note: {note}")
    counts = {status: sum(result.status == status for _, result in results) for status in (OK, PLAUSIBLE, FAIL, OPEN)}
    print(f"\n{counts[OK]} ok, {counts[PLAUSIBLE]} plausible, {counts[FAIL]} failed, {counts[OPEN]} not answered yet.")
    print("“plausible” is no more than that: the hidden checks decide. They ask with other numbers, and look further.")
    return 1 if counts[FAIL] or counts[OPEN] else 0


def _print_results(results: list[CheckResult]) -> None:
    """The results of a notebook, and after those of each cell what is not looked at."""
    for index, result in enumerate(results):
        print(f"  {result.status:9}  {result.cell:26}{result.title}")
        if result.message:
            print(f"             {result.message}")
        if result.cell in _NOT_LOOKED_AT and all(later.cell != result.cell for later in results[index + 1 :]):
            print(f"             not looked at here: {not_looked_at(result.cell)}")


def _written_answers(path: Path) -> list[CheckResult]:
    """Whether the answers in words are there; what they are worth, a person decides."""
    found = []
    texts = {grade_id: text for kind, grade_id, text in _all_cells(path) if kind == "markdown"}
    for cell in WRITTEN.get(path.name, ()):
        words = len(texts.get(cell, "").split())
        if texts.get(cell, "").strip() in ("", _PLACEHOLDER):
            message = "nothing is written yet: double-click the cell, and write your answer in it"
            found.append(CheckResult(cell, "The answer in words", OPEN, message))
        else:
            message = f"{words} words, which a person will read"
            found.append(CheckResult(cell, "The answer in words", PLAUSIBLE, message))
    return found


def _run_in_clean_process(folder: Path, name: str, task: str = "check") -> dict[str, Any]:
    """Runs a notebook in a Python process of its own, to "check" it or to "measure" ModernCNN without any check.

    Returns {"results", "notes", "error", "measured"}.
    """
    empty: dict[str, Any] = {"results": [], "notes": [], "error": "", "measured": {}}
    if not (folder / name).is_file():
        return {**empty, "error": f"{name} is missing in {folder.resolve()}: a notebook that is not handed in scores 0"}
    environment = {
        **os.environ,
        "NBGRADER_EXECUTION": "autograde",  # as in grading: no training, no saving
        "CNN_KIT_CHECK": "1",
        "MPLBACKEND": "agg",  # figures are drawn, not shown: nothing waits for a window
        "PYTHONIOENCODING": "utf-8",
    }
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        kit_folder = str(Path(__file__).resolve().parent)
        program = "import sys; sys.path.insert(0, sys.argv[1]); import cnn_kit; cnn_kit.run_notebook(*sys.argv[2:])"
        try:
            ended = subprocess.run(
                [sys.executable, "-c", program, kit_folder, name, str(report), task],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, encoding="utf-8", errors="replace", timeout=_NOTEBOOK_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {**empty, "error": f"still running after {_NOTEBOOK_SECONDS} s: is there an endless loop?"}
        if not report.is_file():
            last = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
            return {**empty, "error": f"the process ended before the notebook did: {last[0]}"}
        return dict(json.loads(report.read_text(encoding="utf-8")))


def run_notebook(name: str, report_path: str, task: str) -> None:
    """Runs the code cells of a notebook in this process, for `check` or `pack`, and writes what happened as JSON.

    A cell that raises does not end the run. The training cell is left out, and so is what only Jupyter understands.
    """
    report: dict[str, Any] = {"results": [], "notes": [], "error": "", "measured": {}}
    path = Path(name)
    module = types.ModuleType("__main__")  # a real module: dataclasses and pickle look a class's module up
    sys.modules["__main__"] = module
    run = _NotebookRun(module.__dict__)
    errors: list[str] = []
    try:
        cells = _code_cells(path)
    except KitError as error:
        report["error"], cells = str(error), []
    for number, grade_id, source in cells:
        if grade_id == TRAINING_CELL or (task == "measure" and grade_id in NOTEBOOKS.get(path.name, ())):
            continue
        try:
            left_out = run.cell(source, f"{path.stem} cell {number}")
            if left_out:
                report["notes"].append(f"cell {number}: left out {_few(left_out)}, which only Jupyter understands")
        except CheckFailed:
            continue  # already in the results
        except (NotImplementedError, NameError) as error:
            if grade_id in NOTEBOOKS.get(path.name, ()) and isinstance(error, NameError):
                message = f"{_NOT_YET} ({_first_line(error)})"
                _RESULTS.append(CheckResult(grade_id, "The answer is there", OPEN, message))
            elif isinstance(error, NameError):
                errors.append(f"cell {number}: {_describe(error)}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a cell must not end the others
            errors.append(f"cell {number}: {_describe(error)}")
    report["error"] = report["error"] or "; ".join(errors[:3])
    report["results"] = [asdict(result) for result in _RESULTS]
    report["measured"] = _measure(module.__dict__) if task == "measure" else {}
    Path(report_path).write_text(json.dumps(report), encoding="utf-8")


def _measure(names: dict[str, Any]) -> dict[str, Any]:
    """Parameters and MACs of ModernCNN, and whether the checkpoint fits it, for `pack`. Empty without a ModernCNN."""
    if "ModernCNN" not in names:
        return {}
    try:
        model = _build(names)
        measured: dict[str, Any] = {"numbers": count_numbers(model), "macs": count_macs(model), "misfit": ""}
        measured["parameters"] = count_parameters(model)
    except KitError as error:
        return {"misfit": f"ModernCNN() does not run: {error}"}
    except Exception as error:  # the student's own code
        return {"misfit": f"ModernCNN() does not run: {_describe(error)}"}
    checkpoint = _find_checkpoint(Path.cwd())
    if checkpoint is not None:
        try:
            _require_fit(model, checkpoint)
        except KitError as error:
            measured["misfit"] = str(error)
    return measured


class _NotebookRun:
    """Runs cells one after the other in one set of names, as Jupyter does, without Jupyter."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.names.update(display=print, get_ipython=_NoShell, **{_RUN: self.file})
        self._loop = asyncio.new_event_loop()

    def cell(self, source: str, filename: str) -> list[str]:
        """Runs a cell. Returns the lines that only Jupyter understands; they were left out."""
        text, left_out = as_python(source)
        # Tracebacks and the graph export look source lines up here; a size without a time is never thought stale.
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        code = compile(text, filename, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, self.names)
        if code.co_flags & inspect.CO_COROUTINE:
            self._loop.run_until_complete(result)
        return left_out

    def file(self, name: str) -> None:
        """What `%run` does: a script's names become the notebook's; a notebook's cells run as if they stood here."""
        path = Path(name) if Path(name).suffix else Path(f"{name}.py")
        if path.suffix != ".ipynb":
            self.names.update(runpy.run_path(str(path), run_name="__main__"))
            return
        for number, _, source in _code_cells(path):
            self.cell(source, f"{path.stem} cell {number}")


class _NoShell:
    """In the place of IPython's shell: takes every call and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: None


_RUN = "_kit_run_file"  # under this name `%run` finds what it does
_RUNS_ITS_CELL = ("%%capture", "%%prun", "%%time")
_JUPYTERS_LINE = re.compile(
    r"(?P<indent>\s*)(?:(?P<target>[\w.,\[\]'\" ]+?)\s*=\s*)?"
    r"(?:%(?P<magic>\w+)\s*(?P<rest>.*)|(?P<shell>!.*)|(?P<help>\?{1,2}[\w.*]+|[\w.*()\[\]]+\?{1,2})"
    r"|(?P<word>(?:pip|conda|cd|ls|mkdir|cp|mv|rm|cat)\s.*))"
)


def as_python(source: str) -> tuple[str, list[str]]:
    """A cell without what only Jupyter understands (`%magic`, `!command`, `name?`), and what was left out of it.

    Line numbers stay. `%time` and the like give way to the statement that they time, `%run` to a call that runs the
    file. Text that only looks like a magic, inside a string say, stays as it is.
    """
    lines, left_out = source.splitlines(), []
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[start].startswith("%%"):
        if lines[start].split()[0] not in _RUNS_ITS_CELL:
            return "\n" * len(lines), [lines[start]]
        lines[start] = ""
    while True:
        try:
            compile("\n".join(lines) + "\n", "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            number = (error.lineno or 0) - 1
            found = _JUPYTERS_LINE.fullmatch(lines[number]) if 0 <= number < len(lines) else None
            if found is not None:
                lines[number], said = _in_python(found)
                left_out += [said] * bool(said)
                while said.endswith("\\") and number + 1 < len(lines):  # a command goes on in the next line
                    number += 1
                    said, lines[number] = lines[number], ""
                continue
        except ValueError:  # null bytes
            pass
        return "\n".join(lines) + "\n", left_out


def _in_python(found: re.Match[str]) -> tuple[str, str]:
    """What a line of Jupyter's becomes, and what has to be said of it."""
    target = f"{found['target']} = " if found["target"] else ""
    if found["magic"] == "time" and found["rest"]:
        return f"{found['indent']}{target}{found['rest']}", ""
    if found["magic"] == "run":
        files = [word for word in shlex.split(found["rest"], comments=True) if not word.startswith("-")]
        return f"{found['indent']}{_RUN}({files[0]!r})" if files else "", "" if files else found[0].strip()
    return f"{found['indent']}{f'{target}[]' if target else 'pass'}", found[0].strip()


def _all_cells(path: Path) -> list[tuple[str, str, str]]:
    """(kind, grade_id or "", text) of a notebook's cells. Raises KitError where it is no notebook."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        return [
            (
                str(cell["cell_type"]),
                cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""),
                "".join(cell["source"]),
            )
            for cell in notebook["cells"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KitError(
            f"{path.name} is not a notebook that can be read ({_first_line(error)}): save it again"
        ) from error


def _code_cells(path: Path) -> list[tuple[int, str, str]]:
    """(number from 1, grade_id or "", source) of a notebook's code cells. Raises KitError where it is no notebook."""
    code = [(grade_id, text) for kind, grade_id, text in _all_cells(path) if kind == "code"]
    return [(number, grade_id, text) for number, (grade_id, text) in enumerate(code, 1)]


def _pack_command(folder: Path, needs_checkpoint: bool) -> int:
    notebooks = [name for name in NOTEBOOKS if (folder / name).is_file()]
    if not notebooks:
        raise KitError(f"none of {', '.join(NOTEBOOKS)} is in {folder.resolve()}: run this where your notebooks are")
    for name in notebooks:
        _code_cells(folder / name)
    for name in (name for name in NOTEBOOKS if name not in notebooks):
        print(f"Warning: {name} is missing, and scores 0 if you hand in without it.")
    for name in notebooks:
        for result in _written_answers(folder / name):
            if result.status == OPEN:
                print(f"Warning: {name}, {result.cell}: {result.message}.")
    checkpoint = _find_checkpoint(folder)
    if "04_modern_cnn.ipynb" not in NOTEBOOKS:
        checkpoint = None
    elif checkpoint is not None and not needs_checkpoint:
        print(f"{checkpoint.name} is left out, as asked: no points for accuracy.")
        checkpoint = None
    if checkpoint is None and needs_checkpoint and "04_modern_cnn.ipynb" in NOTEBOOKS:
        raise KitError(
            f"{_no_checkpoint(folder)} (or hand in without accuracy points: pack --without-checkpoint)"
        )
    beside = _Beside(folder)
    for name in notebooks:
        beside.add_notebook(name)
    beside.expect_whole()
    files = {name: folder / name for name in notebooks} | beside.files
    if checkpoint is not None:
        _check_budgets(folder, checkpoint)
        files[checkpoint.relative_to(folder).as_posix()] = checkpoint
    target = folder / SUBMISSION
    contents = {name: file.read_bytes() for name, file in files.items()}
    _write_zip(target, {**contents, RECEIPT: _receipt(contents)})
    print(f"\nReceipt of {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")
    for name, content in contents.items():
        print(f"  {len(content):>12,} bytes  {name}")
    print(f"{target.name}, {target.stat().st_size:,} bytes")
    print(f"SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")
    print("Hand in this file as it is, and keep the receipt: it proves which file you packed.")
    return 0


class _Beside:
    """What notebooks import from the files beside them, and those from others: it has to travel with them.

    Read from the source text, so that nothing has to run: imports wherever they stand, `import_module` and `%run` with
    a name, folders that are added to `sys.path`. What cannot be found so, and what lies elsewhere, is named.
    """

    MOST_FILES, MOST_MIB = 200, 16

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.files: dict[str, Path] = {}  # by their names in the zip
        self.problems: list[str] = []
        self.mentioned: dict[str, str] = {}  # other files that are there, and who mentions them
        self.missing: dict[str, str] = {}  # modules that are neither here nor installed, and who imports them
        self._places: list[Path] = []  # where Python would look, before installed packages
        self._adds_places = False  # to `sys.path`, which ones the text does not say

    def add_notebook(self, name: str) -> None:
        """Looks through the code cells of a notebook."""
        self._places, self._adds_places = [self.folder], False
        for _, grade_id, source in _code_cells(self.folder / name):
            mentioned = dict(self.mentioned)
            text, left_out = as_python(source)
            with contextlib.suppress(SyntaxError, ValueError):  # such a cell does not run in grading either
                self._read(_parsed(text), name, self.folder)
            for file in re.findall(r"[\w./-]+\.py\b", " ".join(left_out)):
                self._take_named(file, name)
            if grade_id == TRAINING_CELL:  # it does not run in grading: what it reads and writes may stay
                self.mentioned = mentioned

    def expect_whole(self) -> None:
        """Says what else is packed. Raises KitError where something cannot travel."""
        if self.problems:
            more = f" (and {len(self.problems) - 3} more)" if len(self.problems) > 3 else ""
            raise KitError("; ".join(self.problems[:3]) + more)
        size = sum(file.stat().st_size for file in self.files.values())
        if len(self.files) > self.MOST_FILES or size > self.MOST_MIB * 2**20:
            raise KitError(
                f"your notebooks import {len(self.files)} files with {size / 2**20:.0f} MiB from beside them, at most "
                f"{self.MOST_FILES} with {self.MOST_MIB} MiB are packed: leave out what they do not need"
            )
        if self.files:
            print(f"Your notebooks import files from beside them, which are packed, too: {_few(self.files)}.")
        for file, who in list(self.mentioned.items())[:3]:
            print(f"Warning: {who} mentions {file}, which is not packed, since it is no code: do without it.")
        for module, who in list(self.missing.items())[:3]:
            print(f"Warning: {who} imports {module}, which is neither in this folder nor installed.")

    def _read(self, tree: ast.AST, who: str, home: Path) -> None:
        """Takes what a program imports; `home` is the folder that relative imports start from."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._read_place(node)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._take_module(alias.name, who)
            elif isinstance(node, ast.ImportFrom) and node.level:
                base = home.joinpath(*[".."] * (node.level - 1)).resolve()
                for alias in node.names:
                    dotted = ".".join(filter(None, (node.module, alias.name)))
                    self._find(base, dotted.split("."), who)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._take_module(f"{node.module}.{alias.name}", who)
            elif isinstance(node, ast.Call):
                self._read_call(node, who)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 200:
                self._take_named(node.value, who)

    def _read_place(self, node: ast.Call) -> None:
        """Takes note of a folder that is added to `sys.path`."""
        if ast.unparse(node.func) not in ("sys.path.append", "sys.path.insert", "sys.path.extend", "site.addsitedir"):
            return
        constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        places = [(self.folder / text).resolve() for text in constants if isinstance(text, str)]
        self._places += places
        self._adds_places = self._adds_places or not places or not all(place.is_dir() for place in places)

    def _read_call(self, node: ast.Call, who: str) -> None:
        called = ast.unparse(node.func)
        texts = [value.value for value in node.args if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        if called.endswith(("import_module", "__import__")) and texts and not texts[0].startswith("."):
            self._take_module(texts[0], who)
        elif called == _RUN and texts:
            name = texts[0] if Path(texts[0]).suffix else f"{texts[0]}.py"
            if name.endswith(".ipynb"):
                self.problems.append(
                    f"{who} runs {name}, and notebooks of your own are not there while grading: put its code into "
                    f"{who}, or into a module beside it"
                )
                return
            self._places.append((self.folder / name).resolve().parent)  # a script imports from beside itself, too
            if not self._take_named(name, who):
                self.problems.append(f"{who} runs {name}, which is not in this folder: copy it there")

    def _take_module(self, dotted: str, who: str) -> None:
        """Takes a module that lies beside the notebooks; an installed one needs nothing."""
        if dotted.split(".")[0] == Path(__file__).stem:
            return
        for place in self._places:
            if self._find(place, dotted.split("."), who):
                return
        self._look_elsewhere(dotted.split(".")[0], who)

    def _look_elsewhere(self, module: str, who: str) -> None:
        """Names a module of the student's own that lies elsewhere on this computer, and one that is nowhere."""
        if module in sys.stdlib_module_names:
            return
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            spec = None
        if spec is not None and spec.origin and spec.has_location and _is_student_file(spec.origin):
            self.problems.append(f"{who} imports {module} from {spec.origin}: copy it into this folder")
        elif spec is None and self._adds_places:
            self.problems.append(
                f"{who} imports {module} from a folder that it adds to sys.path, which one cannot be told: copy the "
                "module into this folder"
            )
        elif spec is None:
            self.missing.setdefault(module, who)

    def _find(self, place: Path, parts: list[str], who: str) -> bool:
        """Takes the modules on the way to a name, where the first of them lies in a place, as Python finds them."""
        for number, part in enumerate(parts):
            package, module = place / part, place / f"{part}.py"
            if (package / "__init__.py").is_file():
                for file in sorted(package.rglob("*.py")):
                    self._take(file, who)
                for file in sorted(package.rglob("*")):
                    if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts:
                        self.mentioned.setdefault(self._name(file) or str(file), who)
            elif module.is_file():
                self._take(module, who)
                return True
            elif compiled := sorted(file.name for end in ("so", "pyd") for file in place.glob(f"{part}.*{end}")):
                self.problems.append(
                    f"{who} imports {'.'.join(parts)} from {compiled[0]}, compiled code that may not run elsewhere: "
                    "hand in its source"
                )
                return True
            elif not (package.is_dir() and any(package.rglob("*.py"))):
                return number > 0
            place = package
        return True

    def _take_named(self, name: str, who: str) -> bool:
        """Takes a file of Python that a text names, and notes another one. False where there is none."""
        try:
            file = (self.folder / name).resolve()
            if not file.is_file() or self._name(file) is None:
                return False
        except (OSError, ValueError):  # no name of a file
            return False
        if file.suffix == ".py":
            self._take(file, who)
        elif file.suffix != ".ipynb" and file.name not in CHECKPOINTS and TRAINING_FOLDER not in file.parts:
            self.mentioned.setdefault(str(self._name(file)), who)
        return True

    def _name(self, file: Path) -> str | None:
        """The name of a file in the zip; None for one that lies elsewhere."""
        file = file.resolve()
        return file.relative_to(self.folder).as_posix() if file.is_relative_to(self.folder) else None

    def _take(self, file: Path, who: str) -> None:
        name = self._name(file)
        if name in self.files or name == Path(__file__).name:
            return
        if name is None:
            self.problems.append(f"{who} imports {file}, which lies outside of this folder: copy it beside {who}")
            return
        self.files[name] = file
        try:
            with tokenize.open(file) as text:
                tree = _parsed(text.read())
        except (SyntaxError, ValueError, OSError) as error:
            self.problems.append(f"{name}, which {who} imports, cannot be read ({_first_line(error)}): correct it")
            return
        self._read(tree, name, file.parent)


def _parsed(text: str) -> ast.AST:
    """The program as a tree, `await` at its top level included."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree: ast.AST = compile(text, "program", "exec", flags=flags)
    return tree


def _check_budgets(folder: Path, checkpoint: Path) -> None:
    """Raises KitError where the checkpoint is unreadable, over budget, or does not fit ModernCNN."""
    problems = _budget_problems(None, None, checkpoint.stat().st_size)
    if problems:
        raise KitError(f"over budget: {problems[0]}")
    load_checkpoint(checkpoint)
    print("measuring ModernCNN ...", flush=True)
    report = _run_in_clean_process(folder, "04_modern_cnn.ipynb", "measure")
    measured = report["measured"]
    if not measured:
        print(f"Warning: ModernCNN could not be measured. {report['error']}")
        return
    if measured["misfit"]:
        raise KitError(measured["misfit"])
    problems = _budget_problems(measured["numbers"], measured["macs"], None)
    if problems:
        raise KitError(f"over budget: {'; '.join(problems)}")
    size = f"{measured['parameters']:,} parameters, {measured['macs'] / 1e9:.3f} GMAC per image"
    print(f"ModernCNN: {size}. {_history(checkpoint)}".strip())
    if _worth(_notes_in(checkpoint)) < _REAL:
        print(f"Warning: {checkpoint.name} has {_described(_notes_in(checkpoint))}: expect no points for accuracy.")


def _history(checkpoint: Path) -> str:
    notes = _notes_in(checkpoint)
    return f"Trained on {notes.get('data', 'unknown data')}." if notes else ""


def _receipt(contents: dict[str, bytes]) -> bytes:
    """What lies in the zip, as JSON. It holds no time: the same files give the same receipt."""
    files = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    ]
    receipt = {"format": 1, "kit": __version__, "files": files}
    return (json.dumps(receipt, indent=1, ensure_ascii=False) + "\n").encode()


def _write_zip(target: Path, contents: dict[str, bytes]) -> None:
    """A zip. The same files give the same bytes, so that a receipt can be compared."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, date_time=(2000, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on Windows too: the bytes must not depend on where they are packed
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


# ------------------------------------------------------------------------------------------------------------------
# The grader's public checks
# ------------------------------------------------------------------------------------------------------------------

# >>> copied from autograder/graders by tools/embed_in_kit.py; edit it there
_PROBES: dict[str, list[dict[str, Any]]] = {  # what is asked of a notebook, as grader_config.py says
    "01_output_size": [
        {"kind": "answer", "name": "answer_output_size"},
        {"kind": "answer", "name": "answer_same_padding"},
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "plain",
            "arguments": [
                {"input_size": 28, "kernel_size": 7},
                {"input_size": 32, "kernel_size": 9},
                {"input_size": 40, "kernel_size": 2},
            ],
        },
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "padding",
            "arguments": [
                {"input_size": 20, "kernel_size": 4, "stride": 1, "padding": 4},
                {"input_size": 56, "kernel_size": 6, "stride": 1, "padding": 3},
                {"input_size": 20, "kernel_size": 5, "stride": 1, "padding": 1},
            ],
        },
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "floor",
            "arguments": [
                {"input_size": 29, "kernel_size": 6, "stride": 5},
                {"input_size": 47, "kernel_size": 6, "stride": 4},
                {"input_size": 56, "kernel_size": 3, "stride": 2},
                {"input_size": 44, "kernel_size": 4, "stride": 4},
            ],
        },
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "dilation",
            "arguments": [
                {"input_size": 43, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 3},
                {"input_size": 40, "kernel_size": 6, "stride": 1, "padding": 0, "dilation": 3},
                {"input_size": 50, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 4},
            ],
        },
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "grid",
            "arguments": [
                {"input_size": 32, "kernel_size": 6, "stride": 3, "padding": 0, "dilation": 2},
                {"input_size": 2, "kernel_size": 3, "stride": 5, "padding": 5, "dilation": 2},
                {"input_size": 37, "kernel_size": 6, "stride": 3, "padding": 2, "dilation": 2},
                {"input_size": 40, "kernel_size": 8, "stride": 1, "padding": 1, "dilation": 1},
                {"input_size": 9, "kernel_size": 2, "stride": 2, "padding": 1, "dilation": 2},
                {"input_size": 6, "kernel_size": 2, "stride": 5, "padding": 1, "dilation": 2},
                {"input_size": 34, "kernel_size": 6, "stride": 1, "padding": 0, "dilation": 4},
                {"input_size": 57, "kernel_size": 9, "stride": 1, "padding": 0, "dilation": 1},
                {"input_size": 41, "kernel_size": 5, "stride": 2, "padding": 3, "dilation": 4},
                {"input_size": 14, "kernel_size": 4, "stride": 1, "padding": 1, "dilation": 4},
                {"input_size": 41, "kernel_size": 4, "stride": 2, "padding": 3, "dilation": 3},
                {"input_size": 41, "kernel_size": 7, "stride": 3, "padding": 2, "dilation": 2},
                {"input_size": 28, "kernel_size": 9, "stride": 3, "padding": 4, "dilation": 3},
                {"input_size": 26, "kernel_size": 1, "stride": 3, "padding": 1, "dilation": 3},
                {"input_size": 54, "kernel_size": 7, "stride": 4, "padding": 0, "dilation": 2},
                {"input_size": 40, "kernel_size": 1, "stride": 4, "padding": 1, "dilation": 1},
                {"input_size": 47, "kernel_size": 1, "stride": 3, "padding": 1, "dilation": 1},
                {"input_size": 39, "kernel_size": 1, "stride": 4, "padding": 2, "dilation": 3},
                {"input_size": 42, "kernel_size": 3, "stride": 1, "padding": 3, "dilation": 3},
                {"input_size": 53, "kernel_size": 2, "stride": 3, "padding": 3, "dilation": 3},
                {"input_size": 47, "kernel_size": 8, "stride": 3, "padding": 4, "dilation": 1},
                {"input_size": 12, "kernel_size": 1, "stride": 5, "padding": 2, "dilation": 2},
                {"input_size": 14, "kernel_size": 6, "stride": 5, "padding": 2, "dilation": 1},
                {"input_size": 41, "kernel_size": 6, "stride": 3, "padding": 3, "dilation": 3},
                {"input_size": 60, "kernel_size": 6, "stride": 2, "padding": 1, "dilation": 2},
                {"input_size": 29, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 3},
                {"input_size": 27, "kernel_size": 5, "stride": 4, "padding": 1, "dilation": 3},
                {"input_size": 11, "kernel_size": 2, "stride": 3, "padding": 4, "dilation": 1},
                {"input_size": 23, "kernel_size": 3, "stride": 3, "padding": 3, "dilation": 2},
                {"input_size": 64, "kernel_size": 8, "stride": 4, "padding": 4, "dilation": 3},
                {"input_size": 9, "kernel_size": 1, "stride": 1, "padding": 3, "dilation": 3},
                {"input_size": 45, "kernel_size": 1, "stride": 2, "padding": 2, "dilation": 2},
                {"input_size": 26, "kernel_size": 1, "stride": 3, "padding": 0, "dilation": 2},
                {"input_size": 53, "kernel_size": 1, "stride": 1, "padding": 2, "dilation": 2},
                {"input_size": 7, "kernel_size": 7, "stride": 1, "padding": 3, "dilation": 2},
                {"input_size": 3, "kernel_size": 3, "stride": 1, "padding": 2, "dilation": 3},
                {"input_size": 7, "kernel_size": 9, "stride": 3, "padding": 1, "dilation": 1},
                {"input_size": 15, "kernel_size": 8, "stride": 3, "padding": 0, "dilation": 2},
                {"input_size": 2, "kernel_size": 7, "stride": 3, "padding": 3, "dilation": 1},
                {"input_size": 7, "kernel_size": 8, "stride": 3, "padding": 1, "dilation": 1},
                {"input_size": 3, "kernel_size": 6, "stride": 2, "padding": 3, "dilation": 1},
            ],
        },
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "too_large",
            "arguments": [
                {"input_size": 3, "kernel_size": 8},
                {"input_size": 5, "kernel_size": 10},
                {"input_size": 4, "kernel_size": 14, "stride": 2, "padding": 1},
            ],
        },
        {
            "kind": "call",
            "name": "conv_output_size",
            "group": "too_large_dilated",
            "arguments": [{"input_size": 7, "kernel_size": 5, "stride": 1, "padding": 0, "dilation": 4}],
        },
    ],
    "02_deeper_cnn": [
        {
            "kind": "build",
            "name": "DeeperCNN",
            "index": 0,
            "arguments": {},
            "channels": 3,
            "exports": [
                {"training": False, "size": 32},
                {"training": False, "size": 64},
                {"training": True, "size": 32},
            ],
        },
        {
            "kind": "build",
            "name": "DeeperCNN",
            "index": 1,
            "arguments": {"num_classes": 30},
            "channels": 3,
            "exports": [{"training": False, "size": 32}],
        },
    ],
    "03_depthwise_separable": [
        {"kind": "answer", "name": "answer_standard_weights"},
        {"kind": "answer", "name": "answer_separable_weights"},
        {
            "kind": "build",
            "name": "DepthwiseSeparableConv",
            "index": 0,
            "arguments": {"in_channels": 6, "out_channels": 27},
            "channels": 6,
            "exports": [{"training": False, "size": 17}, {"training": True, "size": 17}],
        },
        {
            "kind": "build",
            "name": "DepthwiseSeparableConv",
            "index": 1,
            "arguments": {"in_channels": 9, "out_channels": 6, "kernel_size": 5, "stride": 2, "padding": 2},
            "channels": 9,
            "exports": [{"training": False, "size": 17}],
        },
        {
            "kind": "build",
            "name": "DepthwiseSeparableConv",
            "index": 2,
            "arguments": {"in_channels": 6, "out_channels": 10, "kernel_size": 4, "stride": 3, "padding": 0},
            "channels": 6,
            "exports": [{"training": False, "size": 17}],
        },
        {
            "kind": "build",
            "name": "DepthwiseSeparableConv",
            "index": 3,
            "arguments": {"in_channels": 5, "out_channels": 20, "kernel_size": 3, "stride": 1, "padding": 3},
            "channels": 5,
            "exports": [{"training": False, "size": 17}],
        },
    ],
    "04_modern_cnn": [
        {
            "kind": "build",
            "name": "ModernCNN",
            "index": 0,
            "arguments": {},
            "channels": 3,
            "exports": [
                {"training": False, "size": 32},
                {"training": False, "size": 64},
                {"training": True, "size": 32},
            ],
        },
        {
            "kind": "build",
            "name": "ModernCNN",
            "index": 1,
            "arguments": {"num_classes": 19},
            "channels": 3,
            "exports": [{"training": False, "size": 32}],
        },
        {"kind": "sample", "name": "train_transform", "group": "natural", "draws": 32},
        {"kind": "sample", "name": "train_transform", "group": "fine_1", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "fine_2", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "fine_3", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "fine_4", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "fine_5", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "fine_6", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "coarse_1", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "coarse_2", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "coarse_3", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "coarse_4", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "coarse_5", "draws": 4},
        {"kind": "sample", "name": "train_transform", "group": "coarse_6", "draws": 4},
        {"kind": "sample", "name": "test_transform", "group": "natural", "draws": 8},
        {"kind": "sample", "name": "test_transform", "group": "full_range", "draws": 8},
        {"kind": "sample", "name": "test_transform", "group": "dark", "draws": 8},
        {"kind": "sample", "name": "test_transform", "group": "low_contrast", "draws": 8},
        {"kind": "sample", "name": "test_transform", "group": "fine_1", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "fine_2", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "fine_3", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "fine_4", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "fine_5", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "fine_6", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "coarse_1", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "coarse_2", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "coarse_3", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "coarse_4", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "coarse_5", "draws": 1},
        {"kind": "sample", "name": "test_transform", "group": "coarse_6", "draws": 1},
    ],
}

_CHECKS = (  # cell, grader, check, title, the checks that it depends on, and how public it is
    ("output-size-worked", "test_output_size", "test_worked_output_size", "", (), "own words"),
    ("output-size-worked", "test_output_size", "test_worked_same_padding", "", (), "own words"),
    ("output-size-function", "test_output_size", "test_plain_case", "", (), "own words"),
    ("output-size-function", "test_output_size", "test_padding", "", ("test_plain_case",), "own words"),
    ("output-size-function", "test_output_size", "test_floor", "", ("test_plain_case",), "own words"),
    ("output-size-function", "test_output_size", "test_dilation", "", ("test_plain_case",), "own words"),
    (
        "output-size-function",
        "test_output_size",
        "test_agrees_with_conv2d",
        "",
        ("test_plain_case", "test_padding", "test_dilation"),
        "own words",
    ),
    ("output-size-function", "test_output_size", "test_value_error", "", ("test_plain_case",), "own words"),
    (
        "deeper-cnn-tests",
        "test_deeper_cnn",
        "test_logits",
        "Gives logits (N, num_classes), for any num_classes",
        (),
        "public",
    ),
    (
        "deeper-cnn-tests",
        "test_deeper_cnn",
        "test_any_batch_size",
        "Any batch size works, one image included, and images do not influence one another",
        (),
        "public",
    ),
    (
        "deeper-cnn-tests",
        "test_deeper_cnn",
        "test_weights_learn",
        "Every convolution and linear weight is registered and receives gradient",
        (),
        "public",
    ),
    (
        "deeper-cnn-tests",
        "test_deeper_cnn",
        "test_four_blocks",
        "Four blocks, which end with 32, 64, 128 and 256 channels",
        (),
        "public",
    ),
    ("deeper-cnn-tests", "test_deeper_cnn", "test_batch_norm", "Batch norm in every block", (), "public"),
    ("deeper-cnn-tests", "test_deeper_cnn", "test_blocks_halve", "“Each block halves height and width”", (), "hidden"),
    (
        "deeper-cnn-tests",
        "test_deeper_cnn",
        "test_other_image_size",
        "64×64 images work, by global average pooling and one linear classifier",
        (),
        "public",
    ),
    (
        "deeper-cnn-tests",
        "test_deeper_cnn",
        "test_raw_logits_and_dropout",
        "Raw logits; dropout before the classifier in training, off in evaluation",
        (),
        "public",
    ),
    (
        "depthwise-separable-tests",
        "test_depthwise_separable",
        "test_output_shapes",
        "Output shapes follow channels, kernel size, stride and padding",
        (),
        "public",
    ),
    (
        "depthwise-separable-tests",
        "test_depthwise_separable",
        "test_first_is_depthwise",
        "The first convolution is depthwise: each channel has a kernel of its own",
        (),
        "public",
    ),
    (
        "depthwise-separable-tests",
        "test_depthwise_separable",
        "test_second_is_pointwise",
        "The second convolution is 1×1 and mixes all channels",
        (),
        "public",
    ),
    (
        "depthwise-separable-tests",
        "test_depthwise_separable",
        "test_weight_ratio",
        "how many weights the convolutions have",
        ("test_first_is_depthwise", "test_second_is_pointwise"),
        "hidden",
    ),
    (
        "depthwise-separable-tests",
        "test_depthwise_separable",
        "test_trains",
        "Both convolutions are registered and receive gradient",
        (),
        "public",
    ),
    ("depthwise-count", "test_depthwise_separable", "test_standard_weights", "", (), "own words"),
    ("depthwise-count", "test_depthwise_separable", "test_separable_weights", "", (), "own words"),
    (
        "modern-cnn-architecture",
        "test_modern_cnn",
        "test_logits",
        "Gives raw logits (N, num_classes), for any num_classes and any batch size",
        (),
        "public",
    ),
    (
        "modern-cnn-architecture",
        "test_modern_cnn",
        "test_residual_blocks",
        "At least two residual blocks: a value is added to what convolutions computed from it",
        (),
        "public",
    ),
    (
        "modern-cnn-architecture",
        "test_modern_cnn",
        "test_batch_norm",
        "Batch norm in the residual network, one for each place",
        (),
        "public",
    ),
    (
        "modern-cnn-architecture",
        "test_modern_cnn",
        "test_other_image_size",
        "64×64 images work, by global average pooling",
        (),
        "public",
    ),
    (
        "modern-cnn-architecture",
        "test_modern_cnn",
        "test_weights_learn",
        "Every convolution and linear weight is registered and receives gradient, the stem included",
        (),
        "public",
    ),
    (
        "modern-cnn-architecture",
        "test_modern_cnn",
        "test_loss_falls",
        "“The loss falls in a few optimiser steps on a small batch”",
        (),
        "hidden",
    ),
    (
        "modern-cnn-augmentation",
        "test_modern_cnn",
        "test_training_varies",
        "`train_transform` varies an image from draw to draw",
        (),
        "public",
    ),
    (
        "modern-cnn-augmentation",
        "test_modern_cnn",
        "test_training_gives_float",
        "`train_transform` gives a float tensor (3, 32, 32)",
        (),
        "public",
    ),
    (
        "modern-cnn-augmentation",
        "test_modern_cnn",
        "test_testing_does_not_vary",
        "`test_transform` does not vary",
        (),
        "public",
    ),
    (
        "modern-cnn-augmentation",
        "test_modern_cnn",
        "test_both_normalise_alike",
        "Both transforms normalise alike",
        (),
        "public",
    ),
    ("modern-cnn-accuracy", "test_modern_cnn", "test_accuracy", "", (), "own words"),
)

_TOOLS = {
    "Build": "_kit_judging_evidence",
    "CallEvidence": "_kit_judging_evidence",
    "Collector": "_kit_worker_collect",
    "Convolution": "_kit_graphs_analysis_layers",
    "Gradients": "_kit_graphs_runner",
    "GradientStats": "_kit_graphs_runner",
    "Graph": "_kit_worker_interpreter",
    "GraphError": "_kit_worker_interpreter",
    "GraphRefused": "_kit_graphs_model_graph",
    "GraphShapes": "_kit_graphs_runner",
    "Loaded": "_kit_worker_graph_requests",
    "Network": "_kit_graders_networks",
    "NotANormalisation": "_kit_judging_normalisation",
    "Problem": "_kit_judging_problems",
    "RunnerProblem": "_kit_graphs_runner_process",
    "SEED": "_kit_worker_graph_requests",
    "Sample": "_kit_judging_evidence",
    "Samples": "_kit_judging_evidence",
    "Value": "_kit_judging_evidence",
    "_loss": "_kit_worker_graph_requests",
    "_trainable_copy": "_kit_worker_graph_requests",
    "call_flexibly": "_kit_worker_collect",
    "channels_seen": "_kit_graders_test_depthwise_separable",
    "describe_result": "_kit_graders_answers",
    "estimate": "_kit_worker_graph_costs",
    "execute": "_kit_worker_interpreter",
    "expect_alive": "_kit_graders_networks",
    "expect_within_budget": "_kit_graders_checkpoint_accuracy",
    "graph_from_wire": "_kit_graphs_wire",
    "graph_to_wire": "_kit_graphs_wire",
    "name_tensors": "_kit_judging_weight_names",
    "normalisation_of": "_kit_graders_checkpoint_accuracy",
    "probe_image": "_kit_judging_probe_images",
    "read_state_dict": "_kit_worker_checkpoint",
    "whole_number": "_kit_graders_answers",
}  # what the kit itself uses of the programs below, and of which

_GRADERS = {  # programs, run when a public check first needs them
    "_kit_core_probes": r"""
from __future__ import annotations

OF_EACH_TEXTURE = 6

FINE = tuple(f"fine_{number}" for number in range(1, OF_EACH_TEXTURE + 1))

COARSE = tuple(f"coarse_{number}" for number in range(1, OF_EACH_TEXTURE + 1))

TEXTURES = (*FINE, *COARSE)  # they differ in nothing but how fine their detail is
""",
    "_kit_core_remarks": r'''
from __future__ import annotations

MOST_REMARK = 500  # characters of one

def clipped(text: str, most: int = MOST_REMARK) -> str:
    """The text, cut where it is longer than anybody reads."""
    return text if len(text) <= most else f"{text[:most]} …"
''',
    "_kit_core_source_lines": r"""
from __future__ import annotations

LINES_PER_CELL = 100_000  # as in worker/cells.py
""",
    "_kit_judging_evidence": r'''
from __future__ import annotations
from dataclasses import dataclass
import builtins

EXPORTED_BATCH = 4  # images, as in worker/collect.py; a graph whose code fixes the batch fixes it to this one

@dataclass(frozen=True)
class Value:
    """A plain value: `kind` is int, float, bool, str, none or other (then `value` names the type).

    `origin` says whether it was a Python, NumPy or torch scalar.
    """

    kind: str
    value: int | float | bool | str | None
    origin: str = "python"

@dataclass(frozen=True)
class CallEvidence:
    """One call of a student's function: the arguments (the grader's own) and what came back. `drawn`: the arguments
    come from the course's secret."""

    arguments: Mapping[str, Any]
    result: Result
    drawn: bool = False

@dataclass(frozen=True)
class Build:
    """A module built with `arguments`: its exports by (training, image size), all over one set of tensors.

    `tensors` is a safetensors file with keys t0…tn, as the graphs name them. `problem` is set where the module could
    not even be built; then there are no graphs. `drawn`: the arguments come from the course's secret. `adapted` names
    the dtype that the module had before it was made to take float32 images.
    """

    arguments: Mapping[str, Any]
    graphs: Mapping[tuple[bool, int], ModelGraph | Problem]
    tensors: bytes = b""
    problem: Problem | None = None
    drawn: bool = False
    adapted: str = ""

@dataclass(frozen=True)
class Sample:
    """One output of a transform. `array` is float32 of `shape`, None where it was no tensor or too large."""

    type: str
    dtype: str
    shape: tuple[int, ...]
    array: Array | None

@dataclass(frozen=True)
class Samples:
    """All outputs of a transform for one probe image (H, W, 3) uint8; `form` is how it was given: PIL or tensor.

    `stand_in`: other data than the student's stood in for a data set when the notebook ran.
    """

    outputs: Sequence[Sample]
    image: Array
    form: str = "PIL"
    problem: Problem | None = None
    stand_in: bool = False

def python_name(kind: str) -> str:
    """The name of an exception as Python has it: a student's own name may hold anything."""
    builtin = kind.rstrip(")").rpartition("(")[2]
    known = getattr(builtins, builtin, None)
    return builtin if isinstance(known, type) and issubclass(known, BaseException) else "an exception"
''',
    "_kit_judging_problems": r'''
from __future__ import annotations
from dataclasses import dataclass

@dataclass(frozen=True)
class Problem:
    """Why a piece of evidence is missing: the status a check gets, and the student's cell and line where known.

    `type` names the exception, `raised` the one that a module's forward raised. `cause` and `detail` are the worker's
    words for what judging/causes.py has sentences for. `returned` says what forward gave in place of one tensor, in the
    words of RETURNED.
    """

    status: Status
    message: str
    type: str = ""
    cell: int = 0
    line: int = 0
    raised: str = ""
    cause: str = ""
    detail: str = ""
    returned: str = ""
''',
    "_kit_graders_answers": r'''
from __future__ import annotations
from _kit_judging_evidence import python_name
from _kit_judging_problems import Problem

def evidence_for(kind: Mapping[str, Found], name: str) -> Found:
    """One name's evidence. Every probe of the plan leaves some, so its absence is the fault of the configuration."""
    if name not in kind:
        raise KeyError(f"grader_config.py declares no probe {name!r}")
    return kind[name]

def whole_number(value: Value) -> int | None:
    """The integer that a value equals, None where it is no number, a fraction, or a truth value."""
    if value.kind not in ("int", "float") or isinstance(value.value, str) or value.value is None:
        return None
    return int(value.value) if float(value.value).is_integer() else None

def describe_result(value: Result) -> str:
    """A value by its kind only: what it is may tell which number was asked for."""
    if isinstance(value, Problem):
        return python_name(value.type) if value.type else value.status.value
    kinds = {"bool": "True or False", "none": "None (is the `return` missing?)", "str": "text in quotes"}
    if value.kind == "float":
        return "a number with decimals" if whole_number(value) is None else "a float"
    return kinds.get(value.kind, f"a value of {value_kind(value)}" if value.kind == "other" else "a whole number")

def value_kind(value: Value) -> str:
    """The type of a value that is no number; of one that was made with secret numbers it is not told."""
    return f"type {value.value}" if value.value else "another type"
''',
    "_kit_graders_transforms": r'''
from __future__ import annotations
from _kit import CheckEnded
from _kit import Status
from _kit import answered
from _kit import expect
from _kit import fail
from _kit_core_probes import COARSE
from _kit_core_probes import FINE
from _kit_graders_answers import evidence_for
import numpy as np

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
''',
    "_kit_graphs_model_graph": r'''
from __future__ import annotations
from dataclasses import dataclass
import math

class GraphRefused(ValueError):
    """A graph that is malformed or not allowed; the message is for the student, `line` is 0 where unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line

@dataclass(frozen=True)
class Ref:
    """A reference to an earlier node's value."""

    index: int

@dataclass(frozen=True)
class DType:
    """A dtype as an argument, e.g. DType("float32")."""

    name: str

@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a module.

    kind: "parameter" (registered, trainable), "frozen" (registered, requires_grad=False), "buffer", or "constant": a
    tensor that the state dict does not hold, such as one in a plain Python list. Tied weights share their key.
    """

    kind: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    key: str

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

@dataclass(frozen=True)
class Region:
    """A `with` block around nodes: "grad" (setting: enabled) or "autocast" (dtype, setting: enabled)."""

    parent: int
    kind: str
    setting: bool
    dtype: str = ""

@dataclass(frozen=True)
class Node:
    """One step of a graph.

    kind: "input", "tensor", "call" or "output". `args` are bound by the operation's schema, defaults included. `line`
    is the student's line (see decode_line), 0 where unknown. `grad` is False inside `torch.no_grad()`.
    """

    index: int
    kind: str
    operation: str = ""
    args: tuple[Value, ...] = ()
    line: int = 0
    region: int = 0
    grad: bool = True
    tensor: int = -1

    @property
    def inputs(self) -> tuple[int, ...]:
        """The nodes whose values this node takes, in order, each as often as it occurs."""
        return tuple(references(self.args))

@dataclass(frozen=True, eq=False)
class ModelGraph:
    """One export of a module: nodes in execution order, each referring to earlier ones only. Compared by identity.

    batch: None where any batch size works, else the one size that the student's code fixes. input_shape: (N, C, H, W)
    of the example it was exported with.
    """

    nodes: tuple[Node, ...]
    tensors: tuple[TensorInfo, ...]
    regions: tuple[Region, ...]
    training: bool
    batch: int | None
    input_shape: tuple[int, ...]

    @property
    def output(self) -> int:
        """Index of the node whose value the graph returns."""
        value = self.nodes[-1].args[0]
        assert isinstance(value, Ref)  # the parser made it so
        return value.index

    @property
    def input(self) -> int:
        """Index of the input node."""
        return next(node.index for node in self.nodes if node.kind == "input")

def references(value: Value) -> list[int]:
    """The nodes that a value refers to, in order, each as often as it occurs."""
    if isinstance(value, Ref):
        return [value.index]
    return [index for item in value for index in references(item)] if isinstance(value, tuple) else []
''',
    "_kit_graphs_operations": r'''
from __future__ import annotations
from _kit import _TABLE
from dataclasses import dataclass
import re

@dataclass(frozen=True)
class Operation:
    """One overload: the kinds of its arguments and of its results, spelled as in the table."""

    name: str
    kinds: tuple[str, ...]
    returns: tuple[str, ...]

def _parse(line: str) -> Operation:
    match = re.fullmatch(r"([\w.]+)\((.*)\) -> (.+)", line)
    if match is None:
        raise ValueError(f"not a line of the table of operations: {line!r}")
    name, kinds, returns = match.groups()
    return Operation(name, tuple(kinds.split(", ")), tuple(returns.split(", ")))

OPERATIONS = {operation.name: operation for operation in map(_parse, _TABLE.strip().splitlines())}

# Arithmetic on symbolic sizes (the batch). No powers, no shifts: they make huge integers out of small ones.
SIZE_OPERATIONS = frozenset(f"operator.{name}" for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg"))

GETITEM = "operator.getitem"

DROPOUTS = frozenset(name for name in OPERATIONS if re.match(r"aten\.\w*dropout", name))

# Noise has a place in training only (stochastic depth, noise layers); dropout brings its own flag.
RANDOM = frozenset(
    name for name in OPERATIONS if re.match(r"aten\.(bernoulli|rand|randn|randint|uniform|normal)(_|_like)?\.", name)
)

# What torch's own layers draw their first weights with.
WEIGHT_STARTS = frozenset({"aten.uniform_.default", "aten.normal_.default"})

CONVOLUTIONS = frozenset(name for name in OPERATIONS if name.startswith("aten.conv"))

# The only strings that an operation takes, by operation; None stands where the argument is optional.
TEXTS: dict[str, frozenset[str | None]] = {
    "aten.conv1d.padding": frozenset({"same", "valid"}),
    "aten.conv2d.padding": frozenset({"same", "valid"}),
    "aten.conv3d.padding": frozenset({"same", "valid"}),
    "aten.gelu.default": frozenset({"none", "tanh"}),
    "aten.gelu_.default": frozenset({"none", "tanh"}),
    "aten.div.Tensor_mode": frozenset({None, "floor", "trunc"}),
    "aten.pad.default": frozenset({"constant", "reflect", "replicate", "circular"}),
    "aten.meshgrid.indexing": frozenset({"ij", "xy"}),
}

EINSUM = "aten.einsum.default"

EINSUM_EQUATION = re.compile(r"[A-Za-z., ]{1,100}(-> ?[A-Za-z. ]{0,50})?")
''',
    "_kit_graphs_analysis_flow": r'''
from __future__ import annotations
from _kit_graphs_model_graph import GraphRefused
from _kit_graphs_model_graph import Ref
from _kit_graphs_model_graph import references
from _kit_graphs_operations import CONVOLUTIONS
from _kit_graphs_operations import GETITEM
from _kit_graphs_operations import OPERATIONS
from dataclasses import dataclass
from dataclasses import replace
from functools import lru_cache
import math

class TooTangled(GraphRefused):
    """A graph whose examination would take more steps than it may; the message is for the student."""

def names(text: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" if "." in name else f"aten.{name}.default" for name in text.split())

# One value in, one of the same shape out, every entry from the same entry (or, for norms, its statistics).
ACTIVATIONS = names(
    "relu relu_ relu6 relu6_ gelu gelu_ silu silu_ leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ hardswish "
    "hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_ mish mish_ softplus prelu rrelu rrelu_ sigmoid sigmoid_ "
    "tanh tanh_ log_sigmoid threshold threshold_ softshrink hardshrink clamp clamp_ clamp_min clamp_min_ clamp_max "
    "clamp_max_ clip clip_ softmax.int log_softmax.int abs abs_ square square_ exp exp_"
)

NORMS = names("batch_norm group_norm layer_norm instance_norm rms_norm")

COPIES = names(
    "clone contiguous alias lift_fresh_copy to.dtype to.dtype_layout to.device to.other type_as detach neg nan_to_num"
)

RESHAPES = names(
    "view reshape view_as reshape_as flatten.using_ints unflatten.int ravel squeeze squeeze.dim squeeze.dims squeeze_ "
    "squeeze_.dim unsqueeze unsqueeze_ permute transpose.int swapaxes swapdims movedim.int movedim.intlist "
    "moveaxis.int moveaxis.intlist t numpy_T mT expand expand_as broadcast_to channel_shuffle flip roll"
)

POOLS = names(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
)

REDUCTIONS = names(
    "mean mean.dim sum sum.dim_IntList amax amin max.dim min.dim logsumexp linalg_vector_norm norm.ScalarOpt_dim "
    "median.dim"
)

RESIZES = names(
    "slice.Tensor narrow select.int index.Tensor index_select pad cat concat concatenate upsample_nearest2d.vec "
    "upsample_bilinear2d.vec upsample_bicubic2d.vec _upsample_nearest_exact2d.vec pixel_unshuffle pixel_shuffle "
    "split.Tensor split_with_sizes split.sizes chunk copy_ index_put_"
) | {GETITEM}

SCALINGS = names("mul.Tensor mul_.Tensor div.Tensor div_.Tensor mul.Scalar div.Scalar sub.Tensor sub.Scalar")

PRODUCTS = names("mul.Tensor mul_.Tensor")

ADDITIONS = names("add.Tensor add_.Tensor")

MATRIX_PRODUCTS = names("linear matmul mm mv addmm einsum tensordot inner")

_STOPS = names("detach argmax argmin")  # gradients end here

# Only the shape of their argument is used, not its values.
SHAPE_ONLY = names(
    "zeros_like ones_like full_like rand_like randn_like new_zeros new_ones new_full sym_size.int sym_numel"
)

AVERAGES = names(
    "mean mean.dim sum sum.dim_IntList adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d "
    "avg_pool2d avg_pool3d"
)

MAXIMA = names(
    "amax max.dim adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool1d max_pool2d max_pool3d "
    "max_pool2d_with_indices"
)

OUTPUT_ACTIVATIONS = ACTIVATIONS | names("glu")

def first(node: Node) -> int:
    """The node of the first argument."""
    return node.inputs[0]

@dataclass(frozen=True)
class _Readings:
    """A graph in which in-place writes are made functional; `wholes`: write -> the value that it changes."""

    graph: ModelGraph
    wholes: Mapping[int, int]

def without_in_place_writes(graph: ModelGraph, shapes: Shapes) -> tuple[ModelGraph, Shapes]:
    """The graph in which a reader refers to the last write into what it reads, and the shapes of its values.

    After `y[:, :8] = x` the graph that runs goes on with y, which does not say that x has become part of it; here it
    goes on with the write, which takes both, and has y's shape. Of a graph without writes nothing changes.
    """
    readings = _readings(graph)
    if not readings.wholes:
        return graph, shapes
    adapted = list(shapes)
    for write, whole in readings.wholes.items():
        if math.prod(adapted[write] or ()) != math.prod(adapted[whole] or ()):  # a part of it was written
            adapted[write] = adapted[whole]
    return readings.graph, adapted

@lru_cache(maxsize=64)
def _readings(graph: ModelGraph) -> _Readings:
    parents: list[int | None] = []  # the value whose memory a view shows
    newer: dict[int, int] = {}  # value -> the write that took its place
    wholes: dict[int, int] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        read = replace(node, args=tuple(_newest_in(value, newer) for value in node.args)) if newer else node
        nodes.append(read)
        written, shown = _memory(read)
        parents.append(shown)
        place = written
        while place is not None:  # all that contain what is written; a view of another part keeps its value
            place = _newest(place, newer)
            wholes[node.index], newer[place], place = place, node.index, parents[place]
    changed = any(new.args != old.args for new, old in zip(nodes, graph.nodes, strict=True))
    return _Readings(replace(graph, nodes=tuple(nodes)), wholes) if changed else _Readings(graph, {})

def _memory(node: Node) -> tuple[int | None, int | None]:
    """The value that a node writes into, and the value of which it is a view; None where there is none."""
    if node.operation == GETITEM:
        return None, first(node)
    operation = OPERATIONS.get(node.operation)
    for kind, value in zip(operation.kinds, node.args, strict=False) if operation else ():
        found = references(value) if kind[-1] in "!&" else []
        if found:
            return (found[0], None) if kind[-1] == "!" else (None, found[0])
    return None, None

def _newest(index: int, newer: dict[int, int]) -> int:
    """The last write that took the place of a value, or the value itself; long ways are shortened for the next."""
    way = []
    while index in newer:
        way.append(index)
        index = newer[index]
    newer.update(dict.fromkeys(way, index))
    return index

def _newest_in(value: Value, newer: dict[int, int]) -> Value:
    if isinstance(value, Ref):
        return Ref(_newest(value.index, newer))
    return tuple(_newest_in(item, newer) for item in value) if isinstance(value, tuple) else value

@lru_cache(maxsize=64)
def carries_data(graph: ModelGraph) -> tuple[bool, ...]:
    """Per node: its value is computed from the images' values."""
    graph = _readings(graph).graph
    carries: list[bool] = []
    for node in graph.nodes:
        alive = node.kind == "input" or (node.operation not in SHAPE_ONLY and any(carries[i] for i in node.inputs))
        carries.append(alive)
    return tuple(carries)

@lru_cache(maxsize=64)
def users_of(graph: ModelGraph) -> tuple[tuple[int, ...], ...]:
    """Per node: the nodes that take its values."""
    users: list[list[int]] = [[] for _ in graph.nodes]
    for node in graph.nodes:
        for i in dict.fromkeys(node.inputs):
            if node.operation not in SHAPE_ONLY:
                users[i].append(node.index)
    return tuple(tuple(entry) for entry in users)

@lru_cache(maxsize=64)
def data_path(graph: ModelGraph) -> tuple[int, ...]:
    """Nodes on a path from the input to the output, in order."""
    carries, needed = carries_data(graph), {graph.output}
    for node in reversed(graph.nodes):
        if node.index in needed and node.operation not in SHAPE_ONLY:
            needed.update(node.inputs)
    return tuple(i for i in sorted(needed) if carries[i])

@lru_cache(maxsize=64)
def trunk_of(graph: ModelGraph, path: tuple[int, ...]) -> tuple[int, ...]:
    """Nodes that every path goes through: no value from before them is used after them."""
    on_path, users = set(path), users_of(graph)
    trunk, furthest = [], 0
    for i in path:
        if furthest <= i:
            trunk.append(i)
        furthest = max([furthest, *(u for u in users[i] if u in on_path)])
    return tuple(trunk)

def passes_gradient(node: Node) -> bool:
    return node.grad and node.operation not in _STOPS

@dataclass(frozen=True)
class Reach:
    """Per node, as bits of an integer: the nodes whose data it is computed from, and those computed from it.

    Integers, since a set per node would take minutes and gigabytes for a graph made to do so.
    """

    ancestors: tuple[int, ...]
    descendants: tuple[int, ...]

@lru_cache(maxsize=8)
def reach(graph: ModelGraph, differentiable: bool) -> Reach:
    """Who depends on whom; with `differentiable`, only where gradients pass. A node reaches itself."""
    carries = carries_data(graph)
    ancestors: list[int] = []
    descendants = [1 << i for i in range(len(graph.nodes))]
    sources: list[list[int]] = []
    for node in graph.nodes:
        open_to_gradients = passes_gradient(node) or not differentiable
        usable = carries[node.index] and node.kind == "call" and open_to_gradients
        sources.append([i for i in node.inputs if carries[i]] if usable else [])
        mask = 1 << node.index
        for i in sources[-1]:
            mask |= ancestors[i]
        ancestors.append(mask)
    for index in reversed(range(len(graph.nodes))):
        for i in sources[index]:
            descendants[i] |= descendants[index]
    return Reach(tuple(ancestors), tuple(descendants))

@lru_cache(maxsize=8)
def tensor_masks(graph: ModelGraph, differentiable: bool) -> tuple[int, ...]:
    """Per node, as bits: the numbers of the tensors that it is computed from (and that gradients would reach)."""
    masks: list[int] = []
    for node in graph.nodes:
        mask = 1 << node.tensor if node.kind == "tensor" else 0
        if node.operation not in SHAPE_ONLY and (not differentiable or passes_gradient(node)):
            for i in node.inputs:
                mask |= masks[i]
        masks.append(mask)
    return tuple(masks)

@lru_cache(maxsize=8)
def kind_masks(graph: ModelGraph) -> Mapping[str, int]:
    """Per kind of tensor, as bits: the numbers of the tensors of that kind."""
    masks: dict[str, int] = {}
    for number, tensor in enumerate(graph.tensors):
        masks[tensor.kind] = masks.get(tensor.kind, 0) | 1 << number
    return masks

@lru_cache(maxsize=8)
def convolution_mask(graph: ModelGraph) -> int:
    carries = carries_data(graph)
    return sum(1 << n.index for n in graph.nodes if n.operation in CONVOLUTIONS and carries[first(n)])
''',
    "_kit_graphs_analysis_layers": r'''
from __future__ import annotations
from _kit_graphs_analysis_flow import COPIES
from _kit_graphs_analysis_flow import MATRIX_PRODUCTS
from _kit_graphs_analysis_flow import RESHAPES
from _kit_graphs_analysis_flow import carries_data
from _kit_graphs_analysis_flow import first
from _kit_graphs_analysis_flow import kind_masks
from _kit_graphs_analysis_flow import names
from _kit_graphs_analysis_flow import passes_gradient
from _kit_graphs_analysis_flow import tensor_masks
from _kit_graphs_analysis_flow import without_in_place_writes
from _kit_graphs_model_graph import Ref
from _kit_graphs_model_graph import references
from _kit_graphs_operations import CONVOLUTIONS
from _kit_graphs_operations import DROPOUTS
from dataclasses import dataclass
import math

_MOST_COPIES = 64  # looked through between a layer and its weight

class Weighted:
    """What a layer with a weight can say of it: where the weight comes from, and whether it learns.

    `data` is the node of the value that it works on, wherever that stands among its arguments; `weight_node` that of
    the weight. `weight_kinds` are the kinds of all tensors (see TensorInfo) that the weight is computed from,
    `trainable_kinds` of those that gradients reach.
    """

    data: int
    weight_node: int
    weight_kinds: frozenset[str]
    trainable_kinds: frozenset[str]
    takes_gradient: bool  # False under `torch.no_grad()`

    @property
    def is_registered(self) -> bool:
        """The weight comes from the module's parameters, not from a plain tensor."""
        return bool(self.weight_kinds & {"parameter", "frozen"})

    @property
    def is_trainable(self) -> bool:
        """Gradients reach a parameter behind the weight."""
        return "parameter" in self.trainable_kinds

@dataclass(frozen=True)
class Convolution(Weighted):
    """One convolution as it runs. kernel, stride, padding and dilation have one entry per spatial dimension.

    `weight` is None where it is computed (weight norm, standardised weights).
    """

    node: int
    data: int
    weight_node: int
    operation: str
    in_channels: int
    out_channels: int
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int
    transposed: bool
    weight: TensorInfo | None
    weight_kinds: frozenset[str]
    trainable_kinds: frozenset[str]
    takes_gradient: bool
    bias: TensorInfo | None
    weight_count: int
    input_shape: Shape
    output_shape: Shape
    line: int

    @property
    def is_depthwise(self) -> bool:
        """Every input channel is filtered alone."""
        return self.groups == self.in_channels

    @property
    def is_pointwise(self) -> bool:
        """1×1 and mixing all channels."""
        return self.groups == 1 and set(self.kernel) == {1}

@dataclass(frozen=True)
class Linear(Weighted):
    """One linear layer: a value that carries data times a weight that does not.

    `axis` is the axis of the input that is summed over: the features, or the channels where it mixes those of a map.
    """

    node: int
    data: int
    weight_node: int
    operation: str
    axis: int
    in_features: int
    out_features: int
    weight: TensorInfo | None
    weight_kinds: frozenset[str]
    trainable_kinds: frozenset[str]
    takes_gradient: bool
    bias: TensorInfo | None
    input_shape: Shape
    output_shape: Shape
    line: int

@dataclass(frozen=True)
class BatchNorm:
    """One batch normalisation, by a module or by F.batch_norm. `training`: normalises by the batch at hand."""

    node: int
    channels: int
    training: bool
    weight: TensorInfo | None
    bias: TensorInfo | None
    running_mean: TensorInfo | None
    running_var: TensorInfo | None
    line: int

@dataclass(frozen=True)
class Dropout:
    """One dropout of any kind; `active` where it draws noise in this graph."""

    node: int
    probability: float
    active: bool
    line: int

def parameter_count(graph: ModelGraph, trainable_only: bool = False) -> int:
    """Number of parameters; tied ones count once."""
    kinds = {"parameter"} if trainable_only else {"parameter", "frozen"}
    return sum({tensor.key: tensor.numel for tensor in graph.tensors if tensor.kind in kinds}.values())

def stored_numbers(graph: ModelGraph) -> int:
    """How many numbers a network stores: in parameters, buffers and constants, but for the counters of batch norms."""
    kept = {tensor.key: tensor.numel for tensor in graph.tensors if not _is_counter(tensor)}
    return sum(kept.values())

def _is_counter(tensor: TensorInfo) -> bool:
    return tensor.dtype == "int64" and not tensor.shape

def convolutions(graph: ModelGraph, shapes: Shapes) -> tuple[Convolution, ...]:
    """All convolutions of values that carry data, in the order in which they run."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries = carries_data(graph)
    found = [node for node in graph.nodes if node.operation in CONVOLUTIONS and carries[first(node)]]
    return tuple(_convolution(graph, shapes, node) for node in found)

def linears(graph: ModelGraph, shapes: Shapes) -> tuple[Linear, ...]:
    """All linear layers (linear, matrix products, einsum with a weight) in the order in which they run."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries = carries_data(graph)
    layers = []
    for node in graph.nodes:
        if node.operation in MATRIX_PRODUCTS and carries[node.index]:
            data = [i for i in _operands(node) if carries[i]]
            weights = [i for i in _operands(node) if not carries[i]]
            if len(data) == 1 and len(weights) == 1:
                layers.append(_linear(graph, shapes, node, data[0], weights[0]))
    return tuple(layers)

def batch_norms(graph: ModelGraph, shapes: Shapes) -> tuple[BatchNorm, ...]:
    """All batch normalisations of values that carry data. One written out by hand is not recognised as one."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries = carries_data(graph)
    found = []
    for node in graph.nodes:
        if node.operation == "aten.batch_norm.default" and carries[node.index]:
            weight, bias, mean, var = (_tensor_of(graph, value) for value in node.args[1:5])
            shape = shapes[first(node)] or ()
            channels = shape[1] if len(shape) > 1 else 0
            training = node.args[5] is True
            found.append(BatchNorm(node.index, channels, training, weight, bias, mean, var, node.line))
    return tuple(found)

def dropouts(graph: ModelGraph, shapes: Shapes) -> tuple[Dropout, ...]:
    """All dropouts, of features and alpha dropout too, of values that carry data."""
    carries = carries_data(graph)
    return tuple(_dropout(n) for n in graph.nodes if n.operation in DROPOUTS and carries[n.index])

def detached(graph: ModelGraph) -> tuple[int, ...]:
    """Nodes that gradients do not pass although data does: `detach`, argmax, anything under `torch.no_grad()`."""
    carries = carries_data(graph)
    return tuple(n.index for n in graph.nodes if carries[n.index] and n.kind == "call" and not passes_gradient(n))

def _tensor_of(graph: ModelGraph, value: Value) -> TensorInfo | None:
    """The tensor that an argument is, seen through copies and casts; None where it is computed, or absent."""
    index = value.index if isinstance(value, Ref) else None
    for _ in range(_MOST_COPIES):
        if index is None or graph.nodes[index].kind == "input":
            return None
        node = graph.nodes[index]
        if node.kind == "tensor":
            return graph.tensors[node.tensor]
        index = node.inputs[0] if node.operation in COPIES | RESHAPES else None
    return None

def _kinds(graph: ModelGraph, index: int, differentiable: bool) -> frozenset[str]:
    """The kinds of the tensors behind a value. As bits: thousands of layers, each of thousands of tensors, would take
    gigabytes as lists."""
    mask = tensor_masks(graph, differentiable)[index]
    return frozenset(kind for kind, own in kind_masks(graph).items() if own & mask)

def _integers(value: Value, count: int) -> Shape:
    """A size argument as one integer per dimension; torch takes one for all."""
    items = value if isinstance(value, tuple) else (value,)
    numbers = tuple(item if isinstance(item, int) else 0 for item in items)
    return numbers * count if len(numbers) == 1 else numbers

def _convolution(graph: ModelGraph, shapes: Shapes, node: Node) -> Convolution:
    weight_index = node.inputs[1]
    input_shape, output_shape = shapes[first(node)] or (), shapes[node.index] or ()
    weight_shape = shapes[weight_index] or ()
    kernel = weight_shape[2:]
    transposed = "transpose" in node.operation
    stride, padding, dilation, groups = _settings(node, kernel, transposed)
    return Convolution(
        node=node.index,
        data=first(node),
        weight_node=weight_index,
        operation=node.operation,
        in_channels=weight_shape[0] if transposed else weight_shape[1] * groups,
        out_channels=weight_shape[1] * groups if transposed else weight_shape[0],
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        transposed=transposed,
        weight=_tensor_of(graph, node.args[1]),
        weight_kinds=_kinds(graph, weight_index, differentiable=False),
        trainable_kinds=_kinds(graph, weight_index, differentiable=True) if node.grad else frozenset(),
        takes_gradient=node.grad,
        bias=_tensor_of(graph, node.args[2]),
        weight_count=math.prod(weight_shape),
        input_shape=input_shape,
        output_shape=output_shape,
        line=node.line,
    )

def _settings(node: Node, kernel: Shape, transposed: bool) -> tuple[Shape, Shape, Shape, int]:
    """Stride, padding, dilation, groups; padding="same" in numbers (of the smaller side where the two differ)."""
    places = (3, 4, 7, 6) if transposed else (3, 4, 5, 6)
    stride, padding, dilation, groups = (node.args[place] for place in places)
    dims = len(kernel)
    spread = _integers(dilation, dims)
    if padding == "same":
        sizes = tuple(d * (k - 1) // 2 for d, k in zip(spread, kernel, strict=True))
    else:
        sizes = (0,) * dims if padding == "valid" else _integers(padding, dims)
    return _integers(stride, dims), sizes, spread, groups if isinstance(groups, int) else 1

def _operands(node: Node) -> list[int]:
    """The two factors of a matrix product."""
    if node.operation == "aten.addmm.default":
        return references(node.args[1:3])
    if node.operation == "aten.einsum.default":
        return references(node.args[1])
    return references(node.args[:2])

def _linear(graph: ModelGraph, shapes: Shapes, node: Node, data: int, weight: int) -> Linear:
    bias: Value = None
    if node.operation == "aten.linear.default":
        bias = node.args[2]
    elif node.operation == "aten.addmm.default":
        bias = node.args[0]
    output_shape, input_shape = shapes[node.index] or (), shapes[data] or ()
    count, axis = math.prod(shapes[weight] or ()), _summed_axis(node, data, input_shape)
    inputs = input_shape[axis] if input_shape else 1
    return Linear(
        node=node.index,
        data=data,
        weight_node=weight,
        operation=node.operation,
        axis=axis,
        in_features=inputs,
        out_features=count // max(inputs, 1),
        weight=_tensor_of(graph, Ref(weight)),
        weight_kinds=_kinds(graph, weight, differentiable=False),
        trainable_kinds=_kinds(graph, weight, differentiable=True) if node.grad else frozenset(),
        takes_gradient=node.grad,
        bias=_tensor_of(graph, bias),
        input_shape=input_shape,
        output_shape=output_shape,
        line=node.line,
    )

def _summed_axis(node: Node, data: int, input_shape: Shape) -> int:
    """The axis of the data operand that a matrix product sums over; 0 or above."""
    last = max(len(input_shape) - 1, 0)
    if node.operation == "aten.einsum.default" and isinstance(node.args[0], str):
        inputs, _, output = node.args[0].replace(" ", "").partition("->")
        own = dict(zip(references(node.args[1]), inputs.split(","), strict=False)).get(data, "")
        summed = [axis for axis, letter in enumerate(own) if letter not in output and inputs.count(letter) > 1]
        return min(summed[0], last) if len(summed) == 1 and "." not in own else last
    if node.operation in names("matmul mm") and references(node.args[:2])[1:] == [data]:
        return max(last - 1, 0)  # weight @ data
    return last

def _dropout(node: Node) -> Dropout:
    probability = node.args[1]
    share = float(probability) if isinstance(probability, (int, float)) else 0.0
    return Dropout(node.index, share, node.args[2] is True and share > 0, node.line)
''',
    "_kit_judging_normalisation": r'''
from __future__ import annotations
from _kit_core_probes import TEXTURES
from dataclasses import dataclass
import numpy as np

# A quarter of a grey level, as a part of the channel's scale. Rounding to half precision moves a normalised value by at
# most an eighth of a level; whatever mixes pixels, or maps bytes along a curve, misses by whole levels.
TOLERANCE = 0.25 / 255

LEAST_SCALE = 1e-6  # per unit of x/255; below it the transform throws the image away

@dataclass(frozen=True)
class Normalisation:
    """What the transform does to a pixel x (0..255) of channel c: `x / 255 * scale[c] + shift[c]`."""

    scale: tuple[float, float, float]
    shift: tuple[float, float, float]

    def describe(self) -> str:
        """For a report: mean and standard deviation as torchvision's Normalize names them."""
        std = [1 / s for s in self.scale]
        mean = [-b / s for s, b in zip(self.scale, self.shift, strict=True)]
        return f"mean {_numbers(mean)}, std {_numbers(std)}"

DEFAULT = Normalisation((2.0, 2.0, 2.0), (-1.0, -1.0, -1.0))  # mean 0.5 and std 0.5, where there is no transform

class NotANormalisation(ValueError):
    """The transform is no single scale and shift per channel; the message is for the student."""

def recover_normalisation(name: str, samples: Mapping[str, Samples]) -> Normalisation:
    """The scale and shift that turn every probe image into what the transform returned for it.

    `samples` must hold the probe image "full_range", from which they are taken (by least squares over all byte values);
    they are then verified on every probe image, but for those that show textures: of one output each, none may be
    without a random flip. Raises NotANormalisation, which says what the
    transform does instead as far as that can be told. Evidence with a problem must have been dealt with before.
    """
    samples = {kind: sample for kind, sample in samples.items() if kind not in TEXTURES}
    drawn = {kind: _outputs(name, sample) for kind, sample in samples.items()}
    pixels = {kind: _pixels(sample) for kind, sample in samples.items()}
    if not all(np.isfinite(output).all() for outputs in drawn.values() for output in outputs):
        raise NotANormalisation(f"`{name}` gives NaN or infinite values")
    # That a transform flips at random is another check's matter; an unflipped draw shows how it normalises.
    plain = next((y for y in drawn["full_range"] if _fits_itself(pixels["full_range"], y)), drawn["full_range"][0])
    scale, shift = _fit(pixels["full_range"], plain)
    if np.abs(scale).min() < LEAST_SCALE:
        raise NotANormalisation(f"`{name}` gives the same value for every pixel: the image is lost")
    if all(any(_fits(pixels[kind], y, scale, shift) for y in outputs) for kind, outputs in drawn.items()):
        return Normalisation(_triple(scale), _triple(shift))
    if any(not np.array_equal(outputs[0], other) for outputs in drawn.values() for other in outputs[1:]):
        raise NotANormalisation(f"`{name}` varies: the same image gives different results, so the accuracy would, too")
    reason = _explain({kind: (pixels[kind], outputs[0]) for kind, outputs in drawn.items()})
    raise NotANormalisation(f"`{name}` {reason}; expected one scale and one shift per channel, nothing else")

def _outputs(name: str, sample: Samples) -> list[_Array]:
    """All outputs as (3, 32, 32) float64. Raises NotANormalisation for another type or shape."""
    height, width = sample.image.shape[:2]
    arrays = []
    for output in sample.outputs:
        if output.type != "tensor":
            found = output.type or "something else"
            raise NotANormalisation(f"`{name}` must give a tensor, it gives {found}: add v2.ToImage() and v2.ToDtype")
        if output.shape != (3, height, width) or output.array is None:
            why = " (greyscale?)" if output.shape == (1, height, width) else ""
            raise NotANormalisation(
                f"`{name}` must keep the image's shape: expected (3, {height}, {width}), got {output.shape}{why}"
            )
        arrays.append(output.array.astype(np.float64))
    return arrays

def _pixels(sample: Samples) -> _Array:
    """The probe image as (3, H, W) in 0..1."""
    pixels: _Array = sample.image.transpose(2, 0, 1).astype(np.float64) / 255
    return pixels

def _fit(x: _Array, y: _Array) -> tuple[_Array, _Array]:
    """Least squares per channel: y = scale * x + shift."""
    x, y = x.reshape(3, -1), y.reshape(3, -1)
    centred = x - x.mean(axis=1, keepdims=True)
    scale = (centred * y).sum(axis=1) / np.maximum((centred**2).sum(axis=1), 1e-12)
    return scale, y.mean(axis=1) - scale * x.mean(axis=1)

def _fits(x: _Array, y: _Array, scale: _Array, shift: _Array) -> bool:
    error = np.abs(y - (x * scale[:, None, None] + shift[:, None, None]))
    # Where the shift is large, float32 itself rounds by more than a fraction of the scale.
    rounding = 1e-6 * (np.abs(scale) + np.abs(shift))
    return bool((error <= (TOLERANCE * np.abs(scale) + rounding)[:, None, None]).all())

def _fits_itself(x: _Array, y: _Array) -> bool:
    return _fits(x, y, *_fit(x, y))

def _explain(pairs: Mapping[str, tuple[_Array, _Array]]) -> str:
    """In a few words, what a transform does that is no normalisation."""
    if all(_fits_itself(x, y) for x, y in pairs.values()):
        return "normalises each image by its own values (its mean, spread or range), so the scale is another each time"
    turned: dict[str, Callable[[_Array], _Array]] = {
        "mirrors the image": lambda x: x[:, :, ::-1],
        "turns the image upside down": lambda x: x[:, ::-1],
        "rotates the image by 180°": lambda x: x[:, ::-1, ::-1],
        "exchanges height and width": lambda x: x.transpose(0, 2, 1),
        "exchanges the colour channels (RGB and BGR)": lambda x: x[::-1],
    }
    for what, turn in turned.items():
        if all(_fits_itself(turn(x), y) for x, y in pairs.values()):
            return what
    if all(_mixes_channels(x, y) for x, y in pairs.values()):
        return "mixes the colour channels (greyscale, hue or saturation)"
    if all(_is_pointwise(x, y) for x, y in pairs.values()):
        return "maps brightness along a curve (gamma, contrast, solarise, posterise) instead of a straight line"
    return "changes more than brightness: a pixel of the result depends on other pixels (resize, crop, blur, erase, …)"

def _mixes_channels(x: _Array, y: _Array) -> bool:
    """Whether each output channel is one linear combination of the three input channels of the same pixel."""
    inputs = np.concatenate([x.reshape(3, -1), np.ones((1, x[0].size))])
    weights, *_ = np.linalg.lstsq(inputs.T, y.reshape(3, -1).T, rcond=None)
    error = np.abs(inputs.T @ weights - y.reshape(3, -1).T).max()
    # Greyscale is rounded to whole grey levels before it is normalised.
    return bool(error <= 1.5 / 255 * np.abs(weights[:3]).sum(axis=0).max())

def _is_pointwise(x: _Array, y: _Array) -> bool:
    """Whether, within the image, equal input values of a channel give equal outputs."""
    for channel_in, channel_out in zip(x.reshape(3, -1), y.reshape(3, -1), strict=True):
        spread = max(float(np.ptp(channel_out)), 1e-12)
        for value in np.unique(channel_in):
            if np.ptp(channel_out[channel_in == value]) > 1e-3 * spread:
                return False
    return True

def _triple(values: _Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])

def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
''',
    "_kit_graders_checkpoint_accuracy": r'''
from __future__ import annotations
from _kit import answered
from _kit import expect
from _kit import fail
from _kit_graders_answers import evidence_for
from _kit_graders_transforms import TEST
from _kit_graphs_analysis_layers import parameter_count
from _kit_graphs_analysis_layers import stored_numbers
from _kit_judging_normalisation import DEFAULT
from _kit_judging_normalisation import NotANormalisation
from _kit_judging_normalisation import recover_normalisation
from _kit_judging_problems import Problem

def expect_within_budget(graph: ModelGraph, export: LoadedGraph, most_parameters: int, most_macs: int) -> None:
    """The published budgets. Every stored number counts: a buffer holds as much as a weight does."""
    numbers, parameters = stored_numbers(graph), parameter_count(graph)
    expect(
        numbers <= most_parameters,
        f"at most {most_parameters:,} numbers may be stored in parameters and buffers, found {numbers:,} "
        f"({parameters:,} of them in parameters)",
    )
    macs = export.info.macs_per_image
    expect(
        macs <= most_macs,
        f"at most {most_macs / 1e9:g} billion multiplications per 32×32 image are allowed, found {macs / 1e9:.2f}: "
        "let the stem or the first stages halve height and width",
    )

def normalisation_of(graded: CheckContext) -> Normalisation:
    """The student's own, as `test_transform` shows it; the kit's where there is no such transform."""
    samples = evidence_for(graded.evidence.samples, TEST)
    for sample in samples.values():
        if isinstance(sample.problem, Problem):
            if sample.problem.type == "Missing":
                graded.notes.append(f"no `{TEST}`: test images were normalised with {DEFAULT.describe()}")
                return DEFAULT
            answered(TEST, sample.problem)
    try:
        return recover_normalisation(TEST, samples)
    except NotANormalisation as problem:
        fail(f"the test images cannot be normalised as you do it: {problem}")
''',
    "_kit_graphs_runner": r'''
from __future__ import annotations
from dataclasses import dataclass

EVERY_STEP = -1  # as in worker/interpreter.py

@dataclass(frozen=True)
class GraphShapes:
    """Of a run on images of one shape: a shape per node (None where its value is no single tensor) and the costs.

    `macs_per_image` counts multiply-accumulates of convolutions, linear layers, matrix products and attention;
    `peak_bytes` is what the graph's values need at most at one time.
    """

    shapes: tuple[tuple[int, ...] | None, ...]
    macs_per_image: int
    peak_bytes: int

@dataclass(frozen=True)
class GradientStats:
    """Of one parameter's gradient: all entries finite, and the largest absolute entry (nan where not finite)."""

    finite: bool
    max_abs: float

@dataclass(frozen=True)
class Gradients:
    """The loss (nan where not finite) and the gradient of every parameter, by name; unused and frozen ones have 0."""

    parameters: Mapping[str, GradientStats]
    loss: float

@dataclass(frozen=True, repr=False)  # pytest describes what a failing check was given, weights and all
class LoadedGraph:
    """One graph of a build, loaded into the runner."""

    graph: ModelGraph
    tensors: bytes
    handle: int
    info: GraphShapes

    @property
    def shapes(self) -> tuple[Any, ...]:
        """One shape per node, None where a node's value is no tensor."""
        return self.info.shapes
''',
    "_kit_graders_effects": r'''
from __future__ import annotations
from _kit_graphs_analysis_flow import PRODUCTS
from _kit_graphs_analysis_flow import RESHAPES
from _kit_graphs_runner import EVERY_STEP
from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property
import numpy as np
import safetensors.numpy

LEAST_INFLUENCE = 1e-3  # least of 115 correct networks: 0.012, a layer scale in a small ConvNeXt

LEAST_DEPENDENCE = 1e-3  # least: 0.038, SqueezeNet

# Root mean squares of parameters, see `awake`: from the first on they take part, below the second none starts but at 0.
AWAKE_FROM, LEAST_ASLEEP = 1e-3, 1e-8

AWAKE, AWAKE_FACTOR = 0.1, 1.0  # a factor that an image's values are multiplied by is of another size than a weight

@dataclass
class Effects:
    """How parts of a loaded graph act on its output for `images` (N, C, H, W)."""

    runner: Runner
    handle: int
    images: Array

    @cached_property
    def plain(self) -> Array:
        """The output as it is."""
        outputs: Array = self.runner.cut(self.handle, self.images, [()])[0]
        return outputs

    @property
    def is_finite(self) -> bool:
        """Whether all of the output are numbers, neither NaN nor infinite."""
        return bool(np.isfinite(self.plain).all())

    @property
    def dependence(self) -> float:
        """How much the output for one image differs from another's, as a part of its largest number."""
        return dependence(self.plain)

    def influences(self, cuts: Sequence[Sequence[Cut]]) -> list[float]:
        """The influence of what is cut each time."""
        return influences(self.plain, self.runner.cut(self.handle, self.images, cuts)) if cuts else []

    def effective(self, parts: Sequence[tuple[Part, Sequence[Cut]]], enough: int) -> list[Part]:
        """Of parts, each with the places that it consists of, those of which every place has influence; the search
        ends with `enough` of them, since each takes a run of the network."""
        found: list[Part] = []
        for part, places in parts:
            if len(found) == enough:
                break
            if min(self.influences([(place,) for place in places]), default=0.0) >= LEAST_INFLUENCE:
                found.append(part)
        return found

def everywhere(node: int) -> list[Cut]:
    """A value wherever it is taken, as the one place of a part."""
    return [(EVERY_STEP, node)]

def influences(plain: Array, cut: Array) -> list[float]:
    """The influence of each cut from the outputs as they are (N, ...) and those with each cut (cuts, N, ...); 0 where
    they are not finite, or do not depend on the image."""
    if plain.ndim == 0:
        return [0.0] * len(cut)
    whole = root_mean_square(_difference(plain[::-1], plain))
    changes = [root_mean_square(_difference(outputs, plain)) for outputs in cut]
    return [change / whole if whole > 0 and np.isfinite(change) and np.isfinite(whole) else 0.0 for change in changes]

def dependence(plain: Array) -> float:
    """How much the outputs (N, ...) of images differ, as a part of the largest of their numbers."""
    if plain.ndim == 0:
        return 0.0
    largest = float(np.abs(plain.astype(np.float64)).max(initial=0.0))
    change = root_mean_square(_difference(plain[::-1], plain))
    return change / largest if largest > 0 and np.isfinite(change) and np.isfinite(largest) else 0.0

def _difference(one: Array, other: Array) -> Array:
    """In double precision; NaN where infinity meets infinity."""
    with np.errstate(invalid="ignore"):
        difference: Array = one.astype(np.float64) - other
    return difference

def root_mean_square(values: Array) -> float:
    """0 for nothing; the largest entry is taken out first, so that squares neither overflow nor vanish."""
    numbers = np.abs(values.astype(np.float64))
    largest = float(numbers.max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.mean((numbers / largest) ** 2)))

def awake(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors with parameters that start asleep set to numbers with which they take part.

    A residual branch whose last batch norm starts at 0 (Goyal et al. 2017), a layer scale of 1e-6 (Touvron et al. 2021)
    or a classifier that starts at 0 is a good idea, and hides what lies behind it until the first steps of training.
    A number written into `forward` stays what it is, and so does a parameter smaller than any of these.
    """
    draws, found = np.random.RandomState(0), factors(graph)

    def woken(array: Array, key: str) -> Array:
        if not is_asleep(array):
            return array
        size = AWAKE_FACTOR if key in found else AWAKE
        # Never near 0, as a normal draw may be: of a layer scale there is one.
        values = size * draws.uniform(0.5, 1.5, array.shape) * draws.choice((-1, 1), array.shape)
        return np.asarray(values, array.dtype)

    return _with_parameters(graph, tensors, woken)

def initialised(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors, awake, with every matrix and kernel drawn as He et al. (2015) do: an effect that they show is one of
    the network's form. As they start, some correct networks show hardly any: a branch of a small ConvNeXt with its
    weights of 0.02 adds one part in a thousand.
    """
    draws = np.random.RandomState(2)

    def drawn(array: Array, _key: str) -> Array:
        if array.ndim < 2 or max(array.shape) == array.size or is_lost(array):
            return array
        return draws.normal(0, np.sqrt(2 / np.prod(array.shape[1:])), array.shape).astype(array.dtype)

    return _with_parameters(graph, awake(graph, tensors), drawn)

def is_asleep(array: Array) -> bool:
    """Whether a parameter starts at 0, or nearly so."""
    return root_mean_square(array) < AWAKE_FROM and not is_lost(array)

def is_lost(array: Array) -> bool:
    """Whether a parameter starts smaller than any initialisation makes it."""
    return 0 < root_mean_square(array) < LEAST_ASLEEP

def factors(graph: ModelGraph) -> set[str]:
    """The keys of parameters that multiply something: as they are, or in another shape."""
    sources: dict[int, str] = {}
    found: set[str] = set()
    for node in graph.nodes:
        if node.tensor >= 0:
            sources[node.index] = graph.tensors[node.tensor].key
        elif node.operation in RESHAPES and node.inputs[:1] and node.inputs[0] in sources:
            sources[node.index] = sources[node.inputs[0]]
        elif node.operation in PRODUCTS:
            found |= {sources[i] for i in node.inputs if i in sources}
    return found

MOST_DRAWN = 1e3

def other_parameters(graph: ModelGraph, tensors: bytes) -> bytes:
    """The tensors with every parameter drawn anew, in its own size."""
    draws = np.random.RandomState(1)

    def drawn(array: Array, _key: str) -> Array:
        size = min(max(root_mean_square(array), AWAKE), MOST_DRAWN)
        return draws.normal(0, size, array.shape).astype(array.dtype)

    return _with_parameters(graph, tensors, drawn)

def _with_parameters(graph: ModelGraph, tensors: bytes, change: Callable[[Array, str], Array]) -> bytes:
    arrays = safetensors.numpy.load(tensors)
    changed: set[str] = set()  # tied parameters share their key
    for tensor in graph.tensors:
        array = arrays[tensor.key]
        if tensor.kind == "parameter" and tensor.key not in changed and array.dtype.kind == "f" and array.size:
            arrays[tensor.key] = change(array, tensor.key)
            changed.add(tensor.key)
    return safetensors.numpy.save(arrays)

def with_batch_statistics(graph: ModelGraph) -> ModelGraph:
    """The same graph with every batch norm normalising by the batch: before training, the running statistics are those
    of nothing, and in a deep network the image fades away, or drowns the rest."""
    place = 5  # batch_norm(input, weight, bias, running_mean, running_var, training, …)

    def changed(node: Node) -> Node:
        if node.operation != "aten.batch_norm.default":
            return node
        return replace(node, args=(*node.args[:3], None, None, True, *node.args[place + 1 :]))

    return replace(graph, nodes=tuple(map(changed, graph.nodes)))
''',
    "_kit_graphs_analysis_extent": r'''
from __future__ import annotations
from _kit_graphs_analysis_flow import REDUCTIONS
from _kit_graphs_analysis_flow import RESHAPES
from _kit_graphs_analysis_flow import carries_data
from _kit_graphs_analysis_flow import names
from _kit_graphs_operations import CONVOLUTIONS
from _kit_graphs_operations import EINSUM
from dataclasses import dataclass
from dataclasses import replace

_ADAPTIVE = names(
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d"
)

_DIMENSIONS = dict.fromkeys(names("linalg_vector_norm norm.ScalarOpt_dim"), 2)  # the place of the axes, if not 1

_SWAPS, _MOVES = (
    names("transpose.int swapaxes swapdims"),
    names("movedim.int movedim.intlist moveaxis.int moveaxis.intlist"),
)

_ORDERS = _SWAPS | _MOVES | names("permute")

@dataclass(frozen=True)
class Extent:
    """What became of height and width in a value: their axes, none where they are gone or cannot be told; and whether
    it is computed only from values in which one of them was reduced, whatever the image's size."""

    axes: Axes = ()
    is_reduced: bool = False

def extents(graph: ModelGraph, shapes: Shapes) -> tuple[Extent, ...]:
    """The extent of each node's value. `graph` and `shapes` are as they are read (`without_in_place_writes`)."""
    carries = carries_data(graph)
    found: list[Extent] = []
    for node in graph.nodes:
        if node.kind == "input":
            found.append(Extent(_spatial(shapes[node.index])))
        elif carries[node.index] and node.kind == "call":
            extent, shape = _extent(node, [i for i in node.inputs if carries[i]], found, shapes), shapes[node.index]
            is_known = shape is None or all(axis < len(shape) for axis in extent.axes)
            found.append(extent if is_known else replace(extent, axes=()))
        else:
            found.append(Extent())
    return tuple(found)

def _spatial(shape: Shape | None) -> Axes:
    """All axes behind images and channels."""
    return tuple(range(2, len(shape or ())))

def _extent(node: Node, data: Sequence[int], found: Sequence[Extent], shapes: Shapes) -> Extent:
    after = shapes[node.index]
    is_reduced = all(found[i].is_reduced for i in data)
    if node.operation in CONVOLUTIONS:
        return Extent(_spatial(after), is_reduced)
    # Of `x * gate(x)` the axes are those of x: of the first value of the same rank.
    place = next((i for i in data if len(shapes[i] or ()) == len(after or ()) and found[i].axes), data[0])
    before, axes = shapes[place] or after or (), found[place].axes
    after = after or before  # several results, of which each has the axes of what was divided
    if node.operation in REDUCTIONS:
        gone = set(_reduced_axes(node, len(before))) & set(axes)
        return Extent(_without(axes, gone, keeps=len(after) == len(before)), is_reduced or bool(gone))
    if node.operation in _ADAPTIVE:
        sizes = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        pooled = range(len(before) - len(sizes), len(before))
        gone = {axis for axis, size in zip(pooled, sizes, strict=True) if size == 1}
        return Extent(axes, is_reduced or not gone.isdisjoint(axes))
    if node.operation == EINSUM:
        left, is_summed = _einsum(node, place, axes)
        return Extent(left, is_reduced or (is_summed and len(after) < len(before)))
    if node.operation in _ORDERS:
        return Extent(_reordered(node, axes, len(before)), is_reduced)
    if node.operation in RESHAPES:
        return Extent(_reshaped(axes, before, after), is_reduced)
    return Extent(axes if len(after) == len(before) else (), is_reduced)

def _reduced_axes(node: Node, rank: int) -> list[int]:
    """The axes that a reduction takes away, 0 or above; none where it takes all, images included."""
    value = node.args[_DIMENSIONS.get(node.operation, 1)] if len(node.args) > 1 else None
    return _places(value, rank)

def _places(value: Value, rank: int) -> list[int]:
    """Axes as a call names them, one or several, negative or not, as 0 or above."""
    chosen = value if isinstance(value, tuple) else (value,)
    return [axis % rank for axis in chosen if isinstance(axis, int)] if rank else []

def _without(axes: Axes, gone: set[int], *, keeps: bool) -> Axes:
    """What is left of axes, numbered anew unless a reduction keeps those that it takes away, as axes of size 1."""
    return tuple(axis - (0 if keeps else sum(other < axis for other in gone)) for axis in axes if axis not in gone)

def _einsum(node: Node, place: int, axes: Axes) -> tuple[Axes, bool]:
    """Where the axes of one factor stand in an einsum's result, and whether one of them is summed up."""
    if not isinstance(node.args[0], str) or "." in node.args[0]:
        return (), False
    inputs, _, output = node.args[0].replace(" ", "").partition("->")
    letters = dict(zip(node.inputs, inputs.split(","), strict=False)).get(place, "")
    own = [letters[axis] for axis in axes if axis < len(letters)]
    return tuple(output.index(letter) for letter in own if letter in output), any(x not in output for x in own)

def _reordered(node: Node, axes: Axes, rank: int) -> Axes:
    """Where axes are after a permutation."""
    if not axes:
        return ()
    chosen = [_places(value, rank) for value in node.args[1:]]
    order = list(range(rank))
    if node.operation in _SWAPS:
        one, other = chosen[0][0], chosen[1][0]
        order[one], order[other] = order[other], order[one]
    elif node.operation in _MOVES:
        order = [axis for axis in order if axis not in chosen[0]]
        for target, source in sorted(zip(chosen[1], chosen[0], strict=False)):
            order.insert(target, source)
    else:
        order = chosen[0]
    return tuple(order.index(axis) for axis in axes if axis in order)

def _reshaped(axes: Axes, before: Shape, after: Shape) -> Axes:
    """Where axes are after a reshape that leaves images and channels as they are; nothing where it does not."""
    if not axes or before == after:
        return axes
    low, high = axes[0], axes[-1] + 1
    spread = len(after) - len(before) + high - low  # axes that height and width have become: merged, or divided
    around = before[:low] + before[high:]
    return tuple(range(low, low + spread)) if after[:low] + after[low + spread :] == around else ()
''',
    "_kit_graphs_analysis_blocks": r'''
from __future__ import annotations
from _kit_graphs_analysis_extent import extents
from _kit_graphs_analysis_flow import POOLS
from _kit_graphs_analysis_flow import REDUCTIONS
from _kit_graphs_analysis_flow import data_path
from _kit_graphs_analysis_flow import trunk_of
from _kit_graphs_analysis_flow import without_in_place_writes
from _kit_graphs_analysis_layers import batch_norms
from _kit_graphs_analysis_layers import convolutions
from _kit_graphs_operations import CONVOLUTIONS
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
import math

_MOST_POINTS = 400  # of the trunk, between which blocks are cut

@dataclass(frozen=True)
class Block:
    """A part of the trunk from one feature map to another, with all that lies between them."""

    input_shape: Shape
    output_shape: Shape
    convolutions: tuple[Convolution, ...]
    batch_norms: tuple[BatchNorm, ...]
    line: int

    @property
    def out_channels(self) -> int:
        """Channels of the feature map that the block hands on."""
        return self.output_shape[1]

    @property
    def halves(self) -> bool:
        """Height and width are divided by two, once."""
        return halvings(self.input_shape, self.output_shape) == (1, 1)

def blocks(graph: ModelGraph, shapes: Shapes, channels: Sequence[int] = (32, 64, 128, 256)) -> tuple[Block, ...]:
    """The trunk's feature maps cut into as many blocks as `channels` names, each with a convolution or more.

    Where a block ends is the student's business: pooling may stand at its end or at the start of the next, stride may
    be in any of its convolutions, batch norm before or after them. So among all ways to cut, take one whose blocks end
    with the asked channels, if there is one, and among these one with most blocks that halve height and width and hold
    a batch norm; otherwise the one with most such blocks. A head of 1×1 convolutions that makes the class scores is
    left out. Fewer blocks than asked come back where there are fewer convolutions on the trunk.
    """
    return Cutter(graph, shapes, tuple(channels)).cut()

class Cutter:
    """Finds the best way to cut a trunk into blocks."""

    def __init__(self, graph: ModelGraph, shapes: Shapes, channels: tuple[int, ...]) -> None:
        graph, shapes = without_in_place_writes(graph, shapes)
        self.graph, self.shapes, self.channels = graph, shapes, channels
        path = data_path(graph)
        on_path = set(path)
        trunk = trunk_of(graph, path)
        self.extents = extents(graph, shapes)
        self.reduced = [extent.is_reduced for extent in self.extents]
        self.is_reduced = any(self.reduced[i] for i in trunk)
        self.convolutions = [c for c in convolutions(graph, shapes) if c.node in on_path and self.is_on_maps(c)]
        self.norms = [n for n in batch_norms(graph, shapes) if n.node in on_path]
        self.features = self.feature_points(trunk)
        self.points = _thin(self.features, shapes)
        # Counts up to and including each point: what lies between two points is a difference.
        self.conv_counts = [bisect_right([c.node for c in self.convolutions], p) for p in self.points]
        self.norm_counts = [bisect_right([n.node for n in self.norms], p) for p in self.points]

    def is_on_maps(self, convolution: Convolution) -> bool:
        """Whether a convolution looks at a map: one of more than a pixel, or one that has become so small.

        Those on what is left of reduced maps are linear layers: gates (squeeze and excitation) and heads.
        """
        if math.prod(convolution.input_shape[2:]) > 1:
            return True
        # Where nothing on the trunk reduces maps of any size, a 1×1 kernel may be a head behind a pooling over all.
        is_small = self.is_reduced or set(convolution.kernel) != {1}
        return is_small and not self.reduced[convolution.data]

    def feature_points(self, trunk: Sequence[int]) -> list[int]:
        """The trunk's feature maps, without what the head does to them."""
        classes = (self.shapes[self.graph.output] or (0,))[-1]
        last = max((c.node for c in self.convolutions if not makes_scores(c, classes)), default=-1)
        scores = {c.node for c in self.convolutions if makes_scores(c, classes) and c.node > last}
        points: list[int] = []
        for i in trunk:
            if i in scores or (i > last and self.is_global_pooling(i, points)):
                break
            # Maps with their channels last are on the way from one to the next, or to the head.
            if len(self.shapes[i] or ()) == 4 and self.extents[i].axes in ((), (2, 3)):
                points.append(i)
        return points

    def is_global_pooling(self, index: int, points: Sequence[int]) -> bool:
        """Whether a node belongs to the head: it averages whole maps, in one step or as the first of two.

        Where no step does so for images of any size, it is a pooling that covers the map as it is.
        """
        if self.is_reduced or len(self.shapes[index] or ()) != 4:
            return self.reduced[index]
        operation, shape = self.graph.nodes[index].operation, self.shapes[index] or ()
        before = (self.shapes[points[-1]] if points else None) or ()
        if operation in REDUCTIONS and 1 in shape[2:]:
            return True
        if shape[2:] != (1, 1) or operation in CONVOLUTIONS:
            return False
        if operation.startswith("aten.max_pool") and halvings(before, shape) == (1, 1):
            return False  # a block's own 2×2 pooling may arrive at 1×1 too
        # Several poolings side by side meet in a node that is none itself; so do the branches of a block.
        is_met = math.prod(before[2:]) > 1 and not self.is_convolved(points[-1], index)
        return operation in POOLS or is_met

    def is_convolved(self, start: int, end: int) -> bool:
        """Whether it is convolutions that made 1×1 of a map between two points: strides of a block."""
        inside = (c for c in self.convolutions if start < c.node <= end)
        return any(c.output_shape[2:] == (1, 1) != c.input_shape[2:] for c in inside)

    def cut(self) -> tuple[Block, ...]:
        """The best blocks."""
        count = min(len(self.channels), self.conv_counts[-1] if self.points else 0)
        if count == 0:
            return ()
        exact = self.best(count, exact=True) if count == len(self.channels) else None
        ends = exact or self.best(count, exact=False)
        if not ends:  # several convolutions between two points: fewer cuts are possible
            ends = next((e for k in range(count - 1, 0, -1) if (e := self.best(k, exact=False))), [])
        return tuple(self.block(start, end) for start, end in zip([0, *ends], ends, strict=False))

    def best(self, count: int, exact: bool) -> list[int] | None:
        """Positions in `points` where the blocks end, for the best score; None where there is no way.

        Dynamic programme over (number of blocks, end): O(blocks × points²).
        """
        size = len(self.points)
        table: list[dict[int, tuple[tuple[int, ...], list[int]]]] = [{0: ((0, 0, 0), [])}]
        for k in range(count):
            row: dict[int, tuple[tuple[int, ...], list[int]]] = {}
            for start, (score, ends) in table[-1].items():
                for end in range(start + 1, size):
                    gain = self.score(start, end, k, exact)
                    if gain is None:
                        continue
                    total = tuple(a + b for a, b in zip(score, gain, strict=True))
                    if end not in row or total >= row[end][0]:  # of equal ways the latest cuts
                        row[end] = (total, [*ends, end])
            table.append(row)
        # All convolutions belong to a block; of equally good ends the last, so that nothing is left over.
        complete = {end: way for end, way in table[-1].items() if self.conv_counts[end] == self.conv_counts[-1]}
        if not complete:
            return None
        return max(complete.items(), key=lambda item: (item[1][0], item[0]))[1][1]

    def score(self, start: int, end: int, number: int, exact: bool) -> tuple[int, int, int] | None:
        """(halves, has batch norm, ends with the asked channels) of a block, each 0 or 1; None where it is no block."""
        if self.conv_counts[end] == self.conv_counts[start]:
            return None
        before, after = self.shapes[self.points[start]] or (), self.shapes[self.points[end]] or ()
        matches = number < len(self.channels) and after[1] == self.channels[number]
        if exact and not matches:
            return None
        return (
            int(halvings(before, after) == (1, 1)),
            int(self.norm_counts[end] > self.norm_counts[start]),
            int(matches),
        )

    def block(self, start: int, end: int) -> Block:
        low, high = self.points[start], self.points[end]
        inside = tuple(c for c in self.convolutions if low < c.node <= high)
        norms = tuple(n for n in self.norms if low < n.node <= high)
        return Block(self.shapes[low] or (), self.shapes[high] or (), inside, norms, inside[0].line if inside else 0)

def map_sizes(graph: ModelGraph, shapes: Shapes) -> tuple[Shape, ...]:
    """Height and width of the trunk's feature maps, from the image to the last one, each as often as they change."""
    points = Cutter(graph, shapes, ()).features
    sizes = [(shapes[i] or ())[2:] for i in [graph.input, *points]]
    return tuple(size for before, size in zip([(), *sizes], sizes, strict=False) if size != before)

def halved_times(sizes: Sequence[Shape]) -> int:
    """How often height is divided by two on the way through maps of these sizes."""
    return sum(_halvings(before[0], after[0]) for before, after in pairwise(sizes))

def makes_scores(convolution: Convolution, classes: int) -> bool:
    return convolution.is_pointwise and convolution.out_channels == classes

def halvings(before: Shape, after: Shape) -> tuple[int, ...]:
    """How often each spatial dimension was divided by two: 32 → 30 → 15 is once (no padding), 32 → 8 twice."""
    if len(before) != len(after):
        return ()
    return tuple(_halvings(b, a) for b, a in zip(before[2:], after[2:], strict=True))

def _halvings(before: int, after: int) -> int:
    if after in {before // 2, -(-before // 2)} and before > 1:
        return 1
    return round(math.log2(before / after)) if before and after else 0

def _thin(points: list[int], shapes: Shapes) -> list[int]:
    """Keep a very deep trunk affordable: of points in a row with one shape, some will do."""
    if len(points) <= _MOST_POINTS:
        return points
    last = len(points) - 1
    changes = [k for k in range(1, last) if shapes[points[k]] != shapes[points[k + 1]]]
    kept = {0, last, *changes[: _MOST_POINTS // 2]}
    kept.update(range(0, last, -(-2 * last // _MOST_POINTS)))
    return [points[k] for k in sorted(kept)]
''',
    "_kit_graphs_analysis_heads": r'''
from __future__ import annotations
from _kit_graphs_analysis_blocks import Cutter
from _kit_graphs_analysis_flow import AVERAGES
from _kit_graphs_analysis_flow import MATRIX_PRODUCTS
from _kit_graphs_analysis_flow import MAXIMA
from _kit_graphs_analysis_flow import OUTPUT_ACTIVATIONS
from _kit_graphs_analysis_flow import REDUCTIONS
from _kit_graphs_analysis_flow import data_path
from _kit_graphs_analysis_flow import reach
from _kit_graphs_analysis_flow import trunk_of
from _kit_graphs_analysis_flow import without_in_place_writes
from _kit_graphs_analysis_layers import convolutions
from _kit_graphs_analysis_layers import dropouts
from _kit_graphs_analysis_layers import linears
from dataclasses import dataclass
import math

@dataclass(frozen=True)
class Head:
    """What follows the last feature map.

    global_pooling: "average", "max", "mixed", "other" or None; `pooling` is its first node, -1 for none.
    `flattened_inputs` is the number of values per image where height and width are flattened into features instead.
    `classifiers`: the layers after the features, a 1×1 convolution counted as one. `dropouts`: those between the last
    feature convolution and the last classifier.
    """

    feature_shape: Shape | None
    global_pooling: str | None
    pooling: int
    pooling_line: int
    flattened_inputs: int | None
    flatten_line: int
    classifiers: tuple[Linear | Convolution, ...]
    dropouts: tuple[Dropout, ...]
    output_activation: str | None
    output_activation_line: int

def head(graph: ModelGraph, shapes: Shapes) -> Head:
    """What lies between the last feature map and the output, by what happens to height and width.

    Pooling is global where it takes every channel's map to one value in one or more steps (mean over both dimensions
    or one after the other, adaptive pooling to 1×1, pooling over the full extent, maximum, a flattened map averaged, a
    sum by einsum).
    """
    graph, shapes = without_in_place_writes(graph, shapes)
    path = data_path(graph)
    trunk = trunk_of(graph, path)
    cutter = Cutter(graph, shapes, ())
    features = cutter.features
    if not features:
        return Head(None, None, -1, 0, None, 0, (), (), None, 0)
    last = features[-1]
    between = [i for i in path if i > last]
    vectors = [t for t in trunk if t > last and is_vector(shapes[t])]
    # On 1×1 maps everything looks like a vector; the first one that is left of reduced maps is.
    vector = next((t for t in vectors if cutter.reduced[t]), next(iter(vectors), graph.output))
    layers = _classifiers(graph, shapes, path, last)
    steps, on_maps = [i for i in between if i <= vector], sum(1 << c.node for c in cutter.convolutions)
    kind, pooling = _pooling_kind(graph, steps, on_maps, shapes[last], shapes[vector])
    flattened, flatten_line = None, 0
    same_batch = (shapes[last] or ())[:1] == (shapes[vector] or ())[:1]
    if kind is None and same_batch and math.prod(shapes[last] or ()) == math.prod(shapes[vector] or ()):
        flattened, flatten_line = math.prod((shapes[last] or ())[1:]), _line_of(graph, between, vector)
    final = layers[-1].node if layers else graph.output
    start = _last_spatial_convolution(graph, shapes, path, layers)
    on_path = set(path)
    noise = tuple(d for d in dropouts(graph, shapes) if start < d.node < final and d.node in on_path)
    activation = next((i for i in path if i > final and graph.nodes[i].operation in OUTPUT_ACTIVATIONS), None)
    return Head(
        shapes[last],
        kind,
        pooling,
        graph.nodes[pooling].line if pooling >= 0 else 0,
        flattened,
        flatten_line,
        layers,
        noise,
        None if activation is None else graph.nodes[activation].operation.split(".")[1].rstrip("_"),
        0 if activation is None else graph.nodes[activation].line,
    )

def is_vector(shape: Shape | None) -> bool:
    """One value or more per image without height and width: (N, F), or (N, C, 1, 1)."""
    return shape is not None and (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)))

def _pooling_kind(
    graph: ModelGraph, steps: list[int], on_maps: int, features: Shape | None, vector: Shape | None
) -> tuple[str | None, int]:
    """What kind of pooling takes a feature map to a vector, and its first node; None and -1 where nothing is pooled.

    A reduction that a convolution of maps follows belongs to the features: a branch of them, or an attention in it.
    """
    if features is None or vector is None:
        return None, -1
    if math.prod(vector) >= math.prod(features) and features[2:] != (1, 1):
        return None, -1
    descendants = reach(graph, False).descendants
    steps = [i for i in steps if not descendants[i] & on_maps]
    averages = [i for i in steps if graph.nodes[i].operation in AVERAGES]
    maxima = [i for i in steps if graph.nodes[i].operation in MAXIMA]
    others = [i for i in steps if graph.nodes[i].operation in REDUCTIONS | MATRIX_PRODUCTS]
    for kind, found in (
        ("mixed", averages if maxima else []),
        ("average", averages),
        ("max", maxima),
        ("other", others),
    ):
        if found:
            return kind, found[0]
    return None, -1

def _line_of(graph: ModelGraph, between: Iterable[int], vector: int) -> int:
    return next((graph.nodes[i].line for i in between if i <= vector and graph.nodes[i].line), 0)

def _classifiers(
    graph: ModelGraph, shapes: Shapes, path: tuple[int, ...], last: int
) -> tuple[Linear | Convolution, ...]:
    """Linear layers and 1×1 convolutions after the last feature map; one may make scores before these are pooled."""
    on_path = set(path)
    found: list[Linear | Convolution] = [n for n in linears(graph, shapes) if n.node in on_path and n.node > last]
    pointwise = [c for c in convolutions(graph, shapes) if c.node in on_path and set(c.kernel) == {1}]
    found += [c for c in pointwise if c.node > last]
    return tuple(sorted(found, key=lambda layer: layer.node))

def _last_spatial_convolution(
    graph: ModelGraph, shapes: Shapes, path: tuple[int, ...], classifiers: tuple[Linear | Convolution, ...]
) -> int:
    """The last convolution that is no classifier; dropout after it counts as before the classifier."""
    nodes = set(path) - {layer.node for layer in classifiers}
    return max((c.node for c in convolutions(graph, shapes) if c.node in nodes), default=-1)
''',
    "_kit_graphs_analysis_writes": r'''
from __future__ import annotations
from _kit_graphs_analysis_flow import ACTIVATIONS
from _kit_graphs_analysis_flow import MATRIX_PRODUCTS
from _kit_graphs_analysis_flow import MAXIMA
from _kit_graphs_analysis_flow import NORMS
from _kit_graphs_analysis_flow import POOLS
from _kit_graphs_analysis_flow import PRODUCTS
from _kit_graphs_analysis_flow import carries_data
from _kit_graphs_analysis_flow import names
from _kit_graphs_model_graph import references
from _kit_graphs_operations import CONVOLUTIONS
from _kit_graphs_operations import GETITEM
from _kit_graphs_operations import OPERATIONS

# What the derivatives of torch/autograd's derivatives.yaml name: "result" or "self".
_NEEDS_OUTPUT = names(
    "relu relu_ sigmoid sigmoid_ tanh tanh_ softmax.int log_softmax.int exp exp_ sqrt sqrt_ rsqrt rsqrt_ reciprocal "
    "reciprocal_ leaky_relu_ elu_ celu_ selu_ logsumexp linalg_vector_norm"
)

_NEEDS_INPUT = (
    CONVOLUTIONS
    | MATRIX_PRODUCTS
    | MAXIMA
    | NORMS
    | POOLS
    | PRODUCTS
    | (ACTIVATIONS - _NEEDS_OUTPUT)
    | names("div.Tensor div_.Tensor pow.Tensor_Scalar square log log_ sin cos var.dim var.correction std.dim")
)

def overwritten(graph: ModelGraph) -> Node | None:
    """The first write into a value that an earlier operation keeps for its gradient; None where there is none."""
    carries = carries_data(graph)
    memory: list[int] = []  # per node: the node whose memory it shares
    kept: set[int] = set()
    for node in graph.nodes:
        written, shared = _shares(node)
        memory.append(memory[(written or shared)[0]] if written or shared else node.index)
        if kept & {memory[i] for i in written}:
            return node
        if node.grad and carries[node.index]:
            kept |= {memory[node.index]} if node.operation in _NEEDS_OUTPUT else set()
            # What an operation writes into itself, it keeps a copy of.
            inputs = {memory[i] for i in node.inputs if carries[i] and i not in written}
            kept |= inputs if node.operation in _NEEDS_INPUT else set()
    return None

def _shares(node: Node) -> tuple[list[int], list[int]]:
    """The values that a node writes into, and those that its own value is a view of."""
    if node.operation == GETITEM:
        return [], list(node.inputs)
    written, shared = [], []
    operation = OPERATIONS.get(node.operation)
    for kind, value in zip(operation.kinds, node.args, strict=False) if operation else ():
        written += references(value) if kind[-1] == "!" else []
        shared += references(value) if kind[-1] == "&" else []
    return written, shared
''',
    "_kit_graphs_runner_process": r'''
from __future__ import annotations

class RunnerProblem(Exception):
    """A graph that did not run as asked: the student's. The message is for the student.

    `status` is TIMEOUT, OUT_OF_MEMORY, CRASHED, ERROR (an operation failed, e.g. on shapes that do not fit) or REFUSED
    (too large, or not allowed). `line` is the student's line, encoded as in the graph; 0 where unknown.
    """

    def __init__(self, status: str, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.line = line
''',
    "_kit_graphs_state": r'''
from __future__ import annotations

def state_differences(graph: ModelGraph, other: ModelGraph) -> list[str]:
    """In what two exports of one build disagree about the module's state; empty where they are the same model.

    Each is one phrase for a message. A train-mode graph with other parameters than the eval graph would let one model
    be trained and another one be judged.
    """
    ours, theirs = _state(graph), _state(other)
    phrases = [f"{name} is in one of them only" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name][1:] != theirs[name][1:]:
            phrases.append(f"{name} is {_describe(ours[name])} in one and {_describe(theirs[name])} in the other")
    return phrases

def _state(graph: ModelGraph) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    return {t.name: (t.name, t.dtype, t.shape) for t in graph.tensors if t.kind in {"parameter", "frozen", "buffer"}}

def _describe(entry: tuple[str, str, tuple[int, ...]]) -> str:
    return f"{entry[1]} {entry[2]}"
''',
    "_kit_graders_networks": r'''
from __future__ import annotations
from _kit import CheckEnded
from _kit import Runner
from _kit import Status
from _kit import answered
from _kit import check_tensors
from _kit import fail
from _kit_core_source_lines import LINES_PER_CELL
from _kit_graders_effects import Effects
from _kit_graders_effects import LEAST_DEPENDENCE
from _kit_graders_effects import initialised
from _kit_graders_effects import with_batch_statistics
from _kit_graphs_analysis_heads import head
from _kit_graphs_analysis_layers import Linear
from _kit_graphs_analysis_layers import convolutions
from _kit_graphs_analysis_writes import overwritten
from _kit_graphs_model_graph import GraphRefused
from _kit_graphs_model_graph import Node
from _kit_graphs_model_graph import Ref
from _kit_graphs_operations import WEIGHT_STARTS
from _kit_graphs_runner import LoadedGraph
from _kit_graphs_runner_process import RunnerProblem
from _kit_graphs_state import state_differences
from _kit_judging_evidence import EXPORTED_BATCH
from _kit_judging_problems import Problem
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import cached_property
from functools import partial
from typing import cast
import hashlib
import hmac
import numpy as np

DEFAULT_CLASSES = 10

PATTERN = 4  # pixels on each side, before it is enlarged to an image

class DiscreetRunner:
    """A runner for a network that was built with numbers from the course's secret: it says how a run ended, in words of
    its own. What the network's operations say of it holds sizes, which are made of those numbers."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner, self._name = runner, name

    def __getattr__(self, what: str) -> Any:
        method = getattr(self._runner, what)
        return partial(self._call, method) if callable(method) else method

    def _call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except RunnerProblem as problem:
            message = (
                f"`{self._name}` {ENDED.get(problem.status, 'fails')} for some arguments; try different ones yourself"
            )
            raise RunnerProblem(problem.status, message, problem.line) from problem

UNUSABLE = "the graph of the network cannot be used for some arguments; try different ones yourself"

ENDED = {
    "TIMEOUT": "takes too long",
    "OUT_OF_MEMORY": "needs more memory than there is",
    "CRASHED": "ends the process that runs it",
    "REFUSED": "is too large, or does what a graph may not do",
}

@dataclass(repr=False)
class Network:
    """One build of a student's module. Everything is looked up when a check first needs it, and kept.

    A property ends the check that asks for it, with the problem's own status, where the evidence is missing: so every
    check needs just the evidence that it looks at.
    """

    name: str
    build: Build
    runner: Runner
    secret: bytes
    size: int  # of the images of the first export
    told: set[str] = field(default_factory=set)  # what a check of the module has said, which the next need not repeat
    _exports: dict[tuple[bool, int], LoadedGraph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.is_drawn:
            self.runner = cast(Runner, DiscreetRunner(self.runner, self.name))

    @property
    def is_drawn(self) -> bool:
        """Whether it was built with arguments from the course's secret, which no message may show."""
        return self.build.drawn

    @property
    def classes(self) -> int:
        """The number of classes that was asked for."""
        return int(self.build.arguments.get("num_classes", DEFAULT_CLASSES))

    @property
    def evaluation(self) -> LoadedGraph:
        """The graph in eval mode, as it is judged and evaluated, with noise switched off.

        Noise that stays on is one mistake and costs one check: everything else is judged without it.
        """
        return self.export(training=False)

    @property
    def training(self) -> LoadedGraph:
        """The graph in training mode; it must be the same model."""
        evaluation = self.graph(False, self.size)  # a network that is none in eval mode, either, has one problem
        export = self.export(training=True)
        differences = state_differences(evaluation, export.graph)
        if differences:
            fail(f"`{self.name}` has other parameters in training than in evaluation: create all of them in __init__")
        return export

    @property
    def looked_at(self) -> LoadedGraph | None:
        """The graph in eval mode where a check has asked for it already; nothing is loaded for it."""
        return self._exports.get((False, self.size))

    def export(self, *, training: bool, size: int | None = None) -> LoadedGraph:
        """The export of a mode and image size, loaded. Ends the check where there is none."""
        key = (training, self.size if size is None else size)
        if key not in self._exports:
            graph = self.graph(*key)
            if not training:
                graph = without_noise(graph)
            handle = self.runner.load(graph, self.build.tensors)
            info = self.runner.shapes(handle, graph.input_shape)
            self._exports[key] = LoadedGraph(graph, self.build.tensors, handle, info)
        return self._exports[key]

    def graph(self, training: bool, size: int) -> ModelGraph:
        """The graph as it came, checked against its tensors. Ends the check where there is none."""
        found = self.problem_or_graph(training, size)
        if isinstance(found, Problem) and found.returned:
            self.refuse_output(found, training)
        graph = answered(self.name, found, drawn=self.is_drawn)
        try:
            check_tensors(graph, self.build.tensors)
        except GraphRefused as error:
            fail(UNUSABLE if self.is_drawn else str(error), line=error.line)
        return graph

    def refuse_output(self, problem: Problem, training: bool) -> NoReturn:
        """End the check because forward does not return one tensor. The first check says so, the others refer to it.

        Where it is so in training mode only, as with GoogLeNet's auxiliary classifiers, the program is valid, and a
        person decides.
        """
        mode = "in training mode " if training else ""
        status, short = (Status.UNSUPPORTED, "undecided") if training else (Status.SKIPPED, "not judged")
        if mode in self.told:
            raise CheckEnded(status, f"{short}, because {mode}`forward` does not return one tensor")
        self.told.add(mode)
        message = f"`forward` must return its one result, a tensor, and nothing else; it returns {problem.returned}"
        if training:
            message = f"{mode}`forward` returns {problem.returned}; the grader can compute a loss of one tensor only"
        line = problem.cell * LINES_PER_CELL + problem.line
        raise CheckEnded(Status.UNSUPPORTED if training else Status.FAILED, message, line)

    def problem_or_graph(self, training: bool, size: int) -> ModelGraph | Problem:
        """What came for one export."""
        return self.build.problem or self.build.graphs[training, size]

    def images(self, count: int = EXPORTED_BATCH, size: int | None = None, part: str = "") -> Images:
        """Standard normal images (count, C, H, W), the same for everybody."""
        draws = random_state(self.secret, f"images/{self.name}/{part}")
        channels = self.graph(False, self.size).input_shape[1]
        side = self.size if size is None else size
        return draws.standard_normal((count, channels, side, side)).astype(np.float32)

    def learnable_images(self, count: int) -> Images:
        """Images that show their label: a smooth pattern for each class, half hidden by noise.

        Pure noise will not do: global average pooling leaves hardly any difference between two noise images.
        """
        noise = self.images(count, part="learnable")
        coarse = self.images(self.classes, PATTERN, part="patterns")
        patterns = coarse.repeat(self.size // PATTERN, axis=2).repeat(self.size // PATTERN, axis=3)
        return (patterns[self.labels(count)] + 0.5 * noise).astype(np.float32)

    def varied_images(self, count: int) -> Images:
        """Images that differ as much as a size allows: by patterns, else by noise."""
        return self.learnable_images(count) if self.size % PATTERN == 0 else self.images(count)

    def labels(self, count: int) -> NDArray[np.int64]:
        """Labels that go round all classes."""
        return np.arange(count, dtype=np.int64) % self.classes

    @property
    def batch(self) -> int:
        """The batch size that every check can use: the one that the code fixes, else that of the export."""
        return self.evaluation.graph.batch or EXPORTED_BATCH

    def takes(self, count: int) -> bool:
        """Whether the network runs on this number of images at a time."""
        if self.evaluation.graph.batch not in (None, count):
            return False
        try:
            return len(self.logits(self.images(count))) == count
        except RunnerProblem as problem:
            if problem.status != "ERROR":
                raise
            return False

    def logits(self, images: Images, export: LoadedGraph | None = None) -> Array:
        """What the network computes in eval mode."""
        return self.runner.run((export or self.evaluation).handle, images)

    @cached_property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In execution order, from the eval graph."""
        return convolutions(self.evaluation.graph, self.evaluation.shapes)

    @cached_property
    def effects(self) -> Effects:
        """How parts of the network act on its logits, before any training, with weights of the usual size.

        Batch norms normalise by the batch, but where there are too few values for that.
        """
        graph = without_dropout(self.graph(False, self.size))  # weights that forward draws are the same for each cut
        tensors, images = initialised(graph, self.build.tensors), self.varied_images(self.batch)
        found = Effects(self.runner, self.runner.load(with_batch_statistics(graph), tensors), images)
        try:
            _ = found.plain
        except RunnerProblem as problem:
            if problem.status != "ERROR":
                raise
            return Effects(self.runner, self.runner.load(graph, tensors), images)
        return found

    @cached_property
    def training_effects(self) -> Effects:
        """The same of the graph in training mode, with its noise."""
        export = self.training
        handle = self.runner.load(export.graph, initialised(export.graph, export.tensors))
        return Effects(self.runner, handle, self.varied_images(export.graph.batch or EXPORTED_BATCH))

    @property
    def is_dead(self) -> bool:
        """Whether the logits hardly depend on the image, or are no numbers: then no part has an effect to be seen.

        Where that cannot be found out, the checks say why.
        """
        try:
            return self.effects.dependence < LEAST_DEPENDENCE
        except (CheckEnded, RunnerProblem):
            return False

    @cached_property
    def head(self) -> Head:
        """Everything after the last feature map, from the eval graph."""
        return head(self.evaluation.graph, self.evaluation.shapes)

def expect_rows(network: Network) -> None:
    """End the check where the logits have not one row for each image: the check of the logits says so."""
    if network.logits(network.images(network.batch)).shape[:1] != (network.batch,):
        raise CheckEnded(Status.SKIPPED, "not judged, because the logits have not one row for each image")

@contextmanager
def differentiating(network: Network, export: LoadedGraph) -> Iterator[None]:
    """Say which line takes away what the gradient needs, where that is why no gradient can be computed."""
    try:
        yield
    except RunnerProblem as problem:
        # What fails on the way forward has a line; on the way back, nothing else than such a write can.
        write = overwritten(export.graph) if problem.status == "ERROR" and not problem.line else None
        if write is None:
            raise
        fail(
            f"the loss of `{network.name}` has no gradient: here a value is overwritten in place (+=, mul_, "
            "inplace=True) that the gradient of an earlier step still needs. Make a new value: x = x + y, or leave "
            "inplace out",
            line=write.line,
        )

def random_state(secret: bytes, words: str) -> np.random.RandomState:
    """Draws that depend on the course's secret and the words only (HMAC-SHA256)."""
    return np.random.RandomState(np.frombuffer(hmac.new(secret, words.encode(), hashlib.sha256).digest(), "<u4"))

NOISE = frozenset(
    f"aten.{kind}.default"
    for kind in ("dropout", "dropout_", "feature_dropout", "feature_dropout_", "alpha_dropout", "alpha_dropout_",
                 "feature_alpha_dropout", "feature_alpha_dropout_")
)  # fmt: skip

def without_dropout(graph: ModelGraph) -> ModelGraph:
    """The same graph with every dropout off: `dropout(x, p, train)`."""

    def quiet(node: Node) -> Node:
        return replace(node, args=(*node.args[:2], False)) if node.operation in NOISE else node

    return replace(graph, nodes=tuple(map(quiet, graph.nodes)))

def without_noise(graph: ModelGraph) -> ModelGraph:
    """The same graph with every dropout off, and zeros for weights that forward draws."""

    def quiet(node: Node) -> Node:
        if node.operation in WEIGHT_STARTS:
            return replace(node, operation="aten.clone.default", args=(node.args[0], None))
        return node

    return replace(graph, nodes=tuple(map(quiet, without_dropout(graph).nodes)))

def up_to(graph: ModelGraph, index: int) -> ModelGraph:
    """The part of a graph that computes the value of one node, returned instead of the graph's own output."""
    return replace(graph, nodes=(*graph.nodes[: index + 1], Node(index + 1, "output", args=(Ref(index),))))

def expect_alive(network: Network) -> None:
    """End the check where nothing in the network has an effect: the check of the logits says so."""
    if network.is_dead:
        expect_rows(network)  # of a single row for all images, none differs from another
        why = "hardly depend on the image" if network.effects.is_finite else "are not all finite"
        raise CheckEnded(Status.SKIPPED, f"not judged, because the logits {why}")

def layer_kind(layer: Convolution | Linear) -> str:
    return "linear layer" if isinstance(layer, Linear) else "convolution"
''',
    "_kit_judging_accuracy": r'''
from __future__ import annotations
import numpy as np

# In the same place of a batch of the same size, honest networks give the same bits. What decides is the gap between the
# two leading logits; nothing that scales with other logits may excuse a change of it.
LEAST_GAP_CHANGE = 1e-3

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
''',
    "_kit_graders_expectations": r'''
from __future__ import annotations
from _kit import CheckEnded
from _kit import Status
from _kit import expect
from _kit import fail
from _kit_core_source_lines import LINES_PER_CELL
from _kit_graders_effects import LEAST_DEPENDENCE
from _kit_graders_effects import everywhere
from _kit_graders_networks import DEFAULT_CLASSES
from _kit_graders_networks import expect_rows
from _kit_graders_networks import random_state
from _kit_graphs_analysis_flow import NORMS
from _kit_graphs_analysis_flow import REDUCTIONS
from _kit_graphs_analysis_flow import RESHAPES
from _kit_graphs_analysis_flow import carries_data
from _kit_graphs_analysis_flow import data_path
from _kit_graphs_analysis_flow import trunk_of
from _kit_graphs_analysis_heads import head
from _kit_graphs_analysis_layers import batch_norms
from _kit_graphs_analysis_layers import dropouts
from _kit_graphs_runner_process import RunnerProblem
from _kit_judging_accuracy import depends_on_others
from _kit_judging_evidence import EXPORTED_BATCH
from _kit_judging_problems import Problem
import numpy as np

MOST_AXES = 8  # of a shape in a message

WRITTEN_DOWN = (
    "is a number of images written down somewhere, as in view(4, -1)? Use x.flatten(1), which keeps the first axis"
)

def expect_logits(builds: Sequence[Network]) -> None:
    """Logits (N, num_classes), for each number of classes that was asked for, which depend on the image."""
    for network in builds:
        found = network.logits(network.images(network.batch)).shape
        if found == (network.batch, network.classes):
            continue
        default = builds[0].classes
        if found == (network.batch, default):
            fail(
                f"`num_classes` is ignored: {default} logits come out whatever it is. Use it in the last layer",
                line=max((layer.line for layer in network.head.classifiers[-1:]), default=0),
            )
        expect_batch_kept(network, found)
        wanted = (network.batch, "num_classes") if network.is_drawn else (network.batch, network.classes)
        shown = f"({', '.join(map(str, wanted))})"
        fail(
            f"logits of {network.batch} images: expected {shown} [N, num_classes], got {describe_shape(network, found)}"
        )
    for network in builds:
        expect(
            not network.is_dead or network.effects.is_finite,
            "the logits are not all finite: NaN or infinity is among them. Is something divided by zero, is a "
            "logarithm or a root of a negative number taken, or do numbers grow without bound?",
        )
        expect(
            not network.is_dead,
            "the logits hardly depend on the image: another image changes them by less than one part in "
            f"{1 / LEAST_DEPENDENCE:,.0f}. Is something multiplied by a tiny number, or a huge one added?",
        )

def expect_batch_kept(network: Network, found: Sequence[int]) -> None:
    """The logits have one row for each image."""
    if tuple(found[:1]) == (network.batch,):
        return
    rows = "none" if not found else "another number" if network.is_drawn else str(found[0])
    shape = describe_shape(network, found)
    fail(
        f"logits of {network.batch} images: expected {network.batch} rows, one for each image, found {rows} (shape "
        f"{shape}). Here the first axis stops counting the images; x.flatten(1) and means over (2, 3) keep it",
        line=line_without_batch(network),
    )

def line_without_batch(network: Network) -> int:
    """The line of the step from which on no value that all goes through has the images as its first axis."""
    graph, shapes = network.evaluation.graph, network.evaluation.shapes
    batch = graph.input_shape[:1]
    trunk = [i for i in trunk_of(graph, data_path(graph)) if shapes[i] is not None]
    kept = max((place for place, i in enumerate(trunk) if (shapes[i] or ())[:1] == batch), default=-1)
    return next((graph.nodes[i].line for i in trunk[kept + 1 :] if graph.nodes[i].line), 0)

def describe_shape(network: Network, shape: Sequence[int]) -> str:
    """A shape; of a network that was built with numbers from the course's secret only what is known anyway, since a
    size may be made of them."""
    if not network.is_drawn:
        return f"({', '.join(map(str, shape))})"
    known = {network.batch: str(network.batch), DEFAULT_CLASSES: str(DEFAULT_CLASSES)}
    known |= {value: name for name, value in network.build.arguments.items()}
    return f"({', '.join(known.get(size, 'another number') for size in shape[:MOST_AXES])})"

def expect_free_batch(network: Network) -> None:
    """Any number of images passes, a single one included."""
    fixed = network.evaluation.graph.batch
    if fixed is not None:
        fail(
            f"forward works for {fixed} images at a time only; {WRITTEN_DOWN}",
            line=line_of_fixed_batch(network.evaluation.graph, fixed),
        )
    expect_rows(network)
    for count, what in ((1, "one image"), (7, "7 images")):
        found = run_or_explain(network, network.images(count), f"a batch of {what}").shape
        if found != (count, network.classes):
            squeezed = ". A bare squeeze() removes the batch axis, too: use flatten(1)"
            fail(
                f"logits of {what}: expected ({count}, {network.classes}) [N, num_classes], got {found}"
                + (squeezed if found == (network.classes,) else "")
            )

def line_of_fixed_batch(graph: ModelGraph, batch: int) -> int:
    """The line of the first reshape that names the batch size as its first axis, 0 where there is none."""
    shaped = (node for node in graph.nodes if node.operation in RESHAPES and len(node.args) > 1)
    return next((n.line for n in shaped if isinstance(n.args[1], tuple) and n.args[1][:1] == (batch,)), 0)

def line_over_the_batch(graph: ModelGraph) -> int:
    """The line of the first mean or sum over the batch axis, 0 where there is none."""
    carries = carries_data(graph)
    reductions = (node for node in graph.nodes if node.operation in REDUCTIONS and carries[node.index])
    return next((n.line for n in reductions if isinstance(n.args[1], tuple) and 0 in n.args[1]), 0)

def expect_separate_images(network: Network) -> None:
    """In eval mode an image's logits do not depend on the other images of the batch."""
    for norm in batch_norms(network.evaluation.graph, network.evaluation.shapes):
        if norm.training and norm.running_mean is not None and norm.running_mean.kind == "constant":
            # A plain list hides layers from eval() as it does from the optimiser; the check of the weights says so.
            raise CheckEnded(Status.SKIPPED, "not judged, because eval() does not reach layers in a plain list")
        expect(
            not norm.training,
            "batch norm uses the statistics of the batch in eval mode, too, so an image's logits change with the other "
            "images: leave track_running_stats as it is, or hand training=self.training to F.batch_norm",
            line=norm.line,
        )
    for count in batch_sizes(network):
        changed = companions_change(network, count)
        expect(
            not changed,
            f"in eval mode the logits of an image change with the other images of the batch (of {count}). Each image "
            "must be judged by itself: take means over the channels or over height and width, never over the batch "
            "axis",
            line=line_over_the_batch(network.evaluation.graph),
        )

def batch_sizes(network: Network) -> list[int]:
    """Sizes from two images to some hundred, drawn by the course's secret: images may meet in large batches only."""
    if network.evaluation.graph.batch is not None:
        return [network.batch]
    draws = random_state(network.secret, f"batches/{network.name}")
    return [network.batch, *(int(draws.randint(low, high)) for low, high in ((2, 9), (17, 65), (129, 400)))]

def companions_change(network: Network, count: int) -> bool:
    """Whether logits of images change when others take the places of every second one of their batch."""
    images = network.images(count, part="companions")
    strangers = 3 * images[:, :, ::-1] + 1
    together = network.logits(images)
    for kept in (np.arange(count) % 2 == 0, np.arange(count) % 2 == 1):
        mixed = network.logits(np.where(kept[:, None, None, None], images, strangers))
        if depends_on_others(together[kept], mixed[kept]).any():
            return True
    return False

def run_or_explain(network: Network, images: Images, what: str) -> Array:
    """The logits; an exception while the graph runs is said to be about `what`."""
    try:
        return network.logits(images)
    except RunnerProblem as problem:
        if problem.status != "ERROR":
            raise
        fail(f"{what} does not pass; {WRITTEN_DOWN} ({problem})", line=problem.line)

def expect_raw_logits(network: Network) -> None:
    """No softmax, ReLU or the like after the classifier."""
    activation = network.head.output_activation
    remedy = {
        "softmax": "nn.CrossEntropyLoss contains it already, and applied twice it slows learning down",
        "log_softmax": "nn.CrossEntropyLoss contains it already",
        "relu": "it cuts off all negative logits, so the network cannot rule a class out",
    }
    why = remedy.get(activation or "", "return what the last linear layer computes")
    expect(
        activation is None,
        f"expected raw logits, found {activation} after the classifier: leave it out; {why}",
        line=network.head.output_activation_line,
    )

def expect_own_statistics(network: Network) -> None:
    """No batch norm serves in two places: its running statistics would be a mixture of both."""
    seen: dict[str, int] = {}
    for norm in batch_norms(network.evaluation.graph, network.evaluation.shapes):
        tensor = norm.running_mean or norm.weight
        if tensor is None:
            continue
        expect(
            tensor.key not in seen,
            f"one batch norm (`{tensor.name.rpartition('.')[0]}`) is used in two places: each needs its own, since its "
            "running mean and variance belong to one layer",
            line=norm.line,
        )
        seen[tensor.key] = norm.node

def expect_global_average_pooling(network: Network, other_size: int) -> None:
    """Images of another size pass, because what remains of height and width is averaged before the classifier."""
    other = network.problem_or_graph(False, other_size)
    features = network.head
    expect_rows(network)
    average = "Average over whatever height and width remain"
    fits, found = False, None
    if not isinstance(other, Problem):
        export = network.export(training=False, size=other_size)
        count = export.graph.batch or EXPORTED_BATCH
        found = network.logits(network.images(count, other_size), export).shape
        fits = found == (count, network.classes)
    one_place = (features.feature_shape or ())[1:2] == (features.flattened_inputs,)  # of the map, at every size
    if features.flattened_inputs is not None and not (fits and one_place):
        values = f"{features.flattened_inputs:,}"
        fail(
            f"{average}: expected one value per channel before the classifier, your pooling leaves {values} values"
            if fits
            else f"{average}: your classifier expects {values} inputs, so {other_size}×{other_size} images do not fit",
            line=features.flatten_line,
        )
    if isinstance(other, Problem) and other.status is Status.ERROR:
        what = f"{average}: {other_size}×{other_size} images do not pass"
        if features.global_pooling is not None:
            sides = "×".join(map(str, (features.feature_shape or ())[2:]))
            fail(f"{what}, since your pooling is written for maps of {sides} only", line=features.pooling_line)
        fail(f"{what} ({other.message})", line=other.cell * LINES_PER_CELL + other.line)
    network.graph(False, other_size)  # any other problem at this size ends the check as what it is
    if not fits:
        fail(
            f"{average}: for {EXPORTED_BATCH} images of {other_size}×{other_size}, expected logits "
            f"{(EXPORTED_BATCH, network.classes)}, got {found}"
        )
    pooling = {
        "max": "the maximum over height and width is taken",
        None: "no pooling over all of height and width found",
    }
    expect(
        features.global_pooling == "average",
        f"{average} before the classifier (nn.AdaptiveAvgPool2d(1), or x.mean(dim=(2, 3))): "
        f"{pooling.get(features.global_pooling, 'another reduction is used')}",
        line=features.pooling_line,
    )
    expect(
        bool(network.effects.effective([(features.pooling, everywhere(features.pooling))], 1)),
        f"{average} before the classifier: what is averaged hardly changes the logits",
        line=features.pooling_line,
    )

def expect_dropout(network: Network) -> None:
    """Dropout before the classifier: on in training, off in evaluation."""
    graph = network.graph(False, network.size)
    for noise in dropouts(graph, network.evaluation.shapes):
        expect(
            not noise.active or noise.probability == 0,
            "dropout stays on in eval mode, so the same image gets different logits each time. Use nn.Dropout, or "
            "F.dropout(x, p, training=self.training)",
            line=noise.line,
        )
    export = network.training
    ending = head(export.graph, export.shapes)
    strong = [noise for noise in ending.dropouts if noise.active and has_strength(noise)]
    if network.training_effects.effective([(noise, everywhere(noise.node)) for noise in strong], 1):
        return
    if strong:
        fail(
            "dropout before the classifier hardly changes the logits: put it where the features pass",
            line=strong[0].line,
        )
    weak = next((noise for noise in ending.dropouts if noise.active), None)
    if weak is not None:
        asked = f"expected a probability from {LEAST_DROPOUT} to {MOST_DROPOUT}, 0.5 say"
        fail(f"dropout before the classifier: {asked}, found {weak.probability:.3g}", line=weak.line)
    elsewhere = [noise for noise in dropouts(export.graph, export.shapes) if noise.active]
    expect(bool(elsewhere), "no dropout before the classifier in training: nn.Dropout(0.5), then the linear layer")
    last = max((layer.node for layer in ending.classifiers), default=-1)
    if elsewhere[-1].node > last >= 0:
        fail("dropout comes after the classifier, where it erases logits: put it in front", line=elsewhere[-1].line)
    fail(
        "there is dropout, but none between the last block and the classifier, where it is asked for",
        line=elsewhere[-1].line,
    )

LEAST_DROPOUT, MOST_DROPOUT = 0.01, 0.95  # as the notebook says

def has_strength(noise: Dropout) -> bool:
    """Whether a dropout erases neither nothing nor everything."""
    return LEAST_DROPOUT <= noise.probability <= MOST_DROPOUT

def other_norms(graph: ModelGraph) -> str:
    """`; found group norm`, say, where a network normalises in another way; else nothing."""
    found = {n.operation for n in graph.nodes} & NORMS - {"aten.batch_norm.default"}
    names = sorted(operation.split(".")[1].replace("_", " ") for operation in found)
    return f"; found {' and '.join(names)}, which may stand beside it" if names else ""
''',
    "_kit_graders_weights": r'''
from __future__ import annotations
from _kit import expect
from _kit import fail
from _kit_graders_effects import awake
from _kit_graders_effects import other_parameters
from _kit_graders_effects import root_mean_square
from _kit_graders_networks import differentiating
from _kit_graders_networks import expect_rows
from _kit_graders_networks import layer_kind
from _kit_graphs_analysis_flow import COPIES
from _kit_graphs_analysis_flow import RESHAPES
from _kit_graphs_analysis_layers import detached
from _kit_graphs_analysis_layers import linears
from _kit_graphs_operations import WEIGHT_STARTS
from _kit_judging_evidence import EXPORTED_BATCH
import math
import numpy as np
import safetensors.numpy

def expect_learning_weights(network: Network, *, loss: str = "cross_entropy") -> None:
    """Every convolution and linear weight is a registered parameter and receives finite gradient, not all zero."""
    layers: list[Convolution | Linear] = [
        *network.convolutions,
        *linears(network.evaluation.graph, network.evaluation.shapes),
    ]
    expect(bool(layers), "no convolution or linear layer found")
    for layer in sorted(layers, key=lambda layer: layer.node):
        expect_kept(layer, network.graph(False, network.size))
        expect_registered(layer)
    expect_computed_weights(network, layers)
    export = network.training
    if loss == "cross_entropy":
        expect_rows(network)
    expect_gradients(network, export, loss)

def expect_computed_weights(network: Network, layers: Sequence[Convolution | Linear]) -> None:
    """Weights that forward computes (weight norm, say) change with the parameters that they are computed from.

    `constant + 0 * parameter` would have the parameter's name and the constant's values.
    """
    computed = [layer for layer in layers if layer.weight is None and layer.weight_kinds - {"buffer"}]
    if not computed:
        return
    graph, tensors, runner = network.evaluation.graph, network.evaluation.tensors, network.runner
    images, nodes = network.images(network.batch), [layer.weight_node for layer in computed]
    handles = [runner.load(graph, made) for made in (awake(graph, tensors), other_parameters(graph, tensors))]
    before, after = (runner.values(handle, images, nodes) for handle in handles)
    for layer, one, other in zip(computed, before, after, strict=True):
        moved = root_mean_square(other - one)
        expect(
            moved >= LEAST_MOVE * max(root_mean_square(one), root_mean_square(other)),
            f"the weights of a {layer_kind(layer)} hardly change with any parameter, so the optimiser cannot change "
            "them. "
            "Use the parameter itself as the weight, or a value in which it counts",
            line=layer.line,
        )
    for handle in handles:
        runner.release(handle)

LEAST_MOVE = 0.01  # weight norm, standardised and low-rank weights move by more than 0.5

def expect_kept(layer: Convolution | Linear, graph: ModelGraph) -> None:
    """The layer is not made anew, with random weights, each time that forward runs."""
    index = graph.nodes[layer.node].inputs[1]
    while graph.nodes[index].operation in COPIES | RESHAPES:
        index = graph.nodes[index].inputs[0]
    expect(
        graph.nodes[index].operation not in WEIGHT_STARTS,
        "a layer is made in forward, with new random weights at every call, so it never learns. Make it once, in "
        "__init__, and keep it in an attribute",
        line=layer.line,
    )

def expect_registered(layer: Convolution | Linear) -> None:
    """The layer's weights are parameters. A fixed filter, made in forward or kept as a buffer, is meant to be fixed."""
    if layer.weight_kinds <= {"buffer"}:
        return
    kind = layer_kind(layer)
    expect(
        layer.is_registered,
        f"the weights of a {kind} are not registered as parameters, so the optimiser will never change them. Keep "
        "layers in attributes, nn.Sequential or nn.ModuleList, not in a plain list or dict",
        line=layer.line,
    )
    expect(layer.is_trainable, f"the weights of a {kind} cannot learn: {why_untrained(layer)}", line=layer.line)

def why_untrained(layer: Convolution | Linear) -> str:
    """What keeps gradients from the registered weights of a layer, and the remedy."""
    if "parameter" not in layer.weight_kinds:
        return "they are frozen (requires_grad=False). Leave requires_grad as it is"
    if not layer.takes_gradient:
        return "they are used inside no_grad. That belongs around an evaluation, not into forward"
    return "they are detached (detach, .data?) before they are used. Use them as they are"

# Of a matrix, as `relative_gradients` measures it. Least of 115 correct networks: 3.7e-7, in a small ConvNeXt.
LEAST_GRADIENT = 1e-9

def expect_gradients(network: Network, export: LoadedGraph, loss: str) -> None:
    """Kernels and matrices (two or more axes) must move; biases and norm parameters may have no gradient at all."""
    gradients = relative_gradients(network, export, loss)
    stopped = detached(export.graph)
    line = export.graph.nodes[stopped[0]].line if stopped else 0
    for name, found in gradients.items():
        shown = "a weight" if network.is_drawn else f"`{name}`"
        if found is None:
            fail(f"the gradient of {shown} is NaN or infinite: look for a division by zero or an overflow")
        if found == 0 and not is_used(export.graph, name):
            fail(f"no gradient reaches {shown}: it is never used in forward. Use it there, or take it out of __init__")
        if found == 0:
            cut = "the way back to it is cut by detach, .data or no_grad. Leave that out of forward"
            fail(f"no gradient reaches {shown}, so it would keep its random values: {cut}", line=line)
        expect(
            found >= LEAST_GRADIENT,
            f"hardly any gradient reaches {shown}, so it would keep its random values: is what it computes multiplied "
            "by a tiny number?",
        )

def relative_gradients(network: Network, export: LoadedGraph, loss: str) -> dict[str, float | None]:
    """For each kernel and matrix: the largest entry of its gradient times its own largest entry, as a part of the loss;
    None where it is not finite. A number without a unit: it is the same in whatever scale a layer computes."""
    count = export.graph.batch or EXPORTED_BATCH
    tensors = awake(export.graph, export.tensors)
    handle = network.runner.load(export.graph, tensors)
    with differentiating(network, export):
        found = network.runner.gradients(handle, network.images(count), network.labels(count), loss=loss)
    network.runner.release(handle)
    arrays = safetensors.numpy.load(tensors)
    kernels = [t for t in export.graph.tensors if t.kind == "parameter" and len(t.shape) >= 2 and t.numel]
    largest = {t.name: float(np.abs(arrays[t.key]).max(initial=0.0)) for t in kernels}
    return {
        name: found.parameters[name].max_abs * size / max(found.loss, SMALLEST)
        if found.parameters[name].finite and math.isfinite(found.loss)
        else None
        for name, size in largest.items()
    }

SMALLEST = float(np.finfo(np.float32).tiny)

def is_used(graph: ModelGraph, name: str) -> bool:
    """Whether any operation reads a tensor."""
    places = {node.index for node in graph.nodes if node.tensor >= 0 and graph.tensors[node.tensor].name == name}
    return any(places & set(node.inputs) for node in graph.nodes)
''',
    "_kit_graders_test_deeper_cnn": r'''
from __future__ import annotations
from _kit import expect
from _kit import fail
from _kit_graders_effects import everywhere
from _kit_graders_expectations import expect_dropout
from _kit_graders_expectations import expect_free_batch
from _kit_graders_expectations import expect_global_average_pooling
from _kit_graders_expectations import expect_logits
from _kit_graders_expectations import expect_own_statistics
from _kit_graders_expectations import expect_raw_logits
from _kit_graders_expectations import expect_separate_images
from _kit_graders_expectations import other_norms
from _kit_graders_weights import expect_learning_weights
from _kit_graphs_analysis_blocks import blocks
from _kit_graphs_analysis_blocks import halved_times
from _kit_graphs_analysis_blocks import map_sizes

CHANNELS = (32, 64, 128, 256)

def trunk_blocks(network: Network) -> tuple[Block, ...]:
    """The network's trunk, divided into blocks."""
    found = blocks(network.evaluation.graph, network.evaluation.shapes, CHANNELS)
    expect(bool(found), "no convolution found, so there are no blocks")
    return found

def channels_of(found: Sequence[Block]) -> tuple[int, ...]:
    """The channels with which blocks end."""
    return tuple(block.out_channels for block in found)

def counted_blocks(network: Network) -> tuple[Block, ...]:
    """The trunk divided into as many blocks as it halves height and width, whatever is asked for."""
    graph, shapes = network.evaluation.graph, network.evaluation.shapes
    times = max(halved_times(map_sizes(graph, shapes)), 0)
    return blocks(graph, shapes, (*CHANNELS[:times], *[0] * (times - len(CHANNELS))))

def test_logits(builds: list[Network]) -> None:
    """Gives logits (N, num_classes), for any num_classes"""
    expect_logits(builds)

def test_any_batch_size(deeper_cnn: Network) -> None:
    """Any batch size works, one image included, and images do not influence one another"""
    expect_free_batch(deeper_cnn)
    expect_separate_images(deeper_cnn)

def test_weights_learn(deeper_cnn: Network) -> None:
    """Every convolution and linear weight is registered and receives gradient"""
    expect_learning_weights(deeper_cnn)

def test_four_blocks(deeper_cnn: Network) -> None:
    """Four blocks, which end with 32, 64, 128 and 256 channels"""
    found = trunk_blocks(deeper_cnn)
    if channels_of(found) != CHANNELS:
        counted = counted_blocks(deeper_cnn)
        is_four = len(counted) == len(CHANNELS)
        shown = found if is_four else counted
        many = f" ({len(counted)} block{'s' * (len(counted) != 1)} that halve height and width, 4 are asked for)"
        fail(
            "channels at the ends of the blocks: expected 32 → 64 → 128 → 256, found "
            f"{' → '.join(map(str, channels_of(shown))) or 'none'}{'' if is_four else many}",
            line=next((b.line for b, asked in zip(shown, CHANNELS, strict=False) if b.out_channels != asked), 0),
        )
    for number, block in enumerate(found, 1):
        convolved = deeper_cnn.effects.effective([(c, everywhere(c.node)) for c in block.convolutions], 1)
        expect(bool(convolved), f"the convolutions of block {number} have no effect on the logits", line=block.line)

def test_batch_norm(deeper_cnn: Network) -> None:
    """Batch norm in every block"""
    for number, block in enumerate(trunk_blocks(deeper_cnn), 1):
        expect(
            bool(block.batch_norms),
            f"no batch norm found in block {number}{other_norms(deeper_cnn.evaluation.graph)}",
            line=block.line,
        )
        acting = deeper_cnn.effects.effective([(norm, everywhere(norm.node)) for norm in block.batch_norms], 1)
        expect(
            bool(acting),
            f"the batch norm in block {number} has no effect on the logits: let the features pass through it",
            line=block.batch_norms[0].line,
        )
    expect_own_statistics(deeper_cnn)

def test_other_image_size(deeper_cnn: Network) -> None:
    """64×64 images work, by global average pooling and one linear classifier"""
    expect_global_average_pooling(deeper_cnn, 64)
    layers = deeper_cnn.head.classifiers
    expect(
        len(layers) == 1,
        f"expected one linear layer after the pooling, found {len(layers)}",
        line=layers[1].line if len(layers) > 1 else 0,
    )

def test_raw_logits_and_dropout(deeper_cnn: Network) -> None:
    """Raw logits; dropout before the classifier in training, off in evaluation"""
    expect_raw_logits(deeper_cnn)
    expect_dropout(deeper_cnn)
''',
    "_kit_graders_test_depthwise_separable": r'''
from __future__ import annotations
from _kit import CheckEnded
from _kit import Status
from _kit import expect
from _kit import expect_depthwise
from _kit import fail
from _kit import side_of
from _kit_graders_effects import everywhere
from _kit_graders_networks import up_to
from _kit_graders_weights import expect_learning_weights
from _kit_graphs_analysis_layers import Convolution
from _kit_graphs_analysis_layers import Linear
from _kit_graphs_analysis_layers import linears
import numpy as np

SIGNATURE = {"kernel_size": 3, "stride": 1, "padding": 1}

def layers(network: Network) -> list[Layer]:
    """Everything with weights that computes: a linear layer over the channels is a 1×1 convolution, too."""
    found: list[Layer] = [*network.convolutions, *linears(network.evaluation.graph, network.evaluation.shapes)]
    return sorted(found, key=lambda layer: layer.node)

def channels_seen(layer: Layer) -> int:
    """How many input channels each kernel looks at."""
    return layer.in_features if isinstance(layer, Linear) else layer.in_channels // layer.groups

def is_pointwise(layer: Layer) -> bool:
    return isinstance(layer, Linear) or layer.is_pointwise

def depthwise_stage(network: Network) -> tuple[list[Layer], Layer | None]:
    """The layers that work in space (one per channel is fine, as is one for all), and the one that comes next."""
    found = layers(network)
    if not found:
        fail("no convolution found: a depthwise and a pointwise convolution are asked for")
    count = 1
    if channels_seen(found[0]) == 1:
        count = next((i for i, layer in enumerate(found) if channels_seen(layer) > 1), len(found))
    return found[:count], found[count] if count < len(found) else None

def is_reversed(network: Network) -> bool:
    """Whether the 1×1 convolution comes first."""
    found = layers(network)
    return len(found) > 1 and is_pointwise(found[0]) and channels_seen(found[1]) == 1

def arguments(network: Network) -> dict[str, int]:
    return {**SIGNATURE, **network.build.arguments}

def output_shape(network: Network) -> tuple[int, ...]:
    """What a standard convolution with the same arguments gives."""
    a = arguments(network)
    side = side_of(a, network.size)
    return network.batch, a["out_channels"], side, side

def test_output_shapes(builds: list[Network]) -> None:
    """Output shapes follow channels, kernel size, stride and padding"""
    found = [tuple(network.logits(network.images(network.batch)).shape) for network in builds]
    if found != [output_shape(network) for network in builds]:
        explain_shapes(builds, found)

def explain_shapes(builds: Sequence[Network], found: Sequence[tuple[int, ...]]) -> None:
    """Fail with the one mistake that explains all shapes, if there is one."""
    for network, shape in zip(builds, found, strict=True):
        expect(len(shape) == 4, "expected an output with 4 axes [N, C, H, W], found another number of them")
        a = arguments(network)
        if shape[1] != a["out_channels"]:
            ignored = shape[1] == a["in_channels"]
            fail(f"the output must have out_channels channels, it has {'in_channels' if ignored else 'another number'}")
    stage, second = depthwise_stage(builds[0])
    line = stage[0].line
    sides = [shape[2:] for shape in found]
    for message, mistaken in DEPTHWISE_MISTAKES.items():
        if sides == [(mistaken(arguments(n), n.size),) * 2 for n in builds]:
            fail(f"{message}: hand it to the depthwise convolution", line=line)
    for message, mistaken in POINTWISE_MISTAKES.items():
        if sides == [(mistaken(arguments(n), n.size),) * 2 for n in builds]:
            fail(f"{message}: only the depthwise convolution takes it", line=second.line if second else 0)
    fail(
        "height and width of the output differ from those of a standard convolution with the same arguments: the "
        "depthwise convolution takes kernel_size, stride and padding as they are, the pointwise one none of them",
        line=line,
    )

DEPTHWISE_MISTAKES: dict[str, Side] = {
    "`stride` has no effect": lambda a, n: side_of({**a, "stride": 1}, n),
    "`padding` has no effect": lambda a, n: side_of({**a, "padding": 1}, n),
    "`padding` is left out": lambda a, n: side_of({**a, "padding": 0}, n),
    "the padding is derived from the kernel size, `padding` has no effect": (
        lambda a, n: side_of({**a, "padding": a["kernel_size"] // 2}, n)
    ),
    "`kernel_size` has no effect": lambda a, n: side_of({**a, "kernel_size": 3}, n),
}

POINTWISE_MISTAKES: dict[str, Side] = {
    "`stride` is applied twice": lambda a, n: (side_of(a, n) - 1) // a["stride"] + 1,
    "`padding` is applied twice": lambda a, n: side_of(a, n) + 2 * a["padding"],
    "`stride` and `padding` are applied twice": (
        lambda a, n: (side_of(a, n) + 2 * a["padding"] - 1) // a["stride"] + 1
    ),
}

def test_first_is_depthwise(builds: list[Network]) -> None:
    """The first convolution is depthwise: each channel has a kernel of its own"""
    for network in builds:
        if is_reversed(network):
            fail(
                "the pointwise convolution comes first: filter in space first, then mix the channels",
                line=layers(network)[0].line,
            )
        stage, following = depthwise_stage(network)
        for layer in stage:
            expect_depthwise(layer, network)
        kernels = sum(layer.out_channels for layer in stage if isinstance(layer, Convolution))
        expect(
            kernels == arguments(network)["in_channels"],
            "one kernel per input channel is asked for: the depthwise convolution must have as many output as input "
            "channels",
            line=stage[0].line,
        )
        expect_channels_apart(network, following)
        expect_acting(network, stage, "the depthwise convolution")

def expect_channels_apart(network: Network, following: Layer | None) -> None:
    """Until the mixing layer, a change in input channel i shows in channel i only."""
    if following is None:
        return  # there is no mixing layer: the next check says so
    graph = up_to(network.evaluation.graph, following.data)
    handle = network.runner.load(graph, network.evaluation.tensors)
    images = network.images(network.batch)
    plain = by_channel(network.runner.run(handle, images), following)
    for channel in range(images.shape[1]):
        changed = images.copy()
        changed[:, channel] = changed[:, channel, ::-1] + 1
        difference = np.abs(by_channel(network.runner.run(handle, changed), following) - plain)
        # Each channel by its own size: one that is huge must not hide what happens in the others.
        moved = difference.max(axis=1) > 1e-5 * np.abs(plain).max(axis=1)
        expect(
            not moved[np.arange(len(moved)) != channel].any(),
            "before the 1×1 convolution the channels must stay apart, but a change in one of them shows in others",
            line=following.line,
        )
    network.runner.release(handle)

def by_channel(values: Array, layer: Layer) -> Array:
    """What a layer mixes, (N, C, H, W) or (N, H, W, C) before a linear one, as rows of channels (C, ...)."""
    axis = layer.axis if isinstance(layer, Linear) else 1
    expect(
        values.ndim > axis and values.size > 0,
        "the layer that mixes the channels works on a value without pixels: give it what the depthwise one made",
        line=layer.line,
    )
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)

def expect_acting(network: Network, stage: Sequence[Layer], what: str) -> None:
    """Every layer of a stage has an effect on the output."""
    acting = network.effects.effective([(layer, everywhere(layer.node)) for layer in stage], len(stage))
    idle = next((layer for layer in stage if layer not in acting), None)
    expect(idle is None, f"{what} has no effect on the output: use what it computes", line=idle.line if idle else 0)

def test_second_is_pointwise(builds: list[Network]) -> None:
    """The second convolution is 1×1 and mixes all channels"""
    for network in builds:
        if is_reversed(network):
            raise CheckEnded(Status.SKIPPED, "not judged, because the two convolutions come in the wrong order")
        _, second = depthwise_stage(network)
        if second is None:
            fail("no second convolution that mixes the channels found: add the 1×1 one")
        expect(
            is_pointwise(second),
            "the second convolution must be 1×1 over all channels, found "
            + ("one with groups" if isinstance(second, Convolution) and second.groups > 1 else "a larger kernel"),
            line=second.line,
        )
        expect_acting(network, [second], "the 1×1 convolution")

def test_trains(builds: list[Network]) -> None:
    """Both convolutions are registered and receive gradient"""
    expect_learning_weights(builds[0], loss="square")
''',
    "_kit_graphs_analysis_sums": r'''
from __future__ import annotations
from _kit_graphs_analysis_flow import ACTIVATIONS
from _kit_graphs_analysis_flow import ADDITIONS
from _kit_graphs_analysis_flow import COPIES
from _kit_graphs_analysis_flow import NORMS
from _kit_graphs_analysis_flow import POOLS
from _kit_graphs_analysis_flow import PRODUCTS
from _kit_graphs_analysis_flow import RESHAPES
from _kit_graphs_analysis_flow import RESIZES
from _kit_graphs_analysis_flow import SCALINGS
from _kit_graphs_analysis_flow import TooTangled
from _kit_graphs_analysis_flow import carries_data
from _kit_graphs_analysis_flow import convolution_mask
from _kit_graphs_analysis_flow import first
from _kit_graphs_analysis_flow import names
from _kit_graphs_analysis_flow import passes_gradient
from _kit_graphs_analysis_flow import reach
from _kit_graphs_analysis_flow import users_of
from _kit_graphs_analysis_flow import without_in_place_writes
from _kit_graphs_model_graph import references
from _kit_graphs_operations import CONVOLUTIONS
from _kit_graphs_operations import DROPOUTS
from dataclasses import dataclass

# Far above what designs need; they keep the analysis of a graph made to be tangled short.
_MOST_WAYS = 64  # back from a sum along a possible shortcut

_MOST_SUMMANDS = 12

# Steps of the search, over all sums of a graph: a second or two. Of 115 correct networks the most tangled one,
# torchvision's maxvit_t, takes 862 (bench/effects.py).
MOST_STEPS = 50_000

PLAIN = ACTIVATIONS | NORMS | COPIES | DROPOUTS

RESHAPING = POOLS | RESHAPES | RESIZES

@dataclass(frozen=True)
class Addition:
    """A sum of values that carry data. `reason` says why it is not residual, empty where it is.

    shortcut: "identity", "projection" (a 1×1 convolution) or "reshaped" (pooling, slicing, padding). `edges` are the
    places where shortcut and branch enter a residual sum: the step that takes the value, and the value.
    """

    node: int
    line: int
    is_residual: bool
    shortcut: str = ""
    reason: str = ""
    edges: tuple[_Edge, ...] = ()

@dataclass(frozen=True)
class _Summand:
    """A value that enters a sum, and the step that takes it."""

    value: int
    step: int

def additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Every sum of values that carry data, residual or not; sums of sums count as one.

    Raises TooTangled beyond MOST_STEPS.
    """
    return _judge_all(_Search(graph, *without_in_place_writes(graph, shapes)))

def _judge_all(search: _Search) -> tuple[Addition, ...]:
    graph = search.graph
    carries = carries_data(graph)
    users = users_of(graph)
    sums = {n.index: _summands(graph, n) for n in graph.nodes if carries[n.index]}
    inner = {
        part.value
        for parts in sums.values()
        for part in parts
        if len(users[part.value]) == 1
        and graph.nodes[part.value].operation in ADDITIONS
        and len(sums.get(part.value, ())) > 1
    }
    found = []
    for index, parts in sums.items():
        if len(parts) > 1 and index not in inner:
            found.append(search.judge(index, _leaves(parts, sums, inner)))
    return tuple(found)

def residual_additions(graph: ModelGraph, shapes: Shapes) -> tuple[Addition, ...]:
    """Sums of a value and what convolutions computed from it.

    The shortcut may be the value itself, a 1×1 convolution of it (with norm and activation), or a pooled, sliced or
    padded copy; an activation or norm on the way is allowed, since pre-activation blocks share theirs with the branch,
    and so is a gate that is computed from the value itself, as in highway networks.
    Not residual: `x + x`, two parallel branches, a detached or constant summand, a branch without a convolution of its
    own. Concatenations are not additions.
    """
    return tuple(addition for addition in additions(graph, shapes) if addition.is_residual)

def _summands(graph: ModelGraph, node: Node) -> tuple[_Summand, ...]:
    """The values that a node adds and that carry data: of `a + b`, of a stack summed up, of `addcmul(a, b, c)`, and of
    `lerp(a, b, t)`, which is (1 − t) · a + t · b."""
    carries = carries_data(graph)
    if node.operation in ADDITIONS | names("lerp.Tensor lerp_.Tensor lerp.Scalar lerp_.Scalar"):
        return tuple(_Summand(i, node.index) for i in references(node.args[:2]) if carries[i])
    if node.operation in names("sum.dim_IntList mean.dim"):
        source = graph.nodes[first(node)]
        stacked = source.operation == "aten.stack.default" and node.args[1] in {(source.args[1],), source.args[1]}
        return tuple(_Summand(i, source.index) for i in references(source.args[0]) if carries[i]) if stacked else ()
    if node.operation in names("addcmul addcmul_"):
        factors = [i for i in references(node.args[1:3]) if carries[i]]
        base = [i for i in references(node.args[:1]) if carries[i]]
        alone = base and len(factors) == 1
        return (_Summand(base[0], node.index), _Summand(factors[0], node.index)) if alone else ()
    return ()

def _leaves(
    parts: tuple[_Summand, ...], sums: Mapping[int, tuple[_Summand, ...]], inner: Collection[int]
) -> list[_Summand]:
    leaves: list[_Summand] = []
    pending = list(parts)
    while pending and len(leaves) < _MOST_SUMMANDS:
        part = pending.pop(0)
        if part.value in inner:
            pending = [*sums[part.value], *pending]
        else:
            leaves.append(part)
    return leaves

@dataclass(frozen=True)
class _Way:
    """A value that a shortcut may start from: what lies between makes it of a kind, with convolutions of its `own`."""

    value: int
    kind: str
    own: frozenset[int]

class _Search:
    """Looks for shortcuts in one graph, in a bounded number of steps for all of its sums."""

    def __init__(self, original: ModelGraph, graph: ModelGraph, shapes: Shapes) -> None:
        """`graph` and `shapes` are those of `original` as its values are read."""
        self.original, self.graph, self.shapes = original, graph, shapes
        self.carries = carries_data(graph)
        self.left = MOST_STEPS

    def judge(self, index: int, leaves: Sequence[_Summand]) -> Addition:
        line = self.graph.nodes[index].line
        if not self.graph.nodes[index].grad:
            return Addition(index, line, False, reason="detached")
        reasons = []
        for shortcut in leaves:
            others = [leaf for leaf in leaves if leaf.value != shortcut.value]
            ways = self.ways_back(shortcut.value) if others else []
            for branch in others:
                found = self.residual(shortcut.value, branch.value, ways)
                if found in ("identity", "projection", "reshaped"):
                    edges = tuple(self.edge(leaf) for leaf in (shortcut, branch))
                    return Addition(index, line, True, shortcut=found, edges=edges)
                reasons.append(found)
        if not reasons:
            return Addition(index, line, False, reason="same value")
        order = ["detached", "no convolution between", "unrelated"]
        return Addition(index, line, False, reason=min(reasons, key=order.index))

    def edge(self, leaf: _Summand) -> _Edge:
        """Where a summand enters the graph that runs: there a step takes the value that was written into, not the
        write."""
        read, runs = (references(g.nodes[leaf.step].args) for g in (self.graph, self.original))
        return leaf.step, runs[read.index(leaf.value)]

    def residual(self, shortcut: int, branch: int, ways: Sequence[_Way]) -> str:
        """How `shortcut` bypasses convolutions of `branch`, by kind; or why it does not."""
        reason = "unrelated"
        known = reach(self.graph, True)
        for way in ways:
            if known.ancestors[branch] >> way.value & 1:
                if self.is_between(known, way, branch):
                    return way.kind
                reason = "no convolution between"
        # The same question with gradients let through everything: then it is they that are missing.
        known = reach(self.graph, False)
        for way in self.ways_back(shortcut, through_stops=True):
            if known.ancestors[branch] >> way.value & 1 and self.is_between(known, way, branch):
                return "detached"
        return reason

    def is_between(self, known: Reach, way: _Way, branch: int) -> bool:
        """Whether a convolution is on a path from the way's end to `branch`, none of the shortcut's own counted.

        Nodes are bits of integers here: listed, they would take gigabytes for a graph made to do so.
        """
        self.spend(1)
        left_out = sum(1 << node for node in {way.value, *way.own})
        convolved = known.ancestors[branch] & known.descendants[way.value] & convolution_mask(self.graph)
        return bool(convolved & ~left_out)

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooTangled(
                f"the graph of the network is too tangled to be examined: its {len(self.graph.nodes):,} operations add "
                "values in more ways than are looked through"
            )

    def gated(self, factors: Sequence[int]) -> list[int]:
        """Of `x * gate(x)` the x: the factor that the other one is computed from."""
        ancestors = reach(self.graph, False).ancestors
        return [i for i in factors if any(i != j and ancestors[j] >> i & 1 for j in factors)]

    def ways_back(self, start: int, through_stops: bool = False) -> list[_Way]:
        """Values that `start` may be a shortcut from, nearest first.

        Steps back through what a shortcut may do, one 1×1 convolution at most.
        """
        found: list[_Way] = []
        pending = [_Way(start, "identity", frozenset())]
        seen = set()
        while pending and len(found) < _MOST_WAYS:
            self.spend(1)
            way = pending.pop(0)
            if (way.value, bool(way.own)) not in seen:
                seen.add((way.value, bool(way.own)))
                found.append(way)
                pending += self.steps_back(way, through_stops)
        return found

    def steps_back(self, way: _Way, through_stops: bool) -> list[_Way]:
        node = self.graph.nodes[way.value]
        if node.kind != "call" or not (passes_gradient(node) or through_stops):
            return []
        data = [i for i in dict.fromkeys(node.inputs) if self.carries[i]][:_MOST_WAYS]
        if node.operation in CONVOLUTIONS and not way.own and set((self.shapes[node.inputs[1]] or ())[2:]) == {1}:
            return [_Way(data[0], "projection", way.own | {way.value})]
        if node.operation in PLAIN or (node.operation in SCALINGS and len(data) == 1):
            return [_Way(i, way.kind, way.own) for i in data]
        if node.operation in PRODUCTS:
            return [_Way(i, way.kind, way.own) for i in self.gated(data)]
        if node.operation in RESHAPING:
            return [_Way(i, "reshaped" if way.kind == "identity" else way.kind, way.own) for i in data]
        return []
''',
    "_kit_graders_test_modern_cnn": r'''
from __future__ import annotations
from _kit import expect
from _kit import fail
from _kit_graders_answers import evidence_for
from _kit_graders_effects import everywhere
from _kit_graders_expectations import expect_free_batch
from _kit_graders_expectations import expect_global_average_pooling
from _kit_graders_expectations import expect_logits
from _kit_graders_expectations import expect_own_statistics
from _kit_graders_expectations import expect_raw_logits
from _kit_graders_expectations import other_norms
from _kit_graders_transforms import TEST
from _kit_graders_transforms import TRAIN
from _kit_graders_transforms import arrays_of
from _kit_graders_transforms import expect_alike
from _kit_graders_transforms import expect_float_images
from _kit_graders_transforms import expect_image_shows
from _kit_graders_transforms import transformed
from _kit_graders_weights import expect_learning_weights
from _kit_graphs_analysis_flow import ADDITIONS
from _kit_graphs_analysis_flow import carries_data
from _kit_graphs_analysis_layers import batch_norms
from _kit_graphs_analysis_sums import additions
from _kit_graphs_analysis_sums import residual_additions
from _kit_graphs_model_graph import references
import numpy as np

RESIDUAL_BLOCKS = 2

def test_logits(builds: list[Network]) -> None:
    """Gives raw logits (N, num_classes), for any num_classes and any batch size"""
    expect_logits(builds)
    expect_free_batch(builds[0])
    expect_raw_logits(builds[0])

def test_residual_blocks(modern_cnn: Network) -> None:
    """At least two residual blocks: a value is added to what convolutions computed from it"""
    graph, shapes = modern_cnn.evaluation.graph, modern_cnn.evaluation.shapes
    found = residual_additions(graph, shapes)
    if len(found) >= RESIDUAL_BLOCKS:
        parts = [(addition, addition.edges) for addition in found]
        acting = modern_cnn.effects.effective(parts, RESIDUAL_BLOCKS)
        if len(acting) >= RESIDUAL_BLOCKS:
            return
        idle = next((addition for addition in found if addition not in acting), found[0])
        fail(
            f"{len(found)} residual additions found, but {len(acting) or 'none'} in which both the block's input and "
            f"what its convolutions computed have an effect on the logits; at least {RESIDUAL_BLOCKS} are asked for",
            line=idle.line,
        )
    why, line = why_not_residual(graph, shapes)
    count = f"{len(found)} residual addition{'s' * (len(found) != 1)} found, at least {RESIDUAL_BLOCKS} are asked for"
    fail(f"{count}{f': {why}' if why else ''}", line=line)

def why_not_residual(graph: ModelGraph, shapes: Shapes) -> tuple[str, int]:
    """What is done where a residual addition might stand, and its line; nothing where there is no trace of one."""
    reasons = {
        "same value": "a value is added to itself. Add the block's input to what its convolutions made of it",
        "detached": "the shortcut is detached, so no gradient flows back through it. Add the value as it is",
        "no convolution between": (
            "no convolution lies between a value and the addition, so nothing is bypassed. Add the block's input "
            "behind its last convolution"
        ),
        "unrelated": (
            "two branches are added, and neither is the value that the other started from (or a 1×1 convolution of "
            "it). Add the block's input itself"
        ),
    }
    for addition in additions(graph, shapes):
        if addition.reason in reasons:
            return reasons[addition.reason], addition.line
    carries = carries_data(graph)
    for node in graph.nodes:
        summands = [i for i in references(node.args[:2]) if len(shapes[i] or ()) == 4]
        if node.operation in ADDITIONS and [carries[i] for i in summands].count(False) == 1 and len(summands) == 2:
            return "what is added does not depend on the image. Add the block's input", node.line
    for node in graph.nodes:
        if node.operation.startswith("aten.cat."):
            return "values are concatenated; a residual block adds them", node.line
    return "", 0

def test_batch_norm(modern_cnn: Network) -> None:
    """Batch norm in the residual network, one for each place"""
    found = batch_norms(modern_cnn.evaluation.graph, modern_cnn.evaluation.shapes)
    expect(
        len(found) >= RESIDUAL_BLOCKS,
        f"batch norm: expected at least one for each of {RESIDUAL_BLOCKS} residual blocks, found {len(found)} in all"
        + other_norms(modern_cnn.evaluation.graph),
    )
    acting = modern_cnn.effects.effective([(norm, everywhere(norm.node)) for norm in found], RESIDUAL_BLOCKS)
    expect(
        len(acting) >= RESIDUAL_BLOCKS,
        f"{len(found)} batch norms found, but {len(acting) or 'none'} with an effect on the logits; at least "
        f"{RESIDUAL_BLOCKS} are asked for",
        line=next((norm.line for norm in found if norm not in acting), 0),
    )
    expect_own_statistics(modern_cnn)

def test_other_image_size(modern_cnn: Network) -> None:
    """64×64 images work, by global average pooling"""
    expect_global_average_pooling(modern_cnn, 64)

def test_weights_learn(modern_cnn: Network) -> None:
    """Every convolution and linear weight is registered and receives gradient, the stem included"""
    expect_learning_weights(modern_cnn)

def test_training_varies(graded: CheckContext) -> None:
    """`train_transform` varies an image from draw to draw"""
    found = arrays_of(TRAIN, transformed(graded, TRAIN))
    expect_image_shows(graded, TRAIN)
    expect(
        any(not np.array_equal(found[0], other) for other in found[1:]),
        f"{len(found)} draws on one image all look the same: add random steps, such as a flip or a crop with padding",
    )

def test_training_gives_float(graded: CheckContext) -> None:
    """`train_transform` gives a float tensor (3, 32, 32)"""
    expect_float_images(TRAIN, transformed(graded, TRAIN).outputs)
    expect_image_shows(graded, TRAIN)

def test_testing_does_not_vary(graded: CheckContext) -> None:
    """`test_transform` does not vary"""
    for kind in evidence_for(graded.evidence.samples, TEST):
        found = arrays_of(TEST, transformed(graded, TEST, kind))
        expect(
            all(np.array_equal(found[0], other) for other in found[1:]),
            "the same image gives different results: leave flips, crops and jitter to `train_transform`",
        )
    expect_image_shows(graded, TEST)

def test_both_normalise_alike(graded: CheckContext) -> None:
    """Both transforms normalise alike"""
    expect_image_shows(graded, TRAIN)
    expect_image_shows(graded, TEST)
    expect_alike(arrays_of(TRAIN, transformed(graded, TRAIN)), arrays_of(TEST, transformed(graded, TEST))[0])
''',
    "_kit_graphs_tensor_file": r"""
from __future__ import annotations

SAFETENSORS_DTYPES = {  # by NumPy's names
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "bool": "BOOL",
}
""",
    "_kit_graphs_wire": r'''
from __future__ import annotations
from _kit_graphs_model_graph import DType
from _kit_graphs_model_graph import GraphRefused
from _kit_graphs_model_graph import ModelGraph
from _kit_graphs_model_graph import Node
from _kit_graphs_model_graph import Ref
from _kit_graphs_model_graph import Region
from _kit_graphs_model_graph import TensorInfo
from _kit_graphs_model_graph import references
from _kit_graphs_operations import EINSUM
from _kit_graphs_operations import EINSUM_EQUATION
from _kit_graphs_operations import GETITEM
from _kit_graphs_operations import OPERATIONS
from _kit_graphs_operations import RANDOM
from _kit_graphs_operations import SIZE_OPERATIONS
from _kit_graphs_operations import TEXTS
from _kit_graphs_operations import WEIGHT_STARTS
from _kit_graphs_tensor_file import SAFETENSORS_DTYPES
from dataclasses import dataclass
from dataclasses import field
import math
import re

MAX_NODES = 20_000

MAX_TENSORS = 10_000

MAX_REGIONS = 1_000

MAX_REGION_DEPTH = 16

MAX_RANK = 8

MAX_DIMENSION = 2**24

MAX_ELEMENTS = 2**28  # of one tensor or one input: 1 GiB of float32

MAX_INTEGER = 2**31

MAX_INTEGERS_IN_LIST = 64

MAX_TENSORS_IN_LIST = 1_024

MAX_ITEM = 4_096  # index into a list of results; the runner bounds the list itself

MAX_SHARED = 64  # input and weights that one value may be a view of: one, in an honest graph

MAX_NAME = 200

MAX_LINE = 10**9

_LAST = 2**63 - 1  # torch writes "to the end" of a slice so

_KEY = re.compile(r"t\d{1,6}")

_DTYPES = frozenset(SAFETENSORS_DTYPES) | {"bfloat16"}

def graph_from_wire(wire: object) -> ModelGraph:
    """Parse and check the data of one export. Raises GraphRefused."""
    return _Parser().parse(wire)

def graph_to_wire(graph: ModelGraph) -> dict[str, Any]:
    """The checked graph as data again, in the format that graph_from_wire reads."""
    return {
        "version": 1,
        "training": graph.training,
        "batch": "dynamic" if graph.batch is None else graph.batch,
        "input_shape": list(graph.input_shape),
        "tensors": [[t.kind, t.name, t.dtype, list(t.shape), t.key] for t in graph.tensors],
        "regions": [_encode_region(region) for region in graph.regions],
        "nodes": [_encode_node(node) for node in graph.nodes],
    }

def _encode_node(node: Node) -> list[Any]:
    if node.kind == "input":
        return ["input"]
    if node.kind == "tensor":
        return ["tensor", node.tensor]
    if node.kind == "output":
        return ["output", _encode(node.args[0])]
    return ["call", node.operation, [_encode(value) for value in node.args], node.line, node.region]

def _encode_region(region: Region) -> list[Any]:
    middle = [region.dtype] if region.kind == "autocast" else []
    return [region.parent, region.kind, *middle, region.setting]

def _encode(value: Value) -> Any:
    if isinstance(value, Ref):
        return {"node": value.index}
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value

@dataclass
class _Parser:
    """Checks one wire graph, front to back; `types` and `roots` grow with the nodes."""

    tensors: tuple[TensorInfo, ...] = ()
    regions: tuple[Region, ...] = ()
    training: bool = False
    nodes: list[Node] = field(default_factory=list)
    types: list[str] = field(default_factory=list)  # "tensor", "int", "float", "list", or "2" for two results
    roots: list[frozenset[int]] = field(default_factory=list)  # input and tensor nodes whose memory a value may share
    starts: set[int] = field(default_factory=set)  # nodes that are a new tensor of zeros, detached or not
    line: int = 0

    def parse(self, wire: object) -> ModelGraph:
        fields = {"version", "training", "batch", "input_shape", "tensors", "regions", "nodes"}
        if not isinstance(wire, dict) or set(wire) != fields:
            self.refuse(f"a model graph has the fields {', '.join(sorted(fields))}")
        if wire["version"] != 1 or isinstance(wire["version"], bool):
            self.refuse("the model graph has a version that this grader does not read")
        if not isinstance(wire["training"], bool):
            self.refuse("training must be true or false")
        self.training = wire["training"]
        input_shape = self.shape(wire["input_shape"], "input_shape", least=1)
        batch = self.batch(wire["batch"], input_shape)
        self.tensors = tuple(self.tensor(entry) for entry in self.items(wire["tensors"], "tensors", MAX_TENSORS))
        names = {tensor.name for tensor in self.tensors}
        if len(names) != len(self.tensors):
            self.refuse("two tensors have the same name")
        for entry in self.items(wire["regions"], "regions", MAX_REGIONS):
            self.regions += (self.region(entry),)
        entries = self.items(wire["nodes"], "nodes", MAX_NODES)
        for entry in entries:
            self.line = 0
            self.node(entry, last=len(self.nodes) == len(entries) - 1)
        kinds = [node.kind for node in self.nodes]
        if kinds.count("input") != 1 or kinds.count("output") != 1 or len(input_shape) == 0:
            self.refuse("a model graph has one input and ends with one output")
        used = [node.tensor for node in self.nodes if node.kind == "tensor"]
        if len(set(used)) != len(used):
            self.refuse("one tensor is two nodes")
        return ModelGraph(tuple(self.nodes), self.tensors, self.regions, self.training, batch, input_shape)

    def refuse(self, message: str) -> NoReturn:
        raise GraphRefused(message, self.line)

    def items(self, value: object, what: str, limit: int) -> list[Any]:
        if not isinstance(value, list) or len(value) > limit:
            self.refuse(f"{what}: expected a list of at most {limit:,} entries")
        return value

    def integer(self, value: object, what: str, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            self.refuse(f"{what}: expected an integer from {low:,} to {high:,}")
        return value

    def shape(self, value: object, what: str, least: int) -> tuple[int, ...]:
        sizes = self.items(value, what, MAX_RANK)
        shape = tuple(self.integer(size, what, least, MAX_DIMENSION) for size in sizes)
        if math.prod(size for size in shape if size) > MAX_ELEMENTS:  # torch multiplies what is beside a zero, too
            self.refuse(f"{what}: more than {MAX_ELEMENTS:,} elements")
        return shape

    def batch(self, value: object, input_shape: tuple[int, ...]) -> int | None:
        if value == "dynamic":
            return None
        if not input_shape or self.integer(value, "batch", 1, MAX_DIMENSION) != input_shape[0]:
            self.refuse("batch differs from input_shape")
        return input_shape[0]

    def tensor(self, entry: object) -> TensorInfo:
        if not isinstance(entry, list) or len(entry) != 5 or not all(isinstance(entry[i], str) for i in (0, 1, 2, 4)):
            self.refuse("tensors: expected [kind, name, dtype, shape, key]")
        kind, name, dtype, shape, key = entry
        if kind not in {"parameter", "frozen", "buffer", "constant"}:
            self.refuse("tensors: unknown kind")
        # Names go into messages: no line breaks, no escape sequences, no lone surrogates.
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            self.refuse("tensors: a name must be printable and short")
        if dtype == "bfloat16":
            self.refuse(f"{name}: bfloat16 weights are not supported; keep the model in float32")
        if dtype not in SAFETENSORS_DTYPES:
            self.refuse(f"{name}: unknown dtype")
        if not _KEY.fullmatch(key):
            self.refuse(f"{name}: a key is t and a number")
        return TensorInfo(kind, name, dtype, self.shape(shape, f"the shape of {name}", least=0), key)

    def region(self, entry: object) -> Region:
        if not isinstance(entry, list) or not 3 <= len(entry) <= 4 or not isinstance(entry[-1], bool):
            self.refuse("regions: expected [parent, kind, ...]")
        parent = self.integer(entry[0], "the parent of a region", 0, len(self.regions))
        depth, outer = 1, parent
        while outer:
            depth, outer = depth + 1, self.regions[outer - 1].parent
        if depth > MAX_REGION_DEPTH:
            self.refuse(f"regions are nested more than {MAX_REGION_DEPTH} deep")
        if entry[1] == "grad" and len(entry) == 3:
            return Region(parent, "grad", entry[-1])
        if entry[1] == "autocast" and len(entry) == 4 and entry[2] in {"bfloat16", "float16", "float32"}:
            return Region(parent, "autocast", entry[-1], entry[2])
        raise GraphRefused("regions: unknown kind", self.line)

    def grad(self, region: int) -> bool:
        while region:
            if self.regions[region - 1].kind == "grad":
                return self.regions[region - 1].setting
            region = self.regions[region - 1].parent
        return True

    def node(self, entry: object, last: bool) -> None:
        index = len(self.nodes)
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            self.refuse("nodes: expected [kind, ...]")
        kind = entry[0]
        if (kind == "output") != last:
            self.refuse("a model graph ends with its one output")
        if kind == "input" and len(entry) == 1:
            self.add(Node(index, "input"), "tensor", frozenset({index}))
        elif kind == "tensor" and len(entry) == 2:
            number = self.integer(entry[1], "the number of a tensor", 0, len(self.tensors) - 1)
            self.add(Node(index, "tensor", tensor=number), "tensor", frozenset({index}))
        elif kind == "output" and len(entry) == 2:
            value = self.reference(entry[1], {"tensor"}, "output")
            self.add(Node(index, "output", args=(value,)), "tensor", frozenset())
        elif kind == "call" and len(entry) == 5:
            self.call(index, *entry[1:])
        else:
            self.refuse("nodes: unknown kind of node, or a wrong number of fields")

    def add(self, node: Node, type_name: str, roots: frozenset[int]) -> None:
        self.nodes.append(node)
        self.types.append(type_name)
        self.roots.append(roots)

    def call(self, index: int, name: object, arguments: object, line: object, region: object) -> None:
        self.line = self.integer(line, "line", 0, MAX_LINE)
        place = self.integer(region, "region", 0, len(self.regions))
        if not isinstance(name, str):
            self.refuse("nodes: the name of an operation is a string")
        values = self.items(arguments, "arguments", MAX_INTEGERS_IN_LIST)
        if name == GETITEM or name in SIZE_OPERATIONS:
            args, type_name, roots = self.python_call(name, values)
        elif name in OPERATIONS:
            args, type_name, roots = self.aten_call(OPERATIONS[name], values)
        else:
            shown = name if re.fullmatch(r"[\w.]{1,80}", name) else "with a name that no operation has"
            self.refuse(f"the model uses the operation {shown}, which a model graph cannot hold")
        self.add(Node(index, "call", name, args, self.line, place, self.grad(place)), type_name, roots)

    def starts_weights(self, name: str, values: list[Any]) -> bool:
        """Whether random numbers are the first values of weights that forward makes anew at each call.

        `nn.Linear(8, 4)(x)` in forward does so: a mistake, but one that costs a check and not the whole graph.
        """
        source = values[0].get("node") if values and isinstance(values[0], dict) else None
        return name in WEIGHT_STARTS and type(source) is int and source in self.starts

    def aten_call(self, operation: Operation, values: list[Any]) -> tuple[tuple[Value, ...], str, frozenset[int]]:
        name = operation.name
        if len(values) != len(operation.kinds):
            self.refuse(f"{name} takes {len(operation.kinds)} arguments, got {len(values)}")
        if name in RANDOM and not self.training and not self.starts_weights(name, values):
            self.refuse(f"{name} draws random numbers in evaluation mode; only training may be random")
        args: list[Value] = []
        roots = frozenset[int]()
        for place, (kind, value) in enumerate(zip(operation.kinds, values, strict=True)):
            argument = self.argument(name, kind.rstrip("!&"), value, first=place == 0)
            args.append(argument)
            if kind.endswith(("!", "&")):
                shared = frozenset[int]().union(*(self.roots[i] for i in references(argument)))
                if kind.endswith("!"):
                    self.check_write(name, shared)
                roots |= shared
        if len(roots) > MAX_SHARED:  # a set of thousands for each of thousands of nodes takes gigabytes
            self.refuse(f"{name}: a value that shares memory with more than {MAX_SHARED} weights")
        if name == "aten.zeros.default" or (name == "aten.detach.default" and set(references(args[0])) <= self.starts):
            self.starts.add(len(self.nodes))
        returns = operation.returns
        type_name = {"Tensor": "tensor", "int": "int", "Tensor[]": "list"}[returns[0]]
        return tuple(args), str(len(returns)) if len(returns) > 1 else type_name, roots

    def check_write(self, name: str, roots: frozenset[int]) -> None:
        """Refuse writes that outlive a run. Batch norm's statistics (buffers) change while training, nothing else."""
        for root in roots:
            node = self.nodes[root]
            if node.kind == "input":
                self.refuse(f"{name} writes into the model's input")
            tensor = self.tensors[node.tensor]
            if tensor.kind == "constant" and tensor.dtype == "int64" and not tensor.shape:
                continue  # a batch norm in a plain list, which eval() does not reach, goes on counting its batches
            if tensor.kind != "buffer" or not self.training:
                self.refuse(f"{name} writes into {tensor.name} ({tensor.kind}) while the model runs")

    def python_call(self, name: str, values: list[Any]) -> tuple[tuple[Value, ...], str, frozenset[int]]:
        if len(values) != (1 if name == "operator.neg" else 2):
            self.refuse(f"{name}: wrong number of arguments")
        if name == GETITEM:
            source = self.reference(values[0], {"list", "2", "3"}, name)
            type_name = self.types[source.index]
            limit = MAX_ITEM if type_name == "list" else int(type_name)
            item = self.integer(values[1], "the index into several results", -limit, limit - 1)
            return (source, item), "tensor", self.roots[source.index]
        args = tuple(self.number(value, name, {"int", "float"}) for value in values)
        whole = all(isinstance(a, int) or (isinstance(a, Ref) and self.types[a.index] == "int") for a in args)
        return args, "int" if whole and name != "operator.truediv" else "float", frozenset()

    def reference(self, value: object, types: set[str], what: str) -> Ref:
        if not isinstance(value, dict) or set(value) != {"node"}:
            self.refuse(f"{what}: expected a reference to a node")
        index = self.integer(value["node"], f"{what}: the number of a node", 0, len(self.nodes) - 1)
        if self.types[index] not in types:
            self.refuse(f"{what}: a value of the wrong type")
        return Ref(index)

    def number(self, value: object, what: str, types: set[str]) -> Value:
        if isinstance(value, dict) and set(value) == {"float"} and "float" in types:
            if value["float"] not in ("inf", "-inf", "nan"):
                self.refuse(f"{what}: unknown number")
            return float(value["float"])
        if isinstance(value, dict):
            return self.reference(value, types, what)
        if type(value) is int and value == _LAST:
            return value
        if type(value) is int:
            return self.integer(value, what, -MAX_INTEGER, MAX_INTEGER)
        if isinstance(value, float) and math.isfinite(value) and "float" in types:
            return value
        raise GraphRefused(f"{what}: expected a number", self.line)

    def argument(self, name: str, kind: str, value: object, first: bool) -> Value:
        """One argument, checked against its kind in the table of operations."""
        if kind.endswith("?"):
            return None if value is None and kind != "str?" else self.argument(name, kind[:-1], value, first)
        if kind.endswith("[]"):
            return self.arguments(name, kind[:-2], value)
        if kind == "Tensor":
            # A number may stand for a tensor (x + 1), but never for the tensor that an operation works on.
            return self.reference(value, {"tensor"}, name) if first else self.tensor_or_number(value, name)
        if kind == "bool":
            if not isinstance(value, bool):
                self.refuse(f"{name}: expected true or false")
            return value
        if kind in {"int", "float", "Scalar"}:
            if kind == "Scalar" and isinstance(value, bool):
                return value
            return self.number(value, name, {"int"} if kind == "int" else {"int", "float"})
        if kind == "str":
            return self.text(name, value)
        if kind == "ScalarType":
            if not isinstance(value, dict) or set(value) != {"dtype"} or value["dtype"] not in _DTYPES:
                self.refuse(f"{name}: unknown dtype")
            return DType(value["dtype"])
        if kind in {"Device", "Layout", "MemoryFormat", "Generator"} and value is None:
            return None  # where and how a graph runs is the runner's choice
        raise GraphRefused(f"{name}: an argument that must be empty is not", self.line)

    def arguments(self, name: str, kind: str, value: object) -> Value:
        if kind == "int" and not isinstance(value, list):
            return self.number(value, name, {"int"})
        limit = MAX_TENSORS_IN_LIST if kind.startswith("Tensor") else MAX_INTEGERS_IN_LIST
        return tuple(self.argument(name, kind, item, first=kind == "Tensor") for item in self.items(value, name, limit))

    def tensor_or_number(self, value: object, name: str) -> Value:
        if isinstance(value, bool):
            return value
        if isinstance(value, dict) and set(value) == {"node"}:
            return self.reference(value, {"tensor", "int", "float"}, name)
        return self.number(value, name, {"int", "float"})

    def text(self, name: str, value: object) -> str | None:
        known = isinstance(value, str) and name == EINSUM and EINSUM_EQUATION.fullmatch(value)
        if not known and not ((value is None or isinstance(value, str)) and value in TEXTS.get(name, ())):
            self.refuse(f"{name}: a setting that the operation does not know")
        return value if isinstance(value, str) else None
''',
    "_kit_judging_probe_images": r'''
from __future__ import annotations
from _kit_core_probes import COARSE
from _kit_core_probes import FINE
import hashlib
import hmac
import numpy as np

SIZE = 32  # pixels, height and width

def probe_image(kind: str, secret: bytes, *scope: str) -> Image:
    """A (32, 32, 3) uint8 RGB image of one of the `KINDS`.

    It depends on the secret, the kind and the scope only. The channels show different things, in an order that
    differs from kind to kind, so that a transform that mixes or exchanges channels shows. Raises ValueError for an
    unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no probe image {kind!r}, only {', '.join(KINDS)}")
    text = "/".join(("probe-image", kind, *scope)).encode()
    # NumPy guarantees that RandomState's streams never change: marks must not depend on NumPy's version.
    draws = np.random.RandomState(np.frombuffer(hmac.new(secret, text, hashlib.sha256).digest(), "<u4"))
    channels = KINDS[kind](draws)  # three (32, 32) fields
    return np.stack([channels[i] for i in draws.permutation(3)], axis=2).astype(np.uint8)

def _natural(draws: np.random.RandomState) -> list[_Field]:
    """Asymmetric and photo-like: light from one side, objects, fine texture, channels that resemble one another; and
    pixels from black to white all over it, so that a crop or a grey version shows the full range as well."""
    shared = 0.6 * _ramp(draws) + 0.6 * _smooth(draws, 4) + 0.6 * _smooth(draws, 8) + 0.6 * _texture(draws)
    return [_stretch(shared + 0.3 * _smooth(draws, 6) + 0.2 * _texture(draws)) for _ in range(3)]

def _full_range(draws: np.random.RandomState) -> list[_Field]:
    """Every byte value four times in every channel, scattered differently in each."""
    values = np.repeat(np.arange(256), SIZE * SIZE // 256)
    return [draws.permutation(values).reshape(SIZE, SIZE) for _ in range(3)]

def _dark(draws: np.random.RandomState) -> list[_Field]:
    """Values from 0 to about 60, another ceiling in each channel."""
    return [_stretch(_smooth(draws, 6) + 0.5 * _texture(draws)) * ceiling / 255 for ceiling in (28, 44, 60)]

def _low_contrast(draws: np.random.RandomState) -> list[_Field]:
    """Values in a band of about 24 grey levels, at another height in each channel."""
    return [low + _stretch(_smooth(draws, 6) + 0.5 * _texture(draws)) * 24 / 255 for low in (84, 116, 148)]

def _coarse(draws: np.random.RandomState) -> list[_Field]:
    """Sixteen squares, each of one colour: hardly anything changes from pixel to pixel."""
    side = SIZE // 4
    return [draws.randint(0, 256, (4, 4)).repeat(side, axis=0).repeat(side, axis=1).astype(float) for _ in range(3)]

def _fine(draws: np.random.RandomState) -> list[_Field]:
    """The pixels of such an image in random order: the same colours, and nothing but fine detail."""
    order = draws.permutation(SIZE * SIZE)
    return [field.ravel()[order].reshape(SIZE, SIZE) for field in _coarse(draws)]

def _ramp(draws: np.random.RandomState) -> _Field:
    """Darker to one side and towards the bottom: neither a flip nor a rotation leaves it as it is."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    side = 1 if draws.randint(2) else -1
    return np.asarray(side * columns - 0.6 * rows)

def _smooth(draws: np.random.RandomState, cells: int) -> _Field:
    """A random field with about `cells` hills in each direction, standardised."""
    grid = draws.uniform(-1, 1, (cells + 1, cells + 1))
    place = np.linspace(0, cells, SIZE, endpoint=False)
    corner = place.astype(int)
    part = place - corner
    rows = grid[corner] * (1 - part)[:, None] + grid[corner + 1] * part[:, None]
    field = rows[:, corner] * (1 - part) + rows[:, corner + 1] * part
    return np.asarray((field - field.mean()) / field.std())

def _texture(draws: np.random.RandomState) -> _Field:
    return np.asarray(draws.standard_normal((SIZE, SIZE)))

def _stretch(field: _Field) -> _Field:
    """Scaled to 0..255 so that a tenth of the pixels is black and a tenth white."""
    low, high = np.quantile(field, [0.1, 0.9])
    return np.asarray(np.rint(np.clip((field - low) / (high - low), 0, 1) * 255))

KINDS: dict[str, Callable[[np.random.RandomState], list[_Field]]] = {
    "natural": _natural,
    "full_range": _full_range,
    "dark": _dark,
    "low_contrast": _low_contrast,
}

KINDS |= dict.fromkeys(FINE, _fine) | dict.fromkeys(COARSE, _coarse)
''',
    "_kit_judging_weight_names": r'''
from __future__ import annotations
from _kit_core_remarks import clipped
from dataclasses import dataclass
import hashlib

COUNTER = "num_batches_tracked"  # of batch norm: old checkpoints lack it, and evaluation does not use it

MOST_NESTED = 8  # prefixes before one another

MOST_NAMES = 8  # of one weight

MOST_SHOWN = 80  # characters of a name

@dataclass(frozen=True)
class _Naming:
    """How names of the file come from those of the network: `prefix` before each, `lacks` missing at the beginning."""

    prefix: str = ""
    lacks: str = ""

    def name(self, own: str) -> str:
        return self.prefix + own.removeprefix(self.lacks)

@dataclass(frozen=True)
class NamedTensors:
    """A checkpoint's tensors under the network's own names; `prefix` stood before each, `lacks` was missing there.

    `missing` are weights that the file does not have, `unused` its tensors that are no weight of the network. `rivals`
    are prefixes under each of which the file has the whole network, with other numbers: then nothing is matched.
    """

    tensors: Mapping[str, Array]
    prefix: str = ""
    lacks: str = ""
    missing: Sequence[str] = ()
    unused: Sequence[str] = ()
    rivals: Sequence[str] = ()

    @property
    def notes(self) -> Iterator[str]:
        """What was done to the names, for a student."""
        if self.prefix:
            yield f"the prefix {shown(self.prefix)} before every name was left away"
        if self.lacks:
            yield f"{shown(self.lacks)} was put before every name"
        if len(self.unused) == 1:
            yield f"{shown(self.unused[0])} was left away: it is no weight of the network"
        elif self.unused:
            yield (
                f"{len(self.unused):,} tensors that are no weights of the network were left away, the first "
                f"{shown(self.unused[0])}"
            )

def name_tensors(
    shapes: Mapping[str, Shape], tensors: Mapping[str, Array], shared: Mapping[str, str] | None = None
) -> NamedTensors:
    """Match a file's `tensors` to a network's weights, given by name with their shapes, in the network's order.

    Names as the network has them win. Otherwise one prefix that fits all of them is looked for, and, of several, those
    under which the shapes fit as well. Names with the same value in `shared` are of one weight, of which some ways to
    save keep one name only.
    """
    index = _Index(shapes, tensors, shared or {})
    whole = [way for way in index.ways() if index.has_all(way)]
    fitting = [way for way in whole if index.fits(way)] or whole
    if not fitting:
        return index.named(max(index.nearest(), key=index.count))
    if not index.has_own_names or fitting[0] != _Naming():
        by_content = {index.content(way): index.named(way).prefix for way in reversed(fitting)}
        if len(by_content) > 1:
            return NamedTensors({}, rivals=sorted(by_content.values()))
    return index.named(fitting[0])

class _Index:
    """A file's names, looked up by those of the network."""

    def __init__(self, shapes: Mapping[str, Shape], tensors: Mapping[str, Array], shared: Mapping[str, str]) -> None:
        self.shapes, self.tensors = shapes, tensors
        self.shared, self.together = shared, dict[str, list[str]]()
        for own in shapes:
            self.together.setdefault(shared.get(own, own), []).append(own)
        self.needed = [name for name in shapes if not name.endswith(COUNTER)]
        self.plain: dict[str, str] = {}
        for name in sorted(tensors, reverse=True):  # of several that differ in nothing else, the first by name
            self.plain[_plain(name)] = name

    @property
    def has_own_names(self) -> bool:
        """Whether the file has every weight by the network's own name, letter by letter."""
        return all(own in self.tensors for own in self.needed)

    def find(self, way: _Naming, own: str) -> str | None:
        """The name in the file, be it by another name of the same weight."""
        others = self.together[self.shared.get(own, own)]
        for name in (own, *others[:MOST_NAMES]):
            exact = way.name(name)
            found = exact if exact in self.tensors else self.plain.get(way.name(_plain(name)))
            if found is not None:
                return found
        return None

    def has_all(self, way: _Naming) -> bool:
        return all(self.find(way, own) is not None for own in self.needed)

    def count(self, way: _Naming) -> int:
        return sum(self.find(way, own) is not None for own in self.needed)

    def fits(self, way: _Naming) -> bool:
        found = ((self.find(way, own), self.shapes[own]) for own in self.needed)
        return all(name is not None and self.tensors[name].shape == shape for name, shape in found)

    def content(self, way: _Naming) -> str:
        """The same for two ways that find the same numbers."""
        found = (self.find(way, own) for own in self.needed)
        return _digest_of([self.tensors[name] for name in found if name is not None])

    def ways(self) -> Iterator[_Naming]:
        """All that could be meant, by the first weight's name; as it is comes first."""
        yield _Naming()
        if not self.needed:
            return
        first = _plain(self.needed[0])
        for lacks in ("", *_shared_prefixes([_plain(name) for name in self.shapes])):
            end = first.removeprefix(lacks)
            for name in sorted(self.plain):
                if (name == end and lacks) or name.endswith(f".{end}"):
                    yield _Naming(name.removesuffix(end), lacks)

    def nearest(self) -> Iterator[_Naming]:
        """Where no way finds all: those whose misses are worth being told."""
        yield _Naming()
        dotted = [name for name in self.plain if "." in name]
        yield from (_Naming(prefix) for prefix in _shared_prefixes(dotted))

    def named(self, way: _Naming) -> NamedTensors:
        found = {own: name for own in self.shapes if (name := self.find(way, own)) is not None}
        missing = [own for own in self.needed if own not in found]
        unused = sorted(set(self.tensors) - set(found.values()))
        tensors = {own: self.tensors[name] for own, name in found.items() if self._is_usable(own, name)}
        return NamedTensors(tensors, _common_prefix(found, way), way.lacks, missing, unused)

    def _is_usable(self, own: str, name: str) -> bool:
        """Averaging and casting make a counter a number with decimals; the network's own is as good."""
        array = self.tensors[name]
        return not own.endswith(COUNTER) or (array.dtype.kind == "i" and array.shape == self.shapes[own])

def shown(name: str) -> str:
    """A name in a message."""
    return f"`{clipped(name, MOST_SHOWN)}`"

def _plain(name: str) -> str:
    """As the kit saves it: without what torch.compile (of any part of a network) and DataParallel put before names."""
    return name.replace("_orig_mod.", "").removeprefix("module.")

def _shared_prefixes(names: Sequence[str]) -> list[str]:
    """The beginnings up to a dot that all names share, the shortest first."""
    if not names:
        return []
    first, last = min(names), max(names)
    ends = [index + 1 for index, sign in enumerate(first) if sign == "."][:MOST_NESTED]
    return [first[:end] for end in ends if last.startswith(first[:end])]

def _common_prefix(found: Mapping[str, str], way: _Naming) -> str:
    """What stands before every name in the file, as the file has it; "" where it is not the same everywhere."""
    own, name = next(iter(found.items()), ("", ""))
    prefix = name.removesuffix(own.removeprefix(way.lacks))
    is_common = all(name == prefix + own.removeprefix(way.lacks) for own, name in found.items())
    return prefix if is_common else way.prefix

def _digest_of(arrays: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
''',
    "_kit_worker_causes": r'''
from __future__ import annotations
from _kit import ExportProblem
import re
import sys
import traceback

MOST_ERRORS = 20  # of a chain

NO_NETWORK = re.compile(r"name resolution|Name or service not known|Network is unreachable|urlopen error|Max retries")

NETWORK_TYPES = {"URLError", "HTTPError", "gaierror", "ConnectionError", "ConnectTimeout", "MaxRetryError", "SSLError"}

NO_GPU = re.compile(r"not compiled with CUDA|NVIDIA driver|re-initialize CUDA|No CUDA GPUs|CUDA (driver|error|device)")

NO_MPS = re.compile(r"\bMPS\b|not linked with support for mps|mps device", re.IGNORECASE)

NO_SCREEN = re.compile(r"interactive framework|GUI loop or backend|no display|X server|Cannot load backend")

# Syntax by the version of Python that brought it: PEP 695, 701, 758, 750.
NEWER_SYNTAX: tuple[tuple[tuple[int, int], re.Pattern[str]], ...] = (
    ((3, 12), re.compile(r"^\s*(?:type\s+\w+\s*(?:\[[^\]]*\])?\s*=|(?:async\s+)?def\s+\w+\s*\[|class\s+\w+\s*\[)")),
    ((3, 14), re.compile(r"^\s*except\s+[\w.]+\s*,\s*[\w.]+")),
    ((3, 14), re.compile(r"""(?<![\w"'])[tT][rR]?["']""")),
    ((3, 12), re.compile(r"""\bf(?:"[^"]*\{[^}"]*"|'[^']*\{[^}']*')""")),
)

def cause_of(error: BaseException, is_students: Callable[[str], bool]) -> dict[str, str]:
    """`{"cause": …, "detail": …}` of what stopped a cell or a probe; empty where the code itself is to blame.

    `is_students(filename)` says whether code stands in a cell.
    """
    for each in _chain(error):
        found = _cause(each, is_students)
        if found is not None:
            return {"cause": found[0], "detail": found[1][:100]}
    return {}

def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those that led to it; what `forward` raised led to an export that failed."""
    seen = 0
    while isinstance(error, BaseException) and seen < MOST_ERRORS:
        yield error
        raised = error.raised if isinstance(error, ExportProblem) else None
        error, seen = raised or error.__cause__ or error.__context__, seen + 1

def _cause(error: BaseException, is_students: Callable[[str], bool]) -> tuple[str, str] | None:
    text = _text(error)
    if isinstance(error, ExportProblem):
        return (error.cause, "") if error.cause else ("gpu", "cuda") if NO_GPU.search(text) else None
    if isinstance(error, ModuleNotFoundError):
        return "package", error.name if isinstance(error.name, str) else ""
    if isinstance(error, SyntaxError):
        version = newer_syntax(error.text if isinstance(error.text, str) else "")
        return ("syntax", version) if version else None
    if NO_SCREEN.search(text) or type(error).__name__ == "TclError":
        return "screen", ""
    if NO_GPU.search(text):
        return "gpu", "cuda"
    if NO_MPS.search(text):
        return "gpu", "mps"
    if type(error).__name__ in NETWORK_TYPES or NO_NETWORK.search(text):
        return "network", ""
    if isinstance(error, NotImplementedError):
        return _not_implemented(error, is_students)
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        return "file", error.filename
    missing = re.match(r"File `'?(?P<name>[^'`]{1,80})'?` not found", text)  # as IPython's %run says it
    return ("file", missing["name"].removesuffix(".py")) if missing else None

def _not_implemented(error: NotImplementedError, is_students: Callable[[str], bool]) -> tuple[str, str] | None:
    """The release's own `raise NotImplementedError()`, left in a cell; or torch's, of a module without `forward`."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return None
    frame = frames[-1][0]
    if frame.f_code.co_name == "_forward_unimplemented":
        return "no-forward", type(frame.f_locals.get("self")).__name__
    # Torch's own, of an operation, have a text, and end in the line that called it.
    return ("leftover", "") if is_students(frame.f_code.co_filename) and not error.args else None

def line_of(error: BaseException, locate: Callable[[str, int], int]) -> int:
    """The innermost line of a cell's that led to an exception, as `locate` tells it; 0 where there is none."""
    line = 0
    for frame in traceback.extract_tb(error.__traceback__):
        line = locate(frame.filename, frame.lineno or 0) or line
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and isinstance(error.lineno, int):
        line = locate(error.filename, error.lineno) or line
    return line

def newer_syntax(line: str, here: tuple[int, int] = sys.version_info[:2]) -> str:
    """The version of Python, newer than this one, whose syntax a refused line seems to be; "" for none."""
    for version, form in NEWER_SYNTAX:
        if version > here and form.search(line[:1000]):
            return ".".join(map(str, version))
    return ""

def _text(error: Any) -> str:
    try:
        return str(error)[:2000]
    except Exception:
        return ""
''',
    "_kit_worker_checkpoint": r'''
from __future__ import annotations
from pathlib import PosixPath
from safetensors.torch import save
import argparse
import numpy as np
import re
import torch

MOST_KEY = 80

MOST_NESTED = 3  # dicts in dicts that are looked into

MODEL = re.compile(r"model|net|state|weight|param|ema|averag|swa|best", re.IGNORECASE)

OPTIMISER = re.compile(r"optim|(?<![a-z])opt(?![a-z])|sched|scaler|rng", re.IGNORECASE)

PART, LEFT_OUT = "part", "left out"  # metadata, as judging/checkpoint.py reads them

# What training code puts beside the weights: an accuracy as a NumPy number, curves, the command line, a folder. None of
# these runs code of the file's.
BESIDE_WEIGHTS: list[Any] = [
    *(np.dtype, np.ndarray, *(kind for kind in vars(np.dtypes).values() if isinstance(kind, type))),
    *(argparse.Namespace, PosixPath),
]

_MAKERS: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]

# Under both names: NumPy 2 moved them.
BESIDE_WEIGHTS += [(make, f"numpy.{room}.multiarray.{make.__name__}") for make in _MAKERS for room in ("core", "_core")]

_REMEDY = "save the weights with cnn_kit.save_checkpoint(model), or torch.save(model.state_dict(), path)"

_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8}

_DTYPES |= {torch.int16, torch.int32, torch.int64}

def read_state_dict(path: Path) -> tuple[dict[str, Any], bytes]:
    """`({"names": …}, safetensors bytes)`, or `({"problem": …}, b"")` with a message for the student.

    The file is only read with `weights_only=True`. Of what training code saves (a dict with the epoch, the optimiser's
    state and, under some key, a state dict; a state dict with other values among the tensors) only the one state dict
    leaves; the metadata of the safetensors file say where it stood. Half precision is kept and cast by the reader.
    """
    try:
        # Opened here: by its name alone torch.load would take a file for safetensors.
        with open(path, "rb") as file, torch.serialization.safe_globals(BESIDE_WEIGHTS):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        return {"problem": _explain(path, error)}, b""
    try:
        return _plain(path, loaded)
    except Exception as error:  # tensors without data, nested or quantised ones, names that are no text: as torch likes
        kind = type(error).__name__
        return {"problem": f"{path.name} holds tensors that cannot be read as plain numbers ({kind}): {_REMEDY}"}, b""

def _plain(path: Path, loaded: Any) -> tuple[dict[str, Any], bytes]:
    found = _chosen(loaded)
    if isinstance(found, list):
        names = f"{len(found)} state dicts that differ ({_few(found)}), and it is not clear which counts"
        return {"problem": f"{path.name} holds {names}. Choose the one that is to be graded, and {_REMEDY}"}, b""
    if found is None:
        kind = type(loaded).__name__
        inside = f" ({_few(loaded)})" if isinstance(loaded, dict) and loaded else ""
        return {"problem": f"{path.name} holds a {kind}{inside}, expected a state dict: {_REMEDY}"}, b""
    part, tensors = found
    strange = next((name for name, value in tensors.items() if value.dtype not in _DTYPES), None)
    if strange is not None:
        kind = str(tensors[strange].dtype).removeprefix("torch.")
        expected = "expected floating-point numbers, integers or truth values"
        return {"problem": f"{path.name}: {expected}, found {kind} at {strange[:80]!r}: {_REMEDY}"}, b""
    others = [] if part else [key for key in loaded if key not in tensors]
    told = {PART: part[:MOST_KEY]} if part else {LEFT_OUT: _few(others)} if others else {}
    plain = {name: value.detach().to_dense().contiguous().clone() for name, value in tensors.items()}
    return {"names": len(plain)}, save(plain, told)

def _chosen(loaded: Any) -> tuple[str, State] | list[str] | None:
    """The state dict that a file holds, with the keys that lead to it ("" for the file itself).

    Those on the outermost level that has any count; of these, those whose key speaks of a model. Where several that
    differ are left, all their keys.
    """
    own = _tensors_of(loaded)
    if any("." in name for name in own):
        return "", own
    level = [("", loaded)]
    for _ in range(MOST_NESTED):
        level = [entry for above, value in level for entry in _entries(above, value)]
        states = {key: state for key, value in level if _is_state(state := _tensors_of(value))}
        states = {key: state for key, state in states.items() if MODEL.search(key)} or states
        if states:
            key, state = next(iter(states.items()))
            same = all(_are_equal(state, other) for other in states.values())
            return (key, state) if same else list(states)
    return ("", own) if own else None

def _entries(above: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What stands in a dict or list, with the keys that lead there; nothing of an optimiser's."""
    if isinstance(value, dict) and "param_groups" in value:
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, inner in pairs:
        if isinstance(inner, (dict, list, tuple)) and not OPTIMISER.search(str(key)):
            yield f"{above}.{key}".lstrip("."), inner

def _tensors_of(value: Any) -> State:
    if not isinstance(value, dict):
        return {}
    return {name: inner for name, inner in value.items() if isinstance(name, str) and isinstance(inner, torch.Tensor)}

def _is_state(tensors: State) -> bool:
    """Whether these can be a network's: tensors of measurements have no kernels and no matrices."""
    return any(tensor.ndim >= 2 for tensor in tensors.values())

def _are_equal(one: State, other: State) -> bool:
    alike = one.keys() == other.keys() and all(tensor.dtype == other[name].dtype for name, tensor in one.items())
    return one is other or (alike and all(torch.equal(tensor, other[name]) for name, tensor in one.items()))

def _few(names: Iterable[object]) -> str:
    """The first names, and how many more there are."""
    listed = [f"`{str(name)[:MOST_KEY]}`" for name in names]
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3:,} more" if len(listed) > 3 else "")

def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    if "weights_only" in text.lower() or "Unsupported global" in text or "unpickl" in text.lower():
        found = "holds a whole pickled model (or other objects), expected a state dict of tensors only"
        return f"{path.name} {found}: {_REMEDY}"
    return f"{path.name} cannot be read as a checkpoint ({type(error).__name__}): {_REMEDY}"
''',
    "_kit_worker_collect": r'''
from __future__ import annotations
from PIL import Image
from _kit import ExportProblem
from _kit import TensorPool
from _kit import export_graph
from _kit_worker_causes import cause_of
from _kit_worker_causes import line_of
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
import base64
import inspect
import numpy as np
import os
import random
import re
import torch

EXAMPLE_BATCH = 4

UNFINISHED = "Unfinished"

STAND_IN = "AUTOGRADER_STAND_IN"  # a course's kit sets it to 1 where it gave other data than on a student's machine

IDENTITY = ("kind", "name", "group", "index")

class Missing(Exception):
    """A name that the notebook should define and does not."""

class Unfinished(Exception):
    """A name that is missing, where a cell ended early that may have had to define it; `cell` is its record.

    `is_cause`: the name is missing because of this cell, as far as the texts of the cells tell.
    """

    def __init__(self, name: str, cell: dict[str, Any], is_cause: bool) -> None:
        how = f"{cell['status'].replace('_', ' ').lower()}: {cell['message']}"
        which = ", because a cell ended early" if is_cause else "; another cell ended early"
        super().__init__(f"`{name}` is not defined{which} ({how})")
        self.cell, self.is_cause = cell, is_cause

def identity(probe: dict[str, Any]) -> dict[str, Any]:
    """The part of a probe that says which evidence it asks for."""
    return {key: probe[key] for key in IDENTITY if key in probe}

class Collector:
    """Collects probe by probe from a notebook's namespace; each has its own time, and its own fate."""

    def __init__(
        self,
        namespace: dict[str, Any],
        send: Callable[..., None],
        time_limit: Callable[[float], AbstractContextManager[None]],
        timeout: type[BaseException],
        locate: Callable[[str, int], int],
        is_students: Callable[[str], bool],
        unfinished: list[dict[str, Any]],
    ) -> None:
        """`unfinished` are the cells that did not run to their end, with source, status, message and line."""
        self.namespace, self.send, self.time_limit, self.timeout = namespace, send, time_limit, timeout
        self.locate, self.is_students, self.unfinished = locate, is_students, unfinished
        self.gather = {
            "answer": self.gather_answer,
            "call": self.gather_call,
            "build": self.gather_build,
            "sample": self.gather_sample,
        }

    def collect(self, probe: dict[str, Any], seconds: float) -> None:
        """Gather one probe's evidence and send it, or what stood in the way."""
        seed_everything()
        torch.set_default_dtype(torch.float32)  # what a cell set holds for what the graders give, too
        try:
            with self.time_limit(seconds):
                header, payload = self.gather[probe["kind"]](probe)
        except BaseException as error:  # whatever student code raises, SystemExit included, is evidence too
            header, payload = {"problem": self.describe(error)}, b""
        self.send({**identity(probe), **header}, payload)

    def send_signatures(self, probes: Sequence[dict[str, Any]], seconds: float) -> None:
        """Send what the functions and classes that probes call take, as far as they have a signature.

        It is for before the notebook knows what it is asked: so it can say nothing about that.
        """
        for name in dict.fromkeys(probe["name"] for probe in probes if probe["kind"] in ("call", "build")):
            try:
                with self.time_limit(seconds):
                    record = describe_signature(self.namespace.get(name), self.locate)
            except BaseException:  # whatever student code raises; a call will show what matters of it
                continue
            self.send({"kind": "signature", "name": name, **record})

    def find(self, name: str) -> Any:
        if name not in self.namespace:
            if cell := first_cause(name, self.unfinished):
                raise Unfinished(name, cell, is_cause=True)
            for cell in self.unfinished:
                if cell.get("cause") != "leftover":
                    raise Unfinished(name, cell, is_cause=False)
            raise Missing(f"`{name}` is not defined")
        return self.namespace[name]

    def describe(self, error: BaseException) -> dict[str, Any]:
        """A problem record: status, exception type, message, the student's line where the traceback has one, and what
        `forward` raised where it was that which failed."""
        line = line_of(error, self.locate) or (error.line if isinstance(error, ExportProblem) else 0)
        cause = cause_of(error, self.is_students)
        text = _text(error)
        memory = isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text
        if isinstance(error, Missing):
            status = "FAILED"
        elif isinstance(error, Unfinished):
            status = error.cell["status"]
            line = error.cell.get("line") or self.locate(f"<cell {error.cell['index']}>", 1)
            cause = {key: error.cell[key] for key in ("cause", "detail") if key in error.cell and error.is_cause}
        elif isinstance(error, self.timeout):
            status = "TIMEOUT"
        elif isinstance(error, ExportProblem) and error.kind == "unsupported":
            status = "UNSUPPORTED"
        else:
            status = "OUT_OF_MEMORY" if memory else "ERROR"
        kind = UNFINISHED if isinstance(error, Unfinished) else name_of(type(error))
        raised = name_of(type(error.raised)) if isinstance(error, ExportProblem) and error.raised else ""
        returned = {"returned": error.returned} if isinstance(error, ExportProblem) and error.returned else {}
        return {"status": status, "type": kind, "message": text, "line": line, "raised": raised, **returned, **cause}

    def gather_answer(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        return {"value": encode_value(self.find(probe["name"]))}, b""

    def gather_call(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """One function, one group of calls; a call that raises is a result, a call that hangs ends the group."""
        function = self.find(probe["name"])
        results: list[dict[str, Any]] = []
        for arguments in probe["arguments"]:
            try:
                results.append({"value": encode_value(call_flexibly(function, arguments))})
            except Exception as error:
                results.append({"problem": self.describe(error)})
        return {"results": results}, b""

    def gather_build(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """One module built with given arguments, exported in each mode and size; all share one set of tensors."""
        module = call_flexibly(self.find(probe["name"]), probe["arguments"])
        if not issubclass(type(module), torch.nn.Module):  # isinstance asks the object, which may lie
            found = type(module).__name__
            raise TypeError(f"`{probe['name']}` must build a torch.nn.Module, it gave {found}")
        pool, graphs, adapted = TensorPool(), [], ""
        for position, wanted in enumerate(probe["exports"]):
            example = torch.randn(EXAMPLE_BATCH, probe["channels"], wanted["size"], wanted["size"])
            if position == 0:
                materialise(module, example)
                adapted = fit_to(module, example)
            try:
                graph = export_graph(module, example, training=wanted["training"], pool=pool, locate=self.locate)
                graphs.append({"graph": graph})
            except self.timeout:
                raise
            except Exception as error:
                graphs.append({"problem": self.describe(error)})
        return {"graphs": graphs, "adapted": adapted}, save_tensors(pool.tensors)

    def gather_sample(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """A transform applied to one image several times: as a PIL image, or as a uint8 (3, H, W) tensor."""
        transform = self.find(probe["name"])
        pixels = np.frombuffer(base64.b64decode(probe["pixels"]), np.uint8).reshape(probe["shape"])  # (H, W, 3)
        picture, form = Image.fromarray(pixels), "PIL"
        try:
            first = transform(picture)
        except Exception as pil_error:
            form = "tensor"
            try:
                first = transform(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
            except Exception as tensor_error:
                raise pil_error from tensor_error
        outputs = [first]
        for _ in range(probe["draws"] - 1):
            image = picture if form == "PIL" else torch.from_numpy(pixels.copy()).permute(2, 0, 1)
            outputs.append(transform(image))
        described = [describe_output(output) for output in outputs]
        arrays = {f"s{i}": array for i, (_, array) in enumerate(described) if array is not None}
        stand_in = os.environ.get(STAND_IN) == "1"
        return {"form": form, "outputs": [kind for kind, _ in described], "stand_in": stand_in}, save_arrays(arrays)

def first_cause(name: str, unfinished: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell to blame for a missing name: the one that ended early and speaks of it; where that one missed a name
    itself, the cell that should have given it, and so on."""
    found, left, wanted = None, list(unfinished), name
    while cell := next((c for c in left if re.search(rf"\b{re.escape(wanted)}\b", c["source"])), None):
        found = cell
        left = left[: left.index(cell)]
        missed = re.match(r"NameError: name '(\w+)' is not defined", cell["message"])
        if missed is None:
            break
        wanted = missed[1]
    return found

def name_of(kind: type[BaseException]) -> str:
    """An exception's name; of a student's own class also Python's that it derives from: `TooLarge(ValueError)`."""
    builtin = next(c.__name__ for c in kind.__mro__ if c.__module__ == "builtins")
    ours = kind.__module__.startswith("autograder.")
    return kind.__name__ if ours or builtin == kind.__name__ else f"{kind.__name__}({builtin})"

def _text(error: BaseException) -> str:
    try:
        return str(error)[:600]
    except Exception:
        return "(its message could not be read)"

def seed_everything() -> None:
    """The same draws for everybody, whatever ran before: marks must not depend on luck."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)

def materialise(module: torch.nn.Module, example: torch.Tensor) -> None:
    """Give lazy layers their shapes by one forward pass in eval mode."""
    if any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in module.parameters()):
        training = module.training
        with torch.no_grad():
            module.eval()(example)
        module.train(training)

def fit_to(module: torch.nn.Module, example: torch.Tensor) -> str:
    """Make a module of double or half precision take float32 images, where it does not by itself; its own dtype, or ""
    where nothing was changed."""
    own = {tensor.dtype for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()}
    others = own - {torch.float32}
    if not others:
        return ""
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(example)
        return ""
    except Exception:  # whatever it is about: the export tells it, if the change does not help
        module.float()
        return str(min(others, key=str)).removeprefix("torch.")
    finally:
        module.train(training)

def call_flexibly(function: Any, arguments: dict[str, Any]) -> Any:
    """Call with keywords as the exercise names them, or by position where the student named them otherwise."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        return function(*arguments.values())
    except ValueError:  # a callable without a signature
        pass
    return function(**arguments)

def describe_signature(function: Any, locate: Callable[[str, int], int]) -> dict[str, Any]:
    """The parameters of a function or class as [name, kind, is required], and the line of its definition, 0 where it is
    not the student's. Raises TypeError or ValueError for what has no signature."""
    parameters = inspect.signature(function).parameters.values()
    body = inspect.unwrap(getattr(function, "__init__", function) if isinstance(function, type) else function)
    line = locate(body.__code__.co_filename, body.__code__.co_firstlineno) if inspect.isfunction(body) else 0
    return {"parameters": [[p.name, p.kind.name, p.default is p.empty] for p in parameters], "line": line}

def encode_value(value: Any) -> dict[str, Any]:
    """A plain value with its kind and origin; anything else only by the name of its type."""
    if value is None or isinstance(value, bool):
        return {"kind": "none" if value is None else "bool", "value": value, "origin": "python"}
    if isinstance(value, torch.Tensor):
        if value.dim() != 0:
            return {"kind": "other", "value": f"tensor of shape {tuple(value.shape)}"[:200], "origin": "torch"}
        return {**encode_value(value.item()), "origin": "torch"}
    if isinstance(value, np.generic):
        return {**encode_value(value.item()), "origin": "numpy"}
    if isinstance(value, int):
        plain = int.__index__(value)
        if abs(plain) < 2**63:
            return {"kind": "int", "value": plain, "origin": "python"}
    if isinstance(value, float):
        return {"kind": "float", "value": float.__repr__(value), "origin": "python"}
    if isinstance(value, str):
        return {"kind": "str", "value": str.__str__(value)[:500], "origin": "python"}
    return {"kind": "other", "value": type(value).__name__[:200], "origin": "python"}

def describe_output(output: Any) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
    """Type, dtype and shape of a transform's output, and its values as float32 where they fit in 1 MiB."""
    if isinstance(output, torch.Tensor):
        kind = {"type": "tensor", "dtype": str(output.dtype).removeprefix("torch."), "shape": list(output.shape)}
        if output.numel() * 4 > 1 << 20:
            return kind, None
        return kind, output.detach().to("cpu", torch.float32).contiguous().numpy()
    return {"type": type(output).__name__[:200], "dtype": "", "shape": []}, None
''',
    "_kit_worker_interpreter": r'''
from __future__ import annotations
from _kit import SUPPORTED_OPERATIONS
from contextlib import ExitStack
from contextlib import contextmanager
from torch import Tensor
import math
import operator
import torch

MAX_LIST_OUTPUT = 4_096

MAX_SIZE = 2**40

_SPLITTERS = frozenset({"unbind", "split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split", "tensor_split"})

_DTYPES = {
    name: getattr(torch, name)
    for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
}

_PYTHON: dict[str, Callable[..., Any]] = {
    f"operator.{f.__name__}": f
    for f in (
        operator.getitem,
        operator.add,
        operator.sub,
        operator.mul,
        operator.floordiv,
        operator.truediv,
        operator.mod,
        operator.neg,
    )
}

class GraphError(ValueError):
    """A graph that cannot be run, or may not; the message is for the student. `line` is 0 where unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line

class Call:
    """One operation of the table with its schema: how to bind arguments, which are written."""

    def __init__(self, name: str) -> None:
        _, operation, overload = name.split(".")
        self.name = name
        self.operation = operation
        self.overload: Any = getattr(getattr(torch.ops.aten, operation), overload)
        arguments = self.overload._schema.arguments
        self.named = {i: a.name for i, a in enumerate(arguments) if a.kwarg_only}
        self.devices = {i for i, a in enumerate(arguments) if "Device" in str(a.real_type)}
        self.formats = {i for i, a in enumerate(arguments) if str(a.real_type) == "MemoryFormat"}
        self.written = {i for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write}

_CALLS = {name: Call(name) for name in SUPPORTED_OPERATIONS if name.startswith("aten.")}

class Graph:
    """A wire graph made ready to run: operations resolved, the last use of every value known."""

    def __init__(self, wire: dict[str, Any]) -> None:
        self.wire = wire
        self.training: bool = wire["training"]
        self.tensors: list[list[Any]] = wire["tensors"]
        self.nodes: list[list[Any]] = wire["nodes"]
        for node in self.nodes:
            if node[0] == "call" and node[1] not in _CALLS and node[1] not in _PYTHON:
                raise GraphError("the graph holds an operation that is not in the table")
        # What nobody uses goes at once: thousands of such values would stay to the end.
        last = {index: index for index, node in enumerate(self.nodes) if node[0] == "call"}
        for index, node in enumerate(self.nodes):
            for used in _references(node):
                last[used] = index
        self.frees: dict[int, list[int]] = {}
        for used, index in last.items():
            self.frees.setdefault(index, []).append(used)
        self.has_writes = any(node[0] == "call" and _writes(node) for node in self.nodes)

    def written_tensors(self) -> set[int]:
        """Numbers of the tensors that a run may change: batch-norm statistics, or buffers updated in place. Those of a
        batch norm in a plain list are constants; which writes are legal was decided when the graph was parsed."""
        tensor_of = {i: node[1] for i, node in enumerate(self.nodes) if node[0] == "tensor"}
        buffers = {number for number in tensor_of.values() if self.tensors[number][0] in ("buffer", "constant")}
        return buffers if self.has_writes else set()

def _writes(node: list[Any]) -> bool:
    call = _CALLS.get(node[1])
    statistics = {"aten.batch_norm.default": 5, "aten.instance_norm.default": 5}.get(node[1])
    return (call is not None and bool(call.written)) or (statistics is not None and node[2][statistics] is True)

def _references(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        if "node" in value:
            yield value["node"]
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)

EVERY_STEP = -1

def execute(
    graph: Graph,
    tensors: list[Tensor],
    images: Tensor,
    *,
    keep_writes: bool = False,
    observe: Observer | None = None,
    cuts: Collection[Cut] = (),
) -> Tensor:
    """The graph's output for `images` (N, C, H, W); `tensors` are those of the graph, in its order.

    Writes to batch-norm statistics last only with `keep_writes`; without, every run starts from the same state.
    At each of `cuts` a value goes on with the images in reverse order, so that what depends on it changes.
    `observe(index, node, arguments, value)` sees every call's result. Raises GraphError; torch's own errors pass
    through with the student's line as a note (`error.line`).
    """
    if not keep_writes and graph.has_writes:
        written = graph.written_tensors()
        tensors = [tensor.clone() if number in written else tensor for number, tensor in enumerate(tensors)]
    elif graph.has_writes:
        written = graph.written_tensors()
    else:
        written = set()
    frozen = {_memory(t) for number, t in enumerate(tensors) if number not in written} if graph.has_writes else set()
    frozen.add(_memory(images))
    values: list[Any] = []
    with ExitStack() as regions:
        current = 0
        for index, node in enumerate(graph.nodes):
            kind = node[0]
            whole = {place: values[place] for step, place in cuts if step == index}
            for place, value in whole.items():
                values[place] = _turned(value, len(images))
            if kind == "call":
                if node[4] != current:
                    regions.close()
                    current = node[4]
                    _enter(graph.wire["regions"], current, images.device.type, regions)
                values.append(_run(node, values, images.device, frozen, observe, index))
            elif kind == "tensor":
                values.append(tensors[node[1]])
            elif kind == "input":
                values.append(images)
            else:
                output: Tensor = _decode(node[1], values)
                return output
            for place, value in whole.items():
                values[place] = value
            if (EVERY_STEP, index) in cuts:
                values[index] = _turned(values[index], len(images))
            for used in graph.frees.get(index, ()):
                values[used] = None
    raise GraphError("the graph has no output")

def _turned(value: Any, images: int) -> Any:
    """A value with the images in reverse order; where its first axis are not the images, with all entries so."""
    if not isinstance(value, Tensor):
        raise GraphError("only a tensor can be cut")
    by_image = value.dim() > 0 and len(value) == images
    return value.flip(0) if by_image else value.flatten().flip(0).view(value.shape)

def _run(
    node: list[Any], values: list[Any], device: torch.device, frozen: set[int], observe: Observer | None, index: int
) -> Any:
    arguments = [_decode(argument, values) for argument in node[2]]
    try:
        value = _call(node[1], arguments, device, frozen)
    except GraphError as error:
        error.line = error.line or node[3]
        raise
    except Exception as error:
        error.line = node[3]  # type: ignore[attr-defined]
        raise
    if observe is not None:
        observe(index, node, arguments, value)
    return value

def _call(name: str, arguments: list[Any], device: torch.device, frozen: set[int]) -> Any:
    if name in _PYTHON:
        value = _PYTHON[name](*arguments)
        if isinstance(value, (int, float)) and abs(value) > MAX_SIZE:
            raise GraphError(f"{name}: a size of more than {MAX_SIZE:,}")
        return value
    call = _CALLS[name]
    for place in call.written:
        if _memory(arguments[place]) in frozen:
            raise GraphError(f"{name} writes into the input or a weight of the model")
    if call.operation in _SPLITTERS:
        _check_list(call.operation, arguments)
    elif call.operation == "index_put_":
        _check_places(*arguments[:3])
    for place in call.devices:
        arguments[place] = device
    for place in call.formats:
        arguments[place] = torch.contiguous_format
    if name == "aten.view.default":
        return _view(*arguments)
    named = {label: arguments[place] for place, label in call.named.items()}
    return call.overload(*(a for place, a in enumerate(arguments) if place not in call.named), **named)

def _check_list(operation: str, arguments: list[Any]) -> None:
    """Bound a list of results before it exists: a million views cost a gigabyte, even of meta tensors."""
    tensor, parts = arguments[0], arguments[1]
    dim = arguments[-1] if operation != "unbind" else parts
    size = tensor.shape[dim] if tensor.dim() else 1
    if operation == "unbind":
        count = size
    elif isinstance(parts, list):
        count = len(parts) + 1
    elif operation in {"split", "unsafe_split"}:
        count = -(-size // parts) if parts > 0 else size
    else:
        count = parts
    if count > MAX_LIST_OUTPUT:
        raise GraphError(f"{operation} makes {count:,} tensors, at most {MAX_LIST_OUTPUT:,} are allowed")

def _check_places(tensor: Tensor, indices: list[Tensor | None], values: Tensor) -> None:
    """Bound a write by index. torch turns a mask into a list of places, many times its size, unless it fills them with
    one value; and integers may name one place over and over."""
    given = [index for index in indices if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in given):
        if values.numel() != 1:
            raise GraphError("x[mask] = values: only a single value can be written through a mask; use torch.where")
        return
    shape = torch.broadcast_shapes(*(index.shape for index in given))  # type: ignore[no-untyped-call]
    if math.prod(shape) > tensor.numel():
        raise GraphError("a write by index names more places than the tensor has entries")

def _view(tensor: Tensor, size: list[int]) -> Tensor:
    """view, which the memory order decides: the grader runs channels-last, the student's own code may not have."""
    try:
        return tensor.view(size)
    except RuntimeError:
        return tensor.reshape(size)

def _memory(tensor: Tensor) -> int:
    """Identity of a tensor's storage, which views share; meta tensors have no address but they have a storage."""
    return int(tensor.untyped_storage()._cdata)

def _decode(value: Any, values: list[Any]) -> Any:
    if isinstance(value, dict):
        if "node" in value:
            return values[value["node"]]
        return _DTYPES[value["dtype"]] if "dtype" in value else float(value["float"])
    return [_decode(item, values) for item in value] if isinstance(value, list) else value

@contextmanager
def _grad(enabled: bool) -> Iterator[None]:
    """A no_grad region; inside inference mode there is nothing to switch."""
    with torch.set_grad_enabled(enabled and not torch.is_inference_mode_enabled()):
        yield

def _enter(regions: list[list[Any]], region: int, device: str, stack: ExitStack) -> None:
    """Enter a region's contexts, outermost first."""
    if not region:
        return
    parent, kind, *settings = regions[region - 1]
    _enter(regions, parent, device, stack)
    if kind == "grad":
        stack.enter_context(_grad(settings[0]))
    else:
        # Shapes are found with meta tensors, for which autocast does not exist and whose dtypes are not looked at.
        device = "cpu" if device == "meta" else device
        stack.enter_context(torch.autocast(device, dtype=_DTYPES[settings[0]], enabled=settings[1]))
''',
    "_kit_worker_graph_costs": r'''
from __future__ import annotations
from _kit_worker_interpreter import GraphError
from _kit_worker_interpreter import execute
from dataclasses import dataclass
from dataclasses import field
from torch import Tensor
import math
import torch

MAX_RANK = 12

MAX_ELEMENTS = 2**31  # of one value

MAX_MACS_PER_IMAGE = 10**11  # 66 times the students' budget: a guard against ruin, not a rule

# A value read or written takes a nanosecond or so. Of 51 known designs the largest at CIFAR's size touches a hundredth
# of this, torchvision's MaxViT at 224×224 a tenth.
MAX_TOUCHED_PER_IMAGE = 2 * 10**9

MAX_LISTED = 200_000  # tensors that splitting operations may make in all: a microsecond and a kilobyte each

# Steps per value read, where that is more than a few.
_STEPS = {"sort": 32, "topk": 32, "median": 32, "grid_sampler": 16} | dict.fromkeys(
    ("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa"), 16
)

@dataclass
class Costs:
    """Of one run: a shape per node (None where its value is no tensor), multiply-accumulates, values read and written,
    bytes alive at most."""

    shapes: list[list[int] | None]
    macs: int = 0
    touched: int = 0
    peak_bytes: int = 0

@dataclass
class _Meter:
    """Watches a run on meta tensors. Values share storages as they would in a real run, so views cost nothing."""

    graph: Graph
    costs: Costs
    held: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # node -> storages of its value
    users: dict[int, int] = field(default_factory=dict)  # storage -> how many live nodes hold it
    live_bytes: int = 0
    images: int = 1
    listed: int = 0

    def __call__(self, index: int, node: list[Any], arguments: list[Any], value: Any) -> None:
        tensors = list(_tensors(value))
        for tensor in tensors:
            if tensor.dim() > MAX_RANK or tensor.numel() > MAX_ELEMENTS:
                raise GraphError(
                    f"{node[1]} makes a value of shape {tuple(tensor.shape)[:MAX_RANK]}, which is too large"
                )
        if isinstance(value, Tensor):
            self.costs.shapes[index] = list(value.shape)
        self.costs.macs += _macs(node[1], arguments, value)
        if self.costs.macs > MAX_MACS_PER_IMAGE * self.images:
            raise GraphError(f"the model needs more than {MAX_MACS_PER_IMAGE / 1e9:,.0f} GMAC per image")
        self.costs.touched += _touched(node[1], arguments, tensors)
        if self.costs.touched > MAX_TOUCHED_PER_IMAGE * self.images:
            raise GraphError(
                f"the model reads and writes more than {MAX_TOUCHED_PER_IMAGE / 1e9:,.0f} billion values per image, "
                "beside its multiplications"
            )
        self.listed += len(tensors) if isinstance(value, (list, tuple)) else 0
        if self.listed > MAX_LISTED:
            raise GraphError(f"the model is cut into more than {MAX_LISTED:,} pieces")
        self._hold(index, tensors)
        for used in self.graph.frees.get(index, ()):
            self._release(used)

    def _hold(self, index: int, tensors: list[Tensor]) -> None:
        self.held[index] = [(t.untyped_storage()._cdata, t.untyped_storage().nbytes()) for t in tensors]
        for storage, size in self.held[index]:
            if not self.users.get(storage):
                self.live_bytes += size
            self.users[storage] = self.users.get(storage, 0) + 1
        self.costs.peak_bytes = max(self.costs.peak_bytes, self.live_bytes)

    def _release(self, index: int) -> None:
        for storage, size in self.held.pop(index, ()):
            self.users[storage] -= 1
            if not self.users[storage]:
                self.live_bytes -= size

def estimate(graph: Graph, tensors: list[Tensor], shape: tuple[int, ...]) -> Costs:
    """Costs of running the graph on images of `shape` (N, C, H, W). Raises GraphError, or torch's error of the shape.

    The peak counts what the graph's own values need, as the interpreter frees them; the library's scratch memory and
    what a gradient keeps come on top.
    """
    costs = Costs(shapes=[None] * len(graph.nodes))
    meter = _Meter(graph, costs, images=max(shape[0], 1))
    images = torch.empty(shape, device="meta")
    stand_ins = {id(tensor): tensor.detach().to("meta") for tensor in tensors}
    with torch.no_grad():
        output = execute(graph, [stand_ins[id(tensor)] for tensor in tensors], images, observe=meter)
    for index, node in enumerate(graph.nodes):
        if node[0] == "input":
            costs.shapes[index] = list(shape)
        elif node[0] == "tensor":
            costs.shapes[index] = list(tensors[node[1]].shape)
        elif node[0] == "output":
            costs.shapes[index] = list(output.shape)
    costs.peak_bytes += images.numel() * 4
    return costs

def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)

def _touched(name: str, arguments: list[Any], made: list[Tensor]) -> int:
    """Values that an operation reads and writes, in steps of about a nanosecond: what is no multiplication takes time,
    too. A view takes none."""
    operation = name.split(".")[1]
    read = [tensor for argument in arguments for tensor in _tensors(argument)]
    if not operation.endswith("_"):
        shared = {tensor.untyped_storage()._cdata for tensor in read}
        made = [tensor for tensor in made if tensor.untyped_storage()._cdata not in shared]
        if not made:
            return 0
    written = sum(tensor.numel() for tensor in made)
    if operation.startswith(("max_pool", "avg_pool")):
        return written * _window(arguments[1], made[0].dim() - 1)
    return (written + sum(tensor.numel() for tensor in read)) * _STEPS.get(operation, 1)

def _window(kernel: int | list[int], most: int) -> int:
    """How many values a pooling window holds; one number stands for all its sides, of which there may be `most`."""
    sides = [kernel] if isinstance(kernel, int) else kernel
    return math.prod(sides * (min(most, 3) if len(sides) == 1 else 1))

def _macs(name: str, arguments: list[Any], value: Any) -> int:
    """Multiply-accumulates of convolutions, linear layers, matrix products and attention; others count as none."""
    operation = name.split(".")[1]
    if operation.startswith("conv_transpose"):
        return int(arguments[0].numel() * math.prod(arguments[1].shape[1:]))
    if operation.startswith("conv"):
        return int(value.numel() * math.prod(arguments[1].shape[1:]))
    if operation in {"linear", "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"}:
        return int(value.numel() * (arguments[0].shape[-1] if arguments[0].dim() else 1))
    if operation == "bilinear":
        return int(value.numel() * arguments[0].shape[-1] * arguments[1].shape[-1])
    if operation in {"addmm", "baddbmm"}:
        return int(value.numel() * arguments[1].shape[-1])
    if operation == "tensordot":
        return int(value.numel() * math.prod(arguments[0].shape[dim] for dim in arguments[2]))
    if operation == "scaled_dot_product_attention":
        keys = arguments[1].shape[-2]
        return int((arguments[0].numel() + value.numel()) * keys)
    return _einsum_macs(arguments) if operation == "einsum" else 0

def _einsum_macs(arguments: list[Any]) -> int:
    """Upper bound: the product of all index ranges; an ellipsis stands for the remaining dimensions."""
    ranges: dict[str, int] = {}
    rest = 1
    for subscript, tensor in zip(arguments[0].split("->")[0].replace(" ", "").split(","), arguments[1], strict=True):
        head, dots, tail = subscript.partition("...")
        letters = list(head) + list(tail)
        for letter, size in zip(head, tensor.shape, strict=False):
            ranges[letter] = max(size, ranges.get(letter, 1))
        if dots:
            if tail:
                ranges |= dict(zip(tail, tensor.shape[-len(tail) :], strict=False))
            rest = max(rest, tensor.numel() // max(math.prod(ranges[letter] for letter in letters), 1))
    return math.prod(ranges.values()) * rest
''',
    "_kit_worker_graph_requests": r'''
from __future__ import annotations
from _kit_worker_interpreter import GraphError
from dataclasses import dataclass
from torch.nn import functional as F

SEED = 20240

@dataclass
class Loaded:
    """One graph with its tensors, in the graph's order; tied tensors are one object."""

    graph: Graph
    tensors: list[Tensor]
    costs: dict[tuple[int, ...], Costs]
    channels_last: bool | None = None  # unknown until the first evaluation has compared both orders

def _trainable_copy(loaded: Loaded) -> list[Tensor]:
    """Own copies of all tensors, parameters as leaves that collect gradients; tied ones stay one."""
    trainable = {
        id(tensor)
        for (kind, *_), tensor in zip(loaded.graph.tensors, loaded.tensors, strict=True)
        if kind == "parameter" and tensor.is_floating_point()
    }
    copies = {id(t): t.detach().clone().requires_grad_(id(t) in trainable) for t in loaded.tensors}
    return [copies[id(tensor)] for tensor in loaded.tensors]

def _loss(output: Tensor, labels: Tensor, kind: str) -> Tensor:
    if kind == "square":
        return output.float().square().mean()
    if output.dim() != 2 or len(output) != len(labels):
        raise GraphError(f"expected logits of shape (N, classes) for a loss, got {tuple(output.shape)}")
    if int(labels.max()) >= output.shape[1]:
        raise GraphError(f"expected logits for {int(labels.max()) + 1} classes, got {output.shape[1]}")
    return F.cross_entropy(output.float(), labels)
''',
}
# <<< end of copy


# ------------------------------------------------------------------------------------------------------------------
# The built-in offline set
# ------------------------------------------------------------------------------------------------------------------

# >>> copied from autograder/judging/offline_images.py by tools/embed_in_kit.py; edit it there
"""The built-in offline data set: ten classes of drawn shapes and textures, rendered by code, shaped like CIFAR-10.

The images are the same, bit for bit, on every computer: the draws are PCG64's raw 64-bit words, whose stream NumPy
guarantees, and they are turned into pixels by element-wise +, -, *, / and square roots only, which IEEE 754 rounds
in one way. Nothing here calls sine, a matrix product or a sum over an array, whose last bit depends on the platform.

The class is the shape and nothing else. Colours, background, clutter, position, size, rotation, proportions, lighting
and noise are drawn alike for all ten, and every shape stays in its class when it is mirrored or moved by 4 pixels.
"""

# mypy: disable-error-code="no-any-return"


from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CLASSES = ("disc", "ring", "square", "triangle", "cross", "star", "crescent", "heart", "stripes", "checkers")
TRAIN_IMAGES = 10_000
TEST_IMAGES = 2_000

_SIZE = 32  # pixels, height and width
_SEEDS = {"train": 20_240, "test": 20_241}
# Images are rendered a batch at a time, each batch from a seed of its own: the first images of a split do not depend
# on how many are asked for.
_BATCH = 500

_Floats = NDArray[np.float32]


def render(split: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `count` images of a split and their labels.

    Returns images (count, 3, 32, 32) uint8, RGB, and labels (count,) int64, indices into `CLASSES`. Every 500 images
    hold each class 50 times, in random order. Raises ValueError for a split other than "train" and "test", or for a
    count below 1.
    """
    if split not in _SEEDS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    batches = [_render_batch(_Draws(_SEEDS[split], number)) for number in range(-(-count // _BATCH))]
    images = np.concatenate([images for images, _ in batches])[:count]
    labels = np.concatenate([labels for _, labels in batches])[:count]
    return images, labels


def render_all() -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Both splits in full: {"train": (10,000 images, labels), "test": (2,000 images, labels)}."""
    return {"train": render("train", TRAIN_IMAGES), "test": render("test", TEST_IMAGES)}


class _Draws:
    """A stream of random numbers that is the same for every NumPy version."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def words(self, count: int) -> NDArray[np.uint64]:
        return self._bits.random_raw(count)

    def uniform(self, low: float, high: float, *shape: int) -> _Floats:
        """Numbers in [low, high): 24 bits each, as many as a float32 holds exactly."""
        unit = (self.words(int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return (unit * np.float32(high - low) + np.float32(low)).reshape(shape)

    def noise(self, *shape: int) -> _Floats:
        """Bell-shaped numbers with mean 0 and standard deviation about 1: the sum of four bytes, scaled."""
        count = int(np.prod(shape))
        quads = self.words(-(-count // 2)).astype("<u8").view(np.uint8).reshape(-1, 4).astype(np.int16)
        total = quads[:, 0] + quads[:, 1] + quads[:, 2] + quads[:, 3]  # mean 510, standard deviation 147.8
        return ((total[:count] - 510) / np.float32(147.8)).reshape(shape)


def _render_batch(draws: _Draws) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One batch of images (500, 3, 32, 32) and labels (500,)."""
    labels = (np.argsort(draws.words(_BATCH), kind="stable") % len(CLASSES)).astype(np.int64)
    canvas, mean_colour = _background(draws)
    for _ in range(3):
        canvas = _add_clutter(canvas, draws, sizes=(1.0, 3.0))
    x, y, scale = _coordinates(draws, radii=(7.0, 12.0), jitter=4.5, turn=0.4, stretch=0.35)
    inside = np.empty_like(x)
    for label, shape in enumerate(_SHAPES):
        chosen = labels == label
        inside[chosen] = shape(x[chosen], y[chosen])
    cover = _coverage(inside, scale)
    canvas = _blend(canvas, _surface(draws, mean_colour, x, y), cover)
    canvas = _add_clutter(canvas, draws, sizes=(1.0, 2.5))  # one thing stands in front
    canvas = canvas + draws.noise(_BATCH, 3, _SIZE, _SIZE) * draws.uniform(0.02, 0.10, _BATCH, 1, 1, 1)
    images = np.floor(np.clip(canvas, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return images, labels


def _coordinates(
    draws: _Draws, radii: tuple[float, float], jitter: float, turn: float, stretch: float
) -> tuple[_Floats, _Floats, _Floats]:
    """Each pixel's place (x, y) in the frame of a moved, rotated and stretched object, (500, 32, 32) each, in units of
    the object's radius, and that radius in pixels (500, 1, 1)."""
    per_image = (_BATCH, 1, 1)
    axis = np.arange(_SIZE, dtype=np.float32) - np.float32((_SIZE - 1) / 2)
    column = axis[None, None, :] - draws.uniform(-jitter, jitter, *per_image)
    row = axis[None, :, None] - draws.uniform(-jitter, jitter, *per_image)
    # A point on the unit circle by rational parametrisation, since sine and cosine differ between platforms;
    # t is the tangent of half the angle: 0.4 turns by up to 44 degrees to either side, 1 by up to 90.
    t = draws.uniform(-turn, turn, *per_image)
    cosine = (1 - t * t) / (1 + t * t)
    sine = 2 * t / (1 + t * t)
    scale = draws.uniform(*radii, *per_image)
    narrowing = 1 + draws.uniform(0, stretch, *per_image)
    x = (column * cosine + row * sine) / scale * narrowing
    y = (row * cosine - column * sine) / scale
    return x, y, scale


def _coverage(inside: _Floats, scale: _Floats) -> _Floats:
    """How much of each pixel an object covers, 0 to 1, from the depth inside it (in radii): softens the outline."""
    return np.clip(inside * scale + np.float32(0.5), 0, 1)


def _blend(canvas: _Floats, paint: _Floats, cover: _Floats) -> _Floats:
    """Paint (N, 3, 32, 32) or (N, 3, 1, 1) laid over the canvas (N, 3, 32, 32) where cover (N, 32, 32) says so."""
    return canvas + (paint - canvas) * cover[:, None]


def _smooth_field(draws: _Draws, cells: int) -> _Floats:
    """Random fields (500, 32, 32) in [0, 1): a coarse random grid, interpolated linearly."""
    grid = draws.uniform(0, 1, _BATCH, cells + 1, cells + 1)
    place = np.arange(_SIZE, dtype=np.float32) * np.float32(cells / _SIZE)
    corner = place.astype(np.int64)
    part = place - corner.astype(np.float32)
    rows = grid[:, corner] * (1 - part)[:, None] + grid[:, corner + 1] * part[:, None]
    return rows[:, :, corner] * (1 - part) + rows[:, :, corner + 1] * part


def _background(draws: _Draws) -> tuple[_Floats, _Floats]:
    """Backgrounds (500, 3, 32, 32) that run from one colour to another along a smooth field, and their mean colours."""
    first, second = draws.uniform(0, 0.65, _BATCH, 3, 1, 1), draws.uniform(0, 0.65, _BATCH, 3, 1, 1)
    second = first + (second - first) * np.float32(0.6)
    mix = _smooth_field(draws, 2) * np.float32(0.7) + _smooth_field(draws, 8) * np.float32(0.3)
    return first + (second - first) * mix[:, None], (first + second) / 2


def _surface(draws: _Draws, mean_colour: _Floats, x: _Floats, y: _Floats) -> _Floats:
    """What objects are painted with, (500, 3, 32, 32): a colour that stands out, light from one side, a faint grain."""
    colour = draws.uniform(0.35, 1, _BATCH, 3, 1, 1)
    difference = colour - mean_colour
    distance = np.abs(difference[:, :1]) + np.abs(difference[:, 1:2]) + np.abs(difference[:, 2:])
    # Colours that come too close to the background are moved away from it, to a distance of 0.4 (of 3 possible).
    wanted = np.maximum(distance, np.float32(0.4))
    colour = mean_colour + difference * wanted / (distance + np.float32(1e-3))
    light = x * draws.uniform(-0.15, 0.15, _BATCH, 1, 1) + y * draws.uniform(-0.15, 0.15, _BATCH, 1, 1)
    grain = (_smooth_field(draws, 8) - np.float32(0.5)) * np.float32(0.3)
    return colour + np.clip(light, -0.3, 0.3)[:, None] + grain[:, None]


def _add_clutter(canvas: _Floats, draws: _Draws, sizes: tuple[float, float]) -> _Floats:
    """The canvas with one small blot or bar of any colour added to every image, more or less see-through."""
    x, y, scale = _coordinates(draws, radii=sizes, jitter=15, turn=1, stretch=0.5)
    length = draws.uniform(1, 5, _BATCH, 1, 1)
    cover = _coverage(np.minimum(1 - np.abs(x), length - np.abs(y)), scale) * draws.uniform(0.3, 1, _BATCH, 1, 1)
    return _blend(canvas, draws.uniform(0, 1, _BATCH, 3, 1, 1), cover)


# The shapes: how deep a point (x, y) lies inside, in units of the object's radius; negative outside.


def _length(x: _Floats, y: _Floats) -> _Floats:
    return np.sqrt(x * x + y * y)


def _wave(x: _Floats) -> _Floats:
    """A triangle wave of period 1 between -0.25 and 0.25: positive in one half of the period, negative in the other."""
    return np.float32(0.25) - np.abs(x - np.floor(x) - np.float32(0.5))


def _disc(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.85) - _length(x, y)


def _ring(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.2) - np.abs(_length(x, y) - np.float32(0.72))


def _square(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.75) - np.maximum(np.abs(x), np.abs(y))


def _triangle(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.55) - np.maximum(-y, np.abs(x) * np.float32(0.866) + y * np.float32(0.5))


def _cross(x: _Floats, y: _Floats) -> _Floats:
    across, along = np.abs(x), np.abs(y)
    arm, half = np.float32(0.95), np.float32(0.28)
    return np.maximum(np.minimum(arm - across, half - along), np.minimum(arm - along, half - across))


def _star(x: _Floats, y: _Floats) -> _Floats:
    """A pentagram: the points on the inner side of at least four of the lines through its five edges."""
    normals = ((0.0, -1.0), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309))
    depths = [np.float32(0.38) - x * np.float32(across) - y * np.float32(down) for across, down in normals]
    return np.sort(np.stack(depths), axis=0)[1]


def _crescent(x: _Floats, y: _Floats) -> _Floats:
    return np.minimum(np.float32(0.9) - _length(x, y), _length(x - np.float32(0.5), y) - np.float32(0.68))


def _heart(x: _Floats, y: _Floats) -> _Floats:
    """A square that stands on a corner, with a disc on each of its two upper edges."""
    across, down = np.abs(x), y + np.float32(0.1)
    square = (np.float32(0.8) - across - np.abs(down)) * np.float32(0.707)
    discs = np.float32(0.566) - _length(across - np.float32(0.4), down + np.float32(0.4))
    return np.maximum(square, discs)


def _stripes(x: _Floats, y: _Floats) -> _Floats:
    return np.minimum(np.float32(0.9) - _length(x, y), _wave(x * np.float32(1.6)) / np.float32(1.6))


def _checkers(x: _Floats, y: _Floats) -> _Floats:
    product = _wave(x * np.float32(1.2)) * _wave(y * np.float32(1.2))
    return np.minimum(np.float32(0.9) - _length(x, y), product * np.float32(4))


_SHAPES: tuple[Callable[[_Floats, _Floats], _Floats], ...] = (
    _disc, _ring, _square, _triangle, _cross, _star, _crescent, _heart, _stripes, _checkers,
)  # fmt: skip
# <<< end of copy


# ------------------------------------------------------------------------------------------------------------------
# The graph export that the grader uses, so that you see here what it will see
# ------------------------------------------------------------------------------------------------------------------

# >>> copied from autograder/worker/exporter.py by tools/embed_in_kit.py; edit it there
"""Turn an nn.Module into a model graph: plain JSON data plus named tensors, with no code in it.

`torch.export` traces the module into a flat list of ATen operations. This file rewrites that list in the closed format
that the grader reads: nodes are integers, an operation is a name from a fixed table, arguments are positional and bound
by the operation's own schema, and one integer per node says which line of the student's code it came from.

It needs nothing but torch and the standard library: its text is also part of the student kit, so that a student meets
an export problem before handing in.

    pool = TensorPool()
    graph = export_graph(model, torch.zeros(4, 3, 32, 32), training=False, pool=pool)
    json.dumps(graph), safetensors.torch.save(pool.tensors)
"""


import logging
import math
import os
import random
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LINES_PER_CELL = 100_000

# Overloads as `str(overload)` spells them. "x.default" is left out: "relu" means "aten.relu.default".
_ATEN = """
    conv1d conv1d.padding conv2d conv2d.padding conv3d conv3d.padding
    conv_transpose1d conv_transpose2d.input conv_transpose3d.input
    linear bilinear matmul mm bmm mv dot vdot addmm baddbmm einsum inner outer tensordot embedding
    scaled_dot_product_attention
    batch_norm group_norm layer_norm instance_norm rms_norm
    _weight_norm _weight_norm_interface
    relu relu_ relu6 relu6_ gelu gelu_ silu silu_ leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ hardswish
    hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_ mish mish_ softplus prelu rrelu rrelu_ sigmoid sigmoid_
    tanh tanh_ log_sigmoid threshold threshold_ softshrink hardshrink glu softmax.int log_softmax.int
    dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_ feature_alpha_dropout
    feature_alpha_dropout_
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec _upsample_nearest_exact2d.vec
    upsample_linear1d.vec upsample_bilinear2d.vec upsample_bicubic2d.vec _upsample_bilinear2d_aa.vec
    _upsample_bicubic2d_aa.vec pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im grid_sampler
    affine_grid_generator pad
    mean mean.dim sum sum.dim_IntList amax amin max min max.dim min.dim max.other min.other argmax argmin prod
    prod.dim_int var var.dim var.correction var_mean.dim var_mean.correction std std.dim std.correction std_mean.dim
    std_mean.correction logsumexp cumsum linalg_vector_norm norm.ScalarOpt_dim median.dim topk sort any any.dim
    all all.dim count_nonzero.dim_IntList cosine_similarity
    add.Tensor sub.Tensor mul.Tensor div.Tensor div.Tensor_mode add.Scalar sub.Scalar mul.Scalar div.Scalar
    rsub.Scalar rsub.Tensor add_.Tensor sub_.Tensor mul_.Tensor div_.Tensor div.out add_.Scalar sub_.Scalar
    mul_.Scalar div_.Scalar
    floor_divide floor_divide.Scalar remainder.Scalar remainder.Tensor
    pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar pow_.Scalar square square_ sqrt sqrt_ rsqrt rsqrt_ exp exp_
    exp2 expm1 log log_ log1p log2 log10 sin cos tan asin acos atan sinh cosh erf erfc abs abs_ neg neg_ sign sgn
    floor floor_ ceil round trunc frac reciprocal reciprocal_ clamp clamp.Tensor clamp_ clamp_min clamp_max
    clamp_min_ clamp_max_ clip clip_ maximum minimum addcmul addcdiv addcmul_ lerp.Scalar lerp.Tensor lerp_.Scalar
    lerp_.Tensor nan_to_num atan2 logaddexp xlogy.Tensor
    eq.Scalar ne.Scalar gt.Scalar ge.Scalar lt.Scalar le.Scalar eq.Tensor ne.Tensor gt.Tensor ge.Tensor lt.Tensor
    le.Tensor logical_and logical_or logical_not logical_xor bitwise_not bitwise_and.Tensor bitwise_or.Tensor
    __and__.Tensor __or__.Tensor isnan isinf isfinite where.self where.ScalarSelf where.ScalarOther where.Scalar
    masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar
    cat concat concatenate stack hstack vstack split.Tensor split.sizes split_with_sizes chunk unbind.int
    tensor_split.sections tensor_split.indices unsafe_split.Tensor unsafe_chunk slice.Tensor select.int narrow
    index.Tensor index_select gather take_along_dim
    view reshape view_as reshape_as flatten.using_ints unflatten.int ravel squeeze squeeze.dim squeeze.dims
    unsqueeze squeeze_ squeeze_.dim unsqueeze_ permute transpose.int swapaxes swapdims movedim.int movedim.intlist
    moveaxis.int moveaxis.intlist t numpy_T mT mH matrix_H adjoint expand expand_as broadcast_to repeat
    repeat_interleave.self_int tile flip fliplr flipud roll rot90 tril triu diagonal unfold meshgrid
    meshgrid.indexing contiguous clone detach alias lift_fresh_copy type_as to.dtype to.dtype_layout to.device
    to.other
    copy_ fill_.Scalar fill_.Tensor zero_ index_put_
    zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full arange arange.start
    arange.start_step linspace eye eye.m scalar_tensor
    bernoulli bernoulli.p bernoulli_.float rand rand_like randn randn_like randint randint.low uniform_ normal_
    normal.float_float
    sym_size.int sym_numel
"""
SUPPORTED_OPERATIONS = frozenset(
    f"aten.{name}" if "." in name else f"aten.{name}.default" for name in _ATEN.split()
) | frozenset(f"operator.{name}" for name in ("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg"))

# Uninitialised memory may hold anything, so zeros are a legal value of it; and zeros leak nothing.
_REWRITES = {
    "aten.empty.memory_format": "aten.zeros.default",
    "aten.empty_like.default": "aten.zeros_like.default",
    "aten.new_empty.default": "aten.new_zeros.default",
    "aten.detach_.default": "aten.detach.default",
}
# Checks that torch.export adds by itself; they compute nothing.
_ASSERTIONS = re.compile(r"aten\._assert_\w+\.\w+|aten\.sym_constrain_range\w*\.default|_assert\w*")
_READS_VALUES = ("aten.item.default", "aten._local_scalar_dense.default")
_DTYPES = frozenset(
    f"torch.{name}"
    for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
)
_TORCH_FOLDER = os.path.dirname(torch.__file__)


class ExportProblem(Exception):
    """A module that did not become a graph. `str(problem)` is written for the student.

    `kind` is "error" where the module's own code is wrong (its `forward` raises, or does not return one tensor) and
    "unsupported" where the code may be right but the graph cannot hold it. `line` is encoded as in the graph, 0 where
    unknown; `raised` is what `forward` raised, if it did. `cause` is "values", "data" or "random" where forward cannot
    be traced because it looks at a tensor's values, takes its `.data`, or draws from Python's or NumPy's random.
    `returned` is "dict", "tuple", "list", "none", "number" or "object" where forward gave that in place of one tensor.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        line: int = 0,
        *,
        raised: BaseException | None = None,
        cause: str = "",
        returned: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.line = line
        self.raised = raised
        self.cause = cause
        self.returned = returned


class TensorPool:
    """The tensors of one build, shared by its exports. `tensors` maps a key ("t0", ...) to a contiguous CPU copy."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._keys: dict[tuple[Any, ...], str] = {}
        self._originals: list[Tensor] = []  # kept alive: a freed tensor's address would be given to another one

    def add(self, tensor: Tensor) -> str:
        """The key of a tensor; one that is seen again (the same memory, seen the same way) keeps its key."""
        identity = (
            tensor.data_ptr(),
            tensor.numel(),
            tuple(tensor.shape),
            tensor.stride(),
            tensor.dtype,
            tensor.device,
        )
        if identity not in self._keys or not tensor.numel():
            key = f"t{len(self.tensors)}"
            self._originals.append(tensor)
            self._keys[identity] = key
            self.tensors[key] = tensor.detach().cpu().contiguous().clone()
        return self._keys[identity]


def encode_line(cell: int, line: int) -> int:
    """One integer for a line of a cell; both count from 1, and 0 means unknown."""
    return cell * LINES_PER_CELL + min(line, LINES_PER_CELL - 1)


def decode_line(line: int) -> tuple[int, int]:
    """`(cell, line in the cell)` of an encoded line; `(0, 0)` where it is unknown."""
    return divmod(line, LINES_PER_CELL)


def export_graph(
    module: nn.Module,
    example: Tensor,
    *,
    training: bool,
    pool: TensorPool,
    locate: Callable[[str, int], int] = lambda filename, line: line,
) -> dict[str, Any]:
    """The graph of `module(example)` as data that `json.dumps` takes; its tensors go into `pool`.

    example: float tensor (N, C, H, W) with N >= 2 (torch specialises sizes 0 and 1). The batch becomes dynamic where
    the module's code allows it, else "batch" is N. `locate(filename, line)` encodes a line of the student's code, or
    gives 0 for a file that is not the student's. The module's train/eval flags are restored.
    Raises ExportProblem.
    """
    module = _unwrap(module)
    flags = [(part, part.training) for part in module.modules()]
    try:
        module.train(training)
        with _quiet(), torch.enable_grad():
            _materialise_lazy_parameters(module, example, locate)
            luck = _python_luck()
            program = _trace(module, example, locate)
        if training and _python_luck() != luck:
            raise ExportProblem(
                "unsupported",
                "forward draws from Python's or NumPy's random while it trains, and a graph would keep that one draw: "
                "a branch that is left out by chance would be missing from it. Hint: draw with torch, e.g. multiply "
                "the branch by torch.empty(x.size(0), 1, 1, 1).bernoulli_(keep)",
                _line_that_draws(module, example, locate),
                cause="random",
            )
        return _Encoder(module, program, example, training, pool, locate).encode()
    finally:
        for part, flag in flags:
            part.training = flag


def _unwrap(module: nn.Module) -> nn.Module:
    """The module inside torch.compile's or DataParallel's wrapper."""
    for name in ("_orig_mod", "module") if type(module).__module__.startswith("torch.") else ():
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            return inner
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            what = f"`{name[:80]}` is a scripted module, which" if name else "a scripted module"
            raise ExportProblem("unsupported", f"{what} cannot be exported; leave out torch.jit.script")
    return module


def _python_luck() -> tuple[Any, ...]:
    """The states of the random generators that torch does not trace; they change when something draws from them."""
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state(legacy=False)["state"] if numpy else {}
    return random.getstate(), state.get("pos"), bytes(state.get("key", b""))


def _line_that_draws(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> int:
    """The first line of the student's code in forward that draws from such a generator."""
    found, luck, places = 0, _python_luck(), [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal found, luck
        place = locate(frame.f_code.co_filename, frame.f_lineno)
        if not place:
            return None
        now = _python_luck()
        if now != luck:
            found, luck = found or places[-1], now
        if event == "call":
            places.append(place)
        elif event == "return":
            places.pop()
        else:
            places[-1] = place
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        _problem_when_run(module, example, locate)
    finally:
        sys.settrace(before)
    return found


class _DataReads(TorchFunctionMode):
    """Takes note of the student's line where a tensor's `.data` is read for the first time."""

    def __init__(self, locate: Callable[[str, int], int]) -> None:
        super().__init__()
        self.locate, self.line = locate, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__get__ and not self.line:  # type: ignore[attr-defined]
            frames = traceback.extract_stack()
            self.line = _innermost([(frame.filename, frame.lineno or 0) for frame in frames], self.locate)
        return func(*args, **(kwargs or {}))


def _line_that_reads_data(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> int:
    reads = _DataReads(locate)
    with reads:
        _problem_when_run(module, example, locate)
    return reads.line


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the tracer's warnings and dumps, which read as if the student's code had failed, and what forward prints."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _materialise_lazy_parameters(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> None:
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters()):
        problem = _problem_when_run(module, example, locate)
        if problem is not None:
            raise problem


def _trace(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> Any:
    """The exported program: batch dynamic where possible, fixed where the code fixes it."""
    dynamic = ({0: torch.export.Dim.AUTO},)
    try:
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic, strict=False)
        if _batch_of(program) != "dynamic":
            # Dim.AUTO says nothing when it fixes the batch, and `x.reshape(len(x), -1)` is enough for that: Python's
            # len() gives a plain integer. The strict tracer reads the source instead and keeps it symbolic.
            with suppress(Exception):  # what it cannot trace, the other one has traced already
                strict = torch.export.export(module, (example,), dynamic_shapes=dynamic, strict=True)
                return strict if _batch_of(strict) == "dynamic" else program
        return program
    except Exception:  # any of a dozen kinds, some of them private to torch; what it means is decided below
        problem = _problem_when_run(module, example, locate)
        if problem is not None:
            raise problem from None
    try:
        return torch.export.export(module, (example,), strict=False)
    except Exception as error:
        line = _line_of_text(str(error), locate) or _line_of_exception(error, locate)
        reason, cause = _reason(error)
        line = line or (_line_that_reads_data(module, example, locate) if cause == "data" else 0)
        raise ExportProblem(
            "unsupported",
            f"forward runs, but torch.export cannot turn it into a graph: {reason} "
            "Hint: decisions on tensor values (if x.max() > 1, .item(), .numpy(), .data) cannot be part of a graph.",
            line,
            cause=cause,
        ) from error


def _reason(error: Exception) -> tuple[str, str]:
    """The first line of what torch says, or plain words and a cause for what it says in riddles."""
    text = str(error)
    if "We found a fake tensor in the exported program constant's list" in text:
        return "it uses a tensor's .data, which leaves the graph (.detach() stays in it).", "data"
    if re.search(r"data-dependent|Could not extract specialized|unsupported format string|\.numpy\(\) is not", text):
        return "what it does next depends on the values of a tensor.", "values"
    return next((line for line in text.splitlines() if line.strip()), type(error).__name__)[:300], ""


def _batch_of(program: Any) -> int | str:
    """ "dynamic", or the one batch size that the code allows."""
    specs = program.graph_signature.input_specs
    name = next((spec.arg.name for spec in specs if spec.kind.name == "USER_INPUT"), None)
    sizes = [node.meta["val"].shape[0] for node in program.graph.nodes if node.name == name]
    if sizes and isinstance(sizes[0], torch.SymInt) and not sizes[0].node.expr.is_number:
        return "dynamic"  # a symbol that the code has fixed is still a SymInt, of a number
    return int(sizes[0]) if sizes else "dynamic"


def _problem_when_run(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> ExportProblem | None:
    """What is wrong when the module simply runs; its buffers are put back."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers() if not nn.parameter.is_lazy(buffer)]
    try:
        with torch.no_grad():
            module(example.clone())
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:300]
        message = f"forward raises {type(error).__name__} for an input {tuple(example.shape)}: {reason}"
        return ExportProblem("error", message, _line_of_exception(error, locate), raised=error)
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    return None


def _line_of_exception(error: BaseException, locate: Callable[[str, int], int]) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return _innermost([(frame.filename, frame.lineno or 0) for frame in frames], locate)


def _line_of_text(text: str, locate: Callable[[str, int], int]) -> int:
    """The line from a stack that torch wrote as text."""
    found = re.findall(r'File "([^"\n]+)", line (\d{1,7})', text)
    return _innermost([(filename, int(line)) for filename, line in found], locate)


def _innermost(frames: list[tuple[str, int]], locate: Callable[[str, int], int]) -> int:
    for filename, line in reversed(frames):
        # torch's own frames, and this file's, come after the student's; torch shortens its own to "torch/...".
        if filename.startswith((_TORCH_FOLDER, "torch/")) or filename == __file__:
            continue
        place = locate(filename, line)
        if place:
            return place
    return 0


class _Encoder:
    """Writes one exported program as a wire graph."""

    def __init__(
        self,
        module: nn.Module,
        program: Any,
        example: Tensor,
        training: bool,
        pool: TensorPool,
        locate: Callable[[str, int], int],
    ) -> None:
        self.program, self.example, self.training, self.pool, self.locate = program, example, training, pool, locate
        self.module = module
        self.tensors: list[list[Any]] = []
        self.regions: list[list[Any]] = []
        self.nodes: list[list[Any]] = []
        self.mutating: set[int] = set()
        self.problems: dict[int, ExportProblem] = {}  # by node: a node that turns out to be dead is no problem

    def encode(self) -> dict[str, Any]:
        environment: dict[Any, Any] = {}
        specs = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                environment[node] = {"node": self._placeholder(node, specs[node.name])}
                if specs[node.name].kind.name == "USER_INPUT" and _writes_input(self.program.graph, node):
                    # An in-place ReLU on the images changes the caller's copy, in a graph it may not: give it its own.
                    self._append(["call", "aten.clone.default", [environment[node], None], 0, 0])
                    environment[node] = {"node": len(self.nodes) - 1}
        self._add_unused_state()
        outputs = self._emit(self.program.graph_module, environment, region=0)
        if len(outputs) != 1 or not self._returns_one_tensor():
            kind = "unsupported" if self.training else "error"
            message = "forward must return one tensor (the logits), not several values or none"
            raise ExportProblem(kind, message, returned=self._returned())
        self.nodes.append(["output", outputs[0]])
        return {
            "version": 1,
            "training": self.training,
            "batch": _batch_of(self.program),
            "input_shape": list(self.example.shape),
            "tensors": self.tensors,
            "regions": self.regions,
            "nodes": self._live_nodes(),
        }

    def _returns_one_tensor(self) -> bool:
        """False for `return (x,)` or `return {"logits": x}`, whose graph has one output too."""
        outputs = self.program.graph_signature.output_specs
        tree = self.program.call_spec.out_spec
        return len(outputs) == 1 and type(outputs[0].arg).__name__ == "TensorArgument" and bool(tree.is_leaf())

    def _returned(self) -> str:
        """What forward gave in place of one tensor, as in ExportProblem."""
        tree = self.program.call_spec.out_spec
        if not tree.is_leaf():
            # Of named tuples torch keeps the function that makes them in place of a type.
            type_ = tree.type if isinstance(tree.type, type) else tuple
            return next((kind.__name__ for kind in (dict, list, tuple) if issubclass(type_, kind)), "object")
        value = getattr(self.program.graph_signature.output_specs[0].arg, "value", None)
        return "none" if value is None else "number" if isinstance(value, (int, float)) else "object"

    def _placeholder(self, node: Any, spec: Any) -> int:
        kind = spec.kind.name
        if kind == "USER_INPUT":
            return self._append(["input"])
        if kind not in {"PARAMETER", "BUFFER", "CONSTANT_TENSOR"}:
            raise ExportProblem("unsupported", f"the module holds a value that is no tensor ({kind.lower()})")
        store = self.program.state_dict if spec.target in self.program.state_dict else self.program.constants
        # What a state dict does not hold is a constant of the graph.
        self._tensor(spec.target, store[spec.target], kind == "PARAMETER", kind == "BUFFER" and spec.persistent)
        return self._append(["tensor", len(self.tensors) - 1])

    def _tensor(self, name: str, tensor: Tensor, is_parameter: bool, is_buffer: bool) -> None:
        if str(tensor.dtype) not in _DTYPES - {"torch.bfloat16"} or tensor.layout != torch.strided:
            raise ExportProblem("unsupported", f"tensor {name!r} has dtype {tensor.dtype}; use float32")
        kind = "buffer" if is_buffer else "constant"
        if is_parameter:
            kind = "parameter" if tensor.requires_grad else "frozen"
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.tensors.append([kind, name, dtype, list(tensor.shape), self.pool.add(tensor)])

    def _add_unused_state(self) -> None:
        """Name what the state dict holds and the graph does not: layers that forward never calls, second names."""
        known = {tensor[1] for tensor in self.tensors}
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            if name not in known and isinstance(tensor, Tensor):
                self._tensor(name, tensor, isinstance(tensor, nn.Parameter), not isinstance(tensor, nn.Parameter))

    def _append(self, node: list[Any]) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _emit(self, graph_module: Any, environment: dict[Any, Any], region: int) -> list[Any]:
        """Append a graph's calls, regions inlined, and return its encoded outputs."""
        for node in graph_module.graph.nodes:
            if node.op == "call_function":
                environment[node] = self._call(graph_module, node, environment, region)
            elif node.op == "output":
                values = node.args[0] if isinstance(node.args[0], (list, tuple)) else [node.args[0]]
                return [self._value(value, environment) for value in values]
        return []

    def _call(self, graph_module: Any, node: Any, environment: dict[Any, Any], region: int) -> Any:
        target = node.target
        name = _name_of(target)
        if name in {"wrap_with_set_grad_enabled", "wrap_with_autocast"}:
            return self._region(name, graph_module, node, environment, region)
        if name == "operator.getitem" and isinstance(environment.get(node.args[0]), list):
            return environment[node.args[0]][node.args[1]]  # one of the outputs of a region
        if _ASSERTIONS.fullmatch(name):
            return None
        line = _line_of_text(node.meta.get("stack_trace") or "", self.locate)
        arguments = _bind(node)
        index = len(self.nodes)
        if name == "sym_float":  # of the number of images
            name, arguments = "operator.truediv", [*arguments, 1]
        elif name in _REWRITES:
            name = _REWRITES[name]
            arguments = arguments[: len(_overload(name)._schema.arguments)]  # empty has one more than zeros
        try:
            encoded = [self._value(value, environment) for value in arguments]
        except ExportProblem as problem:
            problem.line = line
            self.problems[index], encoded = problem, []
        if name not in SUPPORTED_OPERATIONS:
            cause = "values" if name in _READS_VALUES else ""
            message = f"the model uses the operation {name[:80]}, which a model graph cannot hold"
            self.problems[index] = ExportProblem("unsupported", message, line, cause=cause)
        schema = getattr(target, "_schema", None)
        if schema is not None and schema.is_mutable:
            self.mutating.add(index)
        return {"node": self._append(["call", name, encoded, line, region])}

    def _region(self, name: str, graph_module: Any, node: Any, environment: dict[Any, Any], region: int) -> list[Any]:
        """Inline the body of `with torch.no_grad():` or `with torch.autocast(...):`."""
        count = 1 if name == "wrap_with_set_grad_enabled" else 4
        settings, body, operands = node.args[:count], node.args[count], node.args[count + 1 :]
        if count == 1:
            self.regions.append([region, "grad", bool(settings[0])])
            region = len(self.regions)
        elif settings[0] == self.example.device.type:  # autocast of another device changes nothing
            dtype = str(settings[1] or torch.get_autocast_dtype(settings[0])).removeprefix("torch.")
            self.regions.append([region, "autocast", dtype, bool(settings[2])])
            region = len(self.regions)
        inner = getattr(graph_module, body.target)
        names = [item for item in inner.graph.nodes if item.op == "placeholder"]
        scope = {place: self._value(value, environment) for place, value in zip(names, operands, strict=True)}
        return self._emit(inner, scope, region)

    def _value(self, value: Any, environment: dict[Any, Any]) -> Any:
        if isinstance(value, torch.fx.Node):
            return environment[value]
        if isinstance(value, (list, tuple)):
            return [self._value(item, environment) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, torch.dtype):
            if str(value) not in _DTYPES:
                raise ExportProblem("unsupported", f"{value} cannot be part of a model graph; use float32")
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
            return None  # the grader chooses where and in which memory order a graph runs
        raise ExportProblem("unsupported", f"a {type(value).__name__} cannot be part of a model graph")

    def _live_nodes(self) -> list[list[Any]]:
        """The nodes that the output needs, renumbered; inputs, tensors and writes stay."""
        live = {i for i, node in enumerate(self.nodes) if node[0] != "call"} | self.mutating
        for i in reversed(range(len(self.nodes))):
            if i in live:
                live.update(_references(self.nodes[i]))
        problems = [self.problems[i] for i in sorted(live & self.problems.keys())]
        if problems:
            raise problems[0]
        order = {old: new for new, old in enumerate(sorted(live))}
        return [_renumber(self.nodes[old], order) for old in sorted(live)]


def _name_of(target: Any) -> str:
    """An operation's name: `aten.relu.default`, `operator.add`, `sym_float`. Never an address, which would differ each
    time in what a student reads."""
    if getattr(target, "__module__", "") == "_operator":
        return f"operator.{target.__name__}"
    return str(target) if isinstance(target, torch._ops.OperatorBase) else str(getattr(target, "__name__", "?"))


def _bind(node: Any) -> list[Any]:
    """Every argument of a call by position, defaults filled in, so that no keyword name travels."""
    arguments = list(node.args)
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        for argument in schema.arguments[len(arguments) :]:
            default = argument.default_value
            if re.search("MemoryFormat|ScalarType", str(argument.real_type)) and isinstance(default, int):
                # torch's own codes; the one dtype that is a default is randint's, int64
                default = None if "MemoryFormat" in str(argument.real_type) else torch.int64
            arguments.append(node.kwargs.get(argument.name, default))
    return arguments


def _writes_input(graph: Any, placeholder: Any) -> bool:
    """Whether some call may write into the input, or into a view of it (dropout hands it on in evaluation mode)."""
    views = {placeholder}
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            if views.intersection(node.all_input_nodes):  # one of several results, or a region: may be a view
                views.add(node)
            continue
        for argument, value in zip(schema.arguments, node.args, strict=False):
            if (
                isinstance(value, torch.fx.Node)
                and value in views
                and (argument.alias_info is not None or "dropout" in str(node.target))
            ):
                if schema.is_mutable and argument.alias_info is not None and argument.alias_info.is_write:
                    return True
                views.add(node)
    return False


def _overload(name: str) -> Any:
    """The overload object of one of our own names, never of a name from outside."""
    _, operation, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, operation), overload)


def _references(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [value["node"]] if "node" in value else []
    return [index for item in value for index in _references(item)] if isinstance(value, list) else []


def _renumber(value: Any, order: dict[int, int]) -> Any:
    if isinstance(value, dict) and "node" in value:
        return {"node": order[value["node"]]}
    return [_renumber(item, order) for item in value] if isinstance(value, list) else value
# <<< end of copy


if __name__ == "__main__":
    sys.exit(main())
