"""Copy what the student kit shares with the engine into the kit, or check that the copies are current.

    python -m tools.embed_in_kit            rewrite the marked sections of source/cnn/cnn_kit.py
    python -m tools.embed_in_kit --check    change nothing; exit code 1 where a copy is out of date

A student gets one file, and it must export a model, draw the offline set and judge what is public as the engine does.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from autograder.core.config import load_course
from autograder.core.fields import course_values
from autograder.course.release_text import fill_python, release_text
from tools import kit_checks
from tools.samples import ASSIGNMENT

ROOT = Path(__file__).resolve().parent.parent
KIT = ROOT / "source" / "cnn" / "cnn_kit.py"

_SECTION = re.compile(
    r"^# >>> copied from (?P<source>\S+) by tools/embed_in_kit\.py; edit it there\n(?P<copy>.*?)^# <<< end of copy\n",
    re.MULTILINE | re.DOTALL,
)
GRADERS = "autograder/graders"  # the section of this source holds the public checks, with all that they need
# Python wants this line at the top of a file, and the kit has it there.
_FUTURE = "from __future__ import annotations\n"


def embed(kit_text: str, root: Path = ROOT) -> str:
    """The kit's text with each marked section replaced by the file that it names, taken below `root`.

    That of the graders gets the public checks (tools/kit_checks.py). Raises ValueError where there is no section, and
    FileNotFoundError where a section names a file that is not there.
    """
    if not _SECTION.search(kit_text):
        raise ValueError("no section marked `# >>> copied from ...` was found in the kit")

    def fill(match: re.Match[str]) -> str:
        source = match["source"]
        if source == GRADERS:
            text = kit_checks.section(root)
        else:
            text = (root / source).read_text(encoding="utf-8").replace(_FUTURE, "", 1).strip("\n")
        return f"# >>> copied from {source} by tools/embed_in_kit.py; edit it there\n{text}\n# <<< end of copy\n"

    return _SECTION.sub(fill, kit_text)


def configured(kit_text: str, root: Path = ROOT) -> str:
    """The kit's text with the values that it has from `grader_config.py`."""
    text = release_text(load_course(root), ASSIGNMENT, root / "source" / ASSIGNMENT)
    return fill_python(kit_text, course_values(load_course(root), ASSIGNMENT), text.left_out)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the copies are current")
    check_only = parser.parse_args(arguments).check
    before = KIT.read_text(encoding="utf-8")
    after = configured(embed(before))
    if after == before:
        print(f"{KIT.name}: copies are current")
        return 0
    if check_only:
        print(f"{KIT.name}: copies are out of date; run python tools/embed_in_kit.py", file=sys.stderr)
        return 1
    KIT.write_text(after, encoding="utf-8", newline="\n")
    print(f"{KIT.name}: copies renewed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
