"""nexus-orchestrator: one a manager, one of them primary. Who that is, and how it goes from one to the other; `reign` is
what the primary does."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import wire
from .api import Consul, ConsulError, encoded
from .board import Board
from .clock import now
from .lease import Session
from .notify import notify, say
from .primary import NotPrimary, Primary
from .promotion import MAKE_WAY, Desk, Promotion
from .reign import Reign
from .silence import BEAT, Silence

TICK = 1.0  # seconds between two looks without any news
HEARTBEAT = 30.0  # seconds after which the same sentence is said again
KEEP_OUT = 10.0  # seconds that a host which gave the lock up leaves it to others
COURTESY = 0.5  # seconds that a free lock is left to the one that is `primary: true` in hosts.yml


class Orchestrator:
    """The loop. `state` is a folder of our own; `runtime` one that ends with the unit."""

    def __init__(self, consul: Consul, host: str, preferred: str | None, state: Path, runtime: Path) -> None:
        self._consul, self._host, self._preferred, self._runtime = consul, host, preferred, runtime
        self._session = Session(consul, host)
        self._primary = Primary(consul, self._session, host, state / "epoch")
        self._board = Board(consul)
        self._reign = Reign(consul, self._primary, self._board)
        self._silence = Silence()
        self._beat_at = float("-inf")
        self._desk = Desk()
        self._was_primary = False
        self._kept: str | None = None  # the session whose id ExecStopPost finds
        self._kept_out_until, self._free_since = float("-inf"), float("inf")
        self._said = ("", float("-inf"))
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
                self._reign.doubt()  # nobody knows what of the last write took
                self._sentence(f"waiting for Consul: {error}")
            self._board.changed.wait(TICK)
            self._board.changed.clear()
        self._leave()

    def stop(self) -> None:
        self._stopping = True
        self._board.changed.set()

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
        elif now() - self._beat_at >= BEAT:
            self._primary.beat()
            self._beat_at = now()
        if self._was_primary and self._board.ready():
            self._cycle()

    def _stand_by(self) -> None:
        # ours: our lease ended while nobody could write, or an answer came late; the session lived on, and holds the lock
        ours = self._session.id is not None and self._board.holder() == self._session.id
        if not (self._board.lock_is_free() or ours):
            self._free_since = float("inf")
            self._sentence("standing by")
            self._answer(self._desk.open(self._board.promotion()))
            self._listen()
            return
        self._free_since = min(self._free_since, now())
        if not self._keeps_out(ours) and self._session.id is not None:
            self._take()

    def _keeps_out(self, ours: bool) -> bool:
        wish = self._desk.open(self._board.promotion())
        if wish and wish.to == self._host:
            return False
        if now() < self._kept_out_until:
            return True
        patience = MAKE_WAY if wish else COURTESY
        named = wish.to if wish else self._preferred
        return not ours and named not in (None, self._host) and now() - self._free_since < patience

    def _take(self) -> None:
        try:
            self._primary.take(self._board.newest_epoch())
        except (ConsulError, NotPrimary, OSError) as error:
            self._sentence(f"the lock is free, but not ours yet: {error}")
            self._board.changed.wait(0.2)
            return
        self._was_primary, self._beat_at = True, now()
        self._reign.begin()
        self._desk.took_the_lock(self._board.promotion())
        self._sentence(f"primary, epoch {self._primary.epoch}")

    def _answer(self, wish: Promotion | None) -> None:
        """Tells the primary, by way of the raft leader, that we can take over: only then will it resign."""
        session = self._session.id
        if wish is None or wish.to != self._host or session is None or wish.ready == session:
            return
        value = {"to": self._host, "ready": session}
        with suppress(ConsulError):  # another wish by now, or the leader is out of reach: then the primary goes on
            self._consul.transact([
                {"Verb": "cas", "Key": wire.PROMOTE, "Value": encoded(value), "Index": wish.index}])  # fmt: skip

    def _listen(self) -> None:
        """Ends the session of a primary that no longer writes, while the cluster does."""
        holder, beat = self._board.holder(), self._board.beat()
        self._silence.heard((holder, beat), now())
        if not (holder and beat and beat.get("session") == holder and self._silence.doubts(now())):
            return
        try:
            told = self._consul.read(wire.BEAT, consistent=True)[1]
        except ConsulError:
            self._silence.unsure()
            raise
        if self._silence.is_sure((holder, told), now()):
            self._silence.unsure()
            self._consul.put(f"/v1/session/destroy/{holder}")
            self._sentence("the primary holds the lock and writes nothing: its session is ended")

    def _step_down(self, why: str) -> None:
        self._primary.forget()
        self._was_primary = False
        self._sentence(f"stopped acting as primary of epoch {self._primary.epoch}: {why}")

    def _leave(self) -> None:
        try:
            self._primary.resign("stopped")
            self._session.end()
        except (ConsulError, NotPrimary) as error:
            say(f"could not say farewell: {error}")
        say("stopped")

    def _hands_over(self, wish: Promotion | None) -> bool:
        """Whether the lock has been given up for whom the operator wants."""
        if wish is None:
            return False
        if wish.to == self._host:
            self._close(wish, [])
            return False
        refusal = self._desk.refusal(wish, self._board.can_lead(wish.to), now())
        if refusal:
            text = f"{wish.to} was to be primary, and {refusal}; {self._host} goes on"
            self._close(wish, [{"kind": "declined", "text": text}])
        if refusal is not None:
            return False
        self._kept_out_until = now() + KEEP_OUT
        self._primary.resign(f"{wish.to} is to take over")
        self._was_primary = False
        self._sentence(f"handed over to {wish.to}")
        return True

    def _close(self, wish: Promotion, events: Sequence[Mapping[str, Any]]) -> None:
        """The wish is answered, once: else the lock would go to and fro as long as it stands, or an old copy shows it."""
        self._primary.act([{"Verb": "delete", "Key": wire.PROMOTE}], events)
        self._desk.answered(wish.index)

    def _cycle(self) -> None:
        if not self._hands_over(self._desk.open(self._board.promotion())):
            self._sentence(self._reign.cycle())

    def _sentence(self, text: str) -> None:
        """One line a cycle; the same one again only every half a minute."""
        before, at = self._said
        if text != before or now() - at >= HEARTBEAT:
            say(text)
            self._said = (text, now())


def main(settings: Mapping[str, Any], token: str) -> int:
    """`settings`: {"host", "preferred": host | null, "state", "runtime"}: names, and two folders."""
    folders = Path(settings["state"]), Path(settings["runtime"])
    Orchestrator(Consul(token), settings["host"], settings["preferred"], *folders).run()
    return 0
