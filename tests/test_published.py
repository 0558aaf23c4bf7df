"""What lies in `autograded/`, which formgrader serves, and in `feedback/`: notebooks or pages, weights, own files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.core.grade_report import CellRun, NotebookRun, Status
from autograder.course.folder import open_course
from autograder.course.published import is_checkpoint
from autograder.course.report_store import load_report
from autograder.pipeline.shown_outputs import LEFT_OUT, MOST_PICTURES, MOST_TEXT, bound_outputs
from autograder.review.feedback import exporter as feedback_exporter
from autograder.review.feedback.generate import generate_feedback
from autograder.review.feedback.markdown import render_markdown
from autograder.review.staff_report.page_names import student_page
from tests import tiny_course
from tests.conftest import nbgrader

PAGE = "<!DOCTYPE html><html><script>taken()</script></html>"
ACTIVE = [
    "plot.html",
    "PLOT.HTM",
    "page.Xhtml",
    "plot.html.ipynb.html",
    "drawing.svg",
    "drawing.svgz",
    "data.xml",
    "style.xsl",
    "report.pdf",
    "movie.swf",
    "script.js",
    "module.mjs",
    "style.css",
    "mail.mht",
    "mail.eml",
    "notes",
    "notes.txt",
    "notes.bin",
    "README",
    ".htaccess",
    "a.ipynb.html",
    "01_sums.IPYNB",
    "deep/er/plot.html",
    "deep/index",
    "feedback/plot.html",
    "images/01_sums.html",
    "..%2fplot.html",
    "%2e%2e%2fplot.html",
    "a\"b'c.html",
    "a b<c>.html",
    "?x=1.html",
    "#.html",
    "model.pth",
    "model.safetensors.html",
    "sub/model.safetensors",
]
TENSORS = (2).to_bytes(8, "little") + b"{}"
HEADER = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
OTHER_TENSORS = len(HEADER).to_bytes(8, "little") + HEADER + b"x"


def add_checkpoint(root: Path) -> None:
    """Let the tiny course declare weights, which no grader looks at."""
    config = root / "grader_config.py"
    probes = "from autograder.config import CheckpointProbe, ModuleProbe, TransformProbe\n"
    net = 'modules=[ModuleProbe("Net")], transforms=[TransformProbe("t", images=["natural"])],'
    net += 'checkpoint=CheckpointProbe("model", module="Net", transform="t"),'
    text = config.read_text().replace('answers=[AnswerProbe("total")],', f'answers=[AnswerProbe("total")], {net}')
    config.write_text(probes + text)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published") / "course"
    tiny_course.make(root)
    add_checkpoint(root)
    source = root / "source" / tiny_course.ASSIGNMENT
    (source / "kit.py").write_text("the course's own")
    (source / "data").mkdir()
    (source / "data" / "table.csv").write_text("1,2")
    tiny_course.keep_results(root, hand_in_what_tests_do)
    return root


def hand_in(root: Path, student: str) -> Path:
    folder = tiny_course.hand_in(root, student, "50")
    for name in ACTIVE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PAGE)
    (folder / "kit.py").write_text(PAGE)
    (folder / "model.safetensors").write_bytes(TENSORS)
    (folder / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    return folder


def hand_in_what_tests_do(root: Path) -> None:
    """Everything, everything but what is looked for by name, and the notebooks alone."""
    hand_in(root, "eve")
    bare = hand_in(root, "bare")
    for name in ("model.safetensors", "timestamp.txt"):
        (bare / name).unlink()
    tiny_course.hand_in(root, "plain", "50")


OWN = {"kit.py", "data/table.csv"}
GRADED = {"01_sums.ipynb", "02_doubles.ipynb", "model.safetensors", "timestamp.txt", *OWN}
PAGES = {"01_sums.html", "02_doubles.html", "timestamp.txt"}


def files_in(root: Path, step: str, student: str) -> set[str]:
    folder = root / step / student / tiny_course.ASSIGNMENT
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


COMMANDS = {
    "the class": ["nbgrader", "autograde", tiny_course.ASSIGNMENT],
    "one student": ["nbgrader", "autograde", tiny_course.ASSIGNMENT, "--student", "eve"],
    "by force": ["nbgrader", "autograde", tiny_course.ASSIGNMENT, "--force"],
    "one notebook": ["nbgrader", "autograde", tiny_course.ASSIGNMENT, "--notebook", "01_sums", "--force"],
    "the engine's own": ["autograder", "grade", tiny_course.ASSIGNMENT, "--no-report"],
}


@pytest.mark.parametrize("how", COMMANDS)
def test_no_file_of_a_students_lies_where_formgrader_serves_it(course: Path, how: str) -> None:
    submitted = hand_in(course, "eve")
    handed_in = {path: path.read_bytes() for path in submitted.rglob("*") if path.is_file()}
    old = course / "autograded" / "eve" / tiny_course.ASSIGNMENT
    if how in ("by force", "one notebook"):  # graded before, by a grader that let everything through
        shutil.copytree(submitted, old)
        (old / "link.html").symlink_to("/etc/passwd")
        (old / "__pycache__").mkdir()
        (old / "__pycache__" / "kit.cpython-311.pyc").write_text(PAGE)
    program, *arguments = COMMANDS[how]
    done = tiny_course.run(*arguments[:1], "--course", course, *arguments[1:]) if program == "autograder" else None
    log = done.output if done is not None else nbgrader(course, *arguments).stderr
    assert not [line for line in log.splitlines() if "Copying" in line and "/submitted/" in line]  # at no moment
    assert files_in(course, "autograded", "eve") == GRADED, log
    assert (old / "kit.py").read_text() == "the course's own"
    assert (old / "model.safetensors").read_bytes() == TENSORS
    assert {path: path.read_bytes() for path in submitted.rglob("*") if path.is_file()} == handed_in
    report = load_report(course, tiny_course.ASSIGNMENT, "eve")
    assert report is not None
    assert report.earned == 18


def test_a_newer_submission_replaces_the_older_one(course: Path) -> None:
    submitted = hand_in(course, "eve")
    assert nbgrader(course, "autograde", tiny_course.ASSIGNMENT).returncode == 0
    graded = course / "autograded" / "eve" / tiny_course.ASSIGNMENT
    assert (graded / "timestamp.txt").read_text() == "2026-01-02 03:04:05 UTC\n"
    (submitted / "timestamp.txt").write_text("2026-02-03 04:05:06 UTC")
    (submitted / "model.safetensors").unlink()
    done = nbgrader(course, "autograde", tiny_course.ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    assert files_in(course, "autograded", "eve") == GRADED - {"model.safetensors"}
    assert (graded / "timestamp.txt").read_text() == "2026-02-03 04:05:06 UTC\n"


@pytest.mark.parametrize(
    ("name", "content", "is_one"),
    [
        ("model.safetensors", TENSORS, True),
        ("model.safetensors", (100).to_bytes(8, "little") + b"{}", False),
        ("model.safetensors", b"\x7b" + bytes(7) + PAGE.encode() + bytes(200), False),
        ("model.safetensors", b"<!DOCTYPE html>" + bytes(99), False),
        ("model.safetensors", b"", False),
        ("model.safetensors", b"<b " + bytes(5) + b"{" + b" " * (1 << 22), False),
        ("model.pt", b"PK\x03\x04" + PAGE.encode(), True),
        ("model.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", True),
        ("model.pt", PAGE.encode(), False),
        ("model.pt", b"%PDF-1.7", False),
        ("model.pt", b"\x80", False),
    ],
)
def test_weights_begin_as_their_name_says(tmp_path: Path, name: str, content: bytes, is_one: bool) -> None:
    (tmp_path / name).write_bytes(content)
    with open(tmp_path / name, "rb") as file:
        assert is_checkpoint(name, file) == is_one
        assert file.tell() == 0


IN_PLACE_OF_A_FILE: dict[str, Callable[[Path], None]] = {
    "a folder": lambda path: (path / "data.pkl").mkdir(parents=True),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a pipe": lambda path: os.mkfifo(path),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("what", IN_PLACE_OF_A_FILE)
def test_what_lies_in_place_of_a_file_costs_the_file_only(course: Path, what: str) -> None:
    """Weights, the time and the exchange's secret are looked for by name, and anything can have the name."""
    folder = hand_in(course, "eve")
    for name in ("model.safetensors", "model.pt", "timestamp.txt", "submission_secret.txt"):
        (folder / name).unlink(missing_ok=True)
        IN_PLACE_OF_A_FILE[what](folder / name)
    done = tiny_course.grade(course)
    assert done.exit_code == 0, done.output
    assert files_in(course, "autograded", "eve") == GRADED - {"model.safetensors", "timestamp.txt"}
    report = load_report(course, tiny_course.ASSIGNMENT, "eve")
    assert report is not None
    assert report.earned > 0


def test_a_page_under_the_name_of_weights_stays_out(course: Path) -> None:
    submitted = hand_in(course, "eve")
    (submitted / "model.safetensors").write_text(PAGE)
    (submitted / "model.pt").write_text(PAGE)
    (submitted / "submission_secret.txt").write_text(PAGE)
    assert nbgrader(course, "autograde", tiny_course.ASSIGNMENT).returncode == 0
    assert files_in(course, "autograded", "eve") == GRADED - {"model.safetensors"}


def test_the_weights_that_are_graded_are_there_under_a_declared_name(course: Path) -> None:
    submitted = hand_in(course, "eve")
    (submitted / "model.safetensors").unlink()
    (submitted / "runs").mkdir()
    (submitted / "runs" / "Best (1).html").write_bytes(TENSORS)
    assert nbgrader(course, "autograde", tiny_course.ASSIGNMENT).returncode == 0
    assert files_in(course, "autograded", "eve") == GRADED
    graded = course / "autograded" / "eve" / tiny_course.ASSIGNMENT
    assert (graded / "model.safetensors").read_bytes() == TENSORS
    report = load_report(course, tiny_course.ASSIGNMENT, "eve")
    assert report is not None
    assert report.facts["checkpoint"].startswith("runs/Best (1).html, 10 bytes")
    assert "runs/Best (1).html" not in {file.name for file in report.files}
    (submitted / "last.safetensors").write_bytes(OTHER_TENSORS)
    assert nbgrader(course, "autograde", tiny_course.ASSIGNMENT).returncode == 0
    assert files_in(course, "autograded", "eve") == GRADED - {"model.safetensors"}  # it is not clear which counts


def test_feedback_holds_pages_only_and_old_folders_are_cleaned(course: Path) -> None:
    submitted = hand_in(course, "eve")
    (submitted / "submission_secret.txt").write_text("0123456789abcdef" * 8)
    assert nbgrader(course, "autograde", tiny_course.ASSIGNMENT).returncode == 0
    assert nbgrader(course, "generate_feedback", tiny_course.ASSIGNMENT).returncode == 0
    wanted = {*PAGES, "submission_secret.txt"}
    assert files_in(course, "feedback", "eve") == wanted
    for step in ("autograded", "feedback"):  # as an earlier grader left them
        (course / step / "eve" / tiny_course.ASSIGNMENT / "plot.html").write_text(PAGE)
    assert nbgrader(course, "generate_feedback", "--force", tiny_course.ASSIGNMENT).returncode == 0
    assert files_in(course, "feedback", "eve") == wanted
    (course / "feedback" / "eve" / tiny_course.ASSIGNMENT / "plot.html").write_text(PAGE)
    one = ("--force", "--notebook", "01_sums", "--student", "eve")
    assert nbgrader(course, "generate_feedback", *one, tiny_course.ASSIGNMENT).returncode == 0
    assert files_in(course, "feedback", "eve") == wanted
    assert tiny_course.run("feedback", "--course", course, "--markdown", "--json").exit_code == 0
    assert files_in(course, "feedback", "eve") == {*wanted, "feedback.md", "feedback.json"}


def test_what_else_was_handed_in_is_listed_for_the_staff_and_not_for_the_student(course: Path) -> None:
    submitted = hand_in(course, "eve")
    for number in range(100):
        (submitted / f"zz-{number}.html").write_text(PAGE)
    tiny_course.grade(course)
    report = load_report(course, tiny_course.ASSIGNMENT, "eve")
    assert report is not None
    listed = {file.name: file.size for file in report.files}
    assert listed["plot.html"] == len(PAGE)
    assert len(listed) == 40
    assert report.more_files > 80
    assert "model.safetensors" not in listed
    assert tiny_course.run("report", "--course", course).exit_code == 0
    page = (course / "reports" / tiny_course.ASSIGNMENT / "students" / student_page("eve")).read_text()
    assert f"<bdi>plot.html</bdi> ({len(PAGE)} bytes)" in page
    assert f"and {report.more_files} more" in page
    assert nbgrader(course, "generate_feedback", tiny_course.ASSIGNMENT).returncode == 0
    feedback = course / "feedback" / "eve" / tiny_course.ASSIGNMENT
    assert not [path for path in feedback.glob("*.html") if "plot.html" in path.read_text()]


# Every notebook gets a page


def test_a_notebook_that_takes_too_much_gets_a_plain_page_and_the_others_theirs(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if SafeMarkup had let it through: the page's own limits are the second line."""
    tiny_course.hand_in(course, "eve", "50", why="Because.")
    tiny_course.grade(course)
    monkeypatch.setattr(feedback_exporter, "PAGE_SECONDS", 3.0)
    path = course / "autograded" / "eve" / tiny_course.ASSIGNMENT / "01_sums.ipynb"
    path.chmod(0o644)
    for bomb in (
        "".join(f'<b title="{i}"><p>' for i in range(20_000)),
        "&#57344;0&#57345;" * 9_000 + "$x$",
        "a|b\n-|-\n" * 99_999,
    ):
        notebook = json.loads(path.read_text())
        notebook["cells"][2]["source"] = bomb
        path.write_text(json.dumps(notebook))
        made = generate_feedback(open_course(course), tiny_course.ASSIGNMENT, ["eve"], {"feedback.md": render_markdown})
        assert not made.failed
        folder = course / "feedback" / "eve" / tiny_course.ASSIGNMENT
        assert files_in(course, "feedback", "eve") >= {"01_sums.html", "02_doubles.html", "feedback.md"}
        assert (folder / "01_sums.html").stat().st_size < 1 << 20
        assert "The notebook itself is not shown here" not in (folder / "02_doubles.html").read_text()
        assert "8 of 10 points" in (folder / "feedback.md").read_text()
        if not bomb.startswith("&"):
            page = (folder / "01_sums.html").read_text()
            assert "The notebook itself is not shown here: making its page takes more than" in page
            for text in ("18 of 20 points", "The total is large enough", "Your points stand"):
                assert text in page


def test_a_notebook_that_cannot_be_read_gets_a_page_too(course: Path) -> None:
    tiny_course.hand_in(course, "eve", "50")
    tiny_course.grade(course)
    path = course / "autograded" / "eve" / tiny_course.ASSIGNMENT / "01_sums.ipynb"
    path.chmod(0o644)
    path.write_text("{")
    done = nbgrader(course, "generate_feedback", tiny_course.ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    folder = course / "feedback" / "eve" / tiny_course.ASSIGNMENT
    assert "it could not be read" in (folder / "01_sums.html").read_text()
    assert "Your result" in (folder / "02_doubles.html").read_text()


def test_the_pages_of_a_submission_are_bounded_in_all(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_course.hand_in(course, "eve", "50")
    tiny_course.grade(course)
    monkeypatch.setattr(feedback_exporter, "MOST_PAGES", 200_000)  # a page has 130 KB, most of it styles
    assert not generate_feedback(open_course(course), tiny_course.ASSIGNMENT, ["eve"], {}).failed
    folder = course / "feedback" / "eve" / tiny_course.ASSIGNMENT
    plain = {path.name: "is not shown here" in path.read_text() for path in folder.glob("*.html")}
    assert plain == {"01_sums.html": False, "02_doubles.html": True}
    assert "its page would be too large" in (folder / "02_doubles.html").read_text()


# Outputs


def ran(*outputs: dict[str, object]) -> NotebookRun:
    cells = [CellRun(number, Status.PASSED, 0.1, [output]) for number, output in enumerate(outputs)]
    return NotebookRun("01_sums", Status.PASSED, cells=cells)


def test_the_outputs_of_a_whole_notebook_are_bounded_and_the_first_stay() -> None:
    text = {"output_type": "stream", "name": "stdout", "text": "x" * 250_000}
    picture = {"output_type": "display_data", "data": {"image/png": "x" * 250_000}, "metadata": {}}
    nothing = {"output_type": "stream", "name": "stdout", "text": ""}
    for output, room in ((text, MOST_TEXT), (picture, MOST_PICTURES), (nothing, MOST_TEXT)):
        bounded = bound_outputs(ran(*[output] * 20_000))
        kept = [cell for cell in bounded.cells if cell.outputs == [output]]
        assert len(json.dumps([cell.outputs for cell in kept])) < room * 2
        assert bounded.cells[0].outputs == [output]
        assert bounded.cells[-1].outputs[0]["text"] == LEFT_OUT
    one = ran(text, picture)
    assert bound_outputs(one) == one
