"""What happens to notebooks without their owners' doing wrong costs no mark: cells, names, files; repairs are told."""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
import pytest

from autograder.core.config import Limits
from autograder.handin.cells import ADDED, COPY_OF, is_run
from autograder.handin.finder import MOST_CANDIDATES, find_notebook_in, find_notebooks
from autograder.handin.notebook_file import UnreadableNotebook, read_notebook
from autograder.handin.repair import defined_names, repair, unread_answers, work_of
from autograder.handin.submission import Submission, load_notebook, read_submission

STUB = "class Net:\n    size = None\n\n\nraise NotImplementedError()"
ANSWER = "class Net(Base):\n    size = 7"
Cell = dict[str, Any]


def cell(kind: str, source: str, grade_id: str = "", **own: Any) -> Cell:
    metadata: dict[str, Any] = {}
    if grade_id:
        flags = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
        metadata = {"nbgrader": {**flags, "grade_id": grade_id, **own}}
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": metadata, "source": source, **code}


def released(prefix: str = "net") -> list[Cell]:
    """A released notebook: imports, a given class, an answer in code with its tests, an answer in words."""
    return [
        cell("markdown", "# Task"),
        cell("code", "import math"),
        cell("code", "class Base:\n    root = math.sqrt(4)", f"{prefix}-base", locked=True),
        cell("markdown", "## Your task"),
        cell("code", STUB, f"{prefix}-solution", solution=True),
        cell("code", "check()", f"{prefix}-tests", grade=True, locked=True, points=4),
        cell("markdown", "YOUR ANSWER HERE", f"{prefix}-why", grade=True, solution=True, points=5),
    ]


BASE, SOLUTION, TESTS, WHY = 2, 4, 5, 6


def answered(prefix: str = "net") -> list[Cell]:
    cells = released(prefix)
    cells[SOLUTION]["source"] = ANSWER
    cells[WHY]["source"] = "Because."
    return cells


def repaired(cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    notebook, notes = repair({"cells": cells}, {"cells": released()})
    again, _ = repair(notebook, {"cells": released()})
    assert [(c["cell_type"], c["source"]) for c in again["cells"]] == [
        (c["cell_type"], c["source"]) for c in notebook["cells"]
    ]  # the sanitized notebook is read once more, and outputs are put into cells by their number
    return notebook["cells"], [note.text for note in notes]


def run(cells: list[Cell]) -> dict[str, Any]:
    """The namespace that the cells leave when they run as the grader runs them: one after another, come what may."""
    namespace: dict[str, Any] = {}
    for each in cells:
        if is_run(each):
            try:
                exec(each["source"], namespace)
            except Exception as error:
                namespace.setdefault("errors", []).append(error)
    return namespace


def by_id(cells: list[Cell]) -> dict[str, Cell]:
    return {c["metadata"]["nbgrader"]["grade_id"]: c for c in cells if "nbgrader" in c["metadata"]}


def copied(cells: list[Cell], source: int, target: int, text: str | None = None) -> list[Cell]:
    """The cells after a copy of one, metadata and all, was put in at a place."""
    copy = json.loads(json.dumps(cells[source]))
    copy["source"] = copy["source"] if text is None else text
    return [*cells[:target], copy, *cells[target:]]


# Cells


def test_the_notebook_as_it_should_be_needs_no_repair() -> None:
    cells, notes = repaired(answered())
    assert notes == []
    assert run(cells)["Net"].size == 7


def test_an_answer_in_a_copy_below_the_untouched_cell_counts() -> None:
    cells, notes = repaired(copied(released(), SOLUTION, SOLUTION + 1, ANSWER))
    assert run(cells)["Net"].size == 7
    assert by_id(cells)["net-solution"]["source"] == ANSWER
    assert notes[0].startswith("`net-solution` was there 2 times, as happens when a cell is copied or split: a copy")


def test_an_untouched_copy_below_the_answer_does_not_undo_it() -> None:
    cells, notes = repaired(copied(answered(), SOLUTION, SOLUTION + 1, STUB))
    assert run(cells)["Net"].size == 7
    assert "a copy that is as in the release was left out" in notes[0]


def test_both_parts_of_a_split_cell_run() -> None:
    cells = answered()
    cells[SOLUTION]["source"] = "width = 7"
    cells, notes = repaired(copied(cells, SOLUTION, SOLUTION + 1, "class Net(Base):\n    size = width"))
    assert run(cells)["Net"].size == 7
    assert by_id(cells)["net-solution"]["source"] == "width = 7"
    assert "all of them count, from top to bottom" in notes[0]


def test_of_three_copies_the_untouched_one_is_left_out_and_the_last_answer_wins() -> None:
    cells = copied(copied(answered(), SOLUTION, SOLUTION + 1, STUB), SOLUTION, SOLUTION + 2, "class Net:\n    size = 8")
    cells, notes = repaired(cells)
    assert run(cells)["Net"].size == 8
    assert "3 times" in notes[0]
    assert "all of them count, from top to bottom; a copy that is as in the release was left out" in notes[0]


def test_a_blank_copy_is_not_taken_for_the_answer() -> None:
    cells, _ = repaired(copied(answered(), SOLUTION, SOLUTION, ""))
    assert by_id(cells)["net-solution"]["source"] == ANSWER


def test_the_answer_in_words_is_the_copy_that_was_filled_in() -> None:
    cells, _ = repaired(copied(released(), WHY, WHY + 1, "Because."))
    assert by_id(cells)["net-why"]["source"] == "Because."


@pytest.mark.parametrize("place", range(8))
def test_an_answer_in_a_cell_of_ones_own_counts_wherever_it_stands(place: int) -> None:
    """The solution cell deleted: the release's, put back, must not shadow the student's."""
    cells = released()
    del cells[SOLUTION]
    own = "import math\nclass Net:\n    size = 7"
    cells, notes = repaired([*cells[:place], cell("code", own), *cells[place:]])
    assert run(cells)["Net"].size == 7
    assert "`net-solution` was missing and was put back as in the release" in notes


@pytest.mark.parametrize("place", range(8))
def test_an_untouched_solution_cell_does_not_shadow_an_answer_elsewhere(place: int) -> None:
    cells = released()
    cells, notes = repaired([*cells[:place], cell("code", "class Net:\n    size = 7"), *cells[place:]])
    assert run(cells)["Net"].size == 7
    assert "`net-solution` was not run, since another cell of yours defines `Net`" in notes


def test_an_untouched_solution_cell_is_run_where_nothing_else_answers() -> None:
    cells, notes = repaired([*released(), cell("code", "net = Net()\nNet.size")])
    assert [type(error) for error in run(cells)["errors"]] == [NotImplementedError]
    assert notes == []


def test_an_answer_retyped_by_mistake_is_run() -> None:
    cells = answered()
    cells[SOLUTION] = cell("markdown", ANSWER, "net-solution", solution=True)
    cells, notes = repaired(cells)
    assert run(cells)["Net"].size == 7
    assert notes == ["`net-solution` had become a markdown cell: its type was restored"]


@pytest.mark.parametrize("place", [SOLUTION, SOLUTION + 1])
def test_an_old_answer_put_away_as_markdown_does_not_undo_the_new_one(place: int) -> None:
    cells = answered()
    cells[SOLUTION] = cell("markdown", "class Net:\n    size = 1", "net-solution", solution=True)
    cells, notes = repaired([*cells[:place], cell("code", "class Net:\n    size = 7"), *cells[place:]])
    assert run(cells)["Net"].size == 7
    assert any("was not run, since another cell of yours defines `Net`" in note for note in notes)


@pytest.mark.parametrize("place", range(7))
def test_a_moved_answer_finds_what_it_builds_on(place: int) -> None:
    """`Net(Base)` above `Base` and `import math` works in a session of Jupyter, where cells run in any order."""
    cells = answered()
    moved = cells.pop(SOLUTION)
    cells.insert(place, moved)
    cells, notes = repaired(cells)
    namespace = run(cells)
    assert namespace["Net"].size == 7
    assert "errors" not in namespace
    told = "cells had changed places: code that the course gives was put before the answers that use it"
    assert (told in notes) == (place <= BASE)


def test_given_code_that_uses_an_answer_stays_below_it() -> None:
    template = [*released(), cell("code", "shown = Net.size", "net-show", locked=True)]
    template.append(cell("code", "raise NotImplementedError()", "last-solution", solution=True))
    cells = json.loads(json.dumps(template))
    cells[SOLUTION]["source"], cells[-1]["source"] = ANSWER, "last = 1"
    cells.insert(0, cells.pop())
    notebook, _ = repair({"cells": cells}, {"cells": template})
    assert run(notebook["cells"])["shown"] == 7


@pytest.mark.parametrize("index", [BASE, TESTS])
def test_a_deleted_cell_of_the_course_comes_back_where_it_belongs(index: int) -> None:
    cells = answered()
    name = cells[index]["metadata"]["nbgrader"]["grade_id"]
    del cells[index]
    cells, notes = repaired(cells)
    assert notes == [f"`{name}` was missing and was put back as in the release"]
    assert list(by_id(cells)) == ["net-base", "net-solution", "net-tests", "net-why"]
    assert "errors" not in run(cells)


def test_a_moved_test_cell_stays_a_test_cell() -> None:
    cells = answered()
    cells.insert(0, cells.pop(TESTS))
    cells, notes = repaired(cells)
    assert notes == []
    assert by_id(cells)["net-tests"]["source"] == "check()"
    assert not is_run(by_id(cells)["net-tests"])


def test_a_changed_copy_of_a_given_cell_runs_after_it() -> None:
    changed = "class Base:\n    root = 5"
    cells, notes = repaired(copied(answered(), BASE, BASE + 1, changed))
    assert run(cells)["Net"].root == 5
    assert notes == ["a second cell `net-base` was taken as an ordinary cell"]
    cells, _ = repaired(copied(answered(), BASE, BASE, changed))  # above the true one, which keeps the id
    assert by_id(cells)["net-base"]["source"] == released()[BASE]["source"]


def test_cells_with_one_internal_id_get_their_own() -> None:
    cells = [{**each, "id": "same"} for each in answered()]
    cells, notes = repaired(cells)
    assert len({each["id"] for each in cells}) == len(cells)
    assert notes == ["cells shared an internal id, as copied cells can: they were given ids of their own"]


def test_words_written_elsewhere_are_read_by_a_person() -> None:
    cells = [*released(), cell("markdown", "It has fewer weights, because …")]
    repaired_cells, notes = repaired(cells)
    assert unread_answers(repaired_cells, {"cells": released()}) == ["net-why"]
    assert notes == ["`net-why` is not filled in, but there is text in other cells: a person will read it"]
    for nothing_to_read in (released(), [*answered(), cell("markdown", "my notes")], [*released(), cell("raw", "  ")]):
        assert unread_answers(repaired(nothing_to_read)[0], {"cells": released()}) == []


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_are_no_change(end: str) -> None:
    cells = [{**each, "source": each["source"].replace("\n", end)} for each in answered()]
    cells, notes = repaired(cells)
    assert notes == []
    assert by_id(cells)["net-solution"]["source"] == ANSWER


def test_pictures_in_an_answer_in_words_are_kept() -> None:
    cells = answered()
    cells[WHY] |= {"source": "![](attachment:a.png)", "attachments": {"a.png": {"image/png": "AAAA"}}}
    cells, _ = repaired(cells)
    assert by_id(cells)["net-why"]["attachments"] == {"a.png": {"image/png": "AAAA"}}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("class A(x):\n    def f(self): ...\n", ["A"]),
        ("a = 1\nb, c = 1, 2\n(d, e) = 1, 2\nf: int = 3\ng = h = 4", ["a", "b", "c", "d", "e", "f", "g"]),
        ("call(x=1)\nx == 2\nx.y = 2\nx[0] = 1\n    z = 2\nprint('a = 1')", []),
        ("A" * 10_000 + " = 1", []),
    ],
)
def test_defined_names_are_read_without_running_anything(source: str, names: list[str]) -> None:
    assert list(defined_names(source)) == names


def test_a_notebook_made_to_be_slow_is_repaired_in_time() -> None:
    """Copies without end, lines without end: the time grows with the size, not with its square."""
    many = [cell("code", f"Net = {i}", "net-solution", solution=True) for i in range(1000)]
    wide = [cell("code", "(" + "a," * 400_000 + ") = 1\n" * 3) for _ in range(3)]
    tall = [cell("code", "Net, = 1\n" * 100_000)]
    cells, _ = repaired([*released(), *many, *wide, *tall])
    assert len(cells) == len(released()) + 1000 + 4 - 1


# Files


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Two notebooks and one without any grade id."""
    folder = tmp_path / "release"
    write(folder / "00_lesson.ipynb", [cell("markdown", "# Lesson")])
    write(folder / "01_net.ipynb", released("net"))
    write(folder / "02_other.ipynb", released("other"))
    return folder


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    folder = tmp_path / "handed-in"
    folder.mkdir()
    return folder


def write(path: Path, cells: list[Cell], **form: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **form}
    path.write_text(json.dumps(data))


def work(number: int) -> list[Cell]:
    """A notebook that answers the code question, each in another way."""
    cells = released("net")
    cells[SOLUTION]["source"] = f"class Net:\n    size = {number}"
    return cells


def read(handed_in: Path, release: Path, tmp_path: Path) -> Submission:
    return read_submission("ada", handed_in, tmp_path / "staged", release, Limits())


def size_of(submission: Submission) -> int:
    return int(run(submission.notebooks["01_net"]["cells"])["Net"].size)


@pytest.mark.parametrize(
    "name",
    [
        "01_net (1).ipynb",
        "my_exercise.ipynb",
        "01_net_final.ipynb",
        "Kopie von 01_net.ipynb",
        "01_Net.ipynb",
        "01_NET.IPYNB",
        "01_net.ipynb.txt",
        "01_net.ipynb.json",
        "02_net.ipynb",
        "übung eins.ipynb",
        "cnn/homework/01_net.ipynb",
    ],
)
def test_a_renamed_notebook_is_known_by_its_cells(handed_in: Path, release: Path, tmp_path: Path, name: str) -> None:
    write(handed_in / name, work(7))
    submission = read(handed_in, release, tmp_path)
    assert size_of(submission) == 7
    assert any(name.rpartition("/")[0] in note.text and "found" in note.text for note in submission.notes)


def test_a_name_alone_is_no_proof(handed_in: Path, release: Path, tmp_path: Path) -> None:
    write(handed_in / "01_net (1).ipynb", [cell("code", ANSWER)])
    submission = read(handed_in, release, tmp_path)
    assert submission.unreadable["01_net"] == "01_net.ipynb was not handed in"
    told = "`01_net (1).ipynb` was left out: no cell of it is known, so it is no notebook of the assignment"
    assert any(note.text.startswith(told) and "01_net" in note.text[len(told) :] for note in submission.notes)


def test_the_exact_name_counts_without_any_grade_id(handed_in: Path, release: Path, tmp_path: Path) -> None:
    """Written anew in another program, which keeps no metadata."""
    write(handed_in / "01_net.ipynb", [cell("code", "class Net:\n    size = 7")])
    assert size_of(read(handed_in, release, tmp_path)) == 7


def test_notebooks_that_changed_names_are_told_apart_by_their_cells(
    handed_in: Path, release: Path, tmp_path: Path
) -> None:
    write(handed_in / "02_other.ipynb", work(7))
    submission = read(handed_in, release, tmp_path)
    assert size_of(submission) == 7
    assert submission.unreadable["02_other"] == (
        "02_other.ipynb was not handed in (the file of this name holds the cells of 01_net)"
    )


@pytest.mark.parametrize(
    ("files", "chosen", "told"),
    [
        ({"01_net.ipynb": 1, "01_net (1).ipynb": 2}, 1, "it has the right name"),
        ({"01_net.ipynb": None, "01_net (1).ipynb": 2}, 2, "`01_net.ipynb` is as in the release"),
        ({"01_net.ipynb": 1, "01_net (1).ipynb": 1}, 1, "`01_net (1).ipynb` holds the same answers"),
        ({"01_net (2).ipynb": 2, "01_net (10).ipynb": 10, "01_net (9).ipynb": 9}, 10, "the last by name"),
        ({"sub/01_net.ipynb": 1, "01_net (1).ipynb": 2}, 1, "it has the right name"),
        ({"a/b/net.ipynb": 1, "a/net.ipynb": 2}, 2, "the fewest folders down"),
        ({"01_net.ipynb": "", "copy.ipynb": 2}, 2, "`01_net.ipynb` was not used: 01_net.ipynb is empty"),
    ],
)
def test_of_several_copies_one_is_chosen_by_a_fixed_rule(
    handed_in: Path, release: Path, tmp_path: Path, files: dict[str, Any], chosen: int, told: str
) -> None:
    for name, number in files.items():
        write(handed_in / name, released("net") if number is None else work(int(number or 0)))
        if number == "":
            (handed_in / name).write_text("")
    submission = read(handed_in, release, tmp_path)
    assert size_of(submission) == chosen
    assert any(note.notebook == "01_net" and told in note.text for note in submission.notes), submission.notes


def test_of_renamed_copies_the_one_with_most_answers_counts(handed_in: Path, release: Path, tmp_path: Path) -> None:
    both = work(5)
    both[WHY]["source"] = "Because."
    write(handed_in / "a.ipynb", both)
    write(handed_in / "b.ipynb", work(6))
    submission = read(handed_in, release, tmp_path)
    assert size_of(submission) == 5
    told = (
        "01_net: handed in 2 times with different answers: `a.ipynb` was graded (it holds most answers), and `b.ipynb` "
        "not. If you meant another one, say so to your instructor"
    )
    assert told in map(str, submission.notes)


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints/01_net-checkpoint.ipynb", "__MACOSX/._01_net.ipynb", ".Trash-1000/files/01_net.ipynb"]
)
def test_what_programs_leave_is_no_copy(handed_in: Path, release: Path, tmp_path: Path, name: str) -> None:
    write(handed_in / name, work(9))
    assert find_notebooks(handed_in, release).files == {}
    write(handed_in / "01_net.ipynb", released("net"))
    submission = read(handed_in, release, tmp_path)
    assert submission.notes == ()
    assert work_of(submission.notebooks["01_net"], {"cells": released("net")}) == ()


def test_files_in_the_notebooks_folder_lie_beside_it(handed_in: Path, release: Path, tmp_path: Path) -> None:
    write(handed_in / "cnn" / "01_net.ipynb", work(7))
    (handed_in / "cnn" / "weights.pt").write_bytes(b"beside")
    (handed_in / "cnn" / "both.txt").write_text("beside")
    (handed_in / "both.txt").write_text("above")
    submission = read(handed_in, release, tmp_path)
    assert sorted(submission.files) == ["both.txt", "cnn/both.txt", "weights.pt"]
    assert submission.files["weights.pt"].path.read_bytes() == b"beside"
    assert submission.files["both.txt"].path.read_text() == "above"


def test_links_are_never_looked_into(handed_in: Path, release: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "01_net.ipynb", work(7))
    (handed_in / "folder").symlink_to(tmp_path / "elsewhere")
    (handed_in / "01_net.ipynb").symlink_to(tmp_path / "elsewhere" / "01_net.ipynb")
    finding = find_notebooks(handed_in, release)
    assert (finding.files, finding.strangers) == ({}, {})


def test_a_flood_of_notebooks_is_not_looked_at(handed_in: Path, release: Path) -> None:
    for number in range(MOST_CANDIDATES + 10):
        write(handed_in / f"a{number:03}.ipynb", work(number))
    write(handed_in / "01_net.ipynb", work(7))
    finding = find_notebooks(handed_in, release)
    assert finding.files["01_net"] == "01_net.ipynb"
    assert len(finding.strangers) == 11
    assert all("was not looked at" in reason for reason in finding.strangers.values())


def test_one_file_is_matched_by_its_cells(handed_in: Path, release: Path) -> None:
    write(handed_in / "x.ipynb", work(1))
    write(handed_in / "02_other.ipynb", [])
    assert find_notebook_in(handed_in / "x.ipynb", release) == "01_net"
    assert find_notebook_in(handed_in / "02_other.ipynb", release) == "02_other"
    (handed_in / "notes.ipynb").write_text("{}")
    assert find_notebook_in(handed_in / "notes.ipynb", release) == ""


# Ways to write a file


def source_in(content: bytes, tmp_path: Path) -> tuple[str, list[str]]:
    """The text of the solution cell of a notebook file, and what reading it took."""
    (tmp_path / "01_net.ipynb").write_bytes(content)
    write(tmp_path / "template.ipynb", released())
    notebook, notes = load_notebook(tmp_path / "01_net.ipynb", tmp_path / "template.ipynb")
    return by_id(notebook["cells"])["net-solution"]["source"], [note.text for note in notes]


def as_json(cells: list[Cell], **form: Any) -> str:
    data = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **form}
    return json.dumps(data, ensure_ascii=False, indent=1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    cells = answered()
    cells[SOLUTION]["source"] = "größe = '→ 7'"
    assert source_in(as_json(cells).encode(encoding), tmp_path) == ("größe = '→ 7'", [])


def test_windows_old_character_set_is_read_and_told(tmp_path: Path) -> None:
    cells = answered()
    cells[SOLUTION]["source"] = "größe = 7"
    source, notes = source_in(as_json(cells).encode("cp1252"), tmp_path)
    assert source == "größe = 7"
    assert notes == [
        "it was not saved as UTF-8, so some letters may have changed: save it in Jupyter before handing in"
    ]


def test_windows_line_ends_of_the_file_itself_do_no_harm(tmp_path: Path) -> None:
    assert source_in(as_json(answered()).replace("\n", "\r\n").encode(), tmp_path) == (ANSWER, [])


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5, 99])
def test_every_minor_format_is_read(tmp_path: Path, minor: int) -> None:
    assert source_in(as_json(answered(), nbformat_minor=minor).encode(), tmp_path) == (ANSWER, [])


def test_older_formats_are_read(tmp_path: Path) -> None:
    old = nbformat.reads(as_json(answered(), nbformat_minor=4), as_version=3)
    assert source_in(json.dumps(old).encode(), tmp_path) == (ANSWER, [])


def test_a_newer_format_with_cells_as_they_are_now_is_read(tmp_path: Path) -> None:
    assert source_in(as_json(answered(), nbformat=5, nbformat_minor=0).encode(), tmp_path) == (ANSWER, [])


def test_a_newer_format_without_cells_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text('{"nbformat": 5, "nbformat_minor": 0, "pages": []}')
    with pytest.raises(UnreadableNotebook, match=r"format 5, which is newer than 4\): no cells in it; open it in"):
        read_notebook(tmp_path / "a.ipynb")


# An interrupted upload


def test_an_empty_file_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(b"")
    with pytest.raises(UnreadableNotebook, match=r"a\.ipynb is empty \(0 bytes\): the upload was probably interrupted"):
        read_notebook(tmp_path / "a.ipynb")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_that_ends_after_the_answer_is_graded_as_far_as_it_goes(tmp_path: Path, encoding: str) -> None:
    cells = answered()
    cells[SOLUTION]["source"] = "class Net:\n    größe = 7"
    whole = as_json(cells)
    cut = whole[: whole.index("check()")].encode(encoding)
    source, notes = source_in(cut[:-1], tmp_path)  # in UTF-16 within a letter
    assert source == "class Net:\n    größe = 7"
    assert notes[0].startswith("01_net.ipynb ends early, after 5 whole cells: the upload was probably interrupted")


def test_a_file_that_ends_before_any_answer_is_not_graded(tmp_path: Path) -> None:
    whole = as_json(answered())
    with pytest.raises(UnreadableNotebook, match=r"01_net\.ipynb ends early, after 4 whole cells: .* upload it again"):
        source_in(whole[: whole.index("class Net")].encode(), tmp_path)


def test_every_cut_gives_an_answer_or_a_reason(tmp_path: Path) -> None:
    whole = as_json(answered()).encode()
    end = whole.index(b"size = 7") + len(b"size = 7")
    graded = []
    for length in range(1, len(whole) - 1, 7):
        with suppress(UnreadableNotebook):
            source, notes = source_in(whole[:length], tmp_path)
            assert source == ANSWER
            assert notes[0].startswith(("01_net.ipynb ends early, after ", "01_net.ipynb ends early, behind its last"))
            graded.append(length)
    assert graded == [length for length in range(1, len(whole) - 1, 7) if length >= min(graded)]
    assert min(graded) < end + 60  # the rest of the answer's cell


@pytest.mark.parametrize("damage", ["oops", "<<<<<<< HEAD", "\0\0\0"])
def test_a_damaged_file_is_told_from_one_that_ends_early(tmp_path: Path, damage: str) -> None:
    """It counts as far as it goes, too; the message says where the damage is, as a text editor counts."""
    whole = as_json(answered())
    place = whole.index('"check()"')
    source, notes = source_in((whole[:place] + f"1 {damage} 2" + whole[place:]).encode(), tmp_path)
    assert source == ANSWER
    line = whole[:place].count("\n") + 1
    assert notes[0].startswith(f"01_net.ipynb is damaged in line {line}, column ")
    assert "after 5 whole cells: put that place right in a text editor, or hand in an earlier copy" in notes[0]


def test_damage_before_any_answer_is_named_with_its_place(tmp_path: Path) -> None:
    whole = as_json(answered())
    damaged = whole.replace('"import math"', 'oops "import math"')
    line = whole[: whole.index('"import math"')].count("\n") + 1
    with pytest.raises(
        UnreadableNotebook, match=rf"is damaged in line {line}, column \d+, after 1 whole cell: put that"
    ):
        source_in(damaged.encode(), tmp_path)
    assert source_in(damaged.replace("oops ", "").encode(), tmp_path) == (ANSWER, [])  # what the message tells to do


def test_damage_behind_the_last_cell_costs_nothing(tmp_path: Path) -> None:
    """Not even where nothing was answered: a person may be needed."""
    text = json.dumps({"cells": released(), "metadata": {"a": 1}, "nbformat": 4})
    source, notes = source_in(text.replace('"a"', 'oops "a"').encode(), tmp_path)
    assert source == STUB
    assert "behind its last cell" in notes[0]


# What is not quite JSON


LONG = "9" * 5000
FAULTS = {
    "a comma behind everything": (lambda text: text[: text.rindex("}")] + ",\n}", "a comma too many in line "),
    "commas behind everything": (
        lambda text: text.replace("\n  }", ",\n  }").replace("\n ]", ",,\n ]"),
        "a comma too many",
    ),
    "a missing comma": (lambda text: text.replace('"cell_type": "code",', '"cell_type": "code"', 1), "a missing comma"),
    "NaN in much output": (
        lambda text: text.replace('"outputs": []', f'"outputs": [{"NaN, " * 500_000}-Infinity]', 1),
        "NaN",
    ),
    "huge numbers": (
        lambda text: text.replace('"outputs": []', f'"outputs": [{LONG}, -{LONG}]'),
        "with very many digits",
    ),
    "comments": (
        lambda text: "// mine\n" + text.replace('"cells": [', '"cells": [ /* , "x" */ # ]'),
        "a comment in line 1",
    ),
    "byte order marks": (
        lambda text: "\ufeff\ufeff" + text.replace(": [", ": \ufeff["),
        "a character that does not belong",
    ),
    "unusual blanks": (
        lambda text: text.replace("\n", "\n\xa0\u200b"),
        "a character that does not belong there in line 2",
    ),
    "null bytes between": (
        lambda text: text.replace(",\n", ",\0\n", 3),
        "a character that does not belong there in line 2",
    ),
    "tabs in texts": (lambda text: text.replace("Net(Base):", "Net(Base):\t"), "a tab in a text"),
    "Windows": (lambda text: text[: text.rindex("}")].replace("\n", "\r\n") + ",\r\n}\r\n", "a comma too many"),
    "null bytes behind": (lambda text: text + "\0" * 5000, "something stands behind its end"),
    "the tail of an older save": (lambda text: text + text[-300:], "something stands behind its end"),
    "the same once more": (lambda text: f"{text}\n{text}", "something stands behind its end"),
    "the beginning once more": (lambda text: f"{text}\n{text[:900]}", "something stands behind its end"),
    "text behind": (lambda text: text + "\nsaved by me", "something stands behind its end"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_of_which_every_cell_can_be_read_is_graded_with_a_note(
    tmp_path: Path, fault: str, encoding: str
) -> None:
    change, told = FAULTS[fault]
    source, notes = source_in(change(as_json(answered())).encode(encoding), tmp_path)
    assert source.replace("\t", "") == ANSWER
    assert len(notes) == 1, notes
    assert told in notes[0]


def test_what_looks_like_a_fault_in_a_text_is_none(tmp_path: Path) -> None:
    own = 'x = [1, ]  # NaN, // no comment\ny = "\\\\", {"a": 1,}\n<<<<<<< HEAD'
    cells = answered()
    cells[SOLUTION]["source"] = own
    assert source_in(as_json(cells).encode(), tmp_path) == (own, [])
    source, notes = source_in(as_json(cells).replace('"nbformat"', ', "nbformat"').encode(), tmp_path)
    assert source == own
    assert len(notes) == 1


@pytest.mark.parametrize("number", [4.0, None])
def test_a_format_that_is_written_otherwise_or_left_out_is_no_reason_to_refuse(tmp_path: Path, number: float) -> None:
    data = json.loads(as_json(answered(), nbformat=number))
    if number is None:
        del data["nbformat"]
    assert source_in(json.dumps(data).encode(), tmp_path) == (ANSWER, [])


# Two versions in one file


def conflict(text: str, part: str, theirs: str, *, base: bool = False) -> str:
    """What git leaves of a merge in which both changed the line with a part."""
    lines = text.split("\n")
    [at] = [at for at, line in enumerate(lines) if part in line]
    both = ["<<<<<<< HEAD", lines[at], "=======", lines[at].replace(part, theirs), '>>>>>>> origin/main (a, "b")']
    if base:
        both[2:2] = ["||||||| 1a2b3c4", lines[at].replace(part, "?")]
    return "\n".join([*lines[:at], *both, *lines[at + 1 :]])


PLACES = {  # a part of the line in which both sides differ
    "counts": '"execution_count": 5',
    "outputs": '"an output"',
    "metadata": '"a name"',
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("base", [False, True])
def test_a_merge_conflict_in_what_is_not_graded_is_passed_over(tmp_path: Path, place: str, base: bool) -> None:
    cells = answered()
    cells[SOLUTION] |= {"execution_count": 5, "outputs": [{"text": "an output"}]}
    text = as_json(cells, metadata={"name": "a name"})
    text = conflict(text, PLACES[place], PLACES[place].replace("a", "another").replace("5", "7"), base=base)
    first = text.split("\n").index("<<<<<<< HEAD") + 1
    source, notes = source_in(text.encode(), tmp_path)
    assert source == ANSWER
    lines = f"lines {first} to {first + (6 if base else 4)}"
    assert notes == [f"git could not decide a merge in it ({lines}), in outputs and counts only: it was passed over"]


def versions_of(tmp_path: Path, text: str) -> tuple[dict[str, Cell], list[str], str]:
    """The cells with ids, the notes, and why the notebook is not readable."""
    write(tmp_path / "versions" / "release" / "01_net.ipynb", released())
    folder = tmp_path / "versions" / "handed-in"
    folder.mkdir()
    (folder / "01_net.ipynb").write_text(text)
    submission = read_submission("ada", folder, tmp_path / "staged", tmp_path / "versions" / "release", Limits())
    cells = submission.notebooks.get("01_net", {"cells": []})["cells"]
    return by_id(cells), [note.text for note in submission.notes], submission.unreadable.get("01_net", "")


def test_between_two_answers_in_a_merge_conflict_nobody_chooses(tmp_path: Path) -> None:
    """It does not run, as it would not in Jupyter; the other answers of the notebook count."""
    text = conflict(as_json(answered()), "size = 7", "size = 8")
    cells, notes, _ = versions_of(tmp_path, text)
    other = ANSWER.replace("7", "8")
    assert cells["net-solution"]["source"] == f"<<<<<<<\n{ANSWER}\n=======\n{other}\n>>>>>>>"
    assert cells["net-why"]["source"] == "Because."
    assert notes[0].startswith("git could not decide a merge in it (lines ")
    assert "`net-solution` can be read in several ways, and nobody chooses for you: in a text editor delete" in notes[0]
    for side in (0, 1):  # what the note tells to do
        lines = text.split("\n")
        start = lines.index("<<<<<<< HEAD")
        chosen = [*lines[:start], lines[start + 1 + 2 * side], *lines[start + 5 :]]
        assert source_in("\n".join(chosen).encode(), tmp_path) == ((ANSWER, other)[side], [])


def test_of_an_answer_and_the_release_the_answer_counts(tmp_path: Path) -> None:
    """Two of a group worked on a part each, and git merged neither."""
    ours, theirs = answered(), answered()
    ours[WHY]["source"], theirs[SOLUTION]["source"] = "YOUR ANSWER HERE", STUB
    text = f"<<<<<<< HEAD\n{as_json(ours)}\n=======\n{as_json(theirs)}\n>>>>>>> theirs\n"
    cells, notes, _ = versions_of(tmp_path, text)
    assert (cells["net-solution"]["source"], cells["net-why"]["source"]) == (ANSWER, "Because.")
    assert notes[0].endswith("of each cell what was written in it was graded")


def test_of_two_notebooks_in_one_file_the_one_that_was_worked_on_counts(tmp_path: Path) -> None:
    cells, notes, _ = versions_of(tmp_path, as_json(released()) + as_json(answered()))
    assert cells["net-solution"]["source"] == ANSWER
    assert notes == ["it holds 2 notebooks one after the other: the version that was worked on was graded"]


def test_of_two_notebooks_in_one_file_with_different_cells_none_is_chosen(tmp_path: Path) -> None:
    other = [*answered(), cell("code", "Net.size = 9")]
    cells, _, reason = versions_of(tmp_path, as_json(answered()) + as_json(other))
    assert cells == {}
    assert reason.startswith(
        "01_net.ipynb: it holds 2 notebooks one after the other, with different answers, and nobody"
    )


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", ">>>>>>> a", "<<<<<<< HEAD\n<<<<<<< HEAD\n=======\n>>>>>>> a"])
def test_marks_that_make_no_merge_are_damage(tmp_path: Path, mark: str) -> None:
    text = as_json(answered()).replace('"cells"', f'\n{mark}\n"cells"')
    with pytest.raises(
        UnreadableNotebook, match=r"is damaged in line 6, column 1 by git's marks of a merge, after 0 whole"
    ):
        source_in(text.encode(), tmp_path)


# No notebook at all


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "<!DOCTYPE html>\n<html><body>Log in",
            "is a web page, not a notebook: download the notebook itself (File → Down",
        ),
        ("\ufeff\n <html lang='en'>", "is a web page"),
        ("<html>".encode("utf-16"), "is a web page"),
        ("<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0'>", "is a web page"),
        ("From: <Saved by Blink>\nSnapshot-Content-Location: https://nbviewer.org", "is a web page"),
        ("<svg></svg>", "is XML, not a notebook"),
        (b"%PDF-1.7\n", "is a PDF document, not a notebook: hand in the notebook itself, as Jupyter saves it"),
        (packed("[Content_Types].xml", "word/document.xml"), "is a document of an office program"),
        (
            packed("01_net.ipynb"),
            "is a packed archive, not a notebook: unpack it, and hand in the notebook that is in it",
        ),
        (gzip.compress(b"x", mtime=0), "is a packed archive"),
        (b"\x89PNG\r\n\x1a\n", "is a picture"),
        ("import torch\n\nx = 1\n", "is a Python script, not a notebook: hand in the notebook itself"),
        ("# %% [markdown]\n# Task", "is a Python script"),
        ("Dear all,", "is plain text"),
        (b"\0" * 5000, "is made of null bytes, as where a disk was full or the computer crashed, not a notebook"),
        ("\n \n", "is nothing but blanks"),
        ('{"name": "cnn", "dependencies": {}}', "is JSON without cells, not a notebook: hand in the notebook itself"),
        ("[]", "is JSON without cells"),
        ('"cells"', "is plain text"),
        (
            '{"url": "https://drive", "doc_id": "1"}',
            "is a shortcut that leads to a file elsewhere, not a notebook: download",
        ),
        ("[InternetShortcut]\nURL=https://colab", "is a shortcut"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a pointer to a file in Git LFS"),
    ],
)
def test_what_is_no_notebook_is_named_for_what_it_is(tmp_path: Path, content: str | bytes, told: str) -> None:
    (tmp_path / "a.ipynb").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UnreadableNotebook) as error:
        read_notebook(tmp_path / "a.ipynb")
    assert str(error.value).startswith(f"`a.ipynb` {told}")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "01_net_given.py",
            "x = 1",
            "is a Python script, not a notebook: hand in the notebook itself, as Jupyter saves it",
        ),
        (
            "net-given (2).html",
            "<html>",
            "is a web page, not a notebook: download the notebook itself (File → Download)",
        ),
        ("Ada 01 Net Given.pdf", "%PDF", "is a PDF document"),
        ("01_net_given.docx", "PK", "is a document of an office program"),
        ("01_net_given.ipynb.crdownload", "{", "is a download that was not finished"),
        ("01_net_given.ipynb.zip", "PK", "is a packed archive, not a notebook: unpack it"),
        ("01_net_given.url", "", "is a shortcut that leads to a file elsewhere"),
        ("01_net_given.gdoc", "{}", "is a shortcut"),
        ("01_net_given.json", "{}", "is a file whose name does not end in .ipynb, not a notebook: give it that ending"),
        ("01_net_given", "{}", "is a file whose name does not end in .ipynb"),
        (".ipynb_checkpoints/01_net_given-checkpoint.ipynb", "{}", "is Jupyter's own copy, which it keeps for itself"),
        ("homework.py", "line = 'of the first notebook'\n# another = 'line of the first one'", "is a Python script"),
    ],
)
def test_what_was_handed_in_in_place_of_a_notebook_is_named(
    handed_in: Path, tmp_path: Path, name: str, content: str, told: str
) -> None:
    given = [*released(), cell("code", "line = 'of the first notebook'\nanother = 'line of the first one'")]
    write(tmp_path / "release" / "01_net_given.ipynb", given)
    write(tmp_path / "release" / "02_other.ipynb", released("other"))
    write(handed_in / "02_other.ipynb", released("other"))
    (handed_in / name).parent.mkdir(exist_ok=True)
    (handed_in / name).write_text(content)
    reason = read(handed_in, tmp_path / "release", tmp_path).unreadable["01_net_given"]
    assert reason.startswith(f"01_net_given.ipynb was not handed in; `{name}` {told}")


def test_an_archive_may_hold_what_is_missing_and_another_file_is_named_where_nothing_else_is(
    handed_in: Path, release: Path, tmp_path: Path
) -> None:
    (handed_in / "data.csv").write_text("")
    (handed_in / "all.zip").write_text("")
    (handed_in / "blocks.py").write_text("")
    write(handed_in / "01_net.ipynb", work(7))
    told = (
        "02_other.ipynb was not handed in; `all.zip` is a packed archive, not a notebook: unpack it, and hand in the "
    )
    assert read(handed_in, release, tmp_path).unreadable["02_other"].startswith(told)
    (handed_in / "all.zip").unlink()
    assert read(handed_in, release, tmp_path / "2").unreadable["02_other"] == "02_other.ipynb was not handed in"
    (handed_in / "01_net.ipynb").unlink()
    assert "`blocks.py` is a Python script" in read(handed_in, release, tmp_path / "3").unreadable["02_other"]


# Metadata that was lost


def stripped(cells: list[Cell]) -> list[Cell]:
    """The cells as Colab and converters leave them."""
    return [{**each, "metadata": {"id": f"x{number}"}} for number, each in enumerate(cells)]


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A release of two notebooks that have texts of their own."""
    folder = tmp_path / "release"
    for name in ("net", "other"):
        own = released(name)
        for each in own:
            if each["cell_type"] == "markdown" and "ANSWER" not in each["source"]:
                each["source"] += f" of {name}, in words that no other notebook has"
        own[TESTS]["source"] = f'check("{name}-tests")'
        write(folder / f"0{1 + (name == 'other')}_{name}.ipynb", own)
    return folder


def handed_over(named: Path) -> list[Cell]:
    """The first of them, answered, without metadata."""
    cells = json.loads((named / "01_net.ipynb").read_text())["cells"]
    cells[SOLUTION]["source"], cells[WHY]["source"] = ANSWER, "Because."
    return stripped(cells)


@pytest.mark.parametrize("name", ["Kopie von Untitled3.ipynb", "01_net.ipynb", "sub/02_other.ipynb"])
def test_a_notebook_without_metadata_is_known_by_the_courses_texts(
    handed_in: Path, named: Path, tmp_path: Path, name: str
) -> None:
    write(handed_in / name, handed_over(named))
    submission = read(handed_in, named, tmp_path)
    cells = by_id(submission.notebooks["01_net"]["cells"])
    assert list(cells) == ["net-base", "net-solution", "net-tests", "net-why"]
    assert (cells["net-solution"]["source"], cells["net-why"]["source"]) == (ANSWER, "Because.")
    assert cells["net-tests"]["metadata"]["nbgrader"]["points"] == 4
    assert size_of(submission) == 7
    told = "its cells had lost nbgrader's metadata, as happens in Colab: they were known by the course's texts, and "
    assert [n.text for n in submission.notes if "lost" in n.text] == [
        f"{told}`net-solution`, `net-why` by the cells around"
    ]


def test_blanks_that_a_converter_changed_are_no_other_text(handed_in: Path, named: Path, tmp_path: Path) -> None:
    cells = handed_over(named)
    for each in cells:
        each["source"] = "\n" + each["source"].replace("\n", "  \n") + "\n\n"
    write(handed_in / "x.ipynb", cells)
    submission = read(handed_in, named, tmp_path)
    assert by_id(submission.notebooks["01_net"]["cells"])["net-why"]["source"].strip() == "Because."


def test_an_answer_in_words_among_other_words_is_left_to_a_person(handed_in: Path, named: Path, tmp_path: Path) -> None:
    write(handed_in / "x.ipynb", [*handed_over(named), cell("markdown", "My notes")])
    submission = read(handed_in, named, tmp_path)
    assert by_id(submission.notebooks["01_net"]["cells"])["net-why"]["source"] == "YOUR ANSWER HERE"
    assert size_of(submission) == 7
    told = " ".join(note.text for note in submission.notes)
    assert "no cell can be said to be `net-why`" in told
    assert "`net-why` is not filled in, but there is text in other cells: a person will read it" in told


@pytest.mark.parametrize("place", range(8))
def test_code_that_defines_what_is_asked_for_runs_wherever_it_stands(
    handed_in: Path, named: Path, tmp_path: Path, place: int
) -> None:
    cells = handed_over(named)
    del cells[SOLUTION]
    cells.insert(min(place, len(cells)), cell("code", "import math\nclass Net:\n    size = 7"))
    write(handed_in / "x.ipynb", cells)
    assert size_of(read(handed_in, named, tmp_path)) == 7


def test_an_answer_in_two_cells_is_whole(handed_in: Path, named: Path, tmp_path: Path) -> None:
    cells = handed_over(named)
    cells[SOLUTION : SOLUTION + 1] = [cell("code", "width = 7"), cell("code", "class Net(Base):\n    size = width")]
    write(handed_in / "x.ipynb", cells)
    submission = read(handed_in, named, tmp_path)
    assert size_of(submission) == 7
    assert "Net" in by_id(submission.notebooks["01_net"]["cells"])["net-solution"]["source"]


def test_untouched_answers_are_known_too_and_earn_nothing(handed_in: Path, named: Path, tmp_path: Path) -> None:
    cells = stripped(json.loads((named / "01_net.ipynb").read_text())["cells"])
    write(handed_in / "x.ipynb", cells)
    submission = read(handed_in, named, tmp_path)
    assert work_of(submission.notebooks["01_net"], json.loads((named / "01_net.ipynb").read_text())) == ()
    assert [type(e) for e in run(submission.notebooks["01_net"]["cells"])["errors"]] == [NotImplementedError]


def test_notebooks_of_the_same_texts_are_told_apart_by_the_files_name(
    handed_in: Path, release: Path, tmp_path: Path
) -> None:
    write(handed_in / "x.ipynb", stripped(work(7)))
    assert "01_net" in read(handed_in, release, tmp_path).unreadable
    (handed_in / "x.ipynb").rename(handed_in / "Copy of 01_net.ipynb")
    assert size_of(read(handed_in, release, tmp_path / "2")) == 7


def test_a_sheet_for_trying_out_is_no_notebook_of_the_courses(handed_in: Path, named: Path, tmp_path: Path) -> None:
    """It holds one of the course's cells among many of its own."""
    write(handed_in / "try.ipynb", [handed_over(named)[BASE], *[cell("code", f"x = {n}") for n in range(9)]])
    submission = read(handed_in, named, tmp_path)
    assert submission.unreadable["01_net"] == "01_net.ipynb was not handed in"
    assert any("`try.ipynb` was left out: no cell of it is known" in note.text for note in submission.notes)


SOLUTIONS = Path(__file__).resolve().parent.parent / "solutions" / "cnn"


@pytest.mark.parametrize("name", sorted(path.stem for path in SOLUTIONS.glob("0[1-4]*.ipynb")))
def test_every_solution_of_the_course_survives_the_loss_of_its_metadata(
    handed_in: Path, tmp_path: Path, name: str
) -> None:
    cells = json.loads((SOLUTIONS / f"{name}.ipynb").read_text())["cells"]
    whole = {c["metadata"]["nbgrader"]["grade_id"]: "".join(c["source"]) for c in cells if "nbgrader" in c["metadata"]}
    for each in cells:
        each.pop("id", None)
    write(handed_in / "x.ipynb", stripped(cells), nbformat_minor=0)
    submission = read(handed_in, SOLUTIONS.parent.parent / "release" / "cnn", tmp_path)
    made = {grade_id: each["source"] for grade_id, each in by_id(submission.notebooks[name]["cells"]).items()}
    assert made == whole


def test_many_cells_without_metadata_are_known_in_time(handed_in: Path, named: Path, tmp_path: Path) -> None:
    for number in range(20):
        write(handed_in / f"{number}.ipynb", [*handed_over(named), *[cell("code", f"Net = {n}") for n in range(1900)]])
    assert "01_net" in read(handed_in, named, tmp_path).notebooks


# Files beside the notebooks


def importing(line: str) -> list[Cell]:
    cells = work(7)
    cells[SOLUTION]["source"] = f"{line}\n{cells[SOLUTION]['source']}"
    return cells


@pytest.mark.parametrize(
    ("line", "name", "plain"),
    [
        ("from blocks import a", "blocks-1.py", "blocks.py"),
        ("import os, blocks as b", "blocks (1).py", "blocks.py"),
        ("if True:\n    from blocks.parts import a", "blocks.py.txt", "blocks.py"),
        ("import blocks", "blocks-1-6f9619ff-8b86-4011-b42d-00cf4fc964ff.py", "blocks.py"),
        ("%run blocks.py", "blocks-2.py", "blocks.py"),
        ("state = torch.load('first.pth')", "first-1.pth", "first.pth"),
        ("from a import (\n    b)\nimport blocks", "cnn/blocks-1.py", "blocks.py"),
    ],
)
def test_what_a_notebook_imports_or_opens_gets_its_name_back(
    handed_in: Path, release: Path, tmp_path: Path, line: str, name: str, plain: str
) -> None:
    write(handed_in / name.replace(PurePosixPath(name).name, "01_net.ipynb"), importing(line))
    (handed_in / name).write_text("a = 1")
    submission = read(handed_in, release, tmp_path)
    assert list(submission.files) == [plain]
    assert submission.files[plain].path.read_text() == "a = 1"
    told = f"`{name}` was given back the name `{plain}`, by which a notebook asks for it"
    assert told in [note.text for note in submission.notes]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("x = 1", ["blocks-1.py"]),
        ("import blocks", ["blocks-1.py", "blocks.py"]),
        ("import torch", ["torch-1.py"]),
        ("import random", ["random (1).py"]),
        ("open('data-1.csv')", ["data-1.csv"]),
    ],
)
def test_no_other_file_is_renamed(handed_in: Path, release: Path, tmp_path: Path, line: str, names: list[str]) -> None:
    write(handed_in / "01_net.ipynb", importing(line))
    for name in names:
        (handed_in / name).write_text(name)
    submission = read(handed_in, release, tmp_path)
    assert sorted(submission.files) == names
    assert submission.notes == ()


def test_of_two_files_that_could_be_the_module_none_is_guessed(handed_in: Path, release: Path, tmp_path: Path) -> None:
    write(handed_in / "01_net.ipynb", importing("import blocks"))
    (handed_in / "blocks-1.py").write_text("import layers")
    (handed_in / "blocks-2.py").write_text("import layers")
    (handed_in / "layers-1.py").write_text("x = 1")
    (handed_in / "layers-2.py").write_text("x = 2")
    submission = read(handed_in, release, tmp_path)
    assert sorted(submission.files) == ["blocks-2.py", "blocks.py", "layers-1.py", "layers-2.py"]
    told = "`layers-1.py`, `layers-2.py` differ, and each could be `layers.py`, which a notebook asks for: hand in one "
    assert any(note.text.startswith(told) for note in submission.notes)


# Outputs of any size


def with_outputs(path: Path, chunk: str, count: int) -> None:
    """A notebook with one output, written piece by piece."""
    head, tail = as_json(answered()).split('"outputs": []', 1)
    with open(path, "w") as file:
        file.write(head + '"outputs": [{"output_type": "stream", "name": "stdout", "text": [""')
        for _ in range(count):
            file.write(chunk)
        file.write("]}]" + tail)


@pytest.mark.parametrize(
    ("chunk", "count"),
    [
        (', "epoch 1: loss 2.30\\n"' * 40_000, 100),  # lines: what a progress bar leaves
        (f', "{"iVBORw0KGgo" * 400_000}"', 20),  # pictures
        (", [[], {}]" * 100_000, 30),  # made to fill the memory of whoever reads it whole
    ],
)
def test_a_large_notebook_is_read_in_little_memory(tmp_path: Path, chunk: str, count: int) -> None:
    """In a process of its own, whose memory is limited to 200 MiB above what it has at its start."""
    path = tmp_path / "01_net.ipynb"
    with_outputs(path, chunk, count)
    assert path.stat().st_size > 24 << 20
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from autograder.handin.notebook_file import read_notebook\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "most = pages * resource.getpagesize() + (200 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "print(read_notebook(Path(sys.argv[1]))['cells'][4]['source'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == ANSWER, done.stderr


@pytest.mark.parametrize(("size", "message"), [(300 << 20, "300 MiB, and at most 256 are read: clear its outputs")])
def test_a_notebook_beyond_the_limit_is_not_read(tmp_path: Path, size: int, message: str) -> None:
    with open(tmp_path / "a.ipynb", "wb") as file:
        file.truncate(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableNotebook, match=message):
        read_notebook(tmp_path / "a.ipynb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


def test_more_text_than_can_be_kept_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    lines = ', "x"' * 1_000_000
    path.write_text('{"nbformat": 4, "cells": [{"source": ["y"' + lines * 2 + "]}]}")
    with pytest.raises(UnreadableNotebook, match="holds more than can be read: clear its outputs"):
        read_notebook(path)


def test_a_large_notebook_ends_early_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "01_net.ipynb"
    with_outputs(path, ', "epoch 1: loss 2.30\\n"' * 40_000, 10)
    content = path.read_bytes()
    source, notes = source_in(content[:-30], tmp_path)
    assert source == ANSWER
    assert "ends early, after 6 whole cells" in notes[0]


# The course's code, as students change it


def test_lines_added_to_given_code_run_after_the_courses_own() -> None:
    cells = answered()
    changed = "WIDTHS = [3, 32]\n" + cells[BASE]["source"]
    cells[BASE]["source"] = changed
    found, notes = repaired(cells)
    place = next(i for i, c in enumerate(found) if c["source"] == released()[BASE]["source"])
    assert found[place]["metadata"]["nbgrader"]["grade_id"] == released()[BASE]["metadata"]["nbgrader"]["grade_id"]
    assert found[place + 1]["source"] == changed
    assert not found[place + 1]["metadata"]
    assert "the course's own text runs first, and then yours" in notes[0]
    assert run(found)["WIDTHS"] == [3, 32]


def test_a_changed_test_cell_is_restored_and_the_students_version_is_gone() -> None:
    cells = answered()
    cells[TESTS]["source"] = "print('all passed')"
    found, notes = repaired(cells)
    assert all("all passed" not in c["source"] for c in found)
    assert "the course's own text was restored" in notes[0]


IMPORTS = "import json\nfrom pathlib import Path"


def with_imports(first: str) -> tuple[list[Cell], list[str]]:
    template = [cell("code", IMPORTS), *released()]
    notebook, notes = repair({"cells": [cell("code", first), *answered()]}, {"cells": template})
    return notebook["cells"], [note.text for note in notes]


@pytest.mark.parametrize("above", ["import seaborn", "%matplotlib widget", "from google.colab import drive\nx("])
def test_the_courses_imports_run_whatever_stands_above_them(above: str) -> None:
    found, notes = with_imports(f"{above}\n{IMPORTS}")
    assert [c["source"] for c in found[:2]] == [IMPORTS, f"{above}\n{IMPORTS}"]
    assert found[0]["metadata"] == {ADDED: True}
    assert notes == []  # adding an import is everybody's right


def test_the_courses_imports_are_not_doubled() -> None:
    found, _ = with_imports(f"{IMPORTS}\n")
    assert [c["source"].strip() for c in found].count(IMPORTS) == 1
    assert ADDED not in found[0]["metadata"]
    again, _ = repair({"cells": found}, {"cells": [cell("code", IMPORTS), *released()]})
    assert [c["source"] for c in again["cells"]] == [c["source"] for c in found]


def test_copies_of_a_cell_remember_whose_they_are() -> None:
    found, _ = repaired(copied(answered(), SOLUTION, SOLUTION + 1, "class Net(Base):\n    size = width"))
    assert [c["metadata"].get(COPY_OF) for c in found if "size = width" in c["source"]] == ["net-solution"]
