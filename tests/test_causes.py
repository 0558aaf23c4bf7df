"""Why student code stopped, and what is said about it: the fault of the place is never told as the student's."""

from __future__ import annotations

import linecache
import random
import socket
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autograder.core.grade_report import CheckResult, Status
from autograder.graphs.model_graph import ModelGraph
from autograder.handin.unanswered import unanswered
from autograder.judging.causes import ELSEWHERE, SAID, reason, told, with_causes
from autograder.judging.evidence import Build, CallEvidence, Evidence, Value
from autograder.judging.problems import Problem
from autograder.pipeline.report import said_once
from autograder.worker import causes
from autograder.worker.causes import cause_of, line_of, newer_syntax
from autograder.worker.cells import is_students, locate
from autograder.worker.collect import first_cause, fit_to
from autograder.worker.exporter import ExportProblem, TensorPool, export_graph
from autograder.worker.slices import only_what_defines


def raised_by(source: str) -> BaseException:
    """What a cell raises."""
    filename = "<cell 7>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    try:
        exec(compile(source, filename, "exec"), {"nn": nn, "torch": torch, "socket": socket, "urllib": urllib})
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


STOPPED = {
    "import no_such_package": ("package", "no_such_package"),
    "from no_such_package.sub import thing": ("package", "no_such_package"),
    "try:\n    import no_such_package\nexcept ImportError as e:\n    raise RuntimeError('sorry') from e": (
        "package",
        "no_such_package",
    ),
    "raise urllib.error.URLError(socket.gaierror(-3, 'Temporary failure in name resolution'))": ("network", ""),
    "raise ConnectionError('HTTPSConnectionPool: Max retries exceeded with url: /resnet18.pth')": ("network", ""),
    "raise RuntimeError('Cannot re-initialize CUDA in forked subprocess.')": ("gpu", "cuda"),
    "raise AssertionError('Torch not compiled with CUDA enabled')": ("gpu", "cuda"),
    "raise RuntimeError('Found no NVIDIA driver on your system.')": ("gpu", "cuda"),
    "raise RuntimeError('PyTorch is not linked with support for mps devices')": ("gpu", "mps"),
    "raise ImportError(\"Cannot load backend 'TkAgg' which requires the 'tk' interactive framework\")": ("screen", ""),
    "open('no/such/file.csv')": ("file", "no/such/file.csv"),
    "raise RuntimeError(\"'widget' is not a recognised GUI loop or backend name\")": ("screen", ""),
    "raise OSError(\"File `'helpers.ipynb.py'` not found.\")": ("file", "helpers.ipynb"),
    "def f():\n    pass\nraise NotImplementedError()": ("leftover", ""),
    "nn.ModuleList([nn.ReLU()])(torch.zeros(1))": ("no-forward", "ModuleList"),
    "class Net(nn.Module):\n    pass\nNet()(torch.zeros(1))": ("no-forward", "Net"),
    "torch.zeros(2).view(3)": None,
    "1 / 0": None,
    "raise ImportError('cannot import name x')": None,
}


@pytest.mark.parametrize("source", STOPPED)
def test_what_stopped_a_cell_is_known(source: str) -> None:
    found = cause_of(raised_by(source), is_students)
    expected = STOPPED[source]
    assert found == ({"cause": expected[0], "detail": expected[1]} if expected else {})


def test_what_torch_does_not_have_is_not_the_students_leftover() -> None:
    """A NotImplementedError that comes from a library says nothing about the release's line."""
    operation = raised_by("torch.zeros(2, dtype=torch.uint8).softmax(0)")
    assert isinstance(operation, NotImplementedError)
    assert cause_of(operation, is_students) == {}
    library = raised_by("import numbers, concurrent.futures\nconcurrent.futures.Executor().submit(print)")
    assert isinstance(library, NotImplementedError)
    assert cause_of(library, is_students) == {}


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("type Sizes = tuple[int, int]", "3.12"),
        ("def first[T](items: list[T]) -> T:", "3.12"),
        ("class Stack[T]:", "3.12"),
        ('print(f"{names["first"]}")', "3.12"),
        ("except ValueError, TypeError:", "3.14"),
        ('name = t"{x}"', "3.14"),
        ("type = 3", ""),
        ("def first(items:", ""),
        ("print('it's')", ""),
        ("for i in range(3)", ""),
    ],
)
def test_syntax_of_a_newer_python_is_told_from_a_mistake(line: str, version: str) -> None:
    assert newer_syntax(line, (3, 11)) == version
    assert newer_syntax(line, (3, 14)) == ""


def test_a_newer_pythons_syntax_has_its_line() -> None:
    if sys.version_info >= (3, 12):
        pytest.skip("this Python reads it")
    error = raised_by("x = 1\n\ntype Sizes = tuple[int, int]\n")
    assert line_of(error, locate) == 7 * 100_000 + 3


# What is said


@pytest.mark.parametrize("cause", SAID)
def test_every_cause_has_a_sentence_with_and_without_its_detail(cause: str) -> None:
    for detail in ("seaborn", "ModuleList", "3.12", "", "<b>`rm -rf`</b>\n"):
        text = reason(cause, detail)
        assert text
        assert "<b>" not in text
        assert "``" not in text


def test_the_worker_names_no_cause_without_a_sentence() -> None:
    named = {found[0] for found in STOPPED.values() if found} | {"syntax", "values", "data", "random"}
    assert named == set(SAID)
    assert reason("no such cause", "") == ""


@pytest.mark.parametrize("cause", SAID)
def test_what_may_be_right_elsewhere_waits_for_a_person(cause: str) -> None:
    found = told(Problem(Status.ERROR, "what was raised", "RuntimeError", 3, 4, cause=cause), "Net")
    waits = cause in (*ELSEWHERE, "values", "data", "random")
    assert found.status is (Status.UNSUPPORTED if waits else Status.FAILED)
    assert found.message.startswith("`Net` ")
    assert "what was raised" not in found.message
    assert (found.cell, found.line) == (3, 4)


def test_a_problem_of_the_students_own_is_left_as_it_is() -> None:
    problem = Problem(Status.ERROR, "division by zero", "ZeroDivisionError")
    assert told(problem, "Net") is problem


def test_not_answered_is_said_of_names_that_are_as_released_only() -> None:
    def problem(kind: str, raised: str = "") -> Problem:
        return Problem(Status.ERROR, "…", kind, raised=raised)

    evidence = Evidence(
        answers={"a": problem("Missing"), "b": problem("Missing"), "c": Value("int", 3)},
        calls={"f": {"plain": [CallEvidence({}, problem("NotImplementedError")), CallEvidence({}, Value("int", 1))]}},
        modules={"Net": [Build({}, {(False, 32): problem("ExportProblem", "NotImplementedError")})]},
    )
    found = with_causes(evidence, ["a", "f", "Net", "c"])
    assert found.answers["a"].message == "`a` is not answered yet"  # type: ignore[union-attr]
    assert found.answers["b"] == evidence.answers["b"]
    assert found.answers["c"] == Value("int", 3)
    first, second = found.calls["f"]["plain"]
    assert isinstance(first.result, Problem)
    assert first.result.message == "`f` is not answered yet"
    assert second.result == Value("int", 1)
    graph = found.modules["Net"][0].graphs[False, 32]
    assert not isinstance(graph, ModelGraph)
    assert graph.message == "`Net` is not answered yet"
    assert with_causes(evidence) == evidence


def cell(source: str, grade_id: str = "", solution: bool = True) -> dict[str, Any]:
    own = {"nbgrader": {"grade_id": grade_id, "solution": solution}} if grade_id else {}
    return {"cell_type": "code", "source": source, "metadata": own}


STUB = "def size():\n    # YOUR CODE HERE\n    raise NotImplementedError()\n\n# assign answer_a and answer_b"
LATER = "# use size and answer_a\nraise NotImplementedError()"
RELEASED = {"cells": [cell("import torch"), cell(STUB, "one"), cell(LATER, "two")]}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (RELEASED["cells"], ["size", "answer_a", "answer_b"]),
        ([cell(STUB, "one"), cell("answer_a = 3"), cell(LATER, "two")], ["size", "answer_b"]),
        ([cell("def size():\n    return 1", "one"), cell(LATER, "two")], []),  # answer_a belongs to the first cell
        ([cell("def sizes():\n    return 1\nraise NotImplementedError()", "one"), cell(LATER, "two")], []),
        ([cell(STUB + "\n", "one"), cell("x = 1", "two")], ["size", "answer_a", "answer_b"]),
    ],
)
def test_names_are_unanswered_where_their_cell_is_as_released(cells: list[dict[str, Any]], expected: list[str]) -> None:
    assert unanswered({"cells": cells}, RELEASED, ["size", "answer_a", "answer_b"]) == expected


def result(name: str, message: str, status: Status = Status.FAILED, **changed: Any) -> CheckResult:
    return CheckResult("02_net", "cell", name, f"Title of {name}", 2, 0, status, message, "a hint", **changed)


def test_a_reason_that_several_checks_share_is_said_once() -> None:
    checks = [
        result("a", "no `forward`", line=4),
        result("b", "another reason"),
        result("c", "no `forward`", line=4),
        result("d", "no `forward`", line=9),
        result("e", "", Status.PASSED),
        result("f", "", Status.PASSED),
    ]
    found = said_once(checks)
    assert found[2].message == "for the same reason as “Title of a” above"
    assert (found[2].hint, found[2].status, found[2].points, found[2].line) == ("", Status.FAILED, 2, 4)
    assert [found[index] for index in (0, 1, 3, 4, 5)] == [checks[index] for index in (0, 1, 3, 4, 5)]


# Which cell is to blame


def ended(source: str, message: str, cause: str = "") -> dict[str, Any]:
    return {"source": source, "message": message, "status": "ERROR", "cause": cause}


def test_the_cell_to_blame_is_the_one_that_should_have_given_the_name() -> None:
    exploring = ended("plot(history)", "NameError: name 'plot' is not defined")
    widths = ended("import seaborn\nWIDTHS = [3, 32]", "ModuleNotFoundError: No module named 'seaborn'", "package")
    network = ended("class Net:\n    w = WIDTHS", "NameError: name 'WIDTHS' is not defined")
    assert first_cause("Net", [exploring, widths, network]) is widths
    assert first_cause("Net", [exploring, network]) is network
    assert first_cause("Other", [exploring, widths, network]) is None
    loop = ended("Net = Net", "NameError: name 'Net' is not defined")
    assert first_cause("Net", [loop]) is loop


# What a training cell is run for

TRAINING = """import math
data = load()
mean = data.mean()
print(mean)
for epoch in range(9):
    loss = step(model)
class Scale:
    def __call__(self, x): return x - mean
train_transform = Compose([
    Scale(),
])
train_transform.p = 1
save(model)"""


def test_of_a_training_cell_only_what_the_names_need_is_run() -> None:
    lines = only_what_defines(TRAINING, ["train_transform"]).split("\n")
    shown = [text for text in lines if text]
    assert len(lines) == len(TRAINING.split("\n"))  # line numbers stay
    assert "for epoch in range(9):" not in shown
    assert not {"print(mean)", "save(model)"} & set(shown)
    assert {"import math", "data = load()", "mean = data.mean()", "class Scale:", "train_transform.p = 1"} <= set(shown)


def test_a_loop_that_a_name_needs_is_run() -> None:
    source = "total = 0\nfor batch in loader:\n    total += batch\nmean = total / 9\nfor e in range(3):\n    train()"
    assert only_what_defines(source, ["mean"]).rstrip().split("\n") == source.split("\n")[:4]


def test_statements_that_share_a_line_stay_together() -> None:
    assert only_what_defines("a = 1; train(); b = 2\ntrain()", ["b"]) == "a = 1; train(); b = 2\n"


def test_decorated_definitions_keep_their_decorators() -> None:
    source = "train()\n@cache\ndef f():\n    return g()\n@wrap\nclass g: pass"
    assert only_what_defines(source, ["f"]) == "\n" + source.partition("\n")[2]


# Other dtypes, and what cannot be traced


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_module_of_another_dtype_is_made_to_take_float32(dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(dtype)
    assert fit_to(module, torch.zeros(2, 3, 8, 8)) == str(dtype).removeprefix("torch.")
    assert {p.dtype for p in module.parameters()} == {torch.float32}


class Double(nn.Module):
    """Changes the dtype itself, as it should be left."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.mean((2, 3)).double()).float()


def test_a_module_that_takes_float32_by_itself_is_left() -> None:
    module = Double()
    assert fit_to(module, torch.zeros(2, 3, 8, 8)) == ""
    assert module.layer.weight.dtype is torch.float64


class Reads(nn.Module):
    """A module whose forward does what a graph cannot hold."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.how = nn.Linear(3, 2), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x.mean((2, 3)))
        if self.how == "printed":
            print(f"{x.mean():.3f}")
        elif self.how == "if":
            x = x * 2 if x.mean() > 0 else x
        elif self.how == "item":
            x = x * x.mean().item()
        elif self.how == "numpy":
            x = x * float(x.detach().numpy().mean())
        elif self.how == "data":
            x = x.data
        elif self.how == "random":
            x = x * random.random()
        elif self.how == "numpy.random":
            x = x + np.random.rand()
        return x


SOURCE = Path(__file__).read_text().splitlines()


def line_here(filename: str, line: int) -> int:
    """As the worker locates lines, with this file as the student's cell."""
    return line if filename == __file__ else 0


@pytest.mark.parametrize(
    ("how", "cause", "text"),
    [
        ("printed", "values", 'print(f"{x.mean():.3f}")'),
        ("if", "values", "x = x * 2 if x.mean() > 0 else x"),
        ("item", "values", "x = x * x.mean().item()"),
        ("numpy", "values", "x = x * float(x.detach().numpy().mean())"),
        ("data", "data", "x = x.data"),
        ("random", "random", "x = x * random.random()"),
        ("numpy.random", "random", "x = x + np.random.rand()"),
    ],
)
def test_why_a_module_cannot_be_traced_is_a_cause_with_its_line(how: str, cause: str, text: str) -> None:
    example = torch.zeros(4, 3, 8, 8)
    with pytest.raises(ExportProblem) as raised:
        export_graph(Reads(how), example, training=cause == "random", pool=TensorPool(), locate=line_here)
    assert raised.value.kind == "unsupported"
    assert cause_of(raised.value, is_students) == {"cause": cause, "detail": ""}
    assert SOURCE[raised.value.line - 1].strip() == text


class Lacks(nn.Module):
    """A module whose forward needs what is not here."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.load("extra.pt") if self.how == "file" else __import__("no_such_package").scale(x)


@pytest.mark.parametrize(
    ("module", "cause", "detail"),
    [
        (Lacks("file"), "file", "extra.pt"),
        (Lacks("package"), "package", "no_such_package"),
        (nn.ModuleList(), "no-forward", "ModuleList"),
    ],
)
def test_what_forward_raised_tells_the_cause(module: nn.Module, cause: str, detail: str) -> None:
    with pytest.raises(ExportProblem) as raised:
        export_graph(module, torch.zeros(4, 3, 8, 8), training=False, pool=TensorPool(), locate=line_here)
    assert cause_of(raised.value, is_students) == {"cause": cause, "detail": detail}


def test_of_another_notebook_it_is_not_said_that_it_is_missing() -> None:
    assert "was not handed in" in reason("file", "table.csv")
    assert "put its code into this one" in reason("file", "helpers.ipynb")


def test_a_gpu_in_forward_is_known_by_what_it_raised() -> None:
    problem = ExportProblem("error", "forward raises RuntimeError for an input (4,): No CUDA GPUs are available")
    assert cause_of(problem, is_students)["cause"] == "gpu"


def test_a_chain_of_errors_without_end_is_cut() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first, is_students) == {}
    assert causes.MOST_ERRORS < 100
