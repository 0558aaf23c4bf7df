"""`autograder explain`: what it takes."""

from __future__ import annotations

from typing import Any

import click

from autograder.cli.options import assignment_argument, course_option, device_option, examples, isolation_option


@click.command(
    "explain",
    epilog=examples("autograder explain ada --list", "autograder explain ada 02_network/test_logits hw1"),
)
@click.argument("student")
@click.argument("check", required=False)
@assignment_argument
@click.option("--list", "lists", is_flag=True, help="List the submission's checks with their results.")
@click.option(
    "--secret", is_flag=True, help="Also show the inputs that were drawn for this course. For no student's eyes."
)
@course_option
@isolation_option
@device_option
def explain_command(**options: Any) -> None:
    """Say why a check of a student's submission ended as it did, and show the evidence it looked at.

    CHECK is a check's name, or a part of it or of its title that no other one has. The verdict is derived again from
    what the run left when it was graded; no student code runs, and nothing is recorded.

    \b
    Exit codes:
      0  the verdict is the recorded one
      1  it cannot be derived again, with the reason and the remedy
      2  wrong usage: among others a student or a check that there is not
      3  the verdict is another than the recorded one; what differs is named
    """
    from autograder.cli.explain import ExplainOptions, explain_verdict

    explain_verdict(ExplainOptions(**options))
