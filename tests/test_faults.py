"""Whatever a machine does to grading, grading again gives what an undisturbed run gives (all of it: `make faults`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory

from autograder.core.files import PART_SECONDS, remove_parts
from autograder.core.grade_report import CheckResult, GradeReport, Status
from autograder.core.scratch import IN_USE, remove_abandoned, scratch_folder
from autograder.course.folder import open_course
from autograder.course.lock import CourseBusy, lock_course
from autograder.course.report_store import BrokenReport, load_report, load_reports, report_path, save_report
from autograder.jail import Frame
from autograder.pipeline.cache import Cache
from autograder.pipeline.secret import BrokenSecret, read_secret
from tests import tiny_course
from tests.conftest import nbgrader
from tools import faults


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> faults.Scene:
    return faults.build_scene(tmp_path_factory.mktemp("faults"), seed=1, kills=1, steps=3, with_network=False)


@pytest.fixture(scope="module")
def scene_with_network(tmp_path_factory: pytest.TempPathFactory) -> faults.Scene:
    return faults.build_scene(tmp_path_factory.mktemp("network"), seed=2, kills=10, steps=20)


def test_a_killed_grader_leaves_old_marks_or_new_ones_and_the_next_run_does_the_rest(scene: faults.Scene) -> None:
    assert faults.kill_at_steps(scene).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: str(fault.__name__))
def test_nothing_is_lost(scene_with_network: faults.Scene, fault: Callable[[faults.Scene], faults.Seen]) -> None:
    seen = faults.try_fault(fault, replace(scene_with_network))
    if seen.skipped:
        pytest.skip(seen.words)
    assert seen.problems == []


def test_plain_nbgrader_grades_again_what_is_half_written_or_newer_than_its_clock_says(scene: faults.Scene) -> None:
    root = scene.place / "half"
    shutil.copytree(scene.after, root, symlinks=True)
    shown = root / "autograded" / "cy" / tiny_course.ASSIGNMENT / "01_sums.ipynb"
    shown.chmod(0o644)
    shown.write_text(shown.read_text()[:100])
    for step, stamp in (("submitted", "2026-01-01 10:00:00 UTC"), ("autograded", "2031-01-01 10:00:00 UTC")):
        (root / step / "bo" / tiny_course.ASSIGNMENT / "timestamp.txt").write_text(stamp)
    tiny_course.hand_in(root, "bo", "50", None, "As I said.")
    done = nbgrader(root, "autograde", tiny_course.ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    assert "Skipping existing assignment" in done.stderr  # ada and dee stand
    found = faults.outcome(root)
    assert found.shown.keys() == scene.new.shown.keys() - {"bo/tiny/02_doubles.ipynb"}
    assert found.marks["bo"]["02_doubles", "doubles-tests"][0] == 0
    assert {student: found.marks[student] for student in ("ada", "cy", "dee")} == {
        student: scene.new.marks[student] for student in ("ada", "cy", "dee")
    }


def test_formgraders_button_gives_the_right_to_grade_back(scene: faults.Scene) -> None:
    """Its process lives on, and would lock out whoever grades in a terminal."""
    root = scene.copy()
    configured = open_course(root).app.config
    api = NbGraderAPI(config=configured, coursedir=CourseDirectory(config=configured, root=str(root)))
    for student in ("ada", "bo"):
        done = api.autograde(tiny_course.ASSIGNMENT, student)
        assert done["success"], done
        with lock_course(root) as lock:
            assert lock.is_own
    assert faults.outcome(root).marks["ada"] == scene.new.marks["ada"]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A course in which another process grades."""
    root = tmp_path / "course"
    root.mkdir()
    code = f"from pathlib import Path; from autograder.course.lock import lock_course; lock_course(Path({str(root)!r}))"
    command = [sys.executable, "-c", f"{code}; print(1, flush=True); input()"]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    yield root, other
    other.kill()
    other.communicate()


def test_the_second_grader_stops_and_names_the_first(busy: tuple[Path, subprocess.Popen[str]]) -> None:
    root, other = busy
    with pytest.raises(CourseBusy, match=f"process {other.pid}, .* wait until it has ended, then run this again"):
        lock_course(root)


def test_a_killed_grader_locks_nobody_out(busy: tuple[Path, subprocess.Popen[str]]) -> None:
    root, other = busy
    other.kill()
    other.wait()
    with lock_course(root), lock_course(root):  # within one process, a batch and the exporter that it starts
        assert f"process {os.getpid()}," in (root / ".autograder" / "lock").read_text()


def some_report(student: str = "ada") -> GradeReport:
    check = CheckResult("01", "tests", "test_it", "It holds", 3.0, 3.0, Status.PASSED)
    return GradeReport(student, "tiny", [check], cells={"01": {"tests": 3.0}}, facts={"engine": "1"})


@pytest.mark.parametrize("kept", [1, 2])
def test_frames_that_are_cut_off_between_two_records_count_as_absent(tmp_path: Path, kept: int) -> None:
    """A notebook whose last records are missing would look as if its process had died."""
    cache = Cache(tmp_path)
    cache.save_frames("key", [Frame({"kind": "cell"}, b"x" * 9), Frame({"kind": "ended"}, b"")])
    assert [frame.header["kind"] for frame in cache.load_frames("key") or []] == ["cell", "ended"]
    path = tmp_path / "key.frames"
    records = path.read_bytes().split(b"{")
    path.write_bytes(b"{".join(records[:kept]))
    assert cache.load_frames("key") is None


def test_an_entry_under_another_key_counts_as_absent(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.save_report("ada", some_report())
    cache.save_frames("ada", [Frame({"kind": "ended"}, b"")])
    shutil.copyfile(tmp_path / "ada.report.json", tmp_path / "bo.report.json")
    shutil.copyfile(tmp_path / "ada.frames", tmp_path / "bo.frames")
    assert (cache.load_report("bo"), cache.load_frames("bo")) == (None, None)


@pytest.mark.parametrize(
    "content",
    ["", "5", "null", '"report"', "[]", "[" * 100_000, '{"checks": []}']
    + [some_report().to_json().replace(*change) for change in ((": 3.0", ': "3"'), ('"1"', "1"), ('"ada"', '"bo"'))],
)
def test_a_report_that_is_none_or_of_another_student_is_named_and_graded_again(tmp_path: Path, content: str) -> None:
    save_report(tmp_path, some_report())
    known = load_report(tmp_path, "tiny", "ada")
    assert known is not None
    assert known.to_json() == some_report().to_json()
    report_path(tmp_path, "tiny", "ada").write_text(content)
    assert load_report(tmp_path, "tiny", "ada") is None
    with pytest.raises(BrokenReport, match=r"cannot be read as a report of ada .* delete it and grade ada again"):
        load_reports(tmp_path, "tiny")


@pytest.mark.parametrize("content", ["", "00ff", "no digits"])
def test_a_secret_that_everybody_could_know_is_refused(tmp_path: Path, content: str) -> None:
    read_secret(tmp_path)
    (tmp_path / ".autograder" / "secret").write_text(content)
    with pytest.raises(BrokenSecret, match="must hold 64 hexadecimal digits, and does not: put back a copy, or delete"):
        read_secret(tmp_path)


def test_what_killed_graders_left_is_removed_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned = tmp_path / "autograder-abandoned"
    (abandoned / "files").mkdir(parents=True)
    (abandoned / IN_USE).touch()
    parts = [tmp_path / name for name in (".part-young", ".part-old")]
    for path in parts:
        path.touch()
    os.utime(parts[1], (time.time() - PART_SECONDS - 1,) * 2)
    with scratch_folder() as mine:
        remove_abandoned()
        remove_parts(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".part-young", mine.name]
