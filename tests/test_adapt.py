"""docs/adapt.md's recipes, carried out in a copy of the course: everything follows, or its place is named."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nbgrader.api import Gradebook

from autograder.cli.doctor import texts_finding
from autograder.core.config import Assignment, Exercise, load_course
from autograder.core.config_values import ConfigError
from autograder.core.declared_checks import declared_checks, points_of_checks
from autograder.core.fields import FieldError, course_values, exercise_values, fill, notebook_values
from autograder.core.grade_report import Status
from autograder.core.shares import TooFewPoints, share_points
from autograder.course.release_text import ReleaseText, fill_python, release_text, stale_texts
from autograder.judging.hidden_tests import run_graders
from autograder.pipeline.doctor import Health, describe_assignment
from autograder.pipeline.grader import check_points
from tests import tiny_course
from tests.conftest import nbgrader
from tools.checks_table import read_checks

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "adapt.md").read_text()
RECIPES = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
HUNK = re.compile(r"((?:^-.*\n)+)((?:^\+.*\n)+)", re.MULTILINE)


def changed(config: str, recipe: str) -> str:
    """The configuration after a recipe."""
    (block,) = re.findall(r"^```diff file=grader_config\.py\n(.*?)^```", RECIPES[recipe], re.MULTILINE | re.DOTALL)
    hunks = HUNK.findall(block)
    assert "".join(old + new for old, new in hunks) == block
    for old, new in hunks:
        before, after = (re.sub(r"^[-+]", "", part, flags=re.MULTILINE) for part in (old, new))
        assert config.count(before) == 1, before
        config = config.replace(before, after)
    return config


def adapted(root: Path, *recipes: str) -> tuple[Assignment, ReleaseText]:
    """A course with its configuration changed, and what its release will say."""
    config = (ROOT / "grader_config.py").read_text()
    for recipe in recipes:
        config = changed(config, recipe)
    (root / "grader_config.py").write_text(config)
    course = load_course(root)
    return course.assignment("cnn"), release_text(course, "cnn", ROOT / "source" / "cnn")


def said(text: ReleaseText, name: str) -> str:
    return "\n".join(cell.source for cell in text.notebooks[name].cells)


def kit_values(text: str) -> dict[str, Any]:
    """The plain values of the kit, read without importing it: it imports PyTorch."""
    found = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            try:
                found[ast.unparse(target)] = ast.literal_eval(statement.value)
            except ValueError:
                continue
    return found


def exercise_of(assignment: Assignment, notebook: str) -> Exercise:
    found = assignment.exercise(notebook)
    assert found is not None
    return found


def titles_of(assignment: Assignment, notebook: str) -> dict[str, tuple[str, float, str]]:
    exercise = exercise_of(assignment, notebook)
    checks = read_checks(assignment.graders / exercise.grader, exercise)
    return {check.name: (check.title, check.points, check.hint) for check in checks}


# Each recipe by itself


def test_as_shipped_nothing_disagrees_and_the_committed_release_is_what_the_sources_say(tmp_path: Path) -> None:
    assignment, text = adapted(tmp_path)
    assert not text.remarks
    assert not list(stale_texts(text, ROOT / "release" / "cnn"))
    assert not list(stale_texts(text, ROOT / "solutions" / "cnn"))
    course = load_course(tmp_path)
    for exercise in assignment.exercises:
        declared = declared_checks(assignment.graders / exercise.grader)
        assert points_of_checks(declared, exercise.cells) == {check.name: check.weight for check in declared}
    assert course_values(course, "cnn")["points"] == 100


def test_other_points(tmp_path: Path) -> None:
    assignment, text = adapted(tmp_path, "Other points")
    assert not text.remarks
    assert said(text, "02_deeper_cnn").count("25 points") == 2
    assert "20 points" not in said(text, "02_deeper_cnn")
    assert "# Exercise 3 · Depthwise separable convolution (30 points)" in said(text, "03_depthwise_separable")
    assert said(text, "03_depthwise_separable").count("**4 points**") == 2  # of the rubric
    points = [points for _, points, _ in titles_of(assignment, "02_deeper_cnn").values()]
    assert points == [3.8, 2.5, 2.5, 6.2, 2.5, 2.5, 2.5, 2.5]
    assert sum(points) == 25
    cells = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.get("points") for c in graded_cells(text)}
    assert (cells["deeper-cnn-tests"], cells["depthwise-why"], cells["depthwise-count"]) == (25, 10, 5)


def graded_cells(text: ReleaseText) -> list[Any]:
    return [c for nb in text.notebooks.values() for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade")]


def test_another_threshold(tmp_path: Path) -> None:
    assignment, text = adapted(tmp_path, "Another threshold")
    assert not text.remarks
    notebook = said(text, "04_modern_cnn")
    assert "So 65 % or less gives nothing, 67.5 % gives 10 points, 70 % gives all 20." in notebook
    assert r"\frac{\text{accuracy} - 0.65}{0.7 - 0.65}" in notebook
    assert "**Aim at 72 % on the validation images**, not at 70 %." in notebook
    assert not re.search(r"7[57] %|0\.75", notebook)
    title, _, hint = titles_of(assignment, "04_modern_cnn")["test_accuracy"]
    assert title == "Test accuracy of the handed-in weights reaches 70 %"
    assert hint.startswith("Aim at 72 % on the validation images")
    kit = kit_values(text.files["cnn_kit.py"])
    assert (kit["ACCURACY_FROM"], kit["ACCURACY_FULL"], kit["ACCURACY_AIM"]) == (0.65, 0.7, 0.72)


def test_another_budget(tmp_path: Path) -> None:
    _, text = adapted(tmp_path, "Another budget")
    assert not text.remarks
    notebook = said(text, "04_modern_cnn")
    budgets = ["| 2.5 million numbers stored", "| 0.25 GMAC (billion", "| 16 MiB of checkpoint"]
    assert [budget for budget in budgets if budget not in notebook] == []
    kit = kit_values(text.files["cnn_kit.py"])
    assert [kit["MAX_NUMBERS"], kit["MAX_MACS"], kit["MAX_CHECKPOINT_MIB"]] == [2_500_000, 250_000_000, 16]
    assert "at most 45 seconds for a cell, 180 for a notebook and 600 for all" in text.files["README.md"]


def test_another_due_date(tmp_path: Path) -> None:
    _, text = adapted(tmp_path, "Another due date")
    assert not text.remarks
    assert "\nHand in by 2026-12-04 23:59 (Europe/Vienna).\n" in text.files["README.md"]
    assert "Hand in by" not in adapted(tmp_path)[1].files["README.md"]


def test_without_exercise_3(tmp_path: Path) -> None:
    assignment, text = adapted(tmp_path, "Without exercise 3")
    assert not text.remarks
    assert text.left_out == ["03_depthwise_separable"]
    assert sorted(text.notebooks) == ["00_lesson", "01_output_size", "02_deeper_cnn", "04_modern_cnn"]
    everything = "\n".join([*(said(text, name) for name in text.notebooks), text.files["README.md"]])
    assert not re.search("exercise 3|03_depthwise", everything, re.IGNORECASE)
    assert "`01_output_size`, `02_deeper_cnn`, `04_modern_cnn`." in everything
    kit = kit_values(text.files["cnn_kit.py"])
    assert list(kit["NOTEBOOKS"]) == ["01_output_size.ipynb", "02_deeper_cnn.ipynb", "04_modern_cnn.ipynb"]
    assert kit["WRITTEN"] == {}
    assert describe_assignment(assignment).startswith("3 exercises, 75 automatic points")


# What does not follow is named


@pytest.mark.parametrize(
    ("old", "new", "remark"),
    [
        (
            "{{ accuracy_full | percent }} gives all",
            "75 % gives all",
            "04_modern_cnn.ipynb, cell 16, line 7: says '75 %', but thresholds",
        ),
        ("{{ points | points }}", "40 points", None),  # right as it stands
        ("{{ points | points }}", "45 points", "04_modern_cnn.ipynb, cell 1, line 1: says '45 points', but points"),
        ("{{ points | points }}", '{{ "45 points" }}', None),  # meant
        ("{{ most_macs | billions }}", "1.5", "04_modern_cnn.ipynb, cell 6, line 19: says '1.5 GMAC', but budgets"),
    ],
)
def test_an_amount_that_no_field_wrote_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, remark: str | None
) -> None:
    remarks = remarks_after(tmp_path, old, new, "Another threshold", "Another budget")
    place, _, problem = (remark or "").partition(": ")
    assert [(r.startswith(place), problem in r) for r in remarks] == ([(True, True)] if remark else []), remarks


def remarks_after(root: Path, old: str, new: str, *recipes: str) -> list[str]:
    """What is said where a text of exercise 4 was written otherwise (the first place only)."""
    adapted(root, *recipes)
    source = root / "source" / "cnn"
    shutil.copytree(ROOT / "source" / "cnn", source)
    path = source / "04_modern_cnn.ipynb"
    written, meant = (json.dumps(text, ensure_ascii=False)[1:-1] for text in (old, new))
    assert written in path.read_text()
    path.write_text(path.read_text().replace(written, meant, 1))
    return [str(remark) for remark in release_text(load_course(root), "cnn", source).remarks]


def test_the_lesson_names_a_dropped_exercise_where_it_is_not_told_to_forget_it(tmp_path: Path) -> None:
    adapted(tmp_path, "Without exercise 3")
    source = tmp_path / "source" / "cnn"
    shutil.copytree(ROOT / "source" / "cnn", source)
    (source / "README.md").write_text("# Read me\n\nStart with exercise 3.\n")
    remarks = [str(remark) for remark in release_text(load_course(tmp_path), "cnn", source).remarks]
    assert remarks == ["README.md, line 3: says 'exercise 3', but grader_config.py has no '03_depthwise_separable'"]


def test_titles_with_other_amounts_are_named(tmp_path: Path) -> None:
    course, text = tiny(tmp_path, grader=tiny_course.SUMS.replace("large enough", "large enough, 25 % in 7 points"))
    (remark,) = [str(remark) for remark in text.remarks if remark.file == "test_sums.py"]
    wrong = "test_sums.py, line 13: test_total says '7 points', but points in grader_config.py: 3, 5, 8"
    assert remark == f"{wrong}. Write a field (docs/adapt.md)"
    assert course.exercises[0].points == 8


def tiny(
    root: Path, grader: str = tiny_course.SUMS, config: str = tiny_course.CONFIG
) -> tuple[Assignment, ReleaseText]:
    """The small course without its release."""
    write_tiny(root, grader, config)
    course = load_course(root)
    return course.assignment("tiny"), release_text(course, "tiny", root / "source" / "tiny")


def write_tiny(root: Path, grader: str = tiny_course.SUMS, config: str = tiny_course.CONFIG) -> None:
    for folder in ("graders", "source/tiny"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "graders" / "test_sums.py").write_text(grader)
    (root / "graders" / "test_doubles.py").write_text(tiny_course.DOUBLES)
    (root / "grader_config.py").write_text(config)
    (root / "nbgrader_config.py").write_text((ROOT / "nbgrader_config.py").read_text())
    for name, made in (("01_sums", tiny_course.sums("total = 0", "Why?")), ("02_doubles", tiny_course.doubles(""))):
        (root / "source" / "tiny" / f"{name}.ipynb").write_text(json.dumps(made))


def test_a_mark_by_hand_that_the_configuration_does_not_know_is_named(tmp_path: Path) -> None:
    _, text = tiny(tmp_path)
    assert [str(remark) for remark in text.remarks] == [
        "01_sums.ipynb, cell 3 (sums-why): 2 points by hand, which stand here alone: name the cell in Exercise.manual"
    ]
    named = tiny_course.CONFIG.replace('cells={"sums-tests": 8}', 'cells={"sums-tests": 8}, manual={"sums-why": 2}')
    assert not tiny(tmp_path, config=named)[1].remarks


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('{"sums-tests": 8}', '{"sums-tests": 8, "sums-more": 1}', "no check of test_sums.py gives points"),
        (
            '{"sums-tests": 8}',
            '{"sum-tests": 8}',
            r"no 'sums-tests', to which test_number gives points \(test_sums.py, line 7",
        ),
        ('{"sums-tests": 8}', '{"sums-tests": 0.1}', "0.1 points are too few for 2 checks"),
        ('{"sums-tests": 8}', '{"sums-tests": 2.25}', "one decimal at most"),
        ('{"sums-tests": 8}', '{"sums-tests": 8}, manual={"sums-tests": 1}', "cannot be in cells and in manual"),
        ('{"sums-tests": 8}', '{"sums-tests": 8}, manual=[]', "manual must be a dict"),
    ],
)
def test_points_that_no_check_can_give_are_refused_before_anything_runs(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        tiny(tmp_path, config=tiny_course.CONFIG.replace(old, new))


def test_another_mark_by_hand_waits_for_its_release(tmp_path: Path) -> None:
    """The gradebook has the points that the release was made with."""
    assignment, _ = adapted(tmp_path, "Other points")
    later = replace(assignment, exercises=[e for e in assignment.exercises if e.notebook != "02_deeper_cnn"])
    shutil.copytree(ROOT / "release" / "cnn", tmp_path / "release")
    (tmp_path / "release" / "02_deeper_cnn.ipynb").unlink()
    with pytest.raises(ConfigError, match=r"03_depthwise.*has 5.0 points by hand for 'depthwise-why'.* says 10"):
        check_points(later, tmp_path / "release")


def test_what_cannot_be_read_stops_the_release_and_has_its_place(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    source = tmp_path / "source" / "tiny"
    (source / "02_doubles.ipynb").write_text("{")
    (source / "helper.py").write_text("# from grader_config.py: points\nPOINTS = (\n")
    (source / "picture.md").write_bytes(b"\xff\xfe")
    blocking = [str(remark) for remark in release_text(load_course(tmp_path), "tiny", source).blocking]
    assert len(blocking) == 2
    assert blocking[0].startswith("02_doubles.ipynb: is no notebook that can be read: ")
    assert blocking[1] == "helper.py, line 2: this is no Python: '(' was never closed"


def test_cells_that_fit_nothing_stop_the_release_with_their_place(tmp_path: Path) -> None:
    sums = tiny_course.SUMS.replace("@points(5", "@points(4").replace('5, cell="sums-tests"', '5, cell="sums-rest"')
    sums = sums.replace('@points(4, cell="sums-tests"', '@points(4, cell="sums-rest"')
    config = tiny_course.CONFIG.replace('{"sums-tests": 8}', '{"sums-tests": 4, "sums-rest": 4}')
    _, text = tiny(tmp_path, sums, config)
    assert [str(remark) for remark in text.blocking] == [
        "01_sums.ipynb: grader_config.py gives points to 'sums-rest', but there is no such cell"
    ]
    made = tiny_course.notebook(tiny_course.cell("more", "# graded", grade=True, locked=True, points=1))
    made["cells"] += tiny_course.doubles("")["cells"]
    (tmp_path / "source" / "tiny" / "02_doubles.ipynb").write_text(json.dumps(made))
    changed_text = release_text(load_course(tmp_path), "tiny", tmp_path / "source" / "tiny")
    finding = texts_finding("texts", changed_text, tmp_path / "release")
    assert finding.state is Health.MISSING
    assert "02_doubles.ipynb, cell 1 (more): a test cell that grader_config.py does not name" in finding.found


def test_a_field_with_a_wrong_name_has_its_line() -> None:
    with pytest.raises(FieldError, match=r"'accuracy_ful' is undefined .known here: accuracy_full") as caught:
        fill("one\ntwo {{ accuracy_ful | percent }}", {"accuracy_full": 0.75})
    assert caught.value.line == 2
    with pytest.raises(FieldError, match="cannot be read") as caught:
        fill("one\n\n{% if due %}", {"due": ""})
    assert caught.value.line == 3
    assert fill("x^{{n}} and {{ n }}", {"n": 3}) == "x^{{n}} and 3"


def test_a_python_file_keeps_what_a_dropped_exercise_gave() -> None:
    text = '# from grader_config.py: exercises["04"].most\nMOST = 12  # of é\n'
    assert fill_python(text, {"exercises": {"04": {"most": 70_000}}}, []).endswith("MOST = 70_000  # of é\n")
    assert fill_python(text, {"exercises": {}}, ["04"]) == text
    with pytest.raises(FieldError, match="has no attribute '04'"):
        fill_python(text, {"exercises": {}}, [])
    with pytest.raises(FieldError, match="an assignment must follow"):
        fill_python("# from grader_config.py: 1\nprint()\n", {}, [])


# How points are shared


@pytest.mark.parametrize(
    ("weights", "points", "shares"),
    [
        ([3, 2, 2, 5], 12, [3, 2, 2, 5]),
        ([1.25, 1.75], 3, [1.25, 1.75]),  # as they stand where they sum up
        ([3, 2, 2, 5], 24, [6, 4, 4, 10]),
        ([1, 1, 1], 1, [0.4, 0.3, 0.3]),  # what is left goes to the first
        ([2, 1], 7, [4.7, 2.3]),
        ([1, 2], 0.2, [0.1, 0.1]),
    ],
)
def test_shares_sum_to_the_points(weights: list[float], points: float, shares: list[float]) -> None:
    assert share_points(weights, points) == shares
    assert round(sum(shares), 9) == points


def test_every_check_is_worth_something() -> None:
    with pytest.raises(TooFewPoints):
        share_points([1, 99], 1)


def test_shares_of_many_points_sum_up_and_stay_within_a_tenth() -> None:
    weights = [3, 2, 2, 5, 2, 2, 2, 2]
    for tenths in range(10, 1000, 7):
        shares = share_points(weights, tenths / 10)
        assert sum(round(share * 10) for share in shares) == tenths
        assert all(abs(s - w / 20 * tenths / 10) < 0.1 for s, w in zip(shares, weights, strict=True))


GRADER = '''
from autograder.checks import award, expect, points

@points(3, cell="tests", hint="Aim at {{ (full + 0.02) | percent }}.")
def test_reaches(graded):
    """Reaches {{ full | percent }} for {{ cells["tests"] | points }}"""
    award(0.5, "half of it")

@points(1, cell="tests")
def test_small(graded):
    """Is small"""

@points(2, cell="rest")
def test_rest(graded):
    """The rest"""
'''


@pytest.mark.parametrize("only", ["", "test_small"])
def test_when_checks_run_they_are_worth_their_share_and_say_what_the_configuration_says(
    tmp_path: Path, only: str
) -> None:
    (tmp_path / "test_task.py").write_text(GRADER)
    cells = {"tests": 6, "rest": 2}
    exercise = Exercise(notebook="task", grader="test_task.py", cells=cells, settings={"full": 0.725})
    results = run_graders(tmp_path / "test_task.py", SimpleNamespace(exercise=exercise), only)  # type: ignore[arg-type]
    found = {result.name: result for result in results}
    if only:  # a check alone is worth what it is worth among all
        assert [(name, result.points) for name, result in found.items()] == [("test_small", 1.5)]
        return
    assert {name: (result.points, result.earned) for name, result in found.items()} == {
        "test_reaches": (4.5, 2.2),
        "test_small": (1.5, 1.5),
        "test_rest": (2, 2),
    }
    assert found["test_reaches"].title == "Reaches 72.5 % for 6 points"
    assert found["test_reaches"].hint == "Aim at 74.5 %."


def test_a_title_with_a_wrong_field_is_the_graders_fault(tmp_path: Path) -> None:
    (tmp_path / "test_task.py").write_text(GRADER)
    exercise = Exercise(notebook="task", grader="test_task.py", cells={"tests": 6, "rest": 2})
    results = run_graders(tmp_path / "test_task.py", SimpleNamespace(exercise=exercise))  # type: ignore[arg-type]
    assert {result.status for result in results} == {Status.INTERNAL}
    assert "test_task.py, test_reaches: a field cannot be filled: 'full' is undefined" in results[0].message


# The command


ALL = ("Other points", "Another threshold", "Another budget", "Another due date", "Without exercise 3")


def course_copy(root: Path) -> None:
    """What `make release` needs; the engine itself is not copied."""
    for folder in ("source", "tools"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "docs").mkdir()
    shutil.copyfile(ROOT / "docs" / "checks.md", root / "docs" / "checks.md")
    (root / "autograder").symlink_to(ROOT / "autograder")
    for name in ("grader_config.py", "nbgrader_config.py"):
        shutil.copyfile(ROOT / name, root / name)


def released(root: Path) -> subprocess.CompletedProcess[str]:
    """`make release`, but for the solutions, which take minutes to execute."""
    command = [sys.executable, "-m", "tools.release", "--only", "release"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def generate(root: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return nbgrader(root, "generate_assignment", name, "--force", *options)


def test_one_command_after_all_recipes(tmp_path: Path) -> None:
    assert "```console\nmake release\n```" in PAGE
    course_copy(tmp_path)
    assert generate(tmp_path, "cnn").returncode == 0
    config = tmp_path / "grader_config.py"
    for recipe in ALL:
        config.write_text(changed(config.read_text(), recipe))
    course = load_course(tmp_path)
    assignment, release = course.assignment("cnn"), tmp_path / "release" / "cnn"
    before = texts_finding("", release_text(course, "cnn", tmp_path / "source" / "cnn"), release)
    assert before.state is Health.WARN
    wrong = (
        "says '# Exercise 2 · A deeper CNN (20 points)', and would say '# Exercise 2 · A deeper CNN (25 points)' now"
    )
    assert f"02_deeper_cnn.ipynb, cell 1, line 1: {wrong}" in before.found
    assert "03_depthwise_separable.ipynb: is released, but" in before.found
    with pytest.raises(ConfigError, match="make release"):
        check_points(assignment, release)

    done = released(tmp_path)
    assert done.returncode == 0, done.stderr
    after = texts_finding("", release_text(course, "cnn", tmp_path / "source" / "cnn"), release)
    assert after.state is Health.OK, after.found
    check_points(assignment, release)
    assert sorted(path.stem for path in release.glob("*.ipynb")) == [
        *("00_lesson", "01_output_size", "02_deeper_cnn", "04_modern_cnn")
    ]
    for kit in (release / "cnn_kit.py", tmp_path / "source" / "cnn" / "cnn_kit.py"):
        values = kit_values(kit.read_text())
        assert (values["MAX_NUMBERS"], values["ACCURACY_FULL"], len(values["NOTEBOOKS"])) == (2_500_000, 0.7, 3)
        assert not [row for row in values["_CHECKS"] if row[1] == "test_depthwise_separable"]
    page = (tmp_path / "docs" / "checks.md").read_text()
    assert "### Test accuracy of the handed-in weights reaches 70 %" in page
    assert "`deeper-cnn-tests`, 6.2 points." in page
    assert "## 03_depthwise_separable" not in page
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        recorded = gradebook.find_assignment("cnn")
        assert recorded.max_score == 80
        assert recorded.duedate == datetime(2026, 12, 4, 22, 59)
        assert len(recorded.notebooks) == 4

    # A field that cannot be filled stops the next one, and the release stays.
    path = tmp_path / "source" / "cnn" / "02_deeper_cnn.ipynb"
    path.write_text(path.read_text().replace("{{ points | points }}", "{{ point | points }}"))
    failed = generate(tmp_path, "cnn")
    assert failed.returncode == 1
    assert "Nothing was generated: 02_deeper_cnn.ipynb, cell 1, line 1: a field cannot be filled" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (release / "02_deeper_cnn.ipynb").is_file()


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own way of adding a submission
def test_marks_of_a_dropped_exercise_are_not_lost_by_accident(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    assert generate(tmp_path, "tiny").returncode == 0
    database = f"sqlite:///{tmp_path / 'gradebook.db'}"
    with Gradebook(database) as gradebook:
        gradebook.add_student("ada")
        gradebook.add_submission("tiny", "ada")
    (tmp_path / "grader_config.py").write_text(tiny_course.CONFIG.replace("[SUMS, DOUBLES]", "[SUMS]"))
    refused = generate(tmp_path, "tiny")
    assert refused.returncode == 1
    assert "02_doubles: 1 submissions have marks for it" in refused.stderr
    assert (tmp_path / "release" / "tiny" / "02_doubles.ipynb").is_file()
    done = generate(tmp_path, "tiny", "--ReleaseExporter.drop_marks=True")
    assert done.returncode == 0, done.stderr
    with Gradebook(database) as gradebook:
        assert [one.name for one in gradebook.find_assignment("tiny").notebooks] == ["01_sums"]
        assert gradebook.find_submission("tiny", "ada").max_score == 10


def test_titles_and_hints_know_what_the_page_says() -> None:
    course = load_course(ROOT)
    modern = exercise_of(course.assignment("cnn"), "04_modern_cnn")
    assert {*modern.settings, "points", "cells", "manual", "checkpoint"} == set(exercise_values(modern))
    values = notebook_values(course_values(course, "cnn"), "04_modern_cnn")
    due = {**values, "due": "2026-12-04 23:59 (Europe/Vienna)"}
    rows: Sequence[tuple[str, str]] = re.findall(
        r"^\| (`\{\{.*?) \| ([^|]+) \|$", PAGE.replace(r"\|", "¦"), re.MULTILINE
    )
    sizes = notebook_values(course_values(course, "cnn"), "01_output_size")
    for fields, meaning in rows:
        for number, one in enumerate(re.findall(r"`(\{\{ .*? \}\})`", fields.replace("¦", "|"))):
            filled = fill(one, sizes if "checks." in one else due)
            assert filled in (
                meaning.split(", ")[number],
                meaning.split(":")[0],
                "2026-12-04 23:59 (Europe/Vienna)",
                "40",
            ), one
    assert len(rows) >= 8
    assert replace(modern, settings={}).points == 40
