"""Evidence as lines for the staff: values, calls, builds of a network, outputs of a transform, the checkpoint.

What was drawn for this course (arguments, and what could tell them) is left out unless it is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autograder.core.config import Exercise
from autograder.core.files import StagedFile
from autograder.core.grade_report import Evaluation, GradeReport, Layer, Model
from autograder.core.text import clean_name
from autograder.core.weights_file import choose_weights
from autograder.core.wording import status_words
from autograder.graphs.model_graph import ModelGraph
from autograder.judging.checkpoint import CheckpointProblem, read_checkpoint
from autograder.judging.evidence import Build, CallEvidence, Evidence, Result, Samples
from autograder.judging.problems import Problem

MOST_LAYERS = 60
MOST_METADATA = 200  # characters of a checkpoint's own word
NOT_SHOWN = "--secret shows them"


@dataclass(frozen=True)
class Piece:
    """One piece of evidence: what it is, and lines that say what it holds."""

    title: str
    lines: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class EvidenceQuery:
    """What there is to show: `words` are the names that the check uses, `converted` is what the jail made of a `.pt`
    checkpoint, `secret` says whether drawn inputs are shown."""

    exercise: Exercise
    words: frozenset[str]
    evidence: Evidence
    files: Mapping[str, StagedFile]
    converted: bytes | Problem | None
    report: GradeReport
    secret: bool


def pieces(seen: EvidenceQuery) -> list[Piece]:
    """The evidence that a check looks at; all of its exercise where its source names none of it."""
    found = list(_pieces(seen, seen.words))
    exercise = seen.exercise
    names = [
        p.name for probes in (exercise.answers, exercise.calls, exercise.modules, exercise.transforms) for p in probes
    ]
    return [*(found or _pieces(seen, frozenset([*names, "checkpoint"]))), *_settings(seen)]


def _pieces(seen: EvidenceQuery, words: frozenset[str]) -> Iterator[Piece]:
    evidence = seen.evidence
    for name, result in evidence.answers.items():
        if name in words:
            yield Piece(f"`{name}`", [shown(result)])
    for name, calls in evidence.calls.items():
        if name in words:
            for group in _named(calls, words):
                yield Piece(f"Calls of `{name}`, group {group}", list(_calls(calls[group], seen.secret)))
    for name, builds in evidence.modules.items():
        if name in words:
            yield from _builds(name, builds, seen)
    for name, samples in evidence.samples.items():
        if name in words:
            for group in _named(samples, words):
                yield Piece(f"`{name}` of the image {group}", list(_samples(samples[group])))
    if seen.exercise.checkpoint is not None and "checkpoint" in words:
        yield Piece("The checkpoint", list(_checkpoint(seen)))


def _named(groups: Mapping[str, Any], words: frozenset[str]) -> list[str]:
    """The groups that a check names, or else all of them."""
    return [group for group in groups if group in words] or list(groups)


def _settings(seen: EvidenceQuery) -> Iterator[Piece]:
    used = {name: value for name, value in seen.exercise.settings.items() if name in seen.words}
    if used:
        yield Piece("Settings in grader_config.py", [f"{name} = {value!r}" for name, value in used.items()])


def shown(result: Result) -> str:
    """A value with its type, or why there is none."""
    if isinstance(result, Problem):
        return problem_words(result)
    if result.kind == "none":
        return "None"
    if result.kind == "other":
        return f"an object of type {result.value}"
    origin = "" if result.origin == "python" else f" of {result.origin}"
    return f"{result.value!r} ({result.kind}{origin})"


def problem_words(problem: Problem, *, brief: bool = False) -> str:
    """How a piece of evidence failed; `brief` leaves out what the student's code chose to say."""
    words = " ".join(part for part in (status_words(problem.status), problem.type) if part)
    place = f" (line {problem.line} of cell {problem.cell + 1} of the notebook)" if problem.line else ""
    return f"{words}{place}" + ("" if brief or not problem.message else f": {problem.message}")


def _calls(calls: Sequence[CallEvidence], secret: bool) -> Iterator[str]:
    if secret:
        for call in calls:
            given = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
            yield f"({given}) → {shown(call.result)}"
        return
    kinds = Counter(
        problem_words(call.result, brief=True) if isinstance(call.result, Problem) else _kind(call) for call in calls
    )
    yield f"{_count(len(calls), 'call')}: " + ", ".join(f"{number} × {kind}" for kind, number in kinds.items())
    yield f"Arguments and results are secret: {NOT_SHOWN}"


def _kind(call: CallEvidence) -> str:
    assert not isinstance(call.result, Problem)
    return "an object" if call.result.kind == "other" else call.result.kind


def _builds(name: str, builds: Sequence[Build], seen: EvidenceQuery) -> Iterator[Piece]:
    models = [m for m in seen.report.models if m.name == name]
    for number, build in enumerate(builds, 1):
        is_told = seen.secret or not build.drawn
        given = ", ".join(f"{key}={value!r}" for key, value in build.arguments.items()) if is_told else "…"
        lines = [f"Its arguments were drawn for this course: {NOT_SHOWN}"] if not is_told else []
        lines += [problem_words(build.problem, brief=not is_told)] if build.problem else []
        for (training, size), graph in build.graphs.items():
            mode = f"{'training' if training else 'eval'} mode, {size}×{size} images"
            lines.append(f"{mode}: {_graph(graph, is_told)}")
        yield Piece(f"Build {number} of {len(builds)}: {name}({given})", lines)
    for model in models:
        yield Piece(f"Layers of {name}()", list(_layers(model)))


def _graph(graph: ModelGraph | Problem, is_told: bool) -> str:
    if isinstance(graph, Problem):
        return problem_words(graph, brief=not is_told)
    if not is_told:
        return "exported"
    steps = sum(node.kind == "call" for node in graph.nodes)
    kinds = Counter(tensor.kind for tensor in graph.tensors)
    parameters = sum(tensor.numel for tensor in graph.tensors if tensor.kind == "parameter")
    tensors = ", ".join(f"{number} {kind}{'s' * (number != 1)}" for kind, number in kinds.items())
    held = f"{tensors} with {parameters:,} trainable numbers" if tensors else "no tensors"
    return f"input {tuple(graph.input_shape)}, {_count(steps, 'operation')}, {held}"


def _layers(model: Model) -> Iterator[str]:
    yield f"{model.parameters:,} parameters, {model.macs:,} multiply-accumulates for one image"
    for place, layer in enumerate(model.layers[:MOST_LAYERS], 1):
        yield f"{place:3}  {_layer(layer)}"
    left = len(model.layers) - MOST_LAYERS + model.shortened
    if left > 0:
        yield f"     … and {left} more"


def _layer(layer: Layer) -> str:
    shape = "×".join(map(str, layer.shape)) or "?"
    inputs = ", ".join(str(place + 1) for place in layer.inputs)
    parts = [f"{layer.text:<32}", f"→ {shape:<12}"]
    parts += [f"{layer.parameters:,} parameters"] if layer.parameters else []
    parts += [f"of {inputs}"] if inputs else []
    return "  ".join(parts).rstrip()


def _samples(samples: Samples) -> Iterator[str]:
    if samples.problem is not None:
        yield problem_words(samples.problem)
        return
    yield f"given as {'a tensor' if samples.form == 'tensor' else 'a PIL image'} of {samples.image.shape}, uint8"
    forms = Counter((sample.type, sample.dtype, sample.shape) for sample in samples.outputs)
    for (kind, dtype, shape), number in forms.items():
        yield f"{_count(number, 'draw')}: {kind or 'nothing'} {dtype} {shape}"
    arrays = [sample.array for sample in samples.outputs if sample.array is not None and sample.array.size]
    if arrays:
        low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
        mean = float(np.mean([a.mean(dtype=np.float64) for a in arrays]))
        kinds = len({(a.shape, a.tobytes()) for a in arrays})
        alike = "all draws are alike" if kinds == 1 else f"{kinds} distinct draws"
        yield f"values from {low:.4g} to {high:.4g}, mean {mean:.4g}; {alike}"


def _checkpoint(seen: EvidenceQuery) -> Iterator[str]:
    probe = seen.exercise.checkpoint
    assert probe is not None
    chosen = choose_weights(probe.stem, seen.files).name
    if chosen:
        yield f"{clean_name(chosen)}: {seen.files[chosen].size:,} bytes, sha256 {seen.files[chosen].sha256}"
    try:
        checkpoint = read_checkpoint(probe.stem, seen.files, seen.converted, probe.most_mib)
    except CheckpointProblem as problem:
        yield f"{status_words(problem.status)}: {problem}"
        return
    numbers = sum(array.size for array in checkpoint.tensors.values())
    yield f"{_count(len(checkpoint.tensors), 'tensor')} with {numbers:,} numbers in all"
    for name, text in checkpoint.metadata.items():
        if len(text) <= MOST_METADATA:  # longer ones are histories
            yield f"It says of itself, unchecked: {name} = {text}"
    yield from checkpoint.notes
    yield from (accuracy(found) for found in seen.report.evaluations)


def accuracy(found: Evaluation) -> str:
    """How the weights did, in a sentence."""
    of = f" of {found.total:,}" if found.images != found.total else ""
    odd = f"; {found.not_finite:,} outputs were NaN or infinite" if found.not_finite else ""
    interval = f"95 % interval {found.low:.2%} to {found.high:.2%}"
    looked_at = f"{found.correct:,} right, {found.images:,}{of} images looked at"
    public = f"; {found.public_accuracy:.2%} on public test images" if found.public_accuracy is not None else ""
    what = f"Accuracy on the {found.data_set}" if found.data_set else "Test accuracy"
    return f"{what} {found.accuracy:.2%}: {looked_at} ({interval}){odd}{public}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
