"""Markdown as formgrader and feedback show it: everything a student needs to answer, nothing that runs."""

from __future__ import annotations

import pytest
from jinja2 import Environment
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.markup import MOST_CELL, MOST_TEXT, restore_comparisons, safe_markdown, shorten


def render(source: str, **cell: object) -> str:
    environment = Environment()
    environment.filters["markdown2html"] = safe_markdown
    return environment.from_string("{{ source | markdown2html }}").render(source=source, cell=cell)


@pytest.mark.parametrize(
    "source",
    [
        "<script>taken</script>",
        "<img src=x onerror=taken>",
        "[x](javascript:taken)",
        "[x](JaVaScRiPt:taken)",
        "[x](&#106;avascript:taken)",
        "[x](java\tscript:taken)",
        "[x]\n\n[x]: javascript:taken",
        "<javascript:taken>",
        "![x](javascript:taken)",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](data:image/svg+xml;base64,PHN2Zz4=)",
        "[x](vbscript:taken)",
        '<a href="javascript:taken">x</a>',
        '<svg onload="taken"></svg>',
        '<iframe src="https://example.org"></iframe>',
        '<div class="modal-backdrop" style="position:fixed">x</div>',
        '<form action="/formgrader/api/grade/1"><input name="manual_score"></form>',
        "<style>body { display: none }</style>",
        "```mermaid\ngraph TD\n  A[<img src=x onerror=taken>]\n```",
        "<math><mtext><table><mglyph><style><img src=x onerror=taken></style>",
    ],
)
def test_nothing_that_runs_or_dresses_up_survives(source: str) -> None:
    page = render(source).lower().replace("&lt;", "‹")
    for live in ("<script", "<iframe", "<form", "<input", "<style", "<svg", "<math", "modal", "mermaid"):
        assert live not in page.replace("‹", ""), page
    tags = "".join(part.split(">")[0] for part in page.split("<")[1:])
    for address in ("javascript:", "vbscript:", "data:text", "svg+xml", "onerror", "onload", "style="):
        assert address not in tags, page


def test_what_an_answer_needs_stays() -> None:
    source = (
        "# Why\n\n> cheaper\n\n**1 < 2** and `a < b`\n\n| k | n |\n|---|---|\n| 3 | 9 |\n\n"
        "```python\nx = 1 if a < b else 2\n```\n\n$$\\frac{1}{C} < 1$$\n\n[paper](https://example.org/a?b=1)"
    )
    page = render(source)
    for part in ("<h1", "<blockquote>", "<strong>1 &lt; 2</strong>", "<code>a &lt; b</code>", "<td>9</td>"):
        assert part in page, page
    assert 'class="highlight"' in page
    assert '<a href="https://example.org/a?b=1">paper</a>' in page
    assert "\\frac{1}{C}" in page


def test_an_attached_bitmap_is_shown() -> None:
    page = render("![plot](attachment:plot.png)", attachments={"plot.png": {"image/png": "iVBORw0KGgo="}})
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in page


def test_cleaning_leaves_comparisons_readable_and_tags_escaped() -> None:
    assert restore_comparisons("&gt; 1 &lt; 2 &amp; 3 &lt;= 4") == "> 1 < 2 & 3 <= 4"
    for tag in ("&lt;script&gt;", "&lt;/b&gt;", "&lt;!--", "&lt;?x", "&amp;lt;b", "&amp;#106;"):
        assert restore_comparisons(tag).startswith("&")


def test_a_missing_attachment_costs_the_picture_and_not_the_page() -> None:
    assert "<p>plot here</p>" in render("![plot](attachment:gone.png) here")
    assert "gone.png" in render("![](attachment:gone.png)", attachments={"other.png": {"image/png": "iVBORw0KGgo="}})


def test_a_picture_from_elsewhere_is_a_link_that_nothing_loads() -> None:
    own, html = "![net](https://example.org/net.png?who=1)", "<img src='https://example.org/net.png'>"
    page = render(f"{own} {html} ![](//example.org/a.png)")
    assert '<a href="https://example.org/net.png?who=1">net</a>' in page
    assert "src=" not in page


def test_cells_too_long_for_a_page_are_cut_and_say_so() -> None:
    long, picture = "**x** " * 1_000_000, f"![](data:image/png;base64,{'A' * MOST_CELL}) as drawn"
    cells = [new_markdown_cell(picture), new_code_cell("x = 1\n" * MOST_CELL), new_markdown_cell(long)]
    cells += [new_code_cell("#" * MOST_CELL) for _ in range(MOST_TEXT // MOST_CELL)]
    shorten(cells)
    assert cells[0].source == picture
    assert cells[1].source.endswith("# [100,000 more characters of this cell are in the notebook that was handed in]")
    assert "[5,980,000 more characters" in render(cells[2].source)  # quadratic time: hours without the cut
    assert len(cells[-1].source) < 200, "the notebook's own limit"
