"""Read a handed-in checkpoint as plain arrays and put it into a model graph, without torch and without a pickle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autograder.core.files import StagedFile
from autograder.core.grade_report import Status
from autograder.core.remarks import clipped, in_words
from autograder.core.text import clean_name, clean_text
from autograder.core.weights_file import WeightsChoice, choose_weights, exact_names, is_called
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.state import WeightsDoNotFit, bind_tensors
from autograder.graphs.tensor_file import Array, BadTensors, TensorEntry, array_of, load_arrays, read_header
from autograder.judging.problems import Problem
from autograder.judging.weight_names import NamedTensors, Shape, name_tensors, shown

REMEDY = "end the training cell with cnn_kit.save_checkpoint(model)"
SAVE = "Save model.state_dict(), with cnn_kit.save_checkpoint(model) or torch.save"
SAVE_ONE = "save the network that is to be graded alone, with cnn_kit.save_checkpoint(model)"
APART = (
    "Class and file must belong together: hand in the class as it was when these weights were saved, or save the "
    "weights of the class that you hand in"
)
STATISTICS = ("running_mean", "running_var")
PART, LEFT_OUT = "part", "left out"  # metadata of a converted file, as worker/checkpoint.py writes them
MOST_LEFT_OUT = 300  # characters
MOST_NAMED = 3
LEAST_HIDDEN = 64  # numbers: less is a mean or a scale, which may well be written down
SUFFIX = re.compile(r"\.(?:safetensors|pth?|ckpt|bin|tar|pkl|pickle)\b", re.IGNORECASE)
_MOST_METADATA = 100  # entries shown at most; a file may hold as many as it likes


class CheckpointProblem(ValueError):
    """The checkpoint cannot be used; the message is for the student, the status FAILED unless the jail gave another."""

    def __init__(self, message: str, status: Status = Status.FAILED) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Checkpoint:
    """A state dict as arrays by name, at most float64; `metadata` is what the file says of itself: shown, not trusted.

    `name` is its file's, as notebooks see it. `notes` say which file was taken and what was done to it (half precision
    cast, a second file ignored).
    """

    name: str
    tensors: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its file's name, for a sentence."""
        return clean_name(self.name)

    @property
    def says_offline(self) -> bool:
        """Whether the kit noted that these weights were trained on the built-in offline set."""
        return "offline set" in self.metadata.get("data", "")


def read_checkpoint(
    stem: str, files: Mapping[str, StagedFile], converted: bytes | Problem | None, most_mib: float
) -> Checkpoint:
    """The file that counts as the weights called `stem` (weights_file.choose_weights), or what the jail made of it.

    Raises CheckpointProblem.
    """
    choice = choose_weights(stem, files)
    if not choice.name:
        raise CheckpointProblem(_several(choice) if choice.rivals else _none(stem, files))
    file, label = files[choice.name], clean_name(choice.name)
    if file.size > most_mib * 2**20:
        raise CheckpointProblem(
            f"{label}: at most {most_mib:g} MiB are allowed, it has {file.size / 2**20:.1f} MiB. Save the model's "
            "state dict only, without the optimiser"
        )
    blob = file.path.read_bytes() if choice.is_safetensors else _converted(label, converted, most_mib)
    tensors, metadata, reduced = _parse(label, blob)
    notes = _about_choice(choice)
    if not choice.is_safetensors:
        notes += _about_conversion(label, metadata)
        metadata = {}
    if reduced:
        notes.append(f"{label} holds half precision ({', '.join(reduced)}): cast to float32")
    return Checkpoint(choice.name, tensors, metadata, tuple(notes))


def _none(stem: str, files: Mapping[str, StagedFile]) -> str:
    plain, pickled = exact_names(stem)
    near = [name for name in sorted(files) if is_called(name, stem) or SUFFIX.search(name)]
    found = ""
    if near:
        first = files[near[0]]
        is_zip = first.size and near[0].casefold().endswith(".zip")
        reason = "unpack it, and hand in what is in it" if is_zip else "nothing in it can be read as weights"
        found = f" Found: {_names(near)}: {reason if first.size else 'it is empty'}."
    return (
        f"no {plain} (or {pickled}) was handed in, so there are no weights to evaluate: {REMEDY}, and hand in the "
        f"file it writes beside the notebook.{found}"
    )


def _several(choice: WeightsChoice) -> str:
    plain, pickled = exact_names(choice.stem)
    return (
        f"no {plain} (or {pickled}) was handed in, and {len(choice.rivals):,} other files hold different weights "
        f"({_names(choice.rivals)}), so it is not clear which count. Call the file that is to be graded {plain} or "
        f"{pickled}, put it beside the notebook, and hand in again"
    )


def _names(names: Sequence[str]) -> str:
    return in_words([f"`{clean_name(name)}`" for name in names], MOST_NAMED)


def _about_choice(choice: WeightsChoice) -> list[str]:
    """What a student and a TA should know about the file that was taken, and about others."""
    notes, label = list[str](), f"`{clean_name(choice.name)}`"
    if not choice.is_exact:
        notes.append(f"{label} was taken as {choice.asked_for}")
    elif choice.name != choice.asked_for:
        notes.append(f"{label} is {'safetensors' if choice.is_safetensors else 'a file of torch.save'}: read as such")
    if choice.ignored:
        are = "was" if len(choice.ignored) == 1 else "were"
        notes.append(
            f"{_names(choice.ignored)} {are} ignored: {label} {'is there too' if choice.is_exact else 'counts'}"
        )
    return notes


def _about_conversion(label: str, told: Mapping[str, str]) -> list[str]:
    """What the jail says that it took out of a file (worker/checkpoint.py), in words."""
    notes = []
    if told.get(PART):
        notes.append(f"of {label} the weights under {shown(told[PART])} were taken")
    if told.get(LEFT_OUT):
        notes.append(f"of {label} only the tensors were taken, without {clipped(told[LEFT_OUT], MOST_LEFT_OUT)}")
    return notes


def _converted(name: str, converted: bytes | Problem | None, most_mib: float) -> bytes:
    if isinstance(converted, Problem):
        raise CheckpointProblem(converted.message or f"{name} could not be read", converted.status)
    if converted is None:
        raise CheckpointProblem(f"{name} could not be read: {REMEDY}", Status.CRASHED)
    # Twice, since weights that are shared are written under each of their names. A small file can hold a large tensor:
    # one of a single value repeated, or a compressed one.
    if len(converted) > 2 * most_mib * 2**20:
        raise CheckpointProblem(
            f"{name} holds {len(converted) / 2**20:,.0f} MiB of tensors, at most {most_mib:g} MiB are allowed. {REMEDY}"
        )
    return converted


def _parse(name: str, blob: bytes) -> tuple[dict[str, Array], dict[str, str], list[str]]:
    """Arrays by name, metadata, and the half-precision dtypes that were cast."""
    try:
        header = read_header(blob)
    except BadTensors as error:
        raise CheckpointProblem(f"{name} cannot be read: {_why(blob, error)}") from error
    arrays = {clean_text(key): _array(blob, entry) for key, entry in header.entries.items()}
    reduced = sorted({entry.dtype for entry in header.entries.values()} & {"F16", "BF16"})
    metadata = {clean_text(k)[:100]: clean_text(v) for k, v in list(header.metadata.items())[:_MOST_METADATA]}
    return arrays, metadata, [{"F16": "float16", "BF16": "bfloat16"}[dtype] for dtype in reduced]


def _array(blob: bytes, entry: TensorEntry) -> Array:
    """One tensor, of float32 where it is of less."""
    array = array_of(blob, entry)
    if entry.dtype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array.astype(np.float32) if entry.dtype == "F16" else array


def _why(blob: bytes, error: Exception) -> str:
    if not blob:
        return "it is empty. Save and hand it in again"
    if "incomplete" in str(error):
        return "it is cut off or damaged (an interrupted upload?). Hand it in again"
    return f"it is no valid safetensors file ({error}). {REMEDY[0].upper()}{REMEDY[1:]}"


@dataclass(frozen=True)
class FittedWeights:
    """A graph's `tensors` with a checkpoint's weights in place of its own; `notes` say what was done to the names."""

    tensors: bytes
    notes: tuple[str, ...] = ()


def fit_checkpoint(graph: ModelGraph, tensors: bytes, checkpoint: Checkpoint) -> FittedWeights:
    """The graph's tensors (a safetensors blob) with the checkpoint's in place of its parameters and buffers.

    Names may have a prefix, and there may be other tensors (weight_names.py). Raises CheckpointProblem where names or
    shapes do not fit, or weights are not finite.
    """
    shapes = {t.name: t.shape for t in graph.tensors if t.kind != "constant"}
    named = name_tensors(shapes, checkpoint.tensors, {t.name: t.key for t in graph.tensors})
    _expect_fit(checkpoint.label, named, shapes)
    _expect_known(checkpoint, named.unused, graph, tensors)
    broken = [n for n, array in named.tensors.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise CheckpointProblem(
            f"{checkpoint.label}: the weights of `{broken[0]}`{more} are NaN or infinite, so training had diverged. "
            "Train again with a lower learning rate, and look at the loss"
        )
    try:
        return FittedWeights(bind_tensors(graph, tensors, named.tensors), tuple(named.notes))
    except WeightsDoNotFit as error:
        raise CheckpointProblem(f"{checkpoint.label}: {error}. {SAVE}") from error


def _expect_known(checkpoint: Checkpoint, unused: Sequence[str], graph: ModelGraph, tensors: bytes) -> None:
    """Raises CheckpointProblem where the network computes with numbers of the file that are no weights of its own: a
    network that reads the file itself and keeps them in plain tensors would be judged by what no optimiser changes."""
    hidden = [tensor for tensor in graph.tensors if tensor.kind == "constant" and tensor.numel >= LEAST_HIDDEN]
    if not hidden or not unused:
        return
    arrays = load_arrays(tensors)
    constants = {_content(arrays[tensor.key]) for tensor in hidden}
    found = [name for name in unused if _content(checkpoint.tensors[name]) in constants]
    if found:
        more, it = ("", "it") if len(found) == 1 else (f" and {len(found) - 1:,} more tensors", "them")
        raise CheckpointProblem(
            f"{checkpoint.label}: the network computes with {shown(found[0])}{more} of this file, which it does not "
            f"know as its weights, so no optimiser would change {it}. Keep layers in attributes, nn.Sequential or "
            "nn.ModuleList, not in a plain list or dict"
        )


def _content(array: Array) -> bytes:
    """The same for the same numbers, whatever their precision and order in memory."""
    return hashlib.sha256(repr(array.shape).encode() + np.asarray(array, "<f4", order="C").tobytes()).digest()


def _expect_fit(name: str, named: NamedTensors, shapes: Mapping[str, Shape]) -> None:
    """Raises CheckpointProblem with how many tensors do not fit, and the first of each kind."""
    if named.rivals:
        prefixes = in_words([shown(prefix) if prefix else "no prefix" for prefix in named.rivals])
        raise CheckpointProblem(
            f"{name} holds the whole network more than once, with different numbers (names with {prefixes}), and it is "
            f"not clear which counts: {SAVE_ONE}"
        )
    wrong = [own for own, array in named.tensors.items() if array.shape != shapes[own]]
    missing = [own for own in shapes if own in named.missing]
    parts = []
    if wrong:
        found, expected = named.tensors[wrong[0]].shape, shapes[wrong[0]]
        first = f"{shown(wrong[0])}: {found}, expected {expected}"
        parts.append(f"{len(wrong):,} of {len(shapes):,} tensors of another shape, the first {first}")
    if missing:
        parts.append(f"{len(missing):,} of {len(shapes):,} tensors missing, the first {shown(missing[0])}")
    if not parts:
        return
    if named.unused:
        parts.append(f"{len(named.unused):,} that the class does not have, the first {shown(named.unused[0])}")
    if not wrong and all(own.endswith(STATISTICS) for own in missing):
        remedy = f"These are the running averages of batch norm, which are no parameters. {SAVE}"
    else:
        remedy = "Train again after changing the network" if wrong else APART
    raise CheckpointProblem(f"{name} is not from this version of the class: {'; '.join(parts)}. {remedy}")
