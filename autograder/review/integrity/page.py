"""The staff's page about likeness: one self-contained `index.html`, and the same as JSON; no script, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment

from autograder import __version__
from autograder.core.files import write_atomically
from autograder.core.package import package_file
from autograder.core.text import clean_name, clean_text
from autograder.review.html import make_environment, policy_hash
from autograder.review.integrity.clusters import clusters_of
from autograder.review.integrity.signals import KINDS, LIMITS, Findings, Sign
from autograder.review.staff_report.page_names import STUDENTS, student_page


def integrity_folder(root: Path, assignment: str) -> Path:
    """Its own folder: whoever is given the folder of a report does not get this."""
    return root / "reports" / f"{assignment}-integrity"


def write_page(folder: Path, findings: Findings) -> Path:
    """Write `index.html` and `integrity.json`, for their owner only, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / "index.html"
    report = folder.with_name(findings.assignment)
    for place, text in (
        (folder / "integrity.json", json.dumps(asdict(findings), indent=1)),
        (path, render_integrity_page(findings, datetime.now().astimezone(), links_back(report, findings.students))),
    ):
        write_atomically(place, text.encode())
        place.chmod(0o600)
    return path


def links_back(report: Path, students: Sequence[str]) -> dict[str, str]:
    """The pages of the staff's report beside this one, as far as they are written: "" is its first, others are
    students'. Addresses are seen from this page's folder."""
    places = {"": "index.html", **{student: f"{STUDENTS}/{student_page(student)}" for student in students}}
    return {name: f"../{quote(report.name)}/{place}" for name, place in places.items() if (report / place).is_file()}


def render_integrity_page(findings: Findings, now: datetime, links: Mapping[str, str] | None = None) -> str:
    """The page as text. Nothing of a student's is markup in it: autoescape, and a policy that forbids script."""
    style = package_file("review/integrity/page.css").read_text("utf-8")
    return (
        _environment()
        .get_template("page.html")
        .render(
            findings=findings,
            clusters=clusters_of(findings.pairs),
            number_of={id(pair): number for number, pair in enumerate(findings.pairs, 1)},
            links=links or {},
            signs=_by_kind(findings.signs),
            kinds=KINDS,
            limits=LIMITS,
            now=now,
            engine=__version__,
            style=style,
            source=policy_hash(style),
        )
    )


def _environment() -> Environment:
    filters = {"key": id, "name": clean_name, "readable": clean_text, "percent": _percent, "points": _points}
    return make_environment("review/integrity", filters)


def _by_kind(signs: Sequence[Sign]) -> list[tuple[str, list[Sign]]]:
    """Signs about single submissions, in the order in which the kinds are explained."""
    found = [(kind, [sign for sign in signs if sign.kind == kind]) for kind in KINDS]
    return [(kind, own) for kind, own in found if own]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _points(value: float) -> str:
    """A difference of accuracies in percentage points, with a real minus sign."""
    return f"{value * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
