"""A course's configuration with changes for a what-if: another file, other graders, other settings; all for once."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.core.config import Assignment, Course, load_course
from autograder.core.config_values import CONFIG_FILE, ConfigError
from autograder.core.text import did_you_mean

Settings = Mapping[str, Mapping[str, Any]]  # notebook -> setting -> value


class WrongSetting(ValueError):
    """A setting that does not exist, or a value of another type; the message has the nearest name."""


@dataclass(frozen=True)
class Changes:
    """What takes the place of the course's own: a file like `grader_config.py`, a folder of graders, settings."""

    config: Path | None = None
    graders: Path | None = None
    settings: Settings = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.config or self.graders or self.settings)

    def config_file(self, root: Path) -> Path:
        """The configuration that is read."""
        return self.config or root / CONFIG_FILE

    def record(self) -> dict[str, Any]:
        """As JSON holds it, for the grading process."""
        return {
            "config": str(self.config) if self.config else None,
            "graders": str(self.graders) if self.graders else None,
            "settings": repr(self.settings),  # JSON has no tuples
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Changes:
        config, graders = (Path(record[name]) if record[name] else None for name in ("config", "graders"))
        return cls(config, graders, ast.literal_eval(record["settings"]))


def load_changed(root: Path, name: str, changes: Changes) -> Course:
    """The course with the changes in its assignment `name`. Raises ConfigError."""
    course = load_course(root, changes.config)
    assignment = course.assignment(name)
    if changes.graders is not None:
        _check_graders(assignment, changes.graders)
        assignment = dataclasses.replace(assignment, graders=changes.graders)
    exercises = [
        dataclasses.replace(e, settings={**e.settings, **changes.settings.get(e.notebook, {})})
        for e in assignment.exercises
    ]
    assignment = dataclasses.replace(assignment, exercises=exercises)
    return dataclasses.replace(course, assignments={**course.assignments, name: assignment})


def _check_graders(assignment: Assignment, folder: Path) -> None:
    missing = [e.grader for e in assignment.exercises if not (folder / e.grader).is_file()]
    if missing:
        wanted = f"no {', '.join(missing)} in {folder}"
        raise ConfigError(f"{wanted}: copy the whole folder {assignment.graders} and change the copy")


def parse_settings(assignment: Assignment, texts: Sequence[str]) -> Settings:
    """Settings from `NAME=VALUE` or `NOTEBOOK.NAME=VALUE`, of the type that the assignment has. Raises WrongSetting."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise WrongSetting(f"{text!r}: expected SETTING=VALUE, e.g. accuracy_full=0.70")
        notebook, setting = _find_setting(assignment, name.strip())
        exercise = assignment.exercise(notebook)
        assert exercise is not None
        found.setdefault(notebook, {})[setting] = _typed(name.strip(), value.strip(), exercise.settings[setting])
    return found


def _find_setting(assignment: Assignment, name: str) -> tuple[str, str]:
    known = [(e.notebook, setting) for e in assignment.exercises for setting in e.settings]
    full = [f"{notebook}.{setting}" for notebook, setting in known]
    matches = [pair for pair, spelling in zip(known, full, strict=True) if name in (pair[1], spelling)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        choices = " or ".join(f"{notebook}.{setting}" for notebook, setting in matches)
        raise WrongSetting(f"{name!r} is a setting of {len(matches)} exercises: write {choices}")
    words = [*dict.fromkeys(setting for _, setting in known), *full]
    raise WrongSetting(f"no exercise has a setting {name!r}; known: {', '.join(full)}{did_you_mean(name, words)}")


def _typed(name: str, text: str, present: Any) -> Any:
    """A value as Python writes it (a bare word is a string), of the type that stands in the configuration now."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if type(present) is float and type(value) is int:
        value = float(value)
    if type(value) is not type(present):
        expected = f"expected {type(present).__name__} (now {present!r})"
        raise WrongSetting(f"{name}: {expected}, got {text!r}")
    return value
