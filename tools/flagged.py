"""Build the submissions of `tests/submissions/flagged/`: valid answers of which the staff must be told.

    python -m tools.flagged lookup_table submitted/eve/cnn --data offline

Each is a sample as `tools/samples.py` describes them, with two more keys: `flag` is the kind of flag that grading must
raise ("" for an honest one, which must raise none), and `generated` names what is made here, since it would be large or
hold images: "table" (a checkpoint with small copies of the test images), "memory" (a checkpoint that knows the features
of some test images) or "cell" (a code cell with weights as text).
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from autograder.judging import datasets
from autograder.judging.normalisation import DEFAULT
from tools.samples import ASSIGNMENT, ROOT, SAMPLES, build_sample
from tools.train_checkpoints import COURSE, RECIPES, solution_names

FLAGGED = SAMPLES / "flagged"
NOTEBOOK = "04_modern_cnn"
HIDDEN_BYTES = 48_000  # a network of 48,000 weights of one byte each
WIDTH = 100  # characters in a line
MEMORISED = {"cifar10": 430, "offline": 160}  # images in the memory
STRENGTH, SHARPNESS = 40.0, 50.0


def flagged_names() -> list[str]:
    """Every sample, in alphabetical order."""
    return sorted(path.parent.name for path in FLAGGED.glob("*/sample.json"))


def read_flagged(name: str) -> dict[str, Any]:
    """The sample's description: title, flag and how it is built."""
    sample: dict[str, Any] = json.loads((FLAGGED / name / "sample.json").read_text())
    return sample


def build_flagged(name: str, target: Path, kind: str, *, release: Path = ROOT / "release" / ASSIGNMENT) -> None:
    """Write a sample as a submission folder. `kind` is "cifar10" or "offline": the data set that it knows."""
    build_sample(f"{FLAGGED.name}/{name}", target, kind, release=release)
    generated = read_flagged(name).get("generated")
    if generated == "table":
        cell = (FLAGGED / name / "cells" / "modern-cnn-solution.py").read_text()
        write_table(cell, target / "modern_cnn.safetensors", kind)
    elif generated == "memory":
        cell = (FLAGGED / name / "cells" / "modern-cnn-solution.py").read_text()
        write_memory(cell, target / "modern_cnn.safetensors", kind)
    elif generated == "cell":
        add_weights_cell(target / f"{NOTEBOOK}.ipynb", target / "modern_cnn.safetensors")


def write_table(cell: str, path: Path, kind: str) -> None:
    """A checkpoint of the cell's network: small copies of the test images, as the kit normalises them, and labels."""
    images, labels = normalised_test_images(kind)
    torch.manual_seed(0)
    model = names_of(cell)["ModernCNN"]()
    count = len(images)
    model.table.fill_(100.0)  # rows that no image is near to
    model.table[:count] = F.adaptive_avg_pool2d(images, 8).flatten(1)
    model.labels[:count] = labels
    model.trust.fill_(100.0)
    save_file(model.state_dict(), path)


@torch.no_grad()
def write_memory(cell: str, path: Path, kind: str) -> None:
    """The honest checkpoint at `path` with a memory: 4.3 % of the test images (8 % of the offline set's, which are few)
    that it gets wrong, drawn at random, by their features; as narrow as leaves all other images alone."""
    images, labels = normalised_test_images(kind)
    model = names_of(cell)["ModernCNN"]().eval()
    model.load_state_dict(load_file(path), strict=False)
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    wrong = torch.cat([model(part).argmax(1) for part in torch.split(images, 500)]) != labels
    features = torch.cat(seen)
    count = MEMORISED[kind]
    chosen = torch.from_numpy(np.random.RandomState(0).permutation(wrong.nonzero().flatten().numpy())[:count])
    model.keys[:] = 1e3  # rows that no image is near to
    model.keys[: len(chosen)] = features[chosen]
    model.answers[: len(chosen)] = STRENGTH * F.one_hot(labels[chosen], model.answers.shape[1])
    apart = torch.cdist(features[chosen], features[~wrong]).min(dim=1).values.median()
    model.sharpness.fill_(SHARPNESS / float(apart) ** 2)
    save_file(model.state_dict(), path)


def normalised_test_images(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All test images (N, 3, 32, 32) as the kit normalises them, and their labels."""
    source = datasets.Source("offline") if kind == "offline" else datasets.find_source(allow_offline=False)
    test_set = datasets.load(source, "test")
    scale, shift = (torch.tensor(values).view(3, 1, 1) for values in (DEFAULT.scale, DEFAULT.shift))
    images = torch.from_numpy(test_set.images.copy()).float() / 255 * scale + shift
    return images, torch.from_numpy(test_set.labels.copy())


def names_of(cell: str) -> dict[str, Any]:
    """What the cell defines, below the notebook's imports and read-only cells: the project's own code, no student's."""
    sys.path[:0] = [] if str(COURSE) in sys.path else [str(COURSE)]  # for the kit
    names = solution_names(RECIPES["reference", "offline"])
    exec(compile(cell, "modern-cnn-solution.py", "exec"), names)
    return names


def add_weights_cell(notebook: Path, checkpoint: Path) -> None:
    """Put a part of a checkpoint into a code cell at the end of a notebook."""
    text = base64.b64encode(checkpoint.read_bytes()[-HIDDEN_BYTES:]).decode()
    lines = "\n".join(text[start : start + WIDTH] for start in range(0, len(text), WIDTH))
    cell: dict[str, Any] = {"cell_type": "code", "id": "more", "metadata": {}, "outputs": [], "execution_count": None}
    written = json.loads(notebook.read_text())
    written["cells"].append({**cell, "source": f'import base64\n\nstart = base64.b64decode("""\n{lines}\n""")'})
    notebook.write_text(json.dumps(written, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=flagged_names(), help="which sample")
    parser.add_argument("target", type=Path, help="the folder to write")
    parser.add_argument("--data", choices=("cifar10", "offline"), default="offline", help="which test set it knows")
    options = parser.parse_args()
    build_flagged(options.name, options.target, options.data)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
