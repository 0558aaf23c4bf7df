"""A control group of its own for each jail, where systemd grants one."""

from __future__ import annotations

import os
import shutil
import subprocess

from autograder.core.config import Limits

KERNEL_MIB = 1024  # of a jail's control group, for page cache and the kernel's own


def find_scope() -> str:
    """Which systemd, if any, runs a program in a control group with limits; proved with one that reads a descriptor."""
    if shutil.which("systemd-run") is None:
        return ""
    manager = "--user" if os.getuid() else "--system"
    read_end, write_end = os.pipe()
    os.write(write_end, b"inherited")
    os.close(write_end)
    command = [*scope_command(manager, Limits()), "/bin/cat", f"/dev/fd/{read_end}"]
    try:
        done = subprocess.run(
            command, env=bus_environment(), pass_fds=[read_end], capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    finally:
        os.close(read_end)
    return manager if done.stdout == b"inherited" else ""


def scope_command(manager: str, limits: Limits) -> list[str]:
    """Run what follows in a control group: a backstop for what watching misses, memory of the kernel's say.

    So its bound lies above the watched one: the files of a jail and the system's own share come on top.
    """
    files = limits.scratch_mib + 2 * limits.tmp_mib
    bounds = {
        "MemoryMax": f"{limits.memory_mib + files + KERNEL_MIB}M",
        "MemorySwapMax": "0",
        "TasksMax": str(4 * limits.processes),  # threads count, too
    }
    properties = [argument for name, value in bounds.items() for argument in ("-p", f"{name}={value}")]
    return [str(shutil.which("systemd-run")), manager, "--scope", "--quiet", "--collect", *properties, "--"]


def bus_environment() -> dict[str, str]:
    """Where a user's systemd listens; nothing else of the grader's environment comes near a jail."""
    return {name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS") if name in os.environ}
