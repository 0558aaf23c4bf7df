"""What is graded, for how many points, under which limits. What is asserted about it lives in the hidden graders.

Arguments that are `Drawn` come from the secret of the course: the same for every student, worker and regrade.
"""

from autograder.config import (
    TEXTURES,
    AnswerProbe,
    Assignment,
    CallProbe,
    CheckpointProbe,
    Course,
    Drawn,
    Exercise,
    Limits,
    ModuleProbe,
    TransformProbe,
)


def room(a):
    """How far the kernel can move in the padded input; negative where it does not fit."""
    span = a.get("dilation", 1) * (a["kernel_size"] - 1) + 1
    return a["input_size"] + 2 * a.get("padding", 0) - span


def leftover(a):
    """The part of the last step that is cut off: 0 <= leftover < 1."""
    return room(a) % a["stride"] / a["stride"]


# Arguments follow the signature without gaps: a function that names them otherwise is called by position.
OUTPUT_SIZE = Exercise(
    notebook="01_output_size",
    grader="test_output_size.py",
    cells={"output-size-worked": 3, "output-size-function": 12},
    sections={"": "The one formula of this lesson", "test_padding": "Part 3 · Padding, stride, dilation"},
    answers=[AnswerProbe("answer_output_size"), AnswerProbe("answer_same_padding")],
    calls=[
        CallProbe(
            "conv_output_size",
            groups={
                "plain": [Drawn(input_size=(20, 60), kernel_size=(2, 9), times=3)],
                "padding": [Drawn(input_size=(20, 60), kernel_size=(2, 9), stride=1, padding=(1, 6), times=3)],
                "floor": [  # cut off: most of a step, little of one, half of one, nothing
                    Drawn(input_size=(20, 60), kernel_size=(2, 6), stride=(3, 6), where=lambda a: leftover(a) > 0.5),
                    Drawn(input_size=(20, 60), kernel_size=(2, 6), stride=(3, 6), where=lambda a: 0 < leftover(a) < .5),
                    Drawn(input_size=(20, 60), kernel_size=(2, 6), stride=2, where=lambda a: leftover(a) == 0.5),
                    Drawn(input_size=(20, 60), kernel_size=(2, 6), stride=(2, 6), where=lambda a: leftover(a) == 0),
                ],
                "dilation": [
                    Drawn(input_size=(30, 60), kernel_size=(3, 6), stride=1, padding=0, dilation=(2, 4), times=3)
                ],
                "grid": [
                    Drawn(
                        input_size=(1, 64), kernel_size=(1, 9), stride=(1, 5), padding=(0, 5), dilation=(1, 4),
                        where=lambda a: room(a) >= 0, times=30,
                    ),
                    Drawn(  # 1x1 kernels
                        input_size=(1, 64), kernel_size=1, stride=(1, 5), padding=(0, 3), dilation=(1, 4), times=4
                    ),
                    Drawn(  # kernels that fit exactly once
                        input_size=(1, 20), kernel_size=(2, 9), stride=(1, 4), padding=(0, 4), dilation=(1, 3),
                        where=lambda a: room(a) == 0, times=4,
                    ),
                    Drawn(  # kernels that fit thanks to the padding only
                        input_size=(2, 8), kernel_size=(3, 9), stride=(1, 3), padding=(1, 4), dilation=1,
                        where=lambda a: room(a) >= 0 and a["kernel_size"] > a["input_size"], times=3,
                    ),
                ],
                "too_large": [
                    Drawn(input_size=(2, 6), kernel_size=(7, 12), times=2),
                    Drawn(input_size=(2, 5), kernel_size=(10, 14), stride=2, padding=(1, 2)),
                ],
                "too_large_dilated": [
                    Drawn(
                        input_size=(6, 9), kernel_size=(4, 6), stride=1, padding=0, dilation=(3, 4),
                        where=lambda a: room(a) < 0,
                    )
                ],
            },
        )
    ],
)  # fmt: skip

DEEPER_CNN = Exercise(
    notebook="02_deeper_cnn",
    grader="test_deeper_cnn.py",
    cells={"deeper-cnn-tests": 20},
    sections={
        "": "Part 5 · SimpleCNN: a network for CIFAR-10",
        "test_blocks_halve": "Part 4 · Pooling",
        "test_other_image_size": "Four patterns you will use again and again",
        "test_raw_logits_and_dropout": "The loop",
        "test_weights_learn": "The loop",
    },
    modules=[
        ModuleProbe(
            "DeeperCNN",
            builds=[{}, Drawn(num_classes=(3, 40), where=lambda a: a["num_classes"] != 10)],
            image_sizes=[32, 64],
        )
    ],
)

DEPTHWISE_SEPARABLE = Exercise(
    notebook="03_depthwise_separable",
    grader="test_depthwise_separable.py",
    cells={"depthwise-separable-tests": 15, "depthwise-count": 5},
    manual={"depthwise-why": 5},
    sections={"": "Four patterns you will use again and again"},
    answers=[AnswerProbe("answer_standard_weights"), AnswerProbe("answer_separable_weights")],
    modules=[
        ModuleProbe(
            "DepthwiseSeparableConv",
            builds=[
                Drawn(in_channels=(4, 12), out_channels=(13, 30)),
                Drawn(in_channels=(8, 20), out_channels=(3, 7), kernel_size=5, stride=2, padding=2),
                Drawn(in_channels=(3, 9), out_channels=(10, 24), kernel_size=[4, 7], stride=3, padding=0),
                Drawn(in_channels=(5, 9), out_channels=(10, 20), kernel_size=3, stride=1, padding=[2, 3]),
            ],
            image_sizes=[17],
            input_channels="in_channels",
        )
    ],
)

MODERN_CNN = Exercise(
    notebook="04_modern_cnn",
    grader="test_modern_cnn.py",
    cells={"modern-cnn-architecture": 15, "modern-cnn-augmentation": 5, "modern-cnn-accuracy": 20},
    sections={
        "": "Part 9 · The residual block",
        "test_other_image_size": "Four patterns you will use again and again",
        "test_loss_falls": "Before training: does the loss make sense?",
        "test_training_varies": "Augmentation: the same image, but different",
        "test_training_gives_float": "Augmentation: the same image, but different",
        "test_testing_does_not_vary": "Augmentation: the same image, but different",
        "test_both_normalise_alike": "The images",
        "test_accuracy": "Three epochs",
    },
    modules=[
        ModuleProbe(
            "ModernCNN",
            builds=[{}, Drawn(num_classes=(3, 40), where=lambda a: a["num_classes"] != 10)],
            image_sizes=[32, 64],
        )
    ],
    transforms=[
        TransformProbe("train_transform", images=["natural"], draws=32),
        TransformProbe("train_transform", images=TEXTURES, draws=4),
        TransformProbe("test_transform", images=["natural", "full_range", "dark", "low_contrast"], draws=8),
        TransformProbe("test_transform", images=TEXTURES),
    ],
    checkpoint=CheckpointProbe("modern_cnn", module="ModernCNN", transform="test_transform", most_mib=64),
    skip_cells=["modern-cnn-training"],
    settings={
        "accuracy_zero": 0.65,  # no points up to here
        "accuracy_full": 0.75,  # all points from here on
        "accuracy_margin": 0.02,  # how much more to aim at on the validation images
        "suspicious_accuracy": 0.97,  # the staff are told; costs no points
        "most_parameters": 12_000_000,  # numbers in parameters and buffers
        "most_macs": 1_500_000_000,  # multiply-accumulates per 32x32 image
    },
)

COURSE = Course(
    assignments={
        "cnn": Assignment(
            exercises=[OUTPUT_SIZE, DEEPER_CNN, DEPTHWISE_SEPARABLE, MODERN_CNN],
            lesson="00_lesson",
        )
    },
    limits=Limits(cell_seconds=30, notebook_seconds=180, submission_seconds=600),
)
