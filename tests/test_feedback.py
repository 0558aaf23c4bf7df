"""What students are shown: titles, points, hints, their own errors; nothing of the graders, the secret, the engine."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import mistune
import pytest
from nbgrader.api import Gradebook

from autograder.core.config import Feedback, load_course
from autograder.core.config_values import ConfigError
from autograder.core.grade_report import Evaluation, Flag, GradeReport, Mistake, Model
from autograder.core.notes import Note
from autograder.core.rows import Currency, Row, Standing
from autograder.course import report_store
from autograder.course.gradebook import read_marks
from autograder.course.score_cells import checks_digest
from autograder.jail import find_isolation
from autograder.pipeline.grader import open_grader
from autograder.pipeline.plan import plan_probes
from autograder.review.feedback.accuracy_cost import class_dots
from autograder.review.feedback.content import (
    Basis,
    ShownNotebook,
    StudentFeedback,
    has_passed,
    show_notebook,
    show_overall,
    strengths_and_steps,
)
from autograder.review.feedback.figures import draw_figures
from autograder.review.feedback.formulas import typeset_markdown
from autograder.review.feedback.json_form import render_json
from autograder.review.feedback.markdown import escape, render_markdown
from autograder.review.feedback.page import render_cell, render_plain, render_result
from autograder.review.figures import Dot, page_variables
from autograder.review.html import coded
from tests import example_reports, tiny_course
from tests.browser import accessibility_problems, open_browser, watched_page
from tests.conftest import nbgrader

RAISES = "def divide(apples):\n    return 1 / apples\ndivide(0)"
WAITS = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass"
FLOODS = "while True:\n    print('x' * 10_000)"
QUITS = "def double(number):\n    return number\nraise SystemExit"
# Walks up from the student's own frame, and shows what the frames above hold.
SPIES = """
import sys
frame, names = sys._getframe(), []
while frame:
    names += [str(value) for value in frame.f_locals.values() if isinstance(value, (str, int, dict, list))]
    frame = frame.f_back
print(*names)
total = 50
"""


@dataclass(frozen=True)
class Told:
    """A course after grading and feedback, and everything that must stay hidden in it."""

    root: Path
    hidden: dict[str, str]

    def page(self, student: str, notebook: str) -> str:
        """The visible text of a feedback page."""
        text = (self.root / "feedback" / student / tiny_course.ASSIGNMENT / f"{notebook}.html").read_text()
        return html.unescape(re.sub(r"<[^>]*>", "", text[text.index('id="notebook"') :]))

    @property
    def published(self) -> dict[str, str]:
        """All that reaches students or formgrader."""
        folders = (self.root / "feedback", self.root / "autograded")
        return {str(p): p.read_text() for folder in folders for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    root = tmp_path_factory.mktemp("feedback") / "course"
    tiny_course.make(root)
    config = root / "grader_config.py"
    text = config.read_text().replace('isolation="none"', 'isolation="bubblewrap"')
    config.write_text(text.replace("number=(2, 99)", "number=(10**8, 10**9)"))  # no page holds such a value by chance
    for student, total, double in (
        ("raises", RAISES, tiny_course.WRONG),
        ("waits", WAITS, FLOODS),
        ("spies", SPIES, QUITS),
    ):
        folder = tiny_course.hand_in(root, student, "1")
        (folder / "01_sums.ipynb").write_text(json.dumps(tiny_course.sums(total, "Because.")))
        (folder / "02_doubles.ipynb").write_text(json.dumps(tiny_course.doubles(double)))
    for command in ("autograde", "generate_feedback"):
        done = nbgrader(root, command, tiny_course.ASSIGNMENT)
        assert done.returncode == 0, done.stderr
    return Told(root, hidden_in(root))


def hidden_in(root: Path) -> dict[str, str]:
    """Texts that must reach nobody, by what they are."""
    grader = open_grader(root, tiny_course.ASSIGNMENT, isolation="none")
    (doubles,) = [e for e in load_course(root).assignment(tiny_course.ASSIGNMENT).exercises if e.calls]
    (probe,) = plan_probes(doubles, grader.secret, tiny_course.ASSIGNMENT)
    drawn = {f"drawn value {n}": str(arguments["number"]) for n, arguments in enumerate(probe["arguments"])}
    sources = {
        f"line of {path.name}": line.strip()
        for path in (root / "graders").glob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith(("def ", "    expect(", "    part ="))
    }
    engine = {"engine frame": "autograder/worker", "engine's code": "raise StepTimeout", "jail's folder": "/jail/"}
    places = {"graders' folder": str(root / "graders"), "the course's folder": str(root)}
    return {"secret": grader.secret.hex(), **drawn, **sources, **engine, **places}


def test_nothing_hidden_reaches_feedback_or_formgraders_notebooks(told: Told) -> None:
    assert len(told.hidden) >= 9
    assert len(told.published) == 12
    for path, text in told.published.items():
        for what, secret in told.hidden.items():
            assert secret not in text, f"{what} in {path}"


def test_titles_points_and_hints_are_told(told: Told) -> None:
    page = told.page("raises", "02_doubles")
    assert "The double of a number" in page
    assert "0 / 10" in page
    assert "double(n): expected 2 n" in page
    assert "Hint: Twice the number." in page


def test_a_students_own_error_is_told_with_its_lines(told: Told) -> None:
    page = told.page("raises", "01_sums")
    assert "ZeroDivisionError" in page
    assert "----> 2     return 1 / apples" in page
    assert "----> 3 divide(0)" in page


def test_a_time_out_shows_the_students_line_and_not_the_graders(told: Told) -> None:
    page = told.page("waits", "01_sums")
    assert "time.sleep(60)" in page
    assert "ran longer than 3 s" in page
    assert "interrupt" not in page.replace("KeyboardInterrupt", "")


def test_too_much_output_is_told_as_such(told: Told) -> None:
    page = told.page("waits", "02_doubles")
    assert "----> 2     print('x' * 10_000)" in page
    assert "the cell printed or displayed more than it may" in page


def test_the_staffs_page_shows_no_engine_frame_either(told: Told) -> None:
    for report in report_store.load_reports(told.root, tiny_course.ASSIGNMENT):
        outputs = json.dumps([cell.outputs for run in report.notebooks for cell in run.cells])
        assert "autograder/worker" not in outputs


def test_the_courses_weights_are_not_handed_out_with_the_feedback(told: Told, tmp_path: Path) -> None:
    """Whoever tried the source notebooks left weights there, and nbgrader copies what lies there to everybody."""
    root = tmp_path / "course"
    shutil.copytree(told.root, root)
    config = root / "grader_config.py"
    probes = "from autograder.config import CheckpointProbe, ModuleProbe, TransformProbe\n"
    net = 'modules=[ModuleProbe("Net")], transforms=[TransformProbe("t", images=["natural"])],'
    net += 'checkpoint=CheckpointProbe("model", module="Net", transform="t"),'
    text = config.read_text().replace('answers=[AnswerProbe("total")],', f'answers=[AnswerProbe("total")], {net}')
    config.write_text(probes + text)
    source = root / "source" / tiny_course.ASSIGNMENT
    (source / "model.safetensors").write_text("the instructor's weights")
    (source / "kit.py").write_text("the course's own")
    done = nbgrader(root, "autograde", "--force", "--student=raises", tiny_course.ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    there = {path.name for path in (root / "autograded" / "raises").rglob("*") if path.is_file()}
    assert "kit.py" in there
    assert "model.safetensors" not in there


# The same course, with less to be seen


def copy_with(told: Told, place: Path, feedback: str) -> Path:
    """The graded course with `Feedback(<feedback>)`."""
    shutil.copytree(told.root, place)
    config = place / "grader_config.py"
    text = config.read_text().replace("import AnswerProbe", "import Feedback, AnswerProbe")
    config.write_text(
        text.replace('isolation="bubblewrap",', f'isolation="bubblewrap", feedback=Feedback({feedback}),')
    )
    return place


@pytest.fixture(scope="module")
def titles(told: Told, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hidden = 'checks="title only", by_check={"test_double": "never"}'
    root = copy_with(told, tmp_path_factory.mktemp("titles") / "course", hidden)
    done = tiny_course.run("feedback", "--course", root, "--markdown", "--json")
    assert done.exit_code == 0, done.output
    assert "Feedback for 3 students" in done.output
    return root


def test_the_page_shows_titles_only_and_the_staffs_notebook_everything(titles: Path) -> None:
    for form in ("01_sums.html", "02_doubles.html", "feedback.md", "feedback.json"):
        text = (titles / "feedback" / "raises" / tiny_course.ASSIGNMENT / form).read_text()
        assert "Count the apples" not in text
        assert "expected 2 n" not in text
        assert "Twice the number" not in text
        assert "The double of a number" not in text
        assert ("The total is large enough" in text) == (form != "02_doubles.html")
    for name, hint in (("01_sums", "Count the apples."), ("02_doubles", "Twice the number.")):
        assert hint in (titles / "autograded" / "raises" / tiny_course.ASSIGNMENT / f"{name}.ipynb").read_text()


def test_all_points_are_the_gradebooks(titles: Path) -> None:
    marks = read_marks(f"sqlite:///{titles / 'gradebook.db'}", tiny_course.ASSIGNMENT)
    assert len(marks) == 3
    for student, own in marks.items():
        told = json.loads((titles / "feedback" / student / tiny_course.ASSIGNMENT / "feedback.json").read_text())
        cells = {cell["name"]: cell["points"] for page in told["notebooks"] for cell in page["cells"]}
        waiting = {mark.cell for mark in own if mark.needs_person and mark.manual is None}
        scores = {mark.cell: None if mark.cell in waiting else mark.score for mark in own}
        assert {cell: points["earned"] for cell, points in cells.items()} == scores
        assert {cell: points["maximum"] for cell, points in cells.items()} == {m.cell: m.maximum for m in own}
        assert told["points"]["earned"] == sum(mark.score for mark in own)
        assert told["student"] == student


def test_the_other_forms_are_as_readable_as_the_pages(titles: Path) -> None:
    folder = titles / "feedback" / "raises" / tiny_course.ASSIGNMENT
    assert {path.suffix for path in folder.iterdir()} >= {".html", ".md", ".json"}
    assert len({path.stat().st_mode for path in folder.iterdir() if path.suffix in (".html", ".md", ".json")}) == 1


def test_more_is_shown_once_the_students_own_due_date_has_passed(told: Told, tmp_path: Path) -> None:
    root = copy_with(told, tmp_path / "course", 'checks="after the deadline"')

    def page() -> str:
        done = tiny_course.run("feedback", "--course", root, "--student", "raises")
        assert done.exit_code == 0, done.output
        return (root / "feedback" / "raises" / tiny_course.ASSIGNMENT / "02_doubles.html").read_text()

    assert "Twice the number" not in page()
    assert "tiny has no due date" in (root / ".autograder" / "logs" / "nbgrader.log").read_text()
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        gradebook.update_or_create_assignment(tiny_course.ASSIGNMENT, duedate="2001-01-01 00:00:00 UTC")
    assert "Twice the number" in page()
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        gradebook.grant_extension(tiny_course.ASSIGNMENT, "raises", weeks=52 * 500)
    text = page()
    assert "Twice the number" not in text
    assert "Messages and hints follow after your due date." in text


def test_kept_results_of_another_run_are_named_in_the_log(told: Told, tmp_path: Path) -> None:
    root = copy_with(told, tmp_path / "course", 'checks="title only"')
    report = report_store.load_report(root, tiny_course.ASSIGNMENT, "raises")
    assert report is not None
    checks = [replace(check, message="newer") for check in report.checks]
    report_store.save_report(root, replace(report, checks=checks))
    done = nbgrader(root, "generate_feedback", tiny_course.ASSIGNMENT, "--force", "--student=raises")
    assert done.returncode == 0, done.stderr
    assert "raises, doubles-tests: the results that are kept are not those of the graded notebook" in done.stderr
    page = (root / "feedback" / "raises" / tiny_course.ASSIGNMENT / "02_doubles.html").read_text()
    assert "<li>The double of a number</li>" in page


def test_a_wrong_student_is_asked_back(told: Told) -> None:
    done = tiny_course.run("feedback", "--course", told.root, "--student", "raise")
    assert done.exit_code == 2
    assert "did you mean 'raises'" in done.output


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_need_no_network_run_no_script_and_serve_everybody(told: Told, dark: bool) -> None:
    with open_browser() as browser, watched_page(browser, width=420, dark=dark) as watched:
        for path in sorted((told.root / "feedback" / "raises").rglob("*.html")):
            page = watched.open(path)
            assert page.locator("h2", has_text="Your result").is_visible()
            assert page.locator("script").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(18, 22, 27)" if dark else "rgb(255, 255, 255)")
            assert accessibility_problems(page) == []
        assert (watched.requests, watched.complaints) == ([], [])


# What is decided, without a course


def basis(report: GradeReport, is_due: bool = False, manual: float | None = None, **feedback: object) -> Basis:
    row = Row(report, example_reports.marks_for(report, manual=manual))
    return Basis(row, Feedback(**feedback), is_due)  # type: ignore[arg-type]


def shown(report: GradeReport, notebook: str = "02_network", **more: object) -> ShownNotebook:
    """A notebook's feedback where the graded notebooks hold the report's results."""
    cells: dict[str, str | None] = {
        cell: checks_digest([check for check in report.checks if check.cell == cell]) for cell in report.cells[notebook]
    }
    return show_notebook(basis(report, **more), notebook, cells | ({"sums-why": None} if notebook == "01_sums" else {}))


def said(page: ShownNotebook, report: GradeReport) -> list[str]:
    """The same feedback in its three forms."""
    overall = show_overall(Row(report, example_reports.marks_for(report)))
    both = StudentFeedback(overall, [page])
    below = [render_cell(cell, draw_figures(page, cell)) for cell in page.cells]
    return [str(render_result(overall, page)) + "".join(below), render_markdown(both), render_json(both)]


def test_feedback_says_that_something_was_handed_in_since() -> None:
    row = Row(example_reports.failing(), currency=Currency.CHANGED)
    assert "You have handed in again since this was graded." in " ".join(show_overall(row).sentences)
    assert "since" not in " ".join(show_overall(replace(row, currency=Currency.OTHER_RULES)).sentences)


HARMLESS = {"h1", "h2", "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "ol", "li"}
TITLE, MESSAGE, HINT = "Channels double", "expected channels", "Each block doubles"


@pytest.mark.parametrize(
    ("chosen", "is_due", "title", "rest"),
    [
        ({}, False, True, True),
        ({"checks": "title only"}, True, True, False),
        ({"checks": "never"}, True, False, False),
        ({"checks": "after the deadline"}, False, True, False),
        ({"checks": "after the deadline"}, True, True, True),
        ({"checks": "never", "by_check": {"network-tests": "always"}}, False, True, True),
        ({"by_check": {"network-tests": "never"}}, False, False, False),
        ({"by_check": {"network-tests": "never", "channels double": "title only"}}, False, True, False),
    ],
)
def test_every_form_shows_what_the_configuration_lets_it(
    chosen: dict[str, object], is_due: bool, title: bool, rest: bool
) -> None:
    report = example_reports.failing()
    page = shown(report, is_due=is_due, **chosen)
    assert page.points.earned == 6  # always
    for text in said(page, report):
        assert (TITLE in text, MESSAGE in text, HINT in text) == (title, rest, rest)


def test_a_check_with_parameters_goes_by_its_functions_name() -> None:
    assert Feedback(by_check={"test_sizes": "never"}).visibility("test_sizes[7-1]", "cell") == "never"


def write_course(root: Path, config: str) -> None:
    """A configuration and the graders that it names."""
    (root / "graders").mkdir()
    (root / "graders" / "test_sums.py").write_text(tiny_course.SUMS)
    (root / "graders" / "test_doubles.py").write_text(tiny_course.DOUBLES)
    (root / "grader_config.py").write_text(config)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("checks='allways'", "must be one of .*did you mean 'always'"),
        ("by_check={'test_doubel': 'never'}", "'test_doubel'.*did you mean 'test_double'"),
        ("by_check={'sums-test': 'never'}", "'sums-test'.*did you mean 'sums-tests'"),
        ("by_check={'test_double': 'hidden'}", r"by_check\['test_double'\] must be one of"),
    ],
)
def test_what_would_hide_nothing_is_a_wrong_configuration(tmp_path: Path, chosen: str, message: str) -> None:
    config = tiny_course.CONFIG.replace("import AnswerProbe", "import Feedback, AnswerProbe")
    write_course(tmp_path, config.replace('isolation="none"', f"feedback=Feedback({chosen})"))
    with pytest.raises(ConfigError, match=message):
        load_course(tmp_path)


def test_a_section_of_the_lesson_for_no_check_is_a_wrong_configuration(tmp_path: Path) -> None:
    config = tiny_course.CONFIG.replace("needs_test_set=False", "needs_test_set=False, lesson='00_adding'")
    named = config.replace('settings={"full": 2}', 'sections={"test_doubel": "Twice"}')
    write_course(tmp_path, named)
    with pytest.raises(ConfigError, match=r"'02_doubles'.*sections has 'test_doubel'.*did you mean 'test_double'"):
        load_course(tmp_path)


def test_a_due_date_is_the_students_own_and_its_absence_is_no_passing() -> None:
    due = datetime(2026, 11, 20, 23)
    assert not has_passed(Standing("ada", due=due), datetime(2026, 11, 20, 22, 59))
    assert has_passed(Standing("ada", due=due), datetime(2026, 11, 20, 23))
    assert not has_passed(Standing("ada"), datetime(2999, 1, 1))
    assert not has_passed(None, datetime(2999, 1, 1))


def test_strengths_come_first_and_the_dearest_mistake_before_what_depends_on_it() -> None:
    summary = strengths_and_steps(shown(example_reports.failing()).cells)
    assert summary.strengths == ["Logits"]
    assert [(step.title, step.points, step.advice) for step in summary.steps] == [
        (TITLE, 8, "Each block doubles the channels of the one before.")
    ]
    assert "1 check more (6 points) can be judged once an earlier one passes." in summary.sentences


def test_what_waits_for_a_person_is_said_and_no_instruction_to_staff() -> None:
    undecided, waiting = example_reports.undecided(), example_reports.report("ada")
    for text in said(shown(undecided), undecided):
        assert "6 of 20 points are undecided: your program may be right" in text.replace("&nbsp;", " ")
        assert "1 check (6 points) waits for a person's judgement" in html.unescape(text)
        assert "For who marks it" not in text
    for text in said(shown(waiting, "01_sums"), waiting):
        assert "A person still marks sums-why (5 points)." in text
        assert "its points are not in the total yet" in text


def test_a_persons_mark_in_place_of_the_checks_is_named() -> None:
    report = example_reports.failing()
    graded = basis(report)
    marks = [replace(m, manual=20.0, score=20.0) if m.cell == "network-tests" else m for m in graded.row.marks]
    digest = checks_digest([check for check in report.checks if check.cell == "network-tests"])
    page = show_notebook(replace(graded, row=Row(report, marks)), "02_network", {"network-tests": digest})
    assert page.cells[0].remarks == ["A person marked this part: 20 points, in place of the 6 from the checks."]
    assert strengths_and_steps(page.cells).steps == []  # nothing more can be earned


def test_results_of_another_run_than_the_notebooks_are_not_told() -> None:
    report = example_reports.failing()
    page = show_notebook(basis(report, checks="title only"), "02_network", {"network-tests": "of another run"})
    for text in said(page, report):
        assert TITLE in text
        assert "cannot be shown at the moment; the points stand" in text
        assert "0 / 8" not in text


def test_staffs_knowledge_and_test_images_stay_with_the_staff() -> None:
    image, cell = "iVBORw0KGgoAAAANSUhEUgAAACA", "network-tests"
    mistake = Mistake(image, "cat", "dog", 0.99)
    found = Evaluation("02_network", 80, 100, 100, 0.7, 0.87, ["cat", "dog"], [[40, 10], [10, 40]], [mistake])
    report = example_reports.report(
        "ada",
        evaluations=[found],
        models=[Model("02_network", "Net", 1234, 56_000)],
        flags=[Flag("memorised", "02_network", "knows the test images")],
        facts={"isolation": "none", "gpu": "H100"},
    )
    texts = said(shown(report), report)
    for text in texts:
        assert "memorised" not in text
        assert "knows the test images" not in text
        assert "H100" not in text
        assert image not in text
        assert "1,234" in text or "1234" in text
    assert "80 of 100 test images correctly: 80.00 %." in texts[1]
    hidden = shown(report, by_check={"logits": "title only"})
    assert (hidden.evaluation, hidden.models, hidden.cells[0].name) == (None, [], cell)


def evaluated(student: str, correct: int, parameters: int) -> GradeReport:
    """A report with a model and its accuracy."""
    found = Evaluation("02_network", correct, 1000, 1000, 0.0, 1.0, ["cat", "dog"], [[1, 0], [0, 1]])
    return example_reports.report(
        student, models=[Model("02_network", "Net", parameters, 2 * parameters)], evaluations=[found]
    )


def test_a_class_is_shown_without_names_rounded_and_only_where_it_is_large_enough() -> None:
    others = [evaluated(f"student-{n}", 701 + 11 * n, 123_456 + n) for n in range(8)]
    dots = class_dots("02_network", "student-3", others)
    assert [dot.label for dot in dots].count("your model") == 1
    assert {dot.label for dot in dots} == {"your model", ""}
    assert next(dot for dot in dots if dot.label) == Dot("your model", 0.735, 120_000, 250_000)
    assert class_dots("02_network", "student-3", others[:7]) == []
    assert class_dots("02_network", "stranger", others) == []
    graded = replace(basis(others[3]), others=others)
    digest = checks_digest([check for check in others[3].checks if check.cell == "network-tests"])
    page = show_notebook(graded, "02_network", {"network-tests": digest})
    drawn = draw_figures(page, page.cells[0])
    assert "your model: 73.5 %, 120,000 parameters" in drawn
    assert "student-" not in drawn + render_json(StudentFeedback(show_overall(graded.row), [page])).replace(
        '"student": "student-3"', ""
    )
    assert show_notebook(basis(others[3]), "02_network", {"network-tests": digest}).dots == []


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_pages_have_a_dark_mode_in_which_words_and_figures_can_be_read() -> None:
    style = str(render_plain("n", "", (), ""))
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)", 1)
    own = [dict(re.findall(r"--(fb-\w+): (#[0-9a-f]{6})", part)) for part in (light, dark)]
    assert own[1].keys() - own[0].keys() == {"fb-paper"}
    assert set(re.findall(r"var\(--(fb-\w+)\)", style)) <= own[1].keys()
    for colours in ({"fb-paper": "#ffffff"} | own[0], own[1]):
        for ink in ("ink", "quiet", "link", "good", "wait", "bad"):
            for paper in ("paper", "shade"):
                pair = sorted(luminance(colours[f"fb-{name}"]) + 0.05 for name in (ink, paper))
                assert pair[1] / pair[0] >= 4.5, (ink, paper)
    assert page_variables(dark=True) in dark


def test_students_text_is_text_in_every_form() -> None:
    report = example_reports.hostile()
    page, text, made = said(shown(report), report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page + text + made
    assert "\x1b" not in page + text + made
    assert json.loads(made)["notebooks"][0]["cells"][0]["checks"][0]["result"] == "ERROR"
    live = mistune.create_markdown(escape=False, plugins=["url", "math", "strikethrough", "task_lists", "table"])(text)
    assert set(re.findall(r"<(\w+)", str(live))) <= HARMLESS


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:x)", "![a](http://x)", "<b>a</b>", "&lt;b&gt;", "# a", "- a", "1. a", "> a", "`a`", "*a* _b_",
        "$a$", "http://x.example", "www.x.example", "a@x.example", "| a | b |", "~~a~~", "a\n===", "a\n\n    code",
        "[a]: http://x", "```\na", "\\[a\\]", "1) a", "+ a", "<http://x>", "--- ", "- [ ] a",
    ],
)  # fmt: skip
def test_markdown_has_no_power_in_escaped_text(text: str) -> None:
    page = mistune.create_markdown(escape=False, plugins=["url", "math", "strikethrough", "task_lists", "table"])
    assert page(f"- {escape(text)}") == f"<ul>\n<li>{html.escape(' '.join(text.split()), quote=False)}</li>\n</ul>\n"


def test_names_between_backquotes_are_code_and_no_markup() -> None:
    assert coded("`<b>x</b>` is") == "<code>&lt;b&gt;x&lt;/b&gt;</code> is"


def test_formulas_are_drawn_and_what_cannot_be_is_left_as_written() -> None:
    page = typeset_markdown(
        {}, r"so $\frac{a}{b} < 1$, but $\begin{x}$, $" + "{" * 300 + "$ and `$c$` stay \ue0000\ue001"
    )
    assert page.count("<svg") == 1
    assert r'aria-label="\frac{a}{b} &lt; 1"' in page
    assert r"$\begin{x}$" in page
    assert "<code>$c$</code>" in page


def test_no_form_of_feedback_grows_with_what_a_student_makes_the_grader_remark() -> None:
    graded = example_reports.hostile()
    loud = [replace(check, message="m" * 100_000, code="c" * 100_000, place="p" * 100_000) for check in graded.checks]
    noted = replace(
        graded, checks=loud, notes=[Note(f"{'n' * 10_000} {number}", notebook="02_network") for number in range(2000)]
    )
    page = shown(noted)
    for form in said(page, noted):
        assert len(form) < 30_000 * len(loud)
        assert "and 1,980 more" in form
