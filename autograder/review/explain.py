"""One verdict derived again from kept evidence, for the staff: what a check says, and what it looked at.

No student code runs and nothing is recorded. Of the hidden graders that check alone runs, with those that it requires.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.core.config import Exercise
from autograder.core.errors import AutograderError
from autograder.core.grade_report import CheckResult, GradeReport, NotebookRun, Status
from autograder.core.text import did_you_mean
from autograder.core.wording import remedy, status_words
from autograder.handin.answers import answers_of
from autograder.handin.submission import Submission
from autograder.judging.evidence import Evidence, decode_evidence
from autograder.judging.problems import Problem
from autograder.pipeline.grade import grade_run, read_folder
from autograder.pipeline.grader import Grader
from autograder.pipeline.jail_run import CachedRun, JailRun, kept_run, recall
from autograder.pipeline.judge import GradingProcess
from autograder.pipeline.judgement import CollectedRun
from autograder.pipeline.plan import Plan
from autograder.review.check_source import CheckPlace, check_place, words_of_check
from autograder.review.evidence_lines import EvidenceQuery, Piece, pieces
from autograder.review.whatif import why_not_kept

AROUND = 2  # lines of code shown before and after the one that a message speaks of


class UnknownCheck(ValueError):
    """No check, or more than one, goes by a name; the message has those that come near."""


class NotKept(AutograderError):
    """There is nothing from which a verdict could be derived again; the message says why, and what would help."""


@dataclass(frozen=True)
class Explanation:
    """A check as it was recorded and as it comes out now, with the evidence it looked at.

    `code` are the student's lines around the one that the message speaks of, by number. `place` is where the check
    itself stands. `is_outdated`: the engine, the graders or the configuration have changed since it was recorded.
    """

    recorded: CheckResult
    found: CheckResult
    place: CheckPlace
    run: NotebookRun | None
    code: Mapping[int, str]
    evidence: Sequence[Piece]
    is_outdated: bool

    @property
    def differences(self) -> list[str]:
        """What is other than recorded, in words; empty where the verdict is the same."""
        return differences(self.recorded, self.found)


def find_check(checks: Sequence[CheckResult], wanted: str) -> CheckResult:
    """The check with that name (`test_total` or `01_sums/test_total`), or with a part of it or of its title.

    Raises UnknownCheck.
    """
    for fits in (_is_called, _has_part):
        found = [check for check in checks if fits(check, wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(name_of(check) for check in found[:6]) + (", …" if len(found) > 6 else "")
            raise UnknownCheck(f"{wanted!r} fits {len(found)} checks: {names}; name one of them")
    known = [text for check in checks for text in (name_of(check), check.name, check.title)]
    raise UnknownCheck(f"no check {wanted!r} (--list shows them all)" + did_you_mean(wanted, known))


def name_of(check: CheckResult) -> str:
    """The name of a check that no other one has."""
    return f"{check.notebook}/{check.name}"


def _is_called(check: CheckResult, wanted: str) -> bool:
    return wanted in (name_of(check), check.name)


def _has_part(check: CheckResult, wanted: str) -> bool:
    part = wanted.casefold()
    return bool(part) and (part in name_of(check).casefold() or part in check.title.casefold())


def explain(
    grader: Grader, folder: Path, recorded: GradeReport, check: CheckResult, *, secret: bool = False
) -> Explanation:
    """Derive a recorded verdict again. `secret` puts the inputs drawn for this course into the evidence.

    Raises NotKept, and UnknownCheck for one that the hidden graders do not have any more.
    """
    if recorded.is_internal:
        raise NotKept("no marks are recorded, through the grader's own fault: grade it again")
    exercise = grader.assignment.exercise(check.notebook)
    if exercise is None:
        raise UnknownCheck(f"{check.notebook} is not graded any more: grade the class again")
    path = Path(grader.assignment.graders) / exercise.grader
    place, words = check_place(path, check.name), words_of_check(path, check.name)
    if place is None:
        raise UnknownCheck(f"{exercise.grader} has no {check.name} any more: grade the class again")
    with tempfile.TemporaryDirectory(prefix="autograder-explain-") as scratch:
        work = Path(scratch)
        submission, plan, _ = read_folder(grader, recorded.student, folder, work)
        _expect_same(grader, recorded, check.notebook, submission)
        run = _kept(grader, exercise, recorded, plan)
        report = _grade(_narrowed(grader, exercise), submission, plan, run, work, check.name)
        found = next((c for c in report.checks if c.name == check.name), None)
        if found is None or found.status is Status.INTERNAL:
            raise NotKept(" ".join(report.checks[0].message.split()) if report.checks else "the check gave no result")
        ran = run.notebooks.get(check.notebook)
        seen = EvidenceQuery(
            exercise, words, _evidence(plan, run, exercise), submission.files, run.checkpoint, report, secret
        )
        return Explanation(
            recorded=check,
            found=found,
            place=place,
            run=ran,
            code=_code(found, submission),
            evidence=pieces(seen),
            is_outdated=recorded.engine != grader.engine_name,
        )


def _expect_same(grader: Grader, recorded: GradeReport, notebook: str, submission: Submission) -> None:
    """Raises NotKept where other answers were handed in since the report was made."""
    now = answers_of(submission, grader.release, grader.assignment).get(notebook, {})
    graded = recorded.answers.get(notebook, {})
    if any(graded.get(cell, "") != now.get(cell) for cell in recorded.cells.get(notebook, {})):
        raise NotKept("it was handed in again since it was graded: grade it first")


def _kept(grader: Grader, exercise: Exercise, recorded: GradeReport, plan: Plan) -> JailRun:
    """What the exercise's run has left. Raises NotKept."""
    kept = recall(plan, grader.cache)
    missing = [notebook["name"] for notebook in kept.waiting if notebook["name"] == exercise.notebook]
    missing += ["the checkpoint"] * (exercise.checkpoint is not None and kept.converts)
    if missing:
        raise NotKept("; ".join(f"{name}: {why_not_kept(name, recorded)}" for name in missing))
    return kept_run(plan, _only(kept, exercise.notebook), grader.course.limits)


def _only(kept: CachedRun, notebook: str) -> CachedRun:
    return replace(kept, frames={name: frames for name, frames in kept.frames.items() if name == notebook})


def _narrowed(grader: Grader, exercise: Exercise) -> Grader:
    """The grader of one exercise."""
    assignments = {
        **grader.course.assignments,
        grader.assignment_name: replace(grader.assignment, exercises=[exercise]),
    }
    return replace(grader, course=replace(grader.course, assignments=assignments))


def _grade(grader: Grader, submission: Submission, plan: Plan, run: JailRun, work: Path, check: str) -> GradeReport:
    with GradingProcess(grader.setup, work, grader.course.limits.grader_seconds) as process:
        return grade_run(grader, process, CollectedRun(submission, plan, run), work, only=check)


def _evidence(plan: Plan, run: JailRun, exercise: Exercise) -> Evidence:
    name = exercise.notebook
    fallback = Problem(Status.FAILED, "no evidence arrived")
    return decode_evidence(plan.probes.get(name, []), run.frames.get(name, ()), fallback, in_words=True)


def _code(check: CheckResult, submission: Submission) -> dict[int, str]:
    """The lines around the one that a check's message speaks of."""
    cells = submission.notebooks.get(check.notebook, {}).get("cells", [])
    if not check.line or check.source_cell >= len(cells):
        return {}
    lines = str(cells[check.source_cell]["source"]).splitlines()
    first, last = max(check.line - AROUND, 1), min(check.line + AROUND, len(lines))
    return {number: lines[number - 1] for number in range(first, last + 1)}


def differences(recorded: CheckResult, found: CheckResult) -> list[str]:
    """What two results of one check do not share, in words: result, points, and what a student reads."""
    pairs = [
        ("result", status_words(recorded.status), status_words(found.status)),
        ("points", f"{recorded.earned:g} of {recorded.points:g}", f"{found.earned:g} of {found.points:g}"),
        ("title", recorded.title, found.title),
        ("message", recorded.message, found.message),
        ("hint", remedy(recorded), remedy(found)),
        ("line", _line(recorded), _line(found)),
    ]
    return [f"{name}: {old or 'none'} → {new or 'none'}" for name, old, new in pairs if old != new]


def _line(check: CheckResult) -> str:
    return f"{check.line} of {check.place}" if check.line else ""
