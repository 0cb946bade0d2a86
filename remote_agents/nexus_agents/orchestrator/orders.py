"""From a decision to what is written: wishes, orders, events. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..shared import kv_schema
from ..shared.consul_api import putting
from .placement_model import Action, DesiredService

MOST_BYTES = 400_000  # of values in one transaction; Consul takes 512 KiB in all
Orders = dict[str, dict[str, Mapping[str, Any]]]  # host -> service -> spec
Specs = Mapping[str, Mapping[str, Any]]


def desired_services(specs: Specs, counts: Mapping[str, int]) -> dict[str, DesiredService]:
    """From services.yml, and what autoscaling has arrived at."""
    found = {}
    for name, spec in specs.items():
        replicas = spec["replicas"]
        count = None if replicas["all"] else counts.get(name, replicas["min"])
        found[name] = DesiredService(name, spec["revision"], count, spec["labels"])
    return found


def apply_actions(orders: Orders, actions: Sequence[Action], specs: Specs) -> Orders:
    """The orders after these actions; the old ones stay as they are."""
    fresh = {host: dict(services) for host, services in orders.items()}
    for action in actions:
        if action.kind == "remove":
            fresh.setdefault(action.host, {}).pop(action.service, None)
        else:
            fresh.setdefault(action.host, {})[action.service] = specs[action.service]
    return fresh


def fit_transaction(
    orders: Orders, actions: Sequence[Action], specs: Specs, epoch: int
) -> tuple[Sequence[Action], Orders, list[dict[str, Any]]]:
    """As many of the actions as one transaction has room for, at least one; the orders after them; how to write these."""
    while True:
        fresh = apply_actions(orders, actions, specs)
        operations = [
            putting(kv_schema.orders_key(h), {"epoch": epoch, "services": fresh[h]})
            for h in fresh
            if fresh[h] != orders.get(h)
        ]
        if len(actions) <= 1 or sum(len(o["Value"]) for o in operations) <= MOST_BYTES:
            return actions, fresh, operations
        actions = actions[: len(actions) // 2]


def event_of(action: Action) -> dict[str, Any]:
    text = f"{action.kind} {action.service} on {action.host}: {action.why}"
    return {"kind": action.kind, "service": action.service, "target": action.host, "text": text}
