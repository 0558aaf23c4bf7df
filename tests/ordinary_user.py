"""Run commands as an ordinary user, also where the tests run as root, and where user namespaces are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from autograder.jail import find_isolation

UID = 4242
ROOT = Path(__file__).resolve().parent.parent
BECOME = f"import os, sys; os.setgroups([]); os.setresgid(*[{UID}] * 3); os.setresuid(*[{UID}] * 3); "
BECOME += "os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class User:
    """An ordinary user with a folder of their own."""

    home: Path

    def run(
        self, *command: object, cwd: Path | None = None, namespaces: bool = True, seconds: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user; without `namespaces`, where the kernel refuses them any further one."""
        words = [str(word) for word in command]
        if not namespaces:
            bwrap = find_isolation().bwrap
            words = [bwrap, "--unshare-user", "--disable-userns", "--dev-bind", "/", "/", "--", *words]
        (self.home / "tmp").mkdir(exist_ok=True)
        self.give(self.home / "tmp")
        environment = {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "PATH": os.environ["PATH"]}
        return subprocess.run(
            [*_become(), *words],
            cwd=cwd or self.home,
            env={**environment, "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=seconds,
            check=False,
        )

    def give(self, path: Path) -> None:
        """Make them the owner of a folder and of everything in it."""
        if os.geteuid() == 0:
            for entry in (path, *path.rglob("*")):
                os.chown(entry, UID, UID, follow_symlinks=False)


def _become() -> list[str]:
    """The words before a command that make it an ordinary user's; none where the tests are run by one.

    Python itself may lie in root's closed home: there a mount namespace shows it, and nothing else of that home.
    """
    if os.geteuid() != 0:
        return []
    needed = dict.fromkeys(Path(p).resolve() for p in (sys.base_prefix, sys.prefix, ROOT))
    shown: list[str] = []
    for path in needed:
        closed = next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)
        if closed is not None:
            between = [p for p in reversed(path.parents) if p.is_relative_to(closed) and p != closed]
            shown += ["--perms", "0755", "--tmpfs", str(closed)]
            shown += [word for parent in between for word in ("--perms", "0755", "--dir", str(parent))]
            shown += ["--ro-bind", str(path), str(path)]
    jail = [find_isolation().bwrap, "--dev-bind", "/", "/", *shown, "--"] if shown else []
    return [*jail, sys.executable, "-I", "-c", BECOME]


@contextmanager
def ordinary_user() -> Iterator[User]:
    """A user for a while; the test is skipped where there is none to be had."""
    if find_isolation().level == "none":
        pytest.skip(f"no jail on this machine: {find_isolation().problem}")
    home = Path(tempfile.mkdtemp(prefix="autograder-user-"))
    user = User(home)
    try:
        user.give(home)
        done = user.run(sys.executable, "-I", "-c", "import os; print(os.getuid())")
        if done.returncode or done.stdout.strip() == "0":
            pytest.skip(f"no command can be run as an ordinary user here: {done.stderr.strip()[-300:]}")
        yield user
    finally:
        shutil.rmtree(home, ignore_errors=True)
