"""All kinds of hostile input that tools/fuzz.py tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz_evidence import evidences, examine_evidence
from tests.fuzz_folders import archives, examine_archive, examine_folder, folders
from tests.fuzzing import (
    configurations,
    examine_configuration,
    examine_graded,
    examine_graph,
    examine_notebook,
    examine_stream,
    graphs,
    notebooks,
    streams,
)


@dataclass(frozen=True)
class Kind:
    """One kind of hostile input; `share` of the asked number is tried, 1 but for what takes long."""

    name: str
    cases: Callable[[], st.SearchStrategy[Any]]
    examine: Callable[..., str]
    needs_runner: bool = False
    share: float = 1.0


KINDS = (
    Kind("notebooks", notebooks, examine_notebook),
    Kind("archives", archives, examine_archive),
    Kind("folders", folders, examine_folder),
    Kind("streams", streams, examine_stream),
    Kind("configurations", configurations, examine_configuration),
    Kind("graphs", graphs, examine_graph, needs_runner=True),
    Kind("evidence", evidences, examine_evidence, needs_runner=True),
    Kind("graders", streams, examine_graded, needs_runner=True, share=0.05),
)
