"""The trusted process that runs hidden graders, seen from the pipeline: started early, asked by lines, never waited for
without end."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from autograder.core.grade_report import Status
from autograder.judging.job import Work, work_record
from autograder.pipeline.judge_main import OUT_OF_MEMORY

# Of the time for judging, for models to run: when they take longer it is the student's time-out of one check. The rest
# is for starting the runner again after each of them, and for the checks themselves.
RUNNER_SHARE = 0.6
STARTUP_SECONDS = 120  # for imports on a busy machine
ENDING_SECONDS = 10
ANSWER_BYTES = 64 << 20
STUDENTS = ("evidence", "check", "figures")  # stages in which the process works on what a student made
ENDINGS = {
    signal.SIGXCPU: (Status.TIMEOUT, "takes more computing time than there is for it"),
    signal.SIGSEGV: (Status.CRASHED, "ends the process that does it"),
    signal.SIGABRT: (Status.CRASHED, "ends the process that does it"),
    signal.SIGBUS: (Status.CRASHED, "ends the process that does it"),
    signal.SIGFPE: (Status.CRASHED, "ends the process that does it"),
}


class GradingFault(RuntimeError):
    """The process with the hidden graders did not answer: the grader's own fault."""


@dataclass
class Progress:
    """How far a work has come: the results so far, and what was being done."""

    stage: str = ""
    check: Mapping[str, Any] | None = None
    results: list[Mapping[str, Any]] = field(default_factory=list)


class JudgingEnded(Exception):
    """The process ended, or was ended, while it judged what a student made: `status` is the student's, the message
    continues a sentence ("judging this …"). `progress` has the results of the checks before."""

    def __init__(self, status: Status, message: str, progress: Progress) -> None:
        super().__init__(message)
        self.status, self.progress = status, progress


class GradingProcess:
    """A process of judge_main.py, started when first needed or, to warm its runner up early, by `start`.

        with GradingProcess(setup, folder, seconds) as process:
            answer = process.grade(work)

    `folder` is its working directory, outside the course: no configuration of it is found there. `seconds` bounds each
    answer. A process that failed is replaced at the next work.
    """

    def __init__(self, setup: Mapping[str, Any], folder: Path, seconds: float) -> None:
        self._setup, self._folder, self._seconds = setup, folder, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._buffer = b""

    def __enter__(self) -> GradingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._is_ready, self._buffer = False, b""

    def grade(self, work: Work, seconds: float = math.inf) -> dict[str, Any]:
        """The answer of `autograder.pipeline.judge_main` to a work. Raises GradingFault and JudgingEnded."""
        seconds = min(seconds, self._seconds)
        process, progress = self._process or self.start(), Progress()
        self._await_ready(process)
        deadline = time.monotonic() + seconds
        record = work_record(replace(work, runner_seconds=min(work.runner_seconds, RUNNER_SHARE * seconds)))
        try:
            _write(process, json.dumps(record) + "\n")
            while True:
                told = json.loads(self._line(process, deadline))
                if "answer" in told:
                    answer: dict[str, Any] = told["answer"]
                    return answer
                _note(told, progress)
        except (TimeoutError, ValueError, OSError) as error:
            raise self._explain(process, error, progress) from error

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process and tell it the set-up; does not wait. Raises GradingFault."""
        with open(self._folder / "grading.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "autograder.pipeline.judge_main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                # What its runner leaves lies in its own folder and goes with that, however the process ends.
                env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
                | {"TMPDIR": str(self._folder.absolute())},
            )
        try:
            _write(self._process, json.dumps(self._setup) + "\n")
        except BrokenPipeError as error:
            self.close()
            raise GradingFault(self._log_tail()) from error
        return self._process

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Until then nothing of a student's has reached the process: what goes wrong is the grader's."""
        if self._is_ready:
            return
        try:
            json.loads(self._line(process, time.monotonic() + STARTUP_SECONDS))
        except (TimeoutError, ValueError, OSError) as error:
            raise self._fault(error) from error
        self._is_ready = True

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        """The next line. Raises TimeoutError, and ValueError where the process has ended or babbles."""
        output: IO[bytes] | None = process.stdout
        assert output is not None
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            if len(self._buffer) > ANSWER_BYTES:
                raise ValueError(f"an answer of more than {ANSWER_BYTES >> 20} MiB")
            if select.select([output], [], [], left)[0]:
                chunk = os.read(output.fileno(), 1 << 20)
                if not chunk:
                    raise ValueError("the process ended")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _explain(
        self, process: subprocess.Popen[bytes], error: Exception, progress: Progress
    ) -> GradingFault | JudgingEnded:
        """Whose fault it is that there is no answer: what a student made may take too much, or end the process; all
        else is the grader's."""
        if progress.stage not in STUDENTS:
            return self._fault(error)
        if isinstance(error, TimeoutError):
            self.close()
            return JudgingEnded(Status.TIMEOUT, "takes more time than there is for it", progress)
        with suppress(subprocess.TimeoutExpired):  # it babbles, and lives
            process.wait(ENDING_SECONDS)
        self.close()
        status = process.returncode
        if status == OUT_OF_MEMORY:
            return JudgingEnded(Status.OUT_OF_MEMORY, "takes more memory than there is for it", progress)
        if status < 0 and -status in ENDINGS:
            return JudgingEnded(*ENDINGS[signal.Signals(-status)], progress)
        return self._fault(error)

    def _fault(self, error: Exception) -> GradingFault:
        self.close()
        return GradingFault(f"the hidden graders gave no result ({type(error).__name__}): {self._log_tail()}")

    def _log_tail(self) -> str:
        return (self._folder / "grading.log").read_text(errors="replace")[-1500:].strip()


def _note(told: Mapping[str, Any], progress: Progress) -> None:
    if "result" in told:
        progress.results.append(told["result"])
        progress.stage, progress.check = "collection", None  # between two checks it is pytest that works
    elif "stage" in told:
        progress.stage, progress.check = str(told["stage"]), told.get("check")


def _write(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode())
    process.stdin.flush()
