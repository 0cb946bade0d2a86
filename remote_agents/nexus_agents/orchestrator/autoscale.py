"""How many replicas one service should have by its measured CPU. Pure; with hysteresis, so that no load makes it swing.

CPU is in percent of one core. Times are seconds of one host's own clock, so a new primary starts without timers:
Scale(count).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Of the desired CPU: grow above, shrink below, and shrink only if the remaining instances then stay below the last one.
GROW_ABOVE, SHRINK_BELOW, SHRINK_CEILING = 1.1, 0.6, 0.9
GROW_AFTER, SHRINK_AFTER = 15.0, 60.0  # seconds without interruption
COOLDOWN = 20.0  # seconds between two changes: a new instance has to show in the average first


@dataclass(frozen=True, slots=True)
class Limits:
    """cpu: what an instance should use, on average; None where only the number is limited."""

    min: int
    max: int
    cpu: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    """high_since, low_since: since when the average is beyond its threshold. changed_at: last change of `count`."""

    count: int
    high_since: float | None = None
    low_since: float | None = None
    changed_at: float | None = None


def step(scale: Scale, limits: Limits, cpus: Sequence[float], now: float) -> tuple[Scale, str | None]:
    """The new scale, and the reason as a sentence where `count` changes. `cpus`: of the running, measured instances."""
    clamped = min(max(scale.count, limits.min), limits.max)
    if clamped != scale.count:
        return _changed(scale, clamped, now, f"outside of {limits.min} to {limits.max}")
    if not cpus or limits.cpu is None:
        return replace(scale, high_since=None, low_since=None), None
    average = sum(cpus) / len(cpus)
    timed = replace(
        scale,
        high_since=_since(scale.high_since, average > limits.cpu * GROW_ABOVE, now),
        low_since=_since(scale.low_since, average < limits.cpu * SHRINK_BELOW, now),
    )
    if scale.changed_at is not None and now - scale.changed_at < COOLDOWN:
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
        # `count` includes instances that do not run yet: they will take their share of the sum
        return min(limits.max, max(count, math.ceil(sum(cpus) / cpu)))
    if scale.low_since is None or now - scale.low_since < SHRINK_AFTER or count <= max(1, limits.min):
        return count  # never down to zero: nothing would be left to measure
    return count - 1 if average * count / (count - 1) < cpu * SHRINK_CEILING else count


def _changed(scale: Scale, count: int, now: float, why: str) -> tuple[Scale, str]:
    return Scale(count, changed_at=now), f"{scale.count} to {count} replicas: {why}"
