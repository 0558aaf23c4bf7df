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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autograder.cache import Cache, write_atomically
from autograder.changes import Changes, load_changed
from autograder.config import ConfigError, Exercise, did_you_mean
from autograder.gradebook import Mark, Marks
from autograder.grading_process import GradingProcess
from autograder.machine_faults import reason_of, stops_a_run
from autograder.manual_marks import answers_of
from autograder.outputs import details
from autograder.overview import Points, status_words
from autograder.pipeline import Grader, grade_run, is_settled, read_folder
from autograder.plan import plan_probes
from autograder.printable import csv_cell
from autograder.results import CheckResult, GradeReport, Status
from autograder.run import FLEETING, kept_run, recall
from autograder.submission import read_released, test_cells

PASS_MARK = 50.0
TOLERANCE = 1e-9  # points are rounded to 0.1: only floating-point noise lies below


@dataclass(frozen=True)
class Change:
    """One check before and after; None where there is no such check. It does not count where a person's mark stands."""

    notebook: str
    cell: str
    before: CheckResult | None
    after: CheckResult | None
    counts: bool = True

    @property
    def title(self) -> str:
        check = self.after or self.before
        assert check is not None
        return check.title

    @property
    def moves(self) -> bool:
        """Whether result or points differ."""
        return _outcome(self.before) != _outcome(self.after)

    @property
    def reads(self) -> tuple[str, str]:
        """What the student reads, before and after."""
        return _reading(self.before), _reading(self.after)

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            check, words = (self.after, "new check") if self.after else (self.before, "no longer checked")
            assert check is not None
            return f"{self.title}: {words} ({status_words(check.status)}, {check.earned:g} of {check.points:g})"
        whole = self.before.points != self.after.points
        sides = []
        for check in (self.before, self.after):
            status = f"{status_words(check.status)} " if self.before.status is not self.after.status else ""
            sides.append(f"{status}{check.earned:g}" + (f" of {check.points:g}" if whole else ""))
        return f"{self.title}: {' → '.join(sides)}"


def _outcome(check: CheckResult | None) -> tuple[Status, float, float] | None:
    return (check.status, check.earned, check.points) if check else None


def _reading(check: CheckResult | None) -> str:
    return "\n".join([check.title, *details(check)]) if check else ""


@dataclass(frozen=True)
class Comparison:
    """One student: totals before and after (marks by hand included where the gradebook has them) and what changed.

    `problem` says why there is no comparison. `overridden` are the cells whose points would change if a person's mark
    did not stand for them, in words. `is_waiting` says that a mark by hand is still to come; it counts 0 so far.
    """

    student: str
    before: Points | None = None
    after: Points | None = None
    changes: Sequence[Change] = ()
    overridden: Sequence[str] = ()
    is_waiting: bool = False
    is_outdated: bool = False  # recorded by another state of engine, graders or configuration than the present one
    problem: str = ""

    @property
    def difference(self) -> float:
        if self.before is None or self.after is None:
            return 0.0
        return round((self.after.earned or 0) - (self.before.earned or 0), 1)

    @property
    def moves(self) -> list[Change]:
        """Checks with another result or other points."""
        return [change for change in self.changes if change.moves]

    @property
    def messages(self) -> list[Change]:
        """Checks of which only the words differ."""
        return [change for change in self.changes if not change.moves]

    def crossed(self, boundaries: Sequence[float]) -> tuple[list[float], list[float]]:
        """The boundaries, in percent of the maximum, that the total would rise to and fall below."""
        if self.before is None or self.after is None:
            return [], []
        reached = [(b, _reaches(self.before, b), _reaches(self.after, b)) for b in boundaries]
        return [b for b, old, new in reached if new and not old], [b for b, old, new in reached if old and not new]


def _reaches(total: Points, boundary: float) -> bool:
    return (total.earned or 0) * 100 >= boundary * total.maximum - TOLERANCE


def open_changed(grader: Grader, changes: Changes) -> Grader:
    """The grader with changes. Points may differ from the release; cells may not. Raises ConfigError."""
    course = load_changed(grader.root, grader.name, changes)
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
            outdated = report.facts.get("configuration") != grader.engine[:12]
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
        report = grade_run(changed, process, submission, plan, kept_run(plan, kept, changed.course.limits), work)
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
    return list(plan_probes(exercise, grader.secret, grader.name)), list(exercise.skip_cells), timing


def compare(before: GradeReport, after: GradeReport, marks: Sequence[Mark]) -> Comparison:
    """Two reports of one submission, with the gradebook's marks for it."""
    by_hand = {(mark.notebook, mark.cell): mark for mark in marks if mark.manual is not None}
    automatic = {(n, c) for report in (before, after) for n, cells in report.cells.items() for c in cells}
    waiting = any(m.needs_person and m.manual is None for m in marks if (m.notebook, m.cell) not in automatic)
    return Comparison(
        before.student,
        _total(before, marks, automatic),
        _total(after, marks, automatic),
        [replace(c, counts=(c.notebook, c.cell) not in by_hand) for c in _changes(before, after)],
        list(_overridden(before, after, by_hand)),
        waiting,
    )


def _changes(before: GradeReport, after: GradeReport) -> Iterator[Change]:
    old = {(c.notebook, c.name): c for c in before.checks}
    new = {(c.notebook, c.name): c for c in after.checks}
    for key in {**old, **new}:
        one, other = old.get(key), new.get(key)
        check = other or one
        assert check is not None
        change = Change(check.notebook, check.cell, one, other)
        if change.moves or change.reads[0] != change.reads[1]:
            yield change


def _total(report: GradeReport, marks: Sequence[Mark], automatic: set[tuple[str, str]]) -> Points:
    """All points: automatic ones as in the report unless a person's mark stands for the cell, extra credit included."""
    held = {(mark.notebook, mark.cell): mark for mark in marks}
    pairs = [(mark.score, mark.maximum) for key, mark in held.items() if key not in automatic]
    for score in report.cell_scores():
        mark = held.get((score.notebook, score.cell))
        earned = mark.manual if mark is not None and mark.manual is not None else score.earned
        extra = (mark.extra_credit or 0.0) if mark is not None else 0.0
        pairs.append((earned + extra, score.maximum))
    return Points(round(sum(pair[0] for pair in pairs), 1), round(sum(pair[1] for pair in pairs), 1))


def _overridden(before: GradeReport, after: GradeReport, by_hand: Mapping[tuple[str, str], Mark]) -> Iterator[str]:
    old = {(s.notebook, s.cell): s.earned for s in before.cell_scores()}
    for score in after.cell_scores():
        key = (score.notebook, score.cell)
        if key in by_hand and key in old and old[key] != score.earned:
            points = f"the checks {old[key]:g} → {score.earned:g}"
            yield f"{score.cell} is marked by hand ({by_hand[key].manual:g}), which stands: {points}"


@dataclass(frozen=True)
class Summary:
    """All comparisons in numbers; means are of points. `crossings` has (boundary, how many up, how many down)."""

    compared: int
    gain: int
    lose: int
    unchanged: int
    crossings: Sequence[tuple[float, int, int]]
    mean_before: float
    mean_after: float
    other_message: int


def summarise(comparisons: Sequence[Comparison], boundaries: Sequence[float]) -> Summary:
    """Count over the students that could be compared."""
    known = [c for c in comparisons if not c.problem]
    crossed = [c.crossed(boundaries) for c in known]
    return Summary(
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
    _write(path, json.dumps({**record, "summary": asdict(summarise(comparisons, boundaries))}, indent=1))


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
        words = ["; ".join(map(str, comparison.moves)), "; ".join(comparison.overridden), comparison.problem]
        table.writerow([csv_cell(comparison.student), *numbers, difference, up, down, *map(csv_cell, words)])
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
    path.chmod(0o600)  # students' marks
