"""Read a safetensors file that may lie: every claim of its header is checked before an array is built of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.core.strict_json import BadJson, count_values, parse_json

MOST_TENSORS = 10_000
MOST_RANK = 8
MOST_ELEMENTS = 2**28  # of one tensor: 1 GiB of float32
MOST_HEADER_BYTES = 8 << 20
MOST_HEADER_VALUES = 32 * MOST_TENSORS
LENGTH_BYTES = 8  # the length of the header, before it
FORMATS = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BF16": "<u2",  # NumPy has no bfloat16
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "BOOL": "u1",  # any byte, not only 0 and 1
}
SAFETENSORS_DTYPES = {  # by NumPy's names
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "bool": "BOOL",
}
Array = np.ndarray[Any, Any]


class BadTensors(ValueError):
    """Bytes that are no safetensors file, or one that this grader does not read."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: its dtype as safetensors spells it, and where its bytes lie in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a file says it holds; `metadata` is what it says besides."""

    entries: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(blob: bytes) -> Header:
    """The checked header: tensors that fill the file without gap or overlap. Raises BadTensors."""
    size = int.from_bytes(blob[:LENGTH_BYTES], "little")
    if len(blob) < LENGTH_BYTES or size > len(blob) - LENGTH_BYTES:
        raise BadTensors("incomplete: the header is longer than the file")
    text = blob[LENGTH_BYTES : LENGTH_BYTES + size]
    if size > MOST_HEADER_BYTES or count_values(text) > MOST_HEADER_VALUES:
        raise BadTensors(f"a header of more than {MOST_HEADER_BYTES >> 20} MiB, or of too many values")
    try:
        header = parse_json(text)
    except BadJson as error:
        raise BadTensors(f"the header is {error}") from error
    if not isinstance(header, dict):
        raise BadTensors("the header is no object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadTensors("the metadata are not text")
    if len(header) > MOST_TENSORS:
        raise BadTensors(f"{len(header):,} tensors, at most {MOST_TENSORS:,} are read")
    entries = {key: _entry(entry, LENGTH_BYTES + size) for key, entry in header.items()}
    _expect_full(entries, LENGTH_BYTES + size, len(blob))
    return Header(entries, metadata)


def _entry(entry: object, data: int) -> TensorEntry:
    """One tensor's claim; `data` is where the tensors begin."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BadTensors("a tensor needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in FORMATS:
        raise BadTensors("a tensor of an unknown dtype")
    if not isinstance(shape, list) or len(shape) > MOST_RANK or not all(_is_size(size) for size in shape):
        raise BadTensors("a tensor of an impossible shape")
    # Without zeros: NumPy and torch multiply the other sizes of an empty tensor, too.
    if math.prod(size for size in shape if size) > MOST_ELEMENTS:
        raise BadTensors("a tensor that is too large")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise BadTensors("a tensor without a place")
    start, end = offsets
    if end - start != math.prod(shape) * np.dtype(FORMATS[dtype]).itemsize:
        raise BadTensors("a tensor whose bytes do not have its shape")
    return TensorEntry(dtype, tuple(shape), data + start, data + end)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**40


def _expect_full(entries: Mapping[str, TensorEntry], start: int, end: int) -> None:
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != start:
            raise BadTensors("tensors that overlap, or a gap between them")
        start = entry.end
    if start != end:
        raise BadTensors("incomplete: the file ends before its tensors" if start > end else "bytes after the tensors")


def array_of(blob: bytes, entry: TensorEntry) -> Array:
    """One tensor as an array over the file's own bytes; bfloat16 as the upper halves of float32, in uint16."""
    count = math.prod(entry.shape)
    form = FORMATS[entry.dtype]
    flat: Array = np.frombuffer(blob, form, count, entry.start) if count else np.empty(0, form)
    return (flat != 0 if entry.dtype == "BOOL" else flat).reshape(entry.shape)


def load_arrays(blob: bytes) -> dict[str, Array]:
    """All tensors by key; none may be bfloat16. Raises BadTensors."""
    entries = read_header(blob).entries
    if any(entry.dtype == "BF16" for entry in entries.values()):
        raise BadTensors("bfloat16 is not supported here")
    return {key: array_of(blob, entry) for key, entry in entries.items()}
