"""Options and arguments that several commands have, and the examples below their help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

Declared = TypeVar("Declared", bound=Callable[..., object])
NAMED = "autograder.assignment"  # where the form with a name is kept until the position is read

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
course_option = click.option(
    "--course",
    "root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The course's folder, which holds grader_config.py.  [default: the working directory]",
)
isolation_option = click.option(
    "--isolation",
    type=click.Choice(["bubblewrap", "none"]),
    default=None,
    help='How student code is kept apart; "none" runs it with your own rights: only for people you trust.',
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default=None,
    help="Where model graphs are run.  [default: as grader_config.py says, which is a GPU where there is one]",
)


def assignment_argument(command: Declared) -> Declared:
    """The assignment, by position in every command; `--assignment NAME`, as nbgrader's commands have it, says the same.

    The option is read first, so that both can be compared: two different names are wrong usage.
    """
    position = click.argument("assignment", required=False, callback=_only_one)
    option = click.option(
        "--assignment", "named", hidden=True, is_eager=True, expose_value=False, callback=_keep, help="As ASSIGNMENT."
    )
    return option(position(command))


def _keep(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    ctx.meta[NAMED] = value
    return value


def _only_one(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    named = ctx.meta.get(NAMED)
    if value and named and value != named:
        raise click.UsageError(f"two assignments are named, {value!r} and --assignment {named!r}: leave one out")
    return value or named


def examples(*lines: str) -> str:
    """The end of a command's help: each line can be typed as it stands."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
