"""Stands for collect.py and exporter.py where nothing is probed: what cells.py and causes.py take from them."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np


class NeverRaised(Exception):
    """What an export would raise."""


class NoProbes:
    """Collects nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def send_signatures(self, *_: Any) -> None:
        """Nothing is called."""


ExportProblem, Collector = NeverRaised, NoProbes


def seed_everything() -> None:
    """The same draws for everybody, as far as no notebook seeds itself."""
    random.seed(0)
    np.random.seed(0)
    torch = sys.modules.get("torch")  # where a notebook names it
    if torch is not None:
        torch.manual_seed(0)
