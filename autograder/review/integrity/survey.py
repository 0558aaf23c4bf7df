"""Everything that the integrity page shows, from what was handed in and what was kept when it was graded.

No student code runs. Submissions are read one after another and reduced to what comparisons need; then all pairs are
compared at once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from autograder.core.config import Assignment, Course, Exercise
from autograder.core.files import Submitted
from autograder.core.grade_report import GradeReport, Status
from autograder.core.limited import WorkFailed
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.remarks import clipped
from autograder.core.scratch import scratch_folder
from autograder.core.text import clean_name
from autograder.graphs.runner import Runner
from autograder.graphs.tensor_file import BadTensors, load_arrays
from autograder.handin.notebook_file import Notebook, UnreadableNotebook, read_released
from autograder.handin.submission import Submission, own_files, read_submission
from autograder.jail import Frame, encode_frames
from autograder.judging.checkpoint import Checkpoint, CheckpointProblem, read_checkpoint
from autograder.judging.evidence import Build, Problem, decode_evidence
from autograder.judging.job import Job, NotebookWork, Work
from autograder.pipeline.cache import Cache
from autograder.pipeline.plan import Plan, checkpoint_names, make_plan
from autograder.pipeline.secret import read_secret
from autograder.review.integrity.answers import (
    NotebookAnswer,
    Public,
    answers_in,
    compare_place,
    given_sources,
    public_of,
)
from autograder.review.integrity.incidents import signs_of
from autograder.review.integrity.memorised import HOLD_OUT, HoldOut, RecallOutcome, judge_models, run_model
from autograder.review.integrity.signals import Findings, Pair, Sign, SignalEvidence, Spread, StudentComparisons
from autograder.review.integrity.weights import Array, Weights, alike_checkpoints, initial_share, reduce_weights

MOST_TOLD = 160
MOST_PAIRS = 200  # that are shown: a class that hands in one file has thousands


@dataclass(frozen=True)
class SurveySetup:
    """Where a course lies and how it grades one assignment: all that reading submissions needs."""

    root: Path
    course: Course
    name: str
    release: Path

    @property
    def assignment(self) -> Assignment:
        return self.course.assignment(self.name)

    @property
    def overlay(self) -> Path:
        return self.root / "source" / self.name

    @property
    def solutions(self) -> Path:
        return self.root / "solutions"

    @property
    def with_weights(self) -> Exercise | None:
        """The exercise whose weights are handed in."""
        return next((e for e in self.assignment.exercises if e.checkpoint is not None), None)

    @cached_property
    def secret(self) -> bytes:
        return read_secret(self.root)


@dataclass(frozen=True)
class StagedSubmission:
    """One submission while its files are staged: what was read of it and what is kept of its run."""

    student: str
    submission: Submission
    plan: Plan
    cache: Cache
    exercise: Exercise | None

    @property
    def files(self) -> dict[str, Submitted]:
        return {name: Submitted(f.path, f.sha256, f.size) for name, f in self.submission.files.items()}

    @cached_property
    def frames(self) -> list[Frame]:
        """What the notebook with the network left when it was graded."""
        key = self.plan.keys.get(self.exercise.notebook) if self.exercise else None
        return (self.cache.load_frames(key) if key else None) or []

    @cached_property
    def converted(self) -> bytes | Problem | None:
        """What the jail made of a `.pt` file when it was graded."""
        frames = self.cache.load_frames(self.plan.checkpoint_key) if self.plan.checkpoint else None
        if not frames:
            return (
                Problem(Status.FAILED, "nothing is kept of its conversion: grade it first")
                if self.plan.checkpoint
                else None
            )
        problem = frames[0].header.get("problem")
        return Problem(Status.FAILED, str(problem)) if problem is not None else frames[0].payload

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Raises CheckpointProblem."""
        probe = self.exercise.checkpoint if self.exercise else None
        if probe is None:
            raise CheckpointProblem("the assignment asks for no checkpoint")
        return read_checkpoint(probe.stem, self.files, self.converted, probe.most_mib)

    @property
    def initial(self) -> dict[str, Array] | None:
        """The untrained network's tensors by name: as the kit's default seed draws them, since an export is made with
        the same one. None where nothing is kept."""
        if self.exercise is None or self.exercise.checkpoint is None or not self.frames:
            return None
        probes = self.plan.probes[self.exercise.notebook]
        evidence = decode_evidence(probes, self.frames, Problem(Status.FAILED, "no evidence is kept"))
        builds = evidence.modules.get(self.exercise.checkpoint.module, [])
        return _tensors_of(builds[0]) if builds else None


def _tensors_of(build: Build) -> dict[str, Array] | None:
    graph = next((g for g in build.graphs.values() if not isinstance(g, Problem)), None)
    if build.problem is not None or graph is None:
        return None
    try:
        arrays = load_arrays(build.tensors)
    except BadTensors:
        return None
    return {t.name: arrays[t.key] for t in graph.tensors if t.kind != "constant" and t.key in arrays}


@dataclass
class Survey:
    """What has been read so far."""

    ground: SurveySetup
    public: Public
    students: list[str] = field(default_factory=list)
    answers: list[NotebookAnswer] = field(default_factory=list)
    weights: list[Weights] = field(default_factory=list)
    outcomes: list[RecallOutcome] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    course: dict[str, None] = field(default_factory=dict)  # what the course ships, as owners; in order


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
                    _look_at(done, student, folder, work, held.get(student), models, runner)
            except (OSError, WorkFailed) as error:
                if stops_a_run(error):
                    raise
                done.problems.append((student, f"was not looked at: {reason_of(error)}"))
    _read_shipped(done)
    on_start("")
    return compare_submissions(done, groups or {})


def _runner(models: Models) -> Runner:
    return Runner(models.job.open_runner, device=models.job.course.device)


def _look_at(
    done: Survey,
    student: str,
    folder: Path,
    work: Path,
    report: GradeReport | None,
    models: Models | None,
    runner: Runner | None,
) -> None:
    ground = done.ground
    weights = checkpoint_names(ground.assignment)
    limits = ground.course.limits
    submission = read_submission(
        student, folder, work / "files", ground.release, limits, overlay=ground.overlay, weights=weights
    )
    plan = make_plan(ground.assignment, submission, limits, ground.secret, ground.name)
    handed = StagedSubmission(
        student, submission, plan, Cache(ground.root / ".autograder" / "cache"), ground.with_weights
    )
    done.students.append(student)
    graded = {exercise.notebook for exercise in ground.assignment.exercises}
    done.answers += answers_in(student, {n: b for n, b in submission.notebooks.items() if n in graded}, done.public)
    own = own_files(ground.overlay, weights)
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
    done.weights.append(_reduced(student, handed, checkpoint))
    if models is not None and runner is not None:
        done.outcomes.append(_outcome(handed, checkpoint, models, runner, work))


def _reduced(student: str, handed: StagedSubmission, checkpoint: Checkpoint) -> Weights:
    file = handed.submission.files[checkpoint.name].sha256
    told = told_of(checkpoint.metadata)
    return reduce_weights(student, checkpoint.name, file, checkpoint.tensors, handed.initial, told)


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
    job = replace(models.job, work=Work({exercise.notebook: NotebookWork(probes, place, fallback)}, handed.files))
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
        held = read_checkpoint(path.stem, {path.name: Submitted(path, digest, path.stat().st_size)}, None, most_mib)
    except CheckpointProblem as problem:
        return str(problem)
    return reduce_weights(owner, path.name, digest, held.tensors, told=told_of(held.metadata))


# All pairs


def compare_submissions(done: Survey, groups: Mapping[str, str]) -> Findings:
    """Compare everything that was read."""
    evidence: dict[tuple[str, str], list[SignalEvidence]] = {}
    for (i, j), found in alike_checkpoints(done.weights).items():
        pair = done.weights[i].owner, done.weights[j].owner
        if _is_pair(pair, done.course, groups):
            evidence.setdefault(pair, []).extend(found)
    spreads: list[Spread] = []
    for answers in _by_place(done.answers):
        alike = compare_place(answers, done.course, groups)
        spreads.append(alike.spread)
        for pair, one in alike.evidence.items():
            place = pair if pair in evidence or pair[::-1] not in evidence else pair[::-1]
            evidence.setdefault(place, []).append(one)
    pairs = sorted((Pair(*names, found) for names, found in evidence.items()), key=lambda p: (-p.strength, p.one))
    copies = [pair for pair in pairs if _is_copy(pair, done.course)]
    of_course = {name: theirs for pair in copies for name, theirs in ((pair.one, pair.other), (pair.other, pair.one))}
    between = [pair for pair in pairs if not _is_copy(pair, done.course)]
    judged = judge_models(done.outcomes)
    return Findings(
        assignment=done.ground.name,
        students=sorted(done.students),
        checkpoints=sum(weights.owner not in done.course for weights in done.weights),
        pairs=[_noted(pair, of_course) for pair in between[:MOST_PAIRS]],
        copies=copies[:MOST_PAIRS],
        more=max(0, len(between) - MOST_PAIRS) + max(0, len(copies) - MOST_PAIRS),
        signs=[*_model_signs(judged), *_untrained(done.weights), *done.signs],
        models=judged,
        spreads=spreads,
        problems=done.problems,
    )


def _is_pair(pair: tuple[str, str], course: Mapping[str, None], groups: Mapping[str, str]) -> bool:
    if pair[0] in course and pair[1] in course:
        return False
    return groups.get(pair[0], pair[0]) != groups.get(pair[1], pair[1])


def _by_place(answers: Sequence[NotebookAnswer]) -> Iterator[list[NotebookAnswer]]:
    places: dict[tuple[str, str], list[NotebookAnswer]] = {}
    for answer in answers:
        places.setdefault((answer.notebook, answer.kind), []).append(answer)
    for key in sorted(places):
        yield places[key]


def _is_copy(pair: Pair, course: Mapping[str, None]) -> bool:
    return pair.one in course or pair.other in course


def _noted(pair: Pair, of_course: Mapping[str, str]) -> Pair:
    """A pair of which both are like one thing of the course's may both have copied that."""
    both = [of_course.get(name) for name in (pair.one, pair.other)]
    if both[0] is not None and both[0] == both[1]:
        return replace(pair, note=f"Both are also like {both[0]}: they may have it from there.")
    return pair


def _model_signs(judged: Sequence[StudentComparisons]) -> Iterator[Sign]:
    for model in judged:
        for found in model.comparisons:
            if found.stands_out:
                place = "a private hold-out" if found.what == HOLD_OUT else f"test images {found.what}"
                text = (
                    f"{found.correct / found.images:.1%} of {found.images:,} public test images, but "
                    f"{found.other_correct / found.other_images:.1%} of {found.other_images:,} from {place}: "
                    f"{found.drop * 100:.1f} points less (95 % interval {found.low * 100:.1f} to "
                    f"{found.high * 100:.1f}), where the class's median is {found.baseline * 100:.1f}: "
                    f"{found.deviations:.1f} standard errors beyond it."
                )
                yield Sign(model.student, "test-set", found.what, text)


def _untrained(weights: Sequence[Weights]) -> Iterator[Sign]:
    for own in weights:
        if own.is_untrained:
            text = f"{initial_share(own)} of the weights' variance is the initial values': nothing was trained."
            yield Sign(own.owner, "untrained", own.name, text)
