"""Words that no field wrote and that contradict `grader_config.py`: other points, other thresholds, exercises that are
gone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autograder.core.config import Exercise
from autograder.core.fields import number

AMOUNT = r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?)(?:\*\*)?[ \u00a0\u202f]?"
POINTS = re.compile(AMOUNT + r"points?\b")
PERCENT = re.compile(AMOUNT + r"\\?%")
GMAC = re.compile(AMOUNT + r"GMAC\b")
MIB = re.compile(AMOUNT + r"MiB\b")


def stale_words(
    lines: Sequence[str], values: Mapping[str, Any], left_out: Sequence[str], exercise: Exercise | None
) -> Iterator[tuple[int, str]]:
    """Line (from 1) and problem of each literal amount that the configuration does not have, and of each mention of a
    notebook that is left out. Thresholds and budgets are looked for in notebooks of exercises that have some."""
    gone = {name: _mention(name) for name in left_out}
    for count, line in enumerate(lines, 1):
        for pattern, unit, known in _amounts(values, exercise):
            for found in pattern.finditer(line):
                if known and float(found[1].replace(",", "")) not in known:
                    has = ", ".join(number(value) for value in sorted(known))
                    yield (
                        count,
                        f"says {found[0]!r}, but {unit} in grader_config.py: {has}. Write a field (docs/adapt.md)",
                    )
        for name, pattern in gone.items():
            if mention := pattern.search(line):
                yield count, f"says {mention[0]!r}, but grader_config.py has no {name!r}"


def _amounts(values: Mapping[str, Any], exercise: Exercise | None) -> Iterator[tuple[re.Pattern[str], str, set[float]]]:
    yield POINTS, "points", points_of(values, exercise)
    if exercise is None:
        return
    settings = [value for value in exercise.settings.values() if isinstance(value, (int, float))]
    yield PERCENT, "thresholds in percent", {round(100 * value, 6) for value in settings if 0 < value < 1}
    yield GMAC, "budgets", {value / 1e9 for value in settings if value >= 1e6}
    yield MIB, "MiB", {float(exercise.checkpoint.most_mib)} if exercise.checkpoint else set()


def points_of(values: Mapping[str, Any], exercise: Exercise | None) -> set[float]:
    """All numbers of points that a text may name: those of its own exercise, or of any where it belongs to none."""
    names = [exercise.notebook] if exercise else list(values["exercises"])
    own = [values["exercises"][name] for name in names]
    parts = [[one["points"], *one["cells"].values(), *one["manual"].values(), *one["checks"].values()] for one in own]
    return {float(value) for value in [values["points"], *(value for part in parts for value in part)]}


def _mention(name: str) -> re.Pattern[str]:
    """The notebook's name, or "exercise 3" for one that is called `03_…`."""
    count = re.match(r"0*(\d+)_", name)
    return re.compile(re.escape(name) + (rf"|\b[Ee]xercise {count[1]}\b" if count else ""))
