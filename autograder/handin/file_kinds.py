"""What a file is that was handed in where a notebook belongs, told by its first bytes or by its name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

HEAD_BYTES = 4096


@dataclass(frozen=True)
class FileKind:
    """What a file is that is no notebook, with its article, and what to do in order to hand in the notebook."""

    what: str
    remedy: str

    @property
    def is_no_notebook(self) -> str:
        """Words that go on after the file's name."""
        return f"is {self.what}, not a notebook: {self.remedy}"


DOWNLOAD = "download the notebook itself (File → Download) and hand that in"
ITSELF = "hand in the notebook itself, as Jupyter saves it"
UNPACK = "unpack it, and hand in the notebook that is in it"
WEB_PAGE = FileKind("a web page", DOWNLOAD)
SHORTCUT = FileKind("a shortcut that leads to a file elsewhere", DOWNLOAD)
SCRIPT = FileKind("a Python script", ITSELF)
PLAIN_TEXT = FileKind("plain text", ITSELF)
PDF = FileKind("a PDF document", ITSELF)
OFFICE = FileKind("a document of an office program", ITSELF)
PICTURE = FileKind("a picture", ITSELF)
ARCHIVE = FileKind("a packed archive", UNPACK)
UNFINISHED = FileKind("a download that was not finished", "download it again, to its end, and hand that in")
OWN_COPY = FileKind("Jupyter's own copy, which it keeps for itself", "hand in the notebook from the folder above it")
NO_ENDING = FileKind(
    "a file whose name does not end in .ipynb", "give it that ending, see that Jupyter opens it, and hand that in"
)
OTHER_JSON = FileKind("JSON without cells", ITSELF)
XML = FileKind("XML", ITSELF)
LFS_POINTER = FileKind("a pointer to a file in Git LFS", "fetch the file itself with `git lfs pull`, and hand that in")
NULLS = FileKind(
    "made of null bytes, as where a disk was full or the computer crashed",
    "hand in an earlier copy of the notebook",
)
BLANKS = FileKind("nothing but blanks", ITSELF)

BEGINNINGS = (
    (b"%PDF-", PDF),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OFFICE),
    (b"{\\rtf", OFFICE),
    (b"PK\x03\x04", ARCHIVE),
    (b"PK\x05\x06", ARCHIVE),
    (b"\x1f\x8b", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"Rar!\x1a\x07", ARCHIVE),
    (b"BZh", ARCHIVE),
    (b"\xfd7zXZ\0", ARCHIVE),
    (b"\x28\xb5\x2f\xfd", ARCHIVE),
    (b"\x89PNG\r\n", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (b"[InternetShortcut]", SHORTCUT),
    (b"[Desktop Entry]", SHORTCUT),
    (b"L\0\0\0\x01\x14\x02\0", SHORTCUT),
    (b"bplist00", SHORTCUT),
)
# Parts of a document that is a zip archive: of Word, Excel, PowerPoint, OpenOffice and Pages.
OFFICE_PARTS = (b"[Content_Types].xml", b"word/", b"mimetypeapplication/vnd.oasis", b"Index/Document.iwa")
HTML = re.compile(rb"<!doctype html|<(?:html|head|body|meta|script|title|div)\b", re.IGNORECASE)
SAVED_PAGE = re.compile(rb"From: <Saved by|MIME-Version:|Snapshot-Content-Location:")
LINK_IN_JSON = re.compile(r'"(?:doc_id|resource_key|resource_id)"\s*:')
PYTHON = re.compile(r"^(?:import \w|from [\w.]+ import|def \w|class \w|# %%|# In\s?\[|#!.*python)", re.MULTILINE)

SUFFIXES = {
    ".py": SCRIPT,
    ".ipy": SCRIPT,
    ".html": WEB_PAGE,
    ".htm": WEB_PAGE,
    ".xhtml": WEB_PAGE,
    ".mht": WEB_PAGE,
    ".mhtml": WEB_PAGE,
    ".webarchive": WEB_PAGE,
    ".pdf": PDF,
    ".doc": OFFICE,
    ".docx": OFFICE,
    ".odt": OFFICE,
    ".rtf": OFFICE,
    ".pages": OFFICE,
    ".ppt": OFFICE,
    ".pptx": OFFICE,
    ".md": PLAIN_TEXT,
    ".rmd": PLAIN_TEXT,
    ".qmd": PLAIN_TEXT,
    ".rst": PLAIN_TEXT,
    ".tex": PLAIN_TEXT,
    ".txt": PLAIN_TEXT,
    ".png": PICTURE,
    ".jpg": PICTURE,
    ".jpeg": PICTURE,
    ".heic": PICTURE,
    ".url": SHORTCUT,
    ".webloc": SHORTCUT,
    ".lnk": SHORTCUT,
    ".desktop": SHORTCUT,
    ".gdoc": SHORTCUT,
    ".gsheet": SHORTCUT,
    ".gcolab": SHORTCUT,
    ".zip": ARCHIVE,
    ".7z": ARCHIVE,
    ".rar": ARCHIVE,
    ".tar": ARCHIVE,
    ".tgz": ARCHIVE,
    ".gz": ARCHIVE,
    ".bz2": ARCHIVE,
    ".xz": ARCHIVE,
    ".zst": ARCHIVE,
    ".crdownload": UNFINISHED,
    ".part": UNFINISHED,
    ".partial": UNFINISHED,
    ".download": UNFINISHED,
    ".icloud": FileKind("a file that is still in iCloud", "download it to your computer first, and hand that in"),
}


def kind_of_content(head: bytes) -> FileKind | None:
    """What a file is that begins like this and is surely no notebook; None where it may be one."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, kind in BEGINNINGS:
        if start.startswith(beginning):
            is_office = kind is ARCHIVE and any(part in head for part in OFFICE_PARTS)
            return OFFICE if is_office else kind
    if not head.strip(b"\0"):
        return NULLS
    start = _text_of(head).encode()
    if SAVED_PAGE.match(start):
        return WEB_PAGE
    if start.startswith(b"<") and not start.startswith(b"<<<<<<<"):
        return WEB_PAGE if HTML.search(start) else SHORTCUT if b"<plist" in start else XML
    return None


def kind_of_text(head: bytes) -> FileKind | None:
    """What a file is that begins like this and has no cells; None where it may be what is left of a notebook."""
    text = _text_of(head)
    if not text:
        return BLANKS
    if LINK_IN_JSON.search(text):
        return SHORTCUT
    if text.startswith(("{", "[", "<<<<<<<", "//", "/*")):
        return None
    return SCRIPT if PYTHON.search(text) else PLAIN_TEXT


def _text_of(head: bytes) -> str:
    return head.decode(json.detect_encoding(head), "replace").lstrip("\ufeff\0 \t\r\n")


def kind_of_name(name: str) -> FileKind | None:
    """What a file is by the end of its name; None where that tells nothing, or where it may be a notebook."""
    return SUFFIXES.get(f".{name.lower().rpartition('.')[2]}")
