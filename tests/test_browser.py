"""The report of a class in a real browser: what it loads, what it runs, who can use it, and four tasks of a TA."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_course
from browser import Watched, accessibility_problems, open_browser, watched_page
from playwright.sync_api import Browser, Locator, Page

from autograder.cli.shared import report_folder
from autograder.core.config import load_course
from autograder.core.rows import Row, rows_of
from autograder.course.folder import open_course
from autograder.course.gradebook import read_marks, read_standings
from autograder.course.report_store import load_reports
from autograder.review.staff_report.page_names import student_page
from autograder.review.staff_report.write import write_course_report
from tools.sample_class import ALIKE, FOURTEEN, TRICKS, make_class

SIZE = 60
PAGES = ("index.html", "checks.html", "submissions.html")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up class of 60, and as many more as there are tricks; report and integrity page are written."""
    place = make_class(tmp_path_factory.mktemp("class") / "course", SIZE, hostile=True, with_files=True)
    assert tiny_course.run("integrity", "--no-models", "--course", place).exit_code == 0
    write_course_report(open_course(place), load_course(place), "cnn", report_folder(place, "cnn"))
    return place


@pytest.fixture(scope="module")
def site(course: Path) -> Path:
    return report_folder(course, "cnn")


@pytest.fixture(scope="module")
def rows(course: Path) -> dict[str, Row]:
    url = open_course(course).db_url
    found = rows_of(load_reports(course, "cnn"), read_marks(url, "cnn"), read_standings(url, "cnn"))
    return {row.report.student: row for row in found}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A page; after the test nothing was complained of, nothing asked of a network, and no student's script has run."""
    with watched_page(browser) as opened:
        yield opened
        assert opened.complaints == []
        assert opened.requests == []
        assert opened.page.title() != "taken over"


def visible_students(page: Page) -> list[str]:
    return [str(row.get_attribute("data-student")) for row in page.locator("#table tbody tr:visible").all()]


def column(page: Page, heading: str) -> Locator:
    return page.locator("#table thead th", has_text=heading).get_by_role("button")


def test_sorting_by_total_goes_both_ways(watched: Watched, site: Path, rows: dict[str, Row]) -> None:
    page = watched.open(site / "submissions.html")
    totals = sorted((row.total.earned or 0 for row in rows.values()), reverse=True)
    for wanted, order in ((totals, "descending"), (totals[::-1], "ascending")):
        column(page, "Total").click()
        assert page.locator("#table thead th", has_text="Total").get_attribute("aria-sort") == order
        shown = [float(str(row.get_attribute("data-total"))) for row in page.locator("#table tbody tr").all()]
        assert shown == pytest.approx(wanted)


def test_searching_finds_by_id_and_by_what_to_look_at_and_says_how_many(watched: Watched, site: Path) -> None:
    page = watched.open(site / "submissions.html")
    page.get_by_label("Search").fill("student-014")
    assert visible_students(page) == [FOURTEEN]
    assert page.locator("#shown").inner_text() == f"1 of {SIZE + len(TRICKS)} shown"
    page.get_by_label("Search").fill("nobody has this name")
    assert visible_students(page) == []
    page.get_by_role("button", name="Show all").click()
    assert len(visible_students(page)) == SIZE + len(TRICKS)


def test_filters_stay_in_the_address(watched: Watched, site: Path, rows: dict[str, Row]) -> None:
    page = watched.open(site / "submissions.html")
    page.get_by_label("Handed in").select_option("late")
    late = {name for name, row in rows.items() if row.standing and row.standing.seconds_late}
    assert set(visible_students(page)) == late
    assert late
    page.reload()
    assert set(visible_students(page)) == late


def test_everything_can_be_reached_by_keyboard(watched: Watched, site: Path) -> None:
    page = watched.open(site / "submissions.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    column(page, "Total").focus()
    page.keyboard.press("Enter")
    assert page.locator("#table thead th", has_text="Total").get_attribute("aria-sort") == "descending"
    page.locator("#table tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/students/"))


def test_every_link_of_every_page_leads_somewhere(watched: Watched, site: Path) -> None:
    """Followed as the browser resolves it; a fragment must be the id of something there."""
    ids: dict[str, set[str]] = {}
    wanted: list[tuple[str, str, str]] = []
    integrity = site.with_name("cnn-integrity") / "index.html"
    for path in [*(site / name for name in PAGES), integrity, *sorted((site / "students").glob("*.html"))]:
        page = watched.open(path)
        own = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(own) == len(set(own)), path.name
        ids[path.resolve().as_uri()] = set(own)
        links = page.evaluate("[...document.querySelectorAll('a')].map((a) => a.href.baseVal ?? a.href)")
        wanted += [(path.name, *_parted(page, link)) for link in links]
    for where, address, fragment in wanted:
        if address.startswith("http://localhost:8888/"):
            continue  # formgrader, and the lesson in JupyterLab: other programs
        assert address in ids, f"{where}: {address}"
        assert not fragment or "=" in fragment or fragment in ids[address], f"{where}: {address}#{fragment}"


def _parted(page: Page, link: str) -> tuple[str, str]:
    address = page.evaluate("(link) => new URL(link, document.baseURI).href", link)
    before, _, fragment = str(address).partition("#")
    return before, page.evaluate("decodeURIComponent", fragment)


def test_hostile_text_is_text_on_every_page_that_shows_it(watched: Watched, site: Path, rows: dict[str, Row]) -> None:
    hostile = [name for name in rows if not name.startswith("student-")]
    assert len(hostile) == len(TRICKS)
    for name in hostile:
        page = watched.open(site / "students" / student_page(name))
        page.locator("details").evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
        assert page.locator("main script, main iframe, main object, main form, main link, main style").count() == 0
        assert page.locator("img:not([src^='data:image/'])").count() == 0
        assert page.locator("main").is_visible()
        assert page.evaluate("[...document.querySelectorAll('a')].every((a) => !/^javascript/i.test(String(a.href)))")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_problem(browser: Browser, site: Path, dark: bool) -> None:
    with watched_page(browser, dark=dark) as watched:
        for name in [*PAGES, f"students/{student_page(FOURTEEN)}", f"students/{student_page('student-001')}"]:
            page = watched.open(site / name)
            page.locator("details").evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
            assert accessibility_problems(page) == [], name


# How many names would be broken inside, if all were one long word: lines are boxes of an element in a line.
BROKEN = """() => {
  for (const part of document.querySelectorAll("details")) part.open = true;
  const names = [...document.querySelectorAll("main bdi")];
  for (const name of names) name.textContent = "wolfeschlegelstein";
  return names.filter((name) => name.getClientRects().length > 1).length;
}"""


def test_a_phone_needs_no_sideways_scrolling_of_the_page_and_breaks_no_name(browser: Browser, site: Path) -> None:
    with watched_page(browser, width=390, height=844) as watched:
        for name in [*PAGES, f"students/{student_page(FOURTEEN)}", "../cnn-integrity/index.html"]:
            page = watched.open(site / name)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), name
            assert page.evaluate(BROKEN) == 0, name


def test_pages_can_be_read_without_script(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((site / "submissions.html").as_uri())
    assert page.locator("#table tbody tr").count() == SIZE + len(TRICKS)
    assert not page.locator("form.controls").is_visible()
    context.close()


def test_checks_are_found_by_words_and_by_exercise(watched: Watched, site: Path) -> None:
    page = watched.open(site / "checks.html")
    items, mistakes = page.locator("#items ~ .scroll tbody tr:visible"), page.locator(".mistakes li:visible")
    page.get_by_label("Exercise").select_option("02_deeper_cnn")
    assert items.count() > 0
    held = [*items.all(), *page.locator(".mistakes > li:visible").all()]
    assert {str(each.get_attribute("data-check")).split("/")[0] for each in held} == {"02_deeper_cnn"}
    page.get_by_label("Search").fill("nothing says this")
    assert (items.count(), mistakes.count()) == (0, 0)
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("link", name="All checks").click()
    assert page.locator("#items").evaluate("(each) => Math.abs(each.getBoundingClientRect().top) < innerHeight")


# Four tasks, each of at most three clicks from the overview


def test_task_who_still_needs_a_manual_mark(watched: Watched, site: Path, rows: dict[str, Row]) -> None:
    page = watched.open(site / "index.html")
    page.get_by_role("link", name=re.compile("waiting for a manual mark")).click()
    assert set(visible_students(page)) == {row.student for row in rows.values() if row.waiting}
    assert page.get_by_role("link", name="mark 03_depthwise_separable in formgrader").first.is_visible()


def test_task_which_check_most_students_fail_and_why(watched: Watched, site: Path, rows: dict[str, Row]) -> None:
    page = watched.open(site / "index.html")
    page.get_by_role("link", name="Checks", exact=True).click()
    column_of_failures = page.locator("#items ~ .scroll thead th", has_text="Failed").get_by_role("button")
    column_of_failures.click()
    title = page.locator("#items ~ .scroll tbody th").first.inner_text()
    assert title == "64×64 images work, by global average pooling and one linear classifier"
    first = page.locator(".mistakes li").first.inner_text()
    assert re.search(r"\d+ students", first)
    assert "64×64" in first


def test_task_which_two_submissions_are_suspiciously_alike(watched: Watched, site: Path) -> None:
    page = watched.open(site / "index.html")
    page.get_by_role("link", name="Integrity", exact=True).click()
    first = page.locator("table tbody tr").first
    assert all(student in first.inner_text() for student in ALIKE)
    assert "the same checkpoint file" in first.inner_text()
    first.get_by_role("link", name="Evidence").click()
    assert accessibility_problems(page) == []


def test_task_why_this_student_got_14_of_20(watched: Watched, site: Path, rows: dict[str, Row]) -> None:
    page = watched.open(site / "index.html")
    page.get_by_role("link", name="Submissions", exact=True).click()
    page.get_by_role("link", name=FOURTEEN, exact=True).click()
    line = page.locator(".parts tbody tr", has_text="02_deeper_cnn")
    assert "14 / 20" in line.inner_text()
    lost = [c for c in rows[FOURTEEN].report.checks if c.notebook == "02_deeper_cnn" and c.earned < c.points]
    assert sum(check.points - check.earned for check in lost) == 6
    for check in lost:
        assert check.title in line.inner_text()
        row = page.locator(".checks tr", has_text=check.title)
        assert " ".join(check.message.split()) in " ".join(row.inner_text().split())
