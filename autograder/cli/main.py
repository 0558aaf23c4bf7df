"""The command `autograder`: parse, call one function, print; one error boundary for all commands."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autograder import __version__
from autograder.cli.collect_tables import show as show_intake
from autograder.cli.explain import explain_command
from autograder.cli.export import export_command
from autograder.cli.feedback import feedback_command
from autograder.cli.integrity import integrity_command
from autograder.cli.life import extensions_command, forget_command, groups_command
from autograder.cli.shared import (
    NOT_ALL_GRADED,
    NOTHING_GRADED,
    choose_assignment,
    choose_students,
    complain,
    count,
    course_option,
    device_option,
    isolation_option,
    make_console,
    open_current,
    report_folder,
)
from autograder.core.config import ConfigError, Course, load_course
from autograder.core.config_changes import Changes, WrongSetting, load_changed, parse_settings
from autograder.core.errors import SetupError
from autograder.core.grade_report import GradeReport, Status
from autograder.core.machine_faults import disk_problem
from autograder.core.rows import Row, notebooks_of, rows_of
from autograder.core.text import clean_name, clean_text, did_you_mean, one_line, printable
from autograder.core.times import DEADLINE_EXAMPLE as DEADLINE_EXAMPLE
from autograder.core.times import TimeError, parse_deadline, parse_zone
from autograder.core.wording import details, status_words
from autograder.course import batch, upkeep
from autograder.course.compare import Comparison
from autograder.course.extensions import ExtensionError
from autograder.course.folder import NbCourse, open_course
from autograder.course.gradebook import GradebookError, read_marks
from autograder.course.groups import GroupError
from autograder.course.report_store import BrokenReport, has_reports, load_reports
from autograder.handin import collect
from autograder.jail import SandboxFault
from autograder.judging.datasets import DataError
from autograder.pipeline import doctor
from autograder.pipeline.grader import open_grader
from autograder.pipeline.one_notebook import grade_notebook, notebook_held
from autograder.review import whatif
from autograder.review.explain import NotKept
from autograder.review.exports import ExportError
from autograder.review.staff_report.write import write_course_report

SETUP_ERRORS = (
    ConfigError,
    SetupError,
    DataError,
    SandboxFault,
    GradebookError,
    BrokenReport,
    collect.IntakeError,
    collect.TableError,
    ExportError,
    ExtensionError,
    GroupError,
    NotKept,
)
MOST_CHANGES = 20  # named after grading
STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}
STATUS_STYLES = {
    Status.PASSED: "green",
    Status.SKIPPED: "dim",
    Status.UNSUPPORTED: "yellow",
    Status.INTERNAL: "bold red",
}


class Commands(click.Group):
    """The error boundary: a known problem is one message with its remedy, anything else points to a file."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SETUP_ERRORS as error:
            if ctx.params.get("debug"):
                raise
            complain(str(error))
            ctx.exit(NOTHING_GRADED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, OSError) and (problem := disk_problem(error)):
                complain(problem)
                ctx.exit(NOTHING_GRADED)
            with tempfile.NamedTemporaryFile(
                "w", prefix="autograder-error-", suffix=".log", delete=False, encoding="utf-8"
            ) as file:
                file.write(traceback.format_exc())
            complain(f"Grader error, not yours: {type(error).__name__}: {error}. Details: {file.name} (or use --debug)")
            ctx.exit(NOTHING_GRADED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autograder")
@click.option("--debug", is_flag=True, help="Show a traceback where something goes wrong.")
def main(debug: bool) -> None:
    """Grade deep-learning notebooks without running student code where scores are computed.

    Run `autograder doctor` first: it says what is missing on this machine, and the remedies.

    \b
    Exit codes of all commands:
      0  done; when grading: everything was graded
      1  nothing could be graded: the message says what is missing
      2  wrong usage: an unknown command, option, assignment or student
      3  some submissions were not graded through the grader's own fault, not collected, or not compared
    """


@main.command("doctor")
@course_option
def doctor_command(root: Path | None) -> None:
    """Say what this machine offers for grading, and what to do where something is missing.

    It imports torch, starts a jail, and reads the test set, which takes half a minute.

    \b
    Exit codes: 0 grading can work; 1 it cannot, with remedies.
    """
    console = make_console()
    findings = []
    with console.status("Looking at this machine …") as status:
        for finding in doctor.examine((root or Path()).resolve(), course_expected=root is not None):
            findings.append(finding)
            status.update(f"Looked at: {finding.name} …")
    console.print(findings_table(findings))
    for finding in findings:
        if finding.state is not doctor.State.OK:
            console.print(Text.assemble((f"{finding.name}: ", STYLES[finding.state.value]), finding.remedy))
    if any(finding.state is doctor.State.MISSING for finding in findings):
        complain("Grading cannot work on this machine yet.")
        raise click.exceptions.Exit(NOTHING_GRADED)
    console.print("Grading can work here.")


def findings_table(findings: Sequence[doctor.Finding]) -> Table:
    table = Table("", "State", "Found", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for finding in findings:
        table.add_row(finding.name, Text(finding.state.value, STYLES[finding.state.value]), Text(finding.found))
    return table


@main.command("grade")
@click.argument("assignment", required=False)
@click.option("--student", "students", multiple=True, metavar="ID", help="Only this student; may be given repeatedly.")
@course_option
@click.option("--force", is_flag=True, help="Grade and record again what has not changed since it was last graded.")
@isolation_option
@device_option
@click.option(
    "--older-marks",
    type=click.Choice(["review", "keep", "clear"]),
    default=None,
    help="What becomes of manual marks that were given to an earlier submission: flag them for a person, let them "
    "stand for this one, or remove them.  [default: as grader_config.py says, which is review]",
)
@click.option("--report/--no-report", "wants_report", default=True, help="Write the HTML page afterwards (default).")
@click.pass_context
def grade_command(
    ctx: click.Context,
    assignment: str | None,
    students: tuple[str, ...],
    root: Path | None,
    force: bool,
    isolation: str | None,
    device: str | None,
    older_marks: str | None,
    wants_report: bool,
) -> None:
    """Grade submissions, record the scores in nbgrader's gradebook, and print a table.

    ASSIGNMENT may be left out where grader_config.py has only one. Each submission is graded by nbgrader with this
    engine's preprocessors, one after another; a failure never stops the others. What is graded again is decided by
    content (files, engine, configuration, data set), not by time stamps.

    \b
    Exit codes:
      0  every submission was graded (those without any notebook are named)
      1  nothing could be graded: set-up, with remedies
      2  wrong usage
      3  some were not graded through the grader's own fault; they have no score and are named at the end
    """
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    course = open_course(root)
    shared = upkeep.share_submissions(course, name, configured.limits)
    submissions = choose_students(course.submissions(name), students, course, name)
    grader = batch.open_course_grader(course, name, isolation or "", device or "", older_marks or "")
    console = make_console()
    console.print(Text(f"Grading {name}: {count(submissions, 'submission')}, {grader.isolation.describe()}"))
    for remark in shared:
        console.print(Text(remark, "yellow"))
    done = run_batch(console, course, grader, submissions, force=force)
    marks = read_marks(course.db_url, name)
    reports = [outcome.report for outcome in done.outcomes if outcome.report is not None]
    rows = rows_of(reports, marks)
    console.print(scores_table(rows, {o.student: o.state for o in done.outcomes}, bool(marks)))
    if wants_report:
        console.print(Text(f"Report: {write_course_report(course, configured, name, report_folder(root, name))}"))
    console.print(Text(f"Log: {done.log}"))
    conclude(console, done)
    if any(row.older_marks for row in rows):
        console.print(
            "Manual marks that were given to an earlier submission count until you decide: mark again in formgrader, "
            "or grade with --older-marks keep or --older-marks clear, all of them or --student ID.",
            style="yellow",
        )
    if done.faults:
        ctx.exit(NOT_ALL_GRADED)


def run_batch(
    console: Console, course: NbCourse, grader: Any, submissions: dict[str, Path], *, force: bool
) -> batch.Batch:
    """Grade with a progress bar on a terminal, with one line for each submission elsewhere."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(submissions))

        def on_start(student: str) -> None:
            progress.update(task, description=Text(clean_name(student)).markup)

        def on_end(outcome: batch.Outcome) -> None:
            progress.advance(task)
            if not console.is_terminal:
                console.print(Text(f"  {clean_name(outcome.student)}: {outcome.state.value}"))

        return batch.grade_batch(course, grader, submissions, force=force, on_start=on_start, on_end=on_end)


def conclude(console: Console, done: batch.Batch) -> None:
    """The last lines: what was left alone, what was left out, and who was not graded."""
    show_changes(console, done)
    unchanged = sum(outcome.state is batch.State.UNCHANGED for outcome in done.outcomes)
    if unchanged:
        console.print(f"{unchanged} unchanged since they were graded; --force grades them again.")
    for outcome in done.outcomes:
        for remark in outcome.remarks:
            console.print(Text(f"{clean_name(outcome.student)}: {one_line(remark)}", "yellow"))
        if outcome.state is batch.State.EMPTY:
            console.print(Text(f"{clean_name(outcome.student)}: nothing to grade: {outcome.problem}", "yellow"))
    if done.faults:
        complain(f"Not graded, through the grader's own fault ({count(done.faults, 'submission')}, no score recorded):")
        for problem in dict.fromkeys(outcome.problem for outcome in done.faults):
            students = [clean_name(outcome.student) for outcome in done.faults if outcome.problem == problem]
            complain(f"  {', '.join(students)}: {problem}")


def show_changes(console: Console, done: batch.Batch) -> None:
    """Whose marks are others than before, and why; and what became of groups' marks and late penalties."""
    changed = [(outcome.student, outcome.change) for outcome in done.outcomes if outcome.change is not None]
    if changed:
        console.print(Text(f"{count(changed, 'submission')} with other marks than before (the report has the checks):"))
    for student, change in changed[:MOST_CHANGES]:
        console.print(Text(f"  {clean_name(student)}: {change} ({one_line('; '.join(change.why))})"))
    if len(changed) > MOST_CHANGES:
        console.print(f"  … and {len(changed) - MOST_CHANGES} more")
    for remark in done.remarks:
        console.print(Text(one_line(remark), "yellow"))


@main.command("collect")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from",
    "system",
    type=click.Choice(collect.SYSTEMS),
    required=True,
    help='What made FILE: Canvas\'s "Download Submissions", Moodle\'s "Download all submissions", or whatever has a '
    "folder or a zip for each student.",
)
@click.option("--assignment", metavar="NAME", help="Where grader_config.py has more than one.")
@click.option(
    "--roster",
    "roster_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file that maps ids and names to nbgrader's student ids: column student, and any of canvas_id, moodle_id, "
    "name, email, login.",
)
@click.option(
    "--receipts",
    "receipts_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file of receipts that students hold: columns student, sha256.",
)
@click.option(
    "--keep",
    type=click.Choice(["latest", "before-deadline"]),
    default="latest",
    show_default=True,
    help="Which of several submissions of a student counts: the last one, or the last one before --deadline.",
)
@click.option("--deadline", metavar="TIME", help=f"The deadline, e.g. {DEADLINE_EXAMPLE}; later ones are named.")
@click.option(
    "--time-zone",
    "zone_name",
    metavar="NAME",
    help="Zone of times that have none, in FILE and --deadline, e.g. Europe/Vienna.  [default: this machine's]",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and touch nothing.")
@course_option
@click.pass_context
def collect_command(
    ctx: click.Context,
    file: Path,
    system: str,
    assignment: str | None,
    roster_path: Path | None,
    receipts_path: Path | None,
    keep: str,
    deadline: str | None,
    zone_name: str | None,
    dry_run: bool,
    root: Path | None,
) -> None:
    """Unpack an export of a learning management system into submitted/STUDENT/ASSIGNMENT/.

    FILE is the export, as a zip or unpacked. Zips that students packed are unpacked, their receipts checked. An older
    submission is moved to .autograder/intake/replaced, never merged; .autograder/intake keeps a record of each run.

    \b
    Exit codes:
      0  everything was collected, was unchanged, or was left out by the rule that you chose
      1  nothing, or nothing more, could be collected: the export, the roster or the disk, with remedies
      2  wrong usage
      3  some were not collected: damaged or oversized submissions, files that fit nobody; they are named
    """
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    course = open_course(root)
    zone, rules, assumed = read_times(keep, deadline, zone_name)
    roster = collect.read_roster(roster_path) if roster_path is not None else collect.Roster()
    receipts = collect.read_receipts(receipts_path, roster) if receipts_path is not None else []
    place = collect.Place(
        root,
        name,
        lambda student: Path(course.folder("submitted", student, name)),
        collect.known_names(name, configured.assignment(name), Path(course.folder("release", ".", name))),
        configured.limits.scratch_mib,
    )
    options = collect.Options(system, roster, receipts, rules, zone, dry_run)
    console = make_console()
    if assumed:
        console.print(Text(assumed, "yellow"))
    with console.status(Text(f"Reading {clean_name(file.name)} …")) as status:
        found = collect.collect(
            file, place, options, lambda student, total: status.update(Text(f"{clean_name(student)} (of {total}) …"))
        )
    show_intake(console, found, zone)
    if not found.is_whole:
        ctx.exit(NOT_ALL_GRADED)


def read_times(keep: str, deadline: str | None, zone_name: str | None) -> tuple[tzinfo | None, collect.Rules, str]:
    """Zone, rules, and a sentence where a zone had to be assumed. Raises click.UsageError."""
    if keep == "before-deadline" and deadline is None:
        raise click.UsageError(f"--keep before-deadline needs a deadline: --deadline {DEADLINE_EXAMPLE}")
    try:
        zone = parse_zone(zone_name) if zone_name is not None else None
        time, assumed = parse_deadline(deadline, zone) if deadline is not None else (None, "")
    except TimeError as error:
        raise click.UsageError(str(error)) from error
    return zone, collect.Rules(time, takes_late=keep == "latest"), assumed


@main.command("check")
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--assignment", metavar="NAME", help="Where more than one assignment has a notebook of this name.")
@course_option
@isolation_option
@device_option
@click.pass_context
def check_command(
    ctx: click.Context,
    notebook: Path,
    assignment: str | None,
    root: Path | None,
    isolation: str | None,
    device: str | None,
) -> None:
    """Grade one notebook without a gradebook, and print its checks.

    The files beside the notebook (a checkpoint, say) are used; only this notebook's exercise is graded. Nothing is
    recorded.

    \b
    Exit codes: 0 graded, whatever the points; 1 set-up, with remedies; 2 wrong usage; 3 the grader's own fault.
    """
    root = (root or Path()).resolve()
    course = load_course(root)
    name = choose_assignment_of(root, course, notebook, assignment)
    grader = open_grader(root, name, isolation=isolation or "", device=device or "")
    console = make_console()
    with console.status(Text(f"Grading {clean_name(notebook.name)} …")):
        report = grade_notebook(grader, notebook)
    console.print(checks_table(report))
    for note in report.notes:
        console.print(Text(clean_text(note), "yellow"))
    console.print(Text(f"{report.earned:g} of {report.maximum:g} automatic points", "bold"))
    if report.is_internal:
        complain("The grader itself failed: these points would not be recorded.")
        ctx.exit(NOT_ALL_GRADED)


@main.command("report")
@click.argument("assignment", required=False)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the pages.")
@click.option("--anonymous", is_flag=True, help="Name nobody, and show nothing that a student wrote.")
@course_option
def report_command(assignment: str | None, output: Path | None, anonymous: bool, root: Path | None) -> None:
    """Write the pages of all graded submissions, and print the path of the first one.

    An overview, what the class got wrong, a table of submissions, and a page for each; with the marks of the gradebook.
    They open from disk without a network. Without --output they go to reports/ASSIGNMENT in the course's folder, with
    --anonymous to reports/ASSIGNMENT-anonymous. Only pages that have changed are written.

    \b
    Exit codes: 0 written; 1 it could not be written, with the remedy; 2 wrong usage.
    """
    root = (root or Path()).resolve()
    configured = load_course(root)
    name = choose_assignment(configured, assignment)
    if not has_reports(root, name):
        raise SetupError(f"no submission of {name!r} has been graded yet: run `autograder grade {name}`")
    course = open_current(root, name)
    folder = output or report_folder(root, f"{name}-anonymous" if anonymous else name)
    click.echo(write_course_report(course, configured, name, folder, anonymous=anonymous))


@main.command("whatif")
@click.argument("assignment", required=False)
@click.option(
    "--config",
    "config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another grader_config.py: other settings, other points for a cell.",
)
@click.option(
    "--graders",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another folder of hidden graders: other checks, hints and messages.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SETTING=VALUE",
    help="Another value for an exercise's setting, e.g. accuracy_full=0.70; may be given repeatedly.",
)
@click.option(
    "--boundaries",
    default=f"{whatif.PASS_MARK:g}",
    show_default=True,
    metavar="PERCENT,…",
    help="Boundaries between grades, in percent of all points, e.g. 50,60,70,80,90; a pass mark unless given.",
)
@click.option("--all", "shows_all", is_flag=True, help="Also list the students for whom nothing changes.")
@click.option("--messages", is_flag=True, help="Show other messages, hints and titles side by side.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write everything to a JSON file."
)
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write one row a student to a CSV file."
)
@course_option
@isolation_option
@device_option
@click.pass_context
def whatif_command(
    ctx: click.Context,
    assignment: str | None,
    config: Path | None,
    graders: Path | None,
    settings: tuple[str, ...],
    boundaries: str,
    shows_all: bool,
    messages: bool,
    json_path: Path | None,
    csv_path: Path | None,
    root: Path | None,
    isolation: str | None,
    device: str | None,
) -> None:
    """Say who would gain and who would lose by other thresholds, hints or checks, before anything is recorded.

    The evidence that was kept when submissions were graded is looked at again; no student code runs, and neither
    gradebook nor reports change. Marks are compared with the latest recorded ones. Without --config, --graders and
    --set the course as it stands now is compared with what is recorded: what would grading again change?

    \b
    Exit codes:
      0  every student was compared
      1  nothing could be compared: set-up, or changes that the kept evidence cannot answer
      2  wrong usage: among others an unknown setting or a value of another type
      3  some students could not be compared; they are named at the end, with the reason
    """
    root = (root or Path()).resolve()
    name = choose_assignment(load_course(root, config and config.resolve()), assignment)
    limits = parse_boundaries(boundaries)
    course = open_course(root)
    recorded = load_reports(root, name)
    if not recorded:
        raise SetupError(f"no submission of {name!r} has been graded yet: run `autograder grade {name}`")
    grader = open_grader(
        root, name, release=Path(course.folder("release", ".", name)), isolation=isolation or "", device=device or ""
    )
    changes = read_changes(root, name, config, graders, settings)
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
    show_comparisons(console, found, limits, shows_all)
    pairs = whatif.message_pairs(found)
    if messages:
        console.print(messages_table(pairs) if pairs else "Nobody would read another message.")
    if json_path is not None:
        whatif.write_json(json_path, changes, found, limits)
    if csv_path is not None:
        whatif.write_csv(csv_path, found, limits)
    ctx.exit(conclude_comparison(console, found))


def read_changes(root: Path, name: str, config: Path | None, graders: Path | None, settings: Sequence[str]) -> Changes:
    """What is to be changed, by absolute paths. Raises click.UsageError for a setting that does not exist."""
    changes = Changes(config and config.resolve(), graders and graders.resolve())
    try:
        return replace(changes, settings=parse_settings(load_changed(root, name, changes).assignment(name), settings))
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
    shown = [c for c in compared if shows_all or c.moves or c.difference or c.overridden]
    if shown:
        console.print(comparisons_table(shown, boundaries))
    total = whatif.summarise(found, boundaries)
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
        lines = [f"{change}" + ("" if change.counts else " (does not count)") for change in comparison.moves]
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


def choose_assignment_of(root: Path, course: Course, notebook: Path, wanted: str | None) -> str:
    """The assignment that a notebook belongs to, by its cells or its name. Raises click.UsageError."""
    names = [choose_assignment(course, wanted)] if wanted else sorted(course.assignments)
    held = {name: notebook_held(notebook, root / "release" / name, course.limits) for name in names}
    found = [name for name in names if course.assignments[name].exercise(held[name])]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{clean_name(notebook.stem)!r} is in {', '.join(found)}: choose with --assignment")
    known = [exercise.notebook for name in names for exercise in course.assignments[name].exercises]
    raise click.UsageError(
        f"{clean_name(notebook.name)} is no graded notebook: {', '.join(known)}" + did_you_mean(notebook.stem, known)
    )


def scores_table(rows: Sequence[Row], states: dict[str, batch.State], has_marks: bool) -> Table:
    """Points per exercise, total, and what a person has to look at."""
    notebooks = notebooks_of(rows)
    table = Table("Student", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for notebook in notebooks:
        table.add_column(Text(notebook), justify="right")
    table.add_column("Total" if has_marks else "Automatic", justify="right", style="bold")
    table.add_column("Status")
    for row in rows:
        state = states[row.report.student]
        words = [state.value, *row.flags] if state is not batch.State.FAULT else row.flags
        style = "bold red" if row.failed else "yellow" if row.flags else "green"
        points = [str(row.points_of(notebook)) for notebook in notebooks]
        table.add_row(Text(clean_name(row.student)), *points, str(row.total), Text("; ".join(words), style))
    return table


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


main.add_command(explain_command)
main.add_command(export_command)
main.add_command(feedback_command)
main.add_command(integrity_command)
main.add_command(extensions_command)
main.add_command(groups_command)
main.add_command(forget_command)

if __name__ == "__main__":
    sys.exit(main())
