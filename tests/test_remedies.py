"""Whoever does what a message says gets the points: each remedy is carried out literally where it is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autograder.graphs.runner import Runner
from autograder.judging.proof import read_proof
from tests.remembering import RememberingRunner
from tools.hidden_graders import GRADERS
from tools.known_cases import Case, mutants
from tools.prove_graders import grade_case

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REMEDIES: Mapping[str, Mapping[str, Any]] = tomllib.loads((Path(__file__).parent / "remedies.toml").read_text())
CASES = {case.id: case for case in mutants()}
PROOF = read_proof(GRADERS)
MESSAGES = {f"{case.notebook}/{case.name}": case.message for case in PROOF.cases} if PROOF else {}  # as graded last


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with RememberingRunner() as found:
        yield found


def remedied(case: Case, remedy: Mapping[str, Any]) -> Case:
    """The case after its student did what was said: a design, of which nothing may be lost."""
    cells = dict(case.cells)
    for old, new in remedy.get("change", []):
        assert any(old in text for text in cells.values()), f"{old!r} is in no cell"
        cells = {name: text.replace(old, new) for name, text in cells.items()}
    weights = remedy.get("weights", case.weights)
    return replace(case, cells=cells, weights=weights, caught_by="", costs=(), says="", line="")


def quick_and_slow() -> list[Any]:
    """All remedies; those of the exercise with weights, which are evaluated on all test images, are slow."""
    marks = {name: pytest.mark.slow if name.startswith("04_") else () for name in REMEDIES}
    return [pytest.param(name, marks=marks[name]) for name in REMEDIES]


@pytest.mark.parametrize("name", quick_and_slow())
def test_what_a_message_says_mends_the_mistake(name: str, runner: Runner) -> None:
    case, remedy = CASES[name], REMEDIES[name]
    if remedy["told"] not in MESSAGES[name]:
        assert remedy["told"] in grade_case(case, runner).results[case.caught_by].hint
    assert grade_case(remedied(case, remedy), runner).complaints() == []
