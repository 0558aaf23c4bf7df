"""What several hidden checks expect of a network: logits, a free batch, separate images, weights that learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autograder.checks import CheckEnded, expect, fail
from autograder.core.grade_report import Status
from autograder.core.source_lines import LINES_PER_CELL
from autograder.graders.effects import (
    LEAST_DEPENDENCE,
    everywhere,
)
from autograder.graders.networks import DEFAULT_CLASSES, Array, Images, Network, expect_rows, random_state
from autograder.graphs.analysis import (
    Dropout,
    batch_norms,
    dropouts,
    head,
)
from autograder.graphs.analysis.flow import NORMS, REDUCTIONS, RESHAPES, carries_data, data_path, trunk_of
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner_process import RunnerProblem
from autograder.judging.accuracy import depends_on_others
from autograder.judging.evidence import EXPORTED_BATCH
from autograder.judging.problems import Problem

MOST_AXES = 8  # of a shape in a message
WRITTEN_DOWN = (
    "is a number of images written down somewhere, as in view(4, -1)? Use x.flatten(1), which keeps the first axis"
)


# Logits


def expect_logits(builds: Sequence[Network]) -> None:
    """Logits (N, num_classes), for each number of classes that was asked for, which depend on the image."""
    for network in builds:
        found = network.logits(network.images(network.batch)).shape
        if found == (network.batch, network.classes):
            continue
        default = builds[0].classes
        if found == (network.batch, default):
            fail(
                f"`num_classes` is ignored: {default} logits come out whatever it is. Use it in the last layer",
                line=max((layer.line for layer in network.head.classifiers[-1:]), default=0),
            )
        expect_batch_kept(network, found)
        wanted = (network.batch, "num_classes") if network.is_drawn else (network.batch, network.classes)
        shown = f"({', '.join(map(str, wanted))})"
        fail(
            f"logits of {network.batch} images: expected {shown} [N, num_classes], got {describe_shape(network, found)}"
        )
    for network in builds:
        expect(
            not network.is_dead or network.effects.is_finite,
            "the logits are not all finite: NaN or infinity is among them. Is something divided by zero, is a "
            "logarithm or a root of a negative number taken, or do numbers grow without bound?",
        )
        expect(
            not network.is_dead,
            "the logits hardly depend on the image: another image changes them by less than one part in "
            f"{1 / LEAST_DEPENDENCE:,.0f}. Is something multiplied by a tiny number, or a huge one added?",
        )


def expect_batch_kept(network: Network, found: Sequence[int]) -> None:
    """The logits have one row for each image."""
    if tuple(found[:1]) == (network.batch,):
        return
    rows = "none" if not found else "another number" if network.is_drawn else str(found[0])
    shape = describe_shape(network, found)
    fail(
        f"logits of {network.batch} images: expected {network.batch} rows, one for each image, found {rows} (shape "
        f"{shape}). Here the first axis stops counting the images; x.flatten(1) and means over (2, 3) keep it",
        line=line_without_batch(network),
    )


def line_without_batch(network: Network) -> int:
    """The line of the step from which on no value that all goes through has the images as its first axis."""
    graph, shapes = network.evaluation.graph, network.evaluation.shapes
    batch = graph.input_shape[:1]
    trunk = [i for i in trunk_of(graph, data_path(graph)) if shapes[i] is not None]
    kept = max((place for place, i in enumerate(trunk) if (shapes[i] or ())[:1] == batch), default=-1)
    return next((graph.nodes[i].line for i in trunk[kept + 1 :] if graph.nodes[i].line), 0)


def describe_shape(network: Network, shape: Sequence[int]) -> str:
    """A shape; of a network that was built with numbers from the course's secret only what is known anyway, since a
    size may be made of them."""
    if not network.is_drawn:
        return f"({', '.join(map(str, shape))})"
    known = {network.batch: str(network.batch), DEFAULT_CLASSES: str(DEFAULT_CLASSES)}
    known |= {value: name for name, value in network.build.arguments.items()}
    return f"({', '.join(known.get(size, 'another number') for size in shape[:MOST_AXES])})"


def expect_free_batch(network: Network) -> None:
    """Any number of images passes, a single one included."""
    fixed = network.evaluation.graph.batch
    if fixed is not None:
        fail(
            f"forward works for {fixed} images at a time only; {WRITTEN_DOWN}",
            line=line_of_fixed_batch(network.evaluation.graph, fixed),
        )
    expect_rows(network)
    for count, what in ((1, "one image"), (7, "7 images")):
        found = run_or_explain(network, network.images(count), f"a batch of {what}").shape
        if found != (count, network.classes):
            squeezed = ". A bare squeeze() removes the batch axis, too: use flatten(1)"
            fail(
                f"logits of {what}: expected ({count}, {network.classes}) [N, num_classes], got {found}"
                + (squeezed if found == (network.classes,) else "")
            )


def line_of_fixed_batch(graph: ModelGraph, batch: int) -> int:
    """The line of the first reshape that names the batch size as its first axis, 0 where there is none."""
    shaped = (node for node in graph.nodes if node.operation in RESHAPES and len(node.args) > 1)
    return next((n.line for n in shaped if isinstance(n.args[1], tuple) and n.args[1][:1] == (batch,)), 0)


def line_over_the_batch(graph: ModelGraph) -> int:
    """The line of the first mean or sum over the batch axis, 0 where there is none."""
    carries = carries_data(graph)
    reductions = (node for node in graph.nodes if node.operation in REDUCTIONS and carries[node.index])
    return next((n.line for n in reductions if isinstance(n.args[1], tuple) and 0 in n.args[1]), 0)


def expect_separate_images(network: Network) -> None:
    """In eval mode an image's logits do not depend on the other images of the batch."""
    for norm in batch_norms(network.evaluation.graph, network.evaluation.shapes):
        if norm.training and norm.running_mean is not None and norm.running_mean.kind == "constant":
            # A plain list hides layers from eval() as it does from the optimiser; the check of the weights says so.
            raise CheckEnded(Status.SKIPPED, "not judged, because eval() does not reach layers in a plain list")
        expect(
            not norm.training,
            "batch norm uses the statistics of the batch in eval mode, too, so an image's logits change with the other "
            "images: leave track_running_stats as it is, or hand training=self.training to F.batch_norm",
            line=norm.line,
        )
    for count in batch_sizes(network):
        changed = companions_change(network, count)
        expect(
            not changed,
            f"in eval mode the logits of an image change with the other images of the batch (of {count}). Each image "
            "must be judged by itself: take means over the channels or over height and width, never over the batch "
            "axis",
            line=line_over_the_batch(network.evaluation.graph),
        )


def batch_sizes(network: Network) -> list[int]:
    """Sizes from two images to some hundred, drawn by the course's secret: images may meet in large batches only."""
    if network.evaluation.graph.batch is not None:
        return [network.batch]
    draws = random_state(network.secret, f"batches/{network.name}")
    return [network.batch, *(int(draws.randint(low, high)) for low, high in ((2, 9), (17, 65), (129, 400)))]


def companions_change(network: Network, count: int) -> bool:
    """Whether logits of images change when others take the places of every second one of their batch."""
    images = network.images(count, part="companions")
    strangers = 3 * images[:, :, ::-1] + 1
    together = network.logits(images)
    for kept in (np.arange(count) % 2 == 0, np.arange(count) % 2 == 1):
        mixed = network.logits(np.where(kept[:, None, None, None], images, strangers))
        if depends_on_others(together[kept], mixed[kept]).any():
            return True
    return False


def run_or_explain(network: Network, images: Images, what: str) -> Array:
    """The logits; an exception while the graph runs is said to be about `what`."""
    try:
        return network.logits(images)
    except RunnerProblem as problem:
        if problem.status != "ERROR":
            raise
        fail(f"{what} does not pass; {WRITTEN_DOWN} ({problem})", line=problem.line)


def expect_raw_logits(network: Network) -> None:
    """No softmax, ReLU or the like after the classifier."""
    activation = network.head.output_activation
    remedy = {
        "softmax": "nn.CrossEntropyLoss contains it already, and applied twice it slows learning down",
        "log_softmax": "nn.CrossEntropyLoss contains it already",
        "relu": "it cuts off all negative logits, so the network cannot rule a class out",
    }
    why = remedy.get(activation or "", "return what the last linear layer computes")
    expect(
        activation is None,
        f"expected raw logits, found {activation} after the classifier: leave it out; {why}",
        line=network.head.output_activation_line,
    )


# Batch norm, pooling


def expect_own_statistics(network: Network) -> None:
    """No batch norm serves in two places: its running statistics would be a mixture of both."""
    seen: dict[str, int] = {}
    for norm in batch_norms(network.evaluation.graph, network.evaluation.shapes):
        tensor = norm.running_mean or norm.weight
        if tensor is None:
            continue
        expect(
            tensor.key not in seen,
            f"one batch norm (`{tensor.name.rpartition('.')[0]}`) is used in two places: each needs its own, since its "
            "running mean and variance belong to one layer",
            line=norm.line,
        )
        seen[tensor.key] = norm.node


def expect_global_average_pooling(network: Network, other_size: int) -> None:
    """Images of another size pass, because what remains of height and width is averaged before the classifier."""
    other = network.problem_or_graph(False, other_size)
    features = network.head
    expect_rows(network)
    average = "Average over whatever height and width remain"
    fits, found = False, None
    if not isinstance(other, Problem):
        export = network.export(training=False, size=other_size)
        count = export.graph.batch or EXPORTED_BATCH
        found = network.logits(network.images(count, other_size), export).shape
        fits = found == (count, network.classes)
    one_place = (features.feature_shape or ())[1:2] == (features.flattened_inputs,)  # of the map, at every size
    if features.flattened_inputs is not None and not (fits and one_place):
        values = f"{features.flattened_inputs:,}"
        fail(
            f"{average}: expected one value per channel before the classifier, your pooling leaves {values} values"
            if fits
            else f"{average}: your classifier expects {values} inputs, so {other_size}×{other_size} images do not fit",
            line=features.flatten_line,
        )
    if isinstance(other, Problem) and other.status is Status.ERROR:
        what = f"{average}: {other_size}×{other_size} images do not pass"
        if features.global_pooling is not None:
            sides = "×".join(map(str, (features.feature_shape or ())[2:]))
            fail(f"{what}, since your pooling is written for maps of {sides} only", line=features.pooling_line)
        fail(f"{what} ({other.message})", line=other.cell * LINES_PER_CELL + other.line)
    network.graph(False, other_size)  # any other problem at this size ends the check as what it is
    if not fits:
        fail(
            f"{average}: for {EXPORTED_BATCH} images of {other_size}×{other_size}, expected logits "
            f"{(EXPORTED_BATCH, network.classes)}, got {found}"
        )
    pooling = {
        "max": "the maximum over height and width is taken",
        None: "no pooling over all of height and width found",
    }
    expect(
        features.global_pooling == "average",
        f"{average} before the classifier (nn.AdaptiveAvgPool2d(1), or x.mean(dim=(2, 3))): "
        f"{pooling.get(features.global_pooling, 'another reduction is used')}",
        line=features.pooling_line,
    )
    expect(
        bool(network.effects.effective([(features.pooling, everywhere(features.pooling))], 1)),
        f"{average} before the classifier: what is averaged hardly changes the logits",
        line=features.pooling_line,
    )


# Dropout


def expect_dropout(network: Network) -> None:
    """Dropout before the classifier: on in training, off in evaluation."""
    graph = network.graph(False, network.size)
    for noise in dropouts(graph, network.evaluation.shapes):
        expect(
            not noise.active or noise.probability == 0,
            "dropout stays on in eval mode, so the same image gets different logits each time. Use nn.Dropout, or "
            "F.dropout(x, p, training=self.training)",
            line=noise.line,
        )
    export = network.training
    ending = head(export.graph, export.shapes)
    strong = [noise for noise in ending.dropouts if noise.active and has_strength(noise)]
    if network.training_effects.effective([(noise, everywhere(noise.node)) for noise in strong], 1):
        return
    if strong:
        fail(
            "dropout before the classifier hardly changes the logits: put it where the features pass",
            line=strong[0].line,
        )
    weak = next((noise for noise in ending.dropouts if noise.active), None)
    if weak is not None:
        asked = f"expected a probability from {LEAST_DROPOUT} to {MOST_DROPOUT}, 0.5 say"
        fail(f"dropout before the classifier: {asked}, found {weak.probability:.3g}", line=weak.line)
    elsewhere = [noise for noise in dropouts(export.graph, export.shapes) if noise.active]
    expect(bool(elsewhere), "no dropout before the classifier in training: nn.Dropout(0.5), then the linear layer")
    last = max((layer.node for layer in ending.classifiers), default=-1)
    if elsewhere[-1].node > last >= 0:
        fail("dropout comes after the classifier, where it erases logits: put it in front", line=elsewhere[-1].line)
    fail(
        "there is dropout, but none between the last block and the classifier, where it is asked for",
        line=elsewhere[-1].line,
    )


LEAST_DROPOUT, MOST_DROPOUT = 0.01, 0.95  # as the notebook says


def has_strength(noise: Dropout) -> bool:
    """Whether a dropout erases neither nothing nor everything."""
    return LEAST_DROPOUT <= noise.probability <= MOST_DROPOUT


# Norms that stand where batch norm is asked for


def other_norms(graph: ModelGraph) -> str:
    """`; found group norm`, say, where a network normalises in another way; else nothing."""
    found = {n.operation for n in graph.nodes} & NORMS - {"aten.batch_norm.default"}
    names = sorted(operation.split(".")[1].replace("_", " ") for operation in found)
    return f"; found {' and '.join(names)}, which may stand beside it" if names else ""
