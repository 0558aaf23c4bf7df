"""Finds and loads the images that models are graded on: CIFAR-10 in three forms, or the built-in offline set.

`find_source` looks in `$CIFAR10_ROOT`, then in `./data`. Only a caller who says `allow_offline=True` (the demo, the
tests, the lesson) may get the offline set instead: grading never falls back. `load` decodes one split, once: decoded
arrays are kept in a cache. See docs/data.md.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from autograder.core.errors import AutograderError
from autograder.core.package import package_file
from autograder.judging import offline_images

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OFFLINE_NAME = "built-in offline set"
IMAGE_COUNTS = {"train": 50_000, "test": 10_000}

Split = Literal["train", "test"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_BATCHES_FOLDER = "cifar-10-batches-py"
_BATCH_NAMES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
_IMAGE_NAME = re.compile(
    r"(?:(?P<root>[^/]+)/)?(?P<split>train|test)/(?P<class_name>[^/]+)/(?!\.)[^/]+\.(?i:jpe?g|png)"
)
# Caps against a zip or a folder that would fill memory. The largest image of the JPEG copy has 1,124 bytes, the
# largest possible PNG of 32x32 RGB about 3,200.
_MAX_IMAGE_BYTES = 64 * 2**10
_MAX_TOTAL_BYTES = 512 * 2**20
_MAX_ZIP_BYTES = 2 * 2**30
_MAX_ENTRIES = 200_000
_DECODE_SECONDS = 300
_WRITING_SECONDS = 86_400
_CACHE_VERSION = 1
_KIT_SEED = 0  # cnn_kit's _SPLIT_SEED

_WHAT_TO_DO = (
    "Set CIFAR10_ROOT to torchvision's cifar-10-batches-py folder, to a folder {train,test}/<class>/*.jpg, or to a zip "
    "of such a folder, or put one of these into ./data."
)


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


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    images: (N, 3, 32, 32) uint8, RGB, read-only. labels: (N,) int64, indices into `classes`, read-only. Image folders
    are interleaved: every ten images in a row show each class once. sha256: hex, over all images and labels, whatever
    their order. identity: what reports print, e.g. "CIFAR-10 (JPEG copy), 10,000 test images, sha256 0123456789abcdef".
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    labels: Labels
    split: Split
    sha256: str

    @property
    def identity(self) -> str:
        return f"{self.name}, {len(self.labels):,} {self.split} images, sha256 {self.sha256[:16]}"


def find_test_set(*, allow_offline: bool, cache_folder: Path | None = None) -> Dataset:
    """The test set that `find_source` finds, loaded. Raises DataError."""
    return load(find_source(allow_offline=allow_offline), "test", cache_folder=cache_folder)


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
        raise DataError(f"{folder}, where CIFAR-10 is looked for, cannot be read: {error}. {_WHAT_TO_DO}") from error
    if source is not None:
        return source
    if configured:
        raise DataError(f"CIFAR10_ROOT is set to {configured}, but no CIFAR-10 is there: {found}. {_WHAT_TO_DO}")
    if allow_offline:
        return Source("offline")
    raise DataError(
        f"No CIFAR-10 found: CIFAR10_ROOT is not set, and none is in {folder.absolute()}: {found}. {_WHAT_TO_DO} "
        "Grading never uses the built-in offline set instead."
    )


def source_at(path: Path, classes: tuple[str, ...] = CLASSES) -> Source | None:
    """The data set that lies at a path, in whatever form; None where there is none. Raises DataError."""
    try:
        found = _recognise(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return replace(found, classes=classes) if found else None


def names_of_images(source: Source, split: Split) -> list[str]:
    """What each image of a split is called, in the order in which `load` gives them: the file, or its number."""
    if source.form == "tree":
        files = _interleave(_files_of_tree(_path(source), split), source.classes)
        return [str(Path(file.name).relative_to(_path(source))) for file in files]
    if source.form == "zip":
        with _open_zip(_path(source)) as archive:
            files = _interleave(_files_of_zip(archive, _path(source), split), source.classes)
            return [file.name for file in files]
    return [f"image {number}" for number in range(len(load(source, split, any_size=True).labels))]


def load(source: Source, split: Split, *, cache_folder: Path | None = None, any_size: bool = False) -> Dataset:
    """One split of a source, from the cache where it is there, else decoded and cached.

    any_size: accept a part of CIFAR-10 (for tests and trials, never for grading), all ten classes in it; otherwise
    a split must hold exactly 10,000 test or 50,000 train images, as many of each class. Raises DataError.
    """
    if split not in IMAGE_COUNTS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    if source.form == "offline":
        count = {"train": offline_images.TRAIN_IMAGES, "test": offline_images.TEST_IMAGES}[split]
        images, labels = offline_images.render(split, count)
        return _dataset(OFFLINE_NAME, offline_images.CLASSES, images, labels, split)
    try:
        decoded = _load_cached(source, split, cache_folder or default_cache_folder())
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error}") from error
    dataset = _dataset(decoded.name, source.classes, decoded.images, decoded.labels, split)
    if not any_size:
        _check_complete(dataset, source)
    return dataset


def load_held_out(source: Source, count: int, secret: bytes, *, cache_folder: Path | None = None) -> Dataset:
    """Training images that the student kit holds out for validation: `count` of them or all, in an order drawn by the
    secret of a course, the same for every submission of it.

    Who trains with the kit has trained on none of them, so a network does as well on them as on test images. They are
    cached apart: all training images would cost each submission most of a second, these cost hundredths. The first use
    decodes the training set, as `load` does. Raises DataError.
    """
    folder = cache_folder or default_cache_folder()
    tag = hmac.new(secret, f"held out/{count}".encode(), hashlib.sha256).digest()
    place = "offline" if source.form == "offline" else _cache_place(source, "train")
    path = folder / f"held-out-{place}-{_sample_fingerprint(source)}-{tag.hex()[:16]}.npz"
    sample = _read_cache(path)
    if sample is None:
        whole = load(source, "train", cache_folder=folder)
        places = held_out_places(source, whole.labels)
        chosen = places[np.random.RandomState(np.frombuffer(tag, "<u4")).permutation(len(places))[:count]]
        sample = _Decoded(whole.name, whole.images[chosen], whole.labels[chosen])
        _try_write_cache(path, sample, outdated=f"held-out-{place}-*-{tag.hex()[:16]}.npz")
    classes = offline_images.CLASSES if source.form == "offline" else CLASSES
    return _dataset(sample.name, classes, sample.images, sample.labels, "train")


def held_out_places(source: Source, labels: Labels) -> NDArray[np.int64]:
    """Where the images stand in the training set that the kit holds out: a tenth, by a draw that never changes.

    The kit takes images from folders in the order of their names, class by class; `load` interleaves the classes.
    """
    order = np.argsort(labels, kind="stable") if source.form in ("tree", "zip") else np.arange(len(labels))
    places: NDArray[np.int64] = order[np.random.RandomState(_KIT_SEED).permutation(len(labels))[: len(labels) // 10]]
    return places


def _sample_fingerprint(source: Source) -> str:
    """As `_fingerprint`, from names, sizes and times only: to read 50,000 files would take longer than a sample saves.
    Nothing but a flag depends on it."""
    try:
        seen = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in _files_of(source, "train")]
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error}") from error
    return hashlib.sha256(json.dumps([_CACHE_VERSION, PIL.__version__, seen]).encode()).hexdigest()[:32]


def content_hash(images: Images, labels: Labels) -> str:
    """SHA-256 (hex) over pairs of image and label, whatever their order: of the sorted SHA-256 digests of (label byte,
    then the image's 3,072 bytes, channel by channel). The same pictures from a folder, a zip or a pickle agree."""
    pairs = zip(images, labels, strict=True)
    digests = (hashlib.sha256(bytes([int(label)]) + image.tobytes()).digest() for image, label in pairs)
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def default_cache_folder() -> Path:
    """Where decoded images are kept: `$XDG_CACHE_HOME/autograder`, else `~/.cache/autograder`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autograder"


def _dataset(name: str, classes: tuple[str, ...], images: Images, labels: Labels, split: Split) -> Dataset:
    images.flags.writeable = False
    labels.flags.writeable = False
    return Dataset(name, classes, images, labels, split, content_hash(images, labels))


def _check_complete(dataset: Dataset, source: Source) -> None:
    wanted = IMAGE_COUNTS[dataset.split] // len(CLASSES)
    counts = np.bincount(dataset.labels, minlength=len(CLASSES))
    wrong = [f"{name} {count:,}" for name, count in zip(CLASSES, counts, strict=True) if count != wanted]
    if wrong:
        raise DataError(
            f"{source}: the {dataset.split} set must hold {wanted:,} images of each class, got {', '.join(wrong)}. "
            "Copy or unpack it again: accuracy on a part of the test set is not comparable."
        )


# Recognising what lies in a place


def _recognise(path: Path) -> Source | None:
    """The data set at a path, or in the folder there; None where there is none. Raises DataError for a broken zip."""
    if path.is_file():
        return Source("zip", path) if _is_image_zip(path) else None
    if not path.is_dir():
        return None
    for folder in (path, path / _BATCHES_FOLDER):
        if any((folder / name).is_file() for names in _BATCH_NAMES.values() for name in names):
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
        raise DataError(f"{path} holds more than one data set: {', '.join(map(str, found))}. Set CIFAR10_ROOT to one.")
    return found[0] if found else None


def _is_tree(path: Path) -> bool:
    """Whether train/ or test/ is there and holds a folder."""
    return any(entry.is_dir() for split in IMAGE_COUNTS for entry in (path / split).glob("*"))


def _is_image_zip(path: Path) -> bool:
    if not zipfile.is_zipfile(path) and path.suffix.lower() != ".zip":
        return False
    with _open_zip(path) as archive:
        return any(_IMAGE_NAME.fullmatch(name) for name in archive.namelist())


def _what_is_at(path: Path) -> str:
    """What was found in place of a data set, for a message."""
    if not path.exists():
        return "it does not exist"
    if not path.is_dir():
        return f"it is a file of {path.stat().st_size:,} bytes, and no zip of image folders"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")
    return f"it is a folder that holds {shown}" if names else "it is an empty folder"


# Decoding


@dataclass(frozen=True)
class _Decoded:
    name: str
    images: Images
    labels: Labels


@dataclass(frozen=True)
class _ImageFile:
    """An image file of a tree (name: its path) or of a zip (name: its entry)."""

    name: str
    class_name: str
    size: int


def _decode(source: Source, split: Split) -> _Decoded:
    path = _path(source)
    if source.form == "batches":
        return _decode_batches(path, split)
    if source.form == "tree":
        return _decode_images(source, split, _files_of_tree(path, split), lambda name: Path(name).open("rb"))
    with _open_zip(path) as archive:
        return _decode_images(source, split, _files_of_zip(archive, path, split), lambda name: archive.open(name))


def _path(source: Source) -> Path:
    if source.path is None:
        raise ValueError(f"a source of the form {source.form!r} needs a path")
    return source.path


def _decode_batches(folder: Path, split: Split) -> _Decoded:
    """torchvision's files are pickles, and loading a pickle runs what it says: a child process does it (decode_cifar)
    and hands back plain arrays."""
    batches = _batch_files(folder, split)
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
            raise DataError(f"CIFAR-10's files cannot be read: {reason}. Unpack the archive again.") from error
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{folder}: not read within {_DECODE_SECONDS} s. Unpack the archive again.") from error
        images = np.load(Path(output, "images.npy"), allow_pickle=False)
        labels = np.load(Path(output, "labels.npy"), allow_pickle=False)
    return _Decoded("CIFAR-10", images, labels)


def _batch_files(folder: Path, split: Split) -> list[Path]:
    paths = [folder / name for name in _BATCH_NAMES[split]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder}: the {split} set needs {', '.join(missing)}. Unpack the archive again.")
    return paths


def _files_of_tree(folder: Path, split: Split) -> list[_ImageFile]:
    paths = (path for entry in (folder / split).glob("*") if entry.is_dir() for path in entry.iterdir())
    return [
        _ImageFile(str(path), path.parent.name, path.stat().st_size)
        for path in paths
        if path.suffix.lower() in (".jpg", ".jpeg", ".png") and not path.name.startswith(".")
    ]


def _files_of_zip(archive: zipfile.ZipFile, path: Path, split: Split) -> list[_ImageFile]:
    entries = [(info, _IMAGE_NAME.fullmatch(info.filename)) for info in archive.infolist()]
    chosen = [(info, match) for info, match in entries if match and match["split"] == split]
    roots = sorted({match["root"] or "." for _, match in chosen})
    if len(roots) > 1:
        raise DataError(f"{path} holds more than one data set: {', '.join(roots)}. Keep one of them.")
    if any(info.flag_bits & 1 for info, _ in chosen):
        raise DataError(f"{path} is encrypted. Unpack it and set CIFAR10_ROOT to the folder.")
    return [_ImageFile(info.filename, match["class_name"], info.file_size) for info, match in chosen]


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at a path; what can go wrong with it while it is open is raised as DataError."""
    if path.stat().st_size > _MAX_ZIP_BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes, at most {_MAX_ZIP_BYTES:,} are read.")
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _MAX_ENTRIES:
                raise DataError(f"{path} has {len(archive.infolist()):,} entries, at most {_MAX_ENTRIES:,} are read.")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} is a truncated or corrupt zip: {error}. Copy or download it again.") from error


def _decode_images(
    source: Source, split: Split, files: list[_ImageFile], open_file: Callable[[str], IO[bytes]]
) -> _Decoded:
    _check_files(source, split, files)
    files = _interleave(files, source.classes)
    images = np.empty((len(files), 3, 32, 32), dtype=np.uint8)
    for place, file in enumerate(files):
        with open_file(file.name) as stream:
            images[place] = _decode_image(stream.read(_MAX_IMAGE_BYTES + 1), file.name)
    labels = np.array([source.classes.index(file.class_name) for file in files], dtype=np.int64)
    lossless = all(file.name.lower().endswith(".png") for file in files)
    return _Decoded(f"CIFAR-10 ({'PNG' if lossless else 'JPEG'} copy)", images, labels)


def _check_files(source: Source, split: Split, files: list[_ImageFile]) -> None:
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
    if len(files) > _MAX_ENTRIES or sum(file.size for file in files) > _MAX_TOTAL_BYTES:
        total = sum(file.size for file in files)
        raise DataError(f"{source}: {len(files):,} images of {total:,} bytes are too many for CIFAR-10.")


def _interleave(files: Iterable[_ImageFile], classes: Sequence[str]) -> list[_ImageFile]:
    """The first file of each class, then the second of each, ...: any run of images holds all classes, so that a part
    of the test set stands for the whole, and the order does not depend on the file system."""
    seen: Counter[str] = Counter()
    ranked = []
    for file in sorted(files, key=lambda file: file.name):
        ranked.append((seen[file.class_name], classes.index(file.class_name), file))
        seen[file.class_name] += 1
    return [file for _, _, file in sorted(ranked, key=lambda item: item[:2])]


def _decode_image(content: bytes, name: str) -> Images:
    """A JPEG or PNG as (3, 32, 32) uint8. Size and format are checked before any pixel is decoded."""
    if len(content) > _MAX_IMAGE_BYTES:
        raise DataError(f"{name} is no CIFAR-10 image: it has more than {_MAX_IMAGE_BYTES:,} bytes.")
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
        raise DataError(f"{name} is not a readable image: {error}. Copy or unpack the data set again.") from error


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


# The cache: one file per source and split, written whole or not at all


def _load_cached(source: Source, split: Split, folder: Path) -> _Decoded:
    place = _cache_place(source, split)
    path = folder / f"{split}-{place}-{_fingerprint(source, split)}.npz"
    decoded = _read_cache(path)
    if decoded is None:
        decoded = _decode(source, split)
        _try_write_cache(path, decoded, outdated=f"{split}-{place}-*.npz")
    return decoded


def _cache_place(source: Source, split: Split) -> str:
    return hashlib.sha256(str(_path(source).resolve()).encode()).hexdigest()[:16]


def _fingerprint(source: Source, split: Split) -> str:
    """Changes with the name, size, time or content of any file that is decoded, and with what decodes it."""
    files = _files_of(source, split)
    others = [] if source.classes == CLASSES else [source.classes]
    total = hashlib.sha256(json.dumps([_CACHE_VERSION, split, PIL.__version__, *others]).encode())
    for file in files:
        status, content = file.stat(), hashlib.sha256()
        with file.open("rb") as stream:
            while part := stream.read(2**20):
                content.update(part)
        total.update(json.dumps([str(file), status.st_size, status.st_mtime_ns, content.hexdigest()]).encode())
    return total.hexdigest()[:32]


def _files_of(source: Source, split: Split) -> list[Path]:
    """The files that hold a split; none for the offline set."""
    if source.form == "offline":
        return []
    path = _path(source)
    if source.form == "batches":
        return _batch_files(path, split)
    return sorted(Path(file.name) for file in _files_of_tree(path, split)) if source.form == "tree" else [path]


def _read_cache(path: Path) -> _Decoded | None:
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
    return _Decoded(name, images, labels)


def _try_write_cache(path: Path, decoded: _Decoded, outdated: str) -> None:
    """A read-only or full home costs a second per run, not the run."""
    try:
        _write_cache(path, decoded, outdated)
    except OSError as error:
        warnings.warn(f"decoded images could not be cached in {path.parent}: {error}", stacklevel=3)


def _write_cache(path: Path, decoded: _Decoded, outdated: str) -> None:
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
