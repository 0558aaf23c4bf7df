"""How long the report takes: `python -m bench.report`. A class of 60 and one of 500, all pages, and one regrade.

The submissions are made up (`tools/sample_class.py`); each step is timed in one process. How long pages take to open is
Chromium's own figure, from the beginning of the navigation to the end of `load`, for the three pages of the class and
the largest page of a submission, each in a fresh context. It prints figures and asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autograder.core.config import load_course
from autograder.core.notes import Note
from autograder.course.folder import open_course
from autograder.course.report_store import load_reports, save_report
from autograder.review.staff_report.page_names import STUDENTS
from autograder.review.staff_report.write import write_course_report
from tests.browser import open_browser, watched_page
from tools.sample_class import make_class


def main() -> None:
    """Print seconds for each size of class."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 500])
    sizes = parser.parse_args().sizes
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    print("submissions  all pages  no change  one regrade  pages written    MiB  slowest page to open")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-report-") as scratch:
            print(measure(Path(scratch) / "course", size))


def measure(place: Path, size: int) -> str:
    """One line of the table."""
    make_class(place, size)
    folder = place / "reports" / "cnn"
    whole, same = write(place, folder), write(place, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.html")}
    first = load_reports(place, "cnn")[0]
    save_report(place, replace(first, notes=[*first.notes, Note("graded again")]))
    one = write(place, folder)
    written = sum(path.stat().st_mtime_ns != before.get(path) for path in folder.rglob("*.html"))
    megabytes = sum(path.stat().st_size for path in before) / 2**20
    line = f"{size:>11} {whole:>9.1f}s {same:>9.1f}s {one:>11.1f}s {written:>14} {megabytes:>6.0f}"
    slowest, page = max(opening_times(folder))
    return f"{line}  {slowest:.2f}s, {page.relative_to(folder)}"


def opening_times(folder: Path) -> Iterator[tuple[float, Path]]:
    """Seconds until a page is loaded and its script has run: those of the class, and the largest of a submission."""
    largest = max((folder / STUDENTS).glob("*.html"), key=lambda path: path.stat().st_size)
    with open_browser() as browser:
        for path in (*folder.glob("*.html"), largest):
            with watched_page(browser) as watched:
                took = watched.open(path).evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
            yield took / 1000, path


def write(place: Path, folder: Path) -> float:
    """Seconds that writing the report takes."""
    began = time.monotonic()
    write_course_report(open_course(place), load_course(place), "cnn", folder)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
