"""Replica counts of all autoscaled services, from the workers' reports. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .autoscale import Limits, Scale, step
from .placement_model import Worker

Specs = Mapping[str, Mapping[str, Any]]


class Autoscaler:
    """One count a service. The KV store keeps the counts, so a new primary continues from them."""

    def __init__(self) -> None:
        self._scales: dict[str, Scale] = {}

    def load(self, stored: Any) -> None:
        """From the value of SCALES; all timers start anew."""
        counts = stored if isinstance(stored, dict) else {}
        self._scales = {str(name): Scale(int(count)) for name, count in counts.items()}

    def dump(self) -> dict[str, int]:
        """The value for SCALES."""
        return {name: scale.count for name, scale in self._scales.items()}

    def update(self, specs: Specs, reports: Mapping[str, Specs], now: float) -> tuple[dict[str, int], dict[str, str]]:
        """Service -> replicas, of the autoscaled ones; and service -> reason, where the count has just changed."""
        changes = {}
        scaled = {n: s["replicas"] for n, s in specs.items() if s["replicas"]["cpu"] is not None}
        for name in self._scales.keys() - scaled.keys():
            del self._scales[name]
        for name, replicas in scaled.items():
            limits = Limits(replicas["min"], replicas["max"], float(replicas["cpu"]))
            before = self._scales.get(name) or Scale(limits.min)
            self._scales[name], why = step(before, limits, measured_cpus(name, reports), now)
            if why:
                changes[name] = f"{name}: {why}"
        return self.dump(), changes


def countable_reports(
    reports: Mapping[str, Specs], workers: Mapping[str, Worker], orders: Mapping[str, Specs]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The reports of live workers, reduced to ordered services. A dead worker's last report stays in the store."""
    return {
        host: {name: report for name, report in services.items() if name in orders.get(host, {})}
        for host, services in reports.items() if host in workers and workers[host].alive
    }  # fmt: skip


def measured_cpus(name: str, reports: Mapping[str, Specs]) -> list[float]:
    """The CPU of this service's running instances, in percent of one core."""
    instances = [services[name] for services in reports.values() if name in services]
    return [float(i["cpu"]) for i in instances if i.get("state") == "running" and i.get("cpu") is not None]
