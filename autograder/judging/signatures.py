"""What a student's function or class takes: read from its signature, and said where a call did not fit.

The exercise's own names are public. A signature is the student's word from before it was asked anything, so that what
is said here tells nothing about the arguments of a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autograder.core.text import clean_text

MOST_PARAMETERS, MOST_NAME = 30, 40  # more are no signature that anybody would read
MOST_LINE = 2**31
MOST_SHOWN, MOST_SWAPPED = 8, 2  # in one sentence
_KINDS = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "VAR_POSITIONAL", "KEYWORD_ONLY", "VAR_KEYWORD")
_STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}


@dataclass(frozen=True)
class Parameter:
    """One parameter: `kind` is one of `inspect.Parameter`'s, `is_required` where it has no default value."""

    name: str
    kind: str
    is_required: bool

    @property
    def takes_position(self) -> bool:
        """Whether it takes one argument by position."""
        return self.kind.startswith("POSITIONAL")

    @property
    def takes_name(self) -> bool:
        """Whether it takes an argument by its name."""
        return self.kind in ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY")


@dataclass(frozen=True)
class Signature:
    """The parameters of a function or class, in order."""

    parameters: tuple[Parameter, ...]
    line: int = 0  # of the student's, as it travels: where it is defined

    def __str__(self) -> str:
        shown = [_STARS.get(p.kind, "") + p.name for p in self.parameters[:MOST_SHOWN]]
        return f"({', '.join([*shown, *(['…'] if len(self.parameters) > MOST_SHOWN else [])])})"

    @property
    def most_by_position(self) -> float:
        """How many arguments may be given by position."""
        if any(p.kind == "VAR_POSITIONAL" for p in self.parameters):
            return float("inf")
        return sum(p.takes_position for p in self.parameters)

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Of argument names, those that no parameter takes."""
        if any(p.kind == "VAR_KEYWORD" for p in self.parameters):
            return []
        known = {p.name for p in self.parameters if p.takes_name}
        return [name for name in names if name not in known]

    def lacking(self, names: Sequence[str]) -> list[str]:
        """Parameters without a default value that arguments of these names leave out."""
        plain = [p for p in self.parameters if p.kind not in _STARS and p.is_required]
        return [p.name for p in plain if not (p.takes_name and p.name in names)]

    def is_called_by_name(self, names: Sequence[str]) -> bool:
        """Whether arguments were handed over by their names: where the names do not fit, they are by position."""
        return not self.unknown(names) and not self.lacking(names)


def read_signature(record: Mapping[str, Any]) -> Signature | None:
    """A signature from the wire; None for one that is none, or that nobody would read.

    `parameters` is a list of [name, kind, is required], `line` where it is defined.
    """
    entries, line = record.get("parameters"), record.get("line")
    if not isinstance(entries, list) or len(entries) > MOST_PARAMETERS:
        return None
    parameters = []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 3:
            return None
        name, kind, is_required = entry
        if not isinstance(name, str) or not name.isidentifier() or len(name) > MOST_NAME or kind not in _KINDS:
            return None
        parameters.append(Parameter(clean_text(name), kind, is_required is True))
    return Signature(tuple(parameters), line if type(line) is int and 0 <= line < MOST_LINE else 0)


@dataclass(frozen=True)
class Called:
    """One call, by the names of its arguments: whether it raised TypeError, and whether its own words are left out."""

    names: Sequence[str]
    is_misfit: bool
    is_wordless: bool


def explanations(name: str, calls: Sequence[Called], signature: Signature | None) -> list[str]:
    """Why each call raised TypeError, nothing where that cannot be said or there is nothing to say."""
    names = [call.names for call in calls]
    asked, given = all_names(names), triggers(calls)
    found = []
    for call in calls:
        message = why_not_called(name, call.names, names, signature) if signature and call.is_misfit else ""
        if call.is_misfit and call.is_wordless and given and not message:
            message = f"`{name}` raises TypeError where {listed(given)} {'is' if len(given) == 1 else 'are'} given: "
            message += f"does it take ({', '.join(asked)})?"
        found.append(message)
    return found


def triggers(calls: Sequence[Called]) -> list[str]:
    """Names of arguments that every call that raised was given, and no other."""
    raised = [set(call.names) for call in calls if call.is_misfit]
    fine = {name for call in calls if not call.is_misfit for name in call.names}
    if not raised or not fine:
        return []
    return [name for name in all_names([call.names for call in calls]) if name in set.intersection(*raised) - fine]


def why_not_called(name: str, names: Sequence[str], calls: Sequence[Sequence[str]], signature: Signature) -> str:
    """Why a call with arguments of these names, one of `calls`, cannot be made, and the remedy; else nothing."""
    if signature.is_called_by_name(names):
        return ""
    wanted = f"({', '.join(all_names(calls))})"
    unknown, room = signature.unknown(names), signature.most_by_position
    if len(names) > room:
        lost = len(names) - int(room)
        if len(unknown) == lost:
            plural = "s" * (len(unknown) > 1)
            return (
                f"`{name}` lacks the parameter{plural} {listed(unknown)}: it must take {wanted}, but takes {signature}"
            )
        return f"`{name}` has too few parameters: it must take {wanted}, but takes {signature}"
    required = [p for p in signature.parameters if p.takes_position and p.is_required]
    if len(required) > len(names):
        rest = [p.name for p in required[min(map(len, calls)) :]]
        return f"{listed(rest)} of `{name}` must have a default value: some calls leave {_them(rest)} out"
    alone = [p.name for p in signature.parameters if p.kind == "KEYWORD_ONLY" and p.is_required]
    if alone:
        return f"`{name}` demands {listed(alone)}, which no call gives: it must take {wanted}"
    return ""


def how_called(name: str, calls: Sequence[Sequence[str]], signature: Signature) -> str:
    """A note on a function whose parameters are not as the exercise names them, or not in its order; else nothing.

    `calls` are the names of the arguments of each call.
    """
    asked = all_names(calls)
    wanted = f"({', '.join(asked)})"
    places = [p.name for p in signature.parameters if p.takes_position]
    if not all(signature.is_called_by_name(names) for names in calls):
        if any(why_not_called(name, names, calls, signature) for names in calls):
            return ""  # a check says so
        unknown = list(dict.fromkeys(name for names in calls for name in signature.unknown(names)))
        why = f"it lacks {listed(unknown)}: its own parameters" if unknown else "its parameters"
        pairs = [(own, one) for own, one in zip(places, asked, strict=False) if own in asked and own != one]
        swapped = " and ".join(f"your `{own}` received `{one}`" for own, one in pairs[:MOST_SWAPPED])
        so = f", so {swapped}" if swapped else ""
        return f"`{name}` was called by position, in the order {wanted}, because {why} are {signature}{so}"
    ordered = [place for place in places if place in asked]
    if ordered != [one for one in asked if one in ordered]:
        return f"`{name}` has its parameters in another order than {wanted}: {signature}. It was called by their names"
    return ""


def all_names(calls: Sequence[Sequence[str]]) -> list[str]:
    """The names of arguments that the calls of a function use, in the order of its signature: the longest call's first,
    since calls follow the signature without gaps."""
    return list(dict.fromkeys(name for names in sorted(calls, key=len, reverse=True) for name in names))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def notes_on_calls(probes: Sequence[Mapping[str, Any]], signatures: Mapping[str, Signature]) -> list[str]:
    """A note for each function or class that was not called as its parameters stand."""
    calls: dict[str, list[list[str]]] = {}
    for probe in probes:
        if probe["kind"] in ("call", "build"):
            made = probe["arguments"] if probe["kind"] == "call" else [probe["arguments"]]
            calls.setdefault(probe["name"], []).extend(list(arguments) for arguments in made)
    notes = [how_called(name, made, signatures[name]) for name, made in calls.items() if name in signatures]
    return [note for note in notes if note]
