"""Build the sample submissions of `tests/submissions/` from the release, for the demonstration and the tests.

Each sample is a folder of data: `sample.json` says how it differs from its base, `cells/<grade_id>.py` holds the text
of cells it fills differently, `expected.json` what grading must find. Keys of `sample.json`:

    title           what the sample shows, in a sentence
    base            "reference" (every cell solved) or "release" (nothing solved)
    checkpoint      "reference", "partial", "own" (the sample's `checkpoints/<data>/`), or null
    without         notebooks that are not handed in
    delete_cells    grade ids of cells that the student deleted
    tag_cells       {grade id: [tags]} that the student added
    add_cells       {notebook: [[cell type, text], …]} put at the end
    links           {name: target} symbolic links in the submission folder
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "tests" / "submissions"
ASSIGNMENT = "cnn"
SOLUTION_MARKER = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[ \t]*\n?", re.MULTILINE)
MARK_SCHEME = re.compile(r"=== BEGIN MARK SCHEME ===.*?=== END MARK SCHEME ===\n?", re.DOTALL)


def sample_names() -> list[str]:
    """Every sample, in alphabetical order."""
    return sorted(path.parent.name for path in SAMPLES.glob("*/sample.json"))


def read_expected(name: str) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads((SAMPLES / name / "expected.json").read_text())
    return expected


def read_sample(name: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((SAMPLES / name / "sample.json").read_text())
    return sample


def build_sample(name: str, target: Path, data: str) -> None:
    """Write a sample as a submission folder. `data` is "cifar10" or "offline": which checkpoints fit."""
    folder = SAMPLES / name
    sample = read_sample(name)
    filled = solved_cells() if sample["base"] == "reference" else {}
    filled |= {path.stem: path.read_text() for path in sorted((folder / "cells").glob("*"))}
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "release" / ASSIGNMENT).glob("*.ipynb")):
        if path.stem not in sample.get("without", []):
            notebook = change_notebook(json.loads(path.read_text()), path.stem, filled, sample)
            (target / path.name).write_text(json.dumps(notebook, indent=1))
    for checkpoint in checkpoint_files(folder, sample.get("checkpoint"), data):
        shutil.copyfile(checkpoint, target / checkpoint.name)
    for link, place in sample.get("links", {}).items():
        os.symlink(place, target / link)


def solved_cells() -> dict[str, str]:
    """The text of every solution cell of `source/`, by grade id, without the markers around the solution."""
    solved = {}
    for path in sorted((ROOT / "source" / ASSIGNMENT).glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            own = cell["metadata"].get("nbgrader", {})
            if own.get("solution"):
                text = MARK_SCHEME.sub("", "".join(cell["source"]))
                solved[own["grade_id"]] = SOLUTION_MARKER.sub("", text)
    return solved


def change_notebook(
    notebook: dict[str, Any], name: str, filled: Mapping[str, str], sample: Mapping[str, Any]
) -> dict[str, Any]:
    """Fill cells and make the sample's other changes, as a student would in Jupyter."""
    kept = []
    for cell in notebook["cells"]:
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        if grade_id in sample.get("delete_cells", []):
            continue
        if grade_id in filled:
            cell["source"] = filled[grade_id]
        if grade_id in sample.get("tag_cells", {}):
            cell["metadata"]["tags"] = sample["tag_cells"][grade_id]
        kept.append(cell)
    for index, (kind, text) in enumerate(sample.get("add_cells", {}).get(name, [])):
        extra = {"cell_type": kind, "id": f"added-{index}", "metadata": {}, "source": text}
        kept.append({**extra, "outputs": [], "execution_count": None} if kind == "code" else extra)
    return {**notebook, "cells": kept}


def checkpoint_files(folder: Path, which: str | None, data: str) -> list[Path]:
    """The files of a checkpoint; an empty list for a submission without one."""
    if which is None:
        return []
    shipped = ROOT / "solutions" / "checkpoints"
    places = {"reference": shipped / data, "partial": shipped / f"{data}-partial", "own": folder / "checkpoints" / data}
    found = sorted(p for p in places[which].glob("modern_cnn.*") if p.suffix in (".safetensors", ".pt"))
    if not found:
        raise FileNotFoundError(f"no checkpoint in {places[which]}: run `python -m tools.train_checkpoints`")
    return found
