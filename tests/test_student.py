"""The course as a student meets it: the release, solved, with nothing installed but what the kit needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.samples import build_sample

# What a student does not have. Importing any of it fails as if it were not installed.
ABSENT = ("autograder", "nbgrader", "nbformat", "nbconvert", "nbclient", "IPython", "click", "rich", "pytest", "psutil")
BLOCKER = f"""
import os
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r} and name.split(".")[0] != os.environ.get("PRESENT"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
RUN = """
import json, sys
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
plt.show = lambda *args, **kwargs: plt.close("all")
names = {"__name__": "__main__"}
sys.path.insert(0, "")
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
print("ran to the end")
"""


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the release, every solution cell filled, and an environment that has only the kit's needs."""
    folder = tmp_path_factory.mktemp("student")
    build_sample("reference", folder / "cnn", "offline")
    release = Path(__file__).resolve().parent.parent / "release" / "cnn"
    (folder / "cnn" / "cnn_kit.py").write_text((release / "cnn_kit.py").read_text())
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(BLOCKER)
    return folder


def run(student: Path, *arguments: str, present: str = "") -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CIFAR10", "NBGRADER", "CNN_KIT"))}
    environment |= {"PYTHONPATH": str(student / "site"), "CNN_KIT_DATA": "offline", "CNN_KIT_QUICK": "1"}
    environment["PRESENT"] = present
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=student / "cnn", env=environment, capture_output=True, text=True, check=False)


def test_the_environment_has_only_what_the_kit_needs(student: Path) -> None:
    assert run(student, "-c", "import torch, torchvision, safetensors, matplotlib, tqdm").returncode == 0
    for name in ABSENT:
        assert f"No module named '{name}'" in run(student, "-c", f"import {name}").stderr


@pytest.mark.parametrize("name", ["01_output_size", "02_deeper_cnn", "03_depthwise_separable", "00_lesson"])
def test_a_solved_notebook_runs_top_to_bottom(student: Path, name: str) -> None:
    shown_in_jupyter = "IPython" if name == "00_lesson" else ""  # its tables; Jupyter always has it
    done = run(student, "-c", RUN, f"{name}.ipynb", present=shown_in_jupyter)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("ran to the end\n")


def test_the_training_notebook_runs_and_saves_a_checkpoint(student: Path, tmp_path: Path) -> None:
    """Quick training reaches no 75 %, and the last public check says so; everything before it runs."""
    weights = student / "cnn" / "modern_cnn.safetensors"
    kept = weights.read_bytes()
    try:
        weights.unlink()
        done = run(student, "-c", RUN, "04_modern_cnn.ipynb")
        assert weights.is_file()
        assert weights.read_bytes() != kept
    finally:
        weights.write_bytes(kept)
    assert "75" in done.stdout + done.stderr
    assert "modern-cnn-accuracy" in done.stderr


def test_check_succeeds_and_says_so_in_a_table(student: Path) -> None:
    done = run(student, "cnn_kit.py", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("01_output_size", "02_deeper_cnn", "03_depthwise_separable", "04_modern_cnn"):
        assert name in done.stdout
    assert "0 failed" in done.stdout


def test_pack_writes_the_file_to_hand_in_with_a_receipt(student: Path) -> None:
    done = run(student, "cnn_kit.py", "pack")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (student / "cnn" / "cnn-submission.zip").is_file()
    assert "SHA-256" in done.stdout


def test_check_fails_on_the_untouched_release_in_words(student: Path, tmp_path: Path) -> None:
    build_sample("untouched", tmp_path / "cnn", "offline")
    (tmp_path / "cnn" / "cnn_kit.py").write_text((student / "cnn" / "cnn_kit.py").read_text())
    (tmp_path / "site").symlink_to(student / "site")
    done = run(tmp_path, "cnn_kit.py", "check")
    assert done.returncode == 1
    assert "not answered yet" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
