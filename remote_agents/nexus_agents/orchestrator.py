"""nexus-orchestrator: one a manager, one of them primary. Sees the cluster, decides, writes each worker's orders."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import wire
from .api import Consul, ConsulError, decoded, putting
from .autoscaler import Autoscaler
from .board import Board, Watchman, instances
from .clock import now
from .decide import decide
from .lease import Session
from .notify import notify, say
from .primary import NotPrimary, Primary
from .shapes import Action, Decision, Observed, Wish
from .silence import BEAT, Silence

TICK = 1.0  # seconds between two looks without any news
HEARTBEAT = 30.0  # seconds after which the same sentence is said again
KEEP_OUT = 10.0  # seconds that a host which gave the lock up leaves it to others
MAKE_WAY = 3.0  # seconds that the others leave it to the host that `inv promote` named
COURTESY = 0.5  # the same, for the one that is `primary: true` in hosts.yml
BATCH = 24  # actions in one transaction, which takes 64 operations: an event each, and as many orders at most
Orders = dict[str, dict[str, Mapping[str, Any]]]  # host -> service -> spec


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
        self._passed_over: str | None = None  # whom an operator named, and who did not take the lock in time
        self._orders: Orders | None = None  # None: to be read again
        self._was_primary = False
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
        """For ExecStopPost: when this process has died, systemd may free the lock at once."""
        if self._session.id:
            (self._runtime / "session").write_text(self._session.id)

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
        if not self._board.lock_is_free():
            self._free_since = float("inf")
            self._sentence("standing by")
            self._listen()
            return
        self._free_since = min(self._free_since, now())
        called = self._board.promoted() == self._host
        if (now() < self._kept_out_until and not called) or self._makes_way() or self._session.id is None:
            return
        try:
            self._primary.take()
        except (ConsulError, NotPrimary) as error:
            self._sentence(f"the lock is free, but not ours yet: {error}")
            self._board.changed.wait(0.2)
            return
        self._was_primary, self._orders, self._beat_at = True, None, now()
        self._passed_over = self._board.promoted()
        self._sentence(f"primary, epoch {self._primary.epoch}")

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

    def _makes_way(self) -> bool:
        named = self._board.promoted()
        patience = MAKE_WAY if named else COURTESY
        return (named or self._preferred) not in (None, self._host) and now() - self._free_since < patience

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

    def _hand_over(self, to: str) -> None:
        self._kept_out_until = now() + KEEP_OUT
        self._primary.resign(f"{to} is to take over")
        self._was_primary, self._orders = False, None
        self._sentence(f"handed over to {to}")

    def _decline(self, named: str, why: str) -> None:
        """Once: else the lock would go to and fro as long as the wish stands."""
        text = f"{named} was to be primary, and {why}; {self._host} goes on"
        self._primary.act([{"Verb": "delete", "Key": wire.PROMOTE}], [{"kind": "declined", "text": text}])
        self._passed_over = None

    def _cycle(self) -> None:
        """One look at the cluster, one decision, one transaction for all of it."""
        named = self._board.promoted()
        if named == self._host:
            self._primary.act([{"Verb": "delete", "Key": wire.PROMOTE}], [])
        elif named is not None and named == self._passed_over:
            self._decline(named, "did not take the lock in time")
        elif named is not None and not self._board.can_lead(named):
            self._decline(named, "is no manager whose orchestrator Consul calls passing")
        elif named is not None:
            self._hand_over(named)
            return
        if self._orders is None:
            self._orders = self._read_orders()
            self._autoscaler.load(self._consul.read(wire.SCALES, consistent=True)[1])
            self._primary.prune_events()
        specs, reports = self._board.wanted(), self._board.reports()
        if specs is None:
            self._sentence("no services were ever published")
            return
        counts, news = self._autoscaler.counts(specs, reports, now())
        observed = Observed(
            self._watchman.workers(self._board.nodes(), self._board.health(), now()),
            {h: {s: str(spec["revision"]) for s, spec in o.items()} for h, o in self._orders.items()},
            instances(reports, self._board.health()),
        )
        decision = decide(observed, wishes(specs, counts))
        decision = replace(decision, actions=decision.actions[:BATCH])  # the rest is decided again, right after
        self._carry_out(decision, specs, news)
        self._sentence("; ".join((decision.sentence, *decision.notes)))

    def _carry_out(self, decision: Decision, specs: Mapping[str, Mapping[str, Any]], news: Mapping[str, str]) -> None:
        if not decision.actions and not news:
            return
        assert self._orders is not None  # noqa: S101  _cycle has read them
        fresh = ordered(self._orders, decision.actions, specs)
        operations = [
            putting(wire.orders_key(h), {"epoch": self._primary.epoch, "services": fresh[h]})
            for h in fresh if fresh[h] != self._orders.get(h)
        ]  # fmt: skip
        if news:
            operations.append(putting(wire.SCALES, self._autoscaler.dump()))
        news = dict(sorted(news.items())[: 60 - 2 * len(decision.actions)])  # a later change tells of the rest
        events = [{"kind": "scale", "service": name, "text": text} for name, text in news.items()]
        events += [event_of(action) for action in decision.actions]
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


def wishes(specs: Mapping[str, Mapping[str, Any]], counts: Mapping[str, int]) -> dict[str, Wish]:
    """From services.yml, and what autoscaling has arrived at."""
    found = {}
    for name, spec in specs.items():
        replicas = spec["replicas"]
        count = None if replicas["all"] else counts.get(name, replicas["min"])
        found[name] = Wish(name, spec["revision"], count, spec["labels"])
    return found


def ordered(orders: Orders, actions: tuple[Action, ...], specs: Mapping[str, Mapping[str, Any]]) -> Orders:
    """The orders after these actions. Pure; the old ones stay as they are."""
    fresh = {host: dict(services) for host, services in orders.items()}
    for action in actions:
        if action.kind == "remove":
            fresh.setdefault(action.host, {}).pop(action.service, None)
        else:
            fresh.setdefault(action.host, {})[action.service] = specs[action.service]
    return fresh


def event_of(action: Action) -> dict[str, Any]:
    text = f"{action.kind} {action.service} on {action.host}: {action.why}"
    return {"kind": action.kind, "service": action.service, "target": action.host, "text": text}


def main(settings: Mapping[str, Any], token: str) -> int:
    """`settings`: {"host", "preferred": host | null, "state", "runtime"}: names, and two folders."""
    folders = Path(settings["state"]), Path(settings["runtime"])
    Orchestrator(Consul(token), settings["host"], settings["preferred"], *folders).run()
    return 0


def release(settings: Mapping[str, Any], token: str) -> int:
    """ExecStopPost: the process is dead, so its lock may be free at once. No failure is worth a word more."""
    try:
        session = (Path(settings["runtime"]) / "session").read_text().strip()
        held = Consul(token)
        held.put(f"/v1/kv/{wire.PRIMARY}?release={session}")
        held.put(f"/v1/session/destroy/{session}")
        say(f"released the session of the stopped process at {time.strftime('%H:%M:%S')}")
    except (OSError, ConsulError) as error:
        say(f"nothing released: {error}")
    return 0
