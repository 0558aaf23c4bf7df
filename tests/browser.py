"""A real browser for tests of pages: headless Chromium, cut off from every network, with everything it complains of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Request

from tools import published

LOCAL = ("file:", "data:", "about:", "blob:")
SERIOUS = ("serious", "critical")


def skip_without_browser() -> None:
    """Skips the test where there is no browser."""
    try:
        published.find_chromium()
    except published.NoBrowser as problem:
        pytest.skip(str(problem))


@contextmanager
def open_browser() -> Iterator[Browser]:
    """One browser process. Skips the test where there is none."""
    skip_without_browser()
    with published.open_browser() as browser:
        yield browser


@dataclass
class Watched:
    """A page, and what it did that no page of ours may do."""

    page: Page
    complaints: list[str] = field(default_factory=list)  # errors in the console, exceptions, dialogs
    requests: list[str] = field(default_factory=list)  # to anything but the disk

    def open(self, path: Path, fragment: str = "") -> Page:
        """Go to a file."""
        self.page.goto(path.resolve().as_uri() + fragment)
        return self.page


@contextmanager
def watched_page(
    browser: Browser, *, width: int = 1280, height: int = 900, dark: bool = False, origin: str = ""
) -> Iterator[Watched]:
    """A page in a context of its own, without a network, or with one server only: that of `origin`."""
    local = (*LOCAL, *([f"{origin}/"] if origin else []))
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=not origin
    )
    watched = Watched(context.new_page())

    def on_request(request: Request) -> None:
        if not request.url.startswith(local):
            watched.requests.append(request.url)

    def on_dialog(dialog: Dialog) -> None:
        watched.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            watched.complaints.append(f"{message.type}: {message.text}")

    watched.page.on("request", on_request)
    watched.page.on("dialog", on_dialog)
    watched.page.on("console", on_console)
    watched.page.on("pageerror", lambda error: watched.complaints.append(f"exception: {error}"))
    try:
        yield watched
    finally:
        context.close()


def accessibility_problems(page: Page, ignored: Sequence[str] = ()) -> list[str]:
    """What axe-core calls serious or critical on the page as it stands, each with the first element concerned."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in SERIOUS and each["id"] not in ignored
    ]
