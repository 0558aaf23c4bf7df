"""One notebook of an instructor's or a TA's, graded by itself: nothing is recorded."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from autograder.core.config import Limits
from autograder.core.errors import SetupError
from autograder.core.grade_report import GradeReport
from autograder.core.machine_faults import reason_of, stops_a_run
from autograder.core.notes import Note
from autograder.core.text import clean_name
from autograder.handin.file_kinds import kind_of_name
from autograder.handin.submission import is_notebook_name, notebook_in, stage
from autograder.pipeline.grade import grade_submission
from autograder.pipeline.grader import Grader


def grade_notebook(grader: Grader, path: Path) -> GradeReport:
    """Grade one notebook with the files beside it, without a gradebook: the report holds this exercise only."""
    name = notebook_held(path, grader.release, grader.course.limits)
    with tempfile.TemporaryDirectory(prefix="autograder-check-") as scratch:
        folder = Path(scratch)
        try:
            _, notes = stage(path.absolute().parent, folder, grader.course.limits)
        except OSError as error:
            if stops_a_run(error):
                raise
            remedy = "put the notebook, and what belongs to it, into a folder of its own"
            raise SetupError(f"the files beside {clean_name(path.name)}: {reason_of(error)}; {remedy}") from error
        if is_notebook_name(path.name) or kind_of_name(path.name) is None or name != path.stem:
            shutil.copyfile(path, folder / f"{name}.ipynb")  # else it stays what it is, and is named
        if name != path.stem:
            notes.append(Note(f"{path.name} was graded as {name}.ipynb, which its cells say it is"))
        report = grade_submission(grader, "you", folder, notes)
    return replace(
        report,
        checks=[check for check in report.checks if check.notebook == name],
        notebooks=[run for run in report.notebooks if run.notebook == name],
        cells={name: report.cells[name]},
    )


def notebook_held(path: Path, release: Path, limits: Limits) -> str:
    """The notebook of a release that a file holds, by its cells or else by its name."""
    return notebook_in(path.absolute(), release, limits) or path.stem
