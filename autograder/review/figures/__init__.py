"""Figures of reports and feedback as SVG that stands alone: pure functions from results to markup.

The colours are variables of the page with light defaults: `--figure-ink` (text), `--figure-quiet` (less of it),
`--figure-line` (grids and edges of boxes), `--figure-paper` (what boxes and dots are filled with), and `--figure-1` to
`--figure-6`: blue, orange, green, purple, yellow, and a shade that lies below text. `page_variables` gives a page both
palettes; a page may use its own greys. A figure has a width in pixels: `svg { max-width: 100%; height: auto }` fits it
into a narrow page.
"""

from autograder.review.figures.confusion_matrix import draw_confusion
from autograder.review.figures.learning_curve import draw_curve
from autograder.review.figures.network_drawing import draw_model
from autograder.review.figures.pareto import Dot, draw_accuracy_cost, pareto_front
from autograder.review.figures.point_charts import draw_exercises, draw_histogram
from autograder.review.figures.svg import page_variables

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
