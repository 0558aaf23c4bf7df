"""The system calls that no notebook needs and that a jail therefore denies (defence in depth beside namespaces)."""

from __future__ import annotations

import errno
import os
import tempfile
from functools import lru_cache
from typing import Any

# Each group names what it would open up. They fail with EPERM, as if the kernel lacked the right.
DENIED = {
    "mounts and roots": [
        "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount", "fsconfig",
        "fspick", "mount_setattr",
    ],
    "namespaces": ["unshare", "setns"],
    "other processes": ["ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd"],
    "kernel keys": ["add_key", "request_key", "keyctl"],
    "kernel interfaces with a record of holes": [
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "modify_ldt",
        "lookup_dcookie", "nfsservctl", "uselib",
    ],
    "the machine": [
        "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon", "swapoff",
        "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
        "setdomainname", "syslog", "iopl", "ioperm", "vhangup",
    ],
    "files past path checks": ["open_by_handle_at", "name_to_handle_at", "fanotify_init"],
    # System V's segments and queues outlive their process and so one notebook; nothing mapped, nothing measured.
    "memory that outlives its process": ["shmget", "shmat", "semget", "msgget", "mq_open", "memfd_secret"],
}  # fmt: skip
# Files in memory that are not mapped count for no process: a hundred processes could fill the machine with them. CUDA
# needs them; where a GPU is bound, no student code runs.
HIDDEN_MEMORY = "memfd_create"

# Network namespaces do not part AF_VSOCK (the way to a virtual machine's host), and old protocols have a record of
# holes: sockets of other families than these cannot be made.
FAMILIES = {1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6"}
SOCK_RAW, SOCKET_TYPES = 3, 0xF
# Flags of clone that make a namespace: user, mount, PID, network, IPC, UTS, cgroup.
NAMESPACE_FLAGS = (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000)
# Typing into the terminal of whoever started the grader, and its console's paste buffer.
TIOCSTI, TIOCLINUX = 0x5412, 0x541C


def denied_names(gpu: bool = False) -> list[str]:
    """The system calls that are denied whatever their arguments."""
    return [name for names in DENIED.values() for name in names] + [HIDDEN_MEMORY] * (not gpu)


@lru_cache
def is_available() -> bool:
    """Whether libseccomp is to be had, so that a filter can be made."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError):
        return False
    return bool(pyseccomp.system_arch())


def open_filter(gpu: bool = False) -> int | None:
    """A readable descriptor of the compiled BPF filter, or None where libseccomp is not to be had.

    System calls of other architectures (32-bit ones on a 64-bit machine) end the process.
    """
    if not is_available():
        return None
    import pyseccomp

    rules, refuse = pyseccomp.SyscallFilter(pyseccomp.ALLOW), pyseccomp.ERRNO(errno.EPERM)
    for name in denied_names(gpu):
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) > 0:  # a machine without it has nothing to deny
            rules.add_rule(refuse, name)
    # clone3 hides its flags from the filter; ENOSYS makes libc fall back to clone.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in NAMESPACE_FLAGS:
        rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    _deny_sockets(pyseccomp, rules, refuse)
    for request in (TIOCSTI, TIOCLINUX):  # the kernel looks at 32 bits
        rules.add_rule(refuse, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _deny_sockets(pyseccomp: Any, rules: Any, refuse: Any) -> None:
    """Sockets of families that are not allowed, and raw ones of those that are."""
    for family in range(max(FAMILIES)):
        if family not in FAMILIES:
            rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.GT, max(FAMILIES)))
    rules.add_rule(refuse, "socket", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, SOCKET_TYPES, SOCK_RAW))
