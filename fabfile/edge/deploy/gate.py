"""Waits until the cluster is well after a wave, and says what is missing when it does not come."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from ...core.errors import ApplyError, HostError, NexusError
from ...core.model.cluster import Cluster, Host
from ..consul.client import Consul, members
from ..ssh.connection import Remote

PATIENCE = 60.0  # seconds; a new leader needs 3, a client's join 1 (measured)
_PAUSE = 0.15


def wait_for(missing: Callable[[], str], host: str, unit: str, remote: Remote, patience: float = PATIENCE) -> None:
    """Polls until `missing` answers "". ApplyError bears what was missing and the unit's own last log lines."""
    until = time.monotonic() + patience
    while True:
        try:
            lacking = missing()
        except HostError as error:
            lacking = str(error).splitlines()[0]
        if not lacking:
            return
        if time.monotonic() > until:
            raise ApplyError(host, f"{unit} is not well after {patience:.0f} s: {lacking}",
                             f"mend the cause and deploy again, or go back: inv rollback --hosts {host}",
                             unit_log(remote, unit))  # fmt: skip
        time.sleep(_PAUSE)


def unit_log(remote: Remote, unit: str, lines: int = 15) -> str:
    """The last lines of a unit's journal; empty when they cannot be had."""
    try:
        result = remote.run(["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(lines), "-u", unit], timeout=10)
    except NexusError:
        return ""
    return result.out.decode("utf-8", "replace").strip()


def server_gate(remote: Remote, voters: int, rolling: bool) -> None:
    """A server is well when it knows a leader and all voters; in a rolling change also autopilot must be content."""
    consul = Consul(remote)

    def missing() -> str:
        if not consul.status.leader():
            return "the cluster has no leader"
        peers = consul.status.peers()
        if len(peers) < voters:
            return f"{len(peers)} of {voters} servers are in the raft quorum"
        if rolling and remote.token and not consul.ask("GET", "/v1/operator/autopilot/health")["Healthy"]:
            return "a server is not caught up yet"
        return ""

    wait_for(missing, remote.host.name, "consul.service", remote)


def member_gate(asked: Remote, joined: Collection[Remote], others: Collection[Remote] = ()) -> None:
    """Each of the hosts is seen alive in the gossip pool, by one of `others` or, where none answers, by `asked`:
    a server with ACLs knows no token at all, not even the anonymous one, as long as the raft leader has none."""

    def seen(name: str) -> bool:
        for remote in others:
            with suppress(HostError):
                return members(Consul(remote)).get(name, False)
        return members(Consul(asked)).get(name, False)

    for remote in joined:
        name = remote.host.name
        wait_for(
            lambda n=name: "" if seen(n) else f"{asked.host.name} does not see it alive",  # type: ignore[misc]
            name, "consul.service", remote,
        )  # fmt: skip


def leader_name(cluster: Cluster, where: Callable[[Host], str], asked: Iterable[Remote]) -> str | None:
    """The raft leader's host name, from the first server that answers."""
    for remote in asked:
        try:
            address = str(Consul(remote).status.leader()).rpartition(":")[0]
        except HostError:
            continue
        return next((h.name for h in cluster.hosts if where(h) == address), None)
    return None
