"""Carries a draft out: lock, waves with their gates, and a second probe that must find no difference left."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from ...core.errors import ApplyError, HostError, Several
from ...core.foreign import understood
from ...core.judge.acl import digest, wanted
from ...core.model.cluster import Host
from ...core.state.guards import check_primary
from ...core.state.plan import diff
from ...core.state.plan_text import describe, summary
from ...core.state.waves import Wave, waves
from ..consul import acl
from ..consul.client import Consul
from ..consul.published_services import publish
from ..disk.state import State
from ..disk.vault import Vault
from ..ssh.connection import Remote
from ..ssh.fanout import UPLOADS, for_each_host
from ..ssh.fleet import Fleet
from . import container_engine, firewall_undo, gate, lock
from .apply import apply_plan, upload_size
from .draft import Draft
from .progress import ProgressListener
from .retire import retire_orchestrators
from .wave_gates import WaveGates

PRIMARY_KEY = "nexus/primary"


def primary_of(remotes: Iterable[Remote]) -> str | None:
    """The host whose session holds `nexus/primary`, by the first manager that answers; None when there is none."""
    for remote in remotes:
        consul = Consul(remote)
        try:
            with understood(remote.host.name, "the primary's lock"):
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


def roll_out(fleet: Fleet, draft: Draft, what: str, progress: ProgressListener) -> None:
    """Applies all plans under the cluster's lock, wave by wave, and verifies. `what` tells others who are locked out.

    ApplyError, or Several, at the first wave that fails; the waves after it are not begun.
    """
    running = draft.running_managers()
    leader = quorum = None
    if running and any(not p.empty for n, p in draft.plans.items() if draft.cluster.host(n).has("manager")):
        leader = gate.leader_name(draft.cluster, draft.addresses_of, fleet.of(running))
        quorum = gate.quorum_of(fleet.of(running))
    with lock.held(_hosts_to_lock(fleet, draft), what) as me:
        if draft.engines:
            container_engine.install([fleet[name] for name in draft.engines], progress)
        acl_sync = AclSync(fleet, draft, progress)
        gates = WaveGates(fleet, draft, quorum, acl_sync.after_wave, progress)
        retire_orchestrators(fleet, draft, progress)
        acl_sync.before_waves()
        for wave in waves(draft.cluster, draft.plans, [h.name for h in running], leader, draft.moving):
            progress.wave(wave.title, wave.hosts)
            gates.before(wave)
            lock.take(_hosts_to_lock(fleet, draft), me)  # again: the lock's half hour starts over
            _apply(fleet, draft, wave, f"{me.who} {what}", progress)
            gates.after(wave)
        _verify(fleet, draft)
        if draft.service_changes:
            progress.step("services", ", ".join(draft.service_changes))
            # the running ones first: SSH may reach a host whose Consul does not answer
            publish(fleet.of(sorted(draft.reachable_managers(), key=lambda h: h not in running)), draft.services)


def let_in(fleet: Fleet, draft: Draft, what: str, progress: ProgressListener) -> None:
    """Carries out a draft of `Step.LET_IN`, on all hosts at once: it adds to their rules, and changes nothing else."""
    wave = Wave("firewalls let the new addresses in", tuple(draft.changing))
    if wave.hosts:
        with lock.held(_hosts_to_lock(fleet, draft), what) as me:
            progress.wave(wave.title, wave.hosts)
            _apply(fleet, draft, wave, f"{me.who} {what}", progress)


def _hosts_to_lock(fleet: Fleet, draft: Draft) -> list[Remote]:
    """The hosts to lock: every manager that can be reached, and every host that changes."""
    changing = {name for name, plan in draft.plans.items() if not plan.empty}
    managers = draft.reachable_managers()
    return fleet.of(managers + [h for h in draft.cluster.hosts if h.name in changing and h not in managers])


def _apply(fleet: Fleet, draft: Draft, wave: Wave, who: str, progress: ProgressListener) -> None:
    def work(remote: Remote) -> None:
        name, plan = remote.host.name, draft.plans[remote.host.name]
        if (size := upload_size(plan)) > 100_000:
            progress.step(name, f"uploading {size / 1e6:.1f} MB")
        apply_plan(remote, plan, who, lambda text: progress.step(name, text))
        firewall_undo.disarm(draft.cluster, remote, plan)

    def done(remote: Remote, result: HostError | None) -> None:
        name = remote.host.name
        if result is None:
            progress.done(name, summary(draft.plans[name]))
        else:
            progress.failed(name, result.message)

    _, faults = for_each_host([fleet[n] for n in wave.hosts], work, done, UPLOADS)
    if faults:
        raise Several(faults)


class AclSync:
    """Consul's ACLs during a rollout: synced once, as soon as the servers can take it and before a host needs it."""

    def __init__(self, fleet: Fleet, draft: Draft, progress: ProgressListener) -> None:
        self._fleet, self._draft, self._progress = fleet, draft, progress
        self._pending = {h.name for h in draft.cluster.having("manager") if not _unchanged(draft, h)}
        self._due = draft.acl_stale or not draft.running_managers() or draft.secrets.management is None

    def before_waves(self) -> None:
        """Syncs before anything changes where the servers have ACLs already: a new host needs its token to exist."""
        running = self._draft.running_managers()
        if running and all(self._draft.deployed.get(h.name, 0) > 0 for h in running):
            self._sync(self._fleet.of(running))

    def after_wave(self, names: Collection[str]) -> None:
        """Syncs once the last server that has to change has done so. `names`: the hosts of a wave that is done."""
        self._pending -= set(names)
        if not self._pending:
            self._sync(self._fleet.of(self._draft.reachable_managers()))

    def _sync(self, servers: list[Remote]) -> None:
        if self._due:
            cluster = self._draft.cluster
            self._progress.step(servers[0].host.name, "bringing Consul's ACLs in line")
            secrets = acl.sync(servers, cluster, self._draft.secrets)
            for remote in self._fleet:
                remote.token = secrets.management
            State(cluster.state).keep_acl(digest(wanted(cluster, secrets)))
            Vault(cluster.state).forget_removed(cluster)  # Consul knows their tokens no more
            self._due = False


def _unchanged(draft: Draft, host: Host) -> bool:
    plan = draft.plans.get(host.name)
    return plan is None or plan.empty


def _verify(fleet: Fleet, draft: Draft) -> None:
    """Probes again. ApplyError when a host still differs from what was wanted."""
    changed = [fleet[name] for name, plan in draft.plans.items() if not plan.empty]
    facts, faults = fleet.probe(changed)
    if faults:
        raise Several(faults)
    for name, fact in facts.items():
        left = diff(name, draft.plans[name].wanted, fact)
        if not left.empty:
            lines = "\n".join(describe(left, diffs=False))
            hint = "deploy again; inv plan shows the difference"
            raise ApplyError(name, "after the deploy this still differs", hint, lines)
    State(draft.cluster.state).keep_verified(time.time())
