"""A submission's folder as an attack: what is in it is neither followed, nor copied beyond measure, nor in the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.core.config import Limits
from autograder.core.files import remove_parts
from autograder.core.notes import Note, NoteKind
from autograder.core.remarks import MOST_REMARKS
from autograder.handin.content import content_digest
from autograder.handin.finder import find_notebooks
from autograder.handin.quarantine import MOST_FILES, Surroundings, quarantine, read_list
from autograder.handin.submission import CourseFiles, read_submission, stage
from autograder.handin.walk import MOST_NESTED, walk
from autograder.jail import Frame, FrameReader, find_isolation, start
from autograder.jail.sandbox import SUBMISSION
from tests import tiny_course
from tests.ordinary_user import ROOT, ordinary_user

LIMITS = Limits()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a student handed in, for now one file that must survive everything."""
    made = tmp_path / "submitted" / "mallory" / "tiny"
    made.mkdir(parents=True)
    (made / "mine.txt").write_text("mine")
    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".autograder" / "quarantine" / "tiny" / "mallory"


def names(folder: Path) -> list[str]:
    return sorted(name for name, _ in walk(folder))


def test_a_link_that_was_set_aside_is_not_walked_through_later(folder: Path, place: Path, tmp_path: Path) -> None:
    """Handing in `d` -> the course, and then `d/gradebook.db` as a link, would have replaced the real gradebook."""
    gradebook = tmp_path / "gradebook.db"
    gradebook.write_text("marks")
    (folder / "d").symlink_to(tmp_path)
    quarantine(folder, place, LIMITS)
    (folder / "d").mkdir()
    (folder / "d" / "gradebook.db").symlink_to("/dev/null")
    notes = quarantine(folder, place, LIMITS)
    assert not gradebook.is_symlink()
    assert gradebook.read_text() == "marks"
    assert [note.text for note in notes] == [
        f"`{name}` is a symbolic link: set aside, not graded" for name in ("d", "d/gradebook.db")
    ]


def test_a_folder_and_a_link_of_one_name_are_set_aside_one_after_the_other(folder: Path, place: Path) -> None:
    (folder / "d").mkdir()
    (folder / "d" / "link").symlink_to("/etc/passwd")
    quarantine(folder, place, LIMITS)
    (folder / "d").rmdir()
    (folder / "d").symlink_to("/etc")
    quarantine(folder, place, LIMITS)
    assert names(folder) == ["mine.txt"]
    assert [os.readlink(one.kept) for one in read_list(place)] == ["/etc/passwd", "/etc"]


def test_links_pipes_and_sockets_are_set_aside_on_another_disk_too(folder: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == folder.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path has little room
        listening.bind("socket")
        os.chdir(here)
    place = other / f"autograder-{os.getpid()}"
    try:
        notes = quarantine(folder, place, LIMITS)
        assert quarantine(folder, place, LIMITS) == notes
        assert all(os.path.lexists(one.kept) for one in read_list(place))
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)
    assert len(notes) == 3
    assert names(folder) == ["mine.txt"]


def nest(folder: Path, depth: int) -> None:
    """A folder in a folder in a folder …, by descriptors, since the path would be too long."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.close(at)


@pytest.fixture
def deep(folder: Path) -> Iterator[Path]:
    nest(folder, 2100)  # more characters than a path may have; removing 10,000 takes half a minute
    yield folder
    subprocess.run(["rm", "-rf", str(folder.parent.parent.parent)], check=True)  # pytest's own way ends in a recursion


def test_a_folder_two_thousand_deep_is_set_aside_as_one(deep: Path, place: Path, tmp_path: Path) -> None:
    (found,) = [name for name, _ in walk(deep) if name != "mine.txt"]
    assert found.count("/") == MOST_NESTED
    (tmp_path / "release").mkdir()
    assert find_notebooks(deep, tmp_path / "release").strangers == {}
    (note,) = quarantine(deep, place, LIMITS)
    assert "a folder that cannot be read or is nested too deep: set aside" in note.text
    assert names(deep) == ["mine.txt"]
    remove_parts(tmp_path / ".autograder")  # every later run of the grader looks through the staff's folder


def test_names_that_make_a_path_too_long_are_set_aside(folder: Path, place: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)
    for _ in range(20):
        os.mkdir("n" * 250)
        os.chdir("n" * 250)
    Path("f").write_text("")
    os.chdir(here)
    (note,) = quarantine(folder, place, LIMITS)
    assert len(note.text) < 300
    assert names(folder) == ["mine.txt"]
    subprocess.run(["rm", "-rf", str(place)], check=True)


def test_a_file_of_a_terabyte_of_nothing_is_not_read_to_see_whether_it_changed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one")
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(1 << 40)
    before = content_digest(tmp_path)
    assert before == content_digest(tmp_path)
    os.truncate(tmp_path / "large.bin", 1 << 41)
    grown = content_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("two")
    assert len({before, grown, content_digest(tmp_path), ""}) == 4


def test_a_file_of_a_terabyte_of_nothing_is_not_copied(folder: Path, place: Path, tmp_path: Path) -> None:
    with open(folder / "huge.bin", "wb") as file:
        file.truncate(1 << 40)
    began = time.monotonic()
    _, notes = stage(folder, tmp_path / "staged", LIMITS)
    assert [note.text for note in notes] == [
        "`huge.bin` (1048576 MiB) is larger than the 128 MiB that a file may have: left out"
    ]
    quarantine(folder, place, LIMITS)
    assert names(folder) == ["mine.txt"]  # nbgrader would have copied it twice
    assert time.monotonic() - began < 5


def test_a_flood_of_files_is_cut_off_and_told_in_few_words(folder: Path, place: Path) -> None:
    for number in range(MOST_FILES + 500):
        (folder / f"x{number}").touch()
    notes = quarantine(folder, place, LIMITS)
    assert len(names(folder)) == MOST_FILES
    assert len(notes) == MOST_REMARKS + 1
    assert notes[-1].text == "… and 481 more were set aside"


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("weights\x1b[2J.bin", False),
        ("two\nlines.txt", False),
        ("\u202egnp.exe", False),
        ("bad\udcff.txt", False),
        ("steer\x1b]8;;http:.ipynb", False),
        ("01\u00a0sums.ipynb", True),  # what a Mac's keyboard or an old zip program makes of a name
        ("L\udcf6sung.ipynb", True),
        ("Übung 1.txt", True),
        ("n" * 201, False),
    ],
)
def test_names_that_could_steer_a_terminal_do_not_reach_nbgrader(
    folder: Path, place: Path, name: str, stays: bool
) -> None:
    (folder / name).touch()
    notes = quarantine(folder, place, LIMITS)
    assert (name in names(folder)) is stays
    assert all(note.text.isprintable() for note in notes)


def test_a_hard_link_to_the_gradebook_is_set_aside_and_ones_own_are_not(
    folder: Path, place: Path, tmp_path: Path
) -> None:
    gradebook = tmp_path / "gradebook.db"
    gradebook.write_text("marks")
    os.link(gradebook, folder / "notes.db")
    os.link(folder / "mine.txt", folder / "same.txt")
    os.link(folder / "mine.txt", tmp_path / "backup.txt")  # as backups and deduplication make them
    notes = quarantine(folder, place, LIMITS, Surroundings(private=[gradebook, tmp_path / "absent"]))
    assert [note.text for note in notes] == [
        "`notes.db` is a hard link to a file of the course's staff: set aside, not graded"
    ]
    assert names(folder) == ["mine.txt", "same.txt"]
    assert gradebook.read_text() == "marks"


def test_a_folder_that_is_itself_a_link_is_not_touched(folder: Path, place: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    for entry, target in (("eve", folder.parent), ("ada/tiny", folder)):
        link = tmp_path / "submitted" / entry
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
        with pytest.raises(OSError, match="put the folder itself in its place"):
            quarantine(tmp_path / "submitted" / entry.split("/")[0] / "tiny", place, LIMITS)
    assert (folder / "link").is_symlink()


def course_files(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "kit.py").write_text("the course's")
    (source / "images" / "a.png").write_text("a picture")
    (source / "model.safetensors").write_text("weights that a trial of the source notebooks left")
    (source / "task.ipynb").write_text("{}")
    return source


def test_what_lies_in_the_way_of_the_courses_files_is_left_out(folder: Path, place: Path, tmp_path: Path) -> None:
    source = course_files(tmp_path)
    (folder / "kit.py").mkdir()
    (folder / "kit.py" / "mine.py").touch()
    (folder / "images").touch()
    (folder / "task.html").mkdir()
    (folder / "task.html" / "page").touch()
    files, _ = stage(folder, tmp_path / "staged", LIMITS, CourseFiles(source, ["model.safetensors"]))
    assert (tmp_path / "staged" / "kit.py").read_text() == "the course's"
    assert (tmp_path / "staged" / "images" / "a.png").is_file()
    assert sorted(files) == ["mine.txt", "task.html/page"]
    around = Surroundings(own=["kit.py", "images/a.png"], notebooks=["task"])
    notes = quarantine(folder, place, LIMITS, around)
    assert len(notes) == 3
    assert names(folder) == ["mine.txt"]


@pytest.mark.parametrize("name", ["kit/__init__.py", "kit.so", "kit.cpython-311-x86_64-linux-gnu.so", "kit.pyc"])
def test_no_file_hides_a_module_of_the_courses(folder: Path, place: Path, tmp_path: Path, name: str) -> None:
    """Python takes a package and a compiled module before the source that is laid over a student's own."""
    for above in ("", "handed-in/"):
        (folder / above / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / above / name).touch()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "kit.cpython-311.pyc").touch()  # as everybody has it
    files, _ = stage(folder, tmp_path / "staged", LIMITS, CourseFiles(course_files(tmp_path)), beside=["handed-in/"])
    assert name not in files
    quarantine(folder, place, LIMITS, Surroundings(own=["kit.py"]))
    assert names(folder) == ["__pycache__/kit.cpython-311.pyc", f"handed-in/{name}", "mine.txt"]


@pytest.mark.parametrize("text", ["soon", "9999-12-31 23:59:59.9 -1200", "1" * 5000, "\0", ""])
def test_a_timestamp_at_which_nbgrader_stops_is_set_aside(folder: Path, place: Path, text: str) -> None:
    (folder / "timestamp.txt").write_text("2026-11-02 09:30:00.123456 UTC")
    assert quarantine(folder, place, LIMITS) == []
    (folder / "timestamp.txt").write_text(text)
    assert quarantine(folder, place, LIMITS) == [
        Note("`timestamp.txt` holds no time: set aside, not graded", NoteKind.REFUSED)
    ]
    assert names(folder) == ["mine.txt"]


def test_the_courses_own_weights_are_never_laid_over_a_students(folder: Path, tmp_path: Path) -> None:
    """Trying the source notebooks leaves weights in source/: everybody would have been graded by those."""
    source = course_files(tmp_path)
    names_of_weights = ["model.safetensors", "model.pt"]
    files, _ = stage(folder, tmp_path / "without", LIMITS, CourseFiles(source, names_of_weights))
    assert "model.safetensors" not in files
    assert not (tmp_path / "without" / "model.safetensors").exists()
    (folder / "model.safetensors").write_text("the student's")
    files, _ = stage(folder, tmp_path / "with", LIMITS, CourseFiles(source, names_of_weights))
    assert files["model.safetensors"].path.read_text() == "the student's"


def test_files_that_lie_beside_a_notebook_in_a_folder_are_never_in_each_others_way(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "sub" / "a").mkdir(parents=True)
    (folder / "a").write_text("a file")
    (folder / "sub" / "a" / "b").write_text("in a folder")
    files, notes = stage(folder, tmp_path / "staged", LIMITS, beside=["sub/"])
    assert sorted(files) == ["a", "mine.txt", "sub/a/b"]
    assert notes == []


def test_a_folder_with_a_notebooks_name_is_no_notebook(folder: Path, tmp_path: Path) -> None:
    (folder / "01_sums.ipynb").mkdir()
    (folder / "01_sums.ipynb" / "x.txt").touch()
    release = tmp_path / "release"
    release.mkdir()
    (release / "01_sums.ipynb").write_text(json.dumps(tiny_course.sums("total = 1", "Why?")))
    submission = read_submission("mallory", folder, tmp_path / "staged", release, LIMITS)
    assert submission.unreadable == {"01_sums": "01_sums.ipynb was not handed in"}


AS_SOMEBODY = """
import json, sys
from pathlib import Path
from autograder.config import Limits
from autograder.handin.quarantine import quarantine
from autograder.handin.submission import stage
folder, work = map(Path, sys.argv[1:])
_, before = stage(folder, work / "before", Limits())
notes = quarantine(folder, work / "place", Limits())
files, after = stage(folder, work / "after", Limits())
print(json.dumps([[n.text for n in before], [n.text for n in notes], sorted(files), [n.text for n in after]]))
"""


def test_files_that_were_packed_without_rights_are_opened_up() -> None:
    """As root nothing is unreadable, so this runs as an ordinary user: whoever unpacks a zip owns what was in it."""
    with ordinary_user() as user:
        folder, work = user.home / "submitted" / "mallory" / "tiny", user.home / "work"
        (folder / "closed" / "inside").mkdir(parents=True)
        work.mkdir()
        for name in ("mine.txt", "closed/inside/weights.bin"):
            (folder / name).write_text("closed")
        (folder / "closed" / "inside" / "link").symlink_to("/etc/passwd")
        user.give(user.home)
        for name in ("mine.txt", "closed/inside/weights.bin", "closed/inside", "closed"):
            (folder / name).chmod(0)
        done = user.run(sys.executable, "-c", AS_SOMEBODY, folder, work, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    before, notes, files, after = json.loads(done.stdout)
    assert "`mine.txt` cannot be read (Permission denied): left out" in before
    assert notes == ["`closed/inside/link` is a symbolic link: set aside, not graded"]
    assert files == ["closed/inside/weights.bin", "mine.txt"]
    assert after == []


def test_a_folder_full_to_the_brim_is_the_students_and_not_the_machines_trouble(folder: Path, tmp_path: Path) -> None:
    """Small files take whole pages, and a file beyond the limit cannot be written: copying must never fail inside."""
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    limits = Limits(scratch_mib=8, file_mib=4)
    for number in range(1990):
        (folder / f"{number:04d}").write_text("1")
    for name in ("a", "b"):
        (folder / f"{name}.bin").write_bytes(bytes(5 << 20))
    (folder / "c.bin").write_bytes(bytes(3 << 20))
    files, _ = stage(folder, tmp_path / "staged", limits)
    assert "c.bin" not in files
    with start("launcher", limits, isolation, read_only={SUBMISSION: tmp_path / "staged"}, streams=2) as jail:
        jail.stdin.write(json.dumps({"notebooks": [], "checkpoint": None, "probe_seconds": 1}).encode())
        jail.stdin.close()
        frame = FrameReader(jail, 1 << 20).next(time.monotonic() + 60)
        trouble = jail.stderr_tail()
    assert isinstance(frame, Frame), trouble
    assert frame.header["kind"] == "ready"
