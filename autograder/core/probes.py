"""Probes: what `grader_config.py` asks of a notebook, and how arguments are drawn from the course's secret."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autograder.core.config_values import (
    CONFIG_FILE,
    Arguments,
    ConfigError,
    require,
    require_all,
    require_arguments,
    require_choice,
    require_name,
    require_number,
    require_text,
    shown,
)
from autograder.core.text import did_you_mean

OF_EACH_TEXTURE = 6
FINE = tuple(f"fine_{number}" for number in range(1, OF_EACH_TEXTURE + 1))
COARSE = tuple(f"coarse_{number}" for number in range(1, OF_EACH_TEXTURE + 1))
TEXTURES = (*FINE, *COARSE)  # they differ in nothing but how fine their detail is
PROBE_IMAGES = ("natural", "full_range", "dark", "low_contrast", *TEXTURES)  # probe_images.py draws them
MOST_DRAWS = 1000
MOST_SIDE = 1024  # of an image, and channels of one


class Drawn:
    """Keyword arguments drawn from the course secret: the same for every student, worker and regrade.

    A tuple of two integers is an inclusive range, a list holds choices, anything else is taken as it is.
    `where` keeps only draws for which it holds, `times` asks for that many different draws.
    """

    def __init__(self, *, where: Callable[[Arguments], bool] | None = None, times: int = 1, **values: Any) -> None:
        require_number("Drawn(times=...)", times, whole=True, least=1, most=MOST_DRAWS)
        require(where is None or callable(where), f"Drawn(where=...) must be a function, got {shown(where)}")
        require_arguments("Drawn(...)", values)
        for name, value in values.items():
            if isinstance(value, tuple):
                ordered = len(value) == 2 and all(type(v) is int for v in value) and value[0] <= value[1]
                require(ordered, f"Drawn({name}=...) must be (low, high) with low <= high, or a list, got {value!r}")
            require(not isinstance(value, list) or bool(value), f"Drawn({name}=...) has no choice to draw from")
        self.values, self.where, self.times = values, where, times

    def draw(self, generator: random.Random) -> list[dict[str, Any]]:
        """`times` different argument sets. Raises ConfigError where `where` leaves too few."""
        found: list[dict[str, Any]] = []
        for _ in range(2000 * self.times):
            arguments = {name: _draw_value(value, generator) for name, value in self.values.items()}
            if arguments not in found and self._holds(arguments):
                found.append(arguments)
                if len(found) == self.times:
                    return found
        raise ConfigError(f"Drawn({self.values}) gives only {len(found)} of {self.times} draws ({CONFIG_FILE})")

    def _holds(self, arguments: Arguments) -> bool:
        try:
            return self.where is None or bool(self.where(arguments))
        except Exception as error:  # it is the configuration's own code
            raise ConfigError(
                f"Drawn(where=...) raises {type(error).__name__} for {shown(dict(arguments))}: {error} ({CONFIG_FILE})"
            ) from error


def _draw_value(value: Any, generator: random.Random) -> Any:
    if isinstance(value, tuple):
        return generator.randint(*value)
    return generator.choice(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class AnswerProbe:
    """The value of a variable that the notebook defines."""

    name: str

    def __post_init__(self) -> None:
        require_name("AnswerProbe.name", self.name)


@dataclass(frozen=True)
class CallProbe:
    """Results of a function, in named groups of calls with keyword arguments."""

    name: str
    groups: Mapping[str, Sequence[Arguments | Drawn]]

    def __post_init__(self) -> None:
        require_name("CallProbe.name", self.name)
        require(isinstance(self.groups, Mapping), f"CallProbe.groups must be a dict, got {shown(self.groups)}")
        for group, arguments in self.groups.items():
            require_text("CallProbe.groups: a group", group)
            require_sets(f"CallProbe.groups[{group!r}]", arguments)


@dataclass(frozen=True)
class ModuleProbe:
    """A `torch.nn.Module` class: built with each of `builds` and exported in eval mode at the first of `image_sizes`;
    the first build also at the other sizes and, with `train`, in training mode.

    `input_channels` is a number or the name of the argument that gives it.
    """

    name: str
    builds: Sequence[Arguments | Drawn] = ({},)
    image_sizes: Sequence[int] = (32,)
    input_channels: int | str = 3
    train: bool = True

    def __post_init__(self) -> None:
        require_name("ModuleProbe.name", self.name)
        require_sets("ModuleProbe.builds", self.builds)
        require_all("ModuleProbe.image_sizes", self.image_sizes, int)
        require(bool(self.image_sizes), "ModuleProbe.image_sizes is empty")
        for size in self.image_sizes:
            require_number("ModuleProbe.image_sizes", size, whole=True, least=1, most=MOST_SIDE)
        require(isinstance(self.train, bool), f"ModuleProbe.train must be True or False, got {shown(self.train)}")
        if not isinstance(self.input_channels, str):
            require_number("ModuleProbe.input_channels", self.input_channels, whole=True, least=1, most=MOST_SIDE)
            return
        for build in self.builds:
            known = list(build.values if isinstance(build, Drawn) else build)
            meant = did_you_mean(self.input_channels, known)
            named = f"ModuleProbe.input_channels {self.input_channels!r} is no argument of a build, which has {known}"
            require(self.input_channels in known, named + meant)


@dataclass(frozen=True)
class TransformProbe:
    """An image transform, applied `draws` times to each of the named probe images (see `probe_images.py`)."""

    name: str
    images: Sequence[str]
    draws: int = 1

    def __post_init__(self) -> None:
        require_name("TransformProbe.name", self.name)
        require_all("TransformProbe.images", self.images, str)
        for image in self.images:
            require_choice("TransformProbe.images", image, list(PROBE_IMAGES))
        require_number("TransformProbe.draws", self.draws, whole=True, least=1, most=MOST_DRAWS)


@dataclass(frozen=True)
class CheckpointProbe:
    """The file with trained weights that is handed in: `<stem>.safetensors` or `<stem>.pt` (a state dict). Where
    neither is there, another file may count (weights_file.choose_weights).

    `holdout` is the place of a private data set, relative to the course's folder: a data set in the forms of the test
    set (a folder test/<class>/, a zip of one, a cifar-10-batches-py folder), of any number of images from 500 on, that
    no student has. Where it is given, accuracy on it is what counts, and the test set's is shown beside it.
    """

    stem: str
    module: str
    transform: str
    most_mib: float = 64
    holdout: str = ""

    def __post_init__(self) -> None:
        require_text("CheckpointProbe.stem", self.stem)
        require("/" not in self.stem, f"CheckpointProbe.stem must be the name of a file, got {shown(self.stem)}")
        require_number("CheckpointProbe.most_mib", self.most_mib)
        path = self.holdout
        fits = isinstance(path, str) and path.isprintable() and path.strip() == path and not path.startswith("~")
        what = "CheckpointProbe.holdout must be a path from the course's folder, or empty"
        require(fits, f"{what}, got {shown(path)}")


def require_sets(what: str, value: object) -> None:
    """Argument sets, fixed or drawn."""
    require_all(what, value, (Mapping, Drawn))
    assert isinstance(value, (list, tuple))
    require(bool(value), f"{what} is empty: nothing to call with")
    for item in value:
        if isinstance(item, Mapping):
            require_arguments(what, item)


def generator_for(secret: bytes, *scope: str) -> random.Random:
    """A generator that depends on the course secret and the scope only (HMAC-SHA256 of the scope)."""
    return random.Random(hmac.new(secret, "/".join(scope).encode(), hashlib.sha256).digest())


def draw_all(items: Sequence[Arguments | Drawn], secret: bytes, *scope: str) -> list[dict[str, Any]]:
    """Replace every `Drawn` by its draws; plain argument sets stay as they are."""
    drawn: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        if isinstance(item, Drawn):
            drawn += item.draw(generator_for(secret, *scope, str(index)))
        else:
            drawn.append(dict(item))
    return drawn
