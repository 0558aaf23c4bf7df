"""A ready-made network under the asked-for name: known by the names of its weights and by where its operations stand.

A graph says for every operation which line of the notebook called it, and 0 where none did. What stands in a library
has no line there; a class of the student's that only passes images on to it has one line for all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from autograder.core.grade_report import Flag
from autograder.core.package import package_file
from autograder.graphs.analysis.flow import ADDITIONS, carries_data, first
from autograder.graphs.model_graph import ModelGraph, Ref
from autograder.graphs.operations import CONVOLUTIONS

KIND = "library-model"
KNOWN = package_file("judging/flags/library_models.json")
FEWEST_NAMES = 40  # `features.0.weight, …` of a small stack is anybody's; torchvision's smallest ResNet has 120
_MOST_DEPTH = 3  # self.net.body.resnet
_MOST_CHILDREN = 50
ASK = "Ask for the code of each block to be explained, or look at how the cell builds it."


def library_flags(notebook: str, module: str, graph: ModelGraph) -> list[Flag]:
    """A flag where the graph of an asked-for class is a library's.

    Of the 40 correct designs of the exercise, 17 of them architectures such as SENet as students write them, none is.
    """
    calls = [node for node in graph.nodes if node.kind == "call"]
    known = known_model(t.name for t in graph.tensors if t.kind in {"parameter", "frozen", "buffer"})
    names = f"the names of its weights are those of torchvision's {known} (or one like it)" if known else ""
    if calls and not any(node.line for node in calls):
        where = f"none of the {len(calls)} operations of `{module}` comes from a line of the notebook"
        seen = f"{where}, and {names}" if names else f"{where}: it is defined in a library or in another file"
    elif known and not _adds_on_lines_of_its_own(graph):
        seen = f"the residual blocks of `{module}` have no lines of their own in the notebook, and {names}"
    else:
        return []
    return [Flag(KIND, notebook, f"{seen[0].upper()}{seen[1:]}. No correct design that we know shows this. {ASK}")]


def _adds_on_lines_of_its_own(graph: ModelGraph) -> bool:
    """Whether a residual addition stands in a line in which no convolution does: then somebody wrote the block out."""
    carries = carries_data(graph)
    convolved = {node.line for node in graph.nodes if node.operation in CONVOLUTIONS and carries[first(node)]}
    added = {
        node.line
        for node in graph.nodes
        if node.operation in ADDITIONS and all(isinstance(v, Ref) and carries[v.index] for v in node.args[:2])
    }
    return bool(added - convolved)


def known_model(names: Iterable[str]) -> str:
    """The torchvision model whose weights have these names, "" for none.

    The model may lie in attributes of a module (`self.net = …`), be cut into its children (`nn.Sequential`), and have
    another classifier, or none.
    """
    inside_of: dict[tuple[str, ...], list[str]] = defaultdict(list)  # a module's place -> its weights' names inside
    for name in names:
        parts = name.split(".")
        for depth in range(min(len(parts), _MOST_DEPTH + 1)):
            inside_of[tuple(parts[:depth])].append(".".join(parts[depth:]))
    known = _known()
    for inside in inside_of.values():
        if len(inside) < FEWEST_NAMES:
            continue
        children = list(dict.fromkeys(name.partition(".")[0] for name in inside))[:_MOST_CHILDREN]
        for body in (inside, *(without_child(inside, child) for child in children)):
            if found := known.get(fingerprint(body)):
                return found
    return ""


def without_child(names: Sequence[str], child: str) -> list[str]:
    """The names of weights outside one of a module's children."""
    return [name for name in names if name.partition(".")[0] != child]


def fingerprint(names: Iterable[str]) -> str:
    """16 hex digits for a set of names. Counters are left out: who loads weights may have dropped them."""
    plain = sorted(name for name in names if not name.endswith("num_batches_tracked"))
    return hashlib.sha256("\n".join(plain).encode()).hexdigest()[:16]


@cache
def _known() -> dict[str, str]:
    found: dict[str, str] = json.loads(KNOWN.read_text())["models"]
    return found
