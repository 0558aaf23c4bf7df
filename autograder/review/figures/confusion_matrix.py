"""Confusion matrix: which classes are taken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autograder.core.grade_report import Evaluation
from autograder.review.figures.svg import (
    CHARACTER,
    SMALL,
    Attributes,
    TextStyle,
    colour,
    figure,
    is_finite,
    label,
    percent,
    short_number,
    tag,
    words,
)

MOST_CLASSES = 30
NAME_LENGTH = 14  # of a class, in characters
CELL, TOP = 44, 96  # pixels: a side of a cell, and where the first row begins


@dataclass(frozen=True)
class ConfusionGrid:
    """The counts, the names of the classes, and where the columns begin, in pixels."""

    counts: Sequence[Sequence[int]]
    names: Sequence[str]
    left: float

    def x(self, column: float) -> float:
        """The left edge of a column."""
        return self.left + CELL * column

    def y(self, row: float) -> float:
        """The upper edge of a row."""
        return TOP + CELL * row


def draw_confusion(evaluation: Evaluation) -> Markup:
    """Counts, a row for each true class and a column for each predicted one; the shade is the share of the row.

    Nothing where the counts are not a square of numbers from 0 for at most MOST_CLASSES classes, or are none at all.
    """
    counts, size = evaluation.confusion, len(evaluation.confusion)
    fits = 0 < size <= MOST_CLASSES and all(len(row) == size for row in counts)
    if not fits or not all(is_finite(n) and n >= 0 for row in counts for n in row) or not any(map(sum, counts)):
        return Markup("")
    names = [words(evaluation.classes[k], NAME_LENGTH) if k < len(evaluation.classes) else str(k) for k in range(size)]
    grid = ConfusionGrid(counts, names, left=20 + max(map(len, names)) * SMALL * CHARACTER + 24)
    parts = [*_headings(grid), *(part for row in range(size) for part in _grid_row(grid, row))]
    parts += _shade_key(grid.left, grid.y(size) + 12)
    title = f"Confusion matrix of {words(evaluation.notebook, 60)}"
    return figure(grid.x(size) + 60, grid.y(size) + 42, title, _confusion_facts(evaluation, names), *parts)


def _headings(grid: ConfusionGrid) -> list[Markup]:
    middle, quiet = len(grid.names) / 2, TextStyle(SMALL, "middle", "quiet")
    return [
        label(grid.x(middle), 14, "predicted class", quiet),
        tag("g", label(0, 0, "true class", quiet), transform=f"translate(14 {grid.y(middle):g}) rotate(-90)"),
        label(grid.x(len(grid.names)) + 10, TOP - 10, "right", TextStyle(SMALL, ink="quiet")),
    ]


def _grid_row(grid: ConfusionGrid, row: int) -> list[Markup]:
    """A true class: its name above its column and before its row, its counts, and the share that was right."""
    name, counts, total = grid.names[row], grid.counts[row], sum(grid.counts[row])
    turned = f"translate({grid.x(row) + CELL / 2 + 4:g} {TOP - 8}) rotate(-45)"
    right = f"{100 * counts[row] / total:.0f} %" if total else "–"
    baseline = grid.y(row) + CELL / 2 + 4
    return [
        tag("g", label(0, 0, name, TextStyle(SMALL)), transform=turned),
        label(grid.left - 8, baseline, name, TextStyle(SMALL, "end")),
        label(grid.x(len(counts)) + 10, baseline, right, TextStyle(SMALL)),
        *(_grid_cell(grid, row, column) for column in range(len(counts))),
    ]


def _grid_cell(grid: ConfusionGrid, row: int, column: int) -> Markup:
    x, y, count, total = grid.x(column), grid.y(row), grid.counts[row][column], sum(grid.counts[row])
    share = count / total if total else 0.0
    is_right = row == column
    said = f"{grid.names[row]} recognised" if is_right else f"{grid.names[row]} taken for {grid.names[column]}"
    fill: Attributes = {"fill": colour("shade"), "fill_opacity": _opacity(share)}
    edge: Attributes = {"stroke": colour("ink" if is_right else "line"), "stroke_width": 1}
    number = short_number(count) if count > 99999 else f"{count:g}"
    return tag(
        "g",
        tag("title", f"{said}: {count} ({percent(share)})"),
        tag("rect", x=x, y=y, width=CELL, height=CELL, **fill, **edge),
        label(x + CELL / 2, y + CELL / 2 + 4, number, TextStyle(SMALL, "middle", "ink" if count else "quiet")),
    )


def _opacity(share: float) -> float:
    """By the square root, so that a confusion of one in twenty can be seen at all."""
    return round(math.sqrt(share), 2)


def _shade_key(left: float, top: float) -> list[Markup]:
    parts = [label(left, top + 14, "share of the row:", TextStyle(SMALL, ink="quiet"))]
    for place, share in enumerate((0.01, 0.05, 0.25, 1.0)):
        x = left + 110 + 62 * place
        fill: Attributes = {"fill": colour("shade"), "fill_opacity": _opacity(share), "stroke": colour("line")}
        parts += [tag("rect", x=x, y=top + 3, width=14, height=14, **fill)]
        parts += [label(x + 19, top + 14, f"{100 * share:.0f} %", TextStyle(SMALL, ink="quiet"))]
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
