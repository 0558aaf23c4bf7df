"""Collect the evidence that the plan asks for: values, call results, exported modules, transformed images."""

from __future__ import annotations

import base64
import inspect
import os
import random
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from autograder.worker.causes import cause_of, line_of
from autograder.worker.exporter import ExportProblem, TensorPool, export_graph

EXAMPLE_BATCH = 4
UNFINISHED = "Unfinished"
STAND_IN = "AUTOGRADER_STAND_IN"  # a course's kit sets it to 1 where it gave other data than on a student's machine
IDENTITY = ("kind", "name", "group", "index")


class Missing(Exception):
    """A name that the notebook should define and does not."""


class Unfinished(Exception):
    """A name that is missing, where a cell ended early that may have had to define it; `cell` is its record.

    `is_cause`: the name is missing because of this cell, as far as the texts of the cells tell.
    """

    def __init__(self, name: str, cell: dict[str, Any], is_cause: bool) -> None:
        how = f"{cell['status'].replace('_', ' ').lower()}: {cell['message']}"
        which = ", because a cell ended early" if is_cause else "; another cell ended early"
        super().__init__(f"`{name}` is not defined{which} ({how})")
        self.cell, self.is_cause = cell, is_cause


def identity(probe: dict[str, Any]) -> dict[str, Any]:
    """The part of a probe that says which evidence it asks for."""
    return {key: probe[key] for key in IDENTITY if key in probe}


class Collector:
    """Collects probe by probe from a notebook's namespace; each has its own time, and its own fate."""

    def __init__(
        self,
        namespace: dict[str, Any],
        send: Callable[..., None],
        time_limit: Callable[[float], AbstractContextManager[None]],
        timeout: type[BaseException],
        locate: Callable[[str, int], int],
        is_students: Callable[[str], bool],
        unfinished: list[dict[str, Any]],
    ) -> None:
        """`unfinished` are the cells that did not run to their end, with source, status, message and line."""
        self.namespace, self.send, self.time_limit, self.timeout = namespace, send, time_limit, timeout
        self.locate, self.is_students, self.unfinished = locate, is_students, unfinished
        self.gather = {
            "answer": self.gather_answer,
            "call": self.gather_call,
            "build": self.gather_build,
            "sample": self.gather_sample,
        }

    def collect(self, probe: dict[str, Any], seconds: float) -> None:
        """Gather one probe's evidence and send it, or what stood in the way."""
        seed_everything()
        torch.set_default_dtype(torch.float32)  # what a cell set holds for what the graders give, too
        try:
            with self.time_limit(seconds):
                header, payload = self.gather[probe["kind"]](probe)
        except BaseException as error:  # whatever student code raises, SystemExit included, is evidence too
            header, payload = {"problem": self.describe(error)}, b""
        self.send({**identity(probe), **header}, payload)

    def send_signatures(self, probes: Sequence[dict[str, Any]], seconds: float) -> None:
        """Send what the functions and classes that probes call take, as far as they have a signature.

        It is for before the notebook knows what it is asked: so it can say nothing about that.
        """
        for name in dict.fromkeys(probe["name"] for probe in probes if probe["kind"] in ("call", "build")):
            try:
                with self.time_limit(seconds):
                    record = describe_signature(self.namespace.get(name), self.locate)
            except BaseException:  # whatever student code raises; a call will show what matters of it
                continue
            self.send({"kind": "signature", "name": name, **record})

    def find(self, name: str) -> Any:
        if name not in self.namespace:
            if cell := first_cause(name, self.unfinished):
                raise Unfinished(name, cell, is_cause=True)
            for cell in self.unfinished:
                if cell.get("cause") != "leftover":
                    raise Unfinished(name, cell, is_cause=False)
            raise Missing(f"`{name}` is not defined")
        return self.namespace[name]

    def describe(self, error: BaseException) -> dict[str, Any]:
        """A problem record: status, exception type, message, the student's line where the traceback has one, and what
        `forward` raised where it was that which failed."""
        line = line_of(error, self.locate) or (error.line if isinstance(error, ExportProblem) else 0)
        cause = cause_of(error, self.is_students)
        text = _text(error)
        memory = isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text
        if isinstance(error, Missing):
            status = "FAILED"
        elif isinstance(error, Unfinished):
            status = error.cell["status"]
            line = error.cell.get("line") or self.locate(f"<cell {error.cell['index']}>", 1)
            cause = {key: error.cell[key] for key in ("cause", "detail") if key in error.cell and error.is_cause}
        elif isinstance(error, self.timeout):
            status = "TIMEOUT"
        elif isinstance(error, ExportProblem) and error.kind == "unsupported":
            status = "UNSUPPORTED"
        else:
            status = "OUT_OF_MEMORY" if memory else "ERROR"
        kind = UNFINISHED if isinstance(error, Unfinished) else name_of(type(error))
        raised = name_of(type(error.raised)) if isinstance(error, ExportProblem) and error.raised else ""
        returned = {"returned": error.returned} if isinstance(error, ExportProblem) and error.returned else {}
        return {"status": status, "type": kind, "message": text, "line": line, "raised": raised, **returned, **cause}

    def gather_answer(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        return {"value": encode_value(self.find(probe["name"]))}, b""

    def gather_call(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """One function, one group of calls; a call that raises is a result, a call that hangs ends the group."""
        function = self.find(probe["name"])
        results: list[dict[str, Any]] = []
        for arguments in probe["arguments"]:
            try:
                results.append({"value": encode_value(call_flexibly(function, arguments))})
            except Exception as error:
                results.append({"problem": self.describe(error)})
        return {"results": results}, b""

    def gather_build(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """One module built with given arguments, exported in each mode and size; all share one set of tensors."""
        module = call_flexibly(self.find(probe["name"]), probe["arguments"])
        if not issubclass(type(module), torch.nn.Module):  # isinstance asks the object, which may lie
            found = type(module).__name__
            raise TypeError(f"`{probe['name']}` must build a torch.nn.Module, it gave {found}")
        pool, graphs, adapted = TensorPool(), [], ""
        for position, wanted in enumerate(probe["exports"]):
            example = torch.randn(EXAMPLE_BATCH, probe["channels"], wanted["size"], wanted["size"])
            if position == 0:
                materialise(module, example)
                adapted = fit_to(module, example)
            try:
                graph = export_graph(module, example, training=wanted["training"], pool=pool, locate=self.locate)
                graphs.append({"graph": graph})
            except self.timeout:
                raise
            except Exception as error:
                graphs.append({"problem": self.describe(error)})
        return {"graphs": graphs, "adapted": adapted}, save_tensors(pool.tensors)

    def gather_sample(self, probe: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """A transform applied to one image several times: as a PIL image, or as a uint8 (3, H, W) tensor."""
        transform = self.find(probe["name"])
        pixels = np.frombuffer(base64.b64decode(probe["pixels"]), np.uint8).reshape(probe["shape"])  # (H, W, 3)
        picture, form = Image.fromarray(pixels), "PIL"
        try:
            first = transform(picture)
        except Exception as pil_error:
            form = "tensor"
            try:
                first = transform(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
            except Exception as tensor_error:
                raise pil_error from tensor_error
        outputs = [first]
        for _ in range(probe["draws"] - 1):
            image = picture if form == "PIL" else torch.from_numpy(pixels.copy()).permute(2, 0, 1)
            outputs.append(transform(image))
        described = [describe_output(output) for output in outputs]
        arrays = {f"s{i}": array for i, (_, array) in enumerate(described) if array is not None}
        stand_in = os.environ.get(STAND_IN) == "1"
        return {"form": form, "outputs": [kind for kind, _ in described], "stand_in": stand_in}, save_arrays(arrays)


def first_cause(name: str, unfinished: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell to blame for a missing name: the one that ended early and speaks of it; where that one missed a name
    itself, the cell that should have given it, and so on."""
    found, left, wanted = None, list(unfinished), name
    while cell := next((c for c in left if re.search(rf"\b{re.escape(wanted)}\b", c["source"])), None):
        found = cell
        left = left[: left.index(cell)]
        missed = re.match(r"NameError: name '(\w+)' is not defined", cell["message"])
        if missed is None:
            break
        wanted = missed[1]
    return found


def name_of(kind: type[BaseException]) -> str:
    """An exception's name; of a student's own class also Python's that it derives from: `TooLarge(ValueError)`."""
    builtin = next(c.__name__ for c in kind.__mro__ if c.__module__ == "builtins")
    ours = kind.__module__.startswith("autograder.")
    return kind.__name__ if ours or builtin == kind.__name__ else f"{kind.__name__}({builtin})"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:600]
    except Exception:
        return "(its message could not be read)"


def seed_everything() -> None:
    """The same draws for everybody, whatever ran before: marks must not depend on luck."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def materialise(module: torch.nn.Module, example: torch.Tensor) -> None:
    """Give lazy layers their shapes by one forward pass in eval mode."""
    if any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in module.parameters()):
        training = module.training
        with torch.no_grad():
            module.eval()(example)
        module.train(training)


def fit_to(module: torch.nn.Module, example: torch.Tensor) -> str:
    """Make a module of double or half precision take float32 images, where it does not by itself; its own dtype, or ""
    where nothing was changed."""
    own = {tensor.dtype for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()}
    others = own - {torch.float32}
    if not others:
        return ""
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(example)
        return ""
    except Exception:  # whatever it is about: the export tells it, if the change does not help
        module.float()
        return str(min(others, key=str)).removeprefix("torch.")
    finally:
        module.train(training)


def call_flexibly(function: Any, arguments: dict[str, Any]) -> Any:
    """Call with keywords as the exercise names them, or by position where the student named them otherwise."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        return function(*arguments.values())
    except ValueError:  # a callable without a signature
        pass
    return function(**arguments)


def describe_signature(function: Any, locate: Callable[[str, int], int]) -> dict[str, Any]:
    """The parameters of a function or class as [name, kind, is required], and the line of its definition, 0 where it is
    not the student's. Raises TypeError or ValueError for what has no signature."""
    parameters = inspect.signature(function).parameters.values()
    body = inspect.unwrap(getattr(function, "__init__", function) if isinstance(function, type) else function)
    line = locate(body.__code__.co_filename, body.__code__.co_firstlineno) if inspect.isfunction(body) else 0
    return {"parameters": [[p.name, p.kind.name, p.default is p.empty] for p in parameters], "line": line}


def encode_value(value: Any) -> dict[str, Any]:
    """A plain value with its kind and origin; anything else only by the name of its type."""
    if value is None or isinstance(value, bool):
        return {"kind": "none" if value is None else "bool", "value": value, "origin": "python"}
    if isinstance(value, torch.Tensor):
        if value.dim() != 0:
            return {"kind": "other", "value": f"tensor of shape {tuple(value.shape)}"[:200], "origin": "torch"}
        return {**encode_value(value.item()), "origin": "torch"}
    if isinstance(value, np.generic):
        return {**encode_value(value.item()), "origin": "numpy"}
    if isinstance(value, int):
        plain = int.__index__(value)
        if abs(plain) < 2**63:
            return {"kind": "int", "value": plain, "origin": "python"}
    if isinstance(value, float):
        return {"kind": "float", "value": float.__repr__(value), "origin": "python"}
    if isinstance(value, str):
        return {"kind": "str", "value": str.__str__(value)[:500], "origin": "python"}
    return {"kind": "other", "value": type(value).__name__[:200], "origin": "python"}


def describe_output(output: Any) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
    """Type, dtype and shape of a transform's output, and its values as float32 where they fit in 1 MiB."""
    if isinstance(output, torch.Tensor):
        kind = {"type": "tensor", "dtype": str(output.dtype).removeprefix("torch."), "shape": list(output.shape)}
        if output.numel() * 4 > 1 << 20:
            return kind, None
        return kind, output.detach().to("cpu", torch.float32).contiguous().numpy()
    return {"type": type(output).__name__[:200], "dtype": "", "shape": []}, None
