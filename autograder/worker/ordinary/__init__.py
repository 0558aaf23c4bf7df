"""The worker for ordinary assignments: the same launcher and the same cells, without what models need.

Nothing is probed, so that nothing of this package's own needs PyTorch, whose import would take most of such a run. It
is imported where a notebook names it, once for all of them.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from autograder.worker import launcher
from autograder.worker.ordinary import no_probes


def main() -> None:
    """What launcher.main does, for notebooks of which only the cells count."""
    for name in ("collect", "exporter"):  # cells.py and causes.py import them, and they import torch
        sys.modules[f"autograder.worker.{name}"] = no_probes
    launcher.import_libraries = import_libraries
    launcher.main()


def import_libraries(plan: dict[str, Any]) -> None:
    """Import what the notebooks need, once, before each of them is forked."""
    os.makedirs(os.environ["MPLCONFIGDIR"], exist_ok=True)
    sources = [cell["source"] for notebook in plan["notebooks"] for cell in notebook["cells"]]
    own = ["torch"] if any("torch" in source for source in sources) else []
    for name in [*launcher.LIBRARIES, *own]:
        importlib.import_module(name)
