"""Answer requests about model graphs in the jailed runner: shapes, outputs, gradients, training steps.

One request at a time on standard input, one answer each on the record stream; both are a JSON line and raw bytes.
Images come in and numbers go out; labels come only where a loss is asked for. Whatever goes wrong is data in the
answer: {"error": kind, "message": ..., "line": ...}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

from autograder.worker.frames import write_frame
from autograder.worker.launcher import confine

MAX_HEADER_BYTES = 64 << 20


def main() -> None:
    """Confine this process, import torch, answer until standard input ends."""
    records = int(os.environ.get("AUTOGRADER_RECORDS_FD", "3"))
    if "AUTOGRADER_MEMORY_MIB" in os.environ:  # absent when a developer starts the server by hand
        confine("AUTOGRADER_JAIL_UID" in os.environ, {records})
    # Threads that spin while they wait take the cores from each other when several runners share a machine: measured
    # five times slower with two runners and a training on two cores. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    server = _server()
    while True:
        line = sys.stdin.buffer.readline(MAX_HEADER_BYTES)
        if not line:
            return
        request = json.loads(line)
        payload = _read(sys.stdin.buffer, request.pop("payload_bytes", 0))
        answer, content = server.answer(request, payload)
        write_frame(records, {**answer, "id": request.get("id")}, content)


def _read(stream: BinaryIO, size: int) -> bytearray:
    content = bytearray(size)  # writable: torch warns about tensors over memory that is not
    view, start = memoryview(content), 0
    while start < size:
        count = stream.readinto(view[start:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("a request was cut off")
        start += count
    return content


def _server() -> Any:
    """Import torch after the process is confined."""
    from autograder.worker.graph_requests import Server

    return Server()
