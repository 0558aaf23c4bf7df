"""A submission in, a GradeReport out.

folder ─ handin ─▶ Submission ─ plan ─▶ Plan ─ jail_run ─▶ JailRun ─ judgement ─▶ Judgement ─ report ─▶ GradeReport
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autograder.core.files import digest_of
from autograder.core.grade_report import GradeReport
from autograder.core.notes import Note
from autograder.core.scratch import scratch_folder
from autograder.handin.content import content_digest
from autograder.handin.submission import CourseFiles, Reading, Submission, look_into, read_in_place, read_submission
from autograder.jail import SandboxFault
from autograder.pipeline.grader import Grader
from autograder.pipeline.jail_run import run_plan
from autograder.pipeline.judge import GradingFault, GradingProcess
from autograder.pipeline.judgement import CollectedRun, Judgement, judge_run
from autograder.pipeline.ordinary import judge_cells, make_ordinary_plan, without_results
from autograder.pipeline.plan import Plan, checkpoint_names, graded_weights, make_plan
from autograder.pipeline.report import failed_report, is_settled, make_report, of_student


def grade_submission(grader: Grader, student: str, folder: Path, notes: Sequence[Note] = ()) -> GradeReport:
    """Grade one submission: the report holds a result for every check, whatever the submission does.

    `notes` are what is known about the folder already, and stand first in the report. A fault of the grader's own
    becomes INTERNAL results; then no score may be recorded.
    """
    began, content = time.monotonic(), content_digest(folder)
    with scratch_folder() as work:
        submission, plan, key = read_folder(grader, student, folder, work)
        report = grader.cache.load_report(key)
        if report is None:
            report = run_and_judge(grader, submission, plan, work)
            if is_settled(report):
                grader.cache.save_report(key, report)
    seconds = round(time.monotonic() - began, 2)
    report = of_student(grader, report, submission, notes)
    return replace(report, seconds=seconds, key=digest_of(key, submission.content_digest), content=content)


def read_folder(grader: Grader, student: str, folder: Path, work: Path | None = None) -> tuple[Submission, Plan, str]:
    """A submission, the plan of its run, and the key of its checks' results; staged in `work` where it is to be run."""
    release, limits = grader.release, grader.course.limits
    if work is None:
        submission = read_in_place(student, folder, release, limits, course_files(grader))
    else:
        submission = read_submission(student, folder, work / "files", release, limits, course_files(grader))
    plan = _plan(grader, submission)
    reasons = [f"{name}: {reason}" for name, reason in submission.unreadable.items()]  # checks repeat them
    return submission, plan, digest_of(grader.engine_digest, plan.digest, submission.jail_digest, *reasons)


def _plan(grader: Grader, submission: Submission) -> Plan:
    if grader.is_ordinary:
        return make_ordinary_plan(grader, submission)
    return make_plan(grader.assignment, submission, grader.course.limits, grader.secret, grader.assignment_name)


def run_and_judge(grader: Grader, submission: Submission, plan: Plan, work: Path) -> GradeReport:
    """Run the notebooks in the jail, and the hidden graders on what came out.

    What was killed has to be killed twice before it costs points: the first time it may have been the machine, for
    want of memory, or a person. Notebooks that ended well do not run again.
    """
    report, was_killed = attempt(grader, submission, plan, work)
    return attempt(grader, submission, plan, work)[0] if was_killed else report


def attempt(grader: Grader, submission: Submission, plan: Plan, work: Path) -> tuple[GradeReport, bool]:
    """Run and judge once. Also says whether a notebook's process was killed."""
    limits = grader.course.limits
    try:
        if grader.is_ordinary:
            return _attempt_ordinary(grader, submission, plan, work)
        with GradingProcess(grader.setup, work, limits.grader_seconds) as process:
            process.start()  # its runner imports torch while the notebooks run
            jail = run_plan(plan, work / "files", limits, grader.isolation, grader.cache)
            return grade_run(grader, process, CollectedRun(submission, plan, jail), work), jail.was_killed
    except (SandboxFault, GradingFault) as fault:
        return failed_report(grader, submission, fault), False


def _attempt_ordinary(grader: Grader, submission: Submission, plan: Plan, work: Path) -> tuple[GradeReport, bool]:
    """The same where the tests run with the notebooks: nobody else has to judge. Raises SandboxFault."""
    jail = run_plan(plan, work / "files", grader.course.limits, grader.isolation, grader.cache)
    found = Judgement(judge_cells(grader, submission, jail))
    return make_report(grader, CollectedRun(submission, plan, without_results(jail)), found), jail.was_killed


def grade_run(grader: Grader, process: GradingProcess, run: CollectedRun, work: Path, only: str = "") -> GradeReport:
    """The report of a run: the hidden graders look at what left the jail, with `only` at one check."""
    try:
        return make_report(grader, run, judge_run(grader, process, run, work, only))
    except GradingFault as fault:
        return failed_report(grader, run.submission, fault, run.jail)


def submission_key(grader: Grader, folder: Path) -> str:
    """The `key` that a report of this folder would have now; nothing is run for it."""
    submission, _, key = read_folder(grader, "", folder)
    return digest_of(key, submission.content_digest)


def look(grader: Grader, folder: Path) -> Reading:
    """What a submission holds; remembered while neither it nor the release changes."""
    return look_into(folder, grader.release, grader.course.limits, course_files(grader))


def weights_in(grader: Grader, folder: Path) -> dict[str, Path]:
    """The files of a submission that are graded as weights, by the names that such files are to have."""
    files = {file.shown: file for file in look(grader, folder).files.files}
    chosen = graded_weights(grader.assignment, files)
    return {weights.asked_for: folder / files[weights.name].name for weights in chosen}


def course_files(grader: Grader) -> CourseFiles:
    """The course's own files, which are laid over a submission, but for those that are the students' to make."""
    kept = grader.tests.kept if grader.tests is not None else ()
    return CourseFiles(grader.overlay, (*checkpoint_names(grader.assignment), *kept))
