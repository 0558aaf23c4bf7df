"""The process that judges: reads evidence, runs the hidden graders, and writes what they say.

Started by `pipeline/judge.py` as `python -I -m autograder.pipeline.judge_main`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autograder import graders
from autograder.core.config_changes import Changes
from autograder.core.grade_report import CheckResult, Curve, Evaluation, Flag, Model
from autograder.graphs.runner import Runner
from autograder.judging.check_language import CheckContext
from autograder.judging.hidden_tests import Tell, run_graders, silent
from autograder.judging.job import Job, read_job
from autograder.judging.model_summary import describe_curves, describe_models

# What judging one exercise may take of this process, far above what honest work takes (2 s, 600 MiB): whatever a
# submission is made of, its graders end. Models run in a jail of their own, with limits of their own.
CPU_SECONDS = 120
MEMORY_MIB = 4096
OUT_OF_MEMORY = 97  # exit status


def main() -> int:
    """Read from standard input one JSON object a line, set-up and then work, and tell how each work goes, a line each:

        {"ready": true}     once, after the set-up
        {"stage": …}        what is being done; `check` describes the check that begins
        {"result": …}       a check's result
        {"answer": …}       all that is found; the work is done

    The set-up line lets the runner import torch while the notebooks still run in the jail. Whatever ends this process
    in the middle of a work, the lines before say at what.
    """
    results_out = sys.stdout

    def tell(**told: Any) -> None:
        results_out.write(json.dumps(told) + "\n")
        results_out.flush()

    with redirect_stdout(sys.stderr):
        setup = json.loads(sys.stdin.readline())
        job = read_job(setup)
        if changed := Changes.from_record(setup["changes"]).graders:
            # Graders import their helpers from the package: one beside changed graders comes before the package's own.
            graders.__path__.insert(0, str(changed))
        with Runner(job.open_runner, device=job.course.device) as runner:
            if any(exercise.modules for exercise in job.assignment.exercises):
                runner.warm_up()
            tell(ready=True)
            for line in sys.stdin:
                try:
                    limit_this_process()
                    tell(stage="evidence")
                    work = job.with_work(json.loads(line))
                    runner.allow(work.work.runner_seconds)
                    found = grade(work, runner, tell)
                    tell(answer={**asdict(found), "facts": {"device": runner.device_name, **job.facts}})
                except MemoryError:
                    os._exit(OUT_OF_MEMORY)
                runner.forget()
    return 0


def limit_this_process() -> None:
    """Bound what the next work may take: a reader of hostile data that has no bounds ends with the machine's."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    seconds = round(used) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if most == resource.RLIM_INFINITY else min(seconds, most), most))
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    memory = MEMORY_MIB << 20
    resource.setrlimit(resource.RLIMIT_DATA, (memory if most == resource.RLIM_INFINITY else min(memory, most), most))


@dataclass
class CheckOutcomes:
    """What the hidden graders say of a submission, and what figures show of it."""

    checks: list[CheckResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def grade(job: Job, runner: Runner, tell: Tell = silent) -> CheckOutcomes:
    """Run the hidden graders of the exercises that are asked for on their evidence."""
    found = CheckOutcomes()
    for exercise in job.asked:
        graded = job.graded(exercise, runner, found.notes, found.flags)
        found.checks += run_graders(Path(job.assignment.graders) / exercise.grader, graded, job.work.only, tell)
        tell(stage="figures")
        found.evaluations += graded.evaluations
        add_figures(found, graded)
    return found


def add_figures(found: CheckOutcomes, graded: CheckContext) -> None:
    """Add what figures show. No mark hangs on them: one that cannot be made is left out, and its reason is logged."""
    try:
        found.models += describe_models(graded)
        found.curves += describe_curves(graded)
    except Exception:
        traceback.print_exc(file=sys.__stderr__)


if __name__ == "__main__":
    raise SystemExit(main())
