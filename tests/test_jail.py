"""What a notebook can do to the machine, to the grader and to the stream that leaves the jail."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.core.config import Limits
from autograder.core.grade_report import Status
from autograder.core.package import package_file
from autograder.graphs.tensor_file import load_arrays
from autograder.jail import (
    FrameReader,
    Isolation,
    JailedProcess,
    StreamProblem,
    decode_frames,
    encode_frames,
    find_isolation,
    start,
)
from autograder.jail.control_group import find_scope
from autograder.jail.remedies import Granted, remedy_for
from autograder.jail.seccomp import denied_names
from autograder.judging.problems import Problem
from autograder.pipeline.cache import Cache
from autograder.pipeline.jail_run import JailRun, run_plan
from autograder.pipeline.plan import Plan

LIMITS = Limits(cell_seconds=4, notebook_seconds=40, submission_seconds=120, memory_mib=1500, output_kib=64)


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    found = find_isolation()
    if found.level == "none":
        pytest.skip(f"no jail on this machine: {found.problem}; {found.remedy}")
    return found


def run_cells(
    isolation: Isolation,
    tmp_path: Path,
    notebooks: dict[str, Sequence[str]],
    answers: Sequence[str] = (),
    limits: Limits = LIMITS,
) -> JailRun:
    """Run notebooks given as lists of cell sources; ask each for the named variables."""
    (tmp_path / "files").mkdir(exist_ok=True)
    (tmp_path / "files").chmod(0o755)
    tmp_path.chmod(0o755)
    probes = [{"kind": "answer", "name": name, "step": f"answer-{name}"} for name in answers]
    planned = [
        {
            "name": name,
            "cells": [{"index": index, "source": source} for index, source in enumerate(cells)],
            "probes": probes,
            "cell_seconds": limits.cell_seconds,
            "notebook_seconds": limits.notebook_seconds,
            "probe_seconds": limits.probe_seconds,
            "output_bytes": limits.output_kib << 10,
            "outputs": limits.outputs,
        }
        for name, cells in notebooks.items()
    ]
    plan = Plan(planned, dict.fromkeys(notebooks, probes), {name: name for name in notebooks})
    return run_plan(plan, tmp_path / "files", limits, isolation, Cache(tmp_path / "cache"))


def text_of(run: JailRun, notebook: str, cell: int) -> str:
    return "".join(output.get("text", "") for output in run.notebooks[notebook].cells[cell].outputs)


def values(run: JailRun, notebook: str) -> dict[str, Any]:
    """The last run's answers of a notebook."""
    answers = [f.header for f in run.frames[notebook] if f.header.get("kind") == "answer"]
    return {a["name"]: a.get("value", {}).get("value") for a in answers}


LOOK_AROUND = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
descriptors = {}
for number in os.listdir("/proc/self/fd"):
    try:
        descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        pass
processes = [p for p in os.listdir("/proc") if p.isdigit()]
print(json.dumps({
    "uid": os.getuid(), "groups": os.getgroups(), "pid": os.getpid(), "processes": len(processes),
    "capabilities": status["CapEff"].strip(), "no_new_privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(), "environment": sorted(os.environ), "descriptors": descriptors,
    "root": sorted(os.listdir("/")), "home": sorted(os.listdir(".")), "host": os.uname().nodename,
    "interfaces": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
    "course": os.path.exists(COURSE), "passwd": open("/etc/passwd").read(),
}))
"""

BREAK_OUT = """
import os
def attempt(what, function):
    try:
        function()
        print("DONE", what)
    except BaseException as error:
        print("refused", what, type(error).__name__)
attempt("sysctl", lambda: open("/proc/sys/vm/swappiness", "w"))
attempt("root", lambda: open("/here", "w"))
attempt("usr", lambda: open("/usr/here", "w"))
attempt("dev", lambda: open("/dev/here", "w"))
attempt("worker", lambda: open("/jail/autograder/worker/cells.py", "a"))
attempt("setuid", lambda: os.setuid(0))
attempt("chroot", lambda: os.chroot("/tmp"))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def unshare():
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")
def mount():
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")
attempt("user namespace", unshare)
attempt("mount", mount)
import errno, fcntl, socket, struct
NUMBERS = {"x86_64": (319, 29, 56, 101, 298, 425, 321, 250), "aarch64": (279, 194, 220, 117, 241, 425, 280, 219)}
NAMES = "memfd_create shmget clone ptrace perf_event_open io_uring_setup bpf keyctl".split()
numbers = dict(zip(NAMES, NUMBERS[os.uname().machine]))
def call(name, *arguments):
    def calling():
        found = libc.syscall(numbers[name], *arguments)
        if found == 0 and name == "clone":
            os._exit(0)
        # Whatever the arguments, a filtered call fails before they are looked at.
        if found >= 0 or ctypes.get_errno() != errno.EPERM:
            raise SystemExit(f"DONE {name}: {found}, {ctypes.get_errno()}")
        raise OSError(ctypes.get_errno(), name)
    return calling
attempt("hidden memory", call("memfd_create", b"x", 0))
attempt("System V memory", call("shmget", 0, 4096, 0o1600))
attempt("namespace by clone", call("clone", 0x10000000 | 17, 0, 0, 0, 0))
attempt("tracing", call("ptrace", 16, os.getppid(), 0, 0))
attempt("perf", call("perf_event_open", b"", 0, -1, -1, 0))
attempt("io_uring", call("io_uring_setup", 1, b"x" * 120))
attempt("bpf", call("bpf", 0, b"x" * 72, 72))
attempt("keys", call("keyctl", 0, -3, 1))
for family, kind in ((40, 1), (17, 3), (38, 5), (16, 3), (2, 3), (1, 3)):  # vsock, packet, alg, netlink, raw
    attempt(f"socket {family}, {kind}", lambda: socket.socket(family, kind))
def type_into_terminal():
    fcntl.ioctl(0, 0x5412, b"x")
attempt("typing", type_into_terminal)
attempt("network", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
def forks():
    for _ in range(100_000):
        if os.fork() == 0:
            import time; time.sleep(1); os._exit(0)
attempt("fork bomb", forks)
"""


def test_jail_shows_nothing_of_the_grader(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "canary")
    course = str(Path(__file__).resolve().parent)
    limits = Limits(cell_seconds=60, notebook_seconds=120, submission_seconds=120, processes=16)
    cells = [LOOK_AROUND.replace("COURSE", repr(course)), BREAK_OUT]
    run = run_cells(isolation, tmp_path, {"look": cells}, limits=limits)
    seen = json.loads(text_of(run, "look", 0))
    assert seen["uid"] != 0
    assert set(seen["groups"]) <= {seen["uid"], 65534}
    assert int(seen["capabilities"], 16) == 0
    assert seen["no_new_privileges"] == "1"
    assert seen["pid"] < 1000
    assert seen["processes"] <= 4
    assert "SECRET_OF_THE_GRADER" not in seen["environment"]
    assert "HOSTNAME" not in seen["environment"]
    assert seen["host"] == "jail"
    assert not seen["course"]
    assert seen["passwd"].count("\n") == 1
    python = {Path(place).parts[1] for place in (sys.prefix, sys.base_prefix)}
    system = {"bin", "dev", "etc", "home", "jail", "lib", "lib32", "lib64", "proc", "sbin", "submission", "tmp", "usr"}
    assert set(seen["root"]) <= system | python
    # Standard streams, the record stream and the launcher's progress pipe: no file, no socket, no folder of the host.
    assert len(seen["descriptors"]) <= 6  # with the one that lists them
    kinds = {place.split(":")[0] for place in seen["descriptors"].values() if not place.startswith("/proc/")}
    assert kinds <= {"/dev/null", "pipe"}
    attempts = text_of(run, "look", 1)
    assert "DONE" not in attempts
    assert attempts.count("refused") == 26, attempts
    assert "SystemExit" not in attempts  # refused by the filter, not for the arguments


def test_cells_that_misbehave_cost_only_themselves(isolation: Isolation, tmp_path: Path) -> None:
    notebooks = {
        "endless": ["while True: pass", "after = 1"],
        "stubborn": [
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
            "after = 2",
        ],
        "exits": ["before = 3", "import os\nos._exit(0)", "after = 3"],
        "hungry": ["hoard = []\nwhile True: hoard.append(bytearray(b'x' * 40_000_000))", "after = 4"],
        "noisy": ["while True: print('x' * 1000)", "after = 5"],
        "daemon": [
            "import os,time\nif not os.fork():\n    os.setsid()\n    if not os.fork(): time.sleep(99)\n    os._exit(0)",
            "after = 6",
        ],
    }
    run = run_cells(isolation, tmp_path, notebooks, answers=["after"])
    first = {name: notebook.cells[0].status for name, notebook in run.notebooks.items()}
    assert first == {
        "endless": Status.TIMEOUT,
        "stubborn": Status.TIMEOUT,
        "exits": Status.PASSED,
        "hungry": Status.OUT_OF_MEMORY,
        "noisy": Status.OUTPUT_LIMIT,
        "daemon": Status.PASSED,
    }
    assert run.notebooks["exits"].cells[1].status is Status.CRASHED
    assert "the process ended itself" in run.notebooks["exits"].cells[1].message
    after = {name: values(run, name)["after"] for name in notebooks}
    assert after == {"endless": 1, "stubborn": 2, "exits": 3, "hungry": 4, "noisy": 5, "daemon": 6}
    assert {notebook.status for notebook in run.notebooks.values()} == {Status.PASSED}


LEAVE_TRACES = """
import os
for place in (".", "/tmp", "/dev/shm"):
    open(f"{place}/trace", "w").write("from the first notebook")
    os.makedirs(f"{place}/closed/inner")
    os.chmod(f"{place}/closed", 0)
open("handed_in.txt", "w").write("changed")
here = os.open("/tmp", os.O_RDONLY)
for _ in range(3000):
    os.mkdir("deep", dir_fd=here)
    below = os.open("deep", os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = below
"""
LOOK_FOR_TRACES = """
import os
found = [f"{place}/{name}" for place in (".", "/dev/shm") for name in os.listdir(place)]
left = {"trace", "closed", "deep"} & set(os.listdir("/tmp"))  # an environment may be mounted there
print(sorted(found), left, open("handed_in.txt").read())
"""


def test_a_notebook_leaves_nothing_for_the_next(isolation: Isolation, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "handed_in.txt").write_text("as handed in")
    run = run_cells(isolation, tmp_path, {"first": [LEAVE_TRACES], "second": [LOOK_FOR_TRACES]})
    assert run.notebooks["first"].cells[0].status is Status.PASSED, run.notebooks["first"].cells[0].message
    assert text_of(run, "second", 0).strip() == "['./handed_in.txt'] set() as handed in"


def test_a_second_run_of_a_notebook_finds_nothing_of_the_first(isolation: Isolation, tmp_path: Path) -> None:
    cells = ["import os\nbefore = os.path.exists('left')\nopen('left', 'w').close()", "os._exit(0)"]
    run = run_cells(isolation, tmp_path, {"again": cells}, answers=["before"])
    assert run.notebooks["again"].cells[1].status is Status.CRASHED
    assert values(run, "again") == {"before": False}


def test_files_without_end_are_the_students_fault(isolation: Isolation, tmp_path: Path) -> None:
    limits = Limits(cell_seconds=20, notebook_seconds=20, submission_seconds=40, scratch_files=2000)
    cells = ["import os\nos.mkdir('many')\nfor i in range(10**6): open(f'many/{i}', 'w').close()"]
    run = run_cells(isolation, tmp_path, {"files": cells}, limits=limits)
    assert run.notebooks["files"].status is Status.OUT_OF_MEMORY
    assert "2,000 files" in run.notebooks["files"].message


def test_displays_without_end_are_cut(isolation: Isolation, tmp_path: Path) -> None:
    cells = ["from IPython.display import display\nfor i in range(10_000): display(i)", "after = 1"]
    run = run_cells(isolation, tmp_path, {"shows": cells}, answers=["after"])
    assert len(run.notebooks["shows"].cells[0].outputs) <= LIMITS.outputs + 1
    assert values(run, "shows") == {"after": 1}


def test_outputs_are_rebuilt_from_an_allow_list(isolation: Isolation, tmp_path: Path) -> None:
    cells = [
        "from IPython.display import HTML, Javascript, display\ndisplay(Javascript('alert(1)'))\n'\\x1b[31mred\\ud800'",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
        "raise ValueError('\\x1b[2J<script>')",
        "'the score is 20'",
    ]
    run = run_cells(isolation, tmp_path, {"shows": cells})
    shown = [cell.outputs for cell in run.notebooks["shows"].cells]
    kinds = {mime for outputs in shown for output in outputs for mime in output.get("data", {})}
    assert kinds == {"text/plain", "image/png"}
    assert not any(output["output_type"] == "execute_result" for outputs in shown for output in outputs)
    assert "\x1b" not in json.dumps(shown)
    assert json.dumps(shown, ensure_ascii=False).encode()  # a lone surrogate would raise
    assert shown[2][0]["ename"] == "ValueError"


ENDS_THE_JAIL = {
    "killed launcher": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", Status.CRASHED),
    # More processes than one, since each has a limit of its own: the jail as a whole is what is watched.
    "memory of all": (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        held = b'x' * (300 << 20)\n"
        "        time.sleep(60)\ntime.sleep(60)",
        Status.OUT_OF_MEMORY,
    ),
}


@pytest.mark.parametrize("name", ENDS_THE_JAIL)
def test_who_ends_the_whole_jail_costs_itself(isolation: Isolation, tmp_path: Path, name: str) -> None:
    code, status = ENDS_THE_JAIL[name]
    notebooks = {"before": ["x = 1"], "ends": ["x = 2", code], "after": ["x = 3"]}
    run = run_cells(isolation, tmp_path, notebooks, answers=["x"])
    assert {name: found.status for name, found in run.notebooks.items()} == {
        "before": Status.PASSED, "ends": status, "after": Status.PASSED,
    }  # fmt: skip
    assert [values(run, notebook) for notebook in ("before", "after")] == [{"x": 1}, {"x": 3}]


SPOIL_ALL = """
import os
garbage = os.urandom(1000) + b'{"payload_bytes": 99}' + bytes([10])
for process in ("self", os.getppid()):
    for number in range(3, 200):
        try:
            descriptor = os.open(f"/proc/{process}/fd/{number}", os.O_WRONLY)
        except OSError:
            descriptor = number
        try:
            os.write(descriptor, garbage)
        except OSError:
            pass
"""


def test_garbage_in_every_open_file_costs_the_notebook_that_writes_it(isolation: Isolation, tmp_path: Path) -> None:
    """In a cell, so that it comes after the evidence of one notebook and before that of the next."""
    notebooks = {"before": ["x = 1"], "spoils": ["x = 2", SPOIL_ALL], "after": ["x = 3"]}
    run = run_cells(isolation, tmp_path, notebooks, answers=["x"])
    assert run.notebooks["spoils"].status is Status.CRASHED
    assert "unreadable" in run.notebooks["spoils"].message
    for name, value in (("before", 1), ("after", 3)):
        assert run.notebooks[name].status is Status.PASSED
        assert values(run, name) == {"x": value}


def test_the_launchers_memory_and_streams_cannot_be_opened(isolation: Isolation, tmp_path: Path) -> None:
    """It has the notebook's uid, which would be enough on a machine whose kernel does not restrict ptrace further."""
    code = """
import os
place = f"/proc/{os.getppid()}"
for what in ("mem", "environ", "fd", "maps"):
    try:
        os.listdir(f"{place}/fd") if what == "fd" else open(f"{place}/{what}", "r+b" if what == "mem" else "rb").read(1)
        print("OPEN", what)
    except OSError:
        pass
print("done")
"""
    run = run_cells(isolation, tmp_path, {"looks": [code]})
    assert text_of(run, "looks", 0) == "done\n"


UNASKED = """
import json, os
pipe = int(os.environ["AUTOGRADER_RECORDS_FD"])
def send(header, payload=b""):
    view = memoryview(json.dumps({**header, "payload_bytes": len(payload)}).encode() + bytes([10]) + payload)
    while view:
        view = view[os.write(pipe, view):]
for header in (
    {"kind": "answer", "name": "y"}, {"kind": "build", "name": "x", "index": 0}, {"kind": "cell", "index": 7}, {},
    {"kind": "checkpoint"}, {"kind": "ended", "notebook": "after", "status": "PASSED"}, {"kind": []}, {"kind": "ready"},
):
    send({"notebook": "sends", "run": 9, **header}, bytes(5 << 20))
x = 2
"""


def test_what_nobody_asked_for_is_dropped_on_arrival(isolation: Isolation, tmp_path: Path) -> None:
    """It would lie in the cache until the end of the course, and in memory until then."""
    run = run_cells(isolation, tmp_path, {"sends": [UNASKED], "after": ["x = 3"]}, answers=["x"])
    assert [frame.header["kind"] for frame in run.frames["sends"]] == ["cell", "answer", "ended"]
    assert values(run, "sends") == {"x": 2}
    assert run.notebooks["after"].status is Status.PASSED
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) < 10_000


def run_with_checkpoint(isolation: Isolation, tmp_path: Path, content: bytes, cell: str) -> JailRun:
    """A notebook of one cell beside a `.pt` file."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "w.pt").write_bytes(content)
    for place in (tmp_path, files):
        place.chmod(0o755)
    planned = {
        "name": "01", "cells": [{"index": 0, "source": cell}], "probes": [], "cell_seconds": 4, "notebook_seconds": 40,
        "probe_seconds": 20, "output_bytes": 1000, "outputs": 10,
    }  # fmt: skip
    plan = Plan([planned], {"01": []}, {"01": "key"}, "w.pt", "checkpoint-key")
    return run_plan(plan, files, LIMITS, isolation, Cache(tmp_path / "cache"))


FORGE_CONVERSION = """
import json, os
payload = b"weights that were never handed in"
lines = json.dumps({"kind": "checkpoint", "names": 1, "payload_bytes": len(payload)}).encode() + bytes([10]) + payload
for process in ("self", os.getppid()):
    for number in range(3, 60):
        try:
            os.write(os.open(f"/proc/{process}/fd/{number}", os.O_WRONLY), lines)
        except OSError:
            pass
os.write(int(os.environ["AUTOGRADER_RECORDS_FD"]), lines)
"""


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(1000)], ids=["empty", "text", "zip"])
def test_a_failed_conversion_leaves_no_room_for_a_forged_one(
    isolation: Isolation, tmp_path: Path, content: bytes
) -> None:
    run = run_with_checkpoint(isolation, tmp_path, content, FORGE_CONVERSION)
    assert isinstance(run.checkpoint, Problem)
    assert run.checkpoint.status is Status.FAILED
    assert "w.pt" in run.checkpoint.message
    assert run.notebooks["01"].cells[0].status is Status.PASSED


def test_a_conversion_counts_whatever_a_notebook_sends_later(isolation: Isolation, tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"w": torch.arange(3.0)}, content)
    run = run_with_checkpoint(isolation, tmp_path, content.getvalue(), FORGE_CONVERSION)
    assert isinstance(run.checkpoint, bytes)
    assert load_arrays(run.checkpoint)["w"].tolist() == [0, 1, 2]


def test_a_conversion_that_dies_is_a_failure_with_its_reason(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is made anew for each run: a process that reads it may die in any way."""
    worker = tmp_path / "package" / "worker"
    shutil.copytree(package_file("worker"), worker, ignore=shutil.ignore_patterns("__pycache__"))
    text, line = (worker / "checkpoint.py").read_text(), "            loaded = torch.load("
    assert line in text
    dying = f"            import os\n            os.abort()\n{line}"
    (worker / "checkpoint.py").write_text(text.replace(line, dying, 1))
    for place in (tmp_path / "package", worker):
        place.chmod(0o755)
    monkeypatch.setattr("autograder.jail.bubblewrap.package_file", lambda name: tmp_path / "package" / name)
    run = run_with_checkpoint(isolation, tmp_path, b"anything", FORGE_CONVERSION)
    assert isinstance(run.checkpoint, Problem)
    assert "could not be read as a checkpoint: the process was killed (SIGABRT)" in run.checkpoint.message


def test_a_stopped_launcher_is_the_students_timeout(isolation: Isolation, tmp_path: Path) -> None:
    limits = Limits(cell_seconds=3, notebook_seconds=4, submission_seconds=5)
    cells = ["import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(100)"]
    run = run_cells(isolation, tmp_path, {"stops": cells}, limits=limits)
    assert run.notebooks["stops"].status is Status.TIMEOUT


@pytest.mark.parametrize(
    ("forged", "status"),
    [
        ("b'not json' + bytes([10])", Status.CRASHED),
        ("b'[' * 200_000 + bytes([10])", Status.CRASHED),
        ("b'{\"payload_bytes\": 1e9}' + bytes([10])", Status.CRASHED),
        ("b'{\"payload_bytes\": -1}' + bytes([10])", Status.CRASHED),
        ("b'x' * (90 << 20)", Status.OUTPUT_LIMIT),
    ],
)
def test_a_garbled_record_stream_is_the_students_fault(
    isolation: Isolation, tmp_path: Path, forged: str, status: Status
) -> None:
    cells = [f"import os\nos.write(int(os.environ['AUTOGRADER_RECORDS_FD']), {forged})\nos.kill(os.getppid(), 9)"]
    run = run_cells(isolation, tmp_path, {"forges": cells})
    assert run.notebooks["forges"].status is status


DAEMONS = """
import os, signal, subprocess, sys, time
def live_on(stop):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
                signal.signal(number, signal.SIG_IGN)
            if stop:
                os.kill(os.getpid(), signal.SIGSTOP)
            os.execv("/bin/sleep", ["MARK", "300"])
        os._exit(0)
    os.wait()
live_on(stop=False)
live_on(stop=True)
subprocess.Popen(["MARK", "300"], executable="/bin/sleep", start_new_session=True)
"""


def processes_named(mark: str) -> str:
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, text=True, check=False).stdout


def test_no_process_survives_its_notebook(isolation: Isolation, tmp_path: Path) -> None:
    mark = f"outlives-{tmp_path.name}"
    look = "import os\nprint([p for p in os.listdir('/proc') if p.isdigit()])"
    run = run_cells(isolation, tmp_path, {"first": [DAEMONS.replace("MARK", mark)], "second": [look]})
    assert run.notebooks["first"].status is Status.PASSED, run.notebooks["first"].cells
    assert text_of(run, "second", 0).count("'") == 6  # the namespace's first, the launcher, and the notebook
    assert not processes_named(mark)


def test_nothing_survives_the_jail(isolation: Isolation) -> None:
    with start("launcher", LIMITS, isolation, streams=2) as jail:  # it waits for a plan that never comes
        pid = jail.process.pid
        time.sleep(0.5)
        assert jail.process.poll() is None
    alive = subprocess.run(["pgrep", "-g", str(pid)], capture_output=True, text=True, check=False).stdout
    assert not alive


def test_a_killed_grader_takes_its_jail_along(isolation: Isolation, tmp_path: Path) -> None:
    mark = f"grader-{tmp_path.name}"
    code = (
        "import os, pathlib, time; from autograder.core.config import Limits\n"
        "from autograder.jail import find_isolation, start\n"
        "seen = {'/' + os.environ['MARK']: pathlib.Path('/usr')}\n"
        "jail = start('launcher', Limits(), find_isolation(), read_only=seen, streams=2)\n"
        "print('started', flush=True); time.sleep(60)"
    )
    told = os.environ | {"MARK": mark}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=told) as grader:
        assert grader.stdout is not None
        assert grader.stdout.readline() == b"started\n"
        time.sleep(1)
        assert processes_named(mark)
        grader.kill()
    ended = time.monotonic() + 10
    while processes_named(mark) and time.monotonic() < ended:
        time.sleep(0.1)
    assert not processes_named(mark)


SYSTEMD_RUN = """#!/bin/sh
# Stands in for systemd-run --scope, which has the program take its own place.
echo "$@" >> {log}
while [ "$1" != "--" ]; do shift; done
shift
exec "$@"
"""


def test_a_control_group_is_used_where_systemd_grants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: Isolation
) -> None:
    program, log = tmp_path / "bin" / "systemd-run", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(SYSTEMD_RUN.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    scope = find_scope()
    assert scope == ("--user" if os.getuid() else "--system")
    inside = replace(isolation, scope=scope)
    run = run_cells(inside, tmp_path, {"plain": ["answer = 42"]}, answers=["answer"])
    assert values(run, "plain") == {"answer": 42}
    asked = log.read_text().splitlines()[-1]
    assert "--scope" in asked
    assert f"TasksMax={4 * LIMITS.processes}" in asked
    assert "MemorySwapMax=0" in asked
    assert "control group" in inside.describe()


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nexec </dev/null 3<&- 4<&- 5<&-\n"])
def test_a_systemd_that_refuses_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "systemd-run"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_scope() == ""


def test_what_is_not_filtered_is_said(isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{len(denied_names())} system calls denied" in isolation.describe()
    monkeypatch.setattr("autograder.jail.isolation.is_available", lambda: False)
    assert "no system call filter" in isolation.describe()


def test_a_silent_stream_ends_at_its_deadline(isolation: Isolation) -> None:
    with start("launcher", LIMITS, isolation, streams=2) as jail:  # it waits for a plan that never comes
        began = time.monotonic()
        with pytest.raises(StreamProblem) as caught:
            FrameReader(jail, 1000).next(began + 1)
    assert caught.value.status is Status.TIMEOUT
    assert time.monotonic() - began < 5


def test_frames_survive_the_way_to_a_file_and_back(isolation: Isolation, tmp_path: Path) -> None:
    run = run_cells(isolation, tmp_path, {"plain": ["answer = 42"]}, answers=["answer"])
    frames = list(run.frames["plain"])
    assert decode_frames(encode_frames(frames)) == frames


def test_an_identical_notebook_is_run_once(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_cells(isolation, tmp_path, {"same": ["answer = 42"]}, answers=["answer"])

    def refuse(*_: object, **__: object) -> JailedProcess:
        raise AssertionError("a second jail was started")

    monkeypatch.setattr("autograder.pipeline.jail_run.start", refuse)
    second = run_cells(isolation, tmp_path, {"same": ["answer = 42"]}, answers=["answer"])
    assert second.notebooks == first.notebooks


def test_apparmor_restriction_is_named_with_its_remedy() -> None:
    around = Granted(restricts_namespaces=True)
    assert "AppArmor" in remedy_for("bwrap: setting up uid map: Permission denied", around)


BELOW_TIME = "%%time\nx = 1\nclass Timed:\n    def go(self):\n        return 1 / 0\nTimed().go()"
CAPTURED = "%%capture\nprint('hidden')\ny = 2\nraise ValueError('swallowed')\nz = 3"
TRAINS = "from time import sleep\nkept = [1, 2]\nsleep(60)\nlost = 3\nprint('trained')"


def test_magics_swallow_no_error_and_no_line(isolation: Isolation, tmp_path: Path) -> None:
    run = run_cells(isolation, tmp_path, {"01": [BELOW_TIME, CAPTURED, "%no_such_magic", "1 + 1"]}, ["x", "y"])
    timed, captured, unknown, plain = run.notebooks["01"].cells
    assert (timed.status, timed.line) == (Status.ERROR, 5)
    assert "ZeroDivisionError" in timed.message
    assert (captured.status, captured.line) == (Status.ERROR, 4)
    assert "swallowed" in captured.message
    assert "hidden" not in text_of(run, "01", 1)
    assert unknown.status is Status.ERROR
    assert plain.status is Status.PASSED
    assert values(run, "01") == {"x": 1, "y": 2}


def test_of_a_training_cell_only_what_is_asked_for_runs(isolation: Isolation, tmp_path: Path) -> None:
    probes = [{"kind": "answer", "name": name, "step": f"answer-{name}"} for name in ("kept", "lost")]
    (tmp_path / "files").mkdir()
    own = {"name": "01", "probes": probes, "outputs": 10, "output_bytes": 1000}
    seconds = {"cell_seconds": 4, "notebook_seconds": 40, "probe_seconds": 4}
    cells = [{"index": 3, "source": f"%%time\n{TRAINS}", "only": ["kept"]}]
    plan = Plan([{**own, **seconds, "cells": cells}], {"01": probes}, {"01": "key"})
    run = run_plan(plan, tmp_path / "files", LIMITS, isolation, Cache(tmp_path / "cache"))
    assert run.notebooks["01"].cells[0].status is Status.PASSED
    answers = {f.header["name"]: f.header for f in run.frames["01"] if f.header.get("kind") == "answer"}
    assert "problem" not in answers["kept"]
    assert answers["lost"]["problem"]["type"] == "Missing"


def test_what_is_not_here_is_told_as_a_cause_with_its_line(isolation: Isolation, tmp_path: Path) -> None:
    cells = [
        "x = 1\nimport no_such_package",
        "%matplotlib widget",
        "import urllib.request as u\nu.urlopen('http://example.org')",
    ]
    run = run_cells(isolation, tmp_path, {"01": cells})
    told = [(cell.cause, cell.detail, cell.line) for cell in run.notebooks["01"].cells]
    assert told == [("package", "no_such_package", 2), ("screen", "", 1), ("network", "", 2)]
