"""What the hidden graders say of a run: each exercise's evidence is handed to their process, and the answers are put
together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autograder.core.config import Exercise
from autograder.core.grade_report import FIGURES, CheckResult, Flag, Status
from autograder.core.notes import Note
from autograder.handin.submission import Submission
from autograder.jail import encode_frames
from autograder.judging.hidden_tests import from_records
from autograder.judging.job import NotebookWork, Work
from autograder.judging.problems import Problem
from autograder.pipeline.grader import Grader
from autograder.pipeline.jail_run import JailRun
from autograder.pipeline.judge import GradingProcess, JudgingEnded
from autograder.pipeline.plan import Plan

LEAST_SECONDS = 5.0  # for an exercise, when the others have used up the time
LOOK_FIRST = "If others show this, too, look at the hidden grader first."


@dataclass(frozen=True)
class CollectedRun:
    """A submission, what was asked of it, and what its run left."""

    submission: Submission
    plan: Plan
    jail: JailRun


@dataclass
class Judgement:
    """What the hidden graders say of a submission, exercise by exercise."""

    checks: list[CheckResult] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in FIGURES})

    def add(self, notebook: str, answer: Mapping[str, Any]) -> None:
        """Take in the answer of the grading process to the work of one exercise."""
        self.checks += from_records(answer["checks"])
        self.notes += [Note(text, notebook=notebook) for text in answer["notes"]]
        self.flags += [Flag(**flag) for flag in answer["flags"]]
        self.facts |= answer["facts"]
        for name in FIGURES:
            self.figures[name] += answer[name]


def judge_run(grader: Grader, process: GradingProcess, run: CollectedRun, work: Path, only: str = "") -> Judgement:
    """What the hidden graders say of a run. `work` is a folder for what is handed over. Raises GradingFault.

    With `only` one check runs, with those that it requires, and the grader's assignment has its exercise alone.
    """
    whole, found = replace(_hand_over(grader, run, work), only=only), Judgement()
    deadline = time.monotonic() + grader.course.limits.grader_seconds
    for exercise in grader.assignment.exercises:
        own = replace(whole, notebooks={exercise.notebook: whole.notebooks[exercise.notebook]})
        found.add(exercise.notebook, judge_exercise(process, exercise, own, deadline))
    return found


def judge_exercise(process: GradingProcess, exercise: Exercise, work: Work, deadline: float) -> dict[str, Any]:
    """The answer to the work of one exercise. Raises GradingFault.

    Where judging what a student made takes too much, or ends the process, that check costs its points and the results
    before it stand. What ended for another reason than time is tried once more: it may have been the machine.
    """
    for attempt in (1, 2):
        try:
            return process.grade(work, max(deadline - time.monotonic(), LEAST_SECONDS))
        except JudgingEnded as ended:
            if attempt == 2 or ended.status is Status.TIMEOUT:
                return _ended_answer(exercise, ended)
    raise AssertionError("an attempt ends in an answer or raises")


def _ended_answer(exercise: Exercise, ended: JudgingEnded) -> dict[str, Any]:
    """The answer in place of the one that did not come, in its form."""
    progress = ended.progress
    checks = [dict(result) for result in progress.results]
    message = f"judging this {ended}"
    if progress.check is not None:
        checks.append({**progress.check, "status": ended.status.value, "message": message, "hint": ""})
    for cell, points in exercise.cells.items():
        left = points - sum(check["points"] for check in checks if check["cell"] == cell)
        if left > 0:
            title = "The checks that follow" if progress.results or progress.check else "The checks"
            rest = CheckResult(exercise.notebook, cell, "rest", title, left, 0.0, ended.status, message)
            checks.append(asdict(rest))
    text = f"The process that judges {exercise.notebook} {ended}, twice or for want of time. {LOOK_FIRST}"
    flag = Flag("not-judged", exercise.notebook, text)
    empty: dict[str, Any] = {name: [] for name in FIGURES}
    return {"checks": checks, "notes": [], "flags": [asdict(flag)], "facts": {}, **empty}


def _hand_over(grader: Grader, run: CollectedRun, folder: Path) -> Work:
    """Write each notebook's frames to a file and describe everything the hidden graders may look at."""
    submission, jail = run.submission, run.jail
    notebooks = {}
    for exercise in grader.assignment.exercises:
        name = exercise.notebook
        frames, end = jail.frames.get(name), jail.notebooks.get(name)
        path = folder / f"{name}.frames" if frames is not None else None
        if path is not None and frames is not None:
            path.write_bytes(encode_frames(frames))
        missing = submission.unreadable.get(name, "")
        status = Status.FAILED if missing or end is None or end.status is Status.PASSED else end.status
        message = missing or (end.message if end else "the notebook was not run") or "no evidence arrived"
        probes = run.plan.probes.get(name, [])
        notebooks[name] = NotebookWork(probes, path, Problem(status, message), run.plan.unanswered.get(name, []))
    converted = jail.checkpoint
    if isinstance(converted, bytes):
        (folder / "converted.safetensors").write_bytes(converted)
        return Work(notebooks, submission.files, folder / "converted.safetensors")
    return Work(notebooks, submission.files, converted)
