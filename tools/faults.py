"""Break grading as machines break it, start again, and compare with a run that nobody disturbed: `make faults`.

A small course in which three of four submissions have to be graded: one that was handed in again after a person had
marked it, one in which a notebook is missing now, and a new one. The real engine grades it, is killed, starved or lied
to, and grades again. Whatever happened, gradebook, reports and formgrader's folders must then be those of the
undisturbed run, and at no moment may the gradebook have held a part of a submission's new marks. Prints a table, and
ends with status 1 where something does not hold.

    python -m tools.faults [--seed 1] [--kills 50] [--steps 40] [PART OF A FAULT'S NAME ...]
"""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from nbgrader.api import Gradebook
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.course import report_store
from autograder.jail import find_isolation
from tests import tiny_course
from tests.tiny_course import ASSIGNMENT, RIGHT, WRONG
from tools.samples import executable

ROOT = Path(__file__).resolve().parent.parent
STUDENTS = ("ada", "bo", "cy", "dee")
WAIT_SECONDS = 300
NOTHING = ((None,), (None, None), (None, None, None, True))  # penalty, comments and mark of a new submission
RECORDED_PER_RUN = ("seconds", "chosen_at")  # what two undisturbed runs differ in, too
NET = "\nimport torch\nNet = lambda: torch.nn.Conv2d(3, 2, 1)"
SLOW = "import time\ntime.sleep(2)\n"
CHECK_NET = '''
import time
import numpy as np


@points(4, cell="doubles-tests", hint="One convolution.")
def test_net(graded):
    """The network runs"""
    build = graded.evidence.modules["Net"][0]
    graph = need(build.problem or build.graphs[False, 8])
    handle = graded.runner.load(graph, build.tensors)
    for _ in range(20):  # long enough to be killed meanwhile
        logits = graded.runner.run(handle, np.ones((2, 3, 8, 8), np.float32))
        time.sleep(0.05)
    expect(logits.shape == (2, 2, 8, 8), "Net: expected two channels")
'''


# The course, and what grading leaves of it


@dataclass(frozen=True)
class Outcome:
    """What grading left: marks by student and cell, reports by student, graded notebooks by path."""

    marks: Mapping[str, Mapping[tuple[str, str], tuple[Any, ...]]]
    reports: Mapping[str, Any]
    shown: Mapping[str, str]

    def differences(self, other: Outcome) -> list[str]:
        """What differs, in words; empty where the two are equal."""
        found = []
        for part in dataclasses.fields(self):
            one, two = getattr(self, part.name), getattr(other, part.name)
            found += [f"{part.name} of {k}" for k in sorted({*one, *two}) if one.get(k) != two.get(k)]
        return found


@dataclass
class Scene:
    """The course before and after the undisturbed run; `place` is for copies."""

    place: Path
    before: Path
    after: Path
    old: Outcome
    new: Outcome
    seed: int
    kills: int
    steps: int
    copies: int = 0

    @cached_property
    def seconds(self) -> float:
        """What an undisturbed run takes where the results of all submissions but one are in the cache."""
        root = self.copy(cold="dee")
        began = time.monotonic()
        check(grade(root), 0)
        return time.monotonic() - began

    def copy(self, *, cold: str = "") -> Path:
        """A fresh copy of the course as it was, with every result in its cache but those of the student `cold`, whose
        notebooks have to run."""
        self.copies += 1
        root = self.place / f"course-{self.copies}"
        shutil.copytree(self.before, root, symlinks=True)
        shutil.copytree(self.after / ".autograder" / "cache", root / ".autograder" / "cache", dirs_exist_ok=True)
        for name in results_of(self.after, cold) if cold else ():
            (root / ".autograder" / "cache" / name).unlink()
        return root


def results_of(root: Path, student: str) -> list[str]:
    """The files in the cache that a student's latest grading left: frames come before the report that they led to."""
    entries = sorted((root / ".autograder" / "cache").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    found: list[str] = []
    for path in entries:
        found.append(path.name)
        if path.name.endswith(".report.json"):
            if f'"student": "{student}"' in path.read_text():
                latest = found
            found = []
    return latest


@dataclass(frozen=True)
class Seen:
    """What one kind of fault did. `problems` is empty where everything holds; `skipped` says why it was not tried."""

    times: int
    words: str
    problems: Sequence[str] = ()
    skipped: bool = False


def build_scene(place: Path, seed: int, kills: int, steps: int, *, with_network: bool = True) -> Scene:
    """A graded course, then what was handed in since; graded once without disturbance, in a copy.

    Without a network there is no runner that could be killed, and no notebook waits for PyTorch.
    """
    before, after = place / "before", place / "after"
    tiny_course.make(before)
    _in_a_jail(before)
    net = NET if with_network else ""
    if with_network:
        _add_network(before)
    for student in STUDENTS[:3]:
        tiny_course.hand_in(before, student, "50", (WRONG if student == "bo" else RIGHT) + net, "As I said.")
    check(grade(before), 0)
    tiny_course.give_mark(before, "ada", "01_sums", "sums-why", 1.5)
    tiny_course.give_mark(before, "bo", "01_sums", "sums-why", 2)
    tiny_course.hand_in(before, "ada", "40", SLOW + RIGHT + net, "I have thought again.")
    tiny_course.hand_in(before, "cy", "30", None, "I have no doubles.")
    tiny_course.hand_in(before, "dee", "50", SLOW + RIGHT + net, "Since.")
    shutil.copytree(before, after, symlinks=True)
    check(grade(after), 0)
    new = outcome(after)
    assert (len(new.reports), len(new.shown)) == (4, 7), new
    return Scene(place, before, after, outcome(before), new, seed, kills, steps)


def _in_a_jail(root: Path) -> None:
    """Let notebooks run in a jail, which takes its time."""
    limits = "Limits(cell_seconds=3, notebook_seconds=20, submission_seconds=60)"
    _replace_in(
        root / "grader_config.py",
        (limits, "Limits(cell_seconds=60)"),
        ('isolation="none"', f'isolation="{find_isolation().level}"'),
    )


def _add_network(root: Path) -> None:
    """Let the second notebook have a model, too, so that there is a runner that can be killed."""
    _replace_in(
        root / "grader_config.py",
        ('settings={"full": 2},', 'modules=[ModuleProbe("Net", image_sizes=[8], train=False)],'),
        ("Exercise, Limits", "Exercise, Limits, ModuleProbe"),
    )
    grader = root / "graders" / "test_doubles.py"
    grader.write_text(grader.read_text().replace("@points(10,", "@points(6,") + CHECK_NET)


def _replace_in(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def outcome(root: Path) -> Outcome:
    """What a course holds now. A reader of the gradebook rolls back what a killed writer left half done."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        marks = {s.student.id: dict(_marks(s)) for s in gradebook.find_assignment(ASSIGNMENT).submissions}
    kept = {
        path.stem: _lasting(json.loads(path.read_text()))
        for path in report_store.reports_folder(root, ASSIGNMENT).glob("*.json")
    }
    autograded = root / "autograded"
    shown = {
        str(path.relative_to(autograded)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in autograded.rglob("*.ipynb")
    }
    return Outcome(marks, kept, shown)


def _marks(submission: Any) -> Iterator[tuple[tuple[str, str], tuple[Any, ...]]]:
    for notebook in submission.notebooks:
        yield (notebook.name, "penalty"), (notebook.late_submission_penalty,)
        for grade_ in notebook.grades:
            held = (grade_.auto_score, grade_.manual_score, grade_.extra_credit, bool(grade_.needs_manual_grade))
            yield (notebook.name, grade_.cell.name), held
        for comment in notebook.comments:
            yield (notebook.name, f"{comment.name} (comment)"), (comment.auto_comment, comment.manual_comment)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in RECORDED_PER_RUN}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


# Grading, and grading again


def command(root: Path, *options: str) -> list[str]:
    return [executable("autograder"), "grade", "--course", str(root), "--no-report", *options]


def environment(root: Path, **more: str) -> dict[str, str]:
    """Temporary files lie beside the course, where what is left of them can be counted."""
    temporary = root.with_name(f"{root.name}-tmp")
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary), **more}


def start(root: Path, arguments: Sequence[str] | None = None, **more: str) -> subprocess.Popen[str]:
    """Grade in a process of its own, whose output is read when it has ended."""
    with open(root.with_name(f"{root.name}.out"), "w") as out, open(root.with_name(f"{root.name}.err"), "w") as err:
        return subprocess.Popen(
            arguments or command(root), cwd=root, stdout=out, stderr=err, text=True, env=environment(root, **more)
        )


def finish(root: Path, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    status = process.wait(WAIT_SECONDS)
    texts = [root.with_name(f"{root.name}.{kind}").read_text() for kind in ("out", "err")]
    return subprocess.CompletedProcess(process.args, status, *texts)


def grade(root: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return finish(root, start(root, **more))


def nbgrader(root: Path, *options: str) -> list[str]:
    return [executable("nbgrader"), "autograde", ASSIGNMENT, *options]


def check(done: subprocess.CompletedProcess[str], status: int) -> None:
    if done.returncode != status:
        raise RuntimeError(f"expected exit status {status}, got {done.returncode}: {done.stdout}{done.stderr}")


def verdict(scene: Scene, root: Path, *, again: Sequence[str] | None = None) -> list[str]:
    """Grade again without disturbance: what is not as in the undisturbed run, or was left behind."""
    done = finish(root, start(root, again))
    problems = [f"exit status {done.returncode}: {' '.join(done.stderr.split())[-300:]}"] if done.returncode else []
    problems += outcome(root).differences(scene.new)
    problems += [f"left behind: {path.name}" for path in leftovers(root)]
    return problems


def leftovers(root: Path) -> list[Path]:
    """What may mislead: scratch folders with submissions in them, announcements, journals of the gradebook."""
    found = list(root.with_name(f"{root.name}-tmp").glob("autograder-*"))
    found += [*(root / ".autograder" / "recording").rglob("*.json"), *root.glob("gradebook.db-*")]
    return [path for path in found if not path.name.startswith("autograder-error")]


def mixed(scene: Scene, root: Path) -> list[str]:
    """The students of whom the gradebook holds neither the old marks nor the new ones."""
    found = outcome(root).marks
    return [f"a part of {student}'s marks" for student in found if not _is_whole(scene, student, found[student])]


def _is_whole(scene: Scene, student: str, marks: Mapping[tuple[str, str], tuple[Any, ...]]) -> bool:
    nothing = all(held in NOTHING for held in marks.values())
    old = scene.old.marks.get(student)
    return marks == scene.new.marks[student] or (marks == old if old is not None else nothing)


def graded_twice(first: str, second: str) -> list[str]:
    """Students whom a killed run had already reported as graded, and the next run graded again."""
    ended = {line.split(":")[0].strip() for line in first.splitlines() if line.endswith(": graded")}
    again = {line.split(":")[0].strip() for line in second.splitlines() if line.endswith(": graded")}
    return [f"{student} graded twice" for student in sorted(ended & again)]


# Kills


def kill_at_random(scene: Scene) -> Seen:
    """SIGKILL of the grader, at moments drawn over the whole length of an undisturbed run"""
    draw = random.Random(scene.seed)
    moments = sorted(draw.uniform(0, scene.seconds) for _ in range(scene.kills))
    return _kill_each(scene, moments, None, None)


def kill_plain_nbgrader(scene: Scene) -> Seen:
    """SIGKILL of plain `nbgrader autograde`; plain `nbgrader autograde` again"""
    draw = random.Random(scene.seed + 1)
    moments = sorted(draw.uniform(0, scene.seconds) for _ in range(max(1, scene.kills // 10)))
    return _kill_each(scene, moments, nbgrader(scene.before), nbgrader(scene.before))


def _kill_each(
    scene: Scene, moments: Sequence[float], arguments: Sequence[str] | None, again: Sequence[str] | None
) -> Seen:
    problems: list[str] = []
    recorded = dict.fromkeys(range(len(STUDENTS)), 0)
    for number, moment in enumerate(moments):
        root = scene.copy(cold=("ada", "cy", "dee")[number % 3])
        process = start(root, arguments)
        time.sleep(moment)
        process.kill()
        killed = finish(root, process)
        own = mixed(scene, root)
        changed = [s for s in ("ada", "cy", "dee") if outcome(root).marks.get(s) == scene.new.marks[s]]
        recorded[len(changed)] += 1
        own += verdict(scene, root, again=again)
        own += graded_twice(killed.stdout, root.with_name(f"{root.name}.out").read_text())
        problems += [f"killed after {moment:.2f} s: {problem}" for problem in own]
        _throw_away(root, own)
    counts = ", ".join(f"{number} of 3: {times}" for number, times in recorded.items() if times)
    words = f"over {scene.seconds:.1f} s, an undisturbed run's; recorded when killed: {counts}"
    return Seen(len(moments), words, problems)


def _throw_away(root: Path, problems: Sequence[str]) -> None:
    """Free the space of a copy in which everything held."""
    if not problems:
        shutil.rmtree(root)
        shutil.rmtree(root.with_name(f"{root.name}-tmp"), ignore_errors=True)


def kill_at_steps(scene: Scene) -> Seen:
    """SIGKILL of the grader just before it writes, renames, removes or commits something in the course"""
    root = scene.copy()
    counted = finish(root, start(root, _dying(root, 0)))
    check(counted, 0)
    total = int(counted.stderr.rsplit("steps: ", 1)[1])
    chosen = sorted(random.Random(scene.seed).sample(range(1, total + 1), min(scene.steps, total)))
    problems: list[str] = []
    for step in chosen:
        root = scene.copy()
        killed = finish(root, start(root, _dying(root, step)))
        own = [] if killed.returncode == -signal.SIGKILL else [f"was not killed: {killed.stderr[-200:]}"]
        own += mixed(scene, root) + verdict(scene, root)
        problems += [f"step {step} ({killed.stderr.strip()[-120:]}): {problem}" for problem in own]
        _throw_away(root, own)
    return Seen(len(chosen), f"{len(chosen)} of {total} steps", problems)


def _dying(root: Path, step: int) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tools.faults import die_at; die_at({step})"
    return [sys.executable, "-c", code, *command(root)[1:]]


def die_at(step: int) -> None:
    """The command `autograder`, which kills itself before the given step (0: never, and the number of steps is said).

    A step is a commit to the gradebook, or whatever changes a file or a folder of the course.
    """
    import sqlalchemy

    from autograder.cli.main import main

    taken = 0
    root = sys.argv[sys.argv.index("--course") + 1]
    changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}

    def take(words: str) -> None:
        nonlocal taken
        taken += 1
        if taken == step:
            os.write(2, words.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in changes) and _is_below(root, arguments[0]):
            take(f"{event} {arguments[0]}")

    sys.addaudithook(look)
    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", lambda connection: take("commit"))
    if not step:
        atexit.register(lambda: os.write(2, f"steps: {taken}".encode()))
    main()


def _is_below(root: str, path: object) -> bool:
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return text.startswith(root + os.sep) and not text.endswith(".log")


def kill_the_notebook(scene: Scene) -> Seen:
    """SIGKILL of a notebook's process in the jail"""
    return _kill_helpers(scene, "launcher as m", child=True)


def kill_the_launcher(scene: Scene) -> Seen:
    """SIGKILL of the launcher in the jail, while a notebook runs"""
    return _kill_helpers(scene, "launcher as m", above_child=True)


def kill_the_runner(scene: Scene) -> Seen:
    """SIGKILL of the runner, while a model is run"""
    return _kill_helpers(scene, "graph_server as m", after="launcher as m")


def kill_the_hidden_graders(scene: Scene) -> Seen:
    """SIGKILL of the process with the hidden graders"""
    return _kill_helpers(scene, "autograder.pipeline.judge_main", after="launcher as m")


def _kill_helpers(scene: Scene, words: str, *, child: bool = False, above_child: bool = False, after: str = "") -> Seen:
    root = scene.copy(cold="ada")
    process = start(root)
    killed = False
    while not killed:
        victim = _await_victim(process, words, child or above_child, above_child, after)
        if victim is None:
            return Seen(0, "never seen", [f"no process {words!r} to kill: {finish(root, process).stderr[-300:]}"])
        with suppress(psutil.NoSuchProcess):  # it had just ended: the next one
            victim.kill()
            killed = True
    done = finish(root, process)
    problems = mixed(scene, root) if done.returncode == 0 else []
    said = "graded in the same run" if outcome(root).differences(scene.new) == [] else f"exit status {done.returncode}"
    return Seen(1, said, [*problems, *verdict(scene, root)])


def _await_victim(
    process: subprocess.Popen[str], words: str, forked: bool, parent: bool, after: str
) -> psutil.Process | None:
    """The process of the grader whose command holds `words`, at work; None where the grader ended before.

    `forked`: one that it has forked, or, with `parent`, itself as soon as it has; `after`: when a process with these
    words has come and gone.
    """
    came = not after
    while process.poll() is None:
        time.sleep(0.05)
        lines = {found: _command_line(found) for found in _below(process.pid)}
        awaited = any(after in line for line in lines.values()) if after else False
        came = came or awaited
        if not came or awaited:
            continue
        named = [found for found, line in lines.items() if words in line and "bwrap" not in line.split(" ")[0]]
        with suppress(psutil.NoSuchProcess):  # it ended while we looked: the next one
            if forked:
                named = [found for found in named if found.ppid() in {other.pid for other in named}]
            if named:
                time.sleep(0.3)  # it works on something by now
                return psutil.Process(named[-1].ppid()) if parent else psutil.Process(named[-1].pid)
    return None


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


# Disks


@contextmanager
def small_disk(place: Path, mib: int) -> Iterator[None]:
    """A file system of its own at `place`. Raises PermissionError where this user may not mount one."""
    place.mkdir(parents=True, exist_ok=True)
    _mount(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "faults", str(place)])
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """`place` as a file system that cannot be written, not even by root."""
    _mount(["mount", "--bind", str(place), str(place)])
    try:
        _mount(["mount", "-o", "remount,bind,ro", str(place)])
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(arguments: Sequence[str]) -> None:
    if os.getuid() != 0 or shutil.which("mount") is None:
        raise PermissionError(errno.EPERM, "only root may mount a small or read-only file system")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(errno.EPERM, f"mounting is not allowed here ({done.stderr.strip()})")


def full_course(scene: Scene) -> Seen:
    """The disk of the course is full, before grading and in the middle of it"""
    problems: list[str] = []
    words = []
    for spare in (0, 16, 48):  # KiB
        disk = scene.place / f"disk-{spare}"
        with small_disk(disk, 8):
            root = disk / "course"
            shutil.copytree(scene.copy(), root, symlinks=True)
            filler = disk / "filler"
            fill(filler, leave=spare << 10)
            temporary = scene.place / f"disk-{spare}-tmp"
            temporary.mkdir()
            done = _grade_there(root, temporary)
            own = mixed_or_cleared(scene, root)
            filler.unlink()
            own += _expect_words(done, ("No space left", "disk is full"), (1, 3)) if done.returncode else []
            again = _grade_there(root, temporary)
            own += [] if again.returncode == 0 else [f"then exit status {again.returncode}: {again.stderr[-300:]}"]
            own += outcome(root).differences(scene.new)
            own += [f"left behind: {path}" for path in temporary.glob("autograder-*")]
            words.append(f"{spare} KiB free: exit status {done.returncode}")
            problems += [f"{spare} KiB free: {problem}" for problem in own]
    return Seen(3, "; ".join(words), problems)


def full_scratch(scene: Scene) -> Seen:
    """The disk of temporary files is full"""
    root = scene.copy(cold="ada")
    disk = scene.place / "scratch-disk"
    with small_disk(disk, 1):
        fill(disk / "filler", leave=4 << 10)  # where not even this is left, Python takes another folder
        done = _grade_there(root, disk)
        problems = _expect_words(done, ("No space left", "disk is full"), (1, 3)) + mixed_or_cleared(scene, root)
    return Seen(1, f"exit status {done.returncode}", [*problems, *verdict(scene, root)])


def _grade_there(root: Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(temporary)},
        timeout=WAIT_SECONDS,
    )


def fill(path: Path, *, leave: int) -> None:
    """Take all the space of a file system but `leave` bytes."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(max(0, file.tell() - leave))


def mixed_or_cleared(scene: Scene, root: Path) -> list[str]:
    """As `mixed`, where the fault may have been recorded: then no automatic score stands."""
    found = outcome(root).marks
    cleared = [
        student
        for student in found
        if all(held[0] is None for (_, cell), held in found[student].items() if "(comment)" not in cell)
    ]
    return [problem for problem in mixed(scene, root) if not any(f"{s}'s" in problem for s in cleared)]


def _expect_words(done: subprocess.CompletedProcess[str], wanted: Sequence[str], statuses: Sequence[int]) -> list[str]:
    text = " ".join((done.stdout + done.stderr).split())
    problems = [] if done.returncode in statuses else [f"exit status {done.returncode}, not {statuses}: {text[-300:]}"]
    problems += [] if any(words in text for words in wanted) else [f"does not say {wanted[0]!r}: {text[-300:]}"]
    return problems + (["a traceback"] if "Traceback" in text else [])


def read_only_course(scene: Scene) -> Seen:
    """The course's folder cannot be written"""
    root = scene.copy()
    with read_only(root):
        done = _grade_there(root, environment_tmp(root))
        problems = _expect_words(done, ("cannot be written", "Read-only file system"), (1,)) + mixed(scene, root)
    return Seen(1, f"exit status {done.returncode}", [*problems, *verdict(scene, root)])


def read_only_autograded(scene: Scene) -> Seen:
    """formgrader's folder cannot be written"""
    root = scene.copy()
    with read_only(root / "autograded"):
        done = _grade_there(root, environment_tmp(root))
        problems = _expect_words(done, ("Read-only file system",), (1, 3)) + mixed_or_cleared(scene, root)
    return Seen(1, f"exit status {done.returncode}", [*problems, *verdict(scene, root)])


def environment_tmp(root: Path) -> Path:
    return Path(environment(root)["TMPDIR"])


# Broken files


def locked_gradebook(scene: Scene) -> Seen:
    """Another program holds the gradebook, before grading and in the middle of it"""
    problems = []
    root = scene.copy()
    with sqlite_lock(root):
        done = grade(root)
        problems += _expect_words(done, ("is locked by another program",), (1,))
    problems += mixed(scene, root) + verdict(scene, root)
    root = scene.copy(cold="ada")
    wiring = root / "nbgrader_config.py"
    wiring.write_text(wiring.read_text().replace("timeout=60", "timeout=1"))
    process = start(root)
    victim = _await_victim(process, "launcher as m", False, False, "")
    with sqlite_lock(root):
        done = finish(root, process)
    problems += [] if victim else ["it never came to the notebooks"]
    problems += _expect_words(done, ("locked by another program",), (1, 3))
    problems += mixed(scene, root) + verdict(scene, root)
    return Seen(2, f"exit status 1 before, {done.returncode} in the middle", problems)


@contextmanager
def sqlite_lock(root: Path) -> Iterator[None]:
    lock = sqlite3.connect(root / "gradebook.db")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        lock.rollback()
        lock.close()


def corrupt_gradebook(scene: Scene) -> Seen:
    """The gradebook is cut off, overwritten, or damaged in the middle; then a copy is put back"""
    problems = []
    for name, damage in GRADEBOOK_DAMAGE.items():
        root = scene.copy()
        path = root / "gradebook.db"
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        done = grade(root)
        own = _expect_words(done, ("put back a copy", "generate_assignment"), (1,))
        path.write_bytes(whole)
        problems += [f"{name}: {problem}" for problem in [*own, *verdict(scene, root)]]
    return Seen(len(GRADEBOOK_DAMAGE), "exit status 1, nothing graded", problems)


GRADEBOOK_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "overwritten": lambda whole: b"no database" * (len(whole) // 11),
    "damaged": lambda whole: whole[:4096] + os.urandom(len(whole) - 8192) + whole[-4096:],
}


def corrupt_cache(scene: Scene) -> Seen:
    """Results in the cache are cut off, garbage, of another type, or another submission's"""
    root = scene.copy()
    count = 0
    for suffix in (".json", ".frames"):
        entries = sorted((root / ".autograder" / "cache").glob(f"*{suffix}"))
        contents = [path.read_bytes() for path in entries]
        for number, path in enumerate(entries):
            damage = CACHE_DAMAGE[number % len(CACHE_DAMAGE)]
            path.write_bytes(damage(contents[number], contents[number - 1]))
        count += len(entries)
    return Seen(count, "counted as absent", verdict(scene, root))


CACHE_DAMAGE: tuple[Callable[[bytes, bytes], bytes], ...] = (
    lambda own, other: own[: own.find(b"\n", len(own) // 2) + 1],  # between two records
    lambda own, other: b"",
    lambda own, other: os.urandom(len(own)),
    lambda own, other: b"[1, 2]\n",
    lambda own, other: other,
)


def corrupt_reports(scene: Scene) -> Seen:
    """The latest reports are cut off, garbage, of another type, or another student's"""
    problems: list[str] = []
    damages: tuple[Callable[[bytes, bytes], bytes], ...] = (
        lambda own, other: own[: len(own) // 2],
        lambda own, other: b"",
        lambda own, other: os.urandom(200),
        lambda own, other: b"[]",
        lambda own, other: own.replace(b'"facts": {', b'"facts": [], "other": {'),
        lambda own, other: other,
    )
    for damage in damages:
        root = scene.copy()
        folder = report_store.reports_folder(root, ASSIGNMENT)
        contents = {path: path.read_bytes() for path in folder.glob("*.json")}
        for path in (folder / "bo.json", folder / "cy.json"):  # ada's alone knows which answer her mark was given for
            path.write_bytes(damage(contents[path], contents[folder / "ada.json"]))
        done = finish(root, start(root))
        problems += [] if done.returncode == 0 else [f"exit status {done.returncode}: {done.stderr[-300:]}"]
        found = outcome(root)
        expected = dataclasses.replace(scene.new, **_unknown_origin(scene, found))
        problems += found.differences(expected)
    return Seen(2 * len(damages), "graded again; bo's mark is shown to a person, since nobody knows what for", problems)


def _unknown_origin(scene: Scene, found: Outcome) -> dict[str, Any]:
    """bo's manual mark after the loss of the report that knew which answer it was given for: it counts, and waits."""
    marks = {student: dict(cells) for student, cells in scene.new.marks.items()}
    why = ("01_sums", "sums-why")
    marks["bo"][why] = (*marks["bo"][why][:3], True)
    kept = dict(scene.new.reports)
    kept["bo"] = {**kept["bo"], "manual": found.reports["bo"]["manual"]}
    assert [mark["given_for"] for mark in kept["bo"]["manual"]] == [""], kept["bo"]["manual"]
    return {"marks": marks, "reports": kept}


def broken_secret(scene: Scene) -> Seen:
    """The course's secret is empty or cut off"""
    root = scene.copy()
    path = root / ".autograder" / "secret"
    whole = path.read_bytes()
    problems = []
    for content in (b"", whole[:10], b"not hexadecimal"):
        path.write_bytes(content)
        problems += _expect_words(grade(root), ("put back a copy, or delete it",), (1,)) + mixed(scene, root)
    path.write_bytes(whole)
    return Seen(3, "exit status 1, nothing graded", [*problems, *verdict(scene, root)])


def truncated_data(scene: Scene) -> Seen:
    """The data set is cut off"""
    root = scene.copy()
    config = root / "grader_config.py"
    original = config.read_text()
    config.write_text(original.replace("needs_test_set=False", "needs_test_set=True"))
    archive = root.with_name("cifar10.zip")
    archive.write_bytes(b"PK\x03\x04" + os.urandom(5000))
    done = grade(root, CIFAR10_ROOT=str(archive))
    problems = _expect_words(done, ("cifar10.zip",), (1,)) + mixed(scene, root)
    config.write_text(original)
    return Seen(1, f"exit status {done.returncode}, nothing graded", [*problems, *verdict(scene, root)])


# Two at once, and clocks


def two_at_once(scene: Scene) -> Seen:
    """Two graders at once on one course: `autograder grade` twice, and beside plain `nbgrader autograde`"""
    problems: list[str] = []
    for second in (command(scene.before), nbgrader(scene.before, "--force"), nbgrader(scene.before)):
        root = scene.copy(cold="ada")
        arguments = [str(root) if part == str(scene.before) else part for part in second]
        first = start(root)
        _await_victim(first, "launcher as m", False, False, "")
        tmp = environment(root)
        other = subprocess.run(
            arguments, cwd=root, capture_output=True, text=True, check=False, env=tmp, timeout=WAIT_SECONDS
        )
        own = _expect_words(other, ("another grader is at work in",), (1,)) if "Traceback" not in other.stderr else []
        own += [f"it does not name the process {first.pid}"] if f"process {first.pid}," not in other.stderr else []
        done = finish(root, first)
        own += [] if done.returncode == 0 else [f"the first ended with {done.returncode}: {done.stderr[-300:]}"]
        own += outcome(root).differences(scene.new)
        problems += [f"{Path(arguments[0]).name}: {problem}" for problem in [*own, *verdict(scene, root)]]
    return Seen(3, "the second stops with exit status 1 and names the first", problems)


def clocks(scene: Scene) -> Seen:
    """Clocks: all files from the future, and a new submission that says it is older than the one before"""
    problems = []
    future = time.time() + 10 * 365 * 86_400
    for again in (None, nbgrader(scene.before)):
        root = scene.copy()
        for folder in (*(root / "autograded").glob(f"*/{ASSIGNMENT}"), *(root / "submitted").glob(f"*/{ASSIGNMENT}")):
            stamp = "2026-01-01 10:00:00 UTC" if "submitted" in folder.parts else "2031-01-01 10:00:00 UTC"
            (folder / "timestamp.txt").write_text(stamp)
        for path in root.rglob("*"):
            os.utime(path, (future, future), follow_symlinks=False)
        done = finish(root, start(root, again))
        problems += [] if done.returncode == 0 else [f"exit status {done.returncode}: {done.stderr[-300:]}"]
        found = outcome(root)
        problems += [f"marks of {s}" for s in STUDENTS if found.marks.get(s) != scene.new.marks[s]]
        problems += [f"shown of {s}" for s in found.shown if found.shown[s] != scene.new.shown.get(s)]
    return Seen(2, "what was handed in counts, not when", problems)


FAULTS: tuple[Callable[[Scene], Seen], ...] = (
    kill_at_random,
    kill_at_steps,
    kill_plain_nbgrader,
    kill_the_notebook,
    kill_the_launcher,
    kill_the_runner,
    kill_the_hidden_graders,
    full_course,
    full_scratch,
    read_only_course,
    read_only_autograded,
    locked_gradebook,
    corrupt_gradebook,
    corrupt_cache,
    corrupt_reports,
    broken_secret,
    truncated_data,
    two_at_once,
    clocks,
)


def title_of(fault: Callable[[Scene], Seen]) -> str:
    return (fault.__doc__ or "").strip()


def try_fault(fault: Callable[[Scene], Seen], scene: Scene) -> Seen:
    """What came of a fault; one that this machine does not let us cause is said to be skipped."""
    try:
        return fault(scene)
    except PermissionError as error:
        return Seen(0, f"skipped: {error.strerror}", skipped=True)


def main() -> int:
    """Cause every fault, or those whose names hold one of the given parts. Returns an exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help="only faults whose names hold one of these")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and steps at which the grader is killed")
    parser.add_argument("--kills", type=int, default=50, help="at random moments")
    parser.add_argument("--steps", type=int, default=40, help="kills just before a step that changes something")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    chosen = [fault for fault in FAULTS if _is_wanted(fault, options.parts)]
    if not chosen:
        parser.error(f"no fault of such a name; there are {', '.join(fault.__name__ for fault in FAULTS)}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as place:
        scene = build_scene(Path(place), options.seed, options.kills, options.steps)
        console.print(f"Seed {options.seed}; isolation {find_isolation().level}")
        found = []
        for fault in chosen:
            console.print(Text(f"  {title_of(fault)} …", "dim"))
            seen = try_fault(fault, scene)
            found.append((fault, seen))
            for problem in seen.problems:
                console.print(Text(f"    {problem}", "red"))
    console.print(faults_table(found))
    console.print(f"Took {time.monotonic() - began:.0f} s.")
    return 1 if any(seen.problems for _, seen in found) else 0


def _is_wanted(fault: Callable[[Scene], Seen], parts: Sequence[str]) -> bool:
    return not parts or any(part in fault.__name__ for part in parts)


def faults_table(found: Sequence[tuple[Callable[[Scene], Seen], Seen]]) -> Table:
    """Fault, how many times, what was seen, and how it was after the restart."""
    table = Table("Fault", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("Times", justify="right")
    table.add_column("Seen", ratio=1)
    table.add_column("After restart")
    for fault, seen in found:
        end = Text("skipped", "yellow") if seen.skipped else Text("equal", "green")
        table.add_row(title_of(fault), str(seen.times), seen.words, Text("not equal", "red") if seen.problems else end)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
