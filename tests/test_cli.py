"""The command `autograder`: exit codes, tables, and messages with remedies; nbgrader is real, grading is made up."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from nbgrader.converters import GenerateAssignment
from nbgrader.utils import temp_attrs

from autograder.cli import grade as grade_cli
from autograder.cli import main
from autograder.core.config import Course
from autograder.core.grade_report import CheckResult, GradeReport, NotebookRun, Status
from autograder.course import gradebook, nbgrader_steps
from autograder.course.folder import open_course
from autograder.course.gradebook import read_marks
from autograder.handin import quarantine
from autograder.handin.content import content_digest
from autograder.handin.submission import find_notebooks
from autograder.pipeline import doctor, one_notebook
from autograder.pipeline import grade as pipeline
from autograder.pipeline.grader import Grader

ROOT = Path(__file__).resolve().parent.parent
DOCS = (ROOT / "docs" / "cli.md").read_text()
COMMANDS = sorted(main.main.commands)
CONFIG = """
from pathlib import Path
from autograder.config import AnswerProbe, Assignment, Course, Exercise
SUMS = Exercise(notebook="01_sums", grader="test_sums.py", cells={"sums-tests": 3}, answers=[AnswerProbe("total")])
ASSIGNMENT = Assignment([SUMS], graders=Path(__file__).parent / "graders", needs_test_set=False)
COURSE = Course({"tiny": ASSIGNMENT}, isolation="none")
"""
PUNCTUAL = "right = 1"


def cell(grade_id: str, source: str, kind: str = "code", **own: Any) -> dict[str, Any]:
    flags = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False}
    made = {"cell_type": kind, "id": grade_id, "source": source}
    made["metadata"] = {"nbgrader": {**flags, "grade_id": grade_id, **own}}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def notebook(source: str, why: str = "because") -> dict[str, Any]:
    cells = [
        cell("sums-solution", source, solution=True),
        cell("sums-tests", "# graded", grade=True, locked=True, points=3),
        cell("sums-why", why, "markdown", grade=True, solution=True, points=2),
    ]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": cells}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with one assignment, entered into the gradebook."""
    root = tmp_path_factory.mktemp("template")
    (root / "graders").mkdir()
    (root / "graders" / "test_sums.py").write_text("")
    (root / "grader_config.py").write_text(CONFIG)
    shutil.copyfile(ROOT / "nbgrader_config.py", root / "nbgrader_config.py")
    (root / "source" / "tiny").mkdir(parents=True)
    (root / "source" / "tiny" / "01_sums.ipynb").write_text(
        json.dumps(notebook("### BEGIN SOLUTION\n### END SOLUTION"))
    )
    course = open_course(root)
    with temp_attrs(course.app.coursedir, assignment_id="tiny"):
        GenerateAssignment(coursedir=course.app.coursedir, parent=course.app).start()
    return root


@pytest.fixture
def course(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the course; what a submission's first cell says decides how its grading ends."""
    root = tmp_path / "course"
    shutil.copytree(template, root)
    monkeypatch.setattr(pipeline, "grade_submission", pretend_to_grade)
    monkeypatch.setattr(one_notebook, "grade_submission", pretend_to_grade)
    monkeypatch.setattr(gradebook, "LOCK_WAIT_SECONDS", 0.2)
    return root


def pretend_to_grade(grader: Grader, student: str, folder: Path, notes: Sequence[str] = ()) -> GradeReport:
    name = find_notebooks(folder, grader.release).files["01_sums"]
    source = json.loads((folder / name).read_text())["cells"][0]["source"]
    if "bug" in source:
        raise ZeroDivisionError("a bug of the grader")
    if "stop" in source:
        raise KeyboardInterrupt
    status = Status.INTERNAL if "fault" in source else Status.UNSUPPORTED if "odd" in source else Status.FAILED
    message = "Grader error, not your code: no runner" if "fault" in source else "expected 42, got [red]41[/red]"
    if source == PUNCTUAL:
        status, message = Status.PASSED, ""
    earned = 3.0 if status is Status.PASSED else 0.0
    place = ("Add.", 1, "code cell 1", 7)  # hint, cell, its name, line
    check = CheckResult("01_sums", "sums-tests", "total", "The total", 3.0, earned, status, message, *place)
    runs = [NotebookRun("01_sums", Status.PASSED)]
    facts = {"isolation": grader.isolation.describe()}
    key = pipeline.submission_key(grader, folder)
    return GradeReport(
        student,
        grader.assignment_name,
        [check],
        runs,
        {"01_sums": {"sums-tests": 3.0}},
        notes,
        facts,
        0.1,
        key,
        content_digest(folder),
    )


def hand_in(
    root: Path, student: str, source: str = PUNCTUAL, name: str = "01_sums.ipynb", why: str = "because"
) -> None:
    folder = root / "submitted" / student / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(notebook(source, why)))


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main.main, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    return result


def grade(root: Path, *arguments: object) -> Result:
    return run("grade", "--course", root, *arguments)


def words(text: str) -> str:
    return " ".join(text.split())


def automatic_score(root: Path, student: str) -> float | None:
    marks = read_marks(open_course(root).db_url, "tiny")[student]
    return next(mark.automatic for mark in marks if mark.cell == "sums-tests")


def test_grading_records_scores_and_points_to_the_page(course: Path) -> None:
    hand_in(course, "ada")
    hand_in(course, "bo", "wrong = 1", why="my own words")
    result = grade(course)
    assert result.exit_code == 0, result.output
    assert re.search(r"ada +3 / 5 +3 / 5 +graded", result.output)
    assert re.search(r"bo +0 / 5 +0 / 5 +graded; needs a manual mark: sums-why", result.output)
    assert (automatic_score(course, "ada"), automatic_score(course, "bo")) == (3.0, 0.0)
    page = course / "reports" / "tiny" / "index.html"
    assert str(page) in result.output.replace("\n", "")
    own = next((page.parent / "students").glob("bo-*.html"))
    assert "expected 42, got [red]41[/red]" in own.read_text()
    assert "Converting notebook" not in result.output
    assert "Converting notebook" in (course / ".autograder" / "logs" / "nbgrader.log").read_text()


def test_only_what_changed_is_graded_again(course: Path) -> None:
    hand_in(course, "ada")
    hand_in(course, "bo", "wrong = 1")
    grade(course, "--no-report")
    hand_in(course, "bo")
    result = grade(course, "--no-report")
    assert re.search(r"ada .*unchanged", result.output)
    assert re.search(r"bo .*graded", result.output)
    assert "1 unchanged since they were graded" in result.output
    assert automatic_score(course, "bo") == 3.0
    assert not (course / "reports").exists()
    assert re.search(r"ada .* graded", grade(course, "--force", "--student", "ada").output)


@pytest.mark.parametrize("damage", ["score", "autograded"])
def test_a_lost_score_is_recorded_again(course: Path, damage: str) -> None:
    hand_in(course, "ada")
    grade(course)
    if damage == "score":
        with sqlite3.connect(course / "gradebook.db") as connection:
            connection.execute("UPDATE grade SET auto_score = 1.0 WHERE auto_score = 3.0")
    else:
        shutil.rmtree(course / "autograded")
    assert re.search(r"ada +3 / 5 .* graded", grade(course).output)
    assert automatic_score(course, "ada") == 3.0


def test_a_submission_runs_once_for_all_its_notebooks(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out, which is not cached, would otherwise run again for every notebook, and might end otherwise."""
    started: list[str] = []
    nbgrader_runs = nbgrader_steps.GradeInJail.preprocess

    def preprocess(self: Any, nb: Any, resources: Any) -> Any:
        nbgrader_runs(self, nb, resources)
        return nbgrader_runs(self, nb, resources)

    def grade_submission(grader: Any, student: str, folder: Path, notes: Sequence[str] = ()) -> GradeReport:
        started.append(student)
        return pretend_to_grade(grader, student, folder, notes)

    monkeypatch.setattr(nbgrader_steps.GradeInJail, "preprocess", preprocess)
    monkeypatch.setattr(pipeline, "grade_submission", grade_submission)
    hand_in(course, "ada")
    hand_in(course, "bo")
    assert grade(course).exit_code == 0
    assert started == ["ada", "bo"]


@pytest.mark.parametrize("trouble", ["fault = 1", "bug = 1"])
def test_graders_fault_leaves_no_score_and_stops_nobody_else(course: Path, trouble: str) -> None:
    hand_in(course, "ada")
    grade(course)
    hand_in(course, "ada", trouble)
    hand_in(course, "bo")
    result = grade(course)
    assert result.exit_code == 3
    assert "Not graded, through the grader's own fault (1 submission, no score recorded)" in result.stderr
    assert ("no runner" if "fault" in trouble else "a bug of the grader") in result.stderr
    assert automatic_score(course, "ada") is None
    assert automatic_score(course, "bo") == 3.0
    assert "failed through the grader’s own fault" in (course / "reports" / "tiny" / "index.html").read_text()
    hand_in(course, "ada")
    assert grade(course).exit_code == 0
    assert automatic_score(course, "ada") == 3.0


def test_ctrl_c_keeps_what_is_recorded_writes_the_report_and_says_how_to_go_on(course: Path) -> None:
    hand_in(course, "ada")
    hand_in(course, "bo", "wrong = 1")
    hand_in(course, "cy")
    grade(course, "--no-report", "--student", "bo")
    hand_in(course, "bo", "stop = 1")
    result = grade(course)
    assert result.exit_code == 130
    said = words(result.stderr)
    assert "Interrupted: 1 of 3 submissions are done and recorded; 2 are not, and keep what they had: bo and" in said
    assert "`autograder grade tiny` goes on" in said
    assert (automatic_score(course, "ada"), automatic_score(course, "bo")) == (3.0, 0.0)
    assert "cy" not in read_marks(open_course(course).db_url, "tiny")
    assert {path.name.split("-")[0] for path in (course / "reports" / "tiny" / "students").iterdir()} == {"ada", "bo"}
    assert "Interrupted while grading bo" in (course / ".autograder" / "logs" / "nbgrader.log").read_text()
    hand_in(course, "bo")
    result = grade(course)
    assert result.exit_code == 0
    assert re.search(r"ada .* unchanged", result.output)
    assert (automatic_score(course, "bo"), automatic_score(course, "cy")) == (3.0, 3.0)


def test_a_time_that_is_edited_after_grading_is_said_to_be_unread_until_it_is_graded_again(course: Path) -> None:
    """Marks are shown by the old time meanwhile, which nobody was told."""
    for student in ("ada", "bo"):
        hand_in(course, student)
    time = course / "submitted" / "ada" / "tiny" / "timestamp.txt"
    time.write_text("2026-11-02 13:00:00 UTC")
    remark = "timestamp.txt of ada says another time than the gradebook, and is unread until they are graded again"
    assert "unread" not in grade(course).output
    assert "unread" not in run("report", "--course", course).output
    time.write_text("2026-11-01 09:00:00 UTC")
    assert remark in words(run("report", "--course", course).stderr)
    assert re.search(r"ada .* graded", grade(course).output)
    assert "unread" not in run("report", "--course", course).output
    time.unlink()
    told = words(run("export", "--to", "csv", "--course", course).stderr)
    assert "ada: handed in again, or changed, since it was graded" in told


def test_undecided_checks_are_flagged(course: Path) -> None:
    hand_in(course, "ada", "odd = 1")
    result = grade(course)
    assert result.exit_code == 0
    assert "undecided, mark by hand: sums-tests" in words(result.output)


def test_submissions_without_a_notebook_and_strange_names_are_named(course: Path) -> None:
    (course / "submitted" / "empty" / "tiny").mkdir(parents=True)
    hand_in(course, "renamed", name="01_sums (1).ipynb")
    hand_in(course, "foreign")
    (course / "submitted" / "foreign" / "tiny" / "01_sum.ipynb").write_text(json.dumps({**notebook(""), "cells": []}))
    hand_in(course, "star*")
    hand_in(course, ":smile:")
    result = grade(course)
    assert result.exit_code == 0, result.output
    text = words(result.output)
    assert "empty: nothing to grade: no notebook of the assignment was handed in" in text
    assert "renamed: 01_sums: found as `01_sums (1).ipynb`, known by its cells and graded" in text
    assert re.search(r"renamed +3 / 5", result.output)
    reason = "no cell of it is known, so it is no notebook of the assignment; did you mean '01_sums'?"
    assert f"foreign: `01_sum.ipynb` was left out: {reason}" in text
    assert "star*: nothing to grade: nbgrader cannot handle" in text
    assert re.search(r":smile: +3 / 5", result.output)


def test_unknown_student_and_assignment_are_usage_errors_with_a_guess(course: Path) -> None:
    hand_in(course, "blaise")
    result = grade(course, "--student", "blase")
    assert (result.exit_code, "did you mean 'blaise'?" in result.stderr) == (2, True)
    result = grade(course, "tiney")
    assert (result.exit_code, "did you mean 'tiny'?" in result.stderr) == (2, True)


def test_no_submission_is_set_up(course: Path) -> None:
    result = grade(course)
    assert result.exit_code == 1
    assert "no submissions of 'tiny': they belong in" in words(result.stderr)


def test_missing_gradebook_names_the_command(course: Path) -> None:
    hand_in(course, "ada")
    (course / "gradebook.db").unlink()
    result = grade(course)
    assert result.exit_code == 1
    assert "no gradebook at" in result.stderr
    assert "nbgrader generate_assignment tiny --force" in result.stderr


def test_gradebook_without_the_assignment_names_the_command(course: Path) -> None:
    hand_in(course, "ada")
    with sqlite3.connect(course / "gradebook.db") as connection:
        connection.execute("UPDATE assignment SET name = 'other'")
    assert "does not know the assignment 'tiny'" in grade(course).stderr


def test_gradebook_with_other_points_is_refused(course: Path) -> None:
    hand_in(course, "ada")
    with sqlite3.connect(course / "gradebook.db") as connection:
        connection.execute("UPDATE grade_cells SET max_score = 9 WHERE max_score = 3")
    assert "'sums-tests' of 01_sums has 9 points there, and 3 points" in grade(course).stderr


def test_locked_gradebook_says_what_to_close(course: Path) -> None:
    hand_in(course, "ada")
    connection = sqlite3.connect(course / "gradebook.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        result = grade(course)
    finally:
        connection.close()
    assert result.exit_code == 1
    assert "is locked by another program: let formgrader finish" in result.stderr


def test_a_file_that_is_no_gradebook_is_named(course: Path) -> None:
    hand_in(course, "ada")
    (course / "gradebook.db").write_text("not a database, but long enough to be looked at " * 10)
    result = grade(course)
    assert (result.exit_code, "is no gradebook" in result.stderr) == (1, True)


@pytest.mark.parametrize("text", ["c = get_config()\n", "c = get_config(\n"])
def test_stock_autograding_is_never_started(course: Path, text: str) -> None:
    """Without this engine's preprocessors nbgrader would run student code here."""
    hand_in(course, "ada", "open('trace', 'w')")
    (course / "nbgrader_config.py").write_text(text)
    result = grade(course)
    assert result.exit_code == 1
    assert "does not wire in autograder.nbgrader_plugin.GradeInJail" in result.stderr
    assert not (course / "autograded").exists()


def test_wrong_configuration_is_one_message(course: Path) -> None:
    (course / "grader_config.py").write_text(CONFIG.replace('isolation="none"', "isolaton='none'"))
    result = grade(course)
    assert result.exit_code == 1
    assert "Course has no setting 'isolaton' (grader_config.py); did you mean 'isolation'?" in result.stderr


def test_no_course_is_one_message(tmp_path: Path) -> None:
    for command in ("grade", "report"):
        result = run(command, "--course", tmp_path)
        assert result.exit_code == 1
        assert "no grader_config.py in" in result.stderr


def test_unexpected_error_points_to_a_file(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: Path) -> Course:
        raise RuntimeError("no idea")

    monkeypatch.setattr(grade_cli, "load_course", fail)
    result = grade(course)
    assert result.exit_code == 1
    assert "Grader error, not yours: RuntimeError: no idea" in result.stderr
    place = re.search(r"Details: (\S+)", result.stderr)
    assert place is not None
    assert "in fail" in Path(place[1]).read_text()
    Path(place[1]).unlink()
    with pytest.raises(RuntimeError):
        CliRunner().invoke(main.main, ["--debug", "grade", "--course", str(course)], catch_exceptions=False)


def test_check_prints_the_checks_and_records_nothing(course: Path, tmp_path: Path) -> None:
    path = tmp_path / "01_sums.ipynb"
    path.write_text(json.dumps(notebook("wrong = 1")))
    result = run("check", path, "--course", course)
    assert result.exit_code == 0, result.output
    text = words(result.output)
    assert "expected 42, got [red]41[/red] Hint: Add. See line 7 of code cell 1." in text
    assert "0 of 3 automatic points" in text
    assert not (course / ".autograder" / "reports").exists()


def test_check_says_when_the_grader_itself_failed(course: Path, tmp_path: Path) -> None:
    (tmp_path / "01_sums.ipynb").write_text(json.dumps(notebook("fault = 1")))
    assert run("check", tmp_path / "01_sums.ipynb", "--course", course).exit_code == 3


def test_check_beside_a_flood_of_files_says_what_to_do(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook in the home folder, say, with a hundred environments beside it."""
    monkeypatch.setattr(quarantine, "MOST_ENTRIES", 50)
    for number in range(60):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "01_sums.ipynb").write_text(json.dumps(notebook(PUNCTUAL)))
    result = run("check", tmp_path / "01_sums.ipynb", "--course", course)
    assert result.exit_code == 1
    said = words(result.stderr)
    assert "the files beside 01_sums.ipynb: it holds more than 50 files and folders" in said
    assert "into a folder of its own" in said


def test_check_of_an_unknown_notebook_guesses(course: Path, tmp_path: Path) -> None:
    (tmp_path / "01_sum.ipynb").write_text(json.dumps({**notebook(""), "cells": []}))
    result = run("check", tmp_path / "01_sum.ipynb", "--course", course)
    assert result.exit_code == 2
    assert "did you mean '01_sums'?" in words(result.stderr)


def test_check_knows_a_renamed_notebook_by_its_cells(course: Path, tmp_path: Path) -> None:
    (tmp_path / "sums (final).ipynb").write_text(json.dumps(notebook(PUNCTUAL)))
    result = run("check", tmp_path / "sums (final).ipynb", "--course", course)
    assert result.exit_code == 0, result.output
    assert "sums (final).ipynb was graded as 01_sums.ipynb, which its cells say it is" in words(result.output)
    assert "3 of 3 automatic points" in words(result.output)


def test_a_folder_within_the_folder_is_graded(course: Path) -> None:
    hand_in(course, "ada", name="01_sums.ipynb")
    outer = course / "submitted" / "ada" / "tiny"
    (outer / "inner").mkdir()
    (outer / "01_sums.ipynb").rename(outer / "inner" / "01_sums.ipynb")
    result = grade(course)
    assert result.exit_code == 0, result.output
    assert automatic_score(course, "ada") == 3.0
    assert "ada: notebooks were found in the folder `inner`" in words(result.output)
    assert "1 unchanged since they were graded" in words(grade(course).output)


def test_report_prints_the_path_of_the_page(course: Path, tmp_path: Path) -> None:
    hand_in(course, "ada")
    grade(course, "--no-report")
    result = run("report", "--course", course, "--output", tmp_path / "page")
    assert (result.exit_code, result.stdout.strip()) == (0, str(tmp_path / "page" / "index.html"))


def test_report_of_nothing_and_of_a_broken_file(course: Path) -> None:
    result = run("report", "--course", course)
    assert (result.exit_code, "run `autograder grade tiny`" in result.stderr) == (1, True)
    (course / ".autograder" / "reports" / "tiny").mkdir(parents=True)
    (course / ".autograder" / "reports" / "tiny" / "ada.json").write_text("{}")
    result = run("report", "--course", course)
    assert (result.exit_code, "delete it and grade ada again" in result.stderr) == (1, True)


def test_more_than_one_assignment_has_to_be_chosen(course: Path) -> None:
    (course / "grader_config.py").write_text(
        CONFIG.replace('{"tiny": ASSIGNMENT}', '{"a": ASSIGNMENT, "b": ASSIGNMENT}')
    )
    result = grade(course)
    assert (result.exit_code, "name one of a, b" in result.stderr) == (2, True)


def test_doctor_lists_findings_and_fails_where_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = doctor.Finding("jail", doctor.Health.OK, "uid 200001, no network")
    absent = doctor.Finding("test set", doctor.Health.MISSING, "no CIFAR-10", "Set CIFAR10_ROOT")
    monkeypatch.setattr(doctor, "examine", lambda root, course_expected: iter([fine]))
    result = run("doctor")
    assert (result.exit_code, "Grading can work here." in result.output) == (0, True)
    monkeypatch.setattr(doctor, "examine", lambda root, course_expected: iter([fine, absent]))
    result = run("doctor")
    assert result.exit_code == 1
    assert re.search(r"test set +missing +no CIFAR-10", result.output)
    assert "test set: Set CIFAR10_ROOT" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_place_in_the_docs(name: str) -> None:
    command = main.main.commands[name]
    assert command.help
    assert "Exit codes" in command.help
    assert f"## autograder {name}" in DOCS
    section = DOCS.split(f"## autograder {name}")[1].split("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.hidden:
            assert parameter.opts == ["--assignment"]  # said once, at the top of the page
        elif isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert all(f"`{option}" in section or option.startswith("--no-") for option in parameter.opts), (
                parameter.name
            )
        else:
            assert (parameter.metavar or str(parameter.name).upper()) in section
    assert run(name, "--help").exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_below_every_help_can_be_typed(name: str) -> None:
    """Each is read as the shell and the command would read it: its options exist, and their values are choices."""
    command = main.main.commands[name]
    lines = [line.strip() for line in (command.epilog or "").splitlines()[2:]]
    assert len(lines) >= 2
    for line in lines:
        program, called, *arguments = shlex.split(line)
        assert (program, called) == ("autograder", name)
        values, rest, _ = command.make_parser(click.Context(command)).parse_args(arguments)
        assert not rest
        for parameter in command.params:
            if isinstance(parameter.type, click.Choice) and (value := values.get(str(parameter.name))) is not None:
                parameter.type.convert(value, parameter, None)
            assert not parameter.required or parameter.name in values, line
    assert lines[0] in run(name, "--help").output


def test_help_imports_nothing_of_what_the_work_takes() -> None:
    """It took four seconds: nbgrader, PyTorch's readers and tables were imported to print a text."""
    code = "import sys; from autograder.cli.main import main; main(standalone_mode=False)"
    code += "; print('\\n'.join(sys.modules), file=sys.stderr)"
    for arguments in ("--help", *(f"{name} --help" for name in COMMANDS)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("Usage: ")
        loaded = done.stderr.split()
        strangers = {module.partition(".")[0] for module in loaded} - sys.stdlib_module_names
        strangers = {module for module in strangers if not module.startswith("_")}
        assert strangers <= {"autograder", "click", "dateutil", "six"}, arguments
        rooms = {module.split(".")[1] for module in loaded if module.startswith("autograder.")}
        assert rooms == {"cli", "core"}, arguments


def test_the_assignment_is_named_in_one_way_everywhere(course: Path, tmp_path: Path) -> None:
    """Behind what is worked on; as an option, which nbgrader's commands have, it says the same."""
    for name, command in main.main.commands.items():
        positions = [p.name for p in command.params if isinstance(p, click.Argument)]
        assert "assignment" not in positions[:-1], name
        assert positions[-1:] == ["assignment"] or name in ("doctor", "forget")
    path = tmp_path / "01_sums.ipynb"
    path.write_text(json.dumps(notebook(PUNCTUAL)))
    for named in (("tiny",), ("--assignment", "tiny"), ("tiny", "--assignment", "tiny")):
        assert run("check", path, *named, "--course", course).exit_code == 0
    result = run("check", path, "tiny", "--assignment", "other", "--course", course)
    assert (result.exit_code, "'tiny' and --assignment 'other'" in result.stderr) == (2, True)


def test_logging_is_put_back(course: Path) -> None:
    hand_in(course, "ada")
    before = logging.getLogger().handlers[:]
    grade(course)
    assert logging.getLogger().handlers == before
