"""Feedback as JSON, for a course's own pages and tools; `docs/feedback.md` describes the fields."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from autograder.core.rows import Points
from autograder.review.feedback.accuracy_cost import OWN
from autograder.review.feedback.content import (
    ShownCell,
    ShownCheck,
    ShownNotebook,
    StudentFeedback,
    strengths_and_steps,
)

SCHEMA = 1  # changes where a field goes or changes its meaning


def render_json(feedback: StudentFeedback) -> str:
    """What the pages show, as an object; indented, since people look at it, too."""
    overall = feedback.overall
    summary = strengths_and_steps(cell for page in feedback.notebooks for cell in page.cells)
    content = {
        "schema": SCHEMA,
        "assignment": overall.assignment,
        "student": overall.student,
        "points": _points(overall.total),
        "remarks": [*overall.sentences, *summary.sentences],
        "went_well": list(summary.strengths),
        "next_steps": [asdict(step) for step in summary.steps],
        "notebooks": [_notebook(page) for page in feedback.notebooks],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _points(points: Points) -> dict[str, float | None]:
    return {"earned": points.earned, "maximum": points.maximum}


def _notebook(page: ShownNotebook) -> dict[str, Any]:
    evaluation = asdict(page.evaluation) | {"accuracy": page.evaluation.accuracy} if page.evaluation else None
    if evaluation:
        del evaluation["mistakes"], evaluation["notebook"]
    curve = asdict(page.curve) if page.curve else None
    return {
        "name": page.name,
        "points": _points(page.points),
        "remarks": list(page.remarks),
        "cells": [_cell(cell) for cell in page.cells],
        "comments": [asdict(comment) for comment in page.comments],
        "models": [{"name": m.name, "parameters": m.parameters, "macs": m.macs} for m in page.models],
        "evaluation": evaluation,
        "curve": {name: values for name, values in curve.items() if name != "notebook"} if curve else None,
        "class": [
            {"accuracy": d.accuracy, "parameters": d.parameters, "macs": d.macs, "own": d.label == OWN}
            for d in page.dots
        ],
    }


def _cell(cell: ShownCell) -> dict[str, Any]:
    checks = [_check(check) for check in cell.checks]
    return {"name": cell.name, "points": _points(cell.points), "remarks": list(cell.remarks), "checks": checks}


def _check(check: ShownCheck) -> dict[str, Any]:
    is_known = check.status is not None  # else the title is all that belongs to the notebook
    return {
        "title": check.title,
        "points": _points(Points(check.earned if is_known else None, check.points)),
        "result": check.status.value if check.status else None,
        "message": check.message,
        "remedy": check.remedy,
        "place": check.place,
    }
