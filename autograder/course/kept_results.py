"""Which entries of the cache belong to whose submissions: it is kept by content, and names nobody.

A list for each student in `.autograder/traces/<assignment>/<student>.json`, so that whoever is forgotten takes along
what only their work has left there.
"""

from __future__ import annotations

import json
from pathlib import Path

from autograder.core.files import write_atomically
from autograder.pipeline.grade import read_folder
from autograder.pipeline.grader import Grader


def traces_path(root: Path, assignment: str, student: str) -> Path:
    """Where a student's list is kept."""
    return root / ".autograder" / "traces" / assignment / f"{student}.json"


def note_traces(grader: Grader, student: str, folder: Path) -> None:
    """Add the names of the files that grading a folder leaves in the cache, or finds there."""
    _, plan, key = read_folder(grader, student, folder)
    names = {f"{key}.report.json", *(f"{own}.frames" for own in (*plan.keys.values(), plan.checkpoint_key))}
    path = traces_path(grader.root, grader.assignment_name, student)
    known = traces_in(path)
    if not names <= known:
        write_atomically(path, json.dumps(sorted(known | names)).encode())


def traces_in(path: Path) -> set[str]:
    """The names in a list; nothing where it cannot be read."""
    try:
        names = json.loads(path.read_text())
    except (OSError, ValueError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def traces_of(root: Path, student: str) -> set[str]:
    """The names of the files that only this student's work is behind."""
    own: set[str] = set()
    others: set[str] = set()
    for path in (root / ".autograder" / "traces").glob("*/*.json"):
        (own if path.stem == student else others).update(traces_in(path))
    return own - others


def unattributed(root: Path) -> int:
    """How many files of the cache are in nobody's list: an engine without lists left them there."""
    known = {name for path in (root / ".autograder" / "traces").glob("*/*.json") for name in traces_in(path)}
    return sum(path.name not in known for path in (root / ".autograder" / "cache").glob("*.*"))
