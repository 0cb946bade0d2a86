"""From values to pixels, and where the ticks stand. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_LEAST_MS = 0.1  # what took less is drawn as that: a log scale has no 0


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

    def holds(self, value: float) -> bool:
        return self.start <= value <= self.end

    def step(self, apart: float) -> float:
        """The smallest of 1, 2, 5, 10, … that is at least `apart` pixels wide."""
        return nice((self.end - self.start) * apart / (abs(self.right - self.left) or 1))

    def ticks(self, apart: float) -> tuple[tuple[float, str], ...]:
        """(pixel, words) of round values, at least `apart` pixels from each other."""
        step = self.step(apart)
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
        share = (math.log10(max(ms, _LEAST_MS)) - self.low) / (self.high - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)

    def ticks(self, apart: float) -> tuple[tuple[float, str], ...]:
        """(pixel, words) of decades, from below."""
        each = max(1, math.ceil(apart * (self.high - self.low) / (self.bottom - self.top)))
        return tuple((self.px(10.0**n), _decade(n)) for n in range(self.low, self.high + 1, each))


def log_axis(least: float, most: float, top: float, bottom: float) -> LogAxis:
    """Holds all from `least` to `most` ms; two decades or more, lest noise look like a signal."""
    low = math.floor(math.log10(max(least, _LEAST_MS)))
    high = math.ceil(math.log10(max(most, _LEAST_MS)))
    return LogAxis(low, max(high, low + 2), top, bottom)


def nice(least: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is at least that; 1e-3 and more."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-3)))
    return next(power * f for f in (1, 2, 5, 10, 20) if power * f >= least * (1 - 1e-9))


def _decade(power: int) -> str:
    return f"{10.0**power:g} ms" if power < 3 else f"{10.0 ** (power - 3):,.0f} s"
