"""How large the effects are on which the hidden graders insist, over everything correct that we know.

    python -m bench.effects            # all designs and known architectures: some minutes
    python -m bench.effects vgg        # those with this word in their names

Prints, for each bound, how far the nearest correct networks stay away from it. The bounds stand in autograder/graders.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import safetensors.torch
import torch

from autograder.core.config import Limits
from autograder.graders.effects import LEAST_DEPENDENCE, LEAST_INFLUENCE, everywhere
from autograder.graders.networks import Network, networks
from autograder.graders.weights import LEAST_GRADIENT, relative_gradients
from autograder.graphs.analysis import batch_norms, dropouts, residual_additions
from autograder.graphs.analysis.sums import MOST_STEPS, steps_taken
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner import Runner
from autograder.graphs.wire import graph_from_wire
from autograder.jail import Isolation, start
from autograder.judging.evidence import Build
from autograder.worker.exporter import ExportProblem, TensorPool, export_graph
from tools.architectures_table import Architecture, architectures
from tools.hidden_graders import SECRET, exercise, graded, quiet_log, run_answers
from tools.known_cases import designs

SECONDS = 900.0  # of one run: torchvision's largest take their images at 299×299
ENOUGH = 2  # residual sums and batch norms that are asked for
SHOWN = 4
BOUNDS = {
    "dependence": LEAST_DEPENDENCE,
    "sums": LEAST_INFLUENCE,
    "norms": LEAST_INFLUENCE,
    "dropout": LEAST_INFLUENCE,
    "gradient": LEAST_GRADIENT,
}


@dataclass(frozen=True)
class Figures:
    """Of one network; infinity where it has no such part. `sums` and `norms` are the influence of the second-best one,
    since two are asked for, `dropout` that of the best, `gradient` the least of all matrices."""

    name: str
    dependence: float
    sums: float = np.inf
    norms: float = np.inf
    dropout: float = np.inf
    gradient: float = np.inf
    steps: int = 0


def measure(name: str, network: Network) -> Figures:
    """The figures of one network."""
    export, effects = network.evaluation, network.effects
    sums = [
        min(effects.influences([(edge,) for edge in a.edges])) for a in residual_additions(export.graph, export.shapes)
    ]
    norms = effects.influences([everywhere(norm.node) for norm in batch_norms(export.graph, export.shapes)])
    graph = network.build.graphs.get((True, network.size))  # none where the training graph is not supported
    dropout = gradient = np.inf
    if isinstance(graph, ModelGraph):
        active = [noise for noise in dropouts(graph, network.training.shapes) if noise.active]
        dropout = max(network.training_effects.influences([everywhere(n.node) for n in active]), default=np.inf)
        gradient = min(g or 0.0 for g in relative_gradients(network, network.training, loss_of(network)).values())
    steps = steps_taken(export.graph, export.shapes)
    return Figures(name, effects.dependence, best(sums), best(norms), dropout, gradient, steps)


def loss_of(network: Network) -> str:
    return "square" if len(network.effects.plain.shape) > 2 else "cross_entropy"


def best(values: Sequence[float]) -> float:
    """The second-largest value."""
    return sorted(values)[-ENOUGH] if len(values) >= ENOUGH else np.inf


def of_designs(runner: Runner) -> Iterator[tuple[str, Network]]:
    """The networks of the correct designs, one build of each."""
    for case in designs():
        modules = exercise(case.notebook).modules
        if modules:
            ran = run_answers(case.notebook, case.cells)
            yield case.id, networks(graded(case.notebook, ran.evidence, runner), modules[0].name)[0]


def of_architectures(runner: Runner) -> Iterator[tuple[str, Network]]:
    """Known architectures, as they are initialised."""
    for name, architecture in architectures().items():
        yield name, Network("ModernCNN", exported(architecture), runner, SECRET, architecture.size)


def exported(architecture: Architecture) -> Build:
    torch.manual_seed(0)
    module, pool = architecture.build(), TensorPool()
    images = torch.randn(4, 3, architecture.size, architecture.size)
    graphs = {}
    with warnings.catch_warnings(), quiet_log():
        warnings.simplefilter("ignore")
        for training in (False, True):
            try:
                wire = export_graph(module, images, training=training, pool=pool)
            except ExportProblem:
                continue  # no graph in training mode: docs/architectures.md lists them
            graphs[training, architecture.size] = graph_from_wire(wire)
    return Build({}, graphs, safetensors.torch.save(pool.tensors))


def main() -> int:
    """Measure, and print the nearest networks to each bound."""
    found = []
    jail = Isolation("none")  # the networks are the project's own
    with Runner(lambda: start("graph_server", Limits(), jail), device="cpu", seconds=SECONDS) as runner:
        for networks_of in (of_designs, of_architectures):
            for name, network in networks_of(runner):
                if len(sys.argv) < 2 or any(word in name for word in sys.argv[1:]):
                    found.append(measure(name, network))
                    print(found[-1], file=sys.stderr, flush=True)
                runner.forget()
    print(f"{len(found)} correct networks, as they are initialised\n")
    for field in fields(Figures)[1:-1]:
        ordered = sorted(found, key=lambda figures: float(getattr(figures, field.name)))[:SHOWN]
        nearest = ", ".join(f"{figures.name} {getattr(figures, field.name):.2g}" for figures in ordered)
        print(f"{field.name:<11} at least {BOUNDS[field.name]:g}; nearest: {nearest}")
    ordered = sorted(found, key=lambda figures: -figures.steps)[:SHOWN]
    print(f"steps       at most {MOST_STEPS:,}; nearest: {', '.join(f'{f.name} {f.steps:,}' for f in ordered)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
