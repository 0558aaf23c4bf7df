"""No name or message of a student's is more than text: on a terminal, in a log, a page, a spreadsheet, an import."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from example_reports import check, report
from rich.console import Console

from autograder.cli.check import checks_table
from autograder.cli.collect_tables import show_intake
from autograder.cli.doctor import findings_table
from autograder.cli.ending import complain
from autograder.cli.grade import print_end, scores_table
from autograder.cli.whatif import comparisons_table, conclude_comparison, messages_table
from autograder.core.grade_report import Status
from autograder.core.rows import Points, rows_of
from autograder.core.text import clean_name, csv_cell, one_line, printable
from autograder.course import batch
from autograder.course.compare import Change, Comparison
from autograder.course.report_store import load_reports
from autograder.handin.collect import UploadOutcome
from autograder.handin.collect.intake import Intake, UploadState
from autograder.handin.collect.journal import open_record
from autograder.handin.collect.lms_names import SkippedEntry
from autograder.handin.roster import id_problem
from autograder.handin.submission import load_notebook
from autograder.jail import find_isolation
from autograder.pipeline import doctor
from autograder.review.whatif import write_csv
from tests import tiny_course
from tests.conftest import nbgrader
from tools.samples import executable

SCRIPT = "<script>alert(9)</script><img src=x onerror=alert(9)>"
FORMULA = '=HYPERLINK("http://evil.example")'
LINK = "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\\x1b[2J\x9b31m"
EVERYTHING = f"{FORMULA}{SCRIPT}{LINK}[bold]b[/bold][/]\u202egnp\u200b\r\b\udcff"
LONG = "A" * 10_000
FORGED = "eve\nada: not graded"


def unfit(text: str) -> set[str]:
    """The characters in a text that a terminal could obey, or that would show it otherwise than it is."""
    return {c for c in text if not c.isprintable() and c not in "\n\t"}


def console() -> Console:
    return Console(highlight=False, width=200, file=io.StringIO())


def shown(printed: Console) -> str:
    assert isinstance(printed.file, io.StringIO)
    text = printed.file.getvalue()
    assert unfit(text) == set()
    return text


NAMES = [EVERYTHING, LONG, FORGED]


@pytest.mark.parametrize("name", NAMES, ids=["everything", "long", "forged"])
class TestTables:
    """What commands print."""

    def test_scores(self, name: str) -> None:
        printed = console()
        rows = rows_of([report(name)], {})
        printed.print(scores_table(rows, {name: batch.BatchState.GRADED}, False))
        self.check_text(shown(printed), name)

    def test_checks(self, name: str) -> None:
        printed = console()
        failed = check("logits", "network-tests", 6, Status.ERROR, message=name, hint="h", place="c", line=1, code=name)
        printed.print(checks_table(report("eve", failed)))
        self.check_text(shown(printed), name)

    def test_the_end_of_a_batch(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        printed = console()
        outcomes = [
            batch.SubmissionOutcome(name, batch.BatchState.EMPTY, problem="nothing", remarks=(name,)),
            batch.SubmissionOutcome(name, batch.BatchState.FAULT, problem="a fault"),
        ]
        print_end(printed, batch.Batch(tuple(outcomes), Path("log")))
        self.check_text(shown(printed), name)
        said = capsys.readouterr().err
        assert unfit(said) == set()
        assert "\nada: not graded" not in said

    def test_comparisons(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        printed = console()
        for table in (comparisons_table([compared(name)], [50]), messages_table({("n", name, name): [name]})):
            printed.print(table)
        conclude_comparison(printed, [replace(compared(name), problem=name)])
        self.check_text(shown(printed), name, messages=True)
        assert unfit(capsys.readouterr().err) == set()

    def test_a_collection(self, name: str) -> None:
        printed = console()
        found = Intake(
            (UploadOutcome(name, UploadState.REFUSED, remarks=(clean_name(name),), late=(clean_name(name),)),),
            (SkippedEntry(name, f"fits {name}", (name,)),),
            (SkippedEntry(name, name),),
            (),
            (name,),
            (f"Columns: {name}",),
            None,
        )
        show_intake(printed, found, timezone.utc)
        self.check_text(shown(printed), name)

    def test_findings_of_the_machine(self, name: str) -> None:
        printed = console()
        printed.print(findings_table([doctor.Finding("course", doctor.Health.WARN, printable(name))]))
        shown(printed)

    @staticmethod
    def check_text(text: str, name: str, *, messages: bool = False) -> None:
        assert len(text) < 60_000
        if name is EVERYTHING:
            assert "[bold]b[/bold]" in text  # and not in bold
        if name is FORGED and not messages:
            assert not any(line.startswith("ada: not graded") for line in text.splitlines()), text


def compared(name: str) -> Comparison:
    before = check("logits", "network-tests", 6, Status.FAILED, message=name)
    change = Change("02_network", "network-tests", before, replace(before, status=Status.PASSED, earned=6.0))
    return Comparison(name, Points(1, 2), Points(2, 2), [change], [name], False)


def test_an_error_that_holds_a_name_is_printed_without_obeying_it(capsys: pytest.CaptureFixture[str]) -> None:
    complain(EVERYTHING + LONG)
    said = capsys.readouterr().err
    assert unfit(said) == set()
    assert LONG in said  # a class's names are not cut


def test_plain_text_in_any_script_stays_as_it_is() -> None:
    text = "Zoë Öztürk, 王小明, Пётр, محمد, 1 − 2 = −1, naïve ≈ 👍"
    assert printable(text) == one_line(text) == clean_name(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FORMULA, "'" + FORMULA),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1+1", "'＝1+1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠a", "'＠a"),
        ("\t=1", " '=1"),
        ("\r=1", "\N{REPLACEMENT CHARACTER}=1"),
        ("\n=1", " '=1"),
        ("  =1", "  '=1"),
        ("a;=1", "a;'=1"),  # read with ; between columns
        ('a"=1', "a\"'=1"),
        ("a\n-1", "a -1"),
        ("k = 3 - 1", "k = 3 - 1"),
        ("ada@example.org", "ada@example.org"),
    ],
)
def test_no_cell_of_a_csv_file_is_a_formula(text: str, expected: str) -> None:
    assert csv_cell(text) == expected


def test_csv_files_hold_names_as_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "whatif.csv", [compared(EVERYTHING), compared(FORMULA), compared(FORGED)], [50])
    with open_record(tmp_path, "tiny", datetime.now(timezone.utc)) as record:
        record.write("upload", student=FORMULA, original=EVERYTHING, remark=FORGED, person="a;=1")
    for path in tmp_path.glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1
        for text in (text for row in rows for text in row):
            assert unfit(text) == set()
            assert not text.lstrip().startswith(("=", "+", "@", "＝")), text
            assert ";=" not in text


@pytest.mark.parametrize("name", ["=1", "＝1", "@x", "<b>", 'a"b', "a`b", FORGED, "a\u202eb", "a\x1b[1m", "..", "a/b"])
def test_an_id_that_could_be_more_than_a_name_is_no_student(name: str) -> None:
    assert "is no student id" in id_problem(name)
    assert unfit(id_problem(name)) == set()


@pytest.mark.parametrize("name", ["ada", "O'Brien", "ada.lovelace@example.org", "Öztürk_12", "王小明"])
def test_ordinary_ids_are_taken(name: str) -> None:
    assert id_problem(name) == ""


# A submission with such names wherever a student can put one


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from strings(list(pair))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


LOUD = f"""
import sys
from IPython.display import HTML, display
NAME = {EVERYTHING!r} + {LONG!r}
print(NAME); print(NAME, file=sys.stderr); display(HTML(NAME)); display({{NAME: NAME}})
# {SCRIPT} {FORMULA} [bold] in a comment that a message may quote
Total = type(NAME, (), {{"__repr__": lambda self: NAME, "__module__": NAME}})
total = Total()
def helper(): raise type(NAME, (Exception,), {{}})(NAME)
helper.__name__ = NAME; helper.__code__ = helper.__code__.replace(co_name=NAME, co_filename=NAME)
helper()
"""
RAISING = f"""
NAME = {EVERYTHING!r} + {LONG!r}
def double(number): raise type(NAME, (ValueError,), {{}})(NAME)
"""


def loud_notebook(made: dict[str, Any]) -> dict[str, Any]:
    """With names where only the file's own text can have them."""
    name = EVERYTHING
    made["metadata"] |= {"title": name, "authors": [{"name": name}], "kernelspec": {"name": name, "display_name": name}}
    for cell in made["cells"]:
        cell["metadata"] |= {"tags": [name], "name": name}
    made["cells"] += [
        {"cell_type": "markdown", "id": "m", "metadata": {}, "source": f"# {name}\n[x](javascript:alert(9))"},
        {"cell_type": "raw", "id": "r", "metadata": {"raw_mimetype": "text/html"}, "source": name},
        {"cell_type": name, "id": name, "metadata": {}, "source": name},
    ]
    return made


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[bytes]]:
    """A course in which one student's submission is all such names, graded and with feedback; what nbgrader said."""
    root = tmp_path_factory.mktemp("loud") / "course"
    tiny_course.make(root)
    folder = tiny_course.hand_in(root, "eve", "1")
    for name, made in (("01_sums", tiny_course.sums(LOUD, EVERYTHING)), ("02_doubles", tiny_course.doubles(RAISING))):
        (folder / f"{name}.ipynb").write_text(json.dumps(loud_notebook(made)))
    for name in ("=HYPERLINK(1).txt", "[bold]x", "<img src=x onerror=alert(9)>.txt", "e\x1b[2J\u202e.txt", "a\nb"):
        (folder / name).touch()
        (folder / f"{name}.ipynb").write_text("no notebook")
    done = subprocess.run(
        [executable("nbgrader"), "autograde", tiny_course.ASSIGNMENT], cwd=root, capture_output=True, check=False
    )
    return root, done


def test_nbgraders_own_lines_steer_no_terminal(loud: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    _, done = loud
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).decode()
    said = re.sub(r"\x1b\[[0-9;]*m", "", said)  # nbgrader's own colours
    assert unfit(said) == set()
    assert "Skipping unknown notebook" in said


def test_reports_hold_text_only(loud: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    root, _ = loud
    (graded,) = load_reports(root, tiny_course.ASSIGNMENT)
    texts = list(strings(json.loads(graded.to_json())))
    assert any("[bold]b[/bold]" in text for text in texts)  # the names did get there
    for text in texts:
        assert unfit(text) == set(), text[:200]
    assert all(len(check.message) < 3000 and len(check.code) < 300 for check in graded.checks)


def test_commands_print_text_only(loud: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    root, _ = loud
    result = tiny_course.run("grade", "--course", root)
    assert result.exit_code == 0, result.output
    assert unfit(result.output) == set()
    assert "[bold]x" in result.output.replace("\n", "")
    log = (root / ".autograder" / "logs" / "nbgrader.log").read_text()
    assert {c for c in unfit(log) if ord(c) < 0xA0} == set()


def test_pages_hold_no_live_markup(loud: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    root, _ = loud
    done = nbgrader(root, "generate_feedback", tiny_course.ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    assert tiny_course.run("report", "--course", root).exit_code == 0
    pages = [*(root / "feedback").rglob("*.html"), *(root / "reports").rglob("students/*.html")]
    assert len(pages) == 3
    for page in pages:
        text = page.read_text()
        assert "alert(9)" in text  # it is shown …
        for live in ("<script>alert", "<img src=x onerror", 'href="javascript:', "\x1b"):
            assert live not in text, f"{live} in {page}"


def test_check_names_a_file_without_obeying_its_name(loud: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    root, _ = loud
    name = "[red]\x1b[2J\u202e\nok.ipynb"
    (root / name).write_text(json.dumps(tiny_course.sums("total = 50", "Why?")))
    (root / f"other{name}").write_text("{}")
    for path, status in ((root / name, 0), (root / f"other{name}", 2)):
        result = tiny_course.run("check", path, "--course", root)
        assert result.exit_code == status, result.output
        assert unfit(result.output) == set()


# What lies in a submission is never imported where scores are computed

PLANTED = ("conftest", "pytest", "sitecustomize", "usercustomize", "torch", "numpy", "click", "nbgrader", "autograder")


def plant(folder: Path, trace: Path) -> None:
    """Modules under names that somebody imports, each of which leaves a trace."""
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'a').write({name!r})")
    (folder / "evil.pth").write_text(f"import os; open({str(trace)!r}, 'a').write('pth')")
    (folder / "evil-1.dist-info").mkdir()
    (folder / "evil-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    points = "[pytest11]\nevil = conftest\n[console_scripts]\nnbgrader = conftest:main\n"
    (folder / "evil-1.dist-info" / "entry_points.txt").write_text(points)


def test_nothing_is_imported_from_a_submission_even_where_it_is_the_working_directory(tmp_path: Path) -> None:
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    root, trace = tmp_path / "course", tmp_path / "trace"
    tiny_course.make(root)
    config = root / "grader_config.py"
    config.write_text(config.read_text().replace('isolation="none"', 'isolation="bubblewrap"'))
    folder = tiny_course.hand_in(root, "eve", "50")
    plant(folder, trace)
    commands: Sequence[tuple[list[str], Path]] = [
        ([executable("nbgrader"), "autograde", tiny_course.ASSIGNMENT], root),
        ([executable("autograder"), "grade", "--force", "--course", str(root)], folder),
    ]
    for command, place in commands:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not trace.exists(), f"{command}: {trace.read_text()}"
    (graded,) = load_reports(root, tiny_course.ASSIGNMENT)
    assert {check.status for check in graded.checks} == {Status.PASSED}


def test_code_that_does_not_run_as_it_reads_is_told(tmp_path: Path) -> None:
    for name, total in (("task", "total = 50  # \u2066not\u2069 \u202e05"), ("twin", "total = 50  # שלום 👩‍🔬")):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(tiny_course.sums(total, "\u202ewhy")))
    _, notes = load_notebook(tmp_path / "task.ipynb", tmp_path / "twin.ipynb")
    assert notes[-1].text.startswith("its code holds signs that change the direction of text (U+202E, U+2066, U+2069)")
    _, notes = load_notebook(tmp_path / "twin.ipynb", tmp_path / "task.ipynb")
    assert notes == []
