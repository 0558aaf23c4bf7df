"""Networks as boxes, accuracies with their surest mistakes, learning curves as a file claims them, answer cells."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image
from torch import Tensor, nn

from autograder.core.files import StagedFile
from autograder.core.grade_report import Curve, Layer
from autograder.graders.networks import Network
from autograder.graphs.analysis import parameter_count
from autograder.graphs.runner import GraphShapes, LoadedGraph
from autograder.graphs.wire import graph_from_wire
from autograder.handin.answers import MOST_CELLS, MOST_CHARACTERS, answer_cells
from autograder.handin.submission import Submission
from autograder.judging.accuracy import Accuracy, SureMistake, measure_accuracy
from autograder.judging.datasets import Dataset
from autograder.judging.evidence import Build, Evidence
from autograder.judging.model_summary import (
    MOST_LAYERS,
    curve_of,
    describe_curves,
    describe_model,
    describe_models,
    evaluation_of,
    layers_of,
    shortened,
)
from autograder.worker.exporter import encode_line
from tests.graph_models import DEEPER, Functional, Gate, Residual, conv, conv_norm, export
from tools.hidden_graders import graded

HISTORY = {
    "train_loss": [2, 1.5],
    "validation_loss": [1.9, 1.6],
    "train_accuracy": [0.3, 0.5],
    "validation_accuracy": [0.0, 1.0],
    "seconds": 12.5,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def boxes(module: nn.Module) -> list[Layer]:
    found = export(module.eval())
    return layers_of(found.graph, found.shapes)


def texts(layers: list[Layer]) -> list[str]:
    return [layer.text for layer in layers]


# Networks as boxes


@pytest.mark.parametrize("name", ["pool at the end", "residual", "gated", "parallel kernels"])
def test_every_step_is_a_box_with_what_goes_in_and_its_parameters(name: str) -> None:
    found = export(DEEPER[name]())
    layers = layers_of(found.graph, found.shapes)
    assert sum(layer.parameters for layer in layers) == parameter_count(found.graph)
    assert [place for place, layer in enumerate(layers) if not layer.inputs] == [0]
    assert all(before < place for place, layer in enumerate(layers) for before in layer.inputs)
    assert {before for layer in layers for before in layer.inputs} == set(range(len(layers) - 1))
    assert (layers[0].kind, tuple(layers[0].shape)) == ("input", (3, 32, 32))
    assert (layers[-1].kind, tuple(layers[-1].shape)) == ("output", (10,))


def test_a_drawing_reads_as_the_lesson_speaks() -> None:
    module = nn.Sequential(
        conv_norm(3, 8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.GroupNorm(4, 8),
        nn.Conv2d(8, 16, (1, 3), stride=2, groups=2),
        nn.GELU(),
        nn.MaxPool2d(3, 1),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 10),
    )
    assert texts(boxes(module)) == [
        "Input",
        "Conv 3×3, 3→8",
        "BatchNorm 8",
        "ReLU",
        "Conv 3×3, 8→8, depthwise, no padding",
        "GroupNorm",
        "Conv 1×3, 8→16, 2 groups, stride 2, no padding",
        "GELU",
        "Max pool 3×3, stride 1",
        "Average pool 2×2",
        "Global average pool",
        "Flatten",
        "Dropout 0.5",
        "Linear 16→10",
        "Output",
    ]


def test_a_residual_addition_has_both_the_block_and_its_shortcut_as_inputs() -> None:
    layers = boxes(nn.Sequential(conv(3, 16), Residual(16, 16), Residual(16, 32, 2)))
    identity, projection = (layer for layer in layers if layer.kind == "add")
    assert [layers[place].text for place in identity.inputs] == ["BatchNorm 16", "Conv 3×3, 3→16"]
    assert [layers[place].text for place in projection.inputs] == ["BatchNorm 32", "Conv 1×1, 16→32, stride 2"]


def split(module: Any, x: Tensor) -> Tensor:
    one, other = module.stem(x).contiguous().chunk(2, dim=1)
    return torch.cat([one.to(torch.float32), other * module.scale], 1).mean(dim=(2, 3))


def shuffled(module: Any, x: Tensor) -> Tensor:
    count, channels, *_ = (x := module.stem(x)).shape
    return x.view(count, 2, channels // 2, 32, 32).transpose(1, 2).reshape(count, channels, 32, 32).amax((2, 3))


def used_twice(module: Any, x: Tensor) -> Tensor:
    tokens: Tensor = module.stem(x).flatten(2)
    return tokens.transpose(1, 2).matmul(tokens).flatten(1)


def written(module: Any, x: Tensor) -> Tensor:
    out = torch.zeros(x.shape[0], 32, 32, 32)
    out[:, :16] = module.stem(x)
    return out.flatten(1)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (split, ["Input", "Conv 3×3, 3→16", "Chunk", "×", "Concatenate", "Global average pool", "Output"]),
        (shuffled, ["Input", "Conv 3×3, 3→16", "Reshape", "Global max pool", "Output"]),
        (used_twice, ["Input", "Conv 3×3, 3→16", "Reshape", "Permute", "Matrix product", "Flatten", "Output"]),
        (written, ["Input", "Conv 3×3, 3→16", "Copy", "Flatten", "Output"]),
    ],
)
def test_what_a_reader_does_not_ask_for_is_passed_over(
    forward: Callable[[Any, Tensor], Tensor], expected: list[str]
) -> None:
    scale = nn.Parameter(torch.ones(1, 8, 1, 1))
    layers = boxes(Functional(forward, stem=conv(3, 16), scale=scale))
    assert texts(layers) == expected
    assert all(layer.shape for layer in layers)
    assert sum(layer.parameters for layer in layers) == 448 + 8 * (forward is split)


def test_a_weight_that_two_layers_share_counts_once() -> None:
    shared = conv(16, 16)
    layers = boxes(nn.Sequential(conv(3, 16), shared, nn.ReLU(), shared, Gate(16)))
    assert [layer.parameters for layer in layers if layer.text == "Conv 3×3, 16→16"] == [2320, 0]


def test_a_box_points_to_the_students_line() -> None:
    found = export(nn.Sequential(conv(3, 16), nn.ReLU()))
    wire = json.loads(json.dumps(found.wire))
    for node in wire["nodes"]:
        if node[0] == "call":
            node[3] = encode_line(7, 12)
    layers = layers_of(graph_from_wire(wire), found.shapes)
    assert [(layer.source_cell, layer.line) for layer in layers] == [(0, 0), (7, 12), (7, 12), (0, 0)]


def test_size_and_cost_are_those_that_the_checks_count() -> None:
    found = export(DEEPER["stride"]())
    model = describe_model(
        "02", "DeeperCNN", LoadedGraph(found.graph, found.blob, 1, GraphShapes(found.shapes, 123, 0))
    )
    assert (model.notebook, model.name, model.parameters, model.macs) == ("02", "DeeperCNN", 391_946, 123)
    assert model.shortened == 0


def test_the_middle_of_a_long_network_is_left_out_and_edges_stay_within() -> None:
    count = MOST_LAYERS + 50
    layers = [Layer("other", str(i), [i], [i - 1] if i else [], parameters=1) for i in range(count)]
    layers[-1] = Layer("add", "+", [1], [0, count // 2, count - 2], parameters=1)
    shown, left_out = shortened(layers)
    assert (len(shown), left_out) == (MOST_LAYERS, 51)
    assert shown[200].text == "… 51 steps more …"
    assert (shown[199].text, shown[201].text, shown[200].inputs, shown[201].inputs) == ("199", "251", [199], [200])
    assert shown[-1].inputs == [0, 200, MOST_LAYERS - 2]
    assert sum(layer.parameters for layer in shown) == count


def test_a_network_is_drawn_where_a_check_has_looked_at_it_and_never_with_drawn_arguments(tmp_path: Path) -> None:
    found = export(DEEPER["stride"]())
    looked_at = LoadedGraph(found.graph, found.blob, 1, GraphShapes(found.shapes, 123, 0))
    builds = (Build({"num_classes": 7}, {}, drawn=True), Build({}, {}))
    networks = [Network("DeeperCNN", build, None, b"", 32) for build in builds]  # type: ignore[arg-type]
    subject = graded("02_deeper_cnn", Evidence(), None, networks={"DeeperCNN": networks})  # type: ignore[arg-type]
    networks[0]._exports[False, 32] = looked_at
    assert describe_models(subject) == []
    networks[1]._exports[False, 32] = looked_at
    assert [(model.name, len(model.layers)) for model in describe_models(subject)] == [("DeeperCNN", 18)]


# How the weights did


def test_the_surest_mistakes_come_first_with_their_softmax() -> None:
    labels = np.arange(12, dtype=np.int64) % 10
    images = np.zeros((12, 3, 32, 32), np.uint8)
    images[:, 0, 0, 0] = np.arange(12)
    logits = np.vstack([np.eye(10), np.eye(10)[:2]]).astype(np.float32) * 5
    logits[3], logits[4], logits[10] = np.eye(10)[7] * 9, np.eye(10)[8] * 2, np.nan
    logits[11, 5] = 3e38  # no overflow

    found = measure_accuracy(lambda chosen, _: logits[chosen[:, 0, 0, 0]], images, labels, b"secret")
    assert [(m.image, m.predicted) for m in found.mistakes] == [(11, 5), (3, 7), (4, 8)]
    assert found.mistakes[0].confidence == 1
    assert found.mistakes[1].confidence == pytest.approx(math.exp(9) / (math.exp(9) + 9), abs=1e-4)
    assert found.not_finite == 1


def test_of_many_mistakes_the_nine_surest_are_kept() -> None:
    images = np.arange(40, dtype=np.uint8).repeat(3 * 32 * 32).reshape(40, 3, 32, 32)

    def evaluate(chosen: np.ndarray[Any, Any], _: int) -> np.ndarray[Any, Any]:
        return np.outer(chosen[:, 0, 0, 0], np.arange(10) == 9).astype(np.float32) / 40

    found = measure_accuracy(evaluate, images, np.zeros(40, np.int64), b"secret")
    assert [mistake.image for mistake in found.mistakes] == list(range(39, 30, -1))
    assert measure_accuracy(evaluate, images, np.full(40, 9), b"secret").mistakes[0].predicted == 0  # a tie of zeros


def test_an_evaluation_shows_the_image_itself_and_names_of_classes() -> None:
    images = np.random.RandomState(0).randint(0, 255, (4, 3, 32, 32)).astype(np.uint8)
    test_set = Dataset("two", ("cat", "dog"), images, np.array([0, 1, 0, 1]), "test", "0" * 64)
    accuracy = Accuracy(3, 4, ((2, 0), (1, 1)), mistakes=(SureMistake(1, 0, 0.9),))
    found = evaluation_of("net", accuracy, test_set)
    assert (found.correct, found.images, found.total, (found.low, found.high)) == (3, 4, 4, accuracy.interval)
    assert (found.mistakes[0].label, found.mistakes[0].predicted, found.mistakes[0].confidence) == ("dog", "cat", 0.9)
    with Image.open(io.BytesIO(base64.b64decode(found.mistakes[0].image))) as image:
        assert np.array_equal(np.asarray(image), images[1].transpose(1, 2, 0))


# The curve that the file tells


@pytest.mark.parametrize(
    "history",
    [
        "",
        "unknown",
        "[1, 2]",
        "{}",
        json.dumps({"train_loss": []}),
        '{"train_loss": [NaN]}',
        '{"train_loss": [1e999]}',
        '{"train_loss": [1], "train_loss": [2]}',
        '{"train_loss": "0.1"}',
        '{"train_loss": {"0": 1}}',
        json.dumps({"train_loss": [1e300]}),
        json.dumps({"train_loss": [10**400]}),
        json.dumps({"train_loss": [0.1] * 1001}),
        json.dumps({"train_loss": [True, False]}),
        json.dumps({"train_loss": [1, None]}),
        json.dumps({"train_accuracy": [1.01]}),
        json.dumps({**HISTORY, "validation_loss": ["<script>"]}),
        "[" * 5000,
        " " * (2 << 20) + json.dumps(HISTORY),
    ],
)
def test_a_history_that_is_none_gives_no_curve(history: str) -> None:
    assert curve_of("net", history) is None


def handed_in(path: Path, metadata: dict[str, str]) -> dict[str, StagedFile]:
    safetensors.numpy.save_file({"w": np.zeros(2, np.float32)}, path, metadata)
    return {path.name: StagedFile(path.name, path, "0" * 64, path.stat().st_size)}


def curves(files: dict[str, StagedFile]) -> list[Curve]:
    return describe_curves(graded("04_modern_cnn", Evidence(), None, files=files))  # type: ignore[arg-type]


def test_the_kits_history_is_read_from_the_file_whether_its_weights_fit_or_not(tmp_path: Path) -> None:
    found = curves(handed_in(tmp_path / "modern_cnn.safetensors", {"kit": "1", "history": json.dumps(HISTORY)}))
    assert found == [Curve("04_modern_cnn", [2.0, 1.5], [1.9, 1.6], [0.3, 0.5], [0.0, 1.0])]


def test_without_a_file_that_tells_one_there_is_no_curve(tmp_path: Path) -> None:
    path = tmp_path / "modern_cnn.safetensors"
    assert curves({}) == []
    assert curves(handed_in(path, {"history": "unknown"})) == []
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    assert curves({path.name: StagedFile(path.name, path, "0" * 64, 104)}) == []
    assert curves({path.name: StagedFile(path.name, path, "0" * 64, 1 << 40)}) == []


# The cells


def submission_of(tmp_path: Path, *cells: dict[str, Any]) -> tuple[Submission, Path]:
    """A submission of these cells, and a release of one locked, one solution and one test cell."""
    release = nbformat.v4.new_notebook(cells=[LOCKED, SOLUTION, TEST])
    (tmp_path / "net.ipynb").write_text(json.dumps(release))
    return Submission("ada", {"net": {"cells": list(cells)}}), tmp_path


def cell(source: str, kind: str = "code", **own: Any) -> dict[str, Any]:
    made = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[kind](source)
    return {**made, "metadata": {"nbgrader": own} if own else {}}


LOCKED = cell("import torch", grade_id="imports", grade=False, locked=True, solution=False)
SOLUTION = cell("raise NotImplementedError", grade_id="answer", grade=False, locked=False, solution=True)
TEST = cell("assert True", grade_id="tests", grade=True, locked=True, solution=False, points=1)


def test_shown_are_answers_and_what_the_student_added_with_their_places(tmp_path: Path) -> None:
    answered = {**SOLUTION, "source": "x = 1"}
    cells = (cell("my notes", "markdown"), LOCKED, answered, cell("  "), cell("print(x)"), TEST)
    found = answer_cells(*submission_of(tmp_path, *cells))
    assert [(c.index, c.kind, c.name, c.source) for c in found["net"]] == [
        (0, "markdown", "", "my notes"),
        (2, "code", "answer", "x = 1"),
        (4, "code", "", "print(x)"),
    ]


def test_an_answer_that_is_not_filled_in_is_shown_as_it_is(tmp_path: Path) -> None:
    found = answer_cells(*submission_of(tmp_path, LOCKED, SOLUTION, TEST))
    assert [c.source for c in found["net"]] == ["raise NotImplementedError"]


def test_endless_notebooks_are_cut_and_say_so(tmp_path: Path) -> None:
    many = answer_cells(*submission_of(tmp_path, *(cell(f"x = {i}") for i in range(MOST_CELLS + 9))))["net"]
    long = answer_cells(*submission_of(tmp_path, cell("y" * 3 * MOST_CHARACTERS), cell("z")))["net"]
    assert [len(many), len(long)] == [MOST_CELLS + 1, 1]
    assert all(found[-1].source.endswith("\n# … cut, with what follows") for found in (many, long))
    assert len(long[0].source) < MOST_CHARACTERS + 100
