"""What the worker tells the managers of its services: wire.REPORT, and the thread that writes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from ..shared import kv_schema
from ..shared.consul_api import Consul, ConsulError
from .instance_steps import Evaluation, Unit

REPORT_EVERY = 10.0  # seconds; at once when a state changes


def service_reports(
    found: Mapping[str, Evaluation], units: Mapping[str, Unit], cpus: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """The services of wire.REPORT."""
    services = {}
    for name, verdict in found.items():
        unit = units.get(name)
        if unit is None and verdict.state == "stopped":
            continue
        services[name] = {
            "revision": unit.revision if unit else None, "state": verdict.state, "cpu": cpus.get(name),
            "restarts": unit.restarts if unit else 0, "note": verdict.note,
        }  # fmt: skip
    return services


class Reporter(threading.Thread):
    """Writes this worker's report into the KV store: at once when a state is new, else now and then. Never waited for."""

    def __init__(self, consul: Consul, host: str) -> None:
        super().__init__(name="reporter", daemon=True)
        self._consul, self._host = consul.again(), host
        self._due = threading.Event()
        self._report: dict[str, Any] = {}
        self._states: object = None

    def tell(self, report: dict[str, Any]) -> None:
        self._report = report
        states = (report["epoch"], {n: (s["state"], s["revision"]) for n, s in report["services"].items()})
        if states != self._states:
            self._states = states
            self._due.set()

    def run(self) -> None:
        while True:
            self._due.wait(REPORT_EVERY)
            self._due.clear()
            try:
                at = {"at": round(time.time(), 1)}
                self._consul.put(f"/v1/kv/{kv_schema.report_key(self._host)}", {**self._report, **at}, timeout=8.0)
            except ConsulError:
                time.sleep(1.0)
                self._due.set()
