"""Keeps decoded images: one file for each source and split, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL

from autograder.judging.datasets.decoding import Decoded, content_hash, decode
from autograder.judging.datasets.sources import CLASSES, DataError, Source, Split, files_of, path_of

_WRITING_SECONDS = 86_400
_CACHE_VERSION = 1


def default_cache_folder() -> Path:
    """Where decoded images are kept: `$XDG_CACHE_HOME/autograder`, else `~/.cache/autograder`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autograder"


def load_cached(source: Source, split: Split, folder: Path) -> Decoded:
    """A split as it lies in the cache, else decoded and put there."""
    place = cache_place(source)
    path = folder / f"{split}-{place}-{_fingerprint(source, split)}.npz"
    decoded = read_cache(path)
    if decoded is None:
        decoded = decode(source, split)
        try_write_cache(path, decoded, outdated=f"{split}-{place}-*.npz")
    return decoded


def cache_place(source: Source) -> str:
    """The part of a file's name that tells one source's path from another's."""
    return hashlib.sha256(str(path_of(source).resolve()).encode()).hexdigest()[:16]


def _fingerprint(source: Source, split: Split) -> str:
    """Changes with the name, size, time or content of any file that is decoded, and with what decodes it."""
    files = files_of(source, split)
    others = [] if source.classes == CLASSES else [source.classes]
    total = hashlib.sha256(json.dumps([_CACHE_VERSION, split, PIL.__version__, *others]).encode())
    for file in files:
        status, content = file.stat(), hashlib.sha256()
        with file.open("rb") as stream:
            while part := stream.read(2**20):
                content.update(part)
        total.update(json.dumps([str(file), status.st_size, status.st_mtime_ns, content.hexdigest()]).encode())
    return total.hexdigest()[:32]


def sample_fingerprint(source: Source) -> str:
    """As `_fingerprint`, from names, sizes and times only: to read 50,000 files would take longer than a sample saves.
    Nothing but a flag depends on it."""
    try:
        seen = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files_of(source, "train")]
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error}") from error
    return hashlib.sha256(json.dumps([_CACHE_VERSION, PIL.__version__, seen]).encode()).hexdigest()[:32]


def read_cache(path: Path) -> Decoded | None:
    """What is cached at a path; None where there is nothing, or nothing whole: it is decoded again then."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            name, images, labels = str(stored["name"]), stored["images"], stored["labels"]
            if content_hash(images, labels) != str(stored["sha256"]):
                return None
    except FileNotFoundError:
        return None
    # A damaged file shows as any of these: not a zip, a wrong checksum, a header or an array that does not parse.
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return Decoded(name, images, labels)


def try_write_cache(path: Path, decoded: Decoded, outdated: str) -> None:
    """A read-only or full home costs a second per run, not the run."""
    try:
        _write_cache(path, decoded, outdated)
    except OSError as error:
        warnings.warn(f"decoded images could not be cached in {path.parent}: {error}", stacklevel=3)


def _write_cache(path: Path, decoded: Decoded, outdated: str) -> None:
    """Write beside the final name, then rename: a reader, or a kill at any moment, meets a whole file or none.
    Older versions of the same source are removed, each of them up to 154 MB."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            digest = content_hash(decoded.images, decoded.labels)
            np.savez(file, images=decoded.images, labels=decoded.labels, name=decoded.name, sha256=digest)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    for other in path.parent.glob(outdated):
        if other != path:
            other.unlink(missing_ok=True)
    for left in path.parent.glob(".writing-*.tmp"):  # by a process that was killed, unless it is young
        with suppress(FileNotFoundError):  # another process tidies up too
            if left.stat().st_mtime < time.time() - _WRITING_SECONDS:
                left.unlink()
