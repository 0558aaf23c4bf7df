"""What a browser gets of a hostile submission: a real formgrader, a real Chromium, every file, page and link."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from browser import skip_without_browser
from test_published import add_checkpoint, hand_in

from tests import tiny_course
from tests.conftest import nbgrader
from tools.published import formgrader, problems_with_files, problems_with_pages

WHY = """# sums-why [a](plot.html)

[open](plot.html) <a href=/formgrader/>raw</a> <http://localhost:8888/> $\\href{plot.html}{x}$ ![x](plot.html)
"""
SHOWS = """total = 50
from IPython.display import HTML, display
display(HTML("<a href=plot.html>click</a> <b id=sums-why>x</b> $\\\\href{plot.html}{y}$"))
"""


@pytest.fixture(scope="module", autouse=True)
def _with_a_browser() -> None:
    skip_without_browser()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which eve's submission has files of every kind and links to them, with feedback and report."""
    root = tmp_path_factory.mktemp("served") / "course"
    tiny_course.make(root)
    add_checkpoint(root)
    (root / "source" / tiny_course.ASSIGNMENT / "kit.py").write_text("the_courses = 'own'\n")
    (hand_in(root, "eve") / "01_sums.ipynb").write_text(json.dumps(tiny_course.sums(SHOWS, WHY)))
    for command in ("autograde", "generate_feedback"):
        done = nbgrader(root, command, tiny_course.ASSIGNMENT)
        assert done.returncode == 0, done.stderr
    assert tiny_course.run("report", "--course", root).exit_code == 0
    return root


def found(course: Path) -> list[str]:
    files = problems_with_files(course, tiny_course.ASSIGNMENT, "eve")
    return [*files, *problems_with_pages(course, tiny_course.ASSIGNMENT, {"eve": ()})["eve"]]


def test_nothing_active_is_served_and_no_link_leads_back(course: Path) -> None:
    assert found(course) == []


def test_formgraders_own_button_lets_nothing_through_either(course: Path) -> None:
    hand_in(course, "mallory")
    with formgrader(course) as address:
        button = f"{address}/api/submission/{tiny_course.ASSIGNMENT}/mallory/autograde"
        with urllib.request.urlopen(urllib.request.Request(button, data=b"", method="POST"), timeout=300) as answer:
            assert json.loads(answer.read())["success"]
    assert problems_with_files(course, tiny_course.ASSIGNMENT, "mallory") == [
        "no page of feedback '01_sums.html'",
        "no page of feedback '02_doubles.html'",
    ]


def test_the_browser_sees_what_was_served_before(course: Path) -> None:
    """Planted as earlier graders left it: each is found, so that the test above can fail."""
    graded, feedback = (course / step / "eve" / tiny_course.ASSIGNMENT for step in ("autograded", "feedback"))
    page = "<!DOCTYPE html><script>fetch('/formgrader/api/grades')</script>"
    (graded / "plot.html").write_text(page)
    (graded / "notes.txt").write_text(page)
    (feedback / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (feedback / "02_doubles.html").unlink()
    path = graded / "01_sums.ipynb"
    path.chmod(0o644)
    notebook = json.loads(path.read_text())
    live = "<a href='plot.html'>x</a><img src='/formgrader/api/grades'><p id='sums-why'>x</p><script>nobody()</script>"
    notebook["cells"][0]["outputs"][-1]["data"] = {"text/html": live}
    path.write_text(json.dumps(notebook))
    problems = "\n".join(found(course))
    for told in (
        "autograded/ holds 'plot.html'",
        "feedback/ holds 'drawing.svg'",
        "no page of feedback '02_doubles.html'",
        "formgrader serves 'plot.html' as text/html",
        "'notes.txt' looks like a page to browsers",
        "drawing.svg looks like a page to browsers",
        "<a href='plot.html'>",
        "<img src='/formgrader/api/grades'>",
        "<script =''> in a notebook",
        "the id of the field 'sums-why' stands before it, too",
        "an exception: nobody is not defined",
    ):
        assert told in problems, problems


def test_a_changed_mark_is_seen(course: Path) -> None:
    """A page that gives marks when it is opened."""
    graded = course / "autograded" / "eve" / tiny_course.ASSIGNMENT
    script = (
        "<script>fetch('/formgrader/api/grades?submission_id=' + location.pathname.split('/').at(-2))"
        ".then((r) => r.json()).then((all) => all.forEach((g) => fetch('/formgrader/api/grade/' + g.id,"
        " { method: 'PUT', body: JSON.stringify({ ...g, manual_score: 2 }) })))</script>"
    )
    path = graded / "01_sums.ipynb"
    path.chmod(0o644)
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["outputs"][-1]["data"] = {"text/html": script}
    path.write_text(json.dumps(notebook))
    assert "a mark has changed" in found(course)
