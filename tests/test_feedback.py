"""What students are shown: titles, points, hints, their own errors; nothing of the graders, the secret, the engine."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from autograder import pipeline, reports
from autograder.config import load_course
from autograder.jail import find_isolation
from autograder.plan import plan_probes
from tests import tiny_course
from tests.conftest import nbgrader

RAISES = "def divide(apples):\n    return 1 / apples\ndivide(0)"
WAITS = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass"
FLOODS = "while True:\n    print('x' * 10_000)"
QUITS = "def double(number):\n    return number\nraise SystemExit"
# Walks up from the student's own frame, and shows what the frames above hold.
SPIES = """
import sys
frame, names = sys._getframe(), []
while frame:
    names += [str(value) for value in frame.f_locals.values() if isinstance(value, (str, int, dict, list))]
    frame = frame.f_back
print(*names)
total = 50
"""


@dataclass(frozen=True)
class Told:
    """A course after grading and feedback, and everything that must stay hidden in it."""

    root: Path
    hidden: dict[str, str]

    def page(self, student: str, notebook: str) -> str:
        """The visible text of a feedback page."""
        text = (self.root / "feedback" / student / tiny_course.ASSIGNMENT / f"{notebook}.html").read_text()
        return html.unescape(re.sub(r"<[^>]*>", "", text[text.index('id="notebook"') :]))

    @property
    def published(self) -> dict[str, str]:
        """All that reaches students or formgrader."""
        folders = (self.root / "feedback", self.root / "autograded")
        return {str(p): p.read_text() for folder in folders for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    root = tmp_path_factory.mktemp("feedback") / "course"
    tiny_course.make(root)
    config = root / "grader_config.py"
    text = config.read_text().replace('isolation="none"', 'isolation="bubblewrap"')
    config.write_text(text.replace("number=(2, 99)", "number=(10**8, 10**9)"))  # no page holds such a value by chance
    for student, total, double in (
        ("raises", RAISES, tiny_course.WRONG),
        ("waits", WAITS, FLOODS),
        ("spies", SPIES, QUITS),
    ):
        folder = tiny_course.hand_in(root, student, "1")
        (folder / "01_sums.ipynb").write_text(json.dumps(tiny_course.sums(total, "Because.")))
        (folder / "02_doubles.ipynb").write_text(json.dumps(tiny_course.doubles(double)))
    for command in ("autograde", "generate_feedback"):
        done = nbgrader(root, command, tiny_course.ASSIGNMENT)
        assert done.returncode == 0, done.stderr
    return Told(root, hidden_in(root))


def hidden_in(root: Path) -> dict[str, str]:
    """Texts that must reach nobody, by what they are."""
    grader = pipeline.open_grader(root, tiny_course.ASSIGNMENT, isolation="none")
    (doubles,) = [e for e in load_course(root).assignment(tiny_course.ASSIGNMENT).exercises if e.calls]
    (probe,) = plan_probes(doubles, grader.secret, tiny_course.ASSIGNMENT)
    drawn = {f"drawn value {n}": str(arguments["number"]) for n, arguments in enumerate(probe["arguments"])}
    sources = {
        f"line of {path.name}": line.strip()
        for path in (root / "graders").glob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith(("def ", "    expect(", "    part ="))
    }
    engine = {"engine frame": "autograder/worker", "engine's code": "raise StepTimeout", "jail's folder": "/jail/"}
    places = {"graders' folder": str(root / "graders"), "the course's folder": str(root)}
    return {"secret": grader.secret.hex(), **drawn, **sources, **engine, **places}


def test_nothing_hidden_reaches_feedback_or_formgraders_notebooks(told: Told) -> None:
    assert len(told.hidden) >= 9
    assert len(told.published) == 12
    for path, text in told.published.items():
        for what, secret in told.hidden.items():
            assert secret not in text, f"{what} in {path}"


def test_titles_points_and_hints_are_told(told: Told) -> None:
    page = told.page("raises", "02_doubles")
    assert "The double of a number" in page
    assert "0 / 10" in page
    assert "double(n): expected 2 n" in page
    assert "Hint: Twice the number." in page


def test_a_students_own_error_is_told_with_its_lines(told: Told) -> None:
    page = told.page("raises", "01_sums")
    assert "ZeroDivisionError" in page
    assert "----> 2     return 1 / apples" in page
    assert "----> 3 divide(0)" in page


def test_a_time_out_shows_the_students_line_and_not_the_graders(told: Told) -> None:
    page = told.page("waits", "01_sums")
    assert "time.sleep(60)" in page
    assert "ran longer than 3 s" in page
    assert "interrupt" not in page.replace("KeyboardInterrupt", "")


def test_too_much_output_is_told_as_such(told: Told) -> None:
    page = told.page("waits", "02_doubles")
    assert "----> 2     print('x' * 10_000)" in page
    assert "the cell printed or displayed more than it may" in page


def test_the_staffs_page_shows_no_engine_frame_either(told: Told) -> None:
    for report in reports.load_reports(told.root, tiny_course.ASSIGNMENT):
        outputs = json.dumps([cell.outputs for run in report.notebooks for cell in run.cells])
        assert "autograder/worker" not in outputs


def test_the_courses_weights_are_not_handed_out_with_the_feedback(told: Told, tmp_path: Path) -> None:
    """Whoever tried the source notebooks left weights there, and nbgrader copies what lies there to everybody."""
    root = tmp_path / "course"
    shutil.copytree(told.root, root)
    config = root / "grader_config.py"
    probes = "from autograder.config import CheckpointProbe, ModuleProbe, TransformProbe\n"
    net = 'modules=[ModuleProbe("Net")], transforms=[TransformProbe("t", images=["natural"])],'
    net += 'checkpoint=CheckpointProbe("model", module="Net", transform="t"),'
    text = config.read_text().replace('answers=[AnswerProbe("total")],', f'answers=[AnswerProbe("total")], {net}')
    config.write_text(probes + text)
    source = root / "source" / tiny_course.ASSIGNMENT
    (source / "model.safetensors").write_text("the instructor's weights")
    (source / "kit.py").write_text("the course's own")
    done = nbgrader(root, "autograde", "--force", "--student=raises", tiny_course.ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    there = {path.name for path in (root / "autograded" / "raises").rglob("*") if path.is_file()}
    assert "kit.py" in there
    assert "model.safetensors" not in there
