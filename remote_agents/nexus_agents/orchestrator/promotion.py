"""An operator's wish for another primary (`inv promote`), and who answers it. Pure: times come in, of one clock.

The named manager answers first: through the raft leader it writes its session beside the wish. Only then does the primary
resign, so that nobody is without a primary because of a manager that Consul calls alive and that can write nothing, as one
whose connections still hang from a cut that is over. A wish is known by its index in the KV store: who has answered it
does not answer an older copy of it again, which a server that lags behind may still show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..shared.consul_api import decoded

READY_WITHIN = 3.0  # seconds that the named manager has for its answer
MAKE_WAY = 3.0  # seconds for which the others leave a free lock to it


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """`index`: the key's ModifyIndex. `ready`: the session with which the named manager is ready to take the lock."""

    to: str
    index: int
    ready: str | None = None


def promotion_request_of(entries: Any) -> PromotionRequest | None:
    """From the KV store's answer; None where there is no wish, or none that can be read."""
    value = decoded(entries[0]) if entries else None
    if not isinstance(value, dict) or not isinstance(value.get("to"), str) or not value["to"]:
        return None
    ready = value.get("ready")
    return PromotionRequest(value["to"], int(entries[0]["ModifyIndex"]), ready if isinstance(ready, str) else None)


class PromotionTracker:
    """What one orchestrator remembers of the wishes it has seen."""

    def __init__(self) -> None:
        self._answered = 0  # wishes up to this index need no answer any more
        self._passed_over = 0  # wishes up to this index name somebody who left the free lock to us
        self._seen: tuple[str, float] | None = None

    def open(self, found: PromotionRequest | None) -> PromotionRequest | None:
        """The wish, unless it has been answered."""
        return found if found and found.index > self._answered else None

    def answered(self, index: int) -> None:
        self._answered, self._seen = max(self._answered, index), None

    def lock_taken(self, found: PromotionRequest | None) -> None:
        """We are primary now, whoever was named."""
        self._passed_over, self._seen = found.index if found else 0, None

    def refusal(self, desired: PromotionRequest, can_be_primary: bool, at: float) -> str | None:
        """Why the primary declines a wish that names another; "" while it waits for that one's answer; None: hand over."""
        if self._seen is None or self._seen[0] != desired.to:
            self._seen = (desired.to, at)
        if desired.index <= self._passed_over:
            return "did not take the lock in time"
        if not can_be_primary:
            return "is no manager whose orchestrator Consul calls passing"
        if desired.ready:
            return None
        return "" if at - self._seen[1] < READY_WITHIN else f"did not say within {READY_WITHIN:.0f} s that it is ready"
