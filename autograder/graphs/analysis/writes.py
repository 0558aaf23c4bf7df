"""Writes in place that take away what the gradient still needs: `x += 1` behind a ReLU, whose output it goes by."""

from __future__ import annotations

from autograder.graphs.analysis.flow import (
    ACTIVATIONS,
    MATRIX_PRODUCTS,
    MAXIMA,
    NORMS,
    POOLS,
    PRODUCTS,
    carries_data,
    names,
)
from autograder.graphs.model_graph import ModelGraph, Node, references
from autograder.graphs.operations import CONVOLUTIONS, GETITEM, OPERATIONS

# What the derivatives of torch/autograd's derivatives.yaml name: "result" or "self".
_NEEDS_OUTPUT = names(
    "relu relu_ sigmoid sigmoid_ tanh tanh_ softmax.int log_softmax.int exp exp_ sqrt sqrt_ rsqrt rsqrt_ reciprocal "
    "reciprocal_ leaky_relu_ elu_ celu_ selu_ logsumexp linalg_vector_norm"
)
_NEEDS_INPUT = (
    CONVOLUTIONS
    | MATRIX_PRODUCTS
    | MAXIMA
    | NORMS
    | POOLS
    | PRODUCTS
    | (ACTIVATIONS - _NEEDS_OUTPUT)
    | names("div.Tensor div_.Tensor pow.Tensor_Scalar square log log_ sin cos var.dim var.correction std.dim")
)


def overwritten(graph: ModelGraph) -> Node | None:
    """The first write into a value that an earlier operation keeps for its gradient; None where there is none."""
    carries = carries_data(graph)
    memory: list[int] = []  # per node: the node whose memory it shares
    kept: set[int] = set()
    for node in graph.nodes:
        written, shared = _shares(node)
        memory.append(memory[(written or shared)[0]] if written or shared else node.index)
        if kept & {memory[i] for i in written}:
            return node
        if node.grad and carries[node.index]:
            kept |= {memory[node.index]} if node.operation in _NEEDS_OUTPUT else set()
            # What an operation writes into itself, it keeps a copy of.
            inputs = {memory[i] for i in node.inputs if carries[i] and i not in written}
            kept |= inputs if node.operation in _NEEDS_INPUT else set()
    return None


def _shares(node: Node) -> tuple[list[int], list[int]]:
    """The values that a node writes into, and those that its own value is a view of."""
    if node.operation == GETITEM:
        return [], list(node.inputs)
    written, shared = [], []
    operation = OPERATIONS.get(node.operation)
    for kind, value in zip(operation.kinds, node.args, strict=False) if operation else ():
        written += references(value) if kind[-1] == "!" else []
        shared += references(value) if kind[-1] == "&" else []
    return written, shared
