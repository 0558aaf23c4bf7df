"""Marks that travel: every export is read back by an independent reader and has the gradebook's marks."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from nbgrader.api import Gradebook

from autograder.core.config import Feedback
from autograder.core.grade_report import GradeReport, Status
from autograder.course.folder import open_course
from autograder.course.report_store import load_report, save_report
from autograder.handin.content import content_digest
from autograder.review.exports import ExportError, Policy, gradescope, read_class
from autograder.review.exports.sheet import read_sheet
from tests import example_reports, tiny_course
from tests.conftest import nbgrader
from tests.example_reports import CELLS, check, report
from tests.tiny_course import run

NAME = "tiny"
FORMULA = "=cmd('calc')"
MANUAL = "sums-why"
MAXIMUM = 35.0
FINAL, WAITING = ("ada", "blaise", FORMULA), ("chen", "wanda")
CONFIG = tiny_course.CONFIG.replace("COURSE = Course(", "from autograder.config import Feedback\nCOURSE = Course(")
ROSTER = "student,canvas_id,moodle_id,email,login\nwanda,4717,Participant 77,wanda@example.edu,wanda1\n"


PENALTY = 3.5  # points for a day


def people() -> list[tuple[GradeReport, dict[str, str], float | None, float, float]]:
    """Report, names and ids, mark for `sums-why`, extra credit, late penalty."""
    formula = report(FORMULA, check("plain case", "sums-function", 4, Status.FAILED, message="=1+1, not 2"))
    odd = {"first_name": "new\nline", "last_name": 'O"Hara, "Scarlett"', "email": "scarlett@example.edu"}
    return [
        (report("ada"), {"lms_user_id": "4711", "email": "Ada@example.edu", "last_name": "Lovelace"}, 4.25, 0.5, 0),
        (example_reports.failing(), {"lms_user_id": "4712", "email": "blaise@example.edu"}, 2, 0, PENALTY),
        (example_reports.undecided(), {"lms_user_id": "4713", "email": "chen@example.edu"}, 3, 0, 0),
        (example_reports.broken(), {"lms_user_id": "4714", "email": "dorothy@example.edu"}, None, 0, 0),
        (formula, {"lms_user_id": "4715", **odd}, 5, 0, 0),
        (report("wanda"), {}, None, 0, 0),
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradebook of six who handed in and one, zoe, who did not."""
    root = tmp_path_factory.mktemp("exports") / "course"
    (root / "graders").mkdir(parents=True)
    for name in ("test_sums.py", "test_doubles.py"):
        (root / "graders" / name).write_text("")
    (root / "grader_config.py").write_text(CONFIG)
    wiring = (tiny_course.ROOT / "nbgrader_config.py").read_text()
    (root / "nbgrader_config.py").write_text(f"{wiring}\nc.LatePolicy.points_per_day = {PENALTY}\n")
    with pytest.MonkeyPatch.context() as patch:  # nbgrader starts `alembic` by name when it makes a gradebook
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        Gradebook(url(root)).close()
    with Gradebook(url(root)) as gradebook:
        gradebook.add_assignment(NAME, duedate="2026-03-01 12:00 UTC")
        for notebook, cells in CELLS.items():
            gradebook.add_notebook(notebook, NAME)
            for cell, points in cells.items():
                gradebook.add_grade_cell(cell, notebook, NAME, max_score=points, cell_type="code")
        gradebook.add_grade_cell(MANUAL, "01_sums", NAME, max_score=5, cell_type="markdown")
        gradebook.add_student("zoe", first_name="Zoë", email="zoe@example.edu", lms_user_id="4716")
        for graded, known, manual, extra, penalty in people():
            gradebook.add_student(graded.student, **known)
            record(gradebook, graded, manual, extra, penalty)
            save_report(root, graded)
    return root


def record(gradebook: Any, graded: GradeReport, manual: float | None, extra: float, penalty: float) -> None:
    """What grading and formgrader leave in the gradebook."""
    with gradebook.db.no_autoflush:  # nbgrader's own statement would warn
        moment = "2026-03-01 13:00 UTC" if penalty else "2026-03-01 11:00 UTC"
        submission = gradebook.add_submission(NAME, graded.student, timestamp=moment)
    scores = {(score.notebook, score.cell): score for score in graded.cell_scores()}
    for notebook in submission.notebooks:
        notebook.late_submission_penalty = penalty if notebook.name == "02_network" else None
        for grade in notebook.grades:
            if grade.cell.name == MANUAL:
                grade.manual_score, grade.extra_credit, grade.needs_manual_grade = manual, extra or None, manual is None
            else:
                score = scores[notebook.name, grade.cell.name]
                grade.needs_manual_grade = score.needs_person
                grade.auto_score = None if graded.is_internal else score.earned
    gradebook.db.commit()


def url(root: Path) -> str:
    return f"sqlite:///{root / 'gradebook.db'}"


def totals(root: Path) -> dict[str, float]:
    """What nbgrader's own export counts: score less late penalty, never below 0."""
    with Gradebook(url(root)) as gradebook:
        submissions = gradebook.find_assignment(NAME).submissions
        return {s.student.id: max(0.0, s.score - s.late_submission_penalty) for s in submissions}


def export(root: Path, *arguments: object) -> Result:
    """Of the class, which has marks that are not final: those stay blank unless something else is asked for."""
    chosen = () if "--provisional" in arguments else ("--final-only",)
    return run("export", "--course", root, *chosen, *arguments)


def as_text(student: str) -> str:
    """A student id as a spreadsheet gets it: no formula."""
    return f"'{student}" if student.startswith("=") else student


# Plain CSV


def test_every_number_of_the_plain_csv_is_the_gradebooks(course: Path) -> None:
    result = export(course, "--to", "csv", "--provisional")
    assert result.exit_code == 3, result.output
    table = pd.read_csv(course / "exports" / "tiny-csv.csv").set_index("student")
    held = totals(course)
    assert set(table.index) == {as_text(student) for student in (*held, "zoe")}
    for student in (*FINAL, *WAITING):
        row = table.loc[as_text(student)]
        assert row["total"] == pytest.approx(held[student])
        assert row["01_sums"] + row["02_network"] - row["late_penalty"] == pytest.approx(held[student])
    assert (table["maximum"] == MAXIMUM).all()
    ada, blaise = table.loc["ada"], table.loc["blaise"]
    assert (ada["01_sums/sums-why manual"], ada["01_sums/sums-why extra"]) == (4.25, 0.5)
    assert (blaise["01_sums/sums-function automatic"], blaise["late_penalty"], blaise["total"]) == (5.5, 3.5, 13.0)
    assert (blaise["01_sums/plain case"], blaise["02_network/channels double"]) == (2.5, 0)


def test_what_is_not_final_is_blank_and_named(course: Path) -> None:
    result = export(course, "--to", "csv")
    table = pd.read_csv(course / "exports" / "tiny-csv.csv").set_index("student")
    assert set(table.index[table["total"].notna()]) == {as_text(student) for student in FINAL}
    assert "chen: waiting for a manual mark (network-tests)" in result.output
    assert "wanda: waiting for a manual mark (sums-why)" in result.output
    assert "dorothy: not graded: the grader's own fault" in result.output
    assert table.loc["dorothy", "status"] == "not graded: the grader's own fault"
    numbers = table.loc["dorothy"].drop(["status", "email", "lms_id", "maximum", "late_penalty"])
    assert numbers.isna().all()
    assert table.loc["chen", "02_network/logits"] != table.loc["chen", "02_network/logits"]  # undecided: no number
    assert table.loc["zoe", "status"] == "nothing handed in"
    assert "Nothing handed in:\n  zoe (Zoë)" in result.output


OPEN = ("chen: waiting for a manual mark (network-tests)", "dorothy: not graded: the grader's own fault")


def test_nothing_is_written_where_a_mark_is_not_final(course: Path) -> None:
    result = run("export", "--course", course, "--to", "csv")
    assert result.exit_code == 1
    assert "3 of 7 marks are not final" in result.output
    assert all(words in " ".join(result.output.split()) for words in OPEN)
    assert not (course / "exports" / "tiny-csv.csv").exists()


def handed_in(course: Path, student: str, text: str) -> Path:
    place = course / "submitted" / student / NAME
    place.mkdir(parents=True, exist_ok=True)
    (place / "01_sums.ipynb").write_text(text)
    return place


def test_who_handed_in_and_was_not_graded_or_again_since_has_no_mark(course: Path) -> None:
    """Not the mark of what lay there before, and no 0."""
    handed_in(course, "carl", "{}")
    place = handed_in(course, "ada", "{}")
    graded = load_report(course, NAME, "ada")
    assert graded is not None
    save_report(course, replace(graded, content=content_digest(place)))
    assert "ada" not in export(course, "--to", "csv", "--zeros").output
    handed_in(course, "ada", "{ }")
    for policy in ("--final-only", "--provisional"):
        result = run("export", "--course", course, "--to", "csv", "--zeros", policy)
        assert result.exit_code == 3
        assert "ada (Lovelace): handed in again, or changed, since it was graded" in result.output
        assert "carl: handed in, but not graded" in result.output
        table = pd.read_csv(course / "exports" / "tiny-csv.csv").set_index("student")
        assert table.loc[["ada", "carl"], "total"].isna().all()
    refused = run("export", "--course", course, "--to", "csv")
    assert "carl: handed in, but not graded" in " ".join(refused.output.split())


def test_a_mark_by_other_rules_is_provisional(course: Path) -> None:
    graded = load_report(course, NAME, "ada")
    assert graded is not None
    save_report(course, replace(graded, rules="of last week"))
    words = "ada (Lovelace): graded before the graders or the configuration were changed"
    assert words in " ".join(run("export", "--course", course, "--to", "csv").output.split())
    final = export(course, "--to", "csv")
    assert words in " ".join(final.output.split())
    tables = []
    for policy in ("--final-only", "--provisional"):
        run("export", "--course", course, "--to", "csv", policy)
        tables.append(pd.read_csv(course / "exports" / "tiny-csv.csv").set_index("student").loc["ada", "total"])
    assert pd.isna(tables[0])
    assert tables[1] == totals(course)["ada"]


def test_columns_keep_their_order_whoever_is_in_the_class(course: Path) -> None:
    export(course, "--to", "csv")
    before = list(pd.read_csv(course / "exports" / "tiny-csv.csv"))
    assert not [name for name in before if "grader" in name]  # what stands for checks that did not run is none
    assert before[-6:-3] == ["01_sums/worked example", "01_sums/plain case", "01_sums/negative numbers"]
    book = read_class(open_course(course), NAME, ["dorothy", "zoe"])
    assert [f"{notebook}/{name}" for notebook, name in book.checks] == before[-6:]


def test_the_long_form_has_a_row_for_each_check(course: Path) -> None:
    export(course, "--to", "csv", "--long")
    table = pd.read_csv(course / "exports" / "tiny-csv-long.csv")
    assert len(table) == sum(len(graded.checks) for graded, *_ in people())
    blaise = table[(table["student"] == "blaise") & (table["check"] == "channels double")].iloc[0]
    assert (blaise["status"], blaise["earned"], blaise["maximum"]) == ("FAILED", 0, 8)
    assert "got [32, 64, 128, 128]" in blaise["message"]
    assert table[table["student"] == "dorothy"]["earned"].isna().all()
    undecided = table[table["status"] == "UNSUPPORTED"]
    assert len(undecided) == 1
    assert undecided["earned"].isna().all()


def test_no_text_is_a_formula_and_no_number_is_text(course: Path) -> None:
    export(course, "--to", "csv")
    with open(course / "exports" / "tiny-csv.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "-"))]
    (odd,) = [row for row in rows if row[0] == f"'{FORMULA}"]
    assert odd[1:3] == ['O"Hara, "Scarlett"', "new line"]
    export(course, "--to", "csv", "--long")
    messages = pd.read_csv(course / "exports" / "tiny-csv-long.csv")["message"].dropna()
    assert "'=1+1, not 2" in list(messages)


def test_the_two_forms_for_a_spreadsheet_do_not_overwrite_each_other(course: Path) -> None:
    for long in ((), ("--long",)):
        export(course, "--to", "csv", *long)
    assert "check" not in pd.read_csv(course / "exports" / "tiny-csv.csv")
    assert "check" in pd.read_csv(course / "exports" / "tiny-csv-long.csv")


def test_a_file_of_marks_is_for_its_owner_only(course: Path) -> None:
    export(course, "--to", "csv")
    assert (course / "exports" / "tiny-csv.csv").stat().st_mode & 0o777 == 0o600


def test_a_score_that_grading_did_not_give_is_named(course: Path) -> None:
    with Gradebook(url(course)) as gradebook:
        gradebook.find_grade("network-tests", "02_network", NAME, "ada").auto_score = 1
        gradebook.db.commit()
    result = export(course, "--to", "csv")
    assert "ada (Lovelace): the gradebook holds other scores than the latest report: grade again" in result.output
    table = pd.read_csv(course / "exports" / "tiny-csv.csv").set_index("student")
    assert table.loc["ada", "total"] == pytest.approx(totals(course)["ada"])


def test_nothing_is_exported_before_something_was_graded(course: Path) -> None:
    (course / "gradebook.db").unlink()
    result = export(course, "--to", "csv")
    assert result.exit_code == 1
    assert "run `autograder grade tiny` first" in result.output


# Canvas

CANVAS = (
    "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Tiny (12345),tiny warm-up (99),Final Score\r\n"
    ",,,,,Manual Posting,,\r\n"
    "    Points Possible,,,,,35.00,5.00,(read only)\r\n"
    '"Lovelace, Ada",4711,,ada1,"A, and B",,5.00,100.00\r\n'
    "Blaise,4712,,blaise1,A,13.00,,\r\n"
    "Chen,4713,,chen1,A,7.00,,\r\n"
    "Dorothy,4714,,dorothy1,A,,,\r\n"
    '"=HYPERLINK(""x"")",4715,,scarlett1,A,"2.00",,\r\n'
    "Wanda,4717,,wanda1,A,EX,,\r\n"
    "Zoë,4716,,zoe1,A,,,\r\n"
    "Grace,9999,,grace1,A,,,\r\n"
    '"Student, Test",9998,,,A,,,\r\n'
)
TINY = ("--column", "Tiny (12345)")


def canvas(root: Path, content: str, *options: object) -> tuple[Result, str]:
    """What the command says, and what it wrote ("" for nothing)."""
    exported, filled = root / "gradebook.csv", root / "filled.csv"
    exported.write_bytes(content.encode())
    result = export(root, "--to", "canvas", "--gradebook", exported, "--output", filled, *options)
    assert exported.read_bytes() == content.encode()
    return result, filled.read_bytes().decode() if filled.exists() else ""


def test_canvas_gradebook_is_filled_and_every_other_byte_stays(course: Path) -> None:
    result, filled = canvas(course, CANVAS, *TINY)
    expected = CANVAS.replace(',"A, and B",,', ',"A, and B",34.75,').replace('"2.00"', '"31"')
    assert filled == expected
    assert result.exit_code == 3
    assert "3 marks (1 changed, 1 as before)" in result.output
    assert f"{FORMULA} (new\N{REPLACEMENT CHARACTER}line" in result.output
    assert "2.00 → 31" in result.output
    assert "chen: waiting for a manual mark (network-tests); 7.00 stands in the table and stays" in result.output
    assert "Grace (9999): fits no student of the gradebook or the roster" in result.output
    assert "wanda: waiting for a manual mark (sums-why), but has no row in gradebook.csv" in result.output


def test_canvas_marks_read_by_pandas_are_the_gradebooks(course: Path) -> None:
    _, filled = canvas(course, CANVAS, *TINY, "--provisional")
    table = pd.read_csv(io.StringIO(filled.removeprefix("\ufeff"))).set_index("ID")
    before = pd.read_csv(io.StringIO(CANVAS.removeprefix("\ufeff"))).set_index("ID")
    held = totals(course)
    for user, student in ((4711, "ada"), (4712, "blaise"), (4713, "chen"), (4715, FORMULA)):
        assert float(table.loc[user, "Tiny (12345)"]) == pytest.approx(held[student])
    assert table.loc[[4714, 4716]]["Tiny (12345)"].isna().all()
    pd.testing.assert_frame_equal(table.drop(columns=TINY[1]), before.drop(columns=TINY[1]))


def test_an_excused_student_stays_excused_and_a_roster_says_who_a_login_is(course: Path) -> None:
    (course / "roster.csv").write_text(ROSTER.replace("4717", ""))
    result, filled = canvas(course, CANVAS, *TINY, "--provisional", "--roster", course / "roster.csv")
    assert "wanda1,A,EX," in filled
    assert "wanda: EX stands in the table and stays" in result.output
    _, filled = canvas(course, CANVAS.replace("A,EX", "A,"), *TINY, "--provisional", "--roster", course / "roster.csv")
    assert f"wanda1,A,{totals(course)['wanda']:g}," in filled


def test_who_handed_nothing_in_gets_a_zero_only_where_that_is_wanted(course: Path) -> None:
    assert "zoe1,A,,," in canvas(course, CANVAS, *TINY)[1]
    assert "zoe1,A,0,," in canvas(course, CANVAS, *TINY, "--zeros")[1]


def test_a_row_that_fits_two_students_is_nobodys(course: Path) -> None:
    (course / "roster.csv").write_text("student,canvas_id\nblaise,4711\n")
    result, filled = canvas(course, CANVAS, *TINY, "--roster", course / "roster.csv")
    assert "Lovelace, Ada (4711): fits several students (ada, blaise)" in result.output
    assert ',"A, and B",,' in filled


def test_other_points_possible_are_refused_or_scaled(course: Path) -> None:
    content = CANVAS.replace("35.00", "70.00")
    result, filled = canvas(course, content, *TINY)
    assert (result.exit_code, filled) == (1, "")
    assert "'Tiny (12345)' of gradebook.csv has 70 points, tiny 35" in result.output
    _, filled = canvas(course, content, *TINY, "--scale")
    assert ',"A, and B",69.5,' in filled


def test_semicolons_and_decimal_commas_stay(course: Path) -> None:
    lines = ["Student;ID;SIS Login ID;Section;tiny (1)", "    Points Possible;;;;35,00", "Ada;4711;a;A;"]
    result, filled = canvas(course, "\n".join(lines))
    assert filled == "\n".join([*lines[:2], "Ada;4711;a;A;34,75"]), result.output
    lines = [line.replace(";", ",").replace("35,00", '"35,00"') for line in lines]
    assert canvas(course, "\n".join(lines))[1].endswith('\nAda,4711,a,A,"34,75"')


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (CANVAS, (), "2 columns begin with 'tiny': choose with --column among 'Tiny (12345)', 'tiny warm-up (99)'"),
        (CANVAS, ("--column", "Tiny (1)"), "has no column 'Tiny (1)'; its columns are 'Student'"),
        (CANVAS, ("--column", "Final Score"), "is no assignment's column: (read only) stands in Points Possible"),
        (CANVAS.replace("iny", "oy"), (), "no column begins with 'tiny'"),
        (CANVAS.replace("Points Possible", "Points"), TINY, "has 0 rows 'Points Possible'"),
        (CANVAS.replace(",ID,", ",Number,"), TINY, "has no column 'ID'"),
        (CANVAS.replace("Blaise,4712", "Blaise,4711"), TINY, "two rows are those of ada"),
        (CANVAS.replace("Chen,", "Chen, Li,"), TINY, "row 6 has 9 cells, the header 8"),
        (CANVAS + '"', TINY, "cannot be read as CSV"),
        (" ", TINY, "is empty"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(
    course: Path, content: str, options: tuple[str, ...], words: str
) -> None:
    result, filled = canvas(course, content, *options)
    assert (result.exit_code, filled) == (1, ""), result.output
    assert words in result.output


def test_the_exported_gradebook_is_never_overwritten(course: Path) -> None:
    exported = course / "gradebook.csv"
    exported.write_text(CANVAS)
    result = export(course, "--to", "canvas", "--gradebook", exported, "--output", exported, *TINY)
    assert result.exit_code == 1
    assert "name another --output" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "canvas"), "--to canvas needs --gradebook"),
        (("--to", "csv", "--scale"), "--scale is for --to canvas or moodle, not for csv"),
        (("--to", "moodle", "--long"), "--long is for --to csv"),
        (("--to", "moodle", "--scale"), "give --worksheet"),
        (("--to", "csv", "other"), "no assignment 'other'"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(course: Path, options: tuple[str, ...], words: str) -> None:
    result = export(course, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


@pytest.mark.parametrize(
    "text", ['a,"b ""c"", d"\r\n\r\n"e\nf",', "a\rb\r", "a;b;c\n1;2;3", '"a"', 'a"b,c\n', "\ufeffa\n"]
)
def test_a_sheet_without_changes_is_the_same_bytes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(text.encode())
    assert read_sheet(path).filled({}) == text.encode()


# Moodle

WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (grade),"
    "Feedback comments\n"
    'Participant 4711,Ada Lovelace,ada@example.edu,Submitted,,35.00,Yes,-,""\n'
    'Participant 12,Blaise,blaise@example.edu,Submitted,12.00,35.00,Yes,"Monday, 2 March 2026",""\n'
    'Participant 4713,Mallory,mallory@example.edu,Submitted,,35.00,Yes,-,""\n'
    'Participant 77,W.,,Submitted,,35.00,Yes,-,""\n'
)


def worksheet(root: Path, *options: object, content: str = WORKSHEET) -> tuple[Result, str]:
    (root / "worksheet.csv").write_text(content)
    filled = root / "filled.csv"
    result = export(root, "--to", "moodle", "--worksheet", root / "worksheet.csv", "--output", filled, *options)
    return result, filled.read_text() if filled.exists() else ""


def test_moodles_import_has_the_gradebooks_marks_by_address(course: Path) -> None:
    result = export(course, "--to", "moodle", "--comments")
    table = pd.read_csv(course / "exports" / "tiny-moodle.csv").set_index("Email address")
    held = totals(course)
    assert dict(table["tiny"]) == {
        "Ada@example.edu": held["ada"],
        "blaise@example.edu": held["blaise"],
        "scarlett@example.edu": held[FORMULA],
    }
    assert table.loc["blaise@example.edu", "tiny (feedback)"] == "01_sums: 10.5 / 15; 02_network: 6 / 20; late: -3.5"
    assert result.exit_code == 3


def test_moodle_names_whose_address_is_not_known(course: Path) -> None:
    result = export(course, "--to", "moodle", "--provisional")
    assert "wanda: 30 points, but no Email address in the gradebook" in result.output
    (course / "roster.csv").write_text(ROSTER)
    export(course, "--to", "moodle", "--provisional", "--roster", course / "roster.csv", "--column", "CNN")
    table = pd.read_csv(course / "exports" / "tiny-moodle.csv").set_index("Email address")
    assert table.loc["wanda@example.edu", "CNN"] == 30
    export(course, "--to", "moodle", "--by", "id-number")
    assert set(pd.read_csv(course / "exports" / "tiny-moodle.csv")["ID number"]) == {4711, 4712, 4715}


def test_moodles_worksheet_is_filled_where_nothing_contradicts_the_id(course: Path) -> None:
    (course / "roster.csv").write_text(ROSTER)
    result, filled = worksheet(course, "--provisional", "--roster", course / "roster.csv")
    grades = pd.read_csv(io.StringIO(filled)).set_index("Identifier")["Grade"]
    held = totals(course)
    assert grades["Participant 4711"] == held["ada"]
    assert grades["Participant 12"] == held["blaise"]
    assert grades["Participant 77"] == held["wanda"]
    assert pd.isna(grades["Participant 4713"])
    assert "Mallory (Participant 4713): has the LMS id of chen, but another e-mail address" in result.output
    assert "blaise: 12.00 → 13" in result.output
    assert '"Monday, 2 March 2026",""' in filled


def test_a_name_contradicts_an_id_where_no_address_is_known(course: Path) -> None:
    content = WORKSHEET.replace("Ada Lovelace,ada@example.edu", "Grace Hopper,")
    result, filled = worksheet(course, content=content)
    assert "Grace Hopper (Participant 4711): has the LMS id of ada (Lovelace), but another name" in result.output
    assert "Participant 4711,Grace Hopper,,Submitted,,35.00" in filled


def test_a_worksheet_has_comments_only_where_they_are_wanted(course: Path) -> None:
    _, filled = worksheet(course, "--comments")
    comments = pd.read_csv(io.StringIO(filled)).set_index("Identifier")["Feedback comments"]
    assert comments["Participant 4711"] == "01_sums: 14.75 / 15; 02_network: 20 / 20"
    assert comments.drop(["Participant 4711", "Participant 12"]).isna().all()
    assert pd.read_csv(io.StringIO(worksheet(course)[1]))["Feedback comments"].isna().all()


def test_a_worksheet_of_other_points_or_another_language_is_refused(course: Path) -> None:
    assert "has 100 points, tiny 35" in worksheet(course, content=WORKSHEET.replace("35.00", "100"))[0].output
    result, filled = worksheet(course, content=WORKSHEET.replace("Grade,Max", "Bewertung,Max"))
    assert (result.exit_code, filled) == (1, "")
    assert "has no column 'Grade'" in result.output


# Gradescope: the fields and values that its autograder documentation publishes

VISIBILITIES = ("hidden", "after_due_date", "after_published", "visible")
FORMATS = ("text", "html", "simple_format", "md", "ansi")
TOP: Mapping[str, object] = {
    "score": (int, float),
    "execution_time": int,
    "output": str,
    "output_format": FORMATS,
    "test_output_format": FORMATS,
    "test_name_format": FORMATS,
    "visibility": VISIBILITIES,
    "stdout_visibility": VISIBILITIES,
    "extra_data": dict,
    "tests": list,
    "leaderboard": list,
}
TEST: Mapping[str, object] = {
    "score": (int, float),
    "max_score": (int, float),
    "status": ("passed", "failed"),
    "name": str,
    "name_format": FORMATS,
    "number": str,
    "output": str,
    "output_format": FORMATS,
    "tags": list,
    "visibility": VISIBILITIES,
    "extra_data": dict,
}


def assert_fits(record: Mapping[str, object], fields: Mapping[str, object]) -> None:
    for name, value in record.items():
        wanted = fields[name]
        if isinstance(wanted, tuple) and isinstance(wanted[0], str):
            assert value in wanted, (name, value)
        else:
            assert isinstance(value, wanted), (name, value)  # type: ignore[arg-type]


def results(root: Path, feedback: Feedback, policy: Policy | None = None) -> dict[str, dict[str, Any]]:
    """By student, what Gradescope would read."""
    folder = root / "gradescope"
    gradescope.write_results(folder, read_class(open_course(root), NAME), policy or Policy(), feedback)
    read = [json.loads(path.read_text()) for path in folder.glob("*/results.json")]
    return {record["extra_data"]["student"]: record for record in read}


def test_gradescope_gets_the_gradebooks_totals_in_the_published_form(course: Path) -> None:
    found = results(course, Feedback(), Policy(provisional=True, zeros=True))
    held = totals(course) | {"zoe": 0.0}
    del held["dorothy"]  # through the grader's own fault: no score
    assert {student: record["score"] for student, record in found.items()} == pytest.approx(held)
    for record in found.values():
        assert_fits(record, TOP)
        for test in record["tests"]:
            assert_fits(test, TEST)
        assert len({test["number"] for test in record["tests"]}) == len(record["tests"])


def test_gradescopes_tests_add_up_to_the_marks_before_a_late_penalty(course: Path) -> None:
    record = results(course, Feedback())["blaise"]
    assert sum(test.get("score", 0) for test in record["tests"]) == pytest.approx(record["score"] + 3.5)
    assert record["output"] == "Late penalty: -3.5 points."
    assert sum(test.get("max_score", 0) for test in record["tests"]) == MAXIMUM


def test_a_cell_that_a_person_marked_has_the_persons_points(course: Path) -> None:
    tiny_course.give_mark(course, "ada", "02_network", "network-tests", 12)
    record = results(course, Feedback())["ada"]
    whole = [test for test in record["tests"] if test["name"] == "02_network: network-tests, marked by a person"]
    assert [(test["score"], test["max_score"]) for test in whole] == [(12, 20)]
    assert sum(test.get("score", 0) for test in record["tests"]) == pytest.approx(totals(course)["ada"])


def test_gradescope_shows_what_the_feedback_policy_shows(course: Path) -> None:
    by_check = {"logits": "never", "channels double": "title only", "sums-function": "after the deadline"}
    record = results(course, Feedback(by_check=by_check))["blaise"]
    shown = {test["name"]: (test["visibility"], bool(test["output"])) for test in record["tests"]}
    assert shown["Logits"] == ("hidden", False)
    assert shown["Channels double"] == ("visible", False)
    assert shown["Plain case"] == ("after_due_date", True)
    assert shown["Weights learn"] == ("visible", True)


def test_the_course_decides_what_gradescope_shows(course: Path) -> None:
    (course / "grader_config.py").write_text(
        CONFIG.replace("COURSE = Course(", 'COURSE = Course(feedback=Feedback("never"), assignments=', 1)
    )
    result = export(course, "--to", "gradescope")
    assert result.exit_code == 3, result.output
    record = json.loads((course / "exports" / "tiny-gradescope" / "ada" / "results.json").read_text())
    assert {test["visibility"] for test in record["tests"] if "check" in test["extra_data"]} == {"hidden"}


def test_a_result_that_no_longer_counts_is_deleted(course: Path) -> None:
    assert "wanda" in results(course, Feedback(), Policy(provisional=True))
    assert set(results(course, Feedback())) == set(FINAL)


@pytest.mark.parametrize("student", ["..", "../ada", "a/b", FORMULA, "a\nb", "ä", "x" * 300, "", ".git", "%41"])
def test_a_students_folder_stays_in_its_place(tmp_path: Path, student: str) -> None:
    name = gradescope.folder_name(student)
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert len(name.encode()) < 255
    assert name.isprintable()
    assert gradescope.folder_name(name) != name or name == student


def test_a_hostile_report_is_text_in_gradescope(course: Path) -> None:
    with Gradebook(url(course)) as gradebook:
        graded = example_reports.hostile()
        gradebook.add_student(graded.student)
        record(gradebook, graded, 1, 0, 0)
    hostile = next(r for s, r in results(course, Feedback(), Policy()).items() if s.startswith("eve"))
    assert {hostile[f"{kind}_format"] for kind in ("output", "test_output", "test_name")} == {"text"}
    assert "\x1b" not in json.dumps(hostile, ensure_ascii=False)
    assert "\u202e" not in json.dumps(hostile, ensure_ascii=False)


# nbgrader's own command

PLUGINS = "autograder.review.exports.plugins"


def test_nbgraders_export_writes_the_plain_csv(course: Path) -> None:
    done = nbgrader(
        course, "export", f"--exporter={PLUGINS}.ChecksCsv", "--ChecksCsv.final_only=True", "--to", "checks.csv"
    )
    assert done.returncode == 0, done.stderr
    assert "No mark was written: wanda: waiting for a manual mark (sums-why)" in done.stderr
    table = pd.read_csv(course / "checks.csv").set_index("student")
    for student in FINAL:
        assert table.loc[as_text(student), "total"] == pytest.approx(totals(course)[student])


def test_nbgraders_export_writes_for_moodle_with_the_students_that_are_named(course: Path) -> None:
    named = ("--assignment=['tiny']", "--student=['ada','wanda']", "--MoodleCsv.provisional=True")
    done = nbgrader(course, "export", f"--exporter={PLUGINS}.MoodleCsv", "--MoodleCsv.final_only=True", *named)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(course / "grades.csv")
    assert dict(zip(table["Email address"], table["tiny"], strict=True)) == {"Ada@example.edu": totals(course)["ada"]}
    assert "wanda: 30 points, but no Email address" in done.stderr


def test_nbgraders_export_fills_the_canvas_gradebook(course: Path) -> None:
    (course / "gradebook.csv").write_text(CANVAS)
    command = ("export", f"--exporter={PLUGINS}.CanvasCsv", "--CanvasCsv.final_only=True", "--to", "filled.csv")
    done = nbgrader(course, *command)
    assert done.returncode == 1
    assert "name the gradebook that you have exported from Canvas: --CanvasCsv.gradebook=FILE" in done.stderr
    done = nbgrader(course, *command, "--CanvasCsv.gradebook=gradebook.csv", "--CanvasCsv.column=Tiny (12345)")
    assert done.returncode == 0, done.stderr
    assert ',"A, and B",34.75,' in (course / "filled.csv").read_text()


def test_a_student_whom_nobody_knows_cannot_be_exported(course: Path) -> None:
    with pytest.raises(ExportError, match="knows the student 'nobody'"):
        read_class(open_course(course), NAME, ["nobody"])
