"""The hidden graders graded: every correct design gets all points, every mistake is caught by the check that names it."""

from __future__ import annotations

import re
import textwrap

import pytest
from hidden_graders import evidence_of, given, grade, lost, open_runner

from autograder.results import Status

OUTPUT_SIZE, DEEPER, SEPARABLE, MODERN = (
    "01_output_size",
    "02_deeper_cnn",
    "03_depthwise_separable",
    "04_modern_cnn",
)


@pytest.fixture(scope="module")
def runner():
    with open_runner() as runner:
        yield runner


def released(source):
    """A solution cell as the students get it."""
    return re.sub(
        r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION",
        r"\1# YOUR CODE HERE\n\1raise NotImplementedError()",
        source,
        flags=re.DOTALL | re.MULTILINE,
    )


def expect_lost(results, intended, dependants=(), message=""):
    """The intended checks failed, their dependants did not pass either, and nothing else was lost."""
    found = lost(results)
    assert set(found) == {*intended, *dependants}, found
    for name in intended:
        assert results[name].status is not Status.SKIPPED, found
        assert re.search(message, results[name].message), found
    assert not any(result.status is Status.INTERNAL for result in results.values()), found


# Exercise 1: output size

REFERENCE_SIZE = """
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    room = input_size + 2 * padding - dilation * (kernel_size - 1) - 1
    if room < 0:
        raise ValueError("the kernel does not fit")
    return room // stride + 1
"""


def size_function(expression, guard="n + 2 * p < d * (k - 1) + 1"):
    return f"""
import math
def conv_output_size(input_size, kernel_size, stride=1, padding=0, dilation=1):
    n, k, s, p, d = input_size, kernel_size, stride, padding, dilation
    if {guard}:
        raise ValueError("the kernel does not fit")
    return {expression}
"""


RIGHT = "(n + 2*p - d*(k - 1) - 1)"


def grade_size(source, runner):
    cells = [source, "answer_output_size, answer_same_padding = 32, 4"]
    return grade(OUTPUT_SIZE, evidence_of(OUTPUT_SIZE, *cells), runner)


@pytest.mark.parametrize(
    "source",
    [
        given(OUTPUT_SIZE, "output-size-solution"),
        size_function(f"math.floor({RIGHT} / s) + 1"),
        size_function(f"int({RIGHT} / s + 1)"),
        size_function(f"np.int64({RIGHT} // s + 1)"),
        size_function(f"torch.tensor({RIGHT} // s + 1)"),
        size_function(f"np.floor_divide({RIGHT}, s) + 1"),
        size_function("nn.Conv1d(1, 1, k, stride=s, padding=p, dilation=d)(torch.zeros(1, 1, n)).shape[2]"),
        size_function("len(range(0, n + 2*p - d*(k - 1), s))"),
        "class TooLarge(ValueError): pass\n" + REFERENCE_SIZE.replace("raise ValueError", "raise TooLarge"),
        REFERENCE_SIZE.replace("input_size", "n").replace("kernel_size", "k").replace("dilation", "d"),
    ],
)
def test_right_size_functions_get_all_points(source, runner):
    assert lost(grade_size(source, runner)) == {}


SIZE_MISTAKES = {
    "round": (size_function(f"round({RIGHT} / s) + 1"), "test_floor", ["test_agrees_with_conv2d"], "nearest"),
    "ceil": (size_function(f"math.ceil({RIGHT} / s) + 1"), "test_floor", ["test_agrees_with_conv2d"], "rounded up"),
    "decimals": (size_function(f"{RIGHT} / s + 1"), "test_floor", ["test_agrees_with_conv2d"], "decimals"),
    "float": (size_function(f"math.floor({RIGHT} / s) + 1.0"), "test_floor", [], "it is a float"),
    "stride ignored": (size_function(f"{RIGHT} + 1"), "test_floor", ["test_agrees_with_conv2d"], "stride has no eff"),
    "plus one divided": (
        size_function(f"({RIGHT} + 1) // s"), "test_floor", ["test_agrees_with_conv2d"], "divided by the stride, too"
    ),
    "padding once": (
        size_function("(n + p - d*(k - 1) - 1) // s + 1"), "test_padding", ["test_agrees_with_conv2d"], "one side only"
    ),
    "padding ignored": (
        size_function("(n - d*(k - 1) - 1) // s + 1"), "test_padding", ["test_agrees_with_conv2d"], "no effect"
    ),
    "dilation ignored": (
        size_function("(n + 2*p - k) // s + 1", "n + 2*p < k"), "test_dilation", ["test_agrees_with_conv2d"], "no eff"
    ),
    "d times k": (
        size_function("(n + 2*p - d*k) // s + 1", "n + 2*p < d*k"),
        "test_dilation", ["test_agrees_with_conv2d"], "taken as d·k",
    ),
    "no plus one": (
        size_function(f"{RIGHT} // s"), "test_plain_case",
        ["test_padding", "test_floor", "test_dilation", "test_agrees_with_conv2d", "test_value_error"], "1 too small",
    ),
    "no error": (size_function(f"{RIGHT} // s + 1", "False"), "test_value_error", [], "0 or less was returned"),
    "returns None": (
        REFERENCE_SIZE.replace('raise ValueError("the kernel does not fit")', "return None"),
        "test_value_error", [], "None",
    ),
    "asserts": (
        REFERENCE_SIZE.replace("if room < 0:", "assert room >= 0").replace('        raise ValueError("the kernel does not fit")', ""),
        "test_value_error", [], "found AssertionError",
    ),
    "refuses an exact fit": (
        REFERENCE_SIZE.replace("room < 0", "room <= 0"), "test_agrees_with_conv2d", [], "although the kernel fits"
    ),
    "compares with the unpadded input": (
        size_function(f"{RIGHT} // s + 1", "k > n or n + 2*p < d*(k-1) + 1"),
        "test_agrees_with_conv2d", [], "although the kernel fits",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SIZE_MISTAKES)
def test_size_mistakes_are_caught_where_they_belong(mistake, runner):
    source, intended, dependants, message = SIZE_MISTAKES[mistake]
    expect_lost(grade_size(source, runner), [intended], dependants, message)


def test_what_secret_arguments_are_cannot_be_learned_from_messages(runner):
    """A student's exception may say anything; on drawn arguments it is not repeated, nor is the name of its class."""
    tell_tale = """
def conv_output_size(*values, **named):
    raise type("Exception" + "".join(map(str, [*values, *named.values()])), (Exception,), {})(str(named))
"""
    for result in grade_size(tell_tale, runner).values():
        if result.cell == "output-size-function" and result.status is not Status.SKIPPED:
            assert result.message == "`conv_output_size` raises Exception for some arguments; try different ones yourself"
    tell_tale = """
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, *values, **named):
        super().__init__()
        self.text = f"{values} {named}"
    def forward(self, x):
        raise RuntimeError(f"{self.text} {x.shape}")
"""
    results = grade_separable(tell_tale, runner)
    assert not any(re.search(r"\d", r.message) for r in results.values() if r.cell == "depthwise-separable-tests")


def test_booleans_are_no_numbers(runner):
    results = grade_size("def conv_output_size(*a, **k): return True", runner)
    assert "True or False" in results["test_plain_case"].message
    assert sum(result.earned for result in results.values()) == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [("31", "plus 1"), ("31.5", "decimals"), ("'32'", "text"), ("True", "True or False"), ("60", "two pixels")],
)
def test_wrong_worked_answers_are_explained(value, message, runner):
    cells = [REFERENCE_SIZE, f"answer_output_size = {value}\nanswer_same_padding = 4.0"]
    expect_lost(grade(OUTPUT_SIZE, evidence_of(OUTPUT_SIZE, *cells), runner), ["test_worked_output_size"], (), message)


# The untouched release, for every exercise

RELEASE = {
    OUTPUT_SIZE: ["output-size-solution"],
    DEEPER: ["simple-cnn", "deeper-cnn-solution"],
    SEPARABLE: ["depthwise-separable-solution", "depthwise-count-solution"],
    MODERN: ["residual-block", "modern-cnn-solution", "modern-cnn-transforms"],
}


@pytest.mark.parametrize("notebook", RELEASE)
def test_untouched_release_scores_nothing_and_says_so(notebook, runner):
    cells = [released(given(notebook, cell)) for cell in RELEASE[notebook]]
    results = grade(notebook, evidence_of(notebook, *cells), runner)
    for result in results.values():
        assert result.earned == 0, result
        answered = re.search("is not answered yet", result.message) or result.status is Status.SKIPPED
        assert answered, result
        assert result.status in (Status.FAILED, Status.SKIPPED)


@pytest.mark.parametrize("notebook", RELEASE)
def test_reference_gets_all_points(notebook, runner):
    cells = [given(notebook, cell) for cell in RELEASE[notebook]]
    results = grade(notebook, evidence_of(notebook, *cells), runner)
    results.pop("test_accuracy", None)
    assert lost(results) == {}


# Exercise 2: DeeperCNN


def deeper(blocks, head="x.mean((2, 3))", classifier="nn.Linear(256, num_classes)", dropout="nn.Dropout(0.5)", last=""):
    """A DeeperCNN from its parts, all of them expressions."""
    return textwrap.dedent(f"""
    def block(a, b, norm=True, pool=True, act=nn.ReLU):
        parts = [nn.Conv2d(a, b, 3, padding=1)] + [nn.BatchNorm2d(b)] * norm + [act()] + [nn.MaxPool2d(2)] * pool
        return nn.Sequential(*parts)

    class DeeperCNN(nn.Module):
        def __init__(self, num_classes=10):
            super().__init__()
            self.features = nn.Sequential({blocks})
            self.dropout = {dropout}
            self.classifier = {classifier}

        def forward(self, x):
            x = self.features(x)
            x = {head}
            x = self.classifier(self.dropout(x))
            {last}
            return x
    """)


FOUR = "block(3, 32), block(32, 64), block(64, 128), block(128, 256)"

DEEPER_DESIGNS = {
    "inherits from SimpleCNN": """
        class DeeperCNN(SimpleCNN):
            def __init__(self, num_classes=10):
                super().__init__(num_classes)
                self.block4 = self.block(128, 256)
                self.classifier = nn.Linear(256, num_classes)
            def forward(self, x):
                x = self.block4(self.block3(self.block2(self.block1(x))))
                return self.classifier(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))
    """,
    "strided convolutions, two a block, no bias": """
        class DeeperCNN(nn.Module):
            def __init__(self, num_classes=10):
                super().__init__()
                parts, c = [], 3
                for width in (32, 64, 128, 256):
                    parts += [nn.Conv2d(c, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
                    parts += [nn.Conv2d(width, width, 3, padding="same", bias=False), nn.BatchNorm2d(width), nn.SiLU()]
                    c = width
                self.net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(c, num_classes))
            def forward(self, x):
                return self.net(x)
    """,
    "functional, average pooling over the rest": """
        class DeeperCNN(nn.Module):
            def __init__(self, num_classes=10):
                super().__init__()
                self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in [(3, 32), (32, 64), (64, 128), (128, 256)])
                self.norms = nn.ModuleList(map(nn.BatchNorm2d, (32, 64, 128, 256)))
                self.fc = nn.Linear(256, num_classes)
            def forward(self, x):
                for conv, norm in zip(self.convs, self.norms):
                    x = F.avg_pool2d(F.leaky_relu(norm(conv(x)), 0.1), 2)
                x = F.avg_pool2d(x, x.shape[2:]).flatten(1)
                return self.fc(F.dropout(x, 0.5, self.training))
    """,
    "pooling before batch norm": deeper(
        ", ".join(
            f"nn.Conv2d({a}, {b}, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d({b}), nn.GELU()"
            for a, b in [(3, 32), (32, 64), (64, 128), (128, 256)]
        )
    ),
    "pre-activation": deeper(
        "nn.Conv2d(3, 32, 3, padding=1), nn.MaxPool2d(2), "
        + ", ".join(
            f"nn.BatchNorm2d({a}), nn.ReLU(), nn.Conv2d({a}, {b}, 3, padding=1), nn.MaxPool2d(2)"
            for a, b in [(32, 64), (64, 128), (128, 256)]
        )
        + ", nn.BatchNorm2d(256), nn.ReLU()"
    ),
    "residual blocks, 1x1 convolution as classifier": """
        class Block(nn.Module):
            def __init__(self, a, b):
                super().__init__()
                self.one, self.two = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
                self.n1, self.n2 = nn.BatchNorm2d(b), nn.BatchNorm2d(b)
                self.short = nn.Conv2d(a, b, 1)
            def forward(self, x):
                return F.max_pool2d(F.relu(self.n2(self.two(F.relu(self.n1(self.one(x))))) + self.short(x)), 2)
        class DeeperCNN(nn.Module):
            def __init__(self, num_classes=10):
                super().__init__()
                self.body = nn.Sequential(Block(3, 32), Block(32, 64), Block(64, 128), Block(128, 256))
                self.drop, self.last = nn.Dropout(0.5), nn.Conv2d(256, num_classes, 1)
            def forward(self, x):
                return self.last(self.drop(self.body(x).mean((2, 3), keepdim=True))).flatten(1)
    """,
    "lazy layers": deeper(
        ", ".join(
            f"nn.LazyConv2d({b}, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2)" for b in (32, 64, 128, 256)
        ),
        classifier="nn.LazyLinear(num_classes)",
    ),
    "weight norm, zero-initialised classifier": """
        class DeeperCNN(nn.Module):
            def __init__(self, num_classes=10):
                super().__init__()
                layers = []
                for a, b in [(3, 32), (32, 64), (64, 128), (128, 256)]:
                    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(a, b, 3, padding=1))
                    layers += [conv, nn.BatchNorm2d(b), nn.ReLU(), nn.AvgPool2d(2)]
                self.layers = nn.Sequential(*layers)
                self.head = nn.Linear(256, num_classes)
                nn.init.zeros_(self.head.weight)
                self.dropout = nn.Dropout1d(0.2)
            def forward(self, x):
                return self.head(self.dropout(torch.mean(self.layers(x), dim=[-1, -2])))
    """,
    "fixed blur between the blocks": """
        class DeeperCNN(nn.Module):
            def __init__(self, num_classes=10):
                super().__init__()
                self.stages = nn.ModuleList(SimpleCNN.block(a, b) for a, b in [(3, 32), (32, 64), (64, 128), (128, 256)])
                self.register_buffer("blur", torch.ones(1, 1, 3, 3) / 9)
                self.dropout, self.classifier = nn.Dropout(0.5), nn.Linear(256, num_classes)
            def forward(self, x):
                for stage in self.stages:
                    x = F.conv2d(x, self.blur.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])
                    x = stage(x)
                return self.classifier(self.dropout(x.mean((2, 3))))
    """,
    "squeeze and excitation": deeper(FOUR + ", SE(256)").replace(
        "class DeeperCNN",
        """class SE(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = nn.Linear(c, c // 8), nn.Linear(c // 8, c)
    def forward(self, x):
        return x * torch.sigmoid(self.b(F.relu(self.a(x.mean((2, 3)))))).unflatten(1, (-1, 1, 1))

class DeeperCNN""",
    ),
}  # fmt: skip


def grade_deeper(source, runner):
    cells = [given(DEEPER, "simple-cnn"), textwrap.dedent(source)]
    return grade(DEEPER, evidence_of(DEEPER, *cells), runner)


@pytest.mark.parametrize("design", DEEPER_DESIGNS)
def test_correct_deeper_cnns_get_all_points(design, runner):
    assert lost(grade_deeper(DEEPER_DESIGNS[design], runner)) == {}


UNDECIDED = """
class DeeperCNN(SimpleCNN):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.block4 = self.block(128, 256)
        self.classifier = nn.Linear(256, num_classes)
    def forward(self, x):
        x = self.block3(self.block2(self.block1(x)))
        if self.training and torch.rand(()).item() < 0:
            x = x * 0
        return self.classifier(self.dropout(self.block4(x).mean((2, 3))))
"""


def test_an_export_that_fails_in_training_leaves_only_its_own_checks_undecided(runner):
    results = grade_deeper(UNDECIDED, runner)
    assert set(lost(results)) == {"test_weights_learn", "test_raw_logits_and_dropout"}
    for name in lost(results):
        assert results[name].status is Status.UNSUPPORTED, results[name]
        assert results[name].line


DEEPER_MISTAKES = {
    "num_classes ignored": (deeper(FOUR, classifier="nn.Linear(256, 10)"), "test_logits", "`num_classes` is ignored"),
    "fixed batch": (deeper(FOUR, head="x.mean((2, 3)).view(4, -1)"), "test_any_batch_size", r"view\(4, -1\)"),
    "bare squeeze": (
        deeper(FOUR, head="F.adaptive_avg_pool2d(x, 1).squeeze()"), "test_any_batch_size", "one image.*squeeze"
    ),
    "mixes images": (
        deeper(FOUR, head="x.mean((2, 3)) - x.mean((2, 3)).mean(0)"), "test_any_batch_size", "other images"
    ),
    "batch norm without running statistics": (
        deeper(FOUR).replace("nn.BatchNorm2d(b)", "nn.BatchNorm2d(b, track_running_stats=False)"),
        "test_any_batch_size", "other images",
    ),
    "plain list": (
        deeper(FOUR).replace("nn.Sequential(block", "(block").replace(
            "x = self.features(x)", "x = self.features[3](self.features[2](self.features[1](self.features[0](x))))"
        ),
        "test_weights_learn", "not registered",
    ),
    "detached": (deeper(FOUR, head="x.detach().mean((2, 3))"), "test_weights_learn", "learn|gradient"),
    "frozen": (
        deeper(FOUR).replace("self.dropout =", "self.features.requires_grad_(False); self.dropout ="),
        "test_weights_learn", "frozen",
    ),
    "unused layer": (
        deeper(FOUR).replace("self.dropout =", "self.extra = nn.Linear(7, 7); self.dropout ="),
        "test_weights_learn", "never used",
    ),
    "channels not doubled": (
        deeper("block(3, 32), block(32, 64), block(64, 128), block(128, 128)", classifier="nn.Linear(128, num_classes)"),
        "test_four_blocks", "expected 32 → 64 → 128 → 256",
    ),
    "starts with 64": (
        deeper("block(3, 64), block(64, 128), block(128, 256), block(256, 256)"), "test_four_blocks", "expected 32"
    ),
    "no batch norm in a block": (
        deeper(FOUR.replace("block(64, 128)", "block(64, 128, norm=False)")), "test_batch_norm", "block 3"
    ),
    "no batch norm in the last block": (
        deeper(FOUR.replace("block(128, 256)", "block(128, 256, norm=False)")), "test_batch_norm", "block 4"
    ),
    "no batch norm in the first block": (
        deeper(FOUR.replace("block(3, 32)", "block(3, 32, norm=False)")), "test_batch_norm", "block 1"
    ),
    "group norm instead": (
        deeper(FOUR).replace("nn.BatchNorm2d(b)", "nn.GroupNorm(8, b)"), "test_batch_norm", "no batch norm"
    ),
    "a block does not halve": (
        deeper(FOUR.replace("block(128, 256)", "block(128, 256, pool=False)")), "test_blocks_halve", "block 4"
    ),
    "an early block does not halve": (
        deeper(FOUR.replace("block(32, 64)", "block(32, 64, pool=False)")), "test_blocks_halve", "block 2"
    ),
    "no padding in the first convolution": (
        deeper(FOUR).replace("padding=1", "padding=int(a > 3)"), "test_blocks_halve", "needs padding=1"
    ),
    "flatten": (
        deeper(FOUR, head="x.flatten(1)", classifier="nn.Linear(1024, num_classes)"), "test_other_image_size", "1,024"
    ),
    "pools to 2x2": (
        deeper(FOUR, head="F.adaptive_avg_pool2d(x, 2).flatten(1)", classifier="nn.Linear(1024, num_classes)"),
        "test_other_image_size", "Average over",
    ),
    "two linear layers": (
        deeper(FOUR, classifier="nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, num_classes))"),
        "test_other_image_size", "one linear layer",
    ),
    "softmax": (deeper(FOUR, last="x = x.softmax(1)"), "test_raw_logits_and_dropout", "raw logits, found softmax"),
    "relu on logits": (deeper(FOUR, last="x = F.relu(x)"), "test_raw_logits_and_dropout", "raw logits, found relu"),
    "log_softmax": (deeper(FOUR, last="x = F.log_softmax(x, dim=1)"), "test_raw_logits_and_dropout", "raw logits"),
    "dropout stays on": (
        deeper(FOUR).replace("self.dropout(x)", "F.dropout(x)"), "test_raw_logits_and_dropout", "stays on"
    ),
    "no dropout": (deeper(FOUR, dropout="nn.Identity()"), "test_raw_logits_and_dropout", "no dropout before"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", DEEPER_MISTAKES)
def test_deeper_mistakes_are_caught_where_they_belong(mistake, runner):
    source, intended, message = DEEPER_MISTAKES[mistake]
    hidden = ["test_any_batch_size"] * (mistake == "plain list")  # eval() does not reach its batch norms
    expect_lost(grade_deeper(source, runner), [intended], hidden, message)


# Exercise 3: depthwise separable convolution


def separable(first="i, i, k, s, p, groups=i", second="i, o, 1", forward="self.two(F.relu(self.bn(self.one(x))))", more=""):
    return f"""
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        i, o, k, s, p = in_channels, out_channels, kernel_size, stride, padding
        self.one, self.bn, self.two = nn.Conv2d({first}), nn.BatchNorm2d(i), nn.Conv2d({second})
        {more}
    def forward(self, x):
        return {forward}
"""


def grade_separable(source, runner):
    cells = [source, "answer_standard_weights, answer_separable_weights = 64 * 128 * 9, 64 * 9 + 64 * 128"]
    return grade(SEPARABLE, evidence_of(SEPARABLE, *cells), runner)


SEPARABLE_DESIGNS = {
    "bare": separable(forward="self.two(self.one(x))"),
    "without bias, ReLU6": separable(
        "i, i, k, s, p, groups=i, bias=False", "i, o, 1, bias=False", "F.relu6(self.two(F.relu6(self.bn(self.one(x)))))"
    ),
    "batch norm at the end": separable(forward="self.bn2(self.two(self.one(x)))", more="self.bn2 = nn.BatchNorm2d(o)"),
    "functional": """
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, n_in, n_out, k=3, s=1, p=1):
        super().__init__()
        self.depth = nn.Parameter(torch.randn(n_in, 1, k, k) / k)
        self.point = nn.Parameter(torch.randn(n_out, n_in, 1, 1) / n_in)
        self.s, self.p = s, p
    def forward(self, x):
        x = F.conv2d(x, self.depth, stride=self.s, padding=self.p, groups=x.shape[1])
        return F.gelu(F.conv2d(x, self.point))
""",
    "one convolution per channel": """
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depth = nn.ModuleList(nn.Conv2d(1, 1, kernel_size, stride, padding) for _ in range(in_channels))
        self.point = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x):
        return self.point(torch.cat([conv(x[:, i : i + 1]) for i, conv in enumerate(self.depth)], dim=1))
""",
    "a linear layer over the channels": """
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depth = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels)
        self.point = nn.Linear(in_channels, out_channels)
    def forward(self, x):
        return self.point(self.depth(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
""",
}


@pytest.mark.parametrize("design", SEPARABLE_DESIGNS)
def test_correct_separable_convolutions_get_all_points(design, runner):
    assert lost(grade_separable(SEPARABLE_DESIGNS[design], runner)) == {}


RATIO = ["test_weight_ratio"]
SEPARABLE_MISTAKES = {
    "stride not passed on": (separable("i, i, k, 1, p, groups=i"), "test_output_shapes", [], "`stride` has no effect"),
    "padding not passed on": (separable("i, i, k, s, 1, groups=i"), "test_output_shapes", [], "`padding` has no eff"),
    "padding k//2": (separable("i, i, k, s, k // 2, groups=i"), "test_output_shapes", [], "derived from the kernel"),
    "kernel size not passed on": (separable("i, i, 3, s, p, groups=i"), "test_output_shapes", [], "`kernel_size` has"),
    "stride in both": (separable(second="i, o, 1, s"), "test_output_shapes", [], "`stride` is applied twice"),
    "groups forgotten": (separable("i, i, k, s, p"), "test_first_is_depthwise", RATIO, "look at all input channels"),
    "two kernels per channel": (
        separable("i, 2 * i, k, s, p, groups=i", "2 * i, o, 1", "self.two(self.one(x))"),
        "test_first_is_depthwise", RATIO, "one kernel per input channel",
    ),
    "mixes before": (
        separable(forward="self.two(self.one(x + x.mean(1, keepdim=True)))"),
        "test_first_is_depthwise", RATIO, "must stay apart",
    ),
    "wrong order": (
        separable("i, o, 1", "o, o, k, s, p, groups=o", "self.two(self.one(x))"),
        "test_first_is_depthwise", ["test_second_is_pointwise", *RATIO], "comes first",
    ),
    "k x k pointwise": (
        separable(second="i, o, 3, padding=1"), "test_second_is_pointwise", RATIO, "must be 1×1.*a larger kernel"
    ),
    "a third convolution": (
        separable(forward="self.three(self.two(self.one(x)))", more="self.three = nn.Conv2d(o, o, 1)"),
        "test_weight_ratio", [], "more weights than",
    ),
    "plain list": (
        separable(forward="self.two(self.hidden[0](x))", more="self.hidden = [self.one]; del self.one"),
        "test_trains", [], "not registered",
    ),
    "detached": (separable(forward="self.two(self.one(x).detach())"), "test_trains", [], "learn|gradient"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SEPARABLE_MISTAKES)
def test_separable_mistakes_are_caught_where_they_belong(mistake, runner):
    source, intended, dependants, message = SEPARABLE_MISTAKES[mistake]
    expect_lost(grade_separable(source, runner), [intended], dependants, message)


@pytest.mark.parametrize(
    ("answers", "intended", "message"),
    [
        ("73_856, 8_768", "test_standard_weights", "128 biases"),
        ("73_728, 9_152", "test_separable_weights", "batch norm"),
        ("73_728, 8_767", "test_separable_weights", "Add the weights"),
        ("73_728.5, 8_768", "test_standard_weights", "decimals"),
    ],
)
def test_wrong_counts_are_explained(answers, intended, message, runner):
    cells = [given(SEPARABLE, "depthwise-separable-solution"), f"answer_standard_weights, answer_separable_weights = {answers}"]
    expect_lost(grade(SEPARABLE, evidence_of(SEPARABLE, *cells), runner), [intended], (), message)


# Exercise 4: ModernCNN


def modern(
    stages="ResidualBlock(32, 64, stride=2), ResidualBlock(64, 96, stride=2)",
    head="x.mean((2, 3))",
    classifier="nn.Linear(96, num_classes)",
    stem="nn.Sequential(nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())",
    last="",
):
    return f"""
class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = {stem}
        self.stages = nn.Sequential({stages})
        self.classifier = {classifier}
    def forward(self, x):
        x = self.stages(self.stem(x))
        x = {head}
        x = self.classifier(x)
        {last}
        return x
"""


TRANSFORMS = given(MODERN, "modern-cnn-transforms")


def block_with(forward, more=""):
    """Two stages of a block of two convolutions with the given forward."""
    return f"""
class Block(nn.Module):
    def __init__(self, a, b, stride=1):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.c2, self.n2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        {more}
    def path(self, x):
        return self.n2(self.c2(F.relu(self.n1(self.c1(x)))))
    def forward(self, x):
        return {forward}
""" + modern("Block(32, 32), Block(32, 32)", classifier="nn.Linear(32, num_classes)")


def grade_modern(source, runner, transforms=TRANSFORMS):
    cells = [given(MODERN, "residual-block"), source, transforms]
    results = grade(MODERN, evidence_of(MODERN, *cells), runner)
    results.pop("test_accuracy")  # no checkpoint here: see test_checkpoint.py
    return results


MODERN_DESIGNS = {
    "identity, zero-initialised last batch norm": block_with("F.relu(x + self.path(x))", "nn.init.zeros_(self.n2.weight)"),
    "shortcut by slicing and zero-padding": """
class Block(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.path = nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1), nn.BatchNorm2d(b))
    def forward(self, x):
        y = self.path(x)
        return F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))
""" + modern("Block(32, 64), Block(64, 96)"),
    "bottleneck with squeeze and excitation, in place": """
class Block(nn.Module):
    def __init__(self, a, b, s):
        super().__init__()
        m = b // 4
        self.path = nn.Sequential(
            nn.Conv2d(a, m, 1), nn.BatchNorm2d(m), nn.ReLU(inplace=True),
            nn.Conv2d(m, m, 3, s, 1), nn.BatchNorm2d(m), nn.ReLU(inplace=True), nn.Conv2d(m, b, 1), nn.BatchNorm2d(b))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(b, m, 1), nn.ReLU(), nn.Conv2d(m, b, 1), nn.Sigmoid())
        self.short = nn.Sequential(nn.AvgPool2d(s), nn.Conv2d(a, b, 1))
    def forward(self, x):
        y = self.path(x)
        y = y * self.squeeze(y)
        y += self.short(x)
        return F.relu_(y)
""" + modern("Block(32, 64, 2), Block(64, 96, 2)"),
    "normalises inside, hidden layer, no stem norm": modern(
        stem="nn.Conv2d(3, 32, 3, 2, 1)", classifier="nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, num_classes))"
    ).replace("x = self.stages(self.stem(x))", "x = self.stages(self.stem((x - 0.5) / 0.25))"),
    "depthwise separable residual blocks": """
class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.path = nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, groups=c), nn.BatchNorm2d(c), nn.Conv2d(c, 4 * c, 1), nn.GELU(), nn.Conv2d(4 * c, c, 1))
        self.gamma = nn.Parameter(torch.full((c, 1, 1), 1e-2))
    def forward(self, x):
        return x + self.gamma * self.path(x)
""" + modern("Block(32), Block(32), nn.Conv2d(32, 96, 2, 2), nn.BatchNorm2d(96)", head="F.adaptive_avg_pool2d(x, (1, 1))[:, :, 0, 0]"),
}  # fmt: skip


@pytest.mark.parametrize("design", MODERN_DESIGNS)
def test_correct_modern_cnns_get_all_points(design, runner):
    assert lost(grade_modern(MODERN_DESIGNS[design], runner)) == {}


MODERN_MISTAKES = {
    "num_classes ignored": (modern(classifier="nn.Linear(96, 10)"), "test_logits", "ignored"),
    "softmax": (modern(last="x = torch.softmax(x, dim=1)"), "test_logits", "softmax"),
    "no addition": (block_with("F.relu(self.path(x))"), "test_residual_blocks", "0 residual additions found"),
    "concatenation": (
        block_with("self.mix(torch.cat([x, self.path(x)], 1))", "self.mix = nn.Conv2d(a + b, b, 1)"),
        "test_residual_blocks", "concatenated",
    ),
    "x + x": (block_with("self.path(x + x)"), "test_residual_blocks", "added to itself"),
    "detached shortcut": (block_with("F.relu(self.path(x) + x.detach())"), "test_residual_blocks", "detached"),
    "constant shortcut": (
        block_with("F.relu(self.path(x) + torch.ones_like(x))"), "test_residual_blocks", "does not depend|residual add"
    ),
    "bypasses nothing": (
        block_with("self.path(x + F.relu(x))"), "test_residual_blocks", "nothing is bypassed"
    ),
    "one block only": (modern("ResidualBlock(32, 96, stride=2)"), "test_residual_blocks", "1 residual addition found"),
    "no batch norm": (
        block_with("F.relu(x + self.path(x))").replace("nn.BatchNorm2d(b)", "nn.Identity()").replace("nn.BatchNorm2d(32), ", ""),
        "test_batch_norm", "found 0",
    ),
    "shared batch norm": (
        block_with("F.relu(x + self.path(x))", "self.n2 = self.n1"), "test_batch_norm", "used in two places"
    ),
    "flatten": (
        modern(head="x.flatten(1)", classifier="nn.Linear(96 * 16, num_classes)"), "test_other_image_size", "1,536"
    ),
    "stem in no_grad": (
        modern().replace("x = self.stages(self.stem(x))", "with torch.no_grad():\n            x = self.stem(x)\n        x = self.stages(x)"),
        "test_weights_learn", "learn|gradient",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MODERN_MISTAKES)
def test_modern_mistakes_are_caught_where_they_belong(mistake, runner):
    source, intended, message = MODERN_MISTAKES[mistake]
    expect_lost(grade_modern(source, runner), [intended], (), message)


# The transforms

SMALL = "ModernCNN = None"  # the architecture has its own tests
FLOAT = "v2.ToImage(), v2.ToDtype(torch.float32, scale=True)"
HALF = "v2.Normalize([0.5] * 3, [0.5] * 3)"
PLAIN_TEST = f"test_transform = v2.Compose([{FLOAT}, {HALF}])"
AUGMENTATION = {
    "test_training_varies",
    "test_training_gives_float",
    "test_testing_does_not_vary",
    "test_both_normalise_alike",
}


def grade_transforms(train, runner, test=PLAIN_TEST):
    evidence = evidence_of(MODERN, f"train_transform = {train}\n{test}", only={"train_transform", "test_transform"})
    modules = {"ModernCNN": []}
    evidence = type(evidence)(evidence.answers, evidence.calls, modules, evidence.samples)
    results = grade(MODERN, evidence, runner)
    assert set(results) > AUGMENTATION, results
    return {name: result for name, result in results.items() if name in AUGMENTATION}


TRANSFORM_DESIGNS = {
    "flip alone": f"v2.Compose([v2.RandomHorizontalFlip(), {FLOAT}, {HALF}])",
    "crop alone": f"v2.Compose([v2.RandomCrop(32, padding=4), {FLOAT}, {HALF}])",
    "v1": "v1.Compose([v1.RandomHorizontalFlip(), v1.RandomCrop(32, 4), v1.ToTensor(), v1.Normalize(0.5, 0.5)])",
    "jitter": f"v2.Compose([v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomHorizontalFlip(), {FLOAT}, {HALF}])",
    "random erasing": f"v2.Compose([v2.RandomHorizontalFlip(), {FLOAT}, {HALF}, v2.RandomErasing(p=1, value='random')])",
    "TrivialAugment": f"v2.Compose([v2.TrivialAugmentWide(), v2.RandomHorizontalFlip(), {FLOAT}, {HALF}])",
    "RandAugment": f"v2.Compose([v2.RandAugment(), {FLOAT}, {HALF}])",
    "resized crop, greyscale": f"v2.Compose([v2.RandomResizedCrop(32, (0.3, 1)), v2.RandomGrayscale(0.5), {FLOAT}, {HALF}])",
    "by hand, tensors only": (
        "lambda x: ((x if isinstance(x, torch.Tensor) else 1 / 0).float() / 127.5 - 1).roll(int(torch.randint(3, ())), 2)"
    ),
    "half precision": f"v2.Compose([v2.RandomHorizontalFlip(), {FLOAT}, {HALF}, v2.ToDtype(torch.float16)])",
}


@pytest.mark.parametrize("design", TRANSFORM_DESIGNS)
def test_correct_transforms_get_all_points(design, runner):
    assert lost(grade_transforms(TRANSFORM_DESIGNS[design], runner)) == {}


def test_plain_to_tensor_is_right_for_a_model_that_normalises_itself(runner):
    train = f"v2.Compose([v2.RandomHorizontalFlip(), {FLOAT}])"
    assert lost(grade_transforms(train, runner, "test_transform = v1.ToTensor()")) == {}


FLIP = f"v2.Compose([v2.RandomHorizontalFlip(), {FLOAT}, {HALF}])"
TRANSFORM_MISTAKES = {
    "no augmentation": (f"v2.Compose([{FLOAT}, {HALF}])", PLAIN_TEST, "test_training_varies", [], "all look the same"),
    "uint8": ("v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip()])", "test_transform = v2.ToImage()",
              "test_training_gives_float", [], "got uint8"),
    "too large": (
        f"v2.Compose([v2.Resize(40), v2.RandomHorizontalFlip(), {FLOAT}, {HALF}])", PLAIN_TEST,
        "test_training_gives_float", [], r"got \(3, 40, 40\)",
    ),
    "PIL image": (
        "v2.RandomHorizontalFlip()", PLAIN_TEST,
        "test_training_gives_float", ["test_training_varies", "test_both_normalise_alike"], "expected a tensor",
    ),
    "augmentation at test time": (
        FLIP, f"test_transform = {FLIP}", "test_testing_does_not_vary", [], "leave flips"
    ),
    "normalised in training only": (
        FLIP, f"test_transform = v2.Compose([{FLOAT}])", "test_both_normalise_alike", [], "-1.00 to 1.00 in training"
    ),
    "not normalised in training": (
        f"v2.Compose([v2.RandomHorizontalFlip(), {FLOAT}])", PLAIN_TEST, "test_both_normalise_alike", [], "unlike"
    ),
    "0 to 255 in training": (
        "v2.Compose([v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32)])", PLAIN_TEST,
        "test_both_normalise_alike", [], "unlike",
    ),
    "other statistics": (
        FLIP, f"test_transform = v2.Compose([{FLOAT}, v2.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))])",
        "test_both_normalise_alike", [], "unlike",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", TRANSFORM_MISTAKES)
def test_transform_mistakes_are_caught_where_they_belong(mistake, runner):
    train, test, intended, dependants, message = TRANSFORM_MISTAKES[mistake]
    expect_lost(grade_transforms(train, runner, test), [intended], dependants, message)
