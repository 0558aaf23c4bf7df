"""Plain nbgrader commands from a process that has imported nbgrader: half of what a small command costs is its imports.

    done = COMMANDS.run(course, ["autograde", "cnn"])

Each command runs in a process of its own, forked when it is asked for: with its own folder, environment, cores, output
and exit status, as from a terminal. Run as a program, this module is the process that waits for orders.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = (
    "nbgrader.apps.nbgraderapp",
    "nbgrader.apps.autogradeapp",
    "nbgrader.apps.generatefeedbackapp",
    "nbgrader.api",
    "autograder.nbgrader_plugin",
    "autograder.feedback_plugin",
)


class Commands:
    """Runs nbgrader commands, one after the other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the process that waits for orders."""
        if self._process is not None:
            self._process.communicate()  # closes its standard input
            self._process = None

    def run(self, place: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """What `nbgrader <arguments>` does in a folder."""
        process = self._process or self._start()
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            order = {
                "arguments": list(arguments),
                "place": str(place),
                "environment": dict(os.environ),
                "cores": sorted(os.sched_getaffinity(0)),
                "out": str(out),
                "err": str(err),
            }
            status = self._obey(process, json.dumps(order))
            return subprocess.CompletedProcess(["nbgrader", *arguments], status, out.read_text(), err.read_text())

    def _obey(self, process: subprocess.Popen[str], order: str) -> int:
        """Give an order and await its exit status; whoever interrupts this ends the command as well."""
        assert process.stdin is not None
        process.stdin.write(order + "\n")
        process.stdin.flush()
        command = _number(process)
        try:
            return _number(process)
        except BaseException:
            os.kill(command, signal.SIGKILL)
            raise

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.nbgrader_commands"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        return self._process


COMMANDS = Commands()  # one for all tests of a process: pytest imports conftest.py under two names
atexit.register(COMMANDS.close)


def _number(process: subprocess.Popen[str]) -> int:
    """The next line: the command's process, and then how it ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the process for nbgrader's commands ended with {process.wait()}")
    return int(line)


def await_order() -> dict[str, Any] | None:
    """In the forked process of a command its order; None where there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            order: dict[str, Any] = json.loads(line)
            return order
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def become(order: dict[str, Any]) -> None:
    """Take on folder, environment, cores, files and name of the command."""
    os.chdir(order["place"])
    os.sched_setaffinity(0, order["cores"])
    os.environ.clear()
    os.environ.update(order["environment"])
    targets = ((os.devnull, os.O_RDONLY, 0), (order["out"], os.O_WRONLY, 1), (order["err"], os.O_WRONLY, 2))
    for path, mode, descriptor in targets:
        opened = os.open(path, mode | (os.O_CREAT if descriptor else 0), 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    program = str(Path(sys.executable).parent / "nbgrader")
    sys.argv = [program, *order["arguments"]]
    sys.path[0] = str(Path(program).parent)  # as the interpreter does for a program


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    order = await_order()
    if order is not None:
        become(order)
        from nbgrader.apps.nbgraderapp import main as nbgrader

        sys.exit(nbgrader())


if __name__ == "__main__":
    main()
