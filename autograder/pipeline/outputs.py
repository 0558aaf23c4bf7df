"""Notebook outputs from the jail, rebuilt from an allow-list of types and sizes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autograder.core.text import ANSI, clean_text, printable

MOST_LINES, MOST_LINE = 200, 2000  # of a traceback, and characters of each
MOST_PIXELS = 25_000_000  # of a picture: a hundred megabytes on the screen; matplotlib's largest plots have a tenth
Output = dict[str, Any]


def clean_outputs(records: object, most_bytes: int, most_outputs: int, results: bool = False) -> list[Output]:
    """nbformat outputs from what a cell showed: text, HTML (sanitised later in the chain), PNG and JPEG; no more than
    `most_bytes` and `most_outputs` in all, everything else dropped.

    A result becomes a display, since nbgrader reads results as scores; with `results` it stays one, whatever it holds.
    """
    outputs: list[Output] = []
    found = records if isinstance(records, list) else []
    left = most_bytes
    for record in found[:most_outputs]:
        output = _clean_output(record, left + 1, results) if isinstance(record, dict) else None
        if output is None:
            continue
        left -= _size(output)
        if left < 0:
            return [*outputs, stream(f"[output of this cell beyond {most_bytes >> 10} KiB was left out]\n")]
        outputs.append(output)
    if len(found) > most_outputs:
        outputs.append(stream(f"[outputs of this cell beyond {most_outputs} were left out]\n"))
    return outputs


def stream(text: str) -> Output:
    """Text on standard output."""
    return {"output_type": "stream", "name": "stdout", "text": text}


def as_display(output: Output) -> Output:
    """The output, a result as a display: only the grader writes results into a graded notebook."""
    if output["output_type"] != "execute_result":
        return output
    return {"output_type": "display_data", "data": output["data"], "metadata": {}}


def _clean_output(record: Mapping[str, Any], most: int, results: bool) -> Output | None:
    """One output, of at most about `most` characters: what will be left out anyway is not even looked at."""
    kind = record.get("output_type")
    if kind == "stream":
        name = "stderr" if record.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": _text(record.get("text"), most)}
    if kind == "error":
        lines = record.get("traceback")
        traceback = [_text(line, MOST_LINE) for line in lines[-MOST_LINES:]] if isinstance(lines, list) else []
        name, value = clean_text(record.get("ename"))[:200], _text(record.get("evalue"), 2000)
        return {"output_type": "error", "ename": name, "evalue": value, "traceback": traceback}
    if kind in ("display_data", "execute_result") and isinstance(record.get("data"), dict):
        data = _clean_data(record["data"], most)
        if results and kind == "execute_result":
            return {"output_type": kind, "data": data, "metadata": {}, "execution_count": None}
        return {"output_type": "display_data", "data": data, "metadata": {}} if data else None
    return None


def _clean_data(bundle: Mapping[str, Any], most: int) -> dict[str, str]:
    data: dict[str, str] = {}
    for mime in ("text/plain", "text/html"):
        if isinstance(bundle.get(mime), str):
            data[mime] = _text(bundle[mime], most)
    for mime, size_of in PICTURES.items():
        text = bundle.get(mime)
        if not isinstance(text, str):
            continue
        if len(text) > most:
            data[mime] = text[:most]  # too large as it is, and left out for that
            continue
        try:
            content = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            continue
        width, height = size_of(content)
        if 0 < width * height <= MOST_PIXELS:
            data[mime] = base64.b64encode(content).decode()
        elif width * height:
            data.setdefault("text/plain", f"[a picture of {width:,} × {height:,} pixels was left out]")
    return data


def _png_size(content: bytes) -> tuple[int, int]:
    """Width and height as a browser will read them, (0, 0) where it is no PNG.

    Ten kilobytes can be a picture of gigabytes, which would be unpacked on the screen of whoever marks it.
    """
    is_png = content.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") and len(content) >= 24
    return (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) if is_png else (0, 0)


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Width and height from the first frame header, (0, 0) where it is no JPEG."""
    place = 2 if content.startswith(b"\xff\xd8\xff") else len(content)
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker in JPEG_FRAMES:
            height, width = (int.from_bytes(content[place + k : place + k + 2], "big") for k in (5, 7))
            return width, height
        place += 1 if marker == 0xFF else 2 + length
    return 0, 0


JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PICTURES: dict[str, Callable[[bytes], tuple[int, int]]] = {"image/png": _png_size, "image/jpeg": _jpeg_size}


def _text(value: object, most: int) -> str:
    text = value[:most] if isinstance(value, str) else ""
    text = ANSI.sub("", text.encode("utf-8", "replace").decode("utf-8"))
    return printable(text)


def _size(output: Mapping[str, Any]) -> int:
    parts: Sequence[object] = [output.get("text", ""), *output.get("data", {}).values(), *output.get("traceback", [])]
    return sum(len(part) for part in parts if isinstance(part, str))
