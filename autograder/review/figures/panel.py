"""The plotting area of a chart: from values to pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A plotting area in pixels, and the values at its edges."""

    left: float
    top: float
    width: float
    height: float
    low: float
    high: float
    first: float
    last: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def base(self) -> float:
        """Where the horizontal axis lies."""
        return self.top + self.height

    def x(self, value: float) -> float:
        return self.left + self.width * (value - self.first) / ((self.last - self.first) or 1)

    def y(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / ((self.high - self.low) or 1)
