"""Write the table of graphs/operations.py from torch's own schemas, for the operations that the exporter supports.

Run it after changing the list in autograder/worker/exporter.py:  python tools/list_operations.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from autograder.core.package import package_file
from autograder.worker.exporter import SUPPORTED_OPERATIONS

TABLE = package_file("graphs/operations.py")
# Operations that may hand back (a view of) their argument without saying so in their schema: dropout does in eval mode.
RETURN_THEIR_ARGUMENT = re.compile(r"aten\.(\w*dropout|rrelu|einsum|meshgrid|pad|tile|type_as)\.\w+")


def describe(name: str) -> str:
    """One line of the table, e.g. `aten.relu_.default(Tensor!) -> Tensor`."""
    namespace, operation, overload = name.split(".")
    schema = getattr(getattr(getattr(torch.ops, namespace), operation), overload)._schema
    kinds = [_kind(argument) for argument in schema.arguments]
    if RETURN_THEIR_ARGUMENT.fullmatch(name) and not schema.is_mutable:
        kinds = [f"{kind}&" if kind in {"Tensor", "Tensor[]"} else kind for kind in kinds]
    returns = ", ".join(_plain(str(value.real_type)) for value in schema.returns)
    return f"{name}({', '.join(kinds)}) -> {returns}"


def _kind(argument: Any) -> str:
    """`!` marks an argument that is written, `&` one that the result may share memory with."""
    alias = argument.alias_info
    return _plain(str(argument.real_type)) + ("" if alias is None else "!" if alias.is_write else "&")


def _plain(name: str) -> str:
    """`Optional[List[SymInt]]` as `int[]?`."""
    if name.startswith("Optional["):
        return _plain(name[len("Optional[") : -1]) + "?"
    if name.startswith("List["):
        return _plain(name[len("List[") : -1]) + "[]"
    return {"SymInt": "int", "number": "Scalar"}.get(name, name)


def main() -> None:
    """Replace the table's text in place."""
    lines = "\n".join(describe(name) for name in sorted(SUPPORTED_OPERATIONS) if name.startswith("aten."))
    text = TABLE.read_text(encoding="utf-8")
    start, end = text.index('_TABLE = """\n') + len('_TABLE = """\n'), text.index('\n"""\n# end of table')
    TABLE.write_text(text[:start] + lines + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
