"""How a fault is watched: through an open SSH connection to a manager that is not the target, every few hundredths
of a second, by the operator's one monotonic clock."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from bench.promised import MAIN
from fabfile.core.errors import HostError
from fabfile.core.judge.service_health import UNIT, ServicesHealth, read_services_health
from fabfile.core.model.cluster import Cluster
from fabfile.edge.consul.client import Consul, members
from fabfile.edge.consul.overview import entries
from fabfile.edge.consul.service_operations import PROMOTE
from fabfile.edge.ssh.connection import Remote

PAUSE = 0.03  # seconds between two looks; a look itself takes about as long
Lock = tuple[str, int]  # who holds it, and the epoch


class Eyes:
    """Consul as this host's agent tells it. All reads are stale ones, so none waits for a raft leader that is gone.

    Every call may raise HostError; `seconds_until` takes that for "not yet".
    """

    def __init__(self, remote: Remote) -> None:
        self.name = remote.host.name
        self._consul = Consul(remote)

    def version(self) -> str:
        return self._consul.version()

    def lock(self) -> Lock:
        """("", 0) while nobody holds it."""
        entry, value = self._kept("nexus/primary")
        return (str(value["host"]), int(value["epoch"])) if entry.get("Session") else ("", 0)

    def has_leader(self) -> bool:
        return bool(self._consul.ask("GET", "/v1/status/leader"))

    def all_alive(self, cluster: Cluster) -> bool:
        alive = members(self._consul)
        return all(alive.get(host.name, False) for host in cluster.hosts)

    def alive(self, host: str) -> bool:
        """By the failure detector, as the catalogue has it."""
        return any(c["CheckID"] == "serfHealth" and c["Status"] == "passing" for c in self._checks(host))

    def passing(self, host: str, service: str) -> bool:
        own = [c["Status"] for c in self._checks(host) if c["ServiceID"] == UNIT + service]
        return bool(own) and set(own) == {"passing"}

    def listed(self, service: str) -> bool:
        """Whether the asked agent itself has the service, passing."""
        found: dict[str, Any] = self._consul.ask("GET", "/v1/agent/checks")
        own = [c["Status"] for c in found.values() if c["ServiceID"] == UNIT + service]
        return bool(own) and set(own) == {"passing"}

    def services_health(self) -> ServicesHealth:
        return read_services_health(entries(self._consul, stale=True), self._consul.ask("GET", "/v1/health/state/any?stale"))

    def settled(self, without: str = "") -> bool:
        """All services as wanted, and none of it on the host `without`."""
        services = self.services_health().services
        places = {i.host for s in services for i in s.instances}
        return bool(services) and all(s.settled for s in services) and without not in places

    def report(self, host: str) -> tuple[int, set[str]]:
        """A worker's newest report: its index, and the services that it found on its host."""
        entry, value = self._kept(f"nexus/report/{host}/state")
        return int(entry["ModifyIndex"]), set(value["services"])

    def ordered(self, host: str) -> set[str]:
        return set(self._kept(f"nexus/placement/{host}/orders")[1]["services"])

    def promote(self, host: str) -> None:
        self._consul.ask("PUT", f"/v1/kv/{PROMOTE}", {"to": host})

    def forget_promotion(self) -> None:
        self._consul.ask("DELETE", f"/v1/kv/{PROMOTE}")

    def _checks(self, host: str) -> list[Mapping[str, Any]]:
        return list(self._consul.ask("GET", f"/v1/health/node/{host}?stale") or ())

    def _kept(self, key: str) -> tuple[Mapping[str, Any], Any]:
        """A key's entry and its JSON, None where it is empty (a released lock). Refusal (404) without a key."""
        entry = self._consul.ask("GET", f"/v1/kv/{key}?stale")[0]
        return entry, json.loads(base64.b64decode(entry["Value"] or "") or "null")


def seconds_until(holds: Mapping[str, Callable[[], bool]], began: float, limit: float) -> dict[str, float | None]:
    """For each part the seconds from `began` (of time.monotonic()) until it held; None: not before MAIN did, or not
    within `limit`. Told as late as the answer that showed it came."""
    found: dict[str, float | None] = dict.fromkeys(holds, None)
    while found[MAIN] is None and time.monotonic() - began < limit:
        for part, what in holds.items():
            if found[part] is None and _surely(what):
                found[part] = round(time.monotonic() - began, 3)
        time.sleep(PAUSE)
    return found


def _surely(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except HostError:
        return False


# $1 the process that is to be replaced, $2 its unit, $3 its port
_LOOK = """echo watching
while kill -0 "$1" 2>/dev/null; do sleep 0.02; done
echo gone
while :; do
  pid=$(systemctl show -P MainPID "$2")
  [ "$pid" != 0 ] && [ "$pid" != "$1" ] && curl -sf -m 1 -o /dev/null "http://127.0.0.1:$3/health" && break
  sleep 0.02
done
echo answers
"""


class Onlooker(Thread):
    """Watches one process on its host, over a connection of its own; `with` waits until it does.

    said: "gone" when the process is dead, "answers" when another one of its unit answers on its port.
    """

    def __init__(self, cluster: Cluster, host: str, unit: str, port: int, pid: str, limit: float) -> None:
        super().__init__(name="onlooker", daemon=True)
        self._remote = Remote(cluster, cluster.host(host))
        self._limit = limit
        self._argv = ["timeout", f"{limit:.0f}", "sh", "-c", _LOOK, "look", pid, unit, str(port)]
        self._ready = Event()
        self.said: set[str] = set()

    def run(self) -> None:
        with suppress(HostError):  # closed by `__exit__`, or lost: then nothing more is said, and the run tells "never"
            self._remote.run(self._argv, timeout=self._limit + 10, on_line=self._line)

    def _line(self, word: str) -> None:
        self.said.add(word)
        self._ready.set()

    def __enter__(self) -> Onlooker:
        self._remote.open()
        self.start()
        if not self._ready.wait(10):
            self._remote.close()
            raise HostError(self._remote.host.name, "its process cannot be watched")
        return self

    def __exit__(self, *_: object) -> None:
        self._remote.close()
        self.join(5)
