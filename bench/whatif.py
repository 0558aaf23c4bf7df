"""How long a what-if takes next to grading: `python -m bench.whatif`.

The demonstration's eight submissions, by the commands as an instructor types them: graded, asked about another
threshold, and asked the same again.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autograder.judging import datasets
from tools.demo import STUDENTS
from tools.samples import ASSIGNMENT, executable, make_course

QUESTION = ("whatif", ASSIGNMENT, "--set", "accuracy_full=0.70")
STEPS = {
    "grade": ("grade", ASSIGNMENT, "--no-report"),
    "what if": QUESTION,
    "the same what-if again": QUESTION,
}
SOME_NOT_COMPARED = 3  # one of the submissions crashes, of which no evidence is kept


def main() -> int:
    """Run the commands one after the other and print one table."""
    console = Console()
    source = datasets.find_source(allow_offline=True)
    if source.path is not None:
        os.environ["CIFAR10_ROOT"] = str(source.path.resolve())
    kind = "offline" if source.form == "offline" else "cifar10"
    table = Table("step", "seconds", title=f"{len(STUDENTS)} submissions, {kind}")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        root = Path(scratch) / "course"
        make_course(root, STUDENTS, kind)
        for name, arguments in STEPS.items():
            table.add_row(name, f"{_seconds(root, arguments):.1f}")
    cores = len(os.sched_getaffinity(0))
    console.print(f"{cores} cores, Python {platform.python_version()}, torch {version('torch')}")
    console.print(table)
    return 0


def _seconds(root: Path, arguments: tuple[str, ...]) -> float:
    began = time.monotonic()
    done = subprocess.run([executable("autograder"), *arguments, "--course", str(root)], capture_output=True, text=True)
    if done.returncode not in (0, SOME_NOT_COMPARED):
        raise SystemExit(f"autograder {arguments[0]} failed ({done.returncode}):\n{done.stderr}")
    return time.monotonic() - began


if __name__ == "__main__":
    raise SystemExit(main())
