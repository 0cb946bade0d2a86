"""An operator's request for another primary (`inv promote`), and how it is answered. Pure; times are of one clock.

The named manager answers first: it writes its session beside the request, through the raft leader. Only then does the
primary resign. So the cluster does not lose its primary to a manager that Consul calls alive but that cannot write, for
example because its connections still hang from a partition that is over. A request is identified by its index in the KV
store: a server that lags behind may still show an answered one, and it is not answered twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..shared.consul_api import decode_entry

READY_TIMEOUT = 3.0  # seconds that the named manager has for its answer
YIELD_TIMEOUT = 3.0  # seconds for which the other managers leave a free lock to it


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """`index`: the key's ModifyIndex. `ready`: the session with which the named manager is ready to take the lock."""

    to: str
    index: int
    ready: str | None = None


def parse_request(entries: Any) -> PromotionRequest | None:
    """From the KV store's answer; None without a request, or with one that is damaged."""
    value = decode_entry(entries[0]) if entries else None
    if not isinstance(value, dict) or not isinstance(value.get("to"), str) or not value["to"]:
        return None
    ready = value.get("ready")
    return PromotionRequest(value["to"], int(entries[0]["ModifyIndex"]), ready if isinstance(ready, str) else None)


class PromotionTracker:
    """The requests that one orchestrator has seen and answered."""

    def __init__(self) -> None:
        self._answered_index = 0  # requests up to this index are answered
        self._missed_index = 0  # requests up to this index name a manager that left the free lock to us
        self._waiting: tuple[str, float] | None = None  # the named host, and since when we wait for its answer

    def pending(self, request: PromotionRequest | None) -> PromotionRequest | None:
        """The request, unless it is answered."""
        return request if request and request.index > self._answered_index else None

    def mark_answered(self, index: int) -> None:
        self._answered_index, self._waiting = max(self._answered_index, index), None

    def lock_acquired(self, request: PromotionRequest | None) -> None:
        """We are primary now, whoever the request names."""
        self._missed_index, self._waiting = request.index if request else 0, None

    def refusal(self, request: PromotionRequest, can_be_primary: bool, now: float) -> str | None:
        """Why we decline a request for another host; "" while we wait for that host's answer; None: hand over."""
        if self._waiting is None or self._waiting[0] != request.to:
            self._waiting = (request.to, now)
        if request.index <= self._missed_index:
            return "did not take the lock in time"
        if not can_be_primary:
            return "is no manager whose orchestrator Consul calls passing"
        if request.ready:
            return None
        return "" if now - self._waiting[1] < READY_TIMEOUT else f"did not say within {READY_TIMEOUT:.0f} s that it is ready"
