"""`autograder grade`: grade submissions, record the scores, print a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autograder.cli.ending import INTERRUPTED, NOT_ALL_GRADED, complain
from autograder.cli.shared import GraderOptions, choose_assignment, choose_students, count, make_console, report_folder
from autograder.core.config import load_course
from autograder.core.rows import Marks, Row, notebooks_of, rows_of
from autograder.core.text import clean_name, one_line
from autograder.course import batch, upkeep
from autograder.course.folder import NbCourse, open_course
from autograder.course.gradebook import read_marks
from autograder.review.staff_report.write import write_course_report

MOST_CHANGES = 20  # named after grading
OLDER_MARKS_COUNT = (
    "Manual marks that were given to an earlier submission count until you decide: mark again in formgrader, "
    "or grade with --older-marks keep or --older-marks clear, all of them or --student ID."
)


@dataclass(frozen=True)
class GradeOptions(GraderOptions):
    """What was given to `autograder grade`."""

    assignment: str | None
    students: tuple[str, ...]
    force: bool
    older_marks: str | None
    wants_report: bool


def grade_submissions(given: GradeOptions) -> None:
    """Grade submissions, record the scores in nbgrader's gradebook, and print a table."""
    root = given.course_root
    configured = load_course(root)
    name = choose_assignment(configured, given.assignment)
    course = open_course(root)
    shared = upkeep.share_submissions(course, name, configured.limits)
    submissions = choose_students(course.submissions(name), given.students, course, name)
    chosen = (given.isolation or "", given.device or "", given.older_marks or "")
    grader = batch.open_course_grader(course, name, *chosen)
    console = make_console()
    console.print(Text(f"Grading {name}: {count(submissions, 'submission')}, {grader.isolation.describe()}"))
    for remark in shared:
        console.print(Text(remark, "yellow"))
    done = run_batch(console, course, grader, submissions, force=given.force)
    rows = show_scores(console, done, read_marks(course.db_url, name))
    if given.wants_report:
        console.print(Text(f"Report: {write_course_report(course, configured, name, report_folder(root, name))}"))
    console.print(Text(f"Log: {done.log}"))
    print_end(console, done)
    if done.left:
        complain(interrupted(name, done))
        raise click.exceptions.Exit(INTERRUPTED)
    if any(row.older_marks for row in rows):
        console.print(OLDER_MARKS_COUNT, style="yellow")
    if done.faults:
        raise click.exceptions.Exit(NOT_ALL_GRADED)


def interrupted(name: str, done: batch.Batch) -> str:
    """What Ctrl-C leaves behind, and how to go on."""
    ended = len(done.outcomes)
    return (
        f"Interrupted: {ended} of {ended + len(done.left)} submissions are done and recorded; {len(done.left)} are "
        f"not, and keep what they had: {clean_name(done.left[0])}{' and others' if len(done.left) > 1 else ''}. "
        f"`autograder grade {name}` goes on, and does nothing twice."
    )


def run_batch(
    console: Console, course: NbCourse, grader: Any, submissions: dict[str, Path], *, force: bool
) -> batch.Batch:
    """Grade with a progress bar on a terminal, with one line for each submission elsewhere."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(submissions))

        def on_start(student: str) -> None:
            progress.update(task, description=Text(clean_name(student)).markup)

        def on_end(outcome: batch.SubmissionOutcome) -> None:
            progress.advance(task)
            if not console.is_terminal:
                console.print(Text(f"  {clean_name(outcome.student)}: {outcome.state.value}"))

        return batch.grade_batch(course, grader, submissions, force=force, on_start=on_start, on_end=on_end)


def show_scores(console: Console, done: batch.Batch, marks: Marks) -> list[Row]:
    """Print the table of scores; returns its rows."""
    reports = [outcome.report for outcome in done.outcomes if outcome.report is not None]
    rows = rows_of(reports, marks)
    console.print(scores_table(rows, {o.student: o.state for o in done.outcomes}, bool(marks)))
    return rows


def print_end(console: Console, done: batch.Batch) -> None:
    """The last lines: what was left alone, what was left out, and who was not graded."""
    show_changes(console, done)
    unchanged = sum(outcome.state is batch.BatchState.UNCHANGED for outcome in done.outcomes)
    if unchanged:
        console.print(f"{unchanged} unchanged since they were graded; --force grades them again.")
    for outcome in done.outcomes:
        for remark in outcome.remarks:
            console.print(Text(f"{clean_name(outcome.student)}: {one_line(remark)}", "yellow"))
        if outcome.state is batch.BatchState.EMPTY:
            console.print(Text(f"{clean_name(outcome.student)}: nothing to grade: {outcome.problem}", "yellow"))
    if done.faults:
        complain(f"Not graded, through the grader's own fault ({count(done.faults, 'submission')}, no score recorded):")
        for problem in dict.fromkeys(outcome.problem for outcome in done.faults):
            students = [clean_name(outcome.student) for outcome in done.faults if outcome.problem == problem]
            complain(f"  {', '.join(students)}: {problem}")


def show_changes(console: Console, done: batch.Batch) -> None:
    """Whose marks changed, and why; and what became of groups' marks and late penalties."""
    changed = [(outcome.student, outcome.change) for outcome in done.outcomes if outcome.change is not None]
    if changed:
        console.print(Text(f"The marks of {count(changed, 'submission')} changed (the report has the checks):"))
    for student, change in changed[:MOST_CHANGES]:
        console.print(Text(f"  {clean_name(student)}: {change} ({one_line('; '.join(change.why))})"))
    if len(changed) > MOST_CHANGES:
        console.print(f"  … and {len(changed) - MOST_CHANGES} more")
    for remark in done.remarks:
        console.print(Text(one_line(remark), "yellow"))


def scores_table(rows: Sequence[Row], states: dict[str, batch.BatchState], has_marks: bool) -> Table:
    """Points per exercise, total, and what a person has to look at."""
    notebooks = notebooks_of(rows)
    table = Table("Student", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for notebook in notebooks:
        table.add_column(Text(notebook), justify="right")
    table.add_column("Total" if has_marks else "Automatic", justify="right", style="bold")
    table.add_column("Status")
    for row in rows:
        state = states[row.report.student]
        words = [state.value, *row.flags] if state is not batch.BatchState.FAULT else row.flags
        style = "bold red" if row.grader_failed else "yellow" if row.flags else "green"
        points = [str(row.points_of(notebook)) for notebook in notebooks]
        table.add_row(Text(clean_name(row.student)), *points, str(row.total), Text("; ".join(words), style))
    return table
