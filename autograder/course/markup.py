"""A student's text and displays as pages may show them: formgrader's origin can set scores, so no script may run there.

Two layers, both wired in `nbgrader_config.py`. `SafeMarkup` cleans what is stored in the graded notebook, and leaves
nothing in it that takes long to show. Markdown's own links remain, whose addresses nbconvert passes on unchecked, so
`safe_markdown` takes the place of the filter that turns Markdown into HTML for formgrader, and cleans its result.
"""

from __future__ import annotations

from typing import Any

import nbformat
from jinja2 import pass_context
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.core.limited import Bounds, TooMuch, WorkFailed, run_limited
from autograder.course.links import Keep
from autograder.course.page_cells import clean_cells, plain_cells
from autograder.course.page_text import PageText, render_safely, room_of, student_text
from autograder.handin.submission import read_released, source_of

OWN = "autograder_released"  # in a cell's metadata: its text is the course's own, as it was released
BOUNDS = Bounds(cpu_seconds=20, memory_mib=1024, answer_mib=64)

Notebook = Any
Resources = dict[str, Any]


class SafeMarkup(NbGraderPreprocessor):  # type: ignore[misc]
    """Takes script, links and unsafe HTML out of what a student wrote or displayed, and cuts what takes long to show.

    Parsing a hostile text can take hours, so it is done in a process with limits; where it takes too much all the same,
    nothing of the student's is shown but the beginnings of the answers. The course's own cells stay as they are.
    """

    def preprocess(self, notebook: Notebook, resources: Resources) -> tuple[Notebook, Resources]:
        name = resources["nbgrader"]["notebook"]
        released = read_released(self.parent.grader.release / f"{name}.ipynb")
        own = {source_of(cell) for cell in released["cells"]}
        for cell in notebook.cells:
            cell.metadata.pop(OWN, None)
            if cell.source in own:
                cell.metadata[OWN] = True
        cells = [{**cell, "is_own": OWN in cell.metadata} for cell in notebook.cells]
        try:
            cleaned = run_limited(clean_cells, cells, BOUNDS)
        except (TooMuch, WorkFailed) as problem:
            student, why = resources["nbgrader"]["student"], str(problem).strip().splitlines()[-1]
            self.log.warning("%s, %s: only the beginnings of answers are shown (cleaning it: %s)", student, name, why)
            cleaned = plain_cells(cells)
        notebook.cells = [nbformat.from_dict(cell) for cell in cleaned]
        return notebook, resources


@pass_context
def safe_markdown(context: Any, source: str) -> str:
    """HTML of a Markdown text for formgrader: nbconvert's own rendering, then cleaned. Pictures are the notebook's own,
    links of a student's are words and addresses, and only known formulas are typeset."""
    attachments = attachments_in(context)
    if keep_in(context, source) is Keep.COURSE:
        return render_safely(source, PageText(lambda tex, kind: "", attachments=attachments), Keep.COURSE)
    return student_text(source, attachments, room_of(context))


def keep_in(context: Any, source: str) -> Keep:
    """Whose words a text is by the cell that a template renders: the course's, a person's comment, or the student's."""
    cell = context.get("cell", {})
    metadata = cell.get("metadata", {})
    if source == cell.get("source"):
        return Keep.COURSE if OWN in metadata else Keep.PUBLIC
    return Keep.PERSON if source == metadata.get("nbgrader", {}).get("comment") else Keep.PUBLIC


def attachments_in(context: Any) -> dict[str, Any]:
    """The pictures that the cell holds which a template renders."""
    found: dict[str, Any] = context.get("cell", {}).get("attachments", {})
    return found
