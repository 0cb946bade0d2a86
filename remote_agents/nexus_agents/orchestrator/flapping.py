"""Which workers die and come back again and again. Pure; times are seconds of one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DEATHS, WITHIN = 3, 600.0  # that many in that many seconds
SUSPECT_AFTER = 300.0  # seconds after the last death
KEPT = DEATHS + 1  # as long as no two are five minutes apart, any three in a row are within ten: more tell no more


def flapping(deaths: Sequence[float], now: float) -> bool:
    """Three deaths in ten minutes, until five minutes have been quiet. `deaths`: when, in any order."""
    times, until = sorted(at for at in deaths if at <= now), float("-inf")
    for number, at in enumerate(times, 1):
        if at < until or (number >= DEATHS and at - times[number - DEATHS] <= WITHIN):
            until = at + SUSPECT_AFTER
    return now < until


@dataclass(frozen=True, slots=True)
class Flaps:
    """deaths: worker -> when it died, of the last that count. alive: workers that lived when last seen."""

    deaths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    alive: frozenset[str] = frozenset()

    def seen(self, alive: Mapping[str, bool], now: float) -> Flaps:
        """The history after one look. A worker that was dead when first seen has not died before our eyes."""
        died = {w for w in self.alive if not alive.get(w, True)}
        deaths = {w: (*self.deaths.get(w, ()), *([now] if w in died else []))[-KEPT:] for w in alive}
        return Flaps({w: at for w, at in deaths.items() if at}, frozenset(w for w, lives in alive.items() if lives))

    def flapping(self, worker: str, now: float) -> bool:
        return flapping(self.deaths.get(worker, ()), now)
