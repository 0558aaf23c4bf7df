"""Errors that stop a command, each with its remedy."""

from __future__ import annotations


class SetupError(RuntimeError):
    """Nothing can be graded on this machine as it is; the message has the remedy."""
