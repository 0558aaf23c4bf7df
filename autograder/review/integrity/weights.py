"""Which checkpoints are the same, or nearly: by hash, by the weights' correlation, by the first layer's filters.

Each checkpoint is reduced to digests and to a sample of every tensor, so that all pairs of a class are compared by a
few matrix products. Two honest trainings that start from the kit's default seed share their initial values, of which a
short training leaves a good part: where these are known (an export of the untrained network is kept from grading),
only what training changed is compared.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autograder.judging.weight_names import name_tensors
from autograder.review.integrity.signals import SignalEvidence

Array = NDArray[Any]
Floats = NDArray[np.float32]
Shape = tuple[int, ...]

SAMPLE = 1_024  # values of a tensor: a correlation of independent ones is then off 0 by 0.03
LEAST_VALUES = 128  # of a tensor that is compared
MOST_TENSORS = 64  # of one checkpoint, the largest first
LEAST_TENSORS = 2
# Measured by bench/weight_similarity.py; docs/integrity.md has the distributions.
ALIKE, ALIKE_CHANGE, ALIKE_FILTERS = 0.94, 0.85, 0.975
# The squared correlation with the initial values. Where much of them is left, a training was so short that equal
# settings lead two honest networks nearly the same way.
UNTRAINED, HARDLY_TRAINED, ALIKE_HARDLY = 0.999, 0.60, 0.97
LEAST_FILTERS = 8
BLOCK = 512


@dataclass(frozen=True)
class Weights:
    """A checkpoint as far as it is compared.

    `file`, `tensors` and `values` are digests: of the file, of names and bytes, of numbers in whatever order. Samples
    are rows by the tensor's shape, centred and of length 1; in `changes` with the initial values' part taken out.
    `initial` is the share of the weights' variance that is still the initial values', None where they are not known.
    """

    owner: str
    name: str
    file: str
    tensors: str
    values: str
    samples: Mapping[Shape, Floats] = field(default_factory=dict)
    changes: Mapping[Shape, Floats] | None = None
    filters: Floats | None = None
    initial: float | None = None
    told: str = ""

    @property
    def is_untrained(self) -> bool:
        return self.initial is not None and self.initial >= UNTRAINED


def reduce_weights(
    owner: str,
    name: str,
    file: str,
    arrays: Mapping[str, Array],
    initial: Mapping[str, Array] | None = None,
    told: str = "",
) -> Weights:
    """What is compared of a checkpoint's tensors. `initial` has those of the untrained network, by the network's names;
    `told` is what the file says of its own training."""
    arrays = _of_network(arrays, initial) if initial else arrays
    chosen = _largest(arrays)
    samples: dict[Shape, list[Floats]] = defaultdict(list)
    changes: dict[Shape, list[Floats]] = defaultdict(list)
    shares = []
    for key in chosen:
        array = arrays[key]
        row = _sample(array)
        samples[array.shape].append(row)
        start = initial.get(key) if initial else None
        if start is not None and start.shape == array.shape:
            begun = _sample(start)
            along = float(row @ begun)
            shares.append(along**2)
            changes[array.shape].append(_unit(row - along * begun))
    known = bool(chosen) and len(shares) == len(chosen)
    return Weights(
        owner,
        name,
        file,
        tensors=_digest_of(f"{key}:{_content(arrays[key])}" for key in arrays),
        values=_digest_of(_multiset(arrays[key]) for key in chosen),
        samples={shape: np.stack(rows) for shape, rows in samples.items()},
        changes={shape: np.stack(rows) for shape, rows in changes.items()} if known else None,
        filters=_first_filters(arrays),
        initial=float(np.mean(shares)) if known else None,
        told=told,
    )


def _of_network(arrays: Mapping[str, Array], initial: Mapping[str, Array]) -> Mapping[str, Array]:
    """The tensors that are graded, under the network's names: neither a prefix nor other tensors in the file hide a
    copy. All of them where the file is not of this network."""
    named = name_tensors({name: array.shape for name, array in initial.items()}, arrays)
    return arrays if named.missing or named.rivals else named.tensors


def _largest(arrays: Mapping[str, Array]) -> list[str]:
    """The kernels and matrices that are compared, by name: biases and norms of honest networks are all alike."""
    fit = [
        key
        for key, array in arrays.items()
        if array.ndim >= 2 and array.dtype.kind == "f" and array.size >= LEAST_VALUES and np.isfinite(array).all()
    ]
    return sorted(sorted(fit, key=lambda key: -arrays[key].size)[:MOST_TENSORS])


def _sample(array: Array) -> Floats:
    """At most SAMPLE values at places that depend on the shape only, centred, as a vector of length 1."""
    flat = array.reshape(-1)
    if flat.size > SAMPLE:
        flat = flat[np.random.RandomState(flat.size % 2**31).randint(0, flat.size, SAMPLE)]
    return _centred(flat)


def _centred(flat: Array) -> Floats:
    values = flat.astype(np.float64)
    largest = np.abs(values).max()  # a hostile file's values may be near the end of the range
    values = values / largest if largest > 0 else values
    return _unit((values - values.mean()).astype(np.float32))


def _unit(row: Floats) -> Floats:
    length = float(np.sqrt((row.astype(np.float64) ** 2).sum()))
    return (row / length).astype(np.float32) if length > 1e-12 else np.zeros_like(row)


def _first_filters(arrays: Mapping[str, Array]) -> Floats | None:
    """The filters of the convolution that sees the image, one a row; None where there is no such convolution."""
    stems = [a for a in arrays.values() if a.ndim == 4 and a.shape[1] == 3 and a.dtype.kind == "f" and a[0].size >= 27]
    stem = max(stems, key=lambda array: array.size, default=None)
    if stem is None or len(stem) < LEAST_FILTERS or not np.isfinite(stem).all():
        return None
    return np.stack([_centred(row) for row in stem.reshape(len(stem), -1)])


def _content(array: Array) -> str:
    head = f"{array.shape}:{array.dtype.str}:".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _multiset(array: Array) -> str:
    """The same for the same numbers in any order: a sum of mixed bits, which exchanged channels leave as it is."""
    mixed = np.array(array, np.float32).reshape(-1).view(np.uint32)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**32 is meant
        for factor in (0x9E3779B1, 0x85EBCA77):
            mixed ^= mixed >> np.uint32(15)
            mixed *= np.uint32(factor)
    total = int(mixed.sum(dtype=np.uint64))
    return f"{array.size}:{total:x}"


def _digest_of(parts: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode("utf-8", "replace")).hexdigest()


# All pairs


def weight_similarities(weights: Sequence[Weights], *, changes: bool = False) -> Floats:
    """(n, n): how strongly the weights of each are correlated with those of each other, 0..1.

    Every tensor is held against all of the other checkpoint's that have its shape, whatever their names, and the best
    counts; the mean over a checkpoint's tensors, in the direction in which it is higher, so that a network whose
    layers are all found in a larger one is as like as can be. `changes`: what training changed; 0 where it is unknown.
    """
    n = len(weights)
    held = [(w.changes or {}) if changes else w.samples for w in weights]
    total = np.zeros((n, n), np.float32)
    counts = np.array([sum(map(len, own.values())) for own in held], np.float32)
    for shape in sorted({shape for own in held for shape in own}):
        owners = [index for index in range(n) if shape in held[index]]
        if len(owners) > 1:
            found = _best_matches([held[index][shape] for index in owners])
            total[np.ix_(owners, owners)] += found
    mean = total / np.maximum(counts, 1)[:, None]
    mean[counts < LEAST_TENSORS] = 0
    both: Floats = np.maximum(mean, mean.T)
    return both


def filter_similarities(weights: Sequence[Weights]) -> Floats:
    """(n, n): how well the first filters of each are found among those of each other, 0..1; 0 where it has none."""
    n = len(weights)
    found = np.zeros((n, n), np.float32)
    sizes = {w.filters.shape[1] for w in weights if w.filters is not None}
    for size in sorted(sizes):
        owners = [i for i, w in enumerate(weights) if w.filters is not None and w.filters.shape[1] == size]
        rows = [np.asarray(weights[i].filters) for i in owners]
        mean = _best_matches(rows) / np.array([len(own) for own in rows], np.float32)[:, None]
        found[np.ix_(owners, owners)] = np.minimum(mean, mean.T)
    return found


def _best_matches(rows: Sequence[Floats]) -> Floats:
    """(n, n): the sum, over the rows of each, of the best product with a row of each other. Negative ones count 0."""
    starts = np.cumsum([0, *(len(own) for own in rows)])
    everything = np.concatenate(rows)
    found = np.zeros((len(rows), len(rows)), np.float32)
    for start in range(0, len(everything), BLOCK):
        part = everything[start : start + BLOCK] @ everything.T
        best = np.maximum(np.maximum.reduceat(part, starts[:-1], axis=1), 0)
        owners = np.searchsorted(starts, np.arange(start, start + len(part)), side="right") - 1
        np.add.at(found, owners, best)
    return found


def alike_checkpoints(weights: Sequence[Weights]) -> dict[tuple[int, int], list[SignalEvidence]]:
    """Evidence for every pair (i < j) of checkpoints that are alike; untrained ones are like one another, and left
    out."""
    trained = [index for index, w in enumerate(weights) if not w.is_untrained]
    found: dict[tuple[int, int], list[SignalEvidence]] = {}
    for pair, kind in _same(weights, trained):
        found[pair] = [_same_evidence(kind, weights[pair[0]], weights[pair[1]])]
    chosen = [weights[index] for index in trained]
    for (i, j), near in near_checkpoints(chosen).items():
        pair = trained[i], trained[j]
        if pair not in found:
            found[pair] = [near]
    return found


def near_checkpoints(weights: Sequence[Weights]) -> dict[tuple[int, int], SignalEvidence]:
    """Evidence for every pair (i < j) whose weights, or first filters, are nearly the same."""
    whole, change = weight_similarities(weights), weight_similarities(weights, changes=True)
    filters = filter_similarities(weights)
    shares = np.array([-1.0 if w.initial is None else w.initial for w in weights])
    known = (shares[:, None] >= 0) & (shares[None, :] >= 0)
    hardly = known & (np.maximum(shares[:, None], shares[None, :]) >= HARDLY_TRAINED)
    near = np.where(known, change >= np.where(hardly, ALIKE_HARDLY, ALIKE_CHANGE), whole >= ALIKE)
    alike = near | (~hardly & (filters >= ALIKE_FILTERS))
    found: dict[tuple[int, int], SignalEvidence] = {}
    for i, j in np.argwhere(np.triu(alike, 1)).tolist():
        one, other = weights[i], weights[j]
        changed = float(change[i, j]) if known[i, j] else None
        found[i, j] = (
            _near_evidence(one, other, float(whole[i, j]), changed)
            if near[i, j]
            else _filter_evidence(one, float(filters[i, j]))
        )
    return found


def _same(weights: Sequence[Weights], chosen: Sequence[int]) -> Iterator[tuple[tuple[int, int], str]]:
    """Pairs with equal digests, each once, with the strongest kind."""
    seen: set[tuple[int, int]] = set()
    for kind in ("file", "tensors", "values"):
        groups: dict[str, list[int]] = defaultdict(list)
        for index in chosen:
            if weights[index].samples:
                groups[getattr(weights[index], kind)].append(index)
        for group in groups.values():
            for place, i in enumerate(group):
                for j in group[place + 1 :]:
                    if (i, j) not in seen:
                        seen.add((i, j))
                        yield (i, j), _kind_of(kind, weights[i], weights[j])


def _kind_of(digest: str, one: Weights, other: Weights) -> str:
    if digest == "values":
        return "same-weights" if _are_equal(one, other) else "same-values"
    return {"file": "same-file", "tensors": "same-weights"}[digest]


def _are_equal(one: Weights, other: Weights) -> bool:
    """Whether equal sets of numbers stand in the same places, under other names."""
    value = weight_similarities([one, other])[0, 1]
    return bool(value > 1 - 1e-4)


def _same_evidence(kind: str, one: Weights, other: Weights) -> SignalEvidence:
    count = sum(map(len, one.samples.values()))
    texts = {
        "same-file": f"SHA-256 {one.file[:16]}… of both files.",
        "same-weights": f"All {count} kernels and matrices are equal, bit for bit.",
        "same-values": f"All {count} kernels and matrices hold the same numbers, in another order.",
    }
    strength = {"same-file": 1.0, "same-weights": 0.98, "same-values": 0.99}[kind]
    return SignalEvidence(kind, one.name, strength, " ".join(filter(None, [texts[kind], _told(one, other)])))


def _near_evidence(one: Weights, other: Weights, whole: float, change: float | None) -> SignalEvidence:
    text = f"The weights are correlated by {whole:.2f} (mean over kernels and matrices; separate trainings: about 0)."
    if change is not None:
        shares = " and ".join(f"{w.initial or 0:.0%}" for w in (one, other))
        text += f" What training changed is correlated by {change:.2f}; the initial values still make up {shares}."
    strength = min(change if change is not None else whole, 1.0)
    return SignalEvidence("near-weights", one.name, strength, " ".join(filter(None, [text, _told(one, other)])))


def _filter_evidence(one: Weights, value: float) -> SignalEvidence:
    count = 0 if one.filters is None else len(one.filters)
    text = f"The first convolution's {count} filters are found in the other with a mean correlation of {value:.3f}."
    return SignalEvidence("near-filters", one.name, 0.9 * min(value, 1.0), text)


def _told(one: Weights, other: Weights) -> str:
    """What the two files say of their own training, where they say something."""
    if not one.told and not other.told:
        return ""
    if one.told == other.told:
        return f"Both files say: {one.told}."
    return f"The files say: {one.told or 'nothing'}; {other.told or 'nothing'}."


def initial_share(weights: Weights) -> str:
    """For a table: how much of the weights is still as it was drawn."""
    return "" if weights.initial is None or math.isnan(weights.initial) else f"{weights.initial:.0%}"
