"""Markdown as formgrader and feedback show it: all that an answer needs, nothing that runs or leads astray."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import socket
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import Environment

from autograder.core.limited import Bounds, run_limited
from autograder.course.links import is_public, own_name
from autograder.course.markup import BOUNDS, OWN, safe_markdown
from autograder.course.page_cells import (
    CELL_BYTES,
    LEFT_OUT_PICTURE,
    MOST_CELL,
    MOST_PICTURES,
    MOST_TEXT,
    NO_PICTURE,
    PAGE_BYTES,
    PLAIN_NOTE,
    clean_cells,
    plain_cells,
    shorten,
)
from autograder.course.page_text import Room, restore_comparisons
from autograder.course.tex import is_plain_tex
from autograder.review.feedback.formulas import draw_formula, typeset_markdown

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def render(source: str, wanted: Any = safe_markdown, **cell: object) -> str:
    """A text as a page has it: formgrader's, or with `typeset_markdown` a page of feedback."""
    environment = Environment()
    environment.filters["markdown2html"] = wanted
    template = environment.from_string("{{ source | markdown2html }}")
    return template.render(source=source, cell={"source": source, **cell}, resources={})


def links(page: str) -> list[dict[str, str | None]]:
    """The attributes of everything in a page that a click or a key follows."""
    found: list[dict[str, str | None]] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("a", "area", "form", "base", "link") or "href" in dict(attrs):
                found.append(dict(attrs))

    Links().feed(page)
    return found


@pytest.mark.parametrize("wanted", [safe_markdown, typeset_markdown], ids=["formgrader", "feedback"])
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
        '![$x$ " onerror="taken](data:image/png;base64,AAAA)',
        "# a $x$ <h1 id=depthwise-why>b</h1>",
    ],
)
def test_nothing_that_runs_or_dresses_up_survives(source: str, wanted: Any) -> None:
    page = render(source, wanted).lower().replace("&lt;", "‹")
    for live in ("<script", "<iframe", "<form", "<input", "<style", "<math", "modal", "mermaid", "<svg onload"):
        assert live not in page.replace("‹", ""), page
    tags = "".join(part.split(">")[0] for part in page.split("<")[1:])
    for address in ("javascript:", "vbscript:", "data:text", "svg+xml", "onerror=", "onload=", "position", " id="):
        assert address not in re.sub(r'(alt|title)="[^"]*"', "", tags), page


def test_what_an_answer_needs_stays() -> None:
    source = (
        "# Why\n\n> cheaper\n\n**1 < 2** and `a < b`\n\n| k | n |\n|---|---|\n| 3 | 9 |\n\n"
        "```python\nx = 1 if a < b else 2\n```\n\n$$\\frac{1}{C} < 1$$\n\n[paper](https://example.org/a?b=1)"
    )
    page = render(source)
    for part in ("<h1", "<blockquote>", "<strong>1 &lt; 2</strong>", "<code>a &lt; b</code>", "<td>9</td>"):
        assert part in page, page
    assert 'class="highlight"' in page
    assert "paper <code>https://example.org/a?b=1</code>" in page
    assert '<span class="tex2jax_process">$$\\frac{1}{C} &lt; 1$$</span>' in page


def test_an_attached_bitmap_is_shown() -> None:
    page = render("![plot](attachment:plot.png)", attachments={"plot.png": {"image/png": "iVBORw0KGgo="}})
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in page


def test_cleaning_leaves_comparisons_readable_and_tags_escaped() -> None:
    assert restore_comparisons("&gt; 1 &lt; 2 &amp; 3 &lt;= 4") == "> 1 < 2 & 3 <= 4"
    assert restore_comparisons("a &amp;= b &lt;https://example.org/a&gt;") == "a &= b <https://example.org/a>"
    for tag in ("&lt;script&gt;", "&lt;/b&gt;", "&lt;!--", "&lt;?x", "&amp;lt;b", "&amp;#106;"):
        assert restore_comparisons(tag).startswith("&")


def test_a_missing_attachment_costs_the_picture_and_not_the_page() -> None:
    assert "<p>plot here</p>" in render("![plot](attachment:gone.png) here")
    assert "gone.png" in render("![](attachment:gone.png)", attachments={"other.png": {"image/png": "iVBORw0KGgo="}})


# Links

EVERY_SYNTAX = [
    "[x]({0})",
    "[x](<{0}>)",
    "[x][y]\n\n[y]: {0} 'title'",
    "[x]\n\n[x]: <{0}>",
    "<{0}>",
    "{0}",
    "see {0}.",
    "[![x](attachment:x.png)]({0})",
    "![x]({0})",
    "# [x]({0})",
    "> - [x]({0})",
    "| [x]({0}) |\n|---|\n| [y]({0}) |",
    "x[^1]\n\n[^1]: [x]({0})",
    '<a href="{0}">x</a>',
    "<A HREF='{0}' target=_top ping='{0}'>x</A>",
    "<div><a href={0}>x</a></div>",
    "<p>\n<a href='{0}'>x</a>\n</p>",
    "<map name=m><area shape=rect href='{0}'></map><img usemap=#m src=x>",
    "<table><tr><td><a href='{0}'>x<table><tr><td><a href='{0}'>y</a></table>",
    "<form action='{0}'><button>x</button></form>",
    "<base href='{0}'>x",
    "<link rel=prefetch href='{0}'>x",
    "<svg><a xlink:href='{0}'><text>x</text></a></svg>",
    "<math href='{0}'><mi>x</mi></math>",
    "<blockquote cite='{0}'>x</blockquote> <del cite='{0}'>x</del>",
]
ASTRAY = [
    "plot.html",
    "./plot.html",
    "..%2f..%2f..%2fsubmitted%2feve%2fcnn%2fplot.html",
    "/formgrader/submissions/1/plot.html",
    "//evil.example/",
    "\\\\evil.example",
    "/\\evil.example",
    "https:/\\evil.example",
    "https:evil.example/",
    "http:plot.html",
    "http:///plot.html",
    "#depthwise-why",
    "#top",
    "?x=1",
    "https://localhost:8888/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://127.0.0.1/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://127.1/",
    "http://[::1]/",
    "http://10.0.0.7/",
    "http://a.127.0.0.1/",
    "http://grader.local/",
    "http://grader.internal/",
    "http://grader/",
    "http://grader.example.org:8888/",
    "http://me@evil.example.org/",
    "http://example.org@localhost/",
    "http://ⓛocalhost.example.org/",
    "http://１２７.0.0.1/",
    "ftp://example.org/",
    "file:///etc/passwd",
    "blob:https://example.org/1",
    "data:text/html,x",
    "attachment:x.png",
    "javascript:taken",
    "view-source:https://example.org",
    "mailto:a@localhost",
    "mailto:a@example.org?cc=b@example.org",
    "mailto:a@example.org,b@example.org",
    f"http://{socket.gethostname()}/",
    f"http://{socket.gethostname().split('.')[0]}.example.org/",
]


@pytest.mark.parametrize("syntax", EVERY_SYNTAX)
def test_in_formgrader_no_link_of_a_students_can_be_followed_in_any_syntax(syntax: str) -> None:
    for address in ("https://example.org/paper", "plot.html", "/formgrader/"):
        page = render(syntax.format(address), attachments={"x.png": {"image/png": PIXEL}})
        assert links(page) == [], page


@pytest.mark.parametrize("address", ASTRAY)
def test_in_feedback_a_link_that_leads_astray_is_words_and_address(address: str) -> None:
    for syntax in EVERY_SYNTAX:
        page = render(syntax.format(address), typeset_markdown, attachments={"x.png": {"image/png": PIXEL}})
        followed = [str(link.get("href")) for link in links(page)]
        assert address not in followed, page
        assert all(map(is_public, followed)), "an address within the address, say of view-source:, at most"
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["https://example.org", "http://example.org/a/b?c=1&d=2#e", "https://xn--bcher-kva.example.org/"]
)
def test_in_feedback_a_link_to_a_public_site_stays_and_tells_it_nothing(address: str) -> None:
    for syntax in ("[x]({0})", '<a href="{0}" target="_top" rel="opener">x</a>', "{0}", "[x][y]\n\n[y]: {0}"):
        (link,) = links(render(syntax.format(address), typeset_markdown))
        assert (link["href"], link["rel"]) == (address, "noopener noreferrer")
        assert set(link) <= {"href", "rel", "title"}
    assert is_public("mailto:ada@example.org")
    assert own_name() == socket.gethostname().lower()


def test_the_courses_own_links_stay_and_so_do_those_of_a_comment() -> None:
    source = "# The lesson\n\n[notes](https://example.org/notes) [file](kit.py)"
    for wanted in (safe_markdown, typeset_markdown):
        found = [link["href"] for link in links(render(source, wanted, metadata={OWN: True}))]
        assert found == ["#The-lesson", "https://example.org/notes"]
    cell: dict[str, Any] = {"source": "mine", "metadata": {"nbgrader": {"comment": source}}}
    page = Environment()
    page.filters["markdown2html"] = typeset_markdown
    shown = page.from_string("{{ comment | markdown2html }}").render(comment=source, cell=cell, resources={})
    assert [link["href"] for link in links(shown)] == ["https://example.org/notes", "kit.py"]


def test_a_note_that_a_cell_is_the_courses_own_cannot_be_brought_along() -> None:
    """It holds for the text that was found to be released, and a student's is another."""
    cell: dict[str, Any] = {"source": "released", "metadata": {OWN: True}}
    page = Environment()
    page.filters["markdown2html"] = safe_markdown
    shown = page.from_string("{{ text | markdown2html }}").render(text="[x](/a)", cell=cell, resources={})
    assert links(shown) == []


def test_a_picture_from_elsewhere_is_its_address_that_nothing_loads() -> None:
    own, tag = "![net](https://example.org/net.png?who=1)", "<img src='https://example.org/net.png'>"
    page = render(f"{own} {tag} ![](//example.org/a.png)")
    assert "net <code>https://example.org/net.png?who=1</code>" in page
    assert "src=" not in page
    assert "//example.org/a.png" in page


# Formulas that MathJax typesets in formgrader

LINKING = [
    r"\href{/formgrader/submissions/1/plot.html}{x}",
    r"\url{https://example.org}",
    r"\require{action}\toggle{a}{b}\endtoggle",
    r"\style{position:fixed}{x}",
    r"\class{score}{x}",
    r"\cssId{depthwise-why}{x}",
    r"\unicode{x41}",
    r"\def\a#1{#1}\a{x}",
    r"\newcommand{\a}{x}",
    r"\let\a\href",
    r"\label{a}\ref{a}",
    r"\text{\href{a}{b}}",
    r"\begin{html}x\end{html}",
    r"\rule{99em}{99em}",
    r"\hskip-99em x",
    r"\raise 99em{x}",
    r"\mmlToken{mi}[href='/a']{x}",
]


@pytest.mark.parametrize("tex", LINKING)
def test_only_mathematics_is_typeset(tex: str) -> None:
    assert not is_plain_tex(tex)
    for source in (
        f"${tex}$",
        f"$${tex}$$",
        f"\\\\({tex}\\\\)",
        f"&#36;{tex}&#36;",
        f"<b>${tex}$</b>",
        f"\\begin{{a}}{tex}",
    ):
        page = render(source)
        assert page.startswith('<div class="tex2jax_ignore">')
        assert page.endswith("</div>")
        assert tex not in html.unescape("".join(re.findall(r'<span class="tex2jax_process">(.*?)</span>', page)))


def test_a_formula_cannot_leave_the_place_where_it_is_typeset() -> None:
    for tex in ("a$b", "</span>", r"\\$\href{a}{b}$", "<b class=tex2jax_process>"):
        page = render(f"${tex}$ <span class='tex2jax_process'>x</span> $$\\text{{{tex}}}$$")
        for inside in re.findall(r'<span class="tex2jax_process">(.*?)</span>', page):
            assert is_plain_tex(html.unescape(inside).strip("$"))
            assert "<" not in inside


@pytest.mark.parametrize(
    "tex",
    [
        r"\frac{1}{C_{out}} + \frac{1}{k^2}",
        r"\left\lfloor \frac{H + 2p - d(k-1) - 1}{s} \right\rfloor + 1",
        r"\begin{aligned} a &= b \\ &\leq \mathbb{E}[x] \end{aligned}",
        r"\text{cost: 5\$} \quad \forall x \in \mathcal{X}",
        r"a<b \text{ and } b&c",
    ],
)
def test_mathematics_as_students_write_it_is_typeset(tex: str) -> None:
    assert is_plain_tex(tex)
    (cell,) = clean_cells([markdown(f"$${tex}$$")])
    assert html.escape(tex) in render(cell["source"])


# Formulas that are drawn in feedback

BLANK = [r"\quad", "~", r"\,", "{}", " ", r"\ ", r"\;\;", r"\hspace{1}", r"{\,}", r"\mathrm{}", r"^{}", r"\!"]
BROKEN = [r"\frac", "^", "_", r"\left(", "{" * 190 + "}" * 190, r"\sqrt{" * 60, "\x00", "字", "😀", "\ud800", "%", "#"]
FAR = [r"\hspace{1e300}x", r"\hspace{1e400}x", r"x\hspace{99999}x", r"\genfrac{}{}{1e9}{}{a}{b}", "1" * 401]


@pytest.mark.parametrize("tex", [*BLANK, *BROKEN, *FAR])
def test_a_formula_that_cannot_be_drawn_stays_text(tex: str) -> None:
    assert draw_formula(tex) == ""
    page = render(f"before ${tex}$ after", typeset_markdown)
    assert page.startswith("<p>before $")
    assert page.rstrip().endswith("after</p>")


_TOKENS = r"""
\frac \sqrt \left \right \middle \overline \text \mathrm \quad \, \! ~ { } [ ] ( ) ^ _ $ $$ \$ & # % x 1 \\ < > " '
* ` \begin{a} \end{a} \( \) \href \substack \genfrac \binom \underset {} {\,} &amp; &#36; \alpha \int \unknown 字 \x
"""
TOKENS = _TOKENS.split()


@pytest.mark.parametrize("seed", range(10))
def test_no_formula_costs_a_page(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(20):
        tex = draw.choice(("", " ")).join(draw.choices(TOKENS, k=draw.randint(1, 30)))
        for wanted in (typeset_markdown, safe_markdown):
            page = render(f"before ${tex}$ then $${tex}$$ after", wanted)
            assert "before" in page
            assert "after" in page
            assert links(page) == []


def test_warnings_of_the_drawing_library_are_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    assert "字" in render("$字$ $x$", typeset_markdown)
    assert caplog.text == ""


def test_marks_of_formulas_cannot_be_written() -> None:
    """Private-use characters, as letters and entities, once stood for drawings, each of them a thousand times."""
    first = render("$x$", typeset_markdown)
    for mark in ("&#57344;0&#57345;", "\ue0000\ue001", "&#xe000;0&#xe001;", "formula0e", "formula00n0e"):
        page = render(f"$x$ {mark * 500}", typeset_markdown)
        assert page.count("<svg") == first.count("<svg") == 1, mark


def test_a_drawing_stands_in_no_attribute() -> None:
    source = f'![a $x$ "b](data:image/png;base64,{PIXEL} "$y$") <a title="$z$">c</a>'
    page = render(source, typeset_markdown)
    assert "<svg" not in page
    assert 'alt="a x' in page


def test_a_page_has_room_for_so_many_formulas_and_no_more() -> None:
    flood = "".join(f"$x_{{{n}}}$ " for n in range(1000))
    assert render(flood, typeset_markdown).count("<svg") == Room().formulas
    wide = "".join(f"${chr(97 + n % 26) * 390}$ " for n in range(50))
    page = render(wide, typeset_markdown)
    assert page.count("<svg") < 10
    assert len(page) < Room().drawing + (2 << 20)
    assert render(flood).count("tex2jax_process") == Room().formulas


def test_the_room_is_the_pages_and_not_the_cells() -> None:
    environment = Environment()
    environment.filters["markdown2html"] = typeset_markdown
    template = environment.from_string("{% for s in sources %}{{ s | markdown2html }}{% endfor %}")
    sources = ["".join(f"$y_{{{cell}{n}}}$ " for n in range(50)) for cell in range(10)]
    assert template.render(sources=sources, cell={}, resources={}).count("<svg") == Room().formulas


# What reaches the graded notebook


def markdown(source: str, name: str = "", own: bool = False, **more: Any) -> dict[str, Any]:
    metadata = {"nbgrader": {"grade_id": name}} if name else {}
    return {"cell_type": "markdown", "id": "a", "metadata": metadata, "source": source, "is_own": own, **more}


def code(source: str, *outputs: dict[str, Any], name: str = "") -> dict[str, Any]:
    return {**markdown(source, name), "cell_type": "code", "outputs": list(outputs), "execution_count": None}


def shown(kind: str, content: str) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {kind: content}}


def test_html_of_a_cell_has_no_link_no_formula_and_no_id() -> None:
    text = '<a href="/x">go</a> <p id="sums-why">$\\href{/x}{y}$</p> <a href="https://example.org">out</a> 1 < 2'
    (cell,) = clean_cells([code("x", shown("text/html", text))])
    cleaned = cell["outputs"][0]["data"]["text/html"]
    assert links(cleaned) == []
    assert cleaned.startswith('<div class="tex2jax_ignore">go <code>/x</code>')
    assert " id=" not in cleaned


def test_a_raw_cell_is_text() -> None:
    (cell,) = clean_cells([{**markdown('<a href="/x" id="sums-why">x</a> $\\href{a}{b}$'), "cell_type": "raw"}])
    assert links(cell["source"]) == []
    assert cell["source"].startswith('<pre class="tex2jax_ignore">&lt;a href')


def test_the_courses_own_text_stays_as_it_is() -> None:
    source = "<kbd>Enter</kbd> " + "[" * 30_000
    (cell,) = clean_cells([markdown(source, own=True)])
    assert cell["source"] == source


def test_cells_too_long_for_a_page_are_cut_and_say_so() -> None:
    long, picture = "**x** " * 1_000_000, f"![](data:image/png;base64,{'A' * MOST_CELL}) as drawn"
    cells = [markdown(picture), code("x = 1\n" * MOST_CELL), markdown(long)]
    cells += [code("#" * MOST_CELL) for _ in range(MOST_TEXT // MOST_CELL)]
    shorten(cells)
    assert cells[0]["source"] == picture
    end = "# [100,000 more characters of this cell are in the notebook that was handed in]"
    assert cells[1]["source"].endswith(end)
    assert "&#91;5,980,000 more characters" in render(cells[2]["source"])  # quadratic time: hours without the cut
    assert len(cells[-1]["source"]) < 200, "the notebook's own limit"


BOMBS = {
    "formatting elements": [code("x", shown("text/html", "<b>" * 80_000))],
    "elements that are opened again": [
        code("x", shown("text/html", "".join(f'<b title="{i}"><p>' for i in range(2000))))
    ],
    "the same in Markdown": [markdown("".join(f'<b title="{i}"><p>' for i in range(1000)))],
    "depth": [markdown("<blockquote>" * 1600), code("x", shown("text/html", "<blockquote>" * 20_000))],
    "rows": [markdown("a|b\n-|-\n" * 2500)],
    "headings": [markdown("# a\n" * 5000) for _ in range(30)],
    "entities": [markdown("&" * 20_000) for _ in range(20)],
    "nothing": [code("") for _ in range(2000)],
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_takes_long_or_swells_is_shown_as_text_or_not_at_all(bomb: str) -> None:
    answer = markdown("**Fewer** weights.", "sums-why")
    cells = json.loads(json.dumps([*BOMBS[bomb], answer]))
    cleaned = run_limited(clean_cells, cells, BOUNDS)
    answers = [cell for cell in cleaned if cell["metadata"]]
    assert len(answers) == 1, "nbgrader's own cells are all there"
    pages = [render(cell["source"]) for cell in cleaned if cell["cell_type"] == "markdown"]
    pages += [output["data"]["text/html"] for cell in cleaned for output in cell.get("outputs", ()) if "data" in output]
    assert max(map(len, pages)) <= CELL_BYTES
    assert sum(map(len, pages)) <= PAGE_BYTES + 1000


def test_an_output_that_swells_costs_itself_and_not_the_code() -> None:
    (cell,) = clean_cells([code("bold = 1\n" * 100, shown("text/html", "<b>" * 80_000))])
    assert cell["source"] == "bold = 1\n" * 100
    assert "not shown" in cell["outputs"][0]["text"]


def test_plain_text_holds_no_markup_whatever_it_says() -> None:
    for source in (
        "</pre><a href=/x>x</a> <b>$\\href{a}{b}$ [x](/y)\n\n# a\n\n</pre>$$x$$",
        "$$a\n\n<b>[x](/y) $$ \\begin{a}",
    ):
        (cell,) = plain_cells([markdown(source, "sums-why")])
        assert PLAIN_NOTE in cell["source"]
        page = render(cell["source"])
        assert links(page) == []
        assert "tex2jax_process" not in page
        assert page.count("<b>") == 0
        assert html.unescape(source) in html.unescape(page)


def test_where_cleaning_itself_takes_too_long_the_beginnings_of_answers_are_left() -> None:
    cells = [
        markdown("mine", "sums-why"),
        code("x = 1", name="sums-solution"),
        markdown("added"),
        markdown("own", own=True),
    ]
    kept = plain_cells(cells)
    assert [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in kept] == [
        "sums-why",
        "sums-solution",
        None,
        None,
    ]
    assert "mine" in kept[0]["source"]
    assert kept[2]["source"] == "own"
    assert kept[3]["source"].startswith("[1 more cells are not shown")


def png(width: int, height: int, size: int = 100) -> str:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return base64.b64encode(head + bytes(size)).decode()


def gif(width: int, height: int) -> str:
    return base64.b64encode(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes(9)).decode()


def test_pictures_are_bounded_in_number_of_bytes_and_of_pixels() -> None:
    attached = {"big.png": {"image/png": png(60_000, 60_000)}, "unused.png": {"image/png": png(3, 3)}}
    attached |= {
        "vector.svg": {"image/svg+xml": "PHN2Zz4="},
        "small.png": {"image/svg+xml": "x", "image/png": png(3, 3)},
    }
    text = "![](attachment:big.png) ![](attachment:small.png) ![](attachment:vector.svg)"
    inline = f"![a](data:image/gif;base64,{gif(60_000, 60_000)}) ![b](data:image/gif;base64,{gif(9, 9)})"
    first, second = clean_cells([markdown(text, attachments=attached), markdown(inline)])
    assert first["attachments"] == {"small.png": {"image/png": png(3, 3)}}
    assert second["source"].count("base64") == 1
    assert NO_PICTURE in second["source"]
    half = png(9, 9, MOST_PICTURES // 8 * 3)  # as base64 half of what a notebook may have
    shown_ones = clean_cells([code("x", *[shown("image/png", half)] * 3)])[0]["outputs"]
    assert [output["output_type"] for output in shown_ones] == ["display_data", "stream", "stream"]
    assert shown_ones[1]["text"] == LEFT_OUT_PICTURE


def test_honest_cells_are_not_cut() -> None:
    answer = "# Why\n\n" + "A standard convolution mixes all channels: $k^2 C D$ weights, see `conv`.\n\n" * 60
    cells = [
        markdown(answer, "sums-why"),
        code("x = 1  # so\n" * 300, shown("image/png", PIXEL), shown("text/plain", "1")),
    ]
    kept = run_limited(clean_cells, json.loads(json.dumps(cells)), Bounds(cpu_seconds=20))
    assert [cell["source"] for cell in kept] == [answer, "x = 1  # so\n" * 300]
    assert len(kept[1]["outputs"]) == 2
