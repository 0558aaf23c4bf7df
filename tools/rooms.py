"""Write the table of rooms in `docs/architecture.md`, from the contract and the packages' own docstrings.

python -m tools.rooms
"""

from __future__ import annotations

import ast
import configparser
import re

from autograder.core.package import ROOT as PACKAGE
from autograder.core.package import package_file
from tools.samples import ROOT

PAGE = ROOT / "docs" / "architecture.md"
TABLE = re.compile(r"(<!-- rooms -->\n).*?(<!-- end of rooms -->\n)", re.DOTALL)
OUTSIDE = ["worker", "programs"]  # on no floor: what they hold runs in processes of its own, and nobody imports it


def floors() -> list[list[str]]:
    """The rooms of each floor from the top, as the contract has them; faces, which are single files, are left out."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    layers = contract["importlinter:contract:floors"]["layers"].split("\n")
    rooms = [[name.strip() for name in layer.split("|")] for layer in layers if layer.strip()]
    own = [[name for name in floor if not (PACKAGE / f"{name}.py").exists()] for floor in rooms]
    return [floor for floor in own if floor]


def purpose(room: str) -> str:
    """What a room is for: the first paragraph of its docstring."""
    text = ast.get_docstring(ast.parse(package_file(f"{room}/__init__.py").read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def with_table(page: str) -> str:
    """The page with its table made anew."""
    lines = ["| room | what it is for |", "|---|---|"]
    for floor in [*floors(), OUTSIDE]:
        lines += [f"| `{room}` | {purpose(room)} |" for room in floor]
    return TABLE.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
