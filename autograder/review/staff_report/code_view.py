"""A student's code as highlighted lines, each of which can carry what a check says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String, _TokenType

from autograder.core.grade_report import Status
from autograder.core.text import ANSI, printable

# A few kinds are enough to read by; a page has one class for each.
CLASSES: tuple[tuple[Any, str], ...] = (
    (Comment, "c"),
    (Keyword, "k"),
    (String, "s"),
    (Number, "n"),
    (Literal, "s"),
    (Name.Function, "f"),
    (Name.Class, "f"),
    (Name.Decorator, "f"),
    (Name.Builtin, "b"),
    (Operator.Word, "k"),
)


@dataclass(frozen=True)
class Remark:
    """What a check says of a line, and the id of the check on the page."""

    title: str
    message: str
    anchor: str
    status: Status


def plain_lines(source: str) -> list[str]:
    """The lines of a cell, without blank ones at its end. They end where they end for Python, so that the numbers are
    those of its messages."""
    return ANSI.sub("", source).replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")


def code_lines(source: str, *, python: bool = True) -> list[Markup]:
    """The lines of a cell as markup with classes and nothing else; every character of the student's is escaped."""
    text = plain_lines(source)
    if not python:
        return [escape(printable(line)) for line in text]
    lines: list[list[Markup]] = [[]]
    # The lexer would look at all blank lines that follow, and again from the next one: minutes for thousands of them.
    for token, value in _tokens("\n".join(line if line.strip() else "" for line in text)):
        kind = next((name for family, name in CLASSES if token in family), "")
        for place, piece in enumerate(value.split("\n")):
            if place:
                lines.append([])
            if piece:
                shown = escape(printable(piece))
                lines[-1].append(Markup('<span class="{}">{}</span>').format(kind, shown) if kind else shown)
    return [Markup("").join(line) for line in lines]


def _tokens(text: str) -> Iterable[tuple[_TokenType, str]]:
    found: Iterable[tuple[_TokenType, str]] = _lexer().get_tokens(text)
    return found


@lru_cache(1)
def _lexer() -> PythonLexer:
    return PythonLexer(stripnl=False, ensurenl=False)
