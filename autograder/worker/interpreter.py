"""Run a model graph node by node; nothing in a graph is compiled, evaluated or looked up by a name from outside.

Operations come from a table of overload objects that is built from the exporter's own list. The graph is expected to
have been checked by the trusted side; what can only be known while running (sizes, memory, writes) is checked here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from autograder.worker.exporter import SUPPORTED_OPERATIONS

MAX_LIST_OUTPUT = 4_096
MAX_SIZE = 2**40
_SPLITTERS = frozenset({"unbind", "split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split", "tensor_split"})
_DTYPES = {
    name: getattr(torch, name)
    for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
}
_PYTHON: dict[str, Callable[..., Any]] = {
    f"operator.{f.__name__}": f
    for f in (
        operator.getitem,
        operator.add,
        operator.sub,
        operator.mul,
        operator.floordiv,
        operator.truediv,
        operator.mod,
        operator.neg,
    )
}


class GraphError(ValueError):
    """A graph that cannot be run, or may not; the message is for the student. `line` is 0 where unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Call:
    """One operation of the table with its schema: how to bind arguments, which are written."""

    def __init__(self, name: str) -> None:
        _, operation, overload = name.split(".")
        self.name = name
        self.operation = operation
        self.overload: Any = getattr(getattr(torch.ops.aten, operation), overload)
        arguments = self.overload._schema.arguments
        self.named = {i: a.name for i, a in enumerate(arguments) if a.kwarg_only}
        self.devices = {i for i, a in enumerate(arguments) if "Device" in str(a.real_type)}
        self.formats = {i for i, a in enumerate(arguments) if str(a.real_type) == "MemoryFormat"}
        self.written = {i for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write}


_CALLS = {name: Call(name) for name in SUPPORTED_OPERATIONS if name.startswith("aten.")}


class Graph:
    """A wire graph made ready to run: operations resolved, the last use of every value known."""

    def __init__(self, wire: dict[str, Any]) -> None:
        self.wire = wire
        self.training: bool = wire["training"]
        self.tensors: list[list[Any]] = wire["tensors"]
        self.nodes: list[list[Any]] = wire["nodes"]
        for node in self.nodes:
            if node[0] == "call" and node[1] not in _CALLS and node[1] not in _PYTHON:
                raise GraphError("the graph holds an operation that is not in the table")
        # What nobody uses goes at once: thousands of such values would stay to the end.
        last = {index: index for index, node in enumerate(self.nodes) if node[0] == "call"}
        for index, node in enumerate(self.nodes):
            for used in _references(node):
                last[used] = index
        self.frees: dict[int, list[int]] = {}
        for used, index in last.items():
            self.frees.setdefault(index, []).append(used)
        self.has_writes = any(node[0] == "call" and _writes(node) for node in self.nodes)

    def written_tensors(self) -> set[int]:
        """Numbers of the tensors that a run may change: batch-norm statistics, or buffers updated in place. Those of a
        batch norm in a plain list are constants; which writes are legal was decided when the graph was parsed."""
        tensor_of = {i: node[1] for i, node in enumerate(self.nodes) if node[0] == "tensor"}
        buffers = {number for number in tensor_of.values() if self.tensors[number][0] in ("buffer", "constant")}
        return buffers if self.has_writes else set()


def _writes(node: list[Any]) -> bool:
    call = _CALLS.get(node[1])
    statistics = {"aten.batch_norm.default": 5, "aten.instance_norm.default": 5}.get(node[1])
    return (call is not None and bool(call.written)) or (statistics is not None and node[2][statistics] is True)


def _references(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        if "node" in value:
            yield value["node"]
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


Observer = Callable[[int, list[Any], list[Any], Any], None]
Cut = tuple[int, int]
"""A step and a value that it takes, or EVERY_STEP and a value: there the images of the batch change places."""
EVERY_STEP = -1


def execute(
    graph: Graph,
    tensors: list[Tensor],
    images: Tensor,
    *,
    keep_writes: bool = False,
    observe: Observer | None = None,
    cuts: Collection[Cut] = (),
) -> Tensor:
    """The graph's output for `images` (N, C, H, W); `tensors` are those of the graph, in its order.

    Writes to batch-norm statistics last only with `keep_writes`; without, every run starts from the same state.
    At each of `cuts` a value goes on with the images in reverse order, so that what depends on it changes.
    `observe(index, node, arguments, value)` sees every call's result. Raises GraphError; torch's own errors pass
    through with the student's line as a note (`error.line`).
    """
    if not keep_writes and graph.has_writes:
        written = graph.written_tensors()
        tensors = [tensor.clone() if number in written else tensor for number, tensor in enumerate(tensors)]
    elif graph.has_writes:
        written = graph.written_tensors()
    else:
        written = set()
    frozen = {_memory(t) for number, t in enumerate(tensors) if number not in written} if graph.has_writes else set()
    frozen.add(_memory(images))
    values: list[Any] = []
    with ExitStack() as regions:
        current = 0
        for index, node in enumerate(graph.nodes):
            kind = node[0]
            whole = {place: values[place] for step, place in cuts if step == index}
            for place, value in whole.items():
                values[place] = _turned(value, len(images))
            if kind == "call":
                if node[4] != current:
                    regions.close()
                    current = node[4]
                    _enter(graph.wire["regions"], current, images.device.type, regions)
                values.append(_run(node, values, images.device, frozen, observe, index))
            elif kind == "tensor":
                values.append(tensors[node[1]])
            elif kind == "input":
                values.append(images)
            else:
                output: Tensor = _decode(node[1], values)
                return output
            for place, value in whole.items():
                values[place] = value
            if (EVERY_STEP, index) in cuts:
                values[index] = _turned(values[index], len(images))
            for used in graph.frees.get(index, ()):
                values[used] = None
    raise GraphError("the graph has no output")


def _turned(value: Any, images: int) -> Any:
    """A value with the images in reverse order; where its first axis are not the images, with all entries so."""
    if not isinstance(value, Tensor):
        raise GraphError("only a tensor can be cut")
    by_image = value.dim() > 0 and len(value) == images
    return value.flip(0) if by_image else value.flatten().flip(0).view(value.shape)


def _run(
    node: list[Any], values: list[Any], device: torch.device, frozen: set[int], observe: Observer | None, index: int
) -> Any:
    arguments = [_decode(argument, values) for argument in node[2]]
    try:
        value = _call(node[1], arguments, device, frozen)
    except GraphError as error:
        error.line = error.line or node[3]
        raise
    except Exception as error:
        error.line = node[3]  # type: ignore[attr-defined]
        raise
    if observe is not None:
        observe(index, node, arguments, value)
    return value


def _call(name: str, arguments: list[Any], device: torch.device, frozen: set[int]) -> Any:
    if name in _PYTHON:
        value = _PYTHON[name](*arguments)
        if isinstance(value, (int, float)) and abs(value) > MAX_SIZE:
            raise GraphError(f"{name}: a size of more than {MAX_SIZE:,}")
        return value
    call = _CALLS[name]
    for place in call.written:
        if _memory(arguments[place]) in frozen:
            raise GraphError(f"{name} writes into the input or a weight of the model")
    if call.operation in _SPLITTERS:
        _check_list(call.operation, arguments)
    elif call.operation == "index_put_":
        _check_places(*arguments[:3])
    for place in call.devices:
        arguments[place] = device
    for place in call.formats:
        arguments[place] = torch.contiguous_format
    if name == "aten.view.default":
        return _view(*arguments)
    named = {label: arguments[place] for place, label in call.named.items()}
    return call.overload(*(a for place, a in enumerate(arguments) if place not in call.named), **named)


def _check_list(operation: str, arguments: list[Any]) -> None:
    """Bound a list of results before it exists: a million views cost a gigabyte, even of meta tensors."""
    tensor, parts = arguments[0], arguments[1]
    dim = arguments[-1] if operation != "unbind" else parts
    size = tensor.shape[dim] if tensor.dim() else 1
    if operation == "unbind":
        count = size
    elif isinstance(parts, list):
        count = len(parts) + 1
    elif operation in {"split", "unsafe_split"}:
        count = -(-size // parts) if parts > 0 else size
    else:
        count = parts
    if count > MAX_LIST_OUTPUT:
        raise GraphError(f"{operation} makes {count:,} tensors, at most {MAX_LIST_OUTPUT:,} are allowed")


def _check_places(tensor: Tensor, indices: list[Tensor | None], values: Tensor) -> None:
    """Bound a write by index. torch turns a mask into a list of places, many times its size, unless it fills them with
    one value; and integers may name one place over and over."""
    given = [index for index in indices if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in given):
        if values.numel() != 1:
            raise GraphError("x[mask] = values: only a single value can be written through a mask; use torch.where")
        return
    shape = torch.broadcast_shapes(*(index.shape for index in given))  # type: ignore[no-untyped-call]
    if math.prod(shape) > tensor.numel():
        raise GraphError("a write by index names more places than the tensor has entries")


def _view(tensor: Tensor, size: list[int]) -> Tensor:
    """view, which the memory order decides: the grader runs channels-last, the student's own code may not have."""
    try:
        return tensor.view(size)
    except RuntimeError:
        return tensor.reshape(size)


def _memory(tensor: Tensor) -> int:
    """Identity of a tensor's storage, which views share; meta tensors have no address but they have a storage."""
    return int(tensor.untyped_storage()._cdata)


def _decode(value: Any, values: list[Any]) -> Any:
    if isinstance(value, dict):
        if "node" in value:
            return values[value["node"]]
        return _DTYPES[value["dtype"]] if "dtype" in value else float(value["float"])
    return [_decode(item, values) for item in value] if isinstance(value, list) else value


@contextmanager
def _grad(enabled: bool) -> Iterator[None]:
    """A no_grad region; inside inference mode there is nothing to switch."""
    with torch.set_grad_enabled(enabled and not torch.is_inference_mode_enabled()):
        yield


def _enter(regions: list[list[Any]], region: int, device: str, stack: ExitStack) -> None:
    """Enter a region's contexts, outermost first."""
    if not region:
        return
    parent, kind, *settings = regions[region - 1]
    _enter(regions, parent, device, stack)
    if kind == "grad":
        stack.enter_context(_grad(settings[0]))
    else:
        # Shapes are found with meta tensors, for which autocast does not exist and whose dtypes are not looked at.
        device = "cpu" if device == "meta" else device
        stack.enter_context(torch.autocast(device, dtype=_DTYPES[settings[0]], enabled=settings[1]))
