"""Lists for people are bounded, in number and in length, and say how much is left out."""

from __future__ import annotations

from autograder.core.remarks import MOST_REMARK, MOST_REMARKS, clipped, few, in_words


def test_short_lists_stay_as_they_are() -> None:
    assert few([]) == []
    assert few(["a", "b"]) == ["a", "b"]
    assert in_words(["a", "b", "c", "d", "e"]) == "a, b, c, d, e"


def test_of_a_long_list_the_first_are_shown_and_the_others_counted() -> None:
    shown = few(str(number) for number in range(1990))
    assert shown[:-1] == [str(number) for number in range(MOST_REMARKS)]
    assert shown[-1] == "… and 1,970 more"
    assert few(["a", "b", "c"], 2, "more were set aside")[-1] == "… and 1 more were set aside"
    assert in_words(list("abcdefgh")) == "a, b, c, d, e and 3 more"


def test_one_remark_is_bounded_too() -> None:
    assert clipped("x" * MOST_REMARK) == "x" * MOST_REMARK
    assert few(["x" * 10_000]) == [f"{'x' * MOST_REMARK} …"]
