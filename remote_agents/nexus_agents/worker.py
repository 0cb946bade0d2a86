"""nexus-worker: makes its host match its orders. Consul may be away: the last orders are on disk, and nothing waits."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import systemd, wire
from .api import Consul, decoded
from .clock import now
from .cpu import Cpu
from .files import write
from .meter import Meter
from .notify import notify, say
from .registrar import Registrar
from .reporter import Reporter, told_of
from .steps import DRAIN, Memory, Step, Unit, Verdict, judge
from .watch import Watch

TICK = 1.0  # seconds between two looks at systemd without any news
FIRST_LOOK = 1.0  # seconds: whoever reports before it knows its checks would call all of them starting
Specs = Mapping[str, dict[str, Any]]


class Worker:
    """`settings`: {"host", "address": what we bind, "advertise": what the others reach us by, "state": folder}."""

    def __init__(self, settings: Mapping[str, Any], consul: Consul) -> None:
        self._host, self._consul = settings["host"], consul
        self._file = Path(settings["state"]) / "orders.json"
        self._changed = threading.Event()
        self._registrar = Registrar(consul, settings["address"], settings["advertise"], self._changed)
        self._orders: dict[str, Any] | None = self._remembered()
        self._memory: dict[str, Memory] = {}
        self._hands: dict[str, threading.Thread] = {}  # a stop may take its time; the others go on
        self._cpu = Cpu()
        self._meter = Meter()
        self._reports = Reporter(consul, self._host)
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self._registrar.start()
        self._reports.start()
        self._meter.start()
        Watch(self._consul, f"/v1/kv/{wire.orders_key(self._host)}", self._told).start()
        notify("READY=1")
        self._registrar.looked.wait(FIRST_LOOK)
        while not self._stopping:
            notify("WATCHDOG=1")
            self._turn()
            self._changed.wait(TICK)
            self._changed.clear()
        if systemd.host_is_stopping():
            say("the host is stopping: its instances leave Consul first")
            self._registrar.want({}, frozenset())
            time.sleep(DRAIN)
        say("stopped; the services go on")

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()

    def _told(self, entries: Any) -> None:
        """New orders. Those of an older epoch come from a primary that is none any more; older ones of the same epoch from
        a manager that is cut off or still catches up, for any may answer."""
        fresh = decoded(entries[0]) if entries else None
        if not isinstance(fresh, dict) or not _are_orders(fresh):
            return  # no word is no order: what runs goes on
        fresh["index"] = int(entries[0]["ModifyIndex"])
        last = self._orders or {"epoch": 0}
        if fresh["epoch"] < last["epoch"]:
            say(f"refused orders of epoch {fresh['epoch']}: epoch {last['epoch']} has been here")
            return
        if fresh["epoch"] == last["epoch"] and fresh["index"] < last.get("index", 0):
            return
        if fresh != self._orders:
            try:
                self._remember(fresh)
            except OSError as error:
                say(f"the orders could not be kept on disk, and are carried out all the same: {error}")
            say(f"orders of epoch {fresh['epoch']}: {', '.join(sorted(fresh['services'])) or 'nothing to run'}")
            self._orders = fresh
            self._changed.set()

    def _turn(self) -> None:
        if self._orders is None:
            return  # none on disk, none from Consul yet: no word is no order
        specs: Specs = self._orders["services"]
        try:
            units, cpu_times = systemd.units()
        except systemd.SystemdError as error:
            say(f"systemd does not answer, so nothing is touched: {error}")
            return
        self._meter.want(specs, cpu_times)
        by_systemd = {n: used for n, used in cpu_times.items() if n in specs and specs[n]["image"] is None}
        cpus = {**self._cpu.percents(by_systemd, now()), **self._meter.percents}
        found = {}
        for name in sorted(units.keys() | specs.keys()):
            unit, spec = units.get(name, Unit(None, "inactive")), specs.get(name)
            if self._busy(name):
                found[name] = Verdict(self._memory.get(name, Memory()), None, False, "stopping")
                continue
            # what ran before this agent came is none of its crashes
            memory = self._memory.get(name) or Memory(now(), unit.active == "active", unit.restarts)
            verdict = judge(name, spec, unit, self._passing(name), memory, now())
            self._memory[name] = verdict.memory
            found[name] = verdict
            if verdict.step:
                self._take(verdict.step, spec)
        alive = frozenset(n for n, u in units.items() if u.active == "active")
        self._registrar.want({n: specs[n] for n, v in found.items() if v.listed and n in specs}, alive)
        self._reports.tell({"epoch": self._orders["epoch"], "services": told_of(found, units, cpus)})

    def _passing(self, name: str) -> bool | None:
        """With Consul's agent away its last word is old: no reason to kill anything."""
        return self._registrar.passing.get(name) if self._registrar.fresh() else None

    def _busy(self, name: str) -> bool:
        hand = self._hands.get(name)
        return hand is not None and hand.is_alive()

    def _take(self, step: Step, spec: dict[str, Any] | None) -> None:
        say(f"{step.verb} {step.service}: {step.why}")
        if step.verb == "start" and spec:
            systemd.start(spec, self._host)
        elif step.verb == "pause":
            systemd.pause(step.service)
        elif step.verb == "kill":
            systemd.kill(step.service)
        elif step.verb == "stop":
            hand = threading.Thread(target=systemd.stop, args=(step.service, 3600.0), daemon=True)
            self._hands[step.service] = hand
            hand.start()
        self._changed.set()

    def _remembered(self) -> dict[str, Any] | None:
        """None: what runs goes on until there are orders."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not _are_orders(found):
            say(f"{self._file} is damaged: waiting for new orders")
            return None
        say(f"from disk: orders of epoch {found['epoch']}")
        return dict(found)

    def _remember(self, orders: Mapping[str, Any]) -> None:
        write(self._file, json.dumps(orders), 0o600)


def _are_orders(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("epoch"), int) and isinstance(value.get("services"), dict)
        and all(isinstance(s, dict) and "revision" in s and "check" in s for s in value["services"].values())
    )  # fmt: skip


def main(settings: Mapping[str, Any], token: str) -> int:
    Worker(settings, Consul(token)).run()
    return 0
