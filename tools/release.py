"""Generate `release/` and `solutions/` from `source/` with plain nbgrader: `make release`.

The kit, and `docs/checks.md`, are renewed before, as `grader_config.py` and the graders are.

The solution notebooks are executed on the built-in offline set: their outputs are committed, and images of CIFAR-10
must not be. As when grading, the training cell returns at once; the reference weights for the offline set stand in for
what it would have saved, so that the last check shows a trained model.

Numbers and pictures differ from machine to machine in their last digits. A solution notebook says in its metadata what
its outputs were made of (its source, the kit, the weights); while that is the same it is executed, so that an error
shows, and stays as it is, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tools.samples import ASSIGNMENT, ROOT

# The training cell as in grading, and the lesson's own training on a small part.
QUICK = {"CNN_KIT_DATA": "offline", "CNN_KIT_QUICK": "1", "NBGRADER_EXECUTION": "autograde"}
WEIGHTS = "modern_cnn.safetensors"
REFERENCE = ROOT / "solutions" / "checkpoints" / "offline" / WEIGHTS
SOLUTIONS = ROOT / "solutions" / ASSIGNMENT
MADE_OF = "made_of"  # in a solution notebook's metadata

Notebook = dict[str, Any]


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
        shutil.copyfile(REFERENCE, weights)
        before = {path.name: path.read_text("utf-8") for path in SOLUTIONS.glob("*.ipynb")}
        try:
            nbgrader("generate_solution")
        finally:
            weights.unlink(missing_ok=True)
            (SOLUTIONS / WEIGHTS).unlink(missing_ok=True)
        check_solutions(before)
    return 0


def nbgrader(command: str, *options: str) -> None:
    """Run one nbgrader command on the course. Raises CalledProcessError."""
    program = Path(sys.executable).parent / "nbgrader"
    arguments = [str(program), command, ASSIGNMENT, "--force", *options]
    print("$", " ".join(["nbgrader", *arguments[1:]]), flush=True)
    subprocess.run(arguments, cwd=ROOT, check=True, env={**os.environ, **QUICK})


def check_solutions(before: Mapping[str, str]) -> None:
    """Tidy the executed notebooks and fail where a cell raised: nbgrader keeps errors without a word.

    `before` are the texts of those that were there; one whose outputs were made of the same stays.
    """
    problems = []
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        problems += [f"{path.name}, {problem}" for problem in errors_in(notebook)]
        tidied = tidy(notebook, made_of(path.name))
        path.write_text(chosen(before.get(path.name, ""), tidied), "utf-8")
    if problems:
        raise SystemExit("the solutions do not run:\n" + "\n".join(problems))


def errors_in(notebook: Notebook) -> list[str]:
    """The cells that raised, in words."""
    return [
        f"cell {index}: {output['ename']}: {output['evalue']}"
        for index, cell in enumerate(notebook["cells"])
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]


def made_of(name: str) -> str:
    """Identifies all that a solution notebook's outputs are made of, the machine apart."""
    source = ROOT / "source" / ASSIGNMENT
    digest = hashlib.sha256()
    for path in (source / name, source / "cnn_kit.py", REFERENCE):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def tidy(notebook: Notebook, made_of: str) -> Notebook:
    """The notebook without what differs from run to run, and with what it was made of."""
    notebook["metadata"][MADE_OF] = made_of
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)  # time stamps
        if "outputs" in cell:
            cell["outputs"] = joined(output for output in cell["outputs"] if not is_noise(output))
    return notebook


def chosen(before: str, tidied: Notebook) -> str:
    """The text of a notebook to keep: the one that was there where it was made of the same."""
    known = json.loads(before)["metadata"].get(MADE_OF) if before else None
    if known == tidied["metadata"][MADE_OF]:
        return before
    return json.dumps(tidied, indent=1, ensure_ascii=False) + "\n"


def joined(outputs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs with what was printed in one go in one piece: in how many the kernel sends it is chance."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        before = found[-1] if found else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] = "".join([*before["text"], *output["text"]]).splitlines(keepends=True)
        else:
            found.append(output)
    for output in found:
        if output["output_type"] == "stream":
            output["text"] = without_bars("".join(output["text"])).splitlines(keepends=True)
    return found


def without_bars(text: str) -> str:
    """A text as a terminal would show it at the end: progress bars, which say how long things took, are gone."""
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))


def is_noise(output: dict[str, Any]) -> bool:
    """Whether an output is a progress bar, or a warning of the tools that run notebooks."""
    return output["output_type"] == "stream" and output.get("name") == "stderr"


if __name__ == "__main__":
    raise SystemExit(main())
