"""What a notebook can do to the machine, to the grader and to the stream that leaves the jail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autograder.cache import Cache
from autograder.config import Limits
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
from autograder.jail.sandbox import _remedy_for
from autograder.plan import Plan
from autograder.results import Status
from autograder.run import JailRun, run_plan

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
import socket
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
    run = run_cells(isolation, tmp_path, {"look": [LOOK_AROUND.replace("COURSE", repr(course)), BREAK_OUT]})
    seen = json.loads(text_of(run, "look", 0))
    assert seen["uid"] != 0
    assert set(seen["groups"]) <= {seen["uid"], 65534}
    assert int(seen["capabilities"], 16) == 0
    assert seen["no_new_privileges"] == "1"
    assert seen["pid"] < 100
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
    kinds = {place.split(":")[0] for place in seen["descriptors"].values() if not place.startswith("/proc/")}
    assert kinds <= {"/dev/null", "pipe"}
    attempts = text_of(run, "look", 1)
    assert "DONE" not in attempts
    assert attempts.count("refused") == 11


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
    assert "exit status 0" in run.notebooks["exits"].cells[1].message
    after = {name: values(run, name)["after"] for name in notebooks}
    assert after == {"endless": 1, "stubborn": 2, "exits": 3, "hungry": 4, "noisy": 5, "daemon": 6}
    assert {notebook.status for notebook in run.notebooks.values()} == {Status.PASSED}


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


def test_a_killed_launcher_is_the_students_crash(isolation: Isolation, tmp_path: Path) -> None:
    run = run_cells(
        isolation, tmp_path, {"kills": ["import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"], "next": ["1"]}
    )
    assert run.notebooks["kills"].status is Status.CRASHED
    assert run.notebooks["next"].status is Status.CRASHED


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


def test_nothing_survives_the_jail(isolation: Isolation) -> None:
    with start("launcher", LIMITS, isolation) as jail:
        pid = jail.process.pid
        time.sleep(0.5)
    alive = subprocess.run(["pgrep", "-g", str(pid)], capture_output=True, text=True, check=False).stdout
    assert not alive


def test_a_silent_stream_ends_at_its_deadline(isolation: Isolation) -> None:
    with start("launcher", LIMITS, isolation) as jail:  # it waits for a plan that never comes
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

    monkeypatch.setattr("autograder.run.start", refuse)
    second = run_cells(isolation, tmp_path, {"same": ["answer = 42"]}, answers=["answer"])
    assert second.notebooks == first.notebooks


def test_apparmor_restriction_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: "1\n")
    assert "AppArmor" in _remedy_for("bwrap: setting up uid map: Permission denied")
