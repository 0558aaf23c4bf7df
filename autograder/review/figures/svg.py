"""The parts that every figure is made of: elements, colours, numbers and words, one frame with the facts in words.

A figure is SVG inside a page and needs nothing beside it: no style element, no style attribute (a page's strict policy
allows neither), colours as `var(--figure-…, #default)`, so that it follows a page's dark mode and stands alone without.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from autograder.core.text import clean_text

# The page's variable, its value in a light page and in a dark one: greys, and the colours of Okabe and Ito, which
# colour-blind readers can tell apart (in the dark lighter where they need it to stand out).
PALETTE = {
    "ink": ("ink", "#1b1f24", "#e6e8eb"),
    "quiet": ("quiet", "#57606a", "#a3abb5"),
    "line": ("line", "#c9ced4", "#474e57"),
    "paper": ("paper", "#ffffff", "#1d2126"),
    "blue": ("1", "#0072b2", "#56b4e9"),
    "orange": ("2", "#d55e00", "#e69f00"),
    "green": ("3", "#009e73", "#2fbf95"),
    "purple": ("4", "#cc79a7", "#dd9ec0"),
    "yellow": ("5", "#e69f00", "#f0e442"),
    "shade": ("6", "#56b4e9", "#0b5c8c"),  # lies below text in ink, from none to full
}
FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
TEXT, SMALL = 12, 11  # pixels
Attributes = dict[str, str | float | None]
CHARACTER = 0.56  # of the font's size: a usual character's width in a sans-serif font


def colour(name: str) -> str:
    """A colour of the palette as an attribute's value."""
    variable, light, _ = PALETTE[name]
    return f"var(--figure-{variable}, {light})"


def page_variables(*, dark: bool = False) -> str:
    """The palette as declarations for a page's `:root`, light or dark."""
    return " ".join(f"--figure-{name}: {shades[dark]};" for name, *shades in PALETTE.values())


def tag(name: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """An element; text and values are escaped, `stroke_width` is written `stroke-width`, None is left out."""
    given = "".join(
        f' {key.replace("_", "-")}="{escape(value if isinstance(value, str) else coordinate(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(map(escape, children))
    return Markup(f"<{name}{given}>{inner}</{name}>" if inner else f"<{name}{given}/>")


def coordinate(value: float) -> str:
    """A coordinate: two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class TextStyle:
    """How a label looks; `anchor` is start, middle or end, a `halo` sets it off what is behind it."""

    size: int = TEXT
    anchor: str = "start"
    ink: str = "ink"
    bold: bool = False
    halo: bool = False


@dataclass(frozen=True)
class Stroke:
    """How a line looks; `dashes` are the lengths of a dash and of the gap after it, nothing for a solid line."""

    ink: str = "line"
    width: float = 1
    dashes: str = ""

    @property
    def attributes(self) -> Attributes:
        return {
            "stroke": colour(self.ink),
            "stroke_width": self.width,
            "stroke_dasharray": self.dashes or None,
        }


PLAIN, HAIRLINE = TextStyle(), Stroke()


def label(x: float, y: float, text: str, style: TextStyle = PLAIN) -> Markup:
    """A line of text with its baseline at `y`."""
    looks: Attributes = {"font_weight": "600" if style.bold else None}
    if style.halo:
        looks |= {"stroke": colour("paper"), "stroke_width": 3, "stroke_linejoin": "round", "paint_order": "stroke"}
    place: Attributes = {"x": x, "y": y, "font_size": style.size, "text_anchor": style.anchor}
    return tag("text", text, **place, fill=colour(style.ink), **looks)


def line(x1: float, y1: float, x2: float, y2: float, stroke: Stroke = HAIRLINE) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **stroke.attributes)


def figure(width: float, height: float, title: str, facts: str, *parts: Markup, has_links: bool = False) -> Markup:
    """The frame: the facts in words for who cannot see it. Its ids come from what it shows, so that pages repeat.

    A figure with links is a group: what stands in an image is hidden from a screen reader.
    """
    content = Markup("").join(parts)
    key = hashlib.sha256(f"{title}\n{facts}\n{content}".encode("utf-8", "replace")).hexdigest()[:12]
    return tag(
        "svg",
        tag("title", title, id=f"figure-{key}-title"),
        tag("desc", facts, id=f"figure-{key}-facts"),
        content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        role="group" if has_links else "img",
        aria_labelledby=f"figure-{key}-title",
        aria_describedby=f"figure-{key}-facts",
        font_family=FONT,
        font_size=TEXT,
    )


def words(text: str, most: int) -> str:
    """A student's text on one line of at most `most` characters, without signs that steer what shows it."""
    plain = " ".join(clean_text(text).split())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def fitting(text: str, width: float, size: int = TEXT) -> str:
    """The text, shortened to about `width` pixels."""
    return words(text, max(2, int(width / (size * CHARACTER))))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def short_number(value: float) -> str:
    """A count for an axis or a heading, in three digits: 950, 1.2 k, 15 M."""
    value = float(f"{value:.3g}")  # first of all: 999,999 is 1 M
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def is_finite(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e15 and math.isfinite(value)


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` to `high`: about `most` of them, both ends covered or nearly so."""
    if not high - low > 1e-12 * max(abs(low), abs(high), 1e-280):  # a step would be lost in rounding
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [step * k for k in range(first, last + 1)]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places, moved apart to at least `gap`, in their order and as near as a single pass gets."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, after in itertools.pairwise(order):
        short = gap - (moved[after] - moved[before])
        if short > 0:
            moved[before] -= short / 2
            moved[after] += short / 2
    return moved
