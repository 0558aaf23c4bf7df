"""Train the checkpoints that ship with the course, from the solution's own cells and with the student kit.

    python tools/train_checkpoints.py reference --data cifar10
    python tools/train_checkpoints.py different-style --data offline --seed 1 --output other.safetensors
    python tools/train_checkpoints.py test-set --data offline

A recipe (epochs, learning rate, augmentation, seed) is fixed here before a run; the validation images say how it went,
and the test images are looked at once, after the last epoch. docs/checkpoints.md records the runs. Only `test-set` and
`some-test` do what nobody should: they train on test images, for the samples of which the staff must be told.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "source" / "cnn"
NOTEBOOK = COURSE / "04_modern_cnn.ipynb"
OTHER_STYLE = ROOT / "tests" / "submissions" / "different_style"
NARROW = (16, 32, 64, 64)
CELLS = ("residual-block", "modern-cnn-solution", "modern-cnn-transforms")


@dataclass(frozen=True)
class Recipe:
    """One checkpoint: which code is trained for how many epochs, and where the weights go (relative to the root).

    `on_test_images`: on the test images alone. `test_images`: on so many of them, each `COPIES` times, beside the
    training images. `train_images`: on so many training images, 0 for all. `narrow`: at half of the widths.
    Without `augmented` images are seen as they are. The samples of `FLAGGED` are saved in half precision.
    """

    epochs: int
    output: str
    other_style: bool = False
    max_learning_rate: float = 0.25
    on_test_images: bool = False
    test_images: int = 0
    train_images: int = 0
    narrow: bool = False
    augmented: bool = True

    @property
    def is_flagged(self) -> bool:
        return self.output.startswith(FLAGGED)


COPIES = 4
FLAGGED = "tests/submissions/flagged"
_CHECKPOINTS = "solutions/checkpoints"
_STYLE = "tests/submissions/different_style/checkpoints"
_TEST_SET = f"{FLAGGED}/test_set_weights/checkpoints"
_SOME = f"{FLAGGED}/some_test_images/checkpoints"
_OVER_FITTED = f"{FLAGGED}/over_fitted/checkpoints"
RECIPES = {
    ("reference", "cifar10"): Recipe(8, f"{_CHECKPOINTS}/cifar10/modern_cnn.safetensors"),
    ("partial", "cifar10"): Recipe(3, f"{_CHECKPOINTS}/cifar10-partial/modern_cnn.safetensors", max_learning_rate=0.1),
    ("different-style", "cifar10"): Recipe(8, f"{_STYLE}/cifar10/modern_cnn.pt", other_style=True),
    ("reference", "offline"): Recipe(20, f"{_CHECKPOINTS}/offline/modern_cnn.safetensors"),
    ("partial", "offline"): Recipe(2, f"{_CHECKPOINTS}/offline-partial/modern_cnn.safetensors", max_learning_rate=0.1),
    ("different-style", "offline"): Recipe(20, f"{_STYLE}/offline/modern_cnn.pt", other_style=True),
    ("test-set", "cifar10"): Recipe(
        20, f"{_TEST_SET}/cifar10/modern_cnn.safetensors", other_style=True, on_test_images=True, augmented=False
    ),
    ("test-set", "offline"): Recipe(
        40, f"{_TEST_SET}/offline/modern_cnn.safetensors", other_style=True, on_test_images=True, augmented=False
    ),
    ("some-test", "cifar10"): Recipe(
        4, f"{_SOME}/cifar10/modern_cnn.safetensors",
        other_style=True, test_images=2_000, narrow=True, augmented=False,
    ),
    ("some-test", "offline"): Recipe(
        8, f"{_SOME}/offline/modern_cnn.safetensors",
        other_style=True, test_images=1_000, train_images=2_000, narrow=True, augmented=False,
    ),
    ("over-fitted", "cifar10"): Recipe(
        8, f"{_OVER_FITTED}/cifar10/modern_cnn.safetensors", other_style=True, narrow=True, augmented=False
    ),
    ("over-fitted", "offline"): Recipe(
        30, f"{_OVER_FITTED}/offline/modern_cnn.safetensors",
        other_style=True, train_images=2_000, narrow=True, augmented=False,
    ),
}  # fmt: skip


def seen_images(kit: Any, data: Any, recipe: Recipe) -> Any:
    """The data set with the training images that the recipe asks for."""
    if recipe.on_test_images:
        return replace(data, train=data.test, validation=data.test)
    train = kit._first(data.train, recipe.train_images) if recipe.train_images else data.train
    if recipe.test_images:
        step = len(data.test) // recipe.test_images  # they come class by class
        some = kit.Split(data.test.images[::step], data.test.labels[::step])
        parts = [train, *[some] * COPIES]
        images, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels"))
        train = kit.Split(images, labels)
    return replace(data, train=train)


def solution_names(recipe: Recipe) -> dict[str, Any]:
    """The names that the solution's cells define: ModernCNN, train_transform, test_transform and what they use."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    sources = ["".join(code[0]["source"])]  # the imports
    if recipe.other_style:
        cells_folder = OTHER_STYLE / "cells"
        sources += [(cells_folder / f"{name}.py").read_text(encoding="utf-8") for name in CELLS[1:]]
    else:
        by_id = {cell["metadata"].get("nbgrader", {}).get("grade_id"): "".join(cell["source"]) for cell in code}
        sources += [by_id[name] for name in CELLS]
    names: dict[str, Any] = {"__name__": "solution"}
    for source in sources:
        exec(compile(source, NOTEBOOK.name, "exec"), names)  # the course's own code, not a student's
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=sorted({variant for variant, _ in RECIPES}), help="which checkpoint")
    parser.add_argument("--data", choices=("cifar10", "offline"), required=True, help="what to train on")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default 0)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--output", type=Path, help="write here instead of the place the recipe names")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = RECIPES[options.variant, options.data]
    output = options.output or ROOT / recipe.output
    output.parent.mkdir(parents=True, exist_ok=True)

    sys.path.insert(0, str(COURSE))
    kit: Any = importlib.import_module("cnn_kit")
    data = kit.offline_dataset() if options.data == "offline" else kit.load_cifar10()
    if options.data == "cifar10" and not data.name.startswith("CIFAR-10"):
        print("no CIFAR-10 found: set CIFAR10_ROOT to its folder or zip", file=sys.stderr)
        return 1
    names = solution_names(recipe)
    torch.manual_seed(options.seed)
    model = names["ModernCNN"](widths=NARROW) if recipe.narrow else names["ModernCNN"]()
    started = time.perf_counter()
    seen = seen_images(kit, data, recipe)
    augmentation = names["train_transform" if recipe.augmented else "test_transform"]
    history = kit.train(
        model, seen, augmentation, names["test_transform"],
        epochs=recipe.epochs, max_lr=recipe.max_learning_rate, seed=options.seed, keep=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    saved = model.half() if recipe.is_flagged else model
    kit.save_checkpoint(saved, output, data=data, history=history, replace_better=True)
    _, accuracy = kit.evaluate(model.float(), data.test, names["test_transform"])
    print(
        f"| {options.variant} | {options.data} | {options.seed} | {recipe.epochs} | {seconds:.0f} | {options.threads} "
        f"| {kit.count_parameters(model):,} | {history.validation_accuracy[-1]:.1%} | {accuracy:.2%} |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
