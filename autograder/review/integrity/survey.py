"""Everything that the integrity page shows, from what was handed in and what was kept when it was graded.

No student code runs. Submissions are read one after another and reduced to what comparisons need; then all pairs are
compared at once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.core.files import StagedFile
from autograder.core.grade_report import GradeReport, Status
from autograder.core.limited import WorkFailed
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.remarks import clipped
from autograder.core.rows import Currency
from autograder.core.scratch import scratch_folder
from autograder.core.text import clean_name
from autograder.course.currency import is_changed
from autograder.graphs.runner import Runner
from autograder.handin.notebook_file import Notebook, UnreadableNotebook, read_released
from autograder.handin.submission import CourseFiles, read_submission
from autograder.jail import encode_frames
from autograder.judging.checkpoint import Checkpoint, CheckpointProblem, read_checkpoint
from autograder.judging.job import Job, NotebookWork, Work
from autograder.judging.problems import Problem
from autograder.pipeline.cache import Cache
from autograder.pipeline.plan import checkpoint_names, make_plan
from autograder.review.integrity.answers import Public, answers_in, given_sources, public_of
from autograder.review.integrity.incidents import signs_of
from autograder.review.integrity.memorised import HoldOut, RecallOutcome, run_model
from autograder.review.integrity.pairs import Survey, compare_submissions
from autograder.review.integrity.signals import Findings
from autograder.review.integrity.staged import StagedSubmission, SurveySetup
from autograder.review.integrity.weights import Weights, reduce_weights

MOST_TOLD = 160


@dataclass(frozen=True)
class Models:
    """What is needed to run models: the grader with its test set, and perhaps a hold-out."""

    job: Job
    hold_out: HoldOut | None = None


def survey(
    ground: SurveySetup,
    submissions: Mapping[str, Path],
    reports: Sequence[GradeReport],
    *,
    models: Models | None = None,
    groups: Mapping[str, str] | None = None,
    on_start: Callable[[str], None] = lambda student: None,
) -> Findings:
    """Look at every submission, and compare all of them. `groups` maps students to those they handed in with, who are
    no pair."""
    done = Survey(ground, _public(ground))
    held = {report.student: report for report in reports}
    with ExitStack() as stack:
        runner = stack.enter_context(_runner(models)) if models is not None else None
        for student, folder in submissions.items():
            on_start(student)
            try:
                with scratch_folder() as work:
                    handed = _stage(ground, student, folder, work)
                    _look_at(done, handed, held.get(student), models, runner, work)
                if is_changed(held.get(student), folder):
                    done.problems.append(
                        (student, f"{Currency.CHANGED.value}: its notes, flags and runs are of before")
                    )
            except (OSError, WorkFailed) as error:
                if stops_a_run(error):
                    raise
                done.problems.append((student, f"was not looked at: {reason_of(error)}"))
    _read_shipped(done)
    on_start("")
    return compare_submissions(done, groups or {})


def _runner(models: Models) -> Runner:
    return Runner(models.job.open_runner, device=models.job.course.device)


def _stage(ground: SurveySetup, student: str, folder: Path, work: Path) -> StagedSubmission:
    limits, weights = ground.course.limits, checkpoint_names(ground.assignment)
    submission = read_submission(
        student, folder, work / "files", ground.release, limits, CourseFiles(ground.overlay, weights)
    )
    plan = make_plan(ground.assignment, submission, limits, ground.secret, ground.name)
    cache = Cache(ground.root / ".autograder" / "cache")
    return StagedSubmission(student, submission, plan, cache, ground.with_weights)


def _look_at(
    done: Survey,
    handed: StagedSubmission,
    report: GradeReport | None,
    models: Models | None,
    runner: Runner | None,
    work: Path,
) -> None:
    ground, student, submission = done.ground, handed.student, handed.submission
    done.students.append(student)
    graded = {exercise.notebook for exercise in ground.assignment.exercises}
    done.answers += answers_in(student, {n: b for n, b in submission.notebooks.items() if n in graded}, done.public)
    own = CourseFiles(ground.overlay, checkpoint_names(ground.assignment)).sizes()
    if report is not None:
        done.signs += signs_of(report, [name for name in submission.files if name not in own])
    else:
        done.problems.append((student, "not graded yet: notes, flags and runs are not known"))
    if ground.with_weights is None:
        return
    try:
        checkpoint = handed.checkpoint
    except CheckpointProblem as problem:
        done.problems.append((student, clipped(f"no weights were compared: {problem}")))
        return
    done.weights.append(_reduced(handed, checkpoint))
    if models is not None and runner is not None:
        done.outcomes.append(_outcome(handed, checkpoint, models, runner, work))


def _reduced(handed: StagedSubmission, checkpoint: Checkpoint) -> Weights:
    file = handed.submission.files[checkpoint.name].sha256
    told = told_of(checkpoint.metadata)
    return reduce_weights(handed.student, checkpoint.label, file, checkpoint.tensors, handed.initial, told)


def told_of(metadata: Mapping[str, str]) -> str:
    """What a checkpoint says of its own training, in a few words; nobody has checked it."""
    try:
        history = json.loads(metadata.get("history", ""))
        epochs, seconds = len(history["train_loss"]), float(history["seconds"])
        words = f"{epochs} epochs, {seconds:.6f} s on {history['device']}, seed {history['seed']}"
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return ""
    return clean_name(words)[:MOST_TOLD] if math.isfinite(seconds) else ""


def _outcome(
    handed: StagedSubmission, checkpoint: Checkpoint, models: Models, runner: Runner, work: Path
) -> RecallOutcome:
    """How the handed-in weights do in the graph that is kept."""
    exercise = handed.exercise
    if exercise is None or not handed.frames:
        return RecallOutcome(handed.student, problem="no evidence is kept that this engine can use: grade it first")
    place = work / "kept.frames"
    place.write_bytes(encode_frames(handed.frames))
    fallback = Problem(Status.FAILED, "no evidence is kept")
    probes = handed.plan.probes[exercise.notebook]
    job = replace(
        models.job, work=Work({exercise.notebook: NotebookWork(probes, place, fallback)}, handed.submission.files)
    )
    try:
        return run_model(handed.student, job.graded(exercise, runner, [], []), checkpoint, models.hold_out)
    finally:
        runner.forget()


# What the course ships


def _public(ground: SurveySetup) -> Public:
    """The release's cells, and the modules beside the sources (the kit)."""
    notebooks = [read_released(path) for path in sorted(ground.release.glob("*.ipynb"))]
    modules = [path.read_text("utf-8", "replace") for path in sorted(ground.overlay.glob("*.py"))]
    return public_of(given_sources(notebooks, modules))


def _read_shipped(done: Survey) -> None:
    """The course's own solutions and checkpoints, as if they had been handed in."""
    ground = done.ground
    graded = {exercise.notebook for exercise in ground.assignment.exercises}
    notebooks: dict[str, Notebook] = {}
    for path in sorted((ground.solutions / ground.name).glob("*.ipynb")):
        try:
            if path.stem in graded:
                notebooks[path.stem] = read_released(path)
        except UnreadableNotebook as error:
            done.problems.append((f"solutions/{ground.name}/{path.name}", str(error)))
    if notebooks:
        owner = f"solutions/{ground.name}"
        done.course[owner] = None
        done.answers += answers_in(owner, notebooks, done.public)
    if ground.with_weights is None or ground.with_weights.checkpoint is None:
        return
    for path in sorted((ground.solutions / "checkpoints").rglob("*.safetensors")):
        owner = path.relative_to(ground.root).as_posix()
        shipped = _shipped_weights(owner, path, ground.with_weights.checkpoint.most_mib)
        if isinstance(shipped, Weights):
            done.course[owner] = None
            done.weights.append(shipped)
        else:
            done.problems.append((owner, shipped))


def _shipped_weights(owner: str, path: Path, most_mib: float) -> Weights | str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        held = read_checkpoint(
            path.stem, {path.name: StagedFile(path.name, path, digest, path.stat().st_size)}, None, most_mib
        )
    except CheckpointProblem as problem:
        return str(problem)
    return reduce_weights(owner, path.name, digest, held.tensors, told=told_of(held.metadata))
