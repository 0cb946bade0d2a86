"""Detects a primary that has stopped writing. Pure.

A manager that is cut off from the other managers, but not from the workers, is alive to Consul's failure detector, and
its session lives on until its TTL ends it, up to 20 s later. So the primary writes a heartbeat in a fenced transaction
every HEARTBEAT_INTERVAL seconds, which renews its own lease too. A standby that misses it for SUSPECT_AFTER seconds
asks the raft leader, asks again CONFIRM_AFTER seconds later, and may then end the session. That is as safe as a false
alarm of the failure detector: the lock-delay outlasts the lease.
"""

from __future__ import annotations

from typing import Any

HEARTBEAT_INTERVAL = 1.0  # seconds between two heartbeats
SUSPECT_AFTER = 4.0  # seconds without a new heartbeat, as seen by the standby's own server
CONFIRM_AFTER = 2.5  # seconds between the leader's two answers without a new one; more than HEARTBEAT_INTERVAL


class HeartbeatMonitor:
    """One standby's view. Any value that differs from the one before is a heartbeat; times are of one clock."""

    def __init__(self) -> None:
        self._last: Any = None
        self._last_at = float("inf")
        self._suspected_at: float | None = None

    def observe(self, heartbeat: Any, now: float) -> bool:
        """Whether the heartbeat is a new one."""
        new = bool(heartbeat != self._last or self._last_at == float("inf"))
        if new:
            self._last, self._last_at, self._suspected_at = heartbeat, now, None
        return new

    def is_overdue(self, now: float) -> bool:
        """Whether it is time to ask the leader."""
        waited = self._suspected_at is None or now - self._suspected_at >= CONFIRM_AFTER
        return now - self._last_at >= SUSPECT_AFTER and waited

    def confirms_silence(self, heartbeat: Any, now: float) -> bool:
        """`heartbeat`: the leader's, when overdue. True when the leader gave the same one CONFIRM_AFTER seconds ago."""
        if self.observe(heartbeat, now):
            return False
        if self._suspected_at is None:
            self._suspected_at = now
            return False
        return now - self._suspected_at >= CONFIRM_AFTER

    def reset(self) -> None:
        """The leader did not answer: there may be none, and then no primary can write a heartbeat."""
        self._suspected_at = None
