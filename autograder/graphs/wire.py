"""The closed format in which a model graph leaves the jail: parsed and bounded without torch, and written out again.

What comes out of the jail is a claim. `graph_from_wire` accepts a closed format only: operations from our table,
arguments of the kinds that the operation's schema asks for, references to earlier nodes, bounded numbers, no writes to
the input or to weights. Nothing in a graph is ever evaluated as text; a parsed graph is written out again
(`graph_to_wire`) before it goes to the runner, so that the runner sees only what has been checked.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from autograder.graphs.model_graph import (
    DType,
    GraphRefused,
    ModelGraph,
    Node,
    Ref,
    Region,
    TensorInfo,
    Value,
    references,
)
from autograder.graphs.operations import (
    EINSUM,
    EINSUM_EQUATION,
    GETITEM,
    OPERATIONS,
    RANDOM,
    SIZE_OPERATIONS,
    TEXTS,
    WEIGHT_STARTS,
    Operation,
)
from autograder.graphs.tensor_file import SAFETENSORS_DTYPES

MAX_NODES = 20_000
MAX_TENSORS = 10_000
MAX_REGIONS = 1_000
MAX_REGION_DEPTH = 16
MAX_RANK = 8
MAX_DIMENSION = 2**24
MAX_ELEMENTS = 2**28  # of one tensor or one input: 1 GiB of float32
MAX_INTEGER = 2**31
MAX_INTEGERS_IN_LIST = 64
MAX_TENSORS_IN_LIST = 1_024
MAX_ITEM = 4_096  # index into a list of results; the runner bounds the list itself
MAX_SHARED = 64  # input and weights that one value may be a view of: one, in an honest graph
MAX_NAME = 200
MAX_LINE = 10**9

_LAST = 2**63 - 1  # torch writes "to the end" of a slice so
_KEY = re.compile(r"t\d{1,6}")
_DTYPES = frozenset(SAFETENSORS_DTYPES) | {"bfloat16"}


def graph_from_wire(wire: object) -> ModelGraph:
    """Parse and check the data of one export. Raises GraphRefused."""
    return _Parser().parse(wire)


def graph_to_wire(graph: ModelGraph) -> dict[str, Any]:
    """The checked graph as data again, in the format that graph_from_wire reads."""
    return {
        "version": 1,
        "training": graph.training,
        "batch": "dynamic" if graph.batch is None else graph.batch,
        "input_shape": list(graph.input_shape),
        "tensors": [[t.kind, t.name, t.dtype, list(t.shape), t.key] for t in graph.tensors],
        "regions": [_encode_region(region) for region in graph.regions],
        "nodes": [_encode_node(node) for node in graph.nodes],
    }


def _encode_node(node: Node) -> list[Any]:
    if node.kind == "input":
        return ["input"]
    if node.kind == "tensor":
        return ["tensor", node.tensor]
    if node.kind == "output":
        return ["output", _encode(node.args[0])]
    return ["call", node.operation, [_encode(value) for value in node.args], node.line, node.region]


def _encode_region(region: Region) -> list[Any]:
    middle = [region.dtype] if region.kind == "autocast" else []
    return [region.parent, region.kind, *middle, region.setting]


def _encode(value: Value) -> Any:
    if isinstance(value, Ref):
        return {"node": value.index}
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


@dataclass
class _Parser:
    """Checks one wire graph, front to back; `types` and `roots` grow with the nodes."""

    tensors: tuple[TensorInfo, ...] = ()
    regions: tuple[Region, ...] = ()
    training: bool = False
    nodes: list[Node] = field(default_factory=list)
    types: list[str] = field(default_factory=list)  # "tensor", "int", "float", "list", or "2" for two results
    roots: list[frozenset[int]] = field(default_factory=list)  # input and tensor nodes whose memory a value may share
    starts: set[int] = field(default_factory=set)  # nodes that are a new tensor of zeros, detached or not
    line: int = 0

    def parse(self, wire: object) -> ModelGraph:
        fields = {"version", "training", "batch", "input_shape", "tensors", "regions", "nodes"}
        if not isinstance(wire, dict) or set(wire) != fields:
            self.refuse(f"a model graph has the fields {', '.join(sorted(fields))}")
        if wire["version"] != 1 or isinstance(wire["version"], bool):
            self.refuse("the model graph has a version that this grader does not read")
        if not isinstance(wire["training"], bool):
            self.refuse("training must be true or false")
        self.training = wire["training"]
        input_shape = self.shape(wire["input_shape"], "input_shape", least=1)
        batch = self.batch(wire["batch"], input_shape)
        self.tensors = tuple(self.tensor(entry) for entry in self.items(wire["tensors"], "tensors", MAX_TENSORS))
        names = {tensor.name for tensor in self.tensors}
        if len(names) != len(self.tensors):
            self.refuse("two tensors have the same name")
        for entry in self.items(wire["regions"], "regions", MAX_REGIONS):
            self.regions += (self.region(entry),)
        entries = self.items(wire["nodes"], "nodes", MAX_NODES)
        for entry in entries:
            self.line = 0
            self.node(entry, last=len(self.nodes) == len(entries) - 1)
        kinds = [node.kind for node in self.nodes]
        if kinds.count("input") != 1 or kinds.count("output") != 1 or len(input_shape) == 0:
            self.refuse("a model graph has one input and ends with one output")
        used = [node.tensor for node in self.nodes if node.kind == "tensor"]
        if len(set(used)) != len(used):
            self.refuse("one tensor is two nodes")
        return ModelGraph(tuple(self.nodes), self.tensors, self.regions, self.training, batch, input_shape)

    def refuse(self, message: str) -> NoReturn:
        raise GraphRefused(message, self.line)

    def items(self, value: object, what: str, limit: int) -> list[Any]:
        if not isinstance(value, list) or len(value) > limit:
            self.refuse(f"{what}: expected a list of at most {limit:,} entries")
        return value

    def integer(self, value: object, what: str, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            self.refuse(f"{what}: expected an integer from {low:,} to {high:,}")
        return value

    def shape(self, value: object, what: str, least: int) -> tuple[int, ...]:
        sizes = self.items(value, what, MAX_RANK)
        shape = tuple(self.integer(size, what, least, MAX_DIMENSION) for size in sizes)
        if math.prod(size for size in shape if size) > MAX_ELEMENTS:  # torch multiplies what is beside a zero, too
            self.refuse(f"{what}: more than {MAX_ELEMENTS:,} elements")
        return shape

    def batch(self, value: object, input_shape: tuple[int, ...]) -> int | None:
        if value == "dynamic":
            return None
        if not input_shape or self.integer(value, "batch", 1, MAX_DIMENSION) != input_shape[0]:
            self.refuse("batch differs from input_shape")
        return input_shape[0]

    def tensor(self, entry: object) -> TensorInfo:
        if not isinstance(entry, list) or len(entry) != 5 or not all(isinstance(entry[i], str) for i in (0, 1, 2, 4)):
            self.refuse("tensors: expected [kind, name, dtype, shape, key]")
        kind, name, dtype, shape, key = entry
        if kind not in {"parameter", "frozen", "buffer", "constant"}:
            self.refuse("tensors: unknown kind")
        # Names go into messages: no line breaks, no escape sequences, no lone surrogates.
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            self.refuse("tensors: a name must be printable and short")
        if dtype == "bfloat16":
            self.refuse(f"{name}: bfloat16 weights are not supported; keep the model in float32")
        if dtype not in SAFETENSORS_DTYPES:
            self.refuse(f"{name}: unknown dtype")
        if not _KEY.fullmatch(key):
            self.refuse(f"{name}: a key is t and a number")
        return TensorInfo(kind, name, dtype, self.shape(shape, f"the shape of {name}", least=0), key)

    def region(self, entry: object) -> Region:
        if not isinstance(entry, list) or not 3 <= len(entry) <= 4 or not isinstance(entry[-1], bool):
            self.refuse("regions: expected [parent, kind, ...]")
        parent = self.integer(entry[0], "the parent of a region", 0, len(self.regions))
        depth, outer = 1, parent
        while outer:
            depth, outer = depth + 1, self.regions[outer - 1].parent
        if depth > MAX_REGION_DEPTH:
            self.refuse(f"regions are nested more than {MAX_REGION_DEPTH} deep")
        if entry[1] == "grad" and len(entry) == 3:
            return Region(parent, "grad", entry[-1])
        if entry[1] == "autocast" and len(entry) == 4 and entry[2] in {"bfloat16", "float16", "float32"}:
            return Region(parent, "autocast", entry[-1], entry[2])
        raise GraphRefused("regions: unknown kind", self.line)

    def grad(self, region: int) -> bool:
        while region:
            if self.regions[region - 1].kind == "grad":
                return self.regions[region - 1].setting
            region = self.regions[region - 1].parent
        return True

    def node(self, entry: object, last: bool) -> None:
        index = len(self.nodes)
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            self.refuse("nodes: expected [kind, ...]")
        kind = entry[0]
        if (kind == "output") != last:
            self.refuse("a model graph ends with its one output")
        if kind == "input" and len(entry) == 1:
            self.add(Node(index, "input"), "tensor", frozenset({index}))
        elif kind == "tensor" and len(entry) == 2:
            number = self.integer(entry[1], "the number of a tensor", 0, len(self.tensors) - 1)
            self.add(Node(index, "tensor", tensor=number), "tensor", frozenset({index}))
        elif kind == "output" and len(entry) == 2:
            value = self.reference(entry[1], {"tensor"}, "output")
            self.add(Node(index, "output", args=(value,)), "tensor", frozenset())
        elif kind == "call" and len(entry) == 5:
            self.call(index, *entry[1:])
        else:
            self.refuse("nodes: unknown kind of node, or a wrong number of fields")

    def add(self, node: Node, type_name: str, roots: frozenset[int]) -> None:
        self.nodes.append(node)
        self.types.append(type_name)
        self.roots.append(roots)

    def call(self, index: int, name: object, arguments: object, line: object, region: object) -> None:
        self.line = self.integer(line, "line", 0, MAX_LINE)
        place = self.integer(region, "region", 0, len(self.regions))
        if not isinstance(name, str):
            self.refuse("nodes: the name of an operation is a string")
        values = self.items(arguments, "arguments", MAX_INTEGERS_IN_LIST)
        if name == GETITEM or name in SIZE_OPERATIONS:
            args, type_name, roots = self.python_call(name, values)
        elif name in OPERATIONS:
            args, type_name, roots = self.aten_call(OPERATIONS[name], values)
        else:
            shown = name if re.fullmatch(r"[\w.]{1,80}", name) else "with a name that no operation has"
            self.refuse(f"the model uses the operation {shown}, which a model graph cannot hold")
        self.add(Node(index, "call", name, args, self.line, place, self.grad(place)), type_name, roots)

    def starts_weights(self, name: str, values: list[Any]) -> bool:
        """Whether random numbers are the first values of weights that forward makes anew at each call.

        `nn.Linear(8, 4)(x)` in forward does so: a mistake, but one that costs a check and not the whole graph.
        """
        source = values[0].get("node") if values and isinstance(values[0], dict) else None
        return name in WEIGHT_STARTS and type(source) is int and source in self.starts

    def aten_call(self, operation: Operation, values: list[Any]) -> tuple[tuple[Value, ...], str, frozenset[int]]:
        name = operation.name
        if len(values) != len(operation.kinds):
            self.refuse(f"{name} takes {len(operation.kinds)} arguments, got {len(values)}")
        if name in RANDOM and not self.training and not self.starts_weights(name, values):
            self.refuse(f"{name} draws random numbers in evaluation mode; only training may be random")
        args: list[Value] = []
        roots = frozenset[int]()
        for place, (kind, value) in enumerate(zip(operation.kinds, values, strict=True)):
            argument = self.argument(name, kind.rstrip("!&"), value, first=place == 0)
            args.append(argument)
            if kind.endswith(("!", "&")):
                shared = frozenset[int]().union(*(self.roots[i] for i in references(argument)))
                if kind.endswith("!"):
                    self.check_write(name, shared)
                roots |= shared
        if len(roots) > MAX_SHARED:  # a set of thousands for each of thousands of nodes takes gigabytes
            self.refuse(f"{name}: a value that shares memory with more than {MAX_SHARED} weights")
        if name == "aten.zeros.default" or (name == "aten.detach.default" and set(references(args[0])) <= self.starts):
            self.starts.add(len(self.nodes))
        returns = operation.returns
        type_name = {"Tensor": "tensor", "int": "int", "Tensor[]": "list"}[returns[0]]
        return tuple(args), str(len(returns)) if len(returns) > 1 else type_name, roots

    def check_write(self, name: str, roots: frozenset[int]) -> None:
        """Refuse writes that outlive a run. Batch norm's statistics (buffers) change while training, nothing else."""
        for root in roots:
            node = self.nodes[root]
            if node.kind == "input":
                self.refuse(f"{name} writes into the model's input")
            tensor = self.tensors[node.tensor]
            if tensor.kind == "constant" and tensor.dtype == "int64" and not tensor.shape:
                continue  # a batch norm in a plain list, which eval() does not reach, goes on counting its batches
            if tensor.kind != "buffer" or not self.training:
                self.refuse(f"{name} writes into {tensor.name} ({tensor.kind}) while the model runs")

    def python_call(self, name: str, values: list[Any]) -> tuple[tuple[Value, ...], str, frozenset[int]]:
        if len(values) != (1 if name == "operator.neg" else 2):
            self.refuse(f"{name}: wrong number of arguments")
        if name == GETITEM:
            source = self.reference(values[0], {"list", "2", "3"}, name)
            type_name = self.types[source.index]
            limit = MAX_ITEM if type_name == "list" else int(type_name)
            item = self.integer(values[1], "the index into several results", -limit, limit - 1)
            return (source, item), "tensor", self.roots[source.index]
        args = tuple(self.number(value, name, {"int", "float"}) for value in values)
        whole = all(isinstance(a, int) or (isinstance(a, Ref) and self.types[a.index] == "int") for a in args)
        return args, "int" if whole and name != "operator.truediv" else "float", frozenset()

    def reference(self, value: object, types: set[str], what: str) -> Ref:
        if not isinstance(value, dict) or set(value) != {"node"}:
            self.refuse(f"{what}: expected a reference to a node")
        index = self.integer(value["node"], f"{what}: the number of a node", 0, len(self.nodes) - 1)
        if self.types[index] not in types:
            self.refuse(f"{what}: a value of the wrong type")
        return Ref(index)

    def number(self, value: object, what: str, types: set[str]) -> Value:
        if isinstance(value, dict) and set(value) == {"float"} and "float" in types:
            if value["float"] not in ("inf", "-inf", "nan"):
                self.refuse(f"{what}: unknown number")
            return float(value["float"])
        if isinstance(value, dict):
            return self.reference(value, types, what)
        if type(value) is int and value == _LAST:
            return value
        if type(value) is int:
            return self.integer(value, what, -MAX_INTEGER, MAX_INTEGER)
        if isinstance(value, float) and math.isfinite(value) and "float" in types:
            return value
        raise GraphRefused(f"{what}: expected a number", self.line)

    def argument(self, name: str, kind: str, value: object, first: bool) -> Value:
        """One argument, checked against its kind in the table of operations."""
        if kind.endswith("?"):
            return None if value is None and kind != "str?" else self.argument(name, kind[:-1], value, first)
        if kind.endswith("[]"):
            return self.arguments(name, kind[:-2], value)
        if kind == "Tensor":
            # A number may stand for a tensor (x + 1), but never for the tensor that an operation works on.
            return self.reference(value, {"tensor"}, name) if first else self.tensor_or_number(value, name)
        if kind == "bool":
            if not isinstance(value, bool):
                self.refuse(f"{name}: expected true or false")
            return value
        if kind in {"int", "float", "Scalar"}:
            if kind == "Scalar" and isinstance(value, bool):
                return value
            return self.number(value, name, {"int"} if kind == "int" else {"int", "float"})
        if kind == "str":
            return self.text(name, value)
        if kind == "ScalarType":
            if not isinstance(value, dict) or set(value) != {"dtype"} or value["dtype"] not in _DTYPES:
                self.refuse(f"{name}: unknown dtype")
            return DType(value["dtype"])
        if kind in {"Device", "Layout", "MemoryFormat", "Generator"} and value is None:
            return None  # where and how a graph runs is the runner's choice
        raise GraphRefused(f"{name}: an argument that must be empty is not", self.line)

    def arguments(self, name: str, kind: str, value: object) -> Value:
        if kind == "int" and not isinstance(value, list):
            return self.number(value, name, {"int"})
        limit = MAX_TENSORS_IN_LIST if kind.startswith("Tensor") else MAX_INTEGERS_IN_LIST
        return tuple(self.argument(name, kind, item, first=kind == "Tensor") for item in self.items(value, name, limit))

    def tensor_or_number(self, value: object, name: str) -> Value:
        if isinstance(value, bool):
            return value
        if isinstance(value, dict) and set(value) == {"node"}:
            return self.reference(value, {"tensor", "int", "float"}, name)
        return self.number(value, name, {"int", "float"})

    def text(self, name: str, value: object) -> str | None:
        known = isinstance(value, str) and name == EINSUM and EINSUM_EQUATION.fullmatch(value)
        if not known and not ((value is None or isinstance(value, str)) and value in TEXTS.get(name, ())):
            self.refuse(f"{name}: a setting that the operation does not know")
        return value if isinstance(value, str) else None
