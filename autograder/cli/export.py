"""The command `autograder export`: marks for Canvas, Moodle, Gradescope or a spreadsheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from autograder.cli.ending import NOT_ALL_GRADED, complain
from autograder.cli.shared import choose_assignment, count, open_current
from autograder.core.config import Course, load_course
from autograder.core.files import write_atomically
from autograder.core.text import one_line
from autograder.handin.roster import Roster, read_roster
from autograder.review import exports
from autograder.review.exports import Classbook, Export, ExportError, Policy
from autograder.review.exports.fill import account, stale_remarks

# Which options belong to which format: one that does nothing is a misunderstanding.
OPTIONS = {
    "gradebook": ("canvas",),
    "column": ("canvas", "moodle"),
    "worksheet": ("moodle",),
    "by": ("moodle",),
    "comments": ("moodle",),
    "scale": ("canvas", "moodle"),
    "roster": ("canvas", "moodle"),
    "long": ("csv",),
}


@dataclass(frozen=True)
class Choices:
    """What the options say."""

    to: str
    gradebook: Path | None
    column: str
    worksheet: Path | None
    by: str
    comments: bool
    scale: bool
    roster: Path | None
    long: bool
    policy: Policy


def export_marks(assignment: str | None, output: Path | None, root: Path | None, **options: Any) -> None:
    """Write an assignment's marks for another system, every number as the gradebook has it."""
    options["by"] = options["by"] or ("" if options["to"] != "moodle" or options["worksheet"] else "email")
    policy = Policy(options.pop("provisional"), options.pop("zeros"), options.pop("final_only"))
    choices = Choices(policy=policy, **options)
    check_options(choices)
    root = (root or Path()).resolve()
    course = load_course(root)
    name = choose_assignment(course, assignment)
    book = exports.read_class(open_current(root, name), name)
    exports.expect_final(book, choices.policy)
    path = output or root / "exports" / default_name(name, choices)
    done = write(path, book, choices, course)
    print_export(path, done, [*done.remarks, *stale_remarks(book)])
    if done.left:
        raise click.exceptions.Exit(NOT_ALL_GRADED)


def check_options(choices: Choices) -> None:
    """Raises click.UsageError for an option of another format, or one that is missing."""
    for name, formats in OPTIONS.items():
        if getattr(choices, name) and choices.to not in formats:
            raise click.UsageError(f"--{name} is for --to {' or '.join(formats)}, not for {choices.to}")
    if choices.to == "canvas" and choices.gradebook is None:
        raise click.UsageError("--to canvas needs --gradebook FILE.csv: in Canvas, Gradebook > Export > Export Entire")
    if choices.worksheet and (choices.by or choices.column):
        raise click.UsageError("--worksheet has its own columns: leave out --by and --column")
    if choices.to == "moodle" and not choices.worksheet and choices.scale:
        raise click.UsageError("--scale needs to know the other system's points: give --worksheet, or leave it out")


def default_name(assignment: str, choices: Choices) -> str:
    """The file, for gradescope the folder, that an export goes to: no form of it takes another one's place."""
    if choices.to == "gradescope":
        return f"{assignment}-gradescope"
    return f"{assignment}-{choices.to}{'-long' if choices.long else ''}.csv"


def write(path: Path, book: Classbook, choices: Choices, course: Course) -> Export:
    """Write the export. Raises ExportError."""
    if choices.to == "gradescope":
        return exports.write_results(path, book, choices.policy, course.feedback)
    source = choices.gradebook or choices.worksheet
    if source is not None and path.exists() and path.samefile(source):
        raise ExportError(f"{path} is the file to be filled in: name another --output, so that it stays")
    done = make(book, choices, read_roster(choices.roster) if choices.roster else Roster())
    write_atomically(path, done.content)
    return done


def make(book: Classbook, choices: Choices, roster: Roster) -> Export:
    """The content of a CSV file, and who has no mark in it. Raises ExportError."""
    policy, scale, comments = choices.policy, choices.scale, choices.comments
    if choices.gradebook:
        return exports.fill_canvas(choices.gradebook, book, roster, policy, column=choices.column, scale=scale)
    if choices.worksheet:
        return exports.fill_worksheet(choices.worksheet, book, roster, policy, scale=scale, comments=comments)
    if choices.to == "moodle":
        by: Any = choices.by
        return exports.moodle_csv(book, policy, by=by, roster=roster, item=choices.column, comments=comments)
    return account(book, policy, exports.long_csv(book) if choices.long else exports.wide_csv(book, policy))


def print_export(path: Path, done: Export, remarks: Sequence[str]) -> None:
    """Say what was written, and name whoever has no mark."""
    held = f" ({len(done.changed)} changed, {done.same} as before)" if done.changed or done.same else ""
    click.echo(f"{one_line(str(path))}: {done.marks} mark{'s' * (done.marks != 1)}{held}")
    print_list("Changed", done.changed)
    print_list("Nothing handed in", done.absent)
    print_list("Rows that are nobody's", done.strangers)
    for remark in remarks:
        complain(remark)
    if done.left:
        complain(f"No mark was written for {count(done.left, 'student')}:")
        for someone in done.left:
            complain(f"  {someone}")


def print_list(title: str, things: Sequence[object]) -> None:
    """A heading and a line for each thing; nothing where there is none."""
    if things:
        click.echo(f"{title}:")
        for thing in things:
            click.echo(f"  {one_line(str(thing))}")
