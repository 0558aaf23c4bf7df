"""Fuzz the trusted side: notebooks, record streams, configurations, graphs, and the hidden graders over evidence.

    python -m tools.fuzz                          # 10,000 of each kind; prints the seed, with which it can be repeated
    python -m tools.fuzz --only graphs --count 1000 --seed 7
    python -m tools.fuzz --record                 # record real input again, after the course or the exporter changed

Every case has to end in one of the outcomes that are named, within CASE_SECONDS and MEMORY_MIB; what is raised, or
blames the grader, is a bug. Each is printed, kept in `.fuzz/`, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, seed, settings

from autograder.core.config import Limits
from autograder.graphs.runner import Runner
from autograder.jail import Frame, find_isolation, start
from autograder.pipeline.cache import Cache
from tests import fuzzing
from tests.fuzz_kinds import KINDS, Kind
from tools.samples import ROOT, build_sample

CASE_SECONDS = 120  # with starting the runner again after a time-out of 60 s
TOGETHER = 500  # cases that hypothesis knows of at a time: it keeps what was drawn, up to a megabyte for a stream
MEMORY_MIB = 3072  # private memory of this process
FOUND = ROOT / ".fuzz"
MOST_BUGS = 20  # kept of each kind


@dataclass
class Tally:
    """What came of the cases of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    bugs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    peak_mib: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every kind in a process of its own and print one table. Returns an exit status."""
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="cases of each kind (fewer where the table says so)")
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat it")
    parser.add_argument("--only", choices=names, help="one kind")
    parser.add_argument("--record", action="store_true", help="record real input from the reference sample")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.record:
        return record()
    number = secrets.randbelow(10**6) if options.seed is None else options.seed
    chosen = [kind for kind in KINDS if options.only in (None, kind.name)]
    if options.here:
        print(json.dumps(fuzz(chosen[0], options.count, number).__dict__))
        return 0
    print(f"seed {number}", flush=True)
    found = 0
    print(f"{'kind':<15} {'cases':>7} {'seconds':>8} {'slowest':>8} {'peak MiB':>9}  ended how")
    for kind in chosen:
        command = [sys.executable, "-m", "tools.fuzz", "--here", "--only", kind.name, "--seed", str(number)]
        done = subprocess.run([*command, "--count", str(options.count)], stdout=subprocess.PIPE, cwd=ROOT, check=False)
        if done.returncode:
            print(f"{kind.name:<15} the process that fuzzed it ended with {done.returncode}")
            found += 1
            continue
        tally = Tally(**json.loads(done.stdout.splitlines()[-1]))
        found += len(tally.bugs)
        print_row(kind, tally)
    return 1 if found else 0


def print_row(kind: Kind, tally: Tally) -> None:
    """One line of the table, and what was found below it."""
    cases = sum(tally.outcomes.values())
    ended = ", ".join(f"{count:,} {how}" for how, count in Counter(tally.outcomes).most_common())
    shown = f"{kind.name:<15} {cases:>7,} {tally.seconds:>8.0f} {tally.slowest:>7.2f}s {tally.peak_mib:>9,}"
    sample = f" (a sample of {kind.share:.0%}, for time)" if kind.share < 1 else ""
    print(f"{shown}  {ended}{sample}", flush=True)
    for where, how in tally.bugs.items():
        print(f"    BUG {where}: {how}", flush=True)


def fuzz(kind: Kind, count: int, number: int) -> Tally:
    """Examine that many cases in this process."""
    warnings.simplefilter("error")  # as in the tests
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]  # the runner's jail sets its own
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MIB << 20, hard))
    tally = Tally()
    fuzzing.plan()  # what all cases share is no case's time
    began = time.monotonic()
    total = max(1, round(kind.share * count))
    with needed(kind) as further:
        for turn in range(0, total, TOGETHER):

            @seed(number + turn)
            @settings(
                max_examples=min(TOGETHER, total - turn),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(kind.cases())
            def run(case: Any) -> None:
                started = time.monotonic()
                tally.outcomes[examined(kind, case, further, tally)] += 1
                tally.slowest = max(tally.slowest, time.monotonic() - started)

            run()
    tally.seconds = time.monotonic() - began
    tally.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return tally


@contextmanager
def needed(kind: Kind) -> Iterator[tuple[Any, ...]]:
    """What a kind's cases are examined with: a jailed runner, or nothing."""
    if not kind.needs_runner:
        yield ()
        return
    with Runner(lambda: start("graph_server", Limits(), find_isolation()), device="cpu") as runner:
        yield (runner,)


def examined(kind: Kind, case: Any, further: tuple[Any, ...], tally: Tally) -> str:
    """How a case ended; a bug is noted with the place it comes from, and kept once."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(CASE_SECONDS)
    try:
        return kind.examine(case, *further)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
        if where not in tally.bugs and len(tally.bugs) < MOST_BUGS:
            FOUND.mkdir(exist_ok=True)
            kept = FOUND / f"{kind.name}-{len(tally.bugs)}.txt"
            kept.write_text(f"{traceback.format_exc()}\n{case!r}\n", errors="replace")
            tally.bugs[where] = f"{str(error)[:200]} ({kept.relative_to(ROOT)})"
        return "BUG"
    finally:
        signal.alarm(0)


def give_up(_signal: int, _frame: object) -> NoReturn:
    raise TimeoutError(f"a case took more than {CASE_SECONDS} s")


def record() -> int:
    """Run the reference sample in the jail, export small networks, and keep what came out."""
    import torch
    from torch import nn

    from autograder.handin.submission import CourseFiles, read_submission
    from autograder.pipeline.jail_run import run_plan
    from autograder.pipeline.plan import make_plan
    from tests.graph_models import DEEPER, Functional, conv, conv_norm, export

    with tempfile.TemporaryDirectory() as place:
        folder, files = Path(place) / "submitted", Path(place) / "files"
        build_sample("reference", folder, "offline")
        own = CourseFiles(ROOT / "source" / "cnn")
        submission = read_submission("ada", folder, files, fuzzing.RELEASE, Limits(), own)
        plan = make_plan(fuzzing.assignment(), submission, Limits(), fuzzing.SECRET, "cnn")
        Path(place).chmod(0o755)
        frames = run_plan(plan, files, Limits(), find_isolation(), Cache(Path(place) / "cache")).frames
    torch.manual_seed(0)
    attention = Functional(
        lambda m, x: m.fc(m.attend(*[m.stem(x).flatten(2).transpose(1, 2)] * 3, need_weights=False)[0].mean(1)),
        stem=conv(3, 16, stride=4), attend=nn.MultiheadAttention(16, 2, batch_first=True), fc=nn.Linear(16, 10),
    )  # fmt: skip
    written = Functional(
        lambda m, x: m.fc(write_in_place(m.stem(x), m.branch).mean((2, 3))),
        stem=conv_norm(3, 8), branch=conv(4, 4), fc=nn.Linear(8, 10),
    )  # fmt: skip
    modules = [*(DEEPER[name]() for name in ("pool at the end", "residual", "gated", "parallel kernels")), attention]
    graphs = [export(module, training=training).wire for module in modules for training in (False, True)]
    fuzzing.write_seeds(frames, [*graphs, export(written).wire], small_solutions())
    print(f"{fuzzing.SEEDS.relative_to(ROOT)}: {fuzzing.SEEDS.stat().st_size / 1024:.0f} KiB")
    return 0


def small_solutions() -> dict[str, list[list[Frame]]]:
    """What small solutions of each notebook leave, but for their transforms: those run again in no time."""
    from tests.fuzz_networks import NETWORKS, SEPARABLE
    from tools.hidden_graders import collected, run_answers

    def frames_of(notebook: str, names: dict[str, Any]) -> list[Frame]:
        namespace = {**run_answers(notebook, {}, only=set()).namespace, **names}
        return collected(namespace, [p for p in fuzzing.plan().probes[notebook] if p["kind"] != "sample"])

    solutions: dict[str, list[dict[str, Any]]] = {
        "01_output_size": [{}],
        "02_deeper_cnn": [{"DeeperCNN": made} for made in NETWORKS],
        "03_depthwise_separable": [{}, *({"DepthwiseSeparableConv": made} for made in SEPARABLE)],
        "04_modern_cnn": [{"ModernCNN": made} for made in NETWORKS],
    }
    return {notebook: [frames_of(notebook, names) for names in several] for notebook, several in solutions.items()}


def write_in_place(x: Any, branch: Any) -> Any:
    """A residual sum by assignment to a part."""
    x[:, :4] += branch(x[:, 4:])
    return x


if __name__ == "__main__":
    raise SystemExit(main())
