"""Which answers are nearly the same: token sequences without names and comments, less what everybody was given.

Lines that the release, the lesson or the kit has count for nothing, nor do lines that many in the class wrote: what is
left is compared by RapidFuzz, in the order in which it stands and with its functions sorted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Token
from rapidfuzz import process
from rapidfuzz.distance import Indel, LCSseq

from autograder.core.text import clean_text
from autograder.handin.cells import is_solution, is_test_cell, source_of
from autograder.review.integrity.signals import LinePair, SignalEvidence, Spread

CODE, WORDS = "code", "words"
# docs/integrity.md says how alike the course's honest designs are.
LEAST_ALIKE = 0.85
ROBUST_DEVIATIONS = 6.0
MOST_THRESHOLD = 0.97  # a class that writes all alike must still be told of equal answers
LEAST_TOKENS = {CODE: 80, WORDS: 25}
FULL_TOKENS = 200  # shorter answers weigh less when pairs are sorted
COMMON_SHARE, LEAST_CLASS = 0.2, 20  # what a fifth of a class of this size wrote is nobody's
MOST_TOKENS = 6_000
MOST_SOURCE = 60_000
MOST_SHOWN_LINES, MOST_SHOWN_WORDS, MOST_WORD = 80, 8, 60
ANY_NAME, ANY_STRING = "\N{MIDDLE DOT}", "''"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CodeLine:
    """A logical line: its text as it was written, and its tokens with names and strings taken out."""

    text: str
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class NotebookAnswer:
    """What a student wrote in one notebook, code or text, and the words in it that can be somebody's own."""

    owner: str
    notebook: str
    kind: str
    lines: Sequence[CodeLine]
    own_words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Public:
    """What everybody was given: lines by their tokens, and words."""

    lines: frozenset[tuple[str, ...]] = frozenset()
    words: frozenset[str] = frozenset()


# Reading


def answers_in(owner: str, notebooks: Mapping[str, Mapping[str, Any]], public: Public) -> list[NotebookAnswer]:
    """The answers in (repaired) notebooks: solution cells and cells of the student's own, without the public lines."""
    found = []
    for notebook, content in notebooks.items():
        cells = [cell for cell in content["cells"] if not is_test_cell(cell)]
        code = [source_of(c) for c in cells if c["cell_type"] == "code"]
        text = [source_of(c) for c in cells if c["cell_type"] == "markdown" and is_solution(c)]
        for kind, sources in ((CODE, code), (WORDS, text)):
            lines, words = read_sources(kind, _bounded(sources))
            lines = [line for line in lines if line.tokens not in public.lines]
            if lines:
                found.append(NotebookAnswer(owner, notebook, kind, lines, frozenset(words) - public.words))
    return found


def public_of(sources: Iterable[tuple[str, str]]) -> Public:
    """What is in (kind, source) pairs that everybody was given."""
    lines: set[tuple[str, ...]] = set()
    words: set[str] = set()
    for kind, source in sources:
        own_lines, own_words = read_source(kind, source)
        lines |= {line.tokens for line in own_lines}
        words |= own_words
    return Public(frozenset(lines), frozenset(words))


def given_sources(notebooks: Iterable[Mapping[str, Any]], modules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The cells of released notebooks, and the code of modules such as the kit."""
    for notebook in notebooks:
        for cell in notebook["cells"]:
            yield (CODE if cell["cell_type"] == "code" else WORDS), source_of(cell)
    for source in modules:
        yield CODE, source


def _bounded(sources: Iterable[str]) -> Iterator[str]:
    """The sources, as far as MOST_SOURCE characters go."""
    left = MOST_SOURCE
    for source in sources:
        yield source[: max(left, 0)]
        left -= len(source)


def read_sources(kind: str, sources: Iterable[str]) -> tuple[list[CodeLine], set[str]]:
    """The lines and the words of several cells."""
    lines: list[CodeLine] = []
    words: set[str] = set()
    for source in sources:
        own_lines, own_words = read_source(kind, source)
        lines += own_lines
        words |= own_words
    return lines, words


@lru_cache(4_096)  # most cells of a class are the release's
def read_source(kind: str, source: str) -> tuple[tuple[CodeLine, ...], frozenset[str]]:
    """Logical lines of code, or the sentences of a text, without those that have no token; and the words that a writer
    chooses freely: names, comments and strings of code, or the longer words of a text."""
    if kind == WORDS:
        return tuple(_sentences(source)), frozenset(re.findall(r"\w{5,}", source.casefold()))
    tokens = _lexed(source)
    return tuple(_code_lines(tokens)), frozenset(_code_words(tokens))


def _sentences(source: str) -> Iterator[CodeLine]:
    for sentence in re.split(r"(?<=[.!?:;])\s+|\n+", source):
        tokens = tuple(re.findall(r"\w+", sentence.casefold()))
        if tokens:
            yield CodeLine(sentence.strip(), tokens)


def _code_lines(lexed: Sequence[tuple[Any, str]]) -> Iterator[CodeLine]:
    tokens: list[str] = []
    text: list[str] = []
    depth = 0
    for kind, value, before, after in _neighbours(lexed):
        text.append(value)
        if value == "\n" and depth <= 0:
            if tokens:
                yield CodeLine("".join(text).strip("\n"), tuple(tokens))
            tokens, text, depth = [], [], 0
            continue
        depth += (value in "([{" and value != "") - (value in ")]}" and value != "")
        in_call = depth > 0 and after == "=" and before[1] in ("(", ",") and tokens[:1] != ["def"]
        word = _normalised(kind, value, before, in_call)
        if word and not (word == ANY_STRING and tokens[-1:] == [ANY_STRING]):
            tokens.append(word)
    if tokens:
        yield CodeLine("".join(text).strip("\n"), tuple(tokens))


def _lexed(source: str) -> list[tuple[Any, str]]:
    """Pygments' tokens, those with line breaks in whitespace cut at them."""
    found: list[tuple[Any, str]] = []
    for kind, value in PythonLexer(ensurenl=True).get_tokens(source):
        if "\n" in value and kind not in String:
            found += [(kind, part) for part in re.split(r"(\n)", value) if part]
        else:
            found.append((kind, value))
    return found


def _neighbours(tokens: Sequence[tuple[Any, str]]) -> Iterator[tuple[Any, str, tuple[str, str], str]]:
    """Each token with the two significant ones before it and the one after it."""
    significant = [index for index, (kind, value) in enumerate(tokens) if value.strip() and kind not in Comment]
    following = dict(pairwise(significant))
    before = ("", "")
    for index, (kind, value) in enumerate(tokens):
        after = tokens[following[index]][1] if index in following else ""
        yield kind, value, before, after
        if value.strip() and kind not in Comment:
            before = (before[1], value)


def _normalised(kind: Any, value: str, before: tuple[str, str], is_argument: bool) -> str:
    """A token as it is compared; "" for what does not count. A name of a library's stays: what follows a dot (unless
    it is an attribute of `self`), and what stands before `=` in a call."""
    if kind in Comment or kind in String.Doc or not value.strip():
        return ""
    if kind in String:
        return ANY_STRING
    if kind in Keyword or kind in Number or kind in Operator or kind in Punctuation or kind in Name.Builtin:
        return value
    if kind in Name:
        of_library = before[1] == "." and before[0] != "self"
        return value if of_library or is_argument else ANY_NAME
    return value if kind in Token.Literal else ""


def _code_words(lexed: Sequence[tuple[Any, str]]) -> Iterator[str]:
    for token, value, before, _ in _neighbours(lexed):
        text = " ".join(value.strip("#'\" \n").split())
        is_name = token in Name and _normalised(token, value, before, False) == ANY_NAME and not value.startswith("__")
        if (is_name and len(text) >= 3) or ((token in Comment or token in String) and len(text) >= 8):
            yield text


# Comparing


def without_common(
    answers: Sequence[NotebookAnswer], is_course: Collection[str], groups: Mapping[str, str]
) -> list[NotebookAnswer]:
    """The answers (of one place) without the lines that many in the class wrote; a group counts once. In a small class
    nothing is left out: a few who share an answer would be most of it."""
    writers: dict[tuple[str, ...], set[str]] = {}
    students = {groups.get(a.owner, a.owner) for a in answers if a.owner not in is_course}
    for answer in answers:
        if answer.owner not in is_course:
            for tokens in {line.tokens for line in answer.lines}:
                writers.setdefault(tokens, set()).add(groups.get(answer.owner, answer.owner))
    if len(students) < LEAST_CLASS:
        return list(answers)
    most = math.ceil(COMMON_SHARE * len(students))
    common = {tokens for tokens, who in writers.items() if len(who) >= most}
    return [_only(answer, [line for line in answer.lines if line.tokens not in common]) for answer in answers]


def _only(answer: NotebookAnswer, lines: Sequence[CodeLine]) -> NotebookAnswer:
    return NotebookAnswer(answer.owner, answer.notebook, answer.kind, lines, answer.own_words)


def similarities(answers: Sequence[NotebookAnswer]) -> Floats:
    """(n, n) in 0..1: the share of tokens that two answers have in common in one order (normalised indel similarity),
    in the order of the notebook or with functions and classes sorted, whichever is higher."""
    letters: dict[str, str] = {}
    plain = [_spelled(answer.lines, letters) for answer in answers]
    sorted_ = [_spelled(_sorted_blocks(answer.lines), letters) for answer in answers]
    found = [process.cdist(t, t, scorer=Indel.normalized_similarity, dtype=np.float32) for t in (plain, sorted_)]
    return np.asarray(np.maximum(*found), np.float32)


def _spelled(lines: Sequence[CodeLine], letters: dict[str, str]) -> str:
    """One character for each token: RapidFuzz compares strings fastest."""
    tokens = [token for line in lines for token in line.tokens][:MOST_TOKENS]
    return "".join(letters.setdefault(token, _letter(len(letters))) for token in tokens)


def _letter(number: int) -> str:
    """The letters' code points leave out the surrogates."""
    code = 0x100 + number
    return chr(code if code < 0xD800 else min(code + 0x800, 0x10FFFF))


def _sorted_blocks(lines: Sequence[CodeLine]) -> list[CodeLine]:
    """The lines with functions and classes in an order that does not depend on where they stand."""
    blocks: list[list[CodeLine]] = [[]]
    for line in lines:
        if line.tokens[0] in ("def", "class", "@"):
            blocks.append([])
        blocks[-1].append(line)
    return [line for block in sorted(blocks, key=lambda block: [line.tokens for line in block]) for line in block]


@dataclass(frozen=True)
class Alike:
    """What one place has to say: evidence by pair of owners, and how the class's own pairs are distributed."""

    evidence: Mapping[tuple[str, str], SignalEvidence]
    spread: Spread


def compare_place(answers: Sequence[NotebookAnswer], is_course: Collection[str], groups: Mapping[str, str]) -> Alike:
    """Compare all answers of one notebook and kind. Members of a group are no pair, nor are two things of the
    course's."""
    notebook, kind = answers[0].notebook, answers[0].kind
    rest = without_common(answers, is_course, groups)
    enough = [a for a in rest if sum(len(line.tokens) for line in a.lines) >= LEAST_TOKENS[kind]]
    matrix = similarities(enough) if len(enough) > 1 else np.zeros((0, 0), np.float32)
    pairs = [
        (i, j) for i, j in combinations(range(len(enough)), 2) if _is_pair(enough[i], enough[j], is_course, groups)
    ]
    own = np.array([matrix[i, j] for i, j in pairs if not {enough[i].owner, enough[j].owner} & set(is_course)])
    limit = threshold_of(own)
    rarity = Counter(word for answer in answers for word in answer.own_words)
    found = {
        (enough[i].owner, enough[j].owner): _evidence(enough[i], enough[j], float(matrix[i, j]), rarity, len(answers))
        for i, j in pairs
        if matrix[i, j] >= limit
    }
    middle, high = (float(np.quantile(own, q)) if len(own) else 0.0 for q in (0.5, 0.95))
    compared = len({a.owner for a in enough} - set(is_course))
    return Alike(found, Spread(notebook, kind, compared, len(own), middle, high, limit))


def threshold_of(own: NDArray[Any]) -> float:
    """From which similarity on a pair is listed: six robust deviations above the class's median, but at least
    LEAST_ALIKE. (A robust deviation is 1.4826 times the median absolute one: a few copies do not move it.)"""
    if len(own) < 10:  # five answers: no distribution to speak of
        return LEAST_ALIKE
    middle = float(np.median(own))
    deviation = 1.4826 * float(np.median(np.abs(own - middle)))
    return min(max(LEAST_ALIKE, middle + ROBUST_DEVIATIONS * deviation), MOST_THRESHOLD)


def _is_pair(one: NotebookAnswer, other: NotebookAnswer, is_course: Collection[str], groups: Mapping[str, str]) -> bool:
    if one.owner in is_course and other.owner in is_course:
        return False
    return groups.get(one.owner, one.owner) != groups.get(other.owner, other.owner)


def _evidence(
    one: NotebookAnswer, other: NotebookAnswer, value: float, rarity: Mapping[str, int], class_size: int
) -> SignalEvidence:
    counts = [sum(len(line.tokens) for line in answer.lines) for answer in (one, other)]
    what = "tokens" if one.kind == CODE else "words"
    text = f"{value:.0%} alike, of {counts[0]} and {counts[1]} {what} that are left."
    shared = sorted((w for w in one.own_words & other.own_words if rarity[w] == 2), key=lambda word: (-len(word), word))
    if shared and class_size > 2:
        shown = ", ".join(f"“{clean_text(word)[:MOST_WORD]}”" for word in shared[:MOST_SHOWN_WORDS])
        more = f" and {len(shared) - MOST_SHOWN_WORDS} more" if len(shared) > MOST_SHOWN_WORDS else ""
        kinds = "names, comments and strings" if one.kind == CODE else "words"
        text += f" {kinds.capitalize()} that nobody else has: {shown}{more}."
    strength = 0.9 * value * min(1.0, min(counts) / FULL_TOKENS)
    return SignalEvidence(one.kind, one.notebook, strength, text, passage_of(one.lines, other.lines))


def passage_of(one: Sequence[CodeLine], other: Sequence[CodeLine]) -> tuple[LinePair, ...]:
    """The lines that are left of two answers, facing each other where their tokens agree."""
    left, right = ([line.tokens for line in lines] for lines in (one, other))
    rows: list[LinePair] = []
    for step in LCSseq.opcodes(left, right):
        mine, theirs = one[step.src_start : step.src_end], other[step.dest_start : step.dest_end]
        for place in range(max(len(mine), len(theirs))):
            texts = [clean_text(side[place].text) if place < len(side) else "" for side in (mine, theirs)]
            rows.append(LinePair(texts[0], texts[1], step.tag == "equal"))
    first = next((index for index, row in enumerate(rows) if row.same), 0)
    start = max(0, min(first - 2, len(rows) - MOST_SHOWN_LINES))
    return tuple(rows[start : start + MOST_SHOWN_LINES])
