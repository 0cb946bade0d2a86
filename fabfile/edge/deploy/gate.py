"""Waits after a wave until its hosts are well, and reports what is missing when they are not."""

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


def _wait_for_unit(
    missing: Callable[[], str], host: str, unit: str, remote: Remote, patience: float = PATIENCE
) -> None:
    """Polls until `missing` returns "".

    After `patience` seconds: ApplyError with what is missing and the unit's last log lines.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            lacking = missing()
        except HostError as error:
            lacking = str(error).splitlines()[0]
        if not lacking:
            return
        if time.monotonic() > deadline:
            raise ApplyError(host, f"{unit} is not well after {patience:.0f} s: {lacking}",
                             f"mend the cause and deploy again, or go back: inv rollback --hosts {host}",
                             _unit_log(remote, unit))  # fmt: skip
        time.sleep(_PAUSE)


def _unit_log(remote: Remote, unit: str, lines: int = 15) -> str:
    """The last lines of a unit's journal; empty when they cannot be read."""
    try:
        result = remote.run(["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(lines), "-u", unit], timeout=10)
    except NexusError:
        return ""
    return result.out.decode("utf-8", "replace").strip()


def wait_for_server(remote: Remote, voters: int, rolling: bool) -> None:
    """Waits until the server knows a leader and all voters; in a rolling change, also until autopilot is content.

    voters: how many servers should be in the raft quorum; rolling: whether the cluster ran before this deploy
    """
    consul = Consul(remote)

    def missing() -> str:
        if not consul.status.leader():
            return "the cluster has no leader"
        peers = consul.status.peers()
        if len(peers) < voters:
            return f"{len(peers)} of {voters} servers are in the raft quorum"
        if rolling and remote.token and not consul.request("GET", "/v1/operator/autopilot/health")["Healthy"]:
            return "a server is not caught up yet"
        return ""

    _wait_for_unit(missing, remote.host.name, "consul.service", remote)


def wait_for_members(server: Remote, joined: Collection[Remote], others: Collection[Remote] = ()) -> None:
    """Waits until each host is alive in the gossip pool, as one of `others` sees it or, where none answers, `server`.

    `others` go first: a server with ACLs accepts no token, not even the anonymous one, until the raft leader has them.
    """

    def is_alive(name: str) -> bool:
        for remote in others:
            with suppress(HostError):
                return members(Consul(remote)).get(name, False)
        return members(Consul(server)).get(name, False)

    for remote in joined:
        name = remote.host.name
        _wait_for_unit(
            lambda n=name: "" if is_alive(n) else f"{server.host.name} does not see it alive",  # type: ignore[misc]
            name, "consul.service", remote,
        )  # fmt: skip


def leader_name(cluster: Cluster, address_of: Callable[[Host], str], servers: Iterable[Remote]) -> str | None:
    """The raft leader's host name, by the first server that answers; None when there is none."""
    for remote in servers:
        try:
            address = str(Consul(remote).status.leader()).rpartition(":")[0]
        except HostError:
            continue
        return next((h.name for h in cluster.hosts if address_of(h) == address), None)
    return None
