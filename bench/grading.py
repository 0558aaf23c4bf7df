"""How long grading takes, and where the time goes: `make bench`.

One process, side by side: a fresh submission, the same one from the cache, and an untouched one, with the time that
each spends on the notebooks in the jail, on the hidden graders, and (for the fresh one) by check.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autograder.core.grade_report import GradeReport
from autograder.judging import datasets
from autograder.pipeline import grade
from autograder.pipeline.grader import open_grader
from tools.samples import ASSIGNMENT, build_sample, make_course

SAMPLES = ["reference", "reference", "different_style", "untouched"]


def main() -> int:
    """Grade the samples one after the other and print two tables."""
    console = Console()
    source = datasets.find_source(allow_offline=True)
    kind = "offline" if source.form == "offline" else "cifar10"
    if source.path is not None:
        os.environ["CIFAR10_ROOT"] = str(source.path.resolve())
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        root = Path(scratch) / "course"
        make_course(root, {}, kind)
        began = time.monotonic()
        grader = open_grader(root, ASSIGNMENT)
        opened = time.monotonic() - began
        runs = []
        for number, sample in enumerate(SAMPLES):
            folder = root / "submitted" / f"{number}-{sample}" / ASSIGNMENT
            build_sample(sample, folder, kind)
            began = time.monotonic()
            report = grade.grade_submission(grader, sample, folder)
            runs.append((sample, report, time.monotonic() - began))
    cores = len(os.sched_getaffinity(0))
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    console.print(f"{cores} cores, {versions}, {grader.data_identity}")
    console.print(f"finding isolation, data set and configuration: {opened:.1f} s")
    console.print(table_of(runs))
    console.print(slowest(runs[0][1]))
    return 0


def table_of(runs: list[tuple[str, GradeReport, float]]) -> Table:
    """One row for each graded sample; a repeated one comes from the cache."""
    table = Table("sample", "points", "seconds", "notebooks, s", "checks, s", title="Grading one submission")
    for position, (sample, report, seconds) in enumerate(runs):
        again = " (again: from the cache)" if sample in [s for s, _, _ in runs[:position]] else ""
        notebooks = sum(run.seconds for run in report.notebooks)
        checks = sum(check.seconds for check in report.checks)
        table.add_row(sample + again, f"{report.earned:g}", f"{seconds:.1f}", f"{notebooks:.1f}", f"{checks:.1f}")
    return table


def slowest(report: GradeReport) -> Table:
    """The checks of one report that took longest."""
    table = Table("check", "seconds", title="Slowest checks of the first")
    for check in sorted(report.checks, key=lambda c: -c.seconds)[:6]:
        table.add_row(check.title, f"{check.seconds:.2f}")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
