"""The images on which transforms are probed: drawn from the course's secret, the same for every student."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autograder.core.probes import COARSE, FINE, PROBE_IMAGES

SIZE = 32  # pixels, height and width
Image = NDArray[np.uint8]
_Field = NDArray[np.float64]


def probe_image(kind: str, secret: bytes, *scope: str) -> Image:
    """A (32, 32, 3) uint8 RGB image of one of the `KINDS`.

    It depends on the secret, the kind and the scope only. The channels show different things, in an order that
    differs from kind to kind, so that a transform that mixes or exchanges channels shows. Raises ValueError for an
    unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no probe image {kind!r}, only {', '.join(KINDS)}")
    text = "/".join(("probe-image", kind, *scope)).encode()
    # NumPy guarantees that RandomState's streams never change: marks must not depend on NumPy's version.
    draws = np.random.RandomState(np.frombuffer(hmac.new(secret, text, hashlib.sha256).digest(), "<u4"))
    channels = KINDS[kind](draws)  # three (32, 32) fields
    return np.stack([channels[i] for i in draws.permutation(3)], axis=2).astype(np.uint8)


def _natural(draws: np.random.RandomState) -> list[_Field]:
    """Asymmetric and photo-like: light from one side, objects, fine texture, channels that resemble one another; and
    pixels from black to white all over it, so that a crop or a grey version shows the full range as well."""
    shared = 0.6 * _ramp(draws) + 0.6 * _smooth(draws, 4) + 0.6 * _smooth(draws, 8) + 0.6 * _texture(draws)
    return [_stretch(shared + 0.3 * _smooth(draws, 6) + 0.2 * _texture(draws)) for _ in range(3)]


def _full_range(draws: np.random.RandomState) -> list[_Field]:
    """Every byte value four times in every channel, scattered differently in each."""
    values = np.repeat(np.arange(256), SIZE * SIZE // 256)
    return [draws.permutation(values).reshape(SIZE, SIZE) for _ in range(3)]


def _dark(draws: np.random.RandomState) -> list[_Field]:
    """Values from 0 to about 60, another ceiling in each channel."""
    return [_stretch(_smooth(draws, 6) + 0.5 * _texture(draws)) * ceiling / 255 for ceiling in (28, 44, 60)]


def _low_contrast(draws: np.random.RandomState) -> list[_Field]:
    """Values in a band of about 24 grey levels, at another height in each channel."""
    return [low + _stretch(_smooth(draws, 6) + 0.5 * _texture(draws)) * 24 / 255 for low in (84, 116, 148)]


def _coarse(draws: np.random.RandomState) -> list[_Field]:
    """Sixteen squares, each of one colour: hardly anything changes from pixel to pixel."""
    side = SIZE // 4
    return [draws.randint(0, 256, (4, 4)).repeat(side, axis=0).repeat(side, axis=1).astype(float) for _ in range(3)]


def _fine(draws: np.random.RandomState) -> list[_Field]:
    """The pixels of such an image in random order: the same colours, and nothing but fine detail."""
    order = draws.permutation(SIZE * SIZE)
    return [field.ravel()[order].reshape(SIZE, SIZE) for field in _coarse(draws)]


def _ramp(draws: np.random.RandomState) -> _Field:
    """Darker to one side and towards the bottom: neither a flip nor a rotation leaves it as it is."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    side = 1 if draws.randint(2) else -1
    return np.asarray(side * columns - 0.6 * rows)


def _smooth(draws: np.random.RandomState, cells: int) -> _Field:
    """A random field with about `cells` hills in each direction, standardised."""
    grid = draws.uniform(-1, 1, (cells + 1, cells + 1))
    place = np.linspace(0, cells, SIZE, endpoint=False)
    corner = place.astype(int)
    part = place - corner
    rows = grid[corner] * (1 - part)[:, None] + grid[corner + 1] * part[:, None]
    field = rows[:, corner] * (1 - part) + rows[:, corner + 1] * part
    return np.asarray((field - field.mean()) / field.std())


def _texture(draws: np.random.RandomState) -> _Field:
    return np.asarray(draws.standard_normal((SIZE, SIZE)))


def _stretch(field: _Field) -> _Field:
    """Scaled to 0..255 so that a tenth of the pixels is black and a tenth white."""
    low, high = np.quantile(field, [0.1, 0.9])
    return np.asarray(np.rint(np.clip((field - low) / (high - low), 0, 1) * 255))


KINDS: dict[str, Callable[[np.random.RandomState], list[_Field]]] = {
    "natural": _natural,
    "full_range": _full_range,
    "dark": _dark,
    "low_contrast": _low_contrast,
}
KINDS |= dict.fromkeys(FINE, _fine) | dict.fromkeys(COARSE, _coarse)
assert tuple(KINDS) == PROBE_IMAGES, "every image that the configuration knows is drawn here"
