"""The accuracy of handed-in weights: they are read, put into the graph, evaluated, and flagged where they look odd."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.checks import CheckContext, CheckEnded, expect, fail
from autograder.graders.answers import answered, evidence_for
from autograder.graders.networks import Images
from autograder.graders.transforms import TEST
from autograder.graphs.analysis import parameter_count, stored_numbers
from autograder.graphs.model_graph import ModelGraph
from autograder.graphs.runner import LoadedGraph
from autograder.judging.accuracy import Accuracy, Evaluate, NotLogits, measure_accuracy
from autograder.judging.checkpoint import Checkpoint, CheckpointProblem, fit_checkpoint, read_checkpoint
from autograder.judging.datasets import Images as TestImages
from autograder.judging.flags.images import (
    SUSPICIOUS_ACCURACY,
    USUAL_HOLDOUT_GAP,
    Subject,
    draws_of,
    holdout_flag,
    image_flags,
    part_of_images,
)
from autograder.judging.model_summary import evaluation_of
from autograder.judging.normalisation import DEFAULT, Normalisation, NotANormalisation, recover_normalisation
from autograder.judging.problems import Problem


@dataclass(frozen=True)
class Measured:
    """Accuracy on the public test images and, where there is one, on a private hold-out, which then decides."""

    public: Accuracy
    private: Accuracy | None = None

    @property
    def deciding(self) -> Accuracy:
        return self.public if self.private is None else self.private

    def describe(self) -> str:
        """One sentence: what decides comes first."""
        if self.private is None:
            return f"test accuracy {self.public.describe()}"
        private, (low, high) = self.private, self.private.interval
        broken = f", {private.not_finite:,} outputs NaN or infinite" if private.not_finite else ""
        return (
            f"accuracy {private.accuracy:.2%} on {private.total:,} private images, which decides (95 % interval "
            f"{low:.1%} to {high:.1%}{broken}); {self.public.accuracy:.2%} on {self.public.total:,} public test images"
        )


def advice(checkpoint: Checkpoint, accuracy: Accuracy, test_set: str) -> str:
    """What an accuracy below the threshold most likely means."""
    if checkpoint.says_offline and "offline set" not in test_set:
        return (
            "The file says that these weights were trained on the kit's built-in offline set: set CIFAR10_ROOT and "
            "train on CIFAR-10"
        )
    if accuracy.accuracy < 0.15:
        return (
            "That is about chance: were the weights saved after training, and are the test images normalised as in "
            "training?"
        )
    return "Train longer, or look at where training and validation accuracy part"


def in_percent(part: float) -> str:
    """A threshold as the configuration has it: 75%, 72.5%."""
    return f"{100 * part:g}%"


def expect_within_budget(graph: ModelGraph, export: LoadedGraph, most_parameters: int, most_macs: int) -> None:
    """The published budgets. Every stored number counts: a buffer holds as much as a weight does."""
    numbers, parameters = stored_numbers(graph), parameter_count(graph)
    expect(
        numbers <= most_parameters,
        f"at most {most_parameters:,} numbers may be stored in parameters and buffers, found {numbers:,} "
        f"({parameters:,} of them in parameters)",
    )
    macs = export.info.macs_per_image
    expect(
        macs <= most_macs,
        f"at most {most_macs / 1e9:g} billion multiplications per 32×32 image are allowed, found {macs / 1e9:.2f}: "
        "let the stem or the first stages halve height and width",
    )


def normalisation_of(graded: CheckContext) -> Normalisation:
    """The student's own, as `test_transform` shows it; the kit's where there is no such transform."""
    samples = evidence_for(graded.evidence.samples, TEST)
    for sample in samples.values():
        if isinstance(sample.problem, Problem):
            if sample.problem.type == "Missing":
                graded.notes.append(f"no `{TEST}`: test images were normalised with {DEFAULT.describe()}")
                return DEFAULT
            answered(TEST, sample.problem)
    try:
        return recover_normalisation(TEST, samples)
    except NotANormalisation as problem:
        fail(f"the test images cannot be normalised as you do it: {problem}")


def bound_checkpoint(graded: CheckContext, graph: ModelGraph, tensors: bytes) -> tuple[Checkpoint, bytes]:
    """The handed-in weights, and the graph's tensors with them in place."""
    probe = graded.exercise.checkpoint
    if probe is None:
        raise TypeError("grader_config.py declares no checkpoint")
    try:
        checkpoint = read_checkpoint(probe.stem, graded.files, graded.converted, probe.most_mib)
        graded.notes.extend(checkpoint.notes)
        fitted = fit_checkpoint(graph, tensors, checkpoint)
    except CheckpointProblem as problem:
        raise CheckEnded(problem.status, str(problem)) from problem
    graded.notes.extend(fitted.notes)
    return checkpoint, fitted.tensors


def evaluate(
    graded: CheckContext,
    graph: ModelGraph,
    tensors: bytes,
    normalisation: Normalisation,
    batch_size: int | None,
    macs: int,
) -> Measured:
    """Accuracy of the graph as it was handed in, on all test images and on the private ones where there are any; the
    staff are told where it looks odd."""
    test_set, holdout = graded.test_set(), graded.holdout()
    handle = graded.runner.load(graph, tensors)

    def logits(images: TestImages, batch_size: int) -> Images:
        return graded.runner.evaluate(
            handle, images, normalisation.scale, normalisation.shift, batch_size=batch_size, seconds=300
        )

    try:
        found = measure_accuracy(logits, test_set.images, test_set.labels, graded.secret, batch_size=batch_size)
        private = None
        if holdout is not None:
            private = measure_accuracy(logits, holdout.images, holdout.labels, graded.secret, batch_size=batch_size)
        measured = Measured(found, private)
        graded.evaluations.append(evaluation_of(graded.exercise.notebook, found, test_set, private, holdout))
        if found.accuracy > graded.exercise.settings["accuracy_zero"]:
            add_image_flags(graded, logits, measured, batch_size, macs)
        return measured
    except NotLogits as problem:
        fail(str(problem))
    finally:
        graded.runner.release(handle)


def add_image_flags(
    graded: CheckContext, logits: Evaluate, measured: Measured, batch_size: int | None, macs: int
) -> None:
    """Tell the staff where the weights seem to know the test images. No points depend on it."""
    settings = graded.exercise.settings
    if measured.private is not None:
        usual = settings.get("usual_holdout_gap", USUAL_HOLDOUT_GAP)
        graded.flags.extend(holdout_flag(graded.exercise.notebook, measured.public, measured.private, usual))
    part, draws = part_of_images(macs), draws_of(graded.secret)
    subject = Subject(graded.exercise.notebook, logits, batch_size or 500, part, draws)
    suspicious = settings.get("suspicious_accuracy", SUSPICIOUS_ACCURACY)
    graded.flags.extend(image_flags(subject, measured.public, graded.test_set(), graded.training_images, suspicious))
