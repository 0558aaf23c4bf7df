"""What several hidden graders need to read answers: numbers, and problems said in the course's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from autograder.checks import CheckContext, fail, need
from autograder.judging.evidence import OWN_NAMES, Result, Value, python_name
from autograder.judging.problems import Problem

Found = TypeVar("Found")


def answered(name: str, found: Found | Problem, *, drawn: bool = False) -> Found:
    """The evidence for `name`, or the end of the check with its problem.

    `drawn`: it arose with arguments from the course's secret; then its message is the grader's own and names the
    exception.
    """
    if not isinstance(found, Problem):
        return found
    # How the graph was made is our business; what `forward` raised stands in the message.
    return need(replace(found, type="") if drawn or found.type in OWN_NAMES else found)


def evidence_for(kind: Mapping[str, Found], name: str) -> Found:
    """One name's evidence. Every probe of the plan leaves some, so its absence is the fault of the configuration."""
    if name not in kind:
        raise KeyError(f"grader_config.py declares no probe {name!r}")
    return kind[name]


def integer_answer(graded: CheckContext, name: str) -> int:
    """A whole number that the notebook stores in a variable. A float that equals one will do, a truth value not."""
    value = answered(name, evidence_for(graded.evidence.answers, name))
    number = whole_number(value)
    if number is None:
        fail(f"`{name}`: expected a whole number, found {describe_result(value)}")
    return number


def whole_number(value: Value) -> int | None:
    """The integer that a value equals, None where it is no number, a fraction, or a truth value."""
    if value.kind not in ("int", "float") or isinstance(value.value, str) or value.value is None:
        return None
    return int(value.value) if float(value.value).is_integer() else None


def describe_result(value: Result) -> str:
    """A value by its kind only: what it is may tell which number was asked for."""
    if isinstance(value, Problem):
        return python_name(value.type) if value.type else value.status.value
    kinds = {"bool": "True or False", "none": "None (is the `return` missing?)", "str": "text in quotes"}
    if value.kind == "float":
        return "a number with decimals" if whole_number(value) is None else "a float"
    return kinds.get(value.kind, f"a value of {value_kind(value)}" if value.kind == "other" else "a whole number")


def value_kind(value: Value) -> str:
    """The type of a value that is no number; of one that was made with secret numbers it is not told."""
    return f"type {value.value}" if value.value else "another type"


def expect_number(found: int, expected: int, name: str, misconceptions: Mapping[int, str], otherwise: str) -> None:
    """Fail unless `found` is the expected number, with the message of the misconception that leads to it.

    `misconceptions` maps wrong numbers to what was thought; the right number never appears in a message.
    """
    if found != expected:
        fail(f"`{name}` = {found:,} is not right. {misconceptions.get(found, otherwise)}")
