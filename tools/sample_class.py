"""A class of made-up submissions, for tests and benchmarks of pages: `python -m tools.sample_class PLACE --size 60`.

Nothing is graded: reports of real samples (`tests/class_seeds.json.gz`, graded on the built-in offline set) are
recombined exercise by exercise, checks of some are replaced by what the graders say to a known mistake, accuracies and
sizes vary. The gradebook is nbgrader's own and holds what the reports say, with manual marks, names and a due date.
Files are handed in where they are asked for: the release with a report's answers, and weights drawn at random.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import numpy as np
from nbgrader.api import Gradebook
from safetensors.numpy import save

from autograder.core.config import load_course
from autograder.core.grade_report import CellRun, CheckResult, Curve, Evaluation, Flag, GradeReport, Model, Status
from autograder.core.notes import Note, NoteKind
from autograder.course import report_store, upkeep
from autograder.course.batch import grade_batch, open_course_grader
from autograder.course.folder import open_course
from autograder.judging import proof
from autograder.judging.accuracy import Accuracy, accuracy_points
from tools.samples import ASSIGNMENT, ROOT, make_course

SEEDS = ROOT / "tests" / "class_seeds.json.gz"
# Sample, and how many of a class are like it (in each exercise anew).
WEIGHTS = {
    "reference": 30,
    "different_style": 20,
    "no_residual": 5,
    "wrong_doubling": 5,
    "standard_convolution": 5,
    "partial_checkpoint": 5,
    "misfit_checkpoint": 2,
    "undecided": 2,
    "untouched": 2,
    "cell_exception": 3,
    "os_exit": 1,
}
DEEPER, MODERN = "02_deeper_cnn", "04_modern_cnn"
MANUAL = ("03_depthwise_separable", "depthwise-why", 5.0)
WEIGHTS_FILE = "modern_cnn.safetensors"
DUE = datetime(2026, 11, 20, 22, 59)  # UTC, as nbgrader keeps it
FIRST = (
    "Ada",
    "Blaise",
    "Chen",
    "Dalia",
    "Emeka",
    "Fatima",
    "Goro",
    "Hedy",
    "Imre",
    "Jocelyn",
    "Kamala",
    "Lise",
    "Mei",
)
LAST = ("Abara", "Bohr", "Cruz", "Dube", "Ek", "Fermi", "Gauss", "Haas", "Ito", "Jha", "Kaya", "Lee", "Meyer", "Nash")
ALIKE = ("student-007", "student-023")  # the same answers and the same weights, in every class of so many
FOURTEEN = "student-014"  # 14 of 20 in the second exercise, in every class
FOURTEEN_LOSES = ("test_batch_norm", "test_blocks_halve", "test_raw_logits_and_dropout")
COMMON_MISTAKE = "test_other_image_size"  # of the second exercise, what most students get wrong
HOSTILE = "<script>document.title='taken over'</script><img src=x onerror=\"document.title='taken over'\">"
TRICKS = (
    HOSTILE,
    '"><svg onload="document.title=\'taken over\'">',
    "javascript:document.title='taken over'",
    "</style><style>body{display:none}</style>",
    "\u202egnp.exe\u202c \x1b[31mred\x1b[0m {{ 7*7 }} ${7*7} %s",
    '=HYPERLINK("http://example.invalid","click")',
)


@dataclass(frozen=True)
class Mistake:
    """What the graders say to a known mistake: the check that fails, and the student's line where it is known."""

    notebook: str
    check: str
    message: str
    code: str


def refresh_seeds() -> None:
    """Grade the samples on the offline set and keep their reports."""
    with tempfile.TemporaryDirectory(prefix="autograder-seeds-") as scratch:
        place = Path(scratch)
        make_course(place, {name: name for name in WEIGHTS}, "offline")
        course = open_course(place)
        done = grade_batch(course, open_course_grader(course, ASSIGNMENT), course.submissions(ASSIGNMENT))
        kept = [json.loads(o.report.to_json()) for o in done.outcomes if o.report is not None]
    SEEDS.write_bytes(gzip.compress(json.dumps(kept).encode(), mtime=0))


@lru_cache(1)
def seeds() -> dict[str, GradeReport]:
    """The reports of the samples, by their names."""
    kept = json.loads(gzip.decompress(SEEDS.read_bytes()))
    found = [report_store.parse_report(json.dumps(each)) for each in kept]
    return {report.student: report for report in found}


@lru_cache(1)
def mistakes() -> tuple[Mistake, ...]:
    """What is said to each known mistake, as `make graders` found it."""
    found = proof.read_proof(Path(str(load_course(ROOT).assignment(ASSIGNMENT).graders)))
    assert found is not None
    cases = found.cases
    return tuple(Mistake(c.notebook, c.check, c.message, c.line) for c in cases if c.is_mutant and c.message)


def make_class(place: Path, size: int, seed: int = 1, *, hostile: bool = False, with_files: bool = False) -> Path:
    """A course folder with `size` submissions, the same for the same seed; with `hostile`, some more that attack pages.

    `with_files` adds the folders `source` and `submitted`, which reports need nothing of.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("nbgrader_config.py", "grader_config.py"):
        shutil.copyfile(ROOT / name, place / name)
    for name in ("release", "source") if with_files else ("release",):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
    graded = class_reports(size, seed, hostile=hostile)
    for report in graded:
        report_store.save_report(place, report)
        if with_files:
            _hand_in(place, report)
    with (place / "nbgrader_config.py").open("a") as config:
        config.write("\nc.LatePolicy.points_per_day = 2.5\n")
    _fill_gradebook(place, graded, random.Random(f"{seed}/gradebook"))
    upkeep.bring_up_to_date(open_course(place), ASSIGNMENT)
    return place


def class_reports(size: int, seed: int = 1, *, hostile: bool = False) -> list[GradeReport]:
    """The reports of a class, those that attack pages last."""
    graded = [_submission(number, random.Random(f"{seed}/{number}")) for number in range(1, size + 1)]
    one, other = (int(student.rpartition("-")[2]) - 1 for student in ALIKE)
    if other < size:
        graded[other] = replace(graded[one], student=ALIKE[1])
    if hostile:
        graded += [_attack(number, trick, graded[number]) for number, trick in enumerate(TRICKS[:size])]
    return graded


def _submission(number: int, draw: random.Random) -> GradeReport:
    """One student: each exercise from a seed of its own, accuracy, size and time varied, some checks failed."""
    student = f"student-{number:03}"
    names = list(seeds())
    weights = [WEIGHTS.get(name, 1) for name in names]
    plain = seeds()["reference"]
    chosen = {notebook: seeds()[draw.choices(names, weights)[0]] for notebook in plain.cells}
    if student == FOURTEEN:
        chosen = dict.fromkeys(chosen, plain)
    report = _combine(student, plain, chosen)
    report = _vary_model(report, draw)
    report = _vary_accuracy(report, draw)
    checks = [_vary_check(c, report, draw) for c in report.checks]
    if student == FOURTEEN:
        checks = [_lose(c, report, draw) if c.notebook == DEEPER and c.name in FOURTEEN_LOSES else c for c in checks]
    key = f"{draw.getrandbits(256):064x}"
    facts = dict(report.facts)
    if "checkpoint" in chosen[MODERN].facts:
        content = _weights(key)
        digest = hashlib.sha256(content).hexdigest()
        facts["checkpoint"] = f"{WEIGHTS_FILE}, {len(content):,} bytes, sha256 {digest}"
    else:
        facts.pop("checkpoint", None)
    return replace(report, checks=checks, seconds=round(draw.uniform(6, 25), 2), key=key, facts=facts)


def _weights(key: str) -> bytes:
    """A checkpoint of somebody's own: small tensors, drawn at random."""
    draw = np.random.default_rng(int(key, 16))
    shapes = {"stem.weight": (16, 3, 3, 3), "blocks.0.weight": (32, 16, 3, 3), "classifier.weight": (10, 32)}
    return save({name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()})


def _hand_in(place: Path, report: GradeReport) -> None:
    """The submission's files: the release with the answers that the report holds, and the weights that it names."""
    folder = place / "submitted" / report.student / ASSIGNMENT
    folder.mkdir(parents=True)
    for path in sorted((place / "release" / ASSIGNMENT).glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        answers = {cell.name: cell.source for cell in report.sources.get(path.stem, ()) if cell.name}
        for cell in notebook["cells"]:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            cell["source"] = answers.get(name, cell["source"])
        (folder / path.name).write_text(json.dumps(notebook))
    if "checkpoint" in report.facts:
        (folder / WEIGHTS_FILE).write_bytes(_weights(report.key))


def _combine(student: str, plain: GradeReport, chosen: dict[str, GradeReport]) -> GradeReport:
    parts = chosen.items()
    facts = {**plain.facts, "isolation": "bubblewrap 0.11, unprivileged uid, no network"}
    return replace(
        plain,
        student=student,
        facts=facts,
        checks=[check for name, seed in parts for check in seed.checks if check.notebook == name],
        notebooks=[run for name, seed in parts for run in seed.notebooks if run.notebook == name],
        notes=[note for name, seed in parts for note in seed.notes if note.notebook == name],
        flags=[flag for name, seed in parts for flag in seed.flags if flag.notebook == name],
        sources={name: seed.sources.get(name, ()) for name, seed in parts},
        models=[model for name, seed in parts for model in seed.models if model.notebook == name],
        evaluations=[found for name, seed in parts for found in seed.evaluations if found.notebook == name],
        curves=[curve for name, seed in parts for curve in seed.curves if curve.notebook == name],
        answers={name: seed.answers.get(name, {}) for name, seed in parts},
    )


def _vary_check(check: CheckResult, report: GradeReport, draw: random.Random) -> CheckResult:
    """Other seconds; and one in thirty fails, half of the class by the mistake that everybody makes."""
    check = replace(check, seconds=round(draw.uniform(0.001, 0.8), 3))
    often = check.notebook == DEEPER and check.name == COMMON_MISTAKE
    if check.status is not Status.PASSED or report.student == FOURTEEN or draw.random() > (0.5 if often else 0.03):
        return check
    return check if check.cell == "modern-cnn-accuracy" else _lose(check, report, draw)


def _lose(check: CheckResult, report: GradeReport, draw: random.Random) -> CheckResult:
    """The check as it fails for a known mistake, with the line where the student's own code has it."""
    known = [m for m in mistakes() if (m.notebook, m.check) == (check.notebook, check.name)]
    if not known:
        return check
    mistake = known[0] if check.name == COMMON_MISTAKE and draw.random() < 0.8 else draw.choice(known)
    hint = next((c.hint for r in seeds().values() for c in r.checks if c.name == check.name and c.hint), "")
    failed = replace(check, status=Status.FAILED, earned=0.0, message=mistake.message, hint=hint)
    for cell in report.sources.get(check.notebook, ()):
        lines = [line.strip() for line in cell.source.splitlines()]
        numbers = [n for n, line in enumerate(lines, 1) if line.startswith(("nn.Conv2d", "self.classifier", "return"))]
        if cell.kind == "code" and numbers:
            line = draw.choice(numbers)
            place = f"the cell {cell.name}" if cell.name else "code cell 1"
            return replace(failed, source_cell=cell.index, line=line, place=place, code=lines[line - 1][:120])
    return failed


def _vary_model(report: GradeReport, draw: random.Random) -> GradeReport:
    """Networks of other sizes, so that costs spread; parts and total stay in step."""
    factor = draw.lognormvariate(0, 0.6)

    def scaled(model: Model) -> Model:
        layers = [replace(layer, parameters=round(layer.parameters * factor)) for layer in model.layers]
        total = sum(layer.parameters for layer in layers) if layers else round(model.parameters * factor)
        return replace(model, layers=layers, parameters=total, macs=round(model.macs * factor))

    return replace(report, models=[scaled(m) if m.notebook == MODERN else m for m in report.models])


def _vary_accuracy(report: GradeReport, draw: random.Random) -> GradeReport:
    """Another accuracy, with confusion matrix, interval, points and message that fit it."""
    if not report.evaluations:
        return report
    found = report.evaluations[0]
    wanted = min(max(draw.gauss(0.78, 0.06), 0.3), 0.95)
    confusion = [
        _errors(row, true, wanted + draw.uniform(-0.05, 0.05), draw) for true, row in enumerate(found.confusion)
    ]
    correct = sum(row[true] for true, row in enumerate(confusion))
    measured = Accuracy(correct, found.images, tuple(tuple(row) for row in confusion))
    low, high = measured.interval
    varied: Evaluation = replace(found, correct=correct, low=low, high=high, confusion=confusion, not_finite=0)
    exercise = load_course(ROOT).assignment(ASSIGNMENT).exercise(MODERN)
    assert exercise is not None
    settings = exercise.settings
    points = accuracy_points(
        measured.accuracy,
        zero=settings["accuracy_zero"],
        full=settings["accuracy_full"],
        points=exercise.cells["modern-cnn-accuracy"],
    )
    said = f"test accuracy {measured.describe()}, normalised with mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5)"
    checks = []
    for check in report.checks:
        if check.cell == "modern-cnn-accuracy" and check.status in (Status.PASSED, Status.FAILED):
            status = Status.PASSED if points == check.points else Status.FAILED
            check = replace(check, earned=points, status=status, message=said)
        checks.append(check)
    curves = [_ending_at(curve, measured.accuracy) for curve in report.curves]
    return replace(report, evaluations=[varied], checks=checks, curves=curves)


def _ending_at(curve: Curve, accuracy: float) -> Curve:
    """The curve of a training that came to this validation accuracy."""
    factor = accuracy / curve.validation_accuracy[-1] if curve.validation_accuracy else 1.0
    train, validation = (
        [min(factor * share, 1.0) for share in series] for series in (curve.train_accuracy, curve.validation_accuracy)
    )
    return replace(curve, train_accuracy=train, validation_accuracy=validation)


def _errors(row: Sequence[int], true: int, accuracy: float, draw: random.Random) -> list[int]:
    """A row of a confusion matrix with another accuracy; errors fall where the seed's fell."""
    images = sum(row)
    accuracy = min(max(accuracy, 0.0), 1.0)
    right = round(images * accuracy)
    places = [k for k in range(len(row)) if k != true]
    weights = [row[k] + 1 for k in places]
    counts = [0] * len(row)
    counts[true] = right
    for k in draw.choices(places, weights, k=images - right):
        counts[k] += 1
    return counts


def _attack(number: int, trick: str, honest: GradeReport) -> GradeReport:
    """A submission whose name, messages, code, outputs and class names try to be more than text."""
    name = trick.replace("/", "∕").replace("\x1b", "")[:80]  # the name of a folder
    outputs: list[dict[str, Any]] = [
        {"output_type": "stream", "name": "stdout", "text": trick},
        {"output_type": "display_data", "data": {"text/html": trick, "text/plain": trick}, "metadata": {}},
        {"output_type": "error", "ename": trick, "evalue": trick, "traceback": [trick]},
    ]
    checks = [
        replace(c, status=Status.FAILED, earned=0.0, message=trick, code=trick, line=1, place=f"the cell {trick}")
        if c.notebook == DEEPER
        else c
        for c in honest.checks
    ]
    runs = [
        replace(run, cells=[CellRun(cell.index, Status.ERROR, 0.1, outputs, trick) for cell in run.cells[:2]])
        for run in honest.notebooks
    ]
    sources = {n: [replace(cell, source=f"{trick}\n{cell.source}") for cell in c] for n, c in honest.sources.items()}
    return replace(
        honest,
        student=f"{name} {number}",
        key=hashlib.sha256(f"{honest.key}{number}".encode()).hexdigest(),
        checks=checks,
        notebooks=runs,
        sources=sources,
        notes=[Note(f"`{trick}` was set aside", NoteKind.REFUSED)],
        flags=[Flag("lookup", MODERN, trick)],
        evaluations=[replace(found, classes=[trick for _ in found.classes]) for found in honest.evaluations],
        models=[replace(m, name=trick, layers=[replace(one, text=trick) for one in m.layers]) for m in honest.models],
        facts={**honest.facts, "checkpoint": trick},
    )


def _fill_gradebook(place: Path, graded: Sequence[GradeReport], draw: random.Random) -> None:
    """nbgrader's gradebook with the automatic scores of the reports, most manual marks, names, times and penalties."""
    with Gradebook(open_course(place).db_url) as gradebook:
        gradebook.add_assignment(ASSIGNMENT, duedate=DUE)
        cells = {**graded[0].cells, MANUAL[0]: {**graded[0].cells[MANUAL[0]], MANUAL[1]: MANUAL[2]}}
        for notebook, points in cells.items():
            gradebook.add_notebook(notebook, ASSIGNMENT)
            for cell, maximum in points.items():
                gradebook.add_grade_cell(cell, notebook, ASSIGNMENT, max_score=maximum, cell_type="code")
        with gradebook.db.no_autoflush:  # else SQLAlchemy warns of each submission that nbgrader puts together
            for number, report in enumerate(graded):
                _enter(gradebook, number, report, draw)
        gradebook.db.commit()


def _enter(gradebook: Gradebook, number: int, report: GradeReport, draw: random.Random) -> None:
    first, last = FIRST[number % len(FIRST)], LAST[number * 5 % len(LAST)]
    if not report.student.startswith("student-"):
        first = last = TRICKS[int(report.student.rpartition(" ")[2])]
    email = f"{report.student}@example.edu"
    gradebook.add_student(report.student, first_name=first, last_name=last, email=email, lms_user_id=str(4000 + number))
    is_late = draw.random() < 0.12
    moment = DUE + timedelta(hours=draw.uniform(1, 40)) if is_late else DUE - timedelta(hours=draw.uniform(1, 200))
    submission = gradebook.add_submission(ASSIGNMENT, report.student, timestamp=moment.isoformat(sep=" "))
    if is_late and draw.random() < 0.3:
        submission.extension = timedelta(days=2)
    scores = {(score.notebook, score.cell): score for score in report.cell_scores()}
    for notebook in submission.notebooks:
        for grade in notebook.grades:
            score = scores.get((notebook.name, grade.cell.name))
            if score is not None:
                grade.auto_score, grade.needs_manual_grade = score.earned, score.needs_person
            elif draw.random() < 0.85:
                grade.manual_score, grade.needs_manual_grade = float(draw.choice([2, 3, 3.5, 4, 4.5, 5])), False
            else:
                grade.needs_manual_grade = True


@click.command()
@click.argument("place", type=click.Path(path_type=Path), required=False)
@click.option("--size", default=60, show_default=True, help="Submissions.")
@click.option("--seed", default=1, show_default=True)
@click.option("--hostile", is_flag=True, help="And some whose names and messages attack the pages.")
@click.option("--files", is_flag=True, help="And the files that were handed in.")
@click.option("--refresh-seeds", "refresh", is_flag=True, help="Grade the samples again, for the seeds.")
def main(place: Path | None, size: int, seed: int, hostile: bool, files: bool, refresh: bool) -> None:
    """Make a course folder with a class of made-up submissions."""
    if refresh:
        refresh_seeds()
    if place is not None:
        click.echo(make_class(place, size, seed, hostile=hostile, with_files=files))


if __name__ == "__main__":
    main()
