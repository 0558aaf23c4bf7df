"""What is proved of a folder of hidden graders: the known mistakes they catch and the correct designs they accept.

`make graders` grades every design and mutant and writes `proof.json` beside the graders; every report says what stands
there, and whether the graders have changed since.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.core.files import digest_of
from autograder.core.package import digest_of_code

FILE = "proof.json"
# What decides how a design is judged: whole rooms, so that no new module is forgotten.
JUDGING = (
    "core/grade_report.py",
    "core/weights_file.py",
    "graders/*.py",
    "graphs/**/*.py",
    "judging/**/*.py",
    "worker/*.py",
)


@dataclass(frozen=True)
class ProvedCase:
    """One design or mutant as it was graded. `holds`: full marks for a design; for a mutant, lost where it must be.

    `check` is the check that caught a mutant, with its message and the line of the student's that it points to.
    """

    notebook: str
    name: str
    title: str
    is_mutant: bool
    holds: bool
    earned: float
    maximum: float
    check: str = ""
    message: str = ""
    line: str = ""


@dataclass(frozen=True)
class Proof:
    """All cases, the identity of the code that judged them, and on which test set and libraries."""

    cases: Sequence[ProvedCase]
    digest: str
    data: str
    torch: str

    def describe(self) -> str:
        """`catches 80 of 80 known mistakes, accepts 40 of 40 correct designs`."""
        mutants = [case for case in self.cases if case.is_mutant]
        designs = [case for case in self.cases if not case.is_mutant]
        caught, accepted = (sum(case.holds for case in group) for group in (mutants, designs))
        known = f"catches {caught} of {len(mutants)} known mistakes"
        return f"{known}, accepts {accepted} of {len(designs)} correct designs"


def judging_digest(graders: Path) -> str:
    """Identifies the code that judges: the engine's part of it, and the hidden graders."""
    return digest_of(digest_of_code(*JUDGING), digest_of_code("*.py", root=graders))


def read_proof(graders: Path) -> Proof | None:
    """The proof beside a folder of graders, None where there is none. Raises ValueError, KeyError or TypeError."""
    path = graders / FILE
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    return Proof(**{**record, "cases": [ProvedCase(**case) for case in record["cases"]]})


def write_proof(graders: Path, proof: Proof) -> None:
    """Write the proof beside the graders."""
    text = json.dumps(dataclasses.asdict(proof), indent=1, ensure_ascii=False)
    (graders / FILE).write_text(text + "\n")


def describe_graders(graders: Path) -> str:
    """One line for a report."""
    try:
        proof = read_proof(graders)
    except (ValueError, KeyError, TypeError):
        return f"{FILE} cannot be read: run `make graders`"
    if proof is None:
        return "not proved: no designs and mutants were graded with them"
    current = proof.digest == judging_digest(graders)
    return proof.describe() + ("" if current else " (before they were last changed: run `make graders`)")
