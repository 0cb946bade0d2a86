"""From a decision to KV operations: desired services, orders, events. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..shared import kv_schema
from ..shared.consul_api import set_operation
from .placement_model import Action, DesiredService

MAX_BYTES = 400_000  # of values in one transaction; Consul takes 512 KiB in all
Orders = dict[str, dict[str, Mapping[str, Any]]]  # host -> service -> spec
Specs = Mapping[str, Mapping[str, Any]]


def desired_services(specs: Specs, counts: Mapping[str, int]) -> dict[str, DesiredService]:
    """From services.yml, and the autoscaler's counts."""
    desired = {}
    for name, spec in specs.items():
        replicas = spec["replicas"]
        count = None if replicas["all"] else counts.get(name, replicas["min"])
        desired[name] = DesiredService(name, spec["revision"], count, spec["labels"])
    return desired


def apply_actions(orders: Orders, actions: Sequence[Action], specs: Specs) -> Orders:
    """New orders with these actions applied; `orders` itself does not change."""
    updated = {host: dict(services) for host, services in orders.items()}
    for action in actions:
        if action.kind == "remove":
            updated.setdefault(action.host, {}).pop(action.service, None)
        else:
            updated.setdefault(action.host, {})[action.service] = specs[action.service]
    return updated


def refresh_orders(orders: Orders, specs: Specs, epoch: int, most: int) -> tuple[Orders, list[dict[str, Any]]]:
    """Brings what may change around a running instance to the workers: the newest spec of the revision that they have.

    The orders after it, and the KV operations: `most` at most, and no more bytes than a transaction takes. The rest comes
    with the next call.
    """
    updated, operations, size = dict(orders), list[dict[str, Any]](), 0
    for host, services in sorted(orders.items()):
        newest = {name: _newest(spec, specs.get(name)) for name, spec in services.items()}
        if newest == services:
            continue
        operation = set_operation(kv_schema.orders_key(host), {"epoch": epoch, "services": newest})
        size += len(operation["Value"])
        if operations and (size > MAX_BYTES or len(operations) >= most):
            break
        updated[host] = newest
        operations.append(operation)
    return updated, operations


def _newest(ordered: Mapping[str, Any], spec: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return spec if spec is not None and spec.get("revision") == ordered.get("revision") else ordered


def fit_transaction(
    orders: Orders, actions: Sequence[Action], specs: Specs, epoch: int
) -> tuple[Sequence[Action], Orders, list[dict[str, Any]]]:
    """As many of the actions as fit into one transaction, at least one; the orders after them; the KV operations."""
    while True:
        updated = apply_actions(orders, actions, specs)
        operations = [
            set_operation(kv_schema.orders_key(h), {"epoch": epoch, "services": updated[h]})
            for h in updated
            if updated[h] != orders.get(h)
        ]
        if len(actions) <= 1 or sum(len(o["Value"]) for o in operations) <= MAX_BYTES:
            return actions, updated, operations
        actions = actions[: len(actions) // 2]


def event_of(action: Action) -> dict[str, Any]:
    text = f"{action.kind} {action.service} on {action.host}: {action.why}"
    return {"kind": action.kind, "service": action.service, "target": action.host, "text": text}
