"""Levels of isolation: an ordinary user and root grade in a jail alike, and where there can be none, nobody does."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autograder.core.grade_report import GradeReport, Status
from autograder.course import report_store
from tests import tiny_course
from tests.ordinary_user import UID, User, ordinary_user
from tools.samples import executable

AUTOGRADER, NBGRADER = executable("autograder"), executable("nbgrader")

LOOK_AROUND = """
import json, os, subprocess, time
total = 50
def attempt(function):
    try:
        function()
    except BaseException as error:
        return type(error).__name__
    return "done"
def fork_on():
    children = []
    try:
        while len(children) < 1000:
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uid": os.getuid(), "groups": os.getgroups(), "uid_map": open("/proc/self/uid_map").read().split(),
    "capabilities": [status[name].strip() for name in ("CapPrm", "CapEff", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"].strip(), "seccomp": status["Seccomp"].strip(),
    "sysctl": attempt(lambda: open("/proc/sys/vm/swappiness", "w")),
    "become_root": attempt(lambda: os.setuid(0)),
    "forks": attempt(fork_on),
    "there": [path for path in PATHS if os.path.exists(path)],
    "homes": sorted(os.listdir("/home")),
    "environment": sorted(os.environ),
}))
"""


def make_course(root: Path, private: Path) -> None:
    """The tiny course, which asks for a jail, with one submission that looks around in it."""
    tiny_course.make(root)
    config = root / "grader_config.py"
    text = config.read_text().replace('isolation="none"', 'isolation="bubblewrap"')
    limits = "Limits(cell_seconds=60, notebook_seconds=90, submission_seconds=180, processes=40)"
    config.write_text(re.sub(r"Limits\(.*\)", limits, text))
    paths = [str(root), str(private), "/etc/shadow", "/etc/hostname", str(root / "gradebook.db")]
    source = LOOK_AROUND.replace("PATHS", repr(paths))
    folder = tiny_course.hand_in(root, "ada", "50")
    (folder / "01_sums.ipynb").write_text(json.dumps(tiny_course.sums(source, "Why?")))


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with ordinary_user() as found:
        yield found


@pytest.fixture(scope="module")
def course(user: User) -> Path:
    """A course that the ordinary user owns; the submissions too. Nothing is graded in it yet."""
    root, private = user.home / "course", user.home / "private.txt"
    private.write_text("mine")
    make_course(root, private)
    user.give(user.home)
    return root


@pytest.fixture
def fresh(user: User, course: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    root = user.home / tmp_path.name
    shutil.copytree(course, root)
    user.give(root)
    return root


def report_of(root: Path) -> GradeReport:
    (report,) = report_store.load_reports(root, tiny_course.ASSIGNMENT)
    return report


def seen(report: GradeReport) -> dict[str, Any]:
    (run,) = [run for run in report.notebooks if run.notebook == "01_sums"]
    text = "".join(output.get("text", "") for cell in run.cells for output in cell.outputs)
    found: dict[str, Any] = json.loads(text)
    return found


def check_what_was_seen(report: GradeReport) -> dict[str, Any]:
    """What holds for a jail whoever grades."""
    assert report.facts["isolation"].startswith("bubblewrap"), report.facts
    assert {check.status for check in report.checks} == {Status.PASSED}
    found = seen(report)
    assert found["uid"] != 0
    assert set(found["groups"]) <= {65534, found["uid"]}
    assert set(found["capabilities"]) == {"0" * 16}
    assert found["no_new_privileges"] == "1"
    assert found["sysctl"] in ("PermissionError", "OSError")
    assert found["become_root"] in ("PermissionError", "OSError")
    assert found["forks"] == "BlockingIOError"  # the limit on processes bites
    assert found["there"] == []
    assert found["homes"] == ["student"]
    return found


def test_an_ordinary_user_grades_in_a_user_namespace(user: User, fresh: Path) -> None:
    done = user.run(AUTOGRADER, "grade", "--course", fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    found = check_what_was_seen(report_of(fresh))
    inside, outside, length = found["uid_map"][:3]
    assert (int(inside), int(length), len(found["uid_map"])) == (65534, 1, 3)  # nobody else exists in there
    assert int(outside) in (UID, os.getuid())
    assert "HOME" in found["environment"]
    assert "TMPDIR" not in found["environment"]


@pytest.mark.slow  # tests/test_jail.py looks at the jail as whoever runs it
@pytest.mark.skipif(os.geteuid() != 0, reason="the tests are not run as root")
def test_root_grades_under_another_uid_without_a_name(fresh: Path) -> None:
    done = subprocess.run([AUTOGRADER, "grade", "--course", fresh], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = check_what_was_seen(report_of(fresh))
    assert found["uid"] >= 200_000


def recorded(root: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(root / "gradebook.db")) as database:
        return database.execute("select * from submitted_assignment").fetchall()


def test_doctor_names_what_is_missing_and_the_remedy(user: User, course: Path) -> None:
    done = user.run(AUTOGRADER, "doctor", "--course", course, namespaces=False)
    assert done.returncode == 1, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    assert "isolation missing" in words
    assert "namespace" in words
    # In a container the remedy is the container's own.
    assert re.search(r"sysctl user\.max_user_namespaces|--security-opt|securityContext", words)
    assert "--isolation=none" in words
    assert "Grading cannot work on this machine yet." in done.stderr


@pytest.mark.parametrize("command", [[AUTOGRADER, "grade"], [NBGRADER, "autograde", tiny_course.ASSIGNMENT]])
def test_without_namespaces_nothing_is_graded_and_nothing_recorded(
    user: User, course: Path, command: list[str]
) -> None:
    done = user.run(*command, cwd=course, namespaces=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "student code cannot be isolated here" in done.stderr
    assert "--isolation=none" in done.stderr
    assert recorded(course) == []
    assert report_store.load_reports(course, tiny_course.ASSIGNMENT) == []
    assert not (course / "autograded").exists()
    assert "Traceback" not in done.stderr


def test_without_a_jail_by_choice_every_report_says_so(user: User, fresh: Path) -> None:
    user.give(tiny_course.hand_in(fresh, "ada", "50"))
    done = user.run(AUTOGRADER, "grade", "--isolation", "none", cwd=fresh, namespaces=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none: student code ran with the grader's own rights" in done.stdout
    assert report_of(fresh).facts["isolation"].startswith("none")
    page = (fresh / "reports" / tiny_course.ASSIGNMENT / "index.html").read_text()
    assert "<strong>No jail.</strong>" in page
    assert len(recorded(fresh)) == 1
