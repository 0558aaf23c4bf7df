"""Data sets are found in a stated order, loaded whole or refused with a reason, and never cached by halves."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autograder.core.package import ROOT
from autograder.judging import datasets as data
from autograder.judging import offline_images
from autograder.judging.datasets import (
    CLASSES,
    DataError,
    Source,
    cache,
    content_hash,
    decoding,
    find_source,
    find_test_set,
    load,
    loading,
)

PER_CLASS = 3
# The fixture below hides it from all tests but one, and changes the working directory.
REAL_ROOT = os.environ.get("CIFAR10_ROOT") and str(Path(os.environ["CIFAR10_ROOT"]).absolute())


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """No test sees the user's data, or writes into the user's cache."""
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def pictures():
    """(class name, number) -> (32, 32, 3) uint8"""
    rng = np.random.default_rng(0)
    names = [(name, number) for name in CLASSES for number in range(PER_CLASS)]
    return {key: rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for key in names}


def encode(picture, form="JPEG"):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form)
    return file.getvalue()


def write_tree(folder: Path, pictures, split="test", form="JPEG") -> Path:
    for (name, number), picture in pictures.items():
        path = folder / split / name / f"{number:04}.{'jpg' if form == 'JPEG' else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture, form))
    return folder


def write_zip(path: Path, pictures, root="cifar10-jpeg/", split="test", form="JPEG") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for (name, number), picture in pictures.items():
            suffix = "jpg" if form == "JPEG" else "png"
            archive.writestr(f"{root}{split}/{name}/{number:04}.{suffix}", encode(picture, form))
    return path


def write_batches(folder: Path, images, labels, split="test") -> Path:
    """As in the original archive: pickle protocol 2, keys and strings as bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"test": ["test_batch"], "train": [f"data_batch_{number}" for number in range(1, 6)]}[split]
    for name, part, numbers in zip(
        names, np.array_split(images, len(names)), np.array_split(labels, len(names)), strict=True
    ):
        rows = part.reshape(len(part), 3072)
        batch = {b"data": rows, b"labels": numbers.tolist(), b"batch_label": b"testing", b"filenames": [b"a.png"]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def as_batch(pictures):
    images = np.stack([picture.transpose(2, 0, 1) for picture in pictures.values()])
    return images, np.array([CLASSES.index(name) for name, _ in pictures])


# Where data comes from


def test_configured_place_comes_before_the_data_folder(tmp_path, pictures, monkeypatch):
    write_tree(Path("data"), pictures)
    configured = write_zip(tmp_path / "mine.zip", pictures)
    monkeypatch.setenv("CIFAR10_ROOT", str(configured))
    assert find_source(allow_offline=False) == Source("zip", configured)
    monkeypatch.delenv("CIFAR10_ROOT")
    assert find_source(allow_offline=False) == Source("tree", Path("data"))


def test_every_form_is_recognised_directly_and_from_its_parent(tmp_path, pictures):
    batches = write_batches(tmp_path / "a" / "cifar-10-batches-py", *as_batch(pictures))
    tree = write_tree(tmp_path / "b" / "cifar10-jpeg", pictures)
    (tmp_path / "c").mkdir()
    archive = write_zip(tmp_path / "c" / "cifar10-jpeg.zip", pictures)
    bare = write_zip(tmp_path / "bare.zip", pictures, root="")
    for place in (batches, batches.parent):
        assert find_source(allow_offline=False, configured=str(place)) == Source("batches", batches)
    for place in (tree, tree.parent):
        assert find_source(allow_offline=False, configured=str(place)) == Source("tree", tree)
    for place in (archive, archive.parent):
        assert find_source(allow_offline=False, configured=str(place)) == Source("zip", archive)
    assert find_source(allow_offline=False, configured=str(bare)) == Source("zip", bare)


def test_grading_never_falls_back_to_the_offline_set():
    with pytest.raises(DataError, match=r"CIFAR10_ROOT is not set.*data.*does not exist.*Set CIFAR10_ROOT to"):
        find_test_set(allow_offline=False)


def test_offline_set_is_used_where_the_caller_allows_it():
    dataset = find_test_set(allow_offline=True)
    assert dataset.name == "built-in offline set"
    assert dataset.classes == offline_images.CLASSES
    assert len(dataset.labels) == 2_000
    assert dataset.identity.startswith("built-in offline set, 2,000 test images, sha256 ")


def test_wrong_configured_place_is_an_error_even_where_offline_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "odd" / "models").mkdir(parents=True)
    (tmp_path / "note.txt").write_text("hello")
    reasons = {"gone": "does not exist", "odd": "holds models/", "note.txt": "no zip of image folders"}
    for name, found in reasons.items():
        monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / name))
        with pytest.raises(DataError, match=found):
            find_source(allow_offline=True)


def test_two_data_sets_in_one_place_are_ambiguous(tmp_path, pictures):
    for name in ("one", "two"):
        write_tree(tmp_path / "sets" / name, pictures)
    with pytest.raises(DataError, match="more than one data set"):
        find_source(allow_offline=False, configured=str(tmp_path / "sets"))


# What is loaded


@pytest.fixture
def kit():
    sys.path.insert(0, str(ROOT.parent / "source" / "cnn"))
    yield importlib.import_module("cnn_kit")
    sys.path.pop(0)


@pytest.mark.parametrize("form", ["tree", "zip", "batches", "offline"])
def test_the_images_that_the_kit_holds_out_are_known(form, kit, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pictures = {(name, n): rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for name in CLASSES for n in range(7)}
    if form == "batches":
        place = tmp_path / "cifar-10-batches-py"
        own = kit._read_images("tree", write_tree(write_tree(tmp_path / "t", pictures, "train", "PNG"), pictures))
        order = rng.permutation(70)
        own = {**own, "train_images": own["train_images"][order], "train_labels": own["train_labels"][order]}
        write_batches(place, own["train_images"], own["train_labels"], "train")
        theirs = kit._dataset("CIFAR-10", CLASSES, own)
    elif form == "offline":
        place, theirs = None, kit.offline_dataset()
    else:
        write = write_tree if form == "tree" else write_zip
        place = write(tmp_path / "a.zip", pictures, split="train", form="PNG")
        if form == "tree":
            write_tree(place, pictures, form="PNG")
        else:
            with zipfile.ZipFile(place, "a") as archive:
                for (name, number), picture in pictures.items():
                    archive.writestr(f"cifar10-jpeg/test/{name}/{number:04}.png", encode(picture, "PNG"))
        theirs = kit._read_dataset(place)
    source = Source(form, place)
    monkeypatch.setattr(loading, "IMAGE_COUNTS", {"train": 70, "test": 70})
    whole = load(source, "train")
    places, held_out = data.held_out_places(source, whole.labels), theirs.validation
    ours = content_hash(whole.images[places], whole.labels[places])
    assert ours == content_hash(held_out.images.numpy(), held_out.labels.numpy())
    drawn = data.load_held_out(source, 5, b"secret")
    held = {image.tobytes() for image in theirs.validation.images.numpy()}
    assert {image.tobytes() for image in drawn.images} <= held
    assert len(drawn.labels) == 5
    assert len(data.load_held_out(source, 5_000, b"secret").labels) == len(theirs.validation)


def test_the_sample_of_held_out_images_is_secret_and_stays_the_same():
    source = Source("offline")
    drawn, again = (data.load_held_out(source, 50, b"one secret") for _ in range(2))
    other = data.load_held_out(source, 50, b"another secret")
    assert drawn.sha256 == again.sha256 != other.sha256
    np.testing.assert_array_equal(drawn.images, again.images)
    assert (drawn.split, len(drawn.labels), drawn.images.shape) == ("train", 50, (50, 3, 32, 32))


def test_tree_zip_and_batches_hold_the_same_data(tmp_path, pictures):
    """PNG keeps every bit, so the content hash of one set of pictures is the same in all three forms."""
    images, labels = as_batch(pictures)
    sources = [
        Source("tree", write_tree(tmp_path / "tree", pictures, form="PNG")),
        Source("zip", write_zip(tmp_path / "c.zip", pictures, form="PNG")),
        Source("batches", write_batches(tmp_path / "cifar-10-batches-py", images, labels)),
    ]
    datasets = [load(source, "test", any_size=True) for source in sources]
    assert {dataset.sha256 for dataset in datasets} == {content_hash(images, labels)}
    assert [dataset.name for dataset in datasets] == ["CIFAR-10 (PNG copy)", "CIFAR-10 (PNG copy)", "CIFAR-10"]
    assert datasets[0].labels[:12].tolist() == [*range(10), 0, 1]  # interleaved
    assert np.array_equal(datasets[0].images[10], pictures["airplane", 1].transpose(2, 0, 1))
    assert np.array_equal(datasets[2].images, images)
    assert datasets[0].classes == CLASSES


def test_jpeg_copy_says_so_in_its_identity(tmp_path, pictures):
    dataset = load(Source("tree", write_tree(tmp_path / "t", pictures)), "test", any_size=True)
    assert dataset.identity == f"CIFAR-10 (JPEG copy), 30 test images, sha256 {dataset.sha256[:16]}"
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 0


def test_content_hash_ignores_order_but_not_labels(pictures):
    images, labels = as_batch(pictures)
    order = np.random.default_rng(1).permutation(len(labels))
    assert content_hash(images[order], labels[order]) == content_hash(images, labels)
    assert content_hash(images[order], labels) != content_hash(images, labels)


def test_only_the_wanted_split_is_decoded(tmp_path, pictures):
    tree = write_tree(tmp_path / "t", pictures)
    broken = tree / "train" / "airplane" / "0000.jpg"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no image")
    assert len(load(Source("tree", tree), "test", any_size=True).labels) == 30


def test_complete_original_test_set_is_accepted_without_a_flag(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10_000, 3, 32, 32), dtype=np.uint8)
    folder = write_batches(tmp_path / "cifar-10-batches-py", images, np.arange(10_000) % 10)
    dataset = load(Source("batches", folder), "test")
    assert dataset.identity.startswith("CIFAR-10, 10,000 test images, sha256 ")
    assert np.array_equal(dataset.images, images)


def test_incomplete_set_is_refused(tmp_path, pictures):
    tree = write_tree(tmp_path / "t", pictures)
    archive = write_zip(tmp_path / "c.zip", pictures)
    for source in (Source("tree", tree), Source("zip", archive)):
        with pytest.raises(DataError, match=r"must hold 1,000 images of each class, got airplane 3, automobile 3"):
            load(source, "test")
    with pytest.raises(DataError, match="no images for the train set"):
        load(Source("zip", archive), "train")


def test_other_class_names_are_refused(tmp_path, pictures):
    tree = write_tree(tmp_path / "t", pictures)
    (tree / "test" / "automobile").rename(tree / "test" / "car")
    with pytest.raises(DataError, match=r"missing or empty: automobile; unknown: car"):
        load(Source("tree", tree), "test", any_size=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a readable image"),
        (b"GIF89a", "not a readable image"),
        (encode(np.zeros((32, 32, 3), np.uint8))[:400], "not a readable image"),
        (encode(np.zeros((64, 32, 3), np.uint8)), "must be 32x32 pixels, got 32x64"),
        (bytes(70_000), "more than 65,536 bytes"),
    ],
)
def test_unreadable_image_is_named(tmp_path, pictures, content, reason):
    tree = write_tree(tmp_path / "t", pictures)
    (tree / "test" / "dog" / "0001.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"dog.0001\.jpg .*{reason}"):
        load(Source("tree", tree), "test", any_size=True)


# Broken and hostile files


def test_truncated_zip_is_refused(tmp_path, pictures):
    archive = write_zip(tmp_path / "c.zip", pictures)
    archive.write_bytes(archive.read_bytes()[:-2_000])
    with pytest.raises(DataError, match=r"c\.zip is a truncated or corrupt zip.*download it again"):
        find_source(allow_offline=True, configured=str(archive))


def test_corrupt_zip_entry_is_refused(tmp_path, pictures):
    archive = write_zip(tmp_path / "c.zip", pictures)
    content = bytearray(archive.read_bytes())
    content[300:340] = bytes(40)  # within the first image
    archive.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt zip"):
        load(find_source(allow_offline=False, configured=str(archive)), "test", any_size=True)


@pytest.mark.parametrize(("cap", "reason"), [(2**20, "too many for CIFAR-10"), (2**30, "more than 65,536 bytes")])
def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, pictures, monkeypatch, cap, reason):
    """Its sizes are summed before anything is read, and of one entry 64 KiB are read, whatever size it claims."""
    archive = write_zip(tmp_path / "c.zip", pictures)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("cifar10-jpeg/test/dog/9999.jpg", bytes(20 * 2**20))
    monkeypatch.setattr(decoding, "MAX_TOTAL_BYTES", cap)
    with pytest.raises(DataError, match=reason):
        load(Source("zip", archive), "test", any_size=True)


def test_zip_with_two_trees_is_ambiguous(tmp_path, pictures):
    archive = write_zip(tmp_path / "c.zip", pictures)
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr("other/test/dog/9999.jpg", encode(pictures["dog", 0]))
    with pytest.raises(DataError, match="more than one data set: cifar10-jpeg, other"):
        load(Source("zip", archive), "test", any_size=True)


@pytest.mark.parametrize("name", ["__MACOSX/cifar10-jpeg/test/dog/._0000.jpg", "cifar10-jpeg/test/dog/._0000.jpg"])
def test_what_a_mac_leaves_in_a_zip_is_passed_over(tmp_path, pictures, name):
    archive = write_zip(tmp_path / "c.zip", pictures)
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr(name, b"no image")
    assert len(load(Source("zip", archive), "test", any_size=True).labels) == 30


def test_encrypted_zip_is_refused(tmp_path, pictures):
    archive = write_zip(tmp_path / "c.zip", pictures)
    content = bytearray(archive.read_bytes())
    place = -1
    while (place := content.find(b"PK\x01\x02", place + 1)) >= 0:
        content[place + 8] |= 1  # general purpose flag, bit 0
    archive.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        load(Source("zip", archive), "test", any_size=True)


class _Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_pickle_that_runs_a_command_is_refused_and_does_not_run_it(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    proof = tmp_path / "proof"
    batch = {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0], b"x": _Evil(f"touch {proof}")}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=r"test_batch: UnpicklingError: it asks for \w+\.system"):
        load(Source("batches", folder), "test", any_size=True)
    assert not proof.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps([1, 2], protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.float32), b"labels": [0, 1]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, protocol=2),
    ],
    ids=["empty", "list", "floats", "labels missing", "label 10"],
)
def test_batch_that_is_not_cifar_is_refused(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=r"CIFAR-10's files cannot be read: .*test_batch: "):
        load(Source("batches", tmp_path), "test", any_size=True)


def test_missing_batch_is_named(tmp_path, pictures):
    folder = write_batches(tmp_path / "b", *as_batch(pictures), split="train")
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"the train set needs data_batch_3\."):
        load(Source("batches", folder), "train", any_size=True)


def test_training_batches_come_in_order(tmp_path, pictures):
    images, labels = as_batch(pictures)
    folder = write_batches(tmp_path / "b", images, labels, split="train")
    assert np.array_equal(load(Source("batches", folder), "train", any_size=True).images, images)


def test_trusted_process_imports_neither_torch_nor_pickle_loader():
    """Importing the module must stay cheap, and the decoder of pickles belongs to the child process alone."""
    assert importlib.util.find_spec("autograder.programs.decode_cifar") is not None
    code = "import sys; sys.path.insert(0, sys.argv[1]); import autograder.judging.datasets; print(sorted(sys.modules))"
    root = str(ROOT.parent)
    modules = subprocess.run([sys.executable, "-c", code, root], check=True, capture_output=True, text=True).stdout
    assert "'torch'" not in modules
    assert "decode_cifar" not in modules


# The cache


@pytest.fixture
def cached(tmp_path, pictures):
    """A source that was loaded once, and its one file in the cache."""
    source = Source("tree", write_tree(tmp_path / "t", pictures))
    load(source, "test", any_size=True)
    (path,) = (tmp_path / "cache" / "autograder").iterdir()
    return source, path


def refuse_to_decode(monkeypatch):
    def decode(source, split):
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache, "decode", decode)


def test_second_load_comes_from_the_cache(cached, monkeypatch):
    source, _ = cached
    first = load(source, "test", any_size=True)
    refuse_to_decode(monkeypatch)
    second = load(source, "test", any_size=True)
    assert np.array_equal(first.images, second.images)
    assert first.identity == second.identity


def test_change_of_one_image_is_noticed_and_replaces_the_old_entry(cached):
    source, path = cached
    before = load(source, "test", any_size=True)
    changed = source.path / "test" / "cat" / "0000.jpg"
    status = changed.stat()
    changed.write_bytes(encode(np.full((32, 32, 3), 7, np.uint8)).ljust(status.st_size, b"\0")[: status.st_size])
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time: the content decides
    assert load(source, "test", any_size=True).sha256 != before.sha256
    (entry,) = path.parent.iterdir()
    assert entry != path


@pytest.mark.parametrize("damage", ["truncated", "empty", "bit flipped", "text", "wrong hash", "pickled"])
def test_damaged_cache_is_rebuilt(cached, damage):
    source, path = cached
    expected = load(source, "test", any_size=True)
    content = bytearray(path.read_bytes())
    if damage == "wrong hash":
        np.savez(path, images=expected.images, labels=expected.labels[::-1], name=expected.name, sha256=expected.sha256)
    elif damage == "pickled":
        np.savez(path, images=np.array([{}], dtype=object), labels=[0], name="x", sha256="x")
    else:
        content[5_000] ^= 1
        path.write_bytes({"truncated": content[:9_000], "empty": b"", "bit flipped": content, "text": b"hi"}[damage])
    assert load(source, "test", any_size=True).sha256 == expected.sha256
    with np.load(path) as stored:
        assert str(stored["sha256"]) == expected.sha256


def test_kill_while_writing_leaves_no_half_entry(cached, monkeypatch):
    """What is there at any moment before the rename has another name, and is not read."""
    source, path = cached
    path.unlink()

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            load(source, "test", any_size=True)
    assert list(path.parent.iterdir()) == []
    left = path.parent / ".writing-left-by-a-kill.tmp"
    left.write_bytes(b"half")
    load(source, "test", any_size=True)
    assert path.exists()
    assert left.exists()  # another process may be writing it
    path.unlink()
    os.utime(left, (0, 0))
    load(source, "test", any_size=True)
    assert path.exists()
    assert not left.exists()


def test_two_processes_fill_the_cache_at_once(cached):
    source, path = cached
    path.unlink()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from autograder.judging.datasets import *\n"
        "print(load(Source('tree', Path(sys.argv[2])), 'test', any_size=True).sha256)"
    )
    command = [sys.executable, "-c", code, str(ROOT.parent), str(source.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    hashes = {process.communicate(timeout=60)[0].strip() for process in running}
    assert hashes == {load(source, "test", any_size=True).sha256}
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_cache_costs_a_warning_not_the_run(tmp_path, pictures):
    source = Source("tree", write_tree(tmp_path / "t", pictures))
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not be cached"):
        dataset = load(source, "test", any_size=True, cache_folder=tmp_path / "file" / "cache")
    assert len(dataset.labels) == 30


# The published JPEG copy, where it is at hand


@pytest.mark.skipif(not REAL_ROOT, reason="CIFAR10_ROOT is not set: no real CIFAR-10 to load")
def test_real_test_set_loads():
    dataset = load(find_source(allow_offline=False, configured=REAL_ROOT), "test")
    assert dataset.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(dataset.labels).tolist() == [1_000] * 10
    if dataset.name == "CIFAR-10 (JPEG copy)":
        # Of the copy that docs/data.md names.
        assert dataset.sha256.startswith("d9c76e7f5311d607")
