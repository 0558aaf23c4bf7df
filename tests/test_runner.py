"""The jailed runner: right numbers, and a process that hangs, dies, lies or would eat the memory costs one request."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from autograder.core.config import Limits
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner import SGD, Runner
from autograder.graphs.runner_process import RunnerFault, RunnerProblem
from autograder.graphs.state import bind_tensors
from autograder.graphs.wire import graph_from_wire
from autograder.jail import Isolation, JailedProcess, find_isolation, start
from autograder.worker.graph_costs import estimate
from autograder.worker.interpreter import Graph, GraphError, execute
from tests.graph_models import DEEPER, Functional, conv, export, reference

LIMITS = Limits()
LABELS = np.arange(8) % 10


def images(count: int = 8, size: int = 32, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((count, 3, size, size)).astype(np.float32)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """One runner for all tests, in a jail where the machine has one."""
    with Runner(lambda: start("graph_server", LIMITS, find_isolation()), device="cpu") as running:
        yield running


@dataclass
class Network:
    """A module with its two graphs in the runner."""

    module: nn.Module
    graph: ModelGraph
    blob: bytes
    evaluation: int
    training: int


@pytest.fixture(scope="module")
def network(runner: Runner) -> Network:
    torch.manual_seed(0)
    module = DEEPER["residual"]()
    exported, training = export(module), export(module, training=True)
    handles = runner.load(exported.graph, exported.blob), runner.load(training.graph, training.blob)
    return Network(module.eval(), exported.graph, exported.blob, *handles)


def test_output_is_the_modules_own(runner: Runner, network: Network) -> None:
    for count in (1, 5):
        expected = network.module(torch.tensor(images(count))).detach().numpy()
        np.testing.assert_allclose(runner.run(network.evaluation, images(count)), expected, rtol=1e-4, atol=1e-6)


def test_shapes_and_costs_are_found_without_running(runner: Runner, network: Network) -> None:
    info = runner.shapes(network.evaluation, (4, 3, 32, 32))
    assert info.shapes[network.graph.output] == (4, 10)
    assert info.shapes[network.graph.input] == (4, 3, 32, 32)
    assert runner.shapes(network.evaluation, (1000, 3, 64, 64)).shapes[network.graph.output] == (1000, 10)
    assert runner.shapes(network.evaluation, (8, 3, 32, 32)).macs_per_image == info.macs_per_image
    # Conv2d(3, 32, 3) at 32×32 is 32·27·1024 multiply-accumulates; the others by the same formula.
    reference_costs = [
        o * i * 9 * (32 >> k) ** 2 for k, (i, o) in enumerate([(3, 32), (32, 64), (64, 128), (128, 256)])
    ]
    plain = export(reference())
    handle = runner.load(plain.graph, plain.blob)
    assert runner.shapes(handle, (4, 3, 32, 32)).macs_per_image == sum(reference_costs) + 2560


def test_evaluation_normalises_and_does_not_depend_on_the_batch(runner: Runner, network: Network) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
    scale, shift = [2.0, 3.0, 4.0], [-1.0, -1.5, -2.0]
    normalised = torch.tensor(pictures).float() / 255 * torch.tensor(scale).view(1, 3, 1, 1)
    expected = network.module(normalised + torch.tensor(shift).view(1, 3, 1, 1)).detach().numpy()
    for batch_size in (50, 16):
        found = runner.evaluate(network.evaluation, pictures, scale, shift, batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_memory_order_of_the_student_does_not_matter(runner: Runner) -> None:
    """A view of a contiguous map is no view of a channels-last one; written through, the difference shows."""

    def forward(module: Any, x: torch.Tensor) -> torch.Tensor:
        x = module.c(x)
        x.view(x.shape[0], -1).mul_(0.5)
        return x.view(x.shape[0], -1)[:, :10]

    module = Functional(forward, c=conv(3, 8))
    exported = export(module)
    pictures = np.full((4, 3, 32, 32), 100, np.uint8)
    found = runner.evaluate(runner.load(exported.graph, exported.blob), pictures, [1, 1, 1], [0, 0, 0], 2)
    np.testing.assert_allclose(found, module(torch.tensor(pictures) / 255).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_gradients_are_those_of_autograd(runner: Runner, network: Network) -> None:
    found = runner.gradients(network.evaluation, images(), LABELS)
    loss = F.cross_entropy(network.module(torch.tensor(images())), torch.tensor(LABELS))
    network.module.zero_grad()
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in network.module.named_parameters():
        assert found.parameters[name].finite
        assert found.parameters[name].max_abs == pytest.approx(parameter.grad.abs().max().item(), rel=1e-3, abs=1e-7)


def test_parameters_without_influence_have_no_gradient(runner: Runner) -> None:
    module = Functional(
        lambda m, x: m.a(x).mean((2, 3)) + m.b(x).detach().mean(), a=conv(3, 10), b=conv(3, 1), c=conv()
    )
    module.a.bias.requires_grad_(False)
    exported = export(module)
    found = runner.gradients(runner.load(exported.graph, exported.blob), images(), LABELS).parameters
    moving = {name for name, statistics in found.items() if statistics.max_abs > 0}
    assert moving == {"a.weight"}
    assert set(found) == {name for name, _ in module.named_parameters()}


def test_square_loss_takes_any_output(runner: Runner) -> None:
    exported = export(nn.Sequential(conv(3, 4)))
    handle = runner.load(exported.graph, exported.blob)
    assert runner.gradients(handle, images(), LABELS, loss="square").parameters["0.weight"].max_abs > 0
    with pytest.raises(RunnerProblem, match=r"expected logits of shape \(N, classes\)"):
        runner.gradients(handle, images(), LABELS)


def test_training_steps_lower_the_loss_of_the_evaluated_graph(runner: Runner, network: Network) -> None:
    before = runner.loss(network.evaluation, images(), LABELS)
    trace = runner.train(network.training, images(), LABELS, SGD(steps=8, learning_rate=0.05))
    trained = runner.bind(network.evaluation, trace.handle)
    assert len(trace.losses) == 8
    assert trace.losses[-1] < trace.losses[0]
    assert runner.loss(trained, images(), LABELS) < before
    assert runner.loss(network.evaluation, images(), LABELS) == before  # the state it began with is untouched


def test_diverging_training_ends_early_and_says_nan(runner: Runner, network: Network) -> None:
    trace = runner.train(network.training, images() * 1e18, LABELS, SGD(steps=20, learning_rate=1e30))
    assert len(trace.losses) < 20
    assert np.isnan(trace.losses[-1])


def test_runs_leave_no_trace_in_the_statistics(runner: Runner, network: Network) -> None:
    first = runner.run(network.training, images())
    runner.run(network.training, images(seed=1))
    np.testing.assert_array_equal(first, runner.run(network.training, images()))


def test_bound_weights_are_the_ones_that_run(runner: Runner, network: Network) -> None:
    torch.manual_seed(1)
    other = DEEPER["residual"]().eval()
    state = {name: tensor.numpy() for name, tensor in other.state_dict().items()}
    handle = runner.load(network.graph, bind_tensors(network.graph, network.blob, state))
    expected = other(torch.tensor(images())).detach().numpy()
    np.testing.assert_allclose(runner.run(handle, images()), expected, rtol=1e-4, atol=1e-6)


def test_wrong_size_is_the_models_error_with_its_line(runner: Runner) -> None:
    exported = export(nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(4096, 10)))
    call = next(node for node in exported.wire["nodes"] if node[0] == "call" and "linear" in node[1])
    call[3] = 300_014
    handle = runner.load(graph_from_wire(exported.wire), exported.blob)
    with pytest.raises(RunnerProblem, match=r"operations fail on this input: .*16384") as caught:
        runner.run(handle, images(size=64))
    assert (caught.value.status, caught.value.line) == ("ERROR", 300_014)
    assert runner.run(handle, images()).shape == (8, 10)  # the process has survived


# Ruinous graphs


def attacked(*nodes: Any) -> Callable[[dict[str, Any]], None]:
    """Insert calls before the output; -1 in a reference is the node before the call."""

    def change(wire: dict[str, Any]) -> None:
        for node in nodes:
            text = json.dumps(node).replace('{"node": -1}', json.dumps({"node": len(wire["nodes"]) - 2}))
            wire["nodes"].insert(-1, json.loads(text))
        wire["nodes"][-1] = ["output", {"node": len(wire["nodes"]) - 2}]

    return change


HERE = {"node": -1}
RUIN = {
    "a list of millions": (
        attacked(
            ["call", "aten.zeros.default", [[1], None, None, None, None], 7, 0],
            ["call", "aten.expand.default", [HERE, [10**6], False], 7, 0],
            ["call", "aten.unbind.int", [HERE, 0], 7, 0],
            ["call", "operator.getitem", [HERE, 0], 7, 0],
        ),
        "unbind makes 1,000,000 tensors",
    ),
    "chunks of millions": (
        attacked(
            ["call", "aten.zeros.default", [[10**6], None, None, None, None], 7, 0],
            ["call", "aten.split.Tensor", [HERE, 1, 0], 7, 0],
            ["call", "operator.getitem", [HERE, 0], 7, 0],
        ),
        "split makes 1,000,000 tensors",
    ),
    "terabytes": (
        attacked(["call", "aten.repeat.default", [HERE, [1, 1, 10**4, 10**4]], 7, 0]),
        "too large",
    ),
    "gigabytes more than there are": (
        attacked(["call", "aten.zeros.default", [[2**31 - 1], {"dtype": "float64"}, None, None, None], 7, 0]),
        "the model would need about 16.0 GiB",
    ),
    "a million billion operations": (
        attacked(
            ["call", "aten.zeros.default", [[30_000, 30_000], None, None, None, None], 7, 0],
            ["call", "aten.mm.default", [HERE, HERE], 7, 0],
        ),
        "GMAC per image",
    ),
    "many dimensions": (attacked(["call", "aten.view.default", [HERE, [1] * 40 + [-1]], 7, 0]), "too large"),
    "no multiplication, but a billion values again and again": (
        attacked(
            ["call", "aten.zeros.default", [[2**30], {"dtype": "uint8"}, None, None, None], 7, 0],
            *[["call", "aten.bitwise_not.default", [HERE], 7, 0]] * 20,
        ),
        "billion values per image",
    ),
    "sums over what an expansion only pretends to hold": (
        attacked(
            ["call", "aten.ones.default", [[1], None, None, None, None], 7, 0],
            *[
                ["call", "aten.expand.default", [HERE, [2**31 - 1], False], 7, 0],
                ["call", "aten.sum.dim_IntList", [HERE, [0], True, None], 7, 0],
            ]
            * 9,
        ),
        "billion values per image",
    ),
    "sorting": (
        attacked(
            ["call", "aten.zeros.default", [[2**26], None, None, None, None], 7, 0],
            *[
                ["call", "aten.sort.default", [HERE, 0, False], 7, 0],
                ["call", "operator.getitem", [HERE, 0], 7, 0],
            ]
            * 4,
        ),
        "billion values per image",
    ),
    "windows as large as the picture": (
        attacked(
            ["call", "aten.zeros.default", [[1, 64, 512, 512], None, None, None, None], 7, 0],
            ["call", "aten.max_pool2d.default", [HERE, [511], [1], [255], [1], False], 7, 0],
        ),
        "billion values per image",
    ),
    "a bilinear layer": (
        attacked(
            ["call", "aten.ones.default", [[100_000, 500], None, None, None, None], 7, 0],
            ["call", "aten.ones.default", [[500, 500, 500], None, None, None, None], 7, 0],
            ["call", "aten.bilinear.default", [{"node": 4}, {"node": 4}, HERE, None], 7, 0],
        ),
        "GMAC per image",
    ),
    "a product of many vectors": (
        attacked(
            ["call", "aten.ones.default", [[1000], None, None, None, None], 7, 0],
            ["call", "aten.einsum.default", ["a,b,c,d,e->", [HERE] * 5, None], 7, 0],
        ),
        "GMAC per image",
    ),
    "thousands of lists that nobody uses": (
        attacked(
            ["call", "aten.zeros.default", [[4096], None, None, None, None], 7, 0],
            *[["call", "aten.unbind.int", [{"node": 4}, 0], 7, 0]] * 2000,
            ["call", "aten.relu.default", [{"node": 4}], 7, 0],
        ),
        "more than 200,000 pieces",
    ),
    "sizes that multiply": (
        attacked(
            ["call", "operator.mul", [2**30, 2**30], 7, 0],
            ["call", "aten.zeros.default", [[HERE], None, None, None, None], 7, 0],
        ),
        "a size of more than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUIN)
def test_ruinous_graph_is_refused_before_anything_is_allocated(runner: Runner, name: str) -> None:
    change, words = RUIN[name]
    exported = export(nn.Sequential(conv(3, 4)))
    wire = copy.deepcopy(exported.wire)
    change(wire)
    handle = runner.load(graph_from_wire(wire), exported.blob)
    with pytest.raises(RunnerProblem, match=words) as caught:
        runner.run(handle, images(), seconds=20)
    assert caught.value.status == "REFUSED"
    assert handle in runner._process.loaded  # the process has not been killed for it


def test_tensor_that_is_not_the_declared_one_is_refused(runner: Runner) -> None:
    exported = export(nn.Sequential(conv(3, 4)))
    wrong = safetensors.torch.save({"t0": torch.zeros(4, 3, 3, 3, dtype=torch.float64), "t1": torch.zeros(4)})
    with pytest.raises(RunnerProblem, match=r"0\.weight is not the tensor that the graph declares"):
        runner.load(exported.graph, wrong)


def test_interpreter_guards_weights_by_their_memory() -> None:
    """The trusted side refuses such graphs; the interpreter does not rely on it."""
    wire = copy.deepcopy(export(nn.Sequential(conv(3, 4))).wire)
    tensors = [torch.zeros(tensor[3]) for tensor in wire["tensors"]]
    wire["nodes"][-1:] = [
        ["call", "aten.zero_.default", [{"node": 0}], 5, 0],
        ["output", {"node": len(wire["nodes"]) - 1}],
    ]
    with pytest.raises(GraphError, match="writes into the input or a weight") as caught:
        execute(Graph(wire), tensors, torch.zeros(1, 3, 8, 8))
    assert caught.value.line == 5


def test_unknown_operation_never_reaches_torch() -> None:
    wire = copy.deepcopy(export(nn.Sequential(conv(3, 4))).wire)
    wire["nodes"].insert(0, ["call", "aten.from_file.default", ["/etc/passwd"], 0, 0])
    with pytest.raises(GraphError, match="not in the table"):
        Graph(wire)


def test_einsum_costs_are_an_upper_bound() -> None:
    exported = export(Functional(lambda m, x: torch.einsum("nchw,kc->nk", x, m.w), w=nn.Parameter(torch.ones(5, 3))))
    tensors = [torch.ones(5, 3)]
    assert estimate(Graph(exported.wire), tensors, (4, 3, 8, 8)).macs == 4 * 3 * 8 * 8 * 5


# Processes that misbehave


def test_slow_request_times_out_and_the_next_one_works(runner: Runner, network: Network) -> None:
    trace = runner.train(network.training, images(), LABELS, SGD(steps=1, learning_rate=0.1))
    pictures = np.zeros((2000, 3, 32, 32), np.uint8)
    with pytest.raises(RunnerProblem, match="took too long") as caught:
        runner.evaluate(network.evaluation, pictures, [1, 1, 1], [0, 0, 0], 10, seconds=0.05)
    assert caught.value.status == "TIMEOUT"
    assert runner.run(network.evaluation, images()).shape == (8, 10)
    with pytest.raises(RunnerProblem, match="lost when the process"):
        runner.loss(trace.handle, images(), LABELS)


class Impostor:
    """A process with a jailed process's face that answers whatever a line of Python says."""

    def __init__(self, script: str) -> None:
        read, write = os.pipe()
        prelude = "import json, os, sys, time\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + script], stdin=subprocess.PIPE, env={"OUT": str(write)}, pass_fds=[write]
        )
        os.close(write)
        assert self.process.stdin is not None
        self.stdin, self.records, self.limits = self.process.stdin, read, LIMITS
        self.exceeded = ""
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115

    def watch(self) -> bool:
        return not self.exceeded

    def stderr_tail(self) -> str:
        return "a line of standard error"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        os.close(self.records)
        self.errors.close()


SAY = """
def say(**answer):
    payload = answer.pop('payload', b'')
    os.write(int(os.environ['OUT']), json.dumps({**answer, 'payload_bytes': len(payload)}).encode() + b'\\n' + payload)
def ask():
    request = json.loads(sys.stdin.buffer.readline()); sys.stdin.buffer.read(request['payload_bytes']); return request
say(id=ask()['id'], device='cpu'); load = ask(); say(id=load['id'])
"""


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("time.sleep(60)", "TIMEOUT", "took too long"),
        ("ask(); os._exit(0)", "CRASHED", "ended unexpectedly"),
        ("say(id=ask()['id'] + 1, shape=[1], payload=b'abcd')", "CRASHED", "cannot be right"),
        ("say(id=ask()['id'], shape=[2, 2], payload=b'abcd')", "CRASHED", "cannot be right"),
        ("say(id=ask()['id'], shape=[-1], payload=b'')", "CRASHED", "cannot be right"),
        ("say(id=ask()['id'], shape='x')", "CRASHED", "cannot be right"),
        ("say(id=ask()['id'], shape=[10**30])", "CRASHED", "cannot be right"),
        ("ask(); os.write(int(os.environ['OUT']), b'garbage\\n')", "CRASHED", "unreadable"),
        ("ask(); os.write(int(os.environ['OUT']), b'{\"payload_bytes\": 99999999999}\\n')", "CRASHED", "unreadable"),
        ("say(id=ask()['id'], error='error', message='\\x1b[2J' + 'x' * 9999, line='1')", "ERROR", "operations fail"),
    ],
)  # fmt: skip
def test_lying_process_is_a_problem_of_one_request(script: str, status: str, words: str) -> None:
    exported = export(nn.Sequential(conv(3, 4)))
    made: list[Impostor] = []

    def begin() -> JailedProcess:
        made.append(Impostor(SAY + script))
        return made[-1]  # type: ignore[return-value]

    with Runner(begin, seconds=20) as running:
        handle = running.load(exported.graph, exported.blob)
        with pytest.raises(RunnerProblem, match=words) as caught:
            running.run(handle, images(), seconds=2 if status == "TIMEOUT" else 20)
        assert caught.value.status == status
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
    assert all(process.process.returncode is not None for process in made)


def test_process_that_does_not_read_cannot_hold_a_request_up() -> None:
    exported = export(nn.Sequential(conv(3, 4)))
    script = SAY + "time.sleep(60)"
    with Runner(lambda: Impostor(script), seconds=20) as running:  # type: ignore[arg-type,return-value]
        handle = running.load(exported.graph, exported.blob)
        with pytest.raises(RunnerProblem, match="took too long"):
            running.run(handle, images(200), seconds=1)  # 2 MiB, far more than a pipe holds


def test_slow_models_share_one_budget() -> None:
    exported = export(nn.Sequential(conv(3, 4)))
    script = SAY + "time.sleep(60)"
    with Runner(lambda: Impostor(script), seconds_in_all=1.5) as running:  # type: ignore[arg-type,return-value]
        handle = running.load(exported.graph, exported.blob)
        for words in ("took too long", "more than 2 s in all", "more than 2 s in all"):
            with pytest.raises(RunnerProblem, match=words) as caught:
                running.shapes(handle, (4, 3, 32, 32))
            assert caught.value.status == "TIMEOUT"
        running.forget()  # another submission
        assert running.load(exported.graph, exported.blob) > handle


def test_process_that_cannot_start_is_the_graders_fault() -> None:
    with Runner(lambda: Impostor("sys.exit(1)")) as running:  # type: ignore[arg-type,return-value]
        exported = export(nn.Sequential(conv(3, 4)))
        with pytest.raises(RunnerFault, match=r"does not start .* a line of standard error"):
            running.load(exported.graph, exported.blob)


def test_unknown_device_is_the_graders_fault() -> None:
    isolation = Isolation("none")
    with Runner(lambda: start("graph_server", LIMITS, isolation), device="gpu7") as running:
        exported = export(nn.Sequential(conv(3, 4)))
        with pytest.raises(RunnerFault, match="device 'gpu7' cannot be used"):
            running.load(exported.graph, exported.blob)
