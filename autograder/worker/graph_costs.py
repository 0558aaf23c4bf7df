"""What a model graph would cost in time and memory, found with meta tensors before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from autograder.worker.interpreter import Graph, GraphError, execute

MAX_RANK = 12
MAX_ELEMENTS = 2**31  # of one value
MAX_MACS_PER_IMAGE = 10**11  # 66 times the students' budget: a guard against ruin, not a rule
# A value read or written takes a nanosecond or so. Of 51 known designs the largest at CIFAR's size touches a hundredth
# of this, torchvision's MaxViT at 224×224 a tenth.
MAX_TOUCHED_PER_IMAGE = 2 * 10**9
MAX_LISTED = 200_000  # tensors that splitting operations may make in all: a microsecond and a kilobyte each
# Steps per value read, where that is more than a few.
_STEPS = {"sort": 32, "topk": 32, "median": 32, "grid_sampler": 16} | dict.fromkeys(
    ("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa"), 16
)


@dataclass
class Costs:
    """Of one run: a shape per node (None where its value is no tensor), multiply-accumulates, values read and written,
    bytes alive at most."""

    shapes: list[list[int] | None]
    macs: int = 0
    touched: int = 0
    peak_bytes: int = 0


@dataclass
class _Meter:
    """Watches a run on meta tensors. Values share storages as they would in a real run, so views cost nothing."""

    graph: Graph
    costs: Costs
    held: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # node -> storages of its value
    users: dict[int, int] = field(default_factory=dict)  # storage -> how many live nodes hold it
    live_bytes: int = 0
    images: int = 1
    listed: int = 0

    def __call__(self, index: int, node: list[Any], arguments: list[Any], value: Any) -> None:
        tensors = list(_tensors(value))
        for tensor in tensors:
            if tensor.dim() > MAX_RANK or tensor.numel() > MAX_ELEMENTS:
                raise GraphError(
                    f"{node[1]} makes a value of shape {tuple(tensor.shape)[:MAX_RANK]}, which is too large"
                )
        if isinstance(value, Tensor):
            self.costs.shapes[index] = list(value.shape)
        self.costs.macs += _macs(node[1], arguments, value)
        if self.costs.macs > MAX_MACS_PER_IMAGE * self.images:
            raise GraphError(f"the model needs more than {MAX_MACS_PER_IMAGE / 1e9:,.0f} GMAC per image")
        self.costs.touched += _touched(node[1], arguments, tensors)
        if self.costs.touched > MAX_TOUCHED_PER_IMAGE * self.images:
            raise GraphError(
                f"the model reads and writes more than {MAX_TOUCHED_PER_IMAGE / 1e9:,.0f} billion values per image, "
                "beside its multiplications"
            )
        self.listed += len(tensors) if isinstance(value, (list, tuple)) else 0
        if self.listed > MAX_LISTED:
            raise GraphError(f"the model is cut into more than {MAX_LISTED:,} pieces")
        self._hold(index, tensors)
        for used in self.graph.frees.get(index, ()):
            self._release(used)

    def _hold(self, index: int, tensors: list[Tensor]) -> None:
        self.held[index] = [(t.untyped_storage()._cdata, t.untyped_storage().nbytes()) for t in tensors]
        for storage, size in self.held[index]:
            if not self.users.get(storage):
                self.live_bytes += size
            self.users[storage] = self.users.get(storage, 0) + 1
        self.costs.peak_bytes = max(self.costs.peak_bytes, self.live_bytes)

    def _release(self, index: int) -> None:
        for storage, size in self.held.pop(index, ()):
            self.users[storage] -= 1
            if not self.users[storage]:
                self.live_bytes -= size


def estimate(graph: Graph, tensors: list[Tensor], shape: tuple[int, ...]) -> Costs:
    """Costs of running the graph on images of `shape` (N, C, H, W). Raises GraphError, or torch's error of the shape.

    The peak counts what the graph's own values need, as the interpreter frees them; the library's scratch memory and
    what a gradient keeps come on top.
    """
    costs = Costs(shapes=[None] * len(graph.nodes))
    meter = _Meter(graph, costs, images=max(shape[0], 1))
    images = torch.empty(shape, device="meta")
    stand_ins = {id(tensor): tensor.detach().to("meta") for tensor in tensors}
    with torch.no_grad():
        output = execute(graph, [stand_ins[id(tensor)] for tensor in tensors], images, observe=meter)
    for index, node in enumerate(graph.nodes):
        if node[0] == "input":
            costs.shapes[index] = list(shape)
        elif node[0] == "tensor":
            costs.shapes[index] = list(tensors[node[1]].shape)
        elif node[0] == "output":
            costs.shapes[index] = list(output.shape)
    costs.peak_bytes += images.numel() * 4
    return costs


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _touched(name: str, arguments: list[Any], made: list[Tensor]) -> int:
    """Values that an operation reads and writes, in steps of about a nanosecond: what is no multiplication takes time,
    too. A view takes none."""
    operation = name.split(".")[1]
    read = [tensor for argument in arguments for tensor in _tensors(argument)]
    if not operation.endswith("_"):
        shared = {tensor.untyped_storage()._cdata for tensor in read}
        made = [tensor for tensor in made if tensor.untyped_storage()._cdata not in shared]
        if not made:
            return 0
    written = sum(tensor.numel() for tensor in made)
    if operation.startswith(("max_pool", "avg_pool")):
        return written * _window(arguments[1], made[0].dim() - 1)
    return (written + sum(tensor.numel() for tensor in read)) * _STEPS.get(operation, 1)


def _window(kernel: int | list[int], most: int) -> int:
    """How many values a pooling window holds; one number stands for all its sides, of which there may be `most`."""
    sides = [kernel] if isinstance(kernel, int) else kernel
    return math.prod(sides * (min(most, 3) if len(sides) == 1 else 1))


def _macs(name: str, arguments: list[Any], value: Any) -> int:
    """Multiply-accumulates of convolutions, linear layers, matrix products and attention; others count as none."""
    operation = name.split(".")[1]
    if operation.startswith("conv_transpose"):
        return int(arguments[0].numel() * math.prod(arguments[1].shape[1:]))
    if operation.startswith("conv"):
        return int(value.numel() * math.prod(arguments[1].shape[1:]))
    if operation in {"linear", "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"}:
        return int(value.numel() * (arguments[0].shape[-1] if arguments[0].dim() else 1))
    if operation == "bilinear":
        return int(value.numel() * arguments[0].shape[-1] * arguments[1].shape[-1])
    if operation in {"addmm", "baddbmm"}:
        return int(value.numel() * arguments[1].shape[-1])
    if operation == "tensordot":
        return int(value.numel() * math.prod(arguments[0].shape[dim] for dim in arguments[2]))
    if operation == "scaled_dot_product_attention":
        keys = arguments[1].shape[-2]
        return int((arguments[0].numel() + value.numel()) * keys)
    return _einsum_macs(arguments) if operation == "einsum" else 0


def _einsum_macs(arguments: list[Any]) -> int:
    """Upper bound: the product of all index ranges; an ellipsis stands for the remaining dimensions."""
    ranges: dict[str, int] = {}
    rest = 1
    for subscript, tensor in zip(arguments[0].split("->")[0].replace(" ", "").split(","), arguments[1], strict=True):
        head, dots, tail = subscript.partition("...")
        letters = list(head) + list(tail)
        for letter, size in zip(head, tensor.shape, strict=False):
            ranges[letter] = max(size, ranges.get(letter, 1))
        if dots:
            if tail:
                ranges |= dict(zip(tail, tensor.shape[-len(tail) :], strict=False))
            rest = max(rest, tensor.numel() // max(math.prod(ranges[letter] for letter in letters), 1))
    return math.prod(ranges.values()) * rest
