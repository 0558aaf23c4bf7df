"""A submission in, a GradeReport out: the whole way, from the folder that was handed in to the points.

files → stage → plan → JAIL → frames → evidence → hidden graders (a process of their own) → GradeReport
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autograder import __version__
from autograder.core.config import Exercise
from autograder.core.files import Submitted, digest_of
from autograder.core.grade_report import (
    FIGURES,
    CellRun,
    CheckResult,
    Flag,
    GradeReport,
    NotebookRun,
    Status,
    figures_from,
)
from autograder.core.scratch import scratch_folder
from autograder.core.text import clean_text
from autograder.handin.answers import answer_cells, answers_of
from autograder.handin.hidden_data import notebook_flags
from autograder.handin.other_files import with_other_files
from autograder.handin.submission import (
    Reading,
    Submission,
    grade_id_of,
    look_into,
    read_in_place,
    read_submission,
)
from autograder.jail import SandboxFault, encode_frames
from autograder.judging.evidence import Problem
from autograder.judging.hidden_tests import from_records, internal_results, own_fault
from autograder.judging.job import NotebookWork, Work, wants_gpu
from autograder.judging.proof import describe_graders
from autograder.pipeline.grader import Grader
from autograder.pipeline.jail_run import FLEETING, JailRun, run_plan
from autograder.pipeline.judge import GradingFault, GradingProcess, JudgingEnded
from autograder.pipeline.plan import Plan, checkpoint_file, checkpoint_names, make_plan
from autograder.pipeline.shown_outputs import bound_outputs

MOST_CODE = 160  # characters of a student's line in a message
ENDED_ITSELF = "ended itself"  # the launcher's words for a process that left by an exit status


def grade_submission(grader: Grader, student: str, folder: Path, notes: Sequence[str] = ()) -> GradeReport:
    """Grade one submission: the report holds a result for every check, whatever the submission does.

    `notes` are what is known about the folder already, and stand first in the report. A fault of the grader's own
    becomes INTERNAL results; then no score may be recorded.
    """
    began = time.monotonic()
    with scratch_folder() as work:
        submission, plan, key = read_folder(grader, student, folder, work)
        report = grader.cache.load_report(key)
        if report is None:
            report = _grade_fresh(grader, submission, plan, work)
            if is_settled(report):
                grader.cache.save_report(key, report)
    seconds = round(time.monotonic() - began, 2)
    notes = [*notes, *submission.notes, *report.notes]
    # Cells that do not run are no part of the key under which a report is kept.
    flags = [*notebook_flags(submission.notebooks), *report.flags]
    answers = answers_of(submission, grader.release, grader.assignment)
    key = digest_of(key, submission.content)
    report = replace(report, student=student, notes=notes, seconds=seconds, key=key, answers=answers, flags=flags)
    report = with_other_files(report, submission.files, checkpoint_names(grader.assignment))
    return replace(report, sources=answer_cells(submission, grader.release))


def submission_key(grader: Grader, folder: Path) -> str:
    """The `key` that a report of this folder would have now; nothing is run for it."""
    submission, _, key = read_folder(grader, "", folder)
    return digest_of(key, submission.content)


def look(grader: Grader, folder: Path) -> Reading:
    """What a submission holds; remembered while neither it nor the release changes."""
    return look_into(folder, grader.release, grader.course.limits, **_beside(grader))


def _beside(grader: Grader) -> dict[str, Any]:
    return {"overlay": grader.overlay, "weights": checkpoint_names(grader.assignment)}


def read_folder(grader: Grader, student: str, folder: Path, work: Path | None = None) -> tuple[Submission, Plan, str]:
    """A submission, the plan of its run, and the key of its checks' results; staged in `work` where it is to be run."""
    release, limits = grader.release, grader.course.limits
    if work is None:
        submission = read_in_place(student, folder, release, limits, **_beside(grader))
    else:
        submission = read_submission(student, folder, work / "files", release, limits, **_beside(grader))
    plan = make_plan(grader.assignment, submission, limits, grader.secret, grader.name)
    reasons = [f"{name}: {reason}" for name, reason in submission.unreadable.items()]  # checks repeat them
    return submission, plan, digest_of(grader.engine, plan.digest, submission.visible, *reasons)


def is_settled(report: GradeReport) -> bool:
    """Whether a second run would give the same: a busy machine can cause a time-out, and a fault can be mended."""
    fleeting = {Status.INTERNAL, *FLEETING}
    ends = {check.status for check in report.checks} | {run.status for run in report.notebooks}
    ends |= {cell.status for run in report.notebooks for cell in run.cells}
    return not ends & fleeting


def _grade_fresh(grader: Grader, submission: Submission, plan: Plan, work: Path) -> GradeReport:
    """Run the notebooks in the jail, and the hidden graders on what came out.

    What was killed has to be killed twice before it costs points: the first time it may have been the machine, for
    want of memory, or a person. Notebooks that ended well do not run again.
    """
    report = _grade_once(grader, submission, plan, work)
    return _grade_once(grader, submission, plan, work) if _was_killed(report) else report


def _was_killed(report: GradeReport) -> bool:
    """Whether a process died in a way that code of the student's need not have caused."""
    ends: list[CheckResult | NotebookRun | CellRun] = [*report.checks, *report.notebooks]
    ends += [cell for run in report.notebooks for cell in run.cells]
    return any(end.status is Status.CRASHED and ENDED_ITSELF not in end.message for end in ends)


def _grade_once(grader: Grader, submission: Submission, plan: Plan, work: Path) -> GradeReport:
    limits = grader.course.limits
    try:
        with GradingProcess(grader.setup, work, limits.grader_seconds) as process:
            process.start()  # its runner imports torch while the notebooks run
            jail = run_plan(plan, work / "files", limits, grader.isolation, grader.cache)
            return grade_run(grader, process, submission, plan, jail, work)
    except (SandboxFault, GradingFault) as fault:
        return _report(grader, submission, JailRun({}, {}), *_faulty(grader, fault))


def grade_run(
    grader: Grader,
    process: GradingProcess,
    submission: Submission,
    plan: Plan,
    jail: JailRun,
    work: Path,
    only: str = "",
) -> GradeReport:
    """The report of a run: the hidden graders look at what left the jail. `work` holds what is handed over.

    With `only` one check runs, with those that it requires, and the grader's assignment has its exercise alone.
    """
    whole, found = replace(_work(grader, submission, plan, jail, work), only=only), Judgement()
    deadline = time.monotonic() + grader.course.limits.grader_seconds
    try:
        for exercise in grader.assignment.exercises:
            own = replace(whole, notebooks={exercise.notebook: whole.notebooks[exercise.notebook]})
            found.add(judge_exercise(process, exercise, own, deadline))
    except GradingFault as fault:
        return _report(grader, submission, jail, *_faulty(grader, fault))
    checks = [_placed(check, submission) for check in found.checks]
    report = _report(grader, submission, jail, checks, list(dict.fromkeys(found.notes)), found.facts)
    return replace(report, flags=found.flags, **figures_from(found.figures))


@dataclass
class Judgement:
    """What the hidden graders say of a submission, exercise by exercise."""

    checks: list[CheckResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in FIGURES})

    def add(self, answer: Mapping[str, Any]) -> None:
        """Take in the answer of `autograder.judging.hidden_tests` to the work of one exercise."""
        self.checks += from_records(answer["checks"])
        self.notes += answer["notes"]
        self.flags += [Flag(**flag) for flag in answer["flags"]]
        self.facts |= answer["facts"]
        for name in FIGURES:
            self.figures[name] += answer[name]


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


LEAST_SECONDS = 5.0  # for an exercise, when the others have used up the time
LOOK_FIRST = "If others show this, too, look at the hidden grader first."


def _faulty(grader: Grader, fault: Exception) -> tuple[list[CheckResult], list[str]]:
    """The checks and notes of a submission that the grader itself failed on."""
    checks = [check for exercise in grader.assignment.exercises for check in internal_results(exercise, str(fault))]
    return checks, [own_fault(str(fault))]


def _report(
    grader: Grader,
    submission: Submission,
    jail: JailRun,
    checks: Sequence[CheckResult],
    notes: Sequence[str],
    facts: Mapping[str, str] | None = None,
) -> GradeReport:
    return GradeReport(
        student=submission.student,
        assignment=grader.name,
        checks=checks,
        notebooks=[bound_outputs(jail.notebooks[name]) for name in sorted(jail.notebooks)],
        cells={e.notebook: {cell: float(p) for cell, p in e.cells.items()} for e in grader.assignment.exercises},
        notes=[*jail.notes, *notes],
        facts={**_facts(grader, submission), **(facts or {})},
    )


def _placed(check: CheckResult, submission: Submission) -> CheckResult:
    """The check with its line's text, and the cell it belongs to in words: by its name, or else by number."""
    cells = submission.notebooks.get(check.notebook, {}).get("cells", [])
    if not check.line or check.source_cell >= len(cells) or cells[check.source_cell]["cell_type"] != "code":
        return check
    name = grade_id_of(cells[check.source_cell])
    number = sum(cell["cell_type"] == "code" for cell in cells[: check.source_cell + 1])
    lines = cells[check.source_cell]["source"].splitlines()
    code = clean_text(lines[check.line - 1].strip())[:MOST_CODE] if check.line <= len(lines) else ""
    return replace(check, place=f"the cell {name}" if name else f"code cell {number}", code=code)


def _work(grader: Grader, submission: Submission, plan: Plan, jail: JailRun, folder: Path) -> Work:
    """Write each notebook's frames to a file and describe everything the hidden graders may look at."""
    notebooks = {}
    for exercise in grader.assignment.exercises:
        name = exercise.notebook
        frames, run = jail.frames.get(name), jail.notebooks.get(name)
        path = folder / f"{name}.frames" if frames is not None else None
        if path is not None and frames is not None:
            path.write_bytes(encode_frames(frames))
        missing = submission.unreadable.get(name, "")
        status = Status.FAILED if missing or run is None or run.status is Status.PASSED else run.status
        message = missing or (run.message if run else "the notebook was not run") or "no evidence arrived"
        notebooks[name] = NotebookWork(plan.probes.get(name, []), path, Problem(status, message))
    files = {name: Submitted(file.path, file.sha256, file.size) for name, file in submission.files.items()}
    converted = jail.checkpoint
    if isinstance(converted, bytes):
        (folder / "converted.safetensors").write_bytes(converted)
        return Work(notebooks, files, folder / "converted.safetensors")
    return Work(notebooks, files, converted)


def _facts(grader: Grader, submission: Submission) -> dict[str, str]:
    checkpoint = checkpoint_file(grader.assignment, submission)
    facts = {
        "engine": __version__,
        "isolation": grader.isolation.describe(),
        "data": grader.data_identity,
        "configuration": grader.engine[:12],
        "graders": describe_graders(Path(grader.assignment.graders)),
    }
    if wants_gpu(grader.course.device):
        facts["gpu"] = "the NVIDIA devices were bound into the runner's jail (never into the notebooks')"
    if checkpoint is not None:
        facts["checkpoint"] = f"{checkpoint.name}, {checkpoint.size:,} bytes, sha256 {checkpoint.sha256}"
    return facts
