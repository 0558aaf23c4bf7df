"""Intake: what a learning management system exports, or students packed, becomes `submitted/<student>/<assignment>/`.

archive    hostile zips and folders, read with every byte counted
lms_names  whose file is which, from the names that Canvas and Moodle give
intake     what is to be collected, by which rules, and what became of it
matching   which student handed in which files; nobody is guessed
assemble   one student's submission from what they handed in
receipts   what was packed, and what students hold, against what arrived
placing    a submission into its folder; nothing there is lost
journal    the record, a CSV file that settles a dispute
collect    all of it, one student after another
"""

from autograder.handin.collect.assemble import Rules
from autograder.handin.collect.collect import collect
from autograder.handin.collect.intake import (
    Intake,
    IntakeError,
    Options,
    SubmissionPlace,
    UploadOutcome,
    UploadState,
    known_names,
)
from autograder.handin.collect.receipts import Receipt
from autograder.handin.roster import Roster, TableError, read_receipts, read_roster

__all__ = [
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
