"""A running jail: watch what it uses, and kill it with everything it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from autograder.core.config import Limits
from autograder.jail.bubblewrap import HOME

WATCH_SECONDS = 0.25


class JailedProcess:
    """A running jail. `stdin` takes the plan or the requests, `streams` are the readable ends of its record streams;
    `records` is the first of them, and the only one where it was asked for no more."""

    def __init__(
        self, process: subprocess.Popen[bytes], streams: list[int], errors: IO[bytes], limits: Limits, home: str | None
    ) -> None:
        assert process.stdin is not None
        self.process, self.streams, self.records, self.limits = process, streams, streams[0], limits
        self._open = set(streams)
        self.stdin: IO[bytes] = process.stdin
        self.exceeded = ""  # what the jail had too much of, in words
        self._errors, self._home = errors, home
        self._next_watch = 0.0

    def watch(self) -> bool:
        """Whether the jail is within its memory and number of files; kills it when not. Cheap to call often."""
        now = time.monotonic()
        if now >= self._next_watch:
            self._next_watch = now + WATCH_SECONDS
            pids = _process_tree(self.process.pid)
            if sum(map(_read_pss_kib, pids)) / 1024 > self.limits.memory_mib:
                self.exceeded = f"more than {self.limits.memory_mib} MiB of memory"
            elif self._home is None and _count_files(pids) > self.limits.scratch_files:
                self.exceeded = f"more than {self.limits.scratch_files:,} files"
            if self.exceeded:
                self.kill()
        return not self.exceeded

    def kill(self) -> None:
        """End every process of the jail: bwrap's death ends the PID namespace, and with it all that lives in it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status of the jail. Raises subprocess.TimeoutExpired."""
        return self.process.wait(timeout)

    def stderr_tail(self) -> str:
        """The last 2,000 characters of what bwrap and the launcher (never a notebook) wrote to standard error."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        return self._errors.read().decode(errors="replace").strip()

    def close_stream(self, stream: int) -> None:
        """Read no more of a record stream: who writes to it is told so by the system."""
        self._open.discard(stream)
        os.close(stream)

    def close(self) -> None:
        self.kill()
        self.process.wait()
        with suppress(OSError):  # the reader is gone; what was not flushed is of no use
            self.stdin.close()
        for stream in list(self._open):
            self.close_stream(stream)
        self._errors.close()
        remove_home(self._home)

    def __enter__(self) -> JailedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _process_tree(pid: int) -> list[int]:
    """A process and all below it, parents before their children."""
    with suppress(psutil.Error):
        return [pid, *(process.pid for process in psutil.Process(pid).children(recursive=True))]
    return [pid]


def _read_pss_kib(pid: int) -> int:
    """Proportional set size of a process in KiB: pages shared after a fork count once in all."""
    # Only anonymous and shared memory (tmpfs): pages of library files belong to the machine, not to the student.
    fields = ("Pss_Anon:", "Pss_Shmem:")
    with suppress(OSError):  # it has ended
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(fields))
    return 0


def _count_files(pids: list[int]) -> int:
    """How many files lie where a jail may write: names take memory that no process is charged for."""
    count = 0
    for pid in pids[1:2]:  # the jail's own init, which lives as long as it does
        root = f"/proc/{pid}/root"
        with suppress(OSError):  # not mounted yet, or ended
            if os.stat(root).st_dev == os.stat("/").st_dev:
                continue  # it has not left the host's files yet
            found = [os.statvfs(root + place) for place in ("/tmp", "/dev/shm", HOME)]
            count += sum(each.f_files - each.f_ffree for each in found)
    return count


def remove_home(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)  # what a notebook locked away in its scratch folder stays in /tmp
