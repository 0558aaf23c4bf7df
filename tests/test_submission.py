"""Reading and repairing what was handed in: nothing is followed, nothing forged survives, nothing is lost."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from autograder.core.config import Limits
from autograder.handin.cells import COPY_OF
from autograder.handin.quarantine import read_list
from autograder.handin.submission import (
    CourseFiles,
    UnreadableNotebook,
    load_notebook,
    quarantine,
    read_notebook,
    repair,
    stage,
)

LIMITS = Limits()


def cell(kind: str, source: str, grade_id: str = "", **own: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if grade_id:
        flags = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
        metadata = {"nbgrader": {**flags, "grade_id": grade_id, **own}}
    return {"cell_type": kind, "metadata": metadata, "source": source}


def template() -> dict[str, Any]:
    return {
        "cells": [
            cell("markdown", "# Task"),
            cell("code", "import math", "given", locked=True),
            cell("code", "raise NotImplementedError()", "task-solution", solution=True),
            cell("code", "check()", "task-tests", grade=True, locked=True, points=4),
        ]
    }


def test_forged_points_and_flags_are_replaced_by_the_release() -> None:
    forged = cell("code", "pass", "task-tests", grade=True, points=400, solution=True)
    repaired, _ = repair({"cells": [*template()["cells"][:3], forged]}, template())
    own = repaired["cells"][3]["metadata"]["nbgrader"]
    assert (own["points"], own["solution"], own["locked"]) == (4, False, True)
    assert repaired["cells"][3]["source"] == "check()"


def test_tags_on_a_test_cell_are_dropped_and_noted() -> None:
    submitted = template()
    submitted["cells"][3]["metadata"]["tags"] = ["skip-execution"]
    repaired, notes = repair(submitted, template())
    assert "tags" not in repaired["cells"][3]["metadata"]
    assert any("task-tests" in note.text and "tags" in note.text for note in notes)


def test_deleted_test_cell_comes_back_after_its_neighbour() -> None:
    submitted = {"cells": [*template()["cells"][:3], cell("markdown", "my notes")]}
    repaired, notes = repair(submitted, template())
    assert [c["source"] for c in repaired["cells"]][3:] == ["check()", "my notes"]
    assert [note.text for note in notes] == ["`task-tests` was missing and was put back as in the release"]


def test_deleted_solution_cell_comes_back_unanswered() -> None:
    submitted = {"cells": [template()["cells"][0]]}
    repaired, _ = repair(submitted, template())
    ids = [c["metadata"].get("nbgrader", {}).get("grade_id") for c in repaired["cells"]]
    assert ids == [None, "given", "task-solution", "task-tests"]
    assert repaired["cells"][2]["source"] == "raise NotImplementedError()"


def test_second_cell_with_a_known_id_becomes_ordinary() -> None:
    cells = template()["cells"]
    submitted = {"cells": [*cells, cell("code", "print('4')", "task-tests", grade=True, points=4)]}
    repaired, _ = repair(submitted, template())
    assert repaired["cells"][-1]["metadata"] == {COPY_OF: "task-tests"}
    assert repaired["cells"][-1]["source"] == "print('4')"


def test_locked_source_is_restored_and_solutions_are_kept() -> None:
    submitted = template()
    submitted["cells"][1]["source"] = "math = None"
    submitted["cells"][2]["source"] = ["x = 1\r\n", "y = 2"]
    repaired, notes = repair(submitted, template())
    assert repaired["cells"][1]["source"] == "import math"
    assert repaired["cells"][2]["source"] == "math = None"
    assert repaired["cells"][3]["source"] == "x = 1\ny = 2"
    assert [note.text for note in notes] == [
        "`given` had been changed: the course's own text runs first, and then yours"
    ]


def test_retyped_solution_cell_is_code_again() -> None:
    submitted = template()
    submitted["cells"][2] = cell("markdown", "x = 1", "task-solution", solution=True)
    repaired, _ = repair(submitted, template())
    assert repaired["cells"][2]["cell_type"] == "code"
    assert repaired["cells"][2]["source"] == "x = 1"


def test_repaired_ids_are_unique_and_outputs_gone() -> None:
    submitted = template()
    for each in submitted["cells"]:
        each["id"] = "same"
        each["outputs"] = [{"output_type": "execute_result", "data": {"text/plain": "4"}}]
    repaired, _ = repair(submitted, template())
    assert len({c["id"] for c in repaired["cells"]}) == len(repaired["cells"])
    assert all(not c.get("outputs") for c in repaired["cells"])


def test_attached_bitmaps_stay_and_vector_pictures_do_not() -> None:
    pictures = {"a.png": {"image/png": "AAAA"}, "b.svg": {"image/svg+xml": "<svg onload=alert(1)>"}}
    pictures |= {"c.png": {"image/png": 'A" onerror="alert(1)'}, "d.png": {"image/png": "\ud800"}}  # no picture at all
    submitted = {
        "cells": [*template()["cells"], {**cell("markdown", "![](attachment:a.png)"), "attachments": pictures}]
    }
    repaired, _ = repair(submitted, template())
    assert repaired["cells"][-1]["attachments"] == {"a.png": {"image/png": "AAAA"}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe\x00", "`task.ipynb` is plain text, not a notebook: hand in the notebook itself"),
        (
            b"<<<<<<< HEAD",
            "task.ipynb is damaged in line 1, column 1 by git's marks of a merge, after 0 whole cells: put",
        ),
        (b"[]", "`task.ipynb` is JSON without cells, not a notebook: hand in the notebook itself"),
        (b'{"nbformat": 4}', "no cells in it; open it in Jupyter, save it, and hand it in again"),
        (b'{"nbformat": 4, "cells": [1]}', "no cells in it; open it in Jupyter"),
        (b'{"nbformat": "four", "cells": []}', "`task.ipynb` is JSON without cells, not a notebook"),
        (
            b'{"nbformat": 4, "cells": ' + b"[" * 100_000 + b"}",
            "is damaged, after 0 whole cells: hand in an earlier copy",
        ),
        (b'{"nbformat": 5, "nbformat_minor": 0, "pages": []}', "(format 5, which is newer than 4): no cells in it"),
        (b'{"nbformat": 3}', "(format 3, which is old): no cells in it; open it in Jupyter"),
        (
            b'{"nbformat": 1, "cells": [{"cell_type": "unknown"}]}',
            "(format 1, which is old)",
        ),  # a slip of nbformat's own
        (b'{"nbformat": 4, "n": ' + b"9" * 5000 + b"}", "no cells in it; open it in Jupyter"),
    ],
)
def test_what_is_no_notebook_is_refused_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "task.ipynb"
    path.write_bytes(content)
    with pytest.raises(UnreadableNotebook, match=re.escape(told)):
        read_notebook(path)


def test_missing_notebook_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableNotebook, match="was not handed in"):
        read_notebook(tmp_path / "task.ipynb")


def test_linked_notebook_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.ipynb").write_text(json.dumps({"nbformat": 4, "cells": []}))
    (tmp_path / "task.ipynb").symlink_to(tmp_path / "real.ipynb")
    with pytest.raises(UnreadableNotebook, match="cannot be opened"):
        read_notebook(tmp_path / "task.ipynb")


def test_named_pipe_as_notebook_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "task.ipynb")
    with pytest.raises(UnreadableNotebook, match="not a regular file"):
        read_notebook(tmp_path / "task.ipynb")


def test_old_format_is_converted(tmp_path: Path) -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {},
        "worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1", "outputs": [], "language": "python"}]}],
    }
    (tmp_path / "task.ipynb").write_text(json.dumps(old))
    (tmp_path / "release.ipynb").write_text(json.dumps({"nbformat": 4, **template()}))
    notebook, _ = load_notebook(tmp_path / "task.ipynb", tmp_path / "release.ipynb")
    assert "x = 1" in [c["source"] for c in notebook["cells"]]


def test_quarantine_moves_links_and_pipes_and_keeps_files(tmp_path: Path) -> None:
    handed_in, place = tmp_path / "handed-in", tmp_path / "quarantine"
    (handed_in / "more").mkdir(parents=True)
    (handed_in / "notes.txt").write_text("mine")
    (handed_in / "gradebook").symlink_to("/etc/passwd")
    os.mkfifo(handed_in / "more" / "pipe")
    notes = quarantine(handed_in, place)
    assert sorted(p.name for p in handed_in.rglob("*")) == ["more", "notes.txt"]
    assert {one.name: os.path.islink(one.kept) for one in read_list(place)} == {"gradebook": True, "more/pipe": False}
    assert sorted(note.text for note in notes) == [
        "`gradebook` is a symbolic link: set aside, not graded",
        "`more/pipe` is a named pipe: set aside, not graded",
    ]
    assert quarantine(handed_in, place) == notes  # a later run still knows


def test_staging_copies_regular_files_only_and_lays_the_course_over_them(tmp_path: Path) -> None:
    handed_in, course, target = tmp_path / "handed-in", tmp_path / "course", tmp_path / "staged"
    for folder in (handed_in, course):
        folder.mkdir()
    (handed_in / "weights.pt").write_bytes(b"1")
    (handed_in / "kit.py").write_text("patched")
    (handed_in / "bad\nname").write_text("")
    (handed_in / "link").symlink_to("/etc/passwd")
    (course / "kit.py").write_text("original")
    target.mkdir()
    files, notes = stage(handed_in, target, LIMITS, CourseFiles(course))
    assert sorted(p.name for p in target.iterdir()) == ["kit.py", "weights.pt"]
    assert (target / "kit.py").read_text() == "original"
    assert sorted(files) == ["kit.py", "weights.pt"]
    assert len(notes) == 2


def test_files_beyond_the_working_folder_are_left_out_with_a_note(tmp_path: Path) -> None:
    handed_in, target = tmp_path / "handed-in", tmp_path / "staged"
    handed_in.mkdir()
    target.mkdir()
    with open(handed_in / "huge.bin", "wb") as file:
        file.truncate(3 << 20)
    _, notes = stage(handed_in, target, Limits(scratch_mib=2))
    assert [note.text for note in notes] == ["`huge.bin` (3 MiB) does not fit into the working folder: left out"]
