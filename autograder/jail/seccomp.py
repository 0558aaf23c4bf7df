"""The system calls that no notebook needs and that a jail therefore denies (defence in depth beside namespaces)."""

from __future__ import annotations

import errno
import os
import tempfile

# Each group names what it would open up. They fail with EPERM, as if the kernel lacked the right.
DENIED = {
    "mounts and roots": ["mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount"],
    "namespaces": ["unshare", "setns"],
    "other processes": ["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"],
    "kernel keys": ["add_key", "request_key", "keyctl"],
    "kernel interfaces with a record of holes": [
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    ],
    "the machine": [
        "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon", "swapoff",
        "acct", "quotactl", "settimeofday", "clock_settime", "adjtimex", "sethostname", "setdomainname", "syslog",
    ],
    "files past path checks": ["open_by_handle_at", "name_to_handle_at", "fanotify_init"],
}  # fmt: skip


def open_filter() -> int | None:
    """A readable descriptor of the compiled BPF filter, or None where libseccomp is not to be had."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError):
        return None
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for names in DENIED.values():
        for name in names:
            rules.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    # clone3 hides its flags from the filter; ENOSYS makes libc fall back to clone.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
