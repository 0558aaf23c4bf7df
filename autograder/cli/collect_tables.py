"""What `autograder collect` prints: one table, then the lists of what a person should look at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.core.remarks import in_words
from autograder.core.text import clean_name, one_line, printable
from autograder.handin.collect.intake import Intake, UploadOutcome, UploadState
from autograder.handin.collect.lms_names import SkippedEntry
from autograder.handin.collect.receipts import Receipt

MOST_LISTED = 200
STYLES = {
    UploadState.COLLECTED: "green",
    UploadState.REPLACED: "green",
    UploadState.UNCHANGED: "dim",
    UploadState.LATE: "yellow",
    UploadState.OLDER: "yellow",
    UploadState.REFUSED: "bold red",
}


def show_intake(console: Console, intake: Intake, zone: tzinfo | None) -> None:
    """Print the outcome of a collection. All names come from students: nothing in them is markup."""
    console.print(outcomes_table(intake, zone))
    console.print(Text(_summary(intake), "bold"))
    for title, lines in _lists(intake):
        console.print(Text(f"{title}:", "bold"))
        for line in lines[:MOST_LISTED]:
            console.print(Text(f"  {one_line(line)}"))
        if len(lines) > MOST_LISTED:
            console.print(Text(f"  … and {len(lines) - MOST_LISTED} more, all in the record"))
    for note in intake.notes:
        console.print(Text(one_line(note), "yellow"))
    if intake.record is None:
        console.print("Dry run: nothing was written.")
    else:
        console.print(Text(f"Record: {intake.record}"))


def outcomes_table(intake: Intake, zone: tzinfo | None) -> Table:
    """Every student with what was collected, and what is odd about it."""
    table = Table("Student", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("Files", justify="right")
    table.add_column("Submitted at", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Remarks", overflow="fold")
    for outcome in intake.outcomes:
        table.add_row(
            Text(clean_name(outcome.student)),
            str(outcome.files or "–"),
            _shown_time(outcome, zone),
            Text(outcome.state.value, STYLES[outcome.state]),
            Text(printable("\n".join(outcome.remarks)), "yellow" if outcome.remarks else ""),
        )
    return table


def _shown_time(outcome: UploadOutcome, zone: tzinfo | None) -> str:
    if outcome.submitted_at is None:
        return "–" if outcome.state in (UploadState.REFUSED, UploadState.LATE) else "not in the export"
    return "≤ " * outcome.is_bound + outcome.submitted_at.astimezone(zone).isoformat(" ", "minutes")


def _summary(intake: Intake) -> str:
    states = [outcome.state for outcome in intake.outcomes]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in UploadState if state in states)
    return f"{len(states)} student{'s' * (len(states) != 1)}: {counts}"


def _lists(intake: Intake) -> Iterator[tuple[str, list[str]]]:
    late = [f"{clean_name(o.student)}: {in_words(o.late)}{_end_of_late(o)}" for o in intake.outcomes if o.late]
    if late:
        yield "After the deadline, not taken", late
    if intake.receipts:
        yield "Receipts", [_receipt_line(checked.held.student, checked.verdict) for checked in intake.receipts]
    if intake.unmatched:
        yield "Not matched to a student, not collected", [_unmatched_line(one) for one in intake.unmatched]
    if intake.ignored:
        yield "Ignored", [f"{clean_name(one.name)}: {one_line(one.reason)}" for one in intake.ignored]
    if intake.absent:
        yield "In the roster, without a submission", [", ".join(clean_name(student) for student in intake.absent)]


def _unmatched_line(listed: SkippedEntry) -> str:
    files = f", {len(listed.files)} file{'s' * (len(listed.files) != 1)}" if listed.files else ""
    return f"{clean_name(listed.name)}{files}: {one_line(listed.reason)}"


def _end_of_late(outcome: UploadOutcome) -> str:
    return " (nothing came in time)" if outcome.state is UploadState.LATE else ""


def _receipt_line(student: str, verdict: Receipt) -> str:
    remedies = {
        Receipt.VERIFIED: "",
        Receipt.EARLIER: ": the student holds a receipt for an earlier or later archive; see the record",
        Receipt.DIFFERS: ": ask the student for the zip that they packed, and compare the receipt again",
        Receipt.MISSING: ": ask whether it was uploaded, and look into the system itself",
    }
    return f"{clean_name(student)}: {verdict.value}{remedies[verdict]}"
