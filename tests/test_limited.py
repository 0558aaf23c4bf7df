"""Work in a process with limits: what it takes too much of is said, and nothing else suffers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from autograder.core import limited
from autograder.core.grade_report import Status
from autograder.core.limited import Bounds, TooMuch, WorkFailed, run_limited
from tests.limited_work import babble, die, echo, hoard, kill_parent, leave, nest, sleep, spin, stumble

SMALL = Bounds(cpu_seconds=1, wall_seconds=60, memory_mib=64, answer_mib=1)


@pytest.fixture(params=["forked", "started"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """From a process with one thread, and from one with several."""
    if request.param == "forked":
        yield "forked"
        return
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    yield "started"
    ended.set()
    thread.join()


def test_the_result_comes_back(way: str) -> None:
    """Lone surrogates, too: they stand for names of files that are no text."""
    found = run_limited(echo, ["é", "\ud800", 1.5, None, {"a": []}])
    assert found["heard"] == ["é", "\ud800", 1.5, None, {"a": []}]
    assert found["by"] != os.getpid()


@pytest.mark.parametrize(
    ("function", "argument", "status", "says"),
    [
        (spin, None, Status.TIMEOUT, "more than 1 s of computing time"),
        (hoard, 512, Status.OUT_OF_MEMORY, "more than 64 MiB of memory"),
        (nest, None, Status.OUT_OF_MEMORY, "memory"),
        (babble, 2, Status.OUTPUT_LIMIT, "more than 1 MiB"),
        (die, None, Status.CRASHED, "SIGTERM"),
    ],
    ids=["computing", "memory", "recursion", "answer", "killed"],
)
def test_too_much_is_said(way: str, function: Any, argument: Any, status: Status, says: str) -> None:
    with pytest.raises(TooMuch, match=says) as caught:
        run_limited(function, argument, SMALL)
    assert caught.value.status is status


def test_waiting_ends_too(way: str) -> None:
    with pytest.raises(TooMuch, match=r"more than 0\.5 s"):
        run_limited(sleep, 600, Bounds(wall_seconds=0.5))


def test_a_slip_of_our_own_is_no_fault_of_the_input(way: str) -> None:
    with pytest.raises(WorkFailed, match="our own slip"):
        run_limited(stumble, None)
    with pytest.raises(WorkFailed, match="exit status 3"):
        run_limited(leave, None)


def test_nothing_is_left(way: str) -> None:
    """No process that nobody waited for, no open file; but one process that forks for others, where that is needed."""
    run_limited(echo, 1)
    before = set(os.listdir("/proc/self/fd"))
    run_limited(echo, 1)
    with pytest.raises(TooMuch):
        run_limited(spin, None, SMALL)
    assert set(os.listdir("/proc/self/fd")) == before
    assert ended_children() == 0


def ended_children() -> int:
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


def test_what_is_killed_from_outside_is_replaced() -> None:
    """Also the process that forks, whether it waits or works."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert run_limited(echo, 1)["heard"] == 1
        idle = limited._idle[-1]._number
        os.kill(idle, signal.SIGKILL)
        os.waitid(os.P_PID, idle, os.WEXITED | os.WNOWAIT)
        assert run_limited(echo, 2)["heard"] == 2
        with pytest.raises(TooMuch, match="SIGKILL"):
            run_limited(kill_parent, None, SMALL)
        assert run_limited(echo, 3)["heard"] == 3
        with pytest.raises(TooMuch, match=r"more than 0\.5 s"):
            run_limited(sleep, 600, Bounds(wall_seconds=0.5))
        assert run_limited(echo, 4)["heard"] == 4
        assert ended_children() == 0
    finally:
        ended.set()
        thread.join()


def test_several_threads_work_side_by_side() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [found["heard"] for found in pool.map(lambda number: run_limited(echo, number), range(20))] == list(
            range(20)
        )
