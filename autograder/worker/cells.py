"""Run the cells of one notebook in IPython's shell, record what they show, then collect the evidence."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from autograder.worker import collect
from autograder.worker.causes import cause_of, line_of
from autograder.worker.frames import write_frame
from autograder.worker.slices import MAGICS, only_what_defines

HERE = os.path.dirname(__file__) + os.sep
MOST_FRAMES = 5000
SIGNATURES = "signatures"  # the step between the cells and the probes
LINES_PER_CELL = 100_000  # a source line travels as one integer: cell * LINES_PER_CELL + line


class StepTimeout(BaseException):
    """Raised in student code when its time is up; a BaseException, so that `except Exception` does not eat it."""


class OutputLimit(BaseException):
    """Raised by `print` and friends once a cell has shown more than it may."""


class Recorder:
    """What one cell shows, in order, as nbformat outputs, up to a number of bytes and of outputs."""

    def __init__(self, most_bytes: int, most_outputs: int) -> None:
        self.left, self.most_outputs = most_bytes, most_outputs
        self.outputs: list[dict[str, Any]] = []
        self.first_error: BaseException | None = None

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise OutputLimit

    def _add(self, output: dict[str, Any]) -> None:
        """Keep an output while there is room; the one more tells the grader that some are missing."""
        if len(self.outputs) <= self.most_outputs:
            self.outputs.append(output)

    def stream(self, name: str, text: str) -> None:
        self._spend(len(text))
        if self.outputs and self.outputs[-1].get("name") == name:
            self.outputs[-1]["parts"].append(text)
        else:
            self._add({"output_type": "stream", "name": name, "parts": [text]})

    def rich(self, kind: str, data: dict[str, Any], count: int | None = None) -> None:
        text = {mime: value for mime, value in data.items() if isinstance(mime, str) and isinstance(value, str)}
        self._spend(sum(map(len, text.values())))
        output: dict[str, Any] = {"output_type": kind, "data": text, "metadata": {}}
        self._add({**output, "execution_count": count} if kind == "execute_result" else output)

    def error(self, name: str, value: str, lines: list[str]) -> None:
        self.outputs.append({"output_type": "error", "ename": name, "evalue": value[:2000], "traceback": lines[-60:]})

    def finished(self) -> list[dict[str, Any]]:
        """The outputs with each stream's parts joined."""
        for output in self.outputs:
            if "parts" in output:
                output["text"] = "".join(output.pop("parts"))
        return self.outputs


class Stream(io.TextIOBase):
    """Standard output or error of a cell."""

    def __init__(self, name: str, recorder: Callable[[], Recorder]) -> None:
        self.name, self._recorder = name, recorder

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._recorder().stream(self.name, str(text))
        return len(text)


class _Publisher(DisplayPublisher):  # type: ignore[misc]
    def publish(self, data: Any, metadata: Any = None, **_: Any) -> None:
        self.shell.recorder.rich("display_data", dict(data))

    def clear_output(self, wait: bool = False) -> None:
        self.shell.recorder.outputs.clear()


class _Hook(DisplayHook):  # type: ignore[misc]
    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        self.shell.recorder.rich("execute_result", dict(format_dict), self.prompt_count)

    def finish_displayhook(self) -> None:
        self._is_active = False


class _Compiler(CachingCompiler):  # type: ignore[misc]
    """Names each cell's code `<cell N>`, so that messages can point to the student's line."""

    current = 0

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        return f"<cell {self.current}>"


class Shell(InteractiveShell):  # type: ignore[misc]
    """IPython's shell with outputs going to a Recorder; no history file, no colours, no messaging."""

    compiler_class = _Compiler
    displayhook_class = _Hook
    display_pub_class = _Publisher
    recorder = Recorder(0, 0)

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        kind, error, trace = super()._get_exc_info(exc_tuple)
        cut_tracebacks(error)
        return kind, error, students_frames(trace)

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        """Also where a magic runs code and shows what it raises, and the cell then counts as run."""
        self.recorder.first_error = self.recorder.first_error or evalue
        lines = [line for part in stb for line in str(part).splitlines()]
        self.recorder.error(str(getattr(etype, "__name__", etype)), safe_text(evalue), lines)

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        """Keep the line numbers of code below `%%time` and `%%capture`, and the first one's names and errors."""
        if magic_name == "time":
            return self.run_cell(with_first_line(cell)).result
        return super().run_cell_magic(magic_name, line, with_first_line(cell) if magic_name == "capture" else cell)

    def enable_gui(self, gui: Any = None) -> None:
        pass


def students_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package (the interrupt of a time-out ends in one): they would show the
    grader's own code in the feedback."""
    kept: list[TracebackType] = []
    while trace is not None and len(kept) < MOST_FRAMES:
        if not trace.tb_frame.f_code.co_filename.startswith(HERE):
            kept.append(trace)
        trace = trace.tb_next
    for index, frame in enumerate(kept):
        frame.tb_next = kept[index + 1] if index + 1 < len(kept) else None
    return kept[0] if kept else None


def cut_tracebacks(error: BaseException | None) -> None:
    """The same for an exception and those that led to it."""
    seen: set[int] = set()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = students_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def safe_text(value: object) -> str:
    """`str(value)`, or the type's name where the student's `__str__` raises."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}; its text raised {type(error).__name__}>"


def make_shell() -> Shell:
    """The one shell of this process, with matplotlib drawing into the notebook."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.autocall = 0
    shell: Shell = Shell.instance(config=config)
    shell.enable_matplotlib("inline")
    return shell


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise StepTimeout in the main thread after `seconds`, and again each second until it gets through."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise StepTimeout(f"ran longer than {seconds:g} s")

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_notebook(
    notebook: dict[str, Any], run: int, skipped: dict[str, dict[str, Any]], records: int, progress: int
) -> None:
    """Run every cell, then every probe; announce each step to the launcher, send each result at once."""

    def announce(step: str, seconds: float) -> None:
        os.write(progress, f"{step} {seconds}\n".encode())

    process, stream = os.getpid(), os.fstat(records)

    def send(header: dict[str, Any], payload: bytes = b"") -> None:
        if os.getpid() != process:  # forked by a cell that did not end it: it would run the rest of the notebook, too
            os._exit(0)
        if not os.path.samestat(os.fstat(records), stream):  # closed, and its number given to a file of the notebook's
            raise OSError("the record stream was closed")
        write_frame(records, {"notebook": notebook["name"], "run": run, **header}, payload)

    sys.path.insert(0, "")  # as in Jupyter: the notebook's own folder first
    shell = make_shell()
    collect.seed_everything()  # what a cell draws, it may keep and show
    unfinished = []
    for cell in notebook["cells"]:
        step = f"cell-{cell['index']}"
        if step in skipped:
            ended = {"index": cell["index"], "seconds": 0.0, "outputs": [], **skipped[step]}
        else:
            announce(step, notebook["cell_seconds"])
            ended = run_cell(shell, cell, notebook)
        send({"kind": "cell", **ended})
        if ended["status"] != "PASSED":
            unfinished.append({**cell, **ended, "outputs": []})
    collector = collect.Collector(shell.user_ns, send, time_limit, StepTimeout, locate, is_students, unfinished)
    if SIGNATURES not in skipped:
        announce(SIGNATURES, notebook["probe_seconds"])
        collector.send_signatures(notebook["probes"], notebook["probe_seconds"])
    send({"kind": "probes"})  # cells that show something after they know what is asked are not believed
    for probe in notebook["probes"]:
        if probe["step"] in skipped:
            send({**collect.identity(probe), "problem": skipped[probe["step"]]})
            continue
        announce(probe["step"], notebook["probe_seconds"])
        collector.collect(probe, notebook["probe_seconds"])
    announce("finished", 5)


def run_cell(shell: Shell, cell: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """Run one cell and say how it ended: status, message, seconds, outputs. `limits` are its notebook's in the plan."""
    Shell.recorder = recorder = Recorder(limits["output_bytes"], limits["outputs"])
    shell.compile.current = cell["index"]
    own = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Stream("stdout", lambda: Shell.recorder), Stream("stderr", lambda: Shell.recorder)
    began, ended = time.monotonic(), {"status": "PASSED", "message": ""}
    try:
        with time_limit(limits["cell_seconds"]):
            result = shell.run_cell(code_of(shell, cell), store_history=True)
        error = result.error_before_exec or result.error_in_exec or recorder.first_error
        if error is not None:
            ended = describe_end(error)
    except BaseException as error:  # a student's hook may let anything through; it is theirs
        ended = describe_end(error)
        cut_tracebacks(error)
        recorder.error(type(error).__name__, safe_text(error), traceback.format_exception(error, limit=5))
    finally:
        sys.stdout, sys.stderr = own
    elapsed = round(time.monotonic() - began, 3)
    return {
        "index": cell["index"],
        **ended,
        "seconds": elapsed,
        "outputs": recorder.finished(),
    }


def code_of(shell: Shell, cell: dict[str, Any]) -> str:
    """What is run of a cell: all of it, or where it trains only what the asked-for names need."""
    source = str(cell["source"])
    if "only" not in cell:
        is_magic = source.lstrip().startswith("%%")
        return f"#{source}" if source.startswith("\n") and not is_magic else source
    try:
        lines = source.split("\n")
        magic = lines[0].startswith(MAGICS)
        return only_what_defines(shell.transform_cell("\n".join(["#", *lines[1:]] if magic else lines)), cell["only"])
    except SyntaxError:
        return source  # it will say so itself


def with_first_line(code: str) -> str:
    """Code below a line that was taken off, with one in its place: IPython drops empty lines, and all lines move up."""
    return f"#\n{code}"


def describe_end(error: BaseException) -> dict[str, Any]:
    """How a cell ended by an exception: status, message, the student's line, and the cause where it is one of those."""
    status, message = classify(error)
    return {"status": status, "message": message, "line": line_of(error, locate), **cause_of(error, is_students)}


def classify(error: BaseException) -> tuple[str, str]:
    """Status and message of an exception that left student code."""
    text = f"{type(error).__name__}: {safe_text(error)}"[:500]
    if isinstance(error, StepTimeout):
        return "TIMEOUT", safe_text(error)
    if isinstance(error, OutputLimit):
        return "OUTPUT_LIMIT", "the cell printed or displayed more than it may"
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text:
        limit = os.environ["AUTOGRADER_MEMORY_MIB"]
        return "OUT_OF_MEMORY", f"more memory than the {limit} MiB there are ({text[:200]})"
    return "ERROR", text


def is_students(filename: str) -> bool:
    """Whether code stands in a cell."""
    return filename.startswith("<cell ")


def locate(filename: str, line: int) -> int:
    """One integer for a line of the student's notebook, 0 for any other file."""
    if not (filename.startswith("<cell ") and filename.endswith(">") and filename[6:-1].isdigit()):
        return 0
    return int(filename[6:-1]) * LINES_PER_CELL + min(max(line, 0), LINES_PER_CELL - 1)
