"""Export plugins of nbgrader: `nbgrader export --exporter=autograder.export_plugins.ChecksCsv --assignment=[…]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Enum, Unicode

from autograder.core.files import write_atomically
from autograder.course.folder import NbCourse
from autograder.course.gradebook import GradebookError, absolute_url
from autograder.course.report_store import BrokenReport
from autograder.handin.roster import Roster, TableError, read_roster
from autograder.review.exports.canvas import fill_canvas
from autograder.review.exports.classbook import Classbook, ExportError, Policy, expect_final, read_class
from autograder.review.exports.fill import Export, account, stale_remarks
from autograder.review.exports.moodle import fill_worksheet, moodle_csv
from autograder.review.exports.plain import long_csv, wide_csv


class _Plugin(ExportPlugin):  # type: ignore[misc]
    """One assignment in one file, which is `grades.csv` in the working directory unless `--to` names another."""

    provisional = Bool(False, help="Also write the points so far of those who wait for a manual mark.").tag(config=True)
    final_only = Bool(False, help="Write the final marks although others are missing.").tag(config=True)
    zeros = Bool(False, help="Write 0 for those who handed nothing in.").tag(config=True)
    roster = Unicode("", help="A roster of `autograder collect`: who is who in the other system.").tag(config=True)

    @property
    def policy(self) -> Policy:
        return Policy(self.provisional, self.zeros, self.final_only)

    def make(self, book: Classbook, roster: Roster) -> Export:
        """The file's content, and who has no mark. Raises ExportError."""
        raise NotImplementedError

    def export(self, gradebook: Any) -> None:
        """Write the file; what is wrong is said in the log, and ends the program with 1."""
        path = Path(self.to or "grades.csv")
        try:
            root = Path(self.parent.coursedir.root)
            roster = read_roster(Path(self.roster)) if self.roster else Roster()
            students = [str(student) for student in self.student]
            self.parent.coursedir.db_url = absolute_url(str(self.parent.coursedir.db_url), root)
            book = read_class(NbCourse(self.parent, root), self._assignment(gradebook), students)
            expect_final(book, self.policy)
            done = self.make(book, roster)
            write_atomically(path, done.content)
        except (ExportError, GradebookError, BrokenReport, TableError, OSError) as error:
            self.log.error("Nothing was exported: %s", error)
            sys.exit(1)
        for remark in (*done.remarks, *stale_remarks(book)):
            self.log.warning("%s", remark)
        for someone in (*done.left, *done.strangers):
            self.log.warning("No mark was written: %s", someone)
        self.log.info("Exported %d marks of %s to %s", done.marks, book.assignment, path)

    def _assignment(self, gradebook: Any) -> str:
        """The one that was named, or the only one there is. Raises ExportError."""
        names = [str(name) for name in self.assignment] or [assignment.name for assignment in gradebook.assignments]
        if len(names) != 1:
            raise ExportError(f"one assignment at a time: name it as --assignment=['{names[0] if names else 'NAME'}']")
        return names[0]


class ChecksCsv(_Plugin):
    """Plain CSV: a row for each student with every grade cell and check."""

    long = Bool(False, help="A row for each student and check instead, with result and message.").tag(config=True)

    def make(self, book: Classbook, roster: Roster) -> Export:
        return account(book, self.policy, long_csv(book) if self.long else wide_csv(book, self.policy))


class MoodleCsv(_Plugin):
    """A file for Moodle's CSV import of grades; with `worksheet`, the offline grading worksheet filled in."""

    by = Enum(["email", "id-number"], "email", help="How Moodle knows students.").tag(config=True)
    comments = Bool(False, help="Add the points of each notebook as feedback.").tag(config=True)
    worksheet = Unicode("", help="The assignment's offline grading worksheet, as Moodle gave it.").tag(config=True)
    scale = Bool(False, help="Multiply marks to fit the worksheet's maximum grade.").tag(config=True)

    def make(self, book: Classbook, roster: Roster) -> Export:
        if self.worksheet:
            path = Path(self.worksheet)
            return fill_worksheet(path, book, roster, self.policy, scale=self.scale, comments=self.comments)
        return moodle_csv(book, self.policy, by=self.by, roster=roster, comments=self.comments)


class CanvasCsv(_Plugin):
    """The copy of an exported Canvas gradebook with the marks filled in."""

    gradebook = Unicode("", help="The gradebook that you have exported from Canvas.").tag(config=True)
    column = Unicode("", help="The assignment's column, as `Task 3 (12345)`.").tag(config=True)
    scale = Bool(False, help="Multiply marks to fit the column's points possible.").tag(config=True)

    def make(self, book: Classbook, roster: Roster) -> Export:
        if not self.gradebook:
            raise ExportError("name the gradebook that you have exported from Canvas: --CanvasCsv.gradebook=FILE")
        path = Path(self.gradebook)
        return fill_canvas(path, book, roster, self.policy, column=self.column, scale=self.scale)
