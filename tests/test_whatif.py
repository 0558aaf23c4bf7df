"""What-if: kept evidence graded with changes, compared with what is recorded, and nothing recorded."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.core.config import Assignment, Exercise, Limits
from autograder.core.config_changes import Changes, WrongSetting, parse_settings
from autograder.core.grade_report import Status
from autograder.core.rows import Points
from autograder.course.compare import compare
from autograder.jail import find_isolation
from autograder.judging.job import NotebookWork, Work
from autograder.judging.problems import Problem
from autograder.pipeline import jail_run, judge
from autograder.pipeline.cache import Cache
from autograder.pipeline.grader import open_grader
from autograder.pipeline.plan import Plan
from tests import tiny_course
from tests.example_reports import check, marks_for, report
from tests.tiny_course import RIGHT, SUMS, WRONG, give_mark, grade, hand_in

ENDLESS = "double = lambda number: number\nwhile True: pass"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Totals of 18, 13, 10 and 18 of 18 automatic points; the last one's time-out is not kept."""
    root = tmp_path_factory.mktemp("template") / "course"
    tiny_course.make(root)
    hand_in(root, "ada", "50", RIGHT)
    hand_in(root, "bo", "30", RIGHT)
    hand_in(root, "cy", "40", WRONG)
    hand_in(root, "=dee", "50", ENDLESS)
    assert grade(root).exit_code == 0
    return root


def ask(root: Path, *arguments: object) -> Any:
    return tiny_course.run("whatif", "--course", root, *arguments)


def words(text: str) -> str:
    return " ".join(text.split())


def digests(root: Path) -> Mapping[str, str]:
    """Every file of the course but what a what-if keeps for itself."""
    own = root / ".autograder" / "whatif"
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and own not in path.parents]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed_config(root: Path, old: str, new: str) -> Path:
    text = (root / "grader_config.py").read_text()
    assert old in text
    path = root.parent / "changed_config.py"
    path.write_text(text.replace(old, new))
    return path


def changed_graders(root: Path, old: str, new: str) -> Path:
    folder = root.parent / "changed_graders"
    shutil.copytree(root / "graders", folder)
    assert old in SUMS
    (folder / "test_sums.py").write_text(SUMS.replace(old, new))
    return folder


def test_another_threshold_says_who_gains_and_crosses_and_records_nothing(course: Path) -> None:
    before = digests(course)
    result = ask(course, "--set", "01_sums.full=45", "--boundaries", "50,60,70")
    assert result.exit_code == 3  # =dee could not be compared
    assert re.search(r"cy +5\.5 / 20 +6\.3 / 20 +\+0\.8 +The total is large enough: 2\.5 → 3\.3", result.output)
    assert "ada" not in result.stdout
    assert "1 gain, 0 lose, 2 keep their points" in result.output
    assert "Nobody would cross 50 %, 60 %, 70 % of all points" in result.output
    assert "Mean: 12.17 → 12.43 points" in result.output
    assert "Nothing was recorded." in result.output
    assert digests(course) == before


def test_boundaries_count_in_both_directions(course: Path) -> None:
    result = ask(course, "--set", "01_sums.zero=45", "--set", "01_sums.full=50", "--boundaries", "25,50,65")
    assert re.search(r"cy +5\.5 / 20 +3 / 20 +-2\.5 +↓ 25 %", result.output)
    assert "Boundary 25 %: 0 would rise to it, 1 would fall below it" in result.output
    config = changed_config(course, '"zero": 30', '"zero": 10')
    result = ask(course, "--config", config, "--boundaries", "70,80")
    assert re.search(r"bo +13 / 20 +15\.5 / 20 +\+2\.5 +↑ 70 %", result.output)
    assert "Nobody would cross 80 % of all points" in result.output


def test_other_points_for_a_cell_change_totals_and_maximum(course: Path) -> None:
    """The release still says 10: a what-if comes before it is generated again."""
    config = changed_config(course, '"doubles-tests": 10', '"doubles-tests": 20')
    graders = course.parent / "graders"
    shutil.copytree(course / "graders", graders)
    text = (graders / "test_doubles.py").read_text()
    (graders / "test_doubles.py").write_text(text.replace("@points(10", "@points(20"))
    result = ask(course, "--config", config, "--graders", graders)
    assert re.search(r"ada +18 / 20 +28 / 30 +\+10 +The double of a number: 10 of 10 → 20 of 20", result.output)


def test_no_student_code_runs(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a jail was started")

    monkeypatch.setattr(jail_run, "start", refuse)
    assert "1 gain" in ask(course, "--set", "01_sums.full=45").output


def test_a_second_time_no_grader_runs_either(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(course, "--set", "01_sums.full=45")

    def refuse(*_: object) -> None:
        raise AssertionError("a grading process was started")

    monkeypatch.setattr(judge.GradingProcess, "start", refuse)
    assert ask(course, "--set", "01_sums.full=45").output == first.output


def test_one_process_grades_all(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    start = judge.GradingProcess.start

    def count(self: judge.GradingProcess) -> Any:
        started.append(self)
        return start(self)

    monkeypatch.setattr(judge.GradingProcess, "start", count)
    assert "of all points" in ask(course, "--set", "01_sums.full=45").output
    assert len(started) == 1


def test_another_hint_is_another_message_and_no_points(course: Path) -> None:
    graders = changed_graders(course, "Add them all.", "Add every single one.")
    result = ask(course, "--graders", graders, "--messages")
    assert "0 gain, 0 lose, 3 keep their points" in result.output
    # bo and cy: ada passed, and reads no hint.
    assert "2 students would read another message for the same points" in result.output
    text = words(result.output)
    assert "Hint: Add them all." in text
    assert "Hint: Add every single one." in text
    assert "The total is large enough" not in words(ask(course, "--graders", graders).output)


def test_a_message_that_comes_with_other_points_is_shown_too(course: Path) -> None:
    result = ask(course, "--set", "01_sums.full=45", "--messages")
    text = words(result.output)
    assert "total: expected 50, got 40" in text
    assert "total: expected 45, got 40" in text
    assert "1 student would read another message for the same points" in text  # bo, who has 0 of 5 either way


def test_a_changed_helper_beside_changed_graders_is_the_one_that_counts(course: Path) -> None:
    """Graders import helpers as `autograder.graders.answers`: the copy must not use the engine's own unseen."""
    graders = changed_graders(
        course,
        "from autograder.checks",
        "from autograder.graders.answers import LIMIT\nfrom autograder.checks",
    )
    (graders / "answers.py").write_text("LIMIT = 3\n")
    result = ask(course, "--graders", graders)
    assert "3 keep their points" in result.output, result.output


def test_a_new_check_and_one_that_is_gone_are_named(course: Path) -> None:
    graders = changed_graders(course, "def test_number", "def test_integer")
    output = ask(course, "--graders", graders).output
    assert "The total is a number: no longer checked (passed, 3 of 3)" in output
    assert "The total is a number: new check (passed, 3 of 3)" in output


def test_graders_that_break_are_named_and_nobody_is_compared(course: Path) -> None:
    graders = changed_graders(course, '@points(3, cell="sums-tests"', '@points(3, cell="sums"')
    result = ask(course, "--graders", graders)
    assert result.exit_code == 1
    wrong = "checks give {'sums': 3.0, 'sums-tests': 8.0}, the configuration says {'sums-tests': 8.0}"
    assert wrong in words(result.stderr)
    assert "ada, bo, cy" in result.stderr


def test_evidence_that_is_not_there_is_never_made_up(course: Path) -> None:
    result = ask(course)
    assert result.exit_code == 3
    wanted = "Not compared: =dee: 02_doubles: the run ended in time-out, which is not kept"
    assert wanted in words(result.stderr)
    hand_in(course, "bo", "50", RIGHT)
    hand_in(course, "eve", "50", RIGHT)
    shutil.rmtree(course / "submitted" / "cy")
    said = words(ask(course).stderr)
    assert "Not compared: bo: handed in again since it was graded: grade it first" in said
    assert "Not compared: cy: there is no submission any more" in said
    assert "Not compared: eve: no marks are recorded: grade it first" in said
    shutil.rmtree(course / ".autograder" / "cache")
    result = ask(course)
    assert result.exit_code == 1
    assert "ada: 01_sums, 02_doubles: no evidence is kept that this engine can use: grade it first" in words(
        result.stderr
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("times=2", "times=3", "02_doubles: the changes ask for other probes: it would have to run again"),
        ("cell_seconds=3", "cell_seconds=4", "01_sums, 02_doubles: the changes ask for other limits"),
    ],
)
def test_changes_that_need_other_evidence_are_refused_with_the_exercise(
    course: Path, old: str, new: str, reason: str
) -> None:
    result = ask(course, "--config", changed_config(course, old, new))
    assert result.exit_code == 1
    assert reason in words(result.stderr)
    assert "keep their points" not in result.output


def test_a_mark_by_hand_stands(course: Path) -> None:
    give_mark(course, "cy", "01_sums", "sums-tests", 7)
    result = ask(course, "--set", "01_sums.full=45")
    text = words(result.output)
    assert "cy 7 / 20 7 / 20 0" in text
    assert "(does not count)" in text
    assert "sums-tests is marked by hand (7), which stands: the checks 5.5 → 6.3" in text
    assert "0 gain, 0 lose, 3 keep their points" in text


def test_what_changed_since_recording_is_shown_without_any_option(course: Path) -> None:
    graders = course / "graders" / "test_sums.py"
    graders.write_text(graders.read_text().replace("if part < 1:", "if part < 0.4:"))
    result = ask(course)
    assert re.search(r"cy +5\.5 / 20 +8 / 20 +\+2\.5 +The total is large enough: failed 2\.5 → passed 5", result.output)
    assert "3 of 3 students were graded before the engine, the graders or the configuration became" in words(
        result.output
    )


def test_exports_hold_everything_and_no_formula(course: Path, tmp_path: Path) -> None:
    folder, table = tmp_path / "whatif.json", tmp_path / "whatif.csv"
    ask(course, "--set", "01_sums.full=45", "--json", folder, "--csv", table)
    found = json.loads(folder.read_text())
    assert found["changes"]["settings"] == {"01_sums": {"full": 45}}
    assert found["summary"] | {"mean_before": 0, "mean_after": 0} == {
        "compared": 3,
        "gain": 1,
        "lose": 0,
        "unchanged": 2,
        "crossings": [[50.0, 0, 0]],
        "mean_before": 0,
        "mean_after": 0,
        "other_message": 1,
    }
    cy = next(student for student in found["students"] if student["student"] == "cy")
    assert (cy["before"]["earned"], cy["after"]["earned"], cy["difference"]) == (5.5, 6.3, 0.8)
    (moved,) = cy["checks"]
    assert (moved["before"]["earned"], moved["after"]["earned"], moved["counts"]) == (2.5, 3.3, True)
    assert "expected 45, got 40" in moved["after"]["text"]
    with open(table, newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"ada", "bo", "cy", "'=dee"}
    assert (rows["cy"]["before"], rows["cy"]["after"], rows["cy"]["difference"]) == ("5.5", "6.3", "0.8")
    assert rows["'=dee"]["before"] == ""
    assert "time-out" in rows["'=dee"]["problem"]
    assert {path.stat().st_mode & 0o777 for path in (folder, table)} == {0o600}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("01_sums.ful=45", "no exercise has a setting '01_sums.ful'; known: .* did you mean '01_sums.full'"),
        ("zeroo=45", "did you mean 'zero'"),
        ("full=45", "'full' is a setting of 2 exercises: write 01_sums.full or 02_doubles.full"),
        ("zero=low", "zero: expected int \\(now 30\\), got 'low'"),
        ("zero=True", "zero: expected int \\(now 30\\), got 'True'"),
        ("zero", "'zero': expected SETTING=VALUE"),
    ],
)
def test_wrong_settings_are_usage_errors(course: Path, text: str, message: str) -> None:
    result = ask(course, "--set", text)
    assert result.exit_code == 2
    assert re.search(message, words(result.stderr)), result.stderr


def test_settings_have_the_type_that_stands_there() -> None:
    made = Exercise("one", {"tests": 1}, "t.py", settings={"share": 0.75, "unit": "a", "sizes": (1, 2), "on": True})
    texts = ["share=1", "unit=pears", "sizes=(3, 4)", "on=False"]
    found = parse_settings(Assignment([made]), texts)
    assert found == {"one": {"share": 1.0, "unit": "pears", "sizes": (3, 4), "on": False}}
    assert Changes.from_record(json.loads(json.dumps(Changes(settings=found).record()))).settings == found
    with pytest.raises(WrongSetting, match="on: expected bool"):
        parse_settings(Assignment([made]), ["on=1"])


@pytest.mark.parametrize("text", ["", "50,x", "0", "101", "50;60"])
def test_wrong_boundaries_are_usage_errors(course: Path, text: str) -> None:
    result = ask(course, "--boundaries", text)
    assert (result.exit_code, "expected percentages such as 50,60,70,80,90" in words(result.stderr)) == (2, True)


def test_graders_folder_that_lacks_a_file_and_no_recorded_marks(course: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = ask(course, "--graders", tmp_path / "empty")
    assert (result.exit_code, "no test_sums.py, test_doubles.py in" in words(result.stderr)) == (1, True)
    shutil.rmtree(course / ".autograder" / "reports")
    result = ask(course)
    assert (result.exit_code, "run `autograder grade tiny`" in result.stderr) == (1, True)


def test_cells_that_the_release_does_not_have_are_refused(course: Path) -> None:
    config = changed_config(course, '"doubles-tests": 10', '"doubles-test": 10')
    result = ask(course, "--config", config)
    assert result.exit_code == 1
    wrong = "Exercise('02_doubles').cells has no 'doubles-tests', to which test_double gives points"
    assert wrong in words(result.stderr)


def test_totals_hold_manual_marks_and_extra_credit() -> None:
    before, after = report("ada"), report("ada", check("logits", "network-tests", 6, Status.FAILED, message="no"))
    compared = compare(before, after, marks_for(before, manual=4.0))
    assert (compared.before, compared.after) == (Points(34.0, 35.0), Points(28.0, 35.0))
    assert compared.difference == -6
    assert compared.crossed([80, 90, 97.2]) == ([], [90])
    assert not compared.is_waiting
    assert compare(before, after, marks_for(before)).is_waiting
    assert compare(before, after, ()).before == Points(30.0, 30.0)


def test_a_conversion_of_a_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    (tmp_path / "files").mkdir()
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "files" / "model.pt")
    plan, cache, limits = Plan([], {}, {}, "model.pt", "key"), Cache(tmp_path / "cache"), Limits()
    first = jail_run.run_plan(plan, tmp_path / "files", limits, isolation, cache)
    assert isinstance(first.checkpoint, bytes)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a jail was started")

    monkeypatch.setattr(jail_run, "start", refuse)
    kept = jail_run.recall(plan, cache)
    assert kept.missing == ()
    assert jail_run.kept_run(plan, kept, limits).checkpoint == first.checkpoint
    assert jail_run.run_plan(plan, tmp_path / "files", limits, isolation, cache).checkpoint == first.checkpoint


def test_a_probe_that_timed_out_is_not_kept(course: Path) -> None:
    """The cells ran to their end, and only the call of the function did not: a quieter machine may see it end."""
    hand_in(course, "fay", "50", "def double(number):\n    while True: pass")
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace("cell_seconds=3", "cell_seconds=3, probe_seconds=2"))
    assert grade(course, "--student", "fay").exit_code == 0
    said = words(ask(course).stderr)
    assert "fay: 02_doubles: the run ended in time-out, which is not kept" in said


def test_a_grading_process_that_dies_is_replaced_at_the_next_work(course: Path, tmp_path: Path) -> None:
    """Here for an exercise whose grader ends it; tests/test_judging.py has all ways to end."""
    (course / "graders" / "test_sums.py").write_text("import os\nos._exit(1)\n")
    grader = open_grader(course, tiny_course.ASSIGNMENT)
    missing = Problem(Status.FAILED, "nothing was handed in")
    probes = {e.notebook: NotebookWork([], None, missing) for e in grader.assignment.exercises}
    with judge.GradingProcess(grader.setup, tmp_path, 60) as process:
        with pytest.raises(judge.GradingFault, match="gave no result"):
            process.grade(Work({"01_sums": probes["01_sums"]}))
        answer = process.grade(Work({"02_doubles": probes["02_doubles"]}))
        assert {c["notebook"] for c in answer["checks"]} == {"02_doubles"}


def test_a_grading_process_that_hangs_is_ended(course: Path, tmp_path: Path) -> None:
    graders = course / "graders" / "test_sums.py"
    graders.write_text("import time\ntime.sleep(600)\n")
    grader = open_grader(course, tiny_course.ASSIGNMENT)
    missing = Problem(Status.FAILED, "nothing was handed in")
    work = Work({e.notebook: NotebookWork([], None, missing) for e in grader.assignment.exercises}, {})
    with (
        judge.GradingProcess(grader.setup, tmp_path, 8) as process,
        pytest.raises(judge.GradingFault, match="TimeoutError"),
    ):
        process.grade(work)
