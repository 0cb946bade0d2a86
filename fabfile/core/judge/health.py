"""Is the cluster healthy? Takes the hosts' facts and Consul's status, gives one value with a list of problems. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from ..model.cluster import Cluster, Host
from ..state.desired import units_of
from ..state.drift import drift
from ..state.facts import Facts, OtherFirewall
from ..state.left_faults import LeftoverFault
from ..state.other_firewalls import strict_firewalls
from .service_health import ServiceHealth, ServicesHealth

CANNOT = "cannot "  # an agent's word of trouble begins with it (nexus_agents/shared/consul_liveness.py)


@dataclass(frozen=True, slots=True)
class ConsulStatus:
    """The cluster as one Consul server sees it.

    server: name of the host whose server answered; None: no server answered, and the rest is empty
    leader: node name of the raft leader; voters: node names in the raft quorum
    members: node name -> alive
    acls: what Consul lacks of its policies and tokens, a line each (`acl.drift`)
    reserved: node name -> (id that its Consul runs as, id that the catalogue has of that name), where they differ
    foreign_services: services that our agents do not run, by name: (passing, all) instances
    """

    server: str | None = None
    leader: str | None = None
    voters: tuple[str, ...] = ()
    members: Mapping[str, bool] = field(default_factory=dict)
    foreign_services: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    services_health: ServicesHealth = field(default_factory=ServicesHealth)
    acls: tuple[str, ...] = ()
    reserved: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostHealth:
    """consul: alive, failed (known and gone), absent (not in the gossip pool) or unknown (no server answered).
    units: unit name -> its state (`UnitFact.state`), or unknown on an unreachable host.
    drift: where what runs is not what was deployed
    deaf: unit -> what its agent says that it cannot do with Consul, since when, and why
    faults: of drills, that are on it
    firewalls: whose rules besides ours refuse packets there."""

    host: Host
    reachable: bool
    arch: str | None
    consul: str
    units: Mapping[str, str]
    error: str = ""
    drift: tuple[str, ...] = ()
    deaf: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[LeftoverFault, ...] = ()
    firewalls: tuple[OtherFirewall, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    cluster: Cluster
    consul: ConsulStatus
    hosts: tuple[HostHealth, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """A line each; empty when the cluster is healthy."""
        consul = self.consul
        return (
            *_quorum_problems(consul, self.cluster),
            *(problem for host in self.hosts for problem in _host_problems(host)),
            # without a leader nobody can write: one line says so already
            *(problem for host in self.hosts if consul.leader for problem in _deaf_problems(host)),
            *(f"Consul's ACLs are not as wanted: {line}: inv deploy mends it" for line in consul.acls),
            *(f"{name}: Consul runs as node {own} and cannot write its entry: the name is reserved for node {other}"
              for name, (own, other) in sorted(consul.reserved.items())),
            *_primary_problems(consul),
            *(problem for service in consul.services_health.services for problem in _service_problems(service)),
            *(
                f"service {name}: {passing} of {instances} instances pass"
                for name, (passing, instances) in sorted(consul.foreign_services.items())
                if passing < instances
            ),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth a look and no problem: faults of a drill that is under way; other firewalls, of which only `verify`
        asks whether they let the cluster in."""
        faults = (
            f"{host.host.name}: a drill's fault is on it: {fault.fault}, until its own undo in {max(fault.seconds, 0)} s"
            for host in self.hosts for fault in host.faults if not fault.is_forgotten
        )  # fmt: skip
        firewalls = (
            f"{host.host.name}: {' and '.join(names)} there refuses what it does not let in itself; "
            "inv verify asks whether that is any of ours"
            for host in self.hosts if (names := strict_firewalls(host.firewalls))
        )  # fmt: skip
        return (*faults, *firewalls)

    def json(self) -> dict[str, object]:
        """The keys that scripts may rely on."""
        consul = self.consul
        return {
            "cluster": self.cluster.name,
            "healthy": not self.problems,
            "primary": consul.services_health.primary,
            "epoch": consul.services_health.epoch,
            "raft_leader": consul.leader,
            "raft_voters": list(consul.voters),
            "hosts": [
                {
                    "name": h.host.name, "roles": list(h.host.roles), "arch": h.arch, "reachable": h.reachable,
                    "consul": h.consul, "units": dict(h.units), "deaf": dict(h.deaf),
                    **({"error": h.error} if h.error else {}), **({"drift": list(h.drift)} if h.drift else {}),
                    **({"faults": [asdict(fault) for fault in h.faults]} if h.faults else {}),
                    **({"firewalls": list(strict)} if (strict := strict_firewalls(h.firewalls)) else {}),
                }
                for h in self.hosts
            ],
            "services": [service.json() for service in consul.services_health.services],
            "others": [
                {"name": name, "passing": passing, "instances": instances}
                for name, (passing, instances) in sorted(consul.foreign_services.items())
            ],
            "problems": list(self.problems),
        }  # fmt: skip


def assess(cluster: Cluster, facts: Mapping[str, Facts], errors: Mapping[str, str], consul: ConsulStatus) -> Health:
    """`facts`: by host name, of the hosts that could be probed; `errors`: host name -> why it could not be."""
    hosts = (
        _host_health(host, facts.get(host.name), errors.get(host.name, ""), consul, units_of(host, cluster.firewall))
        for host in cluster.hosts
    )
    return Health(cluster, consul, tuple(hosts))


def _host_health(
    host: Host, facts: Facts | None, error: str, consul: ConsulStatus, unit_names: tuple[str, ...]
) -> HostHealth:
    membership = _membership(host, consul)
    if facts is None:
        return HostHealth(host, False, None, membership, dict.fromkeys(unit_names, "unknown"), error)
    units = {name: facts.units[name].state if name in facts.units else "absent" for name in unit_names}
    deaf = {name: facts.said[name] for name in unit_names if facts.said.get(name, "").startswith(CANNOT)}
    return HostHealth(host, True, facts.arch, membership, units, error, drift(facts.manifest, facts), deaf,
                      facts.faults, facts.other_firewalls or ())  # fmt: skip


def _membership(host: Host, consul: ConsulStatus) -> str:
    if consul.server is None:
        return "unknown"
    alive = consul.members.get(host.name)
    return "absent" if alive is None else "alive" if alive else "failed"


def _quorum_problems(consul: ConsulStatus, cluster: Cluster) -> Iterator[str]:
    managers = cluster.having("manager")
    if consul.server is None:
        yield "no Consul server answers"
    elif consul.leader is None:
        yield "the cluster has no raft leader"
    elif len(consul.voters) < len(managers):
        missing = sorted({m.name for m in managers} - set(consul.voters))
        yield f"{len(consul.voters)} of {len(managers)} managers vote in the raft quorum (not {', '.join(missing)})"


def _primary_problems(consul: ConsulStatus) -> Iterator[str]:
    if consul.leader is not None and consul.services_health.primary is None:
        yield "no orchestrator is primary"


def _host_problems(health: HostHealth) -> Iterator[str]:
    name = health.host.name
    if not health.reachable:
        yield health.error or f"{name}: unreachable"
    if health.consul in ("failed", "absent"):
        yield f"{name}: Consul is {health.consul}"
    for unit, state in health.units.items():
        if state not in ("active", "unknown"):
            yield f"{name}: {unit} is {state}"
    yield from (f"{name}: {line}; inv deploy --hosts {name}" for line in health.drift)
    for fault in health.faults:
        if fault.is_forgotten:
            yield f"{name}: a drill's fault is left on it: {fault.fault} ({fault.outlook}); inv chaos.heal"


def _deaf_problems(health: HostHealth) -> Iterator[str]:
    """An agent that runs, and does not hear Consul or is not heard."""
    for unit, words in health.deaf.items():
        refused = any(reason in words for reason in ("ACL not found", "Permission denied"))
        yield f"{health.host.name}: {unit.removesuffix('.service')} {words}" + (": inv deploy mends its token" * refused)


def _service_problems(service: ServiceHealth) -> Iterator[str]:
    due = len(service.instances) if service.wanted is None else service.wanted
    if service.passing < due:
        yield f"service {service.name}: {service.passing} of {due} instances pass"
    yield from (f"service {service.name} on {i.host}: {i.note}" for i in service.instances if i.note)
