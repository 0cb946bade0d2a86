"""Samples and what is told of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one whole process. Seconds; MB are 10^6 bytes.

    cpu:    user and system time of the process and of every child that it waited for
    user:   the user part of it
    memory: resident set of the largest single process among them, at its peak
    """

    wall: float
    cpu: float
    user: float
    memory: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Of several runs: the middle one and both ends."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """ValueError when there are no values."""
    if not values:
        raise ValueError("no runs to tell of")
    return Spread(median(values), min(values), max(values))


def walls(samples: Sequence[Sample]) -> list[float]:
    return [s.wall for s in samples]


def ratio(others: Sequence[Sample], ours: Sequence[Sample]) -> Spread:
    """How many times longer the others took, round by round: what slows a whole round cancels out."""
    return spread([other.wall / own.wall for other, own in zip(others, ours, strict=True)])
