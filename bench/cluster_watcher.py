"""Watches a fault by the operator's monotonic clock: the cluster through a manager's Consul, a process on its host.

Each watcher uses an SSH connection that is already open. It looks every few hundredths of a second, and ClusterWatcher
never asks the target of the fault.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from bench.expectations import MAIN
from fabfile.core.errors import HostError
from fabfile.core.judge.service_health import UNIT_PREFIX, ServicesHealth, read_services_health
from fabfile.core.model.cluster import Cluster
from fabfile.edge.consul.client import Consul, members
from fabfile.edge.consul.overview import kv_entries
from fabfile.edge.consul.service_operations import PROMOTE
from fabfile.edge.ssh.connection import Remote

POLL_PAUSE = 0.03  # seconds between two looks; a look itself takes about as long
Lock = tuple[str, int]  # the holder of the primary's lock, and its epoch


class ClusterWatcher:
    """The cluster as one host's Consul agent reports it. All reads are stale: none waits for a lost raft leader.

    Every call may raise HostError; `seconds_until` counts that as "not yet".
    """

    def __init__(self, remote: Remote) -> None:
        self.name = remote.host.name
        self._consul = Consul(remote)

    def version(self) -> str:
        return self._consul.version()

    def lock(self) -> Lock:
        """("", 0) while nobody holds it."""
        entry, value = self._read_key("nexus/primary")
        return (str(value["host"]), int(value["epoch"])) if entry.get("Session") else ("", 0)

    def has_leader(self) -> bool:
        return bool(self._consul.request("GET", "/v1/status/leader"))

    def all_alive(self, cluster: Cluster) -> bool:
        alive = members(self._consul)
        return all(alive.get(host.name, False) for host in cluster.hosts)

    def alive(self, host: str) -> bool:
        """As the catalogue shows the failure detector's result."""
        return any(c["CheckID"] == "serfHealth" and c["Status"] == "passing" for c in self._checks(host))

    def passing(self, host: str, service: str) -> bool:
        """Whether all checks of the service on this host pass."""
        statuses = [c["Status"] for c in self._checks(host) if c["ServiceID"] == UNIT_PREFIX + service]
        return bool(statuses) and set(statuses) == {"passing"}

    def passing_locally(self, service: str) -> bool:
        """Whether the asked agent itself has the service, passing."""
        checks: dict[str, Any] = self._consul.request("GET", "/v1/agent/checks")
        statuses = [c["Status"] for c in checks.values() if c["ServiceID"] == UNIT_PREFIX + service]
        return bool(statuses) and set(statuses) == {"passing"}

    def services_health(self) -> ServicesHealth:
        checks = self._consul.request("GET", "/v1/health/state/any?stale")
        return read_services_health(kv_entries(self._consul, stale=True), checks)

    def settled(self, without: str = "") -> bool:
        """All services are as wanted, and no instance is on the host `without`."""
        services = self.services_health().services
        hosts = {i.host for s in services for i in s.instances}
        return bool(services) and all(s.settled for s in services) and without not in hosts

    def report(self, host: str) -> tuple[int, set[str]]:
        """A worker's newest report: its ModifyIndex, and the services that run there."""
        entry, value = self._read_key(f"nexus/report/{host}/state")
        return int(entry["ModifyIndex"]), set(value["services"])

    def ordered(self, host: str) -> set[str]:
        return set(self._read_key(f"nexus/placement/{host}/orders")[1]["services"])

    def promote(self, host: str) -> None:
        self._consul.request("PUT", f"/v1/kv/{PROMOTE}", {"to": host})

    def forget_promotion(self) -> None:
        self._consul.request("DELETE", f"/v1/kv/{PROMOTE}")

    def _checks(self, host: str) -> list[Mapping[str, Any]]:
        return list(self._consul.request("GET", f"/v1/health/node/{host}?stale") or ())

    def _read_key(self, key: str) -> tuple[Mapping[str, Any], Any]:
        """A key's entry and its JSON, None where it is empty (a released lock). ConsulApiError (404) without a key."""
        entry = self._consul.request("GET", f"/v1/kv/{key}?stale")[0]
        return entry, json.loads(base64.b64decode(entry["Value"] or "") or "null")


def seconds_until(conditions: Mapping[str, Callable[[], bool]], began: float, limit: float) -> dict[str, float | None]:
    """For each metric, the seconds from `began` (of time.monotonic()) until its condition held. None: it did not hold
    before MAIN did, or not within `limit`. A time is that of the answer that showed it."""
    seconds: dict[str, float | None] = dict.fromkeys(conditions, None)
    while seconds[MAIN] is None and time.monotonic() - began < limit:
        for metric, condition in conditions.items():
            if seconds[metric] is None and _holds(condition):
                seconds[metric] = round(time.monotonic() - began, 3)
        time.sleep(POLL_PAUSE)
    return seconds


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except HostError:
        return False


# $1 the process that is to be replaced, $2 its unit, $3 its port
_WATCH = """echo watching
while kill -0 "$1" 2>/dev/null; do sleep 0.02; done
echo gone
while :; do
  pid=$(systemctl show -P MainPID "$2")
  [ "$pid" != 0 ] && [ "$pid" != "$1" ] && curl -sf -m 1 -o /dev/null "http://127.0.0.1:$3/health" && break
  sleep 0.02
done
echo answers
"""


class ProcessWatcher(Thread):
    """Watches one process on its host, over a connection of its own; `with` waits until the watch has begun."""

    def __init__(self, cluster: Cluster, host: str, unit: str, port: int, pid: str, limit: float) -> None:
        super().__init__(name="process-watcher", daemon=True)
        self._remote = Remote(cluster, cluster.host(host))
        self._limit = limit
        self._argv = ["timeout", f"{limit:.0f}", "sh", "-c", _WATCH, "watch", pid, unit, str(port)]
        self._ready = Event()
        self._events: set[str] = set()

    @property
    def gone(self) -> bool:
        """The process is dead."""
        return "gone" in self._events

    @property
    def replaced(self) -> bool:
        """Another process of the unit answers on the port."""
        return "answers" in self._events

    def run(self) -> None:
        with suppress(HostError):  # closed by `__exit__`, or lost: no more events come, and the run counts as "never"
            self._remote.run(self._argv, timeout=self._limit + 10, on_line=self._record)

    def _record(self, event: str) -> None:
        self._events.add(event)
        self._ready.set()

    def __enter__(self) -> ProcessWatcher:
        self._remote.open()
        self.start()
        if not self._ready.wait(10):
            self._remote.close()
            raise HostError(self._remote.host.name, "its process cannot be watched")
        return self

    def __exit__(self, *_: object) -> None:
        self._remote.close()
        self.join(5)
