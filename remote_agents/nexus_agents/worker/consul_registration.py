"""The worker's half of Consul: what runs here is registered with its check, what goes is taken out.

A thread of its own, for a register may hang for seconds when the servers are away; the worker never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import log

FRESH = 2.0  # seconds; a look is due every half
REREGISTER_TIMEOUT = 2.0  # seconds
PREFIX = kv_schema.instance_id("")
REVISION = "nexus_revision"


def registration(spec: Mapping[str, Any], address: str, advertise: str) -> dict[str, Any]:
    """What the agent is told of an instance. `address`: where the check looks; `advertise`: where the others do."""
    check, port = spec["check"], spec["port"]
    if check["kind"] == "ttl":  # the worker vouches for the process, as long as systemd does
        told: dict[str, Any] = {"TTL": "10s"}
    else:
        where = f"http://{address}:{port}{check['path']}" if check["kind"] == "http" else f"{address}:{port}"
        told = {
            check["kind"].upper(): where,
            "Interval": _drain_then(check["interval"]),
            "Timeout": _drain_then(check["timeout"]),
        }
    own = kv_schema.instance_id(spec["name"])
    return {
        "ID": own, "Name": spec["name"], "Address": advertise, "Port": port or 0, "Tags": ["nexus"],
        "Meta": {REVISION: spec["revision"]}, "Check": {**told, "CheckID": f"service:{own}"},
    }  # fmt: skip


def _drain_then(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


class Registrar(threading.Thread):
    """Set `listed` (service -> spec) and `alive` (services whose process runs); read `passing`."""

    def __init__(self, consul: Consul, address: str, advertise: str, changed: threading.Event) -> None:
        super().__init__(name="registrar", daemon=True)
        self._consul, self._address, self._advertise = consul.again(), address, advertise
        self._changed = changed  # ours to set: the checks say something new
        self._due = threading.Event()
        self._listed: Mapping[str, Mapping[str, Any]] | None = None
        self._alive: frozenset[str] = frozenset()
        self.passing: Mapping[str, bool] = {}
        self.looked = threading.Event()  # once the agent has answered
        self._looked_at = float("-inf")
        self._refused = False
        self._registered: set[str] = set()  # what this process has registered

    def want(self, listed: Mapping[str, Mapping[str, Any]], alive: frozenset[str]) -> None:
        """From now on exactly these instances are to be registered."""
        new = self._listed is None or listed.keys() != self._listed.keys()
        self._listed, self._alive = listed, alive
        if new:
            self._due.set()

    def fresh(self) -> bool:
        """Whether `passing` is the agent's word of now: registering may take its time, and the agent may be gone."""
        return now() - self._looked_at <= FRESH

    def run(self) -> None:
        while True:
            try:
                self._reconcile()
                self._refused = False
            except (ConsulError, AttributeError, TypeError, KeyError, ValueError) as error:
                if not self._refused:
                    log(f"Consul's agent does not answer as it should; the services go on: {error}")
                self._refused = True
            self._due.wait(0.5)
            self._due.clear()

    def _reconcile(self) -> None:
        _, known = self._consul.get("/v1/agent/services")
        _, checks = self._consul.get("/v1/agent/checks")
        mine = {i[len(PREFIX) :]: s for i, s in (known or {}).items() if i.startswith(PREFIX)}
        found: dict[str, bool] = {}
        for check in checks.values():
            if check["ServiceID"].startswith(PREFIX):
                name = check["ServiceID"][len(PREFIX) :]
                found[name] = found.get(name, True) and check["Status"] == "passing"
        self._looked_at = now()
        self.looked.set()
        if found != self.passing:
            self.passing = found
            self._changed.set()
        if self._listed is None:  # not told yet what runs: what is registered from before stays
            return
        faults = []
        for name in mine.keys() - self._listed.keys():
            try:
                self._consul.put(f"/v1/agent/service/deregister/{kv_schema.instance_id(name)}", timeout=10.0)
                self._registered.discard(name)
            except ConsulError as error:
                faults.append(error)
        for name, spec in self._listed.items():
            try:
                self._list(name, spec, mine.get(name))
            except ConsulError as error:  # one that is refused must not keep the others out
                faults.append(error)
        if faults:
            raise faults[0]
        self._reregister(self._listed)

    def _reregister(self, listed: Mapping[str, Mapping[str, Any]]) -> None:
        """Registers anew what another process has: the agent tells the servers of a service with the token that it was
        registered with, and a rotation has deleted the one of before. One a turn and briefly, for nothing else waits
        for it; the check keeps its state."""
        if name := next(iter(listed.keys() - self._registered), None):
            wanted = registration(listed[name], self._address, self._advertise)
            self._consul.put("/v1/agent/service/register", wanted, timeout=REREGISTER_TIMEOUT)
            self._registered.add(name)

    def _list(self, name: str, spec: Mapping[str, Any], known: Mapping[str, Any] | None) -> None:
        wanted = registration(spec, self._address, self._advertise)
        if not is_registered_as(known, wanted):
            self._consul.put("/v1/agent/service/register", wanted, timeout=10.0)
            self._registered.add(name)
        if spec["check"]["kind"] == "ttl":
            verb = "pass" if name in self._alive else "fail"
            self._consul.put(f"/v1/agent/check/{verb}/service:{kv_schema.instance_id(name)}")


def is_registered_as(have: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Registered as wanted; the check follows from the revision, which stands in Meta."""
    return have is not None and all(have.get(k) == wanted[k] for k in ("Address", "Port", "Meta"))
