"""A graph that looks images up: among the rows of a stored table it picks one by what the image shows.

Networks compute with weights; they do not search them. So it is told by the graph alone, however the table is written:
a buffer, a parameter, the filters of a convolution, in one precision or another.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_

from autograder.core.grade_report import Flag
from autograder.core.source_lines import decode_line
from autograder.core.text import clean_name
from autograder.graphs.analysis.flow import (
    Shape,
    Shapes,
    bits,
    carries_data,
    first,
    names,
    tensor_masks,
    without_in_place_writes,
)
from autograder.graphs.model_graph import ModelGraph, Node, TensorInfo, references

KIND = "lookup"
# The smallest test set in use has 2,000 images. Networks of the allowed budget have at most 1,280 channels, and
# attention over 32x32 places has 1,024 of them.
FEWEST_ROWS = 1_500
_SEARCHES = names("argmax argmin topk sort argsort max.dim min.dim softmax.int eq.Tensor")
_PICKS = names("embedding gather index_select index.Tensor")
ASK = "Ask how the network recognises an image, and what the table holds."


def lookup_flags(notebook: str, graph: ModelGraph, shapes: Shapes) -> list[Flag]:
    """A flag where the graph searches a table of many rows, or picks from one, by what the image shows.

    Of the 40 correct designs of the exercise, 17 of them architectures such as SENet as students write them, none does.
    """
    for node, table in _lookups(graph, shapes):
        cell, line = decode_line(node.line)
        place = f", line {line} of cell {cell + 1}" if line else ""
        operation = node.operation.removeprefix("aten.").partition(".")[0]
        rows = f"{max(table.shape):,} rows of `{clean_name(table.name)}`, {table.shape}"
        seen = f"The graph chooses by the image among the {rows}: {operation}{place}."
        return [Flag(KIND, notebook, f"{seen} No correct design that we know does this. {ASK}")]
    return []


def _lookups(graph: ModelGraph, shapes: Shapes) -> Iterator[tuple[Node, TensorInfo]]:
    """Nodes that search or pick, and the table in which."""
    graph, shapes = without_in_place_writes(graph, shapes)
    carries, masks = carries_data(graph), tensor_masks(graph, False)
    of_length = _by_length(graph)
    long = reduce(or_, of_length.values(), 0)
    if not long:
        return
    for node in graph.nodes:
        if node.operation in _SEARCHES and carries[node.index]:
            # `eq` compares with all rows at once: only its result is as long as they are.
            searched: list[Shape | None] = [shapes[i] for i in (*node.inputs, node.index) if carries[i]]
            sizes = {size for shape in searched for size in shape or () if size >= FEWEST_ROWS}
            as_long = reduce(or_, (of_length.get(size, 0) for size in sizes), 0)
            tables = masks[node.index] & as_long
        elif node.operation in _PICKS and any(carries[i] for i in references(node.args[1:])):
            tables = masks[first(node)] & long
        else:
            continue
        yield from ((node, graph.tensors[i]) for i in bits(tables))


def _by_length(graph: ModelGraph) -> dict[int, int]:
    """For each size of an axis that is long enough: which tensors have one, as a mask (of thousands, each a bit)."""
    found: dict[int, int] = {}
    for place, tensor in enumerate(graph.tensors):
        for size in set(tensor.shape):
            if size >= FEWEST_ROWS:
                found[size] = found.get(size, 0) | 1 << place
    return found
