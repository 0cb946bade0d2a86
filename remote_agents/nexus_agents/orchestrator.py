"""nexus-orchestrator: one a manager, one of them primary. Sees the cluster, decides, writes each worker's orders."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import wire
from .api import Consul, ConsulError, decoded, encoded, putting
from .autoscaler import Autoscaler, counting
from .board import Board, Watchman, instances
from .clock import now
from .decide import decide
from .lease import Session
from .notify import notify, say
from .orders import Orders, Specs, event_of, fitting, wishes
from .primary import NotPrimary, Primary
from .promotion import MAKE_WAY, Desk, Promotion
from .shapes import Action, Observed
from .silence import BEAT, Silence

TICK = 1.0  # seconds between two looks without any news
HEARTBEAT = 30.0  # seconds after which the same sentence is said again
KEEP_OUT = 10.0  # seconds that a host which gave the lock up leaves it to others
COURTESY = 0.5  # seconds that a free lock is left to the one that is `primary: true` in hosts.yml
BATCH = 24  # actions in one transaction, which takes 64 operations: an event each, and as many orders at most


class Orchestrator:
    """The loop. `state` is a folder of our own; `runtime` one that ends with the unit."""

    def __init__(self, consul: Consul, host: str, preferred: str | None, state: Path, runtime: Path) -> None:
        self._consul, self._host, self._preferred, self._runtime = consul, host, preferred, runtime
        self._session = Session(consul, host)
        self._primary = Primary(consul, self._session, host, state / "epoch")
        self._board = Board(consul)
        self._watchman = Watchman()
        self._autoscaler = Autoscaler()
        self._silence = Silence()
        self._beat_at = float("-inf")
        self._desk = Desk()
        self._orders: Orders | None = None  # None: to be read again
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
                self._orders = None  # nobody knows what of the last write took
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
        self._was_primary, self._orders, self._beat_at = True, None, now()
        self._watchman.dead_since.clear()
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
        self._was_primary, self._orders = False, None
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
        self._was_primary, self._orders = False, None
        self._sentence(f"handed over to {wish.to}")
        return True

    def _close(self, wish: Promotion, events: Sequence[Mapping[str, Any]]) -> None:
        """The wish is answered, once: else the lock would go to and fro as long as it stands, or an old copy shows it."""
        self._primary.act([{"Verb": "delete", "Key": wire.PROMOTE}], events)
        self._desk.answered(wish.index)

    def _cycle(self) -> None:
        """One look at the cluster, one decision, one transaction for all of it."""
        if self._hands_over(self._desk.open(self._board.promotion())):
            return
        if self._orders is None:
            self._board.confirm()
            orders = self._read_orders()
            self._autoscaler.load(self._consul.read(wire.SCALES, consistent=True)[1])
            self._orders = orders
        self._primary.prune_events()
        specs, reports = self._board.wanted(), self._board.reports()
        if specs is None:
            self._sentence("no services were ever published")
            return
        workers = self._watchman.workers(self._board.nodes(), self._board.health(), now())
        counts, news = self._autoscaler.counts(specs, counting(reports, workers, self._orders), now())
        observed = Observed(
            workers,
            {h: {s: str(spec["revision"]) for s, spec in o.items()} for h, o in self._orders.items()},
            instances(reports, self._board.health()),
        )
        decision = decide(observed, wishes(specs, counts))
        self._carry_out(decision.actions[:BATCH], specs, news)  # the rest is decided again, right after
        self._sentence("; ".join((decision.sentence, *decision.notes)))

    def _carry_out(self, actions: Sequence[Action], specs: Specs, news: Mapping[str, str]) -> None:
        if not actions and not news:
            return
        assert self._orders is not None  # noqa: S101  _cycle has read them
        actions, fresh, operations = fitting(self._orders, actions, specs, self._primary.epoch)
        if news:
            operations.append(putting(wire.SCALES, self._autoscaler.dump()))
        news = dict(sorted(news.items())[: 60 - 2 * len(actions)])  # a later change tells of the rest
        events = [{"kind": "scale", "service": name, "text": text} for name, text in news.items()]
        events += [event_of(action) for action in actions]
        self._primary.act(operations, events)
        self._orders = fresh
        self._board.changed.set()

    def _read_orders(self) -> Orders:
        _, entries = self._consul.get(f"/v1/kv/{wire.PLACEMENT}?recurse&consistent")
        return {wire.host_of(e["Key"]): dict((decoded(e) or {}).get("services", {})) for e in entries or ()
                if e["Key"] == wire.orders_key(wire.host_of(e["Key"]))}  # fmt: skip

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
