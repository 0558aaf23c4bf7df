"""How a student's test transform normalises: one scale and one shift per channel, recovered from what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autograder.core.probes import TEXTURES
from autograder.judging.evidence import Samples

# A quarter of a grey level, as a part of the channel's scale. Rounding to half precision moves a normalised value by at
# most an eighth of a level; whatever mixes pixels, or maps bytes along a curve, misses by whole levels.
TOLERANCE = 0.25 / 255
LEAST_SCALE = 1e-6  # per unit of x/255; below it the transform throws the image away
_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Normalisation:
    """What the transform does to a pixel x (0..255) of channel c: `x / 255 * scale[c] + shift[c]`."""

    scale: tuple[float, float, float]
    shift: tuple[float, float, float]

    def describe(self) -> str:
        """For a report: mean and standard deviation as torchvision's Normalize names them."""
        std = [1 / s for s in self.scale]
        mean = [-b / s for s, b in zip(self.scale, self.shift, strict=True)]
        return f"mean {_numbers(mean)}, std {_numbers(std)}"


DEFAULT = Normalisation((2.0, 2.0, 2.0), (-1.0, -1.0, -1.0))  # mean 0.5 and std 0.5, where there is no transform


class NotANormalisation(ValueError):
    """The transform is no single scale and shift per channel; the message is for the student."""


def recover_normalisation(name: str, samples: Mapping[str, Samples]) -> Normalisation:
    """The scale and shift that turn every probe image into what the transform returned for it.

    `samples` must hold the probe image "full_range", from which they are taken (by least squares over all byte values);
    they are then verified on every probe image, but for those that show textures: of one output each, none may be
    without a random flip. Raises NotANormalisation, which says what the
    transform does instead as far as that can be told. Evidence with a problem must have been dealt with before.
    """
    samples = {kind: sample for kind, sample in samples.items() if kind not in TEXTURES}
    drawn = {kind: _outputs(name, sample) for kind, sample in samples.items()}
    pixels = {kind: _pixels(sample) for kind, sample in samples.items()}
    if not all(np.isfinite(output).all() for outputs in drawn.values() for output in outputs):
        raise NotANormalisation(f"`{name}` gives NaN or infinite values")
    # That a transform flips at random is another check's matter; an unflipped draw shows how it normalises.
    plain = next((y for y in drawn["full_range"] if _fits_itself(pixels["full_range"], y)), drawn["full_range"][0])
    scale, shift = _fit(pixels["full_range"], plain)
    if np.abs(scale).min() < LEAST_SCALE:
        raise NotANormalisation(f"`{name}` gives the same value for every pixel: the image is lost")
    if all(any(_fits(pixels[kind], y, scale, shift) for y in outputs) for kind, outputs in drawn.items()):
        return Normalisation(_triple(scale), _triple(shift))
    if any(not np.array_equal(outputs[0], other) for outputs in drawn.values() for other in outputs[1:]):
        raise NotANormalisation(f"`{name}` varies: the same image gives different results, so the accuracy would, too")
    reason = _explain({kind: (pixels[kind], outputs[0]) for kind, outputs in drawn.items()})
    raise NotANormalisation(f"`{name}` {reason}; expected one scale and one shift per channel, nothing else")


def _outputs(name: str, sample: Samples) -> list[_Array]:
    """All outputs as (3, 32, 32) float64. Raises NotANormalisation for another type or shape."""
    height, width = sample.image.shape[:2]
    arrays = []
    for output in sample.outputs:
        if output.type != "tensor":
            found = output.type or "something else"
            raise NotANormalisation(f"`{name}` must give a tensor, it gives {found}: add v2.ToImage() and v2.ToDtype")
        if output.shape != (3, height, width) or output.array is None:
            why = " (greyscale?)" if output.shape == (1, height, width) else ""
            raise NotANormalisation(
                f"`{name}` must keep the image's shape: expected (3, {height}, {width}), got {output.shape}{why}"
            )
        arrays.append(output.array.astype(np.float64))
    return arrays


def _pixels(sample: Samples) -> _Array:
    """The probe image as (3, H, W) in 0..1."""
    pixels: _Array = sample.image.transpose(2, 0, 1).astype(np.float64) / 255
    return pixels


def _fit(x: _Array, y: _Array) -> tuple[_Array, _Array]:
    """Least squares per channel: y = scale * x + shift."""
    x, y = x.reshape(3, -1), y.reshape(3, -1)
    centred = x - x.mean(axis=1, keepdims=True)
    scale = (centred * y).sum(axis=1) / np.maximum((centred**2).sum(axis=1), 1e-12)
    return scale, y.mean(axis=1) - scale * x.mean(axis=1)


def _fits(x: _Array, y: _Array, scale: _Array, shift: _Array) -> bool:
    error = np.abs(y - (x * scale[:, None, None] + shift[:, None, None]))
    # Where the shift is large, float32 itself rounds by more than a fraction of the scale.
    rounding = 1e-6 * (np.abs(scale) + np.abs(shift))
    return bool((error <= (TOLERANCE * np.abs(scale) + rounding)[:, None, None]).all())


def _fits_itself(x: _Array, y: _Array) -> bool:
    return _fits(x, y, *_fit(x, y))


def _explain(pairs: Mapping[str, tuple[_Array, _Array]]) -> str:
    """In a few words, what a transform does that is no normalisation."""
    if all(_fits_itself(x, y) for x, y in pairs.values()):
        return "normalises each image by its own values (its mean, spread or range), so the scale is another each time"
    turned: dict[str, Callable[[_Array], _Array]] = {
        "mirrors the image": lambda x: x[:, :, ::-1],
        "turns the image upside down": lambda x: x[:, ::-1],
        "rotates the image by 180°": lambda x: x[:, ::-1, ::-1],
        "exchanges height and width": lambda x: x.transpose(0, 2, 1),
        "exchanges the colour channels (RGB and BGR)": lambda x: x[::-1],
    }
    for what, turn in turned.items():
        if all(_fits_itself(turn(x), y) for x, y in pairs.values()):
            return what
    if all(_mixes_channels(x, y) for x, y in pairs.values()):
        return "mixes the colour channels (greyscale, hue or saturation)"
    if all(_is_pointwise(x, y) for x, y in pairs.values()):
        return "maps brightness along a curve (gamma, contrast, solarise, posterise) instead of a straight line"
    return "changes more than brightness: a pixel of the result depends on other pixels (resize, crop, blur, erase, …)"


def _mixes_channels(x: _Array, y: _Array) -> bool:
    """Whether each output channel is one linear combination of the three input channels of the same pixel."""
    inputs = np.concatenate([x.reshape(3, -1), np.ones((1, x[0].size))])
    weights, *_ = np.linalg.lstsq(inputs.T, y.reshape(3, -1).T, rcond=None)
    error = np.abs(inputs.T @ weights - y.reshape(3, -1).T).max()
    # Greyscale is rounded to whole grey levels before it is normalised.
    return bool(error <= 1.5 / 255 * np.abs(weights[:3]).sum(axis=0).max())


def _is_pointwise(x: _Array, y: _Array) -> bool:
    """Whether, within the image, equal input values of a channel give equal outputs."""
    for channel_in, channel_out in zip(x.reshape(3, -1), y.reshape(3, -1), strict=True):
        spread = max(float(np.ptp(channel_out)), 1e-12)
        for value in np.unique(channel_in):
            if np.ptp(channel_out[channel_in == value]) > 1e-3 * spread:
                return False
    return True


def _triple(values: _Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
