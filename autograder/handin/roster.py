"""Who is who: the roster that maps ids and names of a learning management system to nbgrader's student ids.

Nobody is ever guessed: whoever the roster does not settle is listed, with the reason.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.core.errors import AutograderError
from autograder.core.text import FORMULA_SIGNS, clean_text, did_you_mean

COLUMNS = {
    "student": "nbgrader's id of the student (the name of their folder in submitted/)",
    "canvas_id": "Canvas's user id (the first number in the names of an export's files)",
    "moodle_id": "Moodle's participant id (the grading worksheet's Identifier)",
    "name": "full name, as `Ada Lovelace` or `Lovelace, Ada`",
    "email": "e-mail address",
    "login": "login name",
}
MOST_TABLE_MIB = 16
MOST_ID = 100
SHA256 = re.compile(r"[0-9a-f]{64}")
PARTICIPANT = re.compile(r"\D*(\d+)")


class TableError(AutograderError, ValueError):
    """A roster or a list of receipts that cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True)
class Roster:
    """Students by exact key (a column's name and a value) and by name; empty where there is no roster."""

    students: tuple[str, ...] = ()
    keys: Mapping[tuple[str, str], str] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def ids(self, column: str) -> list[str]:
        return [value for kind, value in self.keys if kind == column]


class Unmatched(LookupError):
    """Somebody whose student id is not settled; the message says why."""


def student_of(person: Person, roster: Roster) -> str:
    """The nbgrader id of a person. Raises Unmatched."""
    if not roster.students:
        student = person.name if person.system == "folder" else _id_from(person)
        problem = id_problem(student)
        if problem:
            raise Unmatched(f"{problem}: rename it, or map it with --roster")
        return student
    columns = [f"{person.system}_id"] if person.system != "folder" else list(COLUMNS)
    exact = {roster.keys[key] for column in columns if (key := (column, _key(column, person.id))) in roster.keys}
    if len(exact) > 1:
        raise Unmatched(f"fits several students of the roster: {', '.join(sorted(exact))}")
    if exact:
        return exact.pop()
    # Whoever has an id in the roster is found by it: a namesake without one must not get their work.
    taken = {roster.keys[key] for key in roster.keys if key[0] == f"{person.system}_id"}
    named = [student for student in roster.names.get(squash(person.name), ()) if student not in taken]
    if len(named) == 1:
        return named[0]
    if named:
        raise Unmatched(f"the name fits several students of the roster: {', '.join(named)}; add their ids")
    raise Unmatched("is not in the roster" + did_you_mean(person.name, roster.students))


def _id_from(person: Person) -> str:
    """A student id made of name and LMS id: letters, digits and _ only, the same for every export."""
    name = unicodedata.normalize("NFC", person.name).lower()
    return re.sub(r"\W+", "_", f"{name}_{person.id}".removeprefix("anonymous_")).strip("_")[:MOST_ID]


def squash(name: str) -> str:
    """Letters and digits of a name only, in small letters, as Canvas writes names in its exports."""
    return re.sub(r"\W+|_", "", unicodedata.normalize("NFC", name).casefold())


def spellings(name: str) -> set[str]:
    """How a name may be squashed: as it stands, and with either end's word brought to the other end."""
    words = [word for word in re.split(r"[\s,]+", name) if word]
    turned = [words, words[-1:] + words[:-1], words[1:] + words[:1]]
    return {squash(" ".join(order)) for order in turned} - {""}


def id_problem(student: str) -> str:
    """Why nbgrader could not work with a student id, or nothing."""
    shown = repr(clean_text(student))
    if not student or student != student.strip() or not student.isprintable():
        return f"{shown} is no student id: it is empty, or has spaces around it or control characters in it"
    if re.search(r"[*?\[\]]", student):
        return f"{shown} is no student id: nbgrader takes *, ?, [ and ] for patterns"
    if re.search(r"[/\\+<>\"`]", student) or student.startswith((".", *FORMULA_SIGNS)):
        return f'{shown} is no student id: it must not hold /, \\, +, <, >, " or `, nor begin with ., -, = or @'
    if len(student) > MOST_ID or len(student.encode()) > 2 * MOST_ID:
        return f"{shown} is no student id: it has more than {MOST_ID} characters"
    return ""


def read_roster(path: Path) -> Roster:
    """Read a roster. Raises TableError for a missing or misspelt column, a duplicate, or an impossible id."""
    header, rows = read_table(path)
    unused = check_columns(path, header, list(COLUMNS), ["student"])
    if not set(header) & (set(COLUMNS) - {"student"}):
        raise TableError(f"{path.name} has the column student only: add one of {', '.join(list(COLUMNS)[1:])}")
    students: dict[str, int] = {}
    keys: dict[tuple[str, str], tuple[str, int]] = {}
    names: dict[str, list[str]] = {}
    for line, row in rows:
        student = row["student"]
        problem = id_problem(student)
        if problem:
            raise TableError(f"{path.name}, line {line}: {problem}")
        if student in students:
            raise TableError(f"{path.name}, line {line}: {student!r} is on line {students[student]} already")
        students[student] = line
        for column in COLUMNS:
            value = _key(column, row.get(column, ""))
            if not value or column == "name":
                continue
            if (column, value) in keys:
                other, first = keys[column, value]
                raise TableError(
                    f"{path.name}, line {line}: {column} {clean_text(value)!r} is {other}'s already (line {first})"
                )
            keys[column, value] = (student, line)
        for spelling in spellings(row.get("name", "")):
            names.setdefault(spelling, []).append(student)
    if not students:
        raise TableError(f"{path.name} lists no student")
    return Roster(
        tuple(students),
        {key: student for key, (student, _) in keys.items()},
        {name: tuple(found) for name, found in names.items()},
        unused,
    )


def _key(column: str, value: str) -> str:
    """A value as it is compared: e-mail and login without regard to capitals, `Participant 12` as 12."""
    if column in ("email", "login"):
        return value.casefold()
    if column == "moodle_id" and (match := PARTICIPANT.fullmatch(value)):
        return match[1]
    return value


@dataclass(frozen=True)
class StudentReceipt:
    """A receipt that a student holds: who, and the SHA-256 of the archive they packed."""

    student: str
    sha256: str


def read_receipts(path: Path, roster: Roster) -> list[StudentReceipt]:
    """Read what students hold: columns `student` (an id, or a key of the roster) and `sha256`. Raises TableError."""
    header, rows = read_table(path)
    check_columns(path, header, ["student", "sha256"], ["student", "sha256"])
    held: dict[StudentReceipt, int] = {}
    for line, row in rows:
        digest = row["sha256"].lower().removeprefix("sha-256").strip(" :")
        if not SHA256.fullmatch(digest):
            found = clean_text(row["sha256"])[:80]
            raise TableError(f"{path.name}, line {line}: sha256 must be 64 hexadecimal digits, found {found!r}")
        try:
            student = student_of(Person("folder", row["student"], row["student"]), roster)
        except Unmatched as error:
            raise TableError(f"{path.name}, line {line}: {clean_text(row['student'])!r} {error}") from error
        held.setdefault(StudentReceipt(student, digest), line)
    if not held:
        raise TableError(f"{path.name} lists no receipt")
    return list(held)


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header and rows of a CSV file (`,` or `;` between columns), each row with its line. Raises TableError."""
    try:
        with open(path, "rb") as file:
            content = file.read((MOST_TABLE_MIB << 20) + 1)
        if len(content) > MOST_TABLE_MIB << 20:
            raise TableError(f"{path.name} is larger than {MOST_TABLE_MIB} MiB: that is no table of students")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name} is no UTF-8 text: save it as `CSV UTF-8` (it must be no Excel file)") from error
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror})") from error
    first = text.splitlines()[0] if text.strip() else ""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    rows = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        for row in reader:
            if any(value.strip() for value in row):
                if len(row) > len(header):
                    raise TableError(
                        f"{path.name}, line {reader.line_num}: {len(row)} values for {len(header)} columns: put values "
                        "that hold a comma into double quotes"
                    )
                padded = [value.strip() for value in row] + [""] * (len(header) - len(row))
                rows.append((reader.line_num, dict(zip(header, padded, strict=True))))
    except csv.Error as error:
        raise TableError(f"{path.name}, line {reader.line_num}: {error}") from error
    return header, rows


def check_columns(path: Path, header: Sequence[str], known: Sequence[str], needed: Sequence[str]) -> tuple[str, ...]:
    """The columns that are not used. Raises TableError where one is missing, twice, or a misspelling of a known one."""
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise TableError(f"{path.name} has the column {clean_text(twice[0])!r} twice")
    unknown = [name for name in header if name not in known]
    for name in unknown:
        meant = did_you_mean(name, [column for column in known if column not in header])
        if meant:
            raise TableError(
                f"{path.name} has an unknown column {clean_text(name)!r}{meant} (rename it or take it out)"
            )
    missing = [name for name in needed if name not in header]
    if missing:
        found = ", ".join(clean_text(name) for name in header) or "nothing"
        raise TableError(f"{path.name} needs the columns {', '.join(needed)}; it has {found}")
    return tuple(clean_text(name) for name in unknown)


@dataclass(frozen=True)
class Person:
    """Somebody as the learning management system names them: its own id, "" where it gives none, and a name."""

    system: str
    id: str
    name: str

    @property
    def label(self) -> str:
        return f"{self.name} ({self.id})" if self.id and self.id != self.name else self.name
