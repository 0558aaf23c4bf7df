"""Errors that stop a command: people read them as one message, without a traceback."""

from __future__ import annotations


class AutograderError(Exception):
    """Something that a person can put right. The message says what was expected, what was found, and the remedy."""


class SetupError(AutograderError):
    """Nothing can be graded on this machine as it is."""
