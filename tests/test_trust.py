"""In the trusted process no student code runs, no pickle is loaded, and torch is not even imported."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autograder.core.grade_report import GradeReport, Status
from autograder.core.package import package_files
from autograder.jail import find_isolation
from autograder.pipeline import grade as pipeline
from autograder.pipeline.grader import Grader, open_grader
from tools.samples import ASSIGNMENT, build_sample, make_course


@pytest.fixture(scope="module")
def data_name() -> str:
    """What a hostile file may do does not depend on the images."""
    return "offline"


@pytest.fixture(scope="module")
def grader(tmp_path_factory: pytest.TempPathFactory, data_name: str) -> Grader:
    if find_isolation().level == "none":
        pytest.skip(f"no jail on this machine: {find_isolation().problem}")
    root = tmp_path_factory.mktemp("trust")
    make_course(root, {}, data_name)
    return open_grader(root, ASSIGNMENT)


def grade(grader: Grader, folder: Path) -> GradeReport:
    return pipeline.grade_submission(grader, "mallory", folder)


@pytest.mark.parametrize("module", ["pipeline.grade", "pipeline.judge_main", "nbgrader_plugin", "cli.main"])
def test_the_trusted_side_does_not_import_torch(module: str) -> None:
    """Nor do the libraries that it uses."""
    code = f"import sys, autograder.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_of_the_trusted_side_loads_pickles() -> None:
    """The one place that reads pickles is a process of its own, for the instructor's CIFAR-10, and restricted."""
    assert len(package_files("**/*.py")) > 150
    allowed = {"decode_cifar.py"}
    for path in package_files("**/*.py"):
        text = path.read_text()
        if path.name not in allowed and "worker" not in path.parts:
            assert "import pickle" not in text, path
            assert "torch.load" not in text, path
            assert "allow_pickle=True" not in text, path
        assert "weights_only=False" not in text, path


class LeavesATrace:
    """Unpickling this creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.trace), "w"))


def malicious_checkpoint(trace: Path) -> bytes:
    """A file like torch.save's, whose pickle creates `trace` when it is loaded."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"stem.0.weight": LeavesATrace(trace)}))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def test_a_pickle_in_the_checkpoint_is_never_run(grader: Grader, tmp_path: Path, data_name: str) -> None:
    build_sample("reference", tmp_path / "handed-in", data_name)
    (tmp_path / "handed-in" / "modern_cnn.safetensors").unlink()
    trace = tmp_path / "trace"
    (tmp_path / "handed-in" / "modern_cnn.pt").write_bytes(malicious_checkpoint(trace))
    report = grade(grader, tmp_path / "handed-in")
    assert not trace.exists()
    accuracy = next(check for check in report.checks if check.name == "test_accuracy")
    assert accuracy.status is Status.FAILED
    assert "state dict" in accuracy.message
    assert report.earned == 75


FORGE = """
import json, os
stream = int(os.environ["AUTOGRADER_RECORDS_FD"])
trace = {trace!r}
code = f"__import__('pathlib').Path({{trace!r}}).touch()"
os.write(stream, json.dumps({{"kind": "probes", "run": 1, "payload_bytes": 0}}).encode() + b"\\n")
nodes = [["input"], ["call", "aten.relu.default", [{{"node": 0}}], 0, 0], ["output", {{"node": 1}}]]
for operation in (code, "aten.from_file.default", "os.system"):
    nodes[1][1] = operation
    graph = {{"version": 1, "training": False, "batch": "dynamic", "input_shape": [4, 3, 32, 32],
             "tensors": [["parameter", code, "float32", [1], code]], "regions": [], "nodes": nodes, code: code}}
    for index in (0, 1):
        record = {{"kind": "build", "notebook": "02_deeper_cnn", "run": 9, "name": "DeeperCNN", "index": index,
                  "graphs": [{{"graph": graph}}] * 3, code: code, "payload_bytes": 0}}
        os.write(stream, json.dumps(record).encode() + b"\\n")
for status in ("INTERNAL", "PASSED"):
    record = {{"kind": "ended", "notebook": "02_deeper_cnn", "status": status, "message": code, "payload_bytes": 0}}
    os.write(stream, json.dumps(record).encode() + b"\\n")
"""


def test_forged_records_gain_nothing_and_leave_no_trace(grader: Grader, tmp_path: Path, data_name: str) -> None:
    folder = tmp_path / "handed-in"
    build_sample("reference", folder, data_name)
    path = folder / "02_deeper_cnn.ipynb"
    notebook = json.loads(path.read_text())
    trace = tmp_path / "trace"
    forging = {"cell_type": "code", "id": "forge", "metadata": {}, "outputs": [], "execution_count": None}
    notebook["cells"].append({**forging, "source": FORGE.format(trace=str(trace))})
    path.write_text(json.dumps(notebook))
    report = grade(grader, folder)
    assert not trace.exists()
    lost = {check.cell for check in report.checks if check.status is not Status.PASSED}
    assert lost == {"deeper-cnn-tests"}
    assert not report.is_internal


@pytest.mark.slow  # tests/test_samples.py grades the same files: `reference`
def test_an_honest_twin_gets_full_marks(grader: Grader, tmp_path: Path, data_name: str) -> None:
    build_sample("reference", tmp_path / "handed-in", data_name)
    assert grade(grader, tmp_path / "handed-in").earned == 95
