"""Ordinary nbgrader assignments beside those that grader_config.py names: nbgrader's marks, but in the jail."""

from __future__ import annotations

import html
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nbgrader.converters import Autograde

from autograder.core.config import Limits, OrdinaryAssignment, load_course
from autograder.core.config_values import ConfigError
from autograder.core.errors import SetupError
from autograder.core.grade_report import CellRun, CheckResult, GradeReport, NotebookRun, Status
from autograder.core.ordinary import KIND, ORDINARY, hidden_lines, is_cut_from, other_languages, scores_of, shown_line
from autograder.core.rows import Row
from autograder.course.folder import open_course
from autograder.course.gradebook import GradebookError
from autograder.course.ordinary import POINTS, with_tests
from autograder.course.report_store import load_report
from autograder.handin.submission import Submission, read_submission
from autograder.jail import Isolation, find_isolation
from autograder.judging.datasets import Source
from autograder.pipeline import doctor
from autograder.pipeline.grader import Grader, open_grader
from autograder.pipeline.jail_run import JailRun
from autograder.pipeline.ordinary import judge_cells, title_of
from autograder.pipeline.outputs import as_display, clean_outputs
from autograder.review.marking.desk import Desk
from tests import ordinary_course, tiny_course
from tests.ordinary_course import ASSIGNMENT, SCHEME, SECRET_INPUT

ROOT = Path(__file__).resolve().parent.parent
HONEST = ("bitdiddle", "hacker", "untouched")
Marks = Mapping[tuple[str, str, str], tuple[Any, ...]]


@dataclass(frozen=True)
class GradedOrdinary:
    """The course after `nbgrader generate_assignment` and `autograder grade`, and stock nbgrader's marks."""

    root: Path
    printed: str
    marks: Marks
    stock: Marks

    def report(self, student: str) -> GradeReport:
        found = load_report(self.root, ASSIGNMENT, student)
        assert found is not None
        return found

    def status(self, student: str, cell: str) -> Status:
        return next(check.status for check in self.report(student).checks if check.cell == cell)

    def shown(self, step: str, student: str, name: str) -> str:
        return next((self.root / step / student / ASSIGNMENT).glob(f"{name}.*")).read_text()


def words(page: str) -> str:
    """What a page says: its text without markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", page))


@pytest.fixture(scope="module")
def listening() -> Iterator[int]:
    """A port of this machine that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def recipe() -> list[list[str]]:
    """The commands of the recipe in docs/adapt.md, without the program, for this assignment."""
    page = (ROOT / "docs" / "adapt.md").read_text().partition("### A second, ordinary assignment beside it")[2]
    block = re.search(r"```console\n(.*?)```", page, re.DOTALL)
    assert block is not None
    commands = [line.replace("hw1", ASSIGNMENT).split() for line in block[1].splitlines()]
    assert [program for program, *_ in commands] == ["nbgrader", "autograder"]
    return [words_of for _, *words_of in commands]


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, listening: int) -> GradedOrdinary:
    if find_isolation().level == "none":
        pytest.skip(f"no jail on this machine: {find_isolation().problem}")
    place = tmp_path_factory.mktemp("ordinary")
    ours, stock = place / "ours", place / "stock"
    ordinary_course.make(ours, (ROOT / "nbgrader_config.py").read_text())
    ordinary_course.make(stock, ordinary_course.STOCK)
    generate, grade = recipe()
    for root in (ours, stock):
        ordinary_course.run_nbgrader(root, *generate)
        ordinary_course.hand_in_honest(root)
    ordinary_course.run_nbgrader(stock, "autograde", ASSIGNMENT)
    ordinary_course.hand_in_hostile(ours, listening)
    done = tiny_course.run(*grade, "--course", ours)
    assert done.exit_code == 0, done.output
    marks = (ordinary_course.all_marks(root) for root in (ours, stock))
    return GradedOrdinary(ours, done.output, *marks)


def test_the_release_is_what_stock_nbgrader_makes_of_it(graded: GradedOrdinary) -> None:
    """Before, `generate_assignment` ended in a traceback. nbgrader draws ids of new cells, and the rest is alike."""
    stock = graded.root.parent / "stock" / "release" / ASSIGNMENT
    for path in sorted(stock.iterdir()):
        own = (graded.root / "release" / ASSIGNMENT / path.name).read_bytes()
        drawn = re.compile(rb'"id": "[0-9a-f]{8}"')
        assert drawn.sub(b"", own) == drawn.sub(b"", path.read_bytes()), path.name
        assert SECRET_INPUT.encode() not in own


def test_marks_are_stock_nbgraders_on_honest_work(graded: GradedOrdinary) -> None:
    """Right, half right with nbgrader's changed and deleted tests, and untouched; automatic, partial, by hand, task."""
    own = {key: mark for key, mark in graded.marks.items() if key[0] in HONEST}
    assert len(own) == 48
    assert own == graded.stock
    assert own["hacker", "kinds", "partial"] == (0.75, 1.25, False)
    assert own["bitdiddle", "kinds", "task"] == (None, 4.0, True)


def test_exact_marks_are_recorded_shown_and_not_graded_again(graded: GradedOrdinary) -> None:
    report = graded.report("hacker")
    assert "1.25 / 11.75" in graded.printed
    assert {s.cell: s.earned for s in scores_of(report)}["partial"] == 0.75
    again = tiny_course.grade(graded.root, ASSIGNMENT, "--student", "hacker")
    assert "1 unchanged since they were graded" in again.output


def test_cheats_against_the_machine_fail(graded: GradedOrdinary) -> None:
    """What nbgrader's users have reported, tried in the jail: nothing of it works, and the honest answers count."""
    run = next(run for run in graded.report("hostile").notebooks if run.notebook == "problem1")
    (told,) = [text for cell in run.cells for o in cell.outputs if "worked:" in (text := o.get("text", ""))]
    assert told == "worked: [] False\n"
    assert not (graded.root / "canary.txt").exists()
    assert graded.marks["hostile", "problem1", "sum_of_squares_uses_squares"][0] == 0.5
    names = {key[1:] for key in graded.marks if key[0] == "hostile"}
    assert names == {key[1:] for key in graded.marks if key[0] == "hacker"}


def test_what_stops_a_test_costs_its_points_and_no_others(graded: GradedOrdinary) -> None:
    """nbgrader takes silence for full points: a process that ends itself in a hidden test leaves just that."""
    marks = {key[2]: mark for key, mark in graded.marks.items() if key[0] == "hostile"}
    assert graded.status("hostile", "correct_squares") is Status.TIMEOUT
    assert graded.status("hostile", "double-tests") is Status.CRASHED
    assert graded.status("hostile", "partial") is Status.UNSUPPORTED  # stock nbgrader grades nothing of a submission
    assert marks["correct_squares"] == (0, 1, False)
    assert marks["double-tests"] == (0, 2, False)
    assert marks["partial"] == (0, 1.25, True)
    assert marks["squares_invalid_input"] == (1, 1, False)
    assert marks["said"] == (0.5, 0.5, False)


def test_a_renamed_notebook_without_its_tests_is_repaired(graded: GradedOrdinary) -> None:
    assert graded.marks["peeks", "kinds", "double-tests"] == (2.0, 2.0, False)
    assert any("`double-tests` was missing" in str(note) for note in graded.report("peeks").notes)


def test_messages_tell_of_open_tests_and_nothing_of_hidden_ones(graded: GradedOrdinary) -> None:
    checks = {check.cell: check for check in graded.report("hacker").checks}
    hidden = checks["double-tests"]
    assert hidden.title == "The double of a number"
    assert hidden.message == "a hidden test of this cell does not pass (AssertionError)"
    assert (hidden.line, hidden.code) == (0, "")
    assert checks["quiet"].message == "the test cell wrote to standard error, which counts as a failed test: ten"
    assert checks["partial"].message == "the tests give 0.75 of 1.25 points"
    seen = {check.cell: check for check in graded.report("untouched").checks}
    assert seen["squares_invalid_input"].message == "NotImplementedError"
    assert seen["said"].status is Status.PASSED
    assert seen["double-tests"].message.endswith("what it calls raises NotImplementedError")
    failed = {check.cell: check for check in graded.report("bitdiddle").checks}["correct_squares"]
    assert failed.code.startswith("assert squares(")
    assert failed.place == "the cell correct_squares"


def test_feedback_hides_tests_and_schemes_and_formgrader_shows_them(graded: GradedOrdinary) -> None:
    students = ("hacker", "peeks")
    chosen = [word for student in students for word in ("--student", student)]
    assert tiny_course.run("feedback", "--course", graded.root, ASSIGNMENT, *chosen).exit_code == 0
    for student in students:
        for path in (graded.root / "feedback" / student).rglob("*.*"):
            told = words(path.read_text(errors="replace"))
            assert not [text for text in (SECRET_INPUT, "BEGIN HIDDEN", SCHEME) if text in told], path
        notebook = graded.shown("autograded", student, "kinds")
        assert SECRET_INPUT in notebook
        assert SCHEME in notebook
    page = words(graded.shown("feedback", "hacker", "kinds"))
    assert "does not pass (AssertionError)" in page
    assert "assert double(1) == 2" in page  # what was released
    assert "holds text of a test that is hidden" in words(graded.shown("feedback", "peeks", "kinds"))


def test_the_report_offers_no_command_that_cannot_be(graded: GradedOrdinary) -> None:
    page = next((graded.root / "reports" / ASSIGNMENT / "students").glob("hacker*.html")).read_text()
    assert "The double of a number" in page
    assert "autograder explain" not in page
    for command in (["explain", "hacker", "double-tests", ASSIGNMENT], ["whatif", ASSIGNMENT]):
        told = tiny_course.run(command[0], "--course", graded.root, *command[1:])
        assert told.exit_code == 1
        assert "is an ordinary nbgrader assignment" in told.output


def test_exports_have_the_same_marks(graded: GradedOrdinary) -> None:
    out = graded.root / "marks.csv"
    done = tiny_course.run(
        "export", "--course", graded.root, "--to", "csv", "--provisional", "--output", out, ASSIGNMENT
    )
    assert "5 marks" in done.output
    line = next(line for line in out.read_text(encoding="utf-8-sig").splitlines() if line.startswith("hacker"))
    assert "4.25" in line


# Without a jail

FULL = "assert a\n### BEGIN HIDDEN TESTS\nassert secret\n### END HIDDEN TESTS\nassert b"


def test_partial_credit_leaves_nobody_out_of_marking(graded: GradedOrdinary) -> None:
    """What counts is recorded exactly, not in tenths of a point."""
    question = Desk(open_course(graded.root), ASSIGNMENT, "anna").question("kinds", "why")
    assert question is not None
    assert not question.left_out
    assert {answer.held.student for answer in question.answers} >= set(HONEST)


def test_released_lines_are_told_from_hidden_ones() -> None:
    released = "assert a\nassert b"
    assert [shown_line(FULL, released, line) for line in range(1, 6)] == [1, 0, 0, 0, 2]
    assert hidden_lines(FULL, released) == ["### BEGIN HIDDEN TESTS", "assert secret", "### END HIDDEN TESTS"]
    assert is_cut_from(FULL, released)
    assert is_cut_from(FULL, "")
    assert not is_cut_from(FULL, "assert a\nassert c")


def test_a_test_cell_is_called_by_its_first_words() -> None:
    assert title_of("x", '"""Squares of\nnumbers"""\nassert True') == "Squares of"
    assert title_of("x", "# Even numbers\n%timeit 1") == "Even numbers"
    assert title_of("x", "### ---\nassert True") == "Tests in x"
    assert title_of("x", "%time 1") == "Tests in x"


def test_an_assignment_is_ordinary_where_the_configuration_does_not_name_it(tmp_path: Path) -> None:
    ordinary_course.make(tmp_path, "")
    course = load_course(tmp_path)
    assert course.names == [ASSIGNMENT, "tiny"]
    assert isinstance(course.assignment(ASSIGNMENT), OrdinaryAssignment)
    assert not isinstance(course.assignment("tiny"), OrdinaryAssignment)
    with pytest.raises(ConfigError, match="did you mean 'ps1'"):
        course.assignment("ps2")
    with pytest.raises(SetupError, match=r"no notebooks in .*run `nbgrader generate_assignment ps1`"):
        open_grader(tmp_path, ASSIGNMENT, isolation="none")
    assert doctor.check_ordinary(tmp_path, ASSIGNMENT, course).found.endswith("has no release yet")
    release = tmp_path / "release" / ASSIGNMENT
    release.mkdir(parents=True)
    (release / "kinds.ipynb").write_text(json.dumps(tiny_course.notebook(*ordinary_course.KINDS)))
    assert "4.75 automatic points by the tests" in doctor.check_ordinary(tmp_path, ASSIGNMENT, course).found
    (release / "kinds.ipynb").write_text("{")
    with pytest.raises(ConfigError, match=r"kinds\.ipynb cannot be read .*generate_assignment ps1 --force"):
        course.assignment(ASSIGNMENT)


def test_notebooks_in_other_languages_are_refused(tmp_path: Path) -> None:
    for name, metadata in {"r": {"kernelspec": {"name": "ir", "language": "R"}}, "plain": {}}.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({**tiny_course.notebook(), "metadata": metadata}))
    assert other_languages(tmp_path) == {"r.ipynb": "R"}


def made_grader(root: Path) -> tuple[Grader, Submission]:
    """A grader of the notebook `kinds` as it was released, with tests as the gradebook would hold them."""
    ordinary_course.make(root, "")
    release = root / "release" / ASSIGNMENT
    release.mkdir(parents=True)
    cells = json.loads(json.dumps(ordinary_course.KINDS))
    cells[2]["source"] = '"""The double of a number"""\nassert double(1) == 2'
    (release / "kinds.ipynb").write_text(json.dumps(tiny_course.notebook(*cells)))
    grader = Grader(
        root, load_course(root), ASSIGNMENT, Isolation("none"), Source("offline"), release, root / "source" / ASSIGNMENT
    )
    return grader, read_submission("s", release, root / "files", release, Limits())


def run_of(status: Status, *outputs: dict[str, Any], line: int = 0, index: int = 3) -> JailRun:
    """A run of which one cell is told (from the fourth, `partial`), as it comes out of the jail."""
    shown = clean_outputs(list(outputs), 1000, Limits().outputs, results=True)
    cell = CellRun(index, status, 0.1, shown, "it said so", line)
    return JailRun({"kinds": NotebookRun("kinds", Status.CRASHED, "killed", [cell])}, {})


def result(text: str) -> dict[str, Any]:
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}, "execution_count": 1}


ERROR = {"output_type": "error", "ename": "Own", "evalue": "double(21)", "traceback": []}
DISPLAY = {"output_type": "display_data", "data": {"text/plain": "x"}, "metadata": {}}
STDERR = {"output_type": "stream", "name": "stderr", "text": "oh\n"}


@pytest.mark.parametrize(
    ("jail", "status", "earned"),
    [
        (run_of(Status.PASSED, result("0.5")), Status.FAILED, 0.5),
        (run_of(Status.PASSED, result("1.25")), Status.PASSED, 1.25),
        (run_of(Status.PASSED, result("'fine'")), Status.PASSED, 1.25),  # as nbgrader has it, with a warning
        (run_of(Status.PASSED), Status.PASSED, 1.25),
        (run_of(Status.PASSED, STDERR, result("1")), Status.FAILED, 0.0),
        (run_of(Status.PASSED, result("7")), Status.UNSUPPORTED, 0.0),
        (run_of(Status.PASSED, {**result(""), "data": {}}), Status.UNSUPPORTED, 0.0),
        (run_of(Status.PASSED, *[DISPLAY] * 201, STDERR), Status.UNSUPPORTED, 0.0),  # one was left out
        (run_of(Status.ERROR, result("1")), Status.FAILED, 0.0),
        (run_of(Status.OUTPUT_LIMIT), Status.OUTPUT_LIMIT, 0.0),
        (run_of(Status.TIMEOUT, result("1")), Status.TIMEOUT, 0.0),
        (JailRun({"kinds": NotebookRun("kinds", Status.TIMEOUT, "too long")}, {}), Status.TIMEOUT, 0.0),
        (JailRun({}, {}), Status.CRASHED, 0.0),
    ],
)
def test_silence_is_full_points_only_where_the_cell_ran_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jail: JailRun, status: Status, earned: float
) -> None:
    grader, submission = made_grader(tmp_path)
    with pytest.raises(SetupError, match="grade it with `autograder grade`"):
        judge_cells(grader, submission, jail)
    checks = {check.cell: check for check in judge_cells(given_tests(grader, monkeypatch), submission, jail)}
    assert (checks["partial"].status, checks["partial"].earned) == (status, earned)
    assert checks["double-tests"].earned == 0  # nothing is known of it
    assert checks["double-tests"].status is not Status.PASSED


def test_a_gradebook_that_does_not_fit_the_release_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grader, _ = made_grader(tmp_path)
    with pytest.raises(GradebookError, match=r"no gradebook.*generate_assignment ps1 --force"):
        with_tests(grader, f"sqlite:///{tmp_path / 'none.db'}", Autograde())
    texts = {"kinds": {"double-tests": "assert double(1) == 3"}}
    monkeypatch.setattr("autograder.course.ordinary.locked_texts", lambda db_url, name: texts)
    with pytest.raises(GradebookError, match="'double-tests' of kinds is another in the gradebook than in the release"):
        with_tests(grader, "", Autograde())


def given_tests(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> Grader:
    texts = {"kinds": {c["metadata"]["nbgrader"]["grade_id"]: c["source"] for c in ordinary_course.KINDS}}
    monkeypatch.setattr("autograder.course.ordinary.locked_texts", lambda db_url, name: texts)
    found = with_tests(grader, "", Autograde())
    assert found.tests is not None
    assert found.tests.rule.startswith(POINTS)
    return found


def test_nothing_that_a_hidden_test_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grader, submission = made_grader(tmp_path)
    grader = given_tests(grader, monkeypatch)

    def told(line: int) -> str:
        jail = run_of(Status.ERROR, ERROR, line=line, index=2)
        return next(c.message for c in judge_cells(grader, submission, jail) if c.cell == "double-tests")

    assert told(4) == "a hidden test of this cell does not pass (an error)"
    assert told(0) == "a test of this cell, open or hidden, does not pass: what it calls raises an error"
    assert told(2) == "Own: double(21)"


def test_results_leave_as_displays_and_scores_are_exact() -> None:
    (kept,) = clean_outputs([result("0.333")], 1000, 5, results=True)
    assert kept["output_type"] == "execute_result"
    assert (
        as_display(kept)["output_type"] == clean_outputs([result("0.333")], 1000, 5)[0]["output_type"] == "display_data"
    )
    check = CheckResult("n", "c", "c", "t", 1.0, 1 / 3, Status.FAILED)
    report = GradeReport("s", "a", [check], cells={"n": {"c": 1.0}})
    assert scores_of(report) == report.cell_scores()
    ordinary = replace(report, facts={KIND: ORDINARY})
    assert [score.earned for score in scores_of(ordinary)] == [1 / 3]
    assert Row(ordinary).total.earned == 0.333333
