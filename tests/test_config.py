"""A wrong configuration names the value, what was expected, and the word that was probably meant."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from autograder.core.config import Assignment, Course, Exercise, Limits, load_course
from autograder.core.config_values import ConfigError
from autograder.core.probes import CheckpointProbe, Drawn, ModuleProbe, draw_all


def write(root: Path, text: str) -> Path:
    (root / "grader_config.py").write_text("from autograder.config import *\n" + text)
    return root


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COURSE = Course(assignments={}, limits=Limits(cell_second=3))", r"no setting 'cell_second'.*'cell_seconds'"),
        ("COURSE = Course(assignments={}, limits=Limits(cell_seconds=-5))", r"cell_seconds must be > 0, got -5"),
        ("COURSE = Course(assignments={}, limits=Limits(memory_mib='8G'))", r"memory_mib must be a number, got '8G'"),
        ("COURSE = Course(assignments={}, limits=Limits(cell_seconds=900))", r"cell_seconds <= notebook_seconds"),
        ("COURSE = Course(assignments={}, device='cdua')", r"device must be one of .*did you mean 'cuda'"),
        ("COURSE = Course(assignments={}, data='ofline')", r"did you mean 'offline'"),
        ("COURSES = 1", r"must define COURSE = Course"),
        ("COURSE = Course(", r"cannot be run: SyntaxError"),
        ("COURSE = Curse()", r"cannot be run: NameError"),
        ("COURSE = Course(assignments={'a': Assignment([Exercise('x', {}, 'g.py')])})", r"cells is empty"),
        ("COURSE = Course(assignments={'a': Assignment([Exercise('x', {'c': 0}, 'g.py')])})", r"points > 0, got 0"),
        ("COURSE = Course(assignments={'a': Assignment([Exercise('x', {'c': 1}, 'g.py')])})", r"no file 'g.py'"),
        (
            "COURSE = Course(assignments={'a': Assignment([Exercise('x', {'c': 1}, 'g.py', sections={'': 'Floor'})])})",
            "headings of Assignment.lesson, which is missing",
        ),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_course(write(tmp_path, text))


def test_missing_configuration_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no grader_config\.py in .*--course"):
        load_course(tmp_path)


def test_unknown_assignment_suggests_the_nearest() -> None:
    course = Course(assignments={"convolution": Assignment([])})
    with pytest.raises(ConfigError, match="did you mean 'convolution'"):
        course.assignment("convolutions")


def test_checkpoint_names_a_module_that_is_probed() -> None:
    checkpoint = CheckpointProbe("w", "BigNets", "t")
    with pytest.raises(ConfigError, match="did you mean 'BigNet'"):
        Exercise("x", {"c": 1}, "g.py", modules=[ModuleProbe("BigNet")], checkpoint=checkpoint)


def test_draws_depend_on_secret_and_scope_only() -> None:
    drawn = [Drawn(size=(8, 400), kernel=[1, 3, 5], times=5), {"size": 64}]
    first = draw_all(drawn, b"secret", "cnn", "01")
    assert first == draw_all(drawn, b"secret", "cnn", "01")
    assert first != draw_all(drawn, b"other", "cnn", "01")
    assert first != draw_all(drawn, b"secret", "cnn", "02")
    assert first[-1] == {"size": 64}
    assert len(first) == 6


def test_draws_keep_to_range_choices_and_condition() -> None:
    drawn = Drawn(size=(8, 12), kernel=[1, 3], fixed="same", where=lambda a: a["size"] % 2 == 0, times=6)
    for arguments in drawn.draw(random.Random(0)):
        assert arguments["size"] in (8, 10, 12)
        assert arguments["kernel"] in (1, 3)
        assert arguments["fixed"] == "same"


def test_a_condition_that_leaves_too_few_draws_is_an_error() -> None:
    with pytest.raises(ConfigError, match="gives only 1 of 2 draws"):
        Drawn(size=(1, 3), where=lambda a: a["size"] == 2, times=2).draw(random.Random(0))


def test_every_limit_has_its_unit_in_its_name() -> None:
    without = {name for name in vars(Limits()) if not name.endswith(("_seconds", "_mib", "_kib"))}
    assert without == {"processes", "outputs", "records", "scratch_files"}  # these are counts
