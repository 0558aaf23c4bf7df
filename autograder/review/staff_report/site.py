"""The TA's report: a folder of pages that open from disk, load nothing, and run no script but their own.

`write_report` writes what has changed and nothing else: a submission's page is made again only where its report, its
marks or the pages' own code differ from what the page was made of.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any
from urllib.parse import quote

from autograder.core.files import write_atomically
from autograder.core.rows import Points, Row
from autograder.core.text import readable
from autograder.review.figures import Dot, draw_accuracy_cost, draw_exercises, draw_histogram
from autograder.review.staff_report.anonymous import anonymised
from autograder.review.staff_report.items import items, misconceptions
from autograder.review.staff_report.page_names import STUDENT_PAGE, STUDENTS, student_page
from autograder.review.staff_report.pages import Site, code_digest, common_facts, render_template, ways_from
from autograder.review.staff_report.student import render_student

__all__ = ["Site", "render_pages", "write_report"]

MADE_OF = ".pages.json"  # page -> digest of what it was made of
MOST_NAMED = 12  # people in a tile
FILTERS = (  # name in the address, label, and the tags of the rows that each choice shows
    (
        "status",
        "Status",
        (
            ("graded", "graded"),
            ("waiting", "waiting for a manual mark"),
            ("undecided", "undecided"),
            ("fault", "the grader’s own fault"),
            ("outdated", "of something else than what is there now"),
        ),
    ),
    ("late", "Handed in", (("late", "late"), ("punctual", "in time"))),
    (
        "look",
        "To look at",
        (
            ("flagged", "anything"),
            ("look", "worth a look"),
            ("incident", "stopped or crashed"),
            ("failed", "a check failed"),
        ),
    ),
)


@dataclass(frozen=True)
class Tile:
    """One number of the overview, and whom it is about. `place` is where the page of submissions shows them."""

    label: str
    kind: str
    place: str
    rows: Sequence[Row]
    remark: str = ""
    names_all: bool = True
    others: Sequence[str] = ()  # students without a page

    @property
    def named(self) -> Sequence[Row]:
        return self.rows[:MOST_NAMED] if self.names_all else ()

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.others)

    @property
    def named_others(self) -> Sequence[str]:
        return self.others[:MOST_NAMED] if self.names_all else ()

    @property
    def more(self) -> int:
        return self.count - len(self.named) - len(self.named_others) if self.names_all else 0


@dataclass(frozen=True)
class SubmissionLine:
    """A row of the table of submissions. `forms` are the notebooks in which a person has to give a mark."""

    row: Row
    name: str
    parts: Sequence[Points]
    total: float | None
    maximum: float
    seconds_late: float
    status: str
    tags: Sequence[str]
    forms: Sequence[str]


@dataclass(frozen=True)
class Times:
    """How long grading took, in seconds."""

    total: float
    median: float
    longest: float
    row: Row


def write_report(folder: Path, site: Site) -> Path:
    """Write the pages of all submissions into a folder, and return the path of the first one.

    The rows of an anonymous site lose their names here; another one gets a link to the integrity page, if there is one.
    Each page is written whole or not at all; pages of submissions that are gone are deleted.
    """
    if site.anonymous:
        site = dataclasses.replace(site, rows=anonymised(site.rows), integrity="")
    else:
        site = dataclasses.replace(site, integrity=_integrity_page(folder, site.assignment))
    known = _made_of(folder)
    made: dict[str, str] = {}
    for name, digest, make in _pages(site, datetime.now().astimezone()):
        made[name] = digest
        path = folder / name
        if known.get(name) != digest or not path.is_file():
            write_atomically(path, make().encode("utf-8", "replace"))
            path.chmod(0o600)  # students' marks
    for path in (folder / STUDENTS).glob("*.html"):
        if STUDENT_PAGE.fullmatch(path.name) and f"{STUDENTS}/{path.name}" not in made:
            path.unlink()  # also where MADE_OF was lost: a page with a name must not stay among anonymous ones
    write_atomically(folder / MADE_OF, json.dumps(made).encode())
    return folder / "index.html"


def _integrity_page(folder: Path, assignment: str) -> str:
    """The address of the page that `autograder integrity` writes beside a report; nothing where it has not."""
    page = Path(f"{assignment}-integrity") / "index.html"
    return f"../{quote(page.as_posix())}" if (folder.parent / page).is_file() else ""


def _made_of(folder: Path) -> dict[str, str]:
    """What the pages in a folder were made of; nothing where that cannot be read, and all are made again."""
    try:
        known = json.loads((folder / MADE_OF).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _pages(site: Site, now: datetime) -> Iterator[tuple[str, str, Any]]:
    """Every page: its name, a digest of all that it is made of, and a function that makes it."""
    code = code_digest()
    digests = [_digest(code, site, row) for row in site.rows]
    taught = f"{site.lesson} {site.sections}"
    students = f"{site.not_graded} {site.missing}"
    of_class = hashlib.sha256(
        "".join([code, *digests, students, str(site.anonymous), site.formgrader, site.integrity, taught]).encode()
    ).hexdigest()
    yield "index.html", f"{of_class} {now.isoformat()}", lambda: _overview(site, now)
    yield "checks.html", of_class, lambda: _checks(site)
    yield "submissions.html", of_class, lambda: _submissions(site)
    for index, (row, digest) in enumerate(zip(site.rows, digests, strict=True)):
        ways = ways_from(site.rows, index)
        around = [each.report.student if each else "" for each in (ways.before, ways.after, ways.waiting)]
        name = f"{STUDENTS}/{student_page(row.report.student)}"
        yield name, f"{digest} {around}", lambda row=row, ways=ways: render_student(site, row, ways)


def _digest(code: str, site: Site, row: Row) -> str:
    """Identifies what a submission's page is made of. How long grading took this time changes nothing on it."""
    standing = dataclasses.asdict(row.standing) if row.standing else None
    held = json.dumps(
        [[dataclasses.asdict(mark) for mark in row.marks], standing, row.currency, row.comments], default=str
    )
    changes = list(site.changes.get(row.report.student, ()))
    setup = f"{site.assignment} {site.anonymous} {site.formgrader} {site.integrity} {list(site.notebooks)} {changes}"
    return hashlib.sha256("\0".join([code, setup, row.report.to_json(), held]).encode()).hexdigest()


def render_pages(site: Site, now: datetime) -> dict[str, str]:
    """All pages as text, by the names of their files."""
    return {name: make() for name, _, make in _pages(site, now)}


def _overview(site: Site, now: datetime) -> str:
    graded = [row for row in site.rows if not row.grader_failed]
    totals = [row.total.earned for row in graded if row.total.earned is not None]
    maximum = max((row.total.maximum for row in graded), default=0.0)
    exercises, dots = _exercises(site, graded), _dots(site)
    unjailed = [row for row in site.rows if not row.report.jailed]
    return render_template(
        "index.html",
        site,
        page="index.html",
        now=now,
        tiles=_tiles(site),
        unjailed=unjailed,
        totals=totals,
        mean=fmean(totals) if totals else 0.0,
        median=median(totals) if totals else 0.0,
        maximum=maximum,
        histogram=draw_histogram(totals, maximum) if totals else "",
        exercises=exercises,
        compared=draw_exercises(exercises) if totals else "",
        dots=dots,
        by_parameters=draw_accuracy_cost(dots, "parameters") if dots else "",
        by_macs=draw_accuracy_cost(dots, "MACs") if dots else "",
        times=_times(site.rows),
        facts=common_facts([row.report for row in site.rows]),
    )


def _exercises(site: Site, graded: Sequence[Row]) -> list[tuple[str, Sequence[float], float]]:
    found: list[tuple[str, Sequence[float], float]] = []
    for notebook in site.notebooks:
        parts = [row.points_of(notebook) for row in graded]
        earned = [part.earned for part in parts if part.earned is not None]
        if earned:
            found.append((notebook, earned, max(part.maximum for part in parts)))
    return found


def _dots(site: Site) -> list[Dot]:
    """Every network whose accuracy was measured."""
    dots = []
    for row in site.rows:
        for model, found in row.report.measured():
            dots.append(Dot(row.student, found.accuracy, model.parameters, model.macs, site.link(row)))
    return dots


def _tiles(site: Site) -> list[Tile]:
    rows = site.rows
    waiting, undecided = [row for row in rows if row.waiting], [row for row in rows if row.undecided]
    failed = [row for row in rows if row.grader_failed]
    graded = [row for row in rows if not row.grader_failed]
    unknown = "" if site.has_marks else "no gradebook was there: manual marks are unknown"
    handed_in = len(rows) + len(site.not_graded)
    of_all = f"of {handed_in} submission{'s' * (handed_in != 1)}"
    outdated = [row for row in rows if row.currency.is_outdated]
    tiles = [
        Tile("graded", "good", "status=graded", graded, of_all, names_all=False),
        Tile("waiting for a manual mark", "wait" if waiting else "", "status=waiting", waiting, unknown),
        Tile("undecided: to be marked by hand", "wait" if undecided else "", "status=undecided", undecided),
        Tile("failed through the grader’s own fault", "bad" if failed else "", "status=fault", failed),
    ]
    names = not site.anonymous
    seldom = [
        Tile("marks of something else than what is there now", "bad", "status=outdated", outdated),
        Tile("handed in, but not graded", "bad", "not-graded", (), names_all=names, others=site.not_graded),
        Tile("handed nothing in", "", "missing", (), names_all=names, others=site.missing),
    ]
    return tiles + [tile for tile in seldom if tile.count]


def _times(rows: Sequence[Row]) -> Times | None:
    if not rows:
        return None
    times = [row.report.seconds for row in rows]
    longest = max(rows, key=lambda row: row.report.seconds)
    return Times(sum(times), median(times), longest.report.seconds, longest)


def _checks(site: Site) -> str:
    mistakes = misconceptions(site.rows, site.sections)
    return render_template("checks.html", site, page="checks.html", items=items(site.rows), mistakes=mistakes)


def _submissions(site: Site) -> str:
    lines = [_line(site, row) for row in site.rows]
    return render_template(
        "submissions.html",
        site,
        page="submissions.html",
        lines=lines,
        late=any(line.seconds_late for line in lines),
        penalties=any(row.penalty for row in site.rows),
        filters=FILTERS,
    )


def _line(site: Site, row: Row) -> SubmissionLine:
    total, standing = row.total, row.standing
    notebooks = [mark.notebook for mark in row.marks if mark.needs_person] if not site.anonymous else []
    return SubmissionLine(
        row=row,
        name=readable(standing.name) if standing else "",
        parts=[row.points_of(notebook) for notebook in site.notebooks],
        total=total.earned,
        maximum=total.maximum,
        seconds_late=standing.seconds_late if standing else 0.0,
        status=_status(row),
        tags=_tags(row),
        forms=list(dict.fromkeys(notebooks)),
    )


def _status(row: Row) -> str:
    """In words, short enough for a column."""
    if row.grader_failed:
        return "not graded"
    held = ["waiting"] * bool(row.waiting) + ["undecided"] * bool(row.undecided)
    return ", ".join(held) or "graded"


def _tags(row: Row) -> list[str]:
    """What the table can be filtered by."""
    is_late = bool(row.standing and row.standing.seconds_late)
    held: Mapping[str, bool] = {
        "graded": not row.grader_failed,
        "waiting": bool(row.waiting),
        "undecided": bool(row.undecided),
        "fault": row.grader_failed,
        "outdated": row.currency.is_outdated,
        "late": is_late,
        "punctual": not is_late,
        "flagged": bool(row.flags),
        "look": bool(row.report.flags),
        "incident": bool(row.incidents),
        "failed": any(check.earned < check.points for check in row.report.checks),
    }
    return [tag for tag, holds in held.items() if holds]
