"""The command `autograder mark`: a local page for marking written answers and undecided checks."""

from __future__ import annotations

import asyncio
import getpass
import os
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.ending import complain
from autograder.cli.shared import choose_assignment, count, open_current
from autograder.core.config import load_course
from autograder.core.errors import SetupError
from autograder.core.remarks import in_words
from autograder.core.text import clean_name
from autograder.course import upkeep
from autograder.course.report_store import has_reports

if TYPE_CHECKING:
    from autograder.review.marking.desk import Desk

MOST_MARKER = 60  # characters


def mark_answers(
    assignment: str | None, marker: str | None, hide_names: bool, port: int, no_browser: bool, root: Path | None
) -> None:
    """Mark written answers and undecided checks on a local page, alike answers together."""
    from autograder.review.marking.desk import Desk

    root = (root or Path()).resolve()
    name, who = choose_assignment(load_course(root), assignment), choose_marker(marker)
    if not has_reports(root, name):
        raise SetupError(f"no submission of {name!r} has been graded yet: run `autograder grade {name}`")
    course = open_current(root, name)
    desk = Desk(course, name, who, hide_names)
    questions = desk.questions()
    waiting = sum(question.open_count for question in questions)
    if not questions:
        click.echo(f"Nothing to mark: no cell of {name} is marked by hand, and no check is undecided.")
        return
    click.echo(f"{count(range(waiting), 'answer')} to {count(questions, 'question')} of {name} wait.")
    if again := desk.handed_in_again():
        complain(f"Handed in again, and not graded since: {in_words(again)}. Run `autograder grade {name}` first.")
    serve_desk(desk, port, opens_browser=not no_browser)
    conclude(desk)


def choose_marker(given: str | None) -> str:
    """Who marks. Raises click.UsageError."""
    try:
        marker = (given if given is not None else getpass.getuser()).strip()
    except (KeyError, OSError):  # a container's user may have no name
        marker = ""
    if not marker or len(marker) > MOST_MARKER or not marker.isprintable():
        raise click.UsageError(f"who marks? Give a name of 1 to {MOST_MARKER} characters: --as NAME")
    return marker


def serve_desk(desk: Desk, port: int, *, opens_browser: bool) -> None:
    """Serve until Ctrl-C. Raises SetupError where the port is taken."""
    from autograder.review.marking.server import serve

    def on_ready(address: str) -> None:
        click.echo(f"Open {address}\nCtrl-C ends it. Whoever has this address can set marks: keep it to yourself.")
        if opens_browser:
            with suppress(webbrowser.Error):
                webbrowser.open(address)

    try:
        asyncio.run(serve(desk, port, on_ready))
    except KeyboardInterrupt:
        click.echo("")
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SetupError(f"port {port} cannot be used ({why}): name another one with --port") from error


def conclude(desk: Desk) -> None:
    """Bring groups' marks and late penalties in line with what was marked, and say what there was."""
    from autograder.course.marking_record import open_record

    with open_record(desk.root, desk.assignment) as record:
        decisions, answers = record.counts(desk.marker, desk.since)
    for remark in upkeep.bring_up_to_date(desk.course, desk.assignment):
        complain(remark)
    by = f"{count(range(answers), 'answer')} in {count(range(decisions), 'decision')}, by {clean_name(desk.marker)}"
    click.echo(f"Marked: {by}. `autograder report {desk.assignment}` shows it.")
