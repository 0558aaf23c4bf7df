"""One submission: its files staged safely, its notebooks found, read with limits and repaired against the release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autograder.core.config import Limits
from autograder.core.files import StagedFile
from autograder.core.notes import Note
from autograder.handin.cells import grade_id_of, is_run, is_test_cell, manual_cells, source_of, test_cells
from autograder.handin.finder import FoundNotebooks, find_notebooks
from autograder.handin.notebook_file import (
    MOST_NOTEBOOK_MIB,
    Notebook,
    UnreadableNotebook,
    read_notebook,
    read_released,
)
from autograder.handin.quarantine import MOST_FILES, MOST_NAME, Surroundings, describe_kind, quarantine, quarantined
from autograder.handin.reading import Reading, look_into, notebook_in, repaired
from autograder.handin.repair import repair, unread_answers
from autograder.handin.staging import NO_COURSE_FILES, CourseFiles, copy_files, stage
from autograder.handin.walk import MOST_DEPTH, is_notebook_name, walk

__all__ = [
    "MOST_DEPTH",
    "MOST_FILES",
    "MOST_NAME",
    "MOST_NOTEBOOK_MIB",
    "CourseFiles",
    "FoundNotebooks",
    "Notebook",
    "Reading",
    "StagedFile",
    "Submission",
    "Surroundings",
    "UnreadableNotebook",
    "describe_kind",
    "find_notebooks",
    "grade_id_of",
    "is_notebook_name",
    "is_run",
    "is_test_cell",
    "load_notebook",
    "look_into",
    "manual_cells",
    "notebook_in",
    "quarantine",
    "quarantined",
    "read_in_place",
    "read_notebook",
    "read_released",
    "read_submission",
    "repair",
    "source_of",
    "stage",
    "submission_of",
    "test_cells",
    "unread_answers",
    "walk",
]


@dataclass(frozen=True)
class Submission:
    """What was handed in: readable notebooks by name, why others are not readable, files, and notes.

    `jail_digest` identifies every file that the jail will see: the submission's and the course's own over them.
    `unreadable` holds a reason for every notebook of the assignment that is not among `notebooks`. `release` is the
    folder that it was repaired against.
    """

    student: str
    notebooks: Mapping[str, Notebook]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, StagedFile] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    jail_digest: str = ""
    release: Path | None = None

    @property
    def content_digest(self) -> str:
        """Identifies all that can be told about the notebooks: answers for a person and repairs included."""
        told = json.dumps(
            [dict(self.notebooks), dict(self.unreadable), [str(note) for note in self.notes]], sort_keys=True
        )
        return hashlib.sha256(told.encode()).hexdigest()


def read_submission(
    student: str,
    folder: Path,
    target: Path,
    release: Path,
    limits: Limits,
    course: CourseFiles = NO_COURSE_FILES,
) -> Submission:
    """Read every notebook that the release has, whatever its file is called, and copy the files beside them to
    `target`, with the course's own over them. Raises OSError where the folder itself cannot be read."""
    reading = look_into(folder, release, limits, course)
    files = copy_files(reading.files, folder, target, course.paths())
    return submission_of(student, reading, files, release)


def read_in_place(
    student: str,
    folder: Path,
    release: Path,
    limits: Limits,
    course: CourseFiles = NO_COURSE_FILES,
) -> Submission:
    """The same without copies, where nothing is run: the paths of its files are those in the folder."""
    reading = look_into(folder, release, limits, course)
    found = reading.files.files
    files = {
        file.shown: StagedFile(file.shown, folder / file.name, file.sha256, file.size, file.weights) for file in found
    }
    return submission_of(student, reading, files, release)


def submission_of(student: str, reading: Reading, files: Mapping[str, StagedFile], release: Path) -> Submission:
    """A submission as it was read, with its files where they lie."""
    notes = [*reading.files.notes, *reading.finding.remarks]
    for name, repairs in reading.repairs.items():
        notes += [replace(note, notebook=name) for note in repairs]
    visible = reading.files.visible
    return Submission(student, reading.notebooks, reading.unreadable, files, tuple(notes), visible, release)


def load_notebook(path: Path, template_path: Path) -> tuple[Notebook, list[Note]]:
    """Read one notebook of ours (nbgrader's copy of a repaired one) and repair it against the release.

    Raises UnreadableNotebook.
    """
    return repaired(read_notebook(path), read_released(template_path))
