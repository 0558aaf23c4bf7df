"""The student kit: data, loader, training, checkpoints, public checks, and the commands check and pack."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

from autograder.core.config import load_course
from autograder.graphs.operations import OPERATIONS
from autograder.handin.collect.archive import FileDigest
from autograder.handin.collect.receipts import check_receipt
from tools import embed_in_kit
from tools.samples import ASSIGNMENT, ROOT

KIT = embed_in_kit.KIT
NOTEBOOKS = KIT.parent

IMAGES_ONLY = {tv_tensors.Image: torch.float32, "others": None}
TO_FLOAT = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])


@pytest.fixture(scope="module")
def kit() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("cnn_kit", KIT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cnn_kit"] = module  # dataclasses look their module up
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spec.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)
    del sys.modules["cnn_kit"]


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a folder of the test's own, and none of the environment that would change what the kit does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CNN_KIT_DATA", "offline")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("CIFAR10_ROOT", "CNN_KIT_QUICK", "CNN_KIT_CHECK", "NBGRADER_EXECUTION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def small(kit: ModuleType) -> Any:
    """A few hundred images of the offline set."""
    return kit._dataset("built-in offline set", kit.CLASSES, kit._offline_arrays(600, 100))


def solution(notebook: str) -> dict[str, Any]:
    """What the cells of an instructor notebook define, up to its first test."""
    names: dict[str, Any] = {"__name__": "solution"}
    for cell in json.loads((NOTEBOOKS / notebook).read_text())["cells"]:
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        source = "".join(cell["source"])
        wanted = grade_id.endswith(("-solution", "-transforms")) or grade_id in ("residual-block", "simple-cnn")
        if cell["cell_type"] == "code" and (wanted or "import torch" in source):
            exec(source, names)
    return names


class TinyNet(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


# --- one file for students --------------------------------------------------------------------------------------


def test_copied_sections_are_current() -> None:
    assert embed_in_kit.main(["--check"]) == 0


def test_outdated_copy_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    changed = tmp_path / "cnn_kit.py"
    changed.write_text(KIT.read_text().replace("class TensorPool", "class TensorPond"))
    monkeypatch.setattr(embed_in_kit, "KIT", changed)
    assert embed_in_kit.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert embed_in_kit.main([]) == 0
    assert changed.read_text() == KIT.read_text()


def test_kit_needs_only_what_students_have(kit: ModuleType) -> None:
    imported = set()
    programs = [KIT.read_text(), *kit._GRADERS.values()]
    for node in (node for text in programs for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    imported -= {"_kit", *kit._GRADERS}
    allowed = {"torch", "torchvision", "safetensors", "matplotlib", "tqdm", "numpy", "PIL"}
    assert imported - set(sys.stdlib_module_names) <= allowed


# --- data -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(folder: Path, kit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 in miniature, as image folders: 3 training images and 1 test image a class."""
    monkeypatch.delenv("CNN_KIT_DATA")
    draws = np.random.RandomState(0)
    for split, count in (("train", 3), ("test", 1)):
        for name in kit.CIFAR10_CLASSES:
            place = folder / "tree" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draws.randint(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{number:04}.png")
    return folder / "tree"


@pytest.fixture
def zipped(tree: Path) -> Path:
    archive = tree.parent / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(tree.rglob("*.png")):
            file.write(path, Path("some-name") / path.relative_to(tree))
    return archive


def test_a_tenth_is_held_out_for_validation_the_same_for_everybody(kit: ModuleType) -> None:
    arrays = {
        "train_images": np.arange(50_000, dtype=np.uint8).reshape(-1, 1, 1, 1), "train_labels": np.arange(50_000) % 10,
        "test_images": np.zeros((1, 1, 1, 1), np.uint8), "test_labels": np.zeros(1, np.int64),
    }  # fmt: skip
    data = kit._dataset("numbers", kit.CIFAR10_CLASSES, arrays)
    assert (len(data.train), len(data.validation)) == (45_000, 5_000)
    assert data.validation.labels[:8].tolist() == [1, 2, 9, 7, 2, 2, 6, 3]


def test_zip_and_tree_hold_the_same_data(kit: ModuleType, tree: Path, zipped: Path) -> None:
    from_tree, from_zip = kit.load_cifar10(tree), kit.load_cifar10(zipped)
    assert from_tree.identity == from_zip.identity
    assert torch.equal(from_tree.test.images, from_zip.test.images)
    assert from_zip.test.labels.tolist() == list(range(10))
    first = Image.open(tree / "test" / "airplane" / "0000.png")
    assert np.array_equal(np.asarray(from_zip.test.pil(0)), np.asarray(first))


def test_environment_names_the_place(
    kit: ModuleType, zipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("CIFAR10_ROOT", str(zipped))
    assert kit.load_cifar10().name == "CIFAR-10 (JPEG copy)"
    assert "images.zip" in capsys.readouterr().out


def test_decoded_data_come_from_the_cache_until_the_file_changes(
    kit: ModuleType, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.load_cifar10(zipped)

    def decode_again(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(kit, "_read_images", decode_again)
    kit.load_cifar10(zipped)
    zipped.write_bytes(zipped.read_bytes() + b"\0")
    with pytest.raises(AssertionError, match="decoded again"):
        kit.load_cifar10(zipped)


def test_wrong_place_is_an_error_and_never_the_offline_set(
    kit: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CNN_KIT_DATA")
    with pytest.raises(kit.KitError, match="does not exist"):
        kit.load_cifar10(folder / "nowhere")
    monkeypatch.setenv("CIFAR10_ROOT", str(folder))
    with pytest.raises(kit.KitError, match="holds no CIFAR-10"):
        kit.load_cifar10()


def test_truncated_zip_and_broken_image_are_named(kit: ModuleType, zipped: Path, tree: Path) -> None:
    zipped.write_bytes(zipped.read_bytes()[:-400])
    with pytest.raises(kit.KitError, match="not a whole zip file"):
        kit.load_cifar10(zipped)
    (tree / "train" / "cat" / "0001.png").write_bytes(b"not an image")
    with pytest.raises(kit.KitError, match=r"train/cat/0001.png is not a 32x32 image"):
        kit.load_cifar10(tree)


def test_without_network_the_offline_set_is_taken_on_request_only(
    kit: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def no_network() -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("CNN_KIT_DATA")
    monkeypatch.setattr(kit, "_download_cifar10", no_network)
    monkeypatch.setattr(kit, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(kit, "TEST_IMAGES", 50)
    with pytest.raises(kit.KitError, match=r"no route to host.*CIFAR10_ROOT.*CNN_KIT_DATA=offline takes drawn images"):
        kit.load_cifar10()
    assert kit.load_cifar10(allow_offline=True).name == "built-in offline set"
    assert "no route to host" in capsys.readouterr().out
    monkeypatch.setenv("CNN_KIT_DATA", "offline")
    assert kit.load_cifar10().name == "built-in offline set"


@pytest.mark.parametrize(("name", "value"), [("CNN_KIT_DATA", "ofline"), ("CNN_KIT_QUICK", "yes")])
def test_a_flag_that_means_nothing_is_an_error(
    kit: ModuleType, small: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(kit.KitError, match=f"{name} is '{value}': expected '(offline|1)', or nothing"):
        kit.load_cifar10() if name == "CNN_KIT_DATA" else kit.train(TinyNet(), small, TO_FLOAT, TO_FLOAT)


def test_while_grading_nothing_is_downloaded(kit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNN_KIT_DATA")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert len(kit.load_cifar10().train) == 450


# --- loader -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        TO_FLOAT,
        v1.Compose([v1.ToTensor(), v1.Normalize([0.5] * 3, [0.5] * 3)]),
        v1.Compose([v1.RandomVerticalFlip(0), v1.RandomHorizontalFlip(0), v1.ToTensor(), v1.Normalize(0.5, 0.5)]),
        nn.Sequential(v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)),
        v2.Compose([v2.ToImage(), v2.ToDtype(IMAGES_ONLY, scale=True), v2.Normalize([0.5], [0.5])]),
        lambda image: TO_FLOAT(image),
        lambda tensor: tensor.float() / 127.5 - 1,  # written for tensors: dividing a PIL image raises
        v2.Compose([v2.Lambda(lambda image: image), TO_FLOAT]),
    ],
    ids=["v2", "v1", "v1 flips", "sequential", "dtype by kind", "PIL function", "tensor function", "lambda step"],
)
def test_every_kind_of_transform_gives_the_same_images(kit: ModuleType, small: Any, transform: Any) -> None:
    x, y = next(iter(kit.loader(small.test, transform, batch_size=20)))
    expected = small.test.images[:20].float() / 127.5 - 1
    assert x.dtype == torch.float32
    assert torch.allclose(x, expected, atol=1e-5)
    assert torch.equal(y, small.test.labels[:20])


def test_crops_are_drawn_for_each_image_and_lie_within_the_padded_one(kit: ModuleType) -> None:
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    image = torch.stack([rows, columns, torch.ones_like(rows)]).to(torch.uint8)
    split = kit.Split(image.expand(400, 3, 32, 32), torch.zeros(400, dtype=torch.int64))
    torch.manual_seed(0)
    crop = v2.Compose([v2.RandomCrop(32, padding=(1, 2)), v2.ToDtype(torch.float32)])
    x, _ = next(iter(kit.loader(split, crop, batch_size=400)))
    shifts = set()
    for cropped in x:
        inside = cropped[2] == 1
        down = int((rows - cropped[0])[inside].unique().item())
        right = int((columns - cropped[1])[inside].unique().item())
        assert int((~inside).sum()) == 32 * 32 - (32 - abs(down)) * (32 - abs(right))  # the padding is 0
        shifts.add((down, right))
    assert shifts == {(down, right) for down in range(-2, 3) for right in range(-1, 2)}


@pytest.mark.parametrize("module", [v1, v2])
def test_flips_are_drawn_for_each_image(kit: ModuleType, small: Any, module: Any) -> None:
    split = kit.Split(small.train.images[:1].expand(200, 3, 32, 32), torch.zeros(200, dtype=torch.int64))
    flip = module.Compose([module.RandomHorizontalFlip(0.25), TO_FLOAT])
    torch.manual_seed(0)
    x, _ = next(iter(kit.loader(split, flip, batch_size=200)))
    original = TO_FLOAT(small.train.pil(0))
    kept = sum(torch.equal(image, original) for image in x)
    flipped = sum(torch.equal(image, original.flip(2)) for image in x)
    assert kept + flipped == 200
    assert 30 <= flipped <= 70  # 50 expected, standard deviation 6


def test_other_random_steps_vary_within_a_batch(kit: ModuleType, small: Any) -> None:
    split = kit.Split(small.train.images[:1].expand(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64))
    for step in (v2.ColorJitter(0.5), v2.RandomApply([v2.ColorJitter(0.5)], p=0.9), v1.ColorJitter(0.5)):
        x, _ = next(iter(kit.loader(split, v1.Compose([step, TO_FLOAT]), batch_size=8)))
        assert len({image.sum().item() for image in x}) > 4


def test_known_transforms_take_the_fast_way(kit: ModuleType) -> None:
    known = [v1.RandomCrop(32, padding=4), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(0.5, 0.5)]
    assert kit._batch_steps(v1.Compose(known)) is not None
    assert kit._batch_steps(v2.Compose([v2.RandomCrop(32, padding=4), v2.ColorJitter(0.5), TO_FLOAT])) is not None
    assert kit._batch_steps(v1.Compose([*known, v1.ColorJitter(0.5)])) is None


def test_shuffled_order_changes_with_each_pass_and_follows_the_seed(kit: ModuleType, small: Any) -> None:
    first, again, other = (kit.loader(small.train, TO_FLOAT, 540, shuffle=True, seed=seed) for seed in (1, 1, 2))
    orders = [next(iter(batches))[1].tolist() for batches in (first, first, again, again, other)]
    assert orders[:2] == orders[2:4]
    assert orders[0] != orders[1]
    assert orders[0] != orders[4]


def test_last_single_image_is_left_out_of_training_only(kit: ModuleType, small: Any) -> None:
    split = kit._first(small.train, 21)
    assert [len(y) for _, y in kit.loader(split, TO_FLOAT, 10, shuffle=True)] == [10, 10]
    assert [len(y) for _, y in kit.loader(split, TO_FLOAT, 10)] == [10, 10, 1]
    assert len(kit.loader(split, TO_FLOAT, 10)) == 3


def test_transform_that_gives_no_floats_is_explained(kit: ModuleType, small: Any) -> None:
    with pytest.raises(kit.KitError, match=r"torch.uint8.*float32"):
        next(iter(kit.loader(small.test, v2.ToImage())))
    with pytest.raises(kit.KitError, match="got Image; is ToTensor missing"):
        next(iter(kit.loader(small.test, lambda image: image)))
    with pytest.raises(kit.KitError, match="transform must be callable"):
        kit.loader(small.test, None)


# --- training ---------------------------------------------------------------------------------------------------


def test_training_learns_and_repeats_exactly(kit: ModuleType, small: Any, capsys: Any) -> None:
    augmented = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), TO_FLOAT])
    weights, histories = [], []
    for _ in range(2):
        torch.manual_seed(3)
        model = TinyNet()
        histories.append(kit.train(model, small, augmented, TO_FLOAT, epochs=2, batch_size=32, seed=3))
        weights.append(model.head.weight)
    assert torch.equal(*weights)
    assert len(histories[0].validation_accuracy) == 2
    assert histories[0].train_loss[1] < histories[0].train_loss[0]
    assert histories[0].train_loss == histories[1].train_loss
    assert "epoch 2/2: training loss" in capsys.readouterr().out


def test_own_optimizer_and_scheduler_are_used(kit: ModuleType, small: Any) -> None:
    model = TinyNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    per_epoch = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=2, optimizer=optimizer, scheduler=per_epoch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    per_batch = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=1, optimizer=optimizer, scheduler=per_batch)
    assert per_batch.last_epoch == 5  # 540 images in batches of 128


def test_interrupt_keeps_what_was_learned(kit: ModuleType, small: Any, capsys: Any) -> None:
    model = TinyNet()
    before = model.head.weight.clone()
    seen = 0

    def interrupted(image: Any) -> torch.Tensor:
        nonlocal seen
        seen += 1
        if seen > 700:
            raise KeyboardInterrupt
        return TO_FLOAT(image)

    history = kit.train(model, small, interrupted, TO_FLOAT, epochs=3)
    assert len(history.validation_accuracy) == 1
    assert not torch.equal(model.head.weight, before)
    assert not model.training
    assert "keeps what it has learned" in capsys.readouterr().out


class Stop:
    """A transform that interrupts training once it has seen some images."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, image: Any) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return TO_FLOAT(image)


AUGMENTED = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()])


@pytest.mark.parametrize("own", [False, True], ids=["the kit's optimizer", "an optimizer of one's own"])
def test_a_resumed_training_ends_as_if_it_had_never_stopped(
    kit: ModuleType, small: Any, capsys: Any, own: bool, tmp_path: Path
) -> None:
    def run(transform: Any, **more: Any) -> tuple[nn.Module, Any]:
        torch.manual_seed(4)
        model = TinyNet()
        if own:
            more["optimizer"] = torch.optim.AdamW(model.parameters(), 1e-2)
            more["scheduler"] = torch.optim.lr_scheduler.CosineAnnealingLR(more["optimizer"], 4)
        return model, kit.train(model, small, transform, TO_FLOAT, epochs=4, batch_size=64, seed=4, **more)

    whole, expected = run(lambda image: TO_FLOAT(AUGMENTED(image)), keep=False)
    stop = Stop(after=540 * 2 + 100)
    _, history = run(lambda image: stop(AUGMENTED(image)))
    assert len(history.validation_accuracy) == 2
    assert "resume=True) goes on after the last whole epoch" in capsys.readouterr().out
    torch.rand(7)
    resumed, history = run(lambda image: TO_FLOAT(AUGMENTED(image)), resume=True)
    assert history.train_loss == expected.train_loss
    assert history.validation_accuracy == expected.validation_accuracy
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert "Resumed after epoch 2 of 4" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "kit_training").iterdir()] == ["TinyNet-best.safetensors"]


def test_only_what_was_kept_of_this_training_is_resumed(kit: ModuleType, small: Any, capsys: Any) -> None:
    model = TinyNet()
    kit.train(model, small, Stop(after=700), TO_FLOAT, epochs=3)
    with pytest.raises(
        kit.KitError, match=r"other settings \(epochs 3 then, 4 now; seed 0 then, 1 now\): take the same"
    ):
        kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=4, seed=1, resume=True)
    with pytest.raises(kit.KitError, match=r"resume=True needs what was kept: leave out keep=False"):
        kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=3, resume=True, keep=False)
    state = Path("kit_training/TinyNet-state.pt")
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(kit.KitError, match=r"TinyNet-state.pt cannot be read .*: delete it"):
        kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=3, resume=True)
    state.write_bytes(whole)
    wide = type("TinyNet", (HiddenLayers,), {})()
    with pytest.raises(kit.KitError, match=r"of another network or optimizer"):
        kit.train(wide, small, TO_FLOAT, TO_FLOAT, epochs=3, resume=True)
    capsys.readouterr()
    kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=1)
    assert "TinyNet-state.pt is of an earlier training: it is TinyNet-state.previous.pt now" in capsys.readouterr().out
    kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=1, resume=True)
    assert "Nothing to resume" in capsys.readouterr().out


def scripted(kit: ModuleType, monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> None:
    """Lets the next epochs end with these accuracies on the validation images."""
    left = list(accuracies)
    monkeypatch.setattr(kit, "evaluate", lambda *_: (1.0, left.pop(0)))


def test_the_best_epoch_is_kept_and_can_be_taken(
    kit: ModuleType, small: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    scripted(kit, monkeypatch, 0.3, 0.6, 0.5)
    model = TinyNet()
    history = kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=3)
    assert history.accuracy == 0.5
    assert "The best epoch was 2 with 60.0% of the validation images; the model has the last one's weights" in (
        capsys.readouterr().out
    )
    last = model.head.weight.clone()
    assert kit.load_best(model, history) == 0.6
    assert history.accuracy == 0.6
    assert not torch.equal(model.head.weight, last)
    scripted(kit, monkeypatch, 0.2)
    kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=1)
    assert sorted(path.name for path in Path("kit_training").iterdir()) == [
        "TinyNet-best.previous.safetensors", "TinyNet-best.safetensors",
    ]  # fmt: skip
    assert kit._known_accuracy(kit._notes_in(Path("kit_training/TinyNet-best.previous.safetensors"))) == 0.6


def test_an_interrupted_training_leaves_the_best_epoch_and_replaces_nothing_better(
    kit: ModuleType, small: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    kit.save_checkpoint(TinyNet(), data=small, history=kit.History(accuracy=0.7))
    better = Path("modern_cnn.safetensors").read_bytes()
    scripted(kit, monkeypatch, 0.4, 0.3)
    model = TinyNet()
    history = kit.train(model, small, Stop(after=540 * 2 + 5), TO_FLOAT, epochs=4)
    assert history.accuracy == 0.4
    assert torch.equal(model.head.weight, kit.load_checkpoint("kit_training/TinyNet-best.safetensors")["head.weight"])
    saved = kit.save_checkpoint(model, data=small, history=history)
    assert saved.name == "modern_cnn.new.safetensors"
    assert Path("modern_cnn.safetensors").read_bytes() == better
    out = capsys.readouterr().out
    assert "modern_cnn.safetensors stays: it has 70.0% on the validation images of the drawn offline set" in out
    kit.save_checkpoint(model, data=small, history=history, replace_better=True)
    assert Path("modern_cnn.safetensors").read_bytes() != better


def test_training_goes_on_where_nothing_can_be_kept(
    kit: ModuleType, small: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Path("kit_training").write_text("a file in the way")
    assert len(kit.train(TinyNet(), small, TO_FLOAT, TO_FLOAT, epochs=2).validation_accuracy) == 2
    assert capsys.readouterr().out.count("Nothing more is kept of this training") == 1


def test_loss_that_is_no_number_stops_with_advice(kit: ModuleType, small: Any) -> None:
    with pytest.raises(kit.KitError, match="smaller learning rate"):
        kit.train(TinyNet(), small, TO_FLOAT, TO_FLOAT, epochs=2, max_lr=1e30)


def test_quick_mode_trains_one_epoch_and_replaces_no_real_weights(
    kit: ModuleType, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.save_checkpoint(TinyNet(), data=small, history=kit.History(accuracy=0.2))
    real = Path("modern_cnn.safetensors").read_bytes()
    monkeypatch.setenv("CNN_KIT_QUICK", "1")
    model = TinyNet()
    history = kit.train(model, small, TO_FLOAT, TO_FLOAT, epochs=50)
    assert len(history.train_loss) == 1
    assert not Path("kit_training").exists()
    saved = kit.save_checkpoint(model, data=small, history=replace(history, accuracy=0.9))
    assert (saved.name, Path("modern_cnn.safetensors").read_bytes()) == ("modern_cnn.new.safetensors", real)
    Path("modern_cnn.safetensors").unlink()
    assert kit.save_checkpoint(model, data=small, history=history).name == "modern_cnn.safetensors"
    monkeypatch.delenv("CNN_KIT_QUICK")
    saved = kit.save_checkpoint(model, data=small, history=kit.History(accuracy=0.1))
    assert saved.name == "modern_cnn.safetensors", "a rehearsal is never better"


def test_grading_neither_trains_nor_saves_nor_checks(
    kit: ModuleType, small: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    model = TinyNet()
    before = model.head.weight.clone()
    history = kit.train(model, small, TO_FLOAT, TO_FLOAT)
    history.plot()
    kit.save_checkpoint(model, data=small, history=history)
    kit.check("deeper-cnn-tests")
    assert torch.equal(model.head.weight, before)
    assert list(folder.iterdir()) == []
    assert capsys.readouterr().out.count("grading") == 3


def test_history_draws_its_curves(kit: ModuleType) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    kit.History([2.0, 1.5], [0.2, 0.4], [1.9], [0.3]).plot()
    assert len(plt.gcf().axes) == 2
    plt.close("all")


# --- counting and checkpoints -----------------------------------------------------------------------------------


def test_counts_agree_with_arithmetic(kit: ModuleType) -> None:
    model = TinyNet()
    assert kit.count_parameters(model) == 3 * 8 * 9 + 2 * 8 + 8 * 10 + 10
    assert kit.count_macs(model, (4, 3, 32, 32)) == 3 * 8 * 9 * 64 + 8 * 10
    assert model.training


@pytest.mark.parametrize(("accuracy", "points"), [(0.5, 0), (0.65, 0), (0.7, 10), (0.7312, 16.2), (0.75, 20), (1, 20)])
def test_accuracy_rule(kit: ModuleType, accuracy: float, points: float) -> None:
    assert kit.accuracy_points(accuracy) == points


@pytest.mark.parametrize("name", ["modern_cnn.safetensors", "modern_cnn.pt"])
def test_checkpoint_comes_back_as_saved(kit: ModuleType, small: Any, folder: Path, name: str) -> None:
    model = nn.DataParallel(TinyNet())
    kit.save_checkpoint(model, name, data=small, history=kit.History(seed=7))
    TinyNet().load_state_dict(kit.load_checkpoint(name))
    assert [path.name for path in folder.iterdir()] == [name]


def test_what_may_be_better_is_kept_beside_the_new_file(
    kit: ModuleType, small: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> list[str]:
        return sorted(path.name for path in Path.cwd().glob("*.safetensors"))

    kit.save_checkpoint(TinyNet())
    kit.save_checkpoint(TinyNet())  # a loop of one's own saves again and again
    assert "saved before by this process, is replaced: nothing is known of which is better" in capsys.readouterr().out
    assert names() == ["modern_cnn.safetensors"]
    monkeypatch.setattr(kit, "_SAVED", set())
    kit.save_checkpoint(TinyNet())
    monkeypatch.setattr(kit, "_SAVED", set())
    kit.save_checkpoint(HiddenLayers(), history=kit.History(accuracy=0.1))
    assert "is modern_cnn.previous-2.safetensors now: it is of another version of the class" in capsys.readouterr().out
    assert names() == ["modern_cnn.previous-2.safetensors", "modern_cnn.previous.safetensors", "modern_cnn.safetensors"]
    kit.save_checkpoint(HiddenLayers(), data=small, history=kit.History(accuracy=0.9))
    assert "modern_cnn.new.safetensors" in names(), "drawn images say nothing about CIFAR-10"
    kit.save_checkpoint(HiddenLayers(), history=kit.History(accuracy=0.2))
    assert kit._known_accuracy(kit._notes_in(Path("modern_cnn.safetensors"))) == 0.2


def test_checkpoint_says_where_it_comes_from(kit: ModuleType, small: Any, folder: Path) -> None:
    kit.save_checkpoint(TinyNet(), data=small, history=kit.History([1.0], seed=7))
    with kit.safe_open("modern_cnn.safetensors", "pt") as file:
        notes = file.metadata()
    assert notes["data"].startswith("built-in offline set, 600 train images, sha256 ")
    assert json.loads(notes["history"])["seed"] == 7


def test_data_identity_is_the_graders(kit: ModuleType, small: Any) -> None:
    from autograder.judging.datasets import content_hash

    images = torch.cat([small.train.images, small.validation.images]).numpy()
    labels = torch.cat([small.train.labels, small.validation.labels]).numpy()
    assert small.identity.endswith(content_hash(images, labels)[:16])


def test_unusable_checkpoints_are_explained(kit: ModuleType, folder: Path) -> None:
    with pytest.raises(kit.KitError, match="does not exist"):
        kit.load_checkpoint("modern_cnn.safetensors")
    kit.save_checkpoint(TinyNet())
    content = Path("modern_cnn.safetensors").read_bytes()
    Path("modern_cnn.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(kit.KitError, match="cannot be read"):
        kit.load_checkpoint("modern_cnn.safetensors")
    torch.save(TinyNet(), "modern_cnn.pt")
    with pytest.raises(kit.KitError, match=r"whole pickled model.*expected a state dict.*state_dict\(\)"):
        kit.load_checkpoint("modern_cnn.pt")
    torch.save([torch.zeros(3)], "modern_cnn.pt")
    with pytest.raises(kit.KitError, match="holds a list, expected a state dict"):
        kit.load_checkpoint("modern_cnn.pt")
    with pytest.raises(kit.KitError, match=r"is called modern_cnn.safetensors or modern_cnn.pt"):
        kit.save_checkpoint(TinyNet(), "model.bin")


# --- public checks ----------------------------------------------------------------------------------------------


def failed_titles(kit: ModuleType, cell: str, names: dict[str, Any]) -> list[str]:
    return [result.title for result in kit.run_checks(cell, names) if result.status in ("FAIL", "open")]


def test_reference_solutions_pass_every_public_check(kit: ModuleType, folder: Path) -> None:
    for notebook, cells in kit.NOTEBOOKS.items():
        names = solution(notebook)
        for cell in cells:
            if cell != "modern-cnn-accuracy":  # needs trained weights
                assert failed_titles(kit, cell, names) == []


def test_another_style_passes_every_public_check(kit: ModuleType) -> None:
    names: dict[str, Any] = {"__name__": "solution"}
    cells = Path(__file__).parent / "submissions" / "different_style" / "cells"
    for name in ("modern-cnn-solution", "modern-cnn-transforms"):
        exec((cells / f"{name}.py").read_text(), names)
    assert failed_titles(kit, "modern-cnn-architecture", names) == []
    assert failed_titles(kit, "modern-cnn-augmentation", names) == []
    assert kit.count_parameters(names["ModernCNN"]()) == 333_866


def test_untouched_release_is_called_not_answered(kit: ModuleType, folder: Path, capsys: Any) -> None:
    def conv_output_size(*sizes: int, **others: int) -> int:
        raise NotImplementedError

    class DeeperCNN(nn.Module):
        def __init__(self, num_classes: int = 10) -> None:
            raise NotImplementedError

    blank = {"conv_output_size": conv_output_size, "DeeperCNN": DeeperCNN, "answer_standard_weights": ...}
    for cells in kit.NOTEBOOKS.values():
        for cell in cells:
            with pytest.raises(kit.NotAnswered):
                kit.check(cell, **blank)
    assert "FAIL" not in capsys.readouterr().out


def floats(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> float:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1


def no_dilation(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    if kernel > size + 2 * padding:
        raise ValueError
    return (size + 2 * padding - kernel) // stride + 1


class FlattenNet(nn.Sequential):
    def __init__(self, num_classes: int = 10) -> None:
        body = [nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(1024, num_classes)]
        super().__init__(*body)


class SoftmaxNet(TinyNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(1)


class HiddenLayers(TinyNet):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.spare = nn.Linear(3, 3)


class DecidesOnValues(TinyNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (2 if x.max() > 1 else 1)


class StandardConv(nn.Conv2d):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding)


@pytest.mark.parametrize(
    ("cell", "names", "title"),
    [
        ("output-size-worked", {"answer_output_size": 31.5, "answer_same_padding": 4}, "The output size for 64x64"),
        ("output-size-worked", {"answer_output_size": 32, "answer_same_padding": 2}, "The padding that keeps the size"),
        ("output-size-function", {"conv_output_size": floats}, "With a stride; the result is rounded down, and an int"),
        ("output-size-function", {"conv_output_size": no_dilation}, "With dilation"),
        ("modern-cnn-architecture", {"ModernCNN": FlattenNet}, "64×64 images work"),
        ("modern-cnn-architecture", {"ModernCNN": SoftmaxNet}, "Gives raw logits"),
        ("modern-cnn-architecture", {"ModernCNN": HiddenLayers}, "Every convolution and linear weight is registered"),
        ("modern-cnn-architecture", {"ModernCNN": DecidesOnValues}, "The grader can read the network"),
        ("deeper-cnn-tests", {"DeeperCNN": TinyNet}, "Four blocks, which end with 32, 64, 128 and 256"),
        ("depthwise-separable-tests", {"DepthwiseSeparableConv": StandardConv}, "The first convolution is depthwise"),
        ("depthwise-count", {"answer_standard_weights": 73_856}, "The weights of the standard convolution"),
        ("modern-cnn-augmentation", {"train_transform": TO_FLOAT}, "`train_transform` varies an image"),
        ("modern-cnn-augmentation", {"test_transform": v1.ToTensor()}, "Both transforms normalise alike"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_answer_fails_the_intended_check(kit: ModuleType, cell: str, names: dict[str, Any], title: str) -> None:
    flip = v2.Compose([v2.RandomHorizontalFlip(), TO_FLOAT])
    right = {"answer_separable_weights": 8_768, "train_transform": flip, "test_transform": TO_FLOAT}
    failed = failed_titles(kit, cell, {**right, **names})
    assert any(name.startswith(title) for name in failed), failed


class WithBlocks(nn.Module):
    def __init__(self, num_classes: int = 10, block: Any = None) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        self.blocks = nn.Sequential(*(block(*pair) for pair in pairwise(widths)))
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(256, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.blocks(x).mean((2, 3))))


def block_of_layers(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))


@pytest.mark.parametrize(
    "factory",
    [
        functools.partial(WithBlocks, block=block_of_layers),
        lambda num_classes=10: WithBlocks(num_classes, block_of_layers),
        lambda classes=10: WithBlocks(classes, block_of_layers),
    ],
    ids=["partial", "lambda", "another parameter's name"],
)
def test_whatever_builds_the_network_will_do(kit: ModuleType, factory: Any) -> None:
    assert failed_titles(kit, "deeper-cnn-tests", {"DeeperCNN": factory}) == []


def test_a_wrong_number_that_looks_sensible_is_plausible_and_no_more(kit: ModuleType, capsys: Any) -> None:
    kit.check("output-size-worked", answer_output_size=31, answer_same_padding=3.0)
    out = capsys.readouterr().out
    assert "ok" not in out.split()
    assert out.count("  plausible  ") == 2
    assert "not looked at here: whether the numbers are right" in out


def test_what_is_hidden_is_named(kit: ModuleType) -> None:
    assert kit.not_looked_at("deeper-cnn-tests") == ("“Each block halves height and width”; other numbers of classes")
    hidden = [title for _, _, _, title, _, how in kit._CHECKS if how == "hidden"]
    assert len(hidden) == 3
    assert not any("C_out" in title for title in hidden), "the ratio is what students are asked to derive"


def test_checks_leave_the_random_generators_as_they_were(kit: ModuleType) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        kit.run_checks("depthwise-separable-tests", solution("03_depthwise_separable.ipynb"))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.rand(3), before[0])
    assert np.array_equal(np.random.rand(3), before[1])


def test_budgets_and_the_rule_are_those_of_the_configuration(kit: ModuleType) -> None:
    modern = next(e for e in load_course(ROOT).assignment(ASSIGNMENT).exercises if e.notebook == "04_modern_cnn")
    assert (modern.settings["most_parameters"], modern.settings["most_macs"]) == (kit.MAX_NUMBERS, kit.MAX_MACS)
    assert modern.checkpoint.most_mib == kit.MAX_CHECKPOINT_MIB
    rule = [modern.cells["modern-cnn-accuracy"], *(modern.settings[f"accuracy_{name}"] for name in ("zero", "full"))]
    assert rule == [kit.ACCURACY_POINTS, kit.ACCURACY_FROM, kit.ACCURACY_FULL]


def test_the_table_of_operations_is_the_graders(kit: ModuleType) -> None:
    assert kit._modules()["_kit_graphs_operations"].OPERATIONS.keys() == OPERATIONS.keys()
    for name, operation in kit._modules()["_kit_graphs_operations"].OPERATIONS.items():
        assert (operation.kinds, operation.returns) == (OPERATIONS[name].kinds, OPERATIONS[name].returns), name


def test_error_in_student_code_is_shown_with_its_line(kit: ModuleType) -> None:
    names: dict[str, Any] = {}
    source = "def conv_output_size(input_size, kernel_size, **others):\n    return input_size / 0\n"
    kit.linecache.cache["a cell"] = (len(source), None, source.splitlines(keepends=True), "a cell")
    exec(compile(source, "a cell", "exec"), names)
    with pytest.raises(kit.CheckFailed, match=r"ZeroDivisionError: .* \(line 2: return input_size / 0\)"):
        kit.check("output-size-function", **names)


def test_check_takes_the_notebooks_own_names(kit: ModuleType, capsys: Any) -> None:
    names = solution("01_output_size.ipynb")
    names["cnn_kit"] = kit
    exec("cnn_kit.check('output-size-function')", names)
    assert capsys.readouterr().out.count("  ok  ") == 6


def test_unknown_cell_is_named(kit: ModuleType) -> None:
    with pytest.raises(kit.KitError, match=r"'deeper-tests', only for output-size-worked"):
        kit.check("deeper-tests")


def test_accuracy_is_measured_on_validation_images(
    kit: ModuleType, small: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "load_cifar10", lambda: small)
    torch.manual_seed(0)
    model = TinyNet()
    kit.save_checkpoint(model)
    _, accuracy = kit.evaluate(model, small.validation, TO_FLOAT)
    fits, _, reached = kit.run_checks("modern-cnn-accuracy", {"ModernCNN": TinyNet, "test_transform": TO_FLOAT})
    assert (fits.status, reached.status) == ("ok", "FAIL")
    assert f"expected 75% for all points, found {accuracy:.1%} of 60 validation images: about 0.0" in reached.message
    assert "says nothing about CIFAR-10" in reached.message
    fits, _, reached = kit.run_checks("modern-cnn-accuracy", {"ModernCNN": FlattenNet, "test_transform": TO_FLOAT})
    assert "does not fit ModernCNN" in fits.message
    assert reached.status == "-"


@pytest.mark.parametrize(("accuracy", "status", "said"), [
    (0.749, "FAIL", "about 19.8 points"), (0.75, "plausible", "aim at 77%"), (0.77, "plausible", "about 20.0 points"),
])  # fmt: skip
def test_an_accuracy_at_the_threshold_is_not_called_safe(
    kit: ModuleType, small: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, accuracy: float, status: str, said: str
) -> None:
    monkeypatch.setattr(kit, "load_cifar10", lambda: small)
    monkeypatch.setattr(kit, "evaluate", lambda *_: (1.0, accuracy))
    kit.save_checkpoint(TinyNet())
    reached = kit.run_checks("modern-cnn-accuracy", {"ModernCNN": TinyNet, "test_transform": TO_FLOAT})[-1]
    assert (reached.status, said in reached.message) == (status, True)
    assert ("aim at 77%" in reached.message) == (accuracy == 0.75)


# --- check and pack ---------------------------------------------------------------------------------------------


def write_notebook(path: Path, cells: list[tuple[str, str]], kind: str = "code") -> None:
    """A notebook of cells of a kind, each (grade_id or "", source)."""
    path.write_text(
        json.dumps(
            {
                "cells": [
                    {
                        "cell_type": kind,
                        "metadata": {"nbgrader": {"grade_id": grade_id}} if grade_id else {},
                        "source": source.splitlines(keepends=True),
                    }
                    for grade_id, source in cells
                ],
                "metadata": {},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
    )


def test_check_runs_a_notebook_and_names_what_is_missing(kit: ModuleType, folder: Path, capsys: Any) -> None:
    head = "def conv_output_size(n, k, stride=1, padding=0, dilation=1):\n"
    function = head + "    return (n + 2 * padding - k) // stride + 1"
    write_notebook(
        folder / "01_output_size.ipynb",
        [
            ("", "%matplotlib inline\nimport cnn_kit\nfrom pathlib import Path"),
            ("output-size-solution", function),
            ("", "1 / 0"),
            ("modern-cnn-training", "Path('trained').touch()"),
            ("output-size-worked", "cnn_kit.check('output-size-worked', answer_output_size=answer_output_size)"),
            ("output-size-function", "cnn_kit.check('output-size-function')"),
            ("", "raise SystemExit"),
        ],
    )
    assert kit.main(["check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "  open       output-size-worked        The answer is there" in out
    assert "  ok         output-size-function      With padding" in out
    assert "  FAIL       output-size-function      With dilation" in out
    assert "cell 3: ZeroDivisionError: division by zero (line 1: 1 / 0); cell 7: SystemExit" in out
    assert "note: 01_output_size.ipynb: cell 1: left out %matplotlib inline, which only Jupyter understands" in out
    assert "02_deeper_cnn.ipynb is missing" in out
    assert not (folder / "trained").exists()


def test_check_survives_a_notebook_that_ends_its_process(kit: ModuleType, folder: Path) -> None:
    write_notebook(folder / "02_deeper_cnn.ipynb", [("", "import os\nos._exit(3)")])
    report = kit._run_in_clean_process(folder, "02_deeper_cnn.ipynb")
    assert report["error"] == "the process ended before the notebook did: exit code 3"


def test_check_names_an_unreadable_notebook(kit: ModuleType, folder: Path) -> None:
    (folder / "01_output_size.ipynb").write_text('{"cells": [')
    with pytest.raises(kit.KitError, match=r"01_output_size.ipynb is not a notebook that can be read"):
        kit._code_cells(folder / "01_output_size.ipynb")


@pytest.mark.parametrize(
    ("cell", "code", "left_out"),
    [
        ("%time x = 1\nif x:\n    !ls\ny = 2", "x = 1\nif x:\n    pass\ny = 2\n", ["!ls"]),
        ("nn.Conv2d?\n?nn.Conv2d\nx = 1\nx??", "pass\npass\nx = 1\npass\n", ["nn.Conv2d?", "?nn.Conv2d", "x??"]),
        ("files = !ls \\\n    -l\ny = 1", "files = []\n\ny = 1\n", ["files = !ls \\"]),
        ("%%time\nx = 1", "\nx = 1\n", []),
        ("%%bash\nls -l", "\n\n", ["%%bash"]),
        ("pip install seaborn\nx = 1", "pass\nx = 1\n", ["pip install seaborn"]),
        ('x = """\n% of all\n!"""\nwhy = "really?"', 'x = """\n% of all\n!"""\nwhy = "really?"\n', []),
        ("x = 5 %2\nx = (1 +", "x = 5 %2\nx = (1 +\n", []),
    ],
)
def test_what_only_jupyter_understands_is_left_out_and_said(
    kit: ModuleType, cell: str, code: str, left_out: list[str]
) -> None:
    assert kit.as_python(cell) == (code, left_out)


def test_a_notebook_runs_with_help_shell_await_and_run(kit: ModuleType, folder: Path) -> None:
    (folder / "helper.py").write_text("three = 3\n")
    write_notebook(folder / "more.ipynb", [("", "four = three + 1")])
    write_notebook(
        folder / "02_deeper_cnn.ipynb",
        [
            ("", "from torch import nn\nnn.Conv2d?\n!ls\nget_ipython().run_line_magic('matplotlib', 'inline')"),
            ("", "import asyncio\nasync def one():\n    await asyncio.sleep(0)\n    return 1\nx = await one()"),
            ("", "%run helper.py\n%run more.ipynb\nassert (x, three, four) == (1, 3, 4)"),
        ],
    )
    report = kit._run_in_clean_process(folder, "02_deeper_cnn.ipynb")
    assert report["error"] == ""
    assert report["notes"] == ["cell 1: left out nn.Conv2d?, !ls, which only Jupyter understands"]


def test_check_and_pack_look_for_the_answer_in_words(kit: ModuleType, folder: Path, capsys: Any) -> None:
    path = folder / "03_depthwise_separable.ipynb"
    for text, status, said in (
        ("YOUR ANSWER HERE\n", "open", "nothing is written yet"),
        ("", "open", "nothing is written yet"),
        ("It is cheaper.", "plausible", "3 words, which a person will read"),
    ):
        write_notebook(path, [("depthwise-why", text)], kind="markdown")
        (found,) = kit._written_answers(path)
        assert (found.status, said in found.message) == (status, True)
        assert kit.main(["pack", str(folder), "--without-checkpoint"]) == 0
        assert ("Warning: 03_depthwise_separable.ipynb, depthwise-why: nothing is" in capsys.readouterr().out) == (
            status == "open"
        )


@pytest.fixture
def hand_in(folder: Path, kit: ModuleType) -> Path:
    """Four notebooks; ModernCNN is TinyNet's twin."""
    for name in kit.NOTEBOOKS:
        write_notebook(folder / name, [])
    model = (
        "from torch import nn\nclass ModernCNN(nn.Sequential):\n"
        "    def __init__(self, num_classes=10, width=8):\n"
        "        super().__init__(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n"
        "                         nn.Linear(width, num_classes))\n"
    )
    checked = "ModernCNN = None"  # packing runs no check
    write_notebook(folder / "04_modern_cnn.ipynb", [("modern-cnn-solution", model), ("modern-cnn-accuracy", checked)])
    return folder


def hand_in_model(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def test_pack_writes_what_is_handed_in_and_a_receipt(kit: ModuleType, hand_in: Path, small: Any, capsys: Any) -> None:
    kit.save_checkpoint(hand_in_model(), data=small)
    (hand_in / "01_output_size.ipynb").unlink()
    assert kit.main(["pack", str(hand_in)]) == 0
    out = capsys.readouterr().out
    packed = hand_in / "cnn-submission.zip"
    assert f"SHA-256 {hashlib.sha256(packed.read_bytes()).hexdigest()}" in out
    assert "Warning: 01_output_size.ipynb is missing" in out
    assert "314 parameters" in out
    assert "Trained on built-in offline set" in out
    with zipfile.ZipFile(packed) as archive:
        handed_in = [*sorted(kit.NOTEBOOKS)[1:], "modern_cnn.safetensors"]
        assert sorted(archive.namelist()) == [*handed_in, "receipt.json"]
        stored = {name: archive.read(name) for name in handed_in}
        receipt = json.loads(archive.read("receipt.json"))
    assert stored == {name: (hand_in / name).read_bytes() for name in handed_in}
    assert (receipt["format"], receipt["kit"]) == (1, kit.__version__)
    assert {file["name"]: (file["size"], file["sha256"]) for file in receipt["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in stored.items()
    }


def test_pack_refuses_weights_of_another_model(kit: ModuleType, hand_in: Path, capsys: Any) -> None:
    kit.save_checkpoint(hand_in_model(width=9))
    assert kit.main(["pack", str(hand_in)]) == 1
    assert "does not fit ModernCNN" in capsys.readouterr().err
    assert not (hand_in / "cnn-submission.zip").exists()


def test_pack_needs_a_readable_checkpoint_within_the_budget(
    kit: ModuleType, hand_in: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kit.main(["pack", str(hand_in)]) == 1
    assert "run the training cell" in capsys.readouterr().err
    (hand_in / "modern_cnn.pt").write_bytes(b"nonsense")
    assert kit.main(["pack", str(hand_in)]) == 1
    assert "modern_cnn.pt" in capsys.readouterr().err
    kit.save_checkpoint(hand_in_model())
    monkeypatch.setattr(kit, "MAX_CHECKPOINT_MIB", 0.001)
    assert kit.main(["pack", str(hand_in)]) == 1
    assert "over budget: checkpoint of" in capsys.readouterr().err
    assert not (hand_in / "cnn-submission.zip").exists()


def test_pack_takes_the_only_file_with_weights_and_asks_where_there_are_two(
    kit: ModuleType, hand_in: Path, capsys: Any
) -> None:
    """As the grader does, so that nobody packs what it would not find."""
    (hand_in / "runs").mkdir()
    state = {f"module.{name}": value for name, value in hand_in_model().state_dict().items()}
    torch.save({"epoch": 3, "model_state_dict": state}, hand_in / "runs" / "best.ckpt")
    (hand_in / "kit_training").mkdir()
    kit.save_file(state, hand_in / "kit_training" / "ModernCNN-best.safetensors")
    assert kit.main(["pack", str(hand_in)]) == 0, capsys.readouterr().err
    assert "runs/best.ckpt" in packed(hand_in)
    torch.save(state, hand_in / "last.pth")
    assert kit.main(["pack", str(hand_in)]) == 1
    assert "last.pth, runs/best.ckpt may all be the weights of ModernCNN" in capsys.readouterr().err
    (hand_in / "last.pth").rename(hand_in / "modern_cnn.pt")  # as it says
    assert kit.main(["pack", str(hand_in)]) == 0
    assert {"modern_cnn.pt", "runs/best.ckpt"} & set(packed(hand_in)) == {"modern_cnn.pt"}


def test_without_checkpoint_means_without(kit: ModuleType, hand_in: Path, capsys: Any) -> None:
    (hand_in / "modern_cnn.pt").write_bytes(b"nonsense")
    assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 0
    assert "modern_cnn.pt is left out, as asked" in capsys.readouterr().out
    with zipfile.ZipFile(hand_in / "cnn-submission.zip") as archive:
        assert "modern_cnn.pt" not in archive.namelist()


def test_pack_warns_of_weights_that_earn_nothing(kit: ModuleType, hand_in: Path, small: Any, capsys: Any) -> None:
    kit.save_checkpoint(hand_in_model(), data=small, history=kit.History(accuracy=0.9))
    assert kit.main(["pack", str(hand_in)]) == 0
    warning = "Warning: modern_cnn.safetensors has 90.0% on the validation images of the drawn offline set: expect no"
    assert warning in capsys.readouterr().out


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def packed(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(folder / "cnn-submission.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("cells", "files", "wanted"),
    [
        (["from blocks import conv_block"], {"blocks.py": "import torch"}, ["blocks.py"]),
        (["import blocks.conv as c"], {"blocks.py": ""}, ["blocks.py"]),
        (
            ["def later():\n    import blocks"],
            {"blocks.py": "from parts import *", "parts.py": ""},
            ["blocks.py", "parts.py"],
        ),
        (
            ["from nets.small import Net"],
            {"nets/__init__.py": "", "nets/small.py": "from ..nets import base\nimport extra", "nets/base.py": "",
             "nets/__pycache__/base.pyc": "", "extra.py": ""},
            ["extra.py", "nets/__init__.py", "nets/base.py", "nets/small.py"],
        ),
        (
            ["from lib import tool"],
            {"lib/tool.py": "from . import other", "lib/other.py": ""},
            ["lib/other.py", "lib/tool.py"],
        ),
        (
            ["%run scripts/start.py"],
            {"scripts/start.py": "import near", "scripts/near.py": ""},
            ["scripts/near.py", "scripts/start.py"],
        ),
        (["%run -i start"], {"start.py": ""}, ["start.py"]),
        (["%%time\nimport importlib\nimportlib.import_module('blocks')"], {"blocks.py": ""}, ["blocks.py"]),
        (
            ["exec(open('blocks.py').read())", "await x\n!python more.py"],
            {"blocks.py": "", "more.py": ""},
            ["blocks.py", "more.py"],
        ),
        (["import sys\nsys.path.insert(0, 'src')", "import blocks"], {"src/blocks.py": ""}, ["src/blocks.py"]),
        (["import torch, cnn_kit\nfrom torchvision import models"], {"notes.py": "", "cnn_kit.py": ""}, []),
    ],
    ids=["from", "part of a module", "transitive", "package", "namespace", "run", "run -i", "import_module", "read",
         "sys.path", "nothing"],
)  # fmt: skip
def test_what_notebooks_import_from_beside_them_is_packed(
    kit: ModuleType, hand_in: Path, capsys: Any, cells: list[str], files: dict[str, str], wanted: list[str]
) -> None:
    write_files(hand_in, files)
    write_notebook(hand_in / "02_deeper_cnn.ipynb", [("", cell) for cell in cells])
    assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 0, capsys.readouterr().err
    found = packed(hand_in)
    receipt = json.loads(found.pop("receipt.json"))
    assert sorted(found.keys() - kit.NOTEBOOKS.keys()) == wanted
    assert all(found[name] == (hand_in / name).read_bytes() for name in found)
    assert {file["name"] for file in receipt["files"]} == found.keys()
    out = capsys.readouterr().out
    assert ("import files from beside them" in out) == bool(wanted)
    assert all(name in out for name in wanted[:3])


@pytest.mark.parametrize(
    ("cell", "files", "said"),
    [
        ("%run helpers.ipynb", {"helpers.ipynb": "{}"}, r"runs helpers.ipynb, and notebooks of your own are not there"),
        ("%run ../start.py", {"../start.py": ""}, r"runs ../start.py, which is not in this folder: copy it there"),
        ("import sys\nsys.path.append('..')\nimport blocks", {"../blocks.py": ""}, r"blocks.py, which lies outside of"),
        ("import sys, os\nsys.path.append(os.environ['X'])\nimport blocks", {}, "from a folder that it adds to"),
        ("import fast", {"fast.cpython-311-x86_64-linux-gnu.so": ""}, r"compiled code that may not run elsewhere"),
        ("import blocks", {"blocks.py": "def f(:"}, r"blocks.py, which 02_deeper_cnn.ipynb imports, cannot be read"),
    ],
    ids=["notebook", "script elsewhere", "folder elsewhere", "unknown folder", "compiled", "broken"],
)  # fmt: skip
def test_what_cannot_travel_is_named_and_refused(
    kit: ModuleType, hand_in: Path, capsys: Any, cell: str, files: dict[str, str], said: str
) -> None:
    write_files(hand_in, files)
    write_notebook(hand_in / "02_deeper_cnn.ipynb", [("", cell)])
    assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 1
    assert said in capsys.readouterr().err
    assert not (hand_in / "cnn-submission.zip").exists()


def test_a_module_of_ones_own_that_is_installed_from_elsewhere_is_refused(
    kit: ModuleType, hand_in: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"own/my_blocks.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path / "own"))  # as an editable install does
    write_notebook(hand_in / "02_deeper_cnn.ipynb", [("", "import my_blocks")])
    assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 1
    assert "02_deeper_cnn.ipynb imports my_blocks from" in capsys.readouterr().err


def test_other_files_that_notebooks_mention_are_named(kit: ModuleType, hand_in: Path, capsys: Any) -> None:
    write_files(hand_in, {"mean.json": "{}", "log.txt": "", "blocks.py": "open('widths.csv')", "widths.csv": ""})
    cells = [
        ("", "import blocks\nopen('mean.json')\nimport seaborn_is_not_here"),
        ("modern-cnn-training", "open('log.txt')"),
    ]
    write_notebook(hand_in / "02_deeper_cnn.ipynb", cells)
    assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 0
    out = capsys.readouterr().out
    assert "Warning: 02_deeper_cnn.ipynb mentions mean.json, which is not packed" in out
    assert "Warning: blocks.py mentions widths.csv" in out
    assert "Warning: 02_deeper_cnn.ipynb imports seaborn_is_not_here, which is neither in this folder nor inst" in out
    assert "log.txt" not in out


def test_a_packed_module_arrives_and_runs(kit: ModuleType, hand_in: Path, tmp_path: Path) -> None:
    """As `autograder collect` takes it: checked against its receipt, and beside the notebook that imports it."""
    write_files(hand_in, {"blocks/__init__.py": "from .conv import three\n", "blocks/conv.py": "three = 3\n"})
    write_notebook(hand_in / "02_deeper_cnn.ipynb", [("", "from blocks import three\nassert three == 3")])
    assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 0
    arrived = tmp_path / "arrived"
    with zipfile.ZipFile(hand_in / "cnn-submission.zip") as archive:
        archive.extractall(arrived)
    files = {
        p.relative_to(arrived).as_posix(): p for p in arrived.rglob("*") if p.is_file() and p.name != "receipt.json"
    }
    digests = {
        name: FileDigest(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for name, path in files.items()
    }
    assert check_receipt(arrived / "receipt.json", digests) == []
    assert kit._run_in_clean_process(arrived, "02_deeper_cnn.ipynb")["error"] == ""


def test_same_files_give_the_same_receipt(kit: ModuleType, hand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for _ in range(2):
        assert kit.main(["pack", str(hand_in), "--without-checkpoint"]) == 0
        digests.append(hashlib.sha256((hand_in / "cnn-submission.zip").read_bytes()).hexdigest())
        os.utime(hand_in / "02_deeper_cnn.ipynb", (1_900_000_000, 1_900_000_000))
        monkeypatch.setattr(time, "strftime", lambda *_: "another day")
    assert digests[0] == digests[1]


def test_pack_in_the_wrong_folder_says_so(kit: ModuleType, folder: Path, capsys: Any) -> None:
    assert kit.main(["pack", str(folder)]) == 1
    assert "run this where your notebooks are" in capsys.readouterr().err
    assert kit.main(["check", str(folder / "nowhere")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_messages_survive_a_console_with_few_characters(
    kit: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    assert kit.main(["pack", str(folder / "Übung")]) == 1
    sys.stderr.flush()
    assert b"?bung is not a folder" in raw.getvalue()


def test_while_grading_stand_in_images_have_the_statistics_of_cifar10(
    kit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A normalisation that a notebook computes from the data is then the one that its weights were trained with."""
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    monkeypatch.setenv("AUTOGRADER_STAND_IN", "")
    data = kit.load_cifar10()
    assert "stand in for CIFAR-10" in capsys.readouterr().out
    assert os.environ["AUTOGRADER_STAND_IN"] == "1"
    for part in (data.train, data.validation, data.test):
        pixels = part.images.double() / 255
        torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(kit.CHANNEL_MEAN).double(), atol=1e-3, rtol=0)
        torch.testing.assert_close(pixels.std((0, 2, 3)), torch.tensor(kit.CHANNEL_STD).double(), atol=1e-3, rtol=0)
    assert len(torch.unique(data.train.images)) > 200
