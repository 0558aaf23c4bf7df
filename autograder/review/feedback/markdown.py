"""Feedback as Markdown. Text of a student's stays text: no link, picture, HTML or formula comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autograder.review.feedback.content import (
    ShownCell,
    ShownCheck,
    ShownNotebook,
    StudentFeedback,
    accuracy_sentence,
    model_sentence,
    strengths_and_steps,
)
from autograder.review.feedback.page import check_symbol, of

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Brackets make links, pictures and task lists; \\( begins a formula in notebooks; an address is a link by itself.
ACTIVE = re.compile(r"[\\`*_\[\]|~$@&<>]|(?<=\\)[()]|(?<=\w):(?=//)|(?<=www)\.")
OPENING = re.compile(r"^(?:[-+=#]|\d+(?=[.)]))")  # of a list or a heading, at the start of a line


def escape(text: str) -> str:
    """Text on one line in which no character has a meaning in Markdown (CommonMark and GitHub's)."""
    line = " ".join(text.split())
    line = ACTIVE.sub(lambda match: ENTITIES.get(match[0], f"\\{match[0]}"), line)
    opening = OPENING.match(line)
    if not opening:
        return line
    sign = opening[0]
    return f"{sign}\\{line[len(sign) :]}" if sign.isdigit() else f"\\{line}"


def render_markdown(feedback: StudentFeedback) -> str:
    """The whole assignment's feedback as a document."""
    return "\n".join([*_top(feedback), *(line for page in feedback.notebooks for line in _notebook(page))]) + "\n"


def _top(feedback: StudentFeedback) -> Iterator[str]:
    overall = feedback.overall
    yield f"# Feedback on {escape(overall.assignment)} for {escape(overall.student)}"
    yield from ("", f"**{of(overall.total)}**")
    for sentence in overall.sentences:
        yield from ("", escape(sentence))
    yield from ("", "| Notebook | Points |", "|---|---|")
    yield from (f"| {escape(name)} | {points} |" for name, points in overall.notebooks)
    summary = strengths_and_steps(cell for page in feedback.notebooks for cell in page.cells)
    for sentence in summary.sentences:
        yield from ("", escape(sentence))
    if summary.strengths:
        yield from ("", "## What went well", "", *(f"- {escape(title)}" for title in summary.strengths))
    if summary.steps:
        yield from ("", "## Most worthwhile next", "")
        for number, step in enumerate(summary.steps, 1):
            advice = f": {escape(step.advice)}" if step.advice else ""
            yield f"{number}. **{escape(step.title)}** (+{step.points:g}){advice}"


def _notebook(page: ShownNotebook) -> Iterator[str]:
    if not page.cells and not page.remarks and not page.comments:
        return
    yield from ("", f"## {escape(page.name)}: {of(page.points)}")
    for remark in page.remarks:
        yield from ("", escape(remark))
    for cell in page.cells:
        yield from _cell(cell)
    for model in page.models:
        yield from ("", escape(model_sentence(model)))
    if page.evaluation:
        yield from ("", escape(accuracy_sentence(page.evaluation)))
    if page.comments:
        yield from ("", "### Comments", "")
        yield from (f"- {escape(comment.cell)}: {escape(comment.text)}" for comment in page.comments)


def _cell(cell: ShownCell) -> Iterator[str]:
    yield from ("", f"### {escape(cell.name)}: {of(cell.points)}")
    for remark in cell.remarks:
        yield from ("", escape(remark))
    if cell.checks:
        yield ""
    for check in cell.checks:
        yield from _check(check, cell.is_current)


def _check(check: ShownCheck, is_current: bool) -> Iterator[str]:
    if not is_current:
        yield f"- {escape(check.title)}"
        return
    yield f"- {check_symbol(check)} **{escape(check.title)}** ({check.earned:g} / {check.points:g}, {check.result})"
    yield from (f"  - {escape(text)}" for text in (check.message, check.remedy, check.place) if text)
