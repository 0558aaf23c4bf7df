"""A private hold-out decides the mark where there is one; whatever would make it public or useless is refused."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autograder.core.config import Course
from autograder.core.config_values import ConfigError
from autograder.core.grade_report import Evaluation, Flag, GradeReport
from autograder.core.probes import CheckpointProbe
from autograder.graphs.runner import Runner
from autograder.jail import Isolation
from autograder.judging import datasets, offline_images
from autograder.judging.accuracy import Accuracy
from autograder.judging.datasets import CLASSES, DataError, Dataset, Source
from autograder.judging.flags.images import holdout_flag
from autograder.judging.holdout import NAME, PUBLISHED, check_holdout, holdout_place, read_holdout, same_pictures
from autograder.judging.job import Job
from autograder.judging.model_summary import evaluation_of
from autograder.pipeline import doctor
from autograder.pipeline.doctor import Health
from autograder.pipeline.grade import grade_submission
from autograder.pipeline.grader import Grader, open_grader
from autograder.review.evidence_lines import accuracy as accuracy_line
from autograder.review.feedback.content import accuracy_sentence
from tests.example_reports import report
from tests.test_data import as_batch, write_batches, write_zip
from tests.test_report import page_of, words
from tools.hidden_graders import CHECKPOINTS, COURSE, SECRET, grade_check, open_runner, run_answers, staged
from tools.samples import ASSIGNMENT, ROOT, build_sample, make_course

NOTEBOOK = "04_modern_cnn"
OFFLINE = Source("offline")
IMAGES = 600


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with open_runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def fresh() -> tuple[Any, Any]:
    """Images of the offline set's kind that are in neither of its splits: the generator goes on."""
    images, labels = offline_images.render("test", offline_images.TEST_IMAGES + IMAGES)
    return images[offline_images.TEST_IMAGES :], labels[offline_images.TEST_IMAGES :]


def write_images(folder: Path, images: Any, labels: Any, classes: tuple[str, ...] = offline_images.CLASSES) -> Path:
    """A tree test/<class>/NNNN.png."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "test" / classes[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return folder


# What is read


def test_every_form_is_read_with_any_number_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = {(name, n): rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for name in CLASSES for n in range(51)}
    images, labels = as_batch(pictures)
    places = [
        write_images(tmp_path / "tree", images, labels, CLASSES),
        write_zip(tmp_path / "private.zip", pictures, form="PNG"),
        write_batches(tmp_path / "cifar-10-batches-py", images, labels),
    ]
    found = [read_holdout(place, CLASSES) for place in places]
    assert len({one.sha256 for one in found}) == 1
    assert found[0].identity == f"private hold-out, 510 test images, sha256 {found[0].sha256[:16]}"


def test_the_classes_are_the_test_sets(tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    place = write_images(tmp_path / "private", *fresh)
    found = read_holdout(place, offline_images.CLASSES)
    assert found.classes == offline_images.CLASSES
    assert sorted(np.bincount(found.labels)) == sorted(np.bincount(fresh[1]))
    with pytest.raises(DataError, match="must be CIFAR-10's classes"):
        read_holdout(place, CLASSES)


def too_few(folder: Path, images: Any, labels: Any) -> Path:
    return write_images(folder, images[:400], labels[:400])


def few_discs(folder: Path, images: Any, labels: Any) -> Path:
    chosen = np.flatnonzero((labels != 0) | (np.cumsum(labels == 0) <= 5))
    return write_images(folder, images[chosen], labels[chosen])


def no_discs(folder: Path, images: Any, labels: Any) -> Path:
    return write_images(folder, images[labels != 0], labels[labels != 0])


def folders_of_classes_only(folder: Path, images: Any, labels: Any) -> Path:
    return write_images(folder, images, labels) / "test"


def a_large_picture(folder: Path, images: Any, labels: Any) -> Path:
    write_images(folder, images, labels)
    Image.new("RGB", (64, 64)).save(folder / "test" / "disc" / "large.png")
    return folder


def a_text_file(folder: Path, _images: Any, _labels: Any) -> Path:
    folder.write_text("images")
    return folder


def nothing(folder: Path, _images: Any, _labels: Any) -> Path:
    return folder


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (nothing, "it does not exist"),
        (a_text_file, "no data set is there"),
        (folders_of_classes_only, "no data set is there"),
        (too_few, "it has 400 images"),
        (few_discs, "of some classes few: disc 5"),
        (no_discs, "missing or empty: disc"),
        (a_large_picture, r"large\.png must be 32x32 pixels, got 64x64"),
    ],
)
def test_what_is_no_hold_out_is_refused_with_the_form_that_is(
    make: Any, reason: str, tmp_path: Path, fresh: tuple[Any, Any]
) -> None:
    with pytest.raises(DataError, match=f"{reason}.*Expected a folder test/<class>/"):
        read_holdout(make(tmp_path / "private", *fresh), offline_images.CLASSES)


# What is private


@pytest.mark.parametrize("folder", PUBLISHED)
def test_a_place_that_is_published_is_refused(folder: str, tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    place = write_images(tmp_path / folder / "deep" / "private", *fresh)
    with pytest.raises(DataError, match=rf"lies in {folder}/.*holdout/ for instance"):
        check_holdout(tmp_path, place, OFFLINE)
    (tmp_path / "private").symlink_to(place)
    with pytest.raises(DataError, match=rf"lies in {folder}/"):
        check_holdout(tmp_path, (tmp_path / "private").resolve(), OFFLINE)


def saved_anew(image: Any) -> Any:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


@pytest.mark.parametrize("change", [lambda image: image, saved_anew], ids=["as it is", "saved anew"])
@pytest.mark.parametrize("split", ["test", "train"])
def test_public_images_are_counted_and_named(
    split: datasets.Split, change: Any, tmp_path: Path, fresh: tuple[Any, Any]
) -> None:
    images, labels = fresh[0].copy(), fresh[1].copy()
    public = datasets.load(OFFLINE, split)
    for place in (3, 77, 500):
        images[place], labels[place] = change(public.images[2 * place]), public.labels[2 * place]
    kind = {"test": "test", "train": "training"}[split]
    told = rf"of its 600 images 3 are {kind} images too \(test/\w+/\d+\.png, .*take them out"
    with pytest.raises(DataError, match=told) as raised:
        check_holdout(tmp_path, write_images(tmp_path / "private", images, labels), OFFLINE)
    for place in (3, 77, 500):
        assert f"{place:04}.png" in str(raised.value)


def test_images_of_ones_own_are_accepted(tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    found = check_holdout(tmp_path, write_images(tmp_path / "private", *fresh), OFFLINE)
    assert len(found.labels) == IMAGES
    assert same_pictures(fresh[0], fresh[0][::2]).tolist() == list(range(0, IMAGES, 2))


# What is configured


@pytest.mark.parametrize("value", ["3", "None", "Path('x')", "' x'", "'~/private'", "'a\\nb'"])
def test_a_wrong_place_is_named(value: str) -> None:
    with pytest.raises(ConfigError, match=r"CheckpointProbe.holdout must be a path from the course's folder"):
        eval(f"CheckpointProbe('w', 'Net', 't', holdout={value})", {"CheckpointProbe": CheckpointProbe, "Path": Path})


def with_holdout(place: str) -> Course:
    """The course of the repository on the offline set, with a hold-out."""
    assignment = COURSE.assignment(ASSIGNMENT)
    exercises = [
        dataclasses.replace(e, checkpoint=dataclasses.replace(e.checkpoint, holdout=place)) if e.checkpoint else e
        for e in assignment.exercises
    ]
    changed = dataclasses.replace(assignment, exercises=exercises)
    return dataclasses.replace(COURSE, assignments={ASSIGNMENT: changed}, data="offline", isolation="none")


def grader_of(root: Path, place: str) -> Grader:
    isolation, release = Isolation("none"), ROOT / "release" / ASSIGNMENT
    return Grader(root, with_holdout(place), ASSIGNMENT, isolation, OFFLINE, release, ROOT / "source" / ASSIGNMENT)


def test_its_identity_is_part_of_what_decided_the_marks(tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    one = write_images(tmp_path / "one", *fresh)
    write_images(tmp_path / "other", fresh[0], np.roll(fresh[1], 1))
    (tmp_path / "grader_config.py").write_text("the same for all three")
    graders = [grader_of(tmp_path, place) for place in ("", "one", "other")]
    sha256 = read_holdout(one, offline_images.CLASSES).sha256
    assert graders[0].data_identity == datasets.load(OFFLINE, "test").identity
    assert graders[1].data_identity == (
        f"{graders[0].data_identity}; private hold-out, 600 test images, sha256 {sha256[:16]} for {NOTEBOOK}"
    )
    assert len({grader.engine_digest for grader in graders}) == 3


def test_grading_does_not_begin_with_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it does not exist"):
        _ = grader_of(tmp_path, "nowhere").data_identity


def test_the_grading_process_finds_it_from_the_courses_folder(tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    write_images(tmp_path / "private", *fresh)
    course = with_holdout("private")
    job = Job(tmp_path, course, course.assignment(ASSIGNMENT), Isolation("none"), OFFLINE, SECRET)
    exercises = {exercise.notebook: exercise for exercise in job.assignment.exercises}
    found = job.holdout(exercises[NOTEBOOK])
    assert found is not None
    assert len(found.labels) == IMAGES
    assert job.holdout(exercises["01_output_size"]) is None
    assert holdout_place(tmp_path, exercises[NOTEBOOK]) == tmp_path / "private"


def findings(root: Path, place: str) -> list[doctor.Finding]:
    return list(doctor.check_holdouts(with_holdout(place), root))


def test_the_doctor_names_it_and_what_is_wrong_with_it(tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    write_images(tmp_path / "small", *fresh)
    write_images(tmp_path / "release" / "private", *fresh)
    assert findings(tmp_path, "") == []
    [small] = findings(tmp_path, "small")
    assert (small.name, small.state) == (f"hold-out of {ASSIGNMENT}/{NOTEBOOK}", Health.WARN)
    assert "private hold-out, 600 test images" in small.found
    assert "standard error of 1.8 points" in small.remedy
    for place, problem in (("nowhere", "does not exist"), ("release/private", "lies in release/")):
        [finding] = findings(tmp_path, place)
        assert finding.state is Health.MISSING
        assert problem in finding.found
    [large] = findings(write_large(tmp_path, fresh), "large")
    assert (large.state, large.remedy) == (Health.OK, "")


def write_large(root: Path, fresh: tuple[Any, Any]) -> Path:
    """Four noisy copies of each image, zipped."""
    draws = np.random.default_rng(0)
    with zipfile.ZipFile(root / "large", "w") as archive:
        for copy in range(4):
            for number, (image, label) in enumerate(zip(*fresh, strict=True)):
                noisy = np.clip(image + draws.integers(-9, 10, image.shape), 0, 255).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(noisy.transpose(1, 2, 0)).save(file, "PNG")
                archive.writestr(f"test/{offline_images.CLASSES[label]}/{copy}-{number}.png", file.getvalue())
    return root


# What it decides


def private_set(right: float, labels_from: Dataset) -> Dataset:
    """500 test images under labels of which about this part is theirs: what an honest network gets right of them."""
    draws = np.random.RandomState(0)
    images, labels = labels_from.images[:500], labels_from.labels[:500].copy()
    wrong = draws.permutation(500)[round(right * 500) :]
    labels[wrong] = (labels[wrong] + 1) % 10
    return Dataset(NAME, labels_from.classes, images, labels, "test", "0" * 64)


def graded(runner: Runner, private: Dataset | None) -> tuple[Any, list[Evaluation], list[Flag]]:
    flags: list[Flag] = []
    evaluations: list[Evaluation] = []
    checkpoint = CHECKPOINTS / "offline" / "modern_cnn.safetensors"
    result = grade_check(
        NOTEBOOK,
        "test_accuracy",
        run_answers(NOTEBOOK, {}).evidence,
        runner,
        files={checkpoint.name: staged(checkpoint)},
        test_set=lambda: datasets.load(OFFLINE, "test"),
        holdout=lambda: private,
        evaluations=evaluations,
        flags=flags,
    )
    return result, evaluations, flags


def test_its_accuracy_is_the_mark_and_the_public_one_stands_beside_it(runner: Runner) -> None:
    public, alone, _ = graded(runner, None)
    assert public.earned == 20
    assert alone[0].public_accuracy is None
    result, [shown], flags = graded(runner, private_set(0.74, datasets.load(OFFLINE, "test")))
    assert 10 < result.earned < 18
    right = f"{shown.accuracy:.2%} on 500 private images, which decides"
    assert right in result.message
    assert "96.50% on 2,000 public test images" in result.message
    assert (shown.data_set, shown.images, shown.public_images, shown.public_correct) == (NAME, 500, 2_000, 1_930)
    assert not shown.mistakes
    assert sum(map(sum, shown.confusion)) == 500
    assert [flag.kind for flag in flags] == ["hold-out"]


def test_one_that_is_as_easy_as_the_test_set_raises_nothing(runner: Runner) -> None:
    result, _, flags = graded(runner, private_set(1.0, datasets.load(OFFLINE, "test")))
    assert (result.earned, flags) == (20, [])


@pytest.mark.parametrize(
    ("public", "private", "usual", "flagged"),
    [
        ((7_430, 10_000), (1_400, 2_000), 0.0, True),  # 4.3 points by heart
        ((7_430, 10_000), (1_480, 2_000), 0.0, False),
        ((7_430, 10_000), (350, 500), 0.0, False),  # too few to say
        ((7_430, 10_000), (1_320, 2_000), 0.05, False),
        ((9_000, 10_000), (1_300, 2_000), 0.05, True),
        ((10_000, 10_000), (500, 500), 0.0, False),
    ],
)
def test_a_gap_beyond_the_usual_and_beyond_chance_is_told(
    public: tuple[int, int], private: tuple[int, int], usual: float, flagged: bool
) -> None:
    found = holdout_flag(NOTEBOOK, Accuracy(*public, ()), Accuracy(*private, ()), usual)
    assert bool(found) == flagged
    for flag in found:
        assert "standard errors" in flag.text
        assert f"{private[1]:,} private ones" in flag.text


def test_equally_hard_private_images_accuse_hardly_anybody() -> None:
    draws, flagged = np.random.default_rng(0), 0
    for size in (500, 2_000):
        for public, private in zip(draws.binomial(10_000, 0.75, 5_000), draws.binomial(size, 0.75, 5_000), strict=True):
            pair = Accuracy(int(public), 10_000, ()), Accuracy(int(private), size, ())
            flagged += bool(holdout_flag(NOTEBOOK, *pair, 0.0))
    assert flagged <= 6


# Who is shown what


def evaluated() -> GradeReport:
    classes, confusion = ("cat", "dog"), ((400, 100), (150, 350))
    labels = np.zeros(1_000, np.int64)
    held = Dataset(NAME, classes, np.zeros((1_000, 3, 32, 32), np.uint8), labels, "test", "0" * 64)
    found = evaluation_of("02_network", Accuracy(8_100, 10_000, confusion), held, Accuracy(750, 1_000, confusion), held)
    return report("ada", evaluations=[found])


def test_both_numbers_are_shown_to_the_staff_and_to_the_student() -> None:
    graded_report = evaluated()
    [found] = graded_report.evaluations
    sentence = accuracy_sentence(found)
    assert "750 of 1,000 images of the private hold-out correctly: 75.00 %. That is what counts." in sentence
    assert "On the 10,000 public test images: 81.00 %." in sentence
    page = words(page_of(graded_report).text)
    assert "75.00 % on 1,000 images of the private hold-out" in page
    assert "on the 10,000 public test images it is 81.00 %" in page
    assert accuracy_line(found).startswith("Accuracy on the private hold-out 75.00%")
    assert "81.00% on public test images" in accuracy_line(found)
    assert GradeReport.from_json(graded_report.to_json()).to_json() == graded_report.to_json()


def test_reports_from_before_there_were_hold_outs_are_read() -> None:
    older: Mapping[str, Any] = {
        k: v for k, v in dataclasses.asdict(evaluated().evaluations[0]).items()
        if k not in ("data_set", "public_correct", "public_images")
    }  # fmt: skip
    assert Evaluation(**older).images_are == "test images"


@pytest.mark.slow
def test_a_submission_is_graded_in_the_jail_by_a_private_hold_out(tmp_path: Path, fresh: tuple[Any, Any]) -> None:
    course = tmp_path / "course"
    make_course(course, {}, "offline")
    write_images(course / "holdout", *fresh)
    config = course / "grader_config.py"
    config.write_text(config.read_text() + HELD_OUT)
    build_sample("reference", tmp_path / "handed in", "offline", release=course / "release" / ASSIGNMENT)
    grader = open_grader(course, ASSIGNMENT)
    found = grade_submission(grader, "ada", tmp_path / "handed in")
    [check] = [check for check in found.checks if check.name == "test_accuracy"]
    assert "on 600 private images, which decides" in check.message
    assert "private hold-out, 600 test images, sha256" in found.facts["data"]
    assert [evaluation.data_set for evaluation in found.evaluations] == [NAME]
    assert found.flags == []


HELD_OUT = f"""

def _held_out(exercise):
    checkpoint = exercise.checkpoint and dataclasses.replace(exercise.checkpoint, holdout="holdout")
    return dataclasses.replace(exercise, checkpoint=checkpoint)

_assignment = COURSE.assignments["{ASSIGNMENT}"]
_changed = dataclasses.replace(_assignment, exercises=[_held_out(e) for e in _assignment.exercises])
COURSE = dataclasses.replace(COURSE, assignments={{"{ASSIGNMENT}": _changed}})
"""
