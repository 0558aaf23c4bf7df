"""Charts: learning curve, confusion matrix, distribution of points, exercises compared, accuracy against cost."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from autograder.core.grade_report import Curve, Evaluation
from autograder.review.figures.svg import (
    CHARACTER,
    SMALL,
    Attributes,
    colour,
    figure,
    fitting,
    is_finite,
    label,
    line,
    percent,
    round_ticks,
    short_number,
    spread,
    tag,
    words,
)

Cost = Literal["parameters", "MACs"]
MOST_CLASSES = 30
NAME_LENGTH = 14  # of a class, in characters
COST_WORDS = {"parameters": "parameters", "MACs": "multiply-accumulates for one image"}
# A page of the report, or another's: no scheme but http, whatever a browser would read into the text.
LINK = re.compile(r"(?:https?://(?=\w))?(?!//)[^\s:<>\"'\\\x00-\x1f]+(?::\d+/[^\s:<>\"'\\\x00-\x1f]*)?")


@dataclass(frozen=True)
class Panel:
    """A plotting area in pixels, and the values at its edges."""

    left: float
    top: float
    width: float
    height: float
    low: float
    high: float
    first: float
    last: float

    def x(self, value: float) -> float:
        return self.left + self.width * (value - self.first) / ((self.last - self.first) or 1)

    def y(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / ((self.high - self.low) or 1)


@dataclass(frozen=True)
class Dot:
    """A network in the picture of accuracies (0..1) and costs; `link` is a page that its dot leads to."""

    label: str
    accuracy: float
    parameters: int
    macs: int
    link: str = ""

    def cost(self, cost: Cost) -> int:
        return self.parameters if cost == "parameters" else self.macs


# Learning curve


def draw_curve(curve: Curve) -> Markup:
    """Loss and accuracy by epoch, training solid, validation dashed; nothing where no value is finite."""
    width, panels = 340.0, Markup("")
    facts: list[str] = []
    for title, train, validation, in_percent in (
        ("Loss", curve.train_loss, curve.validation_loss, False),
        ("Accuracy", curve.train_accuracy, curve.validation_accuracy, True),
    ):
        values = [v for v in (*train, *validation) if is_finite(v)]
        if not values:
            continue
        panels += _curve_panel(width * len(facts), title, train, validation, in_percent)
        facts.append(_curve_facts(title, train, validation, in_percent))
    if not facts:
        return Markup("")
    title = f"Learning curve of {words(curve.notebook, 60)}, as the checkpoint's file tells it"
    return figure(width * len(facts), 240, title, " ".join(facts), panels)


def _curve_panel(
    left: float, title: str, train: Sequence[float], validation: Sequence[float], in_percent: bool
) -> Markup:
    values = [v for v in (*train, *validation) if is_finite(v)]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    bottom = max(low - room, 0.0) if low >= 0 else low - room
    epochs = max(len(train), len(validation))
    panel = Panel(left + 52, 36, 200, 160, bottom, high + room, 1, max(epochs, 2))
    ticks = round_ticks(panel.low, panel.high)
    parts = [label(left + 10, 18, title, size=13, bold=True)]
    for value in ticks:
        y = panel.y(value)
        parts.append(line(panel.left, y, panel.left + panel.width, y))
        text = f"{100 * value:.4g} %" if in_percent else f"{value:.4g}"
        parts.append(label(panel.left - 6, y + 4, text, size=SMALL, anchor="end", ink="quiet"))
    for epoch in sorted({int(t) for t in round_ticks(1, epochs) if t >= 1 and t == int(t)} | {1, epochs}):
        if epoch in (1, epochs) or panel.x(epochs) - panel.x(epoch) > 22:
            text = str(epoch)
            parts.append(label(panel.x(epoch), panel.top + panel.height + 16, text, size=SMALL, anchor="middle"))
    middle = panel.left + panel.width / 2
    parts.append(label(middle, panel.top + panel.height + 33, "epoch", size=SMALL, anchor="middle", ink="quiet"))
    shown = [("training", train, "blue", ""), ("validation", validation, "orange", "6 3")]
    shown = [series for series in shown if any(map(is_finite, series[1]))]
    ends = spread([panel.y([v for v in series[1] if is_finite(v)][-1]) for series in shown], 14)
    for (name, series, ink, dashes), end in zip(shown, ends, strict=True):
        parts += _series(panel, series, ink, dashes)
        parts.append(label(panel.left + panel.width + 8, end + 4, name, size=SMALL))
    return Markup("").join(parts)


def _series(panel: Panel, values: Sequence[float], ink: str, dashes: str) -> list[Markup]:
    """A line that breaks where a value is not finite; a value alone is a dot."""
    path, dots, pen = [], [], "M"
    for place, value in enumerate(values):
        if not is_finite(value):
            pen = "M"
            continue
        x, y = panel.x(place + 1), panel.y(value)
        path.append(f"{pen}{x:.1f} {y:.1f}")
        following = values[place + 1] if place + 1 < len(values) else math.nan
        if pen == "M" and not is_finite(following):
            dots.append(tag("circle", cx=x, cy=y, r=3, fill=colour(ink)))
        pen = "L"
    stroke: Attributes = {"fill": "none", "stroke": colour(ink), "stroke_width": 2, "stroke_dasharray": dashes or None}
    return [tag("path", d="".join(path), **stroke), *dots]


def _curve_facts(title: str, train: Sequence[float], validation: Sequence[float], in_percent: bool) -> str:
    parts = []
    for name, series in (("training", train), ("validation", validation)):
        found = [v for v in series if is_finite(v)]
        if found:
            first, last = ((percent(v) if in_percent else f"{v:.3g}") for v in (found[0], found[-1]))
            epochs = "1 epoch" if len(series) == 1 else f"{len(series)} epochs"
            parts.append(f"{name} from {first} to {last} in {epochs}")
    return f"{title}: {'; '.join(parts)}."


# Confusion matrix


def draw_confusion(evaluation: Evaluation) -> Markup:
    """Counts, a row for each true class and a column for each predicted one; the shade is the share of the row.

    Nothing where the counts are not a square of numbers from 0 for at most MOST_CLASSES classes, or are none at all.
    """
    counts, size = evaluation.confusion, len(evaluation.confusion)
    fits = 0 < size <= MOST_CLASSES and all(len(row) == size for row in counts)
    if not fits or not all(is_finite(n) and n >= 0 for row in counts for n in row) or not any(map(sum, counts)):
        return Markup("")
    names = [words(evaluation.classes[k], NAME_LENGTH) if k < len(evaluation.classes) else str(k) for k in range(size)]
    cell, left, top = 44, 20 + max(map(len, names)) * SMALL * CHARACTER + 24, 96
    parts = [
        label(left + cell * size / 2, 14, "predicted class", size=SMALL, anchor="middle", ink="quiet"),
        tag("g", label(0, 0, "true class", size=SMALL, anchor="middle", ink="quiet"),
            transform=f"translate(14 {top + cell * size / 2:g}) rotate(-90)"),
        label(left + cell * size + 10, top - 10, "right", size=SMALL, ink="quiet"),
    ]  # fmt: skip
    for k, name in enumerate(names):
        turned = f"translate({left + cell * k + cell / 2 + 4:g} {top - 8}) rotate(-45)"
        parts.append(tag("g", label(0, 0, name, size=SMALL), transform=turned))
        parts.append(label(left - 8, top + cell * k + cell / 2 + 4, name, size=SMALL, anchor="end"))
        total = sum(counts[k])
        right = f"{100 * counts[k][k] / total:.0f} %" if total else "–"
        parts.append(label(left + cell * size + 10, top + cell * k + cell / 2 + 4, right, size=SMALL))
        parts += [_confusion_cell(left + cell * j, top + cell * k, cell, counts[k][j], total, k == j, (name, names[j]))
                  for j in range(size)]  # fmt: skip
    bottom = top + cell * size + 12
    parts += _shade_key(left, bottom)
    title = f"Confusion matrix of {words(evaluation.notebook, 60)}"
    return figure(left + cell * size + 60, bottom + 30, title, _confusion_facts(evaluation, names), *parts)


def _confusion_cell(
    x: float, y: float, size: float, count: int, total: int, is_right: bool, names: tuple[str, str]
) -> Markup:
    share = count / total if total else 0.0
    said = f"{names[0]} taken for {names[1]}: {count}" if not is_right else f"{names[0]} recognised: {count}"
    return tag(
        "g",
        tag("title", f"{said} ({percent(share)})"),
        tag("rect", x=x, y=y, width=size, height=size, fill=colour("shade"), fill_opacity=_opacity(share),
            stroke=colour("ink" if is_right else "line"), stroke_width=1),
        label(x + size / 2, y + size / 2 + 4, short_number(count) if count > 99999 else f"{count:g}", size=SMALL,
              anchor="middle", ink="ink" if count else "quiet"),
    )  # fmt: skip


def _opacity(share: float) -> float:
    """By the square root, so that a confusion of one in twenty can be seen at all."""
    return round(math.sqrt(share), 2)


def _shade_key(left: float, top: float) -> list[Markup]:
    parts = [label(left, top + 14, "share of the row:", size=SMALL, ink="quiet")]
    for place, share in enumerate((0.01, 0.05, 0.25, 1.0)):
        x = left + 110 + 62 * place
        fill: Attributes = {"fill": colour("shade"), "fill_opacity": _opacity(share), "stroke": colour("line")}
        parts += [tag("rect", x=x, y=top + 3, width=14, height=14, **fill)]
        parts += [label(x + 19, top + 14, f"{100 * share:.0f} %", size=SMALL, ink="quiet")]
    return parts


def _confusion_facts(evaluation: Evaluation, names: Sequence[str]) -> str:
    counts = evaluation.confusion
    parts = []
    if evaluation.images > 0:
        bounds = ""
        if is_finite(evaluation.low) and is_finite(evaluation.high):
            bounds = f", between {percent(evaluation.low)} and {percent(evaluation.high)} with 95 % confidence"
        parts.append(f"Accuracy {percent(evaluation.accuracy)} of {evaluation.images:,} images{bounds}.")
    recalls = [(row[k] / sum(row), names[k]) for k, row in enumerate(counts) if sum(row)]
    share, name = min(recalls)
    parts.append(f"Least often recognised: {name}, {percent(share)}.")
    wrong = [(row[j], names[k], names[j]) for k, row in enumerate(counts) for j in range(len(row)) if j != k]
    most = max(wrong, default=(0, "", ""))
    parts += [f"Most frequent confusion: {most[1]} taken for {most[2]}, {most[0]:g} times."] if most[0] else []
    return " ".join(parts)


# Points


def draw_histogram(values: Sequence[float], maximum: float, bins: int = 20) -> Markup:
    """How many of a class have how many points, with the median; nothing without values or points."""
    points = [min(max(float(v), 0.0), maximum) for v in values if is_finite(v)] if is_finite(maximum) else []
    if not points or maximum <= 0 or bins < 1:
        return Markup("")
    counts = [0] * bins
    for value in points:
        counts[min(int(value / maximum * bins), bins - 1)] += 1
    panel = Panel(44, 30, 580, 170, 0, max(counts), 0, maximum)
    bar = panel.width / bins
    parts = []
    for value in round_ticks(0, panel.high, 4):
        if value == int(value):
            y = panel.y(value)
            parts.append(line(panel.left, y, panel.left + panel.width, y))
            parts.append(label(panel.left - 6, y + 4, f"{value:.0f}", size=SMALL, anchor="end", ink="quiet"))
    for k, count in enumerate(counts):
        said = f"{maximum * k / bins:.4g} to {maximum * (k + 1) / bins:.4g} points: {count}"
        place: Attributes = {"x": panel.left + bar * k + 1, "width": max(bar - 2, 1.0)}
        fill: Attributes = {
            "y": panel.y(count),
            "height": panel.height - panel.y(count) + panel.top,
            "fill": colour("blue"),
        }
        parts += [tag("rect", tag("title", said), **place, **fill)] if count else []
    base = panel.top + panel.height
    parts.append(line(panel.left, base, panel.left + panel.width, base, ink="quiet"))
    for value in round_ticks(0, maximum, 10):
        parts.append(label(panel.x(value), base + 16, f"{value:.4g}", size=SMALL, anchor="middle"))
    middle = statistics.median(points)
    x = panel.x(middle)
    anchor = "end" if x > panel.left + panel.width / 2 else "start"
    parts.append(line(x, panel.top - 8, x, base, ink="orange", width=2, dashes="6 3"))
    parts.append(
        label(x + (-6 if anchor == "end" else 6), panel.top - 12, f"median {middle:.4g}", size=SMALL, anchor=anchor)
    )
    parts.append(
        label(
            panel.left + panel.width / 2,
            base + 33,
            "points (bars: submissions)",
            size=SMALL,
            anchor="middle",
            ink="quiet",
        )
    )
    people = "1 submission" if len(points) == 1 else f"{len(points)} submissions"
    facts = (
        f"{people}, from {min(points):.4g} to {max(points):.4g} of {maximum:g} points; median {middle:.4g}, "
        f"mean {statistics.fmean(points):.4g}."
    )
    return figure(panel.left + panel.width + 20, base + 42, "Distribution of points", facts, *parts)


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
    base = panel.top + panel.height
    parts, facts = [], []
    for value in (0, 25, 50, 75, 100):
        parts.append(line(panel.x(value), panel.top, panel.x(value), base))
        parts.append(label(panel.x(value), base + 16, f"{value} %", size=SMALL, anchor="middle", ink="quiet"))
    for place, (name, values, maximum) in enumerate(kept):
        mean = f"mean {statistics.fmean(values):.3g} of {maximum:g}"
        y = panel.top + step * (place + 0.5)
        parts.append(label(left - 10, y + 4, fitting(name, left - 20), anchor="end"))
        parts += _spread_of(panel, y, [min(max(100 * v / maximum, 0.0), 100.0) for v in values])
        parts.append(label(panel.left + panel.width + 14, y + 4, mean, size=SMALL))
        facts.append(f"{name}: {mean}, range {values[0]:.4g} to {values[-1]:.4g}.")
    key = "dot: mean · box: the middle half · bar: median · line: lowest to highest"
    parts.append(label(panel.left + panel.width / 2, base + 36, key, size=SMALL, anchor="middle", ink="quiet"))
    title = "Points of each exercise, in percent of its maximum"
    return figure(panel.left + panel.width + 130, base + 46, title, " ".join(facts), *parts)


def _spread_of(panel: Panel, y: float, shares: Sequence[float]) -> list[Markup]:
    """Range, quartiles, median and mean on one line; the shares are sorted, in percent."""
    low, middle, high = statistics.quantiles(shares, n=4, method="inclusive") if len(shares) > 1 else [shares[0]] * 3
    x1, x2 = panel.x(low), panel.x(high)
    box: Attributes = {"x": x1, "y": y - 8, "width": max(x2 - x1, 1.0), "height": 16}
    return [
        line(panel.x(shares[0]), y, panel.x(shares[-1]), y, ink="quiet", width=1.5),
        *(line(panel.x(end), y - 4, panel.x(end), y + 4, ink="quiet", width=1.5) for end in (shares[0], shares[-1])),
        tag("rect", **box, rx=2, fill=colour("shade"), stroke=colour("quiet")),
        line(panel.x(middle), y - 8, panel.x(middle), y + 8, ink="ink", width=2),
        tag("circle", cx=panel.x(statistics.fmean(shares)), cy=y, r=4.5, fill=colour("orange"), stroke=colour("paper")),
    ]


# Accuracy against cost


def pareto_front(dots: Sequence[Dot], cost: Cost) -> list[Dot]:
    """The networks that no other beats: none is at least as accurate and at most as costly, and better in one of both.

    By rising cost. Of several with the same accuracy and the same cost all stay; those without a cost are left out.
    """
    front: list[Dot] = []
    for dot in sorted(filter(lambda d: _can_be_drawn(d, cost), dots), key=lambda d: (d.cost(cost), -d.accuracy)):
        best = front[-1] if front else None
        if best is None or dot.accuracy > best.accuracy or _values(dot, cost) == _values(best, cost):
            front.append(dot)
    return front


def _values(dot: Dot, cost: Cost) -> tuple[float, int]:
    return dot.accuracy, dot.cost(cost)


def _can_be_drawn(dot: Dot, cost: Cost) -> bool:
    return is_finite(dot.accuracy) and 0 <= dot.accuracy <= 1 and is_finite(dot.cost(cost)) and dot.cost(cost) > 0


def draw_accuracy_cost(dots: Sequence[Dot], cost: Cost, own: str = "") -> Markup:
    """Test accuracies against a cost on a logarithmic axis, with the Pareto front as steps.

    What lies on the front is filled, the dot with the label `own` is a diamond with its name. Dots without accuracy or
    cost are left out; nothing is drawn where none is left. With the keyboard one reaches the links of the front and the
    own one: behind hundreds of others nobody would reach the rest of the page.
    """
    shown = [dot for dot in dots if _can_be_drawn(dot, cost)]
    if not shown:
        return Markup("")
    front = pareto_front(shown, cost)
    logs = [math.log10(dot.cost(cost)) for dot in shown]
    lows, highs = min(dot.accuracy for dot in shown), max(dot.accuracy for dot in shown)
    room = max(0.08 * (highs - lows), 0.01)
    low, high = max(lows - room, 0.0), min(highs + room, 1.0)
    panel = Panel(64, 32, 540, 280, low, high, min(logs) - 0.12, max(logs) + 0.12)
    parts = [label(10, 18, "test accuracy", size=SMALL), *_cost_axes(panel, cost)]
    parts.append(_steps(panel, front, cost))
    on_front = set(front)
    others = [dot for dot in shown if not own or dot.label != own]
    mine = [dot for dot in shown if own and dot.label == own]
    parts += [_dot(panel, dot, cost, dot in on_front) for dot in sorted(others, key=lambda d: d in on_front)]
    parts += [_diamond(panel, dot, cost) for dot in mine]
    base = panel.top + panel.height
    key = "filled dots and steps: the Pareto front, where no network is as accurate for less"
    parts.append(label(panel.left, base + 54, key, size=SMALL, ink="quiet"))
    links = any(_link(dot) for dot in shown)
    title = f"Test accuracy against {COST_WORDS[cost]}"
    facts = _cost_facts(shown, front, mine, cost)
    return figure(panel.left + panel.width + 24, base + 64, title, facts, *parts, has_links=links)


def _cost_axes(panel: Panel, cost: Cost) -> list[Markup]:
    parts = []
    base = panel.top + panel.height
    for value in round_ticks(panel.low, panel.high):
        y = panel.y(value)
        parts.append(line(panel.left, y, panel.left + panel.width, y))
        parts.append(label(panel.left - 8, y + 4, f"{100 * value:.4g} %", size=SMALL, anchor="end", ink="quiet"))
    for value in _decades(panel.first, panel.last):
        x = panel.x(math.log10(value))
        parts.append(line(x, panel.top, x, base))
        parts.append(label(x, base + 16, short_number(value), size=SMALL, anchor="middle", ink="quiet"))
    axis = f"{COST_WORDS[cost]} (logarithmic)"
    return [*parts, label(panel.left + panel.width / 2, base + 34, axis, size=SMALL, anchor="middle")]


def _decades(first: float, last: float) -> list[float]:
    """Round values of a logarithmic axis: powers of ten, and 2 and 5 of them where the axis is short."""
    factors = (1, 2, 5) if last - first < 3 else (1,)
    every = max(1, round((last - first) / 8))
    powers = range(math.floor(first), math.ceil(last) + 1, every)
    return [f * 10.0**p for p in powers for f in factors if first <= p + math.log10(f) <= last]


def _steps(panel: Panel, front: Sequence[Dot], cost: Cost) -> Markup:
    path = ""
    for dot in front:
        x, y = panel.x(math.log10(dot.cost(cost))), panel.y(dot.accuracy)
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    path += f"H{panel.left + panel.width:.1f}"
    return tag("path", d=path, fill="none", stroke=colour("orange"), stroke_width=1.5, stroke_dasharray="6 3")


def _dot(panel: Panel, dot: Dot, cost: Cost, on_front: bool) -> Markup:
    place: Attributes = {"cx": panel.x(math.log10(dot.cost(cost))), "cy": panel.y(dot.accuracy), "r": 4.5}
    fill = colour("orange") if on_front else colour("paper")
    stroke: Attributes = {"fill": fill, "stroke": colour("orange" if on_front else "blue"), "stroke_width": 1.8}
    return _linked(dot, tag("circle", tag("title", _about(dot, cost)), **place, **stroke), cost, on_front)


def _diamond(panel: Panel, dot: Dot, cost: Cost) -> Markup:
    x, y = panel.x(math.log10(dot.cost(cost))), panel.y(dot.accuracy)
    shape: Attributes = {"d": f"M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8 -8z", "fill": colour("green"), "stroke": colour("ink")}
    is_right = x > panel.left + panel.width * 0.7
    side = -13 if is_right else 13
    text = label(x + side, y + 4, words(dot.label, 24), anchor="end" if is_right else "start", bold=True, halo=True)
    drawn = tag("g", tag("title", _about(dot, cost)), tag("path", **shape, stroke_width=1.2), text)
    return _linked(dot, drawn, cost, True)


def _link(dot: Dot) -> str:
    """The link where it leads to a page, else nothing."""
    return dot.link if LINK.fullmatch(dot.link) else ""


def _linked(dot: Dot, drawn: Markup, cost: Cost, by_keyboard: bool) -> Markup:
    if not _link(dot):
        return drawn
    return tag("a", drawn, href=_link(dot), aria_label=_about(dot, cost), tabindex=None if by_keyboard else "-1")


def _about(dot: Dot, cost: Cost) -> str:
    name = f"{words(dot.label, 40)}: " if dot.label else ""
    return f"{name}{percent(dot.accuracy)}, {dot.cost(cost):,} {COST_WORDS[cost]}"


def _cost_facts(shown: Sequence[Dot], front: Sequence[Dot], mine: Sequence[Dot], cost: Cost) -> str:
    best = max(shown, key=lambda dot: dot.accuracy)
    least = min(shown, key=lambda dot: dot.cost(cost))
    networks = "1 network" if len(shown) == 1 else f"{len(shown)} networks"
    parts = [f"{networks}, {len(front)} on the Pareto front."]
    parts += [f"Most accurate: {_about(best, cost)}.", f"Least costly: {_about(least, cost)}."]
    return " ".join([*parts, *(_about(dot, cost) + "." for dot in mine)])
