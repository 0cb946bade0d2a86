"""Whom a fault hits: from a word of the operator to host names, before anything happens. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ...core.config.schema import nearest
from ...core.config.yaml_tree import shown
from ...core.errors import InputError
from ...core.judge.service_health import ServicesHealth
from ...core.model.cluster import ROLES, Cluster, Host, Role
from ...core.state.topology import Address
from .model import Fault

_PLAIN = ("one", "primary", "raft-leader")
_SHARES = ("minority", "majority")


@dataclass(frozen=True, slots=True)
class Target:
    """hosts: in the inventory's order, never empty. service: where an instance was meant. text: who, and why these."""

    hosts: tuple[str, ...]
    service: str | None
    text: str


def resolve(
    fault: Fault, word: str, cluster: Cluster, services_health: ServicesHealth, raft_leader: str | None,
    consul_states: Mapping[str, bool], role: Role | None = None,
) -> Target:  # fmt: skip
    """The target that `word` names now. InputError says what is near, and what is possible.

    consul_states: host -> alive, as Consul's members are; empty: nobody knows. role: of `faults.role_of`.
    """
    return _TargetResolver(fault, word, cluster, services_health, raft_leader, consul_states, role or fault.role).target()


def peers(fault: Fault, host: str, target: Target, cluster: Cluster, where: Mapping[str, Address]) -> tuple[str, ...]:
    """The addresses from which the fault cuts `host`, one of the target's; empty where it cuts from nobody."""
    if fault.peers == "none":
        return ()
    spared = {host, *(target.hosts if fault.peers == "outside" else ())}
    own = {where[name].bind for name in spared} | {where[name].advertise for name in spared}
    others = [where[h.name] for h in cluster.hosts if h.name not in spared and h.name in where]
    found = dict.fromkeys(address for other in others for address in (other.bind, other.advertise))
    return tuple(a for a in found if a not in own and a != "0.0.0.0")  # noqa: S104  compared, not bound


def touches_managers(fault: Fault, target: Target, cluster: Cluster) -> bool:
    """Whether orchestrators or Consul servers may be hurt: then the history of the primaries is checked."""
    return not fault.on_service and any(cluster.host(name).has("manager") for name in target.hosts)


@dataclass(frozen=True, slots=True)
class _TargetResolver:
    fault: Fault
    word: str
    cluster: Cluster
    services_health: ServicesHealth
    leader: str | None
    alive: Mapping[str, bool]
    role: Role | None

    def target(self) -> Target:
        kind, _, rest = self.word.partition(":")
        if kind == "service" and rest:
            return self._permitted("service")._instance(*rest.split("@", 1))
        if kind in _SHARES:
            return self._permitted(kind)._share(kind, rest or "manager")
        if self.word in _PLAIN:
            return self._permitted(self.word)._plain()
        if self.word not in {h.name for h in self.cluster.hosts}:
            self._refuse("is neither a host nor a target word", self._nearest())
        return self._permitted("host")._host(self.word)

    def _permitted(self, kind: str) -> _TargetResolver:
        if kind not in self.fault.words:
            self._refuse(f"is nothing that {self.fault.name} can hit")
        return self

    def _plain(self) -> Target:
        if self.word == "one":
            return self._one_instance() if self.fault.on_service else self._one()
        title, name = ("primary", self.services_health.primary) if self.word == "primary" else ("raft leader", self.leader)
        if name is None:
            self._refuse(f"no {title} is known now")
        if name not in {h.name for h in self.cluster.hosts}:
            self._refuse(f"the {title} is {shown(name)}, which this inventory does not know")
        return self._host(name, f"the {title}")

    def _host(self, name: str, why: str = "") -> Target:
        fit = self._fit(self.cluster.host(name))
        if fit:
            self._refuse(fit)
        if self.fault.on_service:
            return self._one_instance(name)
        return Target((name,), None, f"{name}, {why}" if why else name)

    def _fit(self, host: Host) -> str | None:
        """Why the host cannot be a target; None: it can."""
        if self.role and not host.has(self.role):
            return f"{host.name} is no {self.role}, and {self.fault.name} needs one here"
        if self.alive and not self.alive.get(host.name, False):
            return f"{host.name} is not alive in Consul: there is nothing to break"
        return None

    def _one(self) -> Target:
        """A worker that is nothing else and runs most: where a loss shows, and a manager is not risked by the way."""
        fit = [h for h in self.cluster.hosts if self._fit(h) is None]
        hosts = self._ranked(fit if self.role else [h for h in fit if h.has("worker")] or fit)
        if not hosts:
            self._refuse(f"no {self.role or 'host'} is alive")
        runs = self._runs(hosts[0].name)
        return Target((hosts[0].name,), None, f"{hosts[0].name}, {'+'.join(hosts[0].roles)}, running {_instances(runs)}")

    def _one_instance(self, host: str | None = None) -> Target:
        """Of the service with most instances that pass: there, the others stand in."""
        found = [s for s in self.services_health.services if any(i.passing and host in (None, i.host) for i in s.instances)]
        if not found:
            self._refuse(f"no service has an instance that passes{f' on {host}' if host else ''}")
        return self._instance(max(found, key=lambda s: s.passing).name, host)

    def _instance(self, name: str, host: str | None = None) -> Target:
        known = {s.name: s for s in self.services_health.services}
        if name not in known:
            self._refuse("there is no such service", nearest(name, known))
        hosts = {i.host for i in known[name].instances if i.passing}
        fit = [h for h in self.cluster.hosts if h.name in hosts and host in (None, h.name) and self._fit(h) is None]
        if not fit:
            self._refuse(f"{name} has no instance that passes {f'on {host}' if host else 'on a host that can be hit'}",
                         f"it passes on {', '.join(sorted(hosts))}" if hosts else "it passes nowhere")  # fmt: skip
        chosen = self._ranked(fit)[0].name
        others = f"one of {len(hosts)} instances that pass" if len(hosts) > 1 else "its only instance that passes"
        text = f"{name} on {chosen}, {others}"
        return Target((chosen,), name, text if self.fault.on_service else f"{chosen}, where {name} runs")

    def _share(self, kind: str, word: str) -> Target:
        """Of managers the hard share: with the primary and the raft leader in it. Of others the one of least risk."""
        role = word.removesuffix("s")
        if role not in ROLES:
            self._refuse(f"{shown(word)} is not a role", nearest(word, ROLES))
        every = [h for h in self.cluster.hosts if role in h.roles]
        count = (len(every) - 1) // 2 if kind == "minority" else len(every) // 2 + 1
        if not 1 <= count <= len(every):
            self._refuse(f"of {len(every)} {role}s none is a {kind}")
        fit = self._ranked([h for h in every if self._fit(h) is None])
        if len(fit) < count:
            self._refuse(next(filter(None, map(self._fit, every))))
        chosen = {h.name for h in (sorted(fit, key=self._lead) if role == "manager" else fit)[:count]}
        hosts = tuple(h.name for h in every if h.name in chosen)
        return Target(hosts, None, f"{', '.join(hosts)}: {count} of {len(every)} {role}s")

    def _lead(self, host: Host) -> int:
        return 0 if host.name == self.services_health.primary else 1 if host.name == self.leader else 2

    def _ranked(self, hosts: Sequence[Host]) -> list[Host]:
        """The least risk first, then the most that runs there, then as the inventory has it."""
        leads = (self.services_health.primary, self.leader)
        return sorted(
            hosts, key=lambda h: (h.has("manager"), h.name in leads, h.has("loadbalancer"), -self._runs(h.name))
        )

    def _runs(self, host: str) -> int:
        return sum(i.passing and i.host == host for s in self.services_health.services for i in s.instances)

    def _nearest(self) -> str:
        return nearest(self.word, [*(h.name for h in self.cluster.hosts), *_PLAIN, *_SHARES])

    def _refuse(self, why: str | None, near: str = "") -> NoReturn:
        shape = {"host": "a host's name", "service": "service:NAME[@HOST]", "minority": "minority[:ROLE]",
                 "majority": "majority[:ROLE]"}  # fmt: skip
        possible = ", ".join(shape.get(word, word) for word in self.fault.words)
        fit = ", ".join(h.name for h in self.cluster.hosts if self._fit(h) is None)
        hosts = f"; hosts that fit: {fit}" if "host" in self.fault.words else ""
        fault = f"--target {shown(self.word)}: {why}" + (f"; {near}" if near else "")
        raise InputError([fault], f"{self.fault.name} can hit: {possible}{hosts}")


def _instances(number: int) -> str:
    return f"{number} instance{'' if number == 1 else 's'}"
