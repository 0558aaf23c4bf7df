"""First process in the jail: gives up its rights, imports torch once, and forks a process per notebook."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from autograder.worker.frames import write_frame

WRITABLE = ("/proc", "/tmp", "/dev/shm", "/dev/pts")  # with the home, the only mounts of a jail that may be written to
MOST_FILES_OPEN = 1024
CAPABILITY_VERSION = 0x20080522
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
CLEANING_SECONDS = 60
MOST_STEP_BYTES = 1000  # a step's announcement: its name and its seconds
MOST_STEP_SECONDS = 1e6
GRACE_SECONDS = 5.0  # for an interrupted cell to unwind, before its process is killed
POLL_SECONDS = 0.1
LIBRARIES = ["matplotlib.pyplot", "matplotlib_inline.backend_inline", "tqdm.auto", "autograder.worker.cells"]
FOR_MODELS = ["torch.export", "torchvision.transforms.v2"]


def main() -> None:
    """Read the plan from standard input, confine this process, run everything, report on the record streams.

    The first stream is this process's own, the second is for the checkpoint's conversion, then comes one for each run
    of each notebook. A notebook's process holds its own only: what it writes there can spoil nobody else's evidence,
    nor that of another run, and what this process says cannot be said by another.
    """
    own, conversion, *streams = map(int, os.environ["AUTOGRADER_RECORDS_FD"].split(","))
    jailed = "AUTOGRADER_JAIL_UID" in os.environ
    plan = json.loads(sys.stdin.buffer.read())
    confine(jailed, {own, conversion, *streams})
    write_frame(own, {"kind": "ready", "uid": os.getuid(), "jailed": jailed})
    started = time.monotonic()
    import_libraries(plan)  # before there is any file of the student's that a library could read: matplotlibrc, say
    lay_out_submission()
    write_frame(own, {"kind": "imported", "seconds": round(time.monotonic() - started, 2)})
    silence()
    problem = convert(plan["checkpoint"], conversion, plan["probe_seconds"]) if plan.get("checkpoint") else ""
    os.close(conversion)
    write_frame(own, {"kind": "prepared", "problem": problem})  # nothing of before is taken from later on
    for number, notebook in enumerate(plan["notebooks"]):
        runs = streams[number * plan["runs"] : (number + 1) * plan["runs"]]
        supervise(notebook, runs, own)
        for stream in runs:
            os.close(stream)
    write_frame(own, {"kind": "done"})


def confine(jailed: bool, streams: set[int]) -> None:
    """Drop to the unprivileged uid, set the limits, and prove it. Raises RuntimeError: then nothing has run yet.

    Of all open files only the standard streams and the record `streams` stay.
    """
    close_all_but(streams)
    if jailed:  # where the machine runs out of memory, this goes before the grader
        Path("/proc/self/oom_score_adj").write_text("1000")
    if jailed and os.getuid() == 0:
        uid = int(os.environ["AUTOGRADER_JAIL_UID"])
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        clear_capabilities()
    if jailed:
        lock_memory()
    mib = 1 << 20
    memory = int(os.environ["AUTOGRADER_MEMORY_MIB"]) * mib
    files = int(os.environ["AUTOGRADER_FILE_MIB"]) * mib
    seconds = int(os.environ["AUTOGRADER_CPU_SECONDS"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (files, files))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    # Private writable memory; the address space (RLIMIT_AS) would count torch's reserved but unused ranges too.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    # Pipes and sockets hold memory that no process is charged for.
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES_OPEN, MOST_FILES_OPEN))
    if jailed:
        processes = int(os.environ["AUTOGRADER_PROCESSES"])
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        for problem in confinement_problems():
            raise RuntimeError(f"the jail is not tight: {problem}")


def close_all_but(kept: set[int]) -> None:
    """Close every open file but the standard streams and these."""
    low = 3
    for descriptor in [*sorted(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]:
        os.closerange(low, descriptor)
        low = descriptor + 1


def lock_memory() -> None:
    """Let no process of the same uid open this one's memory, or its record streams, by `/proc/<pid>/fd` and `mem`."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise RuntimeError(f"the launcher's memory cannot be locked ({os.strerror(ctypes.get_errno())})")


def clear_capabilities() -> None:
    """Take the inheritable ones, too, which stay when the uid changes. capget(2): version 3, then two triples."""
    header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)):
        raise RuntimeError(f"capabilities cannot be given up ({os.strerror(ctypes.get_errno())})")


def confinement_problems() -> list[str]:
    """What is not as it must be before student code may run; empty when all is well."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    writable = [p for p in ("/", "/usr", "/dev", "/jail", "/proc/sys/kernel/core_pattern") if os.access(p, os.W_OK)]
    writable += writable_mounts()
    filtered = os.environ["AUTOGRADER_FILTERED"] == "1"
    interfaces = [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
    checks = {
        "running as root": 0 in (os.getuid(), os.geteuid()),
        "capabilities left": any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")),
        "new privileges possible": status["NoNewPrivs"].strip() != "1",
        # Groups that have no name in a user namespace show as the overflow group.
        f"in groups {os.getgroups()}": bool(set(os.getgroups()) - {65534, os.getgid()}),
        f"writable: {writable}": bool(writable),
        "memory open to other processes": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0,
        "system calls not filtered": filtered and status["Seccomp"].strip() != "2",
        "not in a PID namespace of its own": os.getpid() > 10,
        f"network interfaces {interfaces}": interfaces != ["lo"],
    }
    return [problem for problem, present in checks.items() if present]


def writable_mounts() -> list[str]:
    """Mounts that are not read-only and should be; device files in `/dev` are written to by nature."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, options = line.split()[4:6]
        allowed = place in (*WRITABLE, str(Path.home())) or (place.startswith("/dev/") and not Path(place).is_dir())
        if "rw" in options.split(",") and not allowed:
            found.append(place)
    return found


def lay_out_submission() -> None:
    """Copy the staged submission into the scratch folder, where the notebooks may write, and go there."""
    source, home = Path(os.environ.get("AUTOGRADER_SUBMISSION") or "/submission"), Path.home()
    for path in sorted(source.rglob("*")):
        target = home / path.relative_to(source)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, target)
    os.chdir(home)


def remove_traces() -> None:
    """Take away all that a notebook left where it may write: the next one finds what was handed in, and no more.

    Raises RuntimeError where something stays; then no further notebook runs.
    """
    places = [str(Path.home())]
    if "AUTOGRADER_JAIL_UID" in os.environ:  # elsewhere these are the machine's own
        places += ["/tmp", "/dev/shm"]
    os.chdir("/")
    # Programs rather than Python's rmtree: folders nested a hundred thousand deep, or closed to their owner, are a
    # notebook's to make. What is mounted below (an environment in /tmp) stays.
    clean = ["find", *places, "-xdev", "-mindepth", "1", "-delete"]
    run_quietly(clean)
    if remains(places):
        run_quietly(["chmod", "-R", "u+rwx", *places])
        run_quietly(clean)
    left = remains(places)
    if left:
        raise RuntimeError(f"cannot remove {left[:3]}")
    os.makedirs(os.environ["MPLCONFIGDIR"], exist_ok=True)
    lay_out_submission()


def remains(places: list[str]) -> list[str]:
    """What lies in these places, but for folders on the way to something mounted."""
    mounted = [f"{line.split()[4]}/" for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = run_quietly(["find", *places, "-xdev", "-mindepth", "1"]).decode(errors="replace").splitlines()
    return [path for path in found if not any(place.startswith(f"{path}/") for place in mounted)]


def run_quietly(command: list[str]) -> bytes:
    """What a program prints; its errors show in what it leaves undone. Raises subprocess.TimeoutExpired."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=CLEANING_SECONDS
    ).stdout


def import_libraries(plan: dict[str, Any]) -> None:
    """Import what the notebooks need, once; only import, since OpenMP does not survive a fork once it has run."""
    os.makedirs(os.environ["MPLCONFIGDIR"], exist_ok=True)
    with_models = has_models(plan)
    for name in [*LIBRARIES, *(FOR_MODELS if with_models else ())]:
        importlib.import_module(name)
    if with_models:
        warm_up_export()


def has_models(plan: dict[str, Any]) -> bool:
    """Whether models or transforms are asked for, or a cell names torch: it takes two seconds to be ready for them."""
    notebooks = plan["notebooks"]
    kinds = {probe["kind"] for notebook in notebooks for probe in notebook["probes"]}
    named = any("torch" in cell["source"] for notebook in notebooks for cell in notebook["cells"])
    return named or bool(kinds & {"build", "sample"}) or bool(plan.get("checkpoint"))


def warm_up_export() -> None:
    """Pay for the first torch.export of a process here, once, rather than in every notebook's process.

    On one thread: a forked process hangs in its first parallel region where the parent has already run one.
    """
    import torch

    from autograder.worker.exporter import TensorPool, export_graph

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3), torch.nn.BatchNorm2d(1), torch.nn.ReLU())
    export_graph(module, torch.zeros(2, 1, 4, 4), training=False, pool=TensorPool())
    torch.set_num_threads(threads)


def silence() -> None:
    """From here on, nothing written to standard output or error reaches the grader."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def convert(path: str, records: int, seconds: float) -> str:
    """Send what a `.pt` state dict holds, or why it cannot be read; before any student code runs.

    Returns what went wrong with the process that did it: it reads a hostile file, and may die of it.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            close_all_but({records})
            convert_checkpoint(path, records)
            code = 0
        finally:
            os._exit(code)
    try:
        return wait_for(child, seconds)
    finally:
        kill_all(child)
        remove_traces()


def convert_checkpoint(path: str, records: int) -> None:
    """Read a `.pt` state dict with `weights_only=True` and send its tensors."""
    from autograder.worker.checkpoint import read_state_dict

    header, payload = read_state_dict(Path(path))
    write_frame(records, {"kind": "checkpoint", **header}, payload)


def wait_for(child: int, seconds: float) -> str:
    """How a process ended, in words, where it did not end well."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return describe_death(status) if status else ""
        time.sleep(POLL_SECONDS / 4)
    return f"it took more than {seconds:g} s"


def supervise(notebook: dict[str, Any], streams: list[int], own: int) -> None:
    """Run one notebook; a step that kills its process costs itself, and the rest is run again without it.

    `streams` are for one run each: the first, and one more for each step that killed it. `own` is this process's.
    """
    began = time.monotonic()
    end = began + notebook["notebook_seconds"]
    skipped: dict[str, dict[str, Any]] = {}
    outcome: dict[str, Any] = {"status": "CRASHED", "message": "the notebook did not run"}
    for run, records in enumerate(streams, 1):
        step, outcome = run_once(notebook, run, skipped, records, end)
        if outcome["status"] == "PASSED" or time.monotonic() >= end:
            break
        skipped[step] = outcome
    seconds = round(time.monotonic() - began, 2)
    write_frame(own, {"kind": "ended", "notebook": notebook["name"], "seconds": seconds, **outcome})


def run_once(
    notebook: dict[str, Any], run: int, skipped: dict[str, dict[str, Any]], records: int, end: float
) -> tuple[str, dict[str, Any]]:
    """Fork, run all steps but the skipped ones, and say at which step and how the process ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        run_child(notebook, run, skipped, records, write)
    os.close(write)
    try:
        return follow(child, read, end)
    finally:
        kill_all(child)
        os.close(read)
        remove_traces()


def run_child(
    notebook: dict[str, Any], run: int, skipped: dict[str, dict[str, Any]], records: int, progress: int
) -> None:
    """In the forked process. Never returns: interpreter exit hooks are the student's to set, not ours to run."""
    from autograder.worker import cells

    code = 1
    try:
        close_all_but({records, progress})
        os.environ["AUTOGRADER_RECORDS_FD"] = str(records)
        os.setsid()
        cells.run_notebook(notebook, run, skipped, records, progress)
        code = 0
    finally:
        os._exit(code)


def follow(child: int, progress: int, end: float) -> tuple[str, dict[str, Any]]:
    """Watch a notebook's process: each step announces itself with its budget, and overruns end in a kill."""
    step, deadline, text = "start", min(time.monotonic() + 30, end), b""
    while True:
        if select.select([progress], [], [], POLL_SECONDS)[0]:
            text += os.read(progress, 4096)
            *lines, text = text.split(b"\n")
            for line in lines:
                step, budget = parse_step(line)
                deadline = min(time.monotonic() + budget + GRACE_SECONDS, end)
            text = text[-MOST_STEP_BYTES:]
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            if step == "finished" and status == 0:
                return step, {"status": "PASSED", "message": ""}
            return step, {"status": "CRASHED", "message": describe_death(status), "exited": os.WIFEXITED(status)}
        if time.monotonic() > deadline:
            late = "the notebook's time was used up" if time.monotonic() > end else "did not stop when interrupted"
            return step, {"status": "TIMEOUT", "message": late}


def parse_step(line: bytes) -> tuple[str, float]:
    """A step's name and seconds; the notebook's code can write to this pipe, too, and gets no time by it."""
    name, _, seconds = line.decode(errors="replace").rpartition(" ")
    try:
        budget = float(seconds)
    except ValueError:
        budget = 0.0
    return name, budget if 0 <= budget < MOST_STEP_SECONDS else 0.0


def describe_death(status: int) -> str:
    """What a wait status says, in words for a student."""
    if os.WIFSIGNALED(status):
        return f"the process was killed ({signal.Signals(os.WTERMSIG(status)).name})"
    return "the process ended itself"  # the exit status is a number that a probe's code may choose by what it was asked


def kill_all(child: int) -> None:
    """Kill whatever this jail still runs: daemons and double forks of a notebook do not outlive it."""
    if "AUTOGRADER_JAIL_UID" in os.environ:
        # Every process in this PID namespace but ourselves and the namespace's init.
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    with suppress(ChildProcessError):
        while os.waitpid(-1, 0)[0]:
            pass
