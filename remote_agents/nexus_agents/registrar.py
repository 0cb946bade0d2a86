"""The worker's half of Consul: what runs here is registered with its check, what goes is taken out.

A thread of its own, for a register may hang for seconds when the servers are away; the worker never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from . import wire
from .api import Consul, ConsulError
from .clock import now
from .notify import say

FRESH = 2.0  # seconds; a look is due every half
VOUCH = 2.0  # seconds
PREFIX = wire.instance_id("")
REVISION = "nexus_revision"


def registration(spec: Mapping[str, Any], address: str, advertise: str) -> dict[str, Any]:
    """What the agent is told of an instance. `address`: where the check looks; `advertise`: where the others do."""
    check, port = spec["check"], spec["port"]
    if check["kind"] == "ttl":  # the worker vouches for the process, as long as systemd does
        told: dict[str, Any] = {"TTL": "10s"}
    else:
        where = f"http://{address}:{port}{check['path']}" if check["kind"] == "http" else f"{address}:{port}"
        told = {check["kind"].upper(): where, "Interval": _go(check["interval"]), "Timeout": _go(check["timeout"])}
    own = wire.instance_id(spec["name"])
    return {
        "ID": own, "Name": spec["name"], "Address": advertise, "Port": port or 0, "Tags": ["nexus"],
        "Meta": {REVISION: spec["revision"]}, "Check": {**told, "CheckID": f"service:{own}"},
    }  # fmt: skip


def _go(seconds: float) -> str:
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
        self._vouched: set[str] = set()  # what this process has registered

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
                self._turn()
                self._refused = False
            except (ConsulError, AttributeError, TypeError, KeyError, ValueError) as error:
                if not self._refused:
                    say(f"Consul's agent does not answer as it should; the services go on: {error}")
                self._refused = True
            self._due.wait(0.5)
            self._due.clear()

    def _turn(self) -> None:
        _, known = self._consul.get("/v1/agent/services")
        _, checks = self._consul.get("/v1/agent/checks")
        mine = {i[len(PREFIX):]: s for i, s in (known or {}).items() if i.startswith(PREFIX)}
        found: dict[str, bool] = {}
        for check in checks.values():
            if check["ServiceID"].startswith(PREFIX):
                name = check["ServiceID"][len(PREFIX):]
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
                self._consul.put(f"/v1/agent/service/deregister/{wire.instance_id(name)}", timeout=10.0)
                self._vouched.discard(name)
            except ConsulError as error:
                faults.append(error)
        for name, spec in self._listed.items():
            try:
                self._list(name, spec, mine.get(name))
            except ConsulError as error:  # one that is refused must not keep the others out
                faults.append(error)
        if faults:
            raise faults[0]
        self._vouch(self._listed)

    def _vouch(self, listed: Mapping[str, Mapping[str, Any]]) -> None:
        """Registers anew what another process has: the agent tells the servers of a service with the token that it was
        registered with, and a rotation has deleted the one of before. One a turn and briefly, for nothing else waits
        for it; the check keeps its state."""
        if name := next(iter(listed.keys() - self._vouched), None):
            wanted = registration(listed[name], self._address, self._advertise)
            self._consul.put("/v1/agent/service/register", wanted, timeout=VOUCH)
            self._vouched.add(name)

    def _list(self, name: str, spec: Mapping[str, Any], known: Mapping[str, Any] | None) -> None:
        wanted = registration(spec, self._address, self._advertise)
        if not same(known, wanted):
            self._consul.put("/v1/agent/service/register", wanted, timeout=10.0)
            self._vouched.add(name)
        if spec["check"]["kind"] == "ttl":
            verb = "pass" if name in self._alive else "fail"
            self._consul.put(f"/v1/agent/check/{verb}/service:{wire.instance_id(name)}")


def same(have: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Registered as wanted; the check follows from the revision, which stands in Meta."""
    return have is not None and all(have.get(k) == wanted[k] for k in ("Address", "Port", "Meta"))
