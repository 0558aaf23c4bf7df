"""The model graph: a student's network as checked data. How it comes out of the jail is in wire.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Union


class GraphRefused(ValueError):
    """A graph that is malformed or not allowed; the message is for the student, `line` is 0 where unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Ref:
    """A reference to an earlier node's value."""

    index: int


@dataclass(frozen=True)
class DType:
    """A dtype as an argument, e.g. DType("float32")."""

    name: str


# Union, not |: the forward reference to itself is a string, which | does not take.
Value = Union[Ref, DType, None, bool, int, float, str, tuple["Value", ...]]  # noqa: UP007


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a module.

    kind: "parameter" (registered, trainable), "frozen" (registered, requires_grad=False), "buffer", or "constant": a
    tensor that the state dict does not hold, such as one in a plain Python list. Tied weights share their key.
    """

    kind: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    key: str

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Region:
    """A `with` block around nodes: "grad" (setting: enabled) or "autocast" (dtype, setting: enabled)."""

    parent: int
    kind: str
    setting: bool
    dtype: str = ""


@dataclass(frozen=True)
class Node:
    """One step of a graph.

    kind: "input", "tensor", "call" or "output". `args` are bound by the operation's schema, defaults included. `line`
    is the student's line (see decode_line), 0 where unknown. `grad` is False inside `torch.no_grad()`.
    """

    index: int
    kind: str
    operation: str = ""
    args: tuple[Value, ...] = ()
    line: int = 0
    region: int = 0
    grad: bool = True
    tensor: int = -1

    @property
    def inputs(self) -> tuple[int, ...]:
        """The nodes whose values this node takes, in order, each as often as it occurs."""
        return tuple(references(self.args))


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """One export of a module: nodes in execution order, each referring to earlier ones only. Compared by identity.

    batch: None where any batch size works, else the one size that the student's code fixes. input_shape: (N, C, H, W)
    of the example it was exported with.
    """

    nodes: tuple[Node, ...]
    tensors: tuple[TensorInfo, ...]
    regions: tuple[Region, ...]
    training: bool
    batch: int | None
    input_shape: tuple[int, ...]

    @property
    def output(self) -> int:
        """Index of the node whose value the graph returns."""
        value = self.nodes[-1].args[0]
        assert isinstance(value, Ref)  # the parser made it so
        return value.index

    @property
    def input(self) -> int:
        """Index of the input node."""
        return next(node.index for node in self.nodes if node.kind == "input")


def references(value: Value) -> list[int]:
    """The nodes that a value refers to, in order, each as often as it occurs."""
    if isinstance(value, Ref):
        return [value.index]
    return [index for item in value for index in references(item)] if isinstance(value, tuple) else []
