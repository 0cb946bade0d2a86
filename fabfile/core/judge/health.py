"""Is the cluster well? Facts and Consul's own word in, one value and a list of problems out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..model.cluster import Cluster, Host
from ..state.desired import units_of
from ..state.facts import Facts
from .service_health import ServicesHealth


@dataclass(frozen=True, slots=True)
class ConsulStatus:
    """What one server says of the cluster; `asked` is its host, None when no server answered.

    members: node name -> alive. voters: node names in the raft quorum.
    services: others' services, which only registered themselves: name -> (passing, all) instances.
    """

    asked: str | None = None
    leader: str | None = None
    voters: tuple[str, ...] = ()
    members: Mapping[str, bool] = field(default_factory=dict)
    services: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    services_health: ServicesHealth = field(default_factory=ServicesHealth)


@dataclass(frozen=True, slots=True)
class HostHealth:
    """consul: alive, failed (known and gone), absent (not in the gossip pool) or unknown (nobody to ask)."""

    host: Host
    reachable: bool
    arch: str | None
    consul: str
    units: Mapping[str, str]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    cluster: Cluster
    word: ConsulStatus
    hosts: tuple[HostHealth, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(_problems(self))

    def json(self) -> dict[str, object]:
        """The keys that scripts may rely on."""
        word = self.word
        return {
            "cluster": self.cluster.name,
            "healthy": not self.problems,
            "primary": word.services_health.primary,
            "epoch": word.services_health.epoch,
            "raft_leader": word.leader,
            "raft_voters": list(word.voters),
            "hosts": [
                {
                    "name": h.host.name, "roles": list(h.host.roles), "arch": h.arch, "reachable": h.reachable,
                    "consul": h.consul, "units": dict(h.units), **({"error": h.error} if h.error else {}),
                }
                for h in self.hosts
            ],
            "services": [service.json() for service in word.services_health.services],
            "others": [
                {"name": name, "passing": passing, "instances": instances}
                for name, (passing, instances) in sorted(word.services.items())
            ],
            "problems": list(self.problems),
        }  # fmt: skip


def assess(cluster: Cluster, facts: Mapping[str, Facts], faults: Mapping[str, str], word: ConsulStatus) -> Health:
    """`faults`: host name -> why it could not be probed."""
    hosts = (
        _host(h, facts.get(h.name), faults.get(h.name, ""), word, units_of(h, cluster.firewall)) for h in cluster.hosts
    )
    return Health(cluster, word, tuple(hosts))


def _host(host: Host, fact: Facts | None, error: str, word: ConsulStatus, names: tuple[str, ...]) -> HostHealth:
    units = {
        name: (fact.units[name].state if name in fact.units else "absent")
        if fact
        else "unknown"
        for name in names
    }
    return HostHealth(host, fact is not None, fact.arch if fact else None, _consul(host, word), units, error)


def _consul(host: Host, word: ConsulStatus) -> str:
    if word.asked is None:
        return "unknown"
    alive = word.members.get(host.name)
    return "absent" if alive is None else "alive" if alive else "failed"


def _problems(health: Health) -> Iterator[str]:
    word, managers = health.word, health.cluster.having("manager")
    if word.asked is None:
        yield "no Consul server answers"
    elif word.leader is None:
        yield "the cluster has no raft leader"
    elif len(word.voters) < len(managers):
        missing = sorted({m.name for m in managers} - set(word.voters))
        yield f"{len(word.voters)} of {len(managers)} managers vote in the raft quorum (not {', '.join(missing)})"
    for h in health.hosts:
        name = h.host.name
        if not h.reachable:
            yield h.error or f"{name}: unreachable"
        if h.consul in ("failed", "absent"):
            yield f"{name}: Consul is {h.consul}"
        for unit, state in h.units.items():
            if state not in ("active", "unknown"):
                yield f"{name}: {unit} is {state}"
    if word.leader is not None and word.services_health.primary is None:
        yield "no orchestrator is primary"
    for offered in word.services_health.services:
        due = len(offered.instances) if offered.wanted is None else offered.wanted
        if offered.passing < due:
            yield f"service {offered.name}: {offered.passing} of {due} instances pass"
        yield from (f"service {offered.name} on {i.host}: {i.note}" for i in offered.instances if i.note)
    for service, (passing, instances) in sorted(word.services.items()):
        if passing < instances:
            yield f"service {service}: {passing} of {instances} instances pass"
