"""What all our HTML pages are made with: templates that escape everything, and names for a content security policy."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from autograder.core.package import package_file

CODE = re.compile(r"`([^`\n]+)`")


def make_environment(folder: str, filters: Mapping[str, Any]) -> Environment:
    """Templates in a folder of the package. Nothing that is put into them is markup unless it says so itself."""
    environment = Environment(
        loader=FileSystemLoader(package_file(folder)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment


def coded(text: str) -> Markup:
    """Text, escaped, with what stands between backquotes as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def policy_hash(text: str) -> str:
    """A style sheet or script of the page, as a content security policy names it (CSP Level 3, hash sources)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def inline_file(name: str) -> str:
    """A style sheet or script of the package, to stand inside an element of the page."""
    text = package_file(name).read_text("utf-8")
    assert "</" not in text, name
    return text


def points_text(value: float | None) -> str:
    """Points without a rounding of our own."""
    return "–" if value is None else f"{round(value, 4):g}"


def moment(value: datetime | None) -> str:
    """A date and time for a reader."""
    return f"{value:%-d %B %Y, %H:%M}" if value is not None else "–"
