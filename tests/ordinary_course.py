"""A course with an assignment that grader_config.py does not name: nbgrader's own quickstart, and a notebook with its
documented kinds of cells. Submissions are nbgrader's own examples, and some that go for the machine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nbgrader as package
from nbgrader.api import Gradebook

from tests import tiny_course
from tests.conftest import nbgrader
from tests.tiny_course import cell, notebook

GUIDE = Path(package.__file__).parent / "docs" / "source" / "user_guide"
ASSIGNMENT = "ps1"
HEADER = 'c.IncludeHeaderFooter.header = "source/header.ipynb"\n'
STOCK = """import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")  # for `alembic`
c = get_config()
"""
SECRET_INPUT, SCHEME = "double(21) == 42", "two points for the formula"
TESTS = f'''"""The double of a number"""
assert double(1) == 2
### BEGIN HIDDEN TESTS
assert {SECRET_INPUT}, "the answer"
### END HIDDEN TESTS'''
KINDS = [
    cell("given", "BASE = 10", locked=True),
    cell("double", "def double(n):\n    ### BEGIN SOLUTION\n    return 2 * n\n    ### END SOLUTION", solution=True),
    cell("double-tests", TESTS, grade=True, locked=True, points=2),
    cell("partial", "0.75 * (double(3) == 6) + 0.5 * (double(-2) == -4)", grade=True, locked=True, points=1.25),
    cell("quiet", "# Nothing on standard error\ndouble(BASE) and None", grade=True, locked=True, points=1),
    cell("said", '"not a number"', grade=True, locked=True, points=0.5),
    cell("own-code", "### BEGIN SOLUTION\ndouble(8)\n### END SOLUTION", grade=True, solution=True, points=2),
    cell("why", "Because.", "markdown", grade=True, solution=True, points=1),
    cell(
        "task", f"Derive it.\n\n### BEGIN MARK SCHEME\n{SCHEME}\n### END MARK SCHEME", "markdown", locked=True, points=4
    ),
]
KINDS[-1]["metadata"]["nbgrader"]["task"] = True
HALF = (
    "import sys\ndef double(n):\n    if n == 10: print('ten', file=sys.stderr)\n    return n + abs(n) if n < 20 else 0"
)
SLOW = """def squares(n):
    while n == 11: pass
    if n < 1: raise ValueError
    return [i ** 2 for i in range(1, n + 1)]"""
ENDS = """class Much(int):
    __eq__ = lambda self, other: 99
def double(n):
    if n == 21: __import__('os')._exit(0)
    return Much(2 * n)"""
PEEKS = """import linecache, sys
def double(n):
    global seen
    if n == 21: seen = "".join(linecache.getlines(sys._getframe(1).f_code.co_filename))
    return 2 * n"""
# What nbgrader's users have reported, each as an expression that must raise. {root} is the course's folder.
CHEATS = {
    "another submission": "open('{root}/submitted/hacker/ps1/problem1.ipynb').read()",
    "the gradebook": "open('{root}/gradebook.db', 'rb').read()",
    "the source": "open('{root}/source/ps1/kinds.ipynb').read()",
    "the shadow file": "open('/etc/shadow').read()",
    "a file outside": "open('/usr/stolen.txt', 'w')",
    "a file of the course": "open('{root}/canary.txt', 'w')",
    "the kernel": "open('/proc/sys/kernel/core_pattern', 'w')",
    "the network": "__import__('socket').create_connection(('127.0.0.1', {port}), 2)",
    "the grader's process": "__import__('os').kill({pid}, 0)",
    "a mount": "__import__('subprocess').run(['mount', '-t', 'tmpfs', 'none', '/tmp'], check=True)",
}


def make(root: Path, wiring: str) -> None:
    """The course's source and configuration, before nbgrader has generated anything."""
    (root / "source").mkdir(parents=True)
    shutil.copytree(GUIDE / "source" / ASSIGNMENT, root / "source" / ASSIGNMENT)
    shutil.copy(GUIDE / "source" / "header.ipynb", root / "source")
    (root / "source" / ASSIGNMENT / "kinds.ipynb").write_text(json.dumps(notebook(*KINDS)))
    (root / "nbgrader_config.py").write_text(wiring + HEADER)
    (root / "graders").mkdir()
    (root / "graders" / "test_sums.py").write_text(tiny_course.SUMS)
    (root / "graders" / "test_doubles.py").write_text(tiny_course.DOUBLES)
    config = tiny_course.CONFIG.replace('isolation="none",\n', "")
    (root / "grader_config.py").write_text(config)


def released(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "release" / ASSIGNMENT / f"{name}.ipynb").read_text())
    return found


def answered(made: dict[str, Any], **answers: str) -> dict[str, Any]:
    """A notebook with other texts in the cells of these names (with _ for -)."""
    for own in made["cells"]:
        own["source"] = answers.get(name_of(own).replace("-", "_"), own["source"])
    return made


def name_of(own: dict[str, Any]) -> str:
    """A cell's name; "" for one of the header that the course puts above every notebook, say."""
    return str(own["metadata"].get("nbgrader", {}).get("grade_id", ""))


def hand_in(root: Path, student: str, *, guide: str = "", **notebooks: dict[str, Any]) -> Path:
    """A submission: nbgrader's example of that name, or the release, with other notebooks in place of its own."""
    folder = root / "submitted" / student / ASSIGNMENT
    shutil.copytree(GUIDE / "submitted" / guide / ASSIGNMENT if guide else root / "release" / ASSIGNMENT, folder)
    for name, made in notebooks.items():
        (folder / f"{name}.ipynb").write_text(json.dumps(made))
    return folder


def hand_in_honest(root: Path) -> None:
    """What stock nbgrader grades, too: right, half right, and as released."""
    kinds = answered(
        released(root, "kinds"), double="def double(n):\n    return n + n", own_code="double(8)", why="So."
    )
    hand_in(root, "bitdiddle", guide="bitdiddle", kinds=kinds)
    hand_in(root, "hacker", guide="hacker", kinds=answered(released(root, "kinds"), double=HALF))
    hand_in(root, "untouched")


def hand_in_hostile(root: Path, port: int) -> None:
    """What must cost nobody but its student: attacks on the machine, endings of all kinds, a look at hidden
    tests from a renamed notebook without them."""
    guide = json.loads((GUIDE / "submitted" / "hacker" / ASSIGNMENT / "problem1.ipynb").read_text())
    attacks = tiny_course.cell("attacks", cheat(root, port))
    attacks["metadata"] = {}
    problem = answered({**guide, "nbformat_minor": 5, "cells": [attacks, *guide["cells"]]}, squares=SLOW)
    hand_in(root, "hostile", problem1=problem, kinds=answered(released(root, "kinds"), double=ENDS))
    peeking = answered(released(root, "kinds"), double=PEEKS, own_code="print(seen)")
    peeking["cells"] = [c for c in peeking["cells"] if name_of(c) != "double-tests"]
    folder = hand_in(root, "peeks", kinds=peeking)
    (folder / "kinds.ipynb").rename(folder / "my kinds (1).ipynb")


def cheat(root: Path, port: int) -> str:
    """A cell that tries all of CHEATS, and shows which of them worked and whether the worker has imported torch."""
    lines = ["import sys", "worked = []"]
    for name, expression in CHEATS.items():
        tried = expression.format(root=root, port=port, pid=os.getpid())
        lines += ["try:", f"    {tried}", f"    worked.append({name!r})", "except Exception: pass"]
    # The name in two parts: the worker imports torch where a notebook names it.
    return "\n".join([*lines, "print('worked:', worked, 'tor' + 'ch' in sys.modules)"])


def all_marks(root: Path) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """Every grade in the gradebook: automatic score, maximum, whether a person is needed, and nbgrader's comment."""
    found = {}
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        for submission in gradebook.find_assignment(ASSIGNMENT).submissions:
            for own in submission.notebooks:
                for grade in own.grades:
                    key = (submission.student.id, own.name, grade.cell.name)
                    found[key] = (grade.auto_score, float(grade.cell.max_score), bool(grade.needs_manual_grade))
    return found


def run_nbgrader(root: Path, *arguments: str) -> str:
    """Plain nbgrader, which must succeed; what it says."""
    done = nbgrader(root, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
