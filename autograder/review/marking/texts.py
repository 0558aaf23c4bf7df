"""Answers and questions as HTML, made in a process with limits: Markdown with its formulas, code with its colours.

No link of a student's is alive, and nothing carries a style of its own: the page's policy allows none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from autograder.core.limited import Bounds, TooMuch, WorkFailed, run_limited
from autograder.core.text import printable
from autograder.course.links import Keep
from autograder.course.page_text import Room
from autograder.review.feedback.formulas import draw_formula
from autograder.review.staff_report.code_view import code_lines
from autograder.review.written import render_markdown

BOUNDS = Bounds(cpu_seconds=10, wall_seconds=60, memory_mib=1024, answer_mib=32)
MOST_KEPT = 2_000  # rendered texts


@dataclass(frozen=True)
class SourceText:
    """A cell's text. `is_course` says that it is the course's own, whose links may lead to public sites."""

    text: str
    is_code: bool = False
    is_course: bool = False


class TextRenderer:
    """Renders texts, and keeps what it has rendered while a server runs."""

    def __init__(self) -> None:
        self._kept: dict[SourceText, Markup] = {}
        draw_formula("x")  # so that a forked process finds the fonts read

    def render(self, texts: Sequence[SourceText]) -> list[Markup]:
        """HTML of each. What takes too much is shown as plain text."""
        wanted = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if len(self._kept) + len(wanted) > MOST_KEPT:
            self._kept.clear()
            wanted = list(dict.fromkeys(texts))
        for text, made in zip(wanted, self._make(wanted), strict=True):
            self._kept[text] = made
        return [self._kept[text] for text in texts]

    def _make(self, texts: Sequence[SourceText]) -> list[Markup]:
        """All in one process; where one of them takes too much, each in its own."""
        if not texts:
            return []
        try:
            return [Markup(made) for made in run_limited(render_texts, [asdict(text) for text in texts], BOUNDS)]
        except (TooMuch, WorkFailed):
            if len(texts) == 1:
                return [as_plain_text(texts[0].text)]
        return [self._make([text])[0] for text in texts]


def as_plain_text(text: str) -> Markup:
    """A text as it was written."""
    remark = Markup('<p class="quiet">Shown as it was written: rendering it takes too much.</p>')
    return remark + Markup('<pre class="plain">{}</pre>').format(printable(text))


def render_texts(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """For `run_limited`: HTML of texts, in the form of `SourceText`."""
    room = Room()
    return [str(render_text(SourceText(**each), room)) for each in told]


def render_text(source: SourceText, room: Room) -> Markup:
    """One text; formulas as far as there is room for them."""
    if source.is_code:
        lines = (Markup("<li><code>{}</code></li>").format(line) for line in code_lines(source.text))
        return Markup('<ol class="code" tabindex="0">{}</ol>').format(Markup("\n").join(lines))
    shown = render_markdown(source.text, room, Keep.COURSE if source.is_course else Keep.NONE)
    return Markup(f'<div class="prose" dir="auto">{shown}</div>')
