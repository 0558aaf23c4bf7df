"""One submission's page: where points were lost, the student's lines with remarks, outputs as text and pictures."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from autograder.core.grade_report import (
    AnswerCell,
    CellRun,
    Evaluation,
    GradeReport,
    HandedIn,
    Mistake,
    NotebookRun,
    Status,
)
from autograder.core.rows import Mark, Row
from autograder.review.staff_report.anonymous import anonymised
from autograder.review.staff_report.code_view import code_lines, plain_lines
from autograder.review.staff_report.pages import Site, Ways
from autograder.review.staff_report.student import (
    LEFT_OUT,
    MOST_PAGE_PICTURES,
    MOST_PAGE_TEXT,
    MOST_STOPPED,
    how_to_explain,
    render_student,
    shown_output,
)
from tests.example_reports import HOSTILE, broken, check, everyone, failing, hostile, marks_for, report, undecided
from tests.test_report import Page, words

CODE = "import torch\n\ndef logits(x):\n    return x.softmax(1)  # not raw\n"
SOFTMAX = check(
    "logits",
    "network-tests",
    6,
    Status.FAILED,
    message="softmax in forward: return raw logits",
    source_cell=2,
    place="the cell network-solution",
    line=4,
)


def with_code(*cells: AnswerCell, run: Sequence[CellRun] = ()) -> GradeReport:
    runs = [NotebookRun("02_network", Status.PASSED, "", run)]
    found = list(cells) or [AnswerCell(2, "code", "network-solution", CODE)]
    return report("ada", SOFTMAX, sources={"02_network": found}, notebooks=runs)


def page_of(graded: GradeReport, *marks: Mark, anonymous: bool = False) -> str:
    row = Row(graded, marks)
    return render_student(Site("tiny", [row], anonymous), row, Ways())


def picture(mode: str = "PNG", size: tuple[int, int] = (4, 4)) -> str:
    file = io.BytesIO()
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(file, mode)
    return base64.b64encode(file.getvalue()).decode()


def losses(html: str) -> list[tuple[str, str]]:
    """(points, the rest of the line) of each lost point at the top."""
    found = re.findall(r'<span class="lost-points">(.*?)</span>(.*?)</li>', html, re.DOTALL)
    return [(points, words(re.sub(r"<[^>]*>", " ", rest))) for points, rest in found]


@pytest.mark.parametrize("graded", [report("ada"), failing(), undecided(), hostile()], ids=lambda r: r.student[:6])
@pytest.mark.parametrize("manual", [None, 3.5])
def test_lost_and_open_points_are_what_the_total_lacks(graded: GradeReport, manual: float | None) -> None:
    marks = marks_for(graded, manual=manual)
    found = losses(page_of(graded, *marks))
    missing = sum(float(points.strip("−").removesuffix(" open")) for points, _ in found)
    total = Row(graded, marks).total
    assert total.earned is not None
    assert missing == pytest.approx(total.maximum - total.earned)


def test_a_lost_point_stands_at_the_top_with_its_reason_and_leads_to_its_check() -> None:
    html = page_of(failing())
    assert ("−1.5", "Plain case 2 of 3 cases") in losses(html)
    anchor = re.search(r'<span class="lost-points">−1\.5</span> <a href="#([^"]*)">', html)
    assert anchor is not None
    row = re.search(rf'<tr class="partial" id="{re.escape(anchor[1])}">.*?</tr>', html, re.DOTALL)
    assert row is not None
    assert "2 of 3 cases" in row[0]


def test_a_mark_by_hand_explains_the_points_of_its_cell_and_its_checks_do_not() -> None:
    graded = failing()
    marks = [replace(m, manual=19.0, score=19.0) if m.cell == "network-tests" else m for m in marks_for(graded)]
    found = losses(page_of(graded, *marks))
    assert ("−1", "network-tests marked by hand; the checks gave 6") in found
    assert not any("Channels double" in text for _, text in found)
    assert ("5 open", "sums-why waits for a manual mark in formgrader") in found


def test_undecided_points_are_open_and_not_lost() -> None:
    assert [points for points, _ in losses(page_of(undecided()))] == ["6 open"]


def test_a_message_stands_beneath_the_line_that_it_speaks_of_and_each_leads_to_the_other() -> None:
    html = page_of(with_code())
    line = re.search(r'<li id="([^"]*)" class="marked">(.*?)</li>', html, re.DOTALL)
    assert line is not None
    assert "softmax" in line[2].split("remark")[0]
    assert "softmax in forward: return raw logits" in line[2]
    back = re.search(r'href="#([^"]*)"', line[2])
    assert back is not None
    assert f'<tr class="failed" id="{back[1]}">' in html
    assert f'<a href="#{line[1]}">See line 4 of the cell network-solution.</a>' in html


def test_a_line_that_is_not_shown_is_named_without_a_link() -> None:
    html = page_of(with_code(AnswerCell(2, "code", "network-solution", "short = 1")))
    assert '<p class="line">See line 4 of the cell network-solution.</p>' in html


@pytest.mark.parametrize("source", [CODE, "a = 1\r\nb = 2\rc = 3", "s = '''a\n  b\n'''\n\n\n", "", "\x1b[31mx\u202e"])
def test_highlighted_lines_are_the_cells_own(source: str) -> None:
    plain = [re.sub(r"<[^>]*>", "", str(line)) for line in code_lines(source)]
    shown = [line.unescape() for line in code_lines(source, python=False)]
    assert [Page(line).text for line in plain] == shown
    assert len(shown) == len(plain_lines(source))


def test_code_is_escaped_and_has_classes_only() -> None:
    html = "".join(code_lines(f"x = 'a' # {HOSTILE}\nclass {HOSTILE}"))
    assert set(re.findall(r"<[^>]*>", html)) <= {f'<span class="{kind}">' for kind in "cksnbf"} | {"</span>"}
    assert "style" not in html


def test_thousands_of_blank_lines_are_no_work() -> None:
    """Each would be read as often as there are others: a minute of them, in steps of the lexer."""
    assert len(code_lines("x\n" + " \n" * 19_000 + "y")) == 19_002


def test_answers_as_text_are_rendered_and_stay_text() -> None:
    html = page_of(with_code(AnswerCell(3, "markdown", "why", f"**bold** {HOSTILE}")))
    assert "<strong>bold</strong> &lt;script&gt;" in html
    assert "Cell 4: why (text)" in html


def test_outputs_are_text_and_pictures_that_are_such() -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "Epoch 1\x1b[0m <b>"},
        {"output_type": "display_data", "data": {"image/png": picture(), "text/plain": "<Figure>"}},
        {"output_type": "display_data", "data": {"image/jpeg": picture("JPEG")}},
        {"output_type": "display_data", "data": {"text/html": HOSTILE}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["line 1", "\x1b[31mE: v"]},
    ]
    html = page_of(with_code(run=[CellRun(2, Status.ERROR, 0.1, outputs, "E: v")]))
    pictures = [str(attributes["src"]) for attributes in Page(html).attributes("img")]
    assert [source[:23] for source in pictures] == ["data:image/png;base64,i", "data:image/jpeg;base64,"]
    assert all(attributes["alt"] for attributes in Page(html).attributes("img"))
    assert "Epoch 1 &lt;b&gt;</pre>" in html
    assert '<pre dir="auto" tabindex="0" class="error">line 1\nE: v</pre>' in html
    assert HOSTILE not in html


@pytest.mark.parametrize(
    "data",
    [
        {"image/png": '" onerror="alert(1)'},
        {"image/png": base64.b64encode(b"<svg onload=alert(1)>").decode()},
        {"image/png": picture("JPEG")},
        {"image/jpeg": picture() + "\n"},
        {"image/svg+xml": "<svg/>"},
    ],
)
def test_what_is_no_picture_of_its_type_is_not_shown_as_one(data: dict[str, str]) -> None:
    shown = shown_output({"output_type": "display_data", "data": {**data, "text/plain": "[figure]"}})
    assert [(each.picture, each.text) for each in shown] == [("", "[figure]")]


def test_long_outputs_are_folded_and_very_long_ones_say_what_is_left_out() -> None:
    (shown,) = shown_output({"output_type": "stream", "text": "x" * 30_000})
    assert shown.text.endswith("[10,000 more characters are left out here]")
    many = {"output_type": "stream", "text": "line\n" * 40}
    assert "<summary>Output of 40 lines</summary>" in page_of(with_code(run=[CellRun(2, Status.PASSED, 0.1, [many])]))


def test_accuracy_says_how_sure_it_is_and_mistakes_have_words() -> None:
    mistakes = [Mistake(picture(), "cat", "dog", 0.98), Mistake("AAAA", "no", "image", 0.5)]
    confusion = [[700, 40], [60, 700]]
    found = Evaluation("02_network", 1400, 1500, 10_000, 0.92, 0.95, ["cat", "dog"], confusion, mistakes)
    html = page_of(replace(report("ada"), evaluations=[found]))
    text = words(Page(html).text)
    assert "Accuracy 93.33 % on 1,500 of 10,000 test images (95 % interval 92.0 % to 95.0 %)" in text
    assert [attributes["alt"] for attributes in Page(html).attributes("img")] == ["A test image of class cat"]
    assert "cat, taken for dog (98 %)" in text


def test_ids_are_fit_and_differ_and_every_link_within_the_page_leads_somewhere() -> None:
    blank = replace(check("logits", "network-tests", 6), name="a name", cell="network-tests")
    for graded in (*everyone(), with_code(), replace(report("ada"), checks=[blank, replace(blank, name="a~20name")])):
        page = Page(page_of(graded, *marks_for(graded)))
        ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert all(re.fullmatch(r"\S+", each) for each in ids)
        links = [str(a["href"])[1:] for a in page.attributes("a") if str(a.get("href", "")).startswith("#")]
        assert set(links) <= set(ids)


@pytest.mark.parametrize("student", ["ada", "-x", "a b; rm -rf ~", "it's", "$(id)", "ü"])
def test_the_command_to_reproduce_names_the_student_whatever_the_name_is(student: str) -> None:
    row = Row(replace(failing(), student=student))
    command = shlex.split(how_to_explain(Site("tiny", [row]), row, row.report.checks[0]))
    assert command[:2] == ["autograder", "explain"]
    arguments = command[3:] if student.startswith("-") else command[2:]
    assert arguments == [student, "01_sums/worked example", "tiny"]


def test_a_page_without_a_name_has_no_command_that_names_one() -> None:
    assert "autograder explain blaise &#39;01_sums/plain case&#39; tiny" in page_of(failing())
    assert "autograder explain" not in page_of(failing(), anonymous=True)


def test_what_the_grader_could_not_judge_has_no_points_that_were_lost() -> None:
    found = losses(page_of(broken(), *marks_for(broken())))
    assert found
    assert all(points.endswith(" open") for points, _ in found)


def test_a_page_holds_so_much_of_what_cells_showed_and_says_so() -> None:
    """Of hundreds of cells, those that the student added included."""
    large = base64.b64encode(base64.b64decode(picture()) + bytes(600_000)).decode()
    shown = {"output_type": "display_data", "data": {"image/png": large}, "metadata": {}}
    printed = {"output_type": "stream", "name": "stdout", "text": "x" * 200_000}
    cells = [CellRun(number, Status.ERROR, 0.1, [shown, printed], "m" * 2000) for number in range(300)]
    page = page_of(with_code(*[AnswerCell(number, "code", "", CODE) for number in range(60)], run=cells))
    assert len(page) < MOST_PAGE_PICTURES + 3 * MOST_PAGE_TEXT
    assert page.count(LEFT_OUT) > 50
    assert "240 other cells did not run" in page
    assert f"And {240 - MOST_STOPPED} more." in page


def test_other_files_are_listed_as_text_with_their_number() -> None:
    graded = report("ada", SOFTMAX, files=[HandedIn("<b>plot</b>.html", 1234)], more_files=17)
    page = page_of(graded)
    assert "<bdi>&lt;b&gt;plot&lt;/b&gt;.html</bdi> (1,234 bytes) and 17 more" in page
    (nameless,) = anonymised([Row(graded, ())])
    assert nameless.report.files == ()
