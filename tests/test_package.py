"""The package's own files: what each digest covers, and that nothing is looked for where it no longer is."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from autograder.core import package
from autograder.core.package import ROOT, digest_of_code, package_file, package_files
from autograder.judging import proof
from autograder.review.staff_report import pages
from tools import rooms
from tools.samples import ROOT as REPOSITORY


def names(*patterns: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in package_files(*patterns)}


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing in .* matches 'no_such/\*\.py'"):
        package_files("worker/*.py", "no_such/*.py")
    with pytest.raises(FileNotFoundError):
        package_file("no_such.html")


def test_compiled_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    for name in ("a.py", "__pycache__/b.py"):
        (tmp_path / name).touch()
    assert package_files("**/*.py", root=tmp_path) == [tmp_path / "a.py"]


def test_every_file_a_digest_covers_changes_it_by_content_and_by_place(tmp_path: Path) -> None:
    for name in ("a/x.py", "b/x.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    before = digest_of_code("**/*.py", root=tmp_path)
    (tmp_path / "b" / "x.py").write_text("changed")
    after = digest_of_code("**/*.py", root=tmp_path)
    (tmp_path / "c").mkdir()
    shutil.move(tmp_path / "b" / "x.py", tmp_path / "c" / "x.py")
    assert len({before, after, digest_of_code("**/*.py", root=tmp_path)}) == 3


def test_a_plan_covers_the_worker_and_nothing_else() -> None:
    """Evidence that was kept counts only for the code that would collect it now."""
    assert names("worker/*.py") == {f"worker/{path.name}" for path in (ROOT / "worker").iterdir() if path.is_file()}
    assert {"worker/launcher.py", "worker/exporter.py", "worker/collect.py", "worker/cells.py"} <= names("worker/*.py")


def test_the_proof_covers_the_rooms_that_judge() -> None:
    rooms = names("graders/*.py", "graphs/*.py", "graphs/analysis/*.py")
    rooms |= names("judging/*.py", "judging/datasets/*.py", "judging/flags/*.py")
    assert names(*proof.JUDGING) == {*rooms, *names("worker/*.py"), "core/grade_report.py", "core/weights_file.py"}


def test_the_engine_is_all_python_of_the_package() -> None:
    found = names("**/*.py")
    tracked = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")}
    assert found == {name for name in tracked if "__pycache__" not in name}
    assert len(found) > 150


def test_pages_are_made_anew_when_any_code_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A change in flags/ once left old pages in place."""

    before = pages.code_digest()
    copy = tmp_path / "autograder"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(pages, "digest_of_code", lambda *patterns: digest_of_code(*patterns, root=copy))
    assert pages.code_digest() == before
    (copy / "judging" / "flags" / "images.py").write_text("changed")
    assert pages.code_digest() != before


def test_every_path_to_a_file_of_the_package_starts_in_one_place() -> None:
    """`__file__` of another module would lead elsewhere after it has moved. The worker is a room of its own."""
    for path in package_files("**/*.py"):
        if path != Path(package.__file__) and "worker" not in path.parts:
            assert "__file__" not in path.read_text("utf-8"), path.relative_to(REPOSITORY)


# The house


def test_the_page_about_architecture_is_true() -> None:
    page = rooms.PAGE.read_text("utf-8")
    assert page == rooms.with_table(page), "run `python -m tools.rooms`"
    assert {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"} == {
        room for floor in [*rooms.floors(), rooms.OUTSIDE] for room in floor
    }
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+(?:\.py)?)`", page))
    assert len(named) > 30
    assert not [name for name in named if not (ROOT / name).exists()]


def test_a_face_holds_no_code() -> None:
    for path in package_files("*.py"):
        if path.name != "__init__.py":
            kinds = (ast.Expr, ast.ImportFrom, ast.Assign)
            assert all(isinstance(part, kinds) for part in ast.parse(path.read_text("utf-8")).body), path


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in package_files("**/*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.ClassDef):
                places.setdefault(part.name, []).append(path.relative_to(ROOT).as_posix())
    assert not {name: found for name, found in places.items() if len(found) > 1}


# What fits on a screen


TABLES = {"graphs/operations.py"}  # one line for each operation
MOST_LINES, MOST_BODY, MOST_PARAMETERS = 400, 50, 6


def own_modules() -> dict[str, str]:
    """The text of each module of the package but the worker's, which a student's kit carries in one piece."""
    paths = (path for path in package_files("**/*.py") if path.relative_to(ROOT).parts[0] != "worker")
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def test_no_module_is_longer_than_can_be_read_in_one_go() -> None:
    assert {name for name, text in own_modules().items() if text.count("\n") > MOST_LINES} == TABLES


def test_no_function_is_long_or_takes_more_than_a_dataclass_would_name() -> None:
    found = []
    for name, text in own_modules().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = len([argument for argument in taken if argument.arg not in ("self", "cls")])
                if count > MOST_PARAMETERS or (node.end_lineno or 0) - node.lineno >= MOST_BODY:
                    found.append(f"{name}: {node.name}")
    assert found == []
