"""Notebook outputs from the jail, rebuilt from an allow-list of types and sizes, and those the grader writes itself."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autograder.evidence import clean_text
from autograder.printable import printable
from autograder.results import CheckResult, Status

CHECKS_MARK = "autograder_checks"  # in the metadata of a table of checks: their digest
MOST_LINES, MOST_LINE = 200, 2000  # of a traceback, and characters of each
MOST_PIXELS = 25_000_000  # of a picture: a hundred megabytes on the screen; matplotlib's largest plots have a tenth
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
UNDECIDED = (
    "A person will mark this check, and no points are lost by it. To have it graded automatically, write it another "
    "way and hand in again."
)
Output = dict[str, Any]


def clean_outputs(records: object, most_bytes: int, most_outputs: int) -> list[Output]:
    """nbformat outputs from what a cell showed: text, HTML (sanitised later in the chain), PNG and JPEG; no more than
    `most_bytes` and `most_outputs` in all, everything else dropped."""
    outputs: list[Output] = []
    found = records if isinstance(records, list) else []
    left = most_bytes
    for record in found[:most_outputs]:
        output = _clean_output(record, left + 1) if isinstance(record, dict) else None
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


def _clean_output(record: Mapping[str, Any], most: int) -> Output | None:
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
        # A result is kept as a display: only the grader writes execute results, which nbgrader reads as scores.
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


def readable(text: object) -> str:
    """Text of a student's for a page: no terminal colours, no control or direction characters, bounded."""
    return clean_text(ANSI.sub("", str(text)))


def _text(value: object, most: int) -> str:
    text = value[:most] if isinstance(value, str) else ""
    text = ANSI.sub("", text.encode("utf-8", "replace").decode("utf-8"))
    return printable(text)


def _size(output: Mapping[str, Any]) -> int:
    parts: Sequence[object] = [output.get("text", ""), *output.get("data", {}).values(), *output.get("traceback", [])]
    return sum(len(part) for part in parts if isinstance(part, str))


def score_output(score: float) -> Output:
    """The score of a grade cell as nbgrader reads it: an execute result with a plain float and nothing before it."""
    plain = {"text/plain": repr(float(score))}
    return {"output_type": "execute_result", "data": plain, "metadata": {}, "execution_count": None}


def checks_output(checks: Sequence[CheckResult], notes: Sequence[str] = ()) -> Output:
    """The checks behind a score as a table, for feedback and formgrader; above it what has to be known first.

    `notes` say in words what was repaired in the notebook.
    """
    rows = "".join(_row(check) for check in checks)
    head = _cells(["Check", "Points", "Result"], "th")
    above = [*(f"About your notebook: {note}." for note in notes), *undecided_points(checks)]
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in above)
    plain = "\n".join([*above, *(describe_check(check) for check in checks)])
    return {
        "output_type": "display_data",
        # Not typeset: a formula in a student's line of code could be laid over the points beside it.
        "data": {
            "text/html": f'<div class="tex2jax_ignore">{paragraphs}<table>{head}{rows}</table></div>',
            "text/plain": plain,
        },
        "metadata": {CHECKS_MARK: checks_digest(checks)},
    }


def checks_digest(checks: Sequence[CheckResult]) -> str:
    """What tells a table of other results from this one: all that it shows, in a hash."""
    shown = [dataclasses.asdict(dataclasses.replace(check, seconds=0.0)) for check in checks]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def undecided_points(checks: Sequence[CheckResult]) -> list[str]:
    """How many points of a cell wait for a person, in a sentence for the student and one for who marks it; or nothing.

    A manual score in formgrader takes the place of the whole cell's automatic one, so the decided points are named.
    """
    waiting = sum(check.points for check in checks if check.status is Status.UNSUPPORTED)
    if not waiting:
        return []
    total, earned = sum(check.points for check in checks), round(sum(check.earned for check in checks), 1)
    return [
        f"{waiting:g} of {total:g} points are undecided: your program may be right, but the grader cannot judge it. "
        "A person will; no points are lost by that.",
        f"For who marks it: give this cell {earned:g} points for the decided checks, plus 0 to {waiting:g} for the "
        f"undecided ones (marked ?), so {earned:g} to {earned + waiting:g} in all.",
    ]


def describe_check(check: CheckResult) -> str:
    """One check as a line of text, with its message below."""
    line = f"{check.status.value:<11} {check.earned:g}/{check.points:g}  {check.title}"
    return "\n    ".join([line, *details(check)])


def details(check: CheckResult) -> list[str]:
    """What stands below a check: message, remedy and place."""
    return [part for part in (check.message, remedy(check), where(check)) if part]


def remedy(check: CheckResult) -> str:
    """What a student can do about a check; nothing where there is nothing to do."""
    if check.status is Status.UNSUPPORTED:  # its own hint is for those who got it wrong
        return UNDECIDED
    return f"Hint: {check.hint}" if check.hint and check.status not in (Status.PASSED, Status.SKIPPED) else ""


def where(check: CheckResult) -> str:
    """The student's line that a message speaks of, where it is known."""
    if not check.line or not check.place:
        return ""
    return f"See line {check.line} of {check.place}" + (f": {check.code}" if check.code else ".")


def _row(check: CheckResult) -> str:
    mark = {Status.PASSED: "✓", Status.SKIPPED: "–", Status.UNSUPPORTED: "?"}.get(check.status, "✗")
    words = "undecided" if check.status is Status.UNSUPPORTED else check.status.value.replace("_", " ").lower()
    text = "<br>".join(html.escape(part) for part in details(check))
    result = f"{mark} {words}" + (f"<br>{text}" if text else "")
    return _cells([html.escape(check.title), f"{check.earned:g} / {check.points:g}", result], "td")


def _cells(contents: Sequence[str], tag: str) -> str:
    """A table row; styled in place, since feedback and formgrader bring style sheets of their own."""
    style = "text-align: left; vertical-align: top; padding: 2px 12px 2px 0"
    return "<tr>" + "".join(f'<{tag} style="{style}">{content}</{tag}>' for content in contents) + "</tr>"
