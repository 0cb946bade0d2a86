"""Has the primary gone silent? Pure.

A manager that is cut off from the other managers, but not from the workers, is alive for Consul's failure detector,
and its session lives on until its TTL ends it, up to 20 s later. So the primary's fenced transactions leave a beat every
BEAT seconds, and a standby that misses it for QUIET seconds, and then by the raft leader's own word for SURE more, may
end the session. That is as safe as a false alarm of the failure detector: the lock-delay outlasts the lease.
"""

from __future__ import annotations

from typing import Any

BEAT = 2.0  # seconds between two beats
SUSPECT_AFTER = 4.0  # seconds without a new beat, as a standby's own server tells
CONFIRM_AFTER = 2.5  # seconds between the leader's two words that there is still none; more than BEAT


class HeartbeatMonitor:
    """What one standby has heard. A beat is any value that differs from the one before; times are of one clock."""

    def __init__(self) -> None:
        self._last: Any = None
        self._at = float("inf")
        self._doubted_at: float | None = None

    def observe(self, beat: Any, at: float) -> bool:
        """Whether it is news."""
        news = bool(beat != self._last or self._at == float("inf"))
        if news:
            self._last, self._at, self._doubted_at = beat, at, None
        return news

    def is_overdue(self, at: float) -> bool:
        """Whether it is time to ask the leader."""
        return at - self._at >= SUSPECT_AFTER and (self._doubted_at is None or at - self._doubted_at >= CONFIRM_AFTER)

    def confirms_silence(self, beat: Any, at: float) -> bool:
        """After `doubts`, with the leader's word: True when it has given the same one before, SURE seconds ago."""
        if self.observe(beat, at):
            return False
        if self._doubted_at is None:
            self._doubted_at = at
            return False
        return at - self._doubted_at >= CONFIRM_AFTER

    def reset(self) -> None:
        """The leader could not be asked: there may be none, and then no primary can make itself heard."""
        self._doubted_at = None
