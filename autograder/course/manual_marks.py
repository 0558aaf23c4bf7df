"""Manual marks when a submission is graded again: which answer each was given for, and what becomes of older ones.

nbgrader keeps a manual mark when a student hands in again, and it counts. Here a mark belongs to the answer that a
person marked: it stands while that answer stays the same; for another answer it is an *older* mark, which still counts,
is shown, and waits for a person, until the instructor keeps it, clears it or marks again. What is needed for that is in
the course's reports; in nbgrader's tables stands nothing but what nbgrader itself puts there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from nbgrader.api import Gradebook

from autograder.core.grade_report import GradeReport, ManualMark
from autograder.core.rows import Mark
from autograder.handin.answers import MISSING

CHOICES = {"keep": "kept", "clear": "cleared"}


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
