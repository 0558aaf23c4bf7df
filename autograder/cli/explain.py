"""The command `autograder explain`: why one check of one submission ended as it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click

from autograder.cli.shared import GraderOptions, choose_assignment, choose_students
from autograder.core.config import load_course
from autograder.core.grade_report import GradeReport, Status
from autograder.core.text import clean_name, one_line, printable
from autograder.core.wording import remedy, status_words, where
from autograder.course.folder import open_course
from autograder.course.report_store import load_report
from autograder.review.explain import Explanation, UnknownCheck, explain, find_check, name_of

OTHER_VERDICT = 3


@dataclass(frozen=True)
class ExplainOptions(GraderOptions):
    """What was given to `autograder explain`."""

    student: str
    check: str | None
    assignment: str | None
    lists: bool
    secret: bool


def explain_verdict(given: ExplainOptions) -> None:
    """Say why a check of a student's submission ended as it did, and show the evidence it looked at."""
    if given.lists and given.check and not given.assignment:
        given = replace(given, check=None, assignment=given.check)  # a list needs no CHECK
    root = given.course_root
    name = choose_assignment(load_course(root), given.assignment)
    report, folder = _submission(root, name, given.student)
    if given.lists:
        for line in listed(report):
            click.echo(line)
        return
    if not given.check:
        raise click.UsageError("name a CHECK, or list them with --list")
    try:
        wanted = find_check(report.checks, given.check)
        grader = given.open_grader(open_course(root), name)
        found = explain(grader, folder, report, wanted, secret=given.secret)
    except UnknownCheck as error:
        raise click.UsageError(one_line(str(error))) from error
    if given.secret:
        click.secho("Secret inputs of the hidden checks follow: show them to no student.", fg="yellow", err=True)
    for line in described(found):
        click.echo(line)
    if found.differences:
        raise click.exceptions.Exit(OTHER_VERDICT)


def _submission(root: Path, name: str, student: str) -> tuple[GradeReport, Path]:
    """The latest report of a submission and its folder. Raises click.UsageError for an unknown student."""
    course = open_course(root)
    folder = choose_students(course.submissions(name), [student], course, name)[student]
    report = load_report(root, name, student)
    if report is None:
        raise click.UsageError(f"{clean_name(student)} has not been graded yet: run `autograder grade {name}`")
    return report, folder


def listed(report: GradeReport) -> Iterator[str]:
    """One line for each check."""
    width = max((len(name_of(check)) for check in report.checks), default=0)
    for check in report.checks:
        points = f"{check.earned:g}/{check.points:g}"
        yield one_line(f"{name_of(check):<{width}}  {points:>7}  {status_words(check.status):<12}  {check.title}")


def described(found: Explanation) -> Iterator[str]:
    """The explanation as lines for a terminal: nothing in them steers it."""
    check = found.found
    yield click.style(printable(f"{name_of(check)}: {check.title}"), bold=True)
    yield f"{status_words(check.status)}, {check.earned:g} of {check.points:g} points (the check: {found.place})"
    yield from (
        f"  {line}" for text in (check.message, remedy(check), where(replace(check, code=""))) for line in _lines(text)
    )
    for number, text in found.code.items():
        yield printable(f"  {'>' if number == check.line else ' '} {number:4} | {text}")
    yield ""
    yield from _run(found)
    for piece in found.evidence:
        yield click.style(one_line(piece.title), bold=True)
        yield from (f"  {line}" for text in piece.lines for line in _lines(text))
    yield ""
    yield from _verdict(found)


def _lines(text: str) -> list[str]:
    return printable(text).split("\n") if text else []


def _run(found: Explanation) -> Iterator[str]:
    run = found.run
    if run is None:
        yield "The notebook was not run"
        return
    passed = sum(cell.status is Status.PASSED for cell in run.cells)
    ended = one_line(f": {run.message}") if run.message and run.status is not Status.PASSED else ""
    cells = f"{passed} of {len(run.cells)} cells passed"
    yield f"The notebook's run: {status_words(run.status)}{ended}; {cells}, {run.seconds:.1f} s"
    for cell in run.cells:
        if cell.status is not Status.PASSED:
            yield one_line(
                f"  cell {cell.index + 1} of the notebook: {status_words(cell.status)} {cell.message}".rstrip()
            )


def _verdict(found: Explanation) -> Iterator[str]:
    if not found.differences:
        yield click.style("The verdict is the recorded one.", fg="green")
        return
    yield click.style("The verdict is another than the recorded one:", fg="red")
    yield from (f"  {one_line(text)}" for text in found.differences)
    if found.is_outdated:
        yield "The engine, the graders or the configuration have changed since it was graded: grade it again."
    else:
        yield "Nothing that decides marks has changed since: please report this as a fault of the grader."
