"""Write `docs/architectures.md`: which known architectures become graphs, and what is found in them.

    python -m tools.architectures_table         # all of them; takes some minutes
    python -m tools.architectures_table vgg     # print what is found in some, write nothing

A student's architecture is a file in `tests/architectures/` that defines `Net`, read as data: its docstring says where
the design comes from and in which style it is written.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from autograder.core.grade_report import Layer
from autograder.graphs.analysis import batch_norms, convolutions, head, residual_additions
from autograder.graphs.wire import graph_from_wire
from autograder.judging.model_summary import layers_of
from autograder.worker.exporter import ExportProblem, TensorPool, export_graph
from autograder.worker.graph_costs import estimate
from autograder.worker.interpreter import Graph, execute
from tools.samples import ROOT

STUDENTS = ROOT / "tests" / "architectures"
PAGE = ROOT / "docs" / "architectures.md"
EXPORTED_BATCH = 4
OTHER_BATCH = 3
CLASSES = 10
# Those that do not take 64×64 images, or only with fixed positions, at the size they were made for.
TORCHVISION = {
    "alexnet": 64,
    "vgg11_bn": 64,
    "resnet18": 64,
    "squeezenet1_0": 64,
    "densenet121": 64,
    "googlenet": 64,
    "inception_v3": 299,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "shufflenet_v2_x0_5": 64,
    "mnasnet0_5": 64,
    "efficientnet_b0": 64,
    "regnet_y_400mf": 64,
    "convnext_tiny": 64,
    "vit_b_32": 224,
    "swin_t": 224,
    "maxvit_t": 224,
}
PREFIX = "torchvision."
INTRODUCTION = """# Which networks can be graded

Written by `python -m tools.architectures_table`, which examined every network named here; a test examines them again
(some by default, all with `pytest -m slow tests/test_architectures.py`).

A model leaves the jail as a graph of tensor operations, so the first question to this autograder is whether the graph
still *is* the model. Each network below was exported with a free batch size and run again from its graph:

- **exact**: the logits of 4 images (the exported batch size) and of 3 equal the module's own **bit for bit**, in eval
  mode, on the CPU, with the same number of threads, the same memory order, and without gradients. Weights and batch
  norm statistics were all moved from where they start, so that nothing is hidden behind a gate that starts at zero.
- **train**: the training graph was exported, draws and computes the same under the same seed, and every kernel and
  matrix receives gradient from it. A dash: no training graph, see the end of the page.
- **conv / norm**: convolutions and batch norms found in the graph; as many as the module itself runs.
- **sums**: residual additions, a value added to what convolutions computed from it. A transformer's go around linear
  layers and are not counted.
- **pooling**: what takes the last feature map to one value per channel.
- **seconds** for the first export, on one core of a busy machine, are for orientation only.

What does *not* hold bit for bit, because float32 sums depend on their order: another number of threads, another device,
channels-last memory (in which the grader evaluates accuracy; it first compares both orders), weights that ask for
gradients (torch splits some matrix products another way), and `nn.TransformerEncoderLayer`, which has a fused path of
its own in eval mode. The differences are a few units in the last place; `tests/test_determinism.py` shows what they may
do to a mark.
"""
_COLUMNS = ["network", "design and style", "parameters", "nodes", "operations", "seconds", "exact", "train"]
_COLUMNS += ["conv / norm", "sums", "pooling"]
_HEADER = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
UNSUPPORTED = """A valid program that cannot become a graph is UNSUPPORTED for the checks that need that graph: nobody
loses points in silence, a person decides. It is so for decisions on tensor values in forward (`if x.max() > 1`,
`.item()`, `.numpy()`), for `.data`, for parts made by `torch.jit.script` (scripted *functions* are fine), for
torchvision's own `Normalize` inside the model (subtract and divide instead), for operations outside the list (FFT,
`scatter`, deformable convolutions), and where chance comes from Python's or NumPy's `random` while training. Among the
networks above:
"""


@dataclass(frozen=True)
class Architecture:
    """A network to build: `origin` says where the design comes from, `style` how it is written."""

    name: str
    origin: str
    style: str
    size: int  # of its images, pixels
    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class Findings:
    """What became of one architecture.

    exact: logits equal the module's own bit for bit, by batch size, in eval mode. `train_problem` is empty where the
    training graph was exported; `train_exact` compares its logits under the same seed. `without_gradient` are the
    weights that no gradient reaches. The module's own calls are counted while it runs, without the exporter.
    """

    parameters: int
    nodes: int
    operations: int
    export_seconds: float
    batch: int | str
    exact: Mapping[int, bool]
    finite: bool
    train_problem: str
    train_exact: bool
    without_gradient: tuple[str, ...]
    residual_additions: int
    pooling: str | None
    convolutions: int
    own_convolutions: int
    batch_norms: int
    own_batch_norms: int
    is_drawn_whole: bool


def student_architectures() -> list[Architecture]:
    """Those of `tests/architectures/`, in alphabetical order."""
    return [_student(path) for path in sorted(STUDENTS.glob("*.py"))]


def torchvision_architectures() -> list[Architecture]:
    """torchvision's classifiers with random weights."""
    return [
        Architecture(name, "torchvision.models", "", size, lambda name=name: _torchvision(name))  # type: ignore[misc]
        for name, size in TORCHVISION.items()
    ]


def architectures() -> dict[str, Architecture]:
    """All of them by name; a student's and torchvision's of one name are told apart by a prefix."""
    own = {architecture.name: architecture for architecture in student_architectures()}
    return own | {f"{PREFIX}{architecture.name}": architecture for architecture in torchvision_architectures()}


def _student(path: Path) -> Architecture:
    origin, _, style = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\nStyle: ")
    return Architecture(path.stem, origin, " ".join(style.split()), 32, lambda: load_module(path).Net(CLASSES))


def load_module(path: Path) -> Any:
    """A student's file as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"architecture_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.script is deprecated, and students use it
        spec.loader.exec_module(module)
    return module


def _torchvision(name: str) -> nn.Module:
    import torchvision

    extra = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    module: nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **extra)
    return module


def examine(architecture: Architecture) -> Findings:
    """Export in both modes, replay, differentiate and analyse one architecture."""
    torch.manual_seed(0)
    module = architecture.build()
    shake(module)
    images = torch.randn(EXPORTED_BATCH, 3, architecture.size, architecture.size)
    pool = TensorPool()
    start = time.monotonic()
    wire = _export(module, images, pool, training=False)
    seconds = time.monotonic() - start
    tensors = [pool.tensors[key] for *_, key in wire["tensors"]]
    graph = graph_from_wire(wire)
    shapes = [None if s is None else tuple(s) for s in estimate(Graph(wire), tensors, tuple(images.shape)).shapes]
    own = count_calls(module, images)
    exact, finite = {}, True
    for count in (EXPORTED_BATCH, OTHER_BATCH):
        expected, found = run_both(module, wire, tensors, images[:count], training=False)
        exact[count] = torch.equal(expected, found)
        finite = finite and bool(found.isfinite().all()) and bool((found[0] != found[1]).any())
    train_problem, train_exact, without = _examine_training(module, images, pool)
    calls = [node for node in graph.nodes if node.kind == "call"]
    return Findings(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        nodes=len(graph.nodes),
        operations=len({node.operation for node in calls}),
        export_seconds=round(seconds, 1),
        batch=wire["batch"],
        exact=exact,
        finite=finite,
        train_problem=train_problem,
        train_exact=train_exact,
        without_gradient=without,
        residual_additions=len(residual_additions(graph, shapes)),
        pooling=head(graph, shapes).global_pooling,
        convolutions=len(convolutions(graph, shapes)),
        own_convolutions=own["conv2d"],
        batch_norms=len(batch_norms(graph, shapes)),
        own_batch_norms=own["batch_norm"],
        is_drawn_whole=_is_drawn_whole(layers_of(graph, shapes)),
    )


def _is_drawn_whole(layers: Sequence[Layer]) -> bool:
    """Whether the boxes lead from the images to the output, and none leads nowhere."""
    used = {place for layer in layers for place in layer.inputs}
    starts = [place for place, layer in enumerate(layers) if not layer.inputs]
    return starts == [0] and layers[-1].kind == "output" and used == set(range(len(layers) - 1))


def shake(module: nn.Module) -> None:
    """Give every parameter and statistic a value of its own: a gate that starts at zero would hide what it gates."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=draws))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=draws))
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=draws))


def _export(module: nn.Module, images: Tensor, pool: TensorPool, *, training: bool) -> dict[str, Any]:
    """The graph as it arrives: through JSON."""
    graph: dict[str, Any] = json.loads(json.dumps(export_graph(module, images, training=training, pool=pool)))
    return graph


class _Calls(TorchFunctionMode):
    """Counts torch's functions by name while a module runs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in (torch.conv2d, F.batch_norm, torch.batch_norm):
            self.counts[function.__name__] += 1
        return function(*args, **(kwargs or {}))


def count_calls(module: nn.Module, images: Tensor) -> Counter[str]:
    """How many convolutions and batch norms the module itself runs in eval mode."""
    calls = _Calls()
    with torch.no_grad(), calls, quiet():
        module.eval()(images)
    return calls.counts


def quiet() -> redirect_stdout[io.StringIO]:
    """Hide what a student's forward prints."""
    return redirect_stdout(io.StringIO())


def run_both(
    module: nn.Module, wire: dict[str, Any], tensors: list[Tensor], images: Tensor, *, training: bool
) -> tuple[Tensor, Tensor]:
    """The module's own logits and its graph's, from the same seed and the same state, both without gradients."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad(), as_tensors(module), quiet():
        torch.manual_seed(1)
        expected = module.train(training)(images.clone())
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])  # training updates the running statistics
        torch.manual_seed(1)
        return expected, execute(Graph(wire), tensors, images.clone())


@contextmanager
def as_tensors(module: nn.Module) -> Iterator[None]:
    """Let the module multiply as plain tensors do. torch splits some matrix products another way where one factor is
    to learn, and its transformer layers have a fused path in eval mode: both sum in another order."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for parameter in learning:
            parameter.requires_grad_()


def _examine_training(module: nn.Module, images: Tensor, pool: TensorPool) -> tuple[str, bool, tuple[str, ...]]:
    """Why there is no training graph; or whether it draws and computes the same, and the weights without gradient."""
    try:
        wire = _export(module, images, pool, training=True)
    except ExportProblem as problem:
        return f"{problem.kind}: {problem}", False, ()
    tensors = [pool.tensors[key] for *_, key in wire["tensors"]]
    expected, found = run_both(module, wire, tensors, images, training=True)
    leaves = {
        name: tensor.requires_grad_()
        for (kind, name, *_), tensor in zip(wire["tensors"], tensors, strict=True)
        if kind == "parameter"
    }
    labels = torch.arange(len(images)) % CLASSES
    F.cross_entropy(execute(Graph(wire), tensors, images.clone()), labels).backward()  # type: ignore[no-untyped-call]
    without = [name for name, leaf in leaves.items() if leaf.dim() >= 2 and not _is_reached(leaf)]
    return "", torch.equal(expected, found), tuple(without)


def _is_reached(leaf: Tensor) -> bool:
    largest = 0.0 if leaf.grad is None else float(leaf.grad.abs().max())
    return largest > 0 and math.isfinite(largest)


def render(found: Mapping[str, tuple[Architecture, Findings]]) -> str:
    """The page, a table for students' files and one for torchvision's classifiers."""
    parts = [INTRODUCTION, "## As students write them\n", _HEADER]
    own = [(name, pair) for name, pair in found.items() if not name.startswith(PREFIX)]
    parts += [_row(f"`{name}`", f"{a.origin}. *{a.style}*", findings) for name, (a, findings) in own]
    parts += ["\n## torchvision's classifiers\n", _HEADER]
    others = [(name, pair) for name, pair in found.items() if name.startswith(PREFIX)]
    parts += [_row(f"`{name}`", f"{a.size}×{a.size} images", findings) for name, (a, findings) in others]
    problems = {name: f.train_problem for name, (_, f) in found.items() if f.train_problem}
    parts += ["\n## Without a training graph\n", UNSUPPORTED]
    parts += [f"- `{name}`: {problem}" for name, problem in problems.items()]
    return "\n".join(parts) + "\n"


def _row(name: str, about: str, found: Findings) -> str:
    exact = "yes" if all(found.exact.values()) and found.finite else "**no**"
    training = "–" if found.train_problem else "yes" if found.train_exact and not found.without_gradient else "**no**"
    cells = [
        name,
        about,
        f"{found.parameters:,}",
        f"{found.nodes:,}",
        str(found.operations),
        f"{found.export_seconds:.1f}",
        exact,
        training,
        f"{found.convolutions} / {found.batch_norms}",
        str(found.residual_additions),
        found.pooling or "–",
    ]
    return f"| {' | '.join(cells)} |"


def main(names: Sequence[str]) -> int:
    """Examine all and write the page, or print what is found in those that are named. Returns an exit status."""
    known = architectures()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no architecture {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    found = {}
    for name in names or known:
        found[name] = (known[name], examine(known[name]))
        print(_row(name, "", found[name][1]), flush=True)
    if not names:
        PAGE.write_text(render(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
