"""Real input, changed at random: each case ends in a status, and the trusted side raises only its documented errors.

The same cases each time; `python -m tools.fuzz` tries others, and more of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from autograder.core.config import Limits
from autograder.graphs.runner import Runner
from autograder.jail import encode_frames, find_isolation, start
from tests import fuzz_evidence, fuzz_folders, fuzzing
from tools import fuzz


def cases(count: int) -> Any:
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """One jailed runner for all cases."""
    with Runner(lambda: start("graph_server", Limits(), find_isolation()), device="cpu") as running:
        yield running


@cases(150)
@given(fuzzing.notebooks())
def test_any_notebook_is_read_or_not_readable(case: tuple[str, bytes]) -> None:
    fuzzing.examine_notebook(case)


@cases(100)
@given(fuzz_folders.archives())
def test_any_archive_is_collected_or_refused_and_nobody_else_suffers(case: fuzz_folders.Export) -> None:
    fuzz_folders.examine_archive(case)


@cases(100)
@given(fuzz_folders.folders())
def test_any_folder_is_made_safe_and_read(case: fuzz_folders.Folder) -> None:
    fuzz_folders.examine_folder(case)


@cases(100)
@given(fuzzing.streams())
def test_any_stream_is_evidence_or_the_students_problem(case: tuple[str, bytes]) -> None:
    fuzzing.examine_stream(case)


@cases(150)
@given(fuzzing.configurations())
def test_any_configuration_is_accepted_or_explained(case: str) -> None:
    fuzzing.examine_configuration(case)


@cases(150)
@given(case=fuzzing.graphs())
def test_any_graph_is_refused_or_run(case: Any, runner: Runner) -> None:
    fuzzing.examine_graph(case, runner)


@cases(8)
@given(case=fuzzing.streams(("01_output_size",)))
def test_no_stream_makes_a_hidden_grader_fail(case: tuple[str, bytes], runner: Runner) -> None:
    fuzzing.examine_graded(case, runner)


@pytest.mark.slow
@cases(20)
@given(case=fuzzing.streams())
def test_no_stream_makes_any_hidden_grader_fail(case: tuple[str, bytes], runner: Runner) -> None:
    fuzzing.examine_graded(case, runner)


@cases(8)
@given(case=fuzz_evidence.evidences())
def test_no_strange_evidence_makes_a_hidden_grader_fail(case: fuzz_evidence.Strange, runner: Runner) -> None:
    fuzz_evidence.examine_evidence(case, runner)


@pytest.mark.parametrize("name", sorted(fuzzing.seeds().frames))
def test_what_the_cases_start_from_is_right(name: str, runner: Runner) -> None:
    content = b"".join(encode_frames([frame]) for frame in fuzzing.seeds().frames[name])
    assert fuzzing.examine_stream((name, content)) == "whole"
    if name == "01_output_size":  # other notebooks' weights were left out
        assert fuzzing.examine_graded((name, content), runner) == "all passed"


def test_the_hidden_graders_find_nothing_wrong_with_what_strange_evidence_starts_from(runner: Runner) -> None:
    frames = fuzzing.seeds().small["03_depthwise_separable"][0]
    case = fuzz_evidence.Strange("03_depthwise_separable", frames, None)
    assert fuzz_evidence.examine_evidence(case, runner) == "7 passed"


def test_every_graph_that_the_cases_start_from_runs(runner: Runner) -> None:
    assert {fuzzing.examine_graph(json.loads(text), runner) for text in fuzzing.seeds().graphs} == {"ran"}


def test_a_run_prints_one_table(capfd: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--only", "configurations", "--count", "10", "--seed", "7"]) == 0
    table = capfd.readouterr().out
    assert table.startswith("seed 7\n")
    assert "configurations       10 " in table
    assert "refused" in table
