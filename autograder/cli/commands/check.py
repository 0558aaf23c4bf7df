"""`autograder check`: what it takes."""

from __future__ import annotations

from typing import Any

import click

from autograder.cli.options import (
    assignment_argument,
    course_option,
    device_option,
    examples,
    existing_file,
    isolation_option,
)


@click.command(
    "check",
    epilog=examples(
        "autograder check submitted/ada/hw1/02_network.ipynb",
        "autograder check 'downloads/02_network (1).ipynb' hw1 --device cpu",
    ),
)
@click.argument("notebook", type=existing_file)
@assignment_argument
@course_option
@isolation_option
@device_option
def check_command(**options: Any) -> None:
    """Grade one notebook without a gradebook, and print its checks.

    The files beside the notebook (a checkpoint, say) are used; only this notebook's exercise is graded. Nothing is
    recorded. ASSIGNMENT may be left out where only one has a notebook of this name.

    \b
    Exit codes: 0 graded, whatever the points; 1 set-up, with remedies; 2 wrong usage; 3 the grader's own fault.
    """
    from autograder.cli.check import check_notebook

    check_notebook(**options)
