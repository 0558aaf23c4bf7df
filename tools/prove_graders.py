"""Grade every correct design and every known mistake, and print what came of each: `make graders`.

A design must get all points. A mutant must lose points in the check that is meant to catch it, with that mistake's own
message, and otherwise only in checks that depend on it. Ends with status 1 where one does not; writes
`autograder/graders/proof.json` and `docs/checks.md` where all do.

    python -m tools.prove_graders [--processes 2] [PART OF A NAME ...]
"""

from __future__ import annotations

import argparse
import atexit
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from autograder.core.grade_report import CheckResult, Status
from autograder.core.text import clean_text
from autograder.graphs.runner import Runner
from autograder.judging.proof import Proof, ProvedCase, judging_digest, write_proof
from tools import checks_table
from tools.hidden_graders import (
    GRADERS,
    SECRET,
    Ran,
    data_name,
    exercise,
    grade,
    hand_in,
    open_runner,
    run_answers,
    test_images,
)
from tools.known_cases import Case, designs, mutants

ACCURACY = "test_accuracy"


@dataclass(frozen=True)
class Outcome:
    """How a case was graded: every check by name, and the student's line that each points to, as text."""

    case: Case
    results: Mapping[str, CheckResult]
    lines: Mapping[str, str]

    @property
    def earned(self) -> float:
        return round(sum(result.earned for result in self.results.values()), 1)

    @property
    def maximum(self) -> float:
        return sum(result.points for result in self.results.values())

    @property
    def lost(self) -> dict[str, CheckResult]:
        return {name: result for name, result in self.results.items() if result.status is not Status.PASSED}

    def complaints(self) -> list[str]:
        """What is not as the case says; empty where the graders are right about it."""
        case, lost = self.case, self.lost
        wanted = {case.caught_by, *case.costs} - {""}
        found = [f"{name} passed" for name in sorted(wanted - set(lost))]
        found += [f"{name}: {lost[name].status.value}, {lost[name].message}" for name in lost if name not in wanted]
        caught = lost.get(case.caught_by)
        if caught is not None:
            if caught.status in (Status.SKIPPED, Status.INTERNAL, Status.UNSUPPORTED):
                found.append(f"{caught.name} ended as {caught.status.value}: {caught.message}")
            if case.says not in caught.message:
                found.append(f"{caught.name} does not say {case.says!r}: {caught.message}")
            if case.line not in self.lines.get(caught.name, ""):
                found.append(f"{caught.name} points to {self.lines.get(caught.name)!r}, not to {case.line!r}")
        return found

    def proved(self) -> ProvedCase:
        """The outcome as the proof keeps it."""
        case, caught = self.case, self.lost.get(self.case.caught_by)
        return ProvedCase(
            notebook=case.notebook,
            name=case.name,
            title=case.title,
            is_mutant=case.is_mutant,
            holds=not self.complaints(),
            earned=self.earned,
            maximum=self.maximum,
            check=case.caught_by,
            message=caught.message if caught else "",
            line=self.lines.get(case.caught_by, ""),
        )


def grade_case(case: Case, runner: Runner, secret: bytes = SECRET) -> Outcome:
    """Run a case's cells, collect the evidence, and grade it with the exercise's hidden graders."""
    ran = run_answers(case.notebook, case.cells, secret=secret)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        if exercise(case.notebook).checkpoint is not None:
            own_network = "modern-cnn-solution" in case.cells
            files = hand_in(ran, case.weights or ("own" if own_network else "reference"), Path(folder))
        results = grade(case.notebook, ran.evidence, runner, secret=secret, **files)
    return Outcome(case, results, {name: _line_of(result, ran) for name, result in results.items()})


def _line_of(result: CheckResult, ran: Ran) -> str:
    """The text of the student's line that a check points to, or nothing."""
    if not result.line:
        return ""
    lines = ran.cells[result.source_cell].splitlines()
    return lines[result.line - 1].strip() if result.line <= len(lines) else ""


def needs_cifar(case: Case) -> bool:
    """Weights of the offline set are no mistake where the offline set is the test set."""
    return case.weights == "offline set"


_runners: list[Runner] = []  # one per process of the pool: it imports torch once


def _open_runner() -> None:
    runner = open_runner()
    runner.__enter__()
    atexit.register(runner.__exit__, None, None, None)
    _runners.append(runner)


def _grade_in_pool(case: Case) -> Outcome:
    return grade_case(case, _runners[0])


def main() -> int:
    """Grade the cases whose id holds one of the given parts (all without any). Returns an exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help="grade only cases whose id holds one of these; writes nothing")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cases = [case for case in (*designs(), *mutants()) if _is_wanted(case, options.parts)]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    left_out = [case for case in cases if needs_cifar(case) and data_name() != "cifar10"]
    for case in left_out:
        console.print(f"left out, since it needs CIFAR-10 (CIFAR10_ROOT): {case.id}")
    chosen = [case for case in cases if case not in left_out]
    console.print(f"Grading {len(chosen)} cases; test set: {test_images().identity}")
    began = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn, initializer=_open_runner) as pool:
        graded = pool.map(_grade_in_pool, chosen)
        outcomes = list(track(graded, "Grading", total=len(chosen), console=console, transient=True))
    console.print(outcomes_table(outcomes))
    wrong = [outcome for outcome in outcomes if outcome.complaints()]
    for outcome in wrong:
        console.print(Text(f"{outcome.case.id}: {'; '.join(outcome.complaints())}", "red"))
    proof = proof_of(outcomes)
    console.print(f"The graders: {proof.describe()}. Took {time.monotonic() - began:.0f} s.")
    if not wrong and not options.parts and not left_out:
        write_proof(GRADERS, proof)
        checks_table.write()
        console.print("Written: autograder/graders/proof.json, docs/checks.md")
    return 1 if wrong else 0


def _is_wanted(case: Case, parts: Sequence[str]) -> bool:
    return not parts or any(part in case.id for part in parts)


def proof_of(outcomes: Sequence[Outcome]) -> Proof:
    cases = [outcome.proved() for outcome in outcomes]
    return Proof(cases, judging_digest(GRADERS), test_images().identity, version("torch"))


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """Design or mutant, points, the check that caught it, its message."""
    table = Table("Case", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("Points", justify="right", no_wrap=True)
    table.add_column("Caught by")
    table.add_column("Message", ratio=1)
    for outcome in outcomes:
        case, caught = outcome.case, outcome.lost.get(outcome.case.caught_by)
        style = "red" if outcome.complaints() else "green"
        what = Text.assemble((case.title, style), f"\n{case.id}")
        check = caught.title if caught else ("" if case.is_mutant else "(a correct design)")
        line = outcome.lines.get(case.caught_by, "")
        message = clean_text(caught.message) + (f"\n  at: {line}" if line else "") if caught else ""
        table.add_row(what, f"{outcome.earned:g} / {outcome.maximum:g}", Text(check), Text(message))
    return table


if __name__ == "__main__":
    raise SystemExit(main())
