"""What students wrote in words, for pages with a strict policy: Markdown rendered and cleaned, formulas drawn, no link
of theirs alive, and nothing with a style of its own, which the policy would refuse.

Rendering takes a process with limits; a text that takes more than it may stays as its author typed it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from autograder.core.limited import Bounds, TooMuch, WorkFailed, run_limited
from autograder.course.links import Keep
from autograder.course.page_text import Draw, PageText, Room, render_safely

BOUNDS = Bounds(cpu_seconds=10, wall_seconds=60, answer_mib=16)  # for all texts of a page
MOST_TEXT = 50_000  # characters of one answer; of more, the page shows the text alone
MOST_SHIFT = 60  # pixels that a formula reaches below its line
SHIFT = re.compile(r'style="vertical-align: (-?\d+(?:\.\d+)?)px"')  # which `draw_formula` gives its drawings
NO_PICTURE = re.compile(r"<img(?![^>]*\ssrc=)[^>]*>")  # what is left of one from elsewhere
PLAIN = re.compile(r"[\w\s.,;:!?'’()\"%/-]*")  # no sign of Markdown, HTML or TeX: nothing to render
TEX = re.compile(r"[$\\]")


def render_prose(texts: Sequence[str]) -> list[Markup]:
    """Each text of a page as HTML; an empty one where it has to be shown as it is."""
    marked = [text for text in texts if len(text) <= MOST_TEXT and not PLAIN.fullmatch(text)]
    if not marked:
        return [Markup() for _ in texts]
    if any(TEX.search(text) for text in marked):
        draw_late(Room())("x", "inline")  # here, so that forked processes find matplotlib and its fonts loaded
    try:
        made: list[str] = run_limited(render_all, marked, BOUNDS)
    except (TooMuch, WorkFailed):
        return [Markup() for _ in texts]
    found = dict(zip(marked, made, strict=True))
    return [Markup(found.get(text, "")) for text in texts]


def render_all(texts: Sequence[str]) -> list[str]:
    """For `run_limited`: every text rendered, with room for one page's formulas."""
    room = Room()
    return [render_markdown(text, room) for text in texts]


def render_markdown(text: str, room: Room, keep: Keep = Keep.NONE) -> str:
    """HTML of a text; formulas as far as there is room for them, links as far as `keep` says."""
    renderer = PageText(draw_late(room), attachments={}, exclude_anchor_links=True)
    return NO_PICTURE.sub("", render_safely(text, renderer, keep))


def draw_late(room: Room) -> Draw:
    """Draws formulas, and loads matplotlib for the first one only. `data-shift` says how far a
    drawing reaches below its line."""

    def drawn(tex: str, kind: str) -> str:
        from autograder.review.feedback.formulas import draw_in

        return SHIFT.sub(lambda found: f'data-shift="{_pixels(found[1])}"', str(draw_in(room)(tex, kind)))

    return drawn


def _pixels(shift: str) -> int:
    return min(MOST_SHIFT, max(0, round(-float(shift))))


def shift_rules() -> str:
    """The style sheet's part of it."""
    rules = (f'[data-shift="{pixels}"] {{ vertical-align: -{pixels}px; }}' for pixels in range(1, MOST_SHIFT + 1))
    return "\n".join(rules)
