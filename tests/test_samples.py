"""Every sample submission, graded by plain nbgrader, scores what its `expected.json` says, and loses it where meant."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from nbgrader.api import Gradebook

from autograder.core.grade_report import Status
from tests.conftest import OF_WEIGHTS, GradedCourse
from tools.samples import ASSIGNMENT, read_expected, sample_names

ON_CIFAR = [f"{name} on CIFAR-10" for name in OF_WEIGHTS] if os.environ.get("CIFAR10_ROOT") else []


@pytest.fixture(params=[*sample_names(), *ON_CIFAR])
def case(request: pytest.FixtureRequest) -> str:
    """A sample of the course on the offline set, or one whose weights matter on real images."""
    return str(request.param)


@pytest.fixture
def sample(case: str) -> str:
    return case.split()[0]


@pytest.fixture
def judged(case: str, request: pytest.FixtureRequest) -> GradedCourse:
    """The course in which the sample was graded."""
    found: GradedCourse = request.getfixturevalue("course_of_weights" if case in ON_CIFAR else "graded_course")
    return found


@pytest.fixture
def expected(sample: str) -> dict[str, Any]:
    return read_expected(sample)


def test_points_are_lost_in_the_intended_checks_only(
    judged: GradedCourse, sample: str, expected: dict[str, Any]
) -> None:
    report = judged.reports[sample]
    failed = [check for check in report.checks if check.status is not Status.PASSED]
    lost = {f"{check.cell}/{check.name}": check.status.value for check in failed}
    messages = {check.name: check.message for check in failed}
    assert lost == expected["lost"], messages


def test_points_are_what_is_expected(judged: GradedCourse, sample: str, expected: dict[str, Any]) -> None:
    points = expected["points"]
    wanted = points[judged.data] if isinstance(points, dict) else points
    # `within`: the last digit of an accuracy may differ where another CPU rounds another way.
    assert abs(judged.reports[sample].earned - wanted) <= expected.get("within", 0)
    assert judged.reports[sample].maximum == 95


def test_the_gradebook_holds_the_reports_points_for_every_cell(
    judged: GradedCourse, sample: str, expected: dict[str, Any]
) -> None:
    scores = {(s.notebook, s.cell): s for s in judged.reports[sample].cell_scores()}
    with Gradebook(f"sqlite:///{judged.root / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission(ASSIGNMENT, sample)
        found = {(n.name, grade.name): grade.auto_score for n in submission.notebooks for grade in n.grades}
        waiting = {grade.name for n in submission.notebooks for grade in n.grades if grade.needs_manual_grade}
    manual = found.pop(("03_depthwise_separable", "depthwise-why"))
    assert found == {key: score.earned for key, score in scores.items()}
    assert manual == expected.get("manual")
    assert waiting == set(expected.get("waiting", ["depthwise-why"]))


def test_what_happened_is_told(judged: GradedCourse, sample: str, expected: dict[str, Any]) -> None:
    report = judged.reports[sample]
    told = " ".join([*map(str, report.notes), *(check.message for check in report.checks)])
    for text in expected.get("told", []):
        assert text in told, told


def test_nothing_of_an_honest_or_clumsy_sample_is_worth_a_look(judged: GradedCourse, sample: str) -> None:
    assert judged.reports[sample].flags == []


def test_figures_are_known_of_what_was_judged(course_of_weights: GradedCourse) -> None:
    report = course_of_weights.reports["reference"]
    assert [(model.notebook, model.name) for model in report.models] == [
        ("02_deeper_cnn", "DeeperCNN"),
        ("04_modern_cnn", "ModernCNN"),
    ]
    assert all(sum(layer.parameters for layer in m.layers) == m.parameters for m in report.models)
    (evaluation,) = report.evaluations
    assert sum(map(sum, evaluation.confusion)) == evaluation.images == evaluation.total
    assert len(evaluation.mistakes) == min(9, evaluation.images - evaluation.correct)
    (accuracy,) = (check for check in report.checks if check.name == "test_accuracy")
    assert f"{evaluation.correct:,} of {evaluation.images:,}" in accuracy.message
    (curve,) = report.curves
    assert len(curve.train_loss) == len(curve.validation_accuracy) > 0
    _, model = report.models
    convolution = next(layer for layer in model.layers if layer.kind == "convolution")
    answers = {cell.index: cell.source.splitlines() for cell in report.sources["04_modern_cnn"]}
    assert "self.stem" in answers[convolution.source_cell][convolution.line - 1]


def test_what_cannot_be_shown_is_left_out_and_is_nobodys_fault(graded_course: GradedCourse) -> None:
    shown = {
        name: graded_course.reports[name]
        for name in ("untouched", "os_exit", "misfit_checkpoint", "partial_checkpoint")
    }
    assert not shown["untouched"].models
    assert not shown["misfit_checkpoint"].evaluations
    assert shown["partial_checkpoint"].evaluations[0].accuracy < 0.75
    assert not any(report.is_internal for report in shown.values())


def test_every_sample_was_graded_and_the_batch_went_on(graded_course: GradedCourse) -> None:
    assert sorted(graded_course.reports) == sample_names()
    assert graded_course.exit_status == 0, graded_course.log[-3000:]
    graded = {path.parent.name for path in graded_course.root.glob(f"autograded/*/{ASSIGNMENT}")}
    assert graded == set(sample_names())


def test_no_link_was_followed(graded_course: GradedCourse) -> None:
    for folder in ("submitted", "autograded"):
        assert not [path for path in (graded_course.root / folder).rglob("*") if path.is_symlink()]
    handed_in = graded_course.root / "submitted" / "gradebook_symlink" / ASSIGNMENT
    assert not (handed_in / "notes.txt").exists()
    autograded = graded_course.root / "autograded" / "gradebook_symlink" / ASSIGNMENT
    assert not [path for path in autograded.rglob("*") if b"SQLite" in path.read_bytes()[:64]]
    assert not (autograded / "passwd").exists()


def test_every_test_cell_has_an_explicit_plain_score(graded_course: GradedCourse) -> None:
    for path in graded_course.root.glob("autograded/*/*/*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            own = cell["metadata"].get("nbgrader", {})
            if own.get("grade") and not own.get("solution"):
                first = cell["outputs"][0]
                assert first["output_type"] == "execute_result"
                text = "".join(first["data"]["text/plain"])
                assert text == repr(float(text))
                assert 0 <= float(text) <= own["points"]
                kinds = {(o["output_type"], o.get("name")) for o in cell["outputs"]}
                assert not kinds & {("error", None), ("stream", "stderr")}


def test_samples_cover_what_the_project_promises() -> None:
    asked = (
        "reference different_style untouched wrong_doubling standard_convolution no_residual partial_checkpoint "
        "misfit_checkpoint cell_exception infinite_loop memory_hog os_exit missing_notebook deleted_test_cell "
        "skip_execution_tag markdown_script gradebook_symlink output_flood clumsy interrupted undecided"
    )
    assert set(sample_names()) >= set(asked.split())
