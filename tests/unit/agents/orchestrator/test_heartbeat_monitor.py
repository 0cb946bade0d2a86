"""When a standby may end the session of a primary that has stopped writing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator.agent import RETRY_DELAY
from remote_agents.nexus_agents.orchestrator.heartbeat_monitor import (
    CONFIRM_AFTER,
    HEARTBEAT_INTERVAL,
    SUSPECT_AFTER,
    HeartbeatMonitor,
)
from remote_agents.nexus_agents.orchestrator.session_lease import ACT_TIMEOUT, LEASE, LOCK_DELAY


def sure_at(beats: dict[float, object], until: float, leader_away: tuple[float, float] = (0.0, 0.0)) -> float | None:
    """A standby that looks every tenth of a second: the time at which it is sure that the primary is silent, or None."""
    monitor, last = HeartbeatMonitor(), None
    for tick in range(int(until * 10) + 1):
        at = tick / 10
        last = beats.get(at, last)
        monitor.observe(last, at)
        if not monitor.is_overdue(at):
            continue
        if leader_away[0] <= at < leader_away[1]:
            monitor.reset()
        elif monitor.confirms_silence(last, at):
            return at
    return None


def test_a_primary_that_stops_writing_is_found_out() -> None:
    """After SUSPECT_AFTER and CONFIRM_AFTER, not before, and within the promised 15 s, lock-delay included."""
    found = sure_at({0.0: 1, 2.0: 2}, 30)
    assert found is not None
    assert SUSPECT_AFTER + CONFIRM_AFTER <= found - 2.0 <= SUSPECT_AFTER + CONFIRM_AFTER + 0.5
    assert found - 2.0 + LOCK_DELAY < 15


@given(st.lists(st.integers(1, int(HEARTBEAT_INTERVAL * 10)), min_size=5, max_size=60))
def test_a_primary_that_writes_in_time_is_never_suspected(pauses: list[int]) -> None:
    """However the heartbeats fall, with at most HEARTBEAT_INTERVAL between two."""
    beats, at = {}, 0
    for n, pause in enumerate(pauses):
        beats[at / 10] = n
        at += pause
    assert sure_at(beats, at / 10) is None  # type: ignore[arg-type]


def test_while_the_leader_cannot_be_asked_nothing_is_sure() -> None:
    """Without a leader no primary can write: its silence proves nothing, and the wait starts over."""
    assert sure_at({0.0: 1}, 30, leader_away=(0, 31)) is None
    found = sure_at({0.0: 1}, 60, leader_away=(0, 20))
    assert found is not None
    assert found >= 20 + CONFIRM_AFTER


def test_a_heartbeat_between_the_two_answers_clears_it() -> None:
    """The leader has a newer heartbeat than the standby's own server."""
    monitor = HeartbeatMonitor()
    monitor.observe(1, 0.0)
    assert monitor.is_overdue(SUSPECT_AFTER)
    assert not monitor.confirms_silence(1, SUSPECT_AFTER)
    assert not monitor.confirms_silence(2, SUSPECT_AFTER + CONFIRM_AFTER)
    assert not monitor.is_overdue(SUSPECT_AFTER + CONFIRM_AFTER + 1)


def test_ending_a_session_is_as_safe_as_a_false_alarm() -> None:
    """The lock stays locked until the old holder, whose lease may still run, has ended its last action."""
    assert LEASE + ACT_TIMEOUT <= LOCK_DELAY
    assert CONFIRM_AFTER > HEARTBEAT_INTERVAL


def test_one_lost_heartbeat_costs_no_right() -> None:
    """A healthy primary keeps its lease over one write that is not answered in time, and the next try."""
    assert LEASE >= HEARTBEAT_INTERVAL + ACT_TIMEOUT
    assert LEASE > HEARTBEAT_INTERVAL + ACT_TIMEOUT + RETRY_DELAY
