"""What `nbgrader_config.py` names for `nbgrader generate_feedback`."""

from autograder.review.feedback.exporter import FeedbackExporter, ShowVisible

__all__ = ["FeedbackExporter", "ShowVisible"]
