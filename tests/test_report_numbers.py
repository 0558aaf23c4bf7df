"""Every number in the report is the gradebook's, as nbgrader's own models compute it."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean, median

import pytest
from bs4 import BeautifulSoup, Tag
from nbgrader.api import Gradebook

from autograder.cli.shared import report_folder
from autograder.core.config import load_course
from autograder.course.folder import open_course
from autograder.review.staff_report.page_names import student_page
from autograder.review.staff_report.write import write_course_report
from tools.sample_class import make_class


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = make_class(tmp_path_factory.mktemp("numbers") / "course", 60)
    write_course_report(open_course(place), load_course(place), "cnn", report_folder(place, "cnn"))
    return place


def page(course: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((report_folder(course, "cnn") / name).read_text(), "html.parser")


def pair(cell: Tag) -> tuple[float, float]:
    """`14.5 / 20` as numbers."""
    earned, maximum = cell.get_text(strip=True).replace("−", "-").split("/")
    return float(earned), float(maximum)


def test_the_table_holds_each_notebooks_score_penalty_and_total(course: Path) -> None:
    soup = page(course, "submissions.html")
    heads = [re.sub(r"\s+", " ", head.get_text(strip=True)) for head in soup.select("#table thead th")]
    lines = {str(row["data-student"]): row for row in soup.select("#table tbody tr")}
    with Gradebook(open_course(course).db_url) as gradebook:
        submissions = gradebook.find_assignment("cnn").submissions
        assert {s.student.id for s in submissions} == set(lines)
        for submission in submissions:
            cells = dict(zip(heads, lines[submission.student.id].select("th, td"), strict=True))
            for notebook in submission.notebooks:
                assert pair(cells[notebook.name]) == pytest.approx((notebook.score, notebook.max_score), abs=1e-4)
            total = max(0.0, submission.score - submission.late_submission_penalty)
            assert pair(cells["Total"]) == pytest.approx((total, submission.max_score), abs=1e-4)
            assert float(str(lines[submission.student.id]["data-total"])) == pytest.approx(total, abs=1e-5)
            shown = cells["Penalty"].get_text(strip=True).lstrip("−") or "0"
            assert float(shown) == pytest.approx(submission.late_submission_penalty, abs=1e-4)
        assert any(s.late_submission_penalty for s in submissions)


def test_a_submissions_page_holds_the_score_of_every_cell(course: Path) -> None:
    with Gradebook(open_course(course).db_url) as gradebook:
        for submission in gradebook.find_assignment("cnn").submissions:
            soup = page(course, f"students/{student_page(submission.student.id)}")
            tasks = {row.select_one("th").get_text(strip=True): row for row in soup.select("tr.task")}  # type: ignore[union-attr]
            grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
            assert set(tasks) == {grade.cell.name for grade in grades}
            for grade in grades:
                number = tasks[grade.cell.name].select_one("td.number")
                assert number is not None
                if grade.manual_score is None and grade.auto_score is None:
                    assert number.get_text(strip=True).startswith("–")  # nobody has given a mark yet
                else:
                    assert pair(number) == pytest.approx((grade.score, grade.max_score), abs=1e-4)
            total = max(0.0, submission.score - submission.late_submission_penalty)
            assert float(str(soup.select_one("h1 [data-total]")["data-total"])) == pytest.approx(total, abs=1e-5)  # type: ignore[index]


def test_the_overview_sums_up_the_same_totals(course: Path) -> None:
    text = re.sub(r"\s+", " ", page(course, "index.html").get_text(" "))
    with Gradebook(open_course(course).db_url) as gradebook:
        found = gradebook.find_assignment("cnn").submissions
        totals = [max(0.0, s.score - s.late_submission_penalty) for s in found]
        grades = {s.student.id: [grade for notebook in s.notebooks for grade in notebook.grades] for s in found}
        unmarked = [who for who, own in grades.items() for g in own if g.needs_manual_grade and g.auto_score is None]
        waiting = set(unmarked)
    shown = re.search(r"mean ([\d.]+), median ([\d.]+) of ([\d.]+)", text)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(fmean(totals), abs=0.05)
    assert float(shown[2]) == pytest.approx(median(totals), abs=0.05)
    assert re.search(rf"\b{len(waiting)} waiting for a manual mark", text)


def test_points_of_checks_add_up_to_the_automatic_scores(course: Path) -> None:
    with Gradebook(open_course(course).db_url) as gradebook:
        for submission in gradebook.find_assignment("cnn").submissions:
            soup = page(course, f"students/{student_page(submission.student.id)}")
            held = {
                g.cell.name: g.auto_score for n in submission.notebooks for g in n.grades if g.auto_score is not None
            }
            for body in soup.select("table.checks tbody"):
                rows = body.select("tr")
                name = rows[0].select_one("th").get_text(strip=True)  # type: ignore[union-attr]
                if name in held:
                    earned = sum(pair(row.select_one("td.number"))[0] for row in rows[1:])  # type: ignore[arg-type]
                    assert earned == pytest.approx(held[name], abs=0.05)
