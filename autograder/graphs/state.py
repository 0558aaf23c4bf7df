"""The state of a model graph: its parameters, buffers and constants, compared, checked and replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from autograder.graphs.model_graph import GraphRefused, ModelGraph, TensorInfo
from autograder.graphs.tensor_file import SAFETENSORS_DTYPES, BadTensors, load_arrays, read_header


class WeightsDoNotFit(ValueError):
    """Weights that are not the weights of the graph's architecture; the message is for the student."""


def state_differences(graph: ModelGraph, other: ModelGraph) -> list[str]:
    """In what two exports of one build disagree about the module's state; empty where they are the same model.

    Each is one phrase for a message. A train-mode graph with other parameters than the eval graph would let one model
    be trained and another one be judged.
    """
    ours, theirs = _state(graph), _state(other)
    phrases = [f"{name} is in one of them only" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name][1:] != theirs[name][1:]:
            phrases.append(f"{name} is {_describe(ours[name])} in one and {_describe(theirs[name])} in the other")
    return phrases


def check_tensors(graph: ModelGraph, blob: bytes) -> None:
    """Raise GraphRefused unless the safetensors `blob` holds each of the graph's tensors with its dtype and shape."""
    try:
        entries = read_header(blob).entries
    except BadTensors as error:
        raise GraphRefused(f"the tensors are not valid safetensors ({error})") from error
    for tensor in graph.tensors:
        found = entries.get(tensor.key)
        if found is None:
            raise GraphRefused(f"the tensors lack {tensor.key} ({tensor.name})")
        if (found.dtype, found.shape) != (SAFETENSORS_DTYPES[tensor.dtype], tensor.shape):
            raise GraphRefused(
                f"{tensor.name}: the graph declares {tensor.dtype} {tensor.shape}, "
                f"its tensor is {found.dtype} {found.shape}"
            )


def bind_tensors(graph: ModelGraph, blob: bytes, replacements: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """`blob` with the graph's parameters and buffers replaced by a state dict's arrays of the same name and shape.

    Floating-point arrays of another precision are cast to the graph's. `num_batches_tracked` may be missing, as in
    `load_state_dict`: old checkpoints lack it and evaluation does not use it. Raises WeightsDoNotFit.
    """
    state = {tensor.name: tensor for tensor in graph.tensors if tensor.kind != "constant"}
    missing = [n for n in state if n not in replacements and not n.endswith("num_batches_tracked")]
    unexpected = sorted(name for name in replacements if name not in state)
    # In the model's order: a safetensors file has none, and a message must be the same each time.
    wrong = [
        f"{name} has shape {tuple(replacements[name].shape)}, expected {tensor.shape}"
        for name, tensor in state.items()
        if name in replacements and tuple(replacements[name].shape) != tensor.shape
    ]
    if missing or unexpected or wrong:
        parts = [f"missing {_some(missing)}"] * bool(missing) + [f"unexpected {_some(unexpected)}"] * bool(unexpected)
        parts += [_some(wrong)] * bool(wrong)
        raise WeightsDoNotFit(f"the weights do not fit the model: {'; '.join(parts)}")
    check_tensors(graph, blob)
    arrays = load_arrays(blob)
    for name, array in replacements.items():
        arrays[state[name].key] = _cast(array, state[name])
    return safetensors.numpy.save({key: np.asarray(array, order="C") for key, array in arrays.items()})


def _cast(array: np.ndarray[Any, Any], tensor: TensorInfo) -> np.ndarray[Any, Any]:
    wanted = np.dtype(tensor.dtype)
    if array.dtype != wanted and not (array.dtype.kind == "f" and wanted.kind == "f"):
        raise WeightsDoNotFit(f"the weights do not fit the model: {tensor.name} is {array.dtype}, expected {wanted}")
    with np.errstate(over="ignore"):  # a weight beyond float32 becomes inf, and the logits tell
        return array.astype(wanted, copy=False).reshape(tensor.shape)


def _some(names: list[str], limit: int = 4) -> str:
    shown = ", ".join(name[:80] for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _state(graph: ModelGraph) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    return {t.name: (t.name, t.dtype, t.shape) for t in graph.tensors if t.kind in {"parameter", "frozen", "buffer"}}


def _describe(entry: tuple[str, str, tuple[int, ...]]) -> str:
    return f"{entry[1]} {entry[2]}"
