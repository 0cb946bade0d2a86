"""What gives the right to act: a fenced write that was committed, and not a renewal of the session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from remote_agents.nexus_agents.orchestrator import agent, fenced_lock, session_lease
from remote_agents.nexus_agents.orchestrator.agent import POLL_INTERVAL, RETRY_DELAY, Orchestrator
from remote_agents.nexus_agents.orchestrator.fenced_lock import FencedLock, NotPrimary
from remote_agents.nexus_agents.orchestrator.heartbeat_monitor import HEARTBEAT_INTERVAL
from remote_agents.nexus_agents.orchestrator.session_lease import LEASE, Session
from remote_agents.nexus_agents.shared import kv_schema
from remote_agents.nexus_agents.shared.consul_api import ConsulError


class Cluster:
    """A Consul without a quorum answers what its leader has in memory, and commits nothing. `takes`: seconds of a write."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.quorum, self.refuses, self.takes = True, False, 0.0
        self.written: list[list[Mapping[str, Any]]] = []
        self.answered: list[str] = []

    def clone(self) -> Cluster:
        return self

    def read(self, *_: object) -> tuple[int, Any]:
        return 0, None

    def put(self, path: str, *_: object, **__: object) -> Any:
        self.answered.append(path)
        return {"ID": "s-1"}

    def transact(self, operations: Iterable[Mapping[str, Any]], timeout: float | None = None) -> None:
        assert timeout == session_lease.ACT_TIMEOUT
        self.at += self.takes
        if not self.quorum:
            raise ConsulError("/v1/txn: TimeoutError")
        if self.refuses:
            raise ConsulError("failed session check", 409)
        self.written.append(list(operations))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    for module in (agent, fenced_lock, session_lease):
        monkeypatch.setattr(module, "now", lambda: cluster.at)
    return cluster


@pytest.fixture
def session(cluster: Cluster) -> Session:
    session = Session(cluster, "m1")  # type: ignore[arg-type]
    session._renew()
    return session


@pytest.fixture
def lock(cluster: Cluster, session: Session, tmp_path: Path) -> FencedLock:
    lock = FencedLock(cluster, session, "m1", tmp_path / "epoch")  # type: ignore[arg-type]
    lock.acquire()
    return lock


def test_a_renewed_session_gives_no_right(cluster: Cluster, session: Session, lock: FencedLock) -> None:
    """A leader that lost its quorum still answers renewals: the lease ends three seconds after the last committed write."""
    cluster.quorum = False
    cluster.at += LEASE - 0.1
    session._renew()
    assert any("session/renew" in path for path in cluster.answered)
    assert lock.held
    cluster.at += 0.2
    session._renew()
    assert not lock.held
    with pytest.raises(NotPrimary):
        lock.heartbeat()


def test_a_committed_heartbeat_renews_the_lease_from_its_start(cluster: Cluster, lock: FencedLock) -> None:
    """The lock was ours after the write began, however long the answer took; the write is fenced and shows the standbys."""
    cluster.at += 2.0
    cluster.takes = 0.9
    lock.heartbeat()
    fence, beat = cluster.written[-1]
    assert (fence["Verb"], fence["Key"], fence["Session"]) == ("check-session", kv_schema.PRIMARY, "s-1")
    assert beat["Key"] == kv_schema.BEAT
    cluster.at = 1002.0 + LEASE - 0.1
    assert lock.held
    cluster.at = 1002.0 + LEASE
    assert not lock.held


def test_every_committed_act_renews_the_lease_and_a_failed_one_does_not(cluster: Cluster, lock: FencedLock) -> None:
    """An unanswered write may have been made or not: it proves nothing."""
    cluster.at += 2.0
    lock.act([], [{"kind": "place", "text": "x"}])
    cluster.at += 2.0
    cluster.quorum = False
    with pytest.raises(ConsulError):
        lock.act([], [])
    assert lock.held
    cluster.at += 1.0
    assert not lock.held


def test_a_refused_write_ends_the_right_at_once(cluster: Cluster, lock: FencedLock) -> None:
    """Consul's word that the lock is another's counts, whatever the clock says."""
    cluster.refuses = True
    with pytest.raises(NotPrimary):
        lock.heartbeat()
    assert not lock.held


def test_a_lock_that_was_taken_again_has_a_lease_of_its_own(cluster: Cluster, lock: FencedLock) -> None:
    """Nothing is left of the one before."""
    lock.drop()
    assert not lock.held
    cluster.at += 1.0
    lock.acquire()
    cluster.at += LEASE - 0.1
    assert lock.held


def test_the_next_heartbeat_is_never_slept_through(cluster: Cluster) -> None:
    """As primary a turn ends in time for the next heartbeat; after a failed one soon, and a standby waits for news."""
    orchestrator = object.__new__(Orchestrator)
    orchestrator._is_primary, orchestrator._heartbeat_at = True, cluster.at
    assert orchestrator._pause() == min(POLL_INTERVAL, HEARTBEAT_INTERVAL)
    cluster.at += HEARTBEAT_INTERVAL - 0.3
    assert orchestrator._pause() == pytest.approx(0.3)
    cluster.at += 5.0
    assert orchestrator._pause() == RETRY_DELAY
    orchestrator._is_primary = False
    assert orchestrator._pause() == POLL_INTERVAL


def test_one_unanswered_heartbeat_costs_no_right(cluster: Cluster, lock: FencedLock) -> None:
    """The lease lasts over a write that times out, the pause after it, and another that begins."""
    orchestrator = object.__new__(Orchestrator)
    orchestrator._is_primary, orchestrator._lock, orchestrator._heartbeat_at = True, lock, cluster.at
    orchestrator._view = SimpleNamespace(ready=lambda: False)  # type: ignore[assignment]
    cluster.at += orchestrator._pause()
    cluster.quorum, cluster.takes = False, session_lease.ACT_TIMEOUT
    with pytest.raises(ConsulError):
        orchestrator._turn()
    cluster.at += orchestrator._pause()
    cluster.quorum, cluster.takes = True, 0.1
    orchestrator._turn()
    assert lock.held
