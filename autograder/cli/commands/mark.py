"""`autograder mark`: what it takes."""

from __future__ import annotations

from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, examples


@click.command(
    "mark",
    epilog=examples("autograder mark", "autograder mark hw1 --hide-names", "autograder mark --port 8899 --no-browser"),
)
@assignment_argument
@click.option("--as", "marker", metavar="NAME", help="Who marks, as others read it.  [default: your login name]")
@click.option("--hide-names", is_flag=True, help="Begin without students' names; the page can show them.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@course_option
def mark_command(**options: Any) -> None:
    """Mark written answers and undecided checks on a local page, alike answers together.

    One question at a time, with a rubric, comments used before, keys for everything, and undo. Marks and comments are
    nbgrader's own, so formgrader, report and feedback show them. Only this machine can open the page, and only by the
    address that is printed. Ctrl-C ends it; what was saved stays. From elsewhere: `ssh -L 8899:127.0.0.1:8899 MACHINE`,
    with --port 8899 there, then open the printed address.

    \b
    Exit codes: 0 ended by Ctrl-C, or nothing to mark; 1 it could not be served, with the remedy; 2 wrong usage.
    """
    from autograder.cli.mark import mark_answers

    mark_answers(**options)
