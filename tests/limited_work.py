"""Functions for tests/test_limited.py, in a module that another process can import."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def echo(value: Any) -> Any:
    return {"heard": value, "by": os.getpid()}


def spin(_: Any) -> None:
    while True:
        pass


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def hoard(mib: int) -> int:
    return len(bytearray(mib << 20))


def nest(_: Any) -> Any:
    return nest(_)


def babble(mib: int) -> str:
    return "x" * (mib << 20)


def die(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill_parent(_: Any) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def leave(_: Any) -> None:
    os._exit(3)


def stumble(_: Any) -> None:
    raise LookupError("our own slip")
