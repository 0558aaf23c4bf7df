"""The class's accuracies and costs as anonymous dots: rounded, and none where there are too few to hide among."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autograder.core.grade_report import GradeReport
from autograder.review.figures import Dot

OWN = "your model"
FEWEST = 8  # dots, the student's own included: among fewer, a student could tell whose is whose
ACCURACY_STEPS = 200  # in 0..1: to half a percent


def class_dots(notebook: str, student: str, reports: Sequence[GradeReport]) -> list[Dot]:
    """A dot for every model of a notebook whose weights were evaluated, the student's own with the label OWN.

    Accuracies are rounded to 0.5 %, costs to two digits, so that nobody is recognised by a number that they told. None
    where there are fewer than FEWEST, or where the student's own is missing.
    """
    dots = [dot for report in reports if (dot := _dot(notebook, report, report.student == student)) is not None]
    dots.sort(key=lambda dot: (dot.accuracy, dot.parameters, dot.macs))
    return dots if len(dots) >= FEWEST and any(dot.label == OWN for dot in dots) else []


def _dot(notebook: str, report: GradeReport, is_own: bool) -> Dot | None:
    measured = next((pair for pair in report.measured() if pair[0].notebook == notebook), None)
    if measured is None or report.is_internal:
        return None
    model, found = measured
    accuracy = round(found.accuracy * ACCURACY_STEPS) / ACCURACY_STEPS
    return Dot(OWN if is_own else "", accuracy, _two_digits(model.parameters), _two_digits(model.macs))


def _two_digits(value: int) -> int:
    return round(value, 1 - math.floor(math.log10(value))) if value > 0 else 0
