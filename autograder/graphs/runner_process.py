"""The jailed process that runs model graphs: started when first needed, asked with deadlines, and again after it died.

It imports torch; this file does not. It may hang, die or send anything: every request has a deadline, every answer is
capped, and a process that failed is replaced at the next request.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from typing import Any, NoReturn

from autograder.core.grade_report import Status
from autograder.jail import FrameReader, JailedProcess, SandboxFault, StreamProblem

STARTUP_SECONDS = 120.0  # importing torch on a busy machine
MAX_ANSWER_BYTES = 256 << 20
MAX_MESSAGE = 300
WRITE_BYTES = 1 << 16
POLL_SECONDS = 0.25


class RunnerProblem(Exception):
    """A graph that did not run as asked: the student's. The message is for the student.

    `status` is TIMEOUT, OUT_OF_MEMORY, CRASHED, ERROR (an operation failed, e.g. on shapes that do not fit) or REFUSED
    (too large, or not allowed). `line` is the student's line, encoded as in the graph; 0 where unknown.
    """

    def __init__(self, status: str, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.line = line


class RunnerFault(Exception):
    """The runner cannot start: the grader's own fault."""


class RunnerProcess:
    """The process that a runner asks. `loaded` are the handles that the current process holds; none after it ended."""

    def __init__(self, start: Callable[[], JailedProcess], device: str, seconds_in_all: float) -> None:
        self._start, self._device = start, device
        self._seconds_in_all = self._seconds_left = seconds_in_all
        self._process: JailedProcess | None = None
        self._requests = 0
        self._greeted = False
        self._hello_sent = False
        self.loaded: set[int] = set()
        self.device_name = ""

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self.loaded.clear()
        self._greeted = self._hello_sent = False

    def warm_up(self) -> None:
        """Start the process, so that it imports torch while the caller does something else; does not wait."""
        self._open()
        if not self._hello_sent:
            try:
                self._send({"op": "hello", "device": self._device}, b"", time.monotonic() + STARTUP_SECONDS)
            except RunnerProblem as problem:
                self._cannot_start(problem)
            self._hello_sent = True

    def greet(self) -> None:
        """Wait until the process has imported torch. That it cannot is the grader's fault: it has seen no graph yet."""
        if self._greeted:
            return
        self.warm_up()
        try:
            answer, _ = self._receive(time.monotonic() + STARTUP_SECONDS)
        except RunnerProblem as problem:
            self._cannot_start(problem)
        if "error" in answer:
            self.close()
            raise RunnerFault(f"the device {self._device!r} cannot be used: {str(answer.get('message'))[:MAX_MESSAGE]}")
        self.device_name = str(answer.get("device"))[:80]
        self._greeted = True

    def ask(self, request: dict[str, Any], payload: bytes, deadline: float) -> tuple[dict[str, Any], bytes]:
        """Send a request with the bytes that go along, and give its answer with its bytes. Raises RunnerProblem."""
        began = time.monotonic()
        if self._seconds_left <= 0:
            raise RunnerProblem("TIMEOUT", f"running the models took more than {self._seconds_in_all:,.0f} s in all")
        deadline = min(deadline, began + self._seconds_left)
        try:
            self._send(request, payload, deadline)
            answer, content = self._receive(deadline)
        finally:
            self._seconds_left -= time.monotonic() - began
        if answer.get("error"):
            self._raise_problem(answer)
        return answer, content

    def distrust(self, what: str) -> NoReturn:
        """Give up on a process whose answer cannot be right. Raises RunnerProblem."""
        self._fail("CRASHED", f"the process that runs the model sent {what} that cannot be right")

    def allow(self, seconds: float) -> None:
        """Let all requests from now on take so many seconds together."""
        self._seconds_in_all = self._seconds_left = seconds

    def renew(self) -> None:
        """Let all requests from now on take as long together as was allowed last."""
        self._seconds_left = self._seconds_in_all

    def _open(self) -> JailedProcess:
        if self._process is None:
            try:
                self._process = self._start()
            except SandboxFault as fault:
                raise RunnerFault(str(fault)) from fault
        return self._process

    def _cannot_start(self, problem: RunnerProblem) -> NoReturn:
        tail = self._process.stderr_tail() if self._process is not None else ""
        self.close()
        raise RunnerFault(f"the process that runs model graphs does not start ({problem}). {tail}") from problem

    def _raise_problem(self, answer: dict[str, Any]) -> NoReturn:
        statuses = {"refused": "REFUSED", "out_of_memory": "OUT_OF_MEMORY"}
        kind, message, line = answer.get("error"), answer.get("message"), answer.get("line")
        status = statuses.get(str(kind), "ERROR")
        text = "".join(c for c in str(message)[:MAX_MESSAGE] if c.isprintable())
        if status == "OUT_OF_MEMORY":
            text = "the model needs more memory than there is"
        elif status == "ERROR":
            text = f"the model's operations fail on this input: {text}"
        raise RunnerProblem(status, text, line if type(line) is int and 0 <= line <= 10**9 else 0)

    def _send(self, request: dict[str, Any], payload: bytes, deadline: float) -> None:
        process = self._open()
        self._requests += 1
        header = {**request, "id": self._requests, "payload_bytes": len(payload)}
        view = memoryview(json.dumps(header).encode() + b"\n" + payload)
        descriptor = process.stdin.fileno()
        os.set_blocking(descriptor, False)  # a process that does not read must not hold us up
        while view:
            if time.monotonic() >= deadline:
                self._fail("TIMEOUT", "running the model took too long")
            if not process.watch():
                self._fail("OUT_OF_MEMORY", "the model needs more memory than there is")
            if not select.select([], [descriptor], [], POLL_SECONDS)[1]:
                continue
            try:
                view = view[os.write(descriptor, view[:WRITE_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError:
                self._fail("CRASHED", "the process that runs the model ended unexpectedly")

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        process = self._open()
        try:
            frame = FrameReader(process, MAX_ANSWER_BYTES).next(deadline)
        except StreamProblem as problem:
            messages = {
                Status.TIMEOUT: "running the model took too long",
                Status.OUT_OF_MEMORY: "the model needs more memory than there is",
            }
            status = problem.status if problem.status in messages else Status.CRASHED
            self._fail(status.value, messages.get(status, f"the process that runs the model failed: {problem}"))
        if frame is None:
            self._fail("CRASHED", "the process that runs the model ended unexpectedly")
        if frame.header.get("id") != self._requests:
            self.distrust("answer")
        return frame.header, frame.payload

    def _fail(self, status: str, message: str) -> NoReturn:
        """Give up on the process: what it still holds is of no use, and it may never answer again."""
        if self._process is not None and self._process.exceeded:
            status, message = "OUT_OF_MEMORY", "the model needs more memory than there is"
        if self._greeted:  # before that, greet wants to read what the process said on standard error
            self.close()
        raise RunnerProblem(status, message)
