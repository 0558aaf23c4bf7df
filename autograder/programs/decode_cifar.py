"""Turns the pickled batches of `cifar-10-batches-py` into plain .npy files, in a process of its own.

    python -I decode_cifar.py OUTPUT_FOLDER BATCH_FILE...

Writes images.npy (N, 3, 32, 32) uint8 and labels.npy (N,) int64, the batches one after another. Ends with status 1 and
one line on stderr where a batch is not what CIFAR-10's are. A pickle is a program: this one may only call what builds
NumPy arrays, and it runs here, in a process that knows nothing and is thrown away, within a limit on memory.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Everything the original files name, the new name of the same module in NumPy 2, and what Python 3 writes for bytes.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
_MAX_BATCH_BYTES = 64 * 2**20  # an original batch has 31 MB
_MAX_MEMORY_BYTES = 4 * 2**30


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR-10's files do not need")
        # NumPy 2 warns about the old module's name, and a later one may drop it.
        if name == "_reconstruct":
            return np.zeros(0).__reduce__()[0]
        return super().find_class(module, name)


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images (N, 3, 32, 32) uint8 and labels (N,) int64 of one batch. Raises ValueError or UnpicklingError."""
    if path.stat().st_size > _MAX_BATCH_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, more than any batch of CIFAR-10")
    with path.open("rb") as file:
        batch = _ArraysOnly(file, encoding="bytes").load()
    if not isinstance(batch, dict) or b"data" not in batch or b"labels" not in batch:
        raise ValueError("it is no dictionary with data and labels")
    images, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape != (len(labels), 3072):
        raise ValueError("its data is not one row of 3,072 bytes per label")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 10 for label in labels):
        raise ValueError("its labels are not numbers from 0 to 9")
    return images.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def _limit_memory() -> None:
    if sys.platform != "linux":  # macOS refuses the limit, Windows has none
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MAX_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main(arguments: list[str]) -> int:
    """Decode the batches named in the arguments; the exit status."""
    folder, paths = Path(arguments[0]), [Path(name) for name in arguments[1:]]
    _limit_memory()
    batches = []
    for path in paths:
        try:
            batches.append(read_batch(path))
        except Exception as error:  # a broken pickle can raise anything; all of it is told in one line
            print(f"{path}: {type(error).__name__}: {error}".splitlines()[0][:500], file=sys.stderr)
            return 1
    np.save(folder / "images.npy", np.concatenate([images for images, _ in batches]))
    np.save(folder / "labels.npy", np.concatenate([labels for _, labels in batches]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
