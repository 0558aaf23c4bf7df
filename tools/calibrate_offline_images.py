"""Measures how hard the built-in offline set is: three models, several seeds; docs/data.md holds the figures.

    python -m tools.calibrate_offline_images --seeds 0 1 --threads 2

The targets: a linear classifier under 45 %, the lesson's SimpleCNN under 75 % after one epoch, the reference ModernCNN
above 80 %. Ends with status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from autograder.judging.offline_images import render_all

BATCH_SIZE = 128
MAX_LR = 0.25


@dataclass(frozen=True)
class Trial:
    """One model and how it is trained; accuracy must lie between low and high."""

    title: str
    build: Callable[[], nn.Module]
    epochs: int
    one_cycle: bool  # SGD with a one-cycle schedule, else Adam
    learning_rate: float
    augment: bool
    low: float = 0.0
    high: float = 1.0


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convolutions(x) + self.shortcut(x))


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


def simple_cnn() -> nn.Module:
    """The lesson's: three blocks, 94,986 parameters."""
    layers: list[nn.Module] = []
    for in_channels, out_channels in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 10))


def modern_cnn() -> nn.Module:
    """A small residual net that trains on two cores: 585,514 parameters."""
    stem = (nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
    stages = (Residual(32, 64, 1), Residual(64, 128, 2), Residual(128, 128, 1))
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


TRIALS = (
    Trial("linear, 10 epochs, Adam 1e-4", linear, 10, False, 1e-4, augment=False, high=0.45),
    Trial("SimpleCNN, 1 epoch, Adam 1e-3", simple_cnn, 1, False, 1e-3, augment=True, high=0.75),
    Trial("SimpleCNN, 1 epoch, one-cycle to 0.25", simple_cnn, 1, True, MAX_LR, augment=True, high=0.75),
    Trial("ModernCNN, 5 epochs, one-cycle to 0.25", modern_cnn, 5, True, MAX_LR, augment=True, low=0.80),
)


def normalise(images: Tensor) -> Tensor:
    """uint8 to float32 with mean 0.5 and standard deviation 0.5 taken out, as in the lesson."""
    return images.float() / 127.5 - 1


def shift_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """The whole batch moved by up to 4 pixels and, half of the time, mirrored."""
    row, column, flip = (int(torch.randint(0, high, (), generator=generator)) for high in (9, 9, 2))
    moved = F.pad(images, (4, 4, 4, 4))[:, :, row : row + 32, column : column + 32]
    return moved.flip(3) if flip else moved


def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.split(torch.randperm(count, generator=generator), BATCH_SIZE)


def train(model: nn.Module, trial: Trial, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
    steps = trial.epochs * -(-len(images) // BATCH_SIZE)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=trial.learning_rate)
    schedule = None
    if trial.one_cycle:
        optimizer = torch.optim.SGD(
            model.parameters(), lr=trial.learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        schedule = OneCycleLR(optimizer, trial.learning_rate, total_steps=steps)
    model.train()
    for _ in range(trial.epochs):
        for chosen in batches(len(images), generator):
            x = normalise(images[chosen])
            x = shift_and_flip(x, generator) if trial.augment else x
            loss = F.cross_entropy(model(x), labels[chosen], label_smoothing=0.1 if trial.one_cycle else 0.0)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if schedule is not None:
                schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    predicted = torch.cat([model(normalise(part)).argmax(1) for part in torch.split(images, 500)])
    return float((predicted == labels).float().mean())


def run(trial: Trial, seed: int, data: dict[str, tuple[Tensor, Tensor]]) -> float:
    """Accuracy on the test split, 0..1, after training from this seed."""
    torch.manual_seed(seed)
    model = trial.build()
    train(model, trial, *data["train"], torch.Generator().manual_seed(seed))
    return accuracy(model, *data["test"])


def main() -> int:
    """Print a table of accuracies; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one training run for each (default: 0 1)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rendered = render_all()
    data = {split: (torch.from_numpy(images), torch.from_numpy(labels)) for split, (images, labels) in rendered.items()}
    print(f"torch {torch.__version__}, NumPy {np.__version__}, {platform.machine()}, {options.threads} threads")
    missed = False
    for trial in TRIALS:
        results = []
        for seed in options.seeds:
            start = time.perf_counter()
            results.append(run(trial, seed, data))
            print(f"  seed {seed}: {results[-1]:.1%} in {time.perf_counter() - start:.0f} s", flush=True)
        fits = all(trial.low <= result <= trial.high for result in results)
        missed = missed or not fits
        aim = f"above {trial.low:.0%}" if trial.low else f"under {trial.high:.0%}"
        print(f"{trial.title}: {', '.join(f'{result:.1%}' for result in results)} (target: {aim})", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
