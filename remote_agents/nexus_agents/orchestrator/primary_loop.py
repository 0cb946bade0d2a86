"""What the primary does in each cycle: reads the cluster, decides, writes each worker's orders."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..shared import kv_schema
from ..shared.clock import now
from ..shared.consul_api import Consul, decode_entry, set_operation
from .autoscaler import Autoscaler, countable_reports
from .cluster_view import ClusterView, WorkerLiveness, instances
from .fenced_lock import MAX_OPERATIONS, FencedLock
from .misfits import Misfits
from .orders import Orders, Specs, desired_services, event_of, fit_transaction, refresh_orders
from .placement import decide
from .placement_model import Action, Observed

MAX_ACTIONS = 24  # in one transaction: each needs an event and at most one order


class PrimaryLoop:
    """Call `start` once the lock is acquired, then `cycle` for as long as it is held."""

    def __init__(self, consul: Consul, lock: FencedLock, view: ClusterView) -> None:
        self._consul, self._lock, self._view = consul, lock, view
        self._liveness = WorkerLiveness()
        self._autoscaler = Autoscaler()
        self._misfits = Misfits()
        self._orders: Orders | None = None  # None: to be read again

    def start(self) -> None:
        self.invalidate()
        self._liveness.dead_since.clear()

    def invalidate(self) -> None:
        """Makes the next cycle read the orders again: the last write may or may not have been made."""
        self._orders = None

    def cycle(self) -> str:
        """One look at the cluster, one decision, at most one transaction. Returns a sentence for the journal."""
        if self._orders is None:
            self._view.refresh_consistent()
            orders = self._read_orders()
            self._autoscaler.load(self._consul.read(kv_schema.SCALES, consistent=True)[1])
            self._misfits.load(self._consul.read(kv_schema.MISFITS, consistent=True)[1])
            self._orders = orders
        self._lock.prune_events()
        specs, reports = self._view.desired_specs(), self._view.reports()
        if specs is None:
            return "no services were ever published"
        workers = self._liveness.workers(self._view.nodes(), self._view.health(), now())
        counts, scalings = self._autoscaler.update(specs, countable_reports(reports, workers, self._orders), now())
        observed = Observed(
            workers,
            {h: {s: str(spec["revision"]) for s, spec in o.items()} for h, o in self._orders.items()},
            instances(reports, self._view.health()),
        )
        desired = desired_services(specs, counts)
        changed = self._misfits.update(observed, desired, now(), time.time())
        decision = decide(replace(observed, misfits=self._misfits.reasons()), desired)
        extra = [set_operation(kv_schema.MISFITS, self._misfits.dump())] if changed else []
        if scalings:
            extra.append(set_operation(kv_schema.SCALES, self._autoscaler.dump()))
        self._write(self._orders, decision.actions[:MAX_ACTIONS], specs, scalings, extra)  # the next cycle does the rest
        return "; ".join((decision.sentence, *decision.notes))

    def _write(
        self, orders: Orders, actions: Sequence[Action], specs: Specs, scalings: Mapping[str, str],
        extra: Sequence[Mapping[str, Any]],
    ) -> None:  # fmt: skip
        """Orders, scales, misfits and their events in one transaction. NotPrimary, ConsulError.

        `extra`: the operations besides the orders; `scalings`: service -> why its number changed
        """
        if actions:
            actions, updated, operations = fit_transaction(orders, actions, specs, self._lock.epoch)
        else:  # no event: nobody is moved or replaced
            updated, operations = refresh_orders(orders, specs, self._lock.epoch, MAX_ACTIONS)
        if not operations and not extra:
            return
        # events beyond the room that is left are dropped; the scales themselves are all written
        taken = 2 * len(actions) if actions else len(operations)
        scalings = dict(sorted(scalings.items())[: MAX_OPERATIONS - taken - len(extra)])
        events = [{"kind": "scale", "service": name, "text": text} for name, text in scalings.items()]
        events += [event_of(action) for action in actions]
        self._lock.act([*operations, *extra], events)
        self._orders = updated
        self._view.changed.set()

    def _read_orders(self) -> Orders:
        _, entries = self._consul.get(f"/v1/kv/{kv_schema.PLACEMENT}?recurse&consistent")
        return {kv_schema.host_of(e["Key"]): dict((decode_entry(e) or {}).get("services", {})) for e in entries or ()
                if e["Key"] == kv_schema.orders_key(kv_schema.host_of(e["Key"]))}  # fmt: skip
