"""All autoscaled services together: their numbers of replicas, from what the workers report. Pure: time comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .autoscale import Limits, Scale, step
from .placement_model import Worker

Specs = Mapping[str, Mapping[str, Any]]


class Autoscaler:
    """One number a service, kept in the KV store, so that a new primary goes on from it."""

    def __init__(self) -> None:
        self._scales: dict[str, Scale] = {}

    def load(self, kept: Any) -> None:
        """From the KV store's SCALES; the clocks begin anew."""
        found = kept if isinstance(kept, dict) else {}
        self._scales = {str(name): Scale(int(count)) for name, count in found.items()}

    def dump(self) -> dict[str, int]:
        """For SCALES."""
        return {name: scale.count for name, scale in self._scales.items()}

    def counts(self, specs: Specs, reports: Mapping[str, Specs], at: float) -> tuple[dict[str, int], dict[str, str]]:
        """Service -> replicas, of those with limits; and why, for each that changed just now."""
        news = {}
        wanted = {n: s["replicas"] for n, s in specs.items() if s["replicas"]["cpu"] is not None}
        for name in self._scales.keys() - wanted.keys():
            del self._scales[name]
        for name, given in wanted.items():
            limits = Limits(given["min"], given["max"], float(given["cpu"]))
            before = self._scales.get(name) or Scale(limits.min)
            self._scales[name], why = step(before, limits, measured(name, reports), at)
            if why:
                news[name] = f"{name}: {why}"
        return self.dump(), news


def countable_reports(
    reports: Mapping[str, Specs], workers: Mapping[str, Worker], orders: Mapping[str, Specs]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Whose CPU counts: instances on live workers that are to run there. A dead worker's last word stays in the store."""
    return {
        host: {name: said for name, said in services.items() if name in orders.get(host, {})}
        for host, services in reports.items() if host in workers and workers[host].alive
    }  # fmt: skip


def measured(name: str, reports: Mapping[str, Specs]) -> list[float]:
    """The CPU of the instances that run, in percent of one core."""
    said = [services[name] for services in reports.values() if name in services]
    return [float(s["cpu"]) for s in said if s.get("state") == "running" and s.get("cpu") is not None]
