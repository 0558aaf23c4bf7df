"""Decodes one split of a source into arrays, with a cap on everything that a file may claim."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autograder.core.package import package_file
from autograder.judging.datasets.sources import (
    CLASSES,
    MAX_ENTRIES,
    DataError,
    ImageFile,
    Source,
    Split,
    batch_files,
    files_of_tree,
    files_of_zip,
    interleave,
    open_zip,
    path_of,
)

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
# Caps against a zip or a folder that would fill memory. The largest image of the JPEG copy has 1,124 bytes, the
# largest possible PNG of 32x32 RGB about 3,200.
MAX_IMAGE_BYTES = 64 * 2**10
MAX_TOTAL_BYTES = 512 * 2**20
_DECODE_SECONDS = 300


@dataclass(frozen=True)
class Decoded:
    """The images and labels of one split, with what their data set is called."""

    name: str
    images: Images
    labels: Labels


def content_hash(images: Images, labels: Labels) -> str:
    """SHA-256 (hex) over pairs of image and label, whatever their order: of the sorted SHA-256 digests of (label byte,
    then the image's 3,072 bytes, channel by channel). The same pictures from a folder, a zip or a pickle agree."""
    pairs = zip(images, labels, strict=True)
    digests = (hashlib.sha256(bytes([int(label)]) + image.tobytes()).digest() for image, label in pairs)
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def decode(source: Source, split: Split) -> Decoded:
    """One split of a source, from its files. Raises DataError."""
    path = path_of(source)
    if source.form == "batches":
        return _decode_batches(path, split)
    if source.form == "tree":
        return _decode_images(source, split, files_of_tree(path, split), lambda name: Path(name).open("rb"))
    with open_zip(path) as archive:
        return _decode_images(source, split, files_of_zip(archive, path, split), lambda name: archive.open(name))


def _decode_batches(folder: Path, split: Split) -> Decoded:
    """torchvision's files are pickles, and loading a pickle runs what it says: a child process does it (decode_cifar)
    and hands back plain arrays."""
    batches = batch_files(folder, split)
    script = package_file("programs/decode_cifar.py")
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="autograder-data-") as output:
        command = [sys.executable, "-I", str(script), output, *map(str, batches)]
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_DECODE_SECONDS,
                env={**kept, "OPENBLAS_NUM_THREADS": "1"},  # each of its threads reserves address space
            )
        except subprocess.CalledProcessError as error:
            reason = _last_line(error.stderr) or f"exit status {error.returncode}"
            raise DataError(f"CIFAR-10's files cannot be read: {reason}.", "Unpack the archive again.") from error
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{folder}: not read within {_DECODE_SECONDS} s.", "Unpack the archive again.") from error
        images = np.load(Path(output, "images.npy"), allow_pickle=False)
        labels = np.load(Path(output, "labels.npy"), allow_pickle=False)
    return Decoded("CIFAR-10", images, labels)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


def _decode_images(
    source: Source, split: Split, files: list[ImageFile], open_file: Callable[[str], IO[bytes]]
) -> Decoded:
    _check_files(source, split, files)
    files = interleave(files, source.classes)
    images = np.empty((len(files), 3, 32, 32), dtype=np.uint8)
    for place, file in enumerate(files):
        with open_file(file.name) as stream:
            images[place] = _decode_image(stream.read(MAX_IMAGE_BYTES + 1), file.name)
    labels = np.array([source.classes.index(file.class_name) for file in files], dtype=np.int64)
    lossless = all(file.name.lower().endswith(".png") for file in files)
    return Decoded(f"CIFAR-10 ({'PNG' if lossless else 'JPEG'} copy)", images, labels)


def _check_files(source: Source, split: Split, files: list[ImageFile]) -> None:
    """Names, sizes and number, before anything is read."""
    if not files:
        raise DataError(f"{source} holds no images for the {split} set: expected {split}/<class>/*.jpg or *.png.")
    names, classes = {file.class_name for file in files}, source.classes
    if names != set(classes):
        odd, missing = sorted(names - set(classes)), [name for name in classes if name not in names]
        whose = "CIFAR-10's" if classes == CLASSES else "the test set's"
        raise DataError(
            f"{source}: the folders in {split}/ must be {whose} classes ({', '.join(classes)}); "
            f"missing or empty: {', '.join(missing) or 'none'}; unknown: {', '.join(odd[:10]) or 'none'}."
        )
    if len(files) > MAX_ENTRIES or sum(file.size for file in files) > MAX_TOTAL_BYTES:
        total = sum(file.size for file in files)
        raise DataError(f"{source}: {len(files):,} images of {total:,} bytes are too many for CIFAR-10.")


def _decode_image(content: bytes, name: str) -> Images:
    """A JPEG or PNG as (3, 32, 32) uint8. Size and format are checked before any pixel is decoded."""
    if len(content) > MAX_IMAGE_BYTES:
        raise DataError(f"{name} is no CIFAR-10 image: it has more than {MAX_IMAGE_BYTES:,} bytes.")
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as image:
            if image.size != (32, 32):
                raise DataError(f"{name} must be 32x32 pixels, got {image.width}x{image.height}.")
            pixels: Images = np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
            return pixels
    except DataError:
        raise
    # Pillow raises OSError for a file it does not know or that ends early; a broken PNG shows as any of the others.
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is not a readable image: {error}.", "Copy or unpack the data set again.") from error
