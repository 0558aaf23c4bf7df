"""The built-in offline data set: ten classes of drawn shapes and textures, rendered by code, shaped like CIFAR-10.

The images are the same, bit for bit, on every computer: the draws are PCG64's raw 64-bit words, whose stream NumPy
guarantees, and they are turned into pixels by element-wise +, -, *, / and square roots only, which IEEE 754 rounds
in one way. Nothing here calls sine, a matrix product or a sum over an array, whose last bit depends on the platform.

The class is the shape and nothing else. Colours, background, clutter, position, size, rotation, proportions, lighting
and noise are drawn alike for all ten, and every shape stays in its class when it is mirrored or moved by 4 pixels.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CLASSES = ("disc", "ring", "square", "triangle", "cross", "star", "crescent", "heart", "stripes", "checkers")
TRAIN_IMAGES = 10_000
TEST_IMAGES = 2_000

_SIZE = 32  # pixels, height and width
_SEEDS = {"train": 20_240, "test": 20_241}
# Images are rendered a batch at a time, each batch from a seed of its own: the first images of a split do not depend
# on how many are asked for.
_BATCH = 500

_Floats = NDArray[np.float32]


def render(split: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `count` images of a split and their labels.

    Returns images (count, 3, 32, 32) uint8, RGB, and labels (count,) int64, indices into `CLASSES`. Every 500 images
    hold each class 50 times, in random order. Raises ValueError for a split other than "train" and "test", or for a
    count below 1.
    """
    if split not in _SEEDS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    batches = [_render_batch(_Draws(_SEEDS[split], number)) for number in range(-(-count // _BATCH))]
    images = np.concatenate([images for images, _ in batches])[:count]
    labels = np.concatenate([labels for _, labels in batches])[:count]
    return images, labels


def render_all() -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Both splits in full: {"train": (10,000 images, labels), "test": (2,000 images, labels)}."""
    return {"train": render("train", TRAIN_IMAGES), "test": render("test", TEST_IMAGES)}


class _Draws:
    """A stream of random numbers that is the same for every NumPy version."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def words(self, count: int) -> NDArray[np.uint64]:
        return self._bits.random_raw(count)

    def uniform(self, low: float, high: float, *shape: int) -> _Floats:
        """Numbers in [low, high): 24 bits each, as many as a float32 holds exactly."""
        unit = (self.words(int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return (unit * np.float32(high - low) + np.float32(low)).reshape(shape)

    def noise(self, *shape: int) -> _Floats:
        """Bell-shaped numbers with mean 0 and standard deviation about 1: the sum of four bytes, scaled."""
        count = int(np.prod(shape))
        quads = self.words(-(-count // 2)).astype("<u8").view(np.uint8).reshape(-1, 4).astype(np.int16)
        total = quads[:, 0] + quads[:, 1] + quads[:, 2] + quads[:, 3]  # mean 510, standard deviation 147.8
        return ((total[:count] - 510) / np.float32(147.8)).reshape(shape)


def _render_batch(draws: _Draws) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One batch of images (500, 3, 32, 32) and labels (500,)."""
    labels = (np.argsort(draws.words(_BATCH), kind="stable") % len(CLASSES)).astype(np.int64)
    canvas, mean_colour = _background(draws)
    for _ in range(3):
        canvas = _add_clutter(canvas, draws, sizes=(1.0, 3.0))
    x, y, scale = _coordinates(draws, radii=(7.0, 12.0), jitter=4.5, turn=0.4, stretch=0.35)
    inside = np.empty_like(x)
    for label, shape in enumerate(_SHAPES):
        chosen = labels == label
        inside[chosen] = shape(x[chosen], y[chosen])
    cover = _coverage(inside, scale)
    canvas = _blend(canvas, _surface(draws, mean_colour, x, y), cover)
    canvas = _add_clutter(canvas, draws, sizes=(1.0, 2.5))  # one thing stands in front
    canvas = canvas + draws.noise(_BATCH, 3, _SIZE, _SIZE) * draws.uniform(0.02, 0.10, _BATCH, 1, 1, 1)
    images = np.floor(np.clip(canvas, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return images, labels


def _coordinates(
    draws: _Draws, radii: tuple[float, float], jitter: float, turn: float, stretch: float
) -> tuple[_Floats, _Floats, _Floats]:
    """Each pixel's place (x, y) in the frame of a moved, rotated and stretched object, (500, 32, 32) each, in units of
    the object's radius, and that radius in pixels (500, 1, 1)."""
    per_image = (_BATCH, 1, 1)
    axis = np.arange(_SIZE, dtype=np.float32) - np.float32((_SIZE - 1) / 2)
    column = axis[None, None, :] - draws.uniform(-jitter, jitter, *per_image)
    row = axis[None, :, None] - draws.uniform(-jitter, jitter, *per_image)
    # A point on the unit circle by rational parametrisation, since sine and cosine differ between platforms;
    # t is the tangent of half the angle: 0.4 turns by up to 44 degrees to either side, 1 by up to 90.
    t = draws.uniform(-turn, turn, *per_image)
    cosine = (1 - t * t) / (1 + t * t)
    sine = 2 * t / (1 + t * t)
    scale = draws.uniform(*radii, *per_image)
    narrowing = 1 + draws.uniform(0, stretch, *per_image)
    x = (column * cosine + row * sine) / scale * narrowing
    y = (row * cosine - column * sine) / scale
    return x, y, scale


def _coverage(inside: _Floats, scale: _Floats) -> _Floats:
    """How much of each pixel an object covers, 0 to 1, from the depth inside it (in radii): softens the outline."""
    return np.clip(inside * scale + np.float32(0.5), 0, 1)


def _blend(canvas: _Floats, paint: _Floats, cover: _Floats) -> _Floats:
    """Paint (N, 3, 32, 32) or (N, 3, 1, 1) laid over the canvas (N, 3, 32, 32) where cover (N, 32, 32) says so."""
    return canvas + (paint - canvas) * cover[:, None]


def _smooth_field(draws: _Draws, cells: int) -> _Floats:
    """Random fields (500, 32, 32) in [0, 1): a coarse random grid, interpolated linearly."""
    grid = draws.uniform(0, 1, _BATCH, cells + 1, cells + 1)
    place = np.arange(_SIZE, dtype=np.float32) * np.float32(cells / _SIZE)
    corner = place.astype(np.int64)
    part = place - corner.astype(np.float32)
    rows = grid[:, corner] * (1 - part)[:, None] + grid[:, corner + 1] * part[:, None]
    return rows[:, :, corner] * (1 - part) + rows[:, :, corner + 1] * part


def _background(draws: _Draws) -> tuple[_Floats, _Floats]:
    """Backgrounds (500, 3, 32, 32) that run from one colour to another along a smooth field, and their mean colours."""
    first, second = draws.uniform(0, 0.65, _BATCH, 3, 1, 1), draws.uniform(0, 0.65, _BATCH, 3, 1, 1)
    second = first + (second - first) * np.float32(0.6)
    mix = _smooth_field(draws, 2) * np.float32(0.7) + _smooth_field(draws, 8) * np.float32(0.3)
    return first + (second - first) * mix[:, None], (first + second) / 2


def _surface(draws: _Draws, mean_colour: _Floats, x: _Floats, y: _Floats) -> _Floats:
    """What objects are painted with, (500, 3, 32, 32): a colour that stands out, light from one side, a faint grain."""
    colour = draws.uniform(0.35, 1, _BATCH, 3, 1, 1)
    difference = colour - mean_colour
    distance = np.abs(difference[:, :1]) + np.abs(difference[:, 1:2]) + np.abs(difference[:, 2:])
    # Colours that come too close to the background are moved away from it, to a distance of 0.4 (of 3 possible).
    wanted = np.maximum(distance, np.float32(0.4))
    colour = mean_colour + difference * wanted / (distance + np.float32(1e-3))
    light = x * draws.uniform(-0.15, 0.15, _BATCH, 1, 1) + y * draws.uniform(-0.15, 0.15, _BATCH, 1, 1)
    grain = (_smooth_field(draws, 8) - np.float32(0.5)) * np.float32(0.3)
    return colour + np.clip(light, -0.3, 0.3)[:, None] + grain[:, None]


def _add_clutter(canvas: _Floats, draws: _Draws, sizes: tuple[float, float]) -> _Floats:
    """The canvas with one small blot or bar of any colour added to every image, more or less see-through."""
    x, y, scale = _coordinates(draws, radii=sizes, jitter=15, turn=1, stretch=0.5)
    length = draws.uniform(1, 5, _BATCH, 1, 1)
    cover = _coverage(np.minimum(1 - np.abs(x), length - np.abs(y)), scale) * draws.uniform(0.3, 1, _BATCH, 1, 1)
    return _blend(canvas, draws.uniform(0, 1, _BATCH, 3, 1, 1), cover)


# The shapes: how deep a point (x, y) lies inside, in units of the object's radius; negative outside.


def _length(x: _Floats, y: _Floats) -> _Floats:
    return np.sqrt(x * x + y * y)


def _wave(x: _Floats) -> _Floats:
    """A triangle wave of period 1 between -0.25 and 0.25: positive in one half of the period, negative in the other."""
    return np.float32(0.25) - np.abs(x - np.floor(x) - np.float32(0.5))


def _disc(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.85) - _length(x, y)


def _ring(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.2) - np.abs(_length(x, y) - np.float32(0.72))


def _square(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.75) - np.maximum(np.abs(x), np.abs(y))


def _triangle(x: _Floats, y: _Floats) -> _Floats:
    return np.float32(0.55) - np.maximum(-y, np.abs(x) * np.float32(0.866) + y * np.float32(0.5))


def _cross(x: _Floats, y: _Floats) -> _Floats:
    across, along = np.abs(x), np.abs(y)
    arm, half = np.float32(0.95), np.float32(0.28)
    return np.maximum(np.minimum(arm - across, half - along), np.minimum(arm - along, half - across))


def _star(x: _Floats, y: _Floats) -> _Floats:
    """A pentagram: the points on the inner side of at least four of the lines through its five edges."""
    normals = ((0.0, -1.0), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309))
    depths = [np.float32(0.38) - x * np.float32(across) - y * np.float32(down) for across, down in normals]
    return np.sort(np.stack(depths), axis=0)[1]


def _crescent(x: _Floats, y: _Floats) -> _Floats:
    return np.minimum(np.float32(0.9) - _length(x, y), _length(x - np.float32(0.5), y) - np.float32(0.68))


def _heart(x: _Floats, y: _Floats) -> _Floats:
    """A square that stands on a corner, with a disc on each of its two upper edges."""
    across, down = np.abs(x), y + np.float32(0.1)
    square = (np.float32(0.8) - across - np.abs(down)) * np.float32(0.707)
    discs = np.float32(0.566) - _length(across - np.float32(0.4), down + np.float32(0.4))
    return np.maximum(square, discs)


def _stripes(x: _Floats, y: _Floats) -> _Floats:
    return np.minimum(np.float32(0.9) - _length(x, y), _wave(x * np.float32(1.6)) / np.float32(1.6))


def _checkers(x: _Floats, y: _Floats) -> _Floats:
    product = _wave(x * np.float32(1.2)) * _wave(y * np.float32(1.2))
    return np.minimum(np.float32(0.9) - _length(x, y), product * np.float32(4))


_SHAPES: tuple[Callable[[_Floats, _Floats], _Floats], ...] = (
    _disc, _ring, _square, _triangle, _cross, _star, _crescent, _heart, _stripes, _checkers,
)  # fmt: skip
