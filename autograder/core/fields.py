"""Fields in texts, `{{ accuracy_full | percent }}`: what `grader_config.py` says, put where people read it.

The language is Jinja's, but a field begins with two braces *and a blank*, so that formulas such as `x^{{n}}` stay text.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from autograder.core.config import Course, Exercise
from autograder.core.declared_checks import declared_checks, points_of_checks

if TYPE_CHECKING:
    from jinja2 import Environment

PLACE = "<template>"  # the name under which Jinja knows a text that comes from no file


class FieldError(ValueError):
    """A field cannot be filled; `line` counts from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


def fill(text: str, values: Mapping[str, Any], mark: str = "") -> str:
    """A text with its fields filled, each between two marks where there is one. Raises FieldError."""
    if "{{ " not in text and "{% " not in text:
        return text
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return environment(mark).from_string(text).render(values)
    except TemplateSyntaxError as error:
        raise FieldError(f"a field cannot be read: {error.message}", error.lineno) from error
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == PLACE]
        raise FieldError(f"a field cannot be filled: {_said(error, values)}", (lines or [1])[-1] or 1) from error


def evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    """The value of what a field may hold. Raises FieldError."""
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        found = environment().compile_expression(expression, undefined_to_none=False)(values)
        str(found)  # an undefined name is an error only when it is used
    except TemplateSyntaxError as error:
        raise FieldError(f"{expression!r} cannot be read: {error.message}", 1) from error
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise FieldError(f"{expression!r} cannot be worked out: {_said(error, values)}", 1) from error
    return found


def _said(error: Exception, values: Mapping[str, Any]) -> str:
    from jinja2 import UndefinedError

    return f"{error} (known here: {', '.join(sorted(values))})" if isinstance(error, UndefinedError) else str(error)


@lru_cache
def environment(mark: str = "") -> Environment:
    """Jinja with the filters of `docs/adapt.md`."""
    import jinja2

    made = jinja2.Environment(
        variable_start_string="{{ ",
        variable_end_string=" }}",
        block_start_string="{% ",
        block_end_string=" %}",
        comment_start_string="{# ",
        comment_end_string=" #}",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: f"{mark}{number(value) if isinstance(value, float) else value}{mark}",
        autoescape=False,  # these are Markdown and Python, of the instructor's own
    )
    made.filters.update(percent=percent, points=in_points, number=number, millions=millions, billions=billions)
    return made


def number(value: float) -> str:
    """As people write it: 12, 2.5, 6,144."""
    return f"{round(value, 6):,.6f}".rstrip("0").rstrip(".")


def percent(value: float) -> str:
    """A part of 1, e.g. "72.5 %"."""
    return f"{number(100 * value)} %"


def in_points(value: float) -> str:
    """E.g. "1 point" or "2.5 points"."""
    return f"{number(value)} point{'s' * (value != 1)}"


def millions(value: float) -> str:
    """E.g. "12 million"."""
    return f"{number(value / 1e6)} million"


def billions(value: float) -> str:
    """How many billions, e.g. "1.5"."""
    return number(value / 1e9)


def exercise_values(exercise: Exercise) -> dict[str, Any]:
    """What fields may name in titles and hints of an exercise's checks."""
    return {
        **exercise.settings,
        "cells": dict(exercise.cells),
        "manual": dict(exercise.manual),
        "points": exercise.points,
        "checkpoint": exercise.checkpoint,
    }


def course_values(course: Course, name: str) -> dict[str, Any]:
    """What fields may name in every text of an assignment. Raises TooFewPoints."""
    assignment = course.assignment(name)
    exercises = {}
    for exercise in assignment.exercises:
        checks = points_of_checks(declared_checks(assignment.graders / exercise.grader), exercise.cells)
        exercises[exercise.notebook] = {**exercise_values(exercise), "checks": checks}
    return {
        "exercises": exercises,
        "checked_cells": {f"{e.notebook}.ipynb": tuple(e.cells) for e in assignment.exercises},
        "written_cells": {f"{e.notebook}.ipynb": tuple(e.manual) for e in assignment.exercises if e.manual},
        "points": sum(exercise.points for exercise in assignment.exercises),
        "limits": course.limits,
        "due": f"{assignment.due} ({assignment.time_zone})" if assignment.time_zone else assignment.due,
    }


def notebook_values(values: Mapping[str, Any], notebook: str) -> dict[str, Any]:
    """The same for one notebook, where its own exercise is at hand without its name."""
    return {**values, **values["exercises"].get(notebook, {})}
