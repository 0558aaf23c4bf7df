"""Read the record stream of a jail: one JSON line and an optional payload per frame, all of it untrusted."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autograder.core.grade_report import Status
from autograder.core.strict_json import BadJson, count_values, parse_json
from autograder.jail.jailed_process import WATCH_SECONDS, JailedProcess

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


Room = Callable[[Mapping[str, Any]], int | None]
"""Of a record's header: how many bytes its payload may have; None where nobody asked for the record."""


class FrameParser:
    """Frames from the bytes of one stream as they come, with caps on bytes, records and values.

    What nobody asked for (`room`) is passed over and never held. Holds no more in memory than `most_bytes`, and what
    MOST_VALUES_IN_ALL values take.
    """

    def __init__(self, most_bytes: int, most_records: int = 1000, room: Room | None = None) -> None:
        self.most_bytes, self.most_records = most_bytes, most_records
        self._room = room or (lambda header: most_bytes)
        self.received = self.records = self.values = 0
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer that hold no end of a line
        self._header: dict[str, Any] | None = None  # of the record whose payload is to come
        self._size = 0
        self._passing_over = 0

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete. Raises StreamProblem, after those that came before the trouble."""
        self.received += len(chunk)
        if self.received > self.most_bytes:
            raise StreamProblem(Status.OUTPUT_LIMIT, f"more than {self.most_bytes >> 20} MiB of results and output")
        self._buffer += chunk
        while self._pass_over() and (self._header is not None or self._read_header()):
            if self._header is None:
                continue  # nobody asked for it
            if len(self._buffer) < self._size:
                break
            yield Frame(self._header, self._take(self._size))
            self._header = None

    def finish(self) -> None:
        """The stream has ended. Raises StreamProblem in the middle of a record."""
        if self._buffer or self._header is not None or self._passing_over:
            raise StreamProblem(Status.CRASHED, "the process ended in the middle of a record")

    def _pass_over(self) -> bool:
        """Drop what is left of a payload that is not kept; whether it is all gone."""
        gone = min(self._passing_over, len(self._buffer))
        del self._buffer[:gone]
        self._passing_over -= gone
        return not self._passing_over

    def _read_header(self) -> bool:
        """Take a whole line from the buffer, if there is one."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > HEADER_BYTES:
                raise StreamProblem(Status.OUTPUT_LIMIT, f"a record was longer than {HEADER_BYTES >> 20} MiB")
            return False
        header = self._parse(self._take(end))
        del self._buffer[:1]
        self._searched = 0
        size = header.pop("payload_bytes", 0)
        if type(size) is not int or not 0 <= size <= self.most_bytes:
            raise StreamProblem(Status.CRASHED, "the record stream became unreadable (payload size)")
        self._expect(header, size)
        return True

    def _expect(self, header: dict[str, Any], size: int) -> None:
        """Decide what is kept of a record: all of it, nothing, or that its payload is too large."""
        room = self._room(header)
        if room is not None and size <= room:
            self._header, self._size = header, size
            return
        self._header, self._size, self._passing_over = None, 0, size
        if room is not None:
            text = f"more than {room / 2**20:,.0f} MiB in one result"
            self._header = {**header, "problem": {"status": Status.OUTPUT_LIMIT.value, "message": text}}

    def _parse(self, line: bytes) -> dict[str, Any]:
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


class FrameReader:
    """Frames from a jail's one record stream, one at a time, with a deadline for each.

    Nothing inside the jail can make `next` run past its deadline.
    """

    def __init__(self, process: JailedProcess, most_bytes: int, most_records: int = 1000) -> None:
        self.process, self._parser = process, FrameParser(most_bytes, most_records)
        self._waiting: list[Frame] = []
        self._problem: StreamProblem | None = None

    def next(self, deadline: float) -> Frame | None:
        """The next frame, None at the end of the stream. Raises StreamProblem.

        `deadline` is on the clock of time.monotonic.
        """
        while not self._waiting:
            if self._problem is not None:
                raise self._problem
            chunk = _receive(self.process, [self.process.records], deadline)[1]
            if not chunk:
                self._parser.finish()
                return None
            self._take_in(chunk)
        return self._waiting.pop(0)

    def _take_in(self, chunk: bytes) -> None:
        try:
            for frame in self._parser.feed(chunk):
                self._waiting.append(frame)  # one by one: those before a problem count
        except StreamProblem as problem:
            self._problem = problem


Name = tuple[str, int]
"""Of a stream: what it is for, and a number where there are several for that."""


class StreamSet:
    """The record streams of one jail, each by its name, read side by side.

    What a process writes into its own stream costs that one only: a stream that is garbled or too long is closed, with
    the reason in `problems`, and the others go on. Nothing inside the jail can make `next` run past its deadline.
    """

    def __init__(self, process: JailedProcess, parsers: Mapping[Name, FrameParser]) -> None:
        self.process = process
        self.problems: dict[Name, StreamProblem] = {}
        self._parsers = dict(parsers)
        self._names = dict(zip(process.streams, parsers, strict=True))  # by descriptor, of those that are open
        self._waiting: list[tuple[Name, Frame]] = []

    def next(self, deadline: float) -> tuple[Name, Frame] | None:
        """The next frame and the name of its stream, None when all have ended. Raises StreamProblem where the time is
        used up or the jail takes too much memory. `deadline` is on the clock of time.monotonic."""
        while not self._waiting and self._names:
            self._receive(list(self._names), deadline)
        return self._waiting.pop(0) if self._waiting else None

    def drain(self, name: Name, deadline: float) -> list[Frame]:
        """All further frames of one stream, which is then closed: what is written into it later reaches nobody."""
        for descriptor in [d for d, own in self._names.items() if own == name]:
            while descriptor in self._names:
                self._receive([descriptor], deadline)
        frames = [frame for own, frame in self._waiting if own == name]
        self._waiting = [(own, frame) for own, frame in self._waiting if own != name]
        return frames

    def _receive(self, descriptors: list[int], deadline: float) -> None:
        descriptor, chunk = _receive(self.process, descriptors, deadline)
        name = self._names[descriptor]
        try:
            for frame in self._parsers[name].feed(chunk):
                self._waiting.append((name, frame))  # one by one: those before a problem count
            if not chunk:
                self._parsers[name].finish()
        except StreamProblem as problem:
            self.problems[name] = problem
        if not chunk or name in self.problems:
            # Closed at this end, too: a process that goes on writing would wait for a reader until its time is up.
            self.process.close_stream(descriptor)
            del self._names[descriptor]


def _receive(process: JailedProcess, descriptors: list[int], deadline: float) -> tuple[int, bytes]:
    """The descriptor that has something to read, and that; nothing at its end. Raises StreamProblem."""
    while True:
        if not process.watch():
            raise StreamProblem(Status.OUT_OF_MEMORY, process.exceeded)
        left = deadline - time.monotonic()
        if left <= 0:
            raise StreamProblem(Status.TIMEOUT, "the time for the whole run was used up")
        ready = select.select(descriptors, [], [], min(left, WATCH_SECONDS))[0]
        if ready:
            return ready[0], os.read(ready[0], CHUNK_BYTES)


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
