"""What a model graph is made of, found without torch: layers, residual additions, blocks and head.

Everything is decided on the graph of values, not on names or classes, so that any way of writing a design is seen the
same. `shapes` is `GraphShapes.shapes` from the runner: one shape per node, None where a value is no single tensor.
"""

from autograder.graphs.analysis.blocks import Block, blocks, halved_times, map_sizes
from autograder.graphs.analysis.heads import Head, head
from autograder.graphs.analysis.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    Linear,
    batch_norms,
    convolutions,
    detached,
    dropouts,
    linears,
    parameter_count,
    stored_numbers,
)
from autograder.graphs.analysis.sums import Addition, additions, residual_additions
from autograder.graphs.analysis.writes import overwritten

__all__ = [
    "Addition",
    "BatchNorm",
    "Block",
    "Convolution",
    "Dropout",
    "Head",
    "Linear",
    "additions",
    "batch_norms",
    "blocks",
    "convolutions",
    "detached",
    "dropouts",
    "halved_times",
    "head",
    "linears",
    "map_sizes",
    "overwritten",
    "parameter_count",
    "residual_additions",
    "stored_numbers",
]
