"""A submission that cannot be taken stops nobody else's: it is named, recorded as not graded, and nothing is copied."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from nbgrader.apps.api import NbGraderAPI

from autograder.course import batch, lock, safe_exporter
from autograder.course.folder import open_course
from autograder.course.gradebook import read_marks
from autograder.course.report_store import load_report
from autograder.handin import finder, quarantine, reading
from autograder.handin.quarantine import TIMESTAMP
from autograder.handin.submission import walk
from tests import tiny_course
from tests.conftest import nbgrader
from tests.tiny_course import ASSIGNMENT, hand_in

STUDENTS = ("ada", "eve", "zoe")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three students, of whom eve is to be in trouble."""
    root = tmp_path_factory.mktemp("unfit") / "course"
    tiny_course.make(root)
    for student in STUDENTS:
        hand_in(root, student, "50")
    tiny_course.keep_results(root)
    return root


def replace_by_a_link(root: Path) -> None:
    place = root / "submitted" / "eve" / ASSIGNMENT
    shutil.move(place, root.parent / "elsewhere")
    (root.parent / "elsewhere" / "secret.txt").write_text("not to be copied")
    place.symlink_to(root.parent / "elsewhere")


def replace_the_folder_above_by_a_link(root: Path) -> None:
    place = root / "submitted" / "eve"
    shutil.move(place, root.parent / "elsewhere")
    (root.parent / "elsewhere" / ASSIGNMENT / "secret.txt").write_text("not to be copied")
    place.symlink_to(root.parent / "elsewhere")


TROUBLES = [replace_by_a_link, replace_the_folder_above_by_a_link]


def expect_only_eve_left_out(root: Path) -> None:
    for student in ("ada", "zoe"):
        report = load_report(root, ASSIGNMENT, student)
        assert report is not None
        assert report.earned == 18
        assert (root / "autograded" / student / ASSIGNMENT / "01_sums.ipynb").is_file()
    report = load_report(root, ASSIGNMENT, "eve")
    assert report is not None
    assert report.is_internal
    assert not (root / "autograded" / "eve" / ASSIGNMENT).exists()
    assert not [path for path, _ in walk(root / "autograded") if path.endswith("secret.txt")]
    marks = read_marks(f"sqlite:///{root / 'gradebook.db'}", ASSIGNMENT)
    assert {mark.automatic for mark in marks.get("eve", ())} <= {None}
    assert sum(mark.automatic or 0 for mark in marks["ada"]) == 18


@pytest.mark.parametrize("trouble", TROUBLES)
def test_plain_nbgrader_grades_the_others_and_says_so(course: Path, trouble: Callable[[Path], None]) -> None:
    trouble(course)
    done = nbgrader(course, "autograde", ASSIGNMENT)
    assert done.returncode == 1
    assert "put the folder itself in its place" in done.stderr
    expect_only_eve_left_out(course)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_command_grades_the_others_and_names_it(course: Path, trouble: Callable[[Path], None]) -> None:
    trouble(course)
    result = tiny_course.grade(course)
    assert result.exit_code == 3
    assert "put the folder itself in its place" in " ".join((result.output + result.stderr).split())
    expect_only_eve_left_out(course)


def make_pipe(place: Path) -> None:
    os.mkfifo(place)


def make_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(place))  # as a relative path: it may have 107 bytes


def link_to_itself(place: Path) -> None:
    place.symlink_to(place.name)


def name_without_letters(place: Path) -> None:
    """A name that is no text, in whatever character set."""
    (place.parent.parent / os.fsdecode(b"e\xffve") / ASSIGNMENT).mkdir(parents=True)


@pytest.mark.parametrize("put", [make_pipe, make_socket, link_to_itself, name_without_letters, Path.touch])
def test_what_is_no_folder_is_no_submission_and_in_nobodys_way(course: Path, put: Callable[[Path], None]) -> None:
    place = course / "submitted" / "eve" / ASSIGNMENT
    shutil.rmtree(place)
    put(place)
    assert tiny_course.grade(course).exit_code == 0
    for student in ("ada", "zoe"):
        report = load_report(course, ASSIGNMENT, student)
        assert report is not None
        assert report.earned == 18
    assert load_report(course, ASSIGNMENT, "eve") is None


def test_what_was_recorded_of_it_before_stands_no_more(course: Path) -> None:
    assert tiny_course.grade(course).exit_code == 0
    replace_by_a_link(course)
    assert tiny_course.grade(course).exit_code == 3
    expect_only_eve_left_out(course)


def in_trouble(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Setting eve's files aside ends in an error."""
    whole = quarantine.quarantine

    def stumble(folder: Path, *arguments: object) -> list[str]:
        if "eve" in folder.parts:
            raise error
        return whole(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(safe_exporter, "quarantine", stumble)


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied", "eve"), OSError(36, "File name too long"), KeyError("our own slip")],
    ids=["rights", "a long name", "a slip"],
)
def test_whatever_comes_up_with_one_submission_costs_only_that_one(
    course: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    in_trouble(monkeypatch, error)
    assert tiny_course.grade(course).exit_code == 3
    expect_only_eve_left_out(course)


def test_a_folder_with_more_files_than_any_submission_has_is_left_out(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (finder, quarantine, reading):
        monkeypatch.setattr(module, "MOST_ENTRIES", 50)
    for number in range(60):
        (course / "submitted" / "eve" / ASSIGNMENT / f"{number}.txt").touch()
    result = tiny_course.grade(course)
    assert result.exit_code == 3
    assert "it holds more than 50 files and folders" in " ".join((result.output + result.stderr).split())
    expect_only_eve_left_out(course)


def test_the_course_itself_stops_the_run(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is everybody's trouble: nothing is graded before it is seen to."""
    in_trouble(monkeypatch, OSError(28, "No space left on device", "/disk"))
    result = graded_by_nbgrader(course)
    assert not result["success"]
    assert "Nothing was graded" in str(result["log"])
    assert load_report(course, ASSIGNMENT, "zoe") is None


def graded_by_nbgrader(course: Path) -> dict[str, object]:
    """What formgrader's button does, in this process."""
    opened = open_course(course)
    api = NbGraderAPI(coursedir=opened.app.coursedir, config=opened.app.config)
    with batch.temp_attrs(opened.app.coursedir, assignment_id=ASSIGNMENT):
        result: dict[str, object] = api.autograde(ASSIGNMENT, "*")
    return result


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of nbgrader's own
def test_the_button_grades_the_others_and_locks_nobody_out(course: Path) -> None:
    replace_by_a_link(course)
    result = graded_by_nbgrader(course)
    assert not result["success"]
    assert "put the folder itself in its place" in str(result["log"])
    expect_only_eve_left_out(course)
    assert course.resolve() not in lock._held


def test_a_name_of_control_characters_is_left_out(course: Path) -> None:
    shutil.copytree(course / "submitted" / "zoe", course / "submitted" / "e\x1b[2Jvil\nname")
    done = nbgrader(course, "autograde", ASSIGNMENT)
    assert done.returncode == 1
    assert "control characters in its name: rename it" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    for student in STUDENTS:
        report = load_report(course, ASSIGNMENT, student)
        assert report is not None
        assert report.earned == 18


def test_a_pipe_in_place_of_a_time_does_not_hang(course: Path) -> None:
    os.mkfifo(course / "submitted" / "eve" / ASSIGNMENT / TIMESTAMP)
    result: Result = tiny_course.grade(course)
    assert result.exit_code == 0
    assert [path.name for path in (course / "submitted" / "eve" / ASSIGNMENT).glob("*.txt")] == []


@pytest.mark.parametrize(
    ("name", "kind", "is_plain"),
    [
        ("01_sums.py", "a Python script, not a notebook: hand in the notebook itself, as Jupyter saves it", True),
        ("01_sums.py", "a Python script, not a notebook: hand in the notebook itself, as Jupyter saves it", False),
        ("01_sums.html", "a web page, not a notebook: download the notebook itself (File → Download)", False),
        ("sub/01_sums.pdf", "a PDF document, not a notebook: hand in the notebook itself, as Jupyter saves it", False),
    ],
)
def test_what_is_no_notebook_gets_no_points_and_a_word_on_what_to_hand_in(
    course: Path, name: str, kind: str, is_plain: bool
) -> None:
    """Also where no notebook at all was handed in, which nbgrader would pass by in silence."""
    place = course / "submitted" / "eve" / ASSIGNMENT
    for path in place.glob("*.ipynb"):
        path.unlink()
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text("total = 50")
    (course / "submitted" / "zoe" / ASSIGNMENT / "02_doubles.ipynb").write_text("<html>Log in</html>")
    assert (
        nbgrader(course, "autograde", ASSIGNMENT).returncode if is_plain else tiny_course.grade(course).exit_code
    ) == 0
    earned, messages = {}, {}
    for student in STUDENTS:
        report = load_report(course, ASSIGNMENT, student)
        assert report is not None
        assert not report.is_internal
        earned[student], messages[student] = report.earned, {check.message for check in report.checks} - {""}
    assert earned == {"ada": 18, "eve": 0, "zoe": 8}
    first, second = sorted(text for text in messages["eve"] if not text.startswith("for the same reason"))
    assert first.startswith(f"01_sums.ipynb was not handed in; `{name}` is {kind}")
    assert second == "02_doubles.ipynb was not handed in"
    [page] = messages["zoe"]
    assert page.startswith(
        "`02_doubles.ipynb` is a web page, not a notebook: download the notebook itself (File → Down"
    )
    marks = read_marks(f"sqlite:///{course / 'gradebook.db'}", ASSIGNMENT)
    assert sum(mark.automatic or 0 for mark in marks["eve"]) == 0
    assert len(marks["eve"]) == len(marks["ada"])


def test_the_command_for_one_notebook_names_what_is_none(course: Path, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "01_sums.py").write_text("total = 50")
    result = tiny_course.run("check", place / "01_sums.py", "--course", course)
    assert result.exit_code == 0
    told = "01_sums.ipynb was not handed in; `01_sums.py` is a Python script, not a notebook: hand in the notebook"
    assert told in " ".join(result.output.split())


def test_a_module_that_canvas_gave_a_number_is_imported(course: Path) -> None:
    place = course / "submitted" / "eve" / ASSIGNMENT
    (place / "01_sums.ipynb").write_text(json.dumps(tiny_course.sums("from own import total", "Why?")))
    (place / "own-1.py").write_text("total = 50")
    assert tiny_course.grade(course).exit_code == 0
    report = load_report(course, ASSIGNMENT, "eve")
    assert report is not None
    assert report.earned == 18
    assert "`own-1.py` was given back the name `own.py`, by which a notebook asks for it" in map(str, report.notes)
