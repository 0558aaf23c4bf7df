"""What `grader_config.py` imports."""

from autograder.core.config import (
    TEXTURES,
    AnswerProbe,
    Assignment,
    CallProbe,
    CheckpointProbe,
    Course,
    Drawn,
    Exercise,
    Feedback,
    Limits,
    ModuleProbe,
    TransformProbe,
)

__all__ = [
    "TEXTURES",
    "AnswerProbe",
    "Assignment",
    "CallProbe",
    "CheckpointProbe",
    "Course",
    "Drawn",
    "Exercise",
    "Feedback",
    "Limits",
    "ModuleProbe",
    "TransformProbe",
]
