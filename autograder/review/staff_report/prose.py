"""Written answers as a page shows them: Markdown rendered and cleaned, formulas drawn, no link that can be followed.

Rendering takes a process with limits; a text that takes more than it may stays as its author typed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from autograder.core.limited import Bounds, TooMuch, WorkFailed, run_limited
from autograder.course.page_text import Draw, PageText, Room, render_safely

BOUNDS = Bounds(cpu_seconds=10, wall_seconds=60, answer_mib=16)  # for all texts of a page
MOST_TEXT = 50_000  # characters of one answer; of more, the page shows the text alone
STYLE = re.compile(r' style="[^"]*"')  # a page's policy allows its own style sheet only
NO_PICTURE = re.compile(r"<img(?![^>]*\ssrc=)[^>]*>")  # what is left of one from elsewhere
PLAIN = re.compile(r"[\w\s.,;:!?'’()\"%/-]*")  # no sign of Markdown, HTML or TeX: nothing to render


def render_prose(texts: Sequence[str]) -> list[Markup]:
    """Each text as HTML; an empty one where it has to be shown as it is."""
    marked = [text for text in texts if len(text) <= MOST_TEXT and not PLAIN.fullmatch(text)]
    if not marked:
        return [Markup() for _ in texts]
    if has_formulas(marked):
        _ = _drawing()  # here, so that forked processes find it loaded
    try:
        made: list[str] = run_limited(render_texts, {"texts": marked}, BOUNDS)
    except (TooMuch, WorkFailed):
        return [Markup() for _ in texts]
    found = dict(zip(marked, made, strict=True))
    return [Markup(found.get(text, "")) for text in texts]


def render_texts(told: Mapping[str, Any]) -> list[str]:
    """For `run_limited`: every text rendered, with room for one page's formulas."""
    draw = _drawing()(Room()) if has_formulas(told["texts"]) else _no_drawing
    renderers = [PageText(draw, attachments={}, exclude_anchor_links=True) for _ in told["texts"]]
    pages = [render_safely(text, renderer) for text, renderer in zip(told["texts"], renderers, strict=True)]
    return [NO_PICTURE.sub("", STYLE.sub("", page)) for page in pages]


def has_formulas(texts: Sequence[str]) -> bool:
    """Whether there may be TeX in one of them."""
    return any("$" in text or "\\" in text for text in texts)


def _no_drawing(tex: str, kind: str) -> str:
    return ""


def _drawing() -> Callable[[Room], Draw]:
    """What draws formulas; it loads matplotlib, which a report without any need not wait for."""
    from autograder.review.feedback.formulas import draw_in

    return draw_in
