"""The hostile submissions of `tests/submissions/hostile/`: the collection is whole, and a part of it is run each day.

`make attack` runs all of it; here another handful each day, so that whoever runs the tests often has run them all.
"""

from __future__ import annotations

import datetime
import re

import pytest
from browser import skip_without_browser

from autograder.jail import find_isolation
from tools.attack import Result, attack
from tools.hostile import AIMS, Attack, read_attacks, read_twins
from tools.samples import ROOT

ADAY = 3
FOR_BROWSERS = "active_files"
REFERENCES = {"honest_output_size", "honest_deeper_cnn", "honest_depthwise", "honest_modern_cnn"}  # test_samples.py's


def part_of(day: datetime.date) -> list[Attack]:
    """The attacks of a day, and the twins among them that no other test grades."""
    everything = [each for each in read_attacks() if not each.slow]
    parts = -(-len(everything) // ADAY)
    chosen = everything[day.toordinal() % parts :: parts]
    twins = {each.twin for each in chosen} - REFERENCES
    return [*chosen, *(twin for twin in read_twins() if twin.name in twins)]


def test_every_attack_has_its_day() -> None:
    today = datetime.date.today()
    attacks = {each.name for each in read_attacks() if not each.slow}
    days = range(-(-len(attacks) // ADAY))
    seen = {each.name for day in days for each in part_of(today + datetime.timedelta(day))}
    assert attacks <= seen


def test_the_collection_is_whole() -> None:
    attacks, twins = read_attacks(), read_twins()
    assert len(attacks) >= 70
    assert {each.aim for each in attacks} == AIMS
    assert {each.notebook for each in attacks} == {twin.notebook for twin in twins}
    assert {twin.name for twin in twins} == {each.twin for each in attacks} | REFERENCES


def test_every_protection_is_explained() -> None:
    headings = set(re.findall(r"^### (.+)$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE))
    assert {each.stopped_by for each in read_attacks()} <= headings


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The attacks of the day, and the one that every browser is tried on, in one course on the offline set: no attack
    hangs on the images, and `make attack` takes those of CIFAR-10."""
    if find_isolation().level == "none":
        pytest.skip(f"no jail on this machine: {find_isolation().problem}")
    chosen = part_of(datetime.date.today())
    chosen += [each for each in read_attacks() if each.name == FOR_BROWSERS and each not in chosen]
    return attack(tmp_path_factory.mktemp("attack") / "course", chosen, "offline")


def test_todays_attacks_gain_nothing_and_break_nothing(result: Result) -> None:
    bad = {o.attack.name: (o.gained, o.wrong, o.effects) for o in result.outcomes if not o.is_good}
    assert not bad
    assert not result.effects


def test_a_collected_hostile_submission_does_nothing_in_a_browser(result: Result) -> None:
    skip_without_browser()
    (outcome,) = (each for each in result.outcomes if each.attack.name == FOR_BROWSERS)
    assert outcome.is_good, (outcome.wrong, outcome.effects)
    assert not result.effects
