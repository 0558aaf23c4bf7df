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
from autograder.strict_json import BadJson, count_values, parse_json

HEADER_BYTES = 16 << 20  # three graphs of 20,000 nodes take 6 MiB; what a cell shows is bounded by its own limit
MOST_VALUES = 2_000_000  # of one record, in JSON: three graphs of 20,000 nodes have 1,200,000
MOST_VALUES_IN_ALL = 2 * MOST_VALUES  # of one stream: 300 MiB as Python objects, at worst
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
    """Frames from a jail's record stream, with caps on bytes, records and values, and a deadline for each.

    Nothing inside the jail can make `next` run past its deadline, or hold more in memory than `most_bytes` and what
    MOST_VALUES_IN_ALL values take.
    """

    def __init__(self, process: JailedProcess, most_bytes: int, most_records: int = 1000) -> None:
        self.process, self.most_bytes, self.most_records = process, most_bytes, most_records
        self.received = self.records = self.values = 0
        self._buffer = bytearray()

    def next(self, deadline: float) -> Frame | None:
        """The next frame, None at the end of the stream. Raises StreamProblem.

        `deadline` is on the clock of time.monotonic.
        """
        end = self._fill_to_newline(deadline)
        if end < 0:
            return None
        header = self._header(self._take(end))
        del self._buffer[:1]
        size = header.pop("payload_bytes", 0)
        if type(size) is not int or not 0 <= size <= self.most_bytes:
            raise StreamProblem(Status.CRASHED, "the record stream became unreadable (payload size)")
        while len(self._buffer) < size:
            if not self._receive(deadline):
                raise StreamProblem(Status.CRASHED, "the process ended in the middle of a record")
        return Frame(header, self._take(size))

    def _header(self, line: bytes) -> dict[str, Any]:
        """A record's header. Seventeen million records of a few bytes each would take the grader's memory, and so would
        one of a few megabytes that is nothing but brackets: both are counted before anything is built of them."""
        self.records += 1
        if self.records > self.most_records:
            raise StreamProblem(Status.OUTPUT_LIMIT, f"more than {self.most_records:,} records")
        most = min(MOST_VALUES, MOST_VALUES_IN_ALL - self.values)
        count = count_values(line)
        if count > most:
            raise StreamProblem(Status.OUTPUT_LIMIT, "more values in the results than are read")
        self.values += count
        return _parse_header(line)

    def _take(self, size: int) -> bytes:
        """Take the first bytes out of the buffer; over a view, since a slice would be a second copy of megabytes."""
        with memoryview(self._buffer) as view:
            taken = bytes(view[:size])
        del self._buffer[:size]
        return taken

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
    if not line.isascii():  # the worker escapes all else
        raise StreamProblem(Status.CRASHED, "the record stream became unreadable (not ASCII)")
    try:
        header = parse_json(line)
    except BadJson as error:
        raise StreamProblem(Status.CRASHED, f"the record stream became unreadable ({error})") from error
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
