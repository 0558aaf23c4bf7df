"""Which file of a submission counts as an exercise's trained weights: one rule for all who ask."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

# What a file is, by how its content begins. The third counts under an exact name only: most zips hold no weights.
SAFETENSORS, TORCH, PACKED = "safetensors", "torch.save", "some pickle or zip"
SUFFIXES = re.compile(
    r"(?:\.(?:safetensors|pth?|ckpt|bin|tar|pkl|pickle|model|weights|txt|zip|download|part))+$", re.IGNORECASE
)
# As browsers, file managers and learning management systems name a second copy.
COPY = re.compile(
    r"^(?:kopie von|copy of|copie de|copia de|copia di)\s+"
    r"|(?:[\s_-]+(?:kopie|copy|copie|copia))?(?:\s*\(\d{1,3}\)|[\s_-]+\d{1,3})?$",
    re.IGNORECASE,
)
UNFINISHED = (".part", ".crdownload", ".download", ".tmp")
# What training tools save beside the weights, to go on training with.
NO_WEIGHTS = re.compile(
    r"optimi[sz]er|(?<![a-z])opt(?:im)?(?![a-z])|sched|scaler|rng_state|random_states|training_args|-state$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WeightsContent:
    """What a file holds that may be weights: `form` is SAFETENSORS, TORCH or PACKED.

    `tensors` is the same for files that hold the same tensors. Without `any_name` the file counts only for an exercise
    whose name it has: the assignment asks for several.
    """

    form: str
    tensors: str = ""
    any_name: bool = True


class MaybeWeights(Protocol):
    """A file of a submission; `weights` is None where its content begins as no weights do."""

    @property
    def weights(self) -> WeightsContent | None: ...


@dataclass(frozen=True)
class WeightsChoice:
    """Which file counts as the weights called `stem`.

    `name` is "" where none does; then `rivals` are files that hold different weights, of which none is better than the
    others. `ignored` are files with other weights than those that count: all, or those that are called so, too, where
    the name is exact. What is not `is_safetensors` is read in the jail only.
    """

    stem: str
    name: str = ""
    is_safetensors: bool = False
    rivals: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def asked_for(self) -> str:
        """The name that a file of this form should have."""
        return f"{self.stem}{'.safetensors' if self.is_safetensors else '.pt'}"

    @property
    def is_exact(self) -> bool:
        """Whether the file has one of the two names that are asked for."""
        return self.name in exact_names(self.stem)


def exact_names(stem: str) -> tuple[str, str]:
    """The names under which weights are to be handed in, the one that wins first."""
    return f"{stem}.safetensors", f"{stem}.pt"


def choose_weights(stem: str, files: Mapping[str, MaybeWeights]) -> WeightsChoice:
    """The file that counts as the weights called `stem`, among all files by the name under which notebooks see them.

    The first of these that there is decides:

    1. `<stem>.safetensors` in the submission's own folder, whatever it holds;
    2. `<stem>.pt` there, whatever it holds;
    3. the files that begin as weights do and are called `<stem>`: with any suffix, in capitals, in any folder, or as a
       copy of that name (`<stem> (1).pth`);
    4. all other files that begin as weights do;
    5. those that 3 and 4 leave out: named as the state of an optimiser or a training, or as half a download.

    Of several in 3, 4 or 5, a file beside one of the same name that is safetensors is left out, as in 1 and 2. The
    others must hold the same tensors; then safetensors come before files of torch.save, fewer folders before more, and
    the first by name is taken. Where they differ, none counts. What lies in hidden folders never does.
    """
    exact = [name for name in exact_names(stem) if name in files]
    known = {name: content for name, file in files.items() if (content := _candidate(name, file))}
    if exact:
        chosen, content = exact[0], files[exact[0]].weights
        others = {*exact[1:], *(name for name in _different(known, content) if is_called(name, stem))} - {chosen}
        form = content.form if content else ""
        is_plain = form == SAFETENSORS or (not form and chosen.endswith(".safetensors"))
        return WeightsChoice(stem, chosen, is_plain, ignored=tuple(sorted(others)))
    group = next(filter(None, _groups(stem, known)), set[str]())
    group = {name for name in group if not _has_twin(name, group, known)}
    if len({known[name].tensors for name in group}) > 1:
        return WeightsChoice(stem, rivals=tuple(sorted(group)))
    if not group:
        return WeightsChoice(stem)
    name = min(group, key=lambda name: (known[name].form != SAFETENSORS, name.count("/"), name))
    ignored = tuple(sorted(_different(known, known[name])))
    return WeightsChoice(stem, name, known[name].form == SAFETENSORS, ignored=ignored)


def is_called(name: str, stem: str) -> bool:
    """Whether a file has an exercise's name, but for its folder, suffix, capitals, blanks and the marks of a copy."""
    return _letters(_base(name)) == _letters(stem)


def _candidate(name: str, file: MaybeWeights) -> WeightsContent | None:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    content = file.weights
    return None if hidden or content is None or content.form == PACKED else content


def _groups(stem: str, known: Mapping[str, WeightsContent]) -> Iterator[set[str]]:
    """Files by how well their names speak for them, best first."""
    named = {name for name in known if is_called(name, stem)}
    whole = {name for name in known if not (name.casefold().endswith(UNFINISHED) or NO_WEIGHTS.search(_base(name)))}
    others = {name for name, content in known.items() if content.any_name} - named
    yield named & whole
    yield others & whole
    yield (named | others) - whole


def _has_twin(name: str, group: Collection[str], known: Mapping[str, WeightsContent]) -> bool:
    """Whether the same weights were saved as safetensors, too: under the same name in the same folder."""
    if known[name].form == SAFETENSORS:
        return False
    own = SUFFIXES.sub("", name)
    return any(known[other].form == SAFETENSORS and SUFFIXES.sub("", other) == own for other in group)


def _different(known: Mapping[str, WeightsContent], chosen: WeightsContent | None) -> set[str]:
    return {name for name, content in known.items() if chosen is None or content.tensors != chosen.tensors}


def _base(name: str) -> str:
    """A file's name without folder, suffixes and the marks of a copy, which may stand before or after the suffix."""
    base = name.rsplit("/", 1)[-1]
    for pattern in (COPY, SUFFIXES, COPY):
        base = pattern.sub("", base)
    return base


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
