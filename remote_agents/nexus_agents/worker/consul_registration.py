"""Registers this host's instances with their checks at Consul's agent, removes old ones, and reads the checks' state.

A thread of its own: a registration may hang for seconds while the servers are away, and the worker never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import log

INTERVAL = 0.5  # seconds between two turns
FRESH = 2.0  # seconds for which the checks' state counts as current
REGISTER_TIMEOUT = 10.0  # seconds
REREGISTER_TIMEOUT = 2.0  # seconds
PREFIX = kv_schema.instance_id("")
REVISION, CHECK_HOST = "nexus_revision", "nexus_check_host"
MAX_ANSWER = 200  # characters
Specs = Mapping[str, Mapping[str, Any]]
Desired = Mapping[str, "Mapping[str, Any] | None"]  # service -> spec; None: what Consul has of it stays as it is


def registration(spec: Mapping[str, Any], address: str, advertise: str) -> dict[str, Any]:
    """The body of a registration. `address`: where the check connects; `advertise`: where other hosts connect.

    A service with a domain is asked as the load balancer asks it: many programs refuse a Host that they do not know, or
    send whoever does not come by HTTPS elsewhere.
    """
    kind, port = spec["check"]["kind"], spec["port"]
    if kind == "ttl":  # the worker reports the process as passing while systemd calls it active
        check: dict[str, Any] = {"TTL": "10s"}
    else:
        target = f"http://{address}:{port}{spec['check']['path']}" if kind == "http" else f"{address}:{port}"
        interval, timeout = _milliseconds(spec["check"]["interval"]), _milliseconds(spec["check"]["timeout"])
        check = {kind.upper(): target, "Interval": interval, "Timeout": timeout}
    meta = {REVISION: spec["revision"]}
    if host := spec.get("check_host"):
        check["Header"] = {"Host": [host], "X-Forwarded-Proto": ["https"]}
        meta[CHECK_HOST] = host  # the agent does not show its checks' headers: so a change is seen
    instance = kv_schema.instance_id(spec["name"])
    return {
        "ID": instance, "Name": spec["name"], "Address": advertise, "Port": port or 0, "Tags": ["nexus"],
        "Meta": meta, "Check": {**check, "CheckID": f"service:{instance}"},
    }  # fmt: skip


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


class Registrar(threading.Thread):
    """Call `set_desired`; read `passing`: service -> whether all its checks pass."""

    def __init__(self, consul: Consul, address: str, advertise: str, changed: threading.Event) -> None:
        """`changed`: set by the registrar when `passing` changes."""
        super().__init__(name="registrar", daemon=True)
        self._consul, self._address, self._advertise = consul.clone(), address, advertise
        self._changed = changed
        self._due = threading.Event()
        self._desired: Desired | None = None  # None: the worker does not know yet what runs
        self._running: frozenset[str] = frozenset()
        self.passing: Mapping[str, bool] = {}
        self.answers: Mapping[str, str] = {}  # service -> what its check said last, where that does not pass
        self.checks_known = threading.Event()  # set once the agent has answered
        self._checked_at = float("-inf")
        self._failing = False
        self._registered: set[str] = set()  # what this process has registered
        self._vouched: frozenset[str] = frozenset()  # services that Consul has with a TTL check

    def set_desired(self, desired: Desired, running: frozenset[str]) -> None:
        """From now on exactly these instances are registered. `running`: services whose process runs."""
        different = self._desired is None or desired.keys() != self._desired.keys()
        self._desired, self._running = desired, running
        if different:
            self._due.set()

    def is_fresh(self) -> bool:
        """Whether `passing` is current: a registration may hang, and the agent may be gone."""
        return now() - self._checked_at <= FRESH

    def run(self) -> None:
        while True:
            try:
                self._reconcile()
                self._failing = False
            except (ConsulError, AttributeError, TypeError, KeyError, ValueError) as error:
                if not self._failing:
                    log(f"Consul's agent does not answer as it should; the services go on: {error}")
                self._failing = True
            self._due.wait(INTERVAL)
            self._due.clear()

    def _reconcile(self) -> None:
        registered = self._read()
        if self._desired is None:  # leave what the process before us has registered
            return
        errors = []
        for name in registered.keys() - self._desired.keys():
            try:
                path = f"/v1/agent/service/deregister/{kv_schema.instance_id(name)}"
                self._consul.put(path, timeout=REGISTER_TIMEOUT)
                self._registered.discard(name)
            except ConsulError as error:
                errors.append(error)
        for name, spec in self._desired.items():
            try:
                if spec is not None:
                    self._register(name, spec, registered.get(name))
                if name in self._vouched if spec is None else spec["check"]["kind"] == "ttl":
                    self._vouch(name)
            except ConsulError as error:  # one that is refused must not keep the others out
                errors.append(error)
        if errors:
            raise errors[0]
        self._reregister({name: spec for name, spec in self._desired.items() if spec is not None})

    def _read(self) -> Specs:
        """Reads the checks into `passing`. Service -> registration, of our instances."""
        _, services = self._consul.get("/v1/agent/services")
        _, checks = self._consul.get("/v1/agent/checks")
        registered = {i[len(PREFIX) :]: s for i, s in (services or {}).items() if i.startswith(PREFIX)}
        passing: dict[str, bool] = {}
        ours = [(c["ServiceID"][len(PREFIX) :], c) for c in checks.values() if c["ServiceID"].startswith(PREFIX)]
        for name, check in ours:
            passing[name] = passing.get(name, True) and check["Status"] == "passing"
        self._vouched = frozenset(name for name, check in ours if check.get("Type") == "ttl")
        failing = {n: check_answer(str(c.get("Output", ""))) for n, c in ours if c["Status"] != "passing"}
        self.answers = {name: answer for name, answer in failing.items() if answer and name not in self._vouched}
        self._checked_at = now()
        self.checks_known.set()
        if passing != self.passing:
            self.passing = passing
            self._changed.set()
        return registered

    def _reregister(self, desired: Specs) -> None:
        """Registers again what another process has registered: the agent announces a service to the servers with the
        token of its registration, and a rotation has deleted the old token. One a turn, with a short timeout: nothing
        else waits for it. The check keeps its state."""
        if name := next(iter(desired.keys() - self._registered), None):
            body = registration(desired[name], self._address, self._advertise)
            self._consul.put("/v1/agent/service/register", body, timeout=REREGISTER_TIMEOUT)
            self._registered.add(name)

    def _register(self, name: str, spec: Mapping[str, Any], current: Mapping[str, Any] | None) -> None:
        body = registration(spec, self._address, self._advertise)
        if not is_registered_as(current, body):
            self._consul.put("/v1/agent/service/register", body, timeout=REGISTER_TIMEOUT)
            self._registered.add(name)

    def _vouch(self, name: str) -> None:
        """Tells its TTL check what systemd says of the process."""
        verb = "pass" if name in self._running else "fail"
        self._consul.put(f"/v1/agent/check/{verb}/service:{kv_schema.instance_id(name)}")


def check_answer(output: str) -> str:
    """A check's output in one line. Consul puts the answer's body behind `Output:`; a page of HTML helps nobody."""
    return " ".join(output.partition(" Output: ")[0].split())[:MAX_ANSWER]


def is_registered_as(current: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> bool:
    """Whether address, port and Meta are equal; the check follows from revision and host, which Meta has."""
    return current is not None and all(current.get(k) == desired[k] for k in ("Address", "Port", "Meta"))
