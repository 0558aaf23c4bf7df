"""What each submission costs a run of nbgrader: how long it is at work, and the most memory that is used meanwhile."""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

EVERY = 0.2  # seconds between two looks
# nbgrader names the folder that it begins with, and each notebook that it has written.
PLACE = re.compile(r"/(?:submitted|autograded|feedback)/([^/\s]+)/")


@dataclass
class Cost:
    """`seconds` by the clock; `mib` of all processes together, what they share counted once."""

    seconds: float = 0.0
    mib: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Of two runs, one after the other."""
        return Cost(self.seconds + other.seconds, max(self.mib, other.mib))


def run_and_watch(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], names: Collection[str]
) -> tuple[subprocess.CompletedProcess[str], dict[str, Cost]]:
    """Run one of nbgrader's commands on the submissions of these students, who come one after the other."""
    costs = {name: Cost() for name in names}
    current: list[str] = []
    lines: list[str] = []

    def read(stream: IO[str]) -> None:
        for line in stream:
            lines.append(line)
            current.extend(name for name in PLACE.findall(line) if name in costs)

    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            assert process.stderr is not None
            reader = threading.Thread(target=read, args=(process.stderr,))
            reader.start()
            before = time.monotonic()
            while process.poll() is None:
                time.sleep(EVERY)
                now = time.monotonic()
                if current:
                    costs[current[-1]] += Cost(now - before, memory_of(process.pid))
                before = now
            reader.join()
        output.seek(0)
        done = subprocess.CompletedProcess(command, process.returncode, output.read(), "".join(lines))
    return done, costs


def memory_of(pid: int) -> int:
    """MiB of a process and all below it."""
    found = 0
    with suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.Error):  # it has ended
                found += process.memory_full_info().pss
    return found >> 20
