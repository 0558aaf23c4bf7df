"""Hidden checks of exercise 1: the output size of a convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from autograder.checks import CheckContext, CheckEnded, expect, fail, points, requires
from autograder.core.grade_report import Status
from autograder.core.source_lines import LINES_PER_CELL
from autograder.graders.answers import (
    answered,
    describe_result,
    evidence_for,
    expect_number,
    integer_answer,
    whole_number,
)
from autograder.judging.evidence import CallEvidence, Value
from autograder.judging.problems import Problem

WORKED, FUNCTION = "output-size-worked", "output-size-function"
Calls = Mapping[str, Sequence[CallEvidence]]
Formula = Callable[[Mapping[str, Any]], float]


@pytest.fixture(scope="module")
def calls(graded: CheckContext) -> Calls:
    """The results of `conv_output_size`, by group."""
    return evidence_for(graded.evidence.calls, "conv_output_size")


def parts(a: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """n, k, s, p, d of a call, with the defaults of the signature."""
    return a["input_size"], a["kernel_size"], a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1)


def output_size(a: Mapping[str, Any]) -> int:
    """floor((n + 2p - d(k - 1) - 1) / s) + 1, as in the documentation of torch.nn.Conv2d."""
    n, k, s, p, d = parts(a)
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


def formula(
    *,
    sides: float = 2,
    span: Callable[[int, int], int] = lambda k, d: d * (k - 1) + 1,
    end: Callable[[float], float] = math.floor,
    stride: bool = True,
    plus: int = 1,
) -> Formula:
    """The same with a mistake in one place."""

    def mistaken(a: Mapping[str, Any]) -> float:
        n, k, s, p, d = parts(a)
        return end((n + sides * p - span(k, d)) / (s if stride else 1)) + plus

    return mistaken


def returned_number(call: CallEvidence) -> float:
    """What a call returned, as a number. Ends the check where it raised, or returned none."""
    value = answered("conv_output_size", call.result, drawn=True)
    if value.kind not in ("int", "float") or not isinstance(value.value, (int, float)):
        fail(f"`conv_output_size` must return a whole number, it returned {describe_result(value)}")
    return value.value


def are_right(calls: Sequence[CallEvidence]) -> bool:
    """Whether all calls returned the right number, be it an int or a float."""
    return all(
        isinstance(call.result, Value) and whole_number(call.result) == output_size(call.arguments) for call in calls
    )


def expect_right(calls: Sequence[CallEvidence], misconceptions: Mapping[str, Formula], otherwise: str) -> None:
    """Fail unless all results are right, with the misconception that explains them all, or the way they are off."""
    found = [returned_number(call) for call in calls]
    if all(value == output_size(call.arguments) for value, call in zip(found, calls, strict=True)):
        return
    for message, mistaken in misconceptions.items():
        if all(math.isclose(value, mistaken(call.arguments)) for value, call in zip(found, calls, strict=True)):
            fail(message)
    off = [value - output_size(call.arguments) for value, call in zip(found, calls, strict=True)]
    way = "too large" if min(off) >= 0 else "too small" if max(off) <= 0 else "sometimes too large, sometimes too small"
    wrong = sum(difference != 0 for difference in off)
    fail(f"{wrong} of {len(off)} results are wrong: {way}. {otherwise}")


# The two worked cases


@points(2, cell=WORKED, hint="Put the numbers into floor((n + 2p − d(k−1) − 1)/s) + 1, and round down.")
def test_worked_output_size(graded: CheckContext) -> None:
    """The output size for a 64×64 input, kernel 5, stride 2, padding 2"""
    misconceptions = {
        31: "Count the place where the kernel starts as well: steps plus 1; and padding is added on both sides",
        33: "Only whole steps count: round down before adding 1",
        30: "Padding is added on both sides: it widens the input by 2p",
        60: "The kernel moves two pixels at a time: divide by the stride",
        64: "The kernel moves two pixels at a time: divide by the stride",
    }
    found = integer_answer(graded, "answer_output_size")
    expect_number(found, 32, "answer_output_size", misconceptions, "How many places are there for the kernel?")


@points(1, cell=WORKED, hint="How many pixels does the kernel span? Half of what it would cut off goes on each side.")
def test_worked_same_padding(graded: CheckContext) -> None:
    """The padding that keeps the size for kernel 5, dilation 2, stride 1"""
    misconceptions = {
        2: "That is right without dilation, which here widens the kernel",
        8: "That is the padding of both sides together; `padding` is added on each side",
        5: "A kernel of 5 with gaps between its weights: count the pixels from the first weight to the last",
    }
    found = integer_answer(graded, "answer_same_padding")
    expect_number(found, 4, "answer_same_padding", misconceptions, "By how much does the kernel shrink the image?")


# The function


@points(2, cell=FUNCTION, hint="A kernel of size k has n − k + 1 places in a row of n pixels.")
def test_plain_case(calls: Calls) -> None:
    """Without padding, stride and dilation"""
    misconceptions = {
        "The result is 1 too small: count the place where the kernel starts, too (+ 1)": formula(plus=0),
        "The result is 1 too large: n pixels have n − k + 1 places for a kernel of size k": formula(plus=2),
        "The result is always the input size: a kernel without padding cannot stand at the border": (
            lambda a: a["input_size"]
        ),
    }
    expect_right(calls["plain"], misconceptions, "A kernel of size 3 has 4 places in a row of 6 pixels")


@points(2, cell=FUNCTION, hint="`padding` pixels are added on both sides: the row becomes n + 2p long.")
@requires("test_plain_case")
def test_padding(calls: Calls) -> None:
    """Padding counts on both sides"""
    misconceptions = {
        "Padding is counted on one side only: it is added left and right, n + 2p": formula(sides=1),
        "Padding has no effect: the row becomes n + 2p pixels long": formula(sides=0),
        "Padding is subtracted: it makes the row longer, n + 2p": formula(sides=-2),
        "Padding is counted four times: n + 2p, once on each side": formula(sides=4),
    }
    expect_right(calls["padding"], misconceptions, "6 pixels with padding 1 are a row of 8")


@points(3, cell=FUNCTION, hint="Only whole steps count: `//` rounds down and keeps an int.")
@requires("test_plain_case")
def test_floor(calls: Calls) -> None:
    """Rounds down, and returns an int"""
    misconceptions = {
        "The result is rounded to the nearest number: only whole steps count, so round down": formula(end=round),
        "The result is rounded up: only whole steps count, so round down": formula(end=math.ceil),
        "The result has decimals: only whole steps count, so round down": formula(end=float),
        "The stride has no effect: divide the way that the kernel can move by it": formula(stride=False),
        "The + 1 is divided by the stride, too: add it after rounding down": (
            lambda a: output_size({**a, "stride": 1}) // a["stride"]
        ),
    }
    group = calls["floor"]
    expect_right(group, misconceptions, "6 pixels, kernel 3, stride 2: one step and a cut-off rest, so 2 places")
    kinds = {
        describe_result(call.result) for call in group if isinstance(call.result, Value) and call.result.kind != "int"
    }
    expect(not kinds, f"The number is right, but it is {', '.join(sorted(kinds))}: return an int (`//`, or math.floor)")


@points(2, cell=FUNCTION, hint="With dilation d a kernel of size k spans d(k − 1) + 1 pixels.")
@requires("test_plain_case")
def test_dilation(calls: Calls) -> None:
    """Dilation widens the kernel to d(k − 1) + 1"""
    misconceptions = {
        "Dilation has no effect: a dilated kernel spans more pixels": formula(span=lambda k, d: k),
        "The dilated kernel is taken as d·k pixels: the gaps lie between the weights, none after the last": (
            formula(span=lambda k, d: d * k)
        ),
        "The dilated kernel is taken as d(k − 1) pixels: the first weight counts, too (+ 1)": (
            formula(span=lambda k, d: d * (k - 1))
        ),
        "The dilated kernel is taken as k + d − 1 pixels: there is a gap between each two weights": (
            formula(span=lambda k, d: k + d - 1)
        ),
        "The dilated kernel is taken as k + (d + 1)(k − 1) pixels: dilation 1 means no gap": (
            formula(span=lambda k, d: k + d * (k - 1))
        ),
    }
    expect_right(calls["dilation"], misconceptions, "A kernel of size 3 with dilation 2 spans 5 pixels")


@points(2, cell=FUNCTION, hint="Compare with nn.Conv2d on sizes of your own: 1×1 kernels, large strides, all at once.")
@requires("test_plain_case", "test_padding", "test_dilation")
def test_agrees_with_conv2d(calls: Calls) -> None:
    """Agrees with torch.nn.Conv2d for all parameters together"""
    # Not @requires: a float that equals the right number fails there alone.
    if not are_right(calls["floor"]):
        raise CheckEnded(Status.SKIPPED, "not judged, because “Rounds down, and returns an int” did not pass")
    group = calls["grid"]
    refused = [
        c.arguments for c in group if isinstance(c.result, Problem) and describe_result(c.result) == "ValueError"
    ]
    if refused:
        fail(f"A kernel that fits raises ValueError: {why_refused(refused)}")
    expect_right(group, {}, "Each parameter alone is right, but not all of them together")


def why_refused(refused: Sequence[Mapping[str, Any]]) -> str:
    """What the calls have in common for which a fitting kernel was refused, and the remedy."""
    if all(output_size(a) == 1 for a in refused):
        return "one as large as the padded input has one place. Refuse only what is larger (<, not <=)"
    if all(a["kernel_size"] > a["input_size"] for a in refused):
        return "the padding makes room for it. Compare with the padded input, n + 2p"
    return "compare the dilated kernel, d(k − 1) + 1 pixels, with the padded input, n + 2p"


@points(1, cell=FUNCTION, hint="if the dilated kernel is larger than the padded input: raise ValueError(...)")
@requires("test_plain_case")
def test_value_error(calls: Calls) -> None:
    """ValueError where the kernel does not fit"""
    # Where dilation itself is wrong, that check has said so.
    group = [*calls["too_large"], *(calls["too_large_dilated"] if are_right(calls["dilation"]) else ())]
    for call in group:
        if isinstance(call.result, Value):
            size = call.result.value
            found = f"{describe_result(call.result)} was returned"
            if isinstance(size, (int, float)) and size <= 0:
                found = "0 was returned" if size == 0 else "a size below 0 was returned"
            fail(f"The kernel is larger than the padded input: expected a ValueError, but {found}")
        if describe_result(call.result) != "ValueError":
            expect(
                call.result.status is not Status.ERROR or call.result.type == "NotImplementedError",
                "The kernel is larger than the padded input: expected a ValueError, found "
                f"{describe_result(call.result)}. "
                "Compare the two yourself, and `raise ValueError(...)`",
                line=call.result.cell * LINES_PER_CELL + call.result.line,
            )
            answered("conv_output_size", call.result, drawn=True)
