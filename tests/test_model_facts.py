"""Networks as boxes, accuracies with their mistakes, and learning curves as a file claims them."""

from __future__ import annotations

import base64
import io
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from autograder.accuracy import Accuracy, SureMistake, measure_accuracy
from autograder.model_facts import MOST_LAYERS, _shortened, curve_of, evaluation_of
from autograder.results import Layer
from tools.sample_class import seeds


def reference_layers() -> list[Layer]:
    return list(next(model for model in seeds()["reference"].models if model.name == "ModernCNN").layers)


def test_each_residual_addition_has_two_inputs_and_one_comes_from_before_the_block() -> None:
    layers = reference_layers()
    additions = [layer for layer in layers if layer.kind == "add"]
    assert len(additions) == 3
    assert all(len(layer.inputs) == 2 for layer in additions)
    assert layers[additions[-1].inputs[1]].kind == "activation"  # the identity


def test_parameters_of_the_boxes_add_up_to_those_of_the_network() -> None:
    for report in seeds().values():
        for model in report.models:
            assert sum(layer.parameters for layer in model.layers) == model.parameters, (report.student, model.name)


def test_boxes_point_backwards_and_all_but_the_images_have_an_input() -> None:
    for report in seeds().values():
        for model in report.models:
            assert all(place < index for index, layer in enumerate(model.layers) for place in layer.inputs)
            assert [index for index, layer in enumerate(model.layers) if not layer.inputs] == [0]


def test_a_box_names_the_students_line() -> None:
    convolution = next(layer for layer in reference_layers() if layer.text.startswith("Conv 3×3, 3→32"))
    cells = {cell.index: cell for cell in seeds()["reference"].sources["04_modern_cnn"]}
    assert "self.stem" in cells[convolution.source_cell].source.splitlines()[convolution.line - 1]


def test_networks_that_were_drawn_by_the_secret_are_not_shown() -> None:
    assert {model.name for model in seeds()["reference"].models} == {"DeeperCNN", "ModernCNN"}


def test_the_middle_of_a_long_network_is_left_out_and_edges_stay_within() -> None:
    layers = [Layer("other", str(i), [], [i - 1] if i else []) for i in range(MOST_LAYERS + 50)]
    shown, left_out = _shortened(layers)
    assert (len(shown), left_out) == (MOST_LAYERS, 50)
    assert (shown[0].text, shown[-1].text) == ("0", str(MOST_LAYERS + 49))
    assert all(place < index for index, layer in enumerate(shown) for place in layer.inputs)


def test_the_surest_mistakes_come_first_with_their_softmax() -> None:
    labels = np.arange(10, dtype=np.int64)
    images = np.zeros((10, 3, 32, 32), np.uint8)
    images[:, 0, 0, 0] = labels
    logits = np.eye(10, dtype=np.float32) * 5
    logits[3], logits[4] = np.eye(10)[7] * 9, np.eye(10)[8] * 2

    def evaluate(chosen: np.ndarray, _: int) -> np.ndarray:
        return logits[chosen[:, 0, 0, 0]]

    found = measure_accuracy(evaluate, images, labels, b"secret")
    assert [(m.image, m.predicted) for m in found.mistakes] == [(3, 7), (4, 8)]
    assert found.mistakes[0].confidence == pytest.approx(math.exp(9) / (math.exp(9) + 9), abs=1e-4)


def test_an_evaluation_shows_the_image_itself_and_names_of_classes() -> None:
    images = np.random.RandomState(0).randint(0, 255, (4, 3, 32, 32)).astype(np.uint8)
    test_set = SimpleNamespace(images=images, labels=np.array([0, 1, 0, 1]), classes=("cat", "dog"))
    accuracy = Accuracy(3, 4, ((2, 0), (1, 1)), mistakes=(SureMistake(1, 0, 0.9),))
    found = evaluation_of("net", accuracy, test_set)  # type: ignore[arg-type]
    assert (found.mistakes[0].label, found.mistakes[0].predicted) == ("dog", "cat")
    with Image.open(io.BytesIO(base64.b64decode(found.mistakes[0].image))) as image:
        assert np.array_equal(np.asarray(image), images[1].transpose(1, 2, 0))


@pytest.mark.parametrize(
    "history",
    [
        "",
        "unknown",
        "[1, 2]",
        '{"train_loss": [NaN]}',
        '{"train_loss": "0.1"}',
        json.dumps({"train_loss": [1e300]}),
        json.dumps({"train_loss": [0.1] * 1001}),
        json.dumps({"train_loss": [True, False]}),
        "[" * 5000,
    ],
)
def test_a_history_that_is_none_gives_no_curve(history: str) -> None:
    assert curve_of("net", history) is None


def test_a_history_gives_its_lists_and_leaves_out_a_broken_one() -> None:
    curve = curve_of("net", json.dumps({"train_loss": [2, 1.5], "validation_loss": [None], "device": "cpu"}))
    assert curve is not None
    assert (curve.train_loss, curve.validation_loss) == ([2.0, 1.5], [])
