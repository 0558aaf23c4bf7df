"""Take the pictures of `docs/pictures/` again, from a made-up class: `python -m tools.pictures` (needs Chromium)."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from autograder.core.config import load_course
from autograder.course.folder import open_course
from autograder.review.staff_report.page_names import student_page
from autograder.review.staff_report.write import write_course_report
from tools.sample_class import FOURTEEN, make_class
from tools.samples import ROOT

PLACE = ROOT / "docs" / "pictures"
SIZE = {"width": 1180, "height": 760}
COLOURS = 128  # of a palette: flat pages need no more, and the files stay small


def main() -> None:
    """Write a picture of each main page."""
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as scratch:
        course = make_class(Path(scratch) / "course", 60)
        folder = course / "reports" / "cnn"
        write_course_report(open_course(course), load_course(course), "cnn", folder)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            for name in ("index", "checks", "submissions"):
                page.goto((folder / f"{name}.html").as_uri())
                keep(page, "overview" if name == "index" else name)
            page.goto((folder / "students" / student_page(FOURTEEN)).as_uri())
            page.locator(".answer", has_text="deeper-cnn-solution").first.scroll_into_view_if_needed()
            page.locator("li.marked").first.scroll_into_view_if_needed()
            keep(page, "submission")
            browser.close()


def keep(page: Page, name: str) -> None:
    """The visible part of a page as a small PNG."""
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(COLOURS).save(PLACE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
