"""`autograder whatif`: what other thresholds, hints or checks would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.cli.ending import NOT_ALL_GRADED, NOTHING_GRADED, complain
from autograder.cli.shared import GraderOptions, choose_assignment, count, make_console
from autograder.core.config import load_course
from autograder.core.config_changes import Changes, WrongSetting, load_changed, parse_settings
from autograder.core.errors import SetupError
from autograder.core.text import clean_name, printable
from autograder.course.compare import Comparison
from autograder.course.folder import open_course
from autograder.course.gradebook import read_marks
from autograder.course.report_store import load_reports
from autograder.review import whatif


@dataclass(frozen=True)
class WhatifOptions(GraderOptions):
    """What was given to `autograder whatif`."""

    assignment: str | None
    config: Path | None
    graders: Path | None
    settings: tuple[str, ...]
    boundaries: str
    shows_all: bool
    messages: bool
    json_path: Path | None
    csv_path: Path | None

    @property
    def config_path(self) -> Path | None:
        """The other configuration, by its absolute path."""
        return self.config and self.config.resolve()


def compare_marks(given: WhatifOptions) -> None:
    """Say who would gain and who would lose by other thresholds, hints or checks, before anything is recorded."""
    root = given.course_root
    name = choose_assignment(load_course(root, given.config_path), given.assignment)
    boundaries = parse_boundaries(given.boundaries)
    course = open_course(root)
    recorded = load_reports(root, name)
    if not recorded:
        raise SetupError(f"no submission of {name!r} has been graded yet: run `autograder grade {name}`")
    grader = given.open_grader(course, name)
    changes = read_changes(given, name)
    changed = whatif.open_changed(grader, changes)
    marks = read_marks(course.db_url, name)
    console = make_console()
    with console.status("Looking at kept evidence …") as status:
        found = whatif.compare_all(
            grader,
            changed,
            course.submissions(name),
            recorded,
            marks,
            lambda student: status.update(Text(f"Looking at kept evidence: {clean_name(student)} …")),
        )
    show_comparisons(console, found, boundaries, given.shows_all)
    if given.messages:
        pairs = whatif.message_pairs(found)
        console.print(messages_table(pairs) if pairs else "Nobody would read another message.")
    if given.json_path is not None:
        whatif.write_json(given.json_path, changes, found, boundaries)
    if given.csv_path is not None:
        whatif.write_csv(given.csv_path, found, boundaries)
    raise click.exceptions.Exit(conclude_comparison(console, found))


def read_changes(given: WhatifOptions, name: str) -> Changes:
    """What is to be changed, by absolute paths. Raises click.UsageError for a setting that does not exist."""
    changes = Changes(given.config_path, given.graders and given.graders.resolve())
    try:
        assignment = load_changed(given.course_root, name, changes).assignment(name)
        return replace(changes, settings=parse_settings(assignment, given.settings))
    except WrongSetting as error:
        raise click.UsageError(str(error)) from error


def parse_boundaries(text: str) -> list[float]:
    """Percentages in rising order. Raises click.UsageError."""
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 < boundary <= 100 for boundary in found):
        raise click.UsageError(f"--boundaries: expected percentages such as 50,60,70,80,90, got {text!r}")
    return found


def show_comparisons(
    console: Console, found: Sequence[Comparison], boundaries: Sequence[float], shows_all: bool
) -> None:
    """The table of students, and all of them in numbers."""
    compared = [c for c in found if not c.problem]
    shown = [c for c in compared if shows_all or c.changed_checks or c.difference or c.overridden]
    if shown:
        console.print(comparisons_table(shown, boundaries))
    total = whatif.summarise_comparisons(found, boundaries)
    if not compared:
        return
    console.print(Text(f"{total.gain} gain, {total.lose} lose, {total.unchanged} keep their points", "bold"))
    for boundary, up, down in total.crossings:
        if up or down:
            console.print(f"Boundary {boundary:g} %: {up} would rise to it, {down} would fall below it")
    quiet = [f"{boundary:g} %" for boundary, up, down in total.crossings if not up and not down]
    if quiet:
        console.print(f"Nobody would cross {', '.join(quiet)} of all points")
    console.print(f"Mean: {total.mean_before:g} → {total.mean_after:g} points")
    if total.other_message:
        readers = count(range(total.other_message), "student")
        console.print(f"{readers} would read another message for the same points (--messages)")
    waiting = [c for c in compared if c.is_waiting]
    if waiting:
        console.print(f"{count(waiting, 'student')} still without a manual mark, which counts 0 so far", style="yellow")
    outdated = [c for c in compared if c.is_outdated]
    if outdated:
        console.print(
            f"{len(outdated)} of {count(compared, 'student')} were graded before the engine, the graders or the "
            "configuration became what they are now: the differences hold that too",
            style="yellow",
        )


def comparisons_table(found: Sequence[Comparison], boundaries: Sequence[float]) -> Table:
    """Points before and after, boundaries that are crossed, and the checks behind it."""
    table = Table("Student", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("Before", "After", "Difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Crosses", no_wrap=True)
    table.add_column("Changed checks", overflow="fold")
    for comparison in found:
        up, down = comparison.crossed(boundaries)
        crossings = [f"↑ {boundary:g} %" for boundary in up] + [f"↓ {boundary:g} %" for boundary in down]
        lines = [f"{change}" + ("" if change.counts else " (does not count)") for change in comparison.changed_checks]
        style = "green" if comparison.difference > 0 else "red" if comparison.difference < 0 else ""
        table.add_row(
            Text(clean_name(comparison.student)),
            str(comparison.before),
            str(comparison.after),
            Text(f"{comparison.difference:+g}" if comparison.difference else "0", style),
            Text("\n".join(crossings), style),
            Text(printable("\n".join([*lines, *comparison.overridden]))),
        )
    return table


def messages_table(pairs: dict[tuple[str, str, str], list[str]]) -> Table:
    """What students would read, side by side; those who read the same stand together."""
    table = Table("Notebook", box=box.HORIZONTALS, show_edge=False, pad_edge=False, show_lines=True)
    for heading in ("Now", "Then", "Students"):
        table.add_column(heading, overflow="fold")
    for (notebook, before, after), students in pairs.items():
        names = ", ".join(clean_name(student) for student in students)
        table.add_row(Text(notebook), Text(printable(before)), Text(printable(after)), Text(names))
    return table


def conclude_comparison(console: Console, found: Sequence[Comparison]) -> int:
    """Name those who could not be compared; the exit status."""
    problems = [c for c in found if c.problem]
    console.print("Nothing was recorded.")
    for problem in dict.fromkeys(c.problem for c in problems):
        students = ", ".join(clean_name(c.student) for c in problems if c.problem == problem)
        complain(f"Not compared: {students}: {problem}")
    if len(problems) == len(found):
        return NOTHING_GRADED
    return NOT_ALL_GRADED if problems else 0
