"""Hostile submissions as data: `tests/submissions/hostile/*.toml`, read and built; `tools/attack.py` runs them.

Each table is one attack on one notebook, which is all that is handed in (with `checkpoint`, its weights, too):

    title        what it tries, in a sentence
    aim          what it is after: "points", "secrets", "harm" (to the machine, the grader, other submissions),
                 "mislead" (whoever reads the report)
    stopped_by   the protection that must stop it, a heading of docs/security.md
    notebook     the notebook that is attacked
    base         "release" (nothing is solved; default) or "reference" (everything is)
    points       what its honest part earns: anything above is gained
    statuses     {check: status} that must come of it
    told         texts that the report must hold
    twin         the honest submission beside it, which must get full marks for the notebook; see `twins.toml`

and what is done to the notebook and the folder:

    cells        {grade id: text} of cells, in place of the base's
    first, last  texts of code cells, put before all others or after them
    edits        changes to the notebook's data, see EDITS
    make         changes to the folder, see MAKERS
    slow         true: it waits for limits, and is left to `make attack`
    checkpoint   true: the reference solution's checkpoint lies beside the notebook

Texts may hold placeholders: @TRACE@ is a file that must not come into being, @PORT@ a port at which nobody may call,
@COURSE@ the course's folder.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import stat
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from safetensors.numpy import load_file, save_file

from autograder.handin.cells import grade_id_of
from tools.samples import ASSIGNMENT, ROOT, checkpoint_files, solved_cells

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOSTILE = ROOT / "tests" / "submissions" / "hostile"
TWINS = "twins"
Notebook = dict[str, Any]


class BadAttack(ValueError):
    """An attack that cannot be read or built; the message names it and what is wrong."""


@dataclass(frozen=True)
class Attack:
    """One hostile submission, or an honest twin (`aim` is "nothing")."""

    name: str
    title: str
    notebook: str
    aim: str = "nothing"
    stopped_by: str = ""
    base: str = "release"
    points: float = 0
    statuses: Mapping[str, str] = field(default_factory=dict)
    told: Sequence[str] = ()
    twin: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)
    first: Sequence[str] = ()
    last: Sequence[str] = ()
    edits: Sequence[Sequence[Any]] = ()
    make: Sequence[Sequence[Any]] = ()
    checkpoint: bool = False
    slow: bool = False

    @property
    def is_twin(self) -> bool:
        return self.aim == "nothing"


AIMS = {"points", "secrets", "harm", "mislead"}


def read_attacks() -> list[Attack]:
    """Every attack, in the order of the files. Raises BadAttack."""
    files = sorted(path for path in HOSTILE.glob("*.toml") if path.stem != TWINS)
    attacks = [attack for path in files for attack in _read_file(path)]
    twins = {twin.name for twin in read_twins()}
    names = [attack.name for attack in attacks]
    for attack in attacks:
        if attack.aim not in AIMS or not attack.stopped_by:
            raise BadAttack(f"{attack.name}: expected aim in {sorted(AIMS)} and stopped_by, got {attack.aim!r}")
        if attack.twin not in twins:
            raise BadAttack(f"{attack.name}: there is no twin {attack.twin!r} in {TWINS}.toml")
        if names.count(attack.name) > 1 or attack.name in twins:
            raise BadAttack(f"{attack.name} is there twice")
    return attacks


def read_twins() -> list[Attack]:
    """Every honest twin. Raises BadAttack."""
    return _read_file(HOSTILE / f"{TWINS}.toml")


def _read_file(path: Path) -> list[Attack]:
    known = {field.name for field in fields(Attack)}
    attacks = []
    for name, table in tomllib.loads(path.read_text()).items():
        unknown = sorted(set(table) - known)
        if unknown:
            raise BadAttack(f"{path.name}, {name}: unknown keys {unknown}")
        attacks.append(Attack(name=name, **table))
    return attacks


def build(attack: Attack, target: Path, data: str, places: Mapping[str, str]) -> None:
    """Write an attack as a submission folder. `places` gives each placeholder its text."""
    notebook = json.loads((ROOT / "release" / ASSIGNMENT / f"{attack.notebook}.ipynb").read_text())
    filled = solved_cells() if attack.base == "reference" else {}
    filled |= dict(attack.cells)
    for cell in notebook["cells"]:
        cell["source"] = filled.get(grade_id_of(cell), cell["source"])
    code = [[_code_cell(f"{place}-{i}", text) for i, text in enumerate(texts)]
            for place, texts in (("first", attack.first), ("last", attack.last))]  # fmt: skip
    notebook["cells"] = [*code[0], *notebook["cells"], *code[1]]
    for verb, *arguments in attack.edits:
        _find(EDITS, verb, attack)(notebook, *arguments)
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(notebook, indent=1)
    for placeholder, value in places.items():
        text = text.replace(placeholder, json.dumps(value)[1:-1])
    (target / f"{attack.notebook}.ipynb").write_text(text)
    for path in checkpoint_files(target, "reference", data) if attack.checkpoint else []:
        shutil.copyfile(path, target / path.name)
    for verb, *arguments in attack.make:
        _find(MAKERS, verb, attack)(target, *(_placed(argument, places) for argument in arguments))


def _find(verbs: Mapping[str, Callable[..., None]], verb: str, attack: Attack) -> Callable[..., None]:
    if verb not in verbs:
        raise BadAttack(f"{attack.name}: {verb!r} is not one of {sorted(verbs)}")
    return verbs[verb]


def _placed(argument: Any, places: Mapping[str, str]) -> Any:
    for placeholder, value in places.items():
        argument = argument.replace(placeholder, value) if isinstance(argument, str) else argument
    return argument


def _code_cell(name: str, text: str) -> Notebook:
    return {"cell_type": "code", "id": name, "metadata": {}, "source": text, "outputs": [], "execution_count": None}


def _cell(notebook: Notebook, name: str) -> Notebook:
    return next(cell for cell in notebook["cells"] if grade_id_of(cell) == name)


# What can be done to a notebook's data


def set_tags(notebook: Notebook, name: str, tags: list[str]) -> None:
    """["tags", grade id, [tag, …]]"""
    _cell(notebook, name)["metadata"]["tags"] = tags


def set_nbgrader(notebook: Notebook, name: str, values: dict[str, Any]) -> None:
    """["nbgrader", grade id, {key: value}]: changes to the metadata that says how a cell is graded"""
    _cell(notebook, name)["metadata"]["nbgrader"].update(values)


def set_metadata(notebook: Notebook, values: dict[str, Any]) -> None:
    """["metadata", {key: value}]: changes to the notebook's own"""
    notebook["metadata"].update(values)


def set_top(notebook: Notebook, key: str, value: Any) -> None:
    """["set", key, value] at the top of the notebook"""
    notebook[key] = value


def set_source(notebook: Notebook, name: str, source: Any) -> None:
    """["source", grade id, text]: of any cell, also a locked one"""
    _cell(notebook, name)["source"] = source


def set_outputs(notebook: Notebook, name: str, outputs: list[Any]) -> None:
    """["outputs", grade id, [output, …]]: as if the cell had shown them"""
    _cell(notebook, name)["outputs"] = outputs


def delete(notebook: Notebook, name: str) -> None:
    """["delete", grade id]"""
    notebook["cells"].remove(_cell(notebook, name))


def copy_cell(notebook: Notebook, name: str, source: str) -> None:
    """["copy", grade id, text]: a second cell of this name at the end"""
    notebook["cells"].append({**json.loads(json.dumps(_cell(notebook, name))), "source": source})


def insert(notebook: Notebook, position: int, cell: dict[str, Any] | str) -> None:
    """["insert", position, cell as data, or as JSON where TOML has no such value]"""
    notebook["cells"].insert(position, json.loads(cell) if isinstance(cell, str) else cell)


def repeat(notebook: Notebook, count: int, text: str) -> None:
    """["repeat", number, text]: so many code cells at the end"""
    notebook["cells"] += [_code_cell(f"repeated-{i}", text) for i in range(count)]


def attach(notebook: Notebook, name: str, attachments: dict[str, Any]) -> None:
    """["attach", grade id, attachments]"""
    _cell(notebook, name)["attachments"] = attachments


def change_cell(notebook: Notebook, name: str, values: dict[str, Any]) -> None:
    """["cell", grade id, {key: value}]: changes to the cell itself"""
    _cell(notebook, name).update(values)


def drop(notebook: Notebook, name: str, key: str) -> None:
    """["drop", grade id, key]: of the cell itself"""
    del _cell(notebook, name)[key]


def add_long(notebook: Notebook, kind: str, text: str, times: int) -> None:
    """["long", cell type, text, number]: a cell at the end that holds the text so many times"""
    cell = _code_cell("long", text * times)
    notebook["cells"].append(cell if kind == "code" else {**cell, "cell_type": kind})


EDITS: Mapping[str, Callable[..., None]] = {
    "tags": set_tags,
    "nbgrader": set_nbgrader,
    "metadata": set_metadata,
    "set": set_top,
    "source": set_source,
    "outputs": set_outputs,
    "delete": delete,
    "copy": copy_cell,
    "insert": insert,
    "repeat": repeat,
    "attach": attach,
    "cell": change_cell,
    "drop": drop,
    "long": add_long,
}


# What can be done to the folder


def make_link(folder: Path, name: str, place: str) -> None:
    """["symlink", name, what it points to]"""
    (folder / name).unlink(missing_ok=True)
    os.symlink(place, folder / name)


def make_hard_link(folder: Path, name: str, place: str) -> None:
    """["hardlink", name, path]"""
    os.link(place, folder / name)


def make_pipe(folder: Path, name: str) -> None:
    """["fifo", name]"""
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def make_socket(folder: Path, name: str) -> None:
    """["socket", name]"""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / name))  # as a relative path: it may have 107 bytes


def make_device(folder: Path, name: str) -> None:
    """["device", name]: /dev/zero, where the one who builds it may; else a named pipe"""
    try:
        os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        os.mkfifo(folder / name)


def make_sparse(folder: Path, name: str, size: int) -> None:
    """["sparse", name, bytes]: a file that looks large and takes no room"""
    with open(folder / name, "wb") as file:
        file.truncate(size)


def make_text(folder: Path, name: str, text: str) -> None:
    """["text", name, text]"""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def make_bytes(folder: Path, name: str, content: str) -> None:
    """["hex", name, content as hexadecimal digits]"""
    (folder / name).write_bytes(bytes.fromhex(content))


def make_deep(folder: Path, name: str, depth: int) -> None:
    """["deep", name, number]: so many folders, one in the other"""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):  # a path this long has no name that the system takes
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def make_folder(folder: Path, name: str) -> None:
    """["folder", name]: also in place of a file"""
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir(parents=True)


def make_named(folder: Path, name: str, text: str) -> None:
    """["named", name as hexadecimal digits, text]: for names that are no text, too"""
    descriptor = os.open(os.fsencode(folder) + b"/" + bytes.fromhex(name), os.O_WRONLY | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def make_filled(folder: Path, name: str, text: str, times: int) -> None:
    """["filled", name, text, number]: a file that holds the text so many times"""
    with open(folder / name, "w") as file:
        for _ in range(times):
            file.write(text)


def make_costly(folder: Path, name: str, head: str, part: str, tail: str, mib: int) -> None:
    """["costly", name, text, another, a third, MiB]: the second so often between the others that it is so large"""
    with open(folder / name, "w") as file:
        file.write(head)
        block = part * ((1 << 20) // len(part))
        for _ in range(mib):
            file.write(block)
        file.write(tail)


def make_copies(folder: Path, name: str, count: int) -> None:
    """["copies", name, number]: so many copies of a file, numbered as a browser numbers them"""
    for i in range(1, count + 1):
        shutil.copyfile(folder / name, folder / f"{Path(name).stem} ({i}){Path(name).suffix}")


def make_strays(folder: Path, name: str, text: str, count: int) -> None:
    """["strays", name, text, number]: so many files; NUMBER stands for each one's number, in its text, too"""
    for i in range(count):
        path = folder / name.replace("NUMBER", str(i))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("NUMBER", str(i)))


def make_old(folder: Path, name: str) -> None:
    """["old", notebook file]: in format 3, as Jupyter saves it for programs that know no other"""
    notebook = nbformat.read(folder / name, as_version=4)
    (folder / name).write_text(json.dumps(nbformat.convert(notebook, 3)))


def make_archive(folder: Path, name: str, entries: Mapping[str, str]) -> None:
    """["zip", name, {entry: text}]"""
    with zipfile.ZipFile(folder / name, "w") as archive:
        for entry, text in entries.items():
            archive.writestr(entry, text)


def make_many(folder: Path, name: str, count: int) -> None:
    """["many", name, number]: so many empty files in a folder"""
    (folder / name).mkdir()
    for i in range(count):
        (folder / name / f"{i}.txt").touch()


def make_rename(folder: Path, name: str, other: str) -> None:
    """["rename", name, other name]"""
    os.rename(folder / name, folder / other)


def make_swapped(folder: Path, name: str, old: str, new: str) -> None:
    """["swap", text file, text, other]: where it first stands"""
    text = (folder / name).read_text()
    if old not in text:
        raise BadAttack(f"{name} does not hold {old!r}")
    (folder / name).write_text(text.replace(old, new, 1))


def make_stuffed(folder: Path, name: str, old: str, new: str, times: int) -> None:
    """["stuff", text file, text, other, number]: the other so many times in its place"""
    make_swapped(folder, name, old, new * times)


def make_encoded(folder: Path, name: str, encoding: str) -> None:
    """["encode", text file, character set]"""
    text = (folder / name).read_text()
    (folder / name).write_bytes(text.encode(encoding))


def make_nested(folder: Path, name: str, depth: int) -> None:
    """["nested", notebook file, number]: its metadata becomes lists in lists"""
    text = (folder / name).read_text()
    head, _, tail = text.rpartition('"metadata": {')
    (folder / name).write_text(f'{head}"metadata": {{"deep": {"[" * depth}{"]" * depth}, {tail.lstrip()}')


def make_replaced(folder: Path, name: str, old: str, new: str) -> None:
    """["replace", file, hexadecimal digits, others]: in the file's bytes"""
    content = (folder / name).read_bytes()
    if bytes.fromhex(old) not in content:
        raise BadAttack(f"{name} does not hold the bytes {old}")
    (folder / name).write_bytes(content.replace(bytes.fromhex(old), bytes.fromhex(new)))


def make_beside(folder: Path, notebook: str) -> None:
    """["beside", notebook]: another notebook, solved as in the reference"""
    solved = json.loads((ROOT / "release" / ASSIGNMENT / f"{notebook}.ipynb").read_text())
    filled = solved_cells()
    for cell in solved["cells"]:
        cell["source"] = filled.get(grade_id_of(cell), cell["source"])
    (folder / f"{notebook}.ipynb").write_text(json.dumps(solved, indent=1))


class _OpensAFile:
    """Unpickling this creates a file."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self.trace, "w"))


def make_pickle(folder: Path, name: str, trace: str) -> None:
    """["pickle", name, path]: a file like torch.save's, whose pickle creates the file at `path` when it is loaded"""
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"stem.0.weight": _OpensAFile(trace)}))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def make_bomb(folder: Path, name: str, mib: int) -> None:
    """["bomb", name, MiB]: a zip like torch.save's, whose one tensor unpacks to so much"""
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/version", "3\n")
        with archive.open("archive/data.pkl", "w", force_zip64=True) as file:
            for _ in range(mib):
                file.write(bytes(1 << 20))


def make_tensors(folder: Path, name: str, header: str, room: int, stated: int = -1) -> None:
    """["safetensors", name, header, bytes of data, (stated length of the header)]: by hand, as no library writes it"""
    length = len(header) if stated < 0 else stated
    (folder / name).write_bytes(length.to_bytes(8, "little") + header.encode() + bytes(room))


def make_many_tensors(folder: Path, name: str, count: int) -> None:
    """["many tensors", name, number]: so many tensors of one number each"""
    header = {f"t{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(count)}
    make_tensors(folder, name, json.dumps(header), 4 * count)


def make_weights(folder: Path, name: str, change: str) -> None:
    """["weights", name, one of WEIGHTS]: what becomes of a checkpoint's tensors"""
    tensors = {key: WEIGHTS[change](value) for key, value in load_file(folder / name).items()}
    prefix = "module._orig_mod." if change == "prefixed" else ""
    save_file({prefix + key: np.array(value, order="C") for key, value in tensors.items()}, folder / name)


WEIGHTS: Mapping[str, Callable[[Any], Any]] = {
    "nan": lambda value: value * value.dtype.type(float("nan")) if value.dtype.kind == "f" else value,
    "infinite": lambda value: np.full_like(value, np.inf) if value.dtype.kind == "f" else value,
    "huge": lambda value: np.full_like(value, 3e38) if value.dtype.kind == "f" else value,
    "zero": np.zeros_like,
    "half": lambda value: value.astype(np.float16) if value.dtype.kind == "f" else value,
    "prefixed": lambda value: value,
    "complex": lambda value: value.astype(np.complex64),
}


def make_state_dict(folder: Path, name: str, kind: str) -> None:
    """["pt", name, kind]: a file of torch.save: "state dict" of the checkpoint that lies there, in its place; "complex"
    numbers; tensors "without data"; a "run": the checkpoint in a dict with the epoch and the loss.
    """
    import torch

    beside = folder / "modern_cnn.safetensors"
    saved: dict[str, Any]
    if kind in ("state dict", "run"):
        tensors = {key: torch.from_numpy(value) for key, value in load_file(beside).items()}
        beside.unlink()
        saved = {key: value.to_sparse() if key.endswith("bias") else value for key, value in tensors.items()}
        saved = {"epoch": 8, "model_state_dict": tensors, "loss": 0.5} if kind == "run" else saved
    else:
        saved = {
            "complex": {"w": torch.zeros(3, dtype=torch.complex64)},
            "without data": {"w": torch.empty(3, device="meta")},
        }[kind]
    torch.save(saved, folder / name)


MAKERS: Mapping[str, Callable[..., None]] = {
    "symlink": make_link,
    "hardlink": make_hard_link,
    "fifo": make_pipe,
    "socket": make_socket,
    "device": make_device,
    "sparse": make_sparse,
    "text": make_text,
    "hex": make_bytes,
    "deep": make_deep,
    "many": make_many,
    "rename": make_rename,
    "nested": make_nested,
    "replace": make_replaced,
    "beside": make_beside,
    "pickle": make_pickle,
    "bomb": make_bomb,
    "folder": make_folder,
    "named": make_named,
    "filled": make_filled,
    "costly": make_costly,
    "copies": make_copies,
    "strays": make_strays,
    "old": make_old,
    "zip": make_archive,
    "swap": make_swapped,
    "stuff": make_stuffed,
    "encode": make_encoded,
    "safetensors": make_tensors,
    "many tensors": make_many_tensors,
    "weights": make_weights,
    "pt": make_state_dict,
}
