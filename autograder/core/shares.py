"""How the points of a cell are shared among its checks: by their weights, in tenths, always the same way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

TENTHS = 10  # scores are kept to a tenth of a point


class TooFewPoints(ValueError):
    """Some check of a cell would be worth nothing."""


def share_points(weights: Sequence[float], points: float) -> list[float]:
    """`points` shared in proportion to `weights`, so that the shares sum to them exactly.

    Weights that already sum to the points are the shares. Otherwise every share is a whole number of tenths, by the
    method of the largest remainder: each is rounded down, and what is left goes, a tenth each, to those that lost most
    by it, the earlier one first. Raises TooFewPoints where a share would be 0.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    total, whole = sum(exact), Fraction(str(points))
    if total == whole:
        return [float(weight) for weight in weights]
    wanted = [weight / total * whole * TENTHS for weight in exact]
    tenths = [int(share) for share in wanted]
    left = int(whole * TENTHS) - sum(tenths)
    for index in sorted(range(len(wanted)), key=lambda i: tenths[i] - wanted[i])[:left]:
        tenths[index] += 1
    if min(tenths) < 1:
        raise TooFewPoints(f"{points:g} points are too few for {len(tenths)} checks: each needs a tenth of a point")
    return [share / TENTHS for share in tenths]
