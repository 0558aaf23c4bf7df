"""Item analysis and the map of misconceptions: figures that can be computed by hand, and sections that exist."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from example_reports import broken, check, report

from autograder.core.config import load_course
from autograder.core.grade_report import Status
from autograder.core.rows import Row
from autograder.review.staff_report.items import FEWEST, items, misconceptions, pattern, point_biserial

ROOT = Path(__file__).resolve().parent.parent


def failed(name="logits", message="wrong", status=Status.FAILED, **more):
    points = {"logits": 6, "channels double": 8, "weights learn": 6}[name]
    return check(name, "network-tests", points, status, message=message, **more)


def rows(*reports):
    return [Row(each) for each in reports]


def item_of(found, name):
    return next(item for item in found if item.name == name)


def test_pass_rate_and_mean_are_of_those_who_were_judged():
    skipped = failed(message="", status=Status.SKIPPED)
    undecided = failed(message="", status=Status.UNSUPPORTED)
    partly = failed(earned=3.0)
    class_of_four = rows(report("a"), report("b", partly), report("c", skipped), report("d", undecided))
    item = item_of(items(class_of_four), "logits")
    assert (item.judged, item.passed, item.pass_rate, item.mean) == (2, 1, 0.5, 4.5)
    assert item.lost == 9.0  # 3 of the partial one, 6 of the skipped one; nobody has lost what is undecided
    assert dict(item.ends) == {Status.PASSED: 1, Status.FAILED: 1, Status.SKIPPED: 1, Status.UNSUPPORTED: 1}


def test_a_check_that_nobody_reached_has_no_pass_rate():
    skipped = failed(message="", status=Status.SKIPPED)
    assert item_of(items(rows(report("a", skipped))), "logits").pass_rate is None


def test_submissions_that_the_grader_failed_do_not_count():
    assert items(rows(broken())) == []
    assert misconceptions(rows(broken())) == []


def test_checks_come_by_the_points_that_the_class_lost():
    found = items(rows(report("a", failed("channels double")), report("b", failed("weights learn"))))
    assert [item.name for item in found][:2] == ["channels double", "weights learn"]


def test_discrimination_is_pearsons_correlation_of_a_pass_with_the_rest():
    passed, rest = [True, True, False, True, False, False], [9.0, 7.0, 4.0, 8.0, 6.0, 1.0]
    mean, share = sum(rest) / 6, 0.5
    covariance = sum((p - share) * (x - mean) for p, x in zip(passed, rest, strict=True)) / 6
    spreads = (share * (1 - share)) ** 0.5 * (sum((x - mean) ** 2 for x in rest) / 6) ** 0.5
    assert point_biserial(passed, rest) == pytest.approx(covariance / spreads)


@pytest.mark.parametrize(
    ("passed", "rest"),
    [
        ([True, False] * ((FEWEST - 1) // 2), [1.0, 2.0] * ((FEWEST - 1) // 2)),
        ([True] * FEWEST, list(range(FEWEST))),
        ([True, False, True, False, True], [3.0] * 5),
        ([], []),
    ],
)
def test_discrimination_is_blank_where_it_would_say_nothing(passed, rest):
    assert point_biserial(passed, rest) is None


def test_a_checks_own_points_do_not_correlate_with_themselves():
    """All differences are the check's own points: there is no rest to correlate with."""
    half = [report(f"s{number}", *([failed()] if number % 2 else [])) for number in range(8)]
    assert item_of(items(rows(*half)), "logits").discrimination is None


def test_the_same_mistake_with_other_numbers_and_names_is_one():
    told = [
        "your classifier `fc` expects 1,024 inputs (of 256), so 64×64 images do not fit",
        "your classifier `self.head` expects 4096 inputs (of 128), so 96×96 images do not fit",
    ]
    (mistake,) = misconceptions(rows(*(report(f"s{k}", failed(message=text)) for k, text in enumerate(told))))
    assert len(mistake.rows) == 2
    assert mistake.message == min(told, key=len)
    assert mistake.is_common


def test_other_words_are_another_mistake_and_the_most_frequent_comes_first():
    told = ["no pooling", "flattened", "flattened"]
    found = misconceptions(rows(*(report(f"s{k}", failed(message=text)) for k, text in enumerate(told))))
    assert [(mistake.message, len(mistake.rows)) for mistake in found] == [("flattened", 2), ("no pooling", 1)]


def test_an_exercise_that_was_left_out_is_one_mistake():
    missing = [failed(name, "`Network` is not answered yet") for name in ("logits", "channels double", "weights learn")]
    found = misconceptions(rows(report("a", *missing), report("b", *missing), report("c", missing[0])))
    assert [(len(mistake.rows), len(mistake.titles)) for mistake in found] == [(3, 1), (2, 2)]


def test_exceptions_of_one_kind_are_one_mistake_whatever_name_was_unknown():
    first, second = (
        failed(message=f"NameError: name '{n}' isn't defined", status=Status.ERROR) for n in ("x", "torhc")
    )
    assert pattern(first) == pattern(second)
    assert pattern(first) != pattern(replace(first, status=Status.FAILED))
    assert "isn't defined" in pattern(first)


def test_every_section_that_is_named_stands_in_the_lesson():
    cells = json.loads((ROOT / "release" / "cnn" / "00_lesson.ipynb").read_text())["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines()]
    headings = {line.lstrip("# ") for line in lines if line.startswith("#")}
    exercises = load_course(ROOT).assignment("cnn").exercises
    assert all(exercise.sections.get("") for exercise in exercises)
    assert {section for exercise in exercises for section in exercise.sections.values()} <= headings


def test_a_mistake_names_the_section_of_its_check_or_of_its_notebook():
    told = rows(report("a", failed("logits", "has a softmax"), failed("weights learn", "all zero")))
    sections = {"": "A network", "logits": "The loss"}
    found = {mistake.name: mistake.lesson for mistake in misconceptions(told, {"02_network": sections})}
    assert found == {"logits": "The loss", "weights learn": "A network"}
    assert {mistake.lesson for mistake in misconceptions(told, {"01_sums": sections})} == {""}
