"""`autograder doctor`: what this machine offers for grading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from autograder.cli.ending import NOTHING_GRADED, complain
from autograder.cli.shared import make_console
from autograder.pipeline import doctor

STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def look_at_machine(root: Path | None) -> None:
    """Say what this machine offers for grading, and what to do where something is missing."""
    console = make_console()
    findings = []
    with console.status("Looking at this machine …") as status:
        for finding in doctor.examine((root or Path()).resolve(), course_expected=root is not None):
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


def findings_table(findings: Sequence[doctor.Finding]) -> Table:
    table = Table("", "State", "Found", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for finding in findings:
        table.add_row(finding.name, Text(finding.state.value, STYLES[finding.state.value]), Text(finding.found))
    return table
