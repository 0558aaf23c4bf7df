"""Stock nbgrader commands on the course, as an instructor types them, and what formgrader and feedback then show."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import shutil
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook

from tests.conftest import GradedCourse, nbgrader
from tools import published
from tools.samples import ASSIGNMENT, build_sample, executable

CANARY = "taken"  # in every attempt of the sample `markdown_script`


class LiveMarkup(HTMLParser):
    """Collects what a browser would run: script elements, event handlers, script addresses; a student's by canary."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_script = tag == "script"
        for name, value in attrs:
            if CANARY in (value or "") and (name.startswith("on") or (value or "").strip().startswith("javascript:")):
                self.found.append(f"<{tag} {name}={value!r}>")

    def handle_data(self, data: str) -> None:
        if self.in_script and CANARY in data:
            self.found.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False


def live_markup(page: str) -> list[str]:
    parser = LiveMarkup()
    parser.feed(page)
    return parser.found


def test_live_markup_is_seen_by_the_tests_that_look_for_it() -> None:
    page = "<script>taken</script><a href='javascript:taken'>x</a><img onerror=taken><p title=taken>taken</p>"
    assert len(live_markup(page)) == 3


@pytest.fixture(scope="module")
def data_name(graded_course: GradedCourse) -> str:
    """What is handed in besides has weights for the same images."""
    return graded_course.data


@pytest.fixture(scope="module")
def course(graded_course: GradedCourse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the graded course, for tests that change something."""
    root = tmp_path_factory.mktemp("course") / "copy"
    shutil.copytree(graded_course.root, root, symlinks=True)
    return root


def scores(course: Path, student: str) -> dict[str, float | None]:
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission(ASSIGNMENT, student)
        return {grade.name: grade.auto_score for n in submission.notebooks for grade in n.grades}


def test_regrading_by_force_gives_the_same_marks(course: Path) -> None:
    before = scores(course, "reference")
    done = nbgrader(course, "autograde", ASSIGNMENT, "--student", "reference", "--force")
    assert done.returncode == 0, done.stderr
    assert scores(course, "reference") == before


def test_no_execute_does_not_let_stored_outputs_pass(course: Path, data_name: str) -> None:
    folder = course / "submitted" / "pretender" / ASSIGNMENT
    build_sample("untouched", folder, data_name)
    for path in folder.glob("*.ipynb"):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                result = {"output_type": "execute_result", "data": {"text/plain": "12.0"}, "metadata": {}}
                cell["outputs"] = [{**result, "execution_count": 1}]
        path.write_text(json.dumps(notebook))
    done = nbgrader(course, "autograde", ASSIGNMENT, "--student", "pretender", "--no-execute")
    assert done.returncode == 0, done.stderr
    assert set(scores(course, "pretender").values()) == {0.0}


def test_a_resubmission_without_a_test_cell_keeps_no_stale_score(course: Path, data_name: str) -> None:
    folder = course / "submitted" / "second_try" / ASSIGNMENT
    build_sample("reference", folder, data_name)
    assert nbgrader(course, "autograde", ASSIGNMENT, "--student", "second_try").returncode == 0
    assert scores(course, "second_try")["output-size-worked"] == 3.0
    shutil.rmtree(folder)
    build_sample("deleted_test_cell", folder, data_name)
    assert nbgrader(course, "autograde", ASSIGNMENT, "--student", "second_try", "--force").returncode == 0
    assert scores(course, "second_try")["output-size-worked"] == 0.0
    shutil.rmtree(folder)
    build_sample("missing_notebook", folder, data_name)
    assert nbgrader(course, "autograde", ASSIGNMENT, "--student", "second_try", "--force").returncode == 0
    assert scores(course, "second_try")["output-size-function"] == 0.0


def test_the_graders_own_fault_records_no_score_and_spares_the_others(course: Path, data_name: str) -> None:
    """A hidden grader that breaks is INTERNAL: no score, an earlier one taken back, the command says 1."""
    root = course.parent / "broken"
    shutil.copytree(course, root, symlinks=True)
    graders = root / "graders"
    shutil.copytree(Path(__file__).resolve().parent.parent / "autograder" / "graders", graders)
    broken = (graders / "test_output_size.py").read_text().replace(") -> None:", ") -> None:\n    raise OSError", 1)
    (graders / "test_output_size.py").write_text(broken)
    config = (root / "grader_config.py").read_text()
    config += (
        "from pathlib import Path\n"
        "own = dataclasses.replace(COURSE.assignments['cnn'], graders=Path('graders'))\n"
        "COURSE = dataclasses.replace(COURSE, assignments={'cnn': own})\n"
    )
    (root / "grader_config.py").write_text(config)
    for student in ("reference", "untouched"):
        done = nbgrader(root, "autograde", ASSIGNMENT, "--student", student, "--force")
        assert done.returncode == 1
        assert "Grader error, not your code" in done.stderr
        assert student in done.stderr
        found = scores(root, student)
        assert {found[cell] for cell in found if cell != "depthwise-why"} == {None}


@pytest.fixture(scope="module")
def formgrader(course: Path) -> Iterator[str]:
    """The address of formgrader, served for the course by a real Jupyter server on the loopback interface."""
    with published.formgrader(course) as address:
        yield address


def fetch(address: str, method: str = "GET", body: object = None) -> str:
    data = json.dumps(body).encode() if body is not None else (b"" if method == "POST" else None)
    request = urllib.request.Request(address, data=data, method=method)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return str(answer.read().decode())


def test_formgraders_button_grades_in_the_jail(course: Path, formgrader: str, data_name: str) -> None:
    build_sample("wrong_doubling", course / "submitted" / "button" / ASSIGNMENT, data_name)
    answer = json.loads(fetch(f"{formgrader}/api/submission/{ASSIGNMENT}/button/autograde", "POST"))
    assert answer["success"], answer
    assert scores(course, "button")["deeper-cnn-tests"] == 15.0


def test_formgraders_button_grades_renamed_notebooks(course: Path, formgrader: str, data_name: str) -> None:
    folder = course / "submitted" / "renamed" / ASSIGNMENT
    build_sample("reference", folder, data_name)
    (folder / "02_deeper_cnn.ipynb").rename(folder / "02_deeper_cnn (1).ipynb")
    handed_in = {path.name: path.read_bytes() for path in folder.iterdir()}
    answer = json.loads(fetch(f"{formgrader}/api/submission/{ASSIGNMENT}/renamed/autograde", "POST"))
    assert answer["success"], answer
    assert scores(course, "renamed") == scores(course, "reference")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == handed_in
    told = "found as `02_deeper_cnn (1).ipynb`, known by its cells and graded"
    assert f"About your notebook: {told}" in notebook_page(course, formgrader, "renamed", "02_deeper_cnn")


def notebook_page(course: Path, formgrader: str, student: str, notebook: str) -> str:
    """formgrader's page of one submitted notebook, where marks are given."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = gradebook.find_submission_notebook(notebook, ASSIGNMENT, student).id
    return html.unescape(fetch(f"{formgrader}/submissions/{found}/"))


def grades_of(course: Path, formgrader: str, student: str, notebook: str) -> dict[str, dict[str, Any]]:
    """What formgrader knows of a submitted notebook's grades, by cell."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = gradebook.find_submission_notebook(notebook, ASSIGNMENT, student).id
    return {grade["name"]: grade for grade in json.loads(fetch(f"{formgrader}/api/grades?submission_id={found}"))}


def shown(formgrader: str, student: str) -> dict[str, Any]:
    """A student's line in formgrader's list of submissions."""
    students = json.loads(fetch(f"{formgrader}/api/submissions/{ASSIGNMENT}"))
    found: dict[str, Any] = next(line for line in students if line["student"] == student)
    return found


def autograder(course: Path, *arguments: str) -> str:
    command = [executable("autograder"), *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, check=True).stdout


def test_what_is_undecided_waits_for_a_person_whose_mark_counts(course: Path, formgrader: str) -> None:
    assert shown(formgrader, "undecided")["needs_manual_grade"]
    page = notebook_page(course, formgrader, "undecided", "02_deeper_cnn")
    assert "4 of 20 points are undecided" in page
    assert "give this cell 16 points for the decided checks, plus 0 to 4 for the undecided ones" in page
    assert "cannot be turned into a graph" in page
    assert "20 of 20 points are undecided" in notebook_page(course, formgrader, "undecided", "04_modern_cnn")
    grade = grades_of(course, formgrader, "undecided", "02_deeper_cnn")["deeper-cnn-tests"]
    assert (grade["auto_score"], grade["manual_score"], grade["needs_manual_grade"]) == (16.0, None, True)
    fetch(f"{formgrader}/api/grade/{grade['id']}", "PUT", {**grade, "manual_score": 19})
    for force in ([], ["--force"]):  # what has not changed; and the same answer once more
        table = autograder(course, "grade", "--student", "undecided", "--no-report", *force)
        assert ("unchanged" in table) == (not force)
        assert "undecided, mark by hand" in table  # the other notebook's cells
        assert "deeper-cnn-tests" not in table
        grade = grades_of(course, formgrader, "undecided", "02_deeper_cnn")["deeper-cnn-tests"]
        assert (grade["auto_score"], grade["manual_score"], grade["needs_manual_grade"]) == (16.0, 19, False)
        assert shown(formgrader, "undecided")["score"] == 59
        waiting = grades_of(course, formgrader, "undecided", "04_modern_cnn")
        assert {cell for cell, grade in waiting.items() if grade["needs_manual_grade"]} == {
            "modern-cnn-architecture",
            "modern-cnn-accuracy",
        }


def test_another_name_or_another_answer_in_words_is_graded_anew(course: Path) -> None:
    """Neither changes what runs, but both change what is shown."""
    assert "unchanged" in autograder(course, "grade", "--student", "clumsy", "--no-report")
    folder = course / "submitted" / "clumsy" / ASSIGNMENT / "my homework (final)" / "cnn"
    os.replace(folder / "04_modern_cnn-Copy1.ipynb", folder / "04_modern_cnn.ipynb")
    path = folder / "03_depthwise_separable.ipynb"
    path.write_text(path.read_text().replace("A standard convolution looks at", "In a nutshell, it looks at"))
    said = autograder(course, "grade", "--student", "clumsy", "--no-report")
    assert "unchanged" not in said
    assert "Copy1" not in said
    assert scores(course, "clumsy") == scores(course, "reference")
    graded = course / "autograded" / "clumsy" / ASSIGNMENT / "03_depthwise_separable.ipynb"
    assert "In a nutshell, it" in graded.read_text()
    assert "unchanged" in autograder(course, "grade", "--student", "clumsy", "--no-report")


def test_an_answer_in_another_cell_waits_for_a_person(course: Path, data_name: str) -> None:
    folder = course / "submitted" / "elsewhere" / ASSIGNMENT
    build_sample("untouched", folder, data_name)
    path = folder / "03_depthwise_separable.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": "It is a sum now.", "id": "x"})
    path.write_text(json.dumps(notebook))
    for _ in range(2):
        assert nbgrader(course, "autograde", ASSIGNMENT, "--student", "elsewhere", "--force").returncode == 0
        with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
            grades = [g for n in gradebook.find_submission(ASSIGNMENT, "elsewhere").notebooks for g in n.grades]
            assert [grade.name for grade in grades if grade.needs_manual_grade] == ["depthwise-why"]


def test_formgrader_shows_scores_and_takes_the_manual_mark(course: Path, formgrader: str) -> None:
    line = shown(formgrader, "reference")
    assert (line["score"], line["needs_manual_grade"]) == (95, True)
    manual = grades_of(course, formgrader, "reference", "03_depthwise_separable")["depthwise-why"]
    fetch(f"{formgrader}/api/grade/{manual['id']}", "PUT", {**manual, "manual_score": 4.5})
    line = shown(formgrader, "reference")
    assert (line["score"], line["needs_manual_grade"]) == (99.5, False)


def test_formgraders_page_of_a_submission_holds_no_live_script(course: Path, formgrader: str) -> None:
    """formgrader's origin can set scores: what a student wrote must not run there."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = gradebook.find_submission_notebook("01_output_size", ASSIGNMENT, "markdown_script").id
    page = fetch(f"{formgrader}/submissions/{found}/")
    assert CANARY in page  # it is shown …
    assert live_markup(page) == []  # … and does not run
    assert "1 &lt; 2" in page


@pytest.fixture(scope="module")
def fed_back(course: Path) -> Path:
    """The course with everybody's feedback."""
    done = nbgrader(course, "generate_feedback", ASSIGNMENT, "--force")
    assert done.returncode == 0, done.stderr
    return course


def test_feedback_shows_titles_points_and_hints_and_no_hidden_test(fed_back: Path) -> None:
    course = fed_back
    page = (course / "feedback" / "wrong_doubling" / ASSIGNMENT / "02_deeper_cnn.html").read_text()
    assert "Four blocks, which end with 32, 64, 128 and 256 channels" in page
    assert "Each block doubles the channels of the one before." in page
    for student in (course / "feedback").iterdir():
        for feedback in student.rglob("*.html"):
            text = feedback.read_text()
            assert "autograder/graders" not in text
            assert "def test_" not in text
            assert not re.search(r"\w+Warning: ", text)  # of a library's
            assert "<script" not in text
            assert live_markup(text) == []
    assert not [p for p in (course / "feedback").rglob("*") if p.is_symlink() or p.name in ("notes.txt", "passwd")]


def test_feedback_says_what_is_undecided_and_what_was_repaired(fed_back: Path) -> None:
    def feedback(student: str, notebook: str) -> str:
        return html.unescape((fed_back / "feedback" / student / ASSIGNMENT / f"{notebook}.html").read_text())

    page = feedback("undecided", "04_modern_cnn")
    assert "15 of 15 points are undecided: your program may be right, but the grader cannot judge it" in page
    assert "A person will mark this check, and no points are lost by it" in page
    assert "write it another way and hand in again" in page
    assert "See line 12 of the cell modern-cnn-solution: " in page
    assert "all of them count, from top to bottom" in feedback("clumsy", "01_output_size")
    assert "02_deeper_cnn.ipynb ends early, after 8 whole cells" in feedback("interrupted", "02_deeper_cnn")
    assert "01_output_size.ipynb is empty (0 bytes)" in feedback("interrupted", "01_output_size")


def test_export_gives_the_gradebooks_scores(course: Path) -> None:
    done = nbgrader(course, "export", "--to", str(course / "grades.csv"))
    assert done.returncode == 0, done.stderr
    with open(course / "grades.csv", newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    for student in ("reference", "untouched", "wrong_doubling"):
        expected = sum(score or 0 for score in scores(course, student).values())
        assert float(rows[student]["raw_score"]) >= expected
        assert float(rows[student]["max_score"]) == 100


def test_zip_collect_keeps_checkpoints(course: Path, data_name: str) -> None:
    archive = course / "downloaded" / ASSIGNMENT / "archive"
    archive.mkdir(parents=True)
    build_sample("reference", course / "packed", data_name)
    for path in (course / "packed").iterdir():
        shutil.copyfile(path, archive / f"zed_{ASSIGNMENT}_attempt_2026-11-01-10-00-00_{path.name}")
    pattern = r".*(?P<student_id>zed)_cnn_attempt_(?P<timestamp>[0-9\-]+)_(?P<file_id>.+)"
    done = nbgrader(course, "zip_collect", ASSIGNMENT, f"--FileNameCollectorPlugin.named_regexp={pattern}")
    assert done.returncode == 0, done.stderr
    collected = {path.name for path in (course / "submitted" / "zed" / ASSIGNMENT).iterdir()}
    assert {"modern_cnn.safetensors", "04_modern_cnn.ipynb"} <= collected


@pytest.mark.parametrize(
    ("place", "message"),
    [("", "CIFAR10_ROOT is not set"), ("/nowhere", "CIFAR10_ROOT is set to /nowhere"), ("truncated", "truncated")],
)
def test_without_its_test_set_grading_stops_before_the_first_submission(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    before = scores(course, "reference")
    config = course / "grader_config.py"
    original = config.read_text()
    if place == "truncated":
        place = str(tmp_path / "truncated.zip")
        Path(place).write_bytes(b"PK\x03\x04" + os.urandom(1000))
    monkeypatch.setenv("CIFAR10_ROOT", place)
    try:
        config.write_text(original.replace("'offline'", "'cifar10'"))
        done = nbgrader(course, "autograde", ASSIGNMENT, "--force")
    finally:
        config.write_text(original)
    assert done.returncode == 1
    assert "Nothing was graded" in done.stderr
    assert message in done.stderr
    assert scores(course, "reference") == before
    assert (course / "autograded" / "reference").is_dir()


def test_a_locked_gradebook_is_waited_for_and_then_named(course: Path) -> None:
    config = course / "nbgrader_config.py"
    original = config.read_text()
    config.write_text(original.replace("timeout=60", "timeout=1"))
    lock = sqlite3.connect(course / "gradebook.db")
    try:
        lock.execute("BEGIN EXCLUSIVE")
        done = nbgrader(course, "autograde", ASSIGNMENT, "--student", "reference", "--force")
    finally:
        lock.rollback()
        lock.close()
        config.write_text(original)
    assert done.returncode == 1
    assert "database is locked" in done.stderr
    assert scores(course, "reference")["output-size-worked"] == 3.0
