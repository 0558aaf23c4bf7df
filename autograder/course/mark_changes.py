"""What changed when a submission was graded again, and why: kept with the course, newest last.

One line of JSON for each change in `.autograder/regrades/<assignment>/<student>.jsonl`. A student who asks why there
are 14 points now and were 15 last week gets an answer from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autograder import __version__
from autograder.core.files import digest_of, write_atomically
from autograder.core.grade_report import GradeReport
from autograder.core.package import digest_of_code, digest_of_files, package_files
from autograder.core.rows import Row
from autograder.course.compare import compare
from autograder.course.manual_marks import decided
from autograder.pipeline.grader import Grader
from autograder.pipeline.identity import library_versions

MOST_KEPT = 50
MOST_CHECKS = 40
TOLERANCE = 1e-6  # of points: what is smaller is the noise of adding floats


@dataclass(frozen=True)
class Regrade:
    """One change of a submission's marks. Points are the gradebook's total, None where none was recorded.

    `checks` are those with another result ("The total is large enough: failed 2 → passed 5"), `why` says in words
    what had changed. `time` is ISO 8601 with a zone.
    """

    time: str
    before: float | None
    after: float | None
    maximum: float
    checks: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{_points(self.before)} → {_points(self.after)} of {self.maximum:g}"


def _points(value: float | None) -> str:
    return "no score" if value is None else f"{value:g}"


def change_between(root: Path, before: Row, after: Row, now: datetime) -> Regrade | None:
    """What a new report changed; None where no mark and no check did."""
    comparison = compare(before.report, after.report, ())
    moved = [str(change) for change in comparison.changed_checks]
    old, new = before.total, after.total
    if not moved and (old.earned, old.maximum) == (new.earned, new.maximum):
        return None
    more = [f"… and {len(moved) - MOST_CHECKS} more"] if len(moved) > MOST_CHECKS else []
    checks = (*moved[:MOST_CHECKS], *more)
    why = (*_reasons(root, before.report, after.report), *penalty_words(before.penalty, after.penalty))
    return Regrade(now.isoformat(timespec="seconds"), old.earned, new.earned, new.maximum, checks, why)


def penalty_words(before: float, after: float) -> list[str]:
    """A changed late penalty in words; nothing where it is the same."""
    return [f"late penalty {before:.4g} → {after:.4g}"] if abs(before - after) > TOLERANCE else []


def _reasons(root: Path, before: GradeReport, after: GradeReport) -> Iterator[str]:
    if before.is_internal:
        yield "the grader itself had failed before"
    again = [name for name in after.answers if before.answers.get(name) != after.answers[name]]
    if again:
        yield f"handed in again: {', '.join(again)}"
    if before.engine != after.engine:
        changed = _changed_parts(root, before.engine, after.engine)
        yield f"changed: {', '.join(changed) or 'engine, graders or configuration'}"
    elif before.key != after.key and not again:
        yield "other files or other text were handed in"
    elif before.key == after.key and not before.is_internal:
        yield "the same was run again, and ended otherwise"
    yield from decided(after, before)


# What an engine was made of, so that a change can be named


def remember_engine(grader: Grader) -> None:
    """Keep digests of what decides marks beside the submissions, once for each state of it."""
    path = _engine_path(grader.root, grader.engine_name)
    if not path.exists():
        write_atomically(path, json.dumps(engine_parts(grader)).encode())


def _engine_path(root: Path, engine: str) -> Path:
    return root / ".autograder" / "engines" / f"{engine}.json"


def engine_parts(grader: Grader) -> dict[str, str]:
    """Digests by the name of the part, as a reader knows it."""
    graders = Path(grader.assignment.graders)
    return {
        "the hidden graders": digest_of_code("**/*.py", root=graders),
        "the configuration": hashlib.sha256(grader.changes.config_file(grader.root).read_bytes()).hexdigest(),
        "the engine": f"{__version__} {_digest_of_engine(graders)}",
        "Python or the libraries": digest_of(sys.version, *library_versions()),
        "the data set": grader.data_identity,
        "the course's secret": digest_of("secret", grader.secret.hex()),
        "the isolation": grader.isolation.level,
        "the device": grader.course.device,
    }


def _digest_of_engine(graders: Path) -> str:
    """Of all code of the package but the hidden graders."""
    return digest_of_files(path for path in package_files("**/*.py") if graders not in path.parents)


def _changed_parts(root: Path, before: str, after: str) -> list[str]:
    """The parts that differ between two engines; nothing where one is not on record."""
    old, new = _load_parts(root, before), _load_parts(root, after)
    return [name for name in new if name in old and old[name] != new[name]]


def _load_parts(root: Path, engine: str) -> Mapping[str, str]:
    if not engine.isalnum():
        return {}
    try:
        parts = json.loads(_engine_path(root, engine).read_text())
    except (OSError, ValueError):
        return {}
    return parts if isinstance(parts, dict) else {}


# The record


def regrades_path(root: Path, assignment: str, student: str) -> Path:
    """Where a student's changes are kept."""
    return root / ".autograder" / "regrades" / assignment / f"{student}.jsonl"


def note(root: Path, assignment: str, student: str, regrade: Regrade) -> None:
    """Add a change, unless it is the last one already (a grader was killed just then); the oldest of many go."""
    known = changes_of(root, assignment, student)
    if not known or known[-1] != regrade:
        kept = [*known, regrade][-MOST_KEPT:]
        lines = "".join(json.dumps(dataclasses.asdict(item)) + "\n" for item in kept)
        write_atomically(regrades_path(root, assignment, student), lines.encode(), durable=True)


def changes_of(root: Path, assignment: str, student: str) -> list[Regrade]:
    """What changed in a student's marks so far, newest last; lines that cannot be read are left out."""
    try:
        lines = regrades_path(root, assignment, student).read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            found.append(parse_regrade(json.loads(line)))
    return found


def parse_regrade(data: Mapping[str, object]) -> Regrade:
    """A change from its `dataclasses.asdict` form. Raises KeyError, TypeError or ValueError."""
    points = [data["before"], data["after"], data["maximum"]]
    texts = [data["time"], *_list(data["checks"]), *_list(data["why"])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is none")
    before, after, maximum = (None if p is None else float(str(p)) for p in points)
    if maximum is None:
        raise ValueError("no maximum")
    return Regrade(str(data["time"]), before, after, maximum, _list(data["checks"]), _list(data["why"]))


def _list(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return tuple(value)
