"""How alike the weights of separate trainings are, and those of copies: `python -m bench.weight_similarity`.

Small residual networks are trained with the student kit on a part of the built-in offline set, on one thread: with
other seeds, and with the kit's default seed but other settings, as honest students do. Copies are made of one of them:
trained further, with noise, with channels exchanged or scaled. Takes about five minutes of one idle core.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torchvision.transforms import v2

from autograder.review.integrity.weights import (
    ALIKE,
    ALIKE_CHANGE,
    ALIKE_FILTERS,
    Weights,
    alike_checkpoints,
    filter_similarities,
    reduce_weights,
    weight_similarities,
)

KIT = Path(__file__).resolve().parent.parent / "source" / "cnn" / "cnn_kit.py"
SEEDS, EPOCHS, TRAIN_IMAGES = 12, 6, 4_000
State = Mapping[str, Any]
TO_FLOAT = (v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3))
TRAIN = v2.Compose([v2.ToImage(), v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *TO_FLOAT])
FLIP = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(), *TO_FLOAT])
TEST = v2.Compose([v2.ToImage(), *TO_FLOAT])


class Block(nn.Module):
    """Two convolutions and a shortcut, as in the notebook."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        shortcut = [nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*([] if same else shortcut))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class SmallNet(nn.Module):
    """The reference's shape at half of its width (147,194 parameters where `stem` is 16)."""

    def __init__(self, stem: int = 16) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(stem), nn.ReLU())
        self.stages = nn.Sequential(Block(stem, 32, 2), Block(32, 64, 2), Block(64, 64, 1))
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.stages(self.stem(x)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Trained:
    """One training: the state before and after."""

    name: str
    initial: State
    state: State
    accuracy: float

    def reduced(self, initial: State | None = None) -> Weights:
        return reduce_weights(self.name, "net", self.name, self.state, initial or self.initial)


@dataclass(frozen=True)
class Recipe:
    """How something is trained; the defaults are what a student gets who changes nothing."""

    seed: int = 0
    epochs: int = EPOCHS
    transform: Any = TRAIN
    order: int | None = None  # the seed of the data's order where it is another one
    rounding: float = 0.0  # relative noise on the initial values, as of a computer that rounds otherwise
    stem: int = 16
    adam: bool = False
    more: tuple[tuple[str, float], ...] = ()


# The kit's default seed, and what honest students change besides.
SAME_SEED: Mapping[str, Recipe] = {
    "as it is": Recipe(),
    "other rounding": Recipe(rounding=1e-7),
    "4 epochs": Recipe(epochs=4),
    "10 epochs": Recipe(epochs=10),
    "learning rate 0.1": Recipe(more=(("max_lr", 0.1),)),
    "batches of 64": Recipe(more=(("batch_size", 64),)),
    "no crop": Recipe(transform=FLIP),
    "Adam": Recipe(adam=True),
    "other order of images": Recipe(order=5),
    "weight decay 1e-3": Recipe(more=(("weight_decay", 1e-3),)),
    "no label smoothing": Recipe(more=(("label_smoothing", 0.0),)),
}
SHORT = (1, 2, 3, 6)  # epochs after which two trainings that differ by rounding only are compared
FURTHER: Mapping[str, Recipe] = {
    "1 epoch at 0.02": Recipe(seed=100, epochs=1, more=(("max_lr", 0.02),)),
    "3 epochs at 0.1": Recipe(seed=101, epochs=3, more=(("max_lr", 0.1),)),
    "3 epochs at 0.25": Recipe(seed=102, epochs=3),
    "6 epochs at 0.25": Recipe(seed=103, epochs=6),
    "3 epochs of Adam": Recipe(seed=104, epochs=3, adam=True),
}


def load_kit() -> Any:
    """The student kit as a module."""
    spec = importlib.util.spec_from_file_location("cnn_kit", KIT)
    assert spec is not None
    assert spec.loader is not None
    kit = importlib.util.module_from_spec(spec)
    sys.modules["cnn_kit"] = kit
    spec.loader.exec_module(kit)
    return kit


def train(kit: Any, data: Any, name: str, recipe: Recipe, start: State | None = None) -> Trained:
    """Train a network by a recipe, from `start` where it is given."""
    torch.manual_seed(recipe.seed)
    model = SmallNet(recipe.stem)
    if start is not None:
        model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in start.items()})
    if recipe.rounding:
        noise = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 + recipe.rounding * torch.randn(weight.shape, generator=noise))
    initial = _state(model)
    options: dict[str, Any] = dict(recipe.more)
    if recipe.adam:
        options["optimizer"] = torch.optim.Adam(model.parameters(), 1e-3)
    seed = recipe.seed if recipe.order is None else recipe.order
    with contextlib.redirect_stdout(io.StringIO()):
        history = kit.train(model, data, recipe.transform, TEST, epochs=recipe.epochs, seed=seed, keep=False, **options)
    return Trained(name, initial, _state(model), history.validation_accuracy[-1])


def _state(model: nn.Module) -> State:
    return {key: value.detach().clone().numpy() for key, value in model.state_dict().items()}


# Copies that are made without training


def with_noise(state: State, part: float) -> State:
    """Noise of `part` of each tensor's own spread."""
    draws = np.random.RandomState(3)
    return {k: v + part * v.std() * draws.standard_normal(v.shape).astype(v.dtype) if v.ndim > 1 else v
            for k, v in state.items()}  # fmt: skip


def without_small(state: State, part: float) -> State:
    """The smallest `part` of each tensor's weights set to 0."""
    return {k: np.where(np.abs(v) < np.quantile(np.abs(v), part), 0, v) if v.ndim > 1 else v for k, v in state.items()}


def half_precision(state: State) -> State:
    return {k: v.astype(np.float16).astype(np.float32) if v.ndim > 1 else v for k, v in state.items()}


def exchanged(state: State) -> State:
    """Every tensor's channels in another order. (Consistently, as a copyist would, or not: it looks the same here.)"""
    draws = np.random.RandomState(4)
    return {k: v[draws.permutation(len(v))] if v.ndim > 1 else v for k, v in state.items()}


def scaled(state: State) -> State:
    """Every output channel of a convolution times a factor of its own, which batch norm takes out again."""
    draws = np.random.RandomState(5)
    return {k: v * np.exp(draws.normal(0, 0.7, (len(v), 1, 1, 1))).astype(v.dtype) if v.ndim == 4 else v
            for k, v in state.items()}  # fmt: skip


def renamed(state: State) -> State:
    return {f"z{100 - place}": value for place, value in enumerate(state.values())}


COPIES: Mapping[str, Callable[[State], State]] = {
    "renamed": renamed,
    "half precision": half_precision,
    "noise of 10 %": lambda state: with_noise(state, 0.1),
    "noise of 30 %": lambda state: with_noise(state, 0.3),
    "noise of 60 %": lambda state: with_noise(state, 0.6),
    "30 % set to 0": lambda state: without_small(state, 0.3),
    "channels exchanged": exchanged,
    "channels scaled": scaled,
    "exchanged, noise of 10 %": lambda state: with_noise(exchanged(state), 0.1),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train everything, and print how alike the pairs are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args(arguments).seeds
    torch.set_num_threads(1)
    began = time.monotonic()
    kit = load_kit()
    with contextlib.redirect_stdout(io.StringIO()):
        data = kit.offline_dataset()
    data = dataclasses.replace(data, train=kit._first(data.train, TRAIN_IMAGES))
    console = Console(highlight=False, width=120)

    separate = [train(kit, data, f"seed {seed}", Recipe(seed)) for seed in range(1, seeds + 1)]
    wide = [train(kit, data, f"wide, seed {seed}", Recipe(seed, stem=64)) for seed in (1, 2, 3)]
    same = [train(kit, data, name, recipe) for name, recipe in SAME_SEED.items()]
    again = train(kit, data, "as it is, again", Recipe())
    accuracies = [t.accuracy for t in (*separate, *same)]
    console.print(f"Accuracy of the honest ones: {min(accuracies):.1%} to {max(accuracies):.1%}.")
    console.print(_spread("separate seeds", separate), _spread("separate seeds, 64 first filters", wide))
    console.print(_spread("the kit's seed", same), _pairs("the kit's seed, pair by pair", same))
    equal = all(np.array_equal(again.state[key], value) for key, value in same[0].state.items())
    console.print(f"The same training once more gives {'the same bits' if equal else 'other bits'}.\n")

    console.print(_short(kit, data))

    original = separate[0]
    copies = [train(kit, data, name, recipe, original.state) for name, recipe in FURTHER.items()]
    copies += [Trained(name, {}, change(original.state), 0.0) for name, change in COPIES.items()]
    console.print(_copies(original, copies))
    console.print(f"Thresholds: {ALIKE} of the weights, {ALIKE_CHANGE} of the change, {ALIKE_FILTERS} of the filters.")
    console.print(f"{time.monotonic() - began:.0f} s on one thread, torch {torch.__version__}")
    return 0


def _measures(weights: Sequence[Weights]) -> list[Any]:
    return [
        weight_similarities(weights),
        weight_similarities(weights, changes=True),
        filter_similarities(weights),
    ]


def _spread(title: str, trained: Sequence[Trained]) -> Table:
    """Mean, spread and extremes over all pairs."""
    found = _measures([t.reduced() for t in trained])
    upper = np.triu_indices(len(trained), 1)
    table = Table("measure", "mean", "spread", "least", "most", title=f"{title}: {len(upper[0])} pairs")
    for name, matrix in zip(("weights", "change", "filters"), found, strict=True):
        values = matrix[upper]
        table.add_row(name, *(f"{v:.3f}" for v in (values.mean(), values.std(), values.min(), values.max())))
    return table


def _pairs(title: str, trained: Sequence[Trained]) -> Table:
    """The ten most alike pairs."""
    weights = [t.reduced() for t in trained]
    found = _measures(weights)
    table = Table("one", "other", "weights", "change", "filters", title=title)
    for i, j in sorted(combinations(range(len(trained)), 2), key=lambda pair: -found[0][pair])[:10]:
        table.add_row(trained[i].name, trained[j].name, *(f"{matrix[i, j]:.3f}" for matrix in found))
    shares = [weight.initial or 0.0 for weight in weights]
    table.caption = f"initial values make up {min(shares):.0%} to {max(shares):.0%} of the weights"
    return table


def _short(kit: Any, data: Any) -> Table:
    """Two trainings with equal settings on computers that round otherwise, ended early."""
    table = Table("epochs", "steps", "weights", "change", "filters", "initial", title="the same but for rounding")
    for epochs in SHORT:
        pair = [train(kit, data, "", Recipe(epochs=epochs, rounding=rounding)).reduced() for rounding in (0.0, 1e-7)]
        cells = (f"{matrix[0, 1]:.3f}" for matrix in _measures(pair))
        table.add_row(str(epochs), str(epochs * math.ceil(TRAIN_IMAGES / 128)), *cells, f"{pair[0].initial or 0:.0%}")
    return table


def _copies(original: Trained, copies: Sequence[Trained]) -> Table:
    table = Table("copy", "weights", "change", "filters", "same numbers", "listed", title="copies of one network")
    own = original.reduced()
    for copy in copies:
        other = copy.reduced(original.initial)
        whole, change, filters = (float(matrix[0, 1]) for matrix in _measures([own, other]))
        same = own.values == other.values
        listed = "yes" if alike_checkpoints([own, other]) else "no"
        cells = (f"{whole:.3f}", f"{change:.3f}" if other.changes is not None else "–", f"{filters:.3f}")
        table.add_row(copy.name, *cells, "yes" if same else "no", listed)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
