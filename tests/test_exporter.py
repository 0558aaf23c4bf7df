"""Modules become graphs: what replays bit for bit, what is refused with which words, and on which line."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.graphs.operations import OPERATIONS, SIZE_OPERATIONS
from autograder.worker.exporter import (
    SUPPORTED_OPERATIONS,
    ExportProblem,
    TensorPool,
    decode_line,
    encode_line,
    export_graph,
)
from autograder.worker.interpreter import Graph, GraphError, execute
from tests.graph_models import DEEPER, Functional, conv, export
from tools.list_operations import describe


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def replay(module: nn.Module, images: Tensor, training: bool = False, size: int = 32) -> Tensor:
    """What the exported graph computes for images."""
    exported = export(module, size, training)
    stored = safetensors.torch.load(exported.blob)
    torch.manual_seed(1)
    return execute(Graph(exported.wire), [stored[key] for *_, key in exported.wire["tensors"]], images.clone())


def both(module: nn.Module, training: bool = False, size: int = 32, count: int = 3) -> tuple[Tensor, Tensor]:
    """The module's own output and its graph's, for another batch size than the exported one."""
    images = torch.randn(count, 3, size, size)
    again = replay(module, images, training, size)
    module.train(training)
    torch.manual_seed(1)
    return module(images.clone()), again


def test_table_of_operations_agrees_with_the_exporter_and_with_torch() -> None:
    assert set(OPERATIONS) | SIZE_OPERATIONS | {"operator.getitem"} == SUPPORTED_OPERATIONS
    for name, operation in OPERATIONS.items():
        expected = describe(name)
        assert f"{name}({', '.join(operation.kinds)}) -> {', '.join(operation.returns)}" == expected


@pytest.mark.parametrize("name", DEEPER)
def test_designs_replay_bit_for_bit(name: str) -> None:
    expected, found = both(DEEPER[name]())
    assert torch.equal(expected, found)


FORWARDS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "arithmetic": lambda m, x: (1 - m.c(x)) * 2 / (m.c(x).abs() + 1) ** 0.5 - m.c(x) // 2,
    "normalised inside": lambda m, x: m.c((x - torch.tensor([0.5] * 3).view(1, 3, 1, 1)) / 0.25),
    "written in place": lambda m, x: F.relu_(m.c(x)).add_(1).mul_(m.c(x)),
    "input written in place": lambda m, x: m.c(x.sub_(0.5)),
    "slices and joins": lambda m, x: torch.cat([m.c(x)[:, :4, ::2], m.c(x).chunk(2, 1)[1][:, :, 1::2]], 1),
    "split and stacked": lambda m, x: torch.stack(torch.split(m.c(x), 2, 1)).sum(0),
    "einsum": lambda m, x: torch.einsum("nchw,kc->nk", m.c(x), m.l.weight),
    "matmul": lambda m, x: m.c(x).mean((2, 3)) @ m.l.weight.t() + m.l.bias,
    "attention": lambda m, x: F.scaled_dot_product_attention(*[m.c(x).flatten(2)] * 3),
    "interpolated": lambda m, x: F.interpolate(m.c(x), scale_factor=2, mode="bilinear"),
    "padded": lambda m, x: F.pad(m.c(x), (1, 2, 3, 4), mode="reflect") + F.pad(x[:, :1], (1, 2, 3, 4)),
    "conditions": lambda m, x: torch.where(m.c(x) > 0, m.c(x), 0.1 * m.c(x)).masked_fill(m.c(x) > 3, 0.0),
    "shuffled channels": lambda m, x: m.c(x).view(x.shape[0], 2, 4, 32, 32).transpose(1, 2).reshape(-1, 8, 32, 32),
    "maxima": lambda m, x: m.c(x).amax((2, 3)) + m.c(x).flatten(2).max(-1).values,
    "no gradient inside": lambda m, x: m.c(x) + no_gradient(m, x),
    "half precision inside": lambda m, x: m.c(x) + autocast(m, x).float(),
    "batch in the arithmetic": lambda m, x: m.c(x).sum(0, keepdim=True) / x.shape[0] + m.c(x) * (1 / x.size(0)),
    "len": lambda m, x: m.l(m.c(x).mean((2, 3)).reshape(len(x), -1)),
    "padding by name": lambda m, x: F.conv2d(x, m.c.weight, padding="same", dilation=2),
    "weights standardised": lambda m, x: F.conv2d(x, (m.c.weight - m.c.weight.mean()) / m.c.weight.std()),
    "deviation and mean at once": lambda m, x: m.c(x) / torch.std_mean(x, dim=[1, 2], keepdim=True, unbiased=False)[0],
    "batch as a float": lambda m, x: m.c(x) / float(x.shape[0]),
    "written through a mask": lambda m, x: assigned(m.c(x) + 0, lambda y: y < 0, 0.0),
    "written by numbers": lambda m, x: assigned(m.c(x) + 0, lambda y: (slice(None), [0, 2]), 1.0),
    "assembled by assignment": lambda m, x: assigned(
        torch.zeros(x.size(0), 12, 32, 32), lambda y: (slice(None), slice(2, 10)), m.c(x)
    ),
}


def assigned(y: Tensor, place: Callable[[Tensor], Any], value: Tensor | float) -> Tensor:
    y[place(y)] = value
    return y


def no_gradient(module: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module.c(x) + 1


def autocast(module: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return module.c(x)


@pytest.mark.parametrize("name", FORWARDS)
def test_ways_to_write_forward_replay_bit_for_bit(name: str) -> None:
    expected, found = both(Functional(FORWARDS[name], c=conv(3, 8), l=nn.Linear(8, 10)))
    assert torch.equal(expected, found)


@pytest.mark.parametrize(
    "layer",
    [
        nn.GELU(approximate="tanh"), nn.SiLU(), nn.LeakyReLU(0.1), nn.ELU(), nn.Hardswish(), nn.PReLU(8), nn.Mish(),
        nn.Softplus(), nn.ReLU6(inplace=True), nn.GroupNorm(2, 8), nn.LayerNorm([8, 32, 32]), nn.InstanceNorm2d(8),
        nn.BatchNorm2d(8, affine=False), nn.LocalResponseNorm(3), nn.Softmax(1), nn.PixelShuffle(2), nn.Flatten(),
        nn.Upsample(scale_factor=2), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, groups=2), nn.ReflectionPad2d(1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AdaptiveMaxPool2d(1), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    ],
    ids=str,
)  # fmt: skip
def test_layers_replay_bit_for_bit(layer: nn.Module) -> None:
    expected, found = both(nn.Sequential(conv(3, 8), layer))
    assert torch.equal(expected, found)


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.BatchNorm2d(8), nn.RReLU(), nn.InstanceNorm2d(8, affine=True)],
    ids=str,
)
def test_training_graphs_draw_the_same_noise(layer: nn.Module) -> None:
    expected, found = both(nn.Sequential(conv(3, 8), layer), training=True)
    assert torch.equal(expected, found)


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
@pytest.mark.parametrize("training", [False, True])
def test_parametrised_weights_replay(wrap: Callable[[nn.Module], nn.Module], training: bool) -> None:
    module = wrap(conv(3, 8))
    images = torch.randn(3, 3, 32, 32)
    found = replay(module, images, training)
    module.train(training)
    assert torch.equal(module(images), found)


def test_lazy_modules_are_materialised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that lazy modules may change
        module = nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(10))
    assert torch.equal(*both(module))


def test_batch_stays_dynamic_unless_the_code_fixes_it() -> None:
    assert export(Functional(FORWARDS["len"], c=conv(3, 8), l=nn.Linear(8, 10))).wire["batch"] == "dynamic"
    fixed = Functional(lambda m, x: m.l(m.c(x).mean((2, 3)).view(4, -1)), c=conv(3, 8), l=nn.Linear(8, 10))
    assert export(fixed).wire["batch"] == 4


def test_flags_of_every_part_are_restored() -> None:
    module = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.Dropout())
    module.train()
    module[1].eval()
    export(module)
    assert [part.training for part in module] == [True, False, True]


def test_training_export_leaves_the_statistics_alone() -> None:
    module = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8))
    export(module, training=True)
    assert int(module[1].num_batches_tracked) == 0
    assert torch.equal(module[1].running_mean, torch.zeros(8))


def test_kinds_tell_registered_from_plain_tensors() -> None:
    module = Functional(
        lambda m, x: F.conv2d(m.c(x) * m.scale * m.mask, m.weights[0]), c=conv(3, 8), weights=[torch.ones(4, 8, 1, 1)]
    )
    module.register_buffer("scale", torch.ones(1))
    module.register_buffer("mask", torch.ones(1), persistent=False)
    module.c.bias.requires_grad_(False)
    kinds = {tensor.name: tensor.kind for tensor in export(module).graph.tensors}
    lists = [kind for name, kind in kinds.items() if name not in {"c.weight", "c.bias", "scale", "mask"}]
    assert (kinds["c.weight"], kinds["c.bias"], kinds["scale"], kinds["mask"]) == (
        "parameter", "frozen", "buffer", "constant",
    )  # fmt: skip
    assert lists == ["constant"]


def test_tied_weights_share_their_key_and_unused_layers_are_named() -> None:
    module = Functional(lambda m, x: m.b(m.a(x)), a=conv(3, 3), b=conv(3, 3), unused=nn.Linear(2, 2))
    module.b.weight = module.a.weight
    tensors = {tensor.name: tensor for tensor in export(module).graph.tensors}
    assert tensors["a.weight"].key == tensors["b.weight"].key
    assert {"unused.weight", "unused.bias"} <= tensors.keys()


def test_writes_by_index_are_bounded() -> None:
    def write(index: Tensor, values: Tensor) -> Tensor:
        nodes: list[Any] = [
            ["input"],
            ["tensor", 0],
            ["tensor", 1],
            ["call", "aten.clone.default", [{"node": 0}, None], 0, 0],
            ["call", "aten.index_put_.default", [{"node": 3}, [{"node": 1}], {"node": 2}, False], 7, 0],
            ["output", {"node": 4}],
        ]
        wire = {"training": False, "tensors": [["constant", "i"], ["constant", "v"]], "regions": [], "nodes": nodes}
        return execute(Graph(wire), [index, values], torch.zeros(2, 3))

    assert write(torch.tensor([1]), torch.ones(3)).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert write(torch.ones(2, 3, dtype=torch.bool), torch.ones(1)).tolist() == [[1, 1, 1], [1, 1, 1]]
    with pytest.raises(GraphError, match="only a single value can be written through a mask") as caught:
        write(torch.ones(2, 3, dtype=torch.bool), torch.ones(6))
    assert caught.value.line == 7
    with pytest.raises(GraphError, match="more places than the tensor has entries"):
        write(torch.zeros(7, dtype=torch.int64), torch.ones(1))


class Coin(nn.Module):
    """Stochastic depth by a coin of Python's, NumPy's or torch's."""

    def __init__(self, draw: Callable[[], Any], early: bool = False) -> None:
        super().__init__()
        self.c, self.draw, self.early = conv(3, 3), draw, early

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.draw() if self.early or self.training else 1
        return x if self.training and drawn < 0.5 else x + self.c(x)


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: random.choice([0, 1])])
@pytest.mark.parametrize("early", [False, True])
def test_chance_that_a_graph_would_freeze_is_unsupported_in_training(draw: Callable[[], Any], early: bool) -> None:
    module = Coin(draw, early)
    assert torch.equal(*both(module))  # in eval mode it decides nothing, and the graph is whole
    for seed in range(3):  # whichever side the coin falls on
        random.seed(seed)
        np.random.seed(seed)
        with pytest.raises(ExportProblem, match="draws from Python's or NumPy's random") as caught:
            export(module, training=True)
        assert caught.value.kind == "unsupported"


def test_chance_of_torch_stays_chance_in_the_training_graph() -> None:
    def drop_path(module: Any, x: Tensor) -> Tensor:
        return x + module.c(x) * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.5) if module.training else x

    assert torch.equal(*both(Functional(drop_path, c=conv(3, 3)), training=True, count=16))


def test_a_message_holds_no_address() -> None:
    with pytest.raises(ExportProblem) as caught:
        export(Functional(lambda m, x: x * x.size(0) ** 0.5))
    assert "operator.pow" in str(caught.value)
    assert "0x" not in str(caught.value)


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ x.view(4, -1)  # this line is looked for


class Guarded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 1:  # a decision on values
            return x * 2
        return x


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        return torch.fft.rfft2(y).abs()  # an operation of its own


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in many notebooks
        return torch.jit.script(nn.ReLU())


def locate_here(filename: str, line: int) -> int:
    return encode_line(3, line) if filename == __file__ else 0


def line_with(text: str) -> int:
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


@pytest.mark.parametrize(
    ("module", "kind", "words", "text"),
    [
        (Broken(), "error", "forward raises RuntimeError for an input (4, 3, 32, 32)", "# this line is looked for"),
        (Guarded(), "unsupported", "what it does next depends on the values of a tensor", "# a decision on values"),
        (Fourier(), "unsupported", "aten.fft_rfft2.default", "# an operation of its own"),
        (Functional(lambda m, x: (x, x)), "error", "forward must return one tensor", ""),
        (Functional(lambda m, x: {"logits": x}), "error", "forward must return one tensor", ""),
        (Functional(lambda m, x: F.conv2d(x, m.c.weight.data), c=conv(3, 4)), "unsupported", "a tensor's .data", ""),
        (nn.Sequential(conv(3, 4), scripted()), "unsupported", "`1` is a scripted module", ""),
        (nn.Conv2d(3, 4, 1).bfloat16(), "error", "forward raises RuntimeError", ""),
        (Functional(lambda m, x: x * m.w, w=nn.Parameter(torch.ones(1).bfloat16())), "unsupported", "use float32", ""),
    ],
)  # fmt: skip
def test_problems_name_the_cause_and_the_line(module: nn.Module, kind: str, words: str, text: str) -> None:
    with pytest.raises(ExportProblem, match=r".") as caught:
        export_graph(module, torch.zeros(4, 3, 32, 32), training=False, pool=TensorPool(), locate=locate_here)
    assert caught.value.kind == kind
    assert words in str(caught.value)
    if text:
        assert decode_line(caught.value.line) == (3, line_with(text))


def test_nothing_is_printed_while_exporting(capfd: pytest.CaptureFixture[str]) -> None:
    def forward(module: Any, x: Tensor) -> Tensor:
        print("shape", x.shape)
        return x if x.max() > 1 else x * 2

    with pytest.raises(ExportProblem):
        export(Functional(forward))
    assert capfd.readouterr() == ("", "")


def test_graphs_hold_no_names_but_as_data() -> None:
    module = nn.Sequential()
    module.add_module("__import__('os')", conv(3, 4))
    wire = export(module).wire
    text = json.dumps(wire["nodes"])
    assert "import" not in text
    assert any("__import__('os')" in tensor[1] for tensor in wire["tensors"])
