"""What the primary does, a cycle at a time: sees the cluster, decides, writes each worker's orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, decoded, putting
from .autoscaler import Autoscaler, countable_reports
from .cluster_view import ClusterView, WorkerLiveness, instances
from .fenced_lock import FencedLock
from .orders import Orders, Specs, desired_services, event_of, fit_transaction
from .placement import decide
from .placement_model import Action, Observed

BATCH = 24  # actions in one transaction, which takes 64 operations: an event each, and as many orders at most


class PrimaryLoop:
    """From `begin` on, for as long as `primary` is."""

    def __init__(self, consul: Consul, primary: FencedLock, board: ClusterView) -> None:
        self._consul, self._primary, self._view = consul, primary, board
        self._watchman = WorkerLiveness()
        self._autoscaler = Autoscaler()
        self._orders: Orders | None = None  # None: to be read again

    def start(self) -> None:
        self.invalidate()
        self._watchman.dead_since.clear()

    def invalidate(self) -> None:
        """What was read may no longer be so."""
        self._orders = None

    def cycle(self) -> str:
        """One look at the cluster, one decision, one transaction for all of it. A sentence that tells of it."""
        if self._orders is None:
            self._view.confirm()
            orders = self._read_orders()
            self._autoscaler.load(self._consul.read(kv_schema.SCALES, consistent=True)[1])
            self._orders = orders
        self._primary.prune_events()
        specs, reports = self._view.wanted(), self._view.reports()
        if specs is None:
            return "no services were ever published"
        workers = self._watchman.workers(self._view.nodes(), self._view.health(), now())
        counts, news = self._autoscaler.counts(specs, countable_reports(reports, workers, self._orders), now())
        observed = Observed(
            workers,
            {h: {s: str(spec["revision"]) for s, spec in o.items()} for h, o in self._orders.items()},
            instances(reports, self._view.health()),
        )
        decision = decide(observed, desired_services(specs, counts))
        self._carry_out(decision.actions[:BATCH], specs, news)  # the rest is decided again, right after
        return "; ".join((decision.sentence, *decision.notes))

    def _carry_out(self, actions: Sequence[Action], specs: Specs, news: Mapping[str, str]) -> None:
        if not actions and not news:
            return
        assert self._orders is not None  # noqa: S101  _cycle has read them
        actions, fresh, operations = fit_transaction(self._orders, actions, specs, self._primary.epoch)
        if news:
            operations.append(putting(kv_schema.SCALES, self._autoscaler.dump()))
        news = dict(sorted(news.items())[: 60 - 2 * len(actions)])  # a later change tells of the rest
        events = [{"kind": "scale", "service": name, "text": text} for name, text in news.items()]
        events += [event_of(action) for action in actions]
        self._primary.act(operations, events)
        self._orders = fresh
        self._view.changed.set()

    def _read_orders(self) -> Orders:
        _, entries = self._consul.get(f"/v1/kv/{kv_schema.PLACEMENT}?recurse&consistent")
        return {kv_schema.host_of(e["Key"]): dict((decoded(e) or {}).get("services", {})) for e in entries or ()
                if e["Key"] == kv_schema.orders_key(kv_schema.host_of(e["Key"]))}  # fmt: skip
