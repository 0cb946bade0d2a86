"""The deciding half of every change: check what was found on the hosts, work out each host's plan.

A `Draft` is everything known before the first change: `inv plan` shows it, `deploy.rollout` carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.config.service_warnings import warnings
from ...core.errors import HostError
from ...core.judge import acl
from ...core.model.cluster import Cluster, Host
from ...core.model.secrets import Secrets
from ...core.model.service import Services, differences
from ...core.state import guards, identity, other_firewalls, security_levels
from ...core.state.consul import FULL_LEVEL
from ...core.state.desired import ClusterContext, desired
from ...core.state.facts import Facts
from ...core.state.firewall import open_service_ports
from ...core.state.moves import Step, former_addresses, let_in_besides, rules_only
from ...core.state.node_ids import kept_node_ids
from ...core.state.plan import HostPlan, diff
from ...core.state.topology import Address, addresses
from ..artifacts import agents_zipapp as agents
from ..artifacts import resolve as artifacts
from ..disk import services
from ..disk.state import State
from ..disk.vault import Vault
from .binaries import Builds, Say, resolve_binaries
from .observe import runs_consul


@dataclass(frozen=True, slots=True)
class Draft:
    """What one run knows and wants. `plans` has the selected hosts only; `unreachable` the others' faults.

    deployed: host -> its security level now; levels: those that a deploy goes through, the last one being the goal
    acl_stale: Consul's policies and tokens are not what this inventory wants; acl_drift: how, where Consul could be asked
    service_changes: lines for the operator, of what differs from the services that the cluster knows of
    engines: hosts that get a container engine, or its client, first
    moving: hosts that get other addresses, with the ones that they lose
    """

    cluster: Cluster
    facts: Mapping[str, Facts]
    unreachable: tuple[HostError, ...]
    addresses: Mapping[str, Address]
    plans: Mapping[str, HostPlan]
    builds: Builds
    secrets: Secrets
    deployed: Mapping[str, int]
    levels: tuple[int, ...]
    acl_stale: bool
    services: Services = field(default_factory=Services)
    service_changes: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    acl_drift: tuple[str, ...] = ()
    moving: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def addresses_of(self, host: Host) -> tuple[str, ...]:
        """The addresses at which other hosts may know it now."""
        return (self.addresses[host.name].advertise, *self.moving.get(host.name, ()))

    @property
    def changing(self) -> list[str]:
        """Hosts on which something is to be done."""
        return [name for name, plan in self.plans.items() if not plan.empty or name in self.engines]

    @property
    def changes(self) -> bool:
        """Whether a deploy would do anything at all."""
        return bool(self.changing or self.acl_stale or self.service_changes)

    def reachable_managers(self) -> list[Host]:
        """Managers that answered the probe."""
        return [h for h in self.cluster.having("manager") if h.name in self.facts]

    def running_managers(self) -> list[Host]:
        """Managers whose Consul runs now as a server. A worker that is to become one runs Consul, but is none yet."""
        deployed = identity.identities(self.facts)
        return [
            h for h in self.reachable_managers()
            if runs_consul(self.facts[h.name]) and (h.name not in deployed or deployed[h.name].had("manager"))
        ]  # fmt: skip

    def stopped_managers(self) -> list[Host]:
        """Managers that were deployed, and whose Consul does not run. A host that is to become one is not among them."""
        deployed = identity.identities(self.facts)
        return [
            h for h in self.reachable_managers()
            if not runs_consul(self.facts[h.name]) and h.name in deployed and deployed[h.name].had("manager")
        ]  # fmt: skip


def draft(
    cluster: Cluster, offered: Services, selected: Collection[Host], facts: Mapping[str, Facts],
    faults: tuple[HostError, ...], say: Say, adopt: bool = False, level: int | None = None,
    published: Mapping[str, Any] | None = None, drift: tuple[str, ...] = (), step: Step = Step.SETTLE,
) -> Draft:  # fmt: skip
    """Decides what each selected host should be and how it differs. Touches no host; keeps what is new on disk.

    adopt: take over the id of a running cluster whose state folder was lost; level: the security level to plan for,
    None for the last one; published: the services that the cluster knows of; drift: of its ACLs (`acl_drift`)
    step: of the move of hosts to other addresses
    """
    state = State(cluster.state)
    identities, cluster_id = _check_identity(cluster, facts, adopt)
    if cluster_id is None or cluster_id != state.cluster_id:
        cluster_id = state.make_cluster_id(cluster_id)
    host_addresses, former = _addresses(cluster, facts, state)
    moving = {h.name: former[h.name] for h in selected if h.name in former}
    guards.check_ports(cluster, offered, facts)
    guards.check_admin(cluster, facts, host_addresses)
    guards.check_neighbours(cluster, facts, host_addresses, [h.name for h in selected])
    builds = resolve_binaries(cluster, selected, facts, state, say)
    secrets = Vault(cluster.state).ensure(cluster)
    ports = service_ports(offered, published)
    kept_ports = {name: open_service_ports(fact.files) for name, fact in facts.items()}
    if level is None:
        for warning in warnings(offered, cluster):
            say(f"warning: {warning}")
        if offered.source is None and (ports or (ports is None and any(kept_ports.values()))):
            say(f"warning: no {services.FILE} beside {cluster.source.name}: the cluster's services stay as they are")
    deployed = {name: known.security for name, known in identities.items()}
    levels = security_levels.levels_to_apply(deployed, [h.name for h in selected])
    if len(levels) > 1 or min(deployed.values(), default=FULL_LEVEL) < FULL_LEVEL:
        guards.require_reachable([_with_security_hint(f) for f in faults])
    context = ClusterContext(
        cluster, cluster_id, host_addresses, secrets, agents.build(artifacts.cache_dir(os.environ)),
        former=let_in_besides(former, moving, step), service_ports=ports, kept_ports=kept_ports,
        levels={h.name: security_levels.level_of(h.name, deployed, level or levels[-1]) for h in selected},
        ssh_ports={name: (fact.ssh_port,) for name, fact in facts.items() if fact.ssh_port},
        ufw=frozenset(name for name, fact in facts.items() if fact.ufw),
        node_ids=kept_node_ids(facts),
    )  # fmt: skip
    plans = _plans(context, selected, builds, facts, step)
    if level is None:
        for warning in other_firewalls.warnings(facts, [name for name, plan in plans.items() if not plan.empty]):
            say(f"warning: {warning}")
    acl_stale = bool(drift) or state.acl() != acl.digest(acl.wanted(cluster, secrets))
    engines = () if step is Step.LET_IN else hosts_without_engine(offered, selected, facts)
    return Draft(cluster, facts, faults, host_addresses, plans, builds, secrets, deployed, levels, acl_stale, offered,
                 differences(published, offered), engines, drift, moving)  # fmt: skip


def _check_identity(
    cluster: Cluster, facts: Mapping[str, Facts], adopt: bool = False
) -> tuple[Mapping[str, identity.Identity], str | None]:
    """What the hosts say they belong to, by host name, and the cluster's id. Refused when the hosts or our secrets are
    of another cluster, or our secrets are older than the hosts'."""
    identities = identity.identities(facts)
    cluster_id = identity.settle_cluster_id(cluster, State(cluster.state).cluster_id, identities, adopt)
    stored = Vault(cluster.state).load()
    identity.check_secrets(cluster, identities, stored.serial if stored else None)
    return identities, cluster_id


def _addresses(
    cluster: Cluster, facts: Mapping[str, Facts], state: State
) -> tuple[dict[str, Address], dict[str, tuple[str, ...]]]:
    """Each host's address, which is kept on disk, and the hosts that have others still, with those that they lose.

    Of a host that does not answer the old address stays on disk: it may be there until it answers.
    """
    remembered = state.addresses()
    known = addresses(cluster, facts, remembered)
    state.keep_addresses({n: a if n in facts else remembered.get(n, a) for n, a in known.items()})
    return known, former_addresses(known, facts, remembered)


def _plans(
    context: ClusterContext, selected: Collection[Host], builds: Builds, facts: Mapping[str, Facts], step: Step
) -> dict[str, HostPlan]:
    plans = {}
    for host in selected:
        fact = facts[host.name]
        arch = fact.arch
        assert arch is not None  # noqa: S101  check_hosts has refused the others
        wanted = desired(context, host, {program: by_arch[arch] for program, by_arch in builds.items()})
        plan = rules_only(host.name, wanted, fact) if step is Step.LET_IN else diff(host.name, wanted, fact)
        if plan is not None:
            plans[host.name] = plan
    return plans


def hosts_without_engine(offered: Services, selected: Collection[Host], facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """Hosts where a container may be placed, and which have no container engine, or one without its client."""
    images = [s for s in offered if s.image is not None]
    return tuple(h.name for h in selected if facts[h.name].docker != "ready" and any(s.fits(h) for s in images))


def service_ports(offered: Services, published: Mapping[str, Any] | None) -> tuple[int, ...] | None:
    """Ports of all services: of those offered, else of those that the cluster knows. None: there is neither to ask."""
    if offered.source is not None:
        return offered.ports
    if published is None:
        return None
    return tuple(int(s["port"]) for s in published.get("services", {}).values() if s.get("port"))


def _with_security_hint(fault: HostError) -> HostError:
    return HostError(
        fault.host, fault.message.partition(": ")[2],
        "security is turned on for all hosts together: bring this one back, or take it out of hosts.yml",
    )  # fmt: skip


def rollback_draft(
    cluster: Cluster, selected: Collection[Host], facts: Mapping[str, Facts], faults: tuple[HostError, ...]
) -> Draft:
    """The previous generation as the wanted state, on hosts that have one. Its content is in the host's own store."""
    identities, _ = _check_identity(cluster, facts)
    plans = {}
    for host in selected:
        previous = facts[host.name].previous
        if previous is not None:
            identity.check_rollback(host.name, previous, identities.get(host.name))
            plans[host.name] = diff(host.name, previous, facts[host.name])
    host_addresses = addresses(cluster, facts, State(cluster.state).addresses())
    secrets = Vault(cluster.state).ensure(cluster)
    return Draft(cluster, facts, faults, host_addresses, plans, {}, secrets, {}, (), False)
