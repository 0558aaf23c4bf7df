"""The report's folder: every check is on a page, numbers are the gradebook's, students add text only, and anonymous
pages name nobody."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from example_reports import HOSTILE, broken, check, everyone, failing, hostile, marks_for, report, undecided

from autograder.core.grade_report import AnswerCell, CellRun, Flag, Layer, ManualMark, Model, NotebookRun, Status
from autograder.core.notes import Note
from autograder.core.rows import Comment, Currency, Mark, Row, Standing, rows_of
from autograder.core.text import readable
from autograder.review.staff_report.page_names import STUDENT_PAGE, student_page
from autograder.review.staff_report.site import Site, render_pages, write_report

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)
VOID = {"meta", "img", "br", "link", "input", "hr", "base", "source", "embed", "wbr"}
CLASS_PAGES = {"index.html", "checks.html", "submissions.html"}


class Page(HTMLParser):
    """Collects elements and text as a browser would, and insists that elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.style, self.script = "", "", ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("p", "td", "th", "li", "option", "strong"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        elif self._open[-1:] == ["script"]:
            self.script += data
        else:
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str | None]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def html_of(*reports, marks=None, standings=None, **site) -> dict[str, str]:
    """Every page of a report, by its name."""
    return render_pages(Site("tiny", rows_of(reports, marks or {}, standings), **site), NOW)


def pages_of(*reports, **more) -> dict[str, Page]:
    return {name: Page(html) for name, html in html_of(*reports, **more).items()}


def page_of(*reports, **more) -> Page:
    """All pages as one: for what may stand on any of them."""
    return Page("".join(html_of(*reports, **more).values()))


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_check_stands_on_its_students_page_with_message_hint_and_line():
    pages = pages_of(*everyone())
    for graded in everyone():
        text = words(pages[f"students/{student_page(graded.student)}"].text)
        for each in graded.checks:
            assert each.title in text
            assert words(readable(each.message)) in text
    text = words(pages[f"students/{student_page('blaise')}"].text)
    assert "Hint: Each block doubles the channels of the one before." in text
    assert "line 14 of the cell deeper-cnn-solution" in text
    assert "not judged, because “Logits” did not pass" in text
    assert "NameError: name 'torhc'" in text


def test_a_mistake_links_to_its_section_of_the_lesson():
    lesson = {"lesson": "00_lesson", "sections": {"02_network": {"": "Part 4 · Pooling"}}}
    target = "/lab/tree/release/tiny/00_lesson.ipynb#Part-4-%C2%B7-Pooling"
    for anonymous in (False, True):
        page = pages_of(failing(), anonymous=anonymous, **lesson)["checks.html"]
        links = [a["href"] for a in page.attributes("a") if "lab/tree" in (a.get("href") or "")]
        assert "Part 4 · Pooling" in page.text
        assert links == ([] if anonymous else [f"http://localhost:8888{target}"] * len(links))
        assert bool(links) is not anonymous


def test_hints_stand_where_there_is_something_to_do():
    checks = [replace(c, hint=f"hint for {c.status.value}") for c in failing().checks]
    text = page_of(replace(failing(), checks=checks)).text
    assert "hint for FAILED" in text
    assert "hint for PASSED" not in text
    assert "hint for SKIPPED" not in text


def test_overview_counts_what_needs_a_person_and_leads_there():
    reports = everyone()
    marks = {r.student: marks_for(r, manual=4.0 if r.student == "ada" else None) for r in reports}
    pages = pages_of(*reports, marks=marks)
    text = words(pages["index.html"].text)
    assert "4 graded of 5 submissions" in text
    assert re.search(r"3 waiting for a manual mark blaise, chen, eve", text)
    assert "1 undecided: to be marked by hand chen" in text
    assert "1 failed through the grader’s own fault dorothy" in text
    shown = {
        str(a["data-student"]): str(a["data-tags"]).split() for a in pages["submissions.html"].attributes("tr")[1:]
    }
    links = [str(a["href"]) for a in pages["index.html"].attributes("a")]
    for status, count in (("graded", 4), ("waiting", 3), ("undecided", 1), ("fault", 1)):
        assert f"submissions.html#status={status}" in links
        assert sum(status in tags for tags in shown.values()) == count


def test_totals_are_the_gradebooks_and_include_manual_marks():
    pages = pages_of(report("ada"), marks={"ada": marks_for(report("ada"), manual=3.5)})
    row = pages["submissions.html"].attributes("tr")[1]
    assert (row["data-student"], row["data-total"], row["data-maximum"]) == ("ada", "33.5", "35.0")
    assert "33.5 / 35" in words(pages["submissions.html"].text)
    assert "sums-why 3.5 / 5 marked by hand" in words(pages[f"students/{student_page('ada')}"].text)


def test_late_penalties_are_named_and_taken_off():
    marks = tuple(replace(mark, penalty=2.5) for mark in marks_for(report("ada"), manual=5.0))
    late = Standing("ada", "Ada", "Lovelace", is_submitted=True, seconds_late=7200.0, penalty=5.0)
    page = pages_of(report("ada"), marks={"ada": marks}, standings={"ada": late})["submissions.html"]
    row = page.attributes("tr")[1]
    assert (row["data-total"], row["data-penalty"]) == ("30.0", "5.0")
    assert "late" in str(row["data-tags"]).split()
    assert "Ada Lovelace" in page.text
    assert "2 h" in words(page.text)


def test_without_a_gradebook_points_are_called_automatic():
    pages = pages_of(report("ada"))
    assert "Total (automatic)" in words(pages["submissions.html"].text)
    assert "30 / 30" in words(pages["submissions.html"].text)
    assert "manual marks are unknown" in words(pages["index.html"].text)


def test_whoever_waits_for_a_manual_mark_has_a_link_to_formgrader():
    pages = pages_of(failing(), marks={"blaise": marks_for(failing())}, formgrader="https://hub.example/services/cnn")
    links = [a["href"] for a in pages["submissions.html"].attributes("a")]
    assert "https://hub.example/services/cnn/formgrader/gradebook/tiny/01_sums" in links


def test_graders_fault_shows_no_score():
    row = Row(broken(), marks_for(broken()))
    assert str(row.total) == "– / 35"
    assert str(row.points_of("02_network")) == "– / 20"
    assert "not graded: the grader's own fault" in row.flags
    assert pages_of(broken())["submissions.html"].attributes("tr")[1]["data-total"] == ""


def test_a_manual_mark_settles_an_undecided_check():
    graded = undecided()
    assert Row(graded).undecided == ("network-tests",)
    settled = Mark("02_network", "network-tests", 20.0, 14.0, 20.0, 20.0, False)
    assert Row(graded, [settled]).undecided == ()
    assert "marked by hand; the checks gave 14" in words(page_of(graded, marks={"chen": (settled,)}).text)


def test_a_gradebook_with_other_scores_is_flagged():
    assert Row(report("ada"), marks_for(report("ada"))).is_recorded
    assert "the gradebook holds other scores: grade again" in Row(failing(), marks_for(report("blaise"))).flags


def test_exercises_are_compared_in_points_of_those_who_were_graded():
    page = pages_of(report("ada"), failing(), broken())["index.html"]
    means = {a["data-notebook"]: a["data-mean"] for a in page.attributes("tr") if "data-notebook" in a}
    assert means == {"01_sums": str((10 + 8.5) / 2), "02_network": str((20 + 6) / 2)}


def test_figures_follow_the_dark_mode():
    style = pages_of(report("ada"))["index.html"].style
    (dark,) = re.findall(r"@media screen and \(prefers-color-scheme: dark\) { (:root {[^}]*})", style)
    names = set(re.findall(r"var\((--figure-[a-z]+)", "".join(html_of(failing()).values())))
    assert names
    assert all(f"{name}:" in dark for name in names)


def test_the_integrity_page_is_linked_where_there_is_one_but_not_for_all(tmp_path):
    link = "../tiny-integrity/index.html"
    for exists, anonymous in ((False, False), (True, False), (True, True)):
        write(tmp_path / "tiny", everyone(), anonymous=anonymous)
        index, page = (
            tmp_path / "tiny" / name for name in ("index.html", next((tmp_path / "tiny").glob("students/*")))
        )
        assert (f'href="{link}"' in index.read_text()) is (exists and not anonymous)
        assert (f'href="../{link}"' in page.read_text()) is (exists and not anonymous)
        (tmp_path / "tiny-integrity").mkdir(exist_ok=True)
        (tmp_path / "tiny-integrity" / "index.html").write_text("")


def test_what_goes_wrong_is_grouped_with_who_did_it():
    lost = check("logits", "network-tests", 6, Status.FAILED, message="softmax in forward")
    page = pages_of(report("ada", lost), report("bo", lost), report("cy"))["checks.html"]
    (group,) = [a for a in page.attributes("li") if "data-check" in a]
    assert (group["data-check"], group["data-count"]) == ("02_network/logits", "2")
    assert "2 students Logits softmax in forward" in words(page.text)
    links = {a["href"] for a in page.attributes("a")}
    assert {f"students/{student_page(name)}" for name in ("ada", "bo")} <= links


@pytest.mark.parametrize("figures", [("44.2", "44.2"), ("44.2", "61")], ids=["the same", "others"])
def test_one_students_figures_are_not_given_as_everybodys(figures):
    told = [f"test accuracy {figure} %" for figure in figures]
    lost = [check("logits", "network-tests", 6, Status.FAILED, message=message) for message in told]
    page = pages_of(report("ada", lost[0]), report("bo", lost[1]))["checks.html"]
    (message,) = re.findall(r"2 students Logits (.*?) 02_network", words(page.text))
    assert message == ("For example: test accuracy 61 %" if figures[0] != figures[1] else "test accuracy 44.2 %")


def test_the_page_of_checks_has_jump_links_and_can_be_filtered():
    """A course's page was ten thousand pixels long, and nothing led into it."""
    lost = check("logits", "network-tests", 6, Status.FAILED, message="softmax in forward")
    alone = check("channels double", "network-tests", 8, Status.FAILED, message="three layers")
    page = pages_of(report("ada", lost, alone), report("bo", lost))["checks.html"]
    jumps = [str(a["href"]) for a in page.attributes("a") if str(a["href"]).startswith("#")]
    assert jumps[1:] == ["#mistakes", "#single", "#items"]
    assert {jump[1:] for jump in jumps} <= set(page.ids)
    held = [a for _, a in page.elements if "data-check" in a]
    assert {a["data-what"] for a in held} == {"mistakes", "checks"}
    choices = {a["value"] for a in page.attributes("option")} - {""}
    assert {a["data-tags"] for a in held} <= choices
    assert {"search", "shown", "none", "reset"} <= set(page.ids)


def test_students_without_a_submission_are_named():
    standings = {name: Standing(name) for name in ("ada", "bo")}
    page = pages_of(report("ada"), standings=standings, missing=["bo"])["submissions.html"]
    assert "1 student of the gradebook who handed nothing in: bo." in words(page.text)


FORMS = {"01_sums": "a1b2"}


def test_a_page_leads_to_the_next_students_and_to_the_answer_in_formgrader():
    rows = [
        Row(report(name), marks_for(report(name)) if name == "cy" else (), Standing(name, forms=FORMS))
        for name in ("ada", "bo", "cy")
    ]
    pages = {name: Page(html) for name, html in render_pages(Site("tiny", rows), NOW).items()}
    links = {name: [a["href"] for a in page.attributes("a")] for name, page in pages.items()}
    ada, bo, cy = (f"students/{student_page(name)}" for name in ("ada", "bo", "cy"))
    assert (f"../{bo}" in links[ada], f"../{ada}" in links[bo], f"../{bo}" in links[cy]) == (True, True, True)
    assert "Previous:" not in pages[ada].text
    assert "Next that waits for a mark: cy" in words(pages[ada].text)
    assert "http://localhost:8888/formgrader/submissions/a1b2" in links[cy]


def test_written_answers_are_rendered_and_comments_shown():
    text = "The *stride*: $s^2$, **see** [here](https://evil.example) <script>alert(1)</script>"
    answer = AnswerCell(1, "markdown", "sums-why", text)
    row = Row(replace(report("ada"), sources={"01_sums": [answer]}), marks_for(report("ada")))
    row = replace(row, comments=[Comment("01_sums", "sums-why", "Say <b>why</b>.")])
    html = render_pages(Site("tiny", [row]), NOW)[f"students/{student_page('ada')}"]
    page = Page(html)
    assert "<em>stride</em>" in html
    assert "fb-formula" in html
    assert "Comment: Say <b>why</b>." in words(page.text)
    assert not [a for a in page.attributes("a") if "evil" in (a["href"] or "")]
    assert len(page.attributes("script")) == 1


def test_the_overview_counts_everybody_who_handed_in_and_names_whose_mark_is_of_something_else():
    rows = rows_of([report("ada"), report("bo")], {}, {}, {"bo": Currency.CHANGED})
    site = Site("tiny", rows, not_graded=["cy"], missing=["di"])
    pages = {name: words(Page(html).text) for name, html in render_pages(site, NOW).items()}
    overview, table = pages["index.html"], pages["submissions.html"]
    assert "2 graded of 3 submissions" in overview
    assert "1 marks of something else than what is there now bo" in overview
    assert "1 handed in, but not graded cy" in overview
    assert "1 handed nothing in di" in overview
    assert "Not graded yet: 1 student who handed in: cy. Run autograder grade tiny." in table
    assert "handed in again, or changed, since it was graded: grade again" in table
    nameless = words(Page(render_pages(replace(site, anonymous=True), NOW)["index.html"]).text)
    assert "1 handed in, but not graded" in nameless
    assert not {"cy", "di"} & set(nameless.split())


@pytest.mark.parametrize("name", sorted({*CLASS_PAGES, f"students/{student_page(hostile().student)}"}))
def test_text_from_students_is_never_markup(name):
    html = html_of(hostile(), standings={hostile().student: Standing(hostile().student, HOSTILE, "\u202eevil")})[name]
    page = Page(html)
    tags = [tag for tag, _ in page.elements]
    assert not set(tags) & {"iframe", "object", "embed", "link", "base", "img"}
    assert (tags.count("script"), tags.count("style")) == (1, 1)
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on") or key == "style"]
    assert HOSTILE in page.text
    assert "taken over" not in page.script
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_pages_need_nothing_from_elsewhere_and_run_their_own_script_only():
    for page in pages_of(*everyone()).values():
        policies = [a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        rules = dict(rule.strip().partition(" ")[::2] for rule in str(policies[0]).split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["img-src"] == "data:"
        for rule, text in (("style-src", page.style), ("script-src", page.script)):
            assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            assert text
        assert all(str(a["src"]).startswith("data:image/") for _, a in page.elements if "src" in a)
        assert "url(" not in page.style
        assert "@import" not in page.style


def test_every_link_leads_to_a_page_and_a_place_on_it():
    pages = pages_of(*everyone(), marks={r.student: marks_for(r) for r in everyone()})
    for name, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), name
        for attributes in page.attributes("a"):
            href = str(attributes["href"])
            if href.startswith("http://localhost:8888/"):
                continue  # formgrader and Jupyter
            file, _, place = href.partition("#")
            folder = name.rpartition("/")[0]
            target = name if not file else file.removeprefix("../") if file.startswith("../") else f"{folder}{file}"
            assert target in pages, f"{name}: {href}"
            assert not place or "=" in place or unquote(place) in pages[target].ids, f"{name}: {href}"


def test_pages_have_landmarks_headers_and_a_language():
    for name, page in pages_of(*everyone()).items():
        tags = [tag for tag, _ in page.elements]
        assert page.attributes("html") == [{"lang": "en"}]
        assert (tags.count("main"), tags.count("nav"), tags.count("h1")) == (1, 1, 1), name
        assert page.attributes("a")[0]["href"] == f"#{page.attributes('main')[0]['id']}"
        assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in page.attributes("th"))
        regions = [attributes for attributes in page.attributes("div") if attributes.get("role") == "region"]
        assert all(attributes.get("aria-label") or attributes.get("aria-labelledby") for attributes in regions)


def test_grading_without_a_jail_is_said_first():
    loose = report("ada", jailed=False)
    assert "No jail. 1 of 2 submissions" in words(page_of(loose, report("bo")).text)
    assert "No jail." not in page_of(report("bo")).text


def test_differing_facts_are_all_named():
    other = report("bo", facts={"data": "built-in offline set"})
    text = words(page_of(report("ada"), report("cy"), other).text)
    assert "sha256 0123456789abcdef (2 submissions) built-in offline set (1 submission)" in text


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_words(status):
    each = failing().checks[4]
    text = page_of(report("ada", type(each)(**{**vars(each), "status": status, "earned": 0.0}))).text
    assert "UNSUPPORTED" not in text
    assert "INTERNAL" not in text


def test_page_of_nothing_says_what_to_do():
    assert "autograder grade tiny" in page_of().text


def test_names_of_pages_are_safe_and_differ_where_file_systems_do_not():
    names = ["ada", "Ada", "a/../../da", "", ".", "ada ", "é", "x" * 300, hostile().student, "\ud800"]
    pages = [student_page(name) for name in names]
    assert len({page.lower() for page in pages}) == len(names)
    assert all(STUDENT_PAGE.fullmatch(page) and len(page) < 80 for page in pages)
    assert pages[0].startswith("ada-")


def write(folder, reports, marks=None, standings=None, **more):
    missing = sorted(set(standings or {}) - {r.student for r in reports})
    return write_report(folder, Site("tiny", rows_of(reports, marks or {}, standings), missing=missing, **more))


def written(folder):
    """Every page, and which writing of it this is."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.html")
    }


def test_files_are_private(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert write(folder, everyone()) == folder / "index.html"
    pages = {f"students/{student_page(r.student)}" for r in everyone()}
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        *CLASS_PAGES,
        ".pages.json",
        *pages,
    }
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_another_heading_for_a_check_is_on_the_page_although_nobody_was_graded_again(tmp_path):
    for heading in ("Pooling", "Strides"):
        write(tmp_path, everyone(), lesson="00_lesson", sections={"02_network": {"": heading}})
        assert heading in (tmp_path / "checks.html").read_text()


def test_a_regrade_of_one_student_rewrites_that_page_and_the_classs(tmp_path):
    reports = everyone()
    write(tmp_path, reports)
    before = written(tmp_path)
    write(tmp_path, [replace(r, seconds=99.0) if r.student == "chen" else r for r in reports])
    after = written(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        *CLASS_PAGES,
        f"students/{student_page('chen')}",
    }


def test_a_new_mark_rewrites_its_students_page(tmp_path):
    marks = {r.student: marks_for(r) for r in everyone()}
    write(tmp_path, everyone(), marks)
    before = written(tmp_path)
    write(tmp_path, everyone(), {**marks, "ada": marks_for(report("ada"), manual=5.0)})
    after = written(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    own, leads_here = f"students/{student_page('ada')}", f"students/{student_page(hostile().student)}"
    assert changed - CLASS_PAGES == {own, leads_here}  # it was the next one that waited


def test_nothing_new_leaves_all_but_the_overview_with_its_time(tmp_path):
    write(tmp_path, everyone())
    before = written(tmp_path)
    write(tmp_path, everyone())
    assert {name for name, state in written(tmp_path).items() if state != before[name]} <= {"index.html"}


@pytest.mark.parametrize("lost", ["nothing", "the list of pages", "a page"])
def test_a_page_that_is_gone_or_unlisted_is_put_right(tmp_path, lost):
    write(tmp_path, everyone())
    (tmp_path / "students" / "notes.html").write_text("the TA's own")
    page = tmp_path / "students" / student_page("ada")
    if lost == "the list of pages":
        (tmp_path / ".pages.json").write_text("{")
    elif lost == "a page":
        page.unlink()
    write(tmp_path, [report("ada")])
    assert sorted(path.name for path in (tmp_path / "students").iterdir()) == sorted([page.name, "notes.html"])


# Anonymous

CANARY = "canary"


def planted(number):
    """A report with a word of its own wherever something of a student's can stand."""
    words = iter(f"{CANARY}{'abcd'[number]}{place}" for place in range(99))
    text = lambda: next(words)  # noqa: E731
    error = {"output_type": "error", "ename": text(), "evalue": text(), "traceback": [text()]}
    cells = [CellRun(1, Status.ERROR, 0.5, [error, {"output_type": "stream", "text": text()}], text())]
    lost = {"message": text(), "place": text(), "code": text(), "line": 3, "source_cell": 1}
    return report(
        text(),
        check("logits", "network-tests", 6, Status.FAILED, **lost),
        check("weights learn", "network-tests", 6, Status.ERROR, message=f"ValueError: {text()}"),
        check("channels double", "network-tests", 8, Status.FAILED, message=f"got `{text()}`, a common mistake"),
        notebooks=[NotebookRun("02_network", Status.TIMEOUT, text(), cells, 3.0)],
        notes=[Note(text())],
        facts={"checkpoint": text(), "another": text(), "device": "cpu"},
        key=text(),
        answers={"02_network": {"network-tests": text()}},
        manual=[ManualMark("01_sums", "sums-why", 3.0, None, 5.0, text(), text(), "kept", "2026-01-01T10:00:00")],
        flags=[Flag("lookup", "02_network", text())],
        sources={"02_network": [AnswerCell(1, "code", text(), text())]},
        models=[Model("02_network", "Network", 1234, 56789, [Layer("other", text(), (3,), ())])],
    )


def standing_of(student: str) -> Standing:
    first, last, email, lms = (f"{CANARY}{part}" for part in ("first", "last", "email", "lms"))
    return Standing(student, first, last, email, lms, True, NOW, NOW, 3600.0, 7200.0, 1.0)


def test_anonymous_pages_hold_nothing_of_any_students(tmp_path):
    reports = [planted(number) for number in range(4)]
    marks = {r.student: marks_for(r) for r in reports}
    standings = {name: standing_of(name) for name in [*(r.student for r in reports), f"{CANARY}missing"]}
    changes = {r.student: [f"{CANARY}change"] for r in reports}
    write(tmp_path / "named", reports, marks, standings=standings, changes=changes)
    write(tmp_path / "nameless", reports, marks, standings=standings, changes=changes, anonymous=True)
    for folder, found in (("named", True), ("nameless", False)):
        content = "".join(p.name + p.read_text() for p in (tmp_path / folder).rglob("*") if p.is_file())
        assert (CANARY in content) is found
    assert "got …, a common mistake" in (tmp_path / "nameless" / "checks.html").read_text()


def test_anonymous_pages_have_the_same_numbers_in_another_order(tmp_path):
    reports = [report(f"s{k:02}", check("logits", "network-tests", 6, Status.FAILED, earned=k / 10)) for k in range(40)]
    orders = []
    for name, anonymous in (("named", False), ("a", True), ("b", True)):
        write(tmp_path / name, reports, anonymous=anonymous)
        rows = Page((tmp_path / name / "submissions.html").read_text()).attributes("tr")[1:]
        orders.append([row["data-total"] for row in rows])
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1
    assert [row["data-student"] for row in rows][:2] == ["student 01", "student 02"]


def test_an_anonymous_report_in_the_place_of_a_named_one_leaves_no_name(tmp_path):
    write(tmp_path, [report("adalovelace")])
    (tmp_path / ".pages.json").unlink()
    write(tmp_path, [report("adalovelace")], anonymous=True)
    assert "adalovelace" not in "".join(p.name + p.read_text() for p in tmp_path.rglob("*") if p.is_file())
