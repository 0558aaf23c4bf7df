"""The HTML page: every submission and check is on it, its numbers are the gradebook's, students add text only."""

import re
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest
from example_reports import HOSTILE, broken, everyone, failing, hostile, marks_for, report, undecided

from autograder.gradebook import Mark
from autograder.overview import Row
from autograder.report import readable, render_report, write_report
from autograder.results import Status

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)
VOID = {"meta", "img", "br", "link", "input", "hr", "base", "source", "embed"}


class Page(HTMLParser):
    """Collects elements and text as a browser would, and insists that elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("p", "td", "th", "li"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(*reports, marks=None) -> Page:
    return Page(render_report("tiny", reports, marks or {}, NOW))


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_check_stands_on_the_page_with_its_message_hint_and_line():
    text = words(page_of(*everyone()).text)
    for graded in everyone():
        for check in graded.checks:
            assert check.title in text
            assert words(readable(check.message)) in text
    assert "Hint: Each block doubles the channels of the one before." in text
    assert "See line 14 of the cell deeper-cnn-solution." in text
    assert "not judged, because “Logits” did not pass" in text
    assert "Cell 5 of the notebook: error. NameError: name 'torhc' is not defined" in text


def test_hints_stand_where_there_is_something_to_do():
    checks = [replace(c, hint=f"hint for {c.status.value}") for c in failing().checks]
    text = page_of(replace(failing(), checks=checks)).text
    assert "hint for FAILED" in text
    assert "hint for PASSED" not in text
    assert "hint for SKIPPED" not in text


def test_overview_counts_what_needs_a_person():
    reports = everyone()
    marks = {r.student: marks_for(r, manual=4.0 if r.student == "ada" else None) for r in reports}
    text = words(page_of(*reports, marks=marks).text)
    assert "4 graded of 5 submissions" in text
    assert re.search(r"3 waiting for a manual mark blaise, chen, eve", text)
    assert "1 undecided: to be marked by hand chen" in text
    assert "1 failed through the grader’s own fault dorothy" in text


def test_totals_are_the_gradebooks_and_include_manual_marks():
    text = words(page_of(report("ada"), marks={"ada": marks_for(report("ada"), manual=3.5)}).text)
    assert "ada 33.5 / 35" in text
    assert "sums-why 3.5 / 5 marked by hand" in text


def test_without_a_gradebook_points_are_called_automatic():
    text = words(page_of(report("ada")).text)
    assert "Total (automatic)" in text
    assert "ada 30 / 30" in text
    assert "manual marks are unknown" in text


def test_graders_fault_shows_no_score():
    row = Row(broken(), marks_for(broken()))
    assert str(row.total) == "– / 35"
    assert str(row.points_of("02_network")) == "– / 20"
    assert "not graded: the grader's own fault" in row.flags


def test_a_manual_mark_settles_an_undecided_check():
    graded = undecided()
    assert Row(graded).undecided == ("network-tests",)
    settled = Mark("02_network", "network-tests", 20.0, 14.0, 20.0, 20.0, False)
    row = Row(graded, [settled])
    assert row.undecided == ()
    assert "marked by hand; the checks gave 14" in words(page_of(graded, marks={"chen": (settled,)}).text)


def test_a_gradebook_with_other_scores_is_flagged():
    assert Row(report("ada"), marks_for(report("ada"))).is_recorded
    assert "the gradebook holds other scores: grade again" in Row(failing(), marks_for(report("blaise"))).flags


def test_text_from_students_is_never_markup():
    html = render_report("tiny", [hostile()], {}, NOW)
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "svg", "form", "link", "base"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in page.text
    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_page_needs_nothing_from_elsewhere():
    html = render_report("tiny", everyone(), {}, NOW)
    page = Page(html)
    policy = [a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy[0].startswith("default-src 'none'")
    assert not [a for _, a in page.elements if "src" in a]
    assert all(a["href"].startswith("#") for a in page.attributes("a"))
    assert "url(" not in html
    assert "@import" not in html


def test_every_link_leads_to_a_section():
    page = page_of(*everyone())
    targets = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(targets) == len(set(targets))
    assert {a["href"][1:] for a in page.attributes("a")} <= set(targets)


def test_tables_have_headers_with_a_scope_and_the_page_a_language():
    page = page_of(*everyone())
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in page.attributes("th"))
    regions = [attributes for attributes in page.attributes("div") if attributes.get("role") == "region"]
    assert all(attributes.get("aria-label") or attributes.get("aria-labelledby") for attributes in regions)


def test_grading_without_a_jail_is_said_first():
    loose = report("ada", facts={"isolation": "none: student code ran with the grader's own rights"})
    assert "No jail. 1 of 2 submissions" in words(page_of(loose, report("bo")).text)
    assert "No jail." not in page_of(report("bo")).text


def test_differing_facts_are_all_named():
    other = report("bo", facts={"data": "built-in offline set"})
    text = words(page_of(report("ada"), report("cy"), other).text)
    assert "sha256 0123456789abcdef (2 submissions) built-in offline set (1 submission)" in text


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_words(status):
    check = failing().checks[4]
    text = page_of(report("ada", type(check)(**{**vars(check), "status": status, "earned": 0.0}))).text
    assert "UNSUPPORTED" not in text
    assert "INTERNAL" not in text


def test_page_of_nothing_says_what_to_do():
    assert "autograder grade tiny" in page_of().text


def test_writing_leaves_one_private_file(tmp_path):
    path = write_report(tmp_path / "new" / "folder", "tiny", everyone(), {})
    assert path == tmp_path / "new" / "folder" / "index.html"
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_large_class_takes_seconds():
    reports = [report(f"student{number:03}") for number in range(300)]
    began = datetime.now(timezone.utc)
    html = render_report("tiny", reports, {}, NOW)
    assert html.count("<article") == 300
    assert (datetime.now(timezone.utc) - began).total_seconds() < 20
