"""A policy for late submissions, as nbgrader's plugin: so many points or percent for every day that has begun.

In `nbgrader_config.py`, where its numbers are 0 until somebody chooses others:

    c.AssignLatePenalties.plugin_class = "autograder.course.late.LatePolicy"
    c.LatePolicy.percent_per_day = 10

nbgrader asks a plugin about one notebook at a time, and adds up what it says. Points for a submission would be taken
once for each of its notebooks; that is why this policy is asked about all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nbgrader.plugins import BasePlugin
from traitlets import Float, Integer, TraitError, validate

DAY_SECONDS = 86_400
# student, scores by notebook, seconds late → points to take off by notebook, None where the plugin takes off none
Penalties = Callable[[str, Mapping[str, float], float], Mapping[str, float | None]]


class LatePolicy(BasePlugin):  # type: ignore[misc]
    """What is taken off a late submission, in points of its whole score (manual marks and extra credit included)."""

    percent_per_day = Float(0, min=0, max=100, help="Percent of the score, for every day that has begun.").tag(
        config=True
    )
    points_per_day = Float(
        0, min=0, help="Points of the submission (not of each notebook), for every day that has begun."
    ).tag(config=True)
    grace_minutes = Float(
        0, min=0, help="Nothing is taken off up to this; later, days count from the due date all the same."
    ).tag(config=True)
    most_percent = Float(
        100, min=0, max=100, help="No more than this much of the score is taken off, until the last day."
    ).tag(config=True)
    last_day = Integer(0, min=0, help="After this many days the submission counts 0; 0 for no such day.").tag(
        config=True
    )

    @validate("percent_per_day", "points_per_day", "grace_minutes", "most_percent")  # type: ignore[untyped-decorator]
    def _finite(self, proposal: Any) -> float:
        """traitlets lets NaN through every bound."""
        if not math.isfinite(proposal["value"]):
            raise TraitError(f"LatePolicy.{proposal['trait'].name} must be a number, got {proposal['value']}")
        return float(proposal["value"])

    def submission_penalty(self, score: float, seconds_late: float) -> float:
        """Points that a submission loses, in 0..`score`."""
        score = max(score, 0.0)
        if seconds_late <= self.grace_minutes * 60:
            return 0.0
        days = math.ceil(seconds_late / DAY_SECONDS)
        if self.last_day and days > self.last_day:
            return score
        wanted = days * (self.points_per_day + score * self.percent_per_day / 100)
        return float(min(wanted, score * self.most_percent / 100))

    def penalties(self, student: str, scores: Mapping[str, float], seconds_late: float) -> dict[str, float | None]:
        """The same, shared out among the notebooks in proportion to their scores."""
        total = sum(max(score, 0.0) for score in scores.values())
        points = self.submission_penalty(total, seconds_late)
        if not points:
            return dict.fromkeys(scores)
        return {name: points * max(score, 0.0) / total for name, score in scores.items()}

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float | None:
        """What nbgrader's own step asks, about one notebook. Raises ValueError where the answer would be wrong."""
        if self.points_per_day:
            raise ValueError("points_per_day is for submissions: it needs the autograder's step RecordSubmission")
        return self.submission_penalty(score, total_seconds_late) or None


def penalties_of(plugin: Any) -> Penalties:
    """How a course's plugin, this one or any other of nbgrader's kind, is asked about a submission."""
    if isinstance(plugin, LatePolicy):
        return plugin.penalties

    def of_each(student: str, scores: Mapping[str, float], seconds_late: float) -> dict[str, float | None]:
        return {name: plugin.late_submission_penalty(student, score, seconds_late) for name, score in scores.items()}

    return of_each
