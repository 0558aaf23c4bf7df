"""What there is to mark by hand: questions, and the answers to each, with what the gradebook holds for them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from autograder.core.files import digest_of
from autograder.core.grade_report import AnswerCell, CheckResult, GradeReport, Status
from autograder.core.ordinary import is_recorded
from autograder.core.text import readable
from autograder.core.wording import status_words, undecided_points, where
from autograder.course.hand_marks import HeldMark
from autograder.handin.answers import CUT


@dataclass(frozen=True)
class AnswerPart:
    """A cell of an answer: its text, and whether it is code. `place` says where it stands, if not where it should."""

    text: str
    is_code: bool = False
    place: str = ""


@dataclass(frozen=True)
class StudentAnswer:
    """One student's answer to a question. `rank` puts the answers of a question into an order that is nobody's choice.

    `digest` changes with the answer; `remarks` are what the checks could not decide, in words; `settled` are points
    that are decided already, and are in no doubt.
    """

    held: HeldMark
    rank: str
    parts: Sequence[AnswerPart]
    digest: str
    remarks: Sequence[str] = ()
    undecided: Sequence[str] = ()
    settled: float | None = None

    @property
    def grade(self) -> str:
        """nbgrader's id of the grade, by which pages name the answer."""
        return self.held.grade

    @property
    def is_open(self) -> bool:
        """Whether it waits for a person."""
        return self.held.needs_person

    @property
    def version(self) -> str:
        """Changes with the answer and with its mark."""
        return f"{self.held.version}-{self.digest[:16]}"

    @cached_property
    def key(self) -> str:
        """The same for answers that differ in white space and capitals only, and that have the same open."""
        texts = [f"{part.is_code}{part.place}{normal_text(part)}" for part in self.parts]
        whole = self.digest if any(part.text.endswith(CUT) for part in self.parts) else ""
        return digest_of(*texts, "undecided", *self.undecided, str(self.settled), whole)

    @cached_property
    def plain(self) -> str:
        """All of it as it is compared with others."""
        return "\n".join(normal_text(part) for part in self.parts)


@dataclass(frozen=True)
class Question:
    """A cell that people mark. `comment_cell` is where nbgrader keeps comments on it, "" where it keeps none.

    `left_out` are students whose answers are not shown, since what is recorded of them is not what was graded.
    """

    notebook: str
    cell: str
    maximum: float
    is_written: bool
    comment_cell: str
    answers: Sequence[StudentAnswer]
    left_out: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        """How the record of marking knows it."""
        return f"{self.notebook}/{self.cell}"

    @property
    def open_count(self) -> int:
        return sum(answer.is_open for answer in self.answers)


# Questions


@dataclass(frozen=True)
class ReleasedCells:
    """What the release says of a notebook: by grade cell, the released text, and the solution cell before each test
    cell, which holds the comments on it."""

    texts: Mapping[str, str]
    solutions: Mapping[str, str]


def find_questions(
    secret: bytes, reports: Sequence[GradeReport], held: Iterable[HeldMark], released: Mapping[str, ReleasedCells]
) -> list[Question]:
    """Every cell that people mark, and every automatic one with something undecided, in the order of the notebooks."""
    marks: dict[str, list[HeldMark]] = {}
    for mark in held:
        marks.setdefault(mark.student, []).append(mark)
    found: dict[tuple[str, str], list[StudentAnswer]] = {}
    left_out = []
    for report in reports:
        own = marks.get(report.student, [])
        automatic = {(mark.notebook, mark.cell): mark.automatic for mark in own}
        if report.is_internal or not is_recorded(report, automatic):  # they speak of different submissions
            left_out.append(report.student)
            continue
        for mark in own:
            answer = _answer(secret, report, mark, released.get(mark.notebook))
            if answer is not None:
                found.setdefault((mark.notebook, mark.cell), []).append(answer)
    made = [_question(place, answers, released.get(place[0]), left_out) for place, answers in found.items()]
    return sorted(made, key=lambda question: (question.notebook, not question.is_written, question.cell))


def _question(
    place: tuple[str, str], answers: list[StudentAnswer], released: ReleasedCells | None, left_out: Sequence[str]
) -> Question:
    notebook, cell = place
    is_written = answers[0].settled is None
    comment_cell = cell if is_written else (released.solutions.get(cell, "") if released else "")
    ordered = sorted(answers, key=lambda answer: answer.rank)
    return Question(notebook, cell, answers[0].held.maximum, is_written, comment_cell, ordered, left_out)


def _answer(secret: bytes, report: GradeReport, mark: HeldMark, released: ReleasedCells | None) -> StudentAnswer | None:
    digest = report.answers.get(mark.notebook, {}).get(mark.cell, "")
    rank = rank_of(secret, report.assignment, mark)
    sources = report.sources.get(mark.notebook, ())
    if mark.cell not in report.cells.get(mark.notebook, {}):
        text = released.texts.get(mark.cell, "") if released else ""
        return StudentAnswer(mark, rank, _written_parts(mark.cell, sources, text), digest)
    checks = [c for c in report.checks if (c.notebook, c.cell) == (mark.notebook, mark.cell)]
    undecided = [check for check in checks if check.status is Status.UNSUPPORTED]
    if not undecided:
        return None
    parts = [AnswerPart(cell.source, True) for cell in sources if cell.kind == "code"]
    remarks = [*(_remark(check) for check in undecided), *undecided_points(checks)[1:]]
    return StudentAnswer(mark, rank, parts, digest, remarks, [c.name for c in undecided], mark.automatic)


def _remark(check: CheckResult) -> str:
    details = " ".join(part for part in (check.message, where(check)) if part)
    return readable(f"{check.title} ({check.points:g}), {status_words(check.status)}: {details}")


def _written_parts(cell: str, sources: Sequence[AnswerCell], released: str) -> list[AnswerPart]:
    """The cell itself; where it is as it was released, or there is none, the cells that the student has added."""
    own = [AnswerPart(c.source, c.kind == "code") for c in sources if c.name == cell]
    if own and own[0].text.strip() != released.strip():
        return own
    added = [c for c in sources if not c.name]
    return [
        AnswerPart(c.source, c.kind == "code", f"cell {c.index + 1} of the notebook, which was added") for c in added
    ]


def rank_of(secret: bytes, assignment: str, mark: HeldMark) -> str:
    """Where an answer stands among those to its question: drawn from the course's secret, the same every time, and
    another for each question, so that nobody is always last."""
    words = "\n".join(["marking", assignment, mark.notebook, mark.cell, mark.student])
    return hmac.new(secret, words.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


# Texts as they are compared

FORMULA = re.compile(r"\$[^$]+\$")


def normal_text(part: AnswerPart) -> str:
    """A text without what makes no difference: in code, white space at the ends of lines and empty lines; in prose all
    but single blanks, and capitals, which stay in formulas, where $K$ and $k$ are two things."""
    if part.is_code:
        lines = (line.rstrip() for line in part.text.splitlines())
        return "\n".join(line for line in lines if line)
    text = " ".join(part.text.split())
    pieces, end = [], 0
    for formula in FORMULA.finditer(text):
        pieces += [text[end : formula.start()].casefold(), formula[0].replace(" ", "")]
        end = formula.end()
    return "".join([*pieces, text[end:].casefold()])
