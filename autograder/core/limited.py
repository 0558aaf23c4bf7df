"""Work on what a student wrote in a process with limits: whatever it takes too much of, only that process ends by it.

    found = run_limited(read_folder, {"folder": "submitted/ada"}, Bounds(cpu_seconds=20))

Parsing, repairing and rendering hostile input is our own code, so it needs no jail; but a few megabytes of input can be
minutes and gigabytes of work. The process gets its argument and gives its answer as JSON: no pickle crosses.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from autograder.core.grade_report import Status
from autograder.core.package import ROOT

PR_SET_PDEATHSIG = 1
CHUNK = 1 << 20
MORE_CPU_SECONDS = 2  # after the signal that can be caught, before the one that cannot
TOO_MUCH_MEMORY = 97  # exit status
FAILED = 98


@dataclass(frozen=True)
class Bounds:
    """What one piece of work may take: CPU seconds, wall-clock seconds, MiB of private memory beyond what the process
    starts with, and MiB of JSON in its answer. A busy machine may take the wall-clock time several times over."""

    cpu_seconds: float = 20
    wall_seconds: float = 180
    memory_mib: int = 1024
    answer_mib: int = 64


class TooMuch(RuntimeError):
    """The input takes more than it may: `status` (TIMEOUT, OUT_OF_MEMORY, OUTPUT_LIMIT or CRASHED) is the student's,
    the message says of what, and continues a sentence ("… takes more than 20 s")."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class WorkFailed(RuntimeError):
    """Our own function raised: a fault of the grader's. The message is its traceback."""


def run_limited(function: Callable[[Any], Any], argument: Any, bounds: Bounds = Bounds()) -> Any:
    """`function(argument)`, computed in a process with limits. Argument and result are JSON, the function is one that
    a module defines by name. Raises TooMuch and WorkFailed.

    The process is forked, which takes hundredths of a second. For a process with several threads (formgrader's server,
    a command with a progress bar) another one forks it, which has only one: a lock that another thread holds at the
    fork would never be released.
    """
    read_end, write_end = os.pipe()
    try:
        child = (_fork if threading.active_count() == 1 else _ask)(function, argument, bounds, write_end)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    try:
        answer = _receive(read_end, bounds)
    except BaseException:  # too much, or the user's Ctrl-C
        child.kill()
        child.wait()
        raise
    finally:
        os.close(read_end)
    return _read_answer(answer, child.wait(), bounds)


@dataclass(frozen=True)
class _Child:
    """A process that was forked here."""

    number: int

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.number, signal.SIGKILL)

    def wait(self) -> int:
        """Until it has ended; how, as os.waitpid tells."""
        return os.waitpid(self.number, 0)[1]


def _fork(function: Callable[[Any], Any], argument: Any, bounds: Bounds, answers: int) -> _Child:
    child = os.fork()
    if child == 0:
        _work(function, argument, bounds, answers)
    return _Child(child)


# A process that forks for another one


class _Forker:
    """A process of one thread, which forks others when it is asked to; it ends with the one that asks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        package = str(ROOT.parent)
        code = f"import sys; sys.path.insert(0, {package!r}); from autograder.core.limited import serve; serve()"
        with theirs:
            command = [sys.executable, "-I", "-c", code, str(theirs.fileno())]
            nowhere: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": "/"}
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], **nowhere)
        process.returncode = 0  # it is waited for by its number, if it does not outlive this process's interest
        self._number = process.pid
        self._is_done = False
        self.owner = os.getpid()

    def ask(self, told: dict[str, Any], answers: int) -> None:
        """Have one process work. Raises OSError where there is no forker any more."""
        text = json.dumps(told).encode("ascii")
        socket.send_fds(self._socket, [len(text).to_bytes(8, "big")], [answers])
        self._socket.sendall(text)

    def kill(self) -> None:
        """End the process. The forker goes with it: whether it has heard of the end already, nobody can know."""
        self._is_done = True
        with suppress(OSError):
            self._socket.sendall(b"k")

    def wait(self) -> int:
        """Until the process has ended; how, as os.waitpid tells."""
        status = b""
        with suppress(ConnectionError):  # somebody killed it
            status = _exactly(self._socket, 4)
        if len(status) < 4 or self._is_done:
            self.close()
        else:
            _idle.append(self)
        return int.from_bytes(status, "big") if len(status) == 4 else int(signal.SIGKILL)  # as its forker

    def let_go(self) -> None:
        """It ends by itself where nobody holds this end."""
        self._socket.close()

    def close(self) -> None:
        """Let it end."""
        self.let_go()
        with suppress(ChildProcessError):
            os.waitpid(self._number, 0)


_idle: list[_Forker] = []


@atexit.register
def _let_them_end() -> None:
    """Not waited for: a process that was forked from this one may hold the other end, too."""
    while _idle:
        _idle.pop().let_go()


def _ask(function: Callable[[Any], Any], argument: Any, bounds: Bounds, answers: int) -> _Forker:
    told = {"module": function.__module__, "function": function.__qualname__, "argument": argument}
    told["bounds"] = asdict(bounds)
    while True:
        try:
            forker = _idle.pop()
        except IndexError:
            forker = _Forker()
            forker.ask(told, answers)
            return forker
        if forker.owner != os.getpid():
            continue  # it is that of the process from which this one was forked
        try:
            forker.ask(told, answers)
        except OSError:  # somebody killed it
            forker.close()
        else:
            return forker


def serve() -> None:
    """The forker: one process after another, each killed when a byte comes, or when nobody is left who asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        while True:
            length, descriptors, _, _ = socket.recv_fds(asked, 8, 1)
            if len(length) < 8:
                return
            told = json.loads(_exactly(asked, int.from_bytes(length, "big")))
            with suppress(Exception):  # once, for all that follow; where it fails, the process itself says so
                importlib.import_module(told["module"])
            status = _forked(asked, told, descriptors[0])
            with suppress(BrokenPipeError):  # nobody is left
                asked.sendall(status.to_bytes(4, "big"))


def _forked(asked: socket.socket, told: dict[str, Any], answers: int) -> int:
    """Fork, and wait for the end; how it ended."""
    ends, alive = os.pipe()
    child = os.fork()
    if child == 0:
        asked.close()
        _work(partial(_named, told), told["argument"], Bounds(**told["bounds"]), answers)
    os.close(alive)
    os.close(answers)
    waiting: list[Any] = [asked, ends]
    try:
        if asked in select.select(waiting, [], [])[0]:
            asked.recv(1)
            os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]
    finally:
        os.close(ends)


def _named(told: dict[str, Any], argument: Any) -> Any:
    return getattr(importlib.import_module(told["module"]), told["function"])(argument)


def _exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes; fewer where there are no more."""
    received = bytearray()
    while len(received) < size and (chunk := source.recv(min(CHUNK, size - len(received)))):
        received += chunk
    return bytes(received)


# In the process with limits


def _work(function: Callable[[Any], Any], argument: Any, bounds: Bounds, answers: int) -> NoReturn:
    """In the process with limits. Ends it: exit hooks and open files are the other process's."""
    status = FAILED
    try:
        _confine(bounds)
        result = {"result": function(argument)}
        _send(answers, json.dumps(result, ensure_ascii=True).encode("ascii"))
        status = 0
    except (MemoryError, RecursionError):
        status = TOO_MUCH_MEMORY
    except BaseException:
        with suppress(BaseException):
            _send(answers, json.dumps({"raised": traceback.format_exc()[-4000:]}).encode("ascii"))
    finally:
        os._exit(status)


def _confine(bounds: Bounds) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process hears it, and ends this one
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    _lower(resource.RLIMIT_CORE, 0, 0)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    seconds = max(1, round(used + bounds.cpu_seconds))
    _lower(resource.RLIMIT_CPU, seconds, seconds + MORE_CPU_SECONDS)
    # Private writable memory; the address space would count what libraries have reserved and do not use.
    memory = _private_bytes() + (bounds.memory_mib << 20)
    _lower(resource.RLIMIT_DATA, memory, memory)


def _lower(kind: int, soft: int, hard: int) -> None:
    """Set a limit, unless there is a lower one already."""
    most = resource.getrlimit(kind)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def _private_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))


def _send(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _receive(descriptor: int, bounds: Bounds) -> bytes:
    """All that the process sends until its end. Raises TooMuch."""
    deadline = time.monotonic() + bounds.wall_seconds
    answer = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TooMuch(Status.TIMEOUT, f"takes more than {bounds.wall_seconds:g} s")
        if not select.select([descriptor], [], [], left)[0]:
            continue
        chunk = os.read(descriptor, CHUNK)
        if not chunk:
            return bytes(answer)
        answer += chunk
        if len(answer) > bounds.answer_mib << 20:
            raise TooMuch(Status.OUTPUT_LIMIT, f"makes more than {bounds.answer_mib} MiB")


def _read_answer(answer: bytes, status: int, bounds: Bounds) -> Any:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        raise TooMuch(Status.TIMEOUT, f"takes more than {bounds.cpu_seconds:g} s of computing time")
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == TOO_MUCH_MEMORY:
        raise TooMuch(Status.OUT_OF_MEMORY, f"takes more than {bounds.memory_mib} MiB of memory")
    if os.WIFSIGNALED(status):
        raise TooMuch(Status.CRASHED, f"ends the process that works on it ({signal.Signals(os.WTERMSIG(status)).name})")
    found = json.loads(answer) if answer else {"raised": f"no answer (exit status {os.WEXITSTATUS(status)})"}
    if "raised" in found:
        raise WorkFailed(found["raised"])
    return found["result"]
