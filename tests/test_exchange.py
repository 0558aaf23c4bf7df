"""nbgrader's exchange, there and back: a student fetches, solves and submits; marks and feedback are right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.utils import parse_utc

from autograder.jail import find_isolation
from tests.conftest import nbgrader
from tools.samples import ASSIGNMENT, ROOT, make_course, solved_cells

COURSE_ID = "cnn-course"
DOCS = ROOT / "docs" / "intake.md"
CHECKPOINT = ROOT / "solutions" / "checkpoints" / "offline" / "modern_cnn.safetensors"


@dataclass(frozen=True)
class Exchange:
    """A course, a student's home, and the exchange between them."""

    course: Path
    home: Path
    root: Path

    def staff(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run nbgrader as the instructor; it must work."""
        return self._run(self.course, *arguments, f"--Exchange.root={self.root}")

    def student(self, *arguments: str, works: bool = True) -> subprocess.CompletedProcess[str]:
        """Run nbgrader as the student Ada."""
        place = [f"--Exchange.root={self.root}", f"--Exchange.cache={self.home / 'cache'}"]
        return self._run(self.home, *arguments, f"--course={COURSE_ID}", "--student=ada", *place, works=works)

    def _run(self, place: Path, *arguments: str, works: bool = True) -> subprocess.CompletedProcess[str]:
        done = nbgrader(place, *arguments)
        assert (done.returncode == 0) == works, done.stderr
        return done

    @property
    def work(self) -> Path:
        return self.home / ASSIGNMENT

    @property
    def collected(self) -> Path:
        return self.course / "submitted" / "ada" / ASSIGNMENT


def files_of(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name not in ("timestamp.txt", "submission_secret.txt")}


def fill_in(path: Path, grade_id: str, text: str) -> None:
    notebook = json.loads(path.read_text())
    cell = next(cell for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)
    cell["source"] = text
    path.write_text(json.dumps(notebook, indent=1))


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    """Released, fetched, the first exercise solved and a checkpoint put beside it, submitted and collected."""
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}; {isolation.remedy}")
    place = tmp_path_factory.mktemp("exchange")
    there = Exchange(place / "course", place / "home", place / "exchange")
    make_course(there.course, {}, "offline")
    there.home.mkdir()
    there.root.mkdir()
    there.root.chmod(0o777)
    there.staff("release_assignment", ASSIGNMENT)
    there.student("fetch_assignment", ASSIGNMENT)
    assert files_of(there.work) == files_of(there.course / "release" / ASSIGNMENT)
    fill_in(there.work / "01_output_size.ipynb", "output-size-solution", solved_cells()["output-size-solution"])
    shutil.copyfile(CHECKPOINT, there.work / CHECKPOINT.name)
    there.student("submit", ASSIGNMENT)
    there.staff("collect", ASSIGNMENT)
    return there


def test_everything_arrives_as_it_was_submitted(exchange: Exchange) -> None:
    assert files_of(exchange.collected) == files_of(exchange.work)
    assert CHECKPOINT.name in files_of(exchange.collected)
    [cached] = (exchange.home / "cache" / COURSE_ID).iterdir()
    assert (exchange.collected / "timestamp.txt").read_text() == (cached / "timestamp.txt").read_text()


def test_marks_are_those_of_the_folder_and_feedback_arrives(exchange: Exchange) -> None:
    direct = exchange.course / "submitted" / "direct" / ASSIGNMENT
    shutil.copytree(exchange.work, direct)
    exchange.staff("autograde", ASSIGNMENT)
    with Gradebook(f"sqlite:///{exchange.course / 'gradebook.db'}") as gradebook:
        marks = {
            student: {
                grade.name: (grade.auto_score, grade.needs_manual_grade)
                for notebook in gradebook.find_submission(ASSIGNMENT, student).notebooks
                for grade in notebook.grades
            }
            for student in ("ada", "direct")
        }
        submitted_at = gradebook.find_submission(ASSIGNMENT, "ada").timestamp
    assert marks["ada"] == marks["direct"]
    scores = {name: score for name, (score, _) in marks["ada"].items() if score}
    assert scores == {"output-size-worked": 3.0, "output-size-function": 12.0}
    timestamp = (exchange.collected / "timestamp.txt").read_text()
    assert submitted_at == parse_utc(timestamp)

    exchange.staff("generate_feedback", ASSIGNMENT, "--student=ada")
    exchange.staff("release_feedback", ASSIGNMENT, "--student=ada")
    exchange.student("fetch_feedback", ASSIGNMENT)
    arrived = exchange.work / "feedback" / timestamp
    made = exchange.course / "feedback" / "ada" / ASSIGNMENT
    pages = {path.name for path in made.glob("*.html")}
    assert "01_output_size.html" in pages
    assert {path.name for path in arrived.iterdir()} == pages
    for name in pages:
        assert (arrived / name).read_text() == (made / name).read_text()
    assert "Padding counts on both sides" in (arrived / "01_output_size.html").read_text()


def test_a_resubmission_takes_the_place_of_the_first(exchange: Exchange) -> None:
    before = (exchange.collected / "timestamp.txt").read_text()
    fill_in(exchange.work / "01_output_size.ipynb", "output-size-solution", "# second thoughts")
    exchange.student("submit", ASSIGNMENT)
    exchange.staff("collect", ASSIGNMENT)
    assert (exchange.collected / "timestamp.txt").read_text() == before
    exchange.staff("collect", ASSIGNMENT, "--update")
    assert parse_utc((exchange.collected / "timestamp.txt").read_text()) > parse_utc(before)
    assert b"second thoughts" in files_of(exchange.collected)["01_output_size.ipynb"]


def test_a_data_set_beside_the_notebooks_needs_the_settings_of_the_docs(exchange: Exchange) -> None:
    """The kit downloads CIFAR-10 to ./data, which is more than nbgrader submits."""
    settings = re.search(r"```python\n(# nbgrader_config.py of students.*?)```", DOCS.read_text(), re.DOTALL)
    assert settings is not None
    (exchange.work / "data").mkdir()
    with open(exchange.work / "data" / "cifar-10-python.tar.gz", "wb") as file:
        file.truncate(170_000_000)
    done = exchange.student("submit", ASSIGNMENT, works=False)
    assert "Directory size is too big" in done.stderr
    (exchange.home / "nbgrader_config.py").write_text(settings[1])
    exchange.student("submit", ASSIGNMENT)
    latest = max((exchange.root / COURSE_ID / "inbound").iterdir(), key=lambda path: path.name)
    assert CHECKPOINT.name in files_of(latest)
    assert not (latest / "data").exists()
