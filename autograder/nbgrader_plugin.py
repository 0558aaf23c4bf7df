"""What `nbgrader_config.py` names for `nbgrader autograde` and formgrader."""

from autograder.course.late import LatePolicy
from autograder.course.markup import SafeMarkup, safe_markdown
from autograder.course.nbgrader_steps import (
    GradeInJail,
    RecordSubmission,
    WriteScores,
    withhold_checkpoints,
)
from autograder.course.release import ReleaseExporter
from autograder.course.safe_exporter import SafeExporter

__all__ = [
    "GradeInJail",
    "LatePolicy",
    "RecordSubmission",
    "ReleaseExporter",
    "SafeExporter",
    "SafeMarkup",
    "WriteScores",
    "safe_markdown",
    "withhold_checkpoints",
]
