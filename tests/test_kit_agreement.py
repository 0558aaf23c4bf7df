"""Kit and graders agree: every correct design and every known mistake, through the kit's public checks.

What the graders make of a case stands in the case itself (tests/test_graders.py proves it). The kit must accept every
design. Of a mistake it must find fault with what the graders do, where it looks at it, and with nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.test_kit import kit  # noqa: F401 - a fixture
from tools.hidden_graders import data_name, exercise, hand_in, run_answers, source_cells
from tools.known_cases import Case, designs, mutants
from tools.prove_graders import needs_cifar
from tools.samples import ROOT, SAMPLES

GOOD = {"ok", "plausible"}
QUICK = 9  # every so many cases are in a quick run: each takes a second or two (`-m "slow or not slow"` runs all)
# Whether these are right the kit cannot know: it holds neither the answers nor the test images.
ANSWERS = {
    "test_worked_output_size",
    "test_worked_same_padding",
    "test_standard_weights",
    "test_separable_weights",
    "test_accuracy",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CNN_KIT_DATA", "CNN_KIT_QUICK", "CNN_KIT_CHECK", "NBGRADER_EXECUTION"):
        monkeypatch.delenv(name, raising=False)


def run_kit(kit: ModuleType, case: Case, monkeypatch: pytest.MonkeyPatch) -> list[Any]:  # noqa: F811
    """The kit's results for all cells of a case's notebook, its weights beside it and its test images to validate."""
    ran = run_answers(case.notebook, case.cells, only=set())
    if case.notebook == "04_modern_cnn":
        weights = case.weights or ("own" if "modern-cnn-solution" in case.cells else "reference")
        images = hand_in(ran, weights, Path.cwd())["test_set"]()
        split = kit.Split(torch.tensor(images.images), torch.tensor(images.labels))
        data = kit.Dataset("CIFAR-10", images.identity, images.classes, split, split, split)
        monkeypatch.setattr(kit, "load_cifar10", lambda: data)
    cells = kit.NOTEBOOKS[f"{case.notebook}.ipynb"]
    return [result for cell in cells for result in kit.run_checks(cell, dict(ran.namespace))]


def disagreements(case: Case, results: Sequence[Any]) -> list[str]:
    """Where the kit says something else of a case than the graders."""
    lost = {case.caught_by, *case.costs} - {""}
    found = []
    for check in dict.fromkeys(result.check for result in results):
        own = [result for result in results if result.check == check]
        worst = [f"{r.status} {r.title}: {r.message}" for r in own if r.status not in GOOD]
        if check not in lost and (check or not lost):  # a check without a name is the kit's alone
            found += worst
        elif check in lost and not worst and (check not in ANSWERS or {r.status for r in own} == {"ok"}):
            found.append(f"{check} fails in the grader, and not in the kit")
        if check not in ANSWERS:
            found += [f"{r.title} can be decided, and is {r.status}" for r in own if r.status == "plausible"]
    return found


def sampled() -> list[Any]:
    """All designs and mutants; those that a quick run leaves out are slow."""
    cases = [*designs(), *mutants()]
    return [pytest.param(c, id=c.id, marks=pytest.mark.slow if n % QUICK else ()) for n, c in enumerate(cases)]


@pytest.mark.parametrize("case", sampled())
def test_the_kit_says_of_a_case_what_the_graders_say(
    kit: ModuleType,  # noqa: F811
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if needs_cifar(case) and data_name() != "cifar10":
        pytest.skip("these weights are a mistake on CIFAR-10 only: set CIFAR10_ROOT")
    assert disagreements(case, run_kit(kit, case, monkeypatch)) == []


# Samples whose mistakes are in code and weights, and not in how they were handed in.
IN_CODE = (
    "reference", "different_style", "wrong_doubling", "standard_convolution", "no_residual", "misfit_checkpoint",
    "partial_checkpoint", "deleted_test_cell", "undecided",
)  # fmt: skip


def cases_of(sample: str) -> Iterator[Case]:
    """The notebooks of a sample that differ from the reference as cases: what each loses is what grading must find."""
    folder = SAMPLES / sample
    lost = [name.split("/") for name in json.loads((folder / "expected.json").read_text())["lost"]]
    weights = json.loads((folder / "sample.json").read_text())["checkpoint"]
    weights = "another architecture" if weights == "own" else weights  # which is different_style's
    texts = {path.stem: path.read_text() for path in (folder / "cells").glob("*.py")}
    for notebook in sorted(path.stem for path in (ROOT / "source" / "cnn").glob("0[1-4]*.ipynb")):
        names = {str(cell["grade_id"]) for cell in source_cells(notebook)}
        cells = {name: text for name, text in texts.items() if name in names}
        checks = [check for cell, check in lost if cell in exercise(notebook).cells]
        if cells or checks or sample == "reference":
            yield Case(notebook, sample, sample, cells, weights, checks[0] if checks else "", tuple(checks[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for sample in IN_CODE for case in cases_of(sample)], ids=lambda case: case.id)
def test_the_kit_says_of_a_sample_what_the_graders_say(
    kit: ModuleType,  # noqa: F811
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert disagreements(case, run_kit(kit, case, monkeypatch)) == []
