r"""Formulas as drawings, so that a page shows them without MathJax: matplotlib knows TeX's mathematics well enough.

What it does not know (environments, rare commands), and whatever it stumbles over, stays in the page as it was written,
between its dollar signs.
"""

from __future__ import annotations

import html
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from jinja2 import pass_context
from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from autograder.course.links import Keep
from autograder.course.markup import attachments_in, keep_in
from autograder.course.page_text import MOST_FORMULA, Draw, PageText, Room, render_safely, room_of

PIXELS = {"inline": 16, "block": 21}  # of a letter: a page's text has 14; fractions are set small
MOST_PIXELS = 4000  # of a drawing's width and height
COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib.path.Path's codes, in SVG
COMPLAINTS = logging.getLogger("matplotlib.mathtext")  # says there which letters its fonts lack


@pass_context
def typeset_markdown(context: Any, source: str) -> str:
    """HTML of a Markdown text, cleaned, with its formulas drawn. A link of a student's stays where it leads to a public
    site."""
    keep = keep_in(context, source)
    pictures, draw = attachments_in(context), draw_in(room_of(context))
    renderer = PageText(draw, attachments=pictures, exclude_anchor_links=keep is not Keep.COURSE)
    return render_safely(source, renderer, keep)


def draw_in(room: Room) -> Draw:
    """Draws as many formulas as a page has room for."""

    def draw(tex: str, kind: str) -> str:
        if kind not in PIXELS or not room.has_room(tex):
            return ""
        drawing = draw_formula(tex, PIXELS[kind])
        room.drawing -= len(drawing)
        return drawing

    return draw


@lru_cache(maxsize=200)
def draw_formula(tex: str, pixels: int = PIXELS["inline"]) -> Markup:
    """An SVG element in the text's colour, on its base line; nothing where the formula cannot be drawn."""
    if not tex or len(tex) > MOST_FORMULA or "$" in tex:
        return Markup()
    try:
        with _complaints_as_errors():
            path = TextPath((0, 0), f"${tex}$", size=pixels, prop=FontProperties(family="serif", math_fontfamily="cm"))
            (left, bottom), (right, top) = path.get_extents(None).get_points()
    # Of any kind: matplotlib raises ValueError for TeX that it does not know, AttributeError for `\quad` alone,
    # RecursionError for what is nested deep, and warnings that somebody may have turned into errors.
    except Exception:
        return Markup()
    width, height = right - left, top - bottom
    if not all(map(math.isfinite, (left, right, bottom, top))) or not (0 < width <= MOST_PIXELS > height > 0):
        return Markup()
    return Markup(
        f'<svg class="fb-formula" role="img" aria-label="{html.escape(tex)}" width="{width + 2:.1f}" '
        f'height="{height + 2:.1f}" viewBox="{left - 1:.2f} {-top - 1:.2f} {width + 2:.2f} {height + 2:.2f}" '
        f'style="vertical-align: {bottom - 1:.1f}px"><path d="{_as_svg(path)}"/></svg>'
    )


def _as_svg(path: Any) -> str:
    """A path of matplotlib's, upside down as SVG counts."""
    steps = []
    for points, code in path.iter_segments(curves=True, simplify=False):
        numbers = [f"{value:.2f}" if n % 2 == 0 else f"{-value:.2f}" for n, value in enumerate(points)]
        steps.append(COMMANDS[int(code)] + ("" if code == 79 else " ".join(numbers)))
    return "".join(steps)


class _Complaint(Exception):
    """A letter that matplotlib's fonts do not have: it would draw a box in its place."""


@contextmanager
def _complaints_as_errors() -> Iterator[None]:
    """What matplotlib remarks on a formula ends its drawing, and reaches no terminal: it repeats what a student wrote.

    Its warnings are about itself, and end nothing.
    """

    def complain(record: logging.LogRecord) -> bool:
        raise _Complaint(record.getMessage())

    COMPLAINTS.addFilter(complain)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        COMPLAINTS.removeFilter(complain)
