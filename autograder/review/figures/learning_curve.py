"""Learning curve: loss and accuracy by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from autograder.core.grade_report import Curve
from autograder.review.figures.panel import Panel
from autograder.review.figures.svg import (
    SMALL,
    Stroke,
    TextStyle,
    colour,
    figure,
    is_finite,
    label,
    line,
    percent,
    round_ticks,
    spread,
    tag,
    words,
)


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
    parts = [label(left + 10, 18, title, TextStyle(13, bold=True))]
    for value in ticks:
        y = panel.y(value)
        parts.append(line(panel.left, y, panel.right, y))
        text = f"{100 * value:.4g} %" if in_percent else f"{value:.4g}"
        parts.append(label(panel.left - 6, y + 4, text, TextStyle(SMALL, "end", "quiet")))
    for epoch in sorted({int(t) for t in round_ticks(1, epochs) if t >= 1 and t == int(t)} | {1, epochs}):
        if epoch in (1, epochs) or panel.x(epochs) - panel.x(epoch) > 22:
            text = str(epoch)
            parts.append(label(panel.x(epoch), panel.base + 16, text, TextStyle(SMALL, "middle")))
    parts.append(label(panel.middle, panel.base + 33, "epoch", TextStyle(SMALL, "middle", "quiet")))
    training, validating = Stroke("blue", 2), Stroke("orange", 2, "6 3")
    shown = [("training", train, training), ("validation", validation, validating)]
    shown = [series for series in shown if any(map(is_finite, series[1]))]
    ends = spread([panel.y([v for v in series[1] if is_finite(v)][-1]) for series in shown], 14)
    for (name, series, stroke), end in zip(shown, ends, strict=True):
        parts += _series(panel, series, stroke)
        parts.append(label(panel.right + 8, end + 4, name, TextStyle(SMALL)))
    return Markup("").join(parts)


def _series(panel: Panel, values: Sequence[float], stroke: Stroke) -> list[Markup]:
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
            dots.append(tag("circle", cx=x, cy=y, r=3, fill=colour(stroke.ink)))
        pen = "L"
    return [tag("path", d="".join(path), fill="none", **stroke.attributes), *dots]


def _curve_facts(title: str, train: Sequence[float], validation: Sequence[float], in_percent: bool) -> str:
    parts = []
    for name, series in (("training", train), ("validation", validation)):
        found = [v for v in series if is_finite(v)]
        if found:
            first, last = ((percent(v) if in_percent else f"{v:.3g}") for v in (found[0], found[-1]))
            epochs = "1 epoch" if len(series) == 1 else f"{len(series)} epochs"
            parts.append(f"{name} from {first} to {last} in {epochs}")
    return f"{title}: {'; '.join(parts)}."
