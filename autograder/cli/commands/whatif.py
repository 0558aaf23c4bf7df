"""`autograder whatif`: what it takes."""

from __future__ import annotations

from pathlib import Path
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

PASS_MARK = 50  # percent of all points


@click.command(
    "whatif",
    epilog=examples(
        "autograder whatif --set accuracy_full=0.70",
        "autograder whatif hw1 --config other_config.py --boundaries 50,60,70,80,90 --messages",
    ),
)
@assignment_argument
@click.option(
    "--config",
    "config",
    type=existing_file,
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
    default=str(PASS_MARK),
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
def whatif_command(**options: Any) -> None:
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
    from autograder.cli.whatif import WhatifOptions, compare_marks

    compare_marks(WhatifOptions(**options))
