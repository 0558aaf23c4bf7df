"""What must be there before anything is graded, and what is kept of it."""

from __future__ import annotations

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autograder.core.config_values import ConfigError
from autograder.core.errors import SetupError
from autograder.core.files import digest_of
from autograder.core.grade_report import CellRun, CheckResult, GradeReport, NotebookRun, Status
from autograder.jail import Isolation
from autograder.judging.datasets import DataError
from autograder.pipeline import grader
from autograder.pipeline.cache import Cache
from autograder.pipeline.grader import open_grader
from autograder.pipeline.report import is_settled
from autograder.pipeline.secret import read_secret
from tools.samples import ASSIGNMENT, CONFIG, ROOT


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The course's configuration and release, on the offline set, without any submission."""
    config = CONFIG.replace("{path!r}", repr(str(ROOT / "grader_config.py"))).replace("{data!r}", "'offline'")
    (tmp_path / "grader_config.py").write_text(config)
    shutil.copytree(ROOT / "release", tmp_path / "release")
    return tmp_path


def test_without_isolation_nothing_is_graded_and_the_remedy_is_named(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Isolation("none", problem="no user namespaces", remedy="allow them")
    monkeypatch.setattr(grader, "find_isolation", lambda: missing)
    with pytest.raises(SetupError, match=r"no user namespaces\. Remedy: allow them\. .*--isolation=none"):
        open_grader(course, ASSIGNMENT)
    unsafe = open_grader(course, ASSIGNMENT, isolation="none")
    assert "the grader's own rights" in unsafe.isolation.describe()


def test_without_a_release_the_command_that_makes_one_is_named(course: Path) -> None:
    shutil.rmtree(course / "release")
    with pytest.raises(SetupError, match="nbgrader generate_assignment cnn"):
        open_grader(course, ASSIGNMENT)


def test_a_release_without_a_graded_notebook_is_refused(course: Path) -> None:
    (course / "release" / ASSIGNMENT / "02_deeper_cnn.ipynb").unlink()
    with pytest.raises(ConfigError, match="grades '02_deeper_cnn', but the release has"):
        open_grader(course, ASSIGNMENT)


def test_grading_never_falls_back_to_the_offline_set(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = course / "grader_config.py"
    config.write_text(config.read_text().replace("'offline'", "'cifar10'"))
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    with pytest.raises(DataError, match="Grading never uses the built-in offline set"):
        open_grader(course, ASSIGNMENT)


def test_the_secret_is_one_for_all_and_for_the_owner_only(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: read_secret(tmp_path), range(32)))
    assert len(secrets) == 1
    assert len(secrets.pop()) == 32
    assert stat.S_IMODE((tmp_path / ".autograder" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / ".autograder").iterdir()] == ["secret"]


def report(status: Status = Status.PASSED, cell: Status = Status.PASSED) -> GradeReport:
    check = CheckResult("01", "tests", "test_it", "It holds", 3.0, 1.26, status)
    run = NotebookRun("01", Status.PASSED, cells=[CellRun(0, cell, 0.1)])
    return GradeReport("ada", "cnn", [check], [run], {"01": {"tests": 3.0, "unreached": 2.0}})


def test_a_report_survives_json_and_scores_cells_that_no_check_reached() -> None:
    again = GradeReport.from_json(report().to_json())
    assert again.to_json() == report().to_json()
    assert [(s.cell, s.earned, s.maximum) for s in again.cell_scores()] == [("tests", 1.3, 3.0), ("unreached", 0, 2.0)]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"checks": 1, "notebooks": []}', "\x00"])
def test_a_broken_cache_entry_counts_as_absent(tmp_path: Path, content: str) -> None:
    cache = Cache(tmp_path)
    cache.save_report("key", report())
    assert cache.load_report("key") is not None
    (tmp_path / "key.report.json").write_text(content)
    (tmp_path / "key.frames").write_text(content + "{")
    assert cache.load_report("key") is None
    assert cache.load_frames("key") is None


@pytest.mark.parametrize("status", [Status.INTERNAL, Status.TIMEOUT, Status.OUT_OF_MEMORY, Status.CRASHED])
def test_what_a_second_run_could_change_is_not_kept(status: Status) -> None:
    assert is_settled(report())
    assert is_settled(report(Status.FAILED, Status.ERROR))
    assert not is_settled(report(status))
    assert not is_settled(report(cell=status))


def test_digests_of_different_parts_differ() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("ab") != digest_of("ab", "")
