"""CPU use of instances, from systemd's counters. Pure: time comes in."""

from __future__ import annotations

from collections.abc import Mapping

SPAN = 5.0  # seconds that a measurement covers at least


class CpuUsage:
    """Percent of one core, averaged over the last few seconds."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[float, int]] = {}
        self._found: dict[str, float] = {}

    def percents(self, used: Mapping[str, int], at: float) -> Mapping[str, float]:
        """`used`: service -> CPU time in ns since its start; negative: not measured."""
        for name in self._marks.keys() - used.keys():
            del self._marks[name]
            self._found.pop(name, None)
        for name, total in used.items():
            since, before = self._marks.get(name, (at, -1))
            if total < 0:
                self._marks.pop(name, None)
                self._found.pop(name, None)
            elif before < 0 or total < before:  # new, or started again
                self._marks[name] = (at, total)
            elif at - since >= SPAN:
                self._found[name] = round((total - before) / 1e7 / (at - since), 1)
                self._marks[name] = (at, total)
        return dict(self._found)
