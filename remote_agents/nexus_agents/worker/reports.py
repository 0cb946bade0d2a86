"""The worker's report to the managers: builds kv_schema.REPORT, and writes it in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from ..shared import kv_schema
from ..shared.consul_api import Consul, ConsulError
from .instance_steps import Evaluation, Unit

REPORT_INTERVAL = 10.0  # seconds; at once when a state changes
RETRY_DELAY = 1.0  # seconds after a failure


def service_reports(
    evaluations: Mapping[str, Evaluation], units: Mapping[str, Unit], cpus: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """The services of kv_schema.REPORT."""
    services = {}
    for name, evaluation in evaluations.items():
        unit = units.get(name)
        if unit is None and evaluation.state == "stopped":
            continue
        services[name] = {
            "revision": unit.revision if unit else None, "state": evaluation.state, "cpu": cpus.get(name),
            "restarts": unit.restarts if unit else 0,
            "failures": evaluation.history.failures, "note": evaluation.note,
        }  # fmt: skip
    return services


class Reporter(threading.Thread):
    """Writes the report into the KV store, at once when a state changes, else every REPORT_INTERVAL seconds."""

    def __init__(self, consul: Consul, host: str) -> None:
        super().__init__(name="reporter", daemon=True)
        self._consul, self._host = consul.clone(), host
        self._due = threading.Event()
        self._report: dict[str, Any] = {}
        self._states: object = None

    def update(self, report: dict[str, Any]) -> None:
        """The report to write next; returns at once."""
        self._report = report
        states = (report["epoch"], {n: (s["state"], s["revision"]) for n, s in report["services"].items()})
        if states != self._states:
            self._states = states
            self._due.set()

    def run(self) -> None:
        while True:
            self._due.wait(REPORT_INTERVAL)
            self._due.clear()
            try:
                timestamp = {"at": round(time.time(), 1)}
                self._consul.put(f"/v1/kv/{kv_schema.report_key(self._host)}", {**self._report, **timestamp}, timeout=8.0)
            except ConsulError:
                time.sleep(RETRY_DELAY)
                self._due.set()
