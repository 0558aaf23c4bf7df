"""`autograder doctor`: what this machine offers for grading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from autograder.cli.ending import NOTHING_GRADED, complain
from autograder.cli.shared import make_console
from autograder.core.config import load_course
from autograder.core.config_values import CONFIG_FILE, ConfigError
from autograder.pipeline import doctor

if TYPE_CHECKING:
    from autograder.course.release_text import ReleaseText

STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def look_at_machine(root: Path | None) -> None:
    """Say what this machine offers for grading, and what to do where something is missing."""
    console = make_console()
    findings = []
    with console.status("Looking at this machine …") as status:
        place = (root or Path()).resolve()
        for finding in chain(doctor.examine(place, course_expected=root is not None), check_texts(place)):
            findings.append(finding)
            status.update(f"Looked at: {finding.name} …")
    console.print(findings_table(findings))
    for finding in findings:
        if finding.state is not doctor.Health.OK:
            console.print(Text.assemble((f"{finding.name}: ", STYLES[finding.state.value]), finding.remedy))
    if any(finding.state is doctor.Health.MISSING for finding in findings):
        complain("Grading cannot work on this machine yet.")
        raise click.exceptions.Exit(NOTHING_GRADED)
    console.print("Grading can work here.")


def check_texts(root: Path) -> Iterator[doctor.Finding]:
    """Whether what students read agrees with the configuration, by assignment; nothing where that cannot be loaded."""
    from autograder.course.release_text import release_text  # nbformat is slow to import, for `--help`

    try:
        course = load_course(root)
    except ConfigError:  # another finding says so
        return
    for name in course.assignments:
        source = root / "source" / name
        if source.is_dir():
            yield texts_finding(f"texts of {name}", release_text(course, name, source), root / "release" / name)


def texts_finding(title: str, text: ReleaseText, release: Path) -> doctor.Finding:
    """The places where texts contradict the configuration, those that stop the release first."""
    from autograder.course.release_text import stale_texts

    if text.blocking:
        found = "\n".join(map(str, text.blocking))
        return doctor.Finding(title, doctor.Health.MISSING, found, f"correct {CONFIG_FILE} or the place that is named")
    stale = list(stale_texts(text, release))
    if remarks := [*text.remarks, *stale]:
        remedy = "make release (or nbgrader generate_assignment --force)" if stale else "see docs/adapt.md"
        return doctor.Finding(title, doctor.Health.WARN, "\n".join(map(str, remarks)), remedy)
    count = len(text.notebooks) + len(text.files)
    return doctor.Finding(title, doctor.Health.OK, f"{count} notebooks and files say what {CONFIG_FILE} says")


def findings_table(findings: Sequence[doctor.Finding]) -> Table:
    table = Table("", "State", "Found", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for finding in findings:
        table.add_row(finding.name, Text(finding.state.value, STYLES[finding.state.value]), Text(finding.found))
    return table
