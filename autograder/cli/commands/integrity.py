"""`autograder integrity`: what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, device_option, examples, isolation_option


@click.command(
    "integrity",
    epilog=examples(
        "autograder integrity",
        "autograder integrity hw1 --hold-out private-images/",
        "autograder integrity --no-models",
    ),
)
@assignment_argument
@click.option(
    "--hold-out",
    type=click.Path(exists=True, path_type=Path),
    help="Private images that no student has: a folder with a folder of images for each class, or an .npz file.",
)
@click.option("--no-models", is_flag=True, help="Run no model: neither test images nor a runner are needed.")
@course_option
@isolation_option
@device_option
def integrity_command(**options: Any) -> None:
    """Write a page for the staff about submissions that are alike, and about models that know the test set.

    Compared are checkpoints, answers, and both with what the course ships; models are run on changed test images, and
    on a private hold-out where there is one. Signals for a person to judge: nothing changes a mark, and no student is
    told. What was kept when submissions were graded is looked at; no student code runs.

    \b
    Exit codes: 0 the page is written (what could not be looked at is named on it); 1 it is not, with the remedy;
    2 wrong usage.
    """
    from autograder.cli.integrity import IntegrityOptions, survey_submissions

    survey_submissions(IntegrityOptions(**options))
