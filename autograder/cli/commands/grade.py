"""`autograder grade`: what it takes."""

from __future__ import annotations

from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, device_option, examples, isolation_option


@click.command(
    "grade",
    epilog=examples(
        "autograder grade",
        "autograder grade hw1 --student ada --student bo",
        "autograder grade --force --no-report",
    ),
)
@assignment_argument
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
def grade_command(**options: Any) -> None:
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
      130  stopped with Ctrl-C: what was graded until then is recorded and in the report; the same command goes on
    """
    from autograder.cli.grade import GradeOptions, grade_submissions

    grade_submissions(GradeOptions(**options))
