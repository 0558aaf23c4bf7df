"""The course's life: due dates, late penalties, extensions, groups, regrades, and a student who is forgotten."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from nbgrader import api
from nbgrader.api import Gradebook
from traitlets import TraitError
from traitlets.config import Config

from autograder.core.config import Assignment, Limits
from autograder.core.config_values import ConfigError
from autograder.core.rows import Mark, Standing
from autograder.course import groups, mark_changes, report_store, upkeep
from autograder.course.extensions import Extension, read_extensions
from autograder.course.folder import open_course
from autograder.course.forget import remove_tree
from autograder.course.gradebook import read_marks, read_standings
from autograder.course.groups import Groups, read_groups, share
from autograder.course.late import LatePolicy
from autograder.course.lock import lock_course
from tests import tiny_course
from tests.conftest import nbgrader
from tests.tiny_course import ASSIGNMENT, give_mark, grade, hand_in, run

CANARY = "canary-4711"
DUE = 'needs_test_set=False, due="2026-11-01 13:00", time_zone="Europe/Vienna")'
LATE = "2026-11-02 13:00:00 UTC"  # 25 hours: the second day has begun
DAY = 86_400


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ada and another student were graded; Ada was late, and nothing is taken off for it so far."""
    root = tmp_path_factory.mktemp("template") / "course"
    tiny_course.make(root)
    config = root / "grader_config.py"
    config.write_text(config.read_text().replace("needs_test_set=False)", DUE))
    (hand_in(root, "ada", "50", why="Because I counted.") / "timestamp.txt").write_text(LATE)
    hand_in(root, CANARY, f"40  # {CANARY}\nprint('{CANARY}')", why=f"I am {CANARY}.")
    assert grade(root).exit_code == 0
    return root


def set_policy(root: Path, *settings: str) -> None:
    config = root / "nbgrader_config.py"
    config.write_text(config.read_text() + "".join(f"\nc.LatePolicy.{setting}" for setting in settings))


def db_url(root: Path) -> str:
    return open_course(root).db_url


def standing(root: Path, student: str = "ada") -> Standing:
    return read_standings(db_url(root), ASSIGNMENT)[student]


def marks_of(root: Path, student: str = "ada") -> Mapping[str, Mark]:
    return {mark.cell: mark for mark in read_marks(db_url(root), ASSIGNMENT)[student]}


def bring_up_to_date(root: Path) -> str:
    """What happens whenever marks are shown: the remarks."""
    return "\n".join(upkeep.bring_up_to_date(open_course(root), ASSIGNMENT))


def csv_file(root: Path, text: str) -> Path:
    path = root / "list.csv"
    path.write_text(text)
    return path


def words(text: str) -> str:
    return " ".join(text.split())


# Due dates


def test_the_configurations_due_date_makes_submissions_late(course: Path) -> None:
    found = standing(course)
    assert (found.due, found.seconds_late, found.penalty) == (datetime(2026, 11, 1, 12), 25 * 3600, 0)
    assert standing(course, CANARY).seconds_late == 0  # nobody knows when it was handed in


def test_a_due_date_in_the_gradebook_stays_where_the_configuration_has_none(course: Path) -> None:
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace(DUE, "needs_test_set=False)"))
    bring_up_to_date(course)
    assert standing(course).due == datetime(2026, 11, 1, 12)


@pytest.mark.parametrize(
    ("due", "zone", "message"),
    [
        ("2026-12-04 23:59", "", "has no time zone: add one"),
        ("2026-12-04", "UTC", "due must have a time of the day"),
        ("4.12.2026 23:59", "UTC", "due must be a date and a time"),
        ("2026-12-04 23:59", "Europe/Viena", "no time zone 'Europe/Viena'; did you mean 'Europe/Vienna'?"),
        ("2026-12-04 23:59+01:00", "UTC", "has a time zone of its own"),
        ("", "UTC", "time_zone is that of due, which is missing"),
    ],
)
def test_a_wrong_due_date_is_refused_with_what_would_be_right(due: str, zone: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Assignment([], due=due, time_zone=zone)
    assert message in str(refused.value)


def test_a_due_date_follows_summer_time() -> None:
    summer, winter = (Assignment([], due=f"2026-{m}-01 12:00", time_zone="Europe/Vienna").due_at for m in ("07", "12"))
    assert summer is not None
    assert winter is not None
    assert (summer.hour, winter.hour) == (10, 11)


# Late penalties


def policy(**numbers: float) -> LatePolicy:
    return LatePolicy(config=Config({"LatePolicy": numbers}))


@pytest.mark.parametrize(
    ("numbers", "seconds_late", "points"),
    [
        ({}, 9 * DAY, 0),
        ({"percent_per_day": 10}, 1, 5),
        ({"percent_per_day": 10}, DAY, 5),
        ({"percent_per_day": 10}, DAY + 1, 10),
        ({"percent_per_day": 10, "grace_minutes": 15}, 900, 0),
        ({"percent_per_day": 10, "grace_minutes": 15}, 901, 5),
        ({"percent_per_day": 10, "most_percent": 30}, 9 * DAY, 15),
        ({"percent_per_day": 10, "most_percent": 30, "last_day": 7}, 7 * DAY, 15),
        ({"percent_per_day": 10, "most_percent": 30, "last_day": 7}, 7 * DAY + 1, 50),
        ({"points_per_day": 4}, 3 * DAY, 12),
        ({"points_per_day": 40}, 3 * DAY, 50),
    ],
)
def test_what_a_late_submission_loses_of_50_points(
    numbers: dict[str, float], seconds_late: float, points: float
) -> None:
    shares = policy(**numbers).penalties("ada", {"one": 20.0, "two": 30.0, "three": 0.0}, seconds_late)
    assert sum(share or 0 for share in shares.values()) == pytest.approx(points)
    assert (shares["one"] or 0) == pytest.approx(points * 20 / 50)
    assert not shares["three"]


def test_points_of_a_submission_are_refused_where_notebooks_are_asked_about_singly() -> None:
    with pytest.raises(ValueError, match="RecordSubmission"):
        policy(points_per_day=4).late_submission_penalty("ada", 20.0, DAY)
    assert policy(percent_per_day=10).late_submission_penalty("ada", 20.0, DAY) == 2


@pytest.mark.parametrize("number", [-1, float("nan"), 101])
def test_a_policy_without_sense_is_refused(number: float) -> None:
    with pytest.raises(TraitError):
        policy(percent_per_day=number)


def test_nbgrader_itself_takes_points_off_once_for_all_notebooks(course: Path) -> None:
    set_policy(course, "points_per_day = 2")
    done = nbgrader(course, "autograde", ASSIGNMENT, "--student", "ada", "--force")
    assert done.returncode == 0, done.stderr
    assert standing(course).penalty == pytest.approx(4)  # two days, two notebooks
    assert {mark.notebook: mark.penalty for mark in marks_of(course).values()} == pytest.approx(
        {"01_sums": 4 * 8 / 18, "02_doubles": 4 * 10 / 18}
    )


def test_a_policy_without_sense_stops_before_the_first_submission(course: Path) -> None:
    set_policy(course, "percent_per_day = 200")
    for command in ("grade", "report"):
        result = run(command, "--course", course)
        assert result.exit_code == 1
        assert "the policy for late submissions cannot be used" in words(result.output)


def test_a_penalty_in_percent_follows_a_manual_mark_and_the_policy(course: Path) -> None:
    set_policy(course, "percent_per_day = 10")
    assert bring_up_to_date(course) == "ada: late penalty 0 → 3.6, total 18 → 14.4"
    give_mark(course, "ada", "01_sums", "sums-why", 2)
    assert bring_up_to_date(course) == "ada: late penalty 3.6 → 4, total 16.4 → 16"
    assert standing(course).penalty == pytest.approx(4)
    changes = mark_changes.changes_of(course, ASSIGNMENT, "ada")
    assert [str(change) for change in changes] == ["18 → 14.4 of 18", "16.4 → 16 of 18"]


# Extensions


def test_an_extension_takes_a_penalty_back_without_grading(course: Path) -> None:
    set_policy(course, "points_per_day = 3")
    bring_up_to_date(course)
    report = report_store.report_path(course, ASSIGNMENT, "ada").read_bytes()
    file = csv_file(course, "student,until\nada,2026-11-02 10:00\nnobody,2026-11-03 10:00\nadaa,2026-11-03 10:00\n")
    assert "Nothing was written." in run("extensions", file, "--dry-run", "--course", course).output
    assert (standing(course).penalty, standing(course).extension_seconds) == (6, 0)
    result = run("extensions", file, "--course", course)
    assert result.exit_code == 0
    assert "25.0 h → 4.0 h" in words(result.output)
    assert "6 → 3 12 → 15" in words(result.output)
    assert "adaa is not known in the course so far; did you mean 'ada'?" in result.output
    found = standing(course)
    assert (found.penalty, found.extension_seconds, found.seconds_late) == (3, 21 * 3600, 4 * 3600)
    assert report_store.report_path(course, ASSIGNMENT, "ada").read_bytes() == report
    (*_, change) = mark_changes.changes_of(course, ASSIGNMENT, "ada")
    assert change.why == ("extension until 2026-11-02 10:00 CET", "late penalty 6 → 3")
    run("extensions", csv_file(course, "student;days;hours\nada;0;0\n"), "--course", course)
    assert (standing(course).penalty, standing(course).extension_seconds) == (6, 0)


def test_an_extension_waits_for_who_has_not_handed_in_yet(course: Path) -> None:
    file = csv_file(course, "student,days,hours\nben,1,2\n")
    assert "nothing handed in yet" in words(run("extensions", file, "--course", course).output)
    shutil.copytree(course / "submitted" / "ada", course / "submitted" / "ben")
    assert grade(course, "--student", "ben").exit_code == 0
    assert (standing(course, "ben").extension_seconds, standing(course, "ben").seconds_late) == (26 * 3600, 0)
    assert standing(course).extension_seconds == 0


def test_an_extension_until_a_time_stays_there_when_the_due_date_moves() -> None:
    due = datetime(2026, 11, 1, tzinfo=timezone.utc)
    until = Extension(until=due + timedelta(days=2))
    assert until.beyond(due + timedelta(days=1)) == timedelta(days=1)
    assert until.beyond((due + timedelta(days=3)).replace(tzinfo=None)) == timedelta()
    assert Extension(more=timedelta(days=2)).beyond(due + timedelta(days=1)) == timedelta(days=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student\nada\n", "says who, not how long"),
        ("student,day\nada,1\n", "unknown column 'day'; did you mean 'days'?"),
        ("student,days\nada,soon\n", "line 2: days must be a number in 0..3650, found 'soon'"),
        ("student,days\nada,-1\n", "days must be a number"),
        ("student,days\nada,nan\n", "days must be a number"),
        ("student,days\nada,1\nada,2\n", "line 3: 'ada' is on line 2 already"),
        ("student,days,until\nada,1,2026-12-01 10:00\n", "expected either until, or days and hours, found both"),
        ("student,until\nada,2026-01-01 10:00\n", "is not after the due date"),
        ("student,until\nada,tomorrow\n", "is no time"),
        ("student,days\n../ada,1\n", "is no student id"),
        ("student,days\n", "lists nobody"),
    ],
)
def test_a_list_of_extensions_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"list\.csv") as refused:
        read_extensions(csv_file(tmp_path, text), timezone.utc, datetime(2026, 11, 1, tzinfo=timezone.utc))
    assert message in str(refused.value)


def test_no_due_date_no_extension(course: Path) -> None:
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace(DUE, "needs_test_set=False)"))
    with Gradebook(db_url(course)) as gradebook:
        gradebook.find_assignment(ASSIGNMENT).duedate = None
        gradebook.db.commit()
    result = run("extensions", csv_file(course, "student,days\nada,1\n"), "--course", course)
    assert result.exit_code == 1
    assert "tiny has no due date to extend" in result.output


# Groups


def test_all_members_have_the_groups_marks_and_manual_marks(course: Path) -> None:
    result = run("groups", csv_file(course, "group,student\none,ada\none,ben\none,Ωmega\n"), "--course", course)
    assert "ben shares ada's submission" in result.output
    assert grade(course).exit_code == 0
    automatic = [[m.automatic for m in marks_of(course, s).values()] for s in ("ada", "ben", "Ωmega")]
    assert automatic == [automatic[0]] * 3
    ada, ben = (report_store.load_report(course, ASSIGNMENT, student) for student in ("ada", "ben"))
    assert ada is not None
    assert ben == replace(ada, student="ben")
    assert standing(course, "ben").seconds_late == 25 * 3600

    path = report_store.report_path(course, ASSIGNMENT, "ben")
    report_store.save_report(course, replace(ben, checks=[replace(check, earned=0.0) for check in ben.checks]))
    with Gradebook(db_url(course)) as gradebook:
        for notebook in gradebook.find_submission(ASSIGNMENT, "ben").notebooks:
            for mark in notebook.grades:
                mark.auto_score = None if mark.auto_score is None else 0
        gradebook.db.commit()
    assert grade(course).exit_code == 0  # another run of the same had ended otherwise: the group's counts
    assert report_store.parse_report(path.read_text()) == replace(ada, student="ben")

    give_mark(course, "ben", "01_sums", "sums-why", 1.5)
    said = "group one, 01_sums/sums-why: what ben has now holds for ada, Ωmega"
    assert said in bring_up_to_date(course)
    assert {marks_of(course, s)["sums-why"].manual for s in ("ada", "ben", "Ωmega")} == {1.5}
    assert not marks_of(course)["sums-why"].needs_person

    give_mark(course, "ada", "01_sums", "sums-why", 2)
    assert "what ada has now holds for ben, Ωmega" in bring_up_to_date(course)
    give_mark(course, "ada", "01_sums", "sums-why", 1)
    give_mark(course, "ben", "01_sums", "sums-why", 0.5)
    said = "ada has 1; ben has 0.5; Ωmega has 2: nothing was changed"
    assert said in bring_up_to_date(course)
    assert [marks_of(course, s)["sums-why"].manual for s in ("ada", "ben", "Ωmega")] == [1, 0.5, 2]


def test_a_comment_and_a_mark_that_is_taken_back_reach_the_others(course: Path) -> None:
    run("groups", csv_file(course, "group,student\none,ada\none,ben\n"), "--course", course)
    grade(course, "--student", "ben")
    for mark in (1.5, None):
        give_mark(course, "ada", "01_sums", "sums-why", mark)
        with Gradebook(db_url(course)) as gradebook:
            gradebook.find_comment("sums-why", "01_sums", ASSIGNMENT, "ada").manual_comment = f"Worth {mark}."
            gradebook.db.commit()
        bring_up_to_date(course)
        with Gradebook(db_url(course)) as gradebook:
            comment = gradebook.find_comment("sums-why", "01_sums", ASSIGNMENT, "ben").manual_comment
        assert (marks_of(course, "ben")["sums-why"].manual, comment) == (mark, f"Worth {mark}.")
    assert marks_of(course, "ben")["sums-why"].needs_person


@pytest.fixture
def place(tmp_path: Path) -> Path:
    groups.save_groups(tmp_path, "a", Groups({"one": ["ada", "ben", "cy"]}))
    return tmp_path


def put(root: Path, student: str, text: str, time: str = "") -> Path:
    folder = root / "submitted" / student / "a"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.ipynb").write_text(text)
    if time:
        (folder / "timestamp.txt").write_text(time)
    return folder


def shared(root: Path) -> tuple[dict[str, str], list[str]]:
    """What lies in everybody's folder after sharing, and the remarks."""
    remarks = share(root, "a", lambda student: root / "submitted" / student / "a", Limits())
    paths = sorted((root / "submitted").glob("*/a/x.ipynb"))
    return {path.parent.parent.name: path.read_text() for path in paths}, remarks


def test_the_latest_of_several_submissions_counts_and_the_others_are_kept(place: Path) -> None:
    put(place, "ada", "first", "2026-11-01 10:00:00 UTC")
    put(place, "ben", "second", "2026-11-01 11:00:00 UTC")
    found, remarks = shared(place)
    assert found == dict.fromkeys(("ada", "ben", "cy"), "second")
    assert "ada (2026-11-01 10:00 UTC) and ben (2026-11-01 11:00 UTC) handed in different files" in remarks[0]
    (kept,) = (place / ".autograder" / "intake" / "replaced" / "a" / "ada").glob("*/x.ipynb")
    assert kept.read_text() == "first"
    assert shared(place) == (found, [])  # nothing more to do
    put(place, "cy", "third", "2026-11-01 12:00:00 UTC")  # in place of the copy
    assert shared(place)[0] == dict.fromkeys(("ada", "ben", "cy"), "third")


def test_of_identical_submissions_the_earliest_counts(place: Path) -> None:
    put(place, "ada", "same", "2026-11-01 12:00:00 UTC")
    put(place, "ben", "same", "2026-11-01 10:00:00 UTC")
    assert not any("different files" in remark for remark in shared(place)[1])
    times = {path.read_text() for path in (place / "submitted").glob("*/a/timestamp.txt")}
    assert times == {"2026-11-01 10:00:00 UTC"}


def test_a_copy_goes_with_its_group_and_never_what_was_handed_in(place: Path) -> None:
    put(place, "ada", "text")
    shared(place)
    put(place, "cy", "my own")
    groups.save_groups(place, "a", replace(groups.load_groups(place, "a"), members={"one": ["ada"]}))
    found, remarks = shared(place)
    assert found == {"ada": "text", "cy": "my own"}
    assert "the copy of ada's submission was taken away" in remarks[0]


def test_copies_hold_no_links_and_no_secrets(place: Path) -> None:
    folder = put(place, "ada", "text")
    (folder / "submission_secret.txt").write_text("hers")
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    shared(place)
    assert [path.name for path in (place / "submitted" / "ben" / "a").iterdir()] == ["x.ipynb"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group,student\none,ada\ntwo,ada\n", "line 3: 'ada' is in a group already (line 2)"),
        ("group,student\n,ada\n", "is no name of a group"),
        ("group,student\none,../ada\n", "is no student id"),
        ("groups,student\none,ada\n", "did you mean 'group'?"),
        ("group,student\n", "lists nobody"),
    ],
)
def test_a_list_of_groups_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"list\.csv") as refused:
        read_groups(csv_file(tmp_path, text))
    assert message in str(refused.value)


# Regrades


def test_a_regrade_says_what_changed_and_why(course: Path) -> None:
    give_mark(course, "ada", "01_sums", "sums-why", 2)
    hand_in(course, "ada", "40", why="Because I counted.")
    result = grade(course, "--student", "ada")
    assert "The marks of 1 submission changed" in words(result.output)
    assert "ada: 20 → 17.5 of 20 (handed in again: 01_sums" in words(result.output)
    (change,) = mark_changes.changes_of(course, ASSIGNMENT, "ada")
    assert (change.before, change.after, change.checks) == (
        20.0,
        17.5,
        ("The total is large enough: passed 5 → failed 2.5",),
    )
    assert "other marks" not in grade(course, "--student", "ada").output

    config = course / "grader_config.py"
    config.write_text(config.read_text().replace('"full": 50', '"full": 40'))
    grade(course, "--student", "ada")
    (_, change) = mark_changes.changes_of(course, ASSIGNMENT, "ada")
    assert (change.after, change.why) == (20.0, ("changed: the configuration",))


def test_the_record_of_changes_is_bounded_and_outlives_a_broken_line(tmp_path: Path) -> None:
    changes = [mark_changes.Regrade("2026-11-01T10:00:00+00:00", float(n), n + 1.0, 99.0) for n in range(60)]
    for change in [*changes, changes[-1]]:
        mark_changes.note(tmp_path, "a", "ada", change)
    path = mark_changes.regrades_path(tmp_path, "a", "ada")
    path.write_text(path.read_text() + "{broken\n[]\n" + json.dumps({"time": 3}) + "\n")
    found = mark_changes.changes_of(tmp_path, "a", "ada")
    assert [change.before for change in found] == [change.before for change in changes[-mark_changes.MOST_KEPT :]]


# Forgetting


def test_nothing_is_left_of_a_forgotten_student(course: Path) -> None:
    kept = course / ".autograder"
    with Gradebook(db_url(course)) as gradebook:
        gradebook.update_or_create_student(CANARY, email=f"{CANARY}@example.edu", first_name="Cai", last_name="Nary")
        gradebook.db.commit()
    run("groups", csv_file(course, f"group,student\none,{CANARY}\none,ben\n"), "--course", course)
    run("extensions", csv_file(course, f"student,days\n{CANARY},1\n"), "--course", course)
    (course / "list.csv").unlink()
    (kept / "intake" / "replaced" / ASSIGNMENT / CANARY).mkdir(parents=True)
    record = "kind,student,person,original,verdict\n"
    own = f"upload,{CANARY},Cai Nary (7),x.ipynb,taken\nupload,,Cai Nary (7),y.pdf,ignored\n"
    other = "upload,ada,Ada (8),x.ipynb,taken\n"
    (kept / "intake" / "tiny-1.csv").write_text(record + own + other)
    (course / "exports").mkdir()
    (course / "exports" / "tiny.csv").write_text(f"student\nada\n{CANARY}\n")
    (course / "gradebook.db.2026-01-01").write_text(f"a copy with {CANARY}")
    assert run("report", "--course", course).exit_code == 0
    before = marks_of(course)

    refused = run("forget", CANARY, "--course", course)  # nobody answers
    assert refused.exit_code == 1
    assert (course / "submitted" / CANARY).is_dir()
    result = run("forget", CANARY, "--yes", "--course", course)
    assert result.exit_code == 0, result.output
    assert "the gradebook: the student, with 1 submission and all marks" in result.output
    assert "These files still mention the student" in result.output
    assert "gradebook.db.2026-01-01" in result.output
    (course / "gradebook.db.2026-01-01").unlink()
    assert mentions(course, CANARY) == mentions(course / "submitted" / "ben", CANARY)  # whose work it is, too
    assert mentions(course, "Nary") == []
    assert "nobody's list" not in result.output
    assert (kept / "intake" / "tiny-1.csv").read_text().replace("\r", "") == record + other
    assert marks_of(course) == before
    assert grade(course, "--student", "ada").exit_code == 0


def mentions(folder: Path, word: str) -> list[Path]:
    """The files whose name or content has a word."""
    paths = [path for path in folder.rglob("*") if path.is_file() or word in path.name]
    return [p for p in paths if word in p.name or (p.is_file() and word.encode() in p.read_bytes())]


@pytest.mark.parametrize("student", ["../ada", "..", ".", "", "ada/../../x", "a\0b"])
def test_ids_that_lead_out_of_the_course_are_refused(course: Path, student: str) -> None:
    result = run("forget", student, "--yes", "--course", course)
    assert result.exit_code == 2
    assert "is no student id" in result.output


def test_a_stranger_is_not_forgotten_and_a_pattern_is_a_name(course: Path) -> None:
    assert "did you mean 'ada'?" in run("forget", "adda", "--yes", "--course", course).output
    assert run("forget", "*", "--yes", "--course", course).exit_code == 2
    assert (course / "submitted" / "ada").is_dir()


@pytest.mark.parametrize("command", [["report"], ["export", "--to", "csv"], ["forget", "ada", "--yes"]])
def test_a_locked_gradebook_is_named_whatever_it_is_needed_for(
    course: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = api.create_engine  # each of several connections waits for five seconds
    monkeypatch.setattr(api, "create_engine", partial(patient, connect_args={"timeout": 0.1}))
    before = marks_of(course)
    connection = sqlite3.connect(course / "gradebook.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        result = run(*command, "--course", course)
    finally:
        connection.close()
    assert result.exit_code == 1
    assert "is locked by another program: let formgrader finish" in result.stderr
    assert marks_of(course) == before
    assert (course / "submitted" / "ada").is_dir()


def test_forgetting_waits_for_a_grader_at_work(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = lock_course(course)
    monkeypatch.setattr("autograder.course.lock._held", {})  # as another process sees it
    result = run("forget", "ada", "--yes", "--course", course)
    lock._file.close()
    assert result.exit_code == 1
    assert "another grader is at work" in result.output


def test_a_folder_thousands_deep_and_a_link_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    deep = tmp_path / "deep"
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for name in ["deep", *["d"] * 1200]:
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_tree(deep)
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_records_of_extensions_that_are_broken_stop_before_marks_change(course: Path) -> None:
    path = course / ".autograder" / "extensions" / f"{ASSIGNMENT}.json"
    path.parent.mkdir()
    path.write_text('{"ada": {"until": "2026-11-02T10:00:00", "seconds": 0}}')
    result = run("report", "--course", course)
    assert result.exit_code == 1
    assert "delete it, and enter the extensions again" in words(result.output)
