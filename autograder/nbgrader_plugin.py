"""What `nbgrader_config.py` names for `nbgrader autograde` and formgrader."""

from autograder.course.late import LatePolicy
from autograder.course.markup import SafeMarkup, safe_markdown
from autograder.course.nbgrader_steps import (
    GradeInJail,
    RecordSubmission,
    SafeExporter,
    WriteScores,
    withhold_checkpoints,
)

__all__ = [
    "GradeInJail",
    "LatePolicy",
    "RecordSubmission",
    "SafeExporter",
    "SafeMarkup",
    "WriteScores",
    "safe_markdown",
    "withhold_checkpoints",
]
