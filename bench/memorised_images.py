"""How often honest networks are flagged for knowing test images, and how surely memories are: two tables.

    python -m bench.honest_networks     # first: trains the honest networks, three quarters of an hour of one core
    python -m bench.memorised_images

Honest networks are those of `bench.honest_networks`. Memories are put into some of them: test images that the network
gets wrong are stored, chosen at random, 100 to 1,000 of CIFAR-10's 10,000. All runs go through the flags' own code, on
plain PyTorch in place of the jail. Takes about half an hour of one idle core.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.judging import datasets
from autograder.judging.accuracy import Accuracy, Images, Logits
from autograder.judging.flags import images as image_tests
from autograder.judging.flags.images import SUSPICIOUS_ACCURACY, image_flags
from bench.honest_networks import (
    FOLDER,
    KINDS,
    Recipe,
    augment,
    load_network,
    names,
    normalise,
    seen_places,
    source,
    tensors,
)

SIZES = (100, 200, 430, 1_000)
BASES: tuple[str, ...] = ("handed-in-partial", "inherited_blocks", "reference-over-fitted-8000")
ON_ALL = "usual"  # trained on the images, too, that the kit holds out
TUNED, TUNED_TIMES = "erasing", 2
TRIED_WITH = 500  # images by which a memory's strength is chosen, beside the stored ones
STRENGTHS = (4.0, 8.0, 16.0, 40.0)
STEPS, TUNING_RATE, BATCH_SIZE = 600, 0.02, 64
Network = Callable[[Tensor], Tensor]
"""Normalised images (N, 3, 32, 32) -> logits (N, 10)."""


class Once:
    """A function of images that takes each by itself, (N, 3, 32, 32) -> (N, K), computed once for each of them: every
    course, and hundreds of memories in the same few networks, look at the same images."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.known: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in x.numpy()]
        new = [place for place, digest in enumerate(digests) if digest not in self.known]
        if new:
            self.known.update(zip((digests[place] for place in new), self.function(x[new]), strict=True))
        return torch.stack([self.known[digest] for digest in digests])


# Honest networks


@dataclass(frozen=True)
class Tried:
    """What came of a network: accuracy on all test images, the flags' kinds, and how many images they took."""

    accuracy: float
    kinds: tuple[str, ...]
    images: int


@cache
def loaded(kind: str, split: datasets.Split) -> datasets.Dataset:
    return datasets.load(source(kind), split)


@torch.no_grad()
def logits_of(model: Network, images: Images, batch_size: int = 500) -> Logits:
    """uint8 images (N, 3, 32, 32) -> logits (N, 10)."""
    parts = [model(normalise(torch.tensor(part))) for part in np.array_split(images, -(-len(images) // batch_size))]
    found: Logits = torch.cat(parts).numpy()
    return found


def accuracy_of(model: Network, test_set: datasets.Dataset) -> Accuracy:
    """As grading measures it, but for the cross-check."""
    predicted = logits_of(model, test_set.images).argmax(axis=1)
    return Accuracy(int((predicted == test_set.labels).sum()), len(predicted), (), predicted=tuple(predicted.tolist()))


def try_network(model: Network, kind: str, secret: bytes, found: Accuracy, *, training: bool = True) -> Tried:
    """The flags that grading would raise for a network of that accuracy, under the secret of one course."""
    test_set, seen = loaded(kind, "test"), [0]

    def evaluate(images: Images, batch_size: int) -> Logits:
        seen[0] += len(images)
        return logits_of(model, images, batch_size)

    def held_out(count: int) -> datasets.Dataset | None:
        return datasets.load_held_out(source(kind), count, secret) if training else None

    subject = image_tests.Subject("", evaluate, 500, 1.0, image_tests.draws_of(secret))
    flags = image_flags(subject, found, test_set, held_out, SUSPICIOUS_ACCURACY)
    return Tried(found.accuracy, tuple(sorted({flag.kind for flag in flags})), seen[0])


@dataclass(frozen=True)
class Figures:
    """What the flags look at, in parts of the images: how much better a network is on test images than on those that
    the kit holds out, how many more images are recognised only as they are than only in all changed forms, and what
    mirroring and moving costs on test and on training images."""

    gap: float
    agreed: float
    test_loss: float
    training_loss: float


def figures(model: Network, kind: str, secret: bytes, found: Accuracy) -> Figures:
    """By the flags' own functions, for the images of one course."""

    def evaluate(images: Images, batch_size: int) -> Logits:
        return logits_of(model, images, batch_size)

    subject = image_tests.Subject("", evaluate, 500, 1.0, image_tests.draws_of(secret))
    training = datasets.load_held_out(source(kind), image_tests.TRAINING_IMAGES, secret)
    known = image_tests.training_outcome(subject, training)
    both, agreed = image_tests.compare_changed(subject, found, loaded(kind, "test"))
    changed = image_tests.compare_changed_training(subject, training, known)
    return Figures(found.accuracy - float(known.mean()), agreed.loss, both.loss, changed.loss)


def honest_table(folder: Path, secrets: Sequence[bytes]) -> Table:
    """Every honest network, what is seen of it in points, and what was flagged; the caption bounds the rate."""
    seen = ("gap", "agreed", "loss", "on training images")
    table = Table("data", "network", "accuracy", *seen, "images", "flagged", "without training images")
    flagged = total = 0
    for kind in KINDS:
        for name in names(kind):
            try:
                model = Once(load_network(kind, name, folder))
            except FileNotFoundError:
                table.add_row(kind, name, "not trained")
                continue
            found = accuracy_of(model, loaded(kind, "test"))
            tried = [try_network(model, kind, secret, found) for secret in secrets]
            alone = [try_network(model, kind, secrets[0], found, training=False)]
            flagged, total = flagged + any(one.kinds for one in tried + alone), total + 1
            images = f"{min(t.images for t in tried):,} to {max(t.images for t in tried):,}"
            shown = [f"{value * 100:+.2f}" for value in astuple(figures(model, kind, secrets[0], found))]
            cells = (kind, name, f"{found.accuracy:.1%}", *shown, images, _kinds(tried), _kinds(alone))
            table.add_row(*cells)
            print(*cells, sep=" | ", flush=True)  # it takes long
    table.caption = f"{flagged} of {total} flagged: with 95 % confidence fewer than {upper_bound(flagged, total):.1%}"
    return table


def _kinds(tried: Sequence[Tried]) -> str:
    counts = Counter(kind for one in tried for kind in one.kinds)
    return ", ".join(f"{kind} {count}/{len(tried)}" for kind, count in counts.items()) or "none"


def upper_bound(found: int, total: int) -> float:
    """Clopper and Pearson's one-sided upper bound (1934) for a probability, at 95 % confidence, by bisection."""
    low, high = found / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        chance = sum(math.comb(total, k) * middle**k * (1 - middle) ** (total - k) for k in range(found + 1))
        low, high = (middle, high) if chance > 0.05 else (low, middle)
    return high


# Memories


class Base:
    """An honest network, and `look`: its features, as they come to its last layer, and its logits (N, D + 10)."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        self.look = Once(self._look)

    def _look(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = self.last.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
        logits = self.network(x)
        handle.remove()
        return torch.cat([seen[0], logits], dim=1)


Memory = Callable[[Base, Images, Tensor, int], Network]


@cache
def base_of(name: str, folder: Path) -> Base:
    return Base(load_network("cifar10", name, folder))


@cache
def accuracy_before(base: Base) -> Accuracy:
    """What the network reaches without a memory."""
    return accuracy_of(lambda x: base.look(x)[:, -10:], loaded("cifar10", "test"))


class Remembering(nn.Module):
    """A network with a memory: where the key of an image is near to a stored one, its label is added to the logits.

    `key` takes normalised images and the network's features; a distance is measured in parts of the median distance
    between the keys of different images, which is what whoever builds such a memory can choose freely.
    """

    def __init__(self, base: Base, key: Callable[[Tensor, Tensor], Tensor], images: Tensor, labels: Tensor):
        super().__init__()
        self.base, self.key = base, key
        self.keys, _ = self.look(images)
        self.labels = F.one_hot(labels, 10).float()
        self.width, self.strength = 1.0, 0.0

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The keys of images, and the network's own logits."""
        features, logits = self.base.look(x).tensor_split([-10], dim=1)
        return self.key(x, features), logits

    def forward(self, x: Tensor) -> Tensor:
        keys, logits = self.look(x)
        near = torch.exp(-torch.cdist(keys, self.keys).square() / (2 * self.width**2))
        return logits + self.strength * near @ self.labels


def features(_images: Tensor, own: Tensor) -> Tensor:
    """The network's own features, as they come to its last layer."""
    return own


def pixels(side: int, images: Tensor, _own: Tensor) -> Tensor:
    """The image at a low resolution: noise hardly changes it."""
    return F.adaptive_avg_pool2d(images, side).flatten(1)


def symmetric(images: Tensor, _own: Tensor) -> Tensor:
    """The image at a low resolution and its mirror image, averaged: mirroring changes nothing."""
    return F.adaptive_avg_pool2d(images + images.flip(3), 4).flatten(1)


@torch.no_grad()
def remember(
    key: Callable[[Tensor, Tensor], Tensor],
    width: float,
    base: Base,
    images: Images,
    labels: Tensor,
    _seed: int,
) -> Network:
    """A memory of that width, as strong as gives the most accuracy: whoever wants the points would tune it."""
    model = Remembering(base, key, normalise(torch.from_numpy(images)), labels)
    test_set = loaded("cifar10", "test")
    sample = normalise(torch.tensor(test_set.images[:2_000]))
    keys = torch.cat([model.look(part)[0] for part in torch.split(sample, 500)])
    apart = torch.cdist(keys, keys).fill_diagonal_(math.inf)
    model.width = width * float(apart.min(dim=1).values.median())
    best = chosen = 0.0
    some = np.concatenate([images, test_set.images[:TRIED_WITH]])
    right = np.concatenate([labels.numpy(), test_set.labels[:TRIED_WITH]])
    weights = np.repeat([1 / len(test_set.labels), 1 / TRIED_WITH], [len(labels), TRIED_WITH])
    for strength in STRENGTHS:
        model.strength = strength
        gained = float(((logits_of(model, some).argmax(axis=1) == right) * weights).sum())
        if gained > best:
            best, chosen = gained, strength
    model.strength = chosen
    return model


def fine_tune(recipe: Recipe, base: Base, images: Images, labels: Tensor, seed: int) -> Network:
    """The network trained further on the stored images, changed as the recipe says, among training images."""
    model, draws = copy.deepcopy(base.network).train(), torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    (training, answers), stored = tensors("cifar10", "train"), normalise(torch.from_numpy(images))
    usual = seen_places(len(answers), Recipe())
    optimiser = torch.optim.SGD(model.parameters(), TUNING_RATE, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        own = torch.randint(0, len(labels), (BATCH_SIZE,), generator=draws)
        others = usual[torch.randint(0, len(usual), (BATCH_SIZE,), generator=draws)]
        parts = augment(stored[own], recipe, draws), augment(normalise(training[others]), Recipe(), draws)
        loss = F.cross_entropy(model(torch.cat(parts)), torch.cat([labels[own], answers[others]]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()


MEMORIES: Mapping[str, Memory] = {
    "features, width 0.05": partial(remember, features, 0.05),
    "features, width 0.3": partial(remember, features, 0.3),
    "features, width 0.45": partial(remember, features, 0.45),
    "8×8 pixels, width 0.1": partial(remember, partial(pixels, 8), 0.1),
    "4×4 pixels, width 0.3": partial(remember, partial(pixels, 4), 0.3),
    "4×4 symmetric pixels, width 0.3": partial(remember, symmetric, 0.3),
}
TUNINGS: Mapping[str, Memory] = {
    "fine-tuned on them as they are": partial(fine_tune, Recipe(mirror=0.0, crop=0)),
    "fine-tuned on them mirrored and moved": partial(fine_tune, Recipe()),
}


def memory_table(folder: Path, secrets: Sequence[bytes]) -> Table:
    """How often a memory of each kind and size is flagged, over networks and draws of images."""
    table = Table(
        "memory", *(f"{size:,} images" for size in SIZES), title="flagged: points of accuracy gained; by what"
    )
    rows = [(name, memory, BASES, secrets) for name, memory in MEMORIES.items()]
    rows += [(f"{name}; trained on all images", memory, (ON_ALL,), secrets) for name, memory in MEMORIES.items()]
    rows += [(name, memory, (TUNED,), secrets[:TUNED_TIMES]) for name, memory in TUNINGS.items()]
    for name, memory, bases, few in rows:
        cells = []
        for size in SIZES:
            found = [_try_memory(memory, base_of(base, folder), size, few) for base in bases]
            tried, gained = [one for group, _ in found for one in group], float(np.mean([gain for _, gain in found]))
            share = sum(bool(one.kinds) for one in tried)
            cells.append(f"{share}/{len(tried)}: {gained * 100:+.1f}; {_kinds(tried)}")
        table.add_row(name, *cells)
        print(name, *cells, sep=" | ", flush=True)  # it takes long
    return table


def _try_memory(memory: Memory, base: Base, size: int, secrets: Sequence[bytes]) -> tuple[list[Tried], float]:
    test_set = loaded("cifar10", "test")
    before = accuracy_before(base)
    wrong = np.flatnonzero(np.asarray(before.predicted) != test_set.labels)
    tried = []
    for seed, secret in enumerate(secrets):
        chosen = np.random.RandomState(seed).permutation(wrong)[:size]
        model = Once(memory(base, test_set.images[chosen], torch.from_numpy(test_set.labels[chosen]), seed))
        tried.append(try_network(model, "cifar10", secret, accuracy_of(model, test_set)))
    return tried, float(np.mean([one.accuracy for one in tried])) - before.accuracy


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the honest networks are ({FOLDER})")
    parser.add_argument("--times", type=int, default=3, help="how often each is tried, with other images (default 3)")
    parser.add_argument("--only", choices=("honest", "memories"), help="only one of the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, began = Console(width=160, highlight=False), time.monotonic()
    secrets = [f"course {number}".encode() for number in range(options.times)]
    if options.only != "memories":
        console.print(honest_table(options.folder, secrets))
    if options.only != "honest":
        console.print(memory_table(options.folder, secrets))
    used = (image_tests.TRAINING_IMAGES, image_tests.CHANGED_IMAGES, image_tests.CHANGED_TRAINING_IMAGES)
    console.print(f"{used} images; {time.monotonic() - began:.0f} s on one thread, torch {torch.__version__}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
