"""Feedback as HTML: what stands on top of nbgrader's page, and below each grade cell. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from autograder.core.grade_report import Status
from autograder.core.package import package_file
from autograder.core.rows import Points
from autograder.review.feedback.content import Overall, ShownCell, ShownCheck, ShownNotebook, strengths_and_steps
from autograder.review.figures import page_variables
from autograder.review.html import coded, make_environment

KINDS = {
    Status.PASSED: ("passed", "✓"),
    Status.SKIPPED: ("skipped", "–"),
    Status.UNSUPPORTED: ("undecided", "?"),
}


def render_result(overall: Overall, page: ShownNotebook) -> Markup:
    """Points, what went well, and next steps, for the top of a notebook's page."""
    template = _environment().get_template("result.html")
    return Markup(template.render(overall=overall, page=page, summary=strengths_and_steps(page.cells), style=_style()))


def render_cell(cell: ShownCell, figures: str = "") -> Markup:
    """The checks of a grade cell, with figures below."""
    return Markup(_environment().get_template("checks.html").render(cell=cell, figures=Markup(figures)))


def render_plain(name: str, result: str, cells: Sequence[ShownCell], problem: str) -> Markup:
    """A whole page without the notebook: `result` is what `render_result` gave, `problem` why there is no more."""
    checks = [(cell.name, render_cell(cell)) for cell in cells]
    template = _environment().get_template("plain.html")
    return Markup(template.render(name=name, result=Markup(result), checks=checks, problem=problem, style=_style()))


def of(points: Points) -> str:
    """Points in words."""
    if points.earned is None:
        return f"not yet marked, {points.maximum:g} points"
    return f"{points.earned:g} of {points.maximum:g} points"


@cache
def _environment() -> Environment:
    filters = {"of": of, "kind": _kind, "symbol": check_symbol, "coded": coded}
    return make_environment("review/feedback/templates", filters)


@cache
def _style() -> Markup:
    """The style sheet, with the figures' colours on dark paper; on light paper and in print they have their own."""
    own = package_file("review/feedback/templates/style.css").read_text("utf-8")
    return Markup(
        f"{own}@media screen and (prefers-color-scheme: dark) {{ :root {{ {page_variables(dark=True)} }} }}\n"
    )


def _kind(check: ShownCheck) -> str:
    if check.status is Status.FAILED and check.earned > 0:
        return "partial"
    return KINDS[check.status][0] if check.status in KINDS else "failed"


def check_symbol(check: ShownCheck) -> str:
    if check.status is Status.FAILED and check.earned > 0:
        return "◐"
    return KINDS[check.status][1] if check.status in KINDS else "✗"
