"""The single primary: takes the lock, acts only in fenced transactions, hands over.

Every act is one transaction that checks that our session still holds the lock, and bears our epoch, a number that
only grows. What it changes and the event that tells of it are written together, so the history has every act.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.atomic_files import write
from ..shared.consul_api import Consul, ConsulError, encoded, putting
from .session_lease import ACT, Session

KEPT_EVENTS = 500
PRUNE_AFTER = 50  # events; a new primary prunes at once
BATCH = 60  # operations; a transaction takes 64


class NotPrimary(Exception):
    """We may not act: the lease is over, or Consul says that the lock is not ours."""


class FencedLock:
    """The lock as one orchestrator sees it. Not for use by two threads at once."""

    def __init__(self, consul: Consul, session: Session, host: str, memory: Path) -> None:
        self._consul, self._session, self._host, self._memory = consul, session, host, memory
        self._held: str | None = None  # the session that holds the lock for us
        self._events, self._beats, self._unpruned = 0, 0, 0
        self.epoch = 0

    @property
    def mine(self) -> bool:
        return self._held is not None and self._held == self._session.id and self._session.left() > 0

    def take(self, at_least: int = 0) -> None:
        """Lock, epoch and event in one transaction; the lock may be ours already. The epoch goes beyond `at_least`, too.

        ConsulError: not free yet (lock-delay), or another was first; OSError: the epoch cannot be remembered.
        """
        session = self._session.id
        if session is None or self._session.left() <= 0:
            raise NotPrimary("no session yet")
        index, known = self._consul.read(kv_schema.EPOCH)
        before = self._remembered()  # ours may be ahead of a snapshot that was restored
        epoch = max(int(known or 0), before, at_least) + 1
        self._remember(epoch)
        self._events = 0
        value = {"host": self._host, "epoch": epoch, "session": session, "since": round(time.time(), 3)}
        event = self._event(epoch, session, {"kind": "elected", "text": f"{self._host} is primary, epoch {epoch}"})
        try:
            self._consul.transact([
                {"Verb": "lock", "Key": kv_schema.PRIMARY, "Value": encoded(value), "Session": session},
                {"Verb": "cas", "Key": kv_schema.EPOCH, "Value": encoded(epoch), "Index": index},
                self._beat_of(session),
                event,
            ], ACT)  # fmt: skip
        except ConsulError as error:
            if error.code == 409:  # surely not taken, so nobody ever acted in this epoch
                self._remember(before)
            raise
        self._held, self.epoch, self._unpruned = session, epoch, PRUNE_AFTER

    def act(self, operations: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> None:
        """Writes all or nothing, if we are still primary. NotPrimary; ConsulError: nobody knows whether it took."""
        if not self.mine:
            raise NotPrimary("the lease ended by our own clock")
        assert self._held is not None  # noqa: S101  as `mine` has found
        told = [self._event(self.epoch, self._held, e) for e in events]
        self._unpruned += len(told)
        fence = {"Verb": "check-session", "Key": kv_schema.PRIMARY, "Session": self._held}
        try:
            self._consul.transact([fence, *operations, *told], ACT)
        except ConsulError as error:
            if error.code == 409:
                self._held = None
                raise NotPrimary("Consul refused the write: the lock is no longer ours") from error
            raise

    def beat(self) -> None:
        """For the standbys to hear. As `act`."""
        self.act([self._beat_of(self._held or "")], [])

    def resign(self, why: str) -> None:
        """Tells it and frees the lock, both or neither; no lock-delay follows a release."""
        if self.mine:
            unlock = {"Verb": "unlock", "Key": kv_schema.PRIMARY, "Value": "", "Session": self._held}
            self.act([unlock], [{"kind": "resigned", "text": f"{self._host} gives up being primary: {why}"}])
        self._held = None

    def forget(self) -> None:
        self._held = None

    def prune_events(self) -> None:
        """The newest stay: a batch of the others goes, when it is time for it."""
        if self._unpruned < PRUNE_AFTER:
            return
        _, keys = self._consul.get(f"/v1/kv/{kv_schema.EVENTS}?keys")
        old = sorted(keys or ())[:-KEPT_EVENTS]
        if old:
            self.act([{"Verb": "delete", "Key": key} for key in old[:BATCH]], [])
        self._unpruned = PRUNE_AFTER if len(old) > BATCH else 0

    def _beat_of(self, session: str) -> dict[str, Any]:
        self._beats += 1
        return putting(kv_schema.BEAT, {"session": session, "beat": self._beats})

    def _event(self, epoch: int, session: str, words: Mapping[str, Any]) -> dict[str, Any]:
        """Keys sort by epoch and number: nobody else writes in our epoch."""
        self._events += 1
        common = {"at": round(time.time(), 3), "epoch": epoch, "host": self._host, "session": session}
        return putting(f"{kv_schema.EVENTS}{epoch:08d}-{self._events:08d}", {**common, **words})

    def _remembered(self) -> int:
        try:
            return int(self._memory.read_text())
        except (OSError, ValueError):
            return 0

    def _remember(self, epoch: int) -> None:
        write(self._memory, f"{epoch}\n", 0o600)
