"""Known architectures, torchvision's and as students write them: the graph is the model, and is understood as one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.core.config import Limits
from autograder.graphs.analysis import additions, batch_norms, blocks, convolutions, head, linears, residual_additions
from autograder.graphs.analysis.flow import data_path, without_in_place_writes
from autograder.graphs.runner import Runner
from autograder.graphs.wire import graph_from_wire
from autograder.jail import find_isolation, start
from autograder.worker.interpreter import Graph, execute
from tests.graph_models import WIDTHS, Functional, conv, conv_norm, export, four_blocks, pooled_head
from tools import architectures_table
from tools.architectures_table import (
    EXPORTED_BATCH,
    OTHER_BATCH,
    PAGE,
    STUDENTS,
    architectures,
    as_tensors,
    examine,
    quiet,
    shake,
)

EXPECTED: dict[str, dict[str, Any]] = json.loads((STUDENTS / "expected.json").read_text())
KNOWN = architectures()
FAMILIES = (
    "preact_resnet resnext densenet senet dla simple_dla nasnet_cells xception wide_resnet cbam attention_gate "
    "self_attention resnet20_option_a mobilenet_v2 shufflenet efficientnet stochastic_depth pyramidnet highway "
    "googlenet convmixer vit dual_path regnet"
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def parameters() -> list[Any]:
    """All architectures; those that take longest, or look much like another, are slow."""
    return [pytest.param(name, marks=pytest.mark.slow if EXPECTED[name].get("slow") else ()) for name in EXPECTED]


@pytest.mark.parametrize("name", parameters())
def test_graph_is_the_model_and_is_understood(name: str) -> None:
    expected, found = EXPECTED[name], examine(KNOWN[name])
    assert found.batch == "dynamic"
    assert found.exact == {EXPORTED_BATCH: True, OTHER_BATCH: True}
    assert found.finite
    assert found.convolutions == found.own_convolutions
    assert found.batch_norms == found.own_batch_norms
    assert found.residual_additions == expected["residual_additions"]
    assert found.pooling == expected["pooling"]
    assert found.is_drawn_whole
    if "train" in expected:
        assert found.train_problem.startswith(expected["train"])
    else:
        assert found.train_problem == ""
        assert found.train_exact
        assert found.without_gradient == ()


def test_the_families_that_students_copy_are_all_here() -> None:
    assert EXPECTED.keys() == KNOWN.keys()
    assert set(FAMILIES.split()) <= KNOWN.keys()
    assert sum(name.startswith(architectures_table.PREFIX) for name in KNOWN) == 17
    assert all(architecture.origin and architecture.style for architecture in KNOWN.values() if architecture.size == 32)


def test_page_lists_exactly_what_is_tested() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    listed = {row[0].strip("|` "): row for row in rows}
    assert listed.keys() == KNOWN.keys()
    assert len(rows) == len(KNOWN)
    for name, expected in EXPECTED.items():
        *_, exact, train, _, sums, pooling = (cell.strip("| ") for cell in listed[name])
        assert (exact, train) == ("yes", "–" if "train" in expected else "yes")
        assert (sums, pooling) == (str(expected["residual_additions"]), expected["pooling"] or "–")


def test_page_can_be_written_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    before = PAGE.read_text()
    assert architectures_table.main(["lenet"]) == 0
    assert capsys.readouterr().out.startswith("| lenet |")
    assert PAGE.read_text() == before
    assert architectures_table.main(["lenett"]) == 2
    assert "no architecture lenett; there are attention_gate," in capsys.readouterr().err


@pytest.mark.parametrize("name", ["preact_resnet", "squeezenet", "convmixer", "vit"])
def test_the_jailed_runner_gives_the_same_bits(name: str, runner: Runner) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as the runner takes
    module = KNOWN[name].build()
    shake(module)
    exported = export(module)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), as_tensors(module), quiet():
        expected = module.eval()(images)
    found = runner.run(runner.load(exported.graph, exported.blob), images.numpy())
    assert np.array_equal(expected.numpy(), found)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """A runner in the jail."""
    with Runner(lambda: start("graph_server", Limits(), find_isolation()), device="cpu") as running:
        yield running


def test_pytorchs_fused_transformer_is_close_not_equal() -> None:
    torch.manual_seed(0)
    module = KNOWN["compact_transformer"].build()
    exported = export(module)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        fused = module.eval()(images)
    stored = safetensors.torch.load(exported.blob)
    again = execute(Graph(exported.wire), [stored[key] for *_, key in exported.wire["tensors"]], images)
    torch.testing.assert_close(fused, again, rtol=1e-4, atol=1e-5)


# What a style must not change: writes into values, gates, branches that pool


def two_maps(x: Tensor, module: Any) -> tuple[Tensor, Tensor]:
    """16 channels, and 32 that convolutions computed from them."""
    x = module.stem(x)
    return x, module.branch(x)


def pad_by_assignment(module: Any, x: Tensor) -> Tensor:
    x, out = two_maps(x, module)
    shortcut = torch.zeros(x.size(0), 32, x.size(2), x.size(3))
    shortcut[:, :16] = x
    return module.fc((out + shortcut).mean((2, 3)))


def pad_like_the_branch(module: Any, x: Tensor) -> Tensor:
    x, out = two_maps(x, module)
    shortcut = torch.zeros_like(out)
    shortcut[:, 8 : 8 + x.size(1)] = x
    out += shortcut
    return module.fc(out.mean((2, 3)))


def add_to_a_slice(module: Any, x: Tensor) -> Tensor:
    x, out = two_maps(x, module)
    out[:, :16] += x
    return module.fc(out.mean((2, 3)))


def add_what_was_written_twice(module: Any, x: Tensor) -> Tensor:
    x, out = two_maps(x, module)
    shortcut = torch.zeros_like(out)
    shortcut[:, :16] = x
    shortcut.narrow(1, 16, 16).copy_(x)
    return module.fc((shortcut + out).mean((2, 3)))


def cut_by_mask(module: Any, x: Tensor) -> Tensor:
    x, out = two_maps(x, module)
    out[:, :16] += x
    out[out < 0] = 0
    return module.fc(out.mean((2, 3)))


WRITTEN = [pad_by_assignment, pad_like_the_branch, add_to_a_slice, add_what_was_written_twice, cut_by_mask]


@pytest.mark.parametrize("forward", WRITTEN)
def test_a_residual_sum_that_is_written_in_place_is_seen(forward: Any) -> None:
    module = Functional(forward, stem=conv_norm(3, 16), branch=conv_norm(16, 32), fc=nn.Linear(32, 10))
    exported = export(module)
    graph, shapes = exported.graph, exported.shapes
    assert len(residual_additions(graph, shapes)) == 1
    assert head(graph, shapes).global_pooling == "average"
    assert (len(convolutions(graph, shapes)), len(batch_norms(graph, shapes)), len(linears(graph, shapes))) == (2, 2, 1)


class Halves(nn.Module):
    """A block whose output is assembled: half from one convolution, half from another."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.left, self.right = conv_norm(inputs, outputs // 2), conv_norm(inputs, outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        left = self.left(x)
        out = x.new_zeros(x.size(0), 2 * left.size(1), x.size(2), x.size(3))
        out[:, : left.size(1)] = left
        out[:, left.size(1) :] = self.right(x)
        return F.max_pool2d(out, 2)


def test_blocks_assembled_by_assignment_keep_their_channels() -> None:
    exported = export(four_blocks(Halves, pooled_head()))
    found = blocks(exported.graph, exported.shapes)
    assert [block.out_channels for block in found] == list(WIDTHS)
    assert all(block.halves and block.batch_norms for block in found)


def test_a_view_of_another_part_is_not_what_was_written() -> None:
    def forward(module: Any, x: Tensor) -> Tensor:
        x = module.stem(x)
        one, two = x[:, :8], x[:, 8:]
        one.zero_()  # what was in it is gone, the other half is not
        return module.fc((module.branch(two) + two).mean((2, 3)))

    exported = export(Functional(forward, stem=conv(3, 16), branch=conv(8, 8), fc=nn.Linear(8, 10)))
    assert [sum_.shortcut for sum_ in residual_additions(exported.graph, exported.shapes)] == ["identity"]


def test_thousands_of_writes_are_followed() -> None:
    wire = export(nn.Sequential(conv(3, 16), nn.ReLU())).wire
    convolution = next(i for i, node in enumerate(wire["nodes"]) if node[0] == "call")
    ends = wire["nodes"][convolution + 1 :]
    for part in range(4_000):
        view = ["call", "aten.slice.Tensor", [{"node": convolution}, 1, part % 8, 16, 1], 0, 0]
        write = ["call", "aten.relu_.default", [{"node": convolution + 2 * part + 1}], 0, 0]
        wire["nodes"][convolution + 2 * part + 1 :] = [view, write]
    wire["nodes"] += [ends[0], ["output", {"node": len(wire["nodes"])}]]
    graph = graph_from_wire(wire)
    assert [layer.node for layer in convolutions(graph, [(4, 16, 32, 32)] * len(graph.nodes))] == [convolution]
    assert (
        len(data_path(without_in_place_writes(graph, [None] * len(graph.nodes))[0])) > 4_000
    )  # every write is on the way


GATED = {
    "highway": lambda m, x: m.gate(x).sigmoid() * m.branch(x) + (1 - m.gate(x).sigmoid()) * x,
    "lerp": lambda m, x: torch.lerp(x, m.branch(x), m.gate(x).sigmoid()),
    "gate on the shortcut": lambda m, x: m.branch(x) + x * m.gate(x.mean((2, 3), keepdim=True)).sigmoid(),
}


@pytest.mark.parametrize("name", GATED)
def test_a_gated_shortcut_is_a_shortcut(name: str) -> None:
    module = Functional(lambda m, x: m.fc(GATED[name](m, m.stem(x)).mean((2, 3))), stem=conv(3, 16), branch=conv(),
                        gate=conv(kernel=1), fc=nn.Linear(16, 10))  # fmt: skip
    exported = export(module)
    assert len(residual_additions(exported.graph, exported.shapes)) == 1


def test_two_branches_one_gated_by_its_own_input_are_no_shortcut() -> None:
    def forward(module: Any, x: Tensor) -> Tensor:
        x = module.stem(x)
        return module.fc((module.branch(x) * module.gate(x).sigmoid() + module.other(x)).mean((2, 3)))

    parts = {"stem": conv(3, 16), "branch": conv(), "other": conv(), "gate": conv(kernel=1), "fc": nn.Linear(16, 10)}
    exported = export(Functional(forward, **parts))
    assert [sum_.reason for sum_ in additions(exported.graph, exported.shapes)] == ["unrelated"]


def test_pooling_inside_a_branch_is_not_the_heads() -> None:
    def forward(module: Any, x: Tensor) -> Tensor:
        fine = module.stem(x)
        coarse = module.branch(F.max_pool2d(fine, 2))
        return module.fc(torch.cat([fine.mean((2, 3)), coarse.mean((2, 3))], 1))

    exported = export(Functional(forward, stem=conv_norm(3, 16), branch=conv_norm(16, 16), fc=nn.Linear(32, 10)))
    assert head(exported.graph, exported.shapes).global_pooling == "average"
