"""Write records to the stream that leaves the jail: one JSON line, then the payload it announces."""

from __future__ import annotations

import json
import os
from typing import Any


def write_frame(descriptor: int, header: dict[str, Any], payload: bytes = b"") -> None:
    """Write one frame. Lone surrogates and non-finite floats travel as ASCII escapes and are judged outside."""
    line = json.dumps({**header, "payload_bytes": len(payload)}, ensure_ascii=True).encode("ascii") + b"\n"
    view = memoryview(line + payload)
    while view:
        view = view[os.write(descriptor, view) :]
