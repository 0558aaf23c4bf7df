"""Charts of points: their distribution in a class, and exercises compared."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from markupsafe import Markup

from autograder.review.figures.panel import Panel
from autograder.review.figures.svg import (
    CHARACTER,
    SMALL,
    Attributes,
    Stroke,
    TextStyle,
    colour,
    figure,
    fitting,
    is_finite,
    label,
    line,
    round_ticks,
    tag,
    words,
)


def draw_histogram(values: Sequence[float], maximum: float, bins: int = 20) -> Markup:
    """How many of a class have how many points, with the median; nothing without values or points."""
    points = [min(max(float(v), 0.0), maximum) for v in values if is_finite(v)] if is_finite(maximum) else []
    if not points or maximum <= 0 or bins < 1:
        return Markup("")
    counts = [0] * bins
    for value in points:
        counts[min(int(value / maximum * bins), bins - 1)] += 1
    panel = Panel(44, 30, 580, 170, 0, max(counts), 0, maximum)
    middle = statistics.median(points)
    parts = [*_grid(panel), *_bars(panel, counts), *_points_axis(panel), *_median_mark(panel, middle)]
    parts.append(
        label(panel.middle, panel.base + 33, "points (bars: submissions)", TextStyle(SMALL, "middle", "quiet"))
    )
    people = "1 submission" if len(points) == 1 else f"{len(points)} submissions"
    facts = (
        f"{people}, from {min(points):.4g} to {max(points):.4g} of {maximum:g} points; median {middle:.4g}, "
        f"mean {statistics.fmean(points):.4g}."
    )
    return figure(panel.right + 20, panel.base + 42, "Distribution of points", facts, *parts)


def _grid(panel: Panel) -> list[Markup]:
    """A line for each round number of submissions."""
    parts = []
    for value in round_ticks(0, panel.high, 4):
        if value == int(value):
            y = panel.y(value)
            parts.append(line(panel.left, y, panel.right, y))
            parts.append(label(panel.left - 6, y + 4, f"{value:.0f}", TextStyle(SMALL, "end", "quiet")))
    return parts


def _bars(panel: Panel, counts: Sequence[int]) -> list[Markup]:
    parts = []
    maximum, bins, width = panel.last, len(counts), panel.width / len(counts)
    for k, count in enumerate(counts):
        if count:
            said = f"{maximum * k / bins:.4g} to {maximum * (k + 1) / bins:.4g} points: {count}"
            place: Attributes = {"x": panel.left + width * k + 1, "width": max(width - 2, 1.0)}
            place |= {"y": panel.y(count), "height": panel.base - panel.y(count)}
            parts.append(tag("rect", tag("title", said), **place, fill=colour("blue")))
    return parts


def _points_axis(panel: Panel) -> list[Markup]:
    parts = [line(panel.left, panel.base, panel.right, panel.base, Stroke("quiet"))]
    for value in round_ticks(0, panel.last, 10):
        parts.append(label(panel.x(value), panel.base + 16, f"{value:.4g}", TextStyle(SMALL, "middle")))
    return parts


def _median_mark(panel: Panel, middle: float) -> list[Markup]:
    x = panel.x(middle)
    anchor, side = ("end", -6) if x > panel.middle else ("start", 6)
    return [
        line(x, panel.top - 8, x, panel.base, Stroke("orange", 2, "6 3")),
        label(x + side, panel.top - 12, f"median {middle:.4g}", TextStyle(SMALL, anchor)),
    ]


def draw_exercises(rows: Sequence[tuple[str, Sequence[float], float]]) -> Markup:
    """For each exercise (name, points of everyone, maximum) the mean, the middle half and the range, in percent.

    An exercise without points is left out.
    """
    kept = [
        (words(name, 40), sorted(float(v) for v in values if is_finite(v)), float(maximum))
        for name, values, maximum in rows
        if is_finite(maximum) and maximum > 0 and any(map(is_finite, values))
    ]
    if not kept:
        return Markup("")
    step = 36
    left = 20 + min(max(len(name) for name, _, _ in kept) * 12 * CHARACTER, 220)
    panel = Panel(left, 12, 330, step * len(kept), 0, 1, 0, 100)
    base = panel.base
    parts, facts = [], []
    for value in (0, 25, 50, 75, 100):
        parts.append(line(panel.x(value), panel.top, panel.x(value), base))
        parts.append(label(panel.x(value), base + 16, f"{value} %", TextStyle(SMALL, "middle", "quiet")))
    for place, (name, values, maximum) in enumerate(kept):
        mean = f"mean {statistics.fmean(values):.3g} of {maximum:g}"
        y = panel.top + step * (place + 0.5)
        parts.append(label(left - 10, y + 4, fitting(name, left - 20), TextStyle(anchor="end")))
        parts += _spread_of(panel, y, [min(max(100 * v / maximum, 0.0), 100.0) for v in values])
        parts.append(label(panel.right + 14, y + 4, mean, TextStyle(SMALL)))
        facts.append(f"{name}: {mean}, range {values[0]:.4g} to {values[-1]:.4g}.")
    key = "dot: mean · box: the middle half · bar: median · line: lowest to highest"
    parts.append(label(panel.middle, base + 36, key, TextStyle(SMALL, "middle", "quiet")))
    title = "Points of each exercise, in percent of its maximum"
    return figure(panel.right + 130, base + 46, title, " ".join(facts), *parts)


def _spread_of(panel: Panel, y: float, shares: Sequence[float]) -> list[Markup]:
    """Range, quartiles, median and mean on one line; the shares are sorted, in percent."""
    low, middle, high = statistics.quantiles(shares, n=4, method="inclusive") if len(shares) > 1 else [shares[0]] * 3
    x1, x2 = panel.x(low), panel.x(high)
    box: Attributes = {"x": x1, "y": y - 8, "width": max(x2 - x1, 1.0), "height": 16}
    return [
        line(panel.x(shares[0]), y, panel.x(shares[-1]), y, Stroke("quiet", 1.5)),
        *(line(panel.x(end), y - 4, panel.x(end), y + 4, Stroke("quiet", 1.5)) for end in (shares[0], shares[-1])),
        tag("rect", **box, rx=2, fill=colour("shade"), stroke=colour("quiet")),
        line(panel.x(middle), y - 8, panel.x(middle), y + 8, Stroke("ink", 2)),
        tag("circle", cx=panel.x(statistics.fmean(shares)), cy=y, r=4.5, fill=colour("orange"), stroke=colour("paper")),
    ]
