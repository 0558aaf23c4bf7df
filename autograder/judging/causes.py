"""What to say where student code stopped for a reason that lies in the grader's place, or in a line of the release.

The worker names the cause by a word of a closed list (worker/causes.py). Whoever forges one gets a person to look, or
the sentence for a mistake, and no points.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from autograder.core.grade_report import Status
from autograder.judging.evidence import UNFINISHED, Build, CallEvidence, Evidence, Samples
from autograder.judging.problems import Problem

MODULE_LISTS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
DETAIL = re.compile(r"[\w./ -]{1,80}")
HERE = "Python " + ".".join(platform.python_version_tuple()[:2])


def _package(name: str) -> str:
    if name.partition(".")[0] == "google":
        return "it needs `google.colab`, which only Colab has: leave these lines out"
    needed = f"`{name}`, which is" if name else "a package that is"
    file = f"{name.partition('.')[0]}.py" if name else "its file"
    return (
        f"it needs {needed} neither installed while grading nor handed in beside the notebook: do without it, or hand "
        f"in {file} if it is your own"
    )


def _file(name: str) -> str:
    if name.endswith(".ipynb"):
        place = "put its code into this one, or into a module beside it"
        return f"it needs the notebook `{name}`, and while grading no other notebook is there: {place}"
    return f"it needs {f'the file `{name}`' if name else 'a file'}, which was not handed in: hand it in, too"


def _syntax(version: str) -> str:
    newer = f"of Python {version}" if version else "of a newer Python"
    return f"it is written in syntax {newer}, and the grader runs {HERE}: write it so that {HERE} reads it"


def _forward(name: str) -> str:
    if name in MODULE_LISTS:
        return f"it calls an nn.{name}, which only holds layers: loop over it, or use nn.Sequential"
    what = f"the class `{name}`" if name else "a class of yours"
    return f"{what} has no method `forward`: check the method's name and its indentation"


# In words that go on after "`name` cannot be judged here: " or "`name` fails: ".
SAID: dict[str, Callable[[str], str]] = {
    "package": _package,
    "file": _file,
    "network": lambda _: "it asks the network, and there is none while grading: do without (weights=None)",
    "screen": lambda _: "it asks for a screen, and there is none while grading: leave that line out",
    "gpu": lambda _: (
        "it asks for a GPU, and notebooks are graded without one: use the device of what comes in (x.device) in place "
        "of .cuda() or a device written down"
    ),
    "syntax": _syntax,
    "values": lambda _: (
        "what it does depends on the values of a tensor (`if` on a tensor, .item(), .numpy(), printing a number)"
    ),
    "data": lambda _: "it uses a tensor's .data, which leaves the graph: use .detach()",
    "random": lambda _: "it draws from Python's or NumPy's random while it trains: draw with torch",
    "leftover": lambda _: "the release's line `raise NotImplementedError()` still stands in it: delete that line",
    "no-forward": _forward,
}
UNANSWERED = "unanswered"
NOT_THERE = ("NotImplementedError", "Missing", UNFINISHED)  # what an answer that is as released ends in
UNTRACED = ("values", "data", "random")
ELSEWHERE = ("package", "file", "network", "screen", "gpu", "syntax")  # it may be right in another place


def reason(cause: str, detail: str) -> str:
    """A cause in words for a student; "" for one that is not on the list."""
    return SAID[cause](detail if DETAIL.fullmatch(detail) else "") if cause in SAID else ""


def told(problem: Problem, name: str) -> Problem:
    """The problem as it is told where its cause is known, else as it was. What may be right elsewhere is undecided."""
    why = reason(problem.cause, problem.detail)
    if not why:
        return problem
    if problem.cause in ELSEWHERE:
        message = f"`{name}` cannot be judged here: {why}. A person will look at it"
        return replace(problem, status=Status.UNSUPPORTED, message=message, type="", raised="")
    if problem.cause in UNTRACED:
        message = f"`{name}` cannot be turned into a graph: {why}. A person will look at it"
        return replace(problem, status=Status.UNSUPPORTED, message=message, type="", raised="")
    return replace(problem, status=Status.FAILED, message=f"`{name}` fails: {why}", type="", raised="")


def with_causes(evidence: Evidence, unanswered: Collection[str] = ()) -> Evidence:
    """A notebook's evidence with every problem in it as `told`; of `unanswered` names it says just that."""

    def tell(name: str, problem: Problem) -> Problem:
        is_open = problem.type in NOT_THERE or problem.raised.endswith("NotImplementedError")
        if name in unanswered and is_open:
            message = f"`{name}` is not answered yet"
            return replace(problem, status=Status.FAILED, message=message, type="", raised="", cause=UNANSWERED)
        return told(problem, name)

    def build(name: str, found: Build) -> Build:
        graphs = {key: tell(name, g) if isinstance(g, Problem) else g for key, g in found.graphs.items()}
        return replace(found, graphs=graphs, problem=found.problem and tell(name, found.problem))

    def calls(name: str, group: Sequence[CallEvidence]) -> list[CallEvidence]:
        return [replace(c, result=tell(name, c.result)) if isinstance(c.result, Problem) else c for c in group]

    def samples(name: str, found: Samples) -> Samples:
        return replace(found, problem=found.problem and tell(name, found.problem))

    return Evidence(
        {name: tell(name, found) if isinstance(found, Problem) else found for name, found in evidence.answers.items()},
        {name: {group: calls(name, each) for group, each in own.items()} for name, own in evidence.calls.items()},
        {name: [build(name, each) for each in own] for name, own in evidence.modules.items()},
        {name: {kind: samples(name, each) for kind, each in own.items()} for name, own in evidence.samples.items()},
        evidence.signatures,
    )
