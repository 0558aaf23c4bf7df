"""What `nbgrader export --exporter=` names."""

from autograder.review.exports.plugins import CanvasCsv, ChecksCsv, MoodleCsv

__all__ = ["CanvasCsv", "ChecksCsv", "MoodleCsv"]
