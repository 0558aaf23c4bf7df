"""What bwrap is told: the namespaces of a jail, and what of the machine is mounted in it."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from autograder.core.config import Limits
from autograder.core.package import ROOT, package_file

HOME = "/home/student"


def namespace_arguments() -> list[str]:
    """Own PID, IPC, network, UTS and cgroup namespaces, and no new user namespace inside."""
    arguments = ["--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--hostname", "jail", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        # The launcher drops to an unprivileged uid itself, which needs these two until then.
        return [*arguments, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*arguments, "--unshare-user", "--uid", "65534", "--gid", "65534", "--disable-userns"]


def system_links() -> list[str]:
    """`/lib`, `/bin` and the like as on the host: links into `/usr`, or folders of their own."""
    arguments: list[str] = []
    for name in ("lib", "lib64", "lib32", "bin", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return arguments


def _python_paths() -> list[Path]:
    """The folders that Python and its packages are read from, outermost only."""
    paths = {Path(p) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr")}
    paths |= {Path(sysconfig.get_paths()[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {path.resolve() for path in list(paths)}
    return sorted(p for p in paths if p.is_dir() and not any(p != q and p.is_relative_to(q) for q in paths))


def mount_arguments(limits: Limits, read_only: Mapping[str, Path], gpu: bool) -> list[str]:
    """Python and the system read-only, sized tmpfs where something may be written, and nothing of the course."""
    binds = {str(path): path for path in _python_paths()}
    for path in ("/etc/ld.so.cache", "/etc/localtime", "/etc/fonts"):
        if Path(path).exists():
            binds[path] = Path(path)
    binds |= {str(target): source for target, source in read_only.items()}
    binds["/jail/autograder/worker"] = package_file("worker")
    targets = [*binds, HOME, "/jail/autograder/__init__.py"]
    # bwrap would make missing parents with mode 0700, closed to the unprivileged uid.
    parents = dict.fromkeys(str(p) for t in targets for p in list(Path(t).parents)[-2::-1])
    arguments = ["--proc", "/proc", "--dev", "/dev"]
    # Before the binds, since an environment may live in /tmp.
    for target, mib in (("/tmp", limits.tmp_mib), ("/dev/shm", limits.tmp_mib)):
        arguments += ["--perms", "1777", "--size", str(mib << 20), "--tmpfs", target]
    arguments += [a for parent in parents if parent != "/tmp" for a in ("--perms", "0755", "--dir", parent)]
    arguments += ["--perms", "1777", "--size", str(limits.scratch_mib << 20), "--tmpfs", HOME]
    for target, source in sorted(binds.items()):
        arguments += ["--ro-bind", str(source), target]
    arguments += system_links()
    if any(ROOT.is_relative_to(path) for path in _python_paths()):
        # An installed package: hide the graders, all but the worker (bound above, under /jail).
        arguments += ["--tmpfs", str(ROOT), "--remount-ro", str(ROOT)]
    if gpu:
        for device in sorted(Path("/dev").glob("nvidia*")):
            arguments += ["--dev-bind", str(device), str(device)]
    return arguments
