"""`release/` and `solutions/` are what `source/` generates, and the release gives nothing away."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autograder.core.config import load_course
from autograder.course.release_text import release_text
from tests.conftest import GradedCourse
from tools import checks_table, release
from tools.samples import ASSIGNMENT, ROOT, solved_cells

SOURCE, RELEASE, SOLUTIONS = (ROOT / place / ASSIGNMENT for place in ("source", "release", "solutions"))
REMEDY = "run `make release` and commit what it generated"
NOTEBOOKS = sorted(path.name for path in SOURCE.glob("*.ipynb"))
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text())
    return notebook


def text_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("name", [*NOTEBOOKS, "cnn_kit.py"])
def test_the_committed_release_is_what_nbgrader_generates(graded_course: GradedCourse, name: str) -> None:
    fresh = graded_course.root / "release" / ASSIGNMENT / name
    assert (RELEASE / name).read_text() == fresh.read_text(), REMEDY


def test_the_release_holds_the_notebooks_and_the_kit_and_nothing_else() -> None:
    assert sorted(path.name for path in RELEASE.iterdir()) == sorted([*NOTEBOOKS, "README.md", "cnn_kit.py"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_line_of_a_solution_is_in_the_release(name: str) -> None:
    released = "\n".join(text_of(cell) for cell in read(RELEASE / name)["cells"])
    source = [text_of(cell) for cell in read(SOURCE / name)["cells"]]
    given = "\n".join(SOLUTION.sub("", text) for text in source)  # a line that the task shows elsewhere is no secret
    for solution in SOLUTION.findall("\n".join(source)):
        for line in (line.strip() for line in solution.splitlines()):
            assert len(line) < 15 or line in given or line not in released, line
    assert "BEGIN SOLUTION" not in released
    assert "HIDDEN TESTS" not in released


def test_the_model_answer_of_the_manual_task_is_not_in_the_release() -> None:
    released = "\n".join(text_of(cell) for name in NOTEBOOKS for cell in read(RELEASE / name)["cells"])
    answer = solved_cells()["depthwise-why"]
    assert len(answer) > 200
    assert not [line for line in answer.splitlines() if len(line) > 40 and line in released]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_solutions_are_the_source_executed_without_an_error(name: str) -> None:
    filled = release_text(load_course(ROOT), ASSIGNMENT, SOURCE).notebooks[Path(name).stem].cells
    solved = read(SOLUTIONS / name)["cells"]
    assert [text_of(cell) for cell in solved] == [cell.source for cell in filled], REMEDY
    code = [cell for cell in solved if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_making_the_release_again_changes_no_solution(name: str) -> None:
    """Bars said how long things took, and a picture has other bytes on every machine."""
    committed = (SOLUTIONS / name).read_text()
    solved = json.loads(committed)
    assert solved["metadata"]["made_of"] == release.made_of(name), REMEDY
    assert not [o for c in solved["cells"] for o in c.get("outputs", []) if "\r" in "".join(o.get("text", ""))]
    again = json.loads(committed)
    for cell in again["cells"]:
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["elsewhere 0.1 more\n"]}]
    assert release.chosen(committed, release.tidy(again, release.made_of(name))) == committed
    assert release.chosen(committed, release.tidy(again, "of a changed source")) != committed


def test_bars_are_gone_from_what_was_printed() -> None:
    text = "\repoch 1:  50%|███ | 1/2 [00:01]\repoch 1: 100%|████| 2/2 [00:02]\r        \repoch 1: loss 2.5\nnext\n"
    assert release.without_bars(text) == "epoch 1: loss 2.5\nnext\n"


def test_the_kits_copies_of_engine_modules_are_current() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.embed_in_kit", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, REMEDY


def test_the_table_of_checks_is_current() -> None:
    """In a process of its own: here pytest is strict, and the graders' marks are unknown."""
    done = subprocess.run([sys.executable, "-m", "tools.checks_table", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run `python -m tools.checks_table`"


def test_the_table_of_checks_begins_with_links_to_every_check() -> None:
    """A heading that stands twice has a number in its anchor."""
    listed = checks_table.contents({"01_a": ["Works, by 1×1 `nn.Linear`", "Batch norm"], "02_b": ["Batch norm"]})
    assert re.findall(r"\(#(.*?)\)", listed) == ["01_a", "works-by-11-nnlinear", "batch-norm", "02_b", "batch-norm-1"]
    page = (ROOT / "docs" / "checks.md").read_text()
    assert page.index("(#01_output_size)") < page.index("\n## 01_output_size")
    assert page.count("](#") == len(re.findall(r"^##+ ", page, re.MULTILINE))


def test_no_hidden_test_is_in_any_notebook() -> None:
    graders = "\n".join(path.read_text() for path in (ROOT / "autograder" / "graders").glob("*.py"))
    bodies = {line.strip() for line in graders.splitlines() if len(line.strip()) > 40}
    for folder in (SOURCE, RELEASE, SOLUTIONS):
        for path in folder.glob("*.ipynb"):
            lines = {line.strip() for cell in read(path)["cells"] for line in text_of(cell).splitlines()}
            assert not lines & bodies


def test_no_weights_and_no_images_of_cifar_are_committed_where_they_must_not_be() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout: nothing is tracked")
    weights = [p for p in tracked if p.endswith((".safetensors", ".pt"))]
    assert all(p.startswith(("solutions/checkpoints/", "tests/submissions/")) for p in weights)
    assert not [p for p in tracked if p.endswith((".zip", ".jpg", ".jpeg", ".tar.gz"))]
    assert not [p for p in weights if (ROOT / p).stat().st_size > 5 << 20]


def test_the_read_me_names_the_limits_and_commands_that_there_are() -> None:
    text = (RELEASE / "README.md").read_text()
    limits = load_course(ROOT).limits
    told = f"at most {limits.cell_seconds:g} seconds for a cell, {limits.notebook_seconds:g} for a notebook and "
    assert told + f"{limits.submission_seconds:g} for all of them, and {limits.memory_mib:,} MiB of memory" in text
    (needed,) = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert f"Python {needed} or newer" in text
    helped = subprocess.run(
        [sys.executable, SOURCE / "cnn_kit.py", "--help"], capture_output=True, text=True, check=False
    ).stdout
    assert all(command in helped for command in ("check", "pack"))
