"""A runner for many cases of one network: what it was asked before is not computed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from autograder.core.config import Limits
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner import Runner
from autograder.graphs.wire import graph_to_wire
from autograder.jail import Isolation, start

REMEMBERED = {"evaluate", "shapes", "cut", "gradients", "loss"}  # small answers, which follow from what is asked alone


class RememberingRunner(Runner):
    """A runner without a jail that gives the same answer to the same request about the same graph and weights.

    Before each request the server seeds its random numbers, so the answer would be the same (tests/test_determinism.py
    shows that). What fails is tried again, and states that training left are not remembered.
    """

    def __init__(self) -> None:
        super().__init__(lambda: start("graph_server", Limits(), Isolation("none")), device="cpu")
        self._answers: dict[str, tuple[dict[str, Any], bytes]] = {}

    def _request(
        self, request: dict[str, Any], arrays: Mapping[str, NDArray[Any]], seconds: float | None
    ) -> tuple[dict[str, Any], bytes]:
        known = self._known[request["handle"]]
        if known.tensors is None or request["op"] not in REMEMBERED:
            return super()._request(request, arrays, seconds)
        asked = {name: value for name, value in request.items() if name != "handle"}
        described = json.dumps([asked, _structure(known.graph), [str(array.shape) for array in arrays.values()]])
        digest = hashlib.sha256(described.encode())
        for content in (known.tensors, *(array.tobytes() for array in arrays.values())):
            digest.update(hashlib.sha256(content).digest())
        if digest.hexdigest() not in self._answers:
            self._answers[digest.hexdigest()] = super()._request(request, arrays, seconds)
        return self._answers[digest.hexdigest()]


def _structure(graph: ModelGraph) -> Any:
    """A graph without the student's lines, which nothing that is computed follows from."""
    return graph_to_wire(replace(graph, nodes=tuple(replace(node, line=0) for node in graph.nodes)))
