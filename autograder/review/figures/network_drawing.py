"""Draw a network: boxes from top to bottom in the order of the computation, branches beside, what skips as curves.

The longest way through the network is the trunk, one box in each row; what is not on it stands in columns to its right,
as far up as it can. An edge of the trunk that skips rows runs at the left in a lane of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autograder.core.grade_report import Layer, Model
from autograder.review.figures.svg import (
    SMALL,
    Attributes,
    TextStyle,
    colour,
    figure,
    fitting,
    label,
    short_number,
    tag,
    words,
)

BOX_WIDTH, BOX_HEIGHT, ROW = 280, 26, 38
COLUMN = BOX_WIDTH + 24
LANE = 13
MARGIN, HEADING = 10, 34
CIRCLE = 10  # radius of an addition
MOST_COLUMNS = 6  # beyond it, all boxes stand in one column
MOST_LANES = 24  # beyond it, edges share the last
MOST_SKIPS = 800  # beyond it, the longest are not drawn
MOST_STEPS_IN_WORDS = 40
COLOURS = {
    "convolution": "blue",
    "linear": "orange",
    "norm": "quiet",
    "activation": "green",
    "pool": "purple",
    "dropout": "yellow",
    "input": "ink",
    "output": "ink",
    "add": "ink",
    "concat": "ink",
}
Edge = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """Where boxes stand, by their index: row and column (the trunk is column 0); and the lane of each skipping edge."""

    rows: Sequence[int]
    columns: Sequence[int]
    edges: Sequence[Edge]
    lanes: Mapping[Edge, int]
    left: float  # where the trunk's boxes begin, in pixels
    hidden: int = 0  # edges that are too many to draw

    def x(self, index: int) -> float:
        """The middle of a box."""
        return self.left + COLUMN * self.columns[index] + BOX_WIDTH / 2

    def y(self, index: int) -> float:
        """The middle of a box."""
        return HEADING + ROW * self.rows[index] + BOX_HEIGHT / 2


def draw_model(model: Model) -> Markup:
    """The network with its size and cost; nothing where it has no layers. An edge to no earlier box is left out."""
    if not model.layers:
        return Markup("")
    inputs = [
        sorted({i for i in layer.inputs if isinstance(i, int) and 0 <= i < index})
        for index, layer in enumerate(model.layers)
    ]
    layout = lay_out(inputs)
    width = max(layout.left + COLUMN * max(layout.columns) + BOX_WIDTH + MARGIN, 420)
    height = HEADING + ROW * max(layout.rows) + BOX_HEIGHT + MARGIN
    name = words(model.name, 60)
    costs = f"{model.parameters:,} parameters, {short_number(model.macs)} MACs"
    heading = [label(MARGIN, 18, fitting(name, 180, 13), TextStyle(13, bold=True))]
    heading += [label(width - MARGIN, 18, costs, TextStyle(SMALL, "end", "quiet"))]
    boxes = [_box(layout, index, layer) for index, layer in enumerate(model.layers)]
    return figure(width, height, f"Drawing of {name}", _facts(model, layout), *heading, _edges(layout, model), *boxes)


def lay_out(inputs: Sequence[Sequence[int]]) -> Layout:
    """Rows by the longest way from an input, the trunk and its branches in columns, lanes for what skips rows."""
    rows: list[int] = []
    for sources in inputs:
        rows.append(max((rows[i] + 1 for i in sources), default=0))
    columns = _columns(inputs, rows)
    if max(columns) >= MOST_COLUMNS:
        rows, columns = list(range(len(inputs))), [0] * len(inputs)
    edges = [(source, target) for target, sources in enumerate(inputs) for source in sources]
    skips = [e for e in edges if columns[e[0]] == columns[e[1]] == 0 and rows[e[1]] - rows[e[0]] > 1]
    drawn = sorted(skips, key=lambda e: (rows[e[1]] - rows[e[0]], e))[:MOST_SKIPS]
    lanes = _lanes(drawn, rows)
    hidden = set(skips) - set(drawn)
    left = MARGIN + (LANE * (max(lanes.values()) + 2) if lanes else 0)
    return Layout(rows, columns, [e for e in edges if e not in hidden], lanes, left, len(hidden))


def _columns(inputs: Sequence[Sequence[int]], rows: Sequence[int]) -> list[int]:
    """0 for the trunk; a branch takes the first column that is free from where its input leaves to where it arrives.

    No more than MOST_COLUMNS are looked at: a box that finds none gets that number.
    """
    last = max(range(len(rows)), key=rows.__getitem__)
    trunk = {last}
    while inputs[last]:
        last = max(inputs[last], key=rows.__getitem__)
        trunk.add(last)
    arrivals = list(rows)
    for target, sources in enumerate(inputs):
        for source in sources:
            arrivals[source] = max(arrivals[source], rows[target] - 1)
    columns = [0] * len(rows)
    taken: list[set[int]] = [set() for _ in range(MOST_COLUMNS)]
    for index, sources in enumerate(inputs):
        if index in trunk:
            continue
        first = min((rows[i] + 1 for i in sources if i in trunk), default=rows[index])
        needed = range(min(first, rows[index]), max(arrivals[index], rows[index]) + 1)
        wanted = [columns[i] for i in sources if 0 < columns[i] < MOST_COLUMNS]
        choices = (c for c in [*wanted, *range(1, MOST_COLUMNS)] if taken[c].isdisjoint(needed))
        columns[index] = next(choices, MOST_COLUMNS)
        if columns[index] < MOST_COLUMNS:
            taken[columns[index]].update(needed)
    return columns


def _lanes(skips: Sequence[Edge], rows: Sequence[int]) -> dict[Edge, int]:
    """For each edge the nearest lane that is free between its rows; given short ones first, long ones run outside."""
    lanes: dict[Edge, int] = {}
    taken = [0] * MOST_LANES  # rows as bits
    for source, target in skips:
        # Not the row where it arrives: another edge may leave from there.
        needed = (1 << rows[target]) - (1 << rows[source])
        lane = next((k for k, used in enumerate(taken) if not used & needed), MOST_LANES - 1)
        taken[lane] |= needed
        lanes[source, target] = lane
    return lanes


def _edges(layout: Layout, model: Model) -> Markup:
    """All edges in two paths, and all arrow heads in one: it draws fast, and boxes cover what runs behind them."""
    plain, skipping, heads = [], [], []
    for edge in layout.edges:
        source, target = edge
        x1, y1, x2, y2 = layout.x(source), layout.y(source), layout.x(target), layout.y(target)
        if edge in layout.lanes:
            start, end = (x - _half_width(model.layers[i]) for x, i in ((x1, source), (x2, target)))
            lane, leave, arrive = layout.left - LANE * (layout.lanes[edge] + 1), y1 + 4, y2 - 4
            bend = min(10.0, (arrive - leave) / 2)
            skipping.append(
                f"M{start:g} {leave:g}H{lane + bend:g}Q{lane:g} {leave:g} {lane:g} {leave + bend:g}"
                f"V{arrive - bend:g}Q{lane:g} {arrive:g} {lane + bend:g} {arrive:g}H{end - 5:g}"
            )
            heads.append(f"M{end:g} {arrive:g}l-6 -3.5v7z")
            continue
        y1, y2 = y1 + _half_height(model.layers[source]), y2 - _half_height(model.layers[target])
        plain.append(f"M{x1:g} {y1:g}" + _way(x1, y1, x2, y2, layout.columns[source] > 0))
        heads.append(f"M{x2:g} {y2:g}l-3.5 -6h7z")
    stroke: Attributes = {"fill": "none", "stroke_width": 1.5}
    return Markup("").join(
        [
            tag("path", d="".join(plain), stroke=colour("quiet"), **stroke) if plain else Markup(""),
            tag("path", d="".join(skipping), stroke=colour("orange"), **stroke) if skipping else Markup(""),
            tag("path", d="".join(heads), fill=colour("quiet")) if heads else Markup(""),
        ]
    )


def _way(x1: float, y1: float, x2: float, y2: float, from_branch: bool) -> str:
    """From the bottom of a box to the top of a lower one; the long part runs in the branch's own column."""
    y2 -= 4
    if x1 == x2:
        return f"V{y2:g}"
    gap = ROW - BOX_HEIGHT
    if from_branch:
        turn = max(y2 - gap, y1)
        return f"V{turn:g}C{x1:g} {y2:g} {x2:g} {turn:g} {x2:g} {y2:g}"
    turn = min(y1 + gap, y2)
    return f"C{x1:g} {turn:g} {x2:g} {y1:g} {x2:g} {turn:g}V{y2:g}"


def _half_width(layer: Layer) -> float:
    return CIRCLE if layer.kind == "add" else BOX_WIDTH / 2


def _half_height(layer: Layer) -> float:
    return CIRCLE if layer.kind == "add" else BOX_HEIGHT / 2


def _box(layout: Layout, index: int, layer: Layer) -> Markup:
    x, y = layout.x(index), layout.y(index)
    shape = fitting(_shape(layer), 100, SMALL)
    if layer.kind == "add":
        shapes = [
            tag("circle", cx=x, cy=y, r=CIRCLE, fill=colour("paper"), stroke=colour("ink")),
            tag("path", d=f"M{x - 5:g} {y:g}h10M{x:g} {y - 5:g}v10", stroke=colour("ink"), stroke_width=1.5),
            label(x + CIRCLE + 8, y + 4, shape, TextStyle(SMALL, ink="quiet")),
        ]
        return tag("g", tag("title", _about(layer, "Addition")), *shapes)
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    edge: Attributes = {
        "width": BOX_WIDTH,
        "height": BOX_HEIGHT,
        "rx": BOX_HEIGHT / 2 if layer.kind in ("input", "output") else 4,
    }
    room = BOX_WIDTH - 30 - len(shape) * SMALL * 0.6
    shapes = [tag("rect", x=left, y=top, **edge, fill=colour("paper"), stroke=colour("line"))]
    if layer.kind not in ("input", "output"):
        ink = colour(COLOURS.get(layer.kind, "line"))
        shapes.append(tag("rect", x=left + 3, y=top + 3, width=5, height=BOX_HEIGHT - 6, rx=2, fill=ink))
    shapes.append(label(left + 14, y + 4, fitting(layer.text, room)))
    if shape:
        shapes.append(label(left + BOX_WIDTH - 10, y + 4, shape, TextStyle(SMALL, "end", "quiet")))
    return tag("g", tag("title", _about(layer, words(layer.text, 100))), *shapes)


def _shape(layer: Layer) -> str:
    return "×".join(str(size) for size in layer.shape)


def _about(layer: Layer, text: str) -> str:
    """What a pointer over a box shows."""
    known = [text]
    known += [f"gives {words(_shape(layer), 60)}"] if layer.shape else []
    known += [f"{layer.parameters:,} parameters"] if layer.parameters else []
    known += [f"line {layer.line}"] if layer.line > 0 else []
    return ", ".join(known)


def _facts(model: Model, layout: Layout) -> str:
    """The drawing in words."""
    count = len(model.layers) + model.shortened
    skips = len(layout.lanes) + layout.hidden
    parts = [f"{count:,} steps, {model.parameters:,} parameters, {model.macs:,} multiply-accumulates for one image."]
    parts += [f"{model.shortened:,} steps in the middle are not shown."] if model.shortened > 0 else []
    parts += [f"{skips} {'connection skips' if skips == 1 else 'connections skip'} steps."] if skips else []
    parts += [f"{layout.hidden:,} connections that skip many steps are not drawn."] if layout.hidden else []
    shown = [words(layer.text, 60) for layer in model.layers[:MOST_STEPS_IN_WORDS]]
    more = f", and {len(model.layers) - len(shown)} more" if len(model.layers) > len(shown) else ""
    return " ".join([*parts, f"From top to bottom: {'; '.join(shown)}{more}."])
