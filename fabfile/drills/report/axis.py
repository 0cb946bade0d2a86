"""Axes of the pictures: values to pixels, and the positions of the ticks. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MIN_MS = 0.1  # anything faster is drawn here: a log scale has no 0


@dataclass(frozen=True, slots=True)
class Axis:
    """Linear: `start` (at pixel `left`) to `end` (at pixel `right`)."""

    start: float
    end: float
    left: float
    right: float

    def px(self, value: float) -> float:
        """Values outside are drawn at the nearer end."""
        share = (value - self.start) / ((self.end - self.start) or 1)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def contains(self, value: float) -> bool:
        return self.start <= value <= self.end

    def step(self, min_px: float) -> float:
        """The smallest of 1, 2, 5, 10, … that is at least `min_px` pixels wide."""
        return round_step((self.end - self.start) * min_px / (abs(self.right - self.left) or 1))

    def ticks(self, min_px: float) -> tuple[tuple[float, str], ...]:
        """(pixel, label) of round values, at least `min_px` pixels apart."""
        step = self.step(min_px)
        first, last = math.ceil(self.start / step - 1e-9), math.floor(self.end / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step)))
        return tuple((self.px(n * step), f"{n * step:,.{digits}f}") for n in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class LogAxis:
    """Whole decades of milliseconds: 10**low at pixel `bottom`, 10**high at pixel `top`."""

    low: int
    high: int
    top: float
    bottom: float

    def px(self, ms: float) -> float:
        share = (math.log10(max(ms, _MIN_MS)) - self.low) / (self.high - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)

    def ticks(self, min_px: float) -> tuple[tuple[float, str], ...]:
        """(pixel, label) of decades, from below."""
        every = max(1, math.ceil(min_px * (self.high - self.low) / (self.bottom - self.top)))
        return tuple((self.px(10.0**n), _decade(n)) for n in range(self.low, self.high + 1, every))


def log_axis(min_ms: float, max_ms: float, top: float, bottom: float) -> LogAxis:
    """From `min_ms` to `max_ms`, and at least two decades, so that noise does not look like a signal."""
    low = math.floor(math.log10(max(min_ms, _MIN_MS)))
    high = math.ceil(math.log10(max(max_ms, _MIN_MS)))
    return LogAxis(low, max(high, low + 2), top, bottom)


def round_step(minimum: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is at least `minimum`; never below 1e-3."""
    power = 10.0 ** math.floor(math.log10(max(minimum, 1e-3)))
    return next(power * f for f in (1, 2, 5, 10, 20) if power * f >= minimum * (1 - 1e-9))


def _decade(power: int) -> str:
    return f"{10.0**power:g} ms" if power < 3 else f"{10.0 ** (power - 3):,.0f} s"
