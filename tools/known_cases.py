"""Correct designs and known mistakes as data: `tests/designs/<notebook>/*.py` and `tests/mutants/<notebook>.toml`.

A design is a student's answer that must get full marks: a file in cells, each headed `# %% <name>`, where the name is a
grade id or, for a cell of the student's own, anything else. The lines before the first cell are TOML in comments.
Cells that are not there are the reference solution's. The known architectures of `tests/architectures/` that are what
the exercise asks for are designs, too: `expected.json` there marks them with "modern_cnn".

A mutant is one mistake: a table of changes to the reference solution (or to a design, `base`), and what must come of
it. Keys of both:

    title       the design or mistake in a few words
    weights     what is handed in as a checkpoint, for the exercise that has one; see `hidden_graders.hand_in`

and of mutants only:

    caught_by   the check that must catch it
    costs       checks that depend on that one, and do not pass either
    says        what the check's message must contain
    line        what the student's line that the message points to must contain
    base        the design that is changed; the reference solution unless given
    change      [old, new] pairs; each old text stands in the base, and is replaced wherever it does
    cells       {grade id: text} written anew
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.samples import ROOT, solved_cells

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DESIGNS, MUTANTS = ROOT / "tests" / "designs", ROOT / "tests" / "mutants"
ARCHITECTURES = ROOT / "tests" / "architectures"
ARCHITECTURE = "architecture_"  # begins the name of a design that is a known architecture
CELL = re.compile(r"^# %% (\S.*)\n", re.MULTILINE)


class BadCase(ValueError):
    """A design or mutant that cannot be read; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Case:
    """A design (nothing may be lost) or a mutant (lost exactly in `caught_by` and `costs`) of one notebook.

    `cells` are the cells that differ from the reference solution's, by grade id or the student's own name, in order.
    """

    notebook: str
    name: str
    title: str
    cells: Mapping[str, str]
    weights: str = ""
    caught_by: str = ""
    costs: tuple[str, ...] = ()
    says: str = ""
    line: str = ""

    @property
    def is_mutant(self) -> bool:
        return bool(self.caught_by)

    @property
    def id(self) -> str:
        """For people and for pytest: `02_deeper_cnn/flatten`."""
        return f"{self.notebook}/{self.name}"


@dataclass(frozen=True)
class _Text:
    """A design's file: what its heading says, and its cells."""

    heading: Mapping[str, Any]
    cells: Mapping[str, str]


@cache
def designs() -> tuple[Case, ...]:
    """Every correct design, by notebook and name. Raises BadCase."""
    return (*(_design(path) for path in sorted(DESIGNS.glob("*/*.py"))), *_architectures())


@cache
def mutants() -> tuple[Case, ...]:
    """Every known mistake, by notebook, in the order of its file. Raises BadCase."""
    return tuple(case for path in sorted(MUTANTS.glob("*.toml")) for case in _mutants(path))


def _architectures() -> Iterator[Case]:
    """Known architectures under the name that the exercise asks for."""
    for name, expected in json.loads((ARCHITECTURES / "expected.json").read_text()).items():
        if expected.get("modern_cnn"):
            text = (ARCHITECTURES / f"{name}.py").read_text()
            title = (ast.get_docstring(ast.parse(text)) or name).splitlines()[0]
            cells = {"architecture": text, "modern-cnn-solution": "ModernCNN = Net"}
            yield Case("04_modern_cnn", f"{ARCHITECTURE}{name}", title, cells)


def _design(path: Path) -> Case:
    text = _read_design(path)
    try:
        return Case(path.parent.name, path.stem, cells=text.cells, **text.heading)
    except TypeError as error:
        raise BadCase(f"{path}: {error}") from error


def _read_design(path: Path) -> _Text:
    heading, *parts = CELL.split(path.read_text())
    stripped = "\n".join(line.removeprefix("#").strip() for line in heading.splitlines())
    try:
        return _Text(tomllib.loads(stripped), dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True)))
    except tomllib.TOMLDecodeError as error:
        raise BadCase(f"{path}: the lines above the first cell are no TOML: {error}") from error


def _mutants(path: Path) -> Iterator[Case]:
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise BadCase(f"{path}: {error}") from error
    for name, table in tables.items():
        place = f"{path}, [{name}]"
        base, changes, cells = table.pop("base", ""), table.pop("change", []), table.pop("cells", {})
        changed = _changed(_base_cells(path.stem, base, place), changes, place) | cells
        costs = tuple(table.pop("costs", ()))
        if "caught_by" not in table:
            raise BadCase(f"{place}: caught_by is missing")
        try:
            yield Case(path.stem, name, cells=changed, costs=costs, **table)
        except TypeError as error:
            raise BadCase(f"{place}: {error}") from error


def _base_cells(notebook: str, base: str, place: str) -> Mapping[str, str]:
    if not base:
        return solved_cells()
    path = DESIGNS / notebook / f"{base}.py"
    if not path.is_file():
        raise BadCase(f"{place}: there is no design {base!r} in {path.parent}")
    return _read_design(path).cells


def _changed(cells: Mapping[str, str], changes: list[list[str]], place: str) -> dict[str, str]:
    """The cells that the changes touch, changed; all cells of a design. Raises BadCase where a text is not there."""
    changed = dict(cells)
    for old, new in changes:
        holders = [name for name, text in changed.items() if old in text]
        if not holders:
            raise BadCase(f"{place}: the base holds no {old!r}")
        for name in holders:
            changed[name] = changed[name].replace(old, new)
    reference = solved_cells()
    return {name: text for name, text in changed.items() if text != reference.get(name)}
