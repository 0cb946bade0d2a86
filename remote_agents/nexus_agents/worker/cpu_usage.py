"""CPU use of instances in percent, from counters of CPU time. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping

MIN_SPAN = 5.0  # seconds that a measurement covers at least


class CpuUsage:
    """Percent of one core, averaged over the last few seconds."""

    def __init__(self) -> None:
        self._baselines: dict[str, tuple[float, int]] = {}  # service -> (time, CPU time) at its start
        self._percents: dict[str, float] = {}

    def percents(self, cpu_times: Mapping[str, int], now: float) -> Mapping[str, float]:
        """`cpu_times`: service -> CPU time in ns since its start; negative: not measured."""
        for name in self._baselines.keys() - cpu_times.keys():
            del self._baselines[name]
            self._percents.pop(name, None)
        for name, total in cpu_times.items():
            since, before = self._baselines.get(name, (now, -1))
            if total < 0:
                self._baselines.pop(name, None)
                self._percents.pop(name, None)
            elif before < 0 or total < before:  # new, or restarted
                self._baselines[name] = (now, total)
            elif now - since >= MIN_SPAN:
                self._percents[name] = round((total - before) / 1e7 / (now - since), 1)
                self._baselines[name] = (now, total)
        return dict(self._percents)
