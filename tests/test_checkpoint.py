"""Checkpoints are read without a pickle, fitted to the architecture, and evaluated as handed in."""

from __future__ import annotations

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
from autograder.judging.evidence import Problem
from autograder.worker.checkpoint import read_state_dict
from autograder.worker.exporter import TensorPool, export_graph
from tools.hidden_graders import IMPORTS, evidence_of, given, grade_check, open_runner, submitted

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
    return read_checkpoint(STEM, {path.name: submitted(path)}, converted, most_mib)


def fitted(exported, path: Path, converted: bytes | None = None) -> dict[str, np.ndarray]:
    """The arrays of the graph after binding, by name."""
    graph, tensors, _ = exported
    arrays = load(fit_checkpoint(graph, tensors, read(path, converted=converted)))
    return {tensor.name: arrays[tensor.key] for tensor in graph.tensors}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_state_dict_is_bound_by_name_whatever_wrapped_the_model(exported, tmp_path, prefix):
    state = exported[2]
    path = tmp_path / "modern_cnn.safetensors"
    save_file({prefix + name: value for name, value in state.items()}, path)
    bound = fitted(exported, path)
    for name, array in bound.items():
        np.testing.assert_array_equal(array, state[name].numpy())


def test_converted_pt_file_is_bound(exported, tmp_path):
    path = tmp_path / "modern_cnn.pt"
    torch.save(exported[2], path)
    header, blob = read_state_dict(path)
    assert "problem" not in header
    np.testing.assert_array_equal(fitted(exported, path, blob)["conv.weight"], exported[2]["conv.weight"].numpy())


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
    files = {p.name: submitted(p) for p in tmp_path.iterdir()}
    found = read_checkpoint(STEM, files, None, 64)
    assert found.name == "modern_cnn.safetensors"
    assert "modern_cnn.pt was ignored" in found.notes[0]


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
        (b"PK\x03\x04 a zip", "under the wrong name"),
        (b"\x80\x02 a pickle", "under the wrong name"),
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
    path = tmp_path / "ModernCNN.pth"
    path.write_bytes(b"")
    with pytest.raises(CheckpointProblem, match=r"no modern_cnn.safetensors .* Found: ModernCNN.pth"):
        read(path)


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
    for part in ("not from this version of the class", "missing", "unexpected extra.weight", "(5, 3, 3, 3)"):
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
    files = {path.name: submitted(path)} if path.exists() else {}
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
        (b"PK", "wrong name"),
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
