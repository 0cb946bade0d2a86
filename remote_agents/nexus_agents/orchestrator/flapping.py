"""Which workers die and come back again and again. Pure; times are seconds of one clock."""

from __future__ import annotations

from collections.abc import Sequence

DEATHS, WINDOW = 3, 600.0  # a worker flaps after so many deaths within so many seconds
QUIET = 300.0  # seconds after the last death until it no longer flaps
# Deaths to remember. While each follows the last within QUIET, any three in a row lie within WINDOW: older ones do not
# matter.
KEPT_DEATHS = DEATHS + 1


def flapping(deaths: Sequence[float], now: float) -> bool:
    """Three deaths in ten minutes, until five minutes pass without another. `deaths`: times, in any order."""
    times, until = sorted(at for at in deaths if at <= now), float("-inf")
    for number, at in enumerate(times, 1):
        if at < until or (number >= DEATHS and at - times[number - DEATHS] <= WINDOW):
            until = at + QUIET
    return now < until
