"""The trusted process that runs hidden graders, seen from the pipeline: started early, asked by lines, never waited for
without end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path
from typing import IO, Any

from autograder.jobs import Work, work_record


class GradingFault(RuntimeError):
    """The process with the hidden graders did not answer: the grader's own fault."""


class GradingProcess:
    """A process of `autograder.grading`, started when first needed or, to warm its runner up early, by `start`.

        with GradingProcess(setup, folder, seconds) as process:
            answer = process.grade(work)

    `folder` is its working directory, outside the course: no configuration of it is found there. `seconds` bounds each
    answer. A process that failed is replaced at the next work.
    """

    def __init__(self, setup: Mapping[str, Any], folder: Path, seconds: float) -> None:
        self._setup, self._folder, self._seconds = setup, folder, seconds
        self._process: subprocess.Popen[str] | None = None

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

    def grade(self, work: Work) -> dict[str, Any]:
        """The answer of `autograder.grading` to one submission's work. Raises GradingFault."""
        process = self._process or self.start()
        try:
            answer: dict[str, Any] = json.loads(self._exchange(process, json.dumps(work_record(work)) + "\n"))
        except (futures.TimeoutError, ValueError, OSError) as error:
            self.close()
            problem = f"the hidden graders gave no result ({type(error).__name__})"
            raise GradingFault(f"{problem}: {self._log_tail()}") from error
        return answer

    def start(self) -> subprocess.Popen[str]:
        """Start the process and tell it the set-up; does not wait. Raises GradingFault."""
        with open(self._folder / "grading.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "autograder.grading"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
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

    def _exchange(self, process: subprocess.Popen[str], line: str) -> str:
        """Write a line and read one, in a thread: either may block for as long as the process likes."""
        with futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(_write_and_read, process, line)
            try:
                return answer.result(self._seconds)
            except futures.TimeoutError:
                process.kill()  # which ends the thread's waiting too
                raise

    def _log_tail(self) -> str:
        return (self._folder / "grading.log").read_text(errors="replace")[-1500:].strip()


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def _write_and_read(process: subprocess.Popen[str], line: str) -> str:
    _write(process, line)
    output: IO[str] | None = process.stdout
    assert output is not None
    return output.readline()
