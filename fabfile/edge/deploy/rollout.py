"""Carries a draft out: lock, waves with their gates, and a second probe that must find nothing left to do."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Protocol

from ...core.errors import ApplyError, HostError, Several
from ...core.judge.acl import clients_without_acls, digest, wanted
from ...core.model.cluster import Host
from ...core.state.guards import check_primary
from ...core.state.plan import describe, diff, summary
from ...core.state.waves import Wave, waves
from ..consul import acl
from ..consul.client import Consul
from ..consul.published_services import publish
from ..disk.state import State
from ..ssh.connection import Remote
from ..ssh.fanout import each
from ..ssh.fleet import Fleet
from . import container_engine as engines
from . import firewall_undo as firewall
from . import gate, lock
from .apply import apply_plan, upload_size
from .draft import Draft

PRIMARY_KEY = "nexus/primary"
_NOTICE = 2.0  # seconds; a restart takes about one


class Screen(Protocol):
    """Who watches: told of each step as it happens, from any thread."""

    def wave(self, title: str, hosts: Collection[str]) -> None: ...
    def step(self, host: str, text: str) -> None: ...
    def done(self, host: str, text: str) -> None: ...
    def failed(self, host: str, text: str) -> None: ...


def primary_of(remotes: Iterable[Remote]) -> str | None:
    """The primary manager by the cluster's own word: the holder's session on `nexus/primary`. None: there is none."""
    for remote in remotes:
        consul = Consul(remote)
        try:
            _, entry = consul.kv.get(PRIMARY_KEY)
            if not entry or "Session" not in entry:
                return None
            _, session = consul.session.info(entry["Session"])
            return str(session["Node"]) if session else None
        except HostError:
            continue
    return None


def refuse_foreign_primary(fleet: Fleet, draft: Draft) -> None:
    """Refused when the running cluster has a primary manager that this inventory does not name."""
    check_primary(draft.cluster, primary_of(fleet.of(draft.running_managers())))


def roll_out(fleet: Fleet, draft: Draft, what: str, screen: Screen) -> None:
    """Applies all plans under the cluster's lock and verifies. ApplyError at the first host that does not get there."""
    running = draft.running_managers()
    leader = None
    if running and any(not p.empty for n, p in draft.plans.items() if draft.cluster.host(n).has("manager")):
        leader = gate.leader_name(draft.cluster, lambda h: draft.where[h.name].advertise, fleet.of(running))
    with lock.held(_lockers(fleet, draft), what) as me:
        if draft.engines:
            engines.install([fleet[name] for name in draft.engines], screen)
        up = {h.name for h in running}
        permissions = AclSync(fleet, draft, screen)
        permissions.before()
        for wave in waves(draft.cluster, draft.plans, [h.name for h in running], leader):
            screen.wave(wave.title, wave.hosts)
            lock.take(_lockers(fleet, draft), me)  # again: the half hour begins anew
            _apply(fleet, draft, wave, f"{me.who} {what}", screen)
            up |= {n for n in wave.hosts if draft.cluster.host(n).has("manager")}
            _settle(fleet, draft, wave, up, permissions, screen)
        _verify(fleet, draft)
        if draft.service_changes:
            screen.step("services", ", ".join(draft.service_changes))
            publish(fleet.of(draft.reachable_managers())[0], draft.services)


def _lockers(fleet: Fleet, draft: Draft) -> list[Remote]:
    """Where the lock is taken: every manager that can be reached, and every host that changes."""
    changing = {name for name, plan in draft.plans.items() if not plan.empty}
    managers = draft.reachable_managers()
    return fleet.of(managers + [h for h in draft.cluster.hosts if h.name in changing and h not in managers])


def _apply(fleet: Fleet, draft: Draft, wave: Wave, who: str, screen: Screen) -> None:
    def work(remote: Remote) -> None:
        name, plan = remote.host.name, draft.plans[remote.host.name]
        if (size := upload_size(plan)) > 100_000:
            screen.step(name, f"uploading {size / 1e6:.1f} MB")
        apply_plan(remote, plan, who, lambda text: screen.step(name, text))
        firewall.confirm(draft.cluster, remote, plan)

    def done(remote: Remote, result: HostError | None) -> None:
        name = remote.host.name
        if result is None:
            screen.done(name, summary(draft.plans[name]))
        else:
            screen.failed(name, result.message)

    _, faults = each([fleet[n] for n in wave.hosts], work, done)
    if faults:
        raise Several(faults)


class AclSync:
    """Consul's ACLs on the way: brought in line as soon as the servers can take it, and before anybody needs it."""

    def __init__(self, fleet: Fleet, draft: Draft, screen: Screen) -> None:
        self._fleet, self._draft, self._screen = fleet, draft, screen
        self._left = {h.name for h in draft.cluster.having("manager") if not _unchanged(draft, h)}
        self._due = draft.acl_stale or not draft.running_managers() or draft.secrets.management is None

    def before(self) -> None:
        """Servers that know ACLs already are asked before anything changes: a new host needs its token to be there."""
        running = self._draft.running_managers()
        if running and all(self._draft.deployed.get(h.name, 0) > 0 for h in running):
            self._sync(self._fleet.of(running))

    def after(self, names: Collection[str]) -> None:
        """The last of the servers that had to change has done so, and there is a leader."""
        self._left -= set(names)
        if not self._left:
            self._sync(self._fleet.of(self._draft.reachable_managers()))

    def _sync(self, servers: list[Remote]) -> None:
        if self._due:
            cluster = self._draft.cluster
            self._screen.step(servers[0].host.name, "bringing Consul's ACLs in line")
            secrets = acl.sync(servers, cluster, self._draft.secrets)
            for remote in self._fleet:
                remote.token = secrets.management
            State(cluster.state).keep_acl(digest(wanted(cluster, secrets)))
            self._due = False


def _unchanged(draft: Draft, host: Host) -> bool:
    plan = draft.plans.get(host.name)
    return plan is None or plan.empty


def _settle(
    fleet: Fleet, draft: Draft, wave: Wave, up: Collection[str], permissions: AclSync, screen: Screen
) -> None:
    """The gate after a wave: nobody else changes before these hosts are well. `up`: the managers that should run."""
    cluster = draft.cluster
    voters = len(cluster.having("manager"))
    if len(up) <= voters // 2:
        screen.step(wave.hosts[-1], f"{len(up)} of {voters} managers: the cluster starts when a majority is deployed")
        return
    servers = [fleet[n] for n in wave.hosts if cluster.host(n).has("manager")]
    for remote in servers:
        gate.server_gate(remote, len(up), rolling=bool(draft.running_managers()))
    if servers:
        permissions.after(wave.hosts)
        if not draft.running_managers():
            _awaken(fleet, servers[0], screen)
    asked = servers[0] if servers else fleet[next(h.name for h in draft.cluster.hosts if h.name in up)]
    others = [fleet[n] for n in sorted(up) if n not in wave.hosts]
    gate.member_gate(asked, [fleet[n] for n in wave.hosts], others)


def _awaken(fleet: Fleet, server: Remote, screen: Screen) -> None:
    """At a first start, when nothing runs yet: who would take up to half a minute to notice the ACLs starts anew."""
    until = time.monotonic() + _NOTICE
    while (late := clients_without_acls(Consul(server).agent.members()) & fleet.remotes.keys()) and time.monotonic() < until:
        time.sleep(0.2)
    for name in sorted(late):
        screen.step(name, "restart consul.service: it would notice the ACLs only later")
    _, faults = each([fleet[name] for name in sorted(late)], lambda r: r.run(["systemctl", "restart", "consul.service"]))
    if faults:
        raise Several(faults)


def _verify(fleet: Fleet, draft: Draft) -> None:
    """Probes again: the difference must be gone."""
    changed = [fleet[name] for name, plan in draft.plans.items() if not plan.empty]
    facts, faults = fleet.probe(changed)
    if faults:
        raise Several(faults)
    for name, fact in facts.items():
        left = diff(name, draft.plans[name].wanted, fact)
        if not left.empty:
            lines = "\n".join(describe(left, diffs=False))
            raise ApplyError(
                name,
                "after the deploy this still differs",
                "deploy again; inv plan shows the difference",
                lines,
            )
    State(draft.cluster.state).keep_verified(time.time())
