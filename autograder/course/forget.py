"""Forget a student: find everything that the course's folder holds of one, and delete it.

What is kept by student is deleted; what lists many (records of collections, logs, groups, extensions) loses the
student's lines; pages and exports about everybody are deleted whole, since a command writes them anew. What cannot be
known, such as backups, is looked for and named.
"""

from __future__ import annotations

import csv
import glob
import html
import io
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nbgrader.api import Gradebook, MissingEntry
from sqlalchemy import create_engine, text

from autograder.core.files import write_atomically
from autograder.core.text import clean_name
from autograder.course.extensions import extensions_path, load_extensions, save_extensions
from autograder.course.gradebook import database_path, explained, opened
from autograder.course.groups import Groups, groups_path, load_groups, save_groups
from autograder.course.hand_marks import read_held
from autograder.course.kept_results import traces_of
from autograder.course.marking_record import open_record, record_path

if TYPE_CHECKING:
    from autograder.course.folder import NbCourse

STEPS = ("submitted", "autograded", "feedback")
BY_STUDENT = ("reports", "regrades", "recording", "shown", "traces")  # of .autograder, one file for each student
WRITTEN_ANEW = ("reports", "exports")  # pages and files about everybody, below the course's folder
NOT_SEARCHED = {".venv", ".git", "data", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
MOST_SEARCHED_MIB = 256  # of one file
LOG_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\[)", re.MULTILINE)


class ForgetError(ValueError):
    """Somebody who cannot be forgotten; the message says why."""


@dataclass(frozen=True)
class Trace:
    """Something that the course holds of a student, in words, and how it goes."""

    what: str
    remove: Callable[[], None]


def check_id(student: str) -> None:
    """Refuse what is no name of a folder: it would lead out of the course. Raises ForgetError."""
    if not student or student in (".", "..") or "/" in student or "\0" in student or len(student.encode()) > 255:
        raise ForgetError(f"{clean_name(student)!r} is no student id: it must be the name of a folder")


def known_students(course: NbCourse, assignments: Iterable[str]) -> list[str]:
    """Everybody who has a submission, a report or a place in the gradebook."""
    found = {student for name in assignments for student in course.submissions(name)}
    found |= {path.stem for path in (course.root / ".autograder" / "reports").glob("*/*.json")}
    with opened(course.db_url) as gradebook:
        found |= {student.id for student in gradebook.students} if gradebook is not None else set()
    return sorted(found)


def find_traces(course: NbCourse, student: str, assignments: Iterable[str]) -> list[Trace]:
    """Everything that will go, in the order in which it goes: the gradebook last, which knows who it was.

    Raises ForgetError, and ExtensionError or GroupError where a record cannot be read.
    """
    check_id(student)
    root, names = course.root, sorted({*assignments, *_assignments(course)})
    words = Words.of(student, _identity(course, student))
    traces = [_tree(root, path) for path in _own_paths(course, student, names)]
    for name in names:
        traces += _lists(root, name, student)
    traces += _marking(course, student, names)
    traces += [_rows(path, student) for path in _records(root) if _keeps(path, student)]
    traces += [_log(path, words) for path in _logs(course) if _mentions(path, words)]
    traces += _cache(root, student)
    for folder in WRITTEN_ANEW:
        traces += [_tree(root, path) for path in _entries(root / folder) if _mentions_below(path, words)]
    return traces + _in_gradebook(course, student)


def forget(traces: Sequence[Trace]) -> None:
    """Delete all of it. The caller holds the course's lock. Raises OSError where something cannot be deleted."""
    for trace in traces:
        trace.remove()


def what_remains(course: NbCourse, words: Words) -> list[str]:
    """Files of the course's folder, other students' submissions apart, that still mention the student."""
    others = {Path(course.folder(step, "*", "*")).relative_to(course.root).parts[0] for step in STEPS}
    found = []
    for folder, folders, files in os.walk(course.root):
        place = Path(folder)
        folders[:] = sorted(f for f in folders if f not in NOT_SEARCHED)
        within = place.relative_to(course.root).parts[:1]
        for name in [*folders, *files]:
            path = place / name
            in_others = bool(within) and within[0] in others
            if words.pattern.search(os.fsencode(name)) or (not in_others and _mentions(path, words)):
                found.append(str(path.relative_to(course.root)))
    return sorted(found)


# Words that a student is known by


@dataclass(frozen=True)
class Words:
    """What a student is called: id, name, e-mail and LMS id, as they may be spelt in a file."""

    pattern: re.Pattern[bytes]

    @classmethod
    def of(cls, student: str, identity: Sequence[str] = ()) -> Words:
        spelt = {
            form
            for word in (student, *identity)
            if word.strip()
            for form in (word, html.escape(word), quote(word), json.dumps(word)[1:-1])
        }
        words = b"|".join(re.escape(os.fsencode(form)) for form in sorted(spelt, key=len, reverse=True))
        return cls(re.compile(rb"(?<![\w-])(?:" + words + rb")(?![\w-])"))


def words_of(course: NbCourse, student: str) -> Words:
    """The words for a student whom the gradebook may still know."""
    return Words.of(student, _identity(course, student))


def _identity(course: NbCourse, student: str) -> list[str]:
    """E-mail and full name. Numbers of an LMS would be found everywhere."""
    with opened(course.db_url) as gradebook:
        if gradebook is None:
            return []
        try:
            found = gradebook.find_student(student)
        except MissingEntry:
            return []
        name = f"{found.first_name or ''} {found.last_name or ''}".strip()
        return [word for word in (found.email or "", name if " " in name else "") if word]


def _mentions(path: Path, words: Words) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_SEARCHED_MIB << 20:
            return False
        return words.pattern.search(path.read_bytes()) is not None
    except OSError:
        return False


def _mentions_below(path: Path, words: Words) -> bool:
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return any(words.pattern.search(os.fsencode(p.name)) or _mentions(p, words) for p in paths)


# Places


def _assignments(course: NbCourse) -> list[str]:
    with opened(course.db_url) as gradebook:
        return [assignment.name for assignment in gradebook.assignments] if gradebook is not None else []


def _own_paths(course: NbCourse, student: str, assignments: Sequence[str]) -> Iterator[Path]:
    """Folders and files that are this student's alone."""
    for step in STEPS:
        folders = [Path(course.folder(step, student, name)) for name in assignments]
        above = {folder.parent for folder in folders if folder.parent.name == student}
        shared = {Path(course.folder(step, f"{student}-", name)).parent for name in assignments}
        yield from (path for path in sorted({*folders, *above} - shared) if os.path.lexists(path))
    kept, name = course.root / ".autograder", glob.escape(student)
    for kind in BY_STUDENT:
        yield from sorted([*kept.glob(f"{kind}/*/{name}.json"), *kept.glob(f"{kind}/*/{name}.jsonl")])
    yield from sorted([*kept.glob(f"quarantine/*/{name}"), *kept.glob(f"intake/replaced/*/{name}")])


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _tree(root: Path, path: Path) -> Trace:
    return Trace(clean_name(os.path.relpath(path, root)), lambda: remove_tree(path))


def remove_tree(path: Path) -> None:
    """Delete a file, a link or a folder, however deep and with whatever rights its student gave it. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Python's own way recurses, and a student may hand in thousands of folders within each other.
    delete = ["rm", "-rf", "--", str(path)]
    if subprocess.run(delete, capture_output=True, check=False).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(path)], capture_output=True, check=False)
        done = subprocess.run(delete, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{path} cannot be deleted: {done.stderr.strip()}")


# Lists of many


def _lists(root: Path, assignment: str, student: str) -> Iterator[Trace]:
    extensions = load_extensions(root, assignment)
    if student in extensions:
        rest = {name: extension for name, extension in extensions.items() if name != student}
        place = os.path.relpath(extensions_path(root, assignment), root)
        yield Trace(f"{place}: the extension", lambda: save_extensions(root, assignment, rest))
    groups = load_groups(root, assignment)
    left = _without(groups, student)
    if left != groups:
        place = os.path.relpath(groups_path(root, assignment), root)
        yield Trace(f"{place}: the place in a group", lambda: save_groups(root, assignment, left))


def _without(groups: Groups, student: str) -> Groups:
    """Groups without a student; copies of what the student handed in become their holders' own."""
    members = {name: [m for m in own if m != student] for name, own in groups.members.items()}
    copies = {member: copy for member, copy in groups.copies.items() if student not in (member, copy.of)}
    held = {member: marks for member, marks in groups.held.items() if member != student}
    return replace(groups, members={n: own for n, own in members.items() if own}, copies=copies, held=held)


def _marking(course: NbCourse, student: str, assignments: Sequence[str]) -> Iterator[Trace]:
    """What the records of marking by hand say of a student's grades, which the gradebook still knows."""
    for name in assignments:
        path = record_path(course.root, name)
        if path.exists():
            grades = [mark.grade for mark in read_held(course.db_url, name) if mark.student == student]
            with open_record(course.root, name) as record:
                found = record.mentions(grades)
            if found:
                what = f"{os.path.relpath(path, course.root)}: {found} entr{'y' if found == 1 else 'ies'}"
                yield Trace(what, partial(_forget_grades, course.root, name, grades))


def _forget_grades(root: Path, assignment: str, grades: Sequence[str]) -> None:
    with open_record(root, assignment) as record:
        record.forget(grades)


def _records(root: Path) -> list[Path]:
    return sorted((root / ".autograder" / "intake").glob("*.csv"))


def _read(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _others(path: Path, student: str) -> tuple[list[list[str]], int]:
    """The rows of a record that are not about a student, the person they were in the LMS included, and how many are."""
    rows = _read(path)
    header = rows[0] if rows else []
    if not {"student", "person"} <= set(header):
        return rows, 0
    who, person = header.index("student"), header.index("person")
    own = [row for row in rows[1:] if len(row) == len(header) and row[who] == student]
    people = {row[person] for row in own if row[person]}
    kept = [r for r in rows if r is rows[0] or (r not in own and (len(r) <= person or r[person] not in people))]
    return kept, len(rows) - len(kept)


def _keeps(path: Path, student: str) -> bool:
    return bool(_others(path, student)[1])


def _rows(path: Path, student: str) -> Trace:
    rows, gone = _others(path, student)

    def remove() -> None:
        content = io.StringIO(newline="")
        csv.writer(content).writerows(rows)
        write_atomically(path, content.getvalue().encode())

    return Trace(f"{path.parent.parent.name}/{path.parent.name}/{path.name}: {gone} rows", remove)


def _logs(course: NbCourse) -> list[Path]:
    return [course.log_path, course.root / ".nbgrader.log"]


def _log(path: Path, words: Words) -> Trace:
    records = LOG_RECORD.split(path.read_text(encoding="utf-8", errors="surrogateescape"))
    kept = [r for r in records if not words.pattern.search(r.encode("utf-8", "surrogateescape"))]

    def remove() -> None:
        write_atomically(path, "".join(kept).encode("utf-8", "surrogateescape"))

    return Trace(f"{path.name}: {len(records) - len(kept)} entries", remove)


# By content


def _cache(root: Path, student: str) -> Iterator[Trace]:
    """Kept results that bear the name, and those that no other student's work is behind."""
    folder = root / ".autograder" / "cache"
    own = traces_of(root, student)
    named = f'"student": {json.dumps(student)}'.encode()
    paths = {folder / name for name in own if "/" not in name and (folder / name).is_file()}
    paths |= {path for path in folder.glob("*.report.json") if named in path.read_bytes()}
    if paths:

        def remove() -> None:
            for path in paths:
                path.unlink(missing_ok=True)

        yield Trace(f".autograder/cache: {len(paths)} kept results", remove)
    whatif = root / ".autograder" / "whatif"
    if any(named in path.read_bytes() for path in whatif.glob("*.report.json")):
        yield Trace(".autograder/whatif: all kept comparisons", lambda: remove_tree(whatif))


def _in_gradebook(course: NbCourse, student: str) -> list[Trace]:
    with opened(course.db_url) as gradebook:
        if gradebook is None:
            return []
        try:
            found = len(gradebook.find_student(student).submissions)
        except MissingEntry:
            return []

    def remove() -> None:
        with explained():
            with Gradebook(course.db_url) as gradebook, suppress(MissingEntry):
                gradebook.remove_student(student)
            _scrub(course)

    return [Trace(f"the gradebook: the student, with {found} submission{'s' * (found != 1)} and all marks", remove)]


def _scrub(course: NbCourse) -> None:
    """SQLite leaves what was deleted in its file until it is written anew."""
    if database_path(course.db_url, course.root) is not None:
        engine = create_engine(course.db_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM"))
        engine.dispose()
