"""What the primary does, a cycle at a time: sees the cluster, decides, writes each worker's orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import wire
from .api import Consul, decoded, putting
from .autoscaler import Autoscaler, counting
from .board import Board, Watchman, instances
from .clock import now
from .decide import decide
from .orders import Orders, Specs, event_of, fitting, wishes
from .primary import Primary
from .shapes import Action, Observed

BATCH = 24  # actions in one transaction, which takes 64 operations: an event each, and as many orders at most


class Reign:
    """From `begin` on, for as long as `primary` is."""

    def __init__(self, consul: Consul, primary: Primary, board: Board) -> None:
        self._consul, self._primary, self._board = consul, primary, board
        self._watchman = Watchman()
        self._autoscaler = Autoscaler()
        self._orders: Orders | None = None  # None: to be read again

    def begin(self) -> None:
        self.doubt()
        self._watchman.dead_since.clear()

    def doubt(self) -> None:
        """What was read may no longer be so."""
        self._orders = None

    def cycle(self) -> str:
        """One look at the cluster, one decision, one transaction for all of it. A sentence that tells of it."""
        if self._orders is None:
            self._board.confirm()
            orders = self._read_orders()
            self._autoscaler.load(self._consul.read(wire.SCALES, consistent=True)[1])
            self._orders = orders
        self._primary.prune_events()
        specs, reports = self._board.wanted(), self._board.reports()
        if specs is None:
            return "no services were ever published"
        workers = self._watchman.workers(self._board.nodes(), self._board.health(), now())
        counts, news = self._autoscaler.counts(specs, counting(reports, workers, self._orders), now())
        observed = Observed(
            workers,
            {h: {s: str(spec["revision"]) for s, spec in o.items()} for h, o in self._orders.items()},
            instances(reports, self._board.health()),
        )
        decision = decide(observed, wishes(specs, counts))
        self._carry_out(decision.actions[:BATCH], specs, news)  # the rest is decided again, right after
        return "; ".join((decision.sentence, *decision.notes))

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
