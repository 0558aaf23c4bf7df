"""Marks do not depend on order, host, device or time.

The same submissions are graded again in another course folder, student by student in a shuffled order, with fresh
caches, on one core (so the runner has one thread), under another hash seed, time zone and locale. Everything that a
student, a TA or the gradebook is told must be the same, seconds aside.

One difference is allowed. Another number of threads, or another device, sums float32 in another order, so an image
whose two largest logits tie within a thousandth of the largest may change sides. The accuracy may then differ by as
many images as tie, and no more; how many these are is counted here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch
from nbgrader.api import Gradebook
from numpy.typing import NDArray

from autograder.core.config import Limits
from autograder.core.files import StagedFile
from autograder.core.grade_report import GradeReport, Status
from autograder.core.notes import Note
from autograder.course import report_store
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner import Runner
from autograder.jail import find_isolation, start
from autograder.judging import datasets
from autograder.judging.checkpoint import fit_checkpoint, read_checkpoint
from autograder.judging.evidence import decode_evidence
from autograder.judging.normalisation import recover_normalisation
from autograder.judging.problems import Problem
from autograder.pipeline.grade import grade_submission, read_folder
from autograder.pipeline.grader import open_grader
from tests.conftest import ALL_CORES, OF_WEIGHTS, GradedCourse, grade_samples, on_cores
from tools.samples import ASSIGNMENT, executable, make_course, sample_names

FEW = list(OF_WEIGHTS)
ORDER_SEED = 20_261_124
ELSEWHERE = {"PYTHONHASHSEED": "4711", "TZ": "Pacific/Chatham", "LC_ALL": "C", "LANG": "C"}
MODERN = "04_modern_cnn"
ACCURACY_CELL, ACCURACY_CHECK = "modern-cnn-accuracy", "test_accuracy"
CORRECT = re.compile(r"[\d.]+%: ([\d,]+) of [\d,]+ test images \(95 % interval [\d.]+% to [\d.]+%\)")
TIE = 1e-3  # of the largest logit: two that are closer may change places with the order of summing
POINTS_PER_ACCURACY = 20 / (0.75 - 0.65)
SECRET = Path(".autograder", "secret")
Row = tuple[str, str, str]  # student, notebook, cell

# Runs a command on some of the machine's cores: that is how many threads torch takes, in the jail as well.
ON_CORES = "import json, os, sys; os.sched_setaffinity(0, json.loads(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True)
class Outcome:
    """What grading leaves: reports by student, and what the gradebook says of every cell."""

    reports: Mapping[str, GradeReport]
    rows: Mapping[Row, tuple[Any, ...]]


def all_cores() -> set[int]:
    return set(ALL_CORES)


def one_core() -> set[int]:
    return {min(all_cores())}


def read_outcome(root: Path, students: Sequence[str]) -> Outcome:
    """The outcome for some students of a course."""
    found = {
        report.student: report for report in report_store.load_reports(root, ASSIGNMENT) if report.student in students
    }
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        rows = {
            (student, notebook.name, grade.name): (grade.auto_score, grade.manual_score, grade.needs_manual_grade)
            for student in students
            for notebook in gradebook.find_submission(ASSIGNMENT, student).notebooks
            for grade in notebook.grades
        }
    return Outcome(found, rows)


def make_alike(place: Path, like: GradedCourse, students: Sequence[str]) -> None:
    """Another course with the same secret and the same submissions."""
    make_course(place, {name: name for name in students}, like.data)
    (place / SECRET).parent.mkdir(exist_ok=True)
    shutil.copyfile(like.root / SECRET, place / SECRET)


def grade_elsewhere(place: Path, like: GradedCourse, students: Sequence[str], *command: str) -> Outcome:
    """Grade again, on one core, by a command for one student after the other, shuffled."""
    make_alike(place, like, students)
    shuffled = list(students)
    random.Random(ORDER_SEED).shuffle(shuffled)
    assert shuffled != sorted(students)
    on_one_core = [sys.executable, "-c", ON_CORES, json.dumps(sorted(one_core()))]
    for student in shuffled:
        done = subprocess.run(
            [*on_one_core, executable(command[0]), *command[1:], ASSIGNMENT, "--student", student],
            cwd=place,
            env={**os.environ, **ELSEWHERE},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return read_outcome(place, students)


def told(report: GradeReport) -> Any:
    """All that a report says, seconds and the accuracy check aside."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items() if key != "seconds"}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    checks = [check for check in report.checks if (check.cell, check.name) != (ACCURACY_CELL, ACCURACY_CHECK)]
    return plain(dataclasses.asdict(dataclasses.replace(report, checks=checks)))


@dataclass(frozen=True)
class Measured:
    """The accuracy check: points, correct images (None where none were counted), the other words, status."""

    earned: float
    correct: int | None
    words: str
    status: Status


def accuracy_of(report: GradeReport) -> Measured:
    check = next(c for c in report.checks if (c.cell, c.name) == (ACCURACY_CELL, ACCURACY_CHECK))
    found = CORRECT.search(check.message)
    correct = int(found[1].replace(",", "")) if found else None
    return Measured(check.earned, correct, CORRECT.sub("", check.message), check.status)


def expect_same(first: Outcome, second: Outcome, ties: Callable[[str], int], images: int) -> None:
    """Equal reports and gradebooks; two accuracies of a student differ by at most the near ties, which are counted
    where they do differ."""
    assert first.reports.keys() == second.reports.keys()
    for student, report in first.reports.items():
        assert told(report) == told(second.reports[student])
        one, other = accuracy_of(report), accuracy_of(second.reports[student])
        if one != other:
            assert one.correct is not None
            assert other.correct is not None
            changed = abs(one.correct - other.correct)
            tied = ties(student)
            assert changed <= tied, f"{student}: {changed} images changed sides, {tied} are near ties"
            # Points are rounded to 0.1.
            assert abs(one.earned - other.earned) <= POINTS_PER_ACCURACY * changed / images + 0.1
    assert first.rows.keys() == second.rows.keys()
    for (student, notebook, cell), row in first.rows.items():
        if cell != ACCURACY_CELL:
            assert row == second.rows[student, notebook, cell], (student, notebook, cell)
            continue
        for outcome in (first, second):  # each gradebook holds its own report's points
            score = next(s for s in outcome.reports[student].cell_scores() if s.cell == cell)
            assert outcome.rows[student, notebook, cell] == (score.earned, None, score.needs_person)


# The logits behind an accuracy


@dataclass(frozen=True)
class Judged:
    """A student's network with the handed-in weights, and the student's normalisation."""

    graph: ModelGraph
    tensors: bytes
    scale: tuple[float, float, float]
    shift: tuple[float, float, float]


def read_network(root: Path, student: str) -> Judged:
    """What the accuracy was measured on, from the evidence that grading kept."""
    grader = open_grader(root, ASSIGNMENT)
    folder = root / "submitted" / student / ASSIGNMENT
    with tempfile.TemporaryDirectory() as work:
        submission, plan, _ = read_folder(grader, student, folder, Path(work))
        frames = grader.cache.load_frames(plan.keys[MODERN])
        assert frames is not None
        evidence = decode_evidence(plan.probes[MODERN], frames, Problem(Status.CRASHED, "no evidence"))
        build = evidence.modules["ModernCNN"][0]
        graph = build.graphs[False, 32]
        assert isinstance(graph, ModelGraph)
        files = submission.files
        checkpoint = read_checkpoint("modern_cnn", files, converted(submission.files.get("modern_cnn.pt")), 64)
        tensors = fit_checkpoint(graph, build.tensors, checkpoint).tensors
        normalisation = recover_normalisation("test_transform", evidence.samples["test_transform"])
    return Judged(graph, tensors, normalisation.scale, normalisation.shift)


def converted(file: StagedFile | None) -> bytes | None:
    """A state dict of one of our own samples as safetensors; a student's is converted in the jail."""
    return None if file is None else safetensors.torch.save(torch.load(file.path, weights_only=True))


@contextmanager
def runner_on(cores: set[int]) -> Iterator[Runner]:
    """A runner in the jail, as grading uses it, on some cores."""
    isolation = find_isolation()
    with Runner(lambda: start("graph_server", Limits(), isolation), device="cpu") as runner:
        with on_cores(cores):
            runner.warm_up()
        yield runner


def logits_of(network: Judged, images: NDArray[np.uint8], runner: Runner) -> NDArray[np.float32]:
    handle = runner.load(network.graph, network.tensors)
    return runner.evaluate(handle, images, network.scale, network.shift, batch_size=500, seconds=300)


def near_ties(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Images whose two largest logits are closer than what another order of summing may change."""
    top = np.sort(logits, axis=1)
    return top[:, -1] - top[:, -2] <= TIE * np.maximum(np.abs(logits).max(axis=1), 1e-6)


@lru_cache
def graded_images(name: str) -> NDArray[np.uint8]:
    """The test images of the samples' data set, uint8 (N, 3, 32, 32)."""
    source = datasets.Source("offline") if name == "offline" else datasets.find_source(allow_offline=False)
    return datasets.load(source, "test").images


def count_ties(course: GradedCourse) -> Callable[[str], int]:
    """How many test images nearly tie, for a student."""

    def count(student: str) -> int:
        with runner_on(all_cores()) as runner:
            logits = logits_of(read_network(course.root, student), graded_images(course.data), runner)
        return int(near_ties(logits).sum())

    return count


# The tests


def test_order_host_and_threads_change_no_mark(course_of_weights: GradedCourse, tmp_path: Path) -> None:
    first = read_outcome(course_of_weights.root, FEW)
    second = grade_elsewhere(tmp_path / "Kurs – zweite Hälfte", course_of_weights, FEW, "nbgrader", "autograde")
    assert all(accuracy_of(report).correct is not None for report in first.reports.values())  # all bring weights
    expect_same(first, second, count_ties(course_of_weights), len(graded_images(course_of_weights.data)))


@pytest.mark.slow
def test_order_host_and_threads_change_no_mark_of_any_sample(tmp_path: Path, data_name: str) -> None:
    course = grade_samples(tmp_path / "all", sample_names(), data_name)
    first = read_outcome(course.root, sample_names())
    # Not by nbgrader itself, which does not find a student alone whose notebooks all lie one folder deeper.
    second = grade_elsewhere(tmp_path / "again", course, sample_names(), "autograder", "grade")
    expect_same(first, second, count_ties(course), len(graded_images(course.data)))


@pytest.mark.parametrize("student", ["partial_checkpoint", "different_style"])
def test_threads_change_the_class_of_near_ties_only(course_of_weights: GradedCourse, student: str) -> None:
    network = read_network(course_of_weights.root, student)
    found = []
    for cores in (all_cores(), one_core()):
        with runner_on(cores) as runner:
            found.append(logits_of(network, graded_images(course_of_weights.data), runner))
            below = [set(process.cpu_affinity()) for process in psutil.Process().children(recursive=True)]
            assert cores in below  # the runner takes as many threads as it has cores
    ties = near_ties(found[0])
    changed = found[0].argmax(axis=1) != found[1].argmax(axis=1)
    assert not (changed & ~ties).any()
    assert ties.mean() < 0.01  # a tolerance that covers many images would explain anything


def test_two_runners_and_two_runs_compute_the_same_bits(course_of_weights: GradedCourse) -> None:
    network = read_network(course_of_weights.root, "reference")
    images = graded_images(course_of_weights.data)[:1000]
    found = []
    for _ in range(2):
        with runner_on(all_cores()) as runner:
            found += [logits_of(network, images, runner), logits_of(network, images, runner)]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_near_ties_are_told_from_clear_cases() -> None:
    logits = np.array([[1.0, 0.0, 5.0], [1.0, 4.998, 5.0], [1.0, 4.9, 5.0], [0.0, 0.0, 0.0]], np.float32)
    assert near_ties(logits).tolist() == [False, True, False, True]


def test_a_difference_beyond_the_ties_is_noticed(course_of_weights: GradedCourse) -> None:
    outcome, images = read_outcome(course_of_weights.root, FEW), len(graded_images(course_of_weights.data))
    report = outcome.reports["partial_checkpoint"]
    correct = accuracy_of(report).correct
    assert correct is not None

    def with_report(changed: GradeReport) -> Outcome:
        return dataclasses.replace(outcome, reports={**outcome.reports, "partial_checkpoint": changed})

    counted = [
        dataclasses.replace(check, message=check.message.replace(f"{correct:,} of", f"{correct + 3:,} of"))
        for check in report.checks
    ]
    moved = with_report(dataclasses.replace(report, checks=counted))
    expect_same(outcome, outcome, lambda _: 0, images)
    expect_same(outcome, moved, lambda _: 3, images)
    with pytest.raises(AssertionError, match="3 images changed sides, 2 are near ties"):
        expect_same(outcome, moved, lambda _: 2, images)
    with pytest.raises(AssertionError):
        expect_same(outcome, with_report(dataclasses.replace(report, notes=[Note("another")])), lambda _: 0, images)
    with pytest.raises(AssertionError):
        expect_same(outcome, dataclasses.replace(outcome, rows={}), lambda _: 0, images)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_marks(course_of_weights: GradedCourse, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    make_alike(tmp_path, course_of_weights, FEW)
    found = []
    for device in ("cpu", "cuda"):
        grader = open_grader(tmp_path, ASSIGNMENT, device=device)
        graded = {s: grade_submission(grader, s, tmp_path / "submitted" / s / ASSIGNMENT) for s in FEW}
        found.append(Outcome({student: without_device(report) for student, report in graded.items()}, {}))
    expect_same(found[0], found[1], count_ties(course_of_weights), len(graded_images(course_of_weights.data)))


def without_device(report: GradeReport) -> GradeReport:
    """The report without what names the device, which is part of the configuration that its key stands for."""
    facts = {name: fact for name, fact in report.facts.items() if name not in ("device", "gpu")}
    return dataclasses.replace(report, facts=facts, engine="", key="")
