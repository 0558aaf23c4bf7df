"""Train a network briefly on a few images: what the loss is before, after, and in eval mode."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from autograder.graders.networks import Network, differentiating, expect_rows
from autograder.graphs.model_graph import ModelGraph, Node
from autograder.graphs.runner import SGD
from autograder.judging.evidence import EXPORTED_BATCH


def blind_loss(network: Network) -> float:
    """The least loss of a network that answers the same for every image: the entropy of the labels, in nats."""
    shares = np.bincount(network.labels(training_count(network))) / training_count(network)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def training_count(network: Network) -> int:
    """How many images the network is trained on."""
    return FEW_IMAGES if network.takes(FEW_IMAGES) else EXPORTED_BATCH


# After 20 steps correct networks of many kinds are at 0.00 to 0.88 of the first loss, one that cannot learn at 1.
STEPS, SETTLING_STEPS, FEW_IMAGES, FALLEN = 20, 20, 16, 0.95
SETTLING_MOMENTUM = 0.5
# A network at the published limit of multiplications takes a minute on two idle cores.
TRAINING_SECONDS = 300


def train_briefly(network: Network, learning_rate: float) -> tuple[float, float, float]:
    """Loss before, after in training mode (mean of the last three steps), and after in eval mode; inf for NaN."""
    export, runner = network.training, network.runner
    expect_rows(network)
    count = training_count(network)
    images, labels = network.learnable_images(count), network.labels(count)
    sgd = SGD(STEPS, learning_rate, momentum=0.9)
    with differentiating(network, export):
        trace = runner.train(export.handle, images, labels, sgd, seconds=TRAINING_SECONDS)
    # Batch norm's running statistics follow slowly, in deep networks for hundreds of steps: steps of length 0, with a
    # momentum of their own, let them settle before eval mode is judged.
    quick = runner.load(with_batch_momentum(export.graph, SETTLING_MOMENTUM), export.tensors)
    start = runner.bind(quick, trace.handle)
    still = SGD(SETTLING_STEPS, learning_rate=0.0, momentum=0.0)
    settled = runner.train(start, images, labels, still, seconds=TRAINING_SECONDS)
    bound = runner.bind(network.evaluation.handle, settled.handle)
    evaluated = runner.loss(bound, images, labels)
    for handle in (trace.handle, quick, start, settled.handle, bound):
        runner.release(handle)
    values = (trace.losses[0], float(np.mean(trace.losses[-3:])), evaluated)
    first, last, after = (value if math.isfinite(value) else math.inf for value in values)
    return first, last, after


def with_batch_momentum(graph: ModelGraph, momentum: float) -> ModelGraph:
    """The same graph with another momentum in every batch norm that has one: `batch_norm(…, training, momentum, …)`."""
    place = 6

    def changed(node: Node) -> Node:
        if node.operation != "aten.batch_norm.default" or not node.args[place]:
            return node  # a momentum of 0 was meant to keep the statistics as they are
        return replace(node, args=(*node.args[:place], momentum, *node.args[place + 1 :]))

    return replace(graph, nodes=tuple(map(changed, graph.nodes)))
