"""What would change: kept evidence graded with changed thresholds, hints or checks, next to the recorded marks.

No student code runs, and nothing is recorded: gradebook and reports stay as they are. What a student's notebooks left
when they were graded is kept by content; the hidden graders look at it again, all in one process, whose runner is
shared by the submissions (when marks are recorded, each has its own).
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autograder.core.config import Exercise
from autograder.core.config_changes import Changes, load_changed
from autograder.core.config_values import ConfigError
from autograder.core.files import write_atomically
from autograder.core.grade_report import GradeReport, Status
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.rows import Marks
from autograder.core.text import csv_cell, did_you_mean
from autograder.core.wording import status_words
from autograder.course.compare import Change, Comparison, compare
from autograder.handin.answers import answers_of
from autograder.handin.submission import read_released, test_cells
from autograder.pipeline.cache import Cache
from autograder.pipeline.grade import grade_run, read_folder
from autograder.pipeline.grader import Grader
from autograder.pipeline.jail_run import FLEETING, kept_run, recall
from autograder.pipeline.judge import GradingProcess
from autograder.pipeline.judgement import CollectedRun
from autograder.pipeline.plan import plan_probes
from autograder.pipeline.report import is_settled


def open_changed(grader: Grader, changes: Changes) -> Grader:
    """The grader with changes. Points may differ from the release; cells may not. Raises ConfigError."""
    course = load_changed(grader.root, grader.assignment_name, changes)
    own = grader.course
    course = replace(course, isolation=own.isolation, device=own.device, data=own.data)
    changed = replace(grader, course=course, changes=changes)
    for exercise in changed.assignment.exercises:
        _check_cells(exercise, grader.release)
    return changed


def _check_cells(exercise: Exercise, release: Path) -> None:
    path = release / f"{exercise.notebook}.ipynb"
    if not path.is_file():
        known = sorted(p.stem for p in release.glob("*.ipynb"))
        hint = did_you_mean(exercise.notebook, known)
        raise ConfigError(f"the changed configuration grades {exercise.notebook!r}, the release has {known}{hint}")
    found = sorted(test_cells(read_released(path)))
    if sorted(exercise.cells) != found:
        raise ConfigError(f"{exercise.notebook}: the release's test cells are {found}, not {sorted(exercise.cells)}")


def compare_all(
    grader: Grader,
    changed: Grader,
    submissions: Mapping[str, Path],
    recorded: Sequence[GradeReport],
    marks: Marks,
    on_start: Callable[[str], None] = lambda student: None,
) -> list[Comparison]:
    """Grade every student's kept evidence as `changed` says, and compare it with the recorded report."""
    reports = {report.student: report for report in recorded}
    students = sorted({*reports, *submissions})
    other = other_runs(grader, changed)
    comparisons = []
    with (
        tempfile.TemporaryDirectory(prefix="autograder-whatif-") as scratch,
        GradingProcess(changed.setup, Path(scratch), changed.course.limits.grader_seconds) as process,
    ):
        for student in students:
            on_start(student)
            report, folder = reports.get(student), submissions.get(student)
            try:
                if report is None or report.is_internal:
                    raise NotComparable("no marks are recorded: grade it first")
                if folder is None:
                    raise NotComparable("there is no submission any more")
                found = _grade_kept(grader, changed, process, folder, report, other)
            except NotComparable as reason:
                comparisons.append(Comparison(student, problem=str(reason)))
                continue
            outdated = report.engine != grader.engine_name
            comparisons.append(replace(compare(report, found, marks.get(student, ())), is_outdated=outdated))
    return comparisons


class NotComparable(Exception):
    """There is nothing to compare for a student; the message says why, and what would help."""


def _grade_kept(
    grader: Grader,
    changed: Grader,
    process: GradingProcess,
    folder: Path,
    recorded: GradeReport,
    other: Mapping[str, str],
) -> GradeReport:
    """The report that the changes would give. Raises NotComparable."""
    with tempfile.TemporaryDirectory(prefix="autograder-whatif-") as scratch:
        work = Path(scratch)
        try:
            submission, plan, key = read_folder(changed, recorded.student, folder, work)
        except OSError as error:
            if stops_a_run(error):
                raise
            raise NotComparable(f"what was handed in cannot be read: {reason_of(error)}") from error
        if not _same_answers(recorded, answers_of(submission, grader.release, grader.assignment)):
            raise NotComparable("handed in again since it was graded: grade it first")
        results = Cache(changed.root / ".autograder" / "whatif")
        known = results.load_report(key) or changed.cache.load_report(key)
        if known is not None:
            return known
        kept = recall(plan, changed.cache)
        if kept.missing:
            raise NotComparable(_why_missing(kept.missing, recorded, other))
        run = CollectedRun(submission, plan, kept_run(plan, kept, changed.course.limits))
        report = grade_run(changed, process, run, work)
    if report.is_internal:
        faults = [check.message for check in report.checks if check.status is Status.INTERNAL]
        raise NotComparable(" ".join(faults[0].split()))
    if is_settled(report):
        results.save_report(key, report)
    return report


def _same_answers(recorded: GradeReport, answers: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether what decides automatic marks was handed in like this when the recorded report was made."""
    cells = [(notebook, cell) for notebook, points in recorded.cells.items() for cell in points]
    return all(recorded.answers.get(n, {}).get(c, "") == answers.get(n, {}).get(c) for n, c in cells)


def _why_missing(names: Sequence[str], recorded: GradeReport, other: Mapping[str, str]) -> str:
    reasons: dict[str, list[str]] = {}
    for name in names:
        reasons.setdefault(other.get(name) or why_not_kept(name, recorded), []).append(name)
    return "; ".join(f"{', '.join(own)}: {reason}" for reason, own in reasons.items())


def why_not_kept(name: str, recorded: GradeReport) -> str:
    """Why there is no evidence of a notebook, or of the checkpoint, and what would help."""
    run = next((run for run in recorded.notebooks if run.notebook == name), None)
    ends = [run.status, *(cell.status for cell in run.cells)] if run else []
    ends += [check.status for check in recorded.checks if check.notebook == name]
    unsettled = next((status_words(status) for status in ends if status in FLEETING), "")
    if unsettled:
        return f"the run ended in {unsettled}, which is not kept and may end otherwise: it would have to run again"
    return "no evidence is kept that this engine can use: grade it first"


def other_runs(grader: Grader, changed: Grader) -> dict[str, str]:
    """The exercises that would leave other evidence after the changes, and why."""
    found = {}
    for exercise in changed.assignment.exercises:
        own = grader.assignment.exercise(exercise.notebook)
        if own is None:
            found[exercise.notebook] = "not graded so far: it would have to run"
        elif _run_of(grader, own) != _run_of(changed, exercise):
            names = ("other probes", "other skipped cells", "other limits")
            pairs = zip(names, _run_of(grader, own), _run_of(changed, exercise), strict=True)
            asked = " and ".join(name for name, old, new in pairs if old != new)
            found[exercise.notebook] = f"the changes ask for {asked}: it would have to run again"
    return found


def _run_of(grader: Grader, exercise: Exercise) -> tuple[Any, ...]:
    limits = grader.course.limits
    timing = (limits.cell_seconds, limits.notebook_seconds, limits.probe_seconds, limits.output_kib)
    return list(plan_probes(exercise, grader.secret, grader.assignment_name)), list(exercise.skip_cells), timing


@dataclass(frozen=True)
class ComparisonSummary:
    """All comparisons in numbers; means are of points. `crossings` has (boundary, how many up, how many down)."""

    compared: int
    gain: int
    lose: int
    unchanged: int
    crossings: Sequence[tuple[float, int, int]]
    mean_before: float
    mean_after: float
    other_message: int


def summarise_comparisons(comparisons: Sequence[Comparison], boundaries: Sequence[float]) -> ComparisonSummary:
    """Count over the students that could be compared."""
    known = [c for c in comparisons if not c.problem]
    crossed = [c.crossed(boundaries) for c in known]
    return ComparisonSummary(
        compared=len(known),
        gain=sum(c.difference > 0 for c in known),
        lose=sum(c.difference < 0 for c in known),
        unchanged=sum(c.difference == 0 for c in known),
        crossings=[(b, sum(b in up for up, _ in crossed), sum(b in down for _, down in crossed)) for b in boundaries],
        mean_before=round(fmean([c.before.earned or 0 for c in known if c.before] or [0]), 2),
        mean_after=round(fmean([c.after.earned or 0 for c in known if c.after] or [0]), 2),
        other_message=sum(bool(c.messages) for c in known),
    )


def message_pairs(comparisons: Sequence[Comparison]) -> dict[tuple[str, str, str], list[str]]:
    """The students of each (notebook, text before, text after) where the words of a check differ."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for comparison in comparisons:
        for change in (change for change in comparison.changes if change.reads[0] != change.reads[1]):
            found.setdefault((change.notebook, *change.reads), []).append(comparison.student)
    return found


def write_json(path: Path, changes: Changes, comparisons: Sequence[Comparison], boundaries: Sequence[float]) -> None:
    """Everything that was found, for other programs."""
    students = [_record(comparison, boundaries) for comparison in comparisons]
    settings = {notebook: dict(values) for notebook, values in changes.settings.items()}
    asked = {**changes.record(), "settings": settings}
    record = {"changes": asked, "boundaries": list(boundaries), "students": students}
    _write(path, json.dumps({**record, "summary": asdict(summarise_comparisons(comparisons, boundaries))}, indent=1))


def _record(comparison: Comparison, boundaries: Sequence[float]) -> dict[str, Any]:
    up, down = comparison.crossed(boundaries)
    return {
        "student": comparison.student,
        "before": asdict(comparison.before) if comparison.before else None,
        "after": asdict(comparison.after) if comparison.after else None,
        "difference": comparison.difference if not comparison.problem else None,
        "crosses_up": up,
        "crosses_down": down,
        "checks": [_check_record(change) for change in comparison.changes],
        "marked_by_hand": list(comparison.overridden),
        "waits_for_a_manual_mark": comparison.is_waiting,
        "problem": comparison.problem,
    }


def _check_record(change: Change) -> dict[str, Any]:
    sides = {}
    for name, check, text in zip(("before", "after"), (change.before, change.after), change.reads, strict=True):
        values = {"status": check.status.value, "earned": check.earned, "points": check.points} if check else None
        sides[name] = {**values, "text": text} if values else None
    return {"notebook": change.notebook, "cell": change.cell, "title": change.title, "counts": change.counts, **sides}


def write_csv(path: Path, comparisons: Sequence[Comparison], boundaries: Sequence[float]) -> None:
    """One row for each student, for a spreadsheet: no text in it is taken for a formula."""
    text = io.StringIO()
    table = csv.writer(text)
    names = ["student", "before", "maximum_before", "after", "maximum_after", "difference", "crosses_up"]
    table.writerow([*names, "crosses_down", "changed_checks", "marked_by_hand", "problem"])
    for comparison in comparisons:
        up, down = (" ".join(f"{b:g}" for b in side) for side in comparison.crossed(boundaries))
        before, after = comparison.before, comparison.after
        numbers = (before.earned, before.maximum, after.earned, after.maximum) if before and after else ("",) * 4
        difference = "" if comparison.problem else comparison.difference
        words = ["; ".join(map(str, comparison.changed_checks)), "; ".join(comparison.overridden), comparison.problem]
        table.writerow([csv_cell(comparison.student), *numbers, difference, up, down, *map(csv_cell, words)])
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
    path.chmod(0o600)  # students' marks
