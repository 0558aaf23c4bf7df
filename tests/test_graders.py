"""The hidden graders graded: correct designs get all points, each mistake is caught by the check that names it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autograder.core.grade_report import CheckResult, Status
from autograder.graders import checkpoint_accuracy
from autograder.graphs.runner import Runner
from autograder.judging.problems import Problem, decode_problem
from autograder.judging.proof import judging_digest, read_proof
from tests.remembering import RememberingRunner
from tools import known_cases
from tools.hidden_graders import GRADERS, data_name, evidence_of, grade, lost, source_cells
from tools.known_cases import ARCHITECTURE, BadCase, Case, designs, mutants
from tools.prove_graders import Outcome, grade_case, needs_cifar

OUTPUT_SIZE, DEEPER, SEPARABLE, MODERN = (
    "01_output_size",
    "02_deeper_cnn",
    "03_depthwise_separable",
    "04_modern_cnn",
)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with RememberingRunner() as runner:
        yield runner


@pytest.fixture(autouse=True)
def without_image_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict hangs on them, tests/test_flags.py looks at them, and they take as long as the accuracy itself."""
    monkeypatch.setattr(checkpoint_accuracy, "image_flags", lambda *_arguments, **_named: [])


def released(source: str) -> str:
    """A solution cell as the students get it."""
    return re.sub(
        r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION",
        r"\1# YOUR CODE HERE\n\1raise NotImplementedError()",
        source,
        flags=re.DOTALL | re.MULTILINE,
    )


def given_cells(notebook: str) -> list[str]:
    """The read-only cells and the solutions of a notebook, without the one that trains."""
    named = [cell for cell in source_cells(notebook) if cell["grade_id"] and not cell["grade"]]
    return [cell["source"] for cell in named if cell["grade_id"] != "modern-cnn-training"]


def grade_answer(notebook: str, runner: Runner, *cells: str) -> Mapping[str, CheckResult]:
    """What comes of cells after the notebook's read-only ones; what they do not answer is the reference solution's."""
    return grade(notebook, evidence_of(notebook, *given_cells(notebook), *map(textwrap.dedent, cells)), runner)


# Designs and mutants


def quick_and_slow() -> list[Any]:
    """All designs; the known architectures, which are deep, are slow."""
    deep = {case.id for case in designs() if case.name.startswith(ARCHITECTURE)}
    return [pytest.param(c, id=c.id, marks=pytest.mark.slow if c.id in deep else ()) for c in designs()]


@pytest.mark.parametrize("case", quick_and_slow())
def test_a_correct_design_gets_all_points(case: Case, runner: Runner) -> None:
    assert grade_case(case, runner).complaints() == []


# How many results these get wrong depends on the numbers that are drawn.
BY_CHANCE = ("groups_wrong", "stride_behind_padding")
DRAWN = {case.id for case in mutants() if case.notebook in (OUTPUT_SIZE, SEPARABLE) and case.name not in BY_CHANCE}
DRAWN |= {case.id for case in mutants() if case.caught_by == "test_logits"}


@pytest.mark.parametrize("case", mutants(), ids=lambda case: case.id)
def test_a_mistake_is_caught_by_its_check_with_its_message_and_costs_nothing_else(case: Case, runner: Runner) -> None:
    """And where arguments are drawn from the secret, no message shows one: with another secret they are the same."""
    if needs_cifar(case) and data_name() != "cifar10":
        pytest.skip("these weights are a mistake on CIFAR-10 only: set CIFAR10_ROOT")
    outcome = grade_case(case, runner)
    assert outcome.complaints() == []
    if case.id in DRAWN:
        assert messages(outcome) == messages(grade_case(case, runner, b"another secret"))


def messages(outcome: Outcome) -> dict[str, str]:
    # The figures of a loss or an accuracy follow from the images, which differ as well.
    told = {result.name: result.message for result in outcome.results.values()}
    return {name: message for name, message in told.items() if name not in ("test_accuracy", "test_loss_falls")}


def test_there_are_as_many_cases_as_promised_and_every_check_has_a_mistake_that_it_catches() -> None:
    assert len(designs()) >= 30
    assert len(mutants()) >= 60
    checks = {
        name for path in GRADERS.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert {case.caught_by for case in mutants()} == checks


def test_what_is_no_design_and_what_is_another_mistake_is_complained_about(runner: Runner) -> None:
    """The proof can fail: a mutant passed off as a design, a wrong check, message or line, a cost kept quiet."""
    case = next(case for case in mutants() if case.id == "02_deeper_cnn/log_softmax")
    outcome = grade_case(case, runner)
    wrong = {
        "test_raw_logits_and_dropout: FAILED": {"caught_by": "", "says": "", "line": ""},
        "test_logits passed": {"caught_by": "test_logits"},
        "does not say 'another message'": {"says": "another message"},
        "not to 'another line'": {"line": "another line"},
        "test_batch_norm passed": {"costs": ("test_batch_norm",)},
    }
    for complaint, changed in wrong.items():
        assert complaint in "; ".join(replace(outcome, case=replace(case, **changed)).complaints())


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "mutants/02_deeper_cnn.toml",
            '[x]\ntitle = "x"\nchange = [["no such text", ""]]\ncaught_by = "y"',
            "no such text",
        ),
        ("mutants/02_deeper_cnn.toml", '[x]\ntitle = "x"', "caught_by is missing"),
        ("mutants/02_deeper_cnn.toml", '[x]\ntitle = "x"\nsay = "y"\ncaught_by = "z"', "say"),
        ("mutants/02_deeper_cnn.toml", '[x]\nbase = "nowhere"\ncaught_by = "z"', "no design 'nowhere'"),
        ("mutants/02_deeper_cnn.toml", "[x", "02_deeper_cnn.toml"),
        ("designs/02_deeper_cnn/x.py", "class DeeperCNN: pass", "no TOML"),
        ("designs/02_deeper_cnn/x.py", '# titel = "x"\n# %% deeper-cnn-solution\npass', "titel"),
    ],
)
def test_a_broken_case_is_named_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, problem: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setattr(known_cases, "DESIGNS", tmp_path / "designs")
    monkeypatch.setattr(known_cases, "MUTANTS", tmp_path / "mutants")
    read = known_cases.mutants if path.suffix == ".toml" else known_cases.designs
    with pytest.raises(BadCase, match=problem) as caught:
        read.__wrapped__()
    assert str(path) in str(caught.value)


def test_the_proof_beside_the_graders_is_of_these_graders_and_cases() -> None:
    proof = read_proof(GRADERS)
    assert proof is not None
    assert {(case.notebook, case.name) for case in proof.cases} == {
        (c.notebook, c.name) for c in (*designs(), *mutants())
    }
    assert all(case.holds for case in proof.cases)
    assert proof.digest == judging_digest(GRADERS), "the graders have changed: run `make graders`"


# What messages may not tell


def test_what_secret_arguments_are_cannot_be_learned_from_exceptions(runner: Runner) -> None:
    """A student's exception may say anything; on drawn arguments it is not repeated, nor is the name of its class."""
    tell_tale = """
def conv_output_size(*values, **named):
    raise type("Exception" + "".join(map(str, [*values, *named.values()])), (Exception,), {})(str(named))
"""
    for result in grade_answer(OUTPUT_SIZE, runner, tell_tale).values():
        if result.cell == "output-size-function" and result.status is not Status.SKIPPED:
            assert (
                result.message == "`conv_output_size` raises Exception for some arguments; try different ones yourself"
            )
    tell_tale = """
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, *values, **named):
        super().__init__()
        self.text = f"{values} {named}"
    def forward(self, x):
        raise RuntimeError(f"{self.text} {x.shape}")
"""
    results = grade_answer(SEPARABLE, runner, tell_tale)
    assert not any(re.search(r"\d", r.message) for r in results.values() if r.cell == "depthwise-separable-tests")


def test_booleans_are_no_numbers(runner: Runner) -> None:
    results = grade_answer(OUTPUT_SIZE, runner, "def conv_output_size(*a, **k): return True")
    assert "True or False" in results["test_plain_case"].message
    assert sum(result.earned for result in results.values()) == 3


# The untouched release, for every exercise


@pytest.mark.parametrize("notebook", [OUTPUT_SIZE, DEEPER, SEPARABLE, MODERN])
def test_untouched_release_scores_nothing_and_says_so(notebook: str, runner: Runner) -> None:
    results = grade(notebook, evidence_of(notebook, *map(released, given_cells(notebook))), runner)
    for result in results.values():
        assert result.earned == 0, result
        answered = re.search("is not answered yet", result.message) or result.status is Status.SKIPPED
        assert answered, result
        assert result.status in (Status.FAILED, Status.SKIPPED)


@pytest.mark.parametrize("notebook", [OUTPUT_SIZE, DEEPER, SEPARABLE, MODERN])
def test_reference_gets_all_points(notebook: str, runner: Runner) -> None:
    results = grade(notebook, evidence_of(notebook, *given_cells(notebook)), runner)
    results.pop("test_accuracy", None)  # no checkpoint here
    assert lost(results) == {}


# Undecided: valid programs that cannot become a graph

FORWARD = """
class DeeperCNN(SimpleCNN):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.block4 = self.block(128, 256)
        self.classifier = nn.Linear(256, num_classes)
    def forward(self, x):
        x = self.block3(self.block2(self.block1(x)))
        {line}
            x = x * 0
        return self.classifier(self.dropout(self.block4(x).mean((2, 3))))
"""


def test_an_export_that_fails_in_training_leaves_only_its_own_checks_undecided(runner: Runner) -> None:
    line = "if self.training and torch.rand(()).item() < 0:"
    results = grade_answer(DEEPER, runner, FORWARD.format(line=line))
    assert set(lost(results)) == {"test_weights_learn", "test_raw_logits_and_dropout"}
    for name in lost(results):
        assert results[name].status is Status.UNSUPPORTED, results[name]
        assert results[name].line


def test_a_decision_on_values_in_evaluation_leaves_every_check_undecided_and_none_failed(runner: Runner) -> None:
    results = grade_answer(DEEPER, runner, FORWARD.format(line="if torch.isnan(x).any():"))
    assert {result.status for result in results.values()} == {Status.UNSUPPORTED}
    assert all("what it does depends on the values of a tensor" in result.message for result in results.values())


# What forward returns in place of one tensor

RETURNING = """
from collections import namedtuple

Both = namedtuple("Both", "logits features")


class DeeperCNN(SimpleCNN):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.block4 = self.block(128, 256)
        self.classifier = nn.Linear(256, num_classes)
    def forward(self, x):
        x = self.block4(self.block3(self.block2(self.block1(x)))).mean((2, 3))
        logits = self.classifier(self.dropout(x))
        {line}
"""
NO_TENSOR = "`forward` must return its one result, a tensor, and nothing else; it returns "


@pytest.mark.parametrize(
    "line",
    [
        "return {'logits': logits, 'features': x}",
        "return {'logits': logits}",
        "return logits, x",
        "return (logits,)",
        "return [logits]",
        "return Both(logits, x)",
        "return None",
        "return 3.0",
    ],
)
def test_what_is_no_single_tensor_is_one_mistake_said_once(line: str, runner: Runner) -> None:
    expect_said_once(grade_answer(DEEPER, runner, RETURNING.format(line=line)))


def expect_said_once(results: Mapping[str, CheckResult]) -> None:
    first, *others = results.values()
    assert (first.status, first.message.startswith(NO_TENSOR)) == (Status.FAILED, True)
    assert {result.status for result in others} == {Status.SKIPPED}
    assert {result.message for result in others} == {"not judged, because `forward` does not return one tensor"}


def problem_returning(what: str) -> Problem:
    """A problem as the worker sends it where forward gives no tensor: its status is not what decides."""
    return decode_problem({"status": "UNSUPPORTED", "type": "ExportProblem", "returned": what, "line": 700_004})


@pytest.mark.parametrize(("what", "words"), [("dict", "a dict"), ("object", "an object of another class")])
def test_what_forward_returned_is_told_where_the_worker_says_it(what: str, words: str, runner: Runner) -> None:
    evidence = evidence_of(DEEPER, *given_cells(DEEPER))
    builds = [
        replace(b, graphs=dict.fromkeys(b.graphs, problem_returning(what))) for b in evidence.modules["DeeperCNN"]
    ]
    results = grade(DEEPER, replace(evidence, modules={"DeeperCNN": builds}), runner)
    expect_said_once(results)
    assert results["test_logits"].message == NO_TENSOR + words
    assert (results["test_logits"].source_cell, results["test_logits"].line) == (7, 4)


def test_a_name_that_the_worker_does_not_have_is_no_word_of_ours() -> None:
    assert problem_returning("Secret42").returned == "an object of another class"
    assert decode_problem({"status": "ERROR", "type": "ValueError"}).returned == ""
    assert decode_problem({"status": "ERROR", "type": "ExportProblem", "raised": "ValueError"}).returned == ""


def test_what_is_no_tensor_in_training_only_leaves_two_checks_undecided(runner: Runner) -> None:
    """GoogLeNet's auxiliary classifiers: a valid program, whose loss is its own matter."""
    evidence = evidence_of(DEEPER, *given_cells(DEEPER))
    first, *others = evidence.modules["DeeperCNN"]
    first = replace(first, graphs={**first.graphs, (True, 32): problem_returning("tuple")})
    found = lost(grade(DEEPER, replace(evidence, modules={"DeeperCNN": [first, *others]}), runner))
    assert found == {
        "test_weights_learn": "UNSUPPORTED: in training mode `forward` returns a tuple; the grader can compute a loss of "
        "one tensor only",
        "test_raw_logits_and_dropout": "UNSUPPORTED: undecided, because in training mode `forward` does not return one "
        "tensor",
    }
