"""What hidden tests import: the package's own, and an instructor's. docs/checks.md shows how one is written."""

from autograder.judging.check_language import (
    CheckContext,
    CheckEnded,
    award,
    expect,
    fail,
    need,
    points,
    requires,
    undecided,
)

__all__ = ["CheckContext", "CheckEnded", "award", "expect", "fail", "need", "points", "requires", "undecided"]
