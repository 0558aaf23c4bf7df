"""What the jail is asked to do for one submission: cells to run, values to bring back. Nothing about what is right."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from autograder.core.config import Assignment, Exercise, Limits
from autograder.core.files import digest_of
from autograder.core.package import package_files
from autograder.core.probes import Drawn, ModuleProbe, TransformProbe, draw_all
from autograder.core.weights_file import MaybeWeights, WeightsChoice, choose_weights, exact_names
from autograder.handin.cells import COPY_OF, source_of
from autograder.handin.repair import defined_names
from autograder.handin.submission import Notebook, Submission, grade_id_of, is_run, read_released
from autograder.handin.unanswered import unanswered
from autograder.judging.probe_images import probe_image


@dataclass(frozen=True)
class Plan:
    """`notebooks` go to the launcher as they are; `probes` are theirs by name; `keys` identify what each of them leaves
    of this very run, `unanswered` the names asked for that are as in the release.

    `worker` is the worker's module that runs them. `checkpoint` is the name of a file with weights that is no
    safetensors file and has to be converted in the jail, `checkpoint_key` identifies that.
    """

    notebooks: list[dict[str, Any]]
    probes: dict[str, list[dict[str, Any]]]
    keys: dict[str, str]
    checkpoint: str | None = None
    checkpoint_key: str = ""
    unanswered: dict[str, list[str]] = field(default_factory=dict)
    worker: str = "launcher"

    @property
    def digest(self) -> str:
        """The identity of everything that will run."""
        return digest_of(json.dumps([self.notebooks, self.unanswered], sort_keys=True), self.checkpoint or "")


def make_plan(assignment: Assignment, submission: Submission, limits: Limits, secret: bytes, name: str) -> Plan:
    """Plan the run of every readable notebook that is graded; the others leave nothing for their probes."""
    notebooks: list[dict[str, Any]] = []
    probes: dict[str, list[dict[str, Any]]] = {}
    worker = digest_of(*(path.read_text() for path in package_files("worker/*.py")))
    for exercise in assignment.exercises:
        own = list(plan_probes(exercise, secret, name))
        probes[exercise.notebook] = own
        notebook = submission.notebooks.get(exercise.notebook)
        if notebook is None:
            continue
        planned = {
            "name": exercise.notebook,
            "cells": cells_to_run(notebook, exercise),
            "probes": own,
            "cell_seconds": limits.cell_seconds,
            "notebook_seconds": limits.notebook_seconds,
            "probe_seconds": limits.probe_seconds,
            "output_bytes": limits.output_kib << 10,
            "outputs": limits.outputs,
        }
        notebooks.append(planned)
    chosen = graded_weights(assignment, submission.files)
    convert = next((weights.name for weights in chosen if not weights.is_safetensors), None)
    # With everything else that runs in the same jail, since any of it can write records in another notebook's name:
    # what one submission's code does to a notebook or a conversion, it does to its own only, even where a second
    # student hands in the same notebook or file. Kept by the notebook alone, a forged failure would await its author.
    run = digest_of(worker, submission.jail_digest, convert or "", json.dumps(notebooks, sort_keys=True))
    keys = {notebook["name"]: digest_of(run, notebook["name"]) for notebook in notebooks}
    unanswered = {e.notebook: unanswered_names(submission, e) for e in assignment.exercises if e.notebook in keys}
    return Plan(notebooks, probes, keys, convert, digest_of(run), unanswered)


def asked_for(exercise: Exercise) -> list[str]:
    """The names that an exercise asks its notebook for."""
    kinds = (exercise.answers, exercise.calls, exercise.modules, exercise.transforms)
    return [name for kind in kinds for name in dict.fromkeys(probe.name for probe in kind)]


def unanswered_names(submission: Submission, exercise: Exercise) -> list[str]:
    """Those of the asked-for names that are as in the release."""
    if submission.release is None:
        return []
    released = read_released(submission.release / f"{exercise.notebook}.ipynb")
    return unanswered(submission.notebooks[exercise.notebook], released, asked_for(exercise))


def cells_to_run(notebook: Notebook, exercise: Exercise) -> list[dict[str, Any]]:
    """The code cells of a repaired notebook that are run. Of those that the exercise skips (they train), and of copies
    of these, only what the names need that are asked for, where they define any."""
    skipped = {source_of(cell).strip() for cell in notebook["cells"] if _is_skipped(cell, exercise)}
    asked, cells = asked_for(exercise), []
    for index, cell in enumerate(notebook["cells"]):
        if not is_run(cell):
            continue
        planned = {"index": index, "source": cell["source"]}
        if _is_skipped(cell, exercise) or source_of(cell).strip() in skipped:
            names = sorted(set(asked).intersection(defined_names(cell["source"])))
            if not names:
                continue
            planned["only"] = names
        cells.append(planned)
    return cells


def _is_skipped(cell: Mapping[str, Any], exercise: Exercise) -> bool:
    return (grade_id_of(cell) or cell["metadata"].get(COPY_OF)) in exercise.skip_cells


def plan_probes(exercise: Exercise, secret: bytes, name: str) -> Iterator[dict[str, Any]]:
    """Every probe of an exercise, with the arguments drawn for this course; each is one step of the run."""
    scope = (name, exercise.notebook)
    for answer in exercise.answers:
        yield {"kind": "answer", "name": answer.name, "step": f"answer-{answer.name}"}
    for call in exercise.calls:
        for group, arguments in call.groups.items():
            drawn = draw_all(arguments, secret, *scope, call.name, group)
            step, secret_ones = f"call-{call.name}-{group}", any(isinstance(item, Drawn) for item in arguments)
            asked = {"arguments": drawn, "drawn": secret_ones}
            yield {"kind": "call", "name": call.name, "group": group, **asked, "step": step}
    for module in exercise.modules:
        yield from _plan_builds(module, draw_all(module.builds, secret, *scope, module.name))
    for transform in exercise.transforms:
        yield from _plan_samples(transform, secret, name)


def _plan_builds(probe: ModuleProbe, builds: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    fixed = [dict(build) for build in probe.builds if not isinstance(build, Drawn)]
    exports = [{"training": False, "size": size} for size in probe.image_sizes]
    if probe.train:
        exports.append({"training": True, "size": probe.image_sizes[0]})
    for index, arguments in enumerate(builds):
        channels = probe.input_channels if isinstance(probe.input_channels, int) else arguments[probe.input_channels]
        yield {
            "kind": "build",
            "name": probe.name,
            "index": index,
            "arguments": arguments,
            "drawn": arguments not in fixed,
            "channels": channels,
            "exports": exports if index == 0 else exports[:1],
            "step": f"build-{probe.name}-{index}",
        }


def _plan_samples(probe: TransformProbe, secret: bytes, name: str) -> Iterator[dict[str, Any]]:
    for kind in probe.images:
        image = probe_image(kind, secret, name)  # (H, W, 3) uint8
        yield {
            "kind": "sample",
            "name": probe.name,
            "group": kind,
            "draws": probe.draws,
            "pixels": base64.b64encode(image.tobytes()).decode(),
            "shape": list(image.shape),
            "step": f"sample-{probe.name}-{kind}",
        }


def checkpoint_names(assignment: Assignment) -> list[str]:
    """The names under which weights are asked for, safetensors first."""
    return [name for stem in _stems(assignment) for name in exact_names(stem)]


def graded_weights(assignment: Assignment, files: Mapping[str, MaybeWeights]) -> list[WeightsChoice]:
    """The files with weights that are graded, of all files by the names under which notebooks see them."""
    return [choice for stem in _stems(assignment) if (choice := choose_weights(stem, files)).name]


def _stems(assignment: Assignment) -> list[str]:
    return [exercise.checkpoint.stem for exercise in assignment.exercises if exercise.checkpoint is not None]
