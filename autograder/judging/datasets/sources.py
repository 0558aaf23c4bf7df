"""Where CIFAR-10 lies, in which of its forms, and which files hold it; nothing is decoded here."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autograder.core.errors import AutograderError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OFFLINE_NAME = "built-in offline set"
IMAGE_COUNTS = {"train": 50_000, "test": 10_000}
Split = Literal["train", "test"]

BATCHES_FOLDER = "cifar-10-batches-py"
BATCH_NAMES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
IMAGE_NAME = re.compile(r"(?:(?P<root>[^/]+)/)?(?P<split>train|test)/(?P<class_name>[^/]+)/(?!\.)[^/]+\.(?i:jpe?g|png)")
# Caps against a zip or a folder that would fill memory.
MAX_ZIP_BYTES = 2 * 2**30
MAX_ENTRIES = 200_000


class DataError(AutograderError, ValueError):
    """The data set is missing, incomplete or unreadable; the message says what was looked at and what to do."""


@dataclass(frozen=True)
class Source:
    """Where a data set lies, and in which of the known forms. `classes` are those of its folders, in their order."""

    form: Literal["batches", "tree", "zip", "offline"]
    path: Path | None = None  # None for the offline set
    classes: tuple[str, ...] = CLASSES

    def __str__(self) -> str:
        forms = {"batches": "torchvision's folder", "tree": "image folders", "zip": "zip of image folders"}
        return OFFLINE_NAME if self.form == "offline" else f"{self.path} ({forms[self.form]})"


@dataclass(frozen=True)
class ImageFile:
    """An image file of a tree (name: its path) or of a zip (name: its entry)."""

    name: str
    class_name: str
    size: int


def path_of(source: Source) -> Path:
    """The path of a source; only the offline set has none."""
    if source.path is None:
        raise ValueError(f"a source of the form {source.form!r} needs a path")
    return source.path


def files_of(source: Source, split: Split) -> list[Path]:
    """The files that hold a split; none for the offline set."""
    if source.form == "offline":
        return []
    path = path_of(source)
    if source.form == "batches":
        return batch_files(path, split)
    return sorted(Path(file.name) for file in files_of_tree(path, split)) if source.form == "tree" else [path]


def batch_files(folder: Path, split: Split) -> list[Path]:
    """The files of a split in torchvision's folder. Raises DataError where one is missing."""
    paths = [folder / name for name in BATCH_NAMES[split]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder}: the {split} set needs {', '.join(missing)}.", "Unpack the archive again.")
    return paths


def files_of_tree(folder: Path, split: Split) -> list[ImageFile]:
    """The images of a split in a folder of image folders."""
    paths = (path for entry in (folder / split).glob("*") if entry.is_dir() for path in entry.iterdir())
    return [
        ImageFile(str(path), path.parent.name, path.stat().st_size)
        for path in paths
        if path.suffix.lower() in (".jpg", ".jpeg", ".png") and not path.name.startswith(".")
    ]


def files_of_zip(archive: zipfile.ZipFile, path: Path, split: Split) -> list[ImageFile]:
    """The images of a split in a zip. Raises DataError where it holds two data sets, or is encrypted."""
    entries = [(info, IMAGE_NAME.fullmatch(info.filename)) for info in archive.infolist()]
    chosen = [(info, match) for info, match in entries if match and match["split"] == split]
    roots = sorted({match["root"] or "." for _, match in chosen})
    if len(roots) > 1:
        raise DataError(f"{path} holds more than one data set: {', '.join(roots)}.", "Keep one of them.")
    if any(info.flag_bits & 1 for info, _ in chosen):
        raise DataError(f"{path} is encrypted.", "Unpack it and set CIFAR10_ROOT to the folder.")
    return [ImageFile(info.filename, match["class_name"], info.file_size) for info, match in chosen]


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at a path; what can go wrong with it while it is open is raised as DataError."""
    if path.stat().st_size > MAX_ZIP_BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes, at most {MAX_ZIP_BYTES:,} are read.")
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MAX_ENTRIES:
                raise DataError(f"{path} has {len(archive.infolist()):,} entries, at most {MAX_ENTRIES:,} are read.")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} is a truncated or corrupt zip: {error}.", "Copy or download it again.") from error


def interleave(files: Iterable[ImageFile], classes: Sequence[str]) -> list[ImageFile]:
    """The first file of each class, then the second of each, ...: any run of images holds all classes, so that a part
    of the test set stands for the whole, and the order does not depend on the file system."""
    seen: Counter[str] = Counter()
    ranked = []
    for file in sorted(files, key=lambda file: file.name):
        ranked.append((seen[file.class_name], classes.index(file.class_name), file))
        seen[file.class_name] += 1
    return [file for _, _, file in sorted(ranked, key=lambda item: item[:2])]
