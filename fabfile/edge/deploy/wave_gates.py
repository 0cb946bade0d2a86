"""What must hold after each wave of a rollout, before the next one changes anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from ...core.errors import Several
from ...core.judge.acl import clients_without_acls
from ...core.state.plan import Verb
from ...core.state.quorum import Quorum
from ...core.state.waves import Wave
from ..consul.client import Consul
from ..ssh.connection import Remote
from ..ssh.fanout import for_each_host
from ..ssh.fleet import Fleet
from . import gate
from .draft import Draft
from .progress import ProgressListener

_ACL_NOTICE = 2.0  # seconds for agents to notice the ACLs by themselves; a restart takes about one


class WaveGates:
    """A step must make nothing worse: the servers that were well before, and those it has changed, are well after it.

    quorum: as it was before the first wave; None where nothing ran, or without a leader
    acls_after_wave: brings Consul's ACLs in line as soon as its servers can take them; gets a wave's hosts
    """

    def __init__(
        self, fleet: Fleet, draft: Draft, quorum: Quorum | None,
        acls_after_wave: Callable[[Collection[str]], None], progress: ProgressListener,
    ) -> None:  # fmt: skip
        self._fleet, self._draft, self._quorum, self._progress = fleet, draft, quorum, progress
        self._acls_after_wave = acls_after_wave
        self._up = {h.name for h in draft.running_managers()}  # managers that should run
        self._first_start = not self._up
        ill = dict(quorum.others) if quorum else {}
        # one that has just died is well for autopilot for some seconds more
        stopped = {h.name for h in draft.stopped_managers()} - {*draft.changing}
        ill |= dict.fromkeys(stopped, "does not run")
        self._well = set(quorum.well if quorum else ()) - ill.keys()  # servers that must be well after each wave
        if not self._first_start:
            for name, fault in sorted(ill.items()):
                progress.step(name, f"its Consul {fault}; it was so before, and is not waited for")

    def before(self, wave: Wave) -> None:
        """Says where a manager's restart leaves the cluster without a leader for a moment."""
        quorum = self._quorum
        if quorum is None or not quorum.others:
            return
        ill = ", ".join(sorted(quorum.others))
        for name in wave.hosts:
            restarts = any(u.name == "consul.service" and u.verb is Verb.RESTART for u in self._draft.plans[name].units)
            if restarts and not quorum.survives_without(name):
                self._progress.step(name, f"Consul has no leader while this one restarts, for {ill} is ill; services go on")

    def after(self, wave: Wave) -> None:
        """Waits until the wave's hosts are well. ApplyError with what is missing."""
        managers = [n for n in wave.hosts if self._draft.cluster.host(n).has("manager")]
        self._up |= set(managers)
        voters = len(self._draft.cluster.having("manager"))
        if self._quorum is None and len(self._up) <= voters // 2:
            sentence = f"{len(self._up)} of {voters} managers: the cluster starts when a majority is deployed"
            self._progress.step(wave.hosts[-1], sentence)
            return
        servers = [self._fleet[n] for n in managers]
        self._await_servers(servers)
        if servers:
            self._acls_after_wave(wave.hosts)
            if self._first_start:
                _restart_clients_without_acls(self._fleet, servers[0], self._progress)
        asked = servers[0] if servers else self._fleet[next(h.name for h in self._draft.cluster.hosts if h.name in self._up)]
        others = [self._fleet[n] for n in sorted(self._up) if n not in wave.hosts]
        gate.wait_for_members(asked, [self._fleet[n] for n in wave.hosts], others)

    def _await_servers(self, servers: list[Remote]) -> None:
        self._well |= {remote.host.name for remote in servers}
        for remote in servers:
            if self._first_start:
                gate.wait_for_first_start(remote, len(self._up))
            else:
                gate.wait_for_quorum(remote, self._well)


def _restart_clients_without_acls(fleet: Fleet, server: Remote, progress: ProgressListener) -> None:
    """At a first start: restarts Consul where it would take up to half a minute to notice the ACLs."""
    until = time.monotonic() + _ACL_NOTICE
    consul = Consul(server)
    while (late := clients_without_acls(consul.agent.members()) & fleet.remotes.keys()) and time.monotonic() < until:
        time.sleep(0.2)
    for name in sorted(late):
        progress.step(name, "restart consul.service: it would notice the ACLs only later")
    restart = ["systemctl", "restart", "consul.service"]
    _, faults = for_each_host([fleet[name] for name in sorted(late)], lambda r: r.run(restart))
    if faults:
        raise Several(faults)
