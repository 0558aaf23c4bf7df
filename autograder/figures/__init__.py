"""Figures of reports and feedback as SVG that stands alone: pure functions from results to markup.

The colours are variables of the page with light defaults: `page_variables` gives a page both palettes.
"""

from autograder.figures.charts import (
    Dot,
    draw_accuracy_cost,
    draw_confusion,
    draw_curve,
    draw_exercises,
    draw_histogram,
    pareto_front,
)
from autograder.figures.drawing import draw_model
from autograder.figures.svg import page_variables

__all__ = [
    "Dot",
    "draw_accuracy_cost",
    "draw_confusion",
    "draw_curve",
    "draw_exercises",
    "draw_histogram",
    "draw_model",
    "page_variables",
    "pareto_front",
]
