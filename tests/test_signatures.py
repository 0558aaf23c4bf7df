"""What a function takes is read from its signature: a missing parameter is named, a call by position is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autograder.core.config import load_course
from autograder.core.grade_report import Status
from autograder.jail import Frame, Isolation, encode_frames
from autograder.judging.datasets import Source
from autograder.judging.evidence import decode_evidence
from autograder.judging.job import Job, NotebookWork, Work
from autograder.judging.problems import Problem
from autograder.judging.signatures import (
    MOST_NAME,
    MOST_PARAMETERS,
    Called,
    Signature,
    explanations,
    how_called,
    notes_on_calls,
    read_signature,
)
from autograder.pipeline.jail_run import room_for
from autograder.pipeline.judgement import FIGURES, Judgement
from autograder.pipeline.plan import plan_probes
from autograder.worker.collect import describe_signature
from tools.hidden_graders import ASSIGNMENT, ROOT, SECRET, collected, exercise, run_answers

SIZE = ["input_size", "kernel_size", "stride", "padding", "dilation"]
CALLS = [SIZE[:2], SIZE[:4], SIZE[:3], SIZE, SIZE]
CHANNELS = ["in_channels", "out_channels"]
BUILDS = [CHANNELS, [*CHANNELS, "kernel_size", "stride", "padding"]]


def record_of(function: Callable[..., Any], name: str = "f", line: int = 0) -> dict[str, Any]:
    """The record of a signature, as it leaves the jail before anything is asked."""
    return {"kind": "signature", "name": name, **describe_signature(function, lambda filename, first: line)}


def signature_of(function: Callable[..., Any]) -> Signature:
    found = read_signature(record_of(function))
    assert found is not None
    return found


def bound(function: Callable[..., Any], names: list[str]) -> bool:
    """Whether the call works, as the worker makes it: by name, else by position."""
    try:
        inspect.signature(function).bind(**dict.fromkeys(names, 1))
    except TypeError:
        try:
            inspect.signature(function).bind(*[1] * len(names))
        except TypeError:
            return False
    return True


MISFITS: list[tuple[Callable[..., Any], list[list[str]], str]] = [
    (
        lambda in_channels, out_channels, stride=1: 0,
        BUILDS,
        "`f` lacks the parameters `kernel_size` and `padding`: it must take (in_channels, out_channels, kernel_size, "
        "stride, padding), but takes (in_channels, out_channels, stride)",
    ),
    (lambda input_size, kernel_size, stride=1, padding=0: 0, CALLS, "`f` lacks the parameter `dilation`: "),
    (
        lambda: 0,
        [[], ["num_classes"]],
        "`f` lacks the parameter `num_classes`: it must take (num_classes), but takes ()",
    ),
    (lambda a, b: 0, BUILDS, "`f` has too few parameters: "),
    (
        lambda input_size, kernel_size, stride, padding, dilation: 0,
        CALLS,
        "`stride`, `padding` and `dilation` of `f` must have a default value: some calls leave them out",
    ),
    (
        lambda num_classes: 0,
        [[], ["num_classes"]],
        "`num_classes` of `f` must have a default value: some calls leave it",
    ),
    (lambda num_classes=10, *, width: 0, [[], ["num_classes"]], "`f` demands `width`, which no call gives: "),
]


@pytest.mark.parametrize(("function", "calls", "said"), MISFITS)
def test_a_parameter_that_is_missing_is_named(function: Callable[..., Any], calls: list[list[str]], said: str) -> None:
    made = [Called(names, not bound(function, names), True) for names in calls]
    found = explanations("f", made, signature_of(function))
    assert any(call.is_misfit for call in made)
    for call, message in zip(made, found, strict=True):
        assert message.startswith(said) if call.is_misfit else message == ""
    assert how_called("f", calls, signature_of(function)) == ""  # the check says it


FITTING: list[Callable[..., Any]] = [
    lambda input_size, kernel_size, stride=1, padding=0, dilation=1: 0,
    lambda n, k, s=1, p=0, d=1: 0,
    lambda dilation=1, padding=0, stride=1, kernel_size=3, input_size=8: 0,
    lambda input_size, kernel_size, **others: 0,
    lambda *values: 0,
    lambda *values, **named: 0,
    lambda n, k, s=1, p=0, d=1, /: 0,
]


@pytest.mark.parametrize("function", FITTING)
def test_where_a_call_works_its_type_error_is_not_about_parameters(function: Callable[..., Any]) -> None:
    assert all(bound(function, names) for names in CALLS)
    assert set(explanations("f", [Called(n, True, True) for n in CALLS], signature_of(function))) == {""}


def test_without_a_signature_the_arguments_that_bring_the_error_are_named() -> None:
    calls = [Called(names, len(names) == 5, True) for names in CALLS]
    said = explanations("f", calls, None)
    wanted = f"`f` raises TypeError where `dilation` is given: does it take ({', '.join(SIZE)})?"
    assert said == ["", "", "", wanted, wanted]
    assert set(explanations("f", [Called(n, True, True) for n in CALLS], None)) == {""}  # nothing tells them apart
    assert set(explanations("f", [Called(n, len(n) == 5, False) for n in CALLS], None)) == {
        ""
    }  # its own words say more


NOTES: list[tuple[Callable[..., Any], str]] = [
    (lambda input_size, kernel_size, stride=1, padding=0, dilation=1: 0, ""),
    (lambda input_size, kernel_size, stride=1, padding=0, dilation=1, verbose=False: 0, ""),
    (lambda input_size, kernel_size, **others: 0, ""),
    (
        lambda size, kernel, padding=0, stride=1, dilation=1: 0,
        "`f` was called by position, in the order (input_size, kernel_size, stride, padding, dilation), because it "
        "lacks `input_size` and `kernel_size`: its own parameters are (size, kernel, padding, stride, dilation), so "
        "your `padding` received `stride` and your `stride` received `padding`",
    ),
    (
        lambda n, k, s=1, p=0, d=1: 0,
        "`f` was called by position, in the order (input_size, kernel_size, stride, padding, dilation), because it "
        "lacks `input_size`, `kernel_size`, `stride`, `padding` and `dilation`: its own parameters are (n, k, s, p, d)",
    ),
    (
        lambda kernel_size, input_size, padding=0, stride=1, dilation=1: 0,
        "`f` has its parameters in another order than (input_size, kernel_size, stride, padding, dilation): "
        "(kernel_size, input_size, padding, stride, dilation). It was called by their names",
    ),
]


@pytest.mark.parametrize(("function", "note"), NOTES)
def test_a_call_by_position_is_told(function: Callable[..., Any], note: str) -> None:
    assert how_called("f", CALLS, signature_of(function)) == note


def test_notes_are_of_what_is_called_and_known() -> None:
    probes = list(plan_probes(exercise("01_output_size"), SECRET, ASSIGNMENT))
    swapped = signature_of(lambda size, kernel, padding=0, stride=1, dilation=1: 0)
    (note,) = notes_on_calls(probes, {"conv_output_size": swapped, "answer_output_size": swapped})
    assert note.startswith("`conv_output_size` was called by position, in the order (input_size, kernel_size, stride,")
    assert notes_on_calls(probes, {}) == []


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        {},
        "x",
        [1],
        [["x", "POSITIONAL_OR_KEYWORD"]],
        [["x y", "POSITIONAL_OR_KEYWORD", True]],
        [["</b>", "POSITIONAL_OR_KEYWORD", True]],
        [["x" * (MOST_NAME + 1), "POSITIONAL_OR_KEYWORD", True]],
        [["x", "ANYTHING", True]],
        [[1, "POSITIONAL_OR_KEYWORD", True]],
        [["x", [], True]],
        [["x", "POSITIONAL_OR_KEYWORD", True]] * (MOST_PARAMETERS + 1),
    ],
)
def test_what_is_no_signature_is_none(parameters: object) -> None:
    assert read_signature({"parameters": parameters}) is None


def test_a_long_signature_is_cut() -> None:
    entries = [[f"x{number}", "KEYWORD_ONLY", False] for number in range(MOST_PARAMETERS)]
    found = read_signature({"parameters": entries, "line": "no line"})
    assert found is not None
    assert found.line == 0
    assert str(found) == "(x0, x1, x2, x3, x4, x5, x6, x7, …)"


SEPARABLE = """
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        return self.pointwise(self.depthwise(x))
"""


def test_the_message_of_a_drawn_build_names_the_missing_parameters_and_the_line() -> None:
    notebook, name = "03_depthwise_separable", "DepthwiseSeparableConv"
    namespace = dict(run_answers(notebook, {"depthwise-separable-solution": SEPARABLE}, only=set()).namespace)
    probes = [p for p in plan_probes(exercise(notebook), SECRET, ASSIGNMENT) if p["name"] == name]
    record = record_of(namespace[name], name, line=500_003)
    sent = [frame for frame in collected(namespace, probes) if frame.header["kind"] != "signature"]
    frames = [Frame(record, b""), *sent]
    first, *others = decode_evidence(probes, frames, Problem(Status.CRASHED, "")).modules[name]
    assert first.problem is None
    for build in others:
        assert build.problem is not None
        assert build.problem.message.startswith(
            f"`{name}` lacks the parameters `kernel_size` and `padding`: it must take "
        )
        assert (build.problem.cell, build.problem.line, build.problem.status) == (5, 3, Status.ERROR)


def test_signatures_count_only_from_before_a_notebook_is_asked() -> None:
    """Afterwards, its names could hold what was asked."""
    probes = list(plan_probes(exercise("01_output_size"), SECRET, ASSIGNMENT))
    room = room_for({"cells": [{"index": 0}], "probes": probes}, 1000)
    record = record_of(lambda x: 0, "conv_output_size")
    assert room(record) == 0
    assert room({**record, "name": "another_function"}) is None
    assert room({**record, "name": ["conv_output_size"]}) is None
    assert room({"kind": "probes"}) is None
    assert room(record) is None


def test_the_note_reaches_the_report_of_its_notebook(tmp_path: Path) -> None:
    notebook = "01_output_size"
    probes = list(plan_probes(exercise(notebook), SECRET, ASSIGNMENT))
    record = record_of(lambda n, k, s=1, p=0, d=1: 0, "conv_output_size")
    stored = tmp_path / "frames"
    stored.write_bytes(encode_frames([Frame(record, b"")]))
    course = load_course(ROOT)
    job = Job(ROOT, course, course.assignment(ASSIGNMENT), Isolation("none"), Source("offline"), SECRET)
    job = replace(job, work=Work({notebook: NotebookWork(probes, stored, Problem(Status.CRASHED, ""))}))
    told: list[str] = []
    job.graded(exercise(notebook), None, told, [])
    judgement = Judgement()
    judgement.add(notebook, {"checks": [], "notes": told, "flags": [], "facts": {}, **{name: [] for name in FIGURES}})
    (note,) = judgement.notes
    assert note.notebook == notebook
    assert note.text.startswith("`conv_output_size` was called by position, in the order (input_size, ")
