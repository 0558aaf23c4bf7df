"""What all pages of a report share: the site, the templates, and a policy under which only the own script runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean, median, pstdev
from typing import Any
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from autograder import __version__
from autograder.core.grade_report import KINDS, CheckResult, GradeReport, Status
from autograder.core.package import digest_of_code
from autograder.core.rows import Row, notebooks_of
from autograder.core.text import readable
from autograder.core.wording import status_words, where
from autograder.review.figures import page_variables
from autograder.review.html import coded, inline_file, make_environment, moment, points_text, policy_hash
from autograder.review.staff_report.items import Sections
from autograder.review.staff_report.page_names import STUDENTS, student_page
from autograder.review.written import shift_rules

SYMBOLS = {Status.PASSED: "✓", Status.SKIPPED: "–", Status.UNSUPPORTED: "?", Status.INTERNAL: "!"}  # all others: ✗
FACT_NAMES = {"data": "test set", "gpu": "GPU"}
OWN_FACTS = ("checkpoint",)  # of one submission, shown with it
PAGES = (("index.html", "Overview"), ("checks.html", "Checks"), ("submissions.html", "Submissions"))
STYLES = ("review/staff_report/page.css", "review/staff_report/student.css")


@dataclass(frozen=True)
class Site:
    """A report: its submissions in the order in which they are listed, and how it speaks of them.

    `anonymous` pages name nobody. `formgrader` is the address where manual marks are given, without a slash at its end.
    """

    assignment: str
    rows: Sequence[Row]
    anonymous: bool = False
    formgrader: str = "http://localhost:8888"
    engine: str = __version__
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # student -> what a regrade changed, in words
    not_graded: Sequence[str] = ()  # students who have handed in, and have no report
    missing: Sequence[str] = ()  # students of the gradebook who have not
    lesson: str = ""  # the notebook that teaches, in the release; nothing where there is none
    sections: Sections = field(default_factory=dict)  # its headings
    integrity: str = ""  # address of the integrity page from the report's folder, where there is one
    notebooks: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "notebooks", tuple(notebooks_of(self.rows)))

    @property
    def has_marks(self) -> bool:
        """Whether the numbers are a gradebook's."""
        return any(row.marks for row in self.rows)

    def link(self, row: Row) -> str:
        """The address of a submission's page, from the folder of the report."""
        return f"{STUDENTS}/{student_page(row.report.student)}"

    def form(self, row: Row, notebook: str) -> str:
        """Where formgrader shows a student's answers in a notebook; its list of them where no id is known."""
        known = row.standing.forms.get(notebook, "") if row.standing else ""
        place = f"submissions/{known}" if known else f"gradebook/{quote(self.assignment)}/{quote(notebook)}"
        return f"{self.formgrader}/formgrader/{place}"


@dataclass(frozen=True)
class Ways:
    """Submissions that a page leads to: its neighbours in the list, and the next one that waits for a person's mark."""

    before: Row | None = None
    after: Row | None = None
    waiting: Row | None = None


def ways_from(rows: Sequence[Row], index: int) -> Ways:
    """From the page of `rows[index]`; after the last one that waits comes the first."""
    others = [*rows[index + 1 :], *rows[:index]]
    return Ways(
        rows[index - 1] if index else None,
        rows[index + 1] if index + 1 < len(rows) else None,
        next((row for row in others if row.waiting or row.undecided), None),
    )


def render_template(template: str, site: Site, *, page: str, root: str = "", **values: Any) -> str:
    """One page as text. Nothing of a student's is markup in it: autoescape, and a policy that forbids all script but
    the page's own, which is named by its digest."""
    style, script = _style(), _script()
    policy = (
        f"default-src 'none'; img-src data:; style-src '{policy_hash(style)}'; script-src '{policy_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    shared = {"site": site, "page": page, "root": root, "pages": PAGES, "kinds": KINDS, "policy": policy}
    return environment().get_template(template).render(style=Markup(style), script=Markup(script), **shared, **values)


@lru_cache(1)
def _style() -> str:
    """All style sheets; a page has its own copy, so that a single file can be sent on. Paper is light."""
    light, dark = (f":root {{ {page_variables(dark=dark)} }}" for dark in (False, True))
    palettes = f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}"
    return "\n".join([*map(inline_file, STYLES), shift_rules(), palettes])


@lru_cache(1)
def _script() -> str:
    return inline_file("review/staff_report/report.js")


def code_digest() -> str:
    """Identifies everything that pages are made by: templates, styles, script, and all code of this package."""
    return digest_of_code(*(f"review/staff_report/*.{kind}" for kind in ("html", "css", "js")), "**/*.py")


@lru_cache(1)
def environment() -> Environment:
    """The templates' environment."""
    filters = {"readable": readable, "coded": coded, "words": status_words, "symbol": symbol, "kind": kind}
    filters |= {"where": where, "seconds": seconds, "number": number, "points": points_text, "moment": moment}
    filters |= {"span": span, "breakable": breakable, "mean": fmean, "median": median, "deviation": pstdev}
    return make_environment("review/staff_report", filters)


def breakable(name: str) -> Markup:
    """A name of a notebook that may be broken after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def symbol(status: Status) -> str:
    """A status in one character."""
    return SYMBOLS.get(status, "✗")


def kind(check: CheckResult) -> str:
    """The style of a check's row: partial points look like neither a pass nor a failure."""
    if check.status is Status.FAILED and check.earned > 0:
        return "partial"
    special = {Status.PASSED: "passed", Status.SKIPPED: "skipped", Status.UNSUPPORTED: "undecided"}
    return special.get(check.status, "fault" if check.status is Status.INTERNAL else "failed")


def seconds(value: float) -> str:
    """A time for a reader."""
    if value >= 3600:
        return f"{value / 3600:.1f} h"
    if value >= 120:
        return f"{value / 60:.0f} min"
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def span(value: float) -> str:
    """How late something is."""
    hours, minutes = divmod(round(value / 60), 60)
    days, hours = divmod(hours, 24)
    parts = (
        [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * (not days and bool(minutes))
    )
    return " ".join(parts) or "under a minute"


def number(value: float) -> str:
    """A count for a reader: 391,946."""
    return f"{value:,}"


def common_facts(reports: Sequence[GradeReport]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Facts of the runs: each name with its values and how many submissions have each."""
    counts: dict[str, Counter[str]] = {}
    for report in reports:
        for name, value in {**report.facts, "configuration": report.engine}.items():
            if value and name not in OWN_FACTS:
                counts.setdefault(name, Counter())[value] += 1
    return [(FACT_NAMES.get(name, name), values.most_common()) for name, values in counts.items()]


def checks_by_cell(report: GradeReport) -> Mapping[tuple[str, str], list[CheckResult]]:
    """The checks of every grade cell."""
    found: dict[tuple[str, str], list[CheckResult]] = {}
    for check in report.checks:
        found.setdefault((check.notebook, check.cell), []).append(check)
    return found
