"""What Consul itself says of the cluster, asked of the first server that answers."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.errors import HostError
from ..core.health import ConsulWord
from .consul import Consul, ConsulException
from .gate import members
from .rollout import primary_of
from .ssh import Remote


def ask(servers: Iterable[Remote]) -> ConsulWord:
    """An empty word when no server answers; one without a leader when the cluster has none."""
    for remote in servers:
        consul = Consul(remote)
        try:
            alive = members(consul)
        except (HostError, ConsulException):
            continue
        try:
            return _full(remote, consul, alive)
        except (HostError, ConsulException):
            return ConsulWord(asked=remote.host.name, members=alive)
    return ConsulWord()


def _full(remote: Remote, consul: Consul, alive: dict[str, bool]) -> ConsulWord:
    raft = consul.ask("GET", "/v1/operator/raft/configuration")["Servers"]
    leader = next((s["Node"] for s in raft if s["Leader"]), None)
    services: dict[str, tuple[int, int]] = {}
    for check in consul.ask("GET", "/v1/health/state/any?stale"):
        name = check["ServiceName"]
        if name:
            passing, count = services.get(name, (0, 0))
            services[name] = (passing + (check["Status"] == "passing"), count + 1)
    return ConsulWord(
        remote.host.name,
        leader,
        tuple(sorted(s["Node"] for s in raft if s["Voter"])),
        alive,
        primary_of([remote]),
        services,
    )
