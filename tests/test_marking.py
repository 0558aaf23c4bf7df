"""Marking by hand: alike answers, rubrics, two people at once, undo; the page in a browser, and who may open it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, Page

from autograder.core.limited import WorkFailed
from autograder.course import hand_marks
from autograder.course.folder import open_course
from autograder.course.forget import find_traces, forget
from autograder.course.gradebook import GradebookError, read_marks
from autograder.course.hand_marks import Given, HandMarkError, HeldMark, Wish, give, read_held
from autograder.course.manual_marks import judge_marks
from autograder.course.marking_record import (
    MarkingRecord,
    RecordError,
    Rubric,
    RubricItem,
    open_record,
    record_path,
)
from autograder.course.report_store import load_report, save_report
from autograder.handin.answers import CUT
from autograder.handin.content import content_digest
from autograder.review.marking import texts
from autograder.review.marking.decide import (
    Wanted,
    WrongForm,
    compose,
    decide,
    read_points,
    rubric_points,
    undo,
)
from autograder.review.marking.desk import Desk
from autograder.review.marking.grouping import differences, group_answers, stack_groups
from autograder.review.marking.questions import AnswerPart, Question, StudentAnswer, rank_of
from autograder.review.marking.server import chosen_answers
from autograder.review.marking.texts import SourceText, TextRenderer
from autograder.review.marking.views import arrange, filled_in, names_of, question_view, scoped
from tests import marking_course
from tests.browser import accessibility_problems, open_browser, watched_page
from tests.marking_course import ASSIGNMENT, HOSTILE, NOTEBOOK, TESTS, WHY, student
from tests.tiny_course import run

TEXTS = ("Because I counted them.", "because  I counted\nthem.", "Somebody told me so.", "I counted all of them twice.")
NOW = datetime(2026, 12, 1, tzinfo=timezone.utc)
LONG = "A standard convolution looks at space and mixes channels in one step; the separable form splits the work in two"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four answers of three texts; of the fourth student a check could not be decided, too."""
    return marking_course.make(tmp_path_factory.mktemp("template") / "course", TEXTS, undecided=[3])


def desk_of(course: Path, marker: str = "anna") -> Desk:
    return Desk(open_course(course), ASSIGNMENT, marker)


@contextmanager
def at_work(course: Path, marker: str = "anna") -> Iterator[tuple[Desk, MarkingRecord, Question]]:
    desk = desk_of(course, marker)
    question = desk.question(NOTEBOOK, WHY)
    assert question is not None
    with open_record(course, ASSIGNMENT) as record:
        yield desk, record, question


def seen_by(question: Question, *students: int) -> dict[str, str]:
    wanted = {student(number) for number in students}
    return {a.grade: a.version for a in question.answers if not wanted or a.held.student in wanted}


def held(course: Path, number: int, cell: str = WHY) -> HeldMark:
    found = read_held(open_course(course).db_url, ASSIGNMENT, {(NOTEBOOK, TESTS): marking_course.PLACE})
    return next(mark for mark in found if (mark.student, mark.cell) == (student(number), cell))


# Alike answers and their order


def answer(text: str, name: str = "", *, is_code: bool = False, **own: Any) -> StudentAnswer:
    name = name or text
    mark = HeldMark(name, name, NOTEBOOK, WHY, 5.0, None, None, None, True)
    return StudentAnswer(mark, name, [AnswerPart(text, is_code)] if text else [], own.pop("digest", name), **own)


def grouped(*answers: StudentAnswer) -> list[list[str]]:
    return [[one.grade for one in group.answers] for group in group_answers(answers)]


def stacked(*answers: StudentAnswer) -> list[list[str]]:
    return [[group.id for group in stack.groups] for stack in stack_groups(group_answers(answers))]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("It is 9 times\n cheaper. ", "it is 9  times cheaper.", True),
        ("It is 9 times cheaper.", "It is 8 times cheaper.", False),
        ("ratio $1/K$", "Ratio  $1 / K$", True),
        ("ratio $1/K$", "ratio $1/k$", False),  # in a formula, capitals are other letters
        ("", "", True),
    ],
)
def test_prose_is_one_text_whatever_its_white_space_and_capitals(one: str, other: str, same: bool) -> None:
    assert (len(grouped(answer(one, "a"), answer(other, "b"))) == 1) is same


def test_code_is_one_text_only_with_its_indentation_and_capitals() -> None:
    base = "if a:\n    b = 1\n\nc = 2  "
    texts = [base, "if a:\n    b = 1\nc = 2", "if a:\n  b = 1\nc = 2", "if A:\n    b = 1\nc = 2"]
    assert grouped(*(answer(text, str(n), is_code=True) for n, text in enumerate(texts))) == [["0", "1"], ["2"], ["3"]]


def test_what_else_decides_the_points_keeps_answers_apart() -> None:
    """Other points that are decided already, another open check, and an answer of which only the beginning is known."""
    cut = f"{LONG}\n{CUT}"
    assert len(grouped(answer("x", "a", settled=3.0), answer("x", "b", settled=2.0))) == 2
    assert len(grouped(answer("x", "a", undecided=["logits"]), answer("x", "b", undecided=["learns"]))) == 2
    assert len(grouped(answer(cut, "a"), answer(cut, "b"))) == 2
    assert len(grouped(answer(cut, "a", digest="d"), answer(cut, "b", digest="d"))) == 1


def test_similar_texts_lie_in_one_stack_but_not_those_that_say_otherwise() -> None:
    more, less = answer(f"{LONG}."), answer(f"{LONG}, I think.")
    denied, number = answer(f"{LONG}, not more."), answer(f"{LONG}, 9 times.")
    assert stacked(more, denied, less, number) == [[more.grade, less.grade], [denied.grade], [number.grade]]
    assert stacked(answer("K is 3"), answer("K is b")) == [["K is 3"], ["K is b"]]  # too short to be similar


def test_a_stack_does_not_drift_and_is_led_by_the_largest_group() -> None:
    """From neighbour to neighbour a few letters change; the last has too little in common with the first."""
    steps = ["x" * 6 * n + LONG[6 * n :] for n in range(10)]
    answers = [answer(text, f"{n}-{copy}") for n, text in enumerate(steps) for copy in range(3 if n == 1 else 1)]
    stacks = stack_groups(group_answers(answers))
    assert stacks[0].groups[0].id == "1-0"
    assert len(stacks) > 2
    assert sorted(one.grade for stack in stacks for one in stack.answers) == sorted(one.grade for one in answers)


def test_differences_are_marked_and_escaped() -> None:
    shown = str(differences("it is <b>so", "it was <b>so</b>"))
    assert shown == "it <ins>was</ins><del>is</del> &lt;b&gt;so<ins>&lt;/b&gt;</ins>"


def test_the_order_is_stable_and_another_one_for_each_question() -> None:
    def order(secret: bytes, cell: str) -> list[int]:
        marks = [HeldMark(str(n), student(n), NOTEBOOK, cell, 5.0, None, None, None, True) for n in range(30)]
        return [int(m.grade) for m in sorted(marks, key=lambda mark: rank_of(secret, ASSIGNMENT, mark))]

    assert order(b"s", WHY) == order(b"s", WHY)
    assert len({tuple(order(secret, cell)) for secret in (b"s", b"t") for cell in (WHY, "other")}) == 4
    assert order(b"s", WHY) != list(range(30))


def test_the_next_answer_is_looked_for_around_the_end(course: Path) -> None:
    with at_work(course) as (desk, record, question):
        arranged = arrange(question)
        group = arranged.groups[-1].answers
        last = group[0]
        assert arranged.next_open(last.grade) == last  # still waiting itself
        decide(desk, record, question, Wanted({one.grade: one.version for one in group}, points=1.0))
    with at_work(course) as (_, _, question):
        assert arrange(question).next_open(last.grade) == arrange(question).groups[0].answers[0]


# Rubrics


@pytest.mark.parametrize(
    ("full", "points", "total"),
    [(False, [2, 1], 3), (False, [4, 4], 5), (False, [-1], 0), (True, [-1.5, -1], 2.5), (True, [], 5), (True, [-9], 0)],
)
def test_rubric_points_stay_between_none_and_all(full: bool, points: Sequence[float], total: float) -> None:
    items = [RubricItem(n, value, "x") for n, value in enumerate(points)]
    assert rubric_points(Rubric(items, full), items, 5.0) == total


def test_floating_point_noise_of_a_sum_is_not_written() -> None:
    items = [RubricItem(n, 0.1, "x") for n in range(3)]
    assert rubric_points(Rubric(items), items, 5.0) == 0.3


def test_points_are_read_as_people_type_them() -> None:
    assert [read_points(text) for text in ("2,5", " 3 ", "", "−1")] == [2.5, 3.0, None, -1.0]
    for text in ("nan", "inf", "three", "1e9"):
        with pytest.raises(WrongForm, match="must be a number"):
            read_points(text)


def test_a_comment_is_made_of_items_and_words() -> None:
    items = [RubricItem(1, 2, "Both factors"), RubricItem(2, -0.5, "No numbers"), RubricItem(3, 0, "See page 3")]
    assert compose(items, " Well done. ") == "- Both factors (+2)\n- No numbers (−0.5)\n- See page 3\n\nWell done."
    with pytest.raises(WrongForm, match="at most 20,000 characters"):
        compose([], "x" * 20_001)


def test_of_two_who_change_an_item_the_second_is_told(course: Path) -> None:
    with open_record(course, ASSIGNMENT) as record:
        record.add_item("q", 2.0, "Both factors")
        (seen,) = record.rubric("q").items
        assert record.change_item("q", seen, 1.0, "Both factors")
        assert not record.change_item("q", seen, 3.0, "Both factors")
        assert not record.remove_item("q", seen)
        assert [item.points for item in record.rubric("q").items] == [1.0]


# Decisions


def test_a_decision_writes_what_formgrader_would_and_nothing_else(course: Path) -> None:
    url = open_course(course).db_url
    with Gradebook(url) as gradebook:
        gradebook.find_grade(WHY, NOTEBOOK, ASSIGNMENT, student(0)).extra_credit = 1.0
        gradebook.db.commit()
    before = read_marks(url, ASSIGNMENT)
    with at_work(course) as (desk, record, question):
        record.add_item(question.name, 2.0, "Counted")
        (item,) = record.rubric(question.name).items
        result = decide(desk, record, question, Wanted(seen_by(question, 0, 1), [item.id], words="Good."))
        assert (result.count, result.conflicts) == (2, [])
        assert [decision.id for decision in record.decisions(question.name, 9)] == [result.number]
        assert record.comments(question.name, 9) == ["Good."]
    for number in (0, 1):
        assert held(course, number).given == Given(2.0, "- Counted (+2)\n\nGood.", needs_person=False)
    after = read_marks(url, ASSIGNMENT)
    changed = {(name, m.cell) for name, own in after.items() for m in own if m not in before[name]}
    assert changed == {(student(0), WHY), (student(1), WHY)}
    assert held(course, 0).extra_credit == 1.0
    assert held(course, 2).needs_person  # nobody has marked it
    with Gradebook(url) as gradebook:
        assert gradebook.find_comment(WHY, NOTEBOOK, ASSIGNMENT, student(1)).comment == "- Counted (+2)\n\nGood."


def test_the_mark_belongs_to_the_answer_that_was_graded_last(course: Path) -> None:
    """As for a mark of formgrader's: graded again with another answer, it is an older one."""
    with at_work(course) as (desk, record, question):
        decide(desk, record, question, Wanted(seen_by(question, 0), points=4.0))
    before = load_report(course, ASSIGNMENT, student(0))
    marks = read_marks(open_course(course).db_url, ASSIGNMENT)[student(0)]
    for text, is_older in ((TEXTS[0], False), ("Another text.", True)):
        (mark,) = judge_marks(marking_course.report_of(0, text), before, marks, "review", NOW)
        assert mark.is_older is is_older


def test_an_undecided_check_is_marked_with_its_comment_beside_the_code(course: Path) -> None:
    with at_work(course) as (desk, record, _):
        question = desk.question(NOTEBOOK, TESTS)
        assert question is not None
        (only,) = question.answers  # of the others everything is decided
        assert not question.is_written
        assert only.remarks[0].startswith("The total is large (5), undecided: forward branches")
        assert "give this cell 3 points for the decided checks" in only.remarks[1]
        decide(desk, record, question, Wanted({only.grade: only.version}, points=7.5, words="It is right."))
    assert held(course, 3, TESTS).given == Given(7.5, "It is right.")
    assert held(course, 3, TESTS).automatic == 3.0
    with Gradebook(open_course(course).db_url) as gradebook:
        comment = gradebook.find_comment(marking_course.PLACE, NOTEBOOK, ASSIGNMENT, student(3))
        assert comment.manual_comment == "It is right."


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"points": 5.5}, "expected 0 to 5 points, got 5.5"),
        ({"points": -1.0}, "expected 0 to 5 points, got -1"),
        ({}, "nothing is given yet"),
        ({"items": [77]}, "an item of the rubric was removed meanwhile"),
    ],
)
def test_what_cannot_be_decided_writes_nothing(course: Path, wanted: dict[str, Any], problem: str) -> None:
    with at_work(course) as (desk, record, question):
        with pytest.raises(WrongForm, match=problem):
            decide(desk, record, question, Wanted(seen_by(question, 0), **wanted))
        assert record.decisions(question.name, 9) == []
    assert held(course, 0).needs_person


def test_a_comment_without_a_place_is_refused_with_its_points(course: Path) -> None:
    url = open_course(course).db_url
    mark = next(m for m in read_held(url, ASSIGNMENT) if m.cell == TESTS)  # no comment cell is named for it
    with pytest.raises(HandMarkError, match="nbgrader keeps no comment"):
        give(url, ASSIGNMENT, [Wish(mark.grade, mark.version, Given(1.0, "lost"))], {}, lambda _: None)
    assert mark in read_held(url, ASSIGNMENT)


def test_what_the_record_cannot_keep_is_not_written(course: Path) -> None:
    def full(_: object) -> None:
        raise RecordError("no room")

    url, mark = open_course(course).db_url, held(course, 0)
    with pytest.raises(RecordError):
        give(url, ASSIGNMENT, [Wish(mark.grade, mark.version, Given(1.0))], {}, full)
    assert held(course, 0) == mark


def test_a_decision_that_does_not_come_about_leaves_no_record(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(course) as (desk, record, question):
        real = Gradebook.__init__

        def cannot_commit(self: Gradebook, *arguments: Any, **named: Any) -> None:
            real(self, *arguments, **named)
            monkeypatch.setattr(self.db, "commit", lambda: (_ for _ in ()).throw(GradebookError("locked")))

        monkeypatch.setattr(Gradebook, "__init__", cannot_commit)
        with pytest.raises(GradebookError):
            decide(desk, record, question, Wanted(seen_by(question, 0), points=1.0))
        assert record.decisions(question.name, 9) == []
    monkeypatch.undo()
    assert held(course, 0).needs_person


# Two people


def test_of_two_who_mark_one_answer_the_second_is_told_who_was_faster(course: Path) -> None:
    with at_work(course) as (_, _, early):
        with at_work(course, "ben") as (desk, record, question):
            assert decide(desk, record, question, Wanted(seen_by(question, 0), points=3.0, words="Short.")).count == 1
        with at_work(course, "anna") as (desk, record, _):
            result = decide(desk, record, early, Wanted(seen_by(early, 0, 1), points=4.0))
            (conflict,) = result.conflicts
            assert (result.count, conflict.marker, conflict.is_new_text) == (1, "ben", False)
            assert conflict.answer.held.given == Given(3.0, "Short.")
            assert held(course, 0).score == 3.0  # not overwritten
            assert held(course, 1).score == 4.0  # the other answer of the group is
            again = Wanted({conflict.answer.grade: conflict.answer.version}, points=4.0)
            assert decide(desk, record, early_again(desk), again).count == 1  # the person has seen it now
    assert held(course, 0).score == 4.0


def early_again(desk: Desk) -> Question:
    question = desk.question(NOTEBOOK, WHY)
    assert question is not None
    return question


def test_a_mark_of_formgraders_is_nobodys_by_name(course: Path) -> None:
    with at_work(course) as (desk, record, question):
        with Gradebook(desk.db_url) as gradebook:
            grade = gradebook.find_grade(WHY, NOTEBOOK, ASSIGNMENT, student(0))
            grade.manual_score, grade.needs_manual_grade = 1.0, False
            gradebook.db.commit()
        (conflict,) = decide(desk, record, question, Wanted(seen_by(question, 0), points=4.0)).conflicts
    assert (conflict.marker, conflict.answer.held.score) == ("", 1.0)


def test_an_answer_that_is_another_one_now_is_not_marked_unread(course: Path) -> None:
    with at_work(course) as (desk, record, question):
        marking_course.regrade(course, 0, "I have thought again.")
        result = decide(desk, record, early_again(desk), Wanted(seen_by(question, 0), points=4.0))
    assert result.count == 0
    assert [conflict.is_new_text for conflict in result.conflicts] == [True]
    assert held(course, 0).needs_person


def test_nothing_is_marked_while_it_is_being_recorded(course: Path) -> None:
    path = course / ".autograder" / "recording" / ASSIGNMENT / f"{student(0)}.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with at_work(course) as (desk, record, question):
        result = decide(desk, record, question, Wanted(seen_by(question, 0, 1), points=4.0))
    assert (result.count, len(result.conflicts)) == (1, 1)
    assert held(course, 0).needs_person


def test_of_many_at_the_same_moment_one_writes(course: Path) -> None:
    """Without the lock that is taken before reading, several would see the version that all of them have seen."""
    url, mark = open_course(course).db_url, held(course, 0)
    written: list[float] = []
    start = threading.Barrier(6)

    def write(score: float) -> None:
        start.wait()
        wish = Wish(mark.grade, mark.version, Given(score))
        outcome = give(url, ASSIGNMENT, [wish], {}, lambda _: None)
        written.extend(score for _ in outcome.written)

    threads = [threading.Thread(target=write, args=[score / 2]) for score in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [held(course, 0).score] == written


def test_reading_comes_after_the_lock(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that writes between the two waits, and then finds another version."""
    url, mark = open_course(course).db_url.replace("timeout=60", "timeout=0.1"), held(course, 0)
    real = hand_marks._read

    def read(*arguments: Any) -> list[HeldMark]:
        monkeypatch.setattr(hand_marks, "_read", real)
        with pytest.raises(GradebookError, match="locked"):
            give(url, ASSIGNMENT, [Wish(mark.grade, mark.version, Given(1.0))], {}, lambda _: None)
        return real(*arguments)

    monkeypatch.setattr(hand_marks, "_read", read)
    outcome = give(url, ASSIGNMENT, [Wish(mark.grade, mark.version, Given(2.0))], {}, lambda _: None)
    assert len(outcome.written) == 1
    assert held(course, 0).score == 2.0


# Undo


def test_undo_puts_back_what_there_was(course: Path) -> None:
    url = open_course(course).db_url
    before = read_marks(url, ASSIGNMENT)
    with at_work(course) as (desk, record, question):
        decide(desk, record, question, Wanted(seen_by(question), points=4.0, words="Good."))
    with at_work(course) as (desk, record, question):
        decision = record.latest_of(question.name, "anna")
        assert decision is not None
        assert undo(desk, record, question, decision).count == 4
        assert read_marks(url, ASSIGNMENT) == before
        assert held(course, 0).comment == ""
        assert record.latest_of(question.name, "anna") is None
        again = record.decision(decision.id)
        assert again is not None
        assert again.undone_by == "anna"
        with pytest.raises(WrongForm, match="undone already by anna"):
            undo(desk, record, early_again(desk), again)


def test_undo_leaves_alone_what_somebody_has_changed_since(course: Path) -> None:
    with at_work(course) as (desk, record, question):
        decide(desk, record, question, Wanted(seen_by(question, 0, 1), points=4.0))
    with at_work(course, "ben") as (desk, record, question):
        decide(desk, record, question, Wanted(seen_by(question, 0), points=1.0))
    with at_work(course) as (desk, record, question):
        decision = record.latest_of(question.name, "anna")
        assert decision is not None
        undone = undo(desk, record, question, decision)
    assert (undone.count, undone.left) == (1, 1)
    assert [held(course, number).score for number in (0, 1)] == [1.0, None]
    assert held(course, 1).needs_person


# What the page shows


def test_a_form_begins_with_the_mark_that_stands(course: Path) -> None:
    with at_work(course) as (desk, record, question):
        record.add_item(question.name, 2.0, "Counted")
        (item,) = record.rubric(question.name).items
        decide(desk, record, question, Wanted(seen_by(question, 0), [item.id], words="Good."))
        decide(desk, record, question, Wanted(seen_by(question, 2), [item.id], 3.0, "Well."))

    def form(number: int) -> tuple[list[int], str, str]:
        with at_work(course) as (_, record, question):
            shown = next(a for a in question.answers if a.held.student == student(number))
            return filled_in(question, record.rubric(question.name), shown, record.last_words(question.name))

    assert form(0) == ([item.id], "Good.", "")  # the points are the items' sum
    assert form(2) == ([item.id], "Well.", "3")
    assert form(3) == ([], "", "")
    with Gradebook(open_course(course).db_url) as gradebook:  # formgrader
        gradebook.find_comment(WHY, NOTEBOOK, ASSIGNMENT, student(0)).manual_comment = "Rather not."
        gradebook.db.commit()
    assert form(0) == ([], "Rather not.", "2")


def test_scopes_lie_within_each_other() -> None:
    same = [answer(f"{LONG}.", "a"), answer(f"{LONG}.", "b")]
    (stack,) = stack_groups(group_answers([*same, answer(f"{LONG}, I think.", "c")]))
    kinds = [(kind, one.grade) for kind, one in scoped(stack, stack.groups[0], same[1])]
    assert kinds == [("same", "a"), ("one", "b"), ("alike", "c")]


def test_a_decision_holds_for_what_was_seen_and_waits_unless_asked_otherwise() -> None:
    told = ["one:marked:a:v1", "same:open:b:v2", "same:marked:c:v3", "alike:open:d:v4"]
    assert chosen_answers(told, "one", again=False) == {"a": "v1"}
    assert chosen_answers(told, "same", again=False) == {"b": "v2"}
    assert chosen_answers(told, "same", again=True) == {"a": "v1", "b": "v2", "c": "v3"}
    assert chosen_answers(told, "alike", again=False) == {"b": "v2", "d": "v4"}
    with pytest.raises(WrongForm):
        chosen_answers([told[0], told[2]], "same", again=False)


def test_hidden_names_are_numbers_in_the_question_s_order(course: Path) -> None:
    with at_work(course) as (_, _, question):
        assert sorted(names_of(question, hidden=False).values()) == [student(n) for n in range(4)]
        assert list(names_of(question, hidden=True).values()) == [f"answer {n}" for n in range(1, 5)]


def test_submissions_whose_marks_are_of_another_grading_are_left_out(course: Path) -> None:
    with Gradebook(open_course(course).db_url) as gradebook:
        gradebook.find_grade(TESTS, NOTEBOOK, ASSIGNMENT, student(0)).auto_score = 1.0
        gradebook.db.commit()
    with at_work(course) as (_, _, question):
        assert question.left_out == [student(0)]
        assert len(question.answers) == 3


def test_who_has_handed_in_again_is_known(course: Path) -> None:
    folder = course / "submitted" / student(0) / ASSIGNMENT
    folder.mkdir(parents=True)
    (folder / f"{NOTEBOOK}.ipynb").write_text("{}")
    report = replace(marking_course.report_of(0, TEXTS[0]), content=content_digest(folder))
    save_report(course, report)
    desk = desk_of(course)
    assert desk.handed_in_again() == []
    (folder / f"{NOTEBOOK}.ipynb").write_text("{ }")
    assert desk.handed_in_again() == desk.handed_in_again([student(0)]) == [student(0)]
    with at_work(course) as (_, record, question):
        shown = next(a for a in question.answers if a.held.student == student(0))
        assert question_view(desk, record, question, arrange(question), shown.grade)["is_changed"]


def test_an_answer_that_stands_elsewhere_is_found(course: Path) -> None:
    def parts() -> Sequence[AnswerPart]:
        with at_work(course) as (_, _, question):
            return next(a.parts for a in question.answers if a.held.student == student(0))

    marking_course.regrade(course, 0, marking_course.RELEASED)
    assert parts() == []
    path = course / ".autograder" / "reports" / ASSIGNMENT / f"{student(0)}.json"
    report = json.loads(path.read_text())
    report["sources"][NOTEBOOK].append({"index": 4, "kind": "markdown", "name": "", "source": "Here it is."})
    path.write_text(json.dumps(report))
    (part,) = parts()
    assert (part.text, part.place) == ("Here it is.", "cell 5 of the notebook, which was added")


def test_texts_are_rendered_with_formulas_and_without_anything_alive() -> None:
    (shown, code) = TextRenderer().render([SourceText(HOSTILE), SourceText("x = '<b>'", is_code=True)])
    assert not re.search(r"<(?:script|img[^>]* src|style|form|button|a)\b|\son\w+\s*=|style=", shown)
    assert re.search(r'<svg class="fb-formula"[^>]* data-shift="\d+"', shown)
    assert "&lt;b&gt;" in code


def test_what_cannot_be_rendered_is_shown_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(function: Any, told: Any, _: Any) -> Any:
        if any("deep" in each["text"] for each in told):
            raise WorkFailed("MemoryError")
        return function(told)

    monkeypatch.setattr(texts, "run_limited", limited)  # whose limits have tests of their own
    bad, good = TextRenderer().render([SourceText("<i>deep"), SourceText("**good**")])
    assert "rendering it takes too much" in bad
    assert "&lt;i&gt;deep" in bad
    assert "<strong>good</strong>" in good


# The record


def test_the_record_is_its_owners_and_forgets(course: Path) -> None:
    with at_work(course) as (desk, record, question):
        decide(desk, record, question, Wanted(seen_by(question, 0, 1), points=4.0, words="Ask student-000 about it."))
        record.drop_comment(question.name, "Ask student-000 about it.")
    path = record_path(course, ASSIGNMENT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    traces = [t for t in find_traces(open_course(course), student(0), [ASSIGNMENT]) if "marking" in t.what]
    assert [trace.what for trace in traces] == [f".autograder/marking/{ASSIGNMENT}.db: 1 entry"]
    forget(traces)
    with open_record(course, ASSIGNMENT) as record:
        (decision,) = record.decisions(f"{NOTEBOOK}/{WHY}", 9)
        assert [a.grade for a in decision.answers] == [held(course, 1).grade]


def test_a_damaged_record_is_named_with_its_remedy(course: Path) -> None:
    path = record_path(course, ASSIGNMENT)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but longer than its header would be" * 20)
    with pytest.raises(RecordError, match=r"is damaged .*: put back a copy"), open_record(course, ASSIGNMENT):
        pass


# The page: who may open it, and a class of 120 in a browser

OWN_WORDS = [f"Answer {n}: the separable form has {n} weights, since it splits the work into two." for n in range(9)]
OWN_WORDS += [f"{LONG}.", f"{LONG}, I think.", HOSTILE]
OWN_PICTURES = ["image-alt"]  # a picture of a student's has the description that the student gave it, or none


@dataclass(frozen=True)
class Served:
    """A session of `autograder mark` in a process of its own."""

    course: Path
    address: str

    @property
    def origin(self) -> str:
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.address))

    @property
    def question(self) -> str:
        return f"{self.address}question/{NOTEBOOK}/{WHY}"

    def ask(self, method: str, path: str, body: str = "", **headers: str | None) -> tuple[int, dict[str, str]]:
        """Status and headers, of a request as a browser's or anybody else's program sends it."""
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=30)
        usual = {"Host": connection.host + f":{connection.port}"}
        usual |= {"Origin": self.origin} if method == "POST" else {}
        sent = {name: value for name, value in (usual | headers).items() if value is not None}
        connection.putrequest(method, path, skip_host=True)
        for name, value in (sent | {"Content-Length": str(len(body))}).items():
            connection.putheader(name, value)
        connection.putheader("Content-Type", "application/x-www-form-urlencoded")
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders())


@contextmanager
def served(course: Path, marker: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "autograder.cli", "mark", "--no-browser", "--as", marker, "--course", str(course)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Open "):
                break
        else:
            raise AssertionError("".join(lines))
        try:
            yield Served(course, line.split()[1])
        finally:
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert f"by {marker}. `autograder report {ASSIGNMENT}` shows it." in told
    assert "Traceback" not in told


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """120 answers of 12 texts, served to anna."""
    answers = [OWN_WORDS[n * 7 % 12] for n in range(120)]
    course = marking_course.make(tmp_path_factory.mktemp("class") / "course", answers, undecided=[3])
    with served(course, "anna") as opened:
        yield opened


def test_only_pages_of_the_session_may_ask(session: Served) -> None:
    token, before = urlsplit(session.address).path, read_marks(open_course(session.course).db_url, ASSIGNMENT)
    port, mark = urlsplit(session.address).port, f"{token}question/{NOTEBOOK}/{WHY}/mark"
    with at_work(session.course) as (_, _, question):
        one = question.answers[0]
    form = urlencode({"scope": "one", "shown": one.grade, "answer": f"one:open:{one.grade}:{one.version}", "points": 1})
    assert session.ask("GET", token)[0] == 200
    refused = [
        session.ask("GET", "/"),
        session.ask("GET", f"/{'x' * 32}/"),
        session.ask("GET", f"/{token.strip('/')[:-1]}/"),
        session.ask("GET", token, Host=f"evil.example:{port}"),
        session.ask("GET", token, Host=f"localhost:{port}"),
        session.ask("GET", token, Host=None),
        session.ask("POST", mark, form, Host=f"evil.example:{port}"),
        session.ask("POST", mark, form, Origin="http://evil.example"),
        session.ask("POST", mark, form, Origin=f"http://127.0.0.1:{(port or 0) + 1}"),
        session.ask("POST", mark, form, Origin="null"),
        session.ask("POST", mark, form, Origin=None),
        session.ask("POST", mark, form, **{"Sec-Fetch-Site": "cross-site"}),
        session.ask("POST", mark.replace(token, "/"), form),
    ]
    assert [status for status, _ in refused] == [403] * len(refused[:5]) + [refused[5][0]] + [403] * len(refused[6:])
    assert refused[5][0] in (400, 403)  # HTTP itself asks for a host
    assert session.ask("PUT", mark, form, Origin=session.origin)[0] == 405
    assert read_marks(open_course(session.course).db_url, ASSIGNMENT) == before
    assert session.ask("POST", mark, form)[0] == 303  # the same is done for a page of ours …
    assert held_by(session, one.grade).score == 1.0
    undone = session.ask("POST", mark.replace("/mark", "/undo"), urlencode({"decision": latest(session)}))
    assert undone[0] == 303  # … and undone
    assert read_marks(open_course(session.course).db_url, ASSIGNMENT) == before


def held_by(session: Served, grade: str) -> HeldMark:
    return next(m for m in read_held(open_course(session.course).db_url, ASSIGNMENT) if m.grade == grade)


def latest(session: Served) -> int:
    with open_record(session.course, ASSIGNMENT) as record:
        return record.decisions(f"{NOTEBOOK}/{WHY}", 1)[0].id


def test_only_this_machine_is_listened_to(session: Served) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", urlsplit(session.address).port or 0), timeout=5)


def test_every_answer_carries_the_policy(session: Served) -> None:
    for path in (urlsplit(session.address).path, "/"):
        headers = session.ask("GET", path)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["X-Frame-Options"], headers["Referrer-Policy"]) == ("DENY", "same-origin")
        assert headers["Cache-Control"] == "no-store"


def test_a_port_that_is_taken_is_one_message(session: Served) -> None:
    port = urlsplit(session.address).port
    result = run("mark", "--no-browser", "--port", port, "--course", session.course)
    assert result.exit_code == 1
    assert f"port {port} cannot be used (Address already in use): name another one" in words(result.output)


def test_without_anything_graded_it_says_so(course: Path) -> None:
    shutil.rmtree(course / ".autograder" / "reports")
    result = run("mark", "--course", course)
    assert result.exit_code == 1
    assert "no submission of 'tiny' has been graded yet" in words(result.output)
    assert run("mark", "--as", " ", "--course", course).exit_code == 2


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@contextmanager
def window(browser: Browser, session: Served, **settings: Any) -> Iterator[Page]:
    """A page in which nothing may run or be asked for but the session's own; reads the next answer that waits."""
    with watched_page(browser, origin=session.origin, **settings) as watched:
        watched.page.goto(session.question)
        yield watched.page
        assert watched.complaints == []
        assert watched.requests == []


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def save(page: Page) -> None:
    """Enter, and the page that follows."""
    with page.expect_navigation():
        press(page, "Enter")


def waiting(page: Page) -> int:
    return int(page.locator("#open").inner_text())


def test_a_class_of_120_is_marked_with_12_decisions(browser: Browser, session: Served) -> None:
    with window(browser, session) as page:
        assert waiting(page) == 120
        press(page, "r")
        page.keyboard.type("2.5")
        press(page, "Tab")
        page.keyboard.type("Says how the work is split")
        with page.expect_navigation():
            page.get_by_role("button", name="Add").click()
        decisions, hostile = 0, 0
        while waiting(page):
            if "Taken over?" in page.locator("#text").inner_text():
                hostile += 1
                assert_inert(page)
            press(page, "1")
            assert page.locator("#points").get_attribute("placeholder") == "2.5"
            if decisions == 0:
                press(page, "c")
                page.keyboard.type("Give the numbers, too.")
                press(page, "Control+Enter")
                page.wait_for_url("**done=*")
            else:
                press(page, "Shift+Digit1")  # the comment is offered from now on
                assert page.locator("#words").input_value() == "Give the numbers, too."
                save(page)
            decisions += 1
            assert waiting(page) == 120 - 10 * decisions
        assert (decisions, hostile) == (12, 1)
        assert page.locator("#all-marked").is_visible()
        comment = "- Says how the work is split (+2.5)\n\nGive the numbers, too."
        marks = [m for m in read_held(open_course(session.course).db_url, ASSIGNMENT) if m.cell == WHY]
        assert {mark.given for mark in marks} == {Given(2.5, comment)}
        with page.expect_navigation():
            press(page, "u")
        assert waiting(page) == 10
        assert accessibility_problems(page, OWN_PICTURES) == []
        press(page, "f")
        save(page)
        assert waiting(page) == 0


def assert_inert(page: Page) -> None:
    """Nothing of a hostile answer runs, can be clicked on, or could be sent; its formula is drawn."""
    text = page.locator("#text")
    for selector in ("script", "a", "form", "button", "style", "iframe", "[onclick]", "[onerror]", "img[src]"):
        assert text.locator(selector).count() == 0, selector
    assert text.locator("svg.fb-formula").count() == 1
    text.get_by_text("bold").click()
    text.get_by_text("press me").click()
    assert "taken over" not in page.title().lower()
    assert "javascript:" not in text.inner_html()


def test_of_two_people_the_second_chooses(browser: Browser, session: Served) -> None:
    """Of two windows of one person, and of two processes; with names and without."""
    with window(browser, session) as early, window(browser, session) as late:
        grade = str(early.locator("input[name=shown]").input_value())
        for page, points in ((early, "1"), (late, "4")):
            page.goto(f"{session.question}?answer={grade}")
            press(page, "o", "p", "Control+a")
            page.keyboard.type(points)
        save(early)
        save(late)
        assert late.locator("h1").inner_text() == "Somebody was faster"
        assert "was marked by you in another window meanwhile: 1 of 5. Yours: 4 of 5." in told_by(late)
        assert held_by(session, grade).score == 1.0
        assert accessibility_problems(late, OWN_PICTURES) == []
        with at_work(session.course, "ben") as (desk, record, question):
            version = next(a.version for a in question.answers if a.grade == grade)
            assert decide(desk, record, question, Wanted({grade: version}, points=2.0, words="Hm.")).count == 1
        with late.expect_navigation():
            late.locator("#replace").click()
        assert "was marked by ben meanwhile: 2 of 5. Yours: 4 of 5. Hm." in told_by(late)
        with late.expect_navigation():
            late.locator("#replace").click()
        assert held_by(session, grade).score == 4.0
        late.goto(f"{session.question}?answer={grade}")
        assert "4 of 5, by anna" in late.locator(".reading").inner_text()
        assert late.locator("#answer").inner_text().startswith("student-")
        with late.expect_navigation():
            press(late, "h")
        assert late.locator("#answer").inner_text().startswith("answer ")
        assert "student-" not in late.content()
        late.goto(f"{session.question}/decisions")
        assert "anna: 1 answer, 4 of 5" in told_by(late)
        assert "ben: 1 answer, 2 of 5" in told_by(late)


def told_by(page: Page) -> str:
    return words(page.locator("main").inner_text())


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_the_page_fits_a_phone_and_the_dark(browser: Browser, session: Served, width: int, dark: bool) -> None:
    with window(browser, session, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert accessibility_problems(page, OWN_PICTURES) == []
        page.goto(session.address)
        assert accessibility_problems(page, OWN_PICTURES) == []
