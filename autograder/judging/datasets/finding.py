"""Finds the data set to grade on: `$CIFAR10_ROOT`, then `./data`, and the built-in offline set only where allowed."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

from autograder.judging.datasets.sources import (
    BATCH_NAMES,
    BATCHES_FOLDER,
    CLASSES,
    IMAGE_COUNTS,
    IMAGE_NAME,
    DataError,
    Source,
    open_zip,
)

_WHAT_TO_DO = (
    "Set CIFAR10_ROOT to torchvision's cifar-10-batches-py folder, to a folder {train,test}/<class>/*.jpg, or to a zip "
    "of such a folder, or put one of these into ./data."
)


def find_source(*, allow_offline: bool, configured: str | None = None, folder: Path = Path("data")) -> Source:
    """The data set to use: what `configured` (else `$CIFAR10_ROOT`) names, else what lies in `folder`, else, only where
    the caller allows it, the built-in offline set.

    A configured place that holds no CIFAR-10 is an error even where the offline set is allowed: somebody meant it.
    Raises DataError, which says what was looked at.
    """
    configured = configured or os.environ.get("CIFAR10_ROOT", "")
    if configured:
        folder = Path(configured).expanduser()
    try:
        source = _recognise(folder)
        found = _what_is_at(folder)
    except OSError as error:
        raise DataError(f"{folder}, where CIFAR-10 is looked for, cannot be read: {error}.", _WHAT_TO_DO) from error
    if source is not None:
        return source
    if configured:
        raise DataError(f"CIFAR10_ROOT is set to {configured}, but no CIFAR-10 is there: {found}.", _WHAT_TO_DO)
    if allow_offline:
        return Source("offline")
    raise DataError(
        f"No CIFAR-10 found: CIFAR10_ROOT is not set, and none is in {folder.absolute()}: {found}.",
        f"{_WHAT_TO_DO} Grading never uses the built-in offline set instead.",
    )


def source_at(path: Path, classes: tuple[str, ...] = CLASSES) -> Source | None:
    """The data set that lies at a path, in whatever form; None where there is none. Raises DataError."""
    try:
        found = _recognise(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return replace(found, classes=classes) if found else None


def _recognise(path: Path) -> Source | None:
    """The data set at a path, or in the folder there; None where there is none. Raises DataError for a broken zip."""
    if path.is_file():
        return Source("zip", path) if _is_image_zip(path) else None
    if not path.is_dir():
        return None
    for folder in (path, path / BATCHES_FOLDER):
        if any((folder / name).is_file() for names in BATCH_NAMES.values() for name in names):
            return Source("batches", folder)
    if _is_tree(path):
        return Source("tree", path)
    inside = sorted(path.iterdir())
    found = [Source("tree", entry) for entry in inside if entry.is_dir() and _is_tree(entry)]
    found = found or [
        Source("zip", entry)
        for entry in inside
        if "cifar" in entry.name.lower() and entry.suffix.lower() == ".zip" and _is_image_zip(entry)
    ]
    if len(found) > 1:
        raise DataError(
            f"{path} holds more than one data set: {', '.join(map(str, found))}.", "Set CIFAR10_ROOT to one."
        )
    return found[0] if found else None


def _is_tree(path: Path) -> bool:
    """Whether train/ or test/ is there and holds a folder."""
    return any(entry.is_dir() for split in IMAGE_COUNTS for entry in (path / split).glob("*"))


def _is_image_zip(path: Path) -> bool:
    if not zipfile.is_zipfile(path) and path.suffix.lower() != ".zip":
        return False
    with open_zip(path) as archive:
        return any(IMAGE_NAME.fullmatch(name) for name in archive.namelist())


def _what_is_at(path: Path) -> str:
    """What was found in place of a data set, for a message."""
    if not path.exists():
        return "it does not exist"
    if not path.is_dir():
        return f"it is a file of {path.stat().st_size:,} bytes, and no zip of image folders"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")
    return f"it is a folder that holds {shown}" if names else "it is an empty folder"
