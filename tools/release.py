"""Generate `release/` and `solutions/` from `source/` with plain nbgrader: `make release`.

The kit, and `docs/checks.md`, are renewed before, as `grader_config.py` and the graders are.

The solution notebooks are executed on the built-in offline set: their outputs are committed, and images of CIFAR-10
must not be. As when grading, the training cell returns at once; the reference weights for the offline set stand in for
what it would have saved, so that the last check shows a trained model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.samples import ASSIGNMENT, ROOT

# The training cell as in grading, and the lesson's own training on a small part.
QUICK = {"CNN_KIT_DATA": "offline", "CNN_KIT_QUICK": "1", "NBGRADER_EXECUTION": "autograde"}
WEIGHTS = "modern_cnn.safetensors"


def main() -> int:
    """Run nbgrader's two generators and check what nbgrader does not: that no solution cell raised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["release", "solutions"], help="generate only one of the two")
    only = parser.parse_args().only
    for tool in ("tools.embed_in_kit", "tools.checks_table"):
        subprocess.run([sys.executable, "-m", tool], cwd=ROOT, check=True)
    if only != "solutions":
        nbgrader("generate_assignment")
    if only != "release":
        weights = ROOT / "source" / ASSIGNMENT / WEIGHTS  # never committed, never released
        shutil.copyfile(ROOT / "solutions" / "checkpoints" / "offline" / WEIGHTS, weights)
        try:
            nbgrader("generate_solution")
        finally:
            weights.unlink(missing_ok=True)
            (ROOT / "solutions" / ASSIGNMENT / WEIGHTS).unlink(missing_ok=True)
        check_solutions()
    return 0


def nbgrader(command: str, *options: str) -> None:
    """Run one nbgrader command on the course. Raises CalledProcessError."""
    program = Path(sys.executable).parent / "nbgrader"
    arguments = [str(program), command, ASSIGNMENT, "--force", *options]
    print("$", " ".join(["nbgrader", *arguments[1:]]), flush=True)
    subprocess.run(arguments, cwd=ROOT, check=True, env={**os.environ, **QUICK})


def check_solutions() -> None:
    """Tidy the executed notebooks and fail where a cell raised: nbgrader keeps errors without a word."""
    problems = []
    for path in sorted((ROOT / "solutions" / ASSIGNMENT).glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        for index, cell in enumerate(notebook["cells"]):
            cell["metadata"].pop("execution", None)  # time stamps, which would differ with every run
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    problems.append(f"{path.name}, cell {index}: {output['ename']}: {output['evalue']}")
            if "outputs" in cell:
                cell["outputs"] = joined(output for output in cell["outputs"] if not is_noise(output))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    if problems:
        raise SystemExit("the solutions do not run:\n" + "\n".join(problems))


def joined(outputs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs with what was printed in one go in one piece: in how many the kernel sends it is chance."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        before = found[-1] if found else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] = "".join([*before["text"], *output["text"]]).splitlines(keepends=True)
        else:
            found.append(output)
    return found


def is_noise(output: dict[str, Any]) -> bool:
    """Whether an output is a progress bar."""
    return output["output_type"] == "stream" and output.get("name") == "stderr"


if __name__ == "__main__":
    raise SystemExit(main())
