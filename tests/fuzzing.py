"""Hostile input for the tests and for tools/fuzz.py: a record stream that is fed through a real pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from autograder.jail import FrameReader


class Fed:
    """A pipe with a jailed process's face, into which a thread writes `chunks`; it ends where they end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.records, self._write_end = os.pipe()
        self.exceeded = ""
        self._thread = threading.Thread(target=self._feed, args=(chunks,))
        self._thread.start()

    def _feed(self, chunks: Iterable[bytes]) -> None:
        with suppress(BrokenPipeError):  # the reader has seen enough
            for chunk in chunks:
                while chunk:
                    chunk = chunk[os.write(self._write_end, chunk) :]
        os.close(self._write_end)

    def watch(self) -> bool:
        """A pipe uses no memory to speak of."""
        return True

    def close(self) -> None:
        os.close(self.records)
        self._thread.join()


@contextmanager
def reader_of(chunks: Iterable[bytes], most_bytes: int, most_records: int) -> Iterator[FrameReader]:
    """A reader of what a process sends."""
    fed = Fed(chunks)
    try:
        yield FrameReader(fed, most_bytes, most_records)  # type: ignore[arg-type]
    finally:
        fed.close()
