"""Marks that travel: Canvas, Moodle, Gradescope and plain CSV, each with the gradebook's numbers."""

from autograder.exports.canvas import fill_canvas
from autograder.exports.classbook import Classbook, ExportError, Policy, read_class
from autograder.exports.fill import Export
from autograder.exports.gradescope import write_results
from autograder.exports.moodle import fill_worksheet, moodle_csv
from autograder.exports.plain import long_csv, wide_csv

__all__ = [
    "Classbook",
    "Export",
    "ExportError",
    "Policy",
    "fill_canvas",
    "fill_worksheet",
    "long_csv",
    "moodle_csv",
    "read_class",
    "wide_csv",
    "write_results",
]
