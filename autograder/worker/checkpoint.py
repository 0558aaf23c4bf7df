"""Convert a checkpoint that is a pickle into plain tensors, inside the jail."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

State = dict[str, torch.Tensor]
MOST_KEY = 80
MOST_NESTED = 3  # dicts in dicts that are looked into
MODEL = re.compile(r"model|net|state|weight|param|ema|averag|swa|best", re.IGNORECASE)
OPTIMISER = re.compile(r"optim|(?<![a-z])opt(?![a-z])|sched|scaler|rng", re.IGNORECASE)
PART, LEFT_OUT = "part", "left out"  # metadata, as judging/checkpoint.py reads them
# What training code puts beside the weights: an accuracy as a NumPy number, curves, the command line, a folder. None of
# these runs code of the file's.
BESIDE_WEIGHTS: list[Any] = [
    *(np.dtype, np.ndarray, *(kind for kind in vars(np.dtypes).values() if isinstance(kind, type))),
    *(argparse.Namespace, PosixPath),
]
_MAKERS: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]
# Under both names: NumPy 2 moved them.
BESIDE_WEIGHTS += [(make, f"numpy.{room}.multiarray.{make.__name__}") for make in _MAKERS for room in ("core", "_core")]
_REMEDY = "save the weights with cnn_kit.save_checkpoint(model), or torch.save(model.state_dict(), path)"
_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8}
_DTYPES |= {torch.int16, torch.int32, torch.int64}


def read_state_dict(path: Path) -> tuple[dict[str, Any], bytes]:
    """`({"names": …}, safetensors bytes)`, or `({"problem": …}, b"")` with a message for the student.

    The file is only read with `weights_only=True`. Of what training code saves (a dict with the epoch, the optimiser's
    state and, under some key, a state dict; a state dict with other values among the tensors) only the one state dict
    leaves; the metadata of the safetensors file say where it stood. Half precision is kept and cast by the reader.
    """
    try:
        # Opened here: by its name alone torch.load would take a file for safetensors.
        with open(path, "rb") as file, torch.serialization.safe_globals(BESIDE_WEIGHTS):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        return {"problem": _explain(path, error)}, b""
    try:
        return _plain(path, loaded)
    except Exception as error:  # tensors without data, nested or quantised ones, names that are no text: as torch likes
        kind = type(error).__name__
        return {"problem": f"{path.name} holds tensors that cannot be read as plain numbers ({kind}): {_REMEDY}"}, b""


def _plain(path: Path, loaded: Any) -> tuple[dict[str, Any], bytes]:
    found = _chosen(loaded)
    if isinstance(found, list):
        names = f"{len(found)} state dicts that differ ({_few(found)}), and it is not clear which counts"
        return {"problem": f"{path.name} holds {names}. Choose the one that is to be graded, and {_REMEDY}"}, b""
    if found is None:
        kind = type(loaded).__name__
        inside = f" ({_few(loaded)})" if isinstance(loaded, dict) and loaded else ""
        return {"problem": f"{path.name} holds a {kind}{inside}, expected a state dict: {_REMEDY}"}, b""
    part, tensors = found
    strange = next((name for name, value in tensors.items() if value.dtype not in _DTYPES), None)
    if strange is not None:
        kind = str(tensors[strange].dtype).removeprefix("torch.")
        expected = "expected floating-point numbers, integers or truth values"
        return {"problem": f"{path.name}: {expected}, found {kind} at {strange[:80]!r}: {_REMEDY}"}, b""
    others = [] if part else [key for key in loaded if key not in tensors]
    told = {PART: part[:MOST_KEY]} if part else {LEFT_OUT: _few(others)} if others else {}
    plain = {name: value.detach().to_dense().contiguous().clone() for name, value in tensors.items()}
    return {"names": len(plain)}, save(plain, told)


def _chosen(loaded: Any) -> tuple[str, State] | list[str] | None:
    """The state dict that a file holds, with the keys that lead to it ("" for the file itself).

    Those on the outermost level that has any count; of these, those whose key speaks of a model. Where several that
    differ are left, all their keys.
    """
    own = _tensors_of(loaded)
    if any("." in name for name in own):
        return "", own
    level = [("", loaded)]
    for _ in range(MOST_NESTED):
        level = [entry for above, value in level for entry in _entries(above, value)]
        states = {key: state for key, value in level if _is_state(state := _tensors_of(value))}
        states = {key: state for key, state in states.items() if MODEL.search(key)} or states
        if states:
            key, state = next(iter(states.items()))
            same = all(_are_equal(state, other) for other in states.values())
            return (key, state) if same else list(states)
    return ("", own) if own else None


def _entries(above: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What stands in a dict or list, with the keys that lead there; nothing of an optimiser's."""
    if isinstance(value, dict) and "param_groups" in value:
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, inner in pairs:
        if isinstance(inner, (dict, list, tuple)) and not OPTIMISER.search(str(key)):
            yield f"{above}.{key}".lstrip("."), inner


def _tensors_of(value: Any) -> State:
    if not isinstance(value, dict):
        return {}
    return {name: inner for name, inner in value.items() if isinstance(name, str) and isinstance(inner, torch.Tensor)}


def _is_state(tensors: State) -> bool:
    """Whether these can be a network's: tensors of measurements have no kernels and no matrices."""
    return any(tensor.ndim >= 2 for tensor in tensors.values())


def _are_equal(one: State, other: State) -> bool:
    alike = one.keys() == other.keys() and all(tensor.dtype == other[name].dtype for name, tensor in one.items())
    return one is other or (alike and all(torch.equal(tensor, other[name]) for name, tensor in one.items()))


def _few(names: Iterable[object]) -> str:
    """The first names, and how many more there are."""
    listed = [f"`{str(name)[:MOST_KEY]}`" for name in names]
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3:,} more" if len(listed) > 3 else "")


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    if "weights_only" in text.lower() or "Unsupported global" in text or "unpickl" in text.lower():
        found = "holds a whole pickled model (or other objects), expected a state dict of tensors only"
        return f"{path.name} {found}: {_REMEDY}"
    return f"{path.name} cannot be read as a checkpoint ({type(error).__name__}): {_REMEDY}"
