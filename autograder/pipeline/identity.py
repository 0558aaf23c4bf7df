"""What a mark depends on besides the submission: the code, the hidden graders, the configuration, the libraries."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autograder.core.files import digest_of
from autograder.core.package import digest_of_code

LIBRARIES = ("torch", "torchvision", "numpy", "safetensors", "pytest", "ipython")


def rules_digest(graders: Path, config: Path) -> str:
    """The identity of what a course decides marks by, on whatever machine: code, hidden graders, configuration."""
    code, own = digest_of_code("**/*.py"), digest_of_code("**/*.py", root=graders)
    return digest_of(code, own, hashlib.sha256(config.read_bytes()).hexdigest())


def engine_digest(rules: str) -> str:
    """The identity of everything that decides marks beside the submission: the rules, Python and the libraries."""
    return digest_of(rules, sys.version, *library_versions())


def library_versions() -> Iterator[str]:
    """The libraries on which marks depend, those that are installed, as `name==version`."""
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield f"{name}=={version(name)}"
