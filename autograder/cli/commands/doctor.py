"""`autograder doctor`: what it takes."""

from __future__ import annotations

from pathlib import Path

import click

from autograder.cli.options import course_option, examples


@click.command("doctor", epilog=examples("autograder doctor", "autograder doctor --course ~/courses/ml"))
@course_option
def doctor_command(root: Path | None) -> None:
    """Say what this machine offers for grading, and what to do where something is missing.

    It imports torch, starts a jail, and reads the test set, which takes half a minute; and it compares what the
    notebooks, their kit and the checks say with grader_config.py.

    \b
    Exit codes: 0 grading can work; 1 it cannot, with remedies.
    """
    from autograder.cli.doctor import look_at_machine

    look_at_machine(root)
