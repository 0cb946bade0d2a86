"""The lock of the single primary: acquire it, act in fenced transactions only, release it.

Every act is one transaction. It checks that our session still holds the lock, and it carries our epoch, a number that
only grows. A change and its event are written together, so the history has every act. A transaction that was committed
renews the lease, and nothing else does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.atomic_files import write_atomically
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError, encode_value, set_operation
from .session_lease import ACT_TIMEOUT, Lease, Session

KEPT_EVENTS = 500
PRUNE_AFTER = 50  # events; a new primary prunes at once
MAX_OPERATIONS = 60  # that we put into one transaction; Consul takes 64


class NotPrimary(Exception):
    """We may not act: the lease is over, or Consul says that the lock is not ours."""


class FencedLock:
    """The lock as one orchestrator sees it. Not thread-safe."""

    def __init__(self, consul: Consul, session: Session, host: str, epoch_file: Path) -> None:
        """`epoch_file`: the last epoch of this host, which outlives a restored snapshot of Consul."""
        self._consul, self._session, self._host, self._epoch_file = consul, session, host, epoch_file
        self._lock_session: str | None = None  # our session, where it holds the lock
        self._events, self._heartbeats, self._unpruned = 0, 0, 0
        self._lease = Lease()
        self.epoch = 0

    @property
    def held(self) -> bool:
        """Whether we may act: our session holds the lock, and the lease is not over."""
        return (
            self._lock_session is not None
            and self._lock_session == self._session.id
            and self._lease.remaining(now()) > 0
        )  # fmt: skip

    def acquire(self, known_epoch: int = 0) -> None:
        """Lock, new epoch and event in one transaction; our session may hold the lock already.

        known_epoch: the newest epoch seen anywhere else; ours goes beyond it.
        ConsulError: not free yet (lock-delay), or another was faster; OSError: the epoch cannot be stored.
        """
        session = self._session.id
        if session is None:
            raise NotPrimary("no session yet")
        index, kv_epoch = self._consul.read(kv_schema.EPOCH)
        stored = self._read_epoch()  # newer than the KV store's after a restored snapshot
        epoch = max(int(kv_epoch or 0), stored, known_epoch) + 1
        self._write_epoch(epoch)
        self._events = 0
        value = {"host": self._host, "epoch": epoch, "session": session, "since": round(time.time(), 3)}
        event = self._event(epoch, session, {"kind": "elected", "text": f"{self._host} is primary, epoch {epoch}"})
        try:
            self._commit([
                {"Verb": "lock", "Key": kv_schema.PRIMARY, "Value": encode_value(value), "Session": session},
                {"Verb": "cas", "Key": kv_schema.EPOCH, "Value": encode_value(epoch), "Index": index},
                self._heartbeat_operation(session),
                event,
            ])  # fmt: skip
        except ConsulError as error:
            if error.code == 409:  # certainly not acquired, so nobody ever acted in this epoch
                self._write_epoch(stored)
            raise
        self._lock_session, self.epoch, self._unpruned = session, epoch, PRUNE_AFTER

    def act(self, operations: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> None:
        """Writes all or nothing, if we are still primary. NotPrimary; ConsulError: the write may have been made."""
        if not self.held:
            raise NotPrimary("the lease ended by our own clock")
        assert self._lock_session is not None  # noqa: S101  `held` says so
        event_operations = [self._event(self.epoch, self._lock_session, e) for e in events]
        self._unpruned += len(event_operations)
        fence = {"Verb": "check-session", "Key": kv_schema.PRIMARY, "Session": self._lock_session}
        try:
            self._commit([fence, *operations, *event_operations])
        except ConsulError as error:
            if error.code == 409:
                self.drop()
                raise NotPrimary("Consul refused the write: the lock is no longer ours") from error
            raise

    def _commit(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """Every operation sequence holds our lock or checks it: once committed, the lock was ours when this began."""
        began = now()
        self._consul.transact(operations, ACT_TIMEOUT)
        self._lease.renew(began)

    def heartbeat(self) -> None:
        """Renews the lease, and shows the standbys that we can write. Raises as `act` does."""
        self.act([self._heartbeat_operation(self._lock_session or "")], [])

    def resign(self, why: str) -> None:
        """Releases the lock and writes the event, both or neither; no lock-delay follows a release."""
        if self.held:
            unlock = {"Verb": "unlock", "Key": kv_schema.PRIMARY, "Value": "", "Session": self._lock_session}
            self.act([unlock], [{"kind": "resigned", "text": f"{self._host} gives up being primary: {why}"}])
        self.drop()

    def drop(self) -> None:
        """Stops acting, without a word to Consul."""
        self._lock_session = None
        self._lease.end()

    def prune_events(self) -> None:
        """Deletes a batch of old events when it is time to; the newest KEPT_EVENTS stay."""
        if self._unpruned < PRUNE_AFTER:
            return
        _, keys = self._consul.get(f"/v1/kv/{kv_schema.EVENTS}?keys")
        old = sorted(keys or ())[:-KEPT_EVENTS]
        if old:
            self.act([{"Verb": "delete", "Key": key} for key in old[:MAX_OPERATIONS]], [])
        self._unpruned = PRUNE_AFTER if len(old) > MAX_OPERATIONS else 0

    def _heartbeat_operation(self, session: str) -> dict[str, Any]:
        self._heartbeats += 1
        return set_operation(kv_schema.BEAT, {"session": session, "beat": self._heartbeats})

    def _event(self, epoch: int, session: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Keys sort by epoch and number: nobody else writes in our epoch."""
        self._events += 1
        common = {"at": round(time.time(), 3), "epoch": epoch, "host": self._host, "session": session}
        return set_operation(f"{kv_schema.EVENTS}{epoch:08d}-{self._events:08d}", {**common, **fields})

    def _read_epoch(self) -> int:
        try:
            return int(self._epoch_file.read_text())
        except (OSError, ValueError):
            return 0

    def _write_epoch(self, epoch: int) -> None:
        write_atomically(self._epoch_file, f"{epoch}\n", 0o600)
