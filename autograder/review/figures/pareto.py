"""Test accuracy against cost, with the Pareto front: the networks that no other beats."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from autograder.review.figures.panel import Panel
from autograder.review.figures.svg import (
    SMALL,
    Attributes,
    Stroke,
    TextStyle,
    colour,
    figure,
    is_finite,
    label,
    line,
    percent,
    round_ticks,
    short_number,
    tag,
    words,
)

Cost = Literal["parameters", "MACs"]
COST_WORDS = {"parameters": "parameters", "MACs": "multiply-accumulates for one image"}
# A page of the report, or another's: no scheme but http, whatever a browser would read into the text.
LINK = re.compile(r"(?:https?://(?=\w))?(?!//)[^\s:<>\"'\\\x00-\x1f]+(?::\d+/[^\s:<>\"'\\\x00-\x1f]*)?")


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
    parts = [label(10, 18, "test accuracy", TextStyle(SMALL)), *_cost_axes(panel, cost)]
    parts.append(_steps(panel, front, cost))
    on_front = set(front)
    others = [dot for dot in shown if not own or dot.label != own]
    mine = [dot for dot in shown if own and dot.label == own]
    parts += [_dot(panel, dot, cost, dot in on_front) for dot in sorted(others, key=lambda d: d in on_front)]
    parts += [_diamond(panel, dot, cost) for dot in mine]
    base = panel.base
    key = "filled dots and steps: the Pareto front, where no network is as accurate for less"
    parts.append(label(panel.left, base + 54, key, TextStyle(SMALL, ink="quiet")))
    links = any(_link(dot) for dot in shown)
    title = f"Test accuracy against {COST_WORDS[cost]}"
    facts = _cost_facts(shown, front, mine, cost)
    return figure(panel.right + 24, base + 64, title, facts, *parts, has_links=links)


def _cost_axes(panel: Panel, cost: Cost) -> list[Markup]:
    parts = []
    base = panel.base
    for value in round_ticks(panel.low, panel.high):
        y = panel.y(value)
        parts.append(line(panel.left, y, panel.right, y))
        parts.append(label(panel.left - 8, y + 4, f"{100 * value:.4g} %", TextStyle(SMALL, "end", "quiet")))
    for value in _decades(panel.first, panel.last):
        x = panel.x(math.log10(value))
        parts.append(line(x, panel.top, x, base))
        parts.append(label(x, base + 16, short_number(value), TextStyle(SMALL, "middle", "quiet")))
    axis = f"{COST_WORDS[cost]} (logarithmic)"
    return [*parts, label(panel.middle, base + 34, axis, TextStyle(SMALL, "middle"))]


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
    path += f"H{panel.right:.1f}"
    return tag("path", d=path, fill="none", **Stroke("orange", 1.5, "6 3").attributes)


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
    style = TextStyle(anchor="end" if is_right else "start", bold=True, halo=True)
    text = label(x + side, y + 4, words(dot.label, 24), style)
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
