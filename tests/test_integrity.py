"""The integrity page: what is alike is found in disguise, honest work is not, no code runs, no text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.numpy import load_file, save_file

from autograder.cli.commands.integrity import integrity_command
from autograder.core.config import load_course
from autograder.core.grade_report import KINDS as FLAGS
from autograder.core.grade_report import Flag, NotebookRun, Status
from autograder.core.notes import Note
from autograder.course.report_store import save_report
from autograder.handin.quarantine import quarantine
from autograder.judging import datasets
from autograder.judging.datasets import DataError
from autograder.pipeline.grade import grade_submission
from autograder.pipeline.grader import open_grader
from autograder.review.integrity.answers import NotebookAnswer, Public, answers_in, compare_place, public_of
from autograder.review.integrity.clusters import clusters_of
from autograder.review.integrity.incidents import signs_of
from autograder.review.integrity.memorised import RecallOutcome, judge_models, paired_drop, read_hold_out, separate_drop
from autograder.review.integrity.page import render_integrity_page, write_page
from autograder.review.integrity.signals import (
    KINDS,
    Findings,
    LinePair,
    Pair,
    Sign,
    SignalEvidence,
    StudentComparisons,
)
from autograder.review.integrity.staged import SurveySetup
from autograder.review.integrity.survey import survey, told_of
from autograder.review.integrity.weights import Array, Weights, alike_checkpoints, near_checkpoints, reduce_weights
from autograder.review.staff_report.page_names import student_page
from tests.browser import accessibility_problems, open_browser, watched_page
from tests.example_reports import HOSTILE, report
from tools.flagged import build_flagged
from tools.known_cases import designs
from tools.samples import ASSIGNMENT, ROOT, build_sample

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)

# Checkpoints

SHAPES = {"stem": (16, 3, 3, 3), "one": (32, 16, 3, 3), "two": (32, 32, 3, 3), "head": (10, 32)}
State = Mapping[str, Array]


def drawn(seed: int) -> dict[str, Array]:
    """Weights of a small network, with a bias that is as in all others."""
    draws = np.random.RandomState(seed)
    weights = {name: draws.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    return {**weights, "bias": np.zeros(10, np.float32)}


def mixed(one: State, other: State, part: float) -> dict[str, Array]:
    """`part` of the variance from one, the rest from the other."""
    return {k: (part**0.5 * one[k] + (1 - part) ** 0.5 * other[k]).astype(np.float32) for k in one}


def reduced(owner: str, state: State, initial: State | None = None) -> Weights:
    return reduce_weights(owner, "net.safetensors", f"file of {owner}", state, initial)


def exchanged(state: State) -> dict[str, Array]:
    """The same network with the channels of every layer in another order."""
    draws = np.random.RandomState(7)
    orders = [draws.permutation(size) for size in (16, 32, 32)]
    return {
        "stem": state["stem"][orders[0]],
        "one": state["one"][orders[1]][:, orders[0]],
        "two": state["two"][orders[2]][:, orders[1]],
        "head": state["head"][:, orders[2]],
        "bias": state["bias"],
    }


COPIES: Mapping[str, tuple[Callable[[State], State], str]] = {
    "saved again": (dict, "same-weights"),
    "renamed": (lambda s: {f"layers.{9 - i}": v for i, v in enumerate(s.values())}, "same-weights"),
    "channels exchanged": (exchanged, "same-values"),
    "noise": (lambda s: mixed(s, drawn(99), 0.95), "near-weights"),
    "half precision": (lambda s: {k: v.astype(np.float16).astype(np.float32) for k, v in s.items()}, "near-weights"),
    "exchanged, with noise": (lambda s: mixed(exchanged(s), drawn(99), 0.97), "near-filters"),
    "layers scaled": (lambda s: {k: v * 3 for k, v in s.items()}, "near-weights"),
}


@pytest.mark.parametrize("disguise", COPIES)
def test_a_copied_checkpoint_is_found_in_disguise_and_separate_ones_are_not(disguise: str) -> None:
    change, kind = COPIES[disguise]
    found = alike_checkpoints([reduced("ada", drawn(1)), reduced("bo", drawn(2)), reduced("cy", change(drawn(1)))])
    assert list(found) == [(0, 2)]
    assert [one.kind for one in found[0, 2]] == [kind]


def test_a_copied_file_is_told_from_equal_weights_and_quotes_what_it_says_of_its_training() -> None:
    told = told_of({"history": '{"train_loss": [1, 2], "seconds": 61.25, "device": "cpu", "seed": 0}'})
    one = replace(reduced("ada", drawn(1)), file="ab12", told=told)
    (same,) = alike_checkpoints([one, replace(one, owner="bo")])[0, 1]
    assert same.kind == "same-file"
    assert "Both files say: 2 epochs, 61.250000 s on cpu, seed 0." in same.text
    assert told_of({"history": "[" * 100_000}) == told_of({"history": '{"train_loss": 1}'}) == ""


def test_shared_initial_values_are_no_likeness_where_they_are_known() -> None:
    start = drawn(0)
    states = [mixed(start, drawn(seed), 0.95) for seed in (1, 2)]
    assert near_checkpoints([reduced("ada", states[0]), reduced("bo", states[1])])
    assert not near_checkpoints([reduced("ada", states[0], start), reduced("bo", states[1], start)])


def test_a_copy_is_found_behind_shared_initial_values() -> None:
    start = drawn(0)
    trained = mixed(start, drawn(1), 0.4)
    copy = mixed(trained, drawn(5), 0.95)
    ((pair, near),) = near_checkpoints([reduced("ada", trained, start), reduced("bo", copy, start)]).items()
    assert (pair, near.kind) == ((0, 1), "near-weights")
    assert re.search(
        r"What training changed is correlated by 0\.9\d; the initial values still make up 3\d% and 3\d%", near.text
    )


def test_a_copy_is_found_behind_a_prefix_and_other_tensors() -> None:
    start, trained = drawn(0), mixed(drawn(0), drawn(1), 0.5)
    hidden = {f"module.{name}": value for name, value in mixed(trained, drawn(2), 0.98).items()}
    hidden |= {f"extra.{number}": drawn(number)["two"] for number in range(3, 40)}
    other = reduced("cy", mixed(start, drawn(3), 0.5), start)
    found = near_checkpoints([reduced("ada", trained, start), reduced("bo", hidden, start), other])
    assert [(pair, near.kind) for pair, near in found.items()] == [((0, 1), "near-weights")]


def test_a_network_that_is_found_whole_in_a_larger_one_is_alike() -> None:
    larger = {**drawn(1), "more": drawn(8)["two"], "still_more": drawn(9)["two"]}
    assert (0, 1) in near_checkpoints([reduced("ada", drawn(1)), reduced("bo", larger)])


def test_untrained_weights_are_not_alike() -> None:
    start = drawn(0)
    assert not alike_checkpoints([reduced("ada", start, start), reduced("bo", start, start)])


def test_weights_without_numbers_are_alike_nobody() -> None:
    broken = {k: np.full_like(v, np.nan) for k, v in drawn(1).items()}
    huge = {k: np.full_like(v, 3e38) for k, v in drawn(1).items()}
    assert not alike_checkpoints([reduced(str(i), s) for i, s in enumerate([broken, huge, {}, drawn(1)])])


# Answers

OWN = '''
# A net of my own
class Stem(nn.Module):
    """Doc."""
    def __init__(self, width, activation=F.gelu):
        super().__init__()
        self.first = nn.Conv2d(3, width, kernel_size=5, stride=2, padding=2, bias=False)
        self.norm = nn.GroupNorm(8, width)
        self.activation = activation

    def forward(self, images):
        return self.activation(self.norm(self.first(images)))

def make_trunk(widths, depth=3):
    stages = []
    for before, after in zip(widths, widths[1:]):
        stages.append(nn.Sequential(*[Mixer(before) for _ in range(depth)]))
        stages.append(nn.Conv2d(before, after, 2, stride=2))
    return nn.Sequential(*stages)
'''
RENAMED = {"Stem": "Anfang", "width": "w", "first": "c1", "norm": "n1", "activation": "act", "images": "x",
           "make_trunk": "trunk", "widths": "ws", "depth": "d", "stages": "parts", "before": "a", "after": "b",
           "Mixer": "Blk", "A net of my own": "Mine"}  # fmt: skip


def disguised(source: str) -> str:
    """Other names and comments, and the functions in another order."""
    for old, new in RENAMED.items():
        source = re.sub(rf"\b{old}\b", new, source)
    start, _, rest = source.partition("def trunk")
    return f"def trunk{rest}\n{start}"


NOTHING = Public()


def notebook(*sources: str, kind: str = "code") -> dict[str, Any]:
    own = {"nbgrader": {"grade_id": "a", "solution": True, "grade": kind != "code", "points": 1}}
    return {"cells": [{"cell_type": kind, "metadata": own, "source": source} for source in sources]}


def answers(sources: Mapping[str, str], public: Public = NOTHING, kind: str = "code") -> list[NotebookAnswer]:
    return [a for who, s in sources.items() for a in answers_in(who, {"net": notebook(s, kind=kind)}, public)]


def test_copied_code_is_found_under_other_names_and_in_another_order_with_the_lines_side_by_side() -> None:
    found = compare_place(answers({"ada": OWN, "bo": disguised(OWN)}), (), {})
    assert found.evidence["ada", "bo"].text.startswith("100% alike")
    passage = found.evidence["ada", "bo"].passage
    assert any(
        row.same and "nn.GroupNorm(8, width)" in row.one and "nn.GroupNorm(8, w)" in row.other for row in passage
    )


def test_what_everybody_was_given_is_no_likeness() -> None:
    public = public_of([("code", OWN)])
    assert answers({"ada": OWN, "bo": disguised(OWN)}, public) == []


def test_what_a_fifth_of_a_class_wrote_is_no_likeness() -> None:
    class_ = {f"s{number:02}": OWN for number in range(20)}
    assert not compare_place(answers(class_), (), {}).evidence
    assert len(compare_place(answers(dict(list(class_.items())[:3])), (), {}).evidence) == 3


def test_members_of_a_group_and_two_things_of_the_courses_are_no_pair() -> None:
    given = answers({"ada": OWN, "bo": OWN, "solution": OWN, "draft": OWN})
    found = compare_place(given, ("solution", "draft"), {"ada": "team", "bo": "team"})
    assert {frozenset(pair) for pair in found.evidence} == {
        frozenset((who, what)) for who in ("ada", "bo") for what in ("solution", "draft")
    }


def test_names_that_only_two_share_are_quoted() -> None:
    other = OWN.replace("activation", "act").replace("widths", "sizes").replace("before", "previous")
    found = compare_place(answers({"ada": OWN, "bo": OWN.replace("depth", "deep"), "cy": other}), (), {})
    assert "Names, comments and strings that nobody else has: “activation”, “before”, “widths”." in (
        found.evidence["ada", "bo"].text
    )


def test_a_written_answer_is_compared_by_its_words() -> None:
    text = (
        "The depthwise step looks at each channel alone, with nine weights, and the pointwise step mixes the channels "
        "without looking at neighbours; so the product of both costs becomes a sum, about eight times fewer weights."
    )
    other = (
        "Because every kernel of a standard convolution spans all input maps, cost grows with both counts and with the "
        "area. Splitting space from mixing adds the two instead of multiplying, which saves most when there are many."
    )
    near = text.replace("about eight", "roughly eight").upper()
    given = answers({"ada": text, "bo": near, "cy": other}, kind="markdown")
    assert list(compare_place(given, (), {}).evidence) == [("ada", "bo")]


@pytest.mark.parametrize("exercise", ["02_deeper_cnn", "04_modern_cnn"])
def test_honest_designs_are_seldom_alike(exercise: str) -> None:
    """They are one author's, who wrote some by changing others, so a few are as alike as copies."""
    public = public_of(
        ("code" if c["cell_type"] == "code" else "words", "".join(c["source"]))
        for path in (ROOT / "release" / ASSIGNMENT).glob("*.ipynb")
        for c in json.loads(path.read_text())["cells"]
    )
    given = []
    for design in (design for design in designs() if design.notebook == exercise):
        sources = "\n".join(design.cells.values())
        given += answers_in(design.name, {exercise: notebook(sources)}, public)
    found = compare_place(given, (), {})
    assert found.spread.pairs > 50
    assert len(found.evidence) <= 0.02 * found.spread.pairs


def test_hostile_code_is_read_all_the_same() -> None:
    sources = {"ada": "(" * 9_000, "bo": "'''" + "\x00\ud800" * 9, "cy": "x = " + "1 + " * 9_000, "di": "\n" * 90_000}
    for answer in answers({who: source.encode("utf-8", "replace").decode() for who, source in sources.items()}):
        compare_place([answer, replace(answer, owner="other")], (), {})


# Models


def rightly(share: float, count: int = 2_000, seed: int = 0) -> Any:
    return np.random.RandomState(seed).rand(count) < share


def class_with(*extra: RecallOutcome, shift: float = 0.0) -> list[RecallOutcome]:
    """Eight honest models of 74 to 81 % on the test set, `shift` less on the hold-out, and others."""
    honest = [
        RecallOutcome(f"s{i}", rightly(0.74 + i / 100, seed=i), {}, rightly(0.74 + i / 100 - shift, 1_000, seed=50 + i))
        for i in range(8)
    ]
    return [*honest, *extra]


def test_a_hold_out_that_is_harder_for_everybody_is_held_against_nobody() -> None:
    judged = judge_models(class_with(shift=0.12))
    assert not any(found.stands_out for model in judged for found in model.comparisons)
    assert all(0.08 < found.baseline < 0.16 for model in judged for found in model.comparisons)


def test_a_model_that_learned_the_test_set_by_heart_stands_out_in_its_class() -> None:
    learned = RecallOutcome("eve", rightly(0.99), {}, rightly(0.62, 1_000, seed=9))
    judged = judge_models(class_with(learned, shift=0.05))
    assert [model.student for model in judged if any(f.stands_out for f in model.comparisons)] == ["eve"]
    (found,) = judged[-1].comparisons
    assert found.low < found.drop < found.high
    assert found.deviations > 5


def test_a_small_hold_out_accuses_nobody_by_chance() -> None:
    """5,000 honest models, each of a class of its own, with 100 hold-out images."""
    draws = np.random.RandomState(1)
    for _ in range(5_000):
        test, other = draws.binomial(2_000, 0.76), draws.binomial(100, 0.76)
        outcome = RecallOutcome("ada", np.arange(2_000) < test, {}, np.arange(100) < other)
        assert not judge_models([outcome])[0].comparisons[0].stands_out


def test_intervals_cover_the_true_drop() -> None:
    draws = np.random.RandomState(2)
    covered = np.zeros(2)
    for _ in range(1_000):
        apart = separate_drop("hold-out", (draws.binomial(2_000, 0.8), 2_000), (draws.binomial(200, 0.7), 200))
        test = draws.rand(500) < 0.8
        paired = paired_drop("mirrored", test, np.where(draws.rand(500) < 0.15, draws.rand(500) < 0.5, test))
        covered += (apart.low <= 0.1 <= apart.high, paired.low <= 0.15 * 0.3 <= paired.high)
    assert (covered / 1_000 > 0.92).all()


def test_a_hold_out_is_read_from_folders_and_from_arrays(tmp_path: Path) -> None:
    draws = np.random.RandomState(0)
    images = draws.randint(0, 256, (120, 32, 32, 3), np.uint8)
    labels = np.arange(120) % 2
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / "tree" / ("cat", "dog")[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "tree" / ("cat", "dog")[label] / f"{number:03}.png")
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    tree, arrays = (read_hold_out(tmp_path / name, ("cat", "dog")) for name in ("tree", "set.npz"))
    assert sorted(image.tobytes() for image in tree.images) == sorted(image.tobytes() for image in arrays.images)
    assert tree.labels.tolist() == sorted(arrays.labels.tolist())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((120, 28, 28), np.uint8), "labels": np.zeros(120, int)}, r"images are uint8 of shape"),
        ({"images": np.zeros((120, 3, 32, 32), np.uint8), "labels": np.full(120, 7)}, r"labels run from 7 to 7"),
        ({"images": np.zeros((20, 3, 32, 32), np.uint8), "labels": np.zeros(20, int)}, r"must have 100 to 20,000"),
        ({"pictures": np.zeros(3)}, r"cannot be read"),
    ],
)
def test_a_hold_out_that_does_not_fit_is_refused_with_its_form(
    arrays: dict[str, Any], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=words) as raised:
        read_hold_out(tmp_path / "set.npz", ("cat", "dog"))
    assert "Expected a folder" in str(raised.value)


# Incidents


def test_set_aside_files_shadow_modules_flags_and_killed_runs_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "handed in"
    folder.mkdir()
    (folder / "gradebook.db").symlink_to("/etc/passwd")
    notes = quarantine(folder, tmp_path / "aside")
    flag = Flag("lookup", "02_network", "A table of 10,000 rows.")
    runs = [NotebookRun("02_network", Status.CRASHED, "ended itself with status 3")]
    shown = report("eve", notes=[*notes, Note("an honest remark")], flags=[flag], notebooks=runs)
    found = [(sign.kind, sign.text) for sign in signs_of(shown, ["lib/torch.py", "helpers.py", "notes.txt"])]
    assert [kind for kind, _ in found] == ["blocked", "shadow", "flag", "killed"]
    assert found[0][1] == "`gradebook.db` is a symbolic link: set aside, not graded"
    assert found[3][1] == "Crashed: ended itself with status 3"
    assert not list(signs_of(report("ada"), ["model_ideas.py"]))


# The page


def findings() -> Findings:
    """Everything that can be on the page, every text of a student's hostile."""
    passage = (LinePair(HOSTILE, "</script>\u202e", True), LinePair("one", "", False))
    evidence = [SignalEvidence(kind, f"01 {HOSTILE}", 0.9, HOSTILE, passage) for kind in ("same-file", "code")]
    models = judge_models(
        class_with(RecallOutcome(HOSTILE, rightly(0.99), {}, rightly(0.5, 1_000)), RecallOutcome("x", problem=HOSTILE))
    )
    return Findings(
        "cnn",
        [HOSTILE, "bo", "cy"],
        2,
        pairs=[Pair(HOSTILE, "bo", evidence, "Both are like the course's."), Pair("bo", "cy", evidence[1:])],
        copies=[Pair("bo", "solutions/cnn", evidence[1:])],
        signs=[Sign(HOSTILE, kind, HOSTILE, HOSTILE) for kind in KINDS],
        models=models,
        problems=[(HOSTILE, HOSTILE)],
    )


def test_of_each_kind_of_sign_the_first_are_listed() -> None:
    found = list(signs_of(report("ada"), [f"{number}/torch.py" for number in range(2000)]))
    assert len(found) == 11
    assert found[-1].text == "… and 1,990 more of this kind."


def test_a_submission_that_cannot_be_read_stops_nobody_else(tmp_path: Path) -> None:
    ground = SurveySetup(tmp_path, load_course(ROOT), ASSIGNMENT, ROOT / "release" / ASSIGNMENT)
    build_sample("untouched", tmp_path / "zoe", "offline")
    found = survey(ground, {"eve": tmp_path / "missing", "zoe": tmp_path / "zoe"}, [])
    assert found.students == ["zoe"]
    told = [problem for owner, problem in found.problems if owner == "eve"]
    assert len(told) == 1
    assert told[0].startswith("was not looked at: ")


def test_nothing_of_a_students_is_markup_and_the_page_forbids_script() -> None:
    page = render_integrity_page(findings(), NOW)
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert "style=" not in page.replace(style[0], "")
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_the_most_alike_pair_is_the_first_thing_on_the_page() -> None:
    page = render_integrity_page(findings(), NOW)
    assert page.index("Signals for a person to judge") < page.index("Submissions that are alike")
    table = page[page.index("Submissions that are alike") : page.index("Like the course")]
    assert table.index("bo</bdi>") < table.index("cy</bdi>")
    assert "the same checkpoint file (01 &lt;script&gt;" in table
    assert 'href="#g1"' in table


def alike_pair(one: str, other: str, kind: str = "same-file", strength: float = 1.0) -> Pair:
    return Pair(one, other, [SignalEvidence(kind, "model.pt", strength, "the same bytes")])


def test_those_who_share_somebody_are_one_group_with_each_pair_below_it() -> None:
    """Three who hand in one file are one thing to look at, and not three lines of a table."""
    pairs = [alike_pair("bo", "ada"), alike_pair("eve", "fay"), alike_pair("cy", "dan"), alike_pair("ada", "cy")]
    first, second = clusters_of(pairs)
    assert (sorted(first.members), len(first.pairs), first.possible) == (["ada", "bo", "cy", "dan"], 3, 6)
    assert (second.members, second.pairs) == (["eve", "fay"], [pairs[1]])
    page = render_integrity_page(Findings("cnn", list("abcdef"), 6, pairs), NOW)
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    assert table.count("<tr>") == 2
    assert re.findall(r'href="#(\w+)"', table) == ["g1", "p2"]
    listed = page[page.index('id="g1"') :]
    assert re.findall(r'href="#(p\d)"', listed[: listed.index("</ul>")]) == ["p1", "p3", "p4"]


def test_the_page_leads_back_to_the_report_and_to_each_students_page_where_they_are_written(tmp_path: Path) -> None:
    found = Findings("cnn", ["ada", "bo"], 2, [alike_pair("ada", "bo")])
    path = write_page(tmp_path / "cnn-integrity", found)
    assert 'href="../' not in path.read_text()
    (tmp_path / "cnn" / "students").mkdir(parents=True)
    for name in ("index.html", f"students/{student_page('ada')}"):
        (tmp_path / "cnn" / name).touch()
    links = set(re.findall(r'href="(\.\./[^"]*)"', write_page(tmp_path / "cnn-integrity", found).read_text()))
    assert links == {"../cnn/index.html", f"../cnn/students/{student_page('ada')}"}
    assert all((path.parent / link).is_file() for link in links)


def test_a_class_with_nothing_to_tell_has_a_page_that_says_so() -> None:
    page = render_integrity_page(Findings("cnn", ["ada"], 0), NOW)
    assert "No two of 1 submissions are alike" in page
    assert "No models were run." in page


def test_every_kind_says_how_often_honest_work_shows_it() -> None:
    page = render_integrity_page(Findings("cnn", [], 0), NOW)
    assert page.count("How often honest work shows it:") == len(KINDS)
    assert all(kind.honest and kind.meaning for kind in KINDS.values())
    assert "lookup" in FLAGS


def test_a_browser_has_nothing_to_complain_of_and_asks_no_network(tmp_path: Path) -> None:
    path = write_page(tmp_path / "cnn-integrity", findings())
    with open_browser() as browser, watched_page(browser) as watched:
        page = watched.open(path)
        page.get_by_role("link", name="Evidence for").first.click()
        assert page.url.endswith("#g1")
        assert page.title() == "cnn: integrity"
        assert accessibility_problems(page) == []
        assert (watched.complaints, watched.requests) == ([], [])


# The whole way


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The course with its release, and three submissions: two share everything but names, one is the author's own."""
    root = tmp_path / "course"
    shutil.copytree(ROOT / "release", root / "release")
    shutil.copytree(ROOT / "source", root / "source")
    shutil.copyfile(ROOT / "nbgrader_config.py", root / "nbgrader_config.py")
    config = f"import dataclasses, runpy\nCOURSE = runpy.run_path({str(ROOT / 'grader_config.py')!r})['COURSE']\n"
    (root / "grader_config.py").write_text(f"{config}COURSE = dataclasses.replace(COURSE, data='offline')\n")
    build_sample("different_style", root / "submitted" / "ada" / ASSIGNMENT, "offline")
    build_sample("partial_checkpoint", root / "submitted" / "bo" / ASSIGNMENT, "offline")
    build_sample("reference", root / "submitted" / "cy" / ASSIGNMENT, "offline")
    return root


def ask(root: Path, *arguments: object) -> Result:
    return CliRunner().invoke(integrity_command, ["--course", str(root), *map(str, arguments)])


def test_the_command_finds_copies_among_students_and_of_the_course_and_runs_no_code(course: Path) -> None:
    shutil.copytree(ROOT / "solutions" / "checkpoints" / "offline", course / "solutions" / "checkpoints" / "offline")
    taken = course / "submitted" / "bo" / ASSIGNMENT / "modern_cnn.safetensors"
    own = load_file(taken)
    noise = np.random.RandomState(0)
    copied = {
        f"{k}.copied": v + 0.1 * v.std() * noise.standard_normal(v.shape) if v.ndim > 1 else v for k, v in own.items()
    }
    copied = {name: value.astype(np.float32) for name, value in copied.items()}
    save_file(copied, course / "submitted" / "ada" / ASSIGNMENT / "modern_cnn.safetensors")
    result = ask(course, "--no-models")
    assert result.exit_code == 0, result.output
    folder = course / "reports" / f"{ASSIGNMENT}-integrity"
    found = json.loads((folder / "integrity.json").read_text())
    kinds = {(p["one"], p["other"]): [e["kind"] for e in p["evidence"]] for p in [*found["pairs"], *found["copies"]]}
    assert kinds["ada", "bo"] == ["near-weights"]
    assert kinds["cy", "solutions/checkpoints/offline/modern_cnn.safetensors"] == ["same-file"]
    assert "code" in kinds["bo", "cy"]
    (line,) = (line for line in result.output.splitlines() if line.startswith("bo, cy and ada: "))
    assert "nearly the same weights" in line
    assert "nearly the same code" in line
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.slow  # the arithmetic is tested above; this grades a network and runs it on 13,000 images
def test_weights_that_were_trained_on_the_test_images_stand_out(course: Path) -> None:
    """The hold-out stands for private images: from the offline set's training images."""
    shutil.rmtree(course / "submitted")
    folder = course / "submitted" / "eve" / ASSIGNMENT
    build_flagged("test_set_weights", folder, "offline")
    for path in folder.glob("0[123]_*.ipynb"):
        path.unlink()  # only the network is looked at
    grader = open_grader(course, ASSIGNMENT)
    save_report(course, grade_submission(grader, "eve", folder))
    images = datasets.load_held_out(datasets.Source("offline"), 500, b"private")
    np.savez(course / "private.npz", images=images.images, labels=images.labels)
    result = ask(course, "--hold-out", course / "private.npz")
    assert result.exit_code == 0, result.output
    found = json.loads((course / "reports" / f"{ASSIGNMENT}-integrity" / "integrity.json").read_text())
    (model,) = found["models"]
    assert not model["problem"]
    assert {c["what"] for c in model["comparisons"] if c["stands_out"]} >= {"mirrored", "hold-out"}
    assert "1 model that stand" in result.output


def test_wrong_usage_is_refused(course: Path) -> None:
    assert ask(course, "--no-models", "--hold-out", course).exit_code == 2
    assert ask(course, "--hold-out", course / "nowhere").exit_code == 2


def test_judged_models_without_a_run_say_why() -> None:
    assert judge_models([RecallOutcome("ada", problem="no evidence")]) == [StudentComparisons("ada", [], "no evidence")]
