"""Read a handed-in checkpoint as plain arrays and put it into a model graph, without torch and without a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from autograder.core.files import Submitted
from autograder.core.grade_report import Status
from autograder.core.text import clean_text
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.state import WeightsDoNotFit, bind_tensors
from autograder.graphs.tensor_file import Array, BadTensors, TensorEntry, array_of, read_header
from autograder.judging.evidence import Problem

REMEDY = "end the training cell with cnn_kit.save_checkpoint(model)"
_MOST_METADATA = 100  # entries shown at most; a file may hold as many as it likes


class CheckpointProblem(ValueError):
    """The checkpoint cannot be used; the message is for the student, the status FAILED unless the jail gave another."""

    def __init__(self, message: str, status: Status = Status.FAILED) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Checkpoint:
    """A state dict as arrays by name, at most float64; `metadata` is what the file says of itself: shown, not trusted.

    `notes` says what was done to it (half precision cast, a second file ignored).
    """

    name: str
    tensors: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def says_offline(self) -> bool:
        """Whether the kit noted that these weights were trained on the built-in offline set."""
        return "offline set" in self.metadata.get("data", "")


def read_checkpoint(
    stem: str, files: Mapping[str, Submitted], converted: bytes | Problem | None, most_mib: float
) -> Checkpoint:
    """`<stem>.safetensors`, or what the jail made of `<stem>.pt`. Raises CheckpointProblem."""
    plain, pickled = f"{stem}.safetensors", f"{stem}.pt"
    name = plain if plain in files else pickled
    if name not in files:
        near = [other for other in sorted(files) if other.endswith((".safetensors", ".pt", ".pth", ".bin"))]
        found = f" Found: {', '.join(near[:3])}: rename it." if near else ""
        raise CheckpointProblem(
            f"no {plain} (or {pickled}) was handed in, so there are no weights to evaluate: {REMEDY}, and hand in the "
            f"file it writes beside the notebook.{found}"
        )
    size = files[name].size
    if size > most_mib * 2**20:
        raise CheckpointProblem(
            f"{name}: at most {most_mib:g} MiB are allowed, it has {size / 2**20:.1f} MiB. Save the model's state dict "
            "only, without the optimiser"
        )
    notes = [f"{pickled} was ignored: {plain} is there too"] if name == plain and pickled in files else []
    blob = files[name].path.read_bytes() if name == plain else _converted(name, converted, most_mib)
    tensors, metadata, reduced = _parse(name, blob)
    if reduced:
        notes.append(f"{name} holds half precision ({', '.join(reduced)}): cast to float32")
    return Checkpoint(name, tensors, metadata, tuple(notes))


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
    shown = {clean_text(k)[:100]: clean_text(v) for k, v in list(header.metadata.items())[:_MOST_METADATA]}
    return arrays, shown, [{"F16": "float16", "BF16": "bfloat16"}[dtype] for dtype in reduced]


def _array(blob: bytes, entry: TensorEntry) -> Array:
    """One tensor, of float32 where it is of less."""
    array = array_of(blob, entry)
    if entry.dtype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array.astype(np.float32) if entry.dtype == "F16" else array


def _why(blob: bytes, error: Exception) -> str:
    if blob[:2] == b"PK" or blob[:1] == b"\x80":
        return "it is a file of torch.save under the wrong name; call it .pt, or save it with cnn_kit.save_checkpoint"
    if not blob:
        return "it is empty. Save and hand it in again"
    if "incomplete" in str(error):
        return "it is cut off or damaged (an interrupted upload?). Hand it in again"
    return f"it is no valid safetensors file ({error}). {REMEDY[0].upper()}{REMEDY[1:]}"


def fit_checkpoint(graph: ModelGraph, tensors: bytes, checkpoint: Checkpoint) -> bytes:
    """The graph's tensors (a safetensors blob) with the checkpoint's in place of its parameters and buffers.

    Prefixes that `torch.compile` and `DataParallel` put before names are overlooked. Raises CheckpointProblem where
    names or shapes do not fit, or weights are not finite.
    """
    state = {t.name for t in graph.tensors if t.kind != "constant"}
    by_plain_name = {_plain_name(name): name for name in state}
    renamed = {
        name if name in state else by_plain_name.get(_plain_name(name), _plain_name(name)): array
        for name, array in checkpoint.tensors.items()
    }
    broken = [name for name, array in renamed.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise CheckpointProblem(
            f"{checkpoint.name}: the weights of `{broken[0]}`{more} are NaN or infinite, so training had diverged. "
            "Train again with a lower learning rate, and look at the loss"
        )
    try:
        return bind_tensors(graph, tensors, _without_tied(renamed, state))
    except WeightsDoNotFit as error:
        raise CheckpointProblem(
            f"{checkpoint.name} is not from this version of the class: {error}. Train again after changing the network"
        ) from error


def _plain_name(name: str) -> str:
    """As the kit saves it: without what torch.compile and DataParallel put before a weight's name."""
    return name.replace("_orig_mod.", "").removeprefix("module.")


def _without_tied(arrays: Mapping[str, Array], state: set[str]) -> dict[str, Array]:
    """Leave out second names of shared weights: a state dict lists them under each name, a graph only once."""
    known = {_content(array) for name, array in arrays.items() if name in state}
    return {name: array for name, array in arrays.items() if name in state or _content(array) not in known}


def _content(array: Array) -> tuple[tuple[int, ...], str, bytes]:
    """What two equal arrays share; each is looked at once, since thousands against thousands would take minutes."""
    return array.shape, array.dtype.str, hashlib.sha256(array.tobytes()).digest()
