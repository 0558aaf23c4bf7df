"""Made-up reports and marks for tests of tables and pages: every status, and text that tries to be more than text."""

from __future__ import annotations

from autograder.core.grade_report import CellRun, CheckResult, GradeReport, NotebookRun, Status
from autograder.core.notes import Note, NoteKind
from autograder.core.rows import Mark

HOSTILE = "<script>document.title='taken over'</script><img src=x onerror=\"document.title='taken over'\">"
CELLS = {"01_sums": {"sums-worked": 3.0, "sums-function": 7.0}, "02_network": {"network-tests": 20.0}}
FACTS = {
    "engine": "0.1.0",
    "isolation": "bubblewrap 0.8.0, unprivileged uid, no network",
    "data": "CIFAR-10, 10,000 test images, sha256 0123456789abcdef",
    "device": "cpu",
    "configuration": "5d41402abc4b",
}


def check(name: str, cell: str, points: float, status: Status = Status.PASSED, **more: object) -> CheckResult:
    """A check of `network-tests` and the like; full points where it passed, none otherwise unless `earned` says so."""
    notebook = next(notebook for notebook, cells in CELLS.items() if cell in cells)
    values = {"title": name.capitalize(), "earned": points if status is Status.PASSED else 0.0} | more
    return CheckResult(notebook=notebook, cell=cell, name=name, points=points, status=status, **values)  # type: ignore[arg-type]


def report(student: str, *checks: CheckResult, **more: object) -> GradeReport:
    """A report with the given checks in place of those that would have passed."""
    changed = {c.name: c for c in checks}
    usual = [
        check("worked example", "sums-worked", 3),
        check("plain case", "sums-function", 4),
        check("negative numbers", "sums-function", 3),
        check("logits", "network-tests", 6),
        check("channels double", "network-tests", 8),
        check("weights learn", "network-tests", 6),
    ]
    values = {
        "assignment": "tiny",
        "checks": [changed.get(c.name, c) for c in usual],
        "notebooks": [NotebookRun(name, Status.PASSED, "", [], 2.5) for name in CELLS],
        "cells": CELLS,
        "facts": FACTS,
        "seconds": 12.3,
    } | more
    return GradeReport(student=student, **values)  # type: ignore[arg-type]


def failing() -> GradeReport:
    """Partial points, a wrong answer with line and hint, a skipped check, a cell that raised."""
    trace = ["Traceback (most recent call last)", "Cell In[3], line 2", "\x1b[31mNameError\x1b[0m: name 'torhc'"]
    error = {"output_type": "error", "ename": "NameError", "evalue": "name 'torhc' is not defined", "traceback": trace}
    cells = [CellRun(0, Status.PASSED, 0.1), CellRun(4, Status.ERROR, 0.2, [error], "NameError")]
    return report(
        "blaise",
        check("plain case", "sums-function", 4, Status.FAILED, earned=2.5, message="2 of 3 cases", hint="Add both."),
        check(
            "channels double",
            "network-tests",
            8,
            Status.FAILED,
            message="blocks: expected channels [32, 64, 128, 256], got [32, 64, 128, 128]",
            hint="Each block doubles the channels of the one before.",
            source_cell=2,
            place="the cell deeper-cnn-solution",
            line=14,
        ),
        check("weights learn", "network-tests", 6, Status.SKIPPED, message="not judged, because “Logits” did not pass"),
        notebooks=[NotebookRun("01_sums", Status.PASSED), NotebookRun("02_network", Status.PASSED, "", cells, 3.0)],
        facts={**FACTS, "checkpoint": "network.safetensors, 1,234 bytes, sha256 ab12"},
        notes=[Note("`link` is a symbolic link: set aside, not graded", NoteKind.BLOCKED)],
    )


def undecided() -> GradeReport:
    """A check that the engine cannot decide."""
    message = "forward branches on the data (line 9): a static graph cannot hold that"
    return report("chen", check("logits", "network-tests", 6, Status.UNSUPPORTED, message=message, line=9))


def broken() -> GradeReport:
    """A submission that failed through the grader's own fault."""
    message = "Grader error, not your code: the runner did not start; no score recorded"
    checks = [check("grader", cell, points, Status.INTERNAL, message=message) for cell, points in _all_cells()]
    return report("dorothy", checks=checks)


def hostile() -> GradeReport:
    """Markup, terminal colours and direction marks wherever a student's text can reach."""
    text = f"{HOSTILE} \x1b[31mred\x1b[0m \u202egnp.exe [bold]javascript:alert(1)[/bold]"
    error = {"output_type": "error", "ename": HOSTILE, "evalue": text, "traceback": [text, "x" * 5000]}
    run = NotebookRun("02_network", Status.TIMEOUT, text, [CellRun(1, Status.ERROR, 1.0, [error], text)])
    return report(
        f"eve {HOSTILE}",
        check("logits", "network-tests", 6, Status.ERROR, message=text),
        notebooks=[run],
        notes=[Note(text)],
        facts={**FACTS, "checkpoint": text},
    )


def everyone() -> list[GradeReport]:
    """One report of each kind, the perfect one first."""
    return [report("ada"), failing(), undecided(), broken(), hostile()]


def marks_for(graded: GradeReport, *, manual: float | None = None) -> tuple[Mark, ...]:
    """What the gradebook holds after a report was recorded; `sums-why` (5 points) waits unless `manual` is given."""
    automatic = [
        Mark(s.notebook, s.cell, s.maximum, s.earned, None, s.earned, s.needs_person) for s in graded.cell_scores()
    ]
    return (*automatic, Mark("01_sums", "sums-why", 5.0, None, manual, manual or 0.0, manual is None))


def _all_cells() -> list[tuple[str, float]]:
    return [(cell, points) for cells in CELLS.values() for cell, points in cells.items()]
