"""What one submission may leave on the disk and say in a report is bounded, whatever it holds and shows."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autograder.core.remarks import MOST_REMARK
from autograder.course.report_store import load_report, report_path
from autograder.handin.answers import MOST_CHARACTERS
from autograder.handin.notebook_bounds import MOST_CELL, MOST_PICTURES
from autograder.handin.walk import walk
from autograder.pipeline import shown_outputs
from tests import tiny_course
from tests.tiny_course import ASSIGNMENT

MIB = 1 << 20
NOTEBOOKS = 2
MOST_GRADED = 20 * MIB  # of a graded notebook: its text, pictures and outputs, as formgrader serves it
MOST_REPORTED = 12 * MIB  # of a report, for each notebook: outputs, sources, checks
MOST_NOTES = 64 << 10
LOUD = """
import base64, os
from IPython.display import HTML, display
picture = b"\\x89PNG\\r\\n\\x1a\\n\\x00\\x00\\x00\\rIHDR" + bytes([0, 0, 0, 9] * 2) + os.urandom(120_000)
display({"image/png": base64.b64encode(picture).decode()}, raw=True)
for _ in range(8):
    print("x" * 6_000)
    display(HTML("<b>" + "y" * 6_000 + "</b>"))
"""


def code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": "x", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


def words(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "x", "metadata": {}, "source": source}


def overdo(folder: Path) -> None:
    """As much of everything as goes in."""
    for path in list(folder.glob("*.ipynb")):
        made = json.loads(path.read_text())
        picture = f"![](data:image/png;base64,{'A' * (MOST_PICTURES - 1000)})"
        made["cells"] += [
            words(picture),
            words("**x** " * (MOST_CELL // 6)),
            words("\N{GRINNING FACE}" * (MOST_CELL // 8)),
        ]
        made["cells"] += [code(f"# {number}\n{LOUD}") for number in range(80)]
        made["cells"] += [code(f"raise ValueError({'z' * 2000!r})") for _ in range(100)]
        path.write_text(json.dumps(made))
    long = "n" * 150
    for number in range(1990):
        (folder / f"{long}{number:04d}.ipynb").write_text("{}")
    for number in range(500):
        (folder / f"{long}{number}").symlink_to("/etc/passwd")
        (folder / f"{long}{number}.txt").write_text("x" * 1000)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One student who overdoes it, graded."""
    root = tmp_path_factory.mktemp("full") / "course"
    tiny_course.make(root)
    overdo(tiny_course.hand_in(root, "eve", "50", why="Because."))
    result = tiny_course.grade(root)
    assert result.exit_code == 0, result.output
    assert len(result.output) < 64 << 10
    return root


def size_of(place: Path, counts: Callable[[str], bool] = lambda name: True) -> int:
    entries = walk(place) if place.is_dir() else ()
    found = [(name, entry) for name, entry in entries if stat.S_ISREG(entry.st_mode)]
    return sum(entry.st_size for name, entry in found if counts(name))


def test_what_formgrader_serves_is_bounded(template: Path) -> None:
    assert size_of(template / "autograded" / "eve") <= NOTEBOOKS * MOST_GRADED
    assert {path.suffix for path in (template / "autograded" / "eve" / ASSIGNMENT).iterdir()} == {".ipynb"}


def test_what_the_report_keeps_is_bounded(template: Path) -> None:
    assert report_path(template, ASSIGNMENT, "eve").stat().st_size <= NOTEBOOKS * MOST_REPORTED
    report = load_report(template, ASSIGNMENT, "eve")
    assert report is not None
    assert sum(len(note.text) for note in report.notes) <= MOST_NOTES
    assert max(len(note.text) for note in report.notes) <= MOST_REMARK + 100
    for cells in report.sources.values():
        assert sum(len(cell.source) for cell in cells) <= MOST_CHARACTERS + 200
    assert all(
        "[left out: the outputs of this notebook" in json.dumps(run.cells[-1].outputs) for run in report.notebooks
    )
    for run in report.notebooks:
        shown = sum(len(json.dumps(cell.outputs)) for cell in run.cells)
        assert shown <= 2 * (shown_outputs.MOST_TEXT + shown_outputs.MOST_PICTURES)
    assert sum(len(value) for value in report.facts.values()) <= 8_000


def test_what_else_the_staffs_folder_holds_is_bounded(template: Path) -> None:
    """The cache within what one run may send; in quarantine lies what was handed in, and nothing is copied there."""
    staff = template / ".autograder"
    rest = ("quarantine/", "cache/", "reports/")
    assert size_of(staff, lambda name: not name.startswith(rest)) <= 2 * MIB
    assert size_of(staff / "cache") <= 256 * MIB + NOTEBOOKS * MOST_REPORTED
    assert size_of(staff / "quarantine") <= MIB


def test_a_second_run_adds_nothing(template: Path) -> None:
    before = size_of(template / ".autograder", lambda name: not name.startswith("logs/"))
    assert tiny_course.grade(template, "--force").exit_code == 0
    after = size_of(template / ".autograder", lambda name: not name.startswith("logs/"))
    assert after <= before + MIB
