"""A notebook as a page, made in a process with limits: nbconvert parses and draws what a student wrote.

What does not come to an end within them gets a plain page, with the result and the checks and without the notebook.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from traitlets.config import Config

from autograder.core.limited import Bounds, run_limited
from autograder.review.feedback.formulas import typeset_markdown

FONT = re.compile(r"@font-face\s*\{[^}]*\}")


def self_contained(head: str) -> str:
    """The head of nbgrader's page without Bootstrap's font of icons, which lies beside no page; with its language."""
    return FONT.sub("", head).replace("<html>", '<html lang="en">')


def make_page(notebook: Mapping[str, Any], resources: Mapping[str, Any], config: Config, bounds: Bounds) -> str:
    """The page of a notebook to which all preprocessors have been applied. Raises limited.TooMuch and WorkFailed."""
    settings = json.dumps(_plain(config), sort_keys=True)
    known = {name: value for name, value in resources.items() if _is_data(value)}
    _exporter(settings)  # here, so that a forked process finds its templates compiled
    page = run_limited(render_page, {"notebook": notebook, "resources": known, "settings": settings}, bounds)
    assert isinstance(page, str)
    return page


def render_page(told: Mapping[str, Any]) -> str:
    """For `run_limited`: a page from `notebook` and `resources`, with nbconvert's `settings` as JSON."""
    page: str = _exporter(told["settings"]).from_notebook_node(nbformat.from_dict(told["notebook"]), told["resources"])[
        0
    ]
    return page


@lru_cache(1)
def _exporter(settings: str) -> HTMLExporter:
    exporter = HTMLExporter(config=Config(json.loads(settings)))
    exporter.register_filter("markdown2html", typeset_markdown)
    exporter.register_filter("self_contained", self_contained)
    _ = exporter.template
    return exporter


def _plain(value: Any) -> Any:
    """Settings as data. What only Python can hold (a function as a filter) does not reach the page's process."""
    if isinstance(value, dict):
        return {
            name: _plain(setting) for name, setting in value.items() if _is_data(setting) or isinstance(setting, dict)
        }
    return value


def _is_data(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
