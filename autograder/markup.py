"""A student's text and displays as pages may show them: formgrader's origin can set scores, so no script may run there.

Two layers, both wired in `nbgrader_config.py`. `SafeMarkup` cleans what is stored in the graded notebook. That leaves
Markdown's own links, whose addresses nbconvert passes on unchecked, so `safe_markdown` takes the place of the filter
that turns Markdown into HTML for formgrader and feedback, and cleans its result.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

from bleach import ALLOWED_ATTRIBUTES, ALLOWED_TAGS, clean
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import MISTUNE_V3, IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors.sanitize import SanitizeHTML
from traitlets import Bool, List, Unicode

from autograder.submission import read_released, source_of

TABLE_TAGS = {"br", "p", "pre", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr"}
MARKDOWN_TAGS = TABLE_TAGS | {"div", "dl", "dt", "dd", "del", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "span"}
# What Pygments and nbconvert give to highlighted code and headings; any other class could dress up as formgrader's own.
CLASSES = re.compile(r"highlight|hl-\w+|anchor-link|[a-z][a-z0-9]{0,2}")
# Of the notebook itself: one from elsewhere would tell its owner who reads an answer and when, or call formgrader.
PICTURE = re.compile(r"(?:attachment:|data:image/(?:png|jpeg|gif);base64,)", re.IGNORECASE)
INLINE_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=]+")
MOST_CELL = 20_000  # characters: the time in which Markdown is rendered grows with their square
MOST_TEXT = 400_000  # of all cells of a notebook
PROTOCOLS = {"http", "https", "mailto", "data", "attachment"}

Notebook = Any
Resources = dict[str, Any]


class SafeMarkup(SanitizeHTML):  # type: ignore[misc]
    """Takes script and unsafe HTML out of what a student wrote or displayed.

    nbconvert's preprocessor is off unless told otherwise, so this one is on. The course's own cells stay as they are:
    escaping would show in their code and quotations.
    """

    enabled = Bool(True).tag(config=True)
    tags = List(Unicode(), default_value=sorted(ALLOWED_TAGS | TABLE_TAGS)).tag(config=True)

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        released = read_released(self.parent.grader.release / f"{resources['nbgrader']['notebook']}.ipynb")
        self.own = {source_of(cell) for cell in released["cells"]}
        shorten([cell for cell in notebook.cells if cell.source not in self.own])
        cleaned: tuple[Notebook, Resources] = super().preprocess(notebook, resources)
        return cleaned

    def preprocess_cell(self, cell: Notebook, resources: Resources, index: int) -> tuple[Notebook, Resources]:
        if cell.cell_type != "code" and cell.source in self.own:
            return cell, resources
        cleaned: tuple[Notebook, Resources] = super().preprocess_cell(cell, resources, index)
        if cell.cell_type == "markdown":
            cell.source = restore_comparisons(cell.source)
        return cleaned


def shorten(cells: Iterable[Any]) -> None:
    """Cut what is too long to be made a page of, in the graded copy only: a page that takes hours stops all feedback.

    Pictures that stand in the text do not count.
    """
    left = MOST_TEXT
    for cell in cells:
        most = min(MOST_CELL, left)
        size = len(INLINE_PICTURE.sub("", cell.source))
        if size > most:
            cut = f"[{size - most:,} more characters of this cell are in the notebook that was handed in]"
            cell.source = f"{cell.source[:most]}\n\n{cut if cell.cell_type == 'markdown' else f'# {cut}'}"
        left -= min(size, most)


def restore_comparisons(source: str) -> str:
    """Take back the escaping of signs that start no tag: `1 < 2`, quotations and `&` read as they were written."""
    source = re.sub(r"&lt;(?![a-zA-Z/!?])", "<", source)
    return re.sub(r"&amp;(?=\s)", "&", source.replace("&gt;", ">"))


class OwnPictures(IPythonRenderer):  # type: ignore[misc]
    """Renders Markdown with the pictures that the notebook holds; a picture from elsewhere becomes a link to it, one
    that is missing (a copied cell loses it) its name."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        address, words = (url, text) if MISTUNE_V3 else (text, url)  # mistune 2 gives them in this order
        name = address.removeprefix("attachment:")
        if name != address and name not in self.attachments:  # nbconvert would make no page at all
            return words or html.escape(name)
        if PICTURE.match(address):
            return str(super().image(text, url, title))
        return f'<a href="{html.escape(address)}">{words or html.escape(address)}</a>'


@pass_context
def safe_markdown(context: Any, source: str) -> str:
    """HTML of a Markdown text: nbconvert's own rendering, then cleaned; links lead to http(s) and mailto only, and
    pictures are the notebook's own."""
    return render_safely(source, OwnPictures(escape=False, attachments=attachments_in(context)))


def attachments_in(context: Any) -> dict[str, Any]:
    """The pictures that the cell holds which a template renders."""
    found: dict[str, Any] = context.get("cell", {}).get("attachments", {})
    return found


def render_safely(source: str, renderer: OwnPictures) -> str:
    """Markdown as HTML of which only harmless tags and attributes are left."""
    page = MarkdownWithMath(renderer=renderer).render(source)
    return str(clean(page, tags=ALLOWED_TAGS | MARKDOWN_TAGS, attributes=is_safe_attribute, protocols=PROTOCOLS))


def is_safe_attribute(tag: str, name: str, value: str) -> bool:
    """Whether an attribute may stay; bleach has already judged the protocols of addresses."""
    if name == "class":
        return all(CLASSES.fullmatch(word) for word in value.split())
    if tag == "img":
        return name in ("alt", "title") or (name == "src" and PICTURE.match(value) is not None)
    if tag == "a" and name == "href":
        return not value.strip().lower().startswith("data:")
    return name in ALLOWED_ATTRIBUTES.get(tag, ()) or (name == "id" and re.fullmatch(r"h[1-6]", tag) is not None)
