"""Markdown of a student's as a page may show it: nbconvert's own rendering, then cleaned, its links plain, its formulas
set apart.

Formulas are marked while the text is rendered and cleaned, and put in at the end. The marks are drawn anew for each
text, so that nobody can write one.
"""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bleach import ALLOWED_ATTRIBUTES, ALLOWED_TAGS
from bleach.html5lib_shim import Filter
from bleach.sanitizer import Cleaner
from nbconvert.filters.markdown_mistune import MISTUNE_V3, IPythonRenderer, MarkdownWithMath

from autograder.course.links import Keep, PlainLinks
from autograder.course.tex import is_plain_tex

TABLE_TAGS = {"br", "p", "pre", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr"}
MARKDOWN_TAGS = TABLE_TAGS | {"div", "dl", "dt", "dd", "del", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "span"}
# What Pygments and nbconvert give to highlighted code and headings; any other class could dress up as formgrader's own.
CLASSES = re.compile(r"highlight|hl-\w+|anchor-link|[a-z][a-z0-9]{0,2}")
# Of the notebook itself: one from elsewhere would tell its owner who reads an answer and when, or call formgrader.
PICTURE = re.compile(r"(?:attachment:|data:image/(?:png|jpeg|gif);base64,)", re.IGNORECASE)
ADDRESS = re.compile(r"&lt;((?:https?://|mailto:)[^\s<>]+|[\w.+-]+@[\w.-]+)>")
PROTOCOLS = {"http", "https", "mailto", "data", "attachment"}
BLANKS = re.compile(r"\s+")
SIGNS = {"block": "$$", "inline": "$", "environment": ""}
MOST_FORMULA = 400  # characters
ROOM = "autograder_room"  # in the resources of a page

# A formula's TeX and its kind ("inline", "block", "environment"); what comes back is markup, "" where it stays text.
Draw = Callable[[str, str], str]


@dataclass
class Room:
    """How many formulas may still be drawn on a page, of how many characters and bytes of drawing."""

    formulas: int = 200
    characters: int = 6_000
    drawing: int = 2 << 20

    def has_room(self, tex: str) -> bool:
        """Whether one more fits. Each one tried counts: those that fail take time, too."""
        if len(tex) > MOST_FORMULA or len(tex) > self.characters or not self.formulas or self.drawing <= 0:
            return False
        self.formulas -= 1
        self.characters -= len(tex)
        return True


def room_of(context: Any) -> Room:
    """What is left of the page that a template makes."""
    resources = context.get("resources")
    found = resources.setdefault(ROOM, Room()) if isinstance(resources, dict) else Room()
    assert isinstance(found, Room)
    return found


class PageText(IPythonRenderer):  # type: ignore[misc]
    """Renders Markdown with the pictures that the notebook holds; a picture from elsewhere becomes a link to it, one
    that is missing (a copied cell loses it) its name. Formulas that `draw` draws become marks."""

    def __init__(self, draw: Draw, **settings: Any) -> None:
        super().__init__(escape=False, **settings)
        self.draw = draw
        self.word = f"formula{secrets.token_hex(12)}n"
        self.marks = re.compile(rf"{self.word}(\d+)e")
        self.drawn: list[tuple[str, str]] = []  # TeX and markup

    def image(self, text: str, url: str, title: str | None = None) -> str:
        address, words = (url, text) if MISTUNE_V3 else (text, url)  # mistune 2 gives them in this order
        name = address.removeprefix("attachment:")
        if name != address and name not in self.attachments:  # nbconvert would make no page at all
            return words or html.escape(name)
        if PICTURE.match(address):
            return str(super().image(text, url, title))
        return f'<a href="{html.escape(address)}">{words or html.escape(address)}</a>'

    def inline_math(self, body: str) -> str:
        body = html.unescape(body)  # `clean_source` has escaped a sign before a letter, as in a<b
        return self._mark(body, "inline") or str(super().inline_math(body))

    def block_math(self, body: str) -> str:
        body = html.unescape(body)
        return self._mark(body, "block") or str(super().block_math(body))

    def latex_environment(self, name: str, body: str) -> str:
        body = html.unescape(body)
        whole = f"\\begin{{{name}}}{body}\\end{{{name}}}"
        return self._mark(whole, "environment") or str(super().latex_environment(name, body))

    def _mark(self, body: str, kind: str) -> str:
        drawing = self.draw(BLANKS.sub(" ", body), kind)
        if not drawing:
            return ""
        self.drawn.append((body, drawing))
        return f"{self.word}{len(self.drawn) - 1}e"

    def put_in(self, page: str) -> str:
        """The cleaned page with its drawings."""
        return self.marks.sub(lambda found: self.drawn[int(found[1])][1], page)

    def as_text(self, value: str) -> str:
        """The same where a drawing cannot stand: TeX in its place."""
        return self.marks.sub(lambda found: self.drawn[int(found[1])][0], value)


def render_safely(source: str, renderer: PageText, keep: Keep = Keep.NONE) -> str:
    """Markdown as HTML of which only harmless tags and attributes are left, and only such links as `keep` says."""
    page = MarkdownWithMath(renderer=renderer).render(source)
    cleaner = Cleaner(
        tags=ALLOWED_TAGS | MARKDOWN_TAGS,
        attributes=partial(is_safe_attribute, with_ids=keep is Keep.COURSE),
        protocols=PROTOCOLS,
        filters=[partial(PlainLinks, keep=keep), partial(_MarksInAttributes, renderer=renderer)],
    )
    # nbgrader's templates look for addresses in what comes out of here, and for every "[" read the rest of its line.
    return renderer.put_in(cleaner.clean(page).replace("[", "&#91;"))


def is_safe_attribute(tag: str, name: str, value: str, *, with_ids: bool = False) -> bool:
    """Whether an attribute may stay; bleach has already judged the protocols of addresses.

    An id of a student's could be that of formgrader's own field for a mark.
    """
    if name == "class":
        return all(CLASSES.fullmatch(word) for word in value.split())
    if tag == "img":
        return name in ("alt", "title") or (name == "src" and PICTURE.match(value) is not None)
    if name == "id":
        return with_ids and re.fullmatch(r"h[1-6]", tag) is not None
    return name in ALLOWED_ATTRIBUTES.get(tag, ())


class _MarksInAttributes(Filter):  # type: ignore[misc]
    """Takes the marks out of attributes (a picture's description, a heading's id), where no drawing can stand."""

    def __init__(self, source: Any, renderer: PageText) -> None:
        super().__init__(source)
        self.renderer = renderer

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for token in super().__iter__():
            if token["type"] in ("StartTag", "EmptyTag"):
                values: Mapping[Any, str] = token["data"]
                token = {**token, "data": {name: self.renderer.as_text(value) for name, value in values.items()}}
            yield token


def student_text(source: str, attachments: Mapping[str, Any], room: Room) -> str:
    """A student's Markdown for formgrader: no link, no id, and only formulas that are nothing but mathematics.

    MathJax reads what stands between dollars anywhere in a page, unless it is told not to.
    """
    renderer = PageText(typeset_later(room), attachments=attachments, exclude_anchor_links=True)
    return f'<div class="tex2jax_ignore">{render_safely(source, renderer)}</div>'


def typeset_later(room: Room) -> Draw:
    """What MathJax typesets in formgrader: as many formulas as a page may have, of known commands."""

    def draw(tex: str, kind: str) -> str:
        if not is_plain_tex(tex) or not room.has_room(tex):
            return ""
        sign = SIGNS[kind]
        return f'<span class="tex2jax_process">{sign}{html.escape(tex)}{sign}</span>'

    return draw


def clean_html(text: str) -> str:
    """HTML that a cell has shown, with harmless tags only and no link; its formulas are not typeset, since TeX knows
    links, too."""
    cleaner = Cleaner(tags=ALLOWED_TAGS | TABLE_TAGS, attributes=ALLOWED_ATTRIBUTES, filters=[PlainLinks])
    return f'<div class="tex2jax_ignore">{cleaner.clean(text)}</div>'


def clean_source(source: str) -> str:
    """A Markdown text with the HTML in it cleaned, for whoever opens the notebook otherwise than in a page of ours."""
    return restore_comparisons(Cleaner(tags=ALLOWED_TAGS | TABLE_TAGS, attributes=ALLOWED_ATTRIBUTES).clean(source))


def restore_comparisons(source: str) -> str:
    """Take back the escaping of signs that start no tag: `1 < 2`, quotations and `&` read as they were written, and
    `<https://example.org>` is an address."""
    source = re.sub(r"&lt;(?![a-zA-Z/!?])", "<", source)
    source = re.sub(r"&amp;(?![#a-zA-Z])", "&", source.replace("&gt;", ">"))
    return ADDRESS.sub(r"<\1>", source)
