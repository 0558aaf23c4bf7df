"""Why student code stopped, where that is something which the grader's place decides: what is not here, or what a line
of the release does. A cause is a word of a closed list, and a detail; what to say about it is not decided here.

A cause is told by what was raised, and for what torch raises by its text, since it has no types of its own.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from autograder.worker.exporter import ExportProblem

MOST_ERRORS = 20  # of a chain
NO_NETWORK = re.compile(r"name resolution|Name or service not known|Network is unreachable|urlopen error|Max retries")
NETWORK_TYPES = {"URLError", "HTTPError", "gaierror", "ConnectionError", "ConnectTimeout", "MaxRetryError", "SSLError"}
NO_GPU = re.compile(r"not compiled with CUDA|NVIDIA driver|re-initialize CUDA|No CUDA GPUs|CUDA (driver|error|device)")
NO_MPS = re.compile(r"\bMPS\b|not linked with support for mps|mps device", re.IGNORECASE)
NO_SCREEN = re.compile(r"interactive framework|GUI loop or backend|no display|X server|Cannot load backend")
# Syntax by the version of Python that brought it: PEP 695, 701, 758, 750.
NEWER_SYNTAX: tuple[tuple[tuple[int, int], re.Pattern[str]], ...] = (
    ((3, 12), re.compile(r"^\s*(?:type\s+\w+\s*(?:\[[^\]]*\])?\s*=|(?:async\s+)?def\s+\w+\s*\[|class\s+\w+\s*\[)")),
    ((3, 14), re.compile(r"^\s*except\s+[\w.]+\s*,\s*[\w.]+")),
    ((3, 14), re.compile(r"""(?<![\w"'])[tT][rR]?["']""")),
    ((3, 12), re.compile(r"""\bf(?:"[^"]*\{[^}"]*"|'[^']*\{[^}']*')""")),
)


def cause_of(error: BaseException, is_students: Callable[[str], bool]) -> dict[str, str]:
    """`{"cause": …, "detail": …}` of what stopped a cell or a probe; empty where the code itself is to blame.

    `is_students(filename)` says whether code stands in a cell.
    """
    for each in _chain(error):
        found = _cause(each, is_students)
        if found is not None:
            return {"cause": found[0], "detail": found[1][:100]}
    return {}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those that led to it; what `forward` raised led to an export that failed."""
    seen = 0
    while isinstance(error, BaseException) and seen < MOST_ERRORS:
        yield error
        raised = error.raised if isinstance(error, ExportProblem) else None
        error, seen = raised or error.__cause__ or error.__context__, seen + 1


def _cause(error: BaseException, is_students: Callable[[str], bool]) -> tuple[str, str] | None:
    text = _text(error)
    if isinstance(error, ExportProblem):
        return (error.cause, "") if error.cause else ("gpu", "cuda") if NO_GPU.search(text) else None
    if isinstance(error, ModuleNotFoundError):
        return "package", error.name if isinstance(error.name, str) else ""
    if isinstance(error, SyntaxError):
        version = newer_syntax(error.text if isinstance(error.text, str) else "")
        return ("syntax", version) if version else None
    if NO_SCREEN.search(text) or type(error).__name__ == "TclError":
        return "screen", ""
    if NO_GPU.search(text):
        return "gpu", "cuda"
    if NO_MPS.search(text):
        return "gpu", "mps"
    if type(error).__name__ in NETWORK_TYPES or NO_NETWORK.search(text):
        return "network", ""
    if isinstance(error, NotImplementedError):
        return _not_implemented(error, is_students)
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        return "file", error.filename
    missing = re.match(r"File `'?(?P<name>[^'`]{1,80})'?` not found", text)  # as IPython's %run says it
    return ("file", missing["name"].removesuffix(".py")) if missing else None


def _not_implemented(error: NotImplementedError, is_students: Callable[[str], bool]) -> tuple[str, str] | None:
    """The release's own `raise NotImplementedError()`, left in a cell; or torch's, of a module without `forward`."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return None
    frame = frames[-1][0]
    if frame.f_code.co_name == "_forward_unimplemented":
        return "no-forward", type(frame.f_locals.get("self")).__name__
    # Torch's own, of an operation, have a text, and end in the line that called it.
    return ("leftover", "") if is_students(frame.f_code.co_filename) and not error.args else None


def line_of(error: BaseException, locate: Callable[[str, int], int]) -> int:
    """The innermost line of a cell's that led to an exception, as `locate` tells it; 0 where there is none."""
    line = 0
    for frame in traceback.extract_tb(error.__traceback__):
        line = locate(frame.filename, frame.lineno or 0) or line
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and isinstance(error.lineno, int):
        line = locate(error.filename, error.lineno) or line
    return line


def newer_syntax(line: str, here: tuple[int, int] = sys.version_info[:2]) -> str:
    """The version of Python, newer than this one, whose syntax a refused line seems to be; "" for none."""
    for version, form in NEWER_SYNTAX:
        if version > here and form.search(line[:1000]):
            return ".".join(map(str, version))
    return ""


def _text(error: Any) -> str:
    try:
        return str(error)[:2000]
    except Exception:
        return ""
