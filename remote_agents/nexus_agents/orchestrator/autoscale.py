"""How many replicas a service should have by its measured CPU. Pure; hysteresis, so that no load makes it swing.

CPU is in percent of one core; times are seconds of one clock, which no host shares with another. So a new primary
begins with quiet clocks: Scale(count).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

HIGH, LOW, ROOM = 1.1, 0.6, 0.9  # of the wanted CPU: grow above, shrink below, and only if it then stays below
GROW_AFTER, SHRINK_AFTER = 15.0, 60.0  # seconds without interruption
REST = 20.0  # seconds between two changes: a new instance has to show in the average first


@dataclass(frozen=True, slots=True)
class Limits:
    """cpu: what an instance should use, on average; None where only the number is limited."""

    min: int
    max: int
    cpu: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    """high_since, low_since: since when the average is above or below what is wanted. changed_at: of `count`."""

    count: int
    high_since: float | None = None
    low_since: float | None = None
    changed_at: float | None = None


def step(scale: Scale, limits: Limits, cpus: Sequence[float], now: float) -> tuple[Scale, str | None]:
    """The scale now, and where `count` changed, why: a sentence. `cpus`: the measured instances, those that run."""
    held = min(max(scale.count, limits.min), limits.max)
    if held != scale.count:
        return _changed(scale, held, now, f"outside of {limits.min} to {limits.max}")
    if not cpus or limits.cpu is None:
        return replace(scale, high_since=None, low_since=None), None
    average = sum(cpus) / len(cpus)
    timed = replace(
        scale,
        high_since=_since(scale.high_since, average > limits.cpu * HIGH, now),
        low_since=_since(scale.low_since, average < limits.cpu * LOW, now),
    )
    if scale.changed_at is not None and now - scale.changed_at < REST:
        return timed, None
    target = _target(timed, limits, limits.cpu, cpus, now)
    if target == scale.count:
        return timed, None
    side, seconds = ("above", GROW_AFTER) if target > scale.count else ("far below", SHRINK_AFTER)
    return _changed(timed, target, now, f"CPU {average:.0f}%, {side} {limits.cpu:g}% for {seconds:.0f} s")


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _target(scale: Scale, limits: Limits, cpu: float, cpus: Sequence[float], now: float) -> int:
    count, average = scale.count, sum(cpus) / len(cpus)
    if scale.high_since is not None and now - scale.high_since >= GROW_AFTER:
        # what is asked for and does not run yet will take its share
        return min(limits.max, max(count, math.ceil(sum(cpus) / cpu)))
    if scale.low_since is None or now - scale.low_since < SHRINK_AFTER or count <= max(1, limits.min):
        return count  # never to none at all: nothing would be left to measure
    return count - 1 if average * count / (count - 1) < cpu * ROOM else count


def _changed(scale: Scale, count: int, now: float, why: str) -> tuple[Scale, str]:
    return Scale(count, changed_at=now), f"{scale.count} to {count} replicas: {why}"
