"""The one flow for every change: probe, decide, show, apply in waves, verify. `cli` drives it, step by step.

A `Draft` is everything known before the first change: `plan` shows it, `deploy` carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.config.service_warnings import warnings
from ...core.errors import HostError
from ...core.judge import acl
from ...core.model.cluster import Arch, Binary, Cluster, Host
from ...core.model.secrets import Secrets
from ...core.model.service import Services, differences
from ...core.state import guards, security_levels
from ...core.state.artifacts import Artifact, Program
from ...core.state.consul import FULL
from ...core.state.desired import Context, desired
from ...core.state.facts import Facts
from ...core.state.plan import HostPlan, diff
from ...core.state.topology import Address, addresses
from ..artifacts import agents_zipapp as agents
from ..artifacts import resolve as artifacts
from ..disk import services
from ..disk.state import State
from ..disk.vault import Vault
from ..ssh.fleet import Fleet
from . import lock

Say = Callable[[str], None]
Builds = Mapping[Program, Mapping[Arch, Artifact]]


@dataclass(frozen=True, slots=True)
class Draft:
    """What one run knows and wants. `plans` has the selected hosts only; `unreachable` the others' faults.

    deployed: host -> its security level now; steps: the levels that a deploy goes through
    acl_stale: Consul's policies and tokens are not what this inventory wants
    """

    cluster: Cluster
    facts: Mapping[str, Facts]
    unreachable: tuple[HostError, ...]
    where: Mapping[str, Address]
    plans: Mapping[str, HostPlan]
    builds: Builds
    secrets: Secrets
    deployed: Mapping[str, int]
    steps: tuple[int, ...]
    acl_stale: bool
    services: Services = field(default_factory=Services)
    service_changes: tuple[str, ...] = ()  # of what the cluster was told to run
    engines: tuple[str, ...] = ()  # hosts that are to get a container engine first

    @property
    def changing(self) -> list[str]:
        """Hosts on which anything is to be done."""
        return [name for name, plan in self.plans.items() if not plan.empty or name in self.engines]

    @property
    def changes(self) -> bool:
        return bool(self.changing or self.acl_stale or self.service_changes)

    def reachable_managers(self) -> list[Host]:
        return [h for h in self.cluster.having("manager") if h.name in self.facts]

    def running_managers(self) -> list[Host]:
        """Managers whose Consul runs now."""
        return [h for h in self.reachable_managers() if _runs_consul(self.facts[h.name])]


def observe(
    fleet: Fleet, needed: Collection[Host], previous: bool = False
) -> tuple[dict[str, Facts], tuple[HostError, ...]]:
    """Probes the whole inventory. A needed host that cannot be reached, or cannot be used, stops the run here."""
    facts, faults = fleet.probe(previous=previous)
    chosen = {h.name for h in needed}
    guards.require([f for f in faults if f.host in chosen])
    guards.check_hosts({name: fact for name, fact in facts.items() if name in chosen})
    return facts, tuple(faults)


def told(fleet: Fleet, facts: Mapping[str, Facts]) -> dict[str, Any] | None:
    """The services that the running cluster knows of; None when there is nobody to ask."""
    from ..consul.published_services import published

    managers = [h for h in fleet.cluster.having("manager") if h.name in facts and _runs_consul(facts[h.name])]
    return published(fleet.of(managers))


def _runs_consul(fact: Facts) -> bool:
    unit = fact.units.get("consul.service")
    return unit is not None and unit.running


def refuse_if_busy(facts: Mapping[str, Facts]) -> None:
    """Busy when a lock stands, unless its holder is known to be dead. Clocks are the hosts' own."""
    for fact in facts.values():
        if fact.lock and fact.lock.expires > fact.now and not lock.is_dead(fact.lock):
            raise lock.busy(fact.lock)


def draft(
    cluster: Cluster, offered: Services, selected: Collection[Host], facts: Mapping[str, Facts],
    faults: tuple[HostError, ...], say: Say, adopt: bool = False, step: int | None = None,
    told: Mapping[str, Any] | None = None,
) -> Draft:  # fmt: skip
    """Decides what each selected host should be and how it differs. Touches no host.

    `step`: the security level of this pass; None shows the last one. `told`: the services that the cluster knows of.
    """
    state = State(cluster.state)
    vault = Vault(cluster.state)
    found = guards.identities(facts)
    own = guards.settle_identity(cluster, state.cluster_id, found, adopt)
    at_hand = vault.load()
    guards.check_secrets(cluster, found, at_hand.serial if at_hand else None)
    if own is None or own != state.cluster_id:
        own = state.make_cluster_id(own)
    where = addresses(cluster, facts, state.addresses())
    state.keep_addresses(where)
    guards.check_ports(cluster, offered, facts)
    guards.check_admin(cluster, facts, where)
    guards.check_neighbours(cluster, facts, where, [h.name for h in selected])
    builds = binaries(cluster, selected, facts, state, say)
    secrets = vault.ensure(cluster)
    told_ports = tuple(int(s["port"]) for s in (told or {}).get("services", {}).values() if s.get("port"))
    if step is None:
        for warning in warnings(offered, cluster):
            say(f"warning: {warning}")
        if offered.source is None and told_ports:
            say(f"warning: no {services.FILE} beside {cluster.source.name}: the cluster's services stay as they are")
    deployed = {name: identity.security for name, identity in found.items()}
    steps = security_levels.passes(deployed, [h.name for h in selected])
    if len(steps) > 1 or min(deployed.values(), default=FULL) < FULL:
        guards.require([replace_hint(f) for f in faults])
    context = Context(
        cluster, own, where, secrets, agents.build(artifacts.cache_dir(os.environ)),
        service_ports=offered.ports if offered.source else told_ports,
        levels={h.name: security_levels.level_of(h.name, deployed, step or steps[-1]) for h in selected},
        ssh_ports={name: (fact.ssh_port,) for name, fact in facts.items() if fact.ssh_port},
        ufw=frozenset(name for name, fact in facts.items() if fact.ufw),
    )  # fmt: skip
    plans = {}
    for host in selected:
        arch = facts[host.name].arch
        assert arch is not None  # noqa: S101  check_hosts has refused the others
        mine = {program: by_arch[arch] for program, by_arch in builds.items()}
        plans[host.name] = diff(host.name, desired(context, host, mine), facts[host.name])
    stale = state.acl() != acl.digest(acl.wanted(cluster, secrets))
    return Draft(cluster, facts, faults, where, plans, builds, secrets, deployed, steps, stale, offered,
                 differences(told, offered), lacking_engine(offered, selected, facts))  # fmt: skip


def lacking_engine(offered: Services, selected: Collection[Host], facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """Hosts where an image may be placed, and which have nothing to run it with."""
    images = [s for s in offered if s.image is not None]
    return tuple(h.name for h in selected if not facts[h.name].docker and any(s.fits(h) for s in images))


def replace_hint(fault: HostError) -> HostError:
    return HostError(
        fault.host, fault.message.partition(": ")[2],
        "security is turned on for all hosts together: bring this one back, or take it out of hosts.yml",
    )  # fmt: skip


def binaries(
    cluster: Cluster, selected: Collection[Host], facts: Mapping[str, Facts], state: State, say: Say
) -> Builds:
    """Each program in one version for all architectures among the hosts. The version is chosen once a cluster."""
    known = state.versions()
    cache = artifacts.cache_dir(os.environ)
    wanted: dict[Program, Binary] = {"consul": cluster.consul}
    if any(h.has("loadbalancer") for h in selected):
        wanted["caddy"] = cluster.caddy
    found: dict[Program, Mapping[Arch, Artifact]] = {}
    for program, binary in wanted.items():
        arches = sorted({a for h in selected if (a := facts[h.name].arch)})
        found[program] = artifacts.resolve(program, binary, arches, cache, known.get(program), say)
        known[program] = next(iter(found[program].values())).version_text
    state.keep_versions(known)
    return found


def rollback_draft(
    cluster: Cluster, selected: Collection[Host], facts: Mapping[str, Facts], faults: tuple[HostError, ...]
) -> Draft:
    """The generation before as the wanted state, on hosts that have one. Its bytes are in the host's own store."""
    found = guards.identities(facts)
    guards.settle_identity(cluster, State(cluster.state).cluster_id, found)
    at_hand = Vault(cluster.state).load()
    guards.check_secrets(cluster, found, at_hand.serial if at_hand else None)
    plans = {}
    for host in selected:
        before = facts[host.name].previous
        if before is not None:
            guards.check_rollback(host.name, before, found.get(host.name))
            plans[host.name] = diff(host.name, before, facts[host.name])
    where = addresses(cluster, facts, State(cluster.state).addresses())
    secrets = Vault(cluster.state).ensure(cluster)
    return Draft(cluster, facts, faults, where, plans, {}, secrets, {}, (), False)
