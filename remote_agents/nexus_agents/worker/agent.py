"""nexus-worker: makes its host match its orders. Consul may be away: the last orders are on disk, and nothing waits."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.atomic_files import write
from ..shared.blocking_query import Watch
from ..shared.clock import now
from ..shared.consul_api import Consul, decoded
from ..shared.notify import log, notify
from . import systemd
from .consul_registration import Registrar
from .cpu_meter import CpuMeter
from .cpu_usage import CpuUsage
from .instance_steps import DRAIN, Evaluation, InstanceHistory, Step, Unit, evaluate
from .reports import Reporter, service_reports

TICK = 1.0  # seconds between two looks at systemd without any news
FIRST_CHECKS_WAIT = 1.0  # seconds: whoever reports before it knows its checks would call all of them starting
Specs = Mapping[str, dict[str, Any]]


class Worker:
    """`settings`: {"host", "address": what we bind, "advertise": what the others reach us by, "state": folder}."""

    def __init__(self, settings: Mapping[str, Any], consul: Consul) -> None:
        self._host, self._consul = settings["host"], consul
        self._file = Path(settings["state"]) / "orders.json"
        self._changed = threading.Event()
        self._registrar = Registrar(consul, settings["address"], settings["advertise"], self._changed)
        self._orders: dict[str, Any] | None = self._load_orders()
        self._memory: dict[str, InstanceHistory] = {}
        self._stop_threads: dict[str, threading.Thread] = {}  # a stop may take its time; the others go on
        self._cpu = CpuUsage()
        self._cpu_meter = CpuMeter()
        self._reports = Reporter(consul, self._host)
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self._registrar.start()
        self._reports.start()
        self._cpu_meter.start()
        Watch(self._consul, f"/v1/kv/{kv_schema.orders_key(self._host)}", self._on_orders).start()
        notify("READY=1")
        self._registrar.looked.wait(FIRST_CHECKS_WAIT)
        while not self._stopping:
            notify("WATCHDOG=1")
            self._reconcile()
            self._changed.wait(TICK)
            self._changed.clear()
        if systemd.host_is_stopping():
            log("the host is stopping: its instances leave Consul first")
            self._registrar.want({}, frozenset())
            time.sleep(DRAIN)
        log("stopped; the services go on")

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()

    def _on_orders(self, entries: Any) -> None:
        """New orders. Those of an older epoch come from a primary that is none any more; older ones of the same epoch from
        a manager that is cut off or still catches up, for any may answer."""
        fresh = decoded(entries[0]) if entries else None
        if not isinstance(fresh, dict) or not _are_orders(fresh):
            return  # no word is no order: what runs goes on
        fresh["index"] = int(entries[0]["ModifyIndex"])
        last = self._orders or {"epoch": 0}
        if fresh["epoch"] < last["epoch"]:
            log(f"refused orders of epoch {fresh['epoch']}: epoch {last['epoch']} has been here")
            return
        if fresh["epoch"] == last["epoch"] and fresh["index"] < last.get("index", 0):
            return
        if fresh != self._orders:
            try:
                self._store_orders(fresh)
            except OSError as error:
                log(f"the orders could not be kept on disk, and are carried out all the same: {error}")
            log(f"orders of epoch {fresh['epoch']}: {', '.join(sorted(fresh['services'])) or 'nothing to run'}")
            self._orders = fresh
            self._changed.set()

    def _reconcile(self) -> None:
        if self._orders is None:
            return  # none on disk, none from Consul yet: no word is no order
        specs: Specs = self._orders["services"]
        try:
            units, cpu_times = systemd.units()
        except systemd.SystemdError as error:
            log(f"systemd does not answer, so nothing is touched: {error}")
            return
        self._cpu_meter.want(specs, cpu_times)
        by_systemd = {n: used for n, used in cpu_times.items() if n in specs and specs[n]["image"] is None}
        cpus = {**self._cpu.percents(by_systemd, now()), **self._cpu_meter.percents}
        found = {}
        for name in sorted(units.keys() | specs.keys()):
            unit, spec = units.get(name, Unit(None, "inactive")), specs.get(name)
            if self._busy(name):
                found[name] = Evaluation(self._memory.get(name, InstanceHistory()), None, False, "stopping")
                continue
            # what ran before this agent came is none of its crashes
            memory = self._memory.get(name) or InstanceHistory(now(), unit.active == "active", unit.restarts)
            verdict = evaluate(name, spec, unit, self._passing(name), memory, now())
            self._memory[name] = verdict.memory
            found[name] = verdict
            if verdict.step:
                self._take(verdict.step, spec)
        alive = frozenset(n for n, u in units.items() if u.active == "active")
        self._registrar.want({n: specs[n] for n, v in found.items() if v.listed and n in specs}, alive)
        self._reports.tell({"epoch": self._orders["epoch"], "services": service_reports(found, units, cpus)})

    def _passing(self, name: str) -> bool | None:
        """With Consul's agent away its last word is old: no reason to kill anything."""
        return self._registrar.passing.get(name) if self._registrar.fresh() else None

    def _busy(self, name: str) -> bool:
        hand = self._stop_threads.get(name)
        return hand is not None and hand.is_alive()

    def _take(self, step: Step, spec: dict[str, Any] | None) -> None:
        log(f"{step.verb} {step.service}: {step.why}")
        if step.verb == "start" and spec:
            systemd.start(spec, self._host)
        elif step.verb == "pause":
            systemd.pause(step.service)
        elif step.verb == "kill":
            systemd.kill(step.service)
        elif step.verb == "stop":
            hand = threading.Thread(target=systemd.stop, args=(step.service, 3600.0), daemon=True)
            self._stop_threads[step.service] = hand
            hand.start()
        self._changed.set()

    def _load_orders(self) -> dict[str, Any] | None:
        """None: what runs goes on until there are orders."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not _are_orders(found):
            log(f"{self._file} is damaged: waiting for new orders")
            return None
        log(f"from disk: orders of epoch {found['epoch']}")
        return dict(found)

    def _store_orders(self, orders: Mapping[str, Any]) -> None:
        write(self._file, json.dumps(orders), 0o600)


def _are_orders(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("epoch"), int) and isinstance(value.get("services"), dict)
        and all(isinstance(s, dict) and "revision" in s and "check" in s for s in value["services"].values())
    )  # fmt: skip


def main(settings: Mapping[str, Any], token: str) -> int:
    Worker(settings, Consul(token)).run()
    return 0
