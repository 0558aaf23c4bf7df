"""Who belongs together: pairs that share somebody are one cluster, so that three who share a file are told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autograder.review.integrity.signals import Pair, kinds_in_words


@dataclass(frozen=True)
class Cluster:
    """Submissions that are linked by pairs; most alike pair first. Not all of them need be alike."""

    members: Sequence[str]
    pairs: Sequence[Pair]

    @property
    def strength(self) -> float:
        """That of its most alike pair."""
        return self.pairs[0].strength

    @property
    def possible(self) -> int:
        """How many pairs so many members could make."""
        return len(self.members) * (len(self.members) - 1) // 2

    @property
    def what(self) -> str:
        return kinds_in_words([found for pair in self.pairs for found in pair.evidence])


def clusters_of(pairs: Sequence[Pair]) -> list[Cluster]:
    """Pairs, most alike first, put together by whom they share; the cluster of the most alike pair is the first."""
    cluster_of: dict[str, list[Pair]] = {}
    for pair in pairs:
        one, other = (cluster_of.get(name, []) for name in (pair.one, pair.other))
        merged = [*one, *(other if other is not one else []), pair]
        for name in {name for held in merged for name in (held.one, held.other)}:
            cluster_of[name] = merged
    rank = {id(pair): number for number, pair in enumerate(pairs)}
    found = [sorted(own, key=lambda pair: rank[id(pair)]) for own in {id(c): c for c in cluster_of.values()}.values()]
    found.sort(key=lambda own: rank[id(own[0])])
    return [Cluster(list(dict.fromkeys(n for p in own for n in (p.one, p.other))), own) for own in found]
