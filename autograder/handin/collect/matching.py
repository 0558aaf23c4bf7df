"""Which student of the course handed in which files of an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autograder.core.remarks import in_words
from autograder.core.text import clean_name
from autograder.handin.collect.archive import Member
from autograder.handin.collect.intake import Options, SubmissionPlace
from autograder.handin.collect.lms_names import (
    SkippedEntry,
    Upload,
    UploadsByPerson,
    sort_canvas,
    sort_folder,
    sort_moodle,
)
from autograder.handin.roster import Person, Roster, Unmatched, student_of


def sort_by_person(
    members: Sequence[Member], place: SubmissionPlace, options: Options, *, zipped: bool
) -> UploadsByPerson:
    """What each person handed in, by the names that the system gives files; `zipped` says that the export is a zip."""
    if options.system == "canvas":
        return sort_canvas(members, place.known.__contains__, options.roster.ids("canvas_id"))
    if options.system == "moodle":
        return sort_moodle(members)

    def knows(name: str) -> bool:
        try:
            return bool(options.roster.students) and bool(student_of(Person("folder", name, name), options.roster))
        except Unmatched:
            return False

    return sort_folder(members, place.assignment, knows, zipped=zipped)


def why_nothing(
    file: Path, found: UploadsByPerson, members: Sequence[Member], place: SubmissionPlace, options: Options
) -> str:
    """Why an export holds nothing, with the form that it seems to have instead."""
    if not members:
        return f"{file.name} is empty: download the export again"
    for system in ("canvas", "moodle"):
        if system != options.system:
            other = Options(system, options.roster)
            if sort_by_person(members, place, other, zipped=not file.is_dir()).uploads:
                return f"{file.name} is no export of the form {options.system!r}: try --from {system}"
    first = (found.unmatched or found.ignored or [SkippedEntry(members[0].name, members[0].problem)])[0]
    return f"{file.name} holds no submission of the form {options.system!r}: {clean_name(first.name)} {first.reason}"


def match_students(found: UploadsByPerson, roster: Roster) -> dict[str, list[Upload]]:
    """Uploads by student, in order of their ids; people who fit nobody, or one student together, become unmatched."""
    people: dict[str, list[Person]] = {}
    for person in list(found.uploads):
        try:
            people.setdefault(student_of(person, roster), []).append(person)
        except Unmatched as error:
            found.leave_out(person, str(error))
    students = {}
    for student, same in sorted(people.items()):
        if len(same) > 1 and same[0].system != "folder":
            for person in same:
                others = in_words([other.label for other in same if other is not person])
                found.leave_out(person, f"fits {student}, as does {others}: add ids to the roster")
            continue
        students[student] = [upload for person in same for upload in found.uploads[person]]
    return students
