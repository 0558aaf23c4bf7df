"""Which file of a submission counts as trained weights: one rule, whatever files are called and wherever they lie."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from autograder.core.config import Limits
from autograder.core.grade_report import Status
from autograder.core.weights_file import WeightsChoice, WeightsContent, choose_weights, is_called
from autograder.handin.staging import CourseFiles, find_files, stage
from autograder.jail.isolation import find_isolation
from autograder.judging.checkpoint import CheckpointProblem, read_checkpoint
from autograder.pipeline.cache import Cache
from autograder.pipeline.jail_run import run_plan
from autograder.pipeline.plan import Plan
from tools.hidden_graders import staged

STEM, NAMES = "modern_cnn", ["modern_cnn.safetensors", "modern_cnn.pt"]
OWN, OTHER = {"conv.weight": torch.ones(2, 3)}, {"conv.weight": torch.zeros(2, 3)}


def tensors(path: Path, state: dict[str, torch.Tensor] = OWN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)


def saved(path: Path, state: object = OWN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def old(path: Path, state: object = OWN) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def text(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def choice(folder: Path, source: Path | None = None, beside: Sequence[str] = ()) -> WeightsChoice:
    """What is chosen of a folder, as submissions are read."""
    found = find_files(folder, Limits(), CourseFiles(source, NAMES), beside=beside)
    return choose_weights(STEM, {file.shown: file for file in found.files})


FORMS: dict[str, Callable[[Path], None]] = {
    "modern_cnn.safetensors": tensors,
    "modern_cnn.pt": saved,
    "modern_cnn.pth": saved,
    "modern_cnn.ckpt": saved,
    "modern_cnn.bin": saved,
    "modern_cnn.tar": saved,
    "modern_cnn.pth.tar": saved,
    "modern_cnn": saved,
    "MODERN_CNN.PT": saved,
    "ModernCNN.safetensors": tensors,
    "modern_cnn (1).safetensors": tensors,
    "modern_cnn(2).pt": saved,
    "modern_cnn-1.safetensors": tensors,
    "modern_cnn.safetensors.txt": tensors,
    "Kopie von modern_cnn.pt": saved,
    "modern_cnn - Kopie.safetensors": tensors,
    "modern_cnn_final.pt": saved,
    "best_model.pth": saved,
    "old-form.pth": old,
    "checkpoints/modern_cnn.safetensors": tensors,
    "lightning_logs/version_0/checkpoints/epoch=9-step=100.ckpt": saved,
    "checkpoint-500/pytorch_model.bin": saved,
    "optimizer_and_model.pt": saved,
    "modern_cnn.safetensors.part": tensors,
}


@pytest.mark.parametrize("name", FORMS)
def test_the_only_file_with_weights_counts(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    text(tmp_path / "notes.txt", "a text")
    text(tmp_path / "runs/events.pt", "no weights")
    (tmp_path / "data.npz").write_bytes(b"PK\x03\x04" + bytes(22) + b"\x09\x00\x00\x00arr_0.npy")
    found = choice(tmp_path)
    assert (found.name, found.is_safetensors) == (name, FORMS[name] is tensors)
    assert found.ignored == found.rivals == ()


# Of what lies there the first counts.
SEVERAL = {
    "the exact name wins, whatever else there is": [
        ("modern_cnn.safetensors", tensors, OWN),
        ("checkpoints/modern_cnn.safetensors", tensors, OTHER),
        ("best.pt", saved, OTHER),
    ],
    "the exact name wins where it holds nothing": [
        ("modern_cnn.safetensors", text, ""),
        ("checkpoints/modern_cnn.safetensors", tensors, OTHER),
    ],
    "its second form comes after it": [("modern_cnn.safetensors", tensors, OWN), ("modern_cnn.pt", saved, OTHER)],
    "its second form comes before all others": [
        ("modern_cnn.pt", saved, OWN),
        ("modern_cnn (1).safetensors", tensors, OTHER),
    ],
    "the name comes before others": [("out/modern_cnn.pth", saved, OWN), ("best_model.pth", saved, OTHER)],
    "safetensors come before what lies beside them under their name": [
        ("out/best.safetensors", tensors, OWN),
        ("out/best.pt", saved, OTHER),
    ],
    "the same tensors": [("a/best.pth", saved, OWN), ("a/last.pth", saved, OWN)],
    "the same tensors in both forms and with a prefix": [
        ("average.safetensors", tensors, {f"module.{name}": value for name, value in OWN.items()}),
        ("last.safetensors", tensors, OWN),
        ("best.pth", saved, OWN),
    ],
    "fewer folders": [("b.safetensors", tensors, OWN), ("a/a.safetensors", tensors, OWN)],
    "no optimiser's state": [("model.pt", saved, OWN), ("optimizer.pt", saved, OTHER), ("scheduler.pt", saved, OTHER)],
    "what the kit keeps of a training": [
        ("kit_training/ModernCNN-best.safetensors", tensors, OWN),
        ("kit_training/ModernCNN-state.pt", saved, OTHER),
    ],
    "no half of a download": [("net.pth", saved, OWN), ("net2.safetensors.part", tensors, OTHER)],
    "nothing in hidden folders": [
        ("best.pt", saved, OWN),
        (".ipynb_checkpoints/modern_cnn-checkpoint.safetensors", tensors, OTHER),
        ("__MACOSX/modern_cnn.safetensors", tensors, OTHER),
    ],
}


@pytest.mark.parametrize("case", SEVERAL)
def test_of_several_files_one_counts_by_the_rule_whatever_their_order(tmp_path: Path, case: str) -> None:
    for name, write, content in SEVERAL[case]:
        write(tmp_path / name, content)
    found = find_files(tmp_path, Limits(), CourseFiles(weights=NAMES))
    chosen = {
        choose_weights(STEM, {file.shown: file for file in order}).name for order in itertools.permutations(found.files)
    }
    assert chosen == {SEVERAL[case][0][0]}


DIFFERENT = {
    "best and last": ["best.pt", "last.pt"],
    "two downloads": ["modern_cnn (1).safetensors", "modern_cnn (2).safetensors"],
    "two folders": ["a/modern_cnn.safetensors", "b/modern_cnn.safetensors"],
    "one beside, one in a folder": ["modern_cnn.pth", "out/modern_cnn.pth"],
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_of_several_that_differ_none_counts_and_what_the_message_asks_for_helps(tmp_path: Path, case: str) -> None:
    for number, name in enumerate(DIFFERENT[case]):
        (tensors if name.endswith("safetensors") else saved)(tmp_path / name, {"w": torch.full((2, 2), number)})
    found = choice(tmp_path)
    assert (found.name, found.rivals) == ("", tuple(DIFFERENT[case]))
    with pytest.raises(CheckpointProblem) as caught:
        read_staged(tmp_path, tmp_path.parent / "staged")
    for part in (*DIFFERENT[case], "2 other files hold different weights", "modern_cnn.safetensors or modern_cnn.pt"):
        assert part in str(caught.value)
    for wanted in NAMES:  # whatever the file holds
        (tmp_path / DIFFERENT[case][1]).rename(tmp_path / wanted)
        assert choice(tmp_path).name == wanted
        (tmp_path / wanted).rename(tmp_path / DIFFERENT[case][1])


def test_of_many_files_the_first_are_named(tmp_path: Path) -> None:
    for number in range(40):
        saved(tmp_path / "out" / f"epoch_{number:02}.pt", {"w": torch.full((2, 2), number)})
    with pytest.raises(CheckpointProblem, match=r"40 other files .*`out/epoch_00.pt`.*epoch_02.pt` and 37 more\)"):
        read_staged(tmp_path, tmp_path.parent / "staged")
    saved(tmp_path / "modern_cnn.pt")
    assert choice(tmp_path).ignored == ()  # they are no rivals of the exact name
    saved(tmp_path / "modern_cnn (1).pt", OTHER)
    saved(tmp_path / "modern_cnn (2).pt")
    assert choice(tmp_path).ignored == ("modern_cnn (1).pt",)  # the other one holds the same


def read_staged(folder: Path, target: Path, converted: bytes | None = None):
    shutil.rmtree(target, ignore_errors=True)
    files, _ = stage(folder, target, Limits(), CourseFiles(weights=NAMES))
    return read_checkpoint(STEM, files, converted, 64)


def test_what_was_taken_and_what_was_not_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    tensors(folder / "checkpoints/modern_cnn.safetensors")
    saved(folder / "first_try.pth", OTHER)
    assert read_staged(folder, tmp_path / "staged").notes == (
        "`checkpoints/modern_cnn.safetensors` was taken as modern_cnn.safetensors",
        "`first_try.pth` was ignored: `checkpoints/modern_cnn.safetensors` counts",
    )


def test_a_candidate_is_as_large_as_other_weights_at_most(tmp_path: Path) -> None:
    tensors(tmp_path / "best.safetensors", {"w": torch.zeros(600_000)})
    with pytest.raises(CheckpointProblem, match=r"best.safetensors: at most 2 MiB are allowed, it has 2\.3 MiB"):
        read_checkpoint(STEM, {"best.safetensors": staged(tmp_path / "best.safetensors")}, None, 2)


def test_what_the_course_lays_over_a_submission_is_no_students_weights(tmp_path: Path) -> None:
    tensors(tmp_path / "source" / "pretrained.safetensors", OTHER)
    tensors(tmp_path / "folder" / "pretrained.safetensors")
    assert choice(tmp_path / "folder", tmp_path / "source").name == ""


def test_weights_beside_a_notebook_in_a_folder_have_the_exact_name(tmp_path: Path) -> None:
    tensors(tmp_path / "cnn" / "modern_cnn.safetensors")
    assert choice(tmp_path, beside=["cnn/"]).is_exact


def test_where_several_exercises_ask_for_weights_only_names_count(tmp_path: Path) -> None:
    saved(tmp_path / "One.pth")
    saved(tmp_path / "best.pth", OTHER)
    names = ["one.safetensors", "one.pt", "two.safetensors", "two.pt"]
    found = find_files(tmp_path, Limits(), CourseFiles(weights=names))
    files = {file.shown: file for file in found.files}
    assert [choose_weights(stem, files).name for stem in ("one", "two")] == ["One.pth", ""]


def test_an_assignment_without_weights_has_none(tmp_path: Path) -> None:
    saved(tmp_path / "one.pt")
    assert [file.weights for file in find_files(tmp_path, Limits()).files] == [None]


@pytest.mark.parametrize("name", ["modern_cnn_final.pt", "modern.pt", "cnn.pt", "modern_cnn2.pt", "not modern_cnn.pt"])
def test_other_names_are_other_names(name: str) -> None:
    assert not is_called(name, STEM)


HOSTILE = {
    "a header that says nothing": (40).to_bytes(8, "little") + b"{" + b" " * 38 + b"}",
    "a header of lists": (12).to_bytes(8, "little") + b'{"a":[1,2,3]' + b"}",
    "offsets beyond the file": (46).to_bytes(8, "little") + b'{"a":{"data_offsets":[0,99999999999999999999]}}',
    "tensors over each other": b"".join(
        [(8_000).to_bytes(8, "little"), b"{", b",".join(b'"%d":{"data_offsets":[0,8000]}' % n for n in range(200))]
    )
    + bytes(9_000),
    "half a zip": b"PK\x03\x04" + bytes(22) + b"\x0a\x00\x00\x00x/data.pkl" + bytes(99),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_files_that_lie_about_what_they_hold_are_told_apart_all_the_same(tmp_path: Path, case: str) -> None:
    (tmp_path / "one.pt").write_bytes(HOSTILE[case])
    (tmp_path / "two.pt").write_bytes(HOSTILE[case] + b"x")
    tensors(tmp_path / "three.safetensors")
    found = {file.shown: file.weights for file in find_files(tmp_path, Limits(), CourseFiles(weights=NAMES)).files}
    digests = {content.tensors for content in found.values() if isinstance(content, WeightsContent)}
    assert len(digests) == sum(content is not None for content in found.values())
    assert choice(tmp_path).name in ("", "three.safetensors")


def test_a_general_checkpoint_in_a_folder_goes_all_the_way_through_the_jail(tmp_path: Path) -> None:
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    saved(tmp_path / "handed-in" / "runs" / "Best Model (1).ckpt", {"epoch": 3, "model_state_dict": OWN})
    there, _ = stage(tmp_path / "handed-in", tmp_path / "files", Limits(), CourseFiles(weights=NAMES))
    name = choose_weights(STEM, there).name
    run = run_plan(Plan([], {}, {}, name, "key"), tmp_path / "files", Limits(), isolation, Cache(tmp_path / "cache"))
    assert isinstance(run.checkpoint, bytes), run.checkpoint
    found = read_checkpoint(STEM, there, run.checkpoint, 64)
    assert found.tensors["conv.weight"].tolist() == OWN["conv.weight"].tolist()
    assert found.notes == (
        "`runs/Best Model (1).ckpt` was taken as modern_cnn.pt",
        "of runs/Best Model (1).ckpt the weights under `model_state_dict` were taken",
    )
    with pytest.raises(CheckpointProblem) as caught:
        read_checkpoint(STEM, there, None, 64)
    assert caught.value.status is Status.CRASHED
