"""Marks that travel: Canvas, Moodle, Gradescope and plain CSV, each with the gradebook's numbers."""

from autograder.review.exports.canvas import fill_canvas
from autograder.review.exports.classbook import Classbook, ExportError, Policy, expect_final, read_class
from autograder.review.exports.fill import Export
from autograder.review.exports.gradescope import write_results
from autograder.review.exports.moodle import fill_worksheet, moodle_csv
from autograder.review.exports.plain import long_csv, wide_csv

__all__ = [
    "Classbook",
    "Export",
    "ExportError",
    "Policy",
    "expect_final",
    "fill_canvas",
    "fill_worksheet",
    "long_csv",
    "moodle_csv",
    "read_class",
    "wide_csv",
    "write_results",
]
