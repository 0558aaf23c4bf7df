"""`autograder check`: one notebook, without a gradebook."""

from __future__ import annotations

from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from autograder.cli.ending import NOT_ALL_GRADED, complain
from autograder.cli.shared import choose_assignment, make_console
from autograder.core.config import Course, load_course
from autograder.core.grade_report import GradeReport, Status
from autograder.core.text import clean_name, clean_text, did_you_mean, printable
from autograder.core.wording import details, status_words
from autograder.pipeline.grader import open_grader
from autograder.pipeline.one_notebook import grade_notebook, notebook_held

STATUS_STYLES = {
    Status.PASSED: "green",
    Status.SKIPPED: "dim",
    Status.UNSUPPORTED: "yellow",
    Status.INTERNAL: "bold red",
}


def check_notebook(
    notebook: Path, assignment: str | None, root: Path | None, isolation: str | None, device: str | None
) -> None:
    """Grade one notebook without a gradebook, and print its checks."""
    root = (root or Path()).resolve()
    course = load_course(root)
    name = choose_assignment_of(root, course, notebook, assignment)
    grader = open_grader(root, name, isolation=isolation or "", device=device or "")
    console = make_console()
    with console.status(Text(f"Grading {clean_name(notebook.name)} …")):
        report = grade_notebook(grader, notebook)
    console.print(checks_table(report))
    for note in report.notes:
        console.print(Text(clean_text(str(note)), "yellow"))
    console.print(Text(f"{report.earned:g} of {report.maximum:g} automatic points", "bold"))
    if report.is_internal:
        complain("The grader itself failed: these points would not be recorded.")
        raise click.exceptions.Exit(NOT_ALL_GRADED)


def choose_assignment_of(root: Path, course: Course, notebook: Path, wanted: str | None) -> str:
    """The assignment that a notebook belongs to, by its cells or its name. Raises click.UsageError."""
    names = [choose_assignment(course, wanted)] if wanted else sorted(course.assignments)
    held = {name: notebook_held(notebook, root / "release" / name, course.limits) for name in names}
    found = [name for name in names if course.assignment(name).exercise(held[name])]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(
            f"{clean_name(notebook.stem)!r} is in {', '.join(found)}: name the assignment after the notebook"
        )
    known = [exercise.notebook for name in names for exercise in course.assignment(name).exercises]
    raise click.UsageError(
        f"{clean_name(notebook.name)} is no graded notebook: {', '.join(known)}" + did_you_mean(notebook.stem, known)
    )


def checks_table(report: GradeReport) -> Table:
    """Every check with points, result, message, hint and the student's line."""
    table = Table("Check", box=box.HORIZONTALS, show_edge=False, pad_edge=False, show_lines=True)
    table.add_column("Points", justify="right")
    table.add_column("Result", overflow="fold")
    for check in report.checks:
        style = STATUS_STYLES.get(check.status, "red")
        words = Text(status_words(check.status), style)
        for detail in details(check):
            words.append(f"\n{printable(detail)}", "default")
        table.add_row(Text(clean_text(check.title)), f"{check.earned:g} / {check.points:g}", words)
    return table
