"""Turn an nn.Module into a model graph: plain JSON data plus named tensors, with no code in it.

`torch.export` traces the module into a flat list of ATen operations. This file rewrites that list in the closed format
that the grader reads: nodes are integers, an operation is a name from a fixed table, arguments are positional and bound
by the operation's own schema, and one integer per node says which line of the student's code it came from.

It needs nothing but torch and the standard library: its text is also part of the student kit, so that a student meets
an export problem before handing in.

    pool = TensorPool()
    graph = export_graph(model, torch.zeros(4, 3, 32, 32), training=False, pool=pool)
    json.dumps(graph), safetensors.torch.save(pool.tensors)
"""

from __future__ import annotations

import logging
import math
import os
import random
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LINES_PER_CELL = 100_000

# Overloads as `str(overload)` spells them. "x.default" is left out: "relu" means "aten.relu.default".
_ATEN = """
    conv1d conv1d.padding conv2d conv2d.padding conv3d conv3d.padding
    conv_transpose1d conv_transpose2d.input conv_transpose3d.input
    linear bilinear matmul mm bmm mv dot vdot addmm baddbmm einsum inner outer tensordot embedding
    scaled_dot_product_attention
    batch_norm group_norm layer_norm instance_norm rms_norm
    _weight_norm _weight_norm_interface
    relu relu_ relu6 relu6_ gelu gelu_ silu silu_ leaky_relu leaky_relu_ elu elu_ celu celu_ selu selu_ hardswish
    hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_ mish mish_ softplus prelu rrelu rrelu_ sigmoid sigmoid_
    tanh tanh_ log_sigmoid threshold threshold_ softshrink hardshrink glu softmax.int log_softmax.int
    dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_ feature_alpha_dropout
    feature_alpha_dropout_
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec _upsample_nearest_exact2d.vec
    upsample_linear1d.vec upsample_bilinear2d.vec upsample_bicubic2d.vec _upsample_bilinear2d_aa.vec
    _upsample_bicubic2d_aa.vec pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im grid_sampler
    affine_grid_generator pad
    mean mean.dim sum sum.dim_IntList amax amin max min max.dim min.dim max.other min.other argmax argmin prod
    prod.dim_int var var.dim var.correction var_mean.dim var_mean.correction std std.dim std.correction std_mean.dim
    std_mean.correction logsumexp cumsum linalg_vector_norm norm.ScalarOpt_dim median.dim topk sort any any.dim
    all all.dim count_nonzero.dim_IntList cosine_similarity
    add.Tensor sub.Tensor mul.Tensor div.Tensor div.Tensor_mode add.Scalar sub.Scalar mul.Scalar div.Scalar
    rsub.Scalar rsub.Tensor add_.Tensor sub_.Tensor mul_.Tensor div_.Tensor div.out add_.Scalar sub_.Scalar
    mul_.Scalar div_.Scalar
    floor_divide floor_divide.Scalar remainder.Scalar remainder.Tensor
    pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar pow_.Scalar square square_ sqrt sqrt_ rsqrt rsqrt_ exp exp_
    exp2 expm1 log log_ log1p log2 log10 sin cos tan asin acos atan sinh cosh erf erfc abs abs_ neg neg_ sign sgn
    floor floor_ ceil round trunc frac reciprocal reciprocal_ clamp clamp.Tensor clamp_ clamp_min clamp_max
    clamp_min_ clamp_max_ clip clip_ maximum minimum addcmul addcdiv addcmul_ lerp.Scalar lerp.Tensor lerp_.Scalar
    lerp_.Tensor nan_to_num atan2 logaddexp xlogy.Tensor
    eq.Scalar ne.Scalar gt.Scalar ge.Scalar lt.Scalar le.Scalar eq.Tensor ne.Tensor gt.Tensor ge.Tensor lt.Tensor
    le.Tensor logical_and logical_or logical_not logical_xor bitwise_not bitwise_and.Tensor bitwise_or.Tensor
    __and__.Tensor __or__.Tensor isnan isinf isfinite where.self where.ScalarSelf where.ScalarOther where.Scalar
    masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar
    cat concat concatenate stack hstack vstack split.Tensor split.sizes split_with_sizes chunk unbind.int
    tensor_split.sections tensor_split.indices unsafe_split.Tensor unsafe_chunk slice.Tensor select.int narrow
    index.Tensor index_select gather take_along_dim
    view reshape view_as reshape_as flatten.using_ints unflatten.int ravel squeeze squeeze.dim squeeze.dims
    unsqueeze squeeze_ squeeze_.dim unsqueeze_ permute transpose.int swapaxes swapdims movedim.int movedim.intlist
    moveaxis.int moveaxis.intlist t numpy_T mT mH matrix_H adjoint expand expand_as broadcast_to repeat
    repeat_interleave.self_int tile flip fliplr flipud roll rot90 tril triu diagonal unfold meshgrid
    meshgrid.indexing contiguous clone detach alias lift_fresh_copy type_as to.dtype to.dtype_layout to.device
    to.other
    copy_ fill_.Scalar fill_.Tensor zero_ index_put_
    zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full arange arange.start
    arange.start_step linspace eye eye.m scalar_tensor
    bernoulli bernoulli.p bernoulli_.float rand rand_like randn randn_like randint randint.low uniform_ normal_
    normal.float_float
    sym_size.int sym_numel
"""
SUPPORTED_OPERATIONS = frozenset(
    f"aten.{name}" if "." in name else f"aten.{name}.default" for name in _ATEN.split()
) | frozenset(f"operator.{name}" for name in ("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg"))

# Uninitialised memory may hold anything, so zeros are a legal value of it; and zeros leak nothing.
_REWRITES = {
    "aten.empty.memory_format": "aten.zeros.default",
    "aten.empty_like.default": "aten.zeros_like.default",
    "aten.new_empty.default": "aten.new_zeros.default",
    "aten.detach_.default": "aten.detach.default",
}
# Checks that torch.export adds by itself; they compute nothing.
_ASSERTIONS = re.compile(r"aten\._assert_\w+\.\w+|aten\.sym_constrain_range\w*\.default|_assert\w*")
_READS_VALUES = ("aten.item.default", "aten._local_scalar_dense.default")
_DTYPES = frozenset(
    f"torch.{name}"
    for name in ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
)
_TORCH_FOLDER = os.path.dirname(torch.__file__)


class ExportProblem(Exception):
    """A module that did not become a graph. `str(problem)` is written for the student.

    `kind` is "error" where the module's own code is wrong (its `forward` raises, or does not return one tensor) and
    "unsupported" where the code may be right but the graph cannot hold it. `line` is encoded as in the graph, 0 where
    unknown; `raised` is what `forward` raised, if it did. `cause` is "values", "data" or "random" where forward cannot
    be traced because it looks at a tensor's values, takes its `.data`, or draws from Python's or NumPy's random.
    `returned` is "dict", "tuple", "list", "none", "number" or "object" where forward gave that in place of one tensor.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        line: int = 0,
        *,
        raised: BaseException | None = None,
        cause: str = "",
        returned: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.line = line
        self.raised = raised
        self.cause = cause
        self.returned = returned


class TensorPool:
    """The tensors of one build, shared by its exports. `tensors` maps a key ("t0", ...) to a contiguous CPU copy."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._keys: dict[tuple[Any, ...], str] = {}
        self._originals: list[Tensor] = []  # kept alive: a freed tensor's address would be given to another one

    def add(self, tensor: Tensor) -> str:
        """The key of a tensor; one that is seen again (the same memory, seen the same way) keeps its key."""
        identity = (
            tensor.data_ptr(),
            tensor.numel(),
            tuple(tensor.shape),
            tensor.stride(),
            tensor.dtype,
            tensor.device,
        )
        if identity not in self._keys or not tensor.numel():
            key = f"t{len(self.tensors)}"
            self._originals.append(tensor)
            self._keys[identity] = key
            self.tensors[key] = tensor.detach().cpu().contiguous().clone()
        return self._keys[identity]


def encode_line(cell: int, line: int) -> int:
    """One integer for a line of a cell; both count from 1, and 0 means unknown."""
    return cell * LINES_PER_CELL + min(line, LINES_PER_CELL - 1)


def decode_line(line: int) -> tuple[int, int]:
    """`(cell, line in the cell)` of an encoded line; `(0, 0)` where it is unknown."""
    return divmod(line, LINES_PER_CELL)


def export_graph(
    module: nn.Module,
    example: Tensor,
    *,
    training: bool,
    pool: TensorPool,
    locate: Callable[[str, int], int] = lambda filename, line: line,
) -> dict[str, Any]:
    """The graph of `module(example)` as data that `json.dumps` takes; its tensors go into `pool`.

    example: float tensor (N, C, H, W) with N >= 2 (torch specialises sizes 0 and 1). The batch becomes dynamic where
    the module's code allows it, else "batch" is N. `locate(filename, line)` encodes a line of the student's code, or
    gives 0 for a file that is not the student's. The module's train/eval flags are restored.
    Raises ExportProblem.
    """
    module = _unwrap(module)
    flags = [(part, part.training) for part in module.modules()]
    try:
        module.train(training)
        with _quiet(), torch.enable_grad():
            _materialise_lazy_parameters(module, example, locate)
            luck = _python_luck()
            program = _trace(module, example, locate)
        if training and _python_luck() != luck:
            raise ExportProblem(
                "unsupported",
                "forward draws from Python's or NumPy's random while it trains, and a graph would keep that one draw: "
                "a branch that is left out by chance would be missing from it. Hint: draw with torch, e.g. multiply "
                "the branch by torch.empty(x.size(0), 1, 1, 1).bernoulli_(keep)",
                _line_that_draws(module, example, locate),
                cause="random",
            )
        return _Encoder(module, program, example, training, pool, locate).encode()
    finally:
        for part, flag in flags:
            part.training = flag


def _unwrap(module: nn.Module) -> nn.Module:
    """The module inside torch.compile's or DataParallel's wrapper."""
    for name in ("_orig_mod", "module") if type(module).__module__.startswith("torch.") else ():
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            return inner
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            what = f"`{name[:80]}` is a scripted module, which" if name else "a scripted module"
            raise ExportProblem("unsupported", f"{what} cannot be exported; leave out torch.jit.script")
    return module


def _python_luck() -> tuple[Any, ...]:
    """The states of the random generators that torch does not trace; they change when something draws from them."""
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state(legacy=False)["state"] if numpy else {}
    return random.getstate(), state.get("pos"), bytes(state.get("key", b""))


def _line_that_draws(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> int:
    """The first line of the student's code in forward that draws from such a generator."""
    found, luck, places = 0, _python_luck(), [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal found, luck
        place = locate(frame.f_code.co_filename, frame.f_lineno)
        if not place:
            return None
        now = _python_luck()
        if now != luck:
            found, luck = found or places[-1], now
        if event == "call":
            places.append(place)
        elif event == "return":
            places.pop()
        else:
            places[-1] = place
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        _problem_when_run(module, example, locate)
    finally:
        sys.settrace(before)
    return found


class _DataReads(TorchFunctionMode):
    """Takes note of the student's line where a tensor's `.data` is read for the first time."""

    def __init__(self, locate: Callable[[str, int], int]) -> None:
        super().__init__()
        self.locate, self.line = locate, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__get__ and not self.line:  # type: ignore[attr-defined]
            frames = traceback.extract_stack()
            self.line = _innermost([(frame.filename, frame.lineno or 0) for frame in frames], self.locate)
        return func(*args, **(kwargs or {}))


def _line_that_reads_data(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> int:
    reads = _DataReads(locate)
    with reads:
        _problem_when_run(module, example, locate)
    return reads.line


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the tracer's warnings and dumps, which read as if the student's code had failed, and what forward prints."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _materialise_lazy_parameters(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> None:
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters()):
        problem = _problem_when_run(module, example, locate)
        if problem is not None:
            raise problem


def _trace(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> Any:
    """The exported program: batch dynamic where possible, fixed where the code fixes it."""
    dynamic = ({0: torch.export.Dim.AUTO},)
    try:
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic, strict=False)
        if _batch_of(program) != "dynamic":
            # Dim.AUTO says nothing when it fixes the batch, and `x.reshape(len(x), -1)` is enough for that: Python's
            # len() gives a plain integer. The strict tracer reads the source instead and keeps it symbolic.
            with suppress(Exception):  # what it cannot trace, the other one has traced already
                strict = torch.export.export(module, (example,), dynamic_shapes=dynamic, strict=True)
                return strict if _batch_of(strict) == "dynamic" else program
        return program
    except Exception:  # any of a dozen kinds, some of them private to torch; what it means is decided below
        problem = _problem_when_run(module, example, locate)
        if problem is not None:
            raise problem from None
    try:
        return torch.export.export(module, (example,), strict=False)
    except Exception as error:
        line = _line_of_text(str(error), locate) or _line_of_exception(error, locate)
        reason, cause = _reason(error)
        line = line or (_line_that_reads_data(module, example, locate) if cause == "data" else 0)
        raise ExportProblem(
            "unsupported",
            f"forward runs, but torch.export cannot turn it into a graph: {reason} "
            "Hint: decisions on tensor values (if x.max() > 1, .item(), .numpy(), .data) cannot be part of a graph.",
            line,
            cause=cause,
        ) from error


def _reason(error: Exception) -> tuple[str, str]:
    """The first line of what torch says, or plain words and a cause for what it says in riddles."""
    text = str(error)
    if "We found a fake tensor in the exported program constant's list" in text:
        return "it uses a tensor's .data, which leaves the graph (.detach() stays in it).", "data"
    if re.search(r"data-dependent|Could not extract specialized|unsupported format string|\.numpy\(\) is not", text):
        return "what it does next depends on the values of a tensor.", "values"
    return next((line for line in text.splitlines() if line.strip()), type(error).__name__)[:300], ""


def _batch_of(program: Any) -> int | str:
    """ "dynamic", or the one batch size that the code allows."""
    specs = program.graph_signature.input_specs
    name = next((spec.arg.name for spec in specs if spec.kind.name == "USER_INPUT"), None)
    sizes = [node.meta["val"].shape[0] for node in program.graph.nodes if node.name == name]
    if sizes and isinstance(sizes[0], torch.SymInt) and not sizes[0].node.expr.is_number:
        return "dynamic"  # a symbol that the code has fixed is still a SymInt, of a number
    return int(sizes[0]) if sizes else "dynamic"


def _problem_when_run(module: nn.Module, example: Tensor, locate: Callable[[str, int], int]) -> ExportProblem | None:
    """What is wrong when the module simply runs; its buffers are put back."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers() if not nn.parameter.is_lazy(buffer)]
    try:
        with torch.no_grad():
            module(example.clone())
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:300]
        message = f"forward raises {type(error).__name__} for an input {tuple(example.shape)}: {reason}"
        return ExportProblem("error", message, _line_of_exception(error, locate), raised=error)
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    return None


def _line_of_exception(error: BaseException, locate: Callable[[str, int], int]) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return _innermost([(frame.filename, frame.lineno or 0) for frame in frames], locate)


def _line_of_text(text: str, locate: Callable[[str, int], int]) -> int:
    """The line from a stack that torch wrote as text."""
    found = re.findall(r'File "([^"\n]+)", line (\d{1,7})', text)
    return _innermost([(filename, int(line)) for filename, line in found], locate)


def _innermost(frames: list[tuple[str, int]], locate: Callable[[str, int], int]) -> int:
    for filename, line in reversed(frames):
        # torch's own frames, and this file's, come after the student's; torch shortens its own to "torch/...".
        if filename.startswith((_TORCH_FOLDER, "torch/")) or filename == __file__:
            continue
        place = locate(filename, line)
        if place:
            return place
    return 0


class _Encoder:
    """Writes one exported program as a wire graph."""

    def __init__(
        self,
        module: nn.Module,
        program: Any,
        example: Tensor,
        training: bool,
        pool: TensorPool,
        locate: Callable[[str, int], int],
    ) -> None:
        self.program, self.example, self.training, self.pool, self.locate = program, example, training, pool, locate
        self.module = module
        self.tensors: list[list[Any]] = []
        self.regions: list[list[Any]] = []
        self.nodes: list[list[Any]] = []
        self.mutating: set[int] = set()
        self.problems: dict[int, ExportProblem] = {}  # by node: a node that turns out to be dead is no problem

    def encode(self) -> dict[str, Any]:
        environment: dict[Any, Any] = {}
        specs = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                environment[node] = {"node": self._placeholder(node, specs[node.name])}
                if specs[node.name].kind.name == "USER_INPUT" and _writes_input(self.program.graph, node):
                    # An in-place ReLU on the images changes the caller's copy, in a graph it may not: give it its own.
                    self._append(["call", "aten.clone.default", [environment[node], None], 0, 0])
                    environment[node] = {"node": len(self.nodes) - 1}
        self._add_unused_state()
        outputs = self._emit(self.program.graph_module, environment, region=0)
        if len(outputs) != 1 or not self._returns_one_tensor():
            kind = "unsupported" if self.training else "error"
            message = "forward must return one tensor (the logits), not several values or none"
            raise ExportProblem(kind, message, returned=self._returned())
        self.nodes.append(["output", outputs[0]])
        return {
            "version": 1,
            "training": self.training,
            "batch": _batch_of(self.program),
            "input_shape": list(self.example.shape),
            "tensors": self.tensors,
            "regions": self.regions,
            "nodes": self._live_nodes(),
        }

    def _returns_one_tensor(self) -> bool:
        """False for `return (x,)` or `return {"logits": x}`, whose graph has one output too."""
        outputs = self.program.graph_signature.output_specs
        tree = self.program.call_spec.out_spec
        return len(outputs) == 1 and type(outputs[0].arg).__name__ == "TensorArgument" and bool(tree.is_leaf())

    def _returned(self) -> str:
        """What forward gave in place of one tensor, as in ExportProblem."""
        tree = self.program.call_spec.out_spec
        if not tree.is_leaf():
            # Of named tuples torch keeps the function that makes them in place of a type.
            type_ = tree.type if isinstance(tree.type, type) else tuple
            return next((kind.__name__ for kind in (dict, list, tuple) if issubclass(type_, kind)), "object")
        value = getattr(self.program.graph_signature.output_specs[0].arg, "value", None)
        return "none" if value is None else "number" if isinstance(value, (int, float)) else "object"

    def _placeholder(self, node: Any, spec: Any) -> int:
        kind = spec.kind.name
        if kind == "USER_INPUT":
            return self._append(["input"])
        if kind not in {"PARAMETER", "BUFFER", "CONSTANT_TENSOR"}:
            raise ExportProblem("unsupported", f"the module holds a value that is no tensor ({kind.lower()})")
        store = self.program.state_dict if spec.target in self.program.state_dict else self.program.constants
        # What a state dict does not hold is a constant of the graph.
        self._tensor(spec.target, store[spec.target], kind == "PARAMETER", kind == "BUFFER" and spec.persistent)
        return self._append(["tensor", len(self.tensors) - 1])

    def _tensor(self, name: str, tensor: Tensor, is_parameter: bool, is_buffer: bool) -> None:
        if str(tensor.dtype) not in _DTYPES - {"torch.bfloat16"} or tensor.layout != torch.strided:
            raise ExportProblem("unsupported", f"tensor {name!r} has dtype {tensor.dtype}; use float32")
        kind = "buffer" if is_buffer else "constant"
        if is_parameter:
            kind = "parameter" if tensor.requires_grad else "frozen"
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.tensors.append([kind, name, dtype, list(tensor.shape), self.pool.add(tensor)])

    def _add_unused_state(self) -> None:
        """Name what the state dict holds and the graph does not: layers that forward never calls, second names."""
        known = {tensor[1] for tensor in self.tensors}
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            if name not in known and isinstance(tensor, Tensor):
                self._tensor(name, tensor, isinstance(tensor, nn.Parameter), not isinstance(tensor, nn.Parameter))

    def _append(self, node: list[Any]) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _emit(self, graph_module: Any, environment: dict[Any, Any], region: int) -> list[Any]:
        """Append a graph's calls, regions inlined, and return its encoded outputs."""
        for node in graph_module.graph.nodes:
            if node.op == "call_function":
                environment[node] = self._call(graph_module, node, environment, region)
            elif node.op == "output":
                values = node.args[0] if isinstance(node.args[0], (list, tuple)) else [node.args[0]]
                return [self._value(value, environment) for value in values]
        return []

    def _call(self, graph_module: Any, node: Any, environment: dict[Any, Any], region: int) -> Any:
        target = node.target
        name = _name_of(target)
        if name in {"wrap_with_set_grad_enabled", "wrap_with_autocast"}:
            return self._region(name, graph_module, node, environment, region)
        if name == "operator.getitem" and isinstance(environment.get(node.args[0]), list):
            return environment[node.args[0]][node.args[1]]  # one of the outputs of a region
        if _ASSERTIONS.fullmatch(name):
            return None
        line = _line_of_text(node.meta.get("stack_trace") or "", self.locate)
        arguments = _bind(node)
        index = len(self.nodes)
        if name == "sym_float":  # of the number of images
            name, arguments = "operator.truediv", [*arguments, 1]
        elif name in _REWRITES:
            name = _REWRITES[name]
            arguments = arguments[: len(_overload(name)._schema.arguments)]  # empty has one more than zeros
        try:
            encoded = [self._value(value, environment) for value in arguments]
        except ExportProblem as problem:
            problem.line = line
            self.problems[index], encoded = problem, []
        if name not in SUPPORTED_OPERATIONS:
            cause = "values" if name in _READS_VALUES else ""
            message = f"the model uses the operation {name[:80]}, which a model graph cannot hold"
            self.problems[index] = ExportProblem("unsupported", message, line, cause=cause)
        schema = getattr(target, "_schema", None)
        if schema is not None and schema.is_mutable:
            self.mutating.add(index)
        return {"node": self._append(["call", name, encoded, line, region])}

    def _region(self, name: str, graph_module: Any, node: Any, environment: dict[Any, Any], region: int) -> list[Any]:
        """Inline the body of `with torch.no_grad():` or `with torch.autocast(...):`."""
        count = 1 if name == "wrap_with_set_grad_enabled" else 4
        settings, body, operands = node.args[:count], node.args[count], node.args[count + 1 :]
        if count == 1:
            self.regions.append([region, "grad", bool(settings[0])])
            region = len(self.regions)
        elif settings[0] == self.example.device.type:  # autocast of another device changes nothing
            dtype = str(settings[1] or torch.get_autocast_dtype(settings[0])).removeprefix("torch.")
            self.regions.append([region, "autocast", dtype, bool(settings[2])])
            region = len(self.regions)
        inner = getattr(graph_module, body.target)
        names = [item for item in inner.graph.nodes if item.op == "placeholder"]
        scope = {place: self._value(value, environment) for place, value in zip(names, operands, strict=True)}
        return self._emit(inner, scope, region)

    def _value(self, value: Any, environment: dict[Any, Any]) -> Any:
        if isinstance(value, torch.fx.Node):
            return environment[value]
        if isinstance(value, (list, tuple)):
            return [self._value(item, environment) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, torch.dtype):
            if str(value) not in _DTYPES:
                raise ExportProblem("unsupported", f"{value} cannot be part of a model graph; use float32")
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
            return None  # the grader chooses where and in which memory order a graph runs
        raise ExportProblem("unsupported", f"a {type(value).__name__} cannot be part of a model graph")

    def _live_nodes(self) -> list[list[Any]]:
        """The nodes that the output needs, renumbered; inputs, tensors and writes stay."""
        live = {i for i, node in enumerate(self.nodes) if node[0] != "call"} | self.mutating
        for i in reversed(range(len(self.nodes))):
            if i in live:
                live.update(_references(self.nodes[i]))
        problems = [self.problems[i] for i in sorted(live & self.problems.keys())]
        if problems:
            raise problems[0]
        order = {old: new for new, old in enumerate(sorted(live))}
        return [_renumber(self.nodes[old], order) for old in sorted(live)]


def _name_of(target: Any) -> str:
    """An operation's name: `aten.relu.default`, `operator.add`, `sym_float`. Never an address, which would differ each
    time in what a student reads."""
    if getattr(target, "__module__", "") == "_operator":
        return f"operator.{target.__name__}"
    return str(target) if isinstance(target, torch._ops.OperatorBase) else str(getattr(target, "__name__", "?"))


def _bind(node: Any) -> list[Any]:
    """Every argument of a call by position, defaults filled in, so that no keyword name travels."""
    arguments = list(node.args)
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        for argument in schema.arguments[len(arguments) :]:
            default = argument.default_value
            if re.search("MemoryFormat|ScalarType", str(argument.real_type)) and isinstance(default, int):
                # torch's own codes; the one dtype that is a default is randint's, int64
                default = None if "MemoryFormat" in str(argument.real_type) else torch.int64
            arguments.append(node.kwargs.get(argument.name, default))
    return arguments


def _writes_input(graph: Any, placeholder: Any) -> bool:
    """Whether some call may write into the input, or into a view of it (dropout hands it on in evaluation mode)."""
    views = {placeholder}
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            if views.intersection(node.all_input_nodes):  # one of several results, or a region: may be a view
                views.add(node)
            continue
        for argument, value in zip(schema.arguments, node.args, strict=False):
            if (
                isinstance(value, torch.fx.Node)
                and value in views
                and (argument.alias_info is not None or "dropout" in str(node.target))
            ):
                if schema.is_mutable and argument.alias_info is not None and argument.alias_info.is_write:
                    return True
                views.add(node)
    return False


def _overload(name: str) -> Any:
    """The overload object of one of our own names, never of a name from outside."""
    _, operation, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, operation), overload)


def _references(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [value["node"]] if "node" in value else []
    return [index for item in value for index in _references(item)] if isinstance(value, list) else []


def _renumber(value: Any, order: dict[int, int]) -> Any:
    if isinstance(value, dict) and "node" in value:
        return {"node": order[value["node"]]}
    return [_renumber(item, order) for item in value] if isinstance(value, list) else value
