"""Manual marks when a student hands in again: nothing counts silently, and what the instructor chooses is done."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder.core.grade_report import ManualMark
from autograder.course import nbgrader_steps, report_store
from autograder.course.folder import open_course
from autograder.course.gradebook import read_marks
from autograder.jail import find_isolation
from autograder.review.staff_report.page_names import student_page
from tests import tiny_course
from tests.conftest import nbgrader
from tests.tiny_course import RIGHT, WRONG, give_mark, grade, hand_in
from tools.samples import ASSIGNMENT as CNN
from tools.samples import build_sample, make_course

AS_RELEASED = "YOUR ANSWER HERE"
OLDER = "an older manual mark (1.5 of 2 on sums-why) was given to an earlier submission"


@dataclass(frozen=True)
class Held:
    """What the gradebook holds for one cell."""

    automatic: float | None
    manual: float | None
    needs_person: bool
    counts: float


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ada was graded; then a TA gave 1.5 of 2 points for her text."""
    root = tmp_path_factory.mktemp("template") / "course"
    tiny_course.make(root)
    hand_in(root, "ada", "50", why="Because I counted.")
    assert grade(root).exit_code == 0
    give_mark(root, "ada", "01_sums", "sums-why", 1.5)
    return root


def held(root: Path, cell: str = "sums-why", assignment: str = tiny_course.ASSIGNMENT) -> Held:
    marks = read_marks(open_course(root).db_url, assignment)["ada"]
    mark = next(mark for mark in marks if mark.cell == cell)
    return Held(mark.automatic, mark.manual, mark.needs_person, mark.score)


def record(root: Path) -> ManualMark:
    report = report_store.load_report(root, tiny_course.ASSIGNMENT, "ada")
    assert report is not None
    (mark,) = report.manual
    return mark


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_mark_for_another_answer_counts_but_is_shown_and_waits(course: Path) -> None:
    hand_in(course, "ada", "50", why="I have thought again.")
    result = grade(course)
    assert OLDER in words(result.output)
    assert "--older-marks keep or --older-marks clear" in words(result.output)
    assert held(course) == Held(None, 1.5, needs_person=True, counts=1.5)
    assert record(course).is_older
    assert OLDER in words(grade(course).output)  # and again, where nothing has changed since


def test_a_mark_stands_where_its_own_answer_is_unchanged(course: Path) -> None:
    """Another notebook and another cell of the same notebook changed; stock nbgrader would ask for it again."""
    hand_in(course, "ada", "49", WRONG, why="Because I counted.  \n")
    result = grade(course)
    assert "older manual mark" not in result.output
    assert held(course) == Held(None, 1.5, needs_person=False, counts=1.5)
    assert held(course, "doubles-tests").automatic == 0.0


def test_a_mark_for_an_answer_that_stood_elsewhere_belongs_to_the_whole_notebook(course: Path) -> None:
    hand_in(course, "ada", "50  # it is fifty, since I counted", why=AS_RELEASED)
    grade(course)
    give_mark(course, "ada", "01_sums", "sums-why", 1)
    hand_in(course, "ada", "50  # it is fifty, since everybody says so", why=AS_RELEASED)
    assert "an older manual mark (1 of 2 on sums-why) was given to an earlier submission" in words(grade(course).output)


def test_coming_back_to_the_answer_that_was_marked_needs_no_second_look(course: Path) -> None:
    hand_in(course, "ada", "50", why="I have thought again.")
    grade(course)
    hand_in(course, "ada", "50", why="Because I counted.")
    assert "older manual mark" not in grade(course).output
    assert not held(course).needs_person


def test_keep_confirms_the_mark_for_the_new_answer_only(course: Path) -> None:
    hand_in(course, "ada", "50", why="I have thought again.")
    grade(course)
    result = grade(course, "--older-marks", "keep", "--student", "ada")
    assert "ada: the older manual mark (1.5 of 2 on sums-why) was kept" in words(result.output)
    assert "earlier submission" not in result.output
    assert held(course) == Held(None, 1.5, needs_person=False, counts=1.5)
    assert (record(course).choice, record(course).is_older) == ("kept", False)
    assert record(course).chosen_at.startswith("20")
    grade(course, "--force")
    assert not held(course).needs_person  # it stays settled …
    assert record(course).choice == "kept"
    hand_in(course, "ada", "50", why="A third text.")
    assert OLDER in words(grade(course).output)  # … until the answer is another one


def test_the_page_says_what_became_of_the_mark(course: Path) -> None:
    def page() -> str:
        assert tiny_course.run("report", "--course", course).exit_code == 0
        return words((course / "reports" / tiny_course.ASSIGNMENT / "students" / student_page("ada")).read_text())

    hand_in(course, "ada", "50", why="I have thought again.")
    grade(course)
    assert "marked by hand in an earlier submission: counts until somebody decides" in page()
    assert OLDER in page()
    grade(course, "--older-marks", "keep")
    assert re.search(r"marked by hand; kept for a later submission on \d+ \w+ 20\d\d, \d\d:\d\d", page())
    assert OLDER not in page()


def test_clear_takes_the_mark_and_leaves_the_comment(course: Path) -> None:
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        comment = gradebook.find_comment("sums-why", "01_sums", tiny_course.ASSIGNMENT, "ada")
        comment.manual_comment = "Counted what?"
        gradebook.db.commit()
    hand_in(course, "ada", "50", why="I have thought again.")
    result = grade(course, "--older-marks", "clear")
    assert "the older manual mark (1.5 of 2 on sums-why) was cleared" in words(result.output)
    assert "needs a manual mark: sums-why" in words(result.output)
    assert held(course) == Held(None, None, needs_person=True, counts=0.0)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        comment = gradebook.find_comment("sums-why", "01_sums", tiny_course.ASSIGNMENT, "ada")
        assert comment.manual_comment == "Counted what?"
    grade(course, "--force")
    assert (record(course).score, record(course).choice) == (1.5, "cleared")  # what was taken stays on record
    give_mark(course, "ada", "01_sums", "sums-why", 2)
    grade(course, "--force")
    assert (record(course).score, record(course).choice, record(course).is_older) == (2, "", False)
    assert not held(course).needs_person


def test_a_new_mark_in_formgrader_settles_it(course: Path) -> None:
    hand_in(course, "ada", "50", why="I have thought again.")
    grade(course)
    give_mark(course, "ada", "01_sums", "sums-why", 2)
    assert "older manual mark" not in grade(course).output
    assert "older manual mark" not in grade(course, "--force").output
    assert held(course) == Held(None, 2, needs_person=False, counts=2)


def test_saving_the_same_mark_in_formgrader_settles_it_too(course: Path) -> None:
    hand_in(course, "ada", "50", why="I have thought again.")
    grade(course)
    give_mark(course, "ada", "01_sums", "sums-why", 1.5)
    assert "older manual mark" not in grade(course).output
    assert "older manual mark" not in grade(course, "--force").output
    assert not held(course).needs_person


def test_an_override_belongs_to_the_code_of_its_notebook(course: Path) -> None:
    hand_in(course, "ada", "50", WRONG, why="Because I counted.")
    grade(course)
    give_mark(course, "ada", "02_doubles", "doubles-tests", 4)
    hand_in(course, "ada", "49", WRONG, why="Because I counted.")
    assert "older manual mark" not in grade(course).output  # another notebook
    assert held(course, "doubles-tests") == Held(0.0, 4, needs_person=False, counts=4)
    hand_in(course, "ada", "49", RIGHT, why="Because I counted.")
    result = grade(course)
    assert "an older manual mark (4 of 10 on doubles-tests) was given to an earlier submission" in words(result.output)
    assert held(course, "doubles-tests") == Held(10.0, 4, needs_person=True, counts=4)
    grade(course, "--older-marks", "clear")
    assert held(course, "doubles-tests") == Held(10.0, None, needs_person=False, counts=10)


def test_an_override_of_a_notebook_that_is_missing_now_is_shown(course: Path) -> None:
    """nbgrader gives a missing notebook 0, takes its flag away, and lets the manual mark count."""
    give_mark(course, "ada", "02_doubles", "doubles-tests", 9)
    hand_in(course, "ada", "50", None, why="Because I counted.")
    for _ in range(2):
        result = grade(course, "--force")
        assert "an older manual mark (9 of 10 on doubles-tests) was given" in words(result.output)
        assert held(course, "doubles-tests") == Held(0.0, 9, needs_person=True, counts=9)
    grade(course, "--older-marks", "clear")
    assert held(course, "doubles-tests") == Held(0.0, None, needs_person=False, counts=0)


def test_extra_credit_is_a_manual_mark_too(course: Path) -> None:
    give_mark(course, "ada", "02_doubles", "doubles-tests", None, extra=1)
    hand_in(course, "ada", "50", WRONG, why="Because I counted.")
    assert "an older manual mark (1 of extra credit on doubles-tests)" in words(grade(course).output)
    grade(course, "--older-marks", "clear")
    assert held(course, "doubles-tests") == Held(0.0, None, needs_person=False, counts=0)


def test_a_mark_of_unknown_origin_is_looked_at(course: Path) -> None:
    """Without the report that was marked nobody knows which answer the mark was given for."""
    shutil.rmtree(course / ".autograder" / "reports")
    assert OLDER in words(grade(course).output)


def test_a_fault_of_the_grader_forgets_nothing(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    hand_in(course, "ada", "50", why="I have thought again.")
    with monkeypatch.context() as broken:
        broken.setattr(nbgrader_steps.WriteScores, "preprocess", fail)
        assert grade(course).exit_code == 3
    assert OLDER in words(grade(course).output)
    hand_in(course, "ada", "50", why="Because I counted.")
    assert "older manual mark" not in grade(course).output


@pytest.mark.parametrize(
    ("policy", "manual", "flagged"), [("review", 1.5, True), ("keep", 1.5, False), ("clear", None, True)]
)
def test_plain_nbgrader_follows_the_courses_policy(
    course: Path, policy: str, manual: float | None, flagged: bool
) -> None:
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace('isolation="none"', f'isolation="none", older_marks="{policy}"'))
    hand_in(course, "ada", "50", why="I have thought again.")
    done = nbgrader(course, "autograde", tiny_course.ASSIGNMENT, "--force")
    assert done.returncode == 0, done.stderr
    assert held(course) == Held(None, manual, flagged, manual or 0.0)
    said = {"review": OLDER, "keep": "was kept", "clear": "was cleared"}[policy]
    assert said in words(done.stderr)


def test_a_wrong_policy_is_refused_with_the_known_ones(course: Path) -> None:
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace('isolation="none"', 'older_marks="kep"'))
    result = grade(course)
    assert result.exit_code == 1
    assert "Course.older_marks must be one of ['review', 'keep', 'clear'], got 'kep'; did you mean 'keep'?" in words(
        result.stderr
    )


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    if find_isolation().level == "none":
        pytest.skip(f"no jail on this machine: {find_isolation().problem}")
    root = tmp_path / "cnn"
    make_course(root, {}, "offline")
    hand_in_two(root, "reference")
    return root


def hand_in_two(root: Path, sample: str) -> Path:
    """The two notebooks of a sample whose marks are looked at; nothing is spent on the others and on weights."""
    folder = root / "submitted" / "ada" / CNN
    build_sample(sample, folder, "offline")
    for path in folder.iterdir():
        if not path.name.startswith(("02_", "03_")):
            path.unlink()
    return folder


def test_the_mark_on_depthwise_why(cnn: Path) -> None:
    """The course itself, by stock nbgrader: 4.5 of 5, then another text."""
    assert nbgrader(cnn, "autograde", CNN).returncode == 0
    with Gradebook(f"sqlite:///{cnn / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("depthwise-why", "03_depthwise_separable", CNN, "ada")
        grade.manual_score, grade.needs_manual_grade = 4.5, False
        gradebook.db.commit()
    folder = hand_in_two(cnn, "wrong_doubling")  # the same text, another DeeperCNN
    assert nbgrader(cnn, "autograde", CNN, "--force").returncode == 0
    assert held(cnn, "deeper-cnn-tests", CNN).automatic == 15.0
    assert held(cnn, "depthwise-why", CNN) == Held(None, 4.5, needs_person=False, counts=4.5)
    path = folder / "03_depthwise_separable.ipynb"
    handed_in = json.loads(path.read_text())
    why = next(c for c in handed_in["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == "depthwise-why")
    why["source"] = "It is cheaper because it has fewer weights."
    path.write_text(json.dumps(handed_in))
    done = nbgrader(cnn, "autograde", CNN, "--force")
    assert "an older manual mark (4.5 of 5 on depthwise-why) was given to an earlier submission" in words(done.stderr)
    assert held(cnn, "depthwise-why", CNN) == Held(None, 4.5, needs_person=True, counts=4.5)
