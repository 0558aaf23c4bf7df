"""The texts of a release: source notebooks and files with what `grader_config.py` says in their fields and cells.

What cannot be made to agree is a `Disagreement` with its place. One that `blocks` stops the release.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from autograder.core.config import Course, Exercise
from autograder.core.declared_checks import declared_checks
from autograder.core.fields import FieldError, course_values, evaluate, exercise_values, fill, notebook_values
from autograder.core.literal import WIDTH, literal, spread
from autograder.course.stale_words import stale_words
from autograder.handin.cells import grade_id_of, is_test_cell

MARK = "\N{SYMBOL FOR SUBSTITUTE}"  # around what fields put in, while literal words are looked at
CONFIGURED = re.compile(r"^# from grader_config\.py: (.+)$")
CHECKPOINTS_FOLDER = ".ipynb_checkpoints"

Notebook = Any


@dataclass(frozen=True)
class Disagreement:
    """Something that disagrees with the configuration: `cell` (from 1) and `line` (from 1) where there are any."""

    file: str
    problem: str
    cell: int = 0
    grade_id: str = ""
    line: int = 0
    blocks: bool = False

    def __str__(self) -> str:
        own = f" ({self.grade_id})" if self.grade_id else ""
        cell = f", cell {self.cell}{own}" if self.cell else ""
        return f"{self.file}{cell}{f', line {self.line}' if self.line else ''}: {self.problem}"


@dataclass
class ReleaseText:
    """What a release will say: its notebooks by name, its other texts by their path, and what disagrees."""

    notebooks: dict[str, Notebook] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    remarks: list[Disagreement] = field(default_factory=list)

    @property
    def blocking(self) -> list[Disagreement]:
        return [remark for remark in self.remarks if remark.blocks]


def release_text(course: Course, name: str, source: Path) -> ReleaseText:
    """The texts of an assignment's release, made from its folder of sources. Writes nothing."""
    found, assignment = ReleaseText(), course.assignment(name)
    values = course_values(course, name)
    read = {}
    for path in sorted(source.glob("*.ipynb")):
        try:
            read[path.stem] = nbformat.read(path, as_version=4)
        except (ValueError, OSError, AttributeError, KeyError) as error:  # nbformat's own are ValueErrors
            found.remarks.append(Disagreement(path.name, f"is no notebook that can be read: {error}", blocks=True))
    for notebook, content in read.items():
        if assignment.exercise(notebook) is None and any(map(is_test_cell, content.cells)):
            found.left_out.append(notebook)
        else:
            found.notebooks[notebook] = content
    for exercise in assignment.exercises:
        if not (source / f"{exercise.notebook}.ipynb").is_file():
            problem = f"grader_config.py grades it, but {source} has no such notebook"
            found.remarks.append(Disagreement(f"{exercise.notebook}.ipynb", problem, blocks=True))
    for notebook, content in found.notebooks.items():
        own, exercise_or_none = notebook_values(values, notebook), assignment.exercise(notebook)
        found.remarks += set_points(content, f"{notebook}.ipynb", exercise_or_none)
        found.remarks += fill_notebook(content, f"{notebook}.ipynb", own, found.left_out, exercise_or_none)
    for exercise in assignment.exercises:
        own = notebook_values(values, exercise.notebook)
        found.remarks += check_words(assignment.graders / exercise.grader, own, found.left_out, exercise)
    for path in _texts(source):
        name_there = path.relative_to(source).as_posix()
        with suppress(UnicodeDecodeError):  # what is no text has no fields
            found.files[name_there], wrong = fill_file(path, name_there, values, found.left_out)
            found.remarks += wrong
    return found


def _texts(source: Path) -> Iterator[Path]:
    for path in sorted([*source.rglob("*.md"), *source.rglob("*.py")]):
        if path.is_file() and CHECKPOINTS_FOLDER not in path.parts:
            yield path


def set_points(notebook: Notebook, file: str, exercise: Exercise | None) -> Iterator[Disagreement]:
    """Give graded cells the configuration's points; what has no counterpart is told."""
    wanted = {**exercise.cells, **exercise.manual} if exercise else {}
    for number, cell in enumerate(notebook.cells, 1):
        own, grade_id = cell.metadata.get("nbgrader", {}), grade_id_of(cell)
        if not (own.get("grade") or own.get("task")):
            continue
        kind = "cells" if is_test_cell(cell) else "manual"
        if exercise is not None and grade_id in getattr(exercise, kind):
            own["points"] = wanted.pop(grade_id)
        elif kind == "cells":
            yield Disagreement(file, "a test cell that grader_config.py does not name", number, grade_id, blocks=True)
        elif exercise is not None:
            problem = f"{own.get('points')} points by hand, which stand here alone: name the cell in Exercise.manual"
            yield Disagreement(file, problem, number, grade_id)
    for grade_id in wanted:
        yield Disagreement(
            file, f"grader_config.py gives points to {grade_id!r}, but there is no such cell", blocks=True
        )


def fill_notebook(
    notebook: Notebook, file: str, values: Mapping[str, Any], left_out: list[str], exercise: Exercise | None
) -> Iterator[Disagreement]:
    """Fill the fields in the notebook's texts. A cell that becomes empty is left out."""
    kept = []
    for number, cell in enumerate(notebook.cells, 1):
        kept.append(cell)
        if cell.cell_type != "markdown":
            continue
        try:
            text, marked = fill(cell.source, values), fill(cell.source, values, MARK)
        except FieldError as error:
            yield Disagreement(file, str(error), number, grade_id_of(cell), error.line, blocks=True)
            continue
        for line, problem in stale_words(literal_lines(marked), values, left_out, exercise):
            yield Disagreement(file, problem, number, grade_id_of(cell), line)
        if cell.source.strip() and not text.strip() and not grade_id_of(cell):
            kept.pop()
        cell.source = text
    notebook.cells = kept


def check_words(
    path: Path, values: Mapping[str, Any], left_out: list[str], exercise: Exercise
) -> Iterator[Disagreement]:
    """What titles and hints of checks say that the configuration does not."""
    for check in declared_checks(path):
        for text in (check.title, check.hint):
            try:
                marked = fill(text, {name: values[name] for name in exercise_values(exercise)}, MARK)
            except FieldError as error:
                yield Disagreement(path.name, f"{check.name}: {error}", line=check.line, blocks=True)
                continue
            for _, problem in stale_words(literal_lines(marked), values, left_out, exercise):
                yield Disagreement(path.name, f"{check.name} {problem}", line=check.line)


def literal_lines(marked: str) -> list[str]:
    """The lines of a text without what fields have put in."""
    return re.sub(f"{MARK}[^{MARK}]*{MARK}", MARK, marked).split("\n")


def fill_file(path: Path, name: str, values: Mapping[str, Any], left_out: list[str]) -> tuple[str, list[Disagreement]]:
    """A Markdown file with its fields filled, or a Python file with its configured values."""
    text = path.read_text("utf-8")
    try:
        if path.suffix == ".py":
            return fill_python(text, values, left_out), []
        marked = fill(text, values, MARK)
        problems = stale_words(literal_lines(marked), values, left_out, None)
        return marked.replace(MARK, ""), [Disagreement(name, problem, line=line) for line, problem in problems]
    except FieldError as error:
        return text, [Disagreement(name, str(error), line=error.line, blocks=True)]


def fill_python(text: str, values: Mapping[str, Any], left_out: list[str]) -> str:
    """A program in which every assignment below `# from grader_config.py: EXPRESSION` has the expression's value.

    Where the expression names a notebook that is left out, the value stays as it is. Raises FieldError.
    """
    lines = text.split("\n")
    found = {number: match[1] for number, line in enumerate(lines, 1) if (match := CONFIGURED.match(line))}
    try:
        statements = {statement.lineno: statement for statement in ast.parse(text).body} if found else {}
    except SyntaxError as error:
        raise FieldError(f"this is no Python: {error.msg}", error.lineno or 1) from error
    for number, expression in sorted(found.items(), reverse=True):
        if any(name in expression for name in left_out):
            continue
        statement = statements.get(number + 1)
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
            raise FieldError("an assignment must follow this line", number)
        try:
            value = evaluate(expression, values)
        except FieldError as error:
            raise FieldError(str(error), number) from error
        _put_in(lines, statement.value, round(value, 6) if isinstance(value, float) else value)
    return "\n".join(lines)


def _put_in(lines: list[str], place: ast.expr, value: Any) -> None:
    """Write a value in the place of another; one of several elements that stood on several lines does so again."""
    first, last = place.lineno - 1, (place.end_lineno or place.lineno) - 1
    before = lines[first].encode()[: place.col_offset].decode()  # Python counts bytes
    after = lines[last].encode()[place.end_col_offset or 0 :].decode()
    write: Callable[..., str] = spread if last > first and isinstance(value, (dict, list, tuple)) else literal
    new = f"{write(value, 0)}{after}"
    lines[first : last + 1] = f"{before}{new}".split("\n")


def stale_texts(text: ReleaseText, release: Path) -> Iterator[Disagreement]:
    """The first place in each released file where it says something else than it would if it were generated now."""
    for notebook, content in text.notebooks.items():
        path = release / f"{notebook}.ipynb"
        if path.is_file():
            yield from _stale_cell(_shown(content), _shown(nbformat.read(path, as_version=4)), path.name)
    for name, wanted in text.files.items():
        path = release / name
        if path.is_file() and (found := path.read_text("utf-8")) != wanted:
            line, old, new = _first_difference(found, wanted)
            yield Disagreement(name, f"says {old!r}, and would say {new!r} now", line=line)
    for name in text.left_out:
        if (release / f"{name}.ipynb").is_file():
            yield Disagreement(f"{name}.ipynb", "is released, but grader_config.py does not name it")


def _stale_cell(wanted: list[tuple[str, str]], found: list[tuple[str, str]], file: str) -> Iterator[Disagreement]:
    for number, (new_cell, old_cell) in enumerate(zip(wanted, found, strict=False), 1):
        if new_cell != old_cell:
            line, old, new = _first_difference(old_cell[1], new_cell[1])
            yield Disagreement(file, f"says {old!r}, and would say {new!r} now", number, line=line)
            return
    if len(wanted) != len(found):
        yield Disagreement(file, f"has {len(found)} cells, and would have {len(wanted)} now")


def _shown(notebook: Notebook) -> list[tuple[str, str]]:
    """Kind and text of each cell, of texts that students do not write, and the points of those that a person marks."""
    cells = []
    for cell in notebook.cells:
        own = cell.metadata.get("nbgrader", {})
        is_text = cell.cell_type == "markdown" and not own.get("solution")
        worth = f"{own.get('points')} points" if own.get("grade") and not is_test_cell(cell) else ""
        cells.append((cell.cell_type, cell.source if is_text else worth))
    return cells


def _first_difference(found: str, wanted: str) -> tuple[int, str, str]:
    old, new = found.split("\n"), wanted.split("\n")
    line = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    pair = [_short(lines[line]) if line < len(lines) else "" for lines in (old, new)]
    return line + 1, pair[0], pair[1]


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}…"
