"""Grade eight sample submissions in a folder of their own, and say where to look: `make demo`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autograder.core.grade_report import GradeReport, Status
from autograder.course import report_store
from autograder.judging import datasets
from tools.samples import ASSIGNMENT, ROOT, executable, make_course, read_sample

PLACE = ROOT / ".demo"
STUDENTS = {
    "ada": "reference",
    "blaise": "different_style",
    "carl": "untouched",
    "dorothy": "wrong_doubling",
    "emmy": "no_residual",
    "felix": "partial_checkpoint",
    "grace": "os_exit",
    "mallory": "gradebook_symlink",
}


def main() -> int:
    """Set up `.demo/`, run plain `nbgrader autograde`, write the report, print a summary. Returns an exit status."""
    console = Console()
    began = time.monotonic()
    try:
        source = datasets.find_source(allow_offline=True)
    except datasets.DataError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    kind = "offline" if source.form == "offline" else "cifar10"
    if kind == "cifar10":
        os.environ["CIFAR10_ROOT"] = str(source.path.resolve()) if source.path else ""
        console.print(f"Test set: CIFAR-10, found at {source.path}")
    else:
        console.print("Test set: the built-in offline set, since no CIFAR-10 was found (CIFAR10_ROOT, ./data).")
    make_course(PLACE, STUDENTS, kind)
    console.print(f"Course: {PLACE}, with {len(STUDENTS)} submissions. Running `nbgrader autograde {ASSIGNMENT}` …")
    status = autograde(console)
    graded = report_store.load_reports(PLACE, ASSIGNMENT)
    console.print(summary(graded))
    for command, *options in (("feedback",), ("integrity", "--no-models"), ("report",)):
        quiet = command == "feedback"
        run([executable("autograder"), command, ASSIGNMENT, *options, "--course", str(PLACE)], quiet=quiet)
    console.print("Above: the report, and the page of what is alike. Open them in a browser.")
    console.print("What students see: .demo/feedback/dorothy/cnn/02_deeper_cnn.html")
    console.print("nbgrader's log: .demo/autograde.log.")
    console.print("To mark by hand in formgrader: cd .demo && ../.venv/bin/jupyter lab, then Nbgrader → Formgrader.")
    console.print(f"Took {time.monotonic() - began:.0f} s.")
    return status


def autograde(console: Console) -> int:
    """Plain `nbgrader autograde`, its log in a file, one line on the screen for each submission."""
    command = [executable("nbgrader"), "autograde", ASSIGNMENT]
    with open(PLACE / "autograde.log", "w") as log:
        process = subprocess.Popen(command, cwd=PLACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        seen: set[str] = set()
        for line in process.stdout:
            log.write(line)
            student = next((s for s in STUDENTS if f"Grading {s} in the jail" in line), None)
            if student and student not in seen:
                seen.add(student)
                console.print(f"  {len(seen)}/{len(STUDENTS)} {student}: {read_sample(STUDENTS[student])['title']}")
        return process.wait()


def summary(graded: Sequence[GradeReport]) -> Table:
    """Points per submission and the checks that failed first."""
    table = Table("student", title="Automatic points", show_lines=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("lost in")
    for report in graded:
        lost = [c.title for c in report.checks if c.status not in (Status.PASSED, Status.SKIPPED)]
        more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
        table.add_row(report.student, f"{report.earned:g} / {report.maximum:g}", "".join(lost[:1]) + more)
    return table


def run(command: Sequence[str], *, quiet: bool = False) -> None:
    """Run a command in the demonstration's course; its output is shown where it fails."""
    done = subprocess.run(command, cwd=PLACE, capture_output=quiet, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} {command[1]} failed ({done.returncode}):\n{done.stderr or ''}")


if __name__ == "__main__":
    raise SystemExit(main())
