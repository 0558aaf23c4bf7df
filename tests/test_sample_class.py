"""The made-up class that pages are tried on: the same for the same seed, consistent in itself, known answers in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from autograder.core.grade_report import Status
from autograder.core.rows import Row, Standings, rows_of
from autograder.course.folder import open_course
from autograder.course.gradebook import read_marks, read_standings
from autograder.course.report_store import load_reports
from tools.sample_class import ALIKE, COMMON_MISTAKE, DEEPER, FOURTEEN, TRICKS, WEIGHTS_FILE, class_reports, make_class

SIZE = 24


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_class(tmp_path_factory.mktemp("class") / "course", SIZE, hostile=True, with_files=True)


@pytest.fixture(scope="module")
def standings(place: Path) -> Standings:
    return read_standings(open_course(place).db_url, "cnn")


@pytest.fixture(scope="module")
def rows(place: Path, standings: Standings) -> dict[str, Row]:
    marks = read_marks(open_course(place).db_url, "cnn")
    return {row.report.student: row for row in rows_of(load_reports(place, "cnn"), marks, standings)}


def test_a_seed_makes_the_same_class_again(rows: dict[str, Row]) -> None:
    assert len(rows) == SIZE + len(TRICKS)
    for report in class_reports(3):
        assert report.to_json() == rows[report.student].report.to_json()
    for report in class_reports(3, seed=2):
        assert report.to_json() != rows[report.student].report.to_json()


def test_points_follow_from_status_and_the_gradebook_holds_them(rows: dict[str, Row]) -> None:
    for row in rows.values():
        for check in row.report.checks:
            assert 0 <= check.earned <= check.points
            assert (check.earned == check.points) == (check.status is Status.PASSED) or check.points == 0, check
        automatic = {(mark.notebook, mark.cell): mark.automatic for mark in row.marks if mark.automatic is not None}
        assert automatic == {(s.notebook, s.cell): s.earned for s in row.report.cell_scores()}


def test_accuracy_matrix_interval_message_and_curve_agree(rows: dict[str, Row]) -> None:
    found = [(row.report, each) for name, row in rows.items() if name.startswith("student-")
             for each in row.report.evaluations]  # fmt: skip
    assert found
    for report, each in found:
        assert sum(map(sum, each.confusion)) == each.images
        assert sum(line[k] for k, line in enumerate(each.confusion)) == each.correct
        assert each.low <= each.accuracy <= each.high
        messages = [check.message for check in report.checks if check.cell == "modern-cnn-accuracy"]
        assert any(f"{each.correct:,} of {each.images:,} test images" in message for message in messages)
        for curve in report.curves:
            assert curve.validation_accuracy[-1] == pytest.approx(each.accuracy)


def test_every_class_has_its_known_answers(place: Path, rows: dict[str, Row], standings: Standings) -> None:
    (fourteen,) = (s for s in rows[FOURTEEN].report.cell_scores() if s.notebook == DEEPER)
    assert (fourteen.earned, fourteen.maximum) == (14, 20)
    honest = [row for name, row in rows.items() if name.startswith("student-")]
    failed = [c for row in honest for c in row.report.checks if c.status is Status.FAILED]
    ((check, count),) = Counter((c.notebook, c.name) for c in failed).most_common(1)
    assert check == (DEEPER, COMMON_MISTAKE)
    ((_, same),) = Counter(c.message for c in failed if (c.notebook, c.name) == check).most_common(1)
    assert same > count / 2
    files = {path.parent.parent.name: path.read_bytes() for path in place.glob(f"submitted/*/cnn/{WEIGHTS_FILE}")}
    (copied,) = (content for content, times in Counter(files.values()).items() if times > 1)
    assert {student for student, content in files.items() if content == copied} == set(ALIKE)
    assert {bool(row.waiting) for row in honest} == {True, False}
    assert {standing.seconds_late > 0 for standing in standings.values()} == {True, False}


def test_those_who_attack_do_so_by_all_that_they_choose(rows: dict[str, Row], standings: Standings) -> None:
    hostile = {name: row for name, row in rows.items() if not name.startswith("student-")}
    assert len(hostile) == len(TRICKS)
    for name, row in hostile.items():
        assert standings[name].first_name in TRICKS
        assert any(check.message in TRICKS for check in row.report.checks)
        assert row.report.flags[0].text in TRICKS
        assert all(model.name in TRICKS for model in row.report.models)
