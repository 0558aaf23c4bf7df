"""Figures: what they show is right, nothing of a student's becomes markup, and nothing odd stops them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from autograder.core.grade_report import Curve, Evaluation, Layer, Model
from autograder.review.figures import (
    Dot,
    draw_accuracy_cost,
    draw_confusion,
    draw_curve,
    draw_exercises,
    draw_histogram,
    draw_model,
    page_variables,
    pareto_front,
)
from autograder.review.figures.network_drawing import lay_out
from autograder.review.figures.svg import PALETTE, round_ticks, short_number

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script>\" onload='x' \u202eexe\x1b[31m"
NAN = math.nan


def parsed(drawn: Markup) -> ElementTree.Element:
    """The figure as a strict reader sees it: well-formed, and nothing in it that runs or that a strict page refuses."""
    root = ElementTree.fromstring(str(drawn))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg", "title", "desc", "g", "a", "rect", "circle", "line", "path", "text",
        }  # fmt: skip
        assert not [name for name in element.attrib if name.startswith("on") or name in ("style", "class")]
        assert "nan" not in " ".join(element.attrib.values()).lower().split()
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def facts(root: ElementTree.Element) -> str:
    found = root.find(f"{SVG}desc")
    assert found is not None
    return found.text or ""


def network(*inputs: Sequence[int], text: str = "Conv 3×3, 8→8") -> Model:
    layers = [Layer("add" if len(i) > 1 else "convolution", text, [8, 4, 4], i, 584) for i in inputs]
    return Model("04_modern_cnn", "ModernCNN", 584 * len(inputs), 1_000_000, layers)


def evaluation(confusion: Sequence[Sequence[Any]], classes: Sequence[str] = ("cat", "dog", "ship")) -> Evaluation:
    correct = sum(int(row[k]) for k, row in enumerate(confusion) if k < len(row) and math.isfinite(row[k]))
    return Evaluation("04_modern_cnn", correct, 30, 30, 0.55, 0.83, classes, confusion)


CONFUSION = [[9, 1, 0], [4, 5, 1], [0, 3, 7]]
DOTS = [Dot("small", 0.6, 100, 5_000), Dot("best", 0.9, 900, 9_000), Dot("beaten", 0.7, 1_000, 9_000)]
FIGURES = [
    draw_model(network([], [0], [1], [2, 0])),
    draw_curve(Curve("04_modern_cnn", [2.0, 1.0], [2.1, 1.2], [0.2, 0.5], [0.3, 0.4])),
    draw_confusion(evaluation(CONFUSION)),
    draw_histogram([3.0, 15.5, 20.0], 20),
    draw_exercises([("02_deeper_cnn", [10, 14, 20], 20), ("04_modern_cnn", [40, 30], 40)]),
    draw_accuracy_cost(DOTS, "parameters", "small"),
]


@pytest.mark.parametrize("drawn", FIGURES, ids=["model", "curve", "confusion", "histogram", "exercises", "cost"])
def test_a_figure_tells_its_facts_in_words_and_stands_alone(drawn: Markup) -> None:
    root = parsed(drawn)
    assert root.get("role") == "img"
    known = {element.get("id") for element in root.iter() if element.get("id")}
    assert {root.get("aria-labelledby"), root.get("aria-describedby")} == known
    assert re.search(r"\d", facts(root))
    assert float(root.get("width", "")) > 0
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    for value in re.findall(r"var\(([^)]*)\)", str(drawn)):
        name, default = value.split(", ")
        assert (name.removeprefix("--figure-"), default) in {(known, light) for known, light, _ in PALETTE.values()}


def test_ids_differ_between_figures_and_stay_from_one_run_to_the_next() -> None:
    keys = [parsed(drawn).get("aria-labelledby") for drawn in FIGURES]
    assert len(set(keys)) == len(FIGURES)
    assert draw_confusion(evaluation(CONFUSION)) == FIGURES[2]


def luminance(shade: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(shade[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out_from_what_is_behind_them(dark: bool) -> None:
    given = dict(re.findall(r"--figure-(\w+): (#\w+);", page_variables(dark=dark)))
    shades = {name: given[variable] for name, (variable, *_) in PALETTE.items()}

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(shades[one]), luminance(shades[other])))
        return (high + 0.05) / (low + 0.05)

    assert contrast("ink", "paper") >= 4.5
    assert contrast("quiet", "paper") >= 4.5
    assert contrast("ink", "shade") >= 4.5
    assert contrast("blue", "paper") >= 3
    assert contrast("orange", "paper") >= 3


# Networks


def test_boxes_say_what_they_are_and_what_comes_out() -> None:
    root = parsed(draw_model(network([], [0])))
    assert texts(root).count("Conv 3×3, 8→8") == 2
    assert texts(root).count("8×4×4") == 2
    assert "1,168 parameters, 1 M MACs" in texts(root)
    assert "From top to bottom: Conv 3×3, 8→8; Conv 3×3, 8→8." in facts(root)


def test_a_residual_connection_runs_in_a_lane_and_a_projection_in_a_column() -> None:
    identity = lay_out([[], [0], [1], [2, 0], [3], [4], [5, 3]])
    assert identity.rows == [0, 1, 2, 3, 4, 5, 6]
    assert set(identity.columns) == {0}
    assert identity.lanes == {(0, 3): 0, (3, 6): 0}  # one after the other: the same lane
    projection = lay_out([[], [0], [1], [0], [2, 3]])
    assert projection.columns == [0, 0, 0, 1, 0]
    assert not projection.lanes


def test_connections_around_one_another_get_lanes_of_their_own() -> None:
    layout = lay_out([[], [0], [1], [2, 1, 0], [3, 0]])
    assert len({layout.lanes[edge] for edge in ((1, 3), (0, 3), (0, 4))}) == 3


def test_parallel_branches_stand_side_by_side() -> None:
    branches: list[list[int]] = [[], [0], [0], [2], [0], [1, 3, 4]]
    layout = lay_out(branches)
    places = list(zip(layout.rows, layout.columns, strict=True))
    assert len(set(places)) == len(branches)
    assert sorted(layout.columns) == [0, 0, 0, 0, 1, 2]


def test_more_branches_than_fit_stand_in_one_column() -> None:
    layout = lay_out([[], *([0] for _ in range(50)), list(range(1, 51))])
    assert set(layout.columns) == {0}
    assert layout.rows == list(range(52))


def test_a_network_of_400_boxes_with_every_connection_there_can_be_is_drawn() -> None:
    drawn = draw_model(network(*(list(range(k)) for k in range(400)), text=HOSTILE))
    assert len(list(parsed(drawn).iter(f"{SVG}circle"))) == 398
    assert "are not drawn" in facts(parsed(drawn))
    assert len(drawn) < 1_000_000


def test_edges_to_boxes_that_are_not_earlier_are_left_out() -> None:
    odd = parsed(draw_model(network([], [0, 0, -1, 1, 7])))
    plain = parsed(draw_model(network([], [0])))
    paths = [[e.get("d") for e in root.findall(f"{SVG}path")] for root in (odd, plain)]
    assert len(paths[0]) == len(paths[1]) == 2
    assert paths[0][1] is not None
    assert paths[0][1].count("M") == 1  # one arrow head


def test_what_is_left_out_of_a_network_is_said() -> None:
    model = Model("n", "Deep", 1, 1, [Layer("input", "Images", [], [])], shortened=12)
    assert "12 steps in the middle are not shown." in facts(parsed(draw_model(model)))


# Curves and accuracies


def test_training_is_solid_and_validation_dashed_and_each_has_its_name() -> None:
    root = parsed(FIGURES[1])
    assert texts(root).count("training") == texts(root).count("validation") == 2
    assert [e.get("stroke-dasharray") for e in root.iter(f"{SVG}path")] == [None, "6 3", None, "6 3"]
    assert "Accuracy: training from 20.0 % to 50.0 % in 2 epochs" in facts(root)


def test_a_curve_breaks_where_a_value_is_not_finite() -> None:
    root = parsed(draw_curve(Curve("n", [1.0, NAN, 0.5, 0.4, math.inf])))
    (path,) = root.iter(f"{SVG}path")
    assert path.get("d", "").count("M") == 2
    assert len(list(root.iter(f"{SVG}circle"))) == 1  # the value alone


def test_a_confusion_matrix_has_true_classes_in_rows() -> None:
    root = parsed(FIGURES[2])
    said = [e.text for e in root.iter(f"{SVG}title")]
    assert "dog taken for cat: 4 (40.0 %)" in said
    assert "ship recognised: 7 (70.0 %)" in said
    assert facts(root) == (
        "Accuracy 70.0 % of 30 images, between 55.0 % and 83.0 % with 95 % confidence. "
        "Least often recognised: dog, 50.0 %. Most frequent confusion: dog taken for cat, 4 times."
    )
    assert [text for text in texts(root) if text.isdigit()] == [str(n) for row in CONFUSION for n in row]


def test_an_accuracy_without_bounds_is_told_without_them() -> None:
    unknown = replace(evaluation(CONFUSION), low=10**400, high=NAN)
    assert "Accuracy 70.0 % of 30 images. Least" in facts(parsed(draw_confusion(unknown)))


# Points


def test_a_histogram_counts_everybody_and_clamps_what_is_outside() -> None:
    root = parsed(draw_histogram([0, 4.9, 5, 20, 25, -1, NAN], 20, bins=4))
    bars = [e.findtext(f"{SVG}title") for e in root.iter(f"{SVG}rect")]
    assert bars == ["0 to 5 points: 3", "5 to 10 points: 1", "15 to 20 points: 2"]
    assert "6 submissions" in facts(root)


def test_exercises_show_the_mean_in_points() -> None:
    root = parsed(FIGURES[4])
    assert "mean 14.7 of 20" in texts(root)
    assert "02_deeper_cnn: mean 14.7 of 20, range 10 to 20." in facts(root)


# Costs


def test_the_pareto_front_leaves_out_what_another_network_beats() -> None:
    assert [dot.label for dot in pareto_front(DOTS, "parameters")] == ["small", "best"]
    twins = [Dot("a", 0.8, 10, 10), Dot("b", 0.8, 10, 20), Dot("c", 0.8, 11, 5), Dot("d", 0.7, 10, 1)]
    assert [dot.label for dot in pareto_front(twins, "parameters")] == ["a", "b"]
    assert [dot.label for dot in pareto_front(twins, "MACs")] == ["d", "c"]
    assert pareto_front([Dot("none", NAN, 1, 1), Dot("free", 0.5, 0, 1)], "parameters") == []


def test_dots_lead_to_pages_and_to_nothing_that_runs() -> None:
    links = {
        "students/a-1.html": True,
        "https://example.org/a?b=1#c": True,
        "http://localhost:8888/formgrader": True,
        "javascript:alert(1)": False,
        "JAVASCRIPT\t:alert(1)": False,
        " javascript:alert(1)": False,
        "data:text/html,x": False,
        "//example.org": False,
        "a b": False,
        "": False,
    }
    for link, is_kept in links.items():
        root = parsed(draw_accuracy_cost([Dot(HOSTILE, 0.5, 10, 10, link)], "MACs"))
        assert [a.get("href") for a in root.iter(f"{SVG}a")] == ([link] if is_kept else [])
        assert root.get("role") == ("group" if is_kept else "img")


def test_the_keyboard_reaches_the_dots_of_the_front_and_the_own_one_only() -> None:
    dots = [Dot(name, accuracy, cost, 1, f"{name}.html") for name, accuracy, cost in
            (("front", 0.9, 10), ("own", 0.5, 20), ("other", 0.6, 30))]  # fmt: skip
    root = parsed(draw_accuracy_cost(dots, "parameters", "own"))
    assert {a.get("href"): a.get("tabindex") for a in root.iter(f"{SVG}a")} == {
        "front.html": None,
        "own.html": None,
        "other.html": "-1",
    }


def test_the_own_network_is_a_diamond_with_its_name() -> None:
    root = parsed(FIGURES[5])
    assert "small" in texts(root)
    assert "best" not in texts(root)
    assert len(list(root.iter(f"{SVG}circle"))) == 2


# What is odd


def test_text_of_a_student_stays_text() -> None:
    drawn = [
        draw_model(network([], text=HOSTILE)),
        draw_confusion(evaluation(CONFUSION, [HOSTILE] * 3)),
        draw_curve(Curve(HOSTILE, [1.0])),
        draw_exercises([(HOSTILE, [1.0], 2.0)]),
        draw_accuracy_cost([Dot(HOSTILE, 0.5, 10, 10)], "MACs", HOSTILE),
    ]
    for figure in drawn:
        parsed(figure)
        assert "<script" not in figure
        assert "\u202e" not in figure
        assert "\x1b" not in figure


@pytest.mark.parametrize(
    "drawn",
    [
        draw_model(Model("n", "Empty", 0, 0)),
        draw_curve(Curve("n")),
        draw_curve(Curve("n", [NAN], [math.inf])),
        draw_confusion(evaluation([])),
        draw_confusion(evaluation([[1, 2], [3]])),
        draw_confusion(evaluation([[0, 0], [0, 0]])),
        draw_confusion(evaluation([[1, -2], [0, 1]])),
        draw_confusion(evaluation([[1, NAN], [0, 1]])),
        draw_histogram([], 20),
        draw_histogram([1.0], 0),
        draw_histogram([NAN], 20),
        draw_exercises([]),
        draw_exercises([("n", [], 20), ("m", [1], 0)]),
        draw_accuracy_cost([], "parameters"),
        draw_accuracy_cost([Dot("n", NAN, 1, 1), Dot("m", 0.5, 0, 1), Dot("o", 1.5, 1, 1)], "parameters"),
    ],
)
def test_nothing_is_drawn_of_nothing(drawn: Markup) -> None:
    assert drawn == Markup("")


def test_values_that_are_all_the_same_are_drawn() -> None:
    parsed(draw_curve(Curve("n", [0.0, 0.0], [], [1.0], [1.0])))
    parsed(draw_histogram([20, 20], 20))
    parsed(draw_exercises([("n", [5, 5, 5], 5)]))
    parsed(draw_accuracy_cost([Dot("a", 1.0, 10, 10), Dot("b", 1.0, 10, 10)], "parameters"))
    parsed(draw_confusion(evaluation([[30]], ["cat"])))


@pytest.mark.parametrize("loss", [5e-324, 1e-300, 1e14, -1e14])
def test_losses_of_any_size_are_drawn(loss: float) -> None:
    parsed(draw_curve(Curve("n", [0.0, loss, loss * (1 + 1e-15)])))


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (1_234, "1.23 k"), (999_999, "1 M"), (12e6, "12 M"), (4e12, "4 T"), (0.5, "0.5")]
)
def test_counts_have_three_digits_and_a_unit(value: float, text: str) -> None:
    assert short_number(value) == text


def test_ticks_are_round_and_lie_within() -> None:
    assert round_ticks(0.2, 0.97) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert round_ticks(0, 105, 10) == [0, 20, 40, 60, 80, 100]
    assert round_ticks(1, 1) == [1]
