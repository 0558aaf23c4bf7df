"""Reading a submission: bounded by itself, and where that fails by the process it is done in; once while it stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.core import limited
from autograder.core.config import Limits
from autograder.core.remarks import MOST_REMARK, MOST_REMARKS
from autograder.handin import finder, reading, repair
from autograder.handin.cells import grade_id_of, source_of
from autograder.handin.finder import MOST_CANDIDATES, MOST_ENTRIES
from autograder.handin.notebook_bounds import MOST_CELL, MOST_PICTURES, MOST_TEXT
from autograder.handin.notebook_file import Notebook, UnreadableNotebook, read_notebook, read_released
from autograder.handin.notebook_mending import LONG_NUMBER, mend, sides_of
from autograder.handin.notebook_stream import NOTEBOOK, fitted, parse_stream
from autograder.handin.reading import Reading, look_into, notebook_in
from autograder.handin.submission import read_in_place, read_submission
from autograder.handin.walk import walk

ROOT = Path(__file__).resolve().parent.parent
RELEASE = ROOT / "release" / "cnn"
NAMES = sorted(path.stem for path in RELEASE.glob("*.ipynb"))
LIMITS = Limits()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The untouched release, handed in."""
    made = tmp_path / "submitted" / "mallory" / "cnn"
    shutil.copytree(RELEASE, made)
    return made


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered, and whatever threads other tests left, what reads is forked from this very process: a
    forker would know nothing of what a test changes here."""
    monkeypatch.setattr(reading, "_MEMORY", reading._Memory())
    monkeypatch.setattr(limited.threading, "active_count", lambda: 1)


def look(folder: Path, limits: Limits = LIMITS) -> Reading:
    return look_into(folder, RELEASE, limits)


# Where the process dies


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Have something happen when a notebook with a word in its name is read, in the process that reads it."""
    traps: dict[str, Callable[[], object]] = {}

    def read(path: Path) -> Notebook:
        for word, happen in traps.items():
            if word in path.name:
                happen()
        return read_notebook(path)

    monkeypatch.setattr(finder, "read_notebook", read)
    return traps.__setitem__


def spin() -> None:
    while True:
        pass


def hoard() -> int:
    return len(bytearray(1 << 30))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (spin, "reading it takes more than 2 s of computing time"),
        (hoard, "reading it takes more than 256 MiB of memory"),
        (die, "reading it ends the process that works on it (SIGKILL)"),
    ],
    ids=["computing time", "memory", "killed"],
)
def test_the_file_that_the_process_dies_of_is_unreadable_and_the_others_count(
    folder: Path, trap: Callable[..., None], happen: Callable[[], object], reason: str
) -> None:
    trap("02_deeper", happen)
    found = look(folder, Limits(reading_seconds=3, reading_mib=256))
    assert sorted(found.notebooks) == [name for name in NAMES if name != "02_deeper_cnn"]
    assert found.unreadable["02_deeper_cnn"].startswith(
        f"02_deeper_cnn.ipynb cannot be read: {reason}; clear its outputs"
    )
    assert found.finding.files["02_deeper_cnn"] == "02_deeper_cnn.ipynb"


def test_two_such_files_cost_two_notebooks_and_three_cost_what_is_read_after_them(
    folder: Path, trap: Callable[..., None]
) -> None:
    """Files are read small ones first; here 01 is before 03 before 02 before 04 before 00."""
    order = sorted(NAMES, key=lambda name: (folder / f"{name}.ipynb").stat().st_size)
    trap(order[1], die)
    trap(order[3], die)
    found = look(folder)
    assert sorted(found.notebooks) == sorted([order[0], order[2]])
    assert "cannot be read" in found.unreadable[order[3]]
    assert f"since reading `{order[3]}.ipynb` takes all the time" in found.unreadable[order[4]]
    trap(order[0], die)
    reading._MEMORY.__init__()  # type: ignore[misc]
    found = look(folder)
    assert found.notebooks == {}
    assert sorted(found.unreadable) == NAMES


def test_a_copy_that_kills_the_process_is_no_reason_not_to_read_the_notebook(
    folder: Path, trap: Callable[..., None]
) -> None:
    shutil.copyfile(folder / "01_output_size.ipynb", folder / "evil.ipynb")
    trap("evil", die)
    found = look(folder)
    assert sorted(found.notebooks) == NAMES
    assert any("`evil.ipynb` was left out" in remark.text for remark in found.finding.remarks)


def test_many_costly_copies_leave_time_for_the_notebooks_in_their_places(
    folder: Path, trap: Callable[..., None]
) -> None:
    """Each within bounds, all together beyond the time of a submission: none of them kills the process."""
    for number in range(1, 10):
        shutil.copyfile(folder / "01_output_size.ipynb", folder / f"costly ({number}).ipynb")
    trap("costly", half_a_second)
    found = look(folder, Limits(reading_seconds=4))
    assert sorted(found.notebooks) == NAMES
    assert len(found.files.files) == len([path for path in RELEASE.iterdir() if path.suffix != ".ipynb"])
    left_out = [remark for remark in found.finding.remarks if "took most of the time" in remark.text]
    assert 0 < len(left_out) < 9


def half_a_second() -> None:
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass


def test_repairing_counts_as_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = repair.repair

    def stumble(submitted: Notebook, template: Notebook) -> tuple[Notebook, list[str]]:
        if any("deeper-cnn" in grade_id_of(cell) for cell in template["cells"]):
            die()
        return whole(submitted, template)

    monkeypatch.setattr(reading, "repair", stumble)
    found = look(folder)
    assert sorted(found.notebooks) == [name for name in NAMES if name != "02_deeper_cnn"]
    assert "cannot be read" in found.unreadable["02_deeper_cnn"]


def test_a_file_beside_the_notebooks_is_left_out_likewise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autograder.handin import staging

    whole = staging._digest

    def stumble(path: Path, size: int) -> str:
        if path.name == "evil.bin":
            die()
        return whole(path, size)

    monkeypatch.setattr(staging, "_digest", stumble)
    (folder / "evil.bin").write_bytes(b"1")
    (folder / "good.bin").write_bytes(b"2")
    found = look(folder)
    assert [file.name for file in found.files.files if file.name.endswith(".bin")] == ["good.bin"]
    assert any(note.text.startswith("`evil.bin` cannot be read: ") for note in found.files.notes)
    assert sorted(found.notebooks) == NAMES


def test_a_slip_of_our_own_is_no_fault_of_the_submission(folder: Path, trap: Callable[..., None]) -> None:
    def stumble() -> None:
        raise LookupError("our own slip")

    trap("02", stumble)
    with pytest.raises(Exception, match="our own slip"):
        look(folder)


def test_one_file_alone_is_read_within_limits_too(folder: Path, trap: Callable[..., None]) -> None:
    assert notebook_in(folder / "02_deeper_cnn.ipynb", RELEASE, LIMITS) == "02_deeper_cnn"
    trap("02", die)
    assert notebook_in(folder / "02_deeper_cnn.ipynb", RELEASE, LIMITS) == ""


# Once while it stays


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read in a process, by function."""
    done: list[str] = []
    run = reading.run_limited

    def count(function: Any, argument: Any, bounds: Any) -> Any:
        done.append(function.__name__)
        return run(function, argument, bounds)

    monkeypatch.setattr(reading, "run_limited", count)
    return done


def test_a_submission_is_read_once_while_it_stays(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    first = look(folder)
    assert first.to_json() == look(folder).to_json()
    in_place = read_in_place("ada", folder, RELEASE, LIMITS)
    copied = read_submission("ada", folder, tmp_path / "files", RELEASE, LIMITS)
    assert reads == ["_read"]
    assert in_place.content_digest == copied.content_digest
    assert in_place.jail_digest == copied.jail_digest


def test_nobody_changes_what_others_get(folder: Path) -> None:
    first = look(folder)
    first.notebooks["01_output_size"]["cells"].clear()
    assert look(folder).notebooks["01_output_size"]["cells"]


def test_it_is_read_again_after_every_change(folder: Path, reads: list[str]) -> None:
    path = folder / "notes.txt"
    path.write_text("one")
    before = look(folder).files.visible
    kept = path.stat()
    path.write_text("two")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as a student's archive could set it
    assert look(folder).files.visible != before
    (folder / "01_output_size.ipynb").unlink()
    assert "01_output_size" in look(folder).unreadable
    path.rename(folder / "other.txt")
    assert [file.name for file in look(folder).files.files if file.name.endswith(".txt")] == ["other.txt"]
    assert len(reads) == 4
    assert look(folder, Limits(file_mib=64)).finding == look(folder).finding
    assert len(reads) == 5  # under other limits


def test_what_is_remembered_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(json.dumps(look(folder).to_json()))
    monkeypatch.setattr(reading, "MOST_REMEMBERED", 3 * size)
    for number in range(6):
        (folder / "notes.txt").write_text(str(number))
        look(folder)
    assert len(reading._MEMORY._texts) <= 3


# What is bounded before anything is built


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


MIB = 1 << 20
COSTLY = {
    "format 1": (
        '{"nbformat": 1, "cells": [',
        '{"cell_type": "code", "code": "", "outputs": []},',
        '{"cell_type": "text"}]}',
    ),
    "format 2": (
        '{"nbformat": 2, "worksheets": [{"cells": [',
        '{"cell_type": "code", "input": "", "outputs": [{"output_type": "pyout"}]},',
        '{"cell_type": "html"}]}]}',
    ),
    "format 3": (
        '{"nbformat": 3, "worksheets": [',
        '{"cells": [{"cell_type": "heading", "level": 1e5, "source": "x"}]},',
        '{"cells": []}]}',
    ),
    "metadata": ('{"nbformat": 4, "cells": [], "metadata": {"a": [', '{"": {}},', "1]}}"),
    "a cell's metadata": (
        '{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": {"a": [',
        '[{"": 0}],',
        "1]}}]}",
    ),
    "tags": ('{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": {"tags": [', "[[]],", "1]}}]}"),
    "outputs": ('{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [', "[],", "1]}]}"),
    "attachments": (
        '{"nbformat": 4, "cells": [{"cell_type": "markdown", "attachments": {"a": {"b": [',
        "[],",
        "1]}}}]}",
    ),
    "keys": ('{"nbformat": 4, "cells": [], ', '"a": 0,', '"b": 0}'),
    "nesting": ('{"nbformat": 4, "cells": [], "a": ', "[", "]" * (4 * MIB) + "}"),
    "numbers": ('{"nbformat": 4, "cells": [], "a": [', "1234567890123456789.5,", "1]}"),
    "lines": ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": [', '"a",', '"b"]}]}'),
    "copies": (
        '{"nbformat": 4, "cells": [',
        '{"cell_type": "code", "source": "pass", "metadata": {"nbgrader": {"grade_id": "output-size-solution"}}},',
        '{"cell_type": "code"}]}',
    ),
}


@pytest.mark.parametrize("what", COSTLY)
def test_costly_files_are_read_or_refused_by_their_size_and_not_by_the_clock(folder: Path, what: str) -> None:
    """Eight megabytes of each, in each notebook's place and in thirty copies, within a tenth of what reading may take.

    What the process ends for would be named as the reason.
    """
    head, part, tail = COSTLY[what]
    text = head + part * ((8 * MIB - len(head) - len(tail)) // len(part)) + tail
    for name in NAMES:
        write(folder / f"{name}.ipynb", text)
    for number in range(3):
        write(folder / f"copy {number}.ipynb", text)
    found = look(folder, Limits(reading_mib=512))
    told = " ".join([*found.unreadable.values(), *map(str, found.finding.remarks)])
    assert "reading it" not in told
    assert "takes more than" not in told
    assert set(found.notebooks) | set(found.unreadable) == set(NAMES)


def cell(kind: str, source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "source": source, **more}


def notebook(tmp_path: Path, *cells: dict[str, Any]) -> Notebook:
    return read_notebook(write(tmp_path / "a.ipynb", json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells})))


def test_a_cell_that_is_too_long_costs_itself(tmp_path: Path) -> None:
    found = notebook(tmp_path, cell("code", "x = 1"), cell("code", "#" * (MOST_CELL + 1)), cell("markdown", "y"))
    assert [c["source"] for c in found["cells"]] == ["x = 1", "# [a cell of 1,048,577 characters was left out]", "y"]
    assert found["notes"][0].startswith(
        "cell 2 holds 1,048,577 characters and was left out: at most 1,048,576 of a cell"
    )


def test_of_very_much_text_the_first_cells_are_read(tmp_path: Path) -> None:
    found = notebook(tmp_path, *[cell("code", "#" * (MOST_CELL - 1))] * 5, cell("code", "x"))
    assert sum(len(c["source"]) for c in found["cells"]) <= MOST_TEXT + 1000
    assert [len(c["source"]) for c in found["cells"]][:2] == [MOST_CELL - 1] * 2
    assert found["cells"][-1]["source"] == "x"
    assert len(found["notes"]) == 3


def picture(size: int) -> str:
    return f"![](data:image/png;base64,{'A' * size})"


def test_pictures_as_colab_pastes_them_stay_up_to_a_size(tmp_path: Path) -> None:
    """A screenshot in the text itself is text of a megabyte."""
    large, larger = picture(3 * MIB), picture(MOST_PICTURES - 2 * MIB)
    attached = {"a.png": {"image/png": "A" * MIB}}
    found = notebook(
        tmp_path,
        cell("markdown", f"one {large}"),
        cell("markdown", f"two {larger} {picture(10)}", attachments=attached),
    )
    assert found["cells"][0]["source"] == f"one {large}"
    assert found["cells"][1]["source"] == f"two ![]() {picture(10)}"
    assert found["cells"][1]["attachments"] == attached
    assert found["notes"] == ["cell 2: 1 picture left out, since a notebook may hold 16 MiB of them"]


def test_very_many_attachments_are_cut(tmp_path: Path) -> None:
    attached = {f"{number}.png": {"image/png": "AAAA"} for number in range(1000)}
    found = notebook(tmp_path, cell("markdown", "", attachments=attached))
    assert len(found["cells"][0]["attachments"]) == 200
    assert found["notes"] == ["cell 1: 800 pictures left out, since a notebook may hold 16 MiB of them"]


def test_all_notebooks_together_are_bounded_too(folder: Path) -> None:
    """Letters beyond ASCII take twelve bytes on the way out of the process."""
    release = json.loads((folder / "01_output_size.ipynb").read_text())
    for name in NAMES:
        own = json.loads((RELEASE / f"{name}.ipynb").read_text())
        own["cells"] += [cell("code", "\N{GRINNING FACE}" * (MOST_CELL - 1)), cell("markdown", picture(4 * MIB))]
        write(folder / f"{name}.ipynb", json.dumps(own))
    assert release
    found = look(folder)
    refused = [reason for reason in found.unreadable.values() if "hold too much together" in reason]
    assert 0 < len(refused) < len(NAMES)
    assert sum(len(json.dumps(made)) for made in found.notebooks.values()) <= reading.MOST_TOGETHER


def test_the_notebooks_of_a_submission_may_have_half_a_gigabyte(folder: Path) -> None:
    """Small ones are read first, so that one with very large outputs costs itself. These end in null bytes, as where a
    disk was full: no cell is missing."""
    for name, mib in (("01_output_size", 250), ("02_deeper_cnn", 255), ("03_depthwise_separable", 251)):
        with open(folder / f"{name}.ipynb", "ab") as file:
            file.truncate(mib << 20)
    found = look(folder)
    assert sorted(found.notebooks) == [name for name in NAMES if name != "02_deeper_cnn"]
    assert found.repairs["01_output_size"][0].text.startswith("something stands behind its end")
    assert (
        "has 255 MiB, and all notebooks together may have 512: clear its outputs" in found.unreadable["02_deeper_cnn"]
    )


# What is kept is the same, however it is read

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "cell_type", "source", "metadata", "nbgrader", "grade_id", "tags", "worksheets", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON_VALUES)
def test_a_stream_keeps_what_reading_the_whole_keeps(value: Any) -> None:
    text = json.dumps(value).encode()
    cut = [text[start : start + 3] for start in range(0, len(text), 3)]
    assert parse_stream(iter(cut)) == [fitted(json.loads(text), NOTEBOOK)]


@pytest.mark.parametrize("name", NAMES)
def test_of_a_released_notebook_all_that_matters_is_kept(name: str) -> None:
    whole, kept = read_released(RELEASE / f"{name}.ipynb"), read_notebook(RELEASE / f"{name}.ipynb")
    assert [(c["cell_type"], source_of(c), grade_id_of(c)) for c in whole["cells"]] == [
        (c["cell_type"], source_of(c), grade_id_of(c)) for c in kept["cells"]
    ]


OLD = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {"name": "x"},
    "worksheets": [
        {
            "cells": [
                {"cell_type": "heading", "level": 2, "source": ["One\n", "Two"], "metadata": {}},
                {"cell_type": "markdown", "source": "words", "metadata": {"nbgrader": {"grade_id": "why"}}},
                {
                    "cell_type": "code",
                    "input": ["x = 1\n", "y = 2"],
                    "outputs": [],
                    "language": "python",
                    "metadata": {},
                },
            ]
        },
        {"cells": [{"cell_type": "raw", "source": "raw", "metadata": {}}, {"cell_type": "html", "source": "<b>"}]},
    ],
}


def test_old_formats_are_converted_as_jupyter_converts_them(tmp_path: Path) -> None:
    made = nbformat.convert(
        nbformat.from_dict(json.loads(json.dumps(OLD).replace('["One\\n", "Two"]', '"One\\nTwo"'))), 4
    )
    own = read_notebook(write(tmp_path / "a.ipynb", json.dumps(OLD)))
    expected = [(c.cell_type, "".join(c.source), c.metadata.get("nbgrader")) for c in made.cells]
    assert [(c["cell_type"], c["source"], c["metadata"].get("nbgrader")) for c in own["cells"]] == expected


def test_the_oldest_format_is_read(tmp_path: Path) -> None:
    cells = [{"cell_type": "text", "text": "words"}, {"cell_type": "code", "code": "x = 1", "prompt_number": 3}]
    own = read_notebook(write(tmp_path / "a.ipynb", json.dumps({"nbformat": 1, "cells": cells})))
    assert [(c["cell_type"], c["source"]) for c in own["cells"]] == [("markdown", "words"), ("code", "x = 1")]


def test_a_figure_with_numbers_that_are_no_json_is_read(tmp_path: Path) -> None:
    """As plotly writes them: more values than are built at once, and NaN, at which a strict parser stops."""
    values = "NaN," * 500_000
    text = f'{{"nbformat": 4, "cells": [{{"cell_type": "code", "source": "x", "outputs": [{values}1]}}]}}'
    assert read_notebook(write(tmp_path / "a.ipynb", text))["cells"][0]["source"] == "x"


# What is not quite JSON


FAULTY = {
    "a comma too many": ',"x":1},',
    "a comment": "/* x */",
    "a comment without an end": "/*",
    "line comments": "//\n",
    "null bytes": "\0",
    "stray blanks": "\N{NO-BREAK SPACE}",
    "not a number": "NaN,",
    "long numbers": "12345678901234567890,",
    "tabs in texts": '"\t",',
    "missing commas": '"a" ',
    "merges": "\n<<<<<<< a\n=======\n>>>>>>> b\n",
    "half a merge": "\n<<<<<<< a\n",
    "values": "0 ",
    "notebooks": '{"nbformat": 4, "cells": [{"cell_type": "code", "source": "x"}]} ',
}


@pytest.mark.parametrize("what", FAULTY)
def test_costly_faults_are_mended_or_refused_by_their_size_and_not_by_the_clock(folder: Path, what: str) -> None:
    """Inside the outputs of a cell, and behind the end: 8 MiB of each, in each notebook's place and in two copies."""
    many = FAULTY[what] * (8 * MIB // len(FAULTY[what].encode()))
    inside = f'{{"nbformat": 4, "cells": [{{"cell_type": "code", "source": "x", "outputs": [{many}1]}}]}}'
    behind = f'{{"nbformat": 4, "cells": [{{"cell_type": "code", "source": "x", "outputs": []}}]}}{many}'
    for number, name in enumerate(NAMES):
        write(folder / f"{name}.ipynb", (inside, behind)[number % 2])
    write(folder / "copy 1.ipynb", inside)
    write(folder / "copy 2.ipynb", behind)
    found = look(folder)
    told = " ".join([*found.unreadable.values(), *map(str, found.finding.remarks)])
    assert "reading it" not in told
    assert "takes more than" not in told
    assert set(found.notebooks) | set(found.unreadable) == set(NAMES)


@given(
    st.binary(max_size=40)
    | st.text('{}[],:"\\/*#-<=>|019 \t\n\0NaInfity\N{NO-BREAK SPACE}', max_size=60).map(str.encode)
)
def test_whatever_is_mended_stays_bounded_and_sound_text_stays_as_it_is(content: bytes) -> None:
    mended = mend(content)
    assert len(mended.content) <= 4 * len(content)
    sides_of(content)
    with suppress(ValueError):
        json.loads(content)
        is_python_alone = any(part in content for part in (b"NaN", b"Infinity", b"\t")) or LONG_NUMBER.search(content)
        assert mended.content == content or is_python_alone


# Lists for people


@pytest.fixture
def hostile(folder: Path) -> Path:
    """As many strange files of each kind as may be, with long names."""
    long = "x" * 150
    for number in range(1990):
        write(folder / f"{number:04d} {long}.ipynb", "{}")
    for number in range(300):
        (folder / f"{long}{number}").symlink_to("/etc/passwd")
        write(folder / f"{number}\x1b[2J", "")
    for number in range(60):
        write(folder / f"{long}{number}.d.ipynb", json.dumps({"nbformat": 4, "cells": []}))
        copy = json.loads((RELEASE / "01_output_size.ipynb").read_text())
        copy["cells"][-1:] += [cell("code", f"x = {number}")]
        (folder / f"f{number} {long}").mkdir()
        write(folder / f"f{number} {long}" / f"{long}.ipynb", json.dumps(copy))
    return folder


def test_everything_that_is_said_of_a_submission_is_bounded(hostile: Path) -> None:
    submission = read_in_place("mallory", hostile, RELEASE, LIMITS)
    assert len(submission.notes) <= (len(NAMES) * 2 + 3) * (MOST_REMARKS + 1)
    assert max(len(note.text) for note in submission.notes) <= MOST_REMARK + 50
    assert sum(len(note.text) for note in submission.notes) < 64 * 1024
    assert any("other notebooks were left out" in note.text for note in submission.notes)
    assert all(len(reason) <= MOST_REMARK + 50 for reason in submission.unreadable.values())


def test_stray_notebooks_are_counted(folder: Path) -> None:
    for number in range(1990):
        write(folder / f"{number:04d}.ipynb", "{}")
    remarks = look(folder).finding.remarks
    assert len(remarks) == MOST_REMARKS + 1
    assert remarks[-1].text == "… and 1,970 other notebooks were left out"
    assert MOST_CANDIDATES < 1990


# Files and folders


def test_a_renamed_file_is_never_in_the_way_of_another(folder: Path, tmp_path: Path) -> None:
    """What lies beside a notebook in a folder is seen from there, unless that asks for a folder where a file is."""
    (folder / "z").mkdir()
    (folder / "04_modern_cnn.ipynb").rename(folder / "z" / "04_modern_cnn.ipynb")
    for name in ("a/b", "z/a/b/c", "z/q", "q/r", "z/new"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, name)
    submission = read_submission("ada", folder, tmp_path / "files", RELEASE, LIMITS)
    released = {path.name for path in RELEASE.iterdir()}
    made = {name: file.path.read_text() for name, file in submission.files.items() if name not in released}
    assert made == {"a/b": "a/b", "z/a/b/c": "z/a/b/c", "z/q": "z/q", "q/r": "q/r", "new": "z/new"}


def test_a_folder_with_more_files_than_any_submission_has_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (finder, reading):
        monkeypatch.setattr(module, "MOST_ENTRIES", 50)
    for number in range(60):
        write(folder / f"{number}.txt", "")
    with pytest.raises(OSError, match="it holds more than 50 files and folders"):
        look(folder)
    assert MOST_ENTRIES > 60_000  # a data set of single pictures


def test_walking_counts_folders_too(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    assert list(walk(tmp_path, 20)) == []
    with pytest.raises(OSError, match="more than 19 files"):
        list(walk(tmp_path, 19))


def test_what_cannot_be_a_notebook_of_the_courses_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableNotebook, match=r"a\.ipynb cannot be read as a notebook of the course's"):
        read_released(write(tmp_path / "a.ipynb", "{}"))
    with pytest.raises(UnreadableNotebook, match="of the course's"):
        read_released(tmp_path / "missing.ipynb")


def test_a_folder_that_is_not_there_is_the_callers_trouble(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        look(tmp_path / "missing")
