"""The prober: asks the cluster four times a second what a drill waits for. A thread; what it sees is a value, judged here.

Managers that are not the target are asked first, so that a hurt one does not make the answers late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...core.errors import HostError
from ...core.judge.service_health import ServicesHealth, read_services_health
from ...core.model.cluster import Cluster
from ...edge.consul.client import Consul, members
from ...edge.consul.overview import entries
from ...edge.ssh.connection import Remote

PERIOD = 0.25  # seconds between two questions


@dataclass(frozen=True, slots=True)
class Observation:
    """asked, at: seconds of time.monotonic() when the question left and when its last answer was there.

    members: node -> alive; empty where nobody answered. answered: whether services and primary are known as well, which
    takes a raft leader; `why` not, if so. watched: host -> what the command that is watched there said.
    """

    asked: float
    at: float
    answered: bool = False
    members: Mapping[str, bool] = field(default_factory=dict)
    services_health: ServicesHealth = field(default_factory=ServicesHealth)
    watched: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


def not_steady(seen: Observation, cluster: Cluster, spared: Iterable[str] = ()) -> tuple[str, ...]:
    """What is not as it should be, a clause each; nothing is asked of the `spared` hosts."""
    return (*unhealthy_hosts(seen, cluster, spared), *unsettled_services(seen.services_health))


def unhealthy_hosts(seen: Observation, cluster: Cluster, spared: Iterable[str] = ()) -> tuple[str, ...]:
    """The same of hosts and primary alone; where no manager answers, that is all there is to say."""
    if not seen.answered:
        return (f"no manager answers{f' ({seen.why})' if seen.why else ''}",)
    left = set(spared)
    found = [f"{h.name} is not alive" for h in cluster.hosts if h.name not in left and not seen.members.get(h.name, False)]
    if seen.services_health.primary is None:
        found.append("nobody is primary")
    return tuple(found)


def unsettled_services(services_health: ServicesHealth) -> tuple[str, ...]:
    """The same of services."""
    late = [s for s in services_health.services if not s.settled]
    return tuple(f"{s.name} has {s.passing} of {'all' if s.wanted is None else s.wanted} passing" for s in late)


class Prober(threading.Thread):
    """`tell(seen)` hears each answer, from this thread. `command` is watched on `hosts`, if given."""

    def __init__(
        self, servers: Iterable[Remote], tell: Callable[[Observation], None], command: Sequence[str], hosts: Iterable[Remote]
    ) -> None:
        super().__init__(name="prober", daemon=True)
        self._servers, self._tell, self._command, self._hosts = list(servers), tell, list(command), list(hosts)
        self._over = threading.Event()
        self.broken = ""  # a fault of our own: the numbers end here, and the drill must know it

    def run(self) -> None:
        try:
            while not self._over.is_set():
                seen = self._look(time.monotonic())
                self._tell(seen)
                self._over.wait(max(0.05, PERIOD - (time.monotonic() - seen.asked)))
        except Exception as error:  # whatever it is, the drill still has a fault to undo
            self.broken = f"the probes ended: {type(error).__name__}: {error}"

    def stop(self) -> None:
        self._over.set()
        self.join(30)

    def _look(self, asked: float) -> Observation:
        watched, alive, why = self._watched(), dict[str, bool](), ""
        for remote in self._servers:
            consul = Consul(remote)
            try:
                alive = alive or members(consul)
                return self._full(consul, asked, watched)
            except HostError as error:
                why = why or " ".join(str(error).split())[:120]
        return Observation(asked, time.monotonic(), False, alive, watched=watched, why=why)

    @staticmethod
    def _full(consul: Consul, asked: float, watched: Mapping[str, str]) -> Observation:
        """By the manager's own copy: to ask the raft leader is to wait for one, 7 s and more, and a look that takes long
        makes the error bar long. Without a leader the copy is old, and is nobody's word."""
        services_health = read_services_health(entries(consul, stale=True), consul.ask("GET", "/v1/health/state/any?stale"))
        alive, leader = members(consul), consul.status.leader()
        why = "" if leader else "there is no raft leader"
        return Observation(
            asked, time.monotonic(), bool(leader), alive, services_health if leader else ServicesHealth(), watched, why
        )

    def _watched(self) -> dict[str, str]:
        found = {}
        for remote in self._hosts if self._command else ():
            try:
                said = remote.run(self._command, timeout=5)
            except HostError:
                continue
            if said.code == 0:
                found[remote.host.name] = "\n".join(sorted(said.out.decode("utf-8", "replace").split("\n"))).strip()
        return found
