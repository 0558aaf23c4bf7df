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

Environment variables: CIFAR10_ROOT says where CIFAR-10 lies; CNN_KIT_DATA=offline takes the built-in offline set;
CNN_KIT_QUICK=1 trains one epoch on a few images, to see that a notebook runs from top to bottom.
"""
# ruff: noqa: E402, F811, I001 - the two copied sections at the end bring their own imports and order

from __future__ import annotations

import argparse
import contextlib
import hashlib
import inspect
import io
import json
import linecache
import math
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torchvision import datasets, tv_tensors
from torchvision.transforms import v2
from torchvision import transforms as v1
from tqdm import tqdm

__version__ = "1.0"

# The budgets of exercise 4. The grader applies the same ones.
MAX_NUMBERS = 12_000_000  # in parameters and buffers
MAX_MACS = 1_500_000_000  # multiply-accumulates per 32x32 image
MAX_CHECKPOINT_MIB = 64

CHECKPOINTS = ("modern_cnn.safetensors", "modern_cnn.pt")  # the first one that exists counts
TRAINING_CELL = "modern-cnn-training"  # never run by `check`, nor while grading
NOTEBOOKS = {  # what is handed in, and the cells with public checks
    "01_output_size.ipynb": ("output-size-worked", "output-size-function"),
    "02_deeper_cnn.ipynb": ("deeper-cnn-tests",),
    "03_depthwise_separable.ipynb": ("depthwise-separable-tests", "depthwise-count"),
    "04_modern_cnn.ipynb": ("modern-cnn-architecture", "modern-cnn-augmentation", "modern-cnn-accuracy"),
}
ACCURACY_POINTS, ACCURACY_FROM, ACCURACY_FULL = 20, 0.65, 0.75


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


def load_cifar10(root: str | os.PathLike[str] | None = None) -> Dataset:
    """CIFAR-10 with 45,000 training, 5,000 validation and 10,000 test images.

    Looks in `root`, else in the folder or zip named by the environment variable CIFAR10_ROOT, else in ./data, else lets
    torchvision download it into ./data, and where there is no network takes the built-in offline set. Prints which.
    A place may be torchvision's `cifar-10-batches-py` folder (or the folder that holds it), a tree of
    `train/<class>/*` and `test/<class>/*` images, or a zip of such a tree.
    Raises KitError where `root` or CIFAR10_ROOT is given and holds no CIFAR-10.
    """
    if _while_grading() and not _while_checking():
        print("While grading, a few images of the offline set stand in for CIFAR-10.")
        return _dataset("built-in offline set (stand-in while grading)", CLASSES, _offline_arrays(500, 100))
    if os.environ.get("CNN_KIT_DATA") == "offline":
        return offline_dataset("CNN_KIT_DATA=offline")
    asked = os.environ.get("CIFAR10_ROOT") if root is None else os.fspath(root)
    if asked:
        return _read_dataset(Path(asked).expanduser())
    if _find_cifar10(Path("data")) is not None:
        return _read_dataset(Path("data"))
    try:
        _download_cifar10()
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a broken download is a RuntimeError
        return offline_dataset(f"no CIFAR-10 in ./data, and the download failed: {error}")
    return _read_dataset(Path("data"))


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
) -> History:
    """Trains the model in place on `data.train` and returns its history, with validation after every epoch.

    Without an optimizer of yours it is SGD with Nesterov momentum 0.9, its learning rate rising to `max_lr` and falling
    to zero once ("one cycle", Smith and Topin 2018). With your own optimizer the learning rate is yours too:
    `scheduler.step()` is called after every batch for OneCycleLR and CyclicLR, after every epoch for all others.
    Interrupt it (the stop button, Ctrl-C) and the model keeps what it has learned so far.
    Call torch.manual_seed before you build the model, too: then a run can be repeated exactly on the same computer.
    Raises KitError where the loss stops being a number. Returns at once while grading.
    """
    where = device()
    history = History(seed=seed, device=str(where))
    if _while_grading():
        print("Training is left out while grading: the saved checkpoint is what counts.")
        return history
    training, validation = data.train, data.validation
    if os.environ.get("CNN_KIT_QUICK") == "1":
        print("CNN_KIT_QUICK=1: one epoch on a few images.")
        training, validation, epochs = _first(training, 512), _first(validation, 256), 1
    _seed_everything(seed)
    _to_device(model, where)
    batches = loader(training, train_transform, batch_size, shuffle=True, seed=seed)
    if optimizer is None:
        optimizer = torch.optim.SGD(
            model.parameters(), lr=max_lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
        )
        steps = max(8, epochs * len(batches))  # OneCycleLR divides by zero where it rises for one step only
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=steps, pct_start=0.25)
    started = time.perf_counter()
    try:
        for epoch in range(1, epochs + 1):
            _train_one_epoch(model, batches, optimizer, scheduler, label_smoothing, f"epoch {epoch}/{epochs}", history)
            loss, accuracy = evaluate(model, validation, test_transform)
            history.validation_loss.append(loss)
            history.validation_accuracy.append(accuracy)
            history.seconds = time.perf_counter() - started
            print(
                f"epoch {epoch}/{epochs}: training loss {history.train_loss[-1]:.3f}, accuracy "
                f"{history.train_accuracy[-1]:.1%}; validation loss {loss:.3f}, accuracy {accuracy:.1%}; "
                f"{history.seconds:.0f} s"
            )
    except KeyboardInterrupt:
        print("Interrupted: the model keeps what it has learned so far.")
    history.seconds = time.perf_counter() - started
    model.eval()
    return history


def _train_one_epoch(
    model: nn.Module,
    batches: Loader,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    label_smoothing: float,
    title: str,
    history: History,
) -> None:
    per_batch = isinstance(scheduler, (torch.optim.lr_scheduler.OneCycleLR, torch.optim.lr_scheduler.CyclicLR))
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
    history.train_loss.append(loss_sum / seen)
    history.train_accuracy.append(correct / seen)


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, transform: _Transform, batch_size: int = 500) -> tuple[float, float]:
    """Mean cross-entropy and accuracy (0..1) of the model on a split, in evaluation mode."""
    was_training = model.training
    _to_device(model, device()).eval()
    loss_sum, correct = 0.0, 0
    for x, y in loader(split, transform, batch_size):
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


def _to_device(model: nn.Module, where: torch.device) -> nn.Module:
    # Channels-last makes convolutions a quarter faster on CPUs and GPUs; on MPS it has been a source of errors.
    return model.to(where) if where.type == "mps" else model.to(where, memory_format=torch.channels_last)


def _to_device_batch(x: torch.Tensor, model: nn.Module) -> torch.Tensor:
    where = _device_of(model)
    return x.to(where) if where.type == "mps" else x.to(where, memory_format=torch.channels_last)


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
) -> Path:
    """Saves the model's state dict as safetensors (or with torch.save, where `path` ends with .pt).

    Notes the data set's identity, the seed and the history in the file, for your own records.
    While grading it saves nothing: the file you handed in is what counts.
    """
    path = Path(path)
    if _while_grading():
        print("Saving is left out while grading: the checkpoint that was handed in counts.")
        return path
    # Copies: weights that two layers share would otherwise be refused by safetensors.
    state = {_plain_name(name): value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    notes = {
        "kit": __version__,
        "torch": str(torch.__version__),
        "data": data.identity if data else "unknown",
        "history": json.dumps(asdict(history)) if history else "unknown",
    }
    temporary = path.with_name(path.name + ".part")  # an interrupted save must not spoil the checkpoint before it
    if path.suffix == ".safetensors":
        save_file(state, temporary, metadata=notes)
    elif path.suffix == ".pt":
        torch.save(state, temporary)
    else:
        raise KitError(f"a checkpoint is called {' or '.join(CHECKPOINTS)}, got {path.name}")
    os.replace(temporary, path)
    print(f"Saved {path}: {count_parameters(model):,} parameters, {path.stat().st_size / 2**20:.1f} MiB.")
    for problem in _budget_problems(count_numbers(model), None, path.stat().st_size):
        print(f"Over budget: {problem}")
    return path


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The state dict stored in a checkpoint. Raises KitError where the file is missing, broken or no state dict."""
    path = Path(path)
    if not path.is_file():
        raise KitError(f"{path.name} does not exist: run the training cell, which ends with cnn_kit.save_checkpoint.")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            # weights_only: a .pt file is a pickle, which could run any code when it is loaded.
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise KitError(f"{path.name} cannot be read ({_first_line(error)}): save it again.") from error
    except Exception as error:  # pickle.UnpicklingError and whatever else a foreign pickle makes of itself
        raise KitError(
            f"{path.name} holds a pickled object instead of a state dict ({_first_line(error)}). "
            "Save with cnn_kit.save_checkpoint(model), or torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise KitError(f"{path.name} is no state dict: save with cnn_kit.save_checkpoint(model).")
    return {_plain_name(name): value for name, value in state.items()}


def _plain_name(name: str) -> str:
    """Without the prefixes that torch.compile and DataParallel put before the names of weights."""
    return name.replace("_orig_mod.", "").removeprefix("module.")


def _find_checkpoint(folder: Path) -> Path | None:
    return next((folder / name for name in CHECKPOINTS if (folder / name).is_file()), None)


def _budget_problems(numbers: int | None, macs: int | None, checkpoint_bytes: int | None) -> list[str]:
    problems = []
    if numbers is not None and numbers > MAX_NUMBERS:
        problems.append(f"{numbers:,} numbers in parameters and buffers, at most {MAX_NUMBERS:,} are allowed")
    if macs is not None and macs > MAX_MACS:
        problems.append(f"{macs / 1e9:.2f} GMAC per image, at most {MAX_MACS / 1e9:.1f} are allowed")
    if checkpoint_bytes is not None and checkpoint_bytes > MAX_CHECKPOINT_MIB * 2**20:
        problems.append(f"checkpoint of {checkpoint_bytes / 2**20:.0f} MiB, at most {MAX_CHECKPOINT_MIB} are allowed")
    return problems


def accuracy_points(accuracy: float) -> float:
    """The published rule: 20 points from 75 % test accuracy on, none up to 65 %, in proportion between."""
    share = (accuracy - ACCURACY_FROM) / (ACCURACY_FULL - ACCURACY_FROM)
    return round(ACCURACY_POINTS * min(max(share, 0.0), 1.0), 1)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


# ------------------------------------------------------------------------------------------------------------------
# Public checks: a first feedback. The grader's own tests look further.
# ------------------------------------------------------------------------------------------------------------------


class CheckFailed(KitError, AssertionError):
    """At least one public check failed."""


class NotAnswered(CheckFailed):
    """The cell that a check looks at has not been filled in yet."""


@dataclass(frozen=True)
class PublicCheck:
    """A check of one cell: the first line of the function's docstring is its title, its parameters what it needs."""

    title: str
    run: Callable[..., str | None]  # returns a remark or None; raises CheckFailed


@dataclass(frozen=True)
class CheckResult:
    cell: str
    title: str
    status: str  # "ok", "FAIL", "open" (not answered yet) or "-" (not run, because one before it failed)
    message: str = ""


_PUBLIC_CHECKS: dict[str, list[PublicCheck]] = {}
_RESULTS: list[CheckResult] = []  # what this process has checked, for `python cnn_kit.py check`


def _public_check(cell: str) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    def register(function: Callable[..., str | None]) -> Callable[..., str | None]:
        title = (function.__doc__ or function.__name__).strip().splitlines()[0]
        _PUBLIC_CHECKS.setdefault(cell, []).append(PublicCheck(title, function))
        return function

    return register


def check(cell: str, **objects: Any) -> None:
    """Runs the public checks of a cell and prints them.

    Takes what it needs from the notebook, or from keyword arguments: check("deeper-cnn-tests", DeeperCNN=DeeperCNN).
    Raises CheckFailed (an AssertionError) at the end if a check failed.
    """
    if _while_grading() and not _while_checking():
        print("Public checks are left out while grading.")
        return
    if cell not in _PUBLIC_CHECKS:
        raise KitError(f"there is no public check for {cell!r}, only for {', '.join(_PUBLIC_CHECKS)}")
    frame = inspect.currentframe()
    names = dict(frame.f_back.f_globals) if frame is not None and frame.f_back is not None else {}
    results = run_checks(cell, {**names, **objects})
    _RESULTS.extend(results)
    print(cell)
    for result in results:
        print(f"  {result.status:4}  {result.title}" + (f"\n        {result.message}" if result.message else ""))
    failed = [result for result in results if result.status in ("FAIL", "open")]
    if failed:
        kind = NotAnswered if failed[0].status == "open" else CheckFailed
        count = "" if len(failed) == 1 else f" (and {len(failed) - 1} more, see above)"
        # From None: the traceback would show the kit's own code, not the student's.
        raise kind(f"{failed[0].title}: {failed[0].message}{count}") from None


def run_checks(cell: str, names: dict[str, Any]) -> list[CheckResult]:
    """The public checks of a cell on the objects in `names`. One that could not run at all ends the list."""
    results: list[CheckResult] = []
    blocked = False
    for public_check in _PUBLIC_CHECKS[cell]:
        if blocked:
            results.append(CheckResult(cell, public_check.title, "-"))
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations inside torch are not the student's to read
                remark = public_check.run(**_wanted(public_check, names))
            results.append(CheckResult(cell, public_check.title, "ok", remark or ""))
        except NotAnswered as error:
            results.append(CheckResult(cell, public_check.title, "open", str(error)))
            blocked = True
        except NotImplementedError:
            results.append(CheckResult(cell, public_check.title, "open", _NOT_YET))
            blocked = True
        except (CheckFailed, KitError) as error:
            results.append(CheckResult(cell, public_check.title, "FAIL", str(error)))
        except Exception as error:  # whatever the student's code raises: shown with the line that raised it
            results.append(CheckResult(cell, public_check.title, "FAIL", _describe(error)))
            blocked = True
    return results


_NOT_YET = "not answered yet: put your code where it says so, run that cell, then this one again"


def _wanted(public_check: PublicCheck, names: dict[str, Any]) -> dict[str, Any]:
    wanted = {}
    for name in inspect.signature(public_check.run).parameters:
        if names.get(name, ...) is ...:
            raise NotAnswered(f"`{name}` is not defined yet: answer and run the cell that defines it")
        wanted[name] = names[name]
    return wanted


def _describe(error: BaseException) -> str:
    """The error with the innermost line of the student's own code."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if _is_student_file(f.filename)]
    where = f" (line {own[-1].lineno}: {own[-1].line})" if own else ""
    return f"{type(error).__name__}: {_first_line(error)}{where}"


def _is_student_file(filename: str) -> bool:
    """True for code of a notebook: neither this kit nor an installed package."""
    if filename == __file__ or filename.startswith("<frozen"):
        return False
    return not any(
        part in ("site-packages", "dist-packages") for part in Path(filename).parts
    ) and not filename.startswith(os.path.dirname(os.__file__))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise CheckFailed(message)


def _require_number(value: Any, name: str) -> int:
    if isinstance(value, float):
        raise CheckFailed(f"`{name}` is {value}: pixels and weights come in whole numbers, so write an int")
    is_number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    _require(is_number, f"`{name}` should be a number such as 7, got {type(value).__name__}")
    return int(value)


# --- 01_output_size ---------------------------------------------------------------------------------------------


@_public_check("output-size-worked")
def _(answer_output_size: Any) -> None:
    """The output size for 64x64, k=5, s=2, p=2 is a sensible whole number"""
    size = _require_number(answer_output_size, "answer_output_size")
    _require(0 < size < 64, f"a stride of 2 makes the image smaller, but not empty; got {size}")


@_public_check("output-size-worked")
def _(answer_same_padding: Any) -> None:
    """The padding that keeps the size for k=5, d=2, s=1 is a sensible whole number"""
    padding = _require_number(answer_same_padding, "answer_same_padding")
    _require(padding >= 0, f"padding cannot be negative, got {padding}")
    _require(padding != 2, "k // 2 = 2 keeps the size of an undilated convolution; dilation makes the kernel wider")
    _require(padding < 8, f"{padding} on each side is more than the whole kernel needs: padding counts on both sides")


@_public_check("output-size-function")
def _(conv_output_size: Any) -> None:
    """3x3 on 8x8: 8 with padding 1, 6 without, 4 with padding 1 and stride 2"""
    for arguments, expected in (({"padding": 1}, 8), ({}, 6), ({"padding": 1, "stride": 2}, 4)):
        got = conv_output_size(8, 3, **arguments)
        _require(got is not None, "the function returns nothing: is there a `return`?")
        text = ", ".join(f"{name}={value}" for name, value in arguments.items())
        _require(got == expected, f"conv_output_size(8, 3, {text}): expected {expected}, got {got}".replace(", )", ")"))


@_public_check("output-size-function")
def _(conv_output_size: Any) -> None:
    """The result is an int"""
    got = conv_output_size(8, 3, stride=2)
    is_int = isinstance(got, (int, np.integer)) and not isinstance(got, bool)
    _require(is_int, f"expected an int, got {got!r} ({type(got).__name__}): `//` rounds down and keeps integers")


@_public_check("output-size-function")
def _(conv_output_size: Any) -> None:
    """A dilated kernel agrees with torch.nn.Conv2d"""
    layer = nn.Conv2d(1, 1, 5, dilation=3, padding=2)
    expected = layer(torch.zeros(1, 1, 20, 20)).shape[-1]
    got = conv_output_size(20, 5, padding=2, dilation=3)
    _require(
        got == expected, f"conv_output_size(20, 5, padding=2, dilation=3): PyTorch gives {expected}, you give {got}"
    )


@_public_check("output-size-function")
def _(conv_output_size: Any) -> None:
    """ValueError where the kernel does not fit"""
    try:
        got = conv_output_size(3, 5)
    except ValueError:
        return
    raise CheckFailed(f"a 5-pixel kernel does not fit into 3 pixels: raise ValueError instead of returning {got}")


# --- for all networks -------------------------------------------------------------------------------------------


def _build(module: Any, **arguments: Any) -> nn.Module:
    name = getattr(module, "__name__", str(module))
    _require(
        inspect.isclass(module) and issubclass(module, nn.Module), f"{name} must be a class derived from nn.Module"
    )
    torch.manual_seed(0)
    built: nn.Module = module(**arguments)
    return built


def _forward(model: nn.Module, *shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        result = model.eval()(torch.randn(*shape))
    _require(isinstance(result, torch.Tensor), f"forward returns {type(result).__name__} instead of a tensor")
    return result


def _require_shape(result: torch.Tensor, expected: tuple[int, ...], given: tuple[int, ...], names: str) -> None:
    got = tuple(result.shape)
    _require(got == expected, f"input {given}: expected {expected} {names}, got {got}")


def _check_logits(module: Any) -> None:
    """Shapes of the logits for two numbers of classes, N=1 included, and that they are raw."""
    for num_classes, batch in ((10, 2), (7, 1)):
        logits = _forward(_build(module, num_classes=num_classes), batch, 3, 32, 32)
        _require_shape(logits, (batch, num_classes), (batch, 3, 32, 32), "[N, num_classes]")
        ones = torch.ones(batch)
        summed = torch.allclose(logits.sum(1), ones, atol=1e-4) or torch.allclose(logits.exp().sum(1), ones, atol=1e-4)
        _require(not summed, "these are probabilities: return the classifier's output without softmax (raw logits)")


def _check_other_size(module: Any) -> None:
    try:
        logits = _forward(_build(module), 2, 3, 64, 64)
    except RuntimeError as error:
        raise CheckFailed(
            f"a 64x64 image does not pass: {_describe(error)}. Average over whatever height and width remain "
            "(global average pooling) before the classifier."
        ) from error
    _require_shape(logits, (2, 10), (2, 3, 64, 64), "[N, num_classes]")


def _check_gradients(model: nn.Module, *shape: int) -> None:
    """Every weight matrix and kernel has to learn: registered as a parameter, with a gradient that is not all zero."""
    kernels = [name for name, value in model.named_parameters() if value.dim() >= 2]
    _require(bool(kernels), "no weights found: layers kept in a plain list are not registered, use nn.ModuleList")
    model.train().zero_grad()
    torch.manual_seed(0)
    output = model(torch.randn(*shape))
    (output * torch.randn_like(output)).sum().backward()
    parameters = dict(model.named_parameters())
    idle = [name for name in kernels if parameters[name].grad is None or not parameters[name].grad.abs().sum() > 0]
    _require(not idle, f"no gradient reaches {', '.join(idle[:3])}: is it used in forward, and nothing detached?")


def _export(model: nn.Module, *shape: int) -> dict[str, Any]:
    """The graph as the grader will see it. Raises CheckFailed with the line that stands in the way."""
    try:
        return export_graph(model, torch.randn(*shape), training=False, pool=TensorPool(), locate=_locate)
    except ExportProblem as problem:
        where = f"line {problem.line}: " if problem.line else ""
        raise CheckFailed(f"the grader could not read this as a graph. {where}{problem}") from problem


def _locate(filename: str, line: int) -> int:
    """For the exporter: the line within a notebook cell, 0 for code that is not the student's."""
    return line if _is_student_file(filename) else 0


def _operations(graph: dict[str, Any]) -> list[list[Any]]:
    return [node for node in graph["nodes"] if node[0] == "call"]


# --- 02_deeper_cnn ----------------------------------------------------------------------------------------------


@_public_check("deeper-cnn-tests")
def _(DeeperCNN: Any) -> None:
    """Raw logits (N, num_classes), for any number of classes and a single image"""
    _check_logits(DeeperCNN)


@_public_check("deeper-cnn-tests")
def _(DeeperCNN: Any) -> None:
    """64x64 images fit too"""
    _check_other_size(DeeperCNN)


@_public_check("deeper-cnn-tests")
def _(DeeperCNN: Any) -> None:
    """Convolutions with 32, 64, 128 and 256 output channels, and batch norm"""
    model = _build(DeeperCNN)
    channels = {value.shape[0] for value in model.parameters() if value.dim() == 4}
    for wanted in (32, 64, 128, 256):
        doubling = "each of the four blocks doubles the channels"
        _require(wanted in channels, f"no convolution has {wanted} output channels: {doubling}")
    _require(
        any("running_mean" in name for name, _ in model.named_buffers()), "no batch norm found: one in every block"
    )


@_public_check("deeper-cnn-tests")
def _(DeeperCNN: Any) -> None:
    """Every weight receives gradient"""
    _check_gradients(_build(DeeperCNN), 4, 3, 32, 32)


@_public_check("deeper-cnn-tests")
def _(DeeperCNN: Any) -> str:
    """The grader can read the network"""
    model = _build(DeeperCNN)
    _export(model, 4, 3, 32, 32)
    return f"{count_parameters(model):,} parameters"


# --- 03_depthwise_separable -------------------------------------------------------------------------------------


@_public_check("depthwise-separable-tests")
def _(DepthwiseSeparableConv: Any) -> None:
    """Output shapes: as given, with stride 2, with a 5x5 kernel"""
    for (inputs, outputs), arguments, size in (
        ((8, 12), {}, 16),
        ((8, 12), {"stride": 2}, 8),
        ((6, 4), {"kernel_size": 5, "padding": 0}, 12),
    ):
        layer = _build(DepthwiseSeparableConv, in_channels=inputs, out_channels=outputs, **arguments)
        _require_shape(
            _forward(layer, 2, inputs, 16, 16), (2, outputs, size, size), (2, inputs, 16, 16), "[N, C, H, W]"
        )


@_public_check("depthwise-separable-tests")
def _(DepthwiseSeparableConv: Any) -> None:
    """One k x k filter per input channel, then a 1x1 convolution"""
    layer = _build(DepthwiseSeparableConv, in_channels=8, out_channels=12)
    kernels = [tuple(value.shape) for value in layer.parameters() if value.dim() == 4]
    hint = "nn.Conv2d's argument `groups` says into how many separate groups the channels are divided"
    _require(
        (8, 1, 3, 3) in kernels, f"8 channels, k=3: expected depthwise weights (8, 1, 3, 3), got {kernels}; {hint}"
    )
    _require((12, 8, 1, 1) in kernels, f"8 to 12 channels: expected pointwise weights (12, 8, 1, 1), got {kernels}")


@_public_check("depthwise-separable-tests")
def _(DepthwiseSeparableConv: Any) -> None:
    """Every weight receives gradient"""
    _check_gradients(_build(DepthwiseSeparableConv, in_channels=8, out_channels=12), 4, 8, 16, 16)


@_public_check("depthwise-separable-tests")
def _(DepthwiseSeparableConv: Any) -> None:
    """The grader can read the layer"""
    _export(_build(DepthwiseSeparableConv, in_channels=8, out_channels=12), 4, 8, 16, 16)


@_public_check("depthwise-count")
def _(answer_standard_weights: Any) -> None:
    """The weights of the standard convolution are a sensible whole number"""
    count = _require_number(answer_standard_weights, "answer_standard_weights")
    _require(count != 73_856, "that includes the 128 biases: count the convolution's weights only")
    _require(
        count > 64 * 128, f"each of the 128 filters looks at all 64 channels, through 3x3 pixels; got only {count:,}"
    )


@_public_check("depthwise-count")
def _(answer_standard_weights: Any, answer_separable_weights: Any) -> None:
    """The weights of the separable convolution are a sensible whole number, and fewer"""
    count = _require_number(answer_separable_weights, "answer_separable_weights")
    _require(count != 9_152, "that includes batch norm: count the two convolutions' weights only")
    _require(0 < count < answer_standard_weights, f"the separable convolution should need fewer weights; got {count:,}")
    _require(
        count > 64 * 128, f"there are two convolutions, and the 1x1 alone has a weight per pair; got only {count:,}"
    )


# --- 04_modern_cnn ----------------------------------------------------------------------------------------------


@_public_check("modern-cnn-architecture")
def _(ModernCNN: Any) -> None:
    """Raw logits (N, num_classes), for any number of classes and a single image"""
    _check_logits(ModernCNN)


@_public_check("modern-cnn-architecture")
def _(ModernCNN: Any) -> None:
    """64x64 images fit too"""
    _check_other_size(ModernCNN)


@_public_check("modern-cnn-architecture")
def _(ModernCNN: Any) -> None:
    """Every weight receives gradient"""
    _check_gradients(_build(ModernCNN), 4, 3, 32, 32)


@_public_check("modern-cnn-architecture")
def _(ModernCNN: Any) -> None:
    """The grader can read the network, and finds batch norm and two residual additions"""
    operations = _operations(_export(_build(ModernCNN), 4, 3, 32, 32))
    norms = [node for node in operations if "batch_norm" in node[1]]
    _require(bool(norms), "no batch norm found: put one after each convolution")
    additions = [n for n in operations if n[1].startswith("aten.add") and all(isinstance(a, dict) for a in n[2][:2])]
    _require(
        len(additions) >= 2,
        f"{len(additions)} additions of two feature maps found, at least two residual blocks are asked: "
        "add a block's input to what its convolutions make of it",
    )


@_public_check("modern-cnn-architecture")
def _(ModernCNN: Any) -> str:
    """Within the budgets"""
    model = _build(ModernCNN)
    parameters, macs = count_parameters(model), count_macs(model)
    problems = _budget_problems(count_numbers(model), macs, None)
    _require(not problems, "; ".join(problems))
    return f"{parameters:,} parameters, {macs / 1e9:.3f} GMAC per image"


def _drawn(transform: Any, image: Image.Image, times: int) -> torch.Tensor:
    """The transform's results on one PIL image, stacked: (times, 3, 32, 32)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    return torch.stack([_apply_to_image(transform, pixels) for _ in range(times)])


def _probe_image() -> Image.Image:
    """An asymmetric picture, bright and dark: a flip or a shift shows."""
    rows, columns = np.mgrid[0:32, 0:32]
    pixels = np.stack([columns * 8, rows * 8, (rows * columns) % 256], axis=2).astype(np.uint8)
    return Image.fromarray(pixels)


@_public_check("modern-cnn-augmentation")
def _(train_transform: Any) -> None:
    """train_transform gives float (3, 32, 32) and varies"""
    torch.manual_seed(0)
    drawn = _drawn(train_transform, _probe_image(), 32)
    _require(drawn.is_floating_point(), f"expected float32, got {drawn.dtype}: convert and scale to floats")
    _require_shape(drawn[0], (3, 32, 32), (32, 32), "[C, H, W]")
    varies = any(not torch.equal(drawn[0], other) for other in drawn[1:])
    _require(varies, "32 draws look all the same: augment with random steps, such as a flip or a crop with padding")


@_public_check("modern-cnn-augmentation")
def _(test_transform: Any) -> None:
    """test_transform gives float (3, 32, 32) and does not vary"""
    drawn = _drawn(test_transform, _probe_image(), 8)
    _require(drawn.is_floating_point(), f"expected float32, got {drawn.dtype}: convert and scale to floats")
    _require_shape(drawn[0], (3, 32, 32), (32, 32), "[C, H, W]")
    varies = any(not torch.equal(drawn[0], other) for other in drawn[1:])
    _require(not varies, "test images must look the same every time: leave the random steps to train_transform")


@_public_check("modern-cnn-augmentation")
def _(train_transform: Any, test_transform: Any) -> None:
    """Both normalise alike"""
    torch.manual_seed(0)
    training, testing = _drawn(train_transform, _probe_image(), 32), _drawn(test_transform, _probe_image(), 1)
    span = (testing.max() - testing.min()).item()
    # A quarter of the range: colour jitter and padding move it by less, a forgotten Normalize moves it by half.
    apart = max(abs(training.max() - testing.max()).item(), abs(training.min() - testing.min()).item())
    _require(
        apart <= 0.25 * span,
        f"values run from {training.min():.2f} to {training.max():.2f} in training and from {testing.min():.2f} to "
        f"{testing.max():.2f} in testing: the network would be tested on images unlike those it learned from",
    )


@_public_check("modern-cnn-accuracy")
def _(ModernCNN: Any) -> str:
    """The checkpoint is there, within its budget, and fits ModernCNN"""
    path = _find_checkpoint(Path.cwd())
    if path is None:
        raise NotAnswered(f"no {' or '.join(CHECKPOINTS)} in this folder yet: run the training cell")
    _require_fit(_build(ModernCNN), path)
    return f"{path.name}, {path.stat().st_size / 2**20:.1f} MiB"


@_public_check("modern-cnn-accuracy")
def _(ModernCNN: Any, test_transform: Any) -> str:
    """Validation accuracy of the checkpoint reaches 75 %, where all 20 points are due"""
    path = _find_checkpoint(Path.cwd())
    if path is None:
        raise NotAnswered("nothing to measure yet")
    model = _require_fit(_build(ModernCNN), path)
    data = load_cifar10()
    _, accuracy = evaluate(model, data.validation, test_transform)
    rule = f"20 x clip((accuracy - {ACCURACY_FROM}) / {ACCURACY_FULL - ACCURACY_FROM:.2f}, 0, 1)"
    points = accuracy_points(accuracy)
    message = f"{accuracy:.1%} of {len(data.validation):,} validation images: about {points} points = {rule}"
    if not data.name.startswith("CIFAR-10"):
        message += f"; measured on the {data.name}, so it says nothing about CIFAR-10"
    _require(accuracy >= ACCURACY_FULL, f"{message}; train longer, or look at where training and validation part")
    return message


def _require_fit(model: nn.Module, path: Path) -> nn.Module:
    """The model with the checkpoint's weights; CheckFailed where they do not fit or the file is too large."""
    problems = _budget_problems(count_numbers(model), None, path.stat().st_size)
    _require(not problems, "; ".join(problems))
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in load_checkpoint(path).items()
    }
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise CheckFailed(
            f"{path.name} does not fit ModernCNN, so it is from another version of the class: train again. "
            f"{' '.join(lines)}"
        ) from error
    return model


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
        "--without-checkpoint", action="store_true", help="hand in without trained weights (no points for accuracy)"
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
            results.append((name, CheckResult("", "the notebook runs", "FAIL", report["error"])))
        else:
            seen = {result["cell"] for result in report["results"]}
            results += [
                (
                    name,
                    CheckResult(
                        cell, "the cell is there and checks", "FAIL", f"`cnn_kit.check({cell!r}, ...)` did not run"
                    ),
                )
                for cell in cells
                if cell not in seen
            ]
    print()
    heading = ""
    for name, result in results:
        if name != heading:
            print(name)
            heading = name
        print(f"  {result.status:4}  {result.cell:26}{result.title}")
        if result.message:
            print(f"        {result.message}")
    for note in notes:
        print(f"note: {note}")
    counts = {status: sum(result.status == status for _, result in results) for status in ("ok", "FAIL", "open")}
    print(f"\n{counts['ok']} ok, {counts['FAIL']} failed, {counts['open']} not answered yet.")
    print("These are first checks: the hidden tests look further, and at the real test images.")
    return 1 if counts["FAIL"] or counts["open"] else 0


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

    A cell that raises does not end the run. The training cell is left out, and so are `%` and `!` lines, which only
    Jupyter understands.
    """
    report: dict[str, Any] = {"results": [], "notes": [], "error": "", "measured": {}}
    path = Path(name)
    module = types.ModuleType("__main__")  # a real module: dataclasses and pickle look a class's module up
    module.__dict__["display"] = print  # where Jupyter has its own
    sys.modules["__main__"] = module
    errors: list[str] = []
    try:
        cells = _code_cells(path)
    except KitError as error:
        report["error"], cells = str(error), []
    for number, grade_id, source in cells:
        if grade_id == TRAINING_CELL or (task == "measure" and grade_id in NOTEBOOKS.get(path.name, ())):
            continue
        code, stripped = _without_magics(source)
        if stripped:
            report["notes"].append(f"cell {number}: left out {', '.join(stripped)}")
        filename = f"{path.stem} cell {number}"
        # Tracebacks and the graph export look source lines up here; a size without a time is never thought stale.
        linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        try:
            exec(compile(code, filename, "exec"), module.__dict__)
        except CheckFailed:
            continue  # already in the results
        except (NotImplementedError, NameError) as error:
            if grade_id in NOTEBOOKS.get(path.name, ()) and isinstance(error, NameError):
                message = f"{_NOT_YET} ({_first_line(error)})"
                _RESULTS.append(CheckResult(grade_id, "The answer is there", "open", message))
            elif isinstance(error, NameError):
                errors.append(f"cell {number}: {_describe(error)}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a cell must not end the others
            errors.append(f"cell {number}: {_describe(error)}")
    report["error"] = report["error"] or "; ".join(errors[:3])
    report["results"] = [asdict(result) for result in _RESULTS]
    report["measured"] = _measure(module.__dict__.get("ModernCNN")) if task == "measure" else {}
    Path(report_path).write_text(json.dumps(report), encoding="utf-8")


def _measure(module: Any) -> dict[str, Any]:
    """Parameters and MACs of ModernCNN, and whether the checkpoint fits it, for `pack`. Empty without a ModernCNN."""
    if module is None:
        return {}
    try:
        model = _build(module)
        measured: dict[str, Any] = {"parameters": count_parameters(model), "macs": count_macs(model), "misfit": ""}
    except Exception as error:  # the student's own code
        return {"misfit": f"ModernCNN() does not run: {_describe(error)}"}
    checkpoint = _find_checkpoint(Path.cwd())
    if checkpoint is not None:
        try:
            _require_fit(model, checkpoint)
        except KitError as error:
            measured["misfit"] = str(error)
    return measured


def _code_cells(path: Path) -> list[tuple[int, str, str]]:
    """(number from 1, grade_id or "", source) of a notebook's code cells. Raises KitError where it is no notebook."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        return [
            (number, cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""), "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KitError(
            f"{path.name} is not a notebook that can be read ({_first_line(error)}): save it again"
        ) from error


def _without_magics(source: str) -> tuple[str, list[str]]:
    """The source with `%` and `!` lines blanked out, and those lines. Line numbers stay."""
    with contextlib.suppress(SyntaxError):
        compile(source, "cell", "exec")
        return source, []
    lines = source.splitlines()
    stripped = [line.strip() for line in lines if line.lstrip()[:1] in ("%", "!")]
    kept = [
        line[: len(line) - len(line.lstrip())] + "pass" if line.lstrip()[:1] in ("%", "!") else line for line in lines
    ]
    return "\n".join(kept) + "\n", stripped


def _pack_command(folder: Path, needs_checkpoint: bool) -> int:
    notebooks = [name for name in NOTEBOOKS if (folder / name).is_file()]
    if not notebooks:
        raise KitError(f"none of {', '.join(NOTEBOOKS)} is in {folder.resolve()}: run this where your notebooks are")
    for name in notebooks:
        _code_cells(folder / name)
    for name in NOTEBOOKS.keys() - set(notebooks):
        print(f"Warning: {name} is missing, and scores 0 if you hand in without it.")
    checkpoint = _find_checkpoint(folder)
    if checkpoint is None and needs_checkpoint:
        raise KitError(
            f"no {' or '.join(CHECKPOINTS)} in {folder.resolve()}: run the training cell of 04_modern_cnn.ipynb first "
            "(or hand in without accuracy points: pack --without-checkpoint)"
        )
    files = [folder / name for name in notebooks]
    if checkpoint is not None:
        _check_budgets(folder, checkpoint)
        files.append(checkpoint)
    target = folder / SUBMISSION
    contents = {file.name: file.read_bytes() for file in files}
    _write_zip(target, {**contents, RECEIPT: _receipt(contents)})
    print(f"\nReceipt of {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")
    for name, content in contents.items():
        print(f"  {len(content):>12,} bytes  {name}")
    print(f"{target.name}, {target.stat().st_size:,} bytes")
    print(f"SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")
    print("Hand in this file as it is, and keep the receipt: it proves which file you packed.")
    return 0


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
    problems = _budget_problems(measured["parameters"], measured["macs"], None)
    if problems:
        raise KitError(f"over budget: {'; '.join(problems)}")
    size = f"{measured['parameters']:,} parameters, {measured['macs'] / 1e9:.3f} GMAC per image"
    print(f"ModernCNN: {size}. {_history(checkpoint)}")


def _history(checkpoint: Path) -> str:
    if checkpoint.suffix != ".safetensors":
        return ""
    with safe_open(checkpoint, "pt") as file:
        notes = file.metadata() or {}
    return f"Trained on {notes.get('data', 'unknown data')}."


def _receipt(contents: dict[str, bytes]) -> bytes:
    """What lies in the zip, as JSON. It holds no time: the same files give the same receipt."""
    files = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    ]
    receipt = {"format": 1, "kit": __version__, "files": files}
    return (json.dumps(receipt, indent=1, ensure_ascii=False) + "\n").encode()


def _write_zip(target: Path, contents: dict[str, bytes]) -> None:
    """A flat zip. The same files give the same bytes, so that a receipt can be compared."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, date_time=(2000, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on Windows too: the bytes must not depend on where they are packed
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


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
_DTYPES = frozenset(
    f"torch.{name}"
    for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
)
_TORCH_FOLDER = os.path.dirname(torch.__file__)


class ExportProblem(Exception):
    """A module that did not become a graph. `str(problem)` is written for the student.

    `kind` is "error" where the module's own code is wrong (its `forward` raises, or does not return one tensor) and
    "unsupported" where the code may be right but the graph cannot hold it. `line` is encoded as in the graph, 0 where
    unknown; `raised` is what `forward` raised, if it did.
    """

    def __init__(self, kind: str, message: str, line: int = 0, raised: type[BaseException] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.line = line
        self.raised = raised


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
        reason = _reason(error)
        raise ExportProblem(
            "unsupported",
            f"forward runs, but torch.export cannot turn it into a graph: {reason} "
            "Hint: decisions on tensor values (if x.max() > 1, .item(), .numpy(), .data) cannot be part of a graph.",
            line,
        ) from error


def _reason(error: Exception) -> str:
    """The first line of what torch says, or plain words for what it says in riddles."""
    if "We found a fake tensor in the exported program constant's list" in str(error):
        return "it uses a tensor's .data, which leaves the graph (.detach() stays in it)."
    if "Could not guard on data-dependent expression" in str(error):
        return "what it does next depends on the values of a tensor."
    return next((text for text in str(error).splitlines() if text.strip()), type(error).__name__)[:300]


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
        return ExportProblem("error", message, _line_of_exception(error, locate), type(error))
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
            raise ExportProblem(kind, "forward must return one tensor (the logits), not several values or none")
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
            self.problems[index] = ExportProblem(
                "unsupported", f"the model uses the operation {name[:80]}, which a model graph cannot hold", line
            )
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
