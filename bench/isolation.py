"""What the jail costs: honest samples graded in it and, by the same worker, without it: `python -m bench.isolation`.

Both are graded in turn, each round with empty caches, so that whatever else the machine does meets both alike; the
first round warms the disk and is not counted.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from autograder.judging import datasets
from autograder.pipeline import grade
from autograder.pipeline.grader import Grader, open_grader
from tools.samples import ASSIGNMENT, build_sample, make_course

SAMPLES = ["reference", "different_style", "wrong_doubling", "no_residual", "partial_checkpoint"]
LEVELS = ["bubblewrap", "none"]


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often each sample is graded at each level.")
def main(rounds: int) -> None:
    """Grade the samples with and without a jail, and print what the jail adds."""
    source = datasets.find_source(allow_offline=True)
    kind = "offline" if source.form == "offline" else "cifar10"
    if source.path is not None:
        os.environ["CIFAR10_ROOT"] = str(source.path.resolve())
    seconds: dict[tuple[str, str], list[float]] = {(sample, level): [] for sample in SAMPLES for level in LEVELS}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        root = Path(scratch) / "course"
        make_course(root, {}, kind)
        graders = {level: open_grader(root, ASSIGNMENT, isolation=level) for level in LEVELS}
        for sample in SAMPLES:
            build_sample(sample, root / "submitted" / sample / ASSIGNMENT, kind)
        for number in range(rounds + 1):
            for sample in SAMPLES:
                # Turn about, so that neither level always comes after the other.
                for level in LEVELS[:: 1 if number % 2 else -1]:
                    taken = _grade(graders[level], sample)
                    if number:
                        seconds[sample, level].append(taken)
        _print(seconds, graders[LEVELS[0]])


def _grade(grader: Grader, sample: str) -> float:
    """Wall seconds of one fresh grading."""
    shutil.rmtree(grader.cache.folder, ignore_errors=True)
    began = time.monotonic()
    grade.grade_submission(grader, sample, grader.root / "submitted" / sample / ASSIGNMENT)
    return time.monotonic() - began


def _print(seconds: dict[tuple[str, str], list[float]], grader: Grader) -> None:
    console = Console()
    table = Table("sample", title="Wall seconds of grading one submission, median")
    for name in ("in the jail", "without", "the jail adds"):
        table.add_column(name, justify="right")
    totals = [0.0, 0.0]
    for sample in SAMPLES:
        jailed, plain = (median(seconds[sample, level]) for level in LEVELS)
        totals = [totals[0] + jailed, totals[1] + plain]
        table.add_row(sample, f"{jailed:.2f}", f"{plain:.2f}", f"{jailed / plain - 1:+.1%}")
    table.add_section()
    table.add_row("all", f"{totals[0]:.2f}", f"{totals[1]:.2f}", f"{totals[0] / totals[1] - 1:+.1%}")
    cores = len(os.sched_getaffinity(0))
    rounds = len(next(iter(seconds.values())))
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    console.print(f"{cores} cores, {versions}, {grader.data_identity}")
    console.print(f"{rounds} rounds; the jail: {grader.isolation.describe()}")
    console.print(table)


if __name__ == "__main__":
    main()
