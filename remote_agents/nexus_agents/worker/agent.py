"""nexus-worker: makes its host match its orders. It also works while Consul is away, from the last orders on disk."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.atomic_files import write_atomically
from ..shared.blocking_query import Watch
from ..shared.clock import now
from ..shared.consul_api import Consul, decode_entry
from ..shared.notify import alive, log, notify
from . import systemd
from .consul_registration import Registrar
from .cpu_meter import CpuMeter
from .cpu_usage import CpuUsage
from .failure_reason import FailureReasons
from .instance_steps import DRAIN_TIME, Evaluation, InstanceHistory, Step, Unit, evaluate
from .reports import Reporter, service_reports

POLL_INTERVAL = 1.0  # seconds between two turns of the loop without any news
FIRST_CHECKS_WAIT = 1.0  # seconds: a report without the checks' state would call every instance starting
STOP_TIMEOUT = 3600.0  # seconds
Specs = Mapping[str, dict[str, Any]]


class Worker:
    """The loop. `settings`: {"host", "address": checks connect to it, "advertise": other hosts do, "state": folder}."""

    def __init__(self, settings: Mapping[str, Any], consul: Consul) -> None:
        self._host, self._consul = settings["host"], consul
        self._orders_file = Path(settings["state"]) / "orders.json"
        self._changed = threading.Event()
        self._registrar = Registrar(consul, settings["address"], settings["advertise"], self._changed)
        self._orders: dict[str, Any] | None = self._load_orders()
        self._histories: dict[str, InstanceHistory] = {}
        self._reasons = FailureReasons()
        self._stop_threads: dict[str, threading.Thread] = {}  # a stop may take long; the other services do not wait
        self._cpu_usage = CpuUsage()
        self._cpu_meter = CpuMeter()
        self._reporter = Reporter(consul, self._host)
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self._registrar.start()
        self._reporter.start()
        self._cpu_meter.start()
        Watch(self._consul, f"/v1/kv/{kv_schema.orders_key(self._host)}", self._on_orders).start()
        notify("READY=1")
        self._registrar.checks_known.wait(FIRST_CHECKS_WAIT)
        while not self._stopping:
            alive(self._consul.liveness.sentence())
            self._reconcile()
            self._changed.wait(POLL_INTERVAL)
            self._changed.clear()
        if systemd.host_is_stopping():
            log("the host is stopping: its instances leave Consul first")
            self._registrar.set_desired({}, frozenset())
            time.sleep(DRAIN_TIME)
        log("stopped; the services go on")

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()

    def _on_orders(self, entries: Any) -> None:
        """Takes new orders; a missing, empty or damaged value changes nothing.

        Orders of an older epoch come from a former primary. Older orders of the same epoch come from a manager that is
        partitioned or still catches up, as any server may answer.
        """
        orders = decode_entry(entries[0]) if entries else None
        if not isinstance(orders, dict) or not _are_orders(orders):
            return
        orders["index"] = int(entries[0]["ModifyIndex"])
        last = self._orders or {"epoch": 0}
        if orders["epoch"] < last["epoch"]:
            log(f"refused orders of epoch {orders['epoch']}: epoch {last['epoch']} has been here")
            return
        if orders["epoch"] == last["epoch"] and orders["index"] < last.get("index", 0):
            return
        if orders != self._orders:
            try:
                self._store_orders(orders)
            except OSError as error:
                log(f"the orders could not be kept on disk, and are carried out all the same: {error}")
            log(f"orders of epoch {orders['epoch']}: {', '.join(sorted(orders['services'])) or 'nothing to run'}")
            self._orders = orders
            self._changed.set()

    def _reconcile(self) -> None:
        if self._orders is None:
            return  # neither on disk nor from Consul: whatever runs goes on
        specs: Specs = self._orders["services"]
        try:
            units, cpu_times = systemd.units()
            pulls = systemd.pulls()
        except systemd.SystemdError as error:
            log(f"systemd does not answer, so nothing is touched: {error}")
            return
        self._cpu_meter.set_targets(specs, cpu_times)
        from_systemd = {n: ns for n, ns in cpu_times.items() if n in specs and specs[n]["image"] is None}
        cpus = {**self._cpu_usage.percents(from_systemd, now()), **self._cpu_meter.percents}
        evaluations = {}
        self._reasons.new_turn()
        for name in sorted(units.keys() | specs.keys()):
            unit, spec = units.get(name, Unit(None, "inactive")), specs.get(name)
            if self._is_stopping(name):
                evaluations[name] = Evaluation(self._histories.get(name, InstanceHistory()), None, False, "stopping")
                continue
            # restarts from before this agent's start do not count as crashes
            history = self._histories.get(name) or InstanceHistory(now(), unit.active == "active", unit.restarts)
            evaluation = evaluate(name, spec, unit, self._passing(name), history, now(), pulls.get(name))
            self._histories[name] = evaluation.history
            if evaluation.step:
                self._execute(evaluation.step, spec)
            explained = self._reasons.add_to(evaluation, name, history.failures, self._registrar.answers, now())
            evaluations[name] = self._with_answer(name, explained)
        for name in pulls:
            if name not in evaluations or not evaluations[name].pull:
                systemd.end_pull(name)
        running = frozenset(n for n, u in units.items() if u.active == "active")
        wanted = {n: specs[n] for n, e in evaluations.items() if e.registered and n in specs}
        self._registrar.set_desired({**wanted, **{n: None for n, e in evaluations.items() if e.kept}}, running)
        self._reporter.update({"epoch": self._orders["epoch"], "services": service_reports(evaluations, units, cpus)})

    def _passing(self, name: str) -> bool | None:
        """None while Consul's agent is away: a check's old state is no reason to kill a process."""
        return self._registrar.passing.get(name) if self._registrar.is_fresh() else None

    def _with_answer(self, name: str, evaluation: Evaluation) -> Evaluation:
        """What the check said last, where nothing else is to be said of an instance that does not pass."""
        answer = self._registrar.answers.get(name, "") if self._registrar.is_fresh() else ""
        if not answer or evaluation.note or evaluation.state not in ("starting", "running"):
            return evaluation
        return replace(evaluation, note=f"its check says: {answer}")

    def _is_stopping(self, name: str) -> bool:
        thread = self._stop_threads.get(name)
        return thread is not None and thread.is_alive()

    def _execute(self, step: Step, spec: dict[str, Any] | None) -> None:
        log(f"{step.verb} {step.service}: {step.why}")
        if step.verb == "pull" and spec:
            systemd.start_pull(spec)
        elif step.verb == "start" and spec:
            if not self._histories[step.service].failures:
                self._reasons.set(step.service, "")  # those of another revision are over
            try:
                systemd.start(spec, self._host)
            except OSError as error:  # no room, for instance: the other services go on, and it is tried again
                log(f"{step.service} could not be started: {error}")
                self._reasons.set(step.service, str(error))
        elif step.verb == "pause":
            systemd.pause(step.service)
        elif step.verb == "kill":
            systemd.kill(step.service)
        elif step.verb == "stop":
            thread = threading.Thread(target=systemd.stop, args=(step.service, STOP_TIMEOUT), daemon=True)
            self._stop_threads[step.service] = thread
            thread.start()
        self._changed.set()

    def _load_orders(self) -> dict[str, Any] | None:
        """The orders on disk. None for a missing or damaged file: then whatever runs goes on until orders arrive."""
        try:
            orders = json.loads(self._orders_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            orders = None
        if not isinstance(orders, dict) or not _are_orders(orders):
            log(f"{self._orders_file} is damaged: waiting for new orders")
            return None
        log(f"from disk: orders of epoch {orders['epoch']}")
        return dict(orders)

    def _store_orders(self, orders: Mapping[str, Any]) -> None:
        write_atomically(self._orders_file, json.dumps(orders), 0o600)


def _are_orders(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("epoch"), int) and isinstance(value.get("services"), dict)
        and all(isinstance(s, dict) and "revision" in s and "check" in s for s in value["services"].values())
    )  # fmt: skip


def main(settings: Mapping[str, Any], token: str) -> int:
    Worker(settings, Consul(token)).run()
    return 0
