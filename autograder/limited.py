"""Work on what a student wrote in a process with limits: whatever it takes too much of, only that process ends by it.

    found = run_limited(read_folder, {"folder": "submitted/ada/cnn"}, Bounds(cpu_seconds=20))

Parsing, repairing and rendering hostile input is our own code, so it needs no jail; but a few megabytes of input can be
minutes and gigabytes of work. The process gets its argument and gives its answer as JSON: no pickle crosses.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from autograder.results import Status

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

    The process is forked, which takes hundredths of a second. From a process with several threads (formgrader's
    server) a new one is started instead: a lock that another thread holds at the fork would never be released.
    """
    read_end, write_end = os.pipe()
    starts = _fork if threading.active_count() == 1 else _start
    child = starts(function, argument, bounds, write_end)
    os.close(write_end)
    try:
        answer = _receive(read_end, bounds)
    except BaseException:  # too much, or the user's Ctrl-C
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(read_end)
    return _read_answer(answer, os.waitpid(child, 0)[1], bounds)


def _fork(function: Callable[[Any], Any], argument: Any, bounds: Bounds, answers: int) -> int:
    child = os.fork()
    if child == 0:
        _work(function, argument, bounds, answers)
    return child


def _start(function: Callable[[Any], Any], argument: Any, bounds: Bounds, answers: int) -> int:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r}); "
        "from autograder.limited import main; main()"
    )
    told = {"module": function.__module__, "function": function.__qualname__, "argument": argument}
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", code, str(answers), json.dumps(asdict(bounds))],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=[answers],
    )
    process.returncode = 0  # it is waited for by its number
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as stream:
        stream.write(json.dumps(told).encode())
    return process.pid


def main() -> None:
    """The started process: what to do comes on standard input, the answer goes to the descriptor that is named."""
    told = json.load(sys.stdin)
    function = getattr(importlib.import_module(told["module"]), told["function"])
    _work(function, told["argument"], Bounds(**json.loads(sys.argv[2])), int(sys.argv[1]))


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
