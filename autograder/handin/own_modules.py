"""Files of a student's that notebooks import or open by name, under the names that systems and browsers gave them.

Canvas makes `blocks-1.py` of a file that is handed in again, a browser `blocks (1).py` or `blocks.py.txt`: under such a
name `from blocks import …` does not find it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.metadata import packages_distributions

MOST_NAMES = 50  # that are looked for, and files that are looked into
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Canvas's Attachment.make_unique_filename: "-1" to "-7", then a UUID, before all extensions.
CANVAS_SUFFIX = re.compile(
    rf"(?P<stem>.+?)-(?:\d{{1,3}}|{UUID})(?P<extensions>(?:\.[A-Za-z][A-Za-z0-9]*)*\.[A-Za-z0-9]+)"
)
BROWSER_SUFFIX = re.compile(r"(?P<stem>.+?) ?\(\d{1,3}\)(?P<extensions>(?:\.[A-Za-z0-9]+)+)")
TEXT_SUFFIX = re.compile(r"(?P<stem>.+)(?P<extensions>\.py)\.txt", re.IGNORECASE)
IMPORT = re.compile(r"\b(?:import|from)[ \t]+([^\n;#\"'\\]{1,200})")


def plain_names(name: str) -> Iterator[str]:
    """What a file may have been called before systems and browsers numbered it, the likeliest first."""
    folder, _, last = name.rpartition("/")
    above = f"{folder}/" if folder else ""
    for _ in range(3):  # once in the student's files, once more in the export, once more by a browser
        found = next((m for p in (TEXT_SUFFIX, CANVAS_SUFFIX, BROWSER_SUFFIX) if (m := p.fullmatch(last))), None)
        if found is None:
            return
        last = found["stem"] + found["extensions"]
        yield above + last


def imported_modules(code: str) -> set[str]:
    """The first parts of the names of modules that code imports, and some names more; read from the text."""
    names: set[str] = set()
    for found in IMPORT.finditer(code):
        parts = found[1].replace(" import ", ",").replace("(", ",").split(",")
        words = (part.split()[0] for part in parts if part.strip())
        names |= {word.lstrip(".").split(".")[0] for word in words}
    return names


def names_given_back(names: Collection[str], texts: Iterable[str], read: Callable[[str], str]) -> dict[str, list[str]]:
    """By name that is imported or named in the texts, and that no file has, the files that may have had it.

    `read` gives the text of a file of code, so that what it imports counts, too.
    """
    candidates: dict[str, list[str]] = {}
    for name in sorted(names):
        for plain in plain_names(name):
            if plain not in names and len(candidates) < MOST_NAMES:
                candidates.setdefault(plain, []).append(name)
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    pending = iter(texts if candidates else ())
    more: list[str] = []
    while (text := more.pop() if more else next(pending, None)) is not None:
        modules = imported_modules(text)
        asked = [plain for plain in candidates if _is_asked_for(plain, modules, text)]
        for plain in asked:
            found[plain] = candidates.pop(plain)
        code = [name for plain in asked for name in found[plain]] + [f"{m}.py" for m in modules if f"{m}.py" in names]
        new = [name for name in code if name not in seen and ".py" in name][: MOST_NAMES - len(seen)]
        seen.update(new)
        more += map(read, new)
    return found


def _is_asked_for(name: str, modules: Collection[str], text: str) -> bool:
    """Whether code imports or names a file. One that would take the place of a library is asked for by nobody."""
    stem, dot, ending = name.partition(".")
    if f"{dot}{ending}" == ".py" and stem in modules:
        return stem not in sys.stdlib_module_names and stem not in packages_distributions()
    return name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None
