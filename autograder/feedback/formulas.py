r"""Formulas as drawings, so that a page shows them without MathJax: matplotlib knows TeX's mathematics well enough.

What it does not know (environments, rare commands) stays in the page as it was written, between its dollar signs.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any

from jinja2 import pass_context
from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from autograder.markup import OwnPictures, attachments_in, render_safely

INLINE_PIXELS, BLOCK_PIXELS = 16, 21  # of a letter: a page's text has 14; fractions are set small
MOST_FORMULA = 400  # characters
MOST_FORMULAS = 100  # in one cell: a hundredth of a second each
MARK = re.compile("\ue000(\\d{1,4})\ue001")  # stands for a drawing while the page is cleaned
COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib.path.Path's codes, in SVG


class TypesetFormulas(OwnPictures):
    """Renders Markdown with a mark for each formula that could be drawn."""

    drawings: list[Markup]

    def inline_math(self, body: str) -> str:
        return self._mark(body, INLINE_PIXELS) or str(super().inline_math(body))

    def block_math(self, body: str) -> str:
        return self._mark(body, BLOCK_PIXELS) or str(super().block_math(body))

    def _mark(self, body: str, pixels: int) -> str:
        drawing = draw_formula(body.strip(), pixels) if len(self.drawings) < MOST_FORMULAS else Markup()
        if not drawing:
            return ""
        self.drawings.append(drawing)
        return f"\ue000{len(self.drawings) - 1}\ue001"


@pass_context
def typeset_markdown(context: Any, source: str) -> str:
    """HTML of a Markdown text as `markup.safe_markdown` makes it, with its formulas drawn."""
    renderer = TypesetFormulas(escape=False, attachments=attachments_in(context))
    renderer.drawings = []
    page = render_safely(source.replace("\ue000", "").replace("\ue001", ""), renderer)
    return MARK.sub(lambda match: renderer.drawings[int(match[1])], page)


@lru_cache(maxsize=1000)
def draw_formula(tex: str, pixels: int = INLINE_PIXELS) -> Markup:
    """An SVG element in the text's colour, on its base line; nothing where the formula cannot be drawn."""
    if not tex or len(tex) > MOST_FORMULA or "$" in tex:
        return Markup()
    try:
        path = TextPath((0, 0), f"${tex}$", size=pixels, prop=FontProperties(family="serif", math_fontfamily="cm"))
        (left, bottom), (right, top) = path.get_extents(None).get_points()
    except (ValueError, RecursionError):
        return Markup()
    if not (right > left and top > bottom):
        return Markup()
    steps = []
    for points, code in path.iter_segments(curves=True, simplify=False):
        numbers = [f"{value:.2f}" if n % 2 == 0 else f"{-value:.2f}" for n, value in enumerate(points)]
        steps.append(COMMANDS[int(code)] + ("" if code == 79 else " ".join(numbers)))
    return Markup(
        f'<svg class="fb-formula" role="img" aria-label="{html.escape(tex)}" width="{right - left + 2:.1f}" '
        f'height="{top - bottom + 2:.1f}" viewBox="{left - 1:.2f} {-top - 1:.2f} {right - left + 2:.2f} '
        f'{top - bottom + 2:.2f}" style="vertical-align: {bottom - 1:.1f}px"><path d="{"".join(steps)}"/></svg>'
    )
