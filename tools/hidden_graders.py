"""Grade source text with a hidden grader, in this process, without notebook or jail: for testing the graders.

The code that runs here is the project's own. Everything behind it is what grades a class: the worker's collector, the
decoder of evidence, the graders, the runner.
"""

from __future__ import annotations

import hashlib
import io
import json
import linecache
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import safetensors.numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from autograder.core.config import Exercise, Limits, load_course
from autograder.core.files import StagedFile
from autograder.core.grade_report import CheckResult, Status
from autograder.core.weights_file import WeightsContent
from autograder.graphs.runner import Runner
from autograder.handin.submission import read_released, source_of
from autograder.handin.unanswered import unanswered
from autograder.handin.weights import HEAD, form_of
from autograder.jail import Isolation, start
from autograder.jail.stream import Frame
from autograder.judging import datasets, hidden_tests, offline_images
from autograder.judging.causes import with_causes
from autograder.judging.check_language import CheckContext
from autograder.judging.datasets import Dataset
from autograder.judging.evidence import Evidence, decode_evidence
from autograder.judging.problems import Problem
from autograder.pipeline.plan import plan_probes
from autograder.worker import collect
from autograder.worker.cells import locate
from autograder.worker.checkpoint import read_state_dict
from tools.samples import ASSIGNMENT, ROOT, SAMPLES

GRADERS = ROOT / "autograder" / "graders"
CHECKPOINTS = ROOT / "solutions" / "checkpoints"
SECRET = b"the secret of the tests"
IMPORTS = (
    "import copy, math\nimport numpy as np\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    "from torchvision import transforms as v1\nfrom torchvision.transforms import v2\n"
)
NOT_RUN = Problem(Status.CRASHED, "the notebook did not run")
COURSE = load_course(ROOT)
LABELLED_IMAGES = 300  # for a network without trained weights: enough to see that its own predictions come back


class StepTimeout(BaseException):
    """As in the worker; never raised here."""


@dataclass(frozen=True)
class Ran:
    """What cells left: their names and values, and the evidence collected from them. `cells` are as they were run."""

    cells: Sequence[str]
    namespace: Mapping[str, Any]
    evidence: Evidence


@contextmanager
def no_limit(_seconds: float) -> Iterator[None]:
    yield


@contextmanager
def quiet_log() -> Iterator[None]:
    """Without torch's trace of every export, which pytest would keep for the report of a failed test."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def open_runner() -> Runner:
    """A runner without a jail: the graphs come from the project. One serves many gradings."""
    return Runner(lambda: start("graph_server", Limits(), Isolation("none")), device="cpu")


def exercise(notebook: str) -> Exercise:
    """An exercise of the course, as grader_config.py declares it."""
    found = COURSE.assignment(ASSIGNMENT).exercise(notebook)
    assert found is not None
    return found


@cache
def source_cells(notebook: str) -> tuple[Mapping[str, Any], ...]:
    """The code cells of the instructor's notebook, with their text as one string and their grade id ("" for none)."""
    cells = json.loads((ROOT / "source" / ASSIGNMENT / f"{notebook}.ipynb").read_text())["cells"]
    return tuple(
        {"source": "".join(cell["source"]), "grade_id": "", **cell["metadata"].get("nbgrader", {})}
        for cell in cells
        if cell["cell_type"] == "code"
    )


def given(notebook: str, grade_id: str) -> str:
    """The source of a cell of the instructor's notebook, solutions included."""
    return next(str(cell["source"]) for cell in source_cells(notebook) if cell["grade_id"] == grade_id)


def run_cells(notebook: str, cells: Sequence[str], *, only: set[str] | None = None, secret: bytes = SECRET) -> Ran:
    """Run cells and collect what the plan asks for; a cell that raises ends itself, as in a notebook.

    `only` leaves out the probes of other names, for tests that look at one thing.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings(), quiet_log(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # a student's code may warn, and print
        for number, source in enumerate(cells):
            filename = f"<cell {number}>"
            linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
            with suppress(NotImplementedError):  # what the release's cells raise
                exec(compile(source, filename, "exec"), namespace)
        probes = [p for p in plan_probes(exercise(notebook), secret, ASSIGNMENT) if only is None or p["name"] in only]
        frames = collected(namespace, probes)
    names = {probe["name"] for probe in probes}
    evidence = with_causes(decode_evidence(probes, frames, NOT_RUN), unanswered_of(notebook, cells, sorted(names)))
    return Ran(cells, namespace, evidence)


def unanswered_of(notebook: str, cells: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that cells leave as in the release; a cell with a released text is that cell."""
    released = read_released(ROOT / "release" / ASSIGNMENT / f"{notebook}.ipynb")
    metadata = {source_of(cell).strip(): cell["metadata"] for cell in released["cells"]}
    own = [{"cell_type": "code", "source": s, "metadata": metadata.get(s.strip(), {})} for s in cells]
    return unanswered({"cells": own}, released, names)


def collected(namespace: dict[str, Any], probes: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """What the worker's collector sends for probes of what cells left."""
    frames: list[Frame] = []

    def send(header: dict[str, Any], payload: bytes = b"") -> None:
        frames.append(Frame(json.loads(json.dumps({"run": 1, **header})), payload))

    collector = collect.Collector(namespace, send, no_limit, StepTimeout, locate, lambda filename: True, [])
    asked = [dict(probe) for probe in probes]
    collector.send_signatures(asked, 60)
    for probe in asked:
        collector.collect(probe, 60)
    return frames


def evidence_of(notebook: str, *cells: str, only: set[str] | None = None) -> Evidence:
    """What cells leave that find the usual names imported."""
    return run_cells(notebook, [IMPORTS, *cells], only=only).evidence


def no_test_set() -> Dataset:
    raise AssertionError("this check must not ask for the test set")


def graded(notebook: str, evidence: Evidence, runner: Runner, **changed: Any) -> CheckContext:
    """What the hidden graders look at."""
    fields: dict[str, Any] = {"files": {}, "converted": None, "test_set": no_test_set, "notes": [], "secret": SECRET}
    return CheckContext(exercise=exercise(notebook), evidence=evidence, runner=runner, **{**fields, **changed})


def grade(notebook: str, evidence: Evidence, runner: Runner, **changed: Any) -> dict[str, CheckResult]:
    """The results of all hidden checks of a notebook, by name."""
    subject = graded(notebook, evidence, runner, **changed)
    results = hidden_tests.run_graders(GRADERS / subject.exercise.grader, subject)
    return {result.name: result for result in results}


def grade_check(notebook: str, name: str, evidence: Evidence, runner: Runner, **changed: Any) -> CheckResult:
    """The result of one hidden check alone, which must not depend on others."""
    subject = graded(notebook, evidence, runner, **changed)
    alone = {"points_problem": mock.Mock(return_value=""), "shared_points": mock.Mock(return_value={})}
    with mock.patch.multiple(hidden_tests, **alone):  # the others' points are missing here
        results = hidden_tests.run_graders(GRADERS / f"{subject.exercise.grader}::{name}", subject)
    assert [result.name for result in results] == [name], results
    return results[0]


def lost(results: Mapping[str, CheckResult]) -> dict[str, str]:
    """The checks that did not pass, by name: status and message."""
    return {
        name: f"{result.status.value}: {result.message}"
        for name, result in results.items()
        if result.status is not Status.PASSED
    }


def staged(path: Path, name: str = "") -> StagedFile:
    """A file as the graders get to see it; what it may hold is told by its first bytes, as with a submission's."""
    content, size = path.read_bytes(), path.stat().st_size
    digest, form = hashlib.sha256(content).hexdigest(), form_of(content[:HEAD], size)
    return StagedFile(name or path.name, path, digest, size, WeightsContent(form, digest) if form else None)


# Answers to a whole notebook


def run_answers(
    notebook: str, answers: Mapping[str, str], *, only: set[str] | None = None, secret: bytes = SECRET
) -> Ran:
    """Run a notebook as a student has it: its imports, its read-only cells, and the answers.

    `answers` maps grade ids to text; a name that is no grade id is a cell of the student's own, put before the next
    answer. An answer that is not given is the reference solution's. The demonstrations in between are left out.
    """
    kit = str(ROOT / "source" / ASSIGNMENT)
    if kit not in sys.path:
        sys.path.append(kit)
    own = list(answers)
    skipped = exercise(notebook).skip_cells
    cells = [source_cells(notebook)[0]["source"]]
    for cell in source_cells(notebook)[1:]:
        name = cell["grade_id"]
        if name and cell["solution"] and name not in skipped:
            before = own[: own.index(name)] if name in own else []
            cells += [answers[other] for other in before]
            own = own[len(before) :]
            cells.append(answers.get(name, cell["source"]))
            own = [other for other in own if other != name]
        elif name and not cell["grade"] and not cell["solution"]:
            cells.append(cell["source"])
    return run_cells(notebook, [*cells, *(answers[name] for name in own)], only=only, secret=secret)


# Checkpoints


def data_name() -> str:
    """ "cifar10" where CIFAR10_ROOT is set, else "offline": checkpoints for both are in the repository."""
    return "cifar10" if os.environ.get("CIFAR10_ROOT") else "offline"


@cache
def test_images() -> Dataset:
    """The test set at hand: CIFAR-10's, else the offline set's."""
    return datasets.find_test_set(allow_offline=data_name() == "offline")


def hand_in(ran: Ran, weights: str, folder: Path) -> dict[str, Any]:
    """Write a checkpoint into `folder` and return what the graders get to see of it (fields of `CheckContext`).

    `weights` names what is handed in: "own" (the network as it is initialised; the test set then has as labels what it
    predicts itself, in plain PyTorch), "reference", "partial" (trained too briefly), "offline set" (the reference
    trained on the built-in set), "untrained", "another architecture", "not finite", "half precision", "compiled" (with
    the prefix that torch.compile adds), "cut off", "in a folder" (and under another name), "best and last" (two files
    that differ), "best renamed and last" (the first under the exact name), "state dict" (by torch.save), "pickled
    model", "with optimiser" (in a dict, as PyTorch's tutorial saves), "with average" (beside others in a dict),
    "averaged" (as torch's AveragedModel saves), or "none".
    """
    converted: bytes | Problem | None = None
    path = folder / "modern_cnn.safetensors"
    test_set = test_images
    if weights == "own":
        collect.seed_everything()  # as for the graders: weights that no file holds are the same then
        model = ran.namespace["ModernCNN"]().eval()
        _save(model.state_dict(), path)
        test_set = _labelled_by(model, ran.namespace.get("test_transform"))
    elif weights in ("pickled model", "another architecture", *SAVED_DICTS):
        path = folder / "modern_cnn.pt"
        _save_pickle(ran, weights, path)
        converted = _converted(path)
    elif weights == "untrained":
        _save(ran.namespace["ModernCNN"]().state_dict(), path)
    elif weights == "in a folder":
        (folder / "checkpoints").mkdir()
        _save(_reference(), folder / "checkpoints" / "best_model.safetensors")
    elif weights in ("best and last", "best renamed and last"):
        _save(_reference(), folder / "best_model.safetensors" if weights == "best and last" else path)
        _save(_others(), folder / "last_model.safetensors")
    elif weights == "cut off":
        shipped = _shipped("reference").read_bytes()
        path.write_bytes(shipped[: len(shipped) // 2])
    elif weights != "none":
        _save(_changed_weights(weights), path, _shipped(weights))
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    files = {name: staged(path, name) for name, path in names.items()}
    return {"files": files, "converted": converted, "test_set": test_set}


def _shipped(weights: str) -> Path:
    """The file of a checkpoint in the repository; the reference's for those that are made from it."""
    folders = {"partial": f"{data_name()}-partial", "offline set": "offline"}
    return CHECKPOINTS / folders.get(weights, data_name()) / "modern_cnn.safetensors"


def _reference() -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(_shipped("reference"))
    return found


def _others() -> dict[str, torch.Tensor]:
    """The reference's, changed a little."""
    return {name: value * 1.01 if value.is_floating_point() else value for name, value in _reference().items()}


def _changed_weights(weights: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_file(_shipped(weights))
    if weights == "not finite":
        state["classifier.weight"][0, 0] = torch.nan
    elif weights == "half precision":
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    elif weights == "compiled":
        state = {f"_orig_mod.{name}": value for name, value in state.items()}
    elif weights not in ("reference", "partial", "offline set"):
        raise KeyError(f"hand_in knows no weights {weights!r}")
    return state


def _save(state: Mapping[str, torch.Tensor], path: Path, notes_of: Path | None = None) -> None:
    """Write a state dict, with the metadata of the file that it was made from."""
    notes = None
    if notes_of is not None:
        with safetensors.safe_open(notes_of, "numpy") as file:
            notes = file.metadata()
    save_file({name: value.contiguous().clone() for name, value in state.items()}, path, metadata=notes)


def _save_pickle(ran: Ran, weights: str, path: Path) -> None:
    if weights == "another architecture":
        path.write_bytes((SAMPLES / "different_style" / "checkpoints" / data_name() / path.name).read_bytes())
        return
    if weights in SAVED_DICTS:
        torch.save(SAVED_DICTS[weights](), path)
        return
    torch.save(torch.nn.Sequential(torch.nn.Linear(1, 1)), path)  # a class of torch's: one made by exec has no module


SAVED_DICTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "state dict": _reference,
    "with optimiser": lambda: {"epoch": 8, "model_state_dict": _reference(), "optimizer_state_dict": {}, "loss": 0.5},
    "with average": lambda: {"model": _reference(), "ema": _others(), "epoch": 8},
    "averaged": lambda: {
        **{f"module.{name}": value for name, value in _reference().items()},
        "n_averaged": torch.tensor(5),
    },
}


def _converted(path: Path) -> bytes | Problem:
    """What the jail makes of a pickle."""
    header, payload = read_state_dict(path)
    return Problem(Status.FAILED, str(header["problem"])) if "problem" in header else payload


def _labelled_by(model: torch.nn.Module, transform: Any) -> Any:
    """A test set whose labels are what the model predicts in plain PyTorch, with the student's own transform."""
    images, _ = offline_images.render("test", LABELLED_IMAGES)
    batch = torch.from_numpy(images).float() / 127.5 - 1
    if transform is not None:
        pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        batch = torch.stack([torch.as_tensor(transform(picture)).float() for picture in pictures])
    with torch.inference_mode():
        # In fours: some mistakes write the batch size down, and the graders export for four images.
        labels = torch.cat([model(part).argmax(1) for part in torch.split(batch, 4)]).numpy().astype(np.int64)
    classes = tuple(map(str, range(10)))
    return lambda: Dataset("CIFAR-10", classes, images, labels, "test", "0" * 64)
