"""`autograder collect`: exports of Canvas and Moodle, folders, hostile archives, receipts, and what is never lost."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import random
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from nbgrader.utils import parse_utc

from autograder.cli import main
from autograder.core.machine_faults import reason_of
from autograder.core.times import TimeError, in_zone, parse_deadline, parse_zone
from autograder.handin import collect as intake
from autograder.handin import roster
from autograder.handin.collect import archive, lms_names, placing
from autograder.handin.collect.archive import BadArchive, BadFile, Member, open_source
from autograder.handin.collect.assemble import SubmissionDraft, write_files
from autograder.handin.collect.lms_names import sort_canvas, sort_folder, sort_moodle, without_suffix
from autograder.handin.roster import Person, Unmatched, id_problem, squash, student_of
from tests.conftest import nbgrader
from tests.ordinary_user import ordinary_user
from tools.embed_in_kit import KIT
from tools.samples import build_sample

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
from autograder.config import AnswerProbe, Assignment, CheckpointProbe, Course, Exercise, Limits, ModuleProbe
from autograder.config import TransformProbe
from pathlib import Path
FIRST = Exercise("01_output_size", {"a": 1}, "test_a.py", answers=[AnswerProbe("x")])
LAST = Exercise(
    "04_modern_cnn", {"b": 1}, "test_a.py", modules=[ModuleProbe("ModernCNN")],
    checkpoint=CheckpointProbe("modern_cnn", module="ModernCNN", transform="test_transform"),
    transforms=[TransformProbe("test_transform", images=["natural"])],
)
COURSE = Course({"cnn": Assignment([FIRST, LAST], graders=Path(__file__).parent)}, limits=Limits(scratch_mib=2))
"""
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
NOON = (2026, 11, 30, 12, 0, 0)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    root = tmp_path / "course"
    root.mkdir()
    (root / "grader_config.py").write_text(CONFIG)
    (root / "test_a.py").write_text("")
    shutil.copyfile(ROOT / "nbgrader_config.py", root / "nbgrader_config.py")
    return root


Contents = Mapping[str, "bytes | tuple[bytes, tuple[int, int, int, int, int, int]]"]


def zip_of(contents: Contents) -> bytes:
    """A zip with files at noon, or at the time that is given with the content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, value in contents.items():
            content, time = value if isinstance(value, tuple) else (value, NOON)
            entry = zipfile.ZipInfo(name, time)
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, content)
    return buffer.getvalue()


def receipt_for(contents: Mapping[str, bytes]) -> bytes:
    files = [{"name": n, "size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in contents.items()]
    return json.dumps({"format": 1, "kit": "1.0", "files": files}).encode()


def packed(contents: Mapping[str, bytes]) -> bytes:
    """A submission as the kit packs it."""
    return zip_of({**contents, "receipt.json": receipt_for(contents)})


def export(course: Path, contents: Contents, name: str = "export.zip") -> Path:
    path = course.parent / name
    path.write_bytes(zip_of(contents))
    return path


def collect(course: Path, file: Path, system: str, *arguments: object) -> Result:
    command = ["collect", file, "--from", system, "--course", course, "--time-zone", "UTC", *arguments]
    result = CliRunner().invoke(main.main, [str(argument) for argument in command])
    assert "Grader error" not in result.output, result.output
    return result


def words(result: Result) -> str:
    return " ".join(result.output.split())


def collected(course: Path, student: str) -> dict[str, bytes]:
    folder = course / "submitted" / student / "cnn"
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("timestamp.txt", None)
    return found


def timestamp(course: Path, student: str) -> datetime | None:
    path = course / "submitted" / student / "cnn" / "timestamp.txt"
    return parse_utc(path.read_text()) if path.exists() else None


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def record(course: Path) -> list[dict[str, str]]:
    """The rows of the latest record."""
    latest = max((course / ".autograder" / "intake").glob("cnn-*.csv"), key=lambda path: path.stat().st_mtime_ns)
    with open(latest, newline="") as file:
        return list(csv.DictReader(file))


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# --- the whole way ----------------------------------------------------------------------------------------------


def test_what_the_kit_packs_arrives_unchanged_through_canvas(course: Path, tmp_path: Path) -> None:
    """pack → Canvas's export, handed in for the third time → collect gives the very files, and the receipt is right."""
    work = tmp_path / "work"
    build_sample("untouched", work, "offline")
    environment = {**os.environ, "CNN_KIT_DATA": "offline"}
    command = [sys.executable, str(KIT), "pack", str(work), "--without-checkpoint"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    receipt = re.search(r"SHA-256 ([0-9a-f]{64})", done.stdout)
    assert receipt is not None
    file = export(course, {"doejane_4711_99001_cnn-submission-2.zip": (work / "cnn-submission.zip").read_bytes()})
    students = write(tmp_path / "roster.csv", "student,canvas_id\njdoe,4711\n")
    held = write(tmp_path / "receipts.csv", f"student,sha256\njdoe,{receipt[1]}\n")
    result = collect(course, file, "canvas", "--roster", students, "--receipts", held)
    assert result.exit_code == 0, result.output
    assert "jdoe: verified" in result.output
    notebooks = {path.name: path.read_bytes() for path in work.glob("0[1-4]*.ipynb")}
    assert len(notebooks) == 4
    assert collected(course, "jdoe") == notebooks
    rows = record(course)
    upload = next(row for row in rows if row["kind"] == "upload")
    assert upload["original"] == "doejane_4711_99001_cnn-submission-2.zip"
    assert (upload["sha256"], upload["verdict"], upload["person"]) == (receipt[1], "collected", "doejane (4711)")
    files = {row["original"]: row["sha256"] for row in rows if row["kind"] == "file"}
    assert files == {name: hashlib.sha256(content).hexdigest() for name, content in notebooks.items()}


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("canvas", {"doejane_4711_1_01_output_size.ipynb": "a", "roejim_LATE_12_2_cnn-submission-1.zip": "b"}),
        ("canvas", {"hw/doejane_4711_1_01_output_size.ipynb": "a", "hw/roejim_LATE_12_2_cnn-submission-1.zip": "b"}),
        (
            "moodle",
            {
                "Jane Doe_4711_assignsubmission_file/01_output_size.ipynb": "a",
                "Jim Roe_12_assignsubmission_file/cnn-submission.zip": "b",
            },
        ),
        (
            "moodle",
            {
                "Jane Doe_4711_assignsubmission_file_01_output_size.ipynb": "a",
                "Jim Roe_12_assignsubmission_file_/cnn-submission.zip": "b",
            },
        ),
        ("folder", {"jane/01_output_size.ipynb": "a", "jim.zip": "b"}),
        ("folder", {"jane/cnn/01_output_size.ipynb": "a", "jim/cnn-submission.zip": "b"}),
    ],
)
def test_every_form_is_collected_zipped_and_unpacked(
    course: Path, tmp_path: Path, system: str, names: dict[str, str], unpacked: bool
) -> None:
    contents = {"a": NOTEBOOK, "b": packed({"01_output_size.ipynb": NOTEBOOK + b" ", "modern_cnn.safetensors": b"w"})}
    file = export(course, {name: contents[kind] for name, kind in names.items()})
    if unpacked:
        with zipfile.ZipFile(file) as made:
            made.extractall(tmp_path / "export")
        file = tmp_path / "export"
    if unpacked and any(name.startswith("hw/") for name in names):
        file = file / "hw"
    rows = "jane,4711,4711,Jane Doe\njim,12,12,Jim Roe\n"
    students = write(tmp_path / "roster.csv", f"student,canvas_id,moodle_id,name\n{rows}")
    result = collect(course, file, system, "--roster", students)
    assert result.exit_code == 0, result.output
    assert collected(course, "jane") == {"01_output_size.ipynb": NOTEBOOK}
    assert collected(course, "jim") == {"01_output_size.ipynb": NOTEBOOK + b" ", "modern_cnn.safetensors": b"w"}
    assert ("Canvas marks it late" in words(result)) == (system == "canvas")
    assert ("≤ 2026-11-30 12:00+00:00" in result.output) == (system == "canvas" and not unpacked)


def test_students_get_ids_of_their_own_without_a_roster(course: Path) -> None:
    names = ["doejane_4711_1_01_output_size.ipynb", "müllerjörg_12_2_01_output_size.ipynb", "anon_aB3dE_7_x.ipynb"]
    assert collect(course, export(course, dict.fromkeys(names, NOTEBOOK)), "canvas").exit_code == 0
    moodle = {"O'Neil Ann-Marie_33_assignsubmission_file/01_output_size.ipynb": NOTEBOOK}
    assert collect(course, export(course, moodle), "moodle").exit_code == 0
    found = {path.name for path in (course / "submitted").iterdir()}
    assert found == {"doejane_4711", "müllerjörg_12", "anon_aB3dE", "o_neil_ann_marie_33"}
    assert all(not id_problem(student) for student in found)


def test_a_dry_run_touches_nothing(course: Path) -> None:
    before = everything_below(course)
    file = export(course, {"doejane_4711_1_cnn-submission.zip": packed({"01_output_size.ipynb": NOTEBOOK})})
    result = collect(course, file, "canvas", "--dry-run")
    assert result.exit_code == 0
    assert re.search(r"doejane_4711 +1 +not in the export +collected", result.output)
    assert "1 student: 1 collected" in result.output
    assert "Dry run: nothing was written." in result.output
    assert everything_below(course) == before


def test_canvas_marks_names_and_text_entries(course: Path) -> None:
    file = export(
        course,
        {
            "doejane_4711_1_04_modern_cnn-2.ipynb": NOTEBOOK,
            "doejane_4711_2_modern_cnn-6f9619ff-8b86-4011-b42d-00cf4fc964ff.safetensors": b"w",
            "doejane_4711_3_my-2.ipynb": NOTEBOOK,
            "doejane_4711_4_01_output_size-1-1.ipynb": NOTEBOOK,
            "roejim_12_text.html": b"<p>",
            "roejim_LATE_12_link.html": b"<p>",
            "grades.xlsx": b"",
        },
    )
    result = collect(course, file, "canvas")
    assert result.exit_code == 3
    assert set(collected(course, "doejane_4711")) == {
        "04_modern_cnn.ipynb", "modern_cnn.safetensors", "my-2.ipynb", "01_output_size.ipynb",
    }  # fmt: skip
    assert "roejim_12_text.html: text typed into Canvas" in result.output
    assert "roejim_LATE_12_link.html: a link, not a file" in result.output
    assert "grades.xlsx: is not named as Canvas names files" in words(result)


def notebook_with(code: str) -> bytes:
    cell = {"cell_type": "code", "metadata": {}, "source": code.splitlines(keepends=True), "outputs": []}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


IMPORTING = notebook_with("import torch\nfrom blocks import conv_block\nwith open('means.json') as file:\n    pass")


def test_what_notebooks_import_or_open_gets_its_name_back(course: Path) -> None:
    """Canvas numbers what is handed in again, a browser what is downloaded again."""
    file = export(
        course,
        {
            "doejane_4711_1_01_output_size-1.ipynb": IMPORTING,
            "doejane_4711_2_blocks-1.py": b"from layers import layer",
            "doejane_4711_3_layers-1 (2).py": b"",
            "doejane_4711_4_means-3.json": b"",
            "doejane_4711_5_other-1.py": b"",
            "doejane_4711_6_torch-1.py": b"",
            "doejane_4711_7_modern_cnn-1.pth": b"w",
            "roejim_12_8_01_output_size.ipynb": notebook_with("x = 1"),
            "roejim_12_9_blocks-1.py": b"",
        },
    )
    result = collect(course, file, "canvas")
    assert result.exit_code == 0
    assert set(collected(course, "doejane_4711")) == {
        "01_output_size.ipynb", "blocks.py", "layers.py", "means.json", "other-1.py", "torch-1.py", "modern_cnn.pth",
    }  # fmt: skip
    assert set(collected(course, "roejim_12")) == {"01_output_size.ipynb", "blocks-1.py"}
    assert "blocks-1.py was given back the name blocks.py, by which a notebook asks for it" in words(result)
    assert "2 unchanged" in words(collect(course, file, "canvas"))


def test_a_file_that_has_the_name_keeps_it(course: Path) -> None:
    handed_in = {"01_output_size.ipynb": IMPORTING, "blocks.py": b"1", "blocks (1).py": b"2", "means.json.py": b""}
    file = export(course, {f"ada/{name}": content for name, content in handed_in.items()})
    assert collect(course, file, "folder").exit_code == 0
    assert collected(course, "ada") == handed_in


def test_of_two_files_with_one_name_the_later_one_gets_it_back(course: Path) -> None:
    uploads = {"doejane_1_1_a.ipynb": IMPORTING, "doejane_1_3_blocks-2.py": b"new", "doejane_1_2_blocks-1.py": b"old"}
    result = collect(course, export(course, uploads), "canvas")
    assert collected(course, "doejane_1") == {"a.ipynb": IMPORTING, "blocks.py": b"new", "blocks-1.py": b"old"}
    assert "blocks-1.py, blocks-2.py differ, and each could be blocks.py: the last one was taken" in words(result)


def test_of_two_such_files_in_one_archive_none_is_chosen(course: Path) -> None:
    inside = {"a.ipynb": IMPORTING, "blocks-2.py": b"new", "blocks-1.py": b"old"}
    result = collect(course, export(course, {"ada.zip": zip_of(inside)}), "folder")
    assert collected(course, "ada") == inside
    assert "blocks-1.py, blocks-2.py differ, and each could be blocks.py, which a notebook asks for" in words(result)


def test_a_receipt_finds_files_by_the_names_that_it_lists(course: Path) -> None:
    """A packed zip, unpacked by the student and handed in file by file through Canvas."""
    contents = {"01_output_size.ipynb": IMPORTING, "blocks.py": b"x = 1"}
    uploads = {"01_output_size-1.ipynb": IMPORTING, "blocks-1.py": b"x = 1", "receipt-1.json": receipt_for(contents)}
    file = export(course, {f"doejane_1_{n}_{name}": content for n, (name, content) in enumerate(uploads.items(), 2)})
    result = collect(course, file, "canvas")
    assert collected(course, "doejane_1") == contents
    assert "after packing" not in words(result)


def test_zip_collect_takes_what_a_notebook_needs_beside_it(course: Path) -> None:
    archive = course / "downloaded" / "cnn" / "archive"
    archive.mkdir(parents=True)
    needed = {"01_output_size.ipynb", "blocks.py", "modern_cnn.pth", "modern_cnn.safetensors", "means.json", "plot.png"}
    for name in needed | {"page.html"}:
        (archive / f"zed_cnn_attempt_2026-11-01-10-00-00_{name}").write_bytes(IMPORTING)
    pattern = r".*(?P<student_id>zed)_cnn_attempt_(?P<timestamp>[0-9\-]+)_(?P<file_id>.+)"
    done = nbgrader(course, "zip_collect", "cnn", f"--FileNameCollectorPlugin.named_regexp={pattern}")
    assert done.returncode == 0, done.stderr
    assert set(collected(course, "zed")) == needed


def test_moodles_online_text_is_listed_and_subfolders_stay(course: Path) -> None:
    file = export(
        course,
        {
            "Jane Doe_1_assignsubmission_onlinetext/onlinetext.html": b"<p>",
            "Jane Doe_1_assignsubmission_file/01_output_size.ipynb": NOTEBOOK,
            "Jane Doe_1_assignsubmission_file/pictures/a.png": b"png",
        },
    )
    result = collect(course, file, "moodle")
    assert result.exit_code == 0
    assert set(collected(course, "jane_doe_1")) == {"01_output_size.ipynb", "pictures/a.png"}
    assert "text typed into Moodle" in result.output


def test_a_name_that_canvas_writes_in_utf8_without_saying_so_is_read(tmp_path: Path) -> None:
    """rubyzip writes UTF-8 and does not set the flag; zipfile would read "mÃ¼ller"."""
    name = "müllerjörg_12_2_ü.ipynb".encode()
    made = zip_of({"x" * len(name): NOTEBOOK}).replace(b"x" * len(name), name)
    (tmp_path / "a.zip").write_bytes(made)
    with open_source(tmp_path / "a.zip", None) as source:
        assert [member.name for member in source.members] == ["müllerjörg_12_2_ü.ipynb"]


# --- which of several -------------------------------------------------------------------------------------------


def day(number: int, hour: int = 12) -> tuple[int, int, int, int, int, int]:
    return (2026, 11, number, hour, 0, 0)


def two_zips(first: int, second: int) -> Contents:
    """One person's archives of two days, named against the order."""
    return {
        "Jane Doe_1_assignsubmission_file/b.zip": (packed({"01_output_size.ipynb": b"first"}), day(first)),
        "Jane Doe_1_assignsubmission_file/a.zip": (packed({"01_output_size.ipynb": b"second"}), day(second)),
    }


DEADLINE = ("--keep", "before-deadline", "--deadline", "2026-11-15T23:59+01:00")


def test_the_latest_of_several_is_taken_unless_a_deadline_is_given(course: Path) -> None:
    file = export(course, two_zips(10, 20))
    assert collect(course, file, "moodle").exit_code == 0
    assert collected(course, "jane_doe_1") == {"01_output_size.ipynb": b"second"}
    assert timestamp(course, "jane_doe_1") == datetime(2026, 11, 20, 12)
    rows = {row["original"].split("/")[-1]: row for row in record(course) if row["kind"] == "upload"}
    assert (rows["b.zip"]["which"], rows["b.zip"]["verdict"]) == ("1 of 2", "not the last")
    assert (rows["a.zip"]["which"], rows["a.zip"]["verdict"]) == ("2 of 2", "collected")
    result = collect(course, file, "moodle", *DEADLINE)
    assert result.exit_code == 0
    assert collected(course, "jane_doe_1") == {"01_output_size.ipynb": b"first"}
    assert timestamp(course, "jane_doe_1") == datetime(2026, 11, 10, 12)
    assert "After the deadline, not taken: jane_doe_1: Jane Doe_1_assignsubmission_file/a.zip" in words(result)


def test_whoever_is_late_with_everything_is_named_and_not_collected(course: Path) -> None:
    file = export(course, two_zips(20, 21))
    result = collect(course, file, "moodle", *DEADLINE)
    assert result.exit_code == 0
    assert re.search(r"jane_doe_1 .* late, not taken", result.output)
    assert "(nothing came in time)" in result.output
    assert not (course / "submitted").exists()
    result = collect(course, file, "moodle", "--deadline", "2026-11-15T23:59+01:00")
    assert collected(course, "jane_doe_1") == {"01_output_size.ipynb": b"second"}
    assert "handed in after the deadline" in words(result)


@pytest.mark.parametrize(("minute", "taken"), [(0, True), (1, False)])
def test_the_deadline_itself_is_in_time(course: Path, minute: int, taken: bool) -> None:
    time = (2026, 11, 15, 22, minute, 0)
    file = export(course, {"Jane Doe_1_assignsubmission_file/01_output_size.ipynb": (NOTEBOOK, time)})
    collect(course, file, "moodle", "--keep", "before-deadline", "--deadline", "2026-11-15T23:00+01:00")
    assert bool(collected(course, "jane_doe_1")) == taken


def test_canvas_counts_by_its_own_mark_and_numbers(course: Path) -> None:
    """Canvas's times are those of the export, made after the deadline here; its file ids grow with time."""
    file = export(
        course,
        {
            "doejane_4711_1_cnn-submission.zip": (packed({"01_output_size.ipynb": b"first"}), day(20)),
            "doejane_4711_3_cnn-submission-2.zip": (packed({"01_output_size.ipynb": b"third"}), day(19)),
            "doejane_LATE_4711_4_cnn-submission-3.zip": (packed({"01_output_size.ipynb": b"late"}), day(20)),
            "roejim_LATE_12_5_01_output_size.ipynb": (NOTEBOOK, day(20)),
        },
    )
    result = collect(course, file, "canvas", *DEADLINE)
    assert result.exit_code == 0
    assert collected(course, "doejane_4711") == {"01_output_size.ipynb": b"third"}
    assert timestamp(course, "doejane_4711") is None
    assert not (course / "submitted" / "roejim_12").exists()
    collect(course, file, "canvas")
    assert collected(course, "doejane_4711") == {"01_output_size.ipynb": b"late"}
    assert timestamp(course, "roejim_12") == datetime(2026, 11, 20, 12)


def test_loose_files_stand_beside_an_archive_and_the_later_one_counts(course: Path) -> None:
    folder = "Jane Doe_1_assignsubmission_file"
    file = export(
        course,
        {
            f"{folder}/cnn-submission.zip": (
                packed({"01_output_size.ipynb": b"1", "04_modern_cnn.ipynb": b"4"}),
                day(10),
            ),
            f"{folder}/modern_cnn.safetensors": (b"w", day(9)),
            f"{folder}/01_output_size.ipynb": (b"older", day(9)),
            f"{folder}/04_modern_cnn.ipynb": (b"newer", day(11)),
        },
    )
    result = collect(course, file, "moodle")
    assert collected(course, "jane_doe_1") == {
        "01_output_size.ipynb": b"1", "04_modern_cnn.ipynb": b"newer", "modern_cnn.safetensors": b"w",
    }  # fmt: skip
    assert "01_output_size.ipynb was handed in beside the archive" in words(result)
    assert "04_modern_cnn.ipynb was handed in more than once" in words(result)


def test_nothing_is_lost_when_a_submission_is_replaced(course: Path) -> None:
    first = export(course, {"doejane_4711_1_01_output_size.ipynb": b"1", "doejane_4711_2_notes.txt": b"n"})
    assert collect(course, first, "canvas").exit_code == 0
    (course / "submitted" / "doejane_4711" / "cnn" / "mine.txt").write_text("a note of the staff")
    second = export(course, {"doejane_4711_3_01_output_size-1.ipynb": b"2"}, "second.zip")
    result = collect(course, second, "canvas")
    assert "collected, older one kept" in result.output
    assert collected(course, "doejane_4711") == {"01_output_size.ipynb": b"2"}
    kept = list((course / ".autograder" / "intake" / "replaced" / "cnn" / "doejane_4711").iterdir())
    assert len(kept) == 1
    assert {path.name for path in kept[0].iterdir()} == {"01_output_size.ipynb", "notes.txt", "mine.txt"}
    before = (course / "submitted" / "doejane_4711" / "cnn").stat()
    result = collect(course, second, "canvas")
    assert re.search(r"doejane_4711 .* unchanged", result.output)
    assert (course / "submitted" / "doejane_4711" / "cnn").stat().st_ino == before.st_ino
    assert not list((course / ".autograder" / "intake").glob("part-*"))


def test_an_older_export_does_not_replace_a_later_submission(course: Path) -> None:
    file = "Jane Doe_1_assignsubmission_file/01_output_size.ipynb"
    collect(course, export(course, {file: (b"new", day(20))}), "moodle")
    result = collect(course, export(course, {file: (b"old", day(10))}), "moodle")
    assert re.search(r"jane_doe_1 .* older, not taken", result.output)
    assert collected(course, "jane_doe_1") == {"01_output_size.ipynb": b"new"}
    collect(course, export(course, {file: (b"old", day(10))}), "moodle", *DEADLINE)
    assert collected(course, "jane_doe_1") == {"01_output_size.ipynb": b"old"}


def test_times_that_are_all_alike_are_called_into_question(course: Path) -> None:
    names = [f"Student {letter}_{number}_assignsubmission_file/a.ipynb" for number, letter in enumerate("abc")]
    result = collect(course, export(course, dict.fromkeys(names, NOTEBOOK)), "moodle")
    assert "it may be the time of the download" in words(result)
    spread = {name: (NOTEBOOK, day(number + 1)) for number, name in enumerate(names)}
    assert "time of the download" not in words(collect(course, export(course, spread), "moodle"))


def test_the_extended_time_stamp_is_in_utc(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 30, 20, 15, 1, tzinfo=timezone.utc)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        entry = zipfile.ZipInfo("with", NOON)
        entry.extra = struct.pack("<HHHH", 7, 2, 1, archive.EXTENDED_TIME)[:6] + struct.pack(
            "<HHBi", archive.EXTENDED_TIME, 5, 1, int(moment.timestamp())
        )
        made.writestr(entry, b"")
        made.writestr(zipfile.ZipInfo("without", NOON), b"")
        made.writestr(zipfile.ZipInfo("none"), b"")
    with open_source(tmp_path / "a.zip", parse_zone("Europe/Vienna")) as source:
        times = {member.name: member.time for member in source.members}
    assert times["with"] == moment
    assert times["without"] == datetime(2026, 11, 30, 11, tzinfo=timezone.utc)
    assert times["none"] is None


def test_deadlines_need_a_time_and_say_which_zone_was_assumed(course: Path) -> None:
    vienna = parse_zone("Europe/Vienna")
    assert parse_deadline("2026-11-30T23:59+01:00", None)[0] == datetime(2026, 11, 30, 22, 59, tzinfo=timezone.utc)
    assert parse_deadline("2026-11-30T23:59Z", vienna) == (datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc), "")
    time, assumed = parse_deadline("2026-07-01 12:00", vienna)
    assert time == datetime(2026, 7, 1, 10, tzinfo=timezone.utc)
    assert "2026-07-01 12:00+02:00 was assumed" in assumed
    for wrong in ("2026-11-30", "30.11.2026", ""):
        with pytest.raises(TimeError, match="2026-11-30T23:59"):
            parse_deadline(wrong, None)
    with pytest.raises(TimeError, match="did you mean 'Europe/Vienna'"):
        parse_zone("Europe/Viena")
    file = export(course, two_zips(1, 2))
    assert collect(course, file, "moodle", "--keep", "before-deadline").exit_code == 2
    assert collect(course, file, "moodle", "--deadline", "soon").exit_code == 2
    result = collect(course, file, "moodle", "--deadline", "2026-11-30T23:59", "--dry-run")
    assert "The deadline has no time zone: 2026-11-30 23:59+00:00 was assumed" in words(result)


# --- receipts ---------------------------------------------------------------------------------------------------


def test_a_changed_missing_or_added_file_is_named_and_the_rest_collected(course: Path) -> None:
    given = {"01_output_size.ipynb": b"1", "04_modern_cnn.ipynb": b"4", "modern_cnn.safetensors": b"w"}
    arrived = {"01_output_size.ipynb": b"1", "04_modern_cnn.ipynb": b"other", "extra.txt": b""}
    contents = zip_of({**arrived, "receipt.json": receipt_for(given)})
    result = collect(course, export(course, {"jane.zip": contents}), "folder")
    assert result.exit_code == 0
    text = words(result)
    assert "04_modern_cnn.ipynb was changed after packing: ask for the zip as it was packed" in text
    assert "modern_cnn.safetensors is missing, though the receipt lists it" in text
    assert "extra.txt was added after packing" in text
    assert "01_output_size.ipynb was changed" not in text
    assert collected(course, "jane") == arrived


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"format": 2, "files": []}', b'{"format": 1, "files": [{"name": 1}]}', b"[" * 100_000, b"\xff"],
)
def test_an_unreadable_receipt_is_said_and_never_lands_in_the_folder(course: Path, content: bytes) -> None:
    contents = zip_of({"01_output_size.ipynb": b"1", "receipt.json": content})
    result = collect(course, export(course, {"jane.zip": contents}), "folder")
    assert result.exit_code == 0
    assert "receipt.json cannot be read" in words(result)
    assert collected(course, "jane") == {"01_output_size.ipynb": b"1"}


def test_a_receipt_that_was_unpacked_by_the_student_is_checked_too(course: Path) -> None:
    given = {"01_output_size.ipynb": b"1"}
    contents = {"jane/01_output_size.ipynb": b"changed", "jane/receipt.json": receipt_for(given)}
    result = collect(course, export(course, contents), "folder")
    assert "01_output_size.ipynb was changed after packing" in words(result)
    assert set(collected(course, "jane")) == {"01_output_size.ipynb"}


def test_receipts_that_students_hold_are_compared_with_what_arrived(course: Path, tmp_path: Path) -> None:
    old, new = packed({"01_output_size.ipynb": b"old"}), packed({"01_output_size.ipynb": b"new"})
    file = export(
        course,
        {
            "ada_1_1_cnn-submission.zip": old, "ada_1_2_cnn-submission-1.zip": new,
            "bo_2_3_cnn-submission.zip": new, "cy_3_4_01_output_size.ipynb": NOTEBOOK,
            "di_4_5_cnn-submission.zip": old, "di_4_6_cnn-submission-1.zip": new,
        },
    )  # fmt: skip
    students = write(tmp_path / "r.csv", "student,canvas_id\nada,1\nbo,2\ncy,3\ndi,4\neve,5\n")
    held = {"ada": new, "bo": b"something else", "3": new, "di": old, "eve": new}
    rows = [f"{student},{hashlib.sha256(content).hexdigest().upper()}" for student, content in held.items()]
    receipts = write(tmp_path / "h.csv", "\n".join(["student,sha256", *rows]))
    result = collect(course, file, "canvas", "--roster", students, "--receipts", receipts)
    assert result.exit_code == 0, result.output
    verdicts = {row["student"]: row["verdict"] for row in record(course) if row["kind"] == "receipt"}
    assert verdicts == {
        "ada": "verified", "bo": "differs", "cy": "no archive of that student",
        "di": "for an archive that was not taken", "eve": "no archive of that student",
    }  # fmt: skip
    assert "bo: differs: ask the student for the zip that they packed" in words(result)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student,sha256\nada,abc\n", "line 2: sha256 must be 64 hexadecimal digits, found 'abc'"),
        ("student,sha\nada,abc\n", "unknown column 'sha'; did you mean 'sha256'?"),
        ("student,sha256\nnobody," + "a" * 64, "line 2: 'nobody' is not in the roster"),
        ("student,sha256\n", "lists no receipt"),
    ],
)
def test_wrong_receipts_are_refused_with_the_line(course: Path, tmp_path: Path, text: str, message: str) -> None:
    students = write(tmp_path / "r.csv", "student,canvas_id\nada,1\n")
    file = export(course, {"ada_1_1_01_output_size.ipynb": NOTEBOOK})
    result = collect(course, file, "canvas", "--roster", students, "--receipts", write(tmp_path / "h.csv", text))
    assert result.exit_code == 1
    assert message in words(result)
    assert not (course / "submitted").exists()


# --- who is who -------------------------------------------------------------------------------------------------


def test_nobody_is_guessed(course: Path, tmp_path: Path) -> None:
    students = write(
        tmp_path / "roster.csv",
        "student;canvas_id;name;section\nada;1;Ada Lovelace;A\ngrace;;Hopper, Grace;A\n"
        "kim1;;Kim Lee;A\nkim2;;Kim Lee;B\nbo;5;Bo Ek;B\nlin;;Lin Wu;B\n",
    )
    names = [
        "lovelaceada_1_10_a.ipynb", "hoppergrace_77_11_a.ipynb", "leekim_78_12_a.ipynb", "ekbo_6_13_a.ipynb",
        "wulin_81_14_a.ipynb", "wulin_82_15_a.ipynb", "strangermary_99_16_a.ipynb",
    ]  # fmt: skip
    result = collect(course, export(course, dict.fromkeys(names, NOTEBOOK)), "canvas", "--roster", students)
    assert result.exit_code == 3
    assert {path.name for path in (course / "submitted").iterdir()} == {"ada", "grace"}
    text = words(result)
    assert "leekim (78), 1 file: the name fits several students of the roster: kim1, kim2; add their ids" in text
    assert "ekbo (6), 1 file: is not in the roster" in text  # a namesake of bo, who has another id
    assert "wulin (81), 1 file: fits lin, as does wulin (82): add ids to the roster" in text
    assert "strangermary (99), 1 file: is not in the roster" in text
    assert "Columns of the roster that are not used: section" in text
    assert "In the roster, without a submission: kim1, kim2, bo, lin" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student,canvasid\nada,1\n", "unknown column 'canvasid'; did you mean 'canvas_id'?"),
        ("id,canvas_id\nada,1\n", "needs the columns student; it has id, canvas_id"),
        ("student\nada\n", "has the column student only: add one of canvas_id"),
        ("student,email\nada,a@x\nbo,A@X\n", "line 3: email 'a@x' is ada's already (line 2)"),
        ("student,canvas_id\nada,1\n\nada,2\n", "line 4: 'ada' is on line 2 already"),
        ("student,canvas_id\na*,1\n", "line 2: 'a*' is no student id: nbgrader takes *, ?, [ and ] for patterns"),
        ("student,canvas_id\n../x,1\n", "line 2: '../x' is no student id"),
        ("student,canvas_id\n,1\n", "line 2: '' is no student id"),
        ("student,name\nada,Lovelace, Ada\n", "line 2: 3 values for 2 columns"),
        ("student,name,name\n", "has the column 'name' twice"),
        ("student,canvas_id\n", "lists no student"),
        ("", "needs the columns student; it has nothing"),
    ],
)
def test_a_wrong_roster_is_refused_with_the_line(course: Path, tmp_path: Path, text: str, message: str) -> None:
    file = export(course, {"ada_1_1_01_output_size.ipynb": NOTEBOOK})
    result = collect(course, file, "canvas", "--roster", write(tmp_path / "roster.csv", text))
    assert result.exit_code == 1
    assert message in words(result)
    assert not (course / "submitted").exists()


def test_a_roster_that_is_an_excel_file_is_named(course: Path, tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_bytes(b"PK\3\4\xff\xfe")
    file = export(course, {"ada_1_1_01_output_size.ipynb": NOTEBOOK})
    result = collect(course, file, "canvas", "--roster", tmp_path / "roster.csv")
    assert (result.exit_code, "save it as `CSV UTF-8`" in words(result)) == (1, True)


def test_folders_may_be_named_by_any_key_of_the_roster(course: Path, tmp_path: Path) -> None:
    rows = ["student,moodle_id,name,email,login", "a,Participant 7,Ada L,ada@x.edu,al", "b,8,Bo E,bo@x.edu,be"]
    rows += ["c,9,Cy F,cy@x.edu,cf", "d,10,Di G,di@x.edu,dg", "e,11,Eve H,eve@x.edu,eh"]
    students = write(tmp_path / "roster.csv", "\n".join(rows))
    folders = ["7", "Bo E", "CY@x.edu", "dg", "e"]
    file = export(course, {f"{folder}/01_output_size.ipynb": NOTEBOOK for folder in folders})
    assert collect(course, file, "folder", "--roster", students).exit_code == 0
    assert {path.name for path in (course / "submitted").iterdir()} == set("abcde")


def test_two_names_of_one_student_are_two_submissions_and_capitals_are_not_guessed(
    course: Path, tmp_path: Path
) -> None:
    students = write(tmp_path / "roster.csv", "student,email\na,ada@x.edu\nb,bo@x.edu\n")
    file = export(
        course,
        {
            "a.zip": (packed({"01_output_size.ipynb": b"1"}), day(1)),
            "ada@x.edu.zip": (packed({"01_output_size.ipynb": b"2"}), day(2)),
            "b/01_output_size.ipynb": b"",
            "B/01_output_size.ipynb": b"",
        },
    )
    result = collect(course, file, "folder", "--roster", students)
    assert result.exit_code == 3
    assert collected(course, "a") == {"01_output_size.ipynb": b"2"}
    assert not (course / "submitted" / "b").exists()
    assert "one of several that differ only in capitals: " in words(result)


@pytest.mark.parametrize(
    "student", ["*", "a?", "[a]", "..", ".hidden", "-x", "a+b", " a", "a\x07", "", "x" * 101, "a/b"]
)
def test_ids_that_nbgrader_cannot_handle_are_refused(student: str) -> None:
    assert "is no student id" in id_problem(student)


def test_a_folder_with_an_impossible_name_stops_nobody_else(course: Path, tmp_path: Path) -> None:
    for name in ("ada", "b*", "c[1]"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "01_output_size.ipynb").write_bytes(NOTEBOOK)
    result = collect(course, tmp_path / "in", "folder")
    assert result.exit_code == 3
    assert {path.name for path in (course / "submitted").iterdir()} == {"ada"}
    assert "b*, 1 file: 'b*' is no student id: nbgrader takes *, ?, [ and ] for patterns" in words(result)


@pytest.mark.parametrize(
    "names",
    [
        ["evil_777_123_456_01_output_size.ipynb"],  # a display name that ends in a classmate's id
        ["evil_777_123_456_cnn-submission.zip"],
        ["evil_123_456_777_888_01_output_size.ipynb"],  # a file that is named after a classmate's upload
    ],
)
def test_nobody_hands_in_for_somebody_else_by_a_name(names: list[str]) -> None:
    members = [Member(0, "evil_123_1_a.ipynb"), *(Member(1, name) for name in names)]
    found = sort_canvas(members, {"01_output_size.ipynb", "cnn-submission.zip"}.__contains__, ["777"])
    assert {person.id for person in found.uploads} == {"123"}
    assert [one.name for one in found.unmatched] == names


# --- hostile archives -------------------------------------------------------------------------------------------


def assert_only_innocents(course: Path, result: Result) -> None:
    """The innocent student was collected, and nothing landed outside of the course's own folders."""
    assert collected(course, "zoe") == {"01_output_size.ipynb": NOTEBOOK}
    assert {path.name for path in course.iterdir()} == {
        "grader_config.py", "nbgrader_config.py", "test_a.py", "submitted", ".autograder",
    }  # fmt: skip
    assert {path.name for path in course.parent.iterdir()} <= {"course", "export.zip"}
    assert not list((course / ".autograder" / "intake").glob("part-*"))


def with_innocent(course: Path, content: bytes) -> Path:
    innocent = packed({"01_output_size.ipynb": NOTEBOOK})
    return export(course, {"eve.zip": content, "zoe.zip": innocent})


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target.encode()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../../outside.ipynb", "leads out of its folder"),
        ("a/../../outside.ipynb", "leads out of its folder"),
        ("..\\..\\outside.ipynb", "leads out of its folder"),
        ("/outside.ipynb", "has an absolute name"),
        ("C:\\outside.ipynb", "has an absolute name"),
        ("a\x1b[31m.ipynb", "has a name with control characters"),
        ("a\nb.ipynb", "has a name with control characters"),
        ("a//b.ipynb", "has no proper name"),
        ("x" * 201 + ".ipynb", "has a name that is too long"),
        ("ü" * 150 + ".ipynb", "has a name that is too long"),
        ("/".join("abcdefghij") + ".ipynb", "lies more than 8 folders deep"),
        ("timestamp.txt", "is nbgrader's own to write"),
        ("Submission_Secret.txt", "is nbgrader's own to write"),
    ],
)
def test_names_that_lead_astray_are_left_out_and_the_rest_collected(course: Path, name: str, reason: str) -> None:
    content = zip_of({name: b"evil", "01_output_size.ipynb": NOTEBOOK})
    result = collect(course, with_innocent(course, content), "folder")
    assert result.exit_code == 0, result.output
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    assert reason in words(result)
    assert "\x1b" not in result.output
    assert_only_innocents(course, result)


def test_a_null_byte_does_not_hide_the_end_of_a_name(course: Path) -> None:
    content = zip_of({"01_output_size.ipynb": NOTEBOOK, "02Xevil.ipynb": b"evil"}).replace(b"02Xevil", b"02\0evil")
    result = collect(course, with_innocent(course, content), "folder")
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    assert_only_innocents(course, result)


def test_links_and_devices_in_an_archive_are_left_out(course: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr(*link("modern_cnn.safetensors", "/etc/passwd"))
        made.writestr(*link("data", "../../.."))
        made.writestr("01_output_size.ipynb", NOTEBOOK)
    result = collect(course, with_innocent(course, buffer.getvalue()), "folder")
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    assert "modern_cnn.safetensors is a symbolic link: left out" in words(result)
    assert_only_innocents(course, result)


def test_links_in_an_unpacked_export_are_not_followed(course: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "eve"
    folder.mkdir(parents=True)
    (folder / "01_output_size.ipynb").write_bytes(NOTEBOOK)
    (folder / "secret.txt").symlink_to("/etc/passwd")
    (tmp_path / "in" / "mallory").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    result = collect(course, tmp_path / "in", "folder")
    assert result.exit_code == 3
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    assert "secret.txt is a symbolic link: left out" in words(result)
    assert "pipe is a named pipe: left out" in words(result)
    assert "mallory: is a symbolic link" in words(result)


def lay_a_trap(folder: Path, kind: str) -> None:
    """Put into a student's folder of an unpacked export what one may not be able to open, name or walk through."""
    if kind == "a socket named as an archive":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(folder / "cnn-submission.zip"))
    elif kind == "a link to itself":
        (folder / "cnn-submission.zip").symlink_to("cnn-submission.zip")
    elif kind == "names that are no text":
        for name in (b"\xff\xfe.ipynb", b"\xed\xa0\x80.zip"):
            os.close(os.open(os.fsencode(folder) + b"/" + name, os.O_CREAT))
    elif kind == "a folder named as an archive":
        (folder / "cnn-submission.zip" / "02_deeper_cnn.ipynb").mkdir(parents=True)
    else:
        here = os.open(folder, os.O_RDONLY)
        for _ in range(200):  # the path has 40,000 characters in the end
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)


@pytest.mark.parametrize(
    "kind",
    [
        *("a socket named as an archive", "a link to itself", "names that are no text"),
        *("a folder named as an archive", "folders without end"),
    ],
)
def test_what_lies_in_one_folder_of_an_unpacked_export_stops_nobody_elses(
    course: Path, tmp_path: Path, kind: str
) -> None:
    for student in ("eve", "zoe"):
        (tmp_path / "in" / student).mkdir(parents=True)
        (tmp_path / "in" / student / "01_output_size.ipynb").write_bytes(NOTEBOOK)
    lay_a_trap(tmp_path / "in" / "eve", kind)
    result = collect(course, tmp_path / "in", "folder")
    assert result.exit_code == 0, result.output
    assert collected(course, "eve") == collected(course, "zoe") == {"01_output_size.ipynb": NOTEBOOK}
    subprocess.run(["rm", "-rf", str(tmp_path / "in")], check=True)  # too deep for pytest to tidy up


def test_twice_the_same_name_gives_the_last_one(course: Path) -> None:
    content = zip_of({"01_output_size.ipynb": b"first", "01_OUTPUT_SIZE.ipynb": b"capitals", "a": b"", "a/b": b""})
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as made, pytest.warns(UserWarning, match="Duplicate name"):
        made.writestr("01_OUTPUT_SIZE.ipynb", b"last")
    result = collect(course, with_innocent(course, buffer.getvalue()), "folder")
    assert collected(course, "eve") == {"01_OUTPUT_SIZE.ipynb": b"last", "a": b""}
    assert "differs only in capitals from 01_OUTPUT_SIZE.ipynb: the last one was taken" in words(result)
    assert "01_OUTPUT_SIZE.ipynb appears twice: the last one was taken" in words(result)
    assert "a/b lies in a folder that is a file, too" in words(result)
    assert_only_innocents(course, result)


def bomb(files: int, mib: int) -> bytes:
    return zip_of({f"{number}.ipynb": bytes(mib << 20) for number in range(files)})


def lying_bomb() -> bytes:
    """Its directory and headers claim ten bytes; three MiB come out."""
    content = zip_of({"a.ipynb": bytes(3 << 20)})
    size = struct.pack("<I", 3 << 20)
    assert content.count(size) == 2
    return content.replace(size, struct.pack("<I", 10))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: bomb(1, 3), "unpacks to more than 2 MiB"),
        (lambda: bomb(5, 1), "unpacks to more than 2 MiB"),
        (lambda: zip_of({f"{number}.ipynb": b"" for number in range(2001)}), "holds more than 2000 files"),
        (lambda: packed({"a.ipynb": NOTEBOOK})[:-40], "is no whole zip file"),
        (lambda: b"PK\3\4 nothing", "is no whole zip file"),
        (lambda: b"", "is no whole zip file"),
    ],
)
def test_bombs_and_ruins_are_refused_with_a_reason(course: Path, content: object, reason: str) -> None:
    assert callable(content)
    result = collect(course, with_innocent(course, content()), "folder")
    assert result.exit_code == 3
    assert re.search(r"eve +– .* not collected", result.output)
    assert reason in words(result)
    assert not (course / "submitted" / "eve").exists()
    assert_only_innocents(course, result)


def test_bytes_are_counted_whatever_the_archive_claims(course: Path) -> None:
    result = collect(course, with_innocent(course, lying_bomb()), "folder")
    assert result.exit_code == 3
    assert "a.ipynb is damaged" in words(result)
    assert_only_innocents(course, result)


def test_a_directory_that_would_fill_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 0x7FFFFFFF, 0, 0)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4" + end)
    with pytest.raises(BadArchive, match="lists more than 2000 files"), open_source(tmp_path / "a.zip", None):
        pass
    record64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1 << 40, 0)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 0xFFFFFFFF, 0, 0)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4" + record64 + bytes(20) + end)
    with pytest.raises(BadArchive, match="lists more than 2000 files"), open_source(tmp_path / "a.zip", None):
        pass


def test_encrypted_files_are_named(course: Path) -> None:
    content = bytearray(zip_of({"01_output_size.ipynb": NOTEBOOK, "02.ipynb": b"2"}))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + at] |= 1
    result = collect(course, with_innocent(course, bytes(content)), "folder")
    assert collected(course, "eve") == {"02.ipynb": b"2"}
    assert "01_output_size.ipynb is encrypted: pack it without a password: left out" in words(result)
    assert_only_innocents(course, result)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_asks_for_memory_as_it_pleases_is_left_out(course: Path, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("01_output_size.ipynb", NOTEBOOK)
        made.writestr("02.ipynb", b"2", compress_type=method)
    result = collect(course, with_innocent(course, buffer.getvalue()), "folder")
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    assert "02.ipynb is compressed in a way that not every program can read" in words(result)


def test_damage_in_one_file_costs_that_file(course: Path) -> None:
    content = bytearray(zip_of({"01_output_size.ipynb": os.urandom(1000), "02.ipynb": b"2"}))
    content[500] ^= 0xFF
    result = collect(course, with_innocent(course, bytes(content)), "folder")
    assert result.exit_code == 0
    assert collected(course, "eve") == {"02.ipynb": b"2"}
    assert "01_output_size.ipynb is damaged" in words(result)
    assert_only_innocents(course, result)


def test_no_damage_to_an_archive_raises_anything_else(tmp_path: Path) -> None:
    """Bytes changed at random, and fields filled with extremes, which make zipfile raise OSError and IndexError."""
    draw = random.Random(0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        with made.open(zipfile.ZipInfo("a.ipynb"), "w", force_zip64=True) as file:
            file.write(bytes(50))
        made.writestr("b/c.txt", b"hello" * 20, compress_type=zipfile.ZIP_DEFLATED)
    seen = set()
    for _ in range(1500):
        damaged = bytearray(buffer.getvalue())
        for _ in range(draw.choice([1, 2, 8])):
            at = draw.randrange(len(damaged) - 8)
            values = [bytes([draw.randrange(256)]), b"\xff" * 8, bytes(8), b"\xff" * 7 + b"\x7f"]
            value = draw.choices(values, [8, 1, 1, 1])[0]
            damaged[at : at + len(value)] = value
        (tmp_path / "a.zip").write_bytes(damaged)
        try:
            with open_source(tmp_path / "a.zip", None) as source:
                for member in source.members:
                    try:
                        source.copy(member, tmp_path / "out", 1000)
                        seen.add("whole")
                    except BadFile:
                        seen.add("file")
                    (tmp_path / "out").unlink(missing_ok=True)
        except BadArchive:
            seen.add("archive")
    assert seen == {"whole", "file", "archive"}


def test_many_remarks_are_shortened_on_the_screen_and_whole_in_the_record(course: Path) -> None:
    content = zip_of({"01_output_size.ipynb": NOTEBOOK, **{f"../{number}": b"" for number in range(40)}})
    result = collect(course, with_innocent(course, content), "folder")
    assert "… and 28 more, see the record" in words(result)
    assert len([row for row in record(course) if row["kind"] == "remark"]) == 40


def test_a_damaged_last_archive_does_not_take_the_one_before_away(course: Path) -> None:
    whole = packed({"01_output_size.ipynb": NOTEBOOK})
    file = export(course, {"ada_1_1_cnn-submission.zip": whole, "ada_1_2_cnn-submission-1.zip": whole[:-30]})
    result = collect(course, file, "canvas")
    assert collected(course, "ada_1") == {"01_output_size.ipynb": NOTEBOOK}
    assert "ask the student for it again; the one before it was taken" in words(result)


@pytest.mark.parametrize(
    ("system", "member", "name"),
    [
        ("folder", "zoe.zip", "zoe.zip"),
        ("canvas", "zoe_5_9_cnn-submission-1.zip", "cnn-submission-1.zip"),
        ("moodle", "Zoe Z_5_assignsubmission_file/my work.zip", "my work.zip"),
    ],
)
def test_a_damaged_zip_is_called_as_it_was_uploaded(course: Path, system: str, member: str, name: str) -> None:
    """A TA looks for the file under that name, and so does the student who is asked for it again."""
    result = collect(course, export(course, {member: packed({"01_output_size.ipynb": NOTEBOOK})[:-40]}), system)
    assert result.exit_code == 3
    assert f" {name} is no whole zip file: ask the student for it again" in words(result)


def test_archives_are_unpacked_one_level_deep(course: Path) -> None:
    inner = packed({"02.ipynb": b"2"})
    content = zip_of(
        {"hw/01_output_size.ipynb": NOTEBOOK, "hw/inner.zip": inner, "__MACOSX/._x": b"", "hw/.DS_Store": b""}
    )
    result = collect(course, with_innocent(course, content), "folder")
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK, "inner.zip": inner}
    assert "inner.zip is an archive that was not unpacked" in words(result)


def test_a_zip_without_notebooks_stays_a_file(course: Path) -> None:
    pictures = zip_of({"a.png": b"png"})
    contents = {"Jane Doe_1_assignsubmission_file/pictures.zip": pictures}
    contents["Jane Doe_1_assignsubmission_file/01_output_size.ipynb"] = NOTEBOOK
    result = collect(course, export(course, contents), "moodle")
    assert set(collected(course, "jane_doe_1")) == {"pictures.zip", "01_output_size.ipynb"}
    assert "pictures.zip is an archive that was not unpacked" in words(result)


def test_markup_and_formulas_in_names_stay_text(course: Path) -> None:
    file = export(course, {"ada_1_1_[red]x.ipynb": NOTEBOOK, "=HYPERLINK(1)": b"", "ada_1_2_=1+1.ipynb": NOTEBOOK})
    result = collect(course, file, "canvas")
    assert "=HYPERLINK(1): is not named as Canvas" in words(result)
    assert {"[red]x.ipynb", "=1+1.ipynb"} == set(collected(course, "ada_1"))
    assert {row["original"] for row in record(course) if row["original"].startswith(("=", "'"))} == {
        "'=HYPERLINK(1)", "'=1+1.ipynb",
    }  # fmt: skip


# --- an export as a whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no zip", zip_of({"ada_1_1_a.ipynb": NOTEBOOK})[:-30]])
def test_a_truncated_export_is_one_message(course: Path, content: bytes) -> None:
    (course.parent / "export.zip").write_bytes(content)
    result = collect(course, course.parent / "export.zip", "canvas")
    assert result.exit_code == 1
    assert "export.zip is no whole zip file" in words(result)
    assert "download the export again" in words(result)
    assert not (course / ".autograder").exists()


@pytest.mark.parametrize(
    ("names", "system", "message"),
    [
        (
            ["Jane Doe_1_assignsubmission_file/a.ipynb"],
            "canvas",
            "is no export of the form 'canvas': try --from moodle",
        ),
        (["doejane_4711_1_a.ipynb"], "moodle", "is no export of the form 'moodle': try --from canvas"),
        (["a.ipynb"], "canvas", "holds no submission of the form 'canvas': a.ipynb is not named as Canvas names"),
        ([], "canvas", "is empty: download the export again"),
    ],
)
def test_an_export_of_another_form_is_recognised(course: Path, names: list[str], system: str, message: str) -> None:
    result = collect(course, export(course, dict.fromkeys(names, NOTEBOOK)), system)
    assert result.exit_code == 1
    assert message in words(result)


def test_a_full_disk_stops_with_what_was_done_and_a_remedy(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second student's folder cannot be put into its place: the first one's stays, the older one is put back."""
    names = {f"{student}/01_output_size.ipynb": NOTEBOOK for student in ("ada", "bo")}
    (course / "submitted" / "bo" / "cnn").mkdir(parents=True)
    (course / "submitted" / "bo" / "cnn" / "before.txt").write_text("before")
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if Path(source).name == "submission" and Path(target).parent.name == "bo":
            raise OSError(28, "No space left on device", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    result = collect(course, export(course, names), "folder")
    assert result.exit_code == 1
    assert "stopped at bo: No space left on device" in words(result)
    assert collected(course, "ada") == {"01_output_size.ipynb": NOTEBOOK}
    assert collected(course, "bo") == {"before.txt": b"before"}
    assert [row["student"] for row in record(course) if row["kind"] == "upload"] == ["ada"]


# --- names, for any input ---------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@given(TEXT)
def test_an_accepted_name_never_leaves_its_folder(name: str) -> None:
    parts = name.split("/")
    if not archive.name_problem(parts):
        place = Path("/base/folder")
        assert place in Path(os.path.normpath(place / name)).parents
        assert name.isprintable()


@given(st.text(max_size=40), st.sampled_from(["canvas", "moodle"]), st.text("0123456789", min_size=1, max_size=9))
def test_ids_made_from_any_name_are_fit_for_nbgrader(name: str, system: str, number: str) -> None:
    student = student_of(Person(system, number, name), intake.Roster())
    assert not id_problem(student)
    assert student == student_of(Person(system, number, name), intake.Roster())


@given(
    st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=10),
    st.booleans(),
    st.integers(0, 10**10),
    st.integers(0, 10**12),
    st.from_regex(r"[A-Za-z][\w .-]{0,20}\.ipynb", fullmatch=True),
)
def test_canvas_names_are_taken_apart_as_they_were_put_together(
    name: str, late: bool, user: int, file: int, original: str
) -> None:
    full = "_".join([name, *(["LATE"] if late else []), str(user), str(file), original])
    found = sort_canvas([Member(0, full)], lambda _: False)
    if name == "anon":
        return
    [(person, [upload])] = found.uploads.items()
    assert (person.id, person.name, upload.marked_late, upload.order) == (str(user), name, late, file)
    assert upload.name == original


@given(st.from_regex(r"[a-z_0-9]{1,12}(\.tar)?\.[a-z]{1,5}", fullmatch=True), st.integers(1, 7))
def test_canvas_suffixes_come_off_towards_known_names_only(name: str, number: int) -> None:
    stem, _, extensions = name.partition(".")
    renamed = f"{stem}-{number}.{extensions}"
    assert without_suffix(renamed, {name}.__contains__) == name
    assert without_suffix(renamed, {"other"}.__contains__) == renamed
    assert without_suffix(renamed, {name, renamed}.__contains__) == renamed


@given(st.lists(st.text("abc/.\\\0\n", max_size=8), max_size=8))
def test_any_list_of_names_is_sorted_without_an_error(names: list[str]) -> None:
    members = archive._checked([Member(i, name) for i, name in enumerate(names)], 200)
    usable = [member.name for member in members if not member.problem]
    assert len({archive.fold(name) for name in usable}) == len(usable)
    sort_canvas(members, lambda _: False)
    sort_moodle(members)
    sort_folder(members, "cnn", lambda _: False, zipped=True)


@pytest.mark.parametrize(
    ("roster_name", "canvas"),
    [
        ("Ada Lovelace", "lovelaceada"),
        ("Lovelace, Ada", "lovelaceada"),
        ("Guido van Rossum", "vanrossumguido"),
        ("Ann-Marie O'Neil", "oneilannmarie"),
        ("José Ñuñez", "ñuñezjosé"),
    ],
)
def test_names_are_compared_as_canvas_squashes_them(roster_name: str, canvas: str) -> None:
    assert squash(canvas) in roster.spellings(roster_name)


def test_an_empty_roster_name_matches_nobody(tmp_path: Path) -> None:
    students = intake.read_roster(write(tmp_path / "r.csv", "student,canvas_id,name\nada,,\n"))
    with pytest.raises(Unmatched):
        student_of(Person("canvas", "", ""), students)


def test_the_local_time_zone_knows_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        summer = in_zone(datetime(2026, 7, 1, 12), None)
        winter = in_zone(datetime(2026, 12, 1, 12), None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (summer.utcoffset(), winter.utcoffset()) == (timedelta(hours=2), timedelta(hours=1))


def test_wrapped_folders_are_told_from_students() -> None:
    def people(*names: str) -> set[str]:
        members = [Member(i, name) for i, name in enumerate(names)]
        return {p.name for p in lms_names.sort_folder(members, "cnn", lambda _: False, zipped=True).uploads}

    assert people("hw/ada/01.ipynb", "hw/bo/01.ipynb") == {"ada", "bo"}
    assert people("hw/ada.zip", "hw/bo.zip") == {"ada", "bo"}
    assert people("ada/01.ipynb") == {"ada"}
    assert people("ada/cnn/01.ipynb") == {"ada"}
    assert people("ada/cnn-submission.zip") == {"ada"}
    assert people("ada/01.ipynb", "bo.zip") == {"ada", "bo"}


# --- one student's errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["timestamp.txt/x"],
        ["TimeStamp.TXT/deep/down/x"],
        ["submission_secret.txt/x", "Timestamp.txt"],
        ["timestamp.txt", "timestamp.txt/x"],
        ["a", "A/b", "a/c/d"],
        ["cnn/timestamp.txt/x", "cnn/cnn/x"],
        ["n" * 200 + "/" + "m" * 200],
        ["/".join(["\N{GRINNING FACE}" * 60] * 3)],
        ["receipt.json/x", "Receipt.json"],
    ],
)
def test_names_in_one_archive_stop_nobody_elses(course: Path, names: list[str]) -> None:
    """Each of these asks for a file where a folder lies, or the other way round, or for a path that is too long."""
    content = zip_of({**dict.fromkeys(names, b"x"), "01_output_size.ipynb": NOTEBOOK})
    for _ in range(2):  # what was collected must not be in the way of the next time
        result = collect(course, with_innocent(course, content), "folder")
        assert result.exit_code == 0, result.output
        assert collected(course, "eve")["01_output_size.ipynb"] == NOTEBOOK
        assert not (course / "submitted" / "eve" / "cnn" / "timestamp.txt").is_dir()
        assert_only_innocents(course, result)


@pytest.mark.parametrize("names", [["timestamp.txt/x"], ["TIMESTAMP.TXT"], ["a/b", "a"], ["b", "b/c"]])
def test_names_of_loose_files_stop_nobody_elses(course: Path, names: list[str]) -> None:
    loose = {f"eve/{name}": b"x" for name in [*names, "01_output_size.ipynb"]}
    file = export(course, {**loose, "zoe.zip": packed({"01_output_size.ipynb": NOTEBOOK})})
    result = collect(course, file, "folder")
    assert result.exit_code == 0, result.output
    assert_only_innocents(course, result)


def test_an_honest_file_beside_a_reserved_name_is_kept(course: Path) -> None:
    files = {"01_output_size.ipynb": NOTEBOOK, "logs/timestamp.txt": b"mine", "timestamp.txt.bak": b"mine"}
    collect(course, with_innocent(course, zip_of(files)), "folder")
    assert collected(course, "eve") == files


def in_the_way(place: Path, kind: str) -> None:
    """Put something in the place of a student's folder."""
    place.parent.mkdir(parents=True)
    if kind == "a file":
        place.write_text("older")
    elif kind == "a pipe":
        os.mkfifo(place)
    elif kind == "a folder with a pipe for its time":
        place.mkdir()
        os.mkfifo(place / "timestamp.txt")
    elif kind == "a folder with a folder for its time":
        (place / "timestamp.txt").mkdir(parents=True)
    else:
        place.mkdir()
        (place / "timestamp.txt").write_text("2026-11-30 12:00:00.0 /dev/stdin")


@pytest.mark.parametrize(
    "kind",
    [
        *("a file", "a pipe", "a folder with a pipe for its time"),
        *("a folder with a folder for its time", "a folder with a path for its time zone"),
    ],
)
def test_whatever_lies_in_a_students_place_is_moved_away_whole(course: Path, kind: str) -> None:
    place = course / "submitted" / "eve" / "cnn"
    in_the_way(place, kind)
    before = place.lstat().st_ino
    result = collect(course, with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK})), "folder")
    assert result.exit_code == 0, result.output
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    (kept,) = (course / ".autograder" / "intake" / "replaced" / "cnn" / "eve").iterdir()
    assert kept.lstat().st_ino == before
    assert_only_innocents(course, result)


@pytest.mark.parametrize("link", ["eve", "eve/cnn"])
def test_a_link_in_a_students_place_is_not_followed(course: Path, tmp_path: Path, link: str) -> None:
    """What it points to may be another student's folder, or the course's source."""
    other = tmp_path / "course" / "source" / "cnn"
    other.mkdir(parents=True)
    (other / "precious.ipynb").write_text("precious")
    place = course / "submitted" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(other.parent if link == "eve" else other)
    result = collect(course, with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK})), "folder")
    assert result.exit_code == 3
    assert "a symbolic link: put the folder itself in its place" in words(result)
    assert place.is_symlink()
    assert [path.name for path in other.iterdir()] == ["precious.ipynb"]
    shutil.rmtree(course / "source")
    assert_only_innocents(course, result)
    refused = [row for row in record(course) if row["student"] == "eve"]
    assert {row["verdict"] for row in refused if row["kind"] == "upload"} == {"not collected"}
    assert any("a symbolic link" in row["remark"] for row in refused)


def test_a_file_in_the_place_of_a_student_is_their_trouble_only(course: Path) -> None:
    (course / "submitted").mkdir()
    (course / "submitted" / "eve").write_text("a note")
    result = collect(course, with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK})), "folder")
    assert result.exit_code == 3
    assert "eve" in result.output
    assert (course / "submitted" / "eve").read_text() == "a note"
    assert_only_innocents(course, result)


def test_a_folder_that_cannot_be_moved_stays_whole(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where something is mounted on it: what `shutil.move` would copy and then delete stays as it is."""
    collect(course, with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK})), "folder")
    older = course / "submitted" / "eve" / "cnn"
    rename = os.rename

    def refuse(source: object, target: object) -> None:
        if Path(str(source)) == older:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source))
        rename(str(source), str(target))

    monkeypatch.setattr(os, "rename", refuse)
    newer = packed({"01_output_size.ipynb": NOTEBOOK + b" "})
    file = export(course, {"eve.zip": newer, "zoe.zip": packed({"01_output_size.ipynb": NOTEBOOK})})
    result = collect(course, file, "folder")
    assert result.exit_code == 3
    assert "Device or resource busy" in words(result)
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK}
    assert_only_innocents(course, result)


def test_an_older_folder_is_kept_beside_where_the_staffs_lies_on_another_disk(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(course, with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK})), "folder")
    os.mkfifo(course / "submitted" / "eve" / "cnn" / "pipe")  # which no copy would take along
    rename = os.rename

    def refuse(source: object, target: object) -> None:
        crosses = (".autograder" in Path(str(source)).parts) is not (".autograder" in Path(str(target)).parts)
        if crosses:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
        rename(str(source), str(target))

    monkeypatch.setattr(os, "rename", refuse)
    newer = packed({"01_output_size.ipynb": NOTEBOOK + b" "})
    file = export(course, {"eve.zip": newer, "zoe.zip": packed({"01_output_size.ipynb": NOTEBOOK})})
    result = collect(course, file, "folder")
    assert result.exit_code == 0, result.output
    assert collected(course, "eve") == {"01_output_size.ipynb": NOTEBOOK + b" "}
    (kept,) = (course / "submitted" / "eve" / ".replaced").iterdir()
    assert {path.name for path in kept.iterdir()} == {"01_output_size.ipynb", "pipe", "timestamp.txt"}
    assert "could not be moved to another disk" in words(result)
    assert {path.name for path in (course / "submitted" / "eve").iterdir()} == {"cnn", ".replaced"}


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EIO", "EDQUOT", "EMFILE"])
def test_an_error_of_the_machine_stops_the_run(course: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def give_out(*_: object, **__: object) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), "/disk")

    monkeypatch.setattr(placing, "write_files", give_out)
    result = collect(course, with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK})), "folder")
    assert result.exit_code == 1
    assert "stopped at eve" in words(result)
    assert not (course / "submitted").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENAMETOOLONG, "File name too long", "x"), KeyError("our own slip")])
def test_any_other_error_costs_one_student(course: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    written = write_files

    def stumble(done: SubmissionDraft, target: Path) -> None:
        if "evil.txt" in done.files:
            raise error
        written(done, target)

    monkeypatch.setattr(placing, "write_files", stumble)
    content = packed({"01_output_size.ipynb": NOTEBOOK, "evil.txt": b""})
    result = collect(course, with_innocent(course, content), "folder")
    assert result.exit_code == 3
    assert reason_of(error)[:40] in words(result)
    assert not (course / "submitted" / "eve" / "cnn").exists()
    assert_only_innocents(course, result)


AS_SOMEBODY = """
import sys
from autograder.cli import main as cli
cli.main(["collect", "export.zip", "--from", "folder", "--course", "course"])
"""


def test_a_closed_folder_is_one_students_trouble() -> None:
    """As root nothing is closed, so this runs as an ordinary user."""
    with ordinary_user() as user:
        course = user.home / "course"
        course.mkdir()
        (course / "grader_config.py").write_text(CONFIG)
        (course / "test_a.py").write_text("")
        shutil.copyfile(ROOT / "nbgrader_config.py", course / "nbgrader_config.py")
        place = course / "submitted" / "eve" / "cnn"
        place.mkdir(parents=True)
        (place / "01_output_size.ipynb").write_text("older")
        with_innocent(course, packed({"01_output_size.ipynb": NOTEBOOK}))
        user.give(user.home)
        for closed in (place, place.parent):
            closed.chmod(0)
            done = user.run(sys.executable, "-c", AS_SOMEBODY)
            closed.chmod(0o755)
            assert done.returncode == 3, done.stderr
            assert "Permission denied" in done.stdout
            assert (place / "01_output_size.ipynb").read_text() == "older"
            assert collected(course, "zoe") == {"01_output_size.ipynb": NOTEBOOK}


def test_a_students_many_files_use_up_nobody_elses_room(course: Path, tmp_path: Path) -> None:
    """A virtual environment, say: its files come before the notebook by name, and there are more than may be taken."""
    folder = tmp_path / "in"
    for number in range(2100):
        name = folder / "eve" / "cnn" / ".venv" / f"{number // 500}" / f"{number}.py"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text("")
    for student in ("eve", "zoe"):
        (folder / student / "cnn").mkdir(parents=True, exist_ok=True)
        (folder / student / "cnn" / "01_output_size.ipynb").write_bytes(NOTEBOOK)
    result = collect(course, folder, "folder")
    assert "01_output_size.ipynb" in collected(course, "eve")
    assert len(collected(course, "eve")) == 2000
    assert "is one of more than 2000 files: left out" in words(result)
    assert collected(course, "zoe") == {"01_output_size.ipynb": NOTEBOOK}


def test_files_from_beyond_all_calendars_are_collected(course: Path, tmp_path: Path) -> None:
    for student in ("eve", "zoe"):
        (tmp_path / "in" / student).mkdir(parents=True)
        (tmp_path / "in" / student / "01_output_size.ipynb").write_bytes(NOTEBOOK)
    try:
        os.utime(tmp_path / "in" / "eve" / "01_output_size.ipynb", (2**40, 2**40))
    except OverflowError:
        pytest.skip("this file system knows no such time")
    result = collect(course, tmp_path / "in", "folder")
    assert result.exit_code == 0, result.output
    assert collected(course, "eve") == collected(course, "zoe") == {"01_output_size.ipynb": NOTEBOOK}


def test_what_is_said_of_one_student_is_bounded(course: Path) -> None:
    """2,000 files that cannot be taken, with long names: neither the screen nor the record is filled by them."""
    names = {f"{'x' * 180}{number:04d}/../y.ipynb": b"" for number in range(1900)}
    result = collect(course, with_innocent(course, zip_of({"01_output_size.ipynb": NOTEBOOK, **names})), "folder")
    assert len(result.output) < 20_000
    rows = [row for row in record(course) if row["student"] == "eve"]
    assert len([row for row in rows if row["kind"] == "remark"]) == 201
    assert rows[-1]["remark"] == "… and 1,700 more"
    only = zip_of(names)
    result = collect(course, with_innocent(course, only), "folder")
    assert "holds no file that can be taken" in words(result)
    assert max(len(row["remark"]) for row in record(course)) < 1000
