"""Convert a checkpoint that is a pickle into plain tensors, inside the jail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save


def read_state_dict(path: Path) -> tuple[dict[str, Any], bytes]:
    """`({"names": …, "notes": …}, safetensors bytes)`, or `({"problem": …}, b"")` with a message for the student.

    The file is only read with `weights_only=True`; half precision is kept and cast by the reader.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        return {"problem": _explain(path, error)}, b""
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(k, str) for k in loaded):
        found = type(loaded).__name__
        return {"problem": f"{path.name} holds a {found}, expected a state dict: {_REMEDY}"}, b""
    tensors = {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    if len(tensors) != len(loaded):
        other = sorted(set(loaded) - set(tensors))[:3]
        return {"problem": f"{path.name}: expected only tensors, found other values at {other}: {_REMEDY}"}, b""
    strange = next((name for name, value in tensors.items() if value.dtype not in _DTYPES), None)
    if strange is not None:
        found = str(tensors[strange].dtype).removeprefix("torch.")
        expected = "expected floating-point numbers, integers or truth values"
        return {"problem": f"{path.name}: {expected}, found {found} at {strange[:80]!r}: {_REMEDY}"}, b""
    try:
        plain = {name: value.detach().to_dense().contiguous().clone() for name, value in tensors.items()}
        return {"names": len(plain)}, save(plain)
    except Exception as error:  # tensors without data, nested or quantised ones, names that are no text: as torch likes
        kind = type(error).__name__
        return {"problem": f"{path.name} holds tensors that cannot be read as plain numbers ({kind}): {_REMEDY}"}, b""


_REMEDY = "save the weights with cnn_kit.save_checkpoint(model), or torch.save(model.state_dict(), path)"
_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8}
_DTYPES |= {torch.int16, torch.int32, torch.int64}


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    if "weights_only" in text.lower() or "Unsupported global" in text or "unpickl" in text.lower():
        found = "holds a whole pickled model (or other objects), expected a state dict of tensors only"
        return f"{path.name} {found}: {_REMEDY}"
    return f"{path.name} cannot be read as a checkpoint ({type(error).__name__}): {_REMEDY}"
