"""The course notebooks in `source/cnn`: cells and points as fixed, nothing hidden, a release that fails cleanly."""

import ast
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

SOURCE = Path(__file__).parent.parent / "source" / "cnn"

# What graders, docs and the gradebook rely on: (cell, kind, points) in the order of the notebook.
CELLS = {
    "00_lesson": [],
    "01_output_size": [
        ("output-size-solution", "answer", None),
        ("output-size-worked", "tests", 3),
        ("output-size-function", "tests", 12),
    ],
    "02_deeper_cnn": [
        ("simple-cnn", "read-only", None),
        ("deeper-cnn-solution", "answer", None),
        ("deeper-cnn-tests", "tests", 20),
    ],
    "03_depthwise_separable": [
        ("depthwise-separable-solution", "answer", None),
        ("depthwise-separable-tests", "tests", 15),
        ("depthwise-count-solution", "answer", None),
        ("depthwise-count", "tests", 5),
        ("depthwise-why", "manual", 5),
    ],
    "04_modern_cnn": [
        ("residual-block", "read-only", None),
        ("modern-cnn-solution", "answer", None),
        ("modern-cnn-architecture", "tests", 15),
        ("modern-cnn-transforms", "answer", None),
        ("modern-cnn-augmentation", "tests", 5),
        ("modern-cnn-training", "answer", None),
        ("modern-cnn-accuracy", "tests", 20),
    ],
}
KINDS = {  # (grade, solution, locked)
    "answer": (False, True, False),
    "tests": (True, False, True),
    "read-only": (False, False, True),
    "manual": (True, True, False),
}
EXERCISES = [name for name, cells in CELLS.items() if cells]
METADATA = {"schema_version", "grade", "solution", "locked", "task", "grade_id"}
LESSON_PARTS = [
    "Why CNNs",
    "Convolution, step by step",
    "Padding, stride, dilation",
    "Pooling",
    "SimpleCNN",
    "Training it",
    "What the network sees",
    "Architectures and their ideas",
    "The residual block",
    "CNNs and transformers",
]


def read(name: str) -> NotebookNode:
    return nbformat.read(SOURCE / f"{name}.ipynb", as_version=4)


def graded_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "nbgrader" in cell.metadata]


def cell_named(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def released(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its solutions cleared the way `nbgrader generate_assignment` does it."""
    from nbgrader.preprocessors import ClearMarkScheme, ClearSolutions

    copy = deepcopy(notebook)
    for preprocessor in (ClearSolutions(), ClearMarkScheme()):
        copy, _ = preprocessor.preprocess(copy, {})
    return copy


@pytest.mark.parametrize("name", CELLS)
def test_cells_kinds_and_points_are_the_fixed_ones(name):
    found = []
    for cell in graded_cells(read(name)):
        meta = cell.metadata.nbgrader
        flags = (meta.grade, meta.solution, meta.locked)
        kind = next((kind for kind, wanted in KINDS.items() if flags == wanted), f"unknown: {flags}")
        found.append((meta.grade_id, kind, meta.get("points")))
    assert found == CELLS[name]


def test_a_hundred_points_of_which_95_are_automatic():
    cells = [cell for cells in CELLS.values() for cell in cells]
    assert sum(points or 0 for _, _, points in cells) == 100
    assert sum(points or 0 for _, kind, points in cells if kind == "tests") == 95


@pytest.mark.parametrize("name", CELLS)
def test_nbgrader_metadata_is_strict_schema_3(name):
    from nbgrader.nbgraderformat import MetadataValidator

    notebook = read(name)
    MetadataValidator().validate_nb(notebook)
    for cell in graded_cells(notebook):
        meta = cell.metadata.nbgrader
        assert meta.schema_version == 3
        assert meta.task is False
        assert set(meta) == METADATA | ({"points"} if meta.grade else set()), meta.grade_id
        assert cell.id == meta.grade_id  # the readable id survives, whichever of the two a tool goes by


@pytest.mark.parametrize("name", CELLS)
def test_notebook_is_committed_clean(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"nbgrader"}, cell.id
        if cell.cell_type == "code":
            assert not cell.outputs, cell.id
            assert cell.execution_count is None, cell.id


@pytest.mark.parametrize("name", CELLS)
def test_no_notebook_holds_hidden_test_source(name):
    for cell in read(name).cells:
        for marker in ("HIDDEN TEST", "AUTOTEST"):
            assert marker not in cell.source.upper(), f"{cell.id} holds {marker}"
        # nbgrader allows mark schemes in task cells only: generate_solution would stop at any other.
        assert "MARK SCHEME" not in cell.source.upper(), cell.id


@pytest.mark.parametrize("name", EXERCISES)
def test_test_cells_call_the_public_check_and_nothing_else(name):
    notebook = read(name)
    for cell_id, kind, _ in CELLS[name]:
        if kind == "tests":
            assert cell_named(notebook, cell_id).source == f'cnn_kit.check("{cell_id}")'


@pytest.mark.parametrize("name", CELLS)
def test_every_code_cell_is_python_in_source_and_in_release(name):
    for notebook in (read(name), released(read(name))):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                ast.parse(cell.source, filename=f"{name}: {cell.id}")


@pytest.mark.parametrize("name", EXERCISES)
def test_release_holds_no_line_of_a_solution(name):
    source, release = read(name), released(read(name))
    for cell_id, kind, _ in CELLS[name]:
        if kind not in ("answer", "manual"):
            continue
        before, after = cell_named(source, cell_id).source, cell_named(release, cell_id).source
        assert ("NotImplementedError" if kind == "answer" else "YOUR ANSWER HERE") in after
        solution = before.split("BEGIN SOLUTION", 1)[1] if kind == "answer" else before
        kept = {line.strip() for line in after.splitlines()} - {""}
        lines = {line.strip() for line in solution.split("### END SOLUTION")[0].splitlines()} - {""}
        assert lines, f"{cell_id} has no solution"
        assert not lines & kept, cell_id


def test_rubric_of_the_manual_question_has_three_lines_that_sum_to_its_points():
    release = SOURCE.parent.parent / "release" / "cnn" / "03_depthwise_separable.ipynb"  # the source has fields there
    question = next(cell for cell in nbformat.read(release, as_version=4).cells if cell.id == "question-why").source
    points = [int(line.split("**")[1].split()[0]) for line in question.splitlines() if line.startswith("- **")]
    assert len(points) == 3
    assert sum(points) == 5


def test_lesson_has_its_ten_parts_each_with_code():
    part, code_cells, titles = 0, dict.fromkeys(range(1, 11), 0), {}
    for cell in read("00_lesson").cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## Part "):
            number, title = cell.source.splitlines()[0].removeprefix("## Part ").split(" · ")
            part = int(number)
            titles[part] = title
        elif cell.cell_type == "code" and part:
            code_cells[part] += 1
    assert list(titles) == list(range(1, 11))
    for number, expected in enumerate(LESSON_PARTS, start=1):
        assert titles[number].startswith(expected)
        assert code_cells[number] > 0, f"part {number} shows nothing"


@pytest.mark.parametrize(
    ("name", "cell", "class_name"),
    [("02_deeper_cnn", "simple-cnn", "SimpleCNN"), ("04_modern_cnn", "residual-block", "ResidualBlock")],
)
def test_given_class_is_the_one_of_the_lesson(name, cell, class_name):
    def class_source(text: str) -> str:
        tree = next(n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name == class_name)
        return ast.get_source_segment(text, tree) or ""

    assert class_source(cell_named(read(name), cell).source) == class_source(cell_named(read("00_lesson"), cell).source)


@pytest.mark.parametrize("name", CELLS)
def test_notebooks_run_with_the_packages_a_student_has(name):
    allowed = {"IPython", "cnn_kit", "matplotlib", "torch", "torchvision", "tqdm", *sys.stdlib_module_names}
    for cell in read(name).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {module.split(".")[0] for module in modules} <= allowed, cell.id


@pytest.fixture
def run_cells(monkeypatch, tmp_path):
    """Run the code cells of an exercise in one namespace: (namespace, {cell id: exception})."""
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(SOURCE))
    monkeypatch.setenv("CNN_KIT_DATA", "offline")
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.setattr(plt, "show", lambda: None)  # Agg would warn that nothing can be shown

    def run(notebook, leave_out=()):
        namespace, errors = {"__name__": "__main__"}, {}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id not in leave_out:
                try:
                    exec(compile(cell.source, f"<{cell.id}>", "exec"), namespace)
                except Exception as error:
                    errors[cell.id] = error
        return namespace, errors

    yield run
    plt.close("all")


# Training takes minutes and is tested with the kit; without it there is no checkpoint to check.
TRAINING = ("modern-cnn-training", "modern-cnn-accuracy")


@pytest.mark.parametrize("name", EXERCISES)
def test_solutions_pass_the_public_checks(name, run_cells):
    _, errors = run_cells(read(name), leave_out=TRAINING)
    assert errors == {}


@pytest.mark.parametrize("name", EXERCISES)
def test_untouched_release_fails_in_its_answers_and_checks_only(name, run_cells):
    _, errors = run_cells(released(read(name)))
    kinds = {cell: kind for cell, kind, _ in CELLS[name]}
    assert {kinds.get(cell) for cell in errors} <= {"answer", "tests"}, errors
    for cell, kind in kinds.items():
        if kind == "tests":
            assert isinstance(errors[cell], AssertionError), cell
    assert all(isinstance(errors[cell], NotImplementedError) for cell in errors if kinds[cell] == "answer")


def test_reference_networks_have_the_sizes_the_text_names(run_cells):
    deeper, _ = run_cells(read("02_deeper_cnn"))
    separable, _ = run_cells(read("03_depthwise_separable"))
    modern, _ = run_cells(read("04_modern_cnn"), leave_out=TRAINING)
    count = deeper["cnn_kit"].count_parameters
    assert count(deeper["SimpleCNN"]()) == 94_986
    assert count(deeper["DeeperCNN"]()) == 391_946
    assert count(separable["DepthwiseSeparableConv"](64, 128)) == 9_152
    assert count(modern["ModernCNN"]()) == 585_514
