"""Errors that stop a command: people read them as one message, without a traceback."""

from __future__ import annotations


class AutograderError(Exception):
    """Something that a person can put right: the `problem` says what was expected and what was found, the `remedy` what
    to do. The message is both; where the problem already says what to do, there is no remedy apart."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}" if remedy else problem)
        self.problem, self.remedy = problem, remedy


class SetupError(AutograderError):
    """Nothing can be graded on this machine as it is."""
