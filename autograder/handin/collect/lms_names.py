"""Tell from the names in an export who handed in what: Canvas, Moodle, or a folder with an entry per student.

The names are those that the systems' own source code writes; docs/intake.md cites it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from autograder.core.remarks import in_words
from autograder.handin.collect.archive import Member, fold
from autograder.handin.own_modules import CANVAS_SUFFIX
from autograder.handin.roster import Person

CANVAS_NUMBERS = re.compile(r"(?P<name>.+?)_(?P<late>LATE_)?(?P<numbers>\d{1,19}(?:_\d{1,19})+)_(?P<rest>[^/]+)")
CANVAS_ANONYMOUS = re.compile(r"(?P<late>LATE_)?anon_(?P<id>[A-Za-z0-9]{5})_(?P<file>\d{1,19})_(?P<rest>[^/]+)")
CANVAS_TEXT = re.compile(r".+_(?:\d+|anon_[A-Za-z0-9]{5})_(?P<kind>text|link)\.html")
MOODLE = re.compile(
    r"(?P<name>[^_/]+)_(?P<id>\d{1,19})_assignsubmission_(?P<kind>[a-z]+?)(?:_?/(?P<path>.+)|_(?P<file>[^/]+))"
)


@dataclass(frozen=True)
class Upload:
    """A file as it was handed in: `name` is what it is taken as, `order` grows with the time of handing in.

    `given` is how the person who uploaded it knows it, where that is something else.
    """

    person: Person
    member: Member
    name: str
    marked_late: bool = False
    order: int = 0
    given: str = ""

    @property
    def uploaded_as(self) -> str:
        """For what people are told."""
        return self.given or self.name


@dataclass(frozen=True)
class SkippedEntry:
    """A person, or an entry of the export, that no submission was made of, and why; `files` are a person's entries."""

    name: str
    reason: str
    files: tuple[str, ...] = ()


@dataclass
class UploadsByPerson:
    """What an export holds, by person."""

    uploads: dict[Person, list[Upload]] = field(default_factory=dict)
    ignored: list[SkippedEntry] = field(default_factory=list)
    unmatched: list[SkippedEntry] = field(default_factory=list)

    def add(self, upload: Upload) -> None:
        self.uploads.setdefault(upload.person, []).append(upload)

    def leave_out(self, person: Person, reason: str) -> None:
        """Collect nothing of a person."""
        files = tuple(upload.member.name for upload in self.uploads.pop(person))
        self.unmatched.append(SkippedEntry(person.label, reason, files))


def sort_canvas(members: Sequence[Member], known: Callable[[str], bool], ids: Iterable[str] = ()) -> UploadsByPerson:
    """The files of Canvas's "Download Submissions", `<name>[_LATE]_<user id>_<attachment id>_<file>`.

    `known` tells the names that the assignment has: only towards those is a resubmission's suffix taken off. `ids` are
    the roster's user ids.
    """
    found = UploadsByPerson()
    stripped = _strip_wrapper(members)
    users = set(ids) | {match["numbers"].split("_")[0] for _, name in stripped if (match := _plain_canvas(name))}
    for member, name in stripped:
        text = CANVAS_TEXT.fullmatch(name)
        if text:
            kind = "text typed into Canvas" if text["kind"] == "text" else "a link, not a file"
            found.ignored.append(SkippedEntry(member.name, kind))
        elif anonymous := CANVAS_ANONYMOUS.fullmatch(name):
            person = Person("canvas", f"anon_{anonymous['id']}", "anonymous")
            found.add(_canvas_upload(person, member, anonymous, anonymous["file"], anonymous["rest"], known))
        elif match := CANVAS_NUMBERS.fullmatch(name):
            user, file, rest = _split_numbers(match)
            if _is_ambiguous(match, rest, users, known):
                reason = "its user id cannot be told from the other numbers: unpack it by hand"
                found.unmatched.append(SkippedEntry(member.name, reason))
            else:
                person = Person("canvas", user, match["name"])
                found.add(_canvas_upload(person, member, match, file, rest, known))
        else:
            reason = member.problem or "is not named as Canvas names files (<name>_<user id>_<file id>_<file>)"
            found.unmatched.append(SkippedEntry(member.name, reason))
    return found


def _plain_canvas(name: str) -> re.Match[str] | None:
    match = CANVAS_NUMBERS.fullmatch(name)
    return match if match and match["numbers"].count("_") == 1 else None


def _split_numbers(match: re.Match[str]) -> tuple[str, str, str]:
    """User id, attachment id and the student's file name, which may begin with a number itself."""
    user, file, *more = match["numbers"].split("_")
    return user, file, "_".join([*more, match["rest"]])


def _is_ambiguous(match: re.Match[str], rest: str, users: set[str], known: Callable[[str], bool]) -> bool:
    """Whether another user's id stands where this one's could: in a student's own name, or in the name of a file.

    Nobody may hand in for somebody else by calling themselves or a file `x_<other's id>`.
    """
    numbers = match["numbers"].split("_")
    if len(numbers) == 2 or known(rest):
        return False
    return any(number in users for number in numbers[1:-1])


def _canvas_upload(
    person: Person, member: Member, match: re.Match[str], file: str, rest: str, known: Callable[[str], bool]
) -> Upload:
    return Upload(person, member, without_suffix(rest, known), bool(match["late"]), int(file), rest)


def without_suffix(name: str, known: Callable[[str], bool]) -> str:
    """The name without the `-1` that Canvas gave a file handed in again, where the assignment knows the result."""
    shorter = name
    for _ in range(2):  # once in the student's files, once more in the export
        if known(shorter):
            return shorter
        match = CANVAS_SUFFIX.fullmatch(shorter)
        if match is None:
            return name
        shorter = match["stem"] + match["extensions"]
    return shorter if known(shorter) else name


def _strip_wrapper(members: Sequence[Member]) -> list[tuple[Member, str]]:
    """The members with their names, without the one folder that may lie around everything."""
    tops = {member.name.split("/")[0] for member in members}
    if len(tops) == 1 and all("/" in member.name for member in members):
        return [(member, member.name.split("/", 1)[1]) for member in members]
    return [(member, member.name) for member in members]


def sort_moodle(members: Sequence[Member]) -> UploadsByPerson:
    """The files of Moodle's "Download all submissions", in folders or flat:
    `<full name>_<participant id>_assignsubmission_file[/ or _]<file>`.

    Full names hold no underscore in an export: Moodle makes it a space.
    """
    found = UploadsByPerson()
    as_given = [(member, member.name) for member in members]
    if not any(MOODLE.fullmatch(name) for _, name in as_given):
        as_given = _strip_wrapper(members)
    for member, name in as_given:
        match = MOODLE.fullmatch(name)
        if match is None:
            reason = "is not named as Moodle names files (<name>_<participant id>_assignsubmission_file/<file>)"
            found.unmatched.append(SkippedEntry(member.name, member.problem or reason))
        elif match["kind"] != "file":
            what = "text typed into Moodle" if match["kind"] == "onlinetext" else f"no file ({match['kind']})"
            found.ignored.append(SkippedEntry(member.name, what))
        else:
            person = Person("moodle", match["id"], match["name"])
            found.add(Upload(person, member, match["path"] or match["file"]))
    return found


def sort_folder(
    members: Sequence[Member], assignment: str, knows: Callable[[str], bool], *, zipped: bool
) -> UploadsByPerson:
    """A folder with a subfolder or a zip for each student. A zip of such a folder may have one folder around it.

    `knows` tells whether a name is a student's.
    """
    found = UploadsByPerson()
    names = [(member, member.name) for member in members]
    if zipped and _is_wrapped([name for _, name in names], assignment, knows):
        names = _strip_wrapper(members)
    for member, name in names:
        top, _, rest = name.partition("/")
        if rest:
            found.add(Upload(Person("folder", top, top), member, rest))
        elif top.lower().endswith(".zip"):
            found.add(Upload(Person("folder", top[:-4], top[:-4]), member, f"{assignment}-submission.zip", given=top))
        else:
            reason = member.problem or "is neither a student's folder nor a student's zip"
            found.unmatched.append(SkippedEntry(member.name, reason))
    _refuse_lookalikes(found)
    return found


def _is_wrapped(names: Sequence[str], assignment: str, knows: Callable[[str], bool]) -> bool:
    """Whether the one folder at the top is around the students' entries, rather than a student's own."""
    split = [name.split("/") for name in names]
    tops = {parts[0] for parts in split}
    if len(tops) != 1 or knows(next(iter(tops))) or any(len(parts) == 1 for parts in split):
        return False
    inside = {parts[1] for parts in split if len(parts) > 2}
    files = {parts[1] for parts in split if len(parts) == 2}
    own = {f"{assignment}-submission.zip", assignment}
    return not (inside | files) & own and all(file.lower().endswith(".zip") for file in files)


def _refuse_lookalikes(found: UploadsByPerson) -> None:
    """Names that differ only in capitals are not taken for two students, nor for one."""
    by_fold: dict[str, list[Person]] = {}
    for person in found.uploads:
        by_fold.setdefault(fold(person.name), []).append(person)
    for people in by_fold.values():
        if len(people) > 1:
            names = in_words([person.name for person in people])
            for person in people:
                found.leave_out(person, f"one of several that differ only in capitals: {names}")
