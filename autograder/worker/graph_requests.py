"""The runner's side of every request: load a graph, estimate it, run it, differentiate it, train it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from autograder.worker.graph_costs import Costs, estimate
from autograder.worker.interpreter import Graph, GraphError, execute

PEAK_SHARE = 0.7  # of the memory limit; torch's own buffers and the weights need the rest
DEFAULT_MEMORY_MIB = 8192
GRADIENT_FACTOR = 2  # what autograd keeps of a forward pass, and the gradients themselves
SEED = 20240
# Channels-last sums in another order; what differs by more than this is another result, e.g. a broken view.
LAYOUT_TOLERANCE = 1e-3
_NUMPY = {"float32": torch.float32, "uint8": torch.uint8, "int64": torch.int64}


@dataclass
class Loaded:
    """One graph with its tensors, in the graph's order; tied tensors are one object."""

    graph: Graph
    tensors: list[Tensor]
    costs: dict[tuple[int, ...], Costs]
    channels_last: bool | None = None  # unknown until the first evaluation has compared both orders


class Server:
    """All loaded graphs, and how to answer each kind of request. Handles are numbers that the client chose."""

    def __init__(self) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.device = torch.device("cpu")
        self.loaded: dict[int, Loaded] = {}
        self.memory_bytes = int(os.environ.get("AUTOGRADER_MEMORY_MIB", DEFAULT_MEMORY_MIB)) << 20
        self.answers: dict[str, Callable[..., tuple[dict[str, Any], bytes]]] = {
            "hello": self.hello,
            "load": self.load,
            "release": self.release,
            "shapes": self.shapes,
            "run": self.run,
            "cut": self.cut,
            "values": self.values,
            "evaluate": self.evaluate,
            "gradients": self.gradients,
            "loss": self.loss,
            "train": self.train,
            "bind": self.bind,
        }

    def answer(self, request: dict[str, Any], payload: bytearray) -> tuple[dict[str, Any], bytes]:
        """The answer to one request. What goes wrong inside a graph is an answer too; nothing is raised."""
        torch.manual_seed(SEED)
        arguments = {key: value for key, value in request.items() if key not in {"id", "op"}}
        try:
            return self.answers[request["op"]](payload, **arguments)
        except GraphError as error:
            return {"error": "refused", "message": str(error), "line": error.line}, b""
        except MemoryError:
            return {"error": "out_of_memory", "message": "", "line": 0}, b""
        except Exception as error:  # torch raises whatever it likes about shapes, dtypes, memory
            line = getattr(error, "line", 0)
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                return {"error": "out_of_memory", "message": "", "line": line}, b""
            text = (str(error).splitlines() or [""])[0][:300]
            return {"error": "error", "message": text or type(error).__name__, "line": line}, b""

    def hello(self, _: bytearray, *, device: str) -> tuple[dict[str, Any], bytes]:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if self.device.type == "cuda":
            # TF32 keeps ten bits of a product: enough to change a mark between one GPU and the next.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
        _prime(self.device)
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}, b""

    def load(self, payload: bytearray, *, handle: int, graph: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        ready = Graph(graph)
        stored = {key: value.to(self.device) for key, value in safetensors.torch.load(bytes(payload)).items()}
        tensors = [stored[key] for _, _, _, _, key in ready.tensors]
        for (_, name, dtype, shape, _), tensor in zip(ready.tensors, tensors, strict=True):
            if str(tensor.dtype) != f"torch.{dtype}" or list(tensor.shape) != shape:
                raise GraphError(f"{name} is not the tensor that the graph declares")
        self.loaded[handle] = Loaded(ready, tensors, {})
        return {}, b""

    def release(self, _: bytearray, *, handle: int) -> tuple[dict[str, Any], bytes]:
        self.loaded.pop(handle, None)
        return {}, b""

    def shapes(self, _: bytearray, *, handle: int, shape: list[int]) -> tuple[dict[str, Any], bytes]:
        loaded = self.loaded[handle]
        costs = self.costs(loaded, tuple(shape))
        macs = costs.macs // max(shape[0], 1)
        return {"shapes": costs.shapes, "macs_per_image": macs, "peak_bytes": costs.peak_bytes}, b""

    def run(self, payload: bytearray, *, handle: int, arrays: list[Any]) -> tuple[dict[str, Any], bytes]:
        loaded, (images,) = self.loaded[handle], self.arrays(payload, arrays)
        self.admit(loaded, tuple(images.shape))
        with torch.inference_mode():
            return _array(execute(loaded.graph, loaded.tensors, images))

    def cut(
        self, payload: bytearray, *, handle: int, arrays: list[Any], cuts: list[list[list[int]]]
    ) -> tuple[dict[str, Any], bytes]:
        """The outputs for all sets of cuts, one after the other; the same random numbers are drawn for each."""
        loaded, (images,) = self.loaded[handle], self.arrays(payload, arrays)
        self.admit(loaded, tuple(images.shape))
        outputs = []
        with torch.inference_mode():
            for places in cuts:
                torch.manual_seed(SEED)
                chosen = {(step, place) for step, place in places}
                outputs.append(execute(loaded.graph, loaded.tensors, images, cuts=chosen))
            return _array(torch.stack(outputs))

    def values(
        self, payload: bytearray, *, handle: int, arrays: list[Any], nodes: list[int]
    ) -> tuple[dict[str, Any], bytes]:
        """The values of some nodes, one after the other, each as a row of numbers; `sizes` are their lengths."""
        loaded, (images,) = self.loaded[handle], self.arrays(payload, arrays)
        self.admit(loaded, tuple(images.shape))
        found: dict[int, Tensor] = {}

        def keep(index: int, _node: list[Any], _arguments: list[Any], value: Any) -> None:
            if index in nodes and isinstance(value, Tensor):
                found[index] = value.detach().float().flatten().clone()

        with torch.inference_mode():
            execute(loaded.graph, loaded.tensors, images, observe=keep)
        for index in nodes:
            node = loaded.graph.nodes[index]
            if node[0] == "tensor":
                found[index] = loaded.tensors[node[1]].detach().float().flatten()
            if index not in found:
                raise GraphError("a value that is no tensor was asked for")
        described, content = _array(torch.cat([found[index] for index in nodes]))
        return {**described, "sizes": [found[index].numel() for index in nodes]}, content

    def loss(self, payload: bytearray, *, handle: int, arrays: list[Any], loss: str) -> tuple[dict[str, Any], bytes]:
        loaded, (images, labels) = self.loaded[handle], self.arrays(payload, arrays)
        self.admit(loaded, tuple(images.shape))
        with torch.inference_mode():
            return {"loss": _number(_loss(execute(loaded.graph, loaded.tensors, images), labels, loss))}, b""

    def gradients(
        self, payload: bytearray, *, handle: int, arrays: list[Any], loss: str
    ) -> tuple[dict[str, Any], bytes]:
        """Per parameter: is its gradient finite, and how large is the largest entry; frozen and unused ones get 0."""
        loaded, (images, labels) = self.loaded[handle], self.arrays(payload, arrays)
        self.admit(loaded, tuple(images.shape), GRADIENT_FACTOR)
        tensors = _trainable_copy(loaded)
        value = _loss(execute(loaded.graph, tensors, images), labels, loss)
        if value.requires_grad:  # else no parameter has any influence on the output
            value.backward()  # type: ignore[no-untyped-call]
        statistics = {}
        for (kind, name, *_), tensor in zip(loaded.graph.tensors, tensors, strict=True):
            if kind in {"parameter", "frozen"}:
                gradient = tensor.grad
                largest = 0.0 if gradient is None or not gradient.numel() else float(gradient.abs().max())
                statistics[name] = [math.isfinite(largest), _number(largest)]
        return {"loss": _number(value), "parameters": statistics}, b""

    def train(
        self,
        payload: bytearray,
        *,
        handle: int,
        arrays: list[Any],
        steps: int,
        learning_rate: float,
        momentum: float,
        loss: str,
        new: int,
    ) -> tuple[dict[str, Any], bytes]:
        """SGD steps on one batch. The loss before each step; the trained tensors get the handle `new`."""
        loaded, (images, labels) = self.loaded[handle], self.arrays(payload, arrays)
        self.admit(loaded, tuple(images.shape), GRADIENT_FACTOR)
        tensors = _trainable_copy(loaded)
        parameters = list({id(tensor): tensor for tensor in tensors if tensor.requires_grad}.values())
        optimiser = torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum) if parameters else None
        losses: list[float | None] = []
        for _ in range(steps):
            value = _loss(execute(loaded.graph, tensors, images, keep_writes=True), labels, loss)
            losses.append(_number(value))
            if losses[-1] is None or optimiser is None or not value.requires_grad:
                break
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            copies = {id(tensor): tensor.detach().clone() for tensor in tensors}
        self.loaded[new] = Loaded(loaded.graph, [copies[id(tensor)] for tensor in tensors], {})
        return {"losses": losses}, b""

    def bind(self, _: bytearray, *, handle: int, state: int, new: int) -> tuple[dict[str, Any], bytes]:
        """`handle`'s graph with the parameters and buffers of `state`, by name."""
        loaded, donor = self.loaded[handle], self.loaded[state]
        trained = {entry[1]: tensor for entry, tensor in zip(donor.graph.tensors, donor.tensors, strict=True)}
        tensors = []
        for (kind, name, _, shape, _), tensor in zip(loaded.graph.tensors, loaded.tensors, strict=True):
            replacement = trained.get(name, tensor) if kind != "constant" else tensor
            if list(replacement.shape) != shape or replacement.dtype != tensor.dtype:
                raise GraphError(f"{name} has another shape or dtype in training than in evaluation")
            tensors.append(replacement)
        self.loaded[new] = Loaded(loaded.graph, tensors, {})
        return {}, b""

    def evaluate(
        self, payload: bytearray, *, handle: int, arrays: list[Any], scale: list[float], shift: list[float], batch: int
    ) -> tuple[dict[str, Any], bytes]:
        """Outputs for uint8 images, normalised here: x / 255 * scale + shift per channel."""
        loaded = self.loaded[handle]
        (images,) = self.arrays(payload, arrays, move=False)
        self.admit(loaded, (min(batch, len(images)), *images.shape[1:]))
        factors = (torch.tensor(scale, device=self.device) / 255).view(1, -1, 1, 1)
        offsets = torch.tensor(shift, device=self.device).view(1, -1, 1, 1)
        outputs = []
        with torch.inference_mode():
            for part in torch.split(images, batch):
                normalised = part.to(self.device).float() * factors + offsets
                outputs.append(self.forward(loaded, normalised).float().cpu())
        return _array(torch.cat(outputs))

    def forward(self, loaded: Loaded, images: Tensor) -> Tensor:
        """The output for a batch, in the faster memory order where that gives the same result."""
        if loaded.channels_last is False:
            return execute(loaded.graph, loaded.tensors, images)
        fast = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in loaded.tensors]
        turned = images.contiguous(memory_format=torch.channels_last)
        if loaded.channels_last is None:
            loaded.channels_last = _agree(loaded, fast, images, turned)
            return self.forward(loaded, images)
        return execute(loaded.graph, fast, turned)

    def costs(self, loaded: Loaded, shape: tuple[int, ...]) -> Costs:
        """Estimated once per input shape."""
        if shape not in loaded.costs:
            loaded.costs[shape] = estimate(loaded.graph, loaded.tensors, shape)
        return loaded.costs[shape]

    def admit(self, loaded: Loaded, shape: tuple[int, ...], factor: int = 1) -> None:
        """Refuse what would not fit into memory, before anything is allocated."""
        costs = self.costs(loaded, shape)
        needed = costs.peak_bytes
        if factor > 1:  # autograd keeps what the interpreter would free
            needed = factor * sum(4 * math.prod(s) for s in costs.shapes if s is not None)
        if needed > PEAK_SHARE * self.memory_bytes:
            raise GraphError(
                f"the model would need about {needed / 2**30:,.1f} GiB for a batch of {shape[0]}, "
                f"more than the {PEAK_SHARE * self.memory_bytes / 2**30:,.1f} GiB there are"
            )

    def arrays(self, payload: bytearray, arrays: list[Any], move: bool = True) -> list[Tensor]:
        """The arrays of a request: [dtype, shape] each, their bytes one after the other."""
        tensors, start = [], 0
        for dtype, shape in arrays:
            count = math.prod(shape)
            tensor = torch.frombuffer(payload, dtype=_NUMPY[dtype], count=count, offset=start) if count else None
            tensor = torch.empty(shape, dtype=_NUMPY[dtype]) if tensor is None else tensor.view(shape)
            tensors.append(tensor.to(self.device) if move else tensor)
            start += count * tensor.element_size()
        return tensors


def _prime(device: torch.device) -> None:
    """Let torch import what its first convolution, on real and on meta tensors, would import: seconds, once."""
    for place in (device, torch.device("meta")):
        images, weight = torch.zeros(1, 1, 4, 4, device=place), torch.zeros(1, 1, 3, 3, device=place)
        F.batch_norm(F.conv2d(images, weight), None, None, training=True).mean((2, 3))


def _agree(loaded: Loaded, fast: list[Tensor], images: Tensor, turned: Tensor) -> bool:
    """Whether both memory orders give one result; a graph may rest on one of them (views that are written to)."""
    torch.manual_seed(SEED)
    plain = execute(loaded.graph, loaded.tensors, images)
    torch.manual_seed(SEED)
    try:
        other = execute(loaded.graph, fast, turned)
    except RuntimeError:
        return False
    finite = plain.nan_to_num(0, 0, 0)
    tolerance = LAYOUT_TOLERANCE * float(finite.abs().max()) if plain.numel() else 0.0
    return bool(torch.allclose(plain, other, rtol=LAYOUT_TOLERANCE, atol=tolerance, equal_nan=True))


def _trainable_copy(loaded: Loaded) -> list[Tensor]:
    """Own copies of all tensors, parameters as leaves that collect gradients; tied ones stay one."""
    trainable = {
        id(tensor)
        for (kind, *_), tensor in zip(loaded.graph.tensors, loaded.tensors, strict=True)
        if kind == "parameter" and tensor.is_floating_point()
    }
    copies = {id(t): t.detach().clone().requires_grad_(id(t) in trainable) for t in loaded.tensors}
    return [copies[id(tensor)] for tensor in loaded.tensors]


def _loss(output: Tensor, labels: Tensor, kind: str) -> Tensor:
    if kind == "square":
        return output.float().square().mean()
    if output.dim() != 2 or len(output) != len(labels):
        raise GraphError(f"expected logits of shape (N, classes) for a loss, got {tuple(output.shape)}")
    if int(labels.max()) >= output.shape[1]:
        raise GraphError(f"expected logits for {int(labels.max()) + 1} classes, got {output.shape[1]}")
    return F.cross_entropy(output.float(), labels)


def _number(value: Tensor | float) -> float | None:
    """A finite number, or None: JSON has no other."""
    number = float(value.detach() if isinstance(value, Tensor) else value)
    return number if math.isfinite(number) else None


def _array(output: Tensor) -> tuple[dict[str, Any], bytes]:
    array = output.detach().float().cpu().contiguous()
    return {"shape": list(array.shape)}, array.numpy().tobytes()
