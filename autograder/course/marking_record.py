"""What marking by hand needs beside nbgrader's gradebook: rubrics, comments for reuse, and who decided what.

It lies in `.autograder/marking/<assignment>.db`, a table of SQLite that several people can write at once, readable by
its owner only, and is never part of a release. Marks themselves stand in the gradebook alone: a decision keeps what an
answer had before and after, so that it can be undone, and names answers by nbgrader's ids of grades, not by students.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from autograder.core.errors import AutograderError
from autograder.course.hand_marks import Given

WAIT_SECONDS = 10.0
TABLES = """
create table if not exists item (id integer primary key, question text not null, points real not null,
    text text not null, gone integer not null default 0);
create table if not exists rubric (question text primary key, starts_full integer not null);
create table if not exists comment (question text not null, text text not null, uses integer not null,
    primary key (question, text));
create table if not exists decision (id integer primary key, question text not null, marker text not null,
    made_at text not null, undone_by text not null default '', undone_at text not null default '');
create table if not exists decided (decision integer not null, grade text not null, before text not null,
    after text not null, items text not null, words text not null, primary key (decision, grade));
create index if not exists decided_grade on decided (grade);
"""


class RecordError(AutograderError):
    """The record of marking cannot be used; the message has the remedy."""


@dataclass(frozen=True)
class RubricItem:
    """A line of a rubric: what it is about, and the points it gives (or takes, where they are negative)."""

    id: int
    points: float
    text: str


@dataclass(frozen=True)
class Rubric:
    """The items of a question, in the order in which they were made. `starts_full`: whether points start at the
    question's maximum, for items that take points, or at 0."""

    items: Sequence[RubricItem] = ()
    starts_full: bool = False


@dataclass(frozen=True)
class Decided:
    """What one decision did to one answer; `items` and `words` are what its comment was made of."""

    grade: str
    before: Given
    after: Given
    items: Sequence[int] = ()
    words: str = ""


@dataclass(frozen=True)
class Decision:
    """What somebody decided about one or more answers of a question at once. Times are ISO 8601 with a zone."""

    id: int
    question: str
    marker: str
    made_at: str
    undone_by: str = ""
    undone_at: str = ""
    answers: Sequence[Decided] = ()


def record_path(root: Path, assignment: str) -> Path:
    """Where the record of an assignment lies."""
    return root / ".autograder" / "marking" / f"{assignment}.db"


@contextmanager
def open_record(root: Path, assignment: str) -> Iterator[MarkingRecord]:
    """The record, made where there is none. Raises RecordError."""
    path = record_path(root, assignment)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("pragma secure_delete = on")  # what is forgotten is overwritten
            connection.executescript(TABLES)
            yield MarkingRecord(connection)
    except sqlite3.OperationalError as error:
        raise RecordError(f"{path} cannot be written ({error}): check its permissions and the free disk") from error
    except sqlite3.DatabaseError as error:
        lost = "marks stay in the gradebook; rubrics and comments for reuse are then made anew"
        raise RecordError(f"{path} is damaged ({error}): put back a copy, or move it away ({lost})") from error


class MarkingRecord:
    """An open record; each call is a transaction of its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # Rubrics

    def rubric(self, question: str) -> Rubric:
        found = self._connection.execute(
            "select id, points, text from item where question = ? and not gone order by id", [question]
        )
        start = self._connection.execute("select starts_full from rubric where question = ?", [question]).fetchone()
        return Rubric([RubricItem(*row) for row in found], bool(start and start[0]))

    def add_item(self, question: str, points: float, text: str) -> None:
        self._connection.execute("insert into item (question, points, text) values (?, ?, ?)", [question, points, text])

    def change_item(self, question: str, seen: RubricItem, points: float, text: str) -> bool:
        """Whether it could be changed: not where somebody else was faster."""
        return self._change_item(question, seen, "points = ?, text = ?", [points, text])

    def remove_item(self, question: str, seen: RubricItem) -> bool:
        """The same; what was marked with it keeps its points and its words."""
        return self._change_item(question, seen, "gone = 1", [])

    def _change_item(self, question: str, seen: RubricItem, change: str, values: Sequence[object]) -> bool:
        done = self._connection.execute(
            f"update item set {change} where question = ? and id = ? and points = ? and text = ? and not gone",
            [*values, question, seen.id, seen.points, seen.text],
        )
        return done.rowcount == 1

    def start_at(self, question: str, *, full: bool) -> None:
        self._connection.execute("insert or replace into rubric values (?, ?)", [question, full])

    # Comments

    def comments(self, question: str, most: int) -> list[str]:
        """The comments that were given to answers of a question, those that were used most first."""
        found = self._connection.execute(
            "select text from comment where question = ? order by uses desc, text limit ?", [question, most]
        )
        return [text for (text,) in found]

    def keep_comment(self, question: str, text: str) -> None:
        self._connection.execute(
            "insert into comment values (?, ?, 1) on conflict (question, text) do update set uses = uses + 1",
            [question, text],
        )

    def drop_comment(self, question: str, text: str) -> None:
        self._connection.execute("delete from comment where question = ? and text = ?", [question, text])

    # Decisions

    def add_decision(self, question: str, marker: str, answers: Sequence[Decided]) -> int:
        """Keep a decision, and return its number."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self._connection.execute("begin immediate")
        with self._connection:
            made = self._connection.execute(
                "insert into decision (question, marker, made_at) values (?, ?, ?)", [question, marker, now]
            )
            rows = [
                [made.lastrowid, a.grade, _text(a.before), _text(a.after), json.dumps(list(a.items)), a.words]
                for a in answers
            ]
            self._connection.executemany("insert into decided values (?, ?, ?, ?, ?, ?)", rows)
        assert made.lastrowid is not None
        return made.lastrowid

    def drop_decision(self, number: int) -> None:
        """Take out a decision that did not come about."""
        self._connection.execute("begin immediate")
        with self._connection:
            self._connection.execute("delete from decided where decision = ?", [number])
            self._connection.execute("delete from decision where id = ?", [number])

    def note_undone(self, number: int, marker: str) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self._connection.execute("update decision set undone_by = ?, undone_at = ? where id = ?", [marker, now, number])

    def decision(self, number: int) -> Decision | None:
        """One decision, None where there is none of this number."""
        return next(iter(self._decisions("id = ?", [number], 1)), None)

    def decisions(self, question: str, most: int) -> list[Decision]:
        """Decisions about a question, newest first."""
        return self._decisions("question = ?", [question], most)

    def latest_of(self, question: str, marker: str) -> Decision | None:
        """Somebody's newest decision about a question that is not undone."""
        return next(
            iter(self._decisions("question = ? and marker = ? and undone_at = ''", [question, marker], 1)), None
        )

    def _decisions(self, condition: str, values: Sequence[object], most: int) -> list[Decision]:
        found = self._connection.execute(
            "select id, question, marker, made_at, undone_by, undone_at from decision "
            f"where {condition} order by id desc limit ?",
            [*values, most],
        ).fetchall()
        return [replace(Decision(*row), answers=self._answers(row[0])) for row in found]

    def _answers(self, number: int) -> list[Decided]:
        found = self._connection.execute(
            "select grade, before, after, items, words from decided where decision = ?", [number]
        )
        return [_decided(*row) for row in found]

    def last_words(self, question: str) -> Mapping[str, tuple[str, Decided]]:
        """By grade, who decided about it last, and what; decisions that are undone do not count."""
        found = self._connection.execute(
            "select marker, grade, before, after, items, words from decided join decision on decision.id = decision "
            "where question = ? and undone_at = '' order by decision.id",
            [question],
        )
        return {grade: (marker, _decided(grade, *row)) for marker, grade, *row in found}

    def counts(self, marker: str, since: str) -> tuple[int, int]:
        """How many decisions somebody has made since a time, and about how many answers."""
        decisions, answers = self._connection.execute(
            "select count(distinct decision.id), count(grade) from decision join decided on decision.id = decision "
            "where marker = ? and made_at >= ? and undone_at = ''",
            [marker, since],
        ).fetchone()
        return decisions, answers

    # Students who are forgotten

    def mentions(self, grades: Collection[str]) -> int:
        """How many entries there are about these grades."""
        return sum(
            self._connection.execute("select count(*) from decided where grade = ?", [grade]).fetchone()[0]
            for grade in grades
        )

    def forget(self, grades: Collection[str]) -> None:
        """Delete all entries about these grades."""
        self._connection.execute("begin immediate")
        with self._connection:
            self._connection.executemany("delete from decided where grade = ?", [[grade] for grade in grades])


def _text(given: Given) -> str:
    return json.dumps(asdict(given))


def _decided(grade: str, before: str, after: str, items: str, words: str) -> Decided:
    return Decided(grade, Given(**json.loads(before)), Given(**json.loads(after)), json.loads(items), words)
