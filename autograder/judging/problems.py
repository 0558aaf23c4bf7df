"""Why a piece of evidence is missing: the record of it, decoded, validated and bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autograder.core.grade_report import Status
from autograder.core.source_lines import LINES_PER_CELL
from autograder.core.text import clean_text


class BadRecord(ValueError):
    """A record that does not keep to the format: counts as missing evidence."""


@dataclass(frozen=True)
class Problem:
    """Why a piece of evidence is missing: the status a check gets, and the student's cell and line where known.

    `type` names the exception, `raised` the one that a module's forward raised. `cause` and `detail` are the worker's
    words for what judging/causes.py has sentences for. `returned` says what forward gave in place of one tensor, in the
    words of RETURNED.
    """

    status: Status
    message: str
    type: str = ""
    cell: int = 0
    line: int = 0
    raised: str = ""
    cause: str = ""
    detail: str = ""
    returned: str = ""


def decode_problem(record: object) -> Problem:
    """A Problem from the wire. The jail may blame the student's code only: INTERNAL and PASSED are not its to say.

    UNSUPPORTED is: a forged one earns nothing, and has a person look.
    """
    if not isinstance(record, dict):
        raise BadRecord("a problem is no record")
    allowed = ("FAILED", "ERROR", "TIMEOUT", "OUT_OF_MEMORY", "OUTPUT_LIMIT", "CRASHED", "UNSUPPORTED")
    status = record.get("status") if record.get("status") in allowed else "ERROR"
    line = max(whole(record.get("line", 0)), 0)
    problem = Problem(
        Status(status),
        clean_text(record.get("message")),
        clean_text(record.get("type"))[:100],
        *divmod(line, LINES_PER_CELL),
        raised=clean_text(record.get("raised"))[:100],
        cause=clean_text(record.get("cause"))[:20],
        detail=clean_text(record.get("detail"))[:100],
    )
    return replace(problem, returned=_returned(record.get("returned"), problem))


# What forward may return in place of one tensor. The words are closed: a type's own name may hold anything.
RETURNED = {
    "dict": "a dict",
    "tuple": "a tuple",
    "list": "a list",
    "none": "None (is the `return` missing?)",
    "number": "a number",
    "object": "an object of another class",
    "": "several values, or none",
}


def _returned(record: object, problem: Problem) -> str:
    """In words of RETURNED, what forward returned in place of one tensor; nothing where that was not the problem."""
    if isinstance(record, str) and record:
        return RETURNED.get(record, RETURNED["object"])
    # An export that failed although nothing raised: the one other mistake that a module's own code can make there.
    is_export = problem.status is Status.ERROR and problem.type == "ExportProblem" and not problem.raised
    return RETURNED[""] if is_export else ""


def whole(value: object) -> int:
    return value if type(value) is int and abs(value) < 2**31 else -1
