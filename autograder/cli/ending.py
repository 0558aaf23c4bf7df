"""How a command ends: exit codes, and what is said on standard error."""

from __future__ import annotations

import click

from autograder.core.text import printable

NOTHING_GRADED, NOT_ALL_GRADED = 1, 3
INTERRUPTED = 130  # as shells have it, 128 and the number of the signal


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    click.secho(printable(message), fg="red", err=True)
