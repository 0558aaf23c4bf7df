"""Which file of a submission is which notebook of the assignment: decided by its cells, not guessed by its name.

Students rename notebooks, browsers number them, archives put them into folders. A file belongs to the notebook whose
grade ids its cells carry, or whose texts they hold where they carry none; else only the exact name counts. Of several
copies one is chosen by a fixed rule, and the notes say which, so that a student can object.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autograder.core.notes import Note
from autograder.core.remarks import clipped, few_notes, in_words
from autograder.core.text import clean_name, did_you_mean
from autograder.handin.cells import grade_id_of
from autograder.handin.lost_metadata import known_by_texts, with_lost_ids
from autograder.handin.notebook_file import CLEAR, Notebook, UnreadableNotebook, read_notebook, read_released
from autograder.handin.repair import work_of
from autograder.handin.versions import settled
from autograder.handin.walk import MOST_DEPTH, is_notebook_name, stem_of, walk

MOST_ENTRIES = 200_000  # of a submission: a data set of single pictures has 60,000, a virtual environment 30,000
MOST_CANDIDATES = 40
MOST_LOOKED_AT_MIB = 512  # of all candidates: the costliest that we know take two or three seconds for 100 MiB
MOST_STRANGERS = 100  # that are named


@dataclass(frozen=True)
class FoundNotebooks:
    """Where the notebooks of an assignment are: `files` by notebook, names relative to the submission.

    `notes` say in words what a student should know, by notebook; `strangers` are files that belong to no notebook,
    with the reason, and `more_strangers` counts those that are not named.
    """

    files: Mapping[str, str]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    strangers: Mapping[str, str] = field(default_factory=dict)
    more_strangers: int = 0

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders, below the submission's own, in which notebooks were found, each with its final `/`."""
        parents = {PurePosixPath(name).parent.as_posix() for name in self.files.values()} - {"."}
        return tuple(f"{parent}/" for parent in sorted(parents))

    @property
    def remarks(self) -> list[Note]:
        """All of it, for the student and the staff; what is said of each notebook comes before strangers."""
        folders = [f"notebooks were found in the folder `{clean_name(folder[:-1])}`" for folder in self.folders]
        found = few_notes(map(Note, folders))
        for notebook, notes in self.notes.items():
            found += few_notes(Note(note, notebook=notebook) for note in notes)
        strangers = (Note(f"`{clean_name(name)}` was left out: {reason}") for name, reason in self.strangers.items())
        return found + few_notes(strangers, rest="other notebooks were left out", uncounted=self.more_strangers)


@dataclass(frozen=True)
class _Copy:
    """One file that holds a notebook, or is named as one. `problem` says why it cannot be read; `work` identifies what
    was written in it, "" where that is nothing, and `answers` counts the answers."""

    name: str
    notebook: str
    work: str = ""
    answers: int = 0
    problem: str = ""

    @property
    def has_place(self) -> bool:
        """Whether it is where it belongs, under its own name."""
        return self.name == f"{self.notebook}.ipynb"

    @property
    def has_name(self) -> bool:
        return PurePosixPath(self.name).name == f"{self.notebook}.ipynb"


@dataclass(frozen=True)
class ReadNotebooks:
    """A finding, and what was read of the file that was chosen for each notebook: its content, or why there is none."""

    finding: FoundNotebooks
    contents: Mapping[str, Notebook | UnreadableNotebook]


def find_notebooks(folder: Path, release: Path) -> FoundNotebooks:
    """Find the notebooks of a release in a folder that was handed in, and choose where there are copies."""
    return look_for_notebooks(folder, templates_of(release)).finding


def templates_of(release: Path) -> dict[str, Notebook]:
    """The notebooks of a release by name."""
    return {path.stem: read_released(path) for path in sorted(release.glob("*.ipynb"))}


def look_for_notebooks(
    folder: Path,
    templates: Mapping[str, Notebook],
    *,
    why_not: Callable[[str], str] = lambda name: "",
) -> ReadNotebooks:
    """Read each candidate once, and choose. `why_not` is asked before each is read, and gives the reason where it is
    not to be."""
    candidates = _candidates(folder, templates)
    strangers = dict(candidates.strangers)
    copies: dict[str, list[_Copy]] = {}
    contents: dict[str, Notebook | UnreadableNotebook] = {}
    for name in candidates.names:
        copy, content = _look_at(folder, name, templates, candidates.too_large.get(name) or why_not(name))
        if not copy.notebook:
            strangers[name] = copy.problem or _unknown(name, templates)
            continue
        rivals = copies.setdefault(copy.notebook, [])
        if all(_rank(copy) < _rank(rival) for rival in rivals):
            contents[copy.notebook] = content  # of the others nothing is kept: they may be forty
        rivals.append(copy)
    files, notes = {}, {}
    for notebook, found in sorted(copies.items()):
        ranked = sorted(found, key=_rank)
        files[notebook] = ranked[0].name
        notes[notebook] = tuple(_describe(ranked[0], ranked[1:]))
    return ReadNotebooks(FoundNotebooks(files, notes, strangers, candidates.more), contents)


def _unknown(name: str, templates: Mapping[str, Notebook]) -> str:
    meant = did_you_mean(stem_of(PurePosixPath(name).name), list(templates))
    return f"no cell of it is known, so it is no notebook of the assignment{meant}"


def find_notebook_in(path: Path, release: Path) -> str:
    """Which notebook of a release one file holds, by its cells or by its exact name; "" where it is none of them."""
    return _look_at(path.parent, path.name, templates_of(release), "")[0].notebook


@dataclass(frozen=True)
class _Candidates:
    """Files that may be notebooks, in the order in which they are read: those in their place first, and small ones
    before large ones, so that what takes long is read last. `too_large` are those among them that are not read, and
    why; `strangers` others that are not looked at, of which `more` are not even named."""

    names: Sequence[str]
    too_large: Mapping[str, str]
    strangers: Mapping[str, str]
    more: int


def _candidates(folder: Path, templates: Mapping[str, Notebook]) -> _Candidates:
    entries = walk(folder, MOST_ENTRIES)
    found = {name: entry.st_size for name, entry in entries if stat.S_ISREG(entry.st_mode) and _may_be(name)}
    places = {f"{notebook}.ipynb" for notebook in templates}
    names: list[str] = []
    others: list[str] = []
    too_large: dict[str, str] = {}
    left = MOST_LOOKED_AT_MIB << 20
    for name in sorted(found, key=lambda n: (n not in places, found[n] if n in places else n.count("/"), n)):
        fits = found[name] <= left
        if name in places and not fits:
            size = f"has {found[name] >> 20} MiB, and all notebooks together may have {MOST_LOOKED_AT_MIB}"
            too_large[name] = f"{size}: {CLEAR} and hand in again"
        is_read = name in places or (fits and len(names) < MOST_CANDIDATES)
        (names if is_read else others).append(name)
        left -= found[name] if is_read and fits else 0
    reason = f"it was not looked at, being one of more than {MOST_CANDIDATES} notebooks or very large"
    strangers = dict.fromkeys(others[:MOST_STRANGERS], reason)
    names.sort(key=lambda n: (n not in places, found[n], n))
    return _Candidates(names, too_large, strangers, max(0, len(others) - MOST_STRANGERS))


def _may_be(name: str) -> bool:
    """Whether a file can be a student's notebook; editors and archivers keep their own copies in hidden places."""
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and len(parts) <= MOST_DEPTH and is_notebook_name(name)


def _look_at(
    folder: Path, name: str, templates: Mapping[str, Notebook], why_not: str
) -> tuple[_Copy, Notebook | UnreadableNotebook]:
    named = PurePosixPath(name).name.removesuffix(".ipynb")
    by_name = named if named in templates and name.endswith(".ipynb") else ""
    try:
        if why_not:
            raise UnreadableNotebook(f"{clean_name(name)} {why_not}")
        notebook = read_notebook(folder / name)
    except UnreadableNotebook as error:
        return _Copy(name, by_name, problem=clipped(str(error))), error
    own = _known_by_cells(notebook, by_name, name, templates)
    if own:
        try:
            notebook = with_lost_ids(settled(notebook, templates[own], clean_name(name)), templates[own])
        except UnreadableNotebook as error:
            return _Copy(name, own, problem=clipped(str(error))), error
    work = work_of(notebook, templates[own]) if own else ()
    digest = hashlib.sha256(json.dumps(work).encode()).hexdigest() if work else ""
    return _Copy(name, own, digest, len({grade_id for grade_id, _ in work if grade_id})), notebook


def _known_by_cells(notebook: Notebook, by_name: str, name: str, templates: Mapping[str, Notebook]) -> str:
    """The notebook of the release that shares most grade ids with this one; with none, the one that shares most texts,
    or the one of its exact name."""
    ids = _ids(notebook)
    shared = {name: len(ids & _ids(template)) for name, template in templates.items()}
    most = max(shared.values(), default=0)
    if not most:
        return known_by_texts(notebook, by_name, name, templates) or by_name
    if by_name and shared[by_name]:
        return by_name
    best = [name for name, count in shared.items() if count == most]
    return best[0] if len(best) == 1 else ""


def _ids(notebook: Notebook) -> set[str]:
    return {grade_id_of(cell) for cell in notebook["cells"]} - {""}


# Choosing among copies


def _rank(copy: _Copy) -> tuple[object, ...]:
    """The rule, the best first: readable, worked on, in its place, of its exact name, with most answers, the fewest
    folders down, the last by name (browsers and file managers number copies upwards). Times are not looked at: the way
    of a submission through archives and platforms does not keep them.
    """
    depth = copy.name.count("/")
    return (
        bool(copy.problem),
        not copy.work,
        not copy.has_place,
        not copy.has_name,
        -copy.answers,
        depth,
        _Descending(_natural(copy.name)),
        copy.name,
    )


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """A sort key with which "copy 10" comes after "copy 9"; a name without a number before both."""
    parts = re.findall(r"(\D*)(\d{0,18})", stem_of(name).lower())
    return tuple((text, int(number or -1)) for text, number in parts)


@dataclass(frozen=True)
class _Descending:
    """Sorts the other way round."""

    key: tuple[tuple[str, int], ...]

    def __lt__(self, other: _Descending) -> bool:
        return other.key < self.key


def _describe(chosen: _Copy, others: Sequence[_Copy]) -> Iterator[str]:
    """What a student should know about a choice."""
    expected, name = f"{chosen.notebook}.ipynb", clean_name(chosen.name)
    rivals = [other for other in others if other.work and other.work != chosen.work]
    if not chosen.has_name:
        yield f"found as `{name}`, known by its cells and graded: hand it in as `{expected}` next time"
    if rivals:
        also = in_words([f"`{clean_name(rival.name)}`" for rival in rivals])
        yield (
            f"handed in {len(rivals) + 1} times with different answers: `{name}` was graded "
            f"({_reason(chosen, rivals)}), and {also} not. If you meant another one, say so to your instructor"
        )
    for other in others:
        if other.problem:
            yield f"`{clean_name(other.name)}` was not used: {other.problem}"
        elif other not in rivals:
            same = "holds the same answers" if other.work else "is as in the release"
            yield f"`{clean_name(other.name)}` {same} and was left out"


def _reason(chosen: _Copy, rivals: Sequence[_Copy]) -> str:
    if chosen.has_place or (chosen.has_name and not any(rival.has_name for rival in rivals)):
        return "it has the right name"
    if all(chosen.answers > rival.answers for rival in rivals):
        return "it holds most answers"
    return "of those with most answers, the fewest folders down, the last by name"
