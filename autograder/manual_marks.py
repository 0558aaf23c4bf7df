"""Manual marks when a submission is graded again: which answer each was given for, and what becomes of older ones.

nbgrader keeps a manual mark when a student hands in again, and it counts. Here a mark belongs to the answer that a
person marked: it stands while that answer stays the same; for another answer it is an *older* mark, which still counts,
is shown, and waits for a person, until the instructor keeps it, clears it or marks again. What is needed for that is in
the course's reports; in nbgrader's tables stands nothing but what nbgrader itself puts there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook

from autograder.cache import digest_of
from autograder.config import Assignment
from autograder.gradebook import Mark
from autograder.results import GradeReport, ManualMark
from autograder.submission import Submission, grade_id_of, is_test_cell, read_released, source_of

CHOICES = {"keep": "kept", "clear": "cleared"}
MISSING = "missing"
Answers = dict[str, dict[str, str]]


def answers_of(submission: Submission, release: Path, assignment: Assignment) -> Answers:
    """A digest of what was handed in for each grade cell of the release; MISSING where its notebook cannot be read.

    For a cell that is marked by hand it is its own text (all of the notebook where that is as released: the answer may
    stand elsewhere), for an automatic one all code of its notebook and the other files, of checkpoints only the one
    that the notebook is graded with. White space at line ends does not count.
    """
    answers: Answers = {}
    for path in sorted(release.glob("*.ipynb")):
        notebook = submission.notebooks.get(path.stem)
        released = {grade_id_of(cell): source_of(cell) for cell in read_released(path)["cells"] if _is_graded(cell)}
        digests = _digests(notebook["cells"], released, _files(submission, assignment, path.stem)) if notebook else {}
        if released:
            answers[path.stem] = {cell: digests.get(cell, MISSING) for cell in released}
    return answers


def _is_graded(cell: Mapping[str, Any]) -> bool:
    own = cell.get("metadata", {}).get("nbgrader", {})
    return bool(own.get("grade") or own.get("task"))


def _digests(cells: Sequence[Mapping[str, Any]], released: Mapping[str, str], files: Sequence[str]) -> dict[str, str]:
    code = [_plain(cell["source"]) for cell in cells if cell["cell_type"] == "code" and not is_test_cell(cell)]
    automatic = digest_of("code", *code, "files", *files)
    whole = digest_of("notebook", *(_plain(cell["source"]) for cell in cells))
    found = {}
    for cell in cells:
        if _is_graded(cell):
            text, name = _plain(cell["source"]), grade_id_of(cell)
            elsewhere = cell["metadata"]["nbgrader"].get("task") or text == _plain(released.get(name, ""))
            by_hand = whole if elsewhere else digest_of("text", text)
            found[name] = automatic if is_test_cell(cell) else by_hand
    return found


def _plain(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _files(submission: Submission, assignment: Assignment, notebook: str) -> list[str]:
    stems = {e.checkpoint.stem: e.notebook for e in assignment.exercises if e.checkpoint is not None}
    return [
        f"{name}:{file.sha256}"
        for name, file in sorted(submission.files.items())
        if stems.get(name.rsplit(".", 1)[0], notebook) == notebook
    ]


def judge_marks(
    report: GradeReport, before: GradeReport | None, marks: Sequence[Mark], policy: str, now: datetime
) -> list[ManualMark]:
    """What the manual marks in the gradebook mean for a submission that has just been graded.

    `before` is the report that was the latest until now, `marks` what the gradebook held then. `policy` is what is
    done about older marks: "review" leaves them to a person, "keep" and "clear" decide at once. Cleared marks stay on
    record until the cell is marked again.
    """
    known = {(m.notebook, m.cell): m for m in (before.manual if before else ())}
    found = []
    for mark in marks:
        record = known.pop((mark.notebook, mark.cell), None)
        if mark.is_manual:
            answer = report.answers.get(mark.notebook, {}).get(mark.cell, "")
            found.append(_decide(_judge(mark, answer, record, before), policy, now))
        elif record is not None and record.is_cleared:
            found.append(record)
    return found


def _judge(mark: Mark, answer: str, record: ManualMark | None, before: GradeReport | None) -> ManualMark:
    judged = ManualMark(mark.notebook, mark.cell, mark.manual, mark.extra_credit, mark.maximum, "", answer)
    marked = before.answers.get(mark.notebook, {}).get(mark.cell, "") if before else ""
    if record is None or (record.score, record.extra_credit) != (mark.manual, mark.extra_credit):
        return replace(judged, given_for=marked)  # given since the report before, so to what that one shows
    # formgrader takes the flag away when a person looks again and saves. nbgrader does so, too, where the notebook is
    # missing now, and there it means nothing.
    if (record.is_older or record.is_cleared) and not mark.needs_person and answer != MISSING:
        return replace(judged, given_for=marked)
    judged = replace(judged, given_for=record.given_for)
    kept = record.choice == "kept" and not judged.is_older
    return replace(judged, choice="kept", chosen_at=record.chosen_at) if kept else judged


def _decide(mark: ManualMark, policy: str, now: datetime) -> ManualMark:
    if not mark.is_older or policy not in CHOICES:
        return mark
    chosen = replace(mark, choice=CHOICES[policy], chosen_at=now.isoformat(timespec="seconds"))
    return replace(chosen, given_for=mark.answer) if policy == "keep" else chosen


def decided(report: GradeReport, before: GradeReport | None) -> list[str]:
    """What was decided about older marks since the report before, in words."""
    new = [mark for mark in report.manual if mark.choice and mark not in (before.manual if before else ())]
    return [f"the older manual mark ({mark}) was {mark.choice}" for mark in new]


def carry_over(report: GradeReport, before: GradeReport | None) -> GradeReport:
    """A report of which no score is recorded, with what the last recorded one knew of answers and manual marks."""
    return replace(report, answers=before.answers, manual=before.manual) if before else report


def record_marks(gradebook: Gradebook, report: GradeReport, notebook: str) -> None:
    """Bring one notebook's grades in line: cleared marks go (comments stay), and the flag `needs_manual_grade` stands
    where a person has to look: at older marks, at undecided checks without a mark, and at what has no score.

    The caller commits, together with the scores: without the flag an older mark would pass for one given again.
    """
    manual = {m.cell: m for m in report.manual if m.notebook == notebook}
    undecided = {s.cell for s in report.cell_scores() if s.notebook == notebook and s.needs_person}
    for cell in {**manual, **dict.fromkeys(undecided)}:
        grade = gradebook.find_grade(cell, notebook, report.assignment, report.student)
        mark = manual.get(cell)
        held = (grade.manual_score, grade.extra_credit)
        if mark is not None and mark.is_cleared and held == (mark.score, mark.extra_credit):
            grade.manual_score = grade.extra_credit = None
        unmarked = grade.manual_score is None and (grade.auto_score is None or cell in undecided)
        grade.needs_manual_grade = unmarked or (mark is not None and mark.is_older)
