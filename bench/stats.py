"""Samples of runs and their statistics: spread and ratio. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one whole process. Seconds; MB are 10^6 bytes.

    cpu:    user and system time of the process and of all children that it waited for
    user:   the user part of that
    memory: peak resident set of the largest single process among them
    """

    wall: float
    cpu: float
    user: float
    memory: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest value of several runs."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """ValueError when there are no values."""
    if not values:
        raise ValueError("no runs were measured")
    return Spread(median(values), min(values), max(values))


def wall_times(samples: Sequence[Sample]) -> list[float]:
    return [s.wall for s in samples]


def ratio(others: Sequence[Sample], ours: Sequence[Sample]) -> Spread:
    """How many times longer the others took, round by round: what slows a whole round cancels out."""
    return spread([other.wall / our.wall for other, our in zip(others, ours, strict=True)])
