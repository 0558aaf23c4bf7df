"""Intake: what a learning management system exports, or students packed, becomes `submitted/<student>/<assignment>/`.

archive   hostile zips and folders, read with every byte counted
exports   whose file is which, from the names that Canvas and Moodle give
roster    who is who in nbgrader; nobody is guessed
assemble  one student's submission from what they handed in
receipts  what was packed, and what students hold, against what arrived
record    the CSV file that settles a dispute
collect   all of it, one student after another
"""

from autograder.handin.collect.assemble import Rules
from autograder.handin.collect.collect import (
    SYSTEMS,
    Intake,
    IntakeError,
    Options,
    SubmissionPlace,
    UploadOutcome,
    UploadState,
    collect,
    known_names,
)
from autograder.handin.collect.receipts import Receipt
from autograder.handin.roster import Roster, TableError, read_receipts, read_roster

__all__ = [
    "SYSTEMS",
    "Intake",
    "IntakeError",
    "Options",
    "Receipt",
    "Roster",
    "Rules",
    "SubmissionPlace",
    "TableError",
    "UploadOutcome",
    "UploadState",
    "collect",
    "known_names",
    "read_receipts",
    "read_roster",
]
