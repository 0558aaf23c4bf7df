"""The outputs that the grader writes into a graded notebook: a cell's score, and the table of its checks."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
from collections.abc import Sequence

from autograder.core.grade_report import CheckResult, Status
from autograder.core.wording import describe_check, details, undecided_points
from autograder.pipeline.outputs import Output

CHECKS_MARK = "autograder_checks"  # in the metadata of a table of checks: their digest


def score_output(score: float) -> Output:
    """The score of a grade cell as nbgrader reads it: an execute result with a plain float and nothing before it."""
    plain = {"text/plain": repr(float(score))}
    return {"output_type": "execute_result", "data": plain, "metadata": {}, "execution_count": None}


def checks_output(checks: Sequence[CheckResult], notes: Sequence[str] = ()) -> Output:
    """The checks behind a score as a table, for feedback and formgrader; above it what has to be known first.

    `notes` say in words what was repaired in the notebook.
    """
    rows = "".join(_row(check) for check in checks)
    head = _cells(["Check", "Points", "Result"], "th")
    above = [*(f"About your notebook: {note}." for note in notes), *undecided_points(checks)]
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in above)
    plain = "\n".join([*above, *(describe_check(check) for check in checks)])
    return {
        "output_type": "display_data",
        # Not typeset: a formula in a student's line of code could be laid over the points beside it.
        "data": {
            "text/html": f'<div class="tex2jax_ignore">{paragraphs}<table>{head}{rows}</table></div>',
            "text/plain": plain,
        },
        "metadata": {CHECKS_MARK: checks_digest(checks)},
    }


def checks_digest(checks: Sequence[CheckResult]) -> str:
    """What tells a table of other results from this one: all that it shows, in a hash."""
    shown = [dataclasses.asdict(dataclasses.replace(check, seconds=0.0)) for check in checks]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _row(check: CheckResult) -> str:
    mark = {Status.PASSED: "✓", Status.SKIPPED: "–", Status.UNSUPPORTED: "?"}.get(check.status, "✗")
    words = "undecided" if check.status is Status.UNSUPPORTED else check.status.value.replace("_", " ").lower()
    text = "<br>".join(html.escape(part) for part in details(check))
    result = f"{mark} {words}" + (f"<br>{text}" if text else "")
    return _cells([html.escape(check.title), f"{check.earned:g} / {check.points:g}", result], "td")


def _cells(contents: Sequence[str], tag: str) -> str:
    """A table row; styled in place, since feedback and formgrader bring style sheets of their own."""
    style = "text-align: left; vertical-align: top; padding: 2px 12px 2px 0"
    return "<tr>" + "".join(f'<{tag} style="{style}">{content}</{tag}>' for content in contents) + "</tr>"
