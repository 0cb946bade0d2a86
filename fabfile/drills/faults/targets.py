"""The target of a fault: from what the operator typed to host names, before anything happens. Pure, deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ...core.config.fault import shown
from ...core.config.schema import nearest
from ...core.errors import InputError
from ...core.judge.service_health import ServicesHealth
from ...core.model.cluster import ROLES, Cluster, Host, Role
from ...core.state.topology import Address
from ...core.text import plural
from .model import TARGET_FORMS, Fault

_SINGLE = ("one", "primary", "raft-leader")
_SHARES = ("minority", "majority")


@dataclass(frozen=True, slots=True)
class Target:
    """hosts: in the inventory's order, never empty. service: whose instance is meant, if any. text: which and why."""

    hosts: tuple[str, ...]
    service: str | None
    text: str


def resolve(
    fault: Fault, spec: str, cluster: Cluster, services_health: ServicesHealth, raft_leader: str | None,
    alive: Mapping[str, bool], role: Role | None = None,
) -> Target:  # fmt: skip
    """The target that `spec` names now. InputError names what is near and what is possible.

    alive: host -> whether Consul's members list it as alive; empty: unknown. role: of `catalogue.role_of`.
    """
    return _TargetResolver(fault, spec, cluster, services_health, raft_leader, alive, role or fault.role).target()


def peer_addresses(
    fault: Fault, host: str, target: Target, cluster: Cluster, addresses: Mapping[str, Address]
) -> tuple[str, ...]:
    """The addresses from which the fault cuts `host`, one of the target's; empty where it cuts from none."""
    if fault.peers == "none":
        return ()
    same_side = {host, *(target.hosts if fault.peers == "outside" else ())}
    excluded = {addresses[name].bind for name in same_side} | {addresses[name].advertise for name in same_side}
    others = [addresses[h.name] for h in cluster.hosts if h.name not in same_side and h.name in addresses]
    candidates = dict.fromkeys(address for other in others for address in (other.bind, other.advertise))
    return tuple(a for a in candidates if a not in excluded and a != "0.0.0.0")  # noqa: S104  compared, not bound


def touches_managers(fault: Fault, target: Target, cluster: Cluster) -> bool:
    """Whether the fault can hurt orchestrators or Consul servers: then the history of the primaries is checked."""
    return not fault.on_service and any(cluster.host(name).has("manager") for name in target.hosts)


@dataclass(frozen=True, slots=True)
class _TargetResolver:
    fault: Fault
    spec: str
    cluster: Cluster
    services_health: ServicesHealth
    raft_leader: str | None
    alive: Mapping[str, bool]
    role: Role | None

    def target(self) -> Target:
        kind, _, rest = self.spec.partition(":")
        if kind == "service" and rest:
            self._require("service")
            return self._instance(*rest.split("@", 1))
        if kind in _SHARES:
            self._require(kind)
            return self._share(kind, rest or "manager")
        if self.spec in _SINGLE:
            self._require(self.spec)
            return self._single()
        if self.spec not in {h.name for h in self.cluster.hosts}:
            self._refuse("is neither a host nor a target word", self._nearest())
        self._require("host")
        return self._host(self.spec)

    def _require(self, kind: str) -> None:
        if kind not in self.fault.target_kinds:
            self._refuse(f"is nothing that {self.fault.name} can hit")

    def _single(self) -> Target:
        if self.spec == "one":
            return self._any_instance() if self.fault.on_service else self._any_host()
        if self.spec == "primary":
            title, name = "primary", self.services_health.primary
        else:
            title, name = "raft leader", self.raft_leader
        if name is None:
            self._refuse(f"no {title} is known now")
        if name not in {h.name for h in self.cluster.hosts}:
            self._refuse(f"the {title} is {shown(name)}, which this inventory does not know")
        return self._host(name, f"the {title}")

    def _host(self, name: str, why: str = "") -> Target:
        unfit = self._unfit_reason(self.cluster.host(name))
        if unfit:
            self._refuse(unfit)
        if self.fault.on_service:
            return self._any_instance(name)
        return Target((name,), None, f"{name}, {why}" if why else name)

    def _unfit_reason(self, host: Host) -> str | None:
        """Why the host cannot be a target; None: it can."""
        if self.role and not host.has(self.role):
            return f"{host.name} is no {self.role}, and {self.fault.name} needs one here"
        if self.alive and not self.alive.get(host.name, False):
            return f"{host.name} is not alive in Consul: there is nothing to break"
        return None

    def _any_host(self) -> Target:
        """A host that is only a worker and runs most: a loss shows there, and puts no manager at risk."""
        fit = [h for h in self.cluster.hosts if self._unfit_reason(h) is None]
        hosts = self._by_risk(fit if self.role else [h for h in fit if h.has("worker")] or fit)
        if not hosts:
            self._refuse(f"no {self.role or 'host'} is alive")
        name, roles = hosts[0].name, "+".join(hosts[0].roles)
        return Target((name,), None, f"{name}, {roles}, running {plural(self._instances_on(name), 'instance')}")

    def _any_instance(self, host: str | None = None) -> Target:
        """Of the service with most passing instances: there, the others stand in."""
        services = [
            s for s in self.services_health.services if any(i.passing and host in (None, i.host) for i in s.instances)
        ]
        if not services:
            self._refuse(f"no service has an instance that passes{f' on {host}' if host else ''}")
        return self._instance(max(services, key=lambda s: s.passing).name, host)

    def _instance(self, name: str, host: str | None = None) -> Target:
        services = {s.name: s for s in self.services_health.services}
        if name not in services:
            self._refuse("there is no such service", nearest(name, services))
        passing = {i.host for i in services[name].instances if i.passing}
        fit = [
            h for h in self.cluster.hosts
            if h.name in passing and host in (None, h.name) and self._unfit_reason(h) is None
        ]  # fmt: skip
        if not fit:
            self._refuse(f"{name} has no instance that passes {f'on {host}' if host else 'on a host that can be hit'}",
                         f"it passes on {', '.join(sorted(passing))}" if passing else "it passes nowhere")  # fmt: skip
        chosen = self._by_risk(fit)[0].name
        others = f"one of {len(passing)} instances that pass" if len(passing) > 1 else "its only instance that passes"
        text = f"{name} on {chosen}, {others}"
        return Target((chosen,), name, text if self.fault.on_service else f"{chosen}, where {name} runs")

    def _share(self, kind: str, role_name: str) -> Target:
        """Of managers the hardest share, with the primary and the raft leader in it; of other roles the safest."""
        role = role_name.removesuffix("s")
        if role not in ROLES:
            self._refuse(f"{shown(role_name)} is not a role", nearest(role_name, ROLES))
        members = [h for h in self.cluster.hosts if role in h.roles]
        count = (len(members) - 1) // 2 if kind == "minority" else len(members) // 2 + 1
        if not 1 <= count <= len(members):
            self._refuse(f"of {len(members)} {role}s none is a {kind}")
        fit = self._by_risk([h for h in members if self._unfit_reason(h) is None])
        if len(fit) < count:
            self._refuse(next(filter(None, map(self._unfit_reason, members))))
        chosen = {h.name for h in (sorted(fit, key=self._leader_rank) if role == "manager" else fit)[:count]}
        hosts = tuple(h.name for h in members if h.name in chosen)
        return Target(hosts, None, f"{', '.join(hosts)}: {count} of {len(members)} {role}s")

    def _leader_rank(self, host: Host) -> int:
        return 0 if host.name == self.services_health.primary else 1 if host.name == self.raft_leader else 2

    def _by_risk(self, hosts: Sequence[Host]) -> list[Host]:
        """The least risk first, then most passing instances first, then the inventory's order."""
        leaders = (self.services_health.primary, self.raft_leader)

        def risk(host: Host) -> tuple[bool, bool, bool, int]:
            leads = host.name in leaders
            return host.has("manager"), leads, host.has("loadbalancer"), -self._instances_on(host.name)

        return sorted(hosts, key=risk)

    def _instances_on(self, host: str) -> int:
        return sum(i.passing and i.host == host for s in self.services_health.services for i in s.instances)

    def _nearest(self) -> str:
        return nearest(self.spec, [*(h.name for h in self.cluster.hosts), *_SINGLE, *_SHARES])

    def _refuse(self, why: str | None, near: str = "") -> NoReturn:
        possible = ", ".join(TARGET_FORMS.get(kind, kind) for kind in self.fault.target_kinds)
        fit = ", ".join(h.name for h in self.cluster.hosts if self._unfit_reason(h) is None)
        hosts = f"; hosts that fit: {fit}" if "host" in self.fault.target_kinds else ""
        error = f"--target {shown(self.spec)}: {why}" + (f"; {near}" if near else "")
        raise InputError([error], f"{self.fault.name} can hit: {possible}{hosts}")
