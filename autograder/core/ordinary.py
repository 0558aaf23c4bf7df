"""Assignments that a course's folder holds beside those that its configuration names: nbgrader's ordinary ones, with
their tests in the notebooks' own cells."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder.core.config_values import ConfigError
from autograder.core.grade_report import CellScore, GradeReport

KIND, ORDINARY = "kind", "ordinary"  # a fact of a report: how its marks came about
STEPS = ("source", "release")  # where assignments lie, one folder each


def ordinary_names(root: Path, configured: Collection[str]) -> list[str]:
    """The assignments of a course that its configuration does not name."""
    found = {path.parent.name for step in STEPS for path in (root / step).glob("*/*.ipynb")}
    return sorted(found - set(configured))


def released_points(release: Path) -> dict[str, dict[str, float]]:
    """The points of every automatically graded test cell of a release, by notebook. Raises ConfigError."""
    return {path.stem: _points_in(path) for path in sorted(release.glob("*.ipynb"))}


def other_languages(release: Path) -> dict[str, str]:
    """The notebooks of a release that are not for Python, each with its language."""
    found = {path.name: _language(json.loads(path.read_text(encoding="utf-8"))) for path in release.glob("*.ipynb")}
    return {name: language for name, language in sorted(found.items()) if not language.lower().startswith("python")}


def _language(notebook: Mapping[str, Any]) -> str:
    """The language that a notebook says it is in; Python where it says nothing."""
    metadata = notebook.get("metadata") or {}
    kernel, language = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
    return str(kernel.get("language") or language.get("name") or kernel.get("name") or "python")


def _points_in(path: Path) -> dict[str, float]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        own = [cell["metadata"].get("nbgrader") or {} for cell in cells if cell["cell_type"] == "code"]
        return {str(c["grade_id"]): float(c["points"]) for c in own if c.get("grade") and not c.get("solution")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = f"run `nbgrader generate_assignment {path.parent.name} --force`"
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}: {error}): {remedy}") from error


def is_ordinary(report: GradeReport) -> bool:
    """Whether a report is of an ordinary assignment."""
    return report.facts.get(KIND) == ORDINARY


def scores_of(report: GradeReport) -> list[CellScore]:
    """One score for every automatic cell. Hidden graders give tenths of a point; a test cell of an ordinary assignment
    may give any part of its points, as in nbgrader."""
    if not is_ordinary(report):
        return report.cell_scores()
    earned = {(check.notebook, check.cell): check.earned for check in report.checks}
    return [replace(score, earned=_exact(earned, score)) for score in report.cell_scores()]


def is_recorded(report: GradeReport, automatic: Mapping[tuple[str, str], float | None]) -> bool:
    """Whether these automatic scores, by notebook and cell, are exactly those of the report."""
    return all(automatic.get((score.notebook, score.cell)) == score.earned for score in scores_of(report))


def _exact(earned: Mapping[tuple[str, str], float], score: CellScore) -> float:
    return min(max(earned.get((score.notebook, score.cell), 0.0), 0.0), score.maximum)


def shown_line(full: str, released: str, line: int) -> int:
    """The line (from 1) of a released text that a line of the full one is; 0 where it is not released: the release is
    the full text without the regions that students do not get."""
    return _released_lines(full, released).get(line, 0)


def hidden_lines(full: str, released: str) -> list[str]:
    """The lines of a full text that students do not get."""
    given = _released_lines(full, released)
    return [text for number, text in enumerate(full.split("\n"), 1) if number not in given]


def is_cut_from(full: str, released: str) -> bool:
    """Whether a released text is the full one with lines left out."""
    return len(_released_lines(full, released)) == len(released.split("\n")) or not released.strip()


def _released_lines(full: str, released: str) -> dict[int, int]:
    """The numbers of the released lines by those of the full text, in order."""
    wanted, found = released.split("\n"), dict[int, int]()
    for number, text in enumerate(full.split("\n"), 1):
        if len(found) < len(wanted) and text.rstrip() == wanted[len(found)].rstrip():
            found[number] = len(found) + 1
    return found
