"""Waits after a wave until its hosts are well, and reports what is missing when they are not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from ...core.errors import ApplyError, HostError, NexusError
from ...core.foreign import understood
from ...core.model.cluster import Cluster, Host
from ...core.state.quorum import Quorum, read_quorum
from ..consul.client import Consul, ConsulApiError, members
from ..ssh.connection import Remote

PATIENCE = 60.0  # seconds; a new leader needs 3, a client's join 1 (measured)
NEW_LEADER_PATIENCE = 10.0  # seconds for a new leader to look at the servers; it does so every two seconds
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
            with understood(host, "Consul's answer"):
                lacking = missing()
        except HostError as error:
            lacking = error.first_line
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
        argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(lines), "-u", unit]
        result = remote.run(argv, timeout=10, repeat=True)
    except NexusError:
        return ""
    return result.out.decode("utf-8", "replace").strip()


def wait_for_first_start(remote: Remote, voters: int) -> None:
    """Waits until the server knows a leader and so many voters."""
    consul = Consul(remote)

    def missing() -> str:
        if not consul.status.leader():
            return "the cluster has no leader"
        peers = consul.status.peers()
        return f"{len(peers)} of {voters} servers are in the raft quorum" if len(peers) < voters else ""

    _wait_for_unit(missing, remote.host.name, "consul.service", remote)


def wait_for_quorum(remote: Remote, names: Collection[str]) -> None:
    """Waits until the server knows a leader, and these servers vote and are healthy. Others may be ill."""
    consul = Consul(remote)

    def missing() -> str:
        if not consul.status.leader():
            return "the cluster has no leader"
        quorum = _quorum(consul)
        return quorum.lacks(names) if quorum else ""

    _wait_for_unit(missing, remote.host.name, "consul.service", remote)


def quorum_of(servers: Iterable[Remote]) -> Quorum | None:
    """The raft quorum by the first server that can tell; None when none can, as without a leader."""
    deadline = time.monotonic() + NEW_LEADER_PATIENCE
    for remote in servers:
        with suppress(HostError):
            while Consul(remote).status.leader():
                try:
                    return _quorum(Consul(remote))
                except _NotYet:
                    if time.monotonic() > deadline:
                        break
                time.sleep(_PAUSE)
    return None


class _NotYet(HostError):
    """A new raft leader has not looked at the servers yet."""


def _quorum(consul: Consul) -> Quorum | None:
    """None where the ACLs do not let us ask, as before their first token. HostError for an answer of another form."""
    path = "/v1/operator/autopilot/health"
    try:
        answer = consul.request("GET", path)
    except ConsulApiError as error:
        if error.code == 403:
            return None
        if error.code != 429:  # so it says that a server is ill
            raise
        answer = json.loads(error.body)
    try:
        if answer["Servers"] is None:
            raise _NotYet(consul.host, "the raft leader has not looked at the servers yet", "inv status")
        return read_quorum(answer)
    except (KeyError, TypeError, AttributeError) as error:
        raise HostError(consul.host, f"what Consul answers to {path} cannot be read: {error!r}", "inv status") from None


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


def leader_name(cluster: Cluster, addresses_of: Callable[[Host], Collection[str]], servers: Iterable[Remote]) -> str | None:
    """The raft leader's host name, by the first server that answers; None when there is none."""
    for remote in servers:
        try:
            address = str(Consul(remote).status.leader()).rpartition(":")[0]
        except HostError:
            continue
        return next((h.name for h in cluster.hosts if address in addresses_of(h)), None)
    return None
