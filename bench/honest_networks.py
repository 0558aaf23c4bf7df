"""Honest networks of many kinds, for measuring how often they are flagged: `python -m bench.honest_networks`.

Each recipe is a network (the reference's, the kit's, designs and known architectures of the tests) and a way of
training that a student may choose or stumble into: with and without mirroring and cropping, on all or few images,
over-fitted, stopped early, with dropout, with a learning rate that is far too large, always mirrored. No test image is
used. Weights go to a folder outside the repository; what is there is not trained again. One idle core takes about
three quarters of an hour for all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from autograder.judging import datasets
from tools.calibrate_offline_images import simple_cnn
from tools.known_cases import designs
from tools.samples import ROOT, checkpoint_files
from tools.train_checkpoints import COURSE, RECIPES, solution_names

FOLDER = Path(tempfile.gettempdir()) / "honest-networks"
BATCH_SIZE = 128
NOTEBOOK = "04_modern_cnn"


@dataclass(frozen=True)
class Recipe:
    """A network and its training, on the training images but for the tenth that the kit holds out for validation.

    `all_images`: on that tenth, too. `images` is the number of images, the first ones, 0 for all of them.

    `network` is "narrow", "pre-activation", "reference", "simple", "plain", or the name of a design. `mirror` is the
    probability of mirroring, `crop` how far an image is moved at most, `erase` the side of a grey square, `noise` the
    deviation of noise in parts of the range. A `learning_rate` of 0 asks for Adam at 1e-3.
    """

    network: str = "narrow"
    epochs: float = 5
    images: int = 0
    all_images: bool = False
    mirror: float = 0.5
    crop: int = 4
    erase: int = 0
    noise: float = 0.0
    learning_rate: float = 0.25
    dropout: float = 0.0
    smoothing: float = 0.1
    seed: int = 0


NOTHING: dict[str, Any] = {"mirror": 0.0, "crop": 0}
CIFAR10 = {
    "usual": Recipe(epochs=4, all_images=True),
    "usual-20000": Recipe(images=20_000, seed=1),
    "no-augmentation": Recipe(epochs=3, all_images=True, **NOTHING),
    "mirror-only": Recipe(epochs=2, all_images=True, crop=0),
    "crop-only": Recipe(epochs=2, mirror=0.0),
    "over-fitted-10000": Recipe(epochs=15, images=10_000, **NOTHING),
    "over-fitted-5000-mirrored": Recipe(epochs=24, images=5_000, crop=0),
    "always-mirrored-10000": Recipe(epochs=12, images=10_000, mirror=1.0, crop=0),
    "one-epoch": Recipe(epochs=1),
    "two-epochs": Recipe(epochs=2),
    "large-learning-rate": Recipe(epochs=3, learning_rate=2.0),
    "adam": Recipe(epochs=3, learning_rate=0.0, smoothing=0.0),
    "dropout": Recipe("reference", 2, dropout=0.5),
    "erasing": Recipe(epochs=4, erase=12),
    "noise": Recipe(epochs=3, noise=0.1, **NOTHING),
    "long-without-smoothing": Recipe(epochs=8, smoothing=0.0, **NOTHING),
    "wide": Recipe("pre-activation", 4),
    "reference-30000": Recipe("reference", 3, 30_000),
    "reference-over-fitted-8000": Recipe("reference", 8, 8_000, mirror=0.0, crop=0, smoothing=0.0),
    "simple": Recipe("simple", 3, 15_000),
    "plain-over-fitted-5000": Recipe("plain", 10, 5_000, mirror=0.0, crop=0),
    "inherited_blocks": Recipe("inherited_blocks", 3, 30_000),
    "normalises_inside": Recipe("normalises_inside_hidden_layer_no_stem_norm", 3, 20_000, mirror=0.0),
    "slicing": Recipe("shortcut_by_slicing_and_zero_padding", 3, 20_000),
    "grouped": Recipe("grouped_and_functional", 3, 15_000),
    "bottleneck": Recipe("bottleneck_with_squeeze_and_excitation_in_place", 3, 15_000, crop=0),
    "own_block": Recipe("own_block", 2, 15_000),
    "zero-initialised": Recipe("identity_zero_initialised_last_batch_norm", 3, 10_000, mirror=0.0, crop=0),
    "self-attention": Recipe("architecture_self_attention", 3, 15_000),
    "repvgg": Recipe("architecture_repvgg", 3, 6_000),
    "xception": Recipe("architecture_xception", 3, 6_000),
    "senet": Recipe("architecture_senet", 3, 5_000),
}
OFFLINE = {
    "usual": Recipe(),
    "usual-seed-1": Recipe(all_images=True, seed=1),
    "no-augmentation": Recipe(**NOTHING),
    "mirror-only": Recipe(crop=0),
    "crop-only": Recipe(mirror=0.0),
    "always-mirrored": Recipe(mirror=1.0, crop=0),
    "over-fitted-2000": Recipe(epochs=30, images=2_000, **NOTHING),
    "two-epochs": Recipe(epochs=2),
    "dropout": Recipe("reference", 3, dropout=0.5),
    "noise": Recipe(noise=0.1, **NOTHING),
    "large-learning-rate": Recipe(learning_rate=2.0),
    "reference-no-augmentation": Recipe("reference", 4, **NOTHING),
    "simple": Recipe("simple", 3),
    "plain": Recipe("plain", 3),
    "inherited_blocks": Recipe("inherited_blocks", 5),
    "self-attention": Recipe("architecture_self_attention", 5, **NOTHING),
}
KINDS = {"cifar10": CIFAR10, "offline": OFFLINE}
HANDED_IN = {  # weights in the repository: by kit and notebook
    "handed-in-reference": ("reference", "reference"),
    "handed-in-partial": ("reference", "partial"),
    "handed-in-different-style": ("pre-activation", "own"),
}


def plain() -> nn.Module:
    """A stack without shortcuts, by pooling."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 96), (96, 96)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if outputs < 96 or inputs == 64 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


def build(network: str) -> nn.Module:
    """A network with fresh weights, by its name in a recipe."""
    known: dict[str, Callable[[], nn.Module]] = {"simple": simple_cnn, "plain": plain}
    if network in known:
        return known[network]()
    sys.path[:0] = [] if str(COURSE) in sys.path else [str(COURSE)]
    other_style = network in ("narrow", "pre-activation")
    names = solution_names(RECIPES["different-style" if other_style else "reference", "cifar10"])
    if network == "narrow":
        narrow: nn.Module = names["ModernCNN"](widths=(16, 32, 64, 64))
        return narrow
    names["__name__"] = "__main__"
    case = next((c for c in designs() if (c.notebook, c.name) == (NOTEBOOK, network)), None)
    for cell in case.cells.values() if case else ():
        exec(compile(cell, network, "exec"), names)  # the project's own code, not a student's
    model: nn.Module = names["ModernCNN"]()
    return model


@cache
def tensors(kind: str, split: datasets.Split) -> tuple[Tensor, Tensor]:
    """All images (N, 3, 32, 32) uint8 of a split, and their labels, in the kit's order: folder by folder."""
    place = source(kind)
    loaded = datasets.load(place, split)
    order = np.argsort(loaded.labels, kind="stable") if place.form in ("tree", "zip") else np.arange(len(loaded.labels))
    return torch.from_numpy(loaded.images[order]), torch.from_numpy(loaded.labels[order])


def source(kind: str) -> datasets.Source:
    return datasets.Source("offline") if kind == "offline" else datasets.find_source(allow_offline=False)


def normalise(images: Tensor) -> Tensor:
    """As the kit does: mean 0.5, deviation 0.5."""
    return images.float() / 127.5 - 1


class OtherNormalisation(nn.Module):
    """The network of the sample in another style takes images with CIFAR-10's own mean and deviation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
        self.deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(((images + 1) / 2 - self.mean) / self.deviation)
        return logits


def augment(images: Tensor, recipe: Recipe, draws: torch.Generator) -> Tensor:
    """A normalised batch, each image changed by itself as the recipe says."""
    count = len(images)
    if recipe.mirror:
        turned = torch.rand(count, generator=draws) < recipe.mirror
        images = torch.where(turned[:, None, None, None], images.flip(3), images)
    if recipe.crop:
        padded, reach = F.pad(images, [recipe.crop] * 4), 2 * recipe.crop + 1
        rows, columns = (torch.randint(0, reach, (count, 1), generator=draws) + torch.arange(32) for _ in range(2))
        images = padded[torch.arange(count)[:, None, None, None], torch.arange(3)[:, None, None],
                        rows[:, None, :, None], columns[:, None, None, :]]  # fmt: skip
    if recipe.erase:
        row, column = (int(torch.randint(0, 33 - recipe.erase, (), generator=draws)) for _ in range(2))
        images = images.clone()
        images[:, :, row : row + recipe.erase, column : column + recipe.erase] = 0
    if recipe.noise:
        images = images + 2 * recipe.noise * torch.randn(images.shape, generator=draws)
    return images


def steps_of(count: int, epochs: float, draws: torch.Generator) -> Iterator[Tensor]:
    """The images of each step, one epoch after another."""
    left = round(epochs * count)
    while left > 0:
        order = torch.randperm(count, generator=draws)[:left]
        yield from (part for part in torch.split(order, BATCH_SIZE) if len(part) > 1)
        left -= len(order)


def seen_places(count: int, recipe: Recipe) -> Tensor:
    """Which of all training images a recipe trains on: the kit's draw says which are held out."""
    held_out = 0 if recipe.all_images else count // 10
    return torch.from_numpy(np.random.RandomState(0).permutation(count)[held_out:])[: recipe.images or None]


def train(model: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
    """SGD with a one-cycle schedule as the kit's, or Adam."""
    draws = torch.Generator().manual_seed(recipe.seed)
    chosen = seen_places(len(labels), recipe)
    images, labels = images[chosen], labels[chosen]
    steps = list(steps_of(len(images), recipe.epochs, draws))
    optimiser: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    if recipe.learning_rate:
        optimiser = torch.optim.SGD(
            model.parameters(), recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
    most = [group["lr"] for group in optimiser.param_groups]
    schedule = OneCycleLR(optimiser, most, total_steps=len(steps) + 1)
    model.train().to(memory_format=torch.channels_last)
    for chosen in steps:
        batch = augment(normalise(images[chosen]), recipe, draws).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(batch), labels[chosen], label_smoothing=recipe.smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    model.eval()


def with_dropout(model: nn.Module, part: float) -> nn.Module:
    """The network with dropout before its last linear layer; for a recipe with dropout."""
    for name, module in reversed(list(model.named_modules())):
        if part and isinstance(module, nn.Linear):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.Sequential(nn.Dropout(part), module))
            break
    return model


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """In 0..1."""
    found = torch.cat([model(normalise(part)).argmax(1) for part in torch.split(images, 500)])
    return float((found == labels).float().mean())


def names(kind: str) -> list[str]:
    """All honest networks of a data set: those that are trained here, and those in the repository."""
    return [*KINDS[kind], *HANDED_IN]


def load_network(kind: str, name: str, folder: Path = FOLDER) -> nn.Module:
    """A trained network in eval mode. Raises FileNotFoundError where it has not been trained."""
    if name in HANDED_IN:
        network, weights = HANDED_IN[name]
        place = ROOT / "tests" / "submissions" / "different_style"
        (path,) = checkpoint_files(place, weights, kind)
        model = build(network)
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    else:
        recipe = KINDS[kind][name]
        model = with_dropout(build(recipe.network), recipe.dropout)
        state = load_file(folder / kind / f"{name}.safetensors")
    model.load_state_dict(state)
    return (OtherNormalisation(model) if name == "handed-in-different-style" else model).eval()


def train_all(kinds: list[str], words: list[str], folder: Path) -> None:
    """Train what is not there yet."""
    for kind in kinds:
        for name, recipe in KINDS[kind].items():
            path = folder / kind / f"{name}.safetensors"
            if path.exists() or (words and not any(word in name for word in words)):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            torch.manual_seed(recipe.seed)
            model = with_dropout(build(recipe.network), recipe.dropout)
            train(model, recipe, *tensors(kind, "train"))
            found = accuracy(model, *tensors(kind, "test"))
            save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
            print(f"{kind:8} {name:32} {found:.2%} in {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only recipes with one of these in their names")
    parser.add_argument("--data", choices=KINDS, action="append", help="only this data set")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where weights are kept ({FOLDER})")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train_all(options.data or list(KINDS), options.words, options.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
