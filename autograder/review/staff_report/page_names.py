"""Where things are in a report's folder: names of pages that are safe for every name of a student."""

from __future__ import annotations

import hashlib
import re

STUDENTS = "students"
STUDENT_PAGE = re.compile(r"(?:[a-z0-9]+-)*[0-9a-f]{10}\.html")  # every name that `student_page` gives
MOST_SLUG = 40


def student_page(student: str) -> str:
    """The file of a student's page below `students/`.

    Readable, and told apart by a digest: two names may differ in their case or in what no file name can hold only.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", student.lower()).strip("-")[:MOST_SLUG].strip("-")
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{slug}-{digest}.html" if slug else f"{digest}.html"
