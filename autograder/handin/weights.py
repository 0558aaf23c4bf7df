"""Which files of a submission may be trained weights, by what they begin with, and which of them hold the same tensors.

Nothing is unpickled: of a file that `torch.save` wrote the numbers are compared as bytes of an archive.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from typing import IO, BinaryIO

from autograder.core.strict_json import count_values, parse_json
from autograder.core.weights_file import PACKED, SAFETENSORS, TORCH

CHUNK = 1 << 20
HEAD = 1 << 10  # bytes of a file that tell what it is
MOST_HEADER = 100_000_000  # bytes of a safetensors header, as its own library has it
MOST_COMPARED_HEADER, MOST_PARTS = 8 << 20, 20_000
# A zip, as torch.save writes it, or, as before 1.6, a pickle of protocol 2 to 5. No browser takes them for a page.
ZIP, PICKLES = b"PK\x03\x04", tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
ZIP_NAME = 30  # where the name of a zip's first entry stands, its length 4 bytes before
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled


def form_of(head: bytes, size: int) -> str:
    """What a file of `size` bytes is by its first ones: SAFETENSORS, TORCH, PACKED, or "" for anything else."""
    length = int.from_bytes(head[:8], "little")
    # Its first bytes are a number, which could be written so that they read as a tag; none of the library's can, since
    # it fills up headers to eights.
    if head[8:9] == b"{" and 2 <= length <= min(size - 8, MOST_HEADER) and not head.startswith(b"<"):
        return SAFETENSORS
    if head.startswith(ZIP):
        name = head[ZIP_NAME : ZIP_NAME + int.from_bytes(head[ZIP_NAME - 4 : ZIP_NAME - 2], "little")]
        return TORCH if name.endswith(b"/data.pkl") else PACKED
    if head.startswith(PICKLES):
        return TORCH if head.startswith(OLD_TORCH) else PACKED
    return ""


def digest_of_tensors(file: BinaryIO, form: str, size: int) -> str:
    """The same for two files that hold the same numbers, under whatever names and in either form; "" where it cannot be
    told from the bytes, as in a damaged or an old file."""
    try:
        found = set(_stored(file, size) if form == TORCH else _tensors(file, size))
    except Exception:  # of many kinds: what a header or an archive says may be anything
        return ""
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest() if found else ""


def _tensors(file: BinaryIO, size: int) -> Iterator[str]:
    """The digest of each tensor of a safetensors file."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    text = file.read(min(length, MOST_COMPARED_HEADER))
    if len(text) < length or count_values(text) > 16 * MOST_PARTS:
        raise ValueError("a header that is too long")
    places = [entry["data_offsets"] for name, entry in parse_json(text).items() if name != "__metadata__"]
    if sum(max(end - start, 0) for start, end in places) > size:
        raise ValueError("more bytes than the file has")
    for start, end in places:
        file.seek(8 + length + start)
        yield _digest(file, end - start)


def _stored(file: BinaryIO, size: int) -> Iterator[str]:
    """The digest of each storage of a file of torch.save: `<name>/data/<number>`, uncompressed. Two tensors may share
    one, which then stands for both."""
    with zipfile.ZipFile(file) as archive:
        parts = [part for part in archive.infolist() if part.filename.split("/")[-2:-1] == ["data"]]
        if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > size:
            raise ValueError("more than the file can hold")
        for part in parts:
            with archive.open(part) as stored:
                yield _digest(stored, part.file_size)


def _digest(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        digest.update(chunk)
    if size:
        raise ValueError("the file ends before")
    return digest.hexdigest()
