"""Read the record stream of a jail: one JSON line and an optional payload per frame, all of it untrusted."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autograder.jail.sandbox import WATCH_SECONDS, JailedProcess
from autograder.results import Status

HEADER_BYTES = 64 << 20  # a graph of 20,000 nodes takes 2 MiB, a cell's pictures a few MiB
CHUNK_BYTES = 1 << 20


class StreamProblem(Exception):
    """The stream ended early, late, too long or unreadable; `status` is the student's, never INTERNAL."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Frame:
    """One record: its header (a JSON object) and its payload bytes (often none)."""

    header: dict[str, Any]
    payload: bytes


class FrameReader:
    """Frames from a jail's record stream, with a cap on all bytes and a deadline for each.

    Nothing inside the jail can make `next` run past its deadline or hold more than `most_bytes` in memory.
    """

    def __init__(self, process: JailedProcess, most_bytes: int) -> None:
        self.process, self.most_bytes = process, most_bytes
        self.received = 0
        self._buffer = bytearray()

    def next(self, deadline: float) -> Frame | None:
        """The next frame, None at the end of the stream. Raises StreamProblem.

        `deadline` is on the clock of time.monotonic.
        """
        end = self._fill_to_newline(deadline)
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        header = _parse_header(line)
        size = header.pop("payload_bytes", 0)
        if type(size) is not int or not 0 <= size <= self.most_bytes:
            raise StreamProblem(Status.CRASHED, "the record stream became unreadable (payload size)")
        while len(self._buffer) < size:
            if not self._receive(deadline):
                raise StreamProblem(Status.CRASHED, "the process ended in the middle of a record")
        payload = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Frame(header, payload)

    def _fill_to_newline(self, deadline: float) -> int:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > HEADER_BYTES:
                raise StreamProblem(Status.OUTPUT_LIMIT, f"a record was longer than {HEADER_BYTES >> 20} MiB")
            if not self._receive(deadline):
                if self._buffer:
                    raise StreamProblem(Status.CRASHED, "the process ended in the middle of a record")
                return -1
        return end

    def _receive(self, deadline: float) -> bool:
        """Append what there is to read; False at the end of the stream."""
        while True:
            if not self.process.watch():
                raise StreamProblem(Status.OUT_OF_MEMORY, self.process.exceeded)
            left = deadline - time.monotonic()
            if left <= 0:
                raise StreamProblem(Status.TIMEOUT, "the time for the whole run was used up")
            if select.select([self.process.records], [], [], min(left, WATCH_SECONDS))[0]:
                break
        chunk = os.read(self.process.records, CHUNK_BYTES)
        self.received += len(chunk)
        if self.received > self.most_bytes:
            raise StreamProblem(Status.OUTPUT_LIMIT, f"more than {self.most_bytes >> 20} MiB of results and output")
        self._buffer += chunk
        return bool(chunk)


def _parse_header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StreamProblem(Status.CRASHED, "the record stream became unreadable (not JSON)") from error
    if not isinstance(header, dict):
        raise StreamProblem(Status.CRASHED, "the record stream became unreadable (not a record)")
    return header


def encode_frames(frames: Iterable[Frame]) -> bytes:
    """Frames as they travel, for a file between two trusted processes or in the cache."""
    parts = []
    for frame in frames:
        header = json.dumps({**frame.header, "payload_bytes": len(frame.payload)}, ensure_ascii=True)
        parts += [header.encode("ascii"), b"\n", frame.payload]
    return b"".join(parts)


def decode_frames(content: bytes) -> list[Frame]:
    """The inverse of `encode_frames`. Raises StreamProblem where the content is not what it wrote."""
    frames, position = [], 0
    while position < len(content):
        end = content.find(b"\n", position)
        if end < 0:
            raise StreamProblem(Status.CRASHED, "a stored record is cut off")
        header = _parse_header(content[position:end])
        size = header.pop("payload_bytes", 0)
        payload = content[end + 1 : end + 1 + size]
        if len(payload) != size:
            raise StreamProblem(Status.CRASHED, "a stored record is cut off")
        frames.append(Frame(header, payload))
        position = end + 1 + size
    return frames
