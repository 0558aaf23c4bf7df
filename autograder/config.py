"""What `grader_config.py` imports."""

from autograder.core.config import Assignment, Course, Exercise, Feedback, Limits
from autograder.core.probes import TEXTURES, AnswerProbe, CallProbe, CheckpointProbe, Drawn, ModuleProbe, TransformProbe

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
