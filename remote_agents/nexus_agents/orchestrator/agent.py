"""nexus-orchestrator: one a manager, one of them primary. Who that is, and how it goes from one to the other; `reign` is
what the primary does."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError, encoded
from ..shared.notify import log, notify
from .cluster_view import ClusterView
from .fenced_lock import FencedLock, NotPrimary
from .heartbeat_monitor import BEAT, HeartbeatMonitor
from .primary_loop import PrimaryLoop
from .promotion import MAKE_WAY, PromotionRequest, PromotionTracker
from .session_lease import Session

TICK = 1.0  # seconds between two looks without any news
HEARTBEAT = 30.0  # seconds after which the same sentence is said again
HANDOVER_PAUSE = 10.0  # seconds that a host which gave the lock up leaves it to others
PREFERENCE_DELAY = 0.5  # seconds that a free lock is left to the one that is `primary: true` in hosts.yml


class Orchestrator:
    """The loop. `state` is a folder of our own; `runtime` one that ends with the unit."""

    def __init__(self, consul: Consul, host: str, preferred: str | None, state: Path, runtime: Path) -> None:
        self._consul, self._host, self._preferred, self._runtime = consul, host, preferred, runtime
        self._session = Session(consul, host)
        self._primary = FencedLock(consul, self._session, host, state / "epoch")
        self._view = ClusterView(consul)
        self._primary_loop = PrimaryLoop(consul, self._primary, self._view)
        self._heartbeats = HeartbeatMonitor()
        self._heartbeat_at = float("-inf")
        self._promotions = PromotionTracker()
        self._was_primary = False
        self._kept: str | None = None  # the session whose id ExecStopPost finds
        self._kept_out_until, self._free_since = float("-inf"), float("inf")
        self._last_logged = ("", float("-inf"))
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self._session.start()
        notify("READY=1")
        while not self._stopping:
            notify("WATCHDOG=1")
            self._keep_session_id()
            try:
                self._turn()
            except NotPrimary as lost:
                self._step_down(str(lost))
            except ConsulError as error:
                self._primary_loop.invalidate()  # nobody knows what of the last write took
                self._log_sentence(f"waiting for Consul: {error}")
            self._view.changed.wait(TICK)
            self._view.changed.clear()
        self._leave()

    def stop(self) -> None:
        self._stopping = True
        self._view.changed.set()

    def _keep_session_id(self) -> None:
        """For ExecStopPost: when this process has died, systemd may free the lock at once; else its check's TTL does."""
        if self._session.id not in (None, self._kept):
            with suppress(OSError):
                (self._runtime / "session").write_text(str(self._session.id))
                self._kept = self._session.id

    def _turn(self) -> None:
        if self._was_primary and not self._primary.mine:
            raise NotPrimary("no renewal came through for 3 s")
        if not self._was_primary:
            self._stand_by()
        elif now() - self._heartbeat_at >= BEAT:
            self._primary.beat()
            self._heartbeat_at = now()
        if self._was_primary and self._view.ready():
            self._cycle()

    def _stand_by(self) -> None:
        # ours: our lease ended while nobody could write, or an answer came late; the session lived on, and holds the lock
        ours = self._session.id is not None and self._view.holder() == self._session.id
        if not (self._view.lock_is_free() or ours):
            self._free_since = float("inf")
            self._log_sentence("standing by")
            self._confirm_readiness(self._promotions.open(self._view.promotion()))
            self._check_primary_heartbeat()
            return
        self._free_since = min(self._free_since, now())
        if not self._leaves_lock_to_others(ours) and self._session.id is not None:
            self._take()

    def _leaves_lock_to_others(self, ours: bool) -> bool:
        desired = self._promotions.open(self._view.promotion())
        if desired and desired.to == self._host:
            return False
        if now() < self._kept_out_until:
            return True
        patience = MAKE_WAY if desired else PREFERENCE_DELAY
        named = desired.to if desired else self._preferred
        return not ours and named not in (None, self._host) and now() - self._free_since < patience

    def _take(self) -> None:
        try:
            self._primary.take(self._view.newest_epoch())
        except (ConsulError, NotPrimary, OSError) as error:
            self._log_sentence(f"the lock is free, but not ours yet: {error}")
            self._view.changed.wait(0.2)
            return
        self._was_primary, self._heartbeat_at = True, now()
        self._primary_loop.start()
        self._promotions.lock_taken(self._view.promotion())
        self._log_sentence(f"primary, epoch {self._primary.epoch}")

    def _confirm_readiness(self, desired: PromotionRequest | None) -> None:
        """Tells the primary, by way of the raft leader, that we can take over: only then will it resign."""
        session = self._session.id
        if desired is None or desired.to != self._host or session is None or desired.ready == session:
            return
        value = {"to": self._host, "ready": session}
        with suppress(ConsulError):  # another wish by now, or the leader is out of reach: then the primary goes on
            self._consul.transact([
                {"Verb": "cas", "Key": kv_schema.PROMOTE, "Value": encoded(value), "Index": desired.index}])  # fmt: skip

    def _check_primary_heartbeat(self) -> None:
        """Ends the session of a primary that no longer writes, while the cluster does."""
        holder, beat = self._view.holder(), self._view.beat()
        self._heartbeats.observe((holder, beat), now())
        if not (holder and beat and beat.get("session") == holder and self._heartbeats.is_overdue(now())):
            return
        try:
            told = self._consul.read(kv_schema.BEAT, consistent=True)[1]
        except ConsulError:
            self._heartbeats.reset()
            raise
        if self._heartbeats.confirms_silence((holder, told), now()):
            self._heartbeats.reset()
            self._consul.put(f"/v1/session/destroy/{holder}")
            self._log_sentence("the primary holds the lock and writes nothing: its session is ended")

    def _step_down(self, why: str) -> None:
        self._primary.forget()
        self._was_primary = False
        self._log_sentence(f"stopped acting as primary of epoch {self._primary.epoch}: {why}")

    def _leave(self) -> None:
        try:
            self._primary.resign("stopped")
            self._session.end()
        except (ConsulError, NotPrimary) as error:
            log(f"could not say farewell: {error}")
        log("stopped")

    def _hand_over_if_asked(self, desired: PromotionRequest | None) -> bool:
        """Whether the lock has been given up for whom the operator wants."""
        if desired is None:
            return False
        if desired.to == self._host:
            self._close_request(desired, [])
            return False
        refusal = self._promotions.refusal(desired, self._view.can_be_primary(desired.to), now())
        if refusal:
            text = f"{desired.to} was to be primary, and {refusal}; {self._host} goes on"
            self._close_request(desired, [{"kind": "declined", "text": text}])
        if refusal is not None:
            return False
        self._kept_out_until = now() + HANDOVER_PAUSE
        self._primary.resign(f"{desired.to} is to take over")
        self._was_primary = False
        self._log_sentence(f"handed over to {desired.to}")
        return True

    def _close_request(self, desired: PromotionRequest, events: Sequence[Mapping[str, Any]]) -> None:
        """The wish is answered, once: else the lock would go to and fro as long as it stands, or an old copy shows it."""
        self._primary.act([{"Verb": "delete", "Key": kv_schema.PROMOTE}], events)
        self._promotions.answered(desired.index)

    def _cycle(self) -> None:
        if not self._hand_over_if_asked(self._promotions.open(self._view.promotion())):
            self._log_sentence(self._primary_loop.cycle())

    def _log_sentence(self, text: str) -> None:
        """One line a cycle; the same one again only every half a minute."""
        before, at = self._last_logged
        if text != before or now() - at >= HEARTBEAT:
            log(text)
            self._last_logged = (text, now())


def main(settings: Mapping[str, Any], token: str) -> int:
    """`settings`: {"host", "preferred": host | null, "state", "runtime"}: names, and two folders."""
    folders = Path(settings["state"]), Path(settings["runtime"])
    Orchestrator(Consul(token), settings["host"], settings["preferred"], *folders).run()
    return 0
