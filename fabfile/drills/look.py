"""The prober: asks the cluster twice a second what a drill waits for. A thread; what it sees is a value, judged here.

Managers that are not the target are asked first, so that a hurt one does not make the answers late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..core.errors import HostError
from ..core.model import Cluster
from ..core.serving import Serving, read_serving
from ..edge.ask import entries
from ..edge.consul import Consul, ConsulException
from ..edge.gate import members
from ..edge.ssh import Remote

PERIOD = 0.5  # seconds between two questions: the error bar of what is measured


@dataclass(frozen=True, slots=True)
class Seen:
    """at: seconds of time.monotonic() when it was asked. answered: whether any manager did; else the rest is empty.

    members: node -> alive. pids: host -> main process of the unit that is watched, with its count of restarts.
    """

    at: float
    answered: bool = False
    members: Mapping[str, bool] = field(default_factory=dict)
    serving: Serving = field(default_factory=Serving)
    pids: Mapping[str, str] = field(default_factory=dict)


def unsteady(seen: Seen, cluster: Cluster, spared: Iterable[str] = ()) -> tuple[str, ...]:
    """What is not as it should be, a clause each; nothing is asked of the `spared` hosts."""
    if not seen.answered:
        return ("no manager answers",)
    left = set(spared)
    found = [f"{h.name} is not alive" for h in cluster.hosts if h.name not in left and not seen.members.get(h.name, False)]
    if seen.serving.primary is None:
        found.append("nobody is primary")
    for service in seen.serving.services:
        if not service.settled:
            wanted = "all" if service.wanted is None else service.wanted
            found.append(f"{service.name} has {service.passing} of {wanted} passing")
    return tuple(found)


class Prober(threading.Thread):
    """`tell(seen)` hears each answer, from this thread. `unit` on `hosts` is watched, if given."""

    def __init__(
        self, servers: Iterable[Remote], tell: Callable[[Seen], None], unit: str | None, hosts: Iterable[Remote]
    ) -> None:
        super().__init__(name="prober", daemon=True)
        self._servers, self._tell, self._unit, self._hosts = list(servers), tell, unit, list(hosts)
        self._over = threading.Event()
        self.times: list[float] = []

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            seen = self._look(began)
            self.times.append(began)
            self._tell(seen)
            self._over.wait(max(0.05, PERIOD - (time.monotonic() - began)))

    def stop(self) -> None:
        self._over.set()
        self.join(30)

    def _look(self, at: float) -> Seen:
        pids = self._pids()
        for remote in self._servers:
            consul = Consul(remote)
            try:
                alive = members(consul)
                health = consul.ask("GET", "/v1/health/state/any")
                return Seen(at, True, alive, read_serving(entries(consul), health), pids)
            except (HostError, ConsulException):
                continue
        return Seen(at, pids=pids)

    def _pids(self) -> dict[str, str]:
        found = {}
        for remote in self._hosts if self._unit else ():
            try:
                said = remote.run(["systemctl", "show", "-P", "MainPID", "-P", "NRestarts", str(self._unit)], timeout=5)
                found[remote.host.name] = said.out.decode("utf-8", "replace").strip()
            except HostError:
                continue
        return found
