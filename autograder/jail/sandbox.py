"""Start a Python process in a bubblewrap jail."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autograder.core.config import Limits
from autograder.core.errors import AutograderError
from autograder.core.package import ROOT
from autograder.jail.bubblewrap import HOME, mount_arguments, namespace_arguments
from autograder.jail.control_group import bus_environment, scope_command
from autograder.jail.isolation import Isolation
from autograder.jail.jailed_process import JailedProcess, remove_home
from autograder.jail.seccomp import open_filter

SUBMISSION = "/submission"


class SandboxFault(AutograderError):
    """The jail itself cannot work here: the grader's fault, never the student's. The message has the remedy."""


@dataclass(frozen=True)
class JailSpec:
    """What is to run in a jail (a module of the worker), within which limits, and what of the machine it may see."""

    module: str
    limits: Limits
    isolation: Isolation
    read_only: Mapping[str, Path]
    gpu: bool


def start(
    module: str,
    limits: Limits,
    isolation: Isolation,
    *,
    read_only: Mapping[str, Path] | None = None,
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
    variables = _environment(limits, write_ends)
    inherited = list(write_ends)
    try:
        if home is None:
            spec = JailSpec(module, limits, isolation, read_only or {}, gpu)
            command = _jail_command(spec, variables, inherited)
        else:
            command = _plain_command(module)
            variables |= {"HOME": home, "AUTOGRADER_SUBMISSION": str((read_only or {}).get(SUBMISSION, ""))}
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=variables | (bus_environment() if isolation.scope else {}),
            pass_fds=inherited,
            start_new_session=True,
            cwd=home or "/",
        )
    except OSError as error:
        for read_end in read_ends:
            os.close(read_end)
        errors.close()
        remove_home(home)
        raise SandboxFault(f"cannot start the jail: {error}") from error
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    return JailedProcess(process, read_ends, errors, limits, home)


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


def _jail_command(spec: JailSpec, variables: Mapping[str, str], inherited: list[int]) -> list[str]:
    """The bwrap command line; descriptors that bwrap reads are opened here and added to `inherited`."""
    empty = _readable(b'"""Only the worker is here."""\n')
    passwd = _readable(b"student:x:65534:65534:student:/home/student:/bin/sh\n")
    inherited += [empty, passwd]
    files = ["--perms", "0444", "--ro-bind-data", str(empty), "/jail/autograder/__init__.py"]
    files += ["--perms", "0444", "--ro-bind-data", str(passwd), "/etc/passwd"]
    bwrap, scope = spec.isolation.bwrap, spec.isolation.scope
    command = scope_command(scope, spec.limits) if scope else []
    command += [bwrap, *namespace_arguments(), *mount_arguments(spec.limits, spec.read_only, spec.gpu), *files]
    command += ["--remount-ro", "/dev", "--remount-ro", "/"]
    filtered = open_filter(spec.gpu)
    if filtered is not None:
        command += ["--seccomp", str(filtered)]
        inherited.append(filtered)
    command += ["--clearenv"]
    told = {"AUTOGRADER_JAIL_UID": str(_jail_uid()), "AUTOGRADER_FILTERED": str(int(filtered is not None))}
    for name, value in {**variables, **told}.items():
        command += ["--setenv", name, value]
    return [*command, "--chdir", HOME, "--", *_python(spec.module, "/jail")]


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
