"""Figures below a grade cell: the student's own model, how its weights did, and where it stands among the others."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from autograder.review.feedback.accuracy_cost import OWN
from autograder.review.feedback.content import ShownCell, ShownNotebook, accuracy_sentence, model_sentence
from autograder.review.figures import draw_accuracy_cost, draw_confusion, draw_curve, draw_model

CLASS_SENTENCE = (
    "Your model among the others of the class, without names; accuracies are rounded to 0.5 %, costs to two digits."
)
CURVE_SENTENCE = "The learning curve as your checkpoint tells it."
CONFUSION_SENTENCE = "Rows are the true classes, columns what your model said."


def draw_figures(page: ShownNotebook, cell: ShownCell) -> Markup:
    """What belongs below this cell of the page: models below the first one with checks, the rest below the last."""
    checked = [shown.name for shown in page.cells if shown.checks]
    parts: list[Markup] = []
    if checked[:1] == [cell.name]:
        parts += _models(page)
    if checked[-1:] == [cell.name]:
        parts += _results(page)
    return Markup("\n").join(parts)


def _models(page: ShownNotebook) -> Iterator[Markup]:
    for model in page.models:
        yield _figure(draw_model(model), model_sentence(model))


def _results(page: ShownNotebook) -> Iterator[Markup]:
    if page.evaluation:
        sentences = f"{accuracy_sentence(page.evaluation)} {CONFUSION_SENTENCE}"
        yield _figure(draw_confusion(page.evaluation), sentences)
    if page.curve:
        yield _figure(draw_curve(page.curve), CURVE_SENTENCE)
    if page.dots:
        yield _figure(draw_accuracy_cost(page.dots, "parameters", OWN), CLASS_SENTENCE)
        yield _figure(draw_accuracy_cost(page.dots, "MACs", OWN), "")


def _figure(drawing: Markup, caption: str) -> Markup:
    """A drawing with its caption; the caption alone where there is nothing to draw."""
    words = Markup("<figcaption>{}</figcaption>").format(caption) if caption else Markup("")
    return Markup("<figure>{}{}</figure>").format(words, drawing) if caption or drawing else Markup("")
