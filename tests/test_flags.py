"""Flags: what is valid but worth a look is told to the staff, with figures, and to no student; honest work has none."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nbgrader.api import Gradebook
from PIL import Image
from torch import nn

from autograder import data
from autograder.accuracy import Accuracy
from autograder.data import Dataset
from autograder.flags import KINDS
from autograder.flags.hidden_data import blocks_of, notebook_flags
from autograder.flags.images import gap_flag, image_flags, mirrored, moved
from autograder.flags.library import known_model, library_flags
from autograder.flags.lookups import lookup_flags
from autograder.graph import ModelGraph
from autograder.jail import Isolation
from autograder.jobs import Job
from autograder.overview import Row
from autograder.pipeline import grade_submission, open_grader
from autograder.reports import load_report
from autograder.results import Flag, GradeReport
from autograder.runner import Runner, RunnerProblem
from autograder.submission import read_notebook
from autograder.worker.cells import locate
from autograder.worker.exporter import TensorPool, export_graph
from tests.example_reports import report
from tests.graph_models import export
from tests.test_report import html_of, page_of, words
from tools.flagged import FLAGGED, NOTEBOOK, add_weights_cell, build_flagged, flagged_names, read_flagged
from tools.hidden_graders import COURSE, SECRET, data_name, grade_check, open_runner, run_answers, submitted
from tools.known_cases import designs
from tools.samples import ASSIGNMENT, ROOT, build_sample, executable, make_course

SOURCE = data.find_source(allow_offline=data_name() == "offline")


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with open_runner() as runner:
        yield runner


# Better on test images than on training images


def test_a_gap_beyond_chance_is_told_with_its_figures() -> None:
    [flag] = gap_flag(NOTEBOOK, (9_980, 10_000), (1_240, 2_000))
    assert "99.8% on the 10,000 test images" in flag.text
    assert "62.0% on 2,000 training images" in flag.text
    assert "38 points less" in flag.text


@pytest.mark.parametrize(
    ("test", "training"),
    [
        ((7_959, 10_000), (1_650, 2_000)),  # better on training images: usual
        ((7_959, 10_000), (1_592, 2_000)),  # the same
        ((7_959, 10_000), (1_530, 2_000)),  # 3.1 points, by chance
        ((10_000, 10_000), (1_960, 2_000)),  # far beyond chance, but 2 points
        ((0, 10_000), (0, 2_000)),
        ((10_000, 10_000), (2_000, 2_000)),
    ],
)
def test_chance_and_small_gaps_are_not_told(test: tuple[int, int], training: tuple[int, int]) -> None:
    assert gap_flag(NOTEBOOK, test, training) == []


def test_equally_good_networks_are_hardly_ever_told_apart() -> None:
    """100,000 networks of every accuracy that are as good on both kinds of images: none is flagged."""
    draws = np.random.default_rng(0)
    for accuracy in np.linspace(0.65, 0.99, 10):
        pairs = zip(draws.binomial(10_000, accuracy, 10_000), draws.binomial(2_000, accuracy, 10_000), strict=True)
        assert not [pair for pair in pairs if gap_flag(NOTEBOOK, (int(pair[0]), 10_000), (int(pair[1]), 2_000))]


def blank(count: int, name: str = "CIFAR-10") -> Dataset:
    """Images whose corner pixel shows the label."""
    labels = np.arange(count, dtype=np.int64) % 10
    images = np.full((count, 3, 32, 32), 100, np.uint8)
    images[:, 0] = (labels * 20)[:, None, None]
    return Dataset(name, tuple("0123456789"), images, labels, "test", "")


def reads_corner(images: np.ndarray[Any, Any], _batch: int) -> np.ndarray[Any, Any]:
    logits: np.ndarray[Any, Any] = np.eye(10, dtype=np.float32)[np.round(images[:, 0, 16, 16] / 20).astype(int)]
    return logits


def flags_for(evaluate: Any, accuracy: float, test_set: Dataset, **changed: Any) -> list[str]:
    """Kinds of flags of a network."""
    given = {"training_images": lambda count: None, "batch_size": 500, "macs": 1, "suspicious_accuracy": 0.97}
    found = Accuracy(round(accuracy * len(test_set.labels)), len(test_set.labels), ())
    given |= {"accuracy": found, "test_set": test_set, "secret": SECRET, **changed}
    return [flag.kind for flag in image_flags(NOTEBOOK, evaluate, **given)]


def test_suspicious_accuracy_is_told_on_cifar_only() -> None:
    assert flags_for(reads_corner, 1.0, blank(1_000)) == ["high-accuracy"]
    assert flags_for(reads_corner, 0.969, blank(1_000)) == []
    assert flags_for(reads_corner, 1.0, blank(1_000), suspicious_accuracy=1.01) == []
    assert flags_for(reads_corner, 1.0, blank(1_000, "built-in offline set")) == []


def test_a_network_that_knows_exact_pixels_fails_on_changed_images() -> None:
    test_set = blank(1_000)
    known = {image.tobytes(): int(label) for image, label in zip(test_set.images, test_set.labels, strict=True)}

    def remembers(images: np.ndarray[Any, Any], _batch: int) -> np.ndarray[Any, Any]:
        logits: np.ndarray[Any, Any] = np.eye(10, dtype=np.float32)[[known.get(i.tobytes(), 0) for i in images]]
        return logits

    assert flags_for(remembers, 0.9, test_set) == ["changed-images"]


def test_a_runner_that_fails_here_costs_nothing_and_is_told() -> None:
    def fails(_images: object, _batch: int) -> Any:
        raise RunnerProblem("TIMEOUT", "running the model took too long")

    assert flags_for(fails, 0.8, blank(1_000)) == ["not-compared"]


@pytest.mark.parametrize(("macs", "images"), [(40_000_000, 3_000), (200_000_000, 1_500), (1_500_000_000, 600)])
def test_large_networks_are_tried_on_fewer_images(macs: int, images: int) -> None:
    seen = []

    def counts(given: np.ndarray[Any, Any], batch: int) -> np.ndarray[Any, Any]:
        seen.append(len(given))
        return reads_corner(given, batch)

    assert flags_for(counts, 0.8, blank(1_000), macs=macs, batch_size=50, training_images=blank) == []
    assert sum(seen) == images


def test_a_data_set_without_training_images_is_told_once_and_costs_nothing(tmp_path: Path) -> None:
    place = write_test_images_only(tmp_path)
    job = Job(tmp_path, COURSE, COURSE.assignment(ASSIGNMENT), Isolation("none"), data.Source("tree", place), SECRET)
    assert job.training_images(2_000) is None
    assert "holds no images for the train set" in job.facts["training images"]


def write_test_images_only(folder: Path) -> Path:
    for name in data.CLASSES:
        (folder / "test" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / "test" / name / "0000.png")
    return folder


def test_changed_images_are_nearly_the_same() -> None:
    images = np.random.RandomState(0).randint(0, 256, (3, 3, 32, 32)).astype(np.uint8)
    np.testing.assert_array_equal(mirrored(mirrored(images)), images)
    changed = moved(images, np.random.RandomState(1)).astype(int)
    assert np.abs(changed[..., 1:, 1:] - images[..., :-1, :-1].astype(int)).max() == 1


def test_the_sample_of_training_images_is_secret_and_stays_the_same(tmp_path: Path) -> None:
    source = data.Source("offline")
    drawn = data.load_sample(source, "train", 50, SECRET, cache_folder=tmp_path)
    again = data.load_sample(source, "train", 50, SECRET, cache_folder=tmp_path)
    other = data.load_sample(source, "train", 50, b"another secret", cache_folder=tmp_path)
    assert drawn.sha256 == again.sha256 != other.sha256
    np.testing.assert_array_equal(drawn.images, again.images)
    assert (drawn.split, len(drawn.labels), drawn.images.shape) == ("train", 50, (50, 3, 32, 32))


# Weights and graphs, by the hidden grader


def graded_flags(runner: Runner, answers: dict[str, str], checkpoint: Path | None) -> tuple[list[Flag], float]:
    """The flags that grading raises, and the points of the accuracy."""
    flags: list[Flag] = []
    ran = run_answers(NOTEBOOK, answers)
    result = grade_check(
        NOTEBOOK,
        "test_accuracy",
        ran.evidence,
        runner,
        files={checkpoint.name: submitted(checkpoint)} if checkpoint else {},
        test_set=lambda: data.load(SOURCE, "test"),
        training_images=lambda count: data.load_sample(SOURCE, "train", count, SECRET),
        flags=flags,
    )
    return flags, result.earned


def cells_of(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((folder / "cells").glob("modern-cnn-*.py"))}


def test_weights_trained_on_the_test_images_are_flagged_and_keep_their_points(runner: Runner, tmp_path: Path) -> None:
    build_flagged("test_set_weights", tmp_path, data_name())
    checkpoint = tmp_path / "modern_cnn.safetensors"
    assert checkpoint.stat().st_size < 800_000
    flags, earned = graded_flags(runner, cells_of(FLAGGED / "test_set_weights"), checkpoint)
    assert "test-images" in [flag.kind for flag in flags]
    assert earned == 20


def test_a_table_of_test_images_is_flagged_by_its_graph_and_by_what_it_does(runner: Runner, tmp_path: Path) -> None:
    build_flagged("lookup_table", tmp_path, data_name())
    flags, earned = graded_flags(runner, cells_of(FLAGGED / "lookup_table"), tmp_path / "modern_cnn.safetensors")
    assert {"lookup", "test-images", "changed-images"} <= {flag.kind for flag in flags}
    assert "argmin" in flags[0].text
    assert earned == 20


HONEST = [
    pytest.param("reference", id="reference"),
    pytest.param("partial_checkpoint", id="partial", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", HONEST)
def test_honest_weights_are_not_flagged(name: str, runner: Runner, tmp_path: Path) -> None:
    build_sample(name, tmp_path, data_name())
    flags, earned = graded_flags(runner, {}, tmp_path / "modern_cnn.safetensors")
    assert flags == []
    assert earned > 0


# Ready-made networks


def graph_of(cell: str) -> ModelGraph:
    """The graph of a cell's `ModernCNN()`, with the lines of the cell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, "<cell 0>", "exec"), names)
    wire = export_graph(
        names["ModernCNN"](), torch.zeros(4, 3, 32, 32), training=False, pool=TensorPool(), locate=locate
    )
    return ModelGraph.from_wire(json.loads(json.dumps(wire)))


READY_MADE = {
    "the class itself": "import torchvision\n\nModernCNN = lambda: torchvision.models.resnet18(num_classes=10)",
    "passed on to": (FLAGGED / "library_resnet" / "cells" / "modern-cnn-solution.py").read_text(),
    "changed a little": """
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

class ModernCNN(ResNet):
    def __init__(self):
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.conv1, self.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        self.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 10))
""",
    "cut into its children": """
from torch import nn
from torchvision.models import resnet18

class ModernCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*list(resnet18().children())[:-1])
        self.classifier = nn.Linear(512, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))
""",
}


@pytest.mark.parametrize("cell", READY_MADE.values(), ids=READY_MADE)
def test_a_ready_made_network_is_flagged(cell: str) -> None:
    [flag] = library_flags(NOTEBOOK, "ModernCNN", graph_of(cell))
    assert "torchvision's resnet18" in flag.text


WRITTEN_OUT = """
import torch
from torch import nn

class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(out + shortcut)

class ModernCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for i, stride in enumerate((1, 2, 2, 2)):
            blocks = BasicBlock(widths[i], widths[i + 1], stride), BasicBlock(widths[i + 1], widths[i + 1], 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))
"""


def test_a_network_that_is_written_out_in_the_notebook_is_not_flagged_whatever_its_names() -> None:
    graph = graph_of(WRITTEN_OUT)
    assert known_model(tensor.name for tensor in graph.tensors) == "resnet18"
    assert library_flags(NOTEBOOK, "ModernCNN", graph) == []


def test_ten_thousand_names_take_no_time() -> None:
    began = time.monotonic()
    assert known_model(f"a{i % 300}.b{i % 7}.c{i}.weight" for i in range(10_000)) == ""
    assert known_model(f"a.b.c{i}.weight" for i in range(10_000)) == ""
    assert time.monotonic() - began < 20  # a second; the bound is for a machine that others use, too


def modern_designs() -> list[Any]:
    cases = [case for case in designs() if case.notebook == NOTEBOOK]
    assert len(cases) > 20
    return [pytest.param(case, id=case.id, marks=pytest.mark.slow if i % 10 else ()) for i, case in enumerate(cases)]


@pytest.mark.parametrize("case", modern_designs())
def test_a_correct_design_is_not_flagged(case: Any, runner: Runner) -> None:
    build = run_answers(NOTEBOOK, case.cells, only={"ModernCNN"}).evidence.modules["ModernCNN"][0]
    graph = build.graphs[False, 32]
    assert isinstance(graph, ModelGraph)
    shapes = runner.shapes(runner.load(graph, build.tensors), graph.input_shape).shapes
    assert library_flags(NOTEBOOK, "ModernCNN", graph) == []
    assert lookup_flags(NOTEBOOK, graph, shapes) == []


# Tables in a graph


Use = Callable[[Any, torch.Tensor], torch.Tensor]


class Table(nn.Module):
    """A convolution, and a stored table that a function of (features, table, labels) uses."""

    def __init__(self, use: Use, rows: int) -> None:
        super().__init__()
        self.use = use
        self.convolution = nn.Conv2d(3, 8, 3)
        self.register_buffer("table", torch.randn(rows, 8))
        self.labels = nn.Parameter(torch.randn(rows, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.use(self, self.convolution(x).mean((2, 3)))


TABLES: dict[str, Use] = {
    "nearest": lambda m, x: m.labels[(x[:, None] - m.table).square().sum(2).argmin(1)],
    "soft": lambda m, x: (x @ m.table.T * 100).softmax(1) @ m.labels,
    "several": lambda m, x: m.labels[(x @ m.table.T).topk(3)[1]].mean(1),
    "equal": lambda m, x: (x[:, :1].round() == m.table[:, 0]).float() @ m.labels,
    "hash": lambda m, x: nn.functional.embedding((x.sum(1) * 997).long() % len(m.labels), m.labels),
}


@pytest.mark.parametrize("use", TABLES.values(), ids=TABLES)
def test_a_search_in_a_long_table_is_flagged_in_a_short_one_not(use: Use) -> None:
    long, short = export(Table(use, 2_000)), export(Table(use, 100))
    [flag] = lookup_flags(NOTEBOOK, long.graph, long.shapes)
    assert "2,000 rows" in flag.text
    assert lookup_flags(NOTEBOOK, short.graph, short.shapes) == []


# Data in notebooks


def notebook_with(kind: str, source: str, **more: Any) -> dict[str, Any]:
    return {"cells": [{"cell_type": kind, "metadata": {}, "source": source, **more}]}


RANDOM = np.random.RandomState(0).bytes(12_000)
HIDDEN = {
    "base64": base64.encodebytes(RANDOM).decode(),
    "hexadecimal digits": "\n".join(RANDOM.hex()[i : i + 64] for i in range(0, 24_000, 64)),
    "escaped bytes": repr(RANDOM),
    "a list of numbers": f"weights = {list(RANDOM)}",
    "floats, one a line": "\n".join(f"{b / 255:.4f}," for b in RANDOM),
    "base85": base64.b85encode(RANDOM).decode(),
    "words": " ".join(f"word{byte % 16}{'abcdefghijklmnop'[byte // 16]}" for byte in RANDOM * 3),
    "Chinese signs": "".join(chr(0x4E00 + byte) for byte in RANDOM),
}


@pytest.mark.parametrize("kind", ["code", "markdown", "raw"])
@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_data_in_a_cell_is_flagged_however_it_is_written(kind: str, text: str) -> None:
    [flag] = notebook_flags({NOTEBOOK: notebook_with(kind, text)})
    assert "cell 1: " in flag.text
    assert "characters" in flag.text


def test_data_spread_over_many_cells_is_flagged() -> None:
    parts = [notebook_with("code", f"part = '{RANDOM[i : i + 40].hex()}'")["cells"] for i in range(0, 4_000, 40)]
    [flag] = notebook_flags({NOTEBOOK: {"cells": [cell for cells in parts for cell in cells]}})
    assert "and 97 more" in flag.text


def test_attachments_are_pictures_or_flagged() -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + RANDOM * 8 + b"IEND\xaeB`\x82").decode()
    data_text = base64.b64encode(RANDOM).decode()
    assert notebook_flags({NOTEBOOK: notebook_with("markdown", "", attachments={"a": {"image/png": picture}})}) == []
    [flag] = notebook_flags({NOTEBOOK: notebook_with("markdown", "", attachments={"a": {"image/png": data_text}})})
    assert "no whole picture" in flag.text


def test_the_courses_own_notebooks_hold_no_data() -> None:
    for path in sorted(ROOT.glob("*/cnn/*.ipynb")):
        cells = [{**cell, "source": "".join(cell["source"])} for cell in read_notebook(path)["cells"]]
        assert list(blocks_of({"cells": cells})) == []


# Who is told


FLAG = Flag("test-images", "02_network", "Accuracy is 99.8% on the test images <b>but</b> not elsewhere.")


def test_flags_are_kept_with_the_report_and_older_reports_have_none() -> None:
    flagged = report("ada", flags=[FLAG])
    assert GradeReport.from_json(flagged.to_json()).flags == [FLAG]
    older = json.loads(flagged.to_json())
    del older["flags"]
    assert GradeReport.from_json(json.dumps(older)).flags == []


def test_flags_stand_in_the_table_and_on_the_submissions_page_as_text() -> None:
    flagged = report("ada", flags=[FLAG, Flag("no such kind", "02_network", "More.")])
    assert f"worth a look: {KINDS['test-images']}" in Row(flagged).flags
    page = words(page_of(flagged).text)
    assert "Worth a look" in page
    assert FLAG.text in page
    assert "<b>but</b>" not in "".join(html_of(flagged).values())
    assert "Worth a look" not in page_of(report("bo")).text


def test_staff_reads_the_flags_the_student_nothing(tmp_path: Path) -> None:
    """Weights in a cell of the shortest notebook: graded by the command line, then nbgrader's feedback."""
    course, notebook = tmp_path / "course", "01_output_size"
    make_course(course, {"eve": "reference"}, "offline")
    folder = course / "submitted" / "eve" / ASSIGNMENT
    for path in folder.glob("*"):
        if path.stem != notebook:
            path.unlink()
    add_weights_cell(folder / f"{notebook}.ipynb", ROOT / "solutions/checkpoints/offline/modern_cnn.safetensors")
    command = [executable("autograder"), "grade", ASSIGNMENT]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, check=True)
    assert "worth a look" in words(done.stdout)
    found = load_report(course, ASSIGNMENT, "eve")
    assert found is not None
    assert [(flag.kind, flag.notebook) for flag in found.flags] == [("hidden-data", notebook)]
    assert found.earned == 15
    (page,) = (course / "reports" / ASSIGNMENT / "students").glob("eve-*.html")
    assert "Worth a look" in page.read_text()
    feedback = [executable("nbgrader"), "generate_feedback", ASSIGNMENT]
    subprocess.run(feedback, cwd=course, check=True, capture_output=True)
    told = [*course.glob("feedback/eve/**/*.html"), *course.glob("autograded/eve/**/*.ipynb")]
    assert len(told) >= 2
    for path in told:
        text = path.read_text()
        assert "looks like data" not in text
        assert "orth a look" not in text
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission(ASSIGNMENT, "eve")
        graded = next(n for n in submission.notebooks if n.name == notebook)
        assert not [grade.name for grade in graded.grades if grade.needs_manual_grade]
        assert not [comment for comment in graded.comments if comment.auto_comment]


@pytest.mark.slow
def test_every_flagged_sample_is_flagged_in_the_jail_and_earns_what_it_earns(tmp_path: Path) -> None:
    course = tmp_path / "course"
    make_course(course, {}, data_name())
    grader = open_grader(course, ASSIGNMENT)
    for name in flagged_names():
        folder = tmp_path / name
        build_flagged(name, folder, data_name(), release=course / "release" / ASSIGNMENT)
        found = grade_submission(grader, name, folder)
        kinds = {flag.kind for flag in found.flags}
        assert read_flagged(name)["flag"] in kinds, (name, kinds, [c.message for c in found.checks])
        assert kinds <= set(KINDS)
        accuracy = next(check for check in found.checks if check.name == "test_accuracy")
        assert (accuracy.earned == 20) == (name != "library_resnet")  # which comes without weights
