"""What a value of `grader_config.py` must be, and what is said where it is something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autograder.core.errors import AutograderError
from autograder.core.text import did_you_mean

CONFIG_FILE = "grader_config.py"
Arguments = Mapping[str, Any]


class ConfigError(AutograderError, ValueError):
    """`grader_config.py` cannot be used; the message names the value and what would be right."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(f"{message} ({CONFIG_FILE})")


def require_text(what: str, value: object) -> None:
    fits = isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
    require(fits, f"{what} must be a name, got {shown(value)}")


def require_name(what: str, value: object) -> None:
    fits = isinstance(value, str) and value.isidentifier()
    require(fits, f"{what} must be the name of something in the notebook, got {shown(value)}")


def require_number(what: str, value: object, *, whole: bool = False, least: float = 0, most: float = 2**40) -> None:
    """A number above `least` (whole ones: from `least` on) and not beyond all reason."""
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    kind = "a whole number" if whole else "a number"
    require(is_number, f"{what} must be {kind}, got {shown(value)}")
    assert isinstance(value, (int, float))
    enough = value >= least if whole else value > least
    require(enough, f"{what} must be {'>=' if whole else '>'} {least:g}, got {shown(value)}")
    require(value <= most, f"{what} must be <= {most:,}, got {shown(value)}")


def require_points(what: str, cells: object) -> None:
    """Points by the ids of cells; scores are kept to a tenth of a point."""
    require(isinstance(cells, Mapping), f"{what} must be a dict, got {shown(cells)}")
    assert isinstance(cells, Mapping)
    for cell, points in cells.items():
        require_text(f"{what}: an id", cell)
        plain = isinstance(points, (int, float)) and not isinstance(points, bool) and 0 < points <= 10_000
        require(plain, f"{what}[{cell!r}] must be points > 0, got {shown(points)}")
        require(round(points, 1) == points, f"{what}[{cell!r}] must have one decimal at most, got {shown(points)}")


def require_all(what: str, value: object, kinds: type | tuple[type, ...]) -> None:
    known = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
    require(isinstance(value, (list, tuple)), f"{what} must be a list of {known}, got {shown(value)}")
    assert isinstance(value, (list, tuple))
    wrong = next((item for item in value if not isinstance(item, kinds)), None)
    require(all(isinstance(item, kinds) for item in value), f"{what} must hold {known} only, got {shown(wrong)}")


def require_arguments(what: str, value: object) -> None:
    """Keyword arguments go into the jail, and into what identifies a run, as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{what} must be plain numbers, texts and lists ({error}) ({CONFIG_FILE})") from error
    names = value if isinstance(value, Mapping) else ()
    wrong = next((name for name in names if not isinstance(name, str) or not name.isidentifier()), None)
    require(wrong is None, f"{what} must have names of arguments, got {shown(wrong)}")


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def require_choice(what: str, value: object, known: list[str]) -> None:
    require(value in known, f"{what} must be one of {known}, got {shown(value)}" + did_you_mean(str(value), known))


def require_probed(what: str, value: object, probed: list[str]) -> None:
    """A probe that another one names."""
    meant = did_you_mean(str(value), probed)
    require(value in probed, f"{what} {shown(value)} is none of those that are probed, {probed}" + meant)
