"""`autograder explain`: one verdict derived again from kept evidence, with what the check looked at."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from autograder.pipeline import jail_run
from autograder.review.check_source import words_of_check
from autograder.review.explain import UnknownCheck, find_check
from tests import tiny_course
from tests.example_reports import check
from tests.tiny_course import WRONG, grade, hand_in

GRADERS = Path(tiny_course.ROOT) / "autograder" / "graders"
TELLTALE = "def double(number):\n    raise ValueError(f'\\x1b[31m{number}\\u202e')"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "course"
    tiny_course.make(root)
    hand_in(root, "cy", "40", WRONG)
    hand_in(root, "eve", "int('\\x1b[31m' + '\\u202e')", TELLTALE)
    assert grade(root).exit_code == 0
    return root


def ask(root: Path, *arguments: object) -> Any:
    return tiny_course.run("explain", "--course", root, *arguments)


def test_a_verdict_is_derived_again_with_its_evidence(template: Path) -> None:
    result = ask(template, "cy", "test_total")
    assert result.exit_code == 0
    assert "01_sums/test_total: The total is large enough" in result.output
    assert "failed, 2.5 of 5 points (the check: test_sums.py, line 12)" in result.output
    assert "total: expected 50, got 40" in result.output
    assert "Hint: Add them all." in result.output
    assert "`total`\n  40 (int)" in result.output
    assert "full = 50" in result.output
    assert "unit" not in result.output  # a setting that the check does not use
    assert "The verdict is the recorded one." in result.output


def test_no_student_code_runs_and_nothing_is_recorded(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a jail was started")

    monkeypatch.setattr(jail_run, "start", refuse)
    kept = {path: path.read_bytes() for path in sorted(course.rglob("*")) if path.is_file()}
    assert ask(course, "cy", "02_doubles/test_double").exit_code == 0
    assert {path: path.read_bytes() for path in sorted(course.rglob("*")) if path.is_file()} == kept


def test_inputs_of_calls_are_shown_only_where_that_is_asked_for(template: Path) -> None:
    plain, told = ask(template, "cy", "test_double"), ask(template, "cy", "test_double", "--secret")
    assert "2 calls: 2 × int" in plain.output
    assert "number=" not in plain.output
    assert "(number=" in told.output
    assert "show them to no student" in told.output
    assert plain.exit_code == told.exit_code == 0


def test_what_a_student_raises_tells_no_input_and_steers_no_terminal(template: Path) -> None:
    plain = ask(template, "eve", "test_double")
    assert (
        "     1 | def double(number):\n  >    2 |     raise ValueError" in plain.output
    )  # the line among its neighbours
    assert "2 calls: 2 × error ValueError (line 2 of cell 1 of the notebook)" in plain.output
    evidence = plain.output.split("Calls of")[1]
    assert "\N{REPLACEMENT CHARACTER}" not in evidence  # the message, which names the number, is left out
    told = ask(template, "eve", "test_double", "--secret")
    assert "\N{REPLACEMENT CHARACTER}" in told.output
    assert not {"\x1b", "\u202e"} & set(plain.output + told.output)


def test_another_verdict_says_what_differs(course: Path) -> None:
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace('"full": 50', '"full": 40'))
    result = ask(course, "cy", "test_total")
    assert result.exit_code == 3
    assert "result: failed → passed" in result.output
    assert "points: 2.5 of 5 → 5 of 5" in result.output
    assert "message: total: expected 50, got 40 → none" in result.output
    assert "grade it again" in result.output


def test_one_exercise_is_graded_though_another_grader_is_broken(course: Path) -> None:
    (course / "graders" / "test_doubles.py").write_text("import no_such_module\n")
    assert ask(course, "cy", "test_total").exit_code == 0


def test_what_was_handed_in_again_is_graded_first(course: Path) -> None:
    hand_in(course, "cy", "45", WRONG)
    result = ask(course, "cy", "test_total")
    assert result.exit_code == 1
    assert "handed in again since it was graded: grade it first" in result.output
    assert ask(course, "cy", "test_double").exit_code == 1  # it ran together with the other notebook, now unlike it


def test_a_run_that_is_not_kept_says_so(course: Path) -> None:
    shutil.rmtree(course / ".autograder" / "cache")
    result = ask(course, "cy", "test_double")
    assert result.exit_code == 1
    assert "02_doubles: no evidence is kept that this engine can use: grade it first" in result.output


def test_unknown_names_are_wrong_usage_with_the_nearest(template: Path) -> None:
    for arguments, words in (
        (("evi", "test_total"), "did you mean 'eve'?"),
        (("cy", "test_totl"), "did you mean 'test_total'?"),
        (("cy", "test_"), "fits 3 checks: 01_sums/test_number, 01_sums/test_total"),
        (("cy", "test_total", "tinny"), "did you mean 'tiny'?"),
        (("cy",), "--list"),
    ):
        result = ask(template, *arguments)
        assert result.exit_code == 2, arguments
        assert words in " ".join(result.output.split()), result.output


def test_checks_are_listed_with_their_results(template: Path) -> None:
    result = ask(template, "cy", "--list")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[1:] == [
        "01_sums/test_total 2.5/5 failed The total is large enough",
        "02_doubles/test_double 0/10 failed The double of a number",
    ]


def test_a_check_is_found_by_a_part_of_its_title() -> None:
    checks = [check("logits", "network-tests", 6, title="Raw logits"), check("both", "sums-worked", 3, title="logits")]
    assert find_check(checks, "RAW").name == "logits"
    assert find_check(checks, "logits").name == "logits"  # a name goes before a part of a title
    assert find_check(checks, "01_sums/both").name == "both"
    with pytest.raises(UnknownCheck, match="fits 2 checks"):
        find_check(checks, "logit")


def test_the_names_that_a_check_uses_are_read_from_its_source() -> None:
    words = words_of_check(GRADERS / "test_output_size.py", "test_padding")
    assert {"conv_output_size", "padding"} <= words
    assert not {"answer_output_size", "grid", "dilation"} & words - {"dilation"}
    assert {"ModernCNN", "test_transform", "checkpoint"} <= words_of_check(
        GRADERS / "test_modern_cnn.py", "test_accuracy"
    )
    assert "checkpoint" not in words_of_check(GRADERS / "test_modern_cnn.py", "test_both_normalise_alike")
