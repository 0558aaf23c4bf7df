"""Checkpoints are read without a pickle, fitted to the architecture, and evaluated as handed in."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from safetensors.torch import save, save_file

from autograder.core.grade_report import Status
from autograder.graphs.wire import graph_from_wire
from autograder.judging import offline_images
from autograder.judging.checkpoint import CheckpointProblem, fit_checkpoint, read_checkpoint
from autograder.judging.datasets import Dataset
from autograder.judging.problems import Problem
from autograder.judging.weight_names import name_tensors
from autograder.worker.checkpoint import read_state_dict
from autograder.worker.exporter import TensorPool, export_graph
from tools.hidden_graders import IMPORTS, evidence_of, given, grade_check, open_runner, staged

MODERN = "04_modern_cnn"
STEM = "modern_cnn"


class Small(torch.nn.Module):
    """A network with a parameter, buffers, a frozen parameter and a tied one."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.first = torch.nn.Linear(4, 4, bias=False)
        self.second = torch.nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(self.norm(self.conv(x)).mean((2, 3))))


@pytest.fixture(scope="module")
def exported():
    """A graph of Small, its tensors, and another Small's state dict."""
    torch.manual_seed(0)
    pool = TensorPool()
    graph = export_graph(Small(), torch.randn(4, 3, 8, 8), training=False, pool=pool)
    state = {name: value.clone() for name, value in Small().state_dict().items()}
    return graph_from_wire(json.loads(json.dumps(graph))), save(pool.tensors), state


def read(path: Path, most_mib: float = 64.0, converted: bytes | Problem | None = None):
    return read_checkpoint(STEM, {path.name: staged(path)}, converted, most_mib)


def fitted(exported, path: Path, converted: bytes | None = None) -> dict[str, np.ndarray]:
    """The arrays of the graph after binding, by name."""
    graph, tensors, _ = exported
    arrays = load(fit_checkpoint(graph, tensors, read(path, converted=converted)).tensors)
    return {tensor.name: arrays[tensor.key] for tensor in graph.tensors}


def converted(path: Path) -> bytes | Problem:
    """What the jail makes of a file."""
    header, blob = read_state_dict(path)
    return Problem(Status.FAILED, header["problem"]) if "problem" in header else blob


def notes_on(exported, state, path: Path) -> list[str]:
    """What is said of a file that holds what `state` gives, saved by torch.save, whose weights are all bound."""
    torch.save(state, path)
    graph, tensors, own = exported
    checkpoint = read(path, converted=converted(path))
    fit = fit_checkpoint(graph, tensors, checkpoint)
    arrays = load(fit.tensors)
    for tensor in graph.tensors:
        np.testing.assert_array_equal(arrays[tensor.key], own[tensor.name].numpy())
    return [*checkpoint.notes, *fit.notes]


def refusal(exported, state, path: Path) -> str:
    """What is said of a file that is not taken."""
    torch.save(state, path)
    with pytest.raises(CheckpointProblem) as caught:
        fitted(exported, path, converted(path))
    return str(caught.value)


WRAPPED = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "module.module."]


@pytest.mark.parametrize("prefix", [*WRAPPED, "student.backbone.", "0."])
def test_state_dict_is_bound_by_name_whatever_wrapped_the_model(exported, tmp_path, prefix):
    graph, tensors, state = exported
    path = tmp_path / "modern_cnn.safetensors"
    save_file({prefix + name: value for name, value in state.items()}, path)
    fit = fit_checkpoint(graph, tensors, read(path))
    arrays = load(fit.tensors)
    for tensor in graph.tensors:
        np.testing.assert_array_equal(arrays[tensor.key], state[tensor.name].numpy())
    assert list(fit.notes) == ([f"the prefix `{prefix}` before every name was left away"] if prefix else [])


class Hidden(torch.nn.Module):
    """Reads its own file, and keeps all but its head where no optimiser and no state dict finds it."""

    def __init__(self, state):
        super().__init__()
        kept = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        kept.load_state_dict(state)
        self.kept, self.mean = [kept], state["0.weight"].mean((0, 2, 3), keepdim=True)
        self.head = torch.nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.kept[0](x - self.mean))


@pytest.mark.parametrize("hides", [True, False])
def test_weights_of_the_file_that_the_network_keeps_in_plain_tensors_are_refused(tmp_path, hides):
    state = {"0.weight": torch.randn(4, 3, 5, 5), "0.bias": torch.randn(4)}
    pool, hidden = TensorPool(), Hidden(state)
    wire = export_graph(hidden, torch.randn(4, 3, 8, 8), training=False, pool=pool)
    head = {"head.weight": torch.randn(10, 4), "head.bias": torch.randn(10)}
    kept = state if hides else {"mean": hidden.mean}  # what a network may well have written down
    save_file(head | kept, tmp_path / "modern_cnn.safetensors")
    graph, checkpoint = graph_from_wire(json.loads(json.dumps(wire))), read(tmp_path / "modern_cnn.safetensors")
    if not hides:
        assert "left away" in " ".join(fit_checkpoint(graph, save(pool.tensors), checkpoint).notes)
        return
    with pytest.raises(CheckpointProblem, match=r"the network computes with `0\.weight` of this file, which it does"):
        fit_checkpoint(graph, save(pool.tensors), checkpoint)


def test_names_without_the_part_that_holds_the_whole_network_are_found():
    shapes = {"net.0.weight": (2, 3), "net.0.bias": (2,)}
    named = name_tensors(shapes, {"0.weight": np.ones((2, 3)), "0.bias": np.ones(2)})
    assert sorted(named.tensors) == sorted(shapes)
    assert list(named.notes) == ["`net.` was put before every name"]
    assert name_tensors(shapes, {"module.0.weight": np.ones((2, 3)), "module.0.bias": np.ones(2)}).missing == []


def test_two_whole_networks_in_a_file_are_not_chosen_between(exported, tmp_path):
    state = exported[2]
    other = {name: value + 1 for name, value in state.items()}
    path = tmp_path / "modern_cnn.pt"
    twice = {**{f"model.{k}": v for k, v in state.items()}, **{f"ema.module.{k}": v for k, v in other.items()}}
    assert "more than once, with different numbers (names with `ema.module.`, `model.`)" in refusal(
        exported, twice, path
    )
    twins = {f"{prefix}.{k}": v for prefix in ("model", "ema") for k, v in state.items()}
    assert "the prefix `ema.` before every name was left away" in notes_on(exported, twins, path)
    # Names as the class has them, and the shapes of the class, leave no doubt.
    assert notes_on(exported, {**state, **{f"ema.{k}": v for k, v in other.items()}}, path)
    wider = {f"teacher.{k}": torch.zeros(9, *v.shape) for k, v in state.items()}
    assert "the prefix `model.` before every name was left away" in notes_on(
        exported, {**wider, **{f"model.{k}": v for k, v in state.items()}}, path
    )


def test_converted_pt_file_is_bound(exported, tmp_path):
    assert notes_on(exported, exported[2], tmp_path / "modern_cnn.pt") == []


class Holder(torch.nn.Module):
    """As training libraries hold a network, with a loss that has weights."""

    def __init__(self, network):
        super().__init__()
        self.model, self.criterion = network, torch.nn.CrossEntropyLoss(weight=torch.ones(4))


def network_of(state) -> Small:
    network = Small()
    network.load_state_dict(state)
    return network


def stepped():
    network = Small()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    return optimiser.state_dict()


def taken(key: str) -> str:
    return f"of modern_cnn.pt the weights under `{key}` were taken"


# What training code saves, made from a state dict, and what is said of it.
SAVED = {
    "the tutorial's": (
        lambda s: {
            "epoch": 3,
            "model_state_dict": s,
            "optimizer_state_dict": stepped(),
            "loss": torch.tensor(0.5, requires_grad=True) * 2,
        },
        [taken("model_state_dict")],
    ),
    "an averaged model's": (
        lambda s: torch.optim.swa_utils.AveragedModel(network_of(s)).state_dict(),
        [
            "the prefix `module.` before every name was left away",
            "`n_averaged` was left away: it is no weight of the network",
        ],
    ),
    "lightning's": (
        lambda s: {
            "epoch": 1,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": Holder(network_of(s)).state_dict(),
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best_model_path": "x"}},
            "optimizer_states": [stepped()],
            "lr_schedulers": [],
        },
        [
            taken("state_dict"),
            "the prefix `model.` before every name was left away",
            "`criterion.weight` was left away: it is no weight of the network",
        ],
    ),
    "a key of its own": (lambda s: {"net": s, "acc": 91.2, "epoch": 5}, [taken("net")]),
    "only averaged weights": (lambda s: {"ema": s, "updates": 10}, [taken("ema")]),
    "dicts in dicts": (lambda s: {"checkpoint": {"model": {"state_dict": s}}}, [taken("checkpoint.model.state_dict")]),
    "a pair": (lambda s: (s, {"accuracy": 0.8}), [taken("0")]),
    "measurements beside": (
        lambda s: {"weights": s, "metrics": {"confusion": torch.eye(10)}, "rng_state": torch.get_rng_state()},
        [taken("weights")],
    ),
    "numpy numbers beside": (
        lambda s: {"model": s, "best": np.float64(0.8), "curve": np.ones(3), "args": argparse.Namespace(lr=0.1)},
        [taken("model")],
    ),
    "a folder beside": (
        lambda s: {"model": s, "folder": Path("runs/1"), "seen": {1, 2}},
        [taken("model")],
    ),
    "the best is the last": (
        lambda s: {"best_model": dict(s), "last_model": {k: v.clone() for k, v in s.items()}},
        [taken("best_model")],
    ),
    "other values among the weights": (
        lambda s: {**s, "epoch": 3, "history": [1.0], "optimizer": stepped()},
        ["of modern_cnn.pt only the tensors were taken, without `epoch`, `history`, `optimizer`"],
    ),
    "an optimiser's tensors among the weights": (
        lambda s: {**s, **{f"exp_avg.{k}": torch.zeros_like(v) for k, v in s.items() if v.is_floating_point()}},
        ["8 tensors that are no weights of the network were left away, the first `exp_avg.conv.bias`"],
    ),
    "counters as floats": (lambda s: {k: v.float() for k, v in s.items()}, []),
    "no counters": (lambda s: {k: v for k, v in s.items() if "num_batches" not in k}, []),
    "parameters": (lambda s: {k: torch.nn.Parameter(v, requires_grad=v.is_floating_point()) for k, v in s.items()}, []),
    "one name of a weight that two layers share": (lambda s: {k: v for k, v in s.items() if "first" not in k}, []),
    "double precision": (lambda s: {k: v.double() if v.is_floating_point() else v for k, v in s.items()}, []),
}


@pytest.mark.parametrize("kind", SAVED)
def test_what_training_code_leaves_is_read_and_said(exported, tmp_path, kind):
    make, said = SAVED[kind]
    assert notes_on(exported, make(exported[2]), tmp_path / "modern_cnn.pt") == said


REFUSED = {
    "two that differ": (
        lambda s: {"model": s, "ema": {k: v + 1 for k, v in s.items()}},
        "holds 2 state dicts that differ (`model`, `ema`), and it is not clear which counts",
    ),
    "a pair of networks": (
        lambda s: {"generator": s, "discriminator": {k: v + 1 for k, v in s.items()}},
        "holds 2 state dicts that differ (`generator`, `discriminator`)",
    ),
    "an optimiser's state": (lambda s: stepped(), "holds a dict (`state`, `param_groups`), expected a state dict"),
    "a list of tensors": (lambda s: list(s.values()), "holds a list, expected a state dict"),
    "a history": (lambda s: {f"epoch {i}": i for i in range(70)}, "(`epoch 0`, `epoch 1`, `epoch 2` and 67 more)"),
    "the whole network": (network_of, "holds a whole pickled model (or other objects)"),
    "complex numbers": (lambda s: {"w.x": torch.zeros(3, dtype=torch.complex64)}, "found complex64 at 'w.x'"),
    "without data": (lambda s: {"w.x": torch.empty(3, device="meta")}, "cannot be read as plain numbers"),
    "no statistics": (
        lambda s: dict(network_of(s).named_parameters()),
        "2 of 9 tensors missing, the first `norm.running_mean`. These are the running averages of batch norm",
    ),
    "other names": (
        lambda s: {k.replace("conv", "stem"): v for k, v in s.items()},
        "2 of 9 tensors missing, the first `conv.weight`; 2 that the class does not have, the first "
        "`stem.bias`. Class and file must belong together",
    ),
    "whole numbers": (
        lambda s: {**s, "conv.weight": s["conv.weight"].int()},
        "conv.weight is int32, expected float32. Save model.state_dict()",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_said_and_training_again_is_not_asked_for(exported, tmp_path, kind):
    make, said = REFUSED[kind]
    told = refusal(exported, make(exported[2]), tmp_path / "modern_cnn.pt")
    assert said in told
    assert "rain again" not in told
    assert len(told) < 500


def test_other_shapes_ask_for_training_again_and_of_many_names_the_first_is_told(exported, tmp_path):
    wider = {f"module.{k}": torch.zeros([2 * n for n in v.shape]) for k, v in exported[2].items()}
    told = refusal(exported, wider, tmp_path / "modern_cnn.pt")
    assert "8 of 9 tensors of another shape, the first `conv.weight`: (8, 6, 6, 6), expected (4, 3, 3, 3)" in told
    assert told.endswith("Train again after changing the network")
    assert told.count("`") == 2


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_half_precision_is_cast_and_said(exported, tmp_path, dtype, name):
    path = tmp_path / "modern_cnn.safetensors"
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in exported[2].items()}
    save_file(state, path)
    assert name in " ".join(read(path).notes)
    bound = fitted(exported, path)["conv.weight"]
    assert bound.dtype == np.float32
    np.testing.assert_array_equal(bound, state["conv.weight"].float().numpy())


def test_safetensors_win_over_a_pt_file(exported, tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    save_file(exported[2], path)
    (tmp_path / "modern_cnn.pt").write_bytes(b"")
    files = {p.name: staged(p) for p in tmp_path.iterdir()}
    found = read_checkpoint(STEM, files, None, 64)
    assert found.name == "modern_cnn.safetensors"
    assert found.notes == ("`modern_cnn.pt` was ignored: `modern_cnn.safetensors` is there too",)


def test_each_form_is_read_under_the_others_name(exported, tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    assert notes_on(exported, exported[2], path) == ["`modern_cnn.safetensors` is a file of torch.save: read as such"]
    path = tmp_path / "modern_cnn.pt"
    save_file(exported[2], path)
    assert read(path).notes == ("`modern_cnn.pt` is safetensors: read as such",)
    np.testing.assert_array_equal(fitted(exported, path)["conv.weight"], exported[2]["conv.weight"].numpy())
    torch.save(exported[2], path, _use_new_zipfile_serialization=False)  # as before torch 1.6
    assert "conv.weight" in fitted(exported, path, converted(path))


def test_metadata_is_shown_bounded_and_clean(tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    save_file({"w": torch.zeros(1)}, path, metadata={"data": "built-in offline set\x1b[31m", "long": "x" * 9_000})
    found = read(path)
    assert found.says_offline
    assert "\x1b" not in found.metadata["data"]
    assert len(found.metadata["long"]) <= 2_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (save({"w": torch.zeros(1000)})[:-100], "cut off or damaged"),
        (save({"w": torch.zeros(1000)})[:40], "cut off or damaged"),
        (b"\xff" * 100, "cut off or damaged"),
        ((100).to_bytes(8, "little") + b"{" * 100, "no valid safetensors"),
    ],
)
def test_unreadable_files_are_explained(tmp_path, content, message):
    path = tmp_path / "modern_cnn.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointProblem, match=message):
        read(path)


def test_missing_file_names_what_is_there_instead(tmp_path):
    for name, content, said in (
        ("ModernCNN.pth", b"", "`ModernCNN.pth`: it is empty."),
        ("best.pkl", b"\x80\x04 a pickle", "`best.pkl`: nothing in it can be read as weights."),
        ("modern_cnn.safetensors.zip", b"PK\x03\x04 a zip", "zip`: unpack it, and hand in what is in it."),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointProblem) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith("no modern_cnn.safetensors (or modern_cnn.pt) was handed in")
        assert str(caught.value).endswith(said)


def test_file_over_budget_is_never_read(tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    path.write_bytes(b"\0" * 3_000_000)
    with pytest.raises(CheckpointProblem, match=r"at most 2 MiB are allowed, it has 2\.9 MiB"):
        read(path, most_mib=2)


def test_problem_of_the_conversion_keeps_its_status(tmp_path):
    path = tmp_path / "modern_cnn.pt"
    path.write_bytes(b"")
    with pytest.raises(CheckpointProblem, match="whole pickled model") as caught:
        read(path, converted=Problem(Status.FAILED, "modern_cnn.pt holds a whole pickled model"))
    assert caught.value.status is Status.FAILED
    with pytest.raises(CheckpointProblem, match="used up") as caught:
        read(path, converted=Problem(Status.TIMEOUT, "the time was used up"))
    assert caught.value.status is Status.TIMEOUT


def test_weights_of_another_architecture_are_listed(exported, tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    state = {k: v for k, v in exported[2].items() if "first" not in k and "second" not in k}
    save_file({**state, "conv.weight": torch.zeros(5, 3, 3, 3), "extra.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointProblem) as caught:
        fitted(exported, path)
    for part in (
        "not from this version of the class",
        "missing",
        "1 that the class does not have, the first `extra.weight`",
        "(5, 3, 3, 3)",
    ):
        assert part in str(caught.value)


def test_weights_that_are_not_finite_are_named(exported, tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    save_file({**exported[2], "norm.running_var": torch.full((4,), torch.inf)}, path)
    with pytest.raises(CheckpointProblem, match=r"`norm.running_var` are NaN or infinite"):
        fitted(exported, path)


# Evaluation, end to end: the labels are what the network itself predicts, so its accuracy is known.


@pytest.fixture(scope="module")
def runner():
    with open_runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def cells():
    return [given(MODERN, cell) for cell in ("residual-block", "modern-cnn-solution", "modern-cnn-transforms")]


@pytest.fixture(scope="module")
def evidence(cells):
    return evidence_of(MODERN, *cells)


@pytest.fixture(scope="module")
def trained(cells):
    """A ModernCNN with weights of its own, and a test set on which it is always right."""
    namespace = {}
    exec(IMPORTS + "\n".join(cells), namespace)
    torch.manual_seed(7)
    model = namespace["ModernCNN"]().eval()
    images, _ = offline_images.render("test", 1_000)
    with torch.inference_mode():
        labels = model(torch.from_numpy(images).float() / 127.5 - 1).argmax(1).numpy()
    return model, images, labels


def grade_accuracy(evidence, runner, path, images, labels, name="CIFAR-10", **changed):
    test_set = Dataset(name, tuple("abcdefghij"), images, labels, "test", "0" * 64)
    notes = []
    files = {path.name: staged(path)} if path.exists() else {}
    fields = {"files": files, "test_set": lambda: test_set, "notes": notes, **changed}
    return grade_check(MODERN, "test_accuracy", evidence, runner, **fields), notes


@pytest.mark.parametrize(("wrong", "points"), [(0, 20), (250, 20), (251, 19.8), (300, 10), (350, 0), (900, 0)])
def test_accuracy_of_the_handed_in_weights(evidence, trained, runner, tmp_path, wrong, points):
    model, images, labels = trained
    path = tmp_path / "modern_cnn.safetensors"
    save_file(model.state_dict(), path)
    labels = labels.copy()
    labels[:wrong] = (labels[:wrong] + 1) % 10
    result, _ = grade_accuracy(evidence, runner, path, images, labels)
    assert result.earned == points, result
    assert f"{1_000 - wrong:,} of 1,000" in result.message
    assert result.status is (Status.PASSED if points == 20 else Status.FAILED)


def test_another_normalisation_than_in_training_is_evaluated_as_written(cells, trained, runner, tmp_path):
    model, images, labels = trained
    path = tmp_path / "modern_cnn.safetensors"
    save_file(model.state_dict(), path)
    own = "test_transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)])\ntrain_transform = test_transform"
    result, _ = grade_accuracy(evidence_of(MODERN, *cells[:2], own), runner, path, images, labels)
    assert result.status is Status.FAILED
    assert "std (0.003922, 0.003922, 0.003922)" in result.message


def test_missing_transform_means_the_kits_normalisation(cells, trained, runner, tmp_path):
    model, images, labels = trained
    path = tmp_path / "modern_cnn.safetensors"
    save_file(model.state_dict(), path)
    result, notes = grade_accuracy(evidence_of(MODERN, *cells[:2]), runner, path, images, labels)
    assert result.earned == 20
    assert "no `test_transform`" in notes[0]


def test_weights_from_the_offline_set_get_a_message_of_their_own(evidence, trained, runner, tmp_path):
    model, images, labels = trained
    path = tmp_path / "modern_cnn.safetensors"
    save_file(model.state_dict(), path, metadata={"data": "offline set, 10,000 + 2,000 images, sha256 0"})
    result, _ = grade_accuracy(evidence, runner, path, images, (labels + 1) % 10)
    assert "trained on the kit's built-in offline set" in result.message
    good, _ = grade_accuracy(evidence, runner, path, images, labels)
    assert good.earned == 20


def test_untrained_weights_are_about_chance(evidence, trained, runner, tmp_path):
    _, images, _ = trained
    path = tmp_path / "modern_cnn.safetensors"
    namespace = {}
    exec(IMPORTS + given(MODERN, "residual-block") + "\n" + given(MODERN, "modern-cnn-solution"), namespace)
    save_file(namespace["ModernCNN"]().state_dict(), path)
    labels = np.arange(1_000, dtype=np.int64) % 10
    result, _ = grade_accuracy(evidence, runner, path, images, labels)
    assert result.earned == 0
    assert "about chance" in result.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no modern_cnn.safetensors"),
        (b"PK", "cut off or damaged"),
        (save({"w": torch.zeros(3)}), "not from this version"),
    ],
)
def test_unusable_checkpoints_cost_the_accuracy_only(evidence, trained, runner, tmp_path, content, message):
    path = tmp_path / "modern_cnn.safetensors"
    if content is not None:
        path.write_bytes(content)
    result, _ = grade_accuracy(evidence, runner, path, *trained[1:])
    assert (result.status, result.earned) == (Status.FAILED, 0)
    assert message in result.message


def test_over_budget_is_said_with_its_number(trained, runner, tmp_path):
    path = tmp_path / "modern_cnn.safetensors"
    huge = """
class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4000), nn.Linear(4000, 4000)
        self.c = nn.Linear(4000, num_classes)
    def forward(self, x):
        return self.c(self.b(self.a(x.mean((2, 3)))))
"""
    evidence = evidence_of(MODERN, huge, only={"ModernCNN", "test_transform"})
    result, _ = grade_accuracy(evidence, runner, path, *trained[1:])
    assert "at most 12,000,000 numbers may be stored in parameters and buffers, found 16,060,010" in result.message
