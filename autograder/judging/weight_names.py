"""Which tensor of a checkpoint is which weight of a network, whatever stands before all the names.

`torch.compile`, `DataParallel`, an averaged model, or the class of a training library holds the network in an attribute
of its own, whose name then begins that of every weight. What a file holds besides is left away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autograder.core.remarks import clipped
from autograder.graphs.tensor_file import Array

COUNTER = "num_batches_tracked"  # of batch norm: old checkpoints lack it, and evaluation does not use it
MOST_NESTED = 8  # prefixes before one another
MOST_NAMES = 8  # of one weight
MOST_SHOWN = 80  # characters of a name
Shape = tuple[int, ...]


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
