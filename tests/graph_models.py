"""Small networks in many styles, and the shortest way from a module to its graph, for the tests of the model graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.wire import graph_from_wire
from autograder.worker.exporter import TensorPool, export_graph
from autograder.worker.graph_costs import estimate
from autograder.worker.interpreter import Graph

WIDTHS = (32, 64, 128, 256)
STEPS = list(zip((3, *WIDTHS), WIDTHS, strict=False))  # (in, out) of the four blocks


@dataclass(frozen=True)
class Exported:
    """One export as it arrives: the graph parsed from JSON, its tensors, and the shapes for its own input."""

    wire: dict[str, Any]
    graph: ModelGraph
    blob: bytes
    shapes: tuple[tuple[int, ...] | None, ...]


def export(module: nn.Module, size: int = 32, training: bool = False, channels: int = 3) -> Exported:
    """Export, send as text, parse, and find the shapes on meta tensors."""
    pool = TensorPool()
    example = torch.zeros(4, channels, size, size)
    wire = json.loads(json.dumps(export_graph(module, example, training=training, pool=pool)))
    tensors = [pool.tensors[key] for *_, key in wire["tensors"]]
    costs = estimate(Graph(wire), tensors, tuple(example.shape))
    shapes = tuple(None if shape is None else tuple(shape) for shape in costs.shapes)
    return Exported(wire, graph_from_wire(wire), safetensors.torch.save(pool.tensors), shapes)


class Functional(nn.Module):
    """A forward written as one function of (module, x)."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(inputs: int = 16, outputs: int = 16, kernel: int = 3, stride: int = 1, **more: Any) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, **more)


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU())


class Gate(nn.Module):
    """Squeeze and excitation, with 1×1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    """Two convolutions around an identity or a 1×1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(conv_norm(inputs, outputs, stride), conv(outputs, outputs), nn.BatchNorm2d(outputs))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


class Parallel(nn.Module):
    """Two kernel sizes side by side, concatenated."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wide, self.narrow = conv_norm(inputs, outputs // 2), nn.Conv2d(inputs, outputs // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.wide(x), self.narrow(x)], 1)


def pooled_head(inputs: int = 256) -> nn.Sequential:
    """The reference's head."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(inputs, 10))


def four_blocks(block: Callable[[int, int], nn.Module], head: nn.Module | None = None) -> nn.Sequential:
    """A network of four blocks with the asked widths."""
    return nn.Sequential(*[block(i, o) for i, o in STEPS], head or pooled_head())


def reference() -> nn.Sequential:
    """The lesson's DeeperCNN: 391,946 parameters."""
    return four_blocks(lambda i, o: nn.Sequential(conv_norm(i, o), nn.MaxPool2d(2)))


DEEPER: dict[str, Callable[[], nn.Module]] = {
    "pool at the end": reference,
    "pool at the start": lambda: four_blocks(lambda i, o: nn.Sequential(nn.MaxPool2d(2), conv_norm(i, o))),
    "stride": lambda: four_blocks(lambda i, o: conv_norm(i, o, 2)),
    "two convolutions": lambda: four_blocks(
        lambda i, o: nn.Sequential(conv_norm(i, o), conv_norm(o, o), nn.MaxPool2d(2))
    ),
    "two, stride in the first": lambda: four_blocks(lambda i, o: nn.Sequential(conv_norm(i, o, 2), conv_norm(o, o))),
    "two, stride in the second": lambda: four_blocks(lambda i, o: nn.Sequential(conv_norm(i, o), conv_norm(o, o, 2))),
    "norm before convolution": lambda: four_blocks(
        lambda i, o: nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), conv(i, o), nn.AvgPool2d(2))
    ),
    "norm before strided convolution": lambda: four_blocks(
        lambda i, o: nn.Sequential(nn.BatchNorm2d(i), nn.SiLU(), conv(i, o, stride=2))
    ),
    "residual": lambda: four_blocks(lambda i, o: Residual(i, o, 2)),
    "residual, then pool": lambda: four_blocks(lambda i, o: nn.Sequential(Residual(i, o), nn.MaxPool2d(2))),
    "gated": lambda: four_blocks(lambda i, o: nn.Sequential(conv_norm(i, o), Gate(o), nn.MaxPool2d(2))),
    "parallel kernels": lambda: four_blocks(lambda i, o: nn.Sequential(Parallel(i, o), nn.MaxPool2d(2))),
    "bottleneck": lambda: four_blocks(
        lambda i, o: nn.Sequential(
            conv(i, o // 4, 1), nn.BatchNorm2d(o // 4), conv(o // 4, o // 4, stride=2), nn.GELU(), conv(o // 4, o, 1)
        )
    ),
    "1×1 convolution as classifier": lambda: four_blocks(
        lambda i, o: nn.Sequential(conv_norm(i, o), nn.MaxPool2d(2)),
        nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(256, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ),
}
