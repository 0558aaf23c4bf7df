"""Templates, styles and policy of the pages: only their own script and style run, and no network is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from autograder.core.text import clean_name, one_line
from autograder.review.html import inline_file, make_environment, moment, points_text, policy_hash
from autograder.review.marking.decide import signed
from autograder.review.marking.questions import Question, StudentAnswer
from autograder.review.written import shift_rules

STYLES = ("review/staff_report/page.css", "review/staff_report/student.css", "review/marking/marking.css")
MOST_SNIPPET = 80  # characters


@dataclass(frozen=True)
class PageFrame:
    """What stands around every page. `root` is the address of the session, with its token; `here` that of the page."""

    assignment: str
    marker: str
    root: str
    here: str
    hides_names: bool
    page: str = ""
    question: str = ""
    place: str = ""

    @property
    def address(self) -> str:
        """The address of the question."""
        return f"{self.root}{self.place}"


def render_page(template: str, frame: PageFrame, **values: Any) -> str:
    """One page as text. Nothing of a student's is markup in it but what `texts` has cleaned."""
    style, script = Markup(_style()), Markup(_script())
    return _environment().get_template(template).render(frame=frame, style=style, script=script, **values)


@lru_cache(1)
def policy() -> str:
    """The content security policy of all pages, by the digests of their one style sheet and one script."""
    return (
        f"default-src 'none'; img-src data:; style-src '{policy_hash(_style())}'; "
        f"script-src '{policy_hash(_script())}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@lru_cache(1)
def _style() -> str:
    return "\n".join([*map(inline_file, STYLES), shift_rules()])


@lru_cache(1)
def _script() -> str:
    return inline_file("review/marking/marking.js")


@lru_cache(1)
def _environment() -> Environment:
    filters = {"name": clean_name, "points": points_text, "signed": signed, "scores": scores_text, "place": place_of}
    return make_environment("review/marking", filters | {"snippet": snippet, "moment": decided_at})


def place_of(question: Question) -> str:
    """The part of an address that names a question."""
    return f"question/{quote(question.notebook, safe='')}/{quote(question.cell, safe='')}"


def scores_text(scores: Sequence[float | None]) -> str:
    """The marks of a group: one, or that there are several."""
    if scores == [None]:
        return "nothing to mark"
    return f"marked {' and '.join(points_text(score) for score in scores)}"


def snippet(answer: StudentAnswer) -> str:
    """How an answer begins."""
    text = " ".join(" ".join(part.text for part in answer.parts).split())
    return one_line(text[:MOST_SNIPPET]) or "(nothing is written)"


def decided_at(time: str) -> str:
    """When a decision was made, for a reader."""
    return moment(datetime.fromisoformat(time))
