"""Graphs as data: forged ones are refused, weights bind by name, and every way to write a design is seen the same."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.graphs.analysis import (
    additions,
    batch_norms,
    blocks,
    convolutions,
    detached,
    dropouts,
    halved_times,
    head,
    linears,
    map_sizes,
    overwritten,
    parameter_count,
    residual_additions,
)
from autograder.graphs.analysis.flow import TooTangled
from autograder.graphs.model_graph import GraphRefused
from autograder.graphs.state import WeightsDoNotFit, bind_tensors, check_tensors, state_differences
from autograder.graphs.wire import MAX_NODES, graph_from_wire, graph_to_wire
from tests.graph_models import (
    DEEPER,
    WIDTHS,
    Functional,
    Gate,
    Residual,
    conv,
    conv_norm,
    export,
    four_blocks,
    pooled_head,
    reference,
)


@pytest.fixture(scope="module")
def wire() -> dict[str, Any]:
    """A small honest graph, to be forged."""
    torch.set_num_threads(1)
    return export(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout())).wire


def call(wire: dict[str, Any], operation: str) -> list[Any]:
    """The first call of an operation."""
    return next(node for node in wire["nodes"] if node[0] == "call" and operation in node[1])


def insert(wire: dict[str, Any], *nodes: Any) -> None:
    """Put nodes before the output, and return the last of them."""
    wire["nodes"][-1:] = [*nodes, ["output", {"node": len(wire["nodes"]) - 2 + len(nodes)}]]


def last(wire: dict[str, Any]) -> dict[str, int]:
    return {"node": len(wire["nodes"]) - 2}


Forge = Callable[[dict[str, Any]], object]
CODE = "__import__('os').system('touch /tmp/trace')"
FORGERIES: dict[str, Forge] = {
    "operation that is code": lambda w: call(w, "conv2d").__setitem__(1, CODE),
    "operation with a dunder": lambda w: call(w, "conv2d").__setitem__(1, "aten.__class__.default"),
    "from_file": lambda w: insert(w, ["call", "aten.from_file.default", ["/etc/passwd", False, 9, None], 0, 0]),
    "as_strided": lambda w: insert(w, ["call", "aten.as_strided.default", [last(w), [9], [1], 0], 0, 0]),
    "uninitialised memory": lambda w: insert(w, ["call", "aten.empty.memory_format", [[9]] + [None] * 5, 0, 0]),
    "noise in evaluation": lambda w: insert(w, ["call", "aten.rand_like.default", [last(w)] + [None] * 5, 0, 0]),
    "in-place on the input": lambda w: insert(
        w, ["call", "aten.relu_.default", [{"node": index_of(w, "input")}], 0, 0]
    ),
    "in-place on a weight": lambda w: insert(
        w, ["call", "aten.zero_.default", [{"node": index_of(w, "tensor")}], 0, 0]
    ),
    "in-place on a view of the input": lambda w: insert(
        w,
        ["call", "aten.view.default", [{"node": index_of(w, "input")}, [-1]], 0, 0],
        ["call", "aten.zero_.default", [{"node": len(w["nodes"]) - 1}], 0, 0],
    ),
    "in-place through evaluated dropout": lambda w: insert(
        w,
        ["call", "aten.dropout.default", [{"node": index_of(w, "input")}, 0.5, False], 0, 0],
        ["call", "aten.zero_.default", [{"node": len(w["nodes"]) - 1}], 0, 0],
    ),
    "reference to a later node": lambda w: call(w, "conv2d")[2].__setitem__(0, {"node": len(w["nodes"]) - 1}),
    "reference to itself": lambda w: call(w, "conv2d")[2].__setitem__(0, {"node": w["nodes"].index(call(w, "conv2d"))}),
    "negative reference": lambda w: call(w, "conv2d")[2].__setitem__(0, {"node": -1}),
    "reference that is a bool": lambda w: call(w, "conv2d")[2].__setitem__(0, {"node": True}),
    "reference with a second key": lambda w: call(w, "conv2d")[2].__setitem__(0, {"node": 0, "dtype": "int64"}),
    "keyword arguments": lambda w: call(w, "conv2d").append({CODE: 1}),
    "too few arguments": lambda w: call(w, "conv2d")[2].pop(),
    "string for an integer": lambda w: call(w, "conv2d")[2].__setitem__(6, CODE),
    "string for a tensor": lambda w: call(w, "conv2d")[2].__setitem__(0, "input"),
    "float for an integer": lambda w: call(w, "conv2d")[2].__setitem__(6, 1.0),
    "huge integer": lambda w: call(w, "conv2d")[2].__setitem__(6, 10**30),
    "long list": lambda w: call(w, "conv2d")[2].__setitem__(3, [1] * 1000),
    "nested list": lambda w: call(w, "conv2d")[2].__setitem__(3, [[1], [1]]),
    "unknown float": lambda w: call(w, "batch_norm")[2].__setitem__(6, {"float": "1e999"}),
    "raw NaN": lambda w: call(w, "batch_norm")[2].__setitem__(6, float("nan")),
    "device": lambda w: insert(w, ["call", "aten.zeros.default", [[2], None, None, "cuda:0", None], 0, 0]),
    "unknown dtype": lambda w: insert(
        w, ["call", "aten.to.dtype", [last(w), {"dtype": CODE}, False, False, None], 0, 0]
    ),
    "einsum that is no equation": lambda w: insert(w, ["call", "aten.einsum.default", [CODE, [last(w)], None], 0, 0]),
    "padding by an unknown name": lambda w: insert(
        w, ["call", "aten.pad.default", [last(w), [1, 1], CODE, None], 0, 0]
    ),
    "item beyond two results": lambda w: insert(
        w,
        ["call", "aten.max.dim", [last(w), 1, False], 0, 0],
        ["call", "operator.getitem", [{"node": len(w["nodes"]) - 1}, 2], 0, 0],
    ),
    "item of a tensor": lambda w: insert(w, ["call", "operator.getitem", [last(w), 0], 0, 0]),
    "several results as one": lambda w: insert(
        w,
        ["call", "aten.max.dim", [last(w), 1, False], 0, 0],
        ["call", "aten.relu.default", [{"node": len(w["nodes"]) - 1}], 0, 0],
    ),
    "random numbers over data": lambda w: insert(w, ["call", "aten.uniform_.default", [last(w), 0.0, 1.0, None], 0, 0]),
    "random numbers over the input": lambda w: insert(
        w, ["call", "aten.normal_.default", [{"node": index_of(w, "input")}, 0.0, 1.0, None], 0, 0]
    ),
    "random numbers where nothing is": lambda w: insert(
        w, ["call", "aten.uniform_.default", [{"node": 10**6}, 0.0, 1.0, None], 0, 0]
    ),
    "power of sizes": lambda w: insert(w, ["call", "operator.pow", [2, 9], 0, 0]),
    "unknown kind of node": lambda w: w["nodes"].insert(0, ["eval", CODE]),
    "node that is text": lambda w: w["nodes"].insert(0, CODE),
    "two inputs": lambda w: w["nodes"].insert(0, ["input"]),
    "no output": lambda w: w["nodes"].pop(),
    "output that is a number": lambda w: w["nodes"][-1].__setitem__(1, 3),
    "too many nodes": lambda w: insert(w, *[["call", "aten.relu.default", [{"node": 0}], 0, 0]] * MAX_NODES),
    "negative line": lambda w: call(w, "conv2d").__setitem__(3, -1),
    "line that is text": lambda w: call(w, "conv2d").__setitem__(3, CODE),
    "unknown region": lambda w: call(w, "conv2d").__setitem__(4, 1),
    "region of a later parent": lambda w: w["regions"].append([7, "grad", False]),
    "deep regions": lambda w: w["regions"].extend([[k, "grad", False] for k in range(100)]),
    "unknown region kind": lambda w: w["regions"].append([0, CODE, False]),
    "unknown field": lambda w: w.__setitem__("code", CODE),
    "other version": lambda w: w.__setitem__("version", 2),
    "version that is a bool": lambda w: w.__setitem__("version", True),
    "unknown kind of tensor": lambda w: w["tensors"][0].__setitem__(0, "secret"),
    "terminal escapes in a name": lambda w: w["tensors"][0].__setitem__(1, "\x1b[2Jweight"),
    "lone surrogate in a name": lambda w: w["tensors"][0].__setitem__(1, "\ud800"),
    "same name twice": lambda w: w["tensors"][0].__setitem__(1, w["tensors"][1][1]),
    "bfloat16 weight": lambda w: w["tensors"][0].__setitem__(2, "bfloat16"),
    "negative size": lambda w: w["tensors"][0].__setitem__(3, [-1]),
    "terabytes of a tensor": lambda w: w["tensors"][0].__setitem__(3, [2**20, 2**20]),
    "nine dimensions": lambda w: w["tensors"][0].__setitem__(3, [1] * 9),
    "key that is a path": lambda w: w["tensors"][0].__setitem__(4, "../t0"),
    "batch that is text": lambda w: w.__setitem__("batch", "static"),
    "another batch": lambda w: w.__setitem__("batch", 5),
    "input of terabytes": lambda w: w.__setitem__("input_shape", [2**20, 2**20, 1, 1]),
    "list for a graph": lambda w: w.clear(),
}


def index_of(wire: dict[str, Any], kind: str) -> int:
    return next(i for i, node in enumerate(wire["nodes"]) if node[0] == kind)


def test_honest_graph_survives_a_round_trip(wire: dict[str, Any]) -> None:
    assert graph_to_wire(graph_from_wire(wire)) == wire


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_graph_is_refused(wire: dict[str, Any], name: str) -> None:
    forged = copy.deepcopy(wire)
    FORGERIES[name](forged)
    with pytest.raises(GraphRefused) as caught:
        graph_from_wire(forged)
    assert CODE not in str(caught.value)  # what a student may be shown is ours
    assert str(caught.value).isprintable()


def test_statistics_may_be_written_in_training_only() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(x.mean((0, 2, 3)), alpha=0.1)
            return x - self.mean.view(1, 3, 1, 1)

    assert export(Counting(), training=True).graph.training
    with pytest.raises(GraphRefused, match="writes into mean"):
        export(Counting())


def test_every_decision_on_tensors_names_them() -> None:
    exported = export(reference())
    check_tensors(exported.graph, exported.blob)
    arrays = safetensors.numpy.load(exported.blob)
    smaller = {**arrays, "t0": arrays["t0"][:1]}
    with pytest.raises(GraphRefused, match=r"0\.0\.0\.weight: the graph declares float32 \(32, 3, 3, 3\)"):
        check_tensors(exported.graph, safetensors.numpy.save(smaller))
    other = {**arrays, "t0": arrays["t0"].astype(np.float64)}
    with pytest.raises(GraphRefused, match="its tensor is F64"):
        check_tensors(exported.graph, safetensors.numpy.save(other))
    del arrays["t0"]
    with pytest.raises(GraphRefused, match="lack t0"):
        check_tensors(exported.graph, safetensors.numpy.save(arrays))


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_truncated_tensors_are_refused(cut: int) -> None:
    exported = export(nn.Sequential(conv(3, 4), nn.Flatten()))
    with pytest.raises(GraphRefused):
        check_tensors(exported.graph, exported.blob[:cut])


def test_weights_bind_by_name_and_misfits_are_listed() -> None:
    exported = export(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.Flatten()))
    state = {t.name: np.ones(t.shape, t.dtype) for t in exported.graph.tensors}
    bound = safetensors.numpy.load(bind_tensors(exported.graph, exported.blob, state))
    assert all((array == 1).all() for array in bound.values())
    without = {name: array for name, array in state.items() if not name.endswith("num_batches_tracked")}
    bind_tensors(exported.graph, exported.blob, {k: v.astype(np.float16) for k, v in without.items()})
    wrong = {**state, "fc.weight": np.ones(3, np.float32), "0.weight": np.ones((4, 1, 3, 3), np.float32)}
    del wrong["0.bias"]
    with pytest.raises(WeightsDoNotFit) as caught:
        bind_tensors(exported.graph, exported.blob, wrong)
    assert str(caught.value) == (
        "the weights do not fit the model: missing 0.bias; unexpected fc.weight; "
        "0.weight has shape (4, 1, 3, 3), expected (4, 3, 3, 3)"
    )


def test_many_misfits_are_counted_not_listed() -> None:
    exported = export(reference())
    with pytest.raises(WeightsDoNotFit, match=r"and \d+ more"):
        bind_tensors(exported.graph, exported.blob, {})


def test_exports_of_one_build_agree_and_others_differ() -> None:
    module = reference()
    evaluation, training = export(module).graph, export(module, training=True).graph
    assert state_differences(evaluation, training) == []
    assert state_differences(evaluation, export(four_blocks(conv_norm, pooled_head())).graph)


# Analysis: correct designs


@pytest.mark.parametrize("name", DEEPER)
def test_four_blocks_are_found_in_every_correct_design(name: str) -> None:
    exported = export(DEEPER[name]())
    found = blocks(exported.graph, exported.shapes, WIDTHS)
    assert [block.out_channels for block in found] == list(WIDTHS)
    assert [block.halves for block in found] == [True] * 4
    assert all(block.batch_norms and block.convolutions for block in found)
    end = head(exported.graph, exported.shapes)
    assert end.feature_shape == (4, 256, 2, 2)
    assert end.global_pooling == "average"
    assert len(end.classifiers) == len(end.dropouts) == 1
    assert end.output_activation is None


def test_reference_has_the_lessons_parameters() -> None:
    exported = export(reference())
    assert parameter_count(exported.graph) == 391_946
    layers = convolutions(exported.graph, exported.shapes)
    assert [(c.in_channels, c.out_channels, c.kernel, c.padding) for c in layers][:2] == [
        (3, 32, (3, 3), (1, 1)),
        (32, 64, (3, 3), (1, 1)),
    ]
    assert all(c.is_registered and c.is_trainable for c in layers)
    assert [norm.channels for norm in batch_norms(exported.graph, exported.shapes)] == list(WIDTHS)


def block_facts(module: nn.Module) -> tuple[list[int], list[bool], list[bool]]:
    exported = export(module)
    found = blocks(exported.graph, exported.shapes, WIDTHS)
    return [b.out_channels for b in found], [b.halves for b in found], [bool(b.batch_norms) for b in found]


def test_each_mistake_shows_in_its_own_fact() -> None:
    def block(i: int, o: int) -> nn.Sequential:
        return nn.Sequential(conv_norm(i, o), nn.MaxPool2d(2))

    yes = [True] * 4
    not_doubled = nn.Sequential(*[block(i, o) for i, o in [(3, 32), (32, 32), (32, 64), (64, 256)]], pooled_head())
    assert block_facts(not_doubled) == ([32, 32, 64, 256], yes, yes)
    no_last_pool = four_blocks(lambda i, o: block(i, o) if o < 256 else conv_norm(i, o))
    assert block_facts(no_last_pool) == (list(WIDTHS), [True, True, True, False], yes)
    no_norm = four_blocks(lambda i, o: block(i, o) if o != 128 else nn.Sequential(conv(i, o), nn.MaxPool2d(2)))
    assert block_facts(no_norm) == (list(WIDTHS), yes, [True, True, False, True])
    three = nn.Sequential(block(3, 32), block(32, 64), block(64, 128), pooled_head(128))
    assert block_facts(three) == ([32, 64, 128], yes[:3], yes[:3])
    fifth = nn.Sequential(four_blocks(block, nn.Identity()), conv_norm(256, 512), pooled_head(512))
    assert block_facts(fifth)[0][-1] == 512


Head = Callable[[Any, Tensor], Tensor]
HEADS: dict[str, tuple[Head, int, str]] = {
    "two means": (lambda m, x: m.l(x.mean(-1).mean(-1)), 256, "average"),
    "means that keep": (lambda m, x: m.l(x.mean(2, keepdim=True).mean(3, keepdim=True).flatten(1)), 256, "average"),
    "flattened map": (lambda m, x: m.l(x.view(x.size(0), x.size(1), -1).mean(2)), 256, "average"),
    "pooling over the rest": (lambda m, x: m.l(F.avg_pool2d(x, x.shape[-1]).squeeze(-1).squeeze(-1)), 256, "average"),
    "sum": (lambda m, x: m.l(x.sum((2, 3)) / (x.shape[2] * x.shape[3])), 256, "average"),
    "maximum": (lambda m, x: m.l(x.amax((2, 3))), 256, "max"),
    "maximum of a flattened map": (lambda m, x: m.l(x.flatten(2).max(-1).values), 256, "max"),
    "average and maximum": (
        lambda m, x: m.l(torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1).flatten(1)),
        512,
        "mixed",
    ),
    "einsum": (lambda m, x: torch.einsum("nchw,kc->nk", x, m.l.weight) / 4 + m.l.bias, 256, "other"),
    "matrix product": (lambda m, x: x.mean((2, 3)) @ m.l.weight.t() + m.l.bias, 256, "average"),
}


@pytest.mark.parametrize("name", HEADS)
def test_global_pooling_is_found_however_written(name: str) -> None:
    function, inputs, kind = HEADS[name]
    module = four_blocks(lambda i, o: conv_norm(i, o, 2), Functional(function, l=nn.Linear(inputs, 10)))
    exported = export(module)
    end = head(exported.graph, exported.shapes)
    assert (end.global_pooling, end.flattened_inputs, len(end.classifiers)) == (kind, None, 1)
    assert end.classifiers[0].is_trainable


SMALL: dict[str, Callable[[int, int], nn.Module]] = {
    "strides": lambda i, o: conv_norm(i, o, 2),
    "residual blocks": lambda i, o: Residual(i, o, 2),
    "pooling in front": lambda i, o: nn.Sequential(nn.MaxPool2d(2), conv_norm(i, o)),
    "pooling behind": lambda i, o: nn.Sequential(conv_norm(i, o), nn.MaxPool2d(2)),
    "branches": lambda i, o: Functional(
        lambda m, x: torch.cat([m.a(x), m.b(F.max_pool2d(x, 2))], 1), a=conv_norm(i, o // 2, 2), b=conv(i, o // 2, 1)
    ),
    "a gate": lambda i, o: nn.Sequential(conv_norm(i, o, 2), Gate(o)),
    "separable": lambda i, o: nn.Sequential(conv(i, i, 3, 2, groups=i), conv(i, o, 1), nn.BatchNorm2d(o), nn.ReLU()),
}
WIDE = [(3, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 256)]
ENDS: dict[str, tuple[Head, str | None]] = {
    "mean": (lambda m, x: m.l(x.mean((2, 3))), "average"),
    "means that keep": (lambda m, x: m.l(x.mean(2, keepdim=True).mean(3, keepdim=True).flatten(1)), "average"),
    "adaptive": (lambda m, x: m.l(F.adaptive_avg_pool2d(x, 1).flatten(1)), "average"),
    "flattened map": (lambda m, x: m.l(x.flatten(2).mean(2)), "average"),
    "divided map": (lambda m, x: m.l(x.view(*x.shape[:2], -1).sum(-1) / x[0, 0].numel()), "average"),
    "channels last": (lambda m, x: m.l(x.permute(0, 2, 3, 1).mean((1, 2))), "average"),
    "channels moved": (lambda m, x: m.l(x.movedim(1, -1).flatten(1, 2).mean(1)), "average"),
    "scores first": (lambda m, x: F.adaptive_avg_pool2d(m.c(x), 1).flatten(1), "average"),
    "scores last": (lambda m, x: m.c(x.mean((2, 3), keepdim=True)).flatten(1), "average"),
    "activation in front": (lambda m, x: m.l(F.relu(F.dropout(x, 0.2, m.training)).mean((-2, -1))), "average"),
    "maximum": (lambda m, x: m.l(x.amax((2, 3))), "max"),
    "adaptive maximum": (lambda m, x: m.l(F.adaptive_max_pool2d(x, 1).flatten(1)), "max"),
    "einsum": (lambda m, x: torch.einsum("nchw,kc->nk", x, m.l.weight), "other"),
    "flattened": (lambda m, x: m.l(x.flatten(1)), None),
    "squeezed": (lambda m, x: m.l(x.squeeze(-1).squeeze(-1)), None),
    "one pixel": (lambda m, x: m.l(x[:, :, 0, 0]), None),
    "mean over the channels": (lambda m, x: m.l((x * x.mean(1, keepdim=True)).flatten(1)), None),
}


FEW_ENDS = ["adaptive", "channels last", "flattened"]


@pytest.mark.parametrize(
    ("small", "end"), [*(("residual blocks", end) for end in ENDS), *((small, e) for small in SMALL for e in FEW_ENDS)]
)
def test_maps_of_one_pixel_are_no_pooling(small: str, end: str) -> None:
    """Five or six halvings make 1×1 of 32×32: only what reduces maps of any size pools them."""
    function, kind = ENDS[end]
    times = 5 if small.startswith("pooling") or small == "branches" else 6  # they do not take a map of one pixel
    body = [SMALL[small](i, o) for i, o in [*WIDE[: times - 1], (WIDE[times - 1][0], 256)]]
    parts = {"l": nn.Linear(256, 10), "c": nn.Conv2d(256, 10, 1)}
    exported = export(nn.Sequential(*body, Functional(function, **parts)))
    found = head(exported.graph, exported.shapes)
    assert found.global_pooling == kind
    assert len(found.classifiers) == 1
    assert (found.feature_shape or ())[1:] == (256, 1, 1)
    assert map_sizes(exported.graph, exported.shapes)[-2:] == ((2, 2), (1, 1))


def test_blocks_are_counted_down_to_one_pixel() -> None:
    module = nn.Sequential(*[Residual(i, o, 2) for i, o in WIDE[:5]], pooled_head(256))
    exported = export(module)
    sizes = map_sizes(exported.graph, exported.shapes)
    assert sizes == ((32, 32), (16, 16), (8, 8), (4, 4), (2, 2), (1, 1))
    assert halved_times(sizes) == 5
    found = blocks(exported.graph, exported.shapes, (16, 32, 64, 128, 256))
    assert [block.out_channels for block in found] == [16, 32, 64, 128, 256]
    assert all(block.halves for block in found)


@pytest.mark.parametrize("pool", [nn.Identity(), nn.AdaptiveAvgPool2d(2)], ids=["none", "to 2×2"])
def test_flattened_height_and_width_are_no_global_pooling(pool: nn.Module) -> None:
    module = four_blocks(lambda i, o: conv_norm(i, o, 2), nn.Sequential(pool, nn.Flatten(), nn.Linear(1024, 10)))
    exported = export(module)
    end = head(exported.graph, exported.shapes)
    assert (end.global_pooling, end.flattened_inputs) == (None, 1024)


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Softmax(1), "softmax"), (nn.ReLU(), "relu"), (nn.LogSoftmax(1), "log_softmax"), (nn.Sigmoid(), "sigmoid")],
)
def test_activations_on_the_logits_are_seen(layer: nn.Module, name: str) -> None:
    exported = export(four_blocks(lambda i, o: conv_norm(i, o, 2), nn.Sequential(pooled_head(), layer)))
    assert head(exported.graph, exported.shapes).output_activation == name


def test_dropout_tells_whether_it_is_on() -> None:
    module = four_blocks(conv_norm)
    assert [d.active for d in dropouts(export(module).graph, ())] == [False]
    assert [(d.active, d.probability) for d in dropouts(export(module, training=True).graph, ())] == [(True, 0.5)]
    stays_on = export(Functional(lambda m, x: F.dropout(m.c(x)), c=conv(3, 4)))
    assert [d.active for d in dropouts(stays_on.graph, stays_on.shapes)] == [True]


# Analysis: residual additions


def residual_net(function: Callable[[Any, Tensor], Tensor], **parts: Any) -> nn.Module:
    """A stem, then the function on (N, 16, 16, 16) maps."""
    return nn.Sequential(conv(3, 16, stride=2), nn.ReLU(), Functional(function, **parts))


c3, c1 = conv, lambda i=16, o=16, stride=1: conv(i, o, 1, stride)
RESIDUALS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "identity": (lambda: residual_net(lambda m, x: F.relu(x + m.b(m.a(x))), a=c3(), b=nn.BatchNorm2d(16)), "identity"),
    "pre-activation": (
        lambda: residual_net(lambda m, x: x + m.a(F.relu(m.b(x))), a=c3(), b=nn.BatchNorm2d(16)), "identity",
    ),
    "projection of the activated value": (
        lambda: residual_net(
            lambda m, x: (lambda h: m.p(h) + m.c(F.relu(m.a(h))))(F.relu(m.b(x))),
            a=c3(), b=nn.BatchNorm2d(16), c=c3(16, 32, stride=2), p=c1(16, 32, 2),
        ), "projection",
    ),
    "sliced and padded": (
        lambda: residual_net(
            lambda m, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8)) + m.a(x), a=c3(16, 32, stride=2)
        ), "reshaped",
    ),
    "pooled and joined with zeros": (
        lambda: residual_net(
            lambda m, x: torch.cat([F.avg_pool2d(x, 2), torch.zeros_like(F.avg_pool2d(x, 2))], 1) + m.a(x),
            a=c3(16, 32, stride=2),
        ), "reshaped",
    ),
    "pooled projection": (
        lambda: residual_net(lambda m, x: m.p(F.avg_pool2d(x, 2)) + m.a(x), a=c3(16, 32, stride=2), p=c1(16, 32)),
        "projection",
    ),
    "bottleneck": (
        lambda: residual_net(lambda m, x: x + m.c(F.relu(m.b(m.a(x)))), a=c1(16, 4), b=c3(4, 4), c=c1(4, 16)),
        "identity",
    ),
    "in place": (lambda: residual_net(lambda m, x: m.a(x).add_(x).relu_(), a=c3()), "identity"),
    "sum of a list": (lambda: residual_net(lambda m, x: sum([m.a(x), x]), a=c3()), "identity"),
    "stacked and summed": (lambda: residual_net(lambda m, x: torch.stack([m.a(x), x], -1).sum(-1), a=c3()), "identity"),
    "scaled branch": (
        lambda: residual_net(lambda m, x: x + m.g * m.a(x), a=c3(), g=nn.Parameter(torch.ones(16, 1, 1))), "identity",
    ),
    "addcmul": (
        lambda: residual_net(lambda m, x: torch.addcmul(x, m.g, m.a(x)), a=c3(), g=nn.Parameter(torch.ones(1))),
        "identity",
    ),
    "scaled sum": (lambda: residual_net(lambda m, x: (x + m.a(x)) / 2**0.5, a=c3()), "identity"),
    "two branches": (lambda: residual_net(lambda m, x: x + m.a(x) + m.b(x), a=c3(), b=conv(kernel=5)), "identity"),
    "dropped branch": (lambda: residual_net(lambda m, x: x + F.dropout2d(m.a(x), 0.1, m.training), a=c3()), "identity"),
}  # fmt: skip


@pytest.mark.parametrize("name", RESIDUALS)
def test_residual_addition_is_found_however_written(name: str) -> None:
    build, shortcut = RESIDUALS[name]
    exported = export(build())
    found = residual_additions(exported.graph, exported.shapes)
    assert [addition.shortcut for addition in found] == [shortcut]


NOT_RESIDUAL: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "x + x": (lambda: residual_net(lambda m, x: (lambda y: y + y)(m.a(x)), a=c3()), ["same value"]),
    "concatenation": (lambda: residual_net(lambda m, x: torch.cat([x, m.a(x)], 1), a=c3()), []),
    "detached shortcut": (lambda: residual_net(lambda m, x: x.detach() + m.a(x), a=c3()), ["detached"]),
    "detached branch": (lambda: residual_net(lambda m, x: x + m.a(x).detach(), a=c3()), ["detached"]),
    "constant": (lambda: residual_net(lambda m, x: torch.ones_like(x) + m.a(x), a=c3()), []),
    "learnt constant": (lambda: residual_net(lambda m, x: m.g + m.a(x), a=c3(), g=nn.Parameter(torch.ones(1))), []),
    "parallel branches": (lambda: residual_net(lambda m, x: m.a(x) + m.b(x), a=c3(), b=conv(kernel=5)), ["unrelated"]),
    "bypasses an activation": (
        lambda: residual_net(lambda m, x: (lambda y: y + F.relu(y))(m.a(x)), a=c3()), ["no convolution between"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_RESIDUAL)
def test_other_sums_are_no_residuals_and_say_why(name: str) -> None:
    build, reasons = NOT_RESIDUAL[name]
    exported = export(build())
    assert residual_additions(exported.graph, exported.shapes) == ()
    assert [addition.reason for addition in additions(exported.graph, exported.shapes)] == reasons


def test_each_block_of_a_residual_network_counts_once() -> None:
    exported = export(DEEPER["residual"]())
    assert len(residual_additions(exported.graph, exported.shapes)) == 4


# Analysis: weights


def test_weights_in_a_plain_list_are_not_registered() -> None:
    exported = export(Functional(lambda m, x: m.layers[0](x), layers=[conv(3, 4)]))
    (layer,) = convolutions(exported.graph, exported.shapes)
    assert not layer.is_registered
    assert not layer.is_trainable


def test_computed_weights_know_their_parameters() -> None:
    exported = export(nn.utils.parametrizations.weight_norm(conv(3, 4)))
    (layer,) = convolutions(exported.graph, exported.shapes)
    assert layer.weight is None
    assert layer.weight_kinds == {"parameter"}
    assert layer.is_trainable


def test_gradients_stop_at_no_grad_and_detach() -> None:
    def forward(module: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = module.a(x)
        return module.b(x.detach())

    exported = export(Functional(forward, a=conv(3, 4), b=conv(4, 4)))
    assert [c.is_trainable for c in convolutions(exported.graph, exported.shapes)] == [False, True]
    assert len(detached(exported.graph)) == 2


def test_depthwise_and_pointwise_are_told_apart() -> None:
    exported = export(nn.Sequential(conv(3, 6, groups=3), conv(6, 8, 1), conv(8, 8, groups=2)))
    layers = convolutions(exported.graph, exported.shapes)
    assert [(c.is_depthwise, c.is_pointwise, c.groups) for c in layers] == [
        (True, False, 3),
        (False, True, 1),
        (False, False, 2),
    ]
    assert [c.weight_count for c in layers] == [54, 48, 288]


def test_matrix_products_with_weights_are_linear_layers() -> None:
    exported = export(
        Functional(lambda m, x: (x.mean((2, 3)) @ m.w).relu() @ m.w.t(), w=nn.Parameter(torch.ones(3, 5)))
    )
    found = linears(exported.graph, exported.shapes)
    assert [(layer.in_features, layer.out_features) for layer in found] == [(3, 5), (5, 3)]


def test_a_tangled_graph_is_refused_or_analysed_in_seconds() -> None:
    """20,000 nodes in which everything depends on everything would take hours with sets of ancestors."""
    nodes: list[Any] = [["input"], ["tensor", 0]]
    while len(nodes) < MAX_NODES - 1:
        here = {"node": len(nodes) - 1 if len(nodes) > 2 else 0}
        nodes.append(["call", "aten.conv2d.default", [here, {"node": 1}, None, [1, 1], [0, 0], [1, 1], 1], 0, 0])
        nodes.append(["call", "aten.add.Tensor", [{"node": len(nodes) - 1}, here, 1], 0, 0])
    nodes = [*nodes[: MAX_NODES - 1], ["output", {"node": MAX_NODES - 2}]]
    wire = {
        "version": 1, "training": False, "batch": "dynamic", "input_shape": [4, 3, 8, 8], "regions": [], "nodes": nodes,
        "tensors": [["parameter", "w", "float32", [3, 3, 1, 1], "t0"]],
    }  # fmt: skip
    graph = graph_from_wire(wire)
    shapes = [(4, 3, 8, 8) if node.kind != "tensor" else (3, 3, 1, 1) for node in graph.nodes]
    started = time.process_time()
    with pytest.raises(TooTangled, match="in more ways than are looked through"):
        residual_additions(graph, shapes)
    blocks(graph, shapes)
    head(graph, shapes)
    assert time.process_time() - started < 60


# Graphs made to keep the trusted side busy


def parameters(count: int) -> list[list[Any]]:
    return [["parameter", f"w{i}", "float32", [1], f"t{i}"] for i in range(count)]


def bare(tensors: list[list[Any]], calls: list[Any], training: bool = False) -> dict[str, Any]:
    """A graph of one input, all its tensors, and calls of which the last one is returned."""
    nodes: list[Any] = [["input"], *(["tensor", i] for i in range(len(tensors))), *calls]
    nodes.append(["output", {"node": len(nodes) - 1}])
    return {
        "version": 1,
        "training": training,
        "batch": "dynamic",
        "input_shape": [4, 3, 32, 32],
        "tensors": tensors,
        "regions": [],
        "nodes": nodes,
    }


def test_a_value_that_may_share_memory_with_thousands_of_weights_is_refused() -> None:
    """Each of 9,000 nodes would keep a set of up to 9,000 weights: three gigabytes."""
    count = 9_000
    first = ["call", "aten.type_as.default", [{"node": 1}, {"node": 2}], 0, 0]
    others = [["call", "aten.type_as.default", [{"node": count + i}, {"node": i}], 0, 0] for i in range(1, count)]
    with pytest.raises(GraphRefused, match="shares memory with more than 64 weights"):
        graph_from_wire(bare(parameters(count), [first, *others]))


def test_many_random_numbers_over_many_copies_are_checked_in_no_time() -> None:
    """Looking back from each of 9,000 draws over 9,000 copies would take half a minute."""
    count = 9_000
    zeros = ["call", "aten.zeros.default", [[1], None, None, None, None], 0, 0]
    copies = [["call", "aten.detach.default", [{"node": 1 + i}], 0, 0] for i in range(count)]
    draws = [["call", "aten.uniform_.default", [{"node": 1 + count}, 0.0, 1.0, None], 0, 0]] * count
    began = time.monotonic()
    graph = graph_from_wire(bare([], [zeros, *copies, *draws]))
    assert time.monotonic() - began < 10
    assert len(graph.nodes) == 2 * count + 3


def test_emptiness_of_terabytes_is_refused() -> None:
    with pytest.raises(GraphRefused, match="more than"):
        graph_from_wire(bare([["parameter", "w", "float32", [0, 2**24, 2**24], "t0"]], []))


# Writes in place


def plus_one(value: Tensor) -> Tensor:
    value += 1
    return value


WRITES: dict[str, tuple[Head, bool]] = {
    "behind a ReLU": (lambda m, x: plus_one(F.relu(m.c(x))), True),
    "behind an in-place ReLU": (lambda m, x: plus_one(F.relu(m.c(x), inplace=True)), True),
    "behind a sigmoid": (lambda m, x: torch.sigmoid(m.c(x)).mul_(2), True),
    "into a part": (lambda m, x: plus_one(F.relu(m.c(x))[:, :4]), True),
    "into what a convolution saw": (lambda m, x: (lambda y: m.d(y) + plus_one(y))(m.c(x)), True),
    "into what a norm saw": (lambda m, x: (lambda y: m.n(y) + y.mul_(3))(m.c(x)), True),
    "into what was pooled": (lambda m, x: (lambda y: F.avg_pool2d(y, 2).mean() + plus_one(y))(m.c(x)), True),
    "behind a convolution": (lambda m, x: plus_one(m.c(x)), False),
    "behind a norm": (lambda m, x: F.relu_(m.n(m.c(x))), False),
    "behind a sum": (lambda m, x: plus_one(m.c(x) + m.c(x)), False),
    "in front of what needs it": (lambda m, x: m.d(plus_one(m.c(x))), False),
    "into what an average saw": (lambda m, x: (lambda y: y.mean((2, 3), keepdim=True) + plus_one(y))(m.c(x)), False),
    "an activation of its own": (lambda m, x: F.silu(m.c(x), inplace=True), False),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_takes_the_gradient_away_is_found_where_torch_refuses(name: str) -> None:
    function, is_refused = WRITES[name]
    module = Functional(function, c=conv(3, 8), d=conv(8, 8), n=nn.BatchNorm2d(8))
    exported = export(module, size=8, training=True)
    found = overwritten(exported.graph)
    assert (found is not None) == is_refused
    loss = module.train()(torch.zeros(4, 3, 8, 8)).sum()
    if is_refused:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    else:
        loss.backward()
