"""nexus-orchestrator: one on each manager, one of them primary. This file decides which one that is, and hands it over;
`primary_loop` is what the primary does."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import alive, log, notify
from .cluster_view import ClusterView
from .fenced_lock import FencedLock, NotPrimary
from .heartbeat_monitor import HEARTBEAT_INTERVAL
from .lock_release import session_file
from .primary_loop import PrimaryLoop
from .promotion import YIELD_TIMEOUT, PromotionRequest, PromotionTracker
from .session_lease import Session
from .standby import Standby

POLL_INTERVAL = 1.0  # seconds between two turns of the loop without any news
RETRY_DELAY = 0.2  # seconds after a failed attempt to take the lock, or to write a heartbeat
REPEAT_LOG_AFTER = 30.0  # seconds until the same sentence is logged again
HANDOVER_PAUSE = 10.0  # seconds for which a host that handed the lock over does not take it back
PREFERENCE_DELAY = 0.5  # seconds for which the others leave a free lock to the host with `primary: true` in hosts.yml


class Orchestrator:
    """The loop. `state`: a folder that lasts; `runtime`: a folder that systemd removes with the unit."""

    def __init__(self, consul: Consul, host: str, preferred: str | None, state: Path, runtime: Path) -> None:
        self._consul, self._host, self._preferred = consul, host, preferred
        self._session_file = session_file(runtime)
        self._stored_session: str | None = None  # the id in that file
        self._session = Session(consul, host)
        self._lock = FencedLock(consul, self._session, host, state / "epoch")
        self._view = ClusterView(consul)
        self._standby = Standby(consul, self._session, self._view, host)
        self._primary_loop = PrimaryLoop(consul, self._lock, self._view)
        self._heartbeat_at = float("-inf")  # when we began to write the last one
        self._promotions = PromotionTracker()
        self._is_primary = False
        self._no_candidate_until, self._lock_free_since = float("-inf"), float("inf")
        self._last_logged = ("", float("-inf"))
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self._session.start()
        notify("READY=1")
        while not self._stopping:
            alive(self._consul.liveness.sentence())
            self._store_session_id()
            try:
                self._turn()
            except NotPrimary as error:
                self._step_down(str(error))
            except ConsulError as error:
                self._primary_loop.invalidate()  # it is unknown whether the last write was made
                self._log_sentence(f"waiting for Consul: {error}")
            self._view.changed.wait(self._pause())
            self._view.changed.clear()
        self._shut_down()

    def _pause(self) -> float:
        """Seconds until the next turn without news: as primary never beyond the next heartbeat, and a failed one is soon
        tried again, while the lease lasts."""
        if not self._is_primary:
            return POLL_INTERVAL
        return min(POLL_INTERVAL, max(RETRY_DELAY, self._heartbeat_at + HEARTBEAT_INTERVAL - now()))

    def stop(self) -> None:
        self._stopping = True
        self._view.changed.set()

    def _store_session_id(self) -> None:
        """For ExecStopPost: it frees the lock at once when this process dies; without the file the check's TTL does."""
        if self._session.id not in (None, self._stored_session):
            with suppress(OSError):
                self._session_file.write_text(str(self._session.id))
                self._stored_session = self._session.id

    def _turn(self) -> None:
        if self._is_primary and not self._lock.held:
            raise NotPrimary("no write was committed for 3 s")
        if not self._is_primary:
            self._stand_by()
        elif now() >= self._heartbeat_at + HEARTBEAT_INTERVAL:
            began = now()
            self._lock.heartbeat()
            self._heartbeat_at = began
        if self._is_primary and self._view.ready():
            self._act_as_primary()

    def _stand_by(self) -> None:
        # our own session may hold the lock: our lease ended while nobody could write, or Consul's answer came too late
        ours = self._session.id is not None and self._view.lock_session() == self._session.id
        if not (self._view.lock_is_free() or ours):
            self._lock_free_since = float("inf")
            self._log_sentence("standing by")
            self._standby.confirm_readiness(self._pending_request())
            if self._standby.end_silent_primary():
                self._log_sentence("the primary holds the lock and writes nothing: its session is ended")
            return
        self._lock_free_since = min(self._lock_free_since, now())
        if not self._leaves_lock_to_others(ours) and self._session.id is not None:
            self._acquire_lock()

    def _pending_request(self) -> PromotionRequest | None:
        return self._promotions.pending(self._view.promotion_request())

    def _leaves_lock_to_others(self, ours: bool) -> bool:
        request = self._pending_request()
        if request and request.to == self._host:
            return False
        if now() < self._no_candidate_until:
            return True
        delay = YIELD_TIMEOUT if request else PREFERENCE_DELAY
        favoured = request.to if request else self._preferred
        return not ours and favoured not in (None, self._host) and now() - self._lock_free_since < delay

    def _acquire_lock(self) -> None:
        try:
            self._lock.acquire(self._view.newest_epoch())
        except (ConsulError, NotPrimary, OSError) as error:
            self._log_sentence(f"the lock is free, but not ours yet: {error}")
            self._view.changed.wait(RETRY_DELAY)
            return
        self._is_primary, self._heartbeat_at = True, now()
        self._primary_loop.start()
        self._promotions.lock_acquired(self._view.promotion_request())
        self._log_sentence(f"primary, epoch {self._lock.epoch}")

    def _act_as_primary(self) -> None:
        if not self._hand_over_if_asked(self._pending_request()):
            self._log_sentence(self._primary_loop.cycle())

    def _hand_over_if_asked(self, request: PromotionRequest | None) -> bool:
        """Whether the lock is released for the host that the operator named."""
        if request is None:
            return False
        if request.to == self._host:
            self._close_request(request, [])
            return False
        refusal = self._promotions.refusal(request, self._view.can_be_primary(request.to), now())
        if refusal:
            text = f"{request.to} was to be primary, and {refusal}; {self._host} goes on"
            self._close_request(request, [{"kind": "declined", "text": text}])
        if refusal is not None:
            return False
        self._no_candidate_until = now() + HANDOVER_PAUSE
        self._lock.resign(f"{request.to} is to take over")
        self._is_primary = False
        self._log_sentence(f"handed over to {request.to}")
        return True

    def _close_request(self, request: PromotionRequest, events: Sequence[Mapping[str, Any]]) -> None:
        """Answers the request, once. Otherwise the lock would change hands for as long as a server shows it."""
        self._lock.act([{"Verb": "delete", "Key": kv_schema.PROMOTE}], events)
        self._promotions.mark_answered(request.index)

    def _step_down(self, why: str) -> None:
        self._lock.drop()
        self._is_primary = False
        self._log_sentence(f"stopped acting as primary of epoch {self._lock.epoch}: {why}")

    def _shut_down(self) -> None:
        try:
            self._lock.resign("stopped")
            self._session.end()
        except (ConsulError, NotPrimary) as error:
            log(f"could not say farewell: {error}")
        log("stopped")

    def _log_sentence(self, text: str) -> None:
        """One line a turn, but the same one only every REPEAT_LOG_AFTER seconds."""
        last_text, last_at = self._last_logged
        if text != last_text or now() - last_at >= REPEAT_LOG_AFTER:
            log(text)
            self._last_logged = (text, now())


def main(settings: Mapping[str, Any], token: str) -> int:
    """`settings`: {"host", "preferred": host | null, "state": folder, "runtime": folder}."""
    folders = Path(settings["state"]), Path(settings["runtime"])
    Orchestrator(Consul(token), settings["host"], settings["preferred"], *folders).run()
    return 0
