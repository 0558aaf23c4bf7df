"""Receipts: the one inside a packed submission, checked file by file, and those that students hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from autograder.core.text import clean_name
from autograder.handin.collect.archive import FileDigest
from autograder.handin.roster import StudentReceipt
from autograder.handin.submission import MOST_FILES

RECEIPT = "receipt.json"
MOST_RECEIPT_BYTES = 1 << 20
REMEDY = "ask for the zip as it was packed, or grade what arrived"


class Receipt(str, Enum):
    """Whether the archive that a student holds a receipt for is the one that arrived."""

    VERIFIED = "verified"
    EARLIER = "for an archive that was not taken"
    DIFFERS = "differs"
    MISSING = "no archive of that student"


@dataclass(frozen=True)
class CheckedReceipt:
    """A student's receipt, and what it is worth."""

    held: StudentReceipt
    verdict: Receipt


def check_held(
    held: Iterable[StudentReceipt], taken: Mapping[str, set[str]], arrived: Mapping[str, set[str]]
) -> list[CheckedReceipt]:
    """Compare the receipts that students hold with the SHA-256 of the archives that arrived, and that were taken."""
    return [CheckedReceipt(one, _verdict(one, taken, arrived)) for one in held]


def _verdict(held: StudentReceipt, taken: Mapping[str, set[str]], arrived: Mapping[str, set[str]]) -> Receipt:
    if held.sha256 in taken.get(held.student, set()):
        return Receipt.VERIFIED
    if not arrived.get(held.student):
        return Receipt.MISSING
    return Receipt.EARLIER if held.sha256 in arrived[held.student] else Receipt.DIFFERS


def check_receipt(path: Path, files: Mapping[str, FileDigest]) -> list[str]:
    """Compare files with the kit's receipt for them. Returns a remark on each that is changed, missing or added."""
    try:
        packed = _read(path)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"{RECEIPT} cannot be read ({type(error).__name__}), so nothing proves what was packed: {REMEDY}"]
    remarks = []
    for name in packed.keys() - files.keys():
        remarks.append(f"{clean_name(name)} is missing, though the receipt lists it: {REMEDY}")
    for name in files.keys() - packed.keys():
        remarks.append(f"{clean_name(name)} was added after packing: the receipt does not list it")
    for name in packed.keys() & files.keys():
        if packed[name] != files[name]:
            remarks.append(f"{clean_name(name)} was changed after packing: {REMEDY}")
    return sorted(remarks)


def _read(path: Path) -> dict[str, FileDigest]:
    with open(path, "rb") as file:
        content = file.read(MOST_RECEIPT_BYTES + 1)
    if len(content) > MOST_RECEIPT_BYTES:
        raise ValueError("too large")
    data = json.loads(content)
    if data["format"] != 1 or not isinstance(data["files"], list) or len(data["files"]) > MOST_FILES:
        raise ValueError("not a receipt")
    return dict(_file_of(entry) for entry in data["files"])


def _file_of(entry: object) -> tuple[str, FileDigest]:
    if not isinstance(entry, dict):
        raise TypeError("not an entry")
    name, digest, size = entry["name"], entry["sha256"], entry["size"]
    if not (isinstance(name, str) and isinstance(digest, str) and isinstance(size, int)):
        raise TypeError("not an entry")
    return name, FileDigest(digest, size)
